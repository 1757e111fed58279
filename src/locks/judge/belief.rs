//! L2: whether two clients believe at once that they hold the same lock.
//!
//! A belief begins when a client sees the grant. By the *operational* reading it ends when the
//! client begins to release, learns of the loss, or dies: a paused process still believes. By the
//! *deadline* reading it ends at the validity deadline on the client's own clock too, where it
//! knows of one: a client that stopped may be forgiven for what it did not do.

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::LockId;
use crate::locks::history::Grant;
use crate::model::directory::Directory;
use crate::model::node::NodeId;

use super::{Finding, Findings, Lock, Ms};

/// When a belief ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reading {
    /// By what the client did.
    Operational,
    /// At its deadline too.
    Deadline,
}

/// The overlaps of beliefs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// How many pairs of beliefs of different clients overlap.
    pub pairs: u64,
    /// The sum of their overlaps.
    pub total: SimDuration,
    /// The longest.
    pub longest: SimDuration,
    /// The first of them, in words.
    pub findings: Vec<Finding>,
}

/// Judges grants in any order: O(n log n) and the number of overlaps.
pub fn judge(grants: &[Grant], reading: Reading, names: &Directory) -> Verdict {
    let mut beliefs: Vec<(LockId, SimTime, SimTime, NodeId)> = grants
        .iter()
        .map(|grant| {
            let until = match reading {
                Reading::Operational => grant.until,
                Reading::Deadline => grant.until.min(grant.deadline),
            };
            (grant.lock, grant.granted, until, grant.client)
        })
        .collect();
    beliefs.sort_unstable();
    let mut verdict = Verdict::default();
    let mut findings = Findings::default();
    let mut open: Vec<(LockId, SimTime, SimTime, NodeId)> = Vec::new();
    for belief in beliefs {
        let (lock, from, until, client) = belief;
        open.retain(|&(other_lock, _, other_until, _)| other_lock == lock && from < other_until);
        for &(_, _, other_until, other) in open.iter().filter(|other| other.3 != client) {
            let end = until.min(other_until);
            if from < end {
                let overlap = end.since(from);
                verdict.pairs += 1;
                verdict.total += overlap;
                verdict.longest = verdict.longest.max(overlap);
                findings.add(from, || {
                    format!(
                        "from {} to {} both {} and {} believed that they held {}",
                        Ms(from),
                        Ms(end),
                        names.name(other),
                        names.name(client),
                        Lock(lock)
                    )
                });
            }
        }
        open.push(belief);
    }
    verdict.findings = findings.0;
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::{A, B, C, grant, ms, names};
    use super::*;

    fn operational(grants: &[Grant]) -> Verdict {
        judge(grants, Reading::Operational, &names())
    }

    #[test]
    fn beliefs_one_after_the_other_do_not_overlap_even_if_they_touch() {
        let grants = [grant(A, 0, 10), grant(B, 10, 20), grant(A, 20, 30)];
        assert_eq!(operational(&grants), Verdict::default());
    }

    #[test]
    fn each_pair_that_overlaps_is_counted_with_its_length() {
        let grants = [grant(B, 1000, 1500), grant(A, 0, 1200), grant(C, 1100, 1300)];
        let verdict = operational(&grants);
        assert_eq!(verdict.pairs, 3);
        assert_eq!(verdict.total, SimDuration::from_ms(200 + 100 + 200));
        assert_eq!(verdict.longest, SimDuration::from_ms(200));
        assert_eq!(
            verdict.findings[0].text,
            "from 1000 ms to 1200 ms both client-1 and client-2 believed that they held lock 1"
        );
    }

    #[test]
    fn another_lock_or_the_same_client_is_no_conflict() {
        let other = Grant { lock: LockId(1), ..grant(B, 5, 15) };
        assert_eq!(operational(&[grant(A, 0, 10), other, grant(A, 5, 8)]), Verdict::default());
    }

    #[test]
    fn a_belief_past_its_deadline_counts_by_what_was_done_only() {
        let grants = [Grant { deadline: ms(900), ..grant(A, 0, 3000) }, grant(B, 1000, 1500)];
        assert_eq!(operational(&grants).pairs, 1);
        assert_eq!(judge(&grants, Reading::Deadline, &names()), Verdict::default());
        // Nor does one last to its deadline that was given up before.
        let grants = [Grant { deadline: ms(900), ..grant(A, 0, 10) }, grant(B, 20, 30)];
        assert_eq!(judge(&grants, Reading::Deadline, &names()), Verdict::default());
    }

    #[test]
    fn an_overlap_of_no_length_is_none() {
        assert_eq!(operational(&[grant(A, 0, 10), grant(B, 5, 5)]), Verdict::default());
    }
}
