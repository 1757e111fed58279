//! What `[experiment.rings.motion]` says: the cluster behind the placement, and its clients.

use serde_json::Value as Json;

use crate::config::{Bytes, Config, Problems, Value, ValueKind};
use crate::kernel::rng::{Probability, Seed};
use crate::kernel::time::SimDuration;
use crate::model::dist::Dist;
use crate::model::load::{LoadConfig, RetryConfig};
use crate::model::network::Bandwidth;
use crate::model::station::StationConfig;
use crate::rings::hash::{mix, splitmix64};
use crate::rings::script::{Event, Keys, RingsConfig, stages};

crate::config! {
    /// The ring at work: clients, the nodes that own the keys, and who tells them of each other.
    pub struct MotionConfig {
        /// How long a run is.
        pub duration: SimDuration,
        /// The length of a step of what is reported over time.
        pub window: SimDuration = SimDuration::from_secs(1),
        /// How many clients there are; each routes by its own view of the members.
        pub clients: u32 = 1 => 1..=1_000_000,
        /// When clients want something: all of them together where it is open, each where it is
        /// closed.
        pub load: LoadConfig,
        /// How long a client waits for a node, and how it tries again; left out, it waits for ever
        /// and tries once.
        pub retry: Option<RetryConfig> = None,
        /// The share of the requests that read; the others write.
        pub reads: Probability = Probability::ONE,
        /// An answer that takes longer is no goodput; left out, none is too late.
        pub deadline: Option<SimDuration> = None,
        /// How large values are; each key's is the same for a whole run.
        pub values: Sizes = Sizes(SizeKind::Constant(Bytes(1024))),
        /// The servers and the queue of a node of weight 1; one of weight 2 has twice the servers.
        pub station: StationConfig = instant(),
        /// How much a node can send, and receive, at the same time; left out, size does not
        /// matter.
        pub bandwidth: Option<Bandwidth> = None,
        /// What a node does with keys.
        pub node: Holding,
        /// What a node does with a request for a key that is another's, as the node sees it.
        pub misroute: Misroute = Misroute::Forward,
        /// Which of a key's owners is read from.
        pub read_from: ReadFrom = ReadFrom::First,
        /// A bound on the load of a node, kept by each client among its own requests.
        pub bound: Option<BoundConfig> = None,
        /// How it is noticed that a node is down, or up again.
        pub detector: Detector = Detector::Heartbeats(HeartbeatsConfig {
            every: SimDuration::from_secs(1),
            timeout: SimDuration::from_secs(3),
        }),
        /// How long a new view of the members takes to each client and node, drawn for each of
        /// them: gossip, or a poll.
        pub spread: Dist = Dist::constant(SimDuration::ZERO),
        /// What becomes of a node that has had too much for too long; left out, nothing.
        pub overload: Option<OverloadConfig> = None,
        /// Members that join, leave or get another weight, in the order of time.
        pub changes: Vec<ChangeConfig> = Vec::new(),
        /// Times in which everybody wants the same.
        pub surges: Vec<SurgeConfig> = Vec::new(),
    }
    check Self::check;
}

crate::config! {
    /// What a node does with keys.
    pub enum Holding {
        /// It keeps copies of what it was asked for, and fetches what it lacks from an origin.
        "cache" => Cache(CacheConfig),
        /// It has the values of its keys, and copies them from their owner before when it becomes
        /// one.
        "store" => Store(StoreConfig),
    }
}

crate::config! {
    /// A cache that forgets first what was not asked for the longest (LRU). Its process keeps it
    /// in memory.
    pub struct CacheConfig {
        /// How many bytes of values it holds.
        pub capacity: Bytes,
        /// How long a value is good; left out, for ever.
        pub ttl: Option<SimDuration> = None,
        /// Whether requests for what is being fetched wait for it, instead of fetching it again.
        pub coalesce: bool = true,
        /// The servers and the queue of the origin.
        pub origin: StationConfig = instant(),
    }
}

crate::config! {
    /// A store on disk. What a node once had it keeps, so that it need not be copied when it comes
    /// back.
    pub struct StoreConfig {
        /// The share of a node's bandwidth that copies may take.
        pub copy_share: Probability = Probability::ONE,
        /// About how much is copied at a time: what a request may have to wait behind.
        pub batch: Bytes = Bytes(4 << 20),
        /// From how many nodes at the same time a node copies.
        pub parallel: u32 = 4 => 1..=1_000_000,
    }
    check Self::check;
}

crate::config! {
    /// What a node does with a request for a key that is another's.
    pub enum Misroute {
        /// It serves it as if it were its own, as memcached does: it knows of no ring.
        "serve" => Serve,
        /// It sends it on to the owner, who answers the client.
        "forward" => Forward,
        /// It refuses it.
        "refuse" => Refuse,
    }
}

