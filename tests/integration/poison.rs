//! Records that make operators fail: left out, kept, replayed; and all others as if nothing had been.

mod accounts;
mod closures;
mod hostile;
mod parking;
mod policies;
mod replays;

use std::path::Path;

use serde_json::Value;
use watershed::{DeadLetter, SimulatedDisk};

use crate::fixture::lines_in;

/// The dead letters of an operator that are visible, in the order of what was left out.
pub(crate) fn letters(disk: &SimulatedDisk, operator: &str) -> Vec<DeadLetter> {
    let lines = lines_in(disk, &format!("/checkpoints/dead-letters/{operator}"));
    let mut letters: Vec<DeadLetter> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    letters.sort_by_key(|letter| letter.evidence.payload.to_string());
    letters
}

/// What was left out, as JSON.
fn payloads(letters: &[DeadLetter]) -> Vec<Value> {
    letters.iter().map(|letter| letter.evidence.payload.clone()).collect()
}

/// What the files beside the letters say of a letter, by the ends of their names.
fn said_of(disk: &SimulatedDisk, letter: &DeadLetter) -> Vec<String> {
    let files = disk.fs().list(Path::new("/checkpoints/dead-letters/.requests")).unwrap();
    let end = |name: &str| name.strip_prefix(&*letter.id).map(str::to_string);
    files.iter().filter_map(|file| end(&file.name)).collect()
}

/// Why a letter could not be replayed.
fn failure(disk: &SimulatedDisk, letter: &DeadLetter) -> String {
    let path = format!("/checkpoints/dead-letters/.requests/{}.failed.txt", letter.id);
    String::from_utf8(disk.fs().read(Path::new(&path)).unwrap()).unwrap()
}

/// Asks for a letter to be replayed, or to be given up, as the program `watershed` does.
fn request(disk: &SimulatedDisk, letter: &DeadLetter, discarded: bool) {
    let fs = disk.fs();
    let folder = Path::new("/checkpoints/dead-letters/.requests");
    fs.create_dir_all(folder).unwrap();
    let what = if discarded { "discard" } else { "replay" };
    let mut file = fs.create(&folder.join(format!("{}.{what}.json", letter.id))).unwrap();
    let request = serde_json::json!({ "letter": letter, "discarded": discarded });
    file.write_all(request.to_string().as_bytes()).unwrap();
    file.sync().unwrap();
    fs.sync_dir(folder).unwrap();
}
