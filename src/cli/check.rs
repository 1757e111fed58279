//! `check`: does the scenario's own outcome bear its claims out? The one verb that judges them.

use std::path::PathBuf;

use clap::Args;

use crate::record::claims::{Level, Outcome, Verdict};

use super::console::Console;
use super::study::{ConductArgs, Study};
use super::{Exit, Failure, Format, ScenarioArgs};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    asked: ScenarioArgs,

    #[command(flatten)]
    conduct: ConductArgs,

    /// Write the report here too
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn check(
    args: &CheckArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let scenario = args.asked.load(&[])?;
    if scenario.claims.is_empty() {
        let message = format!("{} claims nothing: it has no [[check]]", scenario.file);
        return Err(Failure::Usage(message));
    }
    let mut study = Study::carry_out("check", &scenario, &args.conduct, console)?;
    if let Some(folder) = &args.out
        && study.has_records()
    {
        let page = study.write(Some(folder))?;
        console.note(&format!("report: {}\n", page.display()));
    }
    let judgement = judgement(&study.report.verdicts);
    // The tables are not what was asked for.
    study.report.sections.clear();
    console.print(&match format {
        Format::Human => study.in_words(),
        Format::Json => study.in_json(),
    })?;
    study.tell_troubles();
    Ok(match study.exit() {
        // A counter-example stands, whatever the unfinished runs would have shown.
        Exit::Done | Exit::Incomplete if judgement == Exit::Failed => Exit::Failed,
        Exit::Done => judgement,
        trouble => trouble,
    })
}

fn judgement(verdicts: &[Verdict]) -> Exit {
    let has = |outcome: Outcome| {
        verdicts.iter().any(|verdict| verdict.level == Level::Error && verdict.outcome == outcome)
    };
    if has(Outcome::Failed) {
        Exit::Failed
    } else if has(Outcome::Unknown) {
        Exit::Incomplete
    } else {
        Exit::Done
    }
}
