//! A member of the group: one loop that asks for records and works on them, and a thread that tells
//! the coordinator that it is there.
//!
//! Read at apache/kafka 1eb7644: `ClassicKafkaConsumer.java`, `ConsumerCoordinator.java`,
//! `AbstractCoordinator.java`, `Fetcher.java`. Everything but heartbeats happens inside `poll`: a
//! rebalance is noticed by a heartbeat and joined by the next `poll`; positions are committed by
//! themselves in `poll` when that is due, before a rebalance, and when the consumer closes, and
//! what they tell is what `poll` has *returned*, done or not.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Input, NodeId, Signal, TimerId};

use super::super::work::{End, Finished, Pool, Work};
use super::super::{Indication, Item, LogEvent, Request};
use super::assignor::Subscriber;
use super::group::{Joining, MemberKey};
use super::log::Batch;
use super::producer::Brokers;
use super::windows::Windows;
use super::{
    Commit, Ctx, GroupError, Kafka, KafkaParams, Message, Miss, OffsetReset, OnFailure, OnStop,
    Timer,
};

/// Where a record was: its partition and offset.
type Spot = (u32, u64);

/// A member of the group.
#[derive(Clone, Debug)]
pub(in crate::queues) struct Consumer {
    params: KafkaParams,
    brokers: Brokers,
    pool: Pool<Spot>,
    stage: Stage,
    is_stopping: bool,
    /// Which life of the process, and which of its consumers.
    life: u64,
    membership: Membership,
    /// Whether it has to join before it goes on.
    must_join: bool,
    /// The partitions that it reads.
    owned: BTreeMap<u32, Reading>,
    /// What the last `poll` returned, and nobody works on yet.
    batch: VecDeque<(Spot, Item)>,
    /// What it counts, where records are no tasks of their own.
    windows: Option<Windows>,
    /// Positions that are to be committed by hand.
    done: BTreeMap<u32, u64>,
    commit_due: SimTime,
    requests: BTreeMap<u64, (NodeId, What, TimerId)>,
    next_id: u64,
    /// Counts the calls of `poll`.
    polls: u64,
    poll_timer: Option<TimerId>,
    last_heard: SimTime,
    is_turning: bool,
}

/// What the application's loop is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// It waits in `poll`.
    Polling,
    /// It works on what `poll` returned.
    Working,
    /// It waits for what it has committed by hand.
    Committing,
    /// It is not there.
    Away,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Membership {
    Outside,
    /// It has asked to join, or for its part.
    Joining,
    /// It is in this generation.
    Member(u32),
}

/// How far a partition was read.
#[derive(Clone, Debug, Default)]
struct Reading {
    /// The offset of the next record that `poll` returns; nothing while it is not known.
    position: Option<u64>,
    /// What was fetched and not returned.
    fetched: VecDeque<(u64, Item)>,
    /// The offset from which more is fetched.
    next: u64,
}

/// A request that is not answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum What {
    Join,
    Sync(u32),
    Positions,
    Fetch,
    /// Whether the loop waits for it.
    Commit(bool),
}

impl Consumer {
    pub(super) fn new(params: &KafkaParams, work: &Work, brokers: &[NodeId]) -> Self {
        Self {
            params: params.clone(),
            brokers: Brokers::new(brokers, params.partitions),
            pool: Pool::new(work),
            stage: Stage::Polling,
            is_stopping: false,
            life: 0,
            membership: Membership::Outside,
            must_join: true,
            owned: BTreeMap::new(),
            batch: VecDeque::new(),
            windows: params.windows.as_ref().map(Windows::new),
            done: BTreeMap::new(),
            commit_due: SimTime::ZERO,
            requests: BTreeMap::new(),
            next_id: 0,
            polls: 0,
            poll_timer: None,
            last_heard: SimTime::ZERO,
            is_turning: false,
        }
    }

