//! A PostgreSQL server, as far as locks go: advisory locks that belong to a session, and a table
//! of leases.
//!
//! Advisory locks live in memory, are counted, and are granted in the order in which they were
//! asked for; they end with the session that holds them, when the server sees its connection end
//! (src/backend/storage/lmgr/lock.c; "Explicit Locking", PostgreSQL 16 documentation). A process
//! that dies ends its connection at once, one that stops does not, and of a machine that dies the
//! server hears nothing until its keep-alive gives up. Rows and sequences are in the write-ahead
//! log before anything is answered.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Connection, Context, Input, Node, NodeId, Stable, SyncId, Wire};

use super::{Authority, Fact, Freed, LockId, Order, Token};

/// What a client asks, and what it is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// `pg_advisory_lock(k)`; where `counts`, with `nextval` of the lock's sequence.
    Lock { id: u64, lock: LockId, counts: bool },
    /// The statement is cancelled.
    Cancel { id: u64 },
    /// `pg_advisory_unlock(k)`.
    Unlock { id: u64, lock: LockId },
    /// `UPDATE lease SET owner, fence = fence + 1, exp = clock_timestamp() + ttl WHERE owner IS
    /// NULL OR exp < clock_timestamp() RETURNING fence`.
    Lease { id: u64, lock: LockId, owner: u64, ttl: SimDuration },
    /// `UPDATE lease SET owner = NULL WHERE owner = $1 AND fence = $2`.
    Return { id: u64, lock: LockId, owner: u64, fence: Token },
    /// The lock, or the lease, is the session's.
    Granted { id: u64, token: Option<Token> },
    /// No row was changed, or the statement was cancelled.
    Refused { id: u64 },
    /// Whether there was something to release.
    Released { id: u64, is_done: bool },
    /// Are you there? What the kernel's keep-alive asks.
    Probe,
    /// Yes.
    Alive,
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Lock { .. } | Self::Lease { .. } => "acquire",
            Self::Cancel { .. } => "cancel",
            Self::Unlock { .. } | Self::Return { .. } => "release",
            Self::Granted { .. } | Self::Refused { .. } => "acquire_reply",
            Self::Released { .. } => "release_reply",
            Self::Probe => "keepalive",
            Self::Alive => "keepalive_reply",
        }
    }

    fn size_bytes(&self) -> u32 {
        100
    }

    fn needs_service(&self) -> bool {
        matches!(
            self,
            Self::Lock { .. } | Self::Unlock { .. } | Self::Lease { .. } | Self::Return { .. }
        )
    }
}

/// A row of the lease table, or the sequence of an advisory lock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    /// Who holds the lease: the node for the judges, the number for the guard.
    owner: Option<(NodeId, u64)>,
    fence: u64,
    /// When the lease ends, in nanoseconds on the server's wall clock.
    expires_ns: i64,
}

/// The tables, as the write-ahead log has them.
#[derive(Clone, Debug, Default)]
pub(super) struct Tables(BTreeMap<LockId, Row>);

impl Stable for Tables {
    type Write = (LockId, Row);

    fn apply(&mut self, (lock, row): &(LockId, Row)) {
        self.0.insert(*lock, row.clone());
    }
}

/// A session: a client, and the connection that it came by.
type Session = (NodeId, Connection);

/// An advisory lock that is held.
#[derive(Debug)]
struct Advisory {
    holder: Session,
    count: u32,
    waiting: VecDeque<(Session, u64, bool)>,
}

/// A server.
#[derive(Debug)]
pub(super) struct Server {
    /// How long a session may be silent before it is probed, and then before it is given up.
    keepalive: SimDuration,
    rows: BTreeMap<LockId, Row>,
    locks: BTreeMap<LockId, Advisory>,
    /// When each session was last heard of.
    sessions: BTreeMap<Session, SimTime>,
    unsynced: VecDeque<(SyncId, NodeId, Message)>,
}

/// Silent sessions are looked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookAround;

type Ctx<'a> = Context<'a, Server>;

