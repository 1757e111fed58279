//! A Redis stream with a consumer group: what was read is pending until it is acknowledged, and only
//! another consumer that claims it brings it back.
//!
//! Read and run (redis 7.0.15): XREADGROUP gives entries in their order and notes to whom; XACK asks
//! nobody whose entry it is; XAUTOCLAIM takes over what has been pending for long enough and
//! counts; XGROUP DELCONSUMER silently drops what the consumer had; MAXLEN drops entries that nobody
//! has read. The server has no timers for any of this. It stands in `redis.rs`.

use std::collections::VecDeque;

use crate::choice::About;
use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::{Context, Input, Node, NodeId, Signal};

use super::link::Backoff;
use super::redis::{Command, Data, Message, RedisParams, Reply, Server, Speaker, Tag, Timer};
use super::redis_client::{Publisher, Turn, Wire};
use super::redis_list::RedisVersion;
use super::work::{End, Finished, Pool, Work};
use super::{Indication, Item, Part, QueueProtocol, Request, Scene};

config! {
    /// A Redis stream with a consumer group.
    pub(super) struct RedisStreamsParams {
        /// The release of Redis.
        pub version: RedisVersion = RedisVersion::V7_4,
        /// How Redis survives.
        pub redis: RedisParams = RedisParams::default(),
        /// How many entries the stream keeps (`XADD ... MAXLEN`); left out, all.
        pub maxlen: Option<u64> = None,
        /// How many entries a consumer reads at once (`COUNT`).
        pub count: u32 = 10 => 1..=1_000_000,
        /// For how long a read waits for one (`BLOCK`).
        pub block: SimDuration = SimDuration::from_secs(5),
        /// How long an entry must have been pending for another consumer to claim it.
        pub min_idle: SimDuration = SimDuration::from_secs(60),
        /// How often each consumer tries to claim; 0 for never, as without such code.
        pub claim_every: SimDuration = SimDuration::from_secs(30),
        /// After how many deliveries a consumer acknowledges an entry without working on it; 0 for
        /// never, as without such code.
        pub give_up_after: u32 = 0,
        /// Whether a consumer that ends in good order deletes itself from the group.
        pub delete_on_leave: bool = false,
        /// How long a client waits before it connects again.
        pub reconnect: SimDuration = SimDuration::from_secs(1),
        /// How long a consumer is away that its work has killed.
        pub respawn: SimDuration = SimDuration::from_secs(1),
    }
}

/// A node of it.
#[derive(Clone, Debug)]
pub(super) enum RedisStreams {
    Server(Box<Server>),
    Producer(Box<Publisher>),
    Consumer(Box<Consumer>),
}

/// What a node of it is built from.
#[derive(Clone, Debug)]
pub(super) enum Role {
    Server(RedisParams, NodeId, Vec<NodeId>),
    Producer(Box<RedisStreamsParams>, Vec<NodeId>),
    Consumer(Box<RedisStreamsParams>, Work, Vec<NodeId>),
}

impl QueueProtocol for RedisStreams {
    const ABOUT: About = About {
        name: "redis_streams",
        summary: "a Redis stream with a consumer group: pending until acknowledged or claimed",
        source: "redis/redis 4f8cdc2, src/t_stream.c",
        version: "7.4",
    };
    type Params = RedisStreamsParams;

    fn role(params: &RedisStreamsParams, part: Part, scene: &Scene) -> Role {
        let servers = scene.brokers.clone();
        let boxed = Box::new(params.clone());
        match part {
            Part::Broker(index) => {
                Role::Server(params.redis.clone(), servers[index as usize], servers)
            }
            Part::Producer(_) => Role::Producer(boxed, servers),
            Part::Consumer(_) => Role::Consumer(boxed, scene.work.clone(), servers),
        }
    }
}

