//! A replica of a partition: its log, and, where it leads, what it knows of the others.
//!
//! Read at apache/kafka 1eb7644: `Partition.scala` and `Replica.scala`. A leader takes a follower to
//! have what is before the offset from which that fetches; what every replica in sync has is below
//! the high watermark, and only that is confirmed under `acks=all` and shown to consumers.

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::node::NodeId;

use super::log::{Batch, Log};

/// A replica.
#[derive(Clone, Debug)]
pub(super) struct Replica {
    pub(super) log: Log,
    /// The high watermark.
    pub(super) high: u64,
    pub(super) leads: Option<Leading>,
    /// Who leads, as far as this broker knows, and in which term.
    pub(super) leader: Option<NodeId>,
    pub(super) epoch: u32,
}

/// What a leader knows.
#[derive(Clone, Debug)]
pub(super) struct Leading {
    /// Where the log ended when the term began.
    epoch_start: u64,
    pub(super) isr: Vec<NodeId>,
    pub(super) version: u32,
    followers: BTreeMap<NodeId, Follower>,
    /// Which replicas the controller has been asked to take for in sync, and when.
    asked: Option<(Vec<NodeId>, SimTime)>,
    /// Requests that wait for the high watermark to pass an offset.
    pub(super) waiting: VecDeque<(u64, super::broker::Waiting)>,
}

#[derive(Clone, Copy, Debug)]
struct Follower {
    /// Where its log ends.
    end: u64,
    /// When it had all that there was.
    caught_up: SimTime,
    /// Where the leader's log ended when it fetched last, and when that was.
    latest: (u64, SimTime),
    /// The high watermark that it was told last.
    told: u64,
}

/// What a leader answers a follower.
#[derive(Clone, Debug)]
pub(in crate::queues) enum Fetched {
    /// These follow; and the leader's high watermark.
    Batches(Vec<Batch>, u64),
    /// The follower's log is another from here on: it has to be cut off at this offset or at the end
    /// of this term in its own log, whichever is earlier.
    Diverges(u32, u64),
    /// What the follower asks for was kept long enough: the log begins here.
    Begins(u64),
    /// This broker does not lead the partition in that term.
    Stale,
}

impl Replica {
    pub(super) fn new(log: Log) -> Self {
        Self { log, high: 0, leads: None, leader: None, epoch: 0 }
    }

    /// Begins to lead in term `epoch`.
    pub(super) fn lead(
        &mut self,
        own: NodeId,
        others: &[NodeId],
        isr: &[NodeId],
        version: u32,
        now: SimTime,
    ) {
        let follower = Follower { end: 0, caught_up: now, latest: (0, now), told: 0 };
        let others = others.iter().filter(|&&other| other != own);
        self.leads = Some(Leading {
            epoch_start: self.log.end(),
            isr: isr.to_vec(),
            version,
            followers: others.map(|&other| (other, follower)).collect(),
            asked: None,
            waiting: VecDeque::new(),
        });
        self.advance();
    }

    /// The controllers have agreed on other replicas in sync.
    pub(super) fn set_isr(&mut self, isr: &[NodeId], version: u32) {
        if let Some(leading) = &mut self.leads {
            leading.isr = isr.to_vec();
            leading.version = version;
            leading.asked = None;
        }
        self.advance();
    }

    /// Moves the high watermark to what all replicas in sync have, those included that might be so
    /// already without this leader knowing. Whether it moved.
    pub(super) fn advance(&mut self) -> bool {
        let Some(leading) = &self.leads else { return false };
        let asked = leading.asked.iter().flat_map(|(isr, _)| isr);
        let counted = leading.isr.iter().chain(asked);
        // The leader itself is no follower of its own.
        let ends = counted.filter_map(|replica| leading.followers.get(replica)).map(|one| one.end);
        let least = ends.min().map_or(self.log.end(), |end| end.min(self.log.end()));
        let moves = self.high < least;
        self.high = self.high.max(least);
        moves
    }

    /// A follower asks for what is at `offset`; the last batch that it has is of term `last_epoch`.
    /// Its log ends there.
    pub(super) fn fetched_by(
        &mut self,
        follower: NodeId,
        offset: u64,
        last_epoch: u32,
        now: SimTime,
    ) -> Option<Fetched> {
        let end = self.log.end();
        let (epoch, ends) = self.log.end_of_epoch(last_epoch);
        if self.log.start() < offset && (epoch < last_epoch || ends < offset) {
            return Some(Fetched::Diverges(epoch, ends));
        }
        if offset < self.log.start() {
            return Some(Fetched::Begins(self.log.start()));
        }
        let known = self.leads.as_mut()?.followers.get_mut(&follower)?;
        if end <= offset {
            known.caught_up = now;
        } else if known.latest.0 <= offset {
            known.caught_up = known.caught_up.max(known.latest.1);
        }
        known.latest = (end, now);
        known.end = offset;
        None
    }

