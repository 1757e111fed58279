//! What the judge makes of brokers that keep logs: a record stays where it is when it is read, and
//! is done with when the group has committed a position behind it.
//!
//! The log of a partition is what its latest leader holds. What a leader appends that has been
//! replaced, and does not know it, is in no log: whoever replaced it will have it cut off. So a
//! record is lost at the instant at which a leader takes over that does not have it.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::NodeId;

use super::super::{Death, Indication, Token};
use super::Judge;
use super::windows::WindowLog;

/// What a broker tells of a log.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// A leader has appended a record.
    Appended {
        /// To which log.
        log: u32,
        /// In which term of leadership.
        epoch: u32,
        /// Where.
        offset: u64,
        /// Which.
        token: Token,
    },
    /// A leader begins its term, and the log is this from now on.
    Led {
        /// Which log.
        log: u32,
        /// Which term.
        epoch: u32,
        /// The offset of the first record.
        start: u64,
        /// The records.
        records: Vec<Token>,
    },
    /// A leader has sent a record to a consumer.
    Read {
        /// Of which log.
        log: u32,
        /// Where.
        offset: u64,
        /// Which.
        token: Token,
    },
    /// A consumer's application has been given a record that the consumer had fetched.
    Polled {
        /// Which.
        token: Token,
    },
    /// The group is done with everything before this offset.
    Committed {
        /// Of which log.
        log: u32,
        /// The offset of the next record to read.
        position: u64,
    },
    /// A consumer that reads the log from now on begins here.
    Rewound {
        /// Which log.
        log: u32,
        /// The offset of the first record that it will be given.
        position: u64,
    },
    /// A consumer counts the records of each log in windows of event time.
    Windows {
        /// How long each is.
        size: SimDuration,
        /// How late a record may be.
        lateness: SimDuration,
    },
    /// It tells how many records a window has, of which it expects no more.
    Counted {
        /// Of which log.
        log: u32,
        /// Which window, from 0.
        window: u64,
        /// How many records.
        record_count: u64,
    },
    /// It leaves out a record of whose window it has told already.
    Late {
        /// Of which log.
        log: u32,
    },
    /// A leader has let go all records before this offset: they were kept long enough.
    Trimmed {
        /// Of which log.
        log: u32,
        /// The offset of the first record that is left.
        start: u64,
    },
}

impl LogEvent {
    /// The number of the log.
    fn log_mut(&mut self) -> Option<&mut u32> {
        match self {
            Self::Appended { log, .. }
            | Self::Led { log, .. }
            | Self::Read { log, .. }
            | Self::Committed { log, .. }
            | Self::Rewound { log, .. }
            | Self::Counted { log, .. }
            | Self::Late { log }
            | Self::Trimmed { log, .. } => Some(log),
            Self::Polled { .. } | Self::Windows { .. } => None,
        }
    }

    /// The same of one of several clusters that tell the same judge, each of which numbers its logs
    /// from 0.
    pub(crate) fn of_cluster(mut self, cluster: u32) -> Self {
        const LOGS_MAX: u32 = 1 << 16;
        if let Some(log) = self.log_mut() {
            assert!(*log < LOGS_MAX, "a cluster has not so many logs");
            *log += cluster * LOGS_MAX;
        }
        self
    }
}

/// The logs, each as its latest leader has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs {
    by_number: BTreeMap<u32, LogView>,
}

#[derive(Clone, Debug, Default)]
struct LogView {
    epoch: u32,
    start: u64,
    /// The records, and whether a consumer has each. None is missing but while a leader takes over.
    records: VecDeque<Option<(Token, bool)>>,
    /// Everything before this offset is done with.
    committed: u64,
}

impl LogView {
    fn end(&self) -> u64 {
        self.start + self.records.len() as u64
    }

    fn place(&self, offset: u64) -> usize {
        offset.saturating_sub(self.start) as usize
    }
}

