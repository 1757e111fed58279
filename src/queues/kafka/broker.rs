//! A broker, which is a controller too: what it does with requests, how it follows other brokers'
//! logs, and how the controllers watch over all of them.
//!
//! Read at apache/kafka 1eb7644: `ReplicaManager.scala`, `AbstractFetcherThread.scala`,
//! `BrokerLifecycleManager.scala`, `ClusterControlManager.java` (a broker that comes back is refused
//! until the session of its former life is over), `LogManager.scala`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::{Connection, Input, Node, NodeId, Output, TimerId};
use crate::model::raft::{Raft, RaftConfig, RaftIndication, RaftMessage, RaftRole};

use super::super::{Item, LogEvent};
use super::group::{Appended, Effect, Group};
use super::log::{Batch, Content, Sequence, Stamp};
use super::metadata::{Command, FIRST_LIFE, Metadata};
use super::replica::{Fetched, Replica};
use super::{
    Acks, Ctx, Disk, GroupError, Kafka, KafkaParams, Message, Miss, Refusal, ReplicaAsk, Timer,
    Write,
};

/// A broker.
#[derive(Debug)]
pub(in crate::queues) struct Broker {
    params: KafkaParams,
    own: NodeId,
    raft: Raft<Command>,
    /// Which broker was heard last as the leading controller.
    controller: NodeId,
    /// When the leading controller heard each broker last; nothing where another one leads.
    sessions: Option<BTreeMap<NodeId, SimTime>>,
    metadata: Metadata,
    /// Which life of this process it is, and whether the controllers have registered it.
    life: u64,
    is_registered: bool,
    replicas: BTreeMap<u32, Replica>,
    /// From which leaders it fetches: the number of the request that is not answered yet.
    fetches: BTreeMap<NodeId, (u64, TimerId)>,
    next_id: u64,
    /// The latest connection with each node by which anything came.
    latest: BTreeMap<NodeId, Connection>,
    /// Requests for records for which there was nothing yet.
    parked: Vec<Parked>,
    wakes: bool,
    unpark: Option<TimerId>,
    produces: BTreeMap<(NodeId, u64), Producing>,
    group: Option<Group>,
    group_wake: Option<(SimTime, TimerId)>,
    is_writing_back: bool,
}

/// A request for records that waits for some.
#[derive(Clone, Debug)]
struct Parked {
    from: NodeId,
    id: u64,
    until: SimTime,
    asks: Asks,
}

#[derive(Clone, Debug)]
enum Asks {
    Consumer(Vec<(u32, u64)>),
    Follower(Vec<ReplicaAsk>),
}

/// What waits for the high watermark.
#[derive(Clone, Debug)]
pub(super) enum Waiting {
    Produce(NodeId, u64),
    Group(Appended),
}

/// A request to append that is not answered yet.
#[derive(Clone, Debug)]
struct Producing {
    results: Vec<(u32, Option<Result<(), Refusal>>)>,
    timer: TimerId,
}

impl Broker {
    pub(super) fn boot(
        params: &KafkaParams,
        own: NodeId,
        brokers: &[NodeId],
        placed: &[Vec<NodeId>],
        disk: &Disk,
    ) -> Self {
        let config = RaftConfig {
            election_min: QUORUM_FETCH_TIMEOUT,
            election_max: QUORUM_FETCH_TIMEOUT + QUORUM_ELECTION_TIMEOUT,
            heartbeat: METADATA_MAX_IDLE,
            ..RaftConfig::PAPER
        };
        let role = RaftRole { config, members: brokers.to_vec(), restricts_votes: true };
        let has = (0..).zip(placed).filter(|(_, replicas)| replicas.contains(&own));
        let log = |partition| disk.logs.get(&partition).cloned().unwrap_or_default();
        Self {
            params: params.clone(),
            own,
            raft: Raft::boot(&role, &disk.raft),
            controller: brokers[0],
            sessions: None,
            metadata: Metadata::new(placed, brokers, params.unclean_leader_election),
            life: FIRST_LIFE,
            is_registered: false,
            replicas: has.map(|(at, _)| (at, Replica::new(log(at)))).collect(),
            fetches: BTreeMap::new(),
            next_id: 0,
            latest: BTreeMap::new(),
            parked: Vec::new(),
            wakes: false,
            unpark: None,
            produces: BTreeMap::new(),
            group: None,
            group_wake: None,
            is_writing_back: false,
        }
    }

