//! Chubby's lock: sessions, sequencers, and a delay before a lock that failed can be had again.
//!
//! Burrows, "The Chubby lock service for loosely-coupled distributed systems", OSDI 2006, 2.4 to
//! 2.9. A client keeps its session by a KeepAlive that the master answers only shortly before the
//! lease ends; the client sends the next at once, and keeps a local lease that is shorter by the
//! way of the answer and by how fast it fears the master's clock to run. When that ends it is in
//! jeopardy: the application, told so, holds still, and the library looks for a master for a grace
//! period, after which the session is lost. A lock that was released can be had at once; one whose
//! holder's session ended stays free for the lock-delay, so that what the holder sent before can
//! arrive. The sequencer's generation number is the fencing token.
//!
//! Consul's sessions and lock-delay (15 s by default) are of the same kind.

use crate::choice::About;
use crate::config;
use crate::config::{Problems, Value};
use crate::kernel::time::SimDuration;
use crate::model::raft::RaftConfig;

use super::ensemble::queue::{QueueRole, Queued, Queues};
use super::ensemble::{self, Client, ClientRole, Keeping, MessageOf, Rule, Server, ServerRole};
use super::{LockProtocol, Servers, Terms, Tokens};

/// The protocol.
pub(super) struct Chubby;

config! {
    /// Chubby's lock.
    pub(super) struct Params {
        /// How many servers there are (2.1: typically five).
        pub(super) servers: u32 = 5 => 1..=99,
        /// By how much the master extends a session's lease (2.8: 12 s).
        pub(super) lease: SimDuration = SimDuration::from_secs(12),
        /// How long before the end of the lease the master answers. A client's session can so
        /// outlive it by two leases less this.
        pub(super) answers_before: SimDuration = SimDuration::from_secs(2),
        /// For how long a lock stays free whose holder's session ended (2.4: up to a minute).
        pub(super) lock_delay: SimDuration = SimDuration::from_secs(60),
        /// How long a client in jeopardy looks for a master (2.8: 45 s).
        pub(super) grace: SimDuration = SimDuration::from_secs(45),
        /// How fast the master's clock runs at worst, as a client sees it. The paper says "a known
        /// constant factor" and not which.
        pub(super) clock_factor: f64 = 1.01 => 1.0..=1000.0,
        /// How long a client waits for an answer before it asks another server.
        pub(super) timeout: SimDuration = SimDuration::from_secs(2),
        /// How long it rests before that.
        pub(super) pause: SimDuration = SimDuration::from_ms(250),
        /// How the servers agree. The original is Paxos with a master lease of a few seconds
        /// (2.1).
        pub(super) log: RaftConfig = RaftConfig {
            election_min: SimDuration::from_secs(4),
            election_max: SimDuration::from_secs(6),
            heartbeat: SimDuration::from_secs(1),
            ..RaftConfig::PAPER
        },
    }
    check Self::check;
}

impl Params {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.lease <= self.answers_before {
            problems.add(value.place, "`answers_before` must be shorter than `lease`");
        }
    }
}

impl LockProtocol for Chubby {
    const ABOUT: About = About {
        name: "chubby",
        summary: "lock of a session in a replicated log, with lock-delay and sequencers",
        source: "Burrows, OSDI 2006, 2.4-2.9",
        version: "",
    };
    const TOKENS: Tokens = Tokens::Native;
    const VALIDATES: bool = true;
    type Params = Params;
    type Message = MessageOf<Queues>;
    type Server = Server<Queues>;
    type Client = Client<Queued>;

    fn servers(params: &Params) -> Servers {
        Servers::Log(params.servers)
    }

    fn server(params: &Params, terms: &Terms) -> ServerRole {
        ServerRole {
            raft: ensemble::member(&params.log, terms),
            rule: Rule::Exact,
            answers_before: Some(params.answers_before),
        }
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole<QueueRole> {
        ClientRole {
            servers: terms.servers.clone(),
            timeout: params.timeout,
            pause: params.pause,
            keeping: Keeping::Conservative {
                lease: params.lease,
                clock_per_mille: (params.clock_factor * 1000.0).ceil() as u64,
                grace: params.grace,
            },
            flow: QueueRole { has_sessions: true, lock_delay: params.lock_delay },
        }
    }
}
