//! A partition's log: batches of records, each with the term in which a leader appended it, and what
//! idempotent producers sent last.
//!
//! Read at apache/kafka 1eb7644: `UnifiedLog.scala`, `LeaderEpochFileCache.java`,
//! `ProducerStateEntry.java` (the last 5 batches of each producer), `ProducerAppendInfo.java`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::clock::WallTime;

use super::super::{Item, Token};
use super::group::GroupRecord;

/// What a batch holds.
#[derive(Clone, Debug)]
pub(in crate::queues) enum Content {
    /// Messages.
    Items(Arc<[Item]>),
    /// What the group's coordinator remembers: one record.
    Group(Arc<GroupRecord>),
}

/// By whom a batch was produced, for telling a repetition.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::queues) struct Stamp {
    /// The producer's id: one for each session.
    pub(super) producer: u64,
    /// The number of its first record among those of that producer in this partition.
    pub(super) first: u64,
}

/// Records that were appended together.
#[derive(Clone, Debug)]
pub(in crate::queues) struct Batch {
    pub(super) base: u64,
    pub(super) epoch: u32,
    pub(super) stamp: Option<Stamp>,
    /// When a leader appended it.
    pub(super) at: WallTime,
    pub(super) content: Content,
}

/// A log, or what a disk has of it.
#[derive(Clone, Debug, Default)]
pub(in crate::queues) struct Log {
    start: u64,
    batches: VecDeque<Batch>,
    /// Of each producer, the last few batches: first and last number, and the offset behind.
    producers: BTreeMap<u64, VecDeque<(u64, u64, u64)>>,
}

/// What becomes of a batch with a stamp.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Sequence {
    /// It is the next one, or the first that is heard of this producer.
    Next,
    /// It is in the log, up to before this offset.
    Known(u64),
    /// One before it is missing.
    Gap,
}

impl Batch {
    pub(super) fn len(&self) -> u64 {
        match &self.content {
            Content::Items(items) => items.len() as u64,
            Content::Group(_) => 1,
        }
    }

    /// The offset behind it.
    pub(super) fn end(&self) -> u64 {
        self.base + self.len()
    }

    pub(super) fn items(&self) -> &[Item] {
        match &self.content {
            Content::Items(items) => items,
            Content::Group(_) => &[],
        }
    }

    fn size_bytes(&self) -> u64 {
        let items: u64 = self.items().iter().map(|item| u64::from(item.size_bytes)).sum();
        items + 61
    }
}

impl Log {
    /// The offset of the first record.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// The log end offset: the next record gets this one.
    pub(super) fn end(&self) -> u64 {
        self.batches.back().map_or(self.start, Batch::end)
    }

    /// The term of the last batch.
    pub(super) fn last_epoch(&self) -> u32 {
        self.batches.back().map_or(0, |batch| batch.epoch)
    }

    pub(super) fn batches(&self) -> impl Iterator<Item = &Batch> {
        self.batches.iter()
    }

    pub(super) fn tokens(&self) -> Vec<Token> {
        self.batches().flat_map(Batch::items).map(Item::token).collect()
    }

    /// Whether a batch with this stamp and so many records may be appended.
    pub(super) fn sequence(&self, stamp: Stamp, len: u64) -> Sequence {
        let Some(known) = self.producers.get(&stamp.producer) else { return Sequence::Next };
        let last = stamp.first + len - 1;
        let same = known.iter().find(|&&(first, end, _)| (first, end) == (stamp.first, last));
        match (same, known.back()) {
            (Some(&(.., end)), _) => Sequence::Known(end),
            (None, Some(&(_, latest, _))) if stamp.first != latest + 1 => Sequence::Gap,
            (None, _) => Sequence::Next,
        }
    }

    /// Appends a batch, whose base must be the end.
    pub(super) fn append(&mut self, batch: Batch) {
        debug_assert_eq!(batch.base, self.end(), "a log has no holes");
        self.note_producer(&batch);
        self.batches.push_back(batch);
    }

