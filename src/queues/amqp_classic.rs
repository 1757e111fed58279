//! RabbitMQ's classic queue with plain clients: publishers with or without confirms, consumers with
//! automatic or manual acknowledgement.
//!
//! A message is ready, or with a consumer that has not acknowledged it, or gone. Consumers are
//! served in turn as long as they have credit (`prefetch`); what comes back, by a reject or because
//! a channel is closed, goes to where it was and is flagged as redelivered. The sources stand in
//! `amqp.rs`; the client reconnects as the Java client does by default, every 5 s
//! (`network_recovery_interval`), and sends again what was not confirmed.

use std::collections::VecDeque;

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::{Connection, Context, Input, Node, NodeId, Signal};

use super::amqp::{
    Body, Broker, Disk, Frame, Publisher, PublisherRules, QueueParams, RabbitVersion, Speaker,
    Timer,
};
use super::link::{Backoff, Heart, Link, LinkTimer};
use super::work::{End, Finished, Pool, Work};
use super::{Indication, Item, Part, QueueProtocol, Request, Scene};

config! {
    /// RabbitMQ's classic queue with plain clients.
    pub(super) struct AmqpClassicParams {
        /// The release that is modelled.
        pub version: RabbitVersion = RabbitVersion::V4_1,
        /// The queue.
        pub queue: QueueParams = QueueParams::default(),
        /// Whether messages survive a restart of the broker (`delivery_mode` 2).
        pub persistent: bool = true,
        /// Whether publishers ask for confirms.
        pub confirms: bool = true,
        /// How many deliveries a consumer may have unacknowledged (`prefetch_count`); 0 for no
        /// limit, as in the protocol.
        pub prefetch: u32 = 0 => 0..=65_535,
        /// Whether a delivery counts as acknowledged when it is sent (`no_ack`).
        pub auto_ack: bool = false,
        /// What a consumer does with a message on which it failed.
        pub on_failure: OnFailure = OnFailure::Requeue,
        /// How long a client waits before it connects again.
        pub reconnect: SimDuration = SimDuration::from_secs(5),
        /// How long a consumer is away that its work has killed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
    }
}

config! {
    /// What a consumer does with a message on which it failed.
    pub(super) enum OnFailure {
        /// It gives it back (`basic.nack` with `requeue`).
        "requeue" => Requeue,
        /// It refuses it: the queue lets it go, or dead-letters it.
        "reject" => Reject,
        /// It acknowledges it.
        "ack" => Ack,
    }
}

/// A node of it.
#[derive(Clone, Debug)]
pub(super) enum AmqpClassic {
    /// The server.
    Broker(Box<Broker>),
    /// A publisher.
    Producer(Publisher),
    /// A consumer.
    Consumer(Consumer),
    /// A server that has no part in the queue.
    Bystander,
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// The server.
    Broker(RabbitVersion, QueueParams),
    /// A publisher, and the servers that it may be with.
    Producer(PublisherRules, Vec<NodeId>),
    /// A consumer, and the servers that it may be with.
    Consumer(Box<AmqpClassicParams>, Work, Vec<NodeId>),
    /// A server that has no part in the queue.
    Bystander,
}

impl QueueProtocol for AmqpClassic {
    const ABOUT: About = About {
        name: "amqp_classic",
        summary: "RabbitMQ's classic queue with plain clients",
        source: "rabbitmq/rabbitmq-server v4.1.0, deps/rabbit/src/rabbit_amqqueue_process.erl",
        version: "4.1",
    };
    type Params = AmqpClassicParams;

    fn role(params: &AmqpClassicParams, part: Part, scene: &Scene) -> Role {
        match part {
            Part::Broker(0) => Role::Broker(params.version.clone(), params.queue.clone()),
            Part::Broker(_) => Role::Bystander,
            Part::Producer(_) | Part::Consumer(_) => {
                Role::client(params, part, &scene.work, scene.brokers[..1].to_vec())
            }
        }
    }
}

