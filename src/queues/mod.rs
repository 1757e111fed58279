//! Message queues: what brokers do with the messages that producers give them and consumers take.
//!
//! [`CATALOGUE`] lists every variant. A queue protocol is a [`Node`] whose requests and indications
//! are the ones below; it says for each part of a [`Scene`] what to build there. A new one is a
//! file beside this one with its idea and its source on top, an `impl` of [`QueueProtocol`], its
//! `mod` line and its row.
//!
//! Belief and truth are apart. Brokers indicate what becomes of each copy that they hold, consumers
//! what they do with it, producers what they have been told; the judge, which hears all of them
//! in true time, says what was lost, repeated or late. No protocol marks its own work.
//!
//! The six policies that make a broker (store, dispatch, lease, acknowledgement, return position,
//! durability) are small types in `broker.rs`.

mod amqp;
mod amqp_classic;
mod amqp_mirrored;
mod amqp_quorum;
mod broker;
mod celery;
mod celery_redis;
mod celery_worker;
mod config;
mod gauge;
mod jetstream;
mod judge;
mod kafka;
mod link;
pub mod matrix;
pub mod measure;
mod quorum_fifo;
mod rabbit;
pub mod recorded;
mod redis;
mod redis_client;
mod redis_list;
mod redis_streams;
mod sqs;
mod testbed;
#[cfg(test)]
mod tests;
pub mod validate;
mod work;

use serde_json::Value as Json;

use crate::choice::{About, Choice, Listed};
use crate::config::{Config, Problems};
use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::any::{AnyRole, AnyStable};
use crate::model::clock::WallTime;
use crate::model::node::{Node, NodeId};

pub use config::{
    Answer, ConsumersConfig, LongConfig, MessagesConfig, Poison, PoisonConfig, PriorityConfig,
    ProducersConfig, QueuesConfig, Sizes, TaskConfig,
};
pub use gauge::Moments;
pub(crate) use gauge::Steps;
pub use judge::{Habits, Heard, Judge, LogEvent, Verdict, Watch};
pub use kafka::{Assignor, Subscriber, TopicPartition, murmur2, partition_of};
pub use measure::{BRIEF, METRICS};
pub use testbed::{
    Estimate, Outcome, Setup, VARIANT, check, directory, estimate, rings, simulate,
    simulate_watched,
};
pub use work::Work;

/// Every queue of this crate.
pub const CATALOGUE: &[Entry] = &[
    Entry::of::<amqp_classic::AmqpClassic>(),
    Entry::of::<amqp_quorum::AmqpQuorum>(),
    Entry::of::<amqp_mirrored::AmqpMirrored>(),
    Entry::of::<celery::Celery>(),
    Entry::of::<redis_list::RedisList>(),
    Entry::of::<celery_redis::CeleryRedis>(),
    Entry::of::<redis_streams::RedisStreams>(),
    Entry::of::<sqs::Sqs>(),
    Entry::of::<kafka::Kafka>(),
    Entry::of::<jetstream::JetStream>(),
];

/// Names a message from its first send to its last effect, whatever copies of it there are. Rises
/// with the instant at which the message was meant to be sent.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Serial(pub u64);

/// A message: what is to be done, and what it takes. Drawn where it is produced, so that every
/// variant under the same seed has the same work to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Item {
    /// Its name.
    pub serial: Serial,
    /// The rank of its key: partitions and groups go by it.
    pub key: u64,
    /// How many bytes its body takes.
    pub size_bytes: u32,
    /// How long the work takes.
    pub service: SimDuration,
    /// Which of the configured tasks it asks for.
    pub task: u16,
    /// Whether the work can be done at all.
    pub nature: Nature,
    /// How urgent it is; more is more.
    pub priority: u8,
    /// Not to be begun before so long after it was sent: a countdown.
    pub delay: SimDuration,
    /// Not to be begun before this instant on the clock of whoever does it: what a producer makes
    /// of the countdown, or of a pause before another try.
    pub eta: Option<WallTime>,
    /// Of no use so long after it was stored; [`SimDuration::MAX`] is for ever.
    pub ttl: SimDuration,
    /// How often the work has been tried and put off by the worker itself.
    pub retries: u32,
    /// Decides what chance decides about it at a consumer: see [`Work`].
    pub luck: u64,
    /// When that happened of which it tells: its event time.
    pub born: SimTime,
}

