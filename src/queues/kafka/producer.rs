//! A producer: gathers records into a batch for each partition, sends batches to leaders, and sends
//! again what failed.
//!
//! Read at apache/kafka 1eb7644: `RecordAccumulator.java`, `Sender.java`, `NetworkClient.java`,
//! `TransactionManager.java`. What fails goes back to the head of its partition's queue. Of several
//! requests that fail at once the oldest goes back first (`InFlightRequests.clearAll`), so the latest
//! ends up in front: without idempotence that reorders records; with it, batches go back in the
//! order of their sequence numbers (`insertInSequenceOrder`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Connection, Input, NodeId, TimerId};

use super::super::{Indication, Item, Request};
use super::log::Stamp;
use super::{Acks, Ctx, Kafka, KafkaParams, Message, Refusal, Timer, partition_of};

/// A producer.
#[derive(Clone, Debug)]
pub(in crate::queues) struct Producer {
    params: KafkaParams,
    brokers: Brokers,
    /// Names this session to brokers.
    session: u64,
    queues: Vec<Queue>,
    /// The partition of each key, where a ring says it.
    partitions: Option<Arc<[u32]>>,
    in_flight: BTreeMap<u64, Flight>,
    next_id: u64,
    drain: Option<(SimTime, TimerId)>,
}

/// What waits to be sent to a partition.
#[derive(Clone, Debug, Default)]
struct Queue {
    batches: VecDeque<Pending>,
    next_sequence: u64,
}

/// A batch that is not confirmed.
#[derive(Clone, Debug)]
struct Pending {
    items: Vec<Item>,
    bytes: u64,
    created: SimTime,
    attempts: u32,
    /// Not to be sent before.
    ready: SimTime,
    sequence: Option<u64>,
}

/// A request that is not answered.
#[derive(Clone, Debug)]
struct Flight {
    to: NodeId,
    batches: Vec<(u32, Pending)>,
    timer: TimerId,
}

/// What a client knows of the brokers.
#[derive(Clone, Debug)]
pub(super) struct Brokers {
    all: Vec<NodeId>,
    /// Whom it asks next.
    next: usize,
    /// Who leads each partition, the group's last.
    leaders: Vec<Option<NodeId>>,
    /// Whether it has asked, and whom, and when it asks again.
    asked: Option<(NodeId, TimerId)>,
    /// The brokers with which a connection stands.
    connected: BTreeSet<NodeId>,
    /// Those with which one is being opened, or, where that is set, will be after a pause.
    connecting: BTreeMap<NodeId, (bool, TimerId)>,
    failures: BTreeMap<NodeId, u32>,
    /// The latest connection with each by which anything came.
    latest: BTreeMap<NodeId, Connection>,
}

impl Brokers {
    pub(super) fn new(all: &[NodeId], partitions: u32) -> Self {
        Self {
            all: all.to_vec(),
            next: 0,
            leaders: vec![None; partitions as usize + 1],
            asked: None,
            connected: BTreeSet::new(),
            connecting: BTreeMap::new(),
            failures: BTreeMap::new(),
            latest: BTreeMap::new(),
        }
    }

    /// Something came from a broker.
    pub(super) fn hear(&mut self, broker: NodeId, via: Connection) {
        let latest = self.latest.entry(broker).or_default();
        *latest = via.max(*latest);
    }

    /// Whether a connection that is gone is the one in use.
    pub(super) fn concerns(&self, broker: NodeId, via: Connection) -> bool {
        self.latest.get(&broker).is_none_or(|&latest| latest <= via)
    }

    /// Whether requests can be sent to a broker. Where they cannot, a connection is being opened: it
    /// stands when the broker has answered the first question on it.
    pub(super) fn is_ready(&mut self, broker: NodeId, ctx: Ctx<'_, '_>) -> bool {
        let is_ready = self.connected.contains(&broker);
        if !is_ready && !self.connecting.contains_key(&broker) {
            ctx.send(broker, Message::Metadata);
            let timer = ctx.set_timer(CONNECTION_SETUP_TIMEOUT, Timer::Reconnect(broker));
            self.connecting.insert(broker, (false, timer));
        }
        is_ready
    }

    /// A broker has answered the first question.
    pub(super) fn connect(&mut self, broker: NodeId, ctx: Ctx<'_, '_>) {
        self.connected.insert(broker);
        self.failures.remove(&broker);
        if let Some((_, timer)) = self.connecting.remove(&broker) {
            ctx.cancel_timer(timer);
        }
    }

