//! What becomes of a failure: policies, records that are left out, and where they go.
//!
//! An **error** of user code takes back what its record wrote, at once, and the record is left out or not as the
//! [`Policy`] says. A **panic** rolls the region back. Which record it was is found by taking records one by one when
//! they come again; after some attempts the record gets onto the list of [`SkipEntry`]s, which is durable before the
//! restart that meets it. What was left out becomes a [`DeadLetter`], which is a record of a side output and so exactly
//! as reliable as any other.

mod letter;
mod oversight;
mod policy;
mod rejects;
mod skips;

pub use letter::{DeadLetter, Evidence, LETTERS, Place, Position};
pub(crate) use letter::{ToJson, decode_record, json_of, letters};
pub use oversight::{Oversight, Replay};
pub use policy::{Directive, Policy, SkipCap, Stage};
pub(crate) use rejects::Rejected;
pub use rejects::{Rejecter, Rejects};
pub use skips::{SkipEntry, Suspect};
