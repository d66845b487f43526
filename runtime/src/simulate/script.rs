//! One life of a simulated process: what befalls it, and what is seen of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use watershed_actors::{Control, FailureKind, SkipEntry, TaskEvent, TaskId, UserResult};
use watershed_state::{DiskFault, SimulatedDisk, durable_skips, hash_key};

use crate::event::{Event, Stored};
use crate::faults::Fate;
use crate::faults::Faults;
use crate::faults::Instead;
use crate::faults::SinkCall;
use crate::faults::SinkFaults;
use crate::faults::{Guarantee, Opened};
use crate::simulate::failure::Violation;
use crate::simulate::fault::{Fault, FaultKind, FaultPlace};
use crate::simulate::history::History;
use crate::simulate::journal::Note;

/// Asked by the scheduler, the control plane's mailbox, the pool and the sinks of a simulated process what is to go
/// wrong now, and told what happens.
#[derive(Debug)]
pub(crate) struct Script {
    /// Decides what is slow.
    seed: u64,
    disk: SimulatedDisk,
    checkpoints: PathBuf,
    /// Names of the tasks.
    names: Mutex<Vec<String>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    armed: Vec<Armed>,
    counts: Counts,
    nanos: u64,
    /// When the newest checkpoint began.
    checkpoint_nanos: u64,
    /// Files that were taken away, and what was in them.
    lost: Vec<(PathBuf, Vec<u8>)>,
    history: History,
}

#[derive(Debug)]
struct Armed {
    fault: Fault,
    struck: bool,
    /// Of those that the disk lets strike: by this it is asked whether it has.
    on_disk: Option<DiskFault>,
}

/// How much of everything there was.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    pub(crate) steps: u64,
    pub(crate) operations: u64,
    pub(crate) renames: u64,
    pub(crate) jobs: u64,
    pub(crate) reports: u64,
    pub(crate) acknowledgements: u64,
    pub(crate) sink_calls: BTreeMap<SinkCall, u64>,
    /// How long the longest complete checkpoint took.
    pub(crate) checkpoint_micros: u64,
}

impl Counts {
    /// Adds those of another life.
    pub(crate) fn add(&mut self, other: &Counts) {
        self.steps += other.steps;
        self.operations += other.operations;
        self.renames += other.renames;
        self.jobs += other.jobs;
        self.reports += other.reports;
        self.acknowledgements += other.acknowledgements;
        for (call, count) in &other.sink_calls {
            *self.sink_calls.entry(*call).or_default() += count;
        }
        self.checkpoint_micros = self.checkpoint_micros.max(other.checkpoint_micros);
    }
}

/// What is left of a life.
pub(crate) struct Finished {
    pub(crate) history: History,
    pub(crate) counts: Counts,
    /// Something really went wrong that excuses an error.
    pub(crate) excused: bool,
    /// The job was asked to stop.
    pub(crate) stopped: bool,
    pub(crate) nanos: u64,
}

/// One of so many channels is slow when some are.
const SLOW_CHANNELS: u64 = 3;
/// Steps after which others are slow.
const SLOW_STEPS: u64 = 128;

impl Script {
    pub(crate) fn new(
        seed: u64,
        disk: &SimulatedDisk,
        checkpoints: PathBuf,
        faults: Vec<Fault>,
        history: History,
    ) -> Self {
        let arm = |fault| Armed { on_disk: arm(disk, &checkpoints, &fault), fault, struck: false };
        let armed = faults.into_iter().map(arm).collect();
        Self {
            seed,
            disk: disk.clone(),
            checkpoints,
            names: Mutex::default(),
            state: Mutex::new(State {
                armed,
                counts: Counts::default(),
                nanos: 0,
                checkpoint_nanos: 0,
                lost: Vec::new(),
                history,
            }),
        }
    }

