//! The queue that a quorum queue's log describes: the same on every server that has the same log.
//!
//! Read: rabbitmq-server v3.10.8, v3.13.7 and v4.1.0, `rabbit_fifo.erl`, `rabbit_fifo_q.erl`. What
//! was returned is kept apart and served before what is new, in the order of its return, and counts
//! how often; without a delivery limit a message that is given back goes to the tail instead
//! (`make_requeue`). Left out: credit flow, at-least-once dead-lettering, delivery from followers.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::clock::WallTime;
use crate::model::node::NodeId;

use super::broker::{Bound, Overflow, Return, Turns, expiry};
use super::rabbit::ChannelId;
use super::{Death, Indication, Item, Token};

/// How the queue behaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How often a message may come back; nothing for any number.
    pub(super) delivery_limit: Option<u32>,
    pub(super) bound: Option<Bound>,
    /// How long a message may be ready.
    pub(super) ttl: SimDuration,
    pub(super) dead_letter: bool,
    /// Whether one consumer gets everything, and the others wait for its end.
    pub(super) single_active: bool,
    /// Whether messages of a priority above 4 are served first, two for each other one.
    pub(super) has_priorities: bool,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Op {
    /// A channel will publish, and wants to hear when it should not.
    Register(ChannelId),
    /// A channel publishes; `seq` counts what it has published, from 1.
    Enqueue { channel: ChannelId, seq: u64, item: Item },
    /// A channel takes deliveries, or still does. It has had all that were numbered below `from`.
    Checkout { channel: ChannelId, prefetch: u32, auto_ack: bool, from: u64 },
    /// A channel takes no more.
    Cancel(ChannelId),
    /// Deliveries of a channel are acknowledged.
    Settle(ChannelId, Vec<u64>),
    /// Deliveries of a channel are given back.
    Return(ChannelId, Vec<u64>),
    /// Deliveries of a channel are refused for good.
    Discard(ChannelId, Vec<u64>),
    /// A channel is gone.
    Down(ChannelId, Gone),
    /// A server cannot be reached: its consumers are taken for gone.
    NodeDown(NodeId),
    /// A server has started at this instant: what it had before is gone.
    NodeBoot(NodeId, SimTime),
    /// Time has passed.
    Expire,
}

/// Why a channel is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gone {
    /// Its connection is.
    Closed,
    /// It kept a delivery for too long.
    Late,
}

/// What follows from an entry, for the leader to see to.
#[derive(Clone, Debug)]
pub(super) enum Effect {
    Tell(Indication),
    /// A consumer gets a message.
    Deliver {
        channel: ChannelId,
        id: u64,
        held: Held,
    },
    /// A publisher should stop, or may go on.
    Status(ChannelId, bool),
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Held {
    pub(super) item: Item,
    expires: WallTime,
    /// How often it has come back.
    pub(super) return_count: u32,
}

/// The queue.
#[derive(Clone, Debug)]
pub(super) struct Fifo {
    rules: Rules,
    /// New messages: the urgent, and the others.
    ready: [VecDeque<Held>; 2],
    /// How many urgent ones in a row have been served.
    urgent_run: u32,
    returns: VecDeque<Held>,
    ready_bytes: u64,
    consumers: BTreeMap<ChannelId, Consumer>,
    /// Consumers in the order in which they came.
    order: Vec<ChannelId>,
    turns: Turns<ChannelId>,
    publishers: BTreeMap<ChannelId, Publisher>,
}

#[derive(Clone, Debug)]
struct Consumer {
    prefetch: u32,
    auto_ack: bool,
    is_cancelled: bool,
    next_id: u64,
    held: BTreeMap<u64, Held>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Publisher {
    /// The last of its messages that was taken in.
    last: u64,
    /// Whether it was told to stop.
    is_blocked: bool,
}

impl Op {
    /// The channel that asks for it.
    pub(super) const fn channel(&self) -> Option<ChannelId> {
        match self {
            Self::Register(channel)
            | Self::Enqueue { channel, .. }
            | Self::Checkout { channel, .. }
            | Self::Cancel(channel)
            | Self::Settle(channel, _)
            | Self::Return(channel, _)
            | Self::Discard(channel, _)
            | Self::Down(channel, _) => Some(*channel),
            Self::NodeDown(_) | Self::NodeBoot(..) | Self::Expire => None,
        }
    }
}

impl Fifo {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            ready: [VecDeque::new(), VecDeque::new()],
            urgent_run: 0,
            returns: VecDeque::new(),
            ready_bytes: 0,
            consumers: BTreeMap::new(),
            order: Vec::new(),
            turns: Turns::new(),
            publishers: BTreeMap::new(),
        }
    }

