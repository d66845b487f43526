//! A source that does what it was told, and instances of it driven by hand.

mod checkpoints;
mod ends;
mod reading;
mod splits;
mod states;

use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use watershed_state::{Section, SectionKind, decode, encode};

use super::splits::Progress;
use super::*;
use crate::chain::{EventTime, Fused};
use crate::clock::Clock;
use crate::error::UserResult;
use crate::harness::driver::Driver;
use crate::harness::probe::{Heard, Probe};
use crate::harness::world::World;

/// What a split holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Piece {
    Record(u64),
    /// Nothing until this time, in nanoseconds.
    Until(u64),
    /// Nothing until somebody wakes the task.
    UntilWoken,
    /// One answer without a record.
    Skip,
    /// The reader ends, and one that is opened behind this has more.
    HangUp,
    /// There is never more, whatever comes behind it.
    Finish,
    Fail,
    /// A reader that is opened here cannot be.
    Closed,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Part {
    name: String,
    pieces: Vec<Piece>,
}

impl Split for Part {
    fn id(&self) -> String {
        self.name.clone()
    }
}

/// Splits that were opened, with the position they were opened at.
type Opened = Arc<Mutex<Vec<(String, Option<usize>)>>>;

#[derive(Debug)]
struct Script {
    parts: Vec<Part>,
    bounded: bool,
    woken: Arc<Mutex<bool>>,
    opened: Opened,
}

impl Source for Script {
    type Item = u64;
    type Split = Part;
    type Reader = PartReader;

    fn splits(&self) -> UserResult<Vec<Part>> {
        Ok(self.parts.clone())
    }

    fn open(&self, part: &Part, position: Option<usize>, context: &SourceContext) -> UserResult<PartReader> {
        self.opened.lock().unwrap().push((part.name.clone(), position));
        if let Some(Piece::Closed) = part.pieces.get(position.unwrap_or(0)) {
            return Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into());
        }
        Ok(PartReader {
            pieces: part.pieces.clone(),
            position: position.unwrap_or(0),
            clock: Arc::clone(&context.clock),
            woken: Arc::clone(&self.woken),
            bounded: self.bounded,
        })
    }

    fn is_bounded(&self) -> bool {
        self.bounded
    }
}

struct PartReader {
    pieces: Vec<Piece>,
    position: usize,
    clock: Arc<dyn Clock>,
    woken: Arc<Mutex<bool>>,
    bounded: bool,
}

impl Reader for PartReader {
    type Item = u64;
    type Position = usize;

    fn poll(&mut self, records: &mut Records<'_, u64>, limit: usize) -> UserResult<Polled> {
        let mut given = 0;
        while given < limit {
            let Some(piece) = self.pieces.get(self.position) else {
                return Ok(if self.bounded { Polled::End } else { Polled::Pending(None) });
            };
            match piece {
                Piece::Record(value) => {
                    records.push(*value);
                    given += 1;
                }
                Piece::Until(at) if *at > self.clock.nanos() => return Ok(Polled::Pending(Some(*at))),
                Piece::UntilWoken if !*self.woken.lock().unwrap() => return Ok(Polled::Pending(None)),
                Piece::Until(_) | Piece::UntilWoken | Piece::Closed => {}
                Piece::Skip => {
                    self.position += 1;
                    return Ok(Polled::Ready);
                }
                Piece::HangUp => {
                    self.position += 1;
                    return Ok(Polled::End);
                }
                Piece::Finish => {
                    self.position += 1;
                    return Ok(Polled::Finished);
                }
                Piece::Fail => return Err("the disk is gone".into()),
            }
            self.position += 1;
        }
        Ok(Polled::Ready)
    }

    fn position(&self) -> usize {
        self.position
    }
}

fn part(name: &str, values: impl IntoIterator<Item = u64>) -> Part {
    Part { name: name.to_string(), pieces: values.into_iter().map(Piece::Record).collect() }
}

fn script(parts: Vec<Part>) -> Script {
    Script { parts, bounded: true, woken: Arc::default(), opened: Arc::default() }
}

/// An instance with its output.
struct Rig {
    driver: Driver<SourceTask<Script>>,
    output: Probe<u64>,
    opened: Opened,
    woken: Arc<Mutex<bool>>,
}

