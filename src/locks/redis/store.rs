//! The keys of a Redis server.
//!
//! Expiry is looked at when a key is accessed, in whole milliseconds, strictly `now > when`
//! (`keyIsExpired` in src/db.c, redis 7.0; the wall clock, not a monotonic one): so a key expires
//! never early and exactly on access, and moves with the clock.

use std::collections::BTreeMap;

use crate::kernel::time::SimDuration;
use crate::locks::{Authority, Fact, Freed, LockId, Token};
use crate::model::clock::WallTime;
use crate::model::node::{NodeId, Stable};

use super::{Command, Reply};

/// Keys, counters and latches.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::locks) struct Store {
    keys: BTreeMap<LockId, Key>,
    counters: BTreeMap<LockId, u64>,
    latches: BTreeMap<u64, Latch>,
}

/// A key that is set.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::locks) struct Key {
    value: Value,
    /// When it expires, in milliseconds on the wall clock.
    expires_ms: Option<i64>,
    /// Who set it, and with which token: for the judges; no command looks at them.
    by: NodeId,
    token: Option<Token>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Value {
    Text(u64),
    Hash { owner: u64, count: u32 },
}

/// The result of a request that was carried out, for as long as it may be repeated.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::locks) struct Latch {
    reply: Reply,
    expires_ms: i64,
}

