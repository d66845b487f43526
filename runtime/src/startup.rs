//! What a process begins with: which checkpoint, which history, and whether that is allowed.

mod event_time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use watershed_actors::{Clock, Restored, saved_replays, saved_splits};
use watershed_state::bug::{self, Bug};
use watershed_state::{
    CheckpointStore, Fs, Identity, Manifest, Objects, SnapshotId, SnapshotPlace, StateBackend, StoreError,
    hash_canary, hash_key, read_saved, shown,
};

use crate::claims::Claims;
use crate::config::{Config, Resume};
use crate::dead_letters::REQUESTS;
use crate::error::Error;
use crate::graph::NodeKind;
use crate::master::Poison;
use crate::plan::{LETTER_SINK, Plan};
use crate::savepoint::Claim;
use crate::scratch::{Scratch, ScratchPlace};
use crate::tree::CheckpointNode;

/// Run numbers reserved at once.
pub(crate) const RUN_BLOCK: u32 = 64;
/// Checkpoint ids reserved at once.
pub(crate) const CHECKPOINT_BLOCK: u64 = 64;

/// What the control plane begins with.
pub(crate) struct Start {
    /// The plan, as the job was left.
    pub(crate) plan: Plan,
    pub(crate) store: CheckpointStore,
    pub(crate) identity: Identity,
    /// First run of this process.
    pub(crate) run: u32,
    /// What it goes on from.
    pub(crate) checkpoint: Option<u64>,
    /// What is known of that.
    pub(crate) checkpoint_made: Option<CheckpointNode>,
    pub(crate) restored: BTreeMap<usize, Arc<Restored>>,
    /// What is known of records that make operators fail.
    pub(crate) poison: Poison,
    /// The savepoint that it goes on from, if the job owns it.
    pub(crate) claimed: Option<(SnapshotPlace, SnapshotId)>,
    /// For databases.
    pub(crate) scratch: Scratch,
    /// The output that is this process's alone.
    pub(crate) claims: Claims,
    /// The job had finished, and there is nothing new to read.
    pub(crate) already_finished: bool,
}

