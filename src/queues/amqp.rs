//! AMQP 0-9-1 as RabbitMQ speaks it: the messages, the classic queue's broker, and the publisher that
//! plain clients and Celery share.
//!
//! Read: rabbitmq/rabbitmq-server v3.10.8 to v4.1.0 (`rabbit_amqqueue_process.erl`,
//! `rabbit_queue_consumers.erl`, `rabbit_variable_queue.erl`, `rabbit_msg_store.erl`,
//! `rabbit_channel.erl`, `rabbit_heartbeat.erl`), and the guides on confirms, consumers, TTL and
//! dead-lettering at rabbitmq/rabbitmq-website 0acf2a4. One connection between a client and the
//! broker carries one channel; opening both is one exchange of messages. What is not modelled: exchanges
//! and bindings (every message is routed to the one queue), transactions, AMQP 1.0.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config;
use crate::config::{Bytes, Problems, Value};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::{Connection, Context, Input, Node, NodeId, Stable, SyncId, TimerId, Wire};

use super::broker::{
    Admission, Bound, Copy, CopyId, Durability, Lease, Order, Overflow, Return, ReturnTo, Store,
    Turns, expiry, tell_death,
};
use super::link::{Backoff, Heart, Link, LinkTimer};
use super::work::WorkTimer;
use super::{Death, Indication, Item};

config! {
    /// A line of RabbitMQ releases.
    pub(super) enum RabbitVersion {
        /// Read at v3.10.8: confirms persistent messages after a sync.
        "3.10" => V3_10,
        /// Read at v3.12.0: as 3.10.
        "3.12" => V3_12,
        /// Read at v3.13.7: "the message store no longer fsyncs; it only flushes data".
        "3.13" => V3_13,
        /// Read at v4.1.0: as 3.13.
        "4.1" => V4_1,
    }
}

config! {
    /// A RabbitMQ queue and its server.
    pub(super) struct QueueParams {
        /// Whether the queue survives a restart of its broker.
        pub durable: bool = true,
        /// How long a message may be ready (`x-message-ttl`). Acts at the head only.
        pub ttl: Option<SimDuration> = None,
        /// How many messages may be ready (`x-max-length`).
        pub max_length: Option<u64> = None,
        /// How many bytes of bodies may be ready (`x-max-length-bytes`).
        pub max_bytes: Option<Bytes> = None,
        /// What happens when it is full (`x-overflow`).
        pub overflow: OverflowParam = OverflowParam::DropHead,
        /// Whether there is a dead-letter exchange with a queue.
        pub dead_letter: bool = false,
        /// The highest priority (`x-max-priority`); 0 for none.
        pub max_priority: u32 = 0 => 0..=255,
        /// After how long a broker gives up a silent client, twice to three times; 0 for never.
        pub heartbeat: SimDuration = SimDuration::from_secs(60),
        /// How long a delivery may go without an acknowledgement; 0 for as long as it likes.
        pub consumer_timeout: SimDuration = SimDuration::from_secs(1800),
        /// How often that is checked (`channel_tick_interval`).
        pub tick: SimDuration = SimDuration::from_secs(60),
        /// Above how many bytes in the queue publishers are blocked (the memory alarm).
        pub memory_limit: Option<Bytes> = None,
        /// How many changes that nobody waits for gather in memory before they are written.
        pub journal: u32 = 16_384 => 1..=1_000_000,
    }
    check Self::check;
}

config! {
    /// What a full queue does.
    pub(super) enum OverflowParam {
        /// It lets the oldest go.
        "drop_head" => DropHead,
        /// It refuses the new one.
        "reject_publish" => RejectPublish,
    }
}

impl QueueParams {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.tick == SimDuration::ZERO {
            problems.add(value.place, "`tick` must be longer than nothing");
        }
    }

    pub(super) fn bound(&self) -> Option<Bound> {
        (self.max_length.is_some() || self.max_bytes.is_some()).then(|| Bound {
            count_max: self.max_length.unwrap_or(u64::MAX),
            bytes_max: self.max_bytes.map_or(u64::MAX, |bytes| bytes.0),
            overflow: match self.overflow {
                OverflowParam::DropHead => Overflow::DropHead,
                OverflowParam::RejectPublish => Overflow::Reject,
            },
        })
    }
}

impl Default for QueueParams {
    fn default() -> Self {
        super::config::from_nothing()
    }
}

impl RabbitVersion {
    /// When a persistent message is confirmed.
    fn durability(&self) -> Durability {
        match self {
            Self::V3_10 | Self::V3_12 => Durability::Synced,
            Self::V3_13 | Self::V4_1 => Durability::OsCache,
        }
    }
}

