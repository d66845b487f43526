//! The state of the simulated disk: files and folders as the process sees them, and as a crash would leave them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Component, Path};

use super::super::FileInfo;

/// A file or folder, whatever its name.
pub(super) type Node = u64;

const ROOT: Node = 0;

pub(super) struct Disk {
    seed: u64,
    crashes: u64,
    nodes: BTreeMap<Node, Content>,
    next_node: Node,
    /// Changes of names that are not synced yet, in order.
    unsynced: Vec<Unsynced>,
    /// Counts the changes of names. A rename between folders is one change in two folders.
    changes: u64,
    locked: BTreeSet<Node>,
}

enum Content {
    File(Bytes),
    Dir { now: Names, synced: Names },
}

/// What is in a file.
#[derive(Default)]
struct Bytes {
    now: Vec<u8>,
    synced: Vec<u8>,
    /// Made by something whose bytes are never the same: only their number counts in a fingerprint.
    is_opaque: bool,
    /// What could not be made durable once and is taken for durable since: a crash leaves zeroes there.
    lost: Vec<Range<usize>>,
}

impl Bytes {
    /// What would be on the disk if all of it were synced.
    fn on_disk(&self) -> Vec<u8> {
        let mut bytes = self.now.clone();
        for lost in &self.lost {
            bytes[lost.clone()].fill(0);
        }
        bytes
    }

    fn sync(&mut self) {
        self.synced = self.on_disk();
    }

    /// What was not synced yet never will be.
    fn fail_to_sync(&mut self) {
        self.lost.push(self.synced.len()..self.now.len());
    }

    fn crash(&mut self, draw: u64) {
        self.synced = surviving(&self.on_disk(), self.synced.len(), draw);
        self.now.clone_from(&self.synced);
        self.lost.clear();
    }
}

type Names = BTreeMap<String, Node>;

struct Unsynced {
    change: u64,
    dir: Node,
    effect: Effect,
}

enum Effect {
    Link(String, Node),
    Unlink(String),
    Move { from: String, to: String, node: Node },
}