    pub(super) fn handle(&mut self, input: Input<Kafka>, ctx: Ctx<'_, '_>) {
        match input {
            Input::Start => {
                self.next_id = ctx.rng().word() >> 1;
                if let Some(windows) = &self.windows {
                    ctx.indicate(windows.announced().into());
                }
                self.begin(ctx);
                ctx.set_timer(self.params.heartbeat, Timer::Heartbeat);
            }
            Input::Message { from, via, message } => {
                self.brokers.hear(from, via);
                self.hear(message, ctx);
            }
            Input::Closed { peer, via, .. } => {
                if self.brokers.concerns(peer, via) {
                    self.fail_all(peer, ctx);
                }
            }
            Input::Timer(timer) => self.due(timer, ctx),
            Input::Request(Request::Answer { slot, is_known }) => {
                self.pool.answered(slot, is_known, ctx);
            }
            Input::Signal(Signal::Terminate) => {
                self.is_stopping = true;
                if self.params.on_stop == OnStop::BreakOff && self.stage != Stage::Away {
                    self.close(ctx);
                }
            }
            // Its threads are no children.
            Input::Signal(Signal::ChildKilled)
            | Input::Request(Request::Publish(_))
            | Input::Overload { .. }
            | Input::Synced(_) => (),
        }
        self.turn(ctx);
    }

    /// A new consumer is opened.
    fn begin(&mut self, ctx: Ctx<'_, '_>) {
        self.life = ctx.rng().word();
        self.stage = Stage::Polling;
        self.membership = Membership::Outside;
        self.must_join = true;
        self.commit_due = ctx.now() + self.params.auto_commit_interval;
        self.last_heard = ctx.now();
        self.note_poll(ctx);
        self.brokers.refresh(self.params.retry_backoff, ctx);
    }

    fn due(&mut self, timer: Timer, ctx: Ctx<'_, '_>) {
        match timer {
            Timer::Work(timer) => {
                if let Some(finished) = self.pool.due(timer, ctx) {
                    self.finish(finished, ctx);
                }
            }
            Timer::Heartbeat => self.heartbeat(ctx),
            Timer::PollOverdue(polls) if polls == self.polls => self.poll_overdue(ctx),
            Timer::Commit if self.stage == Stage::Committing => self.commit_by_hand(ctx),
            Timer::Overdue(id) => {
                if let Some(&(to, ..)) = self.requests.get(&id) {
                    ctx.disconnect(to);
                    self.fail_all(to, ctx);
                }
            }
            Timer::Reconnect(broker) => {
                self.brokers.reconnect_due(broker, self.params.retry_backoff, ctx);
            }
            Timer::Refresh => self.brokers.refresh_due(self.params.retry_backoff, ctx),
            Timer::Respawn if !self.is_stopping => self.begin(ctx),
            Timer::Turn => self.is_turning = false,
            _ => (),
        }
    }

    /// Goes on with the loop as far as that can be.
    fn turn(&mut self, ctx: Ctx<'_, '_>) {
        loop {
            match self.stage {
                Stage::Away | Stage::Committing => return,
                Stage::Working => {
                    self.feed(ctx);
                    if !(self.batch.is_empty() && self.pool.is_idle()) {
                        return;
                    }
                    self.note_counted();
                    let at_once = [Commit::AfterPoll, Commit::AfterWindow];
                    if at_once.contains(&self.params.commit) && !self.done.is_empty() {
                        self.await_commit(ctx);
                        return;
                    }
                    self.stage = Stage::Polling;
                    self.note_poll(ctx);
                }
                Stage::Polling => {
                    if self.is_stopping {
                        self.close(ctx);
                        return;
                    }
                    if !self.poll(ctx) {
                        return;
                    }
                }
            }
        }
    }

    /// Whether `poll` returned anything.
    fn poll(&mut self, ctx: Ctx<'_, '_>) -> bool {
        if self.must_join && self.membership != Membership::Joining {
            self.join(ctx);
        }
        self.commit_by_itself(ctx);
        self.ask_for_positions(ctx);
        let mut room = self.params.max_poll_records as usize;
        for (&partition, reading) in &mut self.owned {
            while 0 < room
                && let Some((offset, item)) = reading.fetched.pop_front()
            {
                reading.position = Some(offset + 1);
                ctx.indicate(LogEvent::Polled { token: item.token() }.into());
                self.batch.push_back(((partition, offset), item));
                room -= 1;
            }
        }
        // What comes next is fetched while this is worked on.
        self.fetch(ctx);
        if self.batch.is_empty() {
            return false;
        }
        self.stage = Stage::Working;
        if self.params.commit == Commit::BeforeWork {
            let ends = self.batch.iter().map(|&((partition, offset), _)| (partition, offset + 1));
            self.done.extend(ends);
            self.stage = Stage::Committing;
            self.commit_by_hand(ctx);
        }
        true
    }

