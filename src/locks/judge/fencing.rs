//! Fencing tokens: whether the service lets them rise with each grant, and what the resource made
//! of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::time::SimTime;
use crate::locks::resource::Effect;
use crate::locks::{Authority, Fact, LockId, Shards, Token};
use crate::model::directory::Directory;
use crate::model::node::NodeId;

use super::{Finding, Findings, Lock, Ms};

/// What became of the tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Grants with a token that another grant of the same lock had before.
    pub double_grants: u64,
    /// Grants with a token lower than one before.
    pub regressions: u64,
    /// Operations that the resource refused.
    pub refused: u64,
    /// Operations that the resource let through after one with a later token.
    pub out_of_order: u64,
    /// The first of these, in words.
    pub findings: Vec<Finding>,
}

/// Judges what servers granted, and what the resource let through, in order.
pub fn judge(
    facts: &[(SimTime, NodeId, Fact)],
    effects: &[(SimTime, Effect)],
    shards: &Shards,
    names: &Directory,
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut findings = Findings::default();
    let mut last = BTreeMap::<LockId, (Token, NodeId)>::new();
    let mut newest = BTreeMap::<LockId, (Token, NodeId)>::new();
    let mut granted = BTreeSet::<(LockId, Token)>::new();
    let mut places = BTreeSet::<(u32, u64)>::new();
    for (at, _, fact) in facts {
        let Fact::Held { lock, by, token: Some(token), on, .. } = fact else { continue };
        // What one replica has reported is no news from the next.
        if let Authority::Log(place) = on
            && !places.insert((shards.of(*lock), *place))
        {
            continue;
        }
        // A server that starts again, or prolongs a lease, says what it said before.
        if last.insert(*lock, (*token, *by)) == Some((*token, *by)) {
            continue;
        }
        let is_double = !granted.insert((*lock, *token));
        let (before, whose) = *newest.entry(*lock).or_insert((*token, *by));
        if is_double || *token < before {
            verdict.double_grants += u64::from(is_double);
            verdict.regressions += u64::from(!is_double);
            findings.add(*at, || {
                format!(
                    "at {} {} was granted {} with token {}, after {} with token {}",
                    Ms(*at),
                    names.name(*by),
                    Lock(*lock),
                    token.0,
                    names.name(whose),
                    before.0
                )
            });
        } else {
            newest.insert(*lock, (*token, *by));
        }
    }
    let mut seen = BTreeMap::<LockId, Token>::new();
    for (_, effect) in effects {
        if !effect.is_accepted {
            verdict.refused += 1;
            continue;
        }
        let Some(token) = effect.token else { continue };
        let latest = seen.entry(effect.lock).or_insert(token);
        verdict.out_of_order += u64::from(token < *latest);
        *latest = token.max(*latest);
    }
    verdict.findings = findings.0;
    verdict
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::{A, B, C, LOCK, effect, ms, names};
    use super::*;
    use crate::locks::resource::Access::{Read, Write};

    fn held(at: u64, by: NodeId, token: u64, on: Authority) -> (SimTime, NodeId, Fact) {
        let token = Some(Token(token));
        (ms(at), NodeId(3), Fact::Held { lock: LOCK, by, token, expires: None, on })
    }

    fn of_facts(facts: &[(SimTime, NodeId, Fact)]) -> (u64, u64) {
        let verdict = judge(facts, &[], &Shards::default(), &names());
        (verdict.double_grants, verdict.regressions)
    }

    #[test]
    fn tokens_that_rise_are_good() {
        let books = Authority::Books;
        assert_eq!(of_facts(&[held(1, A, 1, books), held(2, B, 5, books)]), (0, 0));
    }

    #[test]
    fn a_token_granted_twice_and_one_lower_than_before_are_told_apart() {
        let books = Authority::Books;
        let facts = [held(1, A, 1, books), held(2, B, 1, books)];
        assert_eq!(of_facts(&facts), (1, 0));
        let facts = [held(1, A, 7, books), held(2, B, 1, books)];
        assert_eq!(of_facts(&facts), (0, 1));
        let text = &judge(&facts, &[], &Shards::default(), &names()).findings[0].text;
        assert_eq!(
            text,
            "at 2 ms client-2 was granted lock 1 with token 1, after client-1 with token 7"
        );
    }

    #[test]
    fn what_comes_after_a_regression_is_held_to_the_newest_token_and_to_all_that_there_were() {
        let books = Authority::Books;
        let of = |tokens: &[(NodeId, u64)]| {
            let facts: Vec<_> = tokens
                .iter()
                .zip(1..)
                .map(|((by, token), at)| held(at, *by, *token, books))
                .collect();
            of_facts(&facts)
        };
        assert_eq!(of(&[(A, 7), (B, 1), (A, 2)]), (0, 2));
        assert_eq!(of(&[(A, 1), (B, 2), (A, 3), (C, 1), (B, 2)]), (2, 0));
        // Its own earlier one is no better than another's.
        assert_eq!(of(&[(A, 7), (A, 1)]), (0, 1));
        assert_eq!(of(&[(A, 1), (B, 2), (A, 1)]), (1, 0));
    }

    #[test]
    fn each_lock_has_tokens_of_its_own() {
        let books = Authority::Books;
        for token in [1, 7] {
            let mut facts = [held(1, A, 7, books), held(2, B, token, books)];
            if let Fact::Held { lock, .. } = &mut facts[1].2 {
                *lock = LockId(1);
            }
            assert_eq!(of_facts(&facts), (0, 0));
        }
        let mut effects = [effect(1, A, 7, Write, 1), effect(2, B, 1, Write, 1)];
        effects[1].1.lock = LockId(1);
        assert_eq!(judge(&[], &effects, &Shards::default(), &names()).out_of_order, 0);
    }

    #[test]
    fn every_operation_older_than_the_newest_is_out_of_order() {
        let effects = [3, 1, 2, 3].map(|token| effect(token, A, token, Write, 1));
        assert_eq!(judge(&[], &effects, &Shards::default(), &names()).out_of_order, 2);
    }

    #[test]
    fn what_a_server_or_another_replica_says_again_is_no_second_grant() {
        let facts = [
            held(1, A, 1, Authority::Log(4)),
            held(2, B, 2, Authority::Log(6)),
            held(3, A, 1, Authority::Log(4)),
        ];
        assert_eq!(of_facts(&facts), (0, 0));
        let books = Authority::Books;
        assert_eq!(of_facts(&[held(1, A, 1, books), held(2, A, 1, books)]), (0, 0));
    }

    #[test]
    fn refused_and_out_of_order_operations_are_counted() {
        let mut effects =
            [effect(1, B, 2, Read, 0), effect(2, A, 1, Write, 1), effect(3, A, 1, Write, 1)];
        effects[2].1.is_accepted = false;
        let verdict = judge(&[], &effects, &Shards::default(), &names());
        assert_eq!((verdict.refused, verdict.out_of_order), (1, 1));
    }
}
