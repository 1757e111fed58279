//! What a scenario says in `[experiment.pipeline]`.

use serde_json::Value as Json;

use crate::choice::{About, Choice, Listed};
use crate::config;
use crate::config::{Bytes, Config, Problems, Rate, Value};
use crate::experiments::wing::choices;
use crate::kernel::rng::Seed;
use crate::kernel::time::SimDuration;
use crate::locks::{self, Fencing, Shards};
use crate::model::directory::Directory;
use crate::model::dist::Dist;
use crate::model::load::ArrivalsConfig;
use crate::model::placement::{Member, Membership};
use crate::model::popularity::{Exponent, Popularity};
use crate::model::station::StationConfig;
use crate::queues::{self, ConsumersConfig, MessagesConfig, ProducersConfig, QueuesConfig, Sizes};
use crate::rings::{self, HashKind, Hasher};

config! {
    /// Producers, partitions on brokers, consumers with locks, and the accounts that they change.
    pub(in crate::experiments) struct PipelineConfig {
        /// The pipelines to compare.
        pub variants: Vec<Choice>,
        /// How many brokers there are.
        pub brokers: u32 = 4 => 1..=1000,
        /// How many partitions there are: each is a queue of its own on one broker.
        pub partitions: u32 = 32 => 1..=10_000,
        /// How many brokers hold each partition, where the queue replicates.
        pub replicas: u32 = 1 => 1..=9,
        /// How many producers there are.
        pub producers: u32 = 1 => 1..=1000,
        /// When they send, all together.
        pub load: ArrivalsConfig = ArrivalsConfig::Poisson(a_hundred_a_second()),
        /// How many accounts there are, each with a lock and a counter.
        pub accounts: u32 = 1000 => 1..=1_000_000,
        /// How often a message is about each account.
        pub popularity: Popularity = Popularity::Zipf(one()),
        /// How many bytes a message has.
        pub size: Sizes = Sizes::Constant(Bytes(256)),
        /// How many consumers there are. They are dealt to the brokers in turn, and each takes from
        /// all partitions of its broker, one message at a time.
        pub consumers: u32 = 8 => 1..=10_000,
        /// How long a consumer works on a message, the lock held, between reading and writing.
        pub work: Dist = Dist::exponential(SimDuration::from_ms(10)),
        /// Whether a consumer asks first, without delay, whether a message took effect already.
        pub idempotent: bool = false,
        /// How long a consumer waits before it tries again what came to nothing: a lock that was
        /// refused or lost, a token that was too old, a connection that broke.
        pub retry: SimDuration = SimDuration::from_ms(100),
        /// What a broker needs to take a message in; left out, no time.
        pub broker: Option<StationConfig> = None,
        /// Where the accounts' locks are.
        pub lock_service: LockService = LockService::Shared,
        /// What a lock server needs for a message; left out, no time.
        pub server: Option<StationConfig> = None,
        /// What the accounts' store needs for a message; left out, no time.
        pub resource: Option<StationConfig> = None,
        /// How long a disk takes to sync.
        pub sync: Dist = Dist::constant(SimDuration::from_us(100)),
        /// For how long messages are sent.
        pub horizon: SimDuration = SimDuration::from_secs(60),
        /// For how long the system may work off what is left then.
        pub drain: SimDuration = SimDuration::from_secs(30),
        /// A message that is done later than so long after it was meant to be sent is no good any
        /// more; left out, it always is.
        pub deadline: Option<SimDuration> = None,
    }
    check Self::check;
}

config! {
    /// Where the accounts' locks are.
    pub(in crate::experiments) enum LockService {
        /// All at one lock service.
        "shared" => Shared,
        /// At one of several, one beside each broker: an account's lock is where its messages are,
        /// so the ring that places partitions spreads the locks too.
        "per_broker" => PerBroker,
    }
}

config! {
    /// A ring, a queue and a lock, joined.
    pub(super) struct Keyed {
        /// Which broker holds a partition: a ring by its name, as in `[experiment.rings]`.
        pub ring: Choice,
        /// What a partition is: a queue by its name, as in `[experiment.queues]`.
        pub queue: Choice,
        /// What a consumer holds while it changes an account: a lock by its name, as in
        /// `[experiment.locks]`.
        pub lock: Choice,
        /// The weight of each broker on the ring, in their order; 1 for those left out.
        pub weights: Vec<f64> = Vec::new(),
        /// What the accounts' store makes of fencing tokens.
        pub fencing: Fencing = Fencing::None,
    }
}

