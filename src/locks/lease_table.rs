//! A lease in a table of a database: one `UPDATE` to acquire, one to release, each guarded.
//!
//! `UPDATE lease SET owner = $1, fence = fence + 1, exp = clock_timestamp() + ttl WHERE owner IS
//! NULL OR exp < clock_timestamp() RETURNING fence`: durable, with a fencing token that survives a
//! restart, and bound to the server's wall clock. Waiters poll. The release is guarded by owner and
//! fence, so that it never takes another's lease.

use std::collections::BTreeMap;

use crate::choice::About;
use crate::config;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Context, Input, Node, NodeId, TimerId};

use super::postgres::{Message, Server};
use super::{
    Indication, LockId, LockProtocol, Refusal, Release, Request, Servers, Terms, Token, Tokens,
};

/// The protocol.
pub(super) struct LeaseTable;

config! {
    /// A lease in a table of a database.
    pub(super) struct Params {
        /// How long a lease lasts.
        pub(super) ttl: SimDuration = SimDuration::from_secs(10),
        /// How long a client sleeps between two tries.
        pub(super) poll: SimDuration = SimDuration::from_ms(100),
        /// After how long without an answer a client closes its connection; left out, never.
        pub(super) timeout: Option<SimDuration> = None,
    }
}

impl LockProtocol for LeaseTable {
    const ABOUT: About = About {
        name: "lease_table",
        summary: "lease in a database table, by the server's clock, with a durable fence",
        source: "UPDATE ... RETURNING, postgresql.org/docs/16",
        version: "PostgreSQL 16",
    };
    const TOKENS: Tokens = Tokens::Native;
    const VALIDATES: bool = false;
    type Params = Params;
    type Message = Message;
    type Server = Server;
    type Client = Client;

    fn servers(_: &Params) -> Servers {
        Servers::One
    }

    fn server(_: &Params, _: &Terms) -> SimDuration {
        SimDuration::from_secs(7200)
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole {
        ClientRole { params: params.clone(), server: terms.servers[0] }
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub(super) struct ClientRole {
    params: Params,
    server: NodeId,
}

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    role: ClientRole,
    /// Who it is to the table.
    owner: u64,
    next_call: u64,
    calls: BTreeMap<u64, Call>,
    held: BTreeMap<LockId, Token>,
}

#[derive(Debug)]
struct Call {
    lock: LockId,
    /// For an acquisition, until when it tries: perhaps for ever.
    acquires: Option<SimTime>,
    timer: Option<TimerId>,
}

/// What a client reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// No answer has come.
    TimedOut(u64),
    /// Try again.
    Poll(LockId, SimTime),
}

type Ctx<'a> = Context<'a, Client>;

impl Client {
    fn call(
        &mut self,
        lock: LockId,
        acquires: Option<SimTime>,
        message: impl FnOnce(u64) -> Message,
        ctx: &mut Ctx<'_>,
    ) {
        let id = self.next_call;
        self.next_call += 1;
        let timeout = self.role.params.timeout;
        let timer = timeout.map(|timeout| ctx.set_timer(timeout, Timer::TimedOut(id)));
        self.calls.insert(id, Call { lock, acquires, timer });
        ctx.send(self.role.server, message(id));
    }

    fn attempt(&mut self, lock: LockId, until: SimTime, ctx: &mut Ctx<'_>) {
        ctx.indicate(Indication::Tried(lock));
        let (owner, ttl) = (self.owner, self.role.params.ttl);
        self.call(lock, Some(until), |id| Message::Lease { id, lock, owner, ttl }, ctx);
    }

    fn take_call(&mut self, id: u64, ctx: &mut Ctx<'_>) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        if let Some(timer) = call.timer {
            ctx.cancel_timer(timer);
        }
        Some(call)
    }

    fn refused(&mut self, id: u64, ctx: &mut Ctx<'_>) {
        let Some(Call { lock, acquires: Some(until), .. }) = self.take_call(id, ctx) else {
            return;
        };
        let poll = self.role.params.poll;
        if until < ctx.now() + poll {
            ctx.indicate(Indication::Refused { lock, why: Refusal::Patience });
        } else {
            ctx.set_timer(poll, Timer::Poll(lock, until));
        }
    }

    fn broken(&mut self, ctx: &mut Ctx<'_>) {
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            let Some(Call { lock, acquires, .. }) = self.take_call(id, ctx) else { continue };
            ctx.indicate(match acquires {
                Some(_) => Indication::Refused { lock, why: Refusal::Error },
                None => Indication::Released { lock, how: Release::Unknown },
            });
        }
    }

    fn release(&mut self, lock: LockId, ctx: &mut Ctx<'_>) {
        let Some(fence) = self.held.remove(&lock) else {
            ctx.indicate(Indication::Released { lock, how: Release::NotHeld });
            return;
        };
        let owner = self.owner;
        self.call(lock, None, |id| Message::Return { id, lock, owner, fence }, ctx);
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
            next_call: 0,
            calls: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Start => self.owner = ctx.rng().word(),
            Input::Request(Request::Acquire { lock, patience }) => {
                let until = patience.map_or(SimTime::END, |patience| ctx.now() + patience);
                self.attempt(lock, until, ctx);
            }
            Input::Request(Request::Check(lock)) => {
                ctx.indicate(Indication::Checked { lock, is_valid: true });
            }
            Input::Request(Request::Release(lock)) => self.release(lock, ctx),
            Input::Message { message, .. } => match message {
                Message::Granted { id, token } => {
                    let Some(Call { lock, .. }) = self.take_call(id, ctx) else { return };
                    if let Some(token) = token {
                        self.held.insert(lock, token);
                    }
                    ctx.indicate(Indication::Granted { lock, token, valid_for: None });
                }
                Message::Refused { id } => self.refused(id, ctx),
                Message::Released { id, is_done } => {
                    let Some(Call { lock, .. }) = self.take_call(id, ctx) else { return };
                    let how = if is_done { Release::Done } else { Release::NotHeld };
                    ctx.indicate(Indication::Released { lock, how });
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
            Input::Timer(Timer::Poll(lock, until)) => self.attempt(lock, until, ctx),
            Input::Request(Request::Validate { .. })
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }
}
