//! A Redis server as a node: alone, or as one of a primary and its replicas.
//!
//! The primary answers, and its replicas hear of it later (redis.io/docs, "Replication": what was
//! acknowledged can be lost in a failover, even where `WAIT` was used). On each server runs a
//! sentinel: it asks the others whether they are there, and where a majority of the sentinels
//! thinks that the primary is down, the best replica takes over: the one of the lowest
//! `replica-priority`, and among equals the one that has come furthest ("Redis Sentinel", replica
//! selection). Priority outranks offset, so a write that some replica has acknowledged may be lost.
//! Kept simple: the sentinels are co-located, and elect no leader among themselves.

use std::collections::{BTreeMap, VecDeque};

use crate::config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::{Fact, LockId, Order, Terms};
use crate::model::node::{Connection, Context, Input, Node, NodeId, SyncId, TimerId};

use super::store::{Change, Effects, Store};
use super::{Command, Message, Persistence, Reach, Reply, WaitFor};

config! {
    /// How a primary is replicated, and replaced.
    pub(in crate::locks) struct ReplicationConfig {
        /// How long after a write the primary sends it to its replicas.
        pub(in crate::locks) lag: SimDuration = SimDuration::ZERO,
        /// How often a sentinel asks whether the others are there.
        pub(in crate::locks) ping: SimDuration = SimDuration::from_secs(1),
        /// After how long without an answer it thinks that one is down
        /// (`down-after-milliseconds`).
        pub(in crate::locks) down_after: SimDuration = SimDuration::from_secs(30),
        /// The `replica-priority` of each server, the lowest first to be promoted; a server that
        /// the list does not reach has 100.
        pub(in crate::locks) priorities: Vec<u32> = Vec::new(),
    }
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub(in crate::locks) struct ServerRole {
    pub(in crate::locks) persistence: Persistence,
    /// For how long it stays out after a restart, without an answer.
    pub(in crate::locks) restart_delay: SimDuration,
    pub(in crate::locks) replication: Option<ReplicationConfig>,
    /// All servers, and which of them this one is.
    pub(in crate::locks) terms: Terms,
}

/// A server.
#[derive(Debug)]
pub(in crate::locks) struct Server {
    role: ServerRole,
    store: Store,
    /// Replies that wait for a sync.
    unsynced: VecDeque<(SyncId, NodeId, Message)>,
    is_dirty: bool,
    /// Who listens to which channel, and by which connection.
    listeners: BTreeMap<(LockId, NodeId), Connection>,
    /// Whether it stays out.
    is_out: bool,
    replication: Replication,
}

/// What a server knows of the others.
#[derive(Debug, Default)]
struct Replication {
    /// How often the primary has changed, as far as this server knows.
    epoch: u64,
    /// The position of the primary among the servers.
    leader: u32,
    /// How many changes the primary has made, or this replica has.
    offset: u64,
    /// How far each connected replica has come.
    replicas: BTreeMap<NodeId, u64>,
    /// Writes that wait for replicas: up to which offset, whom to tell what, how many are wanted.
    waits: Vec<Waiting>,
    /// Changes that are not sent yet.
    unsent: Vec<Change>,
    /// When the primary was last heard of.
    heard: SimTime,
    /// Whether this replica is connected with the primary.
    is_linked: bool,
    /// The servers whose sentinels think that the primary is down, and what their replicas are
    /// worth: the lowest is the best.
    suspects: BTreeMap<u32, (u32, u64)>,
}

#[derive(Debug)]
struct Waiting {
    offset: u64,
    wanted: u32,
    to: NodeId,
    answer: Message,
    timer: TimerId,
}

/// What a server reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(in crate::locks) enum Timer {
    /// The once-a-second sync is due.
    Sync,
    /// It has stayed out long enough.
    Return,
    /// Send what the replicas lack.
    Stream,
    /// A `WAIT` has waited long enough: up to this offset.
    WaitOver(u64),
    /// Ask the others.
    Ping,
}

type Ctx<'a> = Context<'a, Server>;

impl Server {
    fn is_primary(&self) -> bool {
        self.role.replication.is_none() || self.replication.leader == self.role.terms.index
    }

