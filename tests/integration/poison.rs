//! Records that make operators fail: left out, kept, replayed; and all others as if nothing had been.

mod accounts;
mod hostile;
mod parking;
mod policies;
mod replays;

use std::path::Path;

use serde_json::Value;
use watershed::{DeadLetter, SimulatedDisk};

use crate::fixture::lines_in;

/// The dead letters of an operator that are visible, in the order of what was left out.
fn letters(disk: &SimulatedDisk, operator: &str) -> Vec<DeadLetter> {
    let lines = lines_in(disk, &format!("/checkpoints/dead-letters/{operator}"));
    let mut letters: Vec<DeadLetter> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    letters.sort_by_key(|letter| letter.evidence.payload.to_string());
    letters
}

/// What was left out, as JSON.
fn payloads(letters: &[DeadLetter]) -> Vec<Value> {
    letters.iter().map(|letter| letter.evidence.payload.clone()).collect()
}

/// Asks for a letter to be replayed, or to be given up, as the program `watershed` does.
fn request(disk: &SimulatedDisk, letter: &DeadLetter, discarded: bool) {
    let fs = disk.fs();
    let folder = Path::new("/checkpoints/dead-letters/replay");
    fs.create_dir_all(folder).unwrap();
    let mut file = fs.create(&folder.join(format!("{}.json", letter.id))).unwrap();
    let request = serde_json::json!({ "letter": letter, "discarded": discarded });
    file.write_all(request.to_string().as_bytes()).unwrap();
    file.sync().unwrap();
    fs.sync_dir(folder).unwrap();
}