/// How an instance is set up.
struct Setup {
    index: usize,
    parallelism: usize,
    credits: u32,
    rate: Option<f64>,
    restored: Restored,
    /// Watermarks from the records, which are their own times, and idleness after 50 ms.
    event_time: bool,
    /// A second consumer.
    quick: Option<Probe<u64>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            index: 0,
            parallelism: 1,
            credits: 1024,
            rate: None,
            restored: Restored::default(),
            event_time: false,
            quick: None,
        }
    }
}

fn saved_by(instances: Vec<Vec<Section>>) -> Restored {
    let instances = instances.into_iter().map(Into::into).collect();
    Restored { instances, ..Restored::default() }
}

fn start(world: &World, script: Script, setup: Setup) -> Result<Rig, Failure> {
    let env = world.env("source", setup.index, setup.parallelism);
    let output = Probe::new();
    let edge = output.edge(setup.credits, env.run);
    let (opened, woken) = (Arc::clone(&script.opened), Arc::clone(&script.woken));
    let mut consumers: Vec<Box<dyn Push<u64>>> = Vec::new();
    if setup.event_time {
        let lateness = crate::chain::Lateness::none().idle_after(std::time::Duration::from_millis(50));
        let time_of = Arc::new(|value: &u64| *value as i64);
        let event_time = EventTime::new(time_of, &lateness, crate::chain::Timing::default());
        consumers.push(Box::new(Fused::new(event_time, edge)));
    } else {
        consumers.push(Box::new(edge));
    }
    if let Some(probe) = &setup.quick {
        consumers.push(Box::new(probe.edge(1024, env.run)));
    }
    let splits = Arc::new(script.splits().unwrap());
    let setup_of_task = SourceSetup {
        source: Arc::new(script),
        splits,
        outlet: Tee::new(consumers),
        sides: SideOutputs::default(),
        rate: setup.rate,
    };
    let given = env.clone();
    let restored = setup.restored;
    let boot = Box::new(move || SourceTask::restore(given, setup_of_task, &restored));
    let driver = Driver::boot(world, env, 0, vec![Box::new(output.clone())], boot)?;
    Ok(Rig { driver, output, opened, woken })
}

impl Rig {
    fn heard(&mut self) -> Vec<Heard<u64>> {
        self.driver.settle().unwrap();
        self.output.take()
    }

    fn values(&mut self) -> Vec<u64> {
        records(&self.heard())
    }

    /// Lets the instance take part in a checkpoint. Returns what it has written.
    fn checkpoint(&mut self, world: &World, checkpoint: u64) -> Vec<Section> {
        world.prepare(checkpoint);
        self.driver.control(Control::Trigger(checkpoint)).unwrap();
        self.driver.settle().unwrap();
        self.part(world, checkpoint).unwrap()
    }

    /// What the instance has written for a checkpoint, if it has.
    fn part(&self, world: &World, checkpoint: u64) -> Option<Vec<Section>> {
        Some(world.read(&world.reports.part(self.driver.cell.env().task, checkpoint)?))
    }
}

fn records(heard: &[Heard<u64>]) -> Vec<u64> {
    heard
        .iter()
        .filter_map(|heard| if let Heard::Record(value, _) = heard { Some(*value) } else { None })
        .collect()
}

fn signals(heard: Vec<Heard<u64>>) -> Vec<Heard<u64>> {
    heard.into_iter().filter(|heard| !matches!(heard, Heard::Record(..))).collect()
}

/// How far each split has been read, as saved.
fn positions(sections: &[Section]) -> Vec<(String, String)> {
    let splits = sections.iter().find(|section| section.kind == SectionKind::Splits).unwrap();
    let saved: Vec<(String, Progress<usize>)> = decode(&mut splits.bytes.as_slice()).unwrap();
    let mut saved: Vec<_> = saved.into_iter().map(|(id, progress)| (id, format!("{progress:?}"))).collect();
    saved.sort();
    saved
}

fn expected<const N: usize>(positions: [(&str, &str); N]) -> Vec<(String, String)> {
    positions.map(|(id, progress)| (id.to_string(), progress.to_string())).to_vec()
}