/// What clients and brokers say to each other. `epoch` counts the channels of one client.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) epoch: u32,
    pub(super) body: Body,
}

/// The methods of AMQP.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// connection.tune-ok, connection.open, channel.open and, where wished, confirm.select. The
    /// heartbeat is what the client wishes; zero for none.
    Open {
        confirms: bool,
        heartbeat: SimDuration,
    },
    /// All of that is granted.
    OpenOk,
    Publish {
        seq: u64,
        item: Item,
        is_persistent: bool,
    },
    Confirm {
        seq: u64,
        multiple: bool,
    },
    Nack {
        seq: u64,
    },
    /// connection.blocked and connection.unblocked.
    Blocked(bool),
    /// basic.qos and basic.consume; a prefetch of 0 is no limit.
    Consume {
        prefetch: u32,
        auto_ack: bool,
    },
    /// basic.qos for the whole channel.
    Qos {
        prefetch: u32,
    },
    Cancel,
    /// `times` is how often it has come back before, which AMQP does not tell: only the draws that
    /// chance makes at the consumer go by it.
    Deliver {
        tag: u64,
        item: Item,
        is_redelivered: bool,
        times: u32,
    },
    Ack {
        tag: u64,
        multiple: bool,
    },
    Reject {
        tag: u64,
        requeue: bool,
    },
    /// channel.close from the broker: 406, PRECONDITION_FAILED.
    ChannelClosed,
    Heartbeat,
}

impl Wire for Frame {
    fn kind(&self) -> &'static str {
        match self.body {
            Body::Open { .. } => "open",
            Body::OpenOk => "open_ok",
            Body::Publish { .. } => "publish",
            Body::Confirm { .. } => "confirm",
            Body::Nack { .. } => "nack",
            Body::Blocked(_) => "blocked",
            Body::Consume { .. } => "consume",
            Body::Qos { .. } => "qos",
            Body::Cancel => "cancel",
            Body::Deliver { .. } => "deliver",
            Body::Ack { .. } => "ack",
            Body::Reject { .. } => "reject",
            Body::ChannelClosed => "channel_closed",
            Body::Heartbeat => "heartbeat",
        }
    }

    fn size_bytes(&self) -> u32 {
        // Frame, method, content header: about what a capture shows for short names.
        const CONTENT: u32 = 100;
        const METHOD: u32 = 21;
        match &self.body {
            Body::Publish { item, .. } | Body::Deliver { item, .. } => {
                item.size_bytes.saturating_add(CONTENT)
            }
            Body::Heartbeat => 8,
            _ => METHOD,
        }
    }

    /// Only taking a message in is work for a broker's station.
    fn needs_service(&self) -> bool {
        matches!(self.body, Body::Publish { .. })
    }
}

/// What nodes on AMQP remind themselves of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// A client's link.
    Link(LinkTimer),
    /// A consumer's pool.
    Work(WorkTimer),
    /// Half a heartbeat is over, at a client.
    Beat,
    /// Half a heartbeat is over, on one of the broker's channels.
    ChannelBeat(u32),
    /// The broker looks for deliveries that nobody has acknowledged for too long.
    Tick,
    /// Nothing has come for a while: what has gathered is written.
    Idle,
    /// The operating system writes what it holds to the disk.
    WriteBack,
    /// The head of the queue may be of no use any more.
    Expire,
    /// A consumer that was killed starts again.
    Respawn,
    /// The earliest of a worker's tasks with an ETA is due.
    Eta,
}

impl From<LinkTimer> for Timer {
    fn from(timer: LinkTimer) -> Self {
        Self::Link(timer)
    }
}

impl From<WorkTimer> for Timer {
    fn from(timer: WorkTimer) -> Self {
        Self::Work(timer)
    }
}

/// A broker's disk: the persistent messages of its queue.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    copies: BTreeMap<CopyId, Copy>,
}

/// A change of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum DiskWrite {
    /// A message is added.
    Put(Copy),
    /// A message is removed.
    Remove(CopyId),
}

impl Stable for Disk {
    type Write = DiskWrite;

    fn apply(&mut self, write: &DiskWrite) {
        match write {
            DiskWrite::Put(copy) => {
                self.copies.insert(copy.id, *copy);
            }
            DiskWrite::Remove(id) => {
                self.copies.remove(id);
            }
        }
    }
}

/// A node that speaks AMQP.
pub(super) trait Speaker:
    Node<Message = Frame, Timer = Timer, Stable = Disk, Indication = Indication>
{
}
impl<N> Speaker for N where
    N: Node<Message = Frame, Timer = Timer, Stable = Disk, Indication = Indication>
{
}

