//! How long something takes: distributions of durations, drawn with software arithmetic only.
//!
//! One draw of each takes a fixed number of words from its stream where it can, so that changing
//! one distribution moves no other draw.

use std::sync::Arc;

use serde_json::Value as Json;

use crate::choice::About;
use crate::config;
use crate::config::{Config, DataFile, Problems, Value, ValueKind};
use crate::kernel::rng::{Probability, Rng};
use crate::kernel::time::SimDuration;

/// A distribution of durations, as a scenario writes it. A bare duration is a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Dist(pub DistKind);

config! {
    /// A distribution of durations.
    pub enum DistKind {
        /// Always the same.
        "constant" => Constant(SimDuration),
        /// Between two bounds, each value as likely.
        "uniform" => Uniform(UniformDist),
        /// A minimum and an exponential part on top.
        "exponential" => Exponential(ExponentialDist),
        /// The sum of several exponential stages: less spread than exponential.
        "erlang" => Erlang(ErlangDist),
        /// One of several exponential branches: more spread than exponential.
        "hyper_exponential" => HyperExponential(BranchesDist),
        /// Log-normal: its logarithm is normal. Long service times and wide-area delays.
        "log_normal" => LogNormal(LogNormalDist),
        /// Pareto: a power-law tail.
        "pareto" => Pareto(ParetoDist),
        /// One of several fixed values.
        "values" => Values(BranchesDist),
        /// Drawn from measured values, each row of a CSV file as likely.
        "empirical" => Empirical(Measured),
    }
}

config! {
    /// Between two bounds, each value as likely.
    pub struct UniformDist {
        /// The least.
        pub min: SimDuration,
        /// The most.
        pub max: SimDuration,
    }
    check Self::check;
}

config! {
    /// A minimum and an exponential part on top.
    pub struct ExponentialDist {
        /// The mean of the whole.
        pub mean: SimDuration,
        /// The least.
        pub min: SimDuration = SimDuration::ZERO,
    }
    check Self::check;
}

config! {
    /// The sum of several exponential stages.
    pub struct ErlangDist {
        /// The mean of the whole.
        pub mean: SimDuration,
        /// How many stages.
        pub stages: u32 => 1..=1000,
    }
}

config! {
    /// Several branches, of which one is taken.
    pub struct BranchesDist {
        /// The branches; their chances add up to 1.
        pub branches: Vec<Branch>,
    }
    check Self::check;
}

config! {
    /// One of several branches.
    pub struct Branch {
        /// How likely it is.
        pub chance: Probability,
        /// Its value, or the mean of its exponential.
        pub mean: SimDuration,
    }
}

config! {
    /// Log-normal.
    pub struct LogNormalDist {
        /// Half of the values are below.
        pub median: SimDuration,
        /// The standard deviation of the natural logarithm: 0.5 is mild, 1.5 is wild.
        pub sigma: f64 => 0.0..=10.0,
    }
}

config! {
    /// Pareto.
    pub struct ParetoDist {
        /// The least.
        pub min: SimDuration,
        /// The exponent of the tail; at most 1 has no mean, at most 2 no variance.
        pub alpha: f64 => 0.05..=1000.0,
    }
}

config! {
    /// Where measured values stand.
    pub struct EmpiricalDist {
        /// A CSV file with a head line, relative to the scenario.
        pub file: DataFile,
        /// Which column holds the values.
        pub column: String,
        /// What a 1 in the file stands for.
        pub unit: SimDuration = SimDuration::from_ms(1),
    }
}

/// Measured values, and where they stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    source: EmpiricalDist,
    // In nanoseconds; never empty.
    values: Arc<[u64]>,
}

/// What `list distributions` tells.
pub const CATALOGUE: &[About] = &[
    about("constant", "always the same", "-"),
    about("uniform", "between two bounds, each value as likely", "inversion"),
    about("exponential", "memoryless, on top of a minimum", "ziggurat, Marsaglia and Tsang 2000"),
    about("erlang", "a sum of exponential stages", "sum of exponentials"),
    about("hyper_exponential", "one of several exponential branches", "composition"),
    about("log_normal", "its logarithm is normal", "exp of a ziggurat normal"),
    about("pareto", "a power-law tail", "inversion"),
    about("values", "one of several fixed values", "composition"),
    about("empirical", "drawn from the measured values of a CSV column", "resampling"),
];

const fn about(name: &'static str, summary: &'static str, source: &'static str) -> About {
    About { name, summary, source, version: "" }
}

impl Dist {
    /// Always `duration`.
    pub const fn constant(duration: SimDuration) -> Self {
        Self(DistKind::Constant(duration))
    }

    /// Exponential with this mean.
    pub const fn exponential(mean: SimDuration) -> Self {
        Self(DistKind::Exponential(ExponentialDist { mean, min: SimDuration::ZERO }))
    }

