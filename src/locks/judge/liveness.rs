//! Who is left waiting: locks that nobody can have any more, and clients that others overtake.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::history::{GrantEnd, History, Wait, WaitEnd};
use crate::locks::{Authority, Fact, LockId, Servers, Shards};
use crate::model::cluster::Change;
use crate::model::directory::Directory;
use crate::model::node::NodeId;

use super::{Finding, Findings, Lock, Ms};

/// Who is left waiting.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Waits of live clients that were still open when the run ended: where each began.
    pub open: Vec<Wait>,
    /// The locks that such a client waits for, and that nobody was granted since.
    pub stalls: Vec<Stall>,
    /// The most grants to others, asked for later, that one wait saw.
    pub bypass_max: u64,
    /// The stalls, in words.
    pub findings: Vec<Finding>,
}

/// A lock that clients wait for in vain.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stall {
    /// Which.
    pub lock: LockId,
    /// Since when nobody was granted it though a client waited.
    pub since: SimTime,
    /// Why.
    pub cause: Cause,
}

/// Why a lock is stuck.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cause {
    /// Too few servers are up.
    NoQuorum,
    /// A client that died holds it, and it does not expire.
    HeldByDead(NodeId),
    /// A client that does not believe so holds it, and it does not expire.
    KeyWithoutExpiry(NodeId),
    /// It is renewed for a client that does not believe that it holds it.
    OrphanRenewal(NodeId),
    /// The clients that hold it wait for others of the locks, and so on in a circle.
    Deadlock(NodeId),
    /// A live client believes that it holds it.
    HeldByLive(NodeId),
    /// No server says that anyone holds it: votes are split, or a release or a wake-up was lost.
    Unclaimed,
}

impl Cause {
    /// The cause in words, from `names`.
    pub fn describe(self, names: &Directory) -> String {
        match self {
            Self::NoQuorum => "too few servers are up".into(),
            Self::HeldByDead(client) => format!("{}, which died, holds it", names.name(client)),
            Self::KeyWithoutExpiry(client) => {
                format!("it is {}'s on the books without expiry", names.name(client))
            }
            Self::OrphanRenewal(client) => {
                format!("it is renewed for {}, which does not know", names.name(client))
            }
            Self::Deadlock(client) => {
                format!("{} holds it and waits for another: a deadlock", names.name(client))
            }
            Self::HeldByLive(client) => format!("{} holds it", names.name(client)),
            Self::Unclaimed => "nobody holds it".into(),
        }
    }
}

/// Judges who waits at the end of the run, and how often waits were overtaken.
pub fn judge(history: &History, servers: Servers, shards: &Shards, names: &Directory) -> Verdict {
    let state = State::at_end(history, shards);
    let open: Vec<Wait> = history
        .waits
        .iter()
        .filter(|wait| wait.ended.is_none() && !state.is_down(wait.client))
        .copied()
        .collect();
    let mut last_grant = BTreeMap::<LockId, SimTime>::new();
    for grant in &history.grants {
        last_grant.insert(grant.lock, grant.granted);
    }
    let mut first_wait = BTreeMap::<LockId, SimTime>::new();
    for wait in &open {
        first_wait.entry(wait.lock).or_insert(wait.requested);
    }
    let all = names.group("server");
    let mut findings = Findings::default();
    let mut stalls = Vec::new();
    for (&lock, &waiting_since) in &first_wait {
        let since = waiting_since.max(last_grant.get(&lock).copied().unwrap_or_default());
        let of_lock = shards.servers_of(lock, servers, &all);
        let up = of_lock.iter().filter(|server| !state.is_down(**server)).count();
        let cause = if (up as u32) < servers.needed() {
            Cause::NoQuorum
        } else {
            state.cause(lock, history)
        };
        stalls.push(Stall { lock, since, cause });
        if TELLING <= history.end.since(since) {
            findings.add(since, || {
                let cause = cause.describe(names);
                format!("since {} nobody was granted {}: {cause}", Ms(since), Lock(lock))
            });
        }
    }
    Verdict { open, stalls, bypass_max: bypass_max(history), findings: findings.0 }
}

