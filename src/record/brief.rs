//! What is worth saying of a subject, as data: the wing that measures writes it beside its
//! metrics, and the report follows it without knowing what it means.

use crate::record::summary::Statistic;
use crate::record::{Metric, Subject};

/// Which of a subject's metrics stand in the table, which make a sentence, which make a picture.
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    /// The subject.
    pub subject: Subject,
    /// The columns of its table, in order.
    pub headlines: &'static [Headline],
    /// The sentences above the table, in order.
    pub findings: &'static [Finding],
    /// The charts, in order.
    pub pictures: &'static [Picture],
    /// The columns of the one table that stands for many variants side by side, in order; empty
    /// where there is none.
    pub side_by_side: &'static [Beside],
}

/// A column of the table of many variants side by side.
#[derive(Clone, Copy, Debug)]
pub struct Beside {
    /// Its head: short, since all columns are to fit beside each other.
    pub title: &'static str,
    /// The number.
    pub of: Headline,
    /// Where it is taken.
    pub over: Over,
}

/// Where the number of a column is taken, of all that it was measured at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Over {
    /// Before anything happened.
    Start,
    /// A column for each place.
    Each,
    /// The sum over all places, in each run.
    Sum,
}

/// A column of the table: one number of a metric.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Headline {
    /// The metric.
    pub metric: &'static Metric,
    /// Which number of it.
    pub statistic: Statistic,
}

/// A sentence that can be formed from numbers.
#[derive(Clone, Copy, Debug)]
pub enum Finding {
    /// Who is best in a headline and by how much: "jump has the lowest load skew, 1.02; modulo has
    /// 1.41 times as much".
    Best(Headline),
    /// How far each is from a limit, summed over all that the metrics are measured at: "ring moves
    /// 1.02 times the least possible".
    Times {
        /// What is compared.
        of: &'static Metric,
        /// The limit, measured at the same.
        to: &'static Metric,
        /// The verb: "moves".
        verb: &'static str,
        /// What the limit is: "the least possible".
        reference: &'static str,
    },
    /// In how many runs something happened: "token: lost update in 31 of 32 seeds".
    Occurs {
        /// How often it happened in a run.
        count: &'static Metric,
        /// What happened, in the singular: "lost update".
        what: &'static str,
    },
}

/// A chart that can be drawn from records.
#[derive(Clone, Copy, Debug)]
pub enum Picture {
    /// The load of each node, from the least to the most loaded, with the fair share: from
    /// profiles of the metric.
    Load(&'static Metric),
    /// One number for each event beside the least possible: from measures of both metrics at the
    /// same events.
    Floor {
        /// What happened.
        of: &'static Metric,
        /// The least that could have happened.
        floor: &'static Metric,
    },
    /// A latency by percentile: from samples of the metric.
    Percentiles(&'static Metric),
    /// A metric over virtual time, with the faults: from curves of the metric.
    Course(&'static Metric),
    /// Who gave how much to whom, at the first event: from flows of the metric.
    Handover(&'static Metric),
    /// The piece of a run's course that makes its case, a lane for each that took part: from
    /// spans.
    Lanes {
        /// What those with a belief do: "believe that they hold the lock".
        verb: &'static str,
    },
    /// A number over the values of a parameter that a sweep varies: drawn where there is one such
    /// parameter, and its values are numbers.
    Swept(Headline),
    /// What each variant costs and what it is worth, a mark each: the chart that one chooses by.
    Cost {
        /// What it costs.
        cost: &'static Metric,
        /// What it is worth.
        worth: &'static Metric,
    },
}

impl Headline {
    /// The number that a run measured.
    pub const fn value(metric: &'static Metric) -> Self {
        Self { metric, statistic: Statistic::Value }
    }

    /// A number of the values that a run sampled.
    pub const fn of(metric: &'static Metric, statistic: Statistic) -> Self {
        Self { metric, statistic }
    }
}
