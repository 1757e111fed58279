//! The wing's testbed: a cluster of lock servers, clients and a resource, put to work and judged.

use crate::choice::Choice;
use crate::config;
use crate::config::{Problems, Value};
use crate::kernel::rng::Seed;
use crate::kernel::sim::{self, Limits};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::{Cluster, ClusterEnd, ClusterSetup, Traffic};
use crate::model::directory::Directory;
use crate::model::dist::{Dist, DistKind, ExponentialDist};
use crate::model::fault::{FaultConfig, FaultPlan};
use crate::model::node::NodeId;
use crate::model::popularity::Popularity;
use crate::model::station::StationConfig;
use crate::model::surroundings::Surroundings;
use crate::record::FaultSpan;

use super::history::History;
use super::load::Load;
use super::party::Role;
use super::resource::{Fencing, ResourceRole};
use super::section::WorkerRole;
use super::shards::ClientsRole;
use super::{CATALOGUE, Entry, LockProtocol, Servers, ShardConfig, Shards, Terms, Tokens};

config! {
    /// Lock clients at work on a resource.
    pub struct LocksConfig {
        /// The protocols.
        pub variants: Vec<Choice>,
        /// How long a run is.
        pub horizon: SimDuration = SimDuration::from_secs(60),
        /// How many clients there are: `client-1`, `client-2` and so on.
        pub clients: u32 = 8 => 1..=10_000,
        /// How many locks there are, each with a counter of its own at the resource.
        pub locks: u32 = 1 => 1..=1_000_000,
        /// How the locks are shared out over several services; left out, one has them all.
        pub shards: Option<ShardConfig> = None,
        /// How often each lock is wanted.
        pub popularity: Popularity = Popularity::Uniform,
        /// How many locks a section takes.
        pub locks_per_section: u32 = 1 => 1..=8,
        /// In which order a section takes several locks.
        pub order: LockOrder = LockOrder::Sorted,
        /// How long a section works between reading and writing.
        pub work: Dist = Dist::constant(SimDuration::from_ms(10)),
        /// How long a client thinks between two sections.
        pub think: Dist = Dist(DistKind::Exponential(ExponentialDist {
            mean: SimDuration::from_ms(50),
            min: SimDuration::ZERO,
        })),
        /// How long a client waits for a lock before it gives the section up; left out, as long
        /// as it takes.
        pub patience: Option<SimDuration> = None,
        /// How long a client waits after an error before it asks for the lock again.
        pub retry: SimDuration = SimDuration::from_ms(100),
        /// What the clients do, instead of sections at random: `work`, `think`, `popularity`,
        /// `locks_per_section` and `patience` above do not matter then.
        pub script: Vec<ScriptStep> = Vec::new(),
        /// What the resource makes of fencing tokens.
        pub fencing: Fencing = Fencing::None,
        /// The station of each lock server.
        pub server: StationConfig = StationConfig {
            servers: 1,
            service: Dist::constant(SimDuration::ZERO),
            queue: 1_000_000,
        },
        /// The station of the resource.
        pub resource: StationConfig = StationConfig {
            servers: 1,
            service: Dist::constant(SimDuration::ZERO),
            queue: 1_000_000,
        },
        /// How long a sync of a disk takes.
        pub sync: Dist = Dist::constant(SimDuration::from_us(100)),
    }
    check Self::check;
}

config! {
    /// In which order a section takes several locks.
    pub enum LockOrder {
        /// Each section in the same order.
        "sorted" => Sorted,
        /// As they were drawn: two sections may wait for each other for ever.
        "drawn" => Drawn,
    }
}

config! {
    /// One thing that a client does: a section, where `work` is given, or the release of a lock
    /// that it may not hold.
    pub struct ScriptStep {
        /// Which client, counting from 1.
        pub client: u32 => 1..=10_000,
        /// When. A client that is not done with what it did before begins when it is.
        pub at: SimDuration,
        /// How long the section works between reading and writing.
        pub work: Option<SimDuration> = None,
        /// How long it waits for the lock; left out, as long as it takes.
        pub patience: Option<SimDuration> = None,
        /// Which lock, counting from 1.
        pub lock: u32 = 1 => 1..=1_000_000,
        /// How often the section enters the lock before it leaves it as often: more than once
        /// needs a lock that its holder can enter again.
        pub entries: u32 = 1 => 1..=100,
        /// That long after it is over, it is done again; left out, once is enough.
        pub again: Option<SimDuration> = None,
    }
}

