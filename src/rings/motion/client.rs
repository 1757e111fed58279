//! A client: it routes each request by its own view of the members, waits, and tries again.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::model::node::{Context, Input, NodeId, TimerId};

use super::config::ReadFrom;
use super::protocol::{
    Ask, End, Failure, HELLO_EVERY, Kept, Message, Part, Request, RequestId, Route, Timer, Told,
    Verdict, Want, World, Write,
};
use super::view::View;

#[derive(Debug)]
pub(super) struct Client {
    world: Rc<World>,
    view: Option<Rc<View>>,
    open: BTreeMap<RequestId, Open>,
    // Requests in flight by node, where there is a bound on them; no zeros.
    in_flight: BTreeMap<NodeId, u32>,
}

/// A request that has not ended.
#[derive(Debug)]
struct Open {
    key: u32,
    want: Want,
    /// From 0.
    attempt: u32,
    /// Which of the owners the first attempt asks.
    lead: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// An attempt is under way.
    Asked { node: NodeId, timer: Option<TimerId> },
    /// The next attempt has to wait.
    Pausing,
}

impl Client {
    pub(super) fn new(world: Rc<World>, kept: &Kept) -> Self {
        let view = (!kept.has_run).then(|| world.first.clone());
        Self { world, view, open: BTreeMap::new(), in_flight: BTreeMap::new() }
    }

