//! Distributed locks: who may enter a critical section, who believes that it may, and what its
//! effects are.
//!
//! A protocol is a [`LockProtocol`]: a server and a client, each a state machine. The testbed puts
//! the client into the process of an application that goes through critical sections
//! ([`section`]), and the data that the lock protects onto a node of its own ([`resource`]), behind
//! the network like any other: a write can arrive after its writer lost the lock, or died. What a
//! client says it holds is a belief; whether that was true is for the [`judge`]s to say, who see
//! all nodes in true time.
//!
//! [`CATALOGUE`] lists every variant. A new one is a file beside this one with its idea and its
//! source on top, an `impl` of [`LockProtocol`], its `mod` line and its row.

mod any;
mod chubby;
pub mod course;
mod elapsed_release;
mod ensemble;
mod etcd;
pub mod history;
pub mod judge;
mod lease_table;
mod load;
mod majority;
pub mod matrix;
pub mod measure;
mod party;
mod pg_advisory;
mod polling;
mod postgres;
mod raft;
pub mod recorded;
mod redis;
mod redisson;
mod redlock;
mod replicated;
pub mod resource;
pub mod section;
mod set_nx_del;
mod setnx_expire;
mod shards;
pub mod testbed;
#[cfg(test)]
mod tests;
mod token;
mod zookeeper;

use std::fmt::Debug;

use serde_json::Value as Json;

use crate::choice::{About, Choice, Listed};
use crate::config::{Config, Problems};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimDuration;
use crate::model::any::{AnyRole, AnyStable};
use crate::model::node::{Node, NodeId, Wire};
use crate::model::surroundings::Surroundings;
use crate::record::Record;

pub(crate) use any::AnyLock;
pub(crate) use history::Recorder;
pub(crate) use party::{Alarm, Ask, Disk, Parcel, Party, Role, Told, Write};
pub(crate) use resource::ResourceRole;
pub(crate) use section::WorkerRole;
pub(crate) use shards::ClientsRole;

use polling::Polling;
pub use resource::Fencing;
pub use shards::{ShardConfig, Shards};
pub use testbed::{LocksConfig, Played};

/// Every lock of this crate.
pub const CATALOGUE: &[Entry] = &[
    Entry::of::<Polling<setnx_expire::Params>>(),
    Entry::of::<Polling<set_nx_del::Params>>(),
    Entry::of::<Polling<elapsed_release::Params>>(),
    Entry::of::<Polling<token::Params>>(),
    Entry::of::<redisson::Redisson>(),
    Entry::of::<replicated::Replicated>(),
    Entry::of::<replicated::ReplicatedWait>(),
    Entry::of::<redlock::Redlock>(),
    Entry::of::<zookeeper::ZooKeeper>(),
    Entry::of::<etcd::Etcd>(),
    Entry::of::<chubby::Chubby>(),
    Entry::of::<raft::RaftLock>(),
    Entry::of::<pg_advisory::PgAdvisory>(),
    Entry::of::<lease_table::LeaseTable>(),
    Entry::of::<majority::Majority>(),
];

/// Names a lock among those that there are.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LockId(pub u32);

/// A fencing token: where a lock has one, it rises with each grant.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token(pub u64);

/// A lock protocol: what its servers and its clients do.
pub trait LockProtocol: Sized + 'static {
    /// What it says of itself.
    const ABOUT: About;
    /// Where its fencing tokens come from.
    const TOKENS: Tokens;
    /// Whether its service can say if a token is that of the present holder: a client must answer
    /// [`Request::Validate`] then.
    const VALIDATES: bool;
    /// Its parameters.
    type Params: Config;
    /// What its nodes tell each other.
    type Message: Wire;
    /// The lock service.
    type Server: Node<Request = Order, Indication = Fact, Message = Self::Message>;
    /// The library in the client's process. It keeps nothing on disk.
    type Client: Node<Request = Request, Indication = Indication, Message = Self::Message, Stable = ()>;

    /// How many servers there are, and what they are to each other.
    fn servers(params: &Self::Params) -> Servers;

    /// What a server is built from.
    fn server(params: &Self::Params, terms: &Terms) -> <Self::Server as Node>::Role;

    /// What a client is built from.
    fn client(params: &Self::Params, terms: &Terms) -> <Self::Client as Node>::Role;
}

/// Where the fencing tokens of a protocol come from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tokens {
    /// There are none that are ordered.
    None,
    /// The product has none; a counter in the store of the lock is incremented with each grant.
    Counted,
    /// The product has them.
    Native,
}

