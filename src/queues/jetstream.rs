//! NATS JetStream: a stream on a replicated log, and one durable consumer whose clients pull.
//!
//! A publish is answered when a majority of the servers has it, but by default none of them has
//! brought it to its disk: they sync every two minutes. A delivery that is not acknowledged for
//! `ack_wait` joins the redelivery queue, which is served before new messages; an acknowledgement is
//! taken whoever has the message by then. After `max_deliver` a message stays in the stream and is
//! delivered no more. Read: nats-io/nats-server 1787eee (`server/consumer.go`, `server/stream.go`,
//! `server/raft.go`, `server/filestore.go`), nats-io/nats.go (`jetstream/pull.go`,
//! `jetstream/publish.go`).
//!
//! Simpler than the product: the consumer's state is in the stream's log and not in one of its own,
//! and its leader is the stream's. What was delivered is replicated, but not waited for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::choice::About;
use crate::config;
use crate::config::{Bytes, Problems, Value};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::{Connection, Context, Input, Node, NodeId, Output, Signal, TimerId, Wire};
use crate::model::raft::{
    Raft, RaftConfig, RaftDisk, RaftIndication, RaftMessage, RaftRole, RaftTimer,
};

use super::amqp::WRITE_BACK;
use super::broker::GroupCommit;
use super::link::{Backoff, Heart, Link, LinkTimer, spread};
use super::work::{End, Finished, Pool, Work, WorkTimer};
use super::{
    Death, Indication, Item, Part, QueueProtocol, QueuesConfig, Request, Scene, Serial, Token,
};

config! {
    /// NATS JetStream: a stream, and a pull consumer that all clients share.
    pub(super) struct JetStreamParams {
        /// The release that is modelled.
        pub version: NatsVersion = NatsVersion::V2_12,
        /// Which server leads the stream at the start, from 1.
        pub leader: u32 = 1 => 1..=9,
        /// How often servers bring what they have written to the disk; 0 for after every write
        /// (`sync_interval: always`). The operating system does so after 30 s anyway.
        pub sync_interval: SimDuration = SimDuration::from_secs(120),
        /// What the stream keeps (`retention`).
        pub retention: Retention = Retention::Limits,
        /// How many messages the stream keeps (`max_msgs`); left out, any number.
        pub max_msgs: Option<u64> = None,
        /// How many bytes of bodies the stream keeps (`max_bytes`); left out, any number.
        pub max_bytes: Option<Bytes> = None,
        /// What happens when it is full.
        pub discard: Discard = Discard::Old,
        /// For how long a message is known again by its id (`duplicate_window`).
        pub duplicate_window: SimDuration = SimDuration::from_secs(120),
        /// Whether publishers give each message an id (`Nats-Msg-Id`).
        pub msg_id: bool = false,
        /// How many messages a publisher may have sent without an answer: as `PublishAsync` allows;
        /// 1 is a loop around `Publish`.
        pub publish_window: u32 = 4000 => 1..=1_000_000,
        /// How long a publisher waits for an answer.
        pub publish_timeout: SimDuration = SimDuration::from_secs(5),
        /// How often a publisher tries again when nobody listens, and after how long.
        pub retry_attempts: u32 = 2,
        /// See `retry_attempts`.
        pub retry_wait: SimDuration = SimDuration::from_ms(250),
        /// Whether the application publishes again what was not answered in time; without, it
        /// gives up.
        pub resend: bool = true,
        /// How long a delivery may go without an acknowledgement.
        pub ack_wait: SimDuration = SimDuration::from_secs(30),
        /// How long instead, by how often the message was delivered before (`backoff`).
        pub backoff: Vec<SimDuration> = Vec::new(),
        /// How often a message is delivered; 0 for any number of times (-1 in the product).
        pub max_deliver: u32 = 0,
        /// How many deliveries may go without an acknowledgement at the same time.
        pub max_ack_pending: u32 = 1000 => 1..=1_000_000,
        /// How many messages a client asks for, and asks again when it has half as many; 1 is a
        /// loop around `Fetch(1)` (`PullMaxMessages`).
        pub batch: u32 = 500 => 1..=1_000_000,
        /// How long such a request stands (`PullExpiry`).
        pub pull_expiry: SimDuration = SimDuration::from_secs(30),
        /// How often a client says that it is still at work (`+WPI`); 0 for never.
        pub in_progress: SimDuration = SimDuration::ZERO,
        /// What a client does with a message on which it failed.
        pub on_failure: OnFailure = OnFailure::Nak,
        /// How long a client waits when no server of a first round could be reached.
        pub reconnect: SimDuration = SimDuration::from_secs(2),
        /// How often a client pings its server, which it leaves after two to three pings unanswered.
        pub ping_interval: SimDuration = SimDuration::from_secs(120),
        /// How long a client is away that its work has killed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
    }
    check Self::check;
}

config! {
    /// A line of NATS server releases. What is modelled is the same in both.
    pub(super) enum NatsVersion {
        /// Run at 2.9.10.
        "2.9" => V2_9,
        /// Read at 1787eee.
        "2.12" => V2_12,
    }
}

config! {
    /// What a stream keeps.
    pub(super) enum Retention {
        /// Everything, acknowledged or not, up to its limits.
        "limits" => Limits,
        /// What not every consumer has acknowledged. Here there is one, and it is there from the
        /// start: as `work_queue`.
        "interest" => Interest,
        /// What is not acknowledged.
        "work_queue" => WorkQueue,
    }
}

config! {
    /// What a full stream does.
    pub(super) enum Discard {
        /// It lets the oldest go.
        "old" => Old,
        /// It refuses the new one.
        "new" => New,
    }
}

config! {
    /// What a client does with a message on which it failed.
    pub(super) enum OnFailure {
        /// It gives it back (`-NAK`): it is delivered again at once.
        "nak" => Nak,
        /// Nothing: it is delivered again after `ack_wait`.
        "nothing" => Nothing,
        /// It ends it (`+TERM`): it is delivered no more.
        "term" => Term,
    }
}

impl JetStreamParams {
    fn check(&self, value: &Value, problems: &mut Problems) {
        for (name, length) in [
            ("ack_wait", self.ack_wait),
            ("publish_timeout", self.publish_timeout),
            ("retry_wait", self.retry_wait),
            ("pull_expiry", self.pull_expiry),
            ("ping_interval", self.ping_interval),
            ("reconnect", self.reconnect),
        ] {
            if length == SimDuration::ZERO {
                problems.add(value.place, format!("`{name}` must be longer than nothing"));
            }
        }
    }

    /// How the servers agree: `server/raft.go`, `minElectionTimeoutDefault` and its neighbours. A
    /// stream on one server has nobody to agree with, and is there when that has started.
    fn log(&self, servers: usize) -> RaftConfig {
        let [election_min, election_max, heartbeat] = match servers {
            1 => [1000, 2000, 500],
            _ => [4000, 9000, 1000],
        }
        .map(SimDuration::from_ms);
        let fsync = self.sync_interval == SimDuration::ZERO;
        let (pre_vote, heeds_close) = (false, false);
        RaftConfig { election_min, election_max, heartbeat, pre_vote, heeds_close, fsync }
    }

