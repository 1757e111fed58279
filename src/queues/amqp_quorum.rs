//! RabbitMQ's quorum queue with plain clients: a queue on a replicated log.
//!
//! A message is confirmed when a majority of the servers has it on disk; deliveries and
//! acknowledgements go through the same log, so that whichever server leads next knows what is with
//! whom. What comes back counts how often it did, and is dropped or dead-lettered when that is too
//! often. Read: rabbitmq-server v3.13.7 and v4.1.0 (`rabbit_quorum_queue.erl`,
//! `rabbit_fifo_client.erl`; the queue itself stands in `quorum_fifo.rs`), rabbitmq/ra
//! (`ra_server_proc.erl`), the quorum queue guide. A channel keeps every command until it hears that it
//! was applied, and sends it again when another server leads; a publish is numbered, so that it
//! counts once.
//!
//! Members of a quorum queue monitor the leader's process: when its connection breaks they stand for
//! election at once, and when it is silent, after two to four of the failure detector's looks
//! (`aten`, `raft.adaptive_failure_detector.poll_interval`, 5 s).

use std::collections::{BTreeMap, BTreeSet};

use crate::choice::About;
use crate::config;
use crate::config::{Bytes, Problems, Value};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::{Input, Node, NodeId, Output, TimerId, Wire};
use crate::model::raft::{
    Raft, RaftConfig, RaftDisk, RaftIndication, RaftMessage, RaftRole, RaftTimer,
};

use super::amqp::{OverflowParam, QueueParams, RabbitVersion};
use super::amqp_classic::{AmqpClassicParams, OnFailure};
use super::broker::{Bound, GroupCommit, Overflow, Return};
use super::quorum_fifo::{Effect, Fifo, Gone, Op, Rules};
use super::rabbit::{
    Ask, Asks, ChannelId, Clustered, Ctx, Front, Message, Pending, Role, Server, Sessions, Timer,
};
use super::{Indication, Item, Part, QueueProtocol, Scene};

config! {
    /// RabbitMQ's quorum queue with plain clients.
    pub(super) struct AmqpQuorumParams {
        /// The release that is modelled.
        pub version: RabbitVersion = RabbitVersion::V4_1,
        /// How often a message may come back (`x-delivery-limit`); left out, 20 from 4.0 on and any
        /// number before.
        pub delivery_limit: Option<u32> = None,
        /// How long a message may be ready (`x-message-ttl`). Acts at the head only.
        pub ttl: Option<SimDuration> = None,
        /// How many messages may be ready (`x-max-length`).
        pub max_length: Option<u64> = None,
        /// How many bytes of bodies may be ready (`x-max-length-bytes`).
        pub max_bytes: Option<Bytes> = None,
        /// What happens when it is full (`x-overflow`). Publishers hear of it when it is too late,
        /// so that a few more get in.
        pub overflow: OverflowParam = OverflowParam::DropHead,
        /// Whether there is a dead-letter exchange with a queue.
        pub dead_letter: bool = false,
        /// Whether one consumer gets everything, and the next one when it is gone
        /// (`x-single-active-consumer`).
        pub single_active_consumer: bool = false,
        /// Whether publishers ask for confirms.
        pub confirms: bool = true,
        /// How many deliveries a consumer may have unacknowledged (`prefetch_count`); 0 for 2000,
        /// which is what a quorum queue makes of no limit.
        pub prefetch: u32 = 0 => 0..=65_535,
        /// Whether a delivery counts as acknowledged when it is sent (`no_ack`).
        pub auto_ack: bool = false,
        /// What a consumer does with a message on which it failed.
        pub on_failure: OnFailure = OnFailure::Requeue,
        /// How long a client waits before it connects again (the Java client's
        /// `networkRecoveryInterval`).
        pub reconnect: SimDuration = SimDuration::from_secs(5),
        /// How long a consumer is away that its work has killed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
        /// After how long a server gives up a silent client, twice to three times; 0 for never.
        pub heartbeat: SimDuration = SimDuration::from_secs(60),
        /// How long a delivery may go without an acknowledgement; 0 for as long as it likes.
        pub consumer_timeout: SimDuration = SimDuration::from_secs(1800),
        /// How often that is checked (`channel_tick_interval`).
        pub tick: SimDuration = SimDuration::from_secs(60),
        /// After how long a server takes a silent one for down (`net_ticktime`).
        pub net_ticktime: SimDuration = SimDuration::from_secs(60),
        /// How the servers agree.
        pub log: RaftConfig = RA,
    }
    check Self::check;
}

