//! From records to what may be said: each metric of each variant over its seeds.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::kernel::rng::Seed;
use crate::kernel::time::SimDuration;
use crate::record::statistics::{self, Estimate, Paired};
use crate::record::{Better, Curve, Distribution, Ending, Metric, Record, Subject};

/// Which number of a metric in one run.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Statistic {
    /// The number itself, of a metric that has one a run.
    Value,
    /// The mean of a sample.
    Mean,
    /// The median of a sample.
    P50,
    /// The 90th percentile of a sample.
    P90,
    /// The 99th percentile of a sample.
    P99,
    /// The 99.9th percentile of a sample.
    P999,
    /// The largest value of a sample.
    Max,
}

/// The runs of one variant at one point of the sweep.
#[derive(Clone, Debug)]
pub struct Group<'a> {
    /// What they are about.
    pub subject: Subject,
    /// The variant's label.
    pub variant: &'a str,
    /// The swept parameters and their values.
    pub point: &'a [(String, String)],
    /// The runs that ended as they should, in plan order.
    pub runs: Vec<&'a Record>,
    /// The runs whose numbers are no result, because a cap was reached.
    pub incomplete: Vec<&'a Record>,
}

/// One metric of one variant over the seeds.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// What it is about.
    pub subject: Subject,
    /// The variant's label.
    pub variant: String,
    /// The swept parameters and their values.
    pub point: Vec<(String, String)>,
    /// What was measured.
    pub metric: &'static Metric,
    /// Which number of it.
    pub statistic: Statistic,
    /// Which of several it is; empty where there is one.
    pub at: String,
    /// The number of each seed, in plan order.
    pub values: Vec<(Seed, f64)>,
    /// Their mean and its interval.
    pub estimate: Estimate,
}

/// Where one of several variants stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// One more than the number of variants that are better beyond doubt.
    pub place: usize,
    /// Whether another has the same place.
    pub tied: bool,
}

impl Statistic {
    /// All of a sample's, in the order in which they are reported.
    pub const OF_SAMPLES: [Self; 6] =
        [Self::Mean, Self::P50, Self::P90, Self::P99, Self::P999, Self::Max];

    /// What follows the metric's name in files and claims: nothing, or `.p99`.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Value => "",
            Self::Mean => ".mean",
            Self::P50 => ".p50",
            Self::P90 => ".p90",
            Self::P99 => ".p99",
            Self::P999 => ".p99.9",
            Self::Max => ".max",
        }
    }

    /// Its name in front of a reader: nothing, or `p99`.
    pub fn title(self) -> &'static str {
        self.suffix().trim_start_matches('.')
    }

    /// This number of `sample`; `None` where the sample is too small for it. A percentile needs
    /// so many values that at least one is expected beyond it: below that it would be no more
    /// than the maximum under another name.
    pub fn of(self, sample: &Distribution) -> Option<f64> {
        let quantile = |q: f64, count_min: u64| {
            (count_min <= sample.count()).then(|| sample.quantile(q) as f64)
        };
        match self {
            Self::Value => None,
            Self::Mean => (0 < sample.count()).then(|| sample.mean()),
            Self::P50 => quantile(0.5, 2),
            Self::P90 => quantile(0.9, 10),
            Self::P99 => quantile(0.99, 100),
            Self::P999 => quantile(0.999, 1000),
            Self::Max => (0 < sample.count()).then(|| sample.max() as f64),
        }
    }
}

/// The name of one number of `metric` in files and claims: `lock_wait.p99`.
pub fn name_of(metric: &Metric, statistic: Statistic) -> String {
    format!("{}{}", metric.name, statistic.suffix())
}

/// What tells groups apart: subject, variant and point.
type Key<'a> = (Subject, &'a str, &'a [(String, String)]);

