//! Rendezvous hashing with weights: a member of weight w scores -w / ln(u), for a uniform u.
//!
//! -ln(u) / w is an exponential time of rate w, and the first of several to ring is each with a
//! chance proportional to its rate: shares are exactly as weights, and another weight for one
//! member moves keys only to it or from it.
//!
//! Schindelhauer and Schomaker, "Weighted Distributed Hash Tables", SPAA 2005 (the logarithmic
//! method); Resch, "New Hashing Algorithms for Data Storage", SNIA SDC 2015. O(n) time, with a
//! logarithm each (of `libm`, so that all platforms agree).

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::rendezvous::{RendezvousParams, Scores, best, best_few};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

/// Rendezvous hashing with weights.
#[derive(Debug)]
pub(super) struct WeightedRendezvous {
    scores: Scores,
    weights: Vec<f64>,
}

impl WeightedRendezvous {
    fn score(&self, key: Key<'_>, index: usize) -> f64 {
        // u is 1 where the hash is among the last few words: the score is then infinite.
        let uniform = self.scores.score(key, index) as f64 / u64::MAX as f64;
        -self.weights[index] / libm::log(uniform)
    }
}

impl Ring for WeightedRendezvous {
    const ABOUT: About = About {
        name: "weighted_rendezvous",
        summary: "rendezvous hashing with exact weights: the score is -w / ln(u), O(n)",
        source: "Schindelhauer and Schomaker, SPAA 2005; Resch, SDC 2015",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: true,
        history_free: true,
    };
    type Params = RendezvousParams;

    fn fits(_: &RendezvousParams, _: &Membership) -> Result<(), Unfit> {
        Ok(())
    }

    fn cost(_: &RendezvousParams, member_count: u32) -> Cost {
        let Cost { table_bytes, build_steps, lookup_steps } = Scores::cost(member_count);
        Cost {
            table_bytes: table_bytes + 8 * u64::from(member_count),
            build_steps,
            lookup_steps: 2.0 * lookup_steps,
        }
    }

    fn build(params: &RendezvousParams, members: &Membership, hasher: Hasher) -> Self {
        let scores = Scores::new(params.score.clone(), members, hasher);
        Self { scores, weights: members.iter().map(|(_, member)| member.weight).collect() }
    }
}

impl Placement for WeightedRendezvous {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.scores.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        self.scores.member(best(self.scores.len(), |index| self.score(key, index)))
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        let member = |index| self.scores.member(index);
        best_few(self.scores.len(), count, |index| self.score(key, index), member, out);
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        let index = self.scores.add(id, &member.name);
        self.weights.insert(index, member.weight);
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        let index = self.scores.remove(id);
        self.weights.remove(index);
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        let index = self.scores.index_of(id);
        self.weights[index] = weight;
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        self.scores.table_bytes() + 8 * self.weights.len()
    }
}
