//! A thread that runs actors, and on which user code may block like on any other thread.
//!
//! An arbiter of actix runs its actors inside of a tokio runtime, in which nobody may block on a future: a client that
//! does so behind the scenes panics. So the actors of a slot are polled outside of any runtime. They need none:
//! mailboxes wake them, and time wakes them through [`Alarm`].

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Wake, Waker};
use std::thread::{Builder, Thread};
use std::time::Duration;

use tokio::task::LocalSet;

use crate::clock::Clock;

/// Starts an actor on the thread of a slot.
type Start = Box<dyn FnOnce() + Send>;

/// A thread for actors. It ends when this is dropped, with all that is on it.
#[derive(Debug)]
pub struct Slot {
    /// There are no more of them than tasks.
    starts: Sender<Start>,
    bell: Arc<Bell>,
}

/// Wakes the thread of a slot.
#[derive(Debug)]
struct Bell {
    /// There is something to do: whoever says so first wakes the thread.
    rung: AtomicBool,
    stopped: AtomicBool,
    thread: OnceLock<Thread>,
    /// Dropped when the thread has ended, or is not waited for any more.
    ending: Mutex<Option<SyncSender<()>>>,
}

impl Slot {
    /// Starts a thread of this name, whose alarms go by this clock. `ending` is dropped when the thread has ended.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub fn spawn(name: &str, clock: Arc<dyn Clock>, ending: SyncSender<()>) -> io::Result<Self> {
        let (starts, to_start) = channel();
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            thread: OnceLock::new(),
            ending: Mutex::new(Some(ending)),
        });
        let rings = Arc::clone(&bell);
        let spawned = Builder::new().name(name.to_string()).spawn(move || {
            let _last = Last(Arc::clone(&rings));
            run(&to_start, &rings, &*clock);
        })?;
        // Before there is anything that could ring.
        let _ = bell.thread.set(spawned.thread().clone());
        Ok(Self { starts, bell })
    }

    /// Starts an actor there, with `actix::Context::run` or the like.
    pub fn start(&self, start: impl FnOnce() + Send + 'static) {
        // A thread that has ended is one of a job that is over.
        let _ = self.starts.send(Box::new(start));
        self.bell.ring();
    }

    /// Ends the thread when it comes back from whatever it is stuck in. Nobody waits for it any more.
    pub fn leave_behind(self) {
        self.bell.waited_for_no_more();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bell.stopped.store(true, Ordering::Release);
        self.bell.unpark();
    }
}

impl Bell {
    fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.unpark();
        }
    }

    fn unpark(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn waited_for_no_more(&self) {
        drop(self.ending.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// Tells that the thread has ended, whichever way.
struct Last(Arc<Bell>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.waited_for_no_more();
    }
}

/// Polls the actors as long as there is something to do, and sleeps until there is.
fn run(to_start: &Receiver<Start>, bell: &Arc<Bell>, clock: &dyn Clock) {
    let waker = Waker::from(Arc::clone(bell));
    let mut context = Context::from_waker(&waker);
    let mut actors = pin!(LocalSet::new());
    while !bell.stopped.load(Ordering::Acquire) {
        // Before the looks at what there is to do: what comes after them rings again.
        bell.rung.store(false, Ordering::Release);
        for start in to_start.try_iter() {
            actors.spawn_local(async move { start() });
        }
        // It is ready when it has no actor, and may be given others after that.
        let _ = actors.as_mut().poll(&mut context);
        let next = ring_alarms(clock);
        if bell.rung.load(Ordering::Acquire) || bell.stopped.load(Ordering::Acquire) {
            continue;
        }
        match next {
            u64::MAX => std::thread::park(),
            at => std::thread::park_timeout(Duration::from_nanos(at.saturating_sub(clock.nanos()))),
        }
    }
}

/// Alarms of the actors on a thread: whom to wake, by when (clock nanoseconds) and in which order they were set.
#[derive(Default)]
struct Alarms {
    set: BTreeMap<(u64, u64), Waker>,
    count: u64,
}

thread_local! {
    static ALARMS: RefCell<Alarms> = RefCell::default();
}

/// Wakes those whose time has come, and tells when the next one is due.
fn ring_alarms(clock: &dyn Clock) -> u64 {
    let next =
        || ALARMS.with_borrow(|alarms| alarms.set.first_key_value().map_or(u64::MAX, |((at, _), _)| *at));
    while next() != u64::MAX && next() <= clock.nanos() {
        let due = ALARMS.with_borrow_mut(|alarms| alarms.set.pop_first());
        if let Some((_, waker)) = due {
            waker.wake();
        }
    }
    next()
}

/// Wakes somebody on the thread of a slot at some time, unless it is dropped before.
#[derive(Debug)]
pub(crate) struct Alarm((u64, u64));

impl Alarm {
    /// At this time, in nanoseconds of the slot's clock.
    pub(crate) fn set(at_nanos: u64, waker: &Waker) -> Self {
        ALARMS.with_borrow_mut(|alarms| {
            alarms.count += 1;
            let key = (at_nanos, alarms.count);
            alarms.set.insert(key, waker.clone());
            Self(key)
        })
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // At the end of the thread there may be none any more.
        let waker = ALARMS.try_with(|alarms| alarms.borrow_mut().set.remove(&self.0));
        drop(waker);
    }
}
