//! Keys of a database that an older version has written, as this one writes them.

use std::ops::Range;
use std::path::Path;

use super::{Changes, Database, WRITE_AT, split_key};
use crate::table::TableKey;
use crate::{CodecError, StoreError};

/// Writes all keys of one table anew that are not written as they were: else nobody would find them, as a database
/// finds a key by its bytes. It reads all of these key groups, which is worth it once, when the first process of a new
/// version begins.
///
/// # Errors
/// If the disk refuses, or a key does not decode; `path` is named then.
pub(crate) fn rewrite_keys<K: TableKey>(
    database: &dyn Database,
    owned: &Range<u16>,
    path: &Path,
) -> Result<(), StoreError> {
    let (mut changes, mut done) = (Changes::new(), Ok(()));
    database.scan(owned, &mut |key, state| {
        match rewritten::<K>(key) {
            Ok(None) => {}
            Ok(Some(new)) => {
                changes.insert(key.to_vec(), None);
                changes.insert(new, Some(state.to_vec()));
            }
            Err(source) => done = Err(StoreError::Codec { path: path.to_owned(), source }),
        }
        if changes.len() >= 2 * WRITE_AT {
            // What is shown is the database as it was before.
            done = database.write(&std::mem::take(&mut changes));
        }
        done.is_ok()
    })?;
    done?;
    if changes.is_empty() { Ok(()) } else { database.write(&changes) }
}

/// A key of this table as it is written now, if it is not as it was.
fn rewritten<K: TableKey>(old: &[u8]) -> Result<Option<Vec<u8>>, CodecError> {
    let Some((_, space, mut bytes)) = split_key(old) else { return Ok(None) };
    if space != K::SPACE {
        return Ok(None);
    }
    let mut new = old[..old.len() - bytes.len()].to_vec();
    K::read(&mut bytes)?.write(&mut new)?;
    Ok((new != old).then_some(new))
}
