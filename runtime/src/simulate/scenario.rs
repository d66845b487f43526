//! What a seed decides of a run: how each life of the process is configured, and what goes wrong.

use std::time::Duration;

use watershed_state::{StateBackend, hash_key};

use crate::config::{Config, INSTANCES_MAX, above_zero, within};
use crate::dice::Dice;
use crate::error::Error;
use crate::restart::Restart;
use crate::simulate::draw::draw_faults;
use crate::simulate::fault::{Fault, FaultKind};
use crate::simulate::script::Counts;
use crate::simulation::Simulation;

/// A run, before it is run.
#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) seed: u64,
    /// Of each life in which something may go wrong; the life after them is calm.
    pub(crate) lives: Vec<Settings>,
    pub(crate) faults: Vec<Fault>,
}

/// What may go wrong, and how the process may be run.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    pub(crate) kinds: Vec<FaultKind>,
    pub(crate) faults_max: usize,
    pub(crate) parallelism: Vec<usize>,
    pub(crate) rescales: bool,
    pub(crate) checkpoint_interval: Option<Duration>,
    /// Steps of a run without faults beyond which it counts as hanging.
    pub(crate) steps_max: u64,
    /// Where the state of keys may live.
    pub(crate) backends: Vec<StateBackend>,
}

impl Choices {
    /// Looks whether each setting of the simulator is in its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.parallelism.is_empty() {
            return Err(Error::config(
                "`Simulator::parallelism` names no number of instances: name at least one",
            ));
        }
        for instances in &self.parallelism {
            within("Simulator::parallelism", *instances, &(1..=INSTANCES_MAX))?;
        }
        if let Some(interval) = self.checkpoint_interval {
            above_zero("Simulator::checkpoint_interval", interval)?;
        }
        within("Simulator::at_most_steps", self.steps_max, &(1..=u64::MAX))
    }
}

/// How one life of the process is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) parallelism: usize,
    interval_micros: u64,
    timeout_micros: u64,
    batch_records: usize,
    credits: u32,
    linger_micros: u64,
    watermark_micros: u64,
    backoff_micros: u64,
    retain: usize,
    slice_slots: usize,
    /// Which of the backends.
    backend: usize,
}

/// Virtual time after which a task counts as hanging: well above what any fault holds something up for, so that only
/// those that hang are found.
const HANG_TIMEOUT: Duration = Duration::from_millis(100);

impl Settings {
    /// For a run in which nothing goes wrong.
    pub(crate) fn calm(parallelism: usize, interval: Option<Duration>) -> Self {
        Self {
            parallelism,
            interval_micros: interval.map_or(2_000, micros),
            timeout_micros: 10_000_000,
            batch_records: 16,
            credits: 4,
            linger_micros: 1_000,
            watermark_micros: 1_000,
            backoff_micros: 100,
            retain: 3,
            slice_slots: 16,
            backend: 0,
        }
    }

    /// Drawn, for a topology whose checkpoints take so long.
    fn draw(dice: &mut Dice, parallelism: usize, checkpoint_micros: u64, choices: &Choices) -> Self {
        let interval = dice.between(200, 8_000);
        Self {
            parallelism,
            interval_micros: choices.checkpoint_interval.map_or(interval, micros),
            // Instances share one thread: with more of them all take longer.
            timeout_micros: checkpoint_micros.max(1_000)
                * parallelism as u64
                * [3, 6, 20, 1_000][dice.below(4)],
            batch_records: [1, 2, 5, 16, 64][dice.below(5)],
            credits: 1 + dice.below(4) as u32,
            linger_micros: dice.between(10, 5_000),
            watermark_micros: dice.between(10, 5_000),
            backoff_micros: dice.between(10, 40_000),
            retain: 1 + dice.below(3),
            slice_slots: [1, 2, 4, 16][dice.below(4)],
            backend: if choices.backends.len() > 1 { dice.below(choices.backends.len()) } else { 0 },
        }
    }

