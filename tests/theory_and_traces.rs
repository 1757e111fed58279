//! `validate`, `backtest`, `judge queues` and the retry storm as a user meets them: files in, a
//! verdict and an exit code out.

mod support;

use support::Place;

const HEAD: &str = "id,model,params,metric,value,kind\n";

fn validated(row: &str) -> support::Ran {
    let place = Place::new();
    place.write("rows.csv", format!("{HEAD}{row}\n").as_bytes());
    place.run(&["validate", "--file", "rows.csv", "--max-events", "20_000_000"])
}

#[test]
fn a_closed_form_that_holds_passes_and_one_that_does_not_fails() {
    let right = validated("a,M/M/1,lambda=0.5;mu=1,utilisation,0.5,exact");
    assert_eq!(right.code, 0, "{}{}", right.out, right.err);
    assert!(right.out.contains("1 cases pass, 0 fail"), "{}", right.out);
    let wrong = validated("a,M/M/1,lambda=0.5;mu=1,utilisation,0.6,exact");
    assert_eq!(wrong.code, 1, "{}{}", wrong.out, wrong.err);
    assert!(wrong.out.contains("fail"), "{}", wrong.out);
}

#[test]
fn a_closed_form_that_cannot_be_read_is_refused_with_its_line() {
    let ran = validated("a,M/M/1,lambda=0.5;mu=1,utilisation,half,exact");
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("rows.csv:2:"), "{}", ran.err);
    let ran = validated("a,M/Q/1,lambda=0.5;mu=1,utilisation,0.5,exact");
    assert_eq!(ran.code, 2, "{}", ran.out);
    assert!(ran.err.contains("unknown model `M/Q/1`"), "{}", ran.err);
}

const SCENARIO: &str = r#"schema = 1
question = "Is a trace predicted?"
seeds = { first = 1, count = 2 }

[network]
delay = "50us"

[experiment.queues]
variants = ["celery"]
consumers = { count = 1, overhead = "1ms" }
messages = { tasks = [{ name = "task", chance = "100%", service = "20ms" }] }
"#;

/// A task every 100 ms that takes 10 ms and was measured to take `latency_ms` with its overhead.
fn backtested(header: &str, latency_ms: u32) -> support::Ran {
    let place = Place::new();
    place.write("scenarios/celery.toml", SCENARIO.as_bytes());
    let rows: Vec<String> = (0..50).map(|i| format!("{},10,{latency_ms}", 100 * i)).collect();
    place.write("trace.csv", format!("{header}\n{}\n", rows.join("\n")).as_bytes());
    place.run(&["backtest", "scenarios/celery.toml", "--trace", "trace.csv"])
}

#[test]
fn a_trace_that_the_model_explains_passes_and_another_fails() {
    let header = "arrival_ms,service_ms,latency_ms";
    let near = backtested(header, 11);
    assert_eq!(near.code, 0, "{}{}", near.out, near.err);
    assert!(near.out.contains("all within 15 % of 50 tasks"), "{}", near.out);
    let far = backtested(header, 20);
    assert_eq!(far.code, 1, "{}{}", far.out, far.err);
    let torn = backtested("arrival_ms,service_ms,latency", 11);
    assert_eq!(torn.code, 2, "{}{}", torn.out, torn.err);
    assert!(torn.err.contains("trace.csv:1:"), "{}", torn.err);
}

#[test]
fn what_cannot_be_backtested_is_refused_in_its_own_words() {
    let place = Place::with_scenario(support::SMALL);
    place.write("trace.csv", b"arrival_ms,service_ms,latency_ms\n0,1,1\n");
    place.write("far.csv", b"arrival_ms,service_ms,latency_ms\n0,1,1\n1e300,1,1\n");
    let backtest = |trace| place.run(&["backtest", "scenarios/small.toml", "--trace", trace]);
    let rings = backtest("trace.csv");
    assert_eq!(
        (rings.code, rings.err.as_str()),
        (2, "error: scenarios/small.toml has no queues to backtest\n")
    );
    let far = backtest("far.csv");
    assert_eq!(far.code, 2, "{}", far.out);
    assert!(far.err.contains("far.csv:3:1"), "{}", far.err);
}

#[test]
fn records_of_a_queue_are_judged_and_mistakes_in_them_told() {
    let place = Place::new();
    let sent = "{\"id\":1,\"type\":\"send\"}\n{\"id\":1,\"type\":\"confirm\"}\n";
    place.write("sent.jsonl", sent.as_bytes());
    place.write("got.jsonl", b"{\"id\":1,\"type\":\"deliver\"}\n");
    place.write("nothing.jsonl", b"");
    place.write("torn.jsonl", b"{\"id\":1,\"type\":\"deli");
    let good = place.run(&["judge", "queues", "sent.jsonl", "got.jsonl"]);
    assert_eq!(good.code, 0, "{}{}", good.out, good.err);
    let lost = place.run(&["judge", "queues", "sent.jsonl", "nothing.jsonl"]);
    assert_eq!(lost.code, 1, "{}{}", lost.out, lost.err);
    assert!(lost.out.contains("sent.jsonl:1: `1` was confirmed and has no"), "{}", lost.out);
    let torn = place.run(&["judge", "queues", "sent.jsonl", "torn.jsonl"]);
    assert_eq!(torn.code, 2, "{}{}", torn.out, torn.err);
    assert!(torn.err.contains("torn.jsonl:1: not a JSON object"), "{}", torn.err);
}

#[test]
fn the_retry_storm_stays_and_is_cured_as_the_theory_has_it() {
    for name in ["metastable", "metastable-cured"] {
        let scenario = format!("{}/scenarios/queues/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        let ran = Place::new().run(&["check", &scenario, "--seeds", "4"]);
        assert_eq!(ran.code, 0, "{name}: {}{}", ran.out, ran.err);
    }
    let scenario = format!("{}/scenarios/queues/metastable.toml", env!("CARGO_MANIFEST_DIR"));
    let calm = ["--set", "queues.producers.retry.retries=0", "--seeds", "4"];
    let ran = Place::new().run(&[&["check", &scenario][..], &calm].concat());
    assert_eq!(ran.code, 1, "without retries nothing of it is so: {}{}", ran.out, ran.err);
}
