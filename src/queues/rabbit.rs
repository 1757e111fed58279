//! A cluster of RabbitMQ servers with plain clients: what quorum queues and mirrored queues have in
//! common.
//!
//! A client may be with any server. The channel process on that server ([`Front`]) speaks AMQP with it
//! and asks the queue, which is led elsewhere perhaps, on its behalf. Read: rabbitmq-server v3.13.7 and
//! v4.1.0, `rabbit_channel.erl`, `rabbit_queue_type.erl`. Clients are those of `amqp_classic.rs`; they
//! are spread over the servers, and one whose server is gone tries the next.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Connection, Context, Input, Node, NodeId, Output, Stable, Wire};

use super::amqp::{self, Body, Frame, QueueParams};
use super::amqp_classic::{self, AmqpClassic, AmqpClassicParams};
use super::broker::Return;
use super::link::{Heart, spread};
use super::work::Work;
use super::{Indication, Item, Part, Request};

/// What a server of the cluster is.
pub(super) trait Server: Sized + Debug {
    /// Its settings.
    type Setup: Debug + Clone;
    /// Its disk.
    type Disk: Stable;
    /// What servers tell each other.
    type Talk: Wire;
    /// What it reminds itself of, beside its channels.
    type Timer: Debug;

    fn boot(setup: &Self::Setup, disk: &Self::Disk) -> Self;
    fn handle(&mut self, input: Input<Clustered<Self>>, ctx: &mut Ctx<'_, Self>);
}

/// What a server of the cluster does everything by.
pub(super) type Ctx<'a, S> = Context<'a, Clustered<S>>;

/// A node of such a cluster.
#[derive(Debug)]
pub(super) enum Clustered<S> {
    Server(Box<S>),
    Client(Box<AmqpClassic>),
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role<S: Server> {
    Server(S::Setup),
    Client(amqp_classic::Role),
}

impl<S: Server> Role<S> {
    /// The client that plays `part`.
    pub(super) fn client(
        params: &AmqpClassicParams,
        part: Part,
        work: &Work,
        brokers: &[NodeId],
    ) -> Self {
        Self::Client(amqp_classic::Role::client(params, part, work, spread(part, brokers)))
    }
}

/// A message between two nodes.
#[derive(Clone, Debug)]
pub(super) enum Message<T> {
    /// Between a client and a server.
    Amqp(Frame),
    /// Between servers.
    Talk(T),
}

impl<T: Wire> Wire for Message<T> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Amqp(frame) => frame.kind(),
            Self::Talk(talk) => talk.kind(),
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Amqp(frame) => frame.size_bytes(),
            Self::Talk(talk) => talk.size_bytes(),
        }
    }

    fn needs_service(&self) -> bool {
        match self {
            Self::Amqp(frame) => frame.needs_service(),
            Self::Talk(talk) => talk.needs_service(),
        }
    }
}

/// What a node reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer<T> {
    Client(amqp::Timer),
    /// Half a heartbeat is over, on one of the server's channels.
    Beat(u32),
    /// The server looks for deliveries that nobody has acknowledged for too long.
    Tick,
    Server(T),
}

impl<S: Server> Node for Clustered<S> {
    type Role = Role<S>;
    type Stable = S::Disk;
    type Request = Request;
    type Indication = Indication;
    type Message = Message<S::Talk>;
    type Timer = Timer<S::Timer>;

