//! Tasks on one thread, in an order that a seed picks.

mod play;
mod strike;
mod turn;

pub(crate) use play::{Ending, play, run, start};

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};

use watershed_actors::{Clock, Control, Envelope, Pool, Port, Step, Task, TaskCell, TaskId};

use crate::endpoint::Endpoint;
use crate::event::Event;
use crate::faults::Fate;
use crate::faults::Faults;
use crate::host::{EventSink, Surroundings, TaskHandle};

use crate::virtual_clock::VirtualClock;

/// Everything that can happen in a simulated process.
pub(crate) struct World {
    clock: Arc<VirtualClock>,
    /// What is to go wrong, and who is told what happens.
    script: Option<Arc<dyn Faults>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: BTreeMap<TaskId, Entry>,
    /// Tasks that have something to do.
    ready: BTreeSet<TaskId>,
    /// When a task wants to be stepped at the latest.
    alarms: BTreeMap<TaskId, u64>,
    jobs: Vec<Job>,
    events: VecDeque<Event>,
    /// What comes late, by when and in which order.
    late: BTreeMap<(u64, u64), Late>,
    lates: u64,
    /// Channels that something is late on: how much, and when the last of it comes.
    behind: BTreeMap<Channel, Behind>,
    /// Tasks that do nothing before some time.
    stalled: BTreeMap<TaskId, u64>,
    /// Slots whose thread is stuck: nothing on them is stepped.
    stuck: BTreeSet<usize>,
    /// What was on a thread that was left behind, and which of it had been stuck: it may come back at any time.
    left_behind: Vec<Arc<Mutex<dyn SimulatedTask>>>,
}

type Job = Box<dyn FnOnce() + Send>;

enum Late {
    Job(Job),
    Event(Event),
    /// A message, and what puts it into the mailbox.
    Delivery(Channel, Job),
}

/// A channel of a run: the receiver, the run, and the position among its inputs.
type Channel = (TaskId, u64, u32);

struct Behind {
    count: usize,
    until: u64,
}

impl State {
    fn hold(&mut self, until: u64, late: Late) {
        self.lates += 1;
        self.late.insert((until, self.lates), late);
    }

    /// Holds back what is sent on a channel, behind what was held back on it before.
    fn hold_delivery(&mut self, channel: Channel, until: u64, delivery: Job) {
        let behind = self.behind.entry(channel).or_insert(Behind { count: 0, until });
        behind.count += 1;
        behind.until = behind.until.max(until);
        let until = behind.until;
        self.hold(until, Late::Delivery(channel, delivery));
    }

    /// Lets happen what was to happen by now. Returns what is to be delivered, in order.
    fn release(&mut self, now: u64) -> Vec<Job> {
        let due: Vec<TaskId> =
            self.alarms.iter().filter(|(_, at)| **at <= now).map(|(task, _)| *task).collect();
        for task in due {
            self.alarms.remove(&task);
            self.ready.insert(task);
        }
        self.stalled.retain(|_, until| *until > now);
        let mut deliveries = Vec::new();
        while let Some(entry) = self.late.first_entry().filter(|entry| entry.key().0 <= now) {
            match entry.remove() {
                Late::Job(job) => self.jobs.push(job),
                Late::Event(event) => self.events.push_back(event),
                Late::Delivery(channel, delivery) => {
                    if let Some(behind) = self.behind.get_mut(&channel) {
                        behind.count -= 1;
                        if behind.count == 0 {
                            self.behind.remove(&channel);
                        }
                    }
                    deliveries.push(delivery);
                }
            }
        }
        deliveries
    }

    /// When something happens by itself.
    fn next_alarm(&self) -> u64 {
        let alarms = self.alarms.iter().map(|(task, at)| match self.stalled.get(task) {
            Some(until) => *at.max(until),
            None => *at,
        });
        let stalled = self.stalled.values().copied();
        let late = self.late.first_key_value().map(|((at, _), _)| *at);
        alarms.chain(stalled).chain(late).min().unwrap_or(u64::MAX)
    }

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
    fn new(clock: Arc<VirtualClock>, script: Option<Arc<dyn Faults>>) -> Arc<Self> {
        Arc::new(Self { clock, script, state: Mutex::default() })
    }

    fn ready(&self, task: TaskId) {
        lock(&self.state).ready.insert(task);
    }

    /// For how long what is sent on a channel now is held back, if it is.
    fn delay_of(&self, channel: Channel) -> Option<u64> {
        let (task, _, number) = channel;
        let delay = self.script.as_ref()?.delivery(task, number);
        // What comes later must not overtake.
        delay.or_else(|| lock(&self.state).behind.contains_key(&channel).then_some(0))
    }

    /// The tasks are others from now on.
    pub(crate) fn rescaled(&self, names: Vec<String>) {
        let mut state = lock(&self.state);
        let gone = (std::mem::take(&mut state.tasks), std::mem::take(&mut state.ready));
        state.alarms.clear();
        state.stalled.clear();
        drop(state);
        drop(gone);
        if let Some(script) = &self.script {
            script.name_tasks(names);
        }
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
        let fate = self.script.as_ref().map_or(Fate::Arrives, |script| script.fate_of(&event));
        let mut state = lock(&self.state);
        match fate {
            Fate::Arrives => state.events.push_back(event),
            Fate::Late(nanos) => state.hold(self.clock.nanos() + nanos, Late::Event(event)),
            Fate::Lost => {}
        }
    }
}

impl Pool for World {
    fn run(&self, job: Job) {
        let held = self.script.as_ref().and_then(|script| script.job());
        let mut state = lock(&self.state);
        match held {
            None => state.jobs.push(job),
            Some(nanos) => state.hold(self.clock.nanos() + nanos, Late::Job(job)),
        }
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

impl<T: Task + 'static> Port<T::In> for SimulatedPort<T> {
    fn deliver(&self, envelope: Envelope<T::In>) {
        let Some(world) = self.world.upgrade() else { return };
        let channel = (self.task, envelope.run, envelope.channel);
        let (cell, task, receiver) = (Arc::clone(&self.cell), self.task, Weak::clone(&self.world));
        let delivery = move || {
            lock(&cell).file(envelope);
            if let Some(world) = receiver.upgrade() {
                world.ready(task);
            }
        };
        match world.delay_of(channel) {
            None => delivery(),
            Some(nanos) => {
                let until = world.clock.nanos() + nanos;
                lock(&world.state).hold_delivery(channel, until, Box::new(delivery));
            }
        }
    }
}

/// Runs tasks on the calling thread.
pub(crate) struct SimulatedHost {
    pub(crate) surroundings: Surroundings,
    pub(crate) world: Arc<World>,
}

impl SimulatedHost {
    /// What is to go wrong, where the simulator runs the job.
    pub(crate) fn script(&self) -> Option<&Arc<dyn Faults>> {
        self.world.script.as_ref()
    }

    pub(crate) fn spawn<T: Task + 'static>(
        &self,
        cell: TaskCell<T>,
        task: TaskId,
        slot: usize,
    ) -> (Endpoint<T::In>, TaskHandle) {
        if let Some(script) = self.script() {
            script.launches(task, cell.env().run);
        }
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
            if let Some(script) = &world.script {
                script.tells(control);
            }
            let mut state = lock(&world.state);
            if let Some(entry) = state.tasks.get_mut(&task) {
                entry.controls.push_back(control);
                state.ready.insert(task);
            }
        }));
        (endpoint, handle)
    }
}
