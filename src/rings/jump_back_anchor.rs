//! JumpBackAnchorHash: JumpBackHash over all buckets that ever were, and AnchorHash's way on from
//! those that are gone.
//!
//! No capacity is set aside: the buckets grow as members join. A key that meets a removed bucket
//! draws one of those that were left just after it went, from the stream that found the bucket.
//!
//! Ertl, hash4j (`JumpBackAnchorHash`, since 0.20; commit 41d814f). About 1.6 draws, then
//! 1 + ln²(n_max / n) for n members where there were n_max; 8 n_max bytes, and 4 for the members.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::jump_back::{Generator, SplitMix64, Words, Xorshift, jump_back};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Parameters of `jump_back_anchor`.
    pub(super) struct JumpBackAnchorParams {
        /// Where the draws come from.
        pub generator: Generator = Generator::SplitMix64,
    }
}

/// JumpBackAnchorHash.
#[derive(Debug)]
pub(super) struct JumpBackAnchor {
    hasher: Hasher,
    generator: Generator,
    buckets: Vec<Bucket>,
    /// The removed buckets, the one that went last at the end.
    removed: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// How many buckets were left when it went; [`ALIVE`] until then.
    left: u32,
    /// The bucket that took its number then; while it lives, its member.
    successor: u32,
}

impl JumpBackAnchor {
    fn working(&self) -> u32 {
        (self.buckets.len() - self.removed.len()) as u32
    }

    /// The bucket that had number `number` when `count` were left.
    fn bucket_of(&self, number: u32, count: u32) -> u32 {
        let mut bucket = number;
        // No removed bucket is met twice.
        for _ in 0..=self.removed.len() {
            let Bucket { left, successor } = self.buckets[bucket as usize];
            if left == ALIVE || left < count {
                return bucket;
            }
            bucket = successor;
        }
        unreachable!("{} removed buckets lead round in a circle", self.removed.len())
    }

    fn member(&self, mut words: impl Words) -> u32 {
        let mut bucket = jump_back(&mut words, self.buckets.len() as u32);
        // Each round leads to a bucket that was removed later.
        for _ in 0..=self.removed.len() {
            let Bucket { left, successor } = self.buckets[bucket as usize];
            if left == ALIVE {
                return successor;
            }
            let word = words.next() & 0xffff_ffff;
            bucket = self.bucket_of(((word * u64::from(left)) >> 32) as u32, left);
        }
        unreachable!("bucket {bucket} was removed after the last of {}", self.removed.len())
    }
}

impl Ring for JumpBackAnchor {
    const ABOUT: About = About {
        name: "jump_back_anchor",
        summary: "JumpBackAnchorHash: constant time, any node may leave, grows without a bound",
        source: "Ertl, hash4j",
        version: "hash4j 41d814f",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: false,
        replicas: false,
        bounded: false,
        minimal_disruption: true,
        history_free: false,
    };
    type Params = JumpBackAnchorParams;

    fn fits(_: &JumpBackAnchorParams, _: &Membership) -> Result<(), Unfit> {
        Ok(())
    }

    fn cost(_: &JumpBackAnchorParams, member_count: u32) -> Cost {
        Cost {
            table_bytes: 8 * u64::from(member_count),
            build_steps: member_count.into(),
            lookup_steps: 2.6,
        }
    }

    fn build(params: &JumpBackAnchorParams, members: &Membership, hasher: Hasher) -> Self {
        let bucket = |(id, _): (MemberId, _)| Bucket { left: ALIVE, successor: id.0 };
        Self {
            hasher,
            generator: params.generator.clone(),
            buckets: members.iter().map(bucket).collect(),
            removed: Vec::new(),
        }
    }
}

impl Placement for JumpBackAnchor {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(match self.generator {
            Generator::SplitMix64 => self.member(SplitMix64::new(key.hash)),
            Generator::Xorshift => self.member(Xorshift::new(key.hash)),
        })
    }

    fn replicas(&self, _: Key<'_>, _: usize, _: &mut Vec<MemberId>) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows only one bucket for a key"))
    }

    fn add(&mut self, id: MemberId, _: &Member) -> Result<(), Unsupported> {
        let bucket = Bucket { left: ALIVE, successor: id.0 };
        match self.removed.pop() {
            Some(restored) => self.buckets[restored as usize] = bucket,
            None => self.buckets.push(bucket),
        }
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        let is_its = |bucket: &Bucket| bucket.left == ALIVE && bucket.successor == id.0;
        let bucket = self.buckets.iter().position(is_its).expect("only a member is removed");
        assert!(1 < self.working(), "the last member never leaves");
        if self.removed.is_empty() && bucket + 1 == self.buckets.len() {
            self.buckets.pop();
        } else {
            let left = self.working() - 1;
            let successor = self.bucket_of(left, left + 1);
            self.removed.push(bucket as u32);
            self.buckets[bucket] = Bucket { left, successor };
        }
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: all buckets are alike"))
    }

    fn table_bytes(&self) -> usize {
        size_of_val(self.buckets.as_slice())
    }
}

const ALIVE: u32 = u32::MAX;
