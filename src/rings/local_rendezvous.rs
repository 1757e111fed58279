//! Local rendezvous hashing: the ring finds a window of C members, and the best score among them
//! wins.
//!
//! The ring alone is uneven, rendezvous alone looks at everyone; C distinct members from the key's
//! place on make the load nearly as even as rendezvous and cost C scores. Weights count within
//! the window. A member that only falls silent keeps its points: its keys go to their second
//! best, and no others move; one that leaves the ring shifts the windows behind it.
//!
//! Guan, "Local Rendezvous Hashing", 2025 (arXiv 2512.23434); points and scores as in the policy for
//! Envoy. O(1) to find the window, C reads and scores; 16 bytes a point and 4 to 8 for the index.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::ring::{Circle, Point};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// What it is to a member's points that it leaves.
    pub(super) enum Departure {
        /// They go.
        "points_go" => PointsGo,
        /// They stay, and the windows with them; for good, as nobody takes them over.
        "points_stay" => PointsStay,
    }
}

crate::config! {
    /// Parameters of `local_rendezvous`.
    pub(super) struct LocalRendezvousParams {
        /// Points of each member, whatever its weight.
        pub virtual_nodes: u32 = 256 => 1..=100_000,
        /// How many members a window has.
        pub candidates: u32 = 8 => 1..=64,
        /// What it is to a member's points that it leaves.
        pub departure: Departure = Departure::PointsGo,
    }
}

/// Local rendezvous hashing.
#[derive(Debug)]
pub(super) struct LocalRendezvous {
    hasher: Hasher,
    params: LocalRendezvousParams,
    /// By id; `None` where it never had points or has none any more.
    members: Vec<Option<Candidate>>,
    working: u32,
    circle: Circle,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    word: u64,
    weight: f64,
    is_alive: bool,
}

impl LocalRendezvous {
    fn points(&self, id: MemberId, name: &str) -> Vec<Point> {
        let point = |number: u32| {
            let label = format!("{name}_{number}");
            let at = self.hasher.spread(self.hasher.of(label.as_bytes()));
            Point { at, owner: id.0, number }
        };
        (0..self.params.virtual_nodes).map(point).collect()
    }

    fn put(&mut self, id: MemberId, member: &Member) {
        if self.members.len() <= id.index() {
            self.members.resize(id.index() + 1, None);
        }
        let word = self.hasher.of(member.name.as_bytes());
        self.members[id.index()] = Some(Candidate { word, weight: member.weight, is_alive: true });
        self.working += 1;
    }

    fn candidate(&self, id: u32) -> Candidate {
        self.members[id as usize].expect("a point has an owner")
    }

    /// The score of a member for a hash: the smallest wins.
    fn score(&self, hash: u64, id: u32) -> f64 {
        let Candidate { word, weight, .. } = self.candidate(id);
        let uniform = (self.hasher.again(hash, word) as f64 + 1.0) / 18_446_744_073_709_551_616.0;
        -libm::log(uniform) / weight
    }

    /// The distinct owners from the place of `hash` on, window after window.
    fn walk(&self, hash: u64) -> impl Iterator<Item = u32> + '_ {
        let from = self.circle.first_at_or_after(self.hasher.spread(hash));
        let (before, behind) = self.circle.points().split_at(from);
        behind.iter().chain(before).map(|point| point.owner)
    }
}

impl Ring for LocalRendezvous {
    const ABOUT: About = About {
        name: "local_rendezvous",
        summary: "local rendezvous hashing: the best score in a window of the ring",
        source: "Guan 2025 (arXiv 2512.23434)",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: false,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: false,
        history_free: true,
    };
    type Params = LocalRendezvousParams;

    fn fits(params: &LocalRendezvousParams, members: &Membership) -> Result<(), Unfit> {
        let points = u64::from(params.virtual_nodes) * members.len() as u64;
        Unfit::unless(points <= 1 << 27, || format!("{points} points are too many"))
    }

    fn cost(params: &LocalRendezvousParams, member_count: u32) -> Cost {
        let points = u64::from(member_count) * u64::from(params.virtual_nodes);
        Cost {
            table_bytes: 16 * points + 4 * points.next_power_of_two(),
            build_steps: points * u64::from(points.max(2).ilog2()),
            lookup_steps: 3.0 + 2.0 * f64::from(params.candidates.min(member_count)),
        }
    }

    fn build(params: &LocalRendezvousParams, members: &Membership, hasher: Hasher) -> Self {
        let mut ring = Self {
            hasher,
            params: params.clone(),
            members: Vec::new(),
            working: 0,
            circle: Circle::default(),
        };
        let mut points = Vec::new();
        for (id, member) in members.iter() {
            ring.put(id, member);
            points.extend(ring.points(id, &member.name));
        }
        ring.circle = Circle::of(points);
        ring
    }
}

impl Placement for LocalRendezvous {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        // The dead fill places of the window; behind one of the dead, the first to live wins.
        let mut seen = [u32::MAX; WINDOW_MAX];
        let (mut seen_count, mut best) = (0, None::<(f64, u32)>);
        for id in self.walk(key.hash) {
            if seen_count == self.params.candidates as usize {
                if best.is_some() {
                    break;
                }
                if self.candidate(id).is_alive {
                    return MemberId(id);
                }
            } else if !seen[..seen_count].contains(&id) {
                seen[seen_count] = id;
                seen_count += 1;
                let score = self.score(key.hash, id);
                let is_better = best.is_none_or(|(least, _)| score < least);
                if is_better && self.candidate(id).is_alive {
                    best = Some((score, id));
                }
            }
        }
        MemberId(best.expect("the last member never leaves").1)
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        // The window in the order of its scores, and then the walk as it goes. Until the walk ends
        // `out` holds the dead too, for they have their places in the window.
        out.clear();
        let window = self.params.candidates as usize;
        let everyone = self.members.iter().flatten().count();
        let is_alive = |id: &MemberId| self.candidate(id.0).is_alive;
        let mut alive = 0;
        for id in self.walk(key.hash).map(MemberId) {
            if everyone == out.len() || (window <= out.len() && count <= alive) {
                break;
            }
            if !out.contains(&id) {
                alive += usize::from(is_alive(&id));
                out.push(id);
            }
        }
        let in_window = out.iter().take(window).filter(|id| is_alive(id)).count();
        out.retain(is_alive);
        let score = |id: &MemberId| self.score(key.hash, id.0);
        out[..in_window].sort_by(|a, b| score(a).total_cmp(&score(b)));
        out.truncate(count);
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        self.put(id, member);
        self.circle.insert(self.points(id, &member.name));
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        assert!(1 < self.working, "the last member never leaves");
        self.working -= 1;
        match self.params.departure {
            Departure::PointsGo => {
                self.members[id.index()] = None;
                self.circle.retain(|point| point.owner != id.0);
            }
            Departure::PointsStay => {
                let candidate = self.members[id.index()].as_mut();
                candidate.expect("only a member leaves").is_alive = false;
            }
        }
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        let candidate = self.members[id.index()].as_mut();
        candidate.expect("only a member is weighed").weight = weight;
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        self.circle.table_bytes() + size_of_val(self.members.as_slice())
    }
}

const WINDOW_MAX: usize = 64;
