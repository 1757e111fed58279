//! Pending events in a hierarchical wheel: about the same cost for a million as for a thousand.
//!
//! Time is read as a number of eleven digits to the base 64. Events are taken out of the wheel up
//! to a *front*; one beyond it is put away by the highest digit in which its time differs from the
//! front's: the place of that digit is the *level*, its value the *slot* (Varghese and Lauck,
//! "Hashed and Hierarchical Timing Wheels", 1987, scheme 7). So the first occupied slot of the
//! lowest occupied level holds what comes next. If there are few events in it, they are sorted into
//! the *run*, from whose end they leave, and the front moves to the end of the slot; if many, the
//! front moves to the first of them, and they are dealt out to the levels below. What is scheduled
//! before the front later on goes to the *side*, a small heap. While the wheel is empty there is no
//! front, and all goes to the side: a heap is quickest for a handful of events.
//!
//! Equal times always meet in one slot, and a slot keeps the order of arrival: so ties leave first
//! in, first out, without a serial number, as long as sorting is stable. What is in the side has
//! arrived after the run was made, and yields to it.
//!
//! An event is moved once a level at most, in practice two or three times, and a search for the
//! next slot looks at two words. Memory: 8 bytes an event besides the payload, and as much again
//! for the growth of the slots' buffers.

use std::cmp::Reverse;
use std::mem;

use crate::kernel::event_queue::PendingEvents;
use crate::kernel::heap_queue::HeapQueue;
use crate::kernel::time::SimTime;

/// Events in a hierarchical wheel, ordered by (time, insertion).
#[derive(Debug)]
pub struct WheelQueue<E> {
    /// Events at or before it are in the run or the side, all later ones in the wheel.
    front: u64,
    /// The front may be moved back to here, and all levels would still mean the same.
    front_min: u64,
    /// The time of the event taken out last: nothing is inserted before it.
    now: u64,
    /// Latest first, and among equals the one inserted last first.
    run: Vec<Due<E>>,
    side: HeapQueue<E>,
    /// Level by level; in each slot in the order of insertion.
    slots: Vec<Vec<Due<E>>>,
    /// Invariant: a bit is set exactly where a slot is not empty.
    occupied_slots: [u64; LEVEL_COUNT],
    /// Invariant: a bit is set exactly where a level has an occupied slot.
    occupied_levels: u32,
    /// Empty buffers for the slots to come.
    spare: Vec<Vec<Due<E>>>,
    len: usize,
}

#[derive(Debug)]
struct Due<E> {
    at: u64,
    event: E,
}

