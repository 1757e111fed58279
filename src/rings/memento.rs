//! MementoHash: jump hash that remembers who is gone.
//!
//! Buckets are jump's, 0 to n - 1. For each removed bucket it remembers how many were left then
//! and which one was removed before it; a key that meets a removed bucket draws one of those that
//! were left, following the memory where that one is gone too. Memory is only for the removed,
//! and the cluster grows without a bound.
//!
//! Coluzzi, Brocco, Antonucci and Leidi, "MementoHash: A Stateful, Minimal Memory, Best
//! Performing Consistent Hash Algorithm", IEEE/ACM ToN 32(4), 2024 (arXiv 2306.09783); details as in
//! SUPSI's library, commit 68803f8. Jump's steps, then 1 + ln(n / w) hashes for w of n buckets
//! left, with long inner walks when most are gone; 12 bytes and their share of an open hash
//! table for each removed bucket, and 4 a bucket for the members.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::jump::jump;
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// `memento` has no parameters.
    pub(super) struct MementoParams {}
}

/// MementoHash.
#[derive(Debug)]
pub(super) struct Memento {
    hasher: Hasher,
    /// The member behind each bucket, for removed buckets the last one.
    members: Vec<u32>,
    removed: Memory,
    /// The bucket that was removed last, or the next one where none is.
    last: u32,
}

/// What is remembered of the removed buckets: an open hash table with linear probing.
#[derive(Debug, Default)]
struct Memory {
    // Invariant: a power of two in length, or empty; at most half full; `bucket` is NONE in free
    // slots.
    slots: Vec<Slot>,
    count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    bucket: u32,
    /// How many buckets were left when it went, which is also the bucket that replaces it.
    left: u32,
    /// The bucket that was removed before it.
    before: u32,
}

impl Memory {
    fn home(&self, bucket: u32) -> usize {
        // Fibonacci hashing: the leading bits of a product.
        let word = bucket.wrapping_mul(0x9e37_79b9);
        ((u64::from(word) * self.slots.len() as u64) >> 32) as usize
    }

    /// Every slot, from the home of `bucket` on.
    fn probes(&self, bucket: u32) -> impl Iterator<Item = usize> + use<> {
        let (home, count) = (self.home(bucket), self.slots.len());
        (0..count).map(move |step| (home + step) & (count - 1))
    }

    fn get(&self, bucket: u32) -> Option<Slot> {
        if self.count == 0 {
            return None;
        }
        let mut slots = self.probes(bucket).map(|index| self.slots[index]);
        slots
            .find(|slot| slot.bucket == bucket || slot.bucket == NONE)
            .filter(|slot| slot.bucket == bucket)
    }

    fn insert(&mut self, slot: Slot) {
        if self.slots.len() <= 2 * self.count as usize {
            let free = Slot { bucket: NONE, left: 0, before: 0 };
            let wider = vec![free; (2 * self.slots.len()).max(8)];
            let old = std::mem::replace(&mut self.slots, wider);
            self.count = 0;
            old.into_iter().filter(|slot| slot.bucket != NONE).for_each(|slot| self.insert(slot));
        }
        let free = self.probes(slot.bucket).find(|&index| self.slots[index].bucket == NONE);
        self.slots[free.expect("half of the slots are free")] = slot;
        self.count += 1;
    }

    fn remove(&mut self, bucket: u32) -> Option<Slot> {
        let found = self.get(bucket)?;
        let mut probes = self.probes(bucket);
        let index = probes.find(|&index| self.slots[index].bucket == bucket);
        self.slots[index.expect("it was found on this way")].bucket = NONE;
        self.count -= 1;
        // Those that follow without a gap may have probed over it: they are put in anew.
        for index in probes {
            let slot = self.slots[index];
            if slot.bucket == NONE {
                break;
            }
            self.slots[index].bucket = NONE;
            self.count -= 1;
            self.insert(slot);
        }
        Some(found)
    }
}

