//! DxHash: draw numbers below the capacity until one is a live bucket.
//!
//! The draws of a key are always the same, so a bucket that dies moves only its own keys, each to
//! the next live bucket of its sequence, and one that comes back takes only those. Where all
//! buckets are taken, the capacity doubles, and half the draws of every key move.
//!
//! Dong and Wang, "DxHash: A Scalable Consistent Hash Based on the Pseudo-Random Sequence", 2021
//! (arXiv 2107.07930). The authors' code gives up after 4 a draws and has then no node for a key
//! (seen: 11 of 13,300 look-ups); here the draws are bounded, and a key that has had them all
//! takes the next live bucket after its last draw. a / w draws on average for capacity a and w
//! members; one bit a bucket, and 4 bytes for its member.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::capacity::Capacity;
use crate::rings::hash::{Hasher, mix, splitmix64};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Where the draws of a key come from.
    pub(super) enum DxDraws {
        /// A mixer over a counter: each draw by itself.
        "counter" => Counter,
        /// `java.util.Random` seeded with the hash, as in SUPSI's library.
        "java" => Java,
    }
}

crate::config! {
    /// Parameters of `dx`.
    pub(super) struct DxParams {
        /// The buckets that are set aside.
        pub capacity: Capacity = Capacity::Times(2.0),
        /// Where the draws of a key come from.
        pub draws: DxDraws = DxDraws::Counter,
    }
}

/// DxHash.
#[derive(Debug)]
pub(super) struct Dx {
    hasher: Hasher,
    draws: DxDraws,
    capacity: u32,
    /// A bit for each bucket that lives.
    alive: Vec<u64>,
    /// The member behind each live bucket.
    members: Vec<u32>,
    /// The buckets without a member, the one that is taken next at the end.
    free: Vec<u32>,
}

impl Dx {
    fn is_alive(&self, bucket: u32) -> bool {
        self.alive[bucket as usize / 64] >> (bucket % 64) & 1 == 1
    }

    /// The first live bucket among the draws, or after the last of them.
    fn first_alive(&self, mut draw: impl FnMut() -> u32) -> u32 {
        let working = self.capacity as usize - self.free.len();
        let rounds = DRAWS_MAX * self.capacity.div_ceil(working as u32);
        let mut bucket = 0;
        for _ in 0..rounds {
            bucket = draw();
            if self.is_alive(bucket) {
                return bucket;
            }
        }
        let mut around = (bucket..self.capacity).chain(0..bucket);
        around.find(|&bucket| self.is_alive(bucket)).expect("the last member never leaves")
    }

    fn take(&mut self, bucket: u32, member: u32) {
        assert!(!self.is_alive(bucket), "bucket {bucket} is taken");
        self.alive[bucket as usize / 64] |= 1 << (bucket % 64);
        self.members[bucket as usize] = member;
    }

    fn grow_to(&mut self, capacity: u32) {
        self.free.splice(0..0, (self.capacity..capacity).rev());
        self.capacity = capacity;
        self.alive.resize((capacity as usize).div_ceil(64), 0);
        self.members.resize(capacity as usize, 0);
    }
}

impl Ring for Dx {
    const ABOUT: About = About {
        name: "dx",
        summary: "DxHash: draws until a live bucket; any node may leave; doubles when full",
        source: "Dong and Wang 2021 (arXiv 2107.07930)",
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
    type Params = DxParams;

    fn fits(params: &DxParams, members: &Membership) -> Result<(), Unfit> {
        params.capacity.fits(members.len())
    }

    fn cost(params: &DxParams, member_count: u32) -> Cost {
        let capacity = params.capacity.buckets(member_count);
        Cost {
            table_bytes: 8 * u64::from(capacity).div_ceil(64) + 4 * u64::from(capacity),
            build_steps: capacity.into(),
            lookup_steps: 1.0 + 2.0 * f64::from(capacity) / f64::from(member_count),
        }
    }

    fn build(params: &DxParams, members: &Membership, hasher: Hasher) -> Self {
        let mut dx = Self {
            hasher,
            draws: params.draws.clone(),
            capacity: 0,
            alive: Vec::new(),
            members: Vec::new(),
            free: Vec::new(),
        };
        dx.grow_to(params.capacity.buckets(members.len() as u32));
        for (id, _) in members.iter() {
            let bucket = dx.free.pop().expect("the members fit");
            dx.take(bucket, id.0);
        }
        dx
    }
}

impl Placement for Dx {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let bucket = match self.draws {
            DxDraws::Counter => {
                let start = mix(key.hash);
                let mut index = 0;
                self.first_alive(|| {
                    index += 1;
                    let word = splitmix64(start ^ mix(index));
                    ((u128::from(word) * u128::from(self.capacity)) >> 64) as u32
                })
            }
            DxDraws::Java => {
                let mut random = JavaRandom::new(key.hash);
                self.first_alive(|| random.below(self.capacity))
            }
        };
        MemberId(self.members[bucket as usize])
    }

    fn replicas(&self, _: Key<'_>, _: usize, _: &mut Vec<MemberId>) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows only one bucket for a key"))
    }

    fn add(&mut self, id: MemberId, _: &Member) -> Result<(), Unsupported> {
        if self.free.is_empty() {
            let capacity = self.capacity.checked_mul(2).filter(|&wider| wider <= CAPACITY_MAX);
            let capacity = capacity.ok_or_else(|| Unsupported::because("it cannot grow"))?;
            self.grow_to(capacity);
        }
        let bucket = self.free.pop().expect("it has just grown");
        self.take(bucket, id.0);
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        assert!(self.free.len() + 1 < self.capacity as usize, "the last member never leaves");
        let found = (0..self.capacity)
            .find(|&bucket| self.is_alive(bucket) && self.members[bucket as usize] == id.0);
        let bucket = found.expect("only a member is removed");
        self.alive[bucket as usize / 64] &= !(1 << (bucket % 64));
        self.free.push(bucket);
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: all buckets are alike"))
    }

    fn table_bytes(&self) -> usize {
        8 * self.alive.len() + 4 * self.members.len()
    }
}

/// `java.util.Random`: a linear congruential generator of 48 bits (Java SE API documentation).
struct JavaRandom {
    state: u64,
}

impl JavaRandom {
    fn new(seed: u64) -> Self {
        Self { state: (seed ^ MULTIPLIER) & MASK }
    }

    /// The next 31 bits.
    fn word(&mut self) -> u32 {
        self.state = (self.state.wrapping_mul(MULTIPLIER).wrapping_add(0xb)) & MASK;
        (self.state >> 17) as u32
    }

    /// Uniform in `0..bound`, as `nextInt(bound)` draws.
    fn below(&mut self, bound: u32) -> u32 {
        if bound.is_power_of_two() {
            return ((u64::from(bound) * u64::from(self.word())) >> 31) as u32;
        }
        let mut value = 0;
        // Half of the words are in range at least: a key in 10¹⁹ needs more.
        for _ in 0..DRAWS_MAX {
            let word = self.word();
            value = word % bound;
            // The last, incomplete, run of the bound is drawn again.
            if word - value + (bound - 1) < 1 << 31 {
                break;
            }
        }
        value
    }
}

const MULTIPLIER: u64 = 0x5_deec_e66d;
const MASK: u64 = (1 << 48) - 1;
/// Draws in units of what a key needs on average: a key in 10²⁷ needs more.
const DRAWS_MAX: u32 = 64;
const CAPACITY_MAX: u32 = 1 << 30;
