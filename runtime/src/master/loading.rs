//! Reading what a region restarts from: its parts of a checkpoint, each by a job of its own beside the control plane.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use watershed_actors::{Restored, TaskId, chain_of};
use watershed_state::{InstancePart, SavedInstance, read_saved};

use crate::host::EventSink;
use crate::master::{Event, Master};
use crate::plan::Plan;

/// What is shared by the jobs that read the parts of a region.
struct Loading {
    region: usize,
    run: u32,
    process_run: u32,
    events: Arc<dyn EventSink>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Jobs that are not done yet.
    waiting: usize,
    /// What each instance has saved, for each actor.
    nodes: BTreeMap<usize, Vec<SavedInstance>>,
    failed: Option<String>,
}

impl Master {
    /// Reads the parts of a region. The last job tells the control plane.
    pub(super) fn load(&self, region: usize, run: u32, parts: &BTreeMap<TaskId, InstancePart>) {
        let surroundings = self.host.surroundings();
        let files = parts.iter().filter(|(_, part)| part.file.is_some());
        let files: Vec<_> = files.map(|(task, part)| (*task, part.clone())).collect();
        let loading = Arc::new(Loading {
            region,
            run,
            process_run: self.process_run,
            events: Arc::clone(&surroundings.events),
            progress: Mutex::new(Progress {
                waiting: files.len(),
                nodes: no_sections(&self.plan, parts),
                failed: None,
            }),
        });
        if files.is_empty() {
            loading.tell();
        }
        for (task, part) in files {
            let (loading, store) = (Arc::clone(&loading), self.store.clone());
            let planned = self.plan.task(task);
            surroundings.pool.run(Box::new(move || {
                let read = read_saved(store.objects(), &part).map_err(|error| chain_of(&error));
                loading.take(planned.node.0, planned.instance, read);
            }));
        }
    }
}

/// Nothing yet, for each instance of each actor that has a part.
fn no_sections(plan: &Plan, parts: &BTreeMap<TaskId, InstancePart>) -> BTreeMap<usize, Vec<SavedInstance>> {
    let nodes = parts.keys().map(|task| plan.task(*task).node.0);
    nodes.map(|node| (node, vec![SavedInstance::default(); plan.nodes[node].parallelism])).collect()
}

impl Loading {
    /// A part was read, or could not be.
    fn take(&self, node: usize, instance: usize, read: Result<SavedInstance, String>) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(saved) => {
                if let Some(instances) = progress.nodes.get_mut(&node) {
                    instances[instance] = saved;
                }
            }
            Err(error) => progress.failed = Some(error),
        }
        progress.waiting -= 1;
        let is_last = progress.waiting == 0;
        drop(progress);
        if is_last {
            self.tell();
        }
    }

    fn tell(&self) {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let nodes = std::mem::take(&mut progress.nodes);
        let failed = progress.failed.take();
        drop(progress);
        let process_run = self.process_run;
        let restored = |instances| Arc::new(Restored { instances, from_this_process: true, process_run });
        let result = match failed {
            None => Ok(nodes.into_iter().map(|(node, instances)| (node, restored(instances))).collect()),
            Some(error) => Err(error),
        };
        self.events.event(Event::Loaded { region: self.region, run: self.run, result });
    }
}