/// A way to join the three.
#[derive(Clone, Copy, Debug)]
pub(in crate::experiments) struct Entry {
    about: About,
}

/// All of them.
pub(super) const CATALOGUE: &[Entry] = &[Entry {
    about: About {
        name: "keyed",
        summary: "messages go by account to partitions on a ring of brokers; consumers of each \
                  broker lock the account",
        source: "this crate: rings, queues and locks as they stand in their own experiments",
        version: "",
    },
}];

/// What messages call a variant.
pub(super) const VARIANT: &str = "pipeline";

impl Listed for Entry {
    fn about(&self) -> &About {
        &self.about
    }

    fn params_schema(&self) -> Json {
        let mut schema = Keyed::schema();
        for (field, mut choices) in [
            ("ring", choices(rings::CATALOGUE)),
            ("queue", choices(queues::CATALOGUE)),
            ("lock", choices(locks::CATALOGUE)),
        ] {
            schema["properties"][field]["anyOf"] = choices["anyOf"].take();
        }
        schema
    }
}

fn a_hundred_a_second() -> Rate {
    Rate::per_second(100.0).expect("a hundred is finite and positive")
}

fn one() -> Exponent {
    Exponent::new(1.0).expect("one is an exponent")
}

impl PipelineConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.variants.is_empty() {
            problems.add(value.place, "there is no variant, expected one at least");
        }
        if self.consumers < self.brokers {
            let message = format!(
                "found {} consumers for {} brokers, expected at least one for each",
                self.consumers, self.brokers
            );
            problems.add(value.place, message);
        }
        if self.horizon == SimDuration::ZERO {
            problems.add(value.place, "`horizon` must be longer than nothing");
        }
    }

    /// Tells all that is wrong with the variants.
    pub(super) fn check_variants(&self, problems: &mut Problems) {
        for choice in &self.variants {
            let Some(keyed) = choice.params::<Keyed>(problems) else { continue };
            keyed.check(self, problems);
        }
    }

    /// Who takes part: as many lock servers as the variant with the most of them has.
    pub(super) fn directory(&self) -> Directory {
        let mut directory = Directory::default();
        directory.add_group("broker", self.brokers);
        directory.add_group("producer", self.producers);
        directory.add_group("consumer", self.consumers);
        let counts = self.variants.iter().filter_map(|choice| {
            let keyed = choice.params::<Keyed>(&mut Problems::default())?;
            Some(keyed.servers()?.count())
        });
        for number in 1..=counts.max().unwrap_or(1) * self.lock_services() {
            directory.add(format!("server-{number}"), "server");
        }
        directory.add("resource".into(), "resource");
        directory
    }

    /// How many lock services there are.
    pub(super) fn lock_services(&self) -> u32 {
        match self.lock_service {
            LockService::Shared => 1,
            LockService::PerBroker => self.brokers,
        }
    }

    /// The experiment that a partition would be by itself, for what a queue has to say to that.
    fn queues(&self) -> QueuesConfig {
        QueuesConfig {
            variants: Vec::new(),
            brokers: self.replicas,
            broker: self.broker.clone(),
            sync: self.sync.clone(),
            producers: ProducersConfig { count: self.producers, ..ProducersConfig::default() },
            consumers: ConsumersConfig { count: self.consumers, ..ConsumersConfig::default() },
            messages: MessagesConfig {
                keys: u64::from(self.accounts),
                popularity: self.popularity.clone(),
                size: self.size.clone(),
                ..MessagesConfig::default()
            },
            horizon: self.horizon,
            drain: self.drain,
            deadline: self.deadline,
        }
    }
}

impl Keyed {
    /// The parameters of a choice that was checked.
    pub(super) fn of(choice: &Choice) -> Self {
        let params = choice.params(&mut Problems::default());
        params.expect("the choice was checked when it was read")
    }

