//! Removing old checkpoints: mark what is needed, classify every file, and only then delete.

use std::collections::BTreeSet;

use super::{CheckpointStore, found};
use crate::bug::{self, Bug};
use crate::error::failed;
use crate::objects::list_below;
use crate::{Manifest, PartFile, StoreError, chain_of};

/// What a collection has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Checkpoints removed altogether.
    pub checkpoints_removed: usize,
    /// Files removed, of those checkpoints and of ones that stay because newer checkpoints refer to parts of them.
    pub files_removed: usize,
}

/// A checkpoint and the names of all its files, also those that are not finished.
struct Folder {
    checkpoint: u64,
    content: Vec<String>,
    manifest: Option<Result<Manifest, StoreError>>,
}

impl CheckpointStore {
    /// Removes what neither the newest `retain` (at least one) readable checkpoints nor the `pinned` ones need.
    /// To be pinned are the checkpoints in the making, those restored from, and those whose parts may be used
    /// again: their files are all kept. Parts of older ones stay as long as a kept manifest refers to them.
    ///
    /// Checkpoints up to `begun` have begun when the caller makes up the list of what to pin: what is not pinned of
    /// them and has no manifest was given up, and is removed. What is newer than that and than the newest manifest is
    /// kept: it may be a checkpoint in the making, begun since.
    ///
    /// A manifest that can't be read might refer to anything older than itself; so its checkpoint and all older
    /// ones are kept.
    ///
    /// # Errors
    /// If the disk refuses. Nothing was deleted if something couldn't be listed; a deletion that fails is made up
    /// for by the next collection.
    pub fn collect(&self, retain: usize, pinned: &[u64], begun: u64) -> Result<Collected, StoreError> {
        self.check_in_place()?;
        let folders = self.folders()?;
        let garbage = classify(&folders, retain.max(1), pinned, begun);

        // All manifests go before any part: a crash halfway must not leave one whose parts are gone.
        for (folder, files) in &garbage {
            let manifest = found::manifest_of(folder.checkpoint);
            if files.contains(&&manifest) {
                self.delete(&[manifest])?;
            }
        }
        let mut collected = Collected::default();
        for (folder, files) in &garbage {
            self.sweep(folder, files)?;
            collected.files_removed += files.len();
            collected.checkpoints_removed += usize::from(files.len() == folder.content.len());
        }
        Ok(collected)
    }

    fn folders(&self) -> Result<Vec<Folder>, StoreError> {
        let mut folders = Vec::new();
        for checkpoint in found::checkpoint_ids(self.objects())? {
            let prefix = found::prefix_of(checkpoint);
            let path = self.objects().location(&prefix);
            let finished = list_below(self.objects(), &prefix).map_err(failed(&path, "list"))?;
            let mut content = self.objects().unfinished(&prefix).map_err(failed(&path, "list"))?;
            content.extend(finished.into_iter().map(|object| object.name));
            let manifest = found::manifest(self.objects(), checkpoint).transpose();
            folders.push(Folder { checkpoint, content, manifest });
        }
        Ok(folders)
    }

    fn sweep(&self, folder: &Folder, garbage: &[&String]) -> Result<(), StoreError> {
        if garbage.len() == folder.content.len() {
            let prefix = found::prefix_of(folder.checkpoint);
            let path = self.objects().location(&prefix);
            return self.objects().delete_all(&prefix).map_err(failed(&path, "remove"));
        }
        let manifest = found::manifest_of(folder.checkpoint);
        let names: Vec<String> =
            garbage.iter().filter(|name| ***name != manifest).copied().cloned().collect();
        self.delete(&names)
    }

    fn delete(&self, names: &[String]) -> Result<(), StoreError> {
        let Some(first) = names.first() else { return Ok(()) };
        self.objects().delete(names).map_err(failed(&self.objects().location(first), "remove"))
    }
}

/// A checkpoint, and which of its files can be removed.
type Garbage<'f> = (&'f Folder, Vec<&'f String>);

/// The checkpoints of which something can be removed.
fn classify<'f>(folders: &'f [Folder], retain: usize, pinned: &[u64], begun: u64) -> Vec<Garbage<'f>> {
    let unreadable = folders.iter().rev().find(|folder| matches!(folder.manifest, Some(Err(_))));
    if let Some(Folder { checkpoint, manifest: Some(Err(error)), .. }) = unreadable {
        tracing::warn!(
            checkpoint,
            error = chain_of(error),
            "a manifest cannot be read, so this checkpoint and all older ones are kept; remove its folder by hand"
        );
    }

    let readable = |folder: &&Folder| matches!(folder.manifest, Some(Ok(_)));
    let retained: BTreeSet<u64> =
        folders.iter().rev().filter(readable).take(retain).map(|folder| folder.checkpoint).collect();
    let is_root =
        |folder: &Folder| retained.contains(&folder.checkpoint) || pinned.contains(&folder.checkpoint);
    let needed: BTreeSet<&str> = folders
        .iter()
        .filter(|folder| is_root(folder))
        .filter_map(|folder| folder.manifest.as_ref()?.as_ref().ok())
        .flat_map(Manifest::files)
        .map(|PartFile { path, .. }| path.as_str())
        .collect();

    let newest =
        folders.iter().filter(|folder| folder.manifest.is_some()).map(|folder| folder.checkpoint).max();
    let garbage_of = |folder: &'f Folder| {
        let Folder { checkpoint, content, .. } = folder;
        if pinned.contains(checkpoint) && !bug::is(Bug::CollectionRemovesPartsInUse)
            || *checkpoint > newest.map_or(begun, |newest| newest.max(begun))
            || unreadable.is_some_and(|unreadable| *checkpoint <= unreadable.checkpoint)
        {
            return None;
        }
        let manifest = found::manifest_of(*checkpoint);
        let is_needed = |name: &String| {
            needed.contains(name.as_str()) && !bug::is(Bug::CollectionRemovesPartsInUse)
                || *name == manifest && retained.contains(checkpoint)
        };
        let garbage: Vec<_> = content.iter().filter(|name| !is_needed(name)).collect();
        // One without any file is removed like one of which all files are.
        (garbage.len() == content.len() || !garbage.is_empty()).then_some((folder, garbage))
    };
    folders.iter().filter_map(garbage_of).collect()
}
