//! Simulation of whole topologies with everything that can go wrong, for everyone's tests.
//!
//! A seed decides how the job is run and what happens to it; the output must be that of a run in which nothing happens.

mod draw;
mod failure;
mod fault;
mod history;
mod journal;
mod judge;
mod lives;
mod outputs;
mod scenario;
mod script;
mod seed;
mod shrink;

pub use failure::{SimulationFailure, Violation};
pub use fault::{Fault, FaultKind, FaultPlace};
pub use outputs::Difference;
pub use seed::Seed;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use watershed_actors::{Clock, SystemClock, UserResult};
use watershed_state::StateBackend;

use crate::config::Config;
use crate::error::Error;
use crate::simulate::failure::Story;
use crate::simulate::judge::Judges;
use crate::topology::Topology;
use lives::{Played, Stage};
use outputs::Shown;
use scenario::{Choices, Scenario};
use script::Counts;
use shrink::shrink;

/// Runs the topology on one thread and in virtual time, with faults that the seed picks, and compares what its sinks
/// show with a run without faults.
///
/// Tasks panic; the process is killed or loses its power between any two file operations and is started again; the disk
/// fails, is full or slow; reports come late or never; sinks fail; tasks stand still. At the end every exactly-once
/// sink must have shown exactly the records of the run without faults, in whatever order, and every other sink at least
/// those.
///
/// The sources have to end. One topology is simulated by one thread at a time.
///
/// # What must not be left to chance
///
/// The output must not depend on which of two events comes first, as it must not in a real job whose results are to be
/// repeatable. There are three that often do:
///
/// - **Late records.** Watermarks are sent now and then, so it is a matter of time which records are late. With
///   [`Lateness::per_record`](watershed_actors::Lateness::per_record) that follows from the input alone, as long as the
///   actor that looks has one sender: one instance that reads its splits one after the other, with nothing but closures
///   in between. With several, how far their watermarks are apart still counts, and output that depends on late records
///   is left out of the comparison or checked.
/// - **Processing time**, as of `now_ms` and its timers: such output is left out, or checked.
/// - **Records of different senders** come in any order. So does what an operator makes of that order, unless it adds
///   up.
///
/// [`Simulator::ignore_output`] leaves a sink out of the comparison, [`Simulator::check_output`] checks it by a
/// closure.
///
/// # Virtual time
///
/// The clock goes on a little with each step, and leaps to the next timer when nothing else is to be done. Checkpoints
/// are made every two milliseconds in the run without faults, and as often as the seed says in others. A job that waits
/// longer, as for timers of 30 seconds or a source with a rate, would spend all its steps on checkpoints. It says how
/// often they are to be made: [`Simulator::checkpoint_interval`].
///
/// # Errors
/// What is wrong, with the fewest faults that it takes and what happened.
pub fn simulate(topology: &Topology, seed: Seed) -> Result<Simulated, SimulationFailure> {
    Simulator::new(topology).run(seed)
}

/// [`simulate`] for one seed after the other, until they or the time are used up.
///
/// # Errors
/// The first failure.
pub fn simulate_many(
    topology: &Topology,
    seeds: Range<u64>,
    budget: Duration,
) -> Result<Simulations, SimulationFailure> {
    Simulator::new(topology).run_many(seeds, budget)
}

/// [`simulate`] with options.
///
/// Each has a range, which is looked at before anything is run, as that of each setting of the configuration is: what
/// is out of it is a failure that names it.
#[derive(Debug)]
pub struct Simulator<'a> {
    topology: &'a Topology,
    base: Config,
    choices: Choices,
    judges: Judges<'a>,
    shrinks: bool,
    /// Runs without faults, by parallelism.
    calm: BTreeMap<usize, Calm>,
}

/// A run without faults.
#[derive(Debug)]
struct Calm {
    shown: Shown,
    counts: Counts,
}

/// A simulated run that did what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Simulated {
    /// Its seed.
    pub seed: Seed,
    /// Lives of the process that it took.
    pub lives: usize,
    /// Steps of the scheduler, in all lives.
    pub steps: u64,
    /// Restarts of regions.
    pub restarts: u32,
    /// Complete checkpoints.
    pub checkpoints: u64,
    /// Operators that were rescaled while the job ran.
    pub rescales: u64,
    /// What went wrong on the way, or would have, had the job not finished before.
    pub faults: Vec<Fault>,
    /// A number that depends on all that happened: equal runs have equal ones.
    pub trace: u64,
    /// What each sink shows: one text a record, in the order of the texts.
    pub output: BTreeMap<String, Vec<String>>,
}

/// Simulated runs that did what they should.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Simulations {
    /// How many.
    pub seeds: u64,
    /// Lives of the process in all of them.
    pub lives: u64,
    /// Steps of the scheduler in all of them.
    pub steps: u64,
}

/// Steps of a life beyond which it counts as hanging: so many times those of a run without faults, and so many more.
const HANG_FACTOR: u64 = 40;
const HANG_STEPS: u64 = 30_000;
/// Steps that others make until a task is found that hangs.
const FOUND_STEPS: u64 = 25_000;
/// Steps of a run without faults beyond which it counts as hanging.
const CALM_STEPS: u64 = 1_000_000;

