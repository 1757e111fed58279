//! A process of the pipeline, put together from the roles of the queue and the lock as they stand:
//! a broker is the brokers of all partitions that it holds, a producer the producers of all
//! partitions, a consumer the consumers of its broker's partitions and a lock client with its
//! critical section.
//!
//! What the queues of one process say to another goes over one connection, as channels do. So
//! where one of them closes it, the others lose it too, on both sides.

use std::collections::BTreeMap;

use crate::locks::{self, Alarm, AnyLock, Ask, Parcel, Party, Told};
use crate::model::any::{AnyMessage, AnyNode, AnyRole, AnyStable, AnyTimer, AnyWrite};
use crate::model::node::{
    Closed, Connection, Context, Input, Node, NodeId, Output, Stable, SyncId, Wire,
};
use crate::queues;

/// What a process is of one partition's queue.
type QueuePart = AnyNode<queues::Request, queues::Indication, AnyStable>;
/// What it is of the lock, and of the store that the lock protects.
type LockPart = Party<AnyLock>;

/// A process.
pub(super) struct Process {
    queues: Vec<Channel>,
    lock: Option<LockPart>,
    lock_peers: Vec<NodeId>,
    /// The connection by which each peer was heard last.
    latest: BTreeMap<NodeId, Connection>,
    /// Which queue waits for each sync; those of the lock are not among them.
    syncs: BTreeMap<SyncId, usize>,
}

struct Channel {
    partition: u32,
    peers: Vec<NodeId>,
    node: QueuePart,
}

/// What a process is built from.
pub(super) struct ProcessRole {
    /// Its queues, by partition.
    pub(super) queues: Vec<ChannelRole>,
    /// Its part in the lock, and whom that part speaks with.
    pub(super) lock: Option<(locks::Role<AnyLock>, Vec<NodeId>)>,
}

/// What a process's part in a queue is built from.
pub(super) struct ChannelRole {
    pub(super) partition: u32,
    /// Whom it speaks with.
    pub(super) peers: Vec<NodeId>,
    pub(super) role: AnyRole<queues::Request, queues::Indication, AnyStable>,
}

/// What the workload asks.
#[derive(Debug)]
pub(super) enum Request {
    /// Of the queue of a partition.
    Queue(u32, queues::Request),
    /// Of a consumer's critical section.
    Lock(Ask),
}

/// What the workload hears.
#[derive(Debug)]
pub(super) enum Indication {
    /// From the queue of a partition.
    Queue(u32, queues::Indication),
    /// From lock client, lock server, section or store.
    Lock(Told),
}

/// What travels.
#[derive(Clone, Debug)]
pub(super) enum Message {
    /// Within the queue of a partition.
    Queue(u32, AnyMessage),
    /// Within the lock, or to the store.
    Lock(Parcel<AnyMessage>),
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Queue(_, message) => message.kind(),
            Self::Lock(parcel) => parcel.kind(),
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Queue(_, message) => message.size_bytes(),
            Self::Lock(parcel) => parcel.size_bytes(),
        }
    }

    fn needs_service(&self) -> bool {
        match self {
            Self::Queue(_, message) => message.needs_service(),
            Self::Lock(parcel) => parcel.needs_service(),
        }
    }
}

/// What a process reminds itself of.
#[derive(Debug)]
pub(super) enum Timer {
    /// The queue at this place among its queues.
    Queue(usize, AnyTimer),
    /// Its part in the lock.
    Lock(Alarm<AnyLock>),
}

/// A disk: one for each partition, and that of a lock server or the store.
#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    queues: BTreeMap<u32, AnyStable>,
    lock: locks::Disk<AnyStable>,
}

/// A write to it.
#[derive(Clone, Debug)]
pub(super) enum Write {
    Queue(u32, AnyWrite),
    Lock(locks::Write<AnyWrite>),
}

impl Stable for Disk {
    type Write = Write;

    fn apply(&mut self, write: &Write) {
        match write {
            Write::Queue(partition, write) => {
                self.queues.entry(*partition).or_default().apply(write);
            }
            Write::Lock(write) => self.lock.apply(write),
        }
    }
}

