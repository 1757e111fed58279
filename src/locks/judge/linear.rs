//! Whether grants and releases, as clients saw them, are a history that a mutex with owners can
//! have.
//!
//! The sequential object: acquiring is legal if and only if the lock is free, and with a token
//! later than any before; releasing, if and only if the releaser owns it. For complete histories
//! in which each client has one operation under way at a time, no search is needed. Such a history
//! is linearizable (Herlihy and Wing, TOPLAS 12(3), 1990) if and only if the intervals from the
//! return of each acquisition to the invocation of its release are pairwise disjoint. If: put each
//! acquisition at its return and each release at its invocation. Only if: wherever an acquisition
//! and its release take effect, the time between contains that interval, so two that overlap would
//! be held together. The order of the intervals is thus forced, and tokens must rise along it.
//! O(n log n).
//!
//! A lease lock under a long pause is expected to fail here: it is information, and the effects at
//! the resource decide.

use crate::kernel::time::SimTime;
use crate::locks::history::Grant;
use crate::locks::{LockId, Token};
use crate::model::node::NodeId;

/// A stretch of time in which a client must hold a lock.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct MustHold {
    /// Which lock.
    pub lock: LockId,
    /// When the acquisition returned.
    pub from: SimTime,
    /// When the release was invoked.
    pub until: SimTime,
    /// Who.
    pub client: NodeId,
    /// The token, where there is one.
    pub token: Option<Token>,
}

/// Whether the stretches can all be.
///
/// # Errors
/// Two that cannot both be, where there are such.
pub fn check(mut stretches: Vec<MustHold>) -> Result<(), [MustHold; 2]> {
    stretches.sort_unstable();
    let mut newest: Option<MustHold> = None;
    for (index, second) in stretches.iter().enumerate() {
        let first = index.checked_sub(1).map(|before| stretches[before]);
        // An acquisition may return at the instant at which a release is invoked: the release
        // takes effect first.
        if let Some(first) = first.filter(|f| f.lock == second.lock && second.from < f.until) {
            return Err([first, *second]);
        }
        if second.token.is_some() {
            let newest = newest.replace(*second).filter(|newest| newest.lock == second.lock);
            if let Some(newest) = newest.filter(|newest| second.token <= newest.token) {
                return Err([newest, *second]);
            }
        }
    }
    Ok(())
}

/// Whether the beliefs of clients are such a history. A release that nobody saw the end of, and a
/// death, count from when they began.
pub(super) fn of_grants(grants: &[Grant]) -> bool {
    let stretches = grants.iter().map(|grant| MustHold {
        lock: grant.lock,
        from: grant.granted,
        until: grant.until,
        client: grant.client,
        token: grant.token,
    });
    check(stretches.collect()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::{A, B, LOCK, grant, ms};
    use super::*;
    use crate::kernel::rng::Seed;

    /// Tries all orders that respect real time (Wing and Gong, J. Parallel Distrib. Comput. 17,
    /// 1993) on operations given as (invoked, returned, client, is acquisition, token).
    fn search(operations: &[(u64, u64, u32, bool, u64)], owner: Option<u32>, last: u64) -> bool {
        if operations.is_empty() {
            return true;
        }
        let first_return = operations.iter().map(|operation| operation.1).min();
        (0..operations.len()).any(|index| {
            let (invoked, _, client, acquires, token) = operations[index];
            let is_first = Some(invoked) <= first_return;
            let is_legal =
                if acquires { owner.is_none() && last < token } else { owner == Some(client) };
            let mut rest = operations.to_vec();
            rest.remove(index);
            let (owner, last) = if acquires { (Some(client), token) } else { (None, last) };
            is_first && is_legal && search(&rest, owner, last)
        })
    }

    #[test]
    fn the_sweep_agrees_with_an_exhaustive_search_on_random_histories() {
        let mut rng = Seed(1).stream("test", "linear");
        let mut verdicts = [0, 0];
        for _ in 0..20_000 {
            let mut operations = Vec::new();
            let mut stretches = Vec::new();
            for client in 0..3 {
                let mut at = rng.below(6);
                for _ in 0..=rng.below(2) {
                    let mut next = || {
                        at += 1 + rng.below(4);
                        // Instants differ between clients, so that no two coincide.
                        at * 3 + u64::from(client)
                    };
                    let [invoked, returned, released, done] = [next(), next(), next(), next()];
                    let token = returned / 4 + 1;
                    operations.push((invoked, returned, client, true, token));
                    operations.push((released, done, client, false, 0));
                    stretches.push(MustHold {
                        lock: LOCK,
                        from: ms(returned),
                        until: ms(released),
                        client: NodeId(client),
                        token: Some(Token(token)),
                    });
                }
            }
            let expected = search(&operations, None, 0);
            assert_eq!(check(stretches).is_ok(), expected, "{operations:?}");
            verdicts[usize::from(expected)] += 1;
        }
        assert!(1000 < verdicts[0].min(verdicts[1]), "{verdicts:?}");
    }

    #[test]
    fn tokens_must_rise_along_the_order_that_time_forces() {
        let with = |token, grant: Grant| Grant { token: Some(Token(token)), ..grant };
        assert!(of_grants(&[with(1, grant(A, 0, 5)), with(2, grant(B, 5, 9))]));
        assert!(!of_grants(&[with(2, grant(A, 0, 5)), with(2, grant(B, 6, 9))]));
        // One that has none in between hides nothing, and another lock has its own.
        let three = [with(2, grant(A, 0, 5)), grant(B, 6, 9), with(1, grant(A, 10, 12))];
        assert!(!of_grants(&three));
        let elsewhere = Grant { lock: LockId(1), ..with(1, grant(B, 6, 9)) };
        assert!(of_grants(&[with(2, grant(A, 0, 5)), elsewhere]));
    }

    #[test]
    fn stretches_may_touch_and_not_overlap() {
        assert!(of_grants(&[grant(A, 0, 5), grant(B, 5, 9)]));
        assert!(!of_grants(&[grant(A, 0, 6), grant(B, 5, 9)]));
        let elsewhere = Grant { lock: LockId(1), ..grant(B, 5, 9) };
        assert!(of_grants(&[grant(A, 0, 6), elsewhere]));
    }
}
