//! A lock service on a replicated log: what ZooKeeper, etcd, Chubby and a bare log have in common.
//!
//! The servers agree on a log ([`raft`](crate::model::raft)) of orders, and a [`Machine`] turns the
//! same log into the same state on each of them. Sessions are in that state; whether they are still
//! alive is measured by the leader alone, on its own clock, and that a session has run out is one
//! more order in the log. A new leader has heard of nobody yet, so it gives every session its full
//! time again. There are two machines: a [`queue`] whose head the service tells of its grant, and
//! [`keys`] whose owners watch each other.
//!
//! Simpler than the products: only the leader answers clients, and what they read goes through the
//! log too, which takes as long as asking a majority whether it still leads.

mod client;
pub(super) mod keys;
pub(super) mod queue;
mod server;
#[cfg(test)]
mod tests;

use std::fmt::Debug;

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{NodeId, Wire};
use crate::model::raft::{RaftConfig, RaftMessage, RaftRole};

use super::{Authority, Fact, Freed, LockId, Terms, Token};

pub(super) use client::{Client, ClientRole, Core, Ctx, Fate, Flow, Keeping};
pub(super) use server::{Rule, Server, ServerRole};

/// The state that the log makes the same on all servers.
pub(super) trait Machine: Default + Debug + 'static {
    /// What a client can order.
    type Command: Clone + Debug;
    /// What it is answered.
    type Answer: Clone + Debug;

    /// The kind of a command's message, and of its answer's.
    fn kinds(command: &Self::Command) -> (&'static str, &'static str);

    /// Carries out a command.
    fn apply(&mut self, asker: Asker, command: &Self::Command, out: &mut Outcome<Self>);

    /// A session has run out.
    fn expire(&mut self, session: u64, out: &mut Outcome<Self>);

    /// A lock-delay is over.
    fn end_delay(&mut self, _lock: LockId, _out: &mut Outcome<Self>) {}

    /// An operator takes a lock from its holder.
    fn free(&mut self, lock: LockId, out: &mut Outcome<Self>);

    /// The token of the holder, where there is one.
    fn holder(&self, lock: LockId) -> Option<Token>;

    /// Whether something that can be watched is there.
    fn exists(&self, _lock: LockId, _number: u64) -> bool {
        false
    }
}

/// Who gave a command, and the number by which it wants to hear of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Asker {
    pub(super) client: NodeId,
    pub(super) id: u64,
}

/// What an order did.
#[derive(Debug)]
pub(super) struct Outcome<M: Machine> {
    /// The place of the order in the log.
    pub(super) index: u64,
    answers: Vec<(Asker, &'static str, M::Answer)>,
    gone: Vec<(LockId, u64)>,
    sessions_begun: Vec<(u64, SimDuration)>,
    sessions_ended: Vec<u64>,
    delays_begun: Vec<(LockId, SimDuration)>,
    facts: Vec<Fact>,
}

impl<M: Machine> Outcome<M> {
    const fn new(index: u64) -> Self {
        Self {
            index,
            answers: Vec::new(),
            gone: Vec::new(),
            sessions_begun: Vec::new(),
            sessions_ended: Vec::new(),
            delays_begun: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// The leader answers `asker` in reply to a command of `kinds`.
    pub(super) fn answer(&mut self, asker: Asker, kind: &'static str, answer: M::Answer) {
        self.answers.push((asker, kind, answer));
    }

    /// The leader tells those who watch this that it is gone.
    pub(super) fn gone(&mut self, lock: LockId, number: u64) {
        self.gone.push((lock, number));
    }

    /// A session begins.
    pub(super) fn begin(&mut self, session: u64, timeout: SimDuration) {
        self.sessions_begun.push((session, timeout));
    }

    /// A session ends.
    pub(super) fn end(&mut self, session: u64) {
        self.sessions_ended.push(session);
    }

    /// A lock-delay begins.
    pub(super) fn delay(&mut self, lock: LockId, length: SimDuration) {
        self.delays_begun.push((lock, length));
    }

    pub(super) fn held(&mut self, lock: LockId, by: NodeId, token: Token, ends: bool) {
        let expires = ends.then_some(SimDuration::MAX);
        let on = self.authority();
        self.facts.push(Fact::Held { lock, by, token: Some(token), expires, on });
    }

    pub(super) fn freed(&mut self, lock: LockId, from: NodeId, how: Freed) {
        let on = self.authority();
        self.facts.push(Fact::Freed { lock, from, how, on });
    }

    /// The authority of the next fact: several may come of one entry.
    fn authority(&self) -> Authority {
        Authority::Log(self.index * FACTS_A_PLACE + self.facts.len() as u64)
    }
}

/// More facts than one entry of the log can make: a session may hold many locks.
const FACTS_A_PLACE: u64 = 1 << 24;

/// An entry of the log.
#[derive(Clone, Debug)]
pub(super) enum Order<C> {
    /// A client's.
    Client(Asker, C),
    /// A session has run out.
    Expire(u64),
    /// A lock-delay is over.
    EndDelay(LockId),
    /// Somebody wants to know who holds a lock.
    Who(Asker, LockId),
    /// An operator takes a lock from its holder.
    Free(LockId),
}

/// What clients and servers tell each other.
#[derive(Clone, Debug)]
pub(super) enum Message<C, A> {
    /// Between servers.
    Raft(RaftMessage<Order<C>>),
    /// A client gives a command.
    Ask { id: u64, kind: &'static str, command: C },
    /// What came of it, or has come of it since.
    Answer { id: u64, kind: &'static str, answer: A },
    /// A client is still there.
    Touch { session: u64, number: u64 },
    /// The server knows; whether the session lives, how long the server held this back, and for
    /// how long the session lives from the sending on.
    Touched { number: u64, is_alive: bool, held_back: SimDuration, lease: SimDuration },
    /// A client wants to hear when something is gone.
    Watch { lock: LockId, number: u64 },
    /// It is.
    Gone { lock: LockId, number: u64 },
    /// Who holds the lock?
    Who { id: u64, lock: LockId },
    /// Whoever has this token.
    Holder { id: u64, token: Option<Token> },
    /// This server does not lead.
    NotLeader,
}

impl<C: Clone + Debug, A: Clone + Debug> Wire for Message<C, A> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Raft(message) => message.kind(),
            Self::Ask { kind, .. } | Self::Answer { kind, .. } => kind,
            Self::Touch { .. } => "renew",
            Self::Touched { .. } => "renew_reply",
            Self::Watch { .. } => "watch",
            Self::Gone { .. } => "wake",
            Self::Who { .. } => "validate",
            Self::Holder { .. } => "validate_reply",
            Self::NotLeader => "not_leader",
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Raft(message) => message.size_bytes(),
            Self::Ask { .. } | Self::Answer { .. } => 100,
            Self::Touch { .. }
            | Self::Touched { .. }
            | Self::Watch { .. }
            | Self::Gone { .. }
            | Self::Who { .. }
            | Self::Holder { .. }
            | Self::NotLeader => 30,
        }
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Ask { .. } | Self::Touch { .. } | Self::Who { .. })
    }
}

/// The message type of a machine.
pub(super) type MessageOf<M> = Message<<M as Machine>::Command, <M as Machine>::Answer>;

/// The settings of one server's member of the log.
pub(super) fn member(log: &RaftConfig, terms: &Terms) -> RaftRole {
    RaftRole { config: log.clone(), members: terms.servers.clone(), restricts_votes: true }
}

/// An instant far enough to be never, and near enough to be reckoned with.
const NEVER: SimTime = SimTime::END;