/// Parts `records` into groups, both in the order in which the plan names them first.
pub fn groups(records: &[Record]) -> Vec<Group<'_>> {
    let mut index_of: BTreeMap<Key<'_>, usize> = BTreeMap::new();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for record in records {
        let key = (record.subject, record.variant.as_str(), record.point.as_slice());
        let index = *index_of.entry(key).or_insert(groups.len());
        if index == groups.len() {
            let (subject, variant, point) = key;
            let (runs, incomplete) = (Vec::new(), Vec::new());
            groups.push(Group { subject, variant, point, runs, incomplete });
        }
        match record.ending {
            Ending::Complete => groups[index].runs.push(record),
            Ending::Incomplete(_) => groups[index].incomplete.push(record),
        }
    }
    groups
}

/// Every number of `records` over the seeds: by group, and in a group in the order in which its
/// first run measured. Quantiles are taken in each run and then averaged over the runs, which are
/// independent; values of one run are not. Incomplete runs have no numbers.
pub fn of(records: &[Record]) -> Vec<Summary> {
    groups(records).iter().flat_map(of_group).collect()
}

fn of_group(group: &Group<'_>) -> Vec<Summary> {
    let mut found = Numbers::default();
    for run in &group.runs {
        for measure in &run.measures {
            found.add(measure.metric, Statistic::Value, &measure.at, run.seed, measure.value);
        }
        for sample in &run.samples {
            for statistic in Statistic::OF_SAMPLES {
                // A quantile that only the runs with many values have would favour those runs:
                // NaN keeps the place of the others, and the quantile is left out below.
                let value = statistic.of(&sample.distribution).unwrap_or(f64::NAN);
                found.add(sample.metric, statistic, &sample.at, run.seed, value);
            }
        }
    }
    let summarise = |number: Number| {
        let Number { metric, statistic, at, values } = number;
        if statistic != Statistic::Value && values.iter().any(|(_, value)| value.is_nan()) {
            return None;
        }
        Summary::of_values(group, metric, statistic, &at, values)
    };
    found.numbers.into_iter().filter_map(summarise).collect()
}

struct Number {
    metric: &'static Metric,
    statistic: Statistic,
    at: String,
    values: Vec<(Seed, f64)>,
}

#[derive(Default)]
struct Numbers {
    numbers: Vec<Number>,
    index_of: BTreeMap<(&'static str, Statistic, String), usize>,
}

impl Numbers {
    fn add(
        &mut self,
        metric: &'static Metric,
        statistic: Statistic,
        at: &str,
        seed: Seed,
        value: f64,
    ) {
        let key = (metric.name, statistic, at.to_owned());
        let index = *self.index_of.entry(key).or_insert(self.numbers.len());
        if index == self.numbers.len() {
            self.numbers.push(Number { metric, statistic, at: at.to_owned(), values: Vec::new() });
        }
        self.numbers[index].values.push((seed, value));
    }
}

/// How a report calls a variant at a point: `ring`, or `ring, nodes=20`.
pub fn label(variant: &str, point: &[(String, String)]) -> String {
    let mut label = variant.to_owned();
    for (name, value) in point {
        let _ = write!(label, ", {name}={value}");
    }
    label
}

impl Group<'_> {
    /// How a report calls it.
    pub fn label(&self) -> String {
        label(self.variant, self.point)
    }

    /// The sum of `metric` over all that it is measured at, for each run that measured it.
    pub fn totals(&self, metric: &Metric) -> Vec<(Seed, f64)> {
        self.over_places(metric, |total, _| total)
    }

    /// The mean of `metric` over all that it is measured at, for each run that measured it.
    pub fn means(&self, metric: &Metric) -> Vec<(Seed, f64)> {
        self.over_places(metric, |total, count| total / count)
    }

    fn over_places(&self, metric: &Metric, of: fn(f64, f64) -> f64) -> Vec<(Seed, f64)> {
        let number = |run: &&Record| {
            let (mut total, mut count) = (0.0, 0.0);
            for measure in run.measures.iter().filter(|m| m.metric.name == metric.name) {
                total += measure.value;
                count += 1.0;
            }
            (0.0 < count).then(|| (run.seed, of(total, count)))
        };
        self.runs.iter().filter_map(number).collect()
    }

