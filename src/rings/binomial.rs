//! BinomialHash: draw a bucket below the next power of two, and draw again, a few times, where
//! there is no such bucket yet.
//!
//! Draws fall into the levels of a binary tree, and a draw that falls into the lower half of the
//! buckets is left to a second hash; so growth moves keys only to the newcomer. With a limit on
//! the draws, what is left over goes to the lower half: at n = 5 and 4 draws that half is 4.7 %
//! too full (measured).
//!
//! Coluzzi, Brocco, Antonucci and Leidi, "BinomialHash: A Constant Time, Minimal Memory
//! Consistent Hashing Algorithm", 2024 (arXiv 2406.19836); as in SUPSI's library, commit 68803f8,
//! but sound from one bucket on. O(1) time, no table.

use crate::choice::About;
use crate::model::placement::Key;
use crate::rings::Capabilities;
use crate::rings::hash::Hasher;
use crate::rings::jump::MULTIPLIER;
use crate::rings::numbered::{BUCKETS_ONLY, BucketFunction, Removal};

crate::config! {
    /// Parameters of `binomial`.
    pub(super) struct BinomialParams {
        /// How many draws a key has before it goes to the lower half.
        pub tries: u32 = 4 => 1..=1000,
        /// What becomes of the number of a member that leaves.
        pub removal: Removal = Removal::Renumber,
    }
}

/// BinomialHash.
#[derive(Debug)]
pub(super) struct Binomial {
    tries: u32,
}

impl BucketFunction for Binomial {
    const ABOUT: About = About {
        name: "binomial",
        summary: "BinomialHash: a few draws below the next power of two; only the last can leave",
        source: "Coluzzi, Brocco, Antonucci and Leidi 2024 (arXiv 2406.19836)",
        version: "",
    };
    const CAPABILITIES: Capabilities = BUCKETS_ONLY;
    type Params = BinomialParams;

    fn removal(params: &BinomialParams) -> Removal {
        params.removal.clone()
    }

    fn steps(_: &BinomialParams, count: u32) -> f64 {
        // One draw, and half of the next one as often as the first is out of range.
        let width = f64::from(count.next_power_of_two());
        1.0 + 2.0 * (1.0 - f64::from(count) / width)
    }

    fn new(params: &BinomialParams) -> Self {
        Self { tries: params.tries }
    }

    fn bucket(&self, _: &Hasher, key: Key<'_>, last: u64) -> u64 {
        let outer = (last + 1).next_power_of_two() - 1;
        let inner = outer >> 1;
        let mut hash = key.hash;
        let mut bucket = relocate(hash & outer, hash);
        if bucket <= last {
            return bucket;
        }
        for _ in 0..self.tries {
            hash = hash_again(hash, outer);
            bucket = relocate(hash & outer, hash);
            if bucket <= inner {
                break;
            }
            if bucket <= last {
                return bucket;
            }
        }
        relocate(key.hash & inner, key.hash)
    }
}

/// Another place in the same level of the tree as `bucket`.
fn relocate(bucket: u64, hash: u64) -> u64 {
    if bucket < 2 {
        return bucket;
    }
    let level = 1 << bucket.ilog2();
    level + (hash_again(hash, level - 1) & (level - 1))
}

fn hash_again(value: u64, salt: u64) -> u64 {
    let word = MULTIPLIER.wrapping_mul(value).wrapping_add(1);
    word.wrapping_mul(word).wrapping_mul(salt) >> 32
}
