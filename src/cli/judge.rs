//! `judge`: holds a history that was recorded elsewhere against the judges of a wing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};

use crate::config::printable;
use crate::locks::recorded::{
    self, JUDGES, Mistake, Notation, Opinion, Options, Outcome, Recorded,
};

use crate::queues::recorded as queues;

use super::console::Console;
use super::{Exit, Failure, Format};

#[derive(Debug, Args)]
pub(super) struct JudgeArgs {
    #[command(subcommand)]
    of: Of,
}

#[derive(Debug, Subcommand)]
enum Of {
    /// A history of locks: who acquired and released what, and what came of it
    Locks(LocksArgs),
    /// Records of a queue: what producers sent and were told, what consumers got and did
    Queues(QueuesArgs),
}

#[derive(Debug, Args)]
struct QueuesArgs {
    /// What producers did: JSON objects, one a line
    produced: PathBuf,

    /// What consumers did: JSON objects, one a line
    consumed: PathBuf,

    /// Only this judge; may be repeated
    #[arg(long, value_name = "NAME", value_parser = queues::JUDGES.to_vec())]
    judge: Vec<String>,
}

#[derive(Debug, Args)]
struct LocksArgs {
    /// The history: JSON objects, one a line, or what Jepsen writes (a file ending in .edn)
    history: PathBuf,

    /// Only this judge; may be repeated
    #[arg(long, value_name = "NAME", value_parser = JUDGES.to_vec())]
    judge: Vec<String>,

    /// How many permits a lock has: more than one for a semaphore
    #[arg(long, value_name = "COUNT", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    permits: u32,

    /// A holder may acquire again what it holds
    #[arg(long)]
    reentrant: bool,

    /// A wait may see so many grants to others that asked later; any number by default
    #[arg(long, value_name = "COUNT")]
    max_bypass: Option<u64>,

    /// So many steps may the search for an order take, for each lock or key
    #[arg(long, value_name = "COUNT", default_value = "1000000")]
    max_steps: u64,
}

pub(super) fn judge(
    args: &JudgeArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match &args.of {
        Of::Locks(args) => judge_locks(args, format, console),
        Of::Queues(args) => judge_queues(args, format, console),
    }
}

fn judge_queues(args: &QueuesArgs, format: Format, console: &mut Console) -> Result<Exit, Failure> {
    let names = [&args.produced, &args.consumed].map(|path| printable(&path.display().to_string()));
    let [produced, consumed] = [read_text(&args.produced)?, read_text(&args.consumed)?];
    let recorded = queues::read(&produced, &consumed).map_err(|(producers, consumers)| {
        let of = |name: &String, mistakes: Vec<queues::Mistake>| {
            let told = mistakes.into_iter().map(|queues::Mistake { line, text }| {
                format!("{name}:{line}: {}", printable(&text))
            });
            told.collect::<Vec<String>>()
        };
        mistaken("records have", &[of(&names[0], producers), of(&names[1], consumers)].concat())
    })?;
    let mut opinions = queues::judge(&recorded);
    opinions.retain(|opinion| {
        args.judge.is_empty() || args.judge.iter().any(|name| name == opinion.judge)
    });
    let (sent, delivered) = recorded.counts();
    let mut text = match format {
        Format::Human => format!("{sent} messages sent, {delivered} deliveries\n"),
        Format::Json => String::new(),
    };
    for queues::Opinion { judge, is_bad, about, findings } in &opinions {
        let place = |is_consumers: bool, line: usize| {
            format!("{}:{line}", names[usize::from(is_consumers)])
        };
        match format {
            Format::Human => {
                let word = word(if *is_bad { Outcome::Bad } else { Outcome::Good });
                let _ = writeln!(text, "  {word:9}  {judge}: {about}");
                for (is_consumers, line, finding) in findings.iter().take(FINDINGS_SHOWN_MAX) {
                    let place = place(*is_consumers, *line);
                    let _ = writeln!(text, "      {place}: {}", printable(finding));
                }
                if FINDINGS_SHOWN_MAX < findings.len() {
                    let more = findings.len() - FINDINGS_SHOWN_MAX;
                    let _ = writeln!(text, "      and {more} more");
                }
            }
            Format::Json => {
                let findings = findings.iter().map(|(is_consumers, line, finding)| {
                    json!({ "at": place(*is_consumers, *line), "text": finding })
                });
                let object = json!({
                    "reason": "opinion",
                    "judge": judge,
                    "outcome": if *is_bad { "bad" } else { "good" },
                    "about": about,
                    "findings": findings.collect::<Vec<Json>>(),
                });
                let _ = writeln!(text, "{object}");
            }
        }
    }
    console.print(&text)?;
    let is_bad = opinions.iter().any(|opinion| opinion.is_bad);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

fn judge_locks(args: &LocksArgs, format: Format, console: &mut Console) -> Result<Exit, Failure> {
    let recorded = load(&args.history)?;
    let options = Options {
        permits: args.permits,
        is_reentrant: args.reentrant,
        steps_max: args.max_steps,
        bypass_max: args.max_bypass,
    };
    let mut opinions = recorded::judge(&recorded, &options);
    opinions.retain(|opinion| {
        args.judge.is_empty() || args.judge.iter().any(|name| name == opinion.judge)
    });
    console.print(&match format {
        Format::Human => in_words(&args.history, &recorded, &opinions),
        Format::Json => in_json(&opinions),
    })?;
    let has = |outcome| opinions.iter().any(|opinion| opinion.outcome == outcome);
    Ok(if has(Outcome::Bad) {
        Exit::Failed
    } else if has(Outcome::Unknown) {
        Exit::Incomplete
    } else {
        Exit::Done
    })
}

fn load(path: &Path) -> Result<Recorded, Failure> {
    let shown = printable(&path.display().to_string());
    let text = read_text(path)?;
    let is_edn = path.extension().is_some_and(|ending| ending == "edn");
    let notation = if is_edn { Notation::Edn } else { Notation::Json };
    recorded::read(&text, notation).map_err(|mistakes| {
        let told = mistakes
            .iter()
            .map(|Mistake { line, text }| format!("{shown}:{line}: {}", printable(text)));
        mistaken("history has", &told.collect::<Vec<String>>())
    })
}

/// All of a file. That it is not there, a folder, or not text is the user's mistake.
fn read_text(path: &Path) -> Result<String, Failure> {
    let shown = printable(&path.display().to_string());
    fs::read_to_string(path)
        .map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}")))
}

