//! The matrix: every queue under every fault, in one small schedule each, and what comes of it as a
//! set of codes.
//!
//! A cell is a scenario, and `scenario` writes it out as a file that `run` accepts; computing a cell
//! is reading that text back and playing it, with its faults and without. All variants meet the same
//! script of a fault; what a script knows of a variant stands in its row. Where a cell has several
//! conditions, each is a named configuration of its own.
//!
//! A column asks certain questions, and a cell has only codes that its column asks for: a power
//! failure asks what is lost, and not that a restart takes a while.

mod conditions;
mod faults;
mod rules;
mod timeline;
mod variants;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::config::{Config, Problem, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;

use super::{
    Entry, Indication, Outcome, QueuesConfig, Serial, Setup, Watch, check, simulate_watched,
};

pub use conditions::{CONDITIONS, Condition};
pub use faults::{FAULTS, Fault};
pub use rules::{RULES, Rule};
pub use timeline::{Line, timeline};
pub use variants::{VARIANTS, Variant};

use faults::Script;

/// A cell of the matrix under one condition.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Which queue.
    pub variant: &'static Variant,
    /// Which fault.
    pub fault: &'static Fault,
    /// Under which condition; none where the cell has but one configuration.
    pub condition: Option<&'static Condition>,
}

/// What a cell may say.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Code {
    /// Something was lost, and nobody told its producer.
    Lost,
    /// An effect came more often than its caller had asked for.
    Duplicate,
    /// Something that took effect was delivered again, or flagged as such, without a second effect.
    Redelivered,
    /// A consumer was given a message after a later one.
    Reordered,
    /// Something still waits at the end, or came far later than without the fault.
    Stalled,
    /// Something went to a dead-letter queue.
    DeadLettered,
    /// Something was refused, and its producer knows.
    Rejected,
    /// A broker keeps something that it delivers no more.
    Parked,
    /// The fault does not apply.
    NotApplicable,
}

/// A set of codes; empty is `ok`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Codes(pub Vec<Code>);

/// A cell that was computed.
#[derive(Debug)]
pub struct Computed {
    /// What it says.
    pub codes: Codes,
    /// What it comes from: one line for each count that is not 0.
    pub counts: Vec<String>,
    /// The run; none where the fault does not apply.
    pub outcome: Option<Outcome>,
    /// Who was there.
    pub directory: Directory,
}

impl Code {
    /// All of them, in the order in which a cell names them.
    pub const ALL: [Self; 9] = [
        Self::Lost,
        Self::Duplicate,
        Self::Redelivered,
        Self::Reordered,
        Self::Stalled,
        Self::DeadLettered,
        Self::Rejected,
        Self::Parked,
        Self::NotApplicable,
    ];

    /// What it means, in a few words.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Lost => "a message was lost, and nobody told its producer",
            Self::Duplicate => "an effect came more often than its caller had asked for",
            Self::Redelivered => "a message was delivered again or flagged so; one effect",
            Self::Reordered => "a consumer was given a message after a later one",
            Self::Stalled => "a message never came though it still might, or came far too late",
            Self::DeadLettered => "a message went to a dead-letter queue",
            Self::Rejected => "a message was refused, and its producer knows",
            Self::Parked => "a broker keeps a message that it delivers no more",
            Self::NotApplicable => "the fault does not apply",
        }
    }

    /// How a cell writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lost => "L",
            Self::Duplicate => "D",
            Self::Redelivered => "Dd",
            Self::Reordered => "R",
            Self::Stalled => "S",
            Self::DeadLettered => "DLQ",
            Self::Rejected => "reject",
            Self::Parked => "parked",
            Self::NotApplicable => "n/a",
        }
    }
}

impl Codes {
    /// Whether both are the same set, by the codes of a vectors file: `Dd+R`, `ok`.
    pub fn agree_with(&self, text: &str) -> bool {
        let mut expected: Vec<&str> = text.split('+').filter(|code| *code != "ok").collect();
        let mut found: Vec<&str> = self.0.iter().map(|code| code.name()).collect();
        expected.sort_unstable();
        found.sort_unstable();
        expected == found
    }
}

