//! What the judge makes of consumers that count records in windows of event time: it knows which
//! records each log was given, whatever any consumer has read of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::time::{SimDuration, SimTime};
use crate::record::Distribution;

use super::super::Serial;

/// Which window of which log.
type Window = (u32, u64);

/// How many windows ended, and of how many a result counts each record once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(in crate::queues) struct WindowTally {
    pub(in crate::queues) due: u64,
    /// What is told first: right for whoever keeps the first result.
    pub(in crate::queues) right_at_first: u64,
    /// What is told last: right for whoever overwrites it.
    pub(in crate::queues) right_in_the_end: u64,
}

/// All windows of a run.
#[derive(Clone, Debug)]
pub(in crate::queues) struct WindowLog {
    size: SimDuration,
    lateness: SimDuration,
    /// The records that belong to each, however often each was stored.
    records: BTreeMap<Window, BTreeSet<Serial>>,
    /// The latest event time in each log.
    latest: BTreeMap<u32, SimTime>,
    /// The first result of each, and the last.
    results: BTreeMap<Window, (u64, u64)>,
    /// How many results came after another of the same window.
    pub(in crate::queues) repeated_count: u64,
    /// How many records consumers left out.
    pub(in crate::queues) late_count: u64,
    /// From the end of a window to its first result.
    pub(in crate::queues) delay: Distribution,
}

impl WindowLog {
    pub(super) fn new(size: SimDuration, lateness: SimDuration) -> Self {
        Self {
            size,
            lateness,
            records: BTreeMap::new(),
            latest: BTreeMap::new(),
            results: BTreeMap::new(),
            repeated_count: 0,
            late_count: 0,
            delay: Distribution::new(),
        }
    }

    /// A log was given a record of this event time.
    pub(super) fn belongs(&mut self, log: u32, serial: Serial, born: SimTime) {
        let window = (log, born.as_ns() / self.size.as_ns());
        self.records.entry(window).or_default().insert(serial);
        let latest = self.latest.entry(log).or_default();
        *latest = (*latest).max(born);
    }

    /// A consumer told how many records a window has.
    pub(super) fn told(&mut self, log: u32, window: u64, record_count: u64, now: SimTime) {
        let delay = now.since(self.end_of(window).min(now));
        match self.results.get_mut(&(log, window)) {
            Some((_, last)) => {
                *last = record_count;
                self.repeated_count += 1;
            }
            None => {
                self.results.insert((log, window), (record_count, record_count));
                self.delay.add(delay.as_ns());
            }
        }
    }

    /// Of the windows of which somebody who reads everything would have told, how many have which
    /// result right.
    pub(in crate::queues) fn tally(&self) -> WindowTally {
        let is_due = |(log, window): Window| {
            let end = self.end_of(window) + self.lateness;
            self.latest.get(&log).is_some_and(|&latest| end <= latest)
        };
        let mut tally = WindowTally::default();
        for (window, records) in self.records.iter().filter(|(window, _)| is_due(**window)) {
            let count = records.len() as u64;
            let (first, last) = self.results.get(window).copied().unzip();
            tally.due += 1;
            tally.right_at_first += u64::from(first == Some(count));
            tally.right_in_the_end += u64::from(last == Some(count));
        }
        tally
    }

    fn end_of(&self, window: u64) -> SimTime {
        SimTime::ZERO + self.size.times(window + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> SimTime {
        SimTime::ZERO + SimDuration::from_ms(ms)
    }

    fn tally(windows: &WindowLog) -> (u64, u64, u64) {
        let WindowTally { due, right_at_first, right_in_the_end } = windows.tally();
        (due, right_at_first, right_in_the_end)
    }

    #[test]
    fn a_result_is_right_if_it_counts_each_record_once() {
        let mut windows = WindowLog::new(SimDuration::from_ms(100), SimDuration::from_ms(50));
        for (serial, born_ms) in [(1, 10), (2, 20), (2, 20), (3, 110), (4, 220), (5, 340)] {
            windows.belongs(0, Serial(serial), at(born_ms));
        }
        // The fourth window ends at 400 ms, and the third wants a record from 350 ms.
        assert_eq!(tally(&windows), (2, 0, 0));
        windows.told(0, 0, 3, at(160));
        windows.told(0, 1, 1, at(260));
        assert_eq!(tally(&windows), (2, 1, 1), "one record is counted twice");
        windows.told(0, 0, 2, at(400));
        assert_eq!(tally(&windows), (2, 1, 2));
        assert_eq!(windows.repeated_count, 1);
        // 60 ms each: the repetition has no delay.
        assert_eq!((windows.delay.count(), windows.delay.max() / 100_000), (2, 600));
        windows.belongs(0, Serial(8), at(350));
        assert_eq!(tally(&windows), (3, 1, 2), "that one ends the third");
        // Of another log, with the same number.
        windows.belongs(1, Serial(6), at(30));
        windows.belongs(1, Serial(7), at(200));
        assert_eq!(tally(&windows), (4, 1, 2));
    }
}
