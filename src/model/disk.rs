//! A node's disk: what the operating system has taken, and what has really been written.

use std::collections::VecDeque;

use crate::kernel::time::SimTime;

use super::node::{Stable, SyncId};

/// The disk of one machine, holding two images: what a process would find if it restarted now,
/// and what it would find if the power failed now.
#[derive(Clone, Debug)]
pub(super) struct Disk<S: Stable> {
    taken: S,
    written: S,
    // Writes that the operating system has taken and not yet brought to the disk, oldest first.
    dirty: VecDeque<S::Write>,
    // Syncs under way, oldest first, each with how many writes it covers beyond the one before.
    syncs: VecDeque<(SyncId, usize)>,
    // Writes not yet covered by any sync.
    uncovered: usize,
    /// When the last sync that was asked for will be done: syncs queue up at the device.
    pub(super) busy_until: SimTime,
}

impl<S: Stable> Disk<S> {
    pub(super) fn new() -> Self {
        Self {
            taken: S::default(),
            written: S::default(),
            dirty: VecDeque::new(),
            syncs: VecDeque::new(),
            uncovered: 0,
            busy_until: SimTime::ZERO,
        }
    }

    /// What a process finds that starts now.
    pub(super) fn image(&self) -> &S {
        &self.taken
    }

    /// The operating system takes a write.
    pub(super) fn write(&mut self, write: S::Write) {
        self.taken.apply(&write);
        self.dirty.push_back(write);
        self.uncovered += 1;
    }

    /// A sync begins, of all that was written so far.
    pub(super) fn begin_sync(&mut self, id: SyncId) {
        self.syncs.push_back((id, self.uncovered));
        self.uncovered = 0;
    }

    /// The oldest sync is done.
    pub(super) fn finish_sync(&mut self) -> Option<SyncId> {
        let (id, covered) = self.syncs.pop_front()?;
        for write in self.dirty.drain(..covered) {
            self.written.apply(&write);
        }
        Some(id)
    }

    /// The machine loses power: what was not synced is gone.
    pub(super) fn lose_power(&mut self, now: SimTime) {
        self.taken = self.written.clone();
        self.dirty.clear();
        self.syncs.clear();
        self.uncovered = 0;
        self.busy_until = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, Default, PartialEq)]
    struct Log(Vec<u32>);

    impl Stable for Log {
        type Write = u32;

        fn apply(&mut self, write: &u32) {
            self.0.push(*write);
        }
    }

    #[test]
    fn a_power_failure_keeps_exactly_what_a_finished_sync_covered() {
        let mut disk = Disk::<Log>::new();
        disk.write(1);
        disk.begin_sync(SyncId(1));
        disk.write(2);
        disk.begin_sync(SyncId(2));
        disk.write(3);
        assert_eq!(disk.finish_sync(), Some(SyncId(1)));
        assert_eq!(disk.image().0, [1, 2, 3], "a process restart finds all that was written");
        disk.lose_power(SimTime::ZERO);
        assert_eq!(disk.image().0, [1]);
        assert_eq!(disk.finish_sync(), None, "a sync under way dies with the power");
    }
}
