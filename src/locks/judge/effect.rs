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
    /// Whose each write was.
    writes: Vec<(usize, NodeId)>,
    newest: Option<(Token, NodeId)>,
    value: u64,
}

/// Judges the operations on the resource, in the order in which it decided them.
pub fn judge(effects: &[(SimTime, Effect)], names: &Directory) -> Verdict {
    let mut sections = Numbers::new(effects.len());
    let mut reads = Reads::default();
    let mut graph = Graph::default();
    let mut counters = BTreeMap::<LockId, Counter>::new();
    let mut bad: Vec<usize> = Vec::new();
    let mut findings = Findings::default();
    for (at, effect) in effects.iter().filter(|(_, effect)| effect.is_accepted) {
        let counter = counters.entry(effect.lock).or_default();
        let section = sections.of(effect.section);
        match effect.access {
            Access::Read => {
                graph.join(counter.last_write, section);
                counter.readers.push(section);
                reads.note(section, effect.lock, counter.writes.len());
            }
            Access::Write => {
                graph.join(counter.last_write, section);
                for reader in counter.readers.drain(..) {
                    graph.join(Some(reader), section);
                }
                if let Some(read_at) = reads.last(section, effect.lock) {
                    let since = &counter.writes[read_at..];
                    note_replaced(*at, effect, section, since, names, &mut findings);
                }
                if let (Some(token), Some((newest, by))) = (effect.token, counter.newest)
                    && token < newest
                {
                    bad.push(section);
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
                counter.writes.push((section, effect.client));
                counter.value = effect.value;
            }
        }
    }
    bad.extend(graph.on_cycles(sections.in_order.len()));
    let mut bad_sections: Vec<SectionId> =
        bad.into_iter().map(|section| sections.in_order[section]).collect();
    bad_sections.sort_unstable();
    bad_sections.dedup();
    Verdict {
        bad_sections,
        lost_increments: counters
            .values()
            .map(|counter| (counter.writes.len() as u64).saturating_sub(counter.value))
            .sum(),
        findings: findings.0,
    }
}

/// Says whose increments a write replaces: those of `since`, which came after what it was computed
/// from.
fn note_replaced(
    at: SimTime,
    effect: &Effect,
    section: usize,
    since: &[(usize, NodeId)],
    names: &Directory,
    findings: &mut Findings,
) {
    let mut others: Vec<&str> = Vec::new();
    for &(other, client) in since {
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

/// Numbers sections in the order of their first effects.
struct Numbers {
    /// By name, for those that loads hand out: one after the other, from 0.
    table: Vec<Option<u32>>,
    others: BTreeMap<SectionId, usize>,
    in_order: Vec<SectionId>,
}

impl Numbers {
    fn new(effect_count: usize) -> Self {
        Self { table: vec![None; effect_count], others: BTreeMap::new(), in_order: Vec::new() }
    }

    fn of(&mut self, section: SectionId) -> usize {
        let next = self.in_order.len();
        let place = usize::try_from(section.0).ok().and_then(|id| self.table.get_mut(id));
        let number = match place {
            Some(place) => *place.get_or_insert(next as u32) as usize,
            None => *self.others.entry(section).or_insert(next),
        };
        if number == next {
            self.in_order.push(section);
        }
        number
    }
}

/// When each section read each counter last, as a number of writes before it.
#[derive(Default)]
struct Reads {
    /// Of the counter that the section read first: mostly there is no other.
    first: Vec<Option<(LockId, usize)>>,
    others: BTreeMap<(usize, LockId), usize>,
}

impl Reads {
    fn note(&mut self, section: usize, lock: LockId, writes_before: usize) {
        if self.first.len() <= section {
            self.first.resize(section + 1, None);
        }
        let first = self.first[section].get_or_insert((lock, writes_before));
        if first.0 == lock {
            first.1 = writes_before;
        } else {
            self.others.insert((section, lock), writes_before);
        }
    }

    fn last(&self, section: usize, lock: LockId) -> Option<usize> {
        match self.first.get(section).copied().flatten() {
            Some((first, writes_before)) if first == lock => Some(writes_before),
            Some(_) => self.others.get(&(section, lock)).copied(),
            None => None,
        }
    }
}

/// A directed graph. While all edges lead from a lower number to a higher, as they do where
/// sections follow one another, there is no cycle to search for.
#[derive(Default)]
struct Graph {
    edges: Vec<[u32; 2]>,
    leads_back: bool,
}

impl Graph {
    fn join(&mut self, from: Option<usize>, to: usize) {
        if let Some(from) = from.filter(|from| *from != to) {
            self.leads_back |= to < from;
            self.edges.push([from as u32, to as u32]);
        }
    }

    /// The nodes that lie on some cycle: those in a strongly connected component with another
    /// (Tarjan, "Depth-First Search and Linear Graph Algorithms", SIAM J. Comput. 1(2), 1972).
    fn on_cycles(&self, size: usize) -> Vec<usize> {
        const UNSEEN: usize = usize::MAX;
        if !self.leads_back {
            return Vec::new();
        }
        let mut next = vec![Vec::new(); size];
        for &[from, to] in &self.edges {
            next[from as usize].push(to as usize);
        }
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
                    let child = next[node][looked_at - 1];
                    if is_on_stack[child] {
                        low[node] = low[node].min(low[child]);
                    }
                }
                if let Some(&child) = next[node].get(looked_at) {
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
    fn sections_may_have_any_names_and_come_in_any_order() {
        // B, whose name is far off, writes between A's read and write; A is named after B.
        let far = |(at, effect): (SimTime, Effect)| {
            (at, Effect { section: SectionId(u64::MAX), ..effect })
        };
        let effects = [
            effect(1, B, 0, Read, 0),
            far(effect(2, A, 0, Read, 0)),
            far(effect(3, A, 0, Write, 1)),
            effect(4, B, 0, Write, 1),
        ];
        assert_eq!(verdict(&effects).bad_sections, [SectionId(1), SectionId(u64::MAX)]);
        let apart = [&effects[1..3], &effects[..1], &effects[3..]].concat();
        assert!(verdict(&apart).bad_sections.is_empty());
    }

    #[test]
    fn a_section_s_last_read_is_told_for_each_counter_apart() {
        let mut reads = Reads::default();
        for (lock, writes_before) in [(0, 3), (1, 4), (2, 5), (0, 6), (1, 7)] {
            reads.note(9, LockId(lock), writes_before);
        }
        let last = [0, 1, 2, 3].map(|lock| reads.last(9, LockId(lock)));
        assert_eq!(last, [Some(6), Some(7), Some(5), None]);
        assert_eq!([reads.last(8, LockId(0)), reads.last(10, LockId(0))], [None, None]);
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
        let mut graph = Graph::default();
        for (from, to) in [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 4), (6, 3)] {
            graph.join(Some(from), to);
        }
        assert_eq!(graph.on_cycles(7), [0, 1, 2, 4, 5]);
    }
}
