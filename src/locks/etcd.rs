//! etcd's lock: `concurrency.Mutex` of its Go client, which the lock RPC of the server uses too.
//!
//! A client has a lease, keeps it alive every third of its time to live, and makes one key for
//! each lock, named by the lease; whoever's key was created first holds the lock, and each other
//! waits for the deletion of the key before its own. Up to 3.4 a client that has waited does not
//! look whether its own key is still there, so one whose lease ran out meanwhile is told that it
//! holds the lock, as another is ("Jepsen: etcd 3.4.3", 2020); from 3.5 on it looks, and fails. A
//! release deletes the key by its name: a late copy of it deletes what the same lease holds since.
//!
//! The server looks for leases that ran out every half second (`server/lease/lessor.go`), grants
//! none shorter than one and a half election time-outs, and a new leader gives each its whole time
//! again. The client as shipped counts the deadline of its lease from the *receipt* of an answer,
//! and looks at it once a second (`client/v3/lease.go`, `deadlineLoop`), so it may believe in its
//! lease for longer than the server; an exact one counts from the sending.

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::raft::RaftConfig;

use super::ensemble::keys::{Keyed, Keys, KeysRole, OwnKey};
use super::ensemble::{self, Client, ClientRole, Keeping, MessageOf, Rule, Server, ServerRole};
use super::{LockProtocol, Servers, Terms, Tokens};

/// The protocol.
pub(super) struct Etcd;

config! {
    /// etcd's lock.
    pub(super) struct Params {
        /// How many servers there are.
        pub(super) servers: u32 = 3 => 1..=99,
        /// How the client behaves.
        pub(super) version: Version = Version::From35,
        /// The time to live of a client's lease (`concurrency.NewSession`: 60 s).
        pub(super) ttl: SimDuration = SimDuration::from_secs(60),
        /// By when a client takes its lease for lost.
        pub(super) deadline: Deadline = Deadline::AsShipped,
        /// How often a client as shipped looks at that.
        pub(super) client_look: SimDuration = SimDuration::from_secs(1),
        /// How often the server looks for leases that ran out.
        pub(super) server_look: SimDuration = SimDuration::from_ms(500),
        /// How long a client waits for an answer before it asks another server.
        pub(super) timeout: SimDuration = SimDuration::from_secs(5),
        /// How long it rests before that (`retryConnWait`).
        pub(super) pause: SimDuration = SimDuration::from_ms(500),
        /// How the servers agree: `--heartbeat-interval=100 --election-timeout=1000 --pre-vote`.
        pub(super) log: RaftConfig = RaftConfig {
            election_min: SimDuration::from_secs(1),
            election_max: SimDuration::from_secs(2),
            heartbeat: SimDuration::from_ms(100),
            ..RaftConfig::PAPER
        },
    }
}

config! {
    /// Which etcd it is.
    pub(super) enum Version {
        /// 3.4 and before: a client that has waited does not look whether its own key is there.
        "3.4" => UpTo34,
        /// 3.5 and later: it does.
        "3.5" => From35,
    }
}

config! {
    /// By when a client takes its lease for lost.
    pub(super) enum Deadline {
        /// Counted from the receipt of the last answer, and looked at now and then.
        "as_shipped" => AsShipped,
        /// Counted from the sending of what was answered last.
        "exact" => Exact,
    }
}

impl Params {
    /// The time to live that the server grants.
    fn granted(&self) -> SimDuration {
        self.ttl.max(self.log.election_min.scale(3, 2))
    }
}

impl LockProtocol for Etcd {
    const ABOUT: About = About {
        name: "etcd",
        summary: "key with a lease in a replicated log; each waits for the key before its own",
        source: "etcd, client/v3/concurrency/mutex.go, client/v3/lease.go, server/lease/lessor.go",
        version: "etcd 3.5",
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
            rule: Rule::NextLook(params.server_look),
            answers_before: None,
        }
    }

    fn client(params: &Params, terms: &Terms) -> ClientRole<KeysRole> {
        let looks = match params.deadline {
            Deadline::AsShipped => Some(params.client_look),
            Deadline::Exact => None,
        };
        let own = match params.version {
            Version::UpTo34 => OwnKey::Ignored,
            Version::From35 => OwnKey::Checked,
        };
        ClientRole {
            servers: terms.servers.clone(),
            timeout: params.timeout,
            pause: params.pause,
            keeping: Keeping::Lease { ttl: params.granted(), looks },
            flow: KeysRole { is_sequential: false, own, heeds_session: true },
        }
    }
}
