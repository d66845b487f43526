//! A running job, seen from another process: the socket that it listens on, and how to ask.
//!
//! A job with a checkpoint folder listens on the Unix socket `control.sock` in it (see
//! [`Config::control_socket`](crate::Config::control_socket)); only the user who runs the job may connect. What goes
//! over the socket is lines of JSON: a [`Request`] each way there, one or more [`Answer`]s back, and then the next
//! request.
//!
//! ```text
//! → {"version":2,"ask":"tree"}
//! ← {"tree":{"job":"word-count",…}}
//! → {"version":2,"ask":{"tap":{"operator":"count","limit":2}}}
//! ← {"sample":{"operator":"count","instance":0,"at_ms":1764045600000,"key":"the","record":"the"}}
//! ← {"sample":{"operator":"count","instance":1,"at_ms":1764045600004,"key":"of","record":"of"}}
//! ← "done"
//! → {"version":2,"ask":{"query":{"operator":"count","key":"\"the\""}}}
//! ← {"state":{"found":{"key":"the","state":71}}}
//! → {"version":2,"ask":{"rescale":{"operator":"count","parallelism":4}}}
//! ← {"rescaled":{"operator":"count","from":2,"to":4,"checkpoint":17,"checkpoint_ms":41,"stopped_ms":12}}
//! → {"version":2,"ask":{"stop":{"savepoint":"file:///savepoints/friday"}}}
//! ← "working"
//! ← {"savepoint":{"uri":"file:///savepoints/friday","checkpoint":18,"bytes":73400}}
//! ← {"ended":"stopped"}
//! ```
//!
//! A job that takes long to answer says `"working"` every few seconds. A connection on which nothing is asked for a
//! minute is closed, after ten seconds if nothing ever was, and earlier if all places are taken: those that have said
//! nothing go first.
//!
//! [`Client`] speaks it. To add a question: a variant of [`Ask`], one of [`Answer`], an arm in the session, and a
//! command of the control plane if it takes part.

mod client;
mod closing;
mod connect;
mod place;
mod protocol;
mod registry;
mod seat;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod value;

pub use client::{Client, RemoteError, Samples};
pub use place::{SOCKET_NAME, socket_in};
pub use protocol::{Answer, Ask, KeyState, Refusal, Request, VERSION};
pub use registry::running_jobs;
pub use value::AnyValue;
pub use watershed_actors::Sample;

pub(crate) use closing::Closing;
pub(crate) use place::Socket;
pub(crate) use server::serve;
