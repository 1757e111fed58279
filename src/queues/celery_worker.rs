//! A Celery worker, whatever its broker: what happens to a task from its reception to its
//! acknowledgement.
//!
//! The main process receives messages, keeps them in memory, and gives them to the processes of its
//! pool. Whether a message is acknowledged when a process takes it (the default) or when the work is
//! over decides what a crash costs; the small print is in what happens when a process of the pool
//! dies. Read: celery/celery v5.6.3 (`worker/request.py`, `worker/strategy.py`,
//! `worker/consumer/consumer.py`, `concurrency/asynpool.py`, `app/task.py`, `app/autoretry.py`,
//! `utils/time.py`). Not modelled: rate limits, revocation, time limits, the gradual restoration of
//! the prefetch count after a reconnection, result backends.

use std::collections::{BTreeMap, VecDeque};

use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::clock::WallTime;
use crate::model::node::{Context, Node, TimerId};

use super::work::{End, Finished, Pool, Work, WorkTimer};
use super::{Indication, Item};

config! {
    /// A line of Celery releases.
    pub(super) enum CeleryVersion {
        /// Read at v5.2.7: forgets tasks that wait for their ETA when the connection is lost.
        "5.2" => V5_2,
        /// Read at v5.6.3: keeps them, though they will be delivered again.
        "5.6" => V5_6,
    }
}

config! {
    /// How a task that fails is tried again (`autoretry_for`).
    pub(super) struct AutoretryParams {
        /// How many times.
        pub max_retries: u32 = 3,
        /// The pause before, where there is no back-off.
        pub default_retry_delay: SimDuration = SimDuration::from_secs(180),
        /// The factor of the back-off in seconds, doubled with each retry; 0 for none.
        pub retry_backoff: u64 = 0 => 0..=1_000_000,
        /// The longest pause of the back-off, in seconds.
        pub retry_backoff_max: u64 = 600 => 0..=1_000_000_000,
        /// Whether the back-off is drawn, from nothing to the whole.
        pub retry_jitter: bool = true,
    }
}

/// The settings of a worker.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are Celery's own settings")]
pub(super) struct WorkerRules {
    pub(super) version: CeleryVersion,
    pub(super) acks_late: bool,
    pub(super) reject_on_worker_lost: bool,
    pub(super) acks_on_failure_or_timeout: bool,
    pub(super) prefetch_multiplier: u32,
    pub(super) eta_task_limit: Option<u32>,
    pub(super) cancel_on_connection_loss: bool,
    pub(super) autoretry: Option<AutoretryParams>,
}

/// What the worker wants of its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Order {
    /// The message is to be acknowledged.
    Ack(Handle),
    /// The message is to be given back, or refused.
    Reject(Handle, bool),
    /// So many messages may be unacknowledged from now on.
    Prefetch(u32),
    /// A message is to be published.
    Publish(Item),
}

/// Which delivery it was, on which channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Handle {
    pub(super) epoch: u32,
    pub(super) tag: u64,
}

/// A message that a worker has received.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) item: Item,
    pub(super) handle: Handle,
    /// How often it has come back before.
    pub(super) times: u32,
}

/// The worker's tasks. What it wants of its connection gathers in `orders`.
#[derive(Clone, Debug)]
pub(super) struct Worker {
    rules: WorkerRules,
    /// `prefetch_multiplier` times the size of the pool.
    initial_prefetch: u32,
    prefetch: u32,
    pool: Pool<Handle>,
    /// Received, and not given to the pool.
    reserved: VecDeque<Delivery>,
    /// Received, and not due yet.
    eta: BTreeMap<(WallTime, u64), Delivery>,
    eta_count: u64,
    eta_timer: Option<TimerId>,
    is_stopping: bool,
    pub(super) orders: Vec<Order>,
}

/// What a worker reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(super) struct EtaTimer;

impl Worker {
    pub(super) fn new(rules: &WorkerRules, work: &Work) -> Self {
        let initial_prefetch = rules.prefetch_multiplier.saturating_mul(work.concurrency);
        Self {
            rules: rules.clone(),
            initial_prefetch,
            prefetch: initial_prefetch,
            pool: Pool::new(work),
            reserved: VecDeque::new(),
            eta: BTreeMap::new(),
            eta_count: 0,
            eta_timer: None,
            is_stopping: false,
            orders: Vec::new(),
        }
    }

