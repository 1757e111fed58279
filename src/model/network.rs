//! The network: how long a packet takes from one node to another, and whether it gets there.
//!
//! This file knows packets only. What a lost packet means, a late message on a connection or a
//! lost one among datagrams, is for `model/transport.rs` to say.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use crate::config;
use crate::config::{Bytes, Config, DataFile, Problems, Value, ValueKind, unknown};
use crate::kernel::rng::{Probability, Rng, Seed};
use crate::kernel::time::{SimDuration, SimTime};

use super::directory::Directory;
use super::dist::{Dist, Sampler};
use super::node::NodeId;

config! {
    /// How messages travel.
    pub enum Transport {
        /// As TCP carries them: in order, none twice, a lost packet is a delay; a connection can
        /// break, and is opened again by the next message.
        "connection" => Connection,
        /// As UDP carries them: each for itself; it may be lost, come twice, or overtake.
        "datagram" => Datagram,
    }
}

config! {
    /// The links between nodes.
    pub struct NetworkConfig {
        /// How messages travel.
        pub transport: Transport = Transport::Connection,
        /// How long a packet takes one way, within a zone or where there are no zones.
        pub delay: Dist = Dist::constant(SimDuration::from_us(500)),
        /// The chance that a packet is lost.
        pub loss: Probability = Probability::ZERO,
        /// How much a link carries; left out, size does not matter.
        pub bandwidth: Option<Bandwidth> = None,
        /// The chance that a datagram comes twice.
        pub duplicate: Probability = Probability::ZERO,
        /// The chance that a datagram is held back, so that later ones overtake it.
        pub reorder: Probability = Probability::ZERO,
        /// For how long a datagram is held back.
        pub reorder_delay: Dist = Dist::constant(SimDuration::from_ms(10)),
        /// Places with nodes in them; a node in none is in a zone of its own with the others.
        pub zones: Vec<ZoneConfig> = Vec::new(),
        /// How long a packet takes between two zones.
        pub between: Vec<BetweenConfig> = Vec::new(),
        /// Measured delays between zones that are named like the regions of a file.
        pub regions: Option<RegionsConfig> = None,
        /// Single links that differ.
        pub links: Vec<LinkConfig> = Vec::new(),
        /// The shortest time after which a lost packet of a connection is sent again; doubles
        /// with each try. Linux: 200 ms (`TCP_RTO_MIN`, include/net/tcp.h).
        pub retransmit_min: SimDuration = SimDuration::from_ms(200),
        /// The longest time between two tries. Linux: 120 s (`TCP_RTO_MAX`).
        pub retransmit_max: SimDuration = SimDuration::from_secs(120),
        /// When a connection whose packets nobody acknowledges is given up. Linux: 15 tries,
        /// 924.6 s (`tcp_retries2`, Documentation/networking/ip-sysctl.rst).
        pub user_timeout: SimDuration = SimDuration::from_ms(924_600),
    }
    check Self::check;
}

config! {
    /// A place with nodes in it: a data centre, a region, an availability zone.
    pub struct ZoneConfig {
        /// Its name: that of a region where `regions` is used.
        pub name: String,
        /// The nodes in it, by name or group.
        pub nodes: Vec<String>,
    }
}

config! {
    /// How long a packet takes between two zones, either way.
    pub struct BetweenConfig {
        /// One zone.
        pub from: String,
        /// The other.
        pub to: String,
        /// How long it takes.
        pub delay: Dist,
    }
}

config! {
    /// A file of delays between regions: CSV with `from`, `to` and `latency_ms`, one row for each
    /// pair (either way) .
    pub struct RegionsConfig {
        /// The file, relative to the scenario.
        pub file: DataFile,
        /// Whether the file holds round trips, which are halved, or one way.
        pub measured: Measured = Measured::RoundTrip,
        /// What comes on top of the measured mean, each time anew.
        pub jitter: Dist = Dist::constant(SimDuration::ZERO),
    }
}

