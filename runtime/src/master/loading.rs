//! Reading what tasks restart from: parts of a checkpoint, each by a job of its own beside the control plane.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use watershed_actors::{Restored, TaskId};
use watershed_state::{InstancePart, SavedInstance, read_saved};

use crate::event::Event;
use crate::event::Unread;
use crate::host::EventSink;
use crate::master::Master;
use crate::plan::Plan;

/// What each instance has saved, for each actor.
pub(super) type Read = BTreeMap<usize, Vec<SavedInstance>>;

/// What is shared by the jobs that read parts.
struct Loading {
    events: Arc<dyn EventSink>,
    progress: Mutex<Progress>,
}

struct Progress {
    /// Jobs that are not done yet.
    waiting: usize,
    nodes: Read,
    failed: Option<Unread>,
    /// Makes the event of it, once all is read.
    done: Option<Done>,
}

type Done = Box<dyn FnOnce(Result<Read, Unread>) -> Event + Send>;

impl Master {
    /// Reads the parts that a region restarts from.
    pub(super) fn load_region(&self, region: usize, run: u64, parts: &BTreeMap<TaskId, InstancePart>) {
        let process_run = self.process_run;
        let restored =
            move |instances| Arc::new(Restored { instances, from_this_process: true, process_run });
        self.load(parts, move |read| {
            let nodes = |read: Read| read.into_iter().map(|(node, instances)| (node, restored(instances)));
            let result = read.map(|read| nodes(read).collect()).map_err(|unread| unread.reason);
            Event::Loaded { region, run, result }
        });
    }

    /// Reads parts. The last job tells the control plane.
    pub(super) fn load(
        &self,
        parts: &BTreeMap<TaskId, InstancePart>,
        done: impl FnOnce(Result<Read, Unread>) -> Event + Send + 'static,
    ) {
        let surroundings = self.host.surroundings();
        let files = parts.iter().filter(|(_, part)| part.file.is_some());
        let files: Vec<_> = files.map(|(task, part)| (*task, part.clone())).collect();
        let loading = Arc::new(Loading {
            events: Arc::clone(&surroundings.events),
            progress: Mutex::new(Progress {
                waiting: files.len(),
                nodes: no_sections(&self.plan, parts),
                failed: None,
                done: Some(Box::new(done)),
            }),
        });
        if files.is_empty() {
            loading.tell();
        }
        for (task, part) in files {
            let (loading, store) = (Arc::clone(&loading), self.store.clone());
            let planned = self.plan.task(task);
            surroundings.pool.run(Box::new(move || {
                let read = read_saved(store.objects(), &part).map_err(|error| Unread::from(&error));
                loading.take(planned.node.0, planned.instance, read);
            }));
        }
    }
}

/// Nothing yet, for each instance of each actor that has a part.
fn no_sections(plan: &Plan, parts: &BTreeMap<TaskId, InstancePart>) -> Read {
    let nodes = parts.keys().map(|task| plan.task(*task).node.0);
    nodes.map(|node| (node, vec![SavedInstance::default(); plan.nodes[node].parallelism])).collect()
}

impl Loading {
    /// A part was read, or could not be.
    fn take(&self, node: usize, instance: usize, read: Result<SavedInstance, Unread>) {
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
        let (failed, done) = (progress.failed.take(), progress.done.take());
        drop(progress);
        if let Some(done) = done {
            self.events.event(done(failed.map_or(Ok(nodes), Err)));
        }
    }
}