    pub(super) fn handle(&mut self, input: Input<Kafka>, ctx: Ctx<'_, '_>) {
        if let Input::Message { from, via, .. } = &input {
            let latest = self.latest.entry(*from).or_default();
            *latest = (*via).max(*latest);
        }
        match input {
            Input::Start => self.start(ctx),
            Input::Message { from, message: Message::Raft(message), via } => {
                if matches!(message, RaftMessage::Append { .. }) {
                    self.controller = from;
                }
                self.drive(Input::Message { from, via, message }, ctx);
            }
            Input::Message { from, message, .. } => self.hear(from, message, ctx),
            Input::Closed { peer, via, why } => {
                if self.latest.get(&peer).is_none_or(|&latest| latest <= via) {
                    self.lost(peer, ctx);
                }
                self.drive(Input::Closed { peer, via, why }, ctx);
            }
            Input::Synced(id) => self.drive(Input::Synced(id), ctx),
            Input::Timer(Timer::Raft(timer)) => self.drive(Input::Timer(timer), ctx),
            Input::Timer(timer) => self.due(timer, ctx),
            Input::Request(_) | Input::Overload { .. } | Input::Signal(_) => (),
        }
        self.look_after_group(ctx);
    }

    fn start(&mut self, ctx: Ctx<'_, '_>) {
        let is_first_start = ctx.now() == SimTime::ZERO;
        if is_first_start {
            self.is_registered = true;
        } else {
            self.life = ctx.rng().word() | 1;
        }
        self.drive(Input::Start, ctx);
        if is_first_start {
            let all: Vec<u32> = self.replicas.keys().copied().collect();
            self.follow_metadata(&all, ctx);
        }
        self.beat(ctx);
        ctx.set_timer(self.params.retention_check, Timer::Retention);
    }

    /// The connection with a node is gone, and with it what that waits for.
    fn lost(&mut self, peer: NodeId, ctx: Ctx<'_, '_>) {
        self.parked.retain(|parked| parked.from != peer);
        if let Some((_, timer)) = self.fetches.remove(&peer) {
            ctx.cancel_timer(timer);
            self.fetch_later(peer, ctx);
        }
    }

    fn due(&mut self, timer: Timer, ctx: Ctx<'_, '_>) {
        match timer {
            Timer::Beat => self.beat(ctx),
            Timer::Wake => {
                self.wakes = false;
                self.wake(ctx);
            }
            Timer::Unpark => {
                self.unpark = None;
                self.unpark(ctx);
            }
            Timer::FetchFrom(leader, id) => {
                // The answer is overdue, or it is time to ask again.
                if self.fetches.get(&leader).is_some_and(|&(asked, _)| asked == id) {
                    self.fetches.remove(&leader);
                    if id != PAUSE {
                        ctx.disconnect(leader);
                    }
                    self.fetch_from(leader, ctx);
                }
            }
            Timer::ProduceOverdue(from, id) => {
                if let Some(producing) = self.produces.get_mut(&(from, id)) {
                    for (_, result) in &mut producing.results {
                        result.get_or_insert(Err(Refusal::TimedOut));
                    }
                    self.answer_if_done(from, id, ctx);
                }
            }
            Timer::Group => self.group_wake = None,
            Timer::Retention => {
                self.let_go_old(ctx);
                ctx.set_timer(self.params.retention_check, Timer::Retention);
            }
            Timer::WriteBack => {
                self.is_writing_back = false;
                ctx.sync();
            }
            _ => unreachable!("a broker sets no client's timer"),
        }
    }

    fn hear(&mut self, from: NodeId, message: Message, ctx: Ctx<'_, '_>) {
        match message {
            Message::BrokerHeartbeat(life) => self.heard_broker(from, life, ctx),
            Message::AlterIsr(command) => self.propose(command, ctx),
            Message::ReplicaFetch { id, asks } => {
                let asks = self.note_follower(from, id, asks, ctx);
                self.answer_or_park(from, id, asks, ctx);
            }
            Message::ReplicaFetched { id, parts } => self.replicate(from, id, parts, ctx),
            Message::Metadata => {
                let leaders = self.metadata.partitions.iter().map(|state| state.leader);
                let leaders: Arc<[Option<NodeId>]> = leaders.collect();
                ctx.send(from, Message::Leaders(leaders));
            }
            Message::Produce { id, acks, batches } => self.produce(from, id, acks, batches, ctx),
            Message::Fetch { id, asks } => {
                self.answer_or_park(from, id, Asks::Consumer(asks), ctx);
            }
            _ => self.hear_of_group(from, message, ctx),
        }
    }

