//! What clients of Redis have in common: a connection on which a command is answered before the next
//! is sent, and on it kombu's way to publish and to consume.
//!
//! Read: celery/kombu 9ee8595, `kombu/transport/redis.py`. To consume, kombu pops a message, notes
//! it together with the time in two keys, and only then hands it on: a client that dies between the
//! two loses it. Who finds a note that is older than the visibility timeout, by its own clock, puts
//! the message back.

use std::collections::{BTreeMap, VecDeque};

use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::node::{Connection, Context, Input, NodeId, TimerId};

use super::link::{Backoff, Link, LinkTimer};
use super::redis::{Command, End, Entry, Message, Reply, Speaker, Tag, Timer};
use super::{Indication, Item, Request};

config! {
    /// How kombu uses Redis.
    pub(super) struct KombuParams {
        /// After how long a message that was popped and not acknowledged is put back.
        pub visibility_timeout: SimDuration = SimDuration::from_secs(3600),
        /// How often a consumer thinks of looking for such messages.
        pub unacked_restore_interval: SimDuration = SimDuration::from_secs(10),
        /// Every how many such times it looks.
        pub unacked_restore_throttle: u32 = 10 => 1..=1_000_000,
        /// For how long a pop waits for a message.
        pub brpop_timeout: SimDuration = SimDuration::from_secs(1),
    }
    check Self::check;
}

impl KombuParams {
    fn check(&self, value: &config::Value, problems: &mut config::Problems) {
        let zero = SimDuration::ZERO;
        if self.unacked_restore_interval == zero || self.brpop_timeout == zero {
            let message =
                "`unacked_restore_interval` and `brpop_timeout` must be longer than nothing";
            problems.add(value.place, message);
        }
    }
}

impl Default for KombuParams {
    fn default() -> Self {
        super::config::from_nothing()
    }
}

/// A client's connection with whichever server is the primary. Commands go out as they come: clients
/// of Redis keep several connections, of which one may wait for a message while others are used;
/// here they are one.
#[derive(Clone, Debug)]
pub(super) struct Wire {
    servers: Vec<NodeId>,
    link: Link,
    /// How long it waits for an answer before it holds the connection for dead.
    patience: SimDuration,
    next_id: u64,
    /// The commands that wait for an answer, and when that is overdue.
    waiting: BTreeMap<u64, TimerId>,
}

/// What has become of a connection.
#[derive(Clone, Debug)]
pub(super) enum Turn {
    /// It stands.
    Open,
    /// This command was answered.
    Reply(u64, Reply),
    /// It is gone, and with it what was not answered.
    Lost,
    /// Nothing that matters.
    Still,
}

impl Wire {
    pub(super) fn new(servers: &[NodeId], backoff: Backoff, patience: SimDuration) -> Self {
        Self {
            servers: servers.to_vec(),
            patience,
            link: Link::new(servers[0], backoff),
            next_id: 0,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) fn connect<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.link.open(ctx, Message::Hello);
    }

    pub(super) fn is_open(&self) -> bool {
        self.link.is_open()
    }

    pub(super) fn is_down(&self) -> bool {
        self.link.is_down()
    }

    pub(super) fn failure_count(&self) -> u32 {
        self.link.failure_count()
    }

    /// Sends a command; the number by which its answer can be told.
    pub(super) fn send<N: Speaker>(&mut self, command: Command, ctx: &mut Context<'_, N>) -> u64 {
        assert!(self.link.is_open(), "a command needs a connection");
        let id = self.next_id;
        self.next_id += 1;
        let epoch = self.link.epoch();
        ctx.send(self.link.broker(), Message::Command { epoch, id, command });
        self.waiting.insert(id, ctx.set_timer(self.patience, Timer::Overdue(id)));
        id
    }

