//! Two assignments of the same keys to named nodes, whoever made them: how even each is, what
//! moved from the one to the other, and what of it had to.
//!
//! One pass over the keys, in any order; what is kept is a few numbers a node. The definitions are
//! those of [`measure`](super::measure), so a ring that production runs and one of the catalogue
//! can be held against each other.

use std::collections::BTreeMap;

use crate::record::Metric;
use crate::rings::measure::{
    Balance, KEY_BALANCE, KEY_REMAP, KEY_REMAP_EXCESS, KEY_REMAP_FLOOR, KEY_REMAP_SURVIVORS,
    REQUEST_BALANCE, REQUEST_REMAP, REQUEST_REMAP_EXCESS, REQUEST_REMAP_FLOOR,
    REQUEST_REMAP_SURVIVORS,
};

/// A node of a [`Comparison`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeIndex(u32);

/// What two assignments do with the same keys.
#[derive(Debug, Default)]
pub struct Comparison {
    nodes: Vec<Node>,
    by_name: BTreeMap<String, NodeIndex>,
    all: Moved,
    moved: Moved,
    /// By pair of nodes, so that what moved between survivors can be told at the end.
    moves: BTreeMap<(u32, u32), Moved>,
}

#[derive(Debug)]
struct Node {
    name: String,
    /// `None` where nobody said.
    capacity: Option<f64>,
    before: Moved,
    after: Moved,
}

/// Keys, and the requests for them.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    keys: u64,
    requests: f64,
}

impl Moved {
    fn add(&mut self, weight: f64) {
        self.keys += 1;
        self.requests += weight;
    }
}

/// One number of an outcome, with its definition.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What it is.
    pub metric: &'static Metric,
    /// How much, in the metric's unit.
    pub value: f64,
}

/// How an assignment spreads the keys over those nodes that have any.
#[derive(Clone, Debug, PartialEq)]
pub struct Spread {
    /// How many nodes have a key.
    pub node_count: usize,
    /// The balance of keys and, behind it, of requests.
    pub figures: Vec<Figure>,
}

/// What a [`Comparison`] shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// How many keys were compared.
    pub key_count: u64,
    /// The first assignment.
    pub before: Spread,
    /// The second one.
    pub after: Spread,
    /// What moved between them: of the keys and, behind it, of the requests.
    pub change: Vec<Figure>,
}

impl Comparison {
    /// The node called `name`; all can take as much until something else is said.
    pub fn node(&mut self, name: &str) -> NodeIndex {
        if let Some(&index) = self.by_name.get(name) {
            return index;
        }
        let index =
            NodeIndex(u32::try_from(self.nodes.len()).expect("so many names fit no memory"));
        let (before, after) = (Moved::default(), Moved::default());
        self.nodes.push(Node { name: name.to_owned(), capacity: None, before, after });
        self.by_name.insert(name.to_owned(), index);
        index
    }

