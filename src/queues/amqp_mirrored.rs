//! RabbitMQ's mirrored classic queue, up to 3.13, as history: one master and mirrors that repeat what
//! it does.
//!
//! Read: rabbitmq-server v3.13.7 (`rabbit_mirror_queue_master.erl`, `rabbit_mirror_queue_slave.erl`,
//! `rabbit_node_monitor.erl`, `rabbit_autoheal.erl`) and the 3.13 guides on mirroring and on
//! partitions. A publish is confirmed when the master and all mirrors that it knows of have it. When
//! the master is gone the oldest mirror takes over with whatever it has (`ha-promote-on-failure`:
//! `always`): a mirror that joined late never got what was there before (`ha-sync-mode`: `manual`), and
//! every delivery that was out comes back, flagged as redelivered. Servers that cannot hear each
//! other take each other for dead, so a partition makes two masters, both of which confirm; what the
//! losing side took is thrown away when it restarts.
//!
//! Simpler than the product: mirrors are told by the master alone and not along a ring, and clients'
//! publishes reach mirrors by way of it; Mnesia's table locks are not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::choice::About;
use crate::config;
use crate::config::{Problems, Value};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::{Input, NodeId, Stable, SyncId, TimerId, Wire};

use super::amqp::{QueueParams, RabbitVersion, WRITE_BACK};
use super::amqp_classic::{AmqpClassicParams, OnFailure};
use super::broker::{
    Admission, Copy, CopyId, Durability, Order, Return, ReturnTo, Store, Turns, expiry, tell_death,
};
use super::rabbit::{
    Ask, Asks, ChannelId, Clustered, Ctx, Front, Message, Pending, Role, Server, Sessions, Timer,
};
use super::{Death, Item, Part, QueueProtocol, Scene};

config! {
    /// RabbitMQ's mirrored classic queue with plain clients, as it was until 4.0.
    pub(super) struct AmqpMirroredParams {
        /// The release that is modelled.
        pub version: MirroredVersion = MirroredVersion::V3_13,
        /// The queue. It is always durable here.
        pub queue: QueueParams = QueueParams::default(),
        /// Whether messages survive a restart of all servers (`delivery_mode` 2).
        pub persistent: bool = true,
        /// Whether publishers ask for confirms.
        pub confirms: bool = true,
        /// How many deliveries a consumer may have unacknowledged (`prefetch_count`); 0 for no
        /// limit.
        pub prefetch: u32 = 0 => 0..=65_535,
        /// Whether a delivery counts as acknowledged when it is sent (`no_ack`).
        pub auto_ack: bool = false,
        /// What a consumer does with a message on which it failed.
        pub on_failure: OnFailure = OnFailure::Requeue,
        /// How long a client waits before it connects again.
        pub reconnect: SimDuration = SimDuration::from_secs(5),
        /// How long a consumer is away that its work has killed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
        /// What a mirror that joins gets of what is there already (`ha-sync-mode`).
        pub sync_mode: SyncMode = SyncMode::Manual,
        /// Which mirror may take over from a master that failed (`ha-promote-on-failure`).
        pub promote_on_failure: Promote = Promote::Always,
        /// What servers do about a partition (`cluster_partition_handling`).
        pub partition_handling: Handling = Handling::Ignore,
        /// Where that is `ignore`: how long after a partition has healed an operator restarts the
        /// smaller side, as the guide says; left out, never.
        pub operator: Option<SimDuration> = None,
        /// After how long a server takes a silent one for down, a quarter more or less
        /// (`net_ticktime`).
        pub net_ticktime: SimDuration = SimDuration::from_secs(60),
    }
    check Self::check;
}

config! {
    /// A line of RabbitMQ releases with mirrored queues.
    pub(super) enum MirroredVersion {
        /// Confirms persistent messages after a sync.
        "3.10" => V3_10,
        /// As 3.10.
        "3.12" => V3_12,
        /// "The message store no longer fsyncs; it only flushes data".
        "3.13" => V3_13,
    }
}

config! {
    /// What a mirror that joins gets.
    pub(super) enum SyncMode {
        /// Nothing but what comes from then on.
        "manual" => Manual,
        /// All that is in the queue.
        "automatic" => Automatic,
    }
}

config! {
    /// Which mirror may take over.
    pub(super) enum Promote {
        /// The oldest, whatever it has.
        "always" => Always,
        /// The oldest that has everything; where there is none, the queue waits for its master.
        "when_synced" => WhenSynced,
    }
}

config! {
    /// What servers do about a partition.
    pub(super) enum Handling {
        /// Nothing: both sides go on for themselves.
        "ignore" => Ignore,
        /// Servers that see no majority stop until they do.
        "pause_minority" => PauseMinority,
        /// When it has healed, the side with fewer clients restarts.
        "autoheal" => Autoheal,
    }
}

impl AmqpMirroredParams {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.net_ticktime < SimDuration::from_ms(4) {
            problems.add(value.place, "`net_ticktime` must be at least 4ms");
        }
        if self.queue.max_priority != 0 || self.queue.memory_limit.is_some() {
            let message = "a mirrored queue is modelled without priorities and memory alarm";
            problems.add(value.place, message);
        }
    }

    fn client(&self) -> AmqpClassicParams {
        AmqpClassicParams {
            version: RabbitVersion::V3_13,
            queue: self.queue.clone(),
            persistent: self.persistent,
            confirms: self.confirms,
            prefetch: self.prefetch,
            auto_ack: self.auto_ack,
            on_failure: self.on_failure.clone(),
            reconnect: self.reconnect,
            respawn: self.respawn,
        }
    }

    const fn durability(&self) -> Durability {
        match self.version {
            MirroredVersion::V3_10 | MirroredVersion::V3_12 => Durability::Synced,
            MirroredVersion::V3_13 => Durability::OsCache,
        }
    }
}

/// A node of it.
pub(super) type AmqpMirrored = Clustered<Mirrored>;

