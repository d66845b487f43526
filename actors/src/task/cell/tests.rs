use std::sync::Arc;

use super::*;
use crate::failure::FailureKind;
use crate::harness::world::{Reports, World};
use crate::link::Link;
use crate::message::Message;
use crate::task::TaskId;

/// Does in its next step what it was told.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Act {
    Work,
    Stop,
    Fail,
    Panic,
    PanicInDrop,
    FailInControl,
    PanicInControl,
    FailInFile,
}

struct Actor(Act);

impl Task for Actor {
    type In = u64;

    fn file(&mut self, _envelope: Envelope<u64>) -> Result<(), Failure> {
        if self.0 == Act::FailInFile { Err(Failure::internal("file")) } else { Ok(()) }
    }

    fn control(&mut self, _control: Control) -> Result<(), Failure> {
        assert!(self.0 != Act::PanicInControl, "control panicked");
        if self.0 == Act::FailInControl { Err(Failure::internal("control")) } else { Ok(()) }
    }

    fn step(&mut self) -> Result<Step, Failure> {
        assert!(self.0 != Act::Panic, "step panicked");
        match self.0 {
            Act::Stop => Ok(Step::Stopped),
            Act::Fail => Err(Failure::internal("step")),
            _ => Ok(Step::Waiting(5)),
        }
    }

    fn is_blocked(&self) -> bool {
        false
    }

    fn current_key(&self) -> Option<String> {
        Some("\"key\"".to_string())
    }

    fn blame(&self, _failure: &Failure) -> Option<crate::failure::Blame> {
        None
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        assert!(self.0 != Act::PanicInDrop, "drop panicked");
    }
}

fn cell(world: &World, act: Act) -> (TaskCell<Actor>, Arc<Reports>) {
    let mut cell = TaskCell::new(world.env("actor", 0, 1), Box::new(move || Ok(Actor(act))));
    assert_eq!(cell.step(), Step::Ready);
    (cell, Arc::clone(&world.reports))
}

fn events(reports: &Reports) -> Vec<TaskEvent> {
    reports.of(TaskId(0))
}

fn failed(kind: FailureKind, cause: &str, key: Option<&str>) -> TaskEvent {
    TaskEvent::Failed(Failure { cause: cause.to_string(), kind, key: key.map(String::from), blame: None })
}

/// A cell whose task has failed in the way of `act` when `deed` was done to it.
fn check_failure(act: Act, deed: impl FnOnce(&mut TaskCell<Actor>), kind: FailureKind, cause: &str) {
    let world = World::new();
    let (mut cell, reports) = cell(&world, act);
    deed(&mut cell);
    let expected = [TaskEvent::Ready, failed(kind, cause, Some("\"key\""))];
    assert_eq!(events(&reports), expected);
    assert_eq!(cell.step(), Step::Stopped);
    cell.control(Control::Stop);
    drop(cell);
    assert_eq!(events(&reports), expected, "a dead task has nothing more to say");
}

#[test]
fn a_task_is_made_in_the_first_step_and_says_that_it_is_ready() {
    let world = World::new();
    let (mut cell, reports) = cell(&world, Act::Work);
    assert_eq!(events(&reports), [TaskEvent::Ready]);
    assert_eq!(cell.step(), Step::Waiting(5));
}

#[test]
fn a_task_that_cannot_be_made_has_failed() {
    let world = World::new();
    let boots: [(Boot<Actor>, TaskEvent); 2] = [
        (Box::new(|| Err(Failure::internal("no file"))), failed(FailureKind::Internal, "no file", None)),
        (Box::new(|| panic!("no file")), failed(FailureKind::Panic, "no file", None)),
    ];
    for (boot, expected) in boots {
        let mut world = World::new();
        world.restart();
        let mut cell = TaskCell::new(world.env("actor", 0, 1), boot);
        assert_eq!((cell.step(), cell.step()), (Step::Stopped, Step::Stopped));
        drop(cell);
        assert_eq!(events(&world.reports), [expected]);
    }
    assert_eq!(events(&world.reports), []);
}

#[test]
fn whatever_throws_is_reported_once_with_the_key() {
    check_failure(Act::Fail, |cell| _ = cell.step(), FailureKind::Internal, "step");
    check_failure(Act::Panic, |cell| _ = cell.step(), FailureKind::Panic, "step panicked");
    check_failure(Act::FailInControl, |cell| cell.control(Control::Start), FailureKind::Internal, "control");
    check_failure(
        Act::PanicInControl,
        |cell| cell.control(Control::Start),
        FailureKind::Panic,
        "control panicked",
    );
    let file = |cell: &mut TaskCell<Actor>| {
        let permit = Link::new(1, Arc::default()).acquire().unwrap();
        cell.file(Envelope { run: 1, channel: 0, seq: 1, message: Message::End, permit });
    };
    check_failure(Act::FailInFile, file, FailureKind::Internal, "file");
    check_failure(Act::Work, |cell| cell.crash("told to"), FailureKind::Panic, "told to");
}

#[test]
fn a_task_that_is_told_to_stop_says_so_once() {
    let world = World::new();
    let (mut cell, reports) = cell(&world, Act::Work);
    cell.control(Control::Stop);
    assert_eq!(cell.step(), Step::Stopped);
    cell.control(Control::Stop);
    cell.crash("too late");
    drop(cell);
    assert_eq!(events(&reports), [TaskEvent::Ready, TaskEvent::Stopped]);
}

#[test]
fn a_task_that_stops_by_itself_says_so() {
    let world = World::new();
    let (mut cell, reports) = cell(&world, Act::Stop);
    assert_eq!(cell.step(), Step::Stopped);
    assert_eq!(events(&reports), [TaskEvent::Ready, TaskEvent::Stopped]);
}

#[test]
fn a_task_whose_run_is_over_stops_before_it_does_anything() {
    let mut world = World::new();
    let (mut cell, reports) = cell(&world, Act::Panic);
    world.restart();
    assert_eq!(cell.step(), Step::Stopped);
    assert_eq!(events(&reports), [TaskEvent::Ready, TaskEvent::Stopped]);
}

#[test]
fn a_panic_when_a_task_is_dropped_harms_nobody() {
    let world = World::new();
    let (mut cell, reports) = cell(&world, Act::PanicInDrop);
    cell.control(Control::Stop);
    assert_eq!(events(&reports), [TaskEvent::Ready, TaskEvent::Stopped]);
}

#[test]
fn an_actor_that_goes_away_with_a_live_task_is_reported() {
    let world = World::new();
    let (cell, reports) = cell(&world, Act::Work);
    drop(cell);
    assert_eq!(
        events(&reports),
        [TaskEvent::Ready, failed(FailureKind::Internal, "its actor was lost", None)]
    );
}
