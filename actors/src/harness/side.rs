//! Side outputs of a process under test, whatever their types.

use std::fmt::Debug;

use crate::harness::diff::{self, Seen};
use crate::harness::item::{Item, Kind};
use crate::harness::probe::{Credits, Heard, Probe};
use crate::process::{SideOutput, SideOutputs};

/// A side output of which something is expected.
pub(crate) trait Side {
    /// Forgets what came: another way of running begins.
    fn begin(&mut self);
    /// Connects it to a fresh task; returns its credits.
    fn connect(&mut self, sides: &mut SideOutputs, credits: u32, run: u64) -> Box<dyn Credits>;
    /// Takes what came after an input step.
    fn take(&mut self, step: usize);
    /// The difference to what was expected, as lines.
    fn compare(&self) -> Option<String>;
}

pub(crate) struct ExpectedSide<T> {
    output: SideOutput<T>,
    expected: Vec<Item<T>>,
    seen: Vec<Seen<T>>,
    probe: Probe<T>,
}

impl<T> ExpectedSide<T> {
    pub(crate) fn new(output: SideOutput<T>, expected: Vec<Item<T>>) -> Self {
        Self { output, expected, seen: Vec::new(), probe: Probe::new() }
    }
}

impl<T: Clone + Debug + PartialEq + Send + 'static> Side for ExpectedSide<T> {
    fn begin(&mut self) {
        self.seen.clear();
    }

    fn connect(&mut self, sides: &mut SideOutputs, credits: u32, run: u64) -> Box<dyn Credits> {
        self.probe = Probe::new();
        sides.connect(self.output.name(), self.probe.outlet(credits, run));
        Box::new(self.probe.clone())
    }

    fn take(&mut self, step: usize) {
        for heard in self.probe.take() {
            if let Heard::Record(value, at) = heard {
                self.seen.push(Seen { item: Item(Kind::Record(value, at)), step });
            }
        }
    }

    fn compare(&self) -> Option<String> {
        let diff = diff::compare(&self.expected, &self.seen)?;
        Some(format!("side output `{}`:\n{diff}", self.output.name()))
    }
}
