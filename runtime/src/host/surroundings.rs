//! What tasks and the control plane need from wherever they run.

use std::sync::Arc;

use watershed_actors::{Clock, Control, Pool, Report, Reporter};
use watershed_state::Fs;

use crate::event::Event;

/// Speaks to a task.
pub(crate) struct TaskHandle(pub(crate) Box<dyn Fn(Control) + Send>);

/// Takes events for the control plane, from any thread.
pub(crate) trait EventSink: Send + Sync {
    fn event(&self, event: Event);
}

/// What tasks and the control plane need from wherever they run.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Arc<dyn Pool>,
    pub(crate) fs: Fs,
    pub(crate) events: Arc<dyn EventSink>,
}

/// Reports of tasks are events of the control plane.
pub(crate) struct EventReporter(pub(crate) Arc<dyn EventSink>);

impl Reporter for EventReporter {
    fn report(&self, report: Report) {
        self.0.event(Event::Report(report));
    }
}
