//! A Redis server, as far as locks go: keys with an expiry by the wall clock, scripts that run
//! without interruption, channels, what it keeps on disk, and replicas that follow it.

mod server;
mod store;

use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::Wire;

use super::{LockId, Token};

pub(super) use server::{ReplicationConfig, Server, ServerRole};
use store::{Change, Store};

config! {
    /// What a Redis server keeps on disk.
    pub(super) enum Persistence {
        /// Nothing.
        "none" => None,
        /// An append-only file, synced once a second (`appendfsync everysec`).
        "everysec" => EverySec,
        /// An append-only file, synced before each reply (`appendfsync always`).
        "always" => Always,
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// `SET key value NX [PX ttl]`; where `counts`, a script that also increments the lock's token
    /// counter.
    SetNx { value: u64, ttl: Option<SimDuration>, counts: bool },
    /// `EXPIRE key ttl`.
    Expire { ttl: SimDuration },
    /// `DEL key`.
    Del,
    /// The script `if get == value then del`.
    CompareAndDelete { value: u64 },
    /// The script `if get == value then pexpire`: by `ttl` from now, or by that much more.
    Extend { value: u64, ttl: SimDuration, replaces: bool },
    /// Redisson's `tryLock`: a hash from owner to hold count; `hincrby` and `pexpire` where the
    /// key is free or the owner's, else its time to live. Where `counts`, `RFencedLock`'s, which
    /// increments the token on each entry.
    HashLock { owner: u64, lease: SimDuration, counts: bool },
    /// Redisson's `unlock`: down to a count of zero, then `del` and `publish`. The latch of the
    /// request keeps its result, so that a repeated request does nothing.
    HashUnlock { owner: u64, lease: SimDuration, request: u64 },
    /// `del` of the latch.
    DropLatch { request: u64 },
    /// Redisson's renewal: `pexpire` where the owner has the key.
    HashRenew { owner: u64, lease: SimDuration },
    /// `SUBSCRIBE` to the lock's channel.
    Subscribe,
    /// `UNSUBSCRIBE`.
    Unsubscribe,
}

/// What the server answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reply {
    /// The lock is the client's, with this token where one was counted.
    Set(Option<Token>),
    /// The lock is another's; after how long its key expires, where it does.
    Busy(Option<SimDuration>),
    /// Whether the key was there, and the client's.
    Done(bool),
    /// The client's hold count went down and is not zero yet.
    StillHeld,
    /// Not carried out: this server only follows another (`-READONLY`).
    ReadOnly,
}

/// How far a write got, for a client that asked (`WAIT`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reach {
    /// How many replicas have acknowledged it.
    pub(super) synced: u32,
    /// How many are connected.
    pub(super) connected: u32,
}

/// What `WAIT` is to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct WaitFor {
    /// For so many replicas; `None` for all that are connected.
    pub(super) replicas: Option<u32>,
    /// No longer than that.
    pub(super) timeout: SimDuration,
}

/// A command about a lock, its answer, or what servers tell each other.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Ask {
        id: u64,
        lock: LockId,
        command: Command,
        wait: Option<WaitFor>,
    },
    Answer {
        id: u64,
        kind: &'static str,
        reply: Reply,
        reach: Option<Reach>,
    },
    /// The lock was released (`publish`).
    Published {
        lock: LockId,
    },
    /// A replica asks to follow (`PSYNC`).
    Follow,
    /// All that the primary has.
    Snapshot {
        offset: u64,
        store: Box<Store>,
    },
    /// Changes, up to an offset.
    Stream {
        offset: u64,
        changes: Vec<Change>,
    },
    /// A replica has them (`REPLCONF ACK`).
    Acknowledge {
        offset: u64,
    },
    /// Are you there, and who leads?
    Ping {
        epoch: u64,
    },
    /// Here; this is who leads, as of that epoch.
    Pong {
        epoch: u64,
        leader: u32,
    },
    /// The sentinel on this server thinks the primary is down; what its replica is worth.
    Suspect {
        epoch: u64,
        priority: u32,
        offset: u64,
    },
}

impl Command {
    const fn kind(&self) -> &'static str {
        match self {
            Self::SetNx { .. } | Self::HashLock { .. } => "acquire",
            Self::Expire { .. } => "expire",
            Self::Del | Self::CompareAndDelete { .. } | Self::HashUnlock { .. } => "release",
            Self::DropLatch { .. } => "drop_latch",
            Self::Extend { .. } | Self::HashRenew { .. } => "renew",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
        }
    }

    const fn reply_kind(&self) -> &'static str {
        match self {
            Self::SetNx { .. } | Self::HashLock { .. } => "acquire_reply",
            Self::Expire { .. } => "expire_reply",
            Self::Del | Self::CompareAndDelete { .. } | Self::HashUnlock { .. } => "release_reply",
            Self::DropLatch { .. } => "drop_latch_reply",
            Self::Extend { .. } | Self::HashRenew { .. } => "renew_reply",
            Self::Subscribe => "subscribe_reply",
            Self::Unsubscribe => "unsubscribe_reply",
        }
    }
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask { command, .. } => command.kind(),
            Self::Answer { kind, .. } => kind,
            Self::Published { .. } => "publish",
            Self::Follow => "follow",
            Self::Snapshot { .. } => "snapshot",
            Self::Stream { .. } => "replicate",
            Self::Acknowledge { .. } => "replicate_ack",
            Self::Ping { .. } => "ping",
            Self::Pong { .. } => "pong",
            Self::Suspect { .. } => "suspect",
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Ask { .. } => 100,
            Self::Snapshot { store, .. } => 100 + store.size_bytes(),
            Self::Stream { changes, .. } => 100 * changes.len() as u32,
            Self::Answer { .. }
            | Self::Published { .. }
            | Self::Follow
            | Self::Acknowledge { .. }
            | Self::Ping { .. }
            | Self::Pong { .. }
            | Self::Suspect { .. } => 20,
        }
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Ask { .. })
    }
}
