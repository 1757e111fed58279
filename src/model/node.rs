//! A node: a state machine without clock, socket, disk or randomness of its own.
//!
//! Everything that happens to a node is an [`Input`]; everything that it does leaves through its
//! [`Context`]. Requests and indications are used as in Cachin, Guerraoui and Rodrigues,
//! "Introduction to Reliable and Secure Distributed Programming": a request enters a module, an
//! indication leaves it. An indication is what a node *believes*; whether it is true is for a
//! judge to say who sees all nodes.

use std::fmt::Debug;

use crate::kernel::rng::Rng;
use crate::kernel::time::{SimDuration, SimTime};

use super::clock::WallTime;

/// Names a node within one cluster. Dense: every number in `0..node_count` is a node.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The position of the node in a list of all nodes.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The state machine that a protocol runs on one node.
///
/// ```text
///     Request ──▶ ┌──────┐ ──▶ Indication     to and from the workload
///     Message ──▶ │ Node │ ──▶ Message        to and from other nodes
///       Timer ──▶ └──────┘ ──▶ Timer          to and from its own future
///      Synced ──▶    │     ──▶ Write, Sync    to and from its own disk
/// ```
pub trait Node: Sized {
    /// What a node is built from each time its process starts: which part it plays, its settings
    /// and its peers. Does not change during a run.
    type Role;
    /// What the node keeps on disk.
    type Stable: Stable;
    /// What the workload asks of a node.
    type Request: Debug;
    /// What a node tells the workload.
    type Indication: Debug;
    /// What nodes tell each other.
    type Message: Wire;
    /// What a node reminds itself of.
    type Timer: Debug;

    /// A process that has just started, from its settings and from what its disk still holds.
    /// The cluster calls this after every crash, so no protocol remembers by mistake.
    fn boot(role: &Self::Role, stable: &Self::Stable) -> Self;

    /// Reacts to one input. Every effect leaves through `ctx`.
    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>);
}

/// A message as the network sees it.
pub trait Wire: Debug + Clone {
    /// What kind of message it is, for counting and for faults that strike one kind.
    fn kind(&self) -> &'static str;

    /// How many bytes it takes on the wire.
    fn size_bytes(&self) -> u32;

    /// Whether the receiver's servers must work on it. What needs no work, such as a reply that
    /// a client awaits, passes the station by.
    fn needs_service(&self) -> bool {
        true
    }
}

/// What a node keeps on disk: a value, and the writes that change it.
///
/// A write reaches the operating system at once and survives a crash of the process; it survives
/// a crash of the machine only after a sync.
pub trait Stable: Default + Clone + Debug {
    /// One write.
    type Write: Clone + Debug;

    /// Performs `write`.
    fn apply(&mut self, write: &Self::Write);
}

/// Nothing is kept.
impl Stable for () {
    type Write = std::convert::Infallible;

    fn apply(&mut self, write: &Self::Write) {
        match *write {}
    }
}

/// Tells one connection between two nodes from the next: it counts how often they connected.
/// Datagrams all come by connection 0.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Connection(pub u32);

/// Names a sync among those of one node; rises by one with each.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct SyncId(pub u64);

/// Names a timer that was set. A stale one names nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TimerId {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Closed {
    /// The other side closed it, or its process ended.
    ByPeer,
    /// The other side does not know this connection: nobody listens, or it restarted.
    Reset,
    /// Nothing was acknowledged for the whole user time-out.
    TimedOut,
}

/// A signal that an operator or the operating system sends to a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// SIGTERM: end in good order.
    Terminate,
    /// One of the process's pool children was killed with SIGKILL.
    ChildKilled,
}

/// What can happen to a node. Closed: a protocol faces every case or does not compile.
#[derive(Debug)]
pub enum Input<N: Node> {
    /// The process starts: for the first time, or after a crash.
    Start,
    /// The workload asks for something.
    Request(N::Request),
    /// A message arrived.
    Message {
        /// From whom.
        from: NodeId,
        /// By which of the connections with that node.
        via: Connection,
        /// What it says.
        message: N::Message,
    },
    /// The station's queue was full when this message arrived; no server will work on it.
    Overload {
        /// From whom.
        from: NodeId,
        /// By which of the connections with that node.
        via: Connection,
        /// What it says.
        message: N::Message,
    },
    /// A connection is gone, as far as this side can tell.
    Closed {
        /// With whom.
        peer: NodeId,
        /// Which one.
        via: Connection,
        /// Why.
        why: Closed,
    },
    /// A timer that this life of the node set has fallen due.
    Timer(N::Timer),
    /// All that was written before that sync was asked for is on disk.
    Synced(SyncId),
    /// A signal arrived.
    Signal(Signal),
}

