//! What is going to happen: the events not yet handled, earliest first.
//!
//! Events leave in the order of their time, and among equals in the order in which they were
//! scheduled. That order is total and exact, so a run depends on nothing but its seed. The queue
//! also holds the clock, which moves when an event is taken out and at no other time: handlers
//! find `now` where they schedule what follows.

use std::collections::VecDeque;

use crate::kernel::time::{SimDuration, SimTime};
use crate::kernel::wheel_queue::WheelQueue;

/// The clock, and the events that are pending.
#[derive(Debug)]
pub struct EventQueue<E> {
    now: SimTime,
    /// Events scheduled for `now` while it is `now`. Whatever else falls due at this instant was
    /// scheduled before the clock reached it, and so goes first: no need to sort these.
    due_now: VecDeque<E>,
    later: WheelQueue<E>,
}

/// A collection of events that gives them back in the order of (time, insertion).
///
/// Times are never earlier than that of the event taken out last.
pub trait PendingEvents<E> {
    /// Adds an event that falls due at `at`.
    fn insert(&mut self, at: SimTime, event: E);

    /// Takes out the first event, if it falls due at or before `limit`.
    fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, E)>;

    /// When the first event falls due.
    fn next_time(&self) -> Option<SimTime>;

    /// How many events are pending.
    fn len(&self) -> usize;

    /// Whether nothing is pending.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> EventQueue<E> {
    /// An empty queue whose clock stands at [`SimTime::ZERO`].
    pub fn new() -> Self {
        Self { now: SimTime::ZERO, due_now: VecDeque::new(), later: WheelQueue::new() }
    }

    /// Schedules `event` for the instant `at`; at [`SimTime::END`] nothing happens, so an event
    /// due then is dropped.
    ///
    /// # Panics
    ///
    /// If `at` lies in the past.
    #[inline]
    pub fn schedule_at(&mut self, at: SimTime, event: E) {
        let now = self.now;
        assert!(now <= at, "scheduled in the past: {at:?}, and now is {now:?}");
        if at == SimTime::END {
            return;
        }
        if at == now {
            self.due_now.push_back(event);
        } else {
            self.later.insert(at, event);
        }
    }

    /// Schedules `event` for `delay` from now.
    #[inline]
    pub fn schedule_after(&mut self, delay: SimDuration, event: E) {
        self.schedule_at(self.now + delay, event);
    }

    /// Takes out the first event and moves the clock to it.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        self.pop_until(SimTime::END)
    }

    /// Takes out the first event and moves the clock to it, if it falls due at or before `limit`.
    #[inline]
    pub fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, E)> {
        if !self.due_now.is_empty() && self.now <= limit {
            let scheduled_before = self.later.pop_until(self.now);
            return scheduled_before
                .or_else(|| self.due_now.pop_front().map(|event| (self.now, event)));
        }
        let (at, event) = self.later.pop_until(limit)?;
        assert!(self.now <= at, "the clock ran backwards: {at:?} after {:?}", self.now);
        self.now = at;
        Some((at, event))
    }

    /// Moves the clock to `at` without anything happening on the way.
    ///
    /// # Panics
    ///
    /// If `at` lies in the past, or an event is pending that falls due at `at` or before.
    pub fn advance_to(&mut self, at: SimTime) {
        let now = self.now;
        assert!(now <= at, "the clock cannot go back to {at:?}, as now is {now:?}");
        if let Some(next) = self.next_time() {
            assert!(at < next, "the clock cannot go to {at:?}: an event is due at {next:?}");
        }
        self.now = at;
    }

    /// The present instant: the time of the event taken out last.
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// When the first event falls due.
    pub fn next_time(&self) -> Option<SimTime> {
        if self.due_now.is_empty() { self.later.next_time() } else { Some(self.now) }
    }

    /// How many events are pending.
    pub fn len(&self) -> usize {
        self.due_now.len() + self.later.len()
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<E> Default for EventQueue<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::kernel::heap_queue::HeapQueue;
    use crate::kernel::rng::Seed;

    fn drain(queue: &mut EventQueue<u32>) -> Vec<(u64, u32)> {
        std::iter::from_fn(|| queue.pop()).map(|(at, event)| (at.as_ns(), event)).collect()
    }

    #[test]
    fn events_leave_by_time_and_equals_in_the_order_of_scheduling() {
        let mut queue = EventQueue::new();
        for (at, event) in [(5, 0), (3, 1), (5, 2), (0, 3), (3, 4), (5, 5)] {
            queue.schedule_at(SimTime::from_ns(at), event);
        }
        assert_eq!(queue.len(), 6);
        assert_eq!(drain(&mut queue), [(0, 3), (3, 1), (3, 4), (5, 0), (5, 2), (5, 5)]);
        assert!(queue.is_empty());
    }

    #[test]
    fn an_event_scheduled_for_now_goes_behind_those_scheduled_earlier_for_the_same_instant() {
        let mut queue = EventQueue::new();
        queue.schedule_at(SimTime::from_ns(7), 0);
        queue.schedule_at(SimTime::from_ns(7), 1);
        assert_eq!(queue.pop(), Some((SimTime::from_ns(7), 0)));
        queue.schedule_after(SimDuration::ZERO, 2);
        queue.schedule_after(SimDuration::from_ns(1), 3);
        assert_eq!(drain(&mut queue), [(7, 1), (7, 2), (8, 3)]);
    }

    #[test]
    fn the_clock_stands_at_the_event_taken_out_last() {
        let mut queue = EventQueue::new();
        queue.schedule_after(SimDuration::from_ns(3), 0);
        assert_eq!(queue.now(), SimTime::ZERO);
        assert_eq!(queue.next_time(), Some(SimTime::from_ns(3)));
        queue.pop();
        assert_eq!(queue.now(), SimTime::from_ns(3));
        assert_eq!(queue.pop(), None);
        assert_eq!(queue.now(), SimTime::from_ns(3));
    }

    #[test]
    fn what_is_due_after_the_limit_stays() {
        let mut queue = EventQueue::new();
        queue.schedule_at(SimTime::from_ns(5), 0);
        assert_eq!(queue.pop_until(SimTime::from_ns(4)), None);
        assert_eq!(queue.pop_until(SimTime::from_ns(5)), Some((SimTime::from_ns(5), 0)));
        queue.schedule_after(SimDuration::ZERO, 1);
        assert_eq!(queue.pop_until(SimTime::from_ns(4)), None);
        assert_eq!(drain(&mut queue), [(5, 1)]);
    }

    #[test]
    fn nothing_happens_at_the_end_of_time() {
        let mut queue = EventQueue::new();
        queue.schedule_after(SimDuration::MAX, 0);
        queue.schedule_at(SimTime::END, 1);
        queue.schedule_at(SimTime::from_ns(u64::MAX - 1), 2);
        assert_eq!(drain(&mut queue), [(u64::MAX - 1, 2)]);
    }

    #[test]
    #[should_panic(expected = "scheduled in the past: SimTime(4), and now is SimTime(5)")]
    fn the_past_is_closed() {
        let mut queue = EventQueue::new();
        queue.schedule_at(SimTime::from_ns(5), 0);
        queue.pop();
        queue.schedule_at(SimTime::from_ns(4), 1);
    }

    #[test]
    #[should_panic(expected = "an event is due at SimTime(5)")]
    fn the_clock_does_not_pass_a_pending_event() {
        let mut queue = EventQueue::new();
        queue.schedule_at(SimTime::from_ns(5), 0);
        queue.advance_to(SimTime::from_ns(5));
    }

    /// The plainest queue there is: what the others are measured against.
    #[derive(Default)]
    struct SortedList {
        events: BTreeMap<(SimTime, u32), u32>,
        serial: u32,
    }

    impl PendingEvents<u32> for SortedList {
        fn insert(&mut self, at: SimTime, event: u32) {
            self.events.insert((at, self.serial), event);
            self.serial += 1;
        }

        fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, u32)> {
            let first = self.events.first_entry()?;
            let at = first.key().0;
            (at <= limit).then(|| (at, first.remove()))
        }

        fn next_time(&self) -> Option<SimTime> {
            self.events.first_key_value().map(|((at, _), _)| *at)
        }

        fn len(&self) -> usize {
            self.events.len()
        }
    }

    /// The door itself, with its own way for events that are due now.
    impl PendingEvents<u32> for EventQueue<u32> {
        fn insert(&mut self, at: SimTime, event: u32) {
            self.schedule_at(at, event);
        }

        fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, u32)> {
            EventQueue::pop_until(self, limit)
        }

        fn next_time(&self) -> Option<SimTime> {
            EventQueue::next_time(self)
        }

        fn len(&self) -> usize {
            EventQueue::len(self)
        }
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert { delay: u64, count: u32 },
        Pop { count: u32 },
        PopWithin { delay: u64 },
        Look,
    }

    fn delay() -> impl Strategy<Value = u64> {
        prop_oneof![
            2 => Just(0),
            3 => 0..5_u64,
            3 => 0..300_u64,
            3 => 0..1_u64 << 20,
            2 => 0..1_u64 << 40,
            1 => (0..64_u32).prop_map(|bit| 1 << bit),
            1 => any::<u64>(),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => delay().prop_map(|delay| Step::Insert { delay, count: 1 }),
            1 => (delay(), 2..200_u32).prop_map(|(delay, count)| Step::Insert { delay, count }),
            6 => Just(Step::Pop { count: 1 }),
            1 => (2..200_u32).prop_map(|count| Step::Pop { count }),
            2 => delay().prop_map(|delay| Step::PopWithin { delay }),
            1 => Just(Step::Look),
        ]
    }

    /// Takes `steps` with `queue` and with a sorted list, and compares whatever they say.
    fn agrees_with_a_sorted_list(mut queue: impl PendingEvents<u32>, start: u64, steps: &[Step]) {
        let mut list = SortedList::default();
        let mut now = SimTime::from_ns(start);
        queue.insert(now, u32::MAX);
        assert_eq!(queue.pop_until(now), Some((now, u32::MAX)));
        let pop_both = |queue: &mut dyn PendingEvents<u32>, list: &mut SortedList, limit| {
            let first = list.pop_until(limit);
            assert_eq!(queue.pop_until(limit), first);
            first.map(|(at, _)| at)
        };
        for step in steps {
            match *step {
                Step::Insert { delay, count } => {
                    // The last instant before the end, at which nothing happens.
                    let at = now.as_ns().saturating_add(delay).min(u64::MAX - 1);
                    for _ in 0..count {
                        queue.insert(SimTime::from_ns(at), list.serial);
                        list.insert(SimTime::from_ns(at), list.serial);
                    }
                }
                Step::Pop { count } => {
                    for _ in 0..count {
                        now = pop_both(&mut queue, &mut list, SimTime::END).unwrap_or(now);
                    }
                }
                Step::PopWithin { delay } => {
                    let limit = now + SimDuration::from_ns(delay);
                    now = pop_both(&mut queue, &mut list, limit).unwrap_or(now);
                }
                Step::Look => assert_eq!(queue.next_time(), list.next_time()),
            }
            assert_eq!(queue.len(), list.len());
        }
        while pop_both(&mut queue, &mut list, SimTime::END).is_some() {}
        assert!(queue.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn every_queue_agrees_with_a_sorted_list(
            start in prop_oneof![Just(0), any::<u64>(), u64::MAX - 300..u64::MAX],
            steps in prop::collection::vec(step(), 1..300),
        ) {
            let start = start.min(u64::MAX - 1);
            agrees_with_a_sorted_list(HeapQueue::new(), start, &steps);
            agrees_with_a_sorted_list(WheelQueue::new(), start, &steps);
            agrees_with_a_sorted_list(EventQueue::new(), start, &steps);
        }
    }

    #[test]
    fn wheel_and_heap_agree_however_many_events_are_pending_and_however_far_apart() {
        let mut rng = Seed(1).stream("delays", "queue");
        for pending_count in [1, 3, 17, 70, 1_000, 20_000] {
            for reach in [1, 10, 1_000, 1_000_000, 1 << 40] {
                let mut heap = HeapQueue::new();
                let mut wheel = EventQueue::new();
                let mut schedule = |heap: &mut HeapQueue<u64>, wheel: &mut EventQueue<u64>| {
                    // One in eight goes a thousand times as far: timers among messages.
                    let far = if rng.below(8) == 0 { 1_000 } else { 1 };
                    let delay = rng.below(reach) * far;
                    let at = wheel.now() + SimDuration::from_ns(delay);
                    heap.insert(at, delay);
                    wheel.schedule_at(at, delay);
                };
                for _ in 0..pending_count {
                    schedule(&mut heap, &mut wheel);
                }
                for _ in 0..pending_count * 2 + 2_000 {
                    assert_eq!(wheel.pop(), heap.pop_until(SimTime::END));
                    schedule(&mut heap, &mut wheel);
                }
            }
        }
    }
}
