//! Fan-out: one stream, used several times.

use crate::batch::{Batch, Flow};
use crate::chain::{FusedWatermarks, Push};
use crate::error::UserResult;
use crate::message::Signal;
use crate::supervision::Place;

/// Gives each record to every consumer; the last one gets the original, the others clones.
///
/// Each consumer keeps its own rest of a batch, so a full one does not make another take a record twice.
pub struct Tee<T> {
    consumers: Vec<Consumer<T>>,
}

struct Consumer<T> {
    push: Box<dyn Push<T>>,
    /// What it had no room for.
    rest: Batch<T>,
    blocked: bool,
}

impl<T> std::fmt::Debug for Tee<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tee").field("consumers", &self.consumers.len()).finish()
    }
}

impl<T> Tee<T> {
    /// Feeds these; without any, records are dropped.
    pub fn new(consumers: Vec<Box<dyn Push<T>>>) -> Self {
        let consumers = consumers
            .into_iter()
            .map(|push| Consumer { push, rest: Batch::default(), blocked: false })
            .collect();
        Self { consumers }
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.consumers.is_empty()
    }

    fn flow(&self) -> Flow {
        if self.consumers.iter().any(|consumer| consumer.blocked) { Flow::Blocked } else { Flow::Continue }
    }
}

impl<T> Consumer<T> {
    fn note(&mut self, flow: Flow) {
        self.blocked = flow == Flow::Blocked;
    }
}

impl<T: Clone + Send> Push<T> for Tee<T> {
    fn push(&mut self, value: T, at: i64) -> Flow {
        if let Some((last, others)) = self.consumers.split_last_mut() {
            for consumer in others {
                let flow = consumer.push.push(value.clone(), at);
                consumer.note(flow);
            }
            let flow = last.push.push(value, at);
            last.note(flow);
        }
        self.flow()
    }

    fn batch(&mut self, batch: &mut Batch<T>) -> Flow {
        let Some((last, others)) = self.consumers.split_last_mut() else {
            batch.clear();
            return Flow::Continue;
        };
        for consumer in others {
            consumer.rest.extend_from(batch);
            if !consumer.blocked {
                let flow = consumer.push.batch(&mut consumer.rest);
                consumer.note(flow);
            }
        }
        if last.blocked {
            // What has come before has not found room either.
            last.rest.append(batch);
            return self.flow();
        }
        let flow = last.push.batch(batch);
        last.note(flow);
        last.rest.append(batch);
        self.flow()
    }

    fn resume(&mut self) -> Flow {
        for consumer in self.consumers.iter_mut().filter(|consumer| consumer.blocked) {
            let mut flow = consumer.push.resume();
            if flow == Flow::Continue && !consumer.rest.is_empty() {
                flow = consumer.push.batch(&mut consumer.rest);
            }
            consumer.note(flow);
        }
        self.flow()
    }

    fn interrupted(&self) -> bool {
        self.consumers.iter().any(|consumer| !consumer.rest.is_empty() || consumer.push.interrupted())
    }

    fn signal(&mut self, signal: Signal) {
        for consumer in &mut self.consumers {
            consumer.push.signal(signal);
        }
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> u64 {
        let ticks = self.consumers.iter_mut().map(|consumer| consumer.push.tick(now_nanos, starved));
        ticks.min().unwrap_or(u64::MAX)
    }

    fn save(&self, saved: &mut FusedWatermarks) {
        for consumer in &self.consumers {
            consumer.push.save(saved);
        }
    }

    fn load(&mut self, saved: &mut FusedWatermarks) {
        for consumer in &mut self.consumers {
            consumer.push.load(saved);
        }
    }

    fn replay(&mut self, place: &Place, record: &[u8], at: i64) -> Option<UserResult<Flow>> {
        self.consumers.iter_mut().find_map(|consumer| {
            let replayed = consumer.push.replay(place, record, at)?;
            Some(replayed.inspect(|flow| consumer.note(*flow)))
        })
    }
}
