//! Jump hash: a key jumps through the buckets as if the cluster grew from one to n, and stays
//! where it lands last.
//!
//! When bucket number j + 1 opens, each key moves there with chance 1/(j + 1); the next bucket
//! that a key would move to can be drawn in one step. So the spread is perfect, a cluster that
//! grows moves only what it must, and only the last bucket can leave.
//!
//! Lamping and Veach, "A Fast, Minimal Memory, Consistent Hash Algorithm", 2014 (arXiv 1406.2294).
//! H(n) = ln n + 0.577 steps on average, each with a division; no table.
//!
//! The buckets are kept as floats: the way to an integer and back would double the time from one
//! step to the next. Four keys at a time take two thirds of the time of one by one, as their steps
//! do not wait for each other and nothing is guessed but the end of all four.

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

    #[inline]
    fn bucket(&self, _: &Hasher, key: Key<'_>, last: u64) -> u64 {
        jump(key.hash, last as u32 + 1).into()
    }

    fn buckets(&self, _: &Hasher, keys: &[Key<'_>], last: u64, mut take: impl FnMut(u64)) {
        let count = last as u32 + 1;
        let (fours, rest) = keys.as_chunks();
        for four in fours {
            for bucket in jump_four(four.map(|key| key.hash), count) {
                take(bucket.into());
            }
        }
        for key in rest {
            take(jump(key.hash, count).into());
        }
    }

    fn count_draws(&self, key: Key<'_>, last: u64) -> Option<u32> {
        Some(jump_counted(key.hash, last as u32 + 1).1)
    }
}

/// The bucket out of `count` for a hash; 0 where there is no bucket.
#[inline]
pub fn jump(hash: u64, count: u32) -> u32 {
    jump_counted(hash, count).0
}

/// The bucket, and how many draws it took; who does not ask for them does not pay for them.
#[inline]
fn jump_counted(hash: u64, count: u32) -> (u32, u32) {
    let (mut jump, mut landed, mut draws) = (Jumping { state: hash, at: 0.0 }, 0.0, 0);
    // A jump leads one bucket on at least, so it ends.
    while jump.at < f64::from(count) {
        landed = jump.at;
        draws += 1;
        jump = jump.next();
    }
    (landed as i64 as u32, draws)
}

/// The buckets of four keys, step by step together.
#[inline]
fn jump_four(hashes: [u64; 4], count: u32) -> [u32; 4] {
    let mut jumps = hashes.map(|state| Jumping { state, at: 0.0 });
    let mut landed = [0.0; 4];
    // Ends as it does for one.
    loop {
        let mut is_any_inside = false;
        for (jump, landed) in jumps.iter_mut().zip(&mut landed) {
            let is_inside = jump.at < f64::from(count);
            is_any_inside |= is_inside;
            let next = jump.next();
            *landed = if is_inside { jump.at } else { *landed };
            // Who is out stays out.
            *jump = Jumping { at: if is_inside { next.at } else { jump.at }, ..next };
        }
        if !is_any_inside {
            return landed.map(|at| at as i64 as u32);
        }
    }
}

/// A key on its way through the buckets.
#[derive(Clone, Copy)]
struct Jumping {
    state: u64,
    /// Where it is, of which the whole part is the bucket. Below 2³² before a step.
    at: f64,
}

impl Jumping {
    /// Exact on every platform: additions, a division and a multiplication of floats.
    #[inline]
    fn next(self) -> Self {
        let state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(1);
        let chance = 2_147_483_648.0 / (f64::from((state >> 33) as i32) + 1.0);
        // The bucket behind this one is floor(at) + 1. `at` plus 2⁵² is rounded to a whole number,
        // floor(at) or the one above it: both ways are gone, and the right one is taken.
        let rounded = self.at + TWO_TO_52;
        let (nearest, above) = (rounded - TWO_TO_52, rounded - (TWO_TO_52 - 1.0));
        let (near, far) = (nearest * chance, above * chance);
        Self { state, at: if nearest <= self.at { far } else { near } }
    }
}

const TWO_TO_52: f64 = 4_503_599_627_370_496.0;
/// Of the paper's linear congruential generator.
pub(super) const MULTIPLIER: u64 = 2_862_933_555_777_941_757;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_that_ends_just_behind_the_last_bucket_is_not_taken() {
        // From the chance of 1/2 back through the generator to the hash.
        let mut inverse = MULTIPLIER;
        for _ in 0..5 {
            inverse = inverse.wrapping_mul(2_u64.wrapping_sub(MULTIPLIER.wrapping_mul(inverse)));
        }
        let state = ((1 << 30) - 1) << 33;
        let hash = inverse.wrapping_mul(state - 1);
        assert_eq!(Jumping { state: hash, at: 0.0 }.next().at.to_bits(), 2.0_f64.to_bits());
        assert_eq!((jump(hash, 2), jump(hash, 3)), (0, 2));
        assert_eq!(jump_four([hash; 4], 2), [0; 4]);
        assert_eq!(jump_four([hash; 4], 3), [2; 4]);
    }
}
