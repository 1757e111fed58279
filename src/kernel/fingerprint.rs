//! A running hash over the events of a run: two runs with the same one had the same history.
//!
//! For each event, its time and then its digest go through the round of XXH64, and the end through
//! its avalanche (Collet, "xxHash fast digest algorithm", section "XXH64", one lane, without
//! stripes). Each round is a bijection of the state for a given word and of the word for a given
//! state, so two histories that differ in one word always differ in fingerprint; others collide
//! with a chance of about 2⁻⁶⁴. It guards against mistakes, not against malice.

use crate::kernel::time::SimTime;

/// The state of the hash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fingerprint {
    state: u64,
    event_count: u64,
}

impl Fingerprint {
    /// Of a history in which nothing has happened.
    pub const fn new() -> Self {
        Self { state: PRIME_5, event_count: 0 }
    }

    /// Appends an event: its time, and what else tells it from others.
    #[inline]
    pub const fn add(&mut self, at: SimTime, digest: u64) {
        self.state = round(round(self.state, at.as_ns()), digest);
        self.event_count += 1;
    }

    /// The hash over all events so far, and their number.
    pub const fn finish(self) -> u64 {
        let mut hash = self.state.wrapping_add(self.event_count);
        hash = (hash ^ (hash >> 33)).wrapping_mul(PRIME_2);
        hash = (hash ^ (hash >> 29)).wrapping_mul(PRIME_3);
        hash ^ (hash >> 32)
    }

    /// How many events have been added.
    pub const fn event_count(self) -> u64 {
        self.event_count
    }
}

impl Default for Fingerprint {
    fn default() -> Self {
        Self::new()
    }
}

const fn round(state: u64, word: u64) -> u64 {
    state.wrapping_add(word.wrapping_mul(PRIME_2)).rotate_left(31).wrapping_mul(PRIME_1)
}

const PRIME_1: u64 = 0x9e37_79b1_85eb_ca87;
const PRIME_2: u64 = 0xc2b2_ae3d_27d4_eb4f;
const PRIME_3: u64 = 0x1656_67b1_9e37_79f9;
const PRIME_5: u64 = 0x27d4_eb2f_1656_67c5;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(history: &[(u64, u64)]) -> u64 {
        let mut fingerprint = Fingerprint::new();
        for &(at, digest) in history {
            fingerprint.add(SimTime::from_ns(at), digest);
        }
        fingerprint.finish()
    }

    #[test]
    fn the_algorithm_stays_what_it_is() {
        // The first is XXH64 of nothing with seed 0, a published value; the others were computed
        // apart, from the description above.
        assert_eq!(of(&[]), 0xef46_db37_51d8_e999);
        assert_eq!(of(&[(0, 0)]), 0xcfbc_4c10_5313_2b8c);
        assert_eq!(of(&[(1, 2), (3, 4), (u64::MAX, u64::MAX)]), 0x2259_32f3_9367_6ff6);
    }

    #[test]
    fn histories_that_differ_in_order_time_kind_or_length_differ() {
        let histories: [&[(u64, u64)]; 6] =
            [&[], &[(1, 2)], &[(2, 1)], &[(1, 2), (1, 3)], &[(1, 3), (1, 2)], &[(1, 2), (1, 2)]];
        for (index, a) in histories.iter().enumerate() {
            for b in &histories[..index] {
                assert_ne!(of(a), of(b), "{a:?} and {b:?}");
            }
        }
    }
}
