//! The monitor: it decides who the members are, and tells everyone.
//!
//! A membership service as ZooKeeper, etcd or Consul keep one. It hears heartbeats, or is told of
//! crashes after a delay; it carries out an administrator's changes; each decision makes a new
//! version of the view, which reaches everyone else late, and each at another time.

use std::rc::Rc;

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::{Context, Input, NodeId};
use crate::model::placement::{Member, MemberId};

use super::config::Detector;
use super::protocol::{
    Cause, Kept, Message, MonitorRole, Order, Part, Request, Timer, Told, World, Write,
};
use super::view::{View, ViewMaker};

#[derive(Debug)]
pub(super) struct Monitor {
    world: Rc<World>,
    role: Rc<MonitorRole>,
    maker: ViewMaker,
    // By the number of a node.
    seats: Vec<Seat>,
    version: u32,
    current: Rc<View>,
}

/// What the monitor knows of a node.
#[derive(Debug)]
struct Seat {
    /// What the administrator wants it to be a member as.
    wanted: Option<Member>,
    is_down: bool,
    /// What the view has it as.
    id: Option<MemberId>,
    heard: SimTime,
}

impl Monitor {
    pub(super) fn new(world: Rc<World>, role: Rc<MonitorRole>, kept: &Kept) -> Self {
        let start = &role.blueprint.start;
        let seats = (0..world.peer_count).map(|number| {
            let id = MemberId(number);
            let wanted = start.get(id).cloned();
            let id = wanted.as_ref().map(|_| id);
            Seat { wanted, is_down: false, id, heard: SimTime::ZERO }
        });
        let mut monitor = Self {
            maker: ViewMaker::new(&role.blueprint),
            seats: seats.collect(),
            version: 0,
            current: world.first.clone(),
            world,
            role,
        };
        if !kept.decisions.is_empty() {
            for cause in &kept.decisions {
                monitor.decide(*cause);
            }
            monitor.make_view();
        }
        monitor
    }

    pub(super) fn handle(&mut self, input: Input<Part>, ctx: &mut Context<'_, Part>) {
        match input {
            Input::Start => {
                // Whoever it does not know to be dead gets the whole time-out.
                for seat in &mut self.seats {
                    seat.heard = ctx.now();
                }
                self.look_again(ctx);
            }
            Input::Message { from, message: Message::Beat, .. } => self.hear_from(from, ctx),
            Input::Message { from, message: Message::Hello, .. } => {
                ctx.send(from, Message::View(self.current.clone()));
                self.hear_from(from, ctx);
            }
            Input::Request(Request::Change(number)) => self.carry_out(Cause::Change(number), ctx),
            Input::Request(Request::Noticed { node, is_up }) => {
                if self.seats[node.index()].is_down == is_up {
                    let cause = if is_up { Cause::Up(node) } else { Cause::Down(node) };
                    self.carry_out(cause, ctx);
                }
            }
            Input::Timer(Timer::Beat) => {
                self.look_for_the_silent(ctx);
                self.look_again(ctx);
            }
            Input::Timer(Timer::Tell(node)) => ctx.send(node, Message::View(self.current.clone())),
            Input::Message { .. }
            | Input::Overload { .. }
            | Input::Request(_)
            | Input::Closed { .. }
            | Input::Timer(_)
            | Input::Synced(_)
            | Input::Signal(_) => (),
        }
    }

    fn look_again(&self, ctx: &mut Context<'_, Part>) {
        if let Detector::Heartbeats(config) = &self.world.detector {
            ctx.set_timer(config.every, Timer::Beat);
        }
    }

    /// A node is alive.
    fn hear_from(&mut self, node: NodeId, ctx: &mut Context<'_, Part>) {
        let Some(seat) = self.seats.get_mut(node.index()) else { return };
        seat.heard = ctx.now();
        if seat.is_down && matches!(self.world.detector, Detector::Heartbeats(_)) {
            self.carry_out(Cause::Up(node), ctx);
        }
    }

    fn look_for_the_silent(&mut self, ctx: &mut Context<'_, Part>) {
        let Detector::Heartbeats(config) = &self.world.detector else { return };
        let timeout = config.timeout;
        for number in 0..self.seats.len() {
            let seat = &self.seats[number];
            if !seat.is_down && timeout < ctx.now().since(seat.heard) {
                self.carry_out(Cause::Down(NodeId(number as u32)), ctx);
            }
        }
    }

    fn carry_out(&mut self, cause: Cause, ctx: &mut Context<'_, Part>) {
        let members_change = self.decide(cause);
        ctx.write(Write::Decided(cause));
        ctx.sync();
        if !members_change {
            return;
        }
        if let Some(why) = self.make_view() {
            ctx.indicate(Told::BuiltAnew(why));
        }
        ctx.indicate(Told::Decided(self.current.clone(), cause));
        for node in self.world.viewers() {
            let after = self.role.spread.draw(ctx.rng());
            if after == SimDuration::ZERO {
                ctx.send(node, Message::View(self.current.clone()));
            } else {
                ctx.set_timer(after, Timer::Tell(node));
            }
        }
    }

    /// Lets `cause` change who the members are, or should be; whether it changes who they are.
    fn decide(&mut self, cause: Cause) -> bool {
        match cause {
            Cause::Down(node) => self.seats[node.index()].is_down = true,
            Cause::Up(node) => self.seats[node.index()].is_down = false,
            Cause::Change(number) => {
                let role = self.role.clone();
                for order in &role.orders[number as usize] {
                    self.obey(order);
                }
            }
        }
        self.seat()
    }

    fn obey(&mut self, order: &Order) {
        match order {
            Order::Join(node, member) => {
                self.seats[node.index()].wanted = Some(member.clone());
            }
            Order::Leave(node) => self.seats[node.index()].wanted = None,
            Order::Weigh(node, weight) => {
                let seat = &mut self.seats[node.index()];
                if let Some(member) = &mut seat.wanted {
                    member.weight = *weight;
                }
                if let Some(id) = seat.id {
                    self.maker.reweight(id, *weight);
                }
                self.version += 1;
            }
        }
    }

    /// Makes members of those that should be, and of nobody else; the last one stays, whatever it
    /// is held for. Whether anything has changed since the last view.
    fn seat(&mut self) -> bool {
        self.unseat();
        for number in 0..self.seats.len() {
            let seat = &mut self.seats[number];
            if let (Some(member), None, false) = (&seat.wanted, seat.id, seat.is_down) {
                seat.id = Some(self.maker.add(NodeId(number as u32), member.clone()));
                self.version += 1;
            }
        }
        // The one that had to stay while there was nobody else.
        self.unseat();
        self.version != self.current.version
    }

    fn unseat(&mut self) {
        for seat in &mut self.seats {
            let Some(id) = seat.id else { continue };
            let should_stay = seat.wanted.is_some() && !seat.is_down;
            if !should_stay && 1 < self.maker.member_count() {
                self.maker.remove(id);
                seat.id = None;
                self.version += 1;
            }
        }
    }

    /// Makes the view of the members as they are; why the placement had to be built anew for it.
    fn make_view(&mut self) -> Option<String> {
        let is_dead = |(_, seat): &(usize, &Seat)| seat.is_down && seat.id.is_none();
        let dead = self.seats.iter().enumerate().filter(is_dead);
        let dead = dead.map(|(number, _)| NodeId(number as u32)).collect();
        let (view, unsupported) = self.maker.view(self.version, dead);
        self.current = view;
        unsupported
    }
}
