//! Who of a group reads which partitions: what the group's leader computes.
//!
//! Read at apache/kafka 1eb7644: `RangeAssignor`, `RoundRobinAssignor`, and of
//! `AbstractStickyAssignor` the case of equal subscriptions (`ConstrainedAssignmentBuilder`);
//! `CooperativeStickyAssignor.adjustAssignment` holds back what another member still has. No racks.

use crate::config;

config! {
    /// How the partitions of topics are divided among the members of a group.
    pub enum Assignor {
        /// Topic by topic, each in consecutive pieces (eager).
        "range" => Range,
        /// One after the other, round and round (eager).
        "round_robin" => RoundRobin,
        /// Evenly, and as it was where that can be (eager).
        "sticky" => Sticky,
        /// As `sticky`; members go on reading what they keep while the rest moves.
        "cooperative_sticky" => CooperativeSticky,
    }
}

impl Copy for Assignor {}
impl Eq for Assignor {}

/// A partition: the place of its topic among the sorted topics, and its number.
pub type TopicPartition = (usize, u32);

/// A member of a group, as its assignor sees it.
#[derive(Clone, Debug, Default)]
pub struct Subscriber {
    /// The places of its topics among the sorted topics.
    pub topics: Vec<usize>,
    /// What it has, in the generation in which it got that.
    pub owned: Vec<TopicPartition>,
    /// That generation.
    pub generation: u32,
}

impl Assignor {
    /// Whether members keep what they have while the group rebalances.
    pub const fn is_cooperative(self) -> bool {
        matches!(self, Self::CooperativeSticky)
    }

    /// What each of `members`, sorted by their ids, gets of topics with so many partitions. The
    /// sticky assignors suppose that all have the same topics.
    pub fn assign(self, topics: &[u32], members: &[Subscriber]) -> Vec<Vec<TopicPartition>> {
        match self {
            Self::Range => range(topics, members),
            Self::RoundRobin => round_robin(topics, members),
            Self::Sticky => sticky(topics, members),
            Self::CooperativeSticky => {
                let mut assigned = sticky(topics, members);
                hold_back(&mut assigned, members);
                assigned
            }
        }
    }
}

fn range(topics: &[u32], members: &[Subscriber]) -> Vec<Vec<TopicPartition>> {
    let mut assigned = vec![Vec::new(); members.len()];
    for (topic, &count) in topics.iter().enumerate() {
        let readers: Vec<usize> =
            (0..members.len()).filter(|&at| members[at].topics.contains(&topic)).collect();
        let Some(each) = count.checked_div(readers.len() as u32) else { continue };
        let more = count % readers.len() as u32;
        let mut next = 0;
        for (place, reader) in (0..).zip(readers) {
            let end = next + each + u32::from(place < more);
            assigned[reader].extend((next..end).map(|number| (topic, number)));
            next = end;
        }
    }
    assigned
}

/// All partitions that anybody reads, topic by topic.
fn all_read(topics: &[u32], members: &[Subscriber]) -> Vec<TopicPartition> {
    let is_read = |topic: usize| members.iter().any(|member| member.topics.contains(&topic));
    let counts = topics.iter().enumerate().filter(|&(topic, _)| is_read(topic));
    counts.flat_map(|(topic, &count)| (0..count).map(move |number| (topic, number))).collect()
}

fn round_robin(topics: &[u32], members: &[Subscriber]) -> Vec<Vec<TopicPartition>> {
    let mut assigned = vec![Vec::new(); members.len()];
    let mut turn = 0;
    for partition in all_read(topics, members) {
        while !members[turn].topics.contains(&partition.0) {
            turn = (turn + 1) % members.len();
        }
        assigned[turn].push(partition);
        turn = (turn + 1) % members.len();
    }
    assigned
}

/// What each member has and nobody of a later generation has too; what two of one generation have
/// is nobody's.
fn owned(members: &[Subscriber]) -> Vec<Vec<TopicPartition>> {
    let claims = |partition: &TopicPartition, but: usize| {
        let others = members.iter().enumerate().filter(move |&(at, _)| at != but);
        let others = others.filter(|(_, other)| other.owned.contains(partition));
        others.map(|(_, other)| other.generation).max()
    };
    let of = |(at, member): (usize, &Subscriber)| {
        let mut kept = member.owned.clone();
        kept.retain(|partition| {
            claims(partition, at).is_none_or(|generation| generation < member.generation)
        });
        kept.sort_unstable_by_key(|&(topic, number)| (number, topic));
        kept
    };
    members.iter().enumerate().map(of).collect()
}