    /// How long the curves of `metric` at `at` take to settle, found on their average over the
    /// runs. `None` where they never do, have different steps, or are too short to tell.
    pub fn warm_up(&self, metric: &Metric, at: &str) -> Option<SimDuration> {
        let curves: Vec<&Curve> = (self.runs.iter())
            .filter_map(|run| {
                run.curves.iter().find(|c| c.metric.name == metric.name && c.at == at)
            })
            .collect();
        let step = curves.first()?.step;
        if curves.iter().any(|curve| curve.step != step) {
            return None;
        }
        let shortest = curves.iter().map(|curve| curve.values.len()).min()?;
        let average = |index: usize| {
            curves.iter().map(|curve| curve.values[index]).sum::<f64>() / curves.len() as f64
        };
        let averages: Vec<f64> = (0..shortest).map(average).collect();
        Some(step.times(statistics::warm_up(&averages)? as u64))
    }

    /// All values of `metric` at `at` of all runs, merged: for drawing, not for intervals.
    pub fn merged(&self, metric: &Metric, at: &str) -> Option<Distribution> {
        let mut merged: Option<Distribution> = None;
        for run in &self.runs {
            for sample in run.samples.iter().filter(|s| s.metric.name == metric.name && s.at == at)
            {
                merged.get_or_insert_default().merge(&sample.distribution);
            }
        }
        merged
    }
}

impl Summary {
    /// One number of `group` with its value in each run. `None` where there is none.
    pub fn of_values(
        group: &Group<'_>,
        metric: &'static Metric,
        statistic: Statistic,
        at: &str,
        values: Vec<(Seed, f64)>,
    ) -> Option<Self> {
        let bare: Vec<f64> = values.iter().map(|&(_, value)| value).collect();
        Some(Self {
            subject: group.subject,
            variant: group.variant.to_owned(),
            point: group.point.to_vec(),
            metric,
            statistic,
            at: at.to_owned(),
            estimate: Estimate::of(&bare)?,
            values,
        })
    }

    /// The name of the number: `lock_wait.p99`.
    pub fn name(&self) -> String {
        name_of(self.metric, self.statistic)
    }

    /// How a report calls the variant and its point.
    pub fn label(&self) -> String {
        label(&self.variant, &self.point)
    }

    /// How many times this is as much as `other`, under the seeds that both have.
    pub fn ratio_to(&self, other: &Self) -> Option<Paired> {
        let (of, to) = common(&self.values, &other.values);
        statistics::ratio(&of, &to)
    }

    /// How much more this is than `other`, under the seeds that both have.
    pub fn difference_to(&self, other: &Self) -> Option<Paired> {
        let (of, less) = common(&self.values, &other.values);
        statistics::difference(&of, &less)
    }
}

/// The values under the seeds that both sides have.
pub fn common(a: &[(Seed, f64)], b: &[(Seed, f64)]) -> (Vec<f64>, Vec<f64>) {
    let b: BTreeMap<Seed, f64> = b.iter().copied().collect();
    a.iter().filter_map(|(seed, a)| b.get(seed).map(|&b| (*a, b))).unzip()
}

/// Seed and both values, under the seeds that both sides have.
pub fn common_pairs(a: &[(u64, f64)], b: &[(u64, f64)]) -> Vec<(u64, f64, f64)> {
    let b: BTreeMap<u64, f64> = b.iter().copied().collect();
    a.iter().filter_map(|&(seed, a)| b.get(&seed).map(|&b| (seed, a, b))).collect()
}

