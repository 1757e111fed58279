//! L3: whether the effects at the resource could have come from one section after the other.
//!
//! Each section is a transaction on the counters of its locks. The verdict is bad where the
//! conflict graph of the sections has a cycle (Papadimitriou, "The Serializability of Concurrent
//! Database Updates", JACM 26(4), 1979), or a write was let through after the write of a section
//! with a later token, or a counter ends lower than the number of its increments. Edges join each
//! operation with the nearest ones that it conflicts with; the others follow. O(n log n).

use std::collections::BTreeMap;

use crate::kernel::time::SimTime;
use crate::locks::resource::{Access, Effect};
use crate::locks::section::SectionId;
use crate::locks::{LockId, Token};
use crate::model::directory::Directory;
use crate::model::node::NodeId;

use super::{Finding, Findings, Lock, Ms};

/// What the effects amount to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// The sections on a cycle of the conflict graph, or with a write after one of a later token.
    pub bad_sections: Vec<SectionId>,
    /// Increments that the counters do not show.
    pub lost_increments: u64,
    /// The first bad effects, in words.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// Whether nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.bad_sections.is_empty() && self.lost_increments == 0
    }
}

/// What was accepted of one counter so far.
#[derive(Default)]
struct Counter {
    last_write: Option<usize>,
    /// Sections that have read since the last write.
    readers: Vec<usize>,
    /// What each write was: when, and whose.
    writes: Vec<(SimTime, usize, NodeId)>,
    /// When a section read last, as a number of writes before it.
    read_at: BTreeMap<usize, usize>,
    newest: Option<(Token, NodeId)>,
    value: u64,
}

/// Judges the operations on the resource, in the order in which it decided them.
pub fn judge(effects: &[(SimTime, Effect)], names: &Directory) -> Verdict {
    let mut sections: Vec<SectionId> = effects.iter().map(|(_, effect)| effect.section).collect();
    sections.sort_unstable();
    sections.dedup();
    let index_of = |section: SectionId| {
        sections.binary_search(&section).expect("every section of an effect is listed")
    };
    let mut graph = Graph::new(sections.len());
    let mut counters = BTreeMap::<LockId, Counter>::new();
    let mut is_bad = vec![false; sections.len()];
    let mut findings = Findings::default();
    for (at, effect) in effects.iter().filter(|(_, effect)| effect.is_accepted) {
        let counter = counters.entry(effect.lock).or_default();
        let section = index_of(effect.section);
        match effect.access {
            Access::Read => {
                graph.join(counter.last_write, section);
                counter.readers.push(section);
                counter.read_at.insert(section, counter.writes.len());
            }
            Access::Write => {
                graph.join(counter.last_write, section);
                for reader in counter.readers.drain(..) {
                    graph.join(Some(reader), section);
                }
                note_replaced(*at, effect, section, counter, names, &mut findings);
                if let (Some(token), Some((newest, by))) = (effect.token, counter.newest)
                    && token < newest
                {
                    is_bad[section] = true;
                    findings.add(*at, || {
                        format!(
                            "at {} a write of {} with token {} was let through after one of {} \
                             with token {}",
                            Ms(*at),
                            names.name(effect.client),
                            token.0,
                            names.name(by),
                            newest.0
                        )
                    });
                }
                if let Some(token) = effect.token {
                    counter.newest = counter.newest.max(Some((token, effect.client)));
                }
                counter.last_write = Some(section);
                counter.writes.push((*at, section, effect.client));
                counter.value = effect.value;
            }
        }
    }
    for section in graph.on_cycles() {
        is_bad[section] = true;
    }
    let bad = sections.iter().zip(is_bad).filter(|(_, is_bad)| *is_bad);
    Verdict {
        bad_sections: bad.map(|(section, _)| *section).collect(),
        lost_increments: counters
            .values()
            .map(|counter| (counter.writes.len() as u64).saturating_sub(counter.value))
            .sum(),
        findings: findings.0,
    }
}

