//! What a consumer counts that processes a stream: the records of each partition in windows of event
//! time, one behind the other.
//!
//! A window is told of when the partition's watermark passes its end: the latest event time that was
//! seen there, less the lateness that is allowed (Akidau et al., "The Dataflow Model", VLDB 2015,
//! section 2.3; `TimeWindows.ofSizeAndGrace` and `AbstractKStreamTimeWindowAggregateProcessor` of
//! Kafka Streams, where a record whose window has ended is dropped as expired). The watermark stands
//! still where nothing comes: the last windows of a partition are told of by no one.
//!
//! What is counted is in memory only, as in a program of one's own around a consumer. There is no
//! changelog that another consumer could take over.

use std::collections::BTreeMap;

use crate::kernel::time::{SimDuration, SimTime};

use super::super::Item;
use super::super::judge::LogEvent;
use super::WindowParams;

/// The windows of all partitions that a consumer reads.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    size: SimDuration,
    lateness: SimDuration,
    by_partition: BTreeMap<u32, Partition>,
}

#[derive(Clone, Debug, Default)]
struct Partition {
    /// The latest event time.
    latest: SimTime,
    /// By number; the end of the last one is the watermark at most.
    open: BTreeMap<u64, Open>,
    /// Whether it was told of a window whose records are not committed.
    has_told: bool,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    record_count: u64,
    first_offset: u64,
}

impl Windows {
    pub(super) fn new(params: &WindowParams) -> Self {
        Self { size: params.size, lateness: params.lateness, by_partition: BTreeMap::new() }
    }

    /// What others have to know of it.
    pub(super) const fn announced(&self) -> LogEvent {
        LogEvent::Windows { size: self.size, lateness: self.lateness }
    }

    /// Counts a record that was worked on; what there is to tell then.
    pub(super) fn count(&mut self, partition: u32, offset: u64, item: &Item) -> Vec<LogEvent> {
        let (size, lateness) = (self.size.as_ns(), self.lateness.as_ns());
        let this = self.by_partition.entry(partition).or_default();
        // All windows before this one have ended.
        let ended = |latest: SimTime| latest.as_ns().saturating_sub(lateness) / size;
        let number = item.born.as_ns() / size;
        if number < ended(this.latest) {
            return vec![LogEvent::Late { log: partition }];
        }
        let open = Open { record_count: 0, first_offset: offset };
        let window = this.open.entry(number).or_insert(open);
        window.record_count += 1;
        window.first_offset = window.first_offset.min(offset);
        this.latest = this.latest.max(item.born);
        let still_open = this.open.split_off(&ended(this.latest));
        let told = std::mem::replace(&mut this.open, still_open);
        this.has_told |= !told.is_empty();
        let result = |(window, Open { record_count, .. })| LogEvent::Counted {
            log: partition,
            window,
            record_count,
        };
        told.into_iter().map(result).collect()
    }

    /// Whether it has told of a window of `partition` since this was last asked.
    pub(super) fn take_told(&mut self, partition: u32) -> bool {
        let this = self.by_partition.get_mut(&partition);
        this.is_some_and(|this| std::mem::take(&mut this.has_told))
    }

    /// The first record that counts towards a window of which it has not told.
    pub(super) fn first_open(&self, partition: u32) -> Option<u64> {
        self.by_partition.get(&partition)?.open.values().map(|open| open.first_offset).min()
    }

    /// Another one reads these partitions now.
    pub(super) fn forget(&mut self, which: impl Fn(u32) -> bool) {
        self.by_partition.retain(|&partition, _| !which(partition));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::work::tests::item;
    use super::*;

    fn windows(lateness_ms: u64) -> Windows {
        Windows::new(&WindowParams {
            size: SimDuration::from_ms(100),
            lateness: SimDuration::from_ms(lateness_ms),
        })
    }

    fn count(windows: &mut Windows, offset: u64, born_ms: u64) -> Vec<String> {
        let born = SimTime::ZERO + SimDuration::from_ms(born_ms);
        let told = windows.count(0, offset, &Item { born, ..item(offset) });
        told.iter()
            .map(|event| match event {
                LogEvent::Counted { window, record_count, .. } => {
                    format!("{window}: {record_count}")
                }
                LogEvent::Late { .. } => "late".into(),
                other => format!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_window_is_told_of_when_a_record_comes_from_behind_its_end() {
        let mut windows = windows(0);
        assert!(count(&mut windows, 0, 10).is_empty());
        assert!(count(&mut windows, 1, 99).is_empty());
        assert_eq!(count(&mut windows, 2, 100), ["0: 2"]);
        assert_eq!(count(&mut windows, 3, 99), ["late"]);
        assert_eq!(count(&mut windows, 4, 420), ["1: 1"]);
    }

    #[test]
    fn lateness_holds_a_window_open() {
        let mut windows = windows(50);
        assert!(count(&mut windows, 0, 10).is_empty());
        assert!(count(&mut windows, 1, 149).is_empty());
        assert!(count(&mut windows, 2, 20).is_empty());
        assert_eq!(count(&mut windows, 3, 150), ["0: 2"]);
        assert_eq!(count(&mut windows, 4, 30), ["late"]);
    }

    #[test]
    fn what_is_not_told_is_not_to_be_committed() {
        let mut windows = windows(50);
        for (offset, born_ms) in [(5, 120), (6, 40), (7, 160)] {
            count(&mut windows, offset, born_ms);
        }
        assert!(windows.take_told(0), "the first window ended at 150 ms");
        assert!(!windows.take_told(0));
        assert_eq!(windows.first_open(0), Some(5));
        windows.forget(|partition| partition == 0);
        assert_eq!(windows.first_open(0), None);
        assert!(count(&mut windows, 8, 10).is_empty(), "who begins anew knows of no window");
    }
}
