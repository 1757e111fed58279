//! A node behind the placement: it serves the keys that are its own, as it sees it.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::kernel::rng::Probability;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Context, Input, NodeId};

use super::config::{Detector, Holding, Misroute};
use super::lru::Lru;
use super::nic::Nic;
use super::protocol::{
    Ask, HELLO_EVERY, HOPS_MAX, Kept, Message, Part, Route, Timer, Told, Verdict, Want, World,
    Write,
};
use super::store::Store;
use super::view::View;

#[derive(Debug)]
pub(super) struct Peer {
    world: Rc<World>,
    view: Option<Rc<View>>,
    nic: Nic,
    content: Content,
    /// Since when it has turned requests away, and when it last did.
    too_much: Option<(SimTime, SimTime)>,
}

#[derive(Debug)]
enum Content {
    Cache(Cache),
    Store(Store),
}

#[derive(Debug)]
struct Cache {
    ttl: Option<SimDuration>,
    coalesces: bool,
    values: Lru,
    /// Who waits for what is being fetched.
    fetching: BTreeMap<u32, Vec<Ask>>,
}

impl Cache {
    fn insert(&mut self, key: u32, bytes: u32, now: SimTime) {
        let good_until = self.ttl.map_or(SimTime::END, |ttl| now + ttl);
        self.values.insert(key, bytes, good_until);
    }
}

impl Peer {
    pub(super) fn new(world: Rc<World>, me: NodeId, kept: &Kept) -> Self {
        let view = (!kept.has_run).then(|| world.first.clone());
        let (content, copy_share) = match &world.holding {
            Holding::Cache(config) => {
                let cache = Cache {
                    ttl: config.ttl,
                    coalesces: config.coalesce,
                    values: Lru::new(config.capacity.0),
                    fetching: BTreeMap::new(),
                };
                (Content::Cache(cache), Probability::ONE)
            }
            Holding::Store(config) => {
                let store = Store::new(world.clone(), me, config, kept);
                (Content::Store(store), config.copy_share)
            }
        };
        let nic = Nic::new(world.bandwidth, copy_share);
        Self { world, view, nic, content, too_much: None }
    }

    pub(super) fn handle(&mut self, input: Input<Part>, ctx: &mut Context<'_, Part>) {
        match input {
            Input::Start => {
                ctx.write(Write::Ran);
                ctx.sync();
                self.say_hello(ctx);
                self.beat_again(ctx);
            }
            Input::Timer(Timer::Hello) => self.say_hello(ctx),
            Input::Timer(Timer::Beat) => {
                ctx.send(self.world.monitor, Message::Beat);
                self.beat_again(ctx);
            }
            Input::Message { from, message, .. } => self.hear(from, message, ctx),
            Input::Overload { from, message, .. } => self.turn_away(from, message, ctx),
            Input::Closed { peer, .. } => match &mut self.content {
                Content::Cache(_) if peer == self.world.origin => self.lose_origin(ctx),
                Content::Cache(_) => (),
                Content::Store(store) => store.lose(peer, ctx),
            },
            Input::Timer(Timer::Depart { to, message }) => ctx.send(to, message),
            Input::Timer(Timer::NextCopy) => self.nic.next_copy(ctx),
            Input::Timer(Timer::Landed(copies)) => {
                if let Content::Store(store) = &mut self.content {
                    store.land(&copies, ctx);
                }
            }
            Input::Timer(Timer::LineUp(keys)) => {
                if let Content::Store(store) = &mut self.content {
                    store.line_up_again(&keys, ctx);
                }
            }
            Input::Request(_) | Input::Timer(_) | Input::Synced(_) | Input::Signal(_) => (),
        }
    }

    /// Asks for the members until it knows them.
    fn say_hello(&self, ctx: &mut Context<'_, Part>) {
        if self.view.is_none() {
            ctx.send(self.world.monitor, Message::Hello);
            ctx.set_timer(HELLO_EVERY, Timer::Hello);
        }
    }

    fn beat_again(&self, ctx: &mut Context<'_, Part>) {
        if let Detector::Heartbeats(config) = &self.world.detector {
            ctx.set_timer(config.every, Timer::Beat);
        }
    }

    fn hear(&mut self, from: NodeId, message: Message, ctx: &mut Context<'_, Part>) {
        match message {
            Message::Get(ask) => self.serve(ask, ctx),
            Message::Fetched { key, is_there, value_bytes } => {
                self.fetched(key, is_there, value_bytes, ctx);
            }
            Message::Replicate { key, value_bytes } => self.put(key, value_bytes, ctx),
            Message::View(view) => self.see(view, ctx),
            Message::Pull { batch, keys } => {
                if let Content::Store(store) = &self.content {
                    store.copy_to(from, batch, &keys, &mut self.nic, ctx);
                }
            }
            Message::Copy(copies) => {
                let after = self.nic.receive(copies.bytes.into(), ctx.now());
                ctx.set_timer(after, Timer::Landed(copies));
            }
            Message::Answer { .. } | Message::Fetch { .. } | Message::Beat | Message::Hello => {
                unreachable!("{from:?} sent a node what is not for nodes")
            }
        }
    }

    fn see(&mut self, view: Rc<View>, ctx: &mut Context<'_, Part>) {
        if self.view.as_ref().is_some_and(|held| view.version <= held.version) {
            return;
        }
        if let Content::Store(store) = &mut self.content {
            store.see(&view, ctx);
        }
        self.view = Some(view);
    }