impl Verdict {
    /// The locks that nobody was granted for `least` or longer at the end, which was at `end`.
    pub fn stalled_for(&self, least: SimDuration, end: SimTime) -> usize {
        self.stalls.iter().filter(|stall| least <= end.since(stall.since)).count()
    }
}

/// Who is down, and who holds what, when the run ends.
struct State {
    down: BTreeSet<NodeId>,
    /// Whose each lock is on the books that were written last, and whether it expires.
    holders: BTreeMap<LockId, (NodeId, bool)>,
}

impl State {
    fn at_end(history: &History, shards: &Shards) -> Self {
        let mut down = BTreeSet::new();
        for (_, node, change) in &history.changes {
            match change {
                Change::ProcessDown | Change::MachineDown => {
                    down.insert(*node);
                }
                Change::Up => {
                    down.remove(node);
                }
                Change::Paused | Change::Resumed => (),
            }
        }
        let mut holders = BTreeMap::new();
        let mut places = BTreeSet::<(u32, u64)>::new();
        for (_, _, fact) in &history.facts {
            // What one replica has told is no news from the next.
            let (Fact::Held { lock, on, .. } | Fact::Freed { lock, on, .. }) = fact;
            if let Authority::Log(place) = on
                && !places.insert((shards.of(*lock), *place))
            {
                continue;
            }
            match fact {
                Fact::Held { lock, by, expires, .. } => {
                    holders.insert(*lock, (*by, expires.is_some()));
                }
                Fact::Freed { lock, .. } => {
                    holders.remove(lock);
                }
            }
        }
        Self { down, holders }
    }

    fn is_down(&self, node: NodeId) -> bool {
        self.down.contains(&node)
    }

    fn cause(&self, lock: LockId, history: &History) -> Cause {
        let Some(&(holder, expires)) = self.holders.get(&lock) else { return Cause::Unclaimed };
        let believes = history
            .grants
            .iter()
            .rev()
            .any(|grant| grant.client == holder && grant.lock == lock && grant.ended.is_none());
        if believes && self.waits_in_circle(holder, history) {
            return Cause::Deadlock(holder);
        }
        let died = history.grants.iter().rev().find(|grant| grant.lock == lock);
        let has_died = self.is_down(holder)
            || died.is_some_and(|g| g.client == holder && g.ended == Some(GrantEnd::Died));
        match (believes, has_died, expires) {
            (true, _, _) => Cause::HeldByLive(holder),
            (false, true, _) => Cause::HeldByDead(holder),
            (false, false, false) => Cause::KeyWithoutExpiry(holder),
            (false, false, true) => Cause::OrphanRenewal(holder),
        }
    }

    /// Whether following "waits for a lock that is held by" from `start` leads back to a client
    /// met before.
    fn waits_in_circle(&self, start: NodeId, history: &History) -> bool {
        let mut seen = Vec::new();
        let mut at = start;
        while !seen.contains(&at) {
            seen.push(at);
            let wait = history.waits.iter().rev().find(|w| w.client == at && w.ended.is_none());
            let next = wait.and_then(|wait| self.holders.get(&wait.lock));
            match next {
                Some(&(holder, _)) => at = holder,
                None => return false,
            }
        }
        true
    }
}

/// The most grants of a lock that a wait for it saw go to others who asked later.
fn bypass_max(history: &History) -> u64 {
    let mut by_lock = BTreeMap::<LockId, Vec<(SimTime, SimTime, NodeId)>>::new();
    for grant in &history.grants {
        let grants = by_lock.entry(grant.lock).or_default();
        grants.push((grant.granted, grant.requested, grant.client));
    }
    for grants in by_lock.values_mut() {
        grants.sort_unstable();
    }
    let bypassed = |wait: &Wait| {
        let grants = by_lock.get(&wait.lock)?;
        let until = match wait.ended {
            Some((at, WaitEnd::Granted | WaitEnd::GaveUp | WaitEnd::Died)) => at,
            None => history.end,
        };
        let first = grants.partition_point(|&(granted, ..)| granted < wait.requested);
        let during = grants[first..].iter().take_while(|&&(granted, ..)| granted < until);
        let later = during
            .filter(|&&(_, requested, client)| wait.requested < requested && client != wait.client);
        Some(later.count() as u64)
    };
    history.waits.iter().filter_map(bypassed).max().unwrap_or(0)
}

