//! Load: when clients want something, how long they wait for it, and how they try again.

use crate::choice::About;
use crate::config;
use crate::config::{DataFile, Problems, Rate, Value};
use crate::kernel::rng::{Rng, Seed};
use crate::kernel::time::{SimDuration, SimTime};

use super::dist::{Dist, Sampler};

config! {
    /// When clients want something.
    pub enum LoadConfig {
        /// At instants that do not depend on how the system fares: users who do not know of each
        /// other. Latency counts from these instants.
        "open" => Open(ArrivalsConfig),
        /// Each client waits for its answer, thinks, and asks again.
        "closed" => Closed(ClosedConfig),
    }
}

config! {
    /// The instants of an open load.
    pub enum ArrivalsConfig {
        /// Equally far apart.
        "constant" => Constant(Rate),
        /// At random, independent of each other.
        "poisson" => Poisson(Rate),
        /// Apart by draws from a distribution.
        "renewal" => Renewal(Dist),
        /// Quiet and busy phases in turn, at random (a Markov-modulated Poisson process).
        "bursty" => Bursty(BurstyConfig),
        /// Several at the same instant, the instants at random.
        "batches" => Batches(BatchesConfig),
        /// As recorded.
        "trace" => Trace(TraceConfig),
    }
}

config! {
    /// Quiet and busy phases in turn.
    pub struct BurstyConfig {
        /// The rate in a quiet phase.
        pub quiet: Rate,
        /// The rate in a busy phase.
        pub busy: Rate,
        /// How long a quiet phase is on average.
        pub quiet_for: SimDuration,
        /// How long a busy phase is on average.
        pub busy_for: SimDuration,
    }
    check Self::check;
}

config! {
    /// Several arrivals at the same instant.
    pub struct BatchesConfig {
        /// How often a batch comes on average.
        pub rate: Rate,
        /// How many arrivals a batch has.
        pub size: u32 => 1..=1_000_000,
    }
}

config! {
    /// Recorded arrivals.
    pub struct TraceConfig {
        /// A CSV file with the column `arrival_ms`, and `service_ms` where the work was recorded.
        pub file: DataFile,
    }
    check Self::check;
}

config! {
    /// A closed load.
    pub struct ClosedConfig {
        /// How long a client thinks between an answer and its next request.
        pub think: Dist,
    }
}

config! {
    /// How long a client waits for an answer, and how it tries again.
    pub struct RetryConfig {
        /// After how long it gives an attempt up; left out, never.
        pub timeout: Option<SimDuration> = None,
        /// How many attempts follow the first.
        pub retries: u32 = 0 => 0..=1_000_000,
        /// The pause before the second attempt.
        pub backoff: SimDuration = SimDuration::from_ms(100),
        /// How many times longer each further pause is.
        pub factor: f64 = 2.0 => 1.0..=1000.0,
        /// The longest pause.
        pub backoff_max: SimDuration = SimDuration::from_secs(10),
        /// How a pause is varied, so that clients do not try again in step.
        pub jitter: Jitter = Jitter::Full,
    }
}

config! {
    /// How a pause is varied (Brooker, "Exponential Backoff And Jitter", 2015).
    pub enum Jitter {
        /// Not at all.
        "none" => None,
        /// Uniform from nothing to the whole.
        "full" => Full,
        /// Half of it, and uniform up to the whole.
        "equal" => Equal,
    }
}

/// What `list` tells of arrival processes.
pub const CATALOGUE: &[About] = &[
    about("constant", "equally far apart"),
    about("poisson", "at random, independent of each other"),
    about("renewal", "apart by draws from a distribution"),
    about("bursty", "quiet and busy phases in turn"),
    about("batches", "several at the same instant"),
    about("trace", "as recorded in a CSV file"),
];

const fn about(name: &'static str, summary: &'static str) -> About {
    About { name, summary, source: "model/load.rs", version: "" }
}

/// The arrivals of one client, one after the other.
#[derive(Clone, Debug)]
pub struct Arrivals {
    process: Process,
    at: SimTime,
    rng: Rng,
}

#[derive(Clone, Debug)]
enum Process {
    Constant { gap: SimDuration },
    Poisson { mean_ns: f64 },
    Renewal(Sampler),
    Bursty(Bursty),
    Batches { mean_ns: f64, size: u32, left: u32 },
    Trace { rows: Vec<(SimTime, Option<SimDuration>)>, next: usize },
    Never,
}

#[derive(Clone, Debug)]
struct Bursty {
    mean_ns: [f64; 2],
    phase_ns: [f64; 2],
    is_busy: usize,
    phase_ends: SimTime,
}

/// One arrival.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// When.
    pub at: SimTime,
    /// The work that it brings, where a trace recorded it.
    pub service: Option<SimDuration>,
}