    /// How long a delivery may go without an acknowledgement that is the `count`-th of its message.
    fn patience(&self, count: u32) -> SimDuration {
        let index = (count as usize - 1).min(self.backoff.len().saturating_sub(1));
        self.backoff.get(index).copied().unwrap_or(self.ack_wait)
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    Publish {
        of: Reply,
        item: Item,
        has_id: bool,
        at: WallTime,
    },
    /// A message was delivered, for the `count`-th time.
    Delivered {
        seq: u64,
        count: u32,
        at: WallTime,
    },
    /// A message needs no more deliveries.
    Acked(u64),
}

/// Whom to answer: the client, by way of its server, and which of its requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reply {
    server: NodeId,
    client: NodeId,
    id: u64,
}

/// What the answer to a publish says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Answer {
    /// It is in the stream.
    Stored,
    /// The stream is full.
    Full,
    /// Nobody listens: the stream has no leader.
    NoResponders,
}

/// What a client wants of the stream.
#[derive(Clone, Debug)]
pub(super) enum Want {
    Publish {
        id: u64,
        item: Item,
        has_id: bool,
    },
    Pull {
        id: u64,
        count: u32,
    },
    Ack(u64),
    Nak(u64),
    Term(u64),
    InProgress(u64),
    /// It is gone.
    Leave,
}

/// A message between two nodes.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Connect(u32),
    Connected(u32),
    Ping,
    Pong,
    /// From a client.
    Want(Want),
    /// From a client's server to the stream's leader.
    Routed(NodeId, Want),
    /// From the leader to a client, by way of its server.
    Published(Reply, Answer),
    Deliver(Reply, Delivery),
    Expired(Reply),
    Raft(RaftMessage<Order>),
}

/// A message as a client gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    item: Item,
    seq: u64,
    /// How often it has been delivered, this time included.
    count: u32,
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Connect(_) | Self::Connected(_) => "connect",
            Self::Ping | Self::Pong => "ping",
            Self::Want(want) | Self::Routed(_, want) => match want {
                Want::Publish { .. } => "publish",
                Want::Pull { .. } => "pull",
                Want::Ack(_) => "ack",
                Want::Nak(_) | Want::Term(_) | Want::InProgress(_) => "nak",
                Want::Leave => "leave",
            },
            Self::Published(..) => "published",
            Self::Deliver(..) => "deliver",
            Self::Expired(_) => "expired",
            Self::Raft(message) => message.kind(),
        }
    }

    fn size_bytes(&self) -> u32 {
        // Verb, subject, reply subject.
        const LINE: u32 = 100;
        let body = match self {
            Self::Want(Want::Publish { item, .. })
            | Self::Routed(_, Want::Publish { item, .. }) => item.size_bytes,
            Self::Deliver(_, delivery) => delivery.item.size_bytes,
            Self::Raft(RaftMessage::Append { entries, .. }) => {
                let bodies = entries.iter().map(|entry| match &entry.command {
                    Some(Order::Publish { item, .. }) => item.size_bytes,
                    _ => 0,
                });
                bodies.fold(0, u32::saturating_add)
            }
            _ => 0,
        };
        body.saturating_add(LINE)
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Want(Want::Publish { .. }))
    }
}

/// What a node reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Raft(RaftTimer),
    Work(WorkTimer),
    Link(LinkTimer),
    /// A publish is overdue, or to be tried again.
    Publish(u64),
    /// Half a ping interval is over.
    Beat,
    /// A client that is at work says so.
    Progress,
    /// A client that was killed starts again.
    Respawn,
    /// A delivery has gone without an acknowledgement for long enough, or a request has stood.
    Pending,
    /// What was written is brought to the disk.
    Sync,
    WriteBack,
}

impl From<WorkTimer> for Timer {
    fn from(timer: WorkTimer) -> Self {
        Self::Work(timer)
    }
}

impl From<LinkTimer> for Timer {
    fn from(timer: LinkTimer) -> Self {
        Self::Link(timer)
    }
}

/// A node of it.
#[derive(Debug)]
pub(super) enum JetStream {
    Server(Box<Server>),
    Producer(Box<Producer>),
    Consumer(Box<Consumer>),
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Server(Box<JetStreamParams>, RaftRole),
    Producer(Box<JetStreamParams>, Vec<NodeId>),
    Consumer(Box<JetStreamParams>, Work, Vec<NodeId>),
}

impl QueueProtocol for JetStream {
    const ABOUT: About = About {
        name: "jetstream",
        summary: "NATS JetStream: a replicated stream with a durable pull consumer",
        source: "nats-io/nats-server 1787eee, server/consumer.go",
        version: "2.12",
    };
    type Params = JetStreamParams;

    fn role(params: &JetStreamParams, part: Part, scene: &Scene) -> Role {
        let boxed = Box::new(params.clone());
        let mut members = scene.brokers.clone();
        let leader = (params.leader as usize - 1) % members.len();
        members.rotate_left(leader);
        match part {
            Part::Broker(_) => {
                let config = params.log(members.len());
                Role::Server(boxed, RaftRole { config, members, restricts_votes: true })
            }
            Part::Producer(_) => Role::Producer(boxed, spread(part, &members)),
            Part::Consumer(_) => Role::Consumer(boxed, scene.work.clone(), spread(part, &members)),
        }
    }

    fn fits(params: &JetStreamParams, config: &QueuesConfig) -> Result<(), String> {
        if config.brokers < params.leader {
            return Err(format!("there is no server {} to lead", params.leader));
        }
        if config.messages.priorities.is_empty() {
            Ok(())
        } else {
            Err("JetStream knows no priorities".into())
        }
    }
}

impl Node for JetStream {
    type Role = Role;
    type Stable = RaftDisk<Order>;
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &Role, disk: &RaftDisk<Order>) -> Self {
        match role {
            Role::Server(params, raft) => Self::Server(Box::new(Server::boot(params, raft, disk))),
            Role::Producer(params, servers) => {
                Self::Producer(Box::new(Producer::new(params, servers)))
            }
            Role::Consumer(params, work, servers) => {
                Self::Consumer(Box::new(Consumer::new(params, work, servers)))
            }
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Server(server) => server.handle(input, ctx),
            Self::Producer(producer) => producer.handle(input, ctx),
            Self::Consumer(consumer) => consumer.handle(input, ctx),
        }
    }
}

type Ctx<'a, 'b> = &'a mut Context<'b, JetStream>;

/// The stream and its consumer, as the log has them.
#[derive(Debug, Default)]
struct Stream {
    messages: BTreeMap<u64, Item>,
    bytes: u64,
    last_seq: u64,
    /// Ids, and until when they are known again.
    known: BTreeMap<Serial, WallTime>,
    /// What was delivered and not acknowledged: how often, and when last.
    delivered: BTreeMap<u64, (u32, WallTime)>,
    /// The first that was never delivered.
    next_new: u64,
}

/// What came of a publish.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Published {
    /// It is in the stream, and these had to go for it.
    Stored(u64, Vec<(u64, Token)>),
    /// It was there already.
    Known,
    Full,
}

