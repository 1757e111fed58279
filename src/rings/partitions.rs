//! Dynamo's three ways to cut the ring: tokens where they fall, tokens that place equal partitions,
//! and equal partitions dealt out.
//!
//! Strategy 1 is a ring: partitions end where tokens are. Strategy 2 cuts the ring into Q equal
//! partitions, each owned by the first token at or after its end. Strategy 3 gives each member Q/S
//! of the partitions, whichever; a joiner takes its part from all, a leaver gives its own to all.
//!
//! DeCandia et al., "Dynamo: Amazon's Highly Available Key-value Store", SOSP 2007, section 6.2. O(1)
//! expected; strategy 1: 16 bytes a token and 4 to 8 for the index, strategies 2 and 3: 4 bytes a
//! partition (and strategy 2 the tokens, to follow a change).

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::{Hasher, splitmix64};
use crate::rings::ring::{RingParams, VirtualNodes, shares_of};
use crate::rings::slot_table::SlotTable;
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// How the ring is cut, and who owns the parts.
    pub(super) enum Strategy {
        /// Strategy 1: random tokens, and partitions between them.
        "random_tokens" => RandomTokens,
        /// Strategy 2: random tokens, and equal partitions.
        "equal_partitions" => EqualPartitions,
        /// Strategy 3: equal partitions dealt out in turns.
        "dealt_in_turns" => DealtInTurns,
        /// Strategy 3: equal partitions dealt out at random.
        "dealt_at_random" => DealtAtRandom,
    }
}

crate::config! {
    /// Parameters of `partitions`.
    pub(super) struct PartitionsParams {
        /// How the ring is cut, and who owns the parts.
        pub strategy: Strategy = Strategy::DealtInTurns,
        /// Tokens of a member of weight 1, for strategies 1 and 2.
        pub tokens: u32 = 100 => 1..=100_000,
        /// Into how many parts the ring is cut, for strategies 2 and 3.
        pub partitions: u32 = 1024 => 1..=16_777_216,
    }
}

/// Dynamo's partitions.
#[derive(Debug)]
pub(super) struct Partitions {
    hasher: Hasher,
    cut: Cut,
}

#[derive(Debug)]
enum Cut {
    Tokens(VirtualNodes),
    /// The owner of each partition follows from the tokens.
    Equal {
        tokens: VirtualNodes,
        owners: Vec<u32>,
    },
    Dealt(SlotTable),
}

impl Partitions {
    /// The partition that a hash falls into, out of `count`.
    fn partition(&self, hash: u64, count: usize) -> usize {
        ((u128::from(self.hasher.spread(hash)) * count as u128) >> 64) as usize
    }

    fn change(
        &mut self,
        tokens: impl FnOnce(&mut VirtualNodes),
        dealt: impl FnOnce(&mut SlotTable),
    ) {
        match &mut self.cut {
            Cut::Tokens(ring) => tokens(ring),
            Cut::Equal { tokens: ring, owners } => {
                tokens(ring);
                *owners = owners_of(ring, owners.len());
            }
            Cut::Dealt(table) => dealt(table),
        }
    }
}

/// The owner of each of `count` equal partitions: that of the first token from its end on.
fn owners_of(tokens: &VirtualNodes, count: usize) -> Vec<u32> {
    let end = |index: usize| (((index as u128 + 1) << 64) / count as u128) as u64;
    (0..count).map(|index| tokens.owner_at(end(index))).collect()
}

impl Ring for Partitions {
    const ABOUT: About = About {
        name: "partitions",
        summary: "Dynamo's strategies 1 to 3: random tokens, equal partitions, partitions dealt out",
        source: "DeCandia et al., SOSP 2007, section 6.2",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: true,
        history_free: false,
    };
    type Params = PartitionsParams;

    fn fits(params: &PartitionsParams, members: &Membership) -> Result<(), Unfit> {
        match params.strategy {
            Strategy::RandomTokens | Strategy::EqualPartitions => {
                VirtualNodes::fits(&RingParams { virtual_nodes: params.tokens }, members)
            }
            Strategy::DealtInTurns | Strategy::DealtAtRandom => {
                Unfit::unless(members.len() <= params.partitions as usize, || {
                    format!("{} partitions for {} members", params.partitions, members.len())
                })
            }
        }
    }

    fn cost(params: &PartitionsParams, member_count: u32) -> Cost {
        let ring = VirtualNodes::cost(&RingParams { virtual_nodes: params.tokens }, member_count);
        let partitions = u64::from(params.partitions);
        match params.strategy {
            Strategy::RandomTokens => ring,
            Strategy::EqualPartitions => Cost {
                table_bytes: ring.table_bytes + 4 * partitions,
                build_steps: ring.build_steps + 3 * partitions,
                lookup_steps: 1.0,
            },
            Strategy::DealtInTurns | Strategy::DealtAtRandom => Cost {
                table_bytes: 4 * partitions,
                build_steps: partitions * u64::from(member_count),
                lookup_steps: 1.0,
            },
        }
    }