/// A RabbitMQ server with one classic queue.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    durability: Durability,
    params: QueueParams,
    lease: Lease,
    store: Store,
    survivors: Vec<Copy>,
    channels: BTreeMap<u32, Channel>,
    by_connection: BTreeMap<(NodeId, Connection), u32>,
    next_channel: u32,
    turns: Turns<u32>,
    journal: Journal,
    expiry: Option<(WallTime, TimerId)>,
    idle: Option<TimerId>,
    is_writing_back: bool,
    is_blocking: bool,
}

#[derive(Clone, Debug)]
struct Channel {
    peer: NodeId,
    epoch: u32,
    confirms: bool,
    subscription: Option<Subscription>,
    /// What was delivered and not acknowledged, and when.
    unacked: BTreeMap<u64, (CopyId, SimTime)>,
    next_tag: u64,
    /// Publishes not confirmed yet.
    unconfirmed: BTreeSet<u64>,
    heartbeat: SimDuration,
    heart: Heart,
}

impl Channel {
    fn new(peer: NodeId, epoch: u32, confirms: bool, heartbeat: SimDuration) -> Self {
        Self {
            peer,
            epoch,
            confirms,
            subscription: None,
            unacked: BTreeMap::new(),
            next_tag: 1,
            unconfirmed: BTreeSet::new(),
            heartbeat,
            heart: Heart::default(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Subscription {
    prefetch: u32,
    auto_ack: bool,
}

/// Changes to the disk: some wait in memory, some for a sync.
#[derive(Clone, Debug, Default)]
struct Journal {
    /// Changes that the operating system does not have yet, by copy.
    gathered: BTreeMap<CopyId, DiskWrite>,
    /// The sync under way, and what waits for it.
    under_way: Option<(SyncId, Waiting)>,
    /// What waits for the next one.
    waiting: Waiting,
}

/// Copies whose publishers wait for a confirm: the channel, and the number of the publish.
type Waiting = BTreeMap<CopyId, (u32, u64)>;

impl Broker {
    pub(super) fn boot(version: &RabbitVersion, params: &QueueParams, disk: &Disk) -> Self {
        let order = match params.max_priority {
            0 => Order::Fifo,
            highest => Order::Priority(highest as u8),
        };
        // A queue that is not durable is gone after a restart, and its messages with it.
        let is_durable = params.durable;
        // "After restart, every message recovered carries redelivered=true": the classic queue
        // does not know what it had delivered.
        let survivors = disk.copies.values().filter(|_| is_durable);
        let survivors = survivors.map(|copy| Copy { is_redelivered: true, ..*copy }).collect();
        Self {
            durability: version.durability(),
            params: params.clone(),
            lease: Lease::Connection(params.consumer_timeout),
            store: Store::new(order, ReturnTo::Original, params.bound()),
            survivors,
            channels: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            next_channel: 0,
            turns: Turns::new(),
            journal: Journal::default(),
            expiry: None,
            idle: None,
            is_writing_back: false,
            is_blocking: false,
        }
    }

    pub(super) fn handle<N: Speaker>(&mut self, input: Input<N>, ctx: &mut Context<'_, N>) {
        match input {
            Input::Start => self.start(ctx),
            Input::Message { from, via, message } => self.hear(from, via, message, ctx),
            Input::Overload { from, via, message } => self.turn_away(from, via, &message, ctx),
            Input::Closed { peer, via, .. } => {
                if let Some(channel) = self.by_connection.remove(&(peer, via)) {
                    self.close(channel, Return::Given, ctx);
                }
            }
            Input::Synced(sync) => self.synced(sync, ctx),
            Input::Timer(timer) => self.due(timer, ctx),
            Input::Request(_) | Input::Signal(_) => (),
        }
    }

    fn start<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let survivors = std::mem::take(&mut self.survivors);
        self.store.recover(survivors, ctx);
        let Lease::Connection(longest) = self.lease;
        if longest != SimDuration::ZERO {
            ctx.set_timer(self.params.tick, Timer::Tick);
        }
    }

    fn due<N: Speaker>(&mut self, timer: Timer, ctx: &mut Context<'_, N>) {
        match timer {
            Timer::ChannelBeat(channel) => self.beat(channel, ctx),
            Timer::Tick => {
                self.close_the_late(ctx);
                ctx.set_timer(self.params.tick, Timer::Tick);
            }
            Timer::Idle => {
                self.idle = None;
                self.flush(ctx);
                if self.durability == Durability::Synced {
                    ctx.sync();
                }
            }
            Timer::WriteBack => {
                self.is_writing_back = false;
                ctx.sync();
            }
            Timer::Expire => {
                self.expiry = None;
                self.drop_expired_heads(ctx);
                self.await_expiry(ctx);
            }
            Timer::Link(_) | Timer::Work(_) | Timer::Beat | Timer::Respawn | Timer::Eta => {
                unreachable!("a broker sets no client's timer")
            }
        }
    }

    fn hear<N: Speaker>(
        &mut self,
        from: NodeId,
        via: Connection,
        Frame { epoch, body }: Frame,
        ctx: &mut Context<'_, N>,
    ) {
        if let Body::Open { confirms, heartbeat } = body {
            // The smaller of both wishes, unless one side wants none.
            let heartbeat = heartbeat.min(self.params.heartbeat);
            self.open((from, via), Channel::new(from, epoch, confirms, heartbeat), ctx);
            return;
        }
        let Some(&number) = self.by_connection.get(&(from, via)) else { return };
        let channel = self.channels.get_mut(&number).expect("a connection has its channel");
        channel.heart.hear();
        // A client may still speak of a channel that is closed.
        if channel.epoch != epoch {
            return;
        }
        match body {
            Body::Publish { seq, item, is_persistent } => {
                self.take_in(number, seq, item, is_persistent, ctx);
            }
            Body::Consume { prefetch, auto_ack } => {
                channel.subscription = Some(Subscription { prefetch, auto_ack });
                self.turns.join(number);
                self.deliver(ctx);
            }
            Body::Qos { prefetch } => {
                if let Some(subscription) = &mut channel.subscription {
                    subscription.prefetch = prefetch;
                }
                self.rejoin(number);
                self.deliver(ctx);
            }
            Body::Cancel => {
                channel.subscription = None;
                self.turns.leave(number);
            }
            Body::Ack { tag, multiple } => self.acknowledge(number, tag, multiple, ctx),
            Body::Reject { tag, requeue } => self.reject(number, tag, requeue, ctx),
            Body::Heartbeat => (),
            Body::Open { .. } => unreachable!("it was dealt with above"),
            Body::OpenOk
            | Body::Confirm { .. }
            | Body::Nack { .. }
            | Body::Blocked(_)
            | Body::Deliver { .. }
            | Body::ChannelClosed => unreachable!("only a broker says this"),
        }
    }

    fn open<N: Speaker>(
        &mut self,
        connection: (NodeId, Connection),
        channel: Channel,
        ctx: &mut Context<'_, N>,
    ) {
        // A client that opens a channel again on the same connection had the other closed.
        if let Some(old) = self.by_connection.remove(&connection) {
            self.close(old, Return::Given, ctx);
        }
        let number = self.next_channel;
        self.next_channel += 1;
        self.by_connection.insert(connection, number);
        let (peer, epoch, heartbeat) = (channel.peer, channel.epoch, channel.heartbeat);
        self.channels.insert(number, channel);
        ctx.send(peer, Frame { epoch, body: Body::OpenOk });
        if self.is_blocking {
            ctx.send(peer, Frame { epoch, body: Body::Blocked(true) });
        }
        if heartbeat != SimDuration::ZERO {
            ctx.set_timer(heartbeat.scale(1, 2), Timer::ChannelBeat(number));
        }
    }

    /// A channel is gone: what was not acknowledged on it is ready again.
    fn close<N: Speaker>(&mut self, number: u32, why: Return, ctx: &mut Context<'_, N>) {
        let channel = self.channels.remove(&number).expect("a connection has its channel");
        self.turns.leave(number);
        for (copy, _) in channel.unacked.values() {
            self.store.take_back(*copy, why, ctx);
        }
        self.let_overflow(ctx);
        self.deliver(ctx);
    }

    fn beat<N: Speaker>(&mut self, number: u32, ctx: &mut Context<'_, N>) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        let (peer, epoch, heartbeat) = (channel.peer, channel.epoch, channel.heartbeat);
        if channel.heart.beat() {
            self.hang_up(number, ctx);
            return;
        }
        ctx.send(peer, Frame { epoch, body: Body::Heartbeat });
        ctx.set_timer(heartbeat.scale(1, 2), Timer::ChannelBeat(number));
    }

    fn hang_up<N: Speaker>(&mut self, number: u32, ctx: &mut Context<'_, N>) {
        let connection = self.by_connection.iter().find(|&(_, &channel)| channel == number);
        let connection = *connection.expect("a channel has its connection").0;
        self.by_connection.remove(&connection);
        ctx.disconnect(connection.0);
        self.close(number, Return::Given, ctx);
    }

    /// Closes every channel with a delivery that has gone without an acknowledgement for too long
    /// (`rabbit_channel.erl`, `evaluate_consumer_timeout`).
    fn close_the_late<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let Lease::Connection(longest) = self.lease;
        let now = ctx.now();
        let is_late = |channel: &Channel| {
            channel.unacked.values().next().is_some_and(|&(_, since)| longest < now.since(since))
        };
        let late: Vec<((NodeId, Connection), u32)> = self
            .by_connection
            .iter()
            .filter(|&(_, number)| is_late(&self.channels[number]))
            .map(|(&connection, &number)| (connection, number))
            .collect();
        for (connection, number) in late {
            self.by_connection.remove(&connection);
            let epoch = self.channels[&number].epoch;
            ctx.send(connection.0, Frame { epoch, body: Body::ChannelClosed });
            self.close(number, Return::Lapsed, ctx);
        }
    }

    /// A publish arrived.
    fn take_in<N: Speaker>(
        &mut self,
        number: u32,
        seq: u64,
        item: Item,
        is_persistent: bool,
        ctx: &mut Context<'_, N>,
    ) {
        let channel = &self.channels[&number];
        let (peer, epoch, confirms) = (channel.peer, channel.epoch, channel.confirms);
        let ttl = self.params.ttl.unwrap_or(SimDuration::MAX).min(item.ttl);
        let expires = expiry(ctx.wall(), ttl);
        let is_durable = is_persistent && self.params.durable;
        let id = match self.store.put(item, is_durable, expires, ctx) {
            Admission::Stored(id) => id,
            Admission::Refused => {
                if confirms {
                    ctx.send(peer, Frame { epoch, body: Body::Nack { seq } });
                }
                return;
            }
        };
        if is_durable {
            let copy =
                Copy { id, item, expires, is_durable, return_count: 0, is_redelivered: false };
            self.journal.gathered.insert(id, DiskWrite::Put(copy));
            if confirms {
                self.channel(number).unconfirmed.insert(seq);
                self.journal.waiting.insert(id, (number, seq));
            }
        }
        self.deliver(ctx);
        self.let_overflow(ctx);
        ctx.reach("stored");
        if !confirms {
            self.gathered_more(ctx);
        } else if !is_durable {
            ctx.send(peer, Frame { epoch, body: Body::Confirm { seq, multiple: false } });
        } else {
            self.confirm_when_safe(ctx);
        }
        self.heed_memory(ctx);
    }

    fn turn_away<N: Speaker>(
        &mut self,
        from: NodeId,
        via: Connection,
        message: &Frame,
        ctx: &mut Context<'_, N>,
    ) {
        let Some(number) = self.by_connection.get(&(from, via)) else { return };
        let channel = &self.channels[number];
        if let (Body::Publish { seq, .. }, true) = (&message.body, channel.confirms) {
            let body = Body::Nack { seq: *seq };
            ctx.send(from, Frame { epoch: channel.epoch, body });
        }
    }

    fn channel(&mut self, number: u32) -> &mut Channel {
        self.channels.get_mut(&number).expect("the channel is open")
    }

    /// Gives ready messages to consumers in turn, as long as both last.
    fn deliver<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.drop_expired_heads(ctx);
        while 0 < self.store.ready_count() {
            let Some(number) = self.turns.next() else { break };
            let now = ctx.now();
            let channel = self.channels.get_mut(&number).expect("who waits has a channel");
            let subscription = channel.subscription.expect("who waits has subscribed");
            let handed = self.store.hand(channel.peer, subscription.auto_ack, ctx);
            let copy = handed.expect("a message is ready");
            let tag = channel.next_tag;
            channel.next_tag += 1;
            if subscription.auto_ack {
                self.forget(copy.id, ctx);
            } else {
                let channel = self.channel(number);
                channel.unacked.insert(tag, (copy.id, now));
            }
            let channel = &self.channels[&number];
            let body = Body::Deliver {
                tag,
                item: copy.item,
                is_redelivered: copy.is_redelivered,
                times: copy.return_count,
            };
            ctx.send(channel.peer, Frame { epoch: channel.epoch, body });
            self.rejoin(number);
            self.drop_expired_heads(ctx);
        }
        self.await_expiry(ctx);
        self.heed_memory(ctx);
    }

    /// A consumer waits for its turn again, if it has credit.
    fn rejoin(&mut self, number: u32) {
        let channel = &self.channels[&number];
        let Some(subscription) = channel.subscription else { return };
        let has_credit = subscription.auto_ack
            || subscription.prefetch == 0
            || (channel.unacked.len() as u64) < u64::from(subscription.prefetch);
        if has_credit {
            self.turns.join(number);
        } else {
            self.turns.leave(number);
        }
    }

    fn acknowledge<N: Speaker>(
        &mut self,
        number: u32,
        tag: u64,
        multiple: bool,
        ctx: &mut Context<'_, N>,
    ) {
        let channel = self.channel(number);
        let tags: Vec<u64> = if multiple {
            channel.unacked.range(..=tag).map(|(&tag, _)| tag).collect()
        } else {
            vec![tag]
        };
        for tag in tags {
            let Some((copy, _)) = self.channel(number).unacked.remove(&tag) else { continue };
            self.store.settle(copy, ctx);
            self.forget(copy, ctx);
        }
        self.rejoin(number);
        self.deliver(ctx);
    }

    fn reject<N: Speaker>(
        &mut self,
        number: u32,
        tag: u64,
        requeue: bool,
        ctx: &mut Context<'_, N>,
    ) {
        let Some((id, _)) = self.channel(number).unacked.remove(&tag) else { return };
        if requeue {
            self.store.take_back(id, Return::Given, ctx);
            self.let_overflow(ctx);
        } else if let Some(copy) = self.store.withdraw(id) {
            tell_death(&copy, Death::Rejected, true, self.params.dead_letter, ctx);
            self.forget(id, ctx);
        }
        self.rejoin(number);
        self.deliver(ctx);
    }

    /// Lets go what is too much.
    fn let_overflow<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        while let Some(copy) = self.store.overflowing() {
            tell_death(&copy, Death::Overflow, false, self.params.dead_letter, ctx);
            self.forget(copy.id, ctx);
        }
    }