/// Where each of several summaries of one number stands. `None` where there is no better and
/// worse, or nothing to compare.
///
/// Every pair is compared seed by seed, and the `p`s of all pairs are adjusted together (Holm), so
/// that a false winner among any number of equals comes in at most one of twenty reports.
pub fn rank(summaries: &[&Summary]) -> Option<Vec<Standing>> {
    const LEVEL: f64 = 1.0 - statistics::CONFIDENCE;
    let first = summaries.first()?;
    let sign = match first.metric.better {
        Better::Higher => 1.0,
        Better::Lower => -1.0,
        Better::Neither => return None,
    };
    if summaries.len() < 2 {
        return None;
    }
    let pairs: Vec<(usize, usize)> =
        (0..summaries.len()).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    // (how much better the first of the pair is, p)
    let compare = |&(a, b): &(usize, usize)| match summaries[a].difference_to(summaries[b]) {
        Some(paired) => (sign * paired.estimate.mean, paired.p),
        None => (0.0, 1.0),
    };
    let compared: Vec<(f64, f64)> = pairs.iter().map(compare).collect();
    let adjusted = statistics::holm(&compared.iter().map(|&(_, p)| p).collect::<Vec<_>>());
    let mut places = vec![1; summaries.len()];
    for ((&(a, b), (gain, _)), p) in pairs.iter().zip(compared).zip(adjusted) {
        if p < LEVEL {
            places[if 0.0 < gain { b } else { a }] += 1;
        }
    }
    let tied = |place: usize| 1 < places.iter().filter(|&&other| other == place).count();
    Some(places.iter().map(|&place| Standing { place, tied: tied(place) }).collect())
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, if self.tied { "=" } else { "" })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::record::{Measure, Sample, Unit};

    pub(crate) const SKEW: Metric = Metric {
        name: "load_skew",
        title: "load skew",
        unit: Unit::Ratio,
        better: Better::Lower,
        definition: "the load of the most loaded node over the mean load",
    };
    pub(crate) const WAIT: Metric = Metric {
        name: "wait",
        title: "wait",
        unit: Unit::Nanoseconds,
        better: Better::Lower,
        definition: "from the intended start to the grant",
    };

    pub(crate) fn record(variant: &str, seed: u64) -> Record {
        Record {
            subject: Subject::Rings,
            variant: variant.into(),
            point: Vec::new(),
            seed: Seed(seed),
            measures: Vec::new(),
            samples: Vec::new(),
            curves: Vec::new(),
            profiles: Vec::new(),
            flows: Vec::new(),
            spans: Vec::new(),
            faults: Vec::new(),
            findings: Vec::new(),
            window: None,
            ending: Ending::Complete,
            event_count: 0,
            fingerprint: 0,
        }
    }

    pub(crate) fn measured(variant: &str, seed: u64, at: &str, value: f64) -> Record {
        let measure = Measure { metric: &SKEW, at: at.into(), value };
        Record { measures: vec![measure], ..record(variant, seed) }
    }

    fn sampled(seed: u64, values: impl IntoIterator<Item = u64>) -> Record {
        let mut distribution = Distribution::new();
        values.into_iter().for_each(|value| distribution.add(value));
        let sample = Sample { metric: &WAIT, at: String::new(), distribution };
        Record { samples: vec![sample], ..record("token", seed) }
    }

    fn summary(variant: &str, values: &[f64]) -> Summary {
        let records: Vec<Record> =
            (1..).zip(values).map(|(seed, &value)| measured(variant, seed, "", value)).collect();
        of(&records).remove(0)
    }

    #[test]
    fn groups_keep_the_order_of_the_plan_and_set_incomplete_runs_apart() {
        let mut records = vec![
            measured("ring", 1, "", 1.0),
            measured("jump", 1, "", 2.0),
            measured("ring", 2, "", 3.0),
        ];
        records.push(Record {
            ending: Ending::Incomplete("event cap".into()),
            ..measured("ring", 3, "", 1e9)
        });
        let groups = groups(&records);
        let shape: Vec<_> =
            groups.iter().map(|g| (g.variant, g.runs.len(), g.incomplete.len())).collect();
        assert_eq!(shape, [("ring", 2, 1), ("jump", 1, 0)]);
        assert_eq!(of(&records)[0].values, [(Seed(1), 1.0), (Seed(2), 3.0)]);
    }

    #[test]
    fn points_of_a_sweep_are_groups_of_their_own() {
        let at = |nodes: &str| Record {
            point: vec![("nodes".into(), nodes.into())],
            ..measured("ring", 1, "", 1.0)
        };
        let records = [at("10"), at("20")];
        let labels: Vec<String> = of(&records).iter().map(Summary::label).collect();
        assert_eq!(labels, ["ring, nodes=10", "ring, nodes=20"]);
    }

    #[test]
    fn quantiles_are_taken_in_each_run_and_then_averaged() {
        let records = [sampled(1, 1..=200), sampled(2, 301..=500)];
        let summaries = of(&records);
        let p50 = summaries.iter().find(|s| s.statistic == Statistic::P50).unwrap();
        assert_eq!(p50.values, [(Seed(1), 100.0), (Seed(2), 400.0)]);
        assert_eq!(p50.estimate.mean.to_bits(), 250.0_f64.to_bits());
        assert_eq!(p50.name(), "wait.p50");
    }

    #[test]
    fn a_quantile_that_one_run_is_too_small_for_is_not_reported() {
        let summaries = of(&[sampled(1, 1..=100), sampled(2, 1..=99)]);
        let statistics: Vec<Statistic> = summaries.iter().map(|s| s.statistic).collect();
        assert_eq!(statistics, [Statistic::Mean, Statistic::P50, Statistic::P90, Statistic::Max]);
    }

    #[test]
    fn comparisons_use_the_seeds_that_both_have() {
        let a = summary("a", &[2.0, 4.0, 6.0]);
        let b = summary("b", &[1.0, 2.0]);
        let ratio = a.ratio_to(&b).unwrap();
        assert_eq!(ratio.estimate.n, 2);
        assert!(ratio.estimate.exact);
    }

    #[test]
    fn a_clear_winner_is_first_and_what_cannot_be_told_apart_is_tied() {
        let worst = summary("worst", &[9.0, 9.1, 9.2, 9.1]);
        let one = summary("one", &[1.0, 1.2, 1.1, 1.3]);
        let other = summary("other", &[1.1, 1.1, 1.2, 1.2]);
        let standings = rank(&[&worst, &one, &other]).unwrap();
        let shown: Vec<String> = standings.iter().map(Standing::to_string).collect();
        assert_eq!(shown, ["3", "1=", "1="]);
    }

    /// Each of the others is worse than the first with p = 0.049, which among three comparisons
    /// is no evidence.
    #[test]
    fn among_many_comparisons_a_narrow_one_decides_nothing() {
        let first = summary("first", &[1.0, 1.0, 1.0, 1.0]);
        let second = summary("second", &[1.1, 1.3, 1.2, 1.5]);
        let third = summary("third", &[1.5, 1.2, 1.3, 1.1]);
        let alone = rank(&[&first, &second]).unwrap();
        assert_eq!(alone.iter().map(|s| s.place).collect::<Vec<_>>(), [1, 2]);
        let together = rank(&[&first, &second, &third]).unwrap();
        assert_eq!(together.iter().map(|s| s.place).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn the_warm_up_is_found_on_the_average_over_the_runs() {
        let curve = |seed: u64, wobble: f64| {
            let values = (0..100_u32).map(|i| {
                let transient = if i < 20 { 20.0 - f64::from(i) } else { 0.0 };
                transient + if i.is_multiple_of(2) { wobble } else { -wobble }
            });
            let (at, step) = (String::new(), SimDuration::from_ms(500));
            let curve = Curve { metric: &WAIT, at, step, values: values.collect() };
            Record { curves: vec![curve], ..record("token", seed) }
        };
        // The two runs' wobbles cancel.
        let records = [curve(1, 50.0), curve(2, -50.0)];
        let found = groups(&records)[0].warm_up(&WAIT, "").unwrap();
        assert_eq!(found, SimDuration::from_secs(10));
        assert_eq!(groups(&records)[0].warm_up(&SKEW, ""), None);
    }

    #[test]
    fn one_seed_ranks_nothing() {
        let (a, b) = (summary("a", &[1.0]), summary("b", &[2.0]));
        assert!(rank(&[&a, &b]).unwrap().iter().all(|standing| standing.tied));
        assert_eq!(rank(&[&a]), None);
    }

    #[test]
    fn totals_add_up_what_a_run_measured_in_several_places() {
        let mut record = measured("ring", 1, "leave n3", 2.0);
        record.measures.push(Measure { metric: &SKEW, at: "join n4".into(), value: 3.0 });
        let records = [record];
        assert_eq!(groups(&records)[0].totals(&SKEW), [(Seed(1), 5.0)]);
        assert_eq!(groups(&records)[0].means(&SKEW), [(Seed(1), 2.5)]);
        assert_eq!(groups(&records)[0].totals(&WAIT), []);
    }
}
