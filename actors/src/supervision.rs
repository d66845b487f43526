//! What becomes of a failure: the policy of an operator, stage by stage.

mod policy;

pub use policy::{Directive, Policy, SkipCap, Stage};
