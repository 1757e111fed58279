//! The wing's testbed: producers who are asked to send, consumers who do the work, a judge who hears
//! all of them.
//!
//! What the messages are and when they are meant to be sent is drawn from streams of the producers'
//! own, a fixed number of draws each: so the n-th message of a producer is the same for every
//! variant under the same seed. Latency counts from the instant at which a message was *meant* to be
//! sent, however long its producer could not send it.

use std::collections::BTreeMap;

use crate::choice::Choice;
use crate::config::Problems;
use crate::kernel::rng::{Rng, Seed};
use crate::kernel::sim::{Limits, RunEnd};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::{Change, Cluster, ClusterSetup, Driver, Workload};
use crate::model::directory::Directory;
use crate::model::dist::Sampler;
use crate::model::fault::{FaultPlan, Trigger};
use crate::model::load::{Arrivals, LoadConfig};
use crate::model::node::NodeId;
use crate::model::popularity::KeyPicker;
use crate::model::surroundings::Surroundings;
use crate::record::Record;

use super::config::{Again, Answer, LongConfig, Poison, QueuesConfig, Sizes};
use super::gauge::Steps;
use super::judge::{Habits, Judge, Verdict, Watch};
use super::work::Work;
use super::{
    CATALOGUE, Indication, Item, Nature, Part, QueueProtocol, Request, Scene, Serial, Share,
};

/// Everything that decides a run but variant and seed.
#[derive(Clone, Copy, Debug)]
pub struct Setup<'a> {
    /// What the scenario says of the experiment.
    pub config: &'a QueuesConfig,
    /// What it says of the world around it.
    pub around: &'a Surroundings,
    /// How a ring shares keys out, where rings are known.
    pub share: Option<Share>,
}

/// What a run will take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Events.
    pub events: f64,
    /// Bytes that are held at once.
    pub bytes: f64,
}

/// What a run has brought.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// All that was measured.
    pub record: Record,
    /// What became of the messages.
    pub verdict: Verdict,
    /// The judge, with what a record has no place for.
    pub judge: Judge,
}

/// Who is in the experiment: the same for every variant.
pub fn directory(config: &QueuesConfig) -> Directory {
    let mut directory = Directory::default();
    directory.add_group("broker", config.brokers);
    directory.add_group("producer", config.producers.count);
    directory.add_group("consumer", config.consumers.count);
    directory
}

/// Tells all that is wrong with the variants of `config`.
pub fn check(config: &QueuesConfig, problems: &mut Problems) {
    for choice in &config.variants {
        if let Some(entry) = choice.find(VARIANT, CATALOGUE, problems) {
            (entry.check)(choice, config, problems);
        }
    }
}

/// The rings that the variants of `config` name, and over how many members each shares out.
pub fn rings(config: &QueuesConfig) -> Vec<(Choice, u32)> {
    let of = |choice: &Choice| {
        let entry = choice.find(VARIANT, CATALOGUE, &mut Problems::default());
        entry.map_or_else(Vec::new, |entry| (entry.rings)(choice, config))
    };
    config.variants.iter().flat_map(of).collect()
}

/// What a run of any variant will take.
pub fn estimate(config: &QueuesConfig) -> Estimate {
    let horizon_s = config.horizon.as_secs_f64();
    let attempts = 1.0 + f64::from(config.producers.retry.retries);
    let rate = match &config.producers.load {
        LoadConfig::Open(arrivals) => arrivals.mean_rate() * attempts,
        LoadConfig::Closed(closed) => {
            let work_ns: f64 = config
                .messages
                .tasks
                .iter()
                .map(|task| task.chance.as_f64() * task.service.mean_ns())
                .sum();
            f64::from(config.producers.count) * 1e9 / (closed.think.mean_ns() + work_ns).max(1e3)
        }
    };
    let messages = rate * horizon_s;
    let nodes = f64::from(config.producers.count + config.consumers.count);
    // Asked for, published, confirmed, delivered, worked on, finished, acknowledged; heartbeats.
    Estimate {
        events: 8.0 * messages + nodes * (horizon_s / 10.0 + 4.0),
        bytes: 4e6 + 20e3 * nodes + 300.0 * messages.min(2e6),
    }
}

/// Runs `choice` on `setup` under `seed`; nothing where the choice is wrong.
pub fn simulate(choice: &Choice, setup: Setup<'_>, seed: Seed) -> Option<Outcome> {
    let entry = choice.find(VARIANT, CATALOGUE, &mut Problems::default())?;
    (entry.simulate)(choice, setup, seed, Watch::default())
}

