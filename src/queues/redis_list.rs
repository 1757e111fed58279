//! A queue in a Redis list, as kombu uses it without Celery: LPUSH to publish, BRPOP to consume, and a
//! note of what was popped and not acknowledged.
//!
//! The sources stand in `redis.rs` and `redis_client.rs`. Without notes (`no_ack`) it is the plain
//! list that many programs use: what was popped is gone.

use std::collections::VecDeque;

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::{Context, Input, Node, NodeId, Signal};

use super::link::Backoff;
use super::redis::{Command, Data, Entry, Message, RedisParams, Server, Speaker, Timer};
use super::redis_client::{Channel, Heard, KombuParams, Publisher};
use super::work::{End, Finished, Pool, Work};
use super::{Indication, Part, QueueProtocol, Request, Scene};

config! {
    /// A queue in a Redis list.
    pub(super) struct RedisListParams {
        /// The release of Redis.
        pub version: RedisVersion = RedisVersion::V7_4,
        /// How Redis survives.
        pub redis: RedisParams = RedisParams::default(),
        /// How the client uses it.
        pub kombu: KombuParams = KombuParams::default(),
        /// Whether a message that was popped counts as acknowledged.
        pub no_ack: bool = false,
        /// How many messages a consumer may have unacknowledged; 0 for no limit.
        pub prefetch: u32 = 0 => 0..=1_000_000,
        /// How long a client waits before it connects again.
        pub reconnect: SimDuration = SimDuration::from_secs(1),
        /// How long a consumer is away that its work has killed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
    }
}

config! {
    /// A line of Redis releases.
    pub(super) enum RedisVersion {
        /// Read at 4f8cdc2, October 2024.
        "7.4" => V7_4,
    }
}

/// A node of it.
#[derive(Clone, Debug)]
pub(super) enum RedisList {
    Server(Box<Server>),
    Producer(Box<Publisher>),
    Consumer(Box<Consumer>),
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Server(RedisParams, NodeId, Vec<NodeId>),
    Producer(Box<RedisListParams>, Vec<NodeId>),
    Consumer(Box<RedisListParams>, Work, Vec<NodeId>),
}

impl QueueProtocol for RedisList {
    const ABOUT: About = About {
        name: "redis_list",
        summary: "a Redis list: pop, note, acknowledge, as kombu does it",
        source: "celery/kombu 9ee8595, kombu/transport/redis.py",
        version: "7.4",
    };
    type Params = RedisListParams;

    fn role(params: &RedisListParams, part: Part, scene: &Scene) -> Role {
        let servers = scene.brokers.clone();
        match part {
            Part::Broker(index) => {
                Role::Server(params.redis.clone(), servers[index as usize], servers)
            }
            Part::Producer(_) => Role::Producer(Box::new(params.clone()), servers),
            Part::Consumer(_) => {
                Role::Consumer(Box::new(params.clone()), scene.work.clone(), servers)
            }
        }
    }
}

impl Node for RedisList {
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
            Role::Producer(params, servers) => {
                let backoff = Backoff::constant(params.reconnect);
                let make = |item, _| Command::Push(item);
                Self::Producer(Box::new(Publisher::new(
                    servers,
                    backoff,
                    None,
                    make,
                    None,
                    params.redis.socket_timeout,
                )))
            }
            Role::Consumer(params, work, servers) => {
                Self::Consumer(Box::new(Consumer::new(params, work, servers)))
            }
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match self {
            Self::Server(server) => server.handle(input, ctx),
            Self::Producer(publisher) => publisher.handle(&input, ctx),
            Self::Consumer(consumer) => consumer.handle(input, ctx),
        }
    }
}

/// A consumer that works off what its channel hands on.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    params: RedisListParams,
    channel: Channel,
    buffer: VecDeque<(u64, Entry)>,
    pool: Pool<u64>,
    is_stopping: bool,
}

impl Consumer {
    fn new(params: &RedisListParams, work: &Work, servers: &[NodeId]) -> Self {
        let backoff = Backoff::constant(params.reconnect);
        // Without notes nothing is ever unacknowledged, and only a full buffer stops the popping.
        let (notes, prefetch) = (!params.no_ack, params.prefetch);
        Self {
            params: params.clone(),
            channel: Channel::new(
                &params.kombu,
                (servers, params.redis.socket_timeout),
                backoff,
                notes,
                prefetch,
            ),
            buffer: VecDeque::new(),
            pool: Pool::new(work),
            is_stopping: false,
        }
    }

