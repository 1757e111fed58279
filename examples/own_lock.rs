//! A lock of your own, from outside the crate: write a server and a client as state machines, say
//! with [`LockProtocol`] what they are, and they meet the testbed, the judges and the matrix that
//! all locks of the catalogue meet.
//!
//! ```text
//! cargo run --release --example own_lock
//! ```
//!
//! The lock here is a queue of leases with a claim. The server offers the lock to the one that
//! waits longest; the client claims it, and counts the lease from when it *sent* the claim, so
//! that it never thinks it has longer than the server does, as long as clocks run alike.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Write};

use stormglass::choice::About;
use stormglass::config::{Config as _, Problems, Value};
use stormglass::kernel::rng::Seed;
use stormglass::kernel::time::{SimDuration, SimTime};
use stormglass::locks::matrix::{Base, FAULTS, Mode, VARIANTS, Variant, cells};
use stormglass::locks::{
    Authority, Entry, Fact, Freed, Indication, LockId, LockProtocol, LocksConfig, Order, Refusal,
    Release, Request, Servers, Shards, Terms, Token, Tokens,
};
use stormglass::model::node::{Context, Input, Node, NodeId, Wire};
use stormglass::model::surroundings::Surroundings;

stormglass::config! {
    /// The lock's parameters, as a scenario would write them.
    pub struct Params {
        /// How long a claim is good.
        pub lease: SimDuration = SimDuration::from_secs(10),
    }
}

/// The protocol.
#[derive(Debug)]
pub struct Claims;

impl LockProtocol for Claims {
    const ABOUT: About = About {
        name: "claims",
        summary: "a queue of leases, each counted from when its claim was sent",
        source: "this example",
        version: "",
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

    fn server(params: &Params, _: &Terms) -> SimDuration {
        params.lease
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole {
        ClientRole { lease: params.lease, server: terms.servers[0] }
    }
}

/// What clients and the server tell each other.
#[derive(Clone, Debug)]
pub enum Message {
    /// I want it.
    Ask(LockId),
    /// You are next: claim it with this token.
    Offer(LockId, Token),
    /// I take it.
    Claim(LockId, Token),
    /// It is yours from when the claim came, or no more.
    Claimed(LockId, Token, bool),
    /// I give it back.
    Release(LockId, Token),
    /// It was yours to give back, or not.
    Released(LockId, bool),
}

impl Wire for Message {
    // By these names a fault finds the messages that it strikes.
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask(_) => "acquire",
            Self::Offer(..) => "offer",
            Self::Claim(..) => "claim",
            Self::Claimed(..) => "acquire_reply",
            Self::Release(..) => "release",
            Self::Released(..) => "release_reply",
        }
    }

    fn size_bytes(&self) -> u32 {
        32
    }
}

/// The server. It keeps nothing on disk.
#[derive(Debug)]
pub struct Server {
    lease: SimDuration,
    queues: BTreeMap<LockId, VecDeque<NodeId>>,
    holders: BTreeMap<LockId, Holder>,
    last: u64,
}

#[derive(Debug)]
struct Holder {
    client: NodeId,
    token: Token,
    expires: SimTime,
}

impl Server {
    /// Offers a lock that is free to whoever waits longest.
    fn offer(&mut self, lock: LockId, ctx: &mut Context<'_, Self>) {
        if self.holders.contains_key(&lock) {
            return;
        }
        let Some(next) = self.queues.get_mut(&lock).and_then(VecDeque::pop_front) else { return };
        self.last += 1;
        let token = Token(self.last);
        ctx.send(next, Message::Offer(lock, token));
        self.hold(lock, next, token, ctx);
    }

    /// The lock is `client`'s for a lease from now on.
    fn hold(&mut self, lock: LockId, client: NodeId, token: Token, ctx: &mut Context<'_, Self>) {
        self.holders.insert(lock, Holder { client, token, expires: ctx.now() + self.lease });
        ctx.set_timer(self.lease, (lock, token));
        // What is true, for the judges; no client hears of it.
        let (token, expires) = (Some(token), Some(self.lease));
        ctx.indicate(Fact::Held { lock, by: client, token, expires, on: Authority::Books });
    }

