//! The ring in motion: a cluster behind a placement, at work on the kernel.
//!
//! Nodes with servers, queues and network cards serve keys that a placement of the catalogue gives
//! them, as caches in front of an origin or as stores that copy data when owners change. Clients
//! route by the view of the members that they have, which is late; a monitor notices who is down,
//! carries out an administrator's changes and spreads the news. A judge sees all of it.
//!
//! ```text
//!   client ──get──▶ node ──fetch──▶ origin      node ──pull──▶ node      node ──beat──▶ monitor
//!          ◀answer─      ◀─fetched─                  ◀─copy──            everyone ◀─view─
//! ```
//!
//! What is not modelled: what a value says (so no lost or stale writes: the locks and queues have
//! those), deletion of keys that went elsewhere, and the disk's speed. Who dies of its load loses
//! its process, not its machine.

mod client;
mod config;
mod judge;
mod lru;
mod member;
mod metrics;
mod monitor;
mod nic;
mod origin;
mod protocol;
mod report;
mod store;
#[cfg(test)]
mod tests;
mod view;

use std::rc::Rc;

use crate::choice::Choice;
use crate::config::{Place, Problems};
use crate::kernel::rng::Seed;
use crate::kernel::sim::Limits;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::{Cluster, ClusterSetup};
use crate::model::directory::Directory;
use crate::model::dist::Dist;
use crate::model::load::LoadConfig;
use crate::model::node::NodeId;
use crate::model::placement::{Member, Membership};
use crate::model::popularity::KeyPicker;
use crate::model::station::StationConfig;
use crate::model::surroundings::Surroundings;
use crate::record::Record;
use crate::rings::hash::Hasher;
use crate::rings::measure::{Estimate, ListedKeys, Setup};
use crate::rings::script::{Keys as KeysConfig, Step, stages};
use crate::rings::{CATALOGUE, VARIANTS};

use judge::{Judge, Load, Plan};
use member::OVERWHELMED;
use protocol::{MonitorRole, Order, Part, Role, World};
use view::{Blueprint, Keys, ViewMaker};

pub use config::{
    BoundConfig, CacheConfig, ChangeConfig, Detector, HeartbeatsConfig, Holding, LogNormalSizes,
    Misroute, MotionConfig, Overflow, OverloadConfig, ParetoSizes, ReadFrom, SizeKind, Sizes,
    StoreConfig, SurgeConfig, UniformSizes,
};
pub use metrics::*;

/// Who is ever a member, and what an administrator orders.
#[derive(Debug)]
struct Cast {
    /// Each member as it was first; its number is that of its node.
    members: Vec<Member>,
    /// The members at the start.
    start: Membership,
    orders: Vec<Vec<Order>>,
    labels: Vec<String>,
    /// The members after each change, as far as nobody is down.
    stages: Vec<Membership>,
}

impl Cast {
    /// Of a set-up whose changes were found right.
    fn new(setup: &Setup, motion: &MotionConfig, seed: Seed) -> Self {
        let start = setup.config.nodes.membership();
        let mut members: Vec<Member> = start.iter().map(|(_, member)| member.clone()).collect();
        // The node of each member that ever was, by the member's id.
        let mut node_of: Vec<NodeId> = (0..members.len() as u32).map(NodeId).collect();
        let mut cast = Self {
            members: Vec::new(),
            start,
            orders: Vec::new(),
            labels: Vec::new(),
            stages: Vec::new(),
        };
        let scripted = motion.script(&setup.config);
        for stage in stages(&scripted, seed).expect("the changes were checked with the scenario") {
            let orders = stage.steps.iter().map(|step| match step {
                Step::Add(id, member) => {
                    let known = members.iter().position(|known| known.name == member.name);
                    let number = known.unwrap_or_else(|| {
                        members.push(member.clone());
                        members.len() - 1
                    });
                    assert_eq!(id.index(), node_of.len(), "ids rise by one with each member");
                    node_of.push(NodeId(number as u32));
                    Order::Join(NodeId(number as u32), member.clone())
                }
                Step::Remove(id) => Order::Leave(node_of[id.index()]),
                Step::Reweight(id, weight) => Order::Weigh(node_of[id.index()], *weight),
            });
            cast.orders.push(orders.collect());
            cast.labels.push(stage.label);
            cast.stages.push(stage.members);
        }
        Self { members, ..cast }
    }

    fn directory(&self, motion: &MotionConfig) -> Directory {
        let mut directory = Directory::default();
        for member in &self.members {
            directory.add_in_zone(member.name.clone(), "node", &member.zone);
        }
        directory.add_group("client", motion.clients);
        directory.add_group("origin", 1);
        directory.add_group("monitor", 1);
        directory
    }
}

