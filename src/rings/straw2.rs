//! CRUSH with straw2 buckets, the placement of Ceph: a tree of failure domains, in each of which
//! the longest straw wins, ln(u) / weight.
//!
//! The tree comes from the zones of the members, or from a crush map as `crushtool -d` writes it.
//! In one bucket it is weighted rendezvous hashing: exact shares, and only what must move moves.
//! In a tree the weights of the domains change with their members, and some keys move between
//! survivors. Replicas are spread over domains by the rule.
//!
//! Weil et al., "CRUSH", SC 2006; Ceph 16.2.15 (see `crush.rs`). O(items of each bucket on the way
//! down), again for each collision; 8 bytes an item.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use crate::choice::About;
use crate::config::{Config, Problems, Value, ValueKind};
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::crush::{
    Bucket, CrushMap, Item, Mode, NOTHING, REPLICAS_MAX, RuleStep, Tunables,
};
use crate::rings::crush_text::NamedMap;
use crate::rings::hash::{Hasher, fnv1a};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// What becomes of the place of a replica that cannot be placed.
    pub(super) enum ReplicaMode {
        /// The others close up: for replicated pools.
        "firstn" => FirstN,
        /// It stays empty: for erasure-coded pools, where places have numbers.
        "indep" => Indep,
    }
}

crate::config! {
    /// A device that takes only a part of its keys.
    pub(super) struct Reweight {
        /// The name of the member.
        pub node: String,
        /// The part: 0 is out, 1 is in.
        pub weight: f64 => 0.0..=1.0,
    }
}

crate::config! {
    /// Parameters of `straw2`.
    pub(super) struct Straw2Params {
        /// Copies go to distinct domains of this level: 0 is nodes, 1 the narrowest zones, and so
        /// on outwards.
        pub domain: u32 = 0 => 0..=8,
        /// What becomes of the place of a replica that cannot be placed.
        pub mode: ReplicaMode = ReplicaMode::FirstN,
        /// A crush map in text, in place of the zones; the members are its devices, by name.
        pub map: Option<MapText> = None,
        /// The id of the rule of that map.
        pub rule: u32 = 0,
        /// Members that take only a part of their keys.
        pub reweights: Vec<Reweight> = Vec::new(),
    }
    check check;
}

/// A crush map: text with tabs, which other texts of a scenario may not have.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MapText {
    text: String,
    read: NamedMap,
}

