//! The pipeline's workload: it lets producers send, hands each message that a consumer takes to the
//! consumer's critical section, and lets the judges of queue and lock hear what is theirs.
//!
//! A consumer asks, before it begins to work on a message, whether the message's effect has been
//! applied. Here the answer waits until it has: the section acquires the account's lock, reads the
//! account, works, writes one more than it read, and releases; then the consumer hears yes, and
//! acknowledges. So every queue and every lock can be joined, and neither knows of the other.

use std::collections::{BTreeMap, VecDeque};

use crate::choice::Choice;
use crate::config::Problems;
use crate::kernel::rng::{Rng, Seed};
use crate::kernel::sim::{Limits, RunEnd};
use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::resource::Access;
use crate::locks::section::{Outcome, Progress, Section, SectionId};
use crate::locks::{
    self, AnyLock, Ask, ClientsRole, Fencing, LockId, LockProtocol, Recorder, ResourceRole, Role,
    Shards, Terms, Told, WorkerRole,
};
use crate::model::cluster::{Change, Cluster, ClusterSetup, Driver, Workload};
use crate::model::directory::Directory;
use crate::model::dist::Sampler;
use crate::model::load::Arrivals;
use crate::model::node::NodeId;
use crate::model::popularity::KeyPicker;
use crate::model::surroundings::Surroundings;
use crate::queues::{self, Habits, Item, Judge, Nature, Part, Scene, Serial, Steps, Work};
use crate::record::Distribution;

use super::config::{Keyed, Layout, PipelineConfig};
use super::process::{ChannelRole, Indication, Process, ProcessRole, Request};

/// A run as it was.
pub(super) struct Played {
    pub(super) locks: locks::Played,
    pub(super) judge: Judge,
    pub(super) lags: Vec<SimDuration>,
    pub(super) steps: Steps,
    pub(super) books: Books,
    /// When it came to its end.
    pub(super) now: SimTime,
}

/// What is counted of messages and accounts.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// How many messages were meant for each broker, and for each partition.
    pub(super) by_broker: Vec<u64>,
    pub(super) by_partition: Vec<u64>,
    /// How many distinct messages took effect on each account.
    pub(super) increments: BTreeMap<LockId, u64>,
    /// How long sections held their lock until the store had their write.
    pub(super) holds: Distribution,
    /// Sections beyond the first for the same delivery.
    pub(super) tries_again: u64,
}

/// Plays `choice`, which was checked, under `seed`.
pub(super) fn play(
    choice: &Choice,
    config: &PipelineConfig,
    around: &Surroundings,
    seed: Seed,
) -> Played {
    let keyed = Keyed::of(choice);
    let directory = config.directory();
    let layout = keyed.layout(config, seed);
    let roles = cast(&keyed, config, &layout, &directory, seed);
    let stations = directory.ids().map(|id| station(config, &directory, id)).collect();
    let horizon = SimTime::ZERO + config.horizon;
    // Where the plan would be too long, the run would have been refused when it was read.
    let faults = around.fault_plan(&directory, horizon, seed).unwrap_or_default();
    let cluster = ClusterSetup {
        directory: &directory,
        network: &around.network,
        sync: &config.sync,
        stations,
        faults,
        seed,
    };
    let testbed = Testbed::new(config, around, &layout, &directory, seed);
    let steps = testbed.steps;
    let end = horizon + config.drain;
    let limits = Limits { horizon: end, ..Limits::default() };
    let done = Cluster::<Process, Testbed<'_>>::new(cluster, roles, testbed).run(limits);
    // With nothing left to happen, nothing changes until the end.
    let now = if done.run.end == RunEnd::Drained { end } else { done.run.now };
    let Testbed { judge, recorder, lags, books, .. } = done.workload;
    let locks = locks::Played {
        servers: AnyLock::servers(&keyed.lock),
        shards: layout.shards(config),
        history: recorder.finish(now),
        run: done.run,
        faults: done.faults,
        traffic: done.traffic,
        directory,
    };
    Played { locks, judge, lags, steps, books, now }
}