    /// Lets something happen to this broker's member of the metadata quorum.
    fn drive(&mut self, input: Input<Raft<Command>>, ctx: Ctx<'_, '_>) {
        for output in ctx.ask_part(&mut self.raft, input) {
            match output {
                Output::Indicate(RaftIndication::Committed { command, .. }) => {
                    let changed = self.metadata.apply(&command);
                    let is_own = command == Command::Unfence(self.own, self.life);
                    if is_own {
                        self.is_registered = true;
                        let all: Vec<u32> = self.replicas.keys().copied().collect();
                        self.follow_metadata(&all, ctx);
                    } else {
                        self.follow_metadata(&changed, ctx);
                    }
                }
                Output::Indicate(RaftIndication::Leads) => {
                    let now = ctx.now();
                    self.controller = self.own;
                    self.sessions =
                        Some(self.raft_members().into_iter().map(|one| (one, now)).collect());
                }
                Output::Indicate(RaftIndication::Follows) => self.sessions = None,
                Output::Send { to, message } => ctx.send(to, Message::Raft(message)),
                Output::Disconnect { peer } => ctx.disconnect(peer),
                Output::SetTimer { id, after, timer } => {
                    ctx.put_out(Output::SetTimer { id, after, timer: Timer::Raft(timer) });
                }
                Output::CancelTimer(id) => ctx.cancel_timer(id),
                Output::Write(write) => ctx.write(Write::Raft(write)),
                Output::Sync(id) => ctx.put_out(Output::Sync(id)),
                Output::Reach(point) => ctx.reach(point),
            }
        }
    }

    fn raft_members(&self) -> Vec<NodeId> {
        self.metadata.brokers().collect()
    }

    fn propose(&mut self, command: Command, ctx: Ctx<'_, '_>) {
        self.drive(Input::Request(command), ctx);
    }

    /// Tells the controller that it is there; as the controller, looks who is not.
    fn beat(&mut self, ctx: Ctx<'_, '_>) {
        ctx.set_timer(self.params.broker_heartbeat, Timer::Beat);
        if self.sessions.is_some() {
            self.heard_broker(self.own, self.life, ctx);
        } else if self.controller != self.own {
            ctx.send(self.controller, Message::BrokerHeartbeat(self.life));
        }
        let (now, session) = (ctx.now(), self.params.broker_session);
        let silent = self.sessions.iter().flatten().filter(|&(_, &at)| session <= now.since(at));
        let silent: Vec<NodeId> = silent.map(|(&broker, _)| broker).collect();
        for broker in silent {
            if !self.metadata.is_fenced(broker) {
                self.propose(Command::Fence(broker), ctx);
            }
        }
        let led: Vec<u32> = self.replicas.keys().copied().collect();
        for partition in led {
            self.look_after_isr(partition, ctx);
        }
    }

    fn heard_broker(&mut self, broker: NodeId, life: u64, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        let Some(heard) = self.sessions.as_mut().and_then(|all| all.get_mut(&broker)) else {
            return;
        };
        let is_known = self.metadata.life(broker) == Some(life);
        let is_over = self.params.broker_session <= now.since(*heard);
        if is_known {
            *heard = now;
            if self.metadata.is_fenced(broker) {
                self.propose(Command::Unfence(broker, life), ctx);
            }
        } else if is_over || self.metadata.is_fenced(broker) {
            *heard = now;
            if !self.metadata.is_fenced(broker) {
                self.propose(Command::Fence(broker), ctx);
            }
            self.propose(Command::Unfence(broker, life), ctx);
        }
    }

    /// Takes note of what the controllers have agreed on.
    fn follow_metadata(&mut self, changed: &[u32], ctx: Ctx<'_, '_>) {
        if !self.is_registered {
            return;
        }
        for &partition in changed {
            let state = self.metadata.partitions[partition as usize].clone();
            let Some(replica) = self.replicas.get_mut(&partition) else { continue };
            let is_new_term = replica.epoch < state.epoch || replica.leader.is_none();
            replica.leader = state.leader;
            if state.leader == Some(self.own) {
                if is_new_term || replica.leads.is_none() {
                    self.resign(partition, ctx);
                    self.lead(partition, ctx);
                } else {
                    replica.set_isr(&state.isr, state.version);
                    self.after_advance(partition, ctx);
                }
                continue;
            }
            replica.epoch = state.epoch;
            self.resign(partition, ctx);
            if let Some(leader) = state.leader
                && !self.fetches.contains_key(&leader)
            {
                self.fetch_from(leader, ctx);
            }
        }
    }

