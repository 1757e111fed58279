//! A cluster: nodes joined by a network, struck by faults, put to work by a workload.
//!
//! The only place where outputs become events. What happens to a message between two nodes stands
//! in `model/transport.rs`; what a fault does, in `model/strike.rs`.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::event_queue::EventQueue;
use crate::kernel::rng::{Rng, Seed};
use crate::kernel::sim::{self, Limits, World};
use crate::kernel::time::{SimDuration, SimTime};
use crate::record::FaultSpan;

use super::clock::{ClockRate, Clocks};
use super::directory::Directory;
use super::disk::Disk;
use super::dist::{Dist, Sampler};
use super::fault::{FaultPlan, PlannedFault, Trigger};
use super::network::{Network, NetworkConfig};
use super::node::{Connection, Context, Input, Node, NodeId, Output, TimerId, TimerIds, Wire};
use super::station::{Admission, Station, StationConfig};
use super::transport::{Flight, Routes};

/// Puts a cluster to work, hears what comes of it, and sees what no node can see.
pub trait Workload<N: Node>: Sized {
    /// What the workload reminds itself of.
    type Event;

    /// All nodes have been started.
    fn start(&mut self, driver: &mut Driver<'_, N, Self::Event>);

    /// An event that the workload scheduled has fallen due.
    fn handle(&mut self, event: Self::Event, driver: &mut Driver<'_, N, Self::Event>);

    /// Hears `indication` from `node`.
    fn hear(
        &mut self,
        node: NodeId,
        indication: N::Indication,
        driver: &mut Driver<'_, N, Self::Event>,
    );

    /// Sees that something happened to `node`.
    fn witness(&mut self, node: NodeId, change: Change, driver: &mut Driver<'_, N, Self::Event>);
}

/// What happens to a node as its judges see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Its process died; with it, unless it comes from disk, all that it knew.
    ProcessDown,
    /// Its machine lost power.
    MachineDown,
    /// Its process has started again.
    Up,
    /// It stands still.
    Paused,
    /// It goes on.
    Resumed,
}

/// The workload's hands: the time, its own future, and requests to nodes.
#[derive(Debug)]
pub struct Driver<'a, N: Node, E> {
    queue: &'a mut EventQueue<ClusterEvent<E>>,
    agenda: &'a mut VecDeque<(NodeId, Input<N>)>,
}

impl<N: Node, E> Driver<'_, N, E> {
    /// The true time.
    pub fn now(&self) -> SimTime {
        self.queue.now()
    }

    /// Reminds the workload of `event` after `delay`.
    pub fn after(&mut self, delay: SimDuration, event: E) {
        self.queue.schedule_after(delay, ClusterEvent::Workload(event));
    }

    /// Reminds the workload of `event` at `at`.
    pub fn at(&mut self, at: SimTime, event: E) {
        self.queue.schedule_at(at, ClusterEvent::Workload(event));
    }

    /// Asks `node` for something, now. A node that is down never hears of it; one that is paused
    /// does when it goes on.
    pub fn request(&mut self, node: NodeId, request: N::Request) {
        self.agenda.push_back((node, Input::Request(request)));
    }
}

/// What can happen in a cluster. Small, whatever the messages are: they wait in a table.
#[derive(Clone, Copy, Debug)]
pub enum ClusterEvent<E> {
    /// All nodes start.
    Start,
    /// Something that is under way arrives.
    Arrive(FlightId),
    /// What was not acknowledged on a path is sent again.
    Retransmit(PathId),
    /// A timer falls due.
    Timer(TimerId),
    /// A server of a node's station is done with a message.
    Served {
        /// Which node.
        node: NodeId,
        /// In which of its lives.
        life: u32,
        /// Which message.
        job: u32,
    },
    /// The oldest sync of a node's disk is done.
    Synced {
        /// Which node.
        node: NodeId,
        /// In which of its lives it was asked for.
        life: u32,
        /// Since which power failure.
        power: u32,
    },
    /// A planned fault strikes.
    FaultBegins(u32),
    /// A planned fault is over.
    FaultEnds(u32),
    /// The workload's own.
    Workload(E),
}

