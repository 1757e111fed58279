//! Schedules whose outcome is known to the message: counts and orders of delivery that were observed
//! on the products.

use std::collections::BTreeMap;

use crate::config::Problem;
use crate::kernel::time::SimDuration;
use crate::queues::LogEvent;

use super::{Indication, Outcome, play};

/// What one schedule must bring.
#[derive(Debug)]
pub struct Rule {
    /// The rule that it is an instance of: `r3`.
    pub id: &'static str,
    /// What is shown.
    pub what: &'static str,
    /// What it must be.
    pub expected: &'static str,
    scenario: &'static str,
    show: fn(&Outcome) -> String,
}

impl Rule {
    /// Plays the schedule and shows what came of it.
    ///
    /// # Errors
    /// With what is wrong with its scenario: a mistake of ours.
    pub fn compute(&self) -> Result<String, Vec<Problem>> {
        Ok((self.show)(&play(self.scenario, None)?))
    }
}

/// What each consumer received, in its order: `4 5 6 7 0R 1R`.
fn received(outcome: &Outcome) -> BTreeMap<u32, String> {
    let mut by_node: BTreeMap<u32, String> = BTreeMap::new();
    for heard in outcome.judge.history() {
        if let Indication::Received { serial, is_redelivered } = heard.told {
            let line = by_node.entry(heard.node.0).or_default();
            let (gap, flag) =
                (if line.is_empty() { "" } else { " " }, if is_redelivered { "R" } else { "" });
            line.push_str(&format!("{gap}{}{flag}", serial.0));
        }
    }
    by_node
}

/// What the last consumer received.
fn last_received(outcome: &Outcome) -> String {
    received(outcome).into_values().next_back().unwrap_or_default()
}

/// `lost 1, redelivered 0, repeated effects 0`.
fn counts(outcome: &Outcome) -> String {
    let verdict = &outcome.verdict;
    format!(
        "lost {}, redelivered {}, repeated effects {}",
        verdict.lost(),
        verdict.duplicate_deliveries,
        verdict.duplicate_effects
    )
}

fn reorder_distance(outcome: &Outcome) -> String {
    outcome.judge.order.distance_max.to_string()
}

/// What took effect, in order.
fn effects(outcome: &Outcome) -> String {
    let done = outcome.judge.history().iter().filter_map(|heard| match heard.told {
        Indication::Done(serial) => Some(serial.0.to_string()),
        _ => None,
    });
    done.collect::<Vec<_>>().join(" ")
}

/// How many were refused, and what took effect.
fn refused_and_effects(outcome: &Outcome) -> String {
    format!("refused {}; {}", outcome.verdict.refused, effects(outcome))
}

/// How often a partition of a log was given to a consumer, after the first time: once in each
/// generation of an eager group.
fn rebalances(outcome: &Outcome) -> String {
    let given = outcome.judge.history().iter();
    let given = given
        .filter(|heard| matches!(heard.told, Indication::Log(LogEvent::Rewound { log: 0, .. })));
    given.count().saturating_sub(1).to_string()
}

/// The deliveries of message 0.
fn deliveries_of_first(outcome: &Outcome) -> String {
    let count =
        outcome.judge.history().iter().filter(
            |heard| matches!(heard.told, Indication::Received { serial, .. } if serial.0 == 0),
        );
    count.count().to_string()
}

/// How many times message 0 is delivered until it first takes effect.
fn deliveries_until_first_effect(outcome: &Outcome) -> String {
    let until = outcome
        .judge
        .history()
        .iter()
        .take_while(|heard| !matches!(heard.told, Indication::Done(serial) if serial.0 == 0));
    let count = until
        .filter(|heard| matches!(heard.told, Indication::Received { serial, .. } if serial.0 == 0));
    count.count().to_string()
}

