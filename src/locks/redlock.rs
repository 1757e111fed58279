//! Redlock: a key with a random value on each of several Redis servers that know nothing of each
//! other; whoever has a majority in time holds the lock.
//!
//! redis-doc, "Distributed Locks with Redis", and antirez/redlock-rb: note the time; `SET NX PX` on
//! all servers; elapsed = now - then; validity = ttl - elapsed - drift, drift = ttl · 1 % + 2 ms;
//! granted if a majority said yes and validity is left; otherwise compare-and-delete on *all*
//! servers, wait at random, try again. The holder must stop at the end of the validity, by its own
//! clock: nothing else keeps two holders apart when a server forgets a key or its clock jumps
//! (Kleppmann, "How to do distributed locking", 2016). There is no fencing token. A server that
//! lost its memory should stay out for longer than any time to live: `restart_delay`.

use std::collections::{BTreeMap, BTreeSet};

use crate::choice::About;
use crate::config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Context, Input, Node, NodeId, TimerId};

use super::elapsed_release::Clock;
use super::polling::Stamp;
use super::redis::{Command, Message, Persistence, Reply, Server, ServerRole};
use super::{Indication, LockId, LockProtocol, Refusal, Release, Request, Servers, Terms, Tokens};

/// The protocol.
pub(super) struct Redlock;

config! {
    /// Redlock.
    pub(super) struct Params {
        /// How many servers there are.
        pub(super) servers: u32 = 5 => 1..=99,
        /// After how long a key expires.
        pub(super) ttl: SimDuration = SimDuration::from_secs(10),
        /// How a client asks the servers.
        pub(super) fan_out: FanOut = FanOut::Parallel,
        /// How long it waits for one of them.
        pub(super) timeout: SimDuration = SimDuration::from_ms(50),
        /// The clock that it measures validity with.
        pub(super) clock: Clock = Clock::Wall,
        /// How much of the time to live is set aside for drift, besides 2 ms.
        pub(super) drift: f64 = 0.01 => 0.0..=1.0,
        /// The least pause between two tries.
        pub(super) retry_min: SimDuration = SimDuration::ZERO,
        /// The longest.
        pub(super) retry_max: SimDuration = SimDuration::from_ms(200),
        /// For how long a server stays out after a restart.
        pub(super) restart_delay: SimDuration = SimDuration::ZERO,
        /// What a server keeps on disk.
        pub(super) persistence: Persistence = Persistence::None,
    }
}

config! {
    /// How a client asks several servers.
    pub(super) enum FanOut {
        /// All at once (redsync, pottery).
        "parallel" => Parallel,
        /// One after the other (redlock-rb, redlock-py).
        "sequential" => Sequential,
    }
}

impl LockProtocol for Redlock {
    const ABOUT: About = About {
        name: "redlock",
        summary: "majority of independent Redis servers, valid until a deadline on the client's clock",
        source: "redis-doc, distributed-locks.md; antirez/redlock-rb",
        version: "redlock-rb 2af803d, redis 7.0",
    };
    const TOKENS: Tokens = Tokens::None;
    const VALIDATES: bool = false;
    type Params = Params;
    type Message = Message;
    type Server = Server;
    type Client = Client;

    fn servers(params: &Params) -> Servers {
        Servers::Votes(params.servers)
    }

