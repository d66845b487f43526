//! `watershed state diff`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use clap::Args;
use serde_json::json;
use watershed_state::OperatorPart;

use crate::error::Error;
use crate::snapshot::Snapshot;
use crate::state::entry::{Entry, key_of, state_of};

#[derive(Args)]
#[command(
    after_help = "A key that only A has begins with `-`, one that only B has with `+`, and one whose state differs with \
                  `~`. Exits with 0 if there is none, with 1 if there are, and with 2 if that cannot be told."
)]
pub(crate) struct Options {
    /// Checkpoint folder or savepoint; FOLDER@ID is a checkpoint that is not the newest
    a: String,
    /// What it is compared with
    b: String,
    /// Only this operator
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let (a, b) = (Snapshot::parse(&options.a)?, Snapshot::parse(&options.b)?);
    let names = match &options.operator {
        Some(name) => {
            a.operator(name).or_else(|_| b.operator(name))?;
            BTreeSet::from([name.as_str()])
        }
        None => a.keyed().chain(b.keyed()).map(|operator| operator.name.as_str()).collect(),
    };
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    let mut differ = false;
    for name in names {
        compare(name, &a, &b, &mut |difference| {
            differ = true;
            writeln!(stdout, "{}", difference.line(name)?)?;
            Ok(())
        })?;
    }
    stdout.flush()?;
    Ok(if differ { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

enum Difference {
    OnlyA(Entry),
    OnlyB(Entry),
    Changed(Entry, Entry),
}

impl Difference {
    fn line(&self, operator: &str) -> Result<String, Error> {
        let one = |entry: &Entry| -> Result<_, Error> {
            let (key, state) = (key_of(operator, &entry.key)?, state_of(operator, &entry.state)?);
            Ok(json!({ "operator": operator, "group": entry.group, "key": key, "state": state }))
        };
        Ok(match self {
            Self::OnlyA(entry) => format!("- {}", one(entry)?),
            Self::OnlyB(entry) => format!("+ {}", one(entry)?),
            Self::Changed(a, b) => {
                let (key, a_state) = (key_of(operator, &a.key)?, state_of(operator, &a.state)?);
                let b_state = state_of(operator, &b.state)?;
                let line = json!({
                    "operator": operator, "group": a.group, "key": key, "a": a_state, "b": b_state,
                });
                format!("~ {line}")
            }
        })
    }
}

/// Entries that may be read ahead of the comparison.
const AHEAD: usize = 1_000;

/// Reads both at once, as neither may fit into memory.
fn compare(
    operator: &str,
    a: &Snapshot,
    b: &Snapshot,
    found: &mut dyn FnMut(Difference) -> Result<(), Error>,
) -> Result<(), Error> {
    thread::scope(|scope| {
        let [(from_a, reading_a), (from_b, reading_b)] = [a, b].map(|snapshot| {
            let (to, from) = sync_channel(AHEAD);
            let part = snapshot.keyed().find(|part| part.name == operator);
            let read = move |part: &OperatorPart| {
                // Nobody takes it if the comparison has ended.
                snapshot.keyed_state(part, |entry| Ok(to.send(Entry::from(entry)).is_ok()))
            };
            (from, scope.spawn(move || part.map_or(Ok(()), read)))
        });
        let compared = merge(operator, from_a, from_b, found);
        for reading in [reading_a, reading_b] {
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        compared
    })
}

/// Both are in the same order.
fn merge(
    operator: &str,
    a: Receiver<Entry>,
    b: Receiver<Entry>,
    found: &mut dyn FnMut(Difference) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return Ok(()),
            (Some(a), Some(b)) => (a.group, &a.key).cmp(&(b.group, &b.key)),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
        };
        let first = (order.is_le().then(|| a.next()).flatten(), order.is_ge().then(|| b.next()).flatten());
        match first {
            (Some(a), Some(b)) if !is_same(operator, &a, &b)? => found(Difference::Changed(a, b))?,
            (Some(a), None) => found(Difference::OnlyA(a))?,
            (None, Some(b)) => found(Difference::OnlyB(b))?,
            _ => {}
        }
    }
}

/// Whether the states are the same. The fields of a map may be in another order.
fn is_same(operator: &str, a: &Entry, b: &Entry) -> Result<bool, Error> {
    Ok(a.state == b.state || state_of(operator, &a.state)? == state_of(operator, &b.state)?)
}