/// What was put back: how many, how long after its delivery, and whether it was served before what
/// was new and still to come.
fn restored(outcome: &Outcome) -> String {
    let mut first = BTreeMap::new();
    let mut delays_s = Vec::new();
    let mut is_again = Vec::new();
    for heard in outcome.judge.history() {
        match heard.told {
            Indication::Received { serial, .. } => {
                is_again.push(first.insert(serial, heard.at).is_some());
            }
            Indication::Lapsed(token) => {
                let since = first.get(&token.serial).map(|&at| heard.at.since(at));
                delays_s.extend(since.map(SimDuration::as_secs_f64));
            }
            _ => (),
        }
    }
    let is_in_time = delays_s.iter().all(|delay| (5.0..=6.0).contains(delay));
    let from = is_again.iter().position(|&again| again).unwrap_or(0);
    let (together, rest) = is_again[from..].split_at(delays_s.len());
    let is_head = together.iter().all(|&again| again) && !rest.is_empty();
    let when = if is_in_time { "within 5 s to 6 s" } else { "at other times" };
    let order = if is_head { "before what is new" } else { "not before what is new" };
    format!("{} {when}, {order}", delays_s.len())
}

/// How often work was begun.
fn starts(outcome: &Outcome) -> String {
    let all = outcome.judge.history().iter();
    all.filter(|heard| matches!(heard.told, Indication::Started(_))).count().to_string()
}

const DEAD_CONSUMER: &str = r#"
[network]
delay = "1ms"
[experiment.queues]
variants = [{ amqp_classic = { prefetch = 4 } }]
producers = { load = { open = { constant = "1000/s" } } }
consumers = { count = 2 }
messages = { tasks = [{ name = "task", service = "1s" }] }
horizon = "10ms"
drain = "30s"
[[fault]]
at = "0s"
for = "100ms"
pause = { target = "consumer-2" }
[[fault]]
at = "200ms"
crash_process = { target = "consumer-1" }
"#;

/// As that with a queue of three servers, of which the second consumer comes later.
const DEAD_CONSUMER_OF_THREE: &str = r#"
[network]
delay = "1ms"
[experiment.queues]
variants = [{ amqp_quorum = { prefetch = 4 } }]
brokers = 3
producers = { load = { open = { constant = "1000/s" } } }
consumers = { count = 2 }
messages = { tasks = [{ name = "task", service = "1s" }] }
horizon = "10ms"
drain = "30s"
[[fault]]
at = "0s"
for = "100ms"
pause = { target = "consumer-2" }
[[fault]]
at = "200ms"
crash_process = { target = "consumer-1" }
"#;

/// Forty tasks of 0.2 s for two workers, of which the first is struck at 0.1 s.
macro_rules! forty {
    ($variant:literal, $action:literal) => {
        concat!(
            "[network]\ndelay = \"1ms\"\n[experiment.queues]\nvariants = [",
            $variant,
            "]\nproducers = { load = { open = { constant = \"10000/s\" } } }\n",
            "consumers = { count = 2 }\n",
            "messages = { tasks = [{ name = \"task\", service = \"200ms\" }] }\n",
            "horizon = \"4ms\"\ndrain = \"60s\"\n[[fault]]\nat = \"100ms\"\n",
            $action,
            " = { target = \"consumer-1\" }\n"
        )
    };
}

/// Six messages for a queue of three, whose consumer comes later.
macro_rules! six_for_three {
    ($variant:literal) => {
        concat!(
            "[network]\ndelay = \"1ms\"\n[experiment.queues]\nvariants = [",
            $variant,
            "]\nproducers = { load = { open = { constant = \"1000/s\" } } }\n",
            "consumers = { count = 1 }\n",
            "messages = { tasks = [{ name = \"task\", service = \"10ms\" }] }\n",
            "horizon = \"6ms\"\ndrain = \"60s\"\n[[fault]]\nat = \"0s\"\nfor = \"100ms\"\n",
            "pause = { target = \"consumer\" }\n"
        )
    };
}

/// Twenty records of 0.2 s in one partition for two consumers, of which the one that reads it is
/// struck when it has begun with the sixth.
macro_rules! sixth_of_twenty {
    ($params:literal, $action:literal) => {
        concat!(
            "[network]\ndelay = \"1ms\"\n[experiment.queues]\nvariants = [{ kafka = { ",
            $params,
            " } }]\nproducers = { load = { open = { constant = \"10000/s\" } } }\n",
            "consumers = { count = 2 }\n",
            "messages = { tasks = [{ name = \"task\", service = \"200ms\" }] }\n",
            "horizon = \"2ms\"\ndrain = \"90s\"\n[[fault]]\n",
            "on = { node = \"consumer-1\", point = \"started\", count = 6 }\n",
            $action,
            " = { target = \"consumer-1\" }\n"
        )
    };
}

