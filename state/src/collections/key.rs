//! Where a page of a collection belongs.

use crate::hash::FixedHasher;
use crate::{CodecError, Key, SectionKind, TableKey, decode, encode, hash_key};
use std::hash::Hasher;

/// A page of what a key has in a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageKey<K> {
    pub(super) key: K,
    /// The [`id_of`] the collection.
    pub(super) collection: u32,
    pub(super) page: u32,
}

/// The number of a collection, from its name: the same in all instances, whichever they use first.
pub(super) fn id_of(name: &str) -> u32 {
    hash_key(name) as u32
}

/// The place of a page, from the hash of its key: in the key group of the key, and spread within that.
#[inline]
pub(super) fn place(hash: u64, collection: u32, page: u32) -> u64 {
    const GROUP_BITS: u64 = 0xffff << 48;
    let mut spread = FixedHasher::default();
    spread.write_u64(hash);
    spread.write_u64(u64::from(collection) << 32 | u64::from(page));
    hash & GROUP_BITS | spread.finish() & !GROUP_BITS
}

impl<K: Key> TableKey for PageKey<K> {
    const KINDS: (SectionKind, SectionKind) = (SectionKind::Collections, SectionKind::RemovedPages);
    const SPACE: u8 = 1;
    // All pages of a key are in one group, and one key may have most of them.
    const IS_SPREAD: bool = false;

    fn place(&self) -> u64 {
        place(hash_key(&self.key), self.collection, self.page)
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode(&self.key, out)?;
        out.extend_from_slice(&self.collection.to_be_bytes());
        out.extend_from_slice(&self.page.to_be_bytes());
        Ok(())
    }

    fn read(input: &mut &[u8]) -> Result<Self, CodecError> {
        let key = decode(input)?;
        let (collection, page) = split_numbers(input).ok_or(CodecError::Short { inside: "a page's key" })?;
        Ok(Self { key, collection, page })
    }
}

/// The collection and the page that stand behind a key.
pub(crate) fn split_numbers(input: &mut &[u8]) -> Option<(u32, u32)> {
    let (collection, rest) = input.split_first_chunk()?;
    let (page, rest) = rest.split_first_chunk()?;
    *input = rest;
    Some((u32::from_be_bytes(*collection), u32::from_be_bytes(*page)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyGroups;

    #[test]
    fn pages_are_in_the_group_of_their_key() {
        for key in 0..1_000_u32 {
            let hash = hash_key(&key);
            for page in 0..5 {
                let place = PageKey { key, collection: id_of("a"), page }.place();
                for groups in [1, 7, 128, 32_768] {
                    let groups = KeyGroups::new(groups).unwrap();
                    assert_eq!(groups.group_of(place), groups.group_of(hash));
                }
            }
        }
    }

    #[test]
    fn the_number_of_a_collection_never_changes() {
        assert_eq!([id_of(""), id_of("visits"), id_of("seen")], [6_328_423, 37_903_969, 2_734_765_302]);
    }

    #[test]
    fn a_page_key_is_read_as_it_was_written() {
        let key = PageKey { key: String::from("k"), collection: 7, page: 9 };
        let mut bytes = Vec::new();
        key.write(&mut bytes).unwrap();
        assert_eq!(PageKey::<String>::read(&mut bytes.as_slice()).unwrap(), key);
        bytes.pop();
        assert!(PageKey::<String>::read(&mut bytes.as_slice()).is_err());
    }
}
