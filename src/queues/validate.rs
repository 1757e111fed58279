//! Queueing theory against the simulator: closed forms, each simulated by the same cluster, load and
//! broker as any scenario, with a network that takes no time and consumers that take one message
//! at a time.
//!
//! A consumer with a prefetch of 1 acknowledges a message at the instant at which its work ends, and
//! with no network delay the next one arrives at that same instant: so the system is work-conserving
//! to the nanosecond, and a broker with c consumers is a queue with c servers.
//!
//! The rule: a case is run under one seed after the other until the 95 % interval of each of its
//! numbers is at most 1 % of the expected value to either side, or until the budget of events is
//! spent, and then that number is unknown. It passes if the mean is no further from the expected
//! value than half the interval and 0.5 %.
//!
//! How many messages came and how much work they brought is known in expectation, so both serve as
//! controls of every mean (see [`Estimate::controlled`]).
//!
//! What is expected fewer than 100 times in a run is judged as a chance instead, by the exact
//! binomial interval (see [`clustered_binomial_interval`]): a probability as it stands, and a
//! quantile by the share of the messages beyond its expected value. That interval is not held to
//! 1 %, and so at a confidence of 99.7 %: as rarely as with the half percent above an interval of
//! 1 % is missed by chance. Of what lies beyond a quantile only what comes true independently of
//! the rest counts: where long waits come together, as they do at a high load, a run holds few such
//! times, and the quantile of a run is too low on the mean (an M/M/1 queue at a load of 0.95 had its
//! 99.9th percentile 2.9 % ± 1 % too low in 714 runs of a million messages), where the share of the
//! messages beyond the expected value is not. A quantile that is expected to be 0 lies on an atom, where a sample's
//! is on the atom or beside it: it holds if no more messages lie beyond 0 than it says.

mod models;

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::choice::Choice;
use crate::config::{Config, DataFile, Place, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::dist::Dist;
use crate::model::load::{ArrivalsConfig, LoadConfig, TraceConfig};
use crate::model::network::NetworkConfig;
use crate::model::surroundings::Surroundings;
use crate::record::statistics::{Estimate, clustered_binomial_interval, independent_trials};

use super::QueuesConfig;
use super::judge::Watch;
use super::testbed::{Outcome, Setup, check, simulate_watched};

/// A model with its parameters, and what theory says of it.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// The model, such as `M/M/c`.
    pub model: String,
    /// Its parameters as the file has them: `lambda=1.4;mu=1;c=2`.
    pub params: String,
    /// What theory says.
    pub rows: Vec<Row>,
    /// Where it stands.
    pub place: Place,
}

/// One number of theory.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What it is, such as `Wq_p99`.
    pub metric: String,
    /// Its value.
    pub expected: f64,
    /// What kind of statement it is.
    pub kind: Kind,
}

/// What kind of statement a number of theory is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The value itself.
    Exact,
    /// An approximation, which is shown and not judged.
    Approx,
    /// An upper bound.
    Bound,
}

/// How much may be spent on one case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Events in all runs together.
    pub event_count_max: u64,
    /// How far the interval may reach to either side, as a share of the expected value.
    pub half_width: f64,
    /// How far beyond that the mean may be from the expected value.
    pub slack: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { event_count_max: 100_000_000, half_width: 0.01, slack: 0.005 }
    }
}

/// What came out of a case.
#[derive(Clone, Debug)]
pub struct Validation {
    /// A line for each of its rows, in their order.
    pub lines: Vec<Line>,
    /// How many events it took.
    pub event_count: u64,
    /// How many seeds it took.
    pub seed_count: u32,
}

/// What came out of one number.
#[derive(Clone, Debug)]
pub struct Line {
    /// What theory says.
    pub row: Row,
    /// What the simulator says.
    pub simulated: Estimate,
    /// What was judged in place of the mean, if it was not that.
    pub chance: Option<Chance>,
    /// Whether they agree.
    pub agreement: Agreement,
}

/// How often something happened of which a number of theory gives the chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// How probable theory says that it is.
    pub expected: f64,
    /// How often it happened, as a share of the trials.
    pub simulated: f64,
    /// The interval of its probability by the trials alone.
    pub interval: (f64, f64),
}

/// Whether theory and simulator agree.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Agreement {
    /// It is an approximation: there is nothing to judge.
    Shown,
    /// They do.
    Pass,
    /// The budget was not enough to say.
    Unknown,
    /// They do not.
    Fail,
}

