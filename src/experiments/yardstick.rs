//! The workloads by which simulation engines are measured, on this kernel and this network.
//!
//! They are the same that `benches/peers` gives to other engines, and `stormglass bench kernel` to
//! this machine; whoever measures brings the clock. What is built before the first event is not
//! part of the work.

use std::collections::VecDeque;

use crate::kernel::event_queue::EventQueue;
use crate::kernel::rng::{Rng, Seed};
use crate::kernel::sim::{Limits, World, run};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::{Change, Cluster, ClusterSetup, Driver, Workload};
use crate::model::directory::Directory;
use crate::model::dist::{Dist, DistKind, ExponentialDist};
use crate::model::fault::FaultPlan;
use crate::model::network::{NetworkConfig, Transport};
use crate::model::node::{Context, Input, Node, NodeId, Wire};

/// A workload.
#[derive(Clone, Copy, Debug)]
pub struct Yardstick {
    /// What commands call it.
    pub name: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// What is counted.
    pub unit: &'static str,
    /// How many of these are enough for a measurement of about a second.
    pub count: u64,
    /// How many events are pending all the while, where that is what it is about.
    pub pending: u64,
    /// Builds it.
    pub prepare: fn() -> Prepared,
}

/// A workload that is ready to run.
pub struct Prepared(Box<dyn FnOnce(u64) -> Done>);

/// What a workload did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// How many events, messages or requests.
    pub count: u64,
    /// A figure of the model: the same for every run, and near what theory says where it does.
    pub check: f64,
}

/// All of them.
pub const YARDSTICKS: &[Yardstick] = &[
    Yardstick {
        name: "phold-1k",
        title: "PHOLD, 1 k pending",
        unit: "event",
        count: 10_000_000,
        pending: 1_000,
        prepare: || phold(1_000),
    },
    Yardstick {
        name: "phold-100k",
        title: "PHOLD, 100 k pending",
        unit: "event",
        count: 5_000_000,
        pending: 100_000,
        prepare: || phold(100_000),
    },
    Yardstick {
        name: "phold-1m",
        title: "PHOLD, 1 M pending",
        unit: "event",
        count: 5_000_000,
        pending: 1_000_000,
        prepare: || phold(1_000_000),
    },
    Yardstick {
        name: "ping-pong",
        title: "ping-pong, 1000 pairs",
        unit: "message",
        count: 5_000_000,
        pending: 0,
        prepare: || ping_pong(1_000),
    },
    Yardstick {
        name: "mm1",
        title: "M/M/1, load 0.9",
        unit: "event",
        count: 10_000_000,
        pending: 0,
        prepare: || mm1(Seed(1), 1.0, 0.9),
    },
    Yardstick {
        name: "requests",
        title: "requests, time-outs cancelled",
        unit: "request",
        count: 3_000_000,
        pending: 0,
        prepare: requests,
    },
];

impl Prepared {
    /// Does `count` of what is counted, or as good as that.
    pub fn run(self, count: u64) -> Done {
        (self.0)(count)
    }
}

impl std::fmt::Debug for Prepared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Prepared")
    }
}

/// A second of the models, in the kernel's nanoseconds.
const SECOND: f64 = 1e9;
const ENTITIES: u64 = 1024;

fn delay(rng: &mut Rng, mean: f64) -> SimDuration {
    SimDuration::from_ns((rng.exponential() * mean * SECOND) as u64)
}

fn limits(event_count: u64) -> Limits {
    Limits { event_count_max: event_count, ..Limits::default() }
}

struct Phold {
    rngs: Vec<Rng>,
    touched: Vec<u64>,
}

impl World for Phold {
    type Event = [u64; 4];

    fn handle(&mut self, event: Self::Event, queue: &mut EventQueue<Self::Event>) {
        let entity = event[0] as usize;
        self.touched[entity] += event[1];
        let rng = &mut self.rngs[entity];
        let after = delay(rng, 1.0);
        let to = rng.below(ENTITIES);
        queue.schedule_after(after, [to, event[1], event[2], event[3]]);
    }

    fn digest(event: &Self::Event) -> u64 {
        event[0]
    }
}

