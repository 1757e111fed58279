//! A client that asks one Redis server for a key again and again until it is free: what the
//! simplest locks have in common. How a variant releases is its [`Manner`].

use std::collections::BTreeMap;
use std::marker::PhantomData;

use crate::choice::About;
use crate::config;
use crate::config::Config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::{Context, Input, Node, NodeId, TimerId};

use super::redis::{Command, Message, Persistence, Reply, Server, ServerRole};
use super::{Indication, LockId, LockProtocol, Refusal, Release, Request, Servers, Terms, Tokens};

config! {
    /// How redis-py sends a command again that failed (redis/_defaults.py and redis/retry.py,
    /// redis-py 8.1.0). A command that was carried out, and whose reply was lost, is carried out
    /// twice.
    pub(super) struct TransportConfig {
        /// How long it waits for a reply before it closes the connection (`socket_timeout`).
        pub(super) timeout: SimDuration = SimDuration::from_secs(5),
        /// How often it tries again.
        pub(super) retries: u32 = 10 => 0..=1_000_000,
        /// The pause after a failure: a draw from 0 up to this, doubled with each failure.
        pub(super) backoff: SimDuration = SimDuration::from_ms(10),
        /// The longest pause.
        pub(super) backoff_max: SimDuration = SimDuration::from_secs(1),
    }
}

impl TransportConfig {
    /// As redis-py has it.
    pub(super) const DEFAULT: Self = Self {
        timeout: SimDuration::from_secs(5),
        retries: 10,
        backoff: SimDuration::from_ms(10),
        backoff_max: SimDuration::from_secs(1),
    };
}

/// The protocol that has this manner, one server, and nothing else to it.
pub(super) struct Polling<M>(PhantomData<M>);

/// What a variant does in its own way: its parameters know.
pub(super) trait Manner: Config + Clone + 'static {
    /// What it says of itself.
    const ABOUT: About;

    /// What the server keeps on disk.
    fn persistence(&self) -> &Persistence;

    /// The commands that acquire, in order: the first decides, the others follow it.
    fn acquire(&self, value: u64, counts: bool) -> Vec<Command>;

    /// The point between the first command and the others, where there are others.
    const FIRST_POINT: Option<&'static str>;

    /// For how long it thinks it holds the lock, from now on.
    fn valid_for(&self, hold: &Hold, now: Stamp) -> Option<SimDuration>;

    /// What it does to release what it acquired, or tried to, last.
    fn release(&self, hold: Option<&Hold>, now: Stamp) -> Plan;

    /// The command that prolongs a hold, and how often it is given.
    fn renewal(&self, hold: &Hold) -> Option<(SimDuration, Command)>;

    /// How long it sleeps between two tries; `None` where it tries once.
    fn poll(&self) -> Option<SimDuration>;

    /// How commands are sent.
    fn transport(&self) -> &TransportConfig;
}

impl<M: Manner> LockProtocol for Polling<M> {
    const ABOUT: About = M::ABOUT;
    const TOKENS: Tokens = Tokens::Counted;
    const VALIDATES: bool = false;
    type Params = M;
    type Message = Message;
    type Server = Server;
    type Client = Client<M>;

    fn servers(_: &M) -> Servers {
        Servers::One
    }

    fn server(manner: &M, terms: &Terms) -> ServerRole {
        ServerRole {
            persistence: manner.persistence().clone(),
            restart_delay: SimDuration::ZERO,
            replication: None,
            terms: terms.clone(),
        }
    }

    fn client(manner: &M, terms: &Terms) -> ClientRole<M> {
        ClientRole { manner: manner.clone(), terms: terms.clone() }
    }
}

/// What a client knows of its last attempt at a lock.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Hold {
    /// The value that stands for it in the store.
    pub(super) value: u64,
    /// When it sent the attempt.
    pub(super) asked: Stamp,
    /// When the answer came.
    pub(super) answered: Option<Stamp>,
    /// Whether the lock was granted, and not released since.
    pub(super) is_held: bool,
}

