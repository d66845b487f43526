use watershed_state::SavedInstance;

use super::*;
use crate::sink::{NoClaim, OutputClaim, Owner};
use crate::task::TaskEvent;

/// An exactly-once sink whose committables are texts.
struct Exact(Notes);

/// A text that cannot be read back if it names a record of this number.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Handle(String);

const UNREADABLE: u64 = 666;

impl TryFrom<String> for Handle {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains(&UNREADABLE.to_string()) {
            Err(format!("{text} is no handle"))
        } else {
            Ok(Self(text))
        }
    }
}

impl From<Handle> for String {
    fn from(Handle(text): Handle) -> Self {
        text
    }
}

struct ExactWriter {
    notes: Notes,
    /// Written since the last checkpoint.
    open: Vec<u64>,
}

impl TwoPhaseSink for Exact {
    type In = u64;
    type Writer = ExactWriter;
    type Committable = Handle;

    fn check(&self, _fs: &Fs) -> UserResult {
        Ok(())
    }

    fn claim(&self, _owner: &Owner, _fs: &Fs) -> UserResult<Box<dyn OutputClaim>> {
        Ok(Box::new(NoClaim))
    }

    fn open(&self, context: &SinkContext) -> UserResult<ExactWriter> {
        self.0.note("open", &context.instance)?;
        Ok(ExactWriter { notes: self.0.clone(), open: Vec::new() })
    }

    fn commit(&self, committable: &Handle, _context: &SinkContext) -> UserResult {
        self.0.note("commit", &committable.0)
    }

    fn discard_dangling(
        &self,
        keep: &[Handle],
        runs: Range<u64>,
        instance: Option<usize>,
        _context: &SinkContext,
    ) -> UserResult {
        let keep: Vec<&String> = keep.iter().map(|handle| &handle.0).collect();
        self.0.note("discard", format!("{instance:?} of runs {runs:?} but {keep:?}"))
    }

    fn committed_through(&self, _lineage: &str, _fs: &Fs) -> UserResult<Option<u64>> {
        Ok(None)
    }

    fn lineages(&self, _operator: &str, _fs: &Fs) -> UserResult<BTreeSet<String>> {
        Ok(BTreeSet::new())
    }
}

impl TwoPhaseWriter for ExactWriter {
    type In = u64;
    type Committable = Handle;

    fn write(&mut self, record: u64) -> UserResult {
        self.notes.note("write", record)?;
        self.open.push(record);
        Ok(())
    }

    fn prepare(&mut self, checkpoint: u64) -> UserResult<Option<Prepare<Handle>>> {
        self.notes.note("close", checkpoint)?;
        let records = std::mem::take(&mut self.open);
        if records.is_empty() {
            return Ok(None);
        }
        let notes = self.notes.clone();
        Ok(Some(Box::new(move || {
            notes.note("prepare", checkpoint)?;
            Ok(Handle(format!("{records:?}@{checkpoint}")))
        })))
    }
}

type Rig = Driver<OperatorTask<TwoPhaseLogic<Exact>>>;

/// An instance of so many, with what a snapshot holds.
fn start_instance(
    world: &World,
    notes: &Notes,
    (index, parallelism): (usize, usize),
    restored: Restored,
) -> Result<Rig, Failure> {
    let env = world.env("sink", index, parallelism);
    let (sink, given) = (Arc::new(Exact(notes.clone())), env.clone());
    let boot = Box::new(move || {
        let logic = TwoPhaseLogic::restore(&given, &sink, SideOutputs::default(), &restored)?;
        Ok(OperatorTask::new(given.clone(), Inbox::new(1, given.run), logic))
    });
    Driver::boot(world, env, 1, Vec::new(), boot)
}

fn start(world: &World, notes: &Notes) -> Rig {
    let rig = start_instance(world, notes, (0, 1), Restored::default()).unwrap();
    notes.take();
    rig
}

/// Writes the records and takes part in a checkpoint. Returns what was saved.
fn checkpoint(world: &World, rig: &mut Rig, records: &[u64], checkpoint: u64) -> Vec<Section> {
    if !records.is_empty() {
        rig.send_values(0, records.to_vec()).unwrap();
    }
    rig.snapshot(world, checkpoint).unwrap()
}

