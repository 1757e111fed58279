//! The matrix: every lock under every fault and every fencing mode, in one small schedule each.
//!
//! A cell is a scenario, and `scenario` writes it out as a file that `run` accepts; computing a
//! cell is reading that text back and playing it. All variants meet the same script of a fault,
//! aimed at points of the section and at kinds of messages. Three clients, A, B and C, are
//! `client-1` to `client-3`; A comes first. One lock, one resource, a time to live of 1000 ms, one
//! millisecond from node to node, horizon 30 times to live.

mod faults;
mod timeline;
mod variants;

use std::fmt::{self, Write as _};

use crate::choice::Choice;
use crate::config::{Config, Problem, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::model::surroundings::Surroundings;

use super::judge::{Finding, Verdicts};
use super::testbed::{LocksConfig, check, check_choice};
use super::{CATALOGUE, Entry, Played, Servers, Shards, Tokens};

pub use faults::{FAULTS, Fault};
pub use timeline::{Line, ms, timeline};
pub use variants::{VARIANTS, Variant};

/// A fencing mode: a column of the matrix.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Mode {
    /// The resource does not look at tokens.
    None,
    /// It looks at those of writes.
    Writes,
    /// It looks at those of reads too.
    ReadsAndWrites,
    /// It asks the service.
    Service,
}

/// The measures of the base script. A cell that holds only for exactly these says little.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Base {
    /// The time to live, in milliseconds.
    pub ttl_ms: f64,
    /// From node to node, in milliseconds.
    pub delay_ms: f64,
    /// Between two tries of a client that polls, in milliseconds.
    pub poll_ms: f64,
    /// How much later B and C begin, in milliseconds.
    pub phase_ms: f64,
}

impl Default for Base {
    fn default() -> Self {
        Self { ttl_ms: 1000.0, delay_ms: 1.0, poll_ms: 20.0, phase_ms: 0.0 }
    }
}

/// A cell of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Which lock.
    pub variant: &'static Variant,
    /// Which fault.
    pub fault: &'static Fault,
    /// Which column.
    pub mode: Mode,
}

/// What a cell says.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "letters that are there or not")]
pub struct Letters {
    /// B: two clients believe at once, by what they do.
    pub belief: bool,
    /// b: not so by their deadlines.
    pub only_operational: bool,
    /// E: an anomaly at the resource.
    pub effect: bool,
    /// d: a release took another client's lock.
    pub foreign_release: bool,
    /// #: a live client still waits at the horizon.
    pub stall: bool,
}

/// A cell that was computed.
#[derive(Debug)]
pub struct Computed {
    /// What it says.
    pub letters: Letters,
    /// When a client other than the first was first granted the lock, in milliseconds.
    pub first_other_grant_ms: Option<f64>,
    /// What went wrong, in words.
    pub findings: Vec<Finding>,
    /// The run.
    pub played: Played,
}

impl Mode {
    /// All columns, in order.
    pub const ALL: [Self; 4] = [Self::None, Self::Writes, Self::ReadsAndWrites, Self::Service];

    /// The name of its column in a CSV file.
    pub const fn column(self) -> &'static str {
        match self {
            Self::None => "no_fence",
            Self::Writes => "fence_w",
            Self::ReadsAndWrites => "fence_rw",
            Self::Service => "fence_cs",
        }
    }

    /// What a table of it is called.
    pub const fn title(self) -> &'static str {
        match self {
            Self::None => "Without fencing",
            Self::Writes => "Tokens checked on writes",
            Self::ReadsAndWrites => "Tokens checked on reads and writes",
            Self::Service => "Tokens checked with the service",
        }
    }

    /// Its name in a scenario.
    const fn fencing(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Writes => "writes",
            Self::ReadsAndWrites => "reads_and_writes",
            Self::Service => "check_with_service",
        }
    }
}

impl Variant {
    /// Whether its cells have that column.
    pub fn has(&self, mode: Mode) -> bool {
        let entry = self.entry();
        match mode {
            Mode::None => true,
            Mode::Writes | Mode::ReadsAndWrites => entry.tokens != Tokens::None,
            Mode::Service => entry.tokens != Tokens::None && entry.validates,
        }
    }

    /// Its servers in the base script.
    fn servers(&self, base: &Base) -> Servers {
        let text = format!("variants = [{}]", self.choice(base));
        let mut problems = Problems::default();
        let value = Value::parse(&text, 0, &mut problems);
        let choices: Option<Vec<Choice>> = match &value.kind {
            ValueKind::Table(table) => {
                table.get("variants").and_then(|list| Config::read(list, &mut problems))
            }
            _ => None,
        };
        let choice = choices.and_then(|choices| choices.into_iter().next());
        choice
            .and_then(|choice| (self.entry().servers)(&choice))
            .expect("the parameters of a variant of the matrix are right")
    }
}

/// The cells of a variant under a fault; none where the fault does not apply.
pub fn cells(variant: &'static Variant, fault: &'static Fault) -> Vec<Cell> {
    let servers = variant.servers(&Base::default());
    if !(fault.applies)(variant, servers) {
        return Vec::new();
    }
    let modes = Mode::ALL.into_iter().filter(|mode| variant.has(*mode));
    modes.map(|mode| Cell { variant, fault, mode }).collect()
}