/// An instant on both clocks of a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    pub(super) monotonic: SimTime,
    pub(super) wall: WallTime,
}

impl Stamp {
    pub(super) fn of<N: Node>(ctx: &Context<'_, N>) -> Self {
        Self { monotonic: ctx.now(), wall: ctx.wall() }
    }
}

/// How a release goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plan {
    /// Send this.
    Send(Command),
    /// A check has just passed; between it and the sending of this lies a step.
    SendChecked(Command),
    /// Do nothing: the lock has expired.
    Skip,
    /// Do nothing: nothing is held.
    NotHeld,
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub(super) struct ClientRole<M> {
    pub(super) manner: M,
    pub(super) terms: Terms,
}

/// The client.
pub(super) struct Client<M> {
    role: ClientRole<M>,
    /// What it knows of each lock that it ever tried for.
    holds: BTreeMap<LockId, Hold>,
    /// Acquisitions under way.
    quests: BTreeMap<LockId, Quest>,
    /// Commands under way.
    calls: BTreeMap<u64, Call>,
    next_call: u64,
    /// The position of the server that it takes for the primary.
    server: usize,
}

/// An acquisition under way.
#[derive(Debug)]
struct Quest {
    value: u64,
    /// When it stops trying.
    until: Option<SimTime>,
    /// The commands still to come.
    commands: Vec<Command>,
    token: Option<super::Token>,
}

/// A command under way.
#[derive(Debug)]
struct Call {
    lock: LockId,
    command: Command,
    purpose: Purpose,
    failures: u32,
    /// Its time-out; none while it waits to be sent again.
    timer: Option<TimerId>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Acquire,
    Release,
    Renew,
}

/// What a client reminds itself of.
#[derive(Clone, Debug)]
pub(super) enum Timer {
    /// Try again.
    Poll(LockId),
    /// Give the next command of an acquisition.
    GoOn(LockId),
    /// No reply has come in time to a command that still waits for one.
    TimedOut,
    /// Send a command again.
    Resend(u64),
    /// Send the release that was decided on.
    Release(LockId, Command),
    /// Prolong the hold of this value.
    Renew(LockId, u64),
}

type Ctx<'a, M> = Context<'a, Client<M>>;

impl<M: Manner> Client<M> {
    fn acquire(&mut self, lock: LockId, patience: Option<SimDuration>, ctx: &mut Ctx<'_, M>) {
        let quest = Quest {
            value: ctx.rng().word(),
            until: patience.map(|patience| ctx.now() + patience),
            commands: Vec::new(),
            token: None,
        };
        self.quests.insert(lock, quest);
        self.attempt(lock, ctx);
    }

    fn attempt(&mut self, lock: LockId, ctx: &mut Ctx<'_, M>) {
        let Some(quest) = self.quests.get_mut(&lock) else { return };
        let mut commands = self.role.manner.acquire(quest.value, self.role.terms.is_counted);
        let first = commands.remove(0);
        quest.commands = commands;
        let hold =
            Hold { value: quest.value, asked: Stamp::of(ctx), answered: None, is_held: false };
        self.holds.insert(lock, hold);
        ctx.indicate(Indication::Tried(lock));
        self.call(lock, first, Purpose::Acquire, ctx);
    }

    fn call(&mut self, lock: LockId, command: Command, purpose: Purpose, ctx: &mut Ctx<'_, M>) {
        let id = self.next_call;
        self.next_call += 1;
        self.calls.insert(id, Call { lock, command, purpose, failures: 0, timer: None });
        self.send(id, ctx);
    }

    fn send(&mut self, id: u64, ctx: &mut Ctx<'_, M>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let timeout = self.role.manner.transport().timeout;
        call.timer = Some(ctx.set_timer(timeout, Timer::TimedOut));
        let (lock, command) = (call.lock, call.command.clone());
        ctx.send(self.server(), Message::Ask { id, lock, command, wait: None });
    }

