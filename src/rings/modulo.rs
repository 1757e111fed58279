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
use crate::rings::numbered::{BucketFunction, Removal};

crate::config! {
    /// Parameters of `modulo`.
    pub(super) struct ModuloParams {
        /// What becomes of the number of a member that leaves.
        pub removal: Removal = Removal::Renumber,
    }
}

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
    type Params = ModuloParams;

    fn removal(params: &ModuloParams) -> Removal {
        params.removal.clone()
    }

    fn steps(_: &ModuloParams, _: u32) -> f64 {
        1.0
    }

    fn new(_: &ModuloParams) -> Self {
        Self
    }

    fn bucket(&self, _: &Hasher, key: Key<'_>, count: u32) -> u32 {
        (key.hash % u64::from(count)) as u32
    }
}
