//! The columns of the matrix: one script for each fault, the same for all variants.
//!
//! What a script knows of a variant is what its servers are to each other, how long one of them is
//! down when it restarts, and how long a lock-delay is.

use super::{Base, Servers, Variant, duration};

/// A fault of the matrix.
#[derive(Debug)]
pub struct Fault {
    /// Its id: `F1c`.
    pub id: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// Whether it can happen to a variant.
    pub(super) applies: fn(&Variant, Servers) -> bool,
    pub(super) script: fn(&Variant, Servers, &Base) -> Script,
}

/// What happens in a cell.
#[derive(Debug)]
pub(super) struct Script {
    /// What the clients do: steps of `script`.
    pub(super) steps: Vec<String>,
    /// `[[fault]]` tables.
    pub(super) faults: Vec<String>,
    /// After how long a client gives a reply up, where that matters.
    pub(super) reply_timeout_ms: Option<f64>,
    /// Parameters of the variant that the fault is about, besides those that it has anyway.
    pub(super) options: &'static [(&'static str, &'static str)],
}

impl Script {
    /// A, B and C come to their sections and work for so long, in milliseconds.
    fn of(base: &Base, work: [f64; 3]) -> Self {
        let starts = [0.0, 50.0 + base.phase_ms, 60.0 + base.phase_ms];
        let steps = starts.iter().zip(work).enumerate().map(|(index, (at, work))| {
            format!(
                "client = {}, at = \"{}\", work = \"{}\"",
                index + 1,
                duration(*at),
                duration(work)
            )
        });
        Self { steps: steps.collect(), faults: Vec::new(), reply_timeout_ms: None, options: &[] }
    }

    /// Something happens at an instant, for a while where `lasts_ms` is given.
    fn at(mut self, at_ms: f64, lasts_ms: Option<f64>, action: &str) -> Self {
        let lasts = lasts(lasts_ms);
        self.faults.push(format!("at = \"{}\"{lasts}\n{action}", duration(at_ms)));
        self
    }

    /// Something happens when A comes to a point.
    fn on(mut self, point: &str, lasts_ms: Option<f64>, action: &str) -> Self {
        let on = format!("on = {{ node = \"client-1\", point = \"{point}\" }}");
        self.faults.push(format!("{on}{}\n{action}", lasts(lasts_ms)));
        self
    }

    /// Redlock's network: A reaches the first three servers, B and C, from 45 ms on, the last
    /// three. Nothing where servers do not vote by themselves.
    fn split(self, servers: Servers) -> Self {
        let Servers::Votes(count) = servers else { return self };
        let list = |from: u32, to: u32| {
            let names: Vec<String> = (from..=to).map(|n| format!("\"server-{n}\"")).collect();
            names.join(", ")
        };
        let (low, high) = (list(1, count / 2), list(count / 2 + 2, count));
        self.at(0.0, None, &format!("partition = {{ sides = [[\"client-1\"], [{high}]] }}")).at(
            45.0,
            None,
            &format!("partition = {{ sides = [[\"client-2\", \"client-3\"], [{low}]] }}"),
        )
    }
}

fn lasts(lasts_ms: Option<f64>) -> String {
    lasts_ms.map_or(String::new(), |ms| format!("\nfor = \"{}\"", duration(ms)))
}

/// The server that a fault of one server strikes: the one that leads, or of those that vote, the
/// one that both sides of the split reach.
fn struck(servers: Servers) -> String {
    match servers {
        Servers::One | Servers::Replicas(_) | Servers::Log(_) => "server-1".into(),
        Servers::Votes(count) => format!("server-{}", count / 2 + 1),
    }
}

fn always(_: &Variant, _: Servers) -> bool {
    true
}

/// What A does first to be heard of by the servers: its first messages go within this time.
const OPENING_MS: f64 = 45.0;
/// For how long after A has written a fault on its release is at work.
const RELEASING_MS: f64 = 1.0;
const PAUSE_A: &str = "pause = { target = \"client-1\" }";
const CRASH_A: &str = "crash_process = { target = \"client-1\" }";
const NORMAL: [f64; 3] = [200.0, 100.0, 100.0];

