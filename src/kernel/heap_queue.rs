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

/// Compared by time, then by serial number; no two keys have the same serial number.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    at: SimTime,
    serial: u64,
    event_index: u32,
}

const ARITY: usize = 4;

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
            debug_assert!(self.events[index as usize].is_none(), "event {index} is still pending");
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
        loop {
            let first = hole * ARITY + 1;
            let Some(children) = keys.get(first..keys.len().min(first + ARITY)) else { break };
            let mut least = 0;
            for (index, child) in children.iter().enumerate().skip(1) {
                if *child < children[least] {
                    least = index;
                }
            }
            let Some(child) = children.get(least).copied() else { break };
            if key < child {
                break;
            }
            keys[hole] = child;
            hole = first + least;
        }
        keys[hole] = key;
    }

    /// Puts `key` at its place on the way from the last leaf up.
    fn sift_up(&mut self, key: Key) {
        let mut hole = self.keys.len();
        self.keys.push(key);
        while 0 < hole {
            let parent = (hole - 1) / ARITY;
            if self.keys[parent] < key {
                break;
            }
            self.keys[hole] = self.keys[parent];
            hole = parent;
        }
        self.keys[hole] = key;
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
        // The root's children are the candidates, and perhaps more than that is not there.
        let children = &self.keys[1..self.keys.len().min(1 + ARITY)];
        children.iter().min().map(|key| key.at)
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
