//! Matrices: what every variant of a wing does under every fault, in one small schedule a cell.
//!
//! A wing that has one implements [`Matrix`] beside its other glue and has its row in
//! [`MATRICES`]. What matrices have in common stands here, in `cli/matrix.rs` (the verb) and in
//! the report's sheets (the forms): ids, the choice of cells, computing them on all cores in a
//! fixed order, the table, the timeline.

use std::fmt::Debug;

use crate::record::Subject;

use super::{Conduct, in_order};

/// All matrices.
pub const MATRICES: &[&dyn Matrix] = &[&super::locks::LockMatrix, &super::queues::QueueMatrix];

/// What every variant of a wing does under every fault.
pub trait Matrix: Debug + Sync {
    /// What it is about: its name, and what stands before the colon of `locks:V3/F1c`.
    fn subject(&self) -> Subject;

    /// Its variants, in order.
    fn variants(&self) -> Vec<Head>;

    /// Its faults, in order.
    fn faults(&self) -> Vec<Head>;

    /// The tables that it makes, one for each way to play all cells; at least one.
    fn layers(&self) -> Vec<Layer>;

    /// What the letters of its verdicts mean.
    fn legend(&self) -> Vec<(&'static str, &'static str)>;

    /// Its cells: by variant, then fault, then layer, then condition.
    fn cells(&self) -> Vec<Cell>;

    /// Plays a cell.
    ///
    /// # Errors
    /// Where it cannot be played: a mistake of ours.
    fn compute(&self, cell: &Cell) -> Result<Verdict, String>;

    /// Plays a cell, and tells how it went.
    ///
    /// # Errors
    /// As [`compute`](Self::compute).
    fn explain(&self, cell: &Cell) -> Result<Course, String>;

    /// A cell as a scenario that `run` accepts.
    fn scenario(&self, cell: &Cell) -> String;

    /// Cells and their verdicts as records of a CSV file, the head first.
    fn csv(&self, cells: &[Cell], verdicts: &[Verdict]) -> Vec<Vec<String>>;
}

/// A variant or a fault of a matrix.
#[derive(Clone, Debug)]
pub struct Head {
    /// What an id says: `V3`.
    pub id: &'static str,
    /// What tables say.
    pub title: String,
    /// A variant as a scenario names it, with its parameters; empty for a fault.
    pub choice: String,
}

/// A way to play all cells: a table.
#[derive(Clone, Copy, Debug)]
pub struct Layer {
    /// Its name in CSV files and on the command line; empty where there is one layer.
    pub name: &'static str,
    /// What the table shows.
    pub caption: &'static str,
}

/// A cell of a matrix.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cell {
    /// Which of the variants.
    pub variant: usize,
    /// Which of the faults.
    pub fault: usize,
    /// Which of the layers.
    pub layer: usize,
    /// Under which condition; empty where the fault has only one outcome.
    pub condition: &'static str,
}

/// What came of a cell.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// What CSV files say: `BEd`.
    pub letters: String,
    /// What tables show, which may say more.
    pub shown: String,
    /// How bad it is.
    pub harm: Harm,
    /// Further fields, by name.
    pub fields: Vec<(&'static str, String)>,
    /// What went wrong, in words.
    pub findings: Vec<String>,
}

/// How bad an outcome is.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Harm {
    /// Nothing went wrong.
    #[default]
    None,
    /// Somebody has to wait, to look or to do something again.
    Nuisance,
    /// Something is wrong or lost for good.
    Wrong,
}

/// How a cell went.
#[derive(Clone, Debug)]
pub struct Course {
    /// What came of it.
    pub verdict: Verdict,
    /// What to know before reading the lines, a sentence each.
    pub words: Vec<String>,
    /// What the columns of the lines are.
    pub columns: Vec<&'static str>,
    /// What happened, in order.
    pub lines: Vec<Vec<String>>,
}

impl dyn Matrix + '_ {
    /// The id of a cell: `locks:V3/F1c`.
    pub fn id(&self, cell: &Cell) -> String {
        let (variants, faults) = (self.variants(), self.faults());
        format!("{}:{}/{}", self.subject().name(), variants[cell.variant].id, faults[cell.fault].id)
    }
}

/// The matrix with that name.
pub fn find(name: &str) -> Option<&'static dyn Matrix> {
    MATRICES.iter().find(|matrix| matrix.subject().name() == name).copied()
}

/// Plays `cells`; `done` hears of each when it is over, in no fixed order. A verdict a cell, in
/// the order of the cells for any number of jobs; `None` for those that were not begun because of
/// a wish to stop.
///
/// # Errors
/// With the id of a cell that cannot be played, and why: a mistake of ours.
pub fn compute(
    matrix: &dyn Matrix,
    cells: &[Cell],
    conduct: Conduct<'_>,
    done: &(dyn Fn(&Cell) + Sync),
) -> Result<Option<Vec<Verdict>>, String> {
    let verdicts = in_order(conduct, cells, |cell| {
        let verdict = matrix.compute(cell);
        done(cell);
        verdict.map_err(|why| format!("{}: {why}", matrix.id(cell)))
    });
    let verdicts: Result<Vec<Option<Verdict>>, String> =
        verdicts.into_iter().map(Option::transpose).collect();
    Ok(verdicts?.into_iter().collect())
}
