//! The nemesis of `scenarios/locks/nightly.toml` against every lock of the matrix.
//!
//! A lock whose row of the matrix has no B must not let two clients in, by the service's books or
//! by what clients believe, under any seed, and must lose no update where the resource looks at the
//! tokens of reads and writes. Where it does not look, even such a lock loses one to a write that
//! comes late, or twice; and the same nemesis finds every other lock out. Each finding is printed
//! with its seed: `stormglass run scenarios/locks/nightly.toml --seeds 17..18 --set ...` shows it.
//! `cargo test --release --test nemesis -- 1000000` plays that many seeds.

#![expect(clippy::print_stdout, reason = "its report is what this target is for")]

use std::path::Path;
use std::process::ExitCode;

use rayon::prelude::*;
use stormglass::kernel::rng::Seed;
use stormglass::locks::matrix::{Base, FAULTS, Mode, VARIANTS, Variant, cells};
use stormglass::record::{Ending, Record};
use stormglass::scenario::{Alterations, Cell, load};

const SCENARIO: &str = "scenarios/locks/nightly.toml";
/// The script under which disks forget what was synced, as they may with `fsync = false`. The
/// nemesis of the scenario leaves them their promise.
const FORGETFUL: &str = "F20";
/// The lock that admits two under that script alone, as it is there, for the nemesis.
const FORGETFUL_LOCK: (&str, &str) = (
    "V10",
    r#"{ raft = { servers = 3, pause = "20ms", timeout = "300ms", log = { fsync = false } } }"#,
);
/// So many seeds are played where no argument says otherwise.
const SEEDS: u64 = 1_000;
/// So many are tried to find something that is there.
const SEARCHED: u64 = 5_000;

fn main() -> ExitCode {
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    let count = count.unwrap_or(SEEDS);
    let mut score = Score::default();
    let (safe, unsafe_): (Vec<_>, Vec<_>) =
        VARIANTS.iter().partition(|variant| !admits_two(variant, |id| id != FORGETFUL));
    for cell in play(&[]) {
        score.hold(&cell, count);
    }
    for cell in play(&["locks.fencing=none"]) {
        score.find(&cell.label, &cell, "l3", |record| violates(record, "l3_violations"));
    }
    let forgetful: Vec<&str> = safe
        .iter()
        .filter(|variant| admits_two(variant, |id| id == FORGETFUL))
        .map(|variant| variant.id)
        .collect();
    score.note(
        forgetful == [FORGETFUL_LOCK.0],
        &format!("only {FORGETFUL} has a B for {forgetful:?}"),
    );
    let mut suspects: Vec<(&str, String)> =
        unsafe_.into_iter().map(|variant| (variant.id, variant.choice(&Base::default()))).collect();
    suspects.push((FORGETFUL_LOCK.0, FORGETFUL_LOCK.1.to_owned()));
    for (id, choice) in suspects {
        let variants = format!("locks.variants=[{choice}]");
        for cell in play(&[&variants, "locks.fencing=none"]) {
            score.find(id, &cell, "l1 or l2", |record| {
                violates(record, "l1_violations") || violates(record, "l2_violations")
            });
        }
    }
    for cell in play(&[&format!("locks.variants=[{}]", FORGETFUL_LOCK.1)]) {
        score.endure(&cell, count);
    }
    let ids: Vec<&str> = safe.iter().map(|variant| variant.id).collect();
    score.note(ids == ["V10", "V12"], &format!("with disks that forget nothing {ids:?} have no B"));
    println!("{} passed, {} failed", score.passed, score.failed);
    if score.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a cell of the variant's row has a B, under the faults with such an id.
fn admits_two(variant: &'static Variant, is_asked: impl Fn(&str) -> bool) -> bool {
    let faults = FAULTS.iter().filter(|fault| is_asked(fault.id));
    let cells = faults.flat_map(|fault| cells(variant, fault));
    cells.filter(|cell| cell.mode == Mode::None).any(|cell| {
        let computed = cell.compute(&Base::default());
        computed.unwrap_or_else(|problems| panic!("{problems:?}")).letters.belief
    })
}

/// What the scenario plays, altered.
fn play(sets: &[&str]) -> Vec<Cell> {
    let sets = sets.iter().map(|&set| set.to_owned()).collect();
    let altered = Alterations { sets, ..Alterations::default() };
    let scenario = load(Path::new(SCENARIO), &altered);
    scenario.unwrap_or_else(|error| panic!("{error:?}")).cells
}

fn violates(record: &Record, metric: &str) -> bool {
    record.value(metric, "").is_none_or(|count| count != 0.0)
}

fn simulate(cell: &Cell, seed: u64) -> Record {
    cell.experiment.simulate(cell.variant, Seed(seed))
}

#[derive(Default)]
struct Score {
    passed: u32,
    failed: u32,
}

impl Score {
    fn note(&mut self, is_good: bool, what: &str) {
        println!("{}: {what}", if is_good { "passed" } else { "FAILED" });
        *(if is_good { &mut self.passed } else { &mut self.failed }) += 1;
    }

    /// Nothing is violated under any seed.
    fn hold(&mut self, cell: &Cell, count: u64) {
        let first = (1..=count).into_par_iter().find_first(|&seed| {
            let record = simulate(cell, seed);
            let metrics = ["l1_violations", "l2_violations", "l3_violations"];
            record.ending != Ending::Complete || metrics.iter().any(|name| violates(&record, name))
        });
        let what = match first {
            None => format!("{}: no violation of L1, L2 or L3 in {count} seeds", cell.label),
            Some(seed) => format!("{}: a violation with seed {seed}", cell.label),
        };
        self.note(first.is_none(), &what);
    }

    /// Every run comes to its end, however much its disks forget.
    fn endure(&mut self, cell: &Cell, count: u64) {
        let is_complete = |seed| simulate(cell, seed).ending == Ending::Complete;
        let is_good = (1..=count).into_par_iter().all(is_complete);
        self.note(is_good, &format!("{}: {count} seeds come to their end", cell.label));
    }

    /// Something is violated under some seed.
    fn find(
        &mut self,
        id: &str,
        cell: &Cell,
        level: &str,
        violates: impl Fn(&Record) -> bool + Sync,
    ) {
        let first =
            (1..=SEARCHED).into_par_iter().find_first(|&seed| violates(&simulate(cell, seed)));
        let what = match first {
            Some(seed) => format!("{id}: a violation of {level} with seed {seed}"),
            None => format!("{id}: no violation of {level} in {SEARCHED} seeds"),
        };
        self.note(first.is_some(), &what);
    }
}
