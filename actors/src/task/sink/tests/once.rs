use super::*;

/// An at-least-once sink.
struct Plain(Notes);

struct PlainWriter(Notes);

impl Sink for Plain {
    type In = u64;
    type Writer = PlainWriter;

    fn open(&self, context: &SinkContext) -> UserResult<PlainWriter> {
        self.0.note("open", &context.instance)?;
        Ok(PlainWriter(self.0.clone()))
    }
}

impl SinkWriter for PlainWriter {
    type In = u64;

    fn write(&mut self, record: u64) -> UserResult {
        self.0.note("write", record)
    }

    fn flush(&mut self) -> UserResult {
        self.0.note("flush", "all")
    }
}

type Rig = Driver<OperatorTask<SinkLogic<Plain>>>;

fn start(world: &World, notes: &Notes) -> Result<Rig, Failure> {
    let env = world.env("sink", 0, 1);
    let (sink, given) = (Plain(notes.clone()), env.clone());
    let boot = Box::new(move || {
        let logic = SinkLogic::open(&given, &sink, SideOutputs::default(), &Restored::default())?;
        Ok(OperatorTask::new(given.clone(), Inbox::new(1, given.run), logic))
    });
    Driver::boot(world, env, 1, Vec::new(), boot)
}

#[test]
fn records_are_flushed_when_the_input_runs_empty() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes).unwrap();
    rig.send_values(0, vec![1, 2]).unwrap();
    rig.send_values(0, vec![3]).unwrap();
    rig.settle().unwrap();
    assert_eq!(notes.take(), ["open sink[0]", "write 1", "write 2", "write 3", "flush all"]);
    rig.settle().unwrap();
    assert!(notes.take().is_empty(), "nothing to flush");
}

#[test]
fn records_are_flushed_before_their_checkpoint_is_acknowledged() {
    let (world, notes) = (World::new(), Notes::default());
    let mut rig = start(&world, &notes).unwrap();
    world.prepare(1);
    rig.send_values(0, vec![1]).unwrap();
    rig.send_barrier(0, 1).unwrap();
    rig.send_values(0, vec![2]).unwrap();
    rig.settle().unwrap();
    assert_eq!(notes.take(), ["open sink[0]", "write 1", "flush all", "write 2", "flush all"]);
    assert!(world.reports.part(TaskId(0), 1).is_some());
}

#[test]
fn an_error_in_opening_writing_or_flushing_is_a_failure() {
    for what in ["open", "write", "flush"] {
        let (world, notes) = (World::new(), Notes::failing_in(what));
        let result = start(&world, &notes).and_then(|mut rig| {
            rig.send_values(0, vec![1])?;
            rig.settle()
        });
        assert!(result.is_err());
        check_failed(&world, TaskId(0), FailureKind::Error, &format!("{what} failed"));
    }
}

#[test]
fn what_could_not_be_flushed_is_not_acknowledged() {
    let (world, notes) = (World::new(), Notes::failing_in("flush"));
    let mut rig = start(&world, &notes).unwrap();
    world.prepare(1);
    rig.send_values(0, vec![1]).unwrap();
    rig.send_barrier(0, 1).unwrap();
    assert!(rig.settle().is_err());
    assert_eq!(world.reports.part(TaskId(0), 1), None);
}
