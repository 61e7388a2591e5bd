//! Numbers that differ from seed to seed and are the same for one.

/// Marsaglia's xorshift with 64 bits.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Every fault has numbers of its own, whichever others run.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        const FNV: u64 = 0x0100_0000_01b3;
        let mixed = name
            .bytes()
            .fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(FNV)
            });
        // Zero is the one state that stays.
        Self(mixed | 1)
    }

    /// From zero to below `bound`, which is not zero.
    pub fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u32::try_from((self.0 >> 32) % u64::from(bound)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_the_same_numbers_and_another_one_is_others() {
        let numbers = |seed, name| {
            let mut random = Random::new(seed, name);
            (0..20).map(|_| random.below(1_000)).collect::<Vec<_>>()
        };
        assert_eq!(numbers(1, "a"), numbers(1, "a"));
        assert_ne!(numbers(1, "a"), numbers(2, "a"));
        assert_ne!(numbers(1, "a"), numbers(1, "b"));
        assert!(numbers(1, "a").iter().all(|&number| number < 1_000));
    }
}