/// See the module: looks 5 s apart, and no waiting where a connection breaks. The heartbeat is how
/// long two candidates may be apart then (`ra_server_proc.erl`: an election time-out of 100 ms times
/// 5, and up to twice that).
const RA: RaftConfig = RaftConfig {
    election_min: SimDuration::from_secs(5),
    election_max: SimDuration::from_secs(10),
    heartbeat: SimDuration::from_secs(1),
    pre_vote: true,
    heeds_close: true,
    fsync: true,
};

impl AmqpQuorumParams {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.tick == SimDuration::ZERO || self.net_ticktime == SimDuration::ZERO {
            problems.add(value.place, "`tick` and `net_ticktime` must be longer than nothing");
        }
    }

    fn front(&self) -> QueueParams {
        QueueParams {
            heartbeat: self.heartbeat,
            consumer_timeout: self.consumer_timeout,
            tick: self.tick,
            ..QueueParams::default()
        }
    }

    fn client(&self) -> AmqpClassicParams {
        AmqpClassicParams {
            version: self.version.clone(),
            queue: self.front(),
            persistent: true,
            confirms: self.confirms,
            prefetch: self.prefetch,
            auto_ack: self.auto_ack,
            on_failure: self.on_failure.clone(),
            reconnect: self.reconnect,
            respawn: self.respawn,
        }
    }

    fn rules(&self) -> Rules {
        let is_4 = matches!(self.version, RabbitVersion::V4_1);
        let is_bound = self.max_length.is_some() || self.max_bytes.is_some();
        Rules {
            delivery_limit: self.delivery_limit.or(is_4.then_some(20)),
            bound: is_bound.then(|| Bound {
                count_max: self.max_length.unwrap_or(u64::MAX),
                bytes_max: self.max_bytes.map_or(u64::MAX, |bytes| bytes.0),
                overflow: self.bound_overflow(),
            }),
            ttl: self.ttl.unwrap_or(SimDuration::MAX),
            dead_letter: self.dead_letter,
            single_active: self.single_active_consumer,
            has_priorities: is_4,
        }
    }

    fn bound_overflow(&self) -> Overflow {
        match self.overflow {
            OverflowParam::DropHead => Overflow::DropHead,
            OverflowParam::RejectPublish => Overflow::Reject,
        }
    }
}

/// A node of it.
pub(super) type AmqpQuorum = Clustered<Quorum>;

impl QueueProtocol for AmqpQuorum {
    const ABOUT: About = About {
        name: "amqp_quorum",
        summary: "RabbitMQ's quorum queue with plain clients: a queue on a replicated log",
        source: "rabbitmq/rabbitmq-server v4.1.0, deps/rabbit/src/rabbit_fifo.erl",
        version: "4.1",
    };
    type Params = AmqpQuorumParams;

    fn role(params: &AmqpQuorumParams, part: Part, scene: &Scene) -> Role<Quorum> {
        match part {
            Part::Broker(_) => {
                let members = scene.brokers.clone();
                let config = params.log.clone();
                let raft = RaftRole { config, members, restricts_votes: true };
                Role::Server(Setup { params: Box::new(params.clone()), raft })
            }
            Part::Producer(_) | Part::Consumer(_) => {
                Role::client(&params.client(), part, &scene.work, &scene.brokers)
            }
        }
    }
}

/// The settings of a server.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    params: Box<AmqpQuorumParams>,
    raft: RaftRole,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Order {
    op: Op,
    /// When the leader appended it, on its wall clock.
    at: WallTime,
    /// Which of its channel's commands it is.
    number: u64,
}