/// The servers of a lock service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Servers {
    /// One.
    One,
    /// A primary, which is the first, and replicas that follow it.
    Replicas(u32),
    /// So many that do not know of each other; a majority makes a grant.
    Votes(u32),
    /// So many that agree on a log; the first leads to begin with.
    Log(u32),
}

/// Who is who, for one node of the service or one client of it.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The servers, in order.
    pub servers: Vec<NodeId>,
    /// The position of this one among them; for a client, its number among the clients.
    pub index: u32,
    /// Whether each grant is to carry a fencing token, counted in the store of the lock itself
    /// where the product has none.
    pub is_counted: bool,
}

/// What a process asks of the lock client in it.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Acquire a lock, waiting for it where need be. [`Indication::Granted`] or
    /// [`Indication::Refused`] follows.
    Acquire {
        /// Which.
        lock: LockId,
        /// How long to wait for it; `None`: as long as it takes.
        patience: Option<SimDuration>,
    },
    /// Say whether the lock is still held, from what this process knows. [`Indication::Checked`]
    /// follows at once; a client without such a thing in its interface says yes.
    Check(LockId),
    /// Release a lock, whether or not this client holds it. [`Indication::Released`] follows.
    Release(LockId),
    /// Ask the service whether `token` is that of the present holder.
    /// [`Indication::Validated`] follows.
    Validate {
        /// Of which lock.
        lock: LockId,
        /// The token.
        token: Token,
    },
}

/// What a lock client tells its process: what it believes.
#[derive(Clone, Debug, PartialEq)]
pub enum Indication {
    /// It sent one more request for the lock, or asked a set of servers once more.
    Tried(LockId),
    /// Something woke it up to look whether it can have the lock.
    Woken(LockId),
    /// The lock is this process's.
    Granted {
        /// Which.
        lock: LockId,
        /// The fencing token, where there is one.
        token: Option<Token>,
        /// For how long from now on, by this node's own clock, where the client knows.
        valid_for: Option<SimDuration>,
    },
    /// A lock that is held will be so for that long from now on, by this node's own clock.
    Extended {
        /// Which.
        lock: LockId,
        /// How long.
        valid_for: SimDuration,
    },
    /// The lock is no longer held, though nobody released it.
    Lost(LockId),
    /// The lock was not granted, and the client no longer tries.
    Refused {
        /// Which.
        lock: LockId,
        /// Why.
        why: Refusal,
    },
    /// The answer to [`Request::Check`].
    Checked {
        /// Which.
        lock: LockId,
        /// Whether it is still held.
        is_valid: bool,
    },
    /// The release is over.
    Released {
        /// Which.
        lock: LockId,
        /// What became of it.
        how: Release,
    },
    /// The answer to [`Request::Validate`].
    Validated {
        /// Which.
        lock: LockId,
        /// The token that was asked about.
        token: Token,
        /// Whether it is that of the present holder.
        is_current: bool,
    },
}

/// Why a lock was not granted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// It took longer than the patience.
    Patience,
    /// The service answered with an error, or not at all.
    Error,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Release {
    /// The service released the lock.
    Done,
    /// The service, or the client itself, says that it was not held.
    NotHeld,
    /// The client sent nothing, because it thinks the lock has expired.
    Skipped,
    /// The service did not answer.
    Unknown,
}

/// What an operator can do to a server.
#[derive(Clone, Debug, PartialEq)]
pub enum Order {
    /// Take the lock from whoever holds it.
    Free(LockId),
}

/// What is true at a server: for the judges, and for no client.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A lock belongs to a client.
    Held {
        /// Which lock.
        lock: LockId,
        /// Whose it is.
        by: NodeId,
        /// The fencing token of the grant, where there is one.
        token: Option<Token>,
        /// After how long it ends by itself, where it does; [`SimDuration::MAX`] where it ends
        /// with a session.
        expires: Option<SimDuration>,
        /// On what authority.
        on: Authority,
    },
    /// A lock no longer belongs to a client.
    Freed {
        /// Which lock.
        lock: LockId,
        /// Whose it was.
        from: NodeId,
        /// How that came.
        how: Freed,
        /// On what authority.
        on: Authority,
    },
}

/// By what a server knows who holds a lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Authority {
    /// Its own books.
    Books,
    /// The entry at this place of a replicated log: as good at whatever replica applies it.
    Log(u64),
}

/// How a lock became free.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freed {
    /// This client released it, be it its own or not.
    Released(NodeId),
    /// It expired, or the session that held it did.
    Expired,
    /// The connection that held it ended.
    Disconnected,
    /// An operator took it.
    ByOperator,
}

