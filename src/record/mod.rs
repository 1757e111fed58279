//! What a run leaves behind: numbers with names, units and definitions.
//!
//! A [`Metric`] is declared once, beside the code that measures it; column heads, axis labels,
//! `explain` and the regression check all read that declaration. A [`Record`] holds what one run
//! measured and says nothing of how.

pub mod baseline;
pub mod brief;
pub mod claims;
mod distribution;
pub mod statistics;
mod stored;
pub mod summary;

use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};

pub use distribution::{Distribution, Percentile};
pub use stored::MetricNamed;

/// Raised whenever any result may change for the same scenario and seed. Results and baselines
/// carry it; those of another version are not compared.
pub const SEMANTICS_VERSION: u32 = 1;

/// What a number counts, and so how it is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unit {
    /// Things; whole numbers in one run.
    Count,
    /// A number without dimension, such as maximum over mean.
    Ratio,
    /// A share of a whole, from 0 to 1; shown in percent.
    Share,
    /// Bytes.
    Bytes,
    /// Nanoseconds; shown in the unit that fits.
    Nanoseconds,
    /// Things a second.
    PerSecond,
}

/// Which way is better; what a ranking and a regression check must know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
    /// Neither: it describes the run.
    Neither,
}

/// A quantity, declared once, beside the code that measures it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metric {
    /// Its name in files and flags: `load_skew`.
    pub name: &'static str,
    /// Its name for a reader: "load skew, max/mean".
    pub title: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// Exactly what it is: the formula, the window, what is left out.
    pub definition: &'static str,
}

/// One number of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Measure {
    /// What it measures.
    pub metric: &'static Metric,
    /// Which of several it is, such as the membership event "leave n3"; empty where there is one.
    pub at: String,
    /// The number, in the metric's unit. Never NaN; infinite only where the metric says when.
    pub value: f64,
}

/// Many values of one metric within one run, such as latencies in nanoseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// What was measured.
    pub metric: &'static Metric,
    /// Which of several it is; empty where there is one.
    pub at: String,
    /// The values.
    pub distribution: Distribution,
}

/// A metric over virtual time, in steps of equal length.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    /// What is drawn.
    pub metric: &'static Metric,
    /// Which of several it is; empty where there is one.
    pub at: String,
    /// The length of a step. Step `i` covers `i * step .. (i + 1) * step`.
    pub step: SimDuration,
    /// A value a step.
    pub values: Vec<f64>,
}

/// A metric for each of several named things, such as the load of each node.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// What is drawn.
    pub metric: &'static Metric,
    /// Which of several it is; empty where there is one.
    pub at: String,
    /// Names and values.
    pub bars: Vec<(String, f64)>,
    /// What each would have in a fair world, where that is a thing.
    pub fair: Option<f64>,
}

/// A stretch of virtual time in which a fault was at work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FaultSpan {
    /// What it was, such as "pause client-1".
    pub label: String,
    /// From when.
    pub from: SimTime,
    /// Until when; the same as `from` for what takes no time.
    pub until: SimTime,
}

/// How much of something went from each of several named things to each other, such as keys from
/// node to node.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// What went.
    pub metric: &'static Metric,
    /// Which of several it is, such as the membership event; empty where there is one.
    pub at: String,
    /// The things.
    pub names: Vec<String>,
    /// How much each gave, a row for each that gave, with a number for each that got.
    pub amounts: Vec<Vec<f64>>,
}

/// A stretch of virtual time in which something was so, or the instant of something that was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Span {
    /// With whom: `client-3`, `resource`.
    pub lane: String,
    /// What kind of thing it is.
    pub kind: SpanKind,
    /// What it was, in a few words: `token 12`.
    pub label: String,
    /// From when.
    pub from: SimTime,
    /// Until when; the same as `from` for what takes no time.
    pub until: SimTime,
}

/// What a [`Span`] can be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpanKind {
    /// Somebody believed to hold what only one may hold.
    Belief,
    /// An operation that was let through.
    Accepted,
    /// An operation that was refused.
    Refused,
}

/// Which part of the world a record is about.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Subject {
    /// Placement rings.
    Rings,
    /// Distributed locks.
    Locks,
    /// Message queues.
    Queues,
    /// The three of them joined.
    Pipeline,
}

/// How a run ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Ending {
    /// As it should: at the scenario's horizon, or because nothing was left to happen.
    Complete,
    /// A cap was reached: the numbers are not a result.
    Incomplete(String),
}

/// Everything that one run measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What it is about.
    pub subject: Subject,
    /// The variant's label: `ring{virtual_nodes=160}`.
    pub variant: String,
    /// The swept parameters of this run and their values, in the sweep's order.
    pub point: Vec<(String, String)>,
    /// The seed.
    pub seed: Seed,
    /// Single numbers.
    pub measures: Vec<Measure>,
    /// Distributions.
    pub samples: Vec<Sample>,
    /// Courses over virtual time.
    pub curves: Vec<Curve>,
    /// Values by node or the like.
    pub profiles: Vec<Profile>,
    /// What went from where to where.
    pub flows: Vec<Flow>,
    /// The piece of the run's course that makes its case.
    pub spans: Vec<Span>,
    /// The faults of the run.
    pub faults: Vec<FaultSpan>,
    /// What went wrong, in words, with its virtual time: the first few safety violations.
    pub findings: Vec<String>,
    /// From when on all was as it is to be measured, and until when work came in; `None` where that
    /// is the whole run. Before it the run warms up, and behind it the rest of the work is done.
    pub window: Option<(SimTime, SimTime)>,
    /// How the run ended.
    pub ending: Ending,
    /// Events that the kernel handled; 0 where there was no virtual time.
    pub event_count: u64,
    /// A hash over every event in its order. Equal runs have equal fingerprints.
    pub fingerprint: u64,
}

impl Unit {
    const ALL: [Self; 6] =
        [Self::Count, Self::Ratio, Self::Share, Self::Bytes, Self::Nanoseconds, Self::PerSecond];

    /// The name of the base unit, in which files have all numbers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Ratio => "ratio",
            Self::Share => "share",
            Self::Bytes => "bytes",
            Self::Nanoseconds => "ns",
            Self::PerSecond => "per_second",
        }
    }

    /// The unit of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|unit| unit.name() == name)
    }
}

impl Better {
    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
            Self::Neither => "neither",
        }
    }

    /// What this name says.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Higher, Self::Lower, Self::Neither].into_iter().find(|way| way.name() == name)
    }
}

impl SpanKind {
    const ALL: [Self; 3] = [Self::Belief, Self::Accepted, Self::Refused];

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Belief => "belief",
            Self::Accepted => "accepted",
            Self::Refused => "refused",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Subject {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Rings, Self::Locks, Self::Queues, Self::Pipeline];

    /// Its name in scenario files and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rings => "rings",
            Self::Locks => "locks",
            Self::Queues => "queues",
            Self::Pipeline => "pipeline",
        }
    }
}

impl Record {
    /// The value of the metric `name` at `at`.
    pub fn value(&self, name: &str, at: &str) -> Option<f64> {
        self.measures.iter().find(|m| m.metric.name == name && m.at == at).map(|m| m.value)
    }
}
