//! What brokers do to messages, through the whole wing.

use crate::config::{Config, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::model::surroundings::Surroundings;
use crate::queues::{
    Indication, Outcome, QueuesConfig, Setup, Verdict, Watch, check, simulate_watched,
};

/// Runs the first variant of `experiment` with `world` (`network`, `fault`) around it.
pub(super) fn play(experiment: &str, world: &str) -> Outcome {
    let (config, around) = read(experiment, world);
    let setup = Setup { config: &config, around: &around, share: None };
    let watch = Watch { history: true, times: false };
    simulate_watched(&config.variants[0], setup, Seed(1), watch).expect("the choice was checked")
}

pub(super) fn read(experiment: &str, world: &str) -> (QueuesConfig, Surroundings) {
    let mut problems = Problems::default();
    let value = Value::parse(experiment, 0, &mut problems);
    let config = QueuesConfig::read(&value, &mut problems);
    let value = Value::parse(world, 0, &mut problems);
    let ValueKind::Table(table) = &value.kind else { unreachable!("a file is a table") };
    let mut around = Surroundings::default();
    if let Some(network) = table.get("network") {
        around.network = Config::read(network, &mut problems).unwrap_or_default();
    }
    if let Some(faults) = table.get("fault") {
        around.faults = Vec::read(faults, &mut problems).unwrap_or_default();
    }
    if let Some(config) = &config {
        check(config, &mut problems);
    }
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    (config.expect("it was read without a problem"), around)
}

/// What `node` received, in its order: `4 5 6 7 0R 1R`.
fn received(outcome: &Outcome, node: u32) -> String {
    let heard = outcome.judge.history().iter().filter(|heard| heard.node.0 == node);
    let deliveries = heard.filter_map(|heard| match heard.told {
        Indication::Received { serial, is_redelivered } => {
            Some(format!("{}{}", serial.0, if is_redelivered { "R" } else { "" }))
        }
        _ => None,
    });
    deliveries.collect::<Vec<_>>().join(" ")
}

/// N = 40 messages of 0.2 s for 2 consumers, as fast as they can be sent.
const FORTY: &str = r#"
producers = { load = { open = { constant = "10000/s" } } }
consumers = { count = 2 }
messages = { tasks = [{ name = "add", service = "200ms" }] }
horizon = "4ms"
drain = "60s"
"#;

fn forty(variant: &str, world: &str) -> Outcome {
    play(&format!("variants = [{variant}]\n{FORTY}"), world)
}

#[test]
fn without_faults_nothing_is_lost_and_nothing_comes_twice() {
    for variant in [
        r#""amqp_classic""#,
        r"{ amqp_classic = { auto_ack = true, persistent = false, confirms = false } }",
        r#"{ amqp_classic = { prefetch = 1, version = "3.12" } }"#,
        r#""celery""#,
        r"{ celery = { acks_late = true, confirm_publish = true } }",
    ] {
        let outcome = forty(variant, "");
        let verdict = outcome.verdict;
        let expected = Verdict { offered: 40, done: 40, ..Verdict::default() };
        assert_eq!(verdict, expected, "{variant}: {:?}", outcome.record.findings);
    }
}

#[test]
fn what_a_dead_consumer_had_goes_back_to_where_it_was() {
    let outcome = play(
        r#"
        variants = [{ amqp_classic = { prefetch = 4 } }]
        producers = { load = { open = { constant = "1000/s" } } }
        consumers = { count = 2 }
        messages = { tasks = [{ name = "add", service = "1s" }] }
        horizon = "10ms"
        drain = "30s"
        "#,
        r#"fault = [
            { at = "0s", for = "100ms", pause = { target = "consumer-2" } },
            { at = "200ms", crash_process = { target = "consumer-1" } },
        ]"#,
    );
    assert_eq!(received(&outcome, 2), "0 1 2 3");
    assert_eq!(received(&outcome, 3), "4 5 6 7 0R 1R 2R 3R 8 9");
    assert_eq!(outcome.judge.order.distance_max, 4);
    assert_eq!(outcome.verdict.done, 10);
}

#[test]
fn a_nack_with_requeue_puts_each_message_back_to_its_place() {
    let outcome = play(
        r#"
        variants = [{ amqp_classic = { prefetch = 2 } }]
        producers = { load = { open = { constant = "1000/s" } } }
        consumers = { count = 1, concurrency = 1 }
        messages = { tasks = [{ name = "add", service = "10ms" }], poison = { numbers = [0] } }
        horizon = "4ms"
        drain = "33ms"
        "#,
        r#"network = { delay = "0s" }"#,
    );
    // 0 fails, and comes back before 2, behind 1, which the consumer has already.
    assert_eq!(received(&outcome, 2), "0 1 0R 2 0R");
}

/// Kills one of the two consumers, of which each has a message in service and a full buffer.
const KILL_CHILD: &str = r#"fault = [{ at = "100ms", kill_child = { target = "consumer-1" } }]"#;
const KILL_MAIN: &str = r#"fault = [{ at = "100ms", crash_process = { target = "consumer-1" } }]"#;

