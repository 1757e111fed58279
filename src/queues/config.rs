//! What a scenario says in `[experiment.queues]`.

use serde_json::{Value as Json, json};

use crate::choice::Choice;
use crate::config;
use crate::config::{Bytes, Config, Name, Problems, Rate, Value, ValueKind};
use crate::kernel::rng::{Probability, Rng};
use crate::kernel::time::SimDuration;
use crate::model::dist::Dist;
use crate::model::load::{ArrivalsConfig, LoadConfig, RetryConfig};
use crate::model::popularity::Popularity;
use crate::model::station::StationConfig;

config! {
    /// Producers, brokers and consumers.
    pub struct QueuesConfig {
        /// The queues to compare.
        pub variants: Vec<Choice>,
        /// How many brokers there are. What does not replicate uses the first.
        pub brokers: u32 = 1 => 1..=9,
        /// What a broker needs to take a message in; left out, no time.
        pub broker: Option<StationConfig> = None,
        /// How long a disk takes to sync.
        pub sync: Dist = Dist::constant(SimDuration::from_ms(2)),
        /// Who sends messages.
        pub producers: ProducersConfig = ProducersConfig::default(),
        /// Who takes them.
        pub consumers: ConsumersConfig = ConsumersConfig::default(),
        /// What they are.
        pub messages: MessagesConfig = MessagesConfig::default(),
        /// For how long messages are sent.
        pub horizon: SimDuration = SimDuration::from_secs(60),
        /// For how long the system may work off what is left then.
        pub drain: SimDuration = SimDuration::from_secs(30),
        /// A message that is done later than so long after it was meant to be sent is no good any
        /// more; left out, as long as its caller waits.
        pub deadline: Option<SimDuration> = None,
    }
    check Self::check;
}

config! {
    /// Who sends messages.
    pub struct ProducersConfig {
        /// How many producers there are.
        pub count: u32 = 1 => 1..=10_000,
        /// When they send.
        pub load: LoadConfig = LoadConfig::Open(ArrivalsConfig::Poisson(fifty_a_second())),
        /// What a sender waits for, where it waits.
        pub answer: Answer = Answer::Confirm,
        /// How long it waits, and how it tries again.
        pub retry: RetryConfig = RetryConfig {
            timeout: None,
            retries: 0,
            backoff: SimDuration::ZERO,
            factor: 2.0,
            backoff_max: SimDuration::from_secs(10),
            jitter: crate::model::load::Jitter::None,
        },
    }
}

config! {
    /// What a sender waits for.
    pub enum Answer {
        /// That the broker has the message; where the product tells nothing, that it was sent.
        "confirm" => Confirm,
        /// That the work is done, of which it hears at once.
        "result" => Result,
    }
}

config! {
    /// Who takes messages and does the work.
    pub struct ConsumersConfig {
        /// How many consumers there are.
        pub count: u32 = 2 => 1..=10_000,
        /// How many messages each works on at the same time: threads, or processes of its pool.
        pub concurrency: u32 = 1 => 1..=1_000_000,
        /// What each message costs a consumer beside its own work.
        pub overhead: SimDuration = SimDuration::ZERO,
        /// The chance that the work fails, each time anew.
        pub failure: Probability = Probability::ZERO,
        /// Whether doing the same work again takes as long again, or a time drawn anew.
        pub again: Again = Again::Same,
        /// Whether effects are idempotent: a store of effects, shared by all consumers and asked
        /// without delay, knows which were applied, and lets none be applied twice.
        pub idempotent: bool = false,
    }
}

config! {
    /// How long the same work takes the next time.
    pub enum Again {
        /// As long as the first time.
        "same" => Same,
        /// A time drawn anew.
        "anew" => Anew,
    }
}

config! {
    /// What the messages are.
    pub struct MessagesConfig {
        /// The tasks that they ask for; the chances add up to 1.
        pub tasks: Vec<TaskConfig> = TaskConfig::defaults(),
        /// How many bytes a body has.
        pub size: Sizes = Sizes::Constant(Bytes(256)),
        /// How many keys there are.
        pub keys: u64 = 1 => 1..=1_000_000_000,
        /// How often each key is used.
        pub popularity: Popularity = Popularity::Uniform,
        /// Priorities other than 0, the highest first; what is left of the chances has none.
        pub priorities: Vec<PriorityConfig> = Vec::new(),
        /// The time before which a message must not be begun, from when it was sent: a countdown.
        pub delay: Option<Dist> = None,
        /// How likely a message has such a time.
        pub delayed: Probability = Probability::ONE,
        /// How long a message is of use, from when it was stored.
        pub ttl: Option<Dist> = None,
        /// Messages that cannot be worked on.
        pub poison: Option<PoisonConfig> = None,
        /// Messages that take another time than their task says.
        pub long: Option<LongConfig> = None,
    }
    check Self::check;
}

config! {
    /// A kind of work.
    pub struct TaskConfig {
        /// What it is called.
        pub name: Name,
        /// The share of the messages that ask for it.
        pub chance: Probability = Probability::ONE,
        /// How long it takes.
        pub service: Dist,
    }
}

config! {
    /// A priority.
    pub struct PriorityConfig {
        /// More is more urgent.
        pub level: u32 => 1..=255,
        /// The share of the messages that have it.
        pub chance: Probability,
    }
}

config! {
    /// Messages that cannot be worked on.
    pub struct PoisonConfig {
        /// Which: numbers in the order of sending, from 0.
        pub numbers: Vec<u64>,
        /// What happens to whoever tries.
        pub effect: Poison = Poison::Fails,
    }
}

