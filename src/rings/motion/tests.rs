//! What a ring in motion promises, against closed forms and conservation laws.

use super::*;
use crate::config::{Config, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::model::fault::FaultConfig;
use crate::model::network::NetworkConfig;
use crate::model::popularity::Popularity;
use crate::record::Ending;
use crate::record::summary::Statistic;
use crate::rings::measure::RingsConfig;

/// A set-up as a scenario would write it, and the world around it.
struct Trial {
    setup: Setup,
    around: Surroundings,
}

fn part<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let ValueKind::Table(table) = &value.kind else { return None };
    table.get(name)
}

fn read(rings: &str, motion: &str, around: &str) -> Result<Trial, Vec<String>> {
    let mut problems = Problems::default();
    let text = format!("{around}\n[rings]\n{rings}\n[rings.motion]\n{motion}");
    let value = Value::parse(&text, 0, &mut problems);
    let config = part(&value, "rings").and_then(|rings| RingsConfig::read(rings, &mut problems));
    let mut surroundings = Surroundings {
        network: NetworkConfig { delay: Dist::constant(SimDuration::ZERO), ..Default::default() },
        ..Surroundings::default()
    };
    if let Some(network) = part(&value, "network") {
        surroundings.network = NetworkConfig::read(network, &mut problems).unwrap();
    }
    if let Some(faults) = part(&value, "fault") {
        surroundings.faults = Vec::<FaultConfig>::read(faults, &mut problems).unwrap_or_default();
    }
    if let Some(warm_up) = part(&value, "warm_up") {
        surroundings.warm_up = SimDuration::read(warm_up, &mut problems).unwrap_or_default();
    }
    let trial =
        config.map(|config| Trial { setup: Setup { config, listed: None }, around: surroundings });
    if let Some(trial) = trial.as_ref().filter(|_| problems.is_empty()) {
        crate::rings::measure::check(&trial.setup, &mut problems);
        check(&trial.setup, Place::default(), &mut problems);
        if let Some((directory, _)) = cluster(&trial.setup).filter(|_| problems.is_empty()) {
            for fault in &trial.around.faults {
                fault.action.check_targets(fault.place, &directory, &mut problems);
            }
        }
    }
    match trial {
        Some(trial) if problems.is_empty() => Ok(trial),
        _ => Err(problems.into_sorted().into_iter().map(|problem| problem.message).collect()),
    }
}

fn trial(rings: &str, motion: &str, around: &str) -> Trial {
    read(rings, motion, around).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

impl Trial {
    fn run(&self, seed: u64) -> Record {
        let record =
            simulate(&self.setup.config.variants[0], &self.setup, &self.around, Seed(seed));
        assert_eq!(record.ending, Ending::Complete);
        assert_eq!(record.value("unaccounted", ""), Some(0.0));
        record
    }
}

#[track_caller]
fn value(record: &Record, metric: &str) -> f64 {
    record.value(metric, "").unwrap_or_else(|| panic!("no {metric}"))
}

#[track_caller]
fn near(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found}, expected {expected} ± {tolerance}");
}

fn mean_latency_ms(record: &Record) -> f64 {
    Statistic::Mean.of(&record.samples[0].distribution).unwrap() / 1e6
}

const STORE: &str = "node = { store = {} }\ndetector = { delay = \"1s\" }\n";