/// Names something under way between two nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlightId(pub(super) u32);

/// Names the path from one node to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PathId(pub(super) u32);

/// What a cluster is made of, beside its nodes and its workload.
#[derive(Debug)]
pub struct ClusterSetup<'a> {
    /// Who is in it.
    pub directory: &'a Directory,
    /// The links.
    pub network: &'a NetworkConfig,
    /// How long a sync of a disk takes.
    pub sync: &'a Dist,
    /// The station of each node that has one.
    pub stations: Vec<Option<StationConfig>>,
    /// The faults.
    pub faults: FaultPlan,
    /// The seed of the run.
    pub seed: Seed,
}

/// Nodes, network and workload as one world.
#[derive(Debug)]
pub struct Cluster<N: Node, W: Workload<N>> {
    pub(super) hosts: Vec<Host<N>>,
    roles: Vec<N::Role>,
    pub(super) network: Network,
    pub(super) routes: Routes,
    pub(super) flights: Table<Flight<N::Message>>,
    timers: Vec<Option<TimerEntry<N>>>,
    timer_ids: TimerIds,
    sync: Sampler,
    pub(super) faults: Vec<PlannedFault>,
    pub(super) struck: Vec<FaultSpan>,
    pub(super) workload: W,
    pub(super) traffic: Vec<Traffic>,
    sync_count: u64,
    // Both empty between events; kept for their allocation.
    outputs: Vec<Output<N>>,
    pub(super) agenda: VecDeque<(NodeId, Input<N>)>,
    // Faults that a node's coming to a point has set off.
    set_off: Vec<u32>,
}

/// The machine under a node. In the order of use: what every event touches lies together.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Host<N: Node> {
    pub(super) state: State,
    /// Counts crashes, so that what was begun before one does not come out after it.
    pub(super) life: u32,
    // Streams and stations are large, and lie apart.
    pub(super) station: Option<Box<Workplace<N>>>,
    pub(super) clocks: Clocks,
    rng: Rng,
    sync_count: u64,
    /// The faults that hold it still.
    pub(super) held_by: Vec<u32>,
    /// The faults that slow it down, and how many thousandths of the usual time things take.
    pub(super) slowed_by: Vec<(u32, u64)>,
    pub(super) node: N,
    /// When the process started.
    pub(super) up_since: SimTime,
    pub(super) disk: Disk<N::Stable>,
    sync_rng: Option<Box<Rng>>,
    /// Counts power failures, as `life` does crashes, for the disk.
    pub(super) power: u32,
    /// The faults that its clocks suffer from, and how fast each lets them run.
    pub(super) rated_by: Vec<(u32, ClockRate)>,
    /// What came while it stood still.
    pub(super) inbox: VecDeque<Waiting<N>>,
    reached: BTreeMap<&'static str, u32>,
}

/// Whether a machine and its process run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum State {
    Up,
    ProcessDown,
    MachineDown,
}

/// What waits for a paused process.
#[derive(Debug)]
pub(super) enum Waiting<N: Node> {
    Input(Input<N>),
    // By name, because it may be cancelled while it waits.
    Timer(TimerId),
}

/// A station with the jobs in it.
#[derive(Debug)]
pub(super) struct Workplace<N: Node> {
    station: Station<u32>,
    service: Sampler,
    rng: Rng,
    jobs: Table<(NodeId, Connection, N::Message)>,
}

impl<N: Node> Host<N> {
    pub(super) fn is_held(&self) -> bool {
        !self.held_by.is_empty()
    }

    fn slowness_per_mille(&self) -> u64 {
        self.slowed_by.iter().fold(1000, |all, &(_, per_mille)| all * per_mille / 1000)
    }
}

impl<N: Node> Workplace<N> {
    /// The process died: all jobs are gone.
    pub(super) fn clear(&mut self) {
        self.station.clear();
        self.jobs = Table::default();
    }
}

#[derive(Debug)]
struct TimerEntry<N: Node> {
    node: NodeId,
    life: u32,
    shown: SimTime,
    due: SimTime,
    timer: N::Timer,
}

