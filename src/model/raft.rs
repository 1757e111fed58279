//! A replicated log: terms, votes, and commit by majority.
//!
//! Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", USENIX ATC 2014,
//! figure 2, with what implementations add: a follower's answer to entries that do not fit says
//! where its log ends; a vote is asked for in earnest only when a majority would give it
//! (Ongaro's thesis, 9.6), so that a server that was cut off does not unseat a leader when it
//! returns; and a leader that has not heard from a majority for an election time-out steps down
//! (thesis, 6.2). What an answer promises is on disk before the answer leaves; a leader writes its
//! own disk beside sending, and counts itself when that is done (thesis, 10.2.1).
//!
//! A [`Raft`] is a node to be made part of another: requests are commands to append, indications
//! are committed commands in their order. Left out: snapshots, changes of membership.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;

use crate::config;
use crate::config::{Problems, Value};
use crate::kernel::time::{SimDuration, SimTime};

use super::node::{Context, Input, Node, NodeId, Stable, SyncId, Wire};

config! {
    /// How the members of a replicated log agree.
    pub struct RaftConfig {
        /// The least time without a word from the leader after which a member stands for election.
        pub election_min: SimDuration = RaftConfig::PAPER.election_min,
        /// The most; drawn anew each time.
        pub election_max: SimDuration = RaftConfig::PAPER.election_max,
        /// How often a leader lets itself be heard.
        pub heartbeat: SimDuration = RaftConfig::PAPER.heartbeat,
        /// Whether a member asks whether it would be elected before it begins a new term.
        pub pre_vote: bool = RaftConfig::PAPER.pre_vote,
        /// Whether a member takes the end of its connection with the leader for the end of the
        /// leader, and does not wait for the time-out (ZooKeeper).
        pub heeds_close: bool = RaftConfig::PAPER.heeds_close,
        /// Whether members sync their disk before they answer. Without, a power failure of a
        /// majority loses what was committed.
        pub fsync: bool = RaftConfig::PAPER.fsync,
    }
    check Self::check;
}

impl RaftConfig {
    /// Section 9.3 of the paper finds election time-outs of 150 to 300 ms good; heartbeats come
    /// several times as often.
    pub const PAPER: Self = Self {
        election_min: SimDuration::from_ms(150),
        election_max: SimDuration::from_ms(300),
        heartbeat: SimDuration::from_ms(50),
        pre_vote: true,
        heeds_close: false,
        fsync: true,
    };

    fn check(&self, value: &Value, problems: &mut Problems) {
        let is_rising = self.heartbeat < self.election_min && self.election_min < self.election_max;
        if !is_rising || self.heartbeat == SimDuration::ZERO {
            problems.add(
                value.place,
                "expected 0 < `heartbeat` < `election_min` < `election_max`, or no leader lasts",
            );
        }
    }
}

/// The settings of a member.
#[derive(Clone, Debug)]
pub struct RaftRole {
    /// How the members agree.
    pub config: RaftConfig,
    /// All members; the first leads when the run begins, as after an election long ago.
    pub members: Vec<NodeId>,
    /// Whether a member refuses its vote to one whose log is behind its own. Without, what was
    /// committed can be overwritten: for tests of tests.
    pub restricts_votes: bool,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry<C> {
    /// The term in which a leader appended it.
    pub term: u64,
    /// What it says; nothing in the entry with which a leader begins its term.
    pub command: Option<C>,
}

/// What a member tells the node that it is part of.
#[derive(Clone, Debug, PartialEq)]
pub enum RaftIndication<C> {
    /// A command is committed. Each is told once in a life of the process, in the order of the log.
    Committed {
        /// Its place in the log, from 1.
        index: u64,
        /// The command.
        command: C,
    },
    /// This member leads from now on, and all that was committed before has been told.
    Leads,
    /// This member follows another, or nobody.
    Follows,
}

/// What members tell each other.
#[derive(Clone, Debug, PartialEq)]
pub enum RaftMessage<C> {
    /// Would you vote, or do you vote, for me?
    Vote {
        /// The candidate's term, or the one that it would begin.
        term: u64,
        /// The last place of its log, and the term of what stands there.
        last: (u64, u64),
        /// Whether it only asks whether it would be elected.
        is_trial: bool,
    },
    /// The answer.
    Voted {
        /// The term that was asked about, or a later one that the voter knows of.
        term: u64,
        /// Whether it was a trial.
        is_trial: bool,
        /// Whether the vote is given.
        is_given: bool,
    },
    /// These entries follow what stands at `previous`.
    Append {
        /// The leader's term.
        term: u64,
        /// The place before the entries, and the term of what stands there.
        previous: (u64, u64),
        /// The entries; none in a heartbeat.
        entries: Vec<Entry<C>>,
        /// Up to where the log is committed.
        commit: u64,
        /// When it was sent, on the leader's clock.
        sent: SimTime,
    },
    /// The answer.
    Appended {
        /// The follower's term.
        term: u64,
        /// Up to where its log is that of the leader, or, where it is not, where to try next.
        match_index: u64,
        /// Whether the entries fitted.
        fits: bool,
        /// When the question was sent, on the leader's clock.
        sent: SimTime,
    },
}

impl<C: Clone + Debug> Wire for RaftMessage<C> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Vote { .. } => "vote",
            Self::Voted { .. } => "vote_reply",
            Self::Append { .. } => "append",
            Self::Appended { .. } => "append_reply",
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Append { entries, .. } => 40 + 100 * entries.len() as u32,
            Self::Vote { .. } | Self::Voted { .. } | Self::Appended { .. } => 40,
        }
    }
}

