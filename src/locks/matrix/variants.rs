//! The rows of the matrix: which variant with which parameters each id stands for.
//!
//! Ticks and other intervals of a product are scaled with its time to live: what is checked every
//! half second of a minute's lease is checked every ten milliseconds of a second's.

use super::{Base, CATALOGUE, Entry, duration};

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
    /// Whether another server takes its address over when it is lost.
    pub(super) fails_over: bool,
    /// The lock itself, where it is not in the catalogue.
    own: Option<&'static Entry>,
}

impl Variant {
    /// A row for a lock that is not in the catalogue: by its id, what tables call it, and its
    /// parameters in the base script. The second argument of `params` is the time-out of a request
    /// in milliseconds, where a script sets one.
    pub const fn of_own(
        id: &'static str,
        title: &'static str,
        entry: &'static Entry,
        params: fn(&Base, Option<f64>) -> String,
    ) -> Self {
        Self {
            id,
            title,
            name: entry.about.name,
            params,
            down_ms: |_| 5.0,
            lock_delay_ms: 0.0,
            fails_over: false,
            own: Some(entry),
        }
    }

    /// The row of the catalogue that it plays.
    pub(super) fn entry(&self) -> &'static Entry {
        self.own.unwrap_or_else(|| {
            let mut found = CATALOGUE.iter().filter(|entry| entry.about.name == self.name);
            found.next().expect("a variant of the matrix is in the catalogue")
        })
    }

    /// The variant and its parameters in the base script, as a scenario has them.
    pub fn choice(&self, base: &Base) -> String {
        self.choice_with(base, None, &[])
    }

    /// The same with what a script sets: the time-out of a request, in milliseconds, and further
    /// parameters, `log.fsync` for the field `fsync` of the table `log`.
    pub(super) fn choice_with(
        &self,
        base: &Base,
        reply_timeout_ms: Option<f64>,
        options: &[(&str, &str)],
    ) -> String {
        let mut params = (self.params)(base, reply_timeout_ms);
        for (path, value) in options {
            params = with_option(&params, path, value);
        }
        let params = if params.is_empty() { String::new() } else { format!("{params} ") };
        format!("{{ {} = {{ {params}}} }}", self.name)
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
        fails_over: false,
        own: None,
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
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V2",
        title: "V2 local-elapsed DEL",
        name: "elapsed_release",
        params: |base, timeout| {
            let (ttl, poll) = (duration(base.ttl_ms), duration(base.poll_ms));
            // From when the reply came, as code has it that notes the time once it holds the
            // lock.
            format!("ttl = \"{ttl}\", poll = \"{poll}\", since = \"reply\"{}", transport(timeout))
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
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
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V4",
        title: "V4 Redisson watchdog",
        name: "redisson",
        params: redisson,
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V5",
        title: "V5 V3+async replica",
        name: "replicated",
        params: |base, timeout| {
            let (ttl, sleep) = (duration(base.ttl_ms), duration(base.poll_ms));
            let lock = format!("ttl = \"{ttl}\", sleep = \"{sleep}\"{}", transport(timeout));
            format!("lock = {{ {lock} }}, replication = {{ {SENTINEL} }}")
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V5w",
        title: "V5w Redisson WAIT>=1",
        name: "replicated_wait",
        params: |base, timeout| {
            let (lock, wait) = (redisson(base, timeout), duration(base.ttl_ms));
            format!(
                "lock = {{ {lock} }}, replication = {{ {SENTINEL} }}, wait = {{ wanted = 1, \
                 timeout = \"{wait}\" }}"
            )
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V6",
        title: "V6 Redlock",
        name: "redlock",
        params: |base, _| redlock(base, 0.0),
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V6d",
        title: "V6d Redlock delayed",
        name: "redlock",
        params: |base, _| redlock(base, 1.02 * base.ttl_ms),
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V7u",
        title: "V7u ZK, events ignored",
        name: "zookeeper",
        params: |base, timeout| zookeeper(base, timeout, "ignore"),
        down_ms: |_| LEADER_DOWN_MS,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V7",
        title: "V7 ZK/Curator aware",
        name: "zookeeper",
        params: |base, timeout| zookeeper(base, timeout, "stop"),
        down_ms: |_| LEADER_DOWN_MS,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V8x",
        title: "V8x etcd<=3.4 lock RPC",
        name: "etcd",
        params: |base, timeout| etcd(base, timeout, "3.4"),
        down_ms: |_| LEADER_DOWN_MS,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V8",
        title: "V8 etcd>=3.5",
        name: "etcd",
        params: |base, timeout| etcd(base, timeout, "3.5"),
        down_ms: |_| LEADER_DOWN_MS,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V9",
        title: "V9 Chubby lock-delay",
        name: "chubby",
        params: |base, timeout| {
            // A session outlives its client by up to two leases.
            let (lease, before) = (duration(base.ttl_ms / 2.0), duration(base.ttl_ms / 10.0));
            let (delay, grace) = (duration(LOCK_DELAY_MS), duration(4.0 * base.ttl_ms));
            format!(
                "lease = \"{lease}\", answers_before = \"{before}\", lock_delay = \"{delay}\", \
                 grace = \"{grace}\", {}",
                ensemble(base, timeout)
            )
        },
        down_ms: |_| LEADER_DOWN_MS,
        lock_delay_ms: LOCK_DELAY_MS,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V10",
        title: "V10 Raft no expiry",
        name: "raft",
        params: ensemble,
        down_ms: |_| LEADER_DOWN_MS,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
    Variant {
        id: "V11",
        title: "V11 PG session lock",
        name: "pg_advisory",
        params: |_, timeout| match timeout {
            Some(ms) => format!("timeout = \"{}\"", duration(ms)),
            None => String::new(),
        },
        down_ms: |_| 50.0,
        lock_delay_ms: 0.0,
        fails_over: true,
        own: None,
    },
    Variant {
        id: "V11c",
        title: "V11c PG lease table",
        name: "lease_table",
        params: |base, timeout| {
            let (ttl, poll) = (duration(base.ttl_ms), duration(base.poll_ms));
            let timeout = timeout.map(|ms| format!(", timeout = \"{}\"", duration(ms)));
            format!("ttl = \"{ttl}\", poll = \"{poll}\"{}", timeout.unwrap_or_default())
        },
        down_ms: |_| 50.0,
        lock_delay_ms: 0.0,
        fails_over: true,
        own: None,
    },
    Variant {
        id: "V12",
        title: "V12 majority no clock",
        name: "majority",
        params: |base, timeout| {
            let (least, most) = (duration(base.poll_ms), duration(2.0 * base.poll_ms));
            let timeout = duration(timeout.unwrap_or(2.5 * base.poll_ms));
            format!("retry_min = \"{least}\", retry_max = \"{most}\", timeout = \"{timeout}\"")
        },
        down_ms: |_| 5.0,
        lock_delay_ms: 0.0,
        fails_over: false,
        own: None,
    },
];

/// For how long the leader of a log is gone.
const LEADER_DOWN_MS: f64 = 300.0;
const LOCK_DELAY_MS: f64 = 1000.0;

/// What all services on a log have in common: who leads is settled within a time to live.
fn ensemble(base: &Base, timeout_ms: Option<f64>) -> String {
    let (timeout, pause) = (duration(timeout_ms.unwrap_or(base.ttl_ms)), duration(base.poll_ms));
    format!(
        "timeout = \"{timeout}\", pause = \"{pause}\", log = {{ election_min = \"150ms\", \
         election_max = \"300ms\", heartbeat = \"50ms\" }}"
    )
}

fn zookeeper(base: &Base, timeout_ms: Option<f64>, on_suspended: &str) -> String {
    let (session, tick) = (duration(base.ttl_ms), duration(base.ttl_ms / 20.0));
    format!(
        "session_timeout = \"{session}\", tick = \"{tick}\", on_suspended = \"{on_suspended}\", \
         {}",
        ensemble(base, timeout_ms)
    )
}

fn etcd(base: &Base, timeout_ms: Option<f64>, version: &str) -> String {
    let (ttl, look) = (duration(base.ttl_ms), duration(base.ttl_ms / 100.0));
    format!(
        "version = \"{version}\", ttl = \"{ttl}\", deadline = \"exact\", server_look = \"{look}\", \
         {}",
        ensemble(base, timeout_ms)
    )
}

/// `params` with one field set, in place of what it was there; one that is set to nothing is left
/// out, and is what it is by default. The field of a table, `log.fsync`, goes into the last table of
/// that name: the variant's own, not one of a part of it. Such a table holds no others.
fn with_option(params: &str, path: &str, value: &str) -> String {
    let (table, field) = path.rsplit_once('.').map_or((None, path), |(t, f)| (Some(t), f));
    let set = |fields: &str| {
        let of_field = format!("{field} = ");
        let others = fields.split(", ").filter(|other| !other.is_empty());
        let mut fields: Vec<String> =
            others.filter(|other| !other.starts_with(&of_field)).map(str::to_owned).collect();
        if !value.is_empty() {
            fields.push(format!("{of_field}{value}"));
        }
        fields.join(", ")
    };
    let Some(table) = table else { return set(params) };
    let open = format!("{table} = {{ ");
    let parts =
        params.rsplit_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(" }")?)));
    match parts {
        Some((before, (fields, after))) => format!("{before}{open}{} }}{after}", set(fields)),
        None if params.is_empty() => format!("{open}{} }}", set("")),
        None => format!("{params}, {open}{} }}", set("")),
    }
}

