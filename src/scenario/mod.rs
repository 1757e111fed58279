//! What was asked: a scenario file, and the alterations made to it on the command line.
//!
//! A file becomes a tree of values that know where they stand; `--set` alters the tree; the types
//! of each floor read their part of it; `[sweep]` alters it once more for each of its points.
//! Whatever is wrong with any of it is told in one go, each mistake with its place.

mod error;
mod path;
mod source;
mod surround;
mod sweep;

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::choice::Choice;
use crate::config;
use crate::config::{
    Config, Fields, Name, Place, Problem, Problems, Table, Value, ValueKind, unknown,
};
use crate::experiments::{Experiment, Laid, Run, WINGS, Wing};
use crate::kernel::rng::Seed;
use crate::model::fault::{FaultConfig, NemesisConfig};
use crate::model::network::NetworkConfig;
use crate::record::Unit;
use crate::record::baseline::{self, Tolerance};
use crate::record::claims::{self, Claim, Known};

use path::{FieldPath, Vocabulary};
use source::Shelf;
use surround::{WarmUp, WorldConfig};
use sweep::{AxisConfig, SweepConfig};

pub use error::ScenarioError;

pub(crate) use source::sha256;
pub use source::{
    DATA_BYTES_MAX, DataHash, ReadError, SCENARIO_BYTES_MAX, Source, Sources, read_text,
};

/// The grammar of scenario files that this version reads.
pub const SCHEMA: u32 = 1;
/// The most cells, that is variants times points, that one scenario may ask for.
pub const CELLS_MAX: usize = 100_000;
/// The most runs, that is cells times seeds, that one scenario may ask for.
pub const RUNS_MAX: u64 = 1_000_000;

/// A scenario that was read and found right.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What results call it: `locks/gc-pause` for `scenarios/locks/gc-pause.toml`.
    pub name: String,
    /// Its file as a command that repeats it has it: `scenarios/locks/gc-pause.toml`.
    pub file: String,
    /// SHA-256 of the file's bytes, in hexadecimal.
    pub sha256: String,
    /// The data files that it names.
    pub data: Vec<DataHash>,
    /// What it wants to know.
    pub question: String,
    /// Its seeds.
    pub seeds: SeedRange,
    /// What was altered on the command line, as it was written there.
    pub alterations: Alterations,
    /// What it claims of its own outcome.
    pub claims: Vec<Claim>,
    /// Whether a first round of runs has to find out how long the warm-up is.
    pub finds_warm_up: bool,
    /// The lines of the file that the claims stand in.
    pub claim_lines: Vec<u32>,
    /// How far its metrics may be from a baseline.
    pub tolerances: Vec<Tolerance>,
    /// What is to be run under each seed, in the order of the plan.
    pub cells: Vec<Cell>,
}

/// A variant at a point of the sweep.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What is put to work.
    pub experiment: Arc<dyn Experiment>,
    /// Which of its variants.
    pub variant: usize,
    /// What reports call the variant.
    pub label: String,
    /// The swept parameters and their values here.
    pub point: Vec<(String, String)>,
    /// The line of the scenario that names the variant.
    pub line: u32,
}

/// What the command line alters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Alterations {
    /// `path=value`, each put in place of what the file says.
    pub sets: Vec<String>,
    /// `path=a,b,c`, each one more axis of the sweep, after the file's own.
    pub params: Vec<String>,
    /// Seeds in place of the file's.
    pub seeds: Option<SeedChoice>,
    /// The leave to start the programs that the file names; it alters no result.
    pub launcher: Option<config::Launcher>,
    /// Data files that the caller lends: the names by which alterations speak of them, and where
    /// they are.
    pub lent: Vec<(String, PathBuf)>,
}

config! {
    /// Consecutive seeds.
    pub struct SeedRange {
        /// The first. A file holds no larger number than 2⁶³ - 1, so that all of them fit.
        pub first: u64 = 1,
        /// How many.
        pub count: u64 = 10 => 1..=100_000,
    }
}

/// Seeds as the command line chooses them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeedChoice {
    /// So many, from the scenario's first on.
    Count(u64),
    /// These.
    Range(SeedRangeBounds),
}

/// The seeds from `first` up to, but without, `end`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SeedRangeBounds {
    /// The first.
    pub first: u64,
    /// One past the last.
    pub end: u64,
}

impl SeedRange {
    const COUNT_MAX: u64 = 100_000;

