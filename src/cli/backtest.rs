//! `backtest`: what a scenario predicts for a measured trace, beside what was measured.
//!
//! The trace's arrivals and service times take the place of the scenario's load; everything else,
//! broker, workers, prefetch, network, overhead, is the scenario's. Latency is from the intended
//! send to the end of the work, on both sides.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::config::{DataFile, Problems};
use crate::experiments::{self, Conduct};
use crate::record::{Distribution, Subject, summary};
use crate::scenario::{self, Alterations, DATA_BYTES_MAX, ScenarioError, Sources, read_text};

use super::console::Console;
use super::interrupt::Interrupt;
use super::words::columns;
use super::{Exit, Failure, Format};

#[derive(Debug, Args)]
pub(super) struct BacktestArgs {
    /// The scenario, a TOML file with queues
    scenario: PathBuf,

    /// What was measured: a CSV with the columns `arrival_ms`, `service_ms`, `latency_ms`
    #[arg(long, value_name = "TRACE.csv")]
    trace: PathBuf,

    /// Put VALUE in place of what the scenario says; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,

    /// How far a prediction may be from what was measured
    #[arg(long, value_name = "PERCENT", default_value = "15")]
    within: f64,
}

/// The name under which the scenario sees the trace.
const LENT: &str = "measured-trace.csv";

/// No trace is longer: a year.
const ARRIVAL_MS_MAX: f64 = 366.0 * 86_400_000.0;

/// What is compared.
const STATISTICS: [&str; 4] = ["mean", "p50", "p90", "p99"];

pub(super) fn backtest(
    args: &BacktestArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let measured = Measured::read(&args.trace)?;
    // As it stands first: a mistake in the file, or a file without queues, is told as such.
    let plain = scenario::load(&args.scenario, &Alterations::default());
    let plain = plain.map_err(Failure::Scenario)?;
    if plain.cells.iter().all(|cell| cell.experiment.subject() != Subject::Queues) {
        let scenario = args.scenario.display();
        return Err(Failure::Usage(format!("{scenario} has no queues to backtest")));
    }
    let mut sets = args.sets.clone();
    sets.push(format!("queues.producers.load={{ open = {{ trace = {{ file = \"{LENT}\" }} }} }}"));
    sets.push("queues.producers.count=1".into());
    sets.push(format!("queues.horizon=\"{}ms\"", measured.last_ms.floor() + 1.0));
    let alterations = Alterations {
        sets,
        lent: vec![(LENT.into(), args.trace.clone())],
        ..Alterations::default()
    };
    let scenario = scenario::load(&args.scenario, &alterations).map_err(Failure::Scenario)?;
    let interrupt = Interrupt::listen();
    let conduct = Conduct { jobs: 0, stop: interrupt.flag() };
    let harvest = experiments::carry_out(&scenario.plan(), conduct, &|_, _| ());
    if let Some(exit) = interrupt.exit() {
        return Ok(exit);
    }
    if let Some((run, why)) = harvest.panics.first() {
        return Err(Failure::Bug(format!("{} panicked: {why}", run.name())));
    }
    let mut rows =
        vec![["variant", "latency", "measured (ms)", "predicted (ms)", "error"].map(str::to_owned)];
    let mut is_within = true;
    let mut lines = String::new();
    for group in summary::groups(&harvest.records) {
        if group.subject != Subject::Queues {
            continue;
        }
        let mut latency = Distribution::new();
        for record in &group.runs {
            for sample in record.samples.iter().filter(|sample| sample.metric.name == "latency") {
                latency.merge(&sample.distribution);
            }
        }
        let label = summary::label(group.variant, group.point);
        let runs = group.runs.len() as u64;
        if runs == 0 || latency.count() != runs * measured.latencies.len() as u64 {
            return Err(Failure::Usage(format!(
                "{label} ended {} of the {} tasks of the trace: there is nothing to compare",
                latency.count() / runs.max(1),
                measured.latencies.len()
            )));
        }
        let quantile = |q: f64| latency.quantile(q) as f64 / 1e6;
        let predicted = [latency.mean() / 1e6, quantile(0.5), quantile(0.9), quantile(0.99)];
        for ((name, measured), predicted) in
            STATISTICS.into_iter().zip(measured.statistics()).zip(predicted)
        {
            let error = 100.0 * (predicted / measured - 1.0);
            is_within &= error.abs() <= args.within;
            rows.push([
                label.clone(),
                name.to_owned(),
                format!("{measured:.2}"),
                format!("{predicted:.2}"),
                format!("{error:+.1} %"),
            ]);
            let object = json!({
                "reason": "backtest",
                "variant": label,
                "statistic": name,
                "measured_ms": measured,
                "predicted_ms": predicted,
                "error": error / 100.0,
            });
            lines.push_str(&format!("{object}\n"));
        }
    }
    let verdict = if is_within { "all within" } else { "NOT all within" };
    console.print(&match format {
        Format::Human => format!(
            "{}\n{verdict} {} % of {} tasks measured in {}\n",
            columns(&rows),
            args.within,
            measured.latencies.len(),
            args.trace.display()
        ),
        Format::Json => lines,
    })?;
    Ok(if is_within { Exit::Done } else { Exit::Failed })
}

/// What was measured.
struct Measured {
    last_ms: f64,
    // In rising order.
    latencies: Vec<f64>,
}

impl Measured {
    fn read(path: &std::path::Path) -> Result<Self, Failure> {
        let text = read_text(path, DATA_BYTES_MAX)
            .map_err(|error| Failure::Usage(format!("{} {error}", path.display())))?;
        let name = path.display().to_string();
        let mut sources = Sources::default();
        let source = sources.add(name.clone(), text.clone());
        let mut problems = Problems::default();
        let file = DataFile { path: name, source, text: text.into() };
        let mut measured = Self { last_ms: 0.0, latencies: Vec::new() };
        let columns = ["arrival_ms", "service_ms", "latency_ms"];
        for row in file.rows(&columns, &mut problems).unwrap_or_default() {
            let numbers = [0, 1, 2].map(|column| row.number(column, &mut problems));
            if let [Some(arrival), Some(_), Some(latency)] = numbers {
                if ARRIVAL_MS_MAX < arrival {
                    problems.add(row.place, "expected an arrival within a year of the first");
                }
                measured.last_ms = measured.last_ms.max(arrival);
                measured.latencies.push(latency);
            }
        }
        let problems = problems.into_sorted();
        if !problems.is_empty() {
            return Err(Failure::Scenario(ScenarioError::Wrong { sources, problems }));
        }
        measured.latencies.sort_by(f64::total_cmp);
        Ok(measured)
    }

    /// Mean, and quantiles by nearest rank.
    fn statistics(&self) -> [f64; 4] {
        let count = self.latencies.len();
        let quantile = |q: f64| {
            let rank = (q * count as f64).ceil() as usize;
            self.latencies[rank.clamp(1, count) - 1]
        };
        let mean = self.latencies.iter().sum::<f64>() / count as f64;
        [mean, quantile(0.5), quantile(0.9), quantile(0.99)]
    }
}
