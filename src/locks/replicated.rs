//! Redis locks on a primary with replicas that follow it asynchronously.
//!
//! The primary applies a write, answers, and lets its replicas know afterwards; a failover may
//! promote one that does not know yet, and the lock is free again, its token counter with it
//! (redis.io/docs, "Replication"; "Distributed Locks with Redis", "Why Failover-based
//! Implementations Are Not Enough"). `WAIT` makes a client wait until some replicas know; which one
//! is promoted is decided by its priority first, so it may be another.

use crate::choice::About;
use crate::config;
use crate::config::{Problems, Value};
use crate::kernel::time::SimDuration;

use super::polling;
use super::redis::{Message, ReplicationConfig, Server, ServerRole};
use super::redisson::{self, Replicas};
use super::token;
use super::{LockProtocol, Servers, Terms, Tokens};

/// redis-py's lock on replicated Redis.
pub(super) struct Replicated;

/// Redisson's lock on replicated Redis, with `WAIT`.
pub(super) struct ReplicatedWait;

config! {
    /// redis-py's lock on a primary with replicas.
    pub(super) struct TokenParams {
        /// The client's.
        pub(super) lock: token::Params = default(),
        /// How many servers there are, the primary among them.
        pub(super) servers: u32 = 3 => 1..=100,
        /// How the primary is replicated, and replaced.
        pub(super) replication: ReplicationConfig = default(),
    }
}

config! {
    /// Redisson's lock on a primary with replicas.
    pub(super) struct RedissonParams {
        /// The client's.
        pub(super) lock: redisson::Params = default(),
        /// How many servers there are, the primary among them.
        pub(super) servers: u32 = 3 => 1..=100,
        /// How the primary is replicated, and replaced.
        pub(super) replication: ReplicationConfig = default(),
        /// What a client waits for after it has acquired.
        pub(super) wait: Replicas = default(),
    }
}

/// What stands where nothing is written.
fn default<T: config::Config>() -> T {
    let nothing = Value {
        kind: config::ValueKind::Table(config::Table::default()),
        place: config::Place::default(),
    };
    T::read(&nothing, &mut Problems::default()).expect("every field has a default")
}

impl LockProtocol for Replicated {
    const ABOUT: About = About {
        name: "replicated",
        summary: "redis-py's Lock on Redis with asynchronous replicas and failover",
        source: "redis/lock.py; redis.io/docs, Replication and Sentinel",
        version: "redis-py 8.1.0, redis 7.0",
    };
    const TOKENS: Tokens = Tokens::Counted;
    const VALIDATES: bool = false;
    type Params = TokenParams;
    type Message = Message;
    type Server = Server;
    type Client = polling::Client<token::Params>;

    fn servers(params: &TokenParams) -> Servers {
        Servers::Replicas(params.servers)
    }

    fn server(params: &TokenParams, terms: &Terms) -> ServerRole {
        ServerRole {
            persistence: params.lock.persistence.clone(),
            restart_delay: SimDuration::ZERO,
            replication: Some(params.replication.clone()),
            terms: terms.clone(),
        }
    }

    fn client(params: &TokenParams, terms: &Terms) -> polling::ClientRole<token::Params> {
        polling::ClientRole { manner: params.lock.clone(), terms: terms.clone() }
    }
}

impl LockProtocol for ReplicatedWait {
    const ABOUT: About = About {
        name: "replicated_wait",
        summary: "Redisson's RLock on Redis with asynchronous replicas, failover and WAIT",
        source: "org/redisson/RedissonLock.java, CommandAsyncService.java",
        version: "redisson 4, redis 7.0",
    };
    const TOKENS: Tokens = Tokens::Counted;
    const VALIDATES: bool = false;
    type Params = RedissonParams;
    type Message = Message;
    type Server = Server;
    type Client = redisson::Client;

    fn servers(params: &RedissonParams) -> Servers {
        Servers::Replicas(params.servers)
    }

    fn server(params: &RedissonParams, terms: &Terms) -> ServerRole {
        redisson::server_role(&params.lock, Some(params.replication.clone()), terms)
    }

    fn client(params: &RedissonParams, terms: &Terms) -> redisson::ClientRole {
        redisson::ClientRole {
            params: params.lock.clone(),
            replicas: Some(params.wait.clone()),
            terms: terms.clone(),
        }
    }
}
