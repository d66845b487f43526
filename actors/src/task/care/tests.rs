use watershed_state::Section;

use super::*;
use crate::harness::world::World;
use crate::supervision::{Oversight, Policy, SkipCap};

const CHECKPOINT: u64 = 7;

fn entry(record: u64, occurrence: u32) -> SkipEntry {
    let exhibit =
        Exhibit { key: Some((None, 3)), ..Exhibit::new(Stage::Process, Place::Input, NO_TIMESTAMP) };
    let mut bytes = Vec::new();
    encode(&record, &mut bytes).unwrap();
    SkipEntry {
        id: 1,
        lineage: "test".to_string(),
        operator: "sum".to_string(),
        instance: 1,
        parallelism: 2,
        fingerprint: exhibit.fingerprint(&bytes),
        checkpoint: CHECKPOINT,
        occurrence,
        within_records: 100,
        evidence: exhibit.evidence(&record),
        attempts: 3,
        cause: "it panics".to_string(),
        backtrace: None,
        panicked: true,
        replay_of: None,
    }
}

fn env(policy: Policy, skips: Vec<SkipEntry>, index: usize, parallelism: usize) -> Env {
    let oversight = Arc::new(Oversight::new(policy, CHECKPOINT, 0, skips));
    Env { oversight, ..World::new().env("sum", index, parallelism) }
}

fn take(care: &mut Care, record: u64) -> bool {
    let exhibit = care.arrival(Stage::Process, NO_TIMESTAMP);
    let verdict = care.examine(exhibit, &record);
    care.done();
    matches!(verdict, Verdict::Process)
}

fn save(care: &mut Care) -> Section {
    match care.barrier(CHECKPOINT + 1) {
        Some(SnapshotItem::Section(section)) => section,
        other => panic!("{other:?}"),
    }
}

fn restore(env: &Env, sections: &[Section], owns: bool) -> Care {
    let instances = sections.iter().map(|section| vec![section.clone()].into()).collect();
    Care::restore(env, &Restored { instances, ..Restored::default() }, |_, _| owns).unwrap()
}

#[test]
fn a_record_that_is_waited_for_is_counted_on_by_whoever_has_its_key_after_a_change_of_parallelism() {
    let policy = Policy::of(Directive::Quarantine);
    let skips = || vec![entry(5, 3)];
    let mut other = restore(&env(policy, skips(), 0, 2), &[], false);
    let mut owner = restore(&env(policy, skips(), 1, 2), &[], true);
    assert!([5, 6, 5].iter().all(|record| take(&mut owner, *record)));
    let saved = [save(&mut other), save(&mut owner)];
    for index in 0..3 {
        let mut care = restore(&env(policy, skips(), index, 3), &saved, true);
        assert!(take(&mut care, 6));
        assert!(!take(&mut care, 5), "instance {index} does not know that it has come twice");
        assert!(take(&mut care, 5));
    }
}

fn capped(cap: SkipCap) -> Policy {
    let mut policy = Policy::of(Directive::Skip);
    policy.cap = cap;
    policy
}

fn leave_out(care: &mut Care, evidence: Evidence) -> Result<(), Failure> {
    care.leave_out(evidence, Attempt::default()).map(|_| ())
}

#[test]
fn what_was_left_out_is_dealt_out_to_more_instances_and_not_held_against_one() {
    let policy = capped(SkipCap { records: 10, fraction: 1.0, ..SkipCap::default() });
    let saved: Vec<Section> = (0..2)
        .map(|index| {
            let mut care = restore(&env(policy, vec![], index, 2), &[], false);
            (0..10).for_each(|_| leave_out(&mut care, Evidence::undecoded(b"?")).unwrap());
            save(&mut care)
        })
        .collect();
    let more = |index| {
        let mut care = restore(&env(policy, vec![], index, 4), &saved, false);
        (0..20).take_while(|_| leave_out(&mut care, Evidence::undecoded(b"?")).is_ok()).count()
    };
    assert_eq!([0, 1, 2, 3].map(more), [5; 4]);
}

#[test]
fn what_was_skipped_in_another_while_does_not_count() {
    let cap = SkipCap { records: 10, fraction: 1.0, within: std::time::Duration::ZERO };
    let mut care = Care::new(&env(capped(cap), vec![], 0, 1));
    (0..100).for_each(|_| leave_out(&mut care, Evidence::undecoded(b"?")).unwrap());
}

#[test]
fn the_while_in_which_skipped_records_count_goes_on_after_a_restart() {
    let policy = capped(SkipCap { records: 10, fraction: 1.0, ..SkipCap::default() });
    // The clock is further than the while, as it is since 1970: else one that is not saved would not be over.
    let world = World::new();
    world.clock.advance(2 * policy.cap.within);
    let env = || {
        let oversight = Arc::new(Oversight::new(policy, CHECKPOINT, 0, vec![]));
        Env { oversight, ..world.env("sum", 0, 1) }
    };
    let mut care = restore(&env(), &[], false);
    (0..10).for_each(|_| leave_out(&mut care, Evidence::undecoded(b"?")).unwrap());
    let saved = save(&mut care);
    let mut care = restore(&env(), &[saved], false);
    let failure = leave_out(&mut care, Evidence::undecoded(b"?")).unwrap_err();
    assert!(
        failure.cause.starts_with(
            "11 records were skipped within 3600s, 11 of 11 in it and the time before, more than"
        ),
        "{failure}"
    );
}

#[test]
fn input_that_cannot_be_decoded_counts_as_taken_in() {
    let policy = capped(SkipCap { records: u64::MAX, fraction: 0.5, ..SkipCap::default() });
    let mut care = Care::new(&env(policy, vec![], 0, 1));
    let left_out = (0..5_000).take_while(|_| leave_out(&mut care, Evidence::undecoded(b"?")).is_ok()).count();
    assert_eq!(left_out as u64, SkipCap::FRACTION_FROM - 1);
}

#[test]
fn whoever_asks_finds_the_record_at_hand_until_it_is_through() {
    let env = Env {
        oversight: Arc::new(Oversight::new(Policy::of(Directive::Quarantine), CHECKPOINT, 10, vec![])),
        ..World::new().env("sum", 0, 1)
    };
    let mut care = Care::new(&env);
    care.comes_on(Some(4));
    assert_eq!(env.oversight.suspect(), None);
    let exhibit = care.arrival(Stage::Process, 70);
    assert!(matches!(care.examine(exhibit, &9u64), Verdict::Process));
    let suspect = env.oversight.suspect().unwrap();
    assert_eq!((suspect.evidence.channel, suspect.evidence.timestamp), (Some(4), Some(70)));
    assert_eq!((suspect.evidence.payload.as_u64(), suspect.since), (Some(9), vec![(CHECKPOINT, 1)]));
    care.done();
    assert_eq!(env.oversight.suspect(), None);
}
