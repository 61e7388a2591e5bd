//! Which partition a key is in: the Java client's placement, which every producer of ours uses.
//!
//! A record whose series hashes elsewhere was published by a client with another partitioner, and
//! its series may be split over partitions. Source: `Utils.murmur2` and `toPositive` of Kafka's
//! Java client, `BuiltInPartitioner.partitionForKey`.

use std::num::NonZeroU32;

use super::PartitionId;

/// Kafka's 32-bit `MurmurHash2` of a key, unsigned.
pub fn murmur2(key: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MIX: u32 = 0x5bd1_e995;

    // Java's length is an int: a key is never longer, and a cast there would wrap the same way.
    let [a, b, c, d, ..] = key.len().to_le_bytes();
    let mut hash = SEED ^ u32::from_le_bytes([a, b, c, d]);
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MIX);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(MIX) ^ mixed.wrapping_mul(MIX);
    }
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u32::from_le_bytes(last)).wrapping_mul(MIX);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MIX);
    hash ^ (hash >> 15)
}

/// The partition, of `partitions`, that the Java client's default partitioner puts a key in.
pub fn partition_of(key: &[u8], partitions: NonZeroU32) -> PartitionId {
    // Java's `toPositive` clears the sign bit, so the remainder is an i32 always.
    let partition = (murmur2(key) & 0x7fff_ffff) % partitions;
    PartitionId(partition.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of Kafka's `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_are_those_of_the_java_client() {
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_before_the_division() {
        // "21" hashes to -973,932,308, which is 1,173,551,340 less 2^31.
        let partitions = NonZeroU32::new(1_000).unwrap();
        assert_eq!(partition_of(b"21", partitions), PartitionId(340));
    }
}
