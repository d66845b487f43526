//! What expires, compared with what never does: nothing is seen once its time is over, and nothing is gone before.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use watershed::Ttl;
use watershed::prelude::*;

/// So long lives what expires.
const TIME: Duration = millis(15);

/// Of each key, when it was seen; in the default it was not.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Seen {
    at_ms: Option<i64>,
}

/// Notes when it has seen what, in several ways that expire, and in one that does not.
struct Notes {
    map: MapState<u64, i64>,
    list: ListState<i64>,
    value: ValueState<i64>,
    /// When each part of the map was written, and the rest by names of its own.
    kept: MapState<String, i64>,
}

impl Notes {
    /// When this was written last according to the memory that does not expire, unless that is too long ago. From now
    /// on it is now.
    fn expected(&self, what: &str, context: &mut Context<'_, Self>) -> Option<i64> {
        let now = context.now_ms();
        let before = context.map(&self.kept).insert(what.to_string(), now);
        before.filter(|at_ms| now - at_ms < TIME.as_millis() as i64)
    }
}

impl Process for Notes {
    type Key = u64;
    type In = u64;
    type Out = (u64, String, u64);
    type State = Seen;

    fn on_record(&self, number: u64, seen: &mut Seen, context: &mut Context<'_, Self>) -> UserResult {
        let (key, now, part) = (*context.key(), context.now_ms(), number / 5 % 2);
        let mut wrong = Vec::new();
        let mut compare = |what: &str, found: Option<i64>, expected: Option<i64>| {
            if found != expected {
                wrong.push(format!("{what} at {now}: {found:?} instead of {expected:?}"));
            }
        };
        compare("state", seen.at_ms.replace(now), self.expected("state", context));
        let found = context.map(&self.map).insert(part, now);
        compare("map", found, self.expected(&part.to_string(), context));
        let found = context.value(&self.value).get().copied();
        context.value(&self.value).set(now);
        compare("value", found, self.expected("value", context));
        let found = context.list(&self.list).to_vec().last().copied();
        context.list(&self.list).push(now);
        compare("list", found, self.expected("list", context));
        // Without faults there is nothing wrong, so that this shows.
        for wrong in wrong {
            context.emit((key, wrong, number));
        }
        context.emit((key, "seen".to_string(), number));
        Ok(())
    }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("expiring");
    let ttl = Ttl::after_write(TIME);
    topology
        .source("numbers", Generator::bounded(200, |n| n).splits(2))
        .rate(1_000.0)
        // Each key comes every five milliseconds for a while, and then rests for as long.
        .key_by(|n| n / 40 % 2 * 5 + n % 5)
        .state_ttl(TIME)
        .actor(
            "notes",
            Notes {
                map: MapState::new("map").ttl(ttl),
                list: ListState::new("list").ttl(ttl),
                value: ValueState::new("value").ttl(Ttl::after_access(TIME)),
                kept: MapState::new("kept"),
            },
        )
        .sink_exactly_once("said", Files::jsonl("/out/said"));
    topology
}
