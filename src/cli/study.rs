//! What `run`, `compare` and `check` have in common: a scenario is carried out, summed up, judged
//! and reported.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::config::Bytes;
use crate::experiments::{self, Conduct, Estimate, Harvest, Run, Settled, WINGS, Wing};
use crate::record::brief::Brief;
use crate::record::claims::{self, Outcome, Verdict};
use crate::record::summary::{self, Summary};
use crate::record::{Ending, Record};
use crate::report::compose::{self, Occasion};
use crate::report::kept::Change;
use crate::report::render::{self, Artefact, Screen};
use crate::report::{Block, BottomLine, Report, Section, Tone};
use crate::scenario::Scenario;

use super::console::{self, Console};
use super::files::{self, Disk};
use super::interrupt::Interrupt;
use super::progress::Progress;
use super::words::{grouped, size};
use super::{Exit, Failure, repeat};

/// What a plan may cost, and how it is carried out. None of it decides a result.
#[derive(Debug, Args)]
pub(super) struct ConductArgs {
    /// How many runs at the same time; 0 for as many as there are cores
    #[arg(long, short, value_name = "N", default_value = "0")]
    jobs: usize,

    /// Refuse a plan that would take more events
    #[arg(long, value_name = "COUNT", default_value = "20_000_000_000", value_parser = count)]
    max_events: u64,

    /// Refuse a plan that would take more memory
    #[arg(long, value_name = "SIZE", default_value = "4GiB")]
    max_memory: Bytes,

    /// Run everything twice, and fail where the two differ
    #[arg(long)]
    verify_determinism: bool,
}

/// Reads a count, with `_` between digits where the user likes.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    digits.parse().map_err(|_| "expected a whole number, such as 1_000_000".to_owned())
}

/// So many things are shown one against the other.
const COMPARED_MAX: usize = 12;

/// A scenario and what came of it.
#[derive(Debug)]
pub(super) struct Study<'a> {
    verb: &'static str,
    pub(super) scenario: &'a Scenario,
    planned: usize,
    harvest: Harvest,
    pub(super) summaries: Vec<Summary>,
    pub(super) report: Report,
    // What asked the plan to stop before it was done.
    interrupted: Option<Exit>,
    // Where a second time gave something else.
    difference: Option<String>,
}

impl<'a> Study<'a> {
    /// Carries out what the scenario asks, and says what came of it.
    pub(super) fn carry_out(
        verb: &'static str,
        scenario: &'a Scenario,
        args: &ConductArgs,
        console: &Console,
    ) -> Result<Self, Failure> {
        let mut plan = scenario.plan();
        let jobs = args.jobs_for(&plan);
        // What the second time leaves stands beside what the first one left.
        let times = if args.verify_determinism { 2 } else { 1 };
        args.refuse_if_too_large(&plan, experiments::left_behind(&plan).saturating_mul(times))?;
        let interrupt = Interrupt::listen();
        let carry_out = |plan: &[Run], jobs| {
            let progress = Progress::new(plan.len(), console.is_watched());
            let conduct = Conduct { jobs, stop: interrupt.flag() };
            experiments::carry_out(plan, conduct, &|run: &Run, _: Result<&Record, &str>| {
                progress.step(run.name());
            })
        };
        let settled = scenario.finds_warm_up.then(|| {
            let pilot = carry_out(&plan, jobs);
            experiments::settled(&mut plan, &pilot.records)
        });
        let harvest = carry_out(&plan, jobs);
        let settled = settled.unwrap_or_default();
        let mut study = Self::of(verb, scenario, plan.len(), harvest, &settled);
        if args.verify_determinism && interrupt.exit().is_none() {
            // The second time the runs come one after the other, so that threads show too.
            let again = carry_out(&plan, 1);
            let again = Self::of(verb, scenario, plan.len(), again, &settled);
            study.difference = study.difference_from(&again)?;
        }
        study.interrupted = interrupt.exit().filter(|_| 0 < study.harvest.left_out);
        Ok(study)
    }

    /// What came of all runs of the scenario, wherever they were carried out: the same as
    /// [`Self::carry_out`] makes for `run`.
    pub(super) fn of_records(scenario: &'a Scenario, records: Vec<Record>) -> Self {
        let planned = records.len();
        let harvest = Harvest { records, ..Harvest::default() };
        Self::of("run", scenario, planned, harvest, &[])
    }

