//! What an actor with a source does.

mod splits;
#[cfg(test)]
mod tests;
mod throttle;

pub use splits::{assign_splits, saved_splits};

use std::sync::Arc;
use std::task::Waker;

use watershed_state::bug::{self, Bug};

use crate::batch::{Batch, Flow};
use crate::chain::{FusedWatermarks, Push, Tee};
use crate::clock::MAX_WATERMARK;
use crate::error::chain_of;
use crate::failure::{Blame, Failure};
use crate::message::{Envelope, Signal};
use crate::operator_state::OperatorStates;
use crate::process::SideOutputs;
use crate::restored::Restored;
use crate::source::{Polled, Reader, Records, Source, SourceContext, Split, Undecoded};
use crate::supervision::{Evidence, Place, Position, Stage};
use crate::task::pace::Pace;
use crate::task::source::splits::{Reading, Splits};
use crate::task::source::throttle::Throttle;
use crate::task::{Aside, Attempt, Control, Env, Exhibit, Step, Task, TaskEvent, Upload, replay_into};

/// What a source task needs beside its [`Env`].
pub struct SourceSetup<S: Source> {
    /// The source.
    pub source: Arc<S>,
    /// All its splits, in the order of their ids.
    pub splits: Arc<Vec<S::Split>>,
    /// Where the records go.
    pub outlet: Tee<S::Item>,
    /// Where records go that were left out.
    pub sides: SideOutputs,
    /// Records per second of all instances together, if limited.
    pub rate: Option<f64>,
}

impl<S: Source> std::fmt::Debug for SourceSetup<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceSetup").field("splits", &self.splits.len()).finish_non_exhaustive()
    }
}

/// Reads its splits and sends what they hold.
pub struct SourceTask<S: Source> {
    env: Env,
    setup: SourceSetup<S>,
    aside: Aside,
    context: SourceContext,
    splits: Splits<S>,
    batch: Batch<S::Item>,
    /// Where the record at hand stands, while that may be asked for.
    standing: Option<Position>,
    /// Records that have been handed on since it was looked at: 1, or 0 at the first of a batch.
    through: usize,
    /// What is at work, for the report of a failure.
    stage: Option<Stage>,
    pace: Pace,
    throttle: Option<Throttle>,
    /// The checkpoint whose barrier is to be sent at the next cut.
    triggered: Option<u64>,
    /// The checkpoint after which nothing is read any more.
    last: Option<u64>,
    snapshot: Option<Upload>,
    /// When the batch at hand was begun, and its length.
    since: Option<(u64, usize)>,
    started: bool,
    blocked: bool,
    course: Course,
}

/// How far a source is with what it has to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Reading,
    /// It is to end before it has read everything.
    Drained,
    /// It has sent its last record.
    Ended,
}

/// What came of looking for records.
#[derive(Debug, Clone, Copy)]
enum Found {
    /// There may be more at once.
    Records,
    /// None before this time, or before somebody wakes the task: the input has run empty, or its rate allows no more.
    Nothing(u64),
}

impl<S: Source> std::fmt::Debug for SourceTask<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SourceTask").field("instance", &self.env.instance).finish_non_exhaustive()
    }
}

impl<S: Source> SourceTask<S> {
    /// A task that goes on where the snapshot left it.
    ///
    /// # Errors
    /// What cannot be decoded; a split that was being read and is gone.
    pub fn restore(env: Env, mut setup: SourceSetup<S>, restored: &Restored) -> Result<Self, Failure> {
        let aside = Aside::restore(&env, std::mem::take(&mut setup.sides), restored)?;
        let instance = env.instance.clone();
        let (splits, readers) = Splits::restore(&*setup.source, &setup.splits, restored, &instance)?;
        let states = OperatorStates::restore(restored, &instance, readers);
        let context = SourceContext {
            instance: instance.clone(),
            clock: Arc::clone(&env.clock),
            waker: Waker::from(Arc::clone(&env.waker)),
            states: states.map_err(|error| Failure::state(chain_of(&error)))?,
        };
        // Instances without a split have no share in it.
        let sharing = instance.parallelism.min(setup.splits.len());
        let throttle = setup.rate.and_then(|rate| Throttle::new(rate, sharing));
        env.counters.counts::<S::Item>();
        let mut task = Self {
            pace: Pace::new(env.batch_records),
            splits,
            env,
            setup,
            aside,
            standing: None,
            through: 0,
            stage: None,
            context,
            batch: Batch::default(),
            throttle,
            triggered: None,
            last: None,
            snapshot: None,
            since: None,
            started: false,
            blocked: false,
            course: Course::Reading,
        };
        let mut watermarks = FusedWatermarks::restore(restored, &instance)?;
        task.setup.outlet.load(&mut watermarks);
        task.aside.load(&mut watermarks);
        Ok(task)
    }

