//! The coordinator of the consumer group: who is in it, who reads what, and how far it has read.
//!
//! The classic protocol, read at apache/kafka 1eb7644, `GroupMetadataManager.java` (`classicGroup...`)
//! and `ClassicGroup.java`. Left out: static members, and the round trip in which a member is
//! given its id. What the coordinator must not forget it appends to the log of its partition of
//! `__consumer_offsets`; whoever leads that partition next reads it there.

use std::collections::BTreeMap;

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::NodeId;

use super::super::LogEvent;
use super::{GroupError, Message};

/// Names a member: whose process it is, and which life of it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::queues) struct MemberKey {
    pub(super) node: NodeId,
    pub(super) life: u64,
}

/// What the coordinator appends to its log.
#[derive(Clone, Debug)]
pub(in crate::queues) enum GroupRecord {
    /// Everything before these offsets is done with.
    Offsets(Vec<(u32, u64)>),
    /// A generation, its leader, and what each of its members reads.
    Generation(u32, Option<MemberKey>, Vec<(MemberKey, Vec<u32>)>),
}

/// What the coordinator wants done.
#[derive(Debug)]
pub(super) enum Effect {
    /// Send this.
    Send(NodeId, Message),
    /// Append this, and say so when it is replicated.
    Append(GroupRecord, Appended),
    /// Tell the judge.
    Tell(LogEvent),
}

/// What follows when a record is replicated.
#[derive(Clone, Debug)]
pub(super) enum Appended {
    /// The group is stable in this generation.
    Stable(u32),
    /// A member is told that its commit stands.
    Commit(NodeId, u64, Vec<(u32, u64)>),
    /// Nothing.
    Nothing,
}

/// What a member says of itself when it joins.
#[derive(Clone, Debug)]
pub(in crate::queues) struct Joining {
    pub(super) member: MemberKey,
    /// The generation in which it got what it has.
    pub(super) generation: u32,
    /// What it has and keeps while the group rebalances.
    pub(super) owned: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    rules: GroupRules,
    state: State,
    generation: u32,
    leader: Option<MemberKey>,
    members: BTreeMap<MemberKey, Member>,
    offsets: BTreeMap<u32, u64>,
}

/// What the members of a group have set.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupRules {
    pub(super) session_timeout: SimDuration,
    /// How long members have to join again: `max.poll.interval.ms`.
    pub(super) rebalance_timeout: SimDuration,
    pub(super) initial_delay: SimDuration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Empty,
    /// Members join until then.
    Preparing {
        until: SimTime,
        /// Where the group was empty: how long it may still wait for more, and whether more came.
        initial: Option<(SimDuration, bool)>,
    },
    /// The leader has to say who reads what.
    Completing,
    Stable,
}

#[derive(Clone, Debug)]
struct Member {
    owned: (u32, Vec<u32>),
    /// The number of its request to join, if that waits for an answer.
    joins: Option<u64>,
    /// The number of its request for its part, if that waits for an answer.
    syncs: Option<u64>,
    /// When it is taken for dead.
    deadline: SimTime,
    assignment: Vec<u32>,
}

impl Group {
    pub(super) fn new(rules: GroupRules) -> Self {
        Self {
            rules,
            state: State::Empty,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            offsets: BTreeMap::new(),
        }
    }

    /// Reads a record of the log that a former coordinator has written.
    pub(super) fn load(&mut self, record: &GroupRecord, now: SimTime) {
        match record {
            GroupRecord::Offsets(offsets) => self.offsets.extend(offsets.iter().copied()),
            GroupRecord::Generation(generation, leader, members) => {
                (self.generation, self.leader) = (*generation, *leader);
                let deadline = now + self.rules.session_timeout;
                let member = |assignment: &Vec<u32>| Member {
                    owned: (*generation, assignment.clone()),
                    joins: None,
                    syncs: None,
                    deadline,
                    assignment: assignment.clone(),
                };
                self.members = members.iter().map(|(key, part)| (*key, member(part))).collect();
                self.state = if members.is_empty() { State::Empty } else { State::Stable };
            }
        }
    }

    /// A member wants to be in the next generation.
    pub(super) fn join(
        &mut self,
        id: u64,
        joining: Joining,
        now: SimTime,
        effects: &mut Vec<Effect>,
    ) {
        let key = joining.member;
        let owned = (joining.generation, joining.owned);
        let is_new = !self.members.contains_key(&key);
        let deadline = now + self.rules.session_timeout;
        let member = self.members.entry(key).or_insert_with(|| Member {
            owned: (0, Vec::new()),
            joins: None,
            syncs: None,
            deadline,
            assignment: Vec::new(),
        });
        member.deadline = deadline;
        let is_changed = is_new || member.owned.1 != owned.1;
        member.owned = owned;
        let is_answered = match self.state {
            State::Stable => !is_changed && self.leader != Some(key),
            State::Completing => !is_changed,
            State::Empty | State::Preparing { .. } => false,
        };
        if is_answered {
            self.answer_join(key, id, effects);
            return;
        }
        member.joins = Some(id);
        match &mut self.state {
            State::Empty => {
                let delay = self.rules.initial_delay.min(self.rules.rebalance_timeout);
                let left = self.rules.rebalance_timeout - delay;
                self.state = State::Preparing { until: now + delay, initial: Some((left, false)) };
            }
            State::Preparing { initial, .. } => {
                if let Some((_, more_came)) = initial {
                    *more_came |= is_new;
                }
            }
            State::Completing | State::Stable => self.prepare(now, effects),
        }
        self.complete_if_all_joined(now, effects);
    }