    /// The loop is in `poll`: the member is alive as far as its application goes.
    fn note_poll(&mut self, ctx: Ctx<'_, '_>) {
        self.polls += 1;
        if let Some(timer) = self.poll_timer.take() {
            ctx.cancel_timer(timer);
        }
        let timer = ctx.set_timer(self.params.max_poll_interval, Timer::PollOverdue(self.polls));
        self.poll_timer = Some(timer);
    }

    /// It has not asked for more in too long: the thread that sends heartbeats leaves the group.
    fn poll_overdue(&mut self, ctx: Ctx<'_, '_>) {
        self.poll_timer = None;
        if matches!(self.stage, Stage::Working | Stage::Committing) {
            self.leave(ctx);
            self.membership = Membership::Outside;
            self.must_join = true;
        } else if self.stage == Stage::Polling {
            self.note_poll(ctx);
        }
    }

    fn feed(&mut self, ctx: Ctx<'_, '_>) {
        while self.pool.has_room() {
            let Some((spot, item)) = self.batch.pop_front() else { return };
            let is_redelivered = false;
            ctx.indicate(Indication::Received { serial: item.serial, is_redelivered });
            self.pool.begin(item, spot, 0, ctx);
        }
    }

    fn finish(&mut self, finished: Finished<Spot>, ctx: Ctx<'_, '_>) {
        let (partition, offset) = finished.handle;
        let serial = finished.item.serial;
        match finished.end {
            End::Done | End::Known => {
                self.count(partition, offset, &finished.item, ctx);
                self.worked_off(partition, offset, ctx);
            }
            End::Failed => match self.params.on_failure {
                OnFailure::Skip => {
                    ctx.indicate(Indication::Failed(serial));
                    self.worked_off(partition, offset, ctx);
                }
                OnFailure::Seek => {
                    ctx.indicate(Indication::LeftOff(serial));
                    self.seek(partition, offset, ctx);
                }
                OnFailure::Close => {
                    ctx.indicate(Indication::LeftOff(serial));
                    self.close(ctx);
                    ctx.set_timer(self.params.respawn, Timer::Respawn);
                }
                OnFailure::Crash => {
                    ctx.indicate(Indication::LeftOff(serial));
                    self.die(ctx);
                }
            },
            End::Killed => {
                ctx.indicate(Indication::LeftOff(serial));
                self.die(ctx);
            }
        }
    }

    /// Adds a record to its window, and tells of those windows that end with it.
    fn count(&mut self, partition: u32, offset: u64, item: &Item, ctx: Ctx<'_, '_>) {
        if let Some(windows) = &mut self.windows
            && self.owned.contains_key(&partition)
        {
            for event in windows.count(partition, offset, item) {
                ctx.indicate(event.into());
            }
        }
    }

    /// What is counted and told of can be committed.
    fn note_counted(&mut self) {
        let Some(windows) = &mut self.windows else { return };
        if self.params.commit != Commit::AfterWindow {
            return;
        }
        for (&partition, reading) in &self.owned {
            if let Some(position) = reading.position
                && windows.take_told(partition)
            {
                self.done.insert(partition, windows.first_open(partition).unwrap_or(position));
            }
        }
    }

    fn worked_off(&mut self, partition: u32, offset: u64, ctx: Ctx<'_, '_>) {
        let by_hand = matches!(self.params.commit, Commit::AfterPoll | Commit::AfterRecord);
        if by_hand && self.owned.contains_key(&partition) {
            let position = self.done.entry(partition).or_default();
            *position = (*position).max(offset + 1);
        }
        if self.params.commit == Commit::AfterRecord && self.stage == Stage::Working {
            self.await_commit(ctx);
        }
    }