config! {
    /// What a file of delays holds.
    pub enum Measured {
        /// There and back: a packet takes half of it.
        "round_trip" => RoundTrip,
        /// One way.
        "one_way" => OneWay,
    }
}

config! {
    /// Links that differ from the others.
    pub struct LinkConfig {
        /// From which nodes, by name or group.
        pub from: String,
        /// To which nodes.
        pub to: String,
        /// How long a packet takes.
        pub delay: Option<Dist> = None,
        /// The chance that a packet is lost.
        pub loss: Option<Probability> = None,
        /// How much the link carries.
        pub bandwidth: Option<Bandwidth> = None,
        /// Only this way, and not back.
        pub one_way: bool = false,
    }
}

/// How much a link carries, in bytes a second; more than zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bandwidth {
    bytes_per_second: u64,
}

impl Bandwidth {
    /// How long `bytes` take to get onto the link.
    pub fn time_for(self, bytes: u64) -> SimDuration {
        SimDuration::from_secs(1).scale(bytes, self.bytes_per_second)
    }
}

/// Reads `10MB/s` (bytes) or `1Gbit/s` (bits).
impl FromStr for Bandwidth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a bandwidth, such as \"10MB/s\" or \"1Gbit/s\"".to_owned();
        let size = text.strip_suffix("/s").ok_or_else(wrong)?;
        let bits = size.strip_suffix("bit");
        let bytes: Bytes = match bits {
            Some(bits) => format!("{bits}B").parse().map_err(|_| wrong())?,
            None => size.parse().map_err(|_| wrong())?,
        };
        let bytes_per_second = if bits.is_some() { bytes.0 / 8 } else { bytes.0 };
        if bytes_per_second == 0 {
            return Err(wrong());
        }
        Ok(Self { bytes_per_second })
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", Bytes(self.bytes_per_second))
    }
}

impl Config for Bandwidth {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let wrong = match &value.kind {
            ValueKind::Text(text) => match text.parse() {
                Ok(bandwidth) => return Some(bandwidth),
                Err(wrong) => wrong,
            },
            _ => "expected a bandwidth, such as \"10MB/s\"".into(),
        };
        problems.add(value.place, format!("found {}, {wrong}", value.describe()));
        None
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^\d+(\.\d+)?\s*[kKMGT]?i?(B|bit)/s$" })
    }

    fn write(&self) -> Json {
        json!(self.to_string())
    }
}

/// One-way delays between named regions, by both names.
type RegionDelays = BTreeMap<(String, String), SimDuration>;

impl RegionsConfig {
    fn delays(&self, problems: &mut Problems) -> Option<RegionDelays> {
        let rows = self.file.rows(&["from", "to", "latency_ms"], problems)?;
        let halves = match self.measured {
            Measured::RoundTrip => 2.0,
            Measured::OneWay => 1.0,
        };
        let mut delays = RegionDelays::new();
        for row in rows {
            let ns = row.number(2, problems)? * 1e6 / halves;
            let [from, to] = [row.fields[0].trim(), row.fields[1].trim()];
            delays.insert((from.into(), to.into()), SimDuration::from_ns_f64(ns));
        }
        Some(delays)
    }
}

fn either_way<'a, T>(of: &'a BTreeMap<(String, String), T>, from: &str, to: &str) -> Option<&'a T> {
    of.get(&(from.to_owned(), to.to_owned())).or_else(|| of.get(&(to.to_owned(), from.to_owned())))
}

