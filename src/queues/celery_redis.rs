//! Celery on Redis: the same worker as on RabbitMQ, on a broker that knows no acknowledgement.
//!
//! kombu makes up for that with notes of what was popped (`redis_client.rs`). A message that was
//! popped and not yet noted is lost with its worker, whatever is set; one whose note is older than
//! the visibility timeout is delivered again, though its worker may still be at it, or keep it for
//! its ETA (celery/celery#2481, #4400, #7009).

use std::collections::VecDeque;

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::{Context, Input, Node, NodeId, Signal};

use super::celery::{PublishRetryParams, with_eta};
use super::celery_worker::{
    AutoretryParams, CeleryVersion, Delivery, EtaTimer, Handle, Order, Worker, WorkerRules,
};
use super::redis::{Command, Data, Entry, Message, RedisParams, Server, Speaker, Timer};
use super::redis_client::{Channel, Heard, KombuParams, Publisher};
use super::redis_list::RedisVersion;
use super::work::Work;
use super::{Indication, Item, Part, QueueProtocol, Request, Scene};

config! {
    /// Celery on Redis.
    pub(super) struct CeleryRedisParams {
        /// The release of Celery.
        pub version: CeleryVersion = CeleryVersion::V5_6,
        /// The release of Redis.
        pub redis_version: RedisVersion = RedisVersion::V7_4,
        /// How Redis survives.
        pub redis: RedisParams = RedisParams::default(),
        /// How kombu uses it.
        pub kombu: KombuParams = KombuParams::default(),
        /// Whether a task is acknowledged when it is over, and not when it is begun.
        pub acks_late: bool = false,
        /// Whether a late task whose process was killed goes back to the queue.
        pub reject_on_worker_lost: bool = false,
        /// Whether a late task that failed is acknowledged.
        pub acks_on_failure_or_timeout: bool = true,
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
    }
}

impl CeleryRedisParams {
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
pub(super) enum CeleryRedis {
    Server(Box<Server>),
    /// An application that calls tasks.
    Producer(Box<Publisher>),
    Worker(Box<RedisWorker>),
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Server(RedisParams, NodeId, Vec<NodeId>),
    Producer(PublishRetryParams, SimDuration, Vec<NodeId>),
    Worker(Box<WorkerSetup>),
}

#[derive(Clone, Debug)]
pub(super) struct WorkerSetup {
    rules: WorkerRules,
    kombu: KombuParams,
    patience: SimDuration,
    work: Work,
    servers: Vec<NodeId>,
}

impl QueueProtocol for CeleryRedis {
    const ABOUT: About = About {
        name: "celery_redis",
        summary: "Celery on Redis: visibility timeout, sweeps, a window in which a crash loses",
        source: "celery/kombu 9ee8595, kombu/transport/redis.py",
        version: "5.6",
    };
    type Params = CeleryRedisParams;

    fn role(params: &CeleryRedisParams, part: Part, scene: &Scene) -> Role {
        let servers = scene.brokers.clone();
        match part {
            Part::Broker(index) => {
                Role::Server(params.redis.clone(), servers[index as usize], servers)
            }
            Part::Producer(_) => {
                Role::Producer(params.publish_retry.clone(), params.redis.socket_timeout, servers)
            }
            Part::Consumer(_) => Role::Worker(Box::new(WorkerSetup {
                rules: params.rules(),
                kombu: params.kombu.clone(),
                patience: params.redis.socket_timeout,
                work: scene.work.clone(),
                servers,
            })),
        }
    }
}

impl Node for CeleryRedis {
    type Role = Role;
    type Stable = Data;
    type Request = Request;
    type Indication = Indication;
    type Message = Message;
    type Timer = Timer;

    fn boot(role: &Role, disk: &Data) -> Self {
        match role {
            Role::Server(params, me, servers) => {
                Self::Server(Box::new(Server::boot(params, *me, servers, disk)))
            }
            Role::Producer(retry, patience, servers) => {
                let make = |item, _| Command::Push(item);
                let (backoff, retries) = (retry.backoff(), Some(retry.max_retries));
                Self::Producer(Box::new(Publisher::new(
                    servers, backoff, retries, make, None, *patience,
                )))
            }
            Role::Worker(setup) => Self::Worker(Box::new(RedisWorker::new(setup))),
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Server(server) => server.handle(input, ctx),
            Self::Producer(publisher) => {
                let input = with_eta(input, ctx);
                publisher.handle(&input, ctx);
            }
            Self::Worker(worker) => worker.handle(input, ctx),
        }
    }
}

impl From<EtaTimer> for Timer {
    fn from(_: EtaTimer) -> Self {
        Self::Eta
    }
}

/// A worker and its connection with Redis.
#[derive(Clone, Debug)]
pub(super) struct RedisWorker {
    channel: Channel,
    /// To be published, as soon as there is a connection.
    outgoing: VecDeque<Item>,
    worker: Worker,
}

impl RedisWorker {
    fn new(setup: &WorkerSetup) -> Self {
        let mut worker = Worker::new(&setup.rules, &setup.work);
        let prefetch = worker.begin_channel();
        let backoff = super::celery::WORKER_BACKOFF;
        Self {
            channel: Channel::new(
                &setup.kombu,
                (&setup.servers, setup.patience),
                backoff,
                true,
                prefetch,
            ),
            outgoing: VecDeque::new(),
            worker,
        }
    }