impl fmt::Display for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("ok");
        }
        for (index, code) in self.0.iter().enumerate() {
            if 0 < index {
                f.write_str("+")?;
            }
            f.write_str(code.name())?;
        }
        Ok(())
    }
}

/// The cells of a variant under a fault: one, or one for each condition.
pub fn cells(variant: &'static Variant, fault: &'static Fault) -> Vec<Cell> {
    let conditions = CONDITIONS
        .iter()
        .filter(|condition| condition.variant == variant.id && condition.fault == fault.id);
    let named: Vec<Cell> =
        conditions.map(|condition| Cell { variant, fault, condition: Some(condition) }).collect();
    if named.is_empty() { vec![Cell { variant, fault, condition: None }] } else { named }
}

impl Cell {
    /// What the condition is called; empty where there is but one.
    pub fn condition_name(&self) -> &'static str {
        self.condition.map_or("", |condition| condition.name)
    }

    fn script(&self) -> Script {
        let actors = self.variant.actors(self.condition);
        let script = (self.fault.script)(&actors);
        match self.condition.and_then(|condition| condition.script) {
            Some(change) => change(script, &actors),
            None => script,
        }
    }

    /// The scenario, as a file that `run` accepts.
    pub fn scenario(&self) -> String {
        self.write(&self.script(), true)
    }

    fn write(&self, script: &Script, with_faults: bool) -> String {
        let condition = match self.condition_name() {
            "" => String::new(),
            name => format!(", {name}"),
        };
        let mut text = format!(
            "schema = 1\nquestion = \"{}, under {}{condition}\"\n\
             seeds = {{ first = 1, count = 1 }}\n\n[network]\ndelay = \"1ms\"\n\n\
             [experiment.queues]\nvariants = [{}]\nbrokers = {}\nhorizon = \"{}\"\ndrain = \"{}\"\n\
             producers = {{ count = {}, load = {}{} }}\nconsumers = {{ count = {} }}\n\
             messages = {{ tasks = [{{ name = \"task\", service = {} }}], keys = {}{} }}\n",
            self.variant.title,
            self.fault.title,
            self.variant.choice(self.condition),
            self.variant.brokers,
            script.horizon,
            script.drain,
            script.producers,
            script.load,
            script.callers,
            script.consumers,
            script.service,
            self.variant.keys,
            script.messages,
        );
        let faults = script.faults.iter().filter(|_| with_faults);
        for fault in script.setting.iter().chain(faults) {
            let _ = write!(text, "\n[[fault]]\n{fault}\n");
        }
        text
    }

    /// Plays the cell.
    ///
    /// # Errors
    /// With what is wrong with its scenario: a mistake of ours.
    pub fn compute(&self) -> Result<Computed, Vec<Problem>> {
        if !(self.fault.applies)(self.variant) {
            let codes = Codes(vec![Code::NotApplicable]);
            let directory = Directory::default();
            return Ok(Computed { codes, counts: Vec::new(), outcome: None, directory });
        }
        let script = self.script();
        let text = self.write(&script, true);
        let own = self.variant.own;
        let outcome = play(&text, own)?;
        let directory = super::directory(&read(&text, own)?.0);
        let delayed = match script.grace {
            Some(grace) => {
                let usual = play(&self.write(&script, false), own)?;
                delayed(&first_effects(&outcome), &first_effects(&usual), grace)
            }
            None => 0,
        };
        let counts = counts(&outcome, delayed);
        let asked = |code| self.fault.asks.contains(&code);
        let codes = counts.iter().filter(|&&(code, _, count)| 0 < count && asked(code));
        let mut codes: Vec<Code> = codes.map(|&(code, ..)| code).collect();
        codes.dedup();
        if codes.contains(&Code::Duplicate) {
            codes.retain(|code| *code != Code::Redelivered);
        }
        let counts = counts.iter().filter(|(.., count)| 0 < *count);
        let counts = counts.map(|(_, what, count)| format!("{count} {what}")).collect();
        Ok(Computed { codes: Codes(codes), counts, outcome: Some(outcome), directory })
    }
}

