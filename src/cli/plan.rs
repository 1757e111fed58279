//! `plan`: what a scenario would run, and what that would cost. Nothing is run.

use std::fmt::Write as _;

use clap::Args;
use serde_json::{Value as Json, json};

use crate::experiments::{self, Estimate, Run};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::model::directory::Directory;
use crate::model::fault::{PlannedFault, Trigger};
use crate::scenario::{Cell, Scenario};

use super::console::Console;
use super::words::{columns, grouped, pretty, size};
use super::{Exit, Failure, Format, ScenarioArgs};

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    scenario: ScenarioArgs,

    /// More points: runs every variant at each of these values; may be repeated
    #[arg(long = "param", value_name = "PATH=A,B,C")]
    params: Vec<String>,

    /// The seed whose faults are shown; the first one by default
    #[arg(long, value_name = "SEED")]
    faults_of: Option<u64>,
}

/// A table with more cells says how many it leaves out.
const CELLS_SHOWN_MAX: usize = 50;
/// So many faults of each experiment are shown.
const FAULTS_SHOWN_MAX: usize = 50;

pub(super) fn plan(
    args: &PlanArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let scenario = args.scenario.load(&args.params)?;
    let plan = scenario.plan();
    let seed = args.faults_of.map_or(Seed(scenario.seeds.first), Seed);
    let text = match format {
        Format::Human => in_words(&scenario, &plan, seed)?,
        Format::Json => pretty(&in_json(&scenario, &plan, seed)?),
    };
    console.print(&text)?;
    Ok(Exit::Done)
}

fn cost(cell: &Cell) -> Estimate {
    cell.experiment.estimate(cell.variant)
}

fn in_words(scenario: &Scenario, plan: &[Run], seed: Seed) -> Result<String, Failure> {
    let mut rows = vec![["cell", "events a run", "memory a run"].map(str::to_owned)];
    for cell in scenario.cells.iter().take(CELLS_SHOWN_MAX) {
        let Estimate { event_count, bytes } = cost(cell);
        rows.push([cell_name(cell), grouped(event_count), size(bytes)]);
    }
    let mut text = columns(&rows);
    if CELLS_SHOWN_MAX < scenario.cells.len() {
        let _ = writeln!(text, "and {} more", scenario.cells.len() - CELLS_SHOWN_MAX);
    }
    let whole = experiments::estimate(plan, 1);
    let _ = write!(
        text,
        "\n{} cells x {} seeds = {} runs, about {} events; at most {} for each job at work, and {} for \
         all records\n",
        scenario.cells.len(),
        scenario.seeds.count,
        plan.len(),
        grouped(whole.event_count),
        size(whole.bytes),
        size(experiments::left_behind(plan))
    );
    for (cell, directory) in first_of_each(scenario) {
        let faults = faults(cell, seed)?;
        let subject = cell.experiment.subject().name();
        let at = point_in_words(cell);
        if faults.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\nfaults of {subject}{at} under seed {}", seed.0);
        for fault in faults.iter().take(FAULTS_SHOWN_MAX) {
            let _ = writeln!(text, "  {}", fault_in_words(fault, directory));
        }
        if FAULTS_SHOWN_MAX < faults.len() {
            let _ = writeln!(text, "  and {} more", faults.len() - FAULTS_SHOWN_MAX);
        }
    }
    Ok(text)
}

fn in_json(scenario: &Scenario, plan: &[Run], seed: Seed) -> Result<Json, Failure> {
    let cells = scenario.cells.iter().map(|cell| {
        let Estimate { event_count, bytes } = cost(cell);
        let point: serde_json::Map<String, Json> =
            cell.point.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        json!({
            "experiment": cell.experiment.subject().name(),
            "variant": cell.label,
            "point": point,
            "events": event_count,
            "bytes": bytes,
        })
    });
    let cells: Vec<Json> = cells.collect();
    let mut faults_of = Vec::new();
    for (cell, directory) in first_of_each(scenario) {
        for fault in faults(cell, seed)? {
            faults_of.push(json!({
                "experiment": cell.experiment.subject().name(),
                "fault": fault_in_words(&fault, directory),
            }));
        }
    }
    let whole = experiments::estimate(plan, 1);
    Ok(json!({
        "scenario": scenario.name,
        "seeds": { "first": scenario.seeds.first, "count": scenario.seeds.count },
        "cells": cells,
        "runs": plan.len(),
        "events": whole.event_count,
        "bytes_per_job": whole.bytes,
        "bytes_left_behind": experiments::left_behind(plan),
        "faults": { "seed": seed.0, "list": faults_of },
    }))
}

/// Variants of an experiment meet the same faults: so one cell of each tells them.
fn first_of_each(scenario: &Scenario) -> Vec<(&Cell, &Directory)> {
    let mut firsts: Vec<(&Cell, &Directory)> = Vec::new();
    for cell in &scenario.cells {
        let subject = cell.experiment.subject();
        if firsts.iter().all(|(first, _)| first.experiment.subject() != subject)
            && let Some(directory) = cell.experiment.directory()
        {
            firsts.push((cell, directory));
        }
    }
    firsts
}

fn faults(cell: &Cell, seed: Seed) -> Result<Vec<PlannedFault>, Failure> {
    let mut faults = cell.experiment.faults(seed).map_err(Failure::Usage)?.faults;
    // Those that wait for a protocol come last; for the others time decides, and then the file.
    faults.sort_by_key(|fault| match fault.trigger {
        Trigger::At(at) => (false, at),
        Trigger::On { .. } => (true, SimTime::END),
    });
    Ok(faults)
}

fn fault_in_words(fault: &PlannedFault, directory: &Directory) -> String {
    let when = match &fault.trigger {
        Trigger::At(at) => format!("{at:>12}", at = at.to_string()),
        Trigger::On { node, point, count } => {
            let times = match count {
                Some(1) => String::new(),
                Some(count) => format!(" for time {count}"),
                None => ", each time".into(),
            };
            format!("when {} comes to {point}{times}", directory.name(*node))
        }
    };
    let lasts = fault.lasts.map_or(String::new(), |lasts| format!(" for {lasts}"));
    format!("{when}  {}{lasts}", fault.label)
}

fn cell_name(cell: &Cell) -> String {
    format!("{} {}{}", cell.experiment.subject().name(), cell.label, point_in_words(cell))
}

fn point_in_words(cell: &Cell) -> String {
    let mut words = String::new();
    for (name, value) in &cell.point {
        let _ = write!(words, " {name}={value}");
    }
    words
}
