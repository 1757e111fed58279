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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::time::SimTime;
    use crate::model::node::{Bench, Input, NodeId, Output, Wire};
    use crate::queues::Nature;
    use crate::queues::work::tests::item;

    /// A worker without a connection: what it wants of one stays in its orders.
    #[derive(Debug)]
    struct Alone(Worker);

    #[derive(Debug)]
    enum Ask {
        Receive(Delivery),
        KillChild,
        LoseConnection,
        Stop,
        End,
    }

    #[derive(Clone, Copy, Debug)]
    enum Timer {
        Work(WorkTimer),
        Eta,
    }

    impl From<WorkTimer> for Timer {
        fn from(timer: WorkTimer) -> Self {
            Self::Work(timer)
        }
    }

    impl From<EtaTimer> for Timer {
        fn from(_: EtaTimer) -> Self {
            Self::Eta
        }
    }

    #[derive(Clone, Debug)]
    enum Nothing {}

    impl Wire for Nothing {
        fn kind(&self) -> &'static str {
            match *self {}
        }

        fn size_bytes(&self) -> u32 {
            match *self {}
        }
    }

    impl Node for Alone {
        type Role = (WorkerRules, Work);
        type Stable = ();
        type Request = Ask;
        type Indication = Indication;
        type Message = Nothing;
        type Timer = Timer;

        fn boot((rules, work): &(WorkerRules, Work), (): &()) -> Self {
            Self(Worker::new(rules, work))
        }

        fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
            match input {
                Input::Request(Ask::Receive(delivery)) => self.0.receive(delivery, ctx),
                Input::Request(Ask::KillChild) => self.0.child_killed(ctx),
                Input::Request(Ask::LoseConnection) => self.0.connection_lost(ctx),
                Input::Request(Ask::Stop) => self.0.stop(),
                Input::Request(Ask::End) => self.0.end(ctx),
                Input::Timer(Timer::Work(timer)) => self.0.work_due(timer, ctx),
                Input::Timer(Timer::Eta) => self.0.eta_due(ctx),
                _ => unreachable!("nothing else is told"),
            }
        }
    }

    /// The rules that Celery has when nothing is set.
    fn rules() -> WorkerRules {
        WorkerRules {
            version: CeleryVersion::V5_6,
            acks_late: false,
            reject_on_worker_lost: false,
            acks_on_failure_or_timeout: true,
            prefetch_multiplier: 4,
            eta_task_limit: None,
            cancel_on_connection_loss: false,
            autoretry: None,
        }
    }

    fn late() -> WorkerRules {
        WorkerRules { acks_late: true, ..rules() }
    }

    fn autoretry() -> AutoretryParams {
        crate::queues::config::from_nothing()
    }

    const fn handle(serial: u64) -> Handle {
        Handle { epoch: 1, tag: 100 + serial }
    }

    /// A worker under test, its bench, and the timers that it has set.
    struct Trial {
        bench: Bench<Alone>,
        node: Alone,
        timers: Vec<(SimTime, TimerId, Timer)>,
        told: Vec<String>,
    }

    impl Trial {
        fn new(rules: WorkerRules, concurrency: u32) -> Self {
            let work = Work {
                concurrency,
                overhead: SimDuration::ZERO,
                failure: crate::kernel::rng::Probability::ZERO,
                again: None,
                idempotent: false,
            };
            Self {
                bench: Bench::new(NodeId(0)),
                node: Alone::boot(&(rules, work), &()),
                timers: Vec::new(),
                told: Vec::new(),
            }
        }

        fn tell(&mut self, input: Input<Alone>) {
            for output in self.bench.tell(&mut self.node, input) {
                match output {
                    Output::SetTimer { id, after, timer } => {
                        self.timers.push((self.bench.now + after, id, timer));
                    }
                    Output::CancelTimer(id) => self.timers.retain(|&(_, other, _)| other != id),
                    Output::Indicate(told) => {
                        let (what, serial) = match told {
                            Indication::Started(serial) => ("start", serial),
                            Indication::Done(serial) => ("done", serial),
                            Indication::Failed(serial) => ("fail", serial),
                            Indication::LeftOff(serial) => ("leave", serial),
                            Indication::Dropped(serial) => ("drop", serial),
                            other => unreachable!("a worker does not tell {other:?}"),
                        };
                        self.told.push(format!("{what} {}", serial.0));
                    }
                    _ => (),
                }
            }
        }

        fn ask(&mut self, ask: Ask) {
            self.tell(Input::Request(ask));
        }

        fn receive(&mut self, item: Item) {
            let handle = handle(item.serial.0);
            self.ask(Ask::Receive(Delivery { item, handle, times: 0 }));
        }

        /// Receives what is not to be begun before so many seconds.
        fn receive_eta(&mut self, serial: u64, secs: i64) {
            let eta = Some(WallTime(secs * 1_000_000_000));
            self.receive(Item { eta, ..item(serial) });
        }

        /// Lets the time pass until so many milliseconds.
        fn pass_until(&mut self, ms: u64) {
            let until = SimTime::ZERO + SimDuration::from_ms(ms);
            while let Some(next) = (0..self.timers.len()).min_by_key(|&at| self.timers[at].0)
                && self.timers[next].0 <= until
            {
                let (at, _, timer) = self.timers.remove(next);
                self.set_clock(at);
                self.tell(Input::Timer(timer));
            }
            self.set_clock(until);
        }

        fn set_clock(&mut self, at: SimTime) {
            self.bench.now = at;
            self.bench.wall = WallTime(at.as_ns() as i64);
        }

        /// What it has told its judge since it was last asked.
        fn told(&mut self) -> String {
            std::mem::take(&mut self.told).join(", ")
        }

        /// What it has wanted of its connection since it was last asked.
        fn orders(&mut self) -> Vec<Order> {
            std::mem::take(&mut self.node.0.orders)
        }
    }

    fn with_nature(serial: u64, nature: Nature) -> Item {
        Item { nature, ..item(serial) }
    }

    /// The pauses of so many draws, in seconds.
    fn pauses(policy: &AutoretryParams, retries: u32, draws: u32) -> Vec<u64> {
        let rules = WorkerRules { autoretry: Some(policy.clone()), ..rules() };
        let mut trial = Trial::new(rules, 1);
        let mut pause = || {
            let now = trial.bench.now + SimDuration::from_ms(10);
            trial.receive(Item { retries, ..with_nature(1, Nature::Fails) });
            trial.pass_until(now.as_ns() / 1_000_000);
            let eta = trial.orders().iter().find_map(|order| match order {
                Order::Publish(item) => item.eta,
                _ => None,
            });
            let failed = now.as_ns() - 5_000_000;
            let pause = eta.expect("it is tried again").0 as u64 - failed;
            assert_eq!(pause % 1_000_000_000, 0, "whole seconds");
            pause / 1_000_000_000
        };
        (0..draws).map(|_| pause()).collect()
    }

    /// `min(maximum, factor * 2 ** retries)` for each of the first retries.
    #[test]
    fn the_back_off_doubles_from_its_factor_to_its_longest() {
        let check = |factor, longest, expected: &[u64]| {
            let policy = AutoretryParams {
                max_retries: u32::MAX,
                retry_backoff: factor,
                retry_backoff_max: longest,
                retry_jitter: false,
                ..autoretry()
            };
            for (retries, &expected) in (0..).zip(expected) {
                assert_eq!(pauses(&policy, retries, 1), [expected], "{factor}, {retries} retries");
            }
            assert_eq!(pauses(&policy, 4_000_000_000, 1), [longest], "however often it was tried");
        };
        check(1, 600, &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        check(3, 600, &[3, 6, 12, 24, 48, 96, 192, 384, 600]);
        check(700, 600, &[600, 600]);
        check(1_000_000, 1_000_000_000, &[1_000_000, 2_000_000]);
    }

    /// `random.randrange(countdown + 1)`: the whole pause may be drawn, and none at all.
    #[test]
    fn jitter_draws_each_whole_second_from_none_to_the_whole_pause_alike() {
        let policy = AutoretryParams { max_retries: u32::MAX, retry_backoff: 1, ..autoretry() };
        let draws = pauses(&policy, 2, 4000);
        for secs in 0..=4 {
            let count = draws.iter().filter(|&&drawn| drawn == secs).count();
            // 800 expected, with a standard deviation of 25.
            assert!((675..925).contains(&count), "{secs} s was drawn {count} times of 4000");
        }
        assert!(draws.iter().all(|&drawn| drawn <= 4));
    }

    #[test]
    fn without_a_back_off_the_pause_is_the_tasks_own_and_has_no_jitter() {
        assert_eq!(pauses(&autoretry(), 0, 3), [180, 180, 180]);
        assert_eq!(pauses(&autoretry(), 2, 1), [180]);
    }

    #[test]
    fn a_retry_is_a_new_message_and_is_published_before_the_old_one_is_acknowledged() {
        let mut trial = Trial::new(WorkerRules { autoretry: Some(autoretry()), ..late() }, 1);
        let poison = with_nature(7, Nature::Fails);
        trial.receive(Item { retries: 2, ..poison });
        trial.pass_until(5);
        let eta = Some(WallTime(180_005_000_000));
        let again = Item { retries: 3, eta, ..poison };
        assert_eq!(trial.orders(), [Order::Publish(again), Order::Ack(handle(7))]);
        assert_eq!(trial.told(), "start 7, leave 7");
        // It was the last.
        trial.receive(Item { retries: 3, ..poison });
        trial.pass_until(10);
        assert_eq!(trial.orders(), [Order::Ack(handle(7))]);
        assert_eq!(trial.told(), "start 7, fail 7");
    }

    #[test]
    fn tasks_that_wait_are_begun_in_the_order_of_their_etas_and_then_of_their_coming() {
        let mut trial = Trial::new(rules(), 1);
        for (serial, secs) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            trial.receive_eta(serial, secs);
        }
        trial.pass_until(9_999);
        assert_eq!(trial.told(), "");
        trial.pass_until(10_005);
        assert_eq!(trial.told(), "start 2, done 2, start 4");
        trial.pass_until(29_999);
        assert_eq!(trial.told(), "done 4, start 3, done 3");
        trial.pass_until(30_005);
        assert_eq!(trial.told(), "start 1, done 1");
    }

    #[test]
    fn an_earlier_eta_that_comes_later_is_not_kept_waiting_by_the_timer_of_another() {
        let mut trial = Trial::new(rules(), 2);
        trial.receive_eta(1, 30);
        trial.receive_eta(2, 1);
        trial.receive_eta(3, -5);
        trial.pass_until(0);
        assert_eq!(trial.told(), "start 3", "what is past is due");
        trial.pass_until(1_000);
        assert_eq!(trial.told(), "done 3, start 2");
    }

    /// The prefetch counts that it has asked for.
    fn prefetches(trial: &mut Trial) -> Vec<u32> {
        let orders = trial.orders().into_iter();
        let prefetches = orders.filter_map(|order| match order {
            Order::Prefetch(prefetch) => Some(prefetch),
            _ => None,
        });
        prefetches.collect()
    }

    #[test]
    fn a_task_that_waits_for_its_eta_raises_the_prefetch_count_as_long_as_it_waits() {
        let mut trial = Trial::new(rules(), 2);
        assert_eq!(trial.node.0.begin_channel(), 8, "multiplier times processes");
        for serial in 0..3 {
            trial.receive_eta(serial, 10);
        }
        assert_eq!(prefetches(&mut trial), [9, 10, 11]);
        trial.pass_until(10_000);
        assert_eq!(prefetches(&mut trial), [10, 9, 8]);
    }

    #[test]
    fn the_prefetch_count_is_raised_no_further_than_its_limit_and_a_boundless_one_stays() {
        let mut trial = Trial::new(WorkerRules { eta_task_limit: Some(9), ..rules() }, 2);
        for serial in 0..3 {
            trial.receive_eta(serial, 10);
        }
        assert_eq!(prefetches(&mut trial), [9]);
        let mut trial = Trial::new(WorkerRules { prefetch_multiplier: 0, ..rules() }, 2);
        assert_eq!(trial.node.0.begin_channel(), 0);
        trial.receive_eta(0, 10);
        assert!(prefetches(&mut trial).is_empty());
    }

    #[test]
    fn a_new_channel_begins_with_the_prefetch_count_of_the_first() {
        let mut trial = Trial::new(rules(), 1);
        trial.receive_eta(0, 10);
        assert_eq!(trial.node.0.begin_channel(), 4);
    }

    #[test]
    fn early_acknowledgement_comes_when_a_process_takes_the_task_and_not_before() {
        let mut trial = Trial::new(rules(), 1);
        trial.receive(item(1));
        trial.receive(item(2));
        assert_eq!(trial.orders(), [Order::Ack(handle(1))], "the second waits for a process");
        trial.pass_until(5);
        assert_eq!(trial.told(), "start 1, done 1, start 2");
        assert_eq!(trial.orders(), [Order::Ack(handle(2))]);
    }

    #[test]
    fn late_acknowledgement_comes_when_the_work_is_over_and_not_before() {
        let mut trial = Trial::new(late(), 1);
        trial.receive(item(1));
        trial.pass_until(4);
        assert_eq!((trial.told().as_str(), trial.orders()), ("start 1", vec![]));
        trial.pass_until(5);
        assert_eq!(trial.told(), "done 1");
        assert_eq!(trial.orders(), [Order::Ack(handle(1))]);
    }

    #[test]
    fn what_failed_is_acknowledged_as_long_as_nothing_else_is_set() {
        let check = |rules, expected: &[Order]| {
            let mut trial = Trial::new(rules, 1);
            trial.receive(with_nature(1, Nature::Fails));
            trial.pass_until(5);
            assert_eq!(trial.told(), "start 1, fail 1");
            assert_eq!(trial.orders(), expected);
        };
        check(rules(), &[Order::Ack(handle(1))]);
        check(late(), &[Order::Ack(handle(1))]);
        let refuses = WorkerRules { acks_on_failure_or_timeout: false, ..late() };
        check(refuses, &[Order::Reject(handle(1), false)]);
    }

    /// What a worker wants of its connection when the process that works on a late task is lost, by
    /// its own work or from outside.
    #[test]
    fn a_lost_process_gives_its_task_back_only_where_that_is_set() {
        let check = |rules: WorkerRules, expected: &[Order]| {
            let mut by_work = Trial::new(rules.clone(), 1);
            by_work.receive(with_nature(1, Nature::Kills));
            let mut from_outside = Trial::new(rules, 1);
            from_outside.receive(item(1));
            from_outside.pass_until(3);
            from_outside.ask(Ask::KillChild);
            for mut trial in [by_work, from_outside] {
                trial.pass_until(5);
                assert_eq!(trial.told(), "start 1, leave 1");
                assert_eq!(trial.orders(), expected);
            }
        };
        check(rules(), &[Order::Ack(handle(1))]);
        check(late(), &[Order::Ack(handle(1))]);
        let requeues = WorkerRules { reject_on_worker_lost: true, ..late() };
        check(requeues.clone(), &[Order::Reject(handle(1), true)]);
        let refuses = WorkerRules { acks_on_failure_or_timeout: false, ..late() };
        check(refuses, &[Order::Reject(handle(1), false)]);
        // To give back is the stronger wish.
        let both = WorkerRules { acks_on_failure_or_timeout: false, ..requeues };
        check(both, &[Order::Reject(handle(1), true)]);
    }

    #[test]
    fn another_process_takes_the_place_of_a_lost_one_at_once() {
        let mut trial = Trial::new(rules(), 1);
        trial.receive(item(1));
        trial.receive(item(2));
        trial.ask(Ask::KillChild);
        assert_eq!(trial.told(), "start 1, leave 1, start 2");
    }

    #[test]
    fn a_warm_shutdown_begins_nothing_and_ends_with_the_last_that_runs() {
        let mut trial = Trial::new(rules(), 1);
        trial.receive(item(1));
        trial.receive(item(2));
        trial.receive_eta(3, 0);
        trial.receive_eta(4, 10);
        trial.ask(Ask::Stop);
        assert!(!trial.node.0.has_ended(), "one still runs");
        trial.pass_until(5);
        assert_eq!(trial.told(), "start 1, done 1");
        assert!(trial.node.0.has_ended());
        trial.ask(Ask::End);
        assert_eq!(trial.told(), "drop 2, drop 3, drop 4");
        trial.pass_until(20_000);
        assert_eq!(trial.told(), "");
    }

    #[test]
    fn with_its_connection_a_worker_forgets_what_waits_and_keeps_what_runs() {
        let lose = |rules| {
            let mut trial = Trial::new(rules, 1);
            trial.receive(item(1));
            trial.receive(item(2));
            trial.receive_eta(3, 10);
            trial.ask(Ask::LoseConnection);
            trial.pass_until(10_005);
            trial.told()
        };
        assert_eq!(lose(rules()), "start 1, drop 2, done 1, start 3, done 3");
        let old = WorkerRules { version: CeleryVersion::V5_2, ..rules() };
        assert_eq!(lose(old), "start 1, drop 2, drop 3, done 1", "5.2 forgets ETAs too");
        let cancels = WorkerRules { cancel_on_connection_loss: true, ..late() };
        assert_eq!(lose(cancels), "start 1, leave 1, drop 2, start 3, done 3");
        // What was acknowledged early would be lost: it is let be.
        let early = WorkerRules { cancel_on_connection_loss: true, ..rules() };
        assert_eq!(lose(early), "start 1, drop 2, done 1, start 3, done 3");
    }

    #[test]
    fn a_task_is_done_by_the_process_that_is_free_whatever_its_number() {
        let mut trial = Trial::new(rules(), 2);
        trial.receive(Item { service: SimDuration::from_ms(50), ..item(1) });
        for serial in 2..5 {
            trial.receive(item(serial));
        }
        trial.pass_until(20);
        let told = "start 1, start 2, done 2, start 3, done 3, start 4, done 4";
        assert_eq!(trial.told(), told);
    }
}
