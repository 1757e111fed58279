//! `compare`: variants and points of one scenario side by side, or two results of it, under the
//! same seeds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use crate::config::{nearest, printable};
use crate::experiments::{WINGS, Wing};
use crate::record::summary;
use crate::report::{self, Block, BottomLine, Section, Tone, compose};
use crate::scenario::{Cell, Scenario};

use super::console::Console;
use super::exports::ExportArgs;
use super::files::{self, Disk};
use super::report::Stored;
use super::study::{self, ConductArgs, Study};
use super::{AlterArgs, Exit, Failure, Format, repeat};

#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The scenario, a TOML file; or the folder of a result, to be held against another
    scenario: PathBuf,

    /// The folder of the other result
    other: Option<PathBuf>,

    #[command(flatten)]
    alter: AlterArgs,

    /// Run every variant at each of these values, as in nodes=10,100; may be repeated
    #[arg(long = "param", value_name = "PATH=A,B,C")]
    params: Vec<String>,

    /// What to hold the others against, as the table calls it; by default the first
    #[arg(long, value_name = "VARIANT")]
    reference: Option<String>,

    #[command(flatten)]
    conduct: ConductArgs,

    /// Write the report here too
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,

    #[command(flatten)]
    exports: ExportArgs,
}

pub(super) fn compare(
    args: &CompareArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if args.other.is_some() || args.scenario.is_dir() {
        return results(args, format, console);
    }
    let scenario = args.alter.load(&args.scenario, &args.params)?;
    let references = references(&scenario, args.reference.as_deref())?;
    // Before hours of work, and again when it is written.
    let hold = args.out.as_deref().map(|folder| files::hold(&Disk, folder)).transpose()?;
    let mut study = Study::carry_out("compare", &scenario, &args.conduct, console)?;
    if study.has_records() {
        let from = &mut study.report.provenance;
        from.references = (references.iter())
            .map(|(wing, label)| (wing.subject.name().to_owned(), label.clone()))
            .collect();
        if let Some(reference) = &args.reference {
            let _ = write!(from.command, " --reference {}", repeat::quoted(reference));
        }
        let compared: Vec<Section> =
            references.iter().flat_map(|(wing, label)| study.compared(wing, label)).collect();
        study.report.sections.splice(0..0, compared.clone());
        if let Some(folder) = &args.out {
            drop(hold);
            let page = study.write(Some(folder))?;
            console.note(&format!("report: {}\n", page.display()));
        }
        args.exports.write(&study.report, study.records(), &study.summaries, console)?;
        if !args.exports.take_stdout() {
            // The tables of `run` are not what was asked for.
            study.report.sections = compared;
            console.print(&match format {
                Format::Human => {
                    study.report.sections.retain(has_something_to_show);
                    study.in_words()
                }
                Format::Json => format!("{}{}", study.in_json(), in_json(&study.report.sections)),
            })?;
        }
    }
    study.tell_troubles();
    Ok(study.exit())
}

/// Two results of the same variants, seed by seed.
fn results(args: &CompareArgs, format: Format, console: &mut Console) -> Result<Exit, Failure> {
    let Some(other) = &args.other else {
        return Err(Failure::Usage(format!(
            "{} is a folder\nhelp: give two results, as in `stormglass compare A/ B/`, or a scenario",
            args.scenario.display()
        )));
    };
    let of_runs = [
        ("--out", args.out.is_some()),
        ("--param", !args.params.is_empty()),
        ("--reference", args.reference.is_some()),
        ("--seeds", args.alter.seeds.is_some()),
        ("--set", !args.alter.sets.is_empty()),
        ("--format json", format == Format::Json),
    ];
    if let Some((flag, _)) = of_runs.into_iter().find(|(_, is_given)| *is_given) {
        return Err(Failure::Usage(format!(
            "{flag} is for a scenario: two results are what they are\n\
             help: `--export-markdown FILE` writes the comparison, and `--export-json FILE` everything"
        )));
    }
    let name = |path: &Path| path.display().to_string();
    let names = (name(&args.scenario), name(other));
    let (before, after) = (Stored::load(&args.scenario)?, Stored::load(other)?);
    let sections: Vec<Section> = WINGS
        .iter()
        .filter_map(|wing| {
            let names = (names.0.as_str(), names.1.as_str());
            compose::between(&wing.brief, names, &before.summaries, &after.summaries)
        })
        .collect();
    if sections.is_empty() {
        return Err(Failure::Usage(format!(
            "{} and {} have no variant, number and seed in common",
            names.0, names.1
        )));
    }
    let mut report = after.report;
    report.title = format!("{} against {}", names.1, names.0);
    report.verdicts.clear();
    report.kept = None;
    report.bottom_line = BottomLine { tone: Tone::Good, text: report.title.clone() };
    report.provenance.command =
        format!("stormglass compare {} {}", repeat::quoted(&names.0), repeat::quoted(&names.1));
    report.sections = sections;
    args.exports.write(&report, &after.records, &after.summaries, console)?;
    if !args.exports.take_stdout() {
        console.print(&study::in_words(&report))?;
    }
    Ok(Exit::Done)
}

/// Whether a screen has room for any of its tables.
fn has_something_to_show(section: &Section) -> bool {
    section.blocks.iter().any(|block| matches!(block, Block::Table(table) if !table.is_detail))
}

/// The comparisons for a program: an object for each number of each variant.
fn in_json(sections: &[Section]) -> String {
    let mut lines = String::new();
    for section in sections {
        let tables = section.blocks.iter().filter_map(|block| match block {
            Block::Table(table) => Some(table),
            Block::Chart(_) | Block::Lines { .. } => None,
        });
        for (table, row) in tables.flat_map(|table| table.rows.iter().map(move |row| (table, row)))
        {
            let [variant, mean, compared] = row.as_slice() else { continue };
            if let (
                report::Cell::Text(variant),
                report::Cell::Estimate(mean, _),
                report::Cell::Text(compared),
            ) = (variant, mean, compared)
            {
                let object = json!({
                    "reason": "comparison",
                    "section": section.heading,
                    "number": table.columns[0].title,
                    "variant": variant,
                    "mean": mean.mean,
                    "low": mean.low,
                    "high": mean.high,
                    "against": compared,
                });
                let _ = writeln!(lines, "{object}");
            }
        }
    }
    lines
}

/// What each wing of the scenario is held against: the `wanted` one, or its first.
fn references(
    scenario: &Scenario,
    wanted: Option<&str>,
) -> Result<Vec<(&'static Wing, String)>, Failure> {
    let label = |cell: &Cell| summary::label(&cell.label, &cell.point);
    let all: Vec<String> = scenario.cells.iter().map(label).collect();
    if let Some(wanted) = wanted
        && !all.iter().any(|label| label == wanted)
    {
        let known: Vec<&str> = all.iter().map(String::as_str).collect();
        let help = match nearest(wanted, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("the scenario runs {}", known.join(", ")),
        };
        let wanted = printable(wanted);
        return Err(Failure::Usage(format!("nothing is called `{wanted}`\nhelp: {help}")));
    }
    let of_wing = |wing: &'static Wing| {
        let cells = scenario.cells.iter();
        let mut labels = cells.filter(|cell| cell.experiment.subject() == wing.subject).map(label);
        let first = labels.next()?;
        let chosen = labels.find(|label| Some(label.as_str()) == wanted);
        Some((wing, chosen.unwrap_or(first)))
    };
    Ok(WINGS.iter().filter_map(of_wing).collect())
}
