//! A server of an ensemble.

use std::collections::BTreeMap;

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::{Fact, LockId, Order as Command};
use crate::model::node::{Connection, Context, Input, Node, NodeId, Output};
use crate::model::raft::{Raft, RaftDisk, RaftIndication, RaftRole, RaftTimer};

use super::{Asker, Machine, Message, MessageOf, NEVER, Order, Outcome};

/// The settings of a server.
#[derive(Clone, Debug)]
pub(in crate::locks) struct ServerRole {
    pub(in crate::locks) raft: RaftRole,
    /// When a session runs out that was heard of last at some time.
    pub(in crate::locks) rule: Rule,
    /// Where a server holds the answer to a client's sign of life back (Chubby): how long before
    /// the session runs out it answers.
    pub(in crate::locks) answers_before: Option<SimDuration>,
}

/// When a session runs out, on the leader's clock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::locks) enum Rule {
    /// Exactly when its time has passed.
    Exact,
    /// At the end of the tick after that (ZooKeeper's `ExpiryQueue.roundToNextInterval`).
    NextTick(SimDuration),
    /// When it is next looked at (etcd's lessor).
    NextLook(SimDuration),
}

impl Rule {
    fn due(self, now: SimTime, timeout: SimDuration) -> SimTime {
        let end = now + timeout;
        match self {
            Self::Exact => end,
            Self::NextTick(tick) => (end + SimDuration::from_ns(1)).round_up(tick),
            Self::NextLook(every) => end.round_up(every),
        }
    }
}

/// A server.
#[derive(Debug)]
pub(in crate::locks) struct Server<M: Machine> {
    role: ServerRole,
    raft: Raft<Order<M::Command>>,
    machine: M,
    leads: bool,
    sessions: BTreeMap<u64, Session>,
    /// Lock-delays, and when each is over at the leader.
    delays: BTreeMap<LockId, (SimDuration, SimTime)>,
    /// Who wants to hear of what, and by which connection it said so.
    watchers: BTreeMap<(LockId, u64), Vec<(NodeId, Connection)>>,
    /// When the leader looks next for what is due.
    looks_at: SimTime,
}

/// A session as the leader sees it.
#[derive(Debug)]
struct Session {
    timeout: SimDuration,
    due: SimTime,
    /// A sign of life whose answer is held back.
    held_back: Option<HeldBack>,
}

/// A sign of life that waits for its answer: by whom, its number, when it came.
#[derive(Clone, Copy, Debug)]
struct HeldBack {
    client: NodeId,
    via: Connection,
    number: u64,
    came: SimTime,
}

/// What a server reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(in crate::locks) enum Timer {
    Raft(RaftTimer),
    /// Look for what is due.
    Look,
}

type Ctx<'a, M> = Context<'a, Server<M>>;

impl<M: Machine> Server<M> {
    /// Lets something happen to the log's member.
    fn drive(&mut self, input: Input<Raft<Order<M::Command>>>, ctx: &mut Ctx<'_, M>) {
        for output in ctx.ask_part(&mut self.raft, input) {
            match output {
                Output::Indicate(indication) => self.hear(indication, ctx),
                Output::Send { to, message } => ctx.send(to, Message::Raft(message)),
                Output::Disconnect { peer } => ctx.disconnect(peer),
                Output::SetTimer { id, after, timer } => {
                    ctx.put_out(Output::SetTimer { id, after, timer: Timer::Raft(timer) });
                }
                Output::CancelTimer(id) => ctx.cancel_timer(id),
                Output::Write(write) => ctx.write(write),
                Output::Sync(id) => ctx.put_out(Output::Sync(id)),
                Output::Reach(point) => ctx.reach(point),
            }
        }
    }

    fn hear(&mut self, indication: RaftIndication<Order<M::Command>>, ctx: &mut Ctx<'_, M>) {
        match indication {
            RaftIndication::Committed { index, command } => self.carry_out(index, command, ctx),
            RaftIndication::Leads => {
                self.leads = true;
                let now = ctx.now();
                for session in self.sessions.values_mut() {
                    session.due = self.role.rule.due(now, session.timeout);
                }
                for (length, due) in self.delays.values_mut() {
                    *due = now + *length;
                }
                self.looks_at = NEVER;
                self.look_in_time(ctx);
            }
            RaftIndication::Follows => {
                self.leads = false;
                self.watchers.clear();
                for session in self.sessions.values_mut() {
                    session.held_back = None;
                }
            }
        }
    }

