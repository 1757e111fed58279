//! A client of an ensemble: it finds the leader, asks until it is answered, and keeps a session.

use std::collections::BTreeMap;

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::{Indication, LockId, Request, Token};
use crate::model::node::{Context, Input, Node, NodeId, TimerId};

use super::{Machine, Message, MessageOf, NEVER};

/// How a client goes for a lock.
pub(in crate::locks) trait Flow: Sized {
    /// The service's state.
    type Machine: Machine;
    /// Its settings.
    type Role: Clone;

    /// A client that has just started.
    fn boot(role: &Self::Role) -> Self;

    /// The command that begins a session.
    fn open(session: u64, timeout: SimDuration) -> CommandOf<Self>;

    /// The process wants a lock, and gives up at `until`.
    fn acquire(
        &mut self,
        lock: LockId,
        until: Option<SimTime>,
        core: &mut Core<Self>,
        ctx: &mut Ctx<'_, Self>,
    );

    /// Whether the lock is held, as far as the client can tell now.
    fn is_valid(&self, lock: LockId, core: &Core<Self>, now: SimTime) -> bool;

    /// The process gives a lock back.
    fn release(&mut self, lock: LockId, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>);

    /// The service has answered the command that was given as `id`.
    fn answered(
        &mut self,
        id: u64,
        answer: AnswerOf<Self>,
        core: &mut Core<Self>,
        ctx: &mut Ctx<'_, Self>,
    );

    /// What was watched is gone.
    fn gone(
        &mut self,
        _lock: LockId,
        _number: u64,
        _core: &mut Core<Self>,
        _ctx: &mut Ctx<'_, Self>,
    ) {
    }

    /// Another server is asked from now on: what was watched must be watched again.
    fn reconnected(&mut self, _core: &mut Core<Self>, _ctx: &mut Ctx<'_, Self>) {}

    /// Patience with that attempt is over.
    fn out_of_patience(
        &mut self,
        lock: LockId,
        attempt: u64,
        core: &mut Core<Self>,
        ctx: &mut Ctx<'_, Self>,
    );

    /// Something has become of the session.
    fn session(&mut self, fate: Fate, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>);
}

type CommandOf<F> = <<F as Flow>::Machine as Machine>::Command;
type AnswerOf<F> = <<F as Flow>::Machine as Machine>::Answer;

/// What can become of a session, as its client sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::locks) enum Fate {
    /// It has begun.
    Opened,
    /// It lives for that long from now on.
    Extended(SimDuration),
    /// It may be over: the client cannot tell.
    InDoubt,
    /// It is over.
    Over,
}

/// How a client keeps its session.
#[derive(Clone, Debug)]
pub(in crate::locks) enum Keeping {
    /// There is none.
    Nothing,
    /// It shows a sign of life every third of the time-out; with its connection gone, or silent for
    /// two thirds, it is in doubt until a server says what is true (ZooKeeper).
    Connection {
        /// The session's time-out.
        timeout: SimDuration,
    },
    /// It renews a lease every third of it; past its deadline the lease is over (etcd).
    Lease {
        /// The time to live that it asks for.
        ttl: SimDuration,
        /// How often it looks at its deadline, which counts from the receipt of a reply. `None`:
        /// at the deadline itself, which counts from the sending of the renewal.
        looks: Option<SimDuration>,
    },
    /// A server answers each sign of life shortly before the lease is over; the client reckons with
    /// a server's clock that much faster than its own, and after the end of the lease it is in
    /// doubt for a while before it gives the session up (Chubby).
    Conservative {
        /// The session's lease.
        lease: SimDuration,
        /// How fast a server's clock may run, as seen from the client's, in thousandths.
        clock_per_mille: u64,
        /// How long it stays in doubt.
        grace: SimDuration,
    },
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub(in crate::locks) struct ClientRole<R> {
    pub(in crate::locks) servers: Vec<NodeId>,
    /// How long it waits for an answer before it asks another server.
    pub(in crate::locks) timeout: SimDuration,
    /// How long it rests before that.
    pub(in crate::locks) pause: SimDuration,
    pub(in crate::locks) keeping: Keeping,
    pub(in crate::locks) flow: R,
}

/// A client.
pub(in crate::locks) struct Client<F: Flow> {
    core: Core<F>,
    flow: F,
}

/// What a client does whatever it goes for.
pub(in crate::locks) struct Core<F: Flow> {
    role: ClientRole<F::Role>,
    /// The position of the server that it takes for the leader.
    at: usize,
    /// Counts how often it turned to another server; while it rests before that, nothing is sent.
    turn: u64,
    is_resting: bool,
    calls: BTreeMap<u64, Call<F>>,
    next_id: u64,
    session: Option<Session>,
    opening: Option<Opening>,
}

/// A command, until it is answered.
struct Call<F: Flow> {
    what: What<F>,
    timer: Option<TimerId>,
    /// Whether it was answered, and more is to come: it is asked about again now and then.
    is_waiting: bool,
}

enum What<F: Flow> {
    Command(CommandOf<F>),
    Who(LockId, Token),
}

/// The command that begins a session.
#[derive(Clone, Copy)]
struct Opening {
    call: u64,
    session: u64,
    first_sent: SimTime,
}

/// A session as its client sees it.
struct Session {
    id: u64,
    is_in_doubt: bool,
    /// When a server was heard last.
    heard: SimTime,
    /// Until when it lives, as far as the client can tell.
    deadline: SimTime,
    /// The latest sign of life.
    touch: Touch,
}

struct Touch {
    number: u64,
    sent: SimTime,
    is_answered: bool,
}

/// What a client reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(in crate::locks) enum Timer {
    /// No answer has come, or it is time to ask again.
    Call(u64),
    /// The rest before that turn is over.
    Again(u64),
    /// A sign of life of that session is due.
    Touch(u64),
    /// The deadline of that session may have come.
    Deadline(u64),
    /// The doubt about that session has lasted long enough.
    Grace(u64),
    /// Patience with that attempt is over.
    Patience(LockId, u64),
}