/// Messages of one kind that were sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Traffic {
    /// Which kind.
    pub kind: &'static str,
    /// How many.
    pub count: u64,
    /// How many bytes in all.
    pub bytes: u64,
}

/// What is left when a cluster has run.
#[derive(Debug)]
pub struct ClusterEnd<W> {
    /// The workload, with all that it heard.
    pub workload: W,
    /// How the run ended.
    pub run: sim::Run,
    /// The faults that struck, in the order in which they did.
    pub faults: Vec<FaultSpan>,
    /// Messages sent, by kind, in the order of each kind's first.
    pub traffic: Vec<Traffic>,
    /// Syncs that all disks did.
    pub sync_count: u64,
}

impl<N: Node, W: Workload<N>> Cluster<N, W> {
    /// Builds a node from each of `roles` (one for each name in the directory), joins them, and
    /// puts them to `workload`.
    pub fn new(setup: ClusterSetup<'_>, roles: Vec<N::Role>, workload: W) -> Self {
        let ClusterSetup { directory, network, sync, stations, faults, seed } = setup;
        assert_eq!(directory.len(), roles.len(), "a role for each name in the directory");
        assert_eq!(directory.len(), stations.len(), "a station or none for each name");
        let hosts = directory.ids().zip(&roles).zip(&stations);
        let hosts = hosts.map(|((id, role), station)| {
            let name = directory.name(id);
            let disk = Disk::new();
            Host {
                state: State::Up,
                life: 0,
                station: station.as_ref().map(|config| {
                    Box::new(Workplace {
                        station: Station::new(config),
                        service: config.service.sampler(),
                        rng: seed.stream("station service", name),
                        jobs: Table::default(),
                    })
                }),
                clocks: Clocks::RIGHT,
                rng: seed.stream("protocol", name),
                sync_count: 0,
                held_by: Vec::new(),
                slowed_by: Vec::new(),
                node: N::boot(role, disk.image()),
                up_since: SimTime::ZERO,
                disk,
                sync_rng: (!sync.sampler().is_constant())
                    .then(|| Box::new(seed.stream("disk sync", name))),
                power: 0,
                rated_by: Vec::new(),
                inbox: VecDeque::new(),
                reached: BTreeMap::new(),
            }
        });
        let hosts = hosts.collect();
        Self {
            hosts,
            network: Network::new(network, directory, seed),
            routes: Routes::new(directory.len(), seed),
            roles,
            flights: Table::default(),
            timers: Vec::new(),
            timer_ids: TimerIds::default(),
            sync: sync.sampler(),
            faults: faults.faults,
            struck: Vec::new(),
            workload,
            traffic: Vec::new(),
            sync_count: 0,
            outputs: Vec::new(),
            agenda: VecDeque::new(),
            set_off: Vec::new(),
        }
    }

    /// Runs the cluster to the end that `limits` set.
    pub fn run(mut self, limits: Limits) -> ClusterEnd<W> {
        let mut queue = EventQueue::default();
        for (index, fault) in self.faults.iter().enumerate() {
            if let Trigger::At(at) = fault.trigger {
                queue.schedule_at(at, ClusterEvent::FaultBegins(index as u32));
            }
        }
        // After the faults of the first instant, so that a clock can be wrong from the start.
        queue.schedule_at(SimTime::ZERO, ClusterEvent::Start);
        let run = sim::run(&mut self, &mut queue, limits);
        ClusterEnd {
            workload: self.workload,
            run,
            faults: self.struck,
            traffic: self.traffic,
            sync_count: self.sync_count,
        }
    }

    /// Lets `input` happen to the node, or wait for it, or be gone, as its process stands.
    pub(super) fn give(&mut self, id: NodeId, input: Input<N>) {
        let host = &mut self.hosts[id.index()];
        if host.state != State::Up {
            return;
        }
        if host.is_held() {
            host.inbox.push_back(Waiting::Input(input));
        } else {
            self.agenda.push_back((id, input));
        }
    }

    /// As [`give`](Self::give), for what an event is about: it need not wait on the agenda.
    fn give_at_once(
        &mut self,
        id: NodeId,
        input: Input<N>,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        debug_assert!(self.agenda.is_empty(), "an event finds nothing else to do");
        self.react(id, input, queue);
    }

