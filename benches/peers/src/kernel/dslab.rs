//! The workloads on simcore, the published core of DSLab, by callbacks, as its examples show.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use rand_distr::Exp1;
use serde::Serialize;
use simcore::event::EventId;
use simcore::{Event, EventHandler, Id, Simulation, SimulationContext, cast};

use crate::measure::{Meter, Outcome, resident};

const ENTITIES: u32 = 1024;

fn exp(ctx: &SimulationContext) -> f64 {
    ctx.sample_from_distribution(&Exp1)
}

#[derive(Clone, Serialize)]
struct Job {
    weight: u64,
    payload: [u64; 3],
}

struct Entity {
    ctx: SimulationContext,
    touched: u64,
}

impl EventHandler for Entity {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Job { weight, payload } => {
                self.touched += weight;
                let after = exp(&self.ctx);
                let to = self.ctx.gen_range(0..ENTITIES);
                self.ctx.emit(Job { weight, payload }, to, after);
            }
        })
    }
}

pub fn phold(pending: u64, event_count: u64) -> Outcome {
    let mut sim = Simulation::new(1);
    let mut entities = Vec::new();
    for number in 0..ENTITIES {
        let name = number.to_string();
        let entity = Rc::new(RefCell::new(Entity { ctx: sim.create_context(&name), touched: 0 }));
        assert_eq!(sim.add_handler(&name, entity.clone()), number);
        entities.push(entity);
    }
    let memory = resident();
    for serial in 0..pending {
        let entity = entities[(serial % u64::from(ENTITIES)) as usize].borrow();
        let after = exp(&entity.ctx);
        let to = (serial % u64::from(ENTITIES)) as Id;
        entity.ctx.emit(Job { weight: 1, payload: [serial, 0, 0] }, to, after);
    }
    sim.steps(pending);
    let memory = resident().saturating_sub(memory);
    let meter = Meter::start();
    sim.steps(event_count);
    let touched: u64 = entities.iter().map(|entity| entity.borrow().touched).sum();
    meter.stop(event_count, touched as f64, memory)
}

#[derive(Clone, Serialize)]
struct Arrives;
#[derive(Clone, Serialize)]
struct Leaves;

struct Server {
    ctx: SimulationContext,
    waiting: VecDeque<f64>,
    busy: bool,
    served: u64,
    sojourn: f64,
}

impl EventHandler for Server {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Arrives {} => {
                self.waiting.push_back(self.ctx.time());
                let after = exp(&self.ctx);
                self.ctx.emit_self(Arrives, after);
            }
            Leaves {} => {
                let since = self.waiting.pop_front().expect("somebody is served");
                self.sojourn += self.ctx.time() - since;
                self.served += 1;
                self.busy = false;
            }
        });
        if !self.busy && !self.waiting.is_empty() {
            self.busy = true;
            let service = 0.9 * exp(&self.ctx);
            self.ctx.emit_self(Leaves, service);
        }
    }
}

pub fn mm1(event_count: u64) -> Outcome {
    let mut sim = Simulation::new(1);
    let ctx = sim.create_context("server");
    ctx.emit_self_now(Arrives);
    let waiting = VecDeque::new();
    let server = Server { ctx, waiting, busy: false, served: 0, sojourn: 0.0 };
    let server = Rc::new(RefCell::new(server));
    sim.add_handler("server", server.clone());
    let meter = Meter::start();
    sim.steps(event_count);
    let server = server.borrow();
    meter.stop(event_count, server.sojourn / server.served as f64, 0)
}

#[derive(Clone, Serialize)]
struct Reply;
#[derive(Clone, Serialize)]
struct TimeOut;

struct Client {
    ctx: SimulationContext,
    time_out: EventId,
    answered: u64,
    timed_out: u64,
}

impl Client {
    fn ask(&mut self) {
        let after = exp(&self.ctx);
        self.ctx.emit_self(Reply, after);
        self.time_out = self.ctx.emit_self(TimeOut, 100.0);
    }
}

impl EventHandler for Client {
    fn on(&mut self, event: Event) {
        cast!(match event.data {
            Reply {} => {
                self.answered += 1;
                self.ctx.cancel_event(self.time_out);
            }
            TimeOut {} => {
                self.timed_out += 1;
            }
        });
        self.ask();
    }
}

pub fn requests(request_count: u64) -> Outcome {
    let mut sim = Simulation::new(1);
    let mut clients = Vec::new();
    for number in 0..1000 {
        let name = number.to_string();
        let ctx = sim.create_context(&name);
        let mut client = Client { ctx, time_out: 0, answered: 0, timed_out: 0 };
        client.ask();
        let client = Rc::new(RefCell::new(client));
        sim.add_handler(&name, client.clone());
        clients.push(client);
    }
    sim.steps(150_000);
    let meter = Meter::start();
    sim.steps(request_count);
    let timed_out: u64 = clients.iter().map(|client| client.borrow().timed_out).sum();
    meter.stop(request_count, timed_out as f64, 0)
}

#[derive(Clone, Serialize)]
struct Ball {
    to: Id,
}

/// A network between nodes, as much of one as a message has to pass in ours: nodes that are up,
/// partitions, links of their own, loss, delay.
struct Network {
    is_up: Vec<bool>,
    part: Vec<u32>,
    links: std::collections::HashMap<(Id, Id), f64>,
    loss: f64,
}

impl Network {
    fn delay(&self, from: Id, to: Id, ctx: &SimulationContext) -> Option<f64> {
        let goes = self.is_up[from as usize]
            && self.is_up[to as usize]
            && self.part[from as usize] == self.part[to as usize];
        let mean = self.links.get(&(from, to)).copied().unwrap_or(0.001);
        (goes && (self.loss == 0.0 || self.loss < ctx.rand())).then(|| mean * exp(ctx))
    }
}

struct Player {
    ctx: SimulationContext,
    network: Rc<Network>,
    received: u64,
}

impl Player {
    fn play(&self, to: Id) {
        if let Some(after) = self.network.delay(self.ctx.id(), to, &self.ctx) {
            self.ctx.emit(Ball { to }, to, after);
        }
    }
}

impl EventHandler for Player {
    fn on(&mut self, event: Event) {
        let from = event.src;
        cast!(match event.data {
            Ball { to } => {
                debug_assert_eq!(to, self.ctx.id());
                self.received += 1;
                self.play(from);
            }
        })
    }
}

pub fn ping_pong(pairs: u32, message_count: u64) -> Outcome {
    let mut sim = Simulation::new(1);
    let count = 2 * pairs as usize;
    let network = Rc::new(Network {
        is_up: vec![true; count],
        part: vec![0; count],
        links: std::collections::HashMap::new(),
        loss: 0.0,
    });
    let mut players = Vec::new();
    for number in 0..2 * pairs {
        let name = number.to_string();
        let ctx = sim.create_context(&name);
        let player = Player { ctx, network: network.clone(), received: 0 };
        let player = Rc::new(RefCell::new(player));
        assert_eq!(sim.add_handler(&name, player.clone()), number);
        players.push(player);
    }
    for number in (0..2 * pairs).step_by(2) {
        players[number as usize].borrow().play(number + 1);
    }
    let meter = Meter::start();
    sim.steps(message_count);
    let received: u64 = players.iter().map(|player| player.borrow().received).sum();
    meter.stop(message_count, received as f64, 0)
}