    /// Goes back to a record on which it failed: what was returned behind it is forgotten.
    fn seek(&mut self, partition: u32, offset: u64, ctx: Ctx<'_, '_>) {
        let mut kept = VecDeque::new();
        let mut gone = Vec::new();
        for (spot, item) in self.batch.drain(..) {
            if spot.0 == partition { gone.push(item) } else { kept.push_back((spot, item)) }
        }
        self.batch = kept;
        for item in gone {
            ctx.indicate(Indication::Dropped(item.serial));
        }
        if let Some(reading) = self.owned.get_mut(&partition) {
            reading.rewind(offset);
        }
    }

    /// What has to be committed by hand is committed after whatever a fault does here.
    fn await_commit(&mut self, ctx: Ctx<'_, '_>) {
        self.stage = Stage::Committing;
        ctx.reach("committing");
        ctx.set_timer(SimDuration::ZERO, Timer::Commit);
    }

    /// `commitSync`.
    fn commit_by_hand(&mut self, ctx: Ctx<'_, '_>) {
        let Membership::Member(generation) = self.membership else {
            // It was thrown out: `CommitFailedException`. The loop goes on.
            self.done.clear();
            self.stage = Stage::Working;
            return;
        };
        if self.requests.values().any(|(_, what, _)| *what == What::Commit(true)) {
            return;
        }
        let offsets: Vec<Spot> = self.done.iter().map(|(&at, &position)| (at, position)).collect();
        self.send_commit(offsets, generation, true, ctx);
    }

    fn send_commit(
        &mut self,
        offsets: Vec<Spot>,
        generation: u32,
        is_awaited: bool,
        ctx: Ctx<'_, '_>,
    ) {
        let member = self.key(ctx);
        let commit = |id| Message::Commit { id, member, generation, offsets };
        let is_sent = self.ask_coordinator(What::Commit(is_awaited), commit, ctx);
        if !is_sent && is_awaited {
            ctx.set_timer(self.params.retry_backoff, Timer::Commit);
        }
    }

    /// Commits positions by itself, if that is due.
    fn commit_by_itself(&mut self, ctx: Ctx<'_, '_>) {
        if self.params.commit == Commit::Auto && self.commit_due <= ctx.now() {
            self.commit_due = ctx.now() + self.params.auto_commit_interval;
            self.commit_positions(ctx);
        }
    }

    fn commit_positions(&mut self, ctx: Ctx<'_, '_>) {
        let Membership::Member(generation) = self.membership else { return };
        let known = self.owned.iter();
        let offsets: Vec<Spot> =
            known.filter_map(|(&at, reading)| Some((at, reading.position?))).collect();
        if self.params.commit == Commit::Auto && !offsets.is_empty() {
            self.send_commit(offsets, generation, false, ctx);
        }
    }

    /// `close`: commits what it would commit by itself, and leaves.
    fn close(&mut self, ctx: Ctx<'_, '_>) {
        self.pool.kill_all(ctx);
        for (_, item) in self.batch.drain(..) {
            ctx.indicate(Indication::Dropped(item.serial));
        }
        self.commit_positions(ctx);
        self.leave(ctx);
        self.go_away(ctx);
    }

    /// The process is killed by its own work, and its supervisor starts another.
    fn die(&mut self, ctx: Ctx<'_, '_>) {
        self.pool.kill_all(ctx);
        for (_, item) in self.batch.drain(..) {
            ctx.indicate(Indication::Dropped(item.serial));
        }
        self.go_away(ctx);
        ctx.set_timer(self.params.respawn, Timer::Respawn);
    }

    fn go_away(&mut self, ctx: Ctx<'_, '_>) {
        self.disown(|_| true);
        self.done.clear();
        for (_, (_, _, timer)) in std::mem::take(&mut self.requests) {
            ctx.cancel_timer(timer);
        }
        self.membership = Membership::Outside;
        self.stage = Stage::Away;
        ctx.indicate(Indication::Cut);
    }

    fn leave(&mut self, ctx: Ctx<'_, '_>) {
        if self.membership != Membership::Outside
            && let Some(coordinator) = self.coordinator()
        {
            let member = self.key(ctx);
            ctx.send(coordinator, Message::Leave(member));
        }
    }

    fn key(&self, ctx: Ctx<'_, '_>) -> MemberKey {
        MemberKey { node: ctx.id(), life: self.life }
    }