    /// Brings a message to the node's station, or past it.
    pub(super) fn give_message(
        &mut self,
        from: NodeId,
        to: NodeId,
        via: Connection,
        message: N::Message,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let host = &mut self.hosts[to.index()];
        let Some(workplace) = host.station.as_mut().filter(|_| message.needs_service()) else {
            self.give_at_once(to, Input::Message { from, via, message }, queue);
            return;
        };
        let job = workplace.jobs.insert((from, via, message));
        match workplace.station.arrive(job) {
            Admission::Queued => (),
            Admission::Serve(job) => self.serve(to, job, queue),
            Admission::Full(job) => {
                let (from, via, message) = workplace.jobs.remove(job);
                self.give_at_once(to, Input::Overload { from, via, message }, queue);
            }
        }
    }

    fn serve(&mut self, node: NodeId, job: u32, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let host = &mut self.hosts[node.index()];
        let workplace = host.station.as_mut().expect("a job is served at a station");
        let service = workplace.service.draw(&mut workplace.rng);
        let takes = service.scale(host.slowness_per_mille(), 1000);
        queue.schedule_after(takes, ClusterEvent::Served { node, life: host.life, job });
    }

    fn served(
        &mut self,
        node: NodeId,
        life: u32,
        job: u32,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let host = &mut self.hosts[node.index()];
        if host.life != life {
            return;
        }
        let workplace = host.station.as_mut().expect("a job is served at a station");
        let (from, via, message) = workplace.jobs.remove(job);
        let next = workplace.station.complete();
        if let Some(next) = next {
            self.serve(node, next, queue);
        }
        self.give_at_once(node, Input::Message { from, via, message }, queue);
    }

    /// Lets everything on the agenda happen, and what comes of it.
    pub(super) fn work_off(&mut self, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        while let Some((id, input)) = self.agenda.pop_front() {
            self.react(id, input, queue);
        }
    }

    /// Lets `input` happen to the node, and then the faults that this sets off.
    fn react(
        &mut self,
        id: NodeId,
        input: Input<N>,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        self.step(id, input, queue);
        while let Some(fault) = self.set_off.pop() {
            self.begin_fault(fault, queue);
        }
    }

    fn step(
        &mut self,
        id: NodeId,
        input: Input<N>,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let now = queue.now();
        let host = &mut self.hosts[id.index()];
        if host.state != State::Up {
            return;
        }
        if host.is_held() {
            host.inbox.push_back(Waiting::Input(input));
            return;
        }
        let mut ctx = Context {
            id,
            now: host.clocks.monotonic(now),
            wall: host.clocks.wall(now),
            slowness_per_mille: host.slowness_per_mille(),
            rng: &mut host.rng,
            timer_ids: &mut self.timer_ids,
            sync_count: &mut host.sync_count,
            outputs: &mut self.outputs,
        };
        host.node.handle(input, &mut ctx);
        let mut outputs = std::mem::take(&mut self.outputs);
        for output in outputs.drain(..) {
            self.put_out(id, output, queue);
        }
        self.outputs = outputs;
    }

