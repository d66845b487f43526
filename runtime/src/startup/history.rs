//! Which checkpoint a process goes on from, and whether it fits what the checkpoint folder and the output say of the
//! job's past.

use std::collections::BTreeSet;
use std::iter;

use tracing::field::display;
use watershed_actors::chain_of;
use watershed_state::{CheckpointStore, Fs, Identity, Manifest, Scanned, SnapshotPlace, StoreError, shown};

use crate::config::{Config, Resume};
use crate::error::Error;
use crate::plan::{Plan, PlannedNode};

/// What is known of the job's past.
pub(super) struct Past<'a> {
    store: &'a CheckpointStore,
    outputs: &'a Fs,
    /// What the file `job` says, if it is there.
    pub(super) identity: Option<Identity>,
    /// What is in the folder, newest first, until one is chosen.
    found: Vec<Scanned>,
    /// The highest run and checkpoint that are known to have been used: neither may be used again, as they stand in
    /// names.
    pub(super) highest_used: (u64, u64),
    /// The histories of the checkpoints, and those that the file `job` knows of.
    lineages: BTreeSet<String>,
}

impl<'a> Past<'a> {
    /// Looks at what is in the folder.
    pub(super) fn read(store: &'a CheckpointStore, outputs: &'a Fs) -> Result<Self, Error> {
        let (identity, highest_used) = (None, (0, 0));
        let mut past =
            Self { store, outputs, identity, found: store.scan()?, highest_used, lineages: BTreeSet::new() };
        past.identity = store.identity().map_err(|error| past.unusable_identity(error))?;
        let runs = past.manifests().map(|(_, manifest)| manifest.run);
        past.highest_used = (runs.max().unwrap_or(0), past.found.first().map_or(0, |(id, _)| *id));
        past.lineages = past.manifests().map(|(_, manifest)| manifest.lineage.clone()).collect();
        if let Some(identity) = &past.identity {
            let (run, checkpoint) = past.highest_used;
            past.highest_used = (run.max(identity.run), checkpoint.max(identity.reserved_checkpoints));
            past.lineages.insert(identity.lineage.clone());
            past.lineages.extend(identity.ancestors.iter().flatten().cloned());
        }
        Ok(past)
    }

    /// The histories that the folder knows of, and those that output is there of.
    pub(super) fn lineages(&self, plan: &Plan) -> Result<BTreeSet<String>, Error> {
        let mut lineages = self.lineages.clone();
        for node in &plan.nodes {
            lineages.extend(self.shown_by(node)?);
        }
        Ok(lineages)
    }

    /// The histories that an actor shows output of.
    fn shown_by(&self, node: &PlannedNode) -> Result<BTreeSet<String>, Error> {
        let mut shown = BTreeSet::new();
        for name in iter::once(&*node.name).chain(node.former.iter().map(String::as_str)) {
            let lineages = node.build.lineages(name, self.outputs);
            shown.extend(lineages.map_err(|error| error.of(&node.name))?);
        }
        Ok(shown)
    }

    /// The checkpoint to go on from.
    pub(super) fn choose(&mut self, plan: &Plan, config: &Config) -> Result<Option<Manifest>, Error> {
        match config.resume {
            Resume::Nothing => Ok(None),
            Resume::From(wanted) => self.named(wanted).map(Some),
            Resume::Latest if !is_of_history(config, self.identity.as_ref()) => Ok(None),
            Resume::Latest => {
                let Some(identity) = self.identity.clone() else {
                    if let Some((id, _)) = self.found.first() {
                        return Err(Error::state(format!(
                            "{} holds checkpoint {id} but not the file `job` that tells its history. {}",
                            self.path(""),
                            self.way_out()
                        )));
                    }
                    self.refuse_unknown_output(plan, config, None)?;
                    return Ok(None);
                };
                self.check_identity(&identity)?;
                let chosen = self.newest(plan, config, &identity)?;
                self.refuse_unknown_output(plan, config, chosen.as_ref())?;
                Ok(chosen)
            }
        }
    }

    /// Where something is, as it is told to people.
    fn path(&self, name: &str) -> String {
        self.store.objects().location(name).display().to_string()
    }

    fn manifests(&self) -> impl Iterator<Item = (u64, &Manifest)> {
        self.found.iter().filter_map(|(id, manifest)| Some((*id, manifest.as_ref().ok()?)))
    }

    /// What to do where the file `job` is not the one of the checkpoints beside it.
    fn way_out(&self) -> String {
        let begin_anew = "begin anew with `Resume::Nothing`".to_string();
        let newest = self.manifests().next().map_or(begin_anew, |(id, _)| {
            format!("take it away and name the checkpoint to go on from, with `Resume::From({id})`")
        });
        format!(
            "Put back the file as the job left it last, not an older copy: one that knows less than checkpoints and output show \
             is refused. Or {newest}: that begins a new history, and output that was shown after the checkpoint comes again"
        )
    }