    fn drop_expired_heads<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let now = ctx.wall();
        while let Some(copy) = self.store.expired(now) {
            tell_death(&copy, Death::Expired, false, self.params.dead_letter, ctx);
            self.forget(copy.id, ctx);
        }
    }

    /// Sets a timer for the next head to expire.
    fn await_expiry<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let next = self.store.next_expiry();
        if next == self.expiry.map(|(at, _)| at) {
            return;
        }
        if let Some((_, timer)) = self.expiry.take() {
            ctx.cancel_timer(timer);
        }
        if let Some(at) = next {
            let left = at.0.saturating_sub(ctx.wall().0).max(0);
            let timer = ctx.set_timer(SimDuration::from_ns(left as u64), Timer::Expire);
            self.expiry = Some((at, timer));
        }
    }

    /// Blocks publishers while the queue takes too much memory.
    fn heed_memory<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let Some(limit) = self.params.memory_limit else { return };
        let is_over = limit.0 < self.store.bytes();
        if is_over != self.is_blocking {
            self.is_blocking = is_over;
            for channel in self.channels.values() {
                let frame = Frame { epoch: channel.epoch, body: Body::Blocked(is_over) };
                ctx.send(channel.peer, frame);
            }
        }
    }

    /// A message is gone from the queue: it need not survive any more.
    fn forget<N: Speaker>(&mut self, id: CopyId, ctx: &mut Context<'_, N>) {
        if !self.params.durable {
            return;
        }
        match self.journal.gathered.get(&id) {
            Some(DiskWrite::Put(_)) => {
                self.journal.gathered.remove(&id);
            }
            Some(DiskWrite::Remove(_)) => (),
            None => {
                self.journal.gathered.insert(id, DiskWrite::Remove(id));
                self.gathered_more(ctx);
            }
        }
        // What has been consumed is as safe as it will ever be.
        if let Some((number, seq)) = self.journal.waiting.remove(&id) {
            self.confirm(number, vec![seq], ctx);
        }
    }

    /// Changes that nobody waits for are written when there are many, or when nothing happens for
    /// a while (`rabbit_amqqueue_process.erl`: `SYNC_INTERVAL`, 200 ms).
    fn gathered_more<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        if self.journal.gathered.is_empty() {
            return;
        }
        if self.params.journal as usize <= self.journal.gathered.len() {
            self.flush(ctx);
            return;
        }
        if let Some(timer) = self.idle.take() {
            ctx.cancel_timer(timer);
        }
        self.idle = Some(ctx.set_timer(SYNC_INTERVAL, Timer::Idle));
    }

    /// Hands everything gathered to the operating system.
    fn flush<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        if let Some(timer) = self.idle.take() {
            ctx.cancel_timer(timer);
        }
        if self.journal.gathered.is_empty() {
            return;
        }
        for write in std::mem::take(&mut self.journal.gathered).into_values() {
            ctx.write(write);
        }
        if self.durability == Durability::OsCache && !self.is_writing_back {
            self.is_writing_back = true;
            ctx.set_timer(WRITE_BACK, Timer::WriteBack);
        }
    }

    /// Sees to it that what waits for a confirm gets one.
    fn confirm_when_safe<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        match self.durability {
            Durability::OsCache => {
                self.flush(ctx);
                let waiting = std::mem::take(&mut self.journal.waiting);
                self.confirm_all(waiting, ctx);
            }
            Durability::Synced => self.sync(ctx),
        }
    }

    /// Syncs, if somebody waits for it and nothing is being synced: what comes meanwhile shares
    /// the next sync.
    fn sync<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        if self.journal.waiting.is_empty() || self.journal.under_way.is_some() {
            return;
        }
        self.flush(ctx);
        let covered = std::mem::take(&mut self.journal.waiting);
        self.journal.under_way = Some((ctx.sync(), covered));
    }

    fn synced<N: Speaker>(&mut self, sync: SyncId, ctx: &mut Context<'_, N>) {
        // There are others, for which nobody waits.
        let Some((under_way, _)) = &self.journal.under_way else { return };
        if *under_way != sync {
            return;
        }
        let (_, covered) = self.journal.under_way.take().expect("it was just seen");
        self.confirm_all(covered, ctx);
        self.sync(ctx);
    }

    fn confirm_all<N: Speaker>(&mut self, covered: Waiting, ctx: &mut Context<'_, N>) {
        let mut by_channel: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
        for (number, seq) in covered.into_values() {
            by_channel.entry(number).or_default().push(seq);
        }
        for (number, seqs) in by_channel {
            self.confirm(number, seqs, ctx);
        }
    }

    /// Confirms publishes, in one message where none before them is left
    /// (`rabbit_channel.erl`, `coalesce_and_send`).
    fn confirm<N: Speaker>(&mut self, number: u32, seqs: Vec<u64>, ctx: &mut Context<'_, N>) {
        let Some(channel) = self.channels.get_mut(&number) else { return };
        for seq in &seqs {
            channel.unconfirmed.remove(seq);
        }
        let oldest_left = channel.unconfirmed.first().copied().unwrap_or(u64::MAX);
        let (together, single): (Vec<u64>, Vec<u64>) =
            seqs.into_iter().partition(|&seq| seq < oldest_left);
        let (peer, epoch) = (channel.peer, channel.epoch);
        if let Some(&seq) = together.iter().max() {
            let multiple = 1 < together.len();
            ctx.send(peer, Frame { epoch, body: Body::Confirm { seq, multiple } });
        }
        for seq in single {
            ctx.send(peer, Frame { epoch, body: Body::Confirm { seq, multiple: false } });
        }
    }
}