    fn put_out(
        &mut self,
        id: NodeId,
        output: Output<N>,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let host = &mut self.hosts[id.index()];
        match output {
            Output::Indicate(indication) => {
                let mut driver = Driver { queue, agenda: &mut self.agenda };
                self.workload.hear(id, indication, &mut driver);
            }
            Output::Send { to, message } => self.send(id, to, message, queue),
            Output::Disconnect { peer } => self.disconnect(id, peer, queue),
            Output::SetTimer { id: timer_id, after, timer } => {
                let shown = host.clocks.monotonic(queue.now()) + after;
                let due = host.clocks.when_monotonic(shown);
                let entry = TimerEntry { node: id, life: host.life, shown, due, timer };
                let slot = timer_id.slot as usize;
                if self.timers.len() <= slot {
                    self.timers.resize_with(slot + 1, || None);
                }
                self.timers[slot] = Some(entry);
                queue.schedule_at(due, ClusterEvent::Timer(timer_id));
            }
            Output::CancelTimer(timer_id) => {
                if self.timer_ids.is_live(timer_id) {
                    self.timers[timer_id.slot as usize] = None;
                    self.timer_ids.release(timer_id);
                }
            }
            Output::Write(write) => host.disk.write(write),
            Output::Sync(sync) => {
                host.disk.begin_sync(sync);
                let takes = match &mut host.sync_rng {
                    Some(rng) => self.sync.draw(rng),
                    None => self.sync.draw_constant(),
                };
                let takes = takes.scale(host.slowness_per_mille(), 1000);
                let done = queue.now().max(host.disk.busy_until) + takes;
                host.disk.busy_until = done;
                self.sync_count += 1;
                queue.schedule_at(
                    done,
                    ClusterEvent::Synced { node: id, life: host.life, power: host.power },
                );
            }
            Output::Reach(point) => {
                let count = host.reached.entry(point).or_default();
                *count += 1;
                for (index, fault) in self.faults.iter().enumerate() {
                    let waits = matches!(
                        &fault.trigger,
                        Trigger::On { node, point: awaited, count: nth }
                            if *node == id
                                && awaited == point
                                && nth.is_none_or(|nth| nth == *count)
                    );
                    if waits {
                        self.set_off.push(index as u32);
                    }
                }
            }
        }
    }

    fn timer_due(&mut self, timer_id: TimerId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        if !self.timer_ids.is_live(timer_id) {
            return;
        }
        let slot = &mut self.timers[timer_id.slot as usize];
        let entry = slot.as_ref().expect("a timer that is live has an entry");
        if entry.due != queue.now() {
            // The node's clock was set to another rate since; another event stands for this timer.
            return;
        }
        let (node, life) = (entry.node, entry.life);
        let host = &mut self.hosts[node.index()];
        if host.life == life && host.is_held() {
            host.inbox.push_back(Waiting::Timer(timer_id));
            return;
        }
        let entry = slot.take().expect("a timer that is live has an entry");
        self.timer_ids.release(timer_id);
        if host.life == life {
            self.give_at_once(node, Input::Timer(entry.timer), queue);
        }
    }

    /// The clock of `id` runs at another rate: its timers fall due at another time.
    pub(super) fn reschedule_timers(
        &mut self,
        id: NodeId,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let host = &self.hosts[id.index()];
        for (slot, entry) in self.timers.iter_mut().enumerate() {
            let Some(entry) = entry.as_mut().filter(|e| e.node == id && e.life == host.life) else {
                continue;
            };
            // One that waits in a paused node's inbox has fallen due already.
            if queue.now() <= entry.due {
                entry.due = host.clocks.when_monotonic(entry.shown).max(queue.now());
                let id = self.timer_ids.id_of(slot as u32);
                queue.schedule_at(entry.due, ClusterEvent::Timer(id));
            }
        }
    }

    fn synced(
        &mut self,
        node: NodeId,
        life: u32,
        power: u32,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let host = &mut self.hosts[node.index()];
        if host.power != power {
            return;
        }
        // The operating system finishes what a process asked for, even if it has died since.
        let sync = host.disk.finish_sync().expect("a sync that was begun is under way");
        if host.life == life {
            self.give_at_once(node, Input::Synced(sync), queue);
        }
    }

    /// Lets the node see what came while it stood still, until it stands still again.
    pub(super) fn drain_inbox(
        &mut self,
        id: NodeId,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        while !self.hosts[id.index()].is_held() {
            let Some(waiting) = self.hosts[id.index()].inbox.pop_front() else { return };
            let input = match waiting {
                Waiting::Input(input) => input,
                Waiting::Timer(timer_id) => {
                    if !self.timer_ids.is_live(timer_id) {
                        continue;
                    }
                    let entry = self.timers[timer_id.slot as usize].take();
                    self.timer_ids.release(timer_id);
                    Input::Timer(entry.expect("a timer that is live has an entry").timer)
                }
            };
            self.agenda.push_back((id, input));
            self.work_off(queue);
        }
    }