impl QueueProtocol for AmqpMirrored {
    const ABOUT: About = About {
        name: "amqp_mirrored",
        summary: "RabbitMQ's mirrored classic queue of 3.x, as history",
        source: "rabbitmq/rabbitmq-server v3.13.7, deps/rabbit/src/rabbit_mirror_queue_slave.erl",
        version: "3.13",
    };
    type Params = AmqpMirroredParams;

    fn role(params: &AmqpMirroredParams, part: Part, scene: &Scene) -> Role<Mirrored> {
        match part {
            Part::Broker(_) => Role::Server(Setup {
                params: Box::new(params.clone()),
                servers: scene.brokers.clone(),
            }),
            Part::Producer(_) | Part::Consumer(_) => {
                Role::client(&params.client(), part, &scene.work, &scene.brokers)
            }
        }
    }
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    params: Box<AmqpMirroredParams>,
    servers: Vec<NodeId>,
}

/// What a channel wants of the queue.
#[derive(Clone, Debug)]
pub(super) enum Op {
    /// `count` says how many it has published with this one.
    Publish {
        count: u64,
        item: Item,
        is_persistent: bool,
    },
    Consume {
        prefetch: u32,
        auto_ack: bool,
    },
    Cancel,
    Settle(Vec<u64>),
    Return(Vec<u64>),
    Discard(Vec<u64>),
    Down(Return),
}

/// What servers tell each other.
#[derive(Clone, Debug)]
pub(super) enum Talk {
    /// A channel process wants something of the queue.
    Command { channel: ChannelId, number: u64, op: Op },
    /// The queue tells a channel process something.
    Event(ChannelId, Event),
    /// The master tells a mirror what it has done; `number` counts that.
    Mirror { number: u64, change: Change },
    /// A mirror has done the same.
    Mirrored(u64),
    /// A server has started and wants to be a mirror.
    Join,
    /// It is one: of this master, among these; with these messages, and so many that it lacks.
    Joined { view: Vec<NodeId>, copies: Vec<(Copy, bool)>, lacking: u64 },
    /// These are master and mirrors, by age.
    View(Vec<NodeId>),
    /// A sign of life, with how many clients this server has, and its whole side.
    Tick { clients: u64, side: Side },
}

/// One side of a partition: how many clients it has, how many servers, and which master; the side
/// that compares as less has to restart.
pub(super) type Side = (u64, u64, std::cmp::Reverse<NodeId>);

/// What the queue tells a channel process.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// That command is done, as safely as it will be.
    Done(u64),
    /// That publish is not taken.
    Refused(u64),
    Deliver {
        id: u64,
        item: Item,
        is_redelivered: bool,
        times: u32,
    },
}

/// What the master does to the queue.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// A channel has published this.
    Put(ChannelId, u64, Copy),
    /// These are with consumers now.
    Out(Vec<CopyId>),
    /// These are ready again.
    Back(Vec<CopyId>),
    /// These are gone.
    Gone(Vec<CopyId>),
}

impl Wire for Talk {
    fn kind(&self) -> &'static str {
        match self {
            Self::Command { .. } => "command",
            Self::Event(..) => "event",
            Self::Mirror { .. } => "mirror",
            Self::Mirrored(_) => "mirrored",
            Self::Join | Self::Joined { .. } | Self::View(_) => "membership",
            Self::Tick { .. } => "tick",
        }
    }

    fn size_bytes(&self) -> u32 {
        // Erlang terms with a process and a reference in them.
        const TERM: u32 = 60;
        let bodies = match self {
            Self::Command { op: Op::Publish { item, .. }, .. }
            | Self::Event(_, Event::Deliver { item, .. }) => item.size_bytes,
            Self::Mirror { change: Change::Put(_, _, copy), .. } => copy.item.size_bytes,
            Self::Joined { copies, .. } => copies
                .iter()
                .fold(0, |sum: u32, (copy, _)| sum.saturating_add(copy.item.size_bytes)),
            _ => 0,
        };
        bodies.saturating_add(TERM)
    }

    fn needs_service(&self) -> bool {
        false
    }
}

/// A server's disk: the persistent messages of the queue, and whether it was the master.
#[derive(Clone, Debug, Default)]
pub(super) struct MirrorDisk {
    copies: BTreeMap<CopyId, Copy>,
    was_master: bool,
}

/// A change of it.
#[derive(Clone, Debug)]
pub(super) enum MirrorWrite {
    Put(Copy),
    Remove(CopyId),
    /// Nothing is left, and the server is a mirror.
    Clear,
    /// The server is master.
    Lead,
}

impl Stable for MirrorDisk {
    type Write = MirrorWrite;

    fn apply(&mut self, write: &MirrorWrite) {
        match write {
            MirrorWrite::Put(copy) => {
                self.copies.insert(copy.id, *copy);
            }
            MirrorWrite::Remove(id) => {
                self.copies.remove(id);
            }
            MirrorWrite::Clear => *self = Self::default(),
            MirrorWrite::Lead => self.was_master = true,
        }
    }
}

/// What a server reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum MirrorTimer {
    /// A quarter of `net_ticktime` is over.
    Tick,
    /// A server that has started asks again to be let in.
    Join,
    /// The operating system writes what it holds to the disk.
    WriteBack,
    /// The head of the queue may be of no use any more.
    Expire,
    /// An operator comes.
    Operator,
}

/// A server.
#[derive(Debug)]
pub(super) struct Mirrored {
    setup: Setup,
    me: NodeId,
    front: Front,
    sessions: Sessions<(ChannelId, Op)>,
    part: Playing,
    /// Master and mirrors as this server sees them, the oldest first.
    view: Vec<NodeId>,
    /// To whom commands go.
    leader: Option<NodeId>,
    /// Of the other servers: whether each was heard since the last look, and how often it was not;
    /// how many clients it has.
    silence: BTreeMap<NodeId, u32>,
    clients: BTreeMap<NodeId, u64>,
    /// The last publish of each channel that is in the queue or was.
    published: BTreeMap<ChannelId, u64>,
    saved: Saved,
    /// From the disk: what was there when this server started, as the master.
    survivors: Option<Vec<Copy>>,
    operator: Option<TimerId>,
}

