//! What becomes of a message between two nodes: connections as TCP gives them, or datagrams.
//!
//! A *path* leads from one node to another; the two paths of a connection lie side by side. A path
//! is a queue: nothing overtakes, and while a packet has not got through, all behind it wait (RFC
//! 9293; the retransmission timer doubles, RFC 6298). A connection is numbered, so that what
//! belongs to an earlier one cannot be taken for a later one's; and each has paths of its own, so
//! that what still sticks in one that was given up does not hold up the next.
//!
//! Kept simple on purpose: every loss is repaired by the retransmission timer, never by the
//! receiver's duplicate acknowledgements; acknowledgements cost nothing; the first connection of
//! each pair of nodes stands when the run begins, and a later one costs a round trip.

use std::collections::VecDeque;

use crate::kernel::event_queue::EventQueue;
use crate::kernel::rng::{Rng, Seed};
use crate::kernel::time::{SimDuration, SimTime};

use super::cluster::{Cluster, ClusterEvent, FlightId, PathId, State, Workload};
use super::network::{Carriage, Path, Transport};
use super::node::{Closed, Connection, Input, Node, NodeId, Wire};

/// All paths that were ever used.
#[derive(Debug)]
pub(super) struct Routes {
    paths: Vec<Flow>,
    // Path 2p and path 2p + 1 lead there and back.
    pairs: Vec<Pair>,
    // What one directed link remembers, whatever connection uses it.
    links: Vec<Path>,
    current: CurrentPaths,
    // The paths on which each sender may have something under way.
    open: Vec<Vec<PathId>>,
    seed: Seed,
}

/// One direction between two nodes.
#[derive(Debug)]
struct Flow {
    from: NodeId,
    to: NodeId,
    link: usize,
    /// Before this instant nothing leaves: a handshake is under way.
    ready_at: SimTime,
    /// When the last thing sent so far will arrive: nothing overtakes it.
    last_arrival: SimTime,
    /// What has not got through, in the order in which it was sent.
    backlog: VecDeque<FlightId>,
    /// When the oldest of it was first tried.
    stalled_since: SimTime,
    tries: u32,
    retransmit_at: SimTime,
    sent_count: u64,
    scramble: Option<Box<Rng>>,
}

/// A connection.
#[derive(Clone, Copy, Debug)]
struct Pair {
    number: Connection,
    /// When it was opened.
    opened: SimTime,
    /// Whether each side holds it for closed; the side that sends on path 2p first.
    closed: [bool; 2],
}

/// Something under way.
#[derive(Debug)]
pub(super) struct Flight<M> {
    path: PathId,
    /// Its place among all that was sent on the path.
    place: u64,
    connection: Connection,
    body: Body<M>,
}

#[derive(Debug)]
enum Body<M> {
    Message(M),
    /// A message outside any connection, from one node to the other.
    Datagram {
        ends: [NodeId; 2],
        message: M,
    },
    /// The sender closes the connection, after all that it sent.
    Finish,
    /// The sender does not know this connection.
    Reset,
}

impl<M: Wire> Body<M> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Message(message) | Self::Datagram { message, .. } => message.kind(),
            Self::Finish => "finish",
            Self::Reset => "reset",
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Message(message) | Self::Datagram { message, .. } => message.size_bytes(),
            Self::Finish | Self::Reset => 0,
        }
    }
}

impl PathId {
    const fn index(self) -> usize {
        self.0 as usize
    }

    const fn pair(self) -> usize {
        (self.0 / 2) as usize
    }

    const fn side(self) -> usize {
        (self.0 % 2) as usize
    }

    const fn back(self) -> Self {
        Self(self.0 ^ 1)
    }
}

impl Routes {
    pub(super) fn new(node_count: usize, seed: Seed) -> Self {
        Self {
            paths: Vec::new(),
            pairs: Vec::new(),
            links: Vec::new(),
            current: CurrentPaths::default(),
            open: vec![Vec::new(); node_count],
            seed,
        }
    }

    /// The paths on which `from` may have something under way.
    fn of(&mut self, from: NodeId) -> Vec<PathId> {
        let Self { paths, pairs, open, .. } = self;
        open[from.index()].retain(|path| {
            pairs[path.pair()].closed != [true; 2] || !paths[path.index()].backlog.is_empty()
        });
        open[from.index()].clone()
    }

