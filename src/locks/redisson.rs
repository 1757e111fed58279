//! Redisson's `RLock`: a hash in Redis that counts its owner's entries, a watchdog that renews it,
//! and a channel that wakes waiters.
//!
//! RedissonLock.java, RedissonBaseLock.java, renewal/RenewalTask.java and config/Config.java,
//! redisson 4 (commit 6686397). An owner is a client and a thread, so that a thread may enter
//! again. A lock without a lease time gets `lockWatchdogTimeout` and is renewed every third of it
//! by one task for all of a client's locks. If the key is gone then, the renewal is cancelled and
//! **nobody is told**: the holder goes on. Waiters subscribe to a channel and try again when a
//! release is published, or when the time to live that they were told has passed; a spin lock
//! (RedissonSpinLock.java) polls instead. An unlock leaves a latch with its result behind, so that
//! a repeated request is answered and not carried out again.

use std::collections::BTreeMap;

use crate::choice::About;
use crate::config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Context, Input, Node, NodeId, TimerId};

use super::redis::{
    Command, Message, Persistence, Reach, ReplicationConfig, Reply, Server, ServerRole, WaitFor,
};
use super::{
    Indication, LockId, LockProtocol, Refusal, Release, Request, Servers, Terms, Token, Tokens,
};

/// The lock on one server.
pub(super) struct Redisson;

config! {
    /// Redisson's `RLock`.
    pub(super) struct Params {
        /// How long a lock lives that is not renewed (`lockWatchdogTimeout`).
        pub(super) lease: SimDuration = SimDuration::from_secs(30),
        /// Whether the watchdog renews it; it does not where a lease time was given to `lock()`.
        pub(super) watchdog: bool = true,
        /// Whether a grant that comes after the client gave up is renewed all the same, for nobody
        /// (issue 7272).
        pub(super) orphan_renewal: bool = false,
        /// How a client waits.
        pub(super) wait: Wait = Wait::Notify,
        /// What the server keeps on disk.
        pub(super) persistence: Persistence = Persistence::None,
        /// How commands are sent.
        pub(super) transport: Transport = Transport::DEFAULT,
    }
}

config! {
    /// How a client waits for a lock.
    pub(super) enum Wait {
        /// It listens for the release, and tries again when the time to live has passed.
        "notify" => Notify,
        /// It tries again after so long (`RedissonSpinLock`).
        "poll" => Poll(SimDuration),
    }
}

config! {
    /// How Redisson sends commands.
    pub(super) struct Transport {
        /// How long it waits for a reply (`timeout`).
        pub(super) timeout: SimDuration = SimDuration::from_secs(3),
        /// How often it tries again (`retryAttempts`).
        pub(super) retries: u32 = 4 => 0..=1_000_000,
        /// The least pause before it does (`retryDelay`, equal jitter).
        pub(super) delay: SimDuration = SimDuration::from_secs(1),
        /// The longest.
        pub(super) delay_max: SimDuration = SimDuration::from_secs(2),
    }
}

impl Transport {
    pub(super) const DEFAULT: Self = Self {
        timeout: SimDuration::from_secs(3),
        retries: 4,
        delay: SimDuration::from_secs(1),
        delay_max: SimDuration::from_secs(2),
    };
}

config! {
    /// What a client asks of the replicas.
    pub(super) struct Replicas {
        /// For how many it waits; left out, for all that are connected.
        pub(super) wanted: Option<u32> = None,
        /// For how long (`slavesSyncTimeout`).
        pub(super) timeout: SimDuration = SimDuration::from_secs(1),
        /// When it fails for lack of replicas.
        pub(super) check: SyncCheck = SyncCheck::NoneOfSome,
    }
}

config! {
    /// When a write counts as not replicated.
    pub(super) enum SyncCheck {
        /// Where none has acknowledged it although some are connected: one of several is enough,
        /// and where none is connected nothing is checked (`CommandAsyncService.syncedEval`).
        "none_of_some" => NoneOfSome,
        /// Where fewer have acknowledged it than are connected.
        "fewer_than_all" => FewerThanAll,
    }
}

impl LockProtocol for Redisson {
    const ABOUT: About = About {
        name: "redisson",
        summary: "Redisson's RLock: hash with a watchdog, publish/subscribe wake-up, re-entrant",
        source: "org/redisson/RedissonLock.java",
        version: "redisson 4",
    };
    const TOKENS: Tokens = Tokens::Counted;
    const VALIDATES: bool = false;
    type Params = Params;
    type Message = Message;
    type Server = Server;
    type Client = Client;