/// What servers tell each other.
#[derive(Clone, Debug)]
pub(super) enum Talk {
    Raft(RaftMessage<Order>),
    /// A channel process wants something of the queue.
    Command {
        number: u64,
        op: Op,
    },
    /// The queue tells a channel process something.
    Event(ChannelId, Event),
    /// This server takes the other for the leader, and started at this instant.
    Hello(SimTime),
}

/// What the queue tells a channel process.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// That command is in the log for good.
    Applied(u64),
    Deliver {
        id: u64,
        item: Item,
        times: u32,
    },
    /// Stop publishing, or go on.
    Status(bool),
}

impl Wire for Talk {
    fn kind(&self) -> &'static str {
        match self {
            Self::Raft(message) => message.kind(),
            Self::Command { .. } => "command",
            Self::Event(_, Event::Applied(_)) => "applied",
            Self::Event(_, Event::Deliver { .. }) => "deliver",
            Self::Event(_, Event::Status(_)) => "status",
            Self::Hello(_) => "hello",
        }
    }

    fn size_bytes(&self) -> u32 {
        // Erlang terms with a process and a reference in them.
        const TERM: u32 = 60;
        match self {
            Self::Raft(RaftMessage::Append { entries, .. }) => {
                let body = |op: &Op| match op {
                    Op::Enqueue { item, .. } => item.size_bytes,
                    _ => 0,
                };
                let ops = entries.iter().filter_map(|entry| entry.command.as_ref());
                ops.fold(TERM, |sum, order| sum.saturating_add(TERM + body(&order.op)))
            }
            Self::Command { op: Op::Enqueue { item, .. }, .. }
            | Self::Event(_, Event::Deliver { item, .. }) => item.size_bytes.saturating_add(TERM),
            Self::Raft(_) | Self::Command { .. } | Self::Event(..) | Self::Hello(_) => TERM,
        }
    }

    fn needs_service(&self) -> bool {
        false
    }
}

/// What a server reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum QuorumTimer {
    Raft(RaftTimer),
    /// Commands that were not answered are sent again; silent servers are noticed.
    Look,
    /// The head of the queue may be of no use any more.
    Expire,
}

/// A server.
#[derive(Debug)]
pub(super) struct Quorum {
    setup: Setup,
    raft: Raft<Order>,
    fifo: Fifo,
    leads: bool,
    front: Front,
    /// What each channel of this server, as a client of the queue, has asked for.
    sessions: Sessions<Op>,
    /// To whom commands go.
    leader: Option<NodeId>,
    /// When each other server was heard last, and which cannot be reached.
    heard: BTreeMap<NodeId, SimTime>,
    unreachable: BTreeSet<NodeId>,
    /// The write-ahead log (`ra_log_wal.erl`).
    wal: GroupCommit,
    expiry: Option<(WallTime, TimerId)>,
}

impl Server for Quorum {
    type Setup = Setup;
    type Disk = RaftDisk<Order>;
    type Talk = Talk;
    type Timer = QuorumTimer;

    fn boot(setup: &Setup, disk: &RaftDisk<Order>) -> Self {
        Self {
            setup: setup.clone(),
            raft: Raft::boot(&setup.raft, disk),
            fifo: Fifo::new(setup.params.rules()),
            leads: false,
            front: Front::new(&setup.params.front()),
            sessions: Sessions::new(),
            leader: None,
            heard: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            wal: GroupCommit::default(),
            expiry: None,
        }
    }

