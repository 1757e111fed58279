//! `sweep` and `merge`: a plan worked off in pieces, by any number of processes on any number of
//! machines that see one folder.
//!
//! Each run of the plan is named by what it is made from ([`plan`]). A process takes every n-th run
//! in the order of these names, and appends what it finishes to a segment of its own
//! ([`segments`]): nobody waits for anybody, nothing is ever overwritten. The same command resumes;
//! with another number of shards it resumes too. `merge` verifies, puts the records in the order of
//! the plan, and writes the very report that one process would have written.

mod emit;
mod merge;
mod plan;
mod segments;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use clap::Args;
use serde_json::json;

use crate::experiments::{self, Conduct, Run};
use crate::record::Record;

use super::console::{self, Console};
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::repeat;
use super::study::ConductArgs;
use super::words::grouped;
use super::{Exit, Failure, Format, ScenarioArgs};

pub(super) use merge::{MergeArgs, merge};

use emit::Engine;
use plan::Plan;
use segments::Segment;

#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    #[command(flatten)]
    asked: ScenarioArgs,

    /// More points: runs every variant at each of these values; may be repeated
    #[arg(long = "param", value_name = "PATH=A,B,C")]
    params: Vec<String>,

    /// Which part of the plan to work off: part I of N, counted from 0
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    shard: Shard,

    #[command(flatten)]
    conduct: ConductArgs,

    /// The folder that all shards share
    #[arg(long, short, value_name = "FOLDER")]
    out: PathBuf,

    /// Run nothing: write the files by which this engine does it
    #[arg(long, value_name = "ENGINE")]
    emit: Option<Engine>,

    /// How many shards to write for, with --emit
    #[arg(long, value_name = "N", default_value = "16", requires = "emit",
          value_parser = clap::value_parser!(u32).range(1..=100_000))]
    shards: u32,
}

/// Part `index` of `count`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Shard {
    index: u32,
    count: u32,
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some(Self { index: index.parse().ok()?, count: count.parse().ok()? })
        });
        parts.filter(|shard| shard.index < shard.count).ok_or_else(|| {
            "expected I/N with I from 0 to N - 1, such as 0/4 for the first of four".into()
        })
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// So many runs are held in memory at most before what they left is let go.
const BATCH: usize = 1024;

pub(super) fn sweep(
    args: &SweepArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let scenario = args.asked.load(&args.params)?;
    if scenario.finds_warm_up {
        return Err(Failure::Usage(
            "a sweep cannot find the warm-up: no shard sees all seeds\n\
             help: put a time for `warm_up`, as in --set warm_up=30s"
                .into(),
        ));
    }
    let runs = scenario.plan();
    // What a run leaves goes to the disk at once.
    args.conduct.refuse_if_too_large(&runs, 0)?;
    let plan = Plan::of(&scenario, args.asked.scenario.as_path(), &runs);
    plan.take(&args.out)?;
    if let Some(engine) = args.emit {
        let written = emit::write(engine, args.shards, &args.out, &plan)?;
        console.print(&format!("{written}\n"))?;
        return Ok(Exit::Done);
    }
    let found = segments::read(&args.out)?;
    for damage in &found.damages {
        console::tell(&format!("warning: {damage}: it is made again\n"));
    }
    let done: BTreeSet<&str> = found.rows.iter().map(|row| row.cell.as_str()).collect();
    let mine: Vec<usize> = plan
        .in_order_of_names()
        .skip(args.shard.index as usize)
        .step_by(args.shard.count as usize)
        .collect();
    let todo: Vec<usize> =
        mine.iter().copied().filter(|&number| !done.contains(plan.cell(number))).collect();
    let outcome = if todo.is_empty() {
        Outcome::default()
    } else {
        work_off(args, &runs, &todo, &plan, console)?
    };
    for (run, why) in &outcome.panics {
        let command = repeat::command_for_seed("run", &scenario, run.seed.0);
        console::tell(&format!(
            "error: {} panicked: {why}\nthis is a bug of stormglass: please report it with the \
             command that repeats it:\n  {command}\n",
            run.name()
        ));
    }
    let kept = mine.len() - todo.len();
    let left = todo.len() - outcome.made;
    let out = args.out.display();
    console.print(&match format {
        Format::Human => {
            let counts = format!(
                "shard {} of {}: {} of {} runs; {} were there, {} made, {left} left\n",
                args.shard,
                scenario.name,
                grouped(mine.len() as u64),
                grouped(runs.len() as u64),
                grouped(kept as u64),
                grouped(outcome.made as u64),
            );
            let next = match left {
                0 => format!("when all shards are through: stormglass merge --out {out}\n"),
                _ => "the same command goes on where this one stopped\n".to_owned(),
            };
            counts + &next
        }
        Format::Json => {
            let object = json!({
                "reason": "shard",
                "shard": args.shard.to_string(),
                "runs": mine.len(),
                "kept": kept,
                "made": outcome.made,
                "left": left,
            });
            format!("{object}\n")
        }
    })?;
    Ok(match outcome.interrupted {
        Some(exit) if 0 < left => exit,
        _ if !outcome.panics.is_empty() => Exit::Bug,
        _ => Exit::Done,
    })
}

#[derive(Debug, Default)]
struct Outcome {
    made: usize,
    panics: Vec<(Run, String)>,
    interrupted: Option<Exit>,
}

/// Carries out the runs `todo` and appends what they leave to a new segment.
fn work_off(
    args: &SweepArgs,
    runs: &[Run],
    todo: &[usize],
    plan: &Plan,
    console: &Console,
) -> Result<Outcome, Failure> {
    let segment = Mutex::new(Segment::begin(&args.out, args.shard)?);
    let failure = Mutex::new(None);
    let interrupt = Interrupt::listen();
    let progress = Progress::new(todo.len(), console.is_watched());
    let mut outcome = Outcome::default();
    for batch in todo.chunks(BATCH) {
        let part: Vec<Run> = batch.iter().map(|&number| runs[number].clone()).collect();
        let conduct = Conduct { jobs: args.conduct.jobs_for(&part), stop: interrupt.flag() };
        let done = |run: &Run, result: Result<&Record, &str>| {
            if let Ok(record) = result
                && let Err(error) = locked(&segment).append(plan.cell_of(run), record)
            {
                // No use in going on: what is appended so far stands.
                locked(&failure).get_or_insert(error);
                interrupt.flag().store(true, Ordering::Relaxed);
            }
            progress.step(run.name());
        };
        let harvest = experiments::carry_out(&part, conduct, &done);
        outcome.made += harvest.records.len() - harvest.panics.len();
        outcome.panics.extend(harvest.panics);
        if interrupt.flag().load(Ordering::Relaxed) {
            break;
        }
    }
    drop(progress);
    if let Some(error) = locked(&failure).take() {
        return Err(error);
    }
    locked(&segment).finish()?;
    outcome.interrupted = interrupt.exit();
    Ok(outcome)
}

/// What a mutex guards. A panic of one run is caught before it could poison it.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn io<T>(action: &str, path: &Path, result: std::io::Result<T>) -> Result<T, Failure> {
    result.map_err(|error| Failure::io(&format!("cannot {action} {}", path.display()), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_counted_from_zero() {
        assert_eq!("3/4".parse(), Ok(Shard { index: 3, count: 4 }));
        for wrong in ["4/4", "0/0", "1", "/", "-1/4", "0/4/4"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
