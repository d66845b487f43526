//! Removing old checkpoints: mark what is needed, classify every file, and only then delete.

use std::collections::BTreeSet;

use super::CheckpointStore;
use crate::bug::{self, Bug};
use crate::part::failed;
use crate::{FileInfo, Manifest, PartFile, StoreError};

/// What a collection has removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Checkpoint folders removed altogether.
    pub checkpoints_removed: usize,
    /// Files removed, in those folders and in ones that stay because newer checkpoints refer to parts in them.
    pub files_removed: usize,
}

/// A checkpoint folder and what is in it.
struct Folder {
    checkpoint: u64,
    content: Vec<FileInfo>,
    manifest: Option<Result<Manifest, StoreError>>,
}

impl CheckpointStore {
    /// Removes what neither the newest `retain` (at least one) readable checkpoints nor the `pinned` ones need.
    /// To be pinned are the checkpoints in the making, those restored from, and those whose parts may be used
    /// again: their folders are kept whole. Parts in older folders stay as long as a kept manifest refers to them.
    ///
    /// A folder newer than the newest manifest is kept too: its checkpoint may be in the making, begun since the caller
    /// made up the list of what to pin.
    ///
    /// A manifest that can't be read might refer to anything older than itself; so its folder and all older
    /// ones are kept.
    ///
    /// # Errors
    /// If the disk refuses. Nothing was deleted if a folder couldn't be listed; a deletion that fails is made up
    /// for by the next collection.
    pub fn collect(&self, retain: usize, pinned: &[u64]) -> Result<Collected, StoreError> {
        let folders = self.folders()?;
        let garbage = classify(&folders, retain.max(1), pinned);

        // All manifests go before any part: a crash halfway must not leave one whose parts are gone.
        for (folder, files) in &garbage {
            if files.iter().any(|file| is_manifest(file)) {
                let path = self.folder(folder.checkpoint);
                let manifest = path.join("manifest");
                self.fs().remove_file(&manifest).map_err(failed(&manifest, "remove"))?;
                self.sync_dir(&path)?;
            }
        }
        let mut collected = Collected::default();
        for (folder, files) in &garbage {
            self.sweep(folder, files)?;
            collected.files_removed += files.len();
            collected.checkpoints_removed += usize::from(files.len() == folder.content.len());
        }
        if collected.checkpoints_removed > 0 {
            self.sync_dir(self.root())?;
        }
        Ok(collected)
    }

    fn folders(&self) -> Result<Vec<Folder>, StoreError> {
        let mut folders = Vec::new();
        for checkpoint in self.checkpoint_ids()? {
            let path = self.folder(checkpoint);
            let content = self.fs().list(&path).map_err(failed(&path, "list"))?;
            folders.push(Folder { checkpoint, content, manifest: self.manifest(checkpoint).transpose() });
        }
        Ok(folders)
    }

    fn sweep(&self, folder: &Folder, garbage: &[&FileInfo]) -> Result<(), StoreError> {
        let path = self.folder(folder.checkpoint);
        if garbage.len() == folder.content.len() {
            return self.fs().remove_dir_all(&path).map_err(failed(&path, "remove"));
        }
        for file in garbage.iter().filter(|file| !is_manifest(file)) {
            let path = path.join(&file.name);
            let removed =
                if file.is_dir { self.fs().remove_dir_all(&path) } else { self.fs().remove_file(&path) };
            removed.map_err(failed(&path, "remove"))?;
        }
        Ok(())
    }
}

/// A folder, and what of it can be removed.
type Garbage<'f> = (&'f Folder, Vec<&'f FileInfo>);

/// The folders of which something can be removed.
fn classify<'f>(folders: &'f [Folder], retain: usize, pinned: &[u64]) -> Vec<Garbage<'f>> {
    let unreadable = folders.iter().rev().find(|folder| matches!(folder.manifest, Some(Err(_))));
    if let Some(Folder { checkpoint, manifest: Some(Err(error)), .. }) = unreadable {
        tracing::warn!(
            checkpoint,
            error = error as &dyn std::error::Error,
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
            || newest.is_none_or(|newest| *checkpoint > newest)
            || unreadable.is_some_and(|unreadable| *checkpoint <= unreadable.checkpoint)
        {
            return None;
        }
        let is_needed = |file: &FileInfo| {
            let path = format!("chk-{checkpoint}/{}", file.name);
            let inside = format!("{path}/");
            needed.contains(path.as_str()) && !bug::is(Bug::CollectionRemovesPartsInUse)
                || needed.range(inside.as_str()..).next().is_some_and(|path| path.starts_with(&inside))
                || is_manifest(file) && retained.contains(checkpoint)
        };
        let garbage: Vec<_> = content.iter().filter(|file| !is_needed(file)).collect();
        // A folder without any file is removed like one of which all files are.
        (garbage.len() == content.len() || !garbage.is_empty()).then_some((folder, garbage))
    };
    folders.iter().filter_map(garbage_of).collect()
}

fn is_manifest(file: &FileInfo) -> bool {
    file.name == "manifest" && !file.is_dir
}
