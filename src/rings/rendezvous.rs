//! Rendezvous hashing (highest random weight): every member has a score for a key, and the best
//! score wins.
//!
//! Nothing is kept but the members, the spread is perfect up to the noise of the hash, a leaver's
//! keys go to their second best, and the best k are the replicas. The price is one score a
//! member a look-up.
//!
//! Thaler and Ravishankar, "Using Name-Based Mappings to Increase Hit Rates", IEEE/ACM ToN 6(1),
//! 1998. O(n) time, k passes for k replicas. The score of `mix` is one folded multiplication;
//! the others are those of four libraries.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::{Hasher, mix};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// The score of a member for a key.
    pub(super) enum Score {
        /// The hash of the key times a word of the member, folded.
        "mix" => Mix,
        /// The hashes of key and member together, through xorshift and a multiplication: Go's
        /// dgryski/go-rendezvous.
        "xorshift" => Xorshift,
        /// The hash of the key's bytes and then the member's name.
        "key_node" => KeyNode,
        /// The hash of the member's name and then the key's bytes.
        "node_key" => NodeKey,
        /// The hash of the member's name, a hyphen, and the key's bytes: Python's clandestined.
        "node_dash_key" => NodeDashKey,
    }
}

crate::config! {
    /// Parameters of `rendezvous`.
    pub(super) struct RendezvousParams {
        /// The score of a member for a key.
        pub score: Score = Score::Mix,
    }
}

/// Rendezvous hashing.
#[derive(Debug)]
pub(super) struct Rendezvous {
    scores: Scores,
}

impl Ring for Rendezvous {
    const ABOUT: About = About {
        name: "rendezvous",
        summary: "rendezvous hashing: the best score wins; even, no table, ranks replicas, O(n)",
        source: "Thaler and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: false,
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
        Scores::cost(member_count)
    }

    fn build(params: &RendezvousParams, members: &Membership, hasher: Hasher) -> Self {
        Self { scores: Scores::new(params.score.clone(), members, hasher) }
    }
}

impl Placement for Rendezvous {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.scores.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let scores = &self.scores;
        let best = match scores.kind {
            Score::Mix => scores.best_mixed(key.hash),
            _ => best(scores.len(), |index| scores.score(key, index)),
        };
        scores.member(best)
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        let scores = &self.scores;
        best_few(
            scores.len(),
            count,
            |index| scores.score(key, index),
            |index| scores.member(index),
            out,
        );
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        self.scores.add(id, &member.name);
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.scores.remove(id);
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: use `weighted_rendezvous`"))
    }

    fn table_bytes(&self) -> usize {
        self.scores.table_bytes()
    }
}

/// The members and their scores.
#[derive(Debug)]
pub(super) struct Scores {
    kind: Score,
    pub(super) hasher: Hasher,
    /// The two words of each member, in the order of ids.
    words: Vec<(u64, u64)>,
    members: Vec<(u32, String)>,
}

impl Scores {
    pub(super) fn new(kind: Score, members: &Membership, hasher: Hasher) -> Self {
        let mut scores = Self { kind, hasher, words: Vec::new(), members: Vec::new() };
        for (id, member) in members.iter() {
            scores.add(id, &member.name);
        }
        scores
    }

