//! Questions about the state of a key: they go to all instances of the operator, and the one that has the key answers.

use std::sync::{Arc, Mutex, PoisonError};

use watershed_actors::{Query, QueryError, QueryKey, Reading};

use crate::error::{Error, ErrorKind};
use crate::event::Answered;
use crate::event::Reply;
use crate::master::Master;
use crate::master::region::Phase;
use crate::plan::PlannedNode;
use crate::tree::ActorKind;

/// The answers of the instances of an operator, until one says it all.
struct Gathering {
    operator: String,
    reply: Option<Reply<Answered>>,
    waiting: usize,
    /// Why the answer may have been that of one who did not give it.
    failed: Option<QueryError>,
}

impl Gathering {
    /// An instance has answered. Returns what is to be said, if that is known now.
    fn take(&mut self, answer: Result<Reading, QueryError>) -> Option<(Reply<Answered>, Answered)> {
        self.waiting -= 1;
        let answered = match answer {
            Ok(Reading::State(found)) => Some(Ok(Some(found))),
            Ok(Reading::Nothing) => Some(Ok(None)),
            Ok(Reading::Elsewhere) => None,
            Err(error @ (QueryError::Busy | QueryError::Gone)) => {
                // Another one may have the key.
                self.failed.get_or_insert(error);
                None
            }
            Err(error) => Some(Err(refused(&self.operator, &error))),
        };
        let answered = answered.or_else(|| {
            (self.waiting == 0).then(|| match &self.failed {
                Some(error) => Err(refused(&self.operator, error)),
                None => Err(Error::internal(format!("no instance of `{}` has the key", self.operator))),
            })
        })?;
        Some((self.reply.take()?, answered))
    }
}

fn refused(operator: &str, error: &QueryError) -> Error {
    let kind = match error {
        QueryError::Fault(_) => ErrorKind::State,
        _ => ErrorKind::Config,
    };
    Error::new(kind, format!("`{operator}`: {error}"))
}

impl Master {
    /// Passes a question on to the operator, or says why not.
    pub(super) fn query(&self, operator: &str, key: &QueryKey, reply: Reply<Answered>) {
        let tasks = match self.who_answers(operator) {
            Ok(tasks) => tasks,
            Err(error) => return reply(Err(error)),
        };
        let (operator, waiting) = (operator.to_string(), tasks.len());
        let gathering = Gathering { operator, reply: Some(reply), waiting, failed: None };
        let gathering = Arc::new(Mutex::new(gathering));
        for (oversight, waker) in tasks {
            let gathering = Arc::clone(&gathering);
            oversight.ask(Query::new(key.clone(), move |answer| {
                let said = gathering.lock().unwrap_or_else(PoisonError::into_inner).take(answer);
                if let Some((reply, answered)) = said {
                    reply(answered);
                }
            }));
            waker.wake_task();
        }
    }

    /// How to reach the instances of an operator that can be asked.
    #[expect(clippy::type_complexity, reason = "as it is kept for each task")]
    fn who_answers(
        &self,
        operator: &str,
    ) -> Result<Vec<&(Arc<watershed_actors::Oversight>, Arc<watershed_actors::TaskWaker>)>, Error> {
        let names = || self.plan.nodes.iter().map(|node| format!("`{}`", node.name)).collect::<Vec<_>>();
        let Some(index) = self.plan.nodes.iter().position(|node| *node.name == *operator) else {
            let there = names().join(", ");
            return Err(Error::config(format!("there is no operator `{operator}`; there are {there}")));
        };
        has_state(&self.plan.nodes[index])?;
        if self.ending.is_some() {
            return Err(Error::config("the job ends"));
        }
        let mut reachable = Vec::new();
        for task in self.plan.tasks_of(index) {
            let running = self.regions[self.plan.task(task).region].phase == Phase::Running;
            if let Some(oversight) = &self.tasks[task.0 as usize].oversight
                && running
            {
                reachable.push(oversight);
            }
        }
        // With one region down, it may be that which has the key.
        if reachable.len() < self.plan.nodes[index].parallelism {
            return Err(Error::state(format!("`{operator}` is starting or restarting: ask again later")));
        }
        Ok(reachable)
    }
}

/// Refuses operators that never have state by key.
fn has_state(node: &PlannedNode) -> Result<(), Error> {
    let what = match node.kind {
        ActorKind::Source => "is a source",
        ActorKind::Sink | ActorKind::ExactlyOnceSink => "is a sink",
        ActorKind::Process if !node.keyed => "keeps its state per instance, not by key",
        ActorKind::Process => return Ok(()),
    };
    Err(Error::config(format!("`{}` {what}: it has no state that could be asked for", node.name)))
}
