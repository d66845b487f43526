//! Tasks on one thread, in an order that a seed picks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};

use watershed_actors::{Clock, Control, Envelope, Pool, Port, Step, Task, TaskCell, TaskId};

use crate::build::Endpoint;
use crate::error::Error;
use crate::host::{EventSink, Surroundings, TaskHandle};
use crate::job::Outcome;
use crate::master::{Command, Event, Master};
use crate::simulation::{Dice, Simulation, VirtualClock};

/// Everything that can happen in a simulated process.
pub(crate) struct World {
    clock: Arc<VirtualClock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, Entry>,
    /// Tasks that have something to do.
    ready: BTreeSet<TaskId>,
    /// When a task wants to be stepped at the latest.
    alarms: BTreeMap<TaskId, u64>,
    jobs: Vec<Box<dyn FnOnce() + Send>>,
    events: VecDeque<Event>,
    /// Slots whose thread is stuck: nothing on them is stepped.
    stuck: BTreeSet<usize>,
    /// What was on a thread that was left behind, and which of it had been stuck: it may come back at any time.
    left_behind: Vec<Arc<Mutex<dyn SimulatedTask>>>,
}

impl State {
    /// Whether a task lives on a thread that is stuck.
    fn is_stuck(&self, task: TaskId) -> bool {
        self.tasks.get(&task).is_some_and(|entry| self.stuck.contains(&entry.slot))
    }
}

struct Entry {
    cell: Arc<Mutex<dyn SimulatedTask>>,
    controls: VecDeque<Control>,
    slot: usize,
}

/// A [`TaskCell`], whatever its type.
trait SimulatedTask: Send {
    fn step(&mut self) -> Step;
    fn control(&mut self, control: Control);
    fn crash(&mut self, cause: &str);
    fn hang(&self) -> bool;
    fn come_back(&mut self);
    fn wake_with(&self, waker: &Waker);
}

impl<T: Task> SimulatedTask for TaskCell<T> {
    fn step(&mut self) -> Step {
        TaskCell::step(self)
    }
    fn control(&mut self, control: Control) {
        TaskCell::control(self, control);
    }
    fn crash(&mut self, cause: &str) {
        TaskCell::crash(self, cause);
    }
    fn hang(&self) -> bool {
        TaskCell::hang(self);
        !self.is_dead()
    }
    fn come_back(&mut self) {
        TaskCell::come_back(self);
        // By now it has seen that it is fenced.
        TaskCell::step(self);
    }
    fn wake_with(&self, waker: &Waker) {
        self.env().waker.register(waker);
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(clock: Arc<VirtualClock>) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default() })
    }

    fn ready(&self, task: TaskId) {
        lock(&self.state).ready.insert(task);
    }

    /// Leaves behind all that is on a slot.
    pub(crate) fn replace(&self, slot: usize) {
        let mut state = lock(&self.state);
        state.stuck.remove(&slot);
        let lost: Vec<TaskId> =
            state.tasks.iter().filter(|(_, entry)| entry.slot == slot).map(|(task, _)| *task).collect();
        for task in lost {
            state.ready.remove(&task);
            state.alarms.remove(&task);
            let left = state.tasks.remove(&task).map(|entry| entry.cell);
            state.left_behind.extend(left);
        }
    }
}

impl EventSink for World {
    fn event(&self, event: Event) {
        lock(&self.state).events.push_back(event);
    }
}

impl Pool for World {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        lock(&self.state).jobs.push(job);
    }
}

/// Wakes a simulated task.
struct Wakeup {
    world: Weak<World>,
    task: TaskId,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        if let Some(world) = self.world.upgrade() {
            world.ready(self.task);
        }
    }
}

/// The end of a channel in the simulation.
struct SimulatedPort<T: Task> {
    cell: Arc<Mutex<TaskCell<T>>>,
    world: Weak<World>,
    task: TaskId,
}

impl<T: Task> Port<T::In> for SimulatedPort<T> {
    fn deliver(&self, envelope: Envelope<T::In>) {
        lock(&self.cell).file(envelope);
        if let Some(world) = self.world.upgrade() {
            world.ready(self.task);
        }
    }
}

/// Runs tasks on the calling thread.
pub(crate) struct SimulatedHost {
    pub(crate) surroundings: Surroundings,
    pub(crate) world: Arc<World>,
}

impl SimulatedHost {
    pub(crate) fn spawn<T: Task + 'static>(
        &self,
        cell: TaskCell<T>,
        task: TaskId,
        slot: usize,
    ) -> (Endpoint<T::In>, TaskHandle) {
        let cell = Arc::new(Mutex::new(cell));
        let entry = Entry {
            cell: Arc::clone(&cell) as Arc<Mutex<dyn SimulatedTask>>,
            controls: VecDeque::new(),
            slot,
        };
        let mut state = lock(&self.world.state);
        let before = state.tasks.insert(task, entry);
        state.ready.insert(task);
        drop(state);
        drop(before);
        let world = Arc::downgrade(&self.world);
        let endpoint = Endpoint(Arc::new(move || {
            Box::new(SimulatedPort { cell: Arc::clone(&cell), world: Weak::clone(&world), task })
                as Box<dyn Port<T::In>>
        }));
        let world = Arc::downgrade(&self.world);
        let handle = TaskHandle(Box::new(move |control| {
            let Some(world) = world.upgrade() else { return };
            let mut state = lock(&world.state);
            if let Some(entry) = state.tasks.get_mut(&task) {
                entry.controls.push_back(control);
                state.ready.insert(task);
            }
        }));
        (endpoint, handle)
    }
}

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Task(TaskId),
    Job(usize),
    /// A task of a thread that was left behind.
    LeftBehind(usize),
    Master,
}

