//! The core of a broker: the messages of one queue, and the policies by which they come and go.
//!
//! Every product reduces to six choices: in which order messages are kept ([`Order`]), who gets the
//! next one (`Dispatch`, in the product's file, because it is the product's conversation with its
//! consumers), how long a consumer may keep it ([`Lease`]), what counts as its acknowledgement, where
//! one comes back to that was not acknowledged ([`ReturnTo`]), and when a message is safe
//! ([`Durability`]). A [`Store`] does what does not depend on the conversation, and tells the judge
//! of each step.
//!
//! All operations are O(log n) or better in the number of messages, save putting one back to a
//! place that is neither near the head nor near the tail.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::time::SimDuration;
use crate::model::clock::WallTime;
use crate::model::node::{Context, Node, NodeId, Output, SyncId};

use super::{Death, Indication, Item, Token};

/// In which order ready messages are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    /// First in, first out.
    Fifo,
    /// The highest priority first, up to this one; equal ones first in, first out.
    Priority(u8),
}

/// Where a message comes back to that was not acknowledged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReturnTo {
    /// To where it was.
    Original,
}

/// Why a message comes back from a consumer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Return {
    /// It was given back, or the connection is gone.
    Given,
    /// The consumer kept it for too long.
    Lapsed,
}

/// When a message that a producer wants to be safe is safe enough to be confirmed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Durability {
    /// When the operating system has it: the machine may still lose it.
    OsCache,
    /// When it is on disk.
    Synced,
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overflow {
    /// It lets the oldest go.
    DropHead,
    /// It does not take the new one.
    Reject,
}

/// How much a queue holds ready.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Bound {
    /// How many messages.
    pub(super) count_max: u64,
    /// How many bytes of bodies.
    pub(super) bytes_max: u64,
    /// What happens then.
    pub(super) overflow: Overflow,
}

/// Names a copy among those of one broker; rises with each.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct CopyId(pub(super) u64);

/// A copy of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Copy {
    pub(super) id: CopyId,
    pub(super) item: Item,
    /// When it is of no use any more, on the broker's wall clock, which is what products go by
    /// (`rabbit_amqqueue_process.erl`, `calculate_msg_expiry`: `os:system_time`).
    pub(super) expires: WallTime,
    /// Whether it is to survive a restart.
    pub(super) is_durable: bool,
    /// How often it has been delivered and has come back.
    pub(super) return_count: u32,
    /// Whether it may have been delivered before.
    pub(super) is_redelivered: bool,
}

/// The messages of one queue.
#[derive(Clone, Debug)]
pub(super) struct Store {
    order: Order,
    return_to: ReturnTo,
    bound: Option<Bound>,
    /// By priority, the lowest first; within one, by copy.
    ready: Vec<VecDeque<Copy>>,
    ready_count: u64,
    ready_bytes: u64,
    /// What consumers have.
    handed: BTreeMap<CopyId, Copy>,
    handed_bytes: u64,
    next_id: u64,
}

/// What became of a message that was to be stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Admission {
    /// It is ready.
    Stored(CopyId),
    /// The queue is full.
    Refused,
}

/// The judge hears what a store does through the node that it is part of.
pub(super) trait Teller: Node<Indication = Indication> {}
impl<N: Node<Indication = Indication>> Teller for N {}

impl Store {
    pub(super) fn new(order: Order, return_to: ReturnTo, bound: Option<Bound>) -> Self {
        let levels = match order {
            Order::Fifo => 1,
            Order::Priority(highest) => usize::from(highest) + 1,
        };
        Self {
            order,
            return_to,
            bound,
            ready: vec![VecDeque::new(); levels],
            ready_count: 0,
            ready_bytes: 0,
            handed: BTreeMap::new(),
            handed_bytes: 0,
            next_id: 0,
        }
    }

    /// Takes over what survived a restart, in any order, all of it ready, and tells so.
    pub(super) fn recover<N: Teller>(
        &mut self,
        survivors: impl IntoIterator<Item = Copy>,
        ctx: &mut Context<'_, N>,
    ) {
        for copy in survivors {
            self.next_id = self.next_id.max(copy.id.0 + 1);
            self.insert(copy);
        }
        self.tell_all(ctx);
    }