/// As [`simulate`], and the judge keeps what `watch` says: for short runs.
pub fn simulate_watched(
    choice: &Choice,
    setup: Setup<'_>,
    seed: Seed,
    watch: Watch,
) -> Option<Outcome> {
    let entry = choice.find(VARIANT, CATALOGUE, &mut Problems::default())?;
    (entry.simulate)(choice, setup, seed, watch)
}

/// Runs `P` with `params` on `setup` under `seed`. Reports call it `choice`.
pub(super) fn simulate_with<P: QueueProtocol>(
    params: &P::Params,
    choice: &Choice,
    setup: Setup<'_>,
    seed: Seed,
    watch: Watch,
) -> Outcome {
    let config = setup.config;
    let directory = directory(config);
    let scene = Scene { share: setup.share, ..Scene::new(config, &directory, seed) };
    let roles = scene.parts().map(|part| P::role(params, part, &scene)).collect();
    let stations = scene
        .parts()
        .map(|part| matches!(part, Part::Broker(_)).then(|| config.broker.clone()).flatten())
        .collect();
    let horizon = SimTime::ZERO + config.horizon;
    // Where the plan would be too long, the run would have been refused when it was read.
    let faults = setup.around.fault_plan(&directory, horizon, seed).unwrap_or_default();
    let mut testbed = Testbed::new(setup, &directory, &scene, &faults, seed);
    testbed.judge.keep(watch);
    let cluster = ClusterSetup {
        directory: &directory,
        network: &setup.around.network,
        sync: &config.sync,
        stations,
        faults,
        seed,
    };
    let end = horizon + config.drain;
    let limits = Limits { horizon: end, ..Limits::default() };
    let run = Cluster::<P, Testbed<'_>>::new(cluster, roles, testbed).run(limits);
    // With nothing left to happen, nothing changes until the end.
    let now = if run.run.end == RunEnd::Drained { end } else { run.run.now };
    super::measure::outcome(choice, seed, run, now)
}

impl Scene {
    fn new(config: &QueuesConfig, directory: &Directory, seed: Seed) -> Self {
        let consumers = &config.consumers;
        let again = match consumers.again {
            Again::Same => None,
            Again::Anew => {
                Some(config.messages.tasks.iter().map(|task| task.service.sampler()).collect())
            }
        };
        Self {
            brokers: directory.group("broker"),
            producers: directory.group("producer"),
            consumers: directory.group("consumer"),
            work: Work {
                concurrency: consumers.concurrency,
                overhead: consumers.overhead,
                failure: consumers.failure,
                again,
                idempotent: consumers.idempotent,
            },
            key_count: config.messages.keys,
            seed,
            share: None,
        }
    }

    /// The parts, in the order of the nodes that play them.
    fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let count = |nodes: &[NodeId]| nodes.len() as u32;
        (0..count(&self.brokers))
            .map(Part::Broker)
            .chain((0..count(&self.producers)).map(Part::Producer))
            .chain((0..count(&self.consumers)).map(Part::Consumer))
    }
}

/// The workload of the experiment.
#[derive(Debug)]
pub(super) struct Testbed<'a> {
    config: &'a QueuesConfig,
    load_ends: SimTime,
    sources: Vec<Source>,
    /// Messages whose callers wait.
    waiting: BTreeMap<Serial, Wait>,
    next_serial: u64,
    steps: Steps,
    /// The first planned fault that lasts and the end of the last.
    outage: Option<(SimTime, SimTime)>,
    area_before: u128,
    pub(super) lags: Vec<SimDuration>,
    pub(super) judge: Judge,
}

/// What one producer is asked to send.
#[derive(Debug)]
struct Source {
    node: NodeId,
    rhythm: Rhythm,
    maker: Maker,
    retry_rng: Rng,
}

#[derive(Debug)]
enum Rhythm {
    Open { arrivals: Arrivals, service: Option<SimDuration> },
    Closed { think: Sampler, rng: Rng },
}

/// A caller that waits.
#[derive(Clone, Copy, Debug)]
struct Wait {
    item: Item,
    source: u32,
    attempt: u32,
}

