//! A lock on a replicated log, without expiry: `acquire` and `release` are commands in the log.
//!
//! A first-come-first-served queue for each lock is the state that the log keeps, each command is
//! carried out once however often it is given, and the token is the place in the log of the grant
//! (Ongaro, "Consensus: Bridging Theory and Practice", 2014, chapter 6). Nothing expires, so no
//! clock is trusted: a holder that dies, or is cut off for ever, holds the lock until an operator
//! takes it.

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::raft::RaftConfig;

use super::ensemble::queue::{QueueRole, Queued, Queues};
use super::ensemble::{self, Client, ClientRole, Keeping, MessageOf, Rule, Server, ServerRole};
use super::{LockProtocol, Servers, Terms, Tokens};

/// The protocol.
pub(super) struct RaftLock;

config! {
    /// A replicated log of lock commands.
    pub(super) struct Params {
        /// How many servers there are.
        pub(super) servers: u32 = 3 => 1..=99,
        /// How long a client waits for an answer before it asks another server.
        pub(super) timeout: SimDuration = SimDuration::from_secs(1),
        /// How long it rests before that.
        pub(super) pause: SimDuration = SimDuration::from_ms(50),
        /// How the servers agree.
        pub(super) log: RaftConfig = RaftConfig::PAPER,
        /// Whether a server refuses its vote to one whose log is behind its own. Without, as in an
        /// implementation that forgot, an acknowledged grant can be lost: to see what the judges
        /// find.
        pub(super) restrict_votes: bool = true,
    }
}

impl LockProtocol for RaftLock {
    const ABOUT: About = About {
        name: "raft",
        summary: "first come, first served, in a replicated log; no clock, no expiry",
        source: "Ongaro, \"Consensus: Bridging Theory and Practice\", 2014, chapter 6",
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
        let mut raft = ensemble::member(&params.log, terms);
        raft.restricts_votes = params.restrict_votes;
        ServerRole { raft, rule: Rule::Exact, answers_before: None }
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole<QueueRole> {
        ClientRole {
            servers: terms.servers.clone(),
            timeout: params.timeout,
            pause: params.pause,
            keeping: Keeping::Nothing,
            flow: QueueRole { has_sessions: false, lock_delay: SimDuration::ZERO },
        }
    }
}