    /// Reads one batch.
    fn read(&mut self, now: u64) -> Result<Found, Failure> {
        self.splits.open(&*self.setup.source, &self.context, now)?;
        let mut limit = if self.aside.care.is_active() { 1 } else { self.pace.records() };
        if let Some(throttle) = &mut self.throttle {
            match throttle.allowance(now) {
                Ok(records) => limit = limit.min(records),
                Err(at) => return Ok(Found::Nothing(at)),
            }
        }
        let mut earliest = self.splits.next_opening();
        for _ in 0..self.splits.reading.len() {
            let index = self.splits.next_turn();
            let polled = self.poll(index, limit)?;
            if self.env.is_fenced() {
                // The reader may have taken long, and the run be over: nobody waits for this any more.
                return Ok(Found::Nothing(u64::MAX));
            }
            match polled {
                // Ready but empty: it has only skipped something.
                Polled::Ready => earliest = now,
                Polled::Pending(until) => earliest = earliest.min(until.unwrap_or(u64::MAX)),
                Polled::End | Polled::Finished => {
                    self.splits.close(index, &*self.setup.source, polled, now);
                    self.hand_over(now)?;
                    return Ok(Found::Records);
                }
            }
            if !self.batch.is_empty() || self.blocked {
                self.hand_over(now)?;
                return Ok(Found::Records);
            }
        }
        if self.splits.have_ended() {
            self.end();
        }
        Ok(Found::Nothing(earliest))
    }

    /// Asks a reader for records. What it cannot decode is left out, if the policy says so.
    fn poll(&mut self, index: usize, limit: usize) -> Result<Polled, Failure> {
        let Self { splits, batch, aside, standing, through, stage, .. } = self;
        let Reading { split, reader, gave, .. } = &mut splits.reading[index];
        let names =
            aside.care.is_active() || aside.care.watches_closures() || aside.care.keeps(Stage::Decode);
        *standing = names.then(|| Position {
            split: split.id(),
            position: serde_json::to_string(&reader.position()).unwrap_or_default(),
            record: 0,
        });
        *through = 0;
        *stage = Some(Stage::Decode);
        let mut records = Records::new(batch);
        let polled = reader.poll(&mut records, limit).map_err(|error| Failure::connector(&error))?;
        let rejected = records.into_rejected();
        *gave |= !batch.is_empty() || !rejected.is_empty();
        for (rejected, record) in rejected.into_iter().zip(0..) {
            let Undecoded { bytes, error, after } = rejected;
            if !aside.care.keeps(Stage::Decode) {
                return Err(Failure::user(&error));
            }
            let mut evidence = Evidence::undecoded(&bytes);
            evidence.position =
                standing.clone().map(|position| Position { record: after + record, ..position });
            let attempt = Attempt { cause: chain_of(&*error), attempts: 1, ..Attempt::default() };
            aside.leave_out(evidence, attempt)?;
        }
        *stage = None;
        if aside.flush(None)? == Flow::Blocked {
            self.blocked = true;
        }
        Ok(polled)
    }

    /// Notes how far a source that ends has come, for the tree.
    fn note_progress(&self) {
        if self.setup.source.is_bounded() {
            self.env.counters.progress.set(self.splits.counts(), self.splits.at_hand());
        }
    }