    fn free(&mut self, lock: LockId, how: Freed, ctx: &mut Context<'_, Self>) {
        if let Some(Holder { client: from, .. }) = self.holders.remove(&lock) {
            ctx.indicate(Fact::Freed { lock, from, how, on: Authority::Books });
            self.offer(lock, ctx);
        }
    }

    fn is_holder(&self, lock: LockId, client: NodeId, token: Token) -> bool {
        let holder = self.holders.get(&lock);
        holder.is_some_and(|holder| (holder.client, holder.token) == (client, token))
    }
}

impl Node for Server {
    type Role = SimDuration;
    type Stable = ();
    type Request = Order;
    type Indication = Fact;
    type Message = Message;
    type Timer = (LockId, Token);

    fn boot(lease: &SimDuration, (): &()) -> Self {
        Self { lease: *lease, queues: BTreeMap::new(), holders: BTreeMap::new(), last: 0 }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match input {
            Input::Message { from, message: Message::Ask(lock), .. } => {
                let queue = self.queues.entry(lock).or_default();
                if !queue.contains(&from) {
                    queue.push_back(from);
                }
                self.offer(lock, ctx);
            }
            Input::Message { from, message: Message::Claim(lock, token), .. } => {
                let is_theirs = self.is_holder(lock, from, token);
                if is_theirs {
                    self.hold(lock, from, token, ctx);
                }
                ctx.send(from, Message::Claimed(lock, token, is_theirs));
            }
            Input::Message { from, message: Message::Release(lock, token), .. } => {
                let is_theirs = self.is_holder(lock, from, token);
                ctx.send(from, Message::Released(lock, is_theirs));
                if is_theirs {
                    self.free(lock, Freed::Released(from), ctx);
                }
            }
            Input::Timer((lock, token)) => {
                // A claim has begun the lease anew, and its own timer counts.
                let now = ctx.now();
                let is_over = |holder: &Holder| holder.token == token && holder.expires <= now;
                if self.holders.get(&lock).is_some_and(is_over) {
                    self.free(lock, Freed::Expired, ctx);
                }
            }
            Input::Closed { peer, .. } => {
                for queue in self.queues.values_mut() {
                    queue.retain(|other| *other != peer);
                }
            }
            Input::Request(Order::Free(lock)) => self.free(lock, Freed::ByOperator, ctx),
            _ => (),
        }
    }
}

/// The settings of a client.
#[derive(Clone, Debug)]
pub struct ClientRole {
    lease: SimDuration,
    server: NodeId,
}

/// A client.
#[derive(Debug)]
pub struct Client {
    role: ClientRole,
    /// What it waits for.
    waits: Vec<LockId>,
    /// What it holds or claims: the token, and until when it may count on it.
    holds: BTreeMap<LockId, (Token, SimTime)>,
}

impl Client {
    fn give_up(&mut self, lock: LockId, why: Refusal, ctx: &mut Context<'_, Self>) {
        if self.waits.contains(&lock) {
            self.waits.retain(|other| *other != lock);
            self.holds.remove(&lock);
            ctx.indicate(Indication::Refused { lock, why });
        }
    }
}

impl Node for Client {
    type Role = ClientRole;
    type Stable = ();
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = LockId;

