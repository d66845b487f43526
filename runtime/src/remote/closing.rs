//! The end of a job, as those who talk to it hear of it.

use tokio::sync::watch;

use crate::error::Result;
use crate::outcome::Outcome;

/// Tells those who are connected how the job has ended, and the socket when its folder was made again.
#[derive(Debug)]
pub(crate) struct Closing {
    end: watch::Sender<Option<String>>,
    folders: watch::Sender<u64>,
}

impl Closing {
    pub(crate) fn new() -> (Self, Closed) {
        let ((end, ended), (folders, made)) = (watch::channel(None), watch::channel(0));
        (Self { end, folders }, Closed { end: ended, folders: made })
    }

    /// The folder that the socket may be in was made again so often by now.
    pub(crate) fn folders_made(&self, times: u64) {
        self.folders.send_if_modified(|made| std::mem::replace(made, times) != times);
    }

    pub(crate) fn say(&self, result: &Result<Outcome>) {
        let how = match result {
            Ok(outcome) => outcome.end.name().to_string(),
            Err(error) => format!("failed: {error}"),
        };
        self.end.send_replace(Some(how));
    }
}

/// Hears how the job has ended.
#[derive(Debug, Clone)]
pub(crate) struct Closed {
    end: watch::Receiver<Option<String>>,
    pub(super) folders: watch::Receiver<u64>,
}

impl Closed {
    /// Waits for the end of the job.
    pub(super) async fn how(&mut self) -> String {
        let said = self.end.wait_for(Option::is_some).await;
        said.ok()
            .and_then(|how| how.clone())
            .unwrap_or_else(|| "failed: the control plane is gone".to_string())
    }
}
