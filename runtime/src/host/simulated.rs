//! Tasks on one thread, in an order that a seed picks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Wake, Waker};

use watershed_actors::{Clock, Control, Envelope, Pool, Port, Step, Task, TaskCell, TaskId};

use crate::build::Endpoint;
use crate::config::Config;
use crate::error::Error;
use crate::host::{EventSink, Host, Surroundings, TaskHandle};
use crate::job::Outcome;
use crate::job::{End, checkpoint_place};
use crate::master::{Command, Event, Master, Reply, Wanted, WantedRescale};
use crate::plan::Plan;
use crate::rescale::Rescaled;
use crate::simulate::{Fate, Instead, Script};
use crate::simulation::{Dice, Simulation, VirtualClock};
use crate::startup;

/// Everything that can happen in a simulated process.
pub(crate) struct World {
    clock: Arc<VirtualClock>,
    /// What is to go wrong, and who is told what happens.
    script: Option<Arc<Script>>,
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
type Channel = (TaskId, u32, u32);

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
    fn new(clock: Arc<VirtualClock>, script: Option<Arc<Script>>) -> Arc<Self> {
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
    pub(crate) fn script(&self) -> Option<&Arc<Script>> {
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

/// What can happen next.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Task(TaskId),
    Job(usize),
    /// A task of a thread that was left behind.
    LeftBehind(usize),
    Master,
}

/// Starts a job in a world of its own.
pub(crate) fn start(
    plan: Plan,
    config: Config,
    simulation: &Simulation,
) -> Result<(Master, Arc<World>), Error> {
    let fs = simulation.disk.fs();
    let clock = Arc::new(VirtualClock::starting_at(simulation.begin_nanos));
    let splits = startup::check_nodes(&plan, &fs)?;
    let checkpoints = checkpoint_place(&config, &fs)?;
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
        Ending::Hangs(how) => Err(Error::internal(how)),
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
            break Ending::Hangs("the simulated job hangs: nothing can happen any more".to_string());
        };
        steps += 1;
        if steps > simulation.steps_max {
            break Ending::Hangs(format!("the simulated job did not end in {} steps", simulation.steps_max));
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

impl Turn {
    /// Tells it from others.
    fn number(self) -> u64 {
        match self {
            Self::Task(task) => 2 + u64::from(task.0),
            Self::Job(_) => 1,
            // Whatever comes back is one and the same surprise.
            Self::LeftBehind(_) => u64::MAX,
            Self::Master => 0,
        }
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

fn pick(script: Option<&Script>, turns: &[Turn], dice: &mut Dice) -> Turn {
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

/// Instances that an operator is rescaled to at most, where the dice decide.
const RESCALED_TO: usize = 4;

/// Any operator, and a number of instances that it does not have.
fn some_rescaling(master: &Master, dice: &mut Dice) -> (String, usize) {
    let operators: Vec<(&str, usize)> = master.operators().collect();
    let (operator, instances) = operators[dice.below(operators.len())];
    let others: Vec<usize> = (1..=RESCALED_TO).filter(|other| *other != instances).collect();
    (operator.to_string(), others[dice.below(others.len())])
}

/// Somebody wants an operator to have so many instances.
fn rescale(world: &World, master: &mut Master, (operator, parallelism): (String, usize)) {
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
fn crash_one(world: &World, turn: Turn, dice: &mut Dice) {
    let state = lock(&world.state);
    let task = task_of(turn, &state, dice);
    let cell = task.and_then(|task| state.tasks.get(&task)).map(|entry| Arc::clone(&entry.cell));
    drop(state);
    if let Some(cell) = cell {
        lock(&cell).crash("a panic that the simulation prescribed");
    }
}

/// Lets the task whose turn it is, or any, never come back from its step: nothing on its thread happens any more.
fn hang_one(world: &World, turn: Turn, dice: &mut Dice) {
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
fn stall_one(world: &World, turn: Turn, nanos: u64, dice: &mut Dice) {
    let mut state = lock(&world.state);
    if let Some(task) = task_of(turn, &state, dice) {
        let until = world.clock.nanos() + nanos;
        state.stalled.insert(task, until);
    }
}

/// The task whose turn it is, or any if it is nobody's. What is on a thread that is stuck does nothing, so nothing can happen
/// to it.
fn task_of(turn: Turn, state: &State, dice: &mut Dice) -> Option<TaskId> {
    if let Turn::Task(task) = turn {
        return Some(task);
    }
    let awake: Vec<TaskId> = state.tasks.keys().copied().filter(|task| !state.is_stuck(*task)).collect();
    if awake.is_empty() { None } else { Some(awake[dice.below(awake.len())]) }
}