    /// The connection with a broker is gone: a new one is opened after a pause.
    pub(super) fn disconnect(&mut self, broker: NodeId, ctx: Ctx<'_, '_>) {
        self.connected.remove(&broker);
        if let Some((_, timer)) = self.connecting.remove(&broker) {
            ctx.cancel_timer(timer);
        }
        let failures = self.failures.entry(broker).or_default();
        let pause = RECONNECT_BACKOFF.times(1 << (*failures).min(8)).min(RECONNECT_BACKOFF_MAX);
        *failures += 1;
        let timer = ctx.set_timer(pause, Timer::Reconnect(broker));
        self.connecting.insert(broker, (true, timer));
        if self.all[self.next % self.all.len()] == broker {
            self.next += 1;
        }
    }

    /// A pause is over, or a broker has not answered in time: perhaps another one leads by now.
    pub(super) fn reconnect_due(&mut self, broker: NodeId, backoff: SimDuration, ctx: Ctx<'_, '_>) {
        if let Some((false, _)) = self.connecting.remove(&broker) {
            ctx.disconnect(broker);
            self.disconnect(broker, ctx);
            self.refresh(backoff, ctx);
        }
    }

    pub(super) fn leader(&self, partition: u32) -> Option<NodeId> {
        self.leaders[partition as usize]
    }

    /// Asks who leads, unless that is under way; not again within a back-off.
    pub(super) fn refresh(&mut self, backoff: SimDuration, ctx: Ctx<'_, '_>) {
        if self.asked.is_some() {
            return;
        }
        let broker = self.all[self.next % self.all.len()];
        ctx.send(broker, Message::Metadata);
        // Where no answer comes the next one is asked.
        self.asked = Some((broker, ctx.set_timer(backoff, Timer::Refresh)));
    }

    /// It is time to ask again, if somebody does not lead whom it knows of. Whether it did.
    pub(super) fn refresh_due(&mut self, backoff: SimDuration, ctx: Ctx<'_, '_>) {
        if self.asked.take().is_some() {
            self.next += 1;
        }
        if self.leaders.iter().any(Option::is_none) {
            self.refresh(backoff, ctx);
        }
    }

    pub(super) fn learn(&mut self, leaders: &[Option<NodeId>]) {
        self.leaders = leaders.to_vec();
    }
}

impl Producer {
    pub(super) fn new(
        params: &KafkaParams,
        brokers: &[NodeId],
        partitions: Option<Arc<[u32]>>,
    ) -> Self {
        Self {
            params: params.clone(),
            brokers: Brokers::new(brokers, params.partitions),
            session: 0,
            partitions,
            queues: vec![Queue::default(); params.partitions as usize],
            in_flight: BTreeMap::new(),
            next_id: 0,
            drain: None,
        }
    }

    pub(super) fn handle(&mut self, input: Input<Kafka>, ctx: Ctx<'_, '_>) {
        if let Input::Message { from, via, .. } = &input {
            self.brokers.hear(*from, *via);
        }
        match input {
            Input::Start => {
                self.session = ctx.rng().word();
                self.next_id = self.session;
                self.brokers.refresh(self.params.retry_backoff, ctx);
            }
            Input::Request(Request::Publish(item)) => self.take(item, ctx),
            Input::Message { from, message: Message::Leaders(leaders), .. } => {
                self.brokers.learn(&leaders);
                self.brokers.connect(from, ctx);
            }
            Input::Timer(Timer::Reconnect(broker)) => {
                self.brokers.reconnect_due(broker, self.params.retry_backoff, ctx);
            }
            Input::Message { message: Message::Produced { id, results }, .. } => {
                self.answered(id, &results, ctx);
            }
            Input::Timer(Timer::Overdue(id)) => {
                if let Some(flight) = self.in_flight.get(&id) {
                    let to = flight.to;
                    ctx.disconnect(to);
                    self.fail_all(to, ctx);
                }
            }
            Input::Closed { peer, via, .. } if self.brokers.concerns(peer, via) => {
                self.fail_all(peer, ctx);
            }
            Input::Timer(Timer::Refresh) => {
                self.brokers.refresh_due(self.params.retry_backoff, ctx);
            }
            Input::Timer(Timer::Drain) => {
                self.drain = None;
            }
            _ => (),
        }
        self.expire(ctx);
        self.drain(ctx);
    }