impl ArrivalsConfig {
    /// The arrivals at `entity`, from the stream of that name. With `share` clients alike, each
    /// gets its part of the rate, or every `share`-th row of a trace beginning with row `index`.
    pub fn arrivals(&self, seed: Seed, entity: &str, index: u32, share: u32) -> Arrivals {
        let share_f64 = f64::from(share);
        let mut rng = seed.stream("arrivals", entity);
        let mut at = SimTime::ZERO;
        let process = match self {
            Self::Constant(rate) => match gap_ns(*rate, share_f64) {
                Some(gap_ns) => {
                    // Clients alike are spread evenly over the first gap.
                    let lead = gap_ns * f64::from(index) / share_f64;
                    at = SimTime::ZERO + SimDuration::from_ns_f64(lead);
                    Process::Constant { gap: SimDuration::from_ns_f64(gap_ns) }
                }
                None => Process::Never,
            },
            Self::Poisson(rate) => gap_ns(*rate, share_f64)
                .map_or(Process::Never, |mean_ns| Process::Poisson { mean_ns }),
            Self::Renewal(gap) => Process::Renewal(gap.sampler()),
            Self::Bursty(config) => {
                let mean = |rate| gap_ns(rate, share_f64).unwrap_or(f64::INFINITY);
                let phase_ns = [config.quiet_for.as_ns() as f64, config.busy_for.as_ns() as f64];
                let first = SimDuration::from_ns_f64(phase_ns[0] * rng.exponential());
                Process::Bursty(Bursty {
                    mean_ns: [mean(config.quiet), mean(config.busy)],
                    phase_ns,
                    is_busy: 0,
                    phase_ends: SimTime::ZERO + first,
                })
            }
            Self::Batches(config) => {
                gap_ns(config.rate, share_f64).map_or(Process::Never, |mean_ns| Process::Batches {
                    mean_ns,
                    size: config.size,
                    left: 0,
                })
            }
            Self::Trace(config) => {
                let rows = config
                    .rows(&mut Problems::default())
                    .expect("the trace was read without a problem when the scenario was checked");
                let own = rows.into_iter().skip(index as usize).step_by(share as usize).collect();
                Process::Trace { rows: own, next: 0 }
            }
        };
        Arrivals { process, at, rng }
    }

    /// How many arrivals a second on average, for estimates of cost; 0 where unknown.
    pub fn mean_rate(&self) -> f64 {
        match self {
            Self::Constant(rate) | Self::Poisson(rate) => rate.as_per_second(),
            Self::Renewal(gap) => 1e9 / gap.mean_ns().max(1.0),
            Self::Bursty(c) => {
                let [quiet, busy] = [c.quiet_for.as_secs_f64(), c.busy_for.as_secs_f64()];
                (c.quiet.as_per_second() * quiet + c.busy.as_per_second() * busy) / (quiet + busy)
            }
            Self::Batches(c) => c.rate.as_per_second() * f64::from(c.size),
            Self::Trace(_) => 0.0,
        }
    }
}

fn gap_ns(rate: Rate, share: f64) -> Option<f64> {
    (0.0 < rate.as_per_second()).then(|| 1e9 * share / rate.as_per_second())
}

impl Arrivals {
    /// The next arrival; `None` when there are no more.
    pub fn next_arrival(&mut self) -> Option<Arrival> {
        let rng = &mut self.rng;
        let mut service = None;
        match &mut self.process {
            Process::Never => return None,
            Process::Constant { gap } => {
                let at = self.at;
                self.at = at + *gap;
                return Some(Arrival { at, service });
            }
            Process::Poisson { mean_ns } => self.at = self.at + exponential(*mean_ns, rng),
            Process::Renewal(gap) => self.at = self.at + gap.draw(rng),
            Process::Bursty(bursty) => self.at = bursty.next(self.at, rng)?,
            Process::Batches { mean_ns, size, left } => {
                if *left == 0 {
                    self.at = self.at + exponential(*mean_ns, rng);
                    *left = *size;
                }
                *left -= 1;
            }
            Process::Trace { rows, next } => {
                (self.at, service) = *rows.get(*next)?;
                *next += 1;
            }
        }
        Some(Arrival { at: self.at, service })
    }
}

fn exponential(mean_ns: f64, rng: &mut Rng) -> SimDuration {
    SimDuration::from_ns_f64(mean_ns * rng.exponential())
}

impl Bursty {
    fn next(&mut self, mut at: SimTime, rng: &mut Rng) -> Option<SimTime> {
        // Memoryless: what is left of a gap at the end of a phase is drawn anew in the next one.
        const PHASES_MAX: u32 = 1_000_000;
        for _ in 0..PHASES_MAX {
            let mean_ns = self.mean_ns[self.is_busy];
            let next =
                if mean_ns.is_finite() { at + exponential(mean_ns, rng) } else { SimTime::END };
            if next < self.phase_ends {
                return Some(next);
            }
            at = self.phase_ends;
            self.is_busy = 1 - self.is_busy;
            self.phase_ends = at + exponential(self.phase_ns[self.is_busy], rng);
        }
        None
    }
}