    /// Tells the workload what happened to a node.
    pub(super) fn tell(
        &mut self,
        id: NodeId,
        change: Change,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let mut driver = Driver { queue, agenda: &mut self.agenda };
        self.workload.witness(id, change, &mut driver);
    }

    /// Starts the process of a node from what its disk holds.
    pub(super) fn boot(&mut self, id: NodeId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let host = &mut self.hosts[id.index()];
        host.node = N::boot(&self.roles[id.index()], host.disk.image());
        host.state = State::Up;
        host.up_since = queue.now();
        self.tell(id, Change::Up, queue);
        self.give(id, Input::Start);
    }

    pub(super) fn count_traffic(&mut self, message: &N::Message) {
        let kind = message.kind();
        let bytes = u64::from(message.size_bytes());
        // Mostly the very same text, which need not be read; but two kinds may be written alike.
        let is_same = |traffic: &Traffic| std::ptr::eq(traffic.kind, kind);
        let known = self.traffic.iter().position(is_same);
        match known.or_else(|| self.traffic.iter().position(|traffic| traffic.kind == kind)) {
            Some(index) => {
                let traffic = &mut self.traffic[index];
                traffic.count += 1;
                traffic.bytes += bytes;
            }
            None => self.traffic.push(Traffic { kind, count: 1, bytes }),
        }
    }
}

impl<N: Node, W: Workload<N>> World for Cluster<N, W> {
    type Event = ClusterEvent<W::Event>;

    fn handle(&mut self, event: Self::Event, queue: &mut EventQueue<Self::Event>) {
        match event {
            ClusterEvent::Start => {
                for index in 0..self.hosts.len() as u32 {
                    self.give(NodeId(index), Input::Start);
                }
                self.work_off(queue);
                let mut driver = Driver { queue, agenda: &mut self.agenda };
                self.workload.start(&mut driver);
            }
            ClusterEvent::Arrive(flight) => self.arrive(flight, queue),
            ClusterEvent::Retransmit(path) => self.retransmit(path, queue),
            ClusterEvent::Timer(timer) => self.timer_due(timer, queue),
            ClusterEvent::Served { node, life, job } => self.served(node, life, job, queue),
            ClusterEvent::Synced { node, life, power } => self.synced(node, life, power, queue),
            ClusterEvent::FaultBegins(fault) => self.begin_fault(fault, queue),
            ClusterEvent::FaultEnds(fault) => self.end_fault(fault, queue),
            ClusterEvent::Workload(event) => {
                let mut driver = Driver { queue, agenda: &mut self.agenda };
                self.workload.handle(event, &mut driver);
            }
        }
        self.work_off(queue);
    }

    fn digest(event: &Self::Event) -> u64 {
        let (kind, target) = match event {
            ClusterEvent::Start => (0, 0),
            ClusterEvent::Arrive(flight) => (1, flight.0),
            ClusterEvent::Retransmit(path) => (2, path.0),
            ClusterEvent::Timer(timer) => (3, timer.slot),
            ClusterEvent::Served { node, .. } => (4, node.0),
            ClusterEvent::Synced { node, .. } => (5, node.0),
            ClusterEvent::FaultBegins(fault) => (6, *fault),
            ClusterEvent::FaultEnds(fault) => (7, *fault),
            ClusterEvent::Workload(_) => (8, 0),
        };
        (kind << 32) | u64::from(target)
    }
}

/// Things that come and go, each under a number that is used again when it is gone.
#[derive(Clone, Debug)]
pub(super) struct Table<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    pub(super) fn insert(&mut self, thing: T) -> u32 {
        if let Some(number) = self.free.pop() {
            self.entries[number as usize] = Some(thing);
            return number;
        }
        self.entries.push(Some(thing));
        u32::try_from(self.entries.len() - 1).expect("memory ends before 2^32 entries")
    }

    pub(super) fn remove(&mut self, number: u32) -> T {
        self.free.push(number);
        self.entries[number as usize].take().expect("a number in use stands for something")
    }

    pub(super) fn get(&self, number: u32) -> &T {
        self.entries[number as usize].as_ref().expect("a number in use stands for something")
    }
}