    fn handle(&mut self, input: Input<AmqpQuorum>, ctx: &mut Ctx<'_, Self>) {
        match input {
            Input::Start => {
                self.front.start(ctx);
                ctx.set_timer(LOOK, Timer::Server(QuorumTimer::Look));
                self.drive(Input::Start, ctx);
            }
            Input::Message { from, via, message: Message::Amqp(frame) } => {
                let asks = self.front.hear(from, via, frame, ctx);
                self.ask_all(asks, ctx);
            }
            Input::Overload { from, via, message: Message::Amqp(frame) } => {
                self.front.turn_away(from, via, &frame, ctx);
            }
            Input::Message { from, via, message: Message::Talk(talk) } => {
                self.heard.insert(from, ctx.now());
                self.unreachable.remove(&from);
                match talk {
                    Talk::Raft(message) => self.drive(Input::Message { from, via, message }, ctx),
                    Talk::Command { number, op } => self.propose(number, op, ctx),
                    Talk::Event(channel, event) => self.told(channel, event, ctx),
                    Talk::Hello(boot) => self.greeted(from, boot, ctx),
                }
            }
            Input::Closed { peer, via, why } => {
                let asks = self.front.closed(peer, via);
                self.ask_all(asks, ctx);
                if self.setup.raft.members.contains(&peer) {
                    self.lose_sight(peer, ctx);
                    self.drive(Input::Closed { peer, via, why }, ctx);
                }
            }
            Input::Timer(Timer::Server(QuorumTimer::Raft(timer))) => {
                self.drive(Input::Timer(timer), ctx);
            }
            Input::Timer(Timer::Server(QuorumTimer::Look)) => self.look(ctx),
            Input::Timer(Timer::Server(QuorumTimer::Expire)) => {
                self.expiry = None;
                self.propose(0, Op::Expire, ctx);
            }
            Input::Timer(Timer::Beat(number)) => {
                let asks = self.front.beat(number, ctx);
                self.ask_all(asks, ctx);
            }
            Input::Timer(Timer::Tick) => {
                let asks = self.front.tick(ctx);
                self.ask_all(asks, ctx);
            }
            Input::Synced(sync) => {
                self.wal.synced(ctx);
                self.drive(Input::Synced(sync), ctx);
            }
            Input::Timer(Timer::Client(_))
            | Input::Overload { .. }
            | Input::Request(_)
            | Input::Signal(_) => (),
        }
        self.follow_leader(ctx);
    }
}

impl Quorum {
    /// Lets something happen to the log's member.
    fn drive(&mut self, input: Input<Raft<Order>>, ctx: &mut Ctx<'_, Self>) {
        for output in ctx.ask_part(&mut self.raft, input) {
            match output {
                Output::Indicate(indication) => self.hear(indication, ctx),
                Output::Send { to, message } => ctx.send(to, Message::Talk(Talk::Raft(message))),
                Output::Disconnect { peer } => ctx.disconnect(peer),
                Output::SetTimer { id, after, timer } => {
                    let timer = Timer::Server(QuorumTimer::Raft(timer));
                    ctx.put_out(Output::SetTimer { id, after, timer });
                }
                Output::CancelTimer(id) => ctx.cancel_timer(id),
                Output::Write(write) => ctx.write(write),
                Output::Sync(id) => self.wal.want(id, ctx),
                Output::Reach(point) => ctx.reach(point),
            }
        }
    }

    fn hear(&mut self, indication: RaftIndication<Order>, ctx: &mut Ctx<'_, Self>) {
        match indication {
            RaftIndication::Committed { command, .. } => self.carry_out(&command, ctx),
            RaftIndication::Leads => {
                self.leads = true;
                ctx.indicate(self.fifo.holds());
                for node in self.unreachable.clone() {
                    self.give_up(node, ctx);
                }
                self.await_expiry(ctx);
            }
            RaftIndication::Follows => self.leads = false,
        }
    }

    fn carry_out(&mut self, order: &Order, ctx: &mut Ctx<'_, Self>) {
        let mut effects = Vec::new();
        let is_done = self.fifo.apply(&order.op, order.at, &mut effects);
        if !self.leads {
            return;
        }
        let is_stored =
            effects.iter().any(|effect| matches!(effect, Effect::Tell(Indication::Stored(_))));
        for effect in effects {
            match effect {
                Effect::Tell(indication) => ctx.indicate(indication),
                Effect::Deliver { channel, id, held } => {
                    let (item, times) = (held.item, held.return_count);
                    self.tell(channel, Event::Deliver { id, item, times }, ctx);
                }
                Effect::Status(channel, is_blocked) => {
                    self.tell(channel, Event::Status(is_blocked), ctx);
                }
            }
        }
        if is_stored {
            ctx.reach("stored");
        }
        if let Some(channel) = order.op.channel().filter(|_| is_done) {
            self.tell(channel, Event::Applied(order.number), ctx);
        }
        self.await_expiry(ctx);
    }

