//! A queue of your own, from outside the crate: write broker, producer and consumer as state
//! machines, say with [`QueueProtocol`] which node plays which part, and they meet the testbed, the
//! judge and the matrix that all queues of the catalogue meet.
//!
//! ```text
//! cargo run --release --example own_queue
//! ```
//!
//! The queue here is one of leases. The broker keeps each message on disk before it confirms it, and
//! hands it to one consumer for a while; whoever has not acknowledged it by then, or has lost its
//! connection, has it taken back, and the next one that asks gets it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, Write};

use stormglass::choice::About;
use stormglass::config::{Config as _, Problems, Value};
use stormglass::kernel::rng::Seed;
use stormglass::kernel::time::SimDuration;
use stormglass::model::node::{Context, Input, Node, NodeId, Signal, Stable, SyncId, Wire};
use stormglass::model::surroundings::Surroundings;
use stormglass::queues::matrix::{FAULTS, VARIANTS, Variant, cells};
use stormglass::queues::{
    Entry, Indication, Item, Nature, Part, QueueProtocol, QueuesConfig, Request, Scene, Serial,
    Setup, Token, Watch,
};

stormglass::config! {
    /// The queue's parameters, as a scenario would write them.
    pub struct Params {
        /// For how long a consumer may keep a message.
        pub lease: SimDuration = SimDuration::from_secs(20),
        /// How long a client waits before it tries again what came to nothing.
        pub retry: SimDuration = SimDuration::from_secs(1),
    }
}

/// A node of it.
#[derive(Debug)]
pub enum Leases {
    /// It keeps the messages.
    Broker(Broker),
    /// It publishes.
    Producer(Producer),
    /// It takes one message at a time and does the work.
    Consumer(Consumer),
    /// A broker that has no part in the queue.
    Bystander,
}

/// What a node is built from.
#[derive(Clone, Debug)]
pub enum Role {
    /// The broker, and its lease.
    Broker(SimDuration),
    /// A producer.
    Producer(Client),
    /// A consumer, and whether it asks first if a message is done already.
    Consumer(Client, bool),
    /// Nothing to do.
    Bystander,
}

/// What clients know.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    broker: NodeId,
    retry: SimDuration,
}

impl QueueProtocol for Leases {
    const ABOUT: About = About {
        name: "leases",
        summary: "a durable queue that lends each message for a while",
        source: "this example",
        version: "",
    };
    type Params = Params;

    fn role(params: &Params, part: Part, scene: &Scene) -> Role {
        let client = Client { broker: scene.brokers[0], retry: params.retry };
        match part {
            Part::Broker(0) => Role::Broker(params.lease),
            Part::Broker(_) => Role::Bystander,
            Part::Producer(_) => Role::Producer(client),
            Part::Consumer(_) => Role::Consumer(client, scene.work.idempotent),
        }
    }

    fn fits(_: &Params, config: &QueuesConfig) -> Result<(), String> {
        match config.consumers.concurrency {
            1 => Ok(()),
            more => Err(format!("a consumer works on one message at a time, not on {more}")),
        }
    }
}

/// What nodes tell each other.
#[derive(Clone, Debug)]
pub enum Message {
    /// Keep this.
    Publish(Item),
    /// It is on disk.
    Confirm(Serial),
    /// I have nothing to do.
    Fetch,
    /// Do this; the flag says that somebody may have begun before.
    Deliver(Item, bool),
    /// It is done.
    Ack(Serial),
}

impl Wire for Message {
    // By these names a fault finds the messages that it strikes.
    fn kind(&self) -> &'static str {
        match self {
            Self::Publish(_) => "publish",
            Self::Confirm(_) => "confirm",
            Self::Fetch => "fetch",
            Self::Deliver(..) => "deliver",
            Self::Ack(_) => "ack",
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Publish(item) | Self::Deliver(item, _) => item.size_bytes + 32,
            Self::Confirm(_) | Self::Fetch | Self::Ack(_) => 32,
        }
    }
}

/// What nodes remind themselves of.
#[derive(Clone, Copy, Debug)]
pub enum Timer {
    /// The n-th time that this message was lent is over.
    Lease(Serial, u32),
    /// The work is done.
    Worked,
    /// What follows the effect can be done: a fault may strike between the two.
    Acknowledge,
    /// It is time to try again.
    Again,
}

/// The disk: all messages that are not acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Store(BTreeMap<Serial, Item>);

