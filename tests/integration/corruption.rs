//! Every file of a checkpoint folder damaged at every 97th byte, cut off and removed, one after the other: a start is
//! refused with the name of the file, or goes on from an older checkpoint and is right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use watershed::prelude::*;
use watershed::{ErrorKind, Outcome, Result, RocksDb, SimulatedDisk, StateBackend};
use watershed_state::{FolderStore, Manifest, SnapshotPlace, Snapshots};

use crate::fixture::{lines_in, seeded, simulated};

const RECORDS: u64 = 400;
/// The first records have a key each.
const KEYS: u64 = 120;
const CHECKPOINTS: &str = "/checkpoints";

/// First all keys once, then a few of them again and again.
fn key_of(n: u64) -> u64 {
    if n < KEYS { n } else { n * 7 % 11 }
}

/// Counts the records of each key.
struct Count;

impl Process for Count {
    type Key = u64;
    type In = u64;
    type Out = String;
    type State = u64;

    fn on_record(&self, _: u64, count: &mut u64, context: &mut Context<'_, Self>) -> UserResult {
        *count += 1;
        context.emit(format!("{:03} {count}", context.key()));
        Ok(())
    }
}

fn expected() -> Vec<String> {
    let mut counts = BTreeMap::<u64, u64>::new();
    let mut lines: Vec<String> = (0..RECORDS)
        .map(|n| {
            let count = counts.entry(key_of(n)).or_default();
            *count += 1;
            format!("{:03} {count}", key_of(n))
        })
        .collect();
    lines.sort();
    lines
}

fn counts(topology: &Topology) -> Stream<String> {
    let numbers = topology.source("numbers", Generator::bounded(RECORDS, |n| n)).parallelism(1);
    numbers.key_by(|n| key_of(*n)).actor("count", Count).parallelism(1).boxed()
}

/// Whether output is shown exactly once, in files, or at least once, in memory.
#[derive(Clone)]
enum Shows {
    InFiles,
    InMemory(Arc<Mutex<Vec<String>>>),
}

impl Shows {
    fn topology(&self) -> Topology {
        let topology = Topology::new("counts");
        let counts = counts(&topology);
        match self {
            Self::InFiles => drop(counts.sink_exactly_once("out", Files::lines("/out"))),
            Self::InMemory(seen) => {
                let seen = Arc::clone(seen);
                counts.for_each(move |line| seen.lock().unwrap().push(line));
            }
        }
        topology
    }

    fn shown(&self, disk: &SimulatedDisk) -> Vec<String> {
        match self {
            Self::InFiles => lines_in(disk, "/out"),
            Self::InMemory(seen) => seen.lock().unwrap().clone(),
        }
    }
}

/// All files of a disk.
type Image = BTreeMap<PathBuf, Vec<u8>>;

fn image_of(disk: &SimulatedDisk) -> Image {
    fn add(disk: &SimulatedDisk, folder: &Path, image: &mut Image) {
        for file in disk.fs().list(folder).unwrap() {
            let path = folder.join(&file.name);
            if file.is_dir {
                add(disk, &path, image);
            } else {
                let bytes = disk.fs().read(&path).unwrap();
                image.insert(path, bytes);
            }
        }
    }
    let mut image = Image::new();
    add(disk, Path::new("/"), &mut image);
    image
}

fn disk_with(image: &Image) -> SimulatedDisk {
    let disk = SimulatedDisk::new(9);
    let fs = disk.fs();
    for (path, bytes) in image {
        fs.create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs.create(path).unwrap();
        file.write_all(bytes).unwrap();
        file.sync().unwrap();
        fs.sync_dir(path.parent().unwrap()).unwrap();
    }
    disk
}

/// Runs the job until it is killed at this step, or to its end with few checkpoints, which take most of the time.
fn run(shows: &Shows, backend: &StateBackend, disk: &SimulatedDisk, dies_at: Option<u64>) -> Result<Outcome> {
    let simulation = seeded(5).on_disk(disk);
    let config = match dies_at {
        Some(step) => simulated(simulation.die_at(step)),
        None => simulated(simulation).checkpoint_interval(millis(50)),
    };
    shows.topology().run(config.state_backend(backend.clone()))
}

/// The manifests in a folder, newest first.
fn manifests(disk: &SimulatedDisk) -> Vec<Manifest> {
    let place = SnapshotPlace::from(FolderStore::open(&disk.fs(), CHECKPOINTS));
    let all = Snapshots::open(place).unwrap().all().unwrap();
    all.into_iter().map(|found| found.manifest.unwrap()).collect()
}

/// How often it came out which way.
#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    went_on: usize,
    from_older: usize,
}

/// A killed job and what it has left.
struct Killed {
    shows: Shows,
    backend: StateBackend,
    image: Image,
    /// What it had shown.
    before: Vec<String>,
    newest: u64,
    /// The files that the newest checkpoint consists of.
    needed: BTreeSet<PathBuf>,
}