    /// Begins a rebalance.
    fn prepare(&mut self, now: SimTime, effects: &mut Vec<Effect>) {
        for (key, member) in &mut self.members {
            if let Some(id) = member.syncs.take() {
                let answer = Message::Synced { id, part: Err(GroupError::RebalanceInProgress) };
                effects.push(Effect::Send(key.node, answer));
            }
        }
        self.state = State::Preparing { until: now + self.rules.rebalance_timeout, initial: None };
    }

    fn complete_if_all_joined(&mut self, now: SimTime, effects: &mut Vec<Effect>) {
        let State::Preparing { initial: None, .. } = self.state else { return };
        if self.members.values().all(|member| member.joins.is_some()) {
            self.complete(now, effects);
        }
    }

    /// A new generation begins with those who have joined.
    fn complete(&mut self, now: SimTime, effects: &mut Vec<Effect>) {
        self.members.retain(|_, member| member.joins.is_some());
        self.generation += 1;
        if self.members.is_empty() {
            self.state = State::Empty;
            self.leader = None;
            effects.push(Effect::Append(self.record(), Appended::Nothing));
            return;
        }
        self.state = State::Completing;
        let stays = self.leader.filter(|leader| self.members.contains_key(leader));
        self.leader = stays.or_else(|| self.members.keys().next().copied());
        let keys: Vec<MemberKey> = self.members.keys().copied().collect();
        for key in keys {
            if let Some(member) = self.members.get_mut(&key)
                && let Some(id) = member.joins.take()
            {
                member.deadline = now + self.rules.session_timeout;
                self.answer_join(key, id, effects);
            }
        }
    }

    fn answer_join(&self, key: MemberKey, id: u64, effects: &mut Vec<Effect>) {
        let is_leader = self.leader == Some(key);
        let members = self.members.iter().filter(|_| is_leader);
        let members = members
            .map(|(key, member)| Joining {
                member: *key,
                generation: member.owned.0,
                owned: member.owned.1.clone(),
            })
            .collect();
        let answer = Message::Joined { id, generation: self.generation, is_leader, members };
        effects.push(Effect::Send(key.node, answer));
    }

    fn record(&self) -> GroupRecord {
        let members = self.members.iter().map(|(key, member)| (*key, member.assignment.clone()));
        GroupRecord::Generation(self.generation, self.leader, members.collect())
    }

    /// A member wants to know its part; the leader says what everybody's is.
    pub(super) fn sync(
        &mut self,
        id: u64,
        key: MemberKey,
        generation: u32,
        parts: Vec<(MemberKey, Vec<u32>)>,
        now: SimTime,
        effects: &mut Vec<Effect>,
    ) {
        let known = self.check(key, generation, now);
        let state = self.state;
        let part = match (known, state) {
            (Err(error), _) => Err(error),
            (Ok(()), State::Preparing { .. } | State::Empty) => {
                Err(GroupError::RebalanceInProgress)
            }
            (Ok(()), State::Stable) => Ok(self.members[&key].assignment.clone()),
            (Ok(()), State::Completing) => {
                if let Some(member) = self.members.get_mut(&key) {
                    member.syncs = Some(id);
                }
                if self.leader == Some(key) {
                    for (key, part) in parts {
                        if let Some(member) = self.members.get_mut(&key) {
                            member.assignment = part;
                        }
                    }
                    effects.push(Effect::Append(self.record(), Appended::Stable(generation)));
                }
                return;
            }
        };
        effects.push(Effect::Send(key.node, Message::Synced { id, part }));
    }

    /// A record that the coordinator has appended is replicated; or will not be.
    pub(super) fn appended(
        &mut self,
        what: Appended,
        is_safe: bool,
        now: SimTime,
        effects: &mut Vec<Effect>,
    ) {
        match what {
            Appended::Stable(generation) => {
                if self.state != State::Completing || generation != self.generation {
                    return;
                }
                if !is_safe {
                    self.prepare(now, effects);
                    return;
                }
                self.state = State::Stable;
                for (key, member) in &mut self.members {
                    if let Some(id) = member.syncs.take() {
                        member.deadline = now + self.rules.session_timeout;
                        let part = Ok(member.assignment.clone());
                        effects.push(Effect::Send(key.node, Message::Synced { id, part }));
                    }
                }
            }
            Appended::Commit(to, id, offsets) => {
                if is_safe {
                    for (log, position) in offsets {
                        self.offsets.insert(log, position);
                        effects.push(Effect::Tell(LogEvent::Committed { log, position }));
                    }
                }
                let result = if is_safe { Ok(()) } else { Err(GroupError::NotCoordinator) };
                effects.push(Effect::Send(to, Message::Committed { id, result }));
            }
            Appended::Nothing => (),
        }
    }