impl Line {
    /// How far the simulated mean is from the expected value, as a share of that.
    pub fn error(&self) -> f64 {
        if self.row.expected == 0.0 {
            self.simulated.mean
        } else {
            self.simulated.mean / self.row.expected - 1.0
        }
    }

    /// How many times the runs it would take for an interval of 1 % to either side: an interval is
    /// half as wide after four times as many.
    pub fn times_needed(&self) -> f64 {
        let half_width = self.simulated.high - self.simulated.mean;
        let ratio = half_width / (Budget::default().half_width * self.row.expected);
        ratio * ratio
    }
}

impl Validation {
    /// The one verdict on the case: the worst of its lines.
    pub fn agreement(&self) -> Agreement {
        self.lines.iter().map(|line| line.agreement).max().unwrap_or(Agreement::Shown)
    }
}

impl fmt::Display for Agreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shown => "shown",
            Self::Pass => "pass",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        })
    }
}

/// Reads cases from a CSV file with the columns `id`, `model`, `params`, `metric`, `value` and
/// `kind`.
pub fn cases(file: &DataFile, problems: &mut Problems) -> Option<Vec<Case>> {
    let rows = file.rows(&["id", "model", "params", "metric", "value", "kind"], problems)?;
    let mut cases: Vec<Case> = Vec::new();
    for row in rows {
        let [id, model, params, metric, _, kind] = [0, 1, 2, 3, 4, 5].map(|i| row.fields[i].trim());
        let kind = match kind {
            "exact" => Kind::Exact,
            "approx" => Kind::Approx,
            "bound" => Kind::Bound,
            _ => {
                let found = crate::config::printable(kind);
                let message = format!("found `{found}`, expected `exact`, `approx` or `bound`");
                problems.add(row.place, message);
                return None;
            }
        };
        let expected = row.number(4, problems)?;
        let theory = Row { metric: metric.to_owned(), expected, kind };
        match cases.iter_mut().find(|case| case.id == id) {
            Some(case) => case.rows.push(theory),
            None => cases.push(Case {
                id: id.to_owned(),
                model: model.to_owned(),
                params: params.to_owned(),
                rows: vec![theory],
                place: row.place,
            }),
        }
    }
    Some(cases)
}

/// The models that can be simulated.
pub fn models() -> Vec<&'static str> {
    models::MODELS.iter().map(|model| model.name).collect()
}

/// One experiment of a case, as a scenario would write it.
#[derive(Clone, Debug)]
struct Experiment {
    config: QueuesConfig,
    around: Surroundings,
}

impl Experiment {
    /// From the text of an `[experiment.queues]` table, without its first tenth and without delays.
    fn new(text: &str) -> Self {
        let mut problems = Problems::default();
        let value = Value::parse(text, 0, &mut problems);
        let config = QueuesConfig::read(&value, &mut problems);
        if let Some(config) = &config {
            check(config, &mut problems);
        }
        assert!(problems.is_empty(), "{text}: {:?}", problems.into_sorted());
        let config = config.expect("it was read without a problem");
        let mut around = Surroundings {
            network: NetworkConfig {
                delay: Dist::constant(SimDuration::ZERO),
                ..NetworkConfig::default()
            },
            ..Surroundings::default()
        };
        around.warm_up = config.horizon.scale(1, 10);
        Self { config, around }
    }

    /// So many times as long.
    fn lengthen(&mut self, times: u64) {
        self.config.horizon = self.config.horizon.scale(times, 1);
        self.around.warm_up = self.around.warm_up.scale(times, 1);
    }

    /// Nothing is left out.
    fn without_warm_up(&mut self) {
        self.around.warm_up = SimDuration::ZERO;
    }

    /// Adds faults, as a scenario would write them.
    fn strike(&mut self, text: &str) {
        let mut problems = Problems::default();
        let value = Value::parse(text, 0, &mut problems);
        let ValueKind::Table(table) = &value.kind else { unreachable!("a file is a table") };
        let faults = table.get("fault").and_then(|list| Vec::read(list, &mut problems));
        assert!(problems.is_empty(), "{text}: {:?}", problems.into_sorted());
        self.around.faults = faults.expect("it was read without a problem");
    }

    /// Lets messages come when others have left.
    fn replay(&mut self, departures: &[(SimTime, SimTime)]) {
        let mut text = "arrival_ms\n".to_owned();
        for (_, at) in departures {
            let _ = writeln!(text, "{}.{:06}", at.as_ns() / 1_000_000, at.as_ns() % 1_000_000);
        }
        let file = DataFile { path: "departures".into(), source: 0, text: text.into() };
        let trace = ArrivalsConfig::Trace(TraceConfig { file });
        self.config.producers.load = LoadConfig::Open(trace);
    }

