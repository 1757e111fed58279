//! What a reader is shown, whatever draws it.
//!
//! [`compose`](compose::compose) turns records into a [`Report`], which says what is worth saying
//! as data; the renderers turn that into bytes and decide nothing. So the terminal, the page and
//! the Markdown file cannot contradict each other.

pub mod compose;
pub mod kept;
mod quantity;
pub mod render;
#[cfg(test)]
pub(crate) mod sample;
pub mod stored;

use crate::record::claims::Verdict;
use crate::record::statistics::Estimate;
use crate::record::{FaultSpan, Metric, Span, Unit};

/// A report: what was asked, what was found, and how to find it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The name of the scenario.
    pub title: String,
    /// What the reader wants to know.
    pub question: String,
    /// The answer in one line.
    pub bottom_line: BottomLine,
    /// What the reader must know before trusting the numbers, such as that the seeds are few.
    pub notes: Vec<String>,
    /// What became of the scenario's claims, in its order.
    pub verdicts: Vec<Verdict>,
    /// How the figures stand to those of a baseline; `None` where they were held against none.
    pub kept: Option<kept::Kept>,
    /// A section for each subject.
    pub sections: Vec<Section>,
    /// What it takes to make this report again.
    pub provenance: Provenance,
}

/// The first line of a report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BottomLine {
    /// How it stands.
    pub tone: Tone,
    /// The line.
    pub text: String,
}

/// How it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tone {
    /// Every claim holds, or none was made.
    Good,
    /// A claim of level warn does not hold.
    Warning,
    /// A claim of level error does not hold.
    Bad,
    /// Runs are missing or a claim could not be judged.
    Unknown,
}

/// What it takes to make a report again. Nothing that does not decide the result.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Provenance {
    /// The command.
    pub command: String,
    /// The version of the program.
    pub version: String,
    /// The version of the simulation's meaning: results of different ones do not compare.
    pub semantics: u32,
    /// The scenario's path, as the user gave it.
    pub scenario: String,
    /// SHA-256 of the scenario file, in hexadecimal.
    pub scenario_sha256: String,
    /// The seeds, such as `1..32`.
    pub seeds: String,
    /// The `--set` arguments.
    pub alterations: Vec<String>,
    /// By subject, what the others were held against, where they were.
    pub references: Vec<(String, String)>,
}

/// Words and tables that are not the outcome of a scenario's runs: a matrix of verdicts, say, or
/// the course of one cell of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sheet {
    /// What it shows.
    pub title: String,
    /// What to know before reading on, a paragraph each.
    pub words: Vec<String>,
    /// Its parts.
    pub sections: Vec<Section>,
    /// The command that makes it again.
    pub command: String,
}

/// What is said of one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The subject.
    pub heading: String,
    /// What was found, a sentence each.
    pub findings: Vec<String>,
    /// What shows it.
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Numbers.
    Table(Table),
    /// A picture.
    Chart(Chart),
    /// Text whose lines are kept, such as the violations that were seen.
    Lines {
        /// What they are.
        caption: String,
        /// The lines.
        lines: Vec<String>,
    },
}

/// Numbers in rows and columns. The first column names the row.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, each with a cell a column.
    pub rows: Vec<Vec<Cell>>,
    /// Whether it is left out where there is little room.
    pub is_detail: bool,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Its head, without the unit.
    pub title: String,
    /// The unit of its numbers; `None` for text.
    pub unit: Option<Unit>,
    /// Exactly what it is; empty where the head says it all.
    pub definition: String,
}

impl Column {
    /// A column of words.
    pub fn of_words(title: &str) -> Self {
        Self { title: title.to_owned(), unit: None, definition: String::new() }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// An outcome, and how bad it is.
    Outcome(String, Tone),
    /// A number over seeds.
    Estimate(Estimate, Mark),
    /// Nothing was measured.
    Empty,
}

/// How a number stands in its column.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    /// Not the best, or there is no better and worse.
    None,
    /// Better than all others, beyond doubt.
    Best,
    /// No difference from the best was seen, and there are several such.
    Tied,
}

