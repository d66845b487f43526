//! How a job runs: everything that is not the topology.

mod check;

pub(crate) use check::{INSTANCES_MAX, above_zero, within};

use std::path::{Path, PathBuf};
use std::time::Duration;

use watershed_actors::{BatchLimits, nanos_of};
use watershed_state::{KeyGroups, SnapshotPlace, StateBackend};

use crate::dice::Dice;
use crate::restart::Restart;
use crate::savepoint::Claim;
use crate::simulation::Simulation;
use crate::supervision::Supervision;

/// How a topology is run. The same topology runs under any of them.
///
/// Each setting has a range, which is looked at when the job starts: what is out of it is refused with an error that
/// names the setting. Where a time may be as long as one likes, `Duration::MAX` is for ever.
#[derive(Debug, Clone)]
pub struct Config {
    pub(crate) slots: Option<usize>,
    pub(crate) parallelism: Option<usize>,
    pub(crate) key_groups: KeyGroups,
    /// The folder of the local disk for checkpoints, if they go into one.
    pub(crate) checkpoints: Option<PathBuf>,
    /// The place for checkpoints, if it is no folder of the local disk.
    pub(crate) checkpoints_at: Option<String>,
    /// What is said of it; what goes without saying is filled in when the job starts ([`Config::completed`]).
    pub(crate) checkpoint_interval: Option<Duration>,
    pub(crate) checkpoint_timeout: Duration,
    pub(crate) stop_grace: Duration,
    pub(crate) retain: usize,
    pub(crate) resume: Resume,
    pub(crate) state_backend: StateBackend,
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) start_from: Option<(String, Claim)>,
    pub(crate) accept_duplicates: bool,
    pub(crate) dropped: Vec<String>,
    pub(crate) reset_event_time: bool,
    pub(crate) restart: Restart,
    pub(crate) restart_job: Restart,
    pub(crate) hang_timeout: Option<Duration>,
    pub(crate) supervision: Supervision,
    pub(crate) dead_letters: Option<PathBuf>,
    pub(crate) limits: BatchLimits,
    pub(crate) credits: u32,
    pub(crate) watermark_interval: Duration,
    pub(crate) signals: bool,
    pub(crate) socket: ControlSocket,
    pub(crate) simulation: Option<Simulation>,
}

/// How often checkpoints are made where there is a place for them and nothing is said.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(10);

/// Where dead letters are on a simulated disk, if nothing is said.
const SIMULATED_DEAD_LETTERS: &str = "/watershed-dead-letters";

/// Where a job begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resume {
    /// At the newest checkpoint, or from the start if there is none.
    Latest,
    /// From the start, whatever checkpoints there are.
    Nothing,
    /// At this checkpoint. What comes after it is written anew, as a new history.
    From(u64),
}

/// Where a job listens for those who ask about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ControlSocket {
    /// In the checkpoint folder, if there is one.
    InCheckpoints,
    At(PathBuf),
    Nowhere,
}

impl Config {
    /// One process, one thread per core, nothing kept across a restart of the process.
    pub fn local() -> Self {
        Self {
            slots: None,
            parallelism: None,
            key_groups: KeyGroups::DEFAULT,
            checkpoints: None,
            checkpoints_at: None,
            checkpoint_interval: None,
            checkpoint_timeout: Duration::from_mins(10),
            stop_grace: Duration::from_secs(30),
            retain: 3,
            resume: Resume::Latest,
            state_backend: StateBackend::Memory,
            scratch: None,
            start_from: None,
            accept_duplicates: false,
            dropped: Vec::new(),
            reset_event_time: false,
            restart: Restart::from_snapshot(),
            restart_job: Restart::never(),
            hang_timeout: Some(Duration::from_mins(1)),
            supervision: Supervision::default(),
            dead_letters: None,
            limits: BatchLimits { records: 1024, linger_nanos: 5_000_000 },
            credits: 8,
            watermark_interval: Duration::from_millis(50),
            signals: true,
            socket: ControlSocket::InCheckpoints,
            simulation: None,
        }
    }