    fn coordinator(&self) -> Option<NodeId> {
        self.brokers.leader(self.params.group_partition())
    }

    /// Asks the coordinator. Whether there is one.
    fn ask_coordinator(
        &mut self,
        what: What,
        message: impl FnOnce(u64) -> Message,
        ctx: Ctx<'_, '_>,
    ) -> bool {
        let Some(coordinator) = self.coordinator() else {
            self.brokers.refresh(self.params.retry_backoff, ctx);
            return false;
        };
        self.ask(coordinator, what, message, ctx);
        true
    }

    fn ask(
        &mut self,
        to: NodeId,
        what: What,
        message: impl FnOnce(u64) -> Message,
        ctx: Ctx<'_, '_>,
    ) {
        self.next_id += 1;
        let id = self.next_id;
        ctx.send(to, message(id));
        // The coordinator answers a wish to join when the others have joined too.
        let patience = match what {
            What::Join | What::Sync(_) => self.params.max_poll_interval + JOIN_LAPSE,
            What::Fetch => self.params.request_timeout + self.params.fetch_wait,
            What::Positions | What::Commit(_) => self.params.request_timeout,
        };
        let timer = ctx.set_timer(patience, Timer::Overdue(id));
        self.requests.insert(id, (to, what, timer));
    }

    /// Takes note that a request is answered, or will not be.
    fn take_request(&mut self, id: u64, ctx: Ctx<'_, '_>) -> Option<(NodeId, What)> {
        let (to, what, timer) = self.requests.remove(&id)?;
        ctx.cancel_timer(timer);
        Some((to, what))
    }

    fn fail_all(&mut self, broker: NodeId, ctx: Ctx<'_, '_>) {
        let of_it = self.requests.iter().filter(|(_, (to, ..))| *to == broker);
        let failed: Vec<u64> = of_it.map(|(&id, _)| id).collect();
        for id in failed {
            let Some((_, what)) = self.take_request(id, ctx) else { continue };
            match what {
                What::Join | What::Sync(_) => self.membership = Membership::Outside,
                What::Commit(true) => {
                    ctx.set_timer(self.params.retry_backoff, Timer::Commit);
                }
                What::Positions | What::Fetch | What::Commit(false) => (),
            }
        }
        self.brokers.disconnect(broker, ctx);
        self.brokers.refresh(self.params.retry_backoff, ctx);
        self.turn_later(ctx);
    }

    /// Tries again after a while.
    fn turn_later(&mut self, ctx: Ctx<'_, '_>) {
        if !std::mem::replace(&mut self.is_turning, true) {
            ctx.set_timer(self.params.retry_backoff, Timer::Turn);
        }
    }

    fn heartbeat(&mut self, ctx: Ctx<'_, '_>) {
        ctx.set_timer(self.params.heartbeat, Timer::Heartbeat);
        let Membership::Member(generation) = self.membership else { return };
        if self.stage == Stage::Away {
            return;
        }
        if self.params.session_timeout <= ctx.now().since(self.last_heard) {
            // It finds out where the coordinator is now.
            self.brokers.refresh(self.params.retry_backoff, ctx);
        }
        if let Some(coordinator) = self.coordinator() {
            let member = self.key(ctx);
            ctx.send(coordinator, Message::Heartbeat { member, generation });
        }
    }

    /// Joins the next generation; eagerly, with nothing in its hands.
    fn join(&mut self, ctx: Ctx<'_, '_>) {
        let is_cooperative = self.params.assignor.is_cooperative();
        let (generation, was_member) = match self.membership {
            Membership::Member(generation) => (generation, true),
            Membership::Outside | Membership::Joining => (0, false),
        };
        if was_member {
            self.commit_positions(ctx);
        }
        if !(is_cooperative && was_member) {
            self.disown(|_| true);
        }
        let owned = self.owned.keys().copied().collect();
        let joining = Joining { member: self.key(ctx), generation, owned };
        if self.ask_coordinator(What::Join, |id| Message::Join { id, joining }, ctx) {
            self.membership = Membership::Joining;
            self.must_join = false;
        } else {
            self.turn_later(ctx);
        }
    }

