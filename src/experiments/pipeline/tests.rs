//! What ring, queue and lock do to each other, through the whole wing.

use crate::config::{Config, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::model::surroundings::Surroundings;
use crate::record::{Distribution, Record, Sample};
use crate::{locks, queues, rings};

use super::Pipeline;
use super::config::PipelineConfig;
use crate::experiments::wing::Glue;

/// Runs every variant of `experiment` under seed 1, with `world` (`network`, `fault`) around it.
fn play(experiment: &str, world: &str) -> Vec<Record> {
    let mut problems = Problems::default();
    let (config, around) = read(experiment, world, &mut problems);
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    let config = config.expect("it was read without a problem");
    let variants = config.variants.iter();
    variants.map(|choice| Pipeline::simulate(choice, &config, &around, Seed(1))).collect()
}

fn read(
    experiment: &str,
    world: &str,
    problems: &mut Problems,
) -> (Option<PipelineConfig>, Surroundings) {
    let value = Value::parse(experiment, 0, problems);
    let config = Pipeline::read(&value, problems);
    let value = Value::parse(world, 0, problems);
    let ValueKind::Table(table) = &value.kind else { unreachable!("a file is a table") };
    let mut around = Surroundings::default();
    if let Some(faults) = table.get("fault") {
        around.faults = Vec::read(faults, problems).unwrap_or_default();
    }
    (config, around)
}

fn value(record: &Record, metric: &str) -> f64 {
    record.value(metric, "").unwrap_or_else(|| panic!("{metric} was not measured"))
}

fn count(record: &Record, metric: &str) -> u64 {
    value(record, metric) as u64
}

fn sample<'a>(record: &'a Record, metric: &str) -> &'a Sample {
    let found = record.samples.iter().find(|sample| sample.metric.name == metric);
    found.unwrap_or_else(|| panic!("{metric} was not sampled"))
}

/// A pipeline in one line.
fn keyed(ring: &str, queue: &str, lock: &str, rest: &str) -> String {
    format!("{{ keyed = {{ ring = {ring}, queue = {queue}, lock = {lock}{rest} }} }}")
}

const AMQP: &str = "{ amqp_classic = { prefetch = 1 } }";
const TOKEN: &str = r#"{ token = { ttl = "1s", sleep = "10ms" } }"#;

/// Few messages for few accounts.
const SMALL: &str = r#"
brokers = 2
partitions = 4
consumers = 4
producers = 2
accounts = 5
load = { poisson = "40/s" }
work = "10ms"
horizon = "3s"
drain = "30s"
"#;

fn small(variants: &[String], world: &str) -> Vec<Record> {
    play(&format!("variants = [{}]\n{SMALL}", variants.join(", ")), world)
}

/// All messages took effect, each once, and the accounts say so.
fn assert_right(record: &Record) {
    for metric in [
        "lost",
        "unfinished",
        "duplicate_effects",
        "broken_laws",
        "increments_missing",
        "increments_extra",
        "accounts_wrong",
        "l1_violations",
        "l3_violations",
        "open_waits",
    ] {
        assert_eq!(count(record, metric), 0, "{}: {metric}", record.variant);
    }
    let done = sample(record, "latency").distribution.count();
    assert!(80 < done, "{}: only {done} messages", record.variant);
}

#[test]
fn any_queue_of_the_catalogue_can_be_joined() {
    let named = queues::CATALOGUE.iter().map(|entry| format!("\"{}\"", entry.about.name));
    let variants: Vec<String> = named.map(|queue| keyed("\"ring\"", &queue, TOKEN, "")).collect();
    small(&variants, "").iter().for_each(assert_right);
}

#[test]
fn any_lock_of_the_catalogue_can_be_joined() {
    let named = locks::CATALOGUE.iter().map(|entry| format!("\"{}\"", entry.about.name));
    let variants: Vec<String> = named.map(|lock| keyed("\"ring\"", AMQP, &lock, "")).collect();
    small(&variants, "").iter().for_each(assert_right);
}