#[test]
fn celery_loses_exactly_the_running_task_of_a_worker_that_is_killed() {
    // Early acknowledgement: r5 of the specification.
    let child = forty(r#""celery""#, KILL_CHILD);
    assert_eq!(child.verdict.lost(), 1, "{:?}", child.record.findings);
    assert_eq!(child.verdict.duplicate_deliveries, 0);
    assert_eq!(child.verdict.done, 39);
    let main = forty(r#""celery""#, KILL_MAIN);
    assert_eq!(main.verdict.lost(), 1, "{:?}", main.record.findings);
    assert_eq!(main.verdict.duplicate_deliveries, 4, "those that were prefetched");
    assert_eq!(main.verdict.duplicate_effects, 0);
}

#[test]
fn late_acknowledgement_alone_still_loses_to_a_killed_child() {
    let late = r"{ celery = { acks_late = true } }";
    let child = forty(late, KILL_CHILD);
    assert_eq!((child.verdict.lost(), child.verdict.done), (1, 39));
    let main = forty(late, KILL_MAIN);
    assert_eq!((main.verdict.lost(), main.verdict.duplicate_effects), (0, 0));
    assert_eq!(main.verdict.done, 40);
}

#[test]
fn late_acknowledgement_with_reject_on_worker_lost_loses_nothing() {
    let both = r"{ celery = { acks_late = true, reject_on_worker_lost = true } }";
    for fault in [KILL_CHILD, KILL_MAIN] {
        let verdict = forty(both, fault).verdict;
        assert_eq!((verdict.lost(), verdict.duplicate_effects, verdict.done), (0, 0, 40));
        assert!(0 < verdict.duplicate_deliveries);
    }
}

#[test]
fn a_warm_shutdown_finishes_what_runs_and_gives_the_rest_back() {
    let fault = r#"fault = [{ at = "100ms", terminate = { target = "consumer-1" } }]"#;
    let verdict = forty(r#""celery""#, fault).verdict;
    assert_eq!((verdict.lost(), verdict.duplicate_effects, verdict.done), (0, 0, 40));
    assert_eq!(verdict.duplicate_deliveries, 4);
}

#[test]
fn an_effect_whose_acknowledgement_was_not_sent_is_repeated() {
    let fault = r#"fault = [{ on = { node = "consumer-1", point = "done" }, crash_process = { target = "consumer-1" } }]"#;
    for variant in [r"{ amqp_classic = { prefetch = 1 } }", r"{ celery = { acks_late = true } }"] {
        let verdict = forty(variant, fault).verdict;
        assert_eq!((verdict.lost(), verdict.duplicate_effects), (0, 1), "{variant}");
    }
}

#[test]
fn what_was_sent_with_automatic_acknowledgement_dies_with_its_consumer() {
    let variant = r"{ amqp_classic = { auto_ack = true } }";
    let outcome = forty(variant, KILL_MAIN);
    // r1: those in its buffer and the one in service.
    let received = received(&outcome, 2).split(' ').count() as u64;
    assert_eq!((outcome.verdict.lost(), outcome.verdict.duplicate_deliveries), (received, 0));
    assert!(2 < received);
}

/// A task every 50 ms for two workers, of 10 ms save three of 2 s; the percentiles of the latency, in
/// milliseconds, and how many took longer than 1 s.
fn rare_long_tasks(variant: &str) -> (f64, f64, usize) {
    let experiment = format!(
        "variants = [{variant}]\nhorizon = \"20s\"\ndrain = \"30s\"\n\
         producers = {{ load = {{ open = {{ constant = \"20/s\" }} }} }}\n\
         messages = {{ tasks = [{{ name = \"add\", service = \"10ms\" }}], \
         long = {{ numbers = [50, 150, 250], service = \"2s\" }} }}\n"
    );
    let (config, around) = read(&experiment, "");
    let setup = Setup { config: &config, around: &around, share: None };
    let watch = Watch { history: true, times: true };
    let choice = &config.variants[0];
    let outcome = simulate_watched(choice, setup, Seed(1), watch).expect("the choice was checked");
    let times = outcome.judge.departures().iter();
    let slow = times.filter(|(intended, done)| 1.0 < done.since(*intended).as_secs_f64());
    let slow = slow.count();
    let percentile = |p| outcome.judge.times.latency.quantile(p) as f64 / 1e6;
    (percentile(0.5), percentile(0.99), slow)
}

#[test]
fn a_worker_is_committed_to_what_it_has_prefetched_though_another_is_free() {
    // One FIFO for all: nobody waits behind a long task while there is another worker.
    let (fifo_p50, fifo_p99, fifo_slow) = rare_long_tasks("{ amqp_classic = { prefetch = 1 } }");
    assert!(fifo_p50 < 20.0 && fifo_p99 < 50.0, "{fifo_p50} {fifo_p99}");
    assert_eq!(fifo_slow, 3);
    // Round robin over credit into a buffer for each worker: behind each long task wait as many as the
    // multiplier says, and with early acknowledgement none of them is in the running task's stead.
    let (p50, p99, slow) = rare_long_tasks("\"celery\"");
    assert!(p50 < 20.0, "the median knows nothing of it: {p50}");
    assert!(1000.0 < p99, "{p99}");
    assert_eq!(slow, 3 + 3 * 4);
    // The more is prefetched, the more wait.
    let (_, _, slow_of_one) = rare_long_tasks("{ celery = { prefetch_multiplier = 1 } }");
    assert_eq!(slow_of_one, 3 + 3);
    // Late acknowledgement: the running task takes one of the credits.
    let (_, _, slow_of_late) = rare_long_tasks("{ celery = { acks_late = true } }");
    assert_eq!(slow_of_late, 3 + 3 * 3);
}
