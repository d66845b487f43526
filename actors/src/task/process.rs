//! What an actor with a [`Process`] does with its input.

mod broadcast;
mod ending;
mod errands;
mod life;
mod parked;
mod records;
mod store;
#[cfg(test)]
mod tests;

pub use broadcast::BroadcastLogic;
pub use life::{Expiring, Forever, Life};
pub use store::{InstanceStore, KeyedStore, Store};

use std::sync::Arc;

use watershed_state::bug::{self, Bug};
use watershed_state::{
    Additions, CodecError, Collections, KeyGroups, SectionKind, SliceProgress, SnapshotBegun, StateFault,
    decode,
};

use crate::batch::{Batch, Flow};
use crate::chain::{FusedWatermarks, Push, Tee};
use crate::clock::{MAX_WATERMARK, NO_TIMESTAMP};
use crate::error::chain_of;
use crate::failure::{Blame, Failure};
use crate::inbox::ValveChange;
use crate::message::Signal;
use crate::process::{Emitted, Process, SideOutputs, Timer, TimerKind, TimerService};
use crate::query::{QueryError, QueryKey, Reading};
use crate::restored::Restored;
use crate::snapshot::SnapshotItem;
use crate::snapshot::small_section;
use crate::supervision::{Stage, letters};
use crate::task::operator::{Logic, Tick};
use crate::task::process::ending::Ending;
use crate::task::process::errands::Errands;
use crate::task::process::parked::Parked;
use crate::task::{Care, Env};

/// Runs a [`Process`] over state per key or per instance.
pub struct ProcessLogic<P: Process, S: Store<P>> {
    env: Env,
    process: Arc<P>,
    store: S,
    timers: TimerService<P::Key>,
    collections: Collections<P::Key>,
    care: Care,
    parked: Parked<P::In, P::Key>,
    errands: Errands,
    emitted: Emitted<P::Out>,
    outlet: Tee<P::Out>,
    /// How far event time has come; what was restored counts.
    watermark: i64,
    /// The highest watermark that was not the one at the end; goes into snapshots.
    real_watermark: i64,
    /// After a change of parallelism, how far event time had come for each key group; empty when it is the same for
    /// all.
    floors: Vec<i64>,
    /// What has to be passed on once all timers up to the watermark have fired.
    firing: Option<ValveChange>,
    /// What timers have done since the input has ended.
    ending: Option<Ending>,
    /// The watermark was restored, and nobody behind has been told in this run.
    announce: bool,
    paused: bool,
    /// Hash of the key in process, for the report of a failure.
    current_hash: u64,
    /// Whether user code is at work on a record or timer.
    busy: bool,
}

impl<P: Process, S: Store<P>> std::fmt::Debug for ProcessLogic<P, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessLogic").field("instance", &self.env.instance).finish_non_exhaustive()
    }
}

/// Records gathered before they are handed to the chain behind.
const EMIT_RECORDS: usize = 1024;
/// Records by which the state's memory is asked for ahead of its use.
const PREFETCH_AHEAD: usize = 16;
/// Slots of the state that are looked at after each batch, for what has to be written to disk.
const WORK_ON_SLOTS: usize = 512;
/// Timers fired before control is looked at again, however quick they are.
const FIRE_TIMERS: usize = 1024;
/// Timers fired before the time is looked at.
const FIRE_UNTIMED: usize = 16;

impl<P: Process, S: Store<P>> ProcessLogic<P, S> {
    /// An instance that starts empty and sends what it emits to `outlet` and `sides`.
    pub fn new(env: Env, process: Arc<P>, store: S, outlet: Tee<P::Out>, sides: SideOutputs) -> Self {
        let groups = store.groups();
        Self {
            timers: TimerService::new(groups),
            collections: Collections::new(groups, 0..groups.count()),
            care: Care::new(&env),
            parked: Parked::new(),
            errands: Errands::default(),
            env,
            process,
            store,
            emitted: Emitted { main: Batch::default(), side: sides },
            outlet,
            watermark: i64::MIN,
            real_watermark: i64::MIN,
            floors: Vec::new(),
            firing: None,
            ending: None,
            announce: false,
            paused: false,
            current_hash: 0,
            busy: false,
        }
    }