    /// What was sent will not be answered.
    fn forget<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        for timer in std::mem::take(&mut self.waiting).into_values() {
            ctx.cancel_timer(timer);
        }
    }

    pub(super) fn try_later<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.link.try_later(ctx);
    }

    pub(super) fn hang_up<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.forget(ctx);
        self.link.hang_up(ctx);
    }

    /// Takes notice of an input.
    pub(super) fn hear<N: Speaker>(&mut self, input: &Input<N>, ctx: &mut Context<'_, N>) -> Turn {
        match input {
            Input::Message { via, message, .. } => self.hear_message(*via, message, ctx),
            Input::Closed { peer, via, .. } => {
                if *peer == self.link.broker() && self.link.closed(*via, ctx) {
                    self.lost(ctx)
                } else {
                    Turn::Still
                }
            }
            Input::Timer(Timer::Link(LinkTimer::Timeout)) => {
                self.link.fail(ctx);
                ctx.disconnect(self.link.broker());
                self.lost(ctx)
            }
            Input::Timer(Timer::Link(LinkTimer::Retry)) => {
                self.connect(ctx);
                Turn::Still
            }
            Input::Timer(Timer::Overdue(id)) if self.waiting.contains_key(id) => {
                self.hang_up(ctx);
                self.lost(ctx)
            }
            _ => Turn::Still,
        }
    }

    /// The connection is gone; the next try goes to the next server.
    fn lost<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) -> Turn {
        self.forget(ctx);
        if 1 < self.servers.len() {
            let here = self.servers.iter().position(|&server| server == self.link.broker());
            let next = (here.unwrap_or(0) + 1) % self.servers.len();
            self.link.redirect(self.servers[next]);
        }
        Turn::Lost
    }

    fn hear_message<N: Speaker>(
        &mut self,
        via: Connection,
        message: &Message,
        ctx: &mut Context<'_, N>,
    ) -> Turn {
        match message {
            Message::Ready(epoch) if self.link.opened(*epoch, via, ctx) => Turn::Open,
            Message::Moved(epoch, primary) if *epoch == self.link.epoch() => {
                let was_open = self.link.is_open();
                ctx.disconnect(self.link.broker());
                self.link.turn_away(ctx);
                self.link.redirect(*primary);
                self.forget(ctx);
                if was_open {
                    return Turn::Lost;
                }
                self.try_later(ctx);
                Turn::Still
            }
            Message::Reply { epoch, id, reply } if *epoch == self.link.epoch() => {
                let Some(timer) = self.waiting.remove(id) else { return Turn::Still };
                ctx.cancel_timer(timer);
                Turn::Reply(*id, reply.clone())
            }
            _ => Turn::Still,
        }
    }
}

/// Publishes messages, each with a command of its own.
#[derive(Clone, Debug)]
pub(super) struct Publisher {
    wire: Wire,
    /// After how many failed tries to connect it gives up what it has; `None` for never.
    retries: Option<u32>,
    make: fn(Item, Option<u64>) -> Command,
    limit: Option<u64>,
    /// Not sent yet, or to be sent again.
    queue: VecDeque<Item>,
    /// Sent, and not answered.
    sent: BTreeMap<u64, Item>,
}

impl Publisher {
    /// One that makes a command of an item with `make`.
    pub(super) fn new(
        servers: &[NodeId],
        backoff: Backoff,
        retries: Option<u32>,
        make: fn(Item, Option<u64>) -> Command,
        limit: Option<u64>,
        patience: SimDuration,
    ) -> Self {
        let wire = Wire::new(servers, backoff, patience);
        Self { wire, retries, make, limit, queue: VecDeque::new(), sent: BTreeMap::new() }
    }

    pub(super) fn handle<N: Speaker<Request = Request>>(
        &mut self,
        input: &Input<N>,
        ctx: &mut Context<'_, N>,
    ) {
        match input {
            Input::Start => self.wire.connect(ctx),
            Input::Request(Request::Publish(item)) => {
                self.queue.push_back(*item);
                if self.wire.is_down() {
                    self.wire.connect(ctx);
                }
            }
            _ => (),
        }
        match self.wire.hear(input, ctx) {
            Turn::Reply(id, _) => {
                if let Some(item) = self.sent.remove(&id) {
                    ctx.indicate(Indication::Confirmed(item.serial));
                }
            }
            Turn::Lost => self.lost(ctx),
            Turn::Open | Turn::Still => (),
        }
        while self.wire.is_open() {
            let Some(item) = self.queue.pop_front() else { return };
            let id = self.wire.send((self.make)(item, self.limit), ctx);
            self.sent.insert(id, item);
            ctx.indicate(Indication::Sent { serial: item.serial, is_kept: true });
        }
    }