/// What a member keeps on disk.
#[derive(Clone, Debug)]
pub struct RaftDisk<C> {
    term: u64,
    vote: Option<NodeId>,
    log: Vec<Entry<C>>,
}

impl<C> Default for RaftDisk<C> {
    fn default() -> Self {
        Self { term: 0, vote: None, log: Vec::new() }
    }
}

/// A write to it.
#[derive(Clone, Debug)]
pub enum RaftWrite<C> {
    /// A term, and whom the member votes for in it.
    Term(u64, Option<NodeId>),
    /// The log ends after this many entries, and then these follow.
    Log(u64, Vec<Entry<C>>),
}

impl<C: Clone + Debug> Stable for RaftDisk<C> {
    type Write = RaftWrite<C>;

    fn apply(&mut self, write: &RaftWrite<C>) {
        match write {
            RaftWrite::Term(term, vote) => (self.term, self.vote) = (*term, *vote),
            RaftWrite::Log(kept, entries) => {
                self.log.truncate(*kept as usize);
                self.log.extend_from_slice(entries);
            }
        }
    }
}

/// A member.
#[derive(Debug)]
pub struct Raft<C> {
    role: RaftRole,
    // What the disk has too: changed together with a write.
    term: u64,
    vote: Option<NodeId>,
    log: Vec<Entry<C>>,
    /// Up to where the log is committed, and told.
    commit: u64,
    stance: Stance,
    /// When a member that hears nothing stands for election.
    election_due: SimTime,
    /// When the leader of this term was heard last, and which member it is.
    heard_leader: Option<SimTime>,
    leader: Option<NodeId>,
    /// What waits for the disk, in order.
    unsynced: VecDeque<(SyncId, Waiting<C>)>,
    /// Whether the node was told that this member leads.
    is_told_to_lead: bool,
    /// Each start of the timers has a number, so that those of an earlier stance are stale.
    watch: u64,
}

#[derive(Debug)]
enum Waiting<C> {
    Send(NodeId, RaftMessage<C>),
    /// This member's own log is on disk up to here; it was written in that term.
    OwnLog(u64, u64),
}

#[derive(Debug)]
enum Stance {
    Follower,
    /// Votes so far, its own included; on trial or in earnest.
    Candidate {
        votes: Vec<NodeId>,
        is_trial: bool,
    },
    Leader(BTreeMap<NodeId, Peer>),
}

/// What a leader knows of another member.
#[derive(Clone, Copy, Debug)]
struct Peer {
    next: u64,
    matched: u64,
    /// When that was sent which it answered last.
    heard: SimTime,
}

/// What a member reminds itself of.
#[derive(Clone, Copy, Debug)]
pub enum RaftTimer {
    /// An election may be due.
    Election(u64),
    /// A heartbeat is due.
    Heartbeat(u64),
}

type Ctx<'a, C> = Context<'a, Raft<C>>;

impl<C: Clone + Debug> Raft<C> {
    /// Whether this member leads, as far as it knows, and has told all that was committed before.
    pub const fn leads(&self) -> bool {
        self.is_told_to_lead
    }

    /// The member that was heard last as the leader, where this one does not lead itself.
    pub const fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// Whether no other member can lead at `now`: a majority has answered what was sent so lately
    /// that none of them votes for another yet. Trusts clocks to run alike.
    pub fn has_lease(&self, now: SimTime) -> bool {
        self.is_told_to_lead && self.is_heard_within(self.role.config.election_min, now)
    }

    /// Whether a majority has answered what this leader sent within `length` before `now`.
    fn is_heard_within(&self, length: SimDuration, now: SimTime) -> bool {
        let Stance::Leader(peers) = &self.stance else { return false };
        let heard = peers.values().filter(|peer| now.since(peer.heard) < length).count();
        self.majority() <= 1 + heard
    }

