//! The envelope of small files that are written at once: magic, format version, length, body, checksum.
//!
//! Magic, version and the trailing checksum over all that precedes it are the same in every format version, so that
//! damage and a newer format can be told apart.

use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::{Damage, StoreError};

const HEADER: usize = 8 + 4 + 8;
const TRAILER: usize = 8;

/// What kind of file it is, and the format version written and read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
}

/// Wraps `body` into an envelope.
pub(crate) fn seal(format: Format, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + body.len() + TRAILER);
    bytes.extend_from_slice(&format.magic);
    bytes.extend_from_slice(&format.version.to_le_bytes());
    bytes.extend_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    let checksum = xxh3_64(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The body of an envelope; `path` is named in errors.
pub(crate) fn open<'b>(format: Format, path: &Path, bytes: &'b [u8]) -> Result<&'b [u8], StoreError> {
    let damaged = |what| StoreError::Damaged { path: path.to_owned(), what };
    let mut rest = Reader(bytes);
    let magic: [u8; 8] = rest.array().ok_or_else(|| damaged(Damage::Cut { inside: "the header" }))?;
    if magic != format.magic {
        return Err(damaged(Damage::Magic));
    }
    let Some((sealed, checksum)) = bytes.split_last_chunk::<TRAILER>() else {
        return Err(damaged(Damage::Cut { inside: "the header" }));
    };
    let (expected, found) = (u64::from_le_bytes(*checksum), xxh3_64(sealed));
    if expected != found {
        return Err(damaged(Damage::Checksum { expected, found }));
    }
    let version =
        rest.array().map(u32::from_le_bytes).ok_or_else(|| damaged(Damage::Cut { inside: "the header" }))?;
    if version > format.version {
        let (found, supported) = (version, format.version);
        return Err(StoreError::NewerFormat { path: path.to_owned(), found, supported });
    }
    let length =
        rest.array().map(u64::from_le_bytes).ok_or_else(|| damaged(Damage::Cut { inside: "the header" }))?;
    let found = rest.0.len().saturating_sub(TRAILER) as u64;
    if length != found {
        return Err(damaged(Damage::Length { expected: length, found }));
    }
    Ok(&rest.0[..found as usize])
}

/// Takes fixed-size pieces off the front of a byte slice.
pub(crate) struct Reader<'b>(pub(crate) &'b [u8]);

impl<'b> Reader<'b> {
    /// The next `N` bytes, or `None` if there are fewer.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    /// The next `length` bytes, or `None` if there are fewer.
    pub(crate) fn slice(&mut self, length: u64) -> Option<&'b [u8]> {
        let (first, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(first)
    }
}
