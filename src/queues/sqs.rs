//! Amazon SQS, standard and FIFO: a message that was received is invisible for a while, and must be
//! deleted before that is over.
//!
//! Read: the service model of botocore 1.44.5 (sqs 2012-11-05) and the developer guide. The service
//! is modelled as never losing what it has taken: its first server stands for all of them and
//! is struck by no crash that it would not survive. Further servers of a standard queue keep copies;
//! a client that cannot reach the first asks them, and one that has missed a delete gives the message
//! out again ("on rare occasions, one of the servers might be unavailable when you delete a
//! message").

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::choice::About;
use crate::config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Context, Input, Node, NodeId, Signal, TimerId, Wire};

use super::work::{End, Finished, Pool, Work, WorkTimer};
use super::{Death, Indication, Item, Part, QueueProtocol, QueuesConfig, Request, Scene};

config! {
    /// Amazon SQS.
    pub(super) struct SqsParams {
        /// The interface that is modelled.
        pub version: SqsVersion = SqsVersion::V2012_11_05,
        /// Whether the queue is FIFO: order within a key's group, and deduplication.
        pub fifo: bool = false,
        /// For how long a message that was received is invisible.
        pub visibility_timeout: SimDuration = SimDuration::from_secs(30),
        /// How long a message is kept.
        pub retention: SimDuration = SimDuration::from_secs(4 * 86_400),
        /// How often a message may be received before it goes to the dead-letter queue; 0 for any
        /// number, without one.
        pub max_receive_count: u32 = 10 => 0..=1000,
        /// For how long a FIFO queue knows a message again.
        pub deduplication: SimDuration = SimDuration::from_secs(300),
        /// How many messages a consumer asks for at once.
        pub max_messages: u32 = 1 => 1..=10,
        /// For how long a request for messages waits for one (`WaitTimeSeconds`; the queue's own
        /// default is 0, and clients are advised to ask for 20 s).
        pub wait: SimDuration = SimDuration::from_secs(20),
        /// Over how many hosts a standard queue is spread. A receive asks them all, beginning with
        /// one at random: so messages come about in the order in which they were sent, and no more.
        /// The service does not say how many there are.
        pub hosts: u32 = 4 => 1..=1000,
        /// How many messages of a queue may be invisible at the same time.
        pub in_flight_max: u32 = 120_000,
        /// After how long without an answer a client tries again.
        pub request_timeout: SimDuration = SimDuration::from_secs(5),
        /// How many times a client tries to send a message again (botocore, standard mode: 3
        /// attempts).
        pub send_retries: u32 = 2,
        /// How long a consumer is away that its work has killed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
    }
    check Self::check;
}

config! {
    /// A version of the service's interface.
    pub(super) enum SqsVersion {
        /// The one in use, as botocore 1.44.5 has it.
        "2012-11-05" => V2012_11_05,
    }
}

impl SqsParams {
    fn check(&self, value: &config::Value, problems: &mut config::Problems) {
        for (name, length, most) in [
            ("visibility_timeout", self.visibility_timeout, 43_200),
            ("retention", self.retention, 14 * 86_400),
            ("wait", self.wait, 20),
        ] {
            if SimDuration::from_secs(most) < length {
                let message = format!("`{name}` is {length}, expected at most {most}s");
                problems.add(value.place, message);
            }
        }
        if self.request_timeout == SimDuration::ZERO {
            problems.add(value.place, "`request_timeout` must be longer than nothing");
        }
    }
}

/// A message between client and server, or server and server.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Send {
        id: u64,
        item: Item,
    },
    Sent {
        id: u64,
    },
    Receive {
        id: u64,
        max: u32,
        wait: SimDuration,
    },
    Received {
        id: u64,
        messages: Vec<Delivery>,
    },
    Delete {
        receipt: Receipt,
    },
    Deleted,
    /// From the first server to the others.
    Copy(u64, Item),
    Hide(u64, SimTime),
    Drop(u64),
    /// From another server to the first: this was sent to me, this was deleted at me.
    Forward(Item),
    ForwardDelete(u64),
}

