//! Pending events in a 4-ary heap: the plain answer, quick while few events are pending.
//!
//! Four children to a node make the heap half as deep as a binary one, and the four keys compared
//! at each step share one or two cache lines (LaMarca and Ladner, "The Influence of Caches on the
//! Performance of Heaps", 1996). Taking out the first event leaves a hole at the root, which is
//! closed only when somebody looks: a handler mostly schedules the next event at once, and that
//! event can fill the hole with one walk down instead of one down and one up. O(log n) time; 24
//! bytes an event besides the payload, which stays where it is while keys move.

use crate::kernel::event_queue::PendingEvents;
use crate::kernel::time::SimTime;

/// Events in a 4-ary heap, ordered by (time, insertion).
#[derive(Debug)]
pub struct HeapQueue<E> {
    /// Invariant: no key is smaller than its parent, save that `keys[0]` means nothing while
    /// `root_is_hole`.
    keys: Vec<Key>,
    root_is_hole: bool,
    /// Invariant: `Some` exactly where a key points.
    events: Vec<Option<E>>,
    free: Vec<u32>,
    inserted_count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    at: SimTime,
    serial: u64,
    event_index: u32,
}

impl<E> HeapQueue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            keys: Vec::new(),
            root_is_hole: false,
            events: Vec::new(),
            free: Vec::new(),
            inserted_count: 0,
        }
    }

    fn store(&mut self, event: E) -> u32 {
        if let Some(index) = self.free.pop() {
            assert!(self.events[index as usize].is_none(), "event {index} is still pending");
            self.events[index as usize] = Some(event);
            return index;
        }
        self.events.push(Some(event));
        u32::try_from(self.events.len() - 1).expect("memory ends before 2^32 events are pending")
    }

    fn close_hole(&mut self) {
        if self.root_is_hole {
            self.root_is_hole = false;
            let last = self.keys.pop().expect("the hole itself is in the list");
            if !self.keys.is_empty() {
                self.sift_down(last);
            }
        }
    }

    /// Puts `key` at its place on the way from the root, where there is a hole, down.
    fn sift_down(&mut self, key: Key) {
        let keys = &mut self.keys[..];
        let mut hole = 0;
        while let Some(child) = least_child(keys, hole)
            && keys[child].order() < key.order()
        {
            keys[hole] = keys[child];
            hole = child;
        }
        keys[hole] = key;
    }

    /// Puts `key` at its place on the way from the last leaf up.
    fn sift_up(&mut self, key: Key) {
        let mut hole = self.keys.len();
        self.keys.push(key);
        let keys = &mut self.keys[..];
        while let Some(parent) = hole.checked_sub(1).map(|index| index / ARITY)
            && key.order() < keys[parent].order()
        {
            keys[hole] = keys[parent];
            hole = parent;
        }
        keys[hole] = key;
    }
}

impl<E> PendingEvents<E> for HeapQueue<E> {
    fn insert(&mut self, at: SimTime, event: E) {
        let key = Key { at, serial: self.inserted_count, event_index: self.store(event) };
        self.inserted_count += 1;
        if self.root_is_hole {
            self.root_is_hole = false;
            self.sift_down(key);
        } else {
            self.sift_up(key);
        }
    }

    fn pop_until(&mut self, limit: SimTime) -> Option<(SimTime, E)> {
        self.close_hole();
        let first = *self.keys.first()?;
        if limit < first.at {
            return None;
        }
        self.root_is_hole = true;
        self.free.push(first.event_index);
        let event = self.events[first.event_index as usize].take();
        Some((first.at, event.expect("a key in the heap points to an event")))
    }

    fn next_time(&self) -> Option<SimTime> {
        if !self.root_is_hole {
            return self.keys.first().map(|key| key.at);
        }
        least_child(&self.keys, 0).map(|child| self.keys[child].at)
    }

    fn len(&self) -> usize {
        self.keys.len() - usize::from(self.root_is_hole)
    }
}

impl<E> Default for HeapQueue<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl Key {
    /// By time, then by insertion, in one comparison without a branch.
    fn order(self) -> u128 {
        (u128::from(self.at.as_ns()) << 64) | u128::from(self.serial)
    }
}

/// Where the least of the children of `parent` is.
fn least_child(keys: &[Key], parent: usize) -> Option<usize> {
    let first = parent * ARITY + 1;
    let less = |a: usize, b: usize| if keys[b].order() < keys[a].order() { b } else { a };
    if first + ARITY <= keys.len() {
        // As in a knock-out tournament: the two semi-finals do not wait for each other.
        return Some(less(less(first, first + 1), less(first + 2, first + 3)));
    }
    (first..keys.len()).reduce(less)
}

const ARITY: usize = 4;
