use watershed_state::{FolderStore, Section, SectionKind, SimulatedDisk};

use super::*;
use crate::error::UserResult;
use crate::harness::world::World;
use crate::task::{Pool, TaskId};

/// Keeps jobs until they are run by hand.
#[derive(Default)]
struct Queued(Mutex<Vec<Box<dyn FnOnce() + Send>>>);

impl Pool for Queued {
    fn run(&self, job: Box<dyn FnOnce() + Send>) {
        self.0.lock().unwrap().push(job);
    }
}

impl Queued {
    /// Runs what is queued; returns how many jobs there were.
    fn run_all(&self) -> usize {
        let mut jobs = 0;
        while let Some(job) = self.0.lock().unwrap().pop() {
            jobs += 1;
            job();
        }
        jobs
    }
}

struct Rig {
    world: World,
    env: Env,
    pool: Arc<Queued>,
}

const TASK: TaskId = TaskId(0);

impl Rig {
    fn new() -> Self {
        let world = World::new();
        world.prepare(1);
        let pool = Arc::<Queued>::default();
        let env = Env { pool: Arc::clone(&pool) as Arc<dyn Pool>, ..world.env("count", 0, 1) };
        Self { world, env, pool }
    }

    fn begin(&self) -> Upload {
        Upload::begin(&self.env, 1)
    }

    /// What was reported.
    fn events(&self) -> Vec<TaskEvent> {
        self.world.reports.of(TASK)
    }

    /// Names of the files that the snapshot has left.
    fn files(&self) -> Vec<String> {
        self.world.files(1)
    }
}

fn section(group: u16, bytes: usize) -> Section {
    Section { kind: SectionKind::KeyedState, group, entries: 1, bytes: vec![group as u8; bytes] }
}

fn item(group: u16) -> SnapshotItem {
    SnapshotItem::Section(section(group, 10))
}

fn deferred(finish: impl FnOnce() -> UserResult<Section> + Send + 'static) -> SnapshotItem {
    SnapshotItem::Deferred(Box::new(finish))
}

#[test]
fn what_was_handed_over_is_in_the_file_in_order() {
    let rig = Rig::new();
    let upload = rig.begin();
    upload.push([item(1), item(2)]);
    upload.push([deferred(|| Ok(section(3, 10)))]);
    upload.push([item(4)]);
    upload.complete();
    assert_eq!(rig.pool.run_all(), 1);
    let part = rig.world.reports.part(TASK, 1).unwrap();
    assert_eq!(part.file.path, "chk-1/count-0-r1.part");
    assert_eq!(rig.world.read(&part), [1, 2, 3, 4].map(|group| section(group, 10)));
}

#[test]
fn it_is_not_acknowledged_before_all_is_handed_over_and_written() {
    let rig = Rig::new();
    let upload = rig.begin();
    upload.push([item(1)]);
    rig.pool.run_all();
    assert_eq!(rig.events(), []);
    upload.complete();
    assert_eq!(rig.events(), []);
    rig.pool.run_all();
    assert!(matches!(rig.events()[..], [TaskEvent::Acknowledged { checkpoint: 1, .. }]));
}

#[test]
fn an_instance_without_anything_to_save_acknowledges_an_empty_file() {
    let rig = Rig::new();
    rig.begin().complete();
    rig.pool.run_all();
    assert_eq!(rig.world.read(&rig.world.reports.part(TASK, 1).unwrap()), []);
}

#[test]
fn much_is_written_while_more_is_made_by_one_job_at_a_time() {
    let rig = Rig::new();
    let upload = rig.begin();
    let mut jobs = 0;
    for group in 0..40 {
        upload.push([SnapshotItem::Section(section(group, 100_000))]);
        assert!(rig.pool.0.lock().unwrap().len() <= 1);
        if group % 5 == 4 {
            jobs += rig.pool.run_all();
        }
    }
    assert!(jobs > 5, "{jobs} jobs");
    upload.complete();
    rig.pool.run_all();
    let sections = rig.world.read(&rig.world.reports.part(TASK, 1).unwrap());
    assert!(sections == (0..40).map(|group| section(group, 100_000)).collect::<Vec<_>>());
}

#[test]
fn a_snapshot_that_is_given_up_leaves_no_file_and_says_nothing() {
    let rig = Rig::new();
    let upload = rig.begin();
    upload.push([SnapshotItem::Section(section(1, 300_000))]);
    rig.pool.run_all();
    assert_eq!(rig.files(), ["count-0-r1.part.tmp"]);
    upload.push([item(2)]);
    upload.cancel();
    upload.complete();
    rig.pool.run_all();
    assert_eq!((rig.events(), rig.files()), (vec![], vec![]));
}

#[test]
fn a_run_that_is_over_writes_and_says_nothing() {
    let mut rig = Rig::new();
    let reports = Arc::clone(&rig.world.reports);
    let upload = rig.begin();
    upload.push([item(1)]);
    upload.complete();
    rig.world.restart();
    rig.pool.run_all();
    assert_eq!((reports.of(TASK), rig.files()), (vec![], vec![]));
}

#[test]
fn a_disk_that_refuses_declines_the_checkpoint() {
    let mut rig = Rig::new();
    let full = SimulatedDisk::new(0);
    full.full_during(1..100);
    rig.env.checkpoints = FolderStore::open(&full.fs(), "/checkpoints");
    let upload = rig.begin();
    upload.push([item(1)]);
    upload.complete();
    rig.pool.run_all();
    let events = rig.events();
    let [TaskEvent::Declined { checkpoint: 1, reason, lasts: false }] = &events[..] else {
        panic!("{events:?}")
    };
    assert!(reason.contains("/checkpoints/chk-1/count-0-r1.part"), "{reason}");
    assert!(reason.contains("no storage space"), "{reason}");
}

#[test]
fn a_step_that_fails_declines_the_checkpoint_and_leaves_no_file() {
    let failing: [(SnapshotItem, &str); 2] = [
        (deferred(|| Err("the disk is full".into())), "the disk is full"),
        (deferred(|| panic!("the disk is full")), "panicked: the disk is full"),
    ];
    for (item, reason) in failing {
        let rig = Rig::new();
        let upload = rig.begin();
        upload.push([item]);
        upload.complete();
        rig.pool.run_all();
        let declined = TaskEvent::Declined { checkpoint: 1, reason: reason.to_string(), lasts: false };
        assert_eq!((rig.events(), rig.files()), (vec![declined], vec![]));
    }
}
