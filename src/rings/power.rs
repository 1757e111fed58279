//! Power consistent hashing: a draw below the next power of two for most keys, and one more walk
//! for those that fall between n and it.
//!
//! Eric Leu, "Fast Consistent Hashing in Constant Time", 2023 (arXiv 2307.12448); dialects: the
//! crate power-consistent-hash 0.1.0, whose draws are PCG32 streams and whose walk is in whole
//! numbers, and SUPSI's library, commit 68803f8. O(1) expected time, no table.

use crate::choice::About;
use crate::model::placement::Key;
use crate::rings::Capabilities;
use crate::rings::hash::Hasher;
use crate::rings::jump::MULTIPLIER;
use crate::rings::numbered::{BUCKETS_ONLY, BucketFunction, Removal, in_rounds};

crate::config! {
    /// Whose implementation it is.
    pub(super) enum PowerDialect {
        /// The crate power-consistent-hash 0.1.0, with its own draws.
        "pcg32" => Pcg32,
        /// SUPSI's library, with the experiment's hash function.
        "supsi" => Supsi,
    }
}

crate::config! {
    /// Parameters of `power`.
    pub(super) struct PowerParams {
        /// Whose implementation it is.
        pub dialect: PowerDialect = PowerDialect::Pcg32,
        /// What becomes of the number of a member that leaves.
        pub removal: Removal = Removal::Renumber,
    }
}

/// Power consistent hashing.
#[derive(Debug)]
pub(super) struct Power {
    dialect: PowerDialect,
}

impl BucketFunction for Power {
    const ABOUT: About = About {
        name: "power",
        summary: "power consistent hashing: constant time, no table; only the last node can leave",
        source: "Leu 2023 (arXiv 2307.12448)",
        version: "power-consistent-hash 0.1.0",
    };
    const CAPABILITIES: Capabilities = BUCKETS_ONLY;
    type Params = PowerParams;

    fn removal(params: &PowerParams) -> Removal {
        params.removal.clone()
    }

    fn steps(_: &PowerParams, count: u32) -> f64 {
        // A key out of range walks from the lower half, in less than two jumps on average.
        let width = f64::from(count.next_power_of_two());
        1.0 + 3.0 * (1.0 - f64::from(count) / width)
    }

    fn new(params: &PowerParams) -> Self {
        Self { dialect: params.dialect.clone() }
    }

    #[inline]
    fn bucket(&self, hasher: &Hasher, key: Key<'_>, last: u64) -> u64 {
        let count = last as u32 + 1;
        let bucket = match self.dialect {
            PowerDialect::Pcg32 => power(key.hash, count),
            PowerDialect::Supsi => supsi(key.hash, count, hasher),
        };
        bucket.into()
    }

    fn buckets(&self, hasher: &Hasher, keys: &[Key<'_>], last: u64, mut take: impl FnMut(u64)) {
        match self.dialect {
            PowerDialect::Pcg32 if last != 0 => {
                let count = last as u32 + 1;
                let outer = outer(count);
                let first = |hash| u64::from(draw(hash, outer).0);
                let next = |hash, _| {
                    let (_, stream) = draw(hash, outer);
                    u64::from(walk(hash, count, outer, stream))
                };
                in_rounds(keys, last, first, next, take);
            }
            _ => {
                for key in keys {
                    take(self.bucket(hasher, *key, last));
                }
            }
        }
    }
}

/// The bucket out of `count` for a hash, by the crate's function; 0 where there is no bucket.
#[inline]
pub fn power(hash: u64, count: u32) -> u32 {
    if count <= 1 {
        return 0;
    }
    let (bucket, stream) = draw(hash, outer(count));
    if bucket < count { bucket } else { walk(hash, count, outer(count), stream) }
}

/// One less than the power of two that holds `count` buckets, of which there are two at least.
#[inline]
fn outer(count: u32) -> u32 {
    u32::MAX >> (count - 1).leading_zeros()
}

/// The bucket of a key out of all that `mask` holds, and the stream that drew it.
#[inline]
fn draw(key: u64, mask: u32) -> (u32, Pcg32) {
    let bits = key as u32 & mask;
    let level = (bits | 1).ilog2();
    let stream = Pcg32::new(key, level.into());
    let bucket = (1 << level) + (stream.word() & ((1 << level) - 1));
    (if bits == 0 { 0 } else { bucket }, stream)
}

/// The bucket of a key that `stream` drew beyond `count`, out of all that `outer` holds. Apart, so
/// that the way of most keys is short.
#[inline(never)]
fn walk(key: u64, count: u32, outer: u32, mut stream: Pcg32) -> u32 {
    let inner = outer >> 1;
    assert!(inner < key as u32 & outer, "the upper half is not drawn from {key} of {outer}");
    // The walk through the upper half: from bucket x the next one is the largest j with
    // j · u <= x + 1, for a uniform u = (word + 1) / 2³², all times 2³² - 1 as the crate has it.
    let mut at = inner;
    for _ in 0..JUMPS_MAX {
        stream.step();
        let reach = (u64::from(at) + 1) * u64::from(u32::MAX);
        let word = u64::from(stream.word()) + 1;
        if u64::from(count) * word <= reach {
            break;
        }
        at = (reach / word) as u32;
    }
    if inner < at { at } else { draw(key, inner).0 }
}

/// SUPSI's function: the draws are hashes again, the walk is jump hash's.
#[inline(never)]
fn supsi(hash: u64, count: u32, hasher: &Hasher) -> u32 {
    if count <= 1 {
        return 0;
    }
    let outer = outer(count);
    let inner = outer >> 1;
    let draw = |mask: u32| {
        let bits = hash & u64::from(mask);
        match bits.checked_ilog2() {
            None => 0,
            Some(level) => {
                let top = 1_u64 << level;
                (top + (hasher.again(hash, top) & (top - 1))) as u32
            }
        }
    };
    let bucket = draw(outer);
    if bucket < count {
        return bucket;
    }
    let (mut at, mut state) = (f64::from(inner), hash);
    for _ in 0..JUMPS_MAX {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(1);
        let next = (at + 1.0) / (((state >> 33) as f64 + 1.0) / 2_147_483_648.0);
        if f64::from(count) <= next {
            break;
        }
        at = libm::floor(next);
    }
    if f64::from(inner) < at { at as u32 } else { draw(inner) }
}

/// PCG-XSH-RR 64/32 (O'Neill 2014) on the stream `stream`, whose words are read before it steps.
struct Pcg32 {
    state: u64,
    increment: u64,
}

impl Pcg32 {
    #[inline]
    fn new(state: u64, stream: u64) -> Self {
        let increment = (stream << 1) | 1;
        let mut pcg = Self { state: state.wrapping_add(increment), increment };
        pcg.step();
        pcg
    }

    #[inline]
    fn step(&mut self) {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(self.increment);
    }

    #[inline]
    fn word(&self) -> u32 {
        let folded = (((self.state >> 18) ^ self.state) >> 27) as u32;
        folded.rotate_right((self.state >> 59) as u32)
    }
}

/// A walk through the upper half has less than two jumps on average, and a key in 10¹⁰⁰ has more
/// than these: it stays where it is then, which is a bucket as well.
const JUMPS_MAX: u32 = 64;