impl<'a> Simulator<'a> {
    /// All kinds of faults, one to three instances of every actor that does not say how many.
    pub fn new(topology: &'a Topology) -> Self {
        Self {
            topology,
            base: Config::local(),
            choices: Choices {
                kinds: FaultKind::ALL.to_vec(),
                faults_max: 12,
                parallelism: vec![1, 2, 3],
                rescales: false,
                checkpoint_interval: None,
                steps_max: CALM_STEPS,
                backends: Vec::new(),
            },
            judges: Judges::default(),
            shrinks: true,
            calm: BTreeMap::new(),
        }
    }

    /// Takes what the seed does not decide from this configuration: key groups, slots, the folder of checkpoints, and
    /// how often they are made if it says so, as [`Simulator::checkpoint_interval`] does.
    pub fn config(mut self, base: Config) -> Self {
        self.choices.checkpoint_interval = base.checkpoint_interval.or(self.choices.checkpoint_interval);
        self.base = base;
        self.calm.clear();
        self
    }

    /// Only these kinds of faults.
    pub fn faults(mut self, kinds: &[FaultKind]) -> Self {
        self.choices.kinds = kinds.to_vec();
        self
    }

    /// Not this kind of fault.
    pub fn without(mut self, kind: FaultKind) -> Self {
        self.choices.kinds.retain(|other| *other != kind);
        self
    }

    /// At most so many faults in a run (12).
    pub fn at_most(mut self, faults: usize) -> Self {
        self.choices.faults_max = faults;
        self
    }

    /// Instances of an actor that does not say how many: the seed picks one of these, of which there is at least one,
    /// each from 1 to 4,096.
    pub fn parallelism(mut self, instances: &[usize]) -> Self {
        self.choices.parallelism = instances.to_vec();
        self
    }

    /// Each life of the process has another parallelism, and operators are rescaled while the job runs
    /// ([`FaultKind::Rescale`]). For topologies that can be rescaled, which those with state per instance cannot, and
    /// whose output does not depend on it.
    pub fn rescales(mut self) -> Self {
        self.choices.rescales = true;
        self
    }

    /// Each life of the process has the state of keys in one of these, rather than in what the configuration says.
    pub fn state_backends(mut self, backends: &[StateBackend]) -> Self {
        self.choices.backends = backends.to_vec();
        self
    }

