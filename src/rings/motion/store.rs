//! What a store has on its disk, and how it gets what it should have.
//!
//! A node that becomes an owner of keys asks for copies of them: batch by batch, from the owners
//! before, some of them at a time. Who has not got a key either, but is about to, says "later" and
//! is asked again; who never had it says so, and the next candidate is asked. Until a copy has
//! come, requests for the key are handed on to where it still is. Nothing is ever deleted: so who
//! owned a key at the start has it to the end, and is the candidate of last resort.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::rc::Rc;

use crate::kernel::time::SimDuration;
use crate::model::node::{Context, NodeId};

use super::config::StoreConfig;
use super::nic::Nic;
use super::protocol::{Copies, Kept, Message, Part, Timer, Told, World, Write};
use super::view::View;

#[derive(Debug)]
pub(super) struct Store {
    world: Rc<World>,
    me: NodeId,
    batch_bytes: u64,
    parallel: usize,
    // What is on disk beside what this node owned at the start.
    gained: BTreeSet<u32>,
    view: Option<Rc<View>>,
    needed: BTreeMap<u32, Need>,
    /// What is to be asked for, by whom it is expected from; no empty lines.
    lines: BTreeMap<NodeId, VecDeque<u32>>,
    /// What has been asked for.
    asked: BTreeMap<u32, Batch>,
    batch_count: u32,
    /// Whom the last batch was asked of: the next one is asked of another, if there is one.
    last_asked: NodeId,
}

/// A key that should be here, and is not yet.
#[derive(Debug)]
struct Need {
    /// The view in which it was elsewhere; `None` where this node had none.
    before: Option<Rc<View>>,
    /// The candidates that had nothing.
    tried: Vec<NodeId>,
}

#[derive(Debug)]
struct Batch {
    source: NodeId,
    keys: BTreeSet<u32>,
}

impl Store {
    pub(super) fn new(world: Rc<World>, me: NodeId, config: &StoreConfig, kept: &Kept) -> Self {
        Self {
            me,
            batch_bytes: config.batch.0,
            parallel: config.parallel as usize,
            gained: kept.gained.clone(),
            view: (!kept.has_run).then(|| world.first.clone()),
            needed: BTreeMap::new(),
            lines: BTreeMap::new(),
            asked: BTreeMap::new(),
            batch_count: 0,
            last_asked: me,
            world,
        }
    }

    /// Whether the value of `key` is on the disk of this node.
    pub(super) fn has(&self, key: u32) -> bool {
        self.world.first.holdings(self.me).binary_search(&key).is_ok() || self.gained.contains(&key)
    }

    /// Who is likely to have `key`, which this node is waiting for; `None` where it is not.
    pub(super) fn source(&self, key: u32) -> Option<NodeId> {
        self.candidate(key, self.needed.get(&key)?)
    }

    /// A value is written here.
    pub(super) fn put(&mut self, key: u32, ctx: &mut Context<'_, Part>) {
        if !self.has(key) {
            self.keep(&[key], ctx);
            if self.needed.remove(&key).is_some() {
                ctx.indicate(Told::Needs(-1));
            }
        }
    }

    /// The members are others now.
    pub(super) fn see(&mut self, view: &Rc<View>, ctx: &mut Context<'_, Part>) {
        let before = self.view.replace(view.clone());
        let needed_before = self.needed.len() as i64;
        let holdings = view.holdings(self.me);
        self.needed.retain(|key, _| holdings.binary_search(key).is_ok());
        let mut new = Vec::new();
        for &key in holdings {
            if !self.has(key) && !self.needed.contains_key(&key) {
                self.needed.insert(key, Need { before: before.clone(), tried: Vec::new() });
                new.push(key);
            }
        }
        let more = self.needed.len() as i64 - needed_before;
        if more != 0 {
            ctx.indicate(Told::Needs(more));
        }
        for key in new {
            self.line_up(key, ctx);
        }
        let sources = self.lines.keys().copied().chain(self.asked.values().map(|b| b.source));
        let dead: BTreeSet<NodeId> = sources.filter(|&source| view.is_dead(source)).collect();
        for peer in dead {
            self.lose(peer, ctx);
        }
        self.ask(ctx);
    }

    /// Nothing more will come from `peer`.
    pub(super) fn lose(&mut self, peer: NodeId, ctx: &mut Context<'_, Part>) {
        let mut keys: Vec<u32> = self.lines.remove(&peer).into_iter().flatten().collect();
        self.asked.retain(|_, batch| {
            if batch.source == peer {
                keys.extend(&batch.keys);
            }
            batch.source != peer
        });
        for key in keys {
            self.try_elsewhere(key, peer, ctx);
        }
        self.ask(ctx);
    }

    /// `to` wants copies.
    pub(super) fn copy_to(
        &self,
        to: NodeId,
        batch: u32,
        wanted: &[u32],
        nic: &mut Nic,
        ctx: &mut Context<'_, Part>,
    ) {
        let (keys, lacked): (Vec<u32>, Vec<u32>) = wanted.iter().partition(|&&key| self.has(key));
        let (later, absent): (Vec<u32>, Vec<u32>) =
            lacked.into_iter().partition(|key| self.needed.contains_key(key));
        // A batch has less than twice the size of the largest value: far below 2^32.
        let bytes = keys.iter().map(|&key| self.world.value_bytes(key)).sum();
        let copies = Copies { batch, keys, later, absent, bytes };
        nic.send_copy(to, Message::Copy(Rc::new(copies)), ctx);
    }

