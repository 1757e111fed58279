//! Kafka: partitioned and replicated logs, producers that batch, and a group of consumers that divide
//! the partitions among them.
//!
//! Read at apache/kafka 1eb7644 (October 2024, between 3.9 and 4.0), in each file what it names. A
//! record stays in its partition's log whether it was read or not; what a consumer acknowledges is a
//! position. A record is safe when every replica in sync has it, and how many those must be is the
//! topic's affair (`min_insync_replicas`); no broker syncs its disk for it.
//!
//! Left out: transactions, compaction, static members, racks, quotas, tiered storage, the newer group
//! protocol (KIP-848), moving leaders back to the preferred replica.

mod assignor;
mod broker;
mod consumer;
mod group;
mod log;
mod metadata;
mod partitioner;
mod producer;
mod replica;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::choice::{About, Choice};
use crate::config;
use crate::config::{Bytes, Problems, Value};
use crate::kernel::time::SimDuration;
use crate::model::node::{Context, Input, Node, NodeId, Stable, Wire};
use crate::model::raft::{RaftDisk, RaftMessage, RaftTimer, RaftWrite};

use super::config::QueuesConfig;
use super::work::{Work, WorkTimer};
use super::{Indication, Item, Part, QueueProtocol, Request, Scene};

pub use assignor::{Assignor, Subscriber, TopicPartition};
use broker::Broker;
use consumer::Consumer;
use group::{GroupRules, Joining, MemberKey};
use log::{Batch, Log, Stamp};
use metadata::Command;
pub use partitioner::{murmur2, partition_of};
use producer::Producer;
use replica::Fetched;

config! {
    /// A line of Kafka releases.
    pub(super) enum KafkaVersion {
        /// Producers send at once (`linger.ms` 0).
        "3.9" => V3_9,
        /// Producers wait 5 ms for more (KIP-1030).
        "4.0" => V4_0,
    }
}