/// The nodes of a run, and when it ends; `None` where the ring is not in motion.
pub fn cluster(setup: &Setup) -> Option<(Directory, SimTime)> {
    let motion = setup.config.motion.as_ref()?;
    let cast = Cast::new(setup, motion, Seed(0));
    Some((cast.directory(motion), SimTime::ZERO + motion.duration))
}

/// Tells all that is wrong with the variants of `setup`, and with its members, for a ring in
/// motion; nothing where it is not.
pub fn check(setup: &Setup, place: Place, problems: &mut Problems) {
    let Some(motion) = &setup.config.motion else { return };
    let cast = Cast::new(setup, motion, Seed(0));
    for choice in &setup.config.variants {
        let Some(entry) = choice.find("ring", CATALOGUE, &mut Problems::default()) else {
            // What is no variant at all was told of before.
            if choice.find("ring", VARIANTS, &mut Problems::default()).is_some() {
                let message = format!(
                    "`{}` cannot be set in motion: a program answers in real time",
                    choice.name
                );
                problems.add(choice.place, message);
            }
            continue;
        };
        let largest = cast.stages.iter().max_by_key(|members| members.len());
        if let Some(members) = largest {
            (entry.check)(choice, members, problems);
        }
        let walks = motion.bound.as_ref().is_some_and(|bound| bound.overflow == Overflow::Walk);
        if !entry.capabilities.replicas && (1 < setup.config.replicas || walks) {
            let what = if walks { "overflow = \"walk\"" } else { "more than one replica" };
            let message = format!("`{}` knows one member for a key: no {what}", choice.name);
            problems.add(choice.place, message);
        }
    }
    let is_taken = |name: &str| {
        ["node", "nodes", "client", "clients", "origin", "origins", "monitor", "monitors", "all"]
            .contains(&name)
            || name.strip_prefix("client-").is_some_and(|rest| rest.parse::<u32>().is_ok())
    };
    for surge in motion.surges.iter().filter(|surge| key_count(setup) <= surge.key.into()) {
        problems.add(place, format!("there is no key {}: they count from 0", surge.key));
    }
    for member in cast.members.iter().filter(|member| is_taken(&member.name)) {
        problems.add(place, format!("no member can be called `{}`", member.name));
    }
}

/// What running `choice` once will take; nothing where the choice is wrong.
pub fn estimate(choice: &Choice, setup: &Setup, motion: &MotionConfig) -> Estimate {
    let cast = Cast::new(setup, motion, Seed(0));
    let peers = cast.members.len() as f64;
    let clients = f64::from(motion.clients);
    let seconds = motion.duration.as_secs_f64();
    let service = motion.station.service.mean_ns() / 1e9;
    let requests = seconds
        * match &motion.load {
            LoadConfig::Open(arrivals) => arrivals.mean_rate(),
            LoadConfig::Closed(closed) => {
                clients / (closed.think.mean_ns() / 1e9 + service).max(1e-6)
            }
        };
    let beats = match &motion.detector {
        Detector::Heartbeats(config) => peers * seconds / config.every.as_secs_f64(),
        Detector::Delay(_) => 0.0,
    };
    let key_count = key_count(setup) as f64;
    let copies = key_count * f64::from(setup.config.replicas);
    let holding = match &motion.node {
        Holding::Cache(_) => peers.min(copies) * copies / peers * 48.0,
        Holding::Store(_) => copies * 4.0 * 4.0,
    };
    let views = cast.orders.len() as f64 + 2.0;
    let table = choice
        .find("ring", CATALOGUE, &mut Problems::default())
        .and_then(|entry| (entry.cost)(choice, cast.members.len() as u32))
        .map_or(0.0, |cost| cost.table_bytes as f64);
    let pairs = requests.min(clients * peers) + 2.0 * peers;
    Estimate {
        operations: requests * 7.0 + beats * 3.0 + views * (peers + clients) * 2.0,
        bytes: (peers + clients) * 1500.0 + pairs * 700.0 + holding + views.min(4.0) * table,
    }
}

fn key_count(setup: &Setup) -> u64 {
    match (&setup.config.keys, &setup.listed) {
        (KeysConfig::Made(made), _) => made.count,
        (KeysConfig::File(_), listed) => {
            listed.as_ref().map_or(0, |listed| listed.rows().len() as u64)
        }
    }
}