/// A message as a consumer gets it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    item: Item,
    receipt: Receipt,
    /// How often it had been received before.
    times: u32,
}

/// Names a message and one receive of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Receipt {
    message: u64,
    receive: u64,
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Send { .. } => "send",
            Self::Sent { .. } => "sent",
            Self::Receive { .. } => "receive",
            Self::Received { .. } => "received",
            Self::Delete { .. } => "delete",
            Self::Deleted => "deleted",
            Self::Copy(..) | Self::Hide(..) | Self::Drop(_) => "copy",
            Self::Forward(_) | Self::ForwardDelete(_) => "forward",
        }
    }

    fn size_bytes(&self) -> u32 {
        // An HTTPS request or response with its headers.
        const OVERHEAD: u32 = 700;
        let body = match self {
            Self::Send { item, .. } | Self::Copy(_, item) | Self::Forward(item) => item.size_bytes,
            Self::Received { messages, .. } => {
                messages.iter().map(|delivery| delivery.item.size_bytes).sum()
            }
            _ => 0,
        };
        body.saturating_add(OVERHEAD)
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Send { .. })
    }
}

/// What a node reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Work(WorkTimer),
    /// A message becomes visible, or its retention is over.
    Wake,
    /// A client has waited long enough for a message.
    Unblock(NodeId, u64),
    /// A request of this client is overdue.
    Overdue(u64),
    /// A consumer asks again.
    Poll,
}

impl From<WorkTimer> for Timer {
    fn from(timer: WorkTimer) -> Self {
        Self::Work(timer)
    }
}

/// A node of it.
#[derive(Clone, Debug)]
pub(super) enum Sqs {
    Server(Box<Server>),
    Producer(Box<Producer>),
    Consumer(Box<Consumer>),
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Server(Box<SqsParams>, NodeId, Vec<NodeId>),
    Producer(Box<SqsParams>, Vec<NodeId>),
    Consumer(Box<SqsParams>, Work, Vec<NodeId>),
}

impl QueueProtocol for Sqs {
    const ABOUT: About = About {
        name: "sqs",
        summary: "Amazon SQS, standard or FIFO: invisible until deleted or too late",
        source: "botocore 1.44.5, data/sqs/2012-11-05/service-2.json",
        version: "2012-11-05",
    };
    type Params = SqsParams;

    fn role(params: &SqsParams, part: Part, scene: &Scene) -> Role {
        let params = Box::new(params.clone());
        // A FIFO queue is served by one server alone: no copy can answer in its place.
        let servers = if params.fifo { scene.brokers[..1].to_vec() } else { scene.brokers.clone() };
        match part {
            Part::Broker(index) => Role::Server(params, scene.brokers[index as usize], servers),
            Part::Producer(_) => Role::Producer(params, servers),
            Part::Consumer(_) => Role::Consumer(params, scene.work.clone(), servers),
        }
    }

    fn fits(_: &SqsParams, config: &QueuesConfig) -> Result<(), String> {
        if config.messages.priorities.is_empty() {
            Ok(())
        } else {
            Err("SQS knows no priorities".into())
        }
    }
}