    fn primary(&self) -> NodeId {
        self.role.terms.servers[self.replication.leader as usize]
    }

    fn index_of(&self, node: NodeId) -> Option<u32> {
        let place = self.role.terms.servers.iter().position(|server| *server == node)?;
        u32::try_from(place).ok()
    }

    /// The other servers.
    fn others(&self) -> Vec<NodeId> {
        let own = self.role.terms.index as usize;
        let servers = self.role.terms.servers.iter().enumerate();
        servers.filter(|(index, _)| *index != own).map(|(_, server)| *server).collect()
    }

    fn start(&mut self, ctx: &mut Ctx<'_>) {
        // The monotonic clock began with the run: a process that starts later starts again.
        let is_again = SimTime::ZERO < ctx.now();
        if is_again && self.role.restart_delay != SimDuration::ZERO {
            self.is_out = true;
            ctx.set_timer(self.role.restart_delay, Timer::Return);
        }
        if self.is_primary() {
            let held: Vec<Fact> = self.store.held(ctx.wall()).collect();
            for fact in held {
                ctx.indicate(fact);
            }
        }
        if self.role.persistence == Persistence::EverySec {
            ctx.set_timer(SimDuration::from_secs(1), Timer::Sync);
        }
        if self.role.replication.is_some() {
            self.replication.heard = ctx.now();
            self.ping(ctx);
        }
    }

    /// Carries out a command.
    fn carry_out(
        &mut self,
        from: NodeId,
        via: Connection,
        (id, lock, command, wait): (u64, LockId, Command, Option<WaitFor>),
        ctx: &mut Ctx<'_>,
    ) {
        let kind = command.reply_kind();
        if self.is_out {
            return;
        }
        if !self.is_primary() {
            let reply = Reply::ReadOnly;
            ctx.send(from, Message::Answer { id, kind, reply, reach: None });
            return;
        }
        match command {
            Command::Subscribe => {
                self.listeners.insert((lock, from), via);
            }
            Command::Unsubscribe => {
                self.listeners.remove(&(lock, from));
            }
            _ => (),
        }
        let effects = self.store.execute(from, lock, &command, ctx.wall());
        let is_written = !effects.changes.is_empty();
        let reply = self.keep(lock, effects, ctx);
        let answer = Message::Answer { id, kind, reply, reach: None };
        if is_written && self.role.persistence == Persistence::Always {
            let sync = ctx.sync();
            self.unsynced.push_back((sync, from, answer));
        } else if let Some(wait) = wait {
            self.wait(from, answer, wait, ctx);
        } else {
            ctx.send(from, answer);
        }
    }

    /// Tells of a command's effects, and keeps and replicates them.
    fn keep(&mut self, lock: LockId, effects: Effects, ctx: &mut Ctx<'_>) -> Reply {
        for fact in effects.facts {
            ctx.indicate(fact);
        }
        if effects.publishes {
            for (channel, listener) in self.listeners.keys() {
                if *channel == lock {
                    ctx.send(*listener, Message::Published { lock });
                }
            }
        }
        if self.role.persistence != Persistence::None {
            self.is_dirty |= !effects.changes.is_empty();
            for change in &effects.changes {
                ctx.write(change.clone());
            }
        }
        if let Some(config) = &self.role.replication
            && !effects.changes.is_empty()
        {
            let was_empty = self.replication.unsent.is_empty();
            self.replication.offset += effects.changes.len() as u64;
            self.replication.unsent.extend(effects.changes);
            if config.lag == SimDuration::ZERO {
                self.stream(ctx);
            } else if was_empty {
                ctx.set_timer(config.lag, Timer::Stream);
            }
        }
        effects.reply
    }

    /// Sends its replicas what they lack.
    fn stream(&mut self, ctx: &mut Ctx<'_>) {
        let changes = std::mem::take(&mut self.replication.unsent);
        let offset = self.replication.offset;
        for replica in self.replication.replicas.keys() {
            ctx.send(*replica, Message::Stream { offset, changes: changes.clone() });
        }
    }