    fn lead(&mut self, partition: u32, ctx: Ctx<'_, '_>) {
        let state = self.metadata.partitions[partition as usize].clone();
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        replica.epoch = state.epoch;
        replica.lead(self.own, &state.replicas, &state.isr, state.version, ctx.now());
        if partition == self.params.group_partition() {
            let mut group = Group::new(self.params.group_rules());
            for batch in replica.log.batches() {
                if let Content::Group(record) = &batch.content {
                    group.load(record, ctx.now());
                }
            }
            self.group = Some(group);
        } else {
            let (start, records) = (replica.log.start(), replica.log.tokens());
            let (log, epoch) = (partition, state.epoch);
            ctx.indicate(LogEvent::Led { log, epoch, start, records }.into());
        }
        ctx.reach("leads");
        self.after_advance(partition, ctx);
    }

    /// Leads no more: those who wait ask elsewhere.
    fn resign(&mut self, partition: u32, ctx: Ctx<'_, '_>) {
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let Some(leading) = replica.leads.take() else { return };
        if partition == self.params.group_partition() {
            self.group = None;
        }
        for (_, waiting) in leading.waiting {
            if let Waiting::Produce(from, id) = waiting {
                self.produced(from, id, partition, Err(Refusal::NotLeader), ctx);
            }
        }
        self.wake_soon(ctx);
    }

    /// The high watermark may have moved: answers those who wait for it.
    fn after_advance(&mut self, partition: u32, ctx: Ctx<'_, '_>) {
        let least = self.params.min_insync_replicas as usize;
        let mut safe = Vec::new();
        let mut is_enough = true;
        if let Some(replica) = self.replicas.get_mut(&partition)
            && let Some(leading) = &mut replica.leads
        {
            is_enough = least <= leading.isr.len();
            let passed = leading.waiting.partition_point(|(end, _)| *end <= replica.high);
            safe.extend(leading.waiting.drain(..passed).map(|(_, waiting)| waiting));
        }
        if !safe.is_empty() {
            self.wake_soon(ctx);
        }
        for waiting in safe {
            match waiting {
                Waiting::Produce(from, id) => {
                    let result = if is_enough { Ok(()) } else { Err(Refusal::NotEnoughReplicas) };
                    self.produced(from, id, partition, result, ctx);
                }
                Waiting::Group(appended) => self.group_appended(appended, is_enough, ctx),
            }
        }
    }

    fn look_after_isr(&mut self, partition: u32, ctx: Ctx<'_, '_>) {
        let (own, lag_max, now) = (self.own, self.params.replica_lag, ctx.now());
        let metadata = &self.metadata;
        let Some(replica) = self.replicas.get_mut(&partition) else { return };
        let epoch = replica.epoch;
        let wanted = replica.wanted_isr(own, lag_max, |other| metadata.is_fenced(other), now);
        if let Some(isr) = wanted {
            let version = replica.leads.as_ref().map_or(0, |leading| leading.version);
            let command = Command::AlterIsr { partition, epoch, version, isr };
            if self.sessions.is_some() {
                self.propose(command, ctx);
            } else {
                ctx.send(self.controller, Message::AlterIsr(command));
            }
        }
    }

    fn produce(
        &mut self,
        from: NodeId,
        id: u64,
        acks: Acks,
        batches: Vec<(u32, Option<Stamp>, Arc<[Item]>)>,
        ctx: Ctx<'_, '_>,
    ) {
        let timer = ctx.set_timer(self.params.request_timeout, Timer::ProduceOverdue(from, id));
        let results = batches.iter().map(|(partition, ..)| (*partition, None)).collect();
        self.produces.insert((from, id), Producing { results, timer });
        let mut is_any_stored = false;
        for (partition, stamp, items) in batches {
            let result = self.append(partition, stamp, Content::Items(items), acks, ctx);
            is_any_stored |= result.is_ok_and(|(_, is_new)| is_new);
            match result {
                Ok((end, _)) if acks == Acks::All => {
                    self.await_high(partition, end, Waiting::Produce(from, id), ctx);
                }
                Ok(_) => self.produced(from, id, partition, Ok(()), ctx),
                Err(refusal) => self.produced(from, id, partition, Err(refusal), ctx),
            }
        }
        if acks == Acks::None {
            self.forget(from, id, ctx);
        }
        if is_any_stored {
            // The answer leaves before those are woken who wait for records (`KafkaApis.handle`:
            // `tryCompleteActions` comes last).
            ctx.reach("stored");
        }
    }