impl Stream {
    fn publish(
        &mut self,
        item: Item,
        has_id: bool,
        at: WallTime,
        params: &JetStreamParams,
    ) -> Published {
        if has_id {
            self.known.retain(|_, until| at < *until);
            if self.known.contains_key(&item.serial) {
                return Published::Known;
            }
        }
        let count_max = params.max_msgs.unwrap_or(u64::MAX);
        let bytes_max = params.max_bytes.map_or(u64::MAX, |bytes| bytes.0);
        let size = u64::from(item.size_bytes);
        let is_full = |stream: &Self, more: u64, bytes: u64| {
            count_max < stream.messages.len() as u64 + more || bytes_max < stream.bytes + bytes
        };
        if matches!(params.discard, Discard::New) && is_full(self, 1, size) {
            return Published::Full;
        }
        if has_id {
            let window = i64::try_from(params.duplicate_window.as_ns()).unwrap_or(i64::MAX);
            self.known.insert(item.serial, WallTime(at.0.saturating_add(window)));
        }
        self.last_seq += 1;
        self.messages.insert(self.last_seq, item);
        self.bytes += size;
        let mut gone = Vec::new();
        while is_full(self, 0, 0)
            && let Some((&oldest, _)) = self.messages.first_key_value()
        {
            let item = self.remove(oldest).expect("it was just seen");
            gone.push((oldest, item.token()));
        }
        Published::Stored(self.last_seq, gone)
    }

    fn remove(&mut self, seq: u64) -> Option<Item> {
        self.delivered.remove(&seq);
        let item = self.messages.remove(&seq)?;
        self.bytes -= u64::from(item.size_bytes);
        Some(item)
    }
}

/// The consumer as its leader sees it, who is ahead of the log.
#[derive(Debug, Default)]
struct Desk {
    next_new: u64,
    /// What was delivered and not acknowledged: how often, and until when that may go on; nothing
    /// where it waits in the redelivery queue.
    pending: BTreeMap<u64, (u32, Option<SimTime>)>,
    /// What is delivered again, before anything new.
    again: VecDeque<u64>,
    /// What is delivered no more.
    parked: BTreeSet<u64>,
    /// Requests, each served in its turn (`waitQueue.pop`).
    waiting: VecDeque<Pull>,
    /// The timer for what is due first.
    timer: Option<(SimTime, TimerId)>,
}

#[derive(Clone, Copy, Debug)]
struct Pull {
    of: Reply,
    left: u32,
    until: SimTime,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    params: JetStreamParams,
    raft: Raft<Order>,
    stream: Stream,
    /// The consumer, where this server leads.
    desk: Option<Desk>,
    clients: BTreeMap<NodeId, Connection>,
    unreachable: BTreeSet<NodeId>,
    members: Vec<NodeId>,
    commit: GroupCommit,
    is_writing_back: bool,
}

impl Server {
    fn boot(params: &JetStreamParams, role: &RaftRole, disk: &RaftDisk<Order>) -> Self {
        Self {
            params: params.clone(),
            raft: Raft::boot(role, disk),
            stream: Stream { next_new: 1, ..Stream::default() },
            desk: None,
            clients: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            members: role.members.clone(),
            commit: GroupCommit::default(),
            is_writing_back: false,
        }
    }

    fn handle(&mut self, input: Input<JetStream>, ctx: Ctx<'_, '_>) {
        match input {
            Input::Start => {
                if self.params.sync_interval != SimDuration::ZERO {
                    ctx.set_timer(self.params.sync_interval, Timer::Sync);
                }
                self.drive(Input::Start, ctx);
            }
            Input::Message { from, via, message } => self.hear(from, via, message, ctx),
            Input::Closed { peer, via, why } => {
                if self.members.contains(&peer) {
                    self.unreachable.insert(peer);
                    if let Some(desk) = &mut self.desk {
                        desk.waiting.retain(|pull| pull.of.server != peer);
                    }
                    self.drive(Input::Closed { peer, via, why }, ctx);
                } else if self.clients.get(&peer) == Some(&via) {
                    self.clients.remove(&peer);
                    self.route(peer, Want::Leave, ctx);
                }
            }
            Input::Timer(Timer::Raft(timer)) => self.drive(Input::Timer(timer), ctx),
            Input::Timer(Timer::Pending) => self.check_pending(ctx),
            Input::Timer(Timer::Sync) => {
                ctx.sync();
                ctx.set_timer(self.params.sync_interval, Timer::Sync);
            }
            Input::Timer(Timer::WriteBack) => {
                self.is_writing_back = false;
                ctx.sync();
            }
            Input::Synced(sync) => {
                self.commit.synced(ctx);
                self.drive(Input::Synced(sync), ctx);
            }
            Input::Timer(_) => unreachable!("a server sets no client's timer"),
            Input::Overload { from, message: Message::Want(Want::Publish { id, .. }), .. } => {
                let of = Reply { server: ctx.id(), client: from, id };
                ctx.send(from, Message::Published(of, Answer::Full));
            }
            Input::Overload { .. } | Input::Request(_) | Input::Signal(_) => (),
        }
    }

    /// Lets something happen to the log's member.
    fn drive(&mut self, input: Input<Raft<Order>>, ctx: Ctx<'_, '_>) {
        for output in ctx.ask_part(&mut self.raft, input) {
            match output {
                Output::Indicate(indication) => self.heed_log(indication, ctx),
                Output::Send { to, message } => ctx.send(to, Message::Raft(message)),
                Output::Disconnect { peer } => ctx.disconnect(peer),
                Output::SetTimer { id, after, timer } => {
                    ctx.put_out(Output::SetTimer { id, after, timer: Timer::Raft(timer) });
                }
                Output::CancelTimer(id) => ctx.cancel_timer(id),
                Output::Write(write) => {
                    ctx.write(write);
                    let syncs_itself = self.params.sync_interval == SimDuration::ZERO;
                    if !self.is_writing_back && !syncs_itself {
                        self.is_writing_back = true;
                        ctx.set_timer(WRITE_BACK, Timer::WriteBack);
                    }
                }
                Output::Sync(id) => self.commit.want(id, ctx),
                Output::Reach(point) => ctx.reach(point),
            }
        }
    }

    fn heed_log(&mut self, indication: RaftIndication<Order>, ctx: Ctx<'_, '_>) {
        match indication {
            RaftIndication::Committed { command, .. } => self.carry_out(command, ctx),
            RaftIndication::Leads => self.lead(ctx),
            RaftIndication::Follows => self.desk = None,
        }
    }

    fn carry_out(&mut self, order: Order, ctx: Ctx<'_, '_>) {
        match order {
            Order::Publish { of, item, has_id, at } => {
                let published = self.stream.publish(item, has_id, at, &self.params);
                if self.desk.is_none() {
                    return;
                }
                let answer = match published {
                    Published::Stored(_, gone) => {
                        ctx.indicate(Indication::Stored(item.token()));
                        self.let_go(gone, ctx);
                        ctx.reach("stored");
                        Answer::Stored
                    }
                    Published::Known => Answer::Stored,
                    Published::Full => Answer::Full,
                };
                self.send_to(of, Message::Published(of, answer), ctx);
                self.serve(ctx);
            }
            Order::Delivered { seq, count, at } => {
                self.stream.next_new = self.stream.next_new.max(seq + 1);
                if self.stream.messages.contains_key(&seq) {
                    self.stream.delivered.insert(seq, (count, at));
                }
            }
            Order::Acked(seq) => {
                self.stream.delivered.remove(&seq);
                match self.params.retention {
                    Retention::Limits => (),
                    Retention::Interest | Retention::WorkQueue => {
                        self.stream.remove(seq);
                    }
                }
            }
        }
    }