    /// What there is for a follower, and whether it is anything new to it.
    pub(super) fn news_for(
        &mut self,
        follower: NodeId,
        offset: u64,
        bytes: u64,
    ) -> Option<Fetched> {
        let batches = self.log.read(offset, self.log.end(), bytes);
        let known = self.leads.as_mut()?.followers.get_mut(&follower)?;
        let is_new = !batches.is_empty() || known.told < self.high;
        known.told = self.high;
        is_new.then_some(Fetched::Batches(batches, self.high))
    }

    /// Which replicas the controller should take for in sync, where that differs from what it does:
    /// without those that have been behind for too long, and with one that has caught up.
    pub(super) fn wanted_isr(
        &mut self,
        own: NodeId,
        lag_max: SimDuration,
        is_fenced: impl Fn(NodeId) -> bool,
        now: SimTime,
    ) -> Option<Vec<NodeId>> {
        let end = self.log.end();
        let leading = self.leads.as_mut()?;
        if leading.asked.as_ref().is_some_and(|(_, at)| now.since(*at) < ASKED_AGAIN) {
            return None;
        }
        let lags = |one: &Follower| one.end != end && lag_max < now.since(one.caught_up);
        let mut isr = leading.isr.clone();
        isr.retain(|replica| {
            *replica == own || leading.followers.get(replica).is_some_and(|one| !lags(one))
        });
        for (&replica, one) in &leading.followers {
            let has_caught_up = self.high.max(leading.epoch_start) <= one.end && !lags(one);
            if !isr.contains(&replica) && has_caught_up && !is_fenced(replica) {
                isr.push(replica);
            }
        }
        isr.sort_unstable();
        let mut current = leading.isr.clone();
        current.sort_unstable();
        if isr == current {
            return None;
        }
        leading.asked = Some((isr.clone(), now));
        Some(isr)
    }
}

/// After how long a leader asks the controller again.
const ASKED_AGAIN: SimDuration = SimDuration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::group::GroupRecord;
    use super::super::log::Content;
    use super::*;
    use crate::model::clock::WallTime;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const C: NodeId = NodeId(2);

    fn leader(isr: &[NodeId]) -> Replica {
        let mut replica = Replica::new(Log::default());
        replica.lead(A, &[A, B, C], isr, 0, SimTime::ZERO);
        replica
    }

    fn append(replica: &mut Replica, epoch: u32) {
        let content = Content::Group(Arc::new(GroupRecord::Offsets(Vec::new())));
        let base = replica.log.end();
        replica.log.append(Batch { base, epoch, stamp: None, at: WallTime(0), content });
        replica.advance();
    }

    fn at(ms: u64) -> SimTime {
        SimTime::from_ms(ms)
    }

    #[test]
    fn the_high_watermark_is_what_all_in_sync_have() {
        let mut replica = leader(&[A, B, C]);
        append(&mut replica, 0);
        append(&mut replica, 0);
        assert_eq!(replica.high, 0, "the followers have nothing");
        replica.fetched_by(B, 2, 0, at(1));
        replica.advance();
        assert_eq!(replica.high, 0, "one of two has it");
        replica.fetched_by(C, 1, 0, at(1));
        replica.advance();
        assert_eq!(replica.high, 1, "both have the first");
        replica.set_isr(&[A, B], 1);
        assert_eq!(replica.high, 2, "C counts no more");
    }

    #[test]
    fn one_that_is_asked_for_counts_before_the_controller_agrees() {
        let mut replica = leader(&[A, B]);
        append(&mut replica, 0);
        replica.fetched_by(B, 1, 0, at(1));
        replica.fetched_by(C, 1, 0, at(1));
        replica.advance();
        let wanted = replica.wanted_isr(A, SimDuration::from_secs(30), |_| false, at(2));
        assert_eq!(wanted, Some(vec![A, B, C]));
        append(&mut replica, 0);
        replica.fetched_by(B, 2, 0, at(3));
        replica.advance();
        assert_eq!(replica.high, 1, "C may be in sync, for all that the leader knows");
    }

    #[test]
    fn who_is_behind_for_too_long_is_out_of_sync() {
        let mut replica = leader(&[A, B, C]);
        append(&mut replica, 0);
        replica.fetched_by(B, 1, 0, at(10));
        let lag_max = SimDuration::from_ms(100);
        assert_eq!(replica.wanted_isr(A, lag_max, |_| false, at(100)), None);
        assert_eq!(replica.wanted_isr(A, lag_max, |_| false, at(200)), Some(vec![A, B]));
    }

    #[test]
    fn a_follower_with_another_history_is_told_where_it_parts() {
        let mut replica = leader(&[A]);
        append(&mut replica, 0);
        append(&mut replica, 2);
        let told = replica.fetched_by(B, 3, 1, at(1));
        assert!(matches!(told, Some(Fetched::Diverges(0, 1))), "{told:?}");
        let told = replica.fetched_by(B, 1, 0, at(1));
        assert!(told.is_none(), "{told:?}");
    }
}