/// The role of each node of `directory`.
fn cast(
    keyed: &Keyed,
    config: &PipelineConfig,
    layout: &Layout,
    directory: &Directory,
    seed: Seed,
) -> Vec<ProcessRole> {
    let idle = || ProcessRole { queues: Vec::new(), lock: None };
    let mut roles: Vec<ProcessRole> = directory.ids().map(|_| idle()).collect();
    let brokers = directory.group("broker");
    let producers = directory.group("producer");
    let consumers = directory.group("consumer");
    let queue = keyed.queue.find(queues::VARIANT, queues::CATALOGUE, &mut Problems::default());
    let queue = queue.expect("the choice was checked when it was read");
    for (holders, partition) in layout.placed.iter().zip(0..) {
        let scene = Scene {
            brokers: holders.iter().map(|&index| brokers[index as usize]).collect(),
            producers: producers.clone(),
            consumers: consumers_of(holders[0], &brokers, &consumers),
            work: Work {
                concurrency: 1,
                overhead: SimDuration::ZERO,
                failure: crate::kernel::rng::Probability::ZERO,
                again: None,
                idempotent: true,
            },
            key_count: u64::from(config.accounts),
            seed,
            share: None,
        };
        let peers = [&scene.brokers[..], &scene.producers, &scene.consumers].concat();
        let parts = (scene.brokers.iter().zip(0..).map(|(&node, at)| (node, Part::Broker(at))))
            .chain(scene.producers.iter().zip(0..).map(|(&node, at)| (node, Part::Producer(at))))
            .chain(scene.consumers.iter().zip(0..).map(|(&node, at)| (node, Part::Consumer(at))));
        for (node, part) in parts {
            roles[node.index()].queues.push(ChannelRole {
                partition,
                peers: peers.clone(),
                role: (queue.role)(&keyed.queue, part, &scene),
            });
        }
    }
    join_locks(keyed, &layout.shards(config), directory, &mut roles);
    roles
}

/// The consumers of the broker at `index`: they are dealt to the brokers in turn.
fn consumers_of(index: u32, brokers: &[NodeId], consumers: &[NodeId]) -> Vec<NodeId> {
    consumers.iter().skip(index as usize).step_by(brokers.len()).copied().collect()
}

/// Gives consumers, lock servers and the store their parts in the lock.
fn join_locks(keyed: &Keyed, shards: &Shards, directory: &Directory, roles: &mut [ProcessRole]) {
    let count = AnyLock::servers(&keyed.lock).count() as usize;
    let servers = directory.group("server");
    let services: Vec<&[NodeId]> =
        servers.chunks_exact(count).take(shards.count() as usize).collect();
    let in_use = services.concat();
    let resource = directory.group("resource")[0];
    let terms = |service: &[NodeId], index: usize| Terms {
        servers: service.to_vec(),
        index: index as u32,
        is_counted: keyed.fencing != Fencing::None,
    };
    let clients_of = |index: usize| ClientsRole {
        clients: services
            .iter()
            .map(|service| AnyLock::client(&keyed.lock, &terms(service, index)))
            .collect(),
        servers: in_use.clone(),
        shards: shards.clone(),
    };
    let everyone: Vec<NodeId> = directory.ids().collect();
    let consumers = directory.group("consumer");
    for (index, consumer) in consumers.iter().enumerate() {
        let role = WorkerRole { clients: clients_of(index), resource };
        let peers = in_use.iter().copied().chain([resource]).collect();
        roles[consumer.index()].lock = Some((Role::Client(role), peers));
    }
    for service in &services {
        for (index, server) in service.iter().enumerate() {
            let role = Role::Server(AnyLock::server(&keyed.lock, &terms(service, index)));
            roles[server.index()].lock = Some((role, everyone.clone()));
        }
    }
    let asks = keyed.fencing == Fencing::CheckWithService;
    let validator = asks.then(|| clients_of(consumers.len()));
    let store = ResourceRole { fencing: keyed.fencing.clone(), validator };
    roles[resource.index()].lock = Some((Role::Resource(store), everyone));
}

