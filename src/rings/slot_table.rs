//! A fixed number of slots and who owns each; a planner that moves no more of them than it must.

use crate::model::placement::{MemberId, Membership};

/// Slots and their owners.
#[derive(Debug)]
pub(super) struct SlotTable {
    owners: Vec<u32>,
    /// In the order of ids.
    members: Vec<Holder>,
}

#[derive(Clone, Copy, Debug)]
struct Holder {
    id: u32,
    weight: f64,
    slot_count: u32,
}

impl Holder {
    /// Slots for a unit of weight if it had `more`.
    fn fullness(&self, more: u32) -> f64 {
        f64::from(self.slot_count + more) / self.weight
    }
}

impl SlotTable {
    /// Each member has one stretch of slots, as long as its weight.
    pub(super) fn in_stretches(slot_count: u32, members: &Membership) -> Self {
        let mut table = Self::without_owners(slot_count, members);
        let total = members.weight_total();
        let (mut weight, mut from) = (0.0, 0);
        for (index, holder) in table.members.iter_mut().enumerate() {
            weight += holder.weight;
            let is_last = index + 1 == members.len();
            let share = (weight / total * f64::from(slot_count) + 0.5) as u32;
            let until = if is_last { slot_count } else { share.min(slot_count) };
            table.owners[from as usize..until as usize].fill(holder.id);
            holder.slot_count = until - from;
            from = until;
        }
        table
    }

    /// The members take slots in turns, in the order of ids; heavy ones have more turns.
    pub(super) fn in_turns(slot_count: u32, members: &Membership) -> Self {
        let mut table = Self::without_owners(slot_count, members);
        for slot in 0..slot_count as usize {
            let index = table.emptiest();
            table.give(slot, index);
        }
        table
    }

    fn without_owners(slot_count: u32, members: &Membership) -> Self {
        let holder = |(id, member): (MemberId, &crate::model::placement::Member)| Holder {
            id: id.0,
            weight: member.weight,
            slot_count: 0,
        };
        let members = members.iter().map(holder).collect();
        Self { owners: vec![NOBODY; slot_count as usize], members }
    }

    /// The owners, slot by slot.
    pub(super) fn owners(&self) -> &[u32] {
        &self.owners
    }

    /// Puts the owners into another order.
    pub(super) fn permute(&mut self, shuffle: impl FnOnce(&mut [u32])) {
        shuffle(&mut self.owners);
    }

    /// Lets `id` join: it takes slots from the fullest, one by one, until it would be fuller.
    pub(super) fn add(&mut self, id: MemberId, weight: f64) {
        let index = self.members.partition_point(|holder| holder.id < id.0);
        self.members.insert(index, Holder { id: id.0, weight, slot_count: 0 });
        self.take_share(index);
    }

    /// Lets `id` leave: each of its slots goes to the emptiest.
    pub(super) fn remove(&mut self, id: MemberId) {
        let index = self.index_of(id);
        self.members.remove(index);
        assert!(!self.members.is_empty(), "the last member never leaves");
        for slot in 0..self.owners.len() {
            if self.owners[slot] == id.0 {
                let index = self.emptiest();
                self.give(slot, index);
            }
        }
    }

    /// Gives `id` another weight: it takes slots or gives some away.
    pub(super) fn reweight(&mut self, id: MemberId, weight: f64) {
        let index = self.index_of(id);
        self.members[index].weight = weight;
        self.take_share(index);
        loop {
            let to = self.emptiest();
            if to == index
                || self.members[index].slot_count == 0
                || self.members[index].fullness(0) <= self.members[to].fullness(1)
            {
                break;
            }
            self.move_one(index, to);
        }
    }

    /// Bytes of the table.
    pub(super) fn table_bytes(&self) -> usize {
        size_of_val(self.owners.as_slice())
    }

    fn index_of(&self, id: MemberId) -> usize {
        let found = self.members.binary_search_by_key(&id.0, |holder| holder.id);
        found.expect("only a member leaves or is weighed")
    }

    fn take_share(&mut self, index: usize) {
        loop {
            let from = self.fullest();
            let is_fair = self.members[from].fullness(0) < self.members[index].fullness(1);
            if from == index || is_fair || self.members[from].slot_count == 0 {
                break;
            }
            self.move_one(from, index);
        }
    }

    /// Moves the last slot of one member to another.
    fn move_one(&mut self, from: usize, to: usize) {
        let id = self.members[from].id;
        let slot = self.owners.iter().rposition(|&owner| owner == id);
        self.members[from].slot_count -= 1;
        self.give(slot.expect("it has a slot"), to);
    }

    fn give(&mut self, slot: usize, index: usize) {
        self.owners[slot] = self.members[index].id;
        self.members[index].slot_count += 1;
    }

    /// The member that would be least full with one slot more; of equals the first.
    fn emptiest(&self) -> usize {
        self.first_of(|a, b| a.fullness(1) < b.fullness(1))
    }

    /// The member that is fullest; of equals the last.
    fn fullest(&self) -> usize {
        self.first_of(|a, b| b.fullness(0) <= a.fullness(0))
    }

    fn first_of(&self, is_before: impl Fn(&Holder, &Holder) -> bool) -> usize {
        let mut best = 0;
        for index in 1..self.members.len() {
            if is_before(&self.members[index], &self.members[best]) {
                best = index;
            }
        }
        best
    }
}

const NOBODY: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(table: &SlotTable) -> Vec<u32> {
        table.members.iter().map(|holder| holder.slot_count).collect()
    }

    #[test]
    fn a_newcomer_takes_slots_until_one_more_would_make_it_the_fullest() {
        let mut table = SlotTable::in_turns(7, &Membership::uniform(2));
        assert_eq!(counts(&table), [4, 3]);
        // At 3, 2, 2 the last step is from as full as it would be itself: it is taken.
        table.add(MemberId(2), 1.0);
        assert_eq!(counts(&table), [2, 2, 3]);
        // With one more it would be fuller than any other.
        table.add(MemberId(3), 1.0);
        assert_eq!(counts(&table), [2, 2, 1, 2]);
    }

    #[test]
    fn slots_follow_weights_through_every_change_and_move_no_more_than_they_must() {
        let mut members = Membership::uniform(3);
        members.reweight(MemberId(1), 2.0);
        for mut table in
            [SlotTable::in_stretches(1000, &members), SlotTable::in_turns(1000, &members)]
        {
            assert_eq!(counts(&table), [250, 500, 250]);
            let mut before = table.owners.clone();
            let mut check = |table: &SlotTable, expected: &[u32], moves: usize| {
                assert_eq!(counts(table), expected);
                for holder in &table.members {
                    let owned = table.owners.iter().filter(|&&owner| owner == holder.id).count();
                    assert_eq!(owned, holder.slot_count as usize);
                }
                let moved = before.iter().zip(&table.owners).filter(|(a, b)| a != b).count();
                assert_eq!(moved, moves);
                before.clone_from(&table.owners);
            };
            table.add(MemberId(3), 1.0);
            check(&table, &[200, 400, 200, 200], 200);
            table.reweight(MemberId(1), 1.0);
            check(&table, &[250, 250, 250, 250], 150);
            table.reweight(MemberId(0), 5.0);
            check(&table, &[625, 125, 125, 125], 375);
            table.remove(MemberId(0));
            check(&table, &[334, 333, 333], 625);
        }
    }
}
