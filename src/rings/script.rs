//! What an experiment with rings asks: members, keys, and the changes of membership.
//!
//! A script of [`Event`]s becomes [`Stage`]s: the single steps that each event takes. Where an
//! event names no member, the seed picks one, the same for every variant.

use serde_json::{Value as Json, json};

use crate::choice::Choice;
use crate::config::{Bytes, Config, Name, Problems, Value, ValueKind, printable, within};
use crate::kernel::rng::Seed;
use crate::model::placement::{Member, MemberId, Membership};
use crate::model::popularity::Popularity;
use crate::rings::hash::HashKind;
use crate::rings::motion::MotionConfig;

crate::config! {
    /// An experiment with rings: who the members are, what the keys are, and what happens.
    pub struct RingsConfig {
        /// The placements to compare.
        pub variants: Vec<Choice>,
        /// The members: a number of equal ones, or a list.
        pub nodes: Nodes,
        /// The keys that are placed.
        pub keys: Keys = Keys::Made(MadeKeys::default()),
        /// The hash function of keys and members.
        pub hash: HashKind = HashKind::Xxh3,
        /// The changes of membership, one after the other.
        pub events: Vec<Event> = Vec::new(),
        /// How many copies of each key there are, on distinct members.
        pub replicas: u32 = 1 => 1..=64,
        /// How large a copy is.
        pub copy_size: Bytes = Bytes(1024),
        /// What a member can send, and receive at the same time, in a second.
        pub bandwidth: Bytes = Bytes(125_000_000) => Bytes(1)..,
        /// The cluster behind the placement, where it is to be put to work on virtual time.
        pub motion: Option<MotionConfig> = None,
    }
    check check;
}

crate::config! {
    /// Where the keys come from.
    pub enum Keys {
        /// They are made up.
        "made" => Made(MadeKeys),
        /// The columns `key` and `weight` of a CSV file.
        "file" => File(String),
    }
}

crate::config! {
    /// Keys that are made up, others for every seed.
    pub struct MadeKeys {
        /// How many there are.
        pub count: u64 = 100_000 => 1..=10_000_000_000,
        /// How often each is asked for.
        pub popularity: Popularity = Popularity::Uniform,
        /// What they look like.
        pub form: KeyForm = KeyForm::Hex,
    }
}

crate::config! {
    /// What a key that is made up looks like.
    pub enum KeyForm {
        /// Sixteen hexadecimal digits.
        "hex" => Hex,
        /// `key-` and a running number: the same under every seed.
        "sequential" => Sequential,
        /// A random UUID, version 4.
        "uuid" => Uuid,
        /// An address with a random page.
        "url" => Url,
    }
}

crate::config! {
    /// A change of membership.
    pub enum Event {
        /// A member joins.
        "add" => Add(AddEvent),
        /// A member leaves.
        "remove" => Remove(OneMember),
        /// A member leaves and a new one takes its place, alike in weight and zone.
        "replace" => Replace(OneMember),
        /// A member gets another weight.
        "reweight" => Reweight(ReweightEvent),
        /// All members of a zone leave.
        "fail_zone" => FailZone(String),
        /// Members join, or the last ones leave, until there are so many.
        "scale" => Scale(NodeCount),
    }
}

crate::config! {
    /// A member that joins.
    pub struct AddEvent {
        /// Its name; `node-` and the next free number where it is left out.
        pub node: Option<Name> = None,
        /// Its weight.
        pub weight: f64 = 1.0 => WEIGHTS,
        /// Its zone.
        pub zone: String = String::new(),
    }
}

crate::config! {
    /// One of the members.
    pub struct OneMember {
        /// Its name; the seed picks one where it is left out.
        pub node: Option<Name> = None,
    }
}

crate::config! {
    /// Another weight for a member.
    pub struct ReweightEvent {
        /// Its name; the seed picks one where it is left out.
        pub node: Option<Name> = None,
        /// Its weight from now on.
        pub weight: f64 => WEIGHTS,
    }
}

crate::config! {
    /// Members that are alike.
    pub struct NodeGroup {
        /// The name; where there are several, a number from 0 follows it.
        pub name: Name,
        /// How many there are.
        pub count: u32 = 1 => 1..=NODES_MAX,
        /// The weight of each.
        pub weight: f64 = 1.0 => WEIGHTS,
        /// Where they stand, from the widest to the narrowest: `eu/rack-3`.
        pub zone: String = String::new(),
    }
}

/// The members at the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Nodes {
    /// So many equal ones, `node-0` and so on.
    Count(NodeCount),
    /// These.
    Listed(Vec<NodeGroup>),
}

/// A number of members: from 1 to a million.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeCount(pub u32);

/// A step of an event.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    Add(MemberId, Member),
    Remove(MemberId),
    Reweight(MemberId, f64),
}

