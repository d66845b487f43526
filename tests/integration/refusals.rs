//! Bad input: what is refused, before anything starts or while it runs, and what the refusal says.

mod checkpoints;
mod damage;
mod folders;
mod past;
mod running;
mod wiring;

use std::path::Path;

use watershed::{ErrorKind, Outcome, Result, SimulatedDisk};

/// Expects an error of this kind that says all of this.
fn refused(result: Result<Outcome>, kind: ErrorKind, says: &[&str]) {
    let error = result.expect_err("it should have been refused");
    assert_eq!(error.kind, kind, "{error}");
    for part in says {
        assert!(error.to_string().contains(part), "there is no {part:?} in: {error}");
    }
}

/// Changes a file on the disk.
fn edit(disk: &SimulatedDisk, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let fs = disk.fs();
    let mut bytes = fs.read(path).unwrap();
    change(&mut bytes);
    let mut file = fs.create(path).unwrap();
    file.write_all(&bytes).and_then(|()| file.sync()).unwrap();
}
