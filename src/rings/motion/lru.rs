//! A cache that forgets first what was not asked for the longest, with a size in bytes and an age
//! after which nothing is good.
//!
//! An index by key, and a list through its entries from the most to the least recently used:
//! O(log n) for each call, some 48 bytes an entry.

use std::collections::BTreeMap;

use crate::kernel::time::SimTime;

#[derive(Debug)]
pub(super) struct Lru {
    capacity_bytes: u64,
    used_bytes: u64,
    slot_of: BTreeMap<u32, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    /// The most and the least recently used; [`NONE`] where the cache is empty.
    newest: u32,
    oldest: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    key: u32,
    bytes: u32,
    good_until: SimTime,
    /// The next more and less recently used.
    newer: u32,
    older: u32,
}

impl Lru {
    pub(super) fn new(capacity_bytes: u64) -> Self {
        Self {
            capacity_bytes,
            used_bytes: 0,
            slot_of: BTreeMap::new(),
            entries: Vec::new(),
            free: Vec::new(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// Whether `key` is there and good at `now`; if so, it is the most recently used from now on.
    pub(super) fn touch(&mut self, key: u32, now: SimTime) -> bool {
        let Some(&slot) = self.slot_of.get(&key) else { return false };
        if self.entries[slot as usize].good_until <= now {
            self.forget(key);
            return false;
        }
        self.unlink(slot);
        self.link(slot);
        true
    }

    /// Puts a value of `key` in, and forgets what there is no room for any more. What is larger
    /// than the whole cache is not kept.
    pub(super) fn insert(&mut self, key: u32, bytes: u32, good_until: SimTime) {
        self.forget(key);
        if self.capacity_bytes < u64::from(bytes) {
            return;
        }
        self.used_bytes += u64::from(bytes);
        while self.capacity_bytes < self.used_bytes {
            // Linked below, so the newcomer is not what is forgotten.
            let oldest = self.entries[self.oldest as usize].key;
            self.forget(oldest);
        }
        let entry = Entry { key, bytes, good_until, newer: NONE, older: NONE };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                slot
            }
            None => {
                self.entries.push(entry);
                self.entries.len() as u32 - 1
            }
        };
        self.slot_of.insert(key, slot);
        self.link(slot);
        assert!(self.used_bytes <= self.capacity_bytes, "a cache holds no more than it can");
    }

    fn forget(&mut self, key: u32) {
        if let Some(slot) = self.slot_of.remove(&key) {
            self.unlink(slot);
            self.free.push(slot);
            self.used_bytes -= u64::from(self.entries[slot as usize].bytes);
        }
    }

    fn link(&mut self, slot: u32) {
        let behind = self.newest;
        self.newest = slot;
        self.entries[slot as usize].newer = NONE;
        self.entries[slot as usize].older = behind;
        match behind {
            NONE => self.oldest = slot,
            behind => self.entries[behind as usize].newer = slot,
        }
    }

    fn unlink(&mut self, slot: u32) {
        let Entry { newer, older, .. } = self.entries[slot as usize];
        match newer {
            NONE => self.newest = older,
            newer => self.entries[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.entries[older as usize].newer = newer,
        }
    }
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: SimTime = SimTime::from_ms(10);

    fn held(cache: &mut Lru, keys: std::ops::Range<u32>) -> Vec<u32> {
        keys.filter(|key| cache.slot_of.contains_key(key)).collect()
    }

    #[test]
    fn what_was_not_asked_for_the_longest_is_forgotten_first() {
        let mut cache = Lru::new(30);
        for key in 0..3 {
            cache.insert(key, 10, SimTime::END);
        }
        assert!(cache.touch(0, NOW));
        cache.insert(3, 10, SimTime::END);
        assert_eq!(held(&mut cache, 0..9), [0, 2, 3]);
        // Two must go for a large one.
        cache.insert(4, 20, SimTime::END);
        assert_eq!(held(&mut cache, 0..9), [3, 4]);
        assert_eq!(cache.used_bytes, 30);
    }

    #[test]
    fn what_is_too_old_is_not_there_and_makes_room() {
        let mut cache = Lru::new(10);
        cache.insert(1, 10, NOW);
        assert!(cache.touch(1, SimTime::from_ms(9)));
        assert!(!cache.touch(1, NOW));
        assert_eq!(cache.used_bytes, 0);
    }

    #[test]
    fn what_is_larger_than_the_cache_replaces_nothing_but_itself() {
        let mut cache = Lru::new(10);
        cache.insert(1, 5, SimTime::END);
        cache.insert(2, 5, SimTime::END);
        cache.insert(1, 11, SimTime::END);
        assert_eq!(held(&mut cache, 0..9), [2]);
        cache.insert(2, 3, SimTime::END);
        assert_eq!(cache.used_bytes, 3);
    }
}