impl NetworkConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        let datagram_only = [
            ("duplicate", self.duplicate != Probability::ZERO),
            ("reorder", self.reorder != Probability::ZERO),
        ];
        for (field, is_set) in datagram_only {
            if is_set && self.transport == Transport::Connection {
                problems.add_with_help(
                    value.place,
                    format!("`{field}` cannot happen on a connection"),
                    "write transport = \"datagram\", or leave it out",
                );
            }
        }
        let zone_names: Vec<&str> = self.zones.iter().map(|zone| zone.name.as_str()).collect();
        for between in &self.between {
            for name in [&between.from, &between.to] {
                if !zone_names.contains(&name.as_str()) {
                    unknown(value.place, "zone", name, &zone_names, problems);
                }
            }
        }
        let Some(regions) = &self.regions else { return };
        let Some(delays) = regions.delays(problems) else { return };
        for (index, from) in zone_names.iter().enumerate() {
            for to in &zone_names[index + 1..] {
                let is_given = self.between.iter().any(|b| {
                    [(b.from.as_str(), b.to.as_str()), (b.to.as_str(), b.from.as_str())]
                        .contains(&(*from, *to))
                });
                if !is_given && either_way(&delays, from, to).is_none() {
                    problems.add(
                        value.place,
                        format!(
                            "`{}` has no row from `{}` to `{}`",
                            regions.file.path,
                            config::printable(from),
                            config::printable(to)
                        ),
                    );
                }
            }
        }
    }

    /// Holds the nodes that the configuration names against those that there are.
    pub fn check_targets(
        &self,
        place: config::Place,
        directory: &Directory,
        problems: &mut Problems,
    ) {
        for target in self.zones.iter().flat_map(|zone| &zone.nodes) {
            directory.check(target, place, problems);
        }
        for link in &self.links {
            directory.check(&link.from, place, problems);
            directory.check(&link.to, place, problems);
        }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        let empty = Value {
            kind: ValueKind::Table(config::Table::default()),
            place: config::Place::default(),
        };
        Self::read(&empty, &mut Problems::default()).expect("every field has a default")
    }
}

/// The links of one cluster, and what faults do to them.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) config: NetworkConfig,
    seed: Seed,
    names: Vec<String>,
    /// The zone of each node; 0 is nowhere in particular.
    zone_of: Vec<u32>,
    /// The delay between two zones, by the lower and the higher number.
    between: BTreeMap<(u32, u32), (SimDuration, Sampler)>,
    within: Sampler,
    special: BTreeMap<(u32, u32), Special>,
    reorder_delay: Sampler,
    cuts: Vec<Cut>,
    effects: Vec<Effect>,
}

/// A link that differs from the others.
#[derive(Clone, Debug, Default)]
struct Special {
    delay: Option<Sampler>,
    loss: Option<Probability>,
    bandwidth: Option<Bandwidth>,
}

/// What one directed link remembers between packets.
#[derive(Debug)]
pub(super) struct Path {
    from: NodeId,
    to: NodeId,
    delay: Sampler,
    /// What comes first, where the delay has a fixed part.
    base: SimDuration,
    loss: Probability,
    bandwidth: Option<Bandwidth>,
    busy_until: SimTime,
    // A stream for each purpose, so that turning loss on does not move delays. Opened at the first
    // draw: most links are constant, lose nothing, or carry nothing.
    delay_rng: Option<Rng>,
    loss_rng: Option<Box<Rng>>,
}

impl Path {
    /// Sender and receiver.
    pub(super) fn ends(&self) -> [NodeId; 2] {
        [self.from, self.to]
    }
}

/// A cut: packets between nodes on different sides do not get through.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) fault: u32,
    /// The side that each node is on; 0 is neither, and is not cut.
    pub(super) side: Vec<u8>,
    /// Only packets from side 1 to side 2 are stopped.
    pub(super) one_way: bool,
}

/// What a fault does to packets on some links.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) fault: u32,
    pub(super) from: Vec<bool>,
    pub(super) to: Vec<bool>,
    /// Only messages of this kind.
    pub(super) kind: Option<String>,
    /// Only that many more.
    pub(super) left: Option<u32>,
    pub(super) delay: Option<Sampler>,
    pub(super) loss: Probability,
    /// Messages come twice, the second so long after the first.
    pub(super) copy_after: Option<Sampler>,
    pub(super) rng: Rng,
}

