//! AnchorHash: a fixed array of buckets, of which some are removed; who meets a removed one hashes
//! again, into the buckets that were left just after it went.
//!
//! A[b] is the number of buckets that were left when b was removed, and 0 while b works. A key
//! that meets a removed b draws a number below A[b] and follows K from there to the bucket that
//! had this number at that time. So only keys of the leaver move, in any order of leaving, and a
//! joiner takes the place of the one that left last.
//!
//! Mendelson, Vargaftik, Barabash, Lorenz, Keslassy and Orda, "AnchorHash: A Scalable Consistent
//! Hash", IEEE/ACM ToN 29(2), 2021 (arXiv 1812.09674), algorithms 3 and 4; the compact form, which
//! finds W by following K, as in the authors' repository, commit 3ef98f0. With capacity a and w
//! members: 1 + ln(a / w) hashes on average; 16 a bytes, or 8 a compact, and 4 a for the members.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::capacity::Capacity;
use crate::rings::hash::Hasher;
use crate::rings::modulus::Modulus;
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// How a key that met a removed bucket hashes again.
    pub(super) enum AnchorHashes {
        /// The experiment's hash function, salted with the bucket.
        "salted" => Salted,
        /// The last hash, hashed with the bucket and a constant, as in SUPSI's library.
        "supsi" => Supsi,
        /// The authors' CRC-32C of two words, from each of which the last hash is taken away or
        /// to which it is added.
        "crc32c" => Crc32c,
    }
}

crate::config! {
    /// Which arrays are kept.
    pub(super) enum AnchorForm {
        /// A, K, W and L: a change takes constant time.
        "full" => Full,
        /// A and K: half the memory, and a change follows K.
        "compact" => Compact,
    }
}

crate::config! {
    /// Parameters of `anchor`.
    pub(super) struct AnchorParams {
        /// The buckets that are set aside.
        pub capacity: Capacity = Capacity::Times(2.0),
        /// How a key that met a removed bucket hashes again.
        pub hashes: AnchorHashes = AnchorHashes::Salted,
        /// Which arrays are kept.
        pub form: AnchorForm = AnchorForm::Compact,
    }
}

/// AnchorHash.
#[derive(Debug)]
pub(super) struct Anchor {
    hasher: Hasher,
    hashes: AnchorHashes,
    /// A and K of each bucket, side by side: a look-up reads both.
    buckets: Vec<Bucket>,
    capacity: Modulus,
    /// W and L, in the full form.
    order: Option<Order>,
    /// The removed buckets, the one that went last at the end.
    removed: Vec<u32>,
    working: u32,
    /// The member behind each working bucket.
    members: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// A: how many buckets were left when this one went; 0 while it works.
    left: u32,
    /// K: the bucket that took its number then.
    successor: u32,
}

/// W, the working buckets in their order, and L, the place of each in W.
#[derive(Debug)]
struct Order {
    working: Vec<u32>,
    place: Vec<u32>,
}

impl Anchor {
    /// The bucket that had number `number` when `count` were left.
    fn bucket_of(&self, number: u32, count: u32) -> u32 {
        let mut bucket = number;
        // No removed bucket is met twice.
        for _ in 0..self.buckets.len() {
            let Bucket { left, successor } = self.buckets[bucket as usize];
            if left < count {
                return bucket;
            }
            bucket = successor;
        }
        unreachable!("the removed buckets lead round in a circle");
    }

    /// The bucket of a key that met `bucket`, removed when `left` were left, and drew `hash`.
    #[inline]
    fn onwards(&self, left: u32, hash: u64) -> u32 {
        let next = self.bucket_of((hash % u64::from(left)) as u32, left);
        // So every way ends.
        debug_assert!(self.buckets[next as usize].left < left, "{next} was removed before");
        next
    }

    /// Follows a key that begins at `bucket`; `draw` gives the next hash from the bucket met.
    #[inline]
    fn walk(&self, mut bucket: u32, mut draw: impl FnMut(u32) -> u64) -> u32 {
        // Each round leads to a bucket that was removed later, so it ends.
        loop {
            let left = self.buckets[bucket as usize].left;
            if left == 0 {
                return self.members[bucket as usize];
            }
            bucket = self.onwards(left, draw(bucket));
        }
    }