    /// One thread, a clock of its own, and everything that is left to chance decided by `seed`: the same seed gives the
    /// same run.
    pub fn simulated(seed: u64) -> Self {
        Self::local().with_simulation(Simulation::seeded(seed))
    }

    /// [`Config::simulated`] with faults or with a disk that outlives the run. The seed also picks the size of batches
    /// and the number of credits, unless they are set after this.
    pub fn with_simulation(mut self, simulation: Simulation) -> Self {
        let mut dice = Dice::new(simulation.seed);
        self.limits.records = [1, 3, 16, 256][dice.below(4)];
        self.credits = 1 + dice.below(8) as u32;
        self.simulation = Some(simulation);
        self
    }

    /// Keeps checkpoints in this folder; a job that is started again goes on from the newest. It is this job's alone,
    /// and so are `chk-…`, `scratch` and `dead-letters` in it: no output and no savepoints go there. If it is removed
    /// or moved while the job runs, the job makes it again, unless another one has begun there.
    pub fn checkpoints(mut self, folder: impl AsRef<Path>) -> Self {
        self.checkpoints = Some(folder.as_ref().to_path_buf());
        self.checkpoints_at = None;
        self
    }

    /// Keeps checkpoints at the place that `uri` names: a folder (`file:///a/folder`, or a path), as
    /// [`Config::checkpoints`] does, or the memory of this process (`memory://name`). There a job that is started again
    /// in the same process goes on from the newest; files of RocksDB are read into memory. What else has its place in
    /// the checkpoint folder needs another then: databases are in the system's temporary folder, unless
    /// [`Config::scratch`] says where, and there are no dead letters and no control socket, unless
    /// [`Config::dead_letters`] and [`Config::control_socket`] say where.
    ///
    /// ```
    /// use watershed_runtime::Config;
    ///
    /// let config = Config::local().checkpoints_at("memory://payments")?;
    /// assert!(Config::local().checkpoints_at("gopher://payments").is_err());
    /// # Ok::<(), watershed_runtime::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the URI is of a kind that this build does not know, or names no place.
    pub fn checkpoints_at(mut self, uri: &str) -> crate::Result<Self> {
        if let Some(folder) = SnapshotPlace::local_folder(uri)? {
            return Ok(self.checkpoints(folder));
        }
        self.checkpoints = None;
        self.checkpoints_at = Some(uri.to_string());
        Ok(self)
    }

    /// How often a checkpoint is made: above 0; `Duration::MAX` for none but the last.
    ///
    /// Without this it is every 10 seconds, where there is a place for checkpoints, or a sink that shows its output
    /// only with one (`sink_exactly_once`). In a job that has neither there are none.
    pub fn checkpoint_interval(mut self, interval: Duration) -> Self {
        self.checkpoint_interval = Some(interval);
        self
    }

    /// After how long a checkpoint that does not complete is given up (10 minutes): above 0. If it is less than a
    /// minute, the next one may take twice as long, and so on up to a minute, so that the job can end.
    pub fn checkpoint_timeout(mut self, timeout: Duration) -> Self {
        self.checkpoint_timeout = timeout;
        self
    }

    /// How long the job may take to make its last checkpoint when it is asked to stop, by
    /// [`Job::stop`](crate::Job::stop) or a signal, and to show what belongs to it (30 seconds). After that it ends all
    /// the same, with an error of the kind [`ErrorKind::Unsaved`](crate::ErrorKind::Unsaved): what came after the
    /// newest complete checkpoint comes again when the job is started again. Threads may take some seconds more to end.
    /// All of that is less than the 90 seconds after which systemd kills a process; `docker stop` waits for 10 only, so
    /// give it more or this less. `Duration::MAX` waits as long as it takes. A job that is to end with a savepoint
    /// (`Job::stop_with_savepoint`), or is drained, takes the time that it needs, unless it is asked to stop as well.
    pub fn stop_grace(mut self, grace: Duration) -> Self {
        self.stop_grace = grace;
        self
    }

