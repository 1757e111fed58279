//! The lock that everybody writes first: `SETNX` to acquire, then `EXPIRE`, and `DEL` to release.
//!
//! Two commands, and a client that dies between them, or whose first reply is lost, leaves a key
//! that never expires. `DEL` asks nobody whose key it is: a holder that is late deletes the next
//! one's, whose release then deletes the one's after that (redis-doc, "Distributed Locks with
//! Redis", section on the single instance).

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;

use super::polling::{Hold, Manner, Plan, Stamp, TransportConfig};
use super::redis::{Command, Persistence};

config! {
    /// `SETNX`, then `EXPIRE`; `DEL`.
    pub(super) struct Params {
        /// After how long the key expires.
        pub(super) ttl: SimDuration = SimDuration::from_secs(10),
        /// How long a client sleeps between two tries.
        pub(super) poll: SimDuration = SimDuration::from_ms(100),
        /// What the server keeps on disk.
        pub(super) persistence: Persistence = Persistence::None,
        /// How commands are sent.
        pub(super) transport: TransportConfig = TransportConfig::DEFAULT,
    }
}

impl Manner for Params {
    const ABOUT: About = About {
        name: "setnx_expire",
        summary: "SETNX, then EXPIRE; released by DEL, whoever holds it",
        source: "SETNX, EXPIRE and DEL, redis.io/commands",
        version: "redis 7.0",
    };

    const FIRST_POINT: Option<&'static str> = Some("set");

    fn persistence(&self) -> &Persistence {
        &self.persistence
    }

    fn acquire(&self, value: u64, counts: bool) -> Vec<Command> {
        vec![Command::SetNx { value, ttl: None, counts }, Command::Expire { ttl: self.ttl }]
    }

    fn valid_for(&self, _: &Hold, _: Stamp) -> Option<SimDuration> {
        None
    }

    fn release(&self, _: Option<&Hold>, _: Stamp) -> Plan {
        Plan::Send(Command::Del)
    }

    fn renewal(&self, _: &Hold) -> Option<(SimDuration, Command)> {
        None
    }

    fn poll(&self) -> Option<SimDuration> {
        Some(self.poll)
    }

    fn transport(&self) -> &TransportConfig {
        &self.transport
    }
}
