//! L1: whether the service itself granted a lock to two clients at once, and whose locks were
//! released by whom.
//!
//! Where one server decides, or each of several by itself, two servers that give the same lock to
//! different clients at the same time are a violation. Where a majority decides, a grant begins
//! when a majority has the client on its books, and lasts until that client releases it or its
//! time to live has passed in true time: what a server forgets meanwhile, or whose clock jumps,
//! breaks the promise and does not end it. Where a log decides, the grants follow each other in
//! the order of the log, and two replicas that apply different entries at the same place are a
//! violation.

use std::collections::BTreeMap;

use crate::kernel::time::SimTime;
use crate::locks::{Authority, Fact, Freed, LockId, Servers, Shards};
use crate::model::cluster::Change;
use crate::model::directory::Directory;
use crate::model::node::NodeId;

use super::{Finding, Findings, Lock, Ms};

/// What the service did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Grants of a lock while another client's grant lasted.
    pub violations: u64,
    /// Releases that took a lock from a client other than the one that sent it.
    pub foreign_releases: u64,
    /// The first of these, in words.
    pub findings: Vec<Finding>,
}

/// Judges what was true at servers, in order.
pub fn judge(
    facts: &[(SimTime, NodeId, Fact)],
    changes: &[(SimTime, NodeId, Change)],
    servers: Servers,
    shards: &Shards,
    names: &Directory,
) -> Verdict {
    let mut judge = Judge::new(servers, shards, names);
    let mut changes = changes.iter().peekable();
    for (at, server, fact) in facts {
        while let Some((_, node, change)) = changes.next_if(|(when, ..)| when <= at) {
            if matches!(change, Change::ProcessDown | Change::MachineDown) {
                judge.books.retain(|(other, _), _| other != node);
            }
        }
        judge.note(*at, *server, fact);
    }
    Verdict { findings: judge.findings.0, ..judge.verdict }
}

struct Judge<'a> {
    servers: Servers,
    shards: &'a Shards,
    names: &'a Directory,
    /// Whom each server has on its books for each lock.
    books: BTreeMap<(NodeId, LockId), NodeId>,
    /// Grants that a majority made, and until when they last.
    grants: BTreeMap<LockId, Vec<(NodeId, SimTime)>>,
    /// What stands at each place of the log of each service, and whose each lock is by it.
    log: BTreeMap<(u32, u64), Fact>,
    owners: BTreeMap<LockId, NodeId>,
    verdict: Verdict,
    findings: Findings,
}

impl<'a> Judge<'a> {
    fn new(servers: Servers, shards: &'a Shards, names: &'a Directory) -> Self {
        Self {
            servers,
            shards,
            names,
            books: BTreeMap::new(),
            grants: BTreeMap::new(),
            log: BTreeMap::new(),
            owners: BTreeMap::new(),
            verdict: Verdict::default(),
            findings: Findings::default(),
        }
    }

    fn note(&mut self, at: SimTime, server: NodeId, fact: &Fact) {
        match fact {
            Fact::Held { lock, on: Authority::Log(place), .. }
            | Fact::Freed { lock, on: Authority::Log(place), .. } => {
                let place = (self.shards.of(*lock), *place);
                if self.is_news(at, server, place, fact) {
                    self.note_in_log(at, fact);
                }
            }
            Fact::Held { lock, by, expires, on: Authority::Books, .. } => {
                let until = expires.map_or(SimTime::END, |expires| at + expires);
                self.books.insert((server, *lock), *by);
                match self.servers {
                    Servers::Votes(_) => self.note_vote(at, *lock, *by, until),
                    Servers::One | Servers::Replicas(_) | Servers::Log(_) => {
                        self.compare_books(at, server, *lock, *by);
                    }
                }
            }
            Fact::Freed { lock, from, how, on: Authority::Books } => {
                self.books.remove(&(server, *lock));
                if let Freed::Released(by) = how {
                    self.note_release(at, *lock, *from, *by);
                }
            }
        }
    }

    /// Whether no replica has told of this place of the log before. They must agree.
    fn is_news(&mut self, at: SimTime, server: NodeId, place: (u32, u64), fact: &Fact) -> bool {
        let Some(known) = self.log.get(&place) else {
            self.log.insert(place, fact.clone());
            return true;
        };
        if known != fact {
            let name = self.names.name(server);
            self.verdict.violations += 1;
            self.findings.add(at, || {
                format!(
                    "at {} {name} applied something else at a place of the log than was applied \
                     there before",
                    Ms(at)
                )
            });
        }
        false
    }