impl Judge {
    pub(super) fn hear_of_log(&mut self, node: NodeId, event: &LogEvent, now: SimTime) {
        match *event {
            LogEvent::Appended { log, epoch, offset, token } => {
                self.appended(log, epoch, offset, token, now);
            }
            LogEvent::Led { log, epoch, start, ref records } => {
                self.led(log, epoch, start, records, now);
            }
            LogEvent::Read { log, offset, token } => {
                let view = self.logs.by_number.entry(log).or_default();
                let at = view.place(offset);
                let is_open = view.committed <= offset;
                if let Some(Some((known, is_handed))) = view.records.get_mut(at)
                    && is_open
                    && *known == token
                    && !std::mem::replace(is_handed, true)
                    && self.leave_ready(token, now)
                {
                    self.life(token.serial, now).handed += 1;
                    self.depth.handed.add(1, now);
                }
            }
            LogEvent::Polled { token } => self.with_consumer(token.serial, node, false, now),
            LogEvent::Committed { log, position } => self.committed(log, position, now),
            LogEvent::Rewound { log, position } => {
                let view = self.logs.by_number.entry(log).or_default();
                let from = view.place(position.max(view.committed)).min(view.records.len());
                let mut again = Vec::new();
                for (token, is_handed) in view.records.range_mut(from..).flatten() {
                    if std::mem::take(is_handed) {
                        again.push(*token);
                    }
                }
                for token in again {
                    self.returned(token, "to be read again by another consumer", now);
                }
            }
            LogEvent::Trimmed { log, start } => self.trimmed(log, start, now),
            LogEvent::Windows { size, lateness } => {
                self.windows.get_or_insert_with(|| WindowLog::new(size, lateness));
            }
            LogEvent::Counted { log, window, record_count } => {
                if let Some(windows) = &mut self.windows {
                    windows.told(log, window, record_count, now);
                }
            }
            LogEvent::Late { .. } => {
                if let Some(windows) = &mut self.windows {
                    windows.late_count += 1;
                }
            }
        }
    }

    fn appended(&mut self, log: u32, epoch: u32, offset: u64, token: Token, now: SimTime) {
        let view = self.logs.by_number.entry(log).or_default();
        if epoch < view.epoch {
            self.life(token.serial, now).last = (now, "stored by a leader that had been replaced");
            self.conclude(token.serial);
            return;
        }
        if offset == view.end() {
            view.records.push_back(Some((token, false)));
            if let Some(windows) = &mut self.windows
                && let Some(life) = self.lives.get(&token.serial)
            {
                windows.belongs(log, token.serial, life.intended);
            }
            self.stored(token, now);
        } else {
            self.break_law(token, "stored elsewhere than at the end of its log", now);
        }
    }

    fn led(&mut self, log: u32, epoch: u32, start: u64, records: &[Token], now: SimTime) {
        let view = self.logs.by_number.entry(log).or_default();
        if epoch < view.epoch {
            return;
        }
        let new = LogView {
            epoch,
            start,
            records: records.iter().map(|token| Some((*token, false))).collect(),
            committed: view.committed.min(start + records.len() as u64),
        };
        let mut old = std::mem::replace(view, new);
        for (offset, &token) in (start..).zip(records) {
            let at = old.place(offset);
            let known = old.records.get_mut(at).filter(|_| old.start <= offset);
            match known.and_then(|known| known.take_if(|(before, _)| *before == token)) {
                Some((_, is_handed)) => {
                    let view = self.logs.by_number.entry(log).or_default();
                    let at = view.place(offset);
                    view.records[at] = Some((token, is_handed));
                }
                None => self.stored(token, now),
            }
        }
        // What is left is in no log any more.
        for (offset, record) in (old.start..).zip(old.records) {
            let Some((token, is_handed)) = record.filter(|_| old.committed <= offset) else {
                continue;
            };
            if self.leave(token, is_handed, now) {
                self.depth.shrink(token, now);
                self.tally.gone += 1;
            }
            self.life(token.serial, now).last =
                (now, "not in the log of its partition's new leader");
            self.conclude(token.serial);
        }
    }

    /// A copy is no longer where it was: with a consumer, or ready. Whether it was there.
    fn leave(&mut self, token: Token, is_handed: bool, now: SimTime) -> bool {
        if is_handed { self.leave_consumer(token, now) } else { self.leave_ready(token, now) }
    }

    fn committed(&mut self, log: u32, position: u64, now: SimTime) {
        let view = self.logs.by_number.entry(log).or_default();
        let position = position.min(view.end());
        let (from, to) = (view.place(view.committed.max(view.start)), view.place(position));
        view.committed = view.committed.max(position);
        let done: Vec<(Token, bool)> =
            view.records.range(from..to.max(from)).flatten().copied().collect();
        for (token, is_handed) in done {
            if self.leave(token, is_handed, now) {
                self.depth.shrink(token, now);
            }
            self.tally.settled += 1;
            self.life(token.serial, now).last = (now, "passed by the position that was committed");
            self.conclude(token.serial);
        }
    }

    fn trimmed(&mut self, log: u32, start: u64, now: SimTime) {
        loop {
            let view = self.logs.by_number.entry(log).or_default();
            if start <= view.start {
                return;
            }
            let Some(record) = view.records.pop_front() else { return };
            let offset = view.start;
            view.start += 1;
            if let Some((token, was_handed)) = record.filter(|_| view.committed <= offset) {
                let (why, is_kept) = (Death::Expired, false);
                self.died(token, why, was_handed, is_kept, now);
            }
        }
    }
}

impl From<LogEvent> for Indication {
    fn from(event: LogEvent) -> Self {
        Self::Log(event)
    }
}