    fn carry_out(&mut self, index: u64, order: Order<M::Command>, ctx: &mut Ctx<'_, M>) {
        let mut out = Outcome::<M>::new(index);
        match order {
            Order::Client(asker, command) => {
                self.machine.apply(asker, &command, &mut out);
            }
            Order::Expire(session) => self.machine.expire(session, &mut out),
            Order::EndDelay(lock) => {
                self.delays.remove(&lock);
                self.machine.end_delay(lock, &mut out);
            }
            Order::Who(asker, lock) => {
                if self.leads {
                    let token = self.machine.holder(lock);
                    ctx.send(asker.client, Message::Holder { id: asker.id, token });
                }
            }
            Order::Free(lock) => self.machine.free(lock, &mut out),
        }
        let now = ctx.now();
        for (session, timeout) in out.sessions_begun {
            let due = self.role.rule.due(now, timeout);
            self.sessions.insert(session, Session { timeout, due, held_back: None });
        }
        for session in out.sessions_ended {
            let ended = self.sessions.remove(&session);
            if let Some(HeldBack { client, number, .. }) = ended.and_then(|ended| ended.held_back) {
                ctx.send(client, dead(number));
            }
        }
        for (lock, length) in out.delays_begun {
            self.delays.insert(lock, (length, now + length));
        }
        for fact in out.facts {
            ctx.indicate(fact);
        }
        if !self.leads {
            return;
        }
        for (asker, kind, answer) in out.answers {
            ctx.send(asker.client, Message::Answer { id: asker.id, kind, answer });
        }
        for (lock, number) in out.gone {
            for (watcher, _) in self.watchers.remove(&(lock, number)).unwrap_or_default() {
                ctx.send(watcher, Message::Gone { lock, number });
            }
        }
        self.look_in_time(ctx);
    }

    /// Sees to it that the leader looks when the next thing is due.
    fn look_in_time(&mut self, ctx: &mut Ctx<'_, M>) {
        let answers_before = self.role.answers_before.unwrap_or(SimDuration::ZERO);
        let sessions = self.sessions.values().map(|session| match session.held_back {
            Some(_) => before(session.due, answers_before),
            None => session.due,
        });
        let next = sessions.chain(self.delays.values().map(|(_, due)| *due)).min();
        if let Some(next) = next.filter(|next| *next < self.looks_at) {
            self.looks_at = next.max(ctx.now());
            ctx.set_timer(self.looks_at.since(ctx.now()), Timer::Look);
        }
    }

    fn look(&mut self, ctx: &mut Ctx<'_, M>) {
        if !self.leads || ctx.now() < self.looks_at {
            return;
        }
        let now = ctx.now();
        let answers_before = self.role.answers_before.unwrap_or(SimDuration::ZERO);
        let mut orders = Vec::new();
        for (id, session) in &mut self.sessions {
            if let Some(HeldBack { client, number, came, .. }) = session.held_back
                && before(session.due, answers_before) <= now
            {
                session.held_back = None;
                if !self.raft.has_lease(now) {
                    ctx.send(client, Message::NotLeader);
                    continue;
                }
                session.due = self.role.rule.due(now, session.timeout);
                let (held_back, lease) = (now.since(came), session.timeout);
                let is_alive = true;
                ctx.send(client, Message::Touched { number, is_alive, held_back, lease });
            } else if session.due <= now {
                // Once is enough: the log will end it.
                session.due = NEVER;
                orders.push(Order::Expire(*id));
            }
        }
        for (lock, (_, due)) in &mut self.delays {
            if *due <= now {
                *due = NEVER;
                orders.push(Order::EndDelay(*lock));
            }
        }
        for order in orders {
            self.drive(Input::Request(order), ctx);
        }
        self.looks_at = NEVER;
        self.look_in_time(ctx);
    }