    pub(super) fn handle(&mut self, input: Input<Part>, ctx: &mut Context<'_, Part>) {
        match input {
            Input::Start => {
                ctx.write(Write::Ran);
                ctx.sync();
                self.say_hello(ctx);
            }
            Input::Timer(Timer::Hello) => self.say_hello(ctx),
            Input::Request(Request::Ask { id, key, want }) => {
                let lead = match self.world.read_from {
                    ReadFrom::First => 0,
                    ReadFrom::Any => ctx.rng().below(u64::from(u32::MAX)) as u32,
                };
                let open = Open { key, want, attempt: 0, lead, state: State::Pausing };
                self.open.insert(id, open);
                self.attempt(id, ctx);
            }
            Input::Message { message: Message::Answer { id, verdict, .. }, .. } => {
                self.answered(id, verdict, ctx);
            }
            Input::Message { message: Message::View(view), .. } => {
                if self.view.as_ref().is_none_or(|held| held.version < view.version) {
                    self.view = Some(view);
                }
            }
            Input::Closed { peer, .. } => {
                let asked =
                    |open: &Open| matches!(open.state, State::Asked { node, .. } if node == peer);
                let lost = self.open.iter().filter(|(_, open)| asked(open)).map(|(&id, _)| id);
                for id in lost.collect::<Vec<_>>() {
                    self.fail(id, Failure::Broken, ctx);
                }
            }
            Input::Timer(Timer::TimedOut { id, attempt }) => {
                let is_current = self.open.get(&id).is_some_and(|open| {
                    open.attempt == attempt && matches!(open.state, State::Asked { .. })
                });
                if is_current {
                    self.fail(id, Failure::TimedOut, ctx);
                }
            }
            Input::Timer(Timer::Again(id)) => self.attempt(id, ctx),
            Input::Message { .. }
            | Input::Overload { .. }
            | Input::Request(_)
            | Input::Timer(_)
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }

    /// Asks for the members until it knows them.
    fn say_hello(&mut self, ctx: &mut Context<'_, Part>) {
        if self.view.is_none() {
            ctx.send(self.world.monitor, Message::Hello);
            ctx.set_timer(HELLO_EVERY, Timer::Hello);
        }
    }

    /// Makes the attempt that is due.
    fn attempt(&mut self, id: RequestId, ctx: &mut Context<'_, Part>) {
        // An answer to an attempt that was given up may have ended it in the meantime.
        let Some(open) = self.open.get(&id) else { return };
        let (key, want, attempt) = (open.key, open.want, open.attempt);
        let Some(view) = self.view.clone() else {
            self.fail(id, Failure::Blind, ctx);
            return;
        };
        let (node, route) = self.choose(&view, open, ctx);
        let value_bytes = match want {
            Want::Read => 0,
            Want::Write => self.world.value_bytes(key),
        };
        let ask = Ask { id, client: ctx.id(), key, want, route, hop_count: 0, value_bytes };
        ctx.send(node, Message::Get(ask));
        if self.world.bound.is_some() {
            *self.in_flight.entry(node).or_default() += 1;
        }
        let timeout = self.world.retry.as_ref().and_then(|retry| retry.timeout);
        let timer = timeout.map(|after| ctx.set_timer(after, Timer::TimedOut { id, attempt }));
        let open = self.open.get_mut(&id).expect("it was there above");
        open.state = State::Asked { node, timer };
    }

    /// Whom to ask, and why.
    fn choose(&self, view: &View, open: &Open, ctx: &mut Context<'_, Part>) -> (NodeId, Route) {
        if let Some(bound) = &self.world.bound {
            let total: u32 = self.in_flight.values().sum();
            let mean = f64::from(total + 1) / view.members().len() as f64;
            let most = libm::ceil(bound.factor * mean);
            let has_room = |node: NodeId| {
                let in_flight = self.in_flight.get(&node).copied().unwrap_or(0);
                f64::from(in_flight + 1) <= most
            };
            let (node, is_spilled) = view.with_room(open.key, &bound.overflow, has_room);
            if is_spilled {
                ctx.indicate(Told::Spilled);
                return (node, Route::Spilled);
            }
            return (node, Route::Direct);
        }
        // Writes go to the first owner, who passes them on; what fails there is tried elsewhere.
        let turn = match open.want {
            Want::Read => open.lead.wrapping_add(open.attempt),
            Want::Write => open.attempt,
        };
        let owners = view.owners(open.key);
        (owners[turn as usize % owners.len()], Route::Direct)
    }

    fn answered(&mut self, id: RequestId, verdict: Verdict, ctx: &mut Context<'_, Part>) {
        let Some(open) = self.open.get(&id) else { return };
        let end = match verdict {
            Verdict::Hit => End::Hit,
            Verdict::Miss => End::Miss,
            Verdict::Written => End::Written,
            Verdict::Absent | Verdict::Refused => {
                // To an attempt that was given up already: the next one is on its way.
                if matches!(open.state, State::Asked { .. }) {
                    let absent = verdict == Verdict::Absent;
                    let why = if absent { Failure::Absent } else { Failure::Refused };
                    self.fail(id, why, ctx);
                }
                return;
            }
        };
        self.leave(id, ctx);
        self.open.remove(&id);
        ctx.indicate(Told::Ended { id, end });
    }

    /// The attempt under way has come to nothing.
    fn fail(&mut self, id: RequestId, why: Failure, ctx: &mut Context<'_, Part>) {
        self.leave(id, ctx);
        ctx.indicate(Told::Attempt(why));
        let open = self.open.get_mut(&id).expect("only an open request fails");
        match &self.world.retry {
            Some(retry) if open.attempt < retry.retries => {
                open.attempt += 1;
                open.state = State::Pausing;
                let pause = retry.pause(open.attempt, ctx.rng());
                ctx.set_timer(pause, Timer::Again(id));
            }
            _ => {
                self.open.remove(&id);
                ctx.indicate(Told::Ended { id, end: End::Failed(why) });
            }
        }
    }

    /// Nothing more is expected of the attempt under way.
    fn leave(&mut self, id: RequestId, ctx: &mut Context<'_, Part>) {
        let open = self.open.get(&id).expect("only an open request is left");
        let State::Asked { node, timer } = &open.state else { return };
        if let Some(timer) = timer {
            ctx.cancel_timer(*timer);
        }
        if let Some(count) = self.in_flight.get_mut(node) {
            *count -= 1;
            if *count == 0 {
                self.in_flight.remove(node);
            }
        }
    }
}
