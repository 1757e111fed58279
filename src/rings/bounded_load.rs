//! Consistent hashing with bounded loads: a ring on which nobody may own more than a bound above
//! the mean; what a full member cannot take goes on to another.
//!
//! The keys are cut into partitions by their hash, and the partitions are placed one after the
//! other, in the order of their numbers: each goes to the member of the first point at or after
//! its hash that still has room. Onwards it goes clockwise (Mirrokni et al.), where neighbours of
//! a full member fill up too, or by random jumps (Chen et al.), which do not cascade.
//!
//! Mirrokni, Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018
//! (arXiv 1608.01350); Chen, Coleman and Shrivastava, "Revisiting Consistent Hashing with Bounded
//! Loads", AAAI 2021; labels and order as in buraksezer/consistent 1.0.0. O(1): one read; 4 bytes a
//! partition. A change places all partitions anew.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::ring::{Circle, Point, shares_of};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Where a partition goes whose first choice is full.
    pub(super) enum Overflow {
        /// To the next point of the ring, and so on.
        "clockwise" => Clockwise,
        /// To the point at another hash of it, and so on.
        "jump" => Jump,
    }
}

crate::config! {
    /// Parameters of `bounded_load`.
    pub(super) struct BoundedLoadParams {
        /// Into how many partitions the keys are cut.
        pub partitions: u32 = 65_536 => 1..=16_777_216,
        /// The bound: how many times its fair share a member may own.
        pub load: f64 = 1.25 => 1.0..=1000.0,
        /// Points of each member on the ring.
        pub virtual_nodes: u32 = 100 => 1..=100_000,
        /// Where a partition goes whose first choice is full.
        pub overflow: Overflow = Overflow::Clockwise,
    }
}

/// Consistent hashing with bounded loads.
#[derive(Debug)]
pub(super) struct BoundedLoad {
    hasher: Hasher,
    params: BoundedLoadParams,
    /// In the order of ids.
    members: Vec<(MemberId, Member)>,
    circle: Circle,
    owners: Vec<u32>,
}

impl BoundedLoad {
    fn points(&self, id: MemberId, name: &str) -> Vec<Point> {
        let point = |number: u32| {
            let label = format!("{number}:{name}");
            let at = self.hasher.spread(self.hasher.of(label.as_bytes()));
            Point { at, owner: id.0, number }
        };
        (0..self.params.virtual_nodes).map(point).collect()
    }

    /// Places all partitions anew.
    fn distribute(&mut self) {
        let total: f64 = self.members.iter().map(|(_, member)| member.weight).sum();
        let each = f64::from(self.params.partitions) / total;
        let bound = self.members.last().map_or(0, |(id, _)| id.index() + 1);
        let mut room = vec![0_u32; bound];
        for (id, member) in &self.members {
            room[id.index()] = libm::ceil(each * member.weight * self.params.load) as u32;
        }
        let points = self.circle.points();
        for partition in 0..self.params.partitions {
            let hash = self.hasher.of(&u64::from(partition).to_le_bytes());
            let mut at = self.circle.first_at_or_after(self.hasher.spread(hash));
            for attempt in 1.. {
                let has_room = &mut room[points[at].owner as usize];
                if 0 < *has_room {
                    *has_room -= 1;
                    break;
                }
                at = match self.params.overflow {
                    Overflow::Jump if attempt <= JUMPS_MAX => {
                        let hash = self.hasher.again(hash, attempt);
                        self.circle.first_at_or_after(self.hasher.spread(hash))
                    }
                    // All rooms together hold all partitions, so the walk ends.
                    _ => (at + 1) % points.len(),
                };
            }
            self.owners[partition as usize] = points[at].owner;
        }
    }
}

impl Ring for BoundedLoad {
    const ABOUT: About = About {
        name: "bounded_load",
        summary: "a ring with bounded loads: no node owns more than a bound above its fair share",
        source: "Mirrokni, Thorup and Zadimoghaddam, SODA 2018; Chen et al., AAAI 2021",
        version: "buraksezer/consistent 1.0.0",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: false,
        weights: false,
        replicas: false,
        bounded: true,
        minimal_disruption: false,
        history_free: true,
    };
    type Params = BoundedLoadParams;

    fn fits(params: &BoundedLoadParams, members: &Membership) -> Result<(), Unfit> {
        Unfit::unless(members.len() <= params.partitions as usize, || {
            format!("{} partitions for {} members", params.partitions, members.len())
        })
    }

    fn cost(params: &BoundedLoadParams, member_count: u32) -> Cost {
        let points = u64::from(member_count) * u64::from(params.virtual_nodes);
        let partitions = u64::from(params.partitions);
        Cost {
            table_bytes: 16 * points + 4 * points.next_power_of_two() + 4 * partitions,
            build_steps: points * u64::from(points.max(2).ilog2()) + 4 * partitions,
            lookup_steps: 1.0,
        }
    }

    fn build(params: &BoundedLoadParams, members: &Membership, hasher: Hasher) -> Self {
        let mut ring = Self {
            hasher,
            params: params.clone(),
            members: members.iter().map(|(id, member)| (id, member.clone())).collect(),
            circle: Circle::default(),
            owners: vec![0; params.partitions as usize],
        };
        let points = members.iter().flat_map(|(id, member)| ring.points(id, &member.name));
        ring.circle = Circle::of(points.collect());
        ring.distribute();
        ring
    }
}

impl Placement for BoundedLoad {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(self.owners[(key.hash % self.owners.len() as u64) as usize])
    }

    fn replicas(&self, _: Key<'_>, _: usize, _: &mut Vec<MemberId>) -> Result<(), Unsupported> {
        Err(Unsupported::because("its bound is kept for the owners only"))
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        self.circle.insert(self.points(id, &member.name));
        let index = self.members.partition_point(|(other, _)| *other < id);
        self.members.insert(index, (id, member.clone()));
        self.distribute();
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.members.retain(|(other, _)| *other != id);
        self.circle.retain(|point| point.owner != id.0);
        self.distribute();
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        // The bounds follow the weights, and so do the loads as far as the bounds press.
        let found = self.members.iter_mut().find(|(other, _)| *other == id);
        found.expect("only a member is weighed").1.weight = weight;
        self.distribute();
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        self.circle.table_bytes() + size_of_val(self.owners.as_slice())
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        Some(shares_of(&self.owners))
    }
}

/// After so many jumps a partition walks.
const JUMPS_MAX: u64 = 1000;