    /// A client shows a sign of life.
    fn touch(
        &mut self,
        (from, via): (NodeId, Connection),
        session: u64,
        number: u64,
        ctx: &mut Ctx<'_, M>,
    ) {
        let now = ctx.now();
        if !self.raft.has_lease(now) {
            // Another may lead by now, and count from when it began to.
            ctx.send(from, Message::NotLeader);
            return;
        }
        let Some(session) = self.sessions.get_mut(&session).filter(|s| s.due != NEVER) else {
            ctx.send(from, dead(number));
            return;
        };
        if self.role.answers_before.is_some() {
            session.held_back = Some(HeldBack { client: from, via, number, came: now });
            self.look_in_time(ctx);
            return;
        }
        session.due = self.role.rule.due(now, session.timeout);
        let (held_back, lease) = (SimDuration::ZERO, session.timeout);
        ctx.send(from, Message::Touched { number, is_alive: true, held_back, lease });
    }

    /// A client speaks.
    fn serve(
        &mut self,
        from: NodeId,
        via: Connection,
        message: MessageOf<M>,
        ctx: &mut Ctx<'_, M>,
    ) {
        if !self.leads {
            ctx.send(from, Message::NotLeader);
            return;
        }
        match message {
            Message::Ask { id, command, .. } => {
                let asker = Asker { client: from, id };
                self.drive(Input::Request(Order::Client(asker, command)), ctx);
                ctx.reach("proposed");
            }
            Message::Touch { session, number } => self.touch((from, via), session, number, ctx),
            Message::Watch { lock, number } => {
                if self.machine.exists(lock, number) {
                    self.watchers.entry((lock, number)).or_default().push((from, via));
                } else {
                    ctx.send(from, Message::Gone { lock, number });
                }
            }
            Message::Who { id, lock } => {
                let asker = Asker { client: from, id };
                self.drive(Input::Request(Order::Who(asker, lock)), ctx);
            }
            Message::Raft(_)
            | Message::Answer { .. }
            | Message::Touched { .. }
            | Message::Gone { .. }
            | Message::Holder { .. }
            | Message::NotLeader => (),
        }
    }
}

fn dead<C, A>(number: u64) -> Message<C, A> {
    let (held_back, lease) = (SimDuration::ZERO, SimDuration::ZERO);
    Message::Touched { number, is_alive: false, held_back, lease }
}

fn before(at: SimTime, by: SimDuration) -> SimTime {
    SimTime::from_ns(at.as_ns().saturating_sub(by.as_ns()))
}

impl<M: Machine> Node for Server<M> {
    type Role = ServerRole;
    type Stable = RaftDisk<Order<M::Command>>;
    type Request = Command;
    type Indication = Fact;
    type Message = MessageOf<M>;
    type Timer = Timer;

    fn boot(role: &ServerRole, disk: &Self::Stable) -> Self {
        Self {
            role: role.clone(),
            raft: Raft::boot(&role.raft, disk),
            machine: M::default(),
            leads: false,
            sessions: BTreeMap::new(),
            delays: BTreeMap::new(),
            watchers: BTreeMap::new(),
            looks_at: NEVER,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_, M>) {
        match input {
            Input::Start => self.drive(Input::Start, ctx),
            Input::Message { from, via, message: Message::Raft(message) } => {
                self.drive(Input::Message { from, via, message }, ctx);
            }
            Input::Message { from, via, message } => self.serve(from, via, message, ctx),
            Input::Closed { peer, via, why } => {
                for watchers in self.watchers.values_mut() {
                    watchers.retain(|watcher| *watcher != (peer, via));
                }
                self.watchers.retain(|_, watchers| !watchers.is_empty());
                for session in self.sessions.values_mut() {
                    // Nobody is there to hear the answer.
                    if session.held_back.is_some_and(|held| (held.client, held.via) == (peer, via))
                    {
                        session.held_back = None;
                    }
                }
                self.look_in_time(ctx);
                self.drive(Input::Closed { peer, via, why }, ctx);
            }
            Input::Timer(Timer::Raft(timer)) => self.drive(Input::Timer(timer), ctx),
            Input::Timer(Timer::Look) => self.look(ctx),
            Input::Synced(sync) => self.drive(Input::Synced(sync), ctx),
            Input::Request(Command::Free(lock)) => {
                self.drive(Input::Request(Order::Free(lock)), ctx);
            }
            Input::Overload { .. } | Input::Signal(_) => (),
        }
    }
}