    /// Leads from now on: takes the consumer over as the log has it.
    fn lead(&mut self, ctx: Ctx<'_, '_>) {
        let mut desk = Desk { next_new: self.stream.next_new, ..Desk::default() };
        let mut handed = Vec::new();
        for (&seq, &(count, at)) in &self.stream.delivered {
            let age = SimDuration::from_ns(ctx.wall().0.saturating_sub(at.0).max(0) as u64);
            let left = self.params.patience(count).as_ns().saturating_sub(age.as_ns());
            let until = ctx.now() + SimDuration::from_ns(left);
            desk.pending.insert(seq, (count, Some(until)));
            handed.push(self.stream.messages[&seq].token());
        }
        let new = self.stream.messages.range(desk.next_new..);
        let ready = new.map(|(_, item)| item.token()).collect();
        ctx.indicate(Indication::Holds { ready, handed });
        self.desk = Some(desk);
        self.await_pending(ctx);
    }

    /// Messages are gone for new ones.
    fn let_go(&mut self, gone: Vec<(u64, Token)>, ctx: Ctx<'_, '_>) {
        let Some(desk) = &mut self.desk else { return };
        for (seq, token) in gone {
            let was_handed = match desk.forget(seq) {
                Some(is_ready) => !is_ready,
                None if desk.next_new <= seq => false,
                // It was acknowledged.
                None => continue,
            };
            let (why, is_kept) = (Death::Overflow, false);
            ctx.indicate(Indication::Died { token, why, was_handed, is_kept });
        }
    }

    fn send_to(&self, of: Reply, message: Message, ctx: Ctx<'_, '_>) {
        let is_here = of.server == ctx.id();
        if is_here && self.clients.contains_key(&of.client) {
            ctx.send(of.client, message);
        } else if !is_here {
            ctx.send(of.server, message);
        }
    }

    fn hear(&mut self, from: NodeId, via: Connection, message: Message, ctx: Ctx<'_, '_>) {
        if self.members.contains(&from) {
            self.unreachable.remove(&from);
        }
        match message {
            Message::Connect(epoch) => {
                self.clients.insert(from, via);
                ctx.send(from, Message::Connected(epoch));
            }
            Message::Ping => ctx.send(from, Message::Pong),
            Message::Want(want) => self.route(from, want, ctx),
            Message::Routed(client, want) => {
                if self.desk.is_some() {
                    self.want(from, client, want, ctx);
                } else {
                    refuse(from, client, &want, ctx);
                }
            }
            Message::Published(of, _) | Message::Deliver(of, _) | Message::Expired(of) => {
                self.send_to(of, message, ctx);
            }
            Message::Raft(message) => self.drive(Input::Message { from, via, message }, ctx),
            Message::Connected(_) | Message::Pong => {
                unreachable!("only a server says this, to a client")
            }
        }
    }

    /// A client of this server wants something of the stream.
    fn route(&mut self, client: NodeId, want: Want, ctx: Ctx<'_, '_>) {
        let me = ctx.id();
        if self.desk.is_some() {
            self.want(me, client, want, ctx);
            return;
        }
        let leader = self.raft.leader().filter(|&leader| leader != me);
        match leader.filter(|leader| !self.unreachable.contains(leader)) {
            Some(leader) => ctx.send(leader, Message::Routed(client, want)),
            None => refuse(me, client, &want, ctx),
        }
    }

    fn propose(&mut self, order: Order, ctx: Ctx<'_, '_>) {
        self.drive(Input::Request(order), ctx);
    }

    /// A client wants something, and this server leads.
    fn want(&mut self, server: NodeId, client: NodeId, want: Want, ctx: Ctx<'_, '_>) {
        let Some(desk) = &mut self.desk else { return };
        match want {
            Want::Publish { id, item, has_id } => {
                let of = Reply { server, client, id };
                let at = ctx.wall();
                self.propose(Order::Publish { of, item, has_id, at }, ctx);
            }
            Want::Pull { id, count } => {
                let of = Reply { server, client, id };
                let until = ctx.now() + self.params.pull_expiry;
                if desk.waiting.len() < WAITING_MAX {
                    desk.waiting.push_back(Pull { of, left: count, until });
                } else {
                    self.send_to(of, Message::Expired(of), ctx);
                }
                self.serve(ctx);
            }
            Want::Ack(seq) => self.settle(seq, ctx),
            Want::Nak(seq) => {
                self.lapse(seq, true, ctx);
                self.serve(ctx);
            }
            Want::Term(seq) => {
                if let Some(is_ready) = desk.forget(seq)
                    && let Some(item) = self.stream.messages.get(&seq)
                {
                    let (token, why) = (item.token(), Death::Rejected);
                    let (was_handed, is_kept) = (!is_ready, false);
                    ctx.indicate(Indication::Died { token, why, was_handed, is_kept });
                    self.propose(Order::Acked(seq), ctx);
                }
            }
            Want::InProgress(seq) => {
                let (now, params) = (ctx.now(), &self.params);
                if let Some((count, Some(until))) = desk.pending.get_mut(&seq) {
                    *until = now + params.patience(*count);
                }
            }
            Want::Leave => desk.waiting.retain(|pull| pull.of.client != client),
        }
    }

    /// A message is acknowledged, by whomever: that it is with another client now is no hindrance.
    fn settle(&mut self, seq: u64, ctx: Ctx<'_, '_>) {
        let Some(desk) = &mut self.desk else { return };
        let Some(is_ready) = desk.forget(seq) else { return };
        if let Some(item) = self.stream.messages.get(&seq) {
            let token = item.token();
            ctx.indicate(if is_ready {
                let (why, was_handed, is_kept) = (Death::Rejected, false, false);
                Indication::Died { token, why, was_handed, is_kept }
            } else {
                Indication::Settled(token)
            });
        }
        self.propose(Order::Acked(seq), ctx);
        self.serve(ctx);
    }

    /// A delivery has come to nothing, because it was given back or for want of an acknowledgement:
    /// the message is delivered again, unless that was often enough.
    fn lapse(&mut self, seq: u64, is_given: bool, ctx: Ctx<'_, '_>) {
        let Some(desk) = &mut self.desk else { return };
        let Some((count, until)) = desk.pending.get_mut(&seq) else { return };
        let Some(item) = self.stream.messages.get(&seq).filter(|_| until.is_some()) else { return };
        let (token, limit) = (item.token(), self.params.max_deliver);
        ctx.indicate(if is_given {
            Indication::Returned(token)
        } else {
            Indication::Lapsed(token)
        });
        *until = None;
        if 0 < limit && limit <= *count {
            desk.pending.remove(&seq);
            desk.parked.insert(seq);
            ctx.indicate(Indication::Parked(token));
        } else {
            desk.again.push_back(seq);
        }
    }