/// A row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What the variant says of itself.
    pub about: About,
    /// Where its fencing tokens come from.
    pub tokens: Tokens,
    /// Whether its service can validate tokens.
    pub validates: bool,
    /// Tells all that is wrong with the parameters of a choice.
    pub check: fn(&Choice, &mut Problems),
    /// The servers that a choice has; `None` where its parameters are wrong.
    pub servers: fn(&Choice) -> Option<Servers>,
    /// What a server of a choice, which was checked, is built from where its type is hidden.
    pub server: fn(&Choice, &Terms) -> AnyRole<Order, Fact, AnyStable>,
    /// The same of a client.
    pub client: fn(&Choice, &Terms) -> AnyRole<Request, Indication, ()>,
    /// Plays a choice, which was checked, and gives all that happened.
    pub play: fn(&Choice, &LocksConfig, &Shards, &Surroundings, Seed) -> Played,
    /// The JSON Schema of its parameters.
    pub params_schema: fn() -> Json,
}

impl Entry {
    /// The row of `P`.
    pub const fn of<P: LockProtocol>() -> Self {
        Self {
            about: P::ABOUT,
            tokens: P::TOKENS,
            validates: P::VALIDATES,
            check: |choice, problems| {
                choice.params::<P::Params>(problems);
            },
            servers: |choice| {
                let params = choice.params::<P::Params>(&mut Problems::default())?;
                Some(P::servers(&params))
            },
            server: |choice, terms| {
                AnyRole::of::<P::Server>(P::server(&params::<P>(choice), terms))
            },
            client: |choice, terms| {
                AnyRole::of::<P::Client>(P::client(&params::<P>(choice), terms))
            },
            play: |choice, config, shards, around, seed| {
                let params = params::<P>(choice);
                testbed::play::<P>(&params, config, shards, around, seed)
            },
            params_schema: P::Params::schema,
        }
    }
}

impl Entry {
    /// Plays `choice`, which was checked, under `seed`, and says what came of it. `shards` are as
    /// many as `config` has.
    pub fn simulate(
        &self,
        choice: &Choice,
        config: &LocksConfig,
        shards: &Shards,
        around: &Surroundings,
        seed: Seed,
    ) -> Record {
        let played = (self.play)(choice, config, shards, around, seed);
        measure::record(choice, config, around, seed, &played)
    }
}

impl Request {
    /// The lock that it is about.
    pub const fn lock(&self) -> LockId {
        match self {
            Self::Acquire { lock, .. }
            | Self::Check(lock)
            | Self::Release(lock)
            | Self::Validate { lock, .. } => *lock,
        }
    }
}

impl Listed for Entry {
    fn about(&self) -> &About {
        &self.about
    }

    fn params_schema(&self) -> Json {
        (self.params_schema)()
    }
}

impl Servers {
    /// How many there are.
    pub const fn count(self) -> u32 {
        match self {
            Self::One => 1,
            Self::Replicas(count) | Self::Votes(count) | Self::Log(count) => count,
        }
    }

    /// How many must hold a lock for a client on their own books so that it is a grant.
    pub const fn quorum(self) -> u32 {
        match self {
            Self::One | Self::Replicas(_) | Self::Log(_) => 1,
            Self::Votes(count) => count / 2 + 1,
        }
    }

    /// How many must be up so that the service can grant.
    pub const fn needed(self) -> u32 {
        match self {
            Self::One | Self::Replicas(_) => 1,
            Self::Votes(count) | Self::Log(count) => count / 2 + 1,
        }
    }
}

/// Plays `choice`, which was checked, under `seed`.
pub fn play(
    choice: &Choice,
    config: &LocksConfig,
    shards: &Shards,
    around: &Surroundings,
    seed: Seed,
) -> Played {
    (entry_of(choice).play)(choice, config, shards, around, seed)
}

/// Plays `choice`, which was checked, under `seed`, and says what came of it.
pub fn simulate(
    choice: &Choice,
    config: &LocksConfig,
    shards: &Shards,
    around: &Surroundings,
    seed: Seed,
) -> Record {
    entry_of(choice).simulate(choice, config, shards, around, seed)
}

fn params<P: LockProtocol>(choice: &Choice) -> P::Params {
    let params = choice.params::<P::Params>(&mut Problems::default());
    params.expect("the choice was checked when it was read")
}

fn entry_of(choice: &Choice) -> &'static Entry {
    let found = choice.find("lock", CATALOGUE, &mut Problems::default());
    found.expect("the choice was checked when it was read")
}
