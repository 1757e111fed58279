//! Redis Cluster's slots: 16,384 of them, a table of who owns which, and hash tags in keys.
//!
//! The slot of a key is CRC16 of it, or of what stands between the first `{` and the next `}`,
//! where that is not empty. Slots are dealt out in stretches when the cluster is created, and
//! moved one by one when it changes. The number of slots limits how even it can be: with K keys
//! the slots differ by sqrt(slots / K) before any member does.
//!
//! Redis 7.0.15, `src/cluster.c` (`keyHashSlot`) and `redis-cli --cluster create` and
//! `rebalance`; Redis Cluster specification, "Key distribution model". O(1): a CRC and one read; 4
//! bytes a slot.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::{Hasher, crc16};
use crate::rings::ring::shares_of;
use crate::rings::slot_table::SlotTable;
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Parameters of `slots`.
    pub(super) struct SlotsParams {
        /// How many slots there are: a divisor of 65,536, as CRC16 has no more values.
        pub count: u32 = 16_384 => 1..=65_536,
    }
    check check;
}

fn check(
    params: &SlotsParams,
    value: &crate::config::Value,
    problems: &mut crate::config::Problems,
) {
    if !params.count.is_power_of_two() {
        problems.add(value.place, format!("found {} slots, expected a power of two", params.count));
    }
}

/// Redis Cluster's slots. Its hash function is part of it.
#[derive(Debug)]
pub(super) struct Slots {
    table: SlotTable,
}

impl Ring for Slots {
    const ABOUT: About = About {
        name: "slots",
        summary: "Redis Cluster: 16384 slots by CRC16 with hash tags, moved one by one",
        source: "Redis, src/cluster.c",
        version: "Redis 7.0.15",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: true,
        replicas: false,
        bounded: false,
        minimal_disruption: true,
        history_free: false,
    };
    type Params = SlotsParams;

    fn fits(params: &SlotsParams, members: &Membership) -> Result<(), Unfit> {
        Unfit::unless(members.len() <= params.count as usize, || {
            format!("{} slots for {} members", params.count, members.len())
        })
    }

    fn cost(params: &SlotsParams, member_count: u32) -> Cost {
        Cost {
            table_bytes: 4 * u64::from(params.count),
            build_steps: u64::from(params.count) + u64::from(member_count),
            lookup_steps: 1.0,
        }
    }

    fn build(params: &SlotsParams, members: &Membership, _: Hasher) -> Self {
        Self { table: SlotTable::in_stretches(params.count, members) }
    }
}

impl Placement for Slots {
    fn hash(&self, bytes: &[u8]) -> u64 {
        crc16(tag(bytes)).into()
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let owners = self.table.owners();
        MemberId(owners[(key.hash % owners.len() as u64) as usize])
    }

    fn replicas(&self, _: Key<'_>, _: usize, _: &mut Vec<MemberId>) -> Result<(), Unsupported> {
        Err(Unsupported::because("a slot has one owner; its copies are that owner's affair"))
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        self.table.add(id, member.weight);
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.table.remove(id);
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        self.table.reweight(id, weight);
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        self.table.table_bytes()
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        Some(shares_of(self.table.owners()))
    }
}

/// The part of a key that is hashed.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let inside = &key[open + 1..];
    match inside.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &inside[..close],
    }
}
