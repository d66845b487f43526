//! The way of a snapshot to its file, beside the data path.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed_state::{CodecError, DatabaseCopy, PartWriter, SavedPart, StoreError};

use crate::error::chain_of;
use crate::panics::guard;
use crate::snapshot::SnapshotItem;
use crate::task::{Env, TaskEvent};

/// One snapshot of one instance on its way to disk. Sections are handed over as they are made; one job at a time on
/// the pool writes them. The acknowledgement goes out when the file is durable.
#[derive(Debug)]
pub(super) struct Upload(Arc<Shared>);

/// Why a part is not made, as [`TaskEvent::Declined`] has it.
struct Declined {
    reason: String,
    lasts: bool,
}

impl From<StoreError> for Declined {
    fn from(error: StoreError) -> Self {
        Self { reason: chain_of(&error), lasts: false }
    }
}

#[derive(Debug)]
struct Shared {
    env: Env,
    checkpoint: u64,
    /// See [`TaskEvent::Acknowledged`].
    unfinished: bool,
    progress: Mutex<Progress>,
}

/// Bytes that are gathered before a job is started for them.
const WORTH_A_JOB_BYTES: usize = 256 * 1024;

/// Bytes of a snapshot that may wait for the disk.
const FULL_BYTES: usize = 4 * 1024 * 1024;

#[derive(Debug, Default)]
struct Progress {
    queue: VecDeque<SnapshotItem>,
    /// Gathered since the last job was started.
    queued_bytes: usize,
    /// In the queue.
    waiting_bytes: usize,
    writer: Option<PartWriter>,
    base: Option<u64>,
    database: Option<DatabaseCopy>,
    /// A job is at work on the queue.
    working: bool,
    /// Nothing more will come.
    complete: bool,
    /// Failed or given up: the rest is dropped.
    cancelled: bool,
}

impl Upload {
    /// The snapshot of this instance for a checkpoint.
    pub(super) fn begin(env: &Env, checkpoint: u64) -> Self {
        Self::begin_in(env, checkpoint, false)
    }

    /// The same, `unfinished` if the instance is in the middle of what it does at the end of its input.
    pub(super) fn begin_in(env: &Env, checkpoint: u64, unfinished: bool) -> Self {
        env.counters.barrier.store(checkpoint, Ordering::Relaxed);
        Self(Arc::new(Shared { env: env.clone(), checkpoint, unfinished, progress: Mutex::default() }))
    }

    /// The checkpoint it is for.
    pub(super) fn checkpoint(&self) -> u64 {
        self.0.checkpoint
    }

    /// Hands pieces over.
    pub(super) fn push(&self, items: impl IntoIterator<Item = SnapshotItem>) {
        let mut progress = self.0.lock();
        let mut is_urgent = false;
        for item in items {
            if let SnapshotItem::Section(section) = &item {
                progress.queued_bytes += section.bytes.len();
                progress.waiting_bytes += section.bytes.len();
            }
            // Nothing is written to the database until the copy is made.
            is_urgent |= matches!(item, SnapshotItem::Database(_));
            progress.queue.push_back(item);
        }
        // A job for every few entries would cost more than the writing.
        if progress.queued_bytes >= WORTH_A_JOB_BYTES || is_urgent {
            progress.queued_bytes = 0;
            self.0.start(progress);
        }
    }

    /// Whether so much waits to be written that no more should be made: the disk is slower than the encoding. The task
    /// is woken when there is room again.
    pub(super) fn is_full(&self) -> bool {
        self.0.lock().waiting_bytes >= FULL_BYTES
    }

    /// No more pieces: the file may be finished.
    pub(super) fn complete(&self) {
        let mut progress = self.0.lock();
        progress.complete = true;
        self.0.start(progress);
    }

    /// Gives it up.
    pub(super) fn cancel(&self) {
        let mut progress = self.0.lock();
        progress.cancelled = true;
        self.0.start(progress);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that a job is at work.
    fn start(self: &Arc<Self>, mut progress: MutexGuard<'_, Progress>) {
        if std::mem::replace(&mut progress.working, true) {
            return;
        }
        drop(progress);
        let shared = Arc::clone(self);
        self.env.pool.run(Box::new(move || shared.work()));
    }

    fn work(&self) {
        match self.write_all() {
            Ok(None) => {}
            Ok(Some(part)) => {
                let (checkpoint, unfinished) = (self.checkpoint, self.unfinished);
                self.env.report(TaskEvent::Acknowledged { checkpoint, part, unfinished });
            }
            Err(Declined { reason, lasts }) => {
                let mut progress = self.lock();
                progress.cancelled = true;
                progress.queue.clear();
                progress.working = false;
                let writer = progress.writer.take();
                drop(progress);
                if let Some(writer) = writer {
                    writer.discard();
                }
                self.env.report(TaskEvent::Declined { checkpoint: self.checkpoint, reason, lasts });
            }
        }
    }

    /// Writes what is queued; returns the file when it is finished.
    fn write_all(&self) -> Result<Option<SavedPart>, Declined> {
        let mut writer = self.lock().writer.take();
        loop {
            let mut progress = self.lock();
            if progress.cancelled || self.env.is_fenced() {
                progress.queue.clear();
                progress.working = false;
                drop(progress);
                if let Some(writer) = writer {
                    writer.discard();
                }
                return Ok(None);
            }
            let Some(item) = progress.queue.pop_front() else {
                if !progress.complete {
                    progress.writer = writer;
                    progress.working = false;
                    return Ok(None);
                }
                let (base, database) = (progress.base.take(), progress.database.take());
                drop(progress);
                let writer = self.opened(writer)?;
                let file = writer.finish()?;
                return Ok(Some(SavedPart { file, base, database }));
            };
            if let SnapshotItem::Section(section) = &item {
                let was_full = progress.waiting_bytes >= FULL_BYTES;
                progress.waiting_bytes -= section.bytes.len();
                if was_full && progress.waiting_bytes < FULL_BYTES {
                    self.env.waker.wake_task();
                }
            }
            drop(progress);
            let section = match item {
                SnapshotItem::Section(section) => section,
                SnapshotItem::ChangesOf(checkpoint) => {
                    self.lock().base = Some(checkpoint);
                    continue;
                }
                SnapshotItem::Database(link) => {
                    let stored = link.store(&self.env.checkpoints, &self.prefix())?;
                    self.lock().database = Some(stored);
                    continue;
                }
                SnapshotItem::Deferred(finish) => match guard(finish) {
                    Ok(Ok(section)) => section,
                    Ok(Err(error)) => {
                        let lasts = error.downcast_ref().is_some_and(CodecError::lasts);
                        return Err(Declined { reason: chain_of(&*error), lasts });
                    }
                    Err(failure) => return Err(Declined { reason: failure.to_string(), lasts: false }),
                },
            };
            let mut opened = self.opened(writer)?;
            if let Err(error) = opened.write(&section) {
                // Where there is no room, what is left of it would take some.
                opened.discard();
                return Err(error.into());
            }
            writer = Some(opened);
        }
    }

    fn opened(&self, writer: Option<PartWriter>) -> Result<PartWriter, StoreError> {
        if let Some(writer) = writer {
            return Ok(writer);
        }
        PartWriter::create(&self.env.checkpoints, &format!("{}.part", self.prefix()))
    }

    /// What the names of the instance's files begin with. The run keeps two attempts at one checkpoint apart.
    fn prefix(&self) -> String {
        let instance = &self.env.instance;
        format!("chk-{}/{}-{}-r{}", self.checkpoint, instance.operator, instance.index, self.env.run)
    }
}