    /// Appends to a log that this broker leads. The offset behind, and whether it is new.
    fn append(
        &mut self,
        partition: u32,
        stamp: Option<Stamp>,
        content: Content,
        acks: Acks,
        ctx: Ctx<'_, '_>,
    ) -> Result<(u64, bool), Refusal> {
        let least = self.params.min_insync_replicas as usize;
        let replica = self.replicas.get_mut(&partition).ok_or(Refusal::NotLeader)?;
        let epoch = replica.epoch;
        let leading = replica.leads.as_ref().ok_or(Refusal::NotLeader)?;
        if acks == Acks::All && leading.isr.len() < least {
            return Err(Refusal::NotEnoughReplicas);
        }
        let base = replica.log.end();
        let batch = Batch { base, epoch, stamp, at: ctx.wall(), content };
        match stamp.map(|stamp| replica.log.sequence(stamp, batch.len())) {
            Some(Sequence::Known(end)) => return Ok((end, false)),
            Some(Sequence::Gap) => return Err(Refusal::OutOfOrder),
            Some(Sequence::Next) | None => (),
        }
        for (offset, item) in (base..).zip(batch.items()) {
            let (log, token) = (partition, item.token());
            ctx.indicate(LogEvent::Appended { log, epoch, offset, token }.into());
        }
        let end = batch.end();
        replica.log.append(batch.clone());
        replica.advance();
        self.write(Write::Append(partition, batch), ctx);
        self.wake_soon(ctx);
        Ok((end, true))
    }

    fn write(&mut self, write: Write, ctx: Ctx<'_, '_>) {
        ctx.write(write);
        if !std::mem::replace(&mut self.is_writing_back, true) {
            ctx.set_timer(WRITE_BACK, Timer::WriteBack);
        }
    }

    fn await_high(&mut self, partition: u32, end: u64, waiting: Waiting, ctx: Ctx<'_, '_>) {
        if let Some(replica) = self.replicas.get_mut(&partition)
            && let Some(leading) = &mut replica.leads
        {
            let at = leading.waiting.partition_point(|&(other, _)| other <= end);
            leading.waiting.insert(at, (end, waiting));
        }
        self.after_advance(partition, ctx);
    }

    fn produced(
        &mut self,
        from: NodeId,
        id: u64,
        partition: u32,
        result: Result<(), Refusal>,
        ctx: Ctx<'_, '_>,
    ) {
        if let Some(producing) = self.produces.get_mut(&(from, id)) {
            let mut of_it = producing.results.iter_mut().filter(|(which, _)| *which == partition);
            if let Some((_, slot)) = of_it.next() {
                slot.get_or_insert(result);
            }
            self.answer_if_done(from, id, ctx);
        }
    }

    fn answer_if_done(&mut self, from: NodeId, id: u64, ctx: Ctx<'_, '_>) {
        let Some(producing) = self.produces.get(&(from, id)) else { return };
        let results: Option<Vec<_>> = producing
            .results
            .iter()
            .map(|(partition, result)| Some((*partition, (*result)?)))
            .collect();
        if let Some(results) = results {
            self.forget(from, id, ctx);
            ctx.send(from, Message::Produced { id, results });
        }
    }

    fn forget(&mut self, from: NodeId, id: u64, ctx: Ctx<'_, '_>) {
        if let Some(producing) = self.produces.remove(&(from, id)) {
            ctx.cancel_timer(producing.timer);
        }
    }

    /// A follower's question tells where its log ends. What is left to be answered.
    fn note_follower(
        &mut self,
        from: NodeId,
        id: u64,
        asks: Vec<ReplicaAsk>,
        ctx: Ctx<'_, '_>,
    ) -> Asks {
        let mut left = Vec::new();
        let mut parts = Vec::new();
        let mut stale = Vec::new();
        for ask in asks {
            let Some(replica) = self.replicas.get_mut(&ask.partition) else { continue };
            if replica.leads.is_none() || replica.epoch != ask.epoch {
                stale.push((ask.partition, ask.epoch, Fetched::Stale));
                continue;
            }
            match replica.fetched_by(from, ask.offset, ask.last_epoch, ctx.now()) {
                Some(told) => parts.push((ask.partition, ask.epoch, told)),
                None => left.push(ask),
            }
            replica.advance();
            self.after_advance(ask.partition, ctx);
            self.look_after_isr(ask.partition, ctx);
        }
        if parts.is_empty() && !left.is_empty() {
            return Asks::Follower(left);
        }
        if parts.is_empty() {
            parts = stale;
        }
        ctx.send(from, Message::ReplicaFetched { id, parts });
        Asks::Follower(Vec::new())
    }