    /// Performs `op`, which the leader appended at `at`. Whether it counts as done: a publish that
    /// comes before its turn does not, and will come again.
    pub(super) fn apply(&mut self, op: &Op, at: WallTime, out: &mut Vec<Effect>) -> bool {
        match *op {
            Op::Register(channel) => {
                let is_blocked = self.is_over();
                self.publishers.entry(channel).or_default().is_blocked = is_blocked;
                if is_blocked {
                    out.push(Effect::Status(channel, true));
                }
            }
            Op::Enqueue { channel, seq, item } => {
                let publisher = self.publishers.entry(channel).or_default();
                if publisher.last + 1 < seq {
                    return false;
                }
                if publisher.last < seq {
                    publisher.last = seq;
                    let expires = expiry(at, self.rules.ttl.min(item.ttl));
                    self.put(Held { item, expires, return_count: 0 });
                    out.push(Effect::Tell(Indication::Stored(item.token())));
                }
            }
            Op::Checkout { channel, prefetch, auto_ack, from } => {
                self.check_out(channel, prefetch, auto_ack, from, out);
            }
            Op::Cancel(channel) => {
                if let Some(consumer) = self.consumers.get_mut(&channel) {
                    consumer.is_cancelled = true;
                }
                self.forget_if_idle(channel);
                self.rejoin_all();
            }
            Op::Settle(channel, ref ids) => {
                for held in self.take(channel, ids) {
                    out.push(Effect::Tell(Indication::Settled(held.item.token())));
                }
            }
            Op::Return(channel, ref ids) => {
                for held in self.take(channel, ids) {
                    self.give_back(held, Return::Given, self.rules.delivery_limit.is_none(), out);
                }
            }
            Op::Discard(channel, ref ids) => {
                for held in self.take(channel, ids) {
                    self.die(held, Death::Rejected, true, out);
                }
            }
            Op::Down(channel, why) => {
                self.publishers.remove(&channel);
                let why = match why {
                    Gone::Closed => Return::Given,
                    Gone::Late => Return::Lapsed,
                };
                self.lose(channel, why, out);
            }
            Op::NodeDown(node) => {
                for channel in self.consumers_at(node) {
                    self.lose(channel, Return::Given, out);
                }
            }
            Op::NodeBoot(node, boot) => {
                let is_old = |channel: &ChannelId| channel.node == node && channel.boot < boot;
                self.publishers.retain(|channel, _| !is_old(channel));
                for channel in self.consumers_at(node).into_iter().filter(is_old) {
                    self.lose(channel, Return::Given, out);
                }
            }
            Op::Expire => (),
        }
        self.serve(at, out);
        self.heed_bound(out);
        true
    }

    /// All that is in the queue: what is ready, in the order in which it will be served, and what
    /// consumers have.
    pub(super) fn holds(&self) -> Indication {
        let ready = self.returns.iter().chain(self.ready.iter().flatten());
        let handed = self.consumers.values().flat_map(|consumer| consumer.held.values());
        let token = |held: &Held| held.item.token();
        Indication::Holds {
            ready: ready.map(token).collect(),
            handed: handed.map(token).collect::<Vec<Token>>(),
        }
    }

    /// Consumers by way of `node`.
    pub(super) fn consumers_at(&self, node: NodeId) -> Vec<ChannelId> {
        self.consumers.keys().filter(|channel| channel.node == node).copied().collect()
    }

