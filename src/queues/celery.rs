//! Celery on RabbitMQ: tasks published by applications, worked on by workers with a pool of
//! processes.
//!
//! By default Celery asks for no publisher confirms and acknowledges a message when a process of the
//! pool takes the task, so what runs when a worker dies is lost. The worker stands in
//! `celery_worker.rs`, the broker in `amqp.rs`; here they are joined as kombu and py-amqp join them
//! (celery/kombu 9ee8595, `kombu/connection.py`, `kombu/messaging.py`; defaults from
//! celery/celery v5.6.3, `celery/app/defaults.py`).

use std::collections::VecDeque;

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::{Connection, Context, Input, Node, NodeId, Signal};

use super::amqp::{
    Body, Broker, Disk, Frame, Publisher, PublisherRules, QueueParams, RabbitVersion, Speaker,
    Timer,
};
use super::celery_worker::{
    AutoretryParams, CeleryVersion, Delivery, EtaTimer, Handle, Order, Worker, WorkerRules,
};
use super::link::{Backoff, Heart, Link, LinkTimer};
use super::work::Work;
use super::{Indication, Item, Part, QueueProtocol, Request, Scene};

config! {
    /// Celery on RabbitMQ.
    pub(super) struct CeleryParams {
        /// The release of Celery.
        pub version: CeleryVersion = CeleryVersion::V5_6,
        /// The release of RabbitMQ.
        pub rabbitmq: RabbitVersion = RabbitVersion::V4_1,
        /// The queue.
        pub queue: QueueParams = QueueParams::default(),
        /// Whether a task is acknowledged when it is over, and not when it is begun.
        pub acks_late: bool = false,
        /// Whether a late task whose process was killed goes back to the queue.
        pub reject_on_worker_lost: bool = false,
        /// Whether a late task that failed is acknowledged.
        pub acks_on_failure_or_timeout: bool = true,
        /// Whether publishers wait for confirms
        /// (`broker_transport_options = {"confirm_publish": True}`).
        pub confirm_publish: bool = false,
        /// How many tasks a worker takes for each process of its pool; 0 for no limit.
        pub prefetch_multiplier: u32 = 4 => 0..=10_000,
        /// How far tasks that wait for their ETA may raise the prefetch count.
        pub eta_task_limit: Option<u32> = None,
        /// How tasks that fail are tried again; left out, not at all.
        pub autoretry: Option<AutoretryParams> = None,
        /// How a publisher whose connection fails tries again.
        pub publish_retry: PublishRetryParams = PublishRetryParams::default(),
        /// Whether late tasks that run when the connection is lost are cancelled.
        pub cancel_on_connection_loss: bool = false,
        /// How long it takes until a worker that ends because the broker closed its channel is
        /// started again; left out, nobody does.
        pub respawn: Option<SimDuration> = None,
    }
}

config! {
    /// How a publisher whose connection fails tries again (`task_publish_retry_policy`).
    pub(super) struct PublishRetryParams {
        /// How many times.
        pub max_retries: u32 = 3,
        /// The first pause.
        pub interval_start: SimDuration = SimDuration::ZERO,
        /// What each further pause is longer.
        pub interval_step: SimDuration = SimDuration::from_ms(200),
        /// The longest pause.
        pub interval_max: SimDuration = SimDuration::from_secs(1),
        /// Whether, without confirms, a connection that breaks right after a publish was written
        /// shows as an error of that publish, which is then tried again. Which it is depends on
        /// whether the reset comes within the write or after it.
        pub sees_error: bool = false,
    }
}

impl PublishRetryParams {
    pub(super) fn backoff(&self) -> Backoff {
        Backoff {
            first: SimDuration::ZERO,
            start: self.interval_start,
            step: self.interval_step,
            max: self.interval_max,
        }
    }
}

impl Default for PublishRetryParams {
    fn default() -> Self {
        super::config::from_nothing()
    }
}

impl CeleryParams {
    fn rules(&self) -> WorkerRules {
        WorkerRules {
            version: self.version.clone(),
            acks_late: self.acks_late,
            reject_on_worker_lost: self.reject_on_worker_lost,
            acks_on_failure_or_timeout: self.acks_on_failure_or_timeout,
            prefetch_multiplier: self.prefetch_multiplier,
            eta_task_limit: self.eta_task_limit,
            cancel_on_connection_loss: self.cancel_on_connection_loss,
            autoretry: self.autoretry.clone(),
        }
    }
}

