//! What happened in a run, in true time: what the judges judge.
//!
//! Plain data, so that a bad history can be written by hand.

use crate::kernel::time::SimTime;
use crate::model::cluster::Change;
use crate::model::node::NodeId;

use super::party::Told;
use super::resource::Effect;
use super::section::{Outcome, Progress, SectionId};
use super::{Fact, Indication, LockId, Release, Token};

/// All that happened.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Requests for locks, in the order of their beginning.
    pub waits: Vec<Wait>,
    /// What clients believed they held, in the order of their beginning.
    pub grants: Vec<Grant>,
    /// Operations on the resource, in the order in which it decided them.
    pub effects: Vec<(SimTime, Effect)>,
    /// Sections, in the order of their beginning.
    pub sections: Vec<Passage>,
    /// What was true at servers, in order.
    pub facts: Vec<(SimTime, NodeId, Fact)>,
    /// What happened to processes, in order.
    pub changes: Vec<(SimTime, NodeId, Change)>,
    /// When clients sent a request for a lock.
    pub tries: Vec<SimTime>,
    /// When clients were woken up.
    pub wakes: Vec<SimTime>,
    /// When the run ended.
    pub end: SimTime,
}

/// A request for a lock, through all its attempts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Wait {
    /// For which section.
    pub section: SectionId,
    /// Whose.
    pub client: NodeId,
    /// For which lock.
    pub lock: LockId,
    /// When it was first made.
    pub requested: SimTime,
    /// When it ended, and how; `None` where it goes on to the end of the run.
    pub ended: Option<(SimTime, WaitEnd)>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WaitEnd {
    /// The lock was granted.
    Granted,
    /// The client gave up.
    GaveUp,
    /// Its process died.
    Died,
}

/// A stretch of time in which a client believed that it held a lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Grant {
    /// Whose section.
    pub section: SectionId,
    /// Who believed it.
    pub client: NodeId,
    /// Which lock.
    pub lock: LockId,
    /// The fencing token, where there was one.
    pub token: Option<Token>,
    /// When it was asked for.
    pub requested: SimTime,
    /// When the client saw the grant.
    pub granted: SimTime,
    /// Until when the client believed it, as it acted: it released, learned of the loss, or died.
    /// The end of the run where it still did.
    pub until: SimTime,
    /// How that came.
    pub ended: Option<GrantEnd>,
    /// Until when it could believe it by its own clock, where it knows of an end;
    /// [`SimTime::END`] where it does not.
    pub deadline: SimTime,
    /// When the release was over, and how.
    pub released: Option<(SimTime, Release)>,
}

/// How a belief ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GrantEnd {
    /// The client began to release.
    Released,
    /// The client learned that it had lost the lock.
    Lost,
    /// Its process died.
    Died,
}

/// A passage through a critical section.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Passage {
    /// Its name.
    pub id: SectionId,
    /// Whose.
    pub client: NodeId,
    /// When it began.
    pub began: SimTime,
    /// When it was over, and how; `None` where its process died, or the run ended, before.
    pub over: Option<(SimTime, Outcome)>,
    /// How many of its writes it knows to be done.
    pub acknowledged: u32,
    /// Whether its process died in it.
    pub has_died: bool,
}

impl Grant {
    /// How long the client believed, by what it did.
    pub const fn believed(&self) -> std::ops::Range<SimTime> {
        self.granted..self.until
    }
}

/// Writes a history while it happens.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    pub(crate) history: History,
    /// For each node, the section that it is in, by its place in the history.
    current: Vec<Option<usize>>,
    /// For each node, its waits and grants that have not ended, by their places.
    open_waits: Vec<Vec<usize>>,
    open_grants: Vec<Vec<usize>>,
    /// For each node, grants whose release has begun.
    releasing: Vec<Vec<usize>>,
}

impl Recorder {
    pub(crate) fn new(node_count: usize) -> Self {
        Self {
            history: History::default(),
            current: vec![None; node_count],
            open_waits: vec![Vec::new(); node_count],
            open_grants: vec![Vec::new(); node_count],
            releasing: vec![Vec::new(); node_count],
        }
    }

    /// Notes what `node` told at `now`.
    pub(crate) fn note(&mut self, now: SimTime, node: NodeId, told: Told) {
        match told {
            Told::Client(indication) => self.note_client(now, node, indication),
            Told::Section(progress) => self.note_progress(now, node, progress),
            Told::Server(fact) => self.history.facts.push((now, node, fact)),
            Told::Resource(effect) => self.history.effects.push((now, effect)),
        }
    }