    fn note_producer(&mut self, batch: &Batch) {
        let Some(stamp) = batch.stamp else { return };
        let known = self.producers.entry(stamp.producer).or_default();
        if known.len() == BATCHES_KEPT {
            known.pop_front();
        }
        known.push_back((stamp.first, stamp.first + batch.len() - 1, batch.end()));
    }

    /// Cuts off what is at `end` and behind.
    pub(super) fn truncate(&mut self, end: u64) {
        while self.batches.back().is_some_and(|batch| end < batch.end()) {
            self.batches.pop_back();
        }
        self.producers.clear();
        for batch in std::mem::take(&mut self.batches) {
            self.note_producer(&batch);
            self.batches.push_back(batch);
        }
    }

    /// Begins anew at `start`, with nothing.
    pub(super) fn reset(&mut self, start: u64) {
        *self = Self { start, ..Self::default() };
    }

    /// Lets go what is before `start`, whole batches only.
    pub(super) fn trim(&mut self, start: u64) {
        while let Some(first) = self.batches.front().filter(|first| first.end() <= start) {
            self.start = first.end();
            self.batches.pop_front();
        }
    }

    /// The last term that is not after `epoch`, and the offset at which it ends.
    pub(super) fn end_of_epoch(&self, epoch: u32) -> (u32, u64) {
        let behind = self.batches.partition_point(|batch| batch.epoch <= epoch);
        match behind.checked_sub(1).map(|last| &self.batches[last]) {
            Some(last) => (last.epoch, last.end()),
            None => (0, self.start),
        }
    }

    /// The batches from the one with `offset` on that end at or before `limit`: up to so many bytes,
    /// and at least one.
    pub(super) fn read(&self, offset: u64, limit: u64, bytes_max: u64) -> Vec<Batch> {
        let first = self.batches.partition_point(|batch| batch.end() <= offset);
        let mut bytes = 0;
        let mut read = Vec::new();
        for batch in self.batches.range(first..) {
            bytes += batch.size_bytes();
            if limit < batch.end() || (bytes_max < bytes && !read.is_empty()) {
                break;
            }
            read.push(batch.clone());
        }
        read
    }
}

/// How many batches of each producer a broker remembers (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
const BATCHES_KEPT: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: u64, epoch: u32, stamp: Option<Stamp>) -> Batch {
        let content = Content::Group(Arc::new(GroupRecord::Offsets(Vec::new())));
        Batch { base, epoch, stamp, at: WallTime(0), content }
    }

    #[test]
    fn a_repetition_is_known_among_the_last_five_batches() {
        let mut log = Log::default();
        let stamp = |first| Stamp { producer: 7, first };
        for first in 0..6 {
            assert_eq!(log.sequence(stamp(first), 1), Sequence::Next);
            log.append(batch(first, 0, Some(stamp(first))));
        }
        assert_eq!(log.sequence(stamp(5), 1), Sequence::Known(6));
        assert_eq!(log.sequence(stamp(1), 1), Sequence::Known(2));
        assert_eq!(log.sequence(stamp(0), 1), Sequence::Gap, "five were kept");
        assert_eq!(log.sequence(stamp(7), 1), Sequence::Gap);
        let anew = Stamp { producer: 8, first: 0 };
        assert_eq!(log.sequence(anew, 1), Sequence::Next, "a new session is another producer");
    }

    #[test]
    fn what_was_cut_off_is_not_known_any_more() {
        let mut log = Log::default();
        for first in 0..3 {
            log.append(batch(first, 0, Some(Stamp { producer: 7, first })));
        }
        log.truncate(2);
        assert_eq!(log.end(), 2);
        assert_eq!(log.sequence(Stamp { producer: 7, first: 2 }, 1), Sequence::Next);
    }

    #[test]
    fn a_term_ends_where_the_next_begins() {
        let mut log = Log::default();
        for (base, epoch) in [(0, 0), (1, 0), (2, 3), (3, 5)] {
            log.append(batch(base, epoch, None));
        }
        assert_eq!(log.end_of_epoch(0), (0, 2));
        assert_eq!(log.end_of_epoch(2), (0, 2));
        assert_eq!(log.end_of_epoch(4), (3, 3));
        assert_eq!(log.end_of_epoch(9), (5, 4));
    }
}
