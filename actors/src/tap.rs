//! Looking at records as they pass, sampled.

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use watershed_state::{SHOWN_LEVELS, chain_of, encode, levels};

use crate::batch::Batch;
use crate::clock::{Clock, NO_TIMESTAMP};
use crate::instance::Instance;
use crate::panics::guard;

/// Where the instances of an operator show some of their records to whoever looks, and nothing to nobody.
///
/// As long as nobody looks it costs one relaxed load per batch. With somebody looking, the first records of each batch
/// are encoded, [`Tap::PER_SECOND`] of all instances together at most; what nobody fetches in time is forgotten.
#[derive(Debug)]
pub struct Tap {
    /// How many are looking.
    tappers: AtomicU32,
    /// Up to when the samples so far have used up what is allowed, in clock nanoseconds.
    used_until: AtomicU64,
    samples: Sender<Arc<Sample>>,
}

/// A record that was seen.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// The operator that takes it in; for a source, the one that has read it.
    pub operator: String,
    /// Which of its instances, from 0.
    pub instance: usize,
    /// When it was seen, in milliseconds since 1970.
    pub at_ms: i64,
    /// Its key as JSON, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Box<RawValue>>,
    /// Its event time in milliseconds, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// The record as JSON. Of one that is too long, the beginning as a string.
    pub record: Box<RawValue>,
    /// Why the record is not shown as it is, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Default for Tap {
    fn default() -> Self {
        let (samples, _) = channel(Self::KEPT);
        Self { tappers: AtomicU32::new(0), used_until: AtomicU64::new(0), samples }
    }
}

impl Tap {
    /// Samples of all instances of an operator together in a second, in the long run.
    pub const PER_SECOND: u64 = 100;
    /// Records of one batch at most.
    const PER_BATCH: usize = 8;
    /// Samples that wait for those who look; older ones are forgotten.
    const KEPT: usize = 256;
    /// JSON of one record at most.
    const RECORD_BYTES: usize = 4096;

    /// Whether somebody looks.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.tappers.load(Ordering::Relaxed) != 0
    }

    /// Begins to look.
    pub fn open(self: &Arc<Self>) -> Tapper {
        let samples = self.samples.subscribe();
        self.tappers.fetch_add(1, Ordering::Relaxed);
        Tapper { tap: Arc::clone(self), samples }
    }

    /// Shows the first records of a batch, as far as the rate allows.
    #[cold]
    pub(crate) fn show<T: Serialize>(
        &self,
        batch: &Batch<T>,
        instance: &Instance,
        clock: &dyn Clock,
        key_of: impl Fn(&T) -> Option<String>,
    ) {
        let now_nanos = clock.nanos();
        for (index, record) in batch.values.iter().enumerate().take(Self::PER_BATCH) {
            if !self.allows(now_nanos) {
                return;
            }
            // Code of the user's that fails here must not harm a job that it would not have harmed unseen.
            let encoded = guard(|| (key_of(record), json(record)));
            let (key, (record, note)) = encoded.unwrap_or_else(|failure| (None, unfit(&failure.to_string())));
            let sample = Sample {
                operator: instance.operator.to_string(),
                instance: instance.index,
                at_ms: clock.wall_ms(),
                key: key.and_then(|key| RawValue::from_string(key).ok()),
                timestamp: Some(batch.timestamp(index)).filter(|at| *at != NO_TIMESTAMP),
                record,
                note,
            };
            // Whoever looked may have gone just now.
            let _ = self.samples.send(Arc::new(sample));
        }
    }

    /// Whether one more sample is within the rate. What was not used in the last second may be used at once.
    fn allows(&self, now_nanos: u64) -> bool {
        const SECOND: u64 = 1_000_000_000;
        let step = SECOND / Self::PER_SECOND;
        let used = self.used_until.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            let next = used.max(now_nanos.saturating_sub(SECOND)) + step;
            (next <= now_nanos.max(SECOND)).then_some(next)
        });
        used.is_ok()
    }
}

/// One who looks. Sampling ends with the last of them.
#[derive(Debug)]
pub struct Tapper {
    tap: Arc<Tap>,
    samples: Receiver<Arc<Sample>>,
}

impl Tapper {
    /// The next sample.
    pub async fn next(&mut self) -> Arc<Sample> {
        loop {
            match self.samples.recv().await {
                Ok(sample) => return sample,
                // It was too slow for some of them: they are samples anyway.
                Err(RecvError::Lagged(_)) => {}
                // Cannot be, as the tap that sends them is held here.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Tapper {
    fn drop(&mut self) {
        self.tap.tappers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A record as JSON, and why it is not all there, if so.
fn json<T: Serialize>(record: &T) -> (Box<RawValue>, Option<String>) {
    let mut encoded = Vec::new();
    if let Err(error) = encode(record, &mut encoded) {
        return unfit(&chain_of(&error));
    }
    if levels(&encoded).is_ok_and(|levels| levels > SHOWN_LEVELS) {
        return unfit(&format!("it is nested more than {SHOWN_LEVELS} levels deep"));
    }
    let mut text = Limited { bytes: Vec::new(), is_full: false };
    match serde_json::to_writer(&mut text, record) {
        Ok(()) => {
            let text = String::from_utf8(text.bytes).map(RawValue::from_string);
            match text {
                Ok(Ok(record)) => (record, None),
                _ => unfit("its JSON is not valid"),
            }
        }
        Err(_) if text.is_full => {
            let begin = String::from_utf8_lossy(&text.bytes);
            let note = format!("longer than {} bytes: this is its beginning", Tap::RECORD_BYTES);
            (quoted(&begin), Some(note))
        }
        Err(error) => unfit(&error.to_string()),
    }
}

/// For a record that cannot be written as JSON.
fn unfit(reason: &str) -> (Box<RawValue>, Option<String>) {
    (RawValue::NULL.to_owned(), Some(format!("it cannot be shown as JSON: {reason}")))
}

fn quoted(text: &str) -> Box<RawValue> {
    serde_json::value::to_raw_value(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Takes bytes up to a limit.
struct Limited {
    bytes: Vec<u8>,
    is_full: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = Tap::RECORD_BYTES - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if bytes.len() > room {
            self.is_full = true;
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
