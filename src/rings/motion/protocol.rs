//! What the parts of the cluster tell each other, and which part a node plays.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::kernel::time::SimDuration;
use crate::model::dist::Sampler;
use crate::model::load::RetryConfig;
use crate::model::network::Bandwidth;
use crate::model::node::{Context, Input, Node, NodeId, Stable, Wire};
use crate::model::placement::Member;

use super::client::Client;
use super::config::{BoundConfig, Detector, Holding, Misroute, ReadFrom, Sizes};
use super::member::Peer;
use super::monitor::Monitor;
use super::origin::Origin;
use super::view::{Blueprint, Keys, View};

/// What all nodes of a run know from their configuration.
#[derive(Debug)]
pub(super) struct World {
    pub(super) keys: Rc<Keys>,
    pub(super) sizes: Sizes,
    /// The nodes that are members at any time have the numbers below this.
    pub(super) peer_count: u32,
    /// The clients have the numbers from `peer_count` on.
    pub(super) client_count: u32,
    pub(super) origin: NodeId,
    pub(super) monitor: NodeId,
    pub(super) holding: Holding,
    pub(super) bandwidth: Option<Bandwidth>,
    pub(super) misroute: Misroute,
    pub(super) read_from: ReadFrom,
    pub(super) bound: Option<BoundConfig>,
    pub(super) retry: Option<RetryConfig>,
    pub(super) detector: Detector,
    pub(super) dies_after: Option<SimDuration>,
    /// The view of the members at the start.
    pub(super) first: Rc<View>,
}

impl World {
    /// The size of the value of `key`.
    pub(super) fn value_bytes(&self, key: u32) -> u32 {
        self.sizes.of(key, self.keys.salt())
    }

    /// Everyone who holds a view.
    pub(super) fn viewers(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.peer_count + self.client_count).map(NodeId)
    }
}

/// The part that a node plays.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Client(Rc<World>),
    Peer(Rc<World>, NodeId),
    Origin(Rc<World>),
    Monitor(Rc<World>, Rc<MonitorRole>),
}

/// What the monitor alone knows.
#[derive(Debug)]
pub(super) struct MonitorRole {
    pub(super) blueprint: Blueprint,
    /// What each change of the members that an administrator makes comes to.
    pub(super) orders: Vec<Vec<Order>>,
    pub(super) spread: Sampler,
}

/// What an administrator orders.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Order {
    Join(NodeId, Member),
    Leave(NodeId),
    Weigh(NodeId, f64),
}

/// A node of the cluster.
#[derive(Debug)]
pub(super) enum Part {
    Client(Client),
    Peer(Box<Peer>),
    Origin(Origin),
    Monitor(Box<Monitor>),
}

/// Names a request of a client, for ever.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct RequestId(pub(super) u64);

/// What a client wants of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Want {
    Read,
    Write,
}

/// Why a node is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Route {
    /// Because it is an owner of the key.
    Direct,
    /// Because the owner has enough to do.
    Spilled,
    /// By the owner, which has not got the value yet.
    Handed,
}

/// A request on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) id: RequestId,
    pub(super) client: NodeId,
    pub(super) key: u32,
    pub(super) want: Want,
    pub(super) route: Route,
    pub(super) hop_count: u8,
    /// Of the value that it carries.
    pub(super) value_bytes: u32,
}

/// What comes of asking for a batch of copies.
#[derive(Debug)]
pub(super) struct Copies {
    pub(super) batch: u32,
    /// What comes with this.
    pub(super) keys: Vec<u32>,
    /// What the sender has not got yet.
    pub(super) later: Vec<u32>,
    /// What it has not got.
    pub(super) absent: Vec<u32>,
    /// Of the values that come with this.
    pub(super) bytes: u32,
}

/// What became of a request at a node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// The node had the value.
    Hit,
    /// The node fetched the value from the origin.
    Miss,
    /// The value was written.
    Written,
    /// Nobody who was asked has the value.
    Absent,
    /// The node would not: too busy, not the owner, or without a view.
    Refused,
}

#[derive(Clone, Debug)]
pub(super) enum Message {
    Get(Ask),
    Answer {
        id: RequestId,
        verdict: Verdict,
        value_bytes: u32,
    },
    Fetch {
        key: u32,
    },
    Fetched {
        key: u32,
        is_there: bool,
        value_bytes: u32,
    },
    /// A write, on its way to the other owners.
    Replicate {
        key: u32,
        value_bytes: u32,
    },
    /// Copy these to me.
    Pull {
        batch: u32,
        keys: Rc<[u32]>,
    },
    /// The copies.
    Copy(Rc<Copies>),
    /// I am alive.
    Beat,
    /// I have started, and do not know the members.
    Hello,
    /// The members.
    View(Rc<View>),
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Get(_) => "get",
            Self::Answer { .. } => "answer",
            Self::Fetch { .. } => "fetch",
            Self::Fetched { .. } => "fetched",
            Self::Replicate { .. } => "replicate",
            Self::Pull { .. } => "pull",
            Self::Copy(_) => "copy",
            Self::Beat => "beat",
            Self::Hello => "hello",
            Self::View(_) => "view",
        }
    }

    fn size_bytes(&self) -> u32 {
        HEADER_BYTES
            + match self {
                Self::Get(Ask { value_bytes, .. })
                | Self::Answer { value_bytes, .. }
                | Self::Fetched { value_bytes, .. }
                | Self::Replicate { value_bytes, .. } => *value_bytes,
                Self::Pull { keys, .. } => 8 * keys.len() as u32,
                Self::Copy(copies) => {
                    copies.bytes + 8 * (copies.later.len() + copies.absent.len()) as u32
                }
                // What travels is what has changed.
                Self::Fetch { .. } | Self::Beat | Self::Hello | Self::View(_) => 0,
            }
    }

    fn needs_service(&self) -> bool {
        match self {
            Self::Get(_) | Self::Fetch { .. } | Self::Replicate { .. } => true,
            Self::Answer { .. }
            | Self::Fetched { .. }
            | Self::Pull { .. }
            | Self::Copy(_)
            | Self::Beat
            | Self::Hello
            | Self::View(_) => false,
        }
    }
}

