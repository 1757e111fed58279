//! A lock by majority without any clock: nothing expires.
//!
//! A client asks all acceptors; each gives its vote to the first that asks, and keeps it on disk
//! until that one gives it back; whoever has a majority holds the lock, and whoever fails gives
//! back what it got, waits at random and asks again. Each attempt has a nonce of its own, so that
//! what is late or comes twice of one attempt does nothing to the next. An acceptor keeps the
//! highest fencing token that it was told; a grant's token is one more than the highest of its
//! majority, and is told with the votes that are given back: two majorities share an acceptor, so
//! tokens rise. A holder that dies holds the lock for ever, and an operator has to see that it is
//! dead; that is the price of needing no clock (after the quorum locks of Thomas, "A Majority
//! Consensus Approach to Concurrency Control", TODS 4(2), 1979).

use std::collections::BTreeMap;

use crate::choice::About;
use crate::config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Context, Input, Node, NodeId, Stable, SyncId, TimerId, Wire};

use super::{
    Authority, Fact, Freed, Indication, LockId, LockProtocol, Order, Refusal, Release, Request,
    Servers, Terms, Token, Tokens,
};

/// The protocol.
pub(super) struct Majority;

config! {
    /// A majority of acceptors, without a clock.
    pub(super) struct Params {
        /// How many acceptors there are.
        pub(super) servers: u32 = 5 => 1..=99,
        /// How long a client waits for a majority before it gives an attempt up.
        pub(super) timeout: SimDuration = SimDuration::from_ms(50),
        /// How long it waits for an acceptor to take a vote back before it tells it again.
        pub(super) resend: SimDuration = SimDuration::from_ms(500),
        /// The least pause after a try that failed.
        pub(super) retry_min: SimDuration = SimDuration::from_ms(10),
        /// The longest.
        pub(super) retry_max: SimDuration = SimDuration::from_ms(100),
    }
}

impl LockProtocol for Majority {
    const ABOUT: About = About {
        name: "majority",
        summary: "majority of durable acceptors, no clock, no expiry",
        source: "Thomas, TODS 4(2), 1979",
        version: "",
    };
    const TOKENS: Tokens = Tokens::Native;
    const VALIDATES: bool = false;
    type Params = Params;
    type Message = Message;
    type Server = Acceptor;
    type Client = Client;

    fn servers(params: &Params) -> Servers {
        Servers::Votes(params.servers)
    }

    fn server(_: &Params, _: &Terms) {}

    fn client(params: &Params, terms: &Terms) -> ClientRole {
        ClientRole { params: params.clone(), servers: terms.servers.clone() }
    }
}

/// What clients and acceptors tell each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    /// Give me your vote.
    Request { lock: LockId, nonce: u64 },
    /// It is yours, and this is the highest token that I know; or it is another's.
    Vote { lock: LockId, nonce: u64, epoch: Option<u64> },
    /// Take it back; this was my token.
    Return { lock: LockId, nonce: u64, token: u64 },
    /// I have it.
    Returned { lock: LockId, nonce: u64 },
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Request { .. } => "acquire",
            Self::Vote { .. } => "acquire_reply",
            Self::Return { .. } => "release",
            Self::Returned { .. } => "release_reply",
        }
    }

    fn size_bytes(&self) -> u32 {
        40
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Request { .. } | Self::Return { .. })
    }
}

/// What an acceptor keeps on disk of a lock.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ballot {
    /// Who has its vote, and for which attempt.
    vote: Option<(NodeId, u64)>,
    epoch: u64,
}

/// What an acceptor keeps on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Ballots(BTreeMap<LockId, Ballot>);

impl Stable for Ballots {
    type Write = (LockId, Ballot);

    fn apply(&mut self, (lock, ballot): &(LockId, Ballot)) {
        self.0.insert(*lock, ballot.clone());
    }
}

/// An acceptor.
#[derive(Debug)]
pub(super) struct Acceptor {
    ballots: BTreeMap<LockId, Ballot>,
    /// Answers that wait for the disk.
    unsynced: Vec<(SyncId, NodeId, Message)>,
}