    /// Whether there is anything of `node` from before `boot`.
    pub(super) fn has_older(&self, node: NodeId, boot: SimTime) -> bool {
        let all = self.consumers.keys().chain(self.publishers.keys());
        all.into_iter().any(|channel| channel.node == node && channel.boot < boot)
    }

    /// When the next message will be of no use any more.
    pub(super) fn next_expiry(&self) -> Option<WallTime> {
        self.head().map(|held| held.expires).filter(|&at| at < WallTime(i64::MAX))
    }

    fn put(&mut self, held: Held) {
        // 4 is what AMQP 1.0 has as the usual priority.
        let is_urgent = self.rules.has_priorities && 4 < held.item.priority;
        self.ready_bytes += u64::from(held.item.size_bytes);
        self.ready[usize::from(!is_urgent)].push_back(held);
    }

    fn ready_count(&self) -> u64 {
        self.returns.len() as u64 + self.ready.iter().map(|queue| queue.len() as u64).sum::<u64>()
    }

    /// Which of the new messages are served next.
    fn lane(&self) -> usize {
        let is_others_turn = self.urgent_run == URGENT_A_TURN || self.ready[0].is_empty();
        usize::from(is_others_turn && !self.ready[1].is_empty())
    }

    fn head(&self) -> Option<&Held> {
        self.returns.front().or_else(|| self.ready[self.lane()].front())
    }

    fn pop(&mut self) -> Option<Held> {
        let held = match self.returns.pop_front() {
            Some(held) => held,
            None => {
                let lane = self.lane();
                let held = self.ready[lane].pop_front()?;
                let is_urgent = lane == 0;
                self.urgent_run =
                    if is_urgent { (self.urgent_run + 1).min(URGENT_A_TURN) } else { 0 };
                held
            }
        };
        self.ready_bytes -= u64::from(held.item.size_bytes);
        Some(held)
    }

    fn check_out(
        &mut self,
        channel: ChannelId,
        prefetch: u32,
        auto_ack: bool,
        from: u64,
        out: &mut Vec<Effect>,
    ) {
        let is_new = !self.consumers.contains_key(&channel);
        let consumer = self.consumers.entry(channel).or_insert_with(|| Consumer {
            prefetch,
            auto_ack,
            is_cancelled: false,
            next_id: from,
            held: BTreeMap::new(),
        });
        (consumer.prefetch, consumer.auto_ack) = (prefetch, auto_ack);
        consumer.is_cancelled = false;
        // What it was given and never got is sent again.
        for (&id, &held) in consumer.held.range(from..) {
            out.push(Effect::Deliver { channel, id, held });
        }
        if is_new {
            self.order.push(channel);
        }
        self.rejoin_all();
    }

    /// Takes deliveries from a consumer.
    fn take(&mut self, channel: ChannelId, ids: &[u64]) -> Vec<Held> {
        let Some(consumer) = self.consumers.get_mut(&channel) else { return Vec::new() };
        let taken = ids.iter().filter_map(|id| consumer.held.remove(id)).collect();
        self.forget_if_idle(channel);
        self.rejoin(channel);
        taken
    }

    fn give_back(&mut self, held: Held, why: Return, to_tail: bool, out: &mut Vec<Effect>) {
        let held = Held { return_count: held.return_count + 1, ..held };
        if self.rules.delivery_limit.is_some_and(|limit| limit < held.return_count) {
            self.die(held, Death::DeliveryLimit, true, out);
            return;
        }
        let token = held.item.token();
        out.push(Effect::Tell(match why {
            Return::Given => Indication::Returned(token),
            Return::Lapsed => Indication::Lapsed(token),
        }));
        if to_tail {
            self.put(held);
        } else {
            self.ready_bytes += u64::from(held.item.size_bytes);
            self.returns.push_back(held);
        }
    }

    fn die(&self, held: Held, why: Death, was_handed: bool, out: &mut Vec<Effect>) {
        let (token, is_kept) = (held.item.token(), self.rules.dead_letter);
        out.push(Effect::Tell(Indication::Died { token, why, was_handed, is_kept }));
    }