    fn answer_or_park(&mut self, from: NodeId, id: u64, asks: Asks, ctx: Ctx<'_, '_>) {
        let wait = match &asks {
            Asks::Consumer(_) => self.params.fetch_wait,
            Asks::Follower(_) => self.params.replica_fetch_wait,
        };
        let parked = Parked { from, id, until: ctx.now() + wait, asks };
        if !self.answer(&parked, wait == SimDuration::ZERO, ctx) {
            self.parked.push(parked);
            self.unpark(ctx);
        }
    }

    /// Answers, if there is anything to tell or it `must`. Whether it did.
    fn answer(&mut self, parked: &Parked, must: bool, ctx: Ctx<'_, '_>) -> bool {
        let (to, id) = (parked.from, parked.id);
        match &parked.asks {
            // Answered by what it is told of its log.
            Asks::Follower(asks) if asks.is_empty() => true,
            Asks::Follower(asks) => {
                let mut parts = Vec::new();
                let mut is_stale = false;
                for ask in asks {
                    let Some(replica) = self.replicas.get_mut(&ask.partition) else { continue };
                    if replica.leads.is_none() || replica.epoch != ask.epoch {
                        is_stale = true;
                    } else if let Some(news) = replica.news_for(to, ask.offset, FETCH_BYTES) {
                        parts.push((ask.partition, ask.epoch, news));
                    }
                }
                let answers = must || is_stale || !parts.is_empty();
                if answers {
                    ctx.send(to, Message::ReplicaFetched { id, parts });
                }
                answers
            }
            Asks::Consumer(asks) => {
                let mut parts = Vec::new();
                for &(partition, offset) in asks {
                    let part = self.read(partition, offset);
                    if part.as_ref().map_or(true, |batches| !batches.is_empty()) {
                        parts.push((partition, part));
                    }
                }
                let answers = must || !parts.is_empty();
                if answers {
                    tell_of_reading(asks, &parts, ctx);
                    ctx.send(to, Message::Fetched { id, parts });
                }
                answers
            }
        }
    }

    fn read(&self, partition: u32, offset: u64) -> Result<Vec<Batch>, Miss> {
        let replica = self.replicas.get(&partition).ok_or(Miss::NotLeader)?;
        if replica.leads.is_none() {
            return Err(Miss::NotLeader);
        }
        let (start, end) = (replica.log.start(), replica.log.end());
        if offset < start || end < offset {
            return Err(Miss::OutOfRange(start, replica.high));
        }
        Ok(replica.log.read(offset, replica.high, FETCH_BYTES))
    }

    fn wake_soon(&mut self, ctx: Ctx<'_, '_>) {
        if !std::mem::replace(&mut self.wakes, true) {
            ctx.set_timer(SimDuration::ZERO, Timer::Wake);
        }
    }

    /// Answers those for whom there is something now.
    fn wake(&mut self, ctx: Ctx<'_, '_>) {
        for parked in std::mem::take(&mut self.parked) {
            if !self.answer(&parked, false, ctx) {
                self.parked.push(parked);
            }
        }
    }

    /// Answers those who have waited long enough.
    fn unpark(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        for parked in std::mem::take(&mut self.parked) {
            if !self.answer(&parked, parked.until <= now, ctx) {
                self.parked.push(parked);
            }
        }
        let next = self.parked.iter().map(|parked| parked.until).min();
        if let Some(next) = next.filter(|_| self.unpark.is_none()) {
            self.unpark = Some(ctx.set_timer(next.since(now), Timer::Unpark));
        }
    }

    /// Asks a leader for what this broker lacks of the partitions that that leads.
    fn fetch_from(&mut self, leader: NodeId, ctx: Ctx<'_, '_>) {
        let of_leader =
            |replica: &&Replica| replica.leads.is_none() && replica.leader == Some(leader);
        let asks: Vec<ReplicaAsk> = self
            .replicas
            .iter()
            .filter(|(_, replica)| of_leader(replica))
            .map(|(&partition, replica)| ReplicaAsk {
                partition,
                epoch: replica.epoch,
                offset: replica.log.end(),
                last_epoch: replica.log.last_epoch(),
            })
            .collect();
        if asks.is_empty() || leader == self.own {
            return;
        }
        self.next_id += 1;
        let id = self.next_id;
        ctx.send(leader, Message::ReplicaFetch { id, asks });
        let timer = ctx.set_timer(REPLICA_SOCKET_TIMEOUT, Timer::FetchFrom(leader, id));
        self.fetches.insert(leader, (id, timer));
    }

    fn fetch_later(&mut self, leader: NodeId, ctx: Ctx<'_, '_>) {
        let timer = ctx.set_timer(REPLICA_FETCH_BACKOFF, Timer::FetchFrom(leader, PAUSE));
        self.fetches.insert(leader, (PAUSE, timer));
    }