config! {
    /// Kafka: a topic, its producers, and a group of consumers.
    pub(super) struct KafkaParams {
        /// The release that is modelled.
        pub version: KafkaVersion = KafkaVersion::V3_9,
        /// How many partitions the topic has (`num.partitions`).
        pub partitions: u32 = 1 => 1..=1_000,
        /// How many replicas each has (`default.replication.factor`).
        pub replication: u32 = 1 => 1..=9,
        /// How many must be in sync for `acks = "all"` (`min.insync.replicas`).
        pub min_insync_replicas: u32 = 1 => 1..=9,
        /// By which ring records are placed in partitions by their keys; left out, by Kafka's own
        /// murmur2.
        pub key_ring: Option<Choice> = None,
        /// By which ring partitions are placed on brokers: the owner leads, and those that come after
        /// it hold the other replicas. Left out, round robin.
        pub broker_ring: Option<Choice> = None,
        /// Whether a replica that is not in sync may lead where no other can
        /// (`unclean.leader.election.enable`).
        pub unclean_leader_election: bool = false,
        /// After how long behind a replica is no longer in sync (`replica.lag.time.max.ms`).
        pub replica_lag: SimDuration = SimDuration::from_secs(30),
        /// How long a leader lets a follower wait for more (`replica.fetch.wait.max.ms`).
        pub replica_fetch_wait: SimDuration = SimDuration::from_ms(500),
        /// How often a broker tells the controller that it is there (`broker.heartbeat.interval.ms`).
        pub broker_heartbeat: SimDuration = SimDuration::from_secs(2),
        /// After how long without that it is fenced (`broker.session.timeout.ms`).
        pub broker_session: SimDuration = SimDuration::from_secs(9),
        /// How long records are kept (`log.retention.hours`).
        pub retention: SimDuration = SimDuration::from_secs(7 * 24 * 3600),
        /// How long records are gathered in what is let go at once (`log.roll.hours`).
        pub segment: SimDuration = SimDuration::from_secs(7 * 24 * 3600),
        /// How often old ones are looked for (`log.retention.check.interval.ms`).
        pub retention_check: SimDuration = SimDuration::from_secs(300),

        /// What a producer waits for (`acks`).
        pub acks: Acks = Acks::All,
        /// Whether brokers can tell a repetition (`enable.idempotence`). Needs `acks = "all"`.
        pub idempotence: bool = true,
        /// How long a producer waits for more (`linger.ms`); left out, as the release does.
        pub linger: Option<SimDuration> = None,
        /// How many bytes it sends to a partition at once (`batch.size`).
        pub batch_size: Bytes = Bytes(16_384),
        /// How many requests of a producer one broker may have unanswered
        /// (`max.in.flight.requests.per.connection`).
        pub max_in_flight: u32 = 5 => 1..=1_000,
        /// After how long without an answer a client gives up a broker (`request.timeout.ms`).
        pub request_timeout: SimDuration = SimDuration::from_secs(30),
        /// After how long a producer gives up a record (`delivery.timeout.ms`).
        pub delivery_timeout: SimDuration = SimDuration::from_secs(120),
        /// How long it pauses before it tries again (`retry.backoff.ms`); doubled with each time.
        pub retry_backoff: SimDuration = SimDuration::from_ms(100),
        /// The longest such pause (`retry.backoff.max.ms`).
        pub retry_backoff_max: SimDuration = SimDuration::from_secs(1),
        /// Whether the application opens another producer when a connection breaks, and sends again
        /// with that what was not confirmed: to brokers it is somebody else.
        pub resend_by_new_producer: bool = false,

        /// When a consumer's position is committed (`enable.auto.commit` is `auto`).
        pub commit: Commit = Commit::Auto,
        /// How often that is done by itself (`auto.commit.interval.ms`).
        pub auto_commit_interval: SimDuration = SimDuration::from_secs(5),
        /// Where a consumer goes on whose position is in the log no more (`auto.offset.reset`). The
        /// group is an old one and had read everything when the run began.
        pub auto_offset_reset: OffsetReset = OffsetReset::Latest,
        /// How partitions are divided. The default list is range first, then cooperative sticky,
        /// which is range until range is taken out.
        pub assignor: Assignor = Assignor::Range,
        /// After how long without a heartbeat a consumer is taken for dead (`session.timeout.ms`).
        pub session_timeout: SimDuration = SimDuration::from_secs(45),
        /// How often it sends one (`heartbeat.interval.ms`).
        pub heartbeat: SimDuration = SimDuration::from_secs(3),
        /// For how long it may work on what it was given at once (`max.poll.interval.ms`).
        pub max_poll_interval: SimDuration = SimDuration::from_secs(300),
        /// How many records it is given at once (`max.poll.records`).
        pub max_poll_records: u32 = 500 => 1..=1_000_000,
        /// How long a broker lets it wait for more (`fetch.max.wait.ms`).
        pub fetch_wait: SimDuration = SimDuration::from_ms(500),
        /// How long an empty group waits for more members (`group.initial.rebalance.delay.ms`).
        pub initial_rebalance_delay: SimDuration = SimDuration::from_secs(3),
        /// In which windows a consumer counts the records of each of its partitions; left out, each
        /// record is a task of its own.
        pub windows: Option<WindowParams> = None,
        /// What an application does with a record on which it failed.
        pub on_failure: OnFailure = OnFailure::Seek,
        /// What it does when it is told to end.
        pub on_stop: OnStop = OnStop::Finish,
        /// How long a consumer is away that has died or closed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
    }
    check Self::check;
}

config! {
    /// What a producer waits for.
    pub(super) enum Acks {
        /// Nothing: it never learns what became of a record (`acks=0`).
        "none" => None,
        /// That the leader has it (`acks=1`).
        "leader" => Leader,
        /// That every replica in sync has it (`acks=all`).
        "all" => All,
    }
}

config! {
    /// When a consumer's position is committed.
    pub(super) enum Commit {
        /// Now and then, when it asks for more, and when it closes or the group rebalances.
        "auto" => Auto,
        /// Before it works on what it was given: at most once.
        "before_work" => BeforeWork,
        /// After each record.
        "after_record" => AfterRecord,
        /// After all that it was given at once.
        "after_poll" => AfterPoll,
        /// After all that it was given at once, up to the first record of a window of which it has
        /// not told: what it counts is in its memory only, and is read again.
        "after_window" => AfterWindow,
    }
}