fn committables(sections: &[Section]) -> Vec<(u64, String)> {
    assert_eq!(sections.len(), 1);
    assert_eq!(sections[0].kind, SectionKind::Committables);
    decode(&mut sections[0].bytes.as_slice()).unwrap()
}

fn committed(world: &World) -> Vec<u64> {
    let events = world.reports.of(TaskId(0)).into_iter();
    events.filter_map(|event| if let TaskEvent::Committed(id) = event { Some(id) } else { None }).collect()
}

fn complete(rig: &mut Rig, checkpoint: u64) {
    rig.control(Control::Complete(checkpoint)).unwrap();
    rig.settle().unwrap();
}

#[test]
fn what_was_written_before_a_barrier_is_committed_when_its_checkpoint_is_complete() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    let saved = checkpoint(&world, &mut rig, &[1, 2], 1);
    assert_eq!(notes.take(), ["write 1", "write 2", "close 1", "prepare 1"]);
    assert_eq!(committables(&saved), [(1, "[1, 2]@1".to_string())]);
    assert!(committed(&world).is_empty());
    complete(&mut rig, 1);
    assert_eq!(notes.take(), ["commit [1, 2]@1"]);
    assert_eq!(committed(&world), [1]);
}

#[test]
fn a_checkpoint_without_records_is_committed_all_the_same() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    assert_eq!(committables(&checkpoint(&world, &mut rig, &[], 1)), []);
    complete(&mut rig, 1);
    assert_eq!(notes.take(), ["close 1"]);
    assert_eq!(committed(&world), [1]);
}

#[test]
fn a_checkpoint_that_was_given_up_is_committed_with_the_next_but_by_itself() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    checkpoint(&world, &mut rig, &[1], 1);
    rig.control(Control::Abort(1)).unwrap();
    let saved = checkpoint(&world, &mut rig, &[2], 2);
    assert_eq!(committables(&saved), [(1, "[1]@1".to_string()), (2, "[2]@2".to_string())]);
    notes.take();
    complete(&mut rig, 2);
    assert_eq!(notes.take(), ["commit [1]@1", "commit [2]@2"]);
    assert_eq!(committed(&world), [2]);
}

#[test]
fn what_was_written_is_not_lost_though_its_checkpoint_could_not_be_written() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    world.disk().full_during(1..100);
    rig.send_values(0, vec![1]).unwrap();
    rig.send_barrier(0, 1).unwrap();
    rig.settle().unwrap();
    assert!(matches!(world.reports.of(TaskId(0)).last(), Some(TaskEvent::Declined { checkpoint: 1, .. })));
    world.disk().mend();
    let saved = checkpoint(&world, &mut rig, &[2], 2);
    assert_eq!(committables(&saved), [(1, "[1]@1".to_string()), (2, "[2]@2".to_string())]);
}

#[test]
fn a_committable_that_could_not_be_read_back_gives_up_the_checkpoint_and_nothing_of_it_is_committed() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    checkpoint(&world, &mut rig, &[1], 1);
    rig.send_values(0, vec![UNREADABLE]).unwrap();
    rig.send_barrier(0, 2).unwrap();
    rig.settle().unwrap();
    let events = world.reports.of(TaskId(0));
    let Some(TaskEvent::Declined { checkpoint: 2, reason, lasts: true }) = events.last() else {
        panic!("{events:?}")
    };
    for part in ["Handle", "not be read back", "[666]@2 is no handle"] {
        assert!(reason.contains(part), "there is no {part:?} in: {reason}");
    }
    notes.take();
    complete(&mut rig, 1);
    assert_eq!(notes.take(), ["commit [1]@1"]);
}

#[test]
fn a_completion_that_was_missed_is_made_up_for_by_the_next_one() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    checkpoint(&world, &mut rig, &[1], 1);
    checkpoint(&world, &mut rig, &[2], 2);
    checkpoint(&world, &mut rig, &[3], 3);
    notes.take();
    complete(&mut rig, 2);
    assert_eq!(notes.take(), ["commit [1]@1", "commit [2]@2"], "what was prepared later stays invisible");
    complete(&mut rig, 2);
    complete(&mut rig, 1);
    assert!(notes.take().is_empty(), "what is committed is not committed again");
    complete(&mut rig, 3);
    assert_eq!(notes.take(), ["commit [3]@3"]);
}

