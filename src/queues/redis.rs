//! A Redis server: lists, the two keys in which kombu keeps what is not acknowledged, one stream with
//! one consumer group; persistence, replicas and failover.
//!
//! Commands are executed one after the other and answered at once. Replication is asynchronous: the
//! primary answers before any replica has heard of a write, so a write that no replica had when one
//! is promoted is gone. Read: redis/redis 4f8cdc2 (`redis.conf`: `appendonly no`, `appendfsync
//! everysec`, `save 3600 1 300 100 60 10000`; `t_stream.c`), the Sentinel documentation
//! (`down-after-milliseconds` 30,000). The sentinels are folded into the servers: one that has not
//! heard from the primary for so long asks the others, and is promoted when a majority agrees.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::{Connection, Context, Input, Node, NodeId, Stable, Wire};

use super::broker::Return;
use super::link::LinkTimer;
use super::work::WorkTimer;
use super::{Indication, Item, Token};

config! {
    /// How Redis survives, and how patient its clients are.
    pub(super) struct RedisParams {
        /// What it keeps on disk.
        pub persistence: Persistence = Persistence::Snapshot,
        /// After how long without a sign of life replicas replace their primary.
        pub down_after: SimDuration = SimDuration::from_secs(30),
        /// How long a client waits for an answer before it holds the connection for dead. Celery:
        /// 120 s (`redis_socket_timeout`).
        pub socket_timeout: SimDuration = SimDuration::from_secs(120),
    }
}

config! {
    /// What Redis keeps on disk.
    pub(super) enum Persistence {
        /// Nothing.
        "none" => None,
        /// All of it, now and then: after 3600 s if 1 write came, after 300 s if 100 came, after
        /// 60 s if 10000 came (`save`).
        "snapshot" => Snapshot,
        /// Every write, synced every second (`appendonly yes`, `appendfsync everysec`).
        "append" => Append,
        /// Every write, synced before the answer (`appendfsync always`).
        "append_always" => AppendAlways,
    }
}

impl Default for RedisParams {
    fn default() -> Self {
        super::config::from_nothing()
    }
}

/// Names a message that kombu has popped, and an entry of the stream.
pub(super) type Tag = u64;

/// A message in a list.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) item: Item,
    /// How often it has come back before.
    pub(super) times: u32,
    pub(super) is_redelivered: bool,
}

/// What a client wants.
#[derive(Clone, Debug)]
pub(super) enum Command {
    /// LPUSH.
    Push(Item),
    /// BRPOP; nothing is answered before there is something, or the time is over.
    Pop(SimDuration),
    /// MULTI, ZADD, HSET, EXEC: kombu notes what it has popped, and when.
    Record(Tag, Entry, WallTime),
    /// MULTI, ZREM, HDEL, EXEC: it is done with.
    Forget(Tag),
    /// It goes back: to where it will be popped next, or to the other end.
    Restore(Vec<Tag>, End),
    /// ZREVRANGEBYSCORE, and a restore of each that was popped before this instant; so many.
    Sweep(WallTime, u32),
    /// XADD, with MAXLEN where there is one.
    Add(Item, Option<u64>),
    /// XREADGROUP with COUNT and BLOCK.
    Read { count: u32, block: SimDuration },
    /// XACK.
    Ack(Vec<Tag>),
    /// XAUTOCLAIM with min-idle-time and COUNT.
    Claim { min_idle: SimDuration, count: u32 },
    /// XGROUP DELCONSUMER.
    DeleteConsumer,
}

/// An end of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// The right one: popped next (RPUSH).
    Head,
    /// The left one (LPUSH).
    Tail,
}

