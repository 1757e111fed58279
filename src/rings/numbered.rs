//! Placements that only know buckets 0 to n - 1, and the members behind the numbers.
//!
//! Modulo, jump and their like are functions from a key and a count of buckets to a bucket. Such
//! a function can gain or lose the *last* bucket; which member stands behind which number is
//! somebody else's affair, and this file is that somebody. When a member leaves from the middle,
//! the scenario says what becomes of its number ([`Removal`]), and reports show what that costs.
//!
//! Cost of the table: 4 bytes a bucket, one read a look-up.

use crate::choice::About;
use crate::config::Config;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// What becomes of the number of a member that leaves.
    pub(super) enum Removal {
        /// The members behind it move up by one, as in a list of addresses with a line deleted.
        "renumber" => Renumber,
        /// The last member takes it over.
        "swap" => Swap,
        /// It stays, dead; who meets it hashes again. The next member to join takes it.
        "tombstone" => Tombstone,
    }
}

crate::config! {
    /// Parameters of a bucket function that has none of its own.
    pub(super) struct RemovalParams {
        /// What becomes of the number of a member that leaves.
        pub removal: Removal = Removal::Renumber,
    }
}

/// A function from a key and a number of buckets to a bucket.
pub(super) trait BucketFunction: std::fmt::Debug + Send + Sync + Sized + 'static {
    /// What the variant says of itself.
    const ABOUT: About;
    /// What it can do; `replicas` means the buckets that follow.
    const CAPABILITIES: Capabilities;
    /// Its parameters.
    type Params: Config;

    /// What becomes of a number.
    fn removal(params: &Self::Params) -> Removal;

    /// Expected steps of [`bucket`](Self::bucket).
    fn steps(params: &Self::Params, count: u32) -> f64;

    /// The function with these parameters.
    fn new(params: &Self::Params) -> Self;

    /// How many draws [`bucket`](Self::bucket) takes for `key`, where that is counted.
    fn count_draws(&self, _key: Key<'_>, _last: u64) -> Option<u32> {
        None
    }

    /// The highest number that a bucket can have.
    const LAST_MAX: u64 = u32::MAX as u64 - 1;

    /// The bucket of `key` out of `0..=last`; `last` is [`LAST_MAX`](Self::LAST_MAX) at most.
    fn bucket(&self, hasher: &Hasher, key: Key<'_>, last: u64) -> u64;

    /// The buckets of `keys`, one by one to `take`: for what answers many sooner than one.
    #[inline]
    fn buckets(&self, hasher: &Hasher, keys: &[Key<'_>], last: u64, mut take: impl FnMut(u64)) {
        for key in keys {
            take(self.bucket(hasher, *key, last));
        }
    }
}

/// The buckets of `keys` where some need several draws: `first` gives the first draw of a hash,
/// `next` the ones that follow, until one is not beyond `last`.
///
/// Whether a draw is the last one is a coin toss, and a processor that guesses it wrong half the
/// time loses more than the draw takes. So all keys of a block draw, and those that must draw again are
/// put aside without a branch: the block is guessed wrong once a round, not once a key.
#[inline]
pub(super) fn in_rounds(
    keys: &[Key<'_>],
    last: u64,
    first: impl Fn(u64) -> u64,
    next: impl Fn(u64, u32) -> u64,
    mut take: impl FnMut(u64),
) {
    const BLOCK: usize = 64;
    for keys in keys.chunks(BLOCK) {
        let (mut found, mut open, mut open_count) = ([0; BLOCK], [0_u8; BLOCK], 0);
        for (index, key) in keys.iter().enumerate() {
            found[index] = first(key.hash);
            open[open_count % BLOCK] = index as u8;
            open_count += usize::from(last < found[index]);
        }
        let mut round = 0;
        while open_count != 0 {
            round += 1;
            let mut left = 0;
            for slot in 0..open_count {
                let index = open[slot];
                let at = usize::from(index) % BLOCK;
                found[at] = next(keys[at].hash, round);
                open[left] = index;
                left += usize::from(last < found[at]);
            }
            open_count = left;
        }
        for bucket in &found[..keys.len()] {
            take(*bucket);
        }
    }
}

/// A bucket function by itself: keys to numbers, of which a program makes shards or slots.
pub trait Buckets: std::fmt::Debug + Send + Sync {
    /// The hash of a key's bytes under the function's own hash function and seed.
    fn hash(&self, bytes: &[u8]) -> u64;

    /// The bucket of `key` out of `0..=last`. Allocates nothing.
    ///
    /// # Panics
    /// Where `last` is more than [`last_max`](Self::last_max).
    fn bucket(&self, key: Key<'_>, last: u64) -> u64;

    /// The highest number that a bucket can have.
    fn last_max(&self) -> u64;

    /// The key that `bytes` name, hashed as this function does.
    fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { hash: self.hash(bytes), bytes }
    }
}

/// A bucket function and its hash function.
#[derive(Debug)]
pub(super) struct Bare<F> {
    pub(super) function: F,
    pub(super) hasher: Hasher,
}

impl<F: BucketFunction> Buckets for Bare<F> {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn bucket(&self, key: Key<'_>, last: u64) -> u64 {
        assert!(last <= F::LAST_MAX, "bucket {last} is beyond the last that there can be");
        self.function.bucket(&self.hasher, key, last)
    }

    fn last_max(&self) -> u64 {
        F::LAST_MAX
    }
}

/// A bucket function and the members behind its numbers.
#[derive(Debug)]
pub(super) struct Numbered<F> {
    function: F,
    hasher: Hasher,
    removal: Removal,
    /// The member behind each number, or [`DEAD`].
    members: Vec<u32>,
    /// The dead numbers, the one that died last at the end.
    dead: Vec<u32>,
}

impl<F: BucketFunction> Numbered<F> {
    #[inline]
    fn bucket(&self, key: Key<'_>) -> usize {
        self.function.bucket(&self.hasher, key, self.members.len() as u64 - 1) as usize
    }

    /// The live bucket of a key that met the dead one: it hashes again, with a bound, and then
    /// walks on to the next live number.
    #[cold]
    fn past_the_dead(&self, key: Key<'_>, bucket: usize) -> MemberId {
        let mut hash = key.hash;
        for _ in 0..REHASHES_MAX {
            hash = self.hasher.again(hash, 0);
            let member = self.members[self.bucket(Key { hash, ..key })];
            if member != DEAD {
                return MemberId(member);
            }
        }
        let (before, behind) = self.members.split_at(bucket);
        let live = behind.iter().chain(before).find(|&&member| member != DEAD);
        MemberId(*live.expect("the last member never leaves"))
    }
}

impl<F: BucketFunction> Ring for Numbered<F> {
    const ABOUT: About = F::ABOUT;
    const CAPABILITIES: Capabilities = F::CAPABILITIES;
    type Params = F::Params;

    fn fits(_: &F::Params, _: &Membership) -> Result<(), Unfit> {
        Ok(())
    }

    fn cost(params: &F::Params, member_count: u32) -> Cost {
        Cost {
            table_bytes: 4 * u64::from(member_count),
            build_steps: member_count.into(),
            lookup_steps: F::steps(params, member_count) + 1.0,
        }
    }

    fn build(params: &F::Params, members: &Membership, hasher: Hasher) -> Self {
        Self {
            function: F::new(params),
            hasher,
            removal: F::removal(params),
            members: members.iter().map(|(id, _)| id.0).collect(),
            dead: Vec::new(),
        }
    }
}

impl<F: BucketFunction> Placement for Numbered<F> {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    #[inline]
    fn locate(&self, key: Key<'_>) -> MemberId {
        let bucket = self.bucket(key);
        match self.members[bucket] {
            DEAD => self.past_the_dead(key, bucket),
            member => MemberId(member),
        }
    }

    fn locate_all(&self, keys: &[Key<'_>], out: &mut Vec<MemberId>) {
        out.clear();
        out.resize(keys.len(), MemberId(DEAD));
        let mut places = keys.iter().zip(out);
        self.function.buckets(&self.hasher, keys, self.members.len() as u64 - 1, |bucket| {
            let (key, place) = places.next().expect("there is one bucket for each key");
            *place = match self.members[bucket as usize] {
                DEAD => self.past_the_dead(*key, bucket as usize),
                member => MemberId(member),
            };
        });
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        if !F::CAPABILITIES.replicas {
            return Err(Unsupported::because("it knows only one bucket for a key"));
        }
        out.clear();
        let (before, behind) = self.members.split_at(self.bucket(key));
        let live = behind.iter().chain(before).filter(|&&member| member != DEAD);
        out.extend(live.take(count).map(|&member| MemberId(member)));
        Ok(())
    }

    fn add(&mut self, id: MemberId, _: &Member) -> Result<(), Unsupported> {
        assert!(id.0 != DEAD, "the last id stands for nobody");
        match self.dead.pop() {
            Some(number) => self.members[number as usize] = id.0,
            None => self.members.push(id.0),
        }
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        let number = self.members.iter().position(|&member| member == id.0);
        let number = number.expect("only a member is removed");
        assert!(self.dead.len() + 1 < self.members.len(), "the last member never leaves");
        match self.removal {
            _ if number + 1 == self.members.len() => drop(self.members.pop()),
            Removal::Renumber => drop(self.members.remove(number)),
            Removal::Swap => drop(self.members.swap_remove(number)),
            Removal::Tombstone => {
                self.members[number] = DEAD;
                self.dead.push(number as u32);
            }
        }
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights: all buckets are alike"))
    }

    fn count_hashes(&self, key: Key<'_>) -> Option<u32> {
        self.function.count_draws(key, self.members.len() as u64 - 1)
    }

    fn table_bytes(&self) -> usize {
        4 * (self.members.len() + self.dead.len())
    }
}

/// What jump and its like can do.
pub(super) const BUCKETS_ONLY: Capabilities = Capabilities {
    arbitrary_removal: false,
    weights: false,
    replicas: false,
    bounded: false,
    minimal_disruption: true,
    history_free: true,
};

const DEAD: u32 = u32::MAX;
/// After so many dead buckets a key walks instead. Where half the buckets are dead, one key in
/// 10¹⁹ comes to that.
const REHASHES_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rings::HashKind;
    use crate::rings::modulo::Modulo;

    fn modulo(removal: Removal, count: u32) -> Numbered<Modulo> {
        let hasher = Hasher::new(HashKind::Xxh3, 1);
        Numbered::build(&RemovalParams { removal }, &Membership::uniform(count), hasher)
    }

    #[test]
    fn a_number_goes_where_the_scenario_says_when_its_member_leaves() {
        for (removal, left, joined) in [
            (Removal::Renumber, vec![0, 2, 4], vec![0, 2, 4, 6, 7]),
            (Removal::Swap, vec![0, 4, 2], vec![0, 4, 2, 6, 7]),
            // Who joins takes the number that died last.
            (Removal::Tombstone, vec![0, DEAD, 2, DEAD, 4], vec![0, 7, 2, 6, 4]),
        ] {
            let mut numbered = modulo(removal.clone(), 6);
            // The last one always takes its number with it.
            for id in [1, 5, 3] {
                // After `swap` the 5 stands in the middle, and the 4 takes its number.
                numbered.remove(MemberId(id)).unwrap();
            }
            assert_eq!(numbered.members, left, "{removal:?}");
            let bytes = 4 * (numbered.members.len() + numbered.dead.len());
            assert_eq!(numbered.table_bytes(), bytes, "{removal:?}");
            for id in [6, 7] {
                numbered.add(MemberId(id), &Member::named("late")).unwrap();
            }
            assert_eq!(numbered.members, joined, "{removal:?}");
        }
    }

    #[test]
    fn the_last_number_goes_with_its_member_though_others_are_dead() {
        let mut numbered = modulo(Removal::Tombstone, 4);
        numbered.remove(MemberId(1)).unwrap();
        numbered.remove(MemberId(3)).unwrap();
        assert_eq!((numbered.members, numbered.dead), (vec![0, DEAD, 2], vec![1]));
    }

    #[test]
    fn keys_of_the_dead_are_shared_by_all_who_live() {
        let mut numbered = modulo(Removal::Tombstone, 5);
        for id in [1, 2, 3] {
            numbered.remove(MemberId(id)).unwrap();
        }
        let owners = (0..10_000_u32).map(|index| {
            let bytes = index.to_le_bytes();
            numbered.locate(numbered.key(&bytes))
        });
        let first = owners.filter(|owner| *owner == MemberId(0)).count();
        // Five standard deviations.
        assert!(first.abs_diff(5000) < 250, "{first} of 10000 keys are the first one's");
    }
}
