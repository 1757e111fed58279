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
//! spent, and then that number is unknown. It passes if the mean is no further from the expected value than
//! half the interval and 0.5 %.

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
use crate::record::statistics::{Estimate, binomial_interval};

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
    /// Whether they agree.
    pub agreement: Agreement,
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

    fn run(&self, seed: Seed) -> Outcome {
        self.simulate(seed, Watch::default())
    }

    fn run_keeping_times(&self, seed: Seed) -> Outcome {
        self.simulate(seed, Watch { times: true, ..Watch::default() })
    }

    fn simulate(&self, seed: Seed, watch: Watch) -> Outcome {
        let setup = Setup { config: &self.config, around: &self.around };
        let choice: &Choice = &self.config.variants[0];
        simulate_watched(choice, setup, seed, watch).expect("the choice was checked")
    }
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

/// Simulates `case` as far as `budget` allows.
///
/// # Errors
/// Where its model is unknown, a parameter is missing or wrong, or a metric is none of its model.
pub fn validate(case: &Case, budget: &Budget) -> Result<Validation, String> {
    let model = models::MODELS.iter().find(|model| model.name == case.model).ok_or_else(|| {
        format!("unknown model `{}`, expected one of {}", case.model, models().join(", "))
    })?;
    let params = Params::read(&case.params)?;
    let mut values: Vec<Vec<f64>> = vec![Vec::new(); case.rows.len()];
    let (mut event_count, mut seed_count, mut trial_count) = (0, 0, 0);
    loop {
        seed_count += 1;
        let outcomes = (model.run)(&params, Seed(seed_count.into()))?;
        event_count += outcomes.iter().map(|outcome| outcome.record.event_count).sum::<u64>();
        trial_count += outcomes[0].judge.tally.within.offered;
        for (row, values) in case.rows.iter().zip(&mut values) {
            let value = (model.measure)(&row.metric, &params, &outcomes);
            values.push(
                value.ok_or_else(|| format!("`{}` has no metric `{}`", case.model, row.metric))?,
            );
        }
        let each = event_count / u64::from(seed_count);
        let is_spent = budget.event_count_max < event_count + each;
        if seed_count < SEEDS_MIN && !is_spent {
            continue;
        }
        let lines: Vec<Line> = case
            .rows
            .iter()
            .zip(&values)
            .map(|(row, values)| judge(row, values, trial_count, budget))
            .collect();
        let is_settled = lines.iter().all(|line| line.agreement != Agreement::Unknown);
        if is_settled || is_spent {
            return Ok(Validation { lines, event_count, seed_count });
        }
    }
}

/// Judges one number by its values under several seeds.
fn judge(row: &Row, values: &[f64], trial_count: u64, budget: &Budget) -> Line {
    let simulated = Estimate::of(values).expect("there is a value for each seed");
    let half_width = simulated.high - simulated.mean;
    let error = (simulated.mean - row.expected).abs();
    let is_near = error <= half_width + budget.slack * row.expected;
    let is_rare =
        models::is_probability(&row.metric) && row.expected * (trial_count as f64) < RARE_MAX;
    let agreement = match row.kind {
        Kind::Approx => Agreement::Shown,
        Kind::Bound if simulated.mean <= row.expected + half_width => Agreement::Pass,
        Kind::Bound => Agreement::Fail,
        Kind::Exact if is_rare => {
            let hits = (simulated.mean * trial_count as f64 + 0.5) as u64;
            let (low, high) = binomial_interval(hits.min(trial_count), trial_count);
            pass(low <= row.expected && row.expected <= high)
        }
        // No interval is within 1 % of nothing: such a number holds exactly or is not settled.
        Kind::Exact if row.expected == 0.0 && error == 0.0 => Agreement::Pass,
        Kind::Exact if row.expected == 0.0 => Agreement::Unknown,
        Kind::Exact if budget.half_width * row.expected < half_width => Agreement::Unknown,
        Kind::Exact => pass(is_near),
    };
    Line { row: row.clone(), simulated, agreement }
}

const fn pass(holds: bool) -> Agreement {
    if holds { Agreement::Pass } else { Agreement::Fail }
}

/// So many seeds at least make an interval.
const SEEDS_MIN: u32 = 10;

/// What is expected to happen fewer times than this has no interval of its own.
const RARE_MAX: f64 = 100.0;