    /// Apart, so that the way of the default is short.
    #[inline(never)]
    fn locate_otherwise(&self, key: Key<'_>) -> MemberId {
        self.follow(key, || ())
    }

    /// What a key that met `bucket` draws.
    #[inline]
    fn salted(&self, key: Key<'_>, bucket: u32) -> u64 {
        self.hasher.salted(key.bytes, u64::from(bucket) + 1)
    }

    /// The member of a key; `hashed` hears of each hash after the first.
    #[inline]
    fn follow(&self, key: Key<'_>, mut hashed: impl FnMut()) -> MemberId {
        let member = match self.hashes {
            AnchorHashes::Salted => self.walk(self.capacity.of(key.hash) as u32, |bucket| {
                hashed();
                self.salted(key, bucket)
            }),
            AnchorHashes::Supsi => {
                let mut last = self.hasher.salted(key.bytes, SUPSI_SEED);
                self.walk(self.capacity.of(last) as u32, |bucket| {
                    hashed();
                    last = self.hasher.again_at(last, bucket.into(), SUPSI_SEED);
                    last
                })
            }
            AnchorHashes::Crc32c => {
                let (one, two) = (key.hash, self.hasher.salted(key.bytes, 1));
                let mut last = crc32c_word(one, two as u32);
                self.walk(self.capacity.of(last.into()) as u32, |_| {
                    hashed();
                    let word = u64::from(last);
                    last = crc32c_word(one.wrapping_sub(word), two.wrapping_add(word) as u32);
                    last.into()
                })
            }
        };
        MemberId(member)
    }

    fn remove_bucket(&mut self, bucket: u32) {
        let left = self.working - 1;
        let successor = match &mut self.order {
            None => self.bucket_of(left, self.working),
            Some(Order { working, place }) => {
                let last = working[left as usize];
                working[place[bucket as usize] as usize] = last;
                place[last as usize] = place[bucket as usize];
                last
            }
        };
        self.buckets[bucket as usize] = Bucket { left, successor };
        self.removed.push(bucket);
        self.working = left;
    }

    fn restore_bucket(&mut self) -> Option<u32> {
        let bucket = self.removed.pop()?;
        if let Some(Order { working, place }) = &mut self.order {
            let last = working[self.working as usize];
            place[last as usize] = self.working;
            working[place[bucket as usize] as usize] = bucket;
        }
        self.buckets[bucket as usize] = Bucket { left: 0, successor: bucket };
        self.working += 1;
        Some(bucket)
    }
}

impl Ring for Anchor {
    const ABOUT: About = About {
        name: "anchor",
        summary: "AnchorHash: any node may leave, up to a capacity; about one hash a look-up",
        source: "Mendelson et al., IEEE/ACM Transactions on Networking 29(2), 2021",
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
    type Params = AnchorParams;

    fn fits(params: &AnchorParams, members: &Membership) -> Result<(), Unfit> {
        params.capacity.fits(members.len())
    }

    fn cost(params: &AnchorParams, member_count: u32) -> Cost {
        let capacity = params.capacity.buckets(member_count);
        let bytes = match params.form {
            AnchorForm::Full => 20,
            AnchorForm::Compact => 12,
        };
        Cost {
            table_bytes: bytes * u64::from(capacity),
            build_steps: capacity.into(),
            lookup_steps: 2.0 + libm::log(f64::from(capacity) / f64::from(member_count)),
        }
    }

    fn build(params: &AnchorParams, members: &Membership, hasher: Hasher) -> Self {
        let working = members.len() as u32;
        let capacity = params.capacity.buckets(working);
        let identity = || (0..capacity).collect::<Vec<u32>>();
        let bucket = |b: u32| Bucket { left: if b < working { 0 } else { b }, successor: b };
        let mut ids: Vec<u32> = members.iter().map(|(id, _)| id.0).collect();
        ids.resize(capacity as usize, 0);
        Self {
            hasher,
            hashes: params.hashes.clone(),
            buckets: (0..capacity).map(bucket).collect(),
            capacity: Modulus::new(capacity.into()),
            order: match params.form {
                AnchorForm::Full => Some(Order { working: identity(), place: identity() }),
                AnchorForm::Compact => None,
            },
            removed: (working..capacity).rev().collect(),
            working,
            members: ids,
        }
    }
}

impl Placement for Anchor {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        match self.hashes {
            AnchorHashes::Salted => self.follow(key, || ()),
            _ => self.locate_otherwise(key),
        }
    }

