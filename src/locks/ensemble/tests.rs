//! What the services on a replicated log promise, on whole runs.

use crate::kernel::rng::Seed;
use crate::kernel::time::SimDuration;
use crate::locks::judge::Verdicts;
use crate::locks::matrix::{Base, VARIANTS, read};
use crate::locks::{Played, Shards, play};

/// The services in the parameters of the matrix: a time to live, or a lease, of a second.
const SERVICES: [&str; 6] = ["V7u", "V7", "V8x", "V8", "V9", "V10"];

fn choice(id: &str) -> String {
    let variant = VARIANTS.iter().find(|row| row.id == id).expect("a variant");
    variant.choice(&Base::default())
}

fn run(choice: &str, text: &str, seed: u64) -> (Played, Verdicts) {
    let text =
        format!("[network]\ndelay = \"1ms\"\n[experiment.locks]\nvariants = [{choice}]\n{text}");
    let (config, around) = read(&text, None).unwrap_or_else(|problems| panic!("{problems:?}"));
    let played = play(&config.variants[0], &config, &Shards::default(), &around, Seed(seed));
    let verdicts = Verdicts::of(&played);
    (played, verdicts)
}

/// When the second client sees its grant, in milliseconds.
fn second_grant_ms(played: &Played) -> f64 {
    played.history.grants[1].granted.as_secs_f64() * 1e3
}

#[test]
fn a_leader_killed_in_mid_commit_neither_loses_a_grant_nor_makes_two() {
    for id in SERVICES {
        for count in 1..12 {
            let text = format!(
                "clients = 3\nhorizon = \"10s\"\nwork = \"20ms\"\nthink = \"5ms\"\n\
                 fencing = \"reads_and_writes\"\n\
                 [[fault]]\non = {{ node = \"server-1\", point = \"proposed\", count = {count} }}\n\
                 for = \"1s\"\ncrash_machine = {{ target = \"server-1\" }}"
            );
            let (played, verdicts) = run(&choice(id), &text, count);
            assert_eq!(played.faults.len(), 1, "{id} {count}");
            assert_eq!(verdicts.service.violations, 0, "{id} {count}: {:?}", verdicts.service);
            assert_eq!(verdicts.operational.pairs, 0, "{id} {count}: {:?}", verdicts.operational);
            assert!(verdicts.effect.is_good(), "{id} {count}");
            let last = played.history.grants.last().expect("grants").granted.as_secs_f64();
            assert!(9.5 < last, "{id} {count}: nobody is granted the lock after {last} s");
        }
    }
}

#[test]
fn an_implementation_that_elects_anyone_or_never_syncs_is_found_out() {
    let is_bad = |params: &str| {
        (1..200).any(|seed| {
            let text = "clients = 3\nhorizon = \"8s\"\nwork = \"20ms\"\nthink = \"5ms\"\n\
                [[fault]]\nrate = \"2/s\"\nfor = { exponential = { mean = \"600ms\" } }\n\
                crash_machine = { target = \"any:server\" }\n\
                [[fault]]\nrate = \"2/s\"\nfor = { exponential = { mean = \"600ms\" } }\n\
                isolate = { target = \"any:server\" }";
            let choice = format!("{{ raft = {{ timeout = \"300ms\", {params} }} }}");
            run(&choice, text, seed).1.service.violations != 0
        })
    };
    assert!(is_bad("restrict_votes = false"));
    assert!(is_bad("log = { fsync = false }"));
    assert!(!is_bad("servers = 3"));
}

#[test]
fn a_holder_that_dies_is_outlived_by_its_lease_as_long_as_the_product_says() {
    let text = "clients = 2\nhorizon = \"20s\"\n\
        script = [{ client = 1, at = \"0s\", work = \"10s\" }, \
        { client = 2, at = \"0.1s\", work = \"1ms\" }]\n\
        [[fault]]\nat = \"2200ms\"\ncrash_machine = { target = \"client-1\" }";
    for (id, least, most) in [
        // A time-out of 1000 ms, shown signs of life every third, in ticks of 50 ms.
        ("V7", 667.0, 1060.0),
        ("V8", 667.0, 1020.0),
        // A lease of 500 ms which is extended 100 ms before its end, and a lock-delay of 1000 ms.
        ("V9", 1100.0, 1920.0),
    ] {
        let took = second_grant_ms(&run(&choice(id), text, 1).0) - 2200.0;
        assert!((least..most).contains(&took), "{id}: {took} ms");
    }
    assert_eq!(run(&choice("V10"), text, 1).0.history.grants.len(), 1);
}