impl Acceptor {
    /// Keeps a ballot, and answers when the disk has it.
    fn keep(
        &mut self,
        lock: LockId,
        ballot: Ballot,
        to: NodeId,
        answer: Message,
        ctx: &mut Context<'_, Self>,
    ) {
        let before = self.ballots.insert(lock, ballot.clone()).unwrap_or_default();
        if before == ballot {
            // What is under way to the disk goes first.
            match self.unsynced.last() {
                Some((sync, ..)) => self.unsynced.push((*sync, to, answer)),
                None => ctx.send(to, answer),
            }
            return;
        }
        let on = Authority::Books;
        match (before.vote, ballot.vote) {
            (None, Some((by, _))) => {
                ctx.indicate(Fact::Held { lock, by, token: None, expires: None, on });
            }
            (Some((from, _)), None) => {
                let how = if from == to { Freed::Released(to) } else { Freed::ByOperator };
                ctx.indicate(Fact::Freed { lock, from, how, on });
            }
            _ => (),
        }
        ctx.write((lock, ballot));
        let sync = ctx.sync();
        self.unsynced.push((sync, to, answer));
    }
}

impl Node for Acceptor {
    type Role = ();
    type Stable = Ballots;
    type Request = Order;
    type Indication = Fact;
    type Message = Message;
    type Timer = ();

    fn boot((): &(), disk: &Ballots) -> Self {
        Self { ballots: disk.0.clone(), unsynced: Vec::new() }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match input {
            Input::Start => {
                let held = self.ballots.iter().filter_map(|(lock, ballot)| {
                    let (by, _) = ballot.vote?;
                    let on = Authority::Books;
                    Some(Fact::Held { lock: *lock, by, token: None, expires: None, on })
                });
                for fact in held.collect::<Vec<_>>() {
                    ctx.indicate(fact);
                }
            }
            Input::Message { from, message: Message::Request { lock, nonce }, .. } => {
                let mut ballot = self.ballots.get(&lock).cloned().unwrap_or_default();
                let vote = *ballot.vote.get_or_insert((from, nonce));
                let is_theirs = vote == (from, nonce);
                let epoch = is_theirs.then_some(ballot.epoch);
                self.keep(lock, ballot, from, Message::Vote { lock, nonce, epoch }, ctx);
            }
            Input::Message { from, message: Message::Return { lock, nonce, token }, .. } => {
                let mut ballot = self.ballots.get(&lock).cloned().unwrap_or_default();
                ballot.epoch = ballot.epoch.max(token);
                if ballot.vote == Some((from, nonce)) {
                    ballot.vote = None;
                }
                self.keep(lock, ballot, from, Message::Returned { lock, nonce }, ctx);
            }
            Input::Synced(sync) => {
                let (done, waiting) = std::mem::take(&mut self.unsynced)
                    .into_iter()
                    .partition(|(waits_for, ..)| *waits_for <= sync);
                self.unsynced = waiting;
                let done: Vec<(SyncId, NodeId, Message)> = done;
                for (_, to, answer) in done {
                    ctx.send(to, answer);
                }
            }
            Input::Request(Order::Free(lock)) => {
                let ballot = self.ballots.get(&lock).cloned().unwrap_or_default();
                if let Some((holder, _)) = ballot.vote {
                    let freed = Ballot { vote: None, ..ballot };
                    let on = Authority::Books;
                    let how = Freed::ByOperator;
                    ctx.indicate(Fact::Freed { lock, from: holder, how, on });
                    self.ballots.insert(lock, freed.clone());
                    ctx.write((lock, freed));
                    ctx.sync();
                }
            }
            Input::Message { .. }
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Timer(())
            | Input::Signal(_) => (),
        }
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub(super) struct ClientRole {
    params: Params,
    servers: Vec<NodeId>,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    role: ClientRole,
    attempts: BTreeMap<u64, Attempt>,
    /// The attempt that stands for each lock now.
    current: BTreeMap<LockId, u64>,
}

/// One attempt, until all its votes have been given back.
#[derive(Debug)]
struct Attempt {
    lock: LockId,
    until: Option<SimTime>,
    stage: Stage,
    token: u64,
    /// What each acceptor said, where it did: the epoch with a vote.
    votes: BTreeMap<NodeId, Option<u64>>,
    /// The acceptors that have the vote back.
    returned: Vec<NodeId>,
    timer: Option<TimerId>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Asking,
    Held,
    /// It gives back what a failed attempt got.
    Failed,
    /// It gives back the lock; whether the release was told.
    Releasing {
        is_told: bool,
    },
}

/// What a client reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// A majority has not come together, or not all votes are back.
    Again(u64),
    /// Try again.
    Retry(LockId, Option<SimTime>),
}

type Ctx<'a> = Context<'a, Client>;

impl Client {
    fn attempt(&mut self, lock: LockId, until: Option<SimTime>, ctx: &mut Ctx<'_>) {
        ctx.indicate(Indication::Tried(lock));
        let nonce = ctx.rng().word();
        let attempt = Attempt {
            lock,
            until,
            stage: Stage::Asking,
            token: 0,
            votes: BTreeMap::new(),
            returned: Vec::new(),
            timer: None,
        };
        self.attempts.insert(nonce, attempt);
        self.current.insert(lock, nonce);
        self.send_all(nonce, ctx);
    }