/// An event as the steps that it takes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stage {
    /// How reports call it: the same under every seed, and unique in its script.
    pub(super) label: String,
    /// What happens.
    pub(super) steps: Vec<Step>,
    /// Who the members are then.
    pub(super) members: Membership,
}

impl Event {
    /// The member that it calls by name.
    fn named(&self) -> Option<&Name> {
        match self {
            Self::Remove(one) | Self::Replace(one) => one.node.as_ref(),
            Self::Reweight(reweight) => reweight.node.as_ref(),
            Self::Add(_) | Self::FailZone(_) | Self::Scale(_) => None,
        }
    }
}

impl Nodes {
    /// The members.
    pub fn membership(&self) -> Membership {
        match self {
            Self::Count(count) => Membership::uniform(count.0),
            Self::Listed(groups) => Membership::of(groups.iter().flat_map(NodeGroup::members)),
        }
    }
}

impl NodeGroup {
    fn members(&self) -> impl Iterator<Item = Member> + '_ {
        (0..self.count).map(|index| Member {
            name: match self.count {
                1 => self.name.to_string(),
                _ => format!("{}-{index}", self.name),
            },
            weight: self.weight,
            zone: self.zone.clone(),
        })
    }
}

/// The stages of a script, and the event at which it cannot go on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Script {
    pub(super) stages: Vec<Stage>,
    /// The number of the event, and why.
    pub(super) broken: Option<(usize, String)>,
}

/// Plays the events of `config` under `seed`.
pub(super) fn script(config: &RingsConfig, seed: Seed) -> Script {
    let mut members = config.nodes.membership();
    let mut stages: Vec<Stage> = Vec::new();
    for (index, event) in config.events.iter().enumerate() {
        let mut player = Player { members, steps: Vec::new(), config, seed, index };
        let label = match player.play(event) {
            Ok(name) => {
                let earlier = stages.iter().filter(|stage| base(&stage.label) == name).count();
                if earlier == 0 { name } else { format!("{name} #{}", earlier + 1) }
            }
            Err(why) => return Script { stages, broken: Some((index, why)) },
        };
        members = player.members.clone();
        stages.push(Stage { label, steps: player.steps, members: player.members });
    }
    Script { stages, broken: None }
}

/// The stages of the whole script of `config` under `seed`.
///
/// # Errors
/// The number of the event that cannot happen, and why.
pub(super) fn stages(config: &RingsConfig, seed: Seed) -> Result<Vec<Stage>, (usize, String)> {
    let Script { stages, broken } = script(config, seed);
    broken.map_or(Ok(stages), Err)
}

fn base(label: &str) -> &str {
    label.split_once(" #").map_or(label, |(base, _)| base)
}

struct Player<'a> {
    members: Membership,
    steps: Vec<Step>,
    config: &'a RingsConfig,
    seed: Seed,
    index: usize,
}