    /// Makes the distribution ready to draw from.
    pub fn sampler(&self) -> Sampler {
        match &self.0 {
            DistKind::Constant(duration) => Sampler::Constant(*duration),
            DistKind::Uniform(d) => {
                Sampler::Uniform { min: d.min.as_ns(), width: d.max.as_ns() - d.min.as_ns() + 1 }
            }
            DistKind::Exponential(d) => Sampler::Exponential {
                min_ns: d.min.as_ns() as f64,
                mean_ns: (d.mean - d.min).as_ns() as f64,
            },
            DistKind::Erlang(d) => Sampler::Erlang {
                stages: d.stages,
                stage_ns: d.mean.as_ns() as f64 / f64::from(d.stages),
            },
            DistKind::HyperExponential(d) => Sampler::HyperExponential(d.branches.clone()),
            DistKind::Values(d) => Sampler::Values(d.branches.clone()),
            DistKind::LogNormal(d) => {
                Sampler::LogNormal { median_ns: d.median.as_ns() as f64, sigma: d.sigma }
            }
            DistKind::Pareto(d) => {
                Sampler::Pareto { min_ns: d.min.as_ns() as f64, power: -1.0 / d.alpha }
            }
            DistKind::Empirical(d) => Sampler::Empirical(Arc::clone(&d.values)),
        }
    }

    /// Its mean in nanoseconds, for estimates of cost; infinite where it has none.
    pub fn mean_ns(&self) -> f64 {
        match &self.0 {
            DistKind::Constant(duration) => duration.as_ns() as f64,
            DistKind::Uniform(d) => f64::midpoint(d.min.as_ns() as f64, d.max.as_ns() as f64),
            DistKind::Exponential(d) => d.mean.as_ns() as f64,
            DistKind::Erlang(d) => d.mean.as_ns() as f64,
            DistKind::HyperExponential(d) | DistKind::Values(d) => {
                d.branches.iter().map(|b| b.chance.as_f64() * b.mean.as_ns() as f64).sum()
            }
            DistKind::LogNormal(d) => d.median.as_ns() as f64 * libm::exp(d.sigma * d.sigma / 2.0),
            DistKind::Pareto(d) if d.alpha <= 1.0 => f64::INFINITY,
            DistKind::Pareto(d) => d.min.as_ns() as f64 * d.alpha / (d.alpha - 1.0),
            DistKind::Empirical(d) => {
                d.values.iter().map(|&v| v as f64).sum::<f64>() / d.values.len() as f64
            }
        }
    }
}

/// A distribution that is ready to draw from.
#[derive(Clone, Debug)]
pub enum Sampler {
    /// Always the same.
    Constant(SimDuration),
    /// `min + 0..width`.
    #[doc(hidden)]
    Uniform { min: u64, width: u64 },
    #[doc(hidden)]
    Exponential { min_ns: f64, mean_ns: f64 },
    #[doc(hidden)]
    Erlang { stages: u32, stage_ns: f64 },
    #[doc(hidden)]
    HyperExponential(Vec<Branch>),
    #[doc(hidden)]
    Values(Vec<Branch>),
    #[doc(hidden)]
    LogNormal { median_ns: f64, sigma: f64 },
    #[doc(hidden)]
    Pareto { min_ns: f64, power: f64 },
    #[doc(hidden)]
    Empirical(Arc<[u64]>),
}

impl Sampler {
    /// Draws a duration.
    pub fn draw(&self, rng: &mut Rng) -> SimDuration {
        match self {
            Self::Constant(duration) => *duration,
            Self::Uniform { min, width } => SimDuration::from_ns(min + rng.below(*width)),
            Self::Exponential { min_ns, mean_ns } => {
                SimDuration::from_ns_f64(min_ns + mean_ns * rng.exponential())
            }
            Self::Erlang { stages, stage_ns } => {
                let sum: f64 = (0..*stages).map(|_| rng.exponential()).sum();
                SimDuration::from_ns_f64(stage_ns * sum)
            }
            Self::HyperExponential(branches) => {
                let mean_ns = pick(branches, rng).as_ns() as f64;
                SimDuration::from_ns_f64(mean_ns * rng.exponential())
            }
            Self::Values(branches) => pick(branches, rng),
            Self::LogNormal { median_ns, sigma } => {
                SimDuration::from_ns_f64(median_ns * libm::exp(sigma * rng.normal()))
            }
            Self::Pareto { min_ns, power } => {
                SimDuration::from_ns_f64(min_ns * libm::pow(rng.unit(), *power))
            }
            Self::Empirical(values) => {
                SimDuration::from_ns(values[rng.below(values.len() as u64) as usize])
            }
        }
    }

    /// The value of a constant, which needs no stream.
    pub(super) fn draw_constant(&self) -> SimDuration {
        match self {
            Self::Constant(duration) => *duration,
            _ => unreachable!("only a constant can be drawn without a stream"),
        }
    }

    /// Whether it draws nothing, so that no stream need be opened for it.
    pub fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(_))
    }
}

