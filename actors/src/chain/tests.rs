//! What chains in tests end in.

mod event_time;
mod operations;
mod tee;

use std::sync::{Arc, Mutex, MutexGuard};

use super::*;

/// The end of a chain: keeps what comes, and says that it is full after so many records.
#[derive(Debug)]
struct End<T>(Arc<Mutex<Inner<T>>>);

#[derive(Debug)]
struct Inner<T> {
    heard: Vec<Heard<T>>,
    /// Records that still fit.
    room: usize,
}

#[derive(Debug, Clone, PartialEq)]
enum Heard<T> {
    Record(T, i64),
    Signal(Signal),
}

impl<T> Clone for End<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> End<T> {
    fn with_room(room: usize) -> Self {
        Self(Arc::new(Mutex::new(Inner { heard: Vec::new(), room })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.0.lock().unwrap()
    }

    /// Takes what came and makes room for so many more.
    fn take(&self, room: usize) -> Vec<Heard<T>> {
        let mut inner = self.lock();
        inner.room = room;
        std::mem::take(&mut inner.heard)
    }

    fn values(&self, room: usize) -> Vec<T> {
        let heard = self.take(room).into_iter();
        heard
            .filter_map(|heard| if let Heard::Record(value, _) = heard { Some(value) } else { None })
            .collect()
    }

    fn signals(&self) -> Vec<Signal> {
        let heard = self.take(usize::MAX).into_iter();
        heard
            .filter_map(|heard| if let Heard::Signal(signal) = heard { Some(signal) } else { None })
            .collect()
    }
}

impl<T: Send> Push<T> for End<T> {
    fn push(&mut self, value: T, at: i64) -> Flow {
        let mut inner = self.lock();
        assert!(inner.room > 0, "a record was given to a chain that is blocked");
        inner.room -= 1;
        inner.heard.push(Heard::Record(value, at));
        if inner.room == 0 { Flow::Blocked } else { Flow::Continue }
    }

    fn resume(&mut self) -> Flow {
        if self.lock().room == 0 { Flow::Blocked } else { Flow::Continue }
    }

    fn interrupted(&self) -> bool {
        false
    }

    fn signal(&mut self, signal: Signal) {
        self.lock().heard.push(Heard::Signal(signal));
    }

    fn tick(&mut self, _now_nanos: u64, _starved: bool) -> u64 {
        u64::MAX
    }

    fn save(&self, _saved: &mut FusedWatermarks) {}

    fn load(&mut self, _saved: &mut FusedWatermarks) {}
}

fn numbers(values: impl IntoIterator<Item = u64>) -> Batch<u64> {
    Batch { values: values.into_iter().collect(), ..Batch::default() }
}

/// Gives a batch to a chain that ends in `end` and goes on until all is through, with room for so many records at a
/// time. Returns what came out, and the most that came at once.
fn run_through<T, U: Send>(
    chain: &mut dyn Push<T>,
    end: &End<U>,
    mut batch: Batch<T>,
    room: usize,
) -> (Vec<U>, usize) {
    end.take(room);
    let mut out = Vec::new();
    let mut most = 0;
    let mut flow = chain.batch(&mut batch);
    loop {
        let values = end.values(room);
        most = most.max(values.len());
        out.extend(values);
        if flow == Flow::Continue && batch.is_empty() {
            assert!(!chain.interrupted());
            return (out, most);
        }
        flow = match chain.resume() {
            Flow::Continue => chain.batch(&mut batch),
            Flow::Blocked => Flow::Blocked,
        };
    }
}

fn save<T>(chain: &dyn Push<T>) -> FusedWatermarks {
    let mut saved = FusedWatermarks::default();
    chain.save(&mut saved);
    saved
}

fn load<T>(chain: &mut dyn Push<T>, saved: &FusedWatermarks) {
    chain.load(&mut saved.clone());
}

fn watermarks<'n>(named: impl IntoIterator<Item = (&'n str, i64)>) -> FusedWatermarks {
    let mut watermarks = FusedWatermarks::default();
    for (name, watermark) in named {
        watermarks.note(name, watermark);
    }
    watermarks
}