fn station(
    config: &PipelineConfig,
    directory: &Directory,
    id: NodeId,
) -> Option<crate::model::station::StationConfig> {
    let is_in = |group: &str| directory.group(group).contains(&id);
    if is_in("broker") {
        config.broker.clone()
    } else if is_in("server") {
        config.server.clone()
    } else if is_in("resource") {
        config.resource.clone()
    } else {
        None
    }
}

/// The workload.
#[derive(Debug)]
struct Testbed<'a> {
    config: &'a PipelineConfig,
    layout: &'a Layout,
    warm_up: SimTime,
    sources: Vec<Source>,
    picker: KeyPicker,
    work: Sampler,
    /// Each message that was meant to be sent, by its serial, and whether it took effect.
    items: Vec<(Item, bool)>,
    /// What each consumer is at.
    desks: BTreeMap<NodeId, Desk>,
    /// For which message each section is.
    sections: Vec<Serial>,
    steps: Steps,
    lags: Vec<SimDuration>,
    judge: Judge,
    recorder: Recorder,
    books: Books,
}

#[derive(Debug)]
struct Source {
    node: NodeId,
    arrivals: Arrivals,
    keys: Rng,
    service: Rng,
    sizes: Rng,
    recorded: Option<SimDuration>,
}

/// A consumer between its queues and its lock.
#[derive(Debug, Default)]
struct Desk {
    at_work: Option<Job>,
    waiting: VecDeque<Job>,
    granted: Option<SimTime>,
    /// The message of which the queue is just told that it is done.
    answered: Option<Serial>,
    /// Counts the lives of its process.
    life: u32,
}

/// A delivery: the queue's slot waits for the word that it took effect.
#[derive(Clone, Copy, Debug)]
struct Job {
    serial: Serial,
    partition: u32,
    slot: u32,
}

/// What the workload reminds itself of.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// A producer is to send its next message.
    Arrive(usize),
    /// A consumer tries again what came to nothing in this life of its process.
    Again(NodeId, u32),
    /// A step is over.
    Step,
}

impl<'a> Testbed<'a> {
    fn new(
        config: &'a PipelineConfig,
        around: &Surroundings,
        layout: &'a Layout,
        directory: &Directory,
        seed: Seed,
    ) -> Self {
        let sources = directory.group("producer").into_iter().zip(0..).map(|(node, index)| {
            let name = directory.name(node);
            Source {
                node,
                arrivals: config.load.arrivals(seed, name, index, config.producers),
                keys: seed.stream("message key", name),
                service: seed.stream("message service", name),
                sizes: seed.stream("message size", name),
                recorded: None,
            }
        });
        let desk = |node| (node, Desk::default());
        let span = config.horizon + config.drain;
        let warm_up = SimTime::ZERO + around.warm_up;
        let habits = Habits { concurrency: 1, ..Habits::default() };
        let window = (warm_up, SimTime::ZERO + config.horizon);
        Self {
            config,
            layout,
            warm_up,
            sources: sources.collect(),
            picker: KeyPicker::new(&config.popularity, u64::from(config.accounts)),
            work: config.work.sampler(),
            items: Vec::new(),
            desks: directory.group("consumer").into_iter().map(desk).collect(),
            sections: Vec::new(),
            steps: Steps::over(span),
            lags: Vec::new(),
            judge: Judge::new(directory, window, span, config.deadline, habits),
            recorder: Recorder::new(directory.len()),
            books: Books {
                by_broker: vec![0; config.brokers as usize],
                by_partition: vec![0; config.partitions as usize],
                ..Books::default()
            },
        }
    }

