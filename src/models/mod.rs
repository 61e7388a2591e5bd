//! Model packages on their way to serve: how one is got, what is known of it before any session of the worker loads
//! it, and which one serves.

mod fetch;
mod package_store;
mod slot;
mod verification;

pub use fetch::{
    FetchError, FetchSettings, Fetcher, FetcherError, MlflowSettings, Problem, Resolved, file_uri,
};
pub use package_store::{Damage, PackageStore, PackageStoreError, PackageStoreSettings};
pub use slot::{Plan, Slot, SlotOwner};
pub use verification::{Refused, Verifier};