    fn check(&self, config: &PipelineConfig, problems: &mut Problems) {
        let place = self.ring.place;
        if (config.brokers as usize) < self.weights.len() {
            let count = self.weights.len();
            problems.add(place, format!("found {count} weights for {} brokers", config.brokers));
            return;
        }
        if let Some(weight) = self.weights.iter().find(|weight| !WEIGHTS.contains(weight)) {
            problems.add(place, format!("found the weight {weight}, expected 1e-6 to 1e6"));
            return;
        }
        if let Some(entry) = self.ring.find("ring", rings::CATALOGUE, problems) {
            (entry.check)(&self.ring, &self.members(config), problems);
            if !entry.capabilities.weights && self.is_weighted() {
                let name = entry.about.name;
                problems.add(place, format!("`{name}` knows no weights"));
            }
            if 1 < config.replicas && !entry.capabilities.replicas {
                let name = entry.about.name;
                problems.add(place, format!("`{name}` has one place for a key, and no replicas"));
            }
        }
        if let Some(entry) = self.queue.find(queues::VARIANT, queues::CATALOGUE, problems) {
            (entry.check)(&self.queue, &config.queues(), problems);
            if !(entry.rings)(&self.queue, &config.queues()).is_empty() {
                let message = "a partition of the pipeline is a queue of its own, without a ring";
                problems.add(self.queue.place, message);
            }
        }
        if let Some(entry) = self.lock.find("lock", locks::CATALOGUE, problems) {
            locks::testbed::check_choice(entry, &self.lock, &self.fencing, problems);
        }
    }

    /// Whether a broker is to have more than another.
    fn is_weighted(&self) -> bool {
        self.weights.iter().any(|&weight| weight < 1.0 || 1.0 < weight)
    }

    /// The lock's servers; nothing where the choice is wrong.
    pub(super) fn servers(&self) -> Option<locks::Servers> {
        let entry = self.lock.find("lock", locks::CATALOGUE, &mut Problems::default())?;
        (entry.servers)(&self.lock)
    }

    /// The brokers with their weights.
    fn members(&self, config: &PipelineConfig) -> Membership {
        Membership::of((0..config.brokers).map(|index| Member {
            weight: self.weights.get(index as usize).copied().unwrap_or(1.0),
            ..Member::named(format!("broker-{}", index + 1))
        }))
    }

    /// Where everything is under `seed`.
    pub(super) fn layout(&self, config: &PipelineConfig, seed: Seed) -> Layout {
        let hasher = Hasher::new(HashKind::Xxh3, seed.0);
        let ring = rings::build(&self.ring, &self.members(config), hasher.clone());
        let ring = ring.expect("the choice was checked when it was read");
        // Members are the brokers, by the same numbers.
        let mut holders = Vec::new();
        let placed = (0..config.partitions).map(|partition| {
            let name = format!("partition-{}", partition + 1);
            let key = ring.key(name.as_bytes());
            if config.replicas == 1 {
                return vec![ring.locate(key).0];
            }
            let done = ring.replicas(key, config.replicas as usize, &mut holders);
            done.expect("that it can was checked when it was read");
            holders.iter().map(|&member| member.0).collect()
        });
        let placed = placed.collect();
        Layout { placed, hasher }
    }
}

/// Where accounts and partitions are.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// For each partition, the brokers that hold it, its owner first.
    pub placed: Vec<Vec<u32>>,
    hasher: Hasher,
}

impl Layout {
    /// The partition of `account`.
    pub(super) fn partition(&self, account: u64) -> u32 {
        let hash = self.hasher.of(format!("account-{}", account + 1).as_bytes());
        (hash % self.placed.len() as u64) as u32
    }

    /// Which lock service has which account's lock.
    pub(super) fn shards(&self, config: &PipelineConfig) -> Shards {
        match config.lock_service {
            LockService::Shared => Shards::default(),
            LockService::PerBroker => {
                let accounts = 0..u64::from(config.accounts);
                let of_lock = accounts.map(|account| self.owner(self.partition(account)));
                Shards::new(config.lock_services(), of_lock.collect())
            }
        }
    }

    /// The broker that owns `partition`.
    pub(super) fn owner(&self, partition: u32) -> u32 {
        self.placed[partition as usize][0]
    }
}

/// Weights that a ring may be given.
const WEIGHTS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;
