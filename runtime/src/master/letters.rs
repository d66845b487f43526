//! Dead letters that are to be given back.

use watershed_state::shown;

use crate::dead_letters::Request;
use crate::master::Master;

impl Master {
    /// Looks for requests to replay dead letters, and hands them to whom they concern. Returns the operators with
    /// letters to be replayed that do not exist.
    pub(super) fn replay_dead_letters(&mut self) -> Vec<String> {
        let node_of = |operator: &str| self.plan.nodes.iter().position(|node| *node.name == *operator);
        for replay in self.poison.letters.look_for(&[Request::Replay, Request::Discard]) {
            let Some(node) = node_of(&replay.letter.operator) else { continue };
            for task in self.plan.tasks_of(node) {
                if let Some((oversight, waker)) = &self.tasks[task.0 as usize].oversight {
                    oversight.replay([replay.clone()]);
                    waker.wake_task();
                }
            }
        }
        let letters = &self.poison.letters;
        let waits = |operator: &str| letters.of(operator).any(|replay| !replay.discarded);
        let unknown = letters.operators().filter(|operator| node_of(operator).is_none() && waits(operator));
        let unknown: Vec<String> = unknown.map(str::to_string).collect();
        for operator in &unknown {
            tracing::error!(operator = %shown(operator), "dead letters are to be replayed of an operator that does not exist");
        }
        unknown
    }

    /// A letter does not fit what it is to be given back to.
    pub(super) fn cannot_replay(&mut self, letter: &str, why: &str) {
        if let Err(error) = self.poison.letters.cannot_replay(letter, why) {
            tracing::error!(letter = %shown(letter), %error, "it cannot be noted that a dead letter cannot be replayed");
        }
    }
}
