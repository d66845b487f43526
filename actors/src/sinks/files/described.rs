//! Who writes into a folder, as errors tell of it.

use std::fmt;
use std::io::{self, Read};
use std::path::Path;

use watershed_state::{FileReader, Fs};

use crate::sink::Owner;

/// An owner as errors tell of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Described(String);

/// More than any such file has.
const MARK_BYTES_MAX: u64 = 64 << 10;

impl Described {
    /// What the file of a run says.
    pub(super) fn read(fs: &Fs, path: &Path, run: u64) -> Self {
        let parsed = fs.open(path).and_then(parse);
        parsed.map_or_else(
            |_| Self(format!("run {run}, of which {} does not tell more", path.display())),
            Self::of,
        )
    }

    /// The owner itself.
    pub(super) fn of(owner: impl std::borrow::Borrow<Owner>) -> Self {
        let Owner { topology, operator, run, checkpoints, process, .. } = owner.borrow();
        let checkpoints = checkpoints.as_ref().map_or("in memory", |place| place);
        Self(format!(
            "`{operator}` of `{topology}`, run {run}, process {process}, with checkpoints {checkpoints}"
        ))
    }
}

fn parse(file: Box<dyn FileReader>) -> io::Result<Owner> {
    let mut bytes = Vec::new();
    file.take(MARK_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

impl fmt::Display for Described {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It comes from a file that others may have written.
        f.write_str(&self.0.escape_debug().to_string())
    }
}
