//! FlipHash: draw a bucket below the next power of two by flipping bits, and draw again where
//! there is no such bucket yet.
//!
//! For a power of two, the leading one of a key's low bits tells the level, and a second hash
//! flips the bits below it: so half the keys of a level stay when the range doubles. In between,
//! draws repeat until one is below n, or falls into the lower half, which was there before.
//!
//! Masson and Lee, "FlipHash: A Constant-Time Consistent Range-Hashing Algorithm", 2024
//! (arXiv 2402.17549); dialects: the authors' crate fliphash 0.1.0 (DataDog) and SUPSI's library,
//! commit 68803f8. O(1) time, no table; a chance of 2⁻⁶⁴ that the draws run out is within the
//! paper's bound on bias.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::choice::About;
use crate::model::placement::Key;
use crate::rings::Capabilities;
use crate::rings::hash::Hasher;
use crate::rings::numbered::{BUCKETS_ONLY, BucketFunction, Removal};

crate::config! {
    /// Whose FlipHash it is.
    pub(super) enum FlipDialect {
        /// The authors' crate with its own mixer.
        "datadog" => DataDog,
        /// The authors' crate with XXH3 over the eight bytes of the key.
        "datadog_xxh3" => DataDogXxh3,
        /// SUPSI's library, with the experiment's hash function.
        "supsi" => Supsi,
    }
}

crate::config! {
    /// Parameters of `flip`.
    pub(super) struct FlipParams {
        /// Whose FlipHash it is.
        pub dialect: FlipDialect = FlipDialect::DataDog,
        /// What becomes of the number of a member that leaves.
        pub removal: Removal = Removal::Renumber,
    }
}

/// FlipHash.
#[derive(Debug)]
pub(super) struct Flip {
    dialect: FlipDialect,
}

impl BucketFunction for Flip {
    const ABOUT: About = About {
        name: "flip",
        summary: "FlipHash: constant time without a table; only the last node can leave",
        source: "Masson and Lee 2024 (arXiv 2402.17549)",
        version: "fliphash 0.1.0",
    };
    const CAPABILITIES: Capabilities = BUCKETS_ONLY;
    type Params = FlipParams;

    fn removal(params: &FlipParams) -> Removal {
        params.removal.clone()
    }

    fn steps(_: &FlipParams, count: u32) -> f64 {
        2.0 + 2.0 * (1.0 - f64::from(count) / f64::from(count.next_power_of_two()))
    }

    fn new(params: &FlipParams) -> Self {
        Self { dialect: params.dialect.clone() }
    }

    const LAST_MAX: u64 = u64::MAX;

    fn bucket(&self, hasher: &Hasher, key: Key<'_>, last: u64) -> u64 {
        let hash = key.hash;
        match self.dialect {
            FlipDialect::DataDog => flip(hash, last, &datadog),
            FlipDialect::DataDogXxh3 => flip(hash, last, &datadog_xxh3),
            FlipDialect::Supsi => supsi(hash, last, hasher),
        }
    }
}

/// The authors' function; `draw(key, level, index)` is its family of hashes.
fn flip(key: u64, last: u64, draw: &impl Fn(u64, u32, u32) -> u64) -> u64 {
    if last == 0 {
        return 0;
    }
    let mask = u64::MAX >> last.leading_zeros();
    let first = draw(key, 0, 0);
    let place = |mask: u64| {
        let bits = first & mask;
        match bits.checked_ilog2() {
            None => 0,
            Some(level) => bits ^ (draw(key, level, 0) & ((1 << level) - 1)),
        }
    };
    let bucket = place(mask);
    if bucket <= last {
        return bucket;
    }
    for index in 1..=TRIES {
        let bucket = draw(key, last.ilog2(), index) & mask;
        if bucket <= mask >> 1 {
            break;
        }
        if bucket <= last {
            return bucket;
        }
    }
    place(mask >> 1)
}

/// The mixer of the authors' crate, with its seed 0.
fn datadog(key: u64, level: u32, index: u32) -> u64 {
    let word = key.wrapping_mul(2 * u64::from(level) + 1);
    let word = (word ^ (word >> 27)).wrapping_mul(0x3c79_ac49_2ba7_b653);
    let word = word.wrapping_mul(2 * u64::from(index) + 1);
    let word = (word ^ (word >> 33)).wrapping_mul(0x1c69_b3f7_4ac4_ae35);
    word ^ (word >> 27)
}

fn datadog_xxh3(key: u64, level: u32, index: u32) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), u64::from(level) + (u64::from(index) << 32))
}

/// SUPSI's function: the mask has all bits of n, not of n - 1.
fn supsi(hash: u64, last: u64, hasher: &Hasher) -> u64 {
    let mask = u64::MAX >> last.saturating_add(1).leading_zeros();
    let place = |mask: u64| {
        let bits = hash & mask;
        match bits.checked_ilog2() {
            None => 0,
            Some(level) => {
                let flipper = hasher.again(hash, bits.leading_zeros().into());
                bits ^ (flipper & ((1 << level) - 1))
            }
        }
    };
    let bucket = place(mask);
    if bucket <= last {
        return bucket;
    }
    for index in 1..TRIES {
        // Of the mask as a 32-bit number, as there; but 64-bit in the flipper above.
        let level = u64::from((mask as u32).leading_zeros());
        let bucket = hasher.again_at(hash, level, index.into()) & mask;
        if bucket <= mask >> 1 {
            break;
        }
        if bucket <= last {
            return bucket;
        }
    }
    place(mask >> 1)
}

const TRIES: u32 = 64;
