//! Seeded schedules of everything that can go wrong, over the worker's own decisions and a model of the
//! cluster (docs/exactly-once.md, "Simulation").

#[cfg(test)]
mod bugs;
#[cfg(test)]
mod checks;
#[cfg(test)]
mod client;
#[cfg(test)]
mod commit;
#[cfg(test)]
mod consumer;
#[cfg(test)]
mod group;
#[cfg(test)]
mod hits;
#[cfg(test)]
mod input;
#[cfg(test)]
mod lane;
#[cfg(test)]
mod network;
#[cfg(test)]
mod process;
#[cfg(test)]
#[expect(dead_code, reason = "the tests of the windows use all of it")]
#[path = "../window_fold/records.rs"]
mod records;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod store;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod world;