    /// How many of the newest checkpoints are kept (3): at least one.
    pub fn retain(mut self, checkpoints: usize) -> Self {
        self.retain = checkpoints;
        self
    }

    /// Where to begin (at the newest checkpoint).
    pub fn resume(mut self, resume: Resume) -> Self {
        self.resume = resume;
        self
    }

    /// Where keyed state lives while the job runs, for actors that do not say it (in memory). It may change from one
    /// start to the next.
    pub fn state_backend(mut self, backend: impl Into<StateBackend>) -> Self {
        self.state_backend = backend.into();
        self
    }

    /// The folder of the local disk for databases of this job alone, which are gone when it ends. It is locked, and in
    /// use by another job it is refused. Else it is `scratch` in the checkpoint folder, so that snapshots and databases
    /// can share their files, or the system's temporary folder.
    pub fn scratch(mut self, folder: impl AsRef<Path>) -> Self {
        self.scratch = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Starts from the savepoint that `uri` names, as a new history. A process that is started again with the same
    /// savepoint goes on from the newest checkpoint of that history.
    pub fn start_from(mut self, uri: &str, claim: Claim) -> Self {
        self.start_from = Some((uri.to_string(), claim));
        self
    }

    /// Allows a start from an older checkpoint although output past it is visible, and a start beside output of a
    /// history of which the checkpoint folder knows nothing: what is shown will be there twice. That history is known
    /// from then on.
    pub fn accept_duplicates(mut self) -> Self {
        self.accept_duplicates = true;
        self
    }

    /// Throws away what a checkpoint holds for an operator that the topology no longer has, or, with `actor:name`, the
    /// watermark of an `event_time` that is no longer fused into the actor.
    pub fn drop_state_of(mut self, operator: &str) -> Self {
        self.dropped.push(operator.to_string());
        self
    }

    /// Lets event time begin anew, whatever checkpoint or savepoint the job goes on from: after records with a wrong
    /// time have pulled it ahead, so that all others are late. It holds for this start; a start after it that still
    /// says so does it again, so take it out once there is a checkpoint.
    /// [`SavepointWriter::reset_event_time`](crate::SavepointWriter::reset_event_time) and `watershed state
    /// reset-event-time` do the same to a savepoint, once.
    ///
    /// No operator remembers how far event time had come; watermarks come from the records that are read now. So
    /// records are on time again that would have been late. States and timers stay as they are. What has fired has
    /// fired: a window or timer that fired too early, as event time was ahead, does not fire again unless a record sets
    /// its timer again, and it fires with what it has left in its state. Timers for a time that no record comes to wait
    /// for it, and fire at the end of the input. States of one's own that hold times are not touched.
    pub fn reset_event_time(mut self) -> Self {
        self.reset_event_time = true;
        self
    }

    /// Instances of an actor that does not say how many (as many as slots): from 1 to 4,096.
    pub fn parallelism(mut self, instances: usize) -> Self {
        self.parallelism = Some(instances);
        self
    }

    /// Threads that run actors (as many as cores): from 1 to 1,024.
    pub fn slots(mut self, threads: usize) -> Self {
        self.slots = Some(threads);
        self
    }

    /// Key groups that keys are divided into (128): the most instances a keyed actor can ever have. It cannot be
    /// changed once there is a checkpoint.
    ///
    /// # Errors
    /// For 0.
    pub fn key_groups(mut self, groups: u16) -> crate::Result<Self> {
        self.key_groups = KeyGroups::new(groups)
            .ok_or_else(|| crate::Error::config("there must be at least one key group"))?;
        Ok(self)
    }

    /// What becomes of failures of operators whose wiring does not say it (the region restarts).
    pub fn supervise(mut self, supervision: impl Into<Supervision>) -> Self {
        self.supervision = supervision.into();
        self
    }

    /// Keeps dead letters in this folder (`dead-letters` in that of the checkpoints; without one, a simulated job keeps
    /// them in `/watershed-dead-letters` on its disk).
    pub fn dead_letters(mut self, folder: impl AsRef<Path>) -> Self {
        self.dead_letters = Some(folder.as_ref().to_path_buf());
        self
    }

    /// Where dead letters are kept, if there is a place for them.
    pub(crate) fn dead_letter_folder(&self) -> Option<PathBuf> {
        let beside = || self.checkpoints.as_ref().map(|folder| folder.join("dead-letters"));
        let simulated = || self.simulation.as_ref().map(|_| PathBuf::from(SIMULATED_DEAD_LETTERS));
        self.dead_letters.clone().or_else(beside).or_else(simulated)
    }

    /// When a region restarts after a failure, and how often, beside the budgets that operators have of their own.
    pub fn restart(mut self, restart: Restart) -> Self {
        self.restart = restart;
        self
    }

    /// When all regions are rolled back together to the newest checkpoint, as the budget of one of them is spent
    /// (never: the job ends then).
    pub fn restart_job(mut self, restart: Restart) -> Self {
        self.restart_job = restart;
        self
    }

    /// After how long an instance that does not come back from what it is doing counts as failed, and its thread is
    /// left behind (one minute; zero turns it off, and less than 10 ms is refused). Opening and restoring may take ten
    /// times as long.
    pub fn hang_timeout(mut self, timeout: Duration) -> Self {
        self.hang_timeout = (timeout > Duration::ZERO).then_some(timeout);
        self
    }

    /// Records that travel together at most (1,024): from 1 to 1,048,576.
    pub fn batch_records(mut self, records: usize) -> Self {
        self.limits.records = records;
        self
    }

    /// How long a record may wait for others to travel with (5 ms). When the input runs empty nothing waits.
    pub fn linger(mut self, linger: Duration) -> Self {
        self.limits.linger_nanos = nanos_of(linger);
        self
    }

    /// Messages that may be on their way on one channel (8): from 1 to 4,096.
    pub fn credits(mut self, credits: u32) -> Self {
        self.credits = credits;
        self
    }

    /// How often watermarks are sent while records flow (50 ms).
    pub fn watermark_interval(mut self, interval: Duration) -> Self {
        self.watermark_interval = interval;
        self
    }

    /// Leaves SIGINT, SIGTERM and SIGUSR1 alone. Else each job of the process ends with a last checkpoint on the first
    /// two (see [`Config::stop_grace`]), at once and without one if such a signal comes again, and logs its supervision
    /// tree on the third. One of the first two that comes while a job is being restored counts as well; a second one
    /// ends the process then, if it has no other job. Where there is no job, between two and after the last one, the
    /// first two do what they did before the first one, which is to end the process unless it ignored them, and the
    /// third does nothing. A program that handles such signals itself says this, and none ends it while it has such a
    /// job.
    pub fn ignore_signals(mut self) -> Self {
        self.signals = false;
        self
    }

    /// Listens on this Unix socket for those who ask about the running job, as `watershed tree` does. Else the socket
    /// is `control.sock` in the checkpoint folder, and there is none without such a folder. A simulated job has none.
    pub fn control_socket(mut self, path: impl AsRef<Path>) -> Self {
        self.socket = ControlSocket::At(path.as_ref().to_path_buf());
        self
    }

    /// Listens on no socket: nobody outside the process can ask about the job.
    pub fn without_control_socket(mut self) -> Self {
        self.socket = ControlSocket::Nowhere;
        self
    }

    /// What is not set, as a job needs it.
    pub(crate) fn completed(mut self, shows_with_checkpoints: bool) -> Self {
        if shows_with_checkpoints || self.checkpoints.is_some() || self.checkpoints_at.is_some() {
            self.checkpoint_interval.get_or_insert(CHECKPOINT_INTERVAL);
        }
        self
    }

    pub(crate) fn slot_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.simulation.is_some() { self.slots.unwrap_or(2) } else { self.slots.unwrap_or_else(cores) }
            .max(1)
    }

    pub(crate) fn default_parallelism(&self) -> usize {
        self.parallelism.unwrap_or_else(|| self.slot_count())
    }
}

/// So many milliseconds.
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// So many seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// So many minutes.
pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count.saturating_mul(60))
}
