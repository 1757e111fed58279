//! The nodes of a locking cluster: servers, clients and the resource, as one node type.

use std::fmt;

use crate::model::node::{Context, Input, Node, Output, Stable, Wire};

use super::resource::{self, Cells, Effect, Resource, ResourceRole};
use super::section::{Progress, Section, SectionTimer, Worker, WorkerRole};
use super::shards::Clients;
use super::{Fact, Indication, LockId, LockProtocol, Order};

/// A node of a locking cluster.
pub(crate) enum Party<P: LockProtocol> {
    Server(P::Server),
    Client(Box<Worker<P>>),
    Resource(Box<Resource<P>>),
}

/// What a node of a locking cluster is built from.
pub(crate) enum Role<P: LockProtocol> {
    Server(<P::Server as Node>::Role),
    Client(WorkerRole<P>),
    Resource(ResourceRole<P>),
}

/// What the workload asks.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A client: go through a critical section.
    Work(Section),
    /// A client: release a lock, whether or not it is held.
    Release(LockId),
    /// A server.
    #[expect(dead_code, reason = "an operator's door that no load opens yet")]
    Order(Order),
}

/// What the workload hears.
#[derive(Debug)]
pub(crate) enum Told {
    /// From the lock client in a process.
    Client(Indication),
    /// From the process itself.
    Section(Progress),
    /// From a server.
    Server(Fact),
    /// From the resource.
    Resource(Effect),
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Parcel<M> {
    Lock(M),
    Resource(resource::Message),
}

impl<M: Wire> Wire for Parcel<M> {
    fn kind(&self) -> &'static str {
        match self {
            Self::Lock(message) => message.kind(),
            Self::Resource(message) => message.kind(),
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Lock(message) => message.size_bytes(),
            Self::Resource(message) => message.size_bytes(),
        }
    }

    fn needs_service(&self) -> bool {
        match self {
            Self::Lock(message) => message.needs_service(),
            Self::Resource(message) => message.needs_service(),
        }
    }
}

/// What a node reminds itself of.
pub(crate) enum Alarm<P: LockProtocol> {
    Server(<P::Server as Node>::Timer),
    Client(<Clients<P> as Node>::Timer),
    Section(SectionTimer),
}

impl<P: LockProtocol> fmt::Debug for Alarm<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(timer) => timer.fmt(f),
            Self::Client(timer) => timer.fmt(f),
            Self::Section(timer) => timer.fmt(f),
        }
    }
}

/// The disk of a server or of the resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk<S> {
    server: S,
    resource: Cells,
}

/// A write to it.
#[derive(Clone, Debug)]
pub(crate) enum Write<W> {
    Server(W),
    Resource(<Cells as Stable>::Write),
}

impl<S: Stable> Stable for Disk<S> {
    type Write = Write<S::Write>;

    fn apply(&mut self, write: &Self::Write) {
        match write {
            Write::Server(write) => self.server.apply(write),
            Write::Resource(write) => self.resource.apply(write),
        }
    }
}

impl<P: LockProtocol> Party<P> {
    /// What the lock clients put out, as their process does. Indications are for the process.
    pub(super) fn of_client(output: Output<Clients<P>>) -> Output<Self> {
        match output {
            Output::Indicate(indication) => Output::Indicate(Told::Client(indication)),
            Output::Send { to, message } => Output::Send { to, message: Parcel::Lock(message) },
            Output::Disconnect { peer } => Output::Disconnect { peer },
            Output::SetTimer { id, after, timer } => {
                Output::SetTimer { id, after, timer: Alarm::Client(timer) }
            }
            Output::CancelTimer(id) => Output::CancelTimer(id),
            Output::Write(never) => match never {},
            Output::Sync(id) => Output::Sync(id),
            Output::Reach(point) => Output::Reach(point),
        }
    }

