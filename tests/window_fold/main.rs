//! The rolling windows against an independent model, and the proofs that recovery rests on: any
//! chunking gives one state, and a replay from the rebuild offset gives that state or says so.

#[cfg(test)]
mod compare;
#[cfg(test)]
mod extremes;
#[cfg(test)]
mod histogram;
#[cfg(test)]
mod image;
#[cfg(test)]
mod naive;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod records;
#[cfg(test)]
mod restart;