    /// Sends what the attempt wants to all that have not answered, and will do so again.
    fn send_all(&mut self, nonce: u64, ctx: &mut Ctx<'_>) {
        let Some(attempt) = self.attempts.get_mut(&nonce) else { return };
        let (lock, token) = (attempt.lock, attempt.token);
        for server in &self.role.servers {
            match attempt.stage {
                Stage::Asking if !attempt.votes.contains_key(server) => {
                    ctx.send(*server, Message::Request { lock, nonce });
                }
                Stage::Failed | Stage::Releasing { .. } if !attempt.returned.contains(server) => {
                    ctx.send(*server, Message::Return { lock, nonce, token });
                }
                Stage::Asking | Stage::Held | Stage::Failed | Stage::Releasing { .. } => (),
            }
        }
        let Params { timeout, resend, .. } = self.role.params;
        let after = if attempt.stage == Stage::Asking { timeout } else { resend };
        attempt.timer = Some(ctx.set_timer(after, Timer::Again(nonce)));
    }

    fn majority(&self) -> usize {
        self.role.servers.len() / 2 + 1
    }

    fn voted(
        &mut self,
        from: NodeId,
        (lock, nonce): (LockId, u64),
        epoch: Option<u64>,
        ctx: &mut Ctx<'_>,
    ) {
        let majority = self.majority();
        let servers = self.role.servers.len();
        let Some(attempt) = self.attempts.get_mut(&nonce).filter(|a| a.stage != Stage::Held) else {
            // A request of an attempt that is over has come through late: nobody else would ever
            // give that vote back.
            if epoch.is_some() && !self.attempts.contains_key(&nonce) {
                ctx.send(from, Message::Return { lock, nonce, token: 0 });
            }
            return;
        };
        if attempt.stage != Stage::Asking {
            if epoch.is_some() {
                attempt.returned.retain(|server| *server != from);
                ctx.send(from, Message::Return { lock, nonce, token: attempt.token });
            }
            return;
        }
        attempt.votes.insert(from, epoch);
        let yes: Vec<u64> = attempt.votes.values().copied().flatten().collect();
        let no = attempt.votes.len() - yes.len();
        if majority <= yes.len() {
            attempt.stage = Stage::Held;
            attempt.token = yes.iter().max().copied().unwrap_or(0) + 1;
            if let Some(timer) = attempt.timer.take() {
                ctx.cancel_timer(timer);
            }
            let (lock, token) = (attempt.lock, Some(Token(attempt.token)));
            ctx.indicate(Indication::Granted { lock, token, valid_for: None });
        } else if servers - no < majority {
            self.fail(nonce, ctx);
        }
    }

