//! Published figures of placement rings, as scenarios that check themselves: each claim of
//! `scenarios/rings/published` is a formula or a figure with its source.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::Place;

#[path = "../examples/own_ring.rs"]
#[allow(dead_code, reason = "its `main` is the example's")]
mod own_ring;

fn scenarios() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/rings/published");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut scenarios: Vec<PathBuf> =
        files.filter(|path| path.extension().is_some_and(|ending| ending == "toml")).collect();
    scenarios.sort();
    scenarios
}

#[test]
fn every_published_figure_is_met_within_its_spread() {
    let (place, scenarios) = (Place::new(), scenarios());
    assert!(12 <= scenarios.len(), "{scenarios:?}");
    let mut broken = String::new();
    for scenario in &scenarios {
        let ran = place.run(&["check", scenario.to_str().unwrap()]);
        if ran.code != 0 {
            broken += &format!("{}: {}\n{}{}\n", scenario.display(), ran.code, ran.out, ran.err);
        }
    }
    assert!(broken.is_empty(), "{broken}");
}

/// A bound that nothing could miss would check nothing.
#[test]
fn a_figure_that_is_off_by_a_tenth_is_not_met() {
    let place = Place::new();
    let text = include_str!("../scenarios/rings/published/jump-cost.toml");
    let wrong = text.replace("within = [5.135, 5.239]", "within = [5.65, 5.75]");
    assert_ne!(wrong, text);
    place.write("wrong.toml", wrong.as_bytes());
    let ran = place.run(&["check", "wrong.toml"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
}

#[test]
fn a_ring_of_ones_own_is_measured_beside_the_catalogues() {
    let mut out = Vec::new();
    own_ring::measure_it(&mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let row = |name: &str| {
        let row =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{text}"));
        let numbers = row.split_whitespace().skip(1);
        numbers.map(|word| word.trim_end_matches('%').parse().unwrap()).collect::<Vec<f64>>()
    };
    // The lowest of two ids: node 0 is met with chance 1 - (9/10)^2, which is 1.9 times its share.
    assert!((row("two_choices")[0] - 1.9).abs() < 0.05, "{text}");
    assert!(0.0 < row("two_choices")[2], "{text}");
    assert!(row("jump")[2].abs() < 1e-12, "{text}");
}
