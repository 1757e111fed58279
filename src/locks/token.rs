//! redis-py's `Lock`: a key with an expiry whose value is the holder's own, deleted only by whoever
//! knows that value.
//!
//! redis/lock.py, redis-py 8.1.0 (commit 34817ce). A new random token for each acquisition;
//! `SET name token NX PX timeout`; on refusal, sleep and try again; to release, forget the token
//! first, then a script that compares and deletes. The holder is not told when the key expires,
//! nothing renews it by itself, nobody is woken up, and waiters are served in no order. A command
//! whose reply is lost is sent again by the transport, and then meets its own key.

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;

use super::polling::{Hold, Manner, Plan, Stamp, TransportConfig};
use super::redis::{Command, Persistence};

config! {
    /// redis-py's `Lock`.
    pub(super) struct Params {
        /// After how long the key expires (`timeout`); `"0s"` is redis-py's default: never.
        pub(super) ttl: SimDuration = SimDuration::from_secs(10),
        /// How long a client sleeps between two tries (`sleep`).
        pub(super) sleep: SimDuration = SimDuration::from_ms(100),
        /// Whether a client tries more than once.
        pub(super) blocking: bool = true,
        /// How a holder prolongs the key by `extend()`; left out, it does not.
        pub(super) extend: Option<ExtendConfig> = None,
        /// What the server keeps on disk.
        pub(super) persistence: Persistence = Persistence::None,
        /// How commands are sent.
        pub(super) transport: TransportConfig = TransportConfig::DEFAULT,
    }
}

config! {
    /// How a holder calls `extend()`.
    pub(super) struct ExtendConfig {
        /// How often.
        pub(super) every: SimDuration,
        /// By how much (`additional_time`).
        pub(super) by: SimDuration,
        /// Whether the key then lives that long from now, instead of that much longer
        /// (`replace_ttl`).
        pub(super) replace_ttl: bool = false,
    }
}

impl Manner for Params {
    const ABOUT: About = About {
        name: "token",
        summary: "redis-py's Lock: key with an expiry and the holder's token, polled for",
        source: "redis/lock.py",
        version: "redis-py 8.1.0",
    };
    const FIRST_POINT: Option<&'static str> = None;

    fn persistence(&self) -> &Persistence {
        &self.persistence
    }

    fn acquire(&self, value: u64, counts: bool) -> Vec<Command> {
        let ttl = (self.ttl != SimDuration::ZERO).then_some(self.ttl);
        vec![Command::SetNx { value, ttl, counts }]
    }

    fn valid_for(&self, _: &Hold, _: Stamp) -> Option<SimDuration> {
        None
    }

    fn release(&self, hold: Option<&Hold>, _: Stamp) -> Plan {
        match hold {
            Some(hold) if hold.is_held => {
                Plan::Send(Command::CompareAndDelete { value: hold.value })
            }
            // `LockError`: there is no token any more.
            Some(_) | None => Plan::NotHeld,
        }
    }

    fn renewal(&self, hold: &Hold) -> Option<(SimDuration, Command)> {
        let extend = self.extend.as_ref()?;
        let (value, ttl, replaces) = (hold.value, extend.by, extend.replace_ttl);
        Some((extend.every, Command::Extend { value, ttl, replaces }))
    }

    fn poll(&self) -> Option<SimDuration> {
        self.blocking.then_some(self.sleep)
    }

    fn transport(&self) -> &TransportConfig {
        &self.transport
    }
}