/// What happens to whoever works on a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Nature {
    /// The work gets done.
    Sound,
    /// The work always fails, as by an exception.
    Fails,
    /// The work always kills the process that does it.
    Kills,
}

/// What the workload asks of a node.
#[derive(Clone, Copy, Debug)]
pub enum Request {
    /// Of a producer: to publish this, now.
    Publish(Item),
    /// Of a consumer: the answer to [`Indication::Asks`].
    Answer {
        /// Which of its slots asked.
        slot: u32,
        /// Whether the effect has been applied already.
        is_known: bool,
    },
}

/// A copy of a message at a broker or consumer, as far as a judge has to know it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Token {
    /// Which message.
    pub serial: Serial,
    /// Its size.
    pub size_bytes: u32,
}

/// Why a broker parted with a message that nobody had acknowledged.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Death {
    /// Its time to live was over.
    Expired,
    /// The queue was full, and it was the oldest.
    Overflow,
    /// A consumer refused it for good.
    Rejected,
    /// It had been delivered as often as is allowed.
    DeliveryLimit,
}

/// What a node tells the workload.
#[derive(Clone, Debug)]
pub enum Indication {
    /// A producer has handed the message to its connection. `is_kept` where it keeps it until it
    /// knows what became of it.
    Sent {
        /// Which message.
        serial: Serial,
        /// Whether it will tell more of it.
        is_kept: bool,
    },
    /// A producer has been told that the message is safe.
    Confirmed(Serial),
    /// A producer has been told that the message was not taken.
    Refused(Serial),
    /// A producer stops trying and tells its caller so; what became of the message is unknown.
    GaveUp(Serial),

    /// A broker has stored a copy: it is ready.
    Stored(Token),
    /// A broker has sent a ready copy to a consumer.
    Handed {
        /// Which.
        token: Token,
        /// To whom.
        to: NodeId,
        /// Whether the consumer is told that it may have been delivered before.
        is_redelivered: bool,
        /// Whether the broker holds it for acknowledged by that.
        is_settled: bool,
    },
    /// A broker keeps a note of a copy that it holds for gone, and could bring it back.
    Recorded(Token),
    /// A server that keeps copies for another, and may not know better, has sent one to a consumer.
    HandedByCopy {
        /// Which.
        token: Token,
        /// To whom.
        to: NodeId,
    },
    /// A copy that was with a consumer is ready again.
    Returned(Token),
    /// A copy that was with a consumer is ready again, because the time is over for which it might
    /// keep it.
    Lapsed(Token),
    /// A copy that was with a consumer is acknowledged and gone.
    Settled(Token),
    /// A copy is gone, though nobody acknowledged it.
    Died {
        /// Which.
        token: Token,
        /// Why.
        why: Death,
        /// Whether it was with a consumer, and not ready.
        was_handed: bool,
        /// Whether it went to a dead-letter queue.
        is_kept: bool,
    },
    /// A broker will deliver a ready copy no more, but keeps it.
    Parked(Token),
    /// A broker that has started, or taken a queue over, holds exactly this.
    Holds {
        /// What is ready.
        ready: Vec<Token>,
        /// What is with consumers.
        handed: Vec<Token>,
    },

    /// A consumer has received a copy.
    Received {
        /// Which message.
        serial: Serial,
        /// Whether it is told that the message may have been delivered before.
        is_redelivered: bool,
    },
    /// A consumer wants to know whether the effect of the message has been applied already.
    Asks {
        /// Which message.
        serial: Serial,
        /// Which of its slots asks.
        slot: u32,
    },
    /// A consumer has begun to work.
    Started(Serial),
    /// A consumer has applied the effect: the work is done.
    Done(Serial),
    /// The work has failed and will not be tried again: that is its result.
    Failed(Serial),
    /// A consumer has left off working, and the effect was not applied.
    LeftOff(Serial),
    /// A consumer has parted with a copy on which it had not begun to work, or not again.
    Dropped(Serial),
    /// A consumer's connection is gone, and with it what was under way to it.
    Cut,
    /// A broker tells of a log that it keeps.
    Log(LogEvent),
}