impl Memento {
    /// The bucket of a key; `hashed` hears of each hash after the first.
    fn bucket(&self, key: Key<'_>, mut hashed: impl FnMut()) -> u32 {
        let mut bucket = jump(key.hash, self.members.len() as u32);
        let mut left_before = u32::MAX;
        while let Some(Slot { left, .. }) = self.removed.get(bucket) {
            // Each round leads to a bucket that was removed later, so it ends.
            assert!(left < left_before, "bucket {bucket} went before the one that led there");
            left_before = left;
            hashed();
            let number = (self.hasher.salted(key.bytes, bucket.into()) % u64::from(left)) as u32;
            bucket = self.bucket_of(number, left);
        }
        bucket
    }

    /// The bucket that had number `number` when `left` were left.
    fn bucket_of(&self, number: u32, left: u32) -> u32 {
        let mut bucket = number;
        // No removed bucket is met twice.
        for _ in 0..=self.removed.count {
            match self.removed.get(bucket) {
                Some(slot) if left <= slot.left => bucket = slot.left,
                _ => return bucket,
            }
        }
        unreachable!("the memory of {} removed buckets leads round in a circle", self.removed.count)
    }
}

impl Ring for Memento {
    const ABOUT: About = About {
        name: "memento",
        summary: "MementoHash: jump hash that remembers who is gone: any node may leave",
        source: "Coluzzi et al., IEEE/ACM Transactions on Networking 32(4), 2024",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: false,
        replicas: false,
        bounded: false,
        minimal_disruption: true,
        history_free: false,
    };
    type Params = MementoParams;

    fn fits(_: &MementoParams, _: &Membership) -> Result<(), Unfit> {
        Ok(())
    }

    fn cost(_: &MementoParams, member_count: u32) -> Cost {
        Cost {
            table_bytes: 4 * u64::from(member_count),
            build_steps: member_count.into(),
            lookup_steps: libm::log(f64::from(member_count)) + 1.577,
        }
    }

    fn build(_: &MementoParams, members: &Membership, hasher: Hasher) -> Self {
        let members: Vec<u32> = members.iter().map(|(id, _)| id.0).collect();
        let last = members.len() as u32;
        Self { hasher, members, removed: Memory::default(), last }
    }
}

impl Placement for Memento {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(self.members[self.bucket(key, || ()) as usize])
    }

    fn count_hashes(&self, key: Key<'_>) -> Option<u32> {
        let mut hashes = 1;
        self.bucket(key, || hashes += 1);
        Some(hashes)
    }

    fn replicas(&self, _: Key<'_>, _: usize, _: &mut Vec<MemberId>) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows only one bucket for a key"))
    }

    fn add(&mut self, id: MemberId, _: &Member) -> Result<(), Unsupported> {
        let bucket = self.last;
        match self.removed.remove(bucket) {
            Some(slot) => {
                self.members[bucket as usize] = id.0;
                self.last = slot.before;
            }
            None => {
                assert!(bucket as usize == self.members.len(), "nothing is remembered");
                self.members.push(id.0);
                self.last = bucket + 1;
            }
        }
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        let found = self.members.iter().enumerate().position(|(bucket, &member)| {
            member == id.0 && self.removed.get(bucket as u32).is_none()
        });
        let bucket = found.expect("only a member is removed") as u32;
        let left = self.members.len() as u32 - self.removed.count - 1;
        assert!(0 < left, "the last member never leaves");
        if self.removed.count == 0 && bucket + 1 == self.members.len() as u32 {
            self.members.pop();
        } else {
            self.removed.insert(Slot { bucket, left, before: self.last });
        }
        self.last = bucket;
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: all buckets are alike"))
    }

    fn table_bytes(&self) -> usize {
        4 * self.members.len() + size_of_val(self.removed.slots.as_slice())
    }
}

const NONE: u32 = u32::MAX;