    /// The seeds in their order.
    pub fn iter(&self) -> impl Iterator<Item = Seed> + use<> {
        (self.first..self.first + self.count).map(Seed)
    }

    /// This range as `choice` narrows or moves it.
    fn chosen(&self, choice: Option<SeedChoice>) -> Self {
        match choice {
            None => self.clone(),
            Some(SeedChoice::Count(count)) => Self { first: self.first, count },
            Some(SeedChoice::Range(SeedRangeBounds { first, end })) => {
                Self { first, count: end - first }
            }
        }
    }
}

/// As `--seeds` takes them: `1..11`.
impl std::fmt::Display for SeedRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{}", self.first, self.first + self.count)
    }
}

/// Reads `32`, or `5..9` for 5, 6, 7 and 8.
impl std::str::FromStr for SeedChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected a number of seeds from 1 to {}, or A..B for those from A up to, \
                 but without, B",
                SeedRange::COUNT_MAX
            )
        };
        let in_range = |count: u64| (1..=SeedRange::COUNT_MAX).contains(&count);
        match text.split_once("..") {
            None => {
                let count = text.parse().map_err(|_| wrong())?;
                in_range(count).then_some(Self::Count(count)).ok_or_else(wrong)
            }
            Some((first, end)) => {
                let first: u64 = first.parse().map_err(|_| wrong())?;
                let end: u64 = end.parse().map_err(|_| wrong())?;
                let count = end.checked_sub(first).ok_or_else(wrong)?;
                let range = Self::Range(SeedRangeBounds { first, end });
                in_range(count).then_some(range).ok_or_else(wrong)
            }
        }
    }
}

impl std::fmt::Display for SeedChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Range(SeedRangeBounds { first, end }) => write!(f, "{first}..{end}"),
        }
    }
}

impl Scenario {
    /// What is to be run: experiments, variants, points, seeds, in this order.
    pub fn plan(&self) -> Vec<Run> {
        let run = |cell: &Cell, seed| Run {
            experiment: cell.experiment.clone(),
            variant: cell.variant,
            label: cell.label.clone(),
            point: cell.point.clone(),
            seed,
        };
        self.cells
            .iter()
            .flat_map(|cell| self.seeds.iter().map(move |seed| run(cell, seed)))
            .collect()
    }
}

/// Reads the scenario at `path`, altered as the command line says.
///
/// # Errors
/// Where the file cannot be read, or with all the mistakes that it holds.
pub fn load(path: &Path, alterations: &Alterations) -> Result<Scenario, ScenarioError> {
    let unreadable = |why: String| ScenarioError::Unreadable { path: path.to_owned(), why };
    let (name, file) = name_of(path).map_err(unreadable)?;
    let text = read_text(path, SCENARIO_BYTES_MAX).map_err(|error| match error {
        ReadError::Io(error) => ScenarioError::Io { path: path.to_owned(), error },
        ReadError::Content(why) => unreadable(why),
    })?;
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let shelf = Shelf::new(folder, alterations.launcher.clone());
    shelf.add(&path.display().to_string(), &text);
    for (name, lent) in &alterations.lent {
        shelf.lend(name, lent).map_err(|error| ScenarioError::Unreadable {
            path: lent.clone(),
            why: error.to_string(),
        })?;
    }
    read_as((name, file), &text, &shelf, alterations)
}

/// Reads the scenario `text` that the program carries, altered as the command line says; it names
/// no file.
///
/// # Errors
/// With all the mistakes that it holds.
pub fn built_in(
    name: &str,
    text: &str,
    alterations: &Alterations,
) -> Result<Scenario, ScenarioError> {
    let shelf = Shelf::new(PathBuf::new(), None);
    shelf.add(name, text);
    read_as((name.to_owned(), name.to_owned()), text, &shelf, alterations)
}

fn read_as(
    (name, file): (String, String),
    text: &str,
    shelf: &Shelf,
    alterations: &Alterations,
) -> Result<Scenario, ScenarioError> {
    read(text, shelf, alterations)
        .map(|content| Scenario {
            claim_lines: content
                .claims
                .iter()
                .map(|claim| line_of(claim.metric.place, &shelf.sources()))
                .collect(),
            tolerances: content.tolerances,
            name,
            file,
            sha256: sha256(text.as_bytes()),
            data: shelf.data_hashes(),
            question: content.question,
            seeds: content.seeds,
            alterations: alterations.clone(),
            claims: content.claims,
            finds_warm_up: content.finds_warm_up,
            cells: content.cells,
        })
        .map_err(|problems| ScenarioError::Wrong { sources: shelf.sources(), problems })
}

