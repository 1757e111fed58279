//! `run`: the main job. A scenario in; tables, charts and a manifest out.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::console::Console;
use super::exports::ExportArgs;
use super::study::{ConductArgs, Study};
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
}

pub(super) fn run(args: &RunArgs, format: Format, console: &mut Console) -> Result<Exit, Failure> {
    let scenario = args.asked.load(&args.params)?;
    let study = Study::carry_out("run", &scenario, &args.conduct, console)?;
    if study.has_records() {
        let page = study.write(args.out.as_deref())?;
        let page = page.display();
        args.exports.write(&study.report, study.records(), &study.summaries, console)?;
        if args.exports.take_stdout() {
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