/// How a publisher behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct PublisherRules {
    /// Whether it asks for confirms.
    pub(super) confirms: bool,
    /// Whether its messages are persistent.
    pub(super) persistent: bool,
    /// After how many failed tries to connect it gives up what it has; `None` for never.
    pub(super) retries: Option<u32>,
    /// How long it pauses between tries.
    pub(super) backoff: Backoff,
    /// Its heartbeat; zero for none.
    pub(super) heartbeat: SimDuration,
    /// Whether, without confirms, a connection that breaks right after a publish was written shows
    /// as an error of that publish, which is then tried again.
    pub(super) sees_error: bool,
}

/// Publishes messages and keeps those that were not confirmed, to send them again.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    rules: PublisherRules,
    link: Link,
    heart: Heart,
    next_seq: u64,
    /// Sent, and not confirmed.
    outstanding: BTreeMap<u64, Item>,
    /// Not sent yet, or to be sent again.
    queue: VecDeque<Item>,
    /// What was written last without asking for a confirm, and when.
    written: Option<(SimTime, Item)>,
    is_blocked: bool,
}

impl Publisher {
    /// One that publishes by any of `brokers`, the first of them first.
    pub(super) fn new(rules: PublisherRules, brokers: &[NodeId]) -> Self {
        Self {
            rules,
            link: Link::among(brokers, rules.backoff),
            heart: Heart::default(),
            next_seq: 1,
            outstanding: BTreeMap::new(),
            queue: VecDeque::new(),
            written: None,
            is_blocked: false,
        }
    }

