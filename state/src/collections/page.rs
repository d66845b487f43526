//! A page: some of what a key has in a collection.

use std::any::{Any, type_name};
use std::fmt;

use crate::{CodecError, Data, TableState, Ttl, decode, encode, read_back};

/// A page, whatever is in it. It is decoded when somebody uses it.
pub(super) enum Page {
    Encoded(Box<[u8]>),
    Open(Box<dyn OpenPage>),
}

/// A page that is decoded. The first one has what is known of all.
#[derive(Clone, Debug)]
pub(super) struct Leaf<E> {
    /// Pages below this number are empty, but for the first one.
    pub(super) first: u32,
    /// Pages there are.
    pub(super) pages: u32,
    /// Items in all pages. Some may be gone that have expired.
    pub(super) len: u64,
    /// When an item of any page was used last, in milliseconds, about: [`Ttl`] says how exactly.
    pub(super) newest_ms: i64,
    /// When each item was used last, in milliseconds, if they expire.
    pub(super) times: Vec<i64>,
    pub(super) items: Vec<E>,
    /// The hash of each item of a map, as far as they are known. Not saved.
    pub(super) tags: Vec<u32>,
}

impl<E> Default for Leaf<E> {
    fn default() -> Self {
        Self {
            first: 1,
            pages: 1,
            len: 0,
            newest_ms: 0,
            times: Vec::new(),
            items: Vec::new(),
            tags: Vec::new(),
        }
    }
}

/// A page of some type of items.
pub(super) trait OpenPage: Send {
    fn as_any(&mut self) -> &mut dyn Any;
    fn item(&self) -> &'static str;
    fn copy(&self) -> Box<dyn OpenPage>;
    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;
    /// Checks that `bytes`, as which it was written, are read back as the same.
    fn read_back(&self, bytes: &[u8]) -> Result<(), CodecError>;
    fn times(&self) -> &[i64];
    /// The first page that may not be empty besides this one, and how many pages there are.
    fn extent(&self) -> (u32, u32);
    /// Drops items by their times. Returns how many those were, and what is left.
    fn drop_by_time(&mut self, expired: &dyn Fn(i64) -> bool) -> Dropped;
    /// So many items are gone from other pages, and maybe one of those. Returns how many items are left.
    fn forget(&mut self, items: u64, page: Option<u32>) -> u64;
    fn newest(&self) -> i64;
}

/// What became of a page whose expired items are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) items: u64,
    /// Items that the page has left.
    pub(super) left: usize,
    /// What it says that there are in all pages, if it is the first.
    pub(super) len: u64,
}

impl<E: Data> OpenPage for Leaf<E> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn item(&self) -> &'static str {
        type_name::<E>()
    }

    fn copy(&self) -> Box<dyn OpenPage> {
        Box::new(self.clone())
    }

    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        // An array of six, each encoded by itself: so the items are a value of their own, with its mark.
        out.push(ARRAY_OF_SIX);
        encode(&self.first, out)?;
        encode(&self.pages, out)?;
        encode(&self.len, out)?;
        encode(&self.newest_ms, out)?;
        encode(&self.times, out)?;
        encode(&self.items, out)
    }

    fn read_back(&self, bytes: &[u8]) -> Result<(), CodecError> {
        let short = CodecError::Short { inside: "a page" };
        let items = items_of(bytes).ok_or(short)?;
        read_back(&self.items, items)
    }

    fn times(&self) -> &[i64] {
        &self.times
    }

    fn extent(&self) -> (u32, u32) {
        (self.first, self.pages)
    }

    fn newest(&self) -> i64 {
        self.newest_ms
    }

    fn drop_by_time(&mut self, expired: &dyn Fn(i64) -> bool) -> Dropped {
        let before = self.items.len();
        let mut times = self.times.iter();
        self.items.retain(|_| !times.next().is_some_and(|time| expired(*time)));
        self.times.retain(|time| !expired(*time));
        self.tags.clear();
        let items = (before - self.items.len()) as u64;
        self.len = self.len.saturating_sub(items);
        Dropped { items, left: self.items.len(), len: self.len }
    }

    fn forget(&mut self, items: u64, page: Option<u32>) -> u64 {
        self.len = self.len.saturating_sub(items);
        if page == Some(self.first) && self.first + 1 < self.pages {
            self.first += 1;
        }
        self.len
    }
}

/// What a page begins with.
const ARRAY_OF_SIX: u8 = 0x96;

/// Decodes a page of one type of items.
pub(super) type Open = fn(&[u8]) -> Result<Box<dyn OpenPage>, CodecError>;