impl Cell {
    /// The variant with the parameters that it has in this cell, as a scenario has them.
    pub fn choice(&self, base: &Base) -> String {
        let script = (self.fault.script)(self.variant, self.variant.servers(base), base);
        self.variant.choice_with(base, script.reply_timeout_ms, script.options)
    }

    /// The scenario, as a file that `run` accepts.
    pub fn scenario(&self, base: &Base) -> String {
        let script = (self.fault.script)(self.variant, self.variant.servers(base), base);
        let Base { ttl_ms, delay_ms, .. } = *base;
        let mut text = format!(
            "schema = 1\nquestion = \"{}: {}, under {}\"\nseeds = {{ first = 1, count = 1 }}\n\n\
             [network]\ndelay = \"{}\"\n\n\
             [experiment.locks]\nvariants = [{}]\nclients = 3\nhorizon = \"{}\"\nretry = \"{}\"\n\
             sync = \"0s\"\nfencing = \"{}\"\nscript = [\n",
            self.variant.title,
            self.fault.title,
            self.mode.fencing(),
            duration(delay_ms),
            self.variant.choice_with(base, script.reply_timeout_ms, script.options),
            duration(30.0 * ttl_ms),
            duration(base.poll_ms),
            self.mode.fencing(),
        );
        for step in &script.steps {
            let _ = writeln!(text, "    {{ {step} }},");
        }
        text.push_str("]\n");
        for fault in &script.faults {
            let _ = write!(text, "\n[[fault]]\n{fault}\n");
        }
        text
    }

    /// Plays the cell.
    ///
    /// # Errors
    /// With what is wrong with its scenario: a mistake of ours.
    pub fn compute(&self, base: &Base) -> Result<Computed, Vec<Problem>> {
        let entry = self.variant.entry();
        let (config, around) = read(&self.scenario(base), Some(entry))?;
        let played =
            (entry.play)(&config.variants[0], &config, &Shards::default(), &around, Seed(1));
        let verdicts = Verdicts::of(&played);
        let grants = &played.history.grants;
        let first_other = grants.iter().find(|grant| grant.client != grants[0].client);
        let belief = 0 < verdicts.operational.pairs;
        Ok(Computed {
            letters: Letters {
                belief,
                only_operational: belief && verdicts.by_deadline.pairs == 0,
                effect: !verdicts.effect.is_good(),
                foreign_release: 0 < verdicts.service.foreign_releases,
                stall: !verdicts.liveness.open.is_empty(),
            },
            first_other_grant_ms: first_other.map(|grant| grant.granted.as_secs_f64() * 1e3),
            findings: verdicts.findings(10),
            played,
        })
    }
}

/// Reads of a scenario what a cell has. Its variants are `own`, where that is given, and in the
/// catalogue where it is not.
pub(super) fn read(
    text: &str,
    own: Option<&Entry>,
) -> Result<(LocksConfig, Surroundings), Vec<Problem>> {
    let mut problems = Problems::default();
    let value = Value::parse(text, 0, &mut problems);
    let field = |path: &[&str]| {
        path.iter().try_fold(&value, |at, name| match &at.kind {
            ValueKind::Table(table) => table.get(name),
            _ => None,
        })
    };
    let config =
        field(&["experiment", "locks"]).and_then(|table| LocksConfig::read(table, &mut problems));
    let network = field(&["network"]).and_then(|table| Config::read(table, &mut problems));
    let faults =
        field(&["fault"]).map_or(Some(Vec::new()), |list| Config::read(list, &mut problems));
    match (&config, own) {
        (Some(config), Some(entry)) => {
            for choice in &config.variants {
                check_choice(entry, choice, &config.fencing, &mut problems);
            }
        }
        (Some(config), None) => check(config, &mut problems),
        (None, _) => (),
    }
    match (config, network, faults) {
        (Some(config), Some(network), Some(faults)) if problems.is_empty() => {
            Ok((config, Surroundings { network, faults, ..Surroundings::default() }))
        }
        _ => Err(problems.into_sorted()),
    }
}

/// Milliseconds as a scenario writes them.
fn duration(ms: f64) -> String {
    let us = (ms * 1000.0 + 0.5) as u64;
    if us.is_multiple_of(1000) { format!("{}ms", us / 1000) } else { format!("{us}us") }
}

impl Letters {
    /// Whether both say the same, by the letters of a vectors file: B, E, d, #, S.
    pub fn agrees_with(&self, letters: &str) -> bool {
        let mut expected: Vec<char> = letters.chars().collect();
        let mut found: Vec<char> =
            self.to_string().chars().filter(|letter| *letter != 'b').collect();
        expected.sort_unstable();
        found.sort_unstable();
        expected == found
    }
}

impl fmt::Display for Letters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = [
            (self.belief, 'B'),
            (self.only_operational, 'b'),
            (self.effect, 'E'),
            (self.foreign_release, 'd'),
            (self.stall, '#'),
        ];
        if letters.iter().all(|(is_there, _)| !is_there) {
            return f.write_str("S");
        }
        letters
            .iter()
            .filter(|(is_there, _)| *is_there)
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}
