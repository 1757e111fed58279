//! The hash ring with virtual nodes: each member stands at many points of a circle, and a key
//! belongs to the first point at or after its hash.
//!
//! Karger, Lehman, Leighton, Panigrahy, Levine and Lewin, "Consistent Hashing and Random Trees",
//! STOC 1997, section 4; virtual nodes as in Stoica et al., "Chord", SIGCOMM 2001, section 6.1. A
//! member of weight w stands at v · w points, one at least, and the labels of its points are its
//! name and a running number: so a join, a leave or another weight moves no point that stays.
//! Load: with n equal members its coefficient of variation is sqrt((n - 1) / (n v + 1)).
//!
//! Look-ups are not a binary search. Points are evenly spread, being hashes, so a table over the
//! leading bits of the circle, with about one point an entry, leads to within a point or two of
//! the right one: O(1) expected, two or three reads, O(log n v) where the hash is a bad one.
//! Memory: 16 bytes a point and 4 to 8 for the table. A change costs O(n v) copies.

use std::collections::BTreeMap;

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Parameters of `ring`.
    pub(super) struct RingParams {
        /// Points of a member of weight 1.
        pub virtual_nodes: u32 = 100 => 1..=1_000_000,
    }
}

/// A ring with virtual nodes.
#[derive(Debug)]
pub(super) struct VirtualNodes {
    hasher: Hasher,
    points_each: u32,
    /// Name and number of points of each member, by id; no points for those that are not members.
    members: Vec<(String, u32)>,
    circle: Circle,
}

impl Ring for VirtualNodes {
    const ABOUT: About = About {
        name: "ring",
        summary: "the hash ring with virtual nodes: any member may come and go, weights, replicas",
        source: "Karger et al., STOC 1997; Stoica et al., SIGCOMM 2001",
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
    type Params = RingParams;

    fn fits(params: &RingParams, members: &Membership) -> Result<(), Unfit> {
        let points: f64 = members
            .iter()
            .map(|(_, member)| f64::from(point_count(params.virtual_nodes, member.weight)))
            .sum();
        Unfit::unless(points <= POINTS_MAX, || {
            format!("{points} points are too many: use smaller weights or fewer virtual nodes")
        })
    }

    fn cost(params: &RingParams, member_count: u32) -> Cost {
        let points = u64::from(member_count) * u64::from(params.virtual_nodes);
        Cost {
            table_bytes: 16 * points + 4 * points.next_power_of_two(),
            build_steps: points * u64::from(points.max(2).ilog2()),
            lookup_steps: 3.0,
        }
    }

    fn build(params: &RingParams, members: &Membership, hasher: Hasher) -> Self {
        let mut ring = Self {
            hasher,
            points_each: params.virtual_nodes,
            members: vec![(String::new(), 0); members.id_bound()],
            circle: Circle::default(),
        };
        let mut points = Vec::new();
        for (id, member) in members.iter() {
            let count = point_count(params.virtual_nodes, member.weight);
            ring.members[id.index()] = (member.name.clone(), count);
            points.extend(ring.points_of(id, 0..count));
        }
        ring.circle = Circle::of(points);
        ring
    }
}

impl VirtualNodes {
    /// The owner of a place on the circle.
    pub(super) fn owner_at(&self, place: u64) -> u32 {
        self.circle.owner(place)
    }

    /// The first `count` distinct owners from a place on, into `out`.
    pub(super) fn walk_at(&self, place: u64, count: usize, out: &mut Vec<MemberId>) {
        self.circle.walk(place, count, out);
    }

    fn points_of(&self, id: MemberId, numbers: std::ops::Range<u32>) -> Vec<Point> {
        let name = self.members[id.index()].0.as_bytes();
        let point = |number: u32| Point {
            at: self.hasher.spread(self.hasher.salted(name, number.into())),
            owner: id.0,
            number,
        };
        numbers.map(point).collect()
    }
}

impl Placement for VirtualNodes {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(self.circle.owner(self.hasher.spread(key.hash)))
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        self.circle.walk(self.hasher.spread(key.hash), count, out);
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        if self.members.len() <= id.index() {
            self.members.resize(id.index() + 1, (String::new(), 0));
        }
        assert!(self.members[id.index()].1 == 0, "{id:?} is a member already");
        let count = point_count(self.points_each, member.weight);
        self.members[id.index()] = (member.name.clone(), count);
        self.circle.insert(self.points_of(id, 0..count));
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        assert!(0 < self.members[id.index()].1, "only a member is removed");
        self.members[id.index()].1 = 0;
        self.circle.retain(|point| point.owner != id.0);
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        let before = self.members[id.index()].1;
        assert!(0 < before, "only a member is weighed");
        let after = point_count(self.points_each, weight);
        self.members[id.index()].1 = after;
        if before < after {
            self.circle.insert(self.points_of(id, before..after));
        } else {
            self.circle.retain(|point| point.owner != id.0 || point.number < after);
        }
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        self.circle.table_bytes()
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        Some(self.circle.shares())
    }
}

/// A point of a circle.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Point {
    /// Where it is, on a circle of 2⁶⁴.
    pub(super) at: u64,
    /// Whose it is. Where two points fall together, the lower id has both.
    pub(super) owner: u32,
    /// Which of its owner's points it is.
    pub(super) number: u32,
}