/// How a server was lost from sight.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Loss {
    /// Its process ended, or the connection with it.
    Closed,
    /// Nothing is heard of it: it may be at work all the same.
    Silent,
}

/// What a server has to do with the queue.
#[derive(Debug)]
enum Playing {
    /// It has started and is not let in yet; how often it has asked.
    Joining(u32),
    Mirror(Mirror),
    Master(Box<Master>),
    /// It sees no majority, and has stopped.
    Paused,
}

/// What a mirror has: each copy, and whether it is with a consumer.
#[derive(Debug, Default)]
struct Mirror {
    copies: BTreeMap<CopyId, (Copy, bool)>,
    /// How many messages the queue has that came before this mirror.
    lacking: u64,
}

/// The queue at its master.
#[derive(Debug)]
struct Master {
    store: Store,
    consumers: BTreeMap<ChannelId, Consumer>,
    turns: Turns<ChannelId>,
    next_delivery: u64,
    /// Counts what mirrors are told, and who has not done it yet, of what a publisher waits for.
    next_change: u64,
    unmirrored: BTreeMap<u64, (ChannelId, u64, BTreeSet<NodeId>)>,
    expiry: Option<(WallTime, TimerId)>,
}

#[derive(Debug)]
struct Consumer {
    prefetch: u32,
    auto_ack: bool,
    held: BTreeMap<u64, CopyId>,
}

/// What waits for the disk.
#[derive(Debug, Default)]
struct Saved {
    under_way: Option<(SyncId, Vec<Waits>)>,
    waiting: Vec<Waits>,
    is_writing_back: bool,
}

#[derive(Clone, Copy, Debug)]
enum Waits {
    /// The master itself, for that change.
    Own(u64),
    /// A mirror, to tell its master.
    Tell(NodeId, u64),
}

impl Server for Mirrored {
    type Setup = Setup;
    type Disk = MirrorDisk;
    type Talk = Talk;
    type Timer = MirrorTimer;

    fn boot(setup: &Setup, disk: &MirrorDisk) -> Self {
        // What a classic queue finds on its disk may have been delivered before.
        let survivors = disk.copies.values().map(|copy| Copy { is_redelivered: true, ..*copy });
        Self {
            setup: setup.clone(),
            me: NodeId(0),
            front: Front::new(&setup.params.queue),
            sessions: Sessions::new(),
            part: Playing::Joining(0),
            view: Vec::new(),
            leader: None,
            silence: BTreeMap::new(),
            clients: BTreeMap::new(),
            published: BTreeMap::new(),
            saved: Saved::default(),
            survivors: disk.was_master.then(|| survivors.collect()),
            operator: None,
        }
    }

    fn handle(&mut self, input: Input<AmqpMirrored>, ctx: &mut Ctx<'_, Self>) {
        match input {
            Input::Start => self.start(ctx),
            Input::Message { from, via, message: Message::Amqp(frame) } => {
                if self.is_open() {
                    let asks = self.front.hear(from, via, frame, ctx);
                    self.ask_all(asks, ctx);
                } else {
                    // Nobody listens.
                    ctx.disconnect(from);
                }
            }
            Input::Overload { from, via, message: Message::Amqp(frame) } => {
                self.front.turn_away(from, via, &frame, ctx);
            }
            Input::Message { from, message: Message::Talk(talk), .. } => self.hear(from, talk, ctx),
            Input::Closed { peer, via, .. } => {
                let asks = self.front.closed(peer, via);
                self.ask_all(asks, ctx);
                if self.silence.remove(&peer).is_some() {
                    self.lose_sight(peer, Loss::Closed, ctx);
                }
            }
            Input::Timer(Timer::Server(timer)) => self.due(timer, ctx),
            Input::Timer(Timer::Beat(number)) => {
                let asks = self.front.beat(number, ctx);
                self.ask_all(asks, ctx);
            }
            Input::Timer(Timer::Tick) => {
                let asks = self.front.tick(ctx);
                self.ask_all(asks, ctx);
            }
            Input::Synced(sync) => self.synced(sync, ctx),
            Input::Timer(Timer::Client(_))
            | Input::Overload { .. }
            | Input::Request(_)
            | Input::Signal(_) => (),
        }
        self.follow_leader(ctx);
    }
}

/// Who is in the cluster.
impl Mirrored {
    fn start(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.me = ctx.id();
        self.front.start(ctx);
        ctx.set_timer(self.quarter(), Timer::Server(MirrorTimer::Tick));
        let is_first_start = ctx.now() == SimTime::ZERO;
        if is_first_start {
            self.view.clone_from(&self.setup.servers);
            if self.view[0] == self.me {
                self.lead(Vec::new(), Loss::Closed, ctx);
            } else {
                self.part = Playing::Mirror(Mirror::default());
            }
        } else {
            self.join(ctx);
        }
        self.tick_others(ctx);
    }

    fn others(&self) -> Vec<NodeId> {
        self.setup.servers.iter().copied().filter(|&other| other != self.me).collect()
    }

    fn quarter(&self) -> SimDuration {
        self.setup.params.net_ticktime.scale(1, 4)
    }

    /// Whether clients are let in.
    const fn is_open(&self) -> bool {
        matches!(self.part, Playing::Mirror(_) | Playing::Master(_))
    }