    /// `WAIT`: tells the client when enough replicas have all that was written so far, or when it
    /// has taken too long, how many have.
    fn wait(&mut self, to: NodeId, answer: Message, wait: WaitFor, ctx: &mut Ctx<'_>) {
        let offset = self.replication.offset;
        let connected = self.replication.replicas.len() as u32;
        let wanted = wait.replicas.unwrap_or(connected);
        let timer = ctx.set_timer(wait.timeout, Timer::WaitOver(offset));
        self.replication.waits.push(Waiting { offset, wanted, to, answer, timer });
        self.end_waits(None, ctx);
    }

    /// Ends the waits that have what they want, and those up to an offset whose time is over.
    fn end_waits(&mut self, over: Option<u64>, ctx: &mut Ctx<'_>) {
        let Replication { replicas, waits, .. } = &mut self.replication;
        let connected = replicas.len() as u32;
        waits.retain_mut(|wait| {
            let synced = replicas.values().filter(|offset| wait.offset <= **offset).count() as u32;
            let ends = wait.wanted <= synced || over.is_some_and(|over| wait.offset <= over);
            if ends {
                ctx.cancel_timer(wait.timer);
                if let Message::Answer { reach, .. } = &mut wait.answer {
                    *reach = Some(Reach { synced, connected });
                }
                ctx.send(wait.to, wait.answer.clone());
            }
            !ends
        });
    }

    fn ping(&mut self, ctx: &mut Ctx<'_>) {
        let Some(config) = &self.role.replication else { return };
        ctx.set_timer(config.ping, Timer::Ping);
        let is_late = config.down_after < ctx.now().since(self.replication.heard);
        let epoch = self.replication.epoch;
        for other in self.others() {
            ctx.send(other, Message::Ping { epoch });
        }
        if self.is_primary() {
            return;
        }
        if !self.replication.is_linked {
            self.replication.is_linked = true;
            ctx.send(self.primary(), Message::Follow);
        }
        if is_late {
            self.suspect(ctx);
        }
    }

    /// Says that the primary is down.
    fn suspect(&mut self, ctx: &mut Ctx<'_>) {
        let Some(config) = &self.role.replication else { return };
        let own = self.role.terms.index;
        let priority = config.priorities.get(own as usize).copied().unwrap_or(100);
        let Replication { epoch, offset, .. } = self.replication;
        for other in self.others() {
            ctx.send(other, Message::Suspect { epoch, priority, offset });
        }
        self.replication.suspects.insert(own, (priority, offset));
        self.promote_if_best(ctx);
    }

    /// Takes over where a majority says that the primary is down, and no replica of those that
    /// say so is better.
    fn promote_if_best(&mut self, ctx: &mut Ctx<'_>) {
        let own = self.role.terms.index;
        let suspects = &self.replication.suspects;
        let majority = self.role.terms.servers.len() / 2 + 1;
        let worth = |(index, &(priority, offset)): (&u32, &(u32, u64))| {
            (priority, std::cmp::Reverse(offset), *index)
        };
        let best = suspects.iter().min_by_key(|suspect| worth(*suspect)).map(|(index, _)| *index);
        if suspects.len() < majority || best != Some(own) || self.is_primary() {
            return;
        }
        self.follow(self.replication.epoch + 1, own, ctx);
        for other in self.others() {
            ctx.send(other, Message::Pong { epoch: self.replication.epoch, leader: own });
        }
        let held: Vec<Fact> = self.store.held(ctx.wall()).collect();
        for fact in held {
            ctx.indicate(fact);
        }
    }

    /// Learns who leads.
    fn follow(&mut self, epoch: u64, leader: u32, ctx: &mut Ctx<'_>) {
        if epoch <= self.replication.epoch {
            return;
        }
        self.replication = Replication {
            epoch,
            leader,
            offset: self.replication.offset,
            heard: ctx.now(),
            ..Replication::default()
        };
        self.listeners.clear();
        if !self.is_primary() {
            self.replication.is_linked = true;
            ctx.send(self.primary(), Message::Follow);
        }
    }

