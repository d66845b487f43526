//! `watershed tap`: some of the records that pass into an operator.

use std::io::{self, Write};

use clap::Args;
use watershed_runtime::remote::{RemoteError, Sample};
use watershed_state::iso_time;

use crate::error::Error;
use crate::place::Place;
use crate::screen::{note, say};

/// Shows some of the records that an operator takes in, or that a source has read, as they pass
#[derive(Args)]
#[command(
    allow_missing_positional = true,
    after_help = "Records are sampled: the first ones of a batch, a hundred a second of all instances together at most. \
                  Sampling ends with the last one who looks."
)]
pub(crate) struct Options {
    #[command(flatten)]
    place: Place,
    /// Name of the operator
    operator: String,
    /// Ends after so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// One line of JSON for each record
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(options: &Options) -> Result<(), Error> {
    let samples = options.place.connect()?.tap(&options.operator, options.limit)?;
    let mut stdout = io::stdout().lock();
    for sample in samples {
        let sample = match sample {
            // It was watched to its end.
            Err(ended @ RemoteError::Ended(_)) => {
                note(ended);
                return Ok(());
            }
            sample => sample?,
        };
        let line = if options.json { serde_json::to_string(&sample)? } else { text(&sample) };
        say(&mut stdout, line)?;
        stdout.flush()?;
    }
    Ok(())
}

/// A sample as a line for people.
fn text(sample: &Sample) -> String {
    let who = format!("{}[{}]", sample.operator, sample.instance);
    let key = sample.key.as_ref().map_or(String::new(), |key| format!(" key={}", key.get()));
    let time = sample.timestamp.map_or(String::new(), |at| format!(" time={at} ({})", iso_time(at)));
    let note = sample.note.as_ref().map_or(String::new(), |note| format!("  ({note})"));
    format!("{who}{key}{time}  {}{note}", sample.record.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown_line(sample: &Sample) -> String {
        let mut line = Vec::new();
        say(&mut line, text(sample)).unwrap();
        String::from_utf8(line).unwrap().trim_end().to_string()
    }

    fn shown(json: &str) -> String {
        shown_line(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_sample_is_a_line_with_what_is_known() {
        let bare = r#"{"operator":"lines","instance":0,"at_ms":5,"record":"to be"}"#;
        assert_eq!(shown(bare), r#"lines[0]  "to be""#);
        let rich = r#"{"operator":"count","instance":2,"at_ms":5,"key":"be","timestamp":17,"record":null,"note":"oh\nno"}"#;
        assert_eq!(shown(rich), r#"count[2] key="be" time=17 (1970-01-01T00:00:00.017Z)  null  (oh\nno)"#);
    }
}
