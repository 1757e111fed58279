//! PostgreSQL's session-level advisory lock: `pg_advisory_lock(k)`, `pg_advisory_unlock(k)`.
//!
//! The lock belongs to a connection. A client that dies gives it back at once, a client that stops
//! keeps it; a server that restarts forgets it, and the holder, which reads nothing from its
//! connection while it works, learns of that when it next uses it. Fair, without expiry, and in
//! memory only.

use std::collections::BTreeMap;

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::{Context, Input, Node, NodeId, TimerId};

use super::postgres::{Message, Server};
use super::{
    Indication, LockId, LockProtocol, Refusal, Release, Request, Servers, Terms, Token, Tokens,
};

/// The protocol.
pub(super) struct PgAdvisory;

config! {
    /// PostgreSQL's session-level advisory lock.
    pub(super) struct Params {
        /// After how long without an answer a client closes its connection; left out, never: it
        /// may wait for the lock as long as it takes.
        pub(super) timeout: Option<SimDuration> = None,
        /// How long a session may be silent before the server's kernel probes it; one that does
        /// not answer for as long again has ended (`tcp_keepalives_idle`; Linux: 2 hours).
        pub(super) keepalive: SimDuration = SimDuration::from_secs(7200),
    }
}

impl LockProtocol for PgAdvisory {
    const ABOUT: About = About {
        name: "pg_advisory",
        summary: "PostgreSQL advisory lock of a session: fair, in memory, ends with the connection",
        source: "postgresql.org/docs/16, Explicit Locking",
        version: "PostgreSQL 16",
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

    fn server(params: &Params, _: &Terms) -> SimDuration {
        params.keepalive
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole {
        ClientRole { timeout: params.timeout, server: terms.servers[0], counts: terms.is_counted }
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub(super) struct ClientRole {
    timeout: Option<SimDuration>,
    server: NodeId,
    counts: bool,
}

/// A client with one connection.
#[derive(Debug)]
pub(super) struct Client {
    role: ClientRole,
    next_call: u64,
    /// What it waits for an answer to.
    calls: BTreeMap<u64, Call>,
    /// Locks that it holds by the connection that it has, as far as it knows.
    held: Vec<LockId>,
    /// Whether that connection has ended unnoticed.
    is_broken: bool,
}

#[derive(Debug)]
struct Call {
    lock: LockId,
    purpose: Purpose,
    timer: Option<TimerId>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Lock,
    /// A lock that is no longer wanted: if it comes, it goes back.
    Cancelled,
    Unlock,
}

/// What a client reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// No answer has come.
    TimedOut(u64),
    /// Its patience is over.
    PatienceOver(u64),
}

type Ctx<'a> = Context<'a, Client>;

impl Client {
    fn call(&mut self, lock: LockId, purpose: Purpose, ctx: &mut Ctx<'_>) -> u64 {
        let id = self.next_call;
        self.next_call += 1;
        let timer = self.role.timeout.map(|timeout| ctx.set_timer(timeout, Timer::TimedOut(id)));
        self.calls.insert(id, Call { lock, purpose, timer });
        let counts = self.role.counts;
        let message = match purpose {
            Purpose::Lock => Message::Lock { id, lock, counts },
            Purpose::Cancelled | Purpose::Unlock => Message::Unlock { id, lock },
        };
        ctx.send(self.role.server, message);
        id
    }

    fn take_call(&mut self, id: u64, ctx: &mut Ctx<'_>) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        if let Some(timer) = call.timer {
            ctx.cancel_timer(timer);
        }
        Some(call)
    }

    fn granted(&mut self, id: u64, token: Option<Token>, ctx: &mut Ctx<'_>) {
        let Some(Call { lock, purpose, .. }) = self.take_call(id, ctx) else { return };
        match purpose {
            Purpose::Lock => {
                self.held.push(lock);
                ctx.indicate(Indication::Granted { lock, token, valid_for: None });
            }
            Purpose::Cancelled => {
                self.call(lock, Purpose::Cancelled, ctx);
            }
            Purpose::Unlock => (),
        }
    }

    /// The connection is gone. What waits for an answer learns of it, what works does not.
    fn broken(&mut self, ctx: &mut Ctx<'_>) {
        self.is_broken = !self.held.is_empty();
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            let Some(Call { lock, purpose, .. }) = self.take_call(id, ctx) else { continue };
            match purpose {
                Purpose::Lock => {
                    ctx.indicate(Indication::Refused { lock, why: Refusal::Error });
                }
                Purpose::Unlock => {
                    ctx.indicate(Indication::Released { lock, how: Release::Unknown });
                }
                Purpose::Cancelled => (),
            }
        }
    }

    fn release(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        let place = self.held.iter().position(|held| *held == lock);
        let was_held = place.map(|place| self.held.remove(place)).is_some();
        if was_held && self.is_broken {
            self.is_broken = !self.held.is_empty();
            ctx.indicate(Indication::Released { lock, how: Release::Unknown });
            return;
        }
        // A session that does not hold it is told so by the server, with a warning.
        self.call(lock, Purpose::Unlock, ctx);
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
            next_call: 0,
            calls: BTreeMap::new(),
            held: Vec::new(),
            is_broken: false,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Request(Request::Acquire { lock, patience }) => {
                ctx.indicate(Indication::Tried(lock));
                let id = self.call(lock, Purpose::Lock, ctx);
                if let Some(patience) = patience {
                    ctx.set_timer(patience, Timer::PatienceOver(id));
                }
            }
            Input::Request(Request::Check(lock)) => {
                ctx.indicate(Indication::Checked { lock, is_valid: true });
            }
            Input::Request(Request::Release(lock)) => self.release(lock, ctx),
            Input::Message { message, .. } => match message {
                Message::Granted { id, token } => self.granted(id, token, ctx),
                Message::Released { id, is_done } => {
                    let call = self.take_call(id, ctx);
                    if let Some(Call { lock, purpose: Purpose::Unlock, .. }) = call {
                        let how = if is_done { Release::Done } else { Release::NotHeld };
                        ctx.indicate(Indication::Released { lock, how });
                    }
                }
                Message::Refused { id } => {
                    self.take_call(id, ctx);
                }
                Message::Probe => ctx.send(self.role.server, Message::Alive),
                Message::Lock { .. }
                | Message::Cancel { .. }
                | Message::Unlock { .. }
                | Message::Lease { .. }
                | Message::Return { .. }
                | Message::Alive => (),
            },
            Input::Closed { peer, .. } if peer == self.role.server => self.broken(ctx),
            Input::Timer(Timer::TimedOut(id)) => {
                if self.calls.contains_key(&id) {
                    ctx.disconnect(self.role.server);
                    self.broken(ctx);
                }
            }
            Input::Timer(Timer::PatienceOver(id)) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.purpose = Purpose::Cancelled;
                    let lock = call.lock;
                    ctx.send(self.role.server, Message::Cancel { id });
                    ctx.indicate(Indication::Refused { lock, why: Refusal::Patience });
                }
            }
            Input::Start
            | Input::Request(Request::Validate { .. })
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}