    fn build(params: &PartitionsParams, members: &Membership, hasher: Hasher) -> Self {
        let ring = RingParams { virtual_nodes: params.tokens };
        let tokens = || VirtualNodes::build(&ring, members, hasher.clone());
        let cut = match params.strategy {
            Strategy::RandomTokens => Cut::Tokens(tokens()),
            Strategy::EqualPartitions => {
                let tokens = tokens();
                let owners = owners_of(&tokens, params.partitions as usize);
                Cut::Equal { tokens, owners }
            }
            Strategy::DealtInTurns => Cut::Dealt(SlotTable::in_turns(params.partitions, members)),
            Strategy::DealtAtRandom => {
                let mut table = SlotTable::in_turns(params.partitions, members);
                let mut state = hasher.of(b"deal");
                table.permute(|owners| {
                    for last in (1..owners.len()).rev() {
                        state = splitmix64(state);
                        let other = (u128::from(state) * (last as u128 + 1)) >> 64;
                        owners.swap(last, other as usize);
                    }
                });
                Cut::Dealt(table)
            }
        };
        Self { hasher, cut }
    }
}

impl Placement for Partitions {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let owners = match &self.cut {
            Cut::Tokens(ring) => return ring.locate(key),
            Cut::Equal { owners, .. } => owners.as_slice(),
            Cut::Dealt(table) => table.owners(),
        };
        MemberId(owners[self.partition(key.hash, owners.len())])
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        let owners = match &self.cut {
            Cut::Tokens(ring) => return ring.replicas(key, count, out),
            Cut::Equal { tokens, owners } => {
                // The walk goes over the tokens, from the end of the partition.
                let index = self.partition(key.hash, owners.len());
                let end = ((index as u128 + 1) << 64) / owners.len() as u128;
                tokens.walk_at(end as u64, count, out);
                return Ok(());
            }
            Cut::Dealt(table) => table.owners(),
        };
        out.clear();
        let (before, behind) = owners.split_at(self.partition(key.hash, owners.len()));
        for &id in behind.iter().chain(before) {
            if out.len() == count {
                break;
            }
            if !out.contains(&MemberId(id)) {
                out.push(MemberId(id));
            }
        }
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        let weight = member.weight;
        self.change(
            |ring| ring.add(id, member).expect("a ring takes every member"),
            |table| table.add(id, weight),
        );
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.change(
            |ring| ring.remove(id).expect("a ring loses any member"),
            |table| table.remove(id),
        );
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        self.change(
            |ring| ring.reweight(id, weight).expect("a ring knows weights"),
            |table| table.reweight(id, weight),
        );
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        match &self.cut {
            Cut::Tokens(ring) => ring.table_bytes(),
            Cut::Equal { tokens, owners } => tokens.table_bytes() + size_of_val(owners.as_slice()),
            Cut::Dealt(table) => table.table_bytes(),
        }
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        Some(match &self.cut {
            Cut::Tokens(ring) => return ring.shares(),
            Cut::Equal { owners, .. } => shares_of(owners),
            Cut::Dealt(table) => shares_of(table.owners()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rings::HashKind;

    #[test]
    fn every_partition_is_met_and_they_are_equally_wide() {
        let params =
            PartitionsParams { strategy: Strategy::DealtInTurns, tokens: 1, partitions: 1 };
        let hasher = Hasher::new(HashKind::Xxh3, 0);
        let partitions = Partitions::build(&params, &Membership::uniform(1), hasher);
        for count in [1, 2, 3, 5, 100, 1024] {
            for index in 0..count {
                let from = ((index as u128) << 64).div_ceil(count as u128) as u64;
                assert_eq!(partitions.partition(from, count), index, "of {count}");
                let before = partitions.partition(from.wrapping_sub(1), count);
                assert_eq!(before, (index + count - 1) % count, "of {count}");
            }
        }
    }

    #[test]
    fn each_of_as_many_members_as_partitions_has_one() {
        for strategy in [Strategy::DealtInTurns, Strategy::DealtAtRandom] {
            let params = PartitionsParams { strategy, tokens: 1, partitions: 7 };
            let hasher = Hasher::new(HashKind::Xxh3, 3);
            let partitions = Partitions::build(&params, &Membership::uniform(7), hasher);
            let mut owners: Vec<u32> = (0..7)
                .map(|index| {
                    let hash = (2 * index + 1) * (u64::MAX / 14);
                    partitions.locate(Key { hash, bytes: &[] }).0
                })
                .collect();
            owners.sort_unstable();
            assert_eq!(owners, [0, 1, 2, 3, 4, 5, 6]);
        }
    }
}