/// Opens the checkpoints and decides what to go on from.
pub(crate) fn start(
    (plan, splits): (Plan, &Splits),
    config: &Config,
    (checkpoints, scratch): (Objects, ScratchPlace),
    outputs: &Fs,
    clock: &dyn Clock,
) -> Result<Start, Error> {
    let store = CheckpointStore::open(checkpoints)?;
    let any_database = plan.nodes.iter().any(|node| !matches!(node.state, StateBackend::Memory));
    let scratch = scratch.take(any_database)?;
    if any_database {
        scratch.check_writable()?;
    }
    let before = store.identity().map_err(unusable_identity)?;
    // The history goes on only where it is taken up at its end.
    let same_history = config.resume == Resume::Latest && is_of_history(config, before.as_ref());
    let (plan, rescaled) = match &before {
        Some(identity) if same_history => plan.goes_on_from(&identity.rescaled, config),
        _ => (plan, Vec::new()),
    };
    let mut chosen = choose(&plan, config, &store, before.as_ref(), outputs)?;
    let savepoint = savepoint_to_start_from(config, outputs, before.as_ref(), chosen.is_some())?;
    let begins_at_savepoint = savepoint.is_some();
    let mut place = SnapshotPlace::from(Arc::clone(store.objects()));
    if let Some((from, manifest)) = savepoint {
        (place, chosen) = (from, Some(manifest));
    }
    let mut restored = BTreeMap::new();
    let (mut run_before, mut reserved) = match &before {
        Some(identity) => (identity.run, identity.reserved_checkpoints),
        None => highest_used(&store)?,
    };
    if let Some(manifest) = chosen.as_ref().filter(|_| begins_at_savepoint) {
        // Numbers that stand in names of what it has prepared are not used again.
        (run_before, reserved) = (run_before.max(manifest.run), reserved.max(manifest.checkpoint));
    }
    let run = if bug::is(Bug::RunReusedByNextProcess) { 1 } else { run_before + 1 };
    if let Some(manifest) = &chosen {
        check_manifest(&plan, config, manifest)?;
        if !begins_at_savepoint {
            store.settle(manifest.checkpoint)?;
        }
        restored = load(&plan, &place, begins_at_savepoint, manifest, run)?;
        event_time::reset(config, manifest, &mut restored);
    }
    let new_splits = compare_splits(&plan, splits, &restored)?;
    let lineage = match &before {
        Some(identity) if same_history => identity.lineage.clone(),
        _ => new_lineage(clock, run, config.simulation.is_some()),
    };
    let (began_from, began_with) = match (&config.start_from, &before) {
        (Some((uri, _)), _) if begins_at_savepoint => (Some(uri.clone()), chosen.as_ref().map(Manifest::id)),
        (_, Some(identity)) if same_history => (identity.began_from.clone(), identity.began_with.clone()),
        _ => (None, None),
    };
    let began_at = match config.resume {
        Resume::Latest if !same_history => None,
        Resume::Latest => before.and_then(|identity| identity.began_at),
        Resume::Nothing => None,
        Resume::From(checkpoint) => Some(checkpoint),
    };
    let (run_reserved, reserved_checkpoints) = (run + RUN_BLOCK, reserved);
    let identity = Identity {
        lineage,
        run: run_reserved,
        reserved_checkpoints,
        began_at,
        began_from,
        rescaled,
        began_with,
    };
    let claims = Claims::find((&plan, config), &store, (&identity.lineage, run), outputs, clock)?;
    store.save_identity(&identity)?;
    let claims = claims.mark()?;
    let requests = config.dead_letter_folder().map(|folder| (Arc::clone(outputs), folder.join(REQUESTS)));
    let mut poison = Poison::open(&store, requests)?;
    let nothing_new = !new_splits && !any_replay(&plan, &mut poison, &restored)?;
    let already_finished = chosen.as_ref().is_some_and(|manifest| manifest.finished) && nothing_new;
    let checkpoint_made = chosen.as_ref().map(node_of);
    let checkpoint = checkpoint_made.as_ref().map(|made| made.id);
    // A process that was killed may not have come to remove it. There may be another one in the same place by now.
    let claimed = match (&config.start_from, &identity.began_with) {
        (Some((uri, Claim::Yes)), Some(which)) => {
            Some((SnapshotPlace::parse_on(uri, outputs)?, which.clone()))
        }
        _ => None,
    };
    // An earlier process may have died before it came to it, one after the other.
    let pinned: Vec<u64> = checkpoint.into_iter().collect();
    if let Err(error) = store.collect(config.retain, &pinned) {
        tracing::warn!(error = %shown(error), "old checkpoints could not be collected");
    }
    Ok(Start {
        plan,
        store,
        identity,
        run,
        checkpoint,
        checkpoint_made,
        restored,
        poison,
        claimed,
        scratch,
        claims,
        already_finished,
    })
}

fn node_of(manifest: &Manifest) -> CheckpointNode {
    CheckpointNode {
        id: manifest.checkpoint,
        completed_ms: manifest.created_ms,
        duration_ms: manifest.duration_ms,
        bytes: manifest.files().map(|part| part.len).sum(),
        new_bytes: manifest.new_bytes(),
    }
}

/// Whether a dead letter is to be replayed that has not been.
fn any_replay(
    plan: &Plan,
    poison: &mut Poison,
    restored: &BTreeMap<usize, Arc<Restored>>,
) -> Result<bool, Error> {
    let mut any = false;
    let operators: Vec<String> = poison.letters.operators().map(str::to_string).collect();
    for operator in &operators {
        let Some(node) = plan.nodes.iter().position(|node| *node.name == **operator) else {
            tracing::error!(
                operator = %shown(operator),
                "there are dead letters to be replayed of an operator that does not exist"
            );
            continue;
        };
        let done = restored.get(&node).map_or(Ok(BTreeSet::new()), |restored| saved_replays(restored));
        let done = done.map_err(|failure| Error::state(failure.cause))?;
        any |= poison.letters.restored(operator, &done);
    }
    Ok(any)
}

