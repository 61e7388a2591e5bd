//! Stage 1: records from Kafka.
//!
//! One poll thread owns the consumer's queue and always polls; it copies what is needed out of a
//! message and hands it to the queue of its partition. Rebalances become messages that carry their
//! own answer. A second kind of consumer, assigned by hand, replays a range for a restore.
//! Nothing here decodes, computes or commits.

mod answer;
mod client;
pub mod contact;
mod failure;
mod follow;
mod group;
mod group_metadata;
mod hooks;
mod identity;
mod poll;
mod queue;
mod raw_headers;
mod replay;
mod settings;
mod topic;
mod topic_id;

pub use client::{ClientSettings, ConnectError, Reachable, probe};
pub use failure::PollError;
pub use follow::{FollowError, Followed, Follower, Polled};
pub use group::{Group, NotAMember};
pub use hooks::{Assigned, Hooks, RebalanceEvent};
pub use poll::{Feed, OutOfOrder, PollCommand, Poller, reassign};
pub use queue::{QueueLimits, QueueReceiver, QueueSender, queue};
pub use raw_headers::all_headers;
pub use replay::{Committed, ReplayError, Replayer, StartPosition};
pub use settings::ConsumerSettings;
pub use topic::{Cleanup, check_cleanup, topic_settings};
pub use topic_id::topic_id;