/// A message between client and server, or server and server.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// A client has connected.
    Hello(u32),
    /// It may speak.
    Ready(u32),
    /// It must speak to another server.
    Moved(u32, NodeId),
    Command {
        epoch: u32,
        id: u64,
        command: Command,
    },
    Reply {
        epoch: u32,
        id: u64,
        reply: Reply,
    },
    /// From the primary to its replicas: a write, or a sign of life.
    Replicate {
        term: u64,
        offset: u64,
        write: Option<Write>,
    },
    /// From a replica: it has missed something.
    Resync {
        term: u64,
    },
    /// All there is.
    Whole {
        term: u64,
        offset: u64,
        data: Box<Data>,
    },
    /// From a replica: is the primary down, and may it take over?
    MayI {
        term: u64,
        offset: u64,
    },
    /// It may.
    YouMay {
        term: u64,
    },
}

/// What a server answers.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Ok,
    Nothing,
    Popped(Entry),
    Entries(Vec<(Tag, Item, u32)>),
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Ready(_) | Self::Moved(..) => "ready",
            Self::Command { command, .. } => command.name(),
            Self::Reply { .. } => "reply",
            Self::Replicate { .. } => "replicate",
            Self::Resync { .. } | Self::Whole { .. } => "resync",
            Self::MayI { .. } | Self::YouMay { .. } => "sentinel",
        }
    }

    fn size_bytes(&self) -> u32 {
        const COMMAND: u32 = 60;
        let body = match self {
            Self::Command { command: Command::Push(item) | Command::Add(item, _), .. } => {
                item.size_bytes
            }
            Self::Command { command: Command::Record(_, entry, _), .. }
            | Self::Reply { reply: Reply::Popped(entry), .. } => entry.item.size_bytes,
            Self::Reply { reply: Reply::Entries(entries), .. } => {
                entries.iter().map(|(_, item, _)| item.size_bytes).sum()
            }
            _ => 0,
        };
        body.saturating_add(COMMAND)
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Command { command: Command::Push(_) | Command::Add(..), .. })
    }
}

impl Command {
    const fn name(&self) -> &'static str {
        match self {
            Self::Push(_) => "lpush",
            Self::Pop(_) => "brpop",
            Self::Record(..) => "zadd_hset",
            Self::Forget(_) => "zrem_hdel",
            Self::Restore(..) => "restore",
            Self::Sweep(..) => "sweep",
            Self::Add(..) => "xadd",
            Self::Read { .. } => "xreadgroup",
            Self::Ack(_) => "xack",
            Self::Claim { .. } => "xautoclaim",
            Self::DeleteConsumer => "xgroup",
        }
    }
}

/// What a Redis node reminds itself of, at a server or a client.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Link(LinkTimer),
    Work(WorkTimer),
    /// A blocked client has waited long enough.
    Unblock(NodeId, u64),
    /// The primary tells its replicas that it is alive; a replica looks whether it is.
    Pulse,
    /// What was written is synced, or a snapshot may be due.
    Save,
    /// What a client has popped is to be noted.
    Note,
    /// A worker's turn to look for messages that were popped too long ago.
    Sweep,
    /// A reply is overdue.
    Overdue(u64),
    /// The earliest of a worker's tasks with an ETA is due.
    Eta,
    /// A consumer that was killed starts again.
    Respawn,
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

/// Everything that a server holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Data {
    /// By kombu's priority steps (0, 3, 6, 9), the most urgent first; the front is popped next.
    lists: [VecDeque<Entry>; 4],
    unacked: BTreeMap<Tag, (WallTime, Entry)>,
    index: BTreeSet<(WallTime, Tag)>,
    stream: Stream,
    /// The number of the next write.
    offset: u64,
}

/// A stream with one group.
#[derive(Clone, Debug, Default)]
struct Stream {
    entries: BTreeMap<Tag, Item>,
    next_id: Tag,
    /// The first entry that the group has not been given.
    cursor: Tag,
    /// What was given and not acknowledged: to whom, when, how often.
    pending: BTreeMap<Tag, (NodeId, SimTime, u32)>,
}

/// A write, as replicas and disks get it: what is drawn or read off a clock stands in it.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Push(Entry, End),
    Pop,
    Record(Tag, Entry, WallTime),
    Forget(Tag),
    Add(Item, Option<u64>),
    Give(Tag, NodeId, SimTime),
    Ack(Tag),
    DeleteConsumer(NodeId),
    /// A snapshot.
    Whole(Box<Data>),
}