/// A change of it.
#[derive(Clone, Debug)]
pub enum Change {
    /// A message is added.
    Put(Item),
    /// A message is removed.
    Remove(Serial),
}

impl Stable for Store {
    type Write = Change;

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Put(item) => {
                self.0.insert(item.serial, *item);
            }
            Change::Remove(serial) => {
                self.0.remove(serial);
            }
        }
    }
}

type Ctx<'a> = Context<'a, Leases>;

impl Node for Leases {
    type Role = Role;
    type Stable = Store;
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &Role, disk: &Store) -> Self {
        match role {
            Role::Broker(lease) => Self::Broker(Broker {
                lease: *lease,
                items: disk.0.clone(),
                ready: disk.0.keys().copied().collect(),
                // Nobody remembers what was lent before the restart.
                lent_before: disk.0.keys().copied().collect(),
                lent: BTreeMap::new(),
                lent_count: 0,
                idle: VecDeque::new(),
                unconfirmed: VecDeque::new(),
            }),
            Role::Producer(client) => {
                Self::Producer(Producer { client: *client, kept: BTreeMap::new(), tries: false })
            }
            Role::Consumer(client, asks) => Self::Consumer(Consumer {
                client: *client,
                asks: *asks,
                at: None,
                tries: false,
                stops: false,
            }),
            Role::Bystander => Self::Bystander,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_>) {
        match self {
            Self::Broker(broker) => broker.handle(input, ctx),
            Self::Producer(producer) => producer.handle(input, ctx),
            Self::Consumer(consumer) => consumer.handle(input, ctx),
            Self::Bystander => (),
        }
    }
}

/// The broker.
#[derive(Debug)]
pub struct Broker {
    lease: SimDuration,
    items: BTreeMap<Serial, Item>,
    ready: VecDeque<Serial>,
    lent_before: BTreeSet<Serial>,
    /// To whom each message is lent, and which lending it is.
    lent: BTreeMap<Serial, (NodeId, u32)>,
    lent_count: u32,
    /// Consumers that have nothing to do, the one that waits longest first.
    idle: VecDeque<NodeId>,
    /// Whom to tell what when the disk has it.
    unconfirmed: VecDeque<(SyncId, NodeId, Serial)>,
}

impl Broker {
    fn handle(&mut self, input: Input<Leases>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Start => {
                let ready = self.ready.iter().map(|serial| token(&self.items[serial])).collect();
                ctx.indicate(Indication::Holds { ready, handed: Vec::new() });
            }
            Input::Message { from, message: Message::Publish(item), .. } => {
                if self.items.insert(item.serial, item).is_none() {
                    self.ready.push_back(item.serial);
                    // What is true, for the judge; no client hears of it.
                    ctx.indicate(Indication::Stored(token(&item)));
                    ctx.write(Change::Put(item));
                }
                self.unconfirmed.push_back((ctx.sync(), from, item.serial));
                self.lend(ctx);
            }
            Input::Synced(sync) => {
                while self.unconfirmed.front().is_some_and(|(waits_for, ..)| *waits_for <= sync) {
                    let Some((_, to, serial)) = self.unconfirmed.pop_front() else { return };
                    ctx.send(to, Message::Confirm(serial));
                }
            }
            Input::Message { from, message: Message::Fetch, .. } => {
                if !self.idle.contains(&from) {
                    self.idle.push_back(from);
                }
                self.lend(ctx);
            }
            Input::Message { from, message: Message::Ack(serial), .. } => {
                self.acknowledged(from, serial, ctx);
            }
            Input::Timer(Timer::Lease(serial, number)) => {
                self.lease_is_over(serial, number, ctx);
            }
            Input::Closed { peer, .. } => {
                self.idle.retain(|consumer| *consumer != peer);
                let lost = self.lent.iter().filter(|(_, (to, _))| *to == peer);
                let lost: Vec<Serial> = lost.map(|(serial, _)| *serial).collect();
                for serial in lost.into_iter().rev() {
                    ctx.indicate(Indication::Returned(token(&self.items[&serial])));
                    self.take_back(serial, ctx);
                }
            }
            _ => (),
        }
    }

    /// Only from whom has it now: whoever had it before is too late.
    fn acknowledged(&mut self, from: NodeId, serial: Serial, ctx: &mut Ctx<'_>) {
        if self.lent.get(&serial).is_some_and(|(to, _)| *to == from) {
            self.lent.remove(&serial);
            if let Some(item) = self.items.remove(&serial) {
                ctx.write(Change::Remove(serial));
                ctx.indicate(Indication::Settled(token(&item)));
            }
        }
    }

    fn lease_is_over(&mut self, serial: Serial, number: u32, ctx: &mut Ctx<'_>) {
        if self.lent.get(&serial).is_some_and(|(_, lent)| *lent == number) {
            ctx.indicate(Indication::Lapsed(token(&self.items[&serial])));
            self.take_back(serial, ctx);
        }
    }

    /// Lends what is ready to whoever has nothing to do.
    fn lend(&mut self, ctx: &mut Ctx<'_>) {
        while let (Some(&serial), Some(&to)) = (self.ready.front(), self.idle.front()) {
            self.ready.pop_front();
            self.idle.pop_front();
            let item = self.items[&serial];
            let is_redelivered = !self.lent_before.insert(serial);
            self.lent_count += 1;
            self.lent.insert(serial, (to, self.lent_count));
            let token = token(&item);
            ctx.indicate(Indication::Handed { token, to, is_redelivered, is_settled: false });
            ctx.send(to, Message::Deliver(item, is_redelivered));
            ctx.set_timer(self.lease, Timer::Lease(serial, self.lent_count));
        }
    }

    fn take_back(&mut self, serial: Serial, ctx: &mut Ctx<'_>) {
        self.lent.remove(&serial);
        self.ready.push_front(serial);
        self.lend(ctx);
    }
}