config! {
    /// Where a consumer goes on whose position is in the log no more.
    pub(super) enum OffsetReset {
        /// With what is new.
        "latest" => Latest,
        /// With the oldest that there is.
        "earliest" => Earliest,
    }
}

config! {
    /// What an application does with a record on which it failed.
    pub(super) enum OnFailure {
        /// It tries the same record again: nothing behind it in its partition comes before it is done.
        "seek" => Seek,
        /// It goes on with the next.
        "skip" => Skip,
        /// It leaves its loop, closes its consumer, which commits its position where that is done by
        /// itself, and starts again.
        "close" => Close,
        /// Its process dies and starts again.
        "crash" => Crash,
    }
}

config! {
    /// What an application does when it is told to end.
    pub(super) enum OnStop {
        /// It finishes what it was given, and closes its consumer.
        "finish" => Finish,
        /// It leaves off in the middle, and closes its consumer.
        "break_off" => BreakOff,
    }
}

config! {
    /// Windows of equal length, one behind the other, in the time at which things happened.
    pub(super) struct WindowParams {
        /// How long each is.
        pub size: SimDuration,
        /// By how much a record may come behind later ones and still be counted.
        pub lateness: SimDuration = SimDuration::ZERO,
    }
    check Self::check;
}

impl Copy for Acks {}
impl Eq for Acks {}
impl Copy for Commit {}
impl Eq for Commit {}
impl Copy for OffsetReset {}
impl Eq for OffsetReset {}
impl Copy for OnFailure {}
impl Eq for OnFailure {}
impl Copy for OnStop {}
impl Eq for OnStop {}

impl WindowParams {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.size == SimDuration::ZERO {
            problems.add(value.place, "found a `size` of 0, expected windows that last");
        }
    }
}

impl KafkaParams {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if self.idempotence && self.acks != Acks::All {
            problems.add(value.place, "`idempotence` needs `acks = \"all\"`; set it to false");
        }
        if self.idempotence && 5 < self.max_in_flight {
            problems.add(value.place, "`idempotence` needs `max_in_flight` of at most 5");
        }
        if self.commit == Commit::AfterWindow && self.windows.is_none() {
            problems.add(value.place, "`commit = \"after_window\"` needs `windows`");
        }
        if self.request_timeout == SimDuration::ZERO || self.heartbeat == SimDuration::ZERO {
            problems.add(value.place, "time-outs and heartbeats must be longer than nothing");
        }
    }

    fn linger(&self) -> SimDuration {
        self.linger.unwrap_or(match self.version {
            KafkaVersion::V3_9 => SimDuration::ZERO,
            KafkaVersion::V4_0 => SimDuration::from_ms(5),
        })
    }

    const fn group_rules(&self) -> GroupRules {
        GroupRules {
            session_timeout: self.session_timeout,
            rebalance_timeout: self.max_poll_interval,
            initial_delay: self.initial_rebalance_delay,
        }
    }

    /// The partition of `__consumer_offsets` that the group's coordinator leads: behind the topic's.
    const fn group_partition(&self) -> u32 {
        self.partitions
    }

    /// The partition of each key, where a ring says it.
    fn partitions_of_keys(&self, scene: &Scene) -> Option<Arc<[u32]>> {
        let (ring, share) = self.key_ring.as_ref().zip(scene.share)?;
        let names = (0..scene.key_count).map(|key| key.to_string());
        Some(share(ring, self.partitions, names.collect(), scene.seed).into())
    }

    /// The replicas of each partition, round robin over the brokers (`StripedReplicaPlacer.java`
    /// begins at a random one). The group's are placed from the last broker on, three of them
    /// (`offsets.topic.replication.factor`).
    fn place(&self, scene: &Scene) -> Vec<Vec<NodeId>> {
        let brokers = &scene.brokers;
        let from = |first: usize, copies: u32| -> Vec<NodeId> {
            let round = brokers.iter().cycle().skip(first).take(brokers.len());
            round.take(copies as usize).copied().collect()
        };
        let owners = self.broker_ring.as_ref().zip(scene.share).map(|(ring, share)| {
            let names = (0..self.partitions).map(|number| format!("partition-{number}"));
            share(ring, brokers.len() as u32, names.collect(), scene.seed)
        });
        let topic = (0..self.partitions as usize).map(|at| {
            let first = owners.as_ref().map_or(at % brokers.len(), |owners| owners[at] as usize);
            from(first, self.replication)
        });
        topic.chain([from(brokers.len() - 1, OFFSETS_REPLICATION)]).collect()
    }
}

