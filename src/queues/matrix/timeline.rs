//! The course of a cell: what happened to the messages that its codes are about.
//!
//! Told are the faults and, of the first few messages to which something happened that should not,
//! everything.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::time::SimTime;
use crate::queues::{Indication, LogEvent, Outcome, Serial, Token};

use super::Computed;

/// A moment of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// When.
    pub at: SimTime,
    /// Who: a node's name, or `fault`.
    pub who: String,
    /// The message that it is about; none for a fault.
    pub serial: Option<Serial>,
    /// What happens.
    pub event: String,
}

/// The course of a cell that was computed.
pub fn timeline(computed: &Computed) -> Vec<Line> {
    let Some(outcome) = &computed.outcome else { return Vec::new() };
    let shown = concerned(outcome);
    let mut lines: Vec<Line> = Vec::new();
    for fault in &outcome.record.faults {
        let line = |at, event| Line { at, who: "fault".into(), serial: None, event };
        lines.push(line(fault.from, fault.label.clone()));
        if fault.from < fault.until && fault.until < SimTime::END {
            lines.push(line(fault.until, format!("{}: over", fault.label)));
        }
    }
    for heard in outcome.judge.history() {
        if let Some((serial, event)) = words(&heard.told)
            && shown.contains(&serial)
        {
            let who = computed.directory.name(heard.node).to_owned();
            lines.push(Line { at: heard.at, who, serial: Some(serial), event: event.into() });
        }
    }
    lines.sort_by_key(|line| line.at);
    lines
}

/// The first few messages that did not simply come once and take effect once.
fn concerned(outcome: &Outcome) -> BTreeSet<Serial> {
    let mut counts: BTreeMap<Serial, (u32, u32)> = BTreeMap::new();
    for heard in outcome.judge.history() {
        if let Some((serial, _)) = words(&heard.told) {
            let (received, done) = counts.entry(serial).or_default();
            *received += u32::from(matches!(heard.told, Indication::Received { .. }));
            *done += u32::from(matches!(heard.told, Indication::Done(_)));
        }
    }
    let plain = |&(_, &count): &(&Serial, &(u32, u32))| count == (1, 1);
    let odd = counts.iter().filter(|count| !plain(count)).map(|(&serial, _)| serial);
    // The first of all, where all went well.
    let first = counts.keys().next().copied();
    let odd: BTreeSet<Serial> = odd.take(SHOWN_MAX).collect();
    if odd.is_empty() { first.into_iter().collect() } else { odd }
}

/// Which message it is about, and what is told of it.
fn words(told: &Indication) -> Option<(Serial, &'static str)> {
    let of = |token: &Token, what| Some((token.serial, what));
    match told {
        Indication::Sent { serial, .. } => Some((*serial, "sends it")),
        Indication::Confirmed(serial) => Some((*serial, "is told that it is safe")),
        Indication::Refused(serial) => Some((*serial, "is told that it was refused")),
        Indication::GaveUp(serial) => Some((*serial, "gives it up")),
        Indication::Stored(token) => of(token, "stores it"),
        Indication::Handed { token, is_settled: true, .. } => {
            of(token, "sends it to a consumer and forgets it")
        }
        Indication::Handed { token, .. } | Indication::Log(LogEvent::Read { token, .. }) => {
            of(token, "sends it to a consumer")
        }
        Indication::Recorded(token) => of(token, "notes that a consumer has it"),
        Indication::HandedByCopy { token, .. } => of(token, "sends its copy to a consumer"),
        Indication::Returned(token) => of(token, "has it back"),
        Indication::Lapsed(token) => of(token, "takes it back: the lease is over"),
        Indication::Settled(token) => of(token, "hears that it is done with"),
        Indication::Died { token, is_kept: true, .. } => of(token, "dead-letters it"),
        Indication::Died { token, .. } => of(token, "drops it"),
        Indication::Parked(token) => of(token, "keeps it, and delivers it no more"),
        Indication::Received { serial, is_redelivered: true } => {
            Some((*serial, "receives it, flagged as redelivered"))
        }
        Indication::Received { serial, .. } => Some((*serial, "receives it")),
        Indication::Started(serial) => Some((*serial, "begins to work")),
        Indication::Done(serial) => Some((*serial, "applies the effect")),
        Indication::Failed(serial) => Some((*serial, "fails for good")),
        Indication::LeftOff(serial) => Some((*serial, "leaves off")),
        Indication::Dropped(serial) => Some((*serial, "forgets it")),
        Indication::Log(LogEvent::Appended { token, .. }) => of(token, "appends it to its log"),
        Indication::Log(LogEvent::Polled { token }) => of(token, "is given it by `poll`"),
        Indication::Asks { .. }
        | Indication::Holds { .. }
        | Indication::Cut
        | Indication::Log(_) => None,
    }
}

/// So many messages are told of.
const SHOWN_MAX: usize = 3;
