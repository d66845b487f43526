//! Counts the different pages that each visitor has seen lately.
//!
//! ```sh
//! cargo run --release --example visitors
//! ```
//!
//! Shows a map that each key has besides its state. It may be large: a snapshot holds the parts of it that have
//! changed, and a page that was not visited for an hour is forgotten by itself.

use serde::{Deserialize, Serialize};
use watershed::hash_key;
use watershed::prelude::*;

/// Somebody looks at a page.
#[derive(Clone, Serialize, Deserialize)]
struct Visit {
    visitor: u32,
    page: String,
}

/// Remembers the pages of each visitor, and how often each was visited.
struct Pages {
    visits: MapState<String, u64>,
}

impl Process for Pages {
    type Key = u32;
    type In = Visit;
    type Out = String;
    type State = u64;

    fn on_record(&self, visit: Visit, all: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *all += 1;
        *context.map(&self.visits).get_or_default(visit.page) += 1;
        if *all == 10_000 {
            let (mut often, mut most) = (String::new(), 0);
            let mut visits = context.map(&self.visits);
            let pages = visits.len();
            visits.for_each(|page, count| {
                if (*count, page) > (most, &often) {
                    (often, most) = (page.clone(), *count);
                }
            });
            context.emit(format!("visitor {} has seen {pages} pages, most often {often}", visit.visitor));
        }
        Ok(())
    }
}

fn main() -> watershed::Result<()> {
    let topology = Topology::new("visitors");
    let visits = MapState::new("visits").ttl(Ttl::after_access(minutes(60)));
    topology
        .source("visits", Generator::bounded(100_000, visit))
        .key_by(|visit| visit.visitor)
        .actor("pages", Pages { visits })
        .sink("print", Stdout::new());
    topology.run(Config::local())?;
    Ok(())
}

/// The nth visit.
fn visit(n: u64) -> Visit {
    // Some pages are visited far more often than others.
    let chance = hash_key(&n) % 1_000_000;
    Visit { visitor: (n % 10) as u32, page: format!("/page/{}", chance * chance / 1_000_000_000) }
}
