//! The same scenario and the same seeds give the same bytes: whatever the number of threads, the
//! build, and the time.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Place, SMALL, finish};

/// What must not depend on anything: a scenario for each wing.
fn scenarios(place: &Place) -> Vec<String> {
    place.write("scenarios/small.toml", SMALL.as_bytes());
    let mut files = vec!["scenarios/small.toml".to_owned()];
    for wing in ["rings", "locks", "queues", "pipeline"] {
        assert_eq!(place.run(&["init", wing]).code, 0);
        files.push(format!("scenarios/my-{wing}.toml"));
    }
    files
}

/// The whole result of `scenario`, made by `program`.
fn result(
    place: &Place,
    program: &Path,
    scenario: &str,
    args: &[&str],
) -> BTreeMap<String, Vec<u8>> {
    let whole = [&["run", scenario, "--out", "result", "--seeds", "3"], args].concat();
    let ran = finish(&mut place.command_of(program, &whole));
    assert_eq!(ran.code, 0, "{scenario}: {}", ran.err);
    let files = place.files("result");
    std::fs::remove_dir_all(place.path("result")).unwrap();
    files
}

fn this_build() -> PathBuf {
    env!("CARGO_BIN_EXE_stormglass").into()
}

fn assert_same(what: &str, one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) {
    assert!(3 < one.len(), "{what}: there is hardly a file to compare");
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(one), names(other), "{what}");
    for (name, bytes) in one {
        assert!(*bytes == other[name], "{what}: {name} differs");
    }
}

#[test]
fn results_are_the_same_for_one_thread_and_for_eight_and_twice_in_a_row() {
    let place = Place::new();
    for scenario in scenarios(&place) {
        let one = result(&place, &this_build(), &scenario, &["--jobs", "1"]);
        let eight = result(&place, &this_build(), &scenario, &["--jobs", "8"]);
        let again = result(&place, &this_build(), &scenario, &["--jobs", "8"]);
        assert_same(&format!("{scenario}, 1 and 8 jobs"), &one, &eight);
        assert_same(&format!("{scenario}, twice"), &eight, &again);
    }
}

#[test]
fn other_seeds_give_other_results() {
    let place = Place::with_scenario(SMALL);
    let records = |seeds: &str| {
        let args = ["run", "scenarios/small.toml", "--seeds", seeds];
        assert_eq!(place.run(&args).code, 0);
        place.read("results/small/records.csv")
    };
    assert_ne!(records("1..4"), records("4..7"));
}

#[test]
fn users_can_verify_it_for_their_own_scenarios() {
    let place = Place::new();
    for scenario in scenarios(&place) {
        let ran = place.run(&["run", &scenario, "--verify-determinism", "--seeds", "2"]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{scenario}");
    }
}

/// With and without optimisation, assertions and checks: this build, and one of the other kind.
#[test]
fn debug_and_release_give_the_same_results() {
    let (profile, name) =
        if cfg!(debug_assertions) { ("release", "release") } else { ("dev", "debug") };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/determinism");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--locked", "--bin", "stormglass", "--profile", profile])
        // How a release is cut up and put together changes no result, and takes long.
        .args(["--config", "profile.release.lto=false"])
        .args(["--config", "profile.release.codegen-units=16", "--target-dir"])
        .arg(&folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(status.success(), "{profile}");
    let other = folder.join(name).join(format!("stormglass{}", std::env::consts::EXE_SUFFIX));
    let place = Place::new();
    for scenario in scenarios(&place) {
        let here = result(&place, &this_build(), &scenario, &[]);
        let there = result(&place, &other, &scenario, &[]);
        assert_same(&format!("{scenario}, debug and release"), &here, &there);
    }
}
