//! The side outputs of an instance, with what stands behind them.

use std::any::{Any, type_name};
use std::sync::Arc;

use crate::batch::{Batch, Flow};
use crate::chain::{FusedWatermarks, Push, Tee};
use crate::error::{UserResult, fail};
use crate::message::Signal;
use crate::process::SideOutput;
use crate::supervision::Place;

/// The connected side outputs of an instance.
#[derive(Default)]
pub struct SideOutputs {
    ports: Vec<(Arc<str>, Box<dyn SidePort>)>,
    /// Records in all of them that have not been flushed.
    gathered: usize,
    /// Number of the record in process, while what it emits may have to be taken back.
    record: u64,
}

impl std::fmt::Debug for SideOutputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SideOutputs").field("ports", &self.ports.len()).finish_non_exhaustive()
    }
}

/// One side output, whatever its type.
trait SidePort: Send {
    fn as_any(&mut self) -> &mut dyn Any;
    /// Type of its records.
    fn item(&self) -> &'static str;
    /// Gives what was gathered to the consumers.
    fn flush(&mut self) -> Flow;
    fn signal(&mut self, signal: Signal);
    fn tick(&mut self, now_nanos: u64, starved: bool) -> u64;
    fn resume(&mut self) -> Flow;
    fn interrupted(&self) -> bool;
    fn save(&self, saved: &mut FusedWatermarks);
    fn load(&mut self, saved: &mut FusedWatermarks);
    fn replay(&mut self, place: &Place, record: &[u8], at: i64) -> Option<UserResult<Flow>>;
    /// Takes back what this record has emitted. Returns how many records that were.
    fn take_back(&mut self, record: u64) -> usize;
}

struct Gathering<T> {
    gathered: Batch<T>,
    tee: Tee<T>,
    /// The last record that has emitted something, and what there was before it.
    before: (u64, usize),
}

impl<T: Clone + Send + 'static> SidePort for Gathering<T> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
    fn item(&self) -> &'static str {
        type_name::<T>()
    }
    fn flush(&mut self) -> Flow {
        if self.gathered.is_empty() { Flow::Continue } else { self.tee.batch(&mut self.gathered) }
    }
    fn signal(&mut self, signal: Signal) {
        self.tee.signal(signal);
    }
    fn tick(&mut self, now_nanos: u64, starved: bool) -> u64 {
        self.tee.tick(now_nanos, starved)
    }
    fn resume(&mut self) -> Flow {
        self.tee.resume()
    }
    fn interrupted(&self) -> bool {
        self.tee.interrupted()
    }
    fn save(&self, saved: &mut FusedWatermarks) {
        self.tee.save(saved);
    }
    fn load(&mut self, saved: &mut FusedWatermarks) {
        self.tee.load(saved);
    }
    fn replay(&mut self, place: &Place, record: &[u8], at: i64) -> Option<UserResult<Flow>> {
        self.tee.replay(place, record, at)
    }
    fn take_back(&mut self, record: u64) -> usize {
        let (last, before) = self.before;
        let emitted = if last == record { self.gathered.len().saturating_sub(before) } else { 0 };
        self.gathered.truncate(self.gathered.len() - emitted);
        emitted
    }
}

impl SideOutputs {
    /// Connects the side output of this name.
    pub fn connect<T: Clone + Send + 'static>(&mut self, name: &str, tee: Tee<T>) {
        self.ports
            .push((Arc::from(name), Box::new(Gathering { gathered: Batch::default(), tee, before: (0, 0) })));
    }

    /// Adds a record to a side output; without a consumer it is dropped. One of another type than its consumers take is
    /// a failure.
    pub fn emit<T: Clone + Send + 'static>(&mut self, output: &SideOutput<T>, value: T, at: i64) {
        for (name, port) in &mut self.ports {
            if **name == *output.name() {
                let Some(gathering) = port.as_any().downcast_mut::<Gathering<T>>() else {
                    let (name, sent, used) = (output.name(), type_name::<T>(), port.item());
                    fail(format!("side output `{name}` is sent `{sent}` but used as `{used}`").into())
                };
                if gathering.before.0 != self.record {
                    gathering.before = (self.record, gathering.gathered.len());
                }
                gathering.gathered.push(value, at);
                self.gathered += 1;
                return;
            }
        }
    }

    /// From here on, what is emitted belongs to one record and can be taken back.
    #[inline]
    pub(crate) fn begin_record(&mut self) {
        self.record += 1;
    }

    /// Takes back what was emitted since [`SideOutputs::begin_record`].
    pub(crate) fn take_back(&mut self) {
        for (_, port) in &mut self.ports {
            self.gathered -= port.take_back(self.record);
        }
    }

    /// See [`Push::replay`].
    pub(crate) fn replay(&mut self, place: &Place, record: &[u8], at: i64) -> Option<UserResult<Flow>> {
        self.ports.iter_mut().find_map(|(_, port)| port.replay(place, record, at))
    }

    /// Records that have not been flushed.
    #[inline]
    pub fn gathered(&self) -> usize {
        self.gathered
    }

    fn all(&mut self, mut each: impl FnMut(&mut (dyn SidePort + 'static)) -> Flow) -> Flow {
        self.ports.iter_mut().fold(Flow::Continue, |flow, (_, port)| flow.and(each(&mut **port)))
    }

    /// Gives what was gathered to the consumers.
    pub fn flush(&mut self) -> Flow {
        self.gathered = 0;
        self.all(SidePort::flush)
    }

    /// See [`Push::resume`].
    pub fn resume(&mut self) -> Flow {
        self.all(SidePort::resume)
    }

    /// See [`Push::interrupted`].
    pub fn interrupted(&self) -> bool {
        self.ports.iter().any(|(_, port)| port.interrupted())
    }

    /// See [`Push::signal`].
    pub fn signal(&mut self, signal: Signal) {
        for (_, port) in &mut self.ports {
            port.signal(signal);
        }
    }

    /// See [`Push::tick`].
    pub fn tick(&mut self, now_nanos: u64, starved: bool) -> u64 {
        self.ports.iter_mut().map(|(_, port)| port.tick(now_nanos, starved)).min().unwrap_or(u64::MAX)
    }

    /// See [`Push::save`].
    pub fn save(&self, saved: &mut FusedWatermarks) {
        for (_, port) in &self.ports {
            port.save(saved);
        }
    }

    /// See [`Push::load`].
    pub fn load(&mut self, saved: &mut FusedWatermarks) {
        for (_, port) in &mut self.ports {
            port.load(saved);
        }
    }
}