/// As [`Open`] says.
pub(super) fn open<E: Data>(bytes: &[u8]) -> Result<Box<dyn OpenPage>, CodecError> {
    let mut input = bytes.strip_prefix(&[ARRAY_OF_SIX]).ok_or(CodecError::Short { inside: "a page" })?;
    let (first, pages) = (decode(&mut input)?, decode(&mut input)?);
    let (len, newest_ms) = (decode(&mut input)?, decode(&mut input)?);
    let (times, items) = (decode(&mut input)?, decode(&mut input)?);
    Ok(Box::new(Leaf::<E> { first, pages, len, newest_ms, times, items, tags: Vec::new() }))
}

/// What an encoded page says of itself and of others.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    first: u32,
    pub(crate) pages: u32,
    pub(crate) newest_ms: i64,
    pub(crate) times: Vec<i64>,
}

/// Reads what stands before the items of a page.
pub(crate) fn header_of(bytes: &[u8]) -> Option<Header> {
    // An array of six.
    let (_, mut rest) = bytes.split_first()?;
    let (first, pages) = (decode(&mut rest).ok()?, decode(&mut rest).ok()?);
    decode::<u64>(&mut rest).ok()?;
    Some(Header { first, pages, newest_ms: decode(&mut rest).ok()?, times: decode(&mut rest).ok()? })
}

/// The items of an encoded page: one value.
pub(crate) fn items_of(bytes: &[u8]) -> Option<&[u8]> {
    use serde::de::IgnoredAny;
    // An array of six, of which they are the last.
    let (_, mut rest) = bytes.split_first()?;
    for _ in 0..5 {
        decode::<IgnoredAny>(&mut rest).ok()?;
    }
    Some(rest)
}

impl Page {
    /// The page as one with such items, decoded if it was not yet. `None` if it has others.
    pub(super) fn leaf<E: Data>(&mut self) -> Result<Option<&mut Leaf<E>>, CodecError> {
        if let Self::Encoded(bytes) = self {
            *self =
                Self::Open(if bytes.is_empty() { Box::new(Leaf::<E>::default()) } else { open::<E>(bytes)? });
        }
        let Self::Open(page) = self else { return Ok(None) };
        Ok(page.as_any().downcast_mut())
    }

    /// The page decoded by `open`, if it was not yet.
    pub(super) fn opened(&mut self, open: Open) -> Result<&mut dyn OpenPage, CodecError> {
        if let Self::Encoded(bytes) = self {
            let mut default = Vec::new();
            if bytes.is_empty() {
                Leaf::<()>::default().write(&mut default)?;
            }
            *self = Self::Open(open(if bytes.is_empty() { &default } else { bytes })?);
        }
        match self {
            Self::Open(page) => Ok(&mut **page),
            Self::Encoded(_) => Err(CodecError::Short { inside: "a page" }),
        }
    }

    /// Whether there is something to drop: an item that has expired, or all that the first page knows of.
    pub(super) fn has_expired(&self, page: u32, ttl: Ttl, now_ms: i64) -> bool {
        let expired = |newest_ms: i64, times: &[i64]| {
            page == 0 && ttl.has_expired_altogether(newest_ms, now_ms)
                || times.iter().any(|time| ttl.has_expired(*time, now_ms))
        };
        match self {
            Self::Open(page) => expired(page.newest(), page.times()),
            Self::Encoded(bytes) => {
                header_of(bytes).is_some_and(|header| expired(header.newest_ms, &header.times))
            }
        }
    }

    /// The first page that may not be empty besides the very first, which this is, and how many pages there are.
    pub(super) fn extent(&self) -> (u32, u32) {
        match self {
            Self::Open(page) => page.extent(),
            Self::Encoded(bytes) => header_of(bytes).map_or((1, 1), |header| (header.first, header.pages)),
        }
    }
}

impl Clone for Page {
    fn clone(&self) -> Self {
        match self {
            Self::Encoded(bytes) => Self::Encoded(bytes.clone()),
            Self::Open(page) => Self::Open(page.copy()),
        }
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::Encoded(Box::default())
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encoded(bytes) => f.debug_tuple("Encoded").field(&bytes.len()).finish(),
            Self::Open(page) => f.debug_tuple("Open").field(&page.item()).finish(),
        }
    }
}

impl TableState for Page {
    fn write(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        match self {
            Self::Encoded(bytes) if bytes.is_empty() => Leaf::<()>::default().write(out),
            Self::Encoded(bytes) => {
                out.extend_from_slice(bytes);
                Ok(())
            }
            Self::Open(page) => page.write(out),
        }
    }

    fn read(input: &mut &[u8]) -> Result<Self, CodecError> {
        let start = *input;
        decode::<serde::de::IgnoredAny>(input)?;
        Ok(Self::Encoded(start[..start.len() - input.len()].into()))
    }

    fn read_back(&self, bytes: &[u8]) -> Result<(), CodecError> {
        match self {
            // It was when it was written first.
            Self::Encoded(_) => Ok(()),
            Self::Open(page) => page.read_back(bytes),
        }
    }
}
