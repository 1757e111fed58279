//! The workloads on the shipped kernel: its loop with caps and fingerprint, and its network.

use std::collections::VecDeque;

use stormglass::kernel::event_queue::EventQueue;
use stormglass::kernel::rng::{Rng, Seed};
use stormglass::kernel::sim::{Limits, World, run};
use stormglass::kernel::time::{SimDuration, SimTime};

use stormglass::config::{Config, Problems, Value};
use stormglass::model::cluster::{Change, Cluster, ClusterSetup, Driver, Workload};
use stormglass::model::directory::Directory;
use stormglass::model::dist::Dist;
use stormglass::model::fault::FaultPlan;
use stormglass::model::network::NetworkConfig;
use stormglass::model::node::{Context, Input, Node, NodeId, Wire};

use crate::measure::{Meter, Outcome};

/// A second of the model, in the kernel's nanoseconds.
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

pub fn phold(pending: u64, event_count: u64) -> Outcome {
    let entities = 0..ENTITIES;
    let rngs = entities.map(|entity| Seed(1).stream("phold", &entity.to_string())).collect();
    let mut world = Phold { rngs, touched: vec![0; ENTITIES as usize] };
    let memory = crate::measure::resident();
    let mut queue = EventQueue::new();
    let mut rng = Seed(1).stream("fill", "");
    for serial in 0..pending {
        let after = delay(&mut rng, 1.0);
        queue.schedule_after(after, [serial % ENTITIES, 1, serial, 0]);
    }
    run(&mut world, &mut queue, limits(pending));
    let memory = crate::measure::resident().saturating_sub(memory);
    let meter = Meter::start();
    let done = run(&mut world, &mut queue, limits(event_count));
    meter.stop(done.event_count, world.touched.iter().sum::<u64>() as f64, memory)
}

struct Mm1 {
    arrivals: Rng,
    services: Rng,
    service_mean: f64,
    waiting: VecDeque<SimTime>,
    busy: bool,
    served: u64,
    sojourn: f64,
}

#[derive(Clone, Copy)]
enum Station {
    Arrives,
    Leaves,
}

impl World for Mm1 {
    type Event = Station;

    fn handle(&mut self, event: Station, queue: &mut EventQueue<Station>) {
        match event {
            Station::Arrives => {
                self.waiting.push_back(queue.now());
                queue.schedule_after(delay(&mut self.arrivals, 1.0), Station::Arrives);
            }
            Station::Leaves => {
                let since = self.waiting.pop_front().expect("somebody is served");
                self.sojourn += (queue.now().as_ns() - since.as_ns()) as f64 / SECOND;
                self.served += 1;
                self.busy = false;
            }
        }
        if !self.busy && !self.waiting.is_empty() {
            self.busy = true;
            let service = delay(&mut self.services, self.service_mean);
            queue.schedule_after(service, Station::Leaves);
        }
    }

    fn digest(event: &Station) -> u64 {
        *event as u64
    }
}

/// The mean sojourn of an M/M/1 queue under `seed`, and what it took.
pub fn mm1_under(seed: u64, service_mean: f64, event_count: u64) -> Outcome {
    let mut world = Mm1 {
        arrivals: Seed(seed).stream("arrivals", "source"),
        services: Seed(seed).stream("services", "server"),
        service_mean,
        waiting: VecDeque::new(),
        busy: false,
        served: 0,
        sojourn: 0.0,
    };
    let mut queue = EventQueue::new();
    queue.schedule_after(SimDuration::ZERO, Station::Arrives);
    let meter = Meter::start();
    let done = run(&mut world, &mut queue, limits(event_count));
    meter.stop(done.event_count, world.sojourn / world.served as f64, 0)
}

pub fn mm1(event_count: u64) -> Outcome {
    mm1_under(1, 0.9, event_count)
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

/// Requests with time-outs that are nearly always cancelled. Counts requests, not events.
pub fn requests(request_count: u64) -> Outcome {
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
    let before = world.answered;
    let meter = Meter::start();
    run(&mut world, &mut queue, limits(2 * request_count));
    meter.stop(world.answered - before, world.timed_out as f64, 0)
}

/// A ball that two players play to each other, as a datagram.
#[derive(Clone, Debug)]
pub struct Ball;

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
pub struct Player {
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

/// Pairs of nodes in the crate's cluster: its network model with delay, loss, links and zones, its
/// clocks, its fault plan.
pub fn ping_pong(pairs: u32, message_count: u64) -> Outcome {
    let mut directory = Directory::default();
    let players = directory.add_group("player", 2 * pairs);
    let roles = players.iter().map(|player| (NodeId(player.0 ^ 1), player.0 % 2 == 0)).collect();
    let network = read::<NetworkConfig>(
        "transport = 'datagram'\ndelay = { exponential = { mean = '1ms' } }\nloss = '0%'",
    );
    let setup = ClusterSetup {
        directory: &directory,
        network: &network,
        sync: &Dist::constant(SimDuration::ZERO),
        stations: vec![None; 2 * pairs as usize],
        faults: FaultPlan::default(),
        seed: Seed(1),
    };
    let cluster = Cluster::new(setup, roles, Idle);
    let meter = Meter::start();
    let end = cluster.run(limits(message_count));
    meter.stop(end.traffic[0].count, end.traffic[0].count as f64, 0)
}

fn read<T: Config>(text: &str) -> T {
    let mut problems = Problems::default();
    let value = Value::parse(text, 0, &mut problems);
    T::read(&value, &mut problems).expect("the text is right")
}