fn mistaken(what: &str, mistakes: &[String]) -> Failure {
    const SHOWN_MAX: usize = 20;
    let mut told = format!("the {what} {} mistakes", mistakes.len());
    for mistake in mistakes.iter().take(SHOWN_MAX) {
        let _ = write!(told, "\n{mistake}");
    }
    if SHOWN_MAX < mistakes.len() {
        let _ = write!(told, "\nand {} more", mistakes.len() - SHOWN_MAX);
    }
    Failure::Usage(told)
}

/// So many findings of each judge are shown.
const FINDINGS_SHOWN_MAX: usize = 10;

const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Good => "good",
        Outcome::Bad => "BAD",
        Outcome::Unknown => "unknown",
        Outcome::Silent => "not asked",
    }
}

fn in_words(path: &Path, recorded: &Recorded, opinions: &[Opinion]) -> String {
    const SHOWN_MAX: usize = 10;
    let path = printable(&path.display().to_string());
    let mut text = format!(
        "{path}: {} operations of {} processes on {} locks or keys\n",
        recorded.operations.len(),
        recorded.processes.len(),
        recorded.locks.len()
    );
    for Opinion { judge, outcome, about, findings } in opinions {
        let _ = writeln!(text, "  {:9}  {judge}: {about}", word(*outcome));
        for (line, finding) in findings.iter().take(SHOWN_MAX) {
            let line = line.map_or(String::new(), |line| format!("{path}:{line}: "));
            let _ = writeln!(text, "      {line}{}", printable(finding));
        }
        if SHOWN_MAX < findings.len() {
            let _ = writeln!(text, "      and {} more", findings.len() - SHOWN_MAX);
        }
    }
    text
}

/// An object a judge, one a line.
fn in_json(opinions: &[Opinion]) -> String {
    let mut lines = String::new();
    for Opinion { judge, outcome, about, findings } in opinions {
        let outcome = match outcome {
            Outcome::Good => "good",
            Outcome::Bad => "bad",
            Outcome::Unknown => "unknown",
            Outcome::Silent => "silent",
        };
        let findings: Vec<Json> =
            findings.iter().map(|(line, text)| json!({ "line": line, "text": text })).collect();
        let object = json!({
            "reason": "opinion",
            "judge": judge,
            "outcome": outcome,
            "about": about,
            "findings": findings,
        });
        let _ = writeln!(lines, "{object}");
    }
    lines
}