    fn last(&self) -> (u64, u64) {
        let index = self.log.len() as u64;
        (index, self.term_at(index))
    }

    fn term_at(&self, index: u64) -> u64 {
        if index == 0 { 0 } else { self.log[index as usize - 1].term }
    }

    fn majority(&self) -> usize {
        self.role.members.len() / 2 + 1
    }

    fn others(&self, own: NodeId) -> Vec<NodeId> {
        self.role.members.iter().copied().filter(|member| *member != own).collect()
    }

    fn start(&mut self, ctx: &mut Ctx<'_, C>) {
        let is_first_start = ctx.now() == SimTime::ZERO && self.term == 0;
        if is_first_start {
            let first = self.role.members[0];
            self.set_term(1, Some(first), ctx);
            self.heard_leader = Some(ctx.now());
            if first == ctx.id() {
                self.lead(ctx);
                // Nothing was committed before, so it has told all of that.
                self.is_told_to_lead = true;
                ctx.indicate(RaftIndication::Leads);
                return;
            }
        }
        self.rest(ctx);
    }

    /// Waits for an election time-out from now on.
    fn rest(&mut self, ctx: &mut Ctx<'_, C>) {
        self.watch += 1;
        self.put_off_election(ctx);
        let wait = self.election_due.since(ctx.now());
        ctx.set_timer(wait, RaftTimer::Election(self.watch));
    }

    fn put_off_election(&mut self, ctx: &mut Ctx<'_, C>) {
        let RaftConfig { election_min, election_max, .. } = self.role.config;
        let spread = election_max.as_ns() - election_min.as_ns();
        let wait = election_min + SimDuration::from_ns(ctx.rng().below(spread));
        self.election_due = ctx.now() + wait;
    }

    fn set_term(&mut self, term: u64, vote: Option<NodeId>, ctx: &mut Ctx<'_, C>) {
        (self.term, self.vote) = (term, vote);
        ctx.write(RaftWrite::Term(term, vote));
    }

    /// Sees a term; a later one than its own makes a follower of it.
    fn see_term(&mut self, term: u64, ctx: &mut Ctx<'_, C>) {
        if self.term < term {
            self.set_term(term, None, ctx);
            self.heard_leader = None;
            self.follow(ctx);
        }
    }

    fn follow(&mut self, ctx: &mut Ctx<'_, C>) {
        let was_follower = matches!(self.stance, Stance::Follower);
        self.stance = Stance::Follower;
        if std::mem::take(&mut self.is_told_to_lead) {
            ctx.indicate(RaftIndication::Follows);
        }
        if !was_follower {
            self.rest(ctx);
        }
    }

    fn stand(&mut self, is_trial: bool, ctx: &mut Ctx<'_, C>) {
        // The first term was the first member's, even for one whose disk has lost that.
        let next = self.term.max(1) + 1;
        if !is_trial {
            self.set_term(next, Some(ctx.id()), ctx);
        }
        self.heard_leader = None;
        self.stance = Stance::Candidate { votes: vec![ctx.id()], is_trial };
        self.rest(ctx);
        let vote = RaftMessage::Vote { term: next, last: self.last(), is_trial };
        for other in self.others(ctx.id()) {
            if is_trial {
                ctx.send(other, vote.clone());
            } else {
                self.send_synced(other, vote.clone(), ctx);
            }
        }
        self.count_votes(ctx);
    }

    fn count_votes(&mut self, ctx: &mut Ctx<'_, C>) {
        let majority = self.majority();
        match &self.stance {
            Stance::Candidate { votes, is_trial } if majority <= votes.len() => {
                if *is_trial {
                    self.stand(false, ctx);
                } else {
                    self.lead(ctx);
                }
            }
            _ => (),
        }
    }

    fn lead(&mut self, ctx: &mut Ctx<'_, C>) {
        let next = self.log.len() as u64 + 1;
        let peer = Peer { next, matched: 0, heard: ctx.now() };
        let others = self.others(ctx.id());
        self.stance = Stance::Leader(others.into_iter().map(|other| (other, peer)).collect());
        self.watch += 1;
        ctx.set_timer(self.role.config.heartbeat, RaftTimer::Heartbeat(self.watch));
        // Only an entry of its own term tells a leader what is committed (figure 8).
        self.append(None, ctx);
    }

    /// Appends to its own log, and sends to all.
    fn append(&mut self, command: Option<C>, ctx: &mut Ctx<'_, C>) {
        let entry = Entry { term: self.term, command };
        let kept = self.log.len() as u64;
        self.log.push(entry.clone());
        ctx.write(RaftWrite::Log(kept, vec![entry]));
        let waiting = Waiting::OwnLog(kept + 1, self.term);
        if self.role.config.fsync {
            let sync = ctx.sync();
            self.unsynced.push_back((sync, waiting));
        }
        for other in self.others(ctx.id()) {
            self.send_entries(other, ctx);
        }
        if !self.role.config.fsync {
            self.commit_by_majority(kept + 1, ctx);
        }
    }