    /// Gives up partitions, and what it has fetched of them.
    fn disown(&mut self, which: impl Fn(u32) -> bool) {
        self.owned.retain(|&partition, _| !which(partition));
        self.done.retain(|&partition, _| !which(partition));
        if let Some(windows) = &mut self.windows {
            windows.forget(which);
        }
    }

    fn hear(&mut self, message: Message, ctx: Ctx<'_, '_>) {
        match message {
            Message::Leaders(leaders) => self.brokers.learn(&leaders),
            Message::Joined { id, generation, is_leader, members } => {
                if let Some((_, What::Join)) = self.take_request(id, ctx) {
                    self.joined(generation, is_leader, &members, ctx);
                }
            }
            Message::Synced { id, part } => {
                if let Some((_, What::Sync(generation))) = self.take_request(id, ctx) {
                    self.synced(generation, part, ctx);
                }
            }
            Message::NotCoordinator { id } => {
                if let Some((_, what)) = self.take_request(id, ctx) {
                    if what == What::Join {
                        self.lost_group(GroupError::NotCoordinator, ctx);
                    }
                    self.brokers.refresh(self.params.retry_backoff, ctx);
                    self.turn_later(ctx);
                }
            }
            Message::HeartbeatAnswer { generation, result }
                if self.membership == Membership::Member(generation) =>
            {
                match result {
                    Ok(()) => self.last_heard = ctx.now(),
                    Err(error) => self.lost_group(error, ctx),
                }
            }
            Message::Committed { id, result } => {
                if let Some((_, What::Commit(is_awaited))) = self.take_request(id, ctx) {
                    self.committed(is_awaited, result, ctx);
                }
            }
            Message::Positions { id, positions } => self.positioned(id, &positions, ctx),
            Message::Fetched { id, parts } => self.fetched(id, parts, ctx),
            _ => (),
        }
    }

    fn joined(&mut self, generation: u32, is_leader: bool, members: &[Joining], ctx: Ctx<'_, '_>) {
        self.last_heard = ctx.now();
        let mut parts = Vec::new();
        if is_leader {
            let subscribers: Vec<Subscriber> = members
                .iter()
                .map(|member| Subscriber {
                    topics: vec![0],
                    owned: member.owned.iter().map(|&number| (0, number)).collect(),
                    generation: member.generation,
                })
                .collect();
            let assigned = self.params.assignor.assign(&[self.params.partitions], &subscribers);
            for (member, partitions) in members.iter().zip(assigned) {
                let numbers = partitions.into_iter().map(|(_, number)| number).collect();
                parts.push((member.member, numbers));
            }
        }
        let member = self.key(ctx);
        let sync = |id| Message::Sync { id, member, generation, parts };
        if !self.ask_coordinator(What::Sync(generation), sync, ctx) {
            self.lost_group(GroupError::NotCoordinator, ctx);
        }
    }

    fn synced(&mut self, generation: u32, part: Result<Vec<u32>, GroupError>, ctx: Ctx<'_, '_>) {
        let part = match part {
            Ok(part) => part,
            Err(error) => {
                self.membership = Membership::Outside;
                self.lost_group(error, ctx);
                self.must_join = true;
                return;
            }
        };
        self.last_heard = ctx.now();
        self.membership = Membership::Member(generation);
        ctx.reach("assigned");
        let had = self.owned.len();
        self.disown(|partition| !part.contains(&partition));
        // What it has given up another one gets in the next round.
        self.must_join |= self.owned.len() < had && self.params.assignor.is_cooperative();
        for partition in part {
            self.owned.entry(partition).or_default();
        }
    }

    /// The coordinator does not know it any more, or wants it to join again.
    fn lost_group(&mut self, error: GroupError, ctx: Ctx<'_, '_>) {
        match error {
            GroupError::NotCoordinator => {
                self.brokers.refresh(self.params.retry_backoff, ctx);
                if self.membership == Membership::Joining {
                    self.membership = Membership::Outside;
                    self.must_join = true;
                    self.turn_later(ctx);
                }
            }
            GroupError::RebalanceInProgress => self.must_join = true,
            GroupError::UnknownMember | GroupError::IllegalGeneration => {
                self.membership = Membership::Outside;
                self.must_join = true;
            }
        }
    }