/// The line of the scenario file that `place` is in; the first for what was put on the command
/// line.
fn line_of(place: Place, sources: &Sources) -> u32 {
    let line = if place.source == 0 { sources.line_and_column(place).0 } else { 1 };
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// The name of the scenario at `path`, and its file as a command that repeats it has it: both
/// begin after, or with, the last folder called `scenarios`, or else are the file's own name.
fn name_of(path: &Path) -> Result<(String, String), String> {
    let wrong = |part: &str| {
        format!(
            "cannot name results: found `{}`, expected a small letter, then small letters, digits, \
             - or _, and .toml",
            config::printable(part)
        )
    };
    let parts: Vec<String> = path
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_string_lossy().into_owned(),
            // A name that no folder or file of ours can have.
            _ => String::new(),
        })
        .collect();
    let file = parts.last().cloned().unwrap_or_default();
    let stem = file.strip_suffix(".toml").ok_or_else(|| wrong(&file))?;
    let home = parts[..parts.len() - 1].iter().rposition(|part| part == "scenarios");
    let folders = home.map_or(&[][..], |home| &parts[home + 1..parts.len() - 1]);
    let mut names = folders.to_vec();
    names.push(stem.to_owned());
    for part in &names {
        part.parse::<Name>().map_err(|_| wrong(part))?;
    }
    let name = names.join("/");
    let prefix = if home.is_some() { "scenarios/" } else { "" };
    let file = format!("{prefix}{name}.toml");
    Ok((name, file))
}

/// What a scenario says, typed.
struct Content {
    question: String,
    seeds: SeedRange,
    claims: Vec<Claim>,
    finds_warm_up: bool,
    tolerances: Vec<Tolerance>,
    cells: Vec<Cell>,
}

/// What stands at the top of a scenario.
struct Document {
    question: String,
    seeds: SeedRange,
    experiments: Vec<Arc<dyn Experiment>>,
    sweep: SweepConfig,
    claims: Vec<Claim>,
    finds_warm_up: bool,
    tolerances: Vec<Tolerance>,
}

const TOP: &[&str] = &[
    "schema",
    "question",
    "seeds",
    "warm_up",
    "experiment",
    "network",
    "fault",
    "nemesis",
    "sweep",
    "check",
    "tolerance",
];
/// What a sweep cannot vary: what is about all runs together.
const NOT_SWEPT: &[&str] = &["schema", "question", "seeds", "sweep", "check", "tolerance"];

/// An axis of the sweep, its path in full.
struct Axis {
    name: String,
    path: FieldPath,
    place: Place,
    values: Vec<Value>,
}

fn read(text: &str, shelf: &Shelf, alterations: &Alterations) -> Result<Content, Vec<Problem>> {
    let mut problems = Problems::with_library(Box::new(shelf.clone()));
    let mut tree = Value::parse(text, 0, &mut problems);
    // What does not parse is half a tree, and half of what it would be told of was never meant.
    if !problems.is_empty() {
        return Err(problems.into_sorted());
    }
    let vocabulary = vocabulary(&tree);
    for set in &alterations.sets {
        let source = shelf.add("--set", set);
        if let Some((path, place, value)) = path::assignment(set, source, &mut problems)
            && let Some(path) = FieldPath::parse(path, place, &vocabulary, &mut problems)
        {
            path.set(&mut tree, value, place, &mut problems);
        }
    }
    let mut params = Vec::new();
    for param in &alterations.params {
        let source = shelf.add("--param", param);
        if let Some((path, place, values)) = path::enumeration(param, source, &mut problems) {
            params.push(AxisConfig { path: path.to_owned(), place, values });
        }
    }
    let document = Document::read(&tree, &mut problems);
    let sweep = document.as_ref().map_or(&[][..], |document| &document.sweep.axes);
    let axes: Vec<Axis> = sweep
        .iter()
        .chain(&params)
        .filter_map(|axis| Axis::of(axis, &vocabulary, &mut problems))
        .collect();
    let mut found = problems.into_sorted();
    // Each value of each axis by itself: so all mistakes are told, and each of them once.
    for axis in &axes {
        for value in &axis.values {
            let (_, more) = at_point(&tree, &[(axis, value)], shelf);
            found.extend(
                more.into_iter().filter(|problem| !found.contains(problem)).collect::<Vec<_>>(),
            );
        }
    }
    let Some(document) = document.filter(|_| found.is_empty()) else {
        found.sort_by_key(|problem| problem.place);
        return Err(found);
    };
    let cells = cells(&document, &tree, &axes, shelf)?;
    let seeds = document.seeds.chosen(alterations.seeds);
    let run_count = seeds.count.saturating_mul(cells.len() as u64);
    if RUNS_MAX < run_count {
        let message = format!(
            "{} cells under {} seeds make {run_count} runs, expected at most {RUNS_MAX}",
            cells.len(),
            seeds.count
        );
        return Err(vec![Problem { place: tree.place, message, help: None }]);
    }
    Ok(Content {
        question: document.question,
        seeds,
        claims: document.claims,
        finds_warm_up: document.finds_warm_up,
        tolerances: document.tolerances,
        cells,
    })
}