fn unusable_identity(error: StoreError) -> Error {
    let what = watershed_actors::chain_of(&error);
    match error {
        StoreError::Damaged { .. } => Error::state(format!(
            "{what}: restore the file, which tells the history of the job; or remove it and name a checkpoint with \
             `Resume::From`"
        )),
        error => error.into(),
    }
}

/// The highest run and checkpoint that is known of where the file that counts them is missing.
fn highest_used(store: &CheckpointStore) -> Result<(u32, u64), Error> {
    let found = store.scan()?;
    let checkpoint = found.first().map_or(0, |(id, _)| *id);
    let runs = found.iter().filter_map(|(_, manifest)| manifest.as_ref().ok()).map(|manifest| manifest.run);
    Ok((runs.max().unwrap_or(0), checkpoint))
}

/// The ids of the splits of each source.
pub(crate) type Splits = BTreeMap<usize, Vec<String>>;

/// Asks the sources for their splits.
fn known_splits(plan: &Plan) -> Result<Splits, Error> {
    let mut splits = BTreeMap::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let found = node.build.splits().map_err(|error| named(&node.name, &error))?;
        if let Some(found) = found {
            if found.is_empty() {
                tracing::warn!(
                    source = %shown(&node.name),
                    "the source has nothing to read: its input is empty, as a folder without files is"
                );
            }
            splits.insert(index, found);
        }
    }
    Ok(splits)
}

/// Looks for what would keep an actor from working. Returns what the sources have to read.
pub(crate) fn check_nodes(plan: &Plan, outputs: &Fs) -> Result<Splits, Error> {
    for node in &plan.nodes {
        node.build.check(outputs).map_err(|error| named(&node.name, &error))?;
    }
    known_splits(plan)
}

fn named(operator: &str, error: &Error) -> Error {
    Error::new(error.kind, format!("`{operator}`: {error}"))
}

fn new_lineage(clock: &dyn Clock, run: u32, simulated: bool) -> String {
    let process = if simulated { 0 } else { std::process::id() };
    format!("{:016x}", hash_key(&(clock.wall_ms(), clock.nanos(), process, run)))
}

/// Whether what the folder holds is of the history that the configuration speaks of: the one that began at its savepoint, if
/// it names one.
fn is_of_history(config: &Config, before: Option<&Identity>) -> bool {
    let Some((uri, _)) = &config.start_from else { return true };
    let began_from = before.and_then(|identity| identity.began_from.as_ref());
    began_from.is_some_and(|began_from| SnapshotPlace::is_same(began_from, uri))
}

/// The savepoint to go on from: the one that is configured, unless the job has made a checkpoint since it began there.
fn savepoint_to_start_from(
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

/// The checkpoint to go on from.
fn choose(
    plan: &Plan,
    config: &Config,
    store: &CheckpointStore,
    before: Option<&Identity>,
    outputs: &Fs,
) -> Result<Option<Manifest>, Error> {
    match (config.resume, before) {
        (Resume::Nothing, _) => Ok(None),
        (Resume::Latest, before) if !is_of_history(config, before) => Ok(None),
        (Resume::Latest, None) => {
            if let Some((id, _)) = store.scan()?.first() {
                return Err(Error::state(format!(
                    "{} holds checkpoint {id} but not the file `job` that tells its history: put it back, or name the \
                     checkpoint with `Resume::From({id})`",
                    store.objects().location("").display()
                )));
            }
            Ok(None)
        }
        (Resume::From(wanted), _) => {
            let found = store.scan()?.into_iter().find(|(id, _)| *id == wanted);
            let Some((_, manifest)) = found else {
                return Err(Error::config(format!(
                    "there is no checkpoint {wanted} in {}",
                    store.objects().location("").display()
                )));
            };
            let manifest = manifest?;
            store.verify(&manifest)?;
            Ok(Some(manifest))
        }
        (Resume::Latest, Some(identity)) => newest(plan, config, store, identity, outputs),
    }
}

/// The newest checkpoint of the history that can be read. One that is older than the newest only if no output past it
/// is visible.
fn newest(
    plan: &Plan,
    config: &Config,
    store: &CheckpointStore,
    identity: &Identity,
    outputs: &Fs,
) -> Result<Option<Manifest>, Error> {
    let mut damaged: Option<(u64, StoreError)> = None;
    let mut chosen = None;
    for (id, manifest) in store.scan()? {
        let began_here = identity.began_at == Some(id);
        match manifest.and_then(|manifest| store.verify(&manifest).map(|()| manifest)) {
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
                    watershed_actors::chain_of(&error)
                )));
            }
            Err(error) => {
                tracing::error!(checkpoint = id, error = %shown(&error), "a checkpoint is damaged");
                damaged.get_or_insert((id, error));
            }
        }
    }
    if !config.accept_duplicates {
        refuse_lost_output(plan, identity, chosen.as_ref(), damaged.as_ref(), outputs)?;
    }
    match (&chosen, damaged) {
        (Some(manifest), Some((id, _))) => {
            tracing::warn!(damaged = id, taken = manifest.checkpoint, "an older checkpoint is taken");
        }
        (None, Some((id, error))) => {
            return Err(Error::state(format!(
                "checkpoint {id} is damaged and there is no older one: restore it, or start with `Resume::Nothing`: {}",
                watershed_actors::chain_of(&error)
            )));
        }
        _ => {}
    }
    Ok(chosen)
}

