//! Each measure, on a history made by hand.

use super::super::judge::by_hand::{A, B, C, LOCK, effect, grant, ms, names};
use super::*;
use crate::config::{Config, Problems, Value};
use crate::kernel::sim::Run;
use crate::locks::history::Wait;
use crate::locks::resource::Access::{Read, Write};
use crate::locks::section::SectionId;
use crate::locks::{LockId, Servers, Shards};
use crate::model::cluster::Traffic;
use crate::model::node::NodeId;
use crate::record::FaultSpan;

/// The record of a second of three clients and two locks, of which `history` is all that happened;
/// the first tenth of a second is warm-up.
fn record_of(history: History, faults: Vec<FaultSpan>, traffic: Vec<Traffic>) -> Record {
    record_with(Shards::default(), history, faults, traffic)
}

fn record_with(
    shards: Shards,
    history: History,
    faults: Vec<FaultSpan>,
    traffic: Vec<Traffic>,
) -> Record {
    let mut problems = Problems::default();
    let text = "variants = [\"token\"]\nclients = 3\nlocks = 2\nhorizon = \"1s\"";
    let config = LocksConfig::read(&Value::parse(text, 0, &mut problems), &mut problems)
        .expect("the text is right");
    let around = Surroundings { warm_up: SimDuration::from_ms(100), ..Surroundings::default() };
    let played = Played {
        directory: names(),
        servers: Servers::One,
        shards,
        history: History { end: ms(1000), ..history },
        run: Run { end: RunEnd::Horizon, event_count: 0, fingerprint: 0, now: ms(1000) },
        faults,
        traffic,
    };
    record(&config.variants[0], &config, &around, Seed(1), &played)
}

fn of_grants(grants: impl IntoIterator<Item = Grant>) -> Record {
    record_of(
        History { grants: grants.into_iter().collect(), ..History::default() },
        vec![],
        vec![],
    )
}

fn value(record: &Record, name: &str) -> f64 {
    record.value(name, "").unwrap_or_else(|| panic!("no {name}"))
}

/// What a sample has, in milliseconds: how many, and the least and the most.
fn range(record: &Record, name: &str, at: &str) -> Option<(u64, u64, u64)> {
    let sample = record.samples.iter().find(|s| s.metric.name == name && s.at == at)?;
    let of = |share: f64| (sample.distribution.quantile(share) as f64 / 1e6).round() as u64;
    Some((sample.distribution.count(), of(0.0), of(1.0)))
}

fn wait(client: NodeId, requested: u64, ended: Option<(u64, WaitEnd)>) -> Wait {
    let ended = ended.map(|(at, how)| (ms(at), how));
    Wait { section: SectionId(requested), client, lock: LOCK, requested: ms(requested), ended }
}

fn fault(from: u64, until: u64) -> FaultSpan {
    FaultSpan { label: "a fault".into(), from: ms(from), until: ms(until) }
}

#[test]
fn the_worst_window_is_worse_than_the_whole() {
    // Thirty grants in turn, and then ten in a row to each: the whole is fair.
    let turns = (0..30).map(|n| [A, B, C][n % 3]);
    let rows = (0..30).map(|n| [A, B, C][n / 10]);
    let clients: Vec<NodeId> = turns.chain(rows).collect();
    let record = of_grants(clients.iter().zip(100..).map(|(client, at)| grant(*client, at, at)));
    assert!((value(&record, "jain") - 1.0).abs() < 1e-12);
    // All of A's row and little of C's: 16, 8 and 6.
    let window = &clients[12..42];
    let squares: usize = [A, B, C]
        .map(|client| window.iter().filter(|other| **other == client).count().pow(2))
        .iter()
        .sum();
    assert_eq!(squares, 16 * 16 + 8 * 8 + 6 * 6);
    assert!((value(&record, "jain_window") - 900.0 / (3.0 * 356.0)).abs() < 1e-12);
}

#[test]
fn fewer_grants_than_a_window_have_no_worst_window() {
    let record = of_grants((0..29).map(|at| grant(A, 100 + at, 100 + at)));
    assert_eq!(record.value("jain_window", ""), None);
    assert!((value(&record, "jain") - 1.0 / 3.0).abs() < 1e-12, "one of three has all");
}