impl Effect {
    /// Whether a message is one that this is about; counts it then.
    fn strikes(&mut self, from: NodeId, to: NodeId, kind: &'static str) -> bool {
        let strikes = self.from[from.index()]
            && self.to[to.index()]
            && self.kind.as_deref().is_none_or(|wanted| wanted == kind)
            && self.left != Some(0);
        if let Some(left) = self.left.as_mut().filter(|_| strikes) {
            *left -= 1;
        }
        strikes
    }
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carriage {
    /// It arrives then.
    Arrives(SimTime),
    /// It is lost by chance; the next may get through.
    Lost,
    /// No packet gets through.
    Blocked,
}

impl Network {
    pub(super) fn new(config: &NetworkConfig, directory: &Directory, seed: Seed) -> Self {
        // Targets were checked when the scenario was read, and draw nothing here.
        let mut rng = seed.stream("link targets", "");
        let mut resolve = |target: &str| {
            directory.resolve(target, &mut rng).expect("a network's targets were checked")
        };
        let mut zone_of = vec![0; directory.len()];
        for (index, zone) in config.zones.iter().enumerate() {
            for node in zone.nodes.iter().flat_map(|target| resolve(target)) {
                zone_of[node.index()] = index as u32 + 1;
            }
        }
        let mut special = BTreeMap::<(u32, u32), Special>::new();
        for link in &config.links {
            for from in resolve(&link.from) {
                for to in resolve(&link.to) {
                    let back = (!link.one_way).then_some((to.0, from.0));
                    for key in [Some((from.0, to.0)), back].into_iter().flatten() {
                        let entry = special.entry(key).or_default();
                        entry.delay = link.delay.as_ref().map(Dist::sampler).or(entry.delay.take());
                        entry.loss = link.loss.or(entry.loss);
                        entry.bandwidth = link.bandwidth.or(entry.bandwidth);
                    }
                }
            }
        }
        Self {
            seed,
            names: directory.ids().map(|id| directory.name(id).to_owned()).collect(),
            zone_of,
            between: zone_delays(config),
            within: config.delay.sampler(),
            special,
            reorder_delay: config.reorder_delay.sampler(),
            cuts: Vec::new(),
            effects: Vec::new(),
            config: config.clone(),
        }
    }

    /// The path of packets from `from` to `to`.
    pub(super) fn path(&self, from: NodeId, to: NodeId) -> Path {
        let [a, b] = [self.zone_of[from.index()], self.zone_of[to.index()]];
        let (mut base, mut delay) = if a == b {
            (SimDuration::ZERO, self.within.clone())
        } else {
            self.between
                .get(&(a.min(b), a.max(b)))
                .cloned()
                .unwrap_or((SimDuration::ZERO, self.within.clone()))
        };
        let special = self.special.get(&(from.0, to.0));
        if let Some(own) = special.and_then(|special| special.delay.clone()) {
            (base, delay) = (SimDuration::ZERO, own);
        }
        if from == to {
            (base, delay) = (SimDuration::ZERO, Sampler::Constant(SimDuration::ZERO));
        }
        Path {
            from,
            to,
            delay,
            base,
            loss: special.and_then(|special| special.loss).unwrap_or(self.config.loss),
            bandwidth: special.and_then(|special| special.bandwidth).or(self.config.bandwidth),
            busy_until: SimTime::ZERO,
            delay_rng: None,
            loss_rng: None,
        }
    }

    /// Sends one packet along `path`.
    pub(super) fn carry(
        &mut self,
        path: &mut Path,
        kind: &'static str,
        size_bytes: u32,
        now: SimTime,
    ) -> Carriage {
        if path.from == path.to {
            return Carriage::Arrives(now);
        }
        let open = |purpose| {
            let [from, to] = [path.from, path.to].map(|end| &self.names[end.index()]);
            self.seed.stream(purpose, &format!("{from}>{to}"))
        };
        // A stream of its own that nobody draws from need not move: what is certain draws nothing.
        let mut delay = path.base;
        delay += match path.delay {
            Sampler::Constant(delay) => delay,
            _ => path.delay.draw(path.delay_rng.get_or_insert_with(|| open("link delay"))),
        };
        let mut is_lost = path.loss != Probability::ZERO
            && path.loss_rng.get_or_insert_with(|| Box::new(open("link loss"))).chance(path.loss);
        if !self.effects.is_empty() {
            let (more, lost) = self.affect(path.from, path.to, kind);
            delay += more;
            is_lost |= lost;
        }
        if self.is_cut(path.from, path.to) {
            return Carriage::Blocked;
        }
        if is_lost {
            return Carriage::Lost;
        }
        let mut leaves = now;
        if let Some(bandwidth) = path.bandwidth {
            leaves = now.max(path.busy_until) + bandwidth.time_for(u64::from(size_bytes));
            path.busy_until = leaves;
        }
        Carriage::Arrives(leaves + delay)
    }