/// Points of a circle, and the way to the first at or after a place.
#[derive(Debug, Default)]
pub(super) struct Circle {
    /// In rising order.
    points: Vec<Point>,
    /// For each value of the leading bits of a place, how many points have smaller leading bits;
    /// one entry more for the end.
    index: Vec<u32>,
    /// How far a place is shifted down to give its leading bits.
    shift: u32,
}

impl Circle {
    /// The circle with these points.
    pub(super) fn of(mut points: Vec<Point>) -> Self {
        points.sort_unstable();
        let mut circle = Self { points, ..Self::default() };
        circle.make_index();
        circle
    }

    /// Adds points.
    pub(super) fn insert(&mut self, points: Vec<Point>) {
        // Two sorted runs: the standard library's stable sort finds and merges them.
        let mut points = points;
        points.sort_unstable();
        self.points.extend(points);
        self.points.sort();
        self.make_index();
    }

    /// Takes away the points that `stays` does not hold for.
    pub(super) fn retain(&mut self, stays: impl FnMut(&Point) -> bool) {
        self.points.retain(stays);
        self.make_index();
    }

    /// The points in rising order.
    pub(super) fn points(&self) -> &[Point] {
        &self.points
    }

    /// The index of the first point at or after `place`, going round.
    #[inline]
    pub(super) fn first_at_or_after(&self, place: u64) -> usize {
        let is_before = |index: usize| self.points.get(index).is_some_and(|p| p.at < place);
        let mut found = self.index[(place >> self.shift) as usize] as usize;
        // Among evenly spread points it is one of the first three, nearly always. Which one is a
        // coin toss, and so these steps are sums and no branches: a processor that guesses wrong
        // throws away the look-ups that it has begun behind this one.
        found += usize::from(is_before(found));
        found += usize::from(is_before(found));
        if is_before(found) {
            found += self.points[found..].partition_point(|point| point.at < place);
        }
        if found == self.points.len() { 0 } else { found }
    }

    /// The owner of `place`.
    #[inline]
    pub(super) fn owner(&self, place: u64) -> u32 {
        self.points[self.first_at_or_after(place)].owner
    }

    /// The first `count` distinct owners from `place` on, into `out`.
    pub(super) fn walk(&self, place: u64, count: usize, out: &mut Vec<MemberId>) {
        self.walk_from(self.first_at_or_after(place), count, out);
    }

    /// The first `count` distinct owners from the point at `index` on, into `out`.
    pub(super) fn walk_from(&self, index: usize, count: usize, out: &mut Vec<MemberId>) {
        out.clear();
        let (before, behind) = self.points.split_at(index);
        for point in behind.iter().chain(before) {
            if out.len() == count {
                break;
            }
            if !out.contains(&MemberId(point.owner)) {
                out.push(MemberId(point.owner));
            }
        }
    }

    /// The part of the circle that belongs to each owner.
    pub(super) fn shares(&self) -> Vec<(MemberId, f64)> {
        let last = self.points.last().expect("a circle has points");
        let mut from = last.at;
        let mut arcs = BTreeMap::<u32, u128>::new();
        for point in &self.points {
            *arcs.entry(point.owner).or_default() += u128::from(point.at.wrapping_sub(from));
            from = point.at;
        }
        // A single point owns all, which is no distance from itself.
        if self.points.first().is_some_and(|first| first.at == last.at) {
            arcs.insert(self.points[0].owner, 1 << 64);
        }
        let whole = 18_446_744_073_709_551_616.0;
        arcs.into_iter().map(|(id, arc)| (MemberId(id), arc as f64 / whole)).collect()
    }

    /// Bytes of its tables.
    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(self.points.as_slice()) + size_of_val(self.index.as_slice())
    }

    fn make_index(&mut self) {
        assert!(!self.points.is_empty(), "a circle without points owns nothing");
        let bits = (self.points.len().next_power_of_two().ilog2()).max(1);
        self.shift = 64 - bits;
        self.index.clear();
        self.index.reserve((1 << bits) + 1);
        for (index, point) in self.points.iter().enumerate() {
            let leading = (point.at >> self.shift) as usize;
            while self.index.len() <= leading {
                self.index.push(index as u32);
            }
        }
        self.index.resize((1 << bits) + 1, self.points.len() as u32);
    }
}

/// The part of a table's entries that belongs to each owner.
pub(super) fn shares_of(owners: &[u32]) -> Vec<(MemberId, f64)> {
    let mut counts = BTreeMap::<u32, u32>::new();
    for owner in owners {
        *counts.entry(*owner).or_default() += 1;
    }
    let share = |count| f64::from(count) / owners.len() as f64;
    counts.into_iter().map(|(id, count)| (MemberId(id), share(count))).collect()
}

/// How many points a member of this weight has: one at least, so that no member is lost.
fn point_count(virtual_nodes: u32, weight: f64) -> u32 {
    // A cast from float saturates, the same everywhere.
    ((f64::from(virtual_nodes) * weight + 0.5) as u32).max(1)
}

/// So many points fit the index, and 2 GiB.
const POINTS_MAX: f64 = 134_217_728.0;