/// What the workload reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// A producer is to send its next message.
    Arrive(u32),
    /// A caller has waited long enough for this attempt.
    Timeout(Serial, u32),
    /// A caller tries again.
    Again(Serial),
    /// A step is over.
    Step,
    /// It is a while before the first fault that lasts.
    BeforeOutage,
    /// The first fault that lasts strikes.
    OutageBegins,
    /// The last fault that lasts is over.
    OutageEnds,
}

impl<'a> Testbed<'a> {
    fn new(
        setup: Setup<'a>,
        directory: &Directory,
        scene: &Scene,
        faults: &FaultPlan,
        seed: Seed,
    ) -> Self {
        let config = setup.config;
        let load_ends = SimTime::ZERO + config.horizon;
        let span = config.horizon + config.drain;
        let count = config.producers.count;
        let sources = scene.producers.iter().zip(0..).map(|(&node, index)| {
            let name = directory.name(node);
            let rhythm = match &config.producers.load {
                LoadConfig::Open(arrivals) => Rhythm::Open {
                    arrivals: arrivals.arrivals(seed, name, index, count),
                    service: None,
                },
                LoadConfig::Closed(closed) => Rhythm::Closed {
                    think: closed.think.sampler(),
                    rng: seed.stream("think", name),
                },
            };
            let maker = Maker::new(config, seed, name);
            Source { node, rhythm, maker, retry_rng: seed.stream("caller retry", name) }
        });
        let habits = Habits {
            concurrency: config.consumers.concurrency,
            callers_retry: 0 < config.producers.retry.retries,
            has_priorities: !config.messages.priorities.is_empty(),
            idempotent: config.consumers.idempotent,
        };
        let window = (SimTime::ZERO + setup.around.warm_up, load_ends);
        let outage = outage(faults, load_ends);
        let mut judge = Judge::new(directory, window, span, config.deadline, habits);
        if outage.is_some() {
            judge.watch_percentile();
        }
        Self {
            config,
            load_ends,
            sources: sources.collect(),
            waiting: BTreeMap::new(),
            next_serial: 0,
            steps: Steps::over(span),
            outage,
            area_before: 0,
            lags: Vec::new(),
            judge,
        }
    }

    /// From when a fault is at work until when none is any more, where that is planned.
    pub(super) fn outage(&self) -> Option<(SimTime, SimTime)> {
        self.outage
    }

    pub(super) fn steps(&self) -> Steps {
        self.steps
    }

    /// Whether anybody waits for an answer.
    fn callers_wait(&self) -> bool {
        let is_closed = matches!(self.config.producers.load, LoadConfig::Closed(_));
        is_closed || self.config.producers.retry.timeout.is_some()
    }

    /// Plans the next message of an open source.
    fn plan<P: QueueProtocol>(&mut self, source: u32, driver: &mut Driver<'_, P, Event>) {
        if let Rhythm::Open { arrivals, service } = &mut self.sources[source as usize].rhythm
            && let Some(arrival) = arrivals.next_arrival()
            && arrival.at < self.load_ends
        {
            *service = arrival.service;
            driver.at(arrival.at.max(driver.now()), Event::Arrive(source));
        }
    }

    /// Lets a closed source think before its next message.
    fn think<P: QueueProtocol>(&mut self, source: u32, driver: &mut Driver<'_, P, Event>) {
        if let Rhythm::Closed { think, rng } = &mut self.sources[source as usize].rhythm {
            let thought = think.draw(rng);
            if driver.now() + thought < self.load_ends {
                driver.after(thought, Event::Arrive(source));
            }
        }
    }

    fn arrive<P: QueueProtocol>(&mut self, source: u32, driver: &mut Driver<'_, P, Event>) {
        let serial = Serial(self.next_serial);
        self.next_serial += 1;
        let sender = &mut self.sources[source as usize];
        let mut item = sender.maker.make(serial, driver.now());
        if let Rhythm::Open { service: Some(recorded), .. } = sender.rhythm {
            item.service = recorded;
        }
        self.judge.offer(&item, source, driver.now());
        if self.callers_wait() {
            self.waiting.insert(serial, Wait { item, source, attempt: 0 });
        }
        self.send(item, source, 0, driver);
        self.plan(source, driver);
    }

    fn send<P: QueueProtocol>(
        &mut self,
        item: Item,
        source: u32,
        attempt: u32,
        driver: &mut Driver<'_, P, Event>,
    ) {
        driver.request(self.sources[source as usize].node, Request::Publish(item));
        if let Some(timeout) = self.config.producers.retry.timeout {
            driver.after(timeout, Event::Timeout(item.serial, attempt));
        }
    }