    /// Puts a record into the last batch for its partition, or a new one.
    fn take(&mut self, item: Item, ctx: Ctx<'_, '_>) {
        let partition = self.partition_for(&item);
        let queue = &mut self.queues[partition as usize];
        let bytes = u64::from(item.size_bytes);
        let open = queue
            .batches
            .back_mut()
            .filter(|last| last.attempts == 0 && last.bytes + bytes <= self.params.batch_size.0);
        if let Some(last) = open {
            last.items.push(item);
            last.bytes += bytes;
        } else {
            let ready = ctx.now() + self.params.linger();
            let (items, created) = (vec![item], ctx.now());
            queue.batches.push_back(Pending {
                items,
                bytes,
                created,
                attempts: 0,
                ready,
                sequence: None,
            });
        }
    }

    fn partition_for(&self, item: &Item) -> u32 {
        let by_ring = self.partitions.as_ref().and_then(|all| all.get(item.key as usize));
        by_ring.copied().unwrap_or_else(|| {
            partition_of(item.key.to_string().as_bytes(), self.params.partitions)
        })
    }

    /// Sends what may be sent: to each broker one request, with a batch for each partition that it
    /// leads.
    fn drain(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        let mut wants_leader = false;
        for place in 0..self.brokers.all.len() {
            let to = self.brokers.all[place];
            let leads = |of: u32| self.brokers.leader(of) == Some(to);
            let mut partitions = (0..self.params.partitions).filter(|&of| leads(of));
            if !partitions.any(|of| self.may_send(of, now)) || !self.brokers.is_ready(to, ctx) {
                continue;
            }
            while self.flights_to(to) < self.params.max_in_flight as usize {
                let mut batches = Vec::new();
                for partition in 0..self.params.partitions {
                    if self.brokers.leader(partition) == Some(to)
                        && self.may_send(partition, now)
                        && let Some(batch) = self.queues[partition as usize].batches.pop_front()
                    {
                        batches.push((partition, batch));
                    }
                }
                if batches.is_empty() {
                    break;
                }
                self.send(to, batches, ctx);
            }
        }
        for (partition, queue) in (0..).zip(&self.queues) {
            wants_leader |= !queue.batches.is_empty() && self.brokers.leader(partition).is_none();
        }
        if wants_leader {
            self.brokers.refresh(self.params.retry_backoff, ctx);
        }
        self.look_later(ctx);
    }

    fn flights_to(&self, to: NodeId) -> usize {
        self.in_flight.values().filter(|flight| flight.to == to).count()
    }

    fn may_send(&self, partition: u32, now: SimTime) -> bool {
        let queue = &self.queues[partition as usize];
        let Some(first) = queue.batches.front() else { return false };
        let is_full = 1 < queue.batches.len() && first.attempts == 0;
        if now < first.ready && !is_full {
            return false;
        }
        // One that is sent again goes before all that came later
        // (`shouldStopDrainBatchesForPartition`).
        let flying = self.in_flight.values().flat_map(|flight| &flight.batches);
        let mut flying = flying.filter(|(which, _)| *which == partition);
        first.sequence.is_none_or(|sequence| {
            flying.all(|(_, other)| other.sequence.is_none_or(|other| sequence < other))
        })
    }

    fn send(&mut self, to: NodeId, mut batches: Vec<(u32, Pending)>, ctx: Ctx<'_, '_>) {
        let is_kept = self.params.acks != Acks::None;
        let mut wire = Vec::new();
        for (partition, batch) in &mut batches {
            let queue = &mut self.queues[*partition as usize];
            if self.params.idempotence && batch.sequence.is_none() {
                batch.sequence = Some(queue.next_sequence);
                queue.next_sequence += batch.items.len() as u64;
            }
            let stamp = batch.sequence.map(|first| Stamp { producer: self.session, first });
            let items: Arc<[Item]> = batch.items.clone().into();
            for item in &batch.items {
                ctx.indicate(Indication::Sent { serial: item.serial, is_kept });
            }
            wire.push((*partition, stamp, items));
        }
        self.next_id += 1;
        let id = self.next_id;
        ctx.send(to, Message::Produce { id, acks: self.params.acks, batches: wire });
        ctx.reach("sent");
        if is_kept {
            let timer = ctx.set_timer(self.params.request_timeout, Timer::Overdue(id));
            self.in_flight.insert(id, Flight { to, batches, timer });
        }
    }