impl Stable for Data {
    type Write = Write;

    fn apply(&mut self, write: &Write) {
        self.offset += 1;
        match write {
            Write::Push(entry, end) => {
                let list = &mut self.lists[step_of(entry.item.priority)];
                match end {
                    End::Head => list.push_front(*entry),
                    End::Tail => list.push_back(*entry),
                }
            }
            Write::Pop => {
                if let Some(list) = self.lists.iter_mut().find(|list| !list.is_empty()) {
                    list.pop_front();
                }
            }
            Write::Record(tag, entry, at) => {
                self.unacked.insert(*tag, (*at, *entry));
                self.index.insert((*at, *tag));
            }
            Write::Forget(tag) => {
                if let Some((at, _)) = self.unacked.remove(tag) {
                    self.index.remove(&(at, *tag));
                }
            }
            Write::Add(item, max) => {
                self.stream.entries.insert(self.stream.next_id, *item);
                self.stream.next_id += 1;
                if let Some(max) = *max {
                    while max < self.stream.entries.len() as u64 {
                        self.stream.entries.pop_first();
                    }
                }
            }
            Write::Give(tag, to, at) => {
                let count = self.stream.pending.get(tag).map_or(0, |&(_, _, count)| count);
                self.stream.pending.insert(*tag, (*to, *at, count + 1));
                self.stream.cursor = self.stream.cursor.max(tag + 1);
            }
            Write::Ack(tag) => {
                self.stream.pending.remove(tag);
            }
            Write::DeleteConsumer(who) => {
                self.stream.pending.retain(|_, &mut (owner, _, _)| owner != *who);
            }
            Write::Whole(data) => *self = (**data).clone(),
        }
    }
}

/// The place of a priority among kombu's four lists, of which the first is looked into first
/// (`PRIORITY_STEPS`, `Channel.priority`). There a small number is urgent, from 0 to 9; here a large
/// one is, as everywhere in this wing: an application that means 9 writes 0.
fn step_of(priority: u8) -> usize {
    let kombus = MAX_PRIORITY - priority.min(MAX_PRIORITY);
    PRIORITY_STEPS.partition_point(|&step| step <= kombus) - 1
}

/// `PRIORITY_STEPS`: where each list begins.
const PRIORITY_STEPS: [u8; 4] = [0, 3, 6, 9];

/// `AbstractChannel.max_priority`: more counts as this.
const MAX_PRIORITY: u8 = 9;

impl Data {
    fn head(&self) -> Option<&Entry> {
        self.lists.iter().find_map(VecDeque::front)
    }

    /// What the judge has to know: what waits, and what is noted as being with a consumer. An entry
    /// of the stream waits until the group is given it, and is done with when it is acknowledged.
    fn tokens(&self) -> (Vec<Token>, Vec<Token>) {
        let waiting = self.lists.iter().flatten().map(|entry| entry.item.token());
        let unread = self.stream.entries.range(self.stream.cursor..);
        let ready = waiting.chain(unread.map(|(_, item)| item.token())).collect();
        let noted = self.unacked.values().map(|(_, entry)| entry.item.token());
        let pending = self.stream.pending.keys().filter_map(|tag| self.stream.entries.get(tag));
        (ready, noted.chain(pending.map(Item::token)).collect())
    }
}

/// A node that speaks with, or as, a Redis server.
pub(super) trait Speaker:
    Node<Message = Message, Timer = Timer, Stable = Data, Indication = Indication>
{
}
impl<N> Speaker for N where
    N: Node<Message = Message, Timer = Timer, Stable = Data, Indication = Indication>
{
}