    /// Takes over its share of a snapshot. Returns the watermark to begin with.
    ///
    /// # Errors
    /// What could not be decoded, or cannot be divided.
    pub fn restore(&mut self, restored: &Restored) -> Result<i64, Failure> {
        let broken = |error: CodecError| Failure::state(chain_of(&error));
        let instance = self.env.instance.clone();
        let (below, saved) = self.store.restore(restored, &self.env)?;
        self.collections.restore(saved, below).map_err(|fault| match fault {
            StateFault::Store(error) => Failure::store(&error),
            fault => Failure::state(chain_of(&fault)),
        })?;
        if self.env.state.always_save_changes {
            self.collections.always_save_changes();
        }
        let takes = |writer, group| self.store.takes(writer, group, &instance);
        self.timers.restore(&restored.instances, takes).map_err(broken)?;
        if self.env.state.always_save_changes {
            self.timers.always_save_changes();
        }
        let mut floors: Vec<(u16, i64)> = Vec::new();
        for (writer, section) in restored.sections(SectionKind::Watermarks) {
            let saved: Vec<(u16, i64)> = decode(&mut section.bytes.as_slice()).map_err(broken)?;
            floors.extend(saved.into_iter().filter(|(group, _)| self.store.takes(writer, *group, &instance)));
        }
        let writers = restored.instances.len();
        if writers != instance.parallelism && restored.sections(SectionKind::Watermarks).count() < writers {
            // An instance that has saved nothing has seen nothing.
            floors.clear();
        }
        // Without keys all writers share a group: there the least of them counts.
        floors.sort_unstable();
        floors.dedup_by_key(|(group, _)| *group);
        let lowest = floors.iter().map(|(_, at)| *at).min().unwrap_or(i64::MIN);
        if floors.iter().any(|(_, at)| *at != lowest) {
            self.floors = vec![i64::MIN; usize::from(self.store.groups().count())];
            for (group, at) in floors {
                self.floors[usize::from(group)] = at;
            }
        }
        let lowest = if bug::is(Bug::WatermarkNotRestored) { i64::MIN } else { lowest };
        self.watermark = lowest;
        self.real_watermark = lowest;
        self.announce = lowest > i64::MIN;
        for (writer, section) in restored.sections(SectionKind::Parked) {
            if self.store.takes(writer, section.group, &instance) {
                self.parked.restore(section).map_err(broken)?;
            }
        }
        let Self { env, care, store, parked, errands, .. } = self;
        *care = Care::restore(env, restored, |hash, writer| store.owns(hash, writer, &instance))?;
        // Those whose release had begun.
        parked.waiting_for(|letter| care.has_replayed(letter)).for_each(|hash| errands.release(hash));
        env.counters.set_parked(parked.waiting());
        let mut fused = FusedWatermarks::restore(restored, &instance)?;
        self.outlet.load(&mut fused);
        self.emitted.side.load(&mut fused);
        Ok(lowest)
    }

    /// Goes on with work that has time.
    fn work_on(&mut self) {
        self.store.work_on(WORK_ON_SLOTS);
        if !self.collections.are_unused() {
            let clock = &self.env.clock;
            self.collections.work_on(WORK_ON_SLOTS, || clock.wall_ms());
        }
    }

    /// Hands what was emitted to the chains behind.
    fn flush(&mut self) -> Result<Flow, Failure> {
        let main = if self.emitted.main.is_empty() {
            Flow::Continue
        } else {
            self.outlet.batch(&mut self.emitted.main)
        };
        Ok(main.and(self.flush_sides()?))
    }