#[test]
fn one_node_is_an_m_m_1_queue_and_several_servers_an_m_m_c() {
    // Sojourn 1 / (mu - lambda); with two servers 1 / mu / (1 - rho^2).
    for (servers, rate, expected_ms) in [(1, 800, 5.0), (2, 1600, 2.7778)] {
        let motion = format!(
            "duration = \"400s\"\nload = {{ open = {{ poisson = \"{rate}/s\" }} }}
            station = {{ servers = {servers}, service = {{ exponential = {{ mean = \"1ms\" }} }} }}
            {STORE}"
        );
        let record = trial("variants = [\"ring\"]\nnodes = 1", &motion, "").run(1);
        near(mean_latency_ms(&record), expected_ms, expected_ms * 0.03);
        near(value(&record, "failed"), 0.0, 0.0);
        // All but what is under way at the horizon.
        near(value(&record, "work"), 1.0, 1e-4);
    }
}

#[test]
fn a_cache_that_holds_everything_misses_each_key_once() {
    // Of K equally popular keys, N requests find K (1 - (1 - 1/K)^N) different ones.
    let motion = "duration = \"20s\"\nload = { open = { poisson = \"1000/s\" } }
        node = { cache = { capacity = \"1GB\" } }\ndetector = { delay = \"1s\" }";
    let rings = "variants = [\"ring\"]\nnodes = 4\nkeys = { made = { count = 5000 } }";
    let record = trial(rings, motion, "").run(3);
    let (requests, keys) = (value(&record, "requests"), 5000.0);
    let distinct = keys * (1.0 - libm::pow(1.0 - 1.0 / keys, requests));
    near(value(&record, "origin_fetches"), distinct, 60.0);
    near(value(&record, "hit_ratio"), 1.0 - distinct / requests, 0.004);
    near(value(&record, "origin_fetches"), requests * (1.0 - value(&record, "hit_ratio")), 1e-6);
}

#[test]
fn a_least_recently_used_cache_has_the_hit_ratio_of_ches_approximation() {
    // Che, Tung and Wang, "Hierarchical Web Caching Systems", IEEE JSAC 20(7), 2002: a key stays
    // for the same time T, and T is such that the keys that are in fill the cache.
    let (count, room, exponent) = (2000_u32, 200.0, 0.8);
    let weights: Vec<f64> = (1..=count).map(|rank| libm::pow(f64::from(rank), -exponent)).collect();
    let total: f64 = weights.iter().sum();
    let hit = |time: f64, weight: f64| 1.0 - libm::exp(-weight / total * time);
    let (mut low, mut high) = (0.0, 1e9);
    for _ in 0..200 {
        let time = f64::midpoint(low, high);
        let held: f64 = weights.iter().map(|&weight| hit(time, weight)).sum();
        if held < room { low = time } else { high = time }
    }
    let expected: f64 = weights.iter().map(|&w| w / total * hit(low, w)).sum();
    let motion = "duration = \"100s\"\nload = { open = { poisson = \"2000/s\" } }
        values = \"1kB\"\nnode = { cache = { capacity = \"200kB\" } }
        detector = { delay = \"1s\" }";
    let rings = "variants = [\"ring\"]\nnodes = 1
        keys = { made = { count = 2000, popularity = { zipf = 0.8 } } }";
    let record = trial(rings, motion, "warm_up = \"20s\"").run(1);
    near(value(&record, "hit_ratio"), expected, 0.01);
}

#[test]
fn equal_views_misroute_nothing_and_late_ones_do() {
    let rings = "variants = [\"ring\"]\nnodes = 10";
    let run = |spread: &str, misroute: &str| {
        let motion = format!(
            "duration = \"30s\"\nload = {{ open = {{ poisson = \"500/s\" }} }}\nclients = 5
            node = {{ cache = {{ capacity = \"1GB\" }} }}\ndetector = {{ delay = \"1s\" }}
            spread = {spread}\nmisroute = \"{misroute}\"
            changes = [{{ at = \"10s\", change = \"add\" }}]"
        );
        trial(rings, &motion, "").run(1)
    };
    let prompt = run("\"0s\"", "refuse");
    near(value(&prompt, "misrouted"), 0.0, 0.0);
    near(value(&prompt, "failed"), 0.0, 0.0);
    near(value(&prompt, "views"), 1.0, 0.0);
    // Each hears of it between 0 and 10 s later, apart from the others; until then, requests for
    // the newcomer's keys go to where they were.
    for misroute in ["serve", "forward", "refuse"] {
        let late = run("{ uniform = { min = \"0s\", max = \"10s\" } }", misroute);
        let misrouted = value(&late, "misrouted");
        assert!(0.0 < misrouted && misrouted < 1.0 / 11.0, "{misroute}: {misrouted}");
        // What is sent on is worked on twice; in circles, where the newcomer itself is late.
        assert_eq!(1.0 < value(&late, "work"), misroute == "forward", "{misroute}");
        assert_eq!(0.0 < value(&late, "failed"), misroute != "serve", "{misroute}");
    }
}

#[test]
fn a_newcomer_gets_copies_of_its_keys_and_nothing_else_moves() {
    let rings = "variants = [{ ring = { virtual_nodes = 500 } }]\nnodes = 9
        keys = { made = { count = 20000 } }\nreplicas = 2";
    let motion = "duration = \"60s\"\nload = { open = { poisson = \"200/s\" } }
        values = \"10kB\"\nbandwidth = \"10MB/s\"
        node = { store = { copy_share = \"50%\", batch = \"1MB\" } }
        detector = { delay = \"1s\" }
        changes = [{ at = \"10s\", change = \"add\" }]";
    let record = trial(rings, motion, "").run(1);
    let stored = 20_000.0 * 2.0 * 10_000.0;
    near(value(&record, "copied_bytes") / stored, 0.1, 0.01);
    near(
        record.value("change_moved", "add").unwrap(),
        value(&record, "copied_bytes") / stored,
        1e-9,
    );
    near(value(&record, "copied_ratio"), 1.0, 0.0);
    assert_eq!(record.value("change_bytes", "add"), Some(value(&record, "copied_bytes")));
    near(value(&record, "lost_keys"), 0.0, 0.0);
    near(value(&record, "failed"), 0.0, 0.0);
    // 40 MB into the newcomer at 10 MB/s, and no more than 4 senders at 5 MB/s each.
    let seconds = record.value("change_time", "add").unwrap() / 1e9;
    let least = value(&record, "copied_bytes") / 10e6;
    assert!(least <= seconds && seconds < 2.0 * least, "{seconds} s, at least {least}");
    near(value(&record, "copy_time") / 1e9, seconds, 0.01);
}

#[test]
fn answers_wait_behind_a_whole_batch_of_copies_and_a_small_share_takes_longer() {
    let run = |batch: &str, share: &str| {
        let rings = "variants = [{ ring = { virtual_nodes = 500 } }]\nnodes = 4
            keys = { made = { count = 4000 } }";
        let motion = format!(
            "duration = \"60s\"\nload = {{ open = {{ poisson = \"200/s\" }} }}
            values = \"20kB\"\nbandwidth = \"5MB/s\"
            node = {{ store = {{ copy_share = \"{share}\", batch = \"{batch}\", parallel = 8 }} }}
            detector = {{ delay = \"1s\" }}
            changes = [{{ at = \"10s\", change = \"add\" }}]"
        );
        trial(rings, &motion, "").run(5)
    };
    let worst = |record: &Record| {
        let course = record.curves.iter().find(|c| c.metric.name == "latency_course").unwrap();
        course.values.iter().copied().fold(0.0, f64::max) / 1e6
    };
    let (large, small, slow) = (run("2MB", "100%"), run("200kB", "100%"), run("200kB", "5%"));
    // 2 MB take the wire for 400 ms, and 200 kB for 40 ms.
    assert!(300.0 < worst(&large), "{}", worst(&large));
    assert!(worst(&small) < 150.0, "{}", worst(&small));
    assert!(4.0 * value(&small, "copy_time") < value(&slow, "copy_time"));
    near(value(&small, "copied_bytes"), value(&slow, "copied_bytes"), 0.0);
}

#[test]
fn a_crash_of_one_of_two_copies_loses_nothing_and_the_copies_are_made_anew() {
    let rings =
        "variants = [\"ring\"]\nnodes = 6\nkeys = { made = { count = 3000 } }\nreplicas = 2";
    let motion = "duration = \"60s\"\nload = { open = { poisson = \"300/s\" } }\nclients = 3
        retry = { timeout = \"500ms\", retries = 3, backoff = \"50ms\" }\nvalues = \"1kB\"
        node = { store = {} }
        detector = { heartbeats = { every = \"500ms\", timeout = \"2s\" } }";
    for crash in ["crash_process", "crash_machine"] {
        let fault =
            format!("[[fault]]\nat = \"20s\"\nfor = \"20s\"\n{crash} = {{ target = \"node-2\" }}");
        let record = trial(rings, motion, &fault).run(1);
        near(value(&record, "failed"), 0.0, 0.0);
        near(value(&record, "lost_keys"), 0.0, 0.0);
        // Down and up: two views. What came back had its keys still.
        near(value(&record, "views"), 2.0, 0.0);
        assert!(0.0 < value(&record, "copied_bytes"), "{crash}");
        assert!(value(&record, "copied_ratio") < 0.9, "{crash}");
        assert_eq!(record.value("change_bytes", "up"), Some(0.0), "{crash}");
        let noticed = if crash == "crash_process" { "broken" } else { "timeouts" };
        assert!(0.0 < value(&record, noticed), "{crash}");
    }
}

#[test]
fn the_only_copy_on_a_machine_that_is_down_is_found_nowhere_until_it_is_back() {
    let rings = "variants = [\"ring\"]\nnodes = 3\nkeys = { made = { count = 300 } }";
    let motion = format!(
        "duration = \"60s\"\nload = {{ open = {{ poisson = \"100/s\" }} }}
        retry = {{ timeout = \"500ms\" }}\n{STORE}"
    );
    let fault = "[[fault]]\nat = \"10s\"\nfor = \"20s\"\ncrash_machine = { target = \"node-0\" }";
    let record = trial(rings, &motion, fault).run(1);
    assert!(0.0 < value(&record, "lost_keys"));
    assert!(0.0 < value(&record, "absent"));
    // A third of the keys for a third of the time.
    near(value(&record, "availability"), 1.0 - 1.0 / 9.0, 0.06);
    let failures = record.curves.iter().find(|c| c.metric.name == "failures").unwrap();
    // Senders find it again when their retransmission timer, which has backed off, falls due.
    assert!(failures.values[40..].iter().all(|&rate| rate <= 0.0));
}

#[test]
fn a_cache_that_comes_back_is_cold_and_the_hit_ratio_dips() {
    let rings = "variants = [{ ring = { virtual_nodes = 500 } }]\nnodes = 4
        keys = { made = { count = 1000 } }";
    let motion = "duration = \"60s\"\nload = { open = { poisson = \"1000/s\" } }
        retry = { timeout = \"500ms\", retries = 3, backoff = \"50ms\" }
        node = { cache = { capacity = \"1GB\" } }\nmisroute = \"serve\"
        detector = { delay = \"0s\" }";
    let fault = "warm_up = \"20s\"\n[[fault]]\nat = \"30s\"\nfor = \"10s\"
        crash_process = { target = \"node-1\" }";
    let record = trial(rings, motion, fault).run(1);
    // Before, everything is in a cache. In the second after, a quarter of the keys is not, and
    // each is missed once: 250 (1 - e^-1) misses of 1000 requests.
    near(value(&record, "hit_dip"), 0.25 * (1.0 - libm::exp(-1.0)), 0.03);
    let recovery = value(&record, "hit_recovery") / 1e9;
    assert!((10.0..=16.0).contains(&recovery), "{recovery}");
    assert_eq!(record.faults.len(), 1);
}

#[test]
fn a_paused_node_is_held_for_dead_by_heartbeats_alone() {
    let rings = "variants = [\"ring\"]\nnodes = 4";
    let motion = |detector: &str| {
        format!(
            "duration = \"30s\"\nload = {{ open = {{ poisson = \"100/s\" }} }}
            node = {{ store = {{}} }}\ndetector = {detector}"
        )
    };
    let fault = "[[fault]]\nat = \"10s\"\nfor = \"5s\"\npause = { target = \"node-1\" }";
    let beats = "{ heartbeats = { every = \"500ms\", timeout = \"1s\" } }";
    let record = trial(rings, &motion(beats), fault).run(1);
    near(value(&record, "views"), 2.0, 0.0);
    let told = trial(rings, &motion("{ delay = \"1s\" }"), fault).run(1);
    near(value(&told, "views"), 0.0, 0.0);
}

#[test]
fn overload_spreads_from_the_node_that_dies_to_those_that_get_its_load() {
    // Four nodes can do 400/s together and have 360/s to do; three have too much.
    let rings = "variants = [{ ring = { virtual_nodes = 1000 } }]\nnodes = 4";
    let motion = "duration = \"60s\"\nload = { open = { poisson = \"360/s\" } }
        retry = { timeout = \"1s\", retries = 1, backoff = \"50ms\" }
        station = { service = { exponential = { mean = \"10ms\" } }, queue = 20 }
        node = { store = {} }\nread_from = \"any\"
        detector = { heartbeats = { every = \"500ms\", timeout = \"1s\" } }
        overload = { dies_after = \"3s\" }";
    let fault = "[[fault]]\nat = \"10s\"\ncrash_process = { target = \"node-0\" }";
    let record = trial(&format!("{rings}\nreplicas = 4"), motion, fault).run(1);
    near(value(&record, "dead_nodes"), 3.0, 0.0);
    near(value(&record, "cascade"), 3.0, 0.0);
    assert_eq!(record.faults.len(), 4);
    let told = "node-0 is down, and 3 more have too much: node-1, node-2, node-3";
    assert!(record.findings.iter().any(|found| found.ends_with(told)), "{:?}", record.findings);
    let calm = trial(&format!("{rings}\nreplicas = 4"), motion, "").run(1);
    near(value(&calm, "dead_nodes"), 0.0, 0.0);
}

#[test]
fn a_bound_keeps_a_hot_key_from_one_node() {
    let rings = "variants = [\"ring\"]\nnodes = 10
        keys = { made = { count = 1000, popularity = { hot_spots = { share = \"50%\" } } } }";
    let motion = |bound: &str| {
        format!(
            "duration = \"30s\"\nload = {{ open = {{ poisson = \"500/s\" }} }}
            station = {{ service = {{ exponential = {{ mean = \"10ms\" }} }}, queue = 100 }}
            node = {{ cache = {{ capacity = \"1GB\" }} }}\nmisroute = \"serve\"
            detector = {{ delay = \"1s\" }}\n{bound}"
        )
    };
    let free = trial(rings, &motion(""), "").run(1);
    // 275/s for one that can do 100/s.
    near(value(&free, "availability"), 1.0 - 175.0 / 500.0, 0.03);
    for overflow in ["walk", "rehash"] {
        let bound = format!("bound = {{ factor = 1.25, overflow = \"{overflow}\" }}");
        let bounded = trial(rings, &motion(&bound), "").run(1);
        near(value(&bounded, "failed"), 0.0, 0.0);
        assert!(value(&bounded, "load_skew") < 1.6, "{overflow}");
        assert!(0.0 < value(&bounded, "spilled"), "{overflow}");
        near(value(&bounded, "misrouted"), 0.0, 0.0);
    }
}

#[test]
fn a_surge_makes_one_key_hot_while_it_lasts() {
    let rings = "variants = [\"ring\"]\nnodes = 10\nkeys = { made = { count = 1000 } }";
    let motion = format!(
        "duration = \"30s\"\nload = {{ open = {{ poisson = \"1000/s\" }} }}
        surges = [{{ at = \"10s\", for = \"10s\", share = \"50%\", key = 7 }}]\n{STORE}"
    );
    let record = trial(rings, &motion, "").run(1);
    let skew = &record.curves.iter().find(|c| c.metric.name == "load_skew").unwrap().values;
    // Half of the requests for one of ten nodes, and its part of the others.
    assert!(skew[11..19].iter().all(|&skew| (4.8..6.5).contains(&skew)), "{skew:?}");
    assert!(skew[..10].iter().chain(&skew[20..]).all(|&skew| skew < 2.0), "{skew:?}");
    assert_eq!(record.faults[0].label, "surge of key 7");
    let wrong = read(rings, &motion.replace("key = 7", "key = 1000"), "").err();
    assert_eq!(wrong, Some(vec!["there is no key 1000: they count from 0".into()]));
}

#[test]
fn a_zone_that_fails_takes_all_its_nodes_with_it() {
    let rings = "variants = [\"ring\"]\nkeys = { made = { count = 2000 } }\nreplicas = 3
        nodes = [{ name = \"a\", count = 2, zone = \"eu/1\" }, { name = \"b\", count = 4, zone = \"us\" }]";
    let motion = format!(
        "duration = \"40s\"\nload = {{ open = {{ poisson = \"200/s\" }} }}
        retry = {{ timeout = \"500ms\", retries = 5 }}\n{STORE}"
    );
    let fault = "[[fault]]\nat = \"10s\"\nfor = \"10s\"\ncrash_machine = { target = \"eu\" }";
    let record = trial(rings, &motion, fault).run(1);
    near(value(&record, "views"), 4.0, 0.0);
    // Two of three copies are the most that can be lost.
    near(value(&record, "failed"), 0.0, 0.0);
    near(value(&record, "lost_keys"), 0.0, 0.0);
}

#[test]
fn an_estimate_is_near_the_events_that_happen() {
    let rings = "variants = [\"ring\"]\nnodes = 20";
    for motion in [
        format!("duration = \"60s\"\nload = {{ open = {{ poisson = \"500/s\" }} }}\n{STORE}"),
        "duration = \"60s\"\nclients = 30\nload = { closed = { think = \"50ms\" } }
            retry = { timeout = \"1s\" }\nbandwidth = \"1Gbit/s\"
            node = { cache = { capacity = \"1MB\" } }"
            .into(),
    ] {
        let trial = trial(rings, &motion, "");
        let config = trial.setup.config.motion.as_ref().unwrap();
        let choice = &trial.setup.config.variants[0];
        let estimated = estimate(choice, &trial.setup, config).operations;
        let ratio = estimated / trial.run(1).event_count as f64;
        assert!((0.5..2.0).contains(&ratio), "{ratio}");
    }
}

#[test]
fn a_node_of_twice_the_weight_has_twice_the_servers() {
    let motion = MotionConfig::read(
        &Value::parse(
            "duration = \"1s\"\nload = { closed = { think = \"1s\" } }\nnode = { store = {} }
            station = { servers = 3 }",
            0,
            &mut Problems::default(),
        ),
        &mut Problems::default(),
    );
    let motion = motion.unwrap();
    assert_eq!(motion.station_of(2.0).servers, 6);
    assert_eq!(motion.station_of(0.1).servers, 1);
}

#[test]
fn a_closed_load_keeps_one_request_a_client_under_way() {
    // With no queueing, each client turns round in think + service + a round trip.
    let motion = format!(
        "duration = \"100s\"\nclients = 20
        load = {{ closed = {{ think = \"90ms\" }} }}
        station = {{ servers = 100, service = \"8ms\" }}\n{STORE}"
    );
    let network = "[network]\ndelay = \"1ms\"";
    let record = trial("variants = [\"ring\"]\nnodes = 5", &motion, network).run(1);
    near(value(&record, "throughput"), 200.0, 1.0);
    near(mean_latency_ms(&record), 10.0, 0.01);
}

#[test]
fn clients_that_die_take_their_requests_with_them() {
    let motion = format!(
        "duration = \"30s\"\nclients = 4\nload = {{ closed = {{ think = \"10ms\" }} }}
        station = {{ service = \"20ms\" }}\n{STORE}"
    );
    let fault =
        "[[fault]]\nevery = \"3s\"\nfor = \"1s\"\ncrash_process = { target = \"any:client\" }";
    let record = trial("variants = [\"ring\"]\nnodes = 5", &motion, fault).run(1);
    let failed = value(&record, "failed");
    assert!((1.0..=9.0).contains(&failed), "{failed}");
    assert!(value(&record, "censored") <= 4.0);
}

#[test]
fn the_monitor_remembers_what_it_decided() {
    let motion = "duration = \"40s\"\nload = { open = { poisson = \"100/s\" } }
        node = { store = {} }\nclients = 2
        changes = [{ at = \"5s\", change = \"add\" }, { at = \"20s\", change = { remove = { node = \"node-1\" } } }]";
    let fault = "[[fault]]\nat = \"10s\"\nfor = \"2s\"\ncrash_process = { target = \"monitor\" }
        [[fault]]\nat = \"25s\"\nfor = \"2s\"\ncrash_process = { target = \"clients\" }";
    let record = trial("variants = [\"ring\"]\nnodes = 4", motion, fault).run(1);
    near(value(&record, "views"), 2.0, 0.0);
    near(value(&record, "misrouted"), 0.0, 0.0);
    let changes: Vec<&str> = record
        .faults
        .iter()
        .map(|fault| fault.label.as_str())
        .filter(|l| !l.contains("crash"))
        .collect();
    assert_eq!(changes, ["add", "remove node-1"]);
}

#[test]
fn every_variant_serves_every_key_through_every_change() {
    for entry in CATALOGUE {
        let rings = format!(
            "variants = [\"{}\"]\nnodes = 5\nkeys = {{ made = {{ count = 500 }} }}",
            entry.about.name
        );
        let motion = format!(
            "duration = \"40s\"\nload = {{ open = {{ poisson = \"200/s\" }} }}\nclients = 3
            spread = {{ uniform = {{ min = \"0s\", max = \"2s\" }} }}
            retry = {{ timeout = \"1s\", retries = 20, backoff = \"100ms\", backoff_max = \"1s\" }}
            {STORE}
            changes = [
                {{ at = \"5s\", change = \"add\" }},
                {{ at = \"8s\", change = {{ remove = {{ node = \"node-1\" }} }} }},
                {{ at = \"12s\", change = \"replace\" }},
                {{ at = \"13s\", change = {{ scale = 8 }} }},
                {{ at = \"20s\", change = {{ scale = 4 }} }},
            ]"
        );
        let fault =
            "[[fault]]\nat = \"25s\"\nfor = \"3s\"\ncrash_process = { target = \"any:node\" }";
        let record = trial(&rings, &motion, fault).run(7);
        let failed = value(&record, "failed");
        assert!(failed <= 0.0, "{}: {failed} requests failed", entry.about.name);
    }
}

#[test]
fn a_run_repeats_to_the_last_bit_and_another_seed_differs() {
    let motion = "duration = \"20s\"\nload = { open = { poisson = \"300/s\" } }\nclients = 3
        retry = { timeout = \"200ms\", retries = 2 }\nvalues = { log_normal = { median = \"10kB\", sigma = 1.0 } }
        bandwidth = \"5MB/s\"\nreads = \"90%\"\nnode = { store = {} }
        spread = { exponential = { mean = \"500ms\" } }
        changes = [{ at = \"5s\", change = \"add\" }, { at = \"9s\", change = \"remove\" }]";
    let rings =
        "variants = [\"ring\"]\nnodes = 5\nreplicas = 2\nkeys = { made = { count = 2000 } }";
    let trial = trial(
        rings,
        motion,
        "[[fault]]\nrate = \"10/min\"\nfor = \"2s\"\npause = { target = \"any:node\" }",
    );
    assert_eq!(trial.run(1), trial.run(1));
    assert_ne!(trial.run(1).fingerprint, trial.run(2).fingerprint);
}

#[test]
fn the_scenario_of_a_production_cache_has_the_numbers_of_its_row() {
    let table = include_str!("../../../scenarios/data/twitter-cache-2020mar.csv");
    let row = table.lines().find(|line| line.starts_with("cluster24,")).unwrap();
    let fields: Vec<f64> = row.split(',').skip(1).map(|field| field.parse().unwrap()).collect();
    let [kqps, _key_bytes, value_bytes, zipf, _frequency, reads, _misses] = fields[..] else {
        panic!("{row}")
    };
    let scenario = include_str!("../../../scenarios/rings/motion-cache.toml");
    let value = Value::parse(scenario, 0, &mut Problems::default());
    let rings = part(part(&value, "experiment").unwrap(), "rings").unwrap();
    let config = RingsConfig::read(rings, &mut Problems::default()).unwrap();
    let motion = config.motion.unwrap();
    let KeysConfig::Made(made) = &config.keys else { panic!("its keys are made up") };
    let LoadConfig::Open(arrivals) = &motion.load else { panic!("its load is open") };
    near(arrivals.mean_rate(), kqps * 1000.0, 1e-6);
    near(motion.reads.as_f64(), reads, 1e-9);
    assert_eq!(motion.values, Sizes(SizeKind::Constant(crate::config::Bytes(value_bytes as u64))));
    let Popularity::Zipf(exponent) = made.popularity else { panic!("it is a Zipf law") };
    near(exponent.as_f64(), zipf, 1e-9);
}

#[test]
fn sizes_have_the_mean_that_their_law_says() {
    let mean = |text: &str| {
        let mut problems = Problems::default();
        let value = Value::parse(&format!("s = {text}"), 0, &mut problems);
        let sizes = Sizes::read(part(&value, "s").unwrap(), &mut problems).unwrap();
        let count = 200_000;
        (0..count).map(|key| f64::from(sizes.of(key, 9))).sum::<f64>() / f64::from(count)
    };
    near(mean("\"5kB\""), 5000.0, 0.0);
    near(mean("{ uniform = { min = \"1kB\", max = \"3kB\" } }"), 2000.0, 10.0);
    let log_normal = 1000.0 * libm::exp(0.5);
    near(mean("{ log_normal = { median = \"1kB\", sigma = 1.0 } }"), log_normal, 30.0);
    near(mean("{ pareto = { min = \"1kB\", alpha = 3.0 } }"), 1500.0, 20.0);
}

#[test]
fn what_cannot_be_is_told_with_its_reason() {
    let load = "load = { closed = { think = \"1s\" } }\nnode = { store = {} }";
    let ring = "variants = [\"ring\"]\nnodes = 3";
    for (rings, motion, message) in [
        (
            "variants = [\"ring\"]\nnodes = 3\nevents = [\"add\"]".to_owned(),
            format!("duration = \"10s\"\n{load}"),
            "a ring in motion has no `events`".to_owned(),
        ),
        (
            ring.into(),
            format!("duration = \"1ms\"\n{load}"),
            "`duration` (1ms) must have from 1 to 100000 of `window` (1s)".into(),
        ),
        (
            ring.into(),
            format!(
                "duration = \"10s\"\n{load}\nchanges = [{{ at = \"1s\", change = {{ remove = {{ node = \"x\" }} }} }}]"
            ),
            "`x` is not a member at that time".into(),
        ),
        (
            ring.into(),
            format!(
                "duration = \"10s\"\n{load}\nchanges = [{{ at = \"2s\", change = \"add\" }}, {{ at = \"1s\", change = \"add\" }}]"
            ),
            "a change at 1s stands after one at 2s".into(),
        ),
        (
            "variants = [\"ring\"]\nnodes = [{ name = \"client-1\" }]".into(),
            format!("duration = \"10s\"\n{load}"),
            "no member can be called `client-1`".into(),
        ),
        (
            ring.into(),
            format!("duration = \"10s\"\n{load}\nvalues = \"2GiB\""),
            "a value may have 1GiB at most".into(),
        ),
        (
            ring.into(),
            format!(
                "duration = \"10s\"\n{load}\ndetector = {{ heartbeats = {{ every = \"5s\" }} }}"
            ),
            "`timeout` (3s) is less than `every` (5s): all nodes would be held for dead".into(),
        ),
    ] {
        assert_eq!(read(&rings, &motion, "").err(), Some(vec![message]));
    }
}