impl Role {
    /// The client that plays `part`, and may be with any of `brokers`, the first of them first.
    pub(super) fn client(
        params: &AmqpClassicParams,
        part: Part,
        work: &Work,
        brokers: Vec<NodeId>,
    ) -> Self {
        match part {
            Part::Producer(_) => {
                let rules = PublisherRules {
                    confirms: params.confirms,
                    persistent: params.persistent,
                    retries: None,
                    backoff: Backoff::constant(params.reconnect),
                    heartbeat: params.queue.heartbeat,
                    sees_error: false,
                };
                Self::Producer(rules, brokers)
            }
            Part::Consumer(_) => Self::Consumer(Box::new(params.clone()), work.clone(), brokers),
            Part::Broker(_) => unreachable!("a broker is no client"),
        }
    }
}

impl Node for AmqpClassic {
    type Role = Role;
    type Stable = Disk;
    type Request = Request;
    type Indication = Indication;
    type Message = Frame;
    type Timer = Timer;

    fn boot(role: &Role, disk: &Disk) -> Self {
        match role {
            Role::Broker(version, queue) => {
                Self::Broker(Box::new(Broker::boot(version, queue, disk)))
            }
            Role::Producer(rules, brokers) => Self::Producer(Publisher::new(*rules, brokers)),
            Role::Consumer(params, work, brokers) => {
                Self::Consumer(Consumer::new(params, work, brokers))
            }
            Role::Bystander => Self::Bystander,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Broker(broker) => broker.handle(input, ctx),
            Self::Producer(publisher) => publisher.handle(input, ctx),
            Self::Consumer(consumer) => consumer.handle(input, ctx),
            Self::Bystander => (),
        }
    }
}

/// A plain consumer: it takes deliveries into a buffer and works them off in their order.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    params: AmqpClassicParams,
    link: Link,
    heart: Heart,
    buffer: VecDeque<Delivery>,
    pool: Pool<Handle>,
    is_stopping: bool,
}

#[derive(Clone, Copy, Debug)]
struct Delivery {
    item: Item,
    handle: Handle,
    times: u32,
}

/// Which delivery it was, on which channel.
#[derive(Clone, Copy, Debug)]
struct Handle {
    epoch: u32,
    tag: u64,
}

impl Consumer {
    fn new(params: &AmqpClassicParams, work: &Work, brokers: &[NodeId]) -> Self {
        Self {
            params: params.clone(),
            link: Link::among(brokers, Backoff::constant(params.reconnect)),
            heart: Heart::default(),
            buffer: VecDeque::new(),
            pool: Pool::new(work),
            is_stopping: false,
        }
    }

    fn handle<N: Speaker<Request = Request>>(&mut self, input: Input<N>, ctx: &mut Context<'_, N>) {
        match input {
            Input::Start => {
                self.connect(ctx);
                if self.params.queue.heartbeat != SimDuration::ZERO {
                    ctx.set_timer(self.params.queue.heartbeat.scale(1, 2), Timer::Beat);
                }
            }
            Input::Message { via, message, .. } => self.hear(via, message, ctx),
            Input::Closed { peer, via, .. } => {
                if peer == self.link.broker() && self.link.closed(via, ctx) {
                    self.lost(ctx);
                }
            }
            Input::Timer(Timer::Work(timer)) => {
                if let Some(finished) = self.pool.due(timer, ctx) {
                    self.finish(finished, ctx);
                }
            }
            Input::Timer(Timer::Link(LinkTimer::Retry) | Timer::Respawn) => self.connect(ctx),
            Input::Timer(Timer::Link(LinkTimer::Timeout)) => {
                self.link.fail(ctx);
                ctx.disconnect(self.link.broker());
                self.lost(ctx);
            }
            Input::Timer(Timer::Beat) => self.beat(ctx),
            Input::Timer(_) => unreachable!("a plain consumer sets no other timer"),
            Input::Request(Request::Answer { slot, is_known }) => {
                self.pool.answered(slot, is_known, ctx);
            }
            Input::Signal(Signal::Terminate) => self.stop(ctx),
            // Its threads are no children.
            Input::Signal(Signal::ChildKilled)
            | Input::Request(Request::Publish(_))
            | Input::Overload { .. }
            | Input::Synced(_) => (),
        }
    }