    fn handle<N: Speaker<Request = Request>>(&mut self, input: Input<N>, ctx: &mut Context<'_, N>) {
        match self.channel.hear(&input, ctx) {
            Heard::Delivery(handle, entry) => {
                let Entry { item, is_redelivered, .. } = entry;
                ctx.indicate(Indication::Received { serial: item.serial, is_redelivered });
                self.buffer.push_back((handle, entry));
                self.feed(ctx);
            }
            Heard::Lost => {
                ctx.indicate(Indication::Cut);
                if !self.is_stopping {
                    self.channel.wire.try_later(ctx);
                }
            }
            Heard::Nothing => (),
        }
        match input {
            Input::Start | Input::Timer(Timer::Respawn) => self.channel.start(ctx),
            Input::Timer(Timer::Work(timer)) => {
                if let Some(finished) = self.pool.due(timer, ctx) {
                    self.finish(finished, ctx);
                }
            }
            Input::Request(Request::Answer { slot, is_known }) => {
                self.pool.answered(slot, is_known, ctx);
            }
            Input::Signal(Signal::Terminate) => {
                self.is_stopping = true;
                self.channel.cancel();
            }
            _ => (),
        }
        self.end_if_idle(ctx);
    }

    fn feed<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        while self.pool.has_room() && !self.is_stopping {
            let Some((handle, entry)) = self.buffer.pop_front() else { return };
            self.pool.begin(entry.item, handle, entry.times, ctx);
        }
    }

    fn finish<N: Speaker>(&mut self, done: Finished<u64>, ctx: &mut Context<'_, N>) {
        let serial = done.item.serial;
        match done.end {
            End::Done | End::Known => {
                self.channel.ack(done.handle, ctx);
                ctx.reach("acked");
            }
            End::Failed if self.params.no_ack => ctx.indicate(Indication::Failed(serial)),
            End::Failed => {
                ctx.indicate(Indication::LeftOff(serial));
                self.channel.reject(done.handle, true, ctx);
            }
            End::Killed => {
                ctx.indicate(Indication::LeftOff(serial));
                self.die(ctx);
                return;
            }
        }
        self.feed(ctx);
    }

    /// The process is killed by its own work, and its supervisor starts another.
    fn die<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.pool.kill_all(ctx);
        self.drop_buffer(ctx);
        self.channel.wire.hang_up(ctx);
        ctx.indicate(Indication::Cut);
        self.channel.forget();
        ctx.set_timer(self.params.respawn, Timer::Respawn);
    }

    fn drop_buffer<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        for (_, entry) in self.buffer.drain(..) {
            ctx.indicate(Indication::Dropped(entry.item.serial));
        }
    }

    /// Ends in good order when nothing runs: what it had goes back.
    fn end_if_idle<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        if !self.is_stopping || !self.pool.is_idle() || !self.channel.wire.is_open() {
            return;
        }
        self.drop_buffer(ctx);
        self.channel.close(ctx);
        if self.channel.is_quiet() {
            self.channel.wire.hang_up(ctx);
            ctx.indicate(Indication::Cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::queues::Outcome;
    use crate::queues::tests::play;

    const KOMBU: &str = "kombu = { visibility_timeout = \"5s\", unacked_restore_interval = \"1s\", \
                         unacked_restore_throttle = 1 }";

    /// Twenty messages of 0.2 s for two consumers, of which the second meets `fault`.
    fn twenty(params: &str, fault: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ redis_list = {{ prefetch = 1, {params} }} }}]\nhorizon = \"2ms\"\n\
                 drain = \"60s\"\nproducers = {{ load = {{ open = {{ constant = \"10000/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"200ms\" }}] }}\n"
            ),
            &format!("fault = [{{ {fault}, crash_process = {{ target = \"consumer-2\" }} }}]"),
        )
    }

    fn at(point: &str) -> String {
        format!("on = {{ node = \"consumer-2\", point = \"{point}\", count = 2 }}")
    }

    #[test]
    fn a_consumer_that_dies_between_pop_and_note_loses_one() {
        let verdict = twenty(KOMBU, &at("popped")).verdict;
        assert_eq!((verdict.lost(), verdict.done, verdict.broken), (1, 19, 0));
    }

    #[test]
    fn what_was_noted_is_put_back_by_the_sweep_after_the_visibility_timeout() {
        let outcome = twenty(KOMBU, &at("started"));
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 20));
        assert_eq!(outcome.verdict.duplicate_deliveries, 1);
    }

    #[test]
    fn an_effect_whose_note_was_not_taken_back_is_repeated() {
        let verdict = twenty(KOMBU, &at("done")).verdict;
        assert_eq!((verdict.lost(), verdict.duplicate_effects), (0, 1));
    }

    #[test]
    fn without_notes_what_was_popped_is_gone() {
        let verdict = twenty("no_ack = true", &at("started")).verdict;
        assert!(0 < verdict.lost(), "{verdict:?}");
        assert_eq!(verdict.duplicate_deliveries, 0);
    }
}