    fn handle<N: Speaker<Request = Request>>(&mut self, input: Input<N>, ctx: &mut Context<'_, N>) {
        match self.channel.hear(&input, ctx) {
            Heard::Delivery(tag, entry) => {
                let Entry { item, times, is_redelivered } = entry;
                ctx.indicate(Indication::Received { serial: item.serial, is_redelivered });
                let handle = Handle { epoch: 0, tag };
                self.worker.receive(Delivery { item, handle, times }, ctx);
            }
            Heard::Lost => {
                ctx.indicate(Indication::Cut);
                self.worker.connection_lost(ctx);
                let prefetch = self.worker.begin_channel();
                self.channel.set_prefetch(prefetch, ctx);
                if !self.worker.is_stopping() {
                    self.channel.wire.try_later(ctx);
                }
            }
            Heard::Nothing => (),
        }
        match input {
            Input::Start => self.channel.start(ctx),
            Input::Timer(Timer::Work(timer)) => self.worker.work_due(timer, ctx),
            Input::Timer(Timer::Eta) => self.worker.eta_due(ctx),
            Input::Request(Request::Answer { slot, is_known }) => {
                self.worker.answered(slot, is_known, ctx);
            }
            Input::Signal(Signal::Terminate) => {
                self.worker.stop();
                self.channel.cancel();
            }
            Input::Signal(Signal::ChildKilled) => self.worker.child_killed(ctx),
            _ => (),
        }
        self.carry_out(ctx);
        if self.worker.has_ended() && self.channel.wire.is_open() {
            self.worker.end(ctx);
            self.channel.close(ctx);
            if self.channel.is_quiet() {
                self.channel.wire.hang_up(ctx);
                ctx.indicate(Indication::Cut);
            }
        }
    }

    /// Does what the worker wants of its connection.
    fn carry_out<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        for order in std::mem::take(&mut self.worker.orders) {
            match order {
                Order::Ack(handle) => self.channel.ack(handle.tag, ctx),
                Order::Reject(handle, requeue) => self.channel.reject(handle.tag, requeue, ctx),
                Order::Prefetch(prefetch) => self.channel.set_prefetch(prefetch, ctx),
                Order::Publish(item) => {
                    self.outgoing.push_back(item);
                    self.send_outgoing(ctx);
                }
            }
        }
        self.send_outgoing(ctx);
    }