    fn due(&mut self, timer: MirrorTimer, ctx: &mut Ctx<'_, Self>) {
        match timer {
            MirrorTimer::Tick => {
                ctx.set_timer(self.quarter(), Timer::Server(MirrorTimer::Tick));
                self.tick_others(ctx);
                for silence in self.silence.values_mut() {
                    *silence += 1;
                }
                // Three whole quarters without a word, and a part of one.
                let silent = self.silence.iter().filter(|&(_, &quarters)| 4 < quarters);
                for node in silent.map(|(&node, _)| node).collect::<Vec<NodeId>>() {
                    self.silence.remove(&node);
                    ctx.disconnect(node);
                    self.lose_sight(node, Loss::Silent, ctx);
                }
            }
            MirrorTimer::Join => self.ask_to_join(ctx),
            MirrorTimer::WriteBack => {
                self.saved.is_writing_back = false;
                ctx.sync();
            }
            MirrorTimer::Expire => {
                if let Playing::Master(master) = &mut self.part {
                    master.expiry = None;
                }
                self.serve(ctx);
            }
            MirrorTimer::Operator => {
                self.operator = None;
                self.restart(ctx);
            }
        }
    }

    fn tick_others(&self, ctx: &mut Ctx<'_, Self>) {
        let (clients, side) = (self.own_clients(), self.side());
        for other in self.others() {
            ctx.send(other, Message::Talk(Talk::Tick { clients, side }));
        }
    }

    fn own_clients(&self) -> u64 {
        self.front.channels().len() as u64
    }

    fn side(&self) -> Side {
        let others = self.view.iter().filter_map(|node| self.clients.get(node));
        let clients = self.own_clients() + others.sum::<u64>();
        let master = self.view.first().copied().unwrap_or(self.me);
        (clients, self.view.len() as u64, std::cmp::Reverse(master))
    }

    /// Begins anew: nothing is left of what this server had.
    fn join(&mut self, ctx: &mut Ctx<'_, Self>) {
        self.part = Playing::Joining(0);
        self.view.clear();
        self.published.clear();
        self.saved = Saved::default();
        self.ask_to_join(ctx);
    }

    fn ask_to_join(&mut self, ctx: &mut Ctx<'_, Self>) {
        let Playing::Joining(count) = &mut self.part else { return };
        *count += 1;
        // Nobody leads: the last master does, with what it has on disk.
        if JOIN_TRIES < *count
            && let Some(survivors) = self.survivors.take()
        {
            self.view = vec![self.me];
            self.lead(survivors, Loss::Closed, ctx);
            // Mirrors that were not let take over come back to it.
            for other in self.others() {
                ctx.send(other, Message::Talk(Talk::View(self.view.clone())));
            }
            return;
        }
        for other in self.others() {
            ctx.send(other, Message::Talk(Talk::Join));
        }
        ctx.set_timer(JOIN_EVERY, Timer::Server(MirrorTimer::Join));
    }

    /// The server stops, and starts again without what it had.
    fn restart(&mut self, ctx: &mut Ctx<'_, Self>) {
        for (channel, _) in self.front.hang_up_all(ctx) {
            self.sessions.close(channel);
        }
        self.survivors = None;
        self.join(ctx);
    }

    fn lose_sight(&mut self, node: NodeId, how: Loss, ctx: &mut Ctx<'_, Self>) {
        self.clients.remove(&node);
        if !self.view.contains(&node) || !self.is_open() {
            return;
        }
        self.view.retain(|&other| other != node);
        let sees_majority = self.setup.servers.len() < 2 * self.view.len();
        if self.setup.params.partition_handling == Handling::PauseMinority && !sees_majority {
            for (channel, _) in self.front.hang_up_all(ctx) {
                self.sessions.close(channel);
            }
            self.part = Playing::Paused;
            return;
        }
        match &mut self.part {
            Playing::Mirror(mirror) if self.view[0] == self.me => {
                let may = match self.setup.params.promote_on_failure {
                    Promote::Always => true,
                    Promote::WhenSynced => mirror.lacking == 0,
                };
                if may {
                    let copies = std::mem::take(&mut mirror.copies).into_values();
                    let redelivered = |(copy, is_out): (Copy, bool)| Copy {
                        is_redelivered: copy.is_redelivered || is_out,
                        return_count: copy.return_count + u32::from(is_out),
                        ..copy
                    };
                    self.lead(copies.map(redelivered).collect(), how, ctx);
                }
            }
            Playing::Master(_) => self.mirror_gone(node, ctx),
            Playing::Mirror(_) | Playing::Joining(_) | Playing::Paused => (),
        }
    }

    /// Is the master from now on, of a queue that holds `copies`.
    fn lead(&mut self, copies: Vec<Copy>, how: Loss, ctx: &mut Ctx<'_, Self>) {
        let params = &self.setup.params;
        let mut store = Store::new(Order::Fifo, ReturnTo::Original, params.queue.bound());
        // Mnesia's record of who is master is synced.
        ctx.write(MirrorWrite::Lead);
        ctx.sync();
        match how {
            Loss::Closed if ctx.now() == SimTime::ZERO => (),
            Loss::Closed => store.recover(copies, ctx),
            Loss::Silent => store.take_over(copies, ctx),
        }
        let master = Master {
            store,
            consumers: BTreeMap::new(),
            turns: Turns::new(),
            // The numbers of an earlier master mean nothing to this one.
            next_delivery: ctx.now().as_ns(),
            next_change: 0,
            unmirrored: BTreeMap::new(),
            expiry: None,
        };
        self.part = Playing::Master(Box::new(master));
        self.tell_view(ctx);
    }

    fn tell_view(&self, ctx: &mut Ctx<'_, Self>) {
        for &mirror in &self.view[1..] {
            ctx.send(mirror, Message::Talk(Talk::View(self.view.clone())));
        }
    }

    /// A mirror is gone: nobody waits for it, and what its consumers had comes back.
    fn mirror_gone(&mut self, node: NodeId, ctx: &mut Ctx<'_, Self>) {
        let Playing::Master(master) = &mut self.part else { return };
        let waiting: Vec<u64> = master.unmirrored.keys().copied().collect();
        let lost = master.consumers.keys().filter(|channel| channel.node == node);
        let lost: Vec<ChannelId> = lost.copied().collect();
        for number in waiting {
            self.mirrored(node, number, ctx);
        }
        for channel in lost {
            self.lose_consumer(channel, Return::Given, ctx);
        }
        self.tell_view(ctx);
    }