/// What there is for each code.
fn counts(outcome: &Outcome, delayed: u64) -> Vec<(Code, &'static str, u64)> {
    let verdict = &outcome.verdict;
    vec![
        (Code::Lost, "lost", verdict.lost()),
        (Code::Duplicate, "effects too many", verdict.unasked_effects),
        (Code::Redelivered, "deliveries repeated", verdict.repeated_deliveries),
        (Code::Reordered, "deliveries out of order", verdict.reordered),
        (Code::Stalled, "left behind", verdict.stalled),
        (Code::Stalled, "parked", verdict.parked),
        (Code::Stalled, "late", delayed),
        (Code::DeadLettered, "dead-lettered", verdict.dead_lettered),
        (Code::Rejected, "refused", verdict.refused),
        (Code::Parked, "parked", verdict.parked),
    ]
}

/// When each message first took effect.
fn first_effects(outcome: &Outcome) -> BTreeMap<Serial, SimTime> {
    let mut first = BTreeMap::new();
    for heard in outcome.judge.history() {
        if let Indication::Done(serial) = heard.told {
            first.entry(serial).or_insert(heard.at);
        }
    }
    first
}

/// How many messages came more than `grace` later than `usual`.
fn delayed(
    found: &BTreeMap<Serial, SimTime>,
    usual: &BTreeMap<Serial, SimTime>,
    grace: SimDuration,
) -> u64 {
    let late = found
        .iter()
        .filter(|(serial, at)| usual.get(serial).is_some_and(|usual| grace < at.since(*usual)));
    late.count() as u64
}

/// Plays a scenario, of which the judge keeps everything; its variant is `own`, where that is given,
/// and one of the catalogue where not.
fn play(text: &str, own: Option<&Entry>) -> Result<Outcome, Vec<Problem>> {
    let (config, around) = read(text, own)?;
    let setup = Setup { config: &config, around: &around, share: None };
    let watch = Watch { history: true, times: false };
    let choice = &config.variants[0];
    let outcome = match own {
        Some(entry) => (entry.simulate)(choice, setup, Seed(1), watch),
        None => simulate_watched(choice, setup, Seed(1), watch),
    };
    Ok(outcome.expect("the choice was checked when it was read"))
}

/// Reads of a scenario what a cell has.
fn read(text: &str, own: Option<&Entry>) -> Result<(QueuesConfig, Surroundings), Vec<Problem>> {
    let mut problems = Problems::default();
    let value = Value::parse(text, 0, &mut problems);
    let field = |path: &[&str]| {
        path.iter().try_fold(&value, |at, name| match &at.kind {
            ValueKind::Table(table) => table.get(name),
            _ => None,
        })
    };
    let config =
        field(&["experiment", "queues"]).and_then(|table| QueuesConfig::read(table, &mut problems));
    let network = field(&["network"]).and_then(|table| Config::read(table, &mut problems));
    let faults =
        field(&["fault"]).map_or(Some(Vec::new()), |list| Config::read(list, &mut problems));
    if let Some(config) = &config {
        match own {
            Some(entry) => {
                config.variants.iter().for_each(|own| (entry.check)(own, config, &mut problems));
            }
            None => check(config, &mut problems),
        }
        let directory = super::directory(config);
        for fault in faults.iter().flatten() {
            let fault: &crate::model::fault::FaultConfig = fault;
            fault.action.check_targets(fault.place, &directory, &mut problems);
        }
    }
    match (config, network, faults) {
        (Some(config), Some(network), Some(faults)) if problems.is_empty() => {
            Ok((config, Surroundings { network, faults, ..Surroundings::default() }))
        }
        _ => Err(problems.into_sorted()),
    }
}