/// The parallel hold model: each event touches one of 1024 entities and schedules one for another,
/// an exponential delay later; `pending` are under way (Fujimoto, "Performance of Time Warp under
/// Synthetic Workloads", 1990). An event has 32 bytes.
pub fn phold(pending: u64) -> Prepared {
    let entities = 0..ENTITIES;
    let rngs = entities.map(|entity| Seed(1).stream("phold", &entity.to_string())).collect();
    let mut world = Phold { rngs, touched: vec![0; ENTITIES as usize] };
    let mut queue = EventQueue::new();
    let mut rng = Seed(1).stream("fill", "");
    for serial in 0..pending {
        let after = delay(&mut rng, 1.0);
        queue.schedule_after(after, [serial % ENTITIES, 1, serial, 0]);
    }
    run(&mut world, &mut queue, limits(pending));
    Prepared(Box::new(move |event_count| {
        let done = run(&mut world, &mut queue, limits(event_count));
        Done { count: done.event_count, check: world.touched.iter().sum::<u64>() as f64 }
    }))
}

struct Mm1 {
    arrivals: Rng,
    services: Rng,
    interval_mean: f64,
    service_mean: f64,
    waiting: VecDeque<SimTime>,
    busy: bool,
    served: u64,
    sojourn: f64,
}

#[derive(Clone, Copy)]
enum AtServer {
    Arrives,
    Leaves,
}

impl World for Mm1 {
    type Event = AtServer;

    fn handle(&mut self, event: AtServer, queue: &mut EventQueue<AtServer>) {
        match event {
            AtServer::Arrives => {
                self.waiting.push_back(queue.now());
                let next = delay(&mut self.arrivals, self.interval_mean);
                queue.schedule_after(next, AtServer::Arrives);
            }
            AtServer::Leaves => {
                let since = self.waiting.pop_front().expect("somebody is served");
                self.sojourn += queue.now().since(since).as_secs_f64();
                self.served += 1;
                self.busy = false;
            }
        }
        if !self.busy && !self.waiting.is_empty() {
            self.busy = true;
            let service = delay(&mut self.services, self.service_mean);
            queue.schedule_after(service, AtServer::Leaves);
        }
    }

    fn digest(event: &AtServer) -> u64 {
        *event as u64
    }
}

/// One server, with exponential intervals and service times of these means, in seconds. The check
/// is the mean sojourn.
pub fn mm1(seed: Seed, interval_mean: f64, service_mean: f64) -> Prepared {
    let mut world = Mm1 {
        arrivals: seed.stream("arrivals", "source"),
        services: seed.stream("services", "server"),
        interval_mean,
        service_mean,
        waiting: VecDeque::new(),
        busy: false,
        served: 0,
        sojourn: 0.0,
    };
    let mut queue = EventQueue::new();
    queue.schedule_after(SimDuration::ZERO, AtServer::Arrives);
    Prepared(Box::new(move |event_count| {
        let done = run(&mut world, &mut queue, limits(event_count));
        Done { count: done.event_count, check: world.sojourn / world.served as f64 }
    }))
}

struct Requests {
    rngs: Vec<Rng>,
    /// How many requests each client has made: an event of an earlier one is void.
    serials: Vec<u32>,
    answered: u64,
    timed_out: u64,
}

#[derive(Clone, Copy)]
enum ToClient {
    Reply { client: u32, serial: u32 },
    TimeOut { client: u32, serial: u32 },
}

impl Requests {
    fn ask(&mut self, client: u32, queue: &mut EventQueue<ToClient>) {
        self.serials[client as usize] += 1;
        let serial = self.serials[client as usize];
        let reply = delay(&mut self.rngs[client as usize], 1.0);
        queue.schedule_after(reply, ToClient::Reply { client, serial });
        queue.schedule_after(SimDuration::from_secs(100), ToClient::TimeOut { client, serial });
    }
}

impl World for Requests {
    type Event = ToClient;

    fn handle(&mut self, event: ToClient, queue: &mut EventQueue<ToClient>) {
        match event {
            ToClient::Reply { client, serial } if self.serials[client as usize] == serial => {
                self.answered += 1;
                self.ask(client, queue);
            }
            ToClient::TimeOut { client, serial } if self.serials[client as usize] == serial => {
                self.timed_out += 1;
                self.ask(client, queue);
            }
            // Cancelled: the client has gone on.
            ToClient::Reply { .. } | ToClient::TimeOut { .. } => (),
        }
    }

    fn digest(event: &ToClient) -> u64 {
        match *event {
            ToClient::Reply { client, serial } => u64::from(client) << 33 | u64::from(serial),
            ToClient::TimeOut { client, serial } => {
                u64::from(client) << 33 | 1 << 32 | u64::from(serial)
            }
        }
    }
}

