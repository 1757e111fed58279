//! What Kafka promises, end to end.

use crate::choice::Choice;
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::queues::judge::WindowLog;
use crate::queues::tests::{play, read};
use crate::queues::{Indication, LogEvent, Outcome, Setup, Watch, simulate_watched};

/// A stream of records over three brokers, whose first dies for good when it has appended one.
fn leader_dies(topic: &str) -> Outcome {
    let quick = "broker_session = \"1s\", broker_heartbeat = \"200ms\", request_timeout = \"1s\"";
    let experiment = format!(
        r#"
variants = [{{ kafka = {{ replication = 3, {quick}, {topic} }} }}]
brokers = 3
producers = {{ load = {{ open = {{ constant = "100/s" }} }} }}
messages = {{ tasks = [{{ name = "task", service = "1ms" }}] }}
horizon = "4s"
drain = "30s"
"#
    );
    let world = r#"
network = { delay = "1ms" }
[[fault]]
on = { node = "broker-1", point = "stored", count = 200 }
crash_process = { target = "broker-1" }
"#;
    play(&experiment, world)
}

#[test]
fn what_all_in_sync_have_survives_its_leader_and_what_the_leader_has_does_not() {
    let safe = leader_dies("min_insync_replicas = 2").verdict;
    assert_eq!((safe.done, safe.lost(), safe.duplicate_effects), (safe.offered, 0, 0));
    let fast = leader_dies("acks = \"leader\", idempotence = false").verdict;
    assert_eq!((fast.lost_confirmed, fast.stalled), (1, 0), "{fast:?}");
    assert_eq!(safe.broken + fast.broken, 0);
}

/// When the longest pause between two effects after `from` was over, and how long it was, in ms.
fn longest_pause(outcome: &Outcome, from: SimTime) -> u64 {
    let done = outcome.judge.history().iter().filter(|heard| from <= heard.at);
    let done = done.filter(|heard| matches!(heard.told, Indication::Done(_)));
    let times: Vec<SimTime> = done.map(|heard| heard.at).collect();
    let pauses = times.windows(2).map(|pair| pair[1].since(pair[0]).as_ns() / 1_000_000);
    pauses.max().unwrap_or_default()
}

#[test]
fn a_cooperative_group_goes_on_while_one_member_is_slow_to_join() {
    let pause = |assignor| {
        let experiment = format!(
            r#"
variants = [{{ kafka = {{ partitions = 4, assignor = "{assignor}", max_poll_records = 1 }} }}]
producers = {{ load = {{ open = {{ constant = "20/s" }} }} }}
consumers = {{ count = 2 }}
messages = {{ tasks = [{{ name = "task", service = "10ms" }}], keys = 64, long = {{ numbers = [200], service = "8s" }} }}
horizon = "30s"
drain = "60s"
"#
        );
        let world = r#"
network = { delay = "1ms" }
[[fault]]
at = "10500ms"
for = "1ms"
crash_process = { target = "consumer-2" }
"#;
        let outcome = play(&experiment, world);
        assert_eq!(outcome.verdict.lost() + outcome.verdict.stalled, 0);
        longest_pause(&outcome, SimTime::from_ms(6_000))
    };
    let (eager, cooperative) = (pause("range"), pause("cooperative_sticky"));
    assert!(cooperative < eager, "cooperative {cooperative} ms, eager {eager} ms");
}