    /// A caller has what it waited for.
    fn answered<P: QueueProtocol>(&mut self, serial: Serial, driver: &mut Driver<'_, P, Event>) {
        if let Some(wait) = self.waiting.remove(&serial) {
            self.think(wait.source, driver);
        }
    }

    /// A caller knows, or must suppose, that this attempt came to nothing.
    fn failed<P: QueueProtocol>(&mut self, serial: Serial, driver: &mut Driver<'_, P, Event>) {
        let Some(wait) = self.waiting.get_mut(&serial) else { return };
        let retry = &self.config.producers.retry;
        if wait.attempt < retry.retries {
            wait.attempt += 1;
            let rng = &mut self.sources[wait.source as usize].retry_rng;
            driver.after(retry.pause(wait.attempt, rng), Event::Again(serial));
        } else {
            self.judge.caller_left(serial, driver.now());
            self.answered(serial, driver);
        }
    }
}

impl<P: QueueProtocol> Workload<P> for Testbed<'_> {
    type Event = Event;

    fn start(&mut self, driver: &mut Driver<'_, P, Event>) {
        for source in 0..self.sources.len() as u32 {
            self.plan(source, driver);
            self.think(source, driver);
        }
        driver.after(self.steps.length, Event::Step);
        if let Some((from, until)) = self.outage {
            let before = SimTime::from_ns(from.as_ns().saturating_sub(BEFORE_OUTAGE.as_ns()));
            driver.at(before, Event::BeforeOutage);
            driver.at(from, Event::OutageBegins);
            driver.at(until, Event::OutageEnds);
        }
    }

    fn handle(&mut self, event: Event, driver: &mut Driver<'_, P, Event>) {
        let now = driver.now();
        match event {
            Event::Arrive(source) => self.arrive(source, driver),
            Event::Timeout(serial, attempt) => {
                if self.waiting.get(&serial).is_some_and(|wait| wait.attempt == attempt) {
                    self.failed(serial, driver);
                }
            }
            Event::Again(serial) => {
                if let Some(&Wait { item, source, attempt }) = self.waiting.get(&serial) {
                    self.judge.asked_again(serial);
                    self.send(item, source, attempt, driver);
                }
            }
            Event::Step => {
                self.lags.push(self.judge.lag(now));
                if self.lags.len() < self.steps.count {
                    driver.after(self.steps.length, Event::Step);
                }
            }
            Event::BeforeOutage => self.area_before = self.judge.depth.all.area_until(now),
            Event::OutageBegins => {
                self.area_before = self.judge.depth.all.area_until(now) - self.area_before;
            }
            Event::OutageEnds => {
                let (from, _) = self.outage.expect("it was planned");
                let span = BEFORE_OUTAGE.min(from.since(SimTime::ZERO));
                self.judge.depth.watch_recovery(self.area_before, span, now);
            }
        }
    }

    fn hear(&mut self, node: NodeId, told: Indication, driver: &mut Driver<'_, P, Event>) {
        let now = driver.now();
        self.judge.hear(node, &told, now);
        let waits_for_result = self.config.producers.answer == Answer::Result;
        match told {
            Indication::Asks { serial, slot } => {
                let is_known = self.judge.is_done(serial);
                driver.request(node, Request::Answer { slot, is_known });
            }
            Indication::Confirmed(serial) | Indication::Sent { serial, is_kept: false }
                if !waits_for_result =>
            {
                self.answered(serial, driver);
            }
            Indication::Done(serial) | Indication::Failed(serial) if waits_for_result => {
                self.answered(serial, driver);
            }
            Indication::Refused(serial) | Indication::GaveUp(serial) => {
                self.failed(serial, driver);
            }
            _ => (),
        }
    }

    fn witness(&mut self, node: NodeId, change: Change, driver: &mut Driver<'_, P, Event>) {
        self.judge.witness(node, change, driver.now());
    }
}

/// From when a planned fault is at work until when none is any more.
fn outage(faults: &FaultPlan, horizon: SimTime) -> Option<(SimTime, SimTime)> {
    let spans = faults.faults.iter().filter_map(|fault| match (&fault.trigger, fault.lasts) {
        (Trigger::At(from), Some(lasts)) => Some((*from, *from + lasts)),
        _ => None,
    });
    let all = spans.reduce(|(a, b), (from, until)| (a.min(from), b.max(until)))?;
    (all.1 < horizon).then_some(all)
}