    fn locate_all(&self, keys: &[Key<'_>], out: &mut Vec<MemberId>) {
        out.clear();
        if self.hashes != AnchorHashes::Salted {
            out.extend(keys.iter().map(|key| self.locate(*key)));
            return;
        }
        for keys in keys.chunks(BLOCK) {
            let (mut found, mut open, mut open_count) = ([0; BLOCK], [0_u8; BLOCK], 0);
            // Whether the first bucket works is a coin toss. Those that must draw again are put
            // aside without a branch, and the processor guesses wrong once a round, not once a key.
            for (index, key) in keys.iter().enumerate() {
                let bucket = self.capacity.of(key.hash) as u32;
                found[index] = bucket;
                open[open_count % BLOCK] = index as u8;
                open_count += usize::from(self.buckets[bucket as usize].left != 0);
            }
            // Each round leads every open key to a bucket that was removed later, so they end.
            while open_count != 0 {
                let mut still = 0;
                for slot in 0..open_count {
                    let index = usize::from(open[slot]) % BLOCK;
                    let bucket = found[index];
                    let hash = self.salted(keys[index], bucket);
                    let next = self.onwards(self.buckets[bucket as usize].left, hash);
                    found[index] = next;
                    open[still] = index as u8;
                    still += usize::from(self.buckets[next as usize].left != 0);
                }
                open_count = still;
            }
            let buckets = found[..keys.len()].iter();
            out.extend(buckets.map(|bucket| MemberId(self.members[*bucket as usize])));
        }
    }

    fn count_hashes(&self, key: Key<'_>) -> Option<u32> {
        let mut hashes = 1;
        self.follow(key, || hashes += 1);
        Some(hashes)
    }

    fn replicas(&self, _: Key<'_>, _: usize, _: &mut Vec<MemberId>) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows only one bucket for a key"))
    }

    fn add(&mut self, id: MemberId, _: &Member) -> Result<(), Unsupported> {
        let bucket = self.restore_bucket().ok_or_else(|| {
            Unsupported::because(format!("all of its {} buckets are taken", self.buckets.len()))
        })?;
        self.members[bucket as usize] = id.0;
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        assert!(1 < self.working, "the last member never leaves");
        let mut buckets = self.buckets.iter().zip(&self.members);
        let found = buckets.position(|(bucket, &member)| bucket.left == 0 && member == id.0);
        self.remove_bucket(found.expect("only a member is removed") as u32);
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: all buckets are alike"))
    }

    fn table_bytes(&self) -> usize {
        let order = self.order.as_ref().map_or(0, |order| 8 * order.place.len());
        size_of_val(self.buckets.as_slice()) + order + 4 * self.members.len()
    }
}

/// What the instruction CRC32 of x86 gives for `word` from the state `from`: no inversion.
fn crc32c_word(word: u64, from: u32) -> u32 {
    // The crate takes the state with its bits in the order of the polynomial.
    let mut digest = CRC_32C_RAW.digest_with_initial(from.reverse_bits());
    digest.update(&word.to_le_bytes());
    digest.finalize()
}

/// Keys that are looked up together.
const BLOCK: usize = 64;
const SUPSI_SEED: u64 = 0xdead_beef;
static CRC_32C_RAW: crc::Crc<u32> =
    crc::Crc::<u32>::new(&crc::Algorithm { init: 0, xorout: 0, ..crc::CRC_32_ISCSI });