/// Runs a job to its end, or to the end that the simulation prescribes.
pub(crate) fn run(mut master: Master, world: &Arc<World>, simulation: &Simulation) -> Result<Outcome, Error> {
    let mut dice = Dice::new(simulation.seed);
    let mut steps = 0;
    master.start();
    let result = loop {
        if let Some(result) = master.take_result() {
            break result;
        }
        let Some(turn) = next_turn(world, &master, &mut dice) else {
            break Err(Error::internal("the simulated job hangs: nothing can happen any more"));
        };
        steps += 1;
        if simulation.die_at == Some(steps) {
            break Ok(master.outcome(crate::job::End::Died));
        }
        if steps > simulation.steps_max {
            break Err(Error::internal(format!("the simulated job did not end in {steps} steps")));
        }
        world.clock.advance(1 + dice.below(100_000) as u64);
        if simulation.stop_at == Some(steps) {
            master.handle(Event::Command(Command::Stop));
            continue;
        }
        if simulation.hang_at.contains(&steps) {
            hang_one(world, turn, &mut dice);
            continue;
        }
        if simulation.panic_at.contains(&steps) {
            crash_one(world, turn, &mut dice);
            continue;
        }
        take_turn(world, &mut master, turn);
    };
    // Tasks and world hold each other; this lets go.
    let left = std::mem::take(&mut *lock(&world.state));
    drop(left);
    if matches!(&result, Ok(outcome) if outcome.end == crate::job::End::Died) {
        drop(master);
        simulation.disk.crash();
    }
    result.map(|mut outcome| {
        outcome.steps = steps;
        outcome
    })
}

fn next_turn(world: &World, master: &Master, dice: &mut Dice) -> Option<Turn> {
    loop {
        let now = world.clock.nanos();
        let mut state = lock(&world.state);
        let due: Vec<TaskId> =
            state.alarms.iter().filter(|(_, at)| **at <= now).map(|(task, _)| *task).collect();
        for task in due {
            state.alarms.remove(&task);
            state.ready.insert(task);
        }
        let mut turns: Vec<Turn> =
            state.ready.iter().filter(|task| !state.is_stuck(**task)).map(|task| Turn::Task(*task)).collect();
        turns.extend((0..state.left_behind.len()).map(Turn::LeftBehind));
        turns.extend((0..state.jobs.len()).map(Turn::Job));
        if !state.events.is_empty() || master.next_alarm() <= now {
            turns.push(Turn::Master);
        }
        if !turns.is_empty() {
            return Some(turns[dice.below(turns.len())]);
        }
        let alarms = state.alarms.values().copied().chain([master.next_alarm()]);
        let next = alarms.min().filter(|at| *at != u64::MAX)?;
        drop(state);
        world.clock.advance_to(next);
    }
}

fn take_turn(world: &Arc<World>, master: &mut Master, turn: Turn) {
    match turn {
        Turn::Master => {
            let event = lock(&world.state).events.pop_front();
            match event {
                Some(event) => master.handle(event),
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

/// The task whose turn it is, or any if it is nobody's.
fn pick_task(state: &State, turn: Turn, dice: &mut Dice) -> Option<TaskId> {
    match turn {
        Turn::Task(task) => Some(task),
        _ if state.tasks.is_empty() => None,
        _ => state.tasks.keys().nth(dice.below(state.tasks.len())).copied(),
    }
}

/// Lets the task whose turn it is fail, or any if it is nobody's.
fn crash_one(world: &World, turn: Turn, dice: &mut Dice) {
    let state = lock(&world.state);
    let task = pick_task(&state, turn, dice);
    let cell = task.and_then(|task| state.tasks.get(&task)).map(|entry| Arc::clone(&entry.cell));
    drop(state);
    if let Some(cell) = cell {
        lock(&cell).crash("a panic that the simulation prescribed");
    }
}

/// Lets the task whose turn it is, or any, never come back from its step: nothing on its thread happens any more.
fn hang_one(world: &World, turn: Turn, dice: &mut Dice) {
    let mut state = lock(&world.state);
    let Some(task) = pick_task(&state, turn, dice).filter(|task| !state.is_stuck(*task)) else { return };
    let Some((cell, slot)) = state.tasks.get(&task).map(|entry| (Arc::clone(&entry.cell), entry.slot)) else {
        return;
    };
    if lock(&cell).hang() {
        state.stuck.insert(slot);
    }
}