    /// The node called `name`, where there is one.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.by_name.get(name).copied()
    }

    /// Says how much `node` can take, relative to the others: finite and positive. Whether that
    /// was not known yet.
    pub fn set_capacity(&mut self, node: NodeIndex, capacity: f64) -> bool {
        assert!(capacity.is_finite() && 0.0 < capacity, "capacity {capacity}");
        self.nodes[node.0 as usize].capacity.replace(capacity).is_none()
    }

    /// A node of which nobody said how much it can take, where that was said of others.
    pub fn without_capacity(&self) -> Option<&str> {
        let is_told = self.nodes.iter().any(|node| node.capacity.is_some());
        let node = self.nodes.iter().find(|node| node.capacity.is_none());
        node.filter(|_| is_told).map(|node| node.name.as_str())
    }

    /// The name of `node`.
    pub fn name(&self, node: NodeIndex) -> &str {
        &self.nodes[node.0 as usize].name
    }

    /// Takes in one key that belongs to `from` first and to `to` then, and its weight: how often
    /// it is asked for, finite and not negative.
    pub fn add(&mut self, from: NodeIndex, to: NodeIndex, weight: f64) {
        assert!(weight.is_finite() && 0.0 <= weight, "weight {weight}");
        self.all.add(weight);
        self.nodes[from.0 as usize].before.add(weight);
        self.nodes[to.0 as usize].after.add(weight);
        if from != to {
            self.moves.entry((from.0, to.0)).or_default().add(weight);
            self.moved.add(weight);
        }
    }

    /// What came of it; `None` where no key was compared, or the weights come to nothing.
    pub fn outcome(&self) -> Option<Outcome> {
        let (all, moved) = (self.all, self.moved);
        if all.keys == 0 || all.requests <= 0.0 {
            return None;
        }
        let mut survivors = Moved::default();
        for ((from, to), moved) in &self.moves {
            if self.survives(*from) && self.survives(*to) {
                survivors.keys += moved.keys;
                survivors.requests += moved.requests;
            }
        }
        let (mut key_floor, mut request_floor) = (0, 0.0);
        for node in &self.nodes {
            key_floor += node.after.keys.saturating_sub(node.before.keys);
            request_floor += (node.after.requests - node.before.requests).max(0.0);
        }
        let key_share = |keys: u64| keys as f64 / all.keys as f64;
        let request_share = |requests: f64| requests / all.requests;
        let figure = |metric, value| Figure { metric, value };
        let change = vec![
            figure(&KEY_REMAP, key_share(moved.keys)),
            figure(&KEY_REMAP_FLOOR, key_share(key_floor)),
            figure(&KEY_REMAP_EXCESS, key_share(moved.keys - key_floor)),
            figure(&KEY_REMAP_SURVIVORS, key_share(survivors.keys)),
            figure(&REQUEST_REMAP, request_share(moved.requests)),
            figure(&REQUEST_REMAP_FLOOR, request_share(request_floor)),
            figure(&REQUEST_REMAP_EXCESS, request_share((moved.requests - request_floor).max(0.0))),
            figure(&REQUEST_REMAP_SURVIVORS, request_share(survivors.requests)),
        ];
        Some(Outcome {
            key_count: all.keys,
            before: self.spread(all, |node| node.before),
            after: self.spread(all, |node| node.after),
            change,
        })
    }

    fn survives(&self, node: u32) -> bool {
        let node = &self.nodes[node as usize];
        0 < node.before.keys && 0 < node.after.keys
    }

    fn spread(&self, all: Moved, side: impl Fn(&Node) -> Moved) -> Spread {
        let present: Vec<&Node> = self.nodes.iter().filter(|node| 0 < side(node).keys).collect();
        let capacity_of = |node: &Node| node.capacity.unwrap_or(1.0);
        let capacity: f64 = present.iter().map(|node| capacity_of(node)).sum();
        let balance = |share: &dyn Fn(Moved) -> f64| {
            let shares =
                present.iter().map(|node| (capacity_of(node) / capacity, share(side(node))));
            Balance::of(shares).values()
        };
        let keys = balance(&|load| load.keys as f64 / all.keys as f64);
        let requests = balance(&|load| load.requests / all.requests);
        let metrics = KEY_BALANCE.iter().chain(&REQUEST_BALANCE);
        let figures = metrics.zip(keys.into_iter().chain(requests));
        Spread {
            node_count: present.len(),
            figures: figures.map(|(metric, value)| Figure { metric, value }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(moves: &[(&str, &str, f64)]) -> Outcome {
        let mut comparison = Comparison::default();
        for (from, to, weight) in moves {
            let (from, to) = (comparison.node(from), comparison.node(to));
            comparison.add(from, to, *weight);
        }
        comparison.outcome().unwrap()
    }

    fn value(figures: &[Figure], name: &str) -> f64 {
        figures.iter().find(|figure| figure.metric.name == name).unwrap().value
    }

    #[test]
    fn what_moves_between_survivors_is_told_from_what_a_newcomer_takes() {
        // c joins: one key goes to it, and two change places between a and b for nothing.
        let outcome = compare(&[
            ("a", "a", 1.0),
            ("a", "b", 1.0),
            ("a", "c", 1.0),
            ("b", "a", 1.0),
            ("b", "b", 6.0),
        ]);
        assert_eq!(
            (outcome.key_count, outcome.before.node_count, outcome.after.node_count),
            (5, 2, 3)
        );
        for (name, expected) in [
            ("key_remap", 0.6),
            ("key_remap_floor", 0.2),
            ("key_remap_excess", 0.4),
            ("key_remap_survivors", 0.4),
            ("request_remap", 0.3),
            ("request_remap_floor", 0.1),
            ("request_remap_excess", 0.2),
            ("request_remap_survivors", 0.2),
        ] {
            let found = value(&outcome.change, name);
            assert!((found - expected).abs() < 1e-12, "{name}: {found}, expected {expected}");
        }
        let skew = value(&outcome.before.figures, "key_skew");
        assert!((skew - 1.2).abs() < 1e-12, "3 of 5 keys on one of 2 nodes: {skew}");
        let skew = value(&outcome.after.figures, "request_skew");
        assert!((skew - 2.1).abs() < 1e-12, "7 of 10 requests on one of 3 nodes: {skew}");
    }

    #[test]
    fn capacities_say_what_is_fair() {
        let mut comparison = Comparison::default();
        let (big, small) = (comparison.node("big"), comparison.node("small"));
        assert!(comparison.set_capacity(big, 3.0) && !comparison.set_capacity(big, 3.0));
        assert_eq!(comparison.without_capacity(), Some("small"));
        for _ in 0..3 {
            comparison.add(big, big, 1.0);
        }
        comparison.add(small, small, 1.0);
        let outcome = comparison.outcome().unwrap();
        assert!((value(&outcome.after.figures, "key_skew") - 1.0).abs() < 1e-12);
    }

    #[test]
    fn where_nothing_is_compared_nothing_is_said() {
        assert_eq!(Comparison::default().outcome(), None);
        let mut comparison = Comparison::default();
        let node = comparison.node("a");
        comparison.add(node, node, 0.0);
        assert_eq!(comparison.outcome(), None);
    }
}