    /// Hands on what went to side outputs, and what closures have rejected meanwhile.
    fn flush_sides(&mut self) -> Result<Flow, Failure> {
        let Self { care, emitted, .. } = self;
        let mut flow = Flow::Continue;
        loop {
            care.take_rejects(|letter| emitted.side.emit(&letters(), letter, NO_TIMESTAMP))?;
            if emitted.side.gathered() == 0 || flow == Flow::Blocked {
                return Ok(flow);
            }
            flow = emitted.side.flush();
        }
    }

    fn signal(&mut self, signal: Signal) {
        self.outlet.signal(signal);
        self.emitted.side.signal(signal);
    }

    /// Fires what is due in event time, then passes the change on.
    fn go_on_firing(&mut self) -> Result<Flow, Failure> {
        let Some(change) = self.firing else { return Ok(Flow::Continue) };
        if change.watermark.is_some() {
            let (mut fired, begin) = (0, self.env.clock.nanos());
            while let Some((at, hash, key)) = self.timers.event.pop_due(self.watermark) {
                let flow = self.fire(Timer { at, kind: TimerKind::EventTime }, hash, key)?;
                fired += 1;
                if flow == Flow::Blocked || self.has_fired_enough(fired, begin) {
                    self.paused = self.pauses(fired, flow)?;
                    return Ok(Flow::Blocked);
                }
            }
        }
        let flow = self.flush()?;
        if flow == Flow::Blocked {
            return Ok(flow);
        }
        self.firing = None;
        if let Some(status) = change.status.filter(|status| *status != crate::message::Status::Finished) {
            self.signal(Signal::Status(status));
        }
        if let Some(at) = change.watermark {
            self.announce = false;
            self.signal(Signal::Watermark(at));
        }
        Ok(Flow::Continue)
    }

    /// After so many timers of event time: whether it goes on without waiting for room.
    fn pauses(&mut self, fired: usize, flow: Flow) -> Result<bool, Failure> {
        if let Some(ending) = &mut self.ending {
            ending.note(fired, self.timers.event.next_at(), &self.env);
        }
        if flow == Flow::Continue && self.is_endless() {
            // Whoever comes in between finds nothing half done.
            return Ok(self.flush()? == Flow::Continue);
        }
        Ok(flow == Flow::Continue)
    }

    /// Whether timers set timers for so long that barriers have to be let in.
    fn is_endless(&self) -> bool {
        self.ending.as_ref().is_some_and(Ending::is_endless)
    }

    fn fire_processing_time(&mut self, now_ms: i64) -> Result<Flow, Failure> {
        if self.resume()? == Flow::Blocked {
            // What they emit could only pile up.
            return Ok(Flow::Blocked);
        }
        let (mut fired, begin) = (0, self.env.clock.nanos());
        while let Some((at, hash, key)) = self.timers.processing.pop_due(now_ms) {
            let timer = Timer { at, kind: TimerKind::ProcessingTime };
            if self.fire(timer, hash, key)? == Flow::Blocked {
                return Ok(Flow::Blocked);
            }
            fired += 1;
            if self.has_fired_enough(fired, begin) {
                break;
            }
        }
        self.flush()
    }

    /// Whether control has to be looked at before another timer fires.
    fn has_fired_enough(&self, fired: usize, begin_nanos: u64) -> bool {
        fired >= FIRE_TIMERS
            || fired.is_multiple_of(FIRE_UNTIMED)
                && self.env.clock.nanos().saturating_sub(begin_nanos) >= self.env.step_nanos
    }
}

/// The watermark that holds for a key: what its group had reached before a change of parallelism counts.
#[inline]
fn effective_watermark(watermark: i64, floors: &[i64], groups: KeyGroups, hash: u64) -> i64 {
    if floors.is_empty() { watermark } else { watermark.max(floors[usize::from(groups.group_of(hash))]) }
}

impl<P: Process, S: Store<P>> Logic for ProcessLogic<P, S> {
    type In = P::In;