crate::config! {
    /// Which of a key's owners is read from.
    pub enum ReadFrom {
        /// The first; each further attempt asks the next.
        "first" => First,
        /// One at random; each further attempt asks the next.
        "any" => Any,
    }
}

crate::config! {
    /// A bound on the load of a node, kept by each client among its own requests (Mirrokni, Thorup
    /// and Zadimoghaddam, "Consistent Hashing with Bounded Loads", SODA 2018, as load balancers
    /// do it: by requests in flight).
    pub struct BoundConfig {
        /// A node has at most so many times the mean of the requests in flight, rounded up.
        pub factor: f64 = 1.25 => 1.0..=1000.0,
        /// Where a request goes whose node is full.
        pub overflow: Overflow = Overflow::Rehash,
    }
}

crate::config! {
    /// Where a request goes whose node is full.
    pub enum Overflow {
        /// To the next owner that the placement names, and so on: the neighbour on a ring.
        "walk" => Walk,
        /// To the owner of the key hashed again, and so on: all alike (Chen, Coleman and
        /// Shrivastava, AAAI 2021).
        "rehash" => Rehash,
    }
}

crate::config! {
    /// How it is noticed that a node is down, or up again.
    pub enum Detector {
        /// Nodes send heartbeats to the monitor over the network: one that is slow, paused or cut
        /// off is held for dead too.
        "heartbeats" => Heartbeats(HeartbeatsConfig),
        /// The monitor hears of every crash and restart after such a time.
        "delay" => Delay(Dist),
    }
}

crate::config! {
    /// A failure detector by heartbeats.
    pub struct HeartbeatsConfig {
        /// How often a node sends one, and the monitor looks.
        pub every: SimDuration = SimDuration::from_secs(1),
        /// A node that was not heard of for longer is held for dead.
        pub timeout: SimDuration = SimDuration::from_secs(3),
    }
    check Self::check;
}

crate::config! {
    /// When a node dies of its load.
    pub struct OverloadConfig {
        /// Its process dies when it has turned requests away for so long, without a pause of a
        /// tenth of that.
        pub dies_after: SimDuration,
        /// How long it takes to start again; left out, it does not.
        pub restarts_after: Option<SimDuration> = None,
    }
}

crate::config! {
    /// A change of the members that an administrator makes.
    pub struct ChangeConfig {
        /// When.
        pub at: SimDuration,
        /// What.
        pub change: Event,
    }
}

crate::config! {
    /// A time in which everybody wants the same: a flash crowd.
    pub struct SurgeConfig {
        /// From when.
        pub at: SimDuration,
        /// How long it lasts.
        pub r#for: SimDuration,
        /// The share of the requests of that time that are for the one key.
        pub share: Probability,
        /// Which key: its rank by popularity, or its line in the file, from 0.
        pub key: u32 = 0,
    }
}

/// How large values are. A bare size is a constant.
#[derive(Clone, Debug, PartialEq)]
pub struct Sizes(pub SizeKind);

crate::config! {
    /// A distribution of sizes.
    pub enum SizeKind {
        /// All alike.
        "constant" => Constant(Bytes),
        /// Between two bounds, each size as likely.
        "uniform" => Uniform(UniformSizes),
        /// Log-normal: its logarithm is normal. Web objects and files.
        "log_normal" => LogNormal(LogNormalSizes),
        /// Pareto: a power-law tail.
        "pareto" => Pareto(ParetoSizes),
    }
}

crate::config! {
    /// Between two bounds.
    pub struct UniformSizes {
        /// The least.
        pub min: Bytes,
        /// The most.
        pub max: Bytes,
    }
    check Self::check;
}

crate::config! {
    /// Log-normal sizes.
    pub struct LogNormalSizes {
        /// Half of the values are smaller.
        pub median: Bytes,
        /// The standard deviation of the natural logarithm.
        pub sigma: f64 => 0.0..=10.0,
    }
}

crate::config! {
    /// Sizes with a power-law tail.
    pub struct ParetoSizes {
        /// The least.
        pub min: Bytes,
        /// The exponent of the tail; at most 1 has no mean.
        pub alpha: f64 => 0.05..=1000.0,
    }
}