/// Says whose increments a write replaces: those that came after what it was computed from.
fn note_replaced(
    at: SimTime,
    effect: &Effect,
    section: usize,
    counter: &Counter,
    names: &Directory,
    findings: &mut Findings,
) {
    let Some(&read_at) = counter.read_at.get(&section) else { return };
    let mut others: Vec<&str> = Vec::new();
    for &(_, other, client) in &counter.writes[read_at..] {
        let name = names.name(client);
        if other != section && !others.contains(&name) {
            others.push(name);
        }
    }
    if !others.is_empty() {
        findings.add(at, || {
            format!(
                "at {} the write of {} replaced the increment of {} ({})",
                Ms(at),
                names.name(effect.client),
                others.join(" and "),
                Lock(effect.lock)
            )
        });
    }
}

/// A directed graph.
struct Graph {
    next: Vec<Vec<usize>>,
}

impl Graph {
    fn new(size: usize) -> Self {
        Self { next: vec![Vec::new(); size] }
    }

    fn join(&mut self, from: Option<usize>, to: usize) {
        if let Some(from) = from.filter(|from| *from != to) {
            self.next[from].push(to);
        }
    }

    /// The nodes that lie on some cycle: those in a strongly connected component with another
    /// (Tarjan, "Depth-First Search and Linear Graph Algorithms", SIAM J. Comput. 1(2), 1972).
    fn on_cycles(&self) -> Vec<usize> {
        const UNSEEN: usize = usize::MAX;
        let size = self.next.len();
        let (mut number, mut low) = (vec![UNSEEN; size], vec![0; size]);
        let (mut stack, mut is_on_stack) = (Vec::new(), vec![false; size]);
        let (mut count, mut found) = (0, Vec::new());
        for root in 0..size {
            if number[root] != UNSEEN {
                continue;
            }
            // A node and how many of its successors have been looked at.
            let mut path = vec![(root, 0)];
            while let Some((node, looked_at)) = path.pop() {
                if looked_at == 0 {
                    (number[node], low[node]) = (count, count);
                    count += 1;
                    stack.push(node);
                    is_on_stack[node] = true;
                } else {
                    let child = self.next[node][looked_at - 1];
                    if is_on_stack[child] {
                        low[node] = low[node].min(low[child]);
                    }
                }
                if let Some(&child) = self.next[node].get(looked_at) {
                    path.push((node, looked_at + 1));
                    if number[child] == UNSEEN {
                        path.push((child, 0));
                    }
                    continue;
                }
                if low[node] == number[node] {
                    let begin = stack.iter().rposition(|&other| other == node);
                    let component = stack.split_off(begin.expect("a node is on the stack"));
                    for &member in &component {
                        is_on_stack[member] = false;
                    }
                    if 1 < component.len() {
                        found.extend(component);
                    }
                }
            }
        }
        found.sort_unstable();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::by_hand::{A, B, C, effect, names};
    use super::*;
    use Access::{Read, Write};

    fn verdict(effects: &[(SimTime, Effect)]) -> Verdict {
        judge(effects, &names())
    }

    #[test]
    fn sections_one_after_the_other_are_good() {
        let effects = [
            effect(1, A, 1, Read, 0),
            effect(2, A, 1, Write, 1),
            effect(3, B, 2, Read, 1),
            effect(4, B, 2, Write, 2),
        ];
        assert!(verdict(&effects).is_good());
    }

    #[test]
    fn a_stale_write_between_the_next_holders_read_and_write_is_a_cycle() {
        // F1c: no token is refused, since none later has been seen on a write.
        let effects = [
            effect(2, A, 1, Read, 0),
            effect(1009, C, 2, Read, 0),
            effect(1305, A, 1, Write, 1),
            effect(1711, C, 2, Write, 1),
        ];
        let verdict = verdict(&effects);
        assert_eq!(verdict.bad_sections, [SectionId(0), SectionId(2)]);
        assert_eq!(verdict.lost_increments, 1);
        let text = "at 1711 ms the write of client-3 replaced the increment of client-1 (lock 1)";
        assert_eq!(verdict.findings[0].text, text);
    }

    #[test]
    fn a_write_after_one_with_a_later_token_is_bad_though_nothing_was_read() {
        let effects = [effect(1, B, 2, Write, 1), effect(2, A, 1, Write, 2)];
        let verdict = verdict(&effects);
        assert_eq!(verdict.bad_sections, [SectionId(0)]);
        assert_eq!(verdict.lost_increments, 0);
    }

    #[test]
    fn tokens_are_held_to_the_newest_so_far_and_equal_ones_pass() {
        let tokens = [(B, 3), (A, 1), (C, 2)];
        let effects = tokens.map(|(client, token)| effect(token, client, token, Write, 4));
        assert_eq!(verdict(&effects).bad_sections, [SectionId(0), SectionId(2)]);
        let twice = [effect(1, A, 1, Write, 1), effect(2, A, 1, Write, 2)];
        assert!(verdict(&twice).is_good());
    }

    #[test]
    fn an_increment_that_the_counter_does_not_show_is_lost() {
        let effects = [A, B, C].map(|client| effect(1, client, 0, Write, 1));
        let verdict = verdict(&effects);
        assert_eq!((verdict.lost_increments, verdict.bad_sections.len()), (2, 0));
        assert!(!verdict.is_good(), "that alone is bad");
    }

    /// The same on another counter than the first.
    fn elsewhere((at, effect): (SimTime, Effect)) -> (SimTime, Effect) {
        (at, Effect { lock: LockId(1), ..effect })
    }

    #[test]
    fn what_was_read_binds_to_the_write_just_before_it() {
        // B reads what A wrote, and A writes what B has read.
        let effects = [
            effect(1, A, 0, Write, 1),
            effect(2, B, 0, Read, 1),
            elsewhere(effect(3, B, 0, Read, 0)),
            elsewhere(effect(4, A, 0, Write, 1)),
        ];
        let of_two = verdict(&effects);
        assert_eq!(of_two.bad_sections, [SectionId(0), SectionId(1)]);
        assert!(!of_two.is_good(), "though no increment is lost");
        // C reads what B wrote, not A, and B writes what C has read.
        let effects = [
            effect(1, A, 0, Write, 1),
            effect(2, B, 0, Write, 2),
            effect(3, C, 0, Read, 2),
            elsewhere(effect(4, C, 0, Read, 0)),
            elsewhere(effect(5, B, 0, Write, 1)),
        ];
        assert_eq!(verdict(&effects).bad_sections, [SectionId(1), SectionId(2)]);
    }

    #[test]
    fn words_tell_once_whom_a_write_replaced_since_its_last_read() {
        let texts = |effects: &[(SimTime, Effect)]| -> Vec<String> {
            verdict(effects).findings.into_iter().map(|finding| finding.text).collect()
        };
        let again = [
            effect(1, A, 0, Read, 0),
            effect(2, B, 0, Write, 1),
            effect(3, A, 0, Read, 1),
            effect(4, A, 0, Write, 2),
            effect(5, A, 0, Write, 3),
        ];
        assert!(texts(&again).is_empty(), "{:?}", texts(&again));
        let twice = [
            effect(1, A, 0, Read, 0),
            effect(2, B, 0, Write, 1),
            effect(3, B, 0, Write, 2),
            effect(4, A, 0, Write, 1),
        ];
        let text = "at 4 ms the write of client-1 replaced the increment of client-2 (lock 1)";
        assert_eq!(texts(&twice), [text]);
    }

    #[test]
    fn a_cycle_may_run_over_two_counters() {
        // Write skew: each reads what the other writes.
        let on = |lock, (at, effect): (SimTime, Effect)| (at, Effect { lock, ..effect });
        let (x, y) = (LockId(0), LockId(1));
        let effects = [
            on(x, effect(1, A, 0, Read, 0)),
            on(y, effect(2, B, 0, Read, 0)),
            on(y, effect(3, A, 0, Write, 1)),
            on(x, effect(4, B, 0, Write, 1)),
        ];
        let verdict = verdict(&effects);
        assert_eq!(verdict.bad_sections, [SectionId(0), SectionId(1)]);
        assert_eq!(verdict.lost_increments, 0);
    }

    #[test]
    fn what_was_refused_has_no_effect() {
        let refused =
            |(at, effect): (SimTime, Effect)| (at, Effect { is_accepted: false, ..effect });
        let effects = [
            effect(2, A, 1, Read, 0),
            effect(1009, C, 2, Read, 0),
            refused(effect(1305, A, 1, Write, 1)),
            effect(1711, C, 2, Write, 1),
        ];
        assert!(verdict(&effects).is_good());
    }

    #[test]
    fn the_search_for_cycles_finds_exactly_the_nodes_on_them() {
        let mut graph = Graph::new(7);
        for (from, to) in [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 4), (6, 3)] {
            graph.join(Some(from), to);
        }
        assert_eq!(graph.on_cycles(), [0, 1, 2, 4, 5]);
    }
}