    pub(super) fn handle<N: Speaker<Request = super::Request>>(
        &mut self,
        input: Input<N>,
        ctx: &mut Context<'_, N>,
    ) {
        match input {
            Input::Start => {
                self.connect(ctx);
                if self.rules.heartbeat != SimDuration::ZERO {
                    ctx.set_timer(self.rules.heartbeat.scale(1, 2), Timer::Beat);
                }
            }
            Input::Request(super::Request::Publish(item)) => {
                self.queue.push_back(item);
                if self.link.is_down() {
                    self.connect(ctx);
                }
                self.send_queue(ctx);
            }
            Input::Message { via, message, .. } => self.hear(via, message, ctx),
            Input::Closed { peer, via, .. } => {
                if peer == self.link.broker() && self.link.closed(via, ctx) {
                    self.lost(ctx);
                }
            }
            Input::Timer(Timer::Link(LinkTimer::Retry)) => self.connect(ctx),
            Input::Timer(Timer::Link(LinkTimer::Timeout)) => {
                self.link.fail(ctx);
                ctx.disconnect(self.link.broker());
                self.lost(ctx);
            }
            Input::Timer(Timer::Beat) => self.beat(ctx),
            Input::Timer(_) => unreachable!("a publisher sets no other timer"),
            Input::Request(super::Request::Answer { .. })
            | Input::Overload { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }

    fn connect<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let body = Body::Open { confirms: self.rules.confirms, heartbeat: self.rules.heartbeat };
        self.heart = Heart::default();
        self.link.open(ctx, |epoch| Frame { epoch, body });
    }

    fn hear<N: Speaker>(&mut self, via: Connection, frame: Frame, ctx: &mut Context<'_, N>) {
        if frame.epoch != self.link.epoch() {
            return;
        }
        self.heart.hear();
        match frame.body {
            Body::OpenOk => self.opened(frame.epoch, via, ctx),
            Body::Confirm { seq, multiple } => {
                let first = if multiple { 0 } else { seq };
                let seqs: Vec<u64> =
                    self.outstanding.range(first..=seq).map(|(&seq, _)| seq).collect();
                for seq in seqs {
                    let item = self.outstanding.remove(&seq).expect("it was just seen");
                    ctx.indicate(Indication::Confirmed(item.serial));
                }
            }
            Body::Nack { seq } => {
                if let Some(item) = self.outstanding.remove(&seq) {
                    ctx.indicate(Indication::Refused(item.serial));
                }
            }
            Body::Blocked(is_blocked) => {
                self.is_blocked = is_blocked;
                self.send_queue(ctx);
            }
            _ => (),
        }
    }

    fn opened<N: Speaker>(&mut self, epoch: u32, via: Connection, ctx: &mut Context<'_, N>) {
        if self.link.opened(epoch, via, ctx) {
            self.next_seq = 1;
            self.is_blocked = false;
            self.send_queue(ctx);
        }
    }

    fn send_queue<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        while self.link.is_open() && !self.is_blocked {
            let Some(item) = self.queue.pop_front() else { return };
            let seq = self.next_seq;
            self.next_seq += 1;
            let is_persistent = self.rules.persistent;
            let body = Body::Publish { seq, item, is_persistent };
            ctx.send(self.link.broker(), Frame { epoch: self.link.epoch(), body });
            let is_kept = self.rules.confirms;
            if is_kept {
                self.outstanding.insert(seq, item);
            } else {
                self.written = Some((ctx.now(), item));
            }
            ctx.indicate(Indication::Sent { serial: item.serial, is_kept });
            ctx.reach("sent");
        }
    }

