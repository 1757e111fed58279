//! The columns of the matrix: one script for each fault, the same for all variants.
//!
//! Times are in seconds. The schedules are those of the standard: forty messages of 0.2 s for two
//! consumers, of which the second is struck; a stream of messages across a restart; and so on.

use crate::kernel::time::SimDuration;

use super::{Code, Variant};

/// A fault of the matrix.
#[derive(Debug)]
pub struct Fault {
    /// Its id: `F1`.
    pub id: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// Whether it can happen to a variant.
    pub(super) applies: fn(&Variant) -> bool,
    /// The codes that it asks for.
    pub(super) asks: &'static [Code],
    pub(super) script: fn(&Actors) -> Script,
}

/// What a script knows of a variant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actors {
    /// How many brokers there are.
    pub(super) brokers: u32,
    /// Which broker leads, from 1.
    pub(super) leader: u32,
    /// What is killed where a worker is killed.
    pub(super) killed: Killed,
    /// The point that a consumer comes to just before it acknowledges, and which time of it is meant.
    pub(super) before_ack: (&'static str, u32),
    /// How long a message stays with a consumer that is silent.
    pub(super) silence_s: f64,
    /// How long a message may be worked on.
    pub(super) patience_s: f64,
    /// What the poison does.
    pub(super) poison: &'static str,
}

/// What is killed where a worker is killed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Killed {
    /// The process that speaks with the broker, and all of it.
    Process,
    /// A process of its pool.
    Child,
}

/// What happens in a cell.
#[derive(Clone, Debug)]
pub(super) struct Script {
    pub(super) horizon: String,
    pub(super) drain: String,
    pub(super) producers: u32,
    pub(super) load: String,
    /// More about the producers.
    pub(super) callers: String,
    pub(super) consumers: u32,
    pub(super) service: String,
    /// More about the messages.
    pub(super) messages: String,
    /// `[[fault]]` tables that are there without the fault too.
    pub(super) setting: Vec<String>,
    /// `[[fault]]` tables.
    pub(super) faults: Vec<String>,
    /// How much later than without the faults a message may come before it counts as delayed; none
    /// where only what never comes counts.
    pub(super) grace: Option<SimDuration>,
}

impl Actors {
    /// The name of a broker, from 1.
    fn broker(&self, number: u32) -> String {
        if self.brokers == 1 { "broker".into() } else { format!("broker-{number}") }
    }

    pub(super) fn leader(&self) -> String {
        self.broker(self.leader)
    }
}

impl Script {
    /// Forty messages of 0.2 s at once, for two consumers; and time for what takes long.
    fn forty() -> Self {
        Self {
            horizon: "4ms".into(),
            drain: "8000s".into(),
            producers: 1,
            load: "{ open = { constant = \"10000/s\" } }".into(),
            callers: String::new(),
            consumers: 2,
            service: "\"200ms\"".into(),
            messages: String::new(),
            setting: Vec::new(),
            faults: Vec::new(),
            grace: Some(GRACE),
        }
    }

    /// A message now and then, so that no queue builds up.
    pub(super) fn trickle(rate: &str, horizon_s: f64, drain_s: f64) -> Self {
        Self {
            horizon: duration(horizon_s),
            drain: duration(drain_s),
            load: format!("{{ open = {{ constant = \"{rate}\" }} }}"),
            ..Self::forty()
        }
    }

    /// A stream of messages across a restart of the brokers, with consumers that come after it.
    fn stream() -> Self {
        let mut script = Self::trickle("200/s", 6.0, 400.0);
        script.service = "\"1ms\"".into();
        script.setting.push(at(0.0, Some(4.6), "pause = { target = \"consumers\" }"));
        script
    }

    pub(super) fn with(mut self, fault: String) -> Self {
        self.faults.push(fault);
        self
    }
}

/// A fault at an instant, for a while where that is given.
pub(super) fn at(at_s: f64, lasts_s: Option<f64>, action: &str) -> String {
    format!("at = \"{}\"{}\n{action}", duration(at_s), lasts(lasts_s))
}

