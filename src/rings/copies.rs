//! Copies of keys: how evenly they lie, what moves with them, and what failures would lose.

use crate::model::placement::{MemberId, Membership};
use crate::rings::hash::mix;

/// Where the copies of a population lie.
pub(super) struct Copies {
    /// Copies by member id.
    pub(super) counts: Vec<u64>,
    key_count: u64,
    /// A hash of each key's set of holders, whatever their order.
    sets: Vec<u64>,
    /// The outermost zone of each member, by id; [`NOWHERE`] where it has none.
    zones: Vec<u32>,
    /// Keys that lie in one zone with all their copies, by zone.
    in_one_zone: Vec<u64>,
}

/// What failures would lose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Losses {
    /// How many distinct sets of holders there are.
    pub(super) set_count: u64,
    /// The chance that as many random members as there are copies hold all copies of some key.
    pub(super) chance: f64,
    /// The share of the keys that the worst such members hold all copies of.
    pub(super) worst: f64,
    /// The share of the keys that the worst zone holds all copies of; `None` without zones.
    pub(super) worst_zone: Option<f64>,
}

impl Copies {
    pub(super) fn new(members: &Membership) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut zones = vec![NOWHERE; members.id_bound()];
        for (id, member) in members.iter() {
            let zone = member.zone.split('/').next().unwrap_or_default();
            if zone.is_empty() {
                continue;
            }
            let known = names.iter().position(|name| *name == zone);
            let index = known.unwrap_or_else(|| {
                names.push(zone);
                names.len() - 1
            });
            zones[id.index()] = index as u32;
        }
        Self {
            counts: vec![0; members.id_bound()],
            key_count: 0,
            sets: Vec::new(),
            in_one_zone: vec![0; names.len()],
            zones,
        }
    }

    /// Counts a key with its holders.
    pub(super) fn add(&mut self, holders: &[MemberId]) {
        self.key_count += 1;
        let mut set = 0_u64;
        for id in holders {
            self.counts[id.index()] += 1;
            // A sum of hashes does not depend on the order.
            set = set.wrapping_add(mix(u64::from(id.0) + 1));
        }
        self.sets.push(set);
        let zone = holders.first().map_or(NOWHERE, |id| self.zones[id.index()]);
        if zone != NOWHERE && holders.iter().all(|id| self.zones[id.index()] == zone) {
            self.in_one_zone[zone as usize] += 1;
        }
    }

    /// What failures of `copies` members of `member_count` would lose.
    pub(super) fn losses(mut self, copies: usize, member_count: usize) -> Losses {
        self.sets.sort_unstable();
        let keys = self.key_count as f64;
        let groups = self.sets.chunk_by(|a, b| a == b).map(<[u64]>::len);
        let (set_count, largest) =
            groups.fold((0_u64, 0), |(count, most), size| (count + 1, most.max(size)));
        // n over k, one factor at a time.
        let choices = (0..copies.min(member_count))
            .map(|i| (member_count - i) as f64 / (i + 1) as f64)
            .product::<f64>();
        let worst_zone = self.in_one_zone.iter().max().map(|count| *count as f64 / keys);
        Losses {
            set_count,
            chance: (set_count as f64 / choices).min(1.0),
            worst: largest as f64 / keys,
            worst_zone,
        }
    }
}

/// What moves when the holders of keys change.
pub(super) struct CopyChange {
    before: Vec<u64>,
    after: Vec<u64>,
    copy_count: u64,
    /// Copies on members that had none of that key before.
    pub(super) moved: u64,
    /// Keys whose set of holders is another one.
    pub(super) sets_changed: u64,
    /// Copies that each member sends and receives, by id.
    sent: Vec<u64>,
    received: Vec<u64>,
    is_live: Vec<bool>,
}

impl CopyChange {
    /// Towards the members `after`.
    pub(super) fn new(after: &Membership) -> Self {
        let zeros = || vec![0; after.id_bound()];
        let mut is_live = vec![false; after.id_bound()];
        for (id, _) in after.iter() {
            is_live[id.index()] = true;
        }
        Self {
            before: zeros(),
            after: zeros(),
            copy_count: 0,
            moved: 0,
            sets_changed: 0,
            sent: zeros(),
            received: zeros(),
            is_live,
        }
    }

    /// Counts a key with its holders before and after.
    pub(super) fn add(&mut self, before: &[MemberId], after: &[MemberId]) {
        for id in before {
            self.before[id.index()] += 1;
        }
        // A holder that stays sends; where none does, the one that had it first.
        let stays = before.iter().find(|id| self.is_live[id.index()]);
        let sender = stays.or_else(|| before.first());
        let mut moved = 0;
        for id in after {
            self.after[id.index()] += 1;
            if !before.contains(id) {
                moved += 1;
                self.received[id.index()] += 1;
                if let Some(sender) = sender {
                    self.sent[sender.index()] += 1;
                }
            }
        }
        self.copy_count += after.len() as u64;
        self.moved += moved;
        self.sets_changed += u64::from(0 < moved || before.len() != after.len());
    }

    /// Copies in all, after the change.
    pub(super) fn copy_count(&self) -> u64 {
        self.copy_count
    }

    /// The copies that had to move between these two assignments.
    pub(super) fn floor(&self) -> u64 {
        let gains = self.before.iter().zip(&self.after);
        gains.map(|(before, after)| after.saturating_sub(*before)).sum()
    }

    /// The most copies that one member sends or receives.
    pub(super) fn bottleneck(&self) -> u64 {
        self.sent.iter().chain(&self.received).max().copied().unwrap_or(0)
    }
}

const NOWHERE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::placement::Member;

    fn ids<const N: usize>(ids: [u32; N]) -> [MemberId; N] {
        ids.map(MemberId)
    }

    fn in_zones(zones: [&str; 4]) -> Membership {
        Membership::of((0..).zip(zones).map(|(index, zone)| Member {
            zone: zone.to_owned(),
            ..Member::named(format!("n{index}"))
        }))
    }

    #[test]
    fn losses_agree_with_a_case_done_by_hand() {
        let mut copies = Copies::new(&in_zones(["a/1", "a/2", "b/1", "b/2"]));
        for holders in [[0, 1], [1, 0], [0, 2], [3, 2], [0, 2]] {
            copies.add(&ids(holders));
        }
        assert_eq!(copies.counts, [4, 2, 3, 1]);
        // Three sets out of six; two keys on {0, 1}, and two on {0, 2}; two wholly in zone a.
        let losses = copies.losses(2, 4);
        assert_eq!(losses.set_count, 3);
        assert!((losses.chance - 0.5).abs() < 1e-12);
        assert!((losses.worst - 0.4).abs() < 1e-12);
        assert!((losses.worst_zone.unwrap() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn a_change_counts_copies_sets_and_the_busiest_member() {
        let mut after = in_zones(["", "", "", ""]);
        after.remove(MemberId(0));
        let mut change = CopyChange::new(&after);
        change.add(&ids([0, 1]), &ids([1, 2]));
        change.add(&ids([0, 3]), &ids([3, 2]));
        change.add(&ids([1, 2]), &ids([2, 1]));
        assert_eq!((change.moved, change.sets_changed, change.copy_count()), (2, 2, 6));
        // Member 2 receives both; members 1 and 3 send one each, as 0 is gone.
        assert_eq!((change.floor(), change.bottleneck()), (2, 2));
    }
}
