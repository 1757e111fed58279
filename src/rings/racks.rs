//! Cassandra's replicas: tokens on a ring, and copies on distinct racks of each data centre.
//!
//! `SimpleStrategy` takes the next distinct hosts. `NetworkTopologyStrategy` walks the tokens of
//! each data centre and sets aside hosts of a rack that has a copy already, until every rack has
//! one; then those that were set aside come first. The zone of a member is `data-centre/rack`.
//!
//! Apache Cassandra, `SimpleStrategy` and `NetworkTopologyStrategy` as in the Python driver 3.30.1
//! (`cassandra/metadata.py`), but never the same host twice, as that did; `Murmur3Partitioner`.
//! O(1) expected for the owner; a walk for the copies; 16 bytes a token and 4 to 8 for the index.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::choice::About;
use crate::config::{Config, Problems, Value, ValueKind};
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::{Hasher, Tail, murmur3_x64_128};
use crate::rings::ring::{Circle, Point};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Which members hold the copies.
    pub(super) enum ReplicaStrategy {
        /// The next distinct ones.
        "simple" => Simple,
        /// So many in each data centre, on distinct racks.
        "network" => Network(NetworkParams),
    }
}

crate::config! {
    /// Copies by data centre.
    pub(super) struct NetworkParams {
        /// How many there are where; where none is listed, each data centre has as many as the
        /// experiment asks for.
        pub copies: Vec<Copies> = Vec::new(),
    }
}

crate::config! {
    /// The copies of a data centre.
    pub(super) struct Copies {
        /// The first part of the zone.
        pub zone: String,
        /// How many.
        pub count: u32 => 0..=64,
    }
}

crate::config! {
    /// The tokens of a member.
    pub(super) struct InitialTokens {
        /// Its name.
        pub node: String,
        /// Its tokens.
        pub tokens: Vec<Token>,
    }
}

crate::config! {
    /// Parameters of `racks`.
    pub(super) struct RacksParams {
        /// Tokens of a member of weight 1.
        pub tokens: u32 = 16 => 1..=100_000,
        /// Which members hold the copies.
        pub strategy: ReplicaStrategy =
            ReplicaStrategy::Network(NetworkParams { copies: Vec::new() }),
        /// Tokens of members that do not draw them.
        pub initial_tokens: Vec<InitialTokens> = Vec::new(),
    }
}

/// A token: a whole number of 64 bits, with a sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Token(i64);

impl Config for Token {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        if let ValueKind::Integer(number) = value.kind {
            return Some(Self(number));
        }
        problems.add(value.place, format!("found {}, expected a token", value.describe()));
        None
    }

    fn schema() -> Json {
        json!({ "type": "integer" })
    }

    fn write(&self) -> Json {
        json!(self.0)
    }
}

/// Cassandra's ring. Its hash function is part of it.
#[derive(Debug)]
pub(super) struct Racks {
    hasher: Hasher,
    params: RacksParams,
    members: Vec<(MemberId, Member)>,
    circle: Circle,
    /// In the order in which they come on the circle.
    data_centres: Vec<DataCentre>,
}

#[derive(Debug)]
struct DataCentre {
    name: String,
    circle: Circle,
    host_count: usize,
    rack_count: usize,
    /// The rack of each member, by id.
    racks: Vec<u32>,
}

/// The data centre and the rack of a member.
fn zone(member: &Member) -> (&str, &str) {
    member.zone.split_once('/').unwrap_or((&member.zone, ""))
}

/// A token's place on a circle of 2⁶⁴ that begins at the smallest one.
fn place(token: i64) -> u64 {
    (token as u64) ^ (1 << 63)
}

impl Racks {
    fn points_of(&self, id: MemberId, member: &Member) -> Vec<Point> {
        let point = |number: u32, at| Point { at, owner: id.0, number };
        let listed = self.params.initial_tokens.iter().find(|listed| listed.node == member.name);
        if let Some(listed) = listed {
            let tokens = (0..).zip(&listed.tokens);
            return tokens.map(|(number, token)| point(number, place(token.0))).collect();
        }
        let count = ((f64::from(self.params.tokens) * member.weight + 0.5) as u32).max(1);
        let draw = |number: u32| {
            self.hasher.spread(self.hasher.salted(member.name.as_bytes(), number.into()))
        };
        (0..count).map(|number| point(number, draw(number))).collect()
    }

