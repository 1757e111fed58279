//! `merge`: from the segments of a sweep to the report that one process would have written.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value as Json, json};

use crate::record::Record;
use crate::scenario::{self, Scenario};

use super::Plan;
use super::segments::{self, Found};
use crate::cli::console::{self, Console};
use crate::cli::report::metric_of;
use crate::cli::study::Study;
use crate::cli::words::grouped;
use crate::cli::{Exit, Failure, Format};

#[derive(Debug, Args)]
pub(in crate::cli) struct MergeArgs {
    /// The scenario, where it is no longer at the place from which it was swept
    scenario: Option<PathBuf>,

    /// The folder of the sweep; the report goes to its folder `report`
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,
}

pub(in crate::cli) fn merge(
    args: &MergeArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let folder = args.out.display();
    let plan = Plan::read_from(&args.out)?.ok_or_else(|| {
        Failure::Usage(format!("{folder} holds no sweep: `stormglass sweep` begins one there"))
    })?;
    let found = segments::read(&args.out)?;
    for damage in &found.damages {
        console::tell(&format!("warning: {damage}\n"));
    }
    let rows = match unique(&found) {
        Ok(rows) => rows,
        Err(cell) => {
            let number = (0..plan.run_count()).find(|&number| plan.cell(number) == cell);
            let run = number.map_or("a run of another plan", |number| plan.run_name(number));
            console::tell(&format!(
                "error: {run} was made twice, and the records differ: the machines do not agree\n\
                 help: look for {} in {folder}/segments\n",
                &cell[..cell.len().min(16)]
            ));
            return Ok(Exit::Failed);
        }
    };
    let missing: Vec<usize> =
        (0..plan.run_count()).filter(|&number| !rows.contains_key(plan.cell(number))).collect();
    if !missing.is_empty() {
        console.print(&match format {
            Format::Human => missing_in_words(&plan, &missing, &found, &folder.to_string()),
            Format::Json => format!(
                "{}\n",
                json!({
                    "reason": "missing",
                    "runs": plan.run_count(),
                    "missing": missing.len(),
                    "of_shards": found.shard_count,
                    "shards": shards_of(&plan, &missing, found.shard_count),
                })
            ),
        })?;
        return Ok(Exit::Incomplete);
    }
    let scenario = scenario_of(args, &plan)?;
    let mut records = Vec::with_capacity(plan.run_count());
    for number in 0..plan.run_count() {
        let record = Record::from_json(rows[plan.cell(number)], &metric_of);
        records.push(record.map_err(|why| {
            Failure::Usage(format!(
                "the record of {} cannot be read: {why}\n\
                 help: was it made by another version of stormglass?",
                plan.run_name(number)
            ))
        })?);
    }
    let study = Study::of_records(&scenario, records);
    let page = study.write(Some(&args.out.join("report")))?;
    let page = page.display();
    console.print(&match format {
        Format::Human => format!("{}\nreport: {page}\n", study.in_words()),
        Format::Json => {
            let written = json!({ "reason": "report", "path": page.to_string() });
            format!("{}{written}\n", study.in_json())
        }
    })?;
    Ok(study.exit())
}

/// The record of each run; or the name of a run of which there are two different ones.
fn unique(found: &Found) -> Result<BTreeMap<&str, &Json>, &str> {
    let mut rows: BTreeMap<&str, &Json> = BTreeMap::new();
    for row in &found.rows {
        let earlier = rows.insert(&row.cell, &row.record);
        if earlier.is_some_and(|earlier| *earlier != row.record) {
            return Err(&row.cell);
        }
    }
    Ok(rows)
}

/// In which of `shard_count` shards the runs `missing` are.
fn shards_of(plan: &Plan, missing: &[usize], shard_count: u32) -> Vec<u32> {
    let missing: BTreeSet<usize> = missing.iter().copied().collect();
    let places = plan.in_order_of_names().enumerate();
    let shards: BTreeSet<u32> = places
        .filter(|(_, number)| missing.contains(number))
        .map(|(place, _)| (place % shard_count as usize) as u32)
        .collect();
    shards.into_iter().collect()
}

fn missing_in_words(plan: &Plan, missing: &[usize], found: &Found, folder: &str) -> String {
    const SHOWN_MAX: usize = 8;
    let mut text = format!(
        "missing {} of {} runs of {}, such as {}\n",
        grouped(missing.len() as u64),
        grouped(plan.run_count() as u64),
        plan.scenario_name(),
        plan.run_name(missing[0])
    );
    let command = plan.command();
    if found.shard_count == 1 {
        let _ = writeln!(text, "made by: {command} --out {folder}");
        return text;
    }
    let shards = shards_of(plan, missing, found.shard_count);
    text.push_str("made by:\n");
    for shard in shards.iter().take(SHOWN_MAX) {
        let _ = writeln!(text, "  {command} --shard {shard}/{} --out {folder}", found.shard_count);
    }
    if SHOWN_MAX < shards.len() {
        let _ = writeln!(text, "  and {} shards more", shards.len() - SHOWN_MAX);
    }
    let list: Vec<String> = shards.iter().map(u32::to_string).collect();
    let _ = writeln!(text, "as an array of {}: --array={}", found.shard_count, list.join(","));
    text
}

/// The scenario of the plan, which must not have changed.
fn scenario_of(args: &MergeArgs, plan: &Plan) -> Result<Scenario, Failure> {
    let path = args.scenario.as_deref().unwrap_or(&plan.path);
    let alterations = plan.alterations().ok_or_else(|| {
        Failure::Usage(format!("{} holds a plan that cannot be read", args.out.display()))
    })?;
    let scenario = scenario::load(path, &alterations).map_err(Failure::Scenario)?;
    let runs = scenario.plan();
    if Plan::of(&scenario, path, &runs).is_same_as(plan) {
        return Ok(scenario);
    }
    Err(Failure::Usage(format!(
        "{} is not what was swept: it has changed since\n\
         help: give the scenario as it was: stormglass merge SCENARIO --out {}",
        path.display(),
        args.out.display()
    )))
}
