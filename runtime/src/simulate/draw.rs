//! Draws the faults of a life.

use crate::dice::Dice;
use crate::faults::SinkCall;
use crate::simulate::fault::{Fault, FaultKind, FaultPlace};
use crate::simulate::script::Counts;

/// Faults at most in one life, a death apart.
const FAULTS_MAX: usize = 5;

/// Draws what goes wrong in a life: some faults, and often a death.
pub(crate) fn draw_faults(dice: &mut Dice, life: usize, kinds: &[FaultKind], calm: &Counts) -> Vec<Fault> {
    let of = |death: bool| {
        let kinds = kinds.iter().copied().filter(|kind| kind.is_death() == death);
        kinds.flat_map(weighted).collect::<Vec<_>>()
    };
    let (deaths, others) = (of(true), of(false));
    let mut faults = Vec::new();
    let moment = dice.roll() % PARTS;
    let mut draw = Draw { dice, life, calm, moment };
    if !others.is_empty() {
        for _ in 0..draw.dice.below(FAULTS_MAX + 1) {
            let kind = others[draw.dice.below(others.len())];
            faults.extend(draw.fault(kind));
        }
    }
    if others.contains(&FaultKind::Rescale) {
        // It takes a while, in which nothing else may happen to many of them: so there is one in each life.
        faults.extend(draw.fault(FaultKind::Rescale));
    }
    if !deaths.is_empty() && draw.dice.below(4) > 0 {
        let kind = deaths[draw.dice.below(deaths.len())];
        faults.extend(draw.fault(kind));
    }
    faults
}

/// What leads to a rollback comes more often: without one nothing shows.
fn weighted(kind: FaultKind) -> impl Iterator<Item = FaultKind> {
    let weight = match kind {
        FaultKind::Panic => 4,
        _ => 1,
    };
    std::iter::repeat_n(kind, weight)
}

/// A life in so many parts.
const PARTS: u64 = 1_000;
/// Faults that come together are at most so many of them apart.
const NEAR: u64 = 80;
/// Some are only so many apart: within one checkpoint.
const CLOSE: u64 = 8;

struct Draw<'a> {
    dice: &'a mut Dice,
    life: usize,
    /// How much there is of everything in a life without faults.
    calm: &'a Counts,
    /// The part of the life in which many of its faults come together.
    moment: u64,
}

impl Draw<'_> {
    /// A number from 1 to `count`, often near the moment of this life.
    fn among(&mut self, count: u64) -> Option<u64> {
        let apart = self.dice.below(4);
        let roll = self.dice.roll();
        let part = match apart {
            0 => self.moment + roll % CLOSE,
            1 => self.moment + roll % NEAR,
            _ => roll % PARTS,
        };
        let within = (roll >> 32) % count.div_ceil(PARTS).max(1);
        (count > 0).then(|| 1 + count * part / PARTS + within)
    }

    fn step(&mut self) -> Option<FaultPlace> {
        Some(FaultPlace::Step(self.among(self.calm.steps)?))
    }

    /// Any file operation, or one that follows a rename, when a name is there and not yet durable.
    fn operation(&mut self) -> Option<FaultPlace> {
        Some(match self.dice.below(2) {
            0 => FaultPlace::FileOperation(self.among(self.calm.operations)?),
            _ => FaultPlace::Rename(self.among(self.calm.renames)?),
        })
    }

    fn sink_call(&mut self) -> Option<FaultPlace> {
        let calls: Vec<(SinkCall, u64)> =
            self.calm.sink_calls.iter().map(|(call, count)| (*call, *count)).collect();
        let (call, count) = *calls.get(self.dice.below(calls.len()))?;
        Some(FaultPlace::SinkCall(call, self.among(count)?))
    }

    /// One fault, if there is something that it can strike.
    fn fault(&mut self, kind: FaultKind) -> Option<Fault> {
        let (mut span, mut micros) = (1, 0);
        let place = match kind {
            FaultKind::Panic | FaultKind::Stop | FaultKind::Hang | FaultKind::LostFiles => self.step(),
            // A life with faults takes longer than one without, and even more so one with this.
            FaultKind::Rescale => self.among(2 * self.calm.steps).map(FaultPlace::Step),
            FaultKind::Kill | FaultKind::PowerCut if self.dice.below(3) == 0 => self.step(),
            FaultKind::Kill | FaultKind::PowerCut => self.operation(),
            FaultKind::Stall => {
                micros = self.dice.between(100, 30_000);
                self.step()
            }
            FaultKind::DiskError | FaultKind::DiskFull => {
                span = self.dice.between(1, 40);
                self.operation()
            }
            FaultKind::NameTaken => self.among(self.calm.renames).map(FaultPlace::Rename),
            FaultKind::SlowDisk => {
                span = self.dice.between(10, 300);
                micros = self.dice.between(50, 2_000);
                self.step()
            }
            FaultKind::SlowEdge => {
                span = self.dice.between(10, 300);
                micros = self.dice.between(50, 10_000);
                self.step()
            }
            FaultKind::SlowJob => {
                span = self.dice.between(1, 16);
                micros = self.dice.between(200, 30_000);
                self.among(self.calm.jobs).map(FaultPlace::Job)
            }
            FaultKind::LateReport => {
                micros = self.dice.between(100, 30_000);
                self.among(self.calm.reports).map(FaultPlace::Report)
            }
            FaultKind::LostAcknowledgement => {
                self.among(self.calm.acknowledgements).map(FaultPlace::Acknowledgement)
            }
            FaultKind::SinkError | FaultKind::SinkPanic => self.sink_call(),
        };
        Some(Fault { life: self.life, kind, place: place?, span, micros })
    }
}