    /// Gives the batch to the chain.
    fn hand_over(&mut self, now: u64) -> Result<(), Failure> {
        let records = self.batch.len();
        if records == 0 {
            return Ok(());
        }
        self.env.counters.add(records);
        if self.env.tap.is_open() {
            self.env.tap.show(&self.batch, &self.env.instance, &*self.env.clock, |_| None);
        }
        if let Some(throttle) = &mut self.throttle {
            throttle.spend(records);
        }
        self.since = Some((now, records));
        self.note_progress();
        self.push()?;
        self.settle();
        Ok(())
    }

    /// Gives what is left of the batch to the chain: in one go, or one by one where it may be asked which one it was.
    fn push(&mut self) -> Result<(), Failure> {
        self.stage = Some(Stage::Process);
        // Closures that may reject a record have to be told which one it was.
        let one_by_one = self.aside.care.is_active() || self.aside.care.watches_closures();
        let flow = if one_by_one {
            self.push_one_by_one()?
        } else {
            self.setup.outlet.batch(&mut self.batch).and(self.aside.flush(None)?)
        };
        if flow == Flow::Continue {
            self.stage = None;
        }
        self.blocked |= flow == Flow::Blocked;
        Ok(())
    }

    fn push_one_by_one(&mut self) -> Result<Flow, Failure> {
        let Self { batch, aside, setup, standing, through, .. } = self;
        let mut failed = None;
        let flow = batch.drain_while(|record, at, _| {
            // The position of this record until it is through.
            if let Some(standing) = standing {
                standing.record += std::mem::replace(through, 1);
            }
            let admitted = if aside.care.is_active() {
                let position = standing.clone();
                aside.admits(Exhibit { position, ..Exhibit::new(Stage::Process, Place::Output, at) }, &record)
            } else {
                Ok(true)
            };
            let done = admitted.and_then(|admitted| {
                let flow = if admitted { setup.outlet.push(record, at) } else { Flow::Continue };
                Ok(flow.and(aside.flush(standing.as_ref())?))
            });
            if let Ok(Flow::Continue) = done {
                aside.care.done();
            }
            done.unwrap_or_else(|failure| {
                failed = Some(failure);
                Flow::Blocked
            })
        });
        failed.map_or(Ok(flow), Err)
    }

    /// Goes on with what had no room.
    fn resume(&mut self) -> Result<(), Failure> {
        let flow = self.setup.outlet.resume().and(self.aside.resume());
        self.blocked = flow.and(self.aside.flush(self.standing.as_ref())?) == Flow::Blocked;
        if !self.blocked {
            self.aside.care.done();
            self.push()?;
        }
        self.settle();
        Ok(())
    }

    /// Gives the record of the next letter that is replayed back to the chain.
    fn run_errand(&mut self) -> Result<(), Failure> {
        if let Some(replay) = self.aside.next_replay() {
            self.stage = Some(Stage::Process);
            let outlet = &mut self.setup.outlet;
            self.aside.replay(&replay, Stage::Process, |aside, exhibit| {
                replay_into(aside, outlet, exhibit, &replay.letter.evidence)
            })?;
        }
        self.resume()
    }

    /// Notes how long a batch took once it is through.
    fn settle(&mut self) {
        if !self.blocked
            && let Some((since, records)) = self.since.take()
        {
            self.pace.observe(records, self.env.clock.nanos().saturating_sub(since));
        }
    }

    fn has_ended(&self) -> bool {
        self.course == Course::Ended
    }

    fn end(&mut self) {
        self.note_progress();
        if std::mem::replace(&mut self.course, Course::Ended) != Course::Ended {
            self.tick(self.env.clock.nanos(), true);
            for signal in [Signal::Watermark(MAX_WATERMARK), Signal::End] {
                self.setup.outlet.signal(signal);
                self.aside.signal(signal);
            }
            self.env.report(TaskEvent::Ended);
        }
    }

    /// Whether a record has been read and is not through.
    fn is_interrupted(&self) -> bool {
        !self.batch.is_empty() || self.setup.outlet.interrupted() || self.aside.interrupted()
    }

