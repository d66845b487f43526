//! The ways in which a process is run.

use std::fmt;
use std::sync::Arc;

use crate::batch::Batch;
use crate::clock::MAX_WATERMARK;
use crate::failure::Failure;
use crate::harness::diff::Seen;
use crate::harness::driver::Driver;
use crate::harness::item::{Item, Kind};
use crate::harness::probe::{Credits, Heard, Probe};
use crate::harness::world::World;
use crate::harness::{AnyTask, Harness, Outputs};
use crate::message::Message;
use crate::process::{Process, SideOutputs};
use crate::restored::Restored;

/// A way of running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    RecordByRecord,
    AllAtOnce,
    RestoredAfterEveryStep,
    RefusingOutputs,
}

impl Mode {
    pub(crate) const ALL: [Mode; 4] =
        [Self::RecordByRecord, Self::AllAtOnce, Self::RestoredAfterEveryStep, Self::RefusingOutputs];

    /// Messages that an output has room for.
    fn credits(self) -> u32 {
        if self == Self::RefusingOutputs { 1 } else { 8 }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RecordByRecord => "record by record",
            Self::AllAtOnce => "all at once",
            Self::RestoredAfterEveryStep => "with a power cut and a restart after every step",
            Self::RefusingOutputs => "with outputs that have room for one record",
        })
    }
}

/// A task under test with its main output.
struct Running<P: Process> {
    driver: Driver<AnyTask<P::In>>,
    output: Probe<P::Out>,
}

impl<P: Process> Harness<P> {
    /// Runs the whole input in one way; returns what came out.
    pub(super) fn run(&mut self, mode: Mode) -> Result<Vec<Seen<P::Out>>, Failure> {
        let mut world = World::new();
        let mut seen = Vec::new();
        for side in &mut self.sides {
            side.begin();
        }
        let mut running = self.start(&world, mode, Restored::default())?;
        let mut ended = false;
        let mut done = 0;
        while done < self.input.len() {
            let count = self.steps_at_once(mode, done);
            self.feed(&mut running.driver, &self.input[done..done + count])?;
            running.driver.settle()?;
            ended |= self.input[done..done + count]
                .iter()
                .any(|item| matches!(item.0, Kind::Watermark(MAX_WATERMARK)));
            done += count;
            self.collect(&running, done, &mut seen);
            if mode == Mode::RestoredAfterEveryStep {
                let sections = running.driver.snapshot(&world, done as u64)?;
                self.collect(&running, done, &mut seen);
                world.power_cut();
                running = self.start(
                    &world,
                    mode,
                    Restored { instances: vec![sections.into()], ..Restored::default() },
                )?;
                if ended {
                    // A source that has ended says so again in each run.
                    running.driver.send(0, Message::Watermark(MAX_WATERMARK))?;
                }
                running.driver.settle()?;
                self.collect(&running, done, &mut seen);
            }
        }
        Ok(seen)
    }

    /// How many steps from `from` on are given before the task runs.
    fn steps_at_once(&self, mode: Mode, from: usize) -> usize {
        if mode != Mode::AllAtOnce {
            return 1;
        }
        let rest = &self.input[from..];
        // Time only passes when everything before it is done.
        let flowing = rest.iter().take_while(|item| !matches!(item.0, Kind::Advance(_))).count();
        flowing.max(1)
    }

    /// A fresh task that goes on where the snapshot was.
    fn start(&mut self, world: &World, mode: Mode, restored: Restored) -> Result<Running<P>, Failure> {
        let env = world.env("process", 0, 1);
        let output = Probe::new();
        let mut credits: Vec<Box<dyn Credits>> = vec![Box::new(output.clone())];
        let mut outputs =
            Outputs { main: output.outlet(mode.credits(), env.run), sides: SideOutputs::default() };
        for side in &mut self.sides {
            credits.push(side.connect(&mut outputs.sides, mode.credits(), env.run));
        }
        let build = Arc::clone(&self.build);
        let given = env.clone();
        let boot = Box::new(move || build(given, outputs, &restored));
        let mut driver = Driver::boot(world, env, 1, credits, boot)?;
        if mode == Mode::RefusingOutputs {
            driver.refuse_every_other_offer();
        }
        Ok(Running { driver, output })
    }

    /// Gives steps to the task: neighbouring records as one batch.
    fn feed(&self, driver: &mut Driver<AnyTask<P::In>>, steps: &[Item<P::In>]) -> Result<(), Failure> {
        let mut batch = Batch::default();
        for step in steps {
            if !matches!(step.0, Kind::Record(..)) && !batch.is_empty() {
                driver.send(0, Message::Batch(std::mem::take(&mut batch)))?;
            }
            match &step.0 {
                Kind::Record(value, at) => match (self.hash_of)(value) {
                    Some(hash) => batch.push_keyed(value.clone(), *at, hash),
                    None => batch.push(value.clone(), *at),
                },
                Kind::Watermark(at) => driver.send(0, Message::Watermark(*at))?,
                Kind::Advance(by) => driver.advance(by.as_nanos() as u64)?,
            }
        }
        if batch.is_empty() { Ok(()) } else { driver.send(0, Message::Batch(batch)) }
    }

    /// Takes what came out.
    fn collect(&mut self, running: &Running<P>, step: usize, seen: &mut Vec<Seen<P::Out>>) {
        for side in &mut self.sides {
            side.take(step);
        }
        for heard in running.output.take() {
            let kind = match heard {
                Heard::Record(value, at) => Kind::Record(value, at),
                Heard::Watermark(at) => Kind::Watermark(at),
                Heard::Status(_) | Heard::Barrier(_) | Heard::End => continue,
            };
            // A restored task may tell again how far event time has come.
            if let Kind::Watermark(at) = kind
                && seen.iter().any(|seen| matches!(seen.item.0, Kind::Watermark(known) if known >= at))
            {
                continue;
            }
            seen.push(Seen { item: Item(kind), step });
        }
    }
}
