use super::*;
use crate::failure::{Failure, FailureKind};

fn check(what: &Do, cause: &str, kind: FailureKind) {
    let steps = || [tell(1, Do::Count), tell(7, Do::Count), tell(42, what.clone()), tell(3, Do::Count)];
    let failure = script().input(steps()).expect_failure();
    assert_eq!(failure, Failure { cause: cause.to_string(), kind, key: Some("42".to_string()), blame: None });
}

#[test]
fn an_error_is_reported_with_the_key_of_its_record() {
    check(&Do::Fail("the card is expired".to_string()), "the card is expired", FailureKind::Error);
}

#[test]
fn a_panic_is_reported_with_the_key_of_its_record() {
    check(&Do::Panic("index out of range".to_string()), "index out of range", FailureKind::Panic);
}

#[test]
fn without_a_key_a_failure_has_none() {
    let failure = Harness::process(Lone).input([record(Do::Fail("no".to_string()))]).expect_failure();
    assert_eq!(
        failure,
        Failure { cause: "no".to_string(), kind: FailureKind::Error, key: None, blame: None }
    );
}
