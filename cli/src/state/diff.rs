//! `watershed state diff`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use clap::Args;
use serde_json::{Value, json};
use watershed_state::OperatorPart;

use crate::error::Error;
use crate::screen::say;
use crate::snapshot::Snapshot;
use crate::state::entry::{Entry, Names, all};

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
        let mut names = Names::new();
        for snapshot in [&a, &b] {
            if let Ok(operator) = snapshot.operator(name) {
                names.extend(snapshot.collection_names(operator)?);
            }
        }
        compare(name, &names, &a, &b, &mut |difference| {
            differ = true;
            say(&mut stdout, difference.line(name, &names)?)?;
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
    fn line(&self, operator: &str, names: &Names) -> Result<String, Error> {
        let (sign, of, contents) = match self {
            Self::OnlyA(entry) => ('-', entry, [entry.content(operator, names)?].to_vec()),
            Self::OnlyB(entry) => ('+', entry, [entry.content(operator, names)?].to_vec()),
            Self::Changed(a, b) => {
                let contents = [("a", a.content(operator, names)?.1), ("b", b.content(operator, names)?.1)];
                ('~', a, contents.to_vec())
            }
        };
        let mut line = of.head(operator, names)?;
        line.insert("operator".to_string(), json!(operator));
        line.extend(contents.into_iter().map(|(name, content)| (name.to_string(), content)));
        Ok(format!("{sign} {}", Value::from(line)))
    }
}

/// Entries that may be read ahead of the comparison.
const AHEAD: usize = 1_000;

/// Reads both at once, as neither may fit into memory.
fn compare(
    operator: &str,
    names: &Names,
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
                all(snapshot, part, |entry| Ok(to.send(entry).is_ok()))
            };
            (from, scope.spawn(move || part.map_or(Ok(()), read)))
        });
        let compared = merge((operator, names), from_a, from_b, found);
        for reading in [reading_a, reading_b] {
            reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        }
        compared
    })
}

/// Both are in the same order.
fn merge(
    (operator, names): (&str, &Names),
    a: Receiver<Entry>,
    b: Receiver<Entry>,
    found: &mut dyn FnMut(Difference) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    loop {
        let order = match (a.peek(), b.peek()) {
            (None, None) => return Ok(()),
            (Some(a), Some(b)) => order_of(a).cmp(&order_of(b)),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
        };
        let first = (order.is_le().then(|| a.next()).flatten(), order.is_ge().then(|| b.next()).flatten());
        match first {
            (Some(a), Some(b)) if !is_same((operator, names), &a, &b)? => found(Difference::Changed(a, b))?,
            (Some(a), None) => found(Difference::OnlyA(a))?,
            (None, Some(b)) => found(Difference::OnlyB(b))?,
            _ => {}
        }
    }
}

/// States come before collections.
fn order_of(entry: &Entry) -> (bool, (u16, &[u8], Option<u32>)) {
    let place = entry.place();
    (place.2.is_some(), place)
}

/// Whether they are the same. The fields of a struct, and the entries of a map, may be in another order.
fn is_same((operator, names): (&str, &Names), a: &Entry, b: &Entry) -> Result<bool, Error> {
    Ok(a.value == b.value || a.content(operator, names)? == b.content(operator, names)?)
}
