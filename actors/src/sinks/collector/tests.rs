use watershed_state::{SimulatedDisk, decode, encode};

use super::*;
use crate::instance::Instance;

fn context(index: usize, run: u64) -> SinkContext {
    SinkContext {
        instance: Instance { operator: "out".into(), index, parallelism: 2 },
        lineage: "ab".into(),
        run,
        fs: SimulatedDisk::new(0).fs(),
        states: crate::OperatorStates::default(),
    }
}

fn part(writer: &mut CollectorWriter<String>, records: &[&str], checkpoint: u64) -> CollectedPart<String> {
    for record in records {
        writer.write((*record).to_owned()).unwrap();
    }
    let prepare = writer.prepare(checkpoint).unwrap().expect("something was written");
    prepare().unwrap()
}

#[test]
fn records_appear_at_the_commit_and_once() {
    let out = Collector::new();
    let sink = out.sink();
    let context = context(0, 0);
    let mut writer = sink.open(&context).unwrap();
    let first = part(&mut writer, &["a", "b"], 1);
    let second = part(&mut writer, &["c"], 2);
    assert_eq!(out.snapshot(), Vec::<String>::new());
    for part in [&first, &first, &second, &first] {
        sink.commit(part, &context).unwrap();
    }
    assert_eq!(out.snapshot(), ["a", "b", "c"]);
    assert_eq!(out.take(), ["a", "b", "c"]);
    sink.commit(&second, &context).unwrap();
    assert_eq!(out.take(), Vec::<String>::new());
}

#[test]
fn parts_survive_in_a_snapshot_and_in_another_sink_of_the_collector() {
    let out = Collector::new();
    let part = part(&mut out.sink().open(&context(1, 0)).unwrap(), &["a"], 1);
    out.sink().commit(&part, &context(1, 0)).unwrap();
    let mut bytes = Vec::new();
    encode(&part, &mut bytes).unwrap();
    let restored: CollectedPart<String> = decode(&mut bytes.as_slice()).unwrap();
    let sink = out.sink();
    sink.commit(&restored, &context(0, 1)).unwrap();
    sink.discard_dangling(&[restored], 0..1, None, &context(0, 1)).unwrap();
    assert_eq!(out.take(), ["a"]);
}

#[test]
fn the_same_checkpoint_of_other_instances_and_runs_is_another_part() {
    let out = Collector::new();
    let sink = out.sink();
    for (index, run) in [(0, 0), (1, 0), (0, 1)] {
        let context = context(index, run);
        let part = part(&mut sink.open(&context).unwrap(), &["x"], 1);
        sink.commit(&part, &context).unwrap();
    }
    assert_eq!(out.take().len(), 3);
}

#[test]
fn nothing_written_is_nothing_to_commit() {
    let mut writer = Collector::<u64>::new().sink().open(&context(0, 0)).unwrap();
    assert!(writer.prepare(1).unwrap().is_none());
}

#[test]
fn it_knows_through_which_checkpoint_it_has_committed() {
    let out = Collector::new();
    let sink = out.sink();
    let context = context(0, 0);
    assert_eq!(sink.committed_through("ab", &context.fs).unwrap(), None);
    let mut writer = sink.open(&context).unwrap();
    for checkpoint in [3, 7] {
        sink.commit(&part(&mut writer, &["a"], checkpoint), &context).unwrap();
    }
    assert_eq!(sink.committed_through("ab", &context.fs).unwrap(), Some(7));
    assert_eq!(sink.committed_through("cd", &context.fs).unwrap(), None);
}
