//! Which member of a cluster owns a key: the door between the rings and everything that asks
//! them.
//!
//! A [`Key`] carries both its bytes and one hash of them, because half of the field's placements
//! take a number and the other half hash the text themselves, each in its own way. A [`Membership`]
//! gives every member an id that is its own for ever: placements number their buckets as they
//! please, and a member that leaves takes its id with it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// A member of a cluster, by an id that never goes to another one.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MemberId(pub u32);

impl MemberId {
    /// The id as an index into a table with one entry for each member that ever was.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is to be placed: the bytes that name it, and one hash of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Key<'a> {
    /// The hash that the placement's own hash function gives.
    pub hash: u64,
    /// The name, byte by byte.
    pub bytes: &'a [u8],
}

/// A member as its administrator sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its name. Unique among the members.
    pub name: String,
    /// Its capacity relative to the others. Finite and positive.
    pub weight: f64,
    /// Where it stands, from the widest to the narrowest, with `/` between: `eu/rack-3`. Empty
    /// where that is not known.
    pub zone: String,
}

/// The live members of a cluster, in the order in which they joined.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Membership {
    // Invariant: ids rise and are below `next`; names are unique.
    live: Vec<(MemberId, Member)>,
    by_name: BTreeMap<String, MemberId>,
    next: u32,
}

/// A change of membership, or a question, that a placement cannot express, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unsupported(pub Cow<'static, str>);

/// A map from keys to members that follows its membership.
///
/// Equal calls in equal order give equal answers: a placement draws from no generator but those
/// that its seed opens, and its look-ups change nothing.
pub trait Placement: fmt::Debug + Send + Sync {
    /// The hash of a key's bytes under the placement's own hash function and seed.
    fn hash(&self, bytes: &[u8]) -> u64;

    /// The member that owns `key`. Allocates nothing.
    fn locate(&self, key: Key<'_>) -> MemberId;

    /// The members that hold the `count` copies of `key`: distinct, the owner first, into `out`,
    /// which is emptied before. Where there are fewer members than copies, each holds one; fewer
    /// do where the algorithm gives up on finding more, as CRUSH does.
    ///
    /// # Errors
    /// Where the algorithm knows only one place for a key.
    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported>;

    /// Lets `member` join as `id`, which is not a member yet.
    ///
    /// # Errors
    /// Where the placement must be built anew to take it. It is unchanged then.
    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported>;

    /// Lets `id` leave, which is a member and not the last one.
    ///
    /// # Errors
    /// Where the placement must be built anew to lose it. It is unchanged then.
    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported>;

    /// Gives `id`, which is a member, another weight.
    ///
    /// # Errors
    /// Where the placement knows no weights, or must be built anew. It is unchanged then.
    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported>;

    /// The members that own `keys`, one for each, into `out`, which is emptied before. For what
    /// answers many questions sooner than one by one.
    fn locate_all(&self, keys: &[Key<'_>], out: &mut Vec<MemberId>) {
        out.clear();
        out.extend(keys.iter().map(|key| self.locate(*key)));
    }

    /// Why its answers cannot be trusted: `None` but for a placement that asks somebody else, and
    /// got no answer.
    fn trouble(&self) -> Option<String> {
        None
    }

    /// Bytes of the tables that a look-up reads, without the names of members.
    fn table_bytes(&self) -> usize;

    /// Each member's share of all possible hashes of keys, exactly, where the placement is a
    /// table or a circle that tells it.
    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        None
    }

    /// How many hashes or draws a look-up of `key` takes, where the placement counts them.
    fn count_hashes(&self, _key: Key<'_>) -> Option<u32> {
        None
    }

    /// The key that `bytes` name, hashed as this placement does.
    fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { hash: self.hash(bytes), bytes }
    }
}

impl Member {
    /// The member `name` of weight 1 in no zone.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), weight: 1.0, zone: String::new() }
    }
}

impl Membership {
    /// Members with the ids 0, 1, 2 and so on.
    pub fn of(members: impl IntoIterator<Item = Member>) -> Self {
        let mut membership = Self::default();
        for member in members {
            membership.add(member);
        }
        membership
    }

    /// The members `node-0` to `node-(count - 1)`, all alike.
    pub fn uniform(count: u32) -> Self {
        Self::of((0..count).map(|index| Member::named(format!("node-{index}"))))
    }

    /// Lets `member` join; its id is new.
    pub fn add(&mut self, member: Member) -> MemberId {
        assert!(member.weight.is_finite() && 0.0 < member.weight, "weight {}", member.weight);
        let id = MemberId(self.next);
        self.next += 1;
        let former = self.by_name.insert(member.name.clone(), id);
        assert!(former.is_none(), "two members are called {}", member.name);
        self.live.push((id, member));
        id
    }

    /// Lets `id` leave. `None` where it is not a member.
    pub fn remove(&mut self, id: MemberId) -> Option<Member> {
        let index = self.index_of(id)?;
        let (_, member) = self.live.remove(index);
        self.by_name.remove(&member.name);
        Some(member)
    }

    /// Gives `id` another weight. Whether it is a member.
    pub fn reweight(&mut self, id: MemberId, weight: f64) -> bool {
        assert!(weight.is_finite() && 0.0 < weight, "weight {weight}");
        match self.index_of(id) {
            Some(index) => {
                self.live[index].1.weight = weight;
                true
            }
            None => false,
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// One more than the largest id that a member ever had: the length of a table by id.
    pub fn id_bound(&self) -> usize {
        self.next as usize
    }

    /// The member `id`.
    pub fn get(&self, id: MemberId) -> Option<&Member> {
        self.index_of(id).map(|index| &self.live[index].1)
    }

    /// The member called `name`.
    pub fn find(&self, name: &str) -> Option<MemberId> {
        self.by_name.get(name).copied()
    }

    /// The members in the order in which they joined, which is that of their ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (MemberId, &Member)> + '_ {
        self.live.iter().map(|(id, member)| (*id, member))
    }

    /// The sum of all weights.
    pub fn weight_total(&self) -> f64 {
        self.live.iter().map(|(_, member)| member.weight).sum()
    }

    fn index_of(&self, id: MemberId) -> Option<usize> {
        self.live.binary_search_by_key(&id, |(id, _)| *id).ok()
    }
}

impl Unsupported {
    /// Not possible, because `reason`.
    pub fn because(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(reason.into())
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unsupported {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_never_goes_to_another_member() {
        let mut membership = Membership::uniform(3);
        assert!(membership.remove(MemberId(2)).is_some());
        assert_eq!(membership.add(Member::named("late")), MemberId(3));
        assert_eq!(membership.get(MemberId(2)), None);
        assert_eq!(membership.find("late"), Some(MemberId(3)));
        assert_eq!((membership.len(), membership.id_bound()), (3, 4));
    }
}
