//! The workload: it gives clients their requests, and sees what becomes of them and of the nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::kernel::rng::{Probability, Rng};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::{Change, Driver, Workload};
use crate::model::dist::Sampler;
use crate::model::load::Arrivals;
use crate::model::node::NodeId;
use crate::model::popularity::KeyPicker;
use crate::record::{Distribution, FaultSpan};

use super::config::{Detector, SurgeConfig};
use super::protocol::{Cause, End, Failure, Part, Request, RequestId, Told, Want, World};
use super::view::View;

/// What the workload reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// The next arrival of an open load.
    Arrival,
    /// A client of a closed load has thought.
    Think(NodeId),
    /// An administrator's change.
    Change(u32),
    /// Somebody notices how this node is.
    Notice(NodeId),
    /// A window ends.
    Window,
}

/// When clients want something.
#[derive(Debug)]
pub(super) enum Load {
    Open(Arrivals),
    Closed { think: Sampler, rng: Rng },
}

/// What the workload is made of.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) world: Rc<World>,
    pub(super) load: Load,
    pub(super) picker: KeyPicker,
    pub(super) reads: Probability,
    pub(super) surges: Vec<SurgeConfig>,
    pub(super) deadline: Option<SimDuration>,
    pub(super) window: SimDuration,
    pub(super) warm_up: SimTime,
    /// When an administrator changes the members, and what reports call it.
    pub(super) changes: Vec<(SimTime, String)>,
    pub(super) keys: Rng,
    pub(super) clients: Rng,
    pub(super) wants: Rng,
    pub(super) crowds: Rng,
    pub(super) noticing: Rng,
}

#[derive(Debug)]
pub(super) struct Judge {
    plan: Plan,
    next_id: u64,
    open: BTreeMap<RequestId, Open>,
    is_up: Vec<bool>,
    /// Clients of a closed load that think.
    thinking: BTreeSet<NodeId>,
    /// How many copies each node, if it is up, has not got yet and should; and all together.
    needs: Vec<i64>,
    needs_total: i64,
    view: Rc<View>,
    // The window that is not over.
    current: Window,
    served_in_window: Vec<u32>,
    latency_in_window: Distribution,
    pub(super) seen: Seen,
}

/// A request that has not ended.
#[derive(Clone, Copy, Debug)]
struct Open {
    client: NodeId,
    given: SimTime,
}

/// What happened in a window.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Window {
    pub(super) answered: u64,
    pub(super) failed: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) misroutes: u64,
    pub(super) copied_bytes: u64,
    pub(super) latency_p99: u64,
    /// Requests that the busiest node worked on, all nodes did, and how many members there are.
    pub(super) busiest: u64,
    pub(super) served: u64,
    pub(super) members: u64,
}

/// All that a run is reported by.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) windows: Vec<Window>,
    pub(super) latency: Distribution,
    /// Of what was answered while a copy was missing.
    pub(super) latency_copying: Distribution,
    pub(super) requests: u64,
    pub(super) answered: u64,
    pub(super) in_time: u64,
    pub(super) failed: u64,
    pub(super) censored: u64,
    pub(super) hits: u64,
    pub(super) misses: u64,
    /// By the number of the node.
    pub(super) served: Vec<u64>,
    pub(super) misroutes: u64,
    pub(super) spilled: u64,
    pub(super) handed_on: u64,
    pub(super) fetches: u64,
    pub(super) timeouts: u64,
    pub(super) refusals: u64,
    pub(super) broken: u64,
    pub(super) absent: u64,
    pub(super) copied_bytes: u64,
    pub(super) due_bytes: u64,
    /// Copies of all keys that there should be.
    pub(super) copy_count: u64,
    pub(super) lost_keys: u64,
    /// While a node lacks a copy, since when.
    pub(super) copying_since: Option<SimTime>,
    pub(super) copy_time: SimDuration,
    pub(super) decisions: Vec<Decision>,
    /// An administrator's changes and the surges.
    pub(super) staged: Vec<FaultSpan>,
    /// The nodes that ever were members.
    pub(super) members: BTreeSet<NodeId>,
    /// When copies of keys were found nowhere for the first time.
    pub(super) first_lost: Option<SimTime>,
    /// When each node turned a request away for the first time.
    pub(super) shed: Vec<Option<SimTime>>,
    pub(super) deaths: Vec<(SimTime, NodeId)>,
    /// The first node that went down.
    pub(super) first_down: Option<(SimTime, NodeId)>,
    pub(super) built_anew: Vec<String>,
}

