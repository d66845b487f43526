//! What no checkpoint needs any more, removed beside the job.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed_actors::Pool;
use watershed_state::{CheckpointStore, shown};

/// Removals, one at a time. One that is asked for while another is at work comes next: the one after the last checkpoint of a
/// job has no later one to make up for it.
#[derive(Debug, Default, Clone)]
pub(super) struct Garbage {
    removals: Arc<Mutex<Removals>>,
}

#[derive(Debug, Default)]
struct Removals {
    at_work: bool,
    next: Option<Kept>,
}

/// What a removal leaves there.
#[derive(Debug)]
pub(super) struct Kept {
    /// So many of the newest checkpoints.
    pub retain: usize,
    /// Checkpoints that are in use.
    pub pinned: Vec<u64>,
    /// Checkpoints from this one on may be in the making.
    pub begun: u64,
}

impl Garbage {
    /// Removes all but what is kept. Of several that wait the latest counts, as it knows best what is in use.
    pub(super) fn remove(&self, store: &CheckpointStore, pool: &dyn Pool, kept: Kept) {
        {
            let mut removals = self.lock();
            removals.next = Some(kept);
            if std::mem::replace(&mut removals.at_work, true) {
                return;
            }
        }
        let (garbage, store) = (self.clone(), store.clone());
        pool.run(Box::new(move || {
            while let Some(Kept { retain, pinned, begun }) = garbage.next() {
                if let Err(error) = store.collect(retain, &pinned, begun) {
                    tracing::warn!(error = %shown(error), "old checkpoints could not be collected");
                }
            }
        }));
    }

    fn next(&self) -> Option<Kept> {
        let mut removals = self.lock();
        let next = removals.next.take();
        removals.at_work = next.is_some();
        next
    }

    fn lock(&self) -> MutexGuard<'_, Removals> {
        self.removals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use watershed_state::{FolderStore, SimulatedDisk};

    use super::*;

    /// Jobs that wait to be run.
    #[derive(Default)]
    struct Waiting(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

    impl Pool for Waiting {
        fn run(&self, job: Box<dyn FnOnce() + Send>) {
            self.0.lock().unwrap().push(job);
        }
    }

    #[test]
    fn a_removal_that_is_asked_for_while_another_is_under_way_is_made_after_it() {
        let disk = SimulatedDisk::new(0);
        let store = CheckpointStore::open(FolderStore::open(&disk.fs(), "/checkpoints")).unwrap();
        let folder = |id: u64| PathBuf::from(format!("/checkpoints/chk-{id}"));
        let (garbage, pool) = (Garbage::default(), Waiting::default());
        // What has no manifest, and is not in the making, is left from a checkpoint that was given up.
        let left = |begun| {
            disk.fs().create_dir_all(&folder(begun - 1)).unwrap();
            garbage.remove(&store, &pool, Kept { retain: 3, pinned: Vec::new(), begun });
        };
        let run = || pool.0.lock().unwrap().drain(..).map(|job| job()).count();
        left(2);
        left(3);
        assert_eq!(run(), 1, "never two at once");
        left(4);
        assert_eq!(run(), 1);
        for id in 1..4 {
            assert!(!disk.fs().exists(&folder(id)).unwrap(), "chk-{id}");
        }
    }
}
