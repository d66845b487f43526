//! Letting a simulated job run: what happens next, and until when.

use std::sync::Arc;
use std::task::Waker;

use watershed_actors::{Clock, Step};

use super::strike::{crash_one, hang_one, rescale, some_rescaling, stall_one};
use super::turn::Turn;
use super::{SimulatedHost, Wakeup, World, lock};
use crate::config::Config;
use crate::dice::Dice;
use crate::error::Error;
use crate::event::{Command, Event, Wanted};
use crate::faults::{Faults, Instead};
use crate::host::{Host, Surroundings};
use crate::master::Master;
use crate::outcome::{End, Outcome};
use crate::plan::Plan;
use crate::simulation::Simulation;
use crate::startup;
use crate::virtual_clock::VirtualClock;

/// Starts a job in a world of its own.
pub(crate) fn start(
    plan: Plan,
    config: Config,
    simulation: &Simulation,
) -> Result<(Master, Arc<World>), Error> {
    let fs = simulation.disk.fs();
    let clock = Arc::new(VirtualClock::starting_at(simulation.begin_nanos));
    let splits = startup::check_nodes(&plan, &fs)?;
    let checkpoints = startup::checkpoint_place(&config, &fs)?;
    let start = startup::start((plan, &splits), &config, checkpoints, &fs, &*clock)?;
    let world = World::new(Arc::clone(&clock), simulation.script.clone());
    if let Some(script) = &world.script {
        script.name_tasks(start.plan.task_names());
    }
    let surroundings =
        Surroundings { clock, pool: Arc::clone(&world) as _, fs, events: Arc::clone(&world) as _ };
    let host = Host::Simulated(SimulatedHost { surroundings, world: Arc::clone(&world) });
    Ok((Master::new(config, host, start), world))
}

/// How a simulated life came to its end.
pub(crate) enum Ending {
    /// The job has ended.
    Over(Result<Outcome, Error>),
    /// The process died, perhaps before the job had begun.
    Died(Option<Outcome>),
    /// It would never end.
    Hangs(String),
    /// A promise was seen broken.
    Violated,
}

/// Runs a job to its end, or to the end that the simulation prescribes.
pub(crate) fn run(master: Master, world: &Arc<World>, simulation: &Simulation) -> Result<Outcome, Error> {
    match play(master, world, simulation) {
        Ending::Over(result) => result,
        Ending::Died(outcome) => {
            simulation.disk.crash();
            outcome.ok_or_else(|| Error::internal("the process died before the job had begun"))
        }
        Ending::Hangs(how) => Err(Error::internal(format!("the simulated job does not end: {how}"))),
        Ending::Violated => Err(Error::internal("the engine broke a promise")),
    }
}

/// Lets happen what the dice say, step by step.
pub(crate) fn play(mut master: Master, world: &Arc<World>, simulation: &Simulation) -> Ending {
    let mut dice = Dice::new(simulation.seed);
    let mut steps = 0;
    master.start();
    let mut ending = loop {
        if let Some(result) = master.take_result() {
            break Ending::Over(result);
        }
        let Some(turn) = next_turn(world, &master, &mut dice) else {
            break Ending::Hangs("nothing can happen any more, and it is not over".to_string());
        };
        steps += 1;
        if steps > simulation.steps_max {
            break Ending::Hangs(too_many_steps(&master, world, simulation));
        }
        world.clock.advance(1 + dice.below(100_000) as u64);
        match world.instead(simulation, turn, steps) {
            Some(Instead::Die) => break Ending::Died(Some(master.outcome(End::Died))),
            Some(Instead::Stop) => master.handle(Event::Command(Command::Stop)),
            Some(Instead::Savepoint(uri, then)) => {
                let wanted = Wanted { uri, then, reply: Box::new(|_| {}) };
                master.handle(Event::Command(Command::Savepoint(wanted)));
            }
            Some(Instead::Rescale(wanted)) => {
                let wanted = wanted.unwrap_or_else(|| some_rescaling(&master, &mut dice));
                rescale(world, &mut master, wanted);
            }
            Some(Instead::Panic) => crash_one(world, turn, &mut dice),
            Some(Instead::Hang) => hang_one(world, turn, &mut dice),
            Some(Instead::Stall(nanos)) => stall_one(world, turn, nanos, &mut dice),
            None => {
                let operations = simulation.disk.operations();
                take_turn(world, &mut master, turn);
                if let Some(script) = &world.script {
                    let nanos = script.file_operations(simulation.disk.operations() - operations);
                    world.clock.advance(nanos);
                }
            }
        }
        if world.script.is_some() && simulation.disk.is_dead() {
            break Ending::Died(Some(master.outcome(End::Died)));
        }
        if world.script.as_ref().is_some_and(|script| script.is_violated()) {
            break Ending::Violated;
        }
    };
    // Tasks and world hold each other; this lets go.
    let left = std::mem::take(&mut *lock(&world.state));
    drop(left);
    if let Ending::Over(Ok(outcome)) | Ending::Died(Some(outcome)) = &mut ending {
        outcome.steps = steps;
    }
    ending
}