    /// Lays the paths of a new connection, beside `former` where there was one.
    fn lay(&mut self, ends: [NodeId; 2], links: [usize; 2], former: Option<PathId>) -> PathId {
        let there = PathId(self.paths.len() as u32);
        for (side, link) in links.into_iter().enumerate() {
            self.paths.push(Flow {
                from: ends[side],
                to: ends[1 - side],
                link,
                ready_at: SimTime::ZERO,
                last_arrival: SimTime::ZERO,
                backlog: VecDeque::new(),
                stalled_since: SimTime::ZERO,
                tries: 0,
                retransmit_at: SimTime::END,
                sent_count: 0,
                scramble: None,
            });
        }
        let number = former.map_or(1, |former| self.pairs[former.pair()].number.0 + 1);
        self.pairs.push(Pair {
            number: Connection(number),
            opened: SimTime::ZERO,
            closed: [false; 2],
        });
        self.open[ends[1].index()].push(there.back());
        self.open[ends[0].index()].push(there);
        there
    }
}

/// The path that each sender uses to each receiver: looked up for every message.
///
/// A table of its own with open addressing (Knuth, "The Art of Computer Programming", volume 3,
/// section 6.4, algorithm L), as nothing is ever taken out and nobody asks for an order.
#[derive(Debug, Default)]
struct CurrentPaths {
    /// As many as a power of two; more than a quarter of them empty.
    entries: Vec<PathEntry>,
    used_count: usize,
}

#[derive(Clone, Copy, Debug)]
struct PathEntry {
    from: NodeId,
    to: NodeId,
    path: Option<PathId>,
}

impl CurrentPaths {
    fn find(&self, from: NodeId, to: NodeId) -> Option<PathId> {
        let entry = self.entries.get(self.slot(from, to))?;
        entry.path
    }

    fn set(&mut self, from: NodeId, to: NodeId, path: PathId) {
        if self.entries.len() * 3 <= self.used_count * 4 {
            self.grow();
        }
        let slot = self.slot(from, to);
        self.used_count += usize::from(self.entries[slot].path.is_none());
        self.entries[slot] = PathEntry { from, to, path: Some(path) };
    }

    #[cold]
    fn grow(&mut self) {
        let length = (self.entries.len() * 2).max(16);
        let empty = PathEntry { from: NodeId(0), to: NodeId(0), path: None };
        for entry in std::mem::replace(&mut self.entries, vec![empty; length]) {
            if entry.path.is_some() {
                let slot = self.slot(entry.from, entry.to);
                self.entries[slot] = entry;
            }
        }
    }