    /// Refuses a file `job` that is older than the checkpoints beside it, or another job's.
    fn check_identity(&self, identity: &Identity) -> Result<(), Error> {
        let job = self.path("job");
        for (id, manifest) in self.manifests() {
            let path = self.path(&format!("chk-{id}/manifest"));
            if manifest.run > identity.run || id > identity.reserved_checkpoints {
                return Err(Error::state(format!(
                    "{job} is older than the checkpoints beside it: it knows of runs up to {} and of checkpoints up to {}, and \
                     {path} is of run {}. To go on from it would be to use numbers again that are in names of output, and so to \
                     lose or repeat records. {}",
                    identity.run,
                    identity.reserved_checkpoints,
                    manifest.run,
                    self.way_out()
                )));
            }
            if !self.knows(identity, &manifest.lineage) {
                return Err(Error::state(format!(
                    "{job} is not that of the checkpoints beside it: it is of the history {}, and {path} is of {}, of which it \
                     knows nothing. It is another job's, or an older copy. {}",
                    identity.lineage,
                    manifest.lineage,
                    self.way_out()
                )));
            }
        }
        Ok(())
    }

    /// Whether this history goes back to that one.
    fn knows(&self, identity: &Identity, lineage: &str) -> bool {
        let is_own = |(id, manifest): (u64, &Manifest)| {
            manifest.lineage == identity.lineage || identity.began_at == Some(id)
        };
        lineage == identity.lineage
            || match &identity.ancestors {
                Some(ancestors) => ancestors.contains(lineage),
                // It was not noted. Where there is nothing of its own, it is another job's as likely as not.
                None => self.manifests().any(is_own),
            }
    }

    /// Refuses to begin at the start where exactly-once sinks show what a history wrote of which the folder knows
    /// nothing. A job that goes on from a checkpoint of its own is warned: another job of the same program may have
    /// written there since.
    fn refuse_unknown_output(
        &self,
        plan: &Plan,
        config: &Config,
        chosen: Option<&Manifest>,
    ) -> Result<(), Error> {
        // A job without a place for checkpoints begins anew each time, and says so. A version that noted no histories
        // knows of none: what is there now is noted.
        let is_kept = config.checkpoints.is_some() || config.checkpoints_at.is_some();
        let noted = self.identity.as_ref().is_none_or(|identity| identity.ancestors.is_some());
        if !is_kept || !noted || config.accept_duplicates {
            return Ok(());
        }
        for node in &plan.nodes {
            let histories = self.shown_by(node)?;
            let Some(unknown) = histories.difference(&self.lineages).next() else { continue };
            let (name, folder) = (&node.name, self.path(""));
            if let Some(chosen) = chosen {
                let output = node.build.folder().map(|folder| display(shown(folder.display().to_string())));
                tracing::warn!(
                    sink = %shown(name),
                    output,
                    history = %shown(unknown),
                    checkpoint = chosen.checkpoint,
                    checkpoints = %shown(&folder),
                    "there is output of a history that the checkpoint folder does not know: the job goes on from its own \
                     checkpoint. If that is not another job's output, the folder may be an older one that was put back, and \
                     records are shown twice"
                );
                continue;
            }
            return Err(Error::state(format!(
                "`{name}` shows output{} of the history {unknown}, of which the checkpoint folder {folder} knows nothing: \
                 to begin at the start would be to show records twice. If the checkpoints of that history are elsewhere, \
                 put them back or name their folder, with the file `job` as it was last. To begin anew, empty the output folder, or keep what is in it \
                 and say so with `Resume::Nothing`; to go on all the same, accept duplicates with `Config::accept_duplicates`. If \
                 it is the output of another job, give `{name}` another name or folder",
                place_of(node)
            )));
        }
        Ok(())
    }

    /// The checkpoint of this id.
    fn named(&mut self, wanted: u64) -> Result<Manifest, Error> {
        let Some((_, manifest)) = self.found.extract_if(.., |(id, _)| *id == wanted).next() else {
            return Err(Error::config(format!("there is no checkpoint {wanted} in {}", self.path(""))));
        };
        let manifest = manifest?;
        self.store.verify(&manifest)?;
        Ok(manifest)
    }