    /// The connection is gone. What was not confirmed may or may not have been stored: it is sent
    /// again, before everything else, in its order.
    fn lost<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.link.move_on();
        for (_, item) in std::mem::take(&mut self.outstanding).into_iter().rev() {
            self.queue.push_front(item);
        }
        if let Some((at, item)) = self.written.take()
            && self.rules.sees_error
            && ctx.now().since(at) <= WRITE_ERROR
        {
            self.queue.push_front(item);
        }
        let is_over = self.rules.retries.is_some_and(|most| most < self.link.failure_count());
        if is_over {
            for item in self.queue.drain(..) {
                ctx.indicate(Indication::GaveUp(item.serial));
            }
        }
        // Who gives up connects again when there is something to publish.
        if self.rules.retries.is_none() || !self.queue.is_empty() {
            self.link.try_later(ctx);
        } else if is_over {
            self.link.hang_up(ctx);
        }
    }

    fn beat<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.set_timer(self.rules.heartbeat.scale(1, 2), Timer::Beat);
        if !self.link.is_open() {
            return;
        }
        if self.heart.beat() {
            self.link.hang_up(ctx);
            self.lost(ctx);
        } else {
            let frame = Frame { epoch: self.link.epoch(), body: Body::Heartbeat };
            ctx.send(self.link.broker(), frame);
        }
    }
}

/// How long after a write a broken connection may still show as its error: what a round trip within
/// a site takes, generously.
const WRITE_ERROR: SimDuration = SimDuration::from_ms(10);

/// After how long without anything to do changes are written that nobody waits for.
const SYNC_INTERVAL: SimDuration = SimDuration::from_ms(200);

/// After how long Linux writes a dirty page to the disk
/// (`vm.dirty_expire_centisecs`, Documentation/admin-guide/sysctl/vm.rst).
pub(super) const WRITE_BACK: SimDuration = SimDuration::from_secs(30);
