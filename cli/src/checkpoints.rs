//! `watershed checkpoints`: what has become of the last checkpoints of a running job.

use std::io;

use clap::Args;
use watershed_runtime::{AttemptOutcome, CheckpointAttempt, CheckpointHistory};
use watershed_state::iso_time;

use crate::error::Error;
use crate::place::Place;
use crate::screen::{note, say};
use crate::units::{bytes, duration};

/// Shows what has become of the last checkpoints of a running job, newest first: also those that failed, and why
#[derive(Args)]
#[command(
    after_help = "The job remembers the last hundred of its process. Those that are complete and kept are shown by `watershed \
                  snapshots list`, also without a job."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Only those that failed
    #[arg(long)]
    failed: bool,
    /// All of it as one line of JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let mut history = options.place.connect()?.checkpoints()?;
    if options.failed {
        history.attempts.retain(|attempt| matches!(attempt.outcome, AttemptOutcome::Failed { .. }));
    }
    let mut stdout = io::stdout().lock();
    if options.json {
        say(&mut stdout, serde_json::to_string(&history)?)?;
        return Ok(());
    }
    for line in history.attempts.iter().rev().flat_map(lines) {
        say(&mut stdout, line)?;
    }
    note(sum(&history));
    Ok(())
}

fn sum(history: &CheckpointHistory) -> String {
    let CheckpointHistory { completed, failed, .. } = history;
    format!("{completed} checkpoints were completed since the process began, and {failed} failed")
}

fn lines(attempt: &CheckpointAttempt) -> Vec<String> {
    let id = attempt.id.map_or("-".to_string(), |id| id.to_string());
    let CheckpointAttempt { purpose, began_ms, duration_ms, .. } = attempt;
    let head = |what: &str| {
        format!("{id:<6} {}  {purpose:<9}  {what} {:>7}", iso_time(*began_ms), duration(*duration_ms))
    };
    match &attempt.outcome {
        AttemptOutcome::Complete { bytes: all, new_bytes } => {
            vec![format!("{}  complete, {} ({} new)", head("took"), bytes(*all), bytes(*new_bytes))]
        }
        AttemptOutcome::Failed { reason } => vec![format!("{}  failed: {reason}", head("took"))],
        AttemptOutcome::Making { waits_for } => {
            let waits_for = waits_for.iter().map(|line| format!("         waits for {line}"));
            [format!("{}  is being made", head("for "))].into_iter().chain(waits_for).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(id: Option<u64>, outcome: AttemptOutcome) -> Vec<String> {
        let purpose = "periodic".to_string();
        lines(&CheckpointAttempt { id, purpose, began_ms: 1_000, duration_ms: 41, outcome })
    }

    #[test]
    fn a_checkpoint_is_a_line_with_what_has_become_of_it() {
        let complete = shown(Some(7), AttemptOutcome::Complete { bytes: 34_500, new_bytes: 512 });
        assert_eq!(
            complete,
            ["7      1970-01-01T00:00:01.000Z  periodic   took   41 ms  complete, 34.5 kB (512 B new)"]
        );
        let failed = shown(None, AttemptOutcome::Failed { reason: "no room".to_string() });
        assert_eq!(failed, ["-      1970-01-01T00:00:01.000Z  periodic   took   41 ms  failed: no room"]);
        let making =
            shown(Some(8), AttemptOutcome::Making { waits_for: vec!["count[1]: it writes".to_string()] });
        assert_eq!(making[0], "8      1970-01-01T00:00:01.000Z  periodic   for    41 ms  is being made");
        assert_eq!(making[1], "         waits for count[1]: it writes");
    }
}