    /// As a configuration, on top of the user's.
    pub(crate) fn config(&self, base: &Config, backends: &[StateBackend], simulation: Simulation) -> Config {
        let micros = Duration::from_micros;
        let backoff = micros(self.backoff_micros);
        let mut config = base.clone().with_simulation(simulation.slices_of(self.slice_slots));
        config.parallelism = Some(self.parallelism);
        if let Some(backend) = backends.get(self.backend) {
            config.state_backend = backend.clone();
        }
        config.checkpoint_interval = Some(micros(self.interval_micros));
        config.checkpoint_timeout = micros(self.timeout_micros);
        config.limits.records = self.batch_records;
        config.limits.linger_nanos = self.linger_micros * 1_000;
        config.credits = self.credits;
        config.watermark_interval = micros(self.watermark_micros);
        config.retain = self.retain;
        config.hang_timeout = Some(HANG_TIMEOUT);
        // A budget that is spent is no fault of the engine's.
        config.restart =
            Restart::from_snapshot().backoff(backoff, backoff * 8).at_most(10_000, Duration::from_hours(1));
        config
    }

    pub(crate) fn describe(&self) -> String {
        let ms = |micros: u64| micros as f64 / 1_000.0;
        format!(
            "parallelism {}, checkpoints every {} ms and given up after {} ms, batches of {}, {} credits, {} kept, backend {}",
            self.parallelism,
            ms(self.interval_micros),
            ms(self.timeout_micros),
            self.batch_records,
            self.credits,
            self.retain,
            self.backend
        )
    }
}

/// Some of the kinds of faults, so that each run has more of those: what takes two kinds is found sooner than among
/// all.
fn some_of(dice: &mut Dice, kinds: &[FaultKind]) -> Vec<FaultKind> {
    let some: Vec<FaultKind> = kinds.iter().copied().filter(|_| dice.below(2) == 0).collect();
    if some.is_empty() || dice.below(4) == 0 { kinds.to_vec() } else { some }
}

/// At least one, as a checkpoint that is always due leaves room for nothing else.
fn micros(interval: Duration) -> u64 {
    u64::try_from(interval.as_micros()).unwrap_or(u64::MAX).max(1)
}

impl Scenario {
    /// What a seed decides, for a topology of which a calm run took so much.
    pub(crate) fn draw(seed: u64, choices: &Choices, calm: &Counts) -> Self {
        let mut dice = Dice::new(hash_key(&(seed, "scenario")));
        let width = |dice: &mut Dice| choices.parallelism[dice.below(choices.parallelism.len())];
        let mut parallelism = width(&mut dice);
        let (mut lives, mut faults) = (Vec::new(), Vec::new());
        let allowed = |kind: &FaultKind| choices.rescales || *kind != FaultKind::Rescale;
        let kinds: Vec<FaultKind> = choices.kinds.iter().copied().filter(allowed).collect();
        let kinds = some_of(&mut dice, &kinds);
        let life_count = if choices.kinds.iter().any(|kind| kind.is_death() || *kind == FaultKind::Stop) {
            1 + dice.below(4)
        } else {
            1
        };
        for life in 0..life_count {
            if choices.rescales && life > 0 {
                parallelism = width(&mut dice);
            }
            lives.push(Settings::draw(&mut dice, parallelism, calm.checkpoint_micros, choices));
            faults.extend(draw_faults(&mut dice, life, &kinds, calm));
        }
        if choices.rescales {
            parallelism = width(&mut dice);
        }
        // The calm life after them.
        lives.push(Settings::calm(parallelism, choices.checkpoint_interval));
        while faults.len() > choices.faults_max {
            faults.remove(dice.below(faults.len()));
        }
        Self { seed, lives, faults }
    }

    /// A run without faults.
    pub(crate) fn calm(seed: u64, parallelism: usize, interval: Option<Duration>) -> Self {
        Self { seed, lives: vec![Settings::calm(parallelism, interval)], faults: Vec::new() }
    }

    /// How a life is configured.
    pub(crate) fn settings(&self, life: usize) -> Settings {
        self.lives[life.min(self.lives.len() - 1)]
    }

    /// What goes wrong in a life.
    pub(crate) fn faults_of(&self, life: usize) -> Vec<Fault> {
        self.faults.iter().filter(|fault| fault.life == life).cloned().collect()
    }
}