#[test]
fn an_unclean_election_loses_what_was_confirmed_and_a_clean_one_waits() {
    let verdict = |unclean: bool| {
        let experiment = format!(
            r#"
variants = [{{ kafka = {{ replication = 2, unclean_leader_election = {unclean}, replica_lag = "2s" }} }}]
brokers = 3
producers = {{ load = {{ open = {{ constant = "20/s" }} }} }}
messages = {{ tasks = [{{ name = "task", service = "1ms" }}] }}
horizon = "40s"
drain = "60s"
"#
        );
        // The follower is cut off until it is out of sync; then the leader dies for good.
        let world = r#"
network = { delay = "1ms" }
[[fault]]
at = "8s"
for = "12s"
crash_process = { target = "broker-2" }
[[fault]]
at = "19s"
crash_process = { target = "broker-1" }
[[fault]]
at = "0s"
for = "70s"
pause = { target = "consumers" }
"#;
        play(&experiment, world).verdict
    };
    let (clean, unclean) = (verdict(false), verdict(true));
    assert_eq!(clean.lost_confirmed, 0, "{clean:?}");
    assert!(0 < clean.stalled, "{clean:?}");
    assert!(0 < unclean.lost_confirmed, "{unclean:?}");
}

#[test]
fn a_ring_says_where_records_and_partitions_go() {
    let experiment = r#"
variants = [{ kafka = { partitions = 4, key_ring = "jump", broker_ring = "jump" } }]
brokers = 3
producers = { load = { open = { constant = "50/s" } } }
messages = { tasks = [{ name = "task", service = "1ms" }], keys = 40 }
horizon = "4s"
drain = "30s"
"#;
    let (config, around) = read(experiment, "");
    // What stands for a ring here puts every key on the last member.
    let share = |_: &Choice, count: u32, keys: Vec<String>, _: Seed| vec![count - 1; keys.len()];
    let setup = Setup { config: &config, around: &around, share: Some(share) };
    let watch = Watch { history: true, times: false };
    let outcome = simulate_watched(&config.variants[0], setup, Seed(1), watch).expect("a choice");
    let appended = outcome.judge.history().iter().filter_map(|heard| match heard.told {
        Indication::Log(LogEvent::Appended { log, .. }) => Some((heard.node.0, log)),
        _ => None,
    });
    let places: Vec<(u32, u32)> = appended.collect();
    assert_eq!(places.len(), 200);
    assert!(places.iter().all(|&place| place == (2, 3)), "the third broker, the fourth partition");
    assert_eq!(outcome.verdict.done, 200);
}

/// Six partitions in windows of half a second, whose records come out of order; one of three consumers is gone from 12 s on.
fn a_counter_dies(commit: &str, lateness: &str) -> WindowLog {
    let windows = format!(r#"windows = {{ size = "500ms", lateness = "{lateness}" }}"#);
    let experiment = format!(
        r#"
variants = [{{ kafka = {{ partitions = 6, session_timeout = "3s", heartbeat = "1s", {windows}, {commit} }} }}]
producers = {{ count = 4, load = {{ open = {{ poisson = "800/s" }} }} }}
consumers = {{ count = 3 }}
messages = {{ tasks = [{{ name = "count", service = "100us" }}], keys = 300 }}
horizon = "22s"
drain = "10s"
"#
    );
    let world = r#"
network = { delay = { uniform = { min = "1ms", max = "80ms" } } }
[[fault]]
at = "12s"
crash_machine = { target = "consumer-1" }
"#;
    play(&experiment, world).judge.windows.expect("its consumers count in windows")
}

#[test]
fn what_was_counted_and_not_told_of_is_read_again_where_positions_stay_behind_it() {
    let by_window = a_counter_dies("commit = \"after_window\"", "200ms");
    let tally = by_window.tally();
    assert!(100 < tally.due, "{tally:?}");
    assert_eq!((tally.right_at_first, by_window.late_count), (tally.due, 0));
    // Records behind the position belong to windows that were told of, too.
    assert!(0 < by_window.repeated_count && tally.right_in_the_end < tally.due, "{tally:?}");
    let by_poll = a_counter_dies("auto_commit_interval = \"500ms\"", "200ms").tally();
    assert!(by_poll.right_at_first < by_poll.due, "{by_poll:?}");
    let impatient = a_counter_dies("commit = \"after_window\"", "0s");
    assert!(0 < impatient.late_count && impatient.tally().right_at_first < impatient.tally().due);
}
