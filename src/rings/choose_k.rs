//! Consistent choose-k: a ranking of all buckets for each key, out of nothing but hashes.
//!
//! The first k of a key's ranking are a uniform choice of k out of n, and from n to n + 1 buckets
//! at most one of the k changes, with chance k/(n + 1). The largest of the chosen is the largest of
//! k independent consistent hashes, h_i(n - i) + i; below it are the chosen out of so many. A
//! member that is gone is passed over, so any may leave, and the answer does not depend on the
//! order in which they did.
//!
//! github/rust-gems, crate consistent-choose-k 0.1.2, README ("ConsistentChooseK algorithm",
//! "Deletion-tolerant node maps"). Rank r costs r hashes, each of them JumpBackHash; h dead ones
//! before the first live one cost (h + 1)² / 2. No table but 4 bytes a bucket for its member.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::jump_back::{SplitMix64, jump_back};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// `choose_k` has no parameters.
    pub(super) struct ChooseKParams {}
}

/// Consistent choose-k.
#[derive(Debug)]
pub(super) struct ChooseK {
    hasher: Hasher,
    /// The member behind each bucket, or [`DEAD`].
    members: Vec<u32>,
    /// The dead buckets, the one that died last at the end.
    dead: Vec<u32>,
}

impl ChooseK {
    /// The next bucket of a key's ranking, given those that came before in rising order.
    fn next(&self, hash: u64, chosen: &[u32]) -> u32 {
        let mut count = self.members.len() as u32;
        // Where the newest candidate is not above the largest that is chosen, the question is
        // the same for those below that one.
        for (index, &largest) in (0..=chosen.len()).rev().zip(chosen.iter().rev()) {
            let candidate = self.candidate(hash, index as u32, count);
            if largest < candidate {
                return candidate;
            }
            count = largest;
        }
        self.candidate(hash, 0, count)
    }

    fn candidate(&self, hash: u64, index: u32, count: u32) -> u32 {
        let mut words = SplitMix64::new(self.hasher.again(hash, index.into()));
        jump_back(&mut words, count - index) + index
    }

    /// Calls `each` with the members of a key's ranking until it has enough. With more than
    /// [`RANKS_MAX`] ranks it goes on in the order of the buckets.
    fn rank(&self, key: Key<'_>, mut is_enough: impl FnMut(MemberId) -> bool) {
        let mut chosen = [0; RANKS_MAX];
        let ranks = RANKS_MAX.min(self.members.len());
        for rank in 0..ranks {
            let next = self.next(key.hash, &chosen[..rank]);
            let place = chosen[..rank].partition_point(|&other| other < next);
            chosen.copy_within(place..rank, place + 1);
            chosen[place] = next;
            let member = self.members[next as usize];
            if member != DEAD && is_enough(MemberId(member)) {
                return;
            }
        }
        for (bucket, &member) in (0..).zip(&self.members) {
            let is_new = member != DEAD && chosen[..ranks].binary_search(&bucket).is_err();
            if is_new && is_enough(MemberId(member)) {
                return;
            }
        }
    }
}

impl Ring for ChooseK {
    const ABOUT: About = About {
        name: "choose_k",
        summary: "consistent choose-k: a ranking of all nodes by hashes alone; uniform replicas",
        source: "github/rust-gems, crate consistent-choose-k",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: false,
        replicas: true,
        bounded: false,
        minimal_disruption: true,
        history_free: false,
    };
    type Params = ChooseKParams;

    fn fits(_: &ChooseKParams, _: &Membership) -> Result<(), Unfit> {
        Ok(())
    }

    fn cost(_: &ChooseKParams, member_count: u32) -> Cost {
        Cost {
            table_bytes: 4 * u64::from(member_count),
            build_steps: member_count.into(),
            lookup_steps: 2.6,
        }
    }

    fn build(_: &ChooseKParams, members: &Membership, hasher: Hasher) -> Self {
        let members = members.iter().map(|(id, _)| id.0).collect();
        Self { hasher, members, dead: Vec::new() }
    }
}

impl Placement for ChooseK {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let mut owner = None;
        self.rank(key, |member| {
            owner = Some(member);
            true
        });
        owner.expect("the last member never leaves")
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        out.clear();
        if 0 < count {
            self.rank(key, |member| {
                out.push(member);
                out.len() == count
            });
        }
        Ok(())
    }

    fn add(&mut self, id: MemberId, _: &Member) -> Result<(), Unsupported> {
        match self.dead.pop() {
            Some(bucket) => self.members[bucket as usize] = id.0,
            None => self.members.push(id.0),
        }
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        let found = self.members.iter().position(|&member| member == id.0);
        let bucket = found.expect("only a member is removed");
        assert!(self.dead.len() + 1 < self.members.len(), "the last member never leaves");
        if self.dead.is_empty() && bucket + 1 == self.members.len() {
            self.members.pop();
        } else {
            self.members[bucket] = DEAD;
            self.dead.push(bucket as u32);
        }
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: all buckets are alike"))
    }

    fn table_bytes(&self) -> usize {
        4 * (self.members.len() + self.dead.len())
    }
}

const DEAD: u32 = u32::MAX;
/// Ranks that are computed before the walk; where two of three members are gone, one key in 10¹¹
/// needs more.
const RANKS_MAX: usize = 64;