    fn tick(&mut self, now: u64, starved: bool) -> u64 {
        self.setup.outlet.tick(now, starved).min(self.aside.tick(now, starved))
    }

    /// Sends the barrier of the triggered checkpoint, if no record is in between.
    fn cut(&mut self) {
        if self.is_interrupted() && !bug::is(Bug::CutInsideRecord) {
            return;
        }
        let Some(checkpoint) = self.triggered.take() else { return };
        let splits = self.splits.save();
        let states = self.context.states.save();
        let mut watermarks = FusedWatermarks::default();
        self.setup.outlet.save(&mut watermarks);
        self.aside.save(&mut watermarks);
        self.setup.outlet.signal(Signal::Barrier(checkpoint));
        let care = self.aside.barrier(checkpoint);
        let upload = Upload::begin(&self.env, checkpoint);
        let items = [splits.into()].into_iter().chain(watermarks.section());
        upload.push(items.chain(states).chain(care));
        upload.complete();
        self.snapshot = Some(upload);
    }
}

impl<S: Source> Task for SourceTask<S> {
    /// Nothing is sent to a source.
    type In = ();

    fn file(&mut self, _envelope: Envelope<()>) -> Result<(), Failure> {
        Err(Failure::internal("data was sent to a source"))
    }

    fn control(&mut self, control: Control) -> Result<(), Failure> {
        match control {
            Control::Start => self.started = true,
            Control::Trigger(_) if self.has_ended() && bug::is(Bug::EndedSourceDoesNotAnswer) => {}
            Control::Trigger(checkpoint) => self.triggered = Some(checkpoint),
            Control::TriggerLast(checkpoint) => {
                self.triggered = Some(checkpoint);
                self.last = Some(checkpoint);
            }
            Control::Abort(checkpoint) => {
                self.last.take_if(|last| *last == checkpoint);
                self.triggered.take_if(|triggered| *triggered == checkpoint);
                if let Some(upload) = self.snapshot.take_if(|upload| upload.checkpoint() == checkpoint) {
                    upload.cancel();
                }
            }
            Control::Drain if self.course == Course::Reading => self.course = Course::Drained,
            Control::Complete(checkpoint) => self.aside.care.complete(checkpoint),
            Control::Drain | Control::SaveAll | Control::Stop => {}
        }
        Ok(())
    }

    fn step(&mut self) -> Result<Step, Failure> {
        if !self.started {
            return Ok(Step::Waiting(u64::MAX));
        }
        let begin = self.env.clock.nanos();
        let mut now = begin;
        loop {
            if self.blocked {
                self.resume()?;
            }
            self.cut();
            if self.blocked {
                return Ok(Step::Waiting(self.tick(now, false)));
            }
            if self.course == Course::Drained && !self.is_interrupted() {
                self.end();
            }
            if self.has_ended() || self.last.is_some() {
                return Ok(Step::Waiting(self.tick(now, self.has_ended())));
            }
            let found = if self.aside.has_errand() {
                self.run_errand()?;
                Found::Records
            } else {
                self.read(now)?
            };
            if self.env.is_fenced() {
                return Ok(Step::Stopped);
            }
            now = self.env.clock.nanos();
            if let Found::Nothing(at) = found
                && !self.has_ended()
            {
                let tick = self.tick(now, true);
                return Ok(if at <= now { Step::Ready } else { Step::Waiting(at.min(tick)) });
            }
            if now.saturating_sub(begin) >= self.env.step_nanos {
                if !self.is_interrupted() {
                    self.tick(now, false);
                }
                return Ok(Step::Ready);
            }
        }
    }

    fn is_blocked(&self) -> bool {
        self.blocked
    }

    fn current_key(&self) -> Option<String> {
        None
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        let blame = self.aside.care.blame(self.stage, failure)?;
        // What a reader fails at before it has given a record cannot be left out: it has to be read first.
        (blame.stage != Stage::Decode || !blame.directive.leaves_out()).then_some(blame)
    }
}
