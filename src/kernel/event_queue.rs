//! What is going to happen: the events not yet handled, earliest first.
//!
//! Events leave in the order of their time, and among equals in the order in which they were
//! scheduled. That order is total and exact, so a run depends on nothing but its seed. The queue
//! also holds the clock, which moves when an event is taken out and at no other time: handlers
//! find `now` where they schedule what follows.

use std::collections::VecDeque;

use crate::kernel::heap_queue::HeapQueue;
use crate::kernel::time::{SimDuration, SimTime};

/// The clock, and the events that are pending.
#[derive(Debug)]
pub struct EventQueue<E> {
    now: SimTime,
    /// Events scheduled for `now` while it is `now`. Whatever else falls due at this instant was
    /// scheduled before the clock reached it, and so goes first: no need to sort these.
    due_now: VecDeque<E>,
    later: HeapQueue<E>,
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
        Self { now: SimTime::ZERO, due_now: VecDeque::new(), later: HeapQueue::new() }
    }

    /// Schedules `event` for the instant `at`; at [`SimTime::END`] nothing happens, so an event
    /// due then is dropped.
    ///
    /// # Panics
    ///
    /// If `at` lies in the past.
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
    pub fn schedule_after(&mut self, delay: SimDuration, event: E) {
        self.schedule_at(self.now + delay, event);
    }

    /// Takes out the first event and moves the clock to it.
    pub fn pop(&mut self) -> Option<(SimTime, E)> {
        self.pop_until(SimTime::END)
    }

    /// Takes out the first event and moves the clock to it, if it falls due at or before `limit`.
    pub fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, E)> {
        if !self.due_now.is_empty() && self.now <= limit {
            let scheduled_before = self.later.pop_until(self.now);
            return scheduled_before
                .or_else(|| self.due_now.pop_front().map(|event| (self.now, event)));
        }
        let (at, event) = self.later.pop_until(limit)?;
        debug_assert!(self.now <= at, "the clock ran backwards: {at:?} after {:?}", self.now);
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
    use super::*;

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
}
