//! Words in; files, tables and an exit code out.
//!
//! Tables go to standard output, progress and messages to standard error. Each verb is a file that
//! reads like what it does; what verbs share stands here: their flags, their failures, their exits.

mod backtest;
mod baseline;
mod bench;
mod check;
mod compare;
mod console;
mod diagnostics;
mod explain;
mod exports;
pub mod files;
mod init;
mod interrupt;
mod judge;
mod list;
mod matrix;
mod own;
mod pages;
mod place;
mod plan;
mod programs;
mod progress;
mod remap;
mod repeat;
mod report;
mod rows;
mod run;
mod skew;
mod study;
mod sweep;
mod validate;
mod words;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ColorChoice, Parser, Subcommand, ValueEnum};

use crate::scenario::{self, Alterations, Scenario, ScenarioError, SeedChoice};

use console::Console;
use files::PublishError;

const AFTER_HELP: &str = "\
Examples:
  stormglass init rings                            write a scenario to begin with
  stormglass run scenarios/quickstart.toml         run it; the report goes to results/quickstart/
  stormglass check scenarios/*.toml --baseline results/baseline

Exit codes:
  0    done
  1    a claim does not hold or a figure left its baseline (check), a history is bad (judge), or
       a run could not be repeated (--verify-determinism)
  2    wrong usage or a wrong scenario
  3    incomplete: a cap on events or time was reached, or a claim cannot be judged
  70   a bug of stormglass
  74   a file could not be read or written
  75   another process is writing to the same folder: try again
  130  interrupted (Ctrl-C); 143 terminated: what was finished is kept";

/// Simulates placement rings, distributed locks and message queues, the same to the last byte
/// whenever it is run again.
#[derive(Debug, Parser)]
#[command(name = "stormglass", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true, propagate_version = false)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,

    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,

    /// For whom to print: people or programs; csv, markdown and html: some verbs
    #[arg(long, global = true, value_name = "FORMAT", default_value = "human")]
    format: Form,

    /// Print results and errors only
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a scenario and write its report
    Run(run::RunArgs),
    /// Hold variants and points of a scenario against each other, under the same seeds
    Compare(compare::CompareArgs),
    /// Judge scenarios by their own claims, and by the figures of a baseline
    Check(check::CheckArgs),
    /// Keep figures beside the code, for `check` to hold later ones against
    #[command(subcommand)]
    Baseline(baseline::BaselineVerb),
    /// Draw the report of a result again, without running anything
    Report(report::ReportArgs),
    /// Show what a scenario would run, and what that would cost
    Plan(plan::PlanArgs),
    /// Show what every variant does under every fault
    Matrix(matrix::MatrixArgs),
    /// Work off a plan in shards, on one machine or many
    Sweep(sweep::SweepArgs),
    /// Put the shards of a sweep together into its report
    Merge(sweep::MergeArgs),
    /// Say which node owns each key of a file
    Place(place::PlaceArgs),
    /// Tell what moved between two assignments of the same keys, and what had to
    Remap(remap::RemapArgs),
    /// Measure how unevenly a ring spreads the requests of a file, and why
    Skew(skew::SkewArgs),
    /// Time the kernel, experiments and rings on this machine; no part of any report
    Bench(bench::BenchArgs),
    /// Judge a history that was recorded elsewhere, such as that of a lock of your own
    Judge(judge::JudgeArgs),
    /// Hold the simulator against closed forms of queueing theory
    Validate(validate::ValidateArgs),
    /// Hold what a scenario predicts against a trace that was measured
    Backtest(backtest::BacktestArgs),
    /// List what a scenario can name
    List(list::ListArgs),
    /// Say exactly what a metric, a variant, a fault or a distribution is
    Explain(explain::ExplainArgs),
    /// Print the JSON Schema of scenario files
    Schema,
    /// Write a scenario to begin with
    Init(init::InitArgs),
    /// Print completions for a shell
    Completions(pages::CompletionsArgs),
    /// Print the manual page, or write one for each verb to a folder
    Man(pages::ManArgs),
}

/// What `--format` can say.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Form {
    // Tables and sentences
    Human,
    // Objects, one a line
    Json,
    // Records with a head
    Csv,
    // For reviews and issues
    Markdown,
    // One page that needs nothing else
    Html,
    // A picture
    Svg,
}

/// The forms that every verb knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    // Tables and sentences.
    Human,
    // Objects; those of a run and a check are one a line.
    Json,
}

/// The forms of a verb that prints one table.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tabular {
    // As it is read best.
    Human,
    // Objects.
    Json,
    // Records with a head.
    Csv,
}

impl Form {
    /// For a verb that prints one table.
    fn tabular(self) -> Result<Tabular, Failure> {
        let name = match self {
            Self::Human => return Ok(Tabular::Human),
            Self::Json => return Ok(Tabular::Json),
            Self::Csv => return Ok(Tabular::Csv),
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Svg => "svg",
        };
        let message =
            format!("this verb does not print {name}: expected --format human, json or csv");
        Err(Failure::Usage(message))
    }

    /// For a verb that knows no others than [`Format`] has.
    fn plain(self) -> Result<Format, Failure> {
        let name = match self {
            Self::Human => return Ok(Format::Human),
            Self::Json => return Ok(Format::Json),
            Self::Csv => "csv",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Svg => "svg",
        };
        Err(Failure::Usage(format!(
            "this verb does not print {name}: expected --format human or json"
        )))
    }
}

/// Which scenario, and what of it is altered.
#[derive(Debug, Args)]
struct ScenarioArgs {
    /// The scenario, a TOML file
    scenario: PathBuf,

    #[command(flatten)]
    alter: AlterArgs,
}

/// What of a scenario is altered.
#[derive(Debug, Args)]
struct AlterArgs {
    /// So many seeds from the scenario's first on, or those from A up to, but without, B
    #[arg(long, value_name = "N|A..B")]
    seeds: Option<SeedChoice>,

    /// Put VALUE in place of what the scenario says, as in nodes=50; may be repeated
    #[arg(long = "set", value_name = "PATH=VALUE")]
    sets: Vec<String>,

    /// Let the scenario start the programs that it names as rings
    #[arg(long)]
    allow_programs: bool,
}

impl ScenarioArgs {
    fn load(&self, params: &[String]) -> Result<Scenario, Failure> {
        self.alter.load(&self.scenario, params)
    }
}

impl AlterArgs {
    fn load(&self, scenario: &Path, params: &[String]) -> Result<Scenario, Failure> {
        let folder = scenario.parent().unwrap_or(Path::new(""));
        let alterations = Alterations {
            sets: self.sets.clone(),
            params: params.to_vec(),
            seeds: self.seeds,
            launcher: self.allow_programs.then(|| programs::launcher(folder)),
            lent: Vec::new(),
        };
        scenario::load(scenario, &alterations).map_err(Failure::Scenario)
    }
}

/// How the program ends. The numbers are a promise.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Done.
    Done,
    /// A judgement failed.
    Failed,
    /// Wrong usage or input.
    Usage,
    /// Incomplete or unknown.
    Incomplete,
    /// A bug of ours.
    Bug,
    /// A file could not be read or written.
    Io,
    /// Somebody else is at it: try again.
    Again,
    /// Ctrl-C.
    Interrupted,
    /// SIGTERM.
    Terminated,
}

impl Exit {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Incomplete => 3,
            Self::Bug => 70,
            Self::Io => 74,
            Self::Again => 75,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }
}

/// Why a verb could not do what it was asked.
#[derive(Debug)]
enum Failure {
    /// Wrong usage or input, in a sentence.
    Usage(String),
    /// A scenario that cannot be read.
    Scenario(ScenarioError),
    /// A file that cannot be read or written, in a sentence.
    Io(String),
    /// What another process is at, in a sentence.
    Again(String),
    /// A bug of ours, in a sentence.
    Bug(String),
}

impl Failure {
    fn io(what: &str, error: &io::Error) -> Self {
        Self::Io(format!("{what}: {error}"))
    }

    fn exit(&self) -> Exit {
        match self {
            // That a file is not there is the user's mistake; that a disk fails is not.
            Self::Scenario(ScenarioError::Io { error, .. }) => match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidFilename => Exit::Usage,
                _ => Exit::Io,
            },
            Self::Scenario(_) | Self::Usage(_) => Exit::Usage,
            Self::Io(_) => Exit::Io,
            Self::Again(_) => Exit::Again,
            Self::Bug(_) => Exit::Bug,
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Usage(text) | Self::Io(text) | Self::Again(text) => format!("error: {text}\n"),
            Self::Scenario(error) => diagnostics::render(error),
            Self::Bug(text) => {
                format!("error: {text}\nthis is a bug of stormglass: please report it\n")
            }
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Refused { .. } => Self::Usage(error.to_string()),
            PublishError::Io { .. } => Self::Io(error.to_string()),
            PublishError::Busy { .. } => Self::Again(error.to_string()),
        }
    }
}

/// The whole program.
pub fn main() -> ExitCode {
    let exit = std::panic::catch_unwind(run).unwrap_or_else(|_| {
        console::tell("error: stormglass panicked: please report this, with the command\n");
        Exit::Bug
    });
    ExitCode::from(exit.code())
}

fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.color {
        ColorChoice::Auto => (),
        ColorChoice::Always => anstream::ColorChoice::Always.write_global(),
        ColorChoice::Never => anstream::ColorChoice::Never.write_global(),
    }
    let mut console = Console::new(cli.quiet);
    let outcome = match &cli.verb {
        Verb::Run(args) => {
            cli.format.plain().and_then(|format| run::run(args, format, &mut console))
        }
        Verb::Compare(args) => {
            cli.format.plain().and_then(|format| compare::compare(args, format, &mut console))
        }
        Verb::Check(args) => {
            cli.format.plain().and_then(|format| check::check(args, format, &mut console))
        }
        Verb::Baseline(verb) => {
            cli.format.plain().and_then(|format| baseline::baseline(verb, format, &mut console))
        }
        Verb::Report(args) => {
            cli.format.plain().and_then(|format| report::report(args, format, &mut console))
        }
        Verb::Plan(args) => {
            cli.format.plain().and_then(|format| plan::plan(args, format, &mut console))
        }
        Verb::Matrix(args) => matrix::matrix(args, cli.format, &mut console),
        Verb::Place(args) => {
            cli.format.tabular().and_then(|format| place::place(args, format, &mut console))
        }
        Verb::Remap(args) => {
            cli.format.tabular().and_then(|format| remap::remap(args, format, &mut console))
        }
        Verb::Skew(args) => {
            cli.format.tabular().and_then(|format| skew::skew(args, format, &mut console))
        }
        Verb::Bench(args) => {
            cli.format.tabular().and_then(|format| bench::bench(args, format, &mut console))
        }
        Verb::Validate(args) => {
            cli.format.plain().and_then(|format| validate::validate(args, format, &mut console))
        }
        Verb::Backtest(args) => {
            cli.format.plain().and_then(|format| backtest::backtest(args, format, &mut console))
        }
        Verb::List(args) => list::list(args, cli.format, &mut console),
        Verb::Sweep(args) => {
            cli.format.plain().and_then(|format| sweep::sweep(args, format, &mut console))
        }
        Verb::Merge(args) => {
            cli.format.plain().and_then(|format| sweep::merge(args, format, &mut console))
        }
        Verb::Judge(args) => {
            cli.format.plain().and_then(|format| judge::judge(args, format, &mut console))
        }
        Verb::Explain(args) => {
            cli.format.plain().and_then(|format| explain::explain(args, format, &mut console))
        }
        Verb::Schema => pages::schema(&mut console),
        Verb::Init(args) => init::init(args, &mut console),
        Verb::Completions(args) => pages::completions(args, &mut console),
        Verb::Man(args) => pages::man(args, &mut console),
    };
    outcome.unwrap_or_else(|failure| {
        console::tell(&failure.message());
        failure.exit()
    })
}

/// Tells what clap found; `--help` and `--version` come this way too.
fn usage(error: &clap::Error) -> Exit {
    let text = error.render().ansi().to_string();
    if error.use_stderr() {
        console::tell(&text);
        return Exit::Usage;
    }
    match Console::new(false).print(&text) {
        Ok(()) => Exit::Done,
        Err(failure) => {
            console::tell(&failure.message());
            failure.exit()
        }
    }
}
