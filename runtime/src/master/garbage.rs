//! What no checkpoint needs any more, removed beside the job.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use watershed_actors::Pool;

/// Removals, one at a time. One that is asked for while another is at work comes next: the one after the last
/// checkpoint of a job has no later one to make up for it.
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
    /// Has `collect` remove all but what is kept. Of several that wait the latest counts, as it knows best what is in
    /// use.
    pub(super) fn remove(&self, pool: &dyn Pool, kept: Kept, collect: impl Fn(Kept) + Send + 'static) {
        {
            let mut removals = self.lock();
            removals.next = Some(kept);
            if std::mem::replace(&mut removals.at_work, true) {
                return;
            }
        }
        let at_work = AtWork(self.clone());
        pool.run(Box::new(move || {
            while let Some(kept) = at_work.0.next() {
                collect(kept);
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

/// Lets a later removal be made also after one that has panicked.
struct AtWork(Garbage);

impl Drop for AtWork {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().at_work = false;
            tracing::error!(
                "old checkpoints could not be collected, which is a bug of the engine; it is tried again after the next"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    /// Runs jobs at once, as a pool does that nothing escapes from, and counts them.
    #[derive(Default)]
    struct AtOnce(Mutex<u32>);

    impl Pool for AtOnce {
        fn run(&self, job: Box<dyn FnOnce() + Send>) {
            *self.0.lock().unwrap() += 1;
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn kept(begun: u64) -> Kept {
        Kept { retain: 3, pinned: Vec::new(), begun }
    }

    #[test]
    fn a_removal_that_is_asked_for_while_another_is_at_work_is_made_after_it() {
        let (garbage, pool, made) = (Garbage::default(), AtOnce::default(), Arc::new(Mutex::new(Vec::new())));
        let (asks, makes) = (garbage.clone(), Arc::clone(&made));
        let collect = move |Kept { begun, .. }: Kept| {
            makes.lock().unwrap().push(begun);
            if begun == 1 {
                // Two come meanwhile: the later one knows best.
                for begun in [2, 3] {
                    asks.remove(&AtOnce::default(), kept(begun), |_| panic!("never two at once"));
                }
            }
        };
        garbage.remove(&pool, kept(1), collect.clone());
        assert_eq!(*made.lock().unwrap(), [1, 3]);
        garbage.remove(&pool, kept(4), collect);
        assert_eq!((made.lock().unwrap().as_slice(), *pool.0.lock().unwrap()), ([1, 3, 4].as_slice(), 2));
    }

    #[test]
    fn after_a_removal_that_has_panicked_later_ones_are_made() {
        let (garbage, pool, made) = (Garbage::default(), AtOnce::default(), Arc::new(Mutex::new(Vec::new())));
        for begun in 1..4 {
            let makes = Arc::clone(&made);
            garbage.remove(&pool, kept(begun), move |kept| {
                makes.lock().unwrap().push(kept.begun);
                assert!(kept.begun == 2, "it fails");
            });
        }
        assert_eq!(*made.lock().unwrap(), [1, 2, 3]);
    }
}