/// A change of the store.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::locks) enum Change {
    Set(LockId, Key),
    Remove(LockId),
    Count(LockId, u64),
    Latch(u64, Latch),
    DropLatch(u64),
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
            Change::Latch(request, latch) => {
                self.latches.insert(*request, latch.clone());
            }
            Change::DropLatch(request) => {
                self.latches.remove(request);
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
    /// Whether it published a release.
    pub(super) publishes: bool,
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
        let mut effects = Effects::none();
        self.expire(lock, now_ms, &mut effects);
        match command {
            Command::SetNx { value, ttl, counts } => {
                let fresh = Fresh { value: Value::Text(*value), ttl: *ttl, counts: *counts };
                self.set_if_free(from, lock, fresh, now_ms, &mut effects);
            }
            Command::Expire { ttl } => self.prolong(lock, |_| true, *ttl, now_ms, &mut effects),
            Command::Del => self.remove(lock, Freed::Released(from), &mut effects),
            Command::CompareAndDelete { value } => {
                if self.keys.get(&lock).is_some_and(|key| key.value == Value::Text(*value)) {
                    self.remove(lock, Freed::Released(from), &mut effects);
                }
            }
            Command::Extend { value, ttl, replaces } => {
                self.extend(lock, *value, *ttl, *replaces, now_ms, &mut effects);
            }
            Command::HashLock { owner, lease, counts } => {
                self.hash_lock(from, lock, *owner, (*lease, *counts), now_ms, &mut effects);
            }
            Command::HashUnlock { owner, lease, request } => {
                self.hash_unlock(from, lock, *owner, (*lease, *request), now_ms, &mut effects);
            }
            Command::DropLatch { request } => {
                effects.change(self, Change::DropLatch(*request));
            }
            Command::HashRenew { owner, lease } => {
                self.prolong(lock, |key| key.is_of(*owner), *lease, now_ms, &mut effects);
            }
            Command::Subscribe | Command::Unsubscribe => effects.reply = Reply::Done(true),
        }
        effects
    }

    /// Takes the lock from whoever has it.
    pub(super) fn free(&mut self, lock: LockId) -> Effects {
        let mut effects = Effects::none();
        self.remove(lock, Freed::ByOperator, &mut effects);
        effects
    }

    /// What is held when the wall clock shows `wall`.
    pub(super) fn held(&self, wall: WallTime) -> impl Iterator<Item = Fact> + '_ {
        self.keys.iter().map(move |(lock, key)| key.held(*lock, wall_ms(wall)))
    }

    pub(super) fn size_bytes(&self) -> u32 {
        100 * (self.keys.len() + self.counters.len()) as u32
    }

    fn expire(&mut self, lock: LockId, now_ms: i64, effects: &mut Effects) {
        let is_due = |key: &Key| key.expires_ms.is_some_and(|expires_ms| expires_ms < now_ms);
        if self.keys.get(&lock).is_some_and(is_due) {
            self.remove(lock, Freed::Expired, effects);
            effects.reply = Reply::Done(false);
        }
    }

    fn set_if_free(
        &mut self,
        from: NodeId,
        lock: LockId,
        fresh: Fresh,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        if let Some(key) = self.keys.get(&lock) {
            effects.reply = Reply::Busy(key.left(now_ms));
            return;
        }
        let token = fresh.counts.then(|| self.count(lock, effects));
        let expires_ms = fresh.ttl.map(|ttl| now_ms + ttl_ms(ttl));
        let key = Key { value: fresh.value, expires_ms, by: from, token };
        effects.facts.push(key.held(lock, now_ms));
        effects.change(self, Change::Set(lock, key));
        effects.reply = Reply::Set(token);
    }

    /// Lets the key live for `ttl` from now on, where there is one that `is_right`.
    fn prolong(
        &mut self,
        lock: LockId,
        is_right: impl Fn(&Key) -> bool,
        ttl: SimDuration,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        if let Some(key) = self.keys.get(&lock).filter(|key| is_right(key)) {
            let key = Key { expires_ms: Some(now_ms + ttl_ms(ttl)), ..key.clone() };
            effects.facts.push(key.held(lock, now_ms));
            effects.change(self, Change::Set(lock, key));
            effects.reply = Reply::Done(true);
        }
    }

    fn extend(
        &mut self,
        lock: LockId,
        value: u64,
        ttl: SimDuration,
        replaces: bool,
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let key = self.keys.get(&lock).filter(|key| key.value == Value::Text(value));
        // No expiry, no extension: `pttl` is -1 then.
        let left = key.and_then(|key| key.left(now_ms));
        let Some(left) = left else { return };
        let ttl = if replaces { ttl } else { left + ttl };
        self.prolong(lock, |_| true, ttl, now_ms, effects);
    }

    fn hash_lock(
        &mut self,
        from: NodeId,
        lock: LockId,
        owner: u64,
        (lease, counts): (SimDuration, bool),
        now_ms: i64,
        effects: &mut Effects,
    ) {
        let Some(key) = self.keys.get(&lock).filter(|key| key.is_of(owner)).cloned() else {
            let fresh = Fresh { value: Value::Hash { owner, count: 1 }, ttl: Some(lease), counts };
            self.set_if_free(from, lock, fresh, now_ms, effects);
            return;
        };
        let Value::Hash { count, .. } = key.value else { return };
        let token = counts.then(|| self.count(lock, effects));
        let value = Value::Hash { owner, count: count + 1 };
        let expires_ms = Some(now_ms + ttl_ms(lease));
        let key = Key { value, expires_ms, token: token.or(key.token), ..key };
        effects.facts.push(key.held(lock, now_ms));
        effects.change(self, Change::Set(lock, key));
        effects.reply = Reply::Set(token);
    }

    fn hash_unlock(
        &mut self,
        from: NodeId,
        lock: LockId,
        owner: u64,
        (lease, request): (SimDuration, u64),
        now_ms: i64,
        effects: &mut Effects,
    ) {
        if let Some(latch) = self.latches.get(&request).filter(|latch| now_ms <= latch.expires_ms) {
            effects.reply = latch.reply;
            return;
        }
        let Some(key) = self.keys.get(&lock).filter(|key| key.is_of(owner)).cloned() else {
            return;
        };
        let Value::Hash { count, .. } = key.value else { return };
        if 1 < count {
            let value = Value::Hash { owner, count: count - 1 };
            effects.change(self, Change::Set(lock, Key { value, ..key }));
            self.prolong(lock, |_| true, lease, now_ms, effects);
            effects.reply = Reply::StillHeld;
        } else {
            self.remove(lock, Freed::Released(from), effects);
            effects.publishes = true;
        }
        let latch = Latch { reply: effects.reply, expires_ms: now_ms + LATCH_MS };
        effects.change(self, Change::Latch(request, latch));
    }

    fn count(&mut self, lock: LockId, effects: &mut Effects) -> Token {
        let count = self.counters.get(&lock).map_or(1, |count| count + 1);
        effects.change(self, Change::Count(lock, count));
        Token(count)
    }

    fn remove(&mut self, lock: LockId, how: Freed, effects: &mut Effects) {
        if let Some(key) = self.keys.get(&lock) {
            effects.facts.push(Fact::Freed { lock, from: key.by, how, on: Authority::Books });
            effects.change(self, Change::Remove(lock));
            effects.reply = Reply::Done(true);
        }
    }
}

