//! A node's network card: what it sends and receives shares its bandwidth.
//!
//! Messages leave one after the other. Copies of data wait in a line of their own, of which one
//! at a time stands among the answers, and so seldom that copies take no more than their share: so
//! an answer waits behind one copy at most. Both ways at once, each with the whole bandwidth.

use std::collections::VecDeque;

use crate::kernel::rng::Probability;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::network::Bandwidth;
use crate::model::node::{Context, NodeId, Wire};

use super::protocol::{Message, Part, Timer};

#[derive(Debug)]
pub(super) struct Nic {
    bandwidth: Option<Bandwidth>,
    /// How many times longer than alone a copy takes the wire: the share, turned over.
    copy_stretch: f64,
    sends_until: SimTime,
    receives_until: SimTime,
    copies: VecDeque<(NodeId, Message)>,
    /// Before this, no copy is sent.
    copies_from: SimTime,
    /// Whether the reminder to send a copy is set.
    is_waiting: bool,
}

impl Nic {
    pub(super) fn new(bandwidth: Option<Bandwidth>, copy_share: Probability) -> Self {
        Self {
            bandwidth,
            copy_stretch: 1.0 / copy_share.as_f64(),
            sends_until: SimTime::ZERO,
            receives_until: SimTime::ZERO,
            copies: VecDeque::new(),
            copies_from: SimTime::ZERO,
            is_waiting: false,
        }
    }

    /// Sends `message` to `to` when the wire is free.
    pub(super) fn send(&mut self, to: NodeId, message: Message, ctx: &mut Context<'_, Part>) {
        let Some(bandwidth) = self.bandwidth else {
            ctx.send(to, message);
            return;
        };
        let takes = bandwidth.time_for(message.size_bytes().into());
        self.sends_until = self.sends_until.max(ctx.now()) + takes;
        ctx.set_timer(self.sends_until.since(ctx.now()), Timer::Depart { to, message });
    }

    /// Sends `copy` to `to` when its turn has come.
    pub(super) fn send_copy(&mut self, to: NodeId, copy: Message, ctx: &mut Context<'_, Part>) {
        if self.bandwidth.is_none() {
            ctx.send(to, copy);
            return;
        }
        self.copies.push_back((to, copy));
        if !self.is_waiting {
            self.is_waiting = true;
            ctx.set_timer(self.copies_from.since(ctx.now()), Timer::NextCopy);
        }
    }

    /// The next copy may be sent.
    pub(super) fn next_copy(&mut self, ctx: &mut Context<'_, Part>) {
        self.is_waiting = false;
        let (Some((to, copy)), Some(bandwidth)) = (self.copies.pop_front(), self.bandwidth) else {
            return;
        };
        let takes = bandwidth.time_for(copy.size_bytes().into());
        let starts = self.sends_until.max(ctx.now());
        self.send(to, copy, ctx);
        let stretched = SimDuration::from_ns_f64(takes.as_ns() as f64 * self.copy_stretch);
        self.copies_from = starts + stretched;
        if !self.copies.is_empty() {
            self.is_waiting = true;
            ctx.set_timer(self.copies_from.since(ctx.now()), Timer::NextCopy);
        }
    }

    /// How long it takes until `bytes` have come in that begin to arrive now.
    pub(super) fn receive(&mut self, bytes: u64, now: SimTime) -> SimDuration {
        let Some(bandwidth) = self.bandwidth else { return SimDuration::ZERO };
        self.receives_until = self.receives_until.max(now) + bandwidth.time_for(bytes);
        self.receives_until.since(now)
    }
}
