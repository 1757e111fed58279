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
use crate::rings::numbered::{BUCKETS_ONLY, BucketFunction, Removal, in_rounds};

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

    #[inline]
    fn bucket(&self, hasher: &Hasher, key: Key<'_>, last: u64) -> u64 {
        let hash = key.hash;
        match self.dialect {
            FlipDialect::DataDog => flip(hash, last),
            FlipDialect::DataDogXxh3 => flip_xxh3(hash, last),
            FlipDialect::Supsi => supsi(hash, last, hasher),
        }
    }

    fn buckets(&self, hasher: &Hasher, keys: &[Key<'_>], last: u64, mut take: impl FnMut(u64)) {
        match self.dialect {
            FlipDialect::DataDog if last != 0 => {
                let flips = Flips::new(last, datadog);
                let next = |hash, round| match round {
                    1..=TRIES => flips.again(hash, round),
                    _ => flips.below_half(hash),
                };
                in_rounds(keys, last, |hash| flips.first(hash), next, take);
            }
            _ => {
                for key in keys {
                    take(self.bucket(hasher, *key, last));
                }
            }
        }
    }
}

/// The bucket out of `0..=last` for a hash, by the authors' crate with its own mixer.
#[inline]
pub fn flip(hash: u64, last: u64) -> u64 {
    flip_by(hash, last, datadog)
}

/// The authors' function; `draw(key, level, index)` is its family of hashes.
#[inline]
fn flip_by(key: u64, last: u64, draw: impl Fn(u64, u32, u32) -> u64) -> u64 {
    if last == 0 {
        return 0;
    }
    let flips = Flips::new(last, draw);
    let bucket = flips.first(key);
    if bucket <= last { bucket } else { flips.until(key, last) }
}

/// The draws of keys for one range of buckets.
struct Flips<D> {
    draw: D,
    /// The bits of the last bucket, and the highest of them.
    mask: u64,
    level: u32,
}

impl<D: Fn(u64, u32, u32) -> u64> Flips<D> {
    /// For buckets up to `last`, which is not 0.
    #[inline]
    fn new(last: u64, draw: D) -> Self {
        Self { draw, mask: u64::MAX >> last.leading_zeros(), level: last.ilog2() }
    }

    /// The first draw: out of all buckets that have these bits.
    #[inline]
    fn first(&self, key: u64) -> u64 {
        self.place(key, self.mask)
    }

    /// The draw `index`, from 1 on, of a key that met no bucket in those before. Where it falls
    /// into the lower half, it is the key's bucket there.
    #[inline]
    fn again(&self, key: u64, index: u32) -> u64 {
        let bucket = (self.draw)(key, self.level, index) & self.mask;
        if bucket <= self.mask >> 1 { self.below_half(key) } else { bucket }
    }

    /// The bucket of a key whose first draw was beyond `last`. Apart, so that the way of most keys
    /// is short.
    #[inline(never)]
    fn until(&self, key: u64, last: u64) -> u64 {
        let mut draws = (1..=TRIES).map(|index| self.again(key, index));
        draws.find(|bucket| *bucket <= last).unwrap_or_else(|| self.below_half(key))
    }

    /// A key's bucket when there were half as many.
    #[inline]
    fn below_half(&self, key: u64) -> u64 {
        self.place(key, self.mask >> 1)
    }

    #[inline]
    fn place(&self, key: u64, mask: u64) -> u64 {
        let bits = (self.draw)(key, 0, 0) & mask;
        // Without any bit there is nothing to flip, as at level 0.
        let level = (bits | 1).ilog2();
        bits ^ ((self.draw)(key, level, 0) & ((1 << level) - 1))
    }
}

/// The mixer of the authors' crate, with its seed 0.
#[inline]
fn datadog(key: u64, level: u32, index: u32) -> u64 {
    let word = key.wrapping_mul(2 * u64::from(level) + 1);
    let word = (word ^ (word >> 27)).wrapping_mul(0x3c79_ac49_2ba7_b653);
    let word = word.wrapping_mul(2 * u64::from(index) + 1);
    let word = (word ^ (word >> 33)).wrapping_mul(0x1c69_b3f7_4ac4_ae35);
    word ^ (word >> 27)
}

#[inline]
fn datadog_xxh3(key: u64, level: u32, index: u32) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), u64::from(level) + (u64::from(index) << 32))
}

#[inline(never)]
fn flip_xxh3(hash: u64, last: u64) -> u64 {
    flip_by(hash, last, datadog_xxh3)
}

/// SUPSI's function: the mask has all bits of n, not of n - 1.
#[inline(never)]
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