/// A picture, as data.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// The stem of its files' names: small letters, digits and hyphens.
    pub name: String,
    /// What it shows: the finding.
    pub title: String,
    /// The unit, the seeds, the meaning of bands and whiskers.
    pub subtitle: String,
    /// What there is to see, for who cannot see it.
    pub description: String,
    /// What the vertical axis is.
    pub y_label: String,
    /// The unit of the vertical axis.
    pub y_unit: Unit,
    /// What is drawn.
    pub plot: Plot,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Plot {
    /// Lines over a common horizontal axis.
    Lines {
        /// What the horizontal axis is.
        x: Horizontal,
        /// The lines.
        series: Vec<Series>,
        /// A level to read them against, and its name.
        reference: Option<(f64, String)>,
        /// The faults, for a chart over time.
        faults: Vec<FaultSpan>,
    },
    /// Bars, one of each series in each group.
    Bars {
        /// The names of the groups.
        groups: Vec<String>,
        /// The bars.
        series: Vec<BarSeries>,
        /// The mark to read each bar against, by series and group, and what the marks are.
        floor: Option<(String, Vec<Vec<Option<f64>>>)>,
    },
    /// Squares whose darkness is a number, in a grid for each variant, with one scale for all.
    Grids(Vec<Grid>),
    /// What went on with each, below each other over a common stretch of time.
    Lanes {
        /// The lanes, from above.
        lanes: Vec<Lane>,
        /// The faults of that time.
        faults: Vec<FaultSpan>,
    },
    /// Outcomes in letters, shaded by how bad they are.
    Board {
        /// The heads of the columns.
        columns: Vec<String>,
        /// The rows.
        rows: Vec<BoardRow>,
    },
}

/// A row of a board.
#[derive(Clone, Debug, PartialEq)]
pub struct BoardRow {
    /// Its name.
    pub name: String,
    /// An outcome for each column, and how bad it is; nothing where there is none.
    pub cells: Vec<Option<(String, Tone)>>,
}

/// Who gave how much to whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// Whose.
    pub name: String,
    /// The names of rows and columns alike.
    pub names: Vec<String>,
    /// A row for each that gave, with the mean over seeds for each that got.
    pub amounts: Vec<Vec<f64>>,
}

/// What went on with one.
#[derive(Clone, Debug, PartialEq)]
pub struct Lane {
    /// With whom.
    pub name: String,
    /// What, in the order of its beginning.
    pub spans: Vec<Span>,
}

/// What a horizontal axis is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Horizontal {
    /// Places from 1 up, in the order of their values.
    Rank,
    /// The share of values below, from 0 to 1, stretched towards 1; the vertical axis is
    /// logarithmic.
    Quantile,
    /// Seconds of virtual time.
    Time,
    /// A parameter of this name.
    Swept(String),
    /// What each costs, in this metric; a mark for each line's one point, no line.
    Cost(&'static Metric),
}

impl Horizontal {
    /// Its name in files.
    pub fn name(&self) -> &str {
        match self {
            Self::Rank => "rank",
            Self::Quantile => "quantile",
            Self::Time => "seconds",
            Self::Swept(parameter) => parameter,
            Self::Cost(metric) => metric.name,
        }
    }
}

/// A line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// Which of the colours and dashes is its own; the same variant has the same in each chart.
    pub style: usize,
    /// Its points, from left to right.
    pub points: Vec<Point>,
}

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where.
    pub x: f64,
    /// The mean over seeds.
    pub y: f64,
    /// The least over seeds.
    pub low: f64,
    /// The most over seeds.
    pub high: f64,
}

/// The bars of one variant.
#[derive(Clone, Debug, PartialEq)]
pub struct BarSeries {
    /// Its name.
    pub name: String,
    /// Which of the colours is its own.
    pub style: usize,
    /// A bar a group.
    pub bars: Vec<Option<Estimate>>,
}
