//! Generation and member id of the consumer, which rdkafka has no getters for.
//!
//! A consumer that has not joined or was kicked out still returns group metadata, with generation -1
//! and no member id, and a classic group accepts a transactional commit with those from anybody
//! (docs/kafka.md, finding 4). So the committer reads them before every transaction.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka_sys as sys;

/// What the consumer would present to the group coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MemberState {
    pub(super) generation: i32,
    pub(super) has_member_id: bool,
}

/// `None` for a consumer without a group.
#[expect(unsafe_code, reason = "rdkafka's ConsumerGroupMetadata has no getters")]
pub(super) fn member_state<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<MemberState> {
    // SAFETY: the client is alive for the whole call, and `rd_kafka_consumer_group_metadata` is
    // thread-safe. The object it returns is ours until it is destroyed, once, below; the member id
    // points into it and is read before that.
    unsafe {
        let metadata = sys::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return None;
        }
        let member_id = sys::rd_kafka_consumer_group_metadata_member_id(metadata);
        let state = MemberState {
            generation: sys::rd_kafka_consumer_group_metadata_generation_id(metadata),
            has_member_id: !member_id.is_null() && *member_id != 0,
        };
        sys::rd_kafka_consumer_group_metadata_destroy(metadata);
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn a_consumer_that_never_joined_has_no_generation_and_no_member_id() {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", "127.0.0.1:1")
            .set("group.id", "nobody")
            .create()
            .unwrap();
        let state = member_state(&consumer).unwrap();
        assert_eq!(
            state,
            MemberState {
                generation: -1,
                has_member_id: false
            }
        );
    }
}