#[test]
fn any_ring_of_the_catalogue_can_be_joined() {
    let named = rings::CATALOGUE.iter().map(|entry| format!("\"{}\"", entry.about.name));
    let variants: Vec<String> = named.map(|ring| keyed(&ring, AMQP, TOKEN, "")).collect();
    let mut problems = Problems::default();
    let experiment = format!("variants = [{}]\npartitions = 64", variants.join(", "));
    let (config, _) = read(&experiment, "", &mut problems);
    assert!(problems.is_empty(), "{:?}", problems.into_sorted());
    for choice in &config.unwrap().variants {
        let keyed = super::Keyed::of(choice);
        let config = PipelineConfig::read(
            &Value::parse(&experiment, 0, &mut Problems::default()),
            &mut Problems::default(),
        );
        let layout = keyed.layout(&config.unwrap(), Seed(3));
        let owners: std::collections::BTreeSet<u32> =
            (0..64).map(|partition| layout.owner(partition)).collect();
        assert_eq!(owners, (0..4).collect(), "{}", keyed.ring.name);
    }
}

/// Two brokers, each with five consumers and a lock server that can do about twice of what is
/// asked of it.
const HALVED: &str = r#"
brokers = 2
partitions = 32
consumers = 10
accounts = 1000
load = { poisson = "120/s" }
work = { exponential = { mean = "10ms" } }
popularity = "uniform"
lock_service = "per_broker"
server = { service = { exponential = { mean = "5ms" } } }
horizon = "30s"
drain = "60s"
"#;

#[test]
fn halving_a_brokers_share_is_felt_at_the_queue_at_the_lock_and_at_the_end() {
    let ring = "\"weighted_rendezvous\"";
    let even = keyed(ring, AMQP, TOKEN, "");
    let halved = keyed(ring, AMQP, TOKEN, ", weights = [0.5]");
    let records = play(&format!("variants = [{even}, {halved}]\n{HALVED}"), "");
    let [even, halved] = &records[..] else { panic!("two variants, two records") };
    for record in &records {
        assert_right(record);
    }
    // The same messages: only where they go differs.
    let messages = |record| sample(record, "latency").distribution.count();
    assert_eq!(messages(even), messages(halved));
    let rises = |metric: &str, of: fn(&Distribution) -> f64| {
        let [before, after] = [even, halved].map(|record| of(&sample(record, metric).distribution));
        assert!(1.1 * before < after, "{metric}: {before} ns, then {after} ns");
    };
    assert!(value(even, "broker_skew") < value(halved, "broker_skew"));
    rises("queue_wait", Distribution::mean);
    rises("lock_wait", Distribution::mean);
    rises("latency", |latency| latency.quantile(0.99) as f64);
}

/// Two consumers and one account.
const ONE_ACCOUNT: &str = r#"
brokers = 1
partitions = 1
consumers = 2
accounts = 1
load = { constant = "10/s" }
work = "10ms"
horizon = "20s"
drain = "60s"
"#;

fn one_account(rest: &str, experiment: &str, world: &str) -> Record {
    let variant = keyed("\"jump\"", AMQP, TOKEN, rest);
    play(&format!("variants = [{variant}]\n{ONE_ACCOUNT}{experiment}"), world).remove(0)
}

/// Right after its last check, before it writes.
const PAUSE: &str = r#"
[[fault]]
on = { node = "consumer-1", point = "checked", count = 10 }
for = "5040ms"
pause = { target = "consumer-1" }
"#;

#[test]
fn a_consumer_that_stops_for_longer_than_its_lease_undoes_what_others_did() {
    let record = one_account("", "", PAUSE);
    // Five seconds long the other one counted on, and one stale write undid all of it.
    let missing = value(&record, "increments_missing");
    assert!(20.0 < missing, "{missing} increments are missing");
    assert_eq!(count(&record, "lost"), 0, "the queue lost none");
    assert_eq!(count(&record, "l1_violations"), 0, "the service granted none twice");
    assert!(0.0 < value(&record, "l2_violations"), "two believed at once");
    assert!(0.0 < value(&record, "l3_violations"));
}