/// One of the servers.
#[derive(Clone, Debug)]
pub(super) struct Server {
    params: RedisParams,
    me: NodeId,
    peers: Vec<NodeId>,
    data: Data,
    term: u64,
    primary: NodeId,
    heard_primary: SimTime,
    votes: BTreeSet<NodeId>,
    voted: u64,
    /// Clients that wait for something, in their turn.
    blocked: VecDeque<Blocked>,
    clients: BTreeMap<NodeId, (Connection, u32)>,
    changes: u64,
    saved: SimTime,
    is_saving: bool,
    /// Answers that wait for a sync.
    held: VecDeque<(NodeId, Message)>,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    client: NodeId,
    epoch: u32,
    id: u64,
    /// How many entries of the stream are wanted; none for a list.
    count: Option<u32>,
}

impl Server {
    /// Server `me` of `servers`, of which the first is the primary at the start.
    pub(super) fn boot(params: &RedisParams, me: NodeId, servers: &[NodeId], disk: &Data) -> Self {
        Self {
            params: params.clone(),
            me,
            peers: servers.iter().copied().filter(|&peer| peer != me).collect(),
            data: disk.clone(),
            term: 0,
            primary: servers[0],
            heard_primary: SimTime::ZERO,
            votes: BTreeSet::new(),
            voted: 0,
            blocked: VecDeque::new(),
            clients: BTreeMap::new(),
            changes: 0,
            saved: SimTime::ZERO,
            is_saving: false,
            held: VecDeque::new(),
        }
    }

    fn is_primary(&self) -> bool {
        self.primary == self.me
    }

    pub(super) fn handle<N: Speaker>(&mut self, input: Input<N>, ctx: &mut Context<'_, N>) {
        match input {
            Input::Start => {
                self.heard_primary = ctx.now();
                self.saved = ctx.now();
                if self.is_primary() {
                    self.tell_all(ctx);
                }
                if !self.peers.is_empty() {
                    ctx.set_timer(PULSE, Timer::Pulse);
                }
            }
            Input::Message { from, via, message } => self.hear(from, via, message, ctx),
            Input::Closed { peer, via, .. } => {
                if self.clients.get(&peer).is_some_and(|&(connection, _)| connection == via) {
                    self.clients.remove(&peer);
                    self.blocked.retain(|blocked| blocked.client != peer);
                }
            }
            Input::Synced(_) => {
                // Each answer that is held has a sync of its own, and they end in their order.
                if self.params.persistence == Persistence::AppendAlways
                    && let Some((to, message)) = self.held.pop_front()
                {
                    ctx.send(to, message);
                }
            }
            Input::Timer(Timer::Unblock(client, id)) => self.unblock(client, id, ctx),
            Input::Timer(Timer::Pulse) => self.pulse(ctx),
            Input::Timer(Timer::Save) => self.save(ctx),
            Input::Timer(_) => unreachable!("a server sets no client's timer"),
            Input::Overload { .. } | Input::Request(_) | Input::Signal(_) => (),
        }
    }

    fn tell_all<N: Speaker>(&self, ctx: &mut Context<'_, N>) {
        let (ready, handed) = self.data.tokens();
        ctx.indicate(Indication::Holds { ready, handed });
    }

    fn hear<N: Speaker>(
        &mut self,
        from: NodeId,
        via: Connection,
        message: Message,
        ctx: &mut Context<'_, N>,
    ) {
        match message {
            Message::Hello(epoch) => {
                self.blocked.retain(|blocked| blocked.client != from);
                if self.is_primary() {
                    self.clients.insert(from, (via, epoch));
                    ctx.send(from, Message::Ready(epoch));
                } else {
                    ctx.send(from, Message::Moved(epoch, self.primary));
                }
            }
            Message::Command { epoch, id, command } => {
                if !self.is_primary() {
                    ctx.send(from, Message::Moved(epoch, self.primary));
                } else if self.clients.get(&from).is_some_and(|&(_, known)| known == epoch) {
                    self.execute(from, epoch, id, command, ctx);
                }
            }
            Message::Replicate { term, offset, write } => {
                self.follow(from, term, offset, write, ctx);
            }
            Message::Resync { term } => {
                if self.is_primary() && term <= self.term {
                    let data = Box::new(self.data.clone());
                    let (term, offset) = (self.term, self.data.offset);
                    ctx.send(from, Message::Whole { term, offset, data });
                }
            }
            Message::Whole { term, offset, data } => {
                if self.term <= term {
                    self.yield_to(from, term, ctx);
                    self.persist(Write::Whole(data.clone()), ctx);
                    self.data = *data;
                    self.data.offset = offset;
                }
            }
            Message::MayI { term, offset } => {
                let is_silent = self.params.down_after <= ctx.now().since(self.heard_primary);
                let is_newer = self.voted < term && self.term < term;
                if is_newer && is_silent && !self.is_primary() && self.data.offset <= offset {
                    self.voted = term;
                    ctx.send(from, Message::YouMay { term });
                }
            }
            Message::YouMay { term } => {
                if term == self.voted && !self.is_primary() {
                    self.votes.insert(from);
                    self.take_over_if_wanted(term, ctx);
                }
            }
            Message::Ready(_) | Message::Moved(..) | Message::Reply { .. } => {
                unreachable!("only a server says this, to a client")
            }
        }
    }