    fn build_circles(&mut self) {
        let points: Vec<(Point, usize)> = (0..)
            .zip(&self.members)
            .flat_map(|(index, (id, member))| {
                self.points_of(*id, member).into_iter().map(move |point| (point, index))
            })
            .collect();
        self.circle = Circle::of(points.iter().map(|(point, _)| *point).collect());
        let bound = self.members.last().map_or(0, |(id, _)| id.index() + 1);
        let mut index_of = vec![0; bound];
        for (index, (id, _)) in self.members.iter().enumerate() {
            index_of[id.index()] = index;
        }
        self.data_centres.clear();
        for point in self.circle.points() {
            let (name, _) = zone(&self.members[index_of[point.owner as usize]].1);
            if self.data_centres.iter().any(|dc| dc.name == name) {
                continue;
            }
            let hosts: Vec<&(MemberId, Member)> =
                self.members.iter().filter(|(_, member)| zone(member).0 == name).collect();
            let mut numbers = BTreeMap::new();
            let mut racks = vec![0; bound];
            for (id, member) in &hosts {
                let next = numbers.len() as u32;
                racks[id.index()] = *numbers.entry(zone(member).1).or_insert(next);
            }
            let inside = points.iter().filter(|(_, index)| zone(&self.members[*index].1).0 == name);
            self.data_centres.push(DataCentre {
                name: name.to_owned(),
                circle: Circle::of(inside.map(|(point, _)| *point).collect()),
                host_count: hosts.len(),
                rack_count: numbers.len(),
                racks,
            });
        }
    }
}

impl DataCentre {
    /// Adds the holders of `count` copies to `out`, from a place on.
    fn copies(&self, place: u64, count: usize, out: &mut Vec<MemberId>) {
        let first = out.len();
        let wanted = first + count.min(self.host_count);
        let mut set_aside: Vec<MemberId> = Vec::new();
        let mut used: Vec<u32> = Vec::new();
        let from = self.circle.first_at_or_after(place);
        let (before, behind) = self.circle.points().split_at(from);
        for point in behind.iter().chain(before) {
            if out.len() == wanted {
                return;
            }
            let host = MemberId(point.owner);
            if out[first..].contains(&host) || set_aside.contains(&host) {
                continue;
            }
            let rack = self.racks[host.index()];
            if used.contains(&rack) && used.len() < self.rack_count {
                set_aside.push(host);
                continue;
            }
            out.push(host);
            if !used.contains(&rack) {
                used.push(rack);
                if used.len() == self.rack_count {
                    let room = wanted - out.len();
                    out.extend(set_aside.drain(..room.min(set_aside.len())));
                }
            }
        }
        out.extend(set_aside.into_iter().take(wanted - out.len()));
    }
}

impl Ring for Racks {
    const ABOUT: About = About {
        name: "racks",
        summary: "Cassandra: random tokens, and copies on distinct racks of each data centre",
        source: "Apache Cassandra, SimpleStrategy and NetworkTopologyStrategy",
        version: "cassandra-driver 3.30.1",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: true,
        history_free: true,
    };
    type Params = RacksParams;

    fn fits(params: &RacksParams, members: &Membership) -> Result<(), Unfit> {
        let points = f64::from(params.tokens) * members.weight_total();
        Unfit::unless(points <= 67_108_864.0, || format!("{points} tokens are too many"))?;
        for listed in &params.initial_tokens {
            Unfit::unless(!listed.tokens.is_empty(), || {
                format!("`{}` has an empty list of tokens", listed.node)
            })?;
        }
        Ok(())
    }

    fn cost(params: &RacksParams, member_count: u32) -> Cost {
        let points = u64::from(member_count) * u64::from(params.tokens);
        Cost {
            table_bytes: 2 * (16 * points + 4 * points.next_power_of_two()),
            build_steps: 2 * points * u64::from(points.max(2).ilog2()),
            lookup_steps: 3.0,
        }
    }

    fn build(params: &RacksParams, members: &Membership, hasher: Hasher) -> Self {
        let mut racks = Self {
            hasher,
            params: params.clone(),
            members: members.iter().map(|(id, member)| (id, member.clone())).collect(),
            circle: Circle::default(),
            data_centres: Vec::new(),
        };
        racks.build_circles();
        racks
    }
}

impl Placement for Racks {
    /// The token, as the bits of a signed number.
    fn hash(&self, bytes: &[u8]) -> u64 {
        murmur3_x64_128(bytes, 0, Tail::Signed).0
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(self.circle.owner(place_of_key(key)))
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        let place = place_of_key(key);
        let ReplicaStrategy::Network(network) = &self.params.strategy else {
            self.circle.walk(place, count, out);
            return Ok(());
        };
        out.clear();
        for data_centre in &self.data_centres {
            let listed = network.copies.iter().find(|copies| copies.zone == data_centre.name);
            let copies = match listed {
                Some(copies) => copies.count as usize,
                None if network.copies.is_empty() => count,
                None => 0,
            };
            data_centre.copies(place, copies, out);
        }
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        let index = self.members.partition_point(|(other, _)| *other < id);
        self.members.insert(index, (id, member.clone()));
        self.build_circles();
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.members.retain(|(other, _)| *other != id);
        self.build_circles();
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        let found = self.members.iter_mut().find(|(other, _)| *other == id);
        found.expect("only a member is weighed").1.weight = weight;
        self.build_circles();
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        let inside: usize = self.data_centres.iter().map(|dc| dc.circle.table_bytes()).sum();
        self.circle.table_bytes() + inside
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        Some(self.circle.shares())
    }
}

/// The server takes the largest token in place of the smallest, which no key may have.
fn place_of_key(key: Key<'_>) -> u64 {
    let token = key.hash as i64;
    place(if token == i64::MIN { i64::MAX } else { token })
}