    /// The station is done with `ask`.
    fn serve(&mut self, ask: Ask, ctx: &mut Context<'_, Part>) {
        ctx.indicate(Told::Served);
        let Some(view) = self.view.clone() else {
            self.answer(ask, Verdict::Refused, ctx);
            return;
        };
        if ask.route == Route::Direct && !view.is_owner(ctx.id(), ask.key) {
            ctx.indicate(Told::Misrouted);
            match self.world.misroute {
                Misroute::Serve => (),
                Misroute::Forward if ask.hop_count < HOPS_MAX => {
                    let onward = Ask { hop_count: ask.hop_count + 1, ..ask };
                    self.nic.send(view.owner(ask.key), Message::Get(onward), ctx);
                    return;
                }
                Misroute::Forward | Misroute::Refuse => {
                    self.answer(ask, Verdict::Refused, ctx);
                    return;
                }
            }
        }
        match ask.want {
            Want::Read => self.read(ask, ctx),
            Want::Write => {
                self.put(ask.key, ask.value_bytes, ctx);
                let value_bytes = ask.value_bytes;
                for owner in view.owners(ask.key) {
                    if owner != ctx.id() && ask.route == Route::Direct {
                        let copy = Message::Replicate { key: ask.key, value_bytes };
                        self.nic.send(owner, copy, ctx);
                    }
                }
                self.answer(ask, Verdict::Written, ctx);
            }
        }
    }

    fn read(&mut self, ask: Ask, ctx: &mut Context<'_, Part>) {
        let key = ask.key;
        match &mut self.content {
            Content::Cache(cache) => {
                if cache.values.touch(key, ctx.now()) {
                    self.answer(ask, Verdict::Hit, ctx);
                    return;
                }
                let waiting = cache.fetching.entry(key).or_default();
                waiting.push(ask);
                if waiting.len() == 1 || !cache.coalesces {
                    ctx.indicate(Told::Fetching);
                    ctx.send(self.world.origin, Message::Fetch { key });
                }
            }
            Content::Store(store) => {
                if store.has(key) {
                    self.answer(ask, Verdict::Hit, ctx);
                    return;
                }
                match store.source(key) {
                    Some(source) if ask.hop_count < HOPS_MAX => {
                        ctx.indicate(Told::HandedOn);
                        let hop_count = ask.hop_count + 1;
                        let onward = Ask { hop_count, route: Route::Handed, ..ask };
                        self.nic.send(source, Message::Get(onward), ctx);
                    }
                    _ => self.answer(ask, Verdict::Absent, ctx),
                }
            }
        }
    }

    /// The origin has answered.
    fn fetched(&mut self, key: u32, is_there: bool, value_bytes: u32, ctx: &mut Context<'_, Part>) {
        let Content::Cache(cache) = &mut self.content else { return };
        if is_there {
            cache.insert(key, value_bytes, ctx.now());
        }
        let verdict = if is_there { Verdict::Miss } else { Verdict::Refused };
        let served = if cache.coalesces {
            cache.fetching.remove(&key).unwrap_or_default()
        } else {
            // The oldest of them: each fetch answers one.
            let Some(waiting) = cache.fetching.get_mut(&key) else { return };
            let first = waiting.remove(0);
            if waiting.is_empty() {
                cache.fetching.remove(&key);
            }
            vec![first]
        };
        for ask in served {
            self.answer(ask, verdict, ctx);
        }
    }

    /// Nothing that is being fetched will come.
    fn lose_origin(&mut self, ctx: &mut Context<'_, Part>) {
        let Content::Cache(cache) = &mut self.content else { return };
        let waiting = std::mem::take(&mut cache.fetching);
        for ask in waiting.into_values().flatten() {
            self.answer(ask, Verdict::Refused, ctx);
        }
    }

    /// A value is written.
    fn put(&mut self, key: u32, value_bytes: u32, ctx: &mut Context<'_, Part>) {
        match &mut self.content {
            Content::Cache(cache) => {
                cache.insert(key, value_bytes, ctx.now());
            }
            Content::Store(store) => store.put(key, ctx),
        }
    }

    fn answer(&mut self, ask: Ask, verdict: Verdict, ctx: &mut Context<'_, Part>) {
        let value_bytes = match verdict {
            Verdict::Hit | Verdict::Miss => self.world.value_bytes(ask.key),
            Verdict::Written | Verdict::Absent | Verdict::Refused => 0,
        };
        let answer = Message::Answer { id: ask.id, verdict, value_bytes };
        self.nic.send(ask.client, answer, ctx);
    }

    /// The queue is full.
    fn turn_away(&mut self, _: NodeId, message: Message, ctx: &mut Context<'_, Part>) {
        ctx.indicate(Told::Shed);
        if let Message::Get(ask) = message {
            self.answer(ask, Verdict::Refused, ctx);
        }
        let Some(limit) = self.world.dies_after else { return };
        let now = ctx.now();
        let since = match self.too_much {
            Some((since, last)) if now.since(last).times(10) <= limit => since,
            _ => now,
        };
        self.too_much = Some((since, now));
        if limit <= now.since(since) {
            ctx.indicate(Told::Overwhelmed);
            ctx.reach(OVERWHELMED);
        }
    }
}

/// The point to which a node comes that has had too much for too long.
pub(super) const OVERWHELMED: &str = "overwhelmed";