    /// A replica hears from a primary.
    fn follow<N: Speaker>(
        &mut self,
        from: NodeId,
        term: u64,
        offset: u64,
        write: Option<Write>,
        ctx: &mut Context<'_, N>,
    ) {
        if term < self.term {
            // One that was replaced while it was cut off.
            let data = Box::new(self.data.clone());
            if self.is_primary() {
                let (term, offset) = (self.term, self.data.offset);
                ctx.send(from, Message::Whole { term, offset, data });
                // What that one has taken meanwhile is gone with this.
                self.tell_all(ctx);
            }
            return;
        }
        self.yield_to(from, term, ctx);
        match write {
            Some(write) if offset == self.data.offset => {
                self.data.apply(&write);
                self.persist(write, ctx);
            }
            None if offset == self.data.offset => (),
            _ => ctx.send(from, Message::Resync { term }),
        }
    }

    /// Another is the primary.
    fn yield_to<N: Speaker>(&mut self, primary: NodeId, term: u64, ctx: &mut Context<'_, N>) {
        self.heard_primary = ctx.now();
        if self.is_primary() && primary != self.me {
            for (&client, &(_, epoch)) in &self.clients {
                ctx.send(client, Message::Moved(epoch, primary));
            }
            self.clients.clear();
            self.blocked.clear();
        }
        self.term = self.term.max(term);
        self.primary = primary;
    }