    /// Sends a member what it lacks, or a heartbeat.
    fn send_entries(&mut self, to: NodeId, ctx: &mut Ctx<'_, C>) {
        let (term, commit) = (self.term, self.commit);
        let Stance::Leader(peers) = &mut self.stance else { return };
        let Some(peer) = peers.get_mut(&to) else { return };
        let first = (peer.next - 1) as usize;
        let entries: Vec<Entry<C>> =
            self.log[first..].iter().take(ENTRIES_A_MESSAGE).cloned().collect();
        let previous = peer.next - 1;
        peer.next += entries.len() as u64;
        let previous = (previous, self.term_at(previous));
        let sent = ctx.now();
        ctx.send(to, RaftMessage::Append { term, previous, entries, commit, sent });
    }

    /// Sends something that promises what is on disk.
    fn send_synced(&mut self, to: NodeId, message: RaftMessage<C>, ctx: &mut Ctx<'_, C>) {
        if self.role.config.fsync {
            let sync = ctx.sync();
            self.unsynced.push_back((sync, Waiting::Send(to, message)));
        } else {
            ctx.send(to, message);
        }
    }

    /// Sends something that promises no more than what was promised before.
    fn send_after(&mut self, to: NodeId, message: RaftMessage<C>, ctx: &mut Ctx<'_, C>) {
        match self.unsynced.back() {
            Some((sync, _)) => self.unsynced.push_back((*sync, Waiting::Send(to, message))),
            None => ctx.send(to, message),
        }
    }

    fn synced(&mut self, sync: SyncId, ctx: &mut Ctx<'_, C>) {
        while self.unsynced.front().is_some_and(|(waits_for, _)| *waits_for <= sync) {
            match self.unsynced.pop_front() {
                Some((_, Waiting::Send(to, message))) => ctx.send(to, message),
                Some((_, Waiting::OwnLog(index, term))) if term == self.term => {
                    self.commit_by_majority(index, ctx);
                }
                Some((_, Waiting::OwnLog(..))) | None => (),
            }
        }
    }

    /// Commits what a majority has, this member up to `own`.
    fn commit_by_majority(&mut self, own: u64, ctx: &mut Ctx<'_, C>) {
        let Stance::Leader(peers) = &self.stance else { return };
        let mut matched: Vec<u64> = peers.values().map(|peer| peer.matched).collect();
        matched.push(own);
        matched.sort_unstable_by(|a, b| b.cmp(a));
        let index = matched[self.majority() - 1];
        if self.commit < index && self.term_at(index) == self.term {
            self.tell_up_to(index, ctx);
            // It leads in earnest when its own first entry is committed.
            if !self.is_told_to_lead {
                self.is_told_to_lead = true;
                ctx.indicate(RaftIndication::Leads);
            }
        }
    }

    fn tell_up_to(&mut self, commit: u64, ctx: &mut Ctx<'_, C>) {
        while self.commit < commit {
            self.commit += 1;
            let entry = &self.log[self.commit as usize - 1];
            if let Some(command) = entry.command.clone() {
                ctx.indicate(RaftIndication::Committed { index: self.commit, command });
            }
        }
    }

    /// Up to where this member's own log is surely on disk.
    fn own_durable(&self) -> u64 {
        if !self.role.config.fsync {
            return self.log.len() as u64;
        }
        let first = self.unsynced.iter().find_map(|(_, waiting)| match waiting {
            Waiting::OwnLog(index, term) if *term == self.term => Some(index - 1),
            Waiting::OwnLog(..) | Waiting::Send(..) => None,
        });
        first.unwrap_or(self.log.len() as u64)
    }

    fn asked_for_vote(
        &mut self,
        from: NodeId,
        term: u64,
        last: (u64, u64),
        is_trial: bool,
        ctx: &mut Ctx<'_, C>,
    ) {
        let election_min = self.role.config.election_min;
        let hears_leader = self.is_told_to_lead
            || self.heard_leader.is_some_and(|at| ctx.now().since(at) < election_min);
        let is_behind = (last.1, last.0) < (self.last().1, self.last().0);
        let is_eligible = !(is_behind && self.role.restricts_votes);
        if is_trial {
            let is_given = self.term < term && is_eligible && !hears_leader;
            let answer = RaftMessage::Voted { term, is_trial, is_given };
            self.send_after(from, answer, ctx);
            return;
        }
        if self.role.config.pre_vote && hears_leader {
            // A leader is at work: the candidate is told nothing, and no term is begun.
            return;
        }
        self.see_term(term, ctx);
        let is_free = self.vote.is_none() || self.vote == Some(from);
        let is_given = term == self.term && is_free && is_eligible;
        let answer = RaftMessage::Voted { term: self.term, is_trial, is_given };
        if is_given {
            self.put_off_election(ctx);
            if self.vote.is_none() {
                self.set_term(term, Some(from), ctx);
            }
            self.send_synced(from, answer, ctx);
        } else {
            self.send_after(from, answer, ctx);
        }
    }

