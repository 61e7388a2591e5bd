//! stub
pub mod metrics {
    //! stub
    use crate::domain::*;
    use std::time::{Duration, Instant};
    #[derive(Clone, Copy, Debug, Default)]
    pub struct RoundCounts {
        pub records: u64,
        pub held_discarded: u64,
        pub collapsed: u64,
        pub evicted: u64,
        pub misplaced: u64,
    }
    #[derive(Clone, Copy, Debug)]
    pub enum RestoreResult {
        Agreed,
        FurtherBack,
        NeverAgreed,
        Unproven,
    }
    #[derive(Clone, Copy, Debug)]
    pub enum TransactionResult {
        Committed,
        Aborted,
        NotAMember,
        Indefinite,
    }
    pub fn partition_gone(_: PartitionId) {}
    pub fn polled(_: Instant) {}
    pub fn queue_depth(_: PartitionId, _: usize) {}
    pub fn partitions_paused(_: usize) {}
    pub fn restored(_: Duration) {}
    pub fn restore_attempt(_: RestoreResult) {}
    pub fn replayed(_: u64, _: Duration) {}
    pub fn roster(_: usize, _: usize) {}
    pub fn round_folded(_: &RoundCounts, _: Duration) {}
    pub fn batch_inferred(_: usize, _: Duration) {}
    pub fn lane_busy(_: usize, _: f64) {}
    pub fn committed(_: PartitionId, _: &OutcomeCounts, _: NextOffset, _: Option<Timestamp>) {}
    pub fn commit_seconds(_: Duration) {}
    pub fn transaction(_: TransactionResult) {}
    pub fn batches_stale(_: usize) {}
    pub fn lag(_: PartitionId, _: i64) {}
    pub fn model_in_use(_: &str, _: &str, _: &str) {}
}