    /// How often a checkpoint is made, in virtual time, in the run without faults and in all lives of the others,
    /// rather than as often as the seed says: above 0; `Duration::MAX` for none but the last.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.choices.checkpoint_interval = Some(interval);
        self.calm.clear();
        self
    }

    /// Does not compare the output of this sink with that of the run without faults: it may be another one in each run,
    /// as it depends on processing time or on the order of events.
    pub fn ignore_output(mut self, sink: &str) -> Self {
        self.judges.ignore(sink);
        self.calm.clear();
        self
    }

    /// Does not compare the output of this sink with that of the run without faults, but gives it to this closure
    /// whenever the job has finished, also in the run without faults: one text a record, in the order of the texts. An
    /// error or a panic, as of `assert!`, fails the run. A sink at least once may show records more than once.
    ///
    /// ```
    /// use watershed_actors::sinks::Collector;
    /// use watershed_actors::sources::Generator;
    /// use watershed_runtime::{Seed, Simulator, Topology};
    ///
    /// let topology = Topology::new("stamps");
    /// let numbers = topology.source("numbers", Generator::bounded(40, |n| n));
    /// numbers.sink_exactly_once("stamps", Collector::new().sink());
    /// let mut simulator = Simulator::new(&topology).check_output("stamps", |records| {
    ///     if records.len() == 40 { Ok(()) } else { Err(format!("{} records", records.len()).into()) }
    /// });
    /// simulator.run(Seed(1)).unwrap();
    /// ```
    pub fn check_output(mut self, sink: &str, check: impl Fn(&[String]) -> UserResult + 'a) -> Self {
        self.judges.check(sink, check);
        self.calm.clear();
        self
    }

    /// Reports a failure with all its faults, which is quicker than to look for the fewest.
    pub fn without_shrinking(mut self) -> Self {
        self.shrinks = false;
        self
    }

    /// After how many steps a run without faults counts as hanging (1,000,000): at least one. One with faults may take
    /// forty times as many as that one took.
    pub fn at_most_steps(mut self, steps: u64) -> Self {
        self.choices.steps_max = steps;
        self
    }

    /// Runs the topology without faults, with each parallelism that a seed may pick, to have what runs are compared
    /// with. Else that is done when it is needed first.
    ///
    /// # Errors
    /// What is wrong without any fault.
    pub fn rehearse(&mut self) -> Result<(), SimulationFailure> {
        self.check(Seed(0))?;
        for parallelism in self.choices.parallelism.clone() {
            self.run_calmly(Seed(0), parallelism)?;
        }
        Ok(())
    }

    /// Runs the topology with this seed.
    ///
    /// # Errors
    /// See [`simulate`].
    pub fn run(&mut self, seed: Seed) -> Result<Simulated, SimulationFailure> {
        let mut scenario = self.scenario(seed)?;
        let played = self.play(&scenario);
        if played.history.violation.is_none() {
            return Ok(simulated(seed, scenario, played));
        }
        if !self.shrinks {
            return Err(self.failure(&scenario, played, false));
        }
        let before = played.history.violation;
        let is_like = |violation: &Violation| before.as_ref().is_some_and(|before| violation.is_like(before));
        scenario.faults = shrink(scenario.faults.clone(), |faults| {
            let fewer = Scenario { faults: faults.to_vec(), ..scenario.clone() };
            self.play(&fewer).history.violation.as_ref().is_some_and(is_like)
        });
        let played = self.play(&scenario);
        Err(self.failure(&scenario, played, false))
    }

    /// Runs the topology with one seed after the other, until they or the time are used up: in no time at all, none.
    ///
    /// # Errors
    /// The first failure.
    pub fn run_many(
        &mut self,
        seeds: Range<u64>,
        budget: Duration,
    ) -> Result<Simulations, SimulationFailure> {
        let clock = SystemClock::new();
        let mut done = Simulations::default();
        for seed in seeds {
            if u128::from(clock.nanos()) >= budget.as_nanos() {
                break;
            }
            let simulated = self.run(Seed(seed))?;
            done.seeds += 1;
            done.lives += simulated.lives as u64;
            done.steps += simulated.steps;
        }
        Ok(done)
    }

    /// Looks whether each setting is in its range.
    fn check(&self, seed: Seed) -> Result<(), SimulationFailure> {
        let refused = |error: Error| {
            let mut played = Played::default();
            played.history.violate(Violation::Error(error.to_string()));
            let scenario = Scenario::calm(seed.0, 1, self.choices.checkpoint_interval);
            self.failure(&scenario, played, true)
        };
        self.base.check().and_then(|()| self.choices.check()).map_err(refused)
    }

    /// What the seed decides. It depends on how long the topology runs, so that one without faults is run before.
    fn scenario(&mut self, seed: Seed) -> Result<Scenario, SimulationFailure> {
        self.check(seed)?;
        let width = self.choices.parallelism[0];
        self.run_calmly(seed, width)?;
        let scenario = Scenario::draw(seed.0, &self.choices, &self.calm[&width].counts);
        self.run_calmly(seed, scenario.settings(0).parallelism)?;
        Ok(scenario)
    }

    /// Runs the topology once without faults.
    fn run_calmly(&mut self, seed: Seed, parallelism: usize) -> Result<(), SimulationFailure> {
        if self.calm.contains_key(&parallelism) {
            return Ok(());
        }
        let scenario = Scenario::calm(seed.0, parallelism, self.choices.checkpoint_interval);
        let played = self.stage(&scenario, None, self.choices.steps_max).play();
        if played.history.violation.is_some() {
            return Err(self.failure(&scenario, played, true));
        }
        self.calm.insert(parallelism, Calm { shown: played.shown, counts: played.counts });
        Ok(())
    }

    fn play(&self, scenario: &Scenario) -> Played {
        let calm = self.calm.get(&scenario.settings(0).parallelism);
        let hangs = scenario.faults.iter().filter(|fault| fault.kind == FaultKind::Hang).count() as u64;
        let calm_steps = calm.map_or(0, |calm| calm.counts.steps);
        let steps = calm_steps * HANG_FACTOR + HANG_STEPS + hangs * FOUND_STEPS;
        self.stage(scenario, calm.map(|calm| &calm.shown), steps).play()
    }

    fn stage<'s>(&'s self, scenario: &'s Scenario, expected: Option<&'s Shown>, steps_max: u64) -> Stage<'s> {
        let (topology, base, backends) = (self.topology, &self.base, self.choices.backends.as_slice());
        Stage { topology, base, backends, scenario, judges: &self.judges, expected, steps_max }
    }

    fn failure(&self, scenario: &Scenario, played: Played, calm: bool) -> SimulationFailure {
        SimulationFailure {
            seed: Seed(scenario.seed),
            violation: played
                .history
                .violation
                .unwrap_or(Violation::Hang("it did not fail again".to_string())),
            faults: scenario.faults.clone(),
            story: Box::new(Story {
                settings: scenario.settings(0).describe(),
                topology: self.topology.name().to_string(),
                journal: played.history.journal,
                calm,
            }),
        }
    }
}

fn simulated(seed: Seed, scenario: Scenario, played: Played) -> Simulated {
    Simulated {
        seed,
        lives: played.lives,
        steps: played.counts.steps,
        restarts: played.restarts,
        checkpoints: played.history.completed,
        rescales: played.history.rescaled,
        faults: scenario.faults,
        trace: played.history.trace,
        output: played.shown.into_iter().map(|(sink, (_, records))| (sink, records)).collect(),
    }
}