impl TraceConfig {
    fn rows(&self, problems: &mut Problems) -> Option<Vec<(SimTime, Option<SimDuration>)>> {
        let has_service = self
            .file
            .text
            .lines()
            .next()
            .is_some_and(|head| head.split(',').any(|column| column.trim() == "service_ms"));
        let columns: &[&str] =
            if has_service { &["arrival_ms", "service_ms"] } else { &["arrival_ms"] };
        let ms = |ms: f64| SimDuration::from_ns_f64(ms * 1e6);
        let mut rows = Vec::new();
        for row in self.file.rows(columns, problems)? {
            let at = SimTime::ZERO + ms(row.number(0, problems)?);
            let service = if has_service { Some(ms(row.number(1, problems)?)) } else { None };
            if rows.last().is_some_and(|&(last, _)| at < last) {
                problems.add(row.place, "this arrival is earlier than the one above it");
                return None;
            }
            rows.push((at, service));
        }
        Some(rows)
    }

    fn check(&self, _: &Value, problems: &mut Problems) {
        self.rows(problems);
    }
}

impl BurstyConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.quiet_for == SimDuration::ZERO || self.busy_for == SimDuration::ZERO {
            problems.add(value.place, "`quiet_for` and `busy_for` must be longer than nothing");
        }
    }
}

impl RetryConfig {
    /// The pause before attempt number `attempt` (the first retry is 1).
    pub fn pause(&self, attempt: u32, rng: &mut Rng) -> SimDuration {
        let mut pause_ns = self.backoff.as_ns() as f64;
        let longest_ns = self.backoff_max.as_ns() as f64;
        for _ in 1..attempt {
            if longest_ns <= pause_ns {
                break;
            }
            pause_ns *= self.factor;
        }
        let pause_ns = pause_ns.min(longest_ns);
        // One draw whatever the jitter, so that changing it moves no other draw.
        let unit = rng.unit();
        SimDuration::from_ns_f64(match self.jitter {
            Jitter::None => pause_ns,
            Jitter::Full => pause_ns * unit,
            Jitter::Equal => pause_ns * (0.5 + 0.5 * unit),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_in(config: &ArrivalsConfig, horizon_s: u64) -> usize {
        let mut arrivals = config.arrivals(Seed(3), "client", 0, 1);
        let end = SimTime::ZERO + SimDuration::from_secs(horizon_s);
        std::iter::from_fn(|| arrivals.next_arrival()).take_while(|a| a.at < end).count()
    }

    #[test]
    fn every_process_brings_its_mean_rate() {
        let rate = |per_second| Rate::per_second(per_second).unwrap();
        for config in [
            ArrivalsConfig::Constant(rate(50.0)),
            ArrivalsConfig::Poisson(rate(50.0)),
            ArrivalsConfig::Renewal(Dist::exponential(SimDuration::from_ms(20))),
            ArrivalsConfig::Batches(BatchesConfig { rate: rate(10.0), size: 5 }),
            ArrivalsConfig::Bursty(BurstyConfig {
                quiet: rate(0.0),
                busy: rate(100.0),
                quiet_for: SimDuration::from_ms(500),
                busy_for: SimDuration::from_ms(500),
            }),
        ] {
            assert!((config.mean_rate() - 50.0).abs() < 1e-9);
            let found = count_in(&config, 2000) as f64 / 2000.0;
            assert!((found - 50.0).abs() < 2.0, "{config:?}: {found} a second");
        }
    }

    #[test]
    fn a_rate_of_zero_brings_nobody() {
        assert_eq!(count_in(&ArrivalsConfig::Poisson(Rate::per_second(0.0).unwrap()), 10), 0);
    }

    #[test]
    fn pauses_grow_to_their_limit_and_jitter_only_shortens_them() {
        let mut retry = RetryConfig {
            timeout: None,
            retries: 9,
            backoff: SimDuration::from_ms(100),
            factor: 2.0,
            backoff_max: SimDuration::from_ms(500),
            jitter: Jitter::None,
        };
        let mut rng = Seed(1).stream("test", "retry");
        let pauses: Vec<_> = (1..=4).map(|attempt| retry.pause(attempt, &mut rng)).collect();
        assert_eq!(pauses, [100, 200, 400, 500].map(SimDuration::from_ms));
        retry.jitter = Jitter::Equal;
        for attempt in 1..=9 {
            let pause = retry.pause(attempt, &mut rng);
            assert!(SimDuration::from_ms(50) <= pause && pause <= SimDuration::from_ms(500));
        }
    }
}
