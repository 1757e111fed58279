//! Multi-probe consistent hashing: one point a member, and many probes a key.
//!
//! Of k places on the circle, a key takes the one that is nearest to the point behind it. So long
//! arcs, which are rarely near, get less, and the most loaded member has 1 + 1/(k - 1) times the
//! mean; the least loaded still has next to nothing. Memory is n points, not n v.
//!
//! Appleton and O'Reilly, "Multi-Probe Consistent Hashing", 2015 (arXiv 1505.00062). Probes by double
//! hashing, h1 + i h2, are what dgryski/go-mpchash (commit 7382f34) does, and worse than
//! independent ones. k look-ups of O(1) expected; 16 bytes a point and 4 to 8 for the index.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::ring::{Circle, Point};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// How the probes of a key are drawn.
    pub(super) enum Probing {
        /// Each by a hash of its own.
        "independent" => Independent,
        /// From two hashes: h1 + i h2.
        "double" => Double,
    }
}

crate::config! {
    /// Parameters of `multi_probe`.
    pub(super) struct MultiProbeParams {
        /// How many probes a key has.
        pub probes: u32 = 21 => 1..=10_000,
        /// How they are drawn.
        pub probing: Probing = Probing::Independent,
    }
}

/// Multi-probe consistent hashing.
#[derive(Debug)]
pub(super) struct MultiProbe {
    hasher: Hasher,
    probes: u32,
    probing: Probing,
    circle: Circle,
}

impl MultiProbe {
    fn point(hasher: &Hasher, id: MemberId, member: &Member) -> Point {
        let at = hasher.spread(hasher.of(member.name.as_bytes()));
        Point { at, owner: id.0, number: 0 }
    }

    /// The index of the point that is nearest behind a probe.
    fn nearest(&self, key: Key<'_>) -> usize {
        let spread = |hash| self.hasher.spread(hash);
        match self.probing {
            Probing::Independent => {
                self.nearest_of(|index| spread(self.hasher.again(key.hash, index.into())))
            }
            Probing::Double => {
                let first = spread(self.hasher.salted(key.bytes, 1));
                let step = spread(self.hasher.salted(key.bytes, 2));
                self.nearest_of(|index| first.wrapping_add(step.wrapping_mul(index.into())))
            }
        }
    }

    fn nearest_of(&self, probe: impl Fn(u32) -> u64) -> usize {
        let mut best = (u64::MAX, 0);
        for index in 0..self.probes {
            let place = probe(index);
            // Strictly behind it, as in go-mpchash.
            let found = self.circle.first_at_or_after(place.wrapping_add(1));
            let distance = self.circle.points()[found].at.wrapping_sub(place);
            if index == 0 || distance < best.0 {
                best = (distance, found);
            }
        }
        best.1
    }
}

impl Ring for MultiProbe {
    const ABOUT: About = About {
        name: "multi_probe",
        summary: "multi-probe hashing: one point a node, many probes a key, small memory",
        source: "Appleton and O'Reilly 2015 (arXiv 1505.00062)",
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
    type Params = MultiProbeParams;

    fn fits(_: &MultiProbeParams, _: &Membership) -> Result<(), Unfit> {
        Ok(())
    }

    fn cost(params: &MultiProbeParams, member_count: u32) -> Cost {
        let points = u64::from(member_count);
        Cost {
            table_bytes: 16 * points + 4 * points.next_power_of_two(),
            build_steps: points * u64::from(points.max(2).ilog2()),
            lookup_steps: 3.0 * f64::from(params.probes),
        }
    }

    fn build(params: &MultiProbeParams, members: &Membership, hasher: Hasher) -> Self {
        let points = members.iter().map(|(id, member)| Self::point(&hasher, id, member));
        let circle = Circle::of(points.collect());
        Self { hasher, probes: params.probes, probing: params.probing.clone(), circle }
    }
}

impl Placement for MultiProbe {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(self.circle.points()[self.nearest(key)].owner)
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        self.circle.walk_from(self.nearest(key), count, out);
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        self.circle.insert(vec![Self::point(&self.hasher, id, member)]);
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.circle.retain(|point| point.owner != id.0);
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: each member has one point"))
    }

    fn table_bytes(&self) -> usize {
        self.circle.table_bytes()
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        match self.probing {
            Probing::Independent => Some(shares(self.circle.points(), self.probes)),
            Probing::Double => None,
        }
    }
}

/// What each point owns if all `probes` of a key are independent. A probe is farther than d from
/// the point behind it with chance S(d), the sum over the arcs of what they are longer than d; the
/// nearest of k is at d, on one given arc longer than that, with density k S(d)^(k-1). Between two
/// lengths of arcs S falls by the number m of those that are longer still, so each of these gets
/// (S(d1)^k - S(d2)^k) / m.
fn shares(points: &[Point], probes: u32) -> Vec<(MemberId, f64)> {
    let whole = 18_446_744_073_709_551_616.0;
    let mut from = points.last().expect("a circle has points").at;
    let mut arcs: Vec<(f64, u32)> = Vec::new();
    for point in points {
        let arc = point.at.wrapping_sub(from) as f64 / whole;
        // A single point owns all, which is no distance from itself.
        arcs.push((if points.len() == 1 { 1.0 } else { arc }, point.owner));
        from = point.at;
    }
    arcs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let chance = |farther: f64| libm::pow(farther.max(0.0), f64::from(probes));
    let (mut farther, mut length, mut owned) = (1.0, 0.0, 0.0);
    let mut shares: Vec<(MemberId, f64)> = Vec::new();
    for (index, &(arc, owner)) in arcs.iter().enumerate() {
        let longer = (arcs.len() - index) as f64;
        let beyond = farther - longer * (arc - length);
        owned += (chance(farther) - chance(beyond)) / longer;
        shares.push((MemberId(owner), owned));
        (farther, length) = (beyond, arc);
    }
    shares.sort_unstable_by_key(|(id, _)| *id);
    shares
}
