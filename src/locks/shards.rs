//! Several equal lock services side by side, each of which has a share of the locks; and the one
//! client that speaks to all of them.
//!
//! Which service has a lock is decided by a placement, which this wing knows nothing of: a table is
//! handed down to it. A process has a client of the protocol for each service, and a request goes
//! to the one whose service has the lock.

use crate::choice::Choice;
use crate::config;
use crate::model::node::{Context, Input, Node, NodeId, Output};

use super::{Indication, LockId, LockProtocol, Request, Servers};

config! {
    /// How the locks are shared out over several services.
    pub struct ShardConfig {
        /// How many services there are, each with servers of its own: with three servers each,
        /// `server-1` to `server-3` are the first.
        pub count: u32 => 1..=10_000,
        /// The placement that decides which of them has a lock: a ring of the catalogue. Members
        /// and keys are hashed by XXH3 under the seed of the run.
        pub ring: Choice,
    }
}

/// Which of several services has which lock.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shards {
    // Invariant: each number in the table is below the count.
    count: u32,
    of_lock: Vec<u32>,
}

impl Default for Shards {
    /// One service, which has all.
    fn default() -> Self {
        Self { count: 1, of_lock: Vec::new() }
    }
}

impl Shards {
    /// So many services, and for each lock the number of its own, from 0. Locks beyond the table
    /// belong to the first.
    pub fn new(count: u32, of_lock: Vec<u32>) -> Self {
        assert!(
            of_lock.iter().all(|shard| *shard < count),
            "a lock at a service that there is not"
        );
        Self { count, of_lock }
    }

    /// How many there are.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The number of the service that has `lock`, from 0.
    pub fn of(&self, lock: LockId) -> u32 {
        self.of_lock.get(lock.0 as usize).copied().unwrap_or(0)
    }

    /// Of all servers, those of the service that has `lock`.
    pub(super) fn servers_of<'a>(
        &self,
        lock: LockId,
        servers: Servers,
        all: &'a [NodeId],
    ) -> &'a [NodeId] {
        all.chunks(servers.count() as usize).nth(self.of(lock) as usize).unwrap_or(&[])
    }
}

/// What the clients of a process are built from.
pub(crate) struct ClientsRole<P: LockProtocol> {
    /// One for each service.
    pub(crate) clients: Vec<<P::Client as Node>::Role>,
    /// The servers of all services, in order.
    pub(crate) servers: Vec<NodeId>,
    pub(crate) shards: Shards,
}

/// The clients of a process, one for each service.
pub(crate) struct Clients<P: LockProtocol> {
    by_shard: Vec<P::Client>,
    servers: Vec<NodeId>,
    shards: Shards,
}

impl<P: LockProtocol> Clients<P> {
    /// The number of the service that `server` is one of.
    fn shard_at(&self, server: NodeId) -> Option<usize> {
        let place = self.servers.binary_search(&server).ok()?;
        Some(place / (self.servers.len() / self.by_shard.len()))
    }

    fn tell(&mut self, shard: usize, input: Input<P::Client>, ctx: &mut Context<'_, Self>) {
        ctx.with_part(&mut self.by_shard[shard], input, |output| match output {
            Output::Indicate(indication) => Output::Indicate(indication),
            Output::Send { to, message } => Output::Send { to, message },
            Output::Disconnect { peer } => Output::Disconnect { peer },
            Output::SetTimer { id, after, timer } => {
                Output::SetTimer { id, after, timer: (shard, timer) }
            }
            Output::CancelTimer(id) => Output::CancelTimer(id),
            Output::Write(never) => match never {},
            Output::Sync(id) => Output::Sync(id),
            Output::Reach(point) => Output::Reach(point),
        });
    }
}

impl<P: LockProtocol> Node for Clients<P> {
    type Role = ClientsRole<P>;
    type Stable = ();
    type Request = Request;
    type Indication = Indication;
    type Message = P::Message;
    type Timer = (usize, <P::Client as Node>::Timer);

    fn boot(role: &ClientsRole<P>, (): &()) -> Self {
        assert_eq!(role.clients.len(), role.shards.count as usize, "a client for each service");
        assert!(role.servers.is_sorted(), "servers are looked up");
        Self {
            by_shard: role.clients.iter().map(|role| P::Client::boot(role, &())).collect(),
            servers: role.servers.clone(),
            shards: role.shards.clone(),
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        let (shard, input) = match input {
            Input::Start => {
                for shard in 0..self.by_shard.len() {
                    self.tell(shard, Input::Start, ctx);
                }
                return;
            }
            Input::Signal(signal) => {
                for shard in 0..self.by_shard.len() {
                    self.tell(shard, Input::Signal(signal), ctx);
                }
                return;
            }
            Input::Request(request) => {
                (Some(self.shards.of(request.lock()) as usize), Input::Request(request))
            }
            Input::Message { from, via, message } => {
                (self.shard_at(from), Input::Message { from, via, message })
            }
            Input::Overload { from, via, message } => {
                (self.shard_at(from), Input::Overload { from, via, message })
            }
            // With a peer that is no lock server, it is none of their business.
            Input::Closed { peer, via, why } => {
                (self.shard_at(peer), Input::Closed { peer, via, why })
            }
            Input::Timer((shard, timer)) => (Some(shard), Input::Timer(timer)),
            // They keep nothing on disk.
            Input::Synced(_) => return,
        };
        if let Some(shard) = shard {
            self.tell(shard, input, ctx);
        }
    }
}