    fn server(&self) -> NodeId {
        self.role.terms.servers[self.server]
    }

    /// The server is gone, or is not the primary: the next one may be.
    fn move_on(&mut self, ctx: &mut Ctx<'_, M>) {
        self.server = (self.server + 1) % self.role.terms.servers.len();
        self.fail_all(ctx);
    }

    /// Every command that was sent has failed: the connection is gone.
    fn fail_all(&mut self, ctx: &mut Ctx<'_, M>) {
        let sent = self.calls.iter().filter(|(_, call)| call.timer.is_some());
        let sent: Vec<u64> = sent.map(|(id, _)| *id).collect();
        for id in sent {
            self.fail(id, ctx);
        }
    }

    fn fail(&mut self, id: u64, ctx: &mut Ctx<'_, M>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(timer) = call.timer.take() {
            ctx.cancel_timer(timer);
        }
        call.failures += 1;
        let transport = self.role.manner.transport();
        if call.failures <= transport.retries {
            // min(cap, random() * base * 2^failures): ExponentialWithJitterBackoff.
            let doubled = transport.backoff.times(1 << call.failures.min(40));
            let pause = SimDuration::from_ns_f64(doubled.as_ns() as f64 * ctx.rng().unit());
            ctx.set_timer(pause.min(transport.backoff_max), Timer::Resend(id));
            return;
        }
        let Call { lock, purpose, .. } = self.calls.remove(&id).expect("the call was found above");
        match purpose {
            Purpose::Acquire => {
                self.quests.remove(&lock);
                ctx.indicate(Indication::Refused { lock, why: Refusal::Error });
            }
            Purpose::Release => {
                ctx.indicate(Indication::Released { lock, how: Release::Unknown });
            }
            Purpose::Renew => (),
        }
    }

    fn answered(&mut self, id: u64, reply: Reply, ctx: &mut Ctx<'_, M>) {
        if reply == Reply::ReadOnly {
            self.move_on(ctx);
            return;
        }
        let Some(call) = self.calls.remove(&id) else { return };
        if let Some(timer) = call.timer {
            ctx.cancel_timer(timer);
        }
        let lock = call.lock;
        match call.purpose {
            Purpose::Acquire => self.attempted(lock, reply, ctx),
            Purpose::Release => {
                let how = if reply == Reply::Done(true) { Release::Done } else { Release::NotHeld };
                ctx.indicate(Indication::Released { lock, how });
            }
            Purpose::Renew if reply == Reply::Done(true) => self.schedule_renewal(lock, ctx),
            Purpose::Renew => {
                // `LockNotOwnedError`.
                if let Some(hold) = self.holds.get_mut(&lock).filter(|hold| hold.is_held) {
                    hold.is_held = false;
                    ctx.indicate(Indication::Lost(lock));
                }
            }
        }
    }

    fn attempted(&mut self, lock: LockId, reply: Reply, ctx: &mut Ctx<'_, M>) {
        let poll = self.role.manner.poll();
        let Some(quest) = self.quests.get_mut(&lock) else { return };
        match reply {
            Reply::Busy(_) => {
                let has_time =
                    |poll: &SimDuration| quest.until.is_none_or(|until| ctx.now() + *poll <= until);
                if let Some(poll) = poll.filter(has_time) {
                    ctx.set_timer(poll, Timer::Poll(lock));
                } else {
                    self.quests.remove(&lock);
                    ctx.indicate(Indication::Refused { lock, why: Refusal::Patience });
                }
                return;
            }
            Reply::Set(token) => {
                quest.token = token;
                if let Some(point) = M::FIRST_POINT {
                    ctx.reach(point);
                    ctx.set_timer(SimDuration::ZERO, Timer::GoOn(lock));
                    return;
                }
            }
            Reply::Done(_) | Reply::StillHeld | Reply::ReadOnly => (),
        }
        self.go_on(lock, ctx);
    }

    /// Sends the next command of an acquisition, or is done with it.
    fn go_on(&mut self, lock: LockId, ctx: &mut Ctx<'_, M>) {
        let Some(quest) = self.quests.get_mut(&lock) else { return };
        if !quest.commands.is_empty() {
            let command = quest.commands.remove(0);
            self.call(lock, command, Purpose::Acquire, ctx);
            return;
        }
        let token = quest.token;
        self.quests.remove(&lock);
        let now = Stamp::of(ctx);
        let hold = self.holds.get_mut(&lock).expect("an attempt is noted when it is made");
        hold.answered = Some(now);
        hold.is_held = true;
        let valid_for = self.role.manner.valid_for(hold, now);
        ctx.indicate(Indication::Granted { lock, token, valid_for });
        self.schedule_renewal(lock, ctx);
    }

    fn schedule_renewal(&mut self, lock: LockId, ctx: &mut Ctx<'_, M>) {
        let Some(hold) = self.holds.get(&lock).filter(|hold| hold.is_held) else { return };
        if let Some((every, _)) = self.role.manner.renewal(hold) {
            ctx.set_timer(every, Timer::Renew(lock, hold.value));
        }
    }

    fn release(&mut self, lock: LockId, ctx: &mut Ctx<'_, M>) {
        let plan = self.role.manner.release(self.holds.get(&lock), Stamp::of(ctx));
        if let Some(hold) = self.holds.get_mut(&lock) {
            hold.is_held = false;
        }
        match plan {
            Plan::Send(command) => self.call(lock, command, Purpose::Release, ctx),
            Plan::SendChecked(command) => {
                ctx.reach("release_checked");
                ctx.set_timer(SimDuration::ZERO, Timer::Release(lock, command));
            }
            Plan::Skip => ctx.indicate(Indication::Released { lock, how: Release::Skipped }),
            Plan::NotHeld => ctx.indicate(Indication::Released { lock, how: Release::NotHeld }),
        }
    }

    fn renew(&mut self, lock: LockId, value: u64, ctx: &mut Ctx<'_, M>) {
        let hold = self.holds.get(&lock).filter(|hold| hold.is_held && hold.value == value);
        if let Some((_, command)) = hold.and_then(|hold| self.role.manner.renewal(hold)) {
            self.call(lock, command, Purpose::Renew, ctx);
        }
    }
}