/// Runs `choice` on `setup` in the world `around` under `seed`. The set-up is in motion, and was
/// found right.
pub fn simulate(choice: &Choice, setup: &Setup, around: &Surroundings, seed: Seed) -> Record {
    let motion = setup.config.motion.as_ref().expect("a ring that is in motion");
    let cast = Cast::new(setup, motion, seed);
    let directory = cast.directory(motion);
    let horizon = SimTime::ZERO + motion.duration;
    let (peer_count, client_count) = (cast.members.len() as u32, motion.clients);
    let [origin, monitor] = [0, 1].map(|behind| NodeId(peer_count + client_count + behind));

    let blueprint = Blueprint {
        choice: choice.clone(),
        hasher: Hasher::new(setup.config.hash.clone(), seed.stream("ring hash", "").word()),
        keys: Rc::new(Keys::new(&setup.config.keys, setup.listed.as_ref(), seed)),
        replicas: setup.config.replicas as usize,
        lists_holdings: matches!(motion.node, Holding::Store(_)),
        start: cast.start.clone(),
    };
    let (first, _) = ViewMaker::new(&blueprint).view(0, Vec::new());
    let world = Rc::new(World {
        keys: blueprint.keys.clone(),
        sizes: motion.values.clone(),
        peer_count,
        client_count,
        origin,
        monitor,
        holding: motion.node.clone(),
        bandwidth: motion.bandwidth,
        misroute: motion.misroute.clone(),
        read_from: motion.read_from.clone(),
        bound: motion.bound.clone(),
        retry: motion.retry.clone(),
        detector: motion.detector.clone(),
        dies_after: motion.overload.as_ref().map(|overload| overload.dies_after),
        first,
    });
    let judge = Judge::new(plan(setup, motion, around, &cast, &world, seed));

    let mut faults = around
        .fault_plan(&directory, horizon, seed)
        .expect("the number of faults was checked with the scenario");
    if let Some(overload) = &motion.overload {
        for number in 0..peer_count {
            let label = format!("{} dies of its load", directory.name(NodeId(number)));
            let lasts = overload.restarts_after;
            faults.crash_whenever(NodeId(number), OVERWHELMED, lasts, label);
        }
    }
    let orders =
        MonitorRole { blueprint, orders: cast.orders.clone(), spread: motion.spread.sampler() };
    let (roles, stations) = cast_roles(&cast, motion, &world, Rc::new(orders));
    let setup_of_cluster = ClusterSetup {
        directory: &directory,
        network: &around.network,
        sync: &Dist::constant(SimDuration::ZERO),
        stations,
        faults,
        seed,
    };
    let end = Cluster::<Part, Judge>::new(setup_of_cluster, roles, judge)
        .run(Limits { horizon, ..Limits::default() });
    report::record(choice, motion, &directory, around, seed, end)
}

fn cast_roles(
    cast: &Cast,
    motion: &MotionConfig,
    world: &Rc<World>,
    monitor: Rc<MonitorRole>,
) -> (Vec<Role>, Vec<Option<StationConfig>>) {
    let mut roles = Vec::new();
    let mut stations = Vec::new();
    for (number, member) in cast.members.iter().enumerate() {
        roles.push(Role::Peer(world.clone(), NodeId(number as u32)));
        stations.push(Some(motion.station_of(member.weight)));
    }
    for _ in 0..motion.clients {
        roles.push(Role::Client(world.clone()));
        stations.push(None);
    }
    roles.push(Role::Origin(world.clone()));
    stations.push(match &motion.node {
        Holding::Cache(cache) => Some(cache.origin.clone()),
        Holding::Store(_) => None,
    });
    roles.push(Role::Monitor(world.clone(), monitor));
    stations.push(None);
    (roles, stations)
}

fn plan(
    setup: &Setup,
    motion: &MotionConfig,
    around: &Surroundings,
    cast: &Cast,
    world: &Rc<World>,
    seed: Seed,
) -> Plan {
    let load = match &motion.load {
        LoadConfig::Open(arrivals) => Load::Open(arrivals.arrivals(seed, "clients", 0, 1)),
        LoadConfig::Closed(closed) => {
            Load::Closed { think: closed.think.sampler(), rng: seed.stream("think", "clients") }
        }
    };
    let picker = match (&setup.config.keys, &setup.listed) {
        (KeysConfig::Made(made), _) => KeyPicker::new(&made.popularity, made.count),
        (KeysConfig::File(_), listed) => {
            let rows = listed.iter().flat_map(ListedKeys::rows);
            let weights: Vec<f64> = rows.map(|(_, weight)| *weight).collect();
            KeyPicker::weighted(&weights).expect("the weights were checked with the scenario")
        }
    };
    let times = motion.changes.iter().map(|change| SimTime::ZERO + change.at);
    Plan {
        world: world.clone(),
        load,
        picker,
        reads: motion.reads,
        surges: motion.surges.clone(),
        deadline: motion.deadline,
        window: motion.window,
        warm_up: SimTime::ZERO + around.warm_up,
        changes: times.zip(cast.labels.iter().cloned()).collect(),
        keys: seed.stream("asked keys", ""),
        clients: seed.stream("asking clients", ""),
        wants: seed.stream("reads and writes", ""),
        crowds: seed.stream("surges", ""),
        noticing: seed.stream("noticing", ""),
    }
}