    /// Looks at all that is pending: what has been so for too long joins the redelivery queue, the
    /// oldest first (`checkPending`).
    fn check_pending(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        let Some(desk) = &mut self.desk else { return };
        desk.timer = None;
        let late =
            desk.pending.iter().filter(|&(_, &(_, until))| until.is_some_and(|at| at <= now));
        for seq in late.map(|(&seq, _)| seq).collect::<Vec<u64>>() {
            self.lapse(seq, false, ctx);
        }
        self.serve(ctx);
    }

    /// Gives messages to those who asked for some, as long as both last.
    fn serve(&mut self, ctx: Ctx<'_, '_>) {
        let (now, me) = (ctx.now(), ctx.id());
        loop {
            let Some(desk) = &mut self.desk else { return };
            let over: Vec<Reply> =
                desk.waiting.iter().filter(|pull| pull.until <= now).map(|pull| pull.of).collect();
            desk.waiting.retain(|pull| now < pull.until);
            for of in over {
                self.send_to(of, Message::Expired(of), ctx);
            }
            let Some(desk) = &mut self.desk else { return };
            if desk.waiting.is_empty() {
                break;
            }
            let Some((seq, count)) = desk.next(&self.stream, self.params.max_ack_pending) else {
                break;
            };
            let mut pull = desk.waiting.pop_front().expect("somebody waits");
            pull.left -= 1;
            if 0 < pull.left {
                desk.waiting.push_back(pull);
            }
            desk.pending.insert(seq, (count, Some(now + self.params.patience(count))));
            let item = self.stream.messages[&seq];
            let (token, to, is_redelivered) = (item.token(), pull.of.client, 1 < count);
            let is_settled = false;
            ctx.indicate(Indication::Handed { token, to, is_redelivered, is_settled });
            let at = ctx.wall();
            let delivery = Message::Deliver(pull.of, Delivery { item, seq, count });
            if pull.of.server == me || !self.unreachable.contains(&pull.of.server) {
                self.send_to(pull.of, delivery, ctx);
            }
            self.propose(Order::Delivered { seq, count, at }, ctx);
        }
        self.await_pending(ctx);
    }

    /// Sets a timer for what is due first.
    fn await_pending(&mut self, ctx: Ctx<'_, '_>) {
        let Some(desk) = &mut self.desk else { return };
        let pending = desk.pending.values().filter_map(|&(_, until)| until);
        let next = pending.chain(desk.waiting.iter().map(|pull| pull.until)).min();
        let is_set = desk.timer.is_some_and(|(at, _)| next.is_none_or(|next| at <= next));
        if is_set {
            return;
        }
        if let Some((_, timer)) = desk.timer.take() {
            ctx.cancel_timer(timer);
        }
        if let Some(at) = next {
            desk.timer = Some((at, ctx.set_timer(at.since(ctx.now()), Timer::Pending)));
        }
    }
}

/// Tells a client that nobody listens to what it published; the rest it will ask again.
fn refuse(server: NodeId, client: NodeId, want: &Want, ctx: Ctx<'_, '_>) {
    let (id, is_publish) = match want {
        Want::Publish { id, .. } => (*id, true),
        Want::Pull { id, .. } => (*id, false),
        _ => return,
    };
    let of = Reply { server, client, id };
    let to = if server == ctx.id() { client } else { server };
    let message = if is_publish {
        Message::Published(of, Answer::NoResponders)
    } else {
        Message::Expired(of)
    };
    ctx.send(to, message);
}

impl Desk {
    /// A message is of no concern any more. Whether it was ready, where it was a concern.
    fn forget(&mut self, seq: u64) -> Option<bool> {
        if self.parked.remove(&seq) {
            return Some(true);
        }
        let (_, until) = self.pending.remove(&seq)?;
        self.again.retain(|&other| other != seq);
        Some(until.is_none())
    }

    /// The next message to deliver, and for which time.
    fn next(&mut self, stream: &Stream, pending_max: u32) -> Option<(u64, u32)> {
        if let Some(seq) = self.again.pop_front() {
            let (count, _) = self.pending[&seq];
            return Some((seq, count + 1));
        }
        if pending_max as usize <= self.pending.len() {
            return None;
        }
        let (&seq, _) = stream.messages.range(self.next_new..).next()?;
        self.next_new = seq + 1;
        Some((seq, 1))
    }
}

/// A client's connection with one of the servers.
#[derive(Clone, Debug)]
struct Wired {
    link: Link,
    heart: Heart,
    ping_interval: SimDuration,
}

impl Wired {
    fn new(params: &JetStreamParams, servers: &[NodeId]) -> Self {
        // The next server at once (`nats.go`, `doReconnect`), and a pause when that fails too.
        let backoff = Backoff { first: SimDuration::ZERO, ..Backoff::constant(params.reconnect) };
        let link = Link::among(servers, backoff);
        Self { link, heart: Heart::default(), ping_interval: params.ping_interval }
    }

    fn connect(&mut self, ctx: Ctx<'_, '_>) {
        self.heart = Heart::default();
        self.link.open(ctx, Message::Connect);
    }

    /// Takes notice of an input. Whether the connection is gone with it.
    fn hear(&mut self, input: &Input<JetStream>, ctx: Ctx<'_, '_>) -> bool {
        match input {
            Input::Start => {
                self.connect(ctx);
                ctx.set_timer(self.ping_interval.scale(1, 2), Timer::Beat);
            }
            Input::Message { from, via, message } if *from == self.link.broker() => {
                self.heart.hear();
                if let Message::Connected(epoch) = message {
                    self.link.opened(*epoch, *via, ctx);
                }
            }
            Input::Closed { peer, via, .. }
                if *peer == self.link.broker() && self.link.closed(*via, ctx) =>
            {
                return true;
            }
            Input::Timer(Timer::Link(LinkTimer::Timeout)) => {
                self.link.fail(ctx);
                ctx.disconnect(self.link.broker());
                return true;
            }
            Input::Timer(Timer::Link(LinkTimer::Retry)) => self.connect(ctx),
            Input::Timer(Timer::Beat) => {
                ctx.set_timer(self.ping_interval.scale(1, 2), Timer::Beat);
                if self.link.is_open() && self.heart.beat() {
                    self.link.hang_up(ctx);
                    return true;
                }
                self.say(Message::Ping, ctx);
            }
            _ => (),
        }
        false
    }

    fn say(&self, message: Message, ctx: Ctx<'_, '_>) {
        if self.link.is_open() {
            ctx.send(self.link.broker(), message);
        }
    }

    fn try_next(&mut self, ctx: Ctx<'_, '_>) {
        self.link.move_on();
        self.link.try_later(ctx);
    }
}

/// Publishes messages, and publishes again what was not answered.
#[derive(Clone, Debug)]
pub(super) struct Producer {
    params: JetStreamParams,
    wired: Wired,
    next_place: u64,
    /// Sent and not answered, or still to be sent, in order.
    open: BTreeMap<u64, Publish>,
}