    fn run(&self, seed: Seed) -> Trial {
        self.simulate(seed, Watch::default())
    }

    fn run_keeping_times(&self, seed: Seed) -> Trial {
        self.simulate(seed, Watch { times: true, ..Watch::default() })
    }

    fn simulate(&self, seed: Seed, watch: Watch) -> Trial {
        let setup = Setup { config: &self.config, around: &self.around, share: None };
        let choice: &Choice = &self.config.variants[0];
        let outcome = simulate_watched(choice, setup, seed, watch).expect("the choice was checked");
        let controls = self.controls(&outcome);
        Trial { outcome, controls }
    }

    fn controls(&self, outcome: &Outcome) -> Vec<f64> {
        let judge = &outcome.judge;
        let work = self.config.messages.tasks[0].service.mean_ns() / 1e9;
        let mut controls = vec![judge.tally.work.mean() - work];
        // What a trace brings is what another queue let go, which no parameter tells.
        if let LoadConfig::Open(arrivals) = &self.config.producers.load
            && !matches!(arrivals, ArrivalsConfig::Trace(_))
        {
            let expected = arrivals.mean_rate() * judge.window_length().as_secs_f64();
            controls.push(judge.tally.within.offered as f64 - expected);
        }
        controls
    }
}

/// One run, with what chance did to it that theory knows.
#[derive(Debug)]
struct Trial {
    outcome: Outcome,
    /// By how much the messages and their mean work were beyond expectation.
    controls: Vec<f64>,
}

/// The parameters of a case.
#[derive(Clone, Debug)]
struct Params {
    values: BTreeMap<String, String>,
}

impl Params {
    fn read(text: &str) -> Result<Self, String> {
        let pairs = text.split(';').filter(|pair| !pair.trim().is_empty()).map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| format!("found `{pair}`, expected a parameter, such as `mu=1`"))?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        });
        Ok(Self { values: pairs.collect::<Result<_, String>>()? })
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        let value = self.values.get(name);
        value.map(String::as_str).ok_or_else(|| format!("the parameter `{name}` is missing"))
    }

    fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn number(&self, name: &str) -> Result<f64, String> {
        let text = self.text(name)?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && 0.0 <= number => Ok(number),
            _ => Err(format!("`{name}` is `{text}`, expected a number that is at least 0")),
        }
    }

    fn count(&self, name: &str) -> Result<u32, String> {
        let number = self.number(name)?;
        let count = number as u32;
        if f64::from(count).total_cmp(&number).is_eq() && 0 < count {
            Ok(count)
        } else {
            Err(format!("`{name}` is `{number}`, expected a whole number from 1"))
        }
    }
}

/// What the runs of a case say of one of its numbers, a value for each seed.
#[derive(Debug, Default)]
struct Samples {
    values: Vec<f64>,
    /// The share of the trials in which that happened of which the number gives the chance.
    shares: Vec<f64>,
    trial_count: u64,
}

/// Simulates `case` as far as `budget` allows.
///
/// # Errors
/// Where its model is unknown, a parameter is missing or wrong, or a metric is none of its model.
pub fn validate(case: &Case, budget: &Budget) -> Result<Validation, String> {
    let model = models::MODELS.iter().find(|model| model.name == case.model).ok_or_else(|| {
        format!("unknown model `{}`, expected one of {}", case.model, models().join(", "))
    })?;
    let params = Params::read(&case.params)?;
    let mut samples: Vec<Samples> = case.rows.iter().map(|_| Samples::default()).collect();
    let mut controls: Vec<Vec<f64>> = Vec::new();
    let (mut event_count, mut seed_count) = (0, 0);
    loop {
        seed_count += 1;
        let trials = (model.run)(&params, Seed(seed_count.into()))?;
        event_count += trials.iter().map(|trial| trial.outcome.record.event_count).sum::<u64>();
        controls.push(trials.iter().flat_map(|trial| trial.controls.clone()).collect());
        for (row, samples) in case.rows.iter().zip(&mut samples) {
            let value = (model.measure)(&row.metric, &params, &trials);
            let value =
                value.ok_or_else(|| format!("`{}` has no metric `{}`", case.model, row.metric))?;
            samples.values.push(value);
            if let Some((share, trial_count)) = models::chance(row, value, &trials) {
                samples.shares.push(share);
                samples.trial_count += trial_count;
            }
        }
        let each = event_count / u64::from(seed_count);
        let is_spent = budget.event_count_max < event_count + each;
        if seed_count < SEEDS_MIN && !is_spent {
            continue;
        }
        let judged = case.rows.iter().zip(&samples);
        let lines: Vec<Line> =
            judged.map(|(row, samples)| judge(row, samples, &controls, budget)).collect();
        let is_settled = lines.iter().all(|line| line.agreement != Agreement::Unknown);
        if is_settled || is_spent {
            return Ok(Validation { lines, event_count, seed_count });
        }
    }
}