/// Shares keys out over so many members by the ring of a choice, under a seed: the number of each
/// key's owner. Handed down by whoever knows rings; the choice was checked before.
pub type Share = fn(&Choice, u32, Vec<String>, Seed) -> Vec<u32>;

/// A queue protocol: a node type, and what to build of it where.
pub trait QueueProtocol:
    Node<Request = Request, Indication = Indication> + Sized + 'static
{
    /// What it says of itself.
    const ABOUT: About;
    /// Its parameters.
    type Params: Config;

    /// The role of the node that plays `part` in `scene`.
    fn role(params: &Self::Params, part: Part, scene: &Scene) -> Self::Role;

    /// Whether parameters and experiment go together.
    ///
    /// # Errors
    /// In a sentence, where they do not.
    fn fits(params: &Self::Params, config: &QueuesConfig) -> Result<(), String> {
        let _ = (params, config);
        Ok(())
    }

    /// The rings that the parameters name, and over how many members each shares out.
    fn rings(params: &Self::Params, config: &QueuesConfig) -> Vec<(Choice, u32)> {
        let _ = (params, config);
        Vec::new()
    }
}

/// Which part a node plays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// It keeps messages. The number is its place among the brokers, from 0.
    Broker(u32),
    /// It publishes messages.
    Producer(u32),
    /// It takes messages and does the work.
    Consumer(u32),
}

/// Who else there is, and what consumers have to do.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The brokers.
    pub brokers: Vec<NodeId>,
    /// The producers.
    pub producers: Vec<NodeId>,
    /// The consumers.
    pub consumers: Vec<NodeId>,
    /// How a consumer works.
    pub work: Work,
    /// How many keys there are.
    pub key_count: u64,
    /// The seed of the run.
    pub seed: Seed,
    /// How a ring shares keys out, where rings are known.
    pub share: Option<Share>,
}

/// A row of the catalogue.
#[derive(Debug)]
pub struct Entry {
    /// What the variant says of itself.
    pub about: About,
    /// Tells all that is wrong with a choice in an experiment.
    pub check: fn(&Choice, &QueuesConfig, &mut Problems),
    /// The rings that a choice names, and over how many members each shares out.
    pub rings: fn(&Choice, &QueuesConfig) -> Vec<(Choice, u32)>,
    /// What a node of a choice, which was checked, is built from where its type is hidden.
    pub role: fn(&Choice, Part, &Scene) -> AnyRole<Request, Indication, AnyStable>,
    /// Runs the choice, and keeps what the last says.
    pub simulate: fn(&Choice, Setup<'_>, Seed, Watch) -> Option<Outcome>,
    /// The JSON Schema of its parameters.
    pub params_schema: fn() -> Json,
}

impl Entry {
    /// The row of `P`.
    pub const fn of<P: QueueProtocol>() -> Self {
        Self {
            about: P::ABOUT,
            check: |choice, config, problems| {
                let Some(params) = choice.params::<P::Params>(problems) else { return };
                if let Err(unfit) = P::fits(&params, config) {
                    problems.add(choice.place, format!("`{}`: {unfit}", P::ABOUT.name));
                }
            },
            rings: |choice, config| {
                let params = choice.params::<P::Params>(&mut Problems::default());
                params.map_or_else(Vec::new, |params| P::rings(&params, config))
            },
            role: |choice, part, scene| {
                let params = choice.params::<P::Params>(&mut Problems::default());
                let params = params.expect("the choice was checked when it was read");
                AnyRole::of::<P>(P::role(&params, part, scene))
            },
            simulate: |choice, setup, seed, watch| {
                let params = choice.params::<P::Params>(&mut Problems::default())?;
                Some(testbed::simulate_with::<P>(&params, choice, setup, seed, watch))
            },
            params_schema: P::Params::schema,
        }
    }
}

impl Listed for Entry {
    fn about(&self) -> &About {
        &self.about
    }

    fn params_schema(&self) -> Json {
        (self.params_schema)()
    }
}

impl Item {
    /// What a judge has to know of it.
    pub(crate) const fn token(&self) -> Token {
        Token { serial: self.serial, size_bytes: self.size_bytes }
    }
}

impl Death {
    /// Its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Overflow => "maxlen",
            Self::Rejected => "rejected",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}