    /// The process begins at this time.
    pub(crate) fn beginning_at(self, nanos: u64) -> Self {
        self.lock().nanos = nanos;
        self
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn name(&self, task: TaskId) -> String {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.get(task.0 as usize).cloned().unwrap_or_else(|| format!("task {}", task.0))
    }

    /// Takes the parts of the newest checkpoint away, once there is one after it is time to.
    fn lose_files(&self, state: &mut State, step: u64) {
        let is_due = |armed: &Armed| {
            armed.fault.kind == FaultKind::LostFiles && !armed.struck && armed.fault.place.number() <= step
        };
        let Some(index) = state.armed.iter().position(is_due) else { return };
        let ids = self.disk.durable_names(&self.checkpoints).into_iter();
        let ids = ids.filter_map(|name| name.strip_prefix("chk-")?.parse::<u64>().ok());
        let Some(newest) = ids.filter(|id| self.disk.durable(&self.manifest(*id)).is_some()).max() else {
            return;
        };
        let folder = self.checkpoints.join(format!("chk-{newest}"));
        let is_part =
            |name: &String| Path::new(name).extension().is_some_and(|extension| extension == "part");
        let names = self.disk.durable_names(&folder).into_iter().filter(is_part);
        for path in names.map(|name| folder.join(name)) {
            let taken = self.disk.take_away(&path);
            state.lost.extend(taken.map(|bytes| (path, bytes)));
        }
        state.hit(index);
    }

    /// Whether this checkpoint or one after it would be found after a power cut.
    fn is_durable_from(&self, checkpoint: u64) -> bool {
        let names = self.disk.durable_names(&self.checkpoints);
        let mut ids = names.iter().filter_map(|name| name.strip_prefix("chk-")?.parse::<u64>().ok());
        ids.any(|id| id >= checkpoint && self.disk.durable(&self.manifest(id)).is_some())
    }

    fn manifest(&self, checkpoint: u64) -> PathBuf {
        self.checkpoints.join(format!("chk-{checkpoint}/manifest"))
    }

    /// The process comes to its end.
    pub(crate) fn ends(&self, note: Note) {
        let mut state = self.lock();
        // What the disk refused at the very start no step has told.
        state.ask(&self.disk);
        state.note(note);
    }

    /// Takes out what is left when the life is over, after so many file operations.
    pub(crate) fn finish(&self, operations: u64, renames: u64) -> Finished {
        let mut state = self.lock();
        state.counts.operations = operations;
        state.counts.renames = renames;
        for (path, bytes) in std::mem::take(&mut state.lost) {
            self.disk.put_back(&path, &bytes);
        }
        let struck =
            |is: fn(FaultKind) -> bool| state.armed.iter().any(|armed| armed.struck && is(armed.fault.kind));
        let excused = struck(FaultKind::excuses_error);
        let stopped = struck(|kind| kind == FaultKind::Stop);
        Finished {
            history: std::mem::take(&mut state.history),
            counts: std::mem::take(&mut state.counts),
            excused,
            stopped,
            nanos: state.nanos,
        }
    }
}

impl Faults for Script {
    /// The tasks are called so from now on.
    fn name_tasks(&self, names: Vec<String>) {
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// A step begins. Returns what happens instead, if anything.
    fn step(&self, turn: u64, nanos: u64) -> Option<Instead> {
        let mut state = self.lock();
        state.counts.steps += 1;
        state.nanos = nanos;
        let step = state.counts.steps;
        state.history.trace(turn.wrapping_add(nanos << 16));
        self.lose_files(&mut state, step);
        let due = |fault: &Fault| matches!(fault.place, FaultPlace::Step(at) if at <= step);
        let is_for_now = |fault: &Fault| !fault.kind.is_slowness() && fault.kind != FaultKind::LostFiles;
        let fault = state.strike(|fault| due(fault) && is_for_now(fault))?;
        match fault.kind {
            FaultKind::Panic => Some(Instead::Panic),
            FaultKind::Hang => Some(Instead::Hang),
            FaultKind::Stop => Some(Instead::Stop),
            FaultKind::Rescale => Some(Instead::Rescale(None)),
            FaultKind::Stall => Some(Instead::Stall(fault.micros * 1_000)),
            kind => kind.is_death().then_some(Instead::Die),
        }
    }

    /// So many file operations were made in a step. Returns how long they take.
    fn file_operations(&self, operations: u64) -> u64 {
        if operations == 0 {
            return 0;
        }
        let mut state = self.lock();
        state.ask(&self.disk);
        let slow = state.strike_for_now(FaultKind::SlowDisk);
        slow.iter().map(|fault| fault.micros * 1_000 * operations).sum()
    }

    /// Something is sent on a channel of a task. Returns for how long it is held back.
    fn delivery(&self, task: TaskId, channel: u32) -> Option<u64> {
        let mut state = self.lock();
        let is_slow = |fault: &Fault| {
            hash_key(&(self.seed, fault.place.number(), task.0, channel)).is_multiple_of(SLOW_CHANNELS)
        };
        let slow = state.strike_for_now_if(FaultKind::SlowEdge, is_slow);
        slow.iter().map(|fault| fault.micros * 1_000).max()
    }

    /// Whether this turn is one of those that come seldom for now.
    fn is_slow(&self, turn: u64) -> bool {
        let epoch = self.lock().counts.steps / SLOW_STEPS;
        hash_key(&(self.seed, epoch)).is_multiple_of(2)
            && hash_key(&(self.seed, epoch, turn)).is_multiple_of(3)
    }

    /// A job is given to the pool. Returns for how long it is held back.
    fn job(&self) -> Option<u64> {
        let mut state = self.lock();
        state.counts.jobs += 1;
        let job = state.counts.jobs;
        let slow = |fault: &Fault| {
            fault.kind == FaultKind::SlowJob
                && matches!(fault.place, FaultPlace::Job(at) if (at..at.saturating_add(fault.span)).contains(&job))
        };
        let index = state.armed.iter().position(|armed| slow(&armed.fault))?;
        Some(state.hit(index).micros * 1_000)
    }

    /// Something is reported to the control plane. Only what is done beside the data path can come late: what an actor
    /// says comes in order.
    fn fate_of(&self, event: &Event) -> Fate {
        let mut state = self.lock();
        let is_acknowledgement =
            matches!(event, Event::Report(report) if matches!(report.event, TaskEvent::Acknowledged { .. }));
        match event {
            Event::Stored { .. }
            | Event::Copied { .. }
            | Event::Loaded { .. }
            | Event::ReadForRescale { .. } => {}
            Event::Report(report) => match report.event {
                TaskEvent::Acknowledged { .. } | TaskEvent::Declined { .. } | TaskEvent::Committed(_) => {}
                _ => return Fate::Arrives,
            },
            Event::Command(_) => return Fate::Arrives,
        }
        state.counts.reports += 1;
        let report = state.counts.reports;
        if is_acknowledgement {
            state.counts.acknowledgements += 1;
            let at = state.counts.acknowledgements;
            let lost = state.strike(|fault| fault.place == FaultPlace::Acknowledgement(at));
            if lost.is_some() {
                return Fate::Lost;
            }
        }
        let late = state.strike(|fault| fault.place == FaultPlace::Report(report));
        late.map_or(Fate::Arrives, |fault| Fate::Late(fault.micros * 1_000))
    }

    /// The control plane takes an event.
    fn hears(&self, event: &Event) {
        let mut state = self.lock();
        match event {
            Event::Stored { checkpoint, stored: Stored::Complete } => {
                state.history.completed += 1;
                let micros = (state.nanos - state.checkpoint_nanos) / 1_000;
                state.counts.checkpoint_micros = state.counts.checkpoint_micros.max(micros);
                state.note(Note::CheckpointComplete(*checkpoint));
            }
            Event::Stored { checkpoint, stored } => {
                state.note(Note::ManifestNotStored(*checkpoint));
                // What follows builds on the one before, so that no process may ever find it.
                let manifest = self.manifest(*checkpoint);
                if !matches!(stored, Stored::Unknown(_)) && self.disk.may_hold(&manifest) {
                    let what = format!("checkpoint {checkpoint} is given up, but may be found on the disk");
                    state.history.violate(Violation::Broken(what));
                }
            }
            Event::Report(report) => match &report.event {
                TaskEvent::Failed(failure) => {
                    let name = self.name(report.task);
                    if failure.kind == FailureKind::Internal {
                        state.history.violate(Violation::Broken(format!("{name} {failure}")));
                    }
                    state.note(Note::Failed(name, report.run, failure.to_string()));
                }
                TaskEvent::Declined { checkpoint, .. } => {
                    state.note(Note::Declined(self.name(report.task), *checkpoint));
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// A task is told something.
    fn tells(&self, control: Control) {
        let mut state = self.lock();
        match control {
            Control::Trigger(id) | Control::TriggerLast(id) => {
                if state.history.triggered(id) {
                    state.checkpoint_nanos = state.nanos;
                    state.note(Note::CheckpointBegun(id));
                }
            }
            Control::Abort(id) => {
                if state.history.given_up(id) {
                    state.note(Note::CheckpointGivenUp(id));
                }
            }
            Control::Start | Control::Complete(_) | Control::Drain | Control::SaveAll | Control::Stop => {}
        }
    }

    /// Something is asked of the job, or it refuses.
    fn is_asked(&self, what: String) {
        self.lock().note(Note::Asked(what));
    }

    /// An operator was rescaled.
    fn rescaled(&self, what: String) {
        let mut state = self.lock();
        state.history.rescaled += 1;
        state.note(Note::Asked(what));
    }

    /// A task is launched in a run.
    fn launches(&self, task: TaskId, run: u64) {
        let mut state = self.lock();
        if state.history.launched(task, &self.name(task), run) {
            state.note(Note::Launched(run));
        }
    }

    /// A task is launched that leaves these records out. They must be known after a power cut, too: otherwise the next
    /// process fails again, and gives numbers that are taken.
    fn leaves_out(&self, entries: &[SkipEntry]) {
        let durable = durable_skips::<SkipEntry>(&self.disk, &self.checkpoints).unwrap_or_default();
        if let Some(entry) = entries.iter().find(|entry| !durable.contains(entry)) {
            let (operator, record) = (&entry.operator, &entry.evidence.payload);
            let what = format!("`{operator}` leaves out {record}, which is not on the list on the disk");
            self.lock().history.violate(Violation::Broken(what));
        }
    }

    /// Whether a promise was seen broken.
    fn is_violated(&self) -> bool {
        self.lock().history.violation.is_some()
    }
}

impl SinkFaults for Script {
    /// A sink is called; it may have to fail in place of what it is called for.
    fn sink_call(&self, call: SinkCall) -> UserResult {
        let mut state = self.lock();
        let count = state.counts.sink_calls.entry(call).or_default();
        *count += 1;
        let place = FaultPlace::SinkCall(call, *count);
        let Some(fault) = state.strike(|fault| fault.place == place) else { return Ok(()) };
        drop(state);
        if fault.kind == FaultKind::SinkPanic {
            // Without the message on the console that every panic of a simulation would print.
            std::panic::resume_unwind(Box::new("a panic of the sink that the simulation prescribed"));
        }
        Err("an error of the sink that the simulation prescribed".into())
    }

    /// A sink is there.
    fn sink(&self, name: &str, guarantee: Guarantee) {
        self.lock().history.outputs.register(name, guarantee);
    }

    fn sink_opens(&self, opened: Opened) {
        self.lock().history.outputs.opened(opened);
    }

    fn sink_discarded(&self, sink: &str, runs: &std::ops::Range<u64>, instance: Option<usize>) {
        self.lock().history.outputs.discarded(sink, runs, instance);
    }

    fn sink_prepared(&self, by: &Opened, id: Vec<u8>, checkpoint: u64, records: Vec<String>) {
        self.lock().history.outputs.prepared(by, id, checkpoint, records);
    }

    /// A sink is about to make something visible. Nothing may become visible before a checkpoint that covers it is
    /// there for good.
    fn sink_commits(&self, sink: &str, id: &[u8]) {
        let mut state = self.lock();
        let Some(checkpoint) = state.history.outputs.checkpoint_of(sink, id) else { return };
        if !self.is_durable_from(checkpoint) {
            let what = format!(
                "`{sink}` shows what was written for checkpoint {checkpoint}, and no checkpoint from that one on is \
                 durable"
            );
            state.history.violate(Violation::Broken(what));
        }
    }

    fn sink_committed(&self, sink: &str, id: &[u8]) {
        self.lock().history.outputs.committed(sink, id);
    }

    fn sink_shows(&self, sink: &str, records: Vec<String>) {
        self.lock().history.outputs.show(sink, records);
    }
}

/// Tells the disk what is to go wrong, if it is the disk that does. Returns by what it can be asked whether it has.
fn arm(disk: &SimulatedDisk, checkpoints: &Path, fault: &Fault) -> Option<DiskFault> {
    match (fault.place, fault.kind) {
        (FaultPlace::FileOperation(at), FaultKind::DiskFull) => Some(disk.full_during(at..at + fault.span)),
        (FaultPlace::FileOperation(at), FaultKind::DiskError) => Some(disk.fail_during(at..at + fault.span)),
        (FaultPlace::Rename(at), FaultKind::DiskFull) => Some(disk.full_after_rename(at, fault.span)),
        (FaultPlace::Rename(at), FaultKind::DiskError) => Some(disk.fail_after_rename(at, fault.span)),
        // No other process writes below the checkpoints, which are locked.
        (FaultPlace::Rename(at), FaultKind::NameTaken) => Some(disk.take_name_at_rename(at, checkpoints)),
        (FaultPlace::FileOperation(at), _) => {
            disk.die_at_operation(at);
            None
        }
        (FaultPlace::Rename(at), _) => {
            disk.die_after_rename(at);
            None
        }
        _ => None,
    }
}

impl State {
    /// Takes the first fault that has not struck yet and is due.
    fn strike(&mut self, due: impl Fn(&Fault) -> bool) -> Option<Fault> {
        let index = self.armed.iter().position(|armed| !armed.struck && due(&armed.fault))?;
        Some(self.hit(index))
    }

    /// The faults of a kind whose steps these are.
    fn strike_for_now(&mut self, kind: FaultKind) -> Vec<Fault> {
        self.strike_for_now_if(kind, |_| true)
    }

    fn strike_for_now_if(&mut self, kind: FaultKind, hits: impl Fn(&Fault) -> bool) -> Vec<Fault> {
        let step = self.counts.steps;
        let due = |fault: &Fault| {
            let FaultPlace::Step(from) = fault.place else { return false };
            fault.kind == kind && (from..from.saturating_add(fault.span)).contains(&step) && hits(fault)
        };
        let due: Vec<usize> = (0..self.armed.len()).filter(|index| due(&self.armed[*index].fault)).collect();
        due.into_iter().map(|index| self.hit(index)).collect()
    }

    /// Asks the disk which of its faults have struck.
    fn ask(&mut self, disk: &SimulatedDisk) {
        for index in 0..self.armed.len() {
            if self.armed[index].on_disk.is_some_and(|fault| disk.refused(fault) > 0) {
                self.hit(index);
            }
        }
    }

    /// A fault strikes, perhaps not for the first time.
    fn hit(&mut self, index: usize) -> Fault {
        let armed = &mut self.armed[index];
        let first = !std::mem::replace(&mut armed.struck, true);
        let fault = armed.fault.clone();
        if first {
            self.note(Note::Fault(fault.to_string()));
        }
        fault
    }

    fn note(&mut self, note: Note) {
        let (nanos, step) = (self.nanos, self.counts.steps);
        self.history.note(nanos, step, note);
    }
}