    fn voted(
        &mut self,
        from: NodeId,
        term: u64,
        of_trial: bool,
        is_given: bool,
        ctx: &mut Ctx<'_, C>,
    ) {
        if !of_trial {
            self.see_term(term, ctx);
        }
        let wanted = if of_trial { self.term.max(1) + 1 } else { self.term };
        if let Stance::Candidate { votes, is_trial } = &mut self.stance
            && *is_trial == of_trial
            && term == wanted
            && is_given
        {
            if !votes.contains(&from) {
                votes.push(from);
            }
            self.count_votes(ctx);
        }
    }

    fn asked_to_append(
        &mut self,
        from: NodeId,
        (term, sent): (u64, SimTime),
        previous: (u64, u64),
        entries: Vec<Entry<C>>,
        commit: u64,
        ctx: &mut Ctx<'_, C>,
    ) {
        self.see_term(term, ctx);
        if term < self.term {
            let (term, match_index) = (self.term, 0);
            let answer = RaftMessage::Appended { term, match_index, fits: false, sent };
            self.send_after(from, answer, ctx);
            return;
        }
        self.follow(ctx);
        self.heard_leader = Some(ctx.now());
        self.leader = Some(from);
        self.put_off_election(ctx);
        let (index, expected) = previous;
        let ours = self.log.len() as u64;
        if ours < index || self.term_at(index) != expected {
            // Where this log ends, or, where it differs, before all of that term.
            let match_index = if ours < index {
                ours
            } else {
                let wrong = self.term_at(index);
                (1..index).rev().find(|&at| self.term_at(at) != wrong).unwrap_or(0)
            };
            let answer = RaftMessage::Appended { term, match_index, fits: false, sent };
            self.send_after(from, answer, ctx);
            return;
        }
        let match_index = index + entries.len() as u64;
        let known = entries
            .iter()
            .zip(index + 1..)
            .take_while(|(entry, at)| *at <= ours && self.term_at(*at) == entry.term)
            .count();
        let answer = RaftMessage::Appended { term, match_index, fits: true, sent };
        if known < entries.len() {
            let kept = index + known as u64;
            assert!(
                self.commit <= kept || !self.role.restricts_votes || !self.role.config.fsync,
                "committed entries up to {} were to be cut off after {kept}",
                self.commit
            );
            let new = entries[known..].to_vec();
            self.log.truncate(kept as usize);
            self.log.extend_from_slice(&new);
            ctx.write(RaftWrite::Log(kept, new));
            self.send_synced(from, answer, ctx);
        } else {
            self.send_after(from, answer, ctx);
        }
        let commit = commit.min(match_index).min(self.log.len() as u64);
        self.tell_up_to(commit, ctx);
    }

    fn appended(
        &mut self,
        from: NodeId,
        term: u64,
        match_index: u64,
        fits: bool,
        sent: SimTime,
        ctx: &mut Ctx<'_, C>,
    ) {
        self.see_term(term, ctx);
        let end = self.log.len() as u64;
        let Stance::Leader(peers) = &mut self.stance else { return };
        let Some(peer) = peers.get_mut(&from).filter(|_| term == self.term) else { return };
        peer.heard = sent.max(peer.heard);
        if fits {
            // A member has more than this leader only where a disk forgot a term that it had led,
            // and it came again (etcd panics then: "Was the raft log corrupted, truncated, or
            // lost?", raft/log.go). What this leader does not have it cannot count.
            peer.matched = match_index.min(end).max(peer.matched);
            peer.next = peer.next.max(peer.matched + 1);
            let lacks = peer.next <= end;
            let own = self.own_durable();
            self.commit_by_majority(own, ctx);
            if lacks {
                self.send_entries(from, ctx);
            }
        } else {
            peer.next = (match_index + 1).clamp(peer.matched + 1, end + 1);
            self.send_entries(from, ctx);
        }
    }

    fn heartbeat(&mut self, ctx: &mut Ctx<'_, C>) {
        if !matches!(self.stance, Stance::Leader(_)) {
            return;
        }
        if !self.is_heard_within(self.role.config.election_max, ctx.now()) {
            self.heard_leader = None;
            self.follow(ctx);
            return;
        }
        for other in self.others(ctx.id()) {
            self.send_entries(other, ctx);
        }
        ctx.set_timer(self.role.config.heartbeat, RaftTimer::Heartbeat(self.watch));
    }