#[test]
fn unavailability_runs_from_the_loss_to_the_next_grant_by_what_befell_the_holder() {
    let died = |grant: Grant| Grant { ended: Some(GrantEnd::Died), ..grant };
    let elsewhere = |grant: Grant| Grant { lock: LockId(1), ..grant };
    let history = History {
        grants: vec![
            died(grant(A, 100, 150)),
            // The other lock has not been lost, and A's next life is no other client.
            elsewhere(grant(B, 160, 170)),
            grant(A, 170, 175),
            grant(B, 180, 200),
            died(grant(C, 300, 310)),
            grant(A, 350, 500),
            // B stands still from 620 on, and goes on believing.
            grant(B, 600, 900),
            grant(C, 700, 710),
            // Nobody is granted what this one loses.
            died(grant(C, 950, 960)),
        ],
        changes: vec![
            (ms(150), A, Change::ProcessDown),
            (ms(155), A, Change::Up),
            (ms(310), C, Change::MachineDown),
            (ms(320), C, Change::Up),
            // What holds nothing is no loss.
            (ms(550), A, Change::Paused),
            (ms(560), A, Change::Resumed),
            (ms(620), B, Change::Paused),
            (ms(960), C, Change::ProcessDown),
        ],
        ..History::default()
    };
    let record = record_of(history, vec![], vec![]);
    assert_eq!(range(&record, "unavailability", "process died"), Some((1, 30, 30)));
    assert_eq!(range(&record, "unavailability", "machine died"), Some((1, 40, 40)));
    assert_eq!(range(&record, "unavailability", "stood still"), Some((1, 80, 80)));
}

#[test]
fn healing_runs_from_the_end_of_the_last_fault_to_the_next_grant() {
    let history = |requested| History {
        grants: vec![grant(A, 200, 250), grant(B, 480, 490)],
        waits: vec![wait(B, requested, Some((480, WaitEnd::Granted)))],
        ..History::default()
    };
    // One fault lasts to the end: it never heals.
    let faults = || vec![fault(100, 400), fault(50, 300), fault(900, 1000)];
    let record = record_of(history(260), faults(), vec![]);
    assert!((value(&record, "healing") - 80e6).abs() < 1.0);
    // Nobody waited when it was over.
    assert_eq!(record_of(history(410), faults(), vec![]).value("healing", ""), None);
    assert_eq!(record_of(history(260), vec![], vec![]).value("healing", ""), None);
}

#[test]
fn the_overlaps_of_beliefs_are_summed_and_the_longest_is_told() {
    let record = of_grants([grant(A, 100, 200), grant(B, 150, 210), grant(C, 205, 300)]);
    assert!((value(&record, "l2_violations") - 2.0).abs() < 1e-12);
    assert!((value(&record, "l2_overlap") - 55e6).abs() < 1.0);
    assert!((value(&record, "l2_overlap_longest") - 50e6).abs() < 1.0);
}

#[test]
fn the_wait_that_is_overtaken_most_is_told() {
    let asked = |requested, grant: Grant| Grant { requested: ms(requested), ..grant };
    let history = History {
        grants: vec![
            asked(100, grant(A, 101, 110)),
            asked(120, grant(B, 121, 130)),
            asked(140, grant(B, 141, 150)),
            asked(105, grant(C, 160, 170)),
            asked(90, grant(A, 180, 190)),
        ],
        waits: vec![
            wait(C, 105, Some((160, WaitEnd::Granted))),
            wait(A, 90, Some((180, WaitEnd::Granted))),
        ],
        ..History::default()
    };
    // A's wait saw B twice and C once.
    assert!((value(&record_of(history, vec![], vec![]), "bypass_max") - 3.0).abs() < 1e-12);
}

#[test]
fn tries_and_wake_ups_count_from_the_warm_up_on_and_messages_over_the_whole_run() {
    let history = History {
        grants: vec![grant(A, 50, 60), grant(B, 150, 160), grant(C, 250, 260)],
        tries: [40, 120, 140, 200].map(ms).to_vec(),
        wakes: [45, 100, 145, 170, 180, 230, 240].map(ms).to_vec(),
        ..History::default()
    };
    let traffic = vec![Traffic { kind: "acquire", count: 12, bytes: 0 }];
    let record = record_of(history, vec![], traffic);
    assert!((value(&record, "tries_per_grant") - 1.5).abs() < 1e-12);
    assert!((value(&record, "wakes_per_grant") - 3.0).abs() < 1e-12);
    let messages = record.value("messages_per_grant", "acquire").expect("it was sent");
    assert!((messages - 4.0).abs() < 1e-12);
}