    /// A consumer is gone: what it had comes back.
    fn lose(&mut self, channel: ChannelId, why: Return, out: &mut Vec<Effect>) {
        let Some(consumer) = self.consumers.remove(&channel) else { return };
        self.order.retain(|&other| other != channel);
        self.turns.leave(channel);
        for held in consumer.held.into_values() {
            self.give_back(held, why, false, out);
        }
        self.rejoin_all();
    }

    fn forget_if_idle(&mut self, channel: ChannelId) {
        let consumer = self.consumers.get(&channel);
        if consumer.is_some_and(|consumer| consumer.is_cancelled && consumer.held.is_empty()) {
            self.consumers.remove(&channel);
            self.order.retain(|&other| other != channel);
            self.turns.leave(channel);
        }
    }

    fn rejoin_all(&mut self) {
        for channel in self.order.clone() {
            self.rejoin(channel);
        }
    }

    /// A consumer waits for its turn, if it may have one more.
    fn rejoin(&mut self, channel: ChannelId) {
        let Some(consumer) = self.consumers.get(&channel) else { return };
        let is_active = !self.rules.single_active || self.active() == Some(channel);
        let has_credit = consumer.auto_ack || consumer.held.len() < consumer.prefetch as usize;
        if is_active && has_credit && !consumer.is_cancelled {
            self.turns.join(channel);
        } else {
            self.turns.leave(channel);
        }
    }

    /// The consumer that gets everything, where one does: the longest there.
    fn active(&self) -> Option<ChannelId> {
        self.order.iter().copied().find(|channel| !self.consumers[channel].is_cancelled)
    }

    /// Gives messages to consumers in turn, as long as both last.
    fn serve(&mut self, at: WallTime, out: &mut Vec<Effect>) {
        loop {
            while self.head().is_some_and(|head| head.expires <= at) {
                let held = self.pop().expect("there is a head");
                self.die(held, Death::Expired, false, out);
            }
            if self.head().is_none() {
                return;
            }
            let Some(channel) = self.turns.next() else { return };
            let held = self.pop().expect("there is a head");
            let consumer = self.consumers.get_mut(&channel).expect("who waits is there");
            let id = consumer.next_id;
            consumer.next_id += 1;
            let is_settled = consumer.auto_ack;
            if !is_settled {
                consumer.held.insert(id, held);
            }
            let (token, to, is_redelivered) =
                (held.item.token(), channel.client, 0 < held.return_count);
            out.push(Effect::Tell(Indication::Handed { token, to, is_redelivered, is_settled }));
            out.push(Effect::Deliver { channel, id, held });
            self.rejoin(channel);
        }
    }

    fn is_over(&self) -> bool {
        self.rules.bound.is_some_and(|bound| {
            bound.count_max < self.ready_count() || bound.bytes_max < self.ready_bytes
        })
    }

    /// Sees to it that the queue does not grow too long: lets the oldest go, or tells publishers to
    /// stop. They hear of it when there is one too many already, and until then there may be more.
    fn heed_bound(&mut self, out: &mut Vec<Effect>) {
        let Some(bound) = self.rules.bound else { return };
        if bound.overflow == Overflow::DropHead {
            while self.is_over() {
                let Some(held) = self.pop() else { return };
                self.die(held, Death::Overflow, false, out);
            }
            return;
        }
        let is_over = self.is_over();
        let is_low =
            self.ready_count() <= low(bound.count_max) && self.ready_bytes <= low(bound.bytes_max);
        for (&channel, publisher) in &mut self.publishers {
            let changes = if publisher.is_blocked { is_low } else { is_over };
            if changes {
                publisher.is_blocked = !publisher.is_blocked;
                out.push(Effect::Status(channel, publisher.is_blocked));
            }
        }
    }
}

/// Below which part of its bound a queue lets publishers go on (`rabbit_fifo.hrl`, `LOW_LIMIT`:
/// 0.8).
const fn low(bound: u64) -> u64 {
    bound / 5 * 4 + bound % 5 * 4 / 5
}