    /// Whether a member of this generation asks; it is alive.
    fn check(&mut self, key: MemberKey, generation: u32, now: SimTime) -> Result<(), GroupError> {
        let member = self.members.get_mut(&key).ok_or(GroupError::UnknownMember)?;
        if generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        member.deadline = now + self.rules.session_timeout;
        Ok(())
    }

    pub(super) fn heartbeat(
        &mut self,
        key: MemberKey,
        generation: u32,
        now: SimTime,
        effects: &mut Vec<Effect>,
    ) {
        let result = self.check(key, generation, now).and(match self.state {
            State::Preparing { .. } => Err(GroupError::RebalanceInProgress),
            State::Empty => Err(GroupError::UnknownMember),
            State::Completing | State::Stable => Ok(()),
        });
        effects.push(Effect::Send(key.node, Message::HeartbeatAnswer { generation, result }));
    }

    pub(super) fn leave(&mut self, key: MemberKey, now: SimTime, effects: &mut Vec<Effect>) {
        if self.members.remove(&key).is_some() {
            self.after_loss(now, effects);
        }
    }

    fn after_loss(&mut self, now: SimTime, effects: &mut Vec<Effect>) {
        match self.state {
            State::Stable | State::Completing => {
                self.prepare(now, effects);
                self.complete_if_all_joined(now, effects);
            }
            State::Preparing { .. } => self.complete_if_all_joined(now, effects),
            State::Empty => (),
        }
    }

    /// A member wants everything before `offsets` to count as done with.
    pub(super) fn commit(
        &mut self,
        id: u64,
        key: MemberKey,
        generation: u32,
        offsets: Vec<(u32, u64)>,
        now: SimTime,
        effects: &mut Vec<Effect>,
    ) {
        let result = self.check(key, generation, now).and(match self.state {
            State::Completing => Err(GroupError::RebalanceInProgress),
            State::Empty => Err(GroupError::UnknownMember),
            State::Preparing { .. } | State::Stable => Ok(()),
        });
        effects.push(match result {
            Ok(()) => {
                let done = Appended::Commit(key.node, id, offsets.clone());
                Effect::Append(GroupRecord::Offsets(offsets), done)
            }
            Err(error) => Effect::Send(key.node, Message::Committed { id, result: Err(error) }),
        });
    }

    /// Where to begin to read. The group is an old one: where nothing was committed since the run
    /// began, it had read all that there was before.
    pub(super) fn positions(
        &self,
        id: u64,
        to: NodeId,
        partitions: &[u32],
        effects: &mut Vec<Effect>,
    ) {
        let position = |log: &u32| self.offsets.get(log).copied().unwrap_or(0);
        let positions: Vec<(u32, u64)> =
            partitions.iter().map(|log| (*log, position(log))).collect();
        for &(log, position) in &positions {
            effects.push(Effect::Tell(LogEvent::Rewound { log, position }));
        }
        effects.push(Effect::Send(to, Message::Positions { id, positions }));
    }

    /// When something happens by itself.
    pub(super) fn next_deadline(&self) -> Option<SimTime> {
        let joins = match self.state {
            State::Preparing { until, .. } => Some(until),
            State::Empty | State::Completing | State::Stable => None,
        };
        let members = self.members.values().filter(|member| !member.waits());
        members.map(|member| member.deadline).chain(joins).min()
    }

    /// Takes those for dead that have been silent for too long, and those for gone that have not
    /// joined in time.
    pub(super) fn look_at_clock(&mut self, now: SimTime, effects: &mut Vec<Effect>) {
        let before = self.members.len();
        self.members.retain(|_, member| member.waits() || now < member.deadline);
        if self.members.len() < before {
            self.after_loss(now, effects);
        }
        if let State::Preparing { until, initial } = &mut self.state
            && *until <= now
        {
            match initial {
                Some((left, more_came)) if *more_came && *left != SimDuration::ZERO => {
                    let delay = self.rules.initial_delay.min(*left);
                    *until = now + delay;
                    (*left, *more_came) = (*left - delay, false);
                }
                _ => self.complete(now, effects),
            }
        }
    }
}

impl Member {
    /// A member that waits for an answer is alive.
    fn waits(&self) -> bool {
        self.joins.is_some() || self.syncs.is_some()
    }
}
