//! Maps, lists and values by name, which grow, shrink and are taken back where a record is refused.

use watershed::prelude::*;

/// Keeps count of what comes, in several ways. What it says does not depend on the order in which the records of its
/// sources come.
struct Basket {
    counts: MapState<u64, u64>,
    latest: ListState<u64>,
    largest: ReducingState<u64>,
    announced: ValueState<bool>,
}

impl Process for Basket {
    type Key = u64;
    type In = u64;
    type Out = (u64, String, u64);
    type State = ();

    fn on_record(&self, number: u64, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        let key = *context.key();
        let mut counts = context.map(&self.counts);
        let count = counts.get_or_default(number % 50);
        *count += 1;
        let count = *count;
        context.list(&self.latest).push(number);
        context.reducing(&self.largest).add(number);
        if number % 29 == 11 {
            return Err("it is refused, and leaves no trace".into());
        }
        context.emit((key, format!("count of {}", number % 50), count));
        if count == 2 {
            context.map(&self.counts).remove(&(number % 50));
        }
        let len = context.list(&self.latest).len() as u64;
        context.emit((key, "len".into(), len));
        if len == 45 {
            context.list(&self.latest).clear();
        }
        let mut announced = context.value(&self.announced);
        if announced.get().is_none() {
            announced.set(true);
            context.timer_at(1_000_000);
        }
        Ok(())
    }

    fn on_timer(&self, _timer: Timer, (): &mut (), context: &mut Context<'_, Self>) -> UserResult {
        let key = *context.key();
        let mut entries = context.map(&self.counts).entries();
        entries.sort_unstable();
        for (of, count) in entries {
            context.emit((key, format!("left of {of}"), count));
        }
        let largest = context.reducing(&self.largest).get().copied();
        context.emit((key, "largest".into(), largest.ok_or("nothing has come")?));
        let announced = context.value(&self.announced).take();
        context.emit((key, "announced".into(), u64::from(announced == Some(true))));
        Ok(())
    }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("collections");
    let source = |name, count| topology.source(name, Generator::bounded(count, |n| n).splits(2));
    source("odd", 90)
        .union(&source("even", 110))
        .event_time(|n| *n as i64, Lateness::up_to(millis(1_000)))
        .key_by(|n| n % 2)
        .actor(
            "basket",
            Basket {
                counts: MapState::new("counts"),
                latest: ListState::new("latest"),
                largest: ReducingState::new("largest", |one: u64, two| one.max(two)),
                announced: ValueState::new("announced"),
            },
        )
        .supervise(Supervision::quarantine().at_most_fraction(1.0))
        .sink_exactly_once("said", Files::jsonl("/out/said"));
    topology
}
