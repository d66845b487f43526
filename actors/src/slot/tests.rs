use std::future::poll_fn;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::sync_channel;
use std::task::Poll;

use super::*;
use crate::clock::SystemClock;

const PATIENCE: Duration = Duration::from_mins(1);

fn slot() -> (Slot, Receiver<()>) {
    let (ending, ended) = sync_channel(1);
    (Slot::spawn("slot", Arc::new(SystemClock::new()), ending).unwrap(), ended)
}

#[test]
fn what_runs_there_may_block_on_a_runtime_of_its_own() {
    let (slot, _ended) = slot();
    let (say, said) = sync_channel(1);
    slot.start(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            42
        });
        drop(runtime);
        say.send(answer).unwrap();
    });
    assert_eq!(said.recv_timeout(PATIENCE).unwrap(), 42);
}

#[test]
fn an_alarm_wakes_at_its_time_and_one_that_was_dropped_does_not() {
    let (slot, _ended) = slot();
    let (say, said) = sync_channel(1);
    let clock = Arc::new(SystemClock::new());
    slot.start(move || {
        let (polls, begin) = (AtomicU64::new(0), clock.nanos());
        let mut alarms = Vec::new();
        actix::spawn(poll_fn(move |context| {
            let polled = polls.fetch_add(1, Ordering::Relaxed);
            // What was set before is dropped; only the last one is left.
            alarms.clear();
            drop(Alarm::set(0, context.waker()));
            if polled < 3 {
                alarms.push(Alarm::set(begin + polled * 1_000_000, context.waker()));
                return Poll::Pending;
            }
            say.send((polled, clock.nanos() >= begin + 2_000_000)).unwrap();
            Poll::Ready(())
        }));
    });
    assert_eq!(said.recv_timeout(PATIENCE).unwrap(), (3, true));
}

#[test]
fn it_is_woken_from_another_thread() {
    let (slot, _ended) = slot();
    let (say, said) = sync_channel(1);
    let (sender, receiver) = tokio::sync::oneshot::channel::<u64>();
    slot.start(move || {
        actix::spawn(async move {
            say.send(receiver.await.unwrap()).unwrap();
        });
    });
    sender.send(7).unwrap();
    assert_eq!(said.recv_timeout(PATIENCE).unwrap(), 7);
}

#[test]
fn its_thread_ends_when_it_is_dropped_with_all_that_is_on_it() {
    struct Told(SyncSender<()>);
    impl Drop for Told {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let (slot, ended) = slot();
    let ((tell, told), (began_at, began)) = (sync_channel(1), sync_channel(1));
    slot.start(move || {
        let told = Told(tell);
        actix::spawn(async move {
            let _told = told;
            began_at.send(()).unwrap();
            std::future::pending::<()>().await;
        });
    });
    began.recv_timeout(PATIENCE).unwrap();
    drop(slot);
    told.recv_timeout(PATIENCE).unwrap();
    // Nobody sends: what is waited for is that the other end is dropped.
    assert!(ended.recv_timeout(PATIENCE).is_err());
}

#[test]
fn a_thread_that_is_left_behind_is_not_waited_for() {
    let (slot, ended) = slot();
    let (release, released) = sync_channel::<()>(0);
    slot.start(move || _ = released.recv());
    slot.leave_behind();
    assert_eq!(
        ended.recv_timeout(PATIENCE),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected),
        "it is waited for"
    );
    drop(release);
}

#[test]
fn a_panic_on_it_ends_what_panicked_and_nothing_else() {
    let (slot, _ended) = slot();
    let (say, said) = sync_channel(1);
    slot.start(|| std::panic::resume_unwind(Box::new("of one")));
    slot.start(move || say.send(()).unwrap());
    said.recv_timeout(PATIENCE).unwrap();
}
