//! Model packages on their way to serve: what is known of one before any session of the worker loads it.

mod verification;

pub use verification::{Refused, Verifier};