    /// Plans the next message of a producer.
    fn plan(&mut self, source: usize, driver: &mut Driver<'_, Process, Event>) {
        let this = &mut self.sources[source];
        if let Some(arrival) = this.arrivals.next_arrival()
            && arrival.at < SimTime::ZERO + self.config.horizon
        {
            this.recorded = arrival.service;
            driver.at(arrival.at.max(driver.now()), Event::Arrive(source));
        }
    }

    fn arrive(&mut self, source: usize, driver: &mut Driver<'_, Process, Event>) {
        let serial = Serial(self.items.len() as u64);
        let this = &mut self.sources[source];
        let drawn = self.work.draw(&mut this.service);
        let item = Item {
            serial,
            key: self.picker.draw(&mut this.keys),
            size_bytes: self.config.size.draw(&mut this.sizes),
            service: this.recorded.take().unwrap_or(drawn),
            task: 0,
            nature: Nature::Sound,
            priority: 0,
            delay: SimDuration::ZERO,
            eta: None,
            ttl: SimDuration::MAX,
            retries: 0,
            luck: 0,
            born: driver.now(),
        };
        let node = this.node;
        self.items.push((item, false));
        self.judge.offer(&item, source as u32, driver.now());
        let partition = self.layout.partition(item.key);
        if self.warm_up <= driver.now() {
            self.books.by_partition[partition as usize] += 1;
            self.books.by_broker[self.layout.owner(partition) as usize] += 1;
        }
        driver.request(node, Request::Queue(partition, queues::Request::Publish(item)));
        self.plan(source, driver);
    }

    fn lock_of(&self, serial: Serial) -> LockId {
        LockId(self.items[serial.0 as usize].0.key as u32)
    }

    /// Lets a consumer that is at nothing begin with what waits longest.
    fn begin_next(&mut self, node: NodeId, driver: &mut Driver<'_, Process, Event>) {
        let Some(desk) = self.desks.get_mut(&node) else { return };
        if desk.at_work.is_some() {
            return;
        }
        let Some(job) = desk.waiting.pop_front() else { return };
        if self.config.idempotent && self.items[job.serial.0 as usize].1 {
            driver.request(node, answer(job));
            self.begin_next(node, driver);
            return;
        }
        desk.at_work = Some(job);
        self.judge.hear(node, &queues::Indication::Started(job.serial), driver.now());
        self.enter(node, job.serial, driver);
    }

    /// Lets a consumer enter a critical section for a message.
    fn enter(&mut self, node: NodeId, serial: Serial, driver: &mut Driver<'_, Process, Event>) {
        let section = Section {
            id: SectionId(self.sections.len() as u64),
            locks: vec![self.lock_of(serial)],
            entries: 1,
            work: self.items[serial.0 as usize].0.service,
            patience: None,
            retry: self.config.retry,
        };
        self.sections.push(serial);
        driver.request(node, Request::Lock(Ask::Work(section)));
    }

    fn hear_queue(
        &mut self,
        node: NodeId,
        partition: u32,
        told: queues::Indication,
        driver: &mut Driver<'_, Process, Event>,
    ) {
        if let Some(desk) = self.desks.get_mut(&node) {
            match told {
                queues::Indication::Asks { serial, slot } => {
                    desk.waiting.push_back(Job { serial, partition, slot });
                    self.begin_next(node, driver);
                    return;
                }
                // The queue drops what it is told is done; the judge heard of that from the store.
                queues::Indication::Dropped(serial) if desk.answered == Some(serial) => {
                    desk.answered = None;
                    return;
                }
                _ => (),
            }
        }
        // Each partition is a cluster of its own.
        let told = match told {
            queues::Indication::Log(event) => queues::Indication::Log(event.of_cluster(partition)),
            other => other,
        };
        self.judge.hear(node, &told, driver.now());
    }