    fn tell(&mut self, channel: ChannelId, event: Event, ctx: &mut Ctx<'_, Self>) {
        if channel.node == ctx.id() {
            self.told(channel, event, ctx);
        } else {
            ctx.send(channel.node, Message::Talk(Talk::Event(channel, event)));
        }
    }

    /// Appends to the log, where this server leads; where not, whoever asks asks again.
    fn propose(&mut self, number: u64, op: Op, ctx: &mut Ctx<'_, Self>) {
        if self.raft.leads() {
            let at = ctx.wall();
            self.drive(Input::Request(Order { op, at, number }), ctx);
        }
    }

    fn greeted(&mut self, from: NodeId, boot: SimTime, ctx: &mut Ctx<'_, Self>) {
        if self.leads && self.fifo.has_older(from, boot) {
            self.propose(0, Op::NodeBoot(from, boot), ctx);
        }
    }

    /// A server cannot be reached any more.
    fn lose_sight(&mut self, node: NodeId, ctx: &mut Ctx<'_, Self>) {
        self.unreachable.insert(node);
        if self.leader == Some(node) {
            self.leader = None;
        }
        self.give_up(node, ctx);
    }

    fn give_up(&mut self, node: NodeId, ctx: &mut Ctx<'_, Self>) {
        if self.leads && !self.fifo.consumers_at(node).is_empty() {
            self.propose(0, Op::NodeDown(node), ctx);
        }
    }

    fn look(&mut self, ctx: &mut Ctx<'_, Self>) {
        ctx.set_timer(LOOK, Timer::Server(QuorumTimer::Look));
        let now = ctx.now();
        let silence = self.setup.params.net_ticktime;
        let silent = self.heard.iter().filter(|&(_, &at)| silence <= now.since(at));
        for node in silent.map(|(&node, _)| node).collect::<Vec<NodeId>>() {
            self.heard.remove(&node);
            ctx.disconnect(node);
            self.lose_sight(node, ctx);
        }
        self.send_again(|pending| LOOK <= now.since(pending.since), ctx);
    }

    /// What channels ask for.
    fn ask_all(&mut self, asks: Asks, ctx: &mut Ctx<'_, Self>) {
        for (channel, ask) in asks {
            self.ask(channel, ask, ctx);
        }
    }

    fn ask(&mut self, channel: ChannelId, ask: Ask, ctx: &mut Ctx<'_, Self>) {
        if let Ask::Opened = ask {
            self.sessions.open(channel);
            let refuses = self.setup.params.bound_overflow() == Overflow::Reject;
            if refuses && self.front.confirms(channel) == Some(true) {
                self.submit(channel, Op::Register(channel), None, ctx);
            }
            return;
        }
        let Some(session) = self.sessions.get_mut(channel) else { return };
        let mut seq_of_publish = None;
        let op = match ask {
            Ask::Publish { seq, .. } if session.is_blocked => {
                self.front.nack(channel, seq, ctx);
                return;
            }
            Ask::Publish { seq, item, .. } => {
                seq_of_publish = Some(seq);
                session.published += 1;
                Op::Enqueue { channel, seq: session.published, item }
            }
            Ask::Consume { prefetch, auto_ack } => {
                checkout(channel, prefetch, auto_ack, session.next_delivery)
            }
            Ask::Cancel => Op::Cancel(channel),
            Ask::Settle(ids) if ids.is_empty() => return,
            Ask::Settle(ids) => Op::Settle(channel, ids),
            Ask::Return(ids) => Op::Return(channel, ids),
            Ask::Discard(ids) => Op::Discard(channel, ids),
            Ask::Gone(why) => {
                // What it has not sent on goes with it.
                session.drop_all();
                let why = if why == Return::Lapsed { Gone::Late } else { Gone::Closed };
                Op::Down(channel, why)
            }
            Ask::Opened => unreachable!("it was dealt with above"),
        };
        self.submit(channel, op, seq_of_publish, ctx);
    }