    /// How many messages may be unacknowledged; 0 for no limit. A new channel begins anew.
    pub(super) fn begin_channel(&mut self) -> u32 {
        self.prefetch = self.initial_prefetch;
        self.prefetch
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping
    }

    /// Whether it has nothing more to do before it ends.
    pub(super) fn has_ended(&self) -> bool {
        self.is_stopping && self.pool.is_idle()
    }

    /// A message has come (`strategy.py`, `task_message_handler`).
    pub(super) fn receive<N>(&mut self, delivery: Delivery, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer> + From<EtaTimer>,
    {
        match delivery.item.eta {
            Some(eta) => {
                self.eta.insert((eta, self.eta_count), delivery);
                self.eta_count += 1;
                self.change_prefetch(1);
                self.await_eta(ctx);
            }
            None => self.reserved.push_back(delivery),
        }
        self.feed(ctx);
    }

    /// `QoS.increment_eventually` and `decrement_eventually` (`kombu/common.py`).
    fn change_prefetch(&mut self, by: i64) {
        if self.prefetch == 0 {
            return;
        }
        let limit = self.rules.eta_task_limit.filter(|_| 0 < by).unwrap_or(u32::MAX);
        let wanted = (i64::from(self.prefetch) + by).max(1).min(limit.into());
        let wanted = u32::try_from(wanted).unwrap_or(u32::MAX);
        if wanted != self.prefetch {
            self.prefetch = wanted;
            self.orders.push(Order::Prefetch(wanted));
        }
    }

    fn await_eta<N>(&mut self, ctx: &mut Context<'_, N>)
    where
        N: Node,
        N::Timer: From<EtaTimer>,
    {
        if let Some(timer) = self.eta_timer.take() {
            ctx.cancel_timer(timer);
        }
        if let Some((&(eta, _), _)) = self.eta.first_key_value() {
            let left = eta.0.saturating_sub(ctx.wall().0).max(0);
            self.eta_timer =
                Some(ctx.set_timer(SimDuration::from_ns(left as u64), EtaTimer.into()));
        }
    }

    /// The earliest ETA may have come (`Consumer.apply_eta_task`).
    pub(super) fn eta_due<N>(&mut self, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer> + From<EtaTimer>,
    {
        self.eta_timer = None;
        let now = ctx.wall();
        while let Some(entry) = self.eta.first_entry()
            && entry.key().0 <= now
        {
            let delivery = entry.remove();
            self.reserved.push_back(delivery);
            self.change_prefetch(-1);
        }
        self.await_eta(ctx);
        self.feed(ctx);
    }

    /// Gives tasks to free processes of the pool (`Request.on_accepted`).
    fn feed<N>(&mut self, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        while self.pool.has_room() && !self.is_stopping {
            let Some(Delivery { item, handle, times }) = self.reserved.pop_front() else { return };
            self.pool.begin(item, handle, times + item.retries, ctx);
            if !self.rules.acks_late {
                self.orders.push(Order::Ack(handle));
            }
        }
    }

    pub(super) fn answered<N>(&mut self, slot: u32, is_known: bool, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        self.pool.answered(slot, is_known, ctx);
    }

    /// A timer of the pool has fallen due.
    pub(super) fn work_due<N>(&mut self, timer: WorkTimer, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        if let Some(finished) = self.pool.due(timer, ctx) {
            match finished.end {
                End::Done | End::Known => self.succeed(finished.handle),
                End::Failed => self.fail(finished, ctx),
                End::Killed => {
                    ctx.indicate(Indication::LeftOff(finished.item.serial));
                    self.lose_child(finished);
                }
            }
            self.feed(ctx);
        }
    }

    /// A process of the pool was killed from outside; another takes its place at once.
    pub(super) fn child_killed<N>(&mut self, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        if let Some(finished) = self.pool.kill_one(ctx) {
            self.lose_child(finished);
            self.feed(ctx);
        }
    }

    /// `Request.on_success`.
    fn succeed(&mut self, handle: Handle) {
        if self.rules.acks_late {
            self.orders.push(Order::Ack(handle));
        }
    }

    /// The task raised an exception: it is tried again, as a new message, or has failed for good
    /// (`autoretry.py`, `Task.retry`, `Request.on_retry`, `Request.on_failure`).
    fn fail<N>(&mut self, finished: Finished<Handle>, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
    {
        let Finished { item, handle, .. } = finished;
        if let Some(policy) = self.rules.autoretry.clone()
            && item.retries < policy.max_retries
        {
            let countdown = policy.countdown(item.retries, ctx);
            let ns = i64::try_from(countdown.as_ns()).unwrap_or(i64::MAX);
            let eta = Some(ctx.wall().plus_ns(ns));
            self.orders.push(Order::Publish(Item { retries: item.retries + 1, eta, ..item }));
            ctx.indicate(Indication::LeftOff(item.serial));
            self.succeed(handle);
            return;
        }
        ctx.indicate(Indication::Failed(item.serial));
        if self.rules.acks_late {
            self.orders.push(if self.rules.acks_on_failure_or_timeout {
                Order::Ack(handle)
            } else {
                Order::Reject(handle, false)
            });
        }
    }

    /// A process of the pool is gone and the result of its task with it: `Request.on_failure` with
    /// `WorkerLostError`, at once (`asynpool.py`, `on_job_process_lost`).
    fn lose_child(&mut self, finished: Finished<Handle>) {
        if !self.rules.acks_late {
            return;
        }
        self.orders.push(if self.rules.reject_on_worker_lost {
            Order::Reject(finished.handle, true)
        } else if self.rules.acks_on_failure_or_timeout {
            Order::Ack(finished.handle)
        } else {
            Order::Reject(finished.handle, false)
        });
    }

    /// The connection is gone: what the pool does not work on is forgotten, because it will be
    /// delivered again (`Consumer.on_close`).
    pub(super) fn connection_lost<N>(&mut self, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
        N::Timer: From<WorkTimer>,
    {
        if self.rules.cancel_on_connection_loss && self.rules.acks_late {
            self.pool.kill_all(ctx);
        }
        self.drop_reserved(ctx);
        if self.rules.version == CeleryVersion::V5_2 {
            self.drop_eta(ctx);
        }
    }

    /// SIGTERM, a warm shutdown: tasks that run may finish, no other is begun.
    pub(super) fn stop(&mut self) {
        self.is_stopping = true;
    }

    /// Another takes its place.
    pub(super) fn start_again(&mut self) {
        self.is_stopping = false;
    }

    /// It ends: what it had received goes with it.
    pub(super) fn end<N>(&mut self, ctx: &mut Context<'_, N>)
    where
        N: Node<Indication = Indication>,
    {
        self.drop_reserved(ctx);
        self.drop_eta(ctx);
    }

    fn drop_reserved<N: Node<Indication = Indication>>(&mut self, ctx: &mut Context<'_, N>) {
        for delivery in self.reserved.drain(..) {
            ctx.indicate(Indication::Dropped(delivery.item.serial));
        }
    }

    fn drop_eta<N: Node<Indication = Indication>>(&mut self, ctx: &mut Context<'_, N>) {
        for delivery in std::mem::take(&mut self.eta).into_values() {
            ctx.indicate(Indication::Dropped(delivery.item.serial));
        }
        if let Some(timer) = self.eta_timer.take() {
            ctx.cancel_timer(timer);
        }
    }
}

impl AutoretryParams {
    /// The pause before the retry after `retries` earlier ones (`get_exponential_backoff_interval`).
    fn countdown<N: Node>(&self, retries: u32, ctx: &mut Context<'_, N>) -> SimDuration {
        if self.retry_backoff == 0 {
            return self.default_retry_delay;
        }
        let doubled = self.retry_backoff.saturating_mul(1 << retries.min(40));
        let whole = doubled.min(self.retry_backoff_max);
        let secs = if self.retry_jitter { ctx.rng().below(whole + 1) } else { whole };
        SimDuration::from_secs(secs)
    }
}