    fn hear(&mut self, from: NodeId, talk: Talk, ctx: &mut Ctx<'_, Self>) {
        if matches!(self.part, Playing::Paused) {
            // The others are back.
            self.restart(ctx);
        }
        self.silence.insert(from, 0);
        match talk {
            Talk::Command { channel, number, op } => self.serve_command(channel, number, op, ctx),
            Talk::Event(channel, event) => self.told(channel, event, ctx),
            Talk::Mirror { number, change } => {
                if self.view.first() == Some(&from) {
                    self.repeat(from, number, change, ctx);
                }
            }
            Talk::Mirrored(number) => self.mirrored(from, number, ctx),
            Talk::Join => self.let_in(from, ctx),
            Talk::Joined { view, copies, lacking } => {
                if let Playing::Joining(_) = self.part {
                    ctx.write(MirrorWrite::Clear);
                    for (copy, _) in copies.iter().filter(|(copy, _)| copy.is_durable) {
                        ctx.write(MirrorWrite::Put(*copy));
                    }
                    ctx.sync();
                    self.survivors = None;
                    self.view = view;
                    let copies = copies.into_iter().map(|(copy, is_out)| (copy.id, (copy, is_out)));
                    self.part = Playing::Mirror(Mirror { copies: copies.collect(), lacking });
                }
            }
            Talk::View(view) => {
                if self.view.contains(&from) {
                    self.view = view;
                } else if let Playing::Mirror(_) = self.part {
                    // Nobody was let take over, and the last master is back.
                    self.restart(ctx);
                }
            }
            Talk::Tick { clients, side } => {
                self.clients.insert(from, clients);
                self.heed_partition(from, side, ctx);
            }
        }
    }

    /// A server is heard that this one took for dead, though it did not start anew: there was a
    /// partition.
    fn heed_partition(&mut self, from: NodeId, theirs: Side, ctx: &mut Ctx<'_, Self>) {
        let is_apart = self.is_open() && !self.view.contains(&from) && 0 < theirs.1;
        if !is_apart {
            return;
        }
        match self.setup.params.partition_handling {
            Handling::Autoheal if self.side() < theirs => self.restart(ctx),
            Handling::Ignore if (self.side().1, self.side().2) < (theirs.1, theirs.2) => {
                if let (Some(after), None) = (self.setup.params.operator, self.operator) {
                    let timer = ctx.set_timer(after, Timer::Server(MirrorTimer::Operator));
                    self.operator = Some(timer);
                }
            }
            Handling::Ignore | Handling::Autoheal | Handling::PauseMinority => (),
        }
    }

    /// A server that has started becomes a mirror.
    fn let_in(&mut self, node: NodeId, ctx: &mut Ctx<'_, Self>) {
        // It may have died and come back before anybody noticed.
        self.lose_sight(node, Loss::Closed, ctx);
        let Playing::Master(master) = &self.part else { return };
        // It may have been a master beside this one: what is here is all there is now.
        master.store.tell_all(ctx);
        self.view.push(node);
        let is_full = matches!(self.setup.params.sync_mode, SyncMode::Automatic);
        let out: BTreeSet<CopyId> = master
            .consumers
            .values()
            .flat_map(|consumer| consumer.held.values().copied())
            .collect();
        let all = master.store.all().map(|copy| (*copy, out.contains(&copy.id)));
        let all: Vec<(Copy, bool)> = all.collect();
        let (view, count) = (self.view.clone(), all.len() as u64);
        let (copies, lacking) = if is_full { (all, 0) } else { (Vec::new(), count) };
        ctx.send(node, Message::Talk(Talk::Joined { view, copies, lacking }));
        self.tell_view(ctx);
    }
}

/// The queue, at its master and at mirrors.
impl Mirrored {
    fn serve_command(&mut self, channel: ChannelId, number: u64, op: Op, ctx: &mut Ctx<'_, Self>) {
        let Playing::Master(master) = &mut self.part else { return };
        match op {
            Op::Publish { count, item, is_persistent } => {
                self.take_in((channel, number), count, item, is_persistent, ctx);
                return;
            }
            Op::Consume { prefetch, auto_ack } => {
                let consumer = master.consumers.entry(channel).or_insert_with(|| Consumer {
                    prefetch,
                    auto_ack,
                    held: BTreeMap::new(),
                });
                (consumer.prefetch, consumer.auto_ack) = (prefetch, auto_ack);
            }
            Op::Cancel => {
                if let Some(consumer) = master.consumers.get_mut(&channel) {
                    // It keeps what it has, and gets no more.
                    (consumer.prefetch, consumer.auto_ack) = (NOTHING_MORE, false);
                }
            }
            Op::Settle(ids) => {
                let gone = master.take(channel, &ids);
                for id in &gone {
                    master.store.settle(*id, ctx);
                }
                self.gone(gone, ctx);
            }
            Op::Return(ids) => {
                let back = master.take(channel, &ids);
                self.give_back(back, Return::Given, ctx);
            }
            Op::Discard(ids) => {
                let gone = master.take(channel, &ids);
                let is_kept = self.setup.params.queue.dead_letter;
                for copy in gone.iter().filter_map(|id| master.store.withdraw(*id)) {
                    tell_death(&copy, Death::Rejected, true, is_kept, ctx);
                }
                self.gone(gone, ctx);
            }
            Op::Down(why) => self.lose_consumer(channel, why, ctx),
        }
        if let Playing::Master(master) = &mut self.part {
            master.rejoin(channel);
        }
        self.tell(channel, Event::Done(number), ctx);
        self.serve(ctx);
    }