impl Server {
    fn lock(&mut self, session: Session, id: u64, lock: LockId, counts: bool, ctx: &mut Ctx<'_>) {
        match self.locks.get_mut(&lock) {
            None => self.grant(session, id, lock, counts, VecDeque::new(), ctx),
            Some(held) if held.holder == session => {
                held.count += 1;
                let token = counts.then(|| Token(self.rows.get(&lock).map_or(0, |row| row.fence)));
                ctx.send(session.0, Message::Granted { id, token });
            }
            Some(held) => held.waiting.push_back((session, id, counts)),
        }
    }

    fn grant(
        &mut self,
        holder: Session,
        id: u64,
        lock: LockId,
        counts: bool,
        waiting: VecDeque<(Session, u64, bool)>,
        ctx: &mut Ctx<'_>,
    ) {
        self.locks.insert(lock, Advisory { holder, count: 1, waiting });
        let token = counts.then(|| {
            let row = self.rows.entry(lock).or_default();
            row.fence += 1;
            Token(row.fence)
        });
        let (by, on) = (holder.0, Authority::Books);
        ctx.indicate(Fact::Held { lock, by, token, expires: None, on });
        let answer = Message::Granted { id, token };
        if counts { self.answer_synced(lock, by, answer, ctx) } else { ctx.send(by, answer) }
    }

    /// Answers when the log has the row.
    fn answer_synced(&mut self, lock: LockId, to: NodeId, answer: Message, ctx: &mut Ctx<'_>) {
        ctx.write((lock, self.rows[&lock].clone()));
        let sync = ctx.sync();
        self.unsynced.push_back((sync, to, answer));
    }

    fn unlock(&mut self, session: Session, lock: LockId, ctx: &mut Ctx<'_>) -> bool {
        let Some(held) = self.locks.get_mut(&lock).filter(|held| held.holder == session) else {
            return false;
        };
        held.count -= 1;
        if held.count == 0 {
            self.hand_on(lock, Freed::Released(session.0), ctx);
        }
        true
    }

    /// Frees an advisory lock, and grants it to the first that waits.
    fn hand_on(&mut self, lock: LockId, how: Freed, ctx: &mut Ctx<'_>) {
        let Some(mut held) = self.locks.remove(&lock) else { return };
        let on = Authority::Books;
        ctx.indicate(Fact::Freed { lock, from: held.holder.0, how, on });
        if let Some((next, id, counts)) = held.waiting.pop_front() {
            self.grant(next, id, lock, counts, held.waiting, ctx);
        }
    }

    /// A session has ended: what it holds is free, and it waits for nothing more.
    fn end(&mut self, session: Session, ctx: &mut Ctx<'_>) {
        self.sessions.remove(&session);
        for held in self.locks.values_mut() {
            held.waiting.retain(|(waiting, ..)| *waiting != session);
        }
        let its = self.locks.iter().filter(|(_, held)| held.holder == session);
        for lock in its.map(|(lock, _)| *lock).collect::<Vec<_>>() {
            self.hand_on(lock, Freed::Disconnected, ctx);
        }
    }

    fn cancel(&mut self, session: Session, id: u64, ctx: &mut Ctx<'_>) {
        for held in self.locks.values_mut() {
            let before = held.waiting.len();
            held.waiting.retain(|(waiting, its, _)| *waiting != session || *its != id);
            if held.waiting.len() < before {
                ctx.send(session.0, Message::Refused { id });
            }
        }
    }

    fn lease(
        &mut self,
        from: NodeId,
        (id, lock, owner): (u64, LockId, u64),
        ttl: SimDuration,
        ctx: &mut Ctx<'_>,
    ) {
        let now_ns = ctx.wall().0;
        let row = self.rows.entry(lock).or_default();
        let is_over = row.expires_ns < now_ns;
        if row.owner.is_some() && !is_over {
            ctx.send(from, Message::Refused { id });
            return;
        }
        let on = Authority::Books;
        if let Some((holder, _)) = row.owner {
            ctx.indicate(Fact::Freed { lock, from: holder, how: Freed::Expired, on });
        }
        let fence = row.fence + 1;
        let expires_ns = now_ns.saturating_add(ttl.as_ns() as i64);
        *row = Row { owner: Some((from, owner)), fence, expires_ns };
        let token = Some(Token(fence));
        ctx.indicate(Fact::Held { lock, by: from, token, expires: Some(ttl), on });
        self.answer_synced(lock, from, Message::Granted { id, token }, ctx);
    }