    fn servers(_: &Params) -> Servers {
        Servers::One
    }

    fn server(params: &Params, terms: &Terms) -> ServerRole {
        server_role(params, None, terms)
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole {
        ClientRole { params: params.clone(), replicas: None, terms: terms.clone() }
    }
}

pub(super) fn server_role(
    params: &Params,
    replication: Option<ReplicationConfig>,
    terms: &Terms,
) -> ServerRole {
    ServerRole {
        persistence: params.persistence.clone(),
        restart_delay: SimDuration::ZERO,
        replication,
        terms: terms.clone(),
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub(super) struct ClientRole {
    pub(super) params: Params,
    /// Where the server is replicated, what is asked of the replicas.
    pub(super) replicas: Option<Replicas>,
    pub(super) terms: Terms,
}

/// A Redisson client.
#[derive(Debug)]
pub(super) struct Client {
    role: ClientRole,
    /// Who it is to the server: client and thread.
    owner: u64,
    /// The position of the server that it takes for the primary.
    server: usize,
    quests: BTreeMap<LockId, Quest>,
    /// How often it has entered each lock, as it thinks.
    holds: BTreeMap<LockId, u32>,
    /// The locks that the watchdog renews.
    renewed: BTreeMap<LockId, u32>,
    is_watching: bool,
    calls: BTreeMap<u64, Call>,
    next_call: u64,
}

/// An acquisition under way.
#[derive(Debug)]
struct Quest {
    until: Option<SimTime>,
    /// Whether it listens to the channel.
    is_listening: bool,
    /// When it waits: the timer that ends the wait.
    wait: Option<TimerId>,
}

#[derive(Debug)]
struct Call {
    lock: LockId,
    command: Command,
    failures: u32,
    /// Its time-out; none while it waits to be sent again.
    timer: Option<TimerId>,
}

/// What a client reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// The wait for a lock is over.
    WaitOver(LockId),
    /// The caller's patience is over.
    PatienceOver(LockId),
    /// No reply has come in time.
    TimedOut(u64),
    /// Send a command again.
    Resend(u64),
    /// The watchdog's round is due.
    Watchdog,
}

type Ctx<'a> = Context<'a, Client>;

impl Client {
    fn try_lock(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        ctx.indicate(Indication::Tried(lock));
        let (owner, lease) = (self.owner, self.role.params.lease);
        let counts = self.role.terms.is_counted;
        self.call(lock, Command::HashLock { owner, lease, counts }, ctx);
    }

    fn call(&mut self, lock: LockId, command: Command, ctx: &mut Ctx<'_>) {
        let id = self.next_call;
        self.next_call += 1;
        self.calls.insert(id, Call { lock, command, failures: 0, timer: None });
        self.send(id, ctx);
    }

    fn send(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        let server = self.server();
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.timer = Some(ctx.set_timer(self.role.params.transport.timeout, Timer::TimedOut(id)));
        let is_write = matches!(call.command, Command::HashLock { .. });
        let wait = self
            .role
            .replicas
            .as_ref()
            .filter(|_| is_write)
            .map(|replicas| WaitFor { replicas: replicas.wanted, timeout: replicas.timeout });
        let (lock, command) = (call.lock, call.command.clone());
        ctx.send(server, Message::Ask { id, lock, command, wait });
    }

    fn server(&self) -> NodeId {
        self.role.terms.servers[self.server]
    }

    /// The server is gone, or is not the primary: the next one may be.
    fn move_on(&mut self, ctx: &mut Ctx<'_>) {
        self.server = (self.server + 1) % self.role.terms.servers.len();
        // Subscriptions went with the connection, and are made again on the next one.
        let listening = self.quests.iter().filter(|(_, quest)| quest.is_listening);
        let listening: Vec<LockId> = listening.map(|(lock, _)| *lock).collect();
        let sent = self.calls.iter().filter(|(_, call)| call.timer.is_some());
        let sent: Vec<u64> = sent.map(|(id, _)| *id).collect();
        for id in sent {
            self.fail(id, ctx);
        }
        for lock in listening {
            self.call(lock, Command::Subscribe, ctx);
        }
    }

    fn fail(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(timer) = call.timer.take() {
            ctx.cancel_timer(timer);
        }
        call.failures += 1;
        let Transport { retries, delay, delay_max, .. } = self.role.params.transport.clone();
        if call.failures <= retries {
            // EqualJitterDelay: half of the doubled delay, and a draw up to the whole.
            let doubled = delay.times(1 << (call.failures - 1).min(40)).min(delay_max);
            let half = doubled.scale(1, 2);
            let jitter = SimDuration::from_ns_f64(half.as_ns() as f64 * ctx.rng().unit());
            ctx.set_timer(half + jitter, Timer::Resend(id));
            return;
        }
        let Call { lock, command, .. } = self.calls.remove(&id).expect("the call was found above");
        match command {
            Command::HashLock { .. } => self.give_up(lock, Refusal::Error, ctx),
            Command::HashUnlock { .. } => {
                ctx.indicate(Indication::Released { lock, how: Release::Unknown });
            }
            // The next round of the watchdog tries again.
            _ => (),
        }
    }

    fn answered(&mut self, id: u64, reply: Reply, reach: Option<Reach>, ctx: &mut Ctx<'_>) {
        if reply == Reply::ReadOnly {
            self.move_on(ctx);
            return;
        }
        let Some(call) = self.calls.remove(&id) else { return };
        if let Some(timer) = call.timer {
            ctx.cancel_timer(timer);
        }
        let lock = call.lock;
        match (call.command, reply) {
            (Command::HashLock { .. }, Reply::Set(token)) => {
                self.granted(lock, token, reach, ctx);
            }
            (Command::HashLock { .. }, Reply::Busy(left)) => self.refused(lock, left, ctx),
            (Command::HashUnlock { request, .. }, reply) => {
                self.call(lock, Command::DropLatch { request }, ctx);
                let how = match reply {
                    Reply::Done(true) | Reply::StillHeld => Release::Done,
                    // `IllegalMonitorStateException`.
                    _ => Release::NotHeld,
                };
                ctx.indicate(Indication::Released { lock, how });
            }
            // The key is gone: the renewal is cancelled, and the holder is never told.
            (Command::HashRenew { .. }, Reply::Done(false)) => {
                self.renewed.remove(&lock);
            }
            // Subscribed: try once more, since the release may have come before.
            (Command::Subscribe, _) if self.quests.contains_key(&lock) => self.try_lock(lock, ctx),
            _ => (),
        }
    }

    fn granted(
        &mut self,
        lock: LockId,
        token: Option<Token>,
        reach: Option<Reach>,
        ctx: &mut Ctx<'_>,
    ) {
        let Some(quest) = self.quests.remove(&lock) else {
            // Too late: the caller has gone. The key lives out its lease, or for ever.
            if self.role.params.orphan_renewal {
                self.watch(lock, ctx);
            }
            return;
        };
        self.stop_listening(lock, &quest, ctx);
        if let (Some(replicas), Some(reach)) = (&self.role.replicas, reach) {
            let is_lacking = match replicas.check {
                SyncCheck::NoneOfSome => reach.synced == 0 && 0 < reach.connected,
                SyncCheck::FewerThanAll => reach.synced < reach.connected,
            };
            if is_lacking {
                ctx.indicate(Indication::Refused { lock, why: Refusal::Error });
                return;
            }
        }
        *self.holds.entry(lock).or_default() += 1;
        if self.role.params.watchdog {
            self.watch(lock, ctx);
        }
        ctx.indicate(Indication::Granted { lock, token, valid_for: None });
    }

    fn refused(&mut self, lock: LockId, left: Option<SimDuration>, ctx: &mut Ctx<'_>) {
        let Some(quest) = self.quests.get_mut(&lock) else { return };
        let now = ctx.now();
        let wait = match &self.role.params.wait {
            Wait::Poll(every) => *every,
            Wait::Notify if !quest.is_listening => {
                quest.is_listening = true;
                self.call(lock, Command::Subscribe, ctx);
                return;
            }
            Wait::Notify => left.unwrap_or(SimDuration::MAX),
        };
        match quest.until {
            Some(until) if until <= now + wait => {
                if matches!(self.role.params.wait, Wait::Poll(_)) || until <= now {
                    self.give_up(lock, Refusal::Patience, ctx);
                } else {
                    quest.wait = Some(ctx.set_timer(until.since(now), Timer::WaitOver(lock)));
                }
            }
            _ => quest.wait = Some(ctx.set_timer(wait, Timer::WaitOver(lock))),
        }
    }

    /// A release was published, or the wait is over.
    fn wake(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        let Some(quest) = self.quests.get_mut(&lock) else { return };
        if let Some(timer) = quest.wait.take() {
            ctx.cancel_timer(timer);
            self.try_lock(lock, ctx);
        }
    }

    fn give_up(&mut self, lock: LockId, why: Refusal, ctx: &mut Ctx<'_>) {
        if let Some(quest) = self.quests.remove(&lock) {
            self.stop_listening(lock, &quest, ctx);
            ctx.indicate(Indication::Refused { lock, why });
        }
    }

    fn stop_listening(&mut self, lock: LockId, quest: &Quest, ctx: &mut Ctx<'_>) {
        if quest.is_listening {
            self.call(lock, Command::Unsubscribe, ctx);
        }
    }

    /// Puts a lock under the watchdog.
    fn watch(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        *self.renewed.entry(lock).or_default() += 1;
        if !self.is_watching {
            self.is_watching = true;
            ctx.set_timer(self.role.params.lease.scale(1, 3), Timer::Watchdog);
        }
    }

    fn renew_all(&mut self, ctx: &mut Ctx<'_>) {
        self.is_watching = !self.renewed.is_empty();
        if !self.is_watching {
            return;
        }
        let (owner, lease) = (self.owner, self.role.params.lease);
        for lock in self.renewed.keys().copied().collect::<Vec<_>>() {
            self.call(lock, Command::HashRenew { owner, lease }, ctx);
        }
        ctx.set_timer(lease.scale(1, 3), Timer::Watchdog);
    }

    fn release(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        // The script decides whether it is held, not the client.
        if let Some(count) = self.holds.get_mut(&lock) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = self.renewed.get_mut(&lock) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.renewed.remove(&lock);
            }
        }
        let (owner, lease) = (self.owner, self.role.params.lease);
        let request = ctx.rng().word();
        self.call(lock, Command::HashUnlock { owner, lease, request }, ctx);
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
        Self {
            role: role.clone(),
            owner: 0,
            server: 0,
            quests: BTreeMap::new(),
            holds: BTreeMap::new(),
            renewed: BTreeMap::new(),
            is_watching: false,
            calls: BTreeMap::new(),
            next_call: 0,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match input {
            // A process that starts is another owner than the one before it.
            Input::Start => self.owner = ctx.rng().word(),
            Input::Request(Request::Acquire { lock, patience }) => {
                let until = patience.map(|patience| ctx.now() + patience);
                self.quests.insert(lock, Quest { until, is_listening: false, wait: None });
                if let Some(patience) = patience {
                    ctx.set_timer(patience, Timer::PatienceOver(lock));
                }
                self.try_lock(lock, ctx);
            }
            // `isHeldByCurrentThread` asks the server; nobody calls it before each write.
            Input::Request(Request::Check(lock)) => {
                ctx.indicate(Indication::Checked { lock, is_valid: true });
            }
            Input::Request(Request::Release(lock)) => self.release(lock, ctx),
            Input::Message { message: Message::Answer { id, reply, reach, .. }, .. } => {
                self.answered(id, reply, reach, ctx);
            }
            Input::Message { message: Message::Published { lock }, .. } => {
                ctx.indicate(Indication::Woken(lock));
                self.wake(lock, ctx);
            }
            Input::Closed { peer, .. } if peer == self.server() => self.move_on(ctx),
            Input::Timer(Timer::WaitOver(lock)) => {
                // It has fired, and is not to be cancelled.
                let until = self.quests.get(&lock).and_then(|quest| quest.until);
                if until.is_some_and(|until| until <= ctx.now()) {
                    self.give_up(lock, Refusal::Patience, ctx);
                } else {
                    self.wake(lock, ctx);
                }
            }
            Input::Timer(Timer::PatienceOver(lock)) => {
                let now = ctx.now();
                let is_over = |quest: &Quest| quest.until.is_some_and(|until| until <= now);
                // One that waits has a timer for that; this one has a command under way.
                let quest = self.quests.get(&lock).filter(|quest| quest.wait.is_none());
                if quest.is_some_and(is_over) {
                    self.give_up(lock, Refusal::Patience, ctx);
                }
            }
            Input::Timer(Timer::TimedOut(id)) => {
                if self.calls.contains_key(&id) {
                    ctx.disconnect(self.server());
                    self.move_on(ctx);
                }
            }
            Input::Timer(Timer::Resend(id)) => self.send(id, ctx),
            Input::Timer(Timer::Watchdog) => self.renew_all(ctx),
            Input::Request(Request::Validate { .. })
            | Input::Message { .. }
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}