impl Node for RedisStreams {
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
                let limit = params.maxlen;
                Self::Producer(Box::new(Publisher::new(
                    servers,
                    backoff,
                    None,
                    Command::Add,
                    limit,
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

/// A consumer of the group: it reads when it has nothing more to do, and claims now and then.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    params: RedisStreamsParams,
    wire: Wire,
    buffer: VecDeque<(Tag, Item, u32)>,
    pool: Pool<Tag>,
    reading: Option<u64>,
    claiming: Option<u64>,
    is_stopping: bool,
    is_away: bool,
}

impl Consumer {
    fn new(params: &RedisStreamsParams, work: &Work, servers: &[NodeId]) -> Self {
        Self {
            params: params.clone(),
            wire: Wire::new(
                servers,
                Backoff::constant(params.reconnect),
                params.redis.socket_timeout,
            ),
            buffer: VecDeque::new(),
            pool: Pool::new(work),
            reading: None,
            claiming: None,
            is_stopping: false,
            is_away: false,
        }
    }

    fn handle<N: Speaker<Request = Request>>(&mut self, input: Input<N>, ctx: &mut Context<'_, N>) {
        match self.wire.hear(&input, ctx) {
            Turn::Reply(id, reply) => {
                self.reading.take_if(|reading| *reading == id);
                self.claiming.take_if(|claiming| *claiming == id);
                if let Reply::Entries(entries) = reply {
                    self.receive(entries, ctx);
                }
            }
            Turn::Lost => {
                ctx.indicate(Indication::Cut);
                (self.reading, self.claiming) = (None, None);
                if !self.is_stopping && !self.is_away {
                    self.wire.try_later(ctx);
                }
            }
            Turn::Open | Turn::Still => (),
        }
        match input {
            Input::Start => {
                self.wire.connect(ctx);
                if self.params.claim_every != SimDuration::ZERO {
                    ctx.set_timer(self.params.claim_every, Timer::Sweep);
                }
            }
            Input::Timer(Timer::Respawn) => {
                self.is_away = false;
                self.wire.connect(ctx);
            }
            Input::Timer(Timer::Sweep) => self.claim(ctx),
            Input::Timer(Timer::Work(timer)) => {
                if let Some(finished) = self.pool.due(timer, ctx) {
                    self.finish(finished, ctx);
                }
            }
            Input::Request(Request::Answer { slot, is_known }) => {
                self.pool.answered(slot, is_known, ctx);
            }
            Input::Signal(Signal::Terminate) => self.stop(ctx),
            _ => (),
        }
        self.feed(ctx);
    }

    fn receive<N: Speaker>(&mut self, entries: Vec<(Tag, Item, u32)>, ctx: &mut Context<'_, N>) {
        for (tag, item, times) in entries {
            let (serial, is_redelivered) = (item.serial, 0 < times);
            ctx.indicate(Indication::Received { serial, is_redelivered });
            let is_too_often = 0 < self.params.give_up_after && self.params.give_up_after <= times;
            if is_too_often {
                ctx.indicate(Indication::Failed(serial));
                self.say(Command::Ack(vec![tag]), ctx);
            } else {
                self.buffer.push_back((tag, item, times));
            }
        }
    }

    fn say<N: Speaker>(&mut self, command: Command, ctx: &mut Context<'_, N>) {
        if self.wire.is_open() {
            self.wire.send(command, ctx);
        }
    }

    fn claim<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.set_timer(self.params.claim_every, Timer::Sweep);
        if self.wire.is_open() && self.claiming.is_none() && !self.is_stopping {
            let (min_idle, count) = (self.params.min_idle, self.params.count);
            self.claiming = Some(self.wire.send(Command::Claim { min_idle, count }, ctx));
        }
    }

    fn feed<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        while self.pool.has_room() && !self.is_stopping && !self.is_away {
            let Some((tag, item, times)) = self.buffer.pop_front() else { break };
            self.pool.begin(item, tag, times, ctx);
        }
        let wants_more = self.buffer.is_empty() && self.pool.has_room();
        if wants_more && self.reading.is_none() && self.wire.is_open() && !self.is_stopping {
            let (count, block) = (self.params.count, self.params.block);
            self.reading = Some(self.wire.send(Command::Read { count, block }, ctx));
        }
    }

    fn finish<N: Speaker>(&mut self, done: Finished<Tag>, ctx: &mut Context<'_, N>) {
        let serial = done.item.serial;
        match done.end {
            End::Done | End::Known => {
                self.say(Command::Ack(vec![done.handle]), ctx);
                ctx.reach("acked");
            }
            // It stays pending until somebody claims it.
            End::Failed => ctx.indicate(Indication::LeftOff(serial)),
            End::Killed => {
                ctx.indicate(Indication::LeftOff(serial));
                self.pool.kill_all(ctx);
                self.drop_buffer(ctx);
                self.wire.hang_up(ctx);
                ctx.indicate(Indication::Cut);
                (self.reading, self.claiming) = (None, None);
                self.is_away = true;
                ctx.set_timer(self.params.respawn, Timer::Respawn);
            }
        }
    }

    fn drop_buffer<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        for (_, item, _) in self.buffer.drain(..) {
            ctx.indicate(Indication::Dropped(item.serial));
        }
    }

