//! `check`: do scenarios bear out their claims, and are their figures still those of the baseline?
//! The one verb that judges them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::record::Better;
use crate::record::baseline::{self as record, Figure};
use crate::record::claims::{Level, Outcome, Verdict};
use crate::record::summary::{self, Summary};
use crate::report::Report;
use crate::report::kept::Kept;
use crate::report::render::{self, Judged};
use crate::scenario::Scenario;

use super::console::{self, Console};
use super::exports;
use super::files::{self, Disk, Hold};
use super::study::{ConductArgs, Study};
use super::{AlterArgs, Exit, Failure, Format, baseline, repeat};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The scenarios, TOML files
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,

    /// Hold the figures against those that `baseline save` kept in this folder, too
    #[arg(long, value_name = "DIR")]
    baseline: Option<PathBuf>,

    #[command(flatten)]
    alter: AlterArgs,

    #[command(flatten)]
    conduct: ConductArgs,

    /// Write the report here too; of several scenarios, to a folder for each in it
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,

    #[command(flatten)]
    gate: GateArgs,
}

/// What a pipeline reads.
#[derive(Debug, Args)]
#[command(next_help_heading = "For pipelines (- for standard output, in place of the verdicts)")]
pub(super) struct GateArgs {
    /// The verdicts as JUnit XML
    #[arg(long = "export-junit", value_name = "FILE|-")]
    junit: Option<PathBuf>,

    /// The verdicts in Markdown; they are appended to $GITHUB_STEP_SUMMARY by themselves
    #[arg(long = "export-markdown", value_name = "FILE|-")]
    markdown: Option<PathBuf>,

    /// The means and their intervals as OpenMetrics
    #[arg(long = "export-openmetrics", value_name = "FILE|-")]
    openmetrics: Option<PathBuf>,

    /// For github-action-benchmark: the metrics of which more is better
    #[arg(long = "export-bigger-is-better", value_name = "FILE|-")]
    bigger_is_better: Option<PathBuf>,

    /// For github-action-benchmark: the metrics of which less is better
    #[arg(long = "export-smaller-is-better", value_name = "FILE|-")]
    smaller_is_better: Option<PathBuf>,
}

/// A scenario and what became of it.
struct Case {
    name: String,
    file: String,
    claim_lines: Vec<u32>,
    report: Report,
    summaries: Vec<Summary>,
    exit: Exit,
}

pub(super) fn check(
    args: &CheckArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    // All are read before the first is run: a slip in the last one is told at once.
    let load = |path: &PathBuf| args.alter.load(path, &[]);
    let scenarios: Vec<Scenario> = args.scenarios.iter().map(load).collect::<Result<_, _>>()?;
    let mut baselines = Vec::new();
    for scenario in &scenarios {
        if scenario.claims.is_empty() && args.baseline.is_none() {
            let message = format!(
                "{} claims nothing: it has no [[check]]\n\
                 help: `--baseline DIR` holds its figures against earlier ones",
                scenario.file
            );
            return Err(Failure::Usage(message));
        }
        let folder = args.baseline.as_deref();
        baselines.push(folder.map(|folder| baseline::load(folder, scenario)).transpose()?);
    }
    // Before hours of work, and each again when it is written.
    let mut holds = Vec::new();
    for scenario in &scenarios {
        let folder = args.folder(scenario);
        holds.push(folder.map(|folder| files::hold(&Disk, &folder)).transpose()?.flatten());
    }
    let mut cases = Vec::new();
    let all = args.scenarios.iter().zip(&scenarios).zip(&baselines).zip(holds);
    for (((path, scenario), kept), hold) in all {
        let kept = kept.as_ref().zip(args.baseline.as_deref());
        let case = args.judge((path, scenario), hold, kept, format, console)?;
        let is_over = matches!(case.exit, Exit::Interrupted | Exit::Terminated);
        cases.push(case);
        if is_over {
            break;
        }
    }
    args.gate.write(&cases, format, console)?;
    Ok(worst(cases.iter().map(|case| case.exit)))
}

impl CheckArgs {
    /// Where the report on `scenario` is to be written.
    fn folder(&self, scenario: &Scenario) -> Option<PathBuf> {
        let folder = self.out.as_ref()?;
        Some(match self.scenarios.as_slice() {
            [_] => folder.clone(),
            _ => folder.join(&scenario.name),
        })
    }

    fn judge(
        &self,
        (path, scenario): (&Path, &Scenario),
        held: Option<Hold>,
        kept: Option<(&record::Baseline, &Path)>,
        format: Format,
        console: &mut Console,
    ) -> Result<Case, Failure> {
        let mut study = Study::carry_out("check", scenario, &self.conduct, console)?;
        let mut judgement = judgement(&study.report.verdicts);
        // Of unfinished runs nothing is known: they are told as such, and not as figures gone.
        if let Some((before, folder)) = kept
            && study.exit() == Exit::Done
            && hold(before, folder, &mut study, console)?
        {
            judgement = Exit::Failed;
        }
        if let Some(folder) = self.folder(scenario)
            && study.has_records()
        {
            drop(held);
            let page = study.write(Some(&folder))?;
            console.note(&format!("report: {}\n", page.display()));
        }
        // The tables are not what was asked for.
        study.report.sections.clear();
        if !self.gate.take_stdout() {
            console.print(&match format {
                Format::Human => study.in_words(),
                Format::Json => study.in_json(),
            })?;
        }
        study.tell_troubles();
        let exit = match study.exit() {
            // A counter-example stands, whatever the unfinished runs would have shown.
            Exit::Done | Exit::Incomplete if judgement == Exit::Failed => Exit::Failed,
            Exit::Done => judgement,
            trouble => trouble,
        };
        Ok(Case {
            name: scenario.name.clone(),
            file: path.display().to_string(),
            claim_lines: scenario.claim_lines.clone(),
            report: study.report,
            summaries: study.summaries,
            exit,
        })
    }
}

