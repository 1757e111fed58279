//! The rows of the matrix: which variant with which parameters each id stands for.
//!
//! Ticks and other intervals of a product are scaled with its time to live: what is checked every
//! half second of a minute's lease is checked every ten milliseconds of a second's.

use super::{Base, duration};

/// A lock of the matrix.
#[derive(Debug)]
pub struct Variant {
    /// Its id: `V3`.
    pub id: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// The variant of the catalogue.
    pub name: &'static str,
    /// Its parameters in the base script; the second is the time-out of a request, in
    /// milliseconds, where the script sets one.
    params: fn(&Base, Option<f64>) -> String,
    /// How long a server of it that restarts is down, in milliseconds.
    pub(super) down_ms: fn(&Base) -> f64,
    /// For how long a lock stays free that its holder's failure freed, in milliseconds.
    pub(super) lock_delay_ms: f64,
}

impl Variant {
    /// The variant and its parameters, as a scenario has them.
    pub(super) fn choice(&self, base: &Base, reply_timeout_ms: Option<f64>) -> String {
        format!("{{ {} = {{ {} }} }}", self.name, (self.params)(base, reply_timeout_ms))
    }
}

/// All rows, in the order of the table.
pub const VARIANTS: &[Variant] = &[
    Variant {
        id: "V1",
        title: "V1 SETNX,EXPIRE,DEL",
        name: "setnx_expire",
        params: |base, timeout| {
            let (ttl, poll) = (duration(base.ttl_ms), duration(base.poll_ms));
            format!("ttl = \"{ttl}\", poll = \"{poll}\"{}", transport(timeout))
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
    },
    Variant {
        id: "V1b",
        title: "V1b SET NX PX,DEL",
        name: "set_nx_del",
        params: |base, timeout| {
            let (ttl, poll) = (duration(base.ttl_ms), duration(base.poll_ms));
            format!("ttl = \"{ttl}\", poll = \"{poll}\"{}", transport(timeout))
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
    },
    Variant {
        id: "V2",
        title: "V2 local-elapsed DEL",
        name: "elapsed_release",
        params: |base, timeout| {
            let (ttl, poll) = (duration(base.ttl_ms), duration(base.poll_ms));
            format!("ttl = \"{ttl}\", poll = \"{poll}\"{}", transport(timeout))
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
    },
    Variant {
        id: "V3",
        title: "V3 redis-py token",
        name: "token",
        params: |base, timeout| {
            let (ttl, sleep) = (duration(base.ttl_ms), duration(base.poll_ms));
            format!("ttl = \"{ttl}\", sleep = \"{sleep}\"{}", transport(timeout))
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
    },
];

fn transport(timeout_ms: Option<f64>) -> String {
    timeout_ms
        .map_or(String::new(), |ms| format!(", transport = {{ timeout = \"{}\" }}", duration(ms)))
}