impl Node for Process {
    type Role = ProcessRole;
    type Stable = Disk;
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &ProcessRole, disk: &Disk) -> Self {
        let nothing = AnyStable::default();
        let queues = role.queues.iter().map(|channel| Channel {
            partition: channel.partition,
            peers: channel.peers.clone(),
            node: AnyNode::boot(
                &channel.role,
                disk.queues.get(&channel.partition).unwrap_or(&nothing),
            ),
        });
        Self {
            queues: queues.collect(),
            lock: role.lock.as_ref().map(|(role, _)| Party::boot(role, &disk.lock)),
            lock_peers: role.lock.as_ref().map_or_else(Vec::new, |(_, peers)| peers.clone()),
            latest: BTreeMap::new(),
            syncs: BTreeMap::new(),
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match input {
            Input::Start => {
                for place in 0..self.queues.len() {
                    self.tell_queue(place, Input::Start, ctx);
                }
                self.tell_lock(Input::Start, ctx);
            }
            Input::Request(Request::Queue(partition, request)) => {
                self.tell_partition(partition, Input::Request(request), ctx);
            }
            Input::Request(Request::Lock(ask)) => self.tell_lock(Input::Request(ask), ctx),
            Input::Message { from, via, message } => {
                self.latest.insert(from, via);
                match message {
                    Message::Queue(partition, message) => {
                        self.tell_partition(partition, Input::Message { from, via, message }, ctx);
                    }
                    Message::Lock(message) => {
                        self.tell_lock(Input::Message { from, via, message }, ctx);
                    }
                }
            }
            Input::Overload { from, via, message } => match message {
                Message::Queue(partition, message) => {
                    self.tell_partition(partition, Input::Overload { from, via, message }, ctx);
                }
                Message::Lock(message) => {
                    self.tell_lock(Input::Overload { from, via, message }, ctx);
                }
            },
            Input::Closed { peer, via, why } => {
                if self.lock_peers.contains(&peer) {
                    self.tell_lock(Input::Closed { peer, via, why }, ctx);
                }
                self.lose(peer, via, why, None, ctx);
            }
            Input::Timer(Timer::Queue(place, timer)) => {
                self.tell_queue(place, Input::Timer(timer), ctx);
            }
            Input::Timer(Timer::Lock(alarm)) => self.tell_lock(Input::Timer(alarm), ctx),
            Input::Synced(sync) => match self.syncs.remove(&sync) {
                Some(place) => self.tell_queue(place, Input::Synced(sync), ctx),
                None => self.tell_lock(Input::Synced(sync), ctx),
            },
            Input::Signal(signal) => {
                for place in 0..self.queues.len() {
                    self.tell_queue(place, Input::Signal(signal), ctx);
                }
                self.tell_lock(Input::Signal(signal), ctx);
            }
        }
    }
}

impl Process {
    fn tell_partition(
        &mut self,
        partition: u32,
        input: Input<QueuePart>,
        ctx: &mut Context<'_, Self>,
    ) {
        let place = self.queues.binary_search_by_key(&partition, |channel| channel.partition);
        let place = place.expect("who hears of a partition has a part in it");
        self.tell_queue(place, input, ctx);
    }

    /// Lets the queue at `place` react; where it hangs up on a peer, the others lose it too.
    fn tell_queue(&mut self, place: usize, input: Input<QueuePart>, ctx: &mut Context<'_, Self>) {
        let channel = &mut self.queues[place];
        let partition = channel.partition;
        let mut left = Vec::new();
        for output in ctx.ask_part(&mut channel.node, input) {
            ctx.put_out(match output {
                Output::Indicate(told) => Output::Indicate(Indication::Queue(partition, told)),
                Output::Send { to, message } => {
                    Output::Send { to, message: Message::Queue(partition, message) }
                }
                Output::Disconnect { peer } => {
                    left.push(peer);
                    Output::Disconnect { peer }
                }
                Output::SetTimer { id, after, timer } => {
                    Output::SetTimer { id, after, timer: Timer::Queue(place, timer) }
                }
                Output::CancelTimer(id) => Output::CancelTimer(id),
                Output::Write(write) => Output::Write(Write::Queue(partition, write)),
                Output::Sync(id) => {
                    self.syncs.insert(id, place);
                    Output::Sync(id)
                }
                Output::Reach(point) => Output::Reach(point),
            });
        }
        for peer in left {
            if let Some(via) = self.latest.remove(&peer) {
                self.lose(peer, via, Closed::ByPeer, Some(place), ctx);
            }
        }
    }

    /// The connection with `peer` is gone, and all queues that speak with it learn so, but that
    /// at `knows`, which closed it.
    fn lose(
        &mut self,
        peer: NodeId,
        via: Connection,
        why: Closed,
        knows: Option<usize>,
        ctx: &mut Context<'_, Self>,
    ) {
        for place in 0..self.queues.len() {
            if knows != Some(place) && self.queues[place].peers.contains(&peer) {
                self.tell_queue(place, Input::Closed { peer, via, why }, ctx);
            }
        }
    }

    fn tell_lock(&mut self, input: Input<LockPart>, ctx: &mut Context<'_, Self>) {
        let Some(lock) = &mut self.lock else { return };
        ctx.with_part(lock, input, |output| match output {
            Output::Indicate(told) => Output::Indicate(Indication::Lock(told)),
            Output::Send { to, message } => Output::Send { to, message: Message::Lock(message) },
            Output::Disconnect { peer } => Output::Disconnect { peer },
            Output::SetTimer { id, after, timer } => {
                Output::SetTimer { id, after, timer: Timer::Lock(timer) }
            }
            Output::CancelTimer(id) => Output::CancelTimer(id),
            Output::Write(write) => Output::Write(Write::Lock(write)),
            Output::Sync(id) => Output::Sync(id),
            Output::Reach(point) => Output::Reach(point),
        });
    }
}
