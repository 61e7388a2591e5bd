//! Model packages on their way to serve: what is known of one before any session of the worker loads it, and which
//! one serves.

mod slot;
mod verification;

pub use slot::{Plan, Slot, SlotOwner};
pub use verification::{Refused, Verifier};