    fn hear_lock(&mut self, node: NodeId, told: Told, driver: &mut Driver<'_, Process, Event>) {
        let now = driver.now();
        match &told {
            Told::Client(locks::Indication::Granted { .. }) => {
                if let Some(desk) = self.desks.get_mut(&node) {
                    desk.granted = Some(now);
                }
            }
            Told::Resource(effect) if effect.access == Access::Write && effect.is_accepted => {
                let serial = self.sections[effect.section.0 as usize];
                let (_, took_effect) = &mut self.items[serial.0 as usize];
                if !std::mem::replace(took_effect, true) {
                    *self.books.increments.entry(effect.lock).or_default() += 1;
                }
                self.judge.hear(effect.client, &queues::Indication::Done(serial), now);
            }
            Told::Section(Progress::Acknowledged(..)) => {
                let desk = self.desks.get_mut(&node);
                if let Some(granted) = desk.and_then(|desk| desk.granted.take())
                    && self.warm_up <= granted
                {
                    self.books.holds.add(now.since(granted).as_ns());
                }
            }
            _ => (),
        }
        let over = match &told {
            Told::Section(Progress::Over(_, outcome)) => Some(*outcome),
            _ => None,
        };
        self.recorder.note(now, node, told);
        if let Some(outcome) = over {
            self.over(node, outcome, driver);
        }
    }

    /// A consumer has come to the end of a section.
    fn over(&mut self, node: NodeId, outcome: Outcome, driver: &mut Driver<'_, Process, Event>) {
        let Some(desk) = self.desks.get_mut(&node) else { return };
        match outcome {
            Outcome::Done => {
                let Some(job) = desk.at_work.take() else { return };
                desk.answered = Some(job.serial);
                driver.request(node, answer(job));
                self.begin_next(node, driver);
            }
            Outcome::GaveUp | Outcome::Lost | Outcome::Fenced | Outcome::Unknown => {
                driver.after(self.config.retry, Event::Again(node, desk.life));
            }
        }
    }
}

/// Yes, it took effect.
fn answer(job: Job) -> Request {
    let Job { slot, partition, .. } = job;
    Request::Queue(partition, queues::Request::Answer { slot, is_known: true })
}

impl Workload<Process> for Testbed<'_> {
    type Event = Event;

    fn start(&mut self, driver: &mut Driver<'_, Process, Event>) {
        for source in 0..self.sources.len() {
            self.plan(source, driver);
        }
        driver.after(self.steps.length, Event::Step);
    }

    fn handle(&mut self, event: Event, driver: &mut Driver<'_, Process, Event>) {
        match event {
            Event::Arrive(source) => self.arrive(source, driver),
            Event::Again(node, life) => {
                let desk = &self.desks[&node];
                if let Some(job) = desk.at_work.filter(|_| desk.life == life) {
                    self.books.tries_again += 1;
                    self.enter(node, job.serial, driver);
                }
            }
            Event::Step => {
                self.lags.push(self.judge.lag(driver.now()));
                if self.lags.len() < self.steps.count {
                    driver.after(self.steps.length, Event::Step);
                }
            }
        }
    }

    fn hear(&mut self, node: NodeId, told: Indication, driver: &mut Driver<'_, Process, Event>) {
        match told {
            Indication::Queue(partition, told) => self.hear_queue(node, partition, told, driver),
            Indication::Lock(told) => self.hear_lock(node, told, driver),
        }
    }

    fn witness(&mut self, node: NodeId, change: Change, driver: &mut Driver<'_, Process, Event>) {
        let now = driver.now();
        self.judge.witness(node, change, now);
        self.recorder.witness(now, node, change);
        let is_down = matches!(change, Change::ProcessDown | Change::MachineDown);
        if let Some(desk) = self.desks.get_mut(&node).filter(|_| is_down) {
            *desk = Desk { life: desk.life + 1, ..Desk::default() };
        }
    }
}