#[derive(Clone, Copy, Debug)]
struct Publish {
    item: Item,
    /// How often it was tried.
    tries: u16,
    /// How often nobody listened, since it was answered last or was overdue.
    refusals: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    ToSend,
    Sent(TimerId),
    /// It is tried again when that is due.
    Waits,
}

impl Publish {
    /// Names its latest try: an answer to an earlier one comes too late.
    const fn id(&self, place: u64) -> u64 {
        (place << 16) | self.tries as u64
    }
}

impl Producer {
    fn new(params: &JetStreamParams, servers: &[NodeId]) -> Self {
        let wired = Wired::new(params, servers);
        Self { params: params.clone(), wired, next_place: 0, open: BTreeMap::new() }
    }

    fn handle(&mut self, input: Input<JetStream>, ctx: Ctx<'_, '_>) {
        if self.wired.hear(&input, ctx) {
            // What was under way is answered or not: the time-outs tell.
            self.wired.try_next(ctx);
        }
        match input {
            Input::Request(Request::Publish(item)) => {
                let publish = Publish { item, tries: 0, refusals: 0, stage: Stage::ToSend };
                self.open.insert(self.next_place, publish);
                self.next_place += 1;
            }
            Input::Message { message: Message::Published(of, answer), .. } => {
                self.answered(of.id, answer, ctx);
            }
            Input::Timer(Timer::Publish(place)) => self.overdue(place, ctx),
            _ => (),
        }
        self.send_all(ctx);
    }

    fn send_all(&mut self, ctx: Ctx<'_, '_>) {
        if !self.wired.link.is_open() {
            return;
        }
        let window = self.params.publish_window as usize;
        for (&place, publish) in self.open.iter_mut().take(window) {
            if publish.stage != Stage::ToSend {
                continue;
            }
            publish.tries = publish.tries.wrapping_add(1);
            let (id, item, has_id) = (publish.id(place), publish.item, self.params.msg_id);
            self.wired.say(Message::Want(Want::Publish { id, item, has_id }), ctx);
            let timer = ctx.set_timer(self.params.publish_timeout, Timer::Publish(place));
            publish.stage = Stage::Sent(timer);
            ctx.indicate(Indication::Sent { serial: item.serial, is_kept: true });
        }
    }

    fn answered(&mut self, id: u64, answer: Answer, ctx: Ctx<'_, '_>) {
        let place = id >> 16;
        let Some(publish) = self.open.get_mut(&place) else { return };
        let Stage::Sent(timer) = publish.stage else { return };
        if publish.id(place) != id {
            return;
        }
        ctx.cancel_timer(timer);
        let serial = publish.item.serial;
        match answer {
            Answer::Stored => {
                ctx.indicate(Indication::Confirmed(serial));
                self.open.remove(&place);
            }
            Answer::Full => {
                ctx.indicate(Indication::Refused(serial));
                self.open.remove(&place);
            }
            Answer::NoResponders => {
                publish.refusals += 1;
                if self.params.resend || publish.refusals <= self.params.retry_attempts {
                    publish.stage = Stage::Waits;
                    ctx.set_timer(self.params.retry_wait, Timer::Publish(place));
                } else {
                    self.give_up(place, ctx);
                }
            }
        }
    }

    /// A publish was not answered in time, or is to be tried again.
    fn overdue(&mut self, place: u64, ctx: Ctx<'_, '_>) {
        let Some(publish) = self.open.get_mut(&place) else { return };
        if publish.stage == Stage::Waits || self.params.resend {
            publish.stage = Stage::ToSend;
        } else {
            self.give_up(place, ctx);
        }
    }

    fn give_up(&mut self, place: u64, ctx: Ctx<'_, '_>) {
        if let Some(publish) = self.open.remove(&place) {
            ctx.indicate(Indication::GaveUp(publish.item.serial));
        }
    }
}

/// Pulls messages and works on them.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    params: JetStreamParams,
    wired: Wired,
    buffer: VecDeque<Delivery>,
    pool: Pool<u64>,
    /// On what it works.
    at_work: Vec<u64>,
    next_id: u64,
    /// Requests that stand: how many messages may still come.
    pulls: BTreeMap<u64, u32>,
    is_stopping: bool,
    is_away: bool,
}

impl Consumer {
    fn new(params: &JetStreamParams, work: &Work, servers: &[NodeId]) -> Self {
        Self {
            params: params.clone(),
            wired: Wired::new(params, servers),
            buffer: VecDeque::new(),
            pool: Pool::new(work),
            at_work: Vec::new(),
            next_id: 0,
            pulls: BTreeMap::new(),
            is_stopping: false,
            is_away: false,
        }
    }

    fn handle(&mut self, input: Input<JetStream>, ctx: Ctx<'_, '_>) {
        if self.wired.hear(&input, ctx) {
            ctx.indicate(Indication::Cut);
            self.pulls.clear();
            if !self.is_stopping && !self.is_away {
                self.wired.try_next(ctx);
            }
        }
        match input {
            Input::Start if self.params.in_progress != SimDuration::ZERO => {
                ctx.set_timer(self.params.in_progress, Timer::Progress);
            }
            Input::Message { message: Message::Deliver(of, delivery), .. } => {
                self.receive(of.id, delivery, ctx);
            }
            Input::Message { message: Message::Expired(of), .. } => {
                self.pulls.remove(&of.id);
            }
            Input::Timer(Timer::Publish(id)) => {
                // It has stood for long enough, and its end may have been lost.
                self.pulls.remove(&id);
            }
            Input::Timer(Timer::Respawn) => {
                self.is_away = false;
                self.wired.connect(ctx);
            }
            Input::Timer(Timer::Progress) => {
                ctx.set_timer(self.params.in_progress, Timer::Progress);
                for &seq in &self.at_work {
                    self.wired.say(Message::Want(Want::InProgress(seq)), ctx);
                }
            }
            Input::Timer(Timer::Work(timer)) => {
                if let Some(finished) = self.pool.due(timer, ctx) {
                    self.finish(finished, ctx);
                }
            }
            Input::Request(Request::Answer { slot, is_known }) => {
                self.pool.answered(slot, is_known, ctx);
            }
            Input::Signal(Signal::Terminate) => self.stop(ctx),
            _ => (),
        }
        self.feed(ctx);
    }

    fn receive(&mut self, pull: u64, delivery: Delivery, ctx: Ctx<'_, '_>) {
        if let Some(left) = self.pulls.get_mut(&pull) {
            *left -= 1;
            if *left == 0 {
                self.pulls.remove(&pull);
            }
        }
        let (serial, is_redelivered) = (delivery.item.serial, 1 < delivery.count);
        ctx.indicate(Indication::Received { serial, is_redelivered });
        self.buffer.push_back(delivery);
    }

