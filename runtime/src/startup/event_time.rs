//! Event time that begins anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use watershed_actors::Restored;
use watershed_state::{Manifest, SectionKind};

use crate::config::Config;

/// Forgets how far event time had come, if that is asked for. It is what operators know of their inputs and what is
/// fused into them remembers, which is watermarks and nothing else.
pub(super) fn reset(config: &Config, manifest: &Manifest, restored: &mut BTreeMap<usize, Arc<Restored>>) {
    if !config.reset_event_time && !manifest.event_time_reset {
        return;
    }
    tracing::warn!(
        checkpoint = manifest.checkpoint,
        asked_by = if config.reset_event_time { "Config::reset_event_time" } else { "the savepoint" },
        "event time begins anew: records that would have been late are taken again"
    );
    for saved in restored.values_mut().map(Arc::make_mut) {
        for instance in &mut saved.instances {
            let is_time = |kind| {
                matches!(
                    kind,
                    SectionKind::Watermarks | SectionKind::ChainState | SectionKind::FusedWatermarks
                )
            };
            instance.sections.retain(|section| !is_time(section.kind));
        }
    }
}
