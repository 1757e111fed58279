//! Who owns a key, as somebody sees it: a view of the members, by version.
//!
//! There is one [`View`] for each version, however many clients and nodes hold it: a message that
//! brings it carries a reference. A view is never changed; a [`ViewMaker`] makes the next one.

use std::rc::Rc;

use crate::choice::Choice;
use crate::config::Problems;
use crate::kernel::rng::Seed;
use crate::model::node::NodeId;
use crate::model::placement::{Member, MemberId, Membership, Placement};
use crate::rings::CATALOGUE;
use crate::rings::hash::Hasher;
use crate::rings::measure::{ListedKeys, write_key};
use crate::rings::script::{KeyForm, Keys as KeysConfig, MadeKeys, Step};

use super::config::Overflow;

/// The keys of a run, by number.
#[derive(Debug)]
pub(super) struct Keys {
    count: u32,
    salt: u64,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Made(KeyForm),
    Listed(Vec<String>),
}

impl Keys {
    pub(super) fn new(config: &KeysConfig, listed: Option<&ListedKeys>, seed: Seed) -> Self {
        let salt = seed.stream("ring keys", "").word();
        match (config, listed) {
            (KeysConfig::Made(MadeKeys { count, form, .. }), _) => {
                let count = u32::try_from(*count).expect("the number of keys was checked");
                Self { count, salt, source: Source::Made(form.clone()) }
            }
            (KeysConfig::File(_), listed) => {
                let rows = listed.map_or(&[][..], ListedKeys::rows);
                let names: Vec<String> = rows.iter().map(|(name, _)| name.clone()).collect();
                Self { count: names.len() as u32, salt, source: Source::Listed(names) }
            }
        }
    }

    pub(super) const fn count(&self) -> u32 {
        self.count
    }

    pub(super) const fn salt(&self) -> u64 {
        self.salt
    }

    /// Calls `then` with the name of `key`.
    fn with<T>(&self, key: u32, then: impl FnOnce(&[u8]) -> T) -> T {
        match &self.source {
            Source::Made(form) => {
                let mut text = String::with_capacity(48);
                write_key(&mut text, form, self.salt, key.into());
                then(text.as_bytes())
            }
            Source::Listed(names) => then(names[key as usize].as_bytes()),
        }
    }
}

/// Who the members are, and what each owns: one version of it.
#[derive(Debug)]
pub(super) struct View {
    /// Rises by one with each.
    pub(super) version: u32,
    placement: Box<dyn Placement>,
    // By the id of a member; of those that are none any more, what they were.
    node_of: Vec<NodeId>,
    // Rising.
    members: Vec<NodeId>,
    // Who is held for dead; rising.
    dead: Vec<NodeId>,
    // What each node owns, by the node's number; empty where nodes need not know.
    holdings: Vec<Vec<u32>>,
    replicas: usize,
    keys: Rc<Keys>,
}

impl View {
    /// The first owner of `key`.
    pub(super) fn owner(&self, key: u32) -> NodeId {
        self.keys.with(key, |bytes| self.locate(bytes))
    }

    fn locate(&self, bytes: &[u8]) -> NodeId {
        let placement = self.placement.as_ref();
        self.node_of[placement.locate(placement.key(bytes)).index()]
    }

    /// Whether `node` is one of the owners of `key`.
    pub(super) fn is_owner(&self, node: NodeId, key: u32) -> bool {
        if self.replicas == 1 {
            return self.owner(key) == node;
        }
        self.owners(key).contains(&node)
    }

    /// The owners of `key`, the first one first.
    pub(super) fn owners(&self, key: u32) -> Vec<NodeId> {
        if self.replicas == 1 {
            return vec![self.owner(key)];
        }
        self.walk(key, self.replicas)
    }

    /// The first `count` members that the placement names for `key`.
    fn walk(&self, key: u32, count: usize) -> Vec<NodeId> {
        let mut found = Vec::new();
        let placement = self.placement.as_ref();
        self.keys
            .with(key, |bytes| placement.replicas(placement.key(bytes), count, &mut found))
            .expect("whether the placement ranks members was checked with the scenario");
        found.into_iter().map(|id| self.node_of[id.index()]).collect()
    }

    /// The first node for `key` that `has_room`, as `overflow` leads to it, and whether it is not
    /// the owner. The owner where all that are asked are full.
    pub(super) fn with_room(
        &self,
        key: u32,
        overflow: &Overflow,
        mut has_room: impl FnMut(NodeId) -> bool,
    ) -> (NodeId, bool) {
        let owner = self.owner(key);
        if has_room(owner) {
            return (owner, false);
        }
        let found = match overflow {
            Overflow::Walk => {
                let count = self.members.len().min(ASKED_MAX);
                self.walk(key, count).into_iter().find(|&node| has_room(node))
            }
            Overflow::Rehash => self.keys.with(key, |bytes| {
                let mut again = bytes.to_vec();
                (1..ASKED_MAX as u8).find_map(|turn| {
                    again.truncate(bytes.len());
                    again.extend([b'#', turn]);
                    let node = self.locate(&again);
                    has_room(node).then_some(node)
                })
            }),
        };
        found.map_or((owner, false), |node| (node, node != owner))
    }

    /// The members, by their numbers.
    pub(super) fn members(&self) -> &[NodeId] {
        &self.members
    }

    pub(super) fn is_member(&self, node: NodeId) -> bool {
        self.members.binary_search(&node).is_ok()
    }