impl Killed {
    fn new(shows: Shows, backend: StateBackend) -> Self {
        // As late as possible before the end, so that there are all keys and some changes.
        let killed = (1..20).rev().find_map(|steps| {
            let disk = SimulatedDisk::new(5);
            if let Shows::InMemory(seen) = &shows {
                seen.lock().unwrap().clear();
            }
            let outcome = run(&shows, &backend, &disk, Some(steps * 25)).unwrap();
            let has_more = shows.shown(&disk).len() < expected().len() * 4 / 5;
            (outcome.end == End::Died && has_more).then_some(disk)
        });
        let disk = killed.expect("it is killed before its end");
        let manifests = manifests(&disk);
        let newest = &manifests[0];
        let parts = || newest.operators.iter().flat_map(|operator| &operator.instances);
        assert!(manifests.len() >= 2, "there is no older checkpoint");
        if matches!(backend, StateBackend::Memory) {
            let longest = parts().map(|part| part.changes_of.len()).max();
            assert!(longest >= Some(2), "the newest checkpoint is a chain of {longest:?} files and its own");
        } else {
            let databases: Vec<_> = parts().filter_map(|part| part.database.as_ref()).collect();
            assert!(databases.iter().any(|copy| copy.files.iter().any(|file| file.name.contains(".sst"))));
        }
        let root = Path::new(CHECKPOINTS);
        let mut needed: BTreeSet<PathBuf> = newest.files().map(|file| root.join(&file.path)).collect();
        needed.insert(root.join(format!("chk-{}/manifest", newest.checkpoint)));
        let (image, before, newest) = (image_of(&disk), shows.shown(&disk), newest.checkpoint);
        Self { shows, backend, image, before, newest, needed }
    }

    /// Starts the job with one file changed, or removed.
    fn start_with(&self, path: &Path, bytes: Option<Vec<u8>>, what: &str, tally: &mut Tally) {
        let mut image = self.image.clone();
        match bytes {
            Some(bytes) => image.insert(path.to_owned(), bytes),
            None => image.remove(path),
        };
        let disk = disk_with(&image);
        if let Shows::InMemory(seen) = &self.shows {
            seen.lock().unwrap().clone_from(&self.before);
        }
        let outcome = run(&self.shows, &self.backend, &disk, None);
        let mut shown = self.shows.shown(&disk);
        let when = format!("{} {what} with {:?}", path.display(), self.backend.name());
        match outcome {
            Err(error) => {
                let said = error.to_string();
                assert_eq!(error.kind, ErrorKind::State, "{when}: {said}");
                let is_gone = !image.contains_key(path) && said.contains("its checkpoint is gone");
                let is_named =
                    said.contains(path.to_str().unwrap()) || is_gone || said.contains("the file `job`");
                assert!(is_named, "{when}: {said}");
                assert_eq!(shown, self.before, "{when}: a refusal changes nothing");
                tally.refused += 1;
            }
            Ok(outcome) => {
                assert_eq!(outcome.end, End::Finished, "{when}");
                shown.sort();
                if let Shows::InMemory(_) = self.shows {
                    shown.dedup();
                }
                assert_eq!(shown, expected(), "{when}");
                tally.went_on += 1;
                tally.from_older += usize::from(self.needed.contains(path));
            }
        }
    }

    /// Damages what is in the checkpoint folder, file by file.
    fn damage_all(&self) -> Tally {
        let mut tally = Tally::default();
        let (mut files, mut changes) = (0, 0);
        for (path, bytes) in self.image.iter().filter(|(path, _)| path.starts_with(CHECKPOINTS)) {
            files += 1;
            for at in (0..bytes.len()).step_by(97) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x20;
                self.start_with(path, Some(damaged), &format!("changed at {at}"), &mut tally);
                changes += 1;
            }
            if !bytes.is_empty() {
                self.start_with(path, Some(bytes[..bytes.len() - 1].to_vec()), "cut off", &mut tally);
            }
            self.start_with(path, None, "removed", &mut tally);
        }
        println!(
            "{}, checkpoint {}: {files} files, {} of them needed, {changes} changed bytes: {tally:?}",
            self.backend.name(),
            self.newest,
            self.needed.len()
        );
        tally
    }
}

fn rocksdb() -> StateBackend {
    RocksDb::new().memory_bytes(0).cache_entries(5).into()
}

/// Output past the newest checkpoint is visible: nothing older may be taken.
fn refuses_what_is_needed(backend: StateBackend) {
    let killed = Killed::new(Shows::InFiles, backend);
    let tally = killed.damage_all();
    assert!(tally.refused > 2 * killed.needed.len(), "{tally:?}");
    assert!(tally.went_on > 0, "what only older checkpoints need does no harm: {tally:?}");
}

/// Nothing is shown exactly once: an older checkpoint is taken where there is one that is whole.
fn goes_on_from_an_older_one(backend: StateBackend) {
    let killed = Killed::new(Shows::InMemory(Arc::default()), backend);
    let tally = killed.damage_all();
    assert!(tally.from_older > killed.needed.len() / 4 && tally.refused > 0, "{tally:?}");
}

#[test]
fn a_damaged_chain_of_changes_is_never_a_wrong_result_where_output_is_exactly_once() {
    refuses_what_is_needed(StateBackend::Memory);
}

#[test]
fn a_damaged_database_is_never_a_wrong_result_where_output_is_exactly_once() {
    refuses_what_is_needed(rocksdb());
}

#[test]
fn a_damaged_chain_of_changes_is_never_a_wrong_result_where_an_older_checkpoint_may_be_taken() {
    goes_on_from_an_older_one(StateBackend::Memory);
}

#[test]
fn a_damaged_database_is_never_a_wrong_result_where_an_older_checkpoint_may_be_taken() {
    goes_on_from_an_older_one(rocksdb());
}