/// What a job has done instead of ending, and what can be done about it.
fn too_many_steps(master: &Master, world: &World, simulation: &Simulation) -> String {
    let nanos = world.clock.nanos().saturating_sub(simulation.begin_nanos);
    let checkpoints = master.outcome(End::Died).checkpoints;
    let often = nanos
        .checked_div(checkpoints)
        .map_or(String::new(), |every_nanos| format!(", one every {:.3} ms", every_nanos as f64 / 1e6));
    format!(
        "it was not over after {} steps, in which {:.3} s of virtual time have passed and {checkpoints} checkpoints were \
         made{often}. A source that has no end never ends here. If the job waits for a time of its own, as for timers or a \
         source with a rate, have checkpoints made more seldom (`checkpoint_interval`); if there is so much to do, allow more \
         steps (`at_most_steps`)",
        simulation.steps_max,
        nanos as f64 / 1e9
    )
}

impl Ending {
    /// What is known of the job, where it came to an end or died.
    pub(crate) fn outcome(&self) -> Option<&Outcome> {
        match self {
            Self::Over(Ok(outcome)) => Some(outcome),
            Self::Died(outcome) => outcome.as_ref(),
            Self::Over(Err(_)) | Self::Hangs(_) | Self::Violated => None,
        }
    }
}

impl World {
    /// What happens at a step in place of the turn.
    fn instead(&self, simulation: &Simulation, turn: Turn, step: u64) -> Option<Instead> {
        if simulation.die_at == Some(step) {
            return Some(Instead::Die);
        }
        if simulation.stop_at == Some(step) {
            return Some(Instead::Stop);
        }
        if let Some((_, uri, then)) = simulation.savepoint_at.iter().find(|(at, ..)| *at == step) {
            return Some(Instead::Savepoint(uri.clone(), *then));
        }
        if let Some((_, operator, instances)) = simulation.rescale_at.iter().find(|(at, ..)| *at == step) {
            return Some(Instead::Rescale(Some((operator.clone(), *instances))));
        }
        if simulation.panic_at.contains(&step) {
            return Some(Instead::Panic);
        }
        if simulation.hang_at.contains(&step) {
            return Some(Instead::Hang);
        }
        self.script.as_ref()?.step(turn.number(), self.clock.nanos())
    }
}

fn next_turn(world: &World, master: &Master, dice: &mut Dice) -> Option<Turn> {
    loop {
        let now = world.clock.nanos();
        let deliveries = lock(&world.state).release(now);
        for deliver in deliveries {
            deliver();
        }
        let state = lock(&world.state);
        let at_work =
            state.ready.iter().filter(|task| !state.stalled.contains_key(task) && !state.is_stuck(**task));
        let mut turns: Vec<Turn> = at_work.map(|task| Turn::Task(*task)).collect();
        turns.extend((0..state.left_behind.len()).map(Turn::LeftBehind));
        turns.extend((0..state.jobs.len()).map(Turn::Job));
        if !state.events.is_empty() || master.next_alarm() <= now {
            turns.push(Turn::Master);
        }
        if !turns.is_empty() {
            return Some(pick(world.script.as_deref(), &turns, dice));
        }
        let next = Some(state.next_alarm().min(master.next_alarm())).filter(|at| *at != u64::MAX)?;
        drop(state);
        world.clock.advance_to(next);
    }
}

/// How often the dice are thrown again for a turn that is slow.
const SLOW_ROLLS: usize = 6;

fn pick(script: Option<&dyn Faults>, turns: &[Turn], dice: &mut Dice) -> Turn {
    let mut turn = turns[dice.below(turns.len())];
    let Some(script) = script else { return turn };
    for _ in 0..SLOW_ROLLS {
        if !script.is_slow(turn.number()) {
            break;
        }
        turn = turns[dice.below(turns.len())];
    }
    turn
}

fn take_turn(world: &Arc<World>, master: &mut Master, turn: Turn) {
    match turn {
        Turn::Master => {
            let event = lock(&world.state).events.pop_front();
            match event {
                Some(event) => {
                    if let Some(script) = &world.script {
                        script.hears(&event);
                    }
                    master.handle(event);
                }
                None => master.advance(),
            }
        }
        Turn::LeftBehind(index) => {
            let cell = lock(&world.state).left_behind.swap_remove(index);
            lock(&cell).come_back();
        }
        Turn::Job(index) => {
            let job = lock(&world.state).jobs.swap_remove(index);
            job();
        }
        Turn::Task(task) => {
            let mut state = lock(&world.state);
            state.ready.remove(&task);
            state.alarms.remove(&task);
            let Some(entry) = state.tasks.get_mut(&task) else { return };
            let (cell, control) = (Arc::clone(&entry.cell), entry.controls.pop_front());
            if !entry.controls.is_empty() {
                state.ready.insert(task);
            }
            drop(state);
            let mut cell = lock(&cell);
            if let Some(control) = control {
                cell.control(control);
            }
            let waker = Waker::from(Arc::new(Wakeup { world: Arc::downgrade(world), task }));
            cell.wake_with(&waker);
            match cell.step() {
                Step::Ready => world.ready(task),
                Step::Waiting(u64::MAX) | Step::Stopped => {}
                Step::Waiting(at) => {
                    lock(&world.state).alarms.insert(task, at);
                }
            }
        }
    }
}