/// All columns, in the order of the table.
pub const FAULTS: &[Fault] = &[
    Fault {
        id: "F1a",
        title: "F1a pause mid-section",
        applies: always,
        script: |_, _, base| Script::of(base, NORMAL).at(100.0, Some(3.0 * base.ttl_ms), PAUSE_A),
    },
    Fault {
        id: "F1b",
        title: "F1b pause after check",
        applies: always,
        script: |_, _, base| {
            Script::of(base, NORMAL).on("checked", Some(3.0 * base.ttl_ms), PAUSE_A)
        },
    },
    Fault {
        id: "F1c",
        title: "F1c pause, resumes inside next section",
        applies: always,
        script: |variant, _, base| {
            let pause = base.ttl_ms + 100.0 + variant.lock_delay_ms;
            Script::of(base, [200.0, 700.0, 700.0]).on("checked", Some(pause), PAUSE_A)
        },
    },
    Fault {
        id: "F2",
        title: "F2 long op > TTL",
        applies: always,
        script: |_, _, base| Script::of(base, [3.0 * base.ttl_ms, 100.0, 100.0]),
    },
    Fault {
        id: "F3a",
        title: "F3a write delayed, holder alive",
        applies: always,
        script: |_, _, base| Script::of(base, NORMAL).at(0.0, None, &late_write(base)),
    },
    Fault {
        id: "F3b",
        title: "F3b write delayed, holder crashed",
        applies: always,
        script: |_, _, base| {
            Script::of(base, NORMAL).at(0.0, None, &late_write(base)).on(
                "write_sent",
                None,
                CRASH_A,
            )
        },
    },
    Fault {
        id: "F4",
        title: "F4 late release",
        applies: always,
        script: |_, _, base| {
            let late = format!(
                "link_delay = {{ from = \"client-1\", to = \"servers\", kind = \"release\", \
                 add = \"{}\" }}",
                duration(base.ttl_ms + 100.0)
            );
            Script::of(base, [200.0, 700.0, 700.0]).on("written", Some(RELEASING_MS), &late)
        },
    },
    Fault {
        id: "F5",
        title: "F5 duplicate release",
        applies: always,
        script: |_, _, base| {
            let twice = "link_duplicate = { from = \"client-1\", to = \"servers\", \
                         kind = \"release\", after = \"300ms\" }";
            Script::of(base, [200.0, 600.0, 600.0]).on("written", Some(RELEASING_MS), twice)
        },
    },
    Fault {
        id: "F5b",
        title: "F5b pause between check and DEL",
        applies: |variant, _| variant.name == "elapsed_release",
        script: |_, _, base| {
            let pause = base.ttl_ms + 300.0;
            Script::of(base, [200.0, 800.0, 800.0]).on("release_checked", Some(pause), PAUSE_A)
        },
    },
    Fault {
        id: "F6",
        title: "F6 acquire reply lost",
        applies: always,
        script: |_, _, base| Script {
            // With the connection that it came by: the client gives that up when nothing comes.
            reply_timeout_ms: Some(200.0),
            ..Script::of(base, NORMAL).at(0.0, Some(OPENING_MS), &late_grant(30.0 * base.ttl_ms))
        },
    },
    Fault {
        id: "F6b",
        title: "F6b grant reply late > TTL",
        applies: always,
        script: |_, _, base| {
            Script::of(base, [200.0, 700.0, 700.0]).at(
                0.0,
                Some(OPENING_MS),
                &late_grant(base.ttl_ms + 100.0),
            )
        },
    },
    Fault {
        id: "F7",
        title: "F7 server clock +",
        applies: always,
        script: |_, servers, base| {
            let step = format!(
                "clock_step = {{ target = \"{}\", by = \"+{}\" }}",
                struck(servers),
                duration(3.0 * base.ttl_ms)
            );
            Script::of(base, [600.0, 100.0, 100.0]).split(servers).at(100.0, None, &step)
        },
    },
    Fault {
        id: "F7b",
        title: "F7b server clock 4x fast",
        applies: always,
        script: |_, _, base| {
            let fast = "clock_rate = { target = \"servers\", rate = 4.0 }";
            Script::of(base, [900.0, 600.0, 600.0]).at(0.0, None, fast)
        },
    },
    Fault {
        id: "F8",
        title: "F8 client clock - & long op",
        applies: always,
        script: |_, _, base| {
            let step = format!(
                "clock_step = {{ target = \"client-1\", by = \"-{}\" }}",
                duration(3.0 * base.ttl_ms)
            );
            Script::of(base, [1.6 * base.ttl_ms, 100.0, 100.0]).at(400.0, None, &step)
        },
    },
    Fault {
        id: "F9",
        title: "F9 restart, memory lost",
        applies: always,
        script: |variant, servers, base| {
            let down = Some((variant.down_ms)(base));
            let crash = format!("crash_process = {{ target = \"{}\" }}", struck(servers));
            let mut script = Script::of(base, [600.0, 100.0, 100.0]);
            script.steps.pop();
            script.split(servers).at(100.0, down, &crash)
        },
    },
    Fault {
        id: "F10",
        title: "F10 failover",
        applies: |variant, servers| {
            variant.fails_over || matches!(servers, Servers::Replicas(_) | Servers::Log(_))
        },
        script: |variant, servers, base| {
            let mut script = Script::of(base, [600.0, 100.0, 100.0]);
            script.steps.pop();
            let crash = "crash_process = { target = \"server-1\" }";
            if servers == Servers::One {
                // What takes the address over has the disk.
                return script.at(100.0, Some((variant.down_ms)(base)), crash);
            }
            let cut = "partition = { sides = [[\"server-1\"], [\"server-3\"]] }";
            script.at(0.0, Some(100.0), cut).at(100.0, None, crash)
        },
    },
    Fault {
        id: "F11",
        title: "F11 holder cut from service",
        applies: always,
        script: |_, _, base| {
            let cut = "partition = { sides = [[\"client-1\"], [\"servers\"]] }";
            Script::of(base, [2.5 * base.ttl_ms, 100.0, 100.0]).at(
                100.0,
                Some(5.0 * base.ttl_ms - 100.0),
                cut,
            )
        },
    },
    Fault {
        id: "F12",
        title: "F12 holder process crash",
        applies: always,
        script: |_, _, base| Script::of(base, NORMAL).at(100.0, None, CRASH_A),
    },
    Fault {
        id: "F12b",
        title: "F12b holder host crash (no FIN)",
        applies: always,
        script: |_, _, base| {
            let crash = "crash_machine = { target = \"client-1\" }";
            Script::of(base, NORMAL).at(100.0, None, crash)
        },
    },
    Fault {
        id: "F13",
        title: "F13 minority down",
        applies: |_, servers| 1 < servers.count(),
        script: |_, servers, base| {
            let count = servers.count();
            (count / 2 + 2..=count).fold(Script::of(base, NORMAL), crash_server)
        },
    },
    Fault {
        id: "F14",
        title: "F14 majority down",
        applies: always,
        script: |_, servers, base| {
            (1..=servers.count() / 2 + 1).fold(Script::of(base, NORMAL), crash_server)
        },
    },
    Fault {
        id: "F15",
        title: "F15 waiter lease expires",
        applies: |_, servers| matches!(servers, Servers::Log(_)),
        script: |_, _, base| {
            let pause = "pause = { target = \"client-2\" }";
            Script::of(base, [2.5 * base.ttl_ms, 100.0, 100.0]).at(
                200.0,
                Some(2.0 * base.ttl_ms),
                pause,
            )
        },
    },
    Fault {
        id: "F16",
        title: "F16 crash between SETNX/EXPIRE",
        applies: |variant, _| variant.name == "setnx_expire",
        script: |_, _, base| Script::of(base, NORMAL).on("set", None, CRASH_A),
    },
    Fault {
        id: "F17",
        title: "F17 non-owner release",
        applies: always,
        script: |_, _, base| {
            // C tries for a moment, gives up, and releases all the same, as code does whose
            // `finally` does not know that the acquisition failed.
            let mut script = Script::of(base, [600.0, 100.0, 100.0]);
            script.steps.pop();
            let at = |ms: f64| duration(ms + base.phase_ms);
            script.steps.push(format!(
                "client = 3, at = \"{}\", work = \"100ms\", patience = \"{}\"",
                at(60.0),
                duration(base.poll_ms)
            ));
            script.steps.push(format!("client = 3, at = \"{}\"", at(100.0)));
            script
        },
    },
    // What follows has no verdict of the reference model, but of products or by reasoning.
    Fault {
        id: "F5c",
        title: "F5c duplicate of an earlier release",
        applies: always,
        script: |_, _, base| {
            // A is in its second section when the copy of its first release comes.
            let twice = "link_duplicate = { from = \"client-1\", to = \"servers\", \
                         kind = \"release\", after = \"300ms\" }";
            let mut script = Script::of(base, [100.0, 100.0, 100.0]);
            script.steps.truncate(1);
            script.steps.push("client = 1, at = \"0ms\", work = \"600ms\"".into());
            script.steps.extend([2, 3].map(|client| {
                let at = duration(230.0 + 10.0 * f64::from(client) + base.phase_ms);
                format!("client = {client}, at = \"{at}\", work = \"200ms\"")
            }));
            script.on("written", Some(RELEASING_MS), twice)
        },
    },
    Fault {
        id: "F18",
        title: "F18 orphan watchdog",
        applies: |variant, _| variant.name == "redisson",
        script: |_, _, base| {
            let mut script = Script {
                options: &[("orphan_renewal", "true")],
                ..Script::of(base, NORMAL).at(0.0, Some(OPENING_MS), &late_grant(60.0))
            };
            // A has gone when its grant comes, and the watchdog of its process knows nothing of
            // that.
            script.steps[0].push_str(", patience = \"30ms\"");
            script
        },
    },
    Fault {
        id: "F19",
        title: "F19 no replica connected, failover",
        applies: |_, servers| matches!(servers, Servers::Replicas(_)),
        script: |variant, servers, base| {
            let mut script = Script::of(base, [600.0, 100.0, 100.0]);
            script.steps.pop();
            if variant.name == "replicated_wait" {
                // As shipped it asks for as many as are connected.
                script.options = &[("wait.wanted", "")];
            }
            let down = (2..=servers.count()).fold(script, |script, number| {
                let crash = format!("crash_process = {{ target = \"server-{number}\" }}");
                script.at(0.0, Some(99.0), &crash)
            });
            down.at(100.0, None, "crash_process = { target = \"server-1\" }")
        },
    },
    Fault {
        id: "F20",
        title: "F20 power loss of a majority, no fsync",
        applies: |_, servers| matches!(servers, Servers::Log(_)),
        script: |_, servers, base| Script {
            options: &[
                ("log.fsync", "false"),
                ("log.election_min", "\"30ms\""),
                ("log.election_max", "\"60ms\""),
                ("log.heartbeat", "\"10ms\""),
            ],
            ..power_loss(servers, base)
        },
    },
    Fault {
        id: "F20s",
        title: "F20s power loss of a majority, as set up",
        applies: |_, servers| matches!(servers, Servers::Votes(_) | Servers::Log(_)),
        script: |_, servers, base| power_loss(servers, base),
    },
    Fault {
        id: "F21",
        title: "F21 lost while entered twice",
        applies: |variant, _| ["redisson", "replicated_wait", "zookeeper"].contains(&variant.name),
        script: |_, _, base| {
            let mut script = Script::of(base, NORMAL).at(100.0, Some(3.0 * base.ttl_ms), PAUSE_A);
            script.steps[0].push_str(", entries = 2");
            script
        },
    },
];

