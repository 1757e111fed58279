//! How today's figures stand to those of a baseline, in words.

use crate::record::baseline::{Comparison, Difference, Fate, Figure};

use super::compose::counted;
use super::quantity::{show, show_apart};
use super::{BottomLine, Report, Tone};

/// Today's figures against a baseline.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Kept {
    /// How it stands, in a sentence.
    pub sentence: String,
    /// What is not as it was: what fails comes first.
    pub changes: Vec<Change>,
    /// How many figures are as they were, or nearly.
    pub held: usize,
}

/// A figure that is not as it was.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// What became of it.
    pub outcome: ChangeOutcome,
    /// Which figure: `rings ring-160: key_remap at add`.
    pub figure: String,
    /// Before, now, the floor, and what was allowed.
    pub text: String,
    /// The command that shows it.
    pub command: String,
    /// The line of the scenario that names the variant.
    pub line: u32,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeOutcome {
    /// `check` fails.
    Failed,
    /// It is better than it was.
    Better,
    /// It was not measured before.
    New,
}

impl ChangeOutcome {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Failed => "moved",
            Self::Better => "better",
            Self::New => "new",
        }
    }
}

impl Kept {
    /// `comparison` in words. `command` repeats one seed, or all; `line` is where the scenario
    /// names a figure's variant.
    pub fn of(
        comparison: &Comparison,
        command: impl Fn(Option<u64>) -> String,
        line: impl Fn(&Figure) -> u32,
    ) -> Self {
        let change = |difference: &Difference| Change {
            outcome: match difference.fate {
                Fate::Broken | Fate::Gone => ChangeOutcome::Failed,
                Fate::Better => ChangeOutcome::Better,
                Fate::New => ChangeOutcome::New,
            },
            figure: name(&difference.figure),
            text: text(difference),
            command: command(difference.seed),
            line: line(&difference.figure),
        };
        let (mut failing, others): (Vec<&Difference>, Vec<&Difference>) =
            comparison.differences.iter().partition(|difference| difference.fate.fails());
        // What can be held against the least possible says most.
        failing.sort_by_key(|difference| difference.floor.is_none());
        let broken = failing.iter().filter(|d| d.fate == Fate::Broken).count();
        let gone = failing.len() - broken;
        let count = |fate| others.iter().filter(|d| d.fate == fate).count();
        let figures = counted(comparison.compared, "figure");
        let mut sentence = match broken {
            0 => format!("all {figures} are within the baseline"),
            _ => format!("{broken} of {figures} moved from the baseline"),
        };
        for (count, what) in [
            (gone, "no longer measured"),
            (count(Fate::Better), "better than the baseline: accept it to hold it"),
            (count(Fate::New), "new: accept it to hold it"),
        ] {
            if 0 < count {
                sentence.push_str(&format!("; {count} {what}"));
            }
        }
        if let Some(seeds) = comparison.fewer_seeds {
            sentence.push_str(&format!("; only {} compared", counted(seeds, "seed")));
        }
        Self {
            sentence,
            held: comparison.compared
                - comparison
                    .differences
                    .iter()
                    .filter(|d| d.before.is_some() && d.now.is_some())
                    .count(),
            changes: failing.into_iter().chain(others).map(change).collect(),
        }
    }

    /// What of it makes `check` fail.
    pub fn failing(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.outcome == ChangeOutcome::Failed)
    }
}

/// `rings ring-160: key_remap at add`.
fn name(figure: &Figure) -> String {
    let at = if figure.at.is_empty() { String::new() } else { format!(" at {}", figure.at) };
    format!("{} {}: {}{at}", figure.subject, figure.variant, figure.metric)
}

fn text(difference: &Difference) -> String {
    let Difference { figure, before, now, floor, .. } = difference;
    let (before, now) = match (*before, *now) {
        (Some(before), Some(now)) => (before, now),
        (Some(before), None) => {
            return format!("{} before, and now not measured", show(figure.unit, before));
        }
        (None, now) => {
            let now = now.map_or_else(String::new, |now| show(figure.unit, now));
            return format!("{now} now, and not in the baseline");
        }
    };
    let mut values = vec![before, now];
    values.extend(*floor);
    let shown = show_apart(figure.unit, &values);
    let whose = match (difference.seed, difference.moved) {
        (Some(seed), (1, 1)) => format!("seed {seed}"),
        (Some(seed), (moved, of)) => format!("seed {seed}; {moved} of {of} seeds differ"),
        (None, (_, of)) => format!("mean of {}", counted(of, "seed")),
    };
    let floor = shown.get(2).map_or(String::new(), |floor| format!(", floor {floor}"));
    format!(
        "{} before, {} now ({whose}){floor}; allowed: {}",
        shown[0], shown[1], difference.allowed
    )
}

impl Report {
    /// Adds how the figures stand to a baseline, and lets the bottom line say so.
    pub fn hold_against(&mut self, kept: Kept) {
        let first = kept.failing().next().map(|change| change.figure.clone());
        if let Some(first) = first {
            let text = if self.bottom_line.tone == Tone::Bad {
                format!("{}; {}: {first}", self.bottom_line.text, kept.sentence)
            } else {
                format!("FAILED: {}: {first}", kept.sentence)
            };
            self.bottom_line = BottomLine { tone: Tone::Bad, text };
        } else if self.verdicts.is_empty() && self.bottom_line.tone == Tone::Good {
            self.bottom_line.text = format!("PASSED: {}", kept.sentence);
        } else {
            self.bottom_line.text = format!("{}; {}", self.bottom_line.text, kept.sentence);
        }

        self.kept = Some(kept);
    }
}