/// A message as the judge knows it.
fn token(item: &Item) -> Token {
    Token { serial: item.serial, size_bytes: item.size_bytes }
}

/// A producer: it keeps what is not confirmed, and sends it again when the connection broke.
#[derive(Debug)]
pub struct Producer {
    client: Client,
    kept: BTreeMap<Serial, Item>,
    tries: bool,
}

impl Producer {
    fn handle(&mut self, input: Input<Leases>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Request(Request::Publish(item)) => {
                self.kept.insert(item.serial, item);
                self.send(item, ctx);
            }
            Input::Message { message: Message::Confirm(serial), .. } => {
                self.confirmed(serial, ctx);
            }
            Input::Closed { .. } if !self.tries => {
                self.tries = true;
                ctx.set_timer(self.client.retry, Timer::Again);
            }
            Input::Timer(Timer::Again) => {
                self.tries = false;
                for item in self.kept.values() {
                    self.send(*item, ctx);
                }
            }
            _ => (),
        }
    }

    fn confirmed(&mut self, serial: Serial, ctx: &mut Ctx<'_>) {
        if self.kept.remove(&serial).is_some() {
            ctx.indicate(Indication::Confirmed(serial));
        }
    }

    fn send(&self, item: Item, ctx: &mut Ctx<'_>) {
        ctx.indicate(Indication::Sent { serial: item.serial, is_kept: true });
        ctx.send(self.client.broker, Message::Publish(item));
    }
}

/// A consumer.
#[derive(Debug)]
pub struct Consumer {
    client: Client,
    asks: bool,
    /// What it works on.
    at: Option<Item>,
    tries: bool,
    stops: bool,
}

impl Consumer {
    fn handle(&mut self, input: Input<Leases>, ctx: &mut Ctx<'_>) {
        match input {
            Input::Start => self.fetch(ctx),
            Input::Message { message: Message::Deliver(item, is_redelivered), .. } => {
                let serial = item.serial;
                ctx.indicate(Indication::Received { serial, is_redelivered });
                if self.at.is_some() || self.stops {
                    // It was asked for on a connection that broke; its lease will end.
                    ctx.indicate(Indication::Dropped(serial));
                    return;
                }
                self.at = Some(item);
                if self.asks {
                    ctx.indicate(Indication::Asks { serial, slot: 0 });
                } else {
                    Self::work(item, ctx);
                }
            }
            Input::Request(Request::Answer { is_known, .. }) => match self.at {
                Some(item) if is_known => {
                    ctx.indicate(Indication::Dropped(item.serial));
                    ctx.set_timer(SimDuration::ZERO, Timer::Acknowledge);
                }
                Some(item) => Self::work(item, ctx),
                None => (),
            },
            Input::Timer(Timer::Worked) => self.worked(ctx),
            Input::Timer(Timer::Acknowledge) => {
                if let Some(item) = self.at.take() {
                    ctx.send(self.client.broker, Message::Ack(item.serial));
                }
                self.next(ctx);
            }
            Input::Timer(Timer::Again) => {
                self.tries = false;
                self.fetch(ctx);
            }
            Input::Closed { .. } => {
                ctx.indicate(Indication::Cut);
                if !self.tries && !self.stops {
                    self.tries = true;
                    ctx.set_timer(self.client.retry, Timer::Again);
                }
            }
            Input::Signal(Signal::Terminate) => {
                self.stops = true;
                self.next(ctx);
            }
            _ => (),
        }
    }