    fn take_in(
        &mut self,
        (channel, number): (ChannelId, u64),
        count: u64,
        item: Item,
        is_persistent: bool,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let Playing::Master(master) = &mut self.part else { return };
        if count <= self.published.get(&channel).copied().unwrap_or(0) {
            // The master before this one had it, and told its mirrors.
            self.tell(channel, Event::Done(number), ctx);
            return;
        }
        self.published.insert(channel, count);
        let ttl = self.setup.params.queue.ttl.unwrap_or(SimDuration::MAX).min(item.ttl);
        let expires = expiry(ctx.wall(), ttl);
        let Admission::Stored(id) = master.store.put(item, is_persistent, expires, ctx) else {
            self.tell(channel, Event::Refused(number), ctx);
            return;
        };
        let (is_durable, return_count, is_redelivered) = (is_persistent, 0, false);
        let copy = Copy { id, item, expires, is_durable, return_count, is_redelivered };
        let mut waits: BTreeSet<NodeId> = self.view[1..].iter().copied().collect();
        waits.insert(self.me);
        let change = master.next_change;
        master.unmirrored.insert(change, (channel, number, waits));
        self.tell_mirrors(&Change::Put(channel, count, copy), ctx);
        self.save(copy, Waits::Own(change), ctx);
        self.serve(ctx);
        ctx.reach("stored");
    }

    /// Tells all mirrors what was done.
    fn tell_mirrors(&mut self, change: &Change, ctx: &mut Ctx<'_, Self>) {
        let Playing::Master(master) = &mut self.part else { return };
        let number = master.next_change;
        master.next_change += 1;
        for &mirror in &self.view[1..] {
            let change = change.clone();
            ctx.send(mirror, Message::Talk(Talk::Mirror { number, change }));
        }
    }

    /// A server has done what the master did.
    fn mirrored(&mut self, node: NodeId, number: u64, ctx: &mut Ctx<'_, Self>) {
        let Playing::Master(master) = &mut self.part else { return };
        let Some((channel, of, waits)) = master.unmirrored.get_mut(&number) else { return };
        waits.remove(&node);
        if waits.is_empty() {
            let (channel, of) = (*channel, *of);
            master.unmirrored.remove(&number);
            self.tell(channel, Event::Done(of), ctx);
        }
    }

    /// These are gone from the queue.
    fn gone(&mut self, ids: Vec<CopyId>, ctx: &mut Ctx<'_, Self>) {
        if !ids.is_empty() {
            for id in &ids {
                ctx.write(MirrorWrite::Remove(*id));
            }
            self.write_back(ctx);
            self.tell_mirrors(&Change::Gone(ids), ctx);
        }
    }

    fn give_back(&mut self, ids: Vec<CopyId>, why: Return, ctx: &mut Ctx<'_, Self>) {
        let Playing::Master(master) = &mut self.part else { return };
        for id in &ids {
            master.store.take_back(*id, why, ctx);
        }
        if !ids.is_empty() {
            self.tell_mirrors(&Change::Back(ids), ctx);
        }
    }

    fn lose_consumer(&mut self, channel: ChannelId, why: Return, ctx: &mut Ctx<'_, Self>) {
        let Playing::Master(master) = &mut self.part else { return };
        let Some(consumer) = master.consumers.remove(&channel) else { return };
        master.turns.leave(channel);
        self.give_back(consumer.held.into_values().collect(), why, ctx);
        self.serve(ctx);
    }

    /// Gives ready messages to consumers in turn, as long as both last.
    fn serve(&mut self, ctx: &mut Ctx<'_, Self>) {
        let is_kept = self.setup.params.queue.dead_letter;
        let Playing::Master(master) = &mut self.part else { return };
        let now = ctx.wall();
        let (mut gone, mut out, mut deliveries) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            while let Some(copy) = master.store.expired(now) {
                tell_death(&copy, Death::Expired, false, is_kept, ctx);
                gone.push(copy.id);
            }
            if master.store.ready_count() == 0 {
                break;
            }
            let Some(channel) = master.turns.next() else { break };
            let consumer = master.consumers.get_mut(&channel).expect("who waits is there");
            let handed = master.store.hand(channel.client, consumer.auto_ack, ctx);
            let copy = handed.expect("a message is ready");
            let id = master.next_delivery;
            master.next_delivery += 1;
            if consumer.auto_ack {
                gone.push(copy.id);
            } else {
                consumer.held.insert(id, copy.id);
                out.push(copy.id);
            }
            deliveries.push((channel, id, copy));
            master.rejoin(channel);
        }
        while let Some(copy) = master.store.overflowing() {
            tell_death(&copy, Death::Overflow, false, is_kept, ctx);
            gone.push(copy.id);
        }
        self.await_expiry(ctx);
        if !out.is_empty() {
            self.tell_mirrors(&Change::Out(out), ctx);
        }
        self.gone(gone, ctx);
        for (channel, id, Copy { item, is_redelivered, return_count: times, .. }) in deliveries {
            self.tell(channel, Event::Deliver { id, item, is_redelivered, times }, ctx);
        }
    }

    /// Sets a timer for the next head to expire.
    fn await_expiry(&mut self, ctx: &mut Ctx<'_, Self>) {
        let Playing::Master(master) = &mut self.part else { return };
        let next = master.store.next_expiry();
        if next == master.expiry.map(|(at, _)| at) {
            return;
        }
        if let Some((_, timer)) = master.expiry.take() {
            ctx.cancel_timer(timer);
        }
        if let Some(at) = next {
            let left = SimDuration::from_ns(at.0.saturating_sub(ctx.wall().0).max(0) as u64);
            master.expiry = Some((at, ctx.set_timer(left, Timer::Server(MirrorTimer::Expire))));
        }
    }

    /// A mirror does what its master did.
    fn repeat(&mut self, from: NodeId, number: u64, change: Change, ctx: &mut Ctx<'_, Self>) {
        let Playing::Mirror(mirror) = &mut self.part else { return };
        let set_out = |mirror: &mut Mirror, ids: &[CopyId], is_out: bool| {
            for id in ids {
                if let Some((copy, was_out)) = mirror.copies.get_mut(id) {
                    copy.is_redelivered |= *was_out && !is_out;
                    copy.return_count += u32::from(*was_out && !is_out);
                    *was_out = is_out;
                }
            }
        };
        match change {
            Change::Put(channel, count, copy) => {
                mirror.copies.insert(copy.id, (copy, false));
                self.published.insert(channel, count);
                self.save(copy, Waits::Tell(from, number), ctx);
            }
            Change::Out(ids) => set_out(mirror, &ids, true),
            Change::Back(ids) => set_out(mirror, &ids, false),
            Change::Gone(ids) => {
                for id in &ids {
                    if mirror.copies.remove(id).is_none() {
                        mirror.lacking = mirror.lacking.saturating_sub(1);
                    }
                    ctx.write(MirrorWrite::Remove(*id));
                }
                self.write_back(ctx);
            }
        }
    }

    /// Makes a copy safe, and lets go on who waits for it.
    fn save(&mut self, copy: Copy, waits: Waits, ctx: &mut Ctx<'_, Self>) {
        if copy.is_durable {
            ctx.write(MirrorWrite::Put(copy));
            if self.setup.params.durability() == Durability::Synced {
                self.saved.waiting.push(waits);
                self.sync(ctx);
                return;
            }
            self.write_back(ctx);
        }
        self.is_saved(waits, ctx);
    }

    fn write_back(&mut self, ctx: &mut Ctx<'_, Self>) {
        if !self.saved.is_writing_back {
            self.saved.is_writing_back = true;
            ctx.set_timer(WRITE_BACK, Timer::Server(MirrorTimer::WriteBack));
        }
    }

    /// Syncs, if somebody waits for it and nothing is being synced.
    fn sync(&mut self, ctx: &mut Ctx<'_, Self>) {
        if self.saved.under_way.is_none() && !self.saved.waiting.is_empty() {
            let covered = std::mem::take(&mut self.saved.waiting);
            self.saved.under_way = Some((ctx.sync(), covered));
        }
    }

    fn synced(&mut self, sync: SyncId, ctx: &mut Ctx<'_, Self>) {
        let under_way = self.saved.under_way.take_if(|(under_way, _)| *under_way == sync);
        let Some((_, covered)) = under_way else { return };
        for waits in covered {
            self.is_saved(waits, ctx);
        }
        self.sync(ctx);
    }

    fn is_saved(&mut self, waits: Waits, ctx: &mut Ctx<'_, Self>) {
        match waits {
            Waits::Own(number) => self.mirrored(self.me, number, ctx),
            Waits::Tell(master, number) => {
                ctx.send(master, Message::Talk(Talk::Mirrored(number)));
            }
        }
    }
}