/// A decision about the members.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decision {
    pub(super) at: SimTime,
    pub(super) label: String,
    pub(super) cause: Cause,
    pub(super) member_count: u64,
    /// Copies that have another owner than before.
    pub(super) moved: u64,
    pub(super) copied_bytes: u64,
    /// When the last copy that was missing anywhere had come; `None` while one is missing.
    pub(super) done: Option<SimTime>,
    /// Whether what it needs was there when the next decision came.
    is_over: bool,
}

impl Judge {
    pub(super) fn new(plan: Plan) -> Self {
        let peer_count = plan.world.peer_count as usize;
        let seen = Seen {
            served: vec![0; peer_count],
            shed: vec![None; peer_count],
            members: plan.world.first.members().iter().copied().collect(),
            ..Seen::default()
        };
        Self {
            next_id: 0,
            open: BTreeMap::new(),
            is_up: vec![true; peer_count + plan.world.client_count as usize],
            thinking: BTreeSet::new(),
            needs: vec![0; peer_count],
            needs_total: 0,
            view: plan.world.first.clone(),
            current: Window::default(),
            served_in_window: vec![0; peer_count],
            latency_in_window: Distribution::new(),
            seen,
            plan,
        }
    }

    /// The run is over, at `now`.
    pub(super) fn finish(mut self, now: SimTime) -> Seen {
        let is_measured = |open: &&Open| self.plan.warm_up <= open.given;
        self.seen.censored = self.open.values().filter(is_measured).count() as u64;
        if let Some(since) = self.seen.copying_since {
            self.seen.copy_time += now.since(since);
        }
        let changes = self.plan.changes.into_iter();
        self.seen.staged =
            changes.map(|(at, label)| FaultSpan { label, from: at, until: at }).collect();
        self.seen.staged.extend(self.plan.surges.iter().map(|surge| {
            let from = SimTime::ZERO + surge.at;
            FaultSpan {
                label: format!("surge of key {}", surge.key),
                from,
                until: from + surge.r#for,
            }
        }));
        self.seen
    }

    fn is_measuring(&self, now: SimTime) -> bool {
        self.plan.warm_up <= now
    }

