//! What the tests of all sources share.

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};

use crate::batch::Batch;
use crate::clock::SystemClock;
use crate::error::UserResult;
use crate::instance::Instance;
use crate::source::{Polled, Reader, Records, SourceContext};

/// Wakes a thread that is parked, or the next time it wants to park.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A context whose waker wakes this thread.
pub(super) fn context() -> SourceContext {
    SourceContext {
        instance: Instance { operator: "source".into(), index: 0, parallelism: 1 },
        clock: Arc::new(SystemClock::new()),
        waker: Waker::from(Arc::new(Unpark(thread::current()))),
        states: crate::OperatorStates::default(),
    }
}

/// Polls once, waiting until there is something to say.
pub(super) fn poll<R: Reader>(reader: &mut R, limit: usize) -> UserResult<(Vec<R::Item>, Polled)> {
    loop {
        let mut batch = Batch::default();
        let mut records = Records::new(&mut batch);
        let polled = reader.poll(&mut records, limit)?;
        if let Some(rejected) = records.into_rejected().into_iter().next() {
            return Err(rejected.error);
        }
        assert!(batch.len() <= limit, "more records than asked for");
        if batch.is_empty() && matches!(polled, Polled::Pending(_)) {
            thread::park();
        } else {
            return Ok((batch.values, polled));
        }
    }
}

/// All records to the end, asked for `limit` at a time.
pub(super) fn drain<R: Reader>(reader: &mut R, limit: usize) -> UserResult<Vec<R::Item>> {
    let mut all = Vec::new();
    loop {
        let (records, polled) = poll(reader, limit)?;
        all.extend(records);
        if matches!(polled, Polled::End | Polled::Finished) {
            return Ok(all);
        }
    }
}

/// What is logged meanwhile, on this thread.
pub(crate) fn log_of(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
}