impl Effect {
    fn apply(&self, names: &mut Names) {
        match self {
            Effect::Link(name, node) => {
                names.insert(name.clone(), *node);
            }
            Effect::Unlink(name) => {
                names.remove(name);
            }
            Effect::Move { from, to, node } => {
                // `from` may be missing if its own creation was lost.
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Disk {
    pub(super) fn new(seed: u64) -> Self {
        let root = Content::Dir { now: Names::new(), synced: Names::new() };
        Self {
            seed,
            crashes: 0,
            nodes: BTreeMap::from([(ROOT, root)]),
            next_node: ROOT + 1,
            unsynced: Vec::new(),
            changes: 0,
            locked: BTreeSet::new(),
        }
    }

    /// Leaves what is synced, and of the rest what the seed says.
    pub(super) fn crash(&mut self) {
        self.crashes += 1;
        self.locked.clear();
        for Unsynced { change, dir, effect } in std::mem::take(&mut self.unsynced) {
            if self.draw(change) & 1 == 1
                && let Some(Content::Dir { synced, .. }) = self.nodes.get_mut(&dir)
            {
                effect.apply(synced);
            }
        }
        let (seed, crashes) = (self.seed, self.crashes);
        for (node, content) in &mut self.nodes {
            match content {
                Content::File(bytes) => bytes.crash(draw(seed, crashes, !node)),
                Content::Dir { now, synced } => now.clone_from(synced),
            }
        }
        self.forget_unreachable();
    }

    /// Creates one folder durably, unless it exists.
    pub(super) fn create_dir(&mut self, dir: &Path) -> io::Result<()> {
        let Some((parent, name)) = self.parent_and_name(dir)? else {
            return Ok(());
        };
        let existing = self.names(parent)?.get(name).copied();
        if let Some(node) = existing {
            return self.names(node).map(|_| ());
        }
        let node = self.add(Content::Dir { now: Names::new(), synced: Names::new() });
        self.change(parent, Effect::Link(name.to_owned(), node))?;
        self.sync_names(parent)
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<Node> {
        let (parent, name) = self.parent_and_name(path)?.ok_or(ErrorKind::IsADirectory)?;
        if let Some(&node) = self.names(parent)?.get(name) {
            self.file_mut(node)?;
            self.change(parent, Effect::Unlink(name.to_owned()))?;
        }
        self.create_new(path)
    }

    pub(super) fn create_new(&mut self, path: &Path) -> io::Result<Node> {
        let (parent, name) = self.parent_and_name(path)?.ok_or(ErrorKind::AlreadyExists)?;
        if self.names(parent)?.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let node = self.add(Content::File(Bytes::default()));
        self.change(parent, Effect::Link(name.to_owned(), node))?;
        Ok(node)
    }

    /// A new file that is there for good, as of another process that has had time for that.
    pub(super) fn write_at_once(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent_and_name(path)?.ok_or(ErrorKind::AlreadyExists)?;
        if self.names(parent)?.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let content = Bytes { now: bytes.to_vec(), synced: bytes.to_vec(), ..Bytes::default() };
        let node = self.add(Content::File(content));
        let (now, synced) = self.names_mut(parent)?;
        now.insert(name.to_owned(), node);
        synced.insert(name.to_owned(), node);
        Ok(())
    }

    /// Removes a file for good.
    pub(super) fn remove_at_once(&mut self, path: &Path) {
        if let Ok(Some((parent, name))) = self.parent_and_name(path)
            && let Ok((now, synced)) = self.names_mut(parent)
        {
            now.remove(name);
            synced.remove(name);
        }
    }

    pub(super) fn append(&mut self, file: Node, bytes: &[u8]) -> io::Result<()> {
        self.file_mut(file)?.now.extend_from_slice(bytes);
        Ok(())
    }

    /// The content of this file, and of all that tells of it, differs from run to run.
    pub(super) fn make_opaque(&mut self, file: Node) -> io::Result<()> {
        self.file_mut(file)?.is_opaque = true;
        Ok(())
    }

    pub(super) fn sync(&mut self, file: Node) -> io::Result<()> {
        self.file_mut(file)?.sync();
        Ok(())
    }

    /// The disk could not make a file durable, and the system takes it for durable all the same from now on.
    pub(super) fn fail_to_sync(&mut self, file: Node) {
        if let Ok(file) = self.file_mut(file) {
            file.fail_to_sync();
        }
    }

    pub(super) fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let node = self.find(path)?;
        Ok(self.file_mut(node)?.now.clone())
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from_dir, from_name) = self.parent_and_name(from)?.ok_or(ErrorKind::InvalidInput)?;
        let (to_dir, to_name) = self.parent_and_name(to)?.ok_or(ErrorKind::InvalidInput)?;
        let node = *self.names(from_dir)?.get(from_name).ok_or(ErrorKind::NotFound)?;
        if let Some(&replaced) = self.names(to_dir)?.get(to_name) {
            if replaced == node {
                return Ok(());
            }
            self.file_mut(replaced)?;
            self.file_mut(node)?;
        }
        let (from, to) = (from_name.to_owned(), to_name.to_owned());
        if from_dir == to_dir {
            return self.change(from_dir, Effect::Move { from, to, node });
        }
        self.change(to_dir, Effect::Link(to, node))?;
        self.changes -= 1; // Both halves are the same change, so that a crash keeps or loses both.
        self.change(from_dir, Effect::Unlink(from))
    }

    pub(super) fn rename_new(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.find(from)?;
        if self.exists(to)? {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.rename(from, to)
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_and_name(path)?.ok_or(ErrorKind::IsADirectory)?;
        let node = *self.names(parent)?.get(name).ok_or(ErrorKind::NotFound)?;
        self.file_mut(node)?;
        self.change(parent, Effect::Unlink(name.to_owned()))
    }

    pub(super) fn remove_dir_all(&mut self, dir: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_and_name(dir)?.ok_or(ErrorKind::InvalidInput)?;
        let node = *self.names(parent)?.get(name).ok_or(ErrorKind::NotFound)?;
        self.empty(node)?;
        self.change(parent, Effect::Unlink(name.to_owned()))
    }

    pub(super) fn remove_dir(&mut self, dir: &Path) -> io::Result<()> {
        let (parent, name) = self.parent_and_name(dir)?.ok_or(ErrorKind::InvalidInput)?;
        let node = *self.names(parent)?.get(name).ok_or(ErrorKind::NotFound)?;
        if !self.names(node)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.change(parent, Effect::Unlink(name.to_owned()))
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let node = self.find(dir)?;
        self.names(node)?;
        self.sync_names(node)
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<FileInfo>> {
        let names = self.names(self.find(dir)?)?;
        let info = |(name, node): (&String, &Node)| match self.nodes.get(node) {
            Some(Content::File(file)) => {
                FileInfo { name: name.clone(), len: file.now.len() as u64, is_dir: false }
            }
            _ => FileInfo { name: name.clone(), len: 0, is_dir: true },
        };
        Ok(names.iter().map(info).collect())
    }

    pub(super) fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.find(path) {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn lock(&mut self, path: &Path) -> io::Result<Option<Node>> {
        let file = if self.exists(path)? { self.find(path)? } else { self.create_new(path)? };
        Ok(self.locked.insert(file).then_some(file))
    }

    /// Removes a file that is there for good, for good.
    pub(super) fn take_away(&mut self, path: &Path) -> Option<Vec<u8>> {
        let bytes = self.durable(path)?;
        let (parent, name) = self.parent_and_name(path).ok()??;
        let (now, synced) = self.names_mut(parent).ok()?;
        synced.remove(name);
        now.remove(name).map(|_| bytes)
    }

    /// Makes a file durably, if its folder is there and has none of that name.
    pub(super) fn put_back(&mut self, path: &Path, bytes: &[u8]) {
        let Ok(Some((parent, name))) = self.parent_and_name(path) else { return };
        if self.names(parent).is_err() || self.exists(path).unwrap_or(true) {
            return;
        }
        let content = Bytes { now: bytes.to_vec(), synced: bytes.to_vec(), ..Bytes::default() };
        let node = self.add(Content::File(content));
        if let Ok((now, synced)) = self.names_mut(parent) {
            now.insert(name.to_owned(), node);
            synced.insert(name.to_owned(), node);
        }
    }

    pub(super) fn unlock(&mut self, file: Node) {
        self.locked.remove(&file);
    }

    pub(super) fn unlock_all(&mut self) {
        self.locked.clear();
    }

    /// What a file holds after any crash.
    pub(super) fn durable(&self, path: &Path) -> Option<Vec<u8>> {
        match self.nodes.get(&self.find_durable(path)?)? {
            Content::File(file) if file.now == file.synced => Some(file.synced.clone()),
            _ => None,
        }
    }

    /// The names in a folder after any crash.
    pub(super) fn durable_names(&self, dir: &Path) -> Vec<String> {
        match self.find_durable(dir).and_then(|node| self.nodes.get(&node)) {
            Some(Content::Dir { synced, .. }) => synced.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    /// Whether a file is there, or may be after a crash.
    pub(super) fn may_hold(&self, path: &Path) -> bool {
        let mut found = BTreeSet::from([ROOT]);
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Some(name) = name.to_str() else { return false };
            found = found
                .iter()
                .filter_map(|node| match self.nodes.get(node)? {
                    Content::Dir { now, synced } => Some([now.get(name), synced.get(name)]),
                    Content::File(_) => None,
                })
                .flatten()
                .flatten()
                .copied()
                .collect();
        }
        !found.is_empty()
    }

    fn find_durable(&self, path: &Path) -> Option<Node> {
        let mut found = ROOT;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let Some(Content::Dir { synced, .. }) = self.nodes.get(&found) else { return None };
            found = *synced.get(name.to_str()?)?;
        }
        Some(found)
    }

    /// Where there is content that is not the same in two equal runs, files count by their length, as others may hold
    /// its checksum.
    pub(super) fn fingerprint(&self) -> u64 {
        let is_opaque = |content: &Content| matches!(content, Content::File(file) if file.is_opaque);
        let by_length = self.nodes.values().any(is_opaque);
        let content = |content: &Content| match content {
            Content::File(file) if by_length => crate::hash_key(&(file.now.len(), file.synced.len())),
            Content::File(file) => crate::hash_key(&(&file.now, &file.synced)),
            Content::Dir { now, synced } => crate::hash_key(&(now, synced)),
        };
        self.nodes.iter().fold(0, |hash, (node, of)| crate::hash_key(&(hash, node, content(of))))
    }

    fn add(&mut self, content: Content) -> Node {
        let node = self.next_node;
        self.next_node += 1;
        self.nodes.insert(node, content);
        node
    }

    fn change(&mut self, dir: Node, effect: Effect) -> io::Result<()> {
        let (now, _) = self.names_mut(dir)?;
        effect.apply(now);
        self.unsynced.push(Unsynced { change: self.changes, dir, effect });
        self.changes += 1;
        Ok(())
    }

    fn sync_names(&mut self, dir: Node) -> io::Result<()> {
        self.unsynced.retain(|unsynced| unsynced.dir != dir);
        let (now, synced) = self.names_mut(dir)?;
        synced.clone_from(now);
        Ok(())
    }

    fn empty(&mut self, dir: Node) -> io::Result<()> {
        for (name, node) in self.names(dir)?.clone() {
            if matches!(self.nodes.get(&node), Some(Content::Dir { .. })) {
                self.empty(node)?;
            }
            self.change(dir, Effect::Unlink(name))?;
        }
        Ok(())
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<Node> {
        match self.parent_and_name(path)? {
            Some((parent, name)) => Ok(*self.names(parent)?.get(name).ok_or(ErrorKind::NotFound)?),
            None => Ok(ROOT),
        }
    }

    /// The folder a path lies in and its name there, or `None` for the root. Relative paths begin at the root too.
    fn parent_and_name<'p>(&self, path: &'p Path) -> io::Result<Option<(Node, &'p str)>> {
        let mut found: Option<(Node, &str)> = None;
        for component in path.components() {
            let name = match component {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name.to_str().ok_or(ErrorKind::InvalidInput)?,
                Component::ParentDir | Component::Prefix(_) => return Err(ErrorKind::InvalidInput.into()),
            };
            let parent = match found {
                Some((parent, above)) => *self.names(parent)?.get(above).ok_or(ErrorKind::NotFound)?,
                None => ROOT,
            };
            found = Some((parent, name));
        }
        Ok(found)
    }

    fn names(&self, dir: Node) -> io::Result<&Names> {
        match self.nodes.get(&dir) {
            Some(Content::Dir { now, .. }) => Ok(now),
            Some(Content::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn names_mut(&mut self, dir: Node) -> io::Result<(&mut Names, &mut Names)> {
        match self.nodes.get_mut(&dir) {
            Some(Content::Dir { now, synced }) => Ok((now, synced)),
            Some(Content::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn file_mut(&mut self, file: Node) -> io::Result<&mut Bytes> {
        match self.nodes.get_mut(&file) {
            Some(Content::File(bytes)) => Ok(bytes),
            Some(Content::Dir { .. }) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn forget_unreachable(&mut self) {
        let (mut reachable, mut unvisited) = (BTreeSet::from([ROOT]), vec![ROOT]);
        while let Some(node) = unvisited.pop() {
            if let Some(Content::Dir { now, .. }) = self.nodes.get(&node) {
                unvisited.extend(now.values().copied().filter(|child| reachable.insert(*child)));
            }
        }
        self.nodes.retain(|node, _| reachable.contains(node));
    }

    fn draw(&self, what: u64) -> u64 {
        draw(self.seed, self.crashes, what)
    }
}

/// What a crash leaves of a file, which only ever grows: what was synced, and of what was appended since up to some
/// point.
fn surviving(now: &[u8], durable: usize, draw: u64) -> Vec<u8> {
    let kept = (draw >> 1) % (now.len() - durable + 1) as u64;
    now[..durable + kept as usize].to_vec()
}

/// A number that depends on the seed, on which crash it is and on what it is for, and on nothing else.
fn draw(seed: u64, crash: u64, what: u64) -> u64 {
    crate::hash_key(&(seed, crash, what))
}
