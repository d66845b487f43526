//! The surroundings of tasks under test: clock, disk, pool and control plane, all in memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed_state::{FolderStore, Fs, Objects, SavedPart, Section, SimulatedDisk, read_part};

use crate::failure::Failure;
use crate::harness::clock::VirtualClock;
use crate::instance::Instance;
use crate::task::{Env, Fence, Pool, Report, Reporter, StateSetup, TaskEvent, TaskId};

/// One process after the other on one machine: a power cut ends a process and leaves the disk.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Arc<VirtualClock>,
    pub(crate) reports: Arc<Reports>,
    disk: SimulatedDisk,
    fs: Fs,
    fence: Arc<Fence>,
}

impl World {
    pub(crate) fn new() -> Self {
        let disk = SimulatedDisk::new(0);
        Self {
            clock: Arc::default(),
            reports: Arc::default(),
            fs: disk.fs(),
            disk,
            fence: Arc::new(Fence::new(1)),
        }
    }

    /// The run that tasks made now belong to.
    pub(crate) fn run(&self) -> u64 {
        self.fence.run()
    }

    /// What a task is given.
    pub(crate) fn env(&self, operator: &str, index: usize, parallelism: usize) -> Env {
        Env {
            task: TaskId(index as u32),
            instance: Instance { operator: Arc::from(operator), index, parallelism },
            path: operator.into(),
            run: self.run(),
            fence: Arc::clone(&self.fence),
            lineage: "test".to_string(),
            clock: Arc::clone(&self.clock) as Arc<_>,
            pool: Arc::new(Inline),
            fs: Arc::clone(&self.fs),
            checkpoints: self.checkpoints(),
            state: StateSetup::default(),
            reporter: Arc::clone(&self.reports) as Arc<_>,
            waker: Arc::default(),
            oversight: Arc::default(),
            counters: Arc::default(),
            tap: Arc::default(),
            step_nanos: 1_000_000,
            batch_records: 1024,
            slice_slots: 1024,
        }
    }

    /// Begins a checkpoint, as the control plane does: its id must be new.
    pub(crate) fn prepare(&self, checkpoint: u64) {
        let manifest = format!("chk-{checkpoint}/manifest");
        assert!(
            !self.checkpoints().exists(&manifest).unwrap_or(true),
            "checkpoint {checkpoint} is there already"
        );
    }

    fn checkpoints(&self) -> Objects {
        FolderStore::open(&self.fs, "/checkpoints")
    }

    /// What the file of an acknowledged part holds.
    pub(crate) fn read(&self, part: &SavedPart) -> Vec<Section> {
        let sections = read_part(&self.checkpoints(), &part.file);
        sections.unwrap_or_else(|error| panic!("an acknowledged part cannot be read: {error}"))
    }

    /// Pulls the plug and starts a new process: what was not durable is gone, and a new run begins.
    pub(crate) fn power_cut(&mut self) {
        self.disk.crash();
        self.fs = self.disk.fs();
        self.restart();
    }

    /// Begins a new run and shuts out the old one.
    pub(crate) fn restart(&mut self) {
        self.fence.raise(self.run() + 1);
        self.reports = Arc::default();
    }
}

#[cfg(test)]
impl World {
    /// The disk with everything.
    pub(crate) fn disk(&self) -> &SimulatedDisk {
        &self.disk
    }

    /// Names of the files of a checkpoint, finished or not.
    pub(crate) fn files(&self, checkpoint: u64) -> Vec<String> {
        let (objects, prefix) = (self.checkpoints(), format!("chk-{checkpoint}/"));
        let finished = objects.list(&prefix).unwrap().objects.into_iter().map(|object| object.name);
        let names = finished.chain(objects.unfinished(&prefix).unwrap());
        names.map(|name| name.trim_start_matches(&prefix).to_string()).collect()
    }
}

/// Keeps what tasks report.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<Vec<Report>>);

impl Reports {
    fn lock(&self) -> MutexGuard<'_, Vec<Report>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a task has reported so far.
    pub(crate) fn of(&self, task: TaskId) -> Vec<TaskEvent> {
        self.lock().iter().filter(|report| report.task == task).map(|report| report.event.clone()).collect()
    }

    /// How a task failed, if it did.
    pub(crate) fn failure(&self, task: TaskId) -> Option<Failure> {
        self.of(task).into_iter().find_map(|event| match event {
            TaskEvent::Failed(failure) => Some(failure),
            _ => None,
        })
    }

    /// The part that a task has acknowledged for a checkpoint.
    pub(crate) fn part(&self, task: TaskId, checkpoint: u64) -> Option<SavedPart> {
        self.of(task).into_iter().find_map(|event| match event {
            TaskEvent::Acknowledged { checkpoint: id, part, .. } if id == checkpoint => Some(part),
            _ => None,
        })
    }
}

impl Reporter for Reports {
    fn report(&self, report: Report) {
        self.lock().push(report);
    }
}

/// Runs jobs at once, where they are given.
#[derive(Debug)]
pub(crate) struct Inline;

impl Pool for Inline {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}
