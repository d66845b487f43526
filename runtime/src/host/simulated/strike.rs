//! What is done to a simulated job from outside: crashes, hangs, stalls, and somebody who rescales it.

use std::sync::Arc;

use watershed_actors::{Clock, TaskId};

use super::turn::Turn;
use super::{State, World, lock};
use crate::dice::Dice;
use crate::error::Error;
use crate::event::{Command, Event, Reply, WantedRescale};
use crate::master::Master;
use crate::rescale::Rescaled;

/// Instances that an operator is rescaled to at most, where the dice decide.
const RESCALED_TO: usize = 4;

/// Any operator, and a number of instances that it does not have.
pub(super) fn some_rescaling(master: &Master, dice: &mut Dice) -> (String, usize) {
    let operators: Vec<(&str, usize)> = master.operators().collect();
    let (operator, instances) = operators[dice.below(operators.len())];
    let others: Vec<usize> = (1..=RESCALED_TO).filter(|other| *other != instances).collect();
    (operator.to_string(), others[dice.below(others.len())])
}

/// Somebody wants an operator to have so many instances.
pub(super) fn rescale(world: &World, master: &mut Master, (operator, parallelism): (String, usize)) {
    let script = world.script.clone();
    if let Some(script) = &script {
        script.is_asked(format!("`{operator}` is to have {parallelism} instances"));
    }
    let reply: Reply<Result<Rescaled, Error>> = Box::new(move |rescaled| {
        let Some(script) = &script else { return };
        match rescaled {
            Ok(Rescaled { operator, from, to, checkpoint, .. }) => script.rescaled(format!(
                "`{operator}` went from {from} to {to} instances with checkpoint {checkpoint}"
            )),
            Err(error) => script.is_asked(error.to_string()),
        }
    });
    let wanted = WantedRescale { operator, parallelism, reply };
    master.handle(Event::Command(Command::Rescale(wanted)));
}

/// Lets the task whose turn it is fail, or any if it is nobody's.
pub(super) fn crash_one(world: &World, turn: Turn, dice: &mut Dice) {
    let state = lock(&world.state);
    let task = task_of(turn, &state, dice);
    let cell = task.and_then(|task| state.tasks.get(&task)).map(|entry| Arc::clone(&entry.cell));
    drop(state);
    if let Some(cell) = cell {
        lock(&cell).crash("a panic that the simulation prescribed");
    }
}

/// Lets the task whose turn it is, or any, never come back from its step: nothing on its thread happens any more.
pub(super) fn hang_one(world: &World, turn: Turn, dice: &mut Dice) {
    let mut state = lock(&world.state);
    let Some(task) = task_of(turn, &state, dice) else { return };
    let Some((cell, slot)) = state.tasks.get(&task).map(|entry| (Arc::clone(&entry.cell), entry.slot)) else {
        return;
    };
    if lock(&cell).hang() {
        state.stuck.insert(slot);
    }
}

/// Keeps the task whose turn it is from doing anything for a while.
pub(super) fn stall_one(world: &World, turn: Turn, nanos: u64, dice: &mut Dice) {
    let mut state = lock(&world.state);
    if let Some(task) = task_of(turn, &state, dice) {
        let until = world.clock.nanos() + nanos;
        state.stalled.insert(task, until);
    }
}

/// The task whose turn it is, or any if it is nobody's. What is on a thread that is stuck does nothing, so nothing can
/// happen to it.
pub(super) fn task_of(turn: Turn, state: &State, dice: &mut Dice) -> Option<TaskId> {
    if let Turn::Task(task) = turn {
        return Some(task);
    }
    let awake: Vec<TaskId> = state.tasks.keys().copied().filter(|task| !state.is_stuck(*task)).collect();
    if awake.is_empty() { None } else { Some(awake[dice.below(awake.len())]) }
}