    fn give_back(
        &mut self,
        from: NodeId,
        (id, lock, owner): (u64, LockId, u64),
        fence: Token,
        ctx: &mut Ctx<'_>,
    ) {
        let row = self.rows.entry(lock).or_default();
        let is_theirs =
            row.fence == fence.0 && row.owner.is_some_and(|(_, number)| number == owner);
        if !is_theirs {
            ctx.send(from, Message::Released { id, is_done: false });
            return;
        }
        let holder = row.owner.take().map_or(from, |(holder, _)| holder);
        let (how, on) = (Freed::Released(from), Authority::Books);
        ctx.indicate(Fact::Freed { lock, from: holder, how, on });
        self.answer_synced(lock, from, Message::Released { id, is_done: true }, ctx);
    }

    /// Probes the sessions that were silent, and gives those up that do not answer.
    fn look_around(&mut self, ctx: &mut Ctx<'_>) {
        let now = ctx.now();
        for (session, heard) in self.sessions.clone() {
            let silent = now.since(heard);
            if self.keepalive.times(2) <= silent {
                self.end(session, ctx);
                ctx.disconnect(session.0);
            } else if self.keepalive <= silent {
                ctx.send(session.0, Message::Probe);
            }
        }
        if !self.sessions.is_empty() {
            ctx.set_timer(self.keepalive.scale(1, 2), LookAround);
        }
    }
}

impl Node for Server {
    type Role = SimDuration;
    type Stable = Tables;
    type Request = Order;
    type Indication = Fact;
    type Message = Message;
    type Timer = LookAround;

    fn boot(keepalive: &SimDuration, disk: &Tables) -> Self {
        Self {
            keepalive: *keepalive,
            rows: disk.0.clone(),
            locks: BTreeMap::new(),
            sessions: BTreeMap::new(),
            unsynced: VecDeque::new(),
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Start => {
                let on = Authority::Books;
                let now_ns = ctx.wall().0;
                for (lock, row) in &self.rows {
                    let Some((by, _)) = row.owner else { continue };
                    let left_ns = row.expires_ns.saturating_sub(now_ns).max(0).unsigned_abs();
                    let (lock, token) = (*lock, Some(Token(row.fence)));
                    let expires = Some(SimDuration::from_ns(left_ns));
                    ctx.indicate(Fact::Held { lock, by, token, expires, on });
                }
            }
            Input::Message { from, via, message } => {
                let session = (from, via);
                if self.sessions.insert(session, ctx.now()).is_none() && self.sessions.len() == 1 {
                    ctx.set_timer(self.keepalive.scale(1, 2), LookAround);
                }
                match message {
                    Message::Lock { id, lock, counts } => {
                        self.lock(session, id, lock, counts, ctx);
                    }
                    Message::Cancel { id } => self.cancel(session, id, ctx),
                    Message::Unlock { id, lock } => {
                        let is_done = self.unlock(session, lock, ctx);
                        ctx.send(from, Message::Released { id, is_done });
                    }
                    Message::Lease { id, lock, owner, ttl } => {
                        self.lease(from, (id, lock, owner), ttl, ctx);
                    }
                    Message::Return { id, lock, owner, fence } => {
                        self.give_back(from, (id, lock, owner), fence, ctx);
                    }
                    Message::Granted { .. }
                    | Message::Refused { .. }
                    | Message::Released { .. }
                    | Message::Probe
                    | Message::Alive => (),
                }
            }
            Input::Closed { peer, via, .. } => self.end((peer, via), ctx),
            Input::Synced(sync) => {
                while self.unsynced.front().is_some_and(|(waits_for, ..)| *waits_for <= sync) {
                    let Some((_, to, answer)) = self.unsynced.pop_front() else { return };
                    ctx.send(to, answer);
                }
            }
            Input::Timer(LookAround) => self.look_around(ctx),
            Input::Request(Order::Free(lock)) => {
                self.hand_on(lock, Freed::ByOperator, ctx);
                if let Some(row) = self.rows.get_mut(&lock)
                    && let Some((from, _)) = row.owner.take()
                {
                    let on = Authority::Books;
                    ctx.indicate(Fact::Freed { lock, from, how: Freed::ByOperator, on });
                    ctx.write((lock, row.clone()));
                    ctx.sync();
                }
            }
            Input::Overload { .. } | Input::Signal(_) => (),
        }
    }
}