    /// Tells what it holds.
    pub(super) fn tell_all<N: Teller>(&self, ctx: &mut Context<'_, N>) {
        let handed = self.handed.values().map(|copy| copy.item.token()).collect();
        ctx.indicate(Indication::Holds { ready: self.ready_tokens(), handed });
    }

    /// Takes over what another broker may still have too: these are copies of their own from now on.
    pub(super) fn take_over<N: Teller>(
        &mut self,
        copies: impl IntoIterator<Item = Copy>,
        ctx: &mut Context<'_, N>,
    ) {
        for copy in copies {
            self.next_id = self.next_id.max(copy.id.0 + 1);
            self.insert(copy);
            ctx.indicate(Indication::Stored(copy.item.token()));
        }
    }

    /// Takes `item` in, if there is room, as it were at the tail.
    pub(super) fn put<N: Teller>(
        &mut self,
        item: Item,
        is_durable: bool,
        expires: WallTime,
        ctx: &mut Context<'_, N>,
    ) -> Admission {
        let is_full = self.bound.is_some_and(|bound| {
            bound.overflow == Overflow::Reject
                && (bound.count_max < self.ready_count + 1
                    || bound.bytes_max < self.ready_bytes + u64::from(item.size_bytes))
        });
        if is_full {
            return Admission::Refused;
        }
        let id = CopyId(self.next_id);
        self.next_id += 1;
        let (return_count, is_redelivered) = (0, false);
        self.insert(Copy { id, item, expires, is_durable, return_count, is_redelivered });
        ctx.indicate(Indication::Stored(item.token()));
        Admission::Stored(id)
    }

    /// The one that has to go because the queue is too full, if any.
    pub(super) fn overflowing(&mut self) -> Option<Copy> {
        let bound = self.bound.filter(|bound| bound.overflow == Overflow::DropHead)?;
        if self.ready_count <= bound.count_max && self.ready_bytes <= bound.bytes_max {
            return None;
        }
        self.pop(self.head_level()?)
    }

    /// The head, if its time is over at `now`. Those behind it are not looked at.
    pub(super) fn expired(&mut self, now: WallTime) -> Option<Copy> {
        let level = self.head_level()?;
        if self.ready[level].front().is_some_and(|head| head.expires <= now) {
            return self.pop(level);
        }
        None
    }

    /// When the head will be of no use any more.
    pub(super) fn next_expiry(&self) -> Option<WallTime> {
        let head = self.ready[self.head_level()?].front()?;
        Some(head.expires).filter(|&at| at < NEVER)
    }

    /// The level of the head: the most urgent that has any. Whatever concerns the head of a priority
    /// queue concerns that one, so a full queue lets the most urgent go, and what is less urgent
    /// outlives its time behind it (`rabbit_priority_queue.erl`, `drop`, `dropwhile`, `find2`).
    fn head_level(&self) -> Option<usize> {
        self.ready.iter().rposition(|level| !level.is_empty())
    }

    /// Hands the head to `to`; it is settled by that where `is_settled`.
    pub(super) fn hand<N: Teller>(
        &mut self,
        to: NodeId,
        is_settled: bool,
        ctx: &mut Context<'_, N>,
    ) -> Option<Copy> {
        let copy = self.pop(self.head_level()?)?;
        if !is_settled {
            self.handed_bytes += u64::from(copy.item.size_bytes);
            self.handed.insert(copy.id, copy);
        }
        let (token, is_redelivered) = (copy.item.token(), copy.is_redelivered);
        ctx.indicate(Indication::Handed { token, to, is_redelivered, is_settled });
        Some(copy)
    }

    /// A consumer has acknowledged it. `None` where it is not with one.
    pub(super) fn settle<N: Teller>(
        &mut self,
        id: CopyId,
        ctx: &mut Context<'_, N>,
    ) -> Option<Copy> {
        let copy = self.withdraw(id)?;
        ctx.indicate(Indication::Settled(copy.item.token()));
        Some(copy)
    }