#[test]
fn what_is_committed_is_in_no_later_checkpoint() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    checkpoint(&world, &mut rig, &[1], 1);
    complete(&mut rig, 1);
    assert_eq!(committables(&checkpoint(&world, &mut rig, &[2], 2)), [(2, "[2]@2".to_string())]);
}

#[test]
fn a_sink_that_fails_in_commit_reports_it() {
    for (panics, kind, cause) in
        [(false, FailureKind::Error, "commit failed"), (true, FailureKind::Panic, "commit panicked")]
    {
        let (world, notes) = (World::new(), Notes::failing_in("commit"));
        notes.lock().panics = panics;
        let mut rig = start(&world, &notes);
        checkpoint(&world, &mut rig, &[1], 1);
        rig.control(Control::Complete(1)).unwrap();
        assert!(rig.settle().is_err());
        check_failed(&world, TaskId(0), kind, cause);
        assert!(committed(&world).is_empty());
    }
}

#[test]
fn a_sink_that_cannot_prepare_reports_it_and_acknowledges_nothing() {
    for what in ["close", "prepare"] {
        let (world, notes) = (World::new(), Notes::failing_in(what));
        let mut rig = start(&world, &notes);
        world.prepare(1);
        rig.send_values(0, vec![1]).unwrap();
        rig.send_barrier(0, 1).unwrap();
        assert!(rig.settle().is_err(), "{what}");
        check_failed(&world, TaskId(0), FailureKind::Error, &format!("{what} failed"));
        assert_eq!(world.reports.part(TaskId(0), 1), None);
    }
}

#[test]
fn a_sink_whose_run_is_over_commits_nothing_any_more() {
    let (mut world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes);
    checkpoint(&world, &mut rig, &[1], 1);
    notes.take();
    world.restart();
    rig.control(Control::Complete(1)).unwrap();
    assert!(notes.take().is_empty());
    assert!(committed(&world).is_empty());
}

/// What two instances have saved for checkpoint 2, when checkpoint 1 was never completed.
fn saved_by_two(world: &World) -> Vec<SavedInstance> {
    let saved = (0..2).map(|index| {
        let mut rig = start_instance(world, &Notes::default(), (index, 2), Restored::default()).unwrap();
        checkpoint(world, &mut rig, &[10 * index as u64], 1);
        checkpoint(world, &mut rig, &[10 * index as u64 + 1], 2).into()
    });
    saved.collect()
}

#[test]
fn after_a_restart_the_first_instance_commits_everything_in_order_and_removes_the_rest() {
    let mut world = World::new();
    let saved = saved_by_two(&world);
    world.power_cut();
    let notes = Notes::default();
    let restored = Restored { instances: saved, process_run: 2, ..Restored::default() };
    start_instance(&world, &notes, (0, 3), restored.clone()).unwrap();
    let all = ["[0]@1", "[10]@1", "[1]@2", "[11]@2"];
    let mut expected: Vec<String> = all.iter().map(|committable| format!("commit {committable}")).collect();
    expected.push(format!("discard None of runs 0..2 but {all:?}"));
    expected.push(format!("discard Some(0) of runs 2..2 but {all:?}"));
    expected.push("open sink[0]".to_string());
    assert_eq!(notes.take(), expected);

    // The others have nothing to commit.
    start_instance(&world, &notes, (2, 3), restored).unwrap();
    assert_eq!(notes.take(), ["discard Some(2) of runs 2..2 but []", "open sink[2]"]);
}

#[test]
fn within_a_process_each_instance_commits_its_own() {
    let mut world = World::new();
    let saved = saved_by_two(&world);
    world.restart();
    let notes = Notes::default();
    let restored = Restored { instances: saved, from_this_process: true, process_run: 1 };
    start_instance(&world, &notes, (1, 2), restored).unwrap();
    let discard = format!("discard Some(1) of runs 1..2 but {:?}", ["[10]@1", "[11]@2"]);
    assert_eq!(notes.take(), ["commit [10]@1", "commit [11]@2", &discard, "open sink[1]"]);
}

#[test]
fn a_restart_whose_commit_fails_is_a_failure() {
    let mut world = World::new();
    let restored = Restored { instances: saved_by_two(&world), ..Restored::default() };
    world.power_cut();
    assert!(start_instance(&world, &Notes::failing_in("commit"), (0, 2), restored).is_err());
    check_failed(&world, TaskId(0), FailureKind::Error, "commit failed");
}