    /// Takes over what a leader has sent.
    fn replicate(
        &mut self,
        leader: NodeId,
        id: u64,
        parts: Vec<(u32, u32, Fetched)>,
        ctx: Ctx<'_, '_>,
    ) {
        match self.fetches.get(&leader) {
            Some(&(asked, timer)) if asked == id => {
                ctx.cancel_timer(timer);
                self.fetches.remove(&leader);
            }
            _ => return,
        }
        let mut is_refused = false;
        for (partition, epoch, part) in parts {
            let Some(replica) = self.replicas.get_mut(&partition) else { continue };
            if replica.leads.is_some() || replica.epoch != epoch {
                continue;
            }
            let write = match part {
                Fetched::Batches(batches, high) => {
                    let mut writes = Vec::new();
                    for batch in batches {
                        if batch.base == replica.log.end() {
                            replica.log.append(batch.clone());
                            writes.push(Write::Append(partition, batch));
                        }
                    }
                    replica.high = high.min(replica.log.end());
                    writes
                }
                Fetched::Diverges(epoch, end) => {
                    let (_, own_end) = replica.log.end_of_epoch(epoch);
                    let end = end.min(own_end);
                    replica.log.truncate(end);
                    replica.high = replica.high.min(end);
                    vec![Write::Truncate(partition, end)]
                }
                Fetched::Stale => {
                    is_refused = true;
                    Vec::new()
                }
                Fetched::Begins(start) => {
                    replica.log.reset(start);
                    replica.high = start;
                    vec![Write::Reset(partition, start)]
                }
            };
            for write in write {
                self.write(write, ctx);
            }
        }
        ctx.reach("replicated");
        if is_refused { self.fetch_later(leader, ctx) } else { self.fetch_from(leader, ctx) }
    }

    /// Lets go what was kept long enough: whole segments, and nothing that is not replicated.
    fn let_go_old(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.wall();
        let (retention, segment) = (self.params.retention, self.params.segment);
        let mut trimmed = Vec::new();
        for (&partition, replica) in &mut self.replicas {
            if partition == self.params.group_partition() || replica.leads.is_none() {
                continue;
            }
            let start = old_before(replica, retention, segment, now);
            if replica.log.start() < start {
                replica.log.trim(start);
                trimmed.push((partition, start));
            }
        }
        for (log, start) in trimmed {
            ctx.indicate(LogEvent::Trimmed { log, start }.into());
            self.write(Write::Trim(log, start), ctx);
        }
    }

    fn hear_of_group(&mut self, from: NodeId, message: Message, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        let mut effects = Vec::new();
        let Some(group) = &mut self.group else {
            let error = GroupError::NotCoordinator;
            let answer = match message {
                Message::Join { id, .. } | Message::Position { id, .. } => {
                    Message::NotCoordinator { id }
                }
                Message::Sync { id, .. } => Message::Synced { id, part: Err(error) },
                Message::Commit { id, .. } => Message::Committed { id, result: Err(error) },
                Message::Heartbeat { generation, .. } => {
                    Message::HeartbeatAnswer { generation, result: Err(error) }
                }
                _ => return,
            };
            ctx.send(from, answer);
            return;
        };
        match message {
            Message::Join { id, joining } => group.join(id, joining, now, &mut effects),
            Message::Sync { id, member, generation, parts } => {
                group.sync(id, member, generation, parts, now, &mut effects);
            }
            Message::Heartbeat { member, generation } => {
                group.heartbeat(member, generation, now, &mut effects);
            }
            Message::Leave(member) => group.leave(member, now, &mut effects),
            Message::Commit { id, member, generation, offsets } => {
                group.commit(id, member, generation, offsets, now, &mut effects);
            }
            Message::Position { id, partitions } => {
                group.positions(id, from, &partitions, &mut effects);
            }
            _ => (),
        }
        self.carry_out(effects, ctx);
    }

    fn carry_out(&mut self, effects: Vec<Effect>, ctx: Ctx<'_, '_>) {
        for effect in effects {
            match effect {
                Effect::Send(to, message) => ctx.send(to, message),
                Effect::Tell(event) => ctx.indicate(event.into()),
                Effect::Append(record, appended) => {
                    let partition = self.params.group_partition();
                    let content = Content::Group(Arc::new(record));
                    match self.append(partition, None, content, Acks::All, ctx) {
                        Ok((end, _)) => {
                            self.await_high(partition, end, Waiting::Group(appended), ctx);
                        }
                        Err(_) => self.group_appended(appended, false, ctx),
                    }
                }
            }
        }
    }

