//! What the controllers agree on: which brokers are at work, who leads each partition, and which of
//! its replicas are in sync.
//!
//! `KRaft`: the brokers are controllers too (`process.roles=broker,controller`) and keep the metadata in
//! a log of their own, by Raft. Read at apache/kafka 1eb7644: `ReplicationControlManager.java`,
//! `PartitionChangeBuilder.java`, `BrokerHeartbeatManager.java`.

use std::collections::BTreeMap;

use crate::model::node::NodeId;

/// A command in the metadata log.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::queues) enum Command {
    /// A broker has been silent for too long: it leads nothing and is in sync with nothing.
    Fence(NodeId),
    /// A broker is at work, in this life of its process.
    Unfence(NodeId, u64),
    /// A leader says which replicas are in sync.
    AlterIsr {
        partition: u32,
        /// The term in which it leads.
        epoch: u32,
        /// The version of what it changes.
        version: u32,
        isr: Vec<NodeId>,
    },
}

/// What is known of a partition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PartitionState {
    /// Who has a replica; the first is to lead where it can.
    pub(super) replicas: Vec<NodeId>,
    pub(super) leader: Option<NodeId>,
    /// Rises with each leader.
    pub(super) epoch: u32,
    /// Rises with each change.
    pub(super) version: u32,
    /// The replicas in sync: whatever the high watermark has passed, each of them has.
    pub(super) isr: Vec<NodeId>,
}

/// The state that the metadata log leads to.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) partitions: Vec<PartitionState>,
    /// Each broker: whether it is fenced, and which life of it was registered last.
    brokers: BTreeMap<NodeId, (bool, u64)>,
    unclean: bool,
}

impl Metadata {
    /// As at the start of a run: every broker is at work, the first replica of each partition leads,
    /// and all are in sync.
    pub(super) fn new(placed: &[Vec<NodeId>], brokers: &[NodeId], unclean: bool) -> Self {
        let state = |replicas: &Vec<NodeId>| PartitionState {
            replicas: replicas.clone(),
            leader: replicas.first().copied(),
            epoch: 0,
            version: 0,
            isr: replicas.clone(),
        };
        Self {
            partitions: placed.iter().map(state).collect(),
            brokers: brokers.iter().map(|&broker| (broker, (false, FIRST_LIFE))).collect(),
            unclean,
        }
    }

    pub(super) fn brokers(&self) -> impl Iterator<Item = NodeId> {
        self.brokers.keys().copied()
    }

    pub(super) fn is_fenced(&self, broker: NodeId) -> bool {
        self.brokers.get(&broker).is_none_or(|&(is_fenced, _)| is_fenced)
    }

    pub(super) fn life(&self, broker: NodeId) -> Option<u64> {
        self.brokers.get(&broker).map(|&(_, life)| life)
    }

    /// What a command changes. The numbers of the partitions that changed.
    pub(super) fn apply(&mut self, command: &Command) -> Vec<u32> {
        match command {
            Command::Fence(broker) => {
                if let Some((is_fenced, _)) = self.brokers.get_mut(broker) {
                    *is_fenced = true;
                }
                self.change_all(|state| {
                    // The last one that was in sync stays so: only it has everything.
                    let is_last = state.isr == [*broker];
                    if !is_last {
                        state.isr.retain(|other| other != broker);
                    }
                    if state.leader == Some(*broker) {
                        state.leader = None;
                    }
                })
            }
            Command::Unfence(broker, life) => {
                self.brokers.insert(*broker, (false, *life));
                self.change_all(|_| ())
            }
            Command::AlterIsr { partition, epoch, version, isr } => {
                let state = &self.partitions[*partition as usize];
                let is_current = state.epoch == *epoch && state.version == *version;
                let is_sound = isr.iter().all(|&replica| !self.is_fenced(replica));
                if !is_current || !is_sound {
                    return Vec::new();
                }
                let state = &mut self.partitions[*partition as usize];
                state.isr.clone_from(isr);
                state.version += 1;
                vec![*partition]
            }
        }
    }

    fn change_all(&mut self, change: impl Fn(&mut PartitionState)) -> Vec<u32> {
        let mut changed = Vec::new();
        for (number, state) in (0..).zip(&mut self.partitions) {
            let before = state.clone();
            change(state);
            elect(state, &self.brokers, self.unclean);
            if *state != before {
                state.version += 1;
                changed.push(number);
            }
        }
        changed
    }
}

/// Gives a partition without a leader the first of its replicas that is at work and in sync; where
/// there is none and that is allowed, the first that is at work, which then is all that counts.
fn elect(state: &mut PartitionState, brokers: &BTreeMap<NodeId, (bool, u64)>, unclean: bool) {
    if state.leader.is_some() {
        return;
    }
    let is_at_work = |replica: &&NodeId| brokers.get(replica).is_some_and(|&(fenced, _)| !fenced);
    let at_work = || state.replicas.iter().filter(is_at_work);
    let clean = at_work().find(|replica| state.isr.contains(replica)).copied();
    let any = at_work().next().copied().filter(|_| unclean);
    if let Some(leader) = clean.or(any) {
        if clean.is_none() {
            state.isr = vec![leader];
        }
        state.leader = Some(leader);
        state.epoch += 1;
    }
}

/// The life of a process that was there when the run began.
pub(super) const FIRST_LIFE: u64 = 0;

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodeId = NodeId(0);
    const B: NodeId = NodeId(1);
    const C: NodeId = NodeId(2);

    fn metadata(unclean: bool) -> Metadata {
        Metadata::new(&[vec![A, B, C]], &[A, B, C], unclean)
    }

    fn shrink(metadata: &mut Metadata, isr: &[NodeId]) {
        let PartitionState { epoch, version, .. } = metadata.partitions[0];
        let isr = isr.to_vec();
        metadata.apply(&Command::AlterIsr { partition: 0, epoch, version, isr });
    }

    #[test]
    fn only_a_replica_in_sync_is_elected() {
        let mut clean = metadata(false);
        shrink(&mut clean, &[A, C]);
        clean.apply(&Command::Fence(A));
        let state = &clean.partitions[0];
        assert_eq!((state.leader, state.epoch, &state.isr[..]), (Some(C), 1, &[C][..]));
        clean.apply(&Command::Fence(C));
        let state = &clean.partitions[0];
        assert_eq!((state.leader, &state.isr[..]), (None, &[C][..]), "B is not in sync");
        clean.apply(&Command::Unfence(C, 1));
        assert_eq!(clean.partitions[0].leader, Some(C));
    }

    #[test]
    fn an_unclean_election_takes_whoever_is_there() {
        let mut unclean = metadata(true);
        shrink(&mut unclean, &[A]);
        unclean.apply(&Command::Fence(A));
        let state = &unclean.partitions[0];
        assert_eq!((state.leader, state.epoch, &state.isr[..]), (Some(B), 1, &[B][..]));
    }

    #[test]
    fn a_leader_that_was_replaced_alters_nothing() {
        let mut metadata = metadata(false);
        let before = metadata.partitions[0].clone();
        metadata.apply(&Command::Fence(A));
        let now = metadata.partitions[0].clone();
        let (epoch, version) = (before.epoch, before.version);
        metadata.apply(&Command::AlterIsr { partition: 0, epoch, version, isr: vec![A] });
        assert_eq!(metadata.partitions[0], now);
    }
}
