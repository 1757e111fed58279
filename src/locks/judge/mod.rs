//! The judges: pure functions from a history to a verdict.
//!
//! "Holds the lock" has three meanings, and there is a judge for each: what the service's own
//! books say ([`service`]), what clients believe ([`belief`]), and in which order the effects came
//! at the resource ([`effect`]). Besides, [`fencing`] looks at the tokens, [`linear`] at what
//! clients can tell each other, and [`liveness`] at who is left waiting.

pub mod belief;
pub mod effect;
pub mod fencing;
pub mod linear;
pub mod liveness;
pub mod search;
pub mod service;

use std::fmt;

use crate::kernel::time::SimTime;

use super::Played;

/// Something that went wrong, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// When.
    pub at: SimTime,
    /// What, with its time: "at 1305 ms ...".
    pub text: String,
}

/// What all judges say of one run.
#[derive(Clone, Debug)]
pub struct Verdicts {
    /// L1, and whose locks were released by whom.
    pub service: service::Verdict,
    /// L2 by what clients did.
    pub operational: belief::Verdict,
    /// L2 by their clocks.
    pub by_deadline: belief::Verdict,
    /// L3.
    pub effect: effect::Verdict,
    /// Tokens.
    pub fencing: fencing::Verdict,
    /// Whether the grants and releases, as clients saw them, are a history that a mutex with
    /// owners can have.
    pub is_linearizable: bool,
    /// Who is left waiting.
    pub liveness: liveness::Verdict,
}

impl Verdicts {
    /// Judges what was played.
    pub fn of(played: &Played) -> Self {
        let Played { history, servers, shards, directory: names, .. } = played;
        let servers = *servers;
        Self {
            service: service::judge(&history.facts, &history.changes, servers, shards, names),
            operational: belief::judge(&history.grants, belief::Reading::Operational, names),
            by_deadline: belief::judge(&history.grants, belief::Reading::Deadline, names),
            effect: effect::judge(&history.effects, names),
            fencing: fencing::judge(&history.facts, &history.effects, shards, names),
            is_linearizable: linear::of_grants(&history.grants),
            liveness: liveness::judge(history, servers, shards, names),
        }
    }

    /// What went wrong, the first of it first: at most `count` of each kind.
    pub fn findings(&self, count: usize) -> Vec<Finding> {
        let kinds = [
            &self.service.findings,
            &self.operational.findings,
            &self.effect.findings,
            &self.fencing.findings,
            &self.liveness.findings,
        ];
        let mut all: Vec<Finding> =
            kinds.iter().flat_map(|kind| kind.iter().take(count)).cloned().collect();
        all.sort_by_key(|finding| finding.at);
        all
    }
}

/// Collects findings; the first thousand are enough.
#[derive(Clone, Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, at: SimTime, text: impl FnOnce() -> String) {
        if self.0.len() < 1000 {
            self.0.push(Finding { at, text: text() });
        }
    }
}

/// An instant as findings show it: `1305 ms`.
struct Ms(SimTime);

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = self.0.as_ns() / 1000;
        let (ms, rest) = (us / 1000, us % 1000);
        if rest == 0 { write!(f, "{ms} ms") } else { write!(f, "{ms}.{rest:03} ms") }
    }
}

/// A lock as findings show it, counted from 1 as scripts do.
struct Lock(super::LockId);

impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lock {}", u64::from(self.0.0) + 1)
    }
}

/// Hand-made histories.
#[cfg(test)]
pub(in crate::locks) mod by_hand {
    use super::*;
    use crate::locks::history::{Grant, GrantEnd};
    use crate::locks::resource::{Access, Effect};
    use crate::locks::section::SectionId;
    use crate::locks::{LockId, Token};
    use crate::model::directory::Directory;
    use crate::model::node::NodeId;

    pub(in crate::locks) const A: NodeId = NodeId(0);
    pub(in crate::locks) const B: NodeId = NodeId(1);
    pub(in crate::locks) const C: NodeId = NodeId(2);
    pub(in crate::locks) const LOCK: LockId = LockId(0);

    pub(in crate::locks) const fn ms(ms: u64) -> SimTime {
        SimTime::from_ms(ms)
    }

    /// `client-1` (A), `client-2` (B), `client-3` (C), `server-1` to `server-5`.
    pub(in crate::locks) fn names() -> Directory {
        let mut names = Directory::default();
        names.add_group("client", 3);
        names.add_group("server", 5);
        names
    }

    /// Client `client` believes from `granted` to `until`.
    pub(in crate::locks) fn grant(client: NodeId, granted: u64, until: u64) -> Grant {
        Grant {
            section: SectionId(granted),
            client,
            lock: LOCK,
            token: None,
            requested: ms(0),
            granted: ms(granted),
            until: ms(until),
            ended: Some(GrantEnd::Released),
            deadline: SimTime::END,
            released: None,
        }
    }

    /// Each client is in a section of its own number.
    pub(in crate::locks) fn effect(
        at: u64,
        client: NodeId,
        token: u64,
        access: Access,
        value: u64,
    ) -> (SimTime, Effect) {
        let effect = Effect {
            section: SectionId(client.0.into()),
            client,
            lock: LOCK,
            token: (0 < token).then_some(Token(token)),
            access,
            value,
            is_accepted: true,
        };
        (ms(at), effect)
    }
}