    fn send_outgoing<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        while self.channel.wire.is_open() {
            let Some(item) = self.outgoing.pop_front() else { return };
            self.channel.publish(item, ctx);
            ctx.indicate(Indication::Sent { serial: item.serial, is_kept: false });
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::time::SimTime;
    use crate::queues::tests::play;
    use crate::queues::{Heard, Indication, Outcome};

    /// Twenty tasks of 0.2 s at once, for `count` workers of one process.
    fn twenty(params: &str, messages: &str, count: u32, fault: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ celery_redis = {{ {params} }} }}]\nhorizon = \"2ms\"\n\
                 drain = \"200s\"\nproducers = {{ load = {{ open = {{ constant = \"10000/s\" }} }} }}\n\
                 consumers = {{ count = {count} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"200ms\" }}] {messages} }}\n"
            ),
            &format!("network = {{ delay = \"1ms\" }}\nfault = [{fault}]"),
        )
    }

    const LATE: &str = "acks_late = true";
    const SAFEST: &str = "acks_late = true, reject_on_worker_lost = true";
    const MAIN_DIES: &str = "{ at = \"500ms\", crash_process = { target = \"consumer-2\" } }";
    const CHILD_DIES: &str = "{ at = \"500ms\", kill_child = { target = \"consumer-2\" } }";

    fn kombu(throttle: u32) -> String {
        format!(
            "{SAFEST}, kombu = {{ visibility_timeout = \"5s\", unacked_restore_interval = \"1s\", \
             unacked_restore_throttle = {throttle} }}"
        )
    }

    /// When each delivery came that was flagged as another, and of which message.
    fn redelivered(outcome: &Outcome) -> Vec<(SimTime, u64)> {
        let heard = outcome.judge.history().iter().filter_map(|heard| match heard.told {
            Indication::Received { serial, is_redelivered: true } => Some((heard.at, serial.0)),
            _ => None,
        });
        heard.collect()
    }

    #[test]
    fn whatever_is_set_a_worker_that_dies_between_pop_and_note_loses_one() {
        let fault = "{ on = { node = \"consumer-2\", point = \"popped\", count = 3 }, \
                     crash_process = { target = \"consumer-2\" } }";
        for params in ["", LATE, SAFEST, &kombu(1)] {
            let verdict = twenty(params, "", 2, fault).verdict;
            assert_eq!(verdict.lost(), if params.is_empty() { 2 } else { 1 }, "{params}");
        }
    }

    #[test]
    fn what_a_dead_worker_had_comes_back_at_the_first_real_sweep_after_the_visibility_timeout() {
        // Sweeps at 1 s, 2 s, 3 s, ...: the earliest tasks were popped before 0.1 s.
        let outcome = twenty(&kombu(1), "", 2, MAIN_DIES);
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 20));
        let (first, _) = redelivered(&outcome)[0];
        assert!(SimTime::from_ms(5_000) < first && first < SimTime::from_ms(6_100), "{first:?}");
        // Of the sweeps each second only every tenth looks: at 1 s, and next at 11 s.
        let outcome = twenty(&kombu(10), "", 2, MAIN_DIES);
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 20));
        let (first, _) = redelivered(&outcome)[0];
        assert!(SimTime::from_ms(11_000) < first && first < SimTime::from_ms(11_100), "{first:?}");
    }

    #[test]
    fn a_task_that_waits_for_its_eta_longer_than_the_visibility_timeout_is_done_again() {
        let delay = ", delay = \"12s\"";
        let outcome = twenty(&kombu(1), delay, 2, "");
        assert!(20 <= outcome.verdict.duplicate_effects, "{:?}", outcome.verdict);
        let outcome = twenty(SAFEST, delay, 2, "");
        assert_eq!((outcome.verdict.done, outcome.verdict.duplicate_deliveries), (20, 0));
        // None is begun before its time.
        let started = |heard: &&Heard| matches!(heard.told, Indication::Started(_));
        let first = outcome.judge.history().iter().find(started).expect("all are done");
        assert!(SimTime::from_ms(12_000) <= first.at, "{:?}", first.at);
    }

    #[test]
    fn only_reject_on_worker_lost_keeps_the_task_of_a_killed_process_and_that_comes_last() {
        for params in ["", LATE] {
            let verdict = twenty(params, "", 2, CHILD_DIES).verdict;
            assert_eq!((verdict.lost(), verdict.done), (1, 19), "{params}");
        }
        let outcome = twenty(SAFEST, "", 2, CHILD_DIES);
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 20));
        let again = redelivered(&outcome);
        assert_eq!(again.len(), 1);
        let mut received = outcome.judge.history().iter();
        let received = received.rfind(|heard| matches!(heard.told, Indication::Received { .. }));
        let last = received.expect("something is received");
        assert_eq!(last.at, again[0].0, "it went to the tail");
    }

    #[test]
    fn early_acknowledgement_loses_what_runs_with_its_worker_and_late_nothing() {
        let early = twenty("kombu = { visibility_timeout = \"5s\" }", "", 2, MAIN_DIES).verdict;
        assert_eq!((early.lost(), early.done, early.duplicate_effects), (1, 19, 0));
        let late = twenty(&kombu(10), "", 2, MAIN_DIES).verdict;
        assert_eq!((late.lost(), late.done, late.duplicate_effects), (0, 20, 0));
    }

    #[test]
    fn a_warm_shutdown_ends_what_runs_and_puts_the_rest_where_it_is_popped_next() {
        let fault = "{ at = \"500ms\", terminate = { target = \"consumer-2\" } }";
        let outcome = twenty("", "", 2, fault);
        let verdict = &outcome.verdict;
        assert_eq!((verdict.lost(), verdict.done, verdict.duplicate_effects), (0, 20, 0));
        let again: Vec<u64> = redelivered(&outcome).into_iter().map(|(_, serial)| serial).collect();
        assert_eq!(again.len(), 4, "as many as the multiplier says");
        assert!(again.is_sorted_by(|one, next| next < one), "the newest first: {again:?}");
        let others = outcome.judge.history().iter().filter(|heard| {
            SimTime::from_ms(700) < heard.at
                && matches!(heard.told, Indication::Received { is_redelivered: false, .. })
        });
        let earliest = others.map(|heard| heard.at).min().expect("some were left in the list");
        assert!(redelivered(&outcome)[0].0 < earliest, "before those that were in the list");
    }

    #[test]
    fn a_worker_pops_as_many_as_it_has_processes_times_the_multiplier_beside_what_is_settled() {
        let popped = |params: &str| {
            let outcome = twenty(params, "", 1, "");
            let until = outcome.judge.history().iter();
            let until = until.take_while(|heard| !matches!(heard.told, Indication::Done(_)));
            until.filter(|heard| matches!(heard.told, Indication::Received { .. })).count()
        };
        assert_eq!(popped(""), 5, "the running task is acknowledged and takes no credit");
        assert_eq!(popped(LATE), 4);
        assert_eq!(popped("prefetch_multiplier = 1"), 2);
        assert_eq!(popped("acks_late = true, prefetch_multiplier = 1"), 1);
        assert_eq!(popped("prefetch_multiplier = 0"), 20, "no limit");
    }
}