    fn connect<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let body = Body::Open { confirms: false, heartbeat: self.params.queue.heartbeat };
        self.heart = Heart::default();
        self.link.open(ctx, |epoch| Frame { epoch, body });
    }

    fn say<N: Speaker>(&self, body: Body, ctx: &mut Context<'_, N>) {
        ctx.send(self.link.broker(), Frame { epoch: self.link.epoch(), body });
    }

    fn hear<N: Speaker>(&mut self, via: Connection, frame: Frame, ctx: &mut Context<'_, N>) {
        if frame.epoch != self.link.epoch() {
            return;
        }
        self.heart.hear();
        match frame.body {
            Body::OpenOk => self.opened(frame.epoch, via, ctx),
            Body::Deliver { tag, item, is_redelivered, times } => {
                ctx.indicate(Indication::Received { serial: item.serial, is_redelivered });
                let handle = Handle { epoch: frame.epoch, tag };
                self.buffer.push_back(Delivery { item, handle, times });
                self.feed(ctx);
            }
            Body::ChannelClosed => {
                self.link.fail(ctx);
                self.lost(ctx);
            }
            _ => (),
        }
    }

    fn opened<N: Speaker>(&mut self, epoch: u32, via: Connection, ctx: &mut Context<'_, N>) {
        if self.link.opened(epoch, via, ctx) && !self.is_stopping {
            let (prefetch, auto_ack) = (self.params.prefetch, self.params.auto_ack);
            self.say(Body::Consume { prefetch, auto_ack }, ctx);
        }
    }

    /// Puts free slots to work.
    fn feed<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        while self.pool.has_room() && !self.is_stopping {
            let Some(Delivery { item, handle, times }) = self.buffer.pop_front() else { return };
            self.pool.begin(item, handle, times, ctx);
        }
    }

    fn finish<N: Speaker>(&mut self, done: Finished<Handle>, ctx: &mut Context<'_, N>) {
        let serial = done.item.serial;
        match done.end {
            End::Done | End::Known => self.acknowledge(done.handle, ctx),
            End::Failed if self.params.auto_ack => ctx.indicate(Indication::Failed(serial)),
            End::Failed => match self.params.on_failure {
                OnFailure::Ack => {
                    ctx.indicate(Indication::Failed(serial));
                    self.acknowledge(done.handle, ctx);
                }
                OnFailure::Requeue => {
                    ctx.indicate(Indication::LeftOff(serial));
                    self.reject(done.handle, true, ctx);
                }
                OnFailure::Reject => {
                    ctx.indicate(Indication::LeftOff(serial));
                    self.reject(done.handle, false, ctx);
                }
            },
            End::Killed => {
                ctx.indicate(Indication::LeftOff(serial));
                self.die(ctx);
                return;
            }
        }
        self.feed(ctx);
        self.end_if_idle(ctx);
    }

    fn acknowledge<N: Speaker>(&mut self, handle: Handle, ctx: &mut Context<'_, N>) {
        if !self.params.auto_ack && self.can_tell(handle) {
            self.say(Body::Ack { tag: handle.tag, multiple: false }, ctx);
            ctx.reach("acked");
        }
    }

    fn reject<N: Speaker>(&mut self, handle: Handle, requeue: bool, ctx: &mut Context<'_, N>) {
        if self.can_tell(handle) {
            self.say(Body::Reject { tag: handle.tag, requeue }, ctx);
        }
    }

    /// Whether the channel still stands by which a delivery came.
    fn can_tell(&self, handle: Handle) -> bool {
        self.link.is_open() && handle.epoch == self.link.epoch()
    }

    /// The channel is gone. What was not acknowledged will come again, so the buffer is of no use;
    /// what counts as acknowledged will not, and is worked off. Work that has begun goes on.
    fn lost<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.indicate(Indication::Cut);
        if !self.params.auto_ack {
            self.drop_buffer(ctx);
        }
        if !self.is_stopping {
            self.link.move_on();
            self.link.try_later(ctx);
        }
    }

    fn drop_buffer<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        for delivery in self.buffer.drain(..) {
            ctx.indicate(Indication::Dropped(delivery.item.serial));
        }
    }

    /// The process is killed by its own work, and its supervisor starts another.
    fn die<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.pool.kill_all(ctx);
        self.drop_buffer(ctx);
        self.link.hang_up(ctx);
        ctx.indicate(Indication::Cut);
        ctx.set_timer(self.params.respawn, Timer::Respawn);
    }

    /// Ends in good order: takes no more, finishes what it has begun, and leaves.
    fn stop<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.is_stopping = true;
        if self.link.is_open() {
            self.say(Body::Cancel, ctx);
        }
        self.end_if_idle(ctx);
    }

    fn end_if_idle<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        if self.is_stopping && self.pool.is_idle() {
            self.drop_buffer(ctx);
            self.link.hang_up(ctx);
            ctx.indicate(Indication::Cut);
        }
    }

    fn beat<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.set_timer(self.params.queue.heartbeat.scale(1, 2), Timer::Beat);
        if !self.link.is_open() {
            return;
        }
        if self.heart.beat() {
            self.link.hang_up(ctx);
            self.lost(ctx);
        } else {
            self.say(Body::Heartbeat, ctx);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::queues::Outcome;
    use crate::queues::tests::play;

    /// Two hundred messages a second for 3 s, and consumers that come when all is over; the broker is
    /// struck at 1.5 s, and starts again 1 s later.
    fn stream(params: &str, fault: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ amqp_classic = {{ {params} }} }}]\nhorizon = \"3s\"\n\
                 drain = \"60s\"\nproducers = {{ load = {{ open = {{ constant = \"200/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"1ms\" }}] }}\n"
            ),
            &format!(
                "fault = [{{ at = \"0s\", for = \"20s\", pause = {{ target = \"consumers\" }} }}, \
                 {{ at = \"1503ms\", for = \"1s\", {fault} = {{ target = \"broker\" }} }}]"
            ),
        )
    }

    const KILLED: &str = "crash_process";
    const POWER: &str = "crash_machine";

    #[test]
    fn what_is_persistent_and_confirmed_survives_a_killed_broker_in_every_release() {
        for version in ["3.10", "3.12", "3.13", "4.1"] {
            let outcome = stream(&format!("version = \"{version}\""), KILLED);
            assert_eq!(outcome.verdict.lost(), 0, "{version}: {:?}", outcome.record.findings);
            assert_eq!(outcome.verdict.done, 600, "{version}");
        }
    }

    #[test]
    fn power_that_fails_loses_what_was_confirmed_before_it_was_synced() {
        for version in ["3.10", "3.12"] {
            let verdict = stream(&format!("version = \"{version}\""), POWER).verdict;
            assert_eq!((verdict.lost(), verdict.done), (0, 600), "{version}");
        }
        for version in ["3.13", "4.1"] {
            let verdict = stream(&format!("version = \"{version}\""), POWER).verdict;
            // All of the first 1.5 s: the operating system writes after 30 s.
            assert!((299..=301).contains(&verdict.lost_confirmed), "{version}: {verdict:?}");
        }
    }

    #[test]
    fn transient_messages_and_queues_that_are_not_durable_die_with_the_broker() {
        for params in ["persistent = false", "queue = { durable = false }"] {
            let verdict = stream(params, KILLED).verdict;
            assert!((299..=301).contains(&verdict.lost_confirmed), "{params}: {verdict:?}");
        }
    }

    #[test]
    fn without_confirms_what_has_not_been_written_is_lost_in_silence() {
        let verdict = stream("confirms = false", KILLED).verdict;
        // Nothing was written for as long as messages came: they are gathered.
        assert_eq!(verdict.lost_confirmed, 0);
        assert!(299 <= verdict.lost_unconfirmed, "{verdict:?}");
        let verdict = stream("confirms = false, queue = { journal = 100 }", KILLED).verdict;
        assert!(verdict.lost_unconfirmed <= 101, "{verdict:?}");
    }
}
