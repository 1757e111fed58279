//! `validate`: the simulator against closed forms of queueing theory.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;
use serde_json::json;

use crate::config::{DataFile, Problems};
use crate::queues::validate::{
    Agreement, Budget, Case, Chance, Line, Validation, cases, validate as settle,
};
use crate::scenario::{DATA_BYTES_MAX, ScenarioError, Sources, read_text};

use super::console::Console;
use super::words::{columns, grouped};
use super::{Exit, Failure, Format};

/// The closed forms that the program carries.
const BUILT_IN: &str = include_str!("../../tests/vectors/queueing.dev.csv");

#[derive(Debug, Args)]
pub(super) struct ValidateArgs {
    /// Only these cases, by id; all by default
    #[arg(value_name = "ID")]
    ids: Vec<String>,

    /// Closed forms, a CSV with the columns id, model, params, metric, value, kind; by default those
    /// that the program carries
    #[arg(long, value_name = "ROWS.csv")]
    file: Option<PathBuf>,

    /// The most events that may be spent on one case; what is not settled by then is unknown
    #[arg(long, value_name = "COUNT", default_value = "100_000_000", value_parser = super::study::count)]
    max_events: u64,

    /// How many cases at the same time; 0 for as many as there are cores
    #[arg(long, short, value_name = "N", default_value = "0")]
    jobs: usize,
}

pub(super) fn validate(
    args: &ValidateArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let wanted = wanted_cases(args)?;
    let budget = Budget { event_count_max: args.max_events, ..Budget::default() };
    let run = |case: &Case| settle(case, &budget);
    // Printed in groups, so that an hour's work shows itself while it goes on.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(args.jobs)
        .build()
        .map_err(|error| Failure::Io(format!("no threads can be had: {error}")))?;
    let mut counts = [0_usize; 4];
    for group in wanted.chunks(pool.current_num_threads().max(1)) {
        let found: Vec<Result<Validation, String>> =
            pool.install(|| group.par_iter().with_max_len(1).map(run).collect());
        for (case, found) in group.iter().zip(found) {
            let found = found.map_err(|why| Failure::Usage(format!("case {}: {why}", case.id)))?;
            counts[found.agreement() as usize] += 1;
            console.print(&match format {
                Format::Human => in_words(case, &found),
                Format::Json => in_json(case, &found),
            })?;
        }
    }
    let [shown, passed, unknown, failed] = counts;
    if format == Format::Human {
        console.print(&format!(
            "{passed} cases pass, {failed} fail, {unknown} unknown within {} events, {shown} only \
             shown\n",
            grouped(args.max_events)
        ))?;
    }
    Ok(match (failed, unknown) {
        (1.., _) => Exit::Failed,
        (0, 1..) => Exit::Incomplete,
        (0, 0) => Exit::Done,
    })
}

fn wanted_cases(args: &ValidateArgs) -> Result<Vec<Case>, Failure> {
    let (name, text) = match &args.file {
        None => ("closed forms".to_owned(), BUILT_IN.to_owned()),
        Some(path) => {
            let text = read_text(path, DATA_BYTES_MAX)
                .map_err(|error| Failure::Usage(format!("{} {error}", path.display())))?;
            (path.display().to_string(), text)
        }
    };
    let mut sources = Sources::default();
    let source = sources.add(name.clone(), text.clone());
    let mut problems = Problems::default();
    let file = DataFile { path: name, source, text: text.into() };
    let all = cases(&file, &mut problems);
    let problems = problems.into_sorted();
    if !problems.is_empty() {
        return Err(Failure::Scenario(ScenarioError::Wrong { sources, problems }));
    }
    let all = all.unwrap_or_default();
    for id in &args.ids {
        if all.iter().all(|case| case.id != *id) {
            return Err(Failure::Usage(format!("no case is called `{id}`")));
        }
    }
    let is_wanted = |case: &Case| args.ids.is_empty() || args.ids.contains(&case.id);
    Ok(all.into_iter().filter(is_wanted).collect())
}

fn in_words(case: &Case, found: &Validation) -> String {
    let verdict = found.agreement();
    let mut text = format!(
        "{}  {}  {}: {verdict} ({} seeds, {} events)\n",
        case.id,
        case.model,
        case.params,
        found.seed_count,
        grouped(found.event_count)
    );
    let mut rows = vec![
        ["  metric", "expected", "simulated", "± 95 %", "error", "verdict"].map(str::to_owned),
    ];
    for line in &found.lines {
        let Line { row, simulated, agreement, .. } = line;
        rows.push([
            format!("  {}", row.metric),
            figures(row.expected),
            figures(simulated.mean),
            figures(simulated.high - simulated.mean),
            if row.expected == 0.0 {
                String::from("-")
            } else {
                format!("{:+.2} %", 100.0 * line.error())
            },
            agreement.to_string(),
        ]);
    }
    text += &columns(&rows);
    for Line { row, chance, .. } in &found.lines {
        if let Some(Chance { expected, simulated, interval: (low, high) }) = *chance {
            let _ = writeln!(
                text,
                "  {} was judged by a chance: {} ({} to {}), expected {}",
                row.metric,
                figures(simulated),
                figures(low),
                figures(high),
                figures(expected)
            );
        }
    }
    let unknown = found.lines.iter().filter(|line| line.agreement == Agreement::Unknown);
    let needed = unknown.map(Line::times_needed).fold(0.0, f64::max);
    if 0.0 < needed && needed.is_finite() {
        let events = needed * found.event_count as f64;
        let _ = writeln!(
            text,
            "  unknown within {} events; about {} would settle it",
            grouped(found.event_count),
            figures(events)
        );
    }
    text.push('\n');
    text
}

fn in_json(case: &Case, found: &Validation) -> String {
    let mut text = String::new();
    for line in &found.lines {
        let Line { row, simulated, chance, agreement } = line;
        let object = json!({
            "reason": "closed_form",
            "id": case.id,
            "model": case.model,
            "params": case.params,
            "metric": row.metric,
            "expected": row.expected,
            "simulated": simulated.mean,
            "low": simulated.low,
            "high": simulated.high,
            "chance": chance.map(|Chance { expected, simulated, interval: (low, high) }| {
                json!({ "expected": expected, "simulated": simulated, "low": low, "high": high })
            }),
            "verdict": agreement.to_string(),
        });
        let _ = writeln!(text, "{object}");
    }
    let object = json!({
        "reason": "case",
        "id": case.id,
        "verdict": found.agreement().to_string(),
        "seeds": found.seed_count,
        "events": found.event_count,
    });
    let _ = writeln!(text, "{object}");
    text
}

/// Five figures, enough to see half a percent.
fn figures(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        let digits = if value == 0.0 { 0 } else { libm::log10(value.abs()).floor() as i32 };
        format!("{value:.*}", usize::try_from(4 - digits).unwrap_or(0))
    } else {
        format!("{value:.4e}")
    }
}

/// The order that `counts` goes by.
const _: () = assert!(
    Agreement::Shown as usize == 0
        && Agreement::Pass as usize == 1
        && Agreement::Unknown as usize == 2
        && Agreement::Fail as usize == 3
);
