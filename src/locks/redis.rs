//! A Redis server, as far as locks go: keys with an expiry by the wall clock, scripts that run
//! without interruption, and what it keeps on disk.
//!
//! Expiry is looked at when a key is accessed, in whole milliseconds, strictly `now > when`
//! (`keyIsExpired` in src/db.c, redis 7.0; the wall clock, not a monotonic one): so a key expires
//! never early and exactly on access, and moves with the clock.

use std::collections::{BTreeMap, VecDeque};

use crate::config;
use crate::kernel::time::SimDuration;
use crate::model::clock::WallTime;
use crate::model::node::{Context, Input, Node, NodeId, Stable, SyncId, Wire};

use super::{Authority, Fact, Freed, LockId, Order, Token};

config! {
    /// What a Redis server keeps on disk.
    pub(super) enum Persistence {
        /// Nothing.
        "none" => None,
        /// An append-only file, synced once a second (`appendfsync everysec`).
        "everysec" => EverySec,
        /// An append-only file, synced before each reply (`appendfsync always`).
        "always" => Always,
    }
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Command {
    /// `SET key value NX [PX ttl]`; where `counts`, a script that also increments the lock's token
    /// counter.
    SetNx { value: u64, ttl: Option<SimDuration>, counts: bool },
    /// `EXPIRE key ttl`.
    Expire { ttl: SimDuration },
    /// `DEL key`.
    Del,
    /// The script `if get == value then del`.
    CompareAndDelete { value: u64 },
    /// The script `if get == value then pexpire`: by `ttl` from now, or by that much more.
    Extend { value: u64, ttl: SimDuration, replaces: bool },
}

/// What the server answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Reply {
    /// The key was set, with this token where one was counted.
    Set(Option<Token>),
    /// The key is there already.
    Busy,
    /// Whether the key was there, and the client's.
    Done(bool),
}

/// A command about a lock, or its answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Message {
    Ask { id: u64, lock: LockId, command: Command },
    Answer { id: u64, kind: &'static str, reply: Reply },
}

impl Command {
    const fn kind(&self) -> &'static str {
        match self {
            Self::SetNx { .. } => "acquire",
            Self::Expire { .. } => "expire",
            Self::Del | Self::CompareAndDelete { .. } => "release",
            Self::Extend { .. } => "renew",
        }
    }

    const fn reply_kind(&self) -> &'static str {
        match self {
            Self::SetNx { .. } => "acquire_reply",
            Self::Expire { .. } => "expire_reply",
            Self::Del | Self::CompareAndDelete { .. } => "release_reply",
            Self::Extend { .. } => "renew_reply",
        }
    }
}

impl Wire for Message {
    fn kind(&self) -> &'static str {
        match self {
            Self::Ask { command, .. } => command.kind(),
            Self::Answer { kind, .. } => kind,
        }
    }

    fn size_bytes(&self) -> u32 {
        match self {
            Self::Ask { .. } => 100,
            Self::Answer { .. } => 20,
        }
    }

    fn needs_service(&self) -> bool {
        matches!(self, Self::Ask { .. })
    }
}

/// Keys and counters: the state of a server.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Store {
    keys: BTreeMap<LockId, Key>,
    counters: BTreeMap<LockId, u64>,
}

/// A key that is set.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    value: u64,
    /// When it expires, in milliseconds on the wall clock.
    expires_ms: Option<i64>,
    /// Who set it, and with which token: for the judges; no command looks at them.
    by: NodeId,
    token: Option<Token>,
}

/// A change of the store.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Set(LockId, Key),
    Remove(LockId),
    Count(LockId, u64),
}

impl Stable for Store {
    type Write = Change;

    fn apply(&mut self, change: &Change) {
        match change {
            Change::Set(lock, key) => {
                self.keys.insert(*lock, key.clone());
            }
            Change::Remove(lock) => {
                self.keys.remove(lock);
            }
            Change::Count(lock, count) => {
                self.counters.insert(*lock, *count);
            }
        }
    }
}

/// What a command did.
#[derive(Debug)]
pub(super) struct Effects {
    pub(super) reply: Reply,
    pub(super) changes: Vec<Change>,
    pub(super) facts: Vec<Fact>,
}