    /// Copies have come in.
    pub(super) fn land(&mut self, copies: &Copies, ctx: &mut Context<'_, Part>) {
        let Some(batch) = self.asked.get_mut(&copies.batch) else { return };
        let source = batch.source;
        for key in copies.keys.iter().chain(&copies.later).chain(&copies.absent) {
            batch.keys.remove(key);
        }
        if batch.keys.is_empty() {
            self.asked.remove(&copies.batch);
        }
        let landed: Vec<u32> =
            copies.keys.iter().copied().filter(|key| self.needed.remove(key).is_some()).collect();
        ctx.indicate(Told::Copied { bytes: copies.bytes.into() });
        if !landed.is_empty() {
            self.keep(&landed, ctx);
            ctx.indicate(Told::Needs(-(landed.len() as i64)));
        }
        if !copies.later.is_empty() {
            ctx.set_timer(LATER, Timer::LineUp(copies.later.clone()));
        }
        for &key in &copies.absent {
            self.try_elsewhere(key, source, ctx);
        }
        self.ask(ctx);
    }

    /// What was not there yet may be there now.
    pub(super) fn line_up_again(&mut self, keys: &[u32], ctx: &mut Context<'_, Part>) {
        for &key in keys {
            self.line_up(key, ctx);
        }
        self.ask(ctx);
    }

    fn keep(&mut self, keys: &[u32], ctx: &mut Context<'_, Part>) {
        self.gained.extend(keys.iter().copied());
        ctx.write(Write::Gained(keys.into()));
        ctx.sync();
    }

    /// `peer` has not got `key`.
    fn try_elsewhere(&mut self, key: u32, peer: NodeId, ctx: &mut Context<'_, Part>) {
        if let Some(need) = self.needed.get_mut(&key) {
            need.tried.push(peer);
            self.line_up(key, ctx);
        }
    }

    /// Puts `key` into the line of the next candidate; where there is none, nobody has it.
    fn line_up(&mut self, key: u32, ctx: &mut Context<'_, Part>) {
        let Some(need) = self.needed.get(&key) else { return };
        match self.candidate(key, need) {
            Some(source) => self.lines.entry(source).or_default().push_back(key),
            None => {
                self.needed.remove(&key);
                ctx.indicate(Told::Needs(-1));
                ctx.indicate(Told::Lost);
            }
        }
    }

    /// Who is to be asked next: owners before that still are members, other owners now, owners
    /// before that were sent away, owners at the start; nobody who is held for dead.
    fn candidate(&self, key: u32, need: &Need) -> Option<NodeId> {
        let view = self.view.as_ref()?;
        let before = need.before.as_ref().map_or_else(Vec::new, |before| before.owners(key));
        let is_fit =
            |node: &NodeId| *node != self.me && !view.is_dead(*node) && !need.tried.contains(node);
        let stay = before.iter().copied().find(|node| view.is_member(*node) && is_fit(node));
        stay.or_else(|| view.owners(key).into_iter().find(is_fit))
            .or_else(|| before.into_iter().find(is_fit))
            .or_else(|| self.world.first.owners(key).into_iter().find(is_fit))
    }

    /// Asks for the next batches, of as many nodes at a time as may be.
    fn ask(&mut self, ctx: &mut Context<'_, Part>) {
        while self.asked.len() < self.parallel {
            let is_free = |node: &NodeId| self.asked.values().all(|batch| batch.source != *node);
            let behind = (Bound::Excluded(self.last_asked), Bound::Unbounded);
            let in_turn = self.lines.range(behind).chain(&self.lines);
            let Some(source) = in_turn.map(|(&node, _)| node).find(is_free) else { return };
            self.last_asked = source;
            let keys = self.take_batch(source);
            if keys.is_empty() {
                continue;
            }
            let batch = self.batch_count;
            self.batch_count = self.batch_count.wrapping_add(1);
            self.asked.insert(batch, Batch { source, keys: keys.iter().copied().collect() });
            ctx.send(source, Message::Pull { batch, keys: keys.into() });
        }
    }

    /// Takes a batch out of the line of `source`, without what is not needed any more.
    fn take_batch(&mut self, source: NodeId) -> Vec<u32> {
        let line = self.lines.get_mut(&source).expect("a line was found");
        let (mut keys, mut bytes) = (Vec::new(), 0);
        while bytes < self.batch_bytes
            && let Some(key) = line.pop_front()
        {
            if self.needed.contains_key(&key) {
                bytes += u64::from(self.world.value_bytes(key));
                keys.push(key);
            }
        }
        if line.is_empty() {
            self.lines.remove(&source);
        }
        keys
    }
}

/// How long after "later" a node is asked again.
const LATER: SimDuration = SimDuration::from_ms(500);