/// Holds a study against a baseline; whether that fails. What is otherwise is left for review.
fn hold(
    before: &record::Baseline,
    folder: &Path,
    study: &mut Study<'_>,
    console: &Console,
) -> Result<bool, Failure> {
    let scenario = study.scenario;
    let now = baseline::of(study);
    let comparison = record::compare(&before.figures, &now.figures, |figure| {
        record::allowance(&scenario.tolerances, figure)
    });
    if comparison.compared == 0 || comparison.fewer_seeds == Some(0) {
        let message = format!(
            "the baseline of `{}` and this check have no seed or no figure in common\n\
             help: `stormglass baseline save {}` makes a new one",
            scenario.name, scenario.file
        );
        return Err(Failure::Usage(message));
    }
    if now.scenario_sha256 != before.scenario_sha256 {
        console.note(&format!("note: {} was changed since its baseline\n", scenario.file));
    }
    let command = |seed: Option<u64>| match seed {
        Some(seed) => repeat::command_for_seed("run", scenario, seed),
        None => repeat::command("run", scenario),
    };
    let line = |figure: &Figure| {
        let is_meant = |cell: &&crate::scenario::Cell| {
            cell.experiment.subject().name() == figure.subject
                && summary::label(&cell.label, &cell.point) == figure.variant
        };
        scenario.cells.iter().find(is_meant).map_or(1, |cell| cell.line)
    };
    let kept = Kept::of(&comparison, command, line);
    // Of another selection of seeds or with something set, a part is no new baseline.
    if now.command == before.command {
        let found = (!comparison.differences.is_empty()).then_some(&now);
        if let Err(failure) = baseline::leave(folder, &scenario.name, found) {
            console.note(&format!("note: nothing is left for review: {}", failure.message()));
        }
    }
    let fails = kept.failing().next().is_some();
    if fails {
        console.note("`stormglass baseline review` shows all that moved, and accepts it\n");
    }
    study.report.hold_against(kept);
    Ok(fails)
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

/// Trouble before judgement, and a failure before what is not known.
fn worst(exits: impl Iterator<Item = Exit>) -> Exit {
    let rank = |exit: &Exit| match exit {
        Exit::Done => 0,
        Exit::Incomplete => 1,
        Exit::Failed => 2,
        Exit::Usage | Exit::Again => 3,
        Exit::Io => 4,
        Exit::Bug => 5,
        Exit::Interrupted | Exit::Terminated => 6,
    };
    exits.max_by_key(rank).unwrap_or(Exit::Done)
}

impl GateArgs {
    fn paths(&self) -> [Option<&Path>; 5] {
        [
            self.junit.as_deref(),
            self.markdown.as_deref(),
            self.openmetrics.as_deref(),
            self.bigger_is_better.as_deref(),
            self.smaller_is_better.as_deref(),
        ]
    }

    fn take_stdout(&self) -> bool {
        self.paths().into_iter().flatten().any(exports::is_stdout)
    }

    fn write(&self, cases: &[Case], format: Format, console: &mut Console) -> Result<(), Failure> {
        let judged: Vec<Judged<'_>> = cases
            .iter()
            .map(|case| Judged {
                report: &case.report,
                file: &case.file,
                claim_lines: &case.claim_lines,
            })
            .collect();
        let numbers: Vec<(&str, &[Summary])> =
            cases.iter().map(|case| (case.name.as_str(), case.summaries.as_slice())).collect();
        let texts: [&dyn Fn() -> String; 5] = [
            &|| render::junit(&judged),
            &|| render::step_summary(&judged),
            &|| render::openmetrics(&numbers),
            &|| render::benchmark(&numbers, Better::Higher),
            &|| render::benchmark(&numbers, Better::Lower),
        ];
        for (path, text) in self.paths().into_iter().zip(texts) {
            if let Some(path) = path {
                exports::write(path, text().as_bytes(), console)?;
            }
        }
        if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty())
        {
            append(Path::new(&path), &render::step_summary(&judged));
        }
        let is_github = std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        if is_github && format == Format::Human && !self.take_stdout() {
            console.print(&render::annotations(&judged))?;
        }
        Ok(())
    }
}

/// Appends to the summary of a step. That it cannot is told, and hides no verdict.
fn append(path: &Path, text: &str) {
    let written = OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    if let Err(error) = written {
        console::tell(&format!("warning: cannot append to {}: {error}\n", path.display()));
    }
}