    /// It ends at once, as a program does that handles no signal: what it has read stays pending,
    /// in its name, unless that is deleted.
    fn stop<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.is_stopping = true;
        self.pool.kill_all(ctx);
        self.drop_buffer(ctx);
        if self.params.delete_on_leave {
            self.say(Command::DeleteConsumer, ctx);
        }
        self.wire.hang_up(ctx);
        ctx.indicate(Indication::Cut);
    }
}

#[cfg(test)]
mod tests {
    use crate::queues::tests::play;
    use crate::queues::{Indication, Outcome};

    /// Six entries at once, for consumers that come when all are there.
    fn six(params: &str, consumers: u32, service: &str, faults: &str) -> Outcome {
        play(
            &format!(
                "variants = [{{ redis_streams = {{ {params} }} }}]\nhorizon = \"6ms\"\n\
                 drain = \"200s\"\nproducers = {{ load = {{ open = {{ constant = \"1000/s\" }} }} }}\n\
                 consumers = {{ count = {consumers} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"{service}\" }}] }}\n"
            ),
            &format!(
                "fault = [{{ at = \"0s\", for = \"100ms\", pause = {{ target = \"consumers\" }} }}\
                 {faults}]"
            ),
        )
    }

    fn received(outcome: &Outcome) -> Vec<u64> {
        let all = outcome.judge.history().iter().filter_map(|heard| match heard.told {
            Indication::Received { serial, .. } => Some(serial.0),
            _ => None,
        });
        all.collect()
    }

    #[test]
    fn a_trimmed_stream_drops_what_nobody_has_read() {
        let outcome = six("maxlen = 2", 1, "10ms", "");
        assert_eq!(received(&outcome), [4, 5]);
        assert_eq!(outcome.verdict.lost(), 4);
    }

    const CRASH: &str = ", { at = \"500ms\", crash_process = { target = \"consumer-1\" } }";

    #[test]
    fn what_a_dead_consumer_had_is_claimed_after_min_idle() {
        let params = "count = 3, min_idle = \"20s\", claim_every = \"5s\"";
        let outcome = six(params, 2, "1s", CRASH);
        assert_eq!((outcome.verdict.lost(), outcome.verdict.done), (0, 6));
        assert_eq!(outcome.verdict.duplicate_deliveries, 3);
    }

    #[test]
    fn without_anybody_who_claims_it_stays_pending_for_ever() {
        let outcome = six("count = 3, claim_every = \"0s\"", 2, "1s", CRASH);
        assert_eq!((outcome.verdict.stalled, outcome.verdict.done), (3, 3));
    }

    #[test]
    fn who_claims_too_early_does_what_another_is_at() {
        let params = "count = 1, min_idle = \"2s\", claim_every = \"1s\"";
        let outcome = six(params, 2, "5s", "");
        assert!(0 < outcome.verdict.duplicate_effects, "{:?}", outcome.verdict);
        assert_eq!(outcome.verdict.done, 6);
    }

    #[test]
    fn what_has_been_delivered_too_often_may_be_given_up() {
        let params = "count = 1, min_idle = \"1s\", claim_every = \"1s\", give_up_after = 3";
        let outcome = play(
            &format!(
                "variants = [{{ redis_streams = {{ {params} }} }}]\nhorizon = \"2ms\"\n\
                 drain = \"60s\"\nproducers = {{ load = {{ open = {{ constant = \"1000/s\" }} }} }}\n\
                 messages = {{ tasks = [{{ name = \"task\", service = \"10ms\" }}], \
                 poison = {{ numbers = [0] }} }}\n"
            ),
            "",
        );
        let deliveries = received(&outcome).iter().filter(|&&serial| serial == 0).count();
        assert_eq!((deliveries, outcome.verdict.failed), (4, 1), "the fourth is not worked on");
    }
}