    /// Hears from another server.
    fn hear(&mut self, from: NodeId, message: Message, ctx: &mut Ctx<'_>) {
        let Some(index) = self.index_of(from) else { return };
        if index == self.replication.leader {
            self.replication.heard = ctx.now();
            self.replication.suspects.clear();
        }
        match message {
            Message::Ping { epoch } => {
                let Replication { epoch: own, leader, .. } = self.replication;
                // One that knows less is told; one that knows more will be asked.
                if epoch <= own {
                    ctx.send(from, Message::Pong { epoch: own, leader });
                }
            }
            Message::Pong { epoch, leader } => self.follow(epoch, leader, ctx),
            Message::Suspect { epoch, priority, offset } if epoch == self.replication.epoch => {
                self.replication.suspects.insert(index, (priority, offset));
                self.promote_if_best(ctx);
            }
            Message::Follow if self.is_primary() => {
                let offset = self.replication.offset;
                // What is not sent yet is in the snapshot.
                self.stream(ctx);
                self.replication.replicas.insert(from, 0);
                let store = Box::new(self.store.clone());
                ctx.send(from, Message::Snapshot { offset, store });
            }
            Message::Snapshot { offset, store } if index == self.replication.leader => {
                self.store = *store;
                self.replication.offset = offset;
                ctx.send(from, Message::Acknowledge { offset });
            }
            Message::Stream { offset, changes } if index == self.replication.leader => {
                for change in &changes {
                    crate::model::node::Stable::apply(&mut self.store, change);
                }
                self.replication.offset = offset;
                ctx.send(from, Message::Acknowledge { offset });
            }
            Message::Acknowledge { offset } => {
                if let Some(known) = self.replication.replicas.get_mut(&from) {
                    *known = offset.max(*known);
                }
                self.end_waits(None, ctx);
            }
            Message::Suspect { .. }
            | Message::Follow
            | Message::Snapshot { .. }
            | Message::Stream { .. }
            | Message::Ask { .. }
            | Message::Answer { .. }
            | Message::Published { .. } => (),
        }
    }

    /// A connection is gone.
    fn closed(&mut self, peer: NodeId, via: Connection, ctx: &mut Ctx<'_>) {
        self.listeners.retain(|(_, listener), by| *listener != peer || *by != via);
        self.replication.replicas.remove(&peer);
        if peer == self.primary() {
            // It tries again with the next ping.
            self.replication.is_linked = false;
        }
        self.end_waits(None, ctx);
    }
}

impl Node for Server {
    type Role = ServerRole;
    type Stable = Store;
    type Request = Order;
    type Indication = Fact;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &ServerRole, disk: &Store) -> Self {
        Self {
            role: role.clone(),
            store: disk.clone(),
            unsynced: VecDeque::new(),
            is_dirty: false,
            listeners: BTreeMap::new(),
            is_out: false,
            replication: Replication::default(),
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Start => self.start(ctx),
            Input::Message { from, via, message } => match message {
                Message::Ask { id, lock, command, wait } => {
                    self.carry_out(from, via, (id, lock, command, wait), ctx);
                }
                other => self.hear(from, other, ctx),
            },
            Input::Synced(sync) => {
                while self.unsynced.front().is_some_and(|(waits_for, ..)| *waits_for <= sync) {
                    let Some((_, to, answer)) = self.unsynced.pop_front() else { return };
                    ctx.send(to, answer);
                }
            }
            Input::Timer(Timer::Sync) => {
                if std::mem::take(&mut self.is_dirty) {
                    ctx.sync();
                }
                ctx.set_timer(SimDuration::from_secs(1), Timer::Sync);
            }
            Input::Timer(Timer::Return) => self.is_out = false,
            Input::Timer(Timer::Stream) => self.stream(ctx),
            Input::Timer(Timer::WaitOver(offset)) => self.end_waits(Some(offset), ctx),
            Input::Timer(Timer::Ping) => self.ping(ctx),
            Input::Closed { peer, via, .. } => self.closed(peer, via, ctx),
            Input::Request(Order::Free(lock)) => {
                let effects = self.store.free(lock);
                self.keep(lock, effects, ctx);
            }
            Input::Overload { .. } | Input::Signal(_) => (),
        }
    }
}
