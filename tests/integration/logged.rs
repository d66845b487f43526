//! What a job that is simulated, and so runs on one thread, writes to the log.

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// The log, with each field as it was given.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {field}={value}");
    }
}

/// Runs it, and returns what has come of it and the lines of the log, each with its level first.
pub(crate) fn logged<R>(run: impl FnOnce() -> R) -> (R, Vec<String>) {
    let log = Log::default();
    let subscriber = tracing_subscriber::registry().with(log.clone());
    let result = tracing::subscriber::with_default(subscriber, run);
    let lines = log.0.lock().unwrap().clone();
    (result, lines)
}