impl Sizes {
    /// The size in bytes of the value of `key`, the same for every call under one `salt`. From 1
    /// byte to [`VALUE_BYTES_MAX`].
    pub(super) fn of(&self, key: u32, salt: u64) -> u32 {
        let word = |draw: u64| splitmix64(salt ^ mix(u64::from(key) << 2 | draw));
        let unit = |draw| ((word(draw) >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0);
        let bytes = match &self.0 {
            SizeKind::Constant(bytes) => bytes.0 as f64,
            SizeKind::Uniform(d) => {
                let width = d.max.0 - d.min.0 + 1;
                (d.min.0 + ((u128::from(word(0)) * u128::from(width)) >> 64) as u64) as f64
            }
            SizeKind::LogNormal(d) => {
                // Box and Muller, as in the kernel's normal draws.
                let radius = libm::sqrt(-2.0 * libm::log(unit(0)));
                let normal = radius * libm::cos(std::f64::consts::TAU * unit(1));
                d.median.0 as f64 * libm::exp(d.sigma * normal)
            }
            SizeKind::Pareto(d) => d.min.0 as f64 * libm::pow(unit(0), -1.0 / d.alpha),
        };
        // The cast saturates.
        (bytes as u32).clamp(1, VALUE_BYTES_MAX)
    }

    fn largest_bound(&self) -> u64 {
        match &self.0 {
            SizeKind::Constant(bytes) => bytes.0,
            SizeKind::Uniform(d) => d.max.0,
            SizeKind::LogNormal(d) => d.median.0,
            SizeKind::Pareto(d) => d.min.0,
        }
    }
}

impl Config for Sizes {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let sizes = match &value.kind {
            ValueKind::Text(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
                Bytes::read(value, problems).map(|bytes| Self(SizeKind::Constant(bytes)))
            }
            _ => SizeKind::read(value, problems).map(Self),
        }?;
        if u64::from(VALUE_BYTES_MAX) < sizes.largest_bound() {
            let message = format!("a value may have {} at most", Bytes(VALUE_BYTES_MAX.into()));
            problems.add(value.place, message);
            return None;
        }
        Some(sizes)
    }

    fn schema() -> Json {
        let mut schema = SizeKind::schema();
        if let Some(Json::Array(cases)) = schema.get_mut("oneOf") {
            cases.push(Bytes::schema());
        }
        schema
    }

    fn write(&self) -> Json {
        match &self.0 {
            SizeKind::Constant(bytes) => bytes.write(),
            kind => kind.write(),
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

impl StoreConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.copy_share == Probability::ZERO {
            problems.add(value.place, "`copy_share` must be more than 0: nothing would be copied");
        }
        if !(1..=u64::from(VALUE_BYTES_MAX)).contains(&self.batch.0) {
            let most = Bytes(VALUE_BYTES_MAX.into());
            problems.add(value.place, format!("`batch` must be from 1B to {most}"));
        }
    }
}

impl HeartbeatsConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.every == SimDuration::ZERO {
            problems.add(value.place, "`every` must be longer than nothing");
        }
        if self.timeout < self.every {
            problems.add(
                value.place,
                format!(
                    "`timeout` ({}) is less than `every` ({}): all nodes would be held for dead",
                    self.timeout, self.every
                ),
            );
        }
    }
}

impl MotionConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        let (duration, window) = (self.duration.as_ns(), self.window.as_ns());
        if window == 0 || duration < window || WINDOWS_MAX < duration / window {
            problems.add(
                value.place,
                format!(
                    "`duration` ({}) must have from 1 to {WINDOWS_MAX} of `window` ({})",
                    self.duration, self.window
                ),
            );
        }
        for pair in self.changes.windows(2) {
            if pair[1].at < pair[0].at {
                let message =
                    format!("a change at {} stands after one at {}", pair[1].at, pair[0].at);
                problems.add(value.place, message);
            }
        }
    }

    /// What concerns the whole of `[experiment.rings]`.
    pub(in crate::rings) fn check_within(
        &self,
        config: &RingsConfig,
        value: &Value,
        problems: &mut Problems,
    ) {
        if !config.events.is_empty() {
            problems.add_with_help(
                value.place,
                "a ring in motion has no `events`",
                "write motion.changes = [{ at = \"10s\", change = \"add\" }, ...]",
            );
        }
        if let Keys::Made(made) = &config.keys
            && KEYS_MAX < made.count
        {
            let message = format!("a ring in motion has at most {KEYS_MAX} keys");
            problems.add(value.place, message);
        }
        let scripted = self.script(config);
        if let Err((_, why)) = stages(&scripted, Seed(0)) {
            problems.add(value.place, why);
        }
    }

    /// The static script that the changes make.
    pub(super) fn script(&self, config: &RingsConfig) -> RingsConfig {
        let events = self.changes.iter().map(|change| change.change.clone()).collect();
        RingsConfig { events, motion: None, ..config.clone() }
    }

    /// The station of a node of this weight.
    pub(super) fn station_of(&self, weight: f64) -> StationConfig {
        let servers = f64::from(self.station.servers) * weight;
        // Saturates, and a node has one server at least.
        StationConfig { servers: ((servers + 0.5) as u32).max(1), ..self.station.clone() }
    }
}

/// A station at which nothing takes time.
const fn instant() -> StationConfig {
    StationConfig { servers: 1, service: Dist::constant(SimDuration::ZERO), queue: 1_000_000 }
}

/// The largest value: 1 GiB, so that a message's size fits its 32 bits with room to spare.
pub(super) const VALUE_BYTES_MAX: u32 = 1 << 30;
const WINDOWS_MAX: u64 = 100_000;
const KEYS_MAX: u64 = 100_000_000;
