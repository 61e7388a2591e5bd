//! Seeded schedules of everything that can go wrong, over the worker's own decisions and a model of the
//! cluster (docs/exactly-once-tests.md, "Simulation").

#[cfg(test)]
mod assigner;
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
mod door;
#[cfg(test)]
mod fetch;
#[cfg(test)]
mod group;
#[cfg(test)]
mod hits;
#[cfg(test)]
mod input;
#[cfg(test)]
mod lane;
#[cfg(test)]
mod mishaps;
#[cfg(test)]
mod models;
#[cfg(test)]
mod network;
#[cfg(test)]
mod process;
#[cfg(test)]
mod ready;
#[cfg(test)]
#[expect(dead_code, reason = "the tests of the windows use all of it")]
#[path = "../window_fold/records.rs"]
mod records;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod restore;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod store;
#[cfg(test)]
mod straight;
#[cfg(test)]
mod transaction;
#[cfg(test)]
mod upstream;
#[cfg(test)]
mod world;