/// Refuses to go on from before what exactly-once sinks have shown already.
fn refuse_lost_output(
    plan: &Plan,
    identity: &Identity,
    chosen: Option<&Manifest>,
    damaged: Option<&(u64, StoreError)>,
    outputs: &Fs,
) -> Result<(), Error> {
    let from = chosen.map_or(0, |manifest| manifest.checkpoint);
    for node in &plan.nodes {
        let committed = node.build.committed_through(&identity.lineage, outputs);
        let Some(committed) = committed.map_err(|error| named(&node.name, &error))? else { continue };
        if committed > from {
            let why = damaged
                .map_or("its checkpoint is gone".to_string(), |(_, error)| watershed_actors::chain_of(error));
            return Err(Error::state(format!(
                "`{}` has shown output up to checkpoint {committed}, but the newest that can be read is {}: going on from \
                 there would show records twice. Restore checkpoint {committed}, or accept duplicates with \
                 `Config::accept_duplicates`. What is wrong: {why}",
                node.name,
                chosen.map_or("none".to_string(), |manifest| manifest.checkpoint.to_string())
            )));
        }
    }
    Ok(())
}

/// What to do if an operator has a sink for dead letters in the checkpoint and none now.
fn no_quarantine(operator: &str) -> String {
    let sink = format!("{operator}{LETTER_SINK}");
    format!(
        "the checkpoint has dead letters of `{operator}`, which puts no records into quarantine now. If the process before \
         was killed, its last letters may be prepared and not visible yet. To keep them, start once more with the \
         supervision that `{operator}` had, and stop the job; then, or if letters that are not visible may be lost, give \
         the sink up with `Config::drop_state_of(\"{sink}\")`. Letters that are visible stay where they are"
    )
}