/// More keys than this are not placed by a ring: the table would not fit.
const KEYS_MAX: u64 = 1_000_000;

/// `offsets.topic.replication.factor`.
const OFFSETS_REPLICATION: u32 = 3;

/// Why a broker did not take a batch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refusal {
    /// It does not lead the partition.
    NotLeader,
    /// Too few replicas are in sync.
    NotEnoughReplicas,
    /// A batch before this one is missing.
    OutOfOrder,
    /// The replicas in sync did not have it in time.
    TimedOut,
}

/// Why a broker did not give records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Miss {
    /// It does not lead the partition.
    NotLeader,
    /// The log begins and ends elsewhere.
    OutOfRange(u64, u64),
}

/// What a coordinator has against a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum GroupError {
    /// It is not the coordinator.
    NotCoordinator,
    /// Nobody of this name is in the group.
    UnknownMember,
    /// The group is in another generation.
    IllegalGeneration,
    /// The group rebalances.
    RebalanceInProgress,
}

/// What nodes tell each other.
#[derive(Clone, Debug)]
pub(super) enum Message {
    Raft(RaftMessage<Command>),
    /// A broker is there, in this life of its process.
    BrokerHeartbeat(u64),
    /// A leader wants other replicas to count as in sync.
    AlterIsr(Command),
    ReplicaFetch {
        id: u64,
        asks: Vec<ReplicaAsk>,
    },
    ReplicaFetched {
        id: u64,
        parts: Vec<(u32, u32, Fetched)>,
    },

    Metadata,
    /// The leader of each partition, the group's included.
    Leaders(Arc<[Option<NodeId>]>),
    Produce {
        id: u64,
        acks: Acks,
        batches: Vec<(u32, Option<Stamp>, Arc<[Item]>)>,
    },
    Produced {
        id: u64,
        results: Vec<(u32, Result<(), Refusal>)>,
    },
    Fetch {
        id: u64,
        asks: Vec<(u32, u64)>,
    },
    Fetched {
        id: u64,
        parts: Vec<(u32, Result<Vec<Batch>, Miss>)>,
    },

    Join {
        id: u64,
        joining: Joining,
    },
    Joined {
        id: u64,
        generation: u32,
        is_leader: bool,
        members: Vec<Joining>,
    },
    Sync {
        id: u64,
        member: MemberKey,
        generation: u32,
        parts: Vec<(MemberKey, Vec<u32>)>,
    },
    Synced {
        id: u64,
        part: Result<Vec<u32>, GroupError>,
    },
    Heartbeat {
        member: MemberKey,
        generation: u32,
    },
    HeartbeatAnswer {
        generation: u32,
        result: Result<(), GroupError>,
    },
    Leave(MemberKey),
    Commit {
        id: u64,
        member: MemberKey,
        generation: u32,
        offsets: Vec<(u32, u64)>,
    },
    Committed {
        id: u64,
        result: Result<(), GroupError>,
    },
    Position {
        id: u64,
        partitions: Vec<u32>,
    },
    Positions {
        id: u64,
        positions: Vec<(u32, u64)>,
    },
    /// Of a join or of a question for positions: ask another broker.
    NotCoordinator {
        id: u64,
    },
}