impl<E> WheelQueue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            front: NO_FRONT,
            front_min: 0,
            now: 0,
            run: Vec::new(),
            side: HeapQueue::new(),
            slots: (0..LEVEL_COUNT * SLOT_COUNT).map(|_| Vec::new()).collect(),
            occupied_slots: [0; LEVEL_COUNT],
            occupied_levels: 0,
            spare: Vec::new(),
            len: 0,
        }
    }

    /// Puts an event beyond the front into its slot.
    fn put(&mut self, due: Due<E>) {
        // On the way of every event, and so not in release: 1 ns of 36.
        debug_assert!(self.front < due.at, "{} is not beyond the front, {}", due.at, self.front);
        let level = (due.at ^ self.front).ilog2() / DIGIT_BITS;
        let digit = digit_of(due.at, level);
        let slot = &mut self.slots[slot_index(level, digit)];
        if slot.capacity() == 0
            && let Some(buffer) = self.spare.pop()
        {
            *slot = buffer;
        }
        slot.push(due);
        self.occupied_slots[level as usize] |= 1 << digit;
        self.occupied_levels |= 1 << level;
    }

    /// Moves what comes next from the wheel to the run, unless its slot begins after `limit`: that
    /// would only drive the front ahead of the clock.
    fn refill(&mut self, limit: u64) {
        assert!(self.run.is_empty(), "{} events would be overtaken", self.run.len());
        assert!(self.side.is_empty(), "{} events would be overtaken", self.side.len());
        let Some((level, digit)) = self.first_slot() else { return };
        let start = self.slot_start(level, digit);
        if limit < start {
            return;
        }
        let mut slot = self.take_slot(level, digit);
        if slot.len() <= RUN_MAX {
            slot.reverse();
            slot.sort_by_key(|due| Reverse(due.at));
            (self.front_min, self.front) = if self.occupied_levels == 0 {
                (0, NO_FRONT)
            } else {
                (start, start | (level_span(level) - 1))
            };
            mem::swap(&mut self.run, &mut slot);
        } else {
            self.front = slot.iter().fold(u64::MAX, |first, due| first.min(due.at));
            self.front_min = self.front;
            for due in slot.drain(..) {
                if due.at == self.front { self.run.push(due) } else { self.put(due) }
            }
            self.run.reverse();
        }
        self.recycle(slot);
    }

    /// Moves the front back to now, and what then lies beyond it into the wheel.
    ///
    /// This is for a front far ahead, say an hour, when events begin to follow each other by
    /// microseconds: they would all go to the side. As the front stands at the end of a slot, the
    /// levels below that slot's are empty; so, wherever in the slot the front is moved to, all that
    /// is in the wheel stays where it belongs.
    #[cold]
    fn spill(&mut self) {
        assert!(self.front_min <= self.now, "{} was not reached", self.front_min);
        self.front = self.now;
        let mut ahead = mem::take(&mut self.run);
        while let Some(due) = ahead.pop().or_else(|| self.pop_side(u64::MAX)) {
            if due.at == self.front { self.run.push(due) } else { self.put(due) }
        }
        self.run.reverse();
        self.recycle(ahead);
    }

    fn put_aside(&mut self, at: SimTime, event: E) {
        self.side.insert(at, event);
        let has_front_to_give_back = self.front_min <= self.now && self.now < self.front;
        if SIDE_MAX < self.side.len() && has_front_to_give_back {
            self.spill();
        }
    }

    fn pop_side(&mut self, limit: u64) -> Option<Due<E>> {
        let (at, event) = self.side.pop_until(SimTime::from_ns(limit))?;
        Some(Due { at: at.as_ns(), event })
    }

    fn take_slot(&mut self, level: u32, digit: u32) -> Vec<Due<E>> {
        let slot = mem::take(&mut self.slots[slot_index(level, digit)]);
        assert!(!slot.is_empty(), "slot {digit} of level {level} is empty, and marked as occupied");
        let occupied = &mut self.occupied_slots[level as usize];
        *occupied &= !(1 << digit);
        if *occupied == 0 {
            self.occupied_levels &= !(1 << level);
        }
        slot
    }

    /// Keeps an empty buffer, unless it is so large that it would be wasted on most slots.
    fn recycle(&mut self, buffer: Vec<Due<E>>) {
        assert!(buffer.is_empty(), "{} events would be lost", buffer.len());
        let is_useful = 0 < buffer.capacity() && buffer.capacity() <= RUN_MAX;
        if is_useful && self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
    }

    /// Level and digit of the slot that holds what comes next in the wheel.
    fn first_slot(&self) -> Option<(u32, u32)> {
        let level = self.occupied_levels.trailing_zeros();
        let occupied = self.occupied_slots.get(level as usize)?;
        Some((level, occupied.trailing_zeros()))
    }

    /// The first instant of a slot: the higher digits of the front, its own, and zeros.
    fn slot_start(&self, level: u32, digit: u32) -> u64 {
        let shift = level * DIGIT_BITS;
        let higher = self.front.checked_shr(shift + DIGIT_BITS).unwrap_or(0) << DIGIT_BITS;
        (higher | u64::from(digit)) << shift
    }
}

impl<E> PendingEvents<E> for WheelQueue<E> {
    #[inline]
    fn insert(&mut self, at: SimTime, event: E) {
        self.len += 1;
        if self.front < at.as_ns() {
            self.put(Due { at: at.as_ns(), event });
        } else {
            self.put_aside(at, event);
        }
    }

    #[inline]
    fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, E)> {
        let limit = limit.as_ns();
        if self.run.is_empty() && self.side.is_empty() {
            self.refill(limit);
        }
        let due = match self.run.last() {
            Some(due) if self.side.next_time().is_none_or(|side| due.at <= side.as_ns()) => {
                if limit < due.at {
                    return None;
                }
                self.run.pop()?
            }
            _ => self.pop_side(limit)?,
        };
        self.len -= 1;
        self.now = due.at;
        Some((SimTime::from_ns(due.at), due.event))
    }

    fn next_time(&self) -> Option<SimTime> {
        let run = self.run.last().map(|due| SimTime::from_ns(due.at));
        if let Some(first) = run.into_iter().chain(self.side.next_time()).min() {
            return Some(first);
        }
        // To look is not to move: a front ahead of the clock would send what is scheduled next to
        // the side.
        let (level, digit) = self.first_slot()?;
        let slot = &self.slots[slot_index(level, digit)];
        slot.iter().map(|due| SimTime::from_ns(due.at)).min()
    }

    fn len(&self) -> usize {
        self.len
    }
}