#[test]
fn tokens_checked_on_reads_and_writes_keep_the_account_right_and_the_message_is_done_again() {
    let record = one_account(", fencing = { reads_and_writes = {} }", "", PAUSE);
    assert!(0.0 < value(&record, "l2_violations"), "two believed at once all the same");
    assert_eq!(count(&record, "fenced_sections"), 1);
    assert_eq!(count(&record, "sections_again"), 1);
    assert_right(&record);
}

/// It has written, and the broker does not know that it is done.
const DEATH: &str = r#"
[[fault]]
on = { node = "consumer-1", point = "written", count = 10 }
for = "5s"
crash_process = { target = "consumer-1" }
"#;

#[test]
fn a_consumer_that_dies_before_it_acknowledges_has_its_increment_made_twice() {
    let fencing = ", fencing = { reads_and_writes = {} }";
    let record = one_account(fencing, "", DEATH);
    assert_eq!(count(&record, "increments_extra"), 1, "no token helps: both held the lock");
    assert_eq!(count(&record, "duplicate_effects"), 1);
    assert_eq!(count(&record, "l2_violations"), 0);
    let record = one_account(fencing, "idempotent = true\n", DEATH);
    assert_eq!(count(&record, "increments_extra"), 0);
    assert_right(&record);
}

#[test]
fn a_broker_that_dies_takes_its_partitions_with_it_and_brings_them_back() {
    let variant = keyed("\"weighted_rendezvous\"", AMQP, TOKEN, "");
    let world = "[[fault]]\nat = \"1s\"\nfor = \"2s\"\ncrash_process = { target = \"broker-1\" }\n";
    let record = small(&[variant], world).remove(0);
    assert_eq!(count(&record, "lost"), 0);
    assert_eq!(count(&record, "unfinished"), 0);
    assert!(0.0 < value(&record, "redeliveries"));
    assert_eq!(count(&record, "increments_missing"), 0);
}

#[test]
fn what_is_wrong_with_a_pipeline_is_told_with_what_there_is_instead() {
    let wrong = |variant: &str, rest: &str| {
        let mut problems = Problems::default();
        read(&format!("variants = [{variant}]\n{rest}"), "", &mut problems);
        let told = problems.into_sorted().into_iter().map(|problem| problem.message);
        told.collect::<Vec<_>>().join("; ")
    };
    let told = wrong(&keyed("\"rink\"", "\"amqp\"", "\"tokens\"", ""), "");
    for name in ["ring `rink`", "queue `amqp`", "lock `tokens`"] {
        assert!(told.contains(name), "{told}");
    }
    let five = keyed("\"ring\"", AMQP, TOKEN, ", weights = [1, 1, 1, 1, 1]");
    assert_eq!(wrong(&five, ""), "found 5 weights for 4 brokers");
    let unfit = keyed("\"jump\"", AMQP, TOKEN, ", weights = [0.5]");
    assert_eq!(wrong(&unfit, ""), "`jump` knows no weights");
    let tokenless =
        keyed("\"ring\"", AMQP, "\"pg_advisory\"", ", fencing = \"check_with_service\"");
    assert!(wrong(&tokenless, "").contains("pg_advisory"), "{}", wrong(&tokenless, ""));
    let few = wrong(&keyed("\"ring\"", AMQP, TOKEN, ""), "consumers = 3");
    assert_eq!(few, "found 3 consumers for 4 brokers, expected at least one for each");
    let single = wrong(&keyed("\"jump\"", AMQP, TOKEN, ""), "replicas = 2");
    assert_eq!(single, "`jump` has one place for a key, and no replicas");
}