/// What a follower asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplicaAsk {
    partition: u32,
    /// The leader's term, as the follower knows it.
    epoch: u32,
    offset: u64,
    /// The term of the last batch that the follower has.
    last_epoch: u32,
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Raft(message) => message.kind(),
            Self::BrokerHeartbeat(_) => "broker_heartbeat",
            Self::AlterIsr(_) => "alter_isr",
            Self::ReplicaFetch { .. } => "replica_fetch",
            Self::ReplicaFetched { .. } => "replica_fetch_reply",
            Self::Metadata => "metadata",
            Self::Leaders(_) => "metadata_reply",
            Self::Produce { .. } => "produce",
            Self::Produced { .. } => "produce_reply",
            Self::Fetch { .. } => "fetch",
            Self::Fetched { .. } => "fetch_reply",
            Self::Join { .. } => "join",
            Self::Joined { .. } => "join_reply",
            Self::Sync { .. } => "sync",
            Self::Synced { .. } => "sync_reply",
            Self::Heartbeat { .. } => "heartbeat",
            Self::HeartbeatAnswer { .. } => "heartbeat_reply",
            Self::Leave(_) => "leave",
            Self::Commit { .. } => "commit",
            Self::Committed { .. } => "commit_reply",
            Self::Position { .. } => "offset_fetch",
            Self::Positions { .. } | Self::NotCoordinator { .. } => "offset_fetch_reply",
        }
    }

    fn size_bytes(&self) -> u32 {
        let items = |items: &[Item]| -> u32 {
            61 + items.iter().map(|item| item.size_bytes.saturating_add(20)).sum::<u32>()
        };
        let batches = |batches: &[Batch]| batches.iter().map(|batch| items(batch.items())).sum();
        match self {
            Self::Raft(message) => message.size_bytes(),
            Self::Produce { batches, .. } => {
                100 + batches.iter().map(|(.., batch)| items(batch)).sum::<u32>()
            }
            Self::Fetched { parts, .. } => {
                let of = |part: &Result<Vec<Batch>, Miss>| part.as_deref().map_or(0, batches);
                100 + parts.iter().map(|(_, part)| of(part)).sum::<u32>()
            }
            Self::ReplicaFetched { parts, .. } => {
                let of = |part: &Fetched| match part {
                    Fetched::Batches(read, _) => batches(read),
                    Fetched::Diverges(..) | Fetched::Begins(_) | Fetched::Stale => 0,
                };
                100 + parts.iter().map(|(.., part)| of(part)).sum::<u32>()
            }
            _ => 100,
        }
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Produce { .. })
    }
}

/// What a node reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Raft(RaftTimer),
    Work(WorkTimer),
    /// A broker: tell the controller that it is there, look after the replicas.
    Beat,
    /// A broker: there is something new for those who wait.
    Wake,
    /// A broker: those who wait for the longest have waited long enough.
    Unpark,
    /// A broker: ask this leader again.
    FetchFrom(NodeId, u64),
    /// A broker: this request has waited long enough for the replicas in sync.
    ProduceOverdue(NodeId, u64),
    /// A broker: look after the group.
    Group,
    /// A broker: look for old records.
    Retention,
    /// A broker: the operating system writes back.
    WriteBack,

    /// A client: a request was not answered in time.
    Overdue(u64),
    /// A client: ask again who leads.
    Refresh,
    /// A client: open a connection with this broker, again.
    Reconnect(NodeId),
    /// A producer: a batch may be sent.
    Drain,
    /// A consumer: a heartbeat is due.
    Heartbeat,
    /// A consumer: it should have asked for more by now.
    PollOverdue(u64),
    /// A consumer: commit what was worked on.
    Commit,
    /// A consumer: go on.
    Turn,
    /// A consumer: it starts again.
    Respawn,
}

impl From<WorkTimer> for Timer {
    fn from(timer: WorkTimer) -> Self {
        Self::Work(timer)
    }
}

/// What a broker has on disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    raft: RaftDisk<Command>,
    logs: BTreeMap<u32, Log>,
}

/// A write to it.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Raft(RaftWrite<Command>),
    Append(u32, Batch),
    Truncate(u32, u64),
    Reset(u32, u64),
    Trim(u32, u64),
}