impl LocksConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.variants.is_empty() {
            problems.add(value.place, "there is no variant, expected one at least");
        }
        if self.locks < self.locks_per_section {
            problems.add(
                value.place,
                format!("a section takes {} locks of {}", self.locks_per_section, self.locks),
            );
        }
        for step in &self.script {
            if self.clients < step.client {
                let clients = self.clients;
                problems.add(
                    value.place,
                    format!("the script has a client {} of {clients}", step.client),
                );
            }
            if self.locks < step.lock {
                problems.add(
                    value.place,
                    format!("the script has a lock {} of {}", step.lock, self.locks),
                );
            }
        }
    }
}

/// What running a variant will take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Events.
    pub events: f64,
    /// Bytes that are held at once.
    pub bytes: f64,
}

/// A run as it was.
#[derive(Debug)]
pub struct Played {
    /// Who was in it.
    pub directory: Directory,
    /// The servers of a service.
    pub servers: Servers,
    /// Which service has which lock.
    pub shards: Shards,
    /// All that happened.
    pub history: History,
    /// How the run ended.
    pub run: sim::Run,
    /// The faults that struck.
    pub faults: Vec<FaultSpan>,
    /// Messages sent, by kind.
    pub traffic: Vec<Traffic>,
}

impl LocksConfig {
    /// Who takes part: as many servers as the variant with the most of them has.
    pub fn directory(&self) -> Directory {
        let counts = self.variants.iter().filter_map(|choice| {
            let entry = choice.find("lock", CATALOGUE, &mut Problems::default())?;
            Some((entry.servers)(choice)?.count())
        });
        directory(self, counts.max().unwrap_or(1) * self.shard_count())
    }

    /// How many services there are.
    pub fn shard_count(&self) -> u32 {
        self.shards.as_ref().map_or(1, |shards| shards.count)
    }

    /// When a run ends.
    pub fn end(&self) -> SimTime {
        SimTime::ZERO + self.horizon
    }
}

/// Draws the faults of a run under `seed` with the nodes of `directory`: one that names a server
/// which a variant does not have does not happen to that variant.
fn fault_plan(
    config: &LocksConfig,
    around: &Surroundings,
    directory: &Directory,
    seed: Seed,
) -> FaultPlan {
    let exists = |fault: &&FaultConfig| {
        let mut problems = Problems::default();
        fault.action.check_targets(fault.place, directory, &mut problems);
        if let Some(on) = &fault.when.on {
            directory.check(&on.node, fault.place, &mut problems);
        }
        problems.is_empty()
    };
    let faults: Vec<FaultConfig> = around.faults.iter().filter(exists).cloned().collect();
    FaultPlan::draw(&faults, around.nemesis.as_ref(), directory, config.end(), seed)
        .expect("the number of faults was checked when they were read")
}

/// Always numbered, so that a server has the same name whether or not there are others.
fn directory(config: &LocksConfig, server_count: u32) -> Directory {
    let mut directory = Directory::default();
    for (group, count) in [("client", config.clients), ("server", server_count)] {
        for number in 1..=count {
            directory.add(format!("{group}-{number}"), group);
        }
    }
    directory.add("resource".into(), "resource");
    directory
}

/// Tells all that is wrong with the variants of `config`.
pub fn check(config: &LocksConfig, problems: &mut Problems) {
    for choice in &config.variants {
        let Some(entry) = choice.find("lock", CATALOGUE, problems) else { continue };
        check_choice(entry, choice, &config.fencing, problems);
    }
}

/// Tells all that is wrong with a choice of `entry` for a resource that fences like that.
pub fn check_choice(entry: &Entry, choice: &Choice, fencing: &Fencing, problems: &mut Problems) {
    (entry.check)(choice, problems);
    let name = entry.about.name;
    if *fencing != Fencing::None && entry.tokens == Tokens::None {
        problems.add(choice.place, format!("`{name}` has no fencing tokens"));
    } else if *fencing == Fencing::CheckWithService && !entry.validates {
        problems.add(
            choice.place,
            format!("`{name}` has no service that could check a token for the resource"),
        );
    }
}

