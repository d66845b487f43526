//! Records that are refused, and two that make their actor panic whenever they come: all go to the dead letters.

use watershed::prelude::*;

/// Adds up, and chokes.
struct Chokes;

impl Process for Chokes {
    type Key = u64;
    type In = u64;
    type Out = (u64, u64);
    type State = u64;

    fn on_record(&self, number: u64, sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *sum += number;
        context.emit((number % 3, *sum));
        context.timer_at(number as i64 + 1);
        if number % 23 == 7 {
            return Err("it is refused".into());
        }
        assert_ne!(number, 31, "it cannot be handled");
        if number == 50 {
            // A panic of which nobody knows where it came from.
            std::panic::resume_unwind(Box::new("it cannot be handled"));
        }
        Ok(())
    }

    fn on_timer(&self, timer: Timer, _sum: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        context.emit((*context.key(), timer.at as u64 * 1_000_000));
        if timer.at == 20 { Err("not now".into()) } else { Ok(()) }
    }
}

pub(super) fn topology() -> Topology {
    let topology = Topology::new("poison");
    let lenient = Supervision::quarantine().at_most_fraction(1.0);
    topology
        .source("numbers", Generator::bounded(60, |n| n))
        .parallelism(1)
        .supervise(lenient)
        .try_filter(|n| if *n == 40 { Err("forty".into()) } else { Ok(true) })
        .event_time(|n| *n as i64, Lateness::none())
        .key_by(|n| n % 3)
        .actor("chokes", Chokes)
        .supervise(lenient)
        .sink_exactly_once("sums", Files::jsonl("/out/sums"));
    topology
}