#[test]
fn a_new_leader_gives_every_lease_its_whole_time_again() {
    let second = |leader_dies: bool| {
        let mut text = "clients = 2\nhorizon = \"20s\"\n\
            script = [{ client = 1, at = \"0s\", work = \"10s\" }, \
            { client = 2, at = \"0.1s\", work = \"1ms\" }]\n\
            [[fault]]\nat = \"2s\"\ncrash_machine = { target = \"client-1\" }"
            .to_owned();
        if leader_dies {
            text += "\n[[fault]]\nat = \"2400ms\"\ncrash_process = { target = \"server-1\" }";
        }
        second_grant_ms(&run(&choice("V8"), &text, 1).0)
    };
    assert!(second(false) < 3030.0, "{}", second(false));
    assert!(3550.0 < second(true), "{}", second(true));
}

#[test]
fn etcds_client_as_shipped_believes_in_its_lease_for_up_to_a_look_too_long() {
    let overlap = |deadline: &str| {
        let choice = format!(
            "{{ etcd = {{ ttl = \"2s\", deadline = \"{deadline}\", server_look = \"10ms\", \
             log = {{ election_min = \"150ms\", election_max = \"300ms\", heartbeat = \"50ms\" }} }} }}"
        );
        let text = "clients = 2\nhorizon = \"20s\"\n\
            script = [{ client = 1, at = \"0s\", work = \"8s\" }, \
            { client = 2, at = \"0.1s\", work = \"5s\" }]\n\
            [[fault]]\nat = \"1500ms\"\nfor = \"9s\"\n\
            partition = { sides = [[\"client-1\"], [\"servers\"]] }";
        run(&choice, text, 1).1.operational.total
    };
    assert_eq!(overlap("exact"), SimDuration::ZERO);
    let shipped = overlap("as_shipped");
    assert!(SimDuration::from_ms(100) < shipped, "{shipped}");
    assert!(shipped < SimDuration::from_ms(1010), "{shipped}");
}

#[test]
fn a_late_copy_of_an_earlier_release_takes_a_later_hold_of_etcd_only() {
    let double = |id: &str| {
        let text = "clients = 2\nhorizon = \"5s\"\n\
            script = [{ client = 1, at = \"0s\", work = \"10ms\" }, \
            { client = 1, at = \"100ms\", work = \"500ms\" }, \
            { client = 2, at = \"200ms\", work = \"100ms\" }]\n\
            [[fault]]\nat = \"0s\"\nfor = \"50ms\"\nlink_duplicate = { from = \"client-1\", \
            to = \"servers\", kind = \"release\", after = \"300ms\" }";
        run(&choice(id), text, 1).1.operational.pairs
    };
    let found: Vec<&str> = SERVICES.into_iter().filter(|id| 0 < double(id)).collect();
    assert_eq!(found, ["V8x", "V8"]);
}

#[test]
fn a_release_wakes_exactly_one_of_many_who_wait() {
    for id in ["V7", "V8"] {
        let text = "clients = 8\nhorizon = \"10s\"\nwork = \"20ms\"\nthink = \"0s\"";
        let (played, _) = run(&choice(id), text, 1);
        let grants = played.history.grants.len();
        assert!(100 < grants, "{id}: {grants}");
        assert!(played.history.wakes.len() <= grants + 1, "{id}");
    }
    let queued = "clients = 8\nhorizon = \"10s\"\nwork = \"20ms\"\nthink = \"0s\"";
    for id in ["V9", "V10"] {
        let (_, verdicts) = run(&choice(id), queued, 1);
        assert_eq!(verdicts.liveness.bypass_max, 0, "{id}: first come, first served");
    }
}
