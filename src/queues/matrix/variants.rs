//! The rows of the matrix: which variant with which parameters each id stands for.

use super::super::Entry;
use super::Condition;
use super::faults::{Actors, Killed};

/// A queue of the matrix.
#[derive(Debug)]
pub struct Variant {
    /// Its id: `V3`.
    pub id: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// The variant of the catalogue.
    pub name: &'static str,
    /// Its parameters.
    params: &'static str,
    /// How many brokers it has.
    pub(super) brokers: u32,
    /// How many keys its messages have: more than one where order holds within a key only.
    pub(super) keys: u32,
    /// Which broker leads at the start, from 1.
    leader: u32,
    /// Whether brokers are somebody else's business, and never lose what they have taken.
    pub(super) is_managed: bool,
    /// Whether a producer does anything about a publish of which it does not know what became.
    pub(super) retries: bool,
    killed: Killed,
    before_ack: (&'static str, u32),
    silence_s: f64,
    patience_s: f64,
    poison: &'static str,
    /// The row of what is not in the catalogue.
    pub(super) own: Option<&'static Entry>,
}

impl Variant {
    /// A row for a queue that is not in the catalogue: by its id, what tables call it, its
    /// parameters, and for how long a message stays with a consumer that is silent.
    pub const fn of_own(
        id: &'static str,
        title: &'static str,
        entry: &'static Entry,
        params: &'static str,
        silence_s: f64,
    ) -> Self {
        let (name, own) = (entry.about.name, Some(entry));
        Self { id, title, name, params, silence_s, patience_s: silence_s, own, ..PLAIN }
    }

    /// The variant and its parameters, as a scenario has them, under a condition of its own or the
    /// usual one.
    pub fn choice(&self, condition: Option<&Condition>) -> String {
        let more = condition.map_or("", |condition| condition.params);
        let is_instead = condition.is_some_and(|condition| condition.is_instead);
        let params = if is_instead { "" } else { self.params };
        let comma = if params.is_empty() || more.is_empty() { "" } else { ", " };
        format!("{{ {} = {{ {params}{comma}{more} }} }}", self.name)
    }

    pub(super) fn actors(&self, condition: Option<&Condition>) -> Actors {
        Actors {
            brokers: self.brokers,
            leader: self.leader,
            killed: condition.and_then(|condition| condition.killed).unwrap_or(self.killed),
            before_ack: self.before_ack,
            silence_s: self.silence_s,
            patience_s: self.patience_s,
            poison: condition.and_then(|condition| condition.poison).unwrap_or(self.poison),
        }
    }
}

/// What most of them have in common.
const PLAIN: Variant = Variant {
    id: "",
    title: "",
    name: "",
    params: "",
    brokers: 1,
    keys: 1,
    leader: 1,
    is_managed: false,
    retries: true,
    killed: Killed::Process,
    before_ack: ("done", 2),
    // Three heartbeats of 60 s.
    silence_s: 180.0,
    // `consumer_timeout`.
    patience_s: 1800.0,
    poison: "fails",
    own: None,
};

/// All rows, in the order of the table.
pub const VARIANTS: &[Variant] = &[
    Variant {
        id: "V1",
        title: "AMQP classic, auto-ack",
        name: "amqp_classic",
        params: "auto_ack = true, confirms = false, persistent = false",
        retries: false,
        // Nothing is ever with a consumer, as the broker sees it.
        silence_s: 20.0,
        patience_s: 60.0,
        ..PLAIN
    },
    Variant {
        id: "V2",
        title: "AMQP classic durable, persistent, confirms, manual ack",
        name: "amqp_classic",
        params: "prefetch = 4",
        ..PLAIN
    },
    Variant {
        id: "V3",
        title: "Celery/RMQ default (early ack, no confirms)",
        name: "celery",
        killed: Killed::Child,
        // A task that runs is with nobody, as the broker sees it.
        silence_s: 20.0,
        patience_s: 60.0,
        ..PLAIN
    },
    Variant {
        id: "V4",
        title: "Celery/RMQ acks_late, reject_on_worker_lost, confirm_publish",
        name: "celery",
        params: "acks_late = true, reject_on_worker_lost = true, confirm_publish = true",
        killed: Killed::Child,
        ..PLAIN
    },
    Variant {
        id: "V4d",
        title: "Celery/RMQ acks_late only",
        name: "celery",
        params: "acks_late = true",
        killed: Killed::Child,
        poison: "kills",
        ..PLAIN
    },
    Variant {
        id: "V5",
        title: "Celery/Redis acks_late, visibility timeout",
        name: "celery_redis",
        // Replicas and clients that notice a dead primary within seconds.
        params: "acks_late = true",
        brokers: 3,
        silence_s: 3600.0,
        patience_s: 3600.0,
        ..PLAIN
    },
    Variant {
        id: "V6",
        title: "SQS standard",
        name: "sqs",
        brokers: 3,
        is_managed: true,
        silence_s: 30.0,
        patience_s: 30.0,
        ..PLAIN
    },
    Variant {
        id: "V7",
        title: "SQS FIFO",
        name: "sqs",
        params: "fifo = true",
        keys: 8,
        is_managed: true,
        silence_s: 30.0,
        patience_s: 30.0,
        ..PLAIN
    },
    Variant {
        id: "V8",
        title: "Kafka safe: RF3 acks=all minISR2 idempotent, manual commit after work",
        name: "kafka",
        params: "partitions = 6, replication = 3, min_insync_replicas = 2, commit = \"after_poll\"",
        brokers: 3,
        keys: 24,
        before_ack: ("committing", 2),
        silence_s: 45.0,
        patience_s: 300.0,
        ..PLAIN
    },
    Variant {
        id: "V9",
        title: "Kafka fast: acks=1 non-idempotent, auto-commit",
        name: "kafka",
        params: "partitions = 6, replication = 3, acks = \"leader\", idempotence = false",
        brokers: 3,
        keys: 24,
        before_ack: ("done", 21),
        silence_s: 45.0,
        patience_s: 300.0,
        ..PLAIN
    },
    Variant {
        id: "V10",
        title: "Redis Streams group",
        name: "redis_streams",
        params: "count = 1, min_idle = \"300s\"",
        brokers: 3,
        silence_s: 300.0,
        patience_s: 300.0,
        ..PLAIN
    },
    Variant {
        id: "V11",
        title: "NATS JetStream R3, default sync",
        name: "jetstream",
        // Programs that publish and fetch one message after the other. The first server, which
        // every script of a restart strikes, is one of three here and not the stream's leader: an
        // election takes 4 to 9 s, and that would be another question.
        params: "publish_window = 1, batch = 1, leader = 2",
        brokers: 3,
        leader: 2,
        silence_s: 30.0,
        patience_s: 30.0,
        ..PLAIN
    },
    Variant {
        id: "V12",
        title: "RMQ quorum R3, delivery-limit 20",
        name: "amqp_quorum",
        params: "prefetch = 4",
        brokers: 3,
        ..PLAIN
    },
    Variant {
        id: "V13",
        title: "RMQ mirrored classic 3.x (historical)",
        name: "amqp_mirrored",
        params: "prefetch = 4",
        brokers: 3,
        ..PLAIN
    },
];