impl<E> Default for WheelQueue<E> {
    fn default() -> Self {
        Self::new()
    }
}

const fn digit_of(at: u64, level: u32) -> u32 {
    (at >> (level * DIGIT_BITS)) as u32 % SLOT_COUNT as u32
}

/// How much time a slot takes up.
const fn level_span(level: u32) -> u64 {
    1 << (level * DIGIT_BITS)
}

const fn slot_index(level: u32, digit: u32) -> usize {
    level as usize * SLOT_COUNT + digit as usize
}

const DIGIT_BITS: u32 = 6;
/// One bit of a word for each slot of a level.
const SLOT_COUNT: usize = 1 << DIGIT_BITS;
const LEVEL_COUNT: usize = u64::BITS.div_ceil(DIGIT_BITS) as usize;
// Measured by `cargo bench --bench kernel`: 32 and 128 are no quicker.
const RUN_MAX: usize = 64;
// Beyond a dozen events, a heap has no advantage over the wheel.
const SIDE_MAX: usize = 16;
const SPARE_MAX: usize = 64;
/// The front of a wheel that holds nothing. It can be moved back to any instant.
const NO_FRONT: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(wheel: &mut WheelQueue<u64>, times_ns: impl IntoIterator<Item = u64>) {
        for at in times_ns {
            wheel.insert(SimTime::from_ns(at), at);
        }
    }

    fn drain(wheel: &mut WheelQueue<u64>) -> Vec<u64> {
        std::iter::from_fn(|| wheel.pop_until(SimTime::END)).map(|(_, event)| event).collect()
    }

    #[test]
    fn a_front_far_ahead_does_not_turn_the_wheel_into_a_heap() {
        let now = 1 << 42;
        let an_hour_later = now + 3_600_000_000_000;
        let mut wheel = WheelQueue::new();
        insert(&mut wheel, [now, an_hour_later]);
        assert_eq!(wheel.pop_until(SimTime::END), Some((SimTime::from_ns(now), now)));
        assert!(an_hour_later <= wheel.front);
        let burst = || (1..1_000).map(|index| now + index * 1_000);
        insert(&mut wheel, burst());
        assert!(wheel.side.len() <= SIDE_MAX, "{} events in the side", wheel.side.len());
        assert!(drain(&mut wheel).into_iter().eq(burst().chain([an_hour_later])));
    }

    #[test]
    fn a_front_that_nobody_has_reached_stays_where_it_is() {
        let mut wheel = WheelQueue::new();
        // Both in the slot that begins at 128, which is looked into, and found to be too late.
        insert(&mut wheel, [130, 140, 1_000]);
        assert_eq!(wheel.pop_until(SimTime::from_ns(129)), None);
        assert!(140 <= wheel.front);
        insert(&mut wheel, 50..100);
        assert!(drain(&mut wheel).into_iter().eq((50..100).chain([130, 140, 1_000])));
    }

    #[test]
    fn a_front_with_events_dealt_out_beyond_it_stays_where_it_is() {
        let mut wheel = WheelQueue::new();
        // All in the slot that begins at 4096, and too many for a run.
        insert(&mut wheel, 5_000..5_100);
        assert_eq!(wheel.pop_until(SimTime::from_ns(4_500)), None);
        assert_eq!(wheel.front, 5_000);
        insert(&mut wheel, [4_600]);
        assert_eq!(wheel.pop_until(SimTime::END), Some((SimTime::from_ns(4_600), 4_600)));
        insert(&mut wheel, 4_700..4_800);
        assert!(drain(&mut wheel).into_iter().eq((4_700..4_800).chain(5_000..5_100)));
    }

    #[test]
    fn an_idle_wheel_keeps_few_and_small_buffers() {
        let mut wheel = WheelQueue::new();
        insert(&mut wheel, (1..50_000).map(|index| index * 977));
        insert(&mut wheel, std::iter::repeat_n(123_456_789, 50_000));
        insert(&mut wheel, [1 << 40]);
        assert_eq!(drain(&mut wheel).len(), 100_000);
        assert!(wheel.slots.iter().all(|slot| slot.capacity() == 0));
        assert!(wheel.spare.len() <= SPARE_MAX);
        assert!(wheel.spare.iter().chain([&wheel.run]).all(|buffer| buffer.capacity() <= RUN_MAX));
    }
}