    fn note_in_log(&mut self, at: SimTime, fact: &Fact) {
        match fact {
            Fact::Held { lock, by, .. } => {
                if let Some(&other) = self.owners.get(lock).filter(|other| *other != by) {
                    self.double(at, *lock, other, *by);
                }
                self.owners.insert(*lock, *by);
            }
            Fact::Freed { lock, from, how, .. } => {
                self.owners.remove(lock);
                if let Freed::Released(by) = how {
                    self.note_release(at, *lock, *from, *by);
                }
            }
        }
    }

    fn compare_books(&mut self, at: SimTime, server: NodeId, lock: LockId, by: NodeId) {
        let other = self.books.iter().find(|((elsewhere, theirs), other)| {
            *elsewhere != server && *theirs == lock && **other != by
        });
        if let Some((_, &other)) = other {
            self.double(at, lock, other, by);
        }
    }

    fn note_vote(&mut self, at: SimTime, lock: LockId, by: NodeId, until: SimTime) {
        let votes =
            self.books.iter().filter(|((_, theirs), voted)| *theirs == lock && **voted == by);
        if (votes.count() as u32) < self.servers.quorum() {
            return;
        }
        let grants = self.grants.entry(lock).or_default();
        grants.retain(|&(_, until)| at < until);
        if let Some(grant) = grants.iter_mut().find(|(client, _)| *client == by) {
            grant.1 = grant.1.max(until);
            return;
        }
        let other = grants.first().map(|&(client, _)| client);
        grants.push((by, until));
        if let Some(other) = other {
            self.double(at, lock, other, by);
        }
    }

    fn note_release(&mut self, at: SimTime, lock: LockId, from: NodeId, by: NodeId) {
        if let Some(grants) = self.grants.get_mut(&lock) {
            grants.retain(|&(client, _)| client != by);
        }
        if from != by {
            let (from, by) = (self.names.name(from), self.names.name(by));
            self.verdict.foreign_releases += 1;
            self.findings.add(at, || {
                format!("at {} a release of {by} took {} from {from}", Ms(at), Lock(lock))
            });
        }
    }