fn transport(timeout_ms: Option<f64>) -> String {
    timeout_ms
        .map_or(String::new(), |ms| format!(", transport = {{ timeout = \"{}\" }}", duration(ms)))
}

/// A sentinel that acts within a time to live, and prefers the third server.
const SENTINEL: &str = "ping = \"10ms\", down_after = \"20ms\", priorities = [100, 100, 10]";

fn redisson(base: &Base, timeout_ms: Option<f64>) -> String {
    let (lease, poll) = (duration(base.ttl_ms), duration(base.poll_ms));
    let most = duration(2.0 * base.poll_ms);
    let timeout = timeout_ms.map(|ms| format!(", timeout = \"{}\"", duration(ms)));
    format!(
        "lease = \"{lease}\", wait = {{ poll = \"{poll}\" }}, transport = {{ delay = \"{poll}\", \
         delay_max = \"{most}\"{} }}",
        timeout.unwrap_or_default()
    )
}

fn redlock(base: &Base, restart_delay_ms: f64) -> String {
    let (ttl, least) = (duration(base.ttl_ms), duration(base.poll_ms));
    let (most, delay) = (duration(2.0 * base.poll_ms), duration(restart_delay_ms));
    format!(
        "ttl = \"{ttl}\", retry_min = \"{least}\", retry_max = \"{most}\", \
         restart_delay = \"{delay}\""
    )
}

#[cfg(test)]
mod tests {
    use super::with_option;

    #[test]
    fn an_option_replaces_what_was_there_or_joins_it() {
        let params = "a = \"1s\", log = { b = 1, c = 2 }, d = 3";
        for (path, value, expected) in [
            ("log.b", "7", "a = \"1s\", log = { c = 2, b = 7 }, d = 3"),
            ("log.e", "7", "a = \"1s\", log = { b = 1, c = 2, e = 7 }, d = 3"),
            ("log.c", "", "a = \"1s\", log = { b = 1 }, d = 3"),
            ("new.e", "7", "a = \"1s\", log = { b = 1, c = 2 }, d = 3, new = { e = 7 }"),
            ("d", "7", "a = \"1s\", log = { b = 1, c = 2 }, d = 7"),
        ] {
            assert_eq!(with_option(params, path, value), expected);
        }
        assert_eq!(with_option("", "log.b", "7"), "log = { b = 7 }");
        let parts = "lock = { wait = { poll = 1 } }, wait = { wanted = 1, timeout = 2 }";
        let without = "lock = { wait = { poll = 1 } }, wait = { timeout = 2 }";
        assert_eq!(with_option(parts, "wait.wanted", ""), without);
    }
}