    fn of_server(output: Output<P::Server>) -> Output<Self> {
        match output {
            Output::Indicate(fact) => Output::Indicate(Told::Server(fact)),
            Output::Send { to, message } => Output::Send { to, message: Parcel::Lock(message) },
            Output::Disconnect { peer } => Output::Disconnect { peer },
            Output::SetTimer { id, after, timer } => {
                Output::SetTimer { id, after, timer: Alarm::Server(timer) }
            }
            Output::CancelTimer(id) => Output::CancelTimer(id),
            Output::Write(write) => Output::Write(Write::Server(write)),
            Output::Sync(id) => Output::Sync(id),
            Output::Reach(point) => Output::Reach(point),
        }
    }
}

impl<P: LockProtocol> Node for Party<P> {
    type Role = Role<P>;
    type Stable = Disk<<P::Server as Node>::Stable>;
    type Request = Ask;
    type Indication = Told;
    type Message = Parcel<P::Message>;
    type Timer = Alarm<P>;

    fn boot(role: &Role<P>, disk: &Self::Stable) -> Self {
        match role {
            Role::Server(role) => Self::Server(P::Server::boot(role, &disk.server)),
            Role::Client(role) => Self::Client(Box::new(Worker::boot(role))),
            Role::Resource(role) => Self::Resource(Box::new(Resource::boot(role, &disk.resource))),
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Server(server) => {
                if let Some(input) = for_server(input) {
                    ctx.with_part(server, input, Self::of_server);
                }
            }
            Self::Client(worker) => match input {
                Input::Request(Ask::Work(section)) => worker.begin(section, ctx),
                Input::Request(Ask::Release(lock)) => worker.release_anyway(lock, ctx),
                Input::Message { message: Parcel::Resource(answer), .. } => {
                    worker.answered(answer, ctx);
                }
                Input::Timer(Alarm::Section(timer)) => worker.wake(timer, ctx),
                other => {
                    if let Input::Closed { peer, .. } = &other {
                        worker.closed(*peer, ctx);
                    }
                    if let Some(input) = for_client(other) {
                        worker.tell(input, ctx);
                    }
                }
            },
            Self::Resource(resource) => match input {
                Input::Message { from, message: Parcel::Resource(message), .. } => {
                    if let resource::Message::Ask(operation) = message {
                        resource.take(from, operation, ctx);
                    }
                }
                Input::Synced(sync) => resource.synced(sync, ctx),
                other => {
                    if let Some(input) = for_client(other) {
                        resource.validate(input, ctx);
                    }
                }
            },
        }
    }
}

/// What of a node's input concerns the server in it.
fn for_server<P: LockProtocol>(input: Input<Party<P>>) -> Option<Input<P::Server>> {
    Some(match input {
        Input::Start => Input::Start,
        Input::Request(Ask::Order(order)) => Input::Request(order),
        Input::Message { from, via, message: Parcel::Lock(message) } => {
            Input::Message { from, via, message }
        }
        Input::Overload { from, via, message: Parcel::Lock(message) } => {
            Input::Overload { from, via, message }
        }
        Input::Closed { peer, via, why } => Input::Closed { peer, via, why },
        Input::Timer(Alarm::Server(timer)) => Input::Timer(timer),
        Input::Synced(sync) => Input::Synced(sync),
        Input::Signal(signal) => Input::Signal(signal),
        Input::Request(_) | Input::Timer(_) | Input::Message { .. } | Input::Overload { .. } => {
            return None;
        }
    })
}

/// What of a node's input concerns the lock clients in it.
fn for_client<P: LockProtocol>(input: Input<Party<P>>) -> Option<Input<Clients<P>>> {
    Some(match input {
        Input::Start => Input::Start,
        Input::Message { from, via, message: Parcel::Lock(message) } => {
            Input::Message { from, via, message }
        }
        Input::Overload { from, via, message: Parcel::Lock(message) } => {
            Input::Overload { from, via, message }
        }
        Input::Closed { peer, via, why } => Input::Closed { peer, via, why },
        Input::Timer(Alarm::Client(timer)) => Input::Timer(timer),
        Input::Signal(signal) => Input::Signal(signal),
        Input::Synced(_)
        | Input::Request(_)
        | Input::Timer(_)
        | Input::Message { .. }
        | Input::Overload { .. } => return None,
    })
}