/// Judges one number by what several seeds say of it.
fn judge(row: &Row, samples: &Samples, controls: &[Vec<f64>], budget: &Budget) -> Line {
    let Samples { values, shares, trial_count } = samples;
    let simulated = Estimate::controlled(values, controls).expect("there is a value for each seed");
    let half_width = simulated.high - simulated.mean;
    let error = (simulated.mean - row.expected).abs();
    let chance = match (row.kind, models::chance_expected(row)) {
        (Kind::Exact, Some(expected)) if shares.len() == values.len() => {
            let run_count = shares.len() as f64;
            let trials = if models::is_quantile(row) {
                independent_trials(shares, *trial_count, RARE_CONFIDENCE)
            } else {
                *trial_count as f64
            };
            let is_rare = expected * trials < RARE_MAX * run_count;
            (is_rare || row.expected == 0.0).then(|| Chance {
                expected,
                simulated: shares.iter().sum::<f64>() / run_count,
                interval: clustered_binomial_interval(shares, *trial_count, RARE_CONFIDENCE),
            })
        }
        _ => None,
    };
    let agreement = match (row.kind, chance) {
        (Kind::Approx, _) => Agreement::Shown,
        (Kind::Bound, _) => pass(simulated.mean <= row.expected + half_width),
        (Kind::Exact, Some(Chance { expected, interval: (low, high), .. })) => {
            pass(low <= expected && (expected <= high || row.expected == 0.0))
        }
        // No interval is within 1 % of nothing: such a number holds exactly or is not settled.
        (Kind::Exact, None) if row.expected == 0.0 && error == 0.0 => Agreement::Pass,
        (Kind::Exact, None) if row.expected == 0.0 => Agreement::Unknown,
        (Kind::Exact, None) if budget.half_width * row.expected < half_width => Agreement::Unknown,
        (Kind::Exact, None) => pass(error <= half_width + budget.slack * row.expected),
    };
    Line { row: row.clone(), simulated, chance, agreement }
}

const fn pass(holds: bool) -> Agreement {
    if holds { Agreement::Pass } else { Agreement::Fail }
}

/// So many seeds at least make an interval.
const SEEDS_MIN: u32 = 10;

/// What is expected to happen fewer times than this in a run is judged as a chance.
const RARE_MAX: f64 = 100.0;

/// The confidence at which it is: a half-width of 1 % and 0.5 % on top are 1.5 × 1.96 standard
/// deviations, beyond which chance goes in 3 of 1000 cases.
const RARE_CONFIDENCE: f64 = 0.997;

#[cfg(test)]
mod tests {
    use super::*;

    fn row(metric: &str, expected: f64) -> Row {
        Row { metric: metric.into(), expected, kind: Kind::Exact }
    }

    /// Twenty runs of 1000 trials around `value`, in which the share `share` came true.
    fn samples(value: f64, spread: f64, share: f64) -> Samples {
        let around = |i: u32| f64::from(i % 5) - 2.0;
        Samples {
            values: (0..20).map(|i| value + spread * around(i)).collect(),
            shares: (0..20).map(|i| share + 1e-3 * share * around(i)).collect(),
            trial_count: 20_000,
        }
    }

    fn verdict(row: &Row, samples: &Samples) -> Agreement {
        let controls = vec![Vec::new(); samples.values.len()];
        judge(row, samples, &controls, &Budget::default()).agreement
    }

