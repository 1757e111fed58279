//! The workloads on NexoSim with one thread. Its models schedule only themselves, so the PHOLD is a
//! hold: each event stays with its entity. Messages pass a link: an output, a delay at the receiver.

use std::time::Duration;

use nexosim::model::{Context, Model, schedulable};
use nexosim::ports::{EventSource, Output};
use nexosim::simulation::{Mailbox, SimInit};
use nexosim::time::MonotonicTime;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use rand_distr::Exp1;
use serde::{Deserialize, Serialize};

use crate::measure::{Meter, Outcome, resident};

fn random(seed: u64) -> Random {
    Random(SmallRng::seed_from_u64(seed))
}

/// A generator; a model that is saved would begin it anew.
struct Random(SmallRng);

impl Random {
    fn exp(&mut self, mean: f64) -> Duration {
        Duration::from_secs_f64(mean * self.0.sample::<f64, _>(Exp1)).max(Duration::from_nanos(1))
    }
}

impl Default for Random {
    fn default() -> Self {
        random(1)
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Entity {
    #[serde(skip)]
    random: Random,
    touched: u64,
}

#[Model]
impl Entity {
    #[nexosim(schedulable)]
    fn fire(&mut self, payload: [u64; 4], cx: &Context<Self>) {
        self.touched += payload[1];
        let after = self.random.exp(1.0);
        cx.schedule_event(after, schedulable!(Self::fire), payload).unwrap();
    }
}

pub fn phold(pending: u64, event_count: u64) -> Outcome {
    const ENTITIES: u64 = 1024;
    let mut bench = SimInit::with_num_threads(1);
    let mut sources = Vec::new();
    let memory = resident();
    for number in 0..ENTITIES {
        let mailbox = Mailbox::new();
        let source = EventSource::new().connect(Entity::fire, &mailbox).register(&mut bench);
        sources.push(source);
        let entity = Entity { random: random(number), touched: 0 };
        bench = bench.add_model(entity, mailbox, &number.to_string());
    }
    let mut simulation = bench.init(MonotonicTime::EPOCH).unwrap();
    for serial in 0..pending {
        let source = &sources[(serial % ENTITIES) as usize];
        simulation.process_event(source, [0, 1, serial, 0]).unwrap();
    }
    // Each step is one instant, and with continuous delays one event.
    for _ in 0..pending {
        simulation.step().unwrap();
    }
    let memory = resident().saturating_sub(memory);
    let meter = Meter::start();
    for _ in 0..event_count {
        simulation.step().unwrap();
    }
    meter.stop(event_count, 0.0, memory)
}

#[derive(Default, Serialize, Deserialize)]
struct Player {
    #[serde(skip)]
    random: Random,
    other: Output<u64>,
}

#[Model]
impl Player {
    async fn receive(&mut self, ball: u64, cx: &Context<Self>) {
        let after = self.random.exp(0.001);
        cx.schedule_event(after, schedulable!(Self::play), ball).unwrap();
    }

    #[nexosim(schedulable)]
    async fn play(&mut self, ball: u64) {
        self.other.send(ball + 1).await;
    }
}

pub fn ping_pong(pairs: u32, message_count: u64) -> Outcome {
    let mut bench = SimInit::with_num_threads(1);
    let mut sources = Vec::new();
    for pair in 0..pairs {
        let (first, second) = (Mailbox::new(), Mailbox::new());
        let player =
            |side| Player { random: random(2 * u64::from(pair) + side), ..Player::default() };
        let (mut one, mut other) = (player(0), player(1));
        one.other.connect(Player::receive, &second);
        other.other.connect(Player::receive, &first);
        sources.push(EventSource::new().connect(Player::receive, &first).register(&mut bench));
        bench = bench.add_model(one, first, &format!("{pair}-one"));
        bench = bench.add_model(other, second, &format!("{pair}-other"));
    }
    let mut simulation = bench.init(MonotonicTime::EPOCH).unwrap();
    for source in &sources {
        simulation.process_event(source, 0).unwrap();
    }
    let meter = Meter::start();
    for _ in 0..message_count {
        simulation.step().unwrap();
    }
    meter.stop(message_count, 0.0, 0)
}
