//! One command to acquire, `SET NX PX`, and `DEL` to release: the key always expires, and anyone
//! deletes it.

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;

use super::polling::{Hold, Manner, Plan, Stamp, TransportConfig};
use super::redis::{Command, Persistence};

config! {
    /// `SET NX PX`; `DEL`.
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
        name: "set_nx_del",
        summary: "SET NX PX; released by DEL, whoever holds it",
        source: "SET and DEL, redis.io/commands",
        version: "redis 7.0",
    };

    const FIRST_POINT: Option<&'static str> = None;

    fn persistence(&self) -> &Persistence {
        &self.persistence
    }

    fn acquire(&self, value: u64, counts: bool) -> Vec<Command> {
        vec![Command::SetNx { value, ttl: Some(self.ttl), counts }]
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