    fn server(params: &Params, terms: &Terms) -> ServerRole {
        ServerRole {
            persistence: params.persistence.clone(),
            restart_delay: params.restart_delay,
            replication: None,
            terms: terms.clone(),
        }
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole {
        ClientRole { params: params.clone(), servers: terms.servers.clone() }
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub(super) struct ClientRole {
    params: Params,
    servers: Vec<NodeId>,
}

/// A Redlock client.
#[derive(Debug)]
pub(super) struct Client {
    role: ClientRole,
    locks: BTreeMap<LockId, State>,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
}

/// What a client is about with a lock.
#[derive(Debug)]
enum State {
    /// It asks the servers.
    Asking(Quest),
    /// It lets go of what a failed try got, and sleeps.
    Resting(Quest),
    /// It holds the lock until its clock shows the end.
    Held { value: u64, granted: Stamp, valid_ns: i64 },
    /// It releases.
    Releasing { yes: u32, open: BTreeSet<u64> },
}

#[derive(Debug)]
struct Quest {
    value: u64,
    until: Option<SimTime>,
    began: Stamp,
    yes: u32,
    open: BTreeSet<u64>,
    /// The servers still to be asked, one after the other.
    next: usize,
}

#[derive(Debug)]
struct Call {
    lock: LockId,
    server: NodeId,
    timer: TimerId,
}

/// What a client reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// A server has not answered in time.
    TimedOut(u64),
    /// Try again.
    Retry(LockId),
    /// By the monotonic clock, the validity of this value may be over.
    Deadline(LockId, u64),
}

type Ctx<'a> = Context<'a, Client>;

impl Client {
    fn attempt(&mut self, lock: LockId, until: Option<SimTime>, ctx: &mut Ctx<'_>) {
        ctx.indicate(Indication::Tried(lock));
        let quest = Quest {
            value: ctx.rng().word(),
            until,
            began: Stamp::of(ctx),
            yes: 0,
            open: BTreeSet::new(),
            next: 0,
        };
        self.locks.insert(lock, State::Asking(quest));
        let at_once = match self.role.params.fan_out {
            FanOut::Parallel => self.role.servers.len(),
            FanOut::Sequential => 1,
        };
        for _ in 0..at_once {
            self.ask_next(lock, ctx);
        }
    }

    /// Asks the next of the servers for the lock.
    fn ask_next(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        let ttl = Some(self.role.params.ttl);
        let Some(State::Asking(quest)) = self.locks.get_mut(&lock) else { return };
        let Some(&server) = self.role.servers.get(quest.next) else { return };
        quest.next += 1;
        let command = Command::SetNx { value: quest.value, ttl, counts: false };
        let id = self.next_call;
        quest.open.insert(id);
        self.call(lock, server, command, ctx);
    }

    fn call(&mut self, lock: LockId, server: NodeId, command: Command, ctx: &mut Ctx<'_>) {
        let id = self.next_call;
        self.next_call += 1;
        let timer = ctx.set_timer(self.role.params.timeout, Timer::TimedOut(id));
        self.calls.insert(id, Call { lock, server, timer });
        ctx.send(server, Message::Ask { id, lock, command, wait: None });
    }

    /// Compares and deletes on all servers.
    fn let_go(&mut self, lock: LockId, value: u64, ctx: &mut Ctx<'_>) -> BTreeSet<u64> {
        let first = self.next_call;
        for server in self.role.servers.clone() {
            self.call(lock, server, Command::CompareAndDelete { value }, ctx);
        }
        (first..self.next_call).collect()
    }

    /// A server has answered, or will not.
    fn settle(&mut self, id: u64, reply: Option<Reply>, ctx: &mut Ctx<'_>) {
        let Some(call) = self.calls.remove(&id) else { return };
        ctx.cancel_timer(call.timer);
        let lock = call.lock;
        match self.locks.get_mut(&lock) {
            Some(State::Asking(quest)) if quest.open.contains(&id) => {
                quest.open.remove(&id);
                quest.yes += u32::from(matches!(reply, Some(Reply::Set(_))));
                if quest.next < self.role.servers.len() {
                    self.ask_next(lock, ctx);
                } else if quest.open.is_empty() {
                    self.count(lock, ctx);
                }
            }
            Some(State::Releasing { yes, open }) if open.contains(&id) => {
                open.remove(&id);
                *yes += u32::from(reply == Some(Reply::Done(true)));
                if open.is_empty() {
                    let is_done = 0 < *yes;
                    self.locks.remove(&lock);
                    let how = if is_done { Release::Done } else { Release::NotHeld };
                    ctx.indicate(Indication::Released { lock, how });
                }
            }
            // A deletion after a failed try: nobody waits for it.
            Some(_) | None => (),
        }
    }

    /// All servers have answered, or did not in time: counts the votes.
    fn count(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        let Some(State::Asking(quest)) = self.locks.remove(&lock) else { return };
        let Params { ttl, drift, clock, retry_min, retry_max, .. } = self.role.params.clone();
        let granted = Stamp::of(ctx);
        let ttl_ns = ttl.as_ns() as i64;
        let drift_ns = (ttl_ns as f64 * drift) as i64 + 2_000_000;
        let valid_ns = ttl_ns - clock.between(quest.began, granted) - drift_ns;
        let majority = self.role.servers.len() as u32 / 2 + 1;
        if majority <= quest.yes && 0 < valid_ns {
            let value = quest.value;
            self.locks.insert(lock, State::Held { value, granted, valid_ns });
            let valid_for = SimDuration::from_ns(valid_ns.unsigned_abs());
            ctx.set_timer(valid_for, Timer::Deadline(lock, value));
            ctx.indicate(Indication::Granted { lock, token: None, valid_for: Some(valid_for) });
            return;
        }
        self.let_go(lock, quest.value, ctx);
        let spread = retry_max.as_ns().saturating_sub(retry_min.as_ns());
        let pause = retry_min + SimDuration::from_ns(ctx.rng().below(spread.saturating_add(1)));
        if quest.until.is_some_and(|until| until < ctx.now() + pause) {
            ctx.indicate(Indication::Refused { lock, why: Refusal::Patience });
        } else {
            self.locks.insert(lock, State::Resting(quest));
            ctx.set_timer(pause, Timer::Retry(lock));
        }
    }

    /// For how much longer the lock is valid, in nanoseconds, by the client's clock.
    fn left_ns(&self, lock: LockId, ctx: &Ctx<'_>) -> Option<i64> {
        let Some(State::Held { granted, valid_ns, .. }) = self.locks.get(&lock) else {
            return None;
        };
        Some(valid_ns - self.role.params.clock.between(*granted, Stamp::of(ctx)))
    }

    fn deadline(&mut self, lock: LockId, value: u64, ctx: &mut Ctx<'_>) {
        let is_this =
            matches!(self.locks.get(&lock), Some(State::Held { value: v, .. }) if *v == value);
        let Some(left_ns) = self.left_ns(lock, ctx).filter(|_| is_this) else { return };
        if 0 < left_ns {
            // The clock was set back: as far as the client can tell, there is time.
            let left = SimDuration::from_ns(left_ns.unsigned_abs());
            ctx.set_timer(left, Timer::Deadline(lock, value));
            ctx.indicate(Indication::Extended { lock, valid_for: left });
        } else {
            ctx.indicate(Indication::Lost(lock));
        }
    }

    fn release(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        let Some(State::Held { value, .. }) = self.locks.remove(&lock) else {
            ctx.indicate(Indication::Released { lock, how: Release::NotHeld });
            return;
        };
        let open = self.let_go(lock, value, ctx);
        self.locks.insert(lock, State::Releasing { yes: 0, open });
    }
}

impl Node for Client {
    type Role = ClientRole;
    type Stable = ();
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &ClientRole, (): &()) -> Self {
        Self { role: role.clone(), locks: BTreeMap::new(), calls: BTreeMap::new(), next_call: 0 }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Request(Request::Acquire { lock, patience }) => {
                let until = patience.map(|patience| ctx.now() + patience);
                self.attempt(lock, until, ctx);
            }
            Input::Request(Request::Check(lock)) => {
                let is_valid = self.left_ns(lock, ctx).is_some_and(|left_ns| 0 < left_ns);
                ctx.indicate(Indication::Checked { lock, is_valid });
            }
            Input::Request(Request::Release(lock)) => self.release(lock, ctx),
            Input::Message { message: Message::Answer { id, reply, .. }, .. } => {
                self.settle(id, Some(reply), ctx);
            }
            Input::Closed { peer, .. } => {
                let open = self.calls.iter().filter(|(_, call)| call.server == peer);
                for id in open.map(|(id, _)| *id).collect::<Vec<_>>() {
                    self.settle(id, None, ctx);
                }
            }
            Input::Timer(Timer::TimedOut(id)) => {
                if let Some(call) = self.calls.get(&id) {
                    // What is still under way on this connection must not be taken for an answer
                    // to a later try.
                    ctx.disconnect(call.server);
                    self.settle(id, None, ctx);
                }
            }
            Input::Timer(Timer::Retry(lock)) => {
                if let Some(State::Resting(quest)) = self.locks.remove(&lock) {
                    self.attempt(lock, quest.until, ctx);
                }
            }
            Input::Timer(Timer::Deadline(lock, value)) => self.deadline(lock, value, ctx),
            Input::Start
            | Input::Request(Request::Validate { .. })
            | Input::Message { .. }
            | Input::Overload { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}