    /// Whether `node` is held for dead, rather than sent away by an administrator.
    pub(super) fn is_dead(&self, node: NodeId) -> bool {
        self.dead.binary_search(&node).is_ok()
    }

    /// The keys that `node` owns, rising; nothing where views do not list them.
    pub(super) fn holdings(&self, node: NodeId) -> &[u32] {
        self.holdings.get(node.index()).map_or(&[], Vec::as_slice)
    }

    /// How many copies of keys here are at a node that did not have them in `before`.
    pub(super) fn moved_since(&self, before: &Self) -> impl Iterator<Item = u32> {
        let nodes = 0..self.holdings.len();
        nodes.flat_map(|index| {
            let had = before.holdings(NodeId(index as u32));
            let now = self.holdings[index].iter().copied();
            now.filter(|key| had.binary_search(key).is_err())
        })
    }
}

/// Makes views: a placement that goes through the changes of its members.
#[derive(Debug)]
pub(super) struct ViewMaker {
    choice: Choice,
    hasher: Hasher,
    keys: Rc<Keys>,
    replicas: usize,
    lists_holdings: bool,
    is_history_free: bool,
    // A placement cannot be copied, so each version is built from `base` and goes through `steps`.
    base: Membership,
    steps: Vec<Step>,
    members: Membership,
    node_of: Vec<NodeId>,
}

/// What a placement is made of in every version.
#[derive(Clone, Debug)]
pub(super) struct Blueprint {
    pub(super) choice: Choice,
    pub(super) hasher: Hasher,
    pub(super) keys: Rc<Keys>,
    /// Owners of a key.
    pub(super) replicas: usize,
    /// Whether views list what each node owns.
    pub(super) lists_holdings: bool,
    /// The members at the start; the node of each has the number of its id.
    pub(super) start: Membership,
}

impl ViewMaker {
    pub(super) fn new(blueprint: &Blueprint) -> Self {
        let Blueprint { choice, hasher, keys, replicas, lists_holdings, start } = blueprint.clone();
        let is_history_free = choice
            .find("ring", CATALOGUE, &mut Problems::default())
            .is_some_and(|entry| entry.capabilities.history_free);
        Self {
            choice,
            hasher,
            keys,
            replicas,
            lists_holdings,
            is_history_free,
            base: start.clone(),
            steps: Vec::new(),
            node_of: (0..start.id_bound() as u32).map(NodeId).collect(),
            members: start,
        }
    }

    /// Lets `member` join as `node`; its id.
    pub(super) fn add(&mut self, node: NodeId, member: Member) -> MemberId {
        let id = self.members.add(member.clone());
        self.node_of.push(node);
        self.steps.push(Step::Add(id, member));
        id
    }

    /// Lets `id` leave.
    pub(super) fn remove(&mut self, id: MemberId) {
        self.members.remove(id);
        self.steps.push(Step::Remove(id));
    }

    /// Gives `id` another weight.
    pub(super) fn reweight(&mut self, id: MemberId, weight: f64) {
        self.members.reweight(id, weight);
        self.steps.push(Step::Reweight(id, weight));
    }

    /// How many members there are.
    pub(super) fn member_count(&self) -> usize {
        self.members.len()
    }

    /// The view of the members as they are, and who is held for `dead`. Where the placement cannot
    /// express a change it is built anew, as its user would have to: the reason why.
    pub(super) fn view(&mut self, version: u32, dead: Vec<NodeId>) -> (Rc<View>, Option<String>) {
        let (placement, unsupported) = self.placement();
        let mut members: Vec<NodeId> =
            self.members.iter().map(|(id, _)| self.node_of[id.index()]).collect();
        members.sort_unstable();
        let mut view = View {
            version,
            placement,
            node_of: self.node_of.clone(),
            members,
            dead,
            holdings: Vec::new(),
            replicas: self.replicas,
            keys: self.keys.clone(),
        };
        if self.lists_holdings {
            let node_count = 1 + self.node_of.iter().map(|node| node.index()).max().unwrap_or(0);
            let mut holdings = vec![Vec::new(); node_count];
            for key in 0..self.keys.count() {
                for node in view.owners(key) {
                    holdings[node.index()].push(key);
                }
            }
            view.holdings = holdings;
        }
        (Rc::new(view), unsupported)
    }

    fn placement(&mut self) -> (Box<dyn Placement>, Option<String>) {
        if self.is_history_free && STEPS_MAX <= self.steps.len() {
            self.rebase();
        }
        let mut placement = self.build();
        for step in &self.steps {
            let done = match step {
                Step::Add(id, member) => placement.add(*id, member),
                Step::Remove(id) => placement.remove(*id),
                Step::Reweight(id, weight) => placement.reweight(*id, *weight),
            };
            if let Err(unsupported) = done {
                self.rebase();
                return (self.build(), Some(unsupported.to_string()));
            }
        }
        (placement, None)
    }

    /// From now on, placements are built from the members as they are.
    fn rebase(&mut self) {
        self.base = self.members.clone();
        self.steps.clear();
    }

    fn build(&self) -> Box<dyn Placement> {
        crate::rings::build(&self.choice, &self.base, self.hasher.clone())
            .expect("the choice was checked against all members that there will be")
    }
}

/// So many members are asked whether they have room, and then the owner has to take it.
const ASKED_MAX: usize = 32;
/// After so many changes a placement that does not depend on its history is built from what the
/// members have come to.
const STEPS_MAX: usize = 64;