/// Refuses a checkpoint that belongs to another topology or another way of dividing keys.
fn check_manifest(plan: &Plan, config: &Config, manifest: &Manifest) -> Result<(), Error> {
    if manifest.hash_canary != hash_canary() {
        return Err(Error::state(
            "the checkpoint was made with another hash of keys (another compiler may hash a standard type differently): \
             its state cannot be divided among instances",
        ));
    }
    if !plan.is_of(&manifest.topology) {
        return Err(Error::config(format!(
            "the checkpoint belongs to topology `{}`, this is `{}`: use another checkpoint folder, say that it was called so \
             with `Topology::formerly`, or begin anew with `Resume::Nothing`",
            manifest.topology, plan.topology
        )));
    }
    for operator in &manifest.operators {
        let Some(node) = plan.called(&operator.name).map(|index| &plan.nodes[index]) else {
            if config.dropped.contains(&operator.name) {
                tracing::warn!(operator = %shown(&operator.name), "its state is dropped, as asked");
                continue;
            }
            if let Some(quarantined) = operator.name.strip_suffix(LETTER_SINK) {
                return Err(Error::config(no_quarantine(quarantined)));
            }
            return Err(Error::config(format!(
                "the checkpoint holds state of `{}`, which the topology does not have: put it back, say which actor was \
                 called so with `formerly(\"{}\")`, or drop its state with `Config::drop_state_of(\"{}\")`",
                operator.name, operator.name, operator.name
            )));
        };
        if node.kind.name() != operator.kind {
            return Err(Error::config(format!(
                "the checkpoint has `{}` as {}, but now it is of kind {}: give it another name",
                operator.name,
                operator.kind,
                node.kind.name()
            )));
        }
        let was_keyed = operator.key_groups > 0;
        if was_keyed != node.keyed {
            let by = |keyed| if keyed { "key" } else { "instance" };
            return Err(Error::config(format!(
                "`{}` has its state by {} in the checkpoint and by {} now: give it another name",
                operator.name,
                by(was_keyed),
                by(node.keyed)
            )));
        }
        let groups = config.key_groups.count();
        if was_keyed && operator.key_groups != groups {
            return Err(Error::config(format!(
                "`{}` has {} key groups in the checkpoint and {groups} now, which cannot be changed: set \
                 `Config::key_groups({})`",
                operator.name, operator.key_groups, operator.key_groups
            )));
        }
    }
    Ok(())
}

/// Reads all parts.
fn load(
    plan: &Plan,
    place: &SnapshotPlace,
    is_savepoint: bool,
    manifest: &Manifest,
    process_run: u32,
) -> Result<BTreeMap<usize, Arc<Restored>>, Error> {
    let mut restored = BTreeMap::new();
    for operator in &manifest.operators {
        let Some(index) = plan.called(&operator.name) else { continue };
        if restored.contains_key(&index) {
            return Err(Error::config(format!(
                "the snapshot holds state of `{}` and of another operator that is called `{}` now: one actor cannot have both",
                operator.name, plan.nodes[index].name
            )));
        }
        let parts = operator.instances.iter();
        let read = |part| {
            let mut saved = read_saved(&place.objects, part)?;
            if let Some(database) = &mut saved.database {
                database.can_be_shared = !is_savepoint;
            }
            Ok(saved)
        };
        let instances = parts.map(read).collect::<Result<_, StoreError>>()?;
        let saved = Restored { instances, from_this_process: false, process_run };
        let node = &plan.nodes[index];
        let fits = node.build.check_restored(&saved, node.parallelism);
        fits.map_err(|error| named(&node.name, &error))?;
        restored.insert(index, Arc::new(saved));
    }
    Ok(restored)
}

/// Whether a source has splits that the checkpoint does not know, or may always have more. Refuses to start if one is gone that had not been read
/// to its end.
fn compare_splits(
    plan: &Plan,
    splits: &Splits,
    restored: &BTreeMap<usize, Arc<Restored>>,
) -> Result<bool, Error> {
    let mut any_new = false;
    for (node, splits) in splits {
        let listed: BTreeSet<&str> = splits.iter().map(String::as_str).collect();
        let saved = restored.get(node).map_or(Ok(Vec::new()), |restored| saved_splits(restored));
        let saved = saved.map_err(|error| Error::state(watershed_actors::chain_of(&error)))?;
        if let Some((gone, _)) =
            saved.iter().find(|(id, finished)| !finished && !listed.contains(id.as_str()))
        {
            return Err(Error::config(format!(
                "`{}`: `{gone}` had not been read to its end at the checkpoint and is not among its input now: put it back, \
                 cut the input into splits as before, or start with `Resume::Nothing`",
                plan.nodes[*node].name
            )));
        }
        let known: BTreeSet<&str> = saved.iter().map(|(id, _)| id.as_str()).collect();
        any_new |= !listed.is_subset(&known) || !plan.nodes[*node].build.is_bounded();
    }
    Ok(any_new)
}

/// Whether something in the plan shows output only with a checkpoint.
pub(crate) fn has_two_phase_sink(plan: &Plan) -> bool {
    plan.nodes.iter().any(|node| node.kind == NodeKind::TwoPhaseSink)
}