    /// The attempt cannot win: gives back what it got, and rests.
    fn fail(&mut self, nonce: u64, ctx: &mut Ctx<'_>) {
        let Params { retry_min, retry_max, .. } = self.role.params;
        let Some(attempt) = self.attempts.get_mut(&nonce) else { return };
        attempt.stage = Stage::Failed;
        if let Some(timer) = attempt.timer.take() {
            ctx.cancel_timer(timer);
        }
        let (lock, until) = (attempt.lock, attempt.until);
        self.current.remove(&lock);
        self.send_all(nonce, ctx);
        let spread = retry_max.as_ns().saturating_sub(retry_min.as_ns());
        let pause = retry_min + SimDuration::from_ns(ctx.rng().below(spread.saturating_add(1)));
        if until.is_some_and(|until| until < ctx.now() + pause) {
            ctx.indicate(Indication::Refused { lock, why: Refusal::Patience });
        } else {
            ctx.set_timer(pause, Timer::Retry(lock, until));
        }
    }

    fn returned(&mut self, from: NodeId, nonce: u64, ctx: &mut Ctx<'_>) {
        let majority = self.majority();
        let Some(attempt) = self.attempts.get_mut(&nonce) else { return };
        if !attempt.returned.contains(&from) {
            attempt.returned.push(from);
        }
        if let Stage::Releasing { is_told: is_told @ false } = &mut attempt.stage
            && majority <= attempt.returned.len()
        {
            *is_told = true;
            let lock = attempt.lock;
            ctx.indicate(Indication::Released { lock, how: Release::Done });
        }
        if attempt.returned.len() == self.role.servers.len() {
            if let Some(timer) = attempt.timer {
                ctx.cancel_timer(timer);
            }
            self.attempts.remove(&nonce);
        }
    }

    fn release(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        let nonce = self.current.remove(&lock);
        let attempt = nonce.and_then(|nonce| self.attempts.get_mut(&nonce));
        let (Some(nonce), Some(attempt)) = (nonce, attempt) else {
            ctx.indicate(Indication::Released { lock, how: Release::NotHeld });
            return;
        };
        attempt.stage = Stage::Releasing { is_told: false };
        self.send_all(nonce, ctx);
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
        Self { role: role.clone(), attempts: BTreeMap::new(), current: BTreeMap::new() }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Request(Request::Acquire { lock, patience }) => {
                let until = patience.map(|patience| ctx.now() + patience);
                self.attempt(lock, until, ctx);
            }
            Input::Request(Request::Check(lock)) => {
                ctx.indicate(Indication::Checked { lock, is_valid: true });
            }
            Input::Request(Request::Release(lock)) => self.release(lock, ctx),
            Input::Message { from, message, .. } => match message {
                Message::Vote { lock, nonce, epoch } => {
                    self.voted(from, (lock, nonce), epoch, ctx);
                }
                Message::Returned { nonce, .. } => self.returned(from, nonce, ctx),
                Message::Request { .. } | Message::Return { .. } => (),
            },
            Input::Timer(Timer::Again(nonce)) => {
                // What did not come through on this connection may come through on a new one.
                let answered = self.attempts.get(&nonce).map(|attempt| match attempt.stage {
                    Stage::Asking => attempt.votes.keys().copied().collect::<Vec<_>>(),
                    Stage::Held | Stage::Failed | Stage::Releasing { .. } => {
                        attempt.returned.clone()
                    }
                });
                let Some(answered) = answered else { return };
                for server in self.role.servers.clone() {
                    if !answered.contains(&server) {
                        ctx.disconnect(server);
                    }
                }
                let is_asking = self.attempts.get(&nonce).is_some_and(|a| a.stage == Stage::Asking);
                if is_asking { self.fail(nonce, ctx) } else { self.send_all(nonce, ctx) }
            }
            Input::Timer(Timer::Retry(lock, until)) => self.attempt(lock, until, ctx),
            Input::Start
            | Input::Request(Request::Validate { .. })
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}