impl Store {
    /// Executes a command of `from` when the wall clock shows `wall`.
    pub(super) fn execute(
        &mut self,
        from: NodeId,
        lock: LockId,
        command: &Command,
        wall: WallTime,
    ) -> Effects {
        let now_ms = wall_ms(wall);
        let mut effects =
            Effects { reply: Reply::Done(false), changes: Vec::new(), facts: Vec::new() };
        self.expire(lock, now_ms, &mut effects);
        let key = self.keys.get(&lock);
        let is = |value: u64| key.is_some_and(|key| key.value == value);
        match command {
            Command::SetNx { .. } if key.is_some() => effects.reply = Reply::Busy,
            Command::SetNx { value, ttl, counts } => {
                let token = counts.then(|| {
                    let count = self.counters.get(&lock).map_or(1, |count| count + 1);
                    effects.change(self, Change::Count(lock, count));
                    Token(count)
                });
                let expires_ms = ttl.map(|ttl| now_ms + ttl_ms(ttl));
                let key = Key { value: *value, expires_ms, by: from, token };
                effects.facts.push(key.held(lock, now_ms));
                effects.change(self, Change::Set(lock, key));
                effects.reply = Reply::Set(token);
            }
            Command::Expire { ttl } => {
                let Some(key) = key else { return effects };
                let key = Key { expires_ms: Some(now_ms + ttl_ms(*ttl)), ..key.clone() };
                effects.facts.push(key.held(lock, now_ms));
                effects.change(self, Change::Set(lock, key));
                effects.reply = Reply::Done(true);
            }
            Command::Del => self.remove(lock, Freed::Released(from), &mut effects),
            Command::CompareAndDelete { value } if is(*value) => {
                self.remove(lock, Freed::Released(from), &mut effects);
            }
            Command::Extend { value, ttl, replaces } if is(*value) => {
                // No expiry, no extension: `pttl` is -1 then.
                let Some(key) = self.keys.get(&lock).filter(|key| key.expires_ms.is_some()) else {
                    return effects;
                };
                let base_ms = if *replaces { Some(now_ms) } else { key.expires_ms };
                let expires_ms = base_ms.map(|base_ms| base_ms + ttl_ms(*ttl));
                let key = Key { expires_ms, ..key.clone() };
                effects.facts.push(key.held(lock, now_ms));
                effects.change(self, Change::Set(lock, key));
                effects.reply = Reply::Done(true);
            }
            Command::CompareAndDelete { .. } | Command::Extend { .. } => (),
        }
        effects
    }

    /// Takes the lock from whoever has it.
    pub(super) fn free(&mut self, lock: LockId) -> Effects {
        let mut effects =
            Effects { reply: Reply::Done(false), changes: Vec::new(), facts: Vec::new() };
        self.remove(lock, Freed::ByOperator, &mut effects);
        effects
    }

    /// What is held when the wall clock shows `wall`.
    pub(super) fn held(&self, wall: WallTime) -> impl Iterator<Item = Fact> + '_ {
        self.keys.iter().map(move |(lock, key)| key.held(*lock, wall_ms(wall)))
    }

    fn expire(&mut self, lock: LockId, now_ms: i64, effects: &mut Effects) {
        let is_due = |key: &Key| key.expires_ms.is_some_and(|expires_ms| expires_ms < now_ms);
        if self.keys.get(&lock).is_some_and(is_due) {
            self.remove(lock, Freed::Expired, effects);
        }
    }

    fn remove(&mut self, lock: LockId, how: Freed, effects: &mut Effects) {
        if let Some(key) = self.keys.get(&lock) {
            effects.facts.push(Fact::Freed { lock, from: key.by, how, on: Authority::Books });
            effects.change(self, Change::Remove(lock));
            effects.reply = Reply::Done(true);
        }
    }
}

impl Effects {
    fn change(&mut self, store: &mut Store, change: Change) {
        store.apply(&change);
        self.changes.push(change);
    }
}

impl Key {
    fn held(&self, lock: LockId, now_ms: i64) -> Fact {
        let left_ms = |expires_ms: i64| (expires_ms - now_ms).max(0).unsigned_abs();
        let expires = self.expires_ms.map(|at| SimDuration::from_ms(left_ms(at)));
        Fact::Held { lock, by: self.by, token: self.token, expires, on: Authority::Books }
    }
}

/// `mstime()`.
fn wall_ms(wall: WallTime) -> i64 {
    wall.0.div_euclid(1_000_000)
}

fn ttl_ms(ttl: SimDuration) -> i64 {
    // `int(timeout * 1000)` in the clients.
    (ttl.as_ns() / 1_000_000) as i64
}

/// A server by itself.
#[derive(Debug)]
pub(super) struct Server {
    store: Store,
    persistence: Persistence,
    /// Replies that wait for a sync.
    unsynced: VecDeque<(SyncId, NodeId, Message)>,
    is_dirty: bool,
}

/// The once-a-second sync is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct SyncDue;

impl Server {
    fn keep(&mut self, effects: Effects, ctx: &mut Context<'_, Self>) -> Reply {
        for fact in effects.facts {
            ctx.indicate(fact);
        }
        if self.persistence != Persistence::None {
            self.is_dirty |= !effects.changes.is_empty();
            for change in effects.changes {
                ctx.write(change);
            }
        }
        effects.reply
    }
}