/// A fault when a node comes to a point.
pub(super) fn on(
    node: &str,
    point: &str,
    count: u32,
    lasts_s: Option<f64>,
    action: &str,
) -> String {
    let on = format!("on = {{ node = \"{node}\", point = \"{point}\", count = {count} }}");
    format!("{on}{}\n{action}", lasts(lasts_s))
}

fn lasts(lasts_s: Option<f64>) -> String {
    lasts_s.map_or(String::new(), |s| format!("\nfor = \"{}\"", duration(s)))
}

/// Seconds as a scenario writes them.
pub(super) fn duration(s: f64) -> String {
    format!("{}ms", (s * 1000.0 + 0.5) as u64)
}

/// Whom most scripts strike: the second consumer, so that what it has is later than what the first
/// has.
pub(super) const STRUCK: &str = "consumer-2";

pub(super) fn kill(killed: Killed) -> String {
    let action = match killed {
        Killed::Process => "crash_process",
        Killed::Child => "kill_child",
    };
    format!("{action} = {{ target = \"{STRUCK}\" }}")
}

/// A broken connection between the producer and the brokers, when the fifth message is stored and
/// its producer does not know it.
fn reset_when_stored(actors: &Actors) -> String {
    on(&actors.leader(), "stored", 5, None, RESET)
}

pub(super) const RESET: &str = "link_reset = { from = \"producer\", to = \"brokers\" }";

fn always(_: &Variant) -> bool {
    true
}

/// Later than this is delayed: less than any lease, more than it takes to work off forty messages
/// with one consumer less.
const GRACE: SimDuration = SimDuration::from_secs(15);

/// What comes within so long of a restart is not delayed beyond it.
const GRACE_OF_RESTART: SimDuration = SimDuration::from_ms(1500);

const ALL: &[Code] = &Code::ALL;

/// How often a consumer leaves and one joins under churn, in seconds.
const CHURN_S: f64 = 2.0;

/// A consumer leaves every two seconds, and joins a second later, for a minute.
pub(super) fn churn(mut script: Script, leave: fn(&str) -> (String, Option<f64>)) -> Script {
    for turn in 1..30_u32 {
        let consumer = format!("consumer-{}", turn % 3 + 1);
        let left_s = f64::from(turn) * CHURN_S;
        let (action, lasts_s) = leave(&consumer);
        script.faults.push(at(left_s, lasts_s, &action));
        if lasts_s.is_none() {
            let join = format!("crash_process = {{ target = \"{consumer}\" }}");
            script.faults.push(at(left_s + 1.0, Some(0.001), &join));
        }
    }
    script
}

/// In good order.
pub(super) fn terminate(consumer: &str) -> (String, Option<f64>) {
    (format!("terminate = {{ target = \"{consumer}\" }}"), None)
}

/// Killed.
pub(super) fn crash(consumer: &str) -> (String, Option<f64>) {
    (format!("crash_process = {{ target = \"{consumer}\" }}"), Some(1.0))
}

pub(super) fn churning() -> Script {
    let mut script = Script::trickle("12/s", 60.0, 30.0);
    script.consumers = 3;
    script
}