    fn submit(&mut self, channel: ChannelId, op: Op, seq: Option<u64>, ctx: &mut Ctx<'_, Self>) {
        let Some(session) = self.sessions.get_mut(channel) else { return };
        let number = session.keep(op.clone(), seq, ctx.now());
        self.send_on(number, op, ctx);
    }

    /// Sends a command to the leader, where one is known.
    fn send_on(&mut self, number: u64, op: Op, ctx: &mut Ctx<'_, Self>) {
        match self.leader {
            Some(leader) if leader == ctx.id() => self.propose(number, op, ctx),
            Some(leader) => ctx.send(leader, Message::Talk(Talk::Command { number, op })),
            None => (),
        }
    }

    fn send_again(&mut self, is_due: impl Fn(&Pending<Op>) -> bool, ctx: &mut Ctx<'_, Self>) {
        for (number, op) in self.sessions.due(is_due) {
            self.send_on(number, op, ctx);
        }
    }

    /// Where another server leads, or one that was out of reach is back: it hears of everything
    /// that was not answered.
    fn follow_leader(&mut self, ctx: &mut Ctx<'_, Self>) {
        let leader = if self.raft.leads() { Some(ctx.id()) } else { self.raft.leader() };
        let leader = leader.filter(|leader| !self.unreachable.contains(leader));
        if leader == self.leader {
            return;
        }
        self.leader = leader;
        let Some(leader) = leader else { return };
        let boot = self.front.boot();
        if leader == ctx.id() {
            self.greeted(leader, boot, ctx);
        } else {
            ctx.send(leader, Message::Talk(Talk::Hello(boot)));
        }
        for channel in self.front.channels() {
            let subscription = self.front.subscription(channel);
            let session = self.sessions.get(channel);
            if let (Some((prefetch, auto_ack)), Some(session)) = (subscription, session) {
                let op = checkout(channel, prefetch, auto_ack, session.next_delivery);
                self.send_on(ANEW, op, ctx);
            }
        }
        self.send_again(|_| true, ctx);
    }

    /// The queue tells a channel of this server something.
    fn told(&mut self, channel: ChannelId, event: Event, ctx: &mut Ctx<'_, Self>) {
        let Some(session) = self.sessions.get_mut(channel) else { return };
        match event {
            Event::Applied(number) => {
                let Some(pending) = session.done(number) else { return };
                if let Some(seq) = pending.seq {
                    self.front.confirm(channel, seq, ctx);
                }
                if let Op::Down(..) = pending.op {
                    self.sessions.close(channel);
                }
            }
            Event::Deliver { id, item, times } => {
                if id < session.next_delivery {
                    return;
                }
                let Some((prefetch, auto_ack)) = self.front.subscription(channel) else { return };
                if session.next_delivery < id && !auto_ack {
                    // One is missing: it is asked for, and what follows it.
                    let op = checkout(channel, prefetch, auto_ack, session.next_delivery);
                    self.send_on(ANEW, op, ctx);
                    return;
                }
                session.next_delivery = id + 1;
                self.front.deliver(channel, id, (item, 0 < times, times), ctx);
            }
            Event::Status(is_blocked) => session.is_blocked = is_blocked,
        }
    }

    /// Sets a timer for the next head to expire.
    fn await_expiry(&mut self, ctx: &mut Ctx<'_, Self>) {
        let next = self.fifo.next_expiry().filter(|_| self.leads);
        if next == self.expiry.map(|(at, _)| at) {
            return;
        }
        if let Some((_, timer)) = self.expiry.take() {
            ctx.cancel_timer(timer);
        }
        if let Some(at) = next {
            let left = SimDuration::from_ns(at.0.saturating_sub(ctx.wall().0).max(0) as u64);
            let timer = ctx.set_timer(left, Timer::Server(QuorumTimer::Expire));
            self.expiry = Some((at, timer));
        }
    }
}