impl Config for MapText {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let ValueKind::Text(text) = &value.kind else {
            problems.add(
                value.place,
                format!("found {}, expected the text of a crush map", value.describe()),
            );
            return None;
        };
        match NamedMap::parse(text) {
            Ok(read) => Some(Self { text: text.clone(), read }),
            Err(error) => {
                problems.add(value.place, error);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn write(&self) -> Json {
        json!(self.text)
    }
}

fn check(params: &Straw2Params, value: &Value, problems: &mut Problems) {
    let Some(map) = &params.map else { return };
    if !map.read.rules.contains_key(&params.rule) {
        problems.add(value.place, format!("the map has no rule with the id {}", params.rule));
    }
}

/// CRUSH.
#[derive(Debug)]
pub(super) struct Straw2 {
    hasher: Hasher,
    domain: u32,
    mode: Mode,
    map: CrushMap,
    steps: Vec<RuleStep>,
    /// The part of its keys that each device takes, in units of 2⁻¹⁶.
    reweights: Vec<u32>,
    source: Source,
}

/// Where the tree comes from, and who is behind the devices.
#[derive(Debug)]
enum Source {
    /// The zones of the members; a device has its member's id.
    Zones { members: Vec<(MemberId, Member)>, reweights: BTreeMap<String, u32> },
    /// A map: devices by name, and the member behind each.
    Map { devices: BTreeMap<String, i32>, members: Vec<Option<MemberId>> },
}

impl Straw2 {
    /// Builds the tree of the members' zones.
    fn plant(&mut self) {
        let Source::Zones { members, reweights } = &self.source else { return };
        let bound = members.last().map_or(0, |(id, _)| id.index() + 1);
        self.reweights = vec![0; bound];
        for (id, member) in members {
            let reweight = reweights.get(&member.name).copied();
            self.reweights[id.index()] = reweight.unwrap_or(0x1_0000);
        }
        let (map, root) = tree(members);
        self.map = map;
        let choose = RuleStep::Choose {
            count: 0,
            level: self.domain,
            mode: self.mode,
            to_leaf: 0 < self.domain,
        };
        self.steps = vec![RuleStep::Take(root), choose, RuleStep::Emit];
    }

    /// The member behind a device.
    fn member(&self, device: i32) -> Option<MemberId> {
        match &self.source {
            _ if device == NOTHING => None,
            Source::Zones { .. } => Some(MemberId(device as u32)),
            Source::Map { members, .. } => members[device as usize],
        }
    }

    fn place<'a>(&self, key: Key<'_>, places: &'a mut [i32]) -> &'a [i32] {
        let input = (key.hash & 0xffff_ffff) as u32;
        let count = self.map.place(&self.steps, input, &self.reweights, places);
        &places[..count]
    }

    /// Where CRUSH finds no place: the first member that is not out.
    fn anyone(&self) -> MemberId {
        let devices = (0..).zip(&self.reweights).filter(|(_, reweight)| 0 < **reweight);
        let mut members = devices.filter_map(|(device, _)| self.member(device));
        members.next().expect("the last member never leaves")
    }
}

/// The tree of the members' zones, and the id of its root.
fn tree(members: &[(MemberId, Member)]) -> (CrushMap, i32) {
    // Each path of zones is a bucket; the empty one is the root.
    let mut items = BTreeMap::<Vec<&str>, Vec<Item>>::new();
    let mut weights = BTreeMap::<Vec<&str>, u64>::new();
    for (id, member) in members {
        // 2⁻¹⁶ at least, so that no member is lost.
        let weight = ((member.weight * 65_536.0 + 0.5) as u32).max(1);
        let path = path_of(member);
        let device = Item { id: id.0 as i32, weight };
        items.entry(path.clone()).or_default().push(device);
        for depth in 0..=path.len() {
            *weights.entry(path[..depth].to_vec()).or_default() += u64::from(weight);
        }
    }
    // Ids that depend on the names alone, so that a zone keeps its own whoever else there is.
    let mut ids = BTreeMap::<Vec<&str>, i32>::new();
    for path in weights.keys() {
        let mut id = -1 - (fnv1a(path.join("/").as_bytes()) >> 34) as i32;
        while ids.values().any(|other| *other == id) {
            id -= 1;
        }
        ids.insert(path.clone(), id);
    }
    for (path, id) in &ids {
        if let Some((_, above)) = path.split_last() {
            let weight = u32::try_from(weights[path]).unwrap_or(u32::MAX);
            items.entry(above.to_vec()).or_default().push(Item { id: *id, weight });
        }
    }
    let deepest = ids.keys().map(Vec::len).max().unwrap_or(0);
    let mut buckets: Vec<Bucket> = items
        .into_iter()
        .map(|(path, items)| Bucket {
            id: ids[&path],
            level: (deepest - path.len()) as u32 + 1,
            items,
        })
        .collect();
    buckets.sort_by_key(|bucket| bucket.id);
    (CrushMap { buckets, tunables: Tunables::default() }, ids[&Vec::new()])
}

fn path_of(member: &Member) -> Vec<&str> {
    member.zone.split('/').filter(|part| !part.is_empty()).collect()
}

impl Ring for Straw2 {
    const ABOUT: About = About {
        name: "straw2",
        summary: "CRUSH with straw2 buckets: weights, failure domains, crush maps, as in Ceph",
        source: "Weil et al., SC 2006; Ceph, src/crush/mapper.c",
        version: "Ceph 16.2.15",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: true,
        history_free: true,
    };
    type Params = Straw2Params;

    fn fits(params: &Straw2Params, members: &Membership) -> Result<(), Unfit> {
        let is_out = |name: &str| {
            params.reweights.iter().any(|r| r.node == name && r.weight < 1.0 / 65_536.0)
        };
        if members.iter().all(|(_, member)| is_out(&member.name)) {
            return Err(Unfit("all members are out".into()));
        }
        if let Some(map) = &params.map {
            let devices = &map.read.devices;
            let stranger = members.iter().find(|(_, member)| !devices.contains_key(&member.name));
            return match stranger {
                None => Ok(()),
                Some((_, m)) => Err(Unfit(format!("the map has no device called `{}`", m.name))),
            };
        }
        let shallow = members.iter().find(|(_, m)| path_of(m).len() < params.domain as usize);
        if let Some((_, member)) = shallow {
            return Err(Unfit(format!(
                "copies are to go to distinct domains of level {}, and `{}` has the zone \"{}\"",
                params.domain, member.name, member.zone
            )));
        }
        let mut depths = members.iter().map(|(_, member)| path_of(member).len());
        let first = depths.next();
        Unfit::unless(depths.all(|depth| Some(depth) == first), || {
            "all zones must be equally deep".into()
        })
    }

    fn cost(_: &Straw2Params, member_count: u32) -> Cost {
        Cost {
            table_bytes: 12 * u64::from(member_count),
            build_steps: member_count.into(),
            lookup_steps: 2.0 * f64::from(member_count),
        }
    }

    fn build(params: &Straw2Params, members: &Membership, hasher: Hasher) -> Self {
        let reweights = params
            .reweights
            .iter()
            .map(|r| (r.node.clone(), (r.weight as f32 * 65_536.0) as u32))
            .collect::<BTreeMap<String, u32>>();
        let mode = match params.mode {
            ReplicaMode::FirstN => Mode::FirstN,
            ReplicaMode::Indep => Mode::Indep,
        };
        let mut straw2 = Self {
            hasher,
            domain: params.domain,
            mode,
            map: CrushMap { buckets: Vec::new(), tunables: Tunables::default() },
            steps: Vec::new(),
            reweights: Vec::new(),
            source: Source::Zones { members: Vec::new(), reweights: BTreeMap::new() },
        };
        if let Some(map) = &params.map {
            let NamedMap { map, devices, mut rules } = map.read.clone();
            straw2.map = map;
            straw2.steps = rules.remove(&params.rule).expect("the rule was found before");
            let bound = devices.values().max().map_or(0, |id| *id as usize + 1);
            straw2.reweights = vec![0; bound];
            let mut behind = vec![None; bound];
            for (id, member) in members.iter() {
                let device = devices[&member.name] as usize;
                behind[device] = Some(id);
                let reweight = reweights.get(&member.name).copied();
                straw2.reweights[device] = reweight.unwrap_or(0x1_0000);
            }
            straw2.source = Source::Map { devices, members: behind };
        } else {
            let members = members.iter().map(|(id, member)| (id, member.clone())).collect();
            straw2.source = Source::Zones { members, reweights };
            straw2.plant();
        }
        straw2
    }
}

impl Placement for Straw2 {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let mut place = [NOTHING];
        let placed = self.place(key, &mut place);
        placed.first().and_then(|device| self.member(*device)).unwrap_or_else(|| self.anyone())
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        // Places that stay empty are left out.
        out.clear();
        let mut places = [NOTHING; REPLICAS_MAX];
        let placed = self.place(key, &mut places[..count.min(REPLICAS_MAX)]);
        out.extend(placed.iter().filter_map(|device| self.member(*device)));
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        match &mut self.source {
            Source::Zones { members, .. } => {
                let depth = members.first().map(|(_, first)| path_of(first).len());
                if depth != Some(path_of(member).len()) {
                    return Err(Unsupported::because("all zones must be equally deep"));
                }
                let index = members.partition_point(|(other, _)| *other < id);
                members.insert(index, (id, member.clone()));
                self.plant();
            }
            Source::Map { devices, members } => {
                let device = devices.get(&member.name).map(|device| *device as usize);
                let device =
                    device.ok_or_else(|| Unsupported::because("its map has no such device"))?;
                members[device] = Some(id);
                self.reweights[device] = 0x1_0000;
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        match &mut self.source {
            Source::Zones { members, .. } => {
                members.retain(|(other, _)| *other != id);
                self.plant();
            }
            Source::Map { members, .. } => {
                // The map stands, and the device is out.
                let device = members.iter().position(|member| *member == Some(id));
                self.reweights[device.expect("only a member is removed")] = 0;
            }
        }
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        let Source::Zones { members, .. } = &mut self.source else {
            return Err(Unsupported::because("the weights are those of its map"));
        };
        let found = members.iter_mut().find(|(other, _)| *other == id);
        found.expect("only a member is weighed").1.weight = weight;
        self.plant();
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        let items: usize = self.map.buckets.iter().map(|bucket| bucket.items.len()).sum();
        items * size_of::<Item>() + 4 * self.reweights.len()
    }
}