    fn work(item: Item, ctx: &mut Ctx<'_>) {
        ctx.indicate(Indication::Started(item.serial));
        // By these names a fault finds the point that it waits for.
        ctx.reach("started");
        ctx.set_work_timer(item.service, Timer::Worked);
    }

    fn worked(&mut self, ctx: &mut Ctx<'_>) {
        let Some(Item { serial, nature, .. }) = self.at else { return };
        match nature {
            Nature::Sound => {
                ctx.indicate(Indication::Done(serial));
                ctx.reach("done");
                ctx.set_timer(SimDuration::ZERO, Timer::Acknowledge);
            }
            // Nobody is told: the lease ends, and somebody else tries.
            Nature::Fails | Nature::Kills => {
                ctx.indicate(Indication::LeftOff(serial));
                self.at = None;
                self.next(ctx);
            }
        }
    }

    /// Asks for more, or leaves where it was told to stop.
    fn next(&mut self, ctx: &mut Ctx<'_>) {
        if self.at.is_some() {
            return;
        }
        if self.stops {
            ctx.disconnect(self.client.broker);
            ctx.indicate(Indication::Cut);
        } else {
            self.fetch(ctx);
        }
    }

    fn fetch(&self, ctx: &mut Ctx<'_>) {
        if self.at.is_none() && !self.stops {
            ctx.send(self.client.broker, Message::Fetch);
        }
    }
}

static ENTRY: Entry = Entry::of::<Leases>();

/// Its row of the matrix.
static ROW: Variant = Variant::of_own("own", "a queue of leases", &ENTRY, "", 20.0);

fn main() -> io::Result<()> {
    show(&mut io::stdout().lock())
}

/// What the queue does under load, and under every fault of the matrix beside RabbitMQ's and SQS'.
///
/// # Errors
/// Where `out` cannot be written.
pub fn show(out: &mut impl Write) -> io::Result<()> {
    let wrong = |problems: &dyn std::fmt::Debug| io::Error::other(format!("{problems:?}"));
    let mut problems = Problems::default();
    let text = "variants = [\"leases\"]\nhorizon = \"60s\"\n";
    let value = Value::parse(text, 0, &mut problems);
    let config = QueuesConfig::read(&value, &mut problems).ok_or_else(|| wrong(&problems))?;
    let around = Surroundings::default();
    let setup = Setup { config: &config, around: &around, share: None };
    let played = (ENTRY.simulate)(&config.variants[0], setup, Seed(1), Watch::default());
    let record = played.ok_or_else(|| wrong(&"the choice is wrong"))?.record;
    let value = |name: &str| {
        let measure = record.measures.iter().find(|measure| measure.metric.name == name);
        measure.map_or(f64::NAN, |measure| measure.value)
    };
    writeln!(out, "two consumers for a minute")?;
    for (name, what) in [
        ("goodput", "messages done a second"),
        ("utilisation", "utilisation"),
        ("lost", "lost"),
        ("duplicate_effects", "done twice"),
    ] {
        writeln!(out, "  {what:<28}{:>8.2}", value(name))?;
    }
    writeln!(out, "\nunder each fault")?;
    let rows = ["V2", "V6"].map(|id| VARIANTS.iter().find(|row| row.id == id));
    writeln!(out, "{:<52}{:>10}{:>10}{:>10}", "", "own", "V2", "V6")?;
    for fault in FAULTS {
        let mut line = format!("{:<52}", fault.title);
        for row in std::iter::once(&ROW).chain(rows.into_iter().flatten()) {
            let cell = cells(row, fault).into_iter().next();
            let codes = match cell.map(|cell| cell.compute()) {
                Some(computed) => computed.map_err(|problems| wrong(&problems))?.codes.to_string(),
                None => "-".into(),
            };
            line.push_str(&format!("{codes:>10}"));
        }
        writeln!(out, "{line}")?;
    }
    Ok(())
}
