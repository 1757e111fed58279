//! ZooKeeper's lock recipe, as Curator's `InterProcessMutex` has it.
//!
//! A client has a session and makes an ephemeral sequential node for each attempt; whoever's is
//! the lowest holds the lock, and each other watches the one before its own. The name carries an
//! identifier of the client's own ("protected mode"), so that a creation whose answer was lost is
//! found again. The leader lets sessions run out in ticks, never early:
//! `ExpiryQueue.roundToNextInterval` is `(time / tick + 1) · tick`. The client library shows a sign
//! of life every third of the time-out, and takes the connection for lost after two thirds of
//! silence (`ClientCnxn.java`). What the *application* makes of that decides: one that stops when
//! its session is in doubt (`SUSPENDED`), as Curator's documentation asks for, or one that goes on.
//! The token is the node's czxid; the sequence number starts anew when the parent is deleted.

use crate::choice::About;
use crate::config;
use crate::config::{Problems, Value};
use crate::kernel::time::SimDuration;
use crate::model::raft::RaftConfig;

use super::ensemble::keys::{Keyed, Keys, KeysRole, OwnKey};
use super::ensemble::{self, Client, ClientRole, Keeping, MessageOf, Rule, Server, ServerRole};
use super::{LockProtocol, Servers, Terms, Tokens};

/// The protocol.
pub(super) struct ZooKeeper;

config! {
    /// ZooKeeper's lock recipe.
    pub(super) struct Params {
        /// How many servers there are.
        pub(super) servers: u32 = 3 => 1..=99,
        /// The time-out of a session that the client asks for (Curator: 60 s); the server grants
        /// 2 to 20 ticks.
        pub(super) session_timeout: SimDuration = SimDuration::from_secs(60),
        /// In steps of what the server lets sessions run out (`tickTime`).
        pub(super) tick: SimDuration = SimDuration::from_secs(2),
        /// What a holder does when its session is in doubt, or over.
        pub(super) on_suspended: OnSuspended = OnSuspended::Stop,
        /// How long a client waits for an answer before it asks another server (Curator's
        /// connection time-out: 15 s).
        pub(super) timeout: SimDuration = SimDuration::from_secs(15),
        /// How long it rests before that: at random up to a second, in `ClientCnxn.java`.
        pub(super) pause: SimDuration = SimDuration::from_ms(500),
        /// How the servers agree. ZooKeeper's own protocol is Zab: a leader lets itself be heard
        /// every half tick, and a follower gives it up after `syncLimit` (5) ticks.
        pub(super) log: RaftConfig = RaftConfig {
            election_min: SimDuration::from_secs(10),
            election_max: SimDuration::from_secs(12),
            heartbeat: SimDuration::from_secs(1),
            heeds_close: true,
            ..RaftConfig::PAPER
        },
    }
    check Self::check;
}

config! {
    /// What a holder does when its session is in doubt, or over.
    pub(super) enum OnSuspended {
        /// It takes the lock for lost.
        "stop" => Stop,
        /// It does not listen.
        "ignore" => Ignore,
    }
}

impl Params {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.tick == SimDuration::ZERO {
            problems.add(value.place, "`tick` must be longer than nothing");
        }
    }

    /// The time-out of a session that the server grants (`minSessionTimeout`,
    /// `maxSessionTimeout`).
    fn granted(&self) -> SimDuration {
        self.session_timeout.clamp(self.tick.times(2), self.tick.times(20))
    }
}

impl LockProtocol for ZooKeeper {
    const ABOUT: About = About {
        name: "zookeeper",
        summary: "lowest ephemeral node of a session holds; each watches the node before its own",
        source: "Curator, LockInternals.java; ZooKeeper, ExpiryQueue.java, ClientCnxn.java",
        version: "ZooKeeper 3.9, Curator 5.7",
    };
    const TOKENS: Tokens = Tokens::Native;
    const VALIDATES: bool = true;
    type Params = Params;
    type Message = MessageOf<Keys>;
    type Server = Server<Keys>;
    type Client = Client<Keyed>;

    fn servers(params: &Params) -> Servers {
        Servers::Log(params.servers)
    }

    fn server(params: &Params, terms: &Terms) -> ServerRole {
        ServerRole {
            raft: ensemble::member(&params.log, terms),
            rule: Rule::NextTick(params.tick),
            answers_before: None,
        }
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole<KeysRole> {
        ClientRole {
            servers: terms.servers.clone(),
            timeout: params.timeout,
            pause: params.pause,
            keeping: Keeping::Connection { timeout: params.granted() },
            flow: KeysRole {
                is_sequential: true,
                own: OwnKey::Remade,
                heeds_session: matches!(params.on_suspended, OnSuspended::Stop),
            },
        }
    }
}