fn late_write(base: &Base) -> String {
    format!(
        "link_delay = {{ from = \"client-1\", to = \"resource\", kind = \"write\", add = \"{}\", \
         count = 1 }}",
        duration(3.0 * base.ttl_ms)
    )
}

fn late_grant(by_ms: f64) -> String {
    format!(
        "link_delay = {{ from = \"servers\", to = \"client-1\", kind = \"acquire_reply\", \
         add = \"{}\" }}",
        duration(by_ms)
    )
}

fn crash_server(script: Script, number: u32) -> Script {
    script.at(100.0, None, &format!("crash_process = {{ target = \"server-{number}\" }}"))
}

/// So many servers as make a majority lose their power for a moment, while A works, and with it
/// what they did not sync; the others lag behind, as in F10, and have nothing that these lack. It
/// happens when A has just heard from its service. Who leads is soon settled, as it is in products
/// whose sessions last for a minute, and B and C come then.
fn power_loss(servers: Servers, base: &Base) -> Script {
    let Base { ttl_ms, phase_ms, .. } = *base;
    let (lost_at, down) = (0.35 * ttl_ms, 5.0);
    let count = servers.count();
    let lost: Vec<String> = (1..=count / 2 + 1).map(|number| format!("server-{number}")).collect();
    let lagging: Vec<String> =
        (count / 2 + 2..=count).map(|number| format!("server-{number}")).collect();
    let mut script = Script::of(base, [0.64 * ttl_ms, 200.0, 200.0]);
    script.steps.truncate(1);
    for client in [2, 3] {
        let at = duration(0.55 * ttl_ms + 10.0 * f64::from(client - 2) + phase_ms);
        script.steps.push(format!("client = {client}, at = \"{at}\", work = \"200ms\""));
    }
    let cut = format!("partition = {{ sides = [{lost:?}, {lagging:?}] }}");
    let script = script.at(0.0, Some(lost_at + down), &cut);
    lost.iter().fold(script, |script, server| {
        script.at(lost_at, Some(down), &format!("crash_machine = {{ target = \"{server}\" }}"))
    })
}