/// The context of a client.
pub(in crate::locks) type Ctx<'a, F> = Context<'a, Client<F>>;

impl<F: Flow> Core<F> {
    /// Gives a command; it is given again until it is answered.
    pub(in crate::locks) fn ask(&mut self, command: CommandOf<F>, ctx: &mut Ctx<'_, F>) -> u64 {
        self.call(What::Command(command), ctx)
    }

    /// Lets a call go on that was answered, because more is to come; asks again after a while.
    pub(in crate::locks) fn wait_on(
        &mut self,
        id: u64,
        command: CommandOf<F>,
        ctx: &mut Ctx<'_, F>,
    ) {
        let timer = Some(ctx.set_timer(ASKS_AGAIN, Timer::Call(id)));
        self.calls.insert(id, Call { what: What::Command(command), timer, is_waiting: true });
    }

    /// No longer asks.
    pub(in crate::locks) fn drop_call(&mut self, id: u64, ctx: &mut Ctx<'_, F>) {
        if let Some(timer) = self.calls.remove(&id).and_then(|call| call.timer) {
            ctx.cancel_timer(timer);
        }
    }

    /// Wants to hear when something is gone.
    pub(in crate::locks) fn watch(&self, lock: LockId, number: u64, ctx: &mut Ctx<'_, F>) {
        if !self.is_resting {
            ctx.send(self.server(), Message::Watch { lock, number });
        }
    }

    /// The session, where there is one that is not over.
    pub(in crate::locks) fn session(&self) -> Option<u64> {
        self.session.as_ref().map(|session| session.id)
    }

    /// Begins a session where there is none; [`Fate::Opened`] follows.
    pub(in crate::locks) fn open_session(&mut self, ctx: &mut Ctx<'_, F>) {
        let timeout = match self.role.keeping {
            Keeping::Nothing => return,
            Keeping::Connection { timeout } => timeout,
            Keeping::Lease { ttl, .. } => ttl,
            Keeping::Conservative { lease, .. } => lease,
        };
        if self.opening.is_none() && self.session.is_none() {
            let session = ctx.rng().word();
            let call = self.ask(F::open(session, timeout), ctx);
            self.opening = Some(Opening { call, session, first_sent: ctx.now() });
        }
    }

    /// The service says that it does not know the session.
    pub(in crate::locks) fn forget_session(&mut self) {
        self.session = None;
    }

    /// Whether there is that session, and it is not in doubt at `now`.
    pub(in crate::locks) fn is_sure_of(&self, id: u64, now: SimTime) -> bool {
        let Some(session) = self.session.as_ref().filter(|session| session.id == id) else {
            return false;
        };
        let is_silent = match self.role.keeping {
            Keeping::Connection { timeout } => timeout.scale(2, 3) <= now.since(session.heard),
            Keeping::Nothing | Keeping::Lease { .. } | Keeping::Conservative { .. } => false,
        };
        !session.is_in_doubt && now < session.deadline && !is_silent
    }