    /// Whether datagrams may come in another order, or twice.
    pub(super) fn scrambles(&self) -> bool {
        [self.config.reorder, self.config.duplicate] != [Probability::ZERO; 2]
    }

    /// How long a datagram is held back so that others overtake it, and whether it comes twice.
    pub(super) fn scramble(&mut self, rng: &mut Rng) -> (SimDuration, bool) {
        let is_held = rng.chance(self.config.reorder);
        let is_doubled = rng.chance(self.config.duplicate);
        let held = if is_held { self.reorder_delay.draw(rng) } else { SimDuration::ZERO };
        (held, is_doubled)
    }

    /// Whether no packet gets from `from` to `to`.
    pub(super) fn is_cut(&self, from: NodeId, to: NodeId) -> bool {
        self.cuts.iter().any(|cut| {
            let [a, b] = [cut.side[from.index()], cut.side[to.index()]];
            a != 0 && b != 0 && a != b && (!cut.one_way || (a == 1 && b == 2))
        })
    }

    fn affect(&mut self, from: NodeId, to: NodeId, kind: &'static str) -> (SimDuration, bool) {
        let (mut more, mut is_lost) = (SimDuration::ZERO, false);
        for effect in self.effects.iter_mut().filter(|effect| effect.copy_after.is_none()) {
            if effect.strikes(from, to, kind) {
                if let Some(delay) = &effect.delay {
                    more += delay.draw(&mut effect.rng);
                }
                is_lost |= effect.rng.chance(effect.loss);
            }
        }
        (more, is_lost)
    }

    /// How long after a message a second copy of it comes, where a fault wants one.
    pub(super) fn copy_after(
        &mut self,
        from: NodeId,
        to: NodeId,
        kind: &'static str,
    ) -> Option<SimDuration> {
        self.effects.iter_mut().filter(|effect| effect.copy_after.is_some()).find_map(|effect| {
            let strikes = effect.strikes(from, to, kind);
            let after = effect.copy_after.as_ref().filter(|_| strikes)?;
            Some(after.draw(&mut effect.rng))
        })
    }

    pub(super) fn begin_cut(&mut self, cut: Cut) {
        self.cuts.push(cut);
    }

    pub(super) fn begin_effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Ends what the fault did to the network.
    pub(super) fn end_fault(&mut self, fault: u32) {
        self.cuts.retain(|cut| cut.fault != fault);
        self.effects.retain(|effect| effect.fault != fault);
    }
}

fn zone_delays(config: &NetworkConfig) -> BTreeMap<(u32, u32), (SimDuration, Sampler)> {
    let number = |name: &str| {
        config.zones.iter().position(|zone| zone.name == name).map(|index| index as u32 + 1)
    };
    let mut delays = BTreeMap::new();
    if let Some(regions) = &config.regions {
        let measured = regions
            .delays(&mut Problems::default())
            .expect("the file was read without a problem when the scenario was checked");
        for ((from, to), base) in measured {
            if let (Some(a), Some(b)) = (number(&from), number(&to)) {
                delays.insert((a.min(b), a.max(b)), (base, regions.jitter.sampler()));
            }
        }
    }
    for between in &config.between {
        if let (Some(a), Some(b)) = (number(&between.from), number(&between.to)) {
            let delay = (SimDuration::ZERO, between.delay.sampler());
            delays.insert((a.min(b), a.max(b)), delay);
        }
    }
    delays
}