    fn of(
        verb: &'static str,
        scenario: &'a Scenario,
        planned: usize,
        harvest: Harvest,
        settled: &[Settled],
    ) -> Self {
        let summaries = summary::of(&harvest.records);
        let verdicts = claims::judge(&scenario.claims, &harvest.records, &summaries);
        let briefs: Vec<Brief> = WINGS.iter().map(|wing| wing.brief).collect();
        let mut notes = Vec::new();
        if 0 < harvest.left_out {
            let finished = harvest.records.len();
            notes.push(format!("interrupted: {finished} of {planned} runs were finished"));
        }
        notes.extend(settled.iter().filter(|one| one.after.is_some()).map(Settled::to_string));
        let restless: Vec<String> =
            settled.iter().filter(|one| one.after.is_none()).map(Settled::to_string).collect();
        let occasion = Occasion {
            title: scenario.name.clone(),
            question: scenario.question.clone(),
            briefs: &briefs,
            verdicts,
            notes,
            provenance: repeat::provenance(verb, scenario),
        };
        let mut report = compose::compose(occasion, &harvest.records, &summaries);
        if !restless.is_empty() {
            // Before anything else: what follows is no steady state.
            let text = format!("{}; {}", restless.join("; "), report.bottom_line.text);
            report.bottom_line = BottomLine { tone: Tone::Unknown, text };
        }
        Self {
            verb,
            scenario,
            planned,
            harvest,
            summaries,
            report,
            interrupted: None,
            difference: None,
        }
    }

    /// What `compare` shows of a wing: every number against that of `reference`; and, where so
    /// many things are compared that this fills screens, one table of them all, with the former
    /// left to the written report.
    pub(super) fn compared(&self, wing: &Wing, reference: &str) -> Vec<Section> {
        compared(&wing.brief, reference, &self.harvest.records, &self.summaries)
    }

    /// All files of the report.
    fn artefacts(&self) -> Result<Vec<Artefact>, Failure> {
        render::files(&self.report, &self.harvest.records, &self.summaries)
            .map_err(|error| Failure::Bug(error.to_string()))
    }

    /// Writes the report to `folder`, or to where results of the scenario go; the page to open.
    pub(super) fn write(&self, folder: Option<&Path>) -> Result<PathBuf, Failure> {
        let folder = self::folder(self.scenario, folder);
        let artefacts = self.artefacts()?;
        let records = &self.harvest.records;
        let manifest = repeat::manifest(
            &self.report.provenance.command,
            self.scenario,
            self.planned,
            records,
            &artefacts,
        );
        files::publish(&Disk, &folder, &artefacts, &manifest)?;
        let page = ["report.html", "report.md"]
            .into_iter()
            .find(|page| artefacts.iter().any(|artefact| artefact.path == *page));
        Ok(page.map_or(folder.clone(), |page| folder.join(page)))
    }

    /// The report for a terminal.
    pub(super) fn in_words(&self) -> String {
        in_words(&self.report)
    }

    /// The report for a program: an object a run, then one a claim.
    pub(super) fn in_json(&self) -> String {
        in_json(&self.report, &self.harvest.records)
    }

    /// Tells what went wrong on the way.
    pub(super) fn tell_troubles(&self) {
        for (run, why) in &self.harvest.panics {
            let command = repeat::command_for_seed(self.verb, self.scenario, run.seed.0);
            console::tell(&format!(
                "error: {} panicked: {why}\nthis is a bug of stormglass: please report it with \
                 the command that repeats it:\n  {command}\n",
                run.name()
            ));
        }
        if let Some(difference) = &self.difference {
            console::tell(&format!("error: the same run gave something else: {difference}\n"));
        }
        if self.interrupted.is_some() {
            console::tell(&format!(
                "interrupted: {} of {} runs were finished and are kept\n",
                self.harvest.records.len(),
                self.planned
            ));
        }
    }

    /// What the runs left, in the order of the plan.
    pub(super) fn records(&self) -> &[Record] {
        &self.harvest.records
    }

    /// Whether anything was finished.
    pub(super) fn has_records(&self) -> bool {
        !self.harvest.records.is_empty()
    }

    /// How the program ends, the claims apart.
    pub(super) fn exit(&self) -> Exit {
        let incomplete =
            self.harvest.records.iter().any(|record| record.ending != Ending::Complete);
        match self.interrupted {
            Some(exit) => exit,
            None if !self.harvest.panics.is_empty() => Exit::Bug,
            None if self.difference.is_some() => Exit::Failed,
            None if incomplete => Exit::Incomplete,
            None => Exit::Done,
        }
    }

    /// The first difference between this and the same `again`.
    fn difference_from(&self, again: &Self) -> Result<Option<String>, Failure> {
        let pairs = self.harvest.records.iter().zip(&again.harvest.records);
        for (record, other) in pairs {
            if record != other {
                let command = repeat::command_for_seed(self.verb, self.scenario, record.seed.0);
                let name = summary::label(&record.variant, &record.point);
                return Ok(Some(format!(
                    "{} {name}, seed {}: fingerprints {:016x} and {:016x}\n  {command}",
                    record.subject.name(),
                    record.seed.0,
                    record.fingerprint,
                    other.fingerprint
                )));
            }
        }
        let (files, others) = (self.artefacts()?, again.artefacts()?);
        let different = files.iter().zip(&others).find(|(file, other)| file != other);
        Ok(different.map(|(file, _)| format!("the file {}", file.path)))
    }
}