    /// The newest checkpoint of the history that can be read. One that is older than the newest only if no output past
    /// it is visible.
    fn newest(
        &mut self,
        plan: &Plan,
        config: &Config,
        identity: &Identity,
    ) -> Result<Option<Manifest>, Error> {
        let mut damaged: Option<(u64, StoreError)> = None;
        let mut chosen = None;
        for (id, manifest) in std::mem::take(&mut self.found) {
            let began_here = identity.began_at == Some(id);
            match manifest.and_then(|manifest| self.store.verify(&manifest).map(|()| manifest)) {
                Ok(manifest) if manifest.lineage != identity.lineage && !began_here => {}
                Ok(manifest) => {
                    chosen = Some(manifest);
                    break;
                }
                Err(error @ StoreError::NewerFormat { .. }) => return Err(error.into()),
                // It may be readable again the next time, when what was prepared for it would be gone.
                Err(error @ StoreError::Io { .. }) => {
                    return Err(Error::state(format!(
                        "checkpoint {id} cannot be read: {}; start the job again when it can, or remove the folder of the \
                         checkpoint to go on from an older one",
                        chain_of(&error)
                    )));
                }
                Err(error) => {
                    tracing::error!(checkpoint = id, error = %shown(&error), "a checkpoint is damaged");
                    damaged.get_or_insert((id, error));
                }
            }
        }
        if !config.accept_duplicates {
            self.refuse_lost_output(plan, identity, chosen.as_ref(), damaged.as_ref())?;
        }
        match (&chosen, damaged) {
            (Some(manifest), Some((id, _))) => {
                tracing::warn!(damaged = id, taken = manifest.checkpoint, "an older checkpoint is taken");
            }
            (None, Some((id, error))) => {
                return Err(Error::state(format!(
                    "checkpoint {id} is damaged and there is no older one: restore it, or start with `Resume::Nothing`: {}",
                    chain_of(&error)
                )));
            }
            (None, None) => self.refuse_lost_checkpoints(identity)?,
            (Some(_), None) => {}
        }
        Ok(chosen)
    }

    /// Refuses to begin at the start where there was a checkpoint.
    fn refuse_lost_checkpoints(&self, identity: &Identity) -> Result<(), Error> {
        let Some(newest) = identity.newest else { return Ok(()) };
        Err(Error::state(format!(
            "checkpoint {newest}, which the job had at its last start, is gone, and so are all others: there is no {} and no \
             later one. Put them back, or begin anew with `Resume::Nothing`",
            self.path(&format!("chk-{newest}/manifest"))
        )))
    }

    /// Refuses to go on from before what exactly-once sinks have shown already.
    fn refuse_lost_output(
        &self,
        plan: &Plan,
        identity: &Identity,
        chosen: Option<&Manifest>,
        damaged: Option<&(u64, StoreError)>,
    ) -> Result<(), Error> {
        let from = chosen.map_or(0, |manifest| manifest.checkpoint);
        for node in &plan.nodes {
            let committed = node.build.committed_through(&identity.lineage, self.outputs);
            let Some(committed) = committed.map_err(|error| error.of(&node.name))? else { continue };
            if committed <= from {
                continue;
            }
            let gone = || {
                let manifest = self.path(&format!("chk-{committed}/manifest"));
                format!("its checkpoint is gone: there is no {manifest} and no later one")
            };
            let why = damaged.map_or_else(gone, |(_, error)| chain_of(error));
            return Err(Error::state(format!(
                "`{}` has shown output up to checkpoint {committed}{}, but the newest that can be read in {} is {}: going on \
                 from there would show records twice. Restore checkpoint {committed}, or accept duplicates with \
                 `Config::accept_duplicates`. What is wrong: {why}",
                node.name,
                place_of(node),
                self.path(""),
                chosen.map_or("none".to_string(), |manifest| manifest.checkpoint.to_string())
            )));
        }
        Ok(())
    }

    fn unusable_identity(&self, error: StoreError) -> Error {
        let what = chain_of(&error);
        match error {
            StoreError::Damaged { .. } => {
                Error::state(format!("{what}. It tells the history of the job. {}", self.way_out()))
            }
            error => error.into(),
        }
    }
}

/// Where the output of a sink is, as it is told to people, if that is a folder.
fn place_of(node: &PlannedNode) -> String {
    node.build.folder().map_or(String::new(), |folder| format!(" in {}", folder.display()))
}

/// Whether what the folder holds is of the history that the configuration speaks of: the one that began at its
/// savepoint, if it names one.
pub(super) fn is_of_history(config: &Config, before: Option<&Identity>) -> bool {
    let Some((uri, _)) = &config.start_from else { return true };
    let began_from = before.and_then(|identity| identity.began_from.as_ref());
    began_from.is_some_and(|began_from| SnapshotPlace::is_same(began_from, uri))
}

/// The savepoint to go on from: the one that is configured, unless the job has made a checkpoint since it began there.
pub(super) fn savepoint_to_start_from(
    config: &Config,
    outputs: &Fs,
    before: Option<&Identity>,
    has_checkpoint: bool,
) -> Result<Option<(SnapshotPlace, Manifest)>, Error> {
    let Some((uri, _)) = &config.start_from else {
        return match before.and_then(|identity| identity.began_from.as_ref()) {
            Some(uri) if config.resume == Resume::Latest && !has_checkpoint => Err(Error::config(format!(
                "the job began at the savepoint {uri} and has no checkpoint of its own yet: say so once more with \
                 `Config::start_from(\"{uri}\", …)`, or begin anew with `Resume::Nothing`"
            ))),
            _ => Ok(None),
        };
    };
    if config.resume != Resume::Latest {
        return Err(Error::config("a job starts from a savepoint or as `Config::resume` says, not both"));
    }
    if has_checkpoint && is_of_history(config, before) {
        return Ok(None);
    }
    let place = SnapshotPlace::parse_on(uri, outputs)?;
    let manifest = watershed_state::read_savepoint(&place)?;
    Ok(Some((place, manifest)))
}
