//! The promoter: from the commands of the control topic to warm sessions on every lane and the plan of the slot.
//!
//! `core` decides what is loaded, what is unloaded and which plan is in force, from the folded log and from what has
//! been loaded; it does nothing itself. `load` brings one package from where it is to warm sessions, `promoter` has its
//! threads, `told` is what it says of itself. Until a package is activated nothing that goes wrong with it changes what
//! serves; afterwards a lane that has no session of it holds the partitions that it is for.

mod core;
mod load;
mod notes;
mod promoter;
mod told;

pub use self::core::{Action, Failure, Known, Promotion, Stage, Step};
pub use load::{Loaded, Loader, Windows};
pub use notes::Note;
pub use promoter::{Job, Progress, Promoter, PromoterSettings, fold, load_all};
pub use told::{Told, ToldCommand};
