use super::*;
use crate::harness::watermark;

#[test]
fn each_key_has_a_state_of_its_own() {
    script()
        .input([
            tell(1, Do::Count),
            tell(2, Do::Count),
            tell(1, Do::Count),
            tell(1, Do::Count).at(7),
            watermark(8),
            tell(2, Do::Count).at(9),
        ])
        .expect_output([
            text("1: 1"),
            text("2: 1"),
            text("1: 2"),
            text("1: 3").at(7),
            watermark(8),
            text("2: 2").at(9),
        ]);
}

#[test]
fn without_a_key_an_instance_has_one_state() {
    Harness::process(Lone).input([record(Do::Count), record(Do::Count), record(Do::Count)]).expect_output([
        text("1"),
        text("2"),
        text("3"),
    ]);
}

#[test]
fn a_cleared_state_begins_anew() {
    script()
        .input([
            tell(1, Do::Count),
            tell(2, Do::Count),
            tell(1, Do::Clear),
            tell(1, Do::Count),
            tell(2, Do::Count),
        ])
        .expect_output([text("1: 1"), text("2: 1"), text("1: 1"), text("2: 2")]);
    Harness::process(Lone)
        .input([record(Do::Count), record(Do::Clear), record(Do::Count)])
        .expect_output([text("1"), text("1")]);
}

#[test]
fn one_record_may_become_more_than_a_batch() {
    let many = |what: &str| (0..3_000).map(|_| text(what)).collect::<Vec<_>>();
    let emit = |what: &str| Do::Emit(what.to_string(), 3_000);
    let output = [many("1: a"), many("2: b"), vec![watermark(5)]].concat();
    script().input([tell(1, emit("a")), tell(2, emit("b")), watermark(5)]).expect_output(output);
}

#[test]
fn a_side_output_gets_its_records_with_their_times() {
    let to_side = |what: &str| Do::Late(what.to_string());
    script()
        .input([
            tell(1, to_side("a")).at(3),
            tell(1, Do::Count).at(4),
            tell(2, to_side("b")).at(1),
            watermark(5),
            tell(2, to_side("c")),
        ])
        .expect_side(&late(), [text("a").at(3), text("b").at(1), text("c")])
        .expect_output([text("1: 1").at(4), watermark(5)]);
}

#[test]
fn a_side_output_that_nobody_uses_is_dropped() {
    script().input([tell(1, Do::Late("a".to_string())), tell(1, Do::Count)]).expect_output([text("1: 1")]);
}

#[test]
fn a_side_output_that_is_used_with_another_type_is_an_error() {
    let failure = script()
        .input([tell(1, Do::Late("a".to_string()))])
        .expect_side(&SideOutput::<u64>::new("late"), [])
        .expect_failure();
    assert_eq!(failure.cause, "side output `late` is sent `alloc::string::String` but used as `u64`");
}

#[test]
fn the_watermark_is_seen_as_far_as_it_has_come() {
    script()
        .input([
            tell(1, Do::Watermark),
            watermark(5),
            tell(1, Do::Watermark),
            watermark(9),
            tell(2, Do::Watermark),
        ])
        .expect_output([
            text(&format!("1: watermark {}", i64::MIN)),
            watermark(5),
            text("1: watermark 5"),
            watermark(9),
            text("2: watermark 9"),
        ]);
}