#[test]
fn a_hand_over_counts_where_another_waited_at_the_release() {
    let asked = |requested, grant: Grant| Grant { requested: ms(requested), ..grant };
    let history = History {
        grants: vec![
            asked(100, grant(A, 100, 200)),
            // A takes it back while B waits.
            asked(201, grant(A, 202, 300)),
            asked(150, grant(B, 307, 400)),
            // Nobody waited when B released.
            asked(500, grant(C, 501, 600)),
            // C's ran out: no release.
            Grant { ended: Some(GrantEnd::Lost), ..asked(650, grant(C, 651, 700)) },
            asked(660, grant(A, 710, 720)),
        ],
        waits: vec![
            wait(A, 100, Some((100, WaitEnd::Granted))),
            wait(B, 150, Some((307, WaitEnd::Granted))),
            wait(A, 201, Some((202, WaitEnd::Granted))),
            wait(C, 500, Some((501, WaitEnd::Granted))),
            wait(C, 650, Some((651, WaitEnd::Granted))),
            wait(A, 660, Some((710, WaitEnd::Granted))),
            wait(B, 800, Some((900, WaitEnd::GaveUp))),
            wait(B, 950, None),
        ],
        ..History::default()
    };
    let record = record_of(history, vec![], vec![]);
    assert_eq!(range(&record, "handover", ""), Some((1, 7, 7)));
    assert!((value(&record, "self_reacquire") - 0.5).abs() < 1e-12);
    assert!((value(&record, "streak_max") - 2.0).abs() < 1e-12);
    assert!((value(&record, "waits_censored") - 2.0).abs() < 1e-12);
    assert_eq!(range(&record, "lock_wait", ""), Some((6, 0, 157)));
}

#[test]
fn a_grant_whose_section_is_bad_is_no_service() {
    // Sections 0 and 1: the later write replaces the earlier one.
    let of_section = |section, grant: Grant| Grant { section: SectionId(section), ..grant };
    let history = History {
        grants: vec![
            of_section(0, grant(A, 100, 300)),
            of_section(1, grant(B, 150, 250)),
            of_section(2, grant(C, 400, 580)),
        ],
        effects: vec![
            effect(110, A, 0, Read, 0),
            effect(160, B, 0, Read, 0),
            effect(240, B, 0, Write, 1),
            effect(290, A, 0, Write, 1),
        ],
        ..History::default()
    };
    let record = record_of(history, vec![], vec![]);
    // One good grant in 900 ms, held for 180 ms of the 900 ms of two locks.
    assert!((value(&record, "grant_rate") - 1.0 / 0.9).abs() < 1e-9);
    assert!((value(&record, "lock_utilisation") - 0.1).abs() < 1e-9);
    assert!((value(&record, "l3_violations") - 2.0).abs() < 1e-12);
    assert!((value(&record, "lost_increments") - 1.0).abs() < 1e-12);
}

#[test]
fn the_load_of_services_counts_requests_and_is_held_to_what_the_hottest_lock_allows() {
    let on = |lock, wait: Wait| Wait { lock: LockId(lock), ..wait };
    let history = || History {
        waits: vec![
            // In the warm-up.
            wait(A, 50, None),
            on(0, wait(A, 110, None)),
            on(0, wait(B, 120, None)),
            on(0, wait(C, 130, None)),
            on(1, wait(A, 140, None)),
            on(2, wait(B, 150, None)),
            on(1, wait(C, 160, None)),
        ],
        ..History::default()
    };
    let record = record_with(Shards::new(3, vec![1, 1, 0]), history(), vec![], vec![]);
    let loads = [1, 2, 3].map(|n| record.value("shard_load", &format!("service-{n}")));
    for (load, count) in loads.into_iter().zip([1.0, 5.0, 0.0]) {
        assert!((load.expect("each service has a load") - count / 0.9).abs() < 1e-9);
    }
    assert!((value(&record, "shard_skew") - 2.5).abs() < 1e-12);
    assert!((value(&record, "shard_skew_floor") - 1.5).abs() < 1e-12);
    let of_one = record_of(history(), vec![], vec![]);
    assert_eq!(of_one.value("shard_skew", ""), None);
}