    fn double(&mut self, at: SimTime, lock: LockId, first: NodeId, second: NodeId) {
        let (first, second) = (self.names.name(first), self.names.name(second));
        self.verdict.violations += 1;
        self.findings.add(at, || {
            format!(
                "at {} the service granted {} to {second} while it was {first}'s",
                Ms(at),
                Lock(lock)
            )
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::{A, B, LOCK, ms, names};
    use super::*;
    use crate::kernel::time::SimDuration;

    const SERVERS: [NodeId; 5] = [NodeId(3), NodeId(4), NodeId(5), NodeId(6), NodeId(7)];

    fn held(at: u64, server: usize, by: NodeId, on: Authority) -> (SimTime, NodeId, Fact) {
        let expires = Some(SimDuration::from_ms(1000));
        (ms(at), SERVERS[server], Fact::Held { lock: LOCK, by, token: None, expires, on })
    }

    fn freed(at: u64, server: usize, from: NodeId, how: Freed) -> (SimTime, NodeId, Fact) {
        let on = Authority::Books;
        (ms(at), SERVERS[server], Fact::Freed { lock: LOCK, from, how, on })
    }

    fn counts(facts: &[(SimTime, NodeId, Fact)], servers: Servers) -> (u64, u64) {
        let verdict = judge(facts, &[], servers, &Shards::default(), &names());
        (verdict.violations, verdict.foreign_releases)
    }

    #[test]
    fn a_release_by_another_is_foreign_and_one_s_own_is_not() {
        let books = Authority::Books;
        let facts = [
            held(0, 0, A, books),
            freed(5, 0, A, Freed::Released(A)),
            held(6, 0, B, books),
            freed(7, 0, B, Freed::Released(A)),
        ];
        assert_eq!(counts(&facts, Servers::One), (0, 1));
        let text = &judge(&facts, &[], Servers::One, &Shards::default(), &names()).findings[0].text;
        assert_eq!(text, "at 7 ms a release of client-1 took lock 1 from client-2");
    }

    #[test]
    fn two_servers_that_decide_alone_and_differently_are_a_violation() {
        let facts = [held(0, 0, A, Authority::Books), held(1, 1, B, Authority::Books)];
        assert_eq!(counts(&facts, Servers::Replicas(3)), (1, 0));
        // One that died has no say.
        for change in [Change::ProcessDown, Change::MachineDown] {
            let down = [(ms(1), SERVERS[0], change)];
            assert_eq!(
                judge(&facts, &down, Servers::Replicas(3), &Shards::default(), &names()).violations,
                0
            );
        }
    }

    #[test]
    fn servers_that_agree_or_speak_of_other_locks_or_after_one_another_do_no_wrong() {
        let books = Authority::Books;
        let servers = Servers::Replicas(3);
        assert_eq!(counts(&[held(0, 0, A, books), held(1, 1, A, books)], servers), (0, 0));
        let mut other = held(1, 1, B, books);
        if let Fact::Held { lock, .. } = &mut other.2 {
            *lock = LockId(1);
        }
        assert_eq!(counts(&[held(0, 0, A, books), other.clone()], servers), (0, 0));
        let expired = freed(1, 0, A, Freed::Expired);
        assert_eq!(counts(&[held(0, 0, A, books), expired, held(2, 1, B, books)], servers), (0, 0));
        // A vote for another lock is none for this one.
        let mut facts: Vec<_> = (0..3).map(|server| held(0, server, A, books)).collect();
        facts.extend((3..5).map(|server| held(1, server, B, books)));
        assert_eq!(counts(&facts, Servers::Votes(5)), (0, 0), "two of five are no majority");
        facts.insert(0, other);
        assert_eq!(counts(&facts, Servers::Votes(5)), (0, 0));
    }

    #[test]
    fn each_service_has_a_log_of_its_own() {
        let mut other = held(1, 3, B, Authority::Log(1));
        if let Fact::Held { lock, .. } = &mut other.2 {
            *lock = LockId(1);
        }
        let facts = [held(0, 0, A, Authority::Log(1)), other];
        let count = |shards| judge(&facts, &[], Servers::Log(3), &shards, &names()).violations;
        assert_eq!(count(Shards::new(2, vec![0, 1])), 0);
        assert_eq!(count(Shards::default()), 1);
    }

    #[test]
    fn a_promise_without_end_lasts_and_one_that_is_renewed_lasts_longer() {
        let books = Authority::Books;
        let servers = Servers::Votes(5);
        let without_end = |(at, server, fact): (SimTime, NodeId, Fact)| {
            let Fact::Held { lock, by, token, on, .. } = fact else { panic!("{fact:?}") };
            (at, server, Fact::Held { lock, by, token, expires: None, on })
        };
        let mut facts: Vec<_> =
            (0..3).map(|server| without_end(held(0, server, A, books))).collect();
        facts.extend((2..5).map(|server| held(5000, server, B, books)));
        assert_eq!(counts(&facts, servers), (1, 0));
        let mut facts: Vec<_> = (0..3).map(|server| held(0, server, A, books)).collect();
        facts.extend((0..3).map(|server| held(500, server, A, books)));
        facts.extend((2..5).map(|server| held(1200, server, B, books)));
        assert_eq!(counts(&facts, servers), (1, 0));
    }

    #[test]
    fn a_release_in_the_log_frees_and_is_told_once_whoever_applies_it() {
        let servers = Servers::Log(3);
        let log = Authority::Log;
        let released = |at, server: usize, by| {
            let how = Freed::Released(by);
            (ms(at), SERVERS[server], Fact::Freed { lock: LOCK, from: A, how, on: log(2) })
        };
        let facts = [held(0, 0, A, log(1)), released(5, 0, A), held(6, 0, B, log(3))];
        assert_eq!(counts(&facts, servers), (0, 0));
        let facts = [held(0, 0, A, log(1)), released(5, 0, B), released(6, 1, B)];
        assert_eq!(counts(&facts, servers), (0, 1));
    }

    #[test]
    fn a_majority_that_forgets_breaks_its_promise() {
        let books = Authority::Books;
        let mut facts: Vec<_> = (0..3).map(|server| held(0, server, A, books)).collect();
        facts.push(freed(100, 2, A, Freed::Expired));
        facts.extend((2..5).map(|server| held(215, server, B, books)));
        assert_eq!(counts(&facts, Servers::Votes(5)), (1, 0));
        // After the time to live, or A's own release, the promise has ended.
        facts.truncate(4);
        facts.extend((2..5).map(|server| held(1000, server, B, books)));
        assert_eq!(counts(&facts, Servers::Votes(5)), (0, 0));
        facts.truncate(4);
        facts.push(freed(200, 0, A, Freed::Released(A)));
        facts.extend((2..5).map(|server| held(215, server, B, books)));
        assert_eq!(counts(&facts, Servers::Votes(5)), (0, 0));
    }

    #[test]
    fn replicas_must_apply_the_same_log_and_no_lock_has_two_owners_in_it() {
        let log = Authority::Log;
        let servers = Servers::Log(3);
        let lagging = [held(0, 0, A, log(1)), held(5, 0, A, log(2)), held(9, 1, A, log(1))];
        assert_eq!(counts(&lagging, servers), (0, 0));
        assert_eq!(counts(&[held(0, 0, A, log(1)), held(9, 1, B, log(1))], servers), (1, 0));
        assert_eq!(counts(&[held(0, 0, A, log(1)), held(9, 1, B, log(2))], servers), (1, 0));
    }
}