/// All of them.
pub const RULES: &[Rule] = &[
    Rule {
        id: "r3",
        what: "what the other consumer receives",
        expected: "4 5 6 7 0R 1R 2R 3R 8 9",
        scenario: DEAD_CONSUMER,
        show: last_received,
    },
    Rule {
        id: "r3",
        what: "reorder distance",
        expected: "4",
        scenario: DEAD_CONSUMER,
        show: reorder_distance,
    },
    Rule {
        id: "r3q",
        what: "what the other consumer of a quorum queue receives",
        expected: "4 5 6 7 0R 1R 2R 3R 8 9",
        scenario: DEAD_CONSUMER_OF_THREE,
        show: last_received,
    },
    Rule {
        id: "r5",
        what: "a killed child, early acknowledgement",
        expected: "lost 1, redelivered 0, repeated effects 0",
        scenario: forty!("\"celery\"", "kill_child"),
        show: counts,
    },
    Rule {
        id: "r5",
        what: "a killed worker with its child, early acknowledgement",
        expected: "lost 1, redelivered 4, repeated effects 0",
        scenario: forty!("\"celery\"", "crash_process"),
        show: counts,
    },
    Rule {
        id: "r6",
        what: "a warm shutdown",
        expected: "lost 0, redelivered 4, repeated effects 0",
        scenario: forty!("\"celery\"", "terminate"),
        show: counts,
    },
    Rule {
        id: "r7",
        what: "a killed child, acks_late and reject_on_worker_lost",
        expected: "lost 0, redelivered 1, repeated effects 0",
        scenario: forty!(
            "{ celery = { acks_late = true, reject_on_worker_lost = true } }",
            "kill_child"
        ),
        show: counts,
    },
    Rule {
        id: "r8",
        what: "a killed child, acks_late only",
        expected: "lost 1, redelivered 0, repeated effects 0",
        scenario: forty!("{ celery = { acks_late = true } }", "kill_child"),
        show: counts,
    },
    Rule {
        id: "r18",
        what: "a consumer killed at its sixth record, committed after each",
        expected: "lost 0, redelivered 1, repeated effects 0",
        scenario: sixth_of_twenty!(
            "commit = \"after_record\", max_poll_records = 1",
            "crash_process"
        ),
        show: counts,
    },
    Rule {
        id: "r18",
        what: "a consumer killed at its sixth record, committed after all twenty",
        expected: "lost 0, redelivered 20, repeated effects 5",
        scenario: sixth_of_twenty!("commit = \"after_poll\"", "crash_process"),
        show: counts,
    },
    Rule {
        id: "r26",
        what: "a consumer that closes in the middle of its batch, auto-commit",
        expected: "lost 15, redelivered 0, repeated effects 0",
        scenario: sixth_of_twenty!("on_stop = \"break_off\"", "terminate"),
        show: counts,
    },
    Rule {
        id: "r54",
        what: "rebalances of a rolling restart of three members",
        expected: "6",
        scenario: r#"
[network]
delay = "1ms"
[experiment.queues]
variants = [{ kafka = { partitions = 3 } }]
producers = { load = { open = { constant = "1/s" } } }
consumers = { count = 3 }
horizon = "1ms"
drain = "100s"
[[fault]]
at = "20s"
terminate = { target = "consumer-1" }
[[fault]]
at = "30s"
for = "1ms"
crash_process = { target = "consumer-1" }
[[fault]]
at = "40s"
terminate = { target = "consumer-2" }
[[fault]]
at = "50s"
for = "1ms"
crash_process = { target = "consumer-2" }
[[fault]]
at = "60s"
terminate = { target = "consumer-3" }
[[fault]]
at = "70s"
for = "1ms"
crash_process = { target = "consumer-3" }
"#,
        show: rebalances,
    },
    Rule {
        id: "r9",
        what: "what a worker had that was killed, with a visibility timeout of 5 s and a sweep of 1 s",
        expected: "4 within 5 s to 6 s, before what is new",
        scenario: forty!(
            "{ celery_redis = { acks_late = true, kombu = { visibility_timeout = \"5s\", \
             unacked_restore_interval = \"1s\", unacked_restore_throttle = 1 } } }",
            "crash_process"
        ),
        show: restored,
    },
    Rule {
        id: "r29",
        what: "a consumer with four entries is deleted",
        expected: "lost 4, redelivered 0, repeated effects 0",
        scenario: r#"
[network]
delay = "1ms"
[experiment.queues]
variants = [{ redis_streams = { count = 4, delete_on_leave = true } }]
producers = { load = { open = { constant = "1000/s" } } }
consumers = { count = 2 }
messages = { tasks = [{ name = "task", service = "1s" }] }
horizon = "10ms"
drain = "300s"
[[fault]]
at = "0s"
for = "100ms"
pause = { target = "consumers" }
[[fault]]
at = "200ms"
terminate = { target = "consumer-1" }
"#,
        show: counts,
    },
    Rule {
        id: "r51",
        what: "starts within 30 s of two tasks of 10 s, with a visibility timeout of 3 s and a sweep \
               of 1 s",
        expected: "6",
        scenario: r#"
[network]
delay = "1ms"
[experiment.queues]
variants = [{ celery_redis = { acks_late = true, kombu = { visibility_timeout = "3s", unacked_restore_interval = "1s", unacked_restore_throttle = 1 } } }]
producers = { load = { open = { constant = "1000/s" } } }
consumers = { count = 2 }
messages = { tasks = [{ name = "task", service = "10s" }] }
horizon = "2ms"
drain = "29990ms"
"#,
        show: starts,
    },
    Rule {
        id: "r52",
        what: "receives of a message of 100 s with a visibility timeout of 30 s until it is done",
        expected: "4",
        scenario: r#"
[network]
delay = "1ms"
[experiment.queues]
variants = ["sqs"]
producers = { load = { open = { constant = "1000/s" } } }
consumers = { count = 5 }
messages = { tasks = [{ name = "task", service = "100s" }] }
horizon = "1ms"
drain = "600s"
"#,
        show: deliveries_until_first_effect,
    },
    Rule {
        id: "r60",
        what: "a queue of three, drop-head",
        expected: "refused 0; 3 4 5",
        scenario: six_for_three!("{ amqp_classic = { prefetch = 1, queue = { max_length = 3 } } }"),
        show: refused_and_effects,
    },
    Rule {
        id: "r60",
        what: "a queue of three, reject-publish",
        expected: "refused 3; 0 1 2",
        scenario: six_for_three!(
            "{ amqp_classic = { prefetch = 1, queue = { max_length = 3, \
             overflow = \"reject_publish\" } } }"
        ),
        show: refused_and_effects,
    },
    Rule {
        id: "r60",
        what: "a quorum queue of three, reject-publish: publishers hear of it too late",
        expected: "refused 2; 0 1 2 3",
        scenario: r#"
[network]
delay = "1ms"
[experiment.queues]
variants = [{ amqp_quorum = { prefetch = 1, max_length = 3, overflow = "reject_publish" } }]
producers = { load = { open = { constant = "50/s" } } }
consumers = { count = 1 }
messages = { tasks = [{ name = "task", service = "10ms" }] }
horizon = "120ms"
drain = "60s"
[[fault]]
at = "0s"
for = "200ms"
pause = { target = "consumer" }
"#,
        show: refused_and_effects,
    },
    Rule {
        id: "r61",
        what: "deliveries of poison in 2.4 s, of 0.2 s each",
        expected: "12",
        scenario: r#"
[network]
delay = "0s"
[experiment.queues]
variants = [{ amqp_classic = { prefetch = 1 } }]
producers = { load = { open = { constant = "1000/s" } } }
consumers = { count = 1 }
messages = { tasks = [{ name = "task", service = "200ms" }], poison = { numbers = [0] } }
horizon = "1ms"
drain = "2390ms"
"#,
        show: deliveries_of_first,
    },
    Rule {
        id: "r69",
        what: "deliveries of poison with a delivery limit of 3",
        expected: "4",
        scenario: r#"
[network]
delay = "1ms"
[experiment.queues]
variants = [{ amqp_quorum = { prefetch = 1, delivery_limit = 3 } }]
brokers = 3
producers = { load = { open = { constant = "1000/s" } } }
consumers = { count = 1 }
messages = { tasks = [{ name = "task", service = "200ms" }], poison = { numbers = [0] } }
horizon = "1ms"
drain = "30s"
"#,
        show: deliveries_of_first,
    },
];