fn checkout(channel: ChannelId, prefetch: u32, auto_ack: bool, from: u64) -> Op {
    // `rabbit_quorum_queue.erl`: "let's make it into something large for ra".
    let prefetch = if prefetch == 0 { 2000 } else { prefetch };
    Op::Checkout { channel, prefetch, auto_ack, from }
}

/// A subscription that is told again is no new command.
const ANEW: u64 = 0;

/// How often a server looks for what was not answered, and for servers that are silent (`aten`'s
/// poll interval).
const LOOK: SimDuration = SimDuration::from_secs(5);

#[cfg(test)]
mod tests {
    use crate::queues::tests::play;
    use crate::queues::{Indication, Outcome};

    /// Two hundred messages a second for 3 s, and consumers that come when all is over.
    fn stream(variant: &str, faults: &str) -> Outcome {
        play(
            &format!(
                "variants = [{variant}]\nbrokers = 3\nhorizon = \"3s\"\ndrain = \"400s\"\n\
                 producers = {{ load = {{ open = {{ constant = \"200/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"1ms\" }}] }}\n"
            ),
            &format!(
                "fault = [{{ at = \"0s\", for = \"20s\", pause = {{ target = \"consumers\" }} }}\
                 {faults}]"
            ),
        )
    }

    const POWER: &str =
        ", { at = \"1502ms\", for = \"1s\", crash_machine = { target = \"brokers\" } }";

    #[test]
    fn power_that_fails_everywhere_loses_nothing_that_was_confirmed() {
        let outcome = stream("\"amqp_quorum\"", POWER);
        assert_eq!((outcome.verdict.lost(), outcome.verdict.stalled), (0, 0));
        assert_eq!(outcome.verdict.done, 600);
    }

    #[test]
    fn a_log_that_is_not_synced_loses_what_was_confirmed() {
        let outcome = stream(
            "{ amqp_quorum = { log = { election_min = \"5s\", \
             election_max = \"10s\", heartbeat = \"1s\", fsync = false } } }",
            POWER,
        );
        assert!(0 < outcome.verdict.lost_confirmed, "{:?}", outcome.verdict);
    }

    #[test]
    fn one_server_of_three_may_go_for_ever() {
        for broker in 1..=3 {
            let crash =
                format!(", {{ at = \"1s\", crash_machine = {{ target = \"broker-{broker}\" }} }}");
            let outcome = stream("\"amqp_quorum\"", &crash);
            assert_eq!(outcome.verdict.done, 600, "{broker}: {:?}", outcome.record.findings);
            assert_eq!(outcome.verdict.broken, 0, "{broker}: {:?}", outcome.record.findings);
        }
    }

    #[test]
    fn without_a_majority_nothing_is_confirmed() {
        let outcome = stream(
            "\"amqp_quorum\"",
            ", { at = \"1s\", crash_machine = { target = \"broker-2\" } }, \
             { at = \"1s\", crash_machine = { target = \"broker-3\" } }",
        );
        let last = outcome.judge.history().iter().rev().find_map(|heard| match heard.told {
            Indication::Confirmed(serial) => Some(serial.0),
            _ => None,
        });
        assert!(last.is_some_and(|last| last <= 200), "{last:?}");
    }

    #[test]
    fn a_consumer_whose_leader_is_gone_goes_on_with_what_it_has() {
        // Both consumers are with other servers than the one that leads and dies, in mid-work.
        let outcome = play(
            "variants = [{ amqp_quorum = { prefetch = 4 } }]\nbrokers = 3\nhorizon = \"10s\"\n\
             drain = \"60s\"\nproducers = { load = { open = { constant = \"10/s\" } } }\n\
             messages = { tasks = [{ name = \"task\", service = \"150ms\" }] }\n",
            "fault = [{ at = \"4s\", for = \"2s\", crash_process = { target = \"broker-1\" } }]",
        );
        assert_eq!(outcome.verdict.done, 100);
        assert_eq!(outcome.verdict.lost(), 0);
        assert_eq!(outcome.verdict.broken, 0, "{:?}", outcome.record.findings);
    }
}