    fn run(&mut self, batch: &mut Batch<P::In>) -> Result<Flow, Failure> {
        self.check_keys(batch)?;
        // Records without a key have no hashes, and a store that does not look at them.
        batch.hashes.resize(batch.values.len(), 0);
        let columns = (std::mem::take(&mut batch.hashes), std::mem::take(&mut batch.timestamps));
        let mut values = batch.values.drain(..);
        self.busy = true;
        let (mut taken, mut flow) = (0, Flow::Continue);
        while flow == Flow::Continue && values.len() > 0 {
            let timestamps = columns.1.get(taken..).unwrap_or(&[]);
            let (more, now) = self.take_records(&mut values, &columns.0[taken..], timestamps)?;
            (taken, flow) = (taken + more, now);
        }
        self.busy = false;
        if values.len() == 0 {
            drop(values);
            (batch.hashes, batch.timestamps) = columns;
            batch.clear();
        } else {
            let rest = values.collect();
            (batch.hashes, batch.timestamps) = columns;
            batch.keep(rest, taken);
        }
        self.work_on();
        if flow == Flow::Continue {
            flow = self.flush()?;
        }
        Ok(flow)
    }

    fn comes_on(&mut self, channel: Option<u32>) {
        self.care.comes_on(channel);
    }

    fn resume(&mut self) -> Result<Flow, Failure> {
        let was_paused = std::mem::take(&mut self.paused);
        let flow = self.outlet.resume().and(self.emitted.side.resume());
        if flow == Flow::Blocked || self.flush()? == Flow::Blocked {
            return Ok(Flow::Blocked);
        }
        self.care.done();
        if !was_paused && self.firing.is_some() && self.is_endless() {
            // Timers that fill a slow output would leave no other gap for a barrier.
            self.paused = true;
            return Ok(Flow::Blocked);
        }
        self.go_on_firing()
    }

    fn interrupted(&self) -> bool {
        self.firing.is_some()
            || self.outlet.interrupted()
            || self.emitted.side.interrupted()
            || !self.emitted.main.is_empty()
    }

    fn is_paused(&self) -> bool {
        self.paused
    }

    fn lets_barriers_in(&self) -> bool {
        let outputs = self.outlet.interrupted() || self.emitted.side.interrupted() || self.emitted.len() > 0;
        self.paused && !outputs && self.is_endless()
    }

    fn change(&mut self, change: ValveChange) -> Result<Flow, Failure> {
        if let Some(at) = change.watermark {
            self.watermark = at;
            if at == MAX_WATERMARK {
                self.ending = Some(Ending::begin(self.timers.event.len(), &self.env));
            } else {
                self.real_watermark = at;
                if self.floors.iter().all(|floor| *floor <= at) {
                    self.floors.clear();
                }
            }
        }
        self.firing = Some(change);
        self.go_on_firing()
    }

    fn end(&mut self) {
        // The input has ended, and with it the time of this actor: what is not due by now never fires.
        while self.timers.processing.pop_due(i64::MAX).is_some() {}
        self.signal(Signal::End);
    }

    fn barrier(&mut self, checkpoint: u64) -> Result<Vec<SnapshotItem>, Failure> {
        self.signal(Signal::Barrier(checkpoint));
        let mut fused = FusedWatermarks::default();
        self.outlet.save(&mut fused);
        self.emitted.side.save(&mut fused);
        let groups = self.store.owned(&self.env.instance);
        let floor = |group: u16| self.floors.get(usize::from(group)).copied().unwrap_or(i64::MIN);
        let watermarks: Vec<(u16, i64)> =
            groups.map(|group| (group, self.real_watermark.max(floor(group)))).collect();
        let mut items = vec![small_section(SectionKind::Watermarks, &watermarks)];
        items.extend(fused.section());
        items.extend(self.care.barrier(checkpoint));
        match self.parked.save(self.store.groups()) {
            Ok(parked) => items.extend(parked.into_iter().map(SnapshotItem::Section)),
            Err(error) => items.push(Err(error).into()),
        }
        // What is saved together is saved in the same way.
        let (states, collections) = (self.store.additions(), self.collections.additions());
        let [event, processing] = self.timers.additions();
        let all = if self.store.is_keyed() {
            Additions::are_enough([states, collections, event, processing])
        } else {
            self.collections.are_unused() || Additions::are_enough([collections, event, processing])
        };
        let begun = self.store.begin_snapshot(checkpoint, all)?;
        let base_of = |item: &SnapshotItem| match item {
            SnapshotItem::ChangesOf(base) => Some(*base),
            _ => None,
        };
        let states = begun.iter().find_map(base_of);
        items.extend(begun);
        let begun = self.collections.begin_snapshot(checkpoint, all);
        let (SnapshotBegun { base, .. }, names) =
            begun.map_err(|error| Failure::internal(chain_of(&error)))?;
        let timers = self.timers.begin_snapshot(checkpoint, all);
        let expected = if self.store.is_keyed() { states } else { base };
        if timers != [expected; 2] {
            // A restore would lose timers, or bring some back.
            return Err(Failure::internal(format!("timers add to {timers:?} and states to {expected:?}")));
        }
        if !self.store.is_keyed() {
            items.extend(base.map(SnapshotItem::ChangesOf));
        }
        items.extend(names.map(SnapshotItem::Section));
        Ok(items)
    }