impl Document {
    fn read(tree: &Value, problems: &mut Problems) -> Option<Self> {
        let fields = Fields::of(tree, problems)?;
        if let ValueKind::Table(Table { entries }) = &tree.kind {
            check_schema(entries.first(), tree.place, problems);
        }
        let question: Option<String> = fields.required("question", problems);
        let seeds = fields.optional("seeds", || SeedRange { first: 1, count: 10 }, problems);
        let sweep = fields.optional("sweep", SweepConfig::default, problems);
        let claims: Option<Vec<Claim>> = fields.optional("check", Vec::new, problems);
        let tolerances: Option<Vec<Tolerance>> = fields.optional("tolerance", Vec::new, problems);
        let world = WorldConfig::read(&fields, problems);
        let finds_warm_up = world.as_ref().is_some_and(WorldConfig::finds_warm_up);
        let experiments = match (read_experiments(tree, problems), world) {
            (Some(experiments), Some(world)) => Some(world.surround(experiments, problems)),
            _ => None,
        };
        if let Some(claims) = &claims {
            claims::check(claims, &known(tree), problems);
        }
        if let Some(tolerances) = &tolerances {
            baseline::check(tolerances, &known(tree), problems);
        }
        fields.finish(TOP, problems);
        Some(Self {
            question: question?,
            seeds: seeds?,
            experiments: experiments?,
            sweep: sweep?,
            claims: claims?,
            finds_warm_up,
            tolerances: tolerances?,
        })
    }
}

fn check_schema(first: Option<&config::Entry>, whole: Place, problems: &mut Problems) {
    let help = format!("write `schema = {SCHEMA}` as the first line");
    match first {
        Some(entry) if entry.key == "schema" => match entry.value.kind {
            ValueKind::Integer(number) if number == i64::from(SCHEMA) => (),
            _ => problems.add(
                entry.value.place,
                format!(
                    "found {}, expected {SCHEMA}: this version reads no other",
                    entry.value.describe()
                ),
            ),
        },
        Some(entry) => {
            problems.add_with_help(entry.key_place, "expected `schema` before anything else", help);
        }
        None => problems.add_with_help(whole, "the scenario is empty", help),
    }
}

fn read_experiments(tree: &Value, problems: &mut Problems) -> Option<Vec<Box<dyn Laid>>> {
    let known: Vec<&str> = WINGS.iter().map(|wing| wing.subject.name()).collect();
    let help = || format!("add a table such as [experiment.{}]", known.first().unwrap_or(&"rings"));
    let ValueKind::Table(top) = &tree.kind else { return None };
    let Some(value) = top.get("experiment") else {
        problems.add_with_help(tree.place, "the scenario has no experiment", help());
        return None;
    };
    let ValueKind::Table(table) = &value.kind else {
        problems.add(value.place, format!("found {}, expected a table", value.describe()));
        return None;
    };
    if table.entries.is_empty() {
        problems.add_with_help(value.place, "the scenario has no experiment", help());
        return None;
    }
    let mut is_right = true;
    for entry in &table.entries {
        if !known.contains(&entry.key.as_str()) {
            unknown(entry.key_place, "experiment", &entry.key, &known, problems);
            is_right = false;
        }
    }
    // In the order of the wings, whatever the order in the file: reports are alike.
    let read: Vec<Option<Box<dyn Laid>>> =
        wings_of(tree).into_iter().map(|(wing, value)| (wing.read)(value, problems)).collect();
    let experiments: Option<Vec<Box<dyn Laid>>> = read.into_iter().collect();
    experiments.filter(|_| is_right)
}