/// Makes the messages of one producer.
#[derive(Debug)]
struct Maker {
    tasks: Vec<(f64, Sampler)>,
    sizes: Sizes,
    keys: KeyPicker,
    priorities: Vec<(f64, u8)>,
    delay: Option<(Sampler, crate::kernel::rng::Probability)>,
    ttl: Option<Sampler>,
    poison: Vec<u64>,
    poison_nature: Nature,
    long: Option<LongConfig>,
    streams: Streams,
}

/// A stream for each purpose, so that turning one thing on moves no other.
#[derive(Debug)]
struct Streams {
    task: Rng,
    service: Rng,
    size: Rng,
    key: Rng,
    priority: Rng,
    delay: Rng,
    ttl: Rng,
    luck: Rng,
}

impl Maker {
    fn new(config: &QueuesConfig, seed: Seed, name: &str) -> Self {
        let messages = &config.messages;
        let poison = messages.poison.as_ref();
        Self {
            tasks: messages
                .tasks
                .iter()
                .map(|task| (task.chance.as_f64(), task.service.sampler()))
                .collect(),
            sizes: messages.size.clone(),
            keys: KeyPicker::new(&messages.popularity, messages.keys),
            priorities: messages
                .priorities
                .iter()
                .map(|priority| (priority.chance.as_f64(), priority.level as u8))
                .collect(),
            delay: messages.delay.as_ref().map(|delay| (delay.sampler(), messages.delayed)),
            ttl: messages.ttl.as_ref().map(crate::model::dist::Dist::sampler),
            poison: poison.map_or(Vec::new(), |poison| poison.numbers.clone()),
            poison_nature: match poison.map(|poison| &poison.effect) {
                Some(Poison::Kills) => Nature::Kills,
                Some(Poison::Fails) | None => Nature::Fails,
            },
            long: messages.long.clone(),
            streams: Streams {
                task: seed.stream("message task", name),
                service: seed.stream("message service", name),
                size: seed.stream("message size", name),
                key: seed.stream("message key", name),
                priority: seed.stream("message priority", name),
                delay: seed.stream("message delay", name),
                ttl: seed.stream("message ttl", name),
                luck: seed.stream("message luck", name),
            },
        }
    }

    fn make(&mut self, serial: Serial, born: SimTime) -> Item {
        let streams = &mut self.streams;
        let task = match self.tasks.len() {
            1 => 0,
            count => pick(self.tasks.iter().map(|(chance, _)| *chance), &mut streams.task)
                .unwrap_or(count - 1),
        };
        let priority = match self.priorities.len() {
            0 => 0,
            _ => pick(self.priorities.iter().map(|(chance, _)| *chance), &mut streams.priority)
                .map_or(0, |index| self.priorities[index].1),
        };
        let delay = self.delay.as_ref().map_or(SimDuration::ZERO, |(delay, chance)| {
            let delay = delay.draw(&mut streams.delay);
            if streams.delay.chance(*chance) { delay } else { SimDuration::ZERO }
        });
        let drawn = self.tasks[task].1.draw(&mut streams.service);
        let long = self.long.as_ref().filter(|long| long.numbers.contains(&serial.0));
        Item {
            serial,
            key: self.keys.draw(&mut streams.key),
            size_bytes: self.sizes.draw(&mut streams.size),
            service: long.map_or(drawn, |long| long.service),
            task: task as u16,
            nature: if self.poison.contains(&serial.0) {
                self.poison_nature
            } else {
                Nature::Sound
            },
            priority,
            delay,
            eta: None,
            ttl: self.ttl.as_ref().map_or(SimDuration::MAX, |ttl| ttl.draw(&mut streams.ttl)),
            retries: 0,
            luck: streams.luck.word(),
            born,
        }
    }
}

/// Which of `chances` comes true; none, where they leave something over.
fn pick(chances: impl Iterator<Item = f64>, rng: &mut Rng) -> Option<usize> {
    let mut left = rng.unit();
    for (index, chance) in chances.enumerate() {
        left -= chance;
        if left < 0.0 {
            return Some(index);
        }
    }
    None
}

/// What messages call a variant.
pub const VARIANT: &str = "queue";

/// How long before an outage a queue shows what is usual.
const BEFORE_OUTAGE: SimDuration = SimDuration::from_secs(60);