    fn feed(&mut self, ctx: Ctx<'_, '_>) {
        if self.is_stopping || self.is_away {
            return;
        }
        while self.pool.has_room() {
            let Some(Delivery { item, seq, count }) = self.buffer.pop_front() else { break };
            self.at_work.push(seq);
            self.pool.begin(item, seq, count - 1, ctx);
        }
        let coming: u32 = self.pulls.values().sum();
        let has = coming + self.buffer.len() as u32 + self.at_work.len() as u32;
        if self.wired.link.is_open() && has <= self.params.batch / 2 {
            let (id, count) = (self.next_id, self.params.batch - has);
            self.next_id += 1;
            self.pulls.insert(id, count);
            self.wired.say(Message::Want(Want::Pull { id, count }), ctx);
            ctx.set_timer(self.params.pull_expiry + EXPIRY_GRACE, Timer::Publish(id));
        }
    }

    fn finish(&mut self, done: Finished<u64>, ctx: Ctx<'_, '_>) {
        let (serial, seq) = (done.item.serial, done.handle);
        self.at_work.retain(|&other| other != seq);
        let want = match done.end {
            End::Done | End::Known => Some(Want::Ack(seq)),
            End::Failed => {
                let (told, want) = match self.params.on_failure {
                    OnFailure::Nak => (Indication::LeftOff(serial), Some(Want::Nak(seq))),
                    OnFailure::Nothing => (Indication::LeftOff(serial), None),
                    OnFailure::Term => (Indication::Failed(serial), Some(Want::Term(seq))),
                };
                ctx.indicate(told);
                want
            }
            End::Killed => {
                ctx.indicate(Indication::LeftOff(serial));
                self.leave(ctx);
                self.is_away = true;
                ctx.set_timer(self.params.respawn, Timer::Respawn);
                return;
            }
        };
        if let Some(want) = want {
            let is_ack = matches!(want, Want::Ack(_));
            self.wired.say(Message::Want(want), ctx);
            if is_ack {
                ctx.reach("acked");
            }
        }
    }

    /// The process ends: what it had stays pending.
    fn leave(&mut self, ctx: Ctx<'_, '_>) {
        self.pool.kill_all(ctx);
        self.at_work.clear();
        for delivery in self.buffer.drain(..) {
            ctx.indicate(Indication::Dropped(delivery.item.serial));
        }
        self.pulls.clear();
        self.wired.link.hang_up(ctx);
        ctx.indicate(Indication::Cut);
    }

    /// It ends at once, as a program does that handles no signal.
    fn stop(&mut self, ctx: Ctx<'_, '_>) {
        self.is_stopping = true;
        self.leave(ctx);
    }
}

/// How many requests a consumer keeps waiting (`MaxWaiting`).
const WAITING_MAX: usize = 512;