    fn snapshot_slice(&mut self) -> Result<(Vec<SnapshotItem>, SliceProgress), CodecError> {
        let slots = self.env.slice_slots;
        let mut progress = self.store.snapshot_slice(slots)?;
        if progress == SliceProgress::Done {
            progress = self.collections.snapshot_slice(slots)?;
        }
        if progress == SliceProgress::Done {
            progress = self.timers.snapshot_slice(slots)?;
        }
        let mut sections = self.store.take_sections();
        sections.extend(self.collections.take_sections());
        sections.extend(self.timers.take_sections());
        Ok((sections.into_iter().map(SnapshotItem::Section).collect(), progress))
    }

    fn abort_snapshot(&mut self) {
        self.store.abort_snapshot();
        self.collections.abort_snapshot();
        self.timers.abort_snapshot();
    }

    fn complete(&mut self, checkpoint: u64) {
        self.store.complete(checkpoint);
        self.collections.complete(checkpoint);
        self.timers.complete(checkpoint);
        self.care.complete(checkpoint);
    }

    fn save_all(&mut self) {
        self.store.save_all();
        self.collections.save_all();
        self.timers.save_all();
    }

    fn tick(&mut self, now_nanos: u64, starved: bool) -> Result<Tick, Failure> {
        let mut flow = Flow::Continue;
        let mut again_nanos = u64::MAX;
        let interrupted = self.interrupted();
        if !interrupted && std::mem::take(&mut self.announce) {
            self.signal(Signal::Watermark(self.watermark));
        }
        if !interrupted && !self.timers.processing.is_empty() {
            let now_ms = self.env.clock.wall_ms();
            flow = self.fire_processing_time(now_ms)?;
            if flow == Flow::Continue
                && let Some(at) = self.timers.processing.next_at()
            {
                let wait_ms = u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0);
                again_nanos = now_nanos.saturating_add(wait_ms.saturating_mul(1_000_000));
            }
        }
        if starved {
            self.work_on();
        }
        let main = self.outlet.tick(now_nanos, starved);
        let side = self.emitted.side.tick(now_nanos, starved);
        Ok(Tick { flow, again_nanos: again_nanos.min(main).min(side) })
    }

    fn key_of(&self, record: &P::In) -> Option<String> {
        self.store.key_of(record)
    }

    fn current_key(&self) -> Option<String> {
        self.busy.then(|| self.store.describe_key(self.current_hash)).flatten()
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        self.care.blame(Some(Stage::Process), failure)
    }

    fn has_errand(&self) -> bool {
        !self.errands.is_empty() || self.env.oversight.has_replays()
    }

    fn run_errand(&mut self) -> Result<Flow, Failure> {
        self.next_errand()
    }

    fn read_state(&self, key: &QueryKey) -> Result<Reading, QueryError> {
        self.store.read(key, &self.env.instance)
    }
}
