//! Jump hash: a key jumps through the buckets as if the cluster grew from one to n, and stays
//! where it lands last.
//!
//! When bucket number j + 1 opens, each key moves there with chance 1/(j + 1); the next bucket
//! that a key would move to can be drawn in one step. So the spread is perfect, a cluster that
//! grows moves only what it must, and only the last bucket can leave.
//!
//! Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014 (arXiv 1406.2294).
//! H(n) = ln n + 0.577 steps on average, each with a division; no table.

use crate::choice::About;
use crate::model::placement::Key;
use crate::rings::Capabilities;
use crate::rings::hash::Hasher;
use crate::rings::numbered::{BUCKETS_ONLY, BucketFunction, Removal, RemovalParams};

/// Jump hash.
#[derive(Debug)]
pub(super) struct Jump;

impl BucketFunction for Jump {
    const ABOUT: About = About {
        name: "jump",
        summary: "jump hash: perfectly even without a table; only the last node can leave",
        source: "Lamping and Veach 2014 (arXiv 1406.2294)",
        version: "",
    };
    const CAPABILITIES: Capabilities = BUCKETS_ONLY;
    type Params = RemovalParams;

    fn removal(params: &RemovalParams) -> Removal {
        params.removal.clone()
    }

    fn steps(_: &RemovalParams, count: u32) -> f64 {
        libm::log(f64::from(count)) + 0.577
    }

    fn new(_: &RemovalParams) -> Self {
        Self
    }

    fn bucket(&self, _: &Hasher, key: Key<'_>, last: u64) -> u64 {
        jump(key.hash, last as u32 + 1).into()
    }

    fn count_draws(&self, key: Key<'_>, last: u64) -> Option<u32> {
        Some(jump_counted(key.hash, last as u32 + 1).1)
    }
}

/// The bucket of `key` out of `count`, of which there is one at least.
pub(super) fn jump(key: u64, count: u32) -> u32 {
    jump_counted(key, count).0
}

/// The bucket, and how many draws it took; who does not ask for them does not pay for them.
#[inline]
fn jump_counted(mut key: u64, count: u32) -> (u32, u32) {
    let (mut bucket, mut next, mut draws) = (0_u32, 0_i64, 0_u32);
    while next < i64::from(count) {
        bucket = next as u32;
        draws += 1;
        key = key.wrapping_mul(MULTIPLIER).wrapping_add(1);
        // Exact on every platform: one multiplication and one division of floats, and a cast. The
        // draw has 31 bits, and where the product does not fit it is past the last bucket anyway:
        // so the types are those that processors convert in one instruction.
        let chance = 2_147_483_648.0 / f64::from((key >> 33) as u32 + 1);
        next = ((f64::from(bucket) + 1.0) * chance) as i64;
    }
    (bucket, draws)
}

/// Of the paper's linear congruential generator.
pub(super) const MULTIPLIER: u64 = 2_862_933_555_777_941_757;