    pub(super) fn cost(member_count: u32) -> Cost {
        Cost {
            table_bytes: 20 * u64::from(member_count),
            build_steps: member_count.into(),
            lookup_steps: member_count.into(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn member(&self, index: usize) -> MemberId {
        MemberId(self.members[index].0)
    }

    pub(super) fn index_of(&self, id: MemberId) -> usize {
        let found = self.members.binary_search_by_key(&id.0, |(id, _)| *id);
        found.expect("only a member leaves or is weighed")
    }

    /// Takes `id` in; the place in the order that it has now.
    pub(super) fn add(&mut self, id: MemberId, name: &str) -> usize {
        let index = self.members.partition_point(|(other, _)| *other < id.0);
        let word = self.hasher.of(name.as_bytes());
        self.words.insert(index, (word, mix(!word) | 1));
        self.members.insert(index, (id.0, name.to_owned()));
        index
    }

    /// Lets `id` go; the place in the order that it had.
    pub(super) fn remove(&mut self, id: MemberId) -> usize {
        let index = self.index_of(id);
        self.words.remove(index);
        self.members.remove(index);
        assert!(!self.members.is_empty(), "the last member never leaves");
        index
    }

    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(self.words.as_slice()) + 4 * self.members.len()
    }

    /// The score of the member at `index` for `key`.
    pub(super) fn score(&self, key: Key<'_>, index: usize) -> u64 {
        let (word, factor) = self.words[index];
        let name = self.members[index].1.as_bytes();
        match self.kind {
            Score::Mix => folded(key.hash ^ word, factor),
            Score::Xorshift => {
                let x = key.hash ^ word;
                let x = x ^ (x >> 12);
                let x = x ^ (x << 25);
                (x ^ (x >> 27)).wrapping_mul(2_685_821_657_736_338_717)
            }
            Score::KeyNode => self.hasher.joined(&[key.bytes, name]),
            Score::NodeKey => self.hasher.joined(&[name, key.bytes]),
            Score::NodeDashKey => self.hasher.joined(&[name, b"-", key.bytes]),
        }
    }

    /// The index of the best folded score. Four candidates at a time: one alone would wait for
    /// each comparison before the next.
    fn best_mixed(&self, hash: u64) -> usize {
        let mut lanes = [(0_u64, 0_usize); 4];
        let mut quads = self.words.chunks_exact(4);
        for (index, quad) in (0..).step_by(4).zip(&mut quads) {
            for (lane, (word, factor)) in lanes.iter_mut().zip(quad) {
                let score = folded(hash ^ word, *factor);
                if lane.0 < score {
                    *lane = (score, index);
                }
            }
        }
        let rest = self.words.len() - quads.remainder().len();
        let (mut best, mut best_score) = (0, 0);
        for (lane, (score, index)) in lanes.into_iter().enumerate() {
            // Of equal scores the first index wins, and a lane without a score has none.
            let index = index + lane;
            if best_score < score || (best_score == score && index < best) {
                (best, best_score) = (index, score);
            }
        }
        for (index, (word, factor)) in (rest..).zip(quads.remainder()) {
            let score = folded(hash ^ word, *factor);
            if best_score < score {
                (best, best_score) = (index, score);
            }
        }
        best
    }
}

/// The two halves of a product, one over the other (as in wyhash and foldhash).
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// The index of the best score out of `count`; of equal ones, the first.
pub(super) fn best<S: PartialOrd>(count: usize, score: impl Fn(usize) -> S) -> usize {
    let (mut best, mut best_score) = (0, score(0));
    for index in 1..count {
        let score = score(index);
        if best_score < score {
            (best, best_score) = (index, score);
        }
    }
    best
}

/// The members with the best scores, best first: one pass over all for each, and no memory.
pub(super) fn best_few<S: PartialOrd>(
    count: usize,
    wanted: usize,
    score: impl Fn(usize) -> S,
    member: impl Fn(usize) -> MemberId,
    out: &mut Vec<MemberId>,
) {
    out.clear();
    // What was chosen last: the next is the best of those behind it.
    let mut last: Option<(S, usize)> = None;
    for _ in 0..wanted.min(count) {
        let mut next: Option<(S, usize)> = None;
        for index in 0..count {
            let score = score(index);
            let is_behind = |(s, i): &(S, usize)| score < *s || (score == *s && *i < index);
            let is_ahead = |(s, _): &(S, usize)| *s < score;
            if last.as_ref().is_none_or(is_behind) && next.as_ref().is_none_or(is_ahead) {
                next = Some((score, index));
            }
        }
        out.extend(next.as_ref().map(|(_, index)| member(*index)));
        last = next;
    }
}