/// Channels as clients of the queue.
impl Mirrored {
    fn ask_all(&mut self, asks: Asks, ctx: &mut Ctx<'_, Self>) {
        for (channel, ask) in asks {
            self.ask(channel, ask, ctx);
        }
    }

    fn ask(&mut self, channel: ChannelId, ask: Ask, ctx: &mut Ctx<'_, Self>) {
        if let Ask::Opened = ask {
            self.sessions.open(channel);
            return;
        }
        let Some(session) = self.sessions.get_mut(channel) else { return };
        let mut seq_of_publish = None;
        let op = match ask {
            Ask::Publish { seq, item, is_persistent } => {
                seq_of_publish = Some(seq);
                session.published += 1;
                Op::Publish { count: session.published, item, is_persistent }
            }
            Ask::Consume { prefetch, auto_ack } => Op::Consume { prefetch, auto_ack },
            Ask::Cancel => Op::Cancel,
            Ask::Settle(ids) if ids.is_empty() => return,
            Ask::Settle(ids) => Op::Settle(ids),
            Ask::Return(ids) => Op::Return(ids),
            Ask::Discard(ids) => Op::Discard(ids),
            Ask::Gone(why) => {
                session.drop_all();
                Op::Down(why)
            }
            Ask::Opened => unreachable!("it was dealt with above"),
        };
        let number = session.keep((channel, op.clone()), seq_of_publish, ctx.now());
        self.send_on(channel, number, op, ctx);
    }

    fn send_on(&mut self, channel: ChannelId, number: u64, op: Op, ctx: &mut Ctx<'_, Self>) {
        match self.leader {
            Some(leader) if leader == self.me => self.serve_command(channel, number, op, ctx),
            Some(leader) => {
                ctx.send(leader, Message::Talk(Talk::Command { channel, number, op }));
            }
            None => (),
        }
    }

    /// Where another server is master, its queue hears of all consumers, and of everything that was
    /// not done.
    fn follow_leader(&mut self, ctx: &mut Ctx<'_, Self>) {
        let leader = self.view.first().copied().filter(|_| self.is_open());
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        if leader.is_none() {
            return;
        }
        for channel in self.front.channels() {
            if let Some((prefetch, auto_ack)) = self.front.subscription(channel) {
                self.send_on(channel, ANEW, Op::Consume { prefetch, auto_ack }, ctx);
            }
        }
        let all = |_: &Pending<(ChannelId, Op)>| true;
        for (number, (channel, op)) in self.sessions.due(all) {
            self.send_on(channel, number, op, ctx);
        }
    }

    fn tell(&mut self, channel: ChannelId, event: Event, ctx: &mut Ctx<'_, Self>) {
        if channel.node == self.me {
            self.told(channel, event, ctx);
        } else {
            ctx.send(channel.node, Message::Talk(Talk::Event(channel, event)));
        }
    }

    /// The queue tells a channel of this server something.
    fn told(&mut self, channel: ChannelId, event: Event, ctx: &mut Ctx<'_, Self>) {
        let Some(session) = self.sessions.get_mut(channel) else { return };
        match event {
            Event::Done(number) => {
                let Some(pending) = session.done(number) else { return };
                if let Some(seq) = pending.seq {
                    self.front.confirm(channel, seq, ctx);
                }
                if let (_, Op::Down(_)) = pending.op {
                    self.sessions.close(channel);
                }
            }
            Event::Refused(number) => {
                if let Some(seq) = session.done(number).and_then(|pending| pending.seq) {
                    self.front.nack(channel, seq, ctx);
                }
            }
            Event::Deliver { id, item, is_redelivered, times } => {
                self.front.deliver(channel, id, (item, is_redelivered, times), ctx);
            }
        }
    }
}

