use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::*;
use crate::error::UserResult;
use crate::failure::FailureKind;
use crate::process::{Context, Timer};

/// Sums per key, remembering in two ways.
struct Sum {
    /// Whether to give what a snapshot does not hold.
    forgetful: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Sums {
    saved: u64,
    #[serde(skip)]
    not_saved: u64,
}

impl Process for Sum {
    type Key = u64;
    type In = u64;
    type Out = u64;
    type State = Sums;

    fn on_record(&self, number: u64, sums: &mut Sums, ctx: &mut Context<'_, Self>) -> UserResult {
        if number == 13 {
            return Err("thirteen".into());
        }
        sums.saved += number;
        sums.not_saved += number;
        ctx.emit(if self.forgetful { sums.not_saved } else { sums.saved });
        Ok(())
    }
}

fn sum(forgetful: bool, input: impl IntoIterator<Item = Item<u64>>) -> Harness<Sum> {
    Harness::keyed(Sum { forgetful }, |number| number % 10).input(input)
}

/// What the panic says.
fn complaint(test: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(test)).unwrap_err();
    payload.downcast_ref::<String>().cloned().expect("the harness says what differs")
}

#[test]
fn a_process_that_does_what_is_expected_passes() {
    sum(false, [record(1), record(11).at(5), watermark(6), record(2)]).expect_output([
        record(1),
        record(12).at(5),
        watermark(6),
        record(2),
    ]);
}

#[test]
fn a_difference_is_shown_with_the_way_of_running_and_the_step() {
    let said = complaint(|| {
        sum(false, [record(1), record(11), record(2), watermark(9)]).expect_output([
            record(1),
            record(11),
            record(2),
            watermark(9),
        ]);
    });
    let expected = "\
`Sum`, run record by record, gave something else than expected
input:
    1  record(1)
    2  record(11)
    3  record(2)
    4  watermark(9)
output:
       record(1)
    -  record(11)   missing
    +  record(12)   came after step 2
       record(2)
       watermark(9)
";
    assert_eq!(said, expected);
}

#[test]
fn output_that_is_missing_or_too_much_is_a_difference() {
    let missing = complaint(|| sum(false, [record(1)]).expect_output([record(1), record(1)]));
    assert!(missing.contains("-  record(1)   missing"), "{missing}");
    let too_much = complaint(|| sum(false, [record(1)]).expect_output([]));
    assert!(too_much.contains("+  record(1)   came after step 1"), "{too_much}");
}

#[test]
fn another_time_is_a_difference() {
    let said = complaint(|| sum(false, [record(1).at(5)]).expect_output([record(1)]));
    assert!(said.contains("+  record(1).at(5)"), "{said}");
}

#[test]
fn a_watermark_at_another_place_is_a_difference() {
    let said = complaint(|| sum(false, [record(1), watermark(5)]).expect_output([watermark(5), record(1)]));
    assert!(said.contains("watermark(5)"), "{said}");
}

#[test]
fn watermarks_that_follow_one_another_count_as_the_last() {
    let input = || [watermark(1), watermark(2), record(1), watermark(3)];
    sum(false, input()).expect_output([watermark(2), record(1), watermark(3)]);
    sum(false, input()).expect_output(input());
}

#[test]
fn state_that_a_snapshot_does_not_hold_is_found_out() {
    let said = complaint(|| sum(true, [record(1), record(11)]).expect_output([record(1), record(12)]));
    assert!(
        said.starts_with("`Sum`, run with a power cut and a restart after every step, gave something else"),
        "{said}"
    );
}

#[test]
fn an_unexpected_failure_is_shown() {
    let said = complaint(|| sum(false, [record(1), record(13)]).expect_output([record(1)]));
    assert!(said.starts_with("`Sum`, run record by record, failed: thirteen (key 3)\ninput:\n"), "{said}");
}

#[test]
fn an_expected_failure_is_given_back() {
    let failure = sum(false, [record(1), record(13)]).expect_failure();
    let key = Some("3".to_string());
    assert_eq!(
        failure,
        Failure { cause: "thirteen".to_string(), kind: FailureKind::Error, key, blame: None }
    );
}

#[test]
fn a_failure_that_does_not_come_is_a_difference() {
    let said = complaint(|| drop(sum(false, [record(1)]).expect_failure()));
    assert!(said.starts_with("`Sum`, run record by record, did not fail\n"), "{said}");
}

/// Sends numbers to two sides.
struct Sort;

fn even() -> SideOutput<u64> {
    SideOutput::new("even")
}

fn odd() -> SideOutput<String> {
    SideOutput::new("odd")
}

impl Process for Sort {
    type Key = ();
    type In = u64;
    type Out = ();
    type State = ();

    fn on_record(&self, number: u64, _state: &mut (), ctx: &mut Context<'_, Self>) -> UserResult {
        if number.is_multiple_of(2) {
            ctx.emit_to(&even(), number);
        } else {
            ctx.emit_to(&odd(), number.to_string());
        }
        Ok(())
    }
}

#[test]
fn each_side_output_is_compared_by_itself() {
    let input = || [record(1).at(10), record(2).at(20), record(3), record(4), watermark(5)];
    Harness::process(Sort)
        .input(input())
        .expect_side(&even(), [record(2).at(20), record(4)])
        .expect_side(&odd(), [record("1".to_string()).at(10), record("3".to_string())])
        .expect_output([watermark(5)]);
    let said = complaint(|| {
        Harness::process(Sort)
            .input(input())
            .expect_side(&even(), [record(2).at(20), record(6)])
            .expect_side(&odd(), [record("1".to_string()).at(10), record("3".to_string())])
            .expect_output([watermark(5)]);
    });
    assert!(said.ends_with("side output `even`:\n       record(2).at(20)\n    -  record(6)   missing\n    +  record(4)   came after step 4\n"), "{said}");
}

/// Says what the clock says, now and after a while.
struct Late;

impl Process for Late {
    type Key = ();
    type In = i64;
    type Out = i64;
    type State = ();

    fn on_record(&self, delay: i64, _state: &mut (), ctx: &mut Context<'_, Self>) -> UserResult {
        ctx.emit(ctx.now_ms());
        ctx.timer_at_processing_time(ctx.now_ms() + delay);
        Ok(())
    }

    fn on_timer(&self, _timer: Timer, _state: &mut (), ctx: &mut Context<'_, Self>) -> UserResult {
        ctx.emit(ctx.now_ms());
        Ok(())
    }
}

#[test]
fn the_clock_begins_at_0_and_moves_only_when_told() {
    let ms = Duration::from_millis;
    Harness::process(Late)
        .input([record(10), record(20), advance(ms(15)), record(100), advance(ms(200)), record(1)])
        .expect_output([record(0), record(0), record(10), record(15), record(20), record(115), record(215)]);
}