    /// The connection is gone. What was not answered may have been stored: it is sent again.
    fn lost<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        for item in std::mem::take(&mut self.sent).into_values().rev() {
            self.queue.push_front(item);
        }
        let is_over = self.retries.is_some_and(|most| most < self.wire.failure_count());
        if is_over {
            for item in self.queue.drain(..) {
                ctx.indicate(Indication::GaveUp(item.serial));
            }
            self.wire.hang_up(ctx);
        } else {
            self.wire.try_later(ctx);
        }
    }
}

/// A kombu channel that consumes: it pops, notes, hands on, and sweeps.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    params: KombuParams,
    pub(super) wire: Wire,
    /// Whether messages are noted at all; without, a message that was popped is acknowledged.
    notes: bool,
    /// How many messages may be handed on and not acknowledged; 0 for no limit.
    prefetch: u32,
    /// Handed on and not acknowledged, in their order.
    delivered: BTreeMap<u64, Tag>,
    /// The same, of connections that are gone: a note knows no connection.
    stale: BTreeMap<u64, Tag>,
    next_handle: u64,
    /// The pop that is under way; what it brought and is to be noted; and the note under way.
    popping: Option<u64>,
    popped: Option<Entry>,
    noting: Option<(u64, Tag, Entry)>,
    /// How many other commands are under way.
    telling: u32,
    sweep_count: u32,
    is_consuming: bool,
}

impl Channel {
    pub(super) fn new(
        params: &KombuParams,
        (servers, patience): (&[NodeId], SimDuration),
        backoff: Backoff,
        notes: bool,
        prefetch: u32,
    ) -> Self {
        Self {
            params: params.clone(),
            wire: Wire::new(servers, backoff, patience),
            notes,
            prefetch,
            delivered: BTreeMap::new(),
            stale: BTreeMap::new(),
            next_handle: 0,
            popping: None,
            popped: None,
            noting: None,
            telling: 0,
            sweep_count: 0,
            is_consuming: true,
        }
    }