impl Master {
    /// Takes deliveries from a consumer; those that it does not have are of an earlier master.
    fn take(&mut self, channel: ChannelId, ids: &[u64]) -> Vec<CopyId> {
        let Some(consumer) = self.consumers.get_mut(&channel) else { return Vec::new() };
        ids.iter().filter_map(|id| consumer.held.remove(id)).collect()
    }

    /// A consumer waits for its turn, if it has credit.
    fn rejoin(&mut self, channel: ChannelId) {
        let Some(consumer) = self.consumers.get(&channel) else { return };
        let has_credit = consumer.prefetch != NOTHING_MORE
            && (consumer.auto_ack
                || consumer.prefetch == 0
                || consumer.held.len() < consumer.prefetch as usize);
        if has_credit {
            self.turns.join(channel);
        } else {
            self.turns.leave(channel);
        }
    }
}

/// The prefetch of a consumer that has cancelled; AMQP's are 16 bits wide.
const NOTHING_MORE: u32 = u32::MAX;

/// A subscription that is told again is no new command.
const ANEW: u64 = 0;

/// How often a server that has started asks to be let in, and how many times before it takes it
/// that nobody leads.
const JOIN_EVERY: SimDuration = SimDuration::from_ms(500);
const JOIN_TRIES: u32 = 4;

#[cfg(test)]
mod tests {
    use crate::queues::Outcome;
    use crate::queues::tests::play;

    /// A message every 10 ms for 1.4 s, while both mirrors restart; then the master dies for a
    /// while.
    fn failover(more: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ amqp_mirrored = {{ prefetch = 4{more} }} }}]\nbrokers = 3\n\
                 horizon = \"1400ms\"\ndrain = \"100s\"\n\
                 producers = {{ load = {{ open = {{ constant = \"100/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"1ms\" }}] }}\n"
            ),
            "fault = [
                { at = \"0s\", for = \"4s\", pause = { target = \"consumers\" } },
                { at = \"505ms\", for = \"100ms\", crash_process = { target = \"broker-2\" } },
                { at = \"505ms\", for = \"100ms\", crash_process = { target = \"broker-3\" } },
                { at = \"1500ms\", for = \"2s\", crash_process = { target = \"broker-1\" } },
            ]",
        )
    }

    #[test]
    fn a_mirror_that_joined_late_and_is_promoted_has_lost_what_came_before() {
        let outcome = failover("");
        // Those sent until the mirrors were back, at 605 ms.
        assert_eq!(outcome.verdict.lost_confirmed, 61, "{:?}", outcome.record.findings);
        assert_eq!((outcome.verdict.done, outcome.verdict.broken), (140 - 61, 0));
    }

    #[test]
    fn a_mirror_that_was_synchronised_has_everything() {
        let outcome = failover(", sync_mode = \"automatic\"");
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 140));
        assert_eq!(outcome.verdict.broken, 0, "{:?}", outcome.record.findings);
    }

    #[test]
    fn a_queue_that_promotes_only_whom_it_has_synchronised_waits_for_its_master() {
        let outcome = failover(", promote_on_failure = \"when_synced\"");
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 140));
        assert_eq!(outcome.verdict.broken, 0, "{:?}", outcome.record.findings);
    }

    /// The master is cut off with one of two producers for 20 s.
    fn split(more: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ amqp_mirrored = {{ prefetch = 4, net_ticktime = \"4s\"{more} }} }}]\n\
                 brokers = 3\nhorizon = \"50s\"\ndrain = \"300s\"\n\
                 producers = {{ count = 2, load = {{ open = {{ constant = \"5/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"20ms\" }}] }}\n"
            ),
            "fault = [{ at = \"10s\", for = \"20s\", partition = { sides = \
             [[\"broker-1\", \"producer-1\"], [\"broker-2\", \"broker-3\", \"producer-2\", \
             \"consumers\"]] } }]",
        )
    }

    #[test]
    fn both_sides_of_a_partition_confirm_and_one_is_thrown_away() {
        for more in [", operator = \"10s\"", ", partition_handling = \"autoheal\""] {
            let outcome = split(more);
            assert!(50 < outcome.verdict.lost_confirmed, "{more}: {:?}", outcome.verdict);
        }
    }

    #[test]
    fn nobody_comes_for_what_is_on_the_other_side_unless_that_is_restarted() {
        let verdict = split("").verdict;
        assert_eq!(verdict.lost(), 0);
        assert!(50 < verdict.stalled, "{verdict:?}");
    }

    #[test]
    fn a_minority_that_pauses_confirms_nothing_that_is_lost() {
        let outcome = split(", partition_handling = \"pause_minority\"");
        assert_eq!(outcome.verdict.lost(), 0, "{:?}", outcome.record.findings);
        assert_eq!(outcome.verdict.stalled, 0, "{:?}", outcome.record.findings);
    }

    #[test]
    fn what_a_dead_consumer_had_goes_back_to_where_it_was() {
        let outcome = play(
            "variants = [{ amqp_mirrored = { prefetch = 4 } }]\nbrokers = 3\nhorizon = \"10ms\"\n\
             drain = \"30s\"\nproducers = { load = { open = { constant = \"1000/s\" } } }\n\
             messages = { tasks = [{ name = \"task\", service = \"1s\" }] }\n",
            "fault = [{ at = \"0s\", for = \"100ms\", pause = { target = \"consumer-2\" } }, \
             { at = \"200ms\", crash_process = { target = \"consumer-1\" } }]",
        );
        assert_eq!(outcome.judge.order.distance_max, 4);
        assert_eq!((outcome.verdict.done, outcome.verdict.broken), (10, 0));
    }
}