    fn answered(&mut self, id: u64, results: &[(u32, Result<(), Refusal>)], ctx: Ctx<'_, '_>) {
        let Some(flight) = self.in_flight.remove(&id) else { return };
        ctx.cancel_timer(flight.timer);
        for (partition, batch) in flight.batches {
            let result = results.iter().find(|(which, _)| *which == partition);
            match result.map(|&(_, result)| result) {
                Some(Ok(())) => {
                    for item in &batch.items {
                        ctx.indicate(Indication::Confirmed(item.serial));
                    }
                }
                Some(Err(Refusal::NotLeader)) | None => {
                    self.brokers.refresh(self.params.retry_backoff, ctx);
                    self.put_back(partition, batch, ctx);
                }
                Some(Err(_)) => self.put_back(partition, batch, ctx),
            }
        }
    }

    /// A broker cannot be reached: all that it has not answered has failed, the oldest first.
    fn fail_all(&mut self, broker: NodeId, ctx: Ctx<'_, '_>) {
        let ids: Vec<u64> = self
            .in_flight
            .iter()
            .filter(|(_, flight)| flight.to == broker)
            .map(|(&id, _)| id)
            .collect();
        let any_failed = !ids.is_empty();
        for id in ids {
            let Some(flight) = self.in_flight.remove(&id) else { continue };
            ctx.cancel_timer(flight.timer);
            for (partition, batch) in flight.batches {
                self.put_back(partition, batch, ctx);
            }
        }
        self.brokers.disconnect(broker, ctx);
        self.brokers.refresh(self.params.retry_backoff, ctx);
        if any_failed && self.params.resend_by_new_producer {
            self.begin_session(ctx);
        }
    }

    /// The application opens another producer, and hands that what the former one had left.
    fn begin_session(&mut self, ctx: Ctx<'_, '_>) {
        self.session = ctx.rng().word();
        for queue in &mut self.queues {
            queue.next_sequence = 0;
            for batch in &mut queue.batches {
                batch.sequence = None;
            }
        }
    }

    fn put_back(&mut self, partition: u32, mut batch: Pending, ctx: Ctx<'_, '_>) {
        batch.attempts += 1;
        batch.ready = ctx.now() + self.backoff(batch.attempts);
        let queue = &mut self.queues[partition as usize];
        let at = match batch.sequence {
            Some(sequence) => queue
                .batches
                .partition_point(|other| other.sequence.is_some_and(|other| other < sequence)),
            None => 0,
        };
        queue.batches.insert(at, batch);
    }

    fn backoff(&self, attempts: u32) -> SimDuration {
        let doubled = self.params.retry_backoff.times(1 << attempts.saturating_sub(1).min(16));
        doubled.min(self.params.retry_backoff_max.max(self.params.retry_backoff))
    }

    /// Gives up what has taken too long.
    fn expire(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        let limit = self.params.delivery_timeout;
        let mut given_up = Vec::new();
        for queue in &mut self.queues {
            queue.batches.retain(|batch| {
                let is_over = limit <= now.since(batch.created);
                if is_over {
                    given_up.extend(batch.items.iter().map(|item| item.serial));
                }
                !is_over
            });
        }
        for serial in given_up {
            ctx.indicate(Indication::GaveUp(serial));
        }
    }

    /// Looks again when the next batch may be sent, or has to be given up.
    fn look_later(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        let limit = self.params.delivery_timeout;
        let firsts = self.queues.iter().filter_map(|queue| queue.batches.front());
        let at = firsts.map(|first| {
            let over = first.created + limit;
            if now < first.ready { first.ready.min(over) } else { over }
        });
        let Some(at) = at.min() else { return };
        if self.drain.is_some_and(|(planned, _)| planned <= at) {
            return;
        }
        if let Some((_, timer)) = self.drain.take() {
            ctx.cancel_timer(timer);
        }
        self.drain = Some((at, ctx.set_timer(at.since(now), Timer::Drain)));
    }
}

/// `socket.connection.setup.timeout.ms`.
const CONNECTION_SETUP_TIMEOUT: SimDuration = SimDuration::from_secs(10);

/// `reconnect.backoff.ms`.
const RECONNECT_BACKOFF: SimDuration = SimDuration::from_ms(50);

/// `reconnect.backoff.max.ms`.
const RECONNECT_BACKOFF_MAX: SimDuration = SimDuration::from_secs(1);