/// A thousand clients, answered after a second in the mean, with time-outs of 100 s that are
/// cancelled by the answer: leases and time-outs are like this. The check is how many struck.
pub fn requests() -> Prepared {
    const CLIENTS: u32 = 1000;
    let rngs = (0..CLIENTS).map(|client| Seed(1).stream("reply", &client.to_string())).collect();
    let serials = vec![0; CLIENTS as usize];
    let mut world = Requests { rngs, serials, answered: 0, timed_out: 0 };
    let mut queue = EventQueue::new();
    for client in 0..CLIENTS {
        world.ask(client, &mut queue);
    }
    // Past the first time-outs, each request costs two events: its reply, and the void time-out.
    run(&mut world, &mut queue, limits(300_000));
    Prepared(Box::new(move |request_count| {
        let before = world.answered;
        run(&mut world, &mut queue, limits(2 * request_count));
        Done { count: world.answered - before, check: world.timed_out as f64 }
    }))
}

/// A ball that two players play to each other, as a datagram.
#[derive(Clone, Debug)]
struct Ball;

impl Wire for Ball {
    fn kind(&self) -> &'static str {
        "ball"
    }

    fn size_bytes(&self) -> u32 {
        100
    }
}

/// Plays every ball back.
#[derive(Debug)]
struct Player {
    peer: NodeId,
    serves: bool,
}

impl Node for Player {
    type Role = (NodeId, bool);
    type Stable = ();
    type Request = ();
    type Indication = ();
    type Message = Ball;
    type Timer = ();

    fn boot(&(peer, serves): &Self::Role, (): &()) -> Self {
        Self { peer, serves }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match input {
            Input::Start if self.serves => ctx.send(self.peer, Ball),
            Input::Message { from, message, .. } => ctx.send(from, message),
            _ => (),
        }
    }
}

struct Idle;

impl Workload<Player> for Idle {
    type Event = ();

    fn start(&mut self, _: &mut Driver<'_, Player, ()>) {}

    fn handle(&mut self, (): (), _: &mut Driver<'_, Player, ()>) {}

    fn hear(&mut self, _: NodeId, (): (), _: &mut Driver<'_, Player, ()>) {}

    fn witness(&mut self, _: NodeId, _: Change, _: &mut Driver<'_, Player, ()>) {}
}

/// Pairs of nodes that play to each other in a cluster: with its network of delays, losses, links
/// and zones, its clocks, its disks and its plan of faults. The check is how many messages went.
pub fn ping_pong(pairs: u32) -> Prepared {
    let mut directory = Directory::default();
    let players = directory.add_group("player", 2 * pairs);
    let roles = players.iter().map(|player| (NodeId(player.0 ^ 1), player.0 % 2 == 0)).collect();
    let (mean, min) = (SimDuration::from_ms(1), SimDuration::ZERO);
    let network = NetworkConfig {
        transport: Transport::Datagram,
        delay: Dist(DistKind::Exponential(ExponentialDist { mean, min })),
        ..NetworkConfig::default()
    };
    let setup = ClusterSetup {
        directory: &directory,
        network: &network,
        sync: &Dist::constant(SimDuration::ZERO),
        stations: vec![None; 2 * pairs as usize],
        faults: FaultPlan::default(),
        seed: Seed(1),
    };
    let cluster = Cluster::new(setup, roles, Idle);
    Prepared(Box::new(move |message_count| {
        let end = cluster.run(limits(message_count));
        let count = end.traffic.iter().map(|traffic| traffic.count).sum();
        Done { count, check: count as f64 }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yardstick_does_what_it_is_asked_for_and_the_same_each_time() {
        for yardstick in YARDSTICKS.iter().filter(|yardstick| yardstick.pending <= 1_000) {
            let done = (yardstick.prepare)().run(10_000);
            // Half the events answer requests, give or take 4.5 standard deviations of 71; and a
            // thousand balls are in the air when the last is counted.
            let (low, high) = (10_000 - 320, 10_000 + 1_001);
            assert!((low..=high).contains(&done.count), "{}: {done:?}", yardstick.name);
            assert_eq!((yardstick.prepare)().run(10_000), done, "{}", yardstick.name);
        }
    }

    #[test]
    fn the_queue_at_one_server_waits_as_theory_says() {
        let done = mm1(Seed(1), 1.0, 0.5).run(400_000);
        // 1 / (2 - 1) = 1 s; the half-width of 95 % over 200,000 customers is about 1.5 %.
        assert!((done.check - 1.0).abs() < 0.03, "{done:?}");
    }
}