/// What a node wants done.
#[derive(Debug)]
pub enum Output<N: Node> {
    /// Tell the workload.
    Indicate(N::Indication),
    /// Send a message.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        message: N::Message,
    },
    /// Close the connection with a peer.
    Disconnect {
        /// Whom from.
        peer: NodeId,
    },
    /// Fall due after a while on this node's own monotonic clock.
    SetTimer {
        /// Its name.
        id: TimerId,
        /// After how long.
        after: SimDuration,
        /// What to be reminded of.
        timer: N::Timer,
    },
    /// Forget a timer.
    CancelTimer(TimerId),
    /// Write to disk, as far as the operating system.
    Write(<N::Stable as Stable>::Write),
    /// Bring everything written so far to the disk itself.
    Sync(SyncId),
    /// The protocol has come to a point that a fault may be waiting for.
    Reach(&'static str),
}

/// All that a node can see and do.
#[derive(Debug)]
pub struct Context<'a, N: Node> {
    pub(super) id: NodeId,
    pub(super) now: SimTime,
    pub(super) wall: WallTime,
    pub(super) slowness_per_mille: u64,
    pub(super) rng: &'a mut Rng,
    pub(super) timer_ids: &'a mut TimerIds,
    pub(super) sync_count: &'a mut u64,
    pub(super) outputs: &'a mut Vec<Output<N>>,
}

/// Hands out names of timers; a slot is used again when its timer is gone.
#[derive(Clone, Debug, Default)]
pub struct TimerIds {
    free: Vec<u32>,
    generations: Vec<u32>,
}

impl TimerIds {
    pub(super) fn take(&mut self) -> TimerId {
        match self.free.pop() {
            Some(slot) => TimerId { slot, generation: self.generations[slot as usize] },
            None => {
                let slot = u32::try_from(self.generations.len()).expect("memory ends before 2^32");
                self.generations.push(0);
                TimerId { slot, generation: 0 }
            }
        }
    }

    /// The name under which the slot is in use now.
    pub(super) fn id_of(&self, slot: u32) -> TimerId {
        TimerId { slot, generation: self.generations[slot as usize] }
    }

    pub(super) fn is_live(&self, id: TimerId) -> bool {
        self.generations[id.slot as usize] == id.generation
    }

    pub(super) fn release(&mut self, id: TimerId) {
        debug_assert!(self.is_live(id), "a timer is released once");
        self.generations[id.slot as usize] = id.generation.wrapping_add(1);
        self.free.push(id.slot);
    }
}

