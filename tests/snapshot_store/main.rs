//! The place where snapshots are stored, as workers use it: what of it is believed, what is deleted when,
//! and what happens where it does not answer.

#[cfg(test)]
mod place;
#[cfg(test)]
mod rig;
