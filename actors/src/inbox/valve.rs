//! The watermark of many channels as a state machine.

use crate::clock::MAX_WATERMARK;
use crate::message::Status;

/// Combines the watermarks and statuses of all inputs: the minimum over those that are active and have caught up.
///
/// The result depends on the channels as they are and on what was sent on before, not on the order in which they came
/// to it.
#[derive(Debug, Clone)]
pub struct Valve {
    inputs: Vec<Input>,
    output: i64,
    status: Status,
}

#[derive(Debug, Clone, Copy)]
struct Input {
    watermark: i64,
    status: Status,
}

/// What changed for those who come after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValveChange {
    /// The new watermark, if it rose.
    pub watermark: Option<i64>,
    /// The new status, if it is another one.
    pub status: Option<Status>,
}

impl Valve {
    /// For so many channels, all active, nothing known.
    pub fn new(inputs: usize) -> Self {
        let input = Input { watermark: i64::MIN, status: Status::Active };
        Self { inputs: vec![input; inputs], output: i64::MIN, status: Status::Active }
    }

    /// Starts from the watermark of a snapshot: it does not fall below, and each channel had come at least that far.
    pub fn restore(&mut self, watermark: i64) {
        self.output = watermark;
        for input in &mut self.inputs {
            input.watermark = watermark;
        }
    }

    /// The combined watermark.
    pub fn output(&self) -> i64 {
        self.output
    }

    /// A watermark came on a channel.
    pub fn watermark(&mut self, input: usize, at: i64) -> Option<ValveChange> {
        let slot = &mut self.inputs[input];
        slot.watermark = slot.watermark.max(at);
        if at == MAX_WATERMARK {
            // Nothing will come any more: it must neither hold back the others nor pull them to the end.
            slot.status = Status::Finished;
        }
        self.recompute()
    }

    /// The status of a channel changed.
    pub fn status(&mut self, input: usize, status: Status) -> Option<ValveChange> {
        let slot = &mut self.inputs[input];
        if slot.status == Status::Finished {
            return None;
        }
        slot.status = status;
        self.recompute()
    }

    fn recompute(&mut self) -> Option<ValveChange> {
        let with = |wanted: Status| self.inputs.iter().filter(move |input| input.status == wanted);
        let (active, idle) = (with(Status::Active).count(), with(Status::Idle).count());
        let (status, watermark) = if active > 0 {
            // One that comes back from idleness counts again once it has reached what was sent on meanwhile.
            let counted = with(Status::Active).filter(|input| input.watermark >= self.output);
            (Status::Active, counted.map(|input| input.watermark).min())
        } else if idle > 0 {
            // Nobody holds anything back: as far as any idle one has come.
            (Status::Idle, with(Status::Idle).map(|input| input.watermark).max())
        } else {
            (Status::Finished, Some(MAX_WATERMARK))
        };
        let watermark = watermark.filter(|at| *at > self.output);
        if let Some(at) = watermark {
            self.output = at;
        }
        let status = (status != self.status).then_some(status);
        if let Some(status) = status {
            self.status = status;
        }
        (watermark.is_some() || status.is_some()).then_some(ValveChange { watermark, status })
    }
}

#[cfg(test)]
#[path = "valve_tests.rs"]
mod tests;
