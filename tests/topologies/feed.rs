//! A source without an end whose other side hangs up now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use watershed::prelude::*;
use watershed::{Polled, Reader, Records, Source, SourceContext, Split};

/// Numbers, of which each connection has a few. It has no end that it knows of, until everything has been read: a
/// simulation has to end.
struct Feed {
    splits: Vec<Line>,
    /// Which splits have been read in this process.
    over: Arc<[AtomicBool]>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    index: u64,
}

impl Split for Line {
    fn id(&self) -> String {
        format!("line-{}", self.index)
    }
}

struct Connection {
    index: u64,
    position: u64,
    /// Where the other side hangs up.
    until: u64,
    over: Arc<[AtomicBool]>,
}

pub(crate) const SPLITS: u64 = 3;
/// Records of a split.
pub(crate) const RECORDS: u64 = 24;
/// Records of a connection.
const PIECE: u64 = 7;

impl Feed {
    fn new() -> Self {
        let over = (0..SPLITS).map(|_| AtomicBool::new(false)).collect();
        Self { splits: (0..SPLITS).map(|index| Line { index }).collect(), over }
    }
}

fn is_over(over: &[AtomicBool]) -> bool {
    over.iter().all(|over| over.load(Ordering::Relaxed))
}

impl Source for Feed {
    type Item = u64;
    type Split = Line;
    type Reader = Connection;

    fn splits(&self) -> UserResult<Vec<Line>> {
        // A process begins.
        self.over.iter().for_each(|over| over.store(false, Ordering::Relaxed));
        Ok(self.splits.clone())
    }

    fn open(&self, line: &Line, position: Option<u64>, _context: &SourceContext) -> UserResult<Connection> {
        let (index, position, over) = (line.index, position.unwrap_or(0), Arc::clone(&self.over));
        Ok(Connection { index, position, until: RECORDS.min(position + PIECE), over })
    }

    fn is_bounded(&self) -> bool {
        is_over(&self.over)
    }
}

impl Reader for Connection {
    type Item = u64;
    type Position = u64;

    fn poll(&mut self, records: &mut Records<'_, u64>, limit: usize) -> UserResult<Polled> {
        // Once there is nothing more to come, a connection that was made in the middle is not hung up.
        let until = if is_over(&self.over) { RECORDS } else { self.until };
        let end = until.min(self.position + limit as u64);
        (self.position..end).for_each(|nth| records.push(nth * SPLITS + self.index));
        self.position = end;
        self.over[self.index as usize].fetch_or(end == RECORDS, Ordering::Relaxed);
        Ok(if end == until { Polled::End } else { Polled::Ready })
    }

    fn position(&self) -> u64 {
        self.position
    }
}

/// Counts what comes, by key.
pub(crate) fn topology() -> Topology {
    let topology = Topology::new("feed");
    topology
        .source("feed", Feed::new())
        .key_by(|n| n % 5)
        .reduce("largest", |one: u64, two| one.max(two))
        .map(|largest| largest % 5)
        .sink_exactly_once("files", Files::jsonl("/out/feed"));
    topology
}