    fn pulse<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.set_timer(PULSE, Timer::Pulse);
        if self.is_primary() {
            let (term, offset) = (self.term, self.data.offset);
            for &peer in &self.peers {
                ctx.send(peer, Message::Replicate { term, offset, write: None });
            }
        } else if self.params.down_after <= ctx.now().since(self.heard_primary) {
            // A term of its own for each, so that two do not take over in the same one.
            let term = self.term + 1 + u64::from(self.me.0);
            self.voted = self.voted.max(term);
            self.votes.clear();
            for &peer in &self.peers {
                ctx.send(peer, Message::MayI { term, offset: self.data.offset });
            }
            self.take_over_if_wanted(term, ctx);
        }
    }

    fn take_over_if_wanted<N: Speaker>(&mut self, term: u64, ctx: &mut Context<'_, N>) {
        let majority = self.peers.len().div_ceil(2);
        // With its own voice; a pair has no majority without the other.
        if self.votes.len() < majority.max(1) {
            return;
        }
        self.term = term;
        self.primary = self.me;
        self.tell_all(ctx);
        let offset = self.data.offset;
        for &peer in &self.peers {
            ctx.send(peer, Message::Replicate { term, offset, write: None });
        }
    }

    fn execute<N: Speaker>(
        &mut self,
        from: NodeId,
        epoch: u32,
        id: u64,
        command: Command,
        ctx: &mut Context<'_, N>,
    ) {
        let writes_before = self.data.offset;
        let reply = match command {
            Command::Push(item) => {
                let entry = Entry { item, times: 0, is_redelivered: false };
                ctx.indicate(Indication::Stored(item.token()));
                self.write(Write::Push(entry, End::Tail), ctx);
                ctx.reach("stored");
                Some(Reply::Ok)
            }
            Command::Pop(timeout) => {
                let blocked = Blocked { client: from, epoch, id, count: None };
                self.block(blocked, timeout, ctx);
                None
            }
            Command::Record(tag, entry, at) => {
                ctx.indicate(Indication::Recorded(entry.item.token()));
                self.write(Write::Record(tag, entry, at), ctx);
                Some(Reply::Ok)
            }
            Command::Forget(tag) => {
                if let Some((_, entry)) = self.data.unacked.get(&tag) {
                    ctx.indicate(Indication::Settled(entry.item.token()));
                    self.write(Write::Forget(tag), ctx);
                }
                Some(Reply::Ok)
            }
            Command::Restore(tags, end) => {
                for tag in tags {
                    self.restore(tag, end, Return::Given, ctx);
                }
                Some(Reply::Ok)
            }
            Command::Sweep(before, most) => {
                let late = self.data.index.range(..=(before, Tag::MAX)).rev();
                let tags: Vec<Tag> = late.take(most as usize).map(|&(_, tag)| tag).collect();
                for tag in tags {
                    self.restore(tag, End::Head, Return::Lapsed, ctx);
                }
                Some(Reply::Ok)
            }
            Command::Add(item, max) => {
                ctx.indicate(Indication::Stored(item.token()));
                self.add(item, max, ctx);
                ctx.reach("stored");
                Some(Reply::Ok)
            }
            Command::Read { count, block } => {
                let blocked = Blocked { client: from, epoch, id, count: Some(count) };
                self.block(blocked, block, ctx);
                None
            }
            Command::Ack(tags) => {
                for tag in tags {
                    self.acknowledge(tag, ctx);
                }
                Some(Reply::Ok)
            }
            Command::Claim { min_idle, count } => {
                Some(Reply::Entries(self.claim(from, min_idle, count, ctx)))
            }
            Command::DeleteConsumer => {
                self.delete_consumer(from, ctx);
                Some(Reply::Ok)
            }
        };
        if let Some(reply) = reply {
            let has_written = writes_before < self.data.offset;
            self.answer(from, Message::Reply { epoch, id, reply }, has_written, ctx);
        }
        self.serve_blocked(ctx);
    }

    fn answer<N: Speaker>(
        &mut self,
        to: NodeId,
        reply: Message,
        has_written: bool,
        ctx: &mut Context<'_, N>,
    ) {
        if has_written && self.params.persistence == Persistence::AppendAlways {
            ctx.sync();
            self.held.push_back((to, reply));
        } else {
            ctx.send(to, reply);
        }
    }

    fn block<N: Speaker>(
        &mut self,
        blocked: Blocked,
        timeout: SimDuration,
        ctx: &mut Context<'_, N>,
    ) {
        self.blocked.push_back(blocked);
        self.serve_blocked(ctx);
        let still = self
            .blocked
            .iter()
            .any(|other| other.client == blocked.client && other.id == blocked.id);
        if still {
            ctx.set_timer(timeout, Timer::Unblock(blocked.client, blocked.id));
        }
    }

    fn unblock<N: Speaker>(&mut self, client: NodeId, id: u64, ctx: &mut Context<'_, N>) {
        let at = self.blocked.iter().position(|other| other.client == client && other.id == id);
        if let Some(Blocked { epoch, .. }) = at.and_then(|at| self.blocked.remove(at)) {
            ctx.send(client, Message::Reply { epoch, id, reply: Reply::Nothing });
        }
    }

    /// Gives what there is to those who wait for it, the longest first.
    fn serve_blocked<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        loop {
            let has_list = self.data.head().is_some();
            let has_stream = self.data.stream.entries.range(self.data.stream.cursor..).next();
            let has_stream = has_stream.is_some();
            let at = self.blocked.iter().position(|blocked| match blocked.count {
                None => has_list,
                Some(_) => has_stream,
            });
            let Some(Blocked { client, epoch, id, count }) =
                at.and_then(|at| self.blocked.remove(at))
            else {
                return;
            };
            let reply = match count {
                None => {
                    let entry = *self.data.head().expect("it was just seen");
                    let (token, is_redelivered) = (entry.item.token(), entry.is_redelivered);
                    let (to, is_settled) = (client, true);
                    ctx.indicate(Indication::Handed { token, to, is_redelivered, is_settled });
                    self.write(Write::Pop, ctx);
                    Reply::Popped(entry)
                }
                Some(count) => Reply::Entries(self.give(client, count, ctx)),
            };
            self.answer(client, Message::Reply { epoch, id, reply }, true, ctx);
        }
    }

    fn restore<N: Speaker>(&mut self, tag: Tag, end: End, why: Return, ctx: &mut Context<'_, N>) {
        let Some(&(_, entry)) = self.data.unacked.get(&tag) else { return };
        self.write(Write::Forget(tag), ctx);
        let entry = Entry { times: entry.times + 1, is_redelivered: true, ..entry };
        self.write(Write::Push(entry, end), ctx);
        ctx.indicate(match why {
            Return::Given => Indication::Returned(entry.item.token()),
            Return::Lapsed => Indication::Lapsed(entry.item.token()),
        });
    }

    fn add<N: Speaker>(&mut self, item: Item, max: Option<u64>, ctx: &mut Context<'_, N>) {
        let stream = &self.data.stream;
        let excess = max.map_or(0, |max| (stream.entries.len() as u64 + 1).saturating_sub(max));
        for (tag, item) in stream.entries.iter().take(excess as usize) {
            let was_handed = stream.pending.contains_key(tag);
            if was_handed || stream.cursor <= *tag {
                let (token, why) = (item.token(), super::Death::Overflow);
                ctx.indicate(Indication::Died { token, why, was_handed, is_kept: false });
            }
        }
        self.write(Write::Add(item, max), ctx);
    }

    /// The next entries, to a consumer.
    fn give<N: Speaker>(
        &mut self,
        to: NodeId,
        count: u32,
        ctx: &mut Context<'_, N>,
    ) -> Vec<(Tag, Item, u32)> {
        let unread = self.data.stream.entries.range(self.data.stream.cursor..);
        let given: Vec<(Tag, Item, u32)> =
            unread.take(count as usize).map(|(&tag, &item)| (tag, item, 0)).collect();
        for (tag, item, _) in &given {
            let (token, is_redelivered, is_settled) = (item.token(), false, false);
            ctx.indicate(Indication::Handed { token, to, is_redelivered, is_settled });
            self.write(Write::Give(*tag, to, ctx.now()), ctx);
        }
        given
    }

    /// XACK asks nobody whose entry it is.
    fn acknowledge<N: Speaker>(&mut self, tag: Tag, ctx: &mut Context<'_, N>) {
        if !self.data.stream.pending.contains_key(&tag) {
            return;
        }
        if let Some(item) = self.data.stream.entries.get(&tag) {
            ctx.indicate(Indication::Settled(item.token()));
        }
        self.write(Write::Ack(tag), ctx);
    }

    /// Entries that were given out too long ago, to another consumer, in the order of their ids.
    fn claim<N: Speaker>(
        &mut self,
        to: NodeId,
        min_idle: SimDuration,
        count: u32,
        ctx: &mut Context<'_, N>,
    ) -> Vec<(Tag, Item, u32)> {
        let now = ctx.now();
        let stream = &self.data.stream;
        let idle = stream.pending.iter().filter(|&(_, &(_, at, _))| min_idle <= now.since(at));
        let claimed: Vec<(Tag, Item, u32)> = idle
            .filter_map(|(&tag, &(_, _, times))| {
                stream.entries.get(&tag).map(|&item| (tag, item, times))
            })
            .take(count as usize)
            .collect();
        for (tag, item, _) in &claimed {
            let (token, is_redelivered, is_settled) = (item.token(), true, false);
            ctx.indicate(Indication::Lapsed(token));
            ctx.indicate(Indication::Handed { token, to, is_redelivered, is_settled });
            self.write(Write::Give(*tag, to, now), ctx);
        }
        claimed
    }

    /// What the consumer had is pending no more, and is given to nobody again.
    fn delete_consumer<N: Speaker>(&mut self, who: NodeId, ctx: &mut Context<'_, N>) {
        let stream = &self.data.stream;
        for (tag, _) in stream.pending.iter().filter(|&(_, &(owner, _, _))| owner == who) {
            if let Some(item) = stream.entries.get(tag) {
                let (token, why) = (item.token(), super::Death::Rejected);
                let (was_handed, is_kept) = (true, false);
                ctx.indicate(Indication::Died { token, why, was_handed, is_kept });
            }
        }
        self.write(Write::DeleteConsumer(who), ctx);
    }

    /// Applies a write, and passes it on.
    fn write<N: Speaker>(&mut self, write: Write, ctx: &mut Context<'_, N>) {
        let (term, offset) = (self.term, self.data.offset);
        self.data.apply(&write);
        for &peer in &self.peers {
            let write = Some(write.clone());
            ctx.send(peer, Message::Replicate { term, offset, write });
        }
        self.persist(write, ctx);
    }

    fn persist<N: Speaker>(&mut self, write: Write, ctx: &mut Context<'_, N>) {
        self.changes += 1;
        match self.params.persistence {
            Persistence::None => return,
            Persistence::Snapshot => (),
            Persistence::Append | Persistence::AppendAlways => ctx.write(write),
        }
        if self.params.persistence != Persistence::AppendAlways && !self.is_saving {
            self.is_saving = true;
            ctx.set_timer(SECOND, Timer::Save);
        }
    }

    /// A second is over: the append-only file is synced, or it is seen whether a snapshot is due.
    fn save<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let since = ctx.now().since(self.saved);
        let is_due = match self.params.persistence {
            Persistence::Snapshot => SAVE.iter().any(|&(seconds, changes)| {
                SimDuration::from_secs(seconds) <= since && changes <= self.changes
            }),
            _ => true,
        };
        self.is_saving = !is_due;
        if !is_due {
            ctx.set_timer(SECOND, Timer::Save);
            return;
        }
        if self.params.persistence == Persistence::Snapshot {
            ctx.write(Write::Whole(Box::new(self.data.clone())));
        }
        ctx.sync();
        self.saved = ctx.now();
        self.changes = 0;
    }
}