    /// It comes back from a consumer.
    pub(super) fn take_back<N: Teller>(
        &mut self,
        id: CopyId,
        why: Return,
        ctx: &mut Context<'_, N>,
    ) {
        let Some(mut copy) = self.withdraw(id) else { return };
        copy.is_redelivered = true;
        copy.return_count += 1;
        match self.return_to {
            ReturnTo::Original => self.insert(copy),
        }
        let token = copy.item.token();
        ctx.indicate(match why {
            Return::Given => Indication::Returned(token),
            Return::Lapsed => Indication::Lapsed(token),
        });
    }

    /// It leaves the queue without an acknowledgement, though it is with a consumer.
    pub(super) fn withdraw(&mut self, id: CopyId) -> Option<Copy> {
        let copy = self.handed.remove(&id)?;
        self.handed_bytes -= u64::from(copy.item.size_bytes);
        Some(copy)
    }

    /// How many are ready.
    pub(super) fn ready_count(&self) -> u64 {
        self.ready_count
    }

    /// How many bytes the bodies of all messages take that the queue holds.
    pub(super) fn bytes(&self) -> u64 {
        self.ready_bytes + self.handed_bytes
    }

    /// All that are ready, in the order in which they will be served.
    pub(super) fn ready(&self) -> impl Iterator<Item = &Copy> {
        self.ready.iter().rev().flatten()
    }

    /// All that it holds.
    pub(super) fn all(&self) -> impl Iterator<Item = &Copy> {
        self.ready().chain(self.handed.values())
    }

    fn ready_tokens(&self) -> Vec<Token> {
        self.ready().map(|copy| copy.item.token()).collect()
    }

    fn insert(&mut self, copy: Copy) {
        let level = match self.order {
            Order::Fifo => 0,
            Order::Priority(highest) => usize::from(copy.item.priority.min(highest)),
        };
        let queue = &mut self.ready[level];
        let at = match queue.back() {
            Some(last) if copy.id < last.id => queue.partition_point(|other| other.id < copy.id),
            _ => queue.len(),
        };
        queue.insert(at, copy);
        self.ready_count += 1;
        self.ready_bytes += u64::from(copy.item.size_bytes);
    }

    fn pop(&mut self, level: usize) -> Option<Copy> {
        let copy = self.ready[level].pop_front()?;
        self.ready_count -= 1;
        self.ready_bytes -= u64::from(copy.item.size_bytes);
        Some(copy)
    }
}

/// What is stored at `now` and is of use for `ttl` is of none from then on.
pub(super) fn expiry(now: WallTime, ttl: SimDuration) -> WallTime {
    i64::try_from(ttl.as_ns()).map_or(NEVER, |ttl| WallTime(now.0.saturating_add(ttl)))
}

/// No clock shows this.
const NEVER: WallTime = WallTime(i64::MAX);

/// Tells the judge that `copy` died of `why`.
pub(super) fn tell_death<N: Teller>(
    copy: &Copy,
    why: Death,
    was_handed: bool,
    is_kept: bool,
    ctx: &mut Context<'_, N>,
) {
    ctx.indicate(Indication::Died { token: copy.item.token(), why, was_handed, is_kept });
}

/// Consumers that may be given a message, each in its turn (`rabbit_queue_consumers.erl`): who has
/// been given one goes to the end, and so does who may be given one again.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns<C> {
    waiting: VecDeque<C>,
}

impl<C: PartialEq + std::marker::Copy> Turns<C> {
    pub(super) fn new() -> Self {
        Self { waiting: VecDeque::new() }
    }

    /// `who` may be given a message, if not already.
    pub(super) fn join(&mut self, who: C) {
        if !self.waiting.contains(&who) {
            self.waiting.push_back(who);
        }
    }

    /// `who` may be given none.
    pub(super) fn leave(&mut self, who: C) {
        self.waiting.retain(|&other| other != who);
    }