/// What running `choice` once will take; nothing where the choice is wrong.
pub fn estimate(choice: &Choice, config: &LocksConfig) -> Estimate {
    const EVENTS_A_SECTION: f64 = 40.0;
    const BYTES_A_SECTION: f64 = 1500.0;
    let servers = choice
        .find("lock", CATALOGUE, &mut Problems::default())
        .and_then(|entry| (entry.servers)(choice));
    let Some(servers) = servers else { return Estimate { events: 0.0, bytes: 0.0 } };
    let cycle_ns = config.think.mean_ns() + config.work.mean_ns() + 1e6;
    let by_clients = f64::from(config.clients) / cycle_ns;
    let by_locks = f64::from(config.locks) / (config.work.mean_ns() + 1e6);
    let sections = match config.script.len() {
        0 => by_clients.min(by_locks) * config.horizon.as_ns() as f64,
        steps => steps as f64,
    };
    Estimate {
        events: sections * EVENTS_A_SECTION * f64::from(servers.count()),
        bytes: sections * BYTES_A_SECTION + 20_000.0 * f64::from(config.clients),
    }
}

/// Plays `P` with `params` under `seed`.
pub(super) fn play<P: LockProtocol>(
    params: &P::Params,
    config: &LocksConfig,
    shards: &Shards,
    around: &Surroundings,
    seed: Seed,
) -> Played {
    assert_eq!(shards.count(), config.shard_count(), "the table is for other services");
    let servers = P::servers(params);
    let directory = directory(config, servers.count() * shards.count());
    let (roles, stations) = cast::<P>(params, config, shards, &directory);
    let faults = fault_plan(config, around, &directory, seed);
    let cluster = Cluster::new(
        ClusterSetup {
            directory: &directory,
            network: &around.network,
            sync: &config.sync,
            stations,
            faults,
            seed,
        },
        roles,
        Load::new(config, &directory, seed),
    );
    let horizon = config.end();
    let end: ClusterEnd<Load<'_>> = cluster.run(Limits { horizon, ..Limits::default() });
    Played {
        servers,
        shards: shards.clone(),
        history: end.workload.recorder.finish(end.run.now.max(horizon)),
        run: end.run,
        faults: end.faults,
        traffic: end.traffic,
        directory,
    }
}

/// The part that each node of `directory` plays, and its station.
fn cast<P: LockProtocol>(
    params: &P::Params,
    config: &LocksConfig,
    shards: &Shards,
    directory: &Directory,
) -> (Vec<Role<P>>, Vec<Option<StationConfig>>) {
    let clients = directory.group("client");
    let servers = directory.group("server");
    let resource = directory.group("resource")[0];
    let services: Vec<&[NodeId]> =
        servers.chunks(servers.len() / shards.count() as usize).collect();
    let is_counted = config.fencing != Fencing::None;
    let terms = |service: &[NodeId], index| Terms { servers: service.to_vec(), index, is_counted };
    let clients_of = |index: usize| ClientsRole {
        clients: services
            .iter()
            .map(|service| P::client(params, &terms(service, index as u32)))
            .collect(),
        servers: servers.clone(),
        shards: shards.clone(),
    };
    let mut roles = Vec::new();
    let mut stations = Vec::new();
    for (index, _) in clients.iter().enumerate() {
        roles.push(Role::Client(WorkerRole { clients: clients_of(index), resource }));
        stations.push(None);
    }
    for service in &services {
        for index in 0..service.len() as u32 {
            roles.push(Role::Server(P::server(params, &terms(service, index))));
            stations.push(station(&config.server));
        }
    }
    let asks = config.fencing == Fencing::CheckWithService;
    let validator = asks.then(|| clients_of(clients.len()));
    roles.push(Role::Resource(ResourceRole { fencing: config.fencing.clone(), validator }));
    stations.push(station(&config.resource));
    assert_eq!(roles.len(), directory.len(), "clients come first, then servers, then the resource");
    (roles, stations)
}

/// Where serving takes no time, a message goes past the station: fewer events.
fn station(config: &StationConfig) -> Option<StationConfig> {
    let is_instant = config.service == Dist::constant(SimDuration::ZERO);
    (!is_instant).then(|| config.clone())
}