/// What the workload asks of a node.
#[derive(Debug)]
pub(super) enum Request {
    /// Of a client: get this done.
    Ask { id: RequestId, key: u32, want: Want },
    /// Of the monitor: carry out this change of the members.
    Change(u32),
    /// Of the monitor: this node is up or down, as somebody noticed.
    Noticed { node: NodeId, is_up: bool },
}

/// Why an attempt of a client came to nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Failure {
    TimedOut,
    Refused,
    /// The connection broke.
    Broken,
    /// Nobody who was asked has the value.
    Absent,
    /// The client does not know the members.
    Blind,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    Hit,
    Miss,
    Written,
    Failed(Failure),
}

/// What a node tells the workload.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// A client is done with a request.
    Ended { id: RequestId, end: End },
    /// An attempt of a client came to nothing.
    Attempt(Failure),
    /// A client passed the owner by.
    Spilled,
    /// A node worked on a request.
    Served,
    /// A node was asked for a key that is another's, as the node sees it.
    Misrouted,
    /// A node turned a request away, because its queue was full.
    Shed,
    /// A node has turned requests away for too long, and is about to die.
    Overwhelmed,
    /// A node sent a request on to where the value still is.
    HandedOn,
    /// A node fetches a value from the origin.
    Fetching,
    /// A node needs copies of so many more keys, or of fewer.
    Needs(i64),
    /// Copies have come.
    Copied { bytes: u64 },
    /// Nobody who was asked for a copy of a key had it.
    Lost,
    /// The monitor has decided who the members are.
    Decided(Rc<View>, Cause),
    /// The placement had to be built anew, and why.
    BuiltAnew(String),
}

/// Why the members are others now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// An administrator's change, by its number.
    Change(u32),
    /// A node is held for dead.
    Down(NodeId),
    /// A node is back.
    Up(NodeId),
}

/// What a node reminds itself of.
#[derive(Debug)]
pub(super) enum Timer {
    /// Of a client: this attempt has taken too long.
    TimedOut { id: RequestId, attempt: u32 },
    /// Of a client: time to try again.
    Again(RequestId),
    /// A message is on the wire, all of it.
    Depart { to: NodeId, message: Message },
    /// The next copy may be sent.
    NextCopy,
    /// A copy has come in, all of it.
    Landed(Rc<Copies>),
    /// Of a store: ask for these again.
    LineUp(Vec<u32>),
    /// Of a node: send a heartbeat. Of the monitor: look who is silent.
    Beat,
    /// Of the monitor: tell the members to this one.
    Tell(NodeId),
    /// Of a node that has no view: ask for it again.
    Hello,
}

/// What a node keeps on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// It has run before.
    pub(super) has_run: bool,
    /// The keys of a store that came after the start.
    pub(super) gained: BTreeSet<u32>,
    /// What the monitor decided.
    pub(super) decisions: Vec<Cause>,
}

#[derive(Clone, Debug)]
pub(super) enum Write {
    Ran,
    Gained(Rc<[u32]>),
    Decided(Cause),
}

impl Stable for Kept {
    type Write = Write;

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Ran => self.has_run = true,
            Write::Gained(keys) => self.gained.extend(keys.iter().copied()),
            Write::Decided(cause) => self.decisions.push(*cause),
        }
    }
}

impl Node for Part {
    type Role = Role;
    type Stable = Kept;
    type Request = Request;
    type Indication = Told;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &Role, stable: &Kept) -> Self {
        match role {
            Role::Client(world) => Self::Client(Client::new(world.clone(), stable)),
            Role::Peer(world, me) => Self::Peer(Box::new(Peer::new(world.clone(), *me, stable))),
            Role::Origin(world) => Self::Origin(Origin::new(world.clone())),
            Role::Monitor(world, role) => {
                Self::Monitor(Box::new(Monitor::new(world.clone(), role.clone(), stable)))
            }
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Client(client) => client.handle(input, ctx),
            Self::Peer(peer) => peer.handle(input, ctx),
            Self::Origin(origin) => origin.handle(input, ctx),
            Self::Monitor(monitor) => monitor.handle(input, ctx),
        }
    }
}

/// What a message has beside values and keys.
pub(super) const HEADER_BYTES: u32 = 64;
/// A request that was sent on so often is refused: views that differ could send it in circles.
pub(super) const HOPS_MAX: u8 = 4;
/// How long a node without a view waits before it asks again.
pub(super) const HELLO_EVERY: SimDuration = SimDuration::from_secs(1);