    /// Gives `client` a request.
    fn give(&mut self, client: NodeId, driver: &mut Driver<'_, Part, Event>) {
        let plan = &mut self.plan;
        let mut key = plan.picker.draw(&mut plan.keys) as u32;
        for surge in &plan.surges {
            let from = SimTime::ZERO + surge.at;
            // One draw for each surge and request, so that moving one moves no other draw.
            let joins = plan.crowds.chance(surge.share);
            if joins && from <= driver.now() && driver.now() < from + surge.r#for {
                key = surge.key;
            }
        }
        let want = if plan.wants.chance(plan.reads) { Want::Read } else { Want::Write };
        let id = RequestId(self.next_id);
        self.next_id += 1;
        let given = driver.now();
        if self.is_measuring(given) {
            self.seen.requests += 1;
        }
        self.open.insert(id, Open { client, given });
        if self.is_up[client.index()] {
            driver.request(client, Request::Ask { id, key, want });
        } else {
            self.end(id, End::Failed(Failure::Broken), driver);
        }
    }

    fn end(&mut self, id: RequestId, end: End, driver: &mut Driver<'_, Part, Event>) {
        let open = self.open.remove(&id).expect("a request that was given ends once");
        let took = driver.now().since(open.given);
        let is_measured = self.plan.warm_up <= open.given;
        match end {
            End::Failed(_) => {
                self.current.failed += 1;
                self.seen.failed += u64::from(is_measured);
            }
            End::Hit | End::Miss | End::Written => {
                self.current.answered += 1;
                self.latency_in_window.add(took.as_ns());
                if is_measured {
                    self.seen.answered += 1;
                    self.seen.latency.add(took.as_ns());
                    if self.seen.copying_since.is_some() {
                        self.seen.latency_copying.add(took.as_ns());
                    }
                    let is_in_time = self.plan.deadline.is_none_or(|deadline| took <= deadline);
                    self.seen.in_time += u64::from(is_in_time);
                }
            }
        }
        match end {
            End::Hit => {
                self.current.hits += 1;
                self.seen.hits += u64::from(is_measured);
            }
            End::Miss => {
                self.current.misses += 1;
                self.seen.misses += u64::from(is_measured);
            }
            End::Written | End::Failed(_) => (),
        }
        if self.is_up[open.client.index()] {
            self.think(open.client, driver);
        }
    }

    /// Under a closed load, `client` will want something after a while.
    fn think(&mut self, client: NodeId, driver: &mut Driver<'_, Part, Event>) {
        if let Load::Closed { think, rng } = &mut self.plan.load
            && self.thinking.insert(client)
        {
            let after = think.draw(rng);
            driver.after(after, Event::Think(client));
        }
    }

    fn await_arrival(&mut self, driver: &mut Driver<'_, Part, Event>) {
        if let Load::Open(arrivals) = &mut self.plan.load
            && let Some(arrival) = arrivals.next_arrival()
        {
            driver.at(arrival.at, Event::Arrival);
        }
    }

    fn end_window(&mut self) {
        let mut window = std::mem::take(&mut self.current);
        window.busiest = self.served_in_window.iter().copied().max().unwrap_or(0).into();
        window.served = self.served_in_window.iter().map(|&count| u64::from(count)).sum();
        // A node that is no member any more may still be asked.
        let at_work = self.served_in_window.iter().filter(|&&count| 0 < count).count();
        window.members = self.view.members().len().max(at_work) as u64;
        if 0 < self.latency_in_window.count() {
            window.latency_p99 = self.latency_in_window.quantile(0.99);
            self.latency_in_window = Distribution::new();
        }
        self.served_in_window.fill(0);
        self.seen.windows.push(window);
    }

    /// The node lacks so many copies more, or fewer.
    fn change_needs(&mut self, node: NodeId, change: i64, now: SimTime) {
        self.needs[node.index()] += change;
        assert!(0 <= self.needs[node.index()], "more copies came than were needed");
        self.needs_total += change;
        let is_copying = 0 < self.needs_total;
        match (self.seen.copying_since, is_copying) {
            (None, true) => {
                self.seen.copying_since = Some(now);
                for decision in self.seen.decisions.iter_mut().filter(|d| !d.is_over) {
                    decision.done = None;
                }
            }
            (Some(since), false) => {
                self.seen.copy_time += now.since(since);
                self.seen.copying_since = None;
                for decision in self.seen.decisions.iter_mut().filter(|d| !d.is_over) {
                    decision.done = Some(now);
                }
            }
            (None, false) | (Some(_), true) => (),
        }
    }

    fn decided(&mut self, view: Rc<View>, cause: Cause, now: SimTime) {
        let is_copying = self.seen.copying_since.is_some();
        for decision in self.seen.decisions.iter_mut().filter(|d| !d.is_over) {
            decision.is_over = !is_copying;
        }
        let copies = view.members().iter().map(|&node| view.holdings(node).len() as u64);
        self.seen.copy_count = copies.sum();
        let mut moved = 0;
        for key in view.moved_since(&self.view) {
            moved += 1;
            self.seen.due_bytes += u64::from(self.plan.world.value_bytes(key));
        }
        let base = match cause {
            Cause::Change(number) => self.plan.changes[number as usize].1.clone(),
            Cause::Down(_) => "down".into(),
            Cause::Up(_) => "up".into(),
        };
        let alike = |decision: &&Decision| match (decision.cause, cause) {
            (Cause::Down(_), Cause::Down(_)) | (Cause::Up(_), Cause::Up(_)) => true,
            (Cause::Change(a), Cause::Change(b)) => a == b,
            _ => false,
        };
        let number = self.seen.decisions.iter().filter(alike).count() + 1;
        let label = if number == 1 { base } else { format!("{base} #{number}") };
        self.seen.members.extend(view.members());
        self.seen.decisions.push(Decision {
            at: now,
            label,
            cause,
            member_count: view.members().len() as u64,
            moved,
            copied_bytes: 0,
            done: if is_copying { None } else { Some(now) },
            is_over: false,
        });
        self.view = view;
    }
}

impl Workload<Part> for Judge {
    type Event = Event;

    fn start(&mut self, driver: &mut Driver<'_, Part, Event>) {
        for (number, &(at, _)) in self.plan.changes.iter().enumerate() {
            driver.at(at, Event::Change(number as u32));
        }
        driver.after(self.plan.window, Event::Window);
        self.await_arrival(driver);
        if let Load::Closed { .. } = self.plan.load {
            let World { peer_count, client_count, .. } = *self.plan.world;
            for number in peer_count..peer_count + client_count {
                self.think(NodeId(number), driver);
            }
        }
    }