    fn boot(role: &ClientRole, (): &()) -> Self {
        Self { role: role.clone(), waits: Vec::new(), holds: BTreeMap::new() }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        let server = self.role.server;
        match input {
            Input::Request(Request::Acquire { lock, patience }) => {
                self.waits.push(lock);
                if let Some(patience) = patience {
                    ctx.set_timer(patience, lock);
                }
                ctx.indicate(Indication::Tried(lock));
                ctx.send(server, Message::Ask(lock));
            }
            Input::Message { message: Message::Offer(lock, token), .. } => {
                if self.waits.contains(&lock) {
                    self.holds.insert(lock, (token, ctx.now() + self.role.lease));
                    ctx.send(server, Message::Claim(lock, token));
                } else {
                    ctx.send(server, Message::Release(lock, token));
                }
            }
            Input::Message { message: Message::Claimed(lock, token, is_mine), .. } => {
                let left = self.holds.get(&lock).filter(|(claimed, _)| *claimed == token);
                let left = left.map(|(_, until)| until.since(ctx.now()));
                let is_good = is_mine && left.is_some_and(|left| SimDuration::ZERO < left);
                if is_good && self.waits.contains(&lock) {
                    self.waits.retain(|other| *other != lock);
                    let token = Some(token);
                    ctx.indicate(Indication::Granted { lock, token, valid_for: left });
                } else {
                    // It took too long: the next one may have it.
                    ctx.send(server, Message::Release(lock, token));
                    self.give_up(lock, Refusal::Error, ctx);
                }
            }
            Input::Message { message: Message::Released(lock, was_mine), .. } => {
                let how = if was_mine { Release::Done } else { Release::NotHeld };
                ctx.indicate(Indication::Released { lock, how });
            }
            Input::Request(Request::Check(lock)) => {
                let is_valid = self.holds.get(&lock).is_some_and(|(_, until)| ctx.now() < *until);
                ctx.indicate(Indication::Checked { lock, is_valid });
            }
            Input::Request(Request::Release(lock)) => match self.holds.remove(&lock) {
                Some((token, _)) => ctx.send(server, Message::Release(lock, token)),
                None => ctx.indicate(Indication::Released { lock, how: Release::NotHeld }),
            },
            Input::Timer(lock) => self.give_up(lock, Refusal::Patience, ctx),
            // The server has forgotten everything: whoever waits asks again, and whoever holds
            // goes on until its own deadline.
            Input::Closed { .. } => {
                for lock in self.waits.clone() {
                    self.give_up(lock, Refusal::Error, ctx);
                }
            }
            _ => (),
        }
    }
}

static ENTRY: Entry = Entry::of::<Claims>();

/// Its row of the matrix.
static ROW: Variant = Variant::of_own("own", "a queue of leases", &ENTRY, |base, _| {
    format!("lease = \"{}us\"", (base.ttl_ms * 1000.0) as u64)
});

fn main() -> io::Result<()> {
    show(&mut io::stdout().lock())
}

/// What the lock does under contention, and under every fault of the matrix beside redis-py's.
///
/// # Errors
/// Where `out` cannot be written.
pub fn show(out: &mut impl Write) -> io::Result<()> {
    let mut problems = Problems::default();
    let text = "variants = [\"claims\"]\nclients = 8\nhorizon = \"60s\"\n";
    let value = Value::parse(text, 0, &mut problems);
    let config = LocksConfig::read(&value, &mut problems)
        .ok_or_else(|| io::Error::other(format!("{problems:?}")))?;
    let around = Surroundings::default();
    let record = ENTRY.simulate(&config.variants[0], &config, &Shards::default(), &around, Seed(1));
    let value = |name: &str| {
        let measure = record.measures.iter().find(|measure| measure.metric.name == name);
        measure.map_or(f64::NAN, |measure| measure.value)
    };
    writeln!(out, "8 clients for a minute")?;
    for (name, what) in [
        ("grant_rate", "grants a second"),
        ("jain", "fairness (Jain)"),
        ("l2_violations", "pairs that believed at once"),
        ("lost_increments", "lost updates"),
    ] {
        writeln!(out, "  {what:<28}{:>8.2}", value(name))?;
    }
    writeln!(out, "\nunder each fault, without fencing and with tokens on reads and writes")?;
    let redis = VARIANTS.iter().find(|row| row.id == "V3").ok_or_else(|| io::Error::other("V3"))?;
    writeln!(out, "{:<40}{:>8}{:>8}{:>12}{:>8}", "", "own", "", "redis-py", "")?;
    for fault in FAULTS {
        let mut line = format!("{:<40}", fault.title);
        for row in [&ROW, redis] {
            for mode in [Mode::None, Mode::ReadsAndWrites] {
                let cell = cells(row, fault).into_iter().find(|cell| cell.mode == mode);
                let letters = match cell {
                    Some(cell) => {
                        let computed = cell.compute(&Base::default());
                        computed
                            .map_err(|problems| io::Error::other(format!("{problems:?}")))?
                            .letters
                            .to_string()
                    }
                    None => "-".into(),
                };
                line.push_str(&format!("{letters:>9}"));
            }
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}
