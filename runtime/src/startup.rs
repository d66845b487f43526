//! What a process begins with: which checkpoint, which history, and whether that is allowed.

mod event_time;
mod fit;
mod history;
mod origin;
mod places;
mod splits;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use watershed_actors::{Clock, Restored, saved_replays};
use watershed_state::bug::{self, Bug};
use watershed_state::{
    CheckpointStore, Fs, Identity, Manifest, Objects, SnapshotId, SnapshotPlace, StateBackend, hash_key,
    shown,
};

use crate::claims::Claims;
use crate::config::{Config, Resume};
use crate::dead_letters::REQUESTS;
use crate::error::Error;
use crate::plan::Plan;
use crate::poison::Poison;
use crate::savepoint::Claim;
use crate::scratch::{Scratch, ScratchPlace};
use crate::tree::{ActorKind, CheckpointNode};
use history::{Past, is_of_history};
use origin::Origin;
use places::check_places;
pub(crate) use places::{check_savepoint, checkpoint_place};
pub(crate) use splits::Splits;
use splits::{compare_splits, known_splits};

/// Run numbers reserved at once.
pub(crate) const RUN_BLOCK: u64 = 64;
/// Checkpoint ids reserved at once.
pub(crate) const CHECKPOINT_BLOCK: u64 = 64;

/// What the control plane begins with.
pub(crate) struct Start {
    /// The plan, as the job was left.
    pub(crate) plan: Plan,
    pub(crate) store: CheckpointStore,
    pub(crate) identity: Identity,
    /// First run of this process.
    pub(crate) run: u64,
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
    check_places(&plan, config)?;
    let store = CheckpointStore::open(checkpoints)?;
    let scratch = take_scratch(&plan, scratch)?;
    let mut past = Past::read(&store, outputs)?;
    let before = past.identity.clone();
    // The history goes on only where it is taken up at its end.
    let before =
        before.filter(|identity| config.resume == Resume::Latest && is_of_history(config, Some(identity)));
    let (plan, rescaled) = match &before {
        Some(identity) => plan.goes_on_from(&identity.rescaled, config),
        None => (plan, Vec::new()),
    };
    let mut origin = Origin::choose(&mut past, (&plan, config), &store, outputs)?;
    let run = if bug::is(Bug::RunReusedByNextProcess) { 1 } else { origin.run_before + 1 };
    let restored = origin.restore((&plan, config), &store, run)?;
    let new_splits = compare_splits(&plan, splits, &restored).map_err(|error| origin.about(&error))?;
    let lineage = match &before {
        Some(identity) => identity.lineage.clone(),
        None => new_lineage(clock, (run, &store), config.simulation.is_some(), &origin.ancestors),
    };
    origin.ancestors.remove(&lineage);
    let identity = Identity {
        lineage,
        run: run + RUN_BLOCK,
        reserved_checkpoints: origin.reserved,
        rescaled,
        ancestors: Some(std::mem::take(&mut origin.ancestors)),
        newest: origin.own().map(|manifest| manifest.checkpoint),
        ..beginning(config, before, origin.savepoint())
    };
    let claims = Claims::find((&plan, config), &store, (&identity.lineage, run), outputs, clock)?;
    store.save_identity(&identity)?;
    let claims = claims.mark()?;
    let requests = config.dead_letter_folder().map(|folder| (Arc::clone(outputs), folder.join(REQUESTS)));
    let mut poison = Poison::open(&store, requests)?;
    let nothing_new = !new_splits && !any_replay(&plan, &mut poison, &restored)?;
    let already_finished = origin.manifest.as_ref().is_some_and(|made| made.finished) && nothing_new;
    let claimed = claimed_savepoint(config, &identity, outputs)?;
    let checkpoint_made = origin.manifest.as_ref().map(node_of);
    let checkpoint = checkpoint_made.as_ref().map(|made| made.id);
    // An earlier process may have died before it came to it, one after the other.
    let pinned: Vec<u64> = checkpoint.into_iter().collect();
    if let Err(error) = store.collect(config.retain, &pinned, u64::MAX) {
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

/// Takes the scratch folder, if there are databases.
fn take_scratch(plan: &Plan, place: ScratchPlace) -> Result<Scratch, Error> {
    let any_database = plan.nodes.iter().any(|node| !matches!(node.state, StateBackend::Memory));
    let scratch = place.take(any_database)?;
    if any_database {
        scratch.check_writable()?;
    }
    Ok(scratch)
}

/// The savepoint that the job owns since it began there. A process that was killed may not have come to remove it.
/// There may be another one in the same place by now.
fn claimed_savepoint(
    config: &Config,
    identity: &Identity,
    outputs: &Fs,
) -> Result<Option<(SnapshotPlace, SnapshotId)>, Error> {
    match (&config.start_from, &identity.began_with) {
        (Some((uri, Claim::Yes)), Some(which)) => {
            Ok(Some((SnapshotPlace::parse_on(uri, outputs)?, which.clone())))
        }
        _ => Ok(None),
    }
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

/// Where the history began: it goes on from `before`, begins at a savepoint, or as the configuration says.
fn beginning(config: &Config, before: Option<Identity>, savepoint: Option<&Manifest>) -> Identity {
    let nowhere = Identity::default();
    match (&config.start_from, savepoint, config.resume, before) {
        (Some((uri, _)), Some(manifest), ..) => {
            Identity { began_from: Some(uri.clone()), began_with: Some(manifest.id()), ..nowhere }
        }
        (.., Some(before)) => before,
        (.., Resume::From(checkpoint), None) => Identity { began_at: Some(checkpoint), ..nowhere },
        _ => nowhere,
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

/// Looks for what would keep an actor from working. Returns what the sources have to read.
pub(crate) fn check_nodes(plan: &Plan, outputs: &Fs) -> Result<Splits, Error> {
    for node in &plan.nodes {
        node.build.check(outputs).map_err(|error| error.of(&node.name))?;
    }
    known_splits(plan)
}

/// A name for a history that no other one has: in a simulation clocks and processes are all alike.
fn new_lineage(
    clock: &dyn Clock,
    (run, store): (u64, &CheckpointStore),
    simulated: bool,
    others: &BTreeSet<String>,
) -> String {
    let process = if simulated { 0 } else { std::process::id() };
    // So are the runs of two jobs, which have a folder each.
    let place = store.objects().location("").display().to_string();
    let mut drawn = hash_key(&(clock.wall_ms(), clock.nanos(), process, run, place));
    loop {
        let lineage = format!("{drawn:016x}");
        if !others.contains(&lineage) {
            return lineage;
        }
        drawn = hash_key(&drawn);
    }
}

/// Whether something in the plan shows output only with a checkpoint.
pub(crate) fn has_two_phase_sink(plan: &Plan) -> bool {
    plan.nodes.iter().any(|node| node.kind == ActorKind::ExactlyOnceSink)
}