config! {
    /// Messages that take another time than their task says.
    pub struct LongConfig {
        /// Which: numbers in the order of sending, from 0.
        pub numbers: Vec<u64>,
        /// How long they take.
        pub service: SimDuration,
    }
}

config! {
    /// What happens to whoever works on poison.
    pub enum Poison {
        /// It fails, each time.
        "fails" => Fails,
        /// It is killed, each time.
        "kills" => Kills,
    }
}

/// A distribution of sizes. A bare size is a constant.
#[derive(Clone, Debug, PartialEq)]
pub enum Sizes {
    /// Always the same.
    Constant(Bytes),
    /// Between two bounds, each as likely.
    Uniform(UniformSizes),
    /// A minimum and an exponential part on top.
    Exponential(ExponentialSizes),
}

config! {
    /// Between two bounds, each as likely.
    pub struct UniformSizes {
        /// The least.
        pub min: Bytes,
        /// The most.
        pub max: Bytes,
    }
    check Self::check;
}

config! {
    /// A minimum and an exponential part on top.
    pub struct ExponentialSizes {
        /// The mean of the whole.
        pub mean: Bytes,
        /// The least.
        pub min: Bytes = Bytes(0),
    }
    check Self::check;
}

config! {
    /// The ways to write sizes.
    enum SizesKind {
        /// Always the same.
        "constant" => Constant(Bytes),
        /// Between two bounds, each as likely.
        "uniform" => Uniform(UniformSizes),
        /// A minimum and an exponential part on top.
        "exponential" => Exponential(ExponentialSizes),
    }
}

fn fifty_a_second() -> Rate {
    Rate::per_second(50.0).expect("fifty is finite and positive")
}

/// An empty table, for types of which every field has a default.
pub(super) fn from_nothing<T: Config>() -> T {
    let kind = ValueKind::Table(config::Table::default());
    let empty = Value { kind, place: config::Place::default() };
    T::read(&empty, &mut Problems::default()).expect("every field has a default")
}

impl Default for ProducersConfig {
    fn default() -> Self {
        from_nothing()
    }
}

impl Default for ConsumersConfig {
    fn default() -> Self {
        from_nothing()
    }
}

impl Default for MessagesConfig {
    fn default() -> Self {
        from_nothing()
    }
}

impl TaskConfig {
    /// The tasks of the source article, `add` and `mul`, alike.
    fn defaults() -> Vec<Self> {
        let half = Probability::ratio(1, 2).expect("a half is a chance");
        let task = |name: &str| Self {
            name: name.parse().expect("it is a name"),
            chance: half,
            service: Dist::exponential(SimDuration::from_ms(10)),
        };
        vec![task("add"), task("mul")]
    }
}

impl QueuesConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.horizon == SimDuration::ZERO {
            problems.add(value.place, "`horizon` must be longer than nothing");
        }
        let node_count = u64::from(self.producers.count) + u64::from(self.consumers.count);
        if NODES_MAX < node_count {
            let message =
                format!("found {node_count} producers and consumers, expected at most {NODES_MAX}");
            problems.add(value.place, message);
        }
    }
}

impl MessagesConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        let sum: f64 = self.tasks.iter().map(|task| task.chance.as_f64()).sum();
        if 1e-9 < (sum - 1.0).abs() {
            problems
                .add(value.place, format!("the chances of `tasks` add up to {sum}, expected 1"));
        }
        let sum: f64 = self.priorities.iter().map(|priority| priority.chance.as_f64()).sum();
        if 1.0 + 1e-9 < sum {
            let message =
                format!("the chances of `priorities` add up to {sum}, expected at most 1");
            problems.add(value.place, message);
        }
        if !self.priorities.windows(2).all(|pair| pair[1].level < pair[0].level) {
            problems.add(value.place, "`priorities` must be sorted, the highest level first");
        }
    }
}

impl UniformSizes {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.max < self.min {
            let message = format!("`max` ({}) is less than `min` ({})", self.max, self.min);
            problems.add(value.place, message);
        }
    }
}

impl ExponentialSizes {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.mean < self.min {
            let message = format!("`mean` ({}) is less than `min` ({})", self.mean, self.min);
            problems.add(value.place, message);
        }
    }
}

impl Sizes {
    /// Draws a size. One draw whatever the distribution.
    pub fn draw(&self, rng: &mut Rng) -> u32 {
        let bytes = match self {
            Self::Constant(size) => {
                rng.word();
                size.0
            }
            Self::Uniform(range) => range.min.0 + rng.below(range.max.0 - range.min.0 + 1),
            Self::Exponential(sizes) => {
                let over = (sizes.mean.0 - sizes.min.0) as f64 * rng.exponential();
                sizes.min.0.saturating_add(SimDuration::from_ns_f64(over).as_ns())
            }
        };
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }
}

impl Config for Sizes {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            ValueKind::Text(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                Bytes::read(value, problems).map(Self::Constant)
            }
            _ => SizesKind::read(value, problems).map(|kind| match kind {
                SizesKind::Constant(size) => Self::Constant(size),
                SizesKind::Uniform(sizes) => Self::Uniform(sizes),
                SizesKind::Exponential(sizes) => Self::Exponential(sizes),
            }),
        }
    }

    fn schema() -> Json {
        let mut schema = SizesKind::schema();
        if let Some(Json::Array(cases)) = schema.get_mut("oneOf") {
            cases.push(Bytes::schema());
        }
        schema
    }

    fn write(&self) -> Json {
        match self {
            Self::Constant(size) => size.write(),
            Self::Uniform(sizes) => json!({ "uniform": sizes.write() }),
            Self::Exponential(sizes) => json!({ "exponential": sizes.write() }),
        }
    }
}

/// More producers and consumers than this are refused: a wrong unit.
const NODES_MAX: u64 = 10_000;