/// A stall shorter than this is told of by its number only.
const TELLING: SimDuration = SimDuration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::super::by_hand::{A, B, C, LOCK, grant, ms, names};
    use super::*;
    use crate::locks::Freed;
    use crate::locks::history::Grant;
    use crate::locks::section::SectionId;

    const SERVER: NodeId = NodeId(3);

    fn wait(client: NodeId, lock: LockId, requested: u64) -> Wait {
        Wait { section: SectionId(0), client, lock, requested: ms(requested), ended: None }
    }

    fn held(lock: LockId, by: NodeId, expires: bool) -> (SimTime, NodeId, Fact) {
        let expires = expires.then_some(SimDuration::from_ms(1));
        let on = Authority::Books;
        (ms(1), SERVER, Fact::Held { lock, by, token: None, expires, on })
    }

    fn history() -> History {
        History { waits: vec![wait(B, LOCK, 5)], end: ms(30_000), ..History::default() }
    }

    fn cause(history: &History) -> Cause {
        let verdict = judge(history, Servers::One, &Shards::default(), &names());
        assert_eq!(verdict.open.len(), history.waits.len());
        verdict.stalls[0].cause
    }

    #[test]
    fn each_cause_is_told_from_the_others() {
        let never_released = Grant { until: ms(30_000), ended: None, ..grant(A, 2, 0) };
        let mut dead = history();
        dead.facts.push(held(LOCK, A, false));
        dead.changes.push((ms(9), A, Change::ProcessDown));
        assert_eq!(cause(&dead), Cause::HeldByDead(A));

        let mut key = history();
        key.facts.push(held(LOCK, A, false));
        assert_eq!(cause(&key), Cause::KeyWithoutExpiry(A));

        let mut orphan = history();
        orphan.facts.push(held(LOCK, A, true));
        orphan.grants.push(grant(A, 2, 9));
        assert_eq!(cause(&orphan), Cause::OrphanRenewal(A));

        let mut live = history();
        live.facts.push(held(LOCK, A, true));
        live.grants.push(never_released);
        assert_eq!(cause(&live), Cause::HeldByLive(A));

        let mut unclaimed = history();
        unclaimed.facts.push(held(LOCK, A, true));
        let freed = Fact::Freed { lock: LOCK, from: A, how: Freed::Expired, on: Authority::Books };
        unclaimed.facts.push((ms(2), SERVER, freed));
        assert_eq!(cause(&unclaimed), Cause::Unclaimed);

        let mut down = history();
        down.changes.extend((3..8).map(|id| (ms(9), NodeId(id), Change::MachineDown)));
        assert_eq!(cause(&down), Cause::NoQuorum);
    }

    #[test]
    fn a_stall_lasts_from_the_first_wait_or_the_last_grant_to_the_end() {
        let mut history = history();
        history.waits.push(wait(C, LOCK, 7));
        let stall = |history: &History| {
            judge(history, Servers::One, &Shards::default(), &names()).stalls[0]
        };
        assert_eq!(stall(&history).since, ms(5));
        history.grants.extend([grant(A, 10, 12), grant(A, 20, 22)]);
        assert_eq!(stall(&history).since, ms(20));
        let verdict = judge(&history, Servers::One, &Shards::default(), &names());
        let stalled_for = |least| verdict.stalled_for(SimDuration::from_ms(least), history.end);
        assert_eq!((stalled_for(29_980), stalled_for(29_981)), (1, 0));
    }

    #[test]
    fn who_died_and_came_back_waits_again_and_does_not_hold_what_it_held() {
        let came_back =
            |client| [(ms(9), client, Change::ProcessDown), (ms(10), client, Change::Up)];
        let mut waits = history();
        waits.changes.extend(came_back(B));
        assert_eq!(judge(&waits, Servers::One, &Shards::default(), &names()).open.len(), 1);

        let died = |grant: Grant| Grant { ended: Some(GrantEnd::Died), ..grant };
        let mut holder = history();
        holder.facts.push(held(LOCK, A, false));
        holder.grants.push(died(grant(A, 2, 9)));
        holder.changes.extend(came_back(A));
        assert_eq!(cause(&holder), Cause::HeldByDead(A));
        // Another's death is not the holder's.
        holder.grants[0].client = C;
        assert_eq!(cause(&holder), Cause::KeyWithoutExpiry(A));
    }

    #[test]
    fn a_holder_believes_only_by_its_own_open_grant_of_this_very_lock() {
        let open = |grant: Grant| Grant { until: ms(30_000), ended: None, ..grant };
        let mut history = history();
        history.facts.push(held(LOCK, A, true));
        let other = LockId(1);
        history.grants = vec![open(grant(C, 3, 0)), open(Grant { lock: other, ..grant(A, 4, 0) })];
        assert_eq!(cause(&history), Cause::OrphanRenewal(A));
        // Nor is it in a deadlock by what it does not know that it holds.
        history.facts.push(held(other, B, true));
        history.waits.push(wait(A, other, 6));
        let verdict = judge(&history, Servers::One, &Shards::default(), &names());
        assert_eq!(verdict.stalls[0].cause, Cause::OrphanRenewal(A));
    }

    #[test]
    fn a_replica_that_lags_brings_no_holder_back() {
        let on = Authority::Log;
        let mut history = history();
        let fact = Fact::Held { lock: LOCK, by: A, token: None, expires: None, on: on(1) };
        let freed = Fact::Freed { lock: LOCK, from: A, how: Freed::Released(A), on: on(2) };
        history.facts.extend([
            (ms(1), SERVER, fact.clone()),
            (ms(2), SERVER, freed),
            (ms(3), NodeId(4), fact),
        ]);
        assert_eq!(cause(&history), Cause::Unclaimed);
    }

    #[test]
    fn two_that_wait_for_each_other_are_a_deadlock() {
        let other = LockId(1);
        let mut history = history();
        history.waits.push(wait(A, other, 6));
        history.facts.extend([held(LOCK, A, true), held(other, B, true)]);
        let open = |grant: Grant| Grant { until: ms(30_000), ended: None, ..grant };
        history.grants.push(open(grant(A, 2, 0)));
        history.grants.push(open(Grant { lock: other, ..grant(B, 3, 0) }));
        assert_eq!(cause(&history), Cause::Deadlock(A));
        let verdict = judge(&history, Servers::One, &Shards::default(), &names());
        assert_eq!(
            verdict.findings[0].text,
            "since 5 ms nobody was granted lock 1: client-1 holds it and waits for another: a \
             deadlock"
        );
    }

    #[test]
    fn a_client_that_is_down_waits_for_nothing() {
        let mut history = history();
        history.changes.push((ms(7), B, Change::ProcessDown));
        assert_eq!(judge(&history, Servers::One, &Shards::default(), &names()), Verdict::default());
    }

    #[test]
    fn a_wait_is_bypassed_by_grants_that_were_asked_for_later() {
        let asked = |requested, grant: Grant| Grant { requested: ms(requested), ..grant };
        let mut history = history();
        history.grants =
            vec![asked(1, grant(A, 6, 8)), asked(9, grant(A, 10, 12)), asked(11, grant(C, 13, 14))];
        assert_eq!(judge(&history, Servers::One, &Shards::default(), &names()).bypass_max, 2);
        // Not by one that was asked for at the same time, or came when it was over.
        history.grants.push(asked(5, grant(A, 15, 16)));
        history.grants.push(asked(30, grant(C, 41, 42)));
        history.waits[0].ended = Some((ms(40), WaitEnd::GaveUp));
        assert_eq!(judge(&history, Servers::One, &Shards::default(), &names()).bypass_max, 2);
    }
}