/// How much longer than a request stands a client waits for its end.
const EXPIRY_GRACE: SimDuration = SimDuration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::node::Bench;
    use crate::queues::Outcome;
    use crate::queues::config::from_nothing;
    use crate::queues::tests::play;
    use crate::queues::work::tests::item;

    /// One server with a stream, and who speaks with it by hand.
    struct Hand {
        bench: Bench<JetStream>,
        server: JetStream,
        told: Vec<Indication>,
    }

    const SERVER: NodeId = NodeId(0);
    const ANN: NodeId = NodeId(1);
    const BOB: NodeId = NodeId(2);

    impl Hand {
        fn new(params: JetStreamParams) -> Self {
            let raft =
                RaftRole { config: params.log(1), members: vec![SERVER], restricts_votes: true };
            let server =
                JetStream::boot(&Role::Server(Box::new(params), raft), &RaftDisk::default());
            let mut hand = Self { bench: Bench::new(SERVER), server, told: Vec::new() };
            hand.give(Input::Start);
            for client in [ANN, BOB] {
                hand.say(client, Message::Connect(1));
            }
            hand
        }

        /// What goes to whom.
        fn give(&mut self, input: Input<JetStream>) -> Vec<(NodeId, Message)> {
            let mut sent = Vec::new();
            for output in self.bench.tell(&mut self.server, input) {
                match output {
                    Output::Send { to, message } => sent.push((to, message)),
                    Output::Indicate(told) => self.told.push(told),
                    _ => (),
                }
            }
            sent
        }

        fn say(&mut self, from: NodeId, message: Message) -> Vec<(NodeId, Message)> {
            self.give(Input::Message { from, via: Connection(0), message })
        }

        /// The deliveries that follow: to whom, which message, for which time.
        fn want(&mut self, from: NodeId, want: Want) -> Vec<(NodeId, u64, u32)> {
            deliveries(self.say(from, Message::Want(want)))
        }

        fn publish(&mut self, serials: std::ops::Range<u64>) -> Vec<Answer> {
            let answers = serials.flat_map(|serial| {
                let (id, item, has_id) = (serial, item(serial), true);
                self.say(ANN, Message::Want(Want::Publish { id, item, has_id }))
            });
            let answers = answers.filter_map(|(_, message)| match message {
                Message::Published(_, answer) => Some(answer),
                _ => None,
            });
            answers.collect()
        }

        fn pull(&mut self, from: NodeId, count: u32) -> Vec<(NodeId, u64, u32)> {
            self.want(from, Want::Pull { id: 0, count })
        }

        fn pass(&mut self, seconds: u64) -> Vec<(NodeId, u64, u32)> {
            self.bench.now = self.bench.now + SimDuration::from_secs(seconds);
            self.bench.wall = self.bench.wall.plus_ns((seconds * 1_000_000_000) as i64);
            deliveries(self.give(Input::Timer(Timer::Pending)))
        }
    }

    fn deliveries(sent: Vec<(NodeId, Message)>) -> Vec<(NodeId, u64, u32)> {
        let all = sent.into_iter().filter_map(|(to, message)| match message {
            Message::Deliver(_, delivery) => Some((to, delivery.item.serial.0, delivery.count)),
            _ => None,
        });
        all.collect()
    }

    fn params() -> JetStreamParams {
        from_nothing()
    }

    #[test]
    fn what_is_given_back_is_delivered_before_what_is_new_in_the_order_in_which_it_was() {
        let mut hand = Hand::new(params());
        hand.publish(0..6);
        assert_eq!(hand.pull(ANN, 4), [(ANN, 0, 1), (ANN, 1, 1), (ANN, 2, 1), (ANN, 3, 1)]);
        hand.want(ANN, Want::Nak(3));
        hand.want(ANN, Want::Nak(1));
        assert_eq!(hand.pull(ANN, 4), [(ANN, 2, 2), (ANN, 0, 2), (ANN, 4, 1), (ANN, 5, 1)]);
    }

    #[test]
    fn requests_that_wait_are_served_in_turn() {
        let mut hand = Hand::new(params());
        hand.pull(ANN, 2);
        hand.pull(BOB, 9);
        let to: Vec<NodeId> = (0..4)
            .flat_map(|id| {
                let (item, has_id) = (item(id), true);
                hand.want(ANN, Want::Publish { id, item, has_id })
            })
            .map(|(to, ..)| to)
            .collect();
        assert_eq!(to, [ANN, BOB, ANN, BOB]);
    }

    #[test]
    fn after_ack_wait_another_client_gets_it_and_the_first_may_still_acknowledge_it() {
        let mut hand = Hand::new(params());
        hand.publish(0..1);
        hand.pull(ANN, 1);
        assert_eq!(hand.pass(29), []);
        assert_eq!(hand.pull(BOB, 1), []);
        assert_eq!(hand.pass(1), [(BOB, 0, 2)]);
        hand.want(ANN, Want::Ack(1));
        assert!(matches!(hand.told.last(), Some(Indication::Settled(_))));
        hand.pull(ANN, 1);
        assert_eq!(hand.pass(60), [], "it is gone");
    }

    #[test]
    fn who_says_that_it_is_at_work_keeps_it() {
        let mut hand = Hand::new(params());
        hand.publish(0..1);
        hand.pull(ANN, 1);
        hand.pass(20);
        hand.want(ANN, Want::InProgress(1));
        hand.pass(20);
        assert_eq!(hand.pull(BOB, 1), []);
        assert_eq!(hand.pass(10), [(BOB, 0, 2)]);
    }

    #[test]
    fn back_off_goes_by_how_often_it_was_delivered() {
        let backoff = [1, 5].map(SimDuration::from_secs).to_vec();
        let mut hand = Hand::new(JetStreamParams { backoff, ..params() });
        hand.publish(0..1);
        hand.pull(ANN, 9);
        assert_eq!(hand.pass(1), [(ANN, 0, 2)]);
        assert_eq!(hand.pass(4), []);
        assert_eq!(hand.pass(1), [(ANN, 0, 3)]);
        assert_eq!(hand.pass(4), []);
        assert_eq!(hand.pass(1), [(ANN, 0, 4)], "the last one holds from then on");
    }

    #[test]
    fn what_was_delivered_often_enough_is_parked() {
        let mut hand = Hand::new(JetStreamParams { max_deliver: 3, ..params() });
        hand.publish(0..1);
        for time in 1..=3 {
            assert_eq!(hand.pull(ANN, 1), [(ANN, 0, time)]);
            hand.want(ANN, Want::Nak(1));
        }
        assert!(matches!(hand.told.last(), Some(Indication::Parked(_))));
        assert_eq!(hand.pull(ANN, 1), []);
    }

    #[test]
    fn no_more_is_pending_than_may_be() {
        let mut hand = Hand::new(JetStreamParams { max_ack_pending: 2, ..params() });
        hand.publish(0..5);
        assert_eq!(hand.pull(ANN, 9), [(ANN, 0, 1), (ANN, 1, 1)]);
        assert_eq!(hand.want(ANN, Want::Ack(1)), [(ANN, 2, 1)]);
    }

    #[test]
    fn an_id_is_known_again_within_the_window() {
        let mut hand = Hand::new(params());
        hand.publish(0..1);
        hand.pass(119);
        assert_eq!(hand.publish(0..1), [Answer::Stored], "the answer is that it is there");
        assert_eq!(hand.pull(ANN, 1), [(ANN, 0, 1)]);
        assert_eq!(hand.pull(ANN, 1), []);
        hand.pass(1);
        let (id, item, has_id) = (0, item(0), true);
        let delivered = hand.want(ANN, Want::Publish { id, item, has_id });
        assert_eq!(delivered, [(ANN, 0, 1)], "it is another one now");
    }

    #[test]
    fn a_full_stream_lets_the_oldest_go_or_refuses_the_new() {
        let full = || JetStreamParams { max_msgs: Some(3), ..params() };
        let mut hand = Hand::new(full());
        hand.publish(0..5);
        assert_eq!(hand.pull(ANN, 9), [(ANN, 2, 1), (ANN, 3, 1), (ANN, 4, 1)]);
        let mut hand = Hand::new(JetStreamParams { discard: Discard::New, ..full() });
        let stored = Answer::Stored;
        assert_eq!(hand.publish(0..5), [stored, stored, stored, Answer::Full, Answer::Full]);
        assert_eq!(hand.pull(ANN, 9), [(ANN, 0, 1), (ANN, 1, 1), (ANN, 2, 1)]);
    }

    #[test]
    fn what_was_acknowledged_still_counts_unless_another_retention_is_set() {
        let then = |retention: Option<Retention>| {
            let retention = retention.unwrap_or(params().retention);
            let discard = Discard::New;
            let mut hand =
                Hand::new(JetStreamParams { max_msgs: Some(1), retention, discard, ..params() });
            hand.publish(0..1);
            hand.pull(ANN, 1);
            hand.want(ANN, Want::Ack(1));
            hand.publish(1..2)
        };
        assert_eq!(then(None), [Answer::Full], "a stream keeps up to its limits by default");
        assert_eq!(then(Some(Retention::Limits)), [Answer::Full]);
        assert_eq!(then(Some(Retention::Interest)), [Answer::Stored]);
        assert_eq!(then(Some(Retention::WorkQueue)), [Answer::Stored]);
    }

    /// Two hundred messages a second for 3 s, and clients that come when all is over.
    fn stream(more: &str, faults: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ jetstream = {{ batch = 1{more} }} }}]\nbrokers = 3\n\
                 horizon = \"3s\"\ndrain = \"100s\"\n\
                 producers = {{ load = {{ open = {{ constant = \"200/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"1ms\" }}] }}\n"
            ),
            &format!(
                "fault = [{{ at = \"0s\", for = \"30s\", pause = {{ target = \"consumers\" }} }}\
                 {faults}]"
            ),
        )
    }

    const POWER: &str =
        ", { at = \"1502ms\", for = \"1s\", crash_machine = { target = \"brokers\" } }";

    #[test]
    fn power_that_fails_everywhere_loses_what_was_confirmed_unless_every_write_is_synced() {
        let outcome = stream("", POWER);
        let confirmed = 280..=301;
        assert!(confirmed.contains(&outcome.verdict.lost_confirmed), "{:?}", outcome.verdict);
        let outcome = stream(", sync_interval = \"0s\"", POWER);
        assert_eq!(outcome.verdict.lost(), 0, "{:?}", outcome.record.findings);
        assert_eq!(outcome.verdict.done, 600);
    }

    #[test]
    fn one_machine_of_three_may_go_for_ever() {
        for broker in 1..=3 {
            let crash = format!(
                ", {{ at = \"1s\", crash_machine = {{ target = \"broker-{broker}\" }} }}, \
                 {{ at = \"1s\", link_reset = {{ from = \"producer\", to = \"broker-{broker}\" }} }}"
            );
            let outcome = stream("", &crash);
            assert_eq!(outcome.verdict.lost(), 0, "{broker}: {:?}", outcome.record.findings);
            assert_eq!(outcome.verdict.broken, 0, "{broker}: {:?}", outcome.record.findings);
            assert_eq!(outcome.verdict.done, 600, "{broker}: {:?}", outcome.record.findings);
        }
    }

    #[test]
    fn a_killed_leader_loses_nothing_and_is_missed_for_as_long_as_an_election_takes() {
        let outcome = stream(
            "",
            ", { at = \"1s\", for = \"500ms\", crash_process = { target = \"broker-1\" } }",
        );
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 600));
        let mut confirmed = outcome.judge.history().iter().filter_map(|heard| {
            let at_ms = heard.at.as_ns() / 1_000_000;
            (matches!(heard.told, Indication::Confirmed(_)) && 1010 < at_ms).then_some(at_ms)
        });
        let first = confirmed.next().unwrap_or(0);
        assert!((5000..11_000).contains(&first), "{first}");
    }
}