/// All columns, in the order of the table.
pub const FAULTS: &[Fault] = &[
    Fault {
        id: "F1",
        title: "worker killed mid-task",
        applies: always,
        asks: ALL,
        script: |actors| Script::forty().with(on(STRUCK, "started", 6, None, &kill(actors.killed))),
    },
    Fault {
        id: "F2",
        title: "worker killed after effect, before ack",
        applies: always,
        asks: ALL,
        script: |actors| {
            let (point, count) = actors.before_ack;
            Script::forty().with(on(STRUCK, point, count, None, &kill(actors.killed)))
        },
    },
    Fault {
        id: "F3",
        title: "broker process SIGKILL + restart",
        applies: |variant| !variant.is_managed,
        asks: ALL,
        script: |actors| {
            let crash = format!("crash_process = {{ target = \"{}\" }}", actors.broker(1));
            let script = Script::stream().with(at(1.5, Some(3.0), &crash));
            Script { grace: Some(GRACE_OF_RESTART), ..script }
        },
    },
    Fault {
        id: "F4",
        title: "power loss (unsynced pages gone)",
        applies: |variant| !variant.is_managed,
        asks: &[Code::Lost],
        script: |_| {
            let crash = "crash_machine = { target = \"brokers\" }";
            Script { grace: None, ..Script::stream().with(at(1.5, Some(3.0), crash)) }
        },
    },
    Fault {
        id: "F5",
        title: "publish confirm lost",
        applies: |variant| variant.retries,
        asks: ALL,
        script: |actors| Script::trickle("2/s", 10.0, 900.0).with(reset_when_stored(actors)),
    },
    Fault {
        id: "F6",
        title: "broker-broker partition",
        applies: always,
        asks: ALL,
        script: |actors| {
            let mut script = Script::trickle("5/s", 80.0, 300.0);
            script.producers = 2;
            script.service = "\"20ms\"".into();
            let leader = actors.leader();
            let others: Vec<String> = (1..=actors.brokers)
                .filter(|&number| number != actors.leader)
                .map(|number| format!("\"{}\", ", actors.broker(number)))
                .collect();
            let cut = format!(
                "partition = {{ sides = [[\"{leader}\", \"producer-1\"], [{}\"producer-2\", \
                 \"consumers\"]] }}",
                others.concat()
            );
            script.with(at(10.0, Some(60.0), &cut))
        },
    },
    Fault {
        id: "F7",
        title: "zombie consumer (pause > lease)",
        applies: always,
        asks: &[Code::Lost, Code::Duplicate, Code::Redelivered, Code::Reordered],
        script: |actors| {
            let pause_s = 1.5 * actors.silence_s;
            let pause = format!("pause = {{ target = \"{STRUCK}\" }}");
            let mut script = Script::trickle("2/s", 20.0, 2.0 * pause_s + 100.0);
            script.grace = None;
            script.with(on(STRUCK, "started", 3, Some(pause_s), &pause))
        },
    },
    Fault {
        id: "F8",
        title: "task longer than lease",
        applies: always,
        asks: ALL,
        script: |actors| {
            let long_s = 3.3 * actors.patience_s;
            let mut script = Script::trickle("2/s", 10.0, 4.0 * long_s + 100.0);
            let service = duration(long_s);
            script.messages = format!(", long = {{ numbers = [3], service = \"{service}\" }}");
            script.grace = None;
            script
        },
    },
    Fault {
        id: "F9",
        title: "consumer churn / rebalance",
        applies: always,
        asks: ALL,
        script: |_| churn(churning(), terminate),
    },
    Fault {
        id: "F10",
        title: "poison message",
        applies: always,
        asks: ALL,
        script: |actors| {
            let mut script = Script::trickle("1/s", 10.0, 500.0);
            let effect = actors.poison;
            script.messages = format!(", poison = {{ numbers = [9], effect = \"{effect}\" }}");
            script.grace = None;
            script
        },
    },
    Fault {
        id: "F11",
        title: "overload, bounded/retained queue",
        applies: always,
        asks: ALL,
        script: |_| {
            let mut script = Script::trickle("12.5/s", 60.0, 15.0);
            script.consumers = 1;
            script.service = "\"100ms\"".into();
            script.setting.push(at(0.0, Some(30.0), "pause = { target = \"consumer\" }"));
            script.grace = None;
            script
        },
    },
    Fault {
        id: "F12",
        title: "overload + producer retries",
        applies: always,
        asks: &[Code::Stalled],
        script: |_| {
            let mut script = Script::trickle("1/s", 3000.0, 60.0);
            script.load = "{ open = { poisson = \"0.7/s\" } }".into();
            script.callers =
                ", answer = \"result\", retry = { timeout = \"30s\", retries = 1 }".into();
            script.consumers = 1;
            script.service = "{ exponential = { mean = \"1s\" } }".into();
            script.with(at(300.0, Some(60.0), "pause = { target = \"consumer\" }"))
        },
    },
];