/// The names that a claim may use. From the tree: a mistake in an experiment hides none here.
fn known(tree: &Value) -> Known {
    let mut known = Known::default();
    for (wing, table) in wings_of(tree) {
        for &metric in wing.metrics {
            known.add_measure(metric);
            if metric.unit == Unit::Nanoseconds {
                known.add_sample(metric);
            }
        }
        let choices = match &table.kind {
            ValueKind::Table(table) => table.get("variants"),
            _ => None,
        };
        let choices = choices.and_then(|list| Vec::<Choice>::read(list, &mut Problems::default()));
        known.variants.extend(choices.iter().flatten().map(Choice::label));
    }
    known
}

/// The wings that the scenario has an experiment of, with its table.
fn wings_of(tree: &Value) -> Vec<(&'static Wing, &Value)> {
    let ValueKind::Table(top) = &tree.kind else { return Vec::new() };
    let Some(Value { kind: ValueKind::Table(experiments), .. }) = top.get("experiment") else {
        return Vec::new();
    };
    let named = |wing: &'static Wing| Some((wing, experiments.get(wing.subject.name())?));
    WINGS.iter().filter_map(named).collect()
}

impl Axis {
    fn of(config: &AxisConfig, vocabulary: &Vocabulary, problems: &mut Problems) -> Option<Self> {
        let path = FieldPath::parse(&config.path, config.place, vocabulary, problems)?;
        if NOT_SWEPT.contains(&path.top()) || path.is_variant_list() {
            let message = format!("`{}` cannot be varied", config.path);
            problems.add(config.place, message);
            return None;
        }
        Some(Self { name: path.short(), path, place: config.place, values: config.values.clone() })
    }

    /// Whether it makes a difference to this variant of this experiment.
    fn concerns(&self, experiment: &dyn Experiment, variant: usize) -> bool {
        let subject = experiment.subject().name();
        // A list may name a variant twice; then a path reaches the first of that name.
        let variants = experiment.variants();
        let is_called = |choice: &Choice, named: &str| {
            choice.name == named
                || choice.alias.as_ref().is_some_and(|alias| alias.as_str() == named)
        };
        let is_this_variant = |named: &str| match named.parse::<usize>() {
            Ok(index) => index == variant,
            Err(_) => variants.iter().position(|choice| is_called(choice, named)) == Some(variant),
        };
        self.path.experiment().is_none_or(|named| named == subject)
            && self.path.variant().is_none_or(is_this_variant)
    }
}

/// The experiments with `taken` put in place of what the file says, and what is wrong then.
fn at_point(
    tree: &Value,
    taken: &[(&Axis, &Value)],
    shelf: &Shelf,
) -> (Vec<Arc<dyn Experiment>>, Vec<Problem>) {
    let mut problems = Problems::with_library(Box::new(shelf.clone()));
    let mut tree = tree.clone();
    for (axis, value) in taken {
        axis.path.set(&mut tree, (*value).clone(), axis.place, &mut problems);
    }
    let document = Document::read(&tree, &mut problems);
    (document.map(|document| document.experiments).unwrap_or_default(), problems.into_sorted())
}

/// Variants times the points of the axes that concern them.
fn cells(
    document: &Document,
    tree: &Value,
    axes: &[Axis],
    shelf: &Shelf,
) -> Result<Vec<Cell>, Vec<Problem>> {
    let mut cells = Vec::new();
    for (index, experiment) in document.experiments.iter().enumerate() {
        // Variants mostly share their axes, and then their points.
        let mut known: Vec<(Vec<usize>, Vec<Point>)> = Vec::new();
        for (variant, choice) in experiment.variants().iter().enumerate() {
            let mine: Vec<usize> = (0..axes.len())
                .filter(|&axis| axes[axis].concerns(experiment.as_ref(), variant))
                .collect();
            if !known.iter().any(|(theirs, _)| *theirs == mine) {
                let axes: Vec<&Axis> = mine.iter().map(|&axis| &axes[axis]).collect();
                known.push((mine.clone(), points(tree, &axes, index, shelf)?));
            }
            let line = line_of(choice.place, &shelf.sources());
            let label = label(choice, mine.iter().map(|&axis| &axes[axis]));
            let points = known.iter().find(|(theirs, _)| *theirs == mine);
            for point in points.map_or(&[][..], |(_, points)| points) {
                cells.push(Cell {
                    experiment: point.experiment.clone(),
                    variant,
                    label: label.clone(),
                    point: point.values.clone(),
                    line,
                });
            }
            if CELLS_MAX < cells.len() {
                return Err(vec![too_many_cells(tree.place)]);
            }
        }
    }
    Ok(cells)
}

