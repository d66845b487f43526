//! Whether what a snapshot holds fits the topology, and reading it.

use std::collections::BTreeMap;
use std::sync::Arc;

use watershed_actors::{Restored, SavedWatermarks};
use watershed_state::{Manifest, SectionKind, SnapshotPlace, StoreError, hash_canary, read_saved, shown};

use crate::config::Config;
use crate::error::Error;
use crate::plan::{LETTER_SINK, Plan, PlannedNode};

/// The error with the file that it is about: the manifest of this checkpoint, or of the savepoint if it is none.
pub(super) fn in_snapshot(place: &SnapshotPlace, checkpoint: Option<&Manifest>, error: &Error) -> Error {
    let name =
        checkpoint.map_or("manifest".to_string(), |chosen| format!("chk-{}/manifest", chosen.checkpoint));
    let path = place.objects.location(&name);
    Error::new(error.kind, format!("{error} (it is about {})", path.display()))
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
pub(super) fn check_manifest(plan: &Plan, config: &Config, manifest: &Manifest) -> Result<(), Error> {
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
pub(super) fn load(
    plan: &Plan,
    place: &SnapshotPlace,
    is_savepoint: bool,
    manifest: &Manifest,
    process_run: u64,
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
        fits.map_err(|error| error.of(&node.name))?;
        restored.insert(index, Arc::new(saved));
    }
    Ok(restored)
}

/// Refuses a checkpoint with the watermark of an `event_time` that its actor does not have any more: those that are
/// late now would be taken again.
pub(super) fn compare_event_times(
    plan: &Plan,
    config: &Config,
    restored: &mut BTreeMap<usize, Arc<Restored>>,
) -> Result<(), Error> {
    for (node, restored) in restored {
        let PlannedNode { name: actor, event_times, .. } = &plan.nodes[*node];
        let saved = SavedWatermarks::of(restored)
            .map_err(|error| Error::state(watershed_actors::chain_of(&error)))?;
        let names = match saved {
            SavedWatermarks::Named(names) => names,
            SavedWatermarks::Placed(saved) if saved == event_times.len() => {
                if saved > 1 {
                    tracing::warn!(
                        operator = %shown(actor), event_times = saved,
                        "the checkpoint is of a version that told event times apart by the order of their wiring: they are \
                         taken to be wired in the order that they had then"
                    );
                }
                continue;
            }
            SavedWatermarks::Placed(_) if config.dropped.contains(&format!("{actor}:event_time")) => {
                tracing::warn!(operator = %shown(actor), "the watermarks of its event times are dropped, as asked");
                for saved in &mut Arc::make_mut(restored).instances {
                    saved.sections.retain(|section| section.kind != SectionKind::ChainState);
                }
                continue;
            }
            SavedWatermarks::Placed(saved) => {
                return Err(Error::config(format!(
                    "the checkpoint has watermarks of {saved} event times that are fused into `{actor}`, which has {} now. It is of a \
                     version that did not name them, so that it cannot be told which is which: wire them as they were, or drop \
                     them with `Config::drop_state_of(\"{actor}:event_time\")`: event time begins anew in them then, while \
                     actors behind them keep how far it had come",
                    event_times.len()
                )));
            }
        };
        for name in names.iter().filter(|name| !event_times.contains(name)) {
            let place = format!("{actor}:{name}");
            if config.dropped.contains(&place) {
                tracing::warn!(
                    operator = %shown(actor), event_time = %shown(name),
                    "the `event_time` is gone: its watermark is dropped, as asked"
                );
                continue;
            }
            let now = match event_times.as_slice() {
                [] => "now it has none".to_string(),
                names => format!("now it has `{}`", names.join("`, `")),
            };
            return Err(Error::config(format!(
                "`{actor}`: the checkpoint has the watermark of the `event_time` called `{name}`, which is not fused into it any \
                 more; {now}. Give it its name back with `Lateness::named`, or drop the watermark with \
                 `Config::drop_state_of(\"{place}\")`: actors behind it keep how far event time had come"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use watershed_actors::Lateness;
    use watershed_actors::sinks::SinkFn;
    use watershed_actors::sources::Generator;
    use watershed_state::{SavedInstance, Section, encode};

    use super::*;
    use crate::Topology;

    /// A source with these event times, each on a way of its own.
    fn plan(event_times: &[&str]) -> Plan {
        let topology = Topology::new("numbers");
        let numbers = topology.source("numbers", Generator::bounded(9, |n| n)).parallelism(1);
        numbers.for_each(|_| {});
        for name in event_times {
            let timed = numbers.event_time(|n: &u64| *n as i64, Lateness::none().named(name));
            timed.sink(&format!("sink-{name}"), SinkFn::new(|_| |_: u64| Ok(())));
        }
        topology.plan(&Config::local()).unwrap()
    }

    /// What a version before names has saved of so many.
    fn placed(watermarks: &[i64]) -> BTreeMap<usize, Arc<Restored>> {
        let mut bytes = Vec::new();
        encode(&watermarks, &mut bytes).unwrap();
        let section = Section { kind: SectionKind::ChainState, group: 0, entries: 1, bytes };
        let instances = vec![SavedInstance::from(vec![section])];
        BTreeMap::from([(0, Arc::new(Restored { instances, ..Restored::default() }))])
    }

    #[test]
    fn event_times_that_were_saved_without_names_are_taken_if_there_are_as_many_or_dropped_if_asked() {
        let config = || Config::local();
        compare_event_times(&plan(&["a", "b"]), &config(), &mut placed(&[1, 2])).unwrap();
        for now in [&[][..], &["a"], &["a", "b", "c"]] {
            let mut restored = placed(&[1, 2]);
            let error = compare_event_times(&plan(now), &config(), &mut restored).unwrap_err().to_string();
            let says = format!(
                "has watermarks of 2 event times that are fused into `numbers`, which has {}",
                now.len()
            );
            assert!(
                error.contains(&says) && error.contains("drop_state_of(\"numbers:event_time\")"),
                "{error}"
            );
            let dropping = config().drop_state_of("numbers:event_time");
            compare_event_times(&plan(now), &dropping, &mut restored).unwrap();
            assert_eq!(SavedWatermarks::of(&restored[&0]).unwrap(), SavedWatermarks::Named([].into()));
        }
    }
}