    /// Whose turn it is; who may be given another one has to join again.
    pub(super) fn next(&mut self) -> Option<C> {
        self.waiting.pop_front()
    }
}

/// Syncs one after the other, each for all that was written before it: who has waited for an earlier
/// one has waited for the later one too, so one sync does for all that came while another was under
/// way. For a part of a node that asks for a sync with every write.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupCommit {
    is_under_way: bool,
    wanted: Option<SyncId>,
}

impl GroupCommit {
    /// What was written so far is to be synced.
    pub(super) fn want<N: Node>(&mut self, id: SyncId, ctx: &mut Context<'_, N>) {
        self.wanted = Some(id);
        self.go_on(ctx);
    }

    /// That sync is done.
    pub(super) fn synced<N: Node>(&mut self, ctx: &mut Context<'_, N>) {
        self.is_under_way = false;
        self.go_on(ctx);
    }

    fn go_on<N: Node>(&mut self, ctx: &mut Context<'_, N>) {
        if !self.is_under_way
            && let Some(id) = self.wanted.take()
        {
            self.is_under_way = true;
            ctx.put_out(Output::Sync(id));
        }
    }
}

/// How long a consumer may keep a message that it does not acknowledge.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lease {
    /// As long as its connection stands, and at most so long.
    Connection(SimDuration),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queues::work::tests::item;

    /// A store of priorities up to 5 and of at most so many messages, with these in it: each with its
    /// priority and how many seconds it is of use.
    fn store(count_max: u64, messages: &[(u8, i64)]) -> Store {
        let bound = Bound { count_max, bytes_max: u64::MAX, overflow: Overflow::DropHead };
        let mut store = Store::new(Order::Priority(5), ReturnTo::Original, Some(bound));
        for (number, &(priority, secs)) in (0..).zip(messages) {
            store.insert(Copy {
                id: CopyId(number),
                item: Item { priority, ..item(number) },
                expires: WallTime(secs * 1_000_000_000),
                is_durable: true,
                return_count: 0,
                is_redelivered: false,
            });
        }
        store
    }

    /// The numbers of all that `next` takes, in its order.
    fn taken(mut next: impl FnMut() -> Option<Copy>) -> Vec<u64> {
        std::iter::from_fn(|| next().map(|copy| copy.item.serial.0)).collect()
    }

    #[test]
    fn the_most_urgent_is_served_first_none_is_0_and_more_than_the_most_is_the_most() {
        let mut store = store(9, &[(0, 9), (1, 9), (5, 9), (200, 9), (5, 9), (1, 9)]);
        let served = taken(|| store.head_level().and_then(|level| store.pop(level)));
        assert_eq!(served, [2, 3, 4, 1, 5, 0]);
    }

    #[test]
    fn a_message_that_comes_back_takes_its_old_place_within_its_priority() {
        let mut store = store(9, &[(1, 9), (2, 9), (2, 9)]);
        let first = store.pop(2).expect("there are two");
        store.insert(first);
        assert_eq!(taken(|| store.head_level().and_then(|level| store.pop(level))), [1, 2, 0]);
    }

    #[test]
    fn a_full_priority_queue_lets_the_most_urgent_go() {
        let mut store = store(2, &[(0, 9), (3, 9), (5, 9), (5, 9)]);
        assert_eq!(taken(|| store.overflowing()), [2, 3]);
        assert_eq!(store.ready_count, 2);
    }

    #[test]
    fn what_is_less_urgent_outlives_its_time_behind_what_is_more_urgent() {
        let mut store = store(9, &[(0, 1), (3, 8), (5, 1)]);
        assert_eq!(store.next_expiry(), Some(WallTime(1_000_000_000)));
        assert_eq!(taken(|| store.expired(WallTime(2_000_000_000))), [2]);
        assert_eq!(store.next_expiry(), Some(WallTime(8_000_000_000)));
        assert_eq!(taken(|| store.expired(WallTime(8_000_000_000))), [1, 0]);
        assert_eq!(store.next_expiry(), None);
    }
}