impl Disk {
    fn log(&mut self, partition: u32) -> &mut Log {
        self.logs.entry(partition).or_default()
    }
}

impl Stable for Disk {
    type Write = Write;

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Raft(write) => self.raft.apply(write),
            Write::Append(partition, batch) => self.log(*partition).append(batch.clone()),
            Write::Truncate(partition, end) => self.log(*partition).truncate(*end),
            Write::Reset(partition, start) => self.log(*partition).reset(*start),
            Write::Trim(partition, start) => self.log(*partition).trim(*start),
        }
    }
}

/// A node of it.
#[derive(Debug)]
pub(super) enum Kafka {
    /// A broker, which is a controller too.
    Broker(Box<Broker>),
    /// A producer.
    Producer(Box<Producer>),
    /// A member of the group.
    Consumer(Box<Consumer>),
}

type Ctx<'a, 'b> = &'a mut Context<'b, Kafka>;

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// A broker: who it is, who all of them are, and who has a replica of each partition.
    Broker(Box<KafkaParams>, NodeId, Vec<NodeId>, Vec<Vec<NodeId>>),
    /// A producer, the brokers, and the partition of each key where a ring says it.
    Producer(Box<KafkaParams>, Vec<NodeId>, Option<Arc<[u32]>>),
    /// A member of the group, and the brokers.
    Consumer(Box<KafkaParams>, Work, Vec<NodeId>),
}

impl QueueProtocol for Kafka {
    const ABOUT: About = About {
        name: "kafka",
        summary: "Kafka: partitions, replicas in sync, a group of consumers",
        source: "apache/kafka 1eb7644 (2024-10-25)",
        version: "3.9",
    };
    type Params = KafkaParams;

    fn role(params: &KafkaParams, part: Part, scene: &Scene) -> Role {
        let (params, brokers) = (Box::new(params.clone()), scene.brokers.clone());
        match part {
            Part::Broker(place) => {
                let placed = params.place(scene);
                Role::Broker(params, brokers[place as usize], brokers, placed)
            }
            Part::Producer(_) => {
                let partitions = params.partitions_of_keys(scene);
                Role::Producer(params, brokers, partitions)
            }
            Part::Consumer(_) => Role::Consumer(params, scene.work.clone(), brokers),
        }
    }

    fn fits(params: &KafkaParams, config: &QueuesConfig) -> Result<(), String> {
        if config.brokers < params.replication {
            let (copies, brokers) = (params.replication, config.brokers);
            return Err(format!(
                "`replication` of {copies} needs as many brokers, found {brokers}"
            ));
        }
        if !config.messages.priorities.is_empty() {
            return Err("Kafka knows no priorities".into());
        }
        if params.key_ring.is_some() && KEYS_MAX < config.messages.keys {
            let keys = config.messages.keys;
            return Err(format!("`key_ring` places at most {KEYS_MAX} keys, found {keys}"));
        }
        Ok(())
    }

    fn rings(params: &KafkaParams, config: &QueuesConfig) -> Vec<(Choice, u32)> {
        let of_keys = params.key_ring.iter().map(|ring| (ring.clone(), params.partitions));
        let of_brokers = params.broker_ring.iter().map(|ring| (ring.clone(), config.brokers));
        of_keys.chain(of_brokers).collect()
    }
}

impl Node for Kafka {
    type Role = Role;
    type Stable = Disk;
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &Role, disk: &Disk) -> Self {
        match role {
            Role::Broker(params, own, brokers, placed) => {
                Self::Broker(Box::new(Broker::boot(params, *own, brokers, placed, disk)))
            }
            Role::Producer(params, brokers, partitions) => {
                Self::Producer(Box::new(Producer::new(params, brokers, partitions.clone())))
            }
            Role::Consumer(params, work, brokers) => {
                Self::Consumer(Box::new(Consumer::new(params, work, brokers)))
            }
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Broker(broker) => broker.handle(input, ctx),
            Self::Producer(producer) => producer.handle(input, ctx),
            Self::Consumer(consumer) => consumer.handle(input, ctx),
        }
    }
}