/// What reports call `choice`: without the parameters that are varied, which the point tells.
fn label<'a>(choice: &Choice, axes: impl Iterator<Item = &'a Axis>) -> String {
    let mut choice = choice.clone();
    let varied: Vec<&str> =
        axes.filter(|axis| axis.path.variant().is_some()).map(|axis| axis.name.as_str()).collect();
    if let ValueKind::Table(Table { entries }) = &mut choice.params.kind {
        entries.retain(|entry| !varied.contains(&entry.key.as_str()));
    }
    choice.label()
}

/// An experiment at a point of the sweep.
struct Point {
    experiment: Arc<dyn Experiment>,
    values: Vec<(String, String)>,
}

fn points(
    tree: &Value,
    axes: &[&Axis],
    experiment: usize,
    shelf: &Shelf,
) -> Result<Vec<Point>, Vec<Problem>> {
    let lengths: Vec<usize> = axes.iter().map(|axis| axis.values.len()).collect();
    let count = lengths.iter().fold(1_usize, |product, &length| product.saturating_mul(length));
    if CELLS_MAX < count {
        return Err(vec![too_many_cells(axes.first().map_or(tree.place, |axis| axis.place))]);
    }
    let point = |taken: Vec<usize>| {
        let taken: Vec<(&Axis, &Value)> =
            axes.iter().zip(taken).map(|(&axis, value)| (axis, &axis.values[value])).collect();
        let (experiments, problems) = at_point(tree, &taken, shelf);
        if !problems.is_empty() {
            return Err(problems);
        }
        let experiment = experiments[experiment].clone();
        let values = taken.iter().map(|(axis, value)| (axis.name.clone(), value.short())).collect();
        Ok(Point { experiment, values })
    };
    sweep::combinations(&lengths).into_iter().map(point).collect()
}

fn too_many_cells(place: Place) -> Problem {
    let message = format!("the sweep makes more than {CELLS_MAX} cells, expected at most that");
    Problem { place, message, help: None }
}

/// What paths on the command line and in `[sweep]` may begin with.
fn vocabulary(tree: &Value) -> Vocabulary {
    let fields = |wing: &Wing| {
        let schema = (wing.schema)();
        let properties = schema["properties"].as_object();
        properties.into_iter().flat_map(|fields| fields.keys().cloned()).collect()
    };
    Vocabulary {
        top: TOP.iter().map(|&name| name.to_owned()).collect(),
        experiments: wings_of(tree)
            .into_iter()
            .map(|(wing, _)| (wing.subject.name().to_owned(), fields(wing)))
            .collect(),
    }
}

/// The JSON Schema of a scenario file.
pub fn schema() -> Json {
    let experiments: serde_json::Map<String, Json> =
        WINGS.iter().map(|wing| (wing.subject.name().to_owned(), (wing.schema)())).collect();
    let described = |mut schema: Json, text: &str| {
        if let Json::Object(fields) = &mut schema {
            fields.insert("description".into(), text.into());
        }
        schema
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Stormglass scenario",
        "type": "object",
        "properties": {
            "schema": { "const": SCHEMA, "description": "The grammar of this file. Comes first." },
            "question": described(String::schema(), "What the scenario wants to know, in a sentence."),
            "seeds": described(SeedRange::schema(), "The seeds under which every cell is run."),
            "experiment": {
                "description": "What is put to work: one table for each wing.",
                "type": "object",
                "properties": experiments,
                "minProperties": 1,
                "additionalProperties": false,
            },
            "warm_up": described(
                WarmUp::schema(),
                "Until then nothing is measured: the system has not settled yet. \"mser5\" finds it.",
            ),
            "network": described(NetworkConfig::schema(), "The links between nodes."),
            "fault": described(
                Vec::<FaultConfig>::schema(),
                "Faults, each at a time or at a rate, on named nodes.",
            ),
            "nemesis": described(NemesisConfig::schema(), "Faults at random."),
            "check": described(
                Vec::<Claim>::schema(),
                "What the scenario claims of its own outcome; `stormglass check` judges it.",
            ),
            "tolerance": described(
                Vec::<Tolerance>::schema(),
                "How far metrics may be from a baseline; `stormglass check --baseline` judges it.",
            ),
            "sweep": described(
                SweepConfig::schema(),
                "Fields to vary: a path, such as `rings.node_count`, and a list of values.",
            ),
        },
        "required": ["schema", "question", "experiment"],
        "additionalProperties": false,
    })
}