    fn boot(role: &Role<S>, disk: &S::Disk) -> Self {
        match role {
            Role::Server(setup) => Self::Server(Box::new(S::boot(setup, disk))),
            Role::Client(role) => {
                Self::Client(Box::new(AmqpClassic::boot(role, &amqp::Disk::default())))
            }
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_, S>) {
        match self {
            Self::Server(server) => server.handle(input, ctx),
            Self::Client(client) => {
                if let Some(input) = for_client(input) {
                    ctx.with_part(&mut **client, input, from_client);
                }
            }
        }
    }
}

/// What a client hears of it.
fn for_client<S: Server>(input: Input<Clustered<S>>) -> Option<Input<AmqpClassic>> {
    Some(match input {
        Input::Start => Input::Start,
        Input::Request(request) => Input::Request(request),
        Input::Message { from, via, message: Message::Amqp(message) } => {
            Input::Message { from, via, message }
        }
        Input::Closed { peer, via, why } => Input::Closed { peer, via, why },
        Input::Timer(Timer::Client(timer)) => Input::Timer(timer),
        Input::Signal(signal) => Input::Signal(signal),
        Input::Message { .. } | Input::Overload { .. } | Input::Timer(_) | Input::Synced(_) => {
            return None;
        }
    })
}

fn from_client<S: Server>(output: Output<AmqpClassic>) -> Output<Clustered<S>> {
    match output {
        Output::Indicate(told) => Output::Indicate(told),
        Output::Send { to, message } => Output::Send { to, message: Message::Amqp(message) },
        Output::Disconnect { peer } => Output::Disconnect { peer },
        Output::SetTimer { id, after, timer } => {
            Output::SetTimer { id, after, timer: Timer::Client(timer) }
        }
        Output::CancelTimer(id) => Output::CancelTimer(id),
        Output::Sync(id) => Output::Sync(id),
        Output::Reach(point) => Output::Reach(point),
        Output::Write(_) => unreachable!("a client writes nothing to disk"),
    }
}

/// Names a channel in the whole cluster, and for ever.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct ChannelId {
    /// The server.
    pub(super) node: NodeId,
    /// When that started.
    pub(super) boot: SimTime,
    /// Counts its channels.
    pub(super) number: u32,
    /// With whom it is.
    pub(super) client: NodeId,
}

/// What a channel asks of the queue.
#[derive(Clone, Debug)]
pub(super) enum Ask {
    /// It is there, and wants to publish perhaps.
    Opened,
    Publish {
        seq: u64,
        item: Item,
        is_persistent: bool,
    },
    /// It wants deliveries, or others than before; a prefetch of 0 is no limit.
    Consume {
        prefetch: u32,
        auto_ack: bool,
    },
    Cancel,
    /// These deliveries are acknowledged, by the numbers that the queue gave them.
    Settle(Vec<u64>),
    /// These come back.
    Return(Vec<u64>),
    /// These are refused for good.
    Discard(Vec<u64>),
    /// The channel is gone.
    Gone(Return),
}

/// The channels of one server.
#[derive(Clone, Debug)]
pub(super) struct Front {
    params: QueueParams,
    node: NodeId,
    boot: SimTime,
    channels: BTreeMap<u32, Channel>,
    by_connection: BTreeMap<(NodeId, Connection), u32>,
    next: u32,
}

#[derive(Clone, Debug)]
struct Channel {
    peer: NodeId,
    epoch: u32,
    confirms: bool,
    subscription: Option<(u32, bool)>,
    /// What was delivered and not acknowledged: its number at the queue, and when.
    unacked: BTreeMap<u64, (u64, SimTime)>,
    next_tag: u64,
    heartbeat: SimDuration,
    heart: Heart,
}

/// What channels ask of the queue, in order.
pub(super) type Asks = Vec<(ChannelId, Ask)>;

