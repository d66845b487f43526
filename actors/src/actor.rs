//! The thin shell that makes a task an actix actor.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use actix::{Actor, ActorContext, Addr, AsyncContext, Handler};
use tracing::Span;

use crate::edge::Port;
use crate::link::TaskWaker;
use crate::message::Envelope;
use crate::slot::{Alarm, Slot};
use crate::task::{Control, Step, Task, TaskCell};

/// An actor round a task. Its handlers only file; its one future, the drive, does the work.
pub struct Shell<T: Task + 'static> {
    cell: Rc<RefCell<TaskCell<T>>>,
    /// Messages that can be in the mailbox at once: the sum of all credits, and room for control.
    capacity: usize,
    span: Span,
}

impl<T: Task + 'static> std::fmt::Debug for Shell<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shell").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

/// Control messages that can be on their way to one actor at once.
const CONTROL_HEADROOM: usize = 64;

impl<T: Task + 'static> Shell<T> {
    /// A shell round a task whose input channels have so many credits together. Log lines of the task carry `span`.
    pub fn new(cell: TaskCell<T>, credits: usize, span: Span) -> Self {
        let capacity = credits.saturating_add(CONTROL_HEADROOM);
        Self { cell: Rc::new(RefCell::new(cell)), capacity, span }
    }

    /// Starts it on the thread of a slot.
    pub fn start_on(slot: &Slot, cell: TaskCell<T>, credits: usize, span: Span) -> Addr<Self> {
        let (sender, receiver) = actix::dev::channel::channel(CONTROL_HEADROOM);
        slot.start(move || {
            let shell = Self::new(cell, credits, span);
            actix::Context::with_receiver(receiver).run(shell);
        });
        Addr::new(sender)
    }
}

impl<T: Task + 'static> Actor for Shell<T> {
    type Context = actix::Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(self.capacity);
        let drive = Drive {
            waker: Arc::clone(&self.cell.borrow().env().waker),
            cell: Rc::clone(&self.cell),
            alarm: None,
            span: self.span.clone(),
        };
        context.spawn(actix::fut::wrap_future::<_, Self>(drive).map_stop());
    }
}

/// Ends the actor when its drive has ended.
trait StopAfter<A: Actor>: Sized {
    fn map_stop(self) -> impl actix::ActorFuture<A, Output = ()> + 'static;
}

impl<A, F> StopAfter<A> for F
where
    A: Actor<Context = actix::Context<A>>,
    F: actix::ActorFutureExt<A> + actix::ActorFuture<A, Output = ()> + 'static,
{
    fn map_stop(self) -> impl actix::ActorFuture<A, Output = ()> + 'static {
        self.map(|(), _, context: &mut actix::Context<A>| context.stop())
    }
}

impl<T: Send> actix::Message for Envelope<T> {
    type Result = ();
}

impl<T: Task + 'static> Handler<Envelope<T::In>> for Shell<T> {
    type Result = ();

    fn handle(&mut self, envelope: Envelope<T::In>, _context: &mut Self::Context) {
        self.cell.borrow_mut().file(envelope);
    }
}

/// [`Control`] as an actix message.
#[derive(Debug, Clone, Copy)]
pub struct ControlMessage(pub Control);

impl actix::Message for ControlMessage {
    type Result = ();
}

impl<T: Task + 'static> Handler<ControlMessage> for Shell<T> {
    type Result = ();

    fn handle(&mut self, message: ControlMessage, _context: &mut Self::Context) {
        let _in = self.span.enter();
        self.cell.borrow_mut().control(message.0);
    }
}

/// Steps the task as long as there is something to do, and lets others have a turn in between.
///
/// actix polls it after every message, so what the handlers file is seen; credits and readers wake it through the
/// task's waker; the alarm is for what goes by time.
struct Drive<T: Task> {
    cell: Rc<RefCell<TaskCell<T>>>,
    waker: Arc<TaskWaker>,
    alarm: Option<Alarm>,
    span: Span,
}

impl<T: Task> Future for Drive<T> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<()> {
        let this = &mut *self;
        let _in = this.span.enter();
        let mut step = this.cell.borrow_mut().step();
        if matches!(step, Step::Waiting(_)) {
            // Registered first, then looked at once more: a credit that comes in between is not missed.
            this.waker.register(context.waker());
            step = this.cell.borrow_mut().step();
        }
        match step {
            Step::Stopped => return Poll::Ready(()),
            Step::Ready => {
                this.alarm = None;
                context.waker().wake_by_ref();
            }
            Step::Waiting(u64::MAX) => this.alarm = None,
            Step::Waiting(at) => this.alarm = Some(Alarm::set(at, context.waker())),
        }
        Poll::Pending
    }
}

/// The address of a task's actor, as the end of a channel.
pub struct ActorPort<T: Task + 'static>(pub Addr<Shell<T>>);

impl<T: Task + 'static> std::fmt::Debug for ActorPort<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ActorPort")
    }
}

impl<T: Task + 'static> Port<T::In> for ActorPort<T> {
    fn deliver(&self, envelope: Envelope<T::In>) {
        match self.0.try_send(envelope) {
            // A closed mailbox is a region on its way down: whoever lost the actor has said so.
            Ok(()) | Err(actix::dev::SendError::Closed(_)) => {}
            Err(actix::dev::SendError::Full(_)) => {
                tracing::error!(
                    "a mailbox is full although every message in it holds a credit: this is a bug"
                );
            }
        }
    }
}
