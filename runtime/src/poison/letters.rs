//! Dead letters that are to be replayed or given up: who has asked for it, and what is said about it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use watershed_actors::{Replay, TaskId};
use watershed_state::{Fs, shown};

use crate::dead_letters::Request;

/// What has been asked for.
pub(crate) struct Letters {
    /// Where requests are found.
    requests: Option<(Fs, PathBuf)>,
    /// By the name of the operator and the id of the letter.
    asked: BTreeMap<String, BTreeMap<String, Replay>>,
    /// Letters that were replayed before the barrier of a checkpoint that is not complete, with the task that says so.
    unsaved: Vec<(TaskId, u64, Vec<String>)>,
}

impl Letters {
    /// Reads the requests in a folder.
    pub(crate) fn open(requests: Option<(Fs, PathBuf)>) -> Self {
        let mut letters = Self { requests, asked: BTreeMap::new(), unsaved: Vec::new() };
        // The job may begin with a checkpoint from before a replay.
        letters.look_for(&[Request::Replay, Request::Replayed, Request::Discard]);
        letters
    }

    /// Reads requests that were not there before, and returns them. Giving a letter up takes the place of its replay.
    pub(crate) fn look_for(&mut self, kinds: &[Request]) -> Vec<Replay> {
        let Some((fs, folder)) = &self.requests else { return Vec::new() };
        let files = fs.list(folder).unwrap_or_default();
        let requests = files.iter().filter_map(|file| Request::parse(&file.name));
        let all: BTreeSet<(&str, Request)> = requests.collect();
        let known = self.asked.values().flatten();
        let known: BTreeSet<(&str, bool)> = known.map(|(id, replay)| (&**id, replay.discarded)).collect();
        let is_due = |id: &str, request: Request| match request {
            Request::Discard => !known.contains(&(id, true)),
            Request::Replay | Request::Replayed => {
                let over = all.contains(&(id, Request::Discard)) || all.contains(&(id, Request::Failed));
                !over && !known.contains(&(id, false))
            }
            Request::Failed => false,
        };
        let due = all.iter().filter(|(id, request)| kinds.contains(request) && is_due(id, *request));
        let found: Vec<Replay> =
            due.filter_map(|(id, request)| read_request(fs, folder, id, *request)).collect();
        for replay in &found {
            let asked = self.asked.entry(replay.letter.operator.clone()).or_default();
            asked.insert(replay.letter.id.clone(), replay.clone());
        }
        found
    }

    /// What is to be done with the letters of an operator.
    pub(crate) fn of(&self, operator: &str) -> impl Iterator<Item = &Replay> {
        self.asked.get(operator).into_iter().flat_map(BTreeMap::values)
    }

    /// Operators with letters that something is to be done with.
    pub(crate) fn operators(&self) -> impl Iterator<Item = &str> {
        self.asked.keys().map(String::as_str)
    }

    /// The job begins with a checkpoint that knows these letters of an operator to be done with. Returns whether there
    /// are others.
    pub(crate) fn restored(&mut self, operator: &str, done: &BTreeSet<String>) -> bool {
        for replay in self.of(operator).filter(|replay| !replay.discarded) {
            let id = &*replay.letter.id;
            if done.contains(id) {
                self.rename(id, Request::Replay, Request::Replayed);
            } else {
                self.rename(id, Request::Replayed, Request::Replay);
            }
        }
        let Some(asked) = self.asked.get_mut(operator) else { return false };
        asked.retain(|id, replay| replay.discarded || !done.contains(id));
        asked.keys().any(|id| !done.contains(id))
    }

    /// A task has replayed letters before the barrier of a checkpoint.
    pub(crate) fn replayed(&mut self, task: TaskId, checkpoint: u64, letters: Vec<String>) {
        self.unsaved.push((task, checkpoint, letters));
    }

    /// A task goes on from a complete checkpoint: what it has done since counts no more.
    pub(crate) fn begins_again(&mut self, task: TaskId) {
        self.unsaved.retain(|(of, ..)| *of != task);
    }

    /// All tasks are others, and go on from a complete checkpoint.
    pub(crate) fn rescaled(&mut self) {
        self.unsaved.clear();
    }

    /// A checkpoint is complete: whoever lists the letters sees which ones have been replayed for good.
    pub(crate) fn complete(&mut self, checkpoint: u64) {
        let unsaved = std::mem::take(&mut self.unsaved);
        let (saved, unsaved): (Vec<_>, Vec<_>) =
            unsaved.into_iter().partition(|(_, at, _)| *at <= checkpoint);
        self.unsaved = unsaved;
        let saved: BTreeSet<String> = saved.into_iter().flat_map(|(.., letters)| letters).collect();
        if saved.is_empty() {
            return;
        }
        for letter in &saved {
            self.rename(letter, Request::Replay, Request::Replayed);
        }
        for asked in self.asked.values_mut() {
            asked.retain(|letter, replay| replay.discarded || !saved.contains(letter));
        }
    }

    /// Lets a request say something else. The job does not depend on it.
    fn rename(&self, letter: &str, from: Request, to: Request) {
        let Some((fs, folder)) = &self.requests else { return };
        let (from, to) = (folder.join(from.file_name(letter)), folder.join(to.file_name(letter)));
        let renamed = fs.exists(&from).and_then(|exists| if exists { fs.rename(&from, &to) } else { Ok(()) });
        if let Err(error) = renamed {
            tracing::warn!(letter = %shown(letter), %error, "it cannot be noted what has become of a dead letter");
        }
    }

    /// A letter cannot be replayed: whoever lists the letters sees why, and it is not tried again before it is asked
    /// for again.
    pub(crate) fn cannot_replay(&mut self, letter: &str, why: &str) -> io::Result<()> {
        let Some((fs, folder)) = &self.requests else { return Ok(()) };
        let temporary = folder.join(format!(".{letter}.failed.tmp"));
        let path = folder.join(Request::Failed.file_name(letter));
        let mut file = fs.create(&temporary)?;
        file.write_all(why.as_bytes())?;
        file.sync()?;
        drop(file);
        fs.rename(&temporary, &path)?;
        fs.sync_dir(folder)?;
        for asked in self.asked.values_mut() {
            asked.retain(|id, replay| replay.discarded || id != letter);
        }
        Ok(())
    }
}

fn read_request(fs: &Fs, folder: &Path, id: &str, request: Request) -> Option<Replay> {
    let path = folder.join(request.file_name(id));
    let read = fs.read(&path).map_err(|error| error.to_string());
    let replay = read.and_then(|bytes| {
        let replay: Replay = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
        let fits = replay.letter.id == id && replay.discarded == (request == Request::Discard);
        if fits { Ok(replay) } else { Err("it asks for something else than its name says".to_string()) }
    });
    replay
        .inspect_err(|error| {
            let (path, error) = (shown(path.display()), shown(error));
            tracing::error!(%path, %error, "a request to replay a dead letter cannot be read");
        })
        .ok()
}