/// How many urgent messages are served before another one (`rabbit_fifo_q.erl`, `WEIGHT`).
const URGENT_A_TURN: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::work::tests::item;

    const RULES: Rules = Rules {
        delivery_limit: None,
        bound: None,
        ttl: SimDuration::MAX,
        dead_letter: false,
        single_active: false,
        has_priorities: false,
    };

    fn channel(number: u32) -> ChannelId {
        ChannelId { node: NodeId(0), boot: SimTime::ZERO, number, client: NodeId(9) }
    }

    /// A queue, what it was told and what it delivered, as `2R` for a redelivery.
    struct Run {
        fifo: Fifo,
        effects: Vec<Effect>,
    }

    impl Run {
        fn new(rules: Rules) -> Self {
            Self { fifo: Fifo::new(rules), effects: Vec::new() }
        }

        fn at(&mut self, ms: i64, op: Op) -> bool {
            self.fifo.apply(&op, WallTime(ms * 1_000_000), &mut self.effects)
        }

        fn apply(&mut self, op: Op) -> bool {
            self.at(0, op)
        }

        fn publish(&mut self, serials: std::ops::Range<u64>) {
            for serial in serials {
                let (channel, item) = (channel(100), item(serial));
                assert!(self.apply(Op::Enqueue { channel, seq: serial + 1, item }));
            }
        }

        fn subscribe(&mut self, number: u32, prefetch: u32) {
            let (channel, auto_ack, from) = (channel(number), false, 0);
            self.apply(Op::Checkout { channel, prefetch, auto_ack, from });
        }

        /// What `number` was given since this was asked last.
        fn given(&mut self, number: u32) -> String {
            let mut given = Vec::new();
            self.effects.retain(|effect| match effect {
                Effect::Deliver { channel, held, .. } if channel.number == number => {
                    let flag = if 0 < held.return_count { "R" } else { "" };
                    given.push(format!("{}{flag}", held.item.serial.0));
                    false
                }
                _ => true,
            });
            given.join(" ")
        }

        fn deaths(&self, why: Death) -> Vec<u64> {
            let dead = self.effects.iter().filter_map(|effect| match effect {
                Effect::Tell(Indication::Died { token, why: of, .. }) if *of == why => {
                    Some(token.serial.0)
                }
                _ => None,
            });
            dead.collect()
        }
    }

    /// Of 0 to 7 a consumer with a prefetch of 5 gives back 2, 0 and 3.
    fn nack_2_0_3(rules: Rules) -> String {
        let mut run = Run::new(rules);
        run.publish(0..8);
        run.subscribe(1, 5);
        assert_eq!(run.given(1), "0 1 2 3 4");
        for id in [2, 0, 3] {
            run.apply(Op::Return(channel(1), vec![id]));
        }
        run.apply(Op::Settle(channel(1), (0..20).collect()));
        run.given(1)
    }

    #[test]
    fn without_a_delivery_limit_what_is_given_back_goes_to_the_tail() {
        assert_eq!(nack_2_0_3(RULES), "5 6 7 2R 0R 3R");
    }

    #[test]
    fn with_a_delivery_limit_what_is_given_back_goes_before_what_is_new() {
        // Each comes back at once, since nothing else was returned before.
        assert_eq!(nack_2_0_3(Rules { delivery_limit: Some(20), ..RULES }), "2R 0R 3R 5 6 7");
    }

    #[test]
    fn a_dead_consumers_messages_are_served_first_and_in_order() {
        let mut run = Run::new(RULES);
        run.publish(0..8);
        run.subscribe(1, 3);
        run.subscribe(2, 2);
        run.apply(Op::Down(channel(1), Gone::Closed));
        run.apply(Op::Settle(channel(2), (0..20).collect()));
        run.apply(Op::Settle(channel(2), (0..20).collect()));
        assert_eq!(run.given(2), "3 4 0R 1R 2R 5");
    }

    #[test]
    fn a_limit_of_three_lets_a_message_be_delivered_four_times() {
        let mut run = Run::new(Rules { delivery_limit: Some(3), ..RULES });
        run.publish(0..1);
        run.subscribe(1, 1);
        for id in 0..4 {
            assert!(run.deaths(Death::DeliveryLimit).is_empty());
            run.apply(Op::Return(channel(1), vec![id]));
        }
        assert_eq!(run.given(1), "0 0R 0R 0R");
        assert_eq!(run.deaths(Death::DeliveryLimit), [0]);
    }

    #[test]
    fn a_publish_that_comes_again_counts_once_and_one_too_early_not_yet() {
        let mut run = Run::new(RULES);
        let mut publish =
            |serial, seq| run.apply(Op::Enqueue { channel: channel(100), seq, item: item(serial) });
        assert!(publish(0, 1));
        assert!(!publish(2, 3), "the second is missing");
        assert!(publish(0, 1) && publish(1, 2) && publish(2, 3) && publish(1, 2));
        run.subscribe(1, 9);
        assert_eq!(run.given(1), "0 1 2");
    }

    #[test]
    fn drop_head_keeps_the_newest() {
        let bound = Bound { count_max: 3, bytes_max: u64::MAX, overflow: Overflow::DropHead };
        let mut run = Run::new(Rules { bound: Some(bound), ..RULES });
        run.publish(0..6);
        assert_eq!(run.deaths(Death::Overflow), [0, 1, 2]);
        run.subscribe(1, 9);
        assert_eq!(run.given(1), "3 4 5");
    }

    #[test]
    fn publishers_hear_when_there_is_one_too_many_and_again_when_a_fifth_is_free() {
        let bound = Bound { count_max: 10, bytes_max: u64::MAX, overflow: Overflow::Reject };
        let mut run = Run::new(Rules { bound: Some(bound), ..RULES });
        let status = |run: &Run| {
            let all = run.effects.iter().filter_map(|effect| match effect {
                Effect::Status(_, is_blocked) => Some(*is_blocked),
                _ => None,
            });
            all.collect::<Vec<bool>>()
        };
        run.publish(0..10);
        assert!(status(&run).is_empty());
        run.publish(10..11);
        assert_eq!(status(&run), [true], "eleven are more than ten");
        run.subscribe(1, 2);
        assert_eq!(status(&run), [true], "nine are not few enough");
        run.apply(Op::Settle(channel(1), vec![0]));
        assert_eq!(status(&run), [true, false]);
    }

    #[test]
    fn time_to_live_acts_at_the_head() {
        let mut run = Run::new(Rules { ttl: SimDuration::from_ms(10), ..RULES });
        run.publish(0..2);
        let (channel, item) = (channel(100), item(2));
        run.at(5, Op::Enqueue { channel, seq: 3, item });
        run.at(9, Op::Expire);
        assert!(run.deaths(Death::Expired).is_empty());
        assert_eq!(run.fifo.next_expiry(), Some(WallTime(10_000_000)));
        run.at(10, Op::Expire);
        assert_eq!(run.deaths(Death::Expired), [0, 1]);
    }

    #[test]
    fn a_single_active_consumer_gets_everything_until_it_is_gone() {
        let mut run = Run::new(Rules { single_active: true, ..RULES });
        run.subscribe(1, 2);
        run.subscribe(2, 2);
        run.publish(0..4);
        assert_eq!((run.given(1).as_str(), run.given(2).as_str()), ("0 1", ""));
        run.apply(Op::Down(channel(1), Gone::Closed));
        assert_eq!(run.given(2), "0R 1R");
    }

    #[test]
    fn two_urgent_messages_go_before_each_other_one() {
        let mut run = Run::new(Rules { has_priorities: true, ..RULES });
        for serial in 0..9 {
            let priority = if serial < 4 { 4 } else { 5 };
            let item = Item { priority, ..item(serial) };
            run.apply(Op::Enqueue { channel: channel(100), seq: serial + 1, item });
        }
        run.subscribe(1, 20);
        assert_eq!(run.given(1), "4 5 0 6 7 1 8 2 3");
    }

    #[test]
    fn what_a_consumer_missed_is_sent_again_when_it_says_so() {
        let mut run = Run::new(RULES);
        run.publish(0..3);
        run.subscribe(1, 5);
        run.given(1);
        let (channel, prefetch, auto_ack) = (channel(1), 5, false);
        run.apply(Op::Checkout { channel, prefetch, auto_ack, from: 1 });
        assert_eq!(run.given(1), "1 2");
    }
}