fn sticky(topics: &[u32], members: &[Subscriber]) -> Vec<Vec<TopicPartition>> {
    let all = all_read(topics, members);
    if members.is_empty() {
        return Vec::new();
    }
    let least = all.len() / members.len();
    let most = all.len().div_ceil(members.len());
    // So many members get one more than the others.
    let mut larger = all.len() % members.len();
    let mut below = Vec::new();
    let mut at_least = Vec::new();
    let mut assigned = owned(members);
    for (at, kept) in assigned.iter_mut().enumerate() {
        if kept.len() < least {
            below.push(at);
        } else if most <= kept.len() && 0 < larger {
            larger -= 1;
            kept.truncate(most);
        } else {
            kept.truncate(least);
            at_least.push(at);
        }
    }
    let free = all.into_iter().filter(|one| !assigned.iter().flatten().any(|kept| kept == one));
    let free: Vec<TopicPartition> = free.collect();
    // Those with too little take in turns; who has enough then takes one more, where some are left.
    let mut turn = 0;
    let mut more = at_least.into_iter();
    let mut later = Vec::new();
    for partition in free {
        if below.is_empty() {
            let at = more.next().or_else(|| (!later.is_empty()).then(|| later.remove(0)));
            assigned[at.expect("a member has less than the most while partitions are left")]
                .push(partition);
            continue;
        }
        turn %= below.len();
        let at = below[turn];
        assigned[at].push(partition);
        if assigned[at].len() == least {
            below.remove(turn);
            later.push(at);
        } else {
            turn += 1;
        }
    }
    assigned
}

/// Takes from each member what another one still has: it gets that in the next round, when the
/// other has given it up.
fn hold_back(assigned: &mut [Vec<TopicPartition>], members: &[Subscriber]) {
    for (at, partitions) in assigned.iter_mut().enumerate() {
        partitions.retain(|partition| {
            members[at].owned.contains(partition)
                || !members.iter().any(|other| other.owned.contains(partition))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(owned: &[&[u32]]) -> Vec<Subscriber> {
        let of = |owned: &&[u32]| Subscriber {
            topics: vec![0],
            owned: owned.iter().map(|&number| (0, number)).collect(),
            generation: 1,
        };
        owned.iter().map(of).collect()
    }

    fn numbers(assigned: &[Vec<TopicPartition>]) -> Vec<Vec<u32>> {
        let of = |one: &Vec<TopicPartition>| {
            let mut numbers: Vec<u32> = one.iter().map(|&(_, number)| number).collect();
            numbers.sort_unstable();
            numbers
        };
        assigned.iter().map(of).collect()
    }

    #[test]
    fn sticky_moves_no_more_than_it_must() {
        let joins = members(&[&[0, 1, 2], &[3, 4, 5], &[]]);
        let assigned = numbers(&Assignor::Sticky.assign(&[6], &joins));
        assert_eq!(assigned, [vec![0, 1], vec![3, 4], vec![2, 5]]);
        let left = members(&[&[0, 1], &[3, 4]]);
        let assigned = numbers(&Assignor::Sticky.assign(&[6], &left));
        assert_eq!(assigned, [vec![0, 1, 2], vec![3, 4, 5]]);
        let uneven = members(&[&[0, 1, 2, 3], &[], &[]]);
        let assigned = numbers(&Assignor::Sticky.assign(&[4], &uneven));
        assert_eq!(assigned, [vec![0, 1], vec![2], vec![3]]);
    }

    #[test]
    fn cooperative_hands_over_only_what_nobody_has() {
        let joins = members(&[&[0, 1, 2], &[3, 4, 5], &[]]);
        let first = numbers(&Assignor::CooperativeSticky.assign(&[6], &joins));
        assert_eq!(first, [vec![0, 1], vec![3, 4], vec![]]);
        let then = members(&[&[0, 1], &[3, 4], &[]]);
        let second = numbers(&Assignor::CooperativeSticky.assign(&[6], &then));
        assert_eq!(second, [vec![0, 1], vec![3, 4], vec![2, 5]]);
    }

    #[test]
    fn what_two_claim_belongs_to_the_later_generation() {
        let mut both = members(&[&[0, 1], &[0, 1]]);
        both[1].generation = 2;
        assert_eq!(numbers(&owned(&both)), [vec![], vec![0, 1]]);
        both[0].generation = 2;
        assert!(numbers(&owned(&both)).iter().all(Vec::is_empty));
    }
}