    fn handle(&mut self, event: Event, driver: &mut Driver<'_, Part, Event>) {
        match event {
            Event::Arrival => {
                let World { peer_count, client_count, .. } = *self.plan.world;
                let number = self.plan.clients.below(client_count.into()) as u32;
                self.give(NodeId(peer_count + number), driver);
                self.await_arrival(driver);
            }
            Event::Think(client) => {
                self.thinking.remove(&client);
                if self.is_up[client.index()] {
                    self.give(client, driver);
                }
            }
            Event::Change(number) => {
                driver.request(self.plan.world.monitor, Request::Change(number));
            }
            Event::Notice(node) => {
                let is_up = self.is_up[node.index()];
                driver.request(self.plan.world.monitor, Request::Noticed { node, is_up });
            }
            Event::Window => {
                self.end_window();
                driver.after(self.plan.window, Event::Window);
            }
        }
    }

    fn hear(&mut self, node: NodeId, told: Told, driver: &mut Driver<'_, Part, Event>) {
        let now = driver.now();
        let one = u64::from(self.is_measuring(now));
        match told {
            Told::Ended { id, end } => self.end(id, end, driver),
            Told::Attempt(failure) => match failure {
                Failure::TimedOut => self.seen.timeouts += one,
                Failure::Refused => self.seen.refusals += one,
                Failure::Broken => self.seen.broken += one,
                Failure::Absent => self.seen.absent += one,
                Failure::Blind => (),
            },
            Told::Spilled => self.seen.spilled += one,
            Told::Served => {
                self.served_in_window[node.index()] += 1;
                self.seen.served[node.index()] += one;
            }
            Told::Misrouted => {
                self.current.misroutes += 1;
                self.seen.misroutes += one;
            }
            Told::Shed => {
                self.seen.shed.get_mut(node.index()).map(|first| first.get_or_insert(now));
            }
            Told::Overwhelmed => self.seen.deaths.push((now, node)),
            Told::HandedOn => self.seen.handed_on += one,
            Told::Fetching => self.seen.fetches += one,
            Told::Needs(change) => self.change_needs(node, change, now),
            Told::Copied { bytes } => {
                self.current.copied_bytes += bytes;
                self.seen.copied_bytes += bytes;
                if let Some(latest) = self.seen.decisions.last_mut() {
                    latest.copied_bytes += bytes;
                }
            }
            Told::Lost => {
                self.seen.lost_keys += 1;
                self.seen.first_lost.get_or_insert(now);
            }
            Told::Decided(view, cause) => self.decided(view, cause, now),
            Told::BuiltAnew(why) => {
                if !self.seen.built_anew.contains(&why) {
                    self.seen.built_anew.push(why);
                }
            }
        }
    }

    fn witness(&mut self, node: NodeId, change: Change, driver: &mut Driver<'_, Part, Event>) {
        let World { peer_count, client_count, .. } = *self.plan.world;
        let is_peer = node.0 < peer_count;
        let is_client = !is_peer && node.0 < peer_count + client_count;
        match change {
            Change::Paused | Change::Resumed => return,
            Change::ProcessDown | Change::MachineDown if is_peer => {
                self.is_up[node.index()] = false;
                self.seen.first_down.get_or_insert((driver.now(), node));
                self.change_needs(node, -self.needs[node.index()], driver.now());
            }
            Change::ProcessDown | Change::MachineDown if is_client => {
                self.is_up[node.index()] = false;
                let own = self.open.iter().filter(|(_, open)| open.client == node);
                for id in own.map(|(&id, _)| id).collect::<Vec<_>>() {
                    self.end(id, End::Failed(Failure::Broken), driver);
                }
            }
            Change::Up if is_peer => self.is_up[node.index()] = true,
            Change::Up if is_client => {
                self.is_up[node.index()] = true;
                self.think(node, driver);
            }
            Change::ProcessDown | Change::MachineDown | Change::Up => (),
        }
        if let Detector::Delay(delay) = &self.plan.world.detector
            && is_peer
        {
            let after = delay.sampler().draw(&mut self.plan.noticing);
            driver.after(after, Event::Notice(node));
        }
    }
}