impl<M: Manner> Node for Client<M> {
    type Role = ClientRole<M>;
    type Stable = ();
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &ClientRole<M>, (): &()) -> Self {
        Self {
            role: role.clone(),
            holds: BTreeMap::new(),
            quests: BTreeMap::new(),
            calls: BTreeMap::new(),
            next_call: 0,
            server: 0,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_, M>) {
        match input {
            Input::Request(Request::Acquire { lock, patience }) => {
                self.acquire(lock, patience, ctx);
            }
            // The library has no such check.
            Input::Request(Request::Check(lock)) => {
                ctx.indicate(Indication::Checked { lock, is_valid: true });
            }
            Input::Request(Request::Release(lock)) => self.release(lock, ctx),
            Input::Message { message: Message::Answer { id, reply, .. }, .. } => {
                self.answered(id, reply, ctx);
            }
            Input::Closed { peer, .. } if peer == self.server() => self.move_on(ctx),
            Input::Timer(Timer::Poll(lock)) => self.attempt(lock, ctx),
            Input::Timer(Timer::GoOn(lock)) => self.go_on(lock, ctx),
            Input::Timer(Timer::TimedOut) => {
                ctx.disconnect(self.server());
                self.move_on(ctx);
            }
            Input::Timer(Timer::Resend(id)) => self.send(id, ctx),
            Input::Timer(Timer::Release(lock, command)) => {
                self.call(lock, command, Purpose::Release, ctx);
            }
            Input::Timer(Timer::Renew(lock, value)) => self.renew(lock, value, ctx),
            Input::Start
            | Input::Request(Request::Validate { .. })
            | Input::Message { .. }
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}
