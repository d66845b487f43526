//! What the sources have to read, and how that differs from what a checkpoint knows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use watershed_actors::{Restored, saved_splits};
use watershed_state::shown;

use crate::error::Error;
use crate::plan::Plan;

/// The ids of the splits of each source.
pub(crate) type Splits = BTreeMap<usize, Vec<String>>;

/// Asks the sources for their splits.
pub(super) fn known_splits(plan: &Plan) -> Result<Splits, Error> {
    let mut splits = BTreeMap::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        let found = node.build.splits().map_err(|error| error.of(&node.name))?;
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

/// Whether a source has splits that the checkpoint does not know, or may always have more. Refuses to start if one is
/// gone that had not been read to its end.
pub(super) fn compare_splits(
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
