//! Hash modulo the number of members: the baseline that every ring is measured against.
//!
//! Perfectly even, free, and the reason why rings exist: from n to m members only
//! min(n, m) / lcm(n, m) of the keys stay, so one more member moves n / (n + 1) of them.
//!
//! Folklore. O(1) time: one division, and one read of the member's number.

use crate::choice::About;
use crate::model::placement::Key;
use crate::rings::Capabilities;
use crate::rings::hash::Hasher;
use crate::rings::modulus::Modulus;
use crate::rings::numbered::{BucketFunction, Removal, RemovalParams};

/// `hash mod n`.
#[derive(Debug)]
pub(super) struct Modulo;

impl BucketFunction for Modulo {
    const ABOUT: About = About {
        name: "modulo",
        summary: "hash modulo the number of members: even and free, moves nearly all on a change",
        source: "folklore",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: false,
        weights: false,
        replicas: true,
        bounded: false,
        minimal_disruption: false,
        history_free: true,
    };
    type Params = RemovalParams;

    fn removal(params: &RemovalParams) -> Removal {
        params.removal.clone()
    }

    fn steps(_: &RemovalParams, _: u32) -> f64 {
        1.0
    }

    fn new(_: &RemovalParams) -> Self {
        Self
    }

    #[inline]
    fn bucket(&self, _: &Hasher, key: Key<'_>, last: u64) -> u64 {
        key.hash % (last + 1)
    }

    fn buckets(&self, _: &Hasher, keys: &[Key<'_>], last: u64, mut take: impl FnMut(u64)) {
        let count = Modulus::new(last + 1);
        for key in keys {
            take(count.of(key.hash));
        }
    }
}