    pub(super) fn start<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        self.wire.connect(ctx);
        if self.notes {
            ctx.set_timer(self.params.unacked_restore_interval, Timer::Sweep);
        }
    }

    /// Takes notice of an input. A message that is handed on, with the number under which it is to
    /// be acknowledged, or word that the connection is gone.
    pub(super) fn hear<N: Speaker>(&mut self, input: &Input<N>, ctx: &mut Context<'_, N>) -> Heard {
        if let Input::Timer(Timer::Sweep) = input {
            self.sweep(ctx);
        }
        if let Input::Timer(Timer::Note) = input {
            self.note(ctx);
        }
        let heard = match self.wire.hear(input, ctx) {
            Turn::Reply(id, reply) => self.answered(id, reply, ctx),
            Turn::Lost => {
                (self.popping, self.popped, self.noting) = (None, None, None);
                self.telling = 0;
                self.stale.append(&mut self.delivered);
                Heard::Lost
            }
            Turn::Open | Turn::Still => Heard::Nothing,
        };
        self.go_on(ctx);
        heard
    }

    fn answered<N: Speaker>(&mut self, id: u64, reply: Reply, ctx: &mut Context<'_, N>) -> Heard {
        if let Some((_, tag, entry)) = self.noting.take_if(|&mut (noting, ..)| noting == id) {
            return self.hand_on(tag, entry);
        }
        if self.popping.take_if(|popping| *popping == id).is_none() {
            self.telling -= 1;
            return Heard::Nothing;
        }
        let Reply::Popped(entry) = reply else { return Heard::Nothing };
        if !self.notes {
            return self.hand_on(0, entry);
        }
        self.popped = Some(entry);
        ctx.set_timer(SimDuration::ZERO, Timer::Note);
        ctx.reach("popped");
        Heard::Nothing
    }

    /// Notes what was popped. Until the server has that, nobody but this process knows of it.
    fn note<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let Some(entry) = self.popped.take() else { return };
        // A uuid in kombu.
        let tag = ctx.rng().word();
        let id = self.wire.send(Command::Record(tag, entry, ctx.wall()), ctx);
        self.noting = Some((id, tag, entry));
    }

    fn hand_on(&mut self, tag: Tag, entry: Entry) -> Heard {
        let handle = self.next_handle;
        self.next_handle += 1;
        if self.notes {
            self.delivered.insert(handle, tag);
        }
        Heard::Delivery(handle, entry)
    }

    /// Pops the next message, if it may have one more.
    fn go_on<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let is_at_it = self.popping.is_some() || self.popped.is_some() || self.noting.is_some();
        let can_consume = self.is_consuming
            && (self.prefetch == 0 || self.delivered.len() < self.prefetch as usize);
        if self.wire.is_open() && !is_at_it && can_consume {
            self.popping = Some(self.wire.send(Command::Pop(self.params.brpop_timeout), ctx));
        }
    }

    fn tell<N: Speaker>(&mut self, command: Command, ctx: &mut Context<'_, N>) {
        if self.wire.is_open() {
            self.wire.send(command, ctx);
            self.telling += 1;
            self.go_on(ctx);
        }
    }

    fn take(&mut self, handle: u64) -> Option<Tag> {
        self.delivered.remove(&handle).or_else(|| self.stale.remove(&handle))
    }

    /// A message that was handed on is done with.
    pub(super) fn ack<N: Speaker>(&mut self, handle: u64, ctx: &mut Context<'_, N>) {
        if let Some(tag) = self.take(handle) {
            self.tell(Command::Forget(tag), ctx);
        }
    }

    /// A message goes back to the far end of the list, or is forgotten.
    pub(super) fn reject<N: Speaker>(
        &mut self,
        handle: u64,
        requeue: bool,
        ctx: &mut Context<'_, N>,
    ) {
        if let Some(tag) = self.take(handle) {
            let command =
                if requeue { Command::Restore(vec![tag], End::Tail) } else { Command::Forget(tag) };
            self.tell(command, ctx);
        }
    }

    pub(super) fn set_prefetch<N: Speaker>(&mut self, prefetch: u32, ctx: &mut Context<'_, N>) {
        self.prefetch = prefetch;
        self.go_on(ctx);
    }

    /// No more messages.
    pub(super) fn cancel(&mut self) {
        self.is_consuming = false;
    }

    /// It closes in good order: what was not acknowledged goes back, the oldest first, so that the
    /// newest will be popped next (`QoS.restore_unacked`).
    pub(super) fn close<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        let tags: Vec<Tag> = std::mem::take(&mut self.delivered).into_values().collect();
        if !tags.is_empty() {
            self.tell(Command::Restore(tags, End::Head), ctx);
        }
    }

    /// Publishes a message on the way.
    pub(super) fn publish<N: Speaker>(&mut self, item: Item, ctx: &mut Context<'_, N>) {
        self.tell(Command::Push(item), ctx);
    }

    /// The process is gone: nothing is remembered.
    pub(super) fn forget(&mut self) {
        self.delivered.clear();
        self.stale.clear();
        (self.popping, self.popped, self.noting) = (None, None, None);
        self.telling = 0;
    }

    /// Whether everything that was to be told was told, and nothing is being popped any more: a
    /// channel that closes waits for that (`Channel.close`, `_in_poll`).
    pub(super) fn is_quiet(&self) -> bool {
        let is_popping = self.popping.is_some() || self.popped.is_some() || self.noting.is_some();
        self.telling == 0 && !is_popping
    }

    fn sweep<N: Speaker>(&mut self, ctx: &mut Context<'_, N>) {
        ctx.set_timer(self.params.unacked_restore_interval, Timer::Sweep);
        let is_turn = self.sweep_count.is_multiple_of(self.params.unacked_restore_throttle);
        self.sweep_count += 1;
        if is_turn {
            let ns = i64::try_from(self.params.visibility_timeout.as_ns()).unwrap_or(i64::MAX);
            let before = ctx.wall().plus_ns(-ns);
            self.tell(Command::Sweep(before, SWEPT_AT_ONCE), ctx);
        }
    }
}

/// What a channel has to tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Heard {
    /// Nothing.
    Nothing,
    /// A message, and the number under which it is to be acknowledged.
    Delivery(u64, Entry),
    /// The connection is gone.
    Lost,
}

/// How many messages one look puts back at most (`restore_visible`, `num`).
const SWEPT_AT_ONCE: u32 = 10;