    /// For how long the session lives from `now` on, where the client knows of an end.
    pub(in crate::locks) fn valid_for(&self, now: SimTime) -> Option<SimDuration> {
        let Some(session) = &self.session else {
            let has_ends = matches!(self.role.keeping, Keeping::Lease { .. });
            return has_ends.then_some(SimDuration::ZERO);
        };
        (session.deadline != NEVER).then(|| session.deadline.since(now))
    }

    fn call(&mut self, what: What<F>, ctx: &mut Ctx<'_, F>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.calls.insert(id, Call { what, timer: None, is_waiting: false });
        if !self.is_resting {
            self.send(id, ctx);
        }
        id
    }

    /// Sends a call to the server that it takes for the leader.
    fn send(&mut self, id: u64, ctx: &mut Ctx<'_, F>) {
        let (server, timeout) = (self.server(), self.role.timeout);
        let Some(call) = self.calls.get_mut(&id) else { return };
        match &call.what {
            What::Command(command) => {
                let (kind, _) = F::Machine::kinds(command);
                ctx.send(server, Message::Ask { id, kind, command: command.clone() });
            }
            What::Who(lock, _) => ctx.send(server, Message::Who { id, lock: *lock }),
        }
        call.is_waiting = false;
        if let Some(timer) = call.timer.replace(ctx.set_timer(timeout, Timer::Call(id))) {
            ctx.cancel_timer(timer);
        }
    }

    fn server(&self) -> NodeId {
        self.role.servers[self.at]
    }

    /// Sends a sign of life.
    fn touch(&mut self, ctx: &mut Ctx<'_, F>) {
        let server = self.server();
        let Some(session) = &mut self.session else { return };
        let number = session.touch.number + 1;
        session.touch = Touch { number, sent: ctx.now(), is_answered: false };
        ctx.send(server, Message::Touch { session: session.id, number });
    }

    /// Lets the next sign of life fall due, or the loss of the last be noticed.
    fn schedule_touch(&mut self, ctx: &mut Ctx<'_, F>) {
        let Some(session) = &self.session else { return };
        let every = match self.role.keeping {
            Keeping::Connection { timeout: length } | Keeping::Lease { ttl: length, .. } => {
                length.scale(1, 3)
            }
            Keeping::Conservative { .. } => self.role.timeout,
            Keeping::Nothing => return,
        };
        ctx.set_timer(every, Timer::Touch(session.id));
    }

    /// The session has begun.
    fn opened(&mut self, opening: Opening, ctx: &mut Ctx<'_, F>) {
        let (now, sent) = (ctx.now(), opening.first_sent);
        let deadline = match self.role.keeping {
            Keeping::Nothing | Keeping::Connection { .. } => NEVER,
            Keeping::Lease { ttl, looks: None } => sent + ttl,
            Keeping::Lease { ttl, looks: Some(_) } => now + ttl,
            Keeping::Conservative { lease, clock_per_mille, .. } => {
                sent + lease.scale(1000, clock_per_mille)
            }
        };
        let touch = Touch { number: 0, sent, is_answered: true };
        let id = opening.session;
        self.session = Some(Session { id, is_in_doubt: false, heard: now, deadline, touch });
        self.watch_deadline(ctx);
        match self.role.keeping {
            // Its answer is the occasion for the next.
            Keeping::Conservative { .. } => self.touch(ctx),
            Keeping::Connection { .. } | Keeping::Lease { .. } => self.schedule_touch(ctx),
            Keeping::Nothing => (),
        }
    }

    fn watch_deadline(&mut self, ctx: &mut Ctx<'_, F>) {
        let Some(session) = self.session.as_ref().filter(|s| s.deadline != NEVER) else { return };
        let looked_at = match self.role.keeping {
            Keeping::Lease { looks: Some(every), .. } => session.deadline.round_up(every),
            _ => session.deadline,
        };
        let wait = looked_at.since(ctx.now());
        ctx.set_timer(wait, Timer::Deadline(session.id));
    }
}

