//! The simulator against closed forms: a fast part of what `validate` does in full.
//!
//! Prints what it checked and what it could not settle within its budget, and ends with
//! `N passed, N failed`. With ids of cases as arguments it runs those, and prints every number.

#![expect(clippy::print_stdout, reason = "its report is what this target is for")]

use std::process::ExitCode;

use stormglass::config::{DataFile, Problems};
use stormglass::queues::validate::{Agreement, Budget, Case, Line, cases, validate};

/// The models of which the first cases are run, and how many of each; `validate` runs all.
const FAST: &[&str] = &["M/M/1", "M/M/c", "M/D/1", "M/G/1"];
const CASES_EACH: usize = 2;

/// What a case may cost here.
const EVENTS: u64 = 40_000_000;

fn main() -> ExitCode {
    let folder = std::env::var("STORMGLASS_VECTORS").unwrap_or_else(|_| "tests/vectors".into());
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let cases = match read(&folder) {
        Ok(cases) => cases,
        Err(why) => {
            println!("{why}\n0 passed, 1 failed");
            return ExitCode::FAILURE;
        }
    };
    let budget = Budget { event_count_max: EVENTS, ..Budget::default() };
    let mut counts = Counts::default();
    for (index, case) in cases.iter().enumerate() {
        let earlier = cases[..index].iter().filter(|other| other.model == case.model).count();
        let is_wanted = if wanted.is_empty() {
            FAST.contains(&case.model.as_str()) && earlier < CASES_EACH
        } else {
            wanted.contains(&case.id)
        };
        if is_wanted {
            counts.run(case, &budget, !wanted.is_empty());
        }
    }
    println!("skipped: {} numbers that take more than {EVENTS} events a case", counts.unsettled);
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed == 0 && 0 < counts.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[derive(Default)]
struct Counts {
    passed: usize,
    failed: usize,
    unsettled: usize,
}

impl Counts {
    fn run(&mut self, case: &Case, budget: &Budget, shows_all: bool) {
        let name = format!("{} {} {}", case.id, case.model, case.params);
        let found = match validate(case, budget) {
            Ok(found) => found,
            Err(why) => {
                println!("{name}: {why}");
                self.failed += 1;
                return;
            }
        };
        let of = |agreement| found.lines.iter().filter(|line| line.agreement == agreement).count();
        let (passed, failed, unsettled) =
            (of(Agreement::Pass), of(Agreement::Fail), of(Agreement::Unknown));
        let seeds = found.seed_count;
        println!("{name}: {passed} hold, {unsettled} not settled, {failed} wrong ({seeds} seeds)");
        for line in &found.lines {
            if shows_all || line.agreement == Agreement::Fail {
                show(line);
            }
        }
        self.passed += passed;
        self.failed += failed;
        self.unsettled += unsettled;
    }
}

fn show(line: &Line) {
    let Line { row, simulated, chance, agreement } = line;
    println!(
        "  {:<12} {agreement:<8} expected {:<16} simulated {:.6} ({:.6} to {:.6})",
        row.metric, row.expected, simulated.mean, simulated.low, simulated.high
    );
    if let Some(chance) = chance {
        println!("               judged as a chance: {chance:?}");
    }
}

fn read(folder: &str) -> Result<Vec<Case>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let is_it = |name: &str| name.starts_with("queueing.") && name.ends_with(".csv");
    let path = paths
        .into_iter()
        .find(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(is_it))
        .ok_or_else(|| format!("{folder}: no file `queueing.*.csv`"))?;
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let path = path.display().to_string();
    let file = DataFile { path: path.clone(), source: 0, text: text.into() };
    let mut problems = Problems::default();
    cases(&file, &mut problems)
        .filter(|cases| !cases.is_empty())
        .ok_or_else(|| format!("{path}: {:?}", problems.into_sorted()))
}