    /// What was under way to a member is lost with the connection: it is sent again.
    fn closed(&mut self, with: NodeId, ctx: &mut Ctx<'_, C>) {
        if let Stance::Leader(peers) = &mut self.stance
            && let Some(peer) = peers.get_mut(&with)
        {
            peer.next = peer.matched + 1;
        }
        let is_follower = matches!(self.stance, Stance::Follower);
        if self.role.config.heeds_close
            && is_follower
            && self.leader.take_if(|l| *l == with).is_some()
        {
            self.heard_leader = None;
            self.watch += 1;
            let wait = ctx.rng().below(self.role.config.heartbeat.as_ns());
            self.election_due = ctx.now() + SimDuration::from_ns(wait);
            ctx.set_timer(SimDuration::from_ns(wait), RaftTimer::Election(self.watch));
        }
    }
}

impl<C: Clone + Debug> Node for Raft<C> {
    type Role = RaftRole;
    type Stable = RaftDisk<C>;
    type Request = C;
    type Indication = RaftIndication<C>;
    type Message = RaftMessage<C>;
    type Timer = RaftTimer;

    fn boot(role: &RaftRole, disk: &RaftDisk<C>) -> Self {
        Self {
            role: role.clone(),
            term: disk.term,
            vote: disk.vote,
            log: disk.log.clone(),
            commit: 0,
            stance: Stance::Follower,
            election_due: SimTime::ZERO,
            heard_leader: None,
            leader: None,
            unsynced: VecDeque::new(),
            is_told_to_lead: false,
            watch: 0,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Ctx<'_, C>) {
        match input {
            Input::Start => self.start(ctx),
            // Where this member does not lead, nothing comes of it: whoever asks asks again.
            Input::Request(command) => {
                if self.is_told_to_lead {
                    self.append(Some(command), ctx);
                }
            }
            Input::Message { from, message, .. } => match message {
                RaftMessage::Vote { term, last, is_trial } => {
                    self.asked_for_vote(from, term, last, is_trial, ctx);
                }
                RaftMessage::Voted { term, is_trial, is_given } => {
                    self.voted(from, term, is_trial, is_given, ctx);
                }
                RaftMessage::Append { term, previous, entries, commit, sent } => {
                    self.asked_to_append(from, (term, sent), previous, entries, commit, ctx);
                }
                RaftMessage::Appended { term, match_index, fits, sent } => {
                    self.appended(from, term, match_index, fits, sent, ctx);
                }
            },
            Input::Synced(sync) => self.synced(sync, ctx),
            Input::Timer(RaftTimer::Election(watch)) if watch == self.watch => {
                if matches!(self.stance, Stance::Leader(_)) {
                    return;
                }
                let now = ctx.now();
                if now < self.election_due {
                    // A word from the leader has put it off.
                    let wait = self.election_due.since(now);
                    ctx.set_timer(wait, RaftTimer::Election(watch));
                } else {
                    self.stand(self.role.config.pre_vote, ctx);
                }
            }
            Input::Timer(RaftTimer::Heartbeat(watch)) if watch == self.watch => {
                self.heartbeat(ctx);
            }
            Input::Closed { peer, .. } => self.closed(peer, ctx),
            Input::Timer(_) | Input::Overload { .. } | Input::Signal(_) => (),
        }
    }
}

/// How many entries a message carries at most, so that a member far behind is not sent all at once.
const ENTRIES_A_MESSAGE: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Seed;
    use crate::kernel::sim::Limits;
    use crate::model::cluster::{Change, Cluster, ClusterSetup, Driver, Workload};
    use crate::model::directory::Directory;
    use crate::model::dist::Dist;
    use crate::model::fault::{FaultConfig, FaultPlan};
    use crate::model::network::NetworkConfig;
    use crate::model::node::Output;

    /// A member, and a point that it comes to when it has sent entries: in mid-commit.
    struct Member(Raft<u32>);

    impl Node for Member {
        type Role = RaftRole;
        type Stable = RaftDisk<u32>;
        type Request = u32;
        type Indication = RaftIndication<u32>;
        type Message = RaftMessage<u32>;
        type Timer = RaftTimer;

        fn boot(role: &RaftRole, disk: &RaftDisk<u32>) -> Self {
            Self(Raft::boot(role, disk))
        }

        fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
            let proposes = matches!(input, Input::Request(_)) && self.0.leads();
            let input = match input {
                Input::Start => Input::Start,
                Input::Request(command) => Input::Request(command),
                Input::Message { from, via, message } => Input::Message { from, via, message },
                Input::Overload { from, via, message } => Input::Overload { from, via, message },
                Input::Closed { peer, via, why } => Input::Closed { peer, via, why },
                Input::Timer(timer) => Input::Timer(timer),
                Input::Synced(sync) => Input::Synced(sync),
                Input::Signal(signal) => Input::Signal(signal),
            };
            ctx.with_part(&mut self.0, input, |output| match output {
                Output::Indicate(indication) => Output::Indicate(indication),
                Output::Send { to, message } => Output::Send { to, message },
                Output::Disconnect { peer } => Output::Disconnect { peer },
                Output::SetTimer { id, after, timer } => Output::SetTimer { id, after, timer },
                Output::CancelTimer(id) => Output::CancelTimer(id),
                Output::Write(write) => Output::Write(write),
                Output::Sync(id) => Output::Sync(id),
                Output::Reach(point) => Output::Reach(point),
            });
            if proposes {
                ctx.reach("proposed");
            }
        }
    }

    /// Asks all members every 10 ms to append a number, and notes what each has committed.
    struct Numbers {
        next: u32,
        members: Vec<NodeId>,
        /// By member, in each of its lives.
        told: Vec<Vec<Vec<(u64, u32)>>>,
        leads: Vec<(SimTime, NodeId)>,
    }

    impl Workload<Member> for Numbers {
        type Event = ();

        fn start(&mut self, driver: &mut Driver<'_, Member, ()>) {
            driver.after(SimDuration::from_ms(10), ());
        }

        fn handle(&mut self, (): (), driver: &mut Driver<'_, Member, ()>) {
            for &member in &self.members {
                driver.request(member, self.next);
                self.next += 1;
            }
            driver.after(SimDuration::from_ms(10), ());
        }

        fn hear(
            &mut self,
            node: NodeId,
            told: RaftIndication<u32>,
            driver: &mut Driver<'_, Member, ()>,
        ) {
            match told {
                RaftIndication::Committed { index, command } => {
                    let lives = &mut self.told[node.index()];
                    lives.last_mut().expect("a first life").push((index, command));
                }
                RaftIndication::Leads => self.leads.push((driver.now(), node)),
                RaftIndication::Follows => (),
            }
        }

        fn witness(&mut self, node: NodeId, change: Change, _: &mut Driver<'_, Member, ()>) {
            if change == Change::Up {
                self.told[node.index()].push(Vec::new());
            }
        }
    }

    impl Numbers {
        /// Whether no two members have committed different commands at the same place.
        fn agree(&self) -> Result<usize, String> {
            let mut at = BTreeMap::new();
            for (index, command) in self.told.iter().flatten().flatten() {
                let before = *at.entry(*index).or_insert(*command);
                if before != *command {
                    return Err(format!("at {index}: {before} and {command}"));
                }
            }
            Ok(at.len())
        }
    }

    fn faults(text: &str) -> Vec<FaultConfig> {
        let mut problems = Problems::default();
        let value = Value::parse(text, 0, &mut problems);
        let config::ValueKind::Table(table) = &value.kind else {
            unreachable!("a file is a table")
        };
        let list = table.get("fault");
        let read = list.map_or(Some(Vec::new()), |list| config::Config::read(list, &mut problems));
        assert!(problems.is_empty(), "{problems:?}");
        read.expect("it was read without a problem")
    }

    fn default<T: config::Config>() -> T {
        let table = config::ValueKind::Table(config::Table::default());
        let nothing = Value { kind: table, place: config::Place::default() };
        T::read(&nothing, &mut Problems::default()).expect("every field has a default")
    }

    fn play(size: u32, text: &str, seed: u64, restricts_votes: bool) -> Numbers {
        play_with(default(), size, text, seed, restricts_votes)
    }

    fn play_with(
        config: RaftConfig,
        size: u32,
        text: &str,
        seed: u64,
        restricts_votes: bool,
    ) -> Numbers {
        let mut directory = Directory::default();
        let members: Vec<NodeId> =
            (1..=size).map(|n| directory.add(format!("server-{n}"), "server")).collect();
        let horizon = SimTime::from_ms(20_000);
        let seed = Seed(seed);
        let plan = FaultPlan::draw(&faults(text), None, &directory, horizon, seed);
        let role = RaftRole { config, members: members.clone(), restricts_votes };
        let setup = ClusterSetup {
            directory: &directory,
            network: &NetworkConfig { user_timeout: SimDuration::from_secs(5), ..default() },
            sync: &Dist::constant(SimDuration::from_ms(1)),
            stations: vec![None; size as usize],
            faults: plan.expect("there are few faults"),
            seed,
        };
        let numbers = Numbers {
            next: 0,
            told: vec![vec![Vec::new()]; size as usize],
            members,
            leads: Vec::new(),
        };
        let roles = vec![role; size as usize];
        let limits = Limits { horizon, ..Limits::default() };
        Cluster::<Member, Numbers>::new(setup, roles, numbers).run(limits).workload
    }

    /// Crashes, power failures, partitions and pauses at random.
    const STORM: &str = r#"fault = [
        { rate = "1/s", for = { exponential = { mean = "400ms" } }, crash_process = { target = "any:server" } },
        { rate = "1/s", for = { exponential = { mean = "400ms" } }, crash_machine = { target = "any:server" } },
        { rate = "1/s", for = { exponential = { mean = "600ms" } }, isolate = { target = "any:server" } },
        { rate = "1/s", for = { exponential = { mean = "600ms" } }, pause = { target = "any:server" } },
        { rate = "1/s", for = { exponential = { mean = "600ms" } }, partition = { sides = [["server-1", "server-2"], ["server-3"]] } },
    ]"#;

    #[test]
    fn without_faults_the_first_member_leads_and_all_commit_the_same() {
        let numbers = play(3, "", 1, true);
        assert_eq!(numbers.leads.len(), 1);
        assert_eq!(numbers.leads[0].1, NodeId(0));
        let count = numbers.agree().unwrap();
        assert!(1980 < count, "{count}");
        for lives in &numbers.told {
            assert!(count - lives[0].len() < 10);
        }
    }

    #[test]
    fn a_leader_killed_in_mid_commit_loses_nothing_that_was_committed() {
        for seed in 0..20 {
            // The third member lags, and must not be elected over the second.
            let text = r#"fault = [
                { at = "300ms", for = "400ms", isolate = { target = "server-3" } },
                { on = { node = "server-1", point = "proposed", count = 50 }, for = "2s", crash_machine = { target = "server-1" } },
            ]"#;
            let numbers = play(3, text, seed, true);
            let count = numbers.agree().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            assert!(1 < numbers.leads.len(), "another member leads");
            assert!(1000 < count, "seed {seed}: {count}");
            // It caught up when it was back.
            let last =
                |lives: &Vec<Vec<(u64, u32)>>| lives.last().and_then(|life| life.last().copied());
            let lasts: Vec<_> = numbers.told.iter().map(last).collect();
            let lead = lasts[1].map(|(index, _)| index);
            let back = lasts[0].map(|(index, _)| index);
            assert!(lead.unwrap() - back.unwrap() < 20, "{lasts:?}");
        }
    }

    #[test]
    fn members_agree_under_a_storm_of_faults() {
        for seed in 0..60 {
            let numbers = play(if seed % 2 == 0 { 3 } else { 5 }, STORM, seed, true);
            let count = numbers.agree().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            assert!(50 < count, "seed {seed}: {count}");
        }
    }

    #[test]
    fn without_the_election_restriction_they_do_not() {
        let broken = (0..60).filter(|&seed| play(3, STORM, seed, false).agree().is_err());
        assert!(0 < broken.count());
    }

    #[test]
    fn a_member_that_was_cut_off_does_not_unseat_the_leader_when_it_returns() {
        let text = r#"fault = [
            { at = "1s", for = "5s", isolate = { target = "server-3" } },
        ]"#;
        let numbers = play(3, text, 1, true);
        assert_eq!(numbers.leads.len(), 1);
    }

    #[test]
    fn members_that_heed_the_end_of_a_connection_elect_at_once() {
        let text = r#"fault = [
            { at = "1s", crash_process = { target = "server-1" } },
        ]"#;
        let took = |heeds_close| {
            let second = SimDuration::from_secs(1);
            let (election_min, election_max) = (second.times(5), second.times(6));
            let config = RaftConfig { election_min, election_max, heeds_close, ..default() };
            let numbers = play_with(config, 3, text, 1, true);
            numbers.leads[1].0.since(SimTime::from_ms(1000))
        };
        assert!(SimDuration::from_secs(4) < took(false));
        assert!(took(true) < SimDuration::from_ms(200));
    }

    #[test]
    fn a_leader_that_is_cut_off_steps_down_and_another_leads() {
        let text = r#"fault = [
            { at = "1s", for = "5s", isolate = { target = "server-1" } },
        ]"#;
        let numbers = play(3, text, 1, true);
        let leads: Vec<NodeId> = numbers.leads.iter().map(|lead| lead.1).collect();
        assert_eq!(leads.len(), 2);
        assert_ne!(leads[1], NodeId(0));
        let took = numbers.leads[1].0.since(SimTime::from_ms(1000));
        assert!(took < SimDuration::from_secs(2), "{took}");
    }
}
