//! A key with an expiry, deleted by whoever thinks that it is still its own: `SET NX PX` to
//! acquire; to release, `DEL`, if by the client's own clock less than the expiry has passed since
//! it acquired.
//!
//! The check keeps a holder that was paused during its work from deleting the next holder's key.
//! It does not hold for a pause between the check and the `DEL`, for a `DEL` that is late or comes
//! twice, nor for a clock that is set back; and it does nothing for what the section writes. Taken
//! after the reply, the start is late by up to the reply's delay, and the check as much too kind.

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;

use super::polling::{Hold, Manner, Plan, Stamp, TransportConfig};
use super::redis::{Command, Persistence};

config! {
    /// A key with an expiry, deleted if the client's clock says that it has not expired.
    pub(super) struct Params {
        /// After how long the key expires.
        pub(super) ttl: SimDuration = SimDuration::from_secs(10),
        /// How long a client sleeps between two tries.
        pub(super) poll: SimDuration = SimDuration::from_ms(100),
        /// The clock that a client measures with.
        pub(super) clock: Clock = Clock::Wall,
        /// From when it measures.
        pub(super) since: Since = Since::Sending,
        /// What the server keeps on disk.
        pub(super) persistence: Persistence = Persistence::None,
        /// How commands are sent.
        pub(super) transport: TransportConfig = TransportConfig::DEFAULT,
    }
}

config! {
    /// A clock.
    pub(super) enum Clock {
        /// The wall clock, which can be set: `time.time()`.
        "wall" => Wall,
        /// A clock that only goes forward: `time.monotonic()`.
        "monotonic" => Monotonic,
    }
}

config! {
    /// When a client notes that it acquired.
    pub(super) enum Since {
        /// Before it sends the request: the key cannot be older than it thinks.
        "sending" => Sending,
        /// When the reply comes.
        "reply" => Reply,
    }
}

impl Clock {
    /// How much later `to` is than `from` on this clock, in nanoseconds.
    pub(super) fn between(&self, from: Stamp, to: Stamp) -> i64 {
        match self {
            Self::Wall => to.wall.0.saturating_sub(from.wall.0),
            Self::Monotonic => to.monotonic.since(from.monotonic).as_ns() as i64,
        }
    }
}

impl Params {
    /// How much of the time to live is left, in nanoseconds, as far as the client can tell.
    fn left_ns(&self, hold: &Hold, now: Stamp) -> i64 {
        let start = match self.since {
            Since::Sending => hold.asked,
            Since::Reply => hold.answered.unwrap_or(hold.asked),
        };
        self.ttl.as_ns() as i64 - self.clock.between(start, now)
    }
}

impl Manner for Params {
    const ABOUT: About = About {
        name: "elapsed_release",
        summary: "key with an expiry, deleted if the client's clock says it has not expired",
        source: "SET NX PX and DEL, redis.io/commands",
        version: "redis 7.0",
    };
    const FIRST_POINT: Option<&'static str> = None;

    fn persistence(&self) -> &Persistence {
        &self.persistence
    }

    fn acquire(&self, value: u64, counts: bool) -> Vec<Command> {
        vec![Command::SetNx { value, ttl: Some(self.ttl), counts }]
    }

    fn valid_for(&self, hold: &Hold, now: Stamp) -> Option<SimDuration> {
        Some(SimDuration::from_ns(self.left_ns(hold, now).max(0).unsigned_abs()))
    }

    fn release(&self, hold: Option<&Hold>, now: Stamp) -> Plan {
        match hold {
            // `clock() - t0 < expire`; `t0` is what the last attempt left there.
            Some(hold) if 0 < self.left_ns(hold, now) => Plan::SendChecked(Command::Del),
            Some(_) => Plan::Skip,
            None => Plan::NotHeld,
        }
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