impl Node for Sqs {
    type Role = Role;
    type Stable = ();
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &Role, (): &()) -> Self {
        match role {
            Role::Server(params, me, servers) => {
                Self::Server(Box::new(Server::new(params, *me, servers)))
            }
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

type Ctx<'a, 'b> = &'a mut Context<'b, Sqs>;

/// A server with all messages of the queue.
#[derive(Clone, Debug)]
pub(super) struct Server {
    params: SqsParams,
    servers: Vec<NodeId>,
    is_first: bool,
    messages: BTreeMap<u64, Stored>,
    /// Those that are visible, by host.
    visible: BTreeSet<(u32, u64)>,
    next_id: u64,
    next_receive: u64,
    invisible_count: u32,
    /// FIFO: keys of which a message is invisible.
    locked: BTreeSet<u64>,
    /// FIFO: what was sent, and until when it is known again.
    known: BTreeMap<super::Serial, SimTime>,
    waiting: VecDeque<(NodeId, u64, u32)>,
    /// When something will happen to each message by itself.
    deadlines: BTreeSet<(SimTime, u64)>,
    wake: Option<(SimTime, TimerId)>,
}

#[derive(Clone, Copy, Debug)]
struct Stored {
    item: Item,
    expires: SimTime,
    /// Until when it is invisible, and by which receive; `None` where it is delayed.
    hidden: Option<(SimTime, Option<u64>)>,
    receive_count: u32,
}

impl Server {
    fn new(params: &SqsParams, me: NodeId, servers: &[NodeId]) -> Self {
        Self {
            params: params.clone(),
            servers: servers.to_vec(),
            is_first: servers[0] == me,
            messages: BTreeMap::new(),
            visible: BTreeSet::new(),
            next_id: 0,
            next_receive: 0,
            invisible_count: 0,
            locked: BTreeSet::new(),
            known: BTreeMap::new(),
            waiting: VecDeque::new(),
            deadlines: BTreeSet::new(),
            wake: None,
        }
    }

    fn handle(&mut self, input: Input<Sqs>, ctx: Ctx<'_, '_>) {
        match input {
            Input::Message { from, message, .. } => self.hear(from, message, ctx),
            Input::Closed { peer, .. } => self.waiting.retain(|&(client, ..)| client != peer),
            Input::Timer(Timer::Wake) => {
                self.wake = None;
                self.look_at_clock(ctx);
            }
            Input::Timer(Timer::Unblock(client, id)) => {
                let at =
                    self.waiting.iter().position(|&(who, which, _)| (who, which) == (client, id));
                if at.and_then(|at| self.waiting.remove(at)).is_some() {
                    ctx.send(client, Message::Received { id, messages: Vec::new() });
                }
            }
            Input::Timer(_) => unreachable!("a server sets no client's timer"),
            Input::Start
            | Input::Overload { .. }
            | Input::Request(_)
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }

    fn hear(&mut self, from: NodeId, message: Message, ctx: Ctx<'_, '_>) {
        match message {
            Message::Send { id, item } => {
                self.take_in(item, ctx);
                ctx.send(from, Message::Sent { id });
            }
            Message::Receive { id, max, wait } => {
                self.waiting.push_back((from, id, max));
                self.serve(ctx);
                if self.waiting.iter().any(|&(who, which, _)| (who, which) == (from, id)) {
                    ctx.set_timer(wait, Timer::Unblock(from, id));
                }
            }
            Message::Delete { receipt } => {
                self.delete(receipt, ctx);
                ctx.send(from, Message::Deleted);
            }
            Message::Copy(id, item) => {
                let expires = ctx.now() + self.params.retention;
                self.keep(id, Stored { item, expires, hidden: None, receive_count: 0 });
            }
            Message::Hide(id, until) => {
                if let Some(&stored) = self.messages.get(&id) {
                    self.keep(id, Stored { hidden: Some((until, None)), ..stored });
                }
            }
            Message::Drop(id) => {
                self.part_with(id);
            }
            Message::Forward(item) => self.take_in(item, ctx),
            Message::ForwardDelete(id) => self.remove(id, ctx),
            Message::Sent { .. } | Message::Received { .. } | Message::Deleted => {
                unreachable!("only a server says this, to a client")
            }
        }
    }

    /// Keeps a message as it is from now on.
    fn keep(&mut self, id: u64, stored: Stored) {
        self.part_with(id);
        self.messages.insert(id, stored);
        self.deadlines.insert((stored.deadline(), id));
        if stored.is_handed() {
            self.invisible_count += 1;
            self.locked.insert(stored.item.key);
        } else if stored.hidden.is_none() {
            self.visible.insert((self.host_of(id), id));
        }
    }

    fn part_with(&mut self, id: u64) -> Option<Stored> {
        let stored = self.messages.remove(&id)?;
        self.deadlines.remove(&(stored.deadline(), id));
        self.visible.remove(&(self.host_of(id), id));
        if stored.is_handed() {
            self.invisible_count -= 1;
            self.locked.remove(&stored.item.key);
        }
        Some(stored)
    }

    /// Which host keeps a message: in turn. A FIFO queue has one order.
    fn host_of(&self, id: u64) -> u32 {
        if self.params.fifo { 0 } else { (id % u64::from(self.params.hosts)) as u32 }
    }

    fn tell_others(&self, message: &Message, ctx: Ctx<'_, '_>) {
        for &other in &self.servers[1..] {
            ctx.send(other, message.clone());
        }
    }

    fn take_in(&mut self, item: Item, ctx: Ctx<'_, '_>) {
        if !self.is_first {
            ctx.send(self.servers[0], Message::Forward(item));
            return;
        }
        let now = ctx.now();
        if self.params.fifo {
            if self.known.get(&item.serial).is_some_and(|&until| now < until) {
                return;
            }
            self.known.retain(|_, until| now < *until);
            self.known.insert(item.serial, now + self.params.deduplication);
        }
        let id = self.next_id;
        self.next_id += 1;
        let hidden = (item.delay != SimDuration::ZERO).then(|| (now + item.delay, None));
        let expires = now + self.params.retention.min(item.ttl);
        self.keep(id, Stored { item, expires, hidden, receive_count: 0 });
        ctx.indicate(Indication::Stored(item.token()));
        self.tell_others(&Message::Copy(id, item), ctx);
        ctx.reach("stored");
        self.serve(ctx);
        self.await_clock(ctx);
    }

    /// Gives visible messages to those who wait, the longest first.
    fn serve(&mut self, ctx: Ctx<'_, '_>) {
        while let Some(&(client, id, max)) = self.waiting.front() {
            let messages = self.receive(client, max, ctx);
            if messages.is_empty() {
                return;
            }
            self.waiting.pop_front();
            ctx.send(client, Message::Received { id, messages });
        }
    }

    fn receive(&mut self, to: NodeId, max: u32, ctx: Ctx<'_, '_>) -> Vec<Delivery> {
        let until = ctx.now() + self.params.visibility_timeout;
        let mut given = Vec::new();
        while (given.len() as u32) < max && self.invisible_count < self.params.in_flight_max {
            let Some(id) = self.pick(ctx) else { break };
            let stored = self.messages[&id];
            let (limit, times) = (self.params.max_receive_count, stored.receive_count);
            if 0 < limit && limit <= times {
                self.die(id, Death::DeliveryLimit, true, ctx);
                continue;
            }
            let receipt = Receipt { message: id, receive: self.next_receive };
            self.next_receive += 1;
            let hidden = Some((until, Some(receipt.receive)));
            self.keep(id, Stored { hidden, receive_count: times + 1, ..stored });
            let (token, is_redelivered) = (stored.item.token(), 0 < times);
            if self.is_first {
                let is_settled = false;
                ctx.indicate(Indication::Handed { token, to, is_redelivered, is_settled });
                self.tell_others(&Message::Hide(id, until), ctx);
            } else {
                ctx.indicate(Indication::HandedByCopy { token, to });
            }
            given.push(Delivery { item: stored.item, receipt, times });
        }
        self.await_clock(ctx);
        given
    }

    /// The next visible message: of a FIFO queue, the first of which no other of the group is
    /// with a consumer.
    fn pick(&self, ctx: Ctx<'_, '_>) -> Option<u64> {
        if self.params.fifo {
            let free = self
                .visible
                .iter()
                .find(|&&(_, id)| !self.locked.contains(&self.messages[&id].item.key));
            return free.map(|&(_, id)| id);
        }
        let first = ctx.rng().below(self.params.hosts.into()) as u32;
        let from_there = self.visible.range((first, 0)..);
        from_there.chain(self.visible.range(..(first, 0))).next().map(|&(_, id)| id)
    }

    fn die(&mut self, id: u64, why: Death, is_kept: bool, ctx: Ctx<'_, '_>) {
        let Some(stored) = self.part_with(id) else { return };
        if self.is_first {
            let (token, was_handed) = (stored.item.token(), stored.is_handed());
            ctx.indicate(Indication::Died { token, why, was_handed, is_kept });
            self.tell_others(&Message::Drop(id), ctx);
        }
    }

    /// Only the receipt of the latest receive deletes.
    fn delete(&mut self, receipt: Receipt, ctx: Ctx<'_, '_>) {
        let id = receipt.message;
        let Some(stored) = self.messages.get(&id) else { return };
        let is_latest =
            matches!(stored.hidden, Some((_, Some(receive))) if receive == receipt.receive);
        if !is_latest {
            return;
        }
        if self.is_first {
            self.remove(id, ctx);
        } else {
            self.part_with(id);
            ctx.send(self.servers[0], Message::ForwardDelete(id));
        }
    }

    fn remove(&mut self, id: u64, ctx: Ctx<'_, '_>) {
        let Some(stored) = self.part_with(id) else { return };
        let token = stored.item.token();
        if stored.is_handed() {
            ctx.indicate(Indication::Settled(token));
        } else {
            let (why, was_handed, is_kept) = (Death::Rejected, false, false);
            ctx.indicate(Indication::Died { token, why, was_handed, is_kept });
        }
        self.tell_others(&Message::Drop(id), ctx);
        self.serve(ctx);
    }

    /// Lets messages become visible again, and forgets those that were kept long enough.
    fn look_at_clock(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            let stored = self.messages[&id];
            if stored.expires <= now {
                self.die(id, Death::Expired, false, ctx);
                continue;
            }
            self.keep(id, Stored { hidden: None, ..stored });
            if stored.is_handed() && self.is_first {
                ctx.indicate(Indication::Lapsed(stored.item.token()));
            }
        }
        self.serve(ctx);
        self.await_clock(ctx);
    }

    fn await_clock(&mut self, ctx: Ctx<'_, '_>) {
        let next = self.deadlines.first().map(|&(at, _)| at);
        if next == self.wake.map(|(at, _)| at) {
            return;
        }
        if let Some((_, timer)) = self.wake.take() {
            ctx.cancel_timer(timer);
        }
        if let Some(at) = next {
            self.wake = Some((at, ctx.set_timer(at.since(ctx.now()), Timer::Wake)));
        }
    }
}

impl Stored {
    /// Whether a consumer has it.
    fn is_handed(&self) -> bool {
        matches!(self.hidden, Some((_, Some(_))))
    }

    /// When something happens to it by itself.
    fn deadline(&self) -> SimTime {
        self.hidden.map_or(self.expires, |(until, _)| until.min(self.expires))
    }
}

/// Which server a client asks: the first, and the next one where it does not answer.
#[derive(Clone, Debug)]
struct Target {
    servers: Vec<NodeId>,
    index: usize,
}

impl Target {
    fn new(servers: &[NodeId]) -> Self {
        Self { servers: servers.to_vec(), index: 0 }
    }

    fn server(&self) -> NodeId {
        self.servers[self.index]
    }

    fn next(&mut self) {
        self.index = (self.index + 1) % self.servers.len();
    }
}

/// Sends messages, and sends again what was not answered.
#[derive(Clone, Debug)]
pub(super) struct Producer {
    params: SqsParams,
    target: Target,
    next_id: u64,
    sent: BTreeMap<u64, (Item, u32, TimerId)>,
}

impl Producer {
    fn new(params: &SqsParams, servers: &[NodeId]) -> Self {
        let target = Target::new(servers);
        Self { params: params.clone(), target, next_id: 0, sent: BTreeMap::new() }
    }

    fn handle(&mut self, input: Input<Sqs>, ctx: Ctx<'_, '_>) {
        match input {
            Input::Request(Request::Publish(item)) => self.send(item, 0, ctx),
            Input::Message { message: Message::Sent { id }, .. } => {
                if let Some((item, _, timer)) = self.sent.remove(&id) {
                    ctx.cancel_timer(timer);
                    ctx.indicate(Indication::Confirmed(item.serial));
                }
            }
            Input::Timer(Timer::Overdue(id)) => self.overdue(id, ctx),
            Input::Closed { .. } => {
                let all: Vec<u64> = self.sent.keys().copied().collect();
                for id in all {
                    self.overdue(id, ctx);
                }
            }
            _ => (),
        }
    }

    fn send(&mut self, item: Item, attempt: u32, ctx: Ctx<'_, '_>) {
        let id = self.next_id;
        self.next_id += 1;
        ctx.send(self.target.server(), Message::Send { id, item });
        let timer = ctx.set_timer(self.params.request_timeout, Timer::Overdue(id));
        self.sent.insert(id, (item, attempt, timer));
        ctx.indicate(Indication::Sent { serial: item.serial, is_kept: true });
    }

    fn overdue(&mut self, id: u64, ctx: Ctx<'_, '_>) {
        let Some((item, attempt, timer)) = self.sent.remove(&id) else { return };
        ctx.cancel_timer(timer);
        self.target.next();
        if attempt < self.params.send_retries {
            self.send(item, attempt + 1, ctx);
        } else {
            ctx.indicate(Indication::GaveUp(item.serial));
        }
    }
}

/// Asks for messages, works on them, and deletes them.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    params: SqsParams,
    target: Target,
    buffer: VecDeque<Delivery>,
    pool: Pool<Receipt>,
    next_id: u64,
    /// The request for messages that is not answered yet.
    asking: Option<(u64, TimerId)>,
    is_stopping: bool,
}

impl Consumer {
    fn new(params: &SqsParams, work: &Work, servers: &[NodeId]) -> Self {
        Self {
            params: params.clone(),
            target: Target::new(servers),
            buffer: VecDeque::new(),
            pool: Pool::new(work),
            next_id: 0,
            asking: None,
            is_stopping: false,
        }
    }

    fn handle(&mut self, input: Input<Sqs>, ctx: Ctx<'_, '_>) {
        match input {
            Input::Message { message: Message::Received { id, messages }, .. } => {
                if let Some((_, timer)) = self.asking.take_if(|&mut (asking, _)| asking == id) {
                    ctx.cancel_timer(timer);
                }
                for delivery in messages {
                    let (serial, is_redelivered) = (delivery.item.serial, 0 < delivery.times);
                    ctx.indicate(Indication::Received { serial, is_redelivered });
                    self.buffer.push_back(delivery);
                }
            }
            Input::Timer(Timer::Overdue(id))
                if self.asking.take_if(|&mut (asking, _)| asking == id).is_some() && id != AWAY =>
            {
                self.target.next();
            }
            Input::Closed { .. } => {
                ctx.indicate(Indication::Cut);
                if let Some((_, timer)) = self.asking.take() {
                    ctx.cancel_timer(timer);
                    self.target.next();
                    // Not at once, so as not to ask a server that is down without end.
                    ctx.set_timer(SimDuration::from_ms(500), Timer::Poll);
                    return;
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
            // What it has asked for still comes, and is worked off.
            Input::Signal(Signal::Terminate) => self.is_stopping = true,
            _ => (),
        }
        self.feed(ctx);
    }

    fn feed(&mut self, ctx: Ctx<'_, '_>) {
        while self.pool.has_room() {
            let Some(Delivery { item, receipt, times }) = self.buffer.pop_front() else { break };
            self.pool.begin(item, receipt, times, ctx);
        }
        // Who has something to do asks for nothing more.
        if self.asking.is_none() && self.pool.has_room() && !self.is_stopping {
            let id = self.next_id;
            self.next_id += 1;
            let (max, wait) = (self.params.max_messages, self.params.wait);
            ctx.send(self.target.server(), Message::Receive { id, max, wait });
            let patience = wait + self.params.request_timeout;
            self.asking = Some((id, ctx.set_timer(patience, Timer::Overdue(id))));
        }
    }

    fn finish(&mut self, done: Finished<Receipt>, ctx: Ctx<'_, '_>) {
        let serial = done.item.serial;
        match done.end {
            End::Done | End::Known => {
                let receipt = done.handle;
                ctx.send(self.target.server(), Message::Delete { receipt });
                ctx.reach("acked");
            }
            // It becomes visible again by itself.
            End::Failed => ctx.indicate(Indication::LeftOff(serial)),
            End::Killed => {
                ctx.indicate(Indication::LeftOff(serial));
                self.pool.kill_all(ctx);
                self.drop_buffer(ctx);
                ctx.indicate(Indication::Cut);
                if let Some((_, timer)) = self.asking.take() {
                    ctx.cancel_timer(timer);
                }
                ctx.disconnect(self.target.server());
                // It asks again when it is back, and not before.
                let never = ctx.set_timer(self.params.respawn, Timer::Overdue(AWAY));
                self.asking = Some((AWAY, never));
            }
        }
    }

    fn drop_buffer(&mut self, ctx: Ctx<'_, '_>) {
        for delivery in self.buffer.drain(..) {
            ctx.indicate(Indication::Dropped(delivery.item.serial));
        }
    }
}

/// The request that a consumer seems to wait for while it is away.
const AWAY: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use crate::queues::tests::play;
    use crate::queues::{Indication, Outcome};

    /// Messages of 1 s, two a second, for two consumers.
    fn run(params: &str, messages: &str, faults: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ sqs = {{ {params} }} }}]\nhorizon = \"5s\"\ndrain = \"400s\"\n\
                 producers = {{ load = {{ open = {{ constant = \"2/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"1s\" }}]{messages} }}\n"
            ),
            &format!("fault = [{faults}]"),
        )
    }

    fn received(outcome: &Outcome) -> Vec<(u64, f64)> {
        let all = outcome.judge.history().iter().filter_map(|heard| match heard.told {
            Indication::Received { serial, .. } => Some((serial.0, heard.at.as_ns() as f64 / 1e9)),
            _ => None,
        });
        all.collect()
    }

    const CRASH: &str = "{ on = { node = \"consumer-2\", point = \"started\" }, \
                         crash_process = { target = \"consumer-2\" } }";

    #[test]
    fn what_was_not_deleted_is_visible_again_when_its_time_is_over() {
        let outcome = run("", "", CRASH);
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 10));
        let all = received(&outcome);
        let again = all.iter().enumerate().find_map(|(at, (serial, time))| {
            let first = all[..at].iter().find(|(other, _)| other == serial)?;
            Some(time - first.1)
        });
        assert!(again.is_some_and(|delay| (29.9..31.1).contains(&delay)), "{again:?}");
    }

    #[test]
    fn nothing_of_a_group_is_given_out_while_one_of_it_is_invisible() {
        let outcome = run("fifo = true", "", CRASH);
        assert_eq!((outcome.verdict.reordered, outcome.verdict.done), (0, 10));
        let mut serials: Vec<u64> = received(&outcome).iter().map(|(serial, _)| *serial).collect();
        serials.dedup();
        assert_eq!(serials, (0..10).collect::<Vec<u64>>(), "one after the other");
    }

    #[test]
    fn what_was_received_too_often_goes_to_the_dead_letter_queue() {
        let outcome = run(
            "max_receive_count = 3, visibility_timeout = \"10s\"",
            ", poison = { numbers = [2] }",
            "",
        );
        assert_eq!((outcome.verdict.dead_lettered, outcome.verdict.done), (1, 9));
        let deliveries = received(&outcome).iter().filter(|(serial, _)| *serial == 2).count();
        assert_eq!(deliveries, 3);
    }

    #[test]
    fn who_is_slower_than_the_timeout_does_it_again_and_cannot_delete_it() {
        let outcome = run("visibility_timeout = \"500ms\", max_receive_count = 4", "", "");
        assert!(0 < outcome.verdict.duplicate_effects);
        assert_eq!(outcome.verdict.lost(), 0);
    }
}