impl Front {
    pub(super) fn new(params: &QueueParams) -> Self {
        Self {
            params: params.clone(),
            node: NodeId(0),
            boot: SimTime::ZERO,
            channels: BTreeMap::new(),
            by_connection: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn start<S: Server>(&mut self, ctx: &mut Ctx<'_, S>) {
        (self.node, self.boot) = (ctx.id(), ctx.now());
        if self.params.consumer_timeout != SimDuration::ZERO {
            ctx.set_timer(self.params.tick, Timer::Tick);
        }
    }

    /// When this server started.
    pub(super) const fn boot(&self) -> SimTime {
        self.boot
    }

    /// What `channel` may have unacknowledged, and whether deliveries count as acknowledged; nothing
    /// where it is gone or takes none.
    pub(super) fn subscription(&self, channel: ChannelId) -> Option<(u32, bool)> {
        self.here(channel).and_then(|channel| channel.subscription)
    }

    /// Whether `channel` wants to hear what became of its publishes; nothing where it is gone.
    pub(super) fn confirms(&self, channel: ChannelId) -> Option<bool> {
        self.here(channel).map(|channel| channel.confirms)
    }

    /// All that are open.
    pub(super) fn channels(&self) -> Vec<ChannelId> {
        self.channels.keys().map(|&number| self.name(number)).collect()
    }

    fn name(&self, number: u32) -> ChannelId {
        let client = self.channels[&number].peer;
        ChannelId { node: self.node, boot: self.boot, number, client }
    }

    fn here(&self, channel: ChannelId) -> Option<&Channel> {
        let is_here = (channel.node, channel.boot) == (self.node, self.boot);
        self.channels.get(&channel.number).filter(|_| is_here)
    }

    /// A client speaks.
    pub(super) fn hear<S: Server>(
        &mut self,
        from: NodeId,
        via: Connection,
        Frame { epoch, body }: Frame,
        ctx: &mut Ctx<'_, S>,
    ) -> Asks {
        if let Body::Open { confirms, heartbeat } = body {
            // The smaller of both wishes, unless one side wants none.
            let heartbeat = heartbeat.min(self.params.heartbeat);
            return self.open((from, via), epoch, confirms, heartbeat, ctx);
        }
        let Some(&number) = self.by_connection.get(&(from, via)) else { return Vec::new() };
        let name = self.name(number);
        let channel = self.channels.get_mut(&number).expect("a connection has its channel");
        channel.heart.hear();
        // A client may still speak of a channel that is closed.
        if channel.epoch != epoch {
            return Vec::new();
        }
        let ask = match body {
            Body::Publish { seq, item, is_persistent } => Ask::Publish { seq, item, is_persistent },
            Body::Consume { prefetch, auto_ack } => {
                channel.subscription = Some((prefetch, auto_ack));
                Ask::Consume { prefetch, auto_ack }
            }
            Body::Qos { prefetch } => match &mut channel.subscription {
                Some(subscription) => {
                    subscription.0 = prefetch;
                    Ask::Consume { prefetch, auto_ack: subscription.1 }
                }
                None => return Vec::new(),
            },
            Body::Cancel => {
                channel.subscription = None;
                Ask::Cancel
            }
            Body::Ack { tag, multiple } => {
                let first = if multiple { 0 } else { tag };
                let tags: Vec<u64> =
                    channel.unacked.range(first..=tag).map(|(&tag, _)| tag).collect();
                let taken = tags.iter().filter_map(|tag| channel.unacked.remove(tag));
                Ask::Settle(taken.map(|(id, _)| id).collect())
            }
            Body::Reject { tag, requeue } => match channel.unacked.remove(&tag) {
                Some((id, _)) if requeue => Ask::Return(vec![id]),
                Some((id, _)) => Ask::Discard(vec![id]),
                None => return Vec::new(),
            },
            Body::Heartbeat => return Vec::new(),
            Body::Open { .. } => unreachable!("it was dealt with above"),
            Body::OpenOk
            | Body::Confirm { .. }
            | Body::Nack { .. }
            | Body::Blocked(_)
            | Body::Deliver { .. }
            | Body::ChannelClosed => unreachable!("only a server says this"),
        };
        vec![(name, ask)]
    }

    fn open<S: Server>(
        &mut self,
        connection: (NodeId, Connection),
        epoch: u32,
        confirms: bool,
        heartbeat: SimDuration,
        ctx: &mut Ctx<'_, S>,
    ) -> Asks {
        // A client that opens a channel again on the same connection had the other closed.
        let mut asks = self.closed(connection.0, connection.1);
        let number = self.next;
        self.next += 1;
        let channel = Channel {
            peer: connection.0,
            epoch,
            confirms,
            subscription: None,
            unacked: BTreeMap::new(),
            next_tag: 1,
            heartbeat,
            heart: Heart::default(),
        };
        self.by_connection.insert(connection, number);
        self.channels.insert(number, channel);
        self.say(number, Body::OpenOk, ctx);
        if heartbeat != SimDuration::ZERO {
            ctx.set_timer(heartbeat.scale(1, 2), Timer::Beat(number));
        }
        asks.push((self.name(number), Ask::Opened));
        asks
    }

    fn say<S: Server>(&self, number: u32, body: Body, ctx: &mut Ctx<'_, S>) {
        let channel = &self.channels[&number];
        ctx.send(channel.peer, Message::Amqp(Frame { epoch: channel.epoch, body }));
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, peer: NodeId, via: Connection) -> Asks {
        let Some(number) = self.by_connection.remove(&(peer, via)) else { return Vec::new() };
        let name = self.name(number);
        self.channels.remove(&number);
        vec![(name, Ask::Gone(Return::Given))]
    }

    /// Closes every connection, as a server does that stops.
    pub(super) fn hang_up_all<S: Server>(&mut self, ctx: &mut Ctx<'_, S>) -> Asks {
        let all: Vec<(NodeId, Connection)> = self.by_connection.keys().copied().collect();
        all.into_iter()
            .flat_map(|(peer, via)| {
                ctx.disconnect(peer);
                self.closed(peer, via)
            })
            .collect()
    }

    /// Half a heartbeat is over.
    pub(super) fn beat<S: Server>(&mut self, number: u32, ctx: &mut Ctx<'_, S>) -> Asks {
        let Some(channel) = self.channels.get_mut(&number) else { return Vec::new() };
        let (peer, heartbeat) = (channel.peer, channel.heartbeat);
        if channel.heart.beat() {
            let connection = self.by_connection.iter().find(|&(_, &other)| other == number);
            let via = connection.expect("a channel has its connection").0.1;
            ctx.disconnect(peer);
            return self.closed(peer, via);
        }
        self.say(number, Body::Heartbeat, ctx);
        ctx.set_timer(heartbeat.scale(1, 2), Timer::Beat(number));
        Vec::new()
    }

    /// Closes every channel with a delivery that has gone without an acknowledgement for too long
    /// (`rabbit_channel.erl`, `evaluate_consumer_timeout`).
    pub(super) fn tick<S: Server>(&mut self, ctx: &mut Ctx<'_, S>) -> Asks {
        ctx.set_timer(self.params.tick, Timer::Tick);
        let (now, longest) = (ctx.now(), self.params.consumer_timeout);
        let is_late = |channel: &Channel| {
            channel.unacked.values().next().is_some_and(|&(_, since)| longest < now.since(since))
        };
        let late: Vec<((NodeId, Connection), u32)> = self
            .by_connection
            .iter()
            .filter(|&(_, number)| is_late(&self.channels[number]))
            .map(|(&connection, &number)| (connection, number))
            .collect();
        let mut asks = Vec::new();
        for (connection, number) in late {
            self.say(number, Body::ChannelClosed, ctx);
            asks.push((self.name(number), Ask::Gone(Return::Lapsed)));
            self.by_connection.remove(&connection);
            self.channels.remove(&number);
        }
        asks
    }

    /// The queue has handed a message to `channel`, under the number `id`. Whether it is there.
    pub(super) fn deliver<S: Server>(
        &mut self,
        channel: ChannelId,
        id: u64,
        (item, is_redelivered, times): (Item, bool, u32),
        ctx: &mut Ctx<'_, S>,
    ) -> bool {
        if self.here(channel).is_none() {
            return false;
        }
        let now = ctx.now();
        let here = self.channels.get_mut(&channel.number).expect("it was just seen");
        let tag = here.next_tag;
        here.next_tag += 1;
        if here.subscription.is_none_or(|(_, auto_ack)| !auto_ack) {
            here.unacked.insert(tag, (id, now));
        }
        self.say(channel.number, Body::Deliver { tag, item, is_redelivered, times }, ctx);
        true
    }

    /// The queue has made a publish of `channel` safe.
    pub(super) fn confirm<S: Server>(&self, channel: ChannelId, seq: u64, ctx: &mut Ctx<'_, S>) {
        if self.confirms(channel) == Some(true) {
            self.say(channel.number, Body::Confirm { seq, multiple: false }, ctx);
        }
    }

    /// The queue does not take a publish of `channel`.
    pub(super) fn nack<S: Server>(&self, channel: ChannelId, seq: u64, ctx: &mut Ctx<'_, S>) {
        if self.confirms(channel) == Some(true) {
            self.say(channel.number, Body::Nack { seq }, ctx);
        }
    }

    /// The station was too full for a message.
    pub(super) fn turn_away<S: Server>(
        &self,
        from: NodeId,
        via: Connection,
        message: &Frame,
        ctx: &mut Ctx<'_, S>,
    ) {
        let Some(&number) = self.by_connection.get(&(from, via)) else { return };
        if let Body::Publish { seq, .. } = message.body {
            self.nack(self.name(number), seq, ctx);
        }
    }
}

/// What the channels of a server have asked of the queue and not heard to be done: it is sent again
/// where another server leads (`rabbit_fifo_client.erl`; for mirrored queues what was sent to all
/// mirrors in the first place).
#[derive(Clone, Debug)]
pub(super) struct Sessions<O>(BTreeMap<ChannelId, Session<O>>);

/// A channel as a client of the queue.
#[derive(Clone, Debug)]
pub(super) struct Session<O> {
    next_number: u64,
    pending: BTreeMap<u64, Pending<O>>,
    /// How many messages it has published.
    pub(super) published: u64,
    /// Whether it was told not to publish more.
    pub(super) is_blocked: bool,
    /// The number of its next delivery, where the queue counts them.
    pub(super) next_delivery: u64,
}

/// A command of which the channel has not heard that it was done.
#[derive(Clone, Debug)]
pub(super) struct Pending<O> {
    pub(super) op: O,
    /// The publish that it stands for.
    pub(super) seq: Option<u64>,
    pub(super) since: SimTime,
}

impl<O: Clone> Sessions<O> {
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// A channel is there.
    pub(super) fn open(&mut self, channel: ChannelId) {
        let session = Session {
            next_number: 1,
            pending: BTreeMap::new(),
            published: 0,
            is_blocked: false,
            next_delivery: 0,
        };
        self.0.insert(channel, session);
    }

    pub(super) fn get(&self, channel: ChannelId) -> Option<&Session<O>> {
        self.0.get(&channel)
    }

    pub(super) fn get_mut(&mut self, channel: ChannelId) -> Option<&mut Session<O>> {
        self.0.get_mut(&channel)
    }

    pub(super) fn close(&mut self, channel: ChannelId) {
        self.0.remove(&channel);
    }

    /// Those commands that `are_due`, each channel's in their order.
    pub(super) fn due(&self, is_due: impl Fn(&Pending<O>) -> bool) -> Vec<(u64, O)> {
        let all = self.0.values().flat_map(|session| &session.pending);
        let due = all.filter(|(_, pending)| is_due(pending));
        due.map(|(&number, pending)| (number, pending.op.clone())).collect()
    }
}

impl<O> Session<O> {
    /// Keeps a command until it is done; its number.
    pub(super) fn keep(&mut self, op: O, seq: Option<u64>, since: SimTime) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.pending.insert(number, Pending { op, seq, since });
        number
    }

    /// That command is done.
    pub(super) fn done(&mut self, number: u64) -> Option<Pending<O>> {
        self.pending.remove(&number)
    }

    /// The channel is gone, and what it wanted with it.
    pub(super) fn drop_all(&mut self) {
        self.pending.clear();
    }
}