impl<N: Node> Context<'_, N> {
    /// This node's name.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The time on this node's own monotonic clock, which may run fast or slow but never steps.
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// The time on this node's own wall clock, which may be wrong, run fast or slow, and step.
    pub fn wall(&self) -> WallTime {
        self.wall
    }

    /// This node's randomness.
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Tells the workload `indication`.
    pub fn indicate(&mut self, indication: N::Indication) {
        self.outputs.push(Output::Indicate(indication));
    }

    /// Sends `message` to `to`, over the connection with it (which is opened where there is
    /// none) or as a datagram, as the network is set up.
    pub fn send(&mut self, to: NodeId, message: N::Message) {
        self.outputs.push(Output::Send { to, message });
    }

    /// Closes the connection with `peer`: what was sent still arrives, then the peer learns of
    /// it. The next message opens a new one.
    pub fn disconnect(&mut self, peer: NodeId) {
        self.outputs.push(Output::Disconnect { peer });
    }

    /// Sets `timer` to fall due after `after` on this node's own monotonic clock.
    pub fn set_timer(&mut self, after: SimDuration, timer: N::Timer) -> TimerId {
        let id = self.timer_ids.take();
        self.outputs.push(Output::SetTimer { id, after, timer });
        id
    }

    /// Sets `timer` to fall due when this node has done work that takes `work` at full speed: a
    /// node that a fault slows down takes longer.
    pub fn set_work_timer(&mut self, work: SimDuration, timer: N::Timer) -> TimerId {
        self.set_timer(work.scale(self.slowness_per_mille, 1000), timer)
    }

    /// Forgets the timer `id`; nothing happens where it has fallen due or been cancelled already.
    pub fn cancel_timer(&mut self, id: TimerId) {
        self.outputs.push(Output::CancelTimer(id));
    }

    /// Writes to disk, as far as the operating system: the write survives a crash of this
    /// process, but not one of the machine.
    pub fn write(&mut self, write: <N::Stable as Stable>::Write) {
        self.outputs.push(Output::Write(write));
    }

    /// Begins to bring everything written so far to the disk itself. [`Input::Synced`] follows
    /// when that is done.
    pub fn sync(&mut self) -> SyncId {
        *self.sync_count += 1;
        let id = SyncId(*self.sync_count);
        self.outputs.push(Output::Sync(id));
        id
    }

    /// Says that the protocol has come to `point`. A fault that waits for it strikes at once: so
    /// what must come *after* the fault has to be a new input, such as a timer of no length.
    pub fn reach(&mut self, point: &'static str) {
        self.outputs.push(Output::Reach(point));
    }

    /// Lets a part of this node, a node type of its own, react to `input`; what it puts out
    /// becomes this node's output by `wrap`.
    pub fn with_part<P: Node>(
        &mut self,
        part: &mut P,
        input: Input<P>,
        wrap: impl FnMut(Output<P>) -> Output<N>,
    ) {
        let outputs = self.ask_part(part, input);
        self.outputs.extend(outputs.into_iter().map(wrap));
    }

    /// Lets a part of this node react to `input`, and gives what it puts out: for a node that
    /// keeps some of it to itself. The rest goes on by [`put_out`](Self::put_out).
    pub fn ask_part<P: Node>(&mut self, part: &mut P, input: Input<P>) -> Vec<Output<P>> {
        let mut outputs = Vec::new();
        let mut ctx = Context {
            id: self.id,
            now: self.now,
            wall: self.wall,
            slowness_per_mille: self.slowness_per_mille,
            rng: &mut *self.rng,
            timer_ids: &mut *self.timer_ids,
            sync_count: &mut *self.sync_count,
            outputs: &mut outputs,
        };
        part.handle(input, &mut ctx);
        outputs
    }

    /// Puts out what a part did.
    pub fn put_out(&mut self, output: Output<N>) {
        self.outputs.push(output);
    }
}

/// A context outside any cluster, for unit tests of a protocol: what the node puts out is kept.
#[derive(Debug)]
pub struct Bench<N: Node> {
    /// What the node has put out and nobody has taken yet.
    pub outputs: Vec<Output<N>>,
    /// The node's monotonic clock.
    pub now: SimTime,
    /// The node's wall clock.
    pub wall: WallTime,
    id: NodeId,
    rng: Rng,
    timer_ids: TimerIds,
    sync_count: u64,
}

impl<N: Node> Bench<N> {
    /// A bench for the node `id`, at time zero.
    pub fn new(id: NodeId) -> Self {
        Self {
            outputs: Vec::new(),
            now: SimTime::ZERO,
            wall: WallTime(0),
            id,
            rng: crate::kernel::rng::Seed(0).stream("bench", "node"),
            timer_ids: TimerIds::default(),
            sync_count: 0,
        }
    }

    /// Gives `input` to `node` and takes what comes out.
    pub fn tell(&mut self, node: &mut N, input: Input<N>) -> Vec<Output<N>> {
        let mut ctx = Context {
            id: self.id,
            now: self.now,
            wall: self.wall,
            slowness_per_mille: 1000,
            rng: &mut self.rng,
            timer_ids: &mut self.timer_ids,
            sync_count: &mut self.sync_count,
            outputs: &mut self.outputs,
        };
        node.handle(input, &mut ctx);
        std::mem::take(&mut self.outputs)
    }
}
