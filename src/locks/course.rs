//! The course of a run as spans of time: who believed to hold the lock, with which token, and what
//! reached the resource. The whole of it for a trace, and for a record the piece that makes its
//! case: around the first overlap of beliefs, or else around the first fault.

use crate::kernel::time::SimTime;
use crate::model::directory::Directory;
use crate::record::{Span, SpanKind};

use super::history::{Grant, GrantEnd, History};
use super::resource::{Access, Effect};
use super::testbed::Played;
use super::{LockId, Token};

/// So many grants before the one that matters are told, and so many from it on.
const BEFORE: usize = 2;
const FROM: usize = 6;
/// Of the operations on the resource so many are told.
const EFFECTS_MAX: usize = 40;

/// All beliefs and all operations on the resource.
pub fn whole(played: &Played) -> Vec<Span> {
    let history = &played.history;
    let beliefs = history.grants.iter().map(|grant| belief(grant, &played.directory));
    let effects = history.effects.iter().map(|effect| operation(effect, &played.directory));
    beliefs.chain(effects).collect()
}

/// The few that make the case of the run, of one lock.
pub(super) fn telling(played: &Played) -> Vec<Span> {
    let history = &played.history;
    let (lock, at) = focus(history, played.faults.first().map(|fault| fault.from));
    let mut grants: Vec<&Grant> =
        history.grants.iter().filter(|grant| grant.lock == lock).collect();
    grants.sort_by_key(|grant| grant.granted);
    let matters = grants.partition_point(|grant| grant.granted < at);
    let window = matters.saturating_sub(BEFORE)..grants.len().min(matters + FROM);
    let next = grants.get(window.end).map(|grant| grant.granted);
    let told = &grants[window];
    let Some(from) = told.iter().map(|grant| grant.granted).min() else { return Vec::new() };
    // The piece ends where the first begins that is not told.
    let last = told.iter().map(|grant| grant.until).max().unwrap_or(from);
    let until = next.map_or(last, |next| next.min(last));
    let effects = history.effects.iter().filter(|(at, effect)| {
        let is_seen = effect.access == Access::Write || !effect.is_accepted;
        effect.lock == lock && is_seen && from <= *at && *at <= until
    });
    let names = &played.directory;
    told.iter()
        .map(|grant| belief(grant, names))
        .map(|span| Span { until: span.until.min(until), ..span })
        .chain(effects.take(EFFECTS_MAX).map(|effect| operation(effect, names)))
        .collect()
}

/// The lock and the moment that a reader wants to see.
fn focus(history: &History, first_fault: Option<SimTime>) -> (LockId, SimTime) {
    let mut by_lock: Vec<&Grant> = history.grants.iter().collect();
    by_lock.sort_by_key(|grant| (grant.lock, grant.granted));
    let mut first: Option<(SimTime, LockId)> = None;
    let mut longest: Option<&Grant> = None;
    for grant in by_lock {
        if let Some(other) = longest.filter(|other| other.lock == grant.lock) {
            let overlaps = grant.granted < other.until && other.client != grant.client;
            if overlaps && first.is_none_or(|(at, _)| grant.granted < at) {
                first = Some((grant.granted, grant.lock));
            }
        }
        // The one that lasts longest of those before: whoever overlaps any overlaps this one.
        let lasts = longest.is_none_or(|it| it.lock != grant.lock || it.until < grant.until);
        longest = if lasts { Some(grant) } else { longest };
    }
    let lock = history.grants.first().map_or(LockId(0), |grant| grant.lock);
    match first {
        Some((at, lock)) => (lock, at),
        None => (lock, first_fault.unwrap_or(SimTime::ZERO)),
    }
}

fn belief(grant: &Grant, names: &Directory) -> Span {
    let end = match grant.ended {
        Some(GrantEnd::Released) | None => "",
        Some(GrantEnd::Lost) => "lost",
        Some(GrantEnd::Died) => "died",
    };
    let parts = [words(grant.token), end.to_owned()];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Span {
        lane: names.name(grant.client).to_owned(),
        kind: SpanKind::Belief,
        label: parts.join(", "),
        from: grant.granted,
        until: grant.until,
    }
}

fn operation((at, effect): &(SimTime, Effect), names: &Directory) -> Span {
    let what = match effect.access {
        Access::Read => "reads",
        Access::Write => "writes",
    };
    let token = match effect.token {
        Some(Token(token)) => format!(", token {token}"),
        None => String::new(),
    };
    Span {
        lane: "resource".into(),
        kind: if effect.is_accepted { SpanKind::Accepted } else { SpanKind::Refused },
        label: format!("{} {what} {}{token}", names.name(effect.client), effect.value),
        from: *at,
        until: *at,
    }
}

fn words(token: Option<Token>) -> String {
    token.map_or(String::new(), |Token(token)| format!("token {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::time::SimDuration;
    use crate::locks::section::SectionId;
    use crate::model::node::NodeId;

    fn grant(client: u32, lock: u32, from: u64, until: u64) -> Grant {
        let at = |ms| SimTime::ZERO + SimDuration::from_ms(ms);
        Grant {
            section: SectionId(from),
            client: NodeId(client),
            lock: LockId(lock),
            token: None,
            requested: at(from),
            granted: at(from),
            until: at(until),
            ended: Some(GrantEnd::Released),
            deadline: SimTime::END,
            released: None,
        }
    }

    fn history(grants: Vec<Grant>) -> History {
        History { grants, ..History::default() }
    }

    #[test]
    fn what_matters_is_the_first_overlap_of_two_clients_on_one_lock() {
        let lone = vec![grant(0, 1, 0, 10), grant(1, 2, 5, 9), grant(1, 1, 10, 20)];
        assert_eq!(focus(&history(lone.clone()), None), (LockId(1), SimTime::ZERO));
        assert_eq!(
            focus(&history(lone.clone()), Some(SimTime::from_ms(7))),
            (LockId(1), SimTime::from_ms(7))
        );
        // A long belief that a short one of another client follows, and a third falls into.
        let mut all = lone;
        all.extend([grant(0, 2, 30, 90), grant(1, 2, 40, 41), grant(2, 2, 50, 51)]);
        assert_eq!(focus(&history(all), None), (LockId(2), SimTime::from_ms(40)));
    }

    #[test]
    fn a_client_that_overlaps_itself_is_no_overlap() {
        let same = vec![grant(0, 1, 0, 10), grant(0, 1, 5, 20)];
        assert_eq!(focus(&history(same), None), (LockId(1), SimTime::ZERO));
    }
}