    fn note_client(&mut self, now: SimTime, node: NodeId, indication: Indication) {
        let n = node.index();
        match indication {
            Indication::Tried(_) => self.history.tries.push(now),
            Indication::Woken(_) => self.history.wakes.push(now),
            Indication::Granted { lock, token, valid_for } => {
                let Some(wait) = self.end_wait(now, n, lock, WaitEnd::Granted) else { return };
                let grants = &self.history.grants;
                if self.open_grants[n].iter().any(|&index| grants[index].lock == lock) {
                    // It has entered again what it believes it holds.
                    return;
                }
                self.open_grants[n].push(self.history.grants.len());
                self.history.grants.push(Grant {
                    section: wait.section,
                    client: node,
                    lock,
                    token,
                    requested: wait.requested,
                    granted: now,
                    until: SimTime::END,
                    ended: None,
                    deadline: valid_for.map_or(SimTime::END, |valid_for| now + valid_for),
                    released: None,
                });
            }
            Indication::Extended { lock, valid_for } => {
                for &index in &self.open_grants[n] {
                    let grant = &mut self.history.grants[index];
                    if grant.lock == lock && now <= grant.deadline {
                        grant.deadline = now + valid_for;
                    }
                }
            }
            Indication::Lost(lock) => self.end_grants(now, n, Some(lock), GrantEnd::Lost),
            Indication::Released { lock, how } => {
                let grants = &mut self.history.grants;
                let first = self.releasing[n].iter().position(|&index| grants[index].lock == lock);
                if let Some(place) = first {
                    grants[self.releasing[n].remove(place)].released = Some((now, how));
                }
            }
            // An error is followed by another request, or by the end of the section.
            Indication::Refused { .. }
            | Indication::Checked { .. }
            | Indication::Validated { .. } => (),
        }
    }

    fn note_progress(&mut self, now: SimTime, node: NodeId, progress: Progress) {
        let n = node.index();
        match progress {
            Progress::Began(id) => {
                self.current[n] = Some(self.history.sections.len());
                self.history.sections.push(Passage {
                    id,
                    client: node,
                    began: now,
                    over: None,
                    acknowledged: 0,
                    has_died: false,
                });
            }
            Progress::Requests(section, lock) => {
                let is_open = |&index: &usize| self.history.waits[index].lock == lock;
                if !self.open_waits[n].iter().any(is_open) {
                    self.open_waits[n].push(self.history.waits.len());
                    self.history.waits.push(Wait {
                        section,
                        client: node,
                        lock,
                        requested: now,
                        ended: None,
                    });
                }
            }
            Progress::Releases(_, lock) => {
                for &index in &self.open_grants[n] {
                    if self.history.grants[index].lock == lock {
                        self.releasing[n].push(index);
                    }
                }
                self.end_grants(now, n, Some(lock), GrantEnd::Released);
            }
            Progress::Acknowledged(..) => {
                if let Some(index) = self.current[n] {
                    self.history.sections[index].acknowledged += 1;
                }
            }
            Progress::Over(_, outcome) => {
                if let Some(index) = self.current[n].take() {
                    self.history.sections[index].over = Some((now, outcome));
                }
                for index in std::mem::take(&mut self.open_waits[n]) {
                    self.history.waits[index].ended = Some((now, WaitEnd::GaveUp));
                }
            }
        }
    }

    /// Notes what happened to `node` at `now`.
    pub(crate) fn witness(&mut self, now: SimTime, node: NodeId, change: Change) {
        self.history.changes.push((now, node, change));
        let n = node.index();
        match change {
            Change::ProcessDown | Change::MachineDown => {
                for index in std::mem::take(&mut self.open_waits[n]) {
                    self.history.waits[index].ended = Some((now, WaitEnd::Died));
                }
                self.end_grants(now, n, None, GrantEnd::Died);
                self.releasing[n].clear();
                if let Some(index) = self.current[n].take() {
                    self.history.sections[index].has_died = true;
                }
            }
            Change::Up | Change::Paused | Change::Resumed => (),
        }
    }

    /// The history of a run that ends at `end`.
    pub(crate) fn finish(mut self, end: SimTime) -> History {
        self.history.end = end;
        for grant in &mut self.history.grants {
            grant.until = grant.until.min(end);
        }
        self.history
    }

    fn end_wait(&mut self, now: SimTime, n: usize, lock: LockId, how: WaitEnd) -> Option<Wait> {
        let waits = &mut self.history.waits;
        let place = self.open_waits[n].iter().position(|&index| waits[index].lock == lock)?;
        let wait = &mut waits[self.open_waits[n].remove(place)];
        wait.ended = Some((now, how));
        Some(*wait)
    }

    fn end_grants(&mut self, now: SimTime, n: usize, lock: Option<LockId>, how: GrantEnd) {
        let grants = &mut self.history.grants;
        self.open_grants[n].retain(|&index| {
            let grant = &mut grants[index];
            let ends = lock.is_none_or(|lock| lock == grant.lock);
            if ends {
                grant.until = now;
                grant.ended = Some(how);
            }
            !ends
        });
    }
}