impl<F: Flow> Client<F> {
    /// Turns to the next server, after a rest.
    fn move_on(&mut self, ctx: &mut Ctx<'_, F>) {
        let core = &mut self.core;
        if core.is_resting {
            return;
        }
        core.is_resting = true;
        core.turn += 1;
        core.at = (core.at + 1) % core.role.servers.len();
        for call in core.calls.values_mut() {
            if let Some(timer) = call.timer.take() {
                ctx.cancel_timer(timer);
            }
        }
        ctx.set_timer(core.role.pause, Timer::Again(core.turn));
        if matches!(core.role.keeping, Keeping::Connection { .. }) {
            self.doubt(ctx);
        }
    }

    /// Leaves a server that does not answer.
    fn desert(&mut self, ctx: &mut Ctx<'_, F>) {
        ctx.disconnect(self.core.server());
        self.move_on(ctx);
    }

    /// Asks the server that it turned to all that was not answered.
    fn ask_again(&mut self, ctx: &mut Ctx<'_, F>) {
        self.core.is_resting = false;
        for id in self.core.calls.keys().copied().collect::<Vec<_>>() {
            self.core.send(id, ctx);
        }
        self.core.touch(ctx);
        self.flow.reconnected(&mut self.core, ctx);
    }

    /// The session may be over.
    fn doubt(&mut self, ctx: &mut Ctx<'_, F>) {
        if let Some(session) = self.core.session.as_mut().filter(|s| !s.is_in_doubt) {
            session.is_in_doubt = true;
            let id = session.id;
            if let Keeping::Conservative { grace, .. } = self.core.role.keeping {
                ctx.set_timer(grace, Timer::Grace(id));
                self.core.schedule_touch(ctx);
            }
            self.flow.session(Fate::InDoubt, &mut self.core, ctx);
        }
    }

    fn end_session(&mut self, ctx: &mut Ctx<'_, F>) {
        if self.core.session.take().is_some() {
            self.flow.session(Fate::Over, &mut self.core, ctx);
        }
    }

    /// A server has said what it knows of the session.
    fn touched(
        &mut self,
        number: u64,
        is_alive: bool,
        held_back: SimDuration,
        lease: SimDuration,
        ctx: &mut Ctx<'_, F>,
    ) {
        let now = ctx.now();
        let Some(session) = self.core.session.as_mut().filter(|s| s.touch.number == number) else {
            return;
        };
        if !is_alive {
            self.end_session(ctx);
            return;
        }
        let sent = session.touch.sent;
        session.touch.is_answered = true;
        session.is_in_doubt = false;
        session.deadline = match self.core.role.keeping {
            Keeping::Nothing | Keeping::Connection { .. } => return,
            Keeping::Lease { looks: None, .. } => sent + lease,
            Keeping::Lease { looks: Some(_), .. } => now + lease,
            Keeping::Conservative { clock_per_mille, .. } => {
                let from_sending = held_back.as_ns().saturating_add(lease.as_ns());
                sent + SimDuration::from_ns(from_sending).scale(1000, clock_per_mille)
            }
        };
        let left = session.deadline.since(now);
        self.core.watch_deadline(ctx);
        if matches!(self.core.role.keeping, Keeping::Conservative { .. }) {
            self.core.touch(ctx);
        }
        self.flow.session(Fate::Extended(left), &mut self.core, ctx);
    }

    /// A sign of life is due. One that nobody answered tells that the connection is dead.
    fn touch_due(&mut self, id: u64, ctx: &mut Ctx<'_, F>) {
        let Some(session) = self.core.session.as_ref().filter(|session| session.id == id) else {
            return;
        };
        let is_answered = session.touch.is_answered;
        if matches!(self.core.role.keeping, Keeping::Conservative { .. }) && !session.is_in_doubt {
            return;
        }
        self.core.schedule_touch(ctx);
        if !is_answered {
            self.desert(ctx);
        } else if !self.core.is_resting {
            self.core.touch(ctx);
        }
    }

    fn deadline_due(&mut self, id: u64, ctx: &mut Ctx<'_, F>) {
        let now = ctx.now();
        let is_over = |session: &Session| session.id == id && session.deadline <= now;
        if !self.core.session.as_ref().is_some_and(is_over) {
            return;
        }
        match self.core.role.keeping {
            Keeping::Conservative { .. } => {
                self.doubt(ctx);
                self.desert(ctx);
            }
            Keeping::Nothing | Keeping::Connection { .. } | Keeping::Lease { .. } => {
                self.end_session(ctx);
            }
        }
    }