/// A key to be set.
struct Fresh {
    value: Value,
    ttl: Option<SimDuration>,
    counts: bool,
}

impl Effects {
    const fn none() -> Self {
        let reply = Reply::Done(false);
        Self { reply, changes: Vec::new(), facts: Vec::new(), publishes: false }
    }

    fn change(&mut self, store: &mut Store, change: Change) {
        store.apply(&change);
        self.changes.push(change);
    }
}

impl Key {
    fn is_of(&self, wanted: u64) -> bool {
        matches!(self.value, Value::Hash { owner, .. } if owner == wanted)
    }

    fn left(&self, now_ms: i64) -> Option<SimDuration> {
        let left_ms = |expires_ms: i64| (expires_ms - now_ms).max(0).unsigned_abs();
        self.expires_ms.map(|expires_ms| SimDuration::from_ms(left_ms(expires_ms)))
    }

    fn held(&self, lock: LockId, now_ms: i64) -> Fact {
        let expires = self.left(now_ms);
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

/// How long a latch lives where its client does not drop it.
const LATCH_MS: i64 = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: LockId = LockId(0);
    const A: NodeId = NodeId(1);
    const B: NodeId = NodeId(2);
    const SECOND: SimDuration = SimDuration::from_ms(1000);

    fn set(value: u64) -> Command {
        Command::SetNx { value, ttl: Some(SECOND), counts: true }
    }

    fn busy(left_ms: u64) -> Reply {
        Reply::Busy(Some(SimDuration::from_ms(left_ms)))
    }

    fn granted(token: u64) -> Reply {
        Reply::Set(Some(Token(token)))
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
        assert_eq!(found, [granted(1), busy(0), granted(2)]);
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_a_key_alive() {
        let found = replies(&[(0, A, set(1)), (-500, B, set(2)), (999, B, set(2))]);
        assert_eq!(found[1..], [busy(1500), busy(1)]);
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
        assert_eq!(found[4..], [busy(0), done(true), done(true), done(false)]);
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

    #[test]
    fn a_hash_lock_counts_its_owner_s_entries_and_is_free_after_as_many_exits() {
        let lock = |owner| Command::HashLock { owner, lease: SECOND, counts: true };
        let unlock = |owner, request| Command::HashUnlock { owner, lease: SECOND, request };
        let found = replies(&[
            (0, A, lock(7)),
            (10, B, lock(8)),
            (20, A, lock(7)),
            (30, A, unlock(7, 1)),
            (30, B, unlock(8, 2)),
            (40, A, unlock(7, 3)),
            (50, B, lock(8)),
            // The same request again: answered from its latch, and it takes nothing.
            (60, A, unlock(7, 3)),
            (70, A, lock(7)),
        ]);
        let done = Reply::Done;
        assert_eq!(found[..3], [granted(1), busy(990), granted(2)]);
        assert_eq!(found[3..6], [Reply::StillHeld, done(false), done(true)]);
        assert_eq!(found[6..], [granted(3), done(true), busy(980)]);
    }
}
