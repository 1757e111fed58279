//! `run`: the main job. A scenario in; tables, charts and a manifest out.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::record::Record;
use crate::report::render;
use crate::scenario::Scenario;

use super::console::Console;
use super::exports::{self, ExportArgs};
use super::files::{self, Disk};
use super::study::{self, ConductArgs, Study};
use super::{Exit, Failure, Format, ScenarioArgs};

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    asked: ScenarioArgs,

    /// More points: runs every variant at each of these values; may be repeated
    #[arg(long = "param", value_name = "PATH=A,B,C")]
    params: Vec<String>,

    #[command(flatten)]
    conduct: ConductArgs,

    /// Write the report here; by default results/a/b/ for scenarios/a/b.toml
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,

    #[command(flatten)]
    exports: ExportArgs,

    /// The first run of all as a trace for Perfetto: beliefs, operations, numbers, faults
    #[arg(
        long,
        value_name = "FILE|-",
        help_heading = "Exports (- for standard output, in place of the tables)"
    )]
    export_trace: Option<PathBuf>,
}

/// The first run of the plan, with the whole of its course, as a trace.
fn trace(scenario: &Scenario, records: &[Record]) -> String {
    let first = scenario.plan().into_iter().zip(records).next();
    first.map_or(String::new(), |(run, record)| {
        render::trace(&Record { spans: run.course(), ..record.clone() })
    })
}

pub(super) fn run(args: &RunArgs, format: Format, console: &mut Console) -> Result<Exit, Failure> {
    let scenario = args.asked.load(&args.params)?;
    // Before hours of work, and again when it is written.
    let hold = files::hold(&Disk, &study::folder(&scenario, args.out.as_deref()))?;
    let study = Study::carry_out("run", &scenario, &args.conduct, console)?;
    if study.has_records() {
        drop(hold);
        let page = study.write(args.out.as_deref())?;
        let page = page.display();
        args.exports.write(&study.report, study.records(), &study.summaries, console)?;
        let trace_to_stdout = args.export_trace.as_deref().is_some_and(exports::is_stdout);
        if let Some(path) = &args.export_trace {
            exports::write(path, trace(&scenario, study.records()).as_bytes(), console)?;
        }
        if args.exports.take_stdout() || trace_to_stdout {
            study.tell_troubles();
            return Ok(study.exit());
        }
        console.print(&match format {
            Format::Human => format!("{}\nreport: {page}\n", study.in_words()),
            Format::Json => {
                let written = json!({ "reason": "report", "path": page.to_string() });
                format!("{}{written}\n", study.in_json())
            }
        })?;
    }
    study.tell_troubles();
    Ok(study.exit())
}