    fn group_appended(&mut self, appended: Appended, is_safe: bool, ctx: Ctx<'_, '_>) {
        let mut effects = Vec::new();
        if let Some(group) = &mut self.group {
            group.appended(appended, is_safe, ctx.now(), &mut effects);
        }
        self.carry_out(effects, ctx);
    }

    fn look_after_group(&mut self, ctx: Ctx<'_, '_>) {
        let now = ctx.now();
        let mut effects = Vec::new();
        if let Some(group) = &mut self.group
            && group.next_deadline().is_some_and(|at| at <= now)
        {
            group.look_at_clock(now, &mut effects);
        }
        self.carry_out(effects, ctx);
        let next = self.group.as_ref().and_then(Group::next_deadline);
        let is_early_enough = match (next, self.group_wake) {
            (None, _) => true,
            (Some(next), Some((at, _))) => at <= next,
            (Some(_), None) => false,
        };
        if let Some(next) = next.filter(|_| !is_early_enough) {
            if let Some((_, timer)) = self.group_wake.take() {
                ctx.cancel_timer(timer);
            }
            self.group_wake = Some((next, ctx.set_timer(next.since(now), Timer::Group)));
        }
    }
}

/// Tells the judge which records a consumer is sent.
fn tell_of_reading(
    asks: &[(u32, u64)],
    parts: &[(u32, Result<Vec<Batch>, Miss>)],
    ctx: Ctx<'_, '_>,
) {
    for (log, part) in parts {
        let asked = asks.iter().find(|(partition, _)| partition == log);
        let from = asked.map_or(0, |&(_, offset)| offset);
        for batch in part.iter().flatten() {
            for (offset, item) in (batch.base..).zip(batch.items()) {
                if from <= offset {
                    let (log, token) = (*log, item.token());
                    ctx.indicate(LogEvent::Read { log, offset, token }.into());
                }
            }
        }
    }
}

/// The offset before which everything lies in segments that were kept long enough: a segment is let
/// go when its last record is old (`UnifiedLog.deleteRetentionMsBreachedSegments`).
fn old_before(
    replica: &Replica,
    retention: SimDuration,
    segment: SimDuration,
    now: WallTime,
) -> u64 {
    let ns = |length: SimDuration| i64::try_from(length.as_ns()).unwrap_or(i64::MAX);
    let mut start = replica.log.start();
    let mut began: Option<WallTime> = None;
    let mut last: Option<&Batch> = None;
    for batch in replica.log.batches() {
        let rolls = began.is_some_and(|began| ns(segment) <= batch.at.0 - began.0);
        if rolls && let Some(last) = last {
            if now.0 - last.at.0 < ns(retention) {
                return start;
            }
            start = last.end().min(replica.high);
        }
        if rolls || began.is_none() {
            began = Some(batch.at);
        }
        last = Some(batch);
    }
    // The active segment rolls when it is old enough too.
    let is_rolled = began.is_some_and(|began| ns(segment) <= now.0 - began.0);
    match last {
        Some(last) if is_rolled && ns(retention) <= now.0 - last.at.0 => {
            last.end().min(replica.high)
        }
        _ => start,
    }
}

/// The request that a broker seems to wait for while it pauses before it asks again.
const PAUSE: u64 = 0;

/// `controller.quorum.fetch.timeout.ms`.
const QUORUM_FETCH_TIMEOUT: SimDuration = SimDuration::from_secs(2);

/// `controller.quorum.election.timeout.ms`.
const QUORUM_ELECTION_TIMEOUT: SimDuration = SimDuration::from_secs(1);

/// `metadata.max.idle.interval.ms`: what has been agreed on is known everywhere after so long.
const METADATA_MAX_IDLE: SimDuration = SimDuration::from_ms(500);

/// `replica.socket.timeout.ms`.
const REPLICA_SOCKET_TIMEOUT: SimDuration = SimDuration::from_secs(30);

/// `replica.fetch.backoff.ms`.
const REPLICA_FETCH_BACKOFF: SimDuration = SimDuration::from_secs(1);

/// `max.partition.fetch.bytes` and `replica.fetch.max.bytes`.
const FETCH_BYTES: u64 = 1_048_576;

/// After how long Linux writes a dirty page to the disk (`vm.dirty_expire_centisecs`,
/// Documentation/admin-guide/sysctl/vm.rst). Kafka itself never asks for it
/// (`log.flush.interval.messages` is as large as can be).
const WRITE_BACK: SimDuration = SimDuration::from_secs(30);
