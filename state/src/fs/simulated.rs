//! A disk in memory that tells durable from merely written, for tests that pull the plug.

mod disk;
mod faults;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{self, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::disk::{Disk, Node};
pub use self::faults::DiskFault;
use self::faults::{Faults, Refused};
use super::{FileInfo, FileReader, FileSystem, FileWriter, Fs, Lock};

/// An in-memory disk. A crash takes away what was not synced: of a file's contents some prefix of the unsynced
/// bytes may survive, and the creation, renaming or removal of a name may or may not have happened. The seed
/// decides; the same seed and the same operations give the same disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimulatedDisk {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    disk: Disk,
    /// Counts the crashes; handles of an earlier life fail.
    life: u64,
    operations: u64,
    renames: u64,
    faults: Faults,
    refused: Refused,
    /// What other processes have written.
    taken: Vec<PathBuf>,
}

/// What an operation needs of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    /// Room for something new.
    Room,
    Nothing,
}

impl SimulatedDisk {
    /// An empty disk whose crashes follow `seed`.
    pub fn new(seed: u64) -> Self {
        let shared = Shared {
            disk: Disk::new(seed),
            life: 0,
            operations: 0,
            renames: 0,
            faults: Faults::default(),
            refused: Refused::default(),
            taken: Vec::new(),
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// The file system on this disk, for the present life of the process.
    pub fn fs(&self) -> Fs {
        let life = self.lock().life;
        Arc::new(SimulatedFs { disk: self.clone(), life })
    }

    /// The machine loses its power. What was not synced may be lost, locks are released, and everything obtained from
    /// [`fs`](Self::fs) before fails from now on.
    pub fn crash(&self) {
        let mut shared = self.lock();
        shared.life += 1;
        shared.faults = Faults::default();
        shared.disk.crash();
    }

    /// The process is killed, and the machine goes on: everything written stays, locks are released, and everything
    /// obtained from [`fs`](Self::fs) before fails from now on. What was not synced can still be lost later.
    pub fn kill(&self) {
        let mut shared = self.lock();
        shared.life += 1;
        shared.faults = Faults::default();
        shared.disk.unlock_all();
    }

    /// How many operations were attempted since the disk was made.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// How many files have been given another name since the disk was made.
    pub fn renames(&self) -> u64 {
        self.lock().renames
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        // Every operation leaves the disk consistent, also one that panics, which none does on purpose.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a file holds for certain after a crash, whatever else that takes; `None` if it may not be there.
    pub fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().disk.durable(path)
    }

    /// Whether a file is there, or may be after a crash.
    pub fn may_hold(&self, path: &Path) -> bool {
        self.lock().disk.may_hold(path)
    }

    /// The names in a folder that are there for certain after a crash.
    pub fn durable_names(&self, dir: &Path) -> Vec<String> {
        self.lock().disk.durable_names(dir)
    }

    /// Takes a file away that is there for good, as somebody does who is no part of the job, and returns what was in
    /// it.
    pub fn take_away(&self, path: &Path) -> Option<Vec<u8>> {
        self.lock().disk.take_away(path)
    }

    /// Puts back what [`take_away`](Self::take_away) took, if its folder is still there.
    pub fn put_back(&self, path: &Path, bytes: &[u8]) {
        self.lock().disk.put_back(path, bytes);
    }

    /// A number that depends on everything on the disk: equal disks have equal ones.
    pub fn fingerprint(&self) -> u64 {
        self.lock().disk.fingerprint()
    }

    /// Runs one operation, if the process of that life is still alive. What `otherwise` does happens if the disk
    /// refuses it.
    fn operate<R>(
        &self,
        life: u64,
        needs: Needs,
        operation: impl FnOnce(&mut Disk) -> io::Result<R>,
        otherwise: impl FnOnce(&mut Disk),
    ) -> io::Result<R> {
        let mut shared = self.lock();
        shared.operations += 1;
        if shared.life != life || shared.faults.is_dead(shared.operations) {
            return Err(io::Error::other("the simulated process is dead"));
        }
        if let Some((fault, error)) = shared.faults.refuse(shared.operations, needs == Needs::Room) {
            shared.refused.count(fault);
            otherwise(&mut shared.disk);
            return Err(error);
        }
        operation(&mut shared.disk)
    }
}

impl fmt::Debug for SimulatedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.lock();
        f.debug_struct("SimulatedDisk")
            .field("life", &shared.life)
            .field("operations", &shared.operations)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct SimulatedFs {
    disk: SimulatedDisk,
    life: u64,
}

impl SimulatedFs {
    fn operate<R>(&self, operation: impl FnOnce(&mut Disk) -> io::Result<R>) -> io::Result<R> {
        self.disk.operate(self.life, Needs::Nothing, operation, |_| {})
    }

    fn create_by(
        &self,
        create: impl FnOnce(&mut Disk) -> io::Result<Node>,
    ) -> io::Result<Box<dyn FileWriter>> {
        let file = self.disk.operate(self.life, Needs::Room, create, |_| {})?;
        Ok(Box::new(SimulatedWriter { disk: self.disk.clone(), life: self.life, file }))
    }

    fn rename_by(
        &self,
        (from, to): (&Path, &Path),
        rename: impl FnOnce(&mut Disk, &Path, &Path) -> io::Result<()>,
    ) -> io::Result<()> {
        self.disk.comes_to_rename(from, to);
        self.operate(|disk| rename(disk, from, to))?;
        let mut shared = self.disk.lock();
        shared.renames += 1;
        let operation = shared.operations;
        shared.faults.renamed(operation);
        Ok(())
    }
}

impl FileSystem for SimulatedFs {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // Each missing folder is an operation of its own, so that a process can die between two of them.
        let above: Vec<&Path> = dir.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        for folder in above.into_iter().rev() {
            self.operate(|disk| disk.create_dir(folder))?;
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn FileWriter>> {
        self.create_by(|disk| disk.create(path))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn FileWriter>> {
        self.create_by(|disk| disk.create_new(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn FileReader>> {
        Ok(Box::new(SimulatedReader(Cursor::new(self.operate(|disk| disk.read(path))?))))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_by((from, to), Disk::rename)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename_by((from, to), Disk::rename_new)
    }

    fn set_mode(&self, path: &Path, _mode: u32) -> io::Result<()> {
        self.operate(|disk| disk.exists(path)?.then_some(()).ok_or(ErrorKind::NotFound.into()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.operate(|disk| disk.remove_file(path))
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.operate(|disk| disk.remove_dir_all(dir))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate(|disk| disk.remove_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.operate(|disk| disk.sync_dir(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<FileInfo>> {
        self.operate(|disk| disk.list(dir))
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.operate(|disk| disk.exists(path))
    }

    fn import(&self, from: &Path, path: &Path) -> io::Result<()> {
        let node = self.disk.operate(self.life, Needs::Room, |disk| disk.create_new(path), |_| {})?;
        self.disk.lock().disk.make_opaque(node)?;
        let mut file = SimulatedWriter { disk: self.disk.clone(), life: self.life, file: node };
        file.write_all(&std::fs::read(from)?)?;
        file.sync()
    }

    fn export(&self, path: &Path, _to: &Path) -> io::Result<bool> {
        // The file is read next, which is the operation that counts.
        if self.disk.lock().disk.exists(path)? { Ok(false) } else { Err(ErrorKind::NotFound.into()) }
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Lock>>> {
        let file = self.operate(|disk| disk.lock(path))?;
        Ok(file.map(|file| -> Box<dyn Lock> {
            Box::new(SimulatedLock { disk: self.disk.clone(), life: self.life, file, path: path.to_owned() })
        }))
    }
}

/// What a file held when it was opened.
struct SimulatedReader(Cursor<Vec<u8>>);

impl Read for SimulatedReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.0.read(bytes)
    }
}

impl FileReader for SimulatedReader {
    fn length(&self) -> u64 {
        self.0.get_ref().len() as u64
    }
}

struct SimulatedWriter {
    disk: SimulatedDisk,
    life: u64,
    file: Node,
}

impl FileWriter for SimulatedWriter {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let torn = &bytes[..bytes.len() / 2];
        let operation = |disk: &mut Disk| disk.append(self.file, bytes);
        // What cannot be written to is not written to.
        self.disk.operate(self.life, Needs::Room, operation, |disk| drop(disk.append(self.file, torn)))
    }

    fn sync(&mut self) -> io::Result<()> {
        let operation = |disk: &mut Disk| disk.sync(self.file);
        self.disk.operate(self.life, Needs::Nothing, operation, |disk| disk.fail_to_sync(self.file))
    }
}

struct SimulatedLock {
    disk: SimulatedDisk,
    life: u64,
    file: Node,
    path: PathBuf,
}

impl Lock for SimulatedLock {
    fn is_in_place(&self) -> io::Result<bool> {
        let is_found = |disk: &mut Disk| Ok(disk.find(&self.path).is_ok_and(|found| found == self.file));
        self.disk.operate(self.life, Needs::Nothing, is_found, |_| {})
    }
}

impl Drop for SimulatedLock {
    fn drop(&mut self) {
        let mut shared = self.disk.lock();
        // A crash has released the lock already, and another process may hold it by now.
        if shared.life == self.life {
            shared.disk.unlock(self.file);
        }
    }
}