    /// Where the entry is, or would be.
    fn slot(&self, from: NodeId, to: NodeId) -> usize {
        let mask = self.entries.len().wrapping_sub(1);
        let pair = (u64::from(from.0) << 32) | u64::from(to.0);
        // 2⁶⁴ over the golden ratio spreads numbers that follow one another (section 6.4, there).
        let mut slot = (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        while let Some(entry) = self.entries.get(slot)
            && entry.path.is_some()
            && (entry.from, entry.to) != (from, to)
        {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

impl<N: Node, W: Workload<N>> Cluster<N, W> {
    /// The path that `from` uses to `to`. The first connection stands when the run begins, if both
    /// processes date from then; else it is opened now.
    fn path(&mut self, from: NodeId, to: NodeId, now: SimTime) -> PathId {
        if let Some(path) = self.routes.current.find(from, to) {
            return path;
        }
        self.first_path(from, to, now)
    }

    #[cold]
    fn first_path(&mut self, from: NodeId, to: NodeId, now: SimTime) -> PathId {
        let link = self.routes.links.len();
        self.routes.links.push(self.network.path(from, to));
        self.routes.links.push(self.network.path(to, from));
        let there = self.routes.lay([from, to], [link, link + 1], None);
        self.routes.current.set(to, from, there.back());
        // Last, so that a path to oneself is the first of its pair.
        self.routes.current.set(from, to, there);
        if [from, to].iter().any(|end| self.hosts[end.index()].up_since != SimTime::ZERO) {
            self.routes.pairs[there.pair()].opened = now;
            let round_trip = self.handshake(there);
            self.routes.paths[there.index()].ready_at = now + round_trip;
        }
        there
    }

    /// Sends a message, as the network is set up.
    pub(super) fn send(
        &mut self,
        from: NodeId,
        to: NodeId,
        message: N::Message,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        self.count_traffic(&message);
        let path = self.path(from, to, queue.now());
        match self.network.config.transport {
            Transport::Datagram => self.send_datagram(path, message, queue),
            Transport::Connection => {
                let path = self.connect(path, queue.now());
                if let Some(after) = self.network.copy_after(from, to, message.kind()) {
                    self.send_copy(path, message.clone(), after, queue);
                }
                self.dispatch(path, Body::Message(message), queue);
            }
        }
    }

    /// Sends a second copy of a message, which holds nothing up.
    fn send_copy(
        &mut self,
        path: PathId,
        message: N::Message,
        after: SimDuration,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let flow = &self.routes.paths[path.index()];
        let (kind, size) = (message.kind(), message.size_bytes());
        let link = &mut self.routes.links[flow.link];
        if let Carriage::Arrives(at) = self.network.carry(link, kind, size, queue.now()) {
            let connection = self.routes.pairs[path.pair()].number;
            let body = Body::Message(message);
            let flight = Flight { path, place: u64::MAX, connection, body };
            let id = FlightId(self.flights.insert(flight));
            queue.schedule_at(at + after, ClusterEvent::Arrive(id));
        }
    }

    fn send_datagram(
        &mut self,
        path: PathId,
        message: N::Message,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        if !self.network.scrambles() {
            return self.carry_datagram(path, message, SimDuration::ZERO, queue);
        }
        let flow = &mut self.routes.paths[path.index()];
        let scramble = flow.scramble.get_or_insert_with(|| {
            Box::new(
                self.routes.seed.stream("datagrams", &format!("{}>{}", flow.from.0, flow.to.0)),
            )
        });
        let (held, is_doubled) = self.network.scramble(scramble);
        if is_doubled {
            self.carry_datagram(path, message.clone(), held, queue);
        }
        self.carry_datagram(path, message, held, queue);
    }

    fn carry_datagram(
        &mut self,
        path: PathId,
        message: N::Message,
        held: SimDuration,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let (kind, size) = (message.kind(), message.size_bytes());
        // No second connection is ever laid here, so that paths and links go by the same numbers.
        let link = &mut self.routes.links[path.index()];
        let ends = link.ends();
        if let Carriage::Arrives(at) = self.network.carry(link, kind, size, queue.now()) {
            let body = Body::Datagram { ends, message };
            let (place, connection) = (0, Connection(0));
            let id = FlightId(self.flights.insert(Flight { path, place, connection, body }));
            queue.schedule_at(at + held, ClusterEvent::Arrive(id));
        }
    }

    /// The path by which the sender of `path` reaches its receiver now: that of a new connection
    /// where it holds the last for closed.
    fn connect(&mut self, path: PathId, now: SimTime) -> PathId {
        let sender = self.routes.paths[path.index()].from;
        let pair = &mut self.routes.pairs[path.pair()];
        // What the other side opened while this process was not there yet, it does not know.
        pair.closed[path.side()] |= pair.opened < self.hosts[sender.index()].up_since;
        if !pair.closed[path.side()] {
            return path;
        }
        let flow = &self.routes.paths[path.index()];
        let (ends, there) = ([flow.from, flow.to], flow.link);
        let links = [there, self.routes.paths[path.back().index()].link];
        let new = self.routes.lay(ends, links, Some(path));
        self.routes.pairs[new.pair()].opened = now;
        let round_trip = self.handshake(new);
        self.routes.paths[new.index()].ready_at = now + round_trip;
        self.routes.current.set(ends[1], ends[0], new.back());
        self.routes.current.set(ends[0], ends[1], new);
        new
    }

    /// How long it takes until the other side has answered that it is there.
    fn handshake(&mut self, path: PathId) -> SimDuration {
        let mut round_trip = SimDuration::ZERO;
        for way in [path, path.back()] {
            let link = &mut self.routes.links[self.routes.paths[way.index()].link];
            if let Carriage::Arrives(at) = self.network.carry(link, "connect", 0, SimTime::ZERO) {
                round_trip += at.since(SimTime::ZERO);
            }
        }
        round_trip
    }

    /// Puts something onto a path, behind all that is on it.
    fn dispatch(
        &mut self,
        path: PathId,
        body: Body<N::Message>,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let connection = self.routes.pairs[path.pair()].number;
        let flow = &mut self.routes.paths[path.index()];
        let place = flow.sent_count;
        flow.sent_count += 1;
        let flight = Flight { path, place, connection, body };
        let id = FlightId(self.flights.insert(flight));
        if flow.backlog.is_empty() {
            self.transmit(id, queue);
        } else {
            flow.backlog.push_back(id);
        }
    }

    /// Sends something that is first on its path; true where it gets through.
    fn transmit(&mut self, id: FlightId, queue: &mut EventQueue<ClusterEvent<W::Event>>) -> bool {
        let gets_through = self.attempt(id, queue);
        if !gets_through {
            self.stall(id, queue);
        }
        gets_through
    }

    /// Tries to bring something to the other side.
    fn attempt(&mut self, id: FlightId, queue: &mut EventQueue<ClusterEvent<W::Event>>) -> bool {
        let flight = self.flights.get(id.0);
        let flow = &mut self.routes.paths[flight.path.index()];
        let (kind, size) = (flight.body.kind(), flight.body.size_bytes());
        let leaves = queue.now().max(flow.ready_at);
        let link = &mut self.routes.links[flow.link];
        let carriage = self.network.carry(link, kind, size, leaves);
        // A machine without power acknowledges nothing.
        let is_up = self.hosts[flow.to.index()].state != State::MachineDown;
        match carriage {
            Carriage::Arrives(at) if is_up => {
                flow.last_arrival = at.max(flow.last_arrival);
                queue.schedule_at(flow.last_arrival, ClusterEvent::Arrive(id));
                true
            }
            Carriage::Arrives(_) | Carriage::Lost | Carriage::Blocked => false,
        }
    }

    /// Keeps something that did not get through, to try again.
    fn stall(&mut self, id: FlightId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let now = queue.now();
        let flight = self.flights.get(id.0);
        let path = flight.path;
        let flow = &mut self.routes.paths[path.index()];
        let place = flight.place;
        let at = flow.backlog.partition_point(|other| self.flights.get(other.0).place < place);
        if flow.backlog.is_empty() {
            flow.stalled_since = now;
            flow.tries = 0;
            flow.retransmit_at = now + self.network.config.retransmit_min;
            queue.schedule_at(flow.retransmit_at, ClusterEvent::Retransmit(path));
        }
        flow.backlog.insert(at, id);
    }

    /// The retransmission timer of a path has fallen due.
    pub(super) fn retransmit(
        &mut self,
        path: PathId,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let now = queue.now();
        let flow = &mut self.routes.paths[path.index()];
        if flow.retransmit_at != now {
            return;
        }
        flow.retransmit_at = SimTime::END;
        let Some(&first) = flow.backlog.front() else { return };
        if self.attempt(first, queue) {
            let flow = &mut self.routes.paths[path.index()];
            flow.backlog.pop_front();
            let mut rest = std::mem::take(&mut flow.backlog);
            while let Some(next) = rest.pop_front() {
                if !self.transmit(next, queue) {
                    self.routes.paths[path.index()].backlog.extend(rest);
                    return;
                }
            }
            return;
        }
        let config = &self.network.config;
        let flow = &mut self.routes.paths[path.index()];
        if config.user_timeout <= now.since(flow.stalled_since) {
            self.give_up(path);
            return;
        }
        flow.tries += 1;
        let wait = config.retransmit_min.times(1 << flow.tries.min(40));
        flow.retransmit_at = now + wait.min(config.retransmit_max);
        queue.schedule_at(flow.retransmit_at, ClusterEvent::Retransmit(path));
    }

    /// Nobody acknowledged anything for too long: the sender's side of the connection is gone.
    fn give_up(&mut self, path: PathId) {
        let flow = &mut self.routes.paths[path.index()];
        let (from, peer) = (flow.from, flow.to);
        for id in std::mem::take(&mut flow.backlog) {
            self.flights.remove(id.0);
        }
        let pair = &mut self.routes.pairs[path.pair()];
        if !pair.closed[path.side()] {
            pair.closed[path.side()] = true;
            let via = pair.number;
            self.give(from, Input::Closed { peer, via, why: Closed::TimedOut });
        }
    }

    /// Something arrives.
    pub(super) fn arrive(&mut self, id: FlightId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let flight = self.flights.get(id.0);
        if matches!(flight.body, Body::Datagram { .. }) {
            return self.arrive_datagram(id, queue);
        }
        let (path, connection) = (flight.path, flight.connection);
        let Pair { opened, closed, .. } = self.routes.pairs[path.pair()];
        let flow = &self.routes.paths[path.index()];
        let (from, to) = (flow.from, flow.to);
        let host = &self.hosts[to.index()];
        if host.state == State::MachineDown {
            // Silence. A machine that is up itself will try again.
            if self.hosts[from.index()].state == State::MachineDown {
                self.flights.remove(id.0);
            } else {
                self.stall(id, queue);
            }
            return;
        }
        let is_known = host.state == State::Up && host.up_since <= opened;
        let flight = self.flights.remove(id.0);
        let is_closed = closed[path.back().side()];
        match flight.body {
            Body::Datagram { .. } => unreachable!("a datagram arrives by its own way"),
            Body::Message(_) if !is_known => {
                self.dispatch(path.back(), Body::Reset, queue);
            }
            Body::Finish | Body::Reset if !is_known => (),
            _ if is_closed => (),
            Body::Message(message) => self.give_message(from, to, connection, message, queue),
            Body::Finish => self.learn_of_close(path, Closed::ByPeer),
            Body::Reset => self.learn_of_close(path, Closed::Reset),
        }
    }

    /// A datagram arrives: nobody keeps what finds no process.
    fn arrive_datagram(&mut self, id: FlightId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let flight = self.flights.remove(id.0);
        let Body::Datagram { ends: [from, to], message } = flight.body else { return };
        if self.hosts[to.index()].state == State::Up {
            self.give_message(from, to, flight.connection, message, queue);
        }
    }

    fn learn_of_close(&mut self, path: PathId, why: Closed) {
        let pair = &mut self.routes.pairs[path.pair()];
        pair.closed[path.back().side()] = true;
        let via = pair.number;
        let flow = &self.routes.paths[path.index()];
        let (peer, to) = (flow.from, flow.to);
        self.give(to, Input::Closed { peer, via, why });
    }

    /// The node closes its connection with `peer`.
    pub(super) fn disconnect(
        &mut self,
        id: NodeId,
        peer: NodeId,
        queue: &mut EventQueue<ClusterEvent<W::Event>>,
    ) {
        let path = self.path(id, peer, queue.now());
        self.finish(path, queue);
    }

    /// Every connection between two nodes breaks, and both learn of it. What is under way finds a
    /// connection that is closed where it arrives.
    pub(super) fn reset(&mut self, one: NodeId, other: NodeId) {
        if self.network.config.transport == Transport::Datagram {
            return;
        }
        for path in self.routes.of(one) {
            let flow = &self.routes.paths[path.index()];
            if flow.to != other {
                continue;
            }
            for side in [path, path.back()] {
                for flight in std::mem::take(&mut self.routes.paths[side.index()].backlog) {
                    self.flights.remove(flight.0);
                }
                let pair = &mut self.routes.pairs[side.pair()];
                let was_closed = std::mem::replace(&mut pair.closed[side.side()], true);
                let via = pair.number;
                let Flow { from, to: peer, .. } = self.routes.paths[side.index()];
                if !was_closed {
                    self.give(from, Input::Closed { peer, via, why: Closed::Reset });
                }
            }
        }
    }

    fn finish(&mut self, path: PathId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        let pair = &mut self.routes.pairs[path.pair()];
        if !pair.closed[path.side()] {
            pair.closed[path.side()] = true;
            self.dispatch(path, Body::Finish, queue);
        }
    }

    /// The process of `id` died: its operating system closes its connections, after what they
    /// still hold.
    pub(super) fn close_all(&mut self, id: NodeId, queue: &mut EventQueue<ClusterEvent<W::Event>>) {
        for path in self.routes.of(id) {
            self.finish(path, queue);
        }
    }

    /// The machine of `id` lost power: its connections are gone without a word.
    pub(super) fn forget_all(&mut self, id: NodeId) {
        for path in self.routes.of(id) {
            for flight in std::mem::take(&mut self.routes.paths[path.index()].backlog) {
                self.flights.remove(flight.0);
            }
            self.routes.pairs[path.pair()].closed[path.side()] = true;
        }
    }
}