impl Player<'_> {
    /// Plays `event`; its name.
    fn play(&mut self, event: &Event) -> Result<String, String> {
        let name = self.play_steps(event)?;
        if self.members.is_empty() {
            return Err(format!("{name}: no member would be left"));
        }
        if NODES_MAX as usize <= self.members.id_bound() {
            return Err(format!("{name}: more than {NODES_MAX} members would have been"));
        }
        Ok(name)
    }

    fn play_steps(&mut self, event: &Event) -> Result<String, String> {
        match event {
            Event::Add(add) => {
                let name = add.node.as_ref().map(ToString::to_string);
                let label = name.as_ref().map_or("add".into(), |name| format!("add {name}"));
                let name = name.unwrap_or_else(|| self.free_name());
                if self.members.find(&name).is_some() {
                    return Err(format!("`{name}` is a member already"));
                }
                self.add(Member { name, weight: add.weight, zone: add.zone.clone() });
                Ok(label)
            }
            Event::Remove(one) => {
                let id = self.pick(one.node.as_ref())?;
                self.remove(id);
                Ok(named("remove", one.node.as_ref()))
            }
            Event::Replace(one) => {
                let id = self.pick(one.node.as_ref())?;
                let old = self.members.get(id).cloned().ok_or("there is no member")?;
                let name = self.free_name();
                self.remove(id);
                self.add(Member { name, ..old });
                Ok(named("replace", one.node.as_ref()))
            }
            Event::Reweight(reweight) => {
                let id = self.pick(reweight.node.as_ref())?;
                self.members.reweight(id, reweight.weight);
                self.steps.push(Step::Reweight(id, reweight.weight));
                let name = named("reweight", reweight.node.as_ref());
                Ok(format!("{name} to {}", reweight.weight))
            }
            Event::FailZone(zone) => {
                let inside = |member: &Member| {
                    member
                        .zone
                        .strip_prefix(zone.as_str())
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
                };
                let lost: Vec<MemberId> = self
                    .members
                    .iter()
                    .filter(|(_, member)| inside(member))
                    .map(|(id, _)| id)
                    .collect();
                if lost.is_empty() {
                    return Err(format!("no member is in the zone \"{}\"", printable(zone)));
                }
                for id in lost {
                    self.remove(id);
                }
                Ok(format!("fail zone {zone}"))
            }
            Event::Scale(NodeCount(target)) => {
                let from = self.members.len();
                while self.members.len() < *target as usize {
                    let name = self.free_name();
                    self.add(Member::named(name));
                }
                while (*target as usize) < self.members.len() {
                    let last = self.members.iter().next_back().map(|(id, _)| id);
                    self.remove(last.ok_or("there is no member")?);
                }
                Ok(format!("scale {from} to {target}"))
            }
        }
    }

    fn add(&mut self, member: Member) {
        let id = self.members.add(member.clone());
        self.steps.push(Step::Add(id, member));
    }

    fn remove(&mut self, id: MemberId) {
        self.members.remove(id);
        self.steps.push(Step::Remove(id));
    }

    /// The member called `name`, or one that the seed picks.
    fn pick(&self, name: Option<&Name>) -> Result<MemberId, String> {
        if let Some(name) = name {
            let found = self.members.find(name.as_str());
            return found.ok_or_else(|| format!("`{name}` is not a member at that time"));
        }
        // Those that a later event calls by name are spared, where there are others.
        let is_called = |member: &Member| {
            let named = self.config.events[self.index..].iter().filter_map(Event::named);
            named.into_iter().any(|name| name.as_str() == member.name)
        };
        let (called, others): (Vec<_>, Vec<_>) =
            self.members.iter().partition(|(_, member)| is_called(member));
        let among = if others.is_empty() { called } else { others };
        let mut rng = self.seed.stream("ring event", &self.index.to_string());
        Ok(among[rng.below(among.len() as u64) as usize].0)
    }

    fn free_name(&self) -> String {
        let from = self.members.id_bound();
        (from..=from + self.members.len())
            .map(|number| format!("node-{number}"))
            .find(|name| self.members.find(name).is_none())
            .expect("there are more numbers than members")
    }
}

fn named(what: &str, name: Option<&Name>) -> String {
    name.map_or_else(|| what.to_owned(), |name| format!("{what} {name}"))
}

/// What concerns several fields of the configuration.
fn check(config: &RingsConfig, value: &Value, problems: &mut Problems) {
    let ValueKind::Table(table) = &value.kind else { return };
    let place_of = |field: &str| table.get(field).map_or(value.place, |value| value.place);
    if config.variants.is_empty() {
        problems.add(place_of("variants"), "the list is empty, expected one variant at least");
    }
    if let Nodes::Listed(groups) = &config.nodes {
        let count: u64 = groups.iter().map(|group| u64::from(group.count)).sum();
        if !(1..=u64::from(NODES_MAX)).contains(&count) {
            let message = format!("found {count} nodes, expected 1 to {NODES_MAX}");
            return problems.add(place_of("nodes"), message);
        }
        let members = groups.iter().flat_map(NodeGroup::members);
        let mut names: Vec<String> = members.map(|member| member.name).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return problems.add(place_of("nodes"), format!("two nodes are called `{name}`"));
        }
    }
    if let Some(motion) = &config.motion {
        motion.check_within(config, value, problems);
    }
    if let Some((index, why)) = script(config, Seed(0)).broken {
        let place = match table.get("events").map(|events| &events.kind) {
            Some(ValueKind::List(items)) => items[index].place,
            _ => value.place,
        };
        problems.add(place, why);
    }
}

impl Default for MadeKeys {
    fn default() -> Self {
        Self { count: 100_000, popularity: Popularity::Uniform, form: KeyForm::Hex }
    }
}

impl Config for NodeCount {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let count = u64::read(value, problems)?;
        let count = within(count, &(1..=u64::from(NODES_MAX)), value.place, problems)?;
        Some(Self(count as u32))
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 1, "maximum": NODES_MAX })
    }

    fn write(&self) -> Json {
        json!(self.0)
    }
}

impl Config for Nodes {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match value.kind {
            ValueKind::List(_) => Vec::read(value, problems).map(Self::Listed),
            ValueKind::Integer(_) => NodeCount::read(value, problems).map(Self::Count),
            _ => {
                let message = format!(
                    "found {}, expected a number of nodes, or a list of them",
                    value.describe()
                );
                let help = "write 40, or [{ name = \"a\", weight = 2, zone = \"eu\" }, ...]";
                problems.add_with_help(value.place, message, help);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "oneOf": [NodeCount::schema(), Vec::<NodeGroup>::schema()] })
    }

    fn write(&self) -> Json {
        match self {
            Self::Count(count) => count.write(),
            Self::Listed(groups) => groups.write(),
        }
    }
}

const NODES_MAX: u32 = 1_000_000;
const WEIGHTS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;