/// How often servers tell each other that they live (Sentinel pings every second).
const PULSE: SimDuration = SimDuration::from_secs(1);

const SECOND: SimDuration = SimDuration::from_secs(1);

/// `save 3600 1 300 100 60 10000`.
const SAVE: [(u64, u64); 3] = [(3600, 1), (300, 100), (60, 10_000)];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::work::tests::item;

    /// The order in which messages of these priorities, pushed in their order, are popped: their
    /// numbers.
    fn popped(priorities: &[u8]) -> Vec<u64> {
        let mut data = Data::default();
        for (serial, &priority) in (0..).zip(priorities) {
            let item = Item { priority, ..item(serial) };
            let entry = Entry { item, times: 0, is_redelivered: false };
            data.apply(&Write::Push(entry, End::Tail));
        }
        let mut order = Vec::new();
        while let Some(entry) = data.head() {
            order.push(entry.item.serial.0);
            data.apply(&Write::Pop);
        }
        order
    }

    #[test]
    fn the_most_urgent_of_kombus_four_steps_is_popped_first_and_within_a_step_the_oldest() {
        // 9 to 7 are kombu's 0 to 2, 6 to 4 its 3 to 5, 3 to 1 its 6 to 8, and none is its 9.
        assert_eq!(popped(&[0, 1, 4, 7]), [3, 2, 1, 0]);
        assert_eq!(popped(&[7, 8, 9, 4, 5, 6, 1, 2, 3, 0]), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(popped(&[9, 255]), [0, 1], "more than 9 is 9");
    }
}
