//! The keys of an operator, one after the other.

use std::marker::PhantomData;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use serde::de::DeserializeOwned;
use watershed_state::{Key, KeyGroups, KeyedEntry, OperatorPart, Snapshots, StoreError};

use crate::error::{Error, Result};
use crate::offline::decoded_entry;
use crate::offline::reader::why;
use crate::scratch::Scratch;

/// The keys of an operator with their state: see [`SavepointReader::keyed`](super::SavepointReader::keyed). It ends
/// with the first error.
#[derive(Debug)]
pub struct KeyedStates<K, S> {
    operator: String,
    groups: KeyGroups,
    /// What an error in reading means.
    snapshots: Snapshots,
    checkpoint: u64,
    chunks: Option<Receiver<Result<Chunk, StoreError>>>,
    /// Of the chunk at hand.
    entries: std::vec::IntoIter<Entry>,
    reading: Option<JoinHandle<()>>,
    types: PhantomData<fn() -> (K, S)>,
}

/// A key and its state, as they are encoded.
#[derive(Debug)]
struct Entry {
    group: u16,
    key: Vec<u8>,
    state: Vec<u8>,
}

/// Entries that are handed over together.
#[derive(Debug)]
struct Chunk {
    entries: Vec<Entry>,
    is_last: bool,
}

/// As many of them at most.
const CHUNK: usize = 256;
/// Chunks that are read ahead.
const AHEAD: usize = 4;

impl<K: Key, S: DeserializeOwned> KeyedStates<K, S> {
    pub(super) fn read(
        snapshots: Snapshots,
        part: OperatorPart,
        groups: KeyGroups,
        checkpoint: u64,
    ) -> Result<Self> {
        let (sender, chunks) = sync_channel(AHEAD);
        let (operator, read) = (part.name.clone(), snapshots.clone());
        let thread = std::thread::Builder::new().name("watershed-offline".to_string());
        let reading = thread.spawn(move || {
            if let Err(error) = hand_over(&read, &part, &sender) {
                // Whoever reads may have had enough.
                let _ = sender.send(Err(error));
            }
        });
        let reading =
            reading.map_err(|error| Error::internal("no thread to read on").because(error.into()))?;
        Ok(Self {
            operator,
            groups,
            snapshots,
            checkpoint,
            chunks: Some(chunks),
            entries: Vec::new().into_iter(),
            reading: Some(reading),
            types: PhantomData,
        })
    }
}

/// Reads everything, until nobody listens any more.
fn hand_over(
    snapshots: &Snapshots,
    part: &OperatorPart,
    to: &SyncSender<Result<Chunk, StoreError>>,
) -> Result<(), StoreError> {
    let scratch = Scratch::temporary();
    let mut entries = Vec::with_capacity(CHUNK);
    snapshots.keyed_state(part, scratch.folder(), &mut |KeyedEntry { group, key, state, .. }| {
        entries.push(Entry { group, key: key.to_vec(), state: state.to_vec() });
        if entries.len() < CHUNK {
            return true;
        }
        to.send(Ok(Chunk { entries: std::mem::take(&mut entries), is_last: false })).is_ok()
    })?;
    let _ = to.send(Ok(Chunk { entries, is_last: true }));
    Ok(())
}

impl<K: Key, S: DeserializeOwned> Iterator for KeyedStates<K, S> {
    type Item = Result<(K, S)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(Entry { group, key, state }) = self.entries.next() {
                let entry = KeyedEntry { group, key: &key, state: &state, used_ms: None };
                return Some(self.checked(decoded_entry(&self.operator, self.groups, entry)));
            }
            match self.chunks.as_ref()?.recv() {
                Ok(Ok(Chunk { entries, is_last })) => {
                    self.entries = entries.into_iter();
                    if is_last {
                        self.chunks = None;
                    }
                }
                Ok(Err(error)) => {
                    let error = why(&self.snapshots, self.checkpoint, &self.operator, &error);
                    return Some(self.checked(Err(error)));
                }
                Err(_) => {
                    let error = Error::internal("what reads the snapshot has ended before its time");
                    return Some(self.checked(Err(error)));
                }
            }
        }
    }
}

impl<K, S> KeyedStates<K, S> {
    /// Nothing comes after an error.
    fn checked<T>(&mut self, entry: Result<T>) -> Result<T> {
        if entry.is_err() {
            self.chunks = None;
            self.entries = Vec::new().into_iter();
        }
        entry
    }
}

impl<K, S> Drop for KeyedStates<K, S> {
    fn drop(&mut self) {
        // Nobody listens any more: the thread ends, and takes its files with it.
        self.chunks = None;
        if let Some(reading) = self.reading.take() {
            let _ = reading.join();
        }
    }
}
