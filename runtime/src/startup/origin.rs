//! What a job goes on from: a checkpoint, a savepoint, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use watershed_actors::Restored;
use watershed_state::{CheckpointStore, Fs, Manifest, SnapshotPlace};

use super::event_time;
use super::fit::{check_manifest, compare_event_times, in_snapshot, load};
use super::history::{Past, savepoint_to_start_from};
use crate::config::Config;
use crate::error::Error;
use crate::plan::Plan;

/// What a job goes on from, and what its numbers have to be above.
pub(super) struct Origin {
    /// Of a checkpoint or a savepoint; `None` for a start from the beginning.
    pub(super) manifest: Option<Manifest>,
    place: SnapshotPlace,
    is_savepoint: bool,
    /// The highest run that was used.
    pub(super) run_before: u64,
    /// The highest checkpoint that was used.
    pub(super) reserved: u64,
    /// Histories of which something may be left.
    pub(super) ancestors: BTreeSet<String>,
}

impl Origin {
    pub(super) fn choose(
        past: &mut Past<'_>,
        (plan, config): (&Plan, &Config),
        store: &CheckpointStore,
        outputs: &Fs,
    ) -> Result<Self, Error> {
        let manifest = past.choose(plan, config)?;
        let savepoint = savepoint_to_start_from(config, outputs, past.identity.as_ref(), manifest.is_some())?;
        let (run_before, reserved) = past.highest_used;
        let place = SnapshotPlace::from(Arc::clone(store.objects()));
        let ancestors = past.lineages(plan)?;
        let own = Self { manifest, place, is_savepoint: false, run_before, reserved, ancestors };
        let Some((place, manifest)) = savepoint else { return Ok(own) };
        // Numbers that stand in names of what it has prepared are not used again.
        let (run_before, reserved) = (run_before.max(manifest.run), reserved.max(manifest.checkpoint));
        let mut ancestors = own.ancestors;
        ancestors.insert(manifest.lineage.clone());
        Ok(Self { manifest: Some(manifest), place, is_savepoint: true, run_before, reserved, ancestors })
    }

    /// Reads it, if it fits.
    pub(super) fn restore(
        &self,
        (plan, config): (&Plan, &Config),
        store: &CheckpointStore,
        run: u64,
    ) -> Result<BTreeMap<usize, Arc<Restored>>, Error> {
        let Some(manifest) = &self.manifest else { return Ok(BTreeMap::new()) };
        let about = |error: Error| self.about(&error);
        check_manifest(plan, config, manifest).map_err(about)?;
        if !self.is_savepoint {
            store.settle(manifest.checkpoint)?;
        }
        let mut restored = load(plan, &self.place, self.is_savepoint, manifest, run).map_err(about)?;
        event_time::reset(config, manifest, &mut restored);
        compare_event_times(plan, config, &mut restored).map_err(about)?;
        Ok(restored)
    }

    /// The checkpoint of the job's own.
    pub(super) fn own(&self) -> Option<&Manifest> {
        self.manifest.as_ref().filter(|_| !self.is_savepoint)
    }

    pub(super) fn savepoint(&self) -> Option<&Manifest> {
        self.manifest.as_ref().filter(|_| self.is_savepoint)
    }

    /// The error with the file that it is about.
    pub(super) fn about(&self, error: &Error) -> Error {
        in_snapshot(&self.place, self.own(), error)
    }
}