/// Where a report goes: to `chosen`, or to where results of the scenario go.
pub(super) fn folder(scenario: &Scenario, chosen: Option<&Path>) -> PathBuf {
    chosen.map_or_else(|| Path::new("results").join(&scenario.name), PathBuf::from)
}

impl ConductArgs {
    /// How many runs go on at the same time.
    pub(super) fn jobs_for(&self, plan: &[Run]) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let jobs = if self.jobs == 0 { cores() } else { self.jobs };
        jobs.min(plan.len().max(1))
    }

    /// Refuses a plan that costs more than is allowed; its records take `kept` bytes together.
    pub(super) fn refuse_if_too_large(&self, plan: &[Run], kept: u64) -> Result<(), Failure> {
        let Estimate { event_count, bytes } = experiments::estimate(plan, self.jobs_for(plan));
        let bytes = bytes.saturating_add(kept);
        let (needs, flag, allows) = if self.max_events < event_count {
            let needs = format!("{} events", grouped(event_count));
            (needs, "--max-events", grouped(self.max_events))
        } else if self.max_memory.0 < bytes {
            (format!("{} of memory", size(bytes)), "--max-memory", self.max_memory.to_string())
        } else {
            return Ok(());
        };
        Err(Failure::Usage(format!(
            "the plan needs about {needs}, and {flag} allows {allows}\n\
             help: ask for less (`stormglass plan` shows what costs how much), or raise {flag}"
        )))
    }
}

/// A report for a terminal.
pub(super) fn in_words(report: &Report) -> String {
    let columns = match terminal_size::terminal_size() {
        Some((width, _)) => usize::from(width.0),
        // What a pipe leads to may be wider than it lets on.
        None => std::env::var("COLUMNS")
            .ok()
            .and_then(|columns| columns.parse().ok())
            .unwrap_or(Screen::default().columns),
    };
    // Colours are taken out again where they are not wanted.
    render::terminal(report, Screen { columns, is_coloured: true })
}

/// A report for a program: an object a run, then one a claim, then one a figure that moved.
pub(super) fn in_json(report: &Report, records: &[Record]) -> String {
    let runs = records.iter().map(run_in_json);
    let claims = report.verdicts.iter().map(verdict_in_json);
    let changes = report.kept.iter().flat_map(|kept| &kept.changes).map(change_in_json);
    let mut lines = String::new();
    for object in runs.chain(claims).chain(changes) {
        let _ = writeln!(lines, "{object}");
    }
    lines
}

fn change_in_json(change: &Change) -> Json {
    json!({
        "reason": "baseline",
        "outcome": change.outcome.word(),
        "figure": change.figure,
        "text": change.text,
        "command": change.command,
    })
}

/// What `compare` shows of a subject: every number against that of `reference`; and, where so many
/// things are compared that this fills screens, one table of them all, with the former left to the
/// written report.
pub(super) fn compared(
    brief: &Brief,
    reference: &str,
    records: &[Record],
    summaries: &[Summary],
) -> Vec<Section> {
    let mut against = compose::against(brief, reference, summaries);
    let beside = (COMPARED_MAX < summary::groups(records).len())
        .then(|| compose::side_by_side(brief, records, summaries))
        .flatten();
    if beside.is_some() {
        for block in against.iter_mut().flat_map(|section| &mut section.blocks) {
            if let Block::Table(table) = block {
                table.is_detail = true;
            }
        }
    }
    beside.into_iter().chain(against).collect()
}

fn run_in_json(record: &Record) -> Json {
    let point = record.point.iter().map(|(name, value)| (name.clone(), json!(value)));
    let mut object = json!({
        "reason": "run",
        "experiment": record.subject.name(),
        "variant": record.variant,
        "point": point.collect::<Map<String, Json>>(),
        "seed": record.seed.0,
        "complete": record.ending == Ending::Complete,
        "events": record.event_count,
        "fingerprint": format!("{:016x}", record.fingerprint),
    });
    if let Ending::Incomplete(why) = &record.ending {
        object["why"] = json!(why);
    }
    object
}

fn verdict_in_json(verdict: &Verdict) -> Json {
    json!({
        "reason": "claim",
        "claim": verdict.claim,
        "outcome": match verdict.outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "failed",
            Outcome::Unknown => "unknown",
        },
        "level": match verdict.level {
            claims::Level::Error => "error",
            claims::Level::Warn => "warn",
        },
        "bound": verdict.bound,
        "why": verdict.why,
    })
}
