//! Finding what has expired, a little at a time.

use super::ordered::TAGS;
use super::{KeyedTable, TableKey, TableState};

/// How far a round through a table is, and when the next one begins.
#[derive(Debug, Default)]
pub struct Sweep {
    tag: u64,
    next_round_ms: Option<i64>,
}

impl Sweep {
    /// Whether there is nothing to look at for now: a round is over, and the next one would find little.
    pub fn rests(&self, now_ms: i64) -> bool {
        self.tag == 0 && self.next_round_ms.is_some_and(|at| now_ms < at)
    }
}

impl<K: TableKey, S: TableState> KeyedTable<K, S> {
    /// The keys in memory that `picks` picks, of the next `slots` slots that the sweep comes by. A round begins at the
    /// earliest `every_ms` after the one before.
    pub fn sweep(
        &mut self,
        sweep: &mut Sweep,
        slots: usize,
        (now_ms, every_ms): (i64, i64),
        mut picks: impl FnMut(&K, &S) -> bool,
    ) -> Vec<K> {
        if sweep.rests(now_ms) {
            return Vec::new();
        }
        if sweep.tag == 0 {
            sweep.next_round_ms = Some(now_ms.saturating_add(every_ms));
        }
        let (mut picked, mut budget) = (Vec::new(), slots.max(1));
        let next = self.entries.visit(sweep.tag, |entry| {
            if let Some(entry) = entry
                && picks(&entry.key, &entry.state)
            {
                picked.push(entry.key.clone());
            }
            budget = budget.saturating_sub(1);
            budget > 0
        });
        sweep.tag = if next == TAGS { 0 } else { next };
        picked
    }
}