    fn answered(&mut self, id: u64, answer: AnswerOf<F>, ctx: &mut Ctx<'_, F>) {
        if !self.core.calls.contains_key(&id) {
            return;
        }
        self.core.drop_call(id, ctx);
        match self.core.opening.filter(|opening| opening.call == id) {
            Some(opening) => {
                self.core.opening = None;
                self.core.opened(opening, ctx);
                self.flow.session(Fate::Opened, &mut self.core, ctx);
            }
            None => self.flow.answered(id, answer, &mut self.core, ctx),
        }
    }

    /// A call was not answered in time, or is to be asked about again.
    fn call_due(&mut self, id: u64, ctx: &mut Ctx<'_, F>) {
        match self.core.calls.get(&id) {
            Some(call) if call.is_waiting => self.core.send(id, ctx),
            Some(_) => self.desert(ctx),
            None => (),
        }
    }

    fn receive(&mut self, from: NodeId, message: MessageOf<F::Machine>, ctx: &mut Ctx<'_, F>) {
        if let Some(session) = &mut self.core.session {
            session.heard = ctx.now();
        }
        match message {
            Message::Answer { id, answer, .. } => self.answered(id, answer, ctx),
            Message::Touched { number, is_alive, held_back, lease } => {
                self.touched(number, is_alive, held_back, lease, ctx);
            }
            Message::Gone { lock, number } => self.flow.gone(lock, number, &mut self.core, ctx),
            Message::Holder { id, token: holder } => {
                if let Some(What::Who(lock, token)) =
                    self.core.calls.get(&id).map(|call| &call.what)
                {
                    let (lock, token) = (*lock, *token);
                    self.core.drop_call(id, ctx);
                    let is_current = holder == Some(token);
                    ctx.indicate(Indication::Validated { lock, token, is_current });
                }
            }
            Message::NotLeader if from == self.core.server() => self.move_on(ctx),
            Message::NotLeader
            | Message::Raft(_)
            | Message::Ask { .. }
            | Message::Touch { .. }
            | Message::Watch { .. }
            | Message::Who { .. } => (),
        }
    }
}

impl<F: Flow> Node for Client<F> {
    type Role = ClientRole<F::Role>;
    type Stable = ();
    type Request = Request;
    type Indication = Indication;
    type Message = MessageOf<F::Machine>;
    type Timer = Timer;

    fn boot(role: &Self::Role, (): &()) -> Self {
        let core = Core {
            role: role.clone(),
            at: 0,
            turn: 0,
            is_resting: false,
            calls: BTreeMap::new(),
            next_id: 0,
            session: None,
            opening: None,
        };
        Self { core, flow: F::boot(&role.flow) }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_, F>) {
        let Self { core, flow } = self;
        match input {
            // A process that starts again must not take for its own what its former life asked.
            Input::Start => core.next_id = ctx.rng().word() >> 1,
            Input::Request(Request::Acquire { lock, patience }) => {
                let until = patience.map(|patience| ctx.now() + patience);
                ctx.indicate(Indication::Tried(lock));
                flow.acquire(lock, until, core, ctx);
            }
            Input::Request(Request::Check(lock)) => {
                let is_valid = flow.is_valid(lock, core, ctx.now());
                ctx.indicate(Indication::Checked { lock, is_valid });
            }
            Input::Request(Request::Release(lock)) => flow.release(lock, core, ctx),
            Input::Request(Request::Validate { lock, token }) => {
                core.call(What::Who(lock, token), ctx);
            }
            Input::Message { from, message, .. } => self.receive(from, message, ctx),
            Input::Closed { peer, .. } if peer == core.server() => self.move_on(ctx),
            Input::Timer(Timer::Call(id)) => self.call_due(id, ctx),
            Input::Timer(Timer::Again(turn)) if turn == core.turn => self.ask_again(ctx),
            Input::Timer(Timer::Touch(session)) => self.touch_due(session, ctx),
            Input::Timer(Timer::Deadline(session)) => self.deadline_due(session, ctx),
            Input::Timer(Timer::Grace(session)) => {
                if core.session.as_ref().is_some_and(|s| s.id == session && s.is_in_doubt) {
                    self.end_session(ctx);
                }
            }
            Input::Timer(Timer::Patience(lock, attempt)) => {
                flow.out_of_patience(lock, attempt, core, ctx);
            }
            Input::Timer(Timer::Again(_))
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}

/// How long a client that waits for more than one answer lets pass before it asks again, lest the
/// one that it waits for was lost with a server: a second, as long as nobody minds.
const ASKS_AGAIN: SimDuration = SimDuration::from_secs(1);