/// A node of it.
#[derive(Clone, Debug)]
pub(super) enum Celery {
    Broker(Box<Broker>),
    /// An application that calls tasks.
    Producer(Box<Publisher>),
    Worker(Box<RabbitWorker>),
    /// A server that has no part in the queue.
    Bystander,
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Broker(RabbitVersion, QueueParams),
    Producer(PublisherRules, NodeId),
    Worker(Box<WorkerSetup>),
    Bystander,
}

#[derive(Clone, Debug)]
pub(super) struct WorkerSetup {
    rules: WorkerRules,
    confirm_publish: bool,
    heartbeat: SimDuration,
    respawn: Option<SimDuration>,
    work: Work,
    broker: NodeId,
}

impl QueueProtocol for Celery {
    const ABOUT: About = About {
        name: "celery",
        summary: "Celery on RabbitMQ: early or late acknowledgement, a pool of processes",
        source: "celery/celery v5.6.3, celery/worker/request.py",
        version: "5.6",
    };
    type Params = CeleryParams;

    fn role(params: &CeleryParams, part: Part, scene: &Scene) -> Role {
        let broker = scene.brokers[0];
        match part {
            Part::Broker(0) => Role::Broker(params.rabbitmq.clone(), params.queue.clone()),
            Part::Broker(_) => Role::Bystander,
            Part::Producer(_) => {
                let retry = &params.publish_retry;
                let rules = PublisherRules {
                    confirms: params.confirm_publish,
                    persistent: true,
                    retries: Some(retry.max_retries),
                    backoff: retry.backoff(),
                    // Only workers ask for heartbeats (`app/base.py`, `connection_for_write`).
                    heartbeat: SimDuration::ZERO,
                    sees_error: retry.sees_error,
                };
                Role::Producer(rules, broker)
            }
            Part::Consumer(_) => Role::Worker(Box::new(WorkerSetup {
                rules: params.rules(),
                confirm_publish: params.confirm_publish,
                heartbeat: params.queue.heartbeat,
                respawn: params.respawn,
                work: scene.work.clone(),
                broker,
            })),
        }
    }
}

impl Node for Celery {
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
            Role::Producer(rules, broker) => {
                Self::Producer(Box::new(Publisher::new(*rules, &[*broker])))
            }
            Role::Worker(setup) => Self::Worker(Box::new(RabbitWorker::new(setup))),
            Role::Bystander => Self::Bystander,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Broker(broker) => broker.handle(input, ctx),
            Self::Producer(publisher) => publisher.handle(with_eta(input, ctx), ctx),
            Self::Worker(worker) => worker.handle(input, ctx),
            Self::Bystander => (),
        }
    }
}

/// `apply_async` turns a countdown into an instant on the caller's clock.
pub(super) fn with_eta<N: Node<Request = Request>>(
    input: Input<N>,
    ctx: &Context<'_, N>,
) -> Input<N> {
    match input {
        Input::Request(Request::Publish(item)) if item.delay != SimDuration::ZERO => {
            let ns = i64::try_from(item.delay.as_ns()).unwrap_or(i64::MAX);
            let eta = Some(ctx.wall().plus_ns(ns));
            Input::Request(Request::Publish(Item { eta, ..item }))
        }
        other => other,
    }
}

/// A worker and its connection with RabbitMQ.
#[derive(Clone, Debug)]
pub(super) struct RabbitWorker {
    setup: WorkerSetup,
    link: Link,
    heart: Heart,
    next_seq: u64,
    /// To be published, as soon as there is a connection.
    outgoing: VecDeque<Item>,
    worker: Worker,
}

impl From<EtaTimer> for Timer {
    fn from(_: EtaTimer) -> Self {
        Self::Eta
    }
}

impl RabbitWorker {
    fn new(setup: &WorkerSetup) -> Self {
        Self {
            setup: setup.clone(),
            link: Link::new(setup.broker, WORKER_BACKOFF),
            heart: Heart::default(),
            next_seq: 1,
            outgoing: VecDeque::new(),
            worker: Worker::new(&setup.rules, &setup.work),
        }
    }