impl Node for Server {
    type Role = Persistence;
    type Stable = Store;
    type Request = Order;
    type Indication = Fact;
    type Message = Message;
    type Timer = SyncDue;

    fn boot(persistence: &Persistence, disk: &Store) -> Self {
        Self {
            store: disk.clone(),
            persistence: persistence.clone(),
            unsynced: VecDeque::new(),
            is_dirty: false,
        }
    }

    fn handle(&mut self, input: Input<Self>, ctx: &mut Context<'_, Self>) {
        match input {
            Input::Start => {
                let held: Vec<Fact> = self.store.held(ctx.wall()).collect();
                for fact in held {
                    ctx.indicate(fact);
                }
                if self.persistence == Persistence::EverySec {
                    ctx.set_timer(SimDuration::from_secs(1), SyncDue);
                }
            }
            Input::Message { from, message: Message::Ask { id, lock, command }, .. } => {
                let effects = self.store.execute(from, lock, &command, ctx.wall());
                let is_written = !effects.changes.is_empty();
                let reply = self.keep(effects, ctx);
                let answer = Message::Answer { id, kind: command.reply_kind(), reply };
                if is_written && self.persistence == Persistence::Always {
                    let sync = ctx.sync();
                    self.unsynced.push_back((sync, from, answer));
                } else {
                    ctx.send(from, answer);
                }
            }
            Input::Synced(sync) => {
                while self.unsynced.front().is_some_and(|(waits_for, ..)| *waits_for <= sync) {
                    let Some((_, to, answer)) = self.unsynced.pop_front() else { return };
                    ctx.send(to, answer);
                }
            }
            Input::Timer(SyncDue) => {
                if std::mem::take(&mut self.is_dirty) {
                    ctx.sync();
                }
                ctx.set_timer(SimDuration::from_secs(1), SyncDue);
            }
            Input::Request(Order::Free(lock)) => {
                let effects = self.store.free(lock);
                self.keep(effects, ctx);
            }
            Input::Message { message: Message::Answer { .. }, .. }
            | Input::Overload { .. }
            | Input::Closed { .. }
            | Input::Signal(_) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: LockId = LockId(0);
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);

    fn set(value: u64) -> Command {
        Command::SetNx { value, ttl: Some(SimDuration::from_ms(1000)), counts: true }
    }

    /// Executes commands at milliseconds of the wall clock.
    fn replies(commands: &[(i64, NodeId, Command)]) -> Vec<Reply> {
        let mut store = Store::default();
        let execute = |(ms, from, command): &(i64, NodeId, Command)| {
            store.execute(*from, LOCK, command, WallTime(ms * 1_000_000)).reply
        };
        commands.iter().map(execute).collect()
    }

    #[test]
    fn a_key_is_there_up_to_and_at_its_expiry_and_gone_right_after() {
        let found = replies(&[(0, A, set(1)), (1000, B, set(2)), (1001, B, set(2))]);
        assert_eq!(found, [Reply::Set(Some(Token(1))), Reply::Busy, Reply::Set(Some(Token(2)))]);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_a_key_alive() {
        let found = replies(&[(0, A, set(1)), (-500, B, set(2)), (999, B, set(2))]);
        assert_eq!(found[1..], [Reply::Busy, Reply::Busy]);
    }

    #[test]
    fn only_the_right_value_deletes_and_extends() {
        let extend =
            |value, replaces| Command::Extend { value, ttl: SimDuration::from_ms(500), replaces };
        let found = replies(&[
            (0, A, set(1)),
            (10, B, Command::CompareAndDelete { value: 2 }),
            (10, B, extend(2, true)),
            (900, A, extend(1, false)),
            (1500, B, set(2)),
            (1500, A, extend(1, true)),
            (2000, A, Command::CompareAndDelete { value: 1 }),
            (2000, A, Command::CompareAndDelete { value: 1 }),
        ]);
        let done = Reply::Done;
        assert_eq!(found[1..4], [done(false), done(false), done(true)]);
        assert_eq!(found[4..], [Reply::Busy, done(true), done(true), done(false)]);
    }

    #[test]
    fn anyone_deletes_with_del_and_the_fact_says_whose_it_was() {
        let mut store = Store::default();
        store.execute(A, LOCK, &set(1), WallTime(0));
        let effects = store.execute(B, LOCK, &Command::Del, WallTime(0));
        let freed =
            Fact::Freed { lock: LOCK, from: A, how: Freed::Released(B), on: Authority::Books };
        assert_eq!(effects.facts, [freed]);
    }
}
