//! Process functions: behaviour with state and timers.

mod broadcast;
mod context;
mod side;
mod side_output;
mod timer;
mod timers;

pub use broadcast::{BroadcastContext, BroadcastInput, BroadcastProcess, Connected, ConnectedContext};
pub use context::Context;
pub(crate) use context::Emitted;
pub use side::SideOutputs;
pub use side_output::SideOutput;
pub use timer::{Timer, TimerKind};
pub(crate) use timers::TimerService;

use watershed_state::{Data, Key, State};

use crate::error::UserResult;

/// The behaviour of a named actor.
///
/// Behaviour is `&self`: one value, shared by all instances and across restarts. What has to be remembered is `State`,
/// one value per key (per instance without a key), which the engine owns, snapshots and restores. After a failure the
/// records since the last checkpoint come again, with the state of that checkpoint.
pub trait Process: Send + Sync + 'static {
    /// What `key_by` found; `()` without it.
    type Key: Key;
    /// A record that comes in.
    type In: Data;
    /// A record that goes out.
    type Out: Data;
    /// What is remembered for a key. A key that was never seen has the default.
    type State: State;

    /// Takes a record, with the state of its key.
    ///
    /// # Errors
    /// Any error of the user's; the supervisor decides what becomes of it.
    fn on_record(
        &self,
        record: Self::In,
        state: &mut Self::State,
        context: &mut Context<'_, Self>,
    ) -> UserResult;

    /// A timer that [`Context::timer_at`] or [`Context::timer_at_processing_time`] set has come due.
    ///
    /// # Errors
    /// Any error of the user's. As long as it is not written, a timer is an error: it would be lost.
    fn on_timer(&self, timer: Timer, state: &mut Self::State, context: &mut Context<'_, Self>) -> UserResult {
        let _ = (state, context);
        if timer.is_at_end() {
            return Err("the end of the input has come, but this actor has no `on_end`".into());
        }
        Err(format!("a timer for {} came due, but this actor has no `on_timer`", timer.at).into())
    }

    /// The input has ended, for a key that has asked for it ([`Context::timer_at_end`]): all sources were read to their
    /// end, or the job is being drained. Timers before that have fired. What is emitted has no event time
    /// ([`Context::emit_at`] gives it one). It is called once, also where the job fails or is started again after that.
    ///
    /// # Errors
    /// Any error of the user's, treated as one of [`on_timer`](Self::on_timer). As long as it is not written, that is
    /// what is called, with a timer at [`MAX_WATERMARK`](crate::MAX_WATERMARK).
    fn on_end(&self, state: &mut Self::State, context: &mut Context<'_, Self>) -> UserResult {
        self.on_timer(Timer::AT_END, state, context)
    }
}