    fn handle<N: Speaker<Request = Request>>(&mut self, input: Input<N>, ctx: &mut Context<'_, N>) {
        match input {
            Input::Start => {
                self.connect(ctx);
                if self.setup.heartbeat != SimDuration::ZERO {
                    ctx.set_timer(self.setup.heartbeat.scale(1, 2), Timer::Beat);
                }
            }
            Input::Message { via, message, .. } => self.hear(via, message, ctx),
            Input::Closed { via, .. } => {
                if self.link.closed(via, ctx) {
                    self.lost(ctx);
                }
            }
            Input::Timer(Timer::Work(timer)) => self.worker.work_due(timer, ctx),
            Input::Timer(Timer::Eta) => self.worker.eta_due(ctx),
            Input::Timer(Timer::Link(LinkTimer::Retry)) => self.connect(ctx),
            Input::Timer(Timer::Link(LinkTimer::Timeout)) => {
                self.link.fail(ctx);
                ctx.disconnect(self.link.broker());
                self.lost(ctx);
            }
            Input::Timer(Timer::Beat) => self.beat(ctx),
            Input::Timer(Timer::Respawn) => self.start_again(ctx),
            Input::Timer(_) => unreachable!("a worker sets no other timer"),
            Input::Request(Request::Answer { slot, is_known }) => {
                self.worker.answered(slot, is_known, ctx);
            }
            Input::Signal(Signal::Terminate) => {
                self.worker.stop();
                if self.link.is_open() {
                    self.say(Body::Cancel, ctx);
                }
            }
            Input::Signal(Signal::ChildKilled) => self.worker.child_killed(ctx),
            Input::Request(Request::Publish(_)) | Input::Overload { .. } | Input::Synced(_) => (),
        }
        self.carry_out(ctx);
        if self.worker.has_ended() && self.link.is_open() {
            self.worker.end(ctx);
            self.link.hang_up(ctx);
            ctx.indicate(Indication::Cut);
        }
    }

    fn connect<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let body =
            Body::Open { confirms: self.setup.confirm_publish, heartbeat: self.setup.heartbeat };
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
                self.worker.receive(Delivery { item, handle, times }, ctx);
            }
            Body::ChannelClosed => self.give_up(ctx),
            _ => (),
        }
    }

    /// A channel that the broker closes is no connection that is lost: "Unrecoverable error:
    /// PreconditionFailed(406, ...)", and the worker ends as on SIGTERM (`worker/worker.py`,
    /// `WorkController.start`; celery/celery#6760).
    fn give_up<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.link.hang_up(ctx);
        ctx.indicate(Indication::Cut);
        self.worker.stop();
        self.worker.end(ctx);
        if let Some(respawn) = self.setup.respawn {
            ctx.set_timer(respawn, Timer::Respawn);
        }
    }

    /// Its supervisor starts another worker. What the former still works on goes on.
    fn start_again<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.worker.start_again();
        self.connect(ctx);
    }

    fn opened<N: Speaker>(&mut self, epoch: u32, via: Connection, ctx: &mut Context<'_, N>) {
        if self.link.opened(epoch, via, ctx) && !self.worker.is_stopping() {
            self.next_seq = 1;
            let prefetch = self.worker.begin_channel();
            self.say(Body::Consume { prefetch, auto_ack: false }, ctx);
            self.send_outgoing(ctx);
        }
    }

    /// Does what the worker wants of its connection. What belongs to a channel that is gone cannot
    /// be told any more, which py-amqp reports and Celery logs.
    fn carry_out<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        for order in std::mem::take(&mut self.worker.orders) {
            let can_tell =
                |handle: Handle| self.link.is_open() && handle.epoch == self.link.epoch();
            match order {
                Order::Ack(handle) if can_tell(handle) => {
                    self.say(Body::Ack { tag: handle.tag, multiple: false }, ctx);
                }
                Order::Reject(handle, requeue) if can_tell(handle) => {
                    self.say(Body::Reject { tag: handle.tag, requeue }, ctx);
                }
                Order::Ack(_) | Order::Reject(..) => (),
                Order::Prefetch(prefetch) => {
                    if self.link.is_open() {
                        self.say(Body::Qos { prefetch }, ctx);
                    }
                }
                // Before what follows: a task that is tried again is published, then acknowledged.
                Order::Publish(item) => {
                    self.outgoing.push_back(item);
                    self.send_outgoing(ctx);
                }
            }
        }
    }

    fn send_outgoing<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        while self.link.is_open() {
            let Some(item) = self.outgoing.pop_front() else { return };
            let seq = self.next_seq;
            self.next_seq += 1;
            self.say(Body::Publish { seq, item, is_persistent: true }, ctx);
            ctx.indicate(Indication::Sent { serial: item.serial, is_kept: false });
        }
    }

    fn lost<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.indicate(Indication::Cut);
        self.worker.connection_lost(ctx);
        if !self.worker.is_stopping() {
            self.link.try_later(ctx);
        }
    }

    fn beat<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.set_timer(self.setup.heartbeat.scale(1, 2), Timer::Beat);
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

/// How a worker connects again: `ensure_connection` tries at once, then after 2, 4, 6, ... up to
/// 30 s.
pub(super) const WORKER_BACKOFF: Backoff = Backoff {
    first: SimDuration::ZERO,
    start: SimDuration::from_secs(2),
    step: SimDuration::from_secs(2),
    max: SimDuration::from_secs(30),
};
