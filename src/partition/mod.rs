//! The owner of a partition: its state, the rounds that work on it, and how it is taken over.
//!
//! A partition's windows live on one lane. [`Step`] is the pure fold of a record; a round drains the
//! lane's partitions, runs the model once and makes output batches; a restore rebuilds a state and
//! proves it by the committed checksum; the assigner moves partitions between these. No lock guards
//! a window, no window is shared.

mod assigner;
mod assignment;
mod at_hand;
mod busy;
mod cut;
mod due;
pub mod explain;
mod keeping;
mod lane;
mod lineage;
mod lineup;
mod model;
mod opening;
mod outputs;
mod plan;
mod published;
mod pulse;
mod rebuild;
mod recent;
mod rescue;
mod restore;
mod restoring;
mod round;
mod serving;
mod step;
mod turns;
mod watch;

pub use assigner::{Assigner, AssignerError, AssignerInput, AssignerSettings, LaneHandle};
pub use assignment::{Assignment, AssignmentCommand, AssignmentEvent, Roster};
pub use at_hand::{Kept, RestoreJob};
pub use cut::CutSettings;
pub use due::{DueRow, DueRows, Folded, Waits};
pub use lane::{Lane, LaneCommand, LaneError, LaneSettings};
pub use lineage::Lineage;
pub use model::ServingModel;
pub use opening::{MadeAnew, Opening, Restored, Standing, made_anew, standing};
pub use outputs::{LEFT_OUT_HEADER, RUNTIME_HEADER, deadline};
pub use plan::{Planned, plan};
pub use published::{About, ModelText};
pub use pulse::{HungLane, Pulse};
pub use rebuild::{
    AskSchema, AtHand, Finding, Fresh, Proof, ReadRange, RebuildPlan, Rebuilt, Sources, Unusable,
    Watched, rebuild, rebuild_from, rebuild_watched,
};
pub use rescue::{Panics, Rescue, TooManyPanics, caught};
pub use restore::{RestoreError, RestoreSettings, Restorer};
pub use restoring::{Restores, Restoring};
pub use round::{DEADLINE_HEADER, OutputSettings};
pub use serving::Serving;
pub use step::{End, Placed, Step, Stepped};
pub use turns::restore_all;
pub use watch::{LaneHealth, LaneWatch, Look, Seen, WatchLimits};