    fn committed(&mut self, is_awaited: bool, result: Result<(), GroupError>, ctx: Ctx<'_, '_>) {
        match result {
            Ok(()) => (),
            Err(GroupError::NotCoordinator) => {
                self.brokers.refresh(self.params.retry_backoff, ctx);
                if is_awaited {
                    ctx.set_timer(self.params.retry_backoff, Timer::Commit);
                    return;
                }
            }
            Err(error) => self.lost_group(error, ctx),
        }
        if is_awaited && self.stage == Stage::Committing {
            self.done.clear();
            self.stage = Stage::Working;
            ctx.reach("committed");
        }
    }

    fn ask_for_positions(&mut self, ctx: Ctx<'_, '_>) {
        let is_asking = self.requests.values().any(|(_, what, _)| *what == What::Positions);
        let unknown = self.owned.iter().filter(|(_, reading)| reading.position.is_none());
        let partitions: Vec<u32> = unknown.map(|(&partition, _)| partition).collect();
        if !is_asking && !partitions.is_empty() {
            let question = |id| Message::Position { id, partitions };
            if !self.ask_coordinator(What::Positions, question, ctx) {
                self.turn_later(ctx);
            }
        }
    }

    /// Asks each broker from which no answer is awaited for what it leads and nothing is here of.
    fn fetch(&mut self, ctx: Ctx<'_, '_>) {
        let mut asks: BTreeMap<NodeId, Vec<Spot>> = BTreeMap::new();
        for (&partition, reading) in &self.owned {
            if reading.position.is_none() || !reading.fetched.is_empty() {
                continue;
            }
            match self.brokers.leader(partition) {
                Some(leader) => asks.entry(leader).or_default().push((partition, reading.next)),
                None => self.brokers.refresh(self.params.retry_backoff, ctx),
            }
        }
        for (leader, asks) in asks {
            let is_asked =
                self.requests.values().any(|&(to, what, _)| (to, what) == (leader, What::Fetch));
            if !is_asked {
                self.ask(leader, What::Fetch, |id| Message::Fetch { id, asks }, ctx);
            }
        }
    }

    fn positioned(&mut self, id: u64, positions: &[Spot], ctx: Ctx<'_, '_>) {
        if self.take_request(id, ctx).is_none() {
            return;
        }
        for &(partition, position) in positions {
            let reading = self.owned.get_mut(&partition);
            if let Some(reading) = reading.filter(|one| one.position.is_none()) {
                reading.rewind(position);
            }
        }
    }

    fn fetched(&mut self, id: u64, parts: Vec<(u32, Result<Vec<Batch>, Miss>)>, ctx: Ctx<'_, '_>) {
        if self.take_request(id, ctx).is_none() {
            return;
        }
        for (partition, part) in parts {
            match part {
                Ok(batches) => self.take_in(partition, &batches),
                Err(Miss::NotLeader) => {
                    self.brokers.refresh(self.params.retry_backoff, ctx);
                    self.turn_later(ctx);
                }
                Err(Miss::OutOfRange(start, end)) => {
                    let reset = match self.params.auto_offset_reset {
                        OffsetReset::Latest => end,
                        OffsetReset::Earliest => start,
                    };
                    if let Some(reading) = self.owned.get_mut(&partition) {
                        reading.rewind(reset);
                    }
                }
            }
        }
        if self.stage != Stage::Away {
            self.fetch(ctx);
        }
    }

    fn take_in(&mut self, partition: u32, batches: &[Batch]) {
        // Where it reads this partition no more, or from elsewhere, that is of no use.
        let Some(reading) = self.owned.get_mut(&partition) else { return };
        for batch in batches {
            for (offset, item) in (batch.base..).zip(batch.items()) {
                if offset == reading.next && reading.position.is_some() {
                    reading.fetched.push_back((offset, *item));
                    reading.next += 1;
                }
            }
        }
    }
}

impl Reading {
    /// Reads on from another offset.
    fn rewind(&mut self, offset: u64) {
        *self = Self { position: Some(offset), fetched: VecDeque::new(), next: offset };
    }
}

/// `AbstractCoordinator.JOIN_GROUP_TIMEOUT_LAPSE`.
const JOIN_LAPSE: SimDuration = SimDuration::from_secs(5);