fn pick(branches: &[Branch], rng: &mut Rng) -> SimDuration {
    let mut left = rng.unit();
    for branch in branches {
        left -= branch.chance.as_f64();
        if left < 0.0 {
            return branch.mean;
        }
    }
    // The chances add up to 1 only to the last bit.
    branches.last().expect("a distribution has a branch").mean
}

impl UniformDist {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.max < self.min {
            problems.add(
                value.place,
                format!("`max` ({}) is less than `min` ({})", self.max, self.min),
            );
        }
    }
}

impl ExponentialDist {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.mean < self.min {
            problems.add(
                value.place,
                format!("`mean` ({}) is less than `min` ({})", self.mean, self.min),
            );
        }
    }
}

impl BranchesDist {
    fn check(&self, value: &Value, problems: &mut Problems) {
        let sum: f64 = self.branches.iter().map(|branch| branch.chance.as_f64()).sum();
        if 1e-9 < (sum - 1.0).abs() {
            problems.add(value.place, format!("the chances add up to {sum}, expected 1"));
        }
    }
}

impl Config for Measured {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let source = EmpiricalDist::read(value, problems)?;
        let rows = source.file.rows(&[&source.column], problems)?;
        let unit_ns = source.unit.as_ns() as f64;
        let values: Vec<Option<u64>> = rows
            .iter()
            .map(|row| Some(SimDuration::from_ns_f64(row.number(0, problems)? * unit_ns).as_ns()))
            .collect();
        let values: Option<Vec<u64>> = values.into_iter().collect();
        Some(Self { source, values: values?.into() })
    }

    fn schema() -> Json {
        EmpiricalDist::schema()
    }

    fn write(&self) -> Json {
        self.source.write()
    }
}

impl Config for Dist {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            ValueKind::Text(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                SimDuration::read(value, problems).map(Self::constant)
            }
            _ => DistKind::read(value, problems).map(Self),
        }
    }

    fn schema() -> Json {
        let mut schema = DistKind::schema();
        if let Some(Json::Array(cases)) = schema.get_mut("oneOf") {
            cases.push(SimDuration::schema());
        }
        schema
    }

    fn write(&self) -> Json {
        match &self.0 {
            DistKind::Constant(duration) => duration.write(),
            kind => kind.write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Seed;

    fn read(text: &str) -> Result<Dist, Vec<String>> {
        let mut problems = Problems::default();
        let table = Value::parse(&format!("d = {text}"), 0, &mut problems);
        let ValueKind::Table(table) = &table.kind else { unreachable!("a file is a table") };
        let dist = Dist::read(table.get("d").expect("it was written"), &mut problems);
        match dist {
            Some(dist) if problems.is_empty() => Ok(dist),
            _ => Err(problems.into_sorted().into_iter().map(|p| p.message).collect()),
        }
    }

    #[test]
    fn the_mean_of_many_draws_is_the_mean_that_the_distribution_names() {
        for text in [
            r#""3ms""#,
            r#"{ uniform = { min = "1ms", max = "5ms" } }"#,
            r#"{ exponential = { mean = "3ms", min = "1ms" } }"#,
            r#"{ erlang = { mean = "3ms", stages = 4 } }"#,
            r#"{ hyper_exponential = { branches = [{ chance = "90%", mean = "1ms" }, { chance = "10%", mean = "21ms" }] } }"#,
            r#"{ values = { branches = [{ chance = "50%", mean = "1ms" }, { chance = "50%", mean = "5ms" }] } }"#,
            r#"{ log_normal = { median = "3ms", sigma = 0.5 } }"#,
            r#"{ pareto = { min = "2ms", alpha = 3 } }"#,
        ] {
            let dist = read(text).unwrap();
            let sampler = dist.sampler();
            let mut rng = Seed(7).stream("test", text);
            let count = 200_000;
            let sum: f64 = (0..count).map(|_| sampler.draw(&mut rng).as_ns() as f64).sum();
            let (found, expected) = (sum / f64::from(count), dist.mean_ns());
            assert!((found / expected - 1.0).abs() < 0.02, "{text}: {found} and not {expected}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let wrong = read(r#"{ uniform = { min = "5ms", max = "1ms" } }"#).unwrap_err();
        assert_eq!(wrong, ["`max` (1ms) is less than `min` (5ms)"]);
        let wrong = read(r"{ gaussian = {} }").unwrap_err();
        assert!(wrong[0].starts_with("unknown name `gaussian`, expected `constant`"), "{wrong:?}");
        assert!(read("\"3\"").unwrap_err()[0].contains("expected a duration with a unit"));
    }

    #[test]
    fn empirical_values_are_drawn_alike() {
        let sampler = Sampler::Empirical(Arc::from([10, 20, 30]));
        let mut rng = Seed(1).stream("test", "empirical");
        let mut seen = [0_u32; 3];
        for _ in 0..30_000 {
            seen[(sampler.draw(&mut rng).as_ns() / 10 - 1) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (9_500..10_500).contains(&count)), "{seen:?}");
    }
}