    #[test]
    fn a_number_passes_within_its_interval_and_half_a_percent() {
        let exact = row("W", 10.0);
        assert_eq!(verdict(&exact, &samples(10.04, 0.01, 0.0)), Agreement::Pass);
        assert_eq!(verdict(&exact, &samples(10.07, 0.01, 0.0)), Agreement::Fail);
        assert_eq!(verdict(&exact, &samples(10.04, 0.5, 0.0)), Agreement::Unknown);
        assert_eq!(verdict(&exact, &samples(12.0, 0.5, 0.0)), Agreement::Unknown);
        let bound = Row { kind: Kind::Bound, ..exact.clone() };
        assert_eq!(verdict(&bound, &samples(9.0, 0.01, 0.0)), Agreement::Pass);
        assert_eq!(verdict(&bound, &samples(10.1, 0.01, 0.0)), Agreement::Fail);
        let approx = Row { kind: Kind::Approx, ..exact };
        assert_eq!(verdict(&approx, &samples(20.0, 0.01, 0.0)), Agreement::Shown);
    }

    #[test]
    fn what_is_rare_is_judged_by_the_binomial_interval() {
        // Of 20,000 trials, 60: within what 50 expected ones may be, and far from 200.
        let found = samples(0.003, 0.001, 0.003);
        assert_eq!(verdict(&row("P7", 0.0025), &found), Agreement::Pass);
        assert_eq!(verdict(&row("P7", 0.01), &found), Agreement::Fail);
        // Two hundred in each run are not rare.
        assert_eq!(verdict(&row("P7", 0.2), &samples(0.2, 0.1, 0.2)), Agreement::Unknown);
        // A quantile with 50 of the 1000 messages of a run beyond it goes by their share.
        assert_eq!(verdict(&row("T_p95", 3.0), &samples(3.2, 1.0, 0.05)), Agreement::Pass);
        assert_eq!(verdict(&row("T_p95", 3.0), &samples(3.2, 1.0, 0.07)), Agreement::Fail);
    }

    #[test]
    fn a_quantile_goes_by_the_share_where_long_waits_come_together() {
        // A fifth of 1000 messages are beyond it in each run; or all of those of four runs in 20.
        let quantile = row("T_p80", 3.0);
        let even = samples(3.2, 0.01, 0.2);
        assert_eq!(verdict(&quantile, &even), Agreement::Fail);
        let shares = (0..20).map(|i| if i < 4 { 1.0 } else { 0.0 }).collect();
        assert_eq!(verdict(&quantile, &Samples { shares, ..even }), Agreement::Pass);
        // A probability is the mean of its runs either way.
        let shares = (0..20).map(|i| if i < 4 { 1.0 } else { 0.0 }).collect();
        let lumpy = Samples { shares, ..samples(0.22, 0.0001, 0.2) };
        assert_eq!(verdict(&row("P7", 0.2), &lumpy), Agreement::Fail);
    }

    #[test]
    fn a_quantile_of_nothing_holds_if_no_more_messages_wait() {
        // A sample's quantile is on the atom or just beside it: that says nothing.
        let median = row("Wq_p50", 0.0);
        assert_eq!(verdict(&median, &samples(0.01, 0.005, 0.5)), Agreement::Pass);
        assert_eq!(verdict(&median, &samples(0.0, 0.0, 0.1)), Agreement::Pass);
        assert_eq!(verdict(&median, &samples(0.01, 0.005, 0.6)), Agreement::Fail);
    }

    #[test]
    fn what_an_interval_still_needs_goes_by_its_square() {
        let found = samples(10.0, 0.5, 0.0);
        let controls = vec![Vec::new(); 20];
        let line = judge(&row("W", 10.0), &found, &controls, &Budget::default());
        let half_width = line.simulated.high - line.simulated.mean;
        let ratio = half_width / 0.1;
        assert!((line.times_needed() - ratio * ratio).abs() < 1e-9);
    }

    #[test]
    fn messages_that_came_and_the_work_they_brought_are_controls_around_zero() {
        let experiment = |seed| {
            let text = r#"variants = [{ amqp_classic = { prefetch = 1 } }]
                producers = { load = { open = { poisson = "10/s" } } }
                consumers = { count = 1 }
                messages = { tasks = [{ name = "work", service = { exponential = { mean = "50ms" } } }] }
                horizon = "30s"
                drain = "0s""#;
            Experiment::new(text).run(Seed(seed)).controls
        };
        let all: Vec<Vec<f64>> = (0..100).map(experiment).collect();
        for control in 0..2 {
            let values: Vec<f64> = all.iter().map(|controls| controls[control]).collect();
            let estimate = Estimate::of(&values).unwrap();
            // Three standard deviations: the mean of a hundred runs is no further from 0 by chance.
            assert!(estimate.mean.abs() < 1.5 * (estimate.high - estimate.mean), "{estimate:?}");
        }
    }
}
