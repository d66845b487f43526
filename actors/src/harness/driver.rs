//! Steps a task by hand.

use std::sync::Arc;

use watershed_state::{Data, Section};

use crate::clock::Clock;
use crate::failure::{Blame, Failure};
use crate::harness::clock::VirtualClock;
use crate::harness::probe::Credits;
use crate::harness::world::{Reports, World};
use crate::link::Link;
use crate::message::{Barrier, Envelope, Message};
use crate::task::{Boot, Control, Env, Step, Task, TaskCell};

/// A task, with what feeds it and what it feeds.
pub(crate) struct Driver<T: Task> {
    pub(crate) cell: TaskCell<T>,
    channels: Vec<Channel<T::In>>,
    outputs: Vec<Box<dyn Credits>>,
    /// Whether the outputs give their credits back at every other step only.
    refusing: bool,
    clock: Arc<VirtualClock>,
    reports: Arc<Reports>,
}

/// The sending end of an input.
struct Channel<T> {
    link: Arc<Link<T>>,
    seq: u64,
    records: u64,
}

/// Messages in an input channel at most; more are sent when these are through.
const CREDITS: u32 = 1024;

/// A task that has not come to rest after so many steps never will.
const STEPS_MAX: usize = 5_000_000;

impl<T: Task> Driver<T> {
    /// Makes and starts a task with so many input channels.
    pub(crate) fn boot(
        world: &World,
        env: Env,
        channels: usize,
        outputs: Vec<Box<dyn Credits>>,
        boot: Boot<T>,
    ) -> Result<Self, Failure> {
        let channel = || Channel { link: Link::new(CREDITS, Arc::default()), seq: 0, records: 0 };
        let mut driver = Self {
            cell: TaskCell::new(env, boot),
            channels: (0..channels).map(|_| channel()).collect(),
            outputs,
            refusing: false,
            clock: Arc::clone(&world.clock),
            reports: Arc::clone(&world.reports),
        };
        driver.step()?;
        driver.control(Control::Start)?;
        Ok(driver)
    }

    /// Makes the outputs give their credits back at every other step only.
    pub(crate) fn refuse_every_other_offer(&mut self) {
        self.refusing = true;
    }

    fn checked<R>(&self, value: R) -> Result<R, Failure> {
        self.reports.failure(self.cell.env().task).map_or(Ok(value), Err)
    }

    /// One step, without anything being taken from the outputs.
    pub(crate) fn step(&mut self) -> Result<Step, Failure> {
        let step = self.cell.step();
        self.checked(step)
    }

    pub(crate) fn control(&mut self, control: Control) -> Result<(), Failure> {
        self.cell.control(control);
        self.checked(())
    }

    /// Files a message.
    pub(crate) fn send(&mut self, channel: usize, message: Message<T::In>) -> Result<(), Failure> {
        if self.channels[channel].link.credits() == 0 {
            self.settle()?;
        }
        let run = self.cell.env().run;
        let sender = &mut self.channels[channel];
        let permit = sender.link.acquire().expect("a task at rest has given back its credits");
        sender.seq += 1;
        if let Message::Batch(batch) = &message {
            sender.records += batch.len() as u64;
        }
        self.cell.file(Envelope { run, channel: channel as u32, seq: sender.seq, message, permit });
        self.checked(())
    }

    /// Files the barrier of a checkpoint.
    pub(crate) fn send_barrier(&mut self, channel: usize, checkpoint: u64) -> Result<(), Failure> {
        let records = self.channels[channel].records;
        self.send(channel, Message::Barrier(Barrier { checkpoint, records }))
    }

    /// Steps until there is nothing to do before a message or a later time; returns that time.
    pub(crate) fn settle(&mut self) -> Result<u64, Failure> {
        let mut refused = false;
        for _ in 0..STEPS_MAX {
            let step = self.step()?;
            refused = self.refusing && !refused && self.outputs.iter().any(|output| output.are_held());
            let mut released = false;
            for output in self.outputs.iter().filter(|_| !refused) {
                released |= output.release();
            }
            match step {
                Step::Stopped => return Ok(u64::MAX),
                Step::Waiting(at) if at > self.clock.nanos() && !refused && !released => return Ok(at),
                Step::Waiting(_) | Step::Ready => {}
            }
        }
        panic!("the task has made {STEPS_MAX} steps and still wants to go on");
    }

    /// Lets time pass, from one moment the task waits for to the next.
    pub(crate) fn advance(&mut self, nanos: u64) -> Result<(), Failure> {
        let end = self.clock.nanos() + nanos;
        loop {
            let at = self.settle()?;
            if at > end {
                break;
            }
            self.clock.advance_to(at);
        }
        self.clock.advance_to(end);
        self.settle().map(|_| ())
    }

    /// Sends a barrier on all channels and returns what the task has written for it.
    pub(crate) fn snapshot(&mut self, world: &World, checkpoint: u64) -> Result<Vec<Section>, Failure> {
        world.prepare(checkpoint);
        for channel in 0..self.channels.len() {
            self.send_barrier(channel, checkpoint)?;
        }
        self.settle()?;
        let part = self.reports.part(self.cell.env().task, checkpoint);
        Ok(world.read(&part.expect("a task at rest has acknowledged its part of the checkpoint")))
    }
}

#[cfg(test)]
impl<T: Task> Driver<T> {
    /// Files a batch of records without keys and time.
    pub(crate) fn send_values(&mut self, channel: usize, values: Vec<T::In>) -> Result<(), Failure> {
        self.send(channel, Message::Batch(crate::batch::Batch { values, ..Default::default() }))
    }

    /// Records that the task wants in a batch on this channel.
    pub(crate) fn wanted(&self, channel: usize) -> usize {
        self.channels[channel].link.batch_records()
    }

    /// Messages on this channel that the task has not processed yet.
    pub(crate) fn unprocessed(&self, channel: usize) -> u32 {
        CREDITS - self.channels[channel].link.credits()
    }
}

impl<T: Data> Task for Box<dyn Task<In = T>> {
    type In = T;

    fn file(&mut self, envelope: Envelope<T>) -> Result<(), Failure> {
        (**self).file(envelope)
    }

    fn control(&mut self, control: Control) -> Result<(), Failure> {
        (**self).control(control)
    }

    fn step(&mut self) -> Result<Step, Failure> {
        (**self).step()
    }

    fn is_blocked(&self) -> bool {
        (**self).is_blocked()
    }

    fn current_key(&self) -> Option<String> {
        (**self).current_key()
    }

    fn blame(&self, failure: &Failure) -> Option<Blame> {
        (**self).blame(failure)
    }
}
