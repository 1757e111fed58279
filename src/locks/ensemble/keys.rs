//! Locks as keys in the order of their creation, each of which goes with the session that made it:
//! the owner of the first holds the lock, and the owner of each other watches the one before it,
//! so that a release wakes one client only. The token is the place in the log where the key was
//! created: ZooKeeper's czxid, etcd's create revision.

use std::collections::{BTreeMap, BTreeSet};

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::{Freed, Indication, LockId, Refusal, Release, Token};
use crate::model::node::NodeId;

use super::client::Timer;
use super::{Asker, Core, Ctx, Fate, Flow, Machine, Outcome};

/// The state.
#[derive(Debug, Default)]
pub(in crate::locks) struct Keys {
    sessions: BTreeSet<u64>,
    /// By the lock, and the place of its creation.
    by_place: BTreeMap<(LockId, u64), Key>,
    /// The last number that a session gave a key of a lock, or took from it.
    latest: BTreeMap<(u64, LockId), u64>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    name: Name,
    client: NodeId,
}

/// What a key is called, for those who do not know its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::locks) struct Name {
    session: u64,
    /// Tells the keys of one session for one lock apart; nothing where it has one only.
    number: Option<u64>,
}

/// What a client can order.
#[derive(Clone, Debug)]
pub(in crate::locks) enum Command {
    Open {
        session: u64,
        timeout: SimDuration,
    },
    /// Create a key, if there is none of that name.
    Create {
        lock: LockId,
        name: Name,
    },
    /// Look whether the key is there, and which is the last before it.
    Look {
        lock: LockId,
        place: u64,
    },
    /// Look whether the key is there.
    Get {
        lock: LockId,
        place: u64,
    },
    /// Delete a key.
    Delete {
        lock: LockId,
        name: Name,
    },
}

/// What it is answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::locks) enum Answer {
    Opened,
    NoSession,
    /// The place of the key, and whether it is the first.
    Created {
        place: u64,
        is_first: bool,
    },
    Looked {
        is_there: bool,
        before: Option<u64>,
    },
    Got {
        is_there: bool,
    },
    Deleted {
        was_there: bool,
    },
}

impl Machine for Keys {
    type Command = Command;
    type Answer = Answer;

    fn kinds(command: &Command) -> (&'static str, &'static str) {
        match command {
            Command::Open { .. } => ("open", "open_reply"),
            Command::Create { .. } => ("acquire", "acquire_reply"),
            Command::Look { .. } | Command::Get { .. } => ("look", "look_reply"),
            Command::Delete { .. } => ("release", "release_reply"),
        }
    }

    fn apply(&mut self, asker: Asker, command: &Command, out: &mut Outcome<Self>) {
        let (_, kind) = Self::kinds(command);
        let answer = match *command {
            Command::Open { session, timeout } => {
                self.sessions.insert(session);
                out.begin(session, timeout);
                Answer::Opened
            }
            Command::Create { name, .. } if !self.sessions.contains(&name.session) => {
                Answer::NoSession
            }
            Command::Create { lock, name } => match self.create(lock, name, asker.client, out) {
                Some(place) => {
                    Answer::Created { place, is_first: self.before(lock, place).is_none() }
                }
                None => return,
            },
            Command::Look { lock, place } => Answer::Looked {
                is_there: self.by_place.contains_key(&(lock, place)),
                before: self.before(lock, place),
            },
            Command::Get { lock, place } => {
                Answer::Got { is_there: self.by_place.contains_key(&(lock, place)) }
            }
            Command::Delete { lock, name } => {
                if let Some(number) = name.number {
                    let latest = self.latest.entry((name.session, lock)).or_default();
                    *latest = number.max(*latest);
                }
                let place = self.find(lock, name);
                if let Some(place) = place {
                    self.remove(lock, place, Freed::Released(asker.client), out);
                }
                Answer::Deleted { was_there: place.is_some() }
            }
        };
        out.answer(asker, kind, answer);
    }

    fn expire(&mut self, session: u64, out: &mut Outcome<Self>) {
        self.sessions.remove(&session);
        self.latest.retain(|(owner, _), _| *owner != session);
        out.end(session);
        let its = self.by_place.iter().filter(|(_, key)| key.name.session == session);
        for (lock, place) in its.map(|(at, _)| *at).collect::<Vec<_>>() {
            self.remove(lock, place, Freed::Expired, out);
        }
    }

    fn free(&mut self, lock: LockId, out: &mut Outcome<Self>) {
        if let Some((place, _)) = self.first(lock) {
            self.remove(lock, place, Freed::ByOperator, out);
        }
    }

    fn holder(&self, lock: LockId) -> Option<Token> {
        self.first(lock).map(|(place, _)| Token(place))
    }

    fn exists(&self, lock: LockId, place: u64) -> bool {
        self.by_place.contains_key(&(lock, place))
    }
}

impl Keys {
    /// Creates a key, unless there is one of that name; its place. Nothing where the name was
    /// deleted before: this is a copy that comes late.
    fn create(
        &mut self,
        lock: LockId,
        name: Name,
        client: NodeId,
        out: &mut Outcome<Self>,
    ) -> Option<u64> {
        if let Some(place) = self.find(lock, name) {
            return Some(place);
        }
        if let Some(number) = name.number {
            let latest = self.latest.entry((name.session, lock)).or_default();
            if number <= *latest {
                return None;
            }
            *latest = number;
        }
        let place = out.index;
        let is_first = self.first(lock).is_none();
        self.by_place.insert((lock, place), Key { name, client });
        if is_first {
            out.held(lock, client, Token(place), true);
        }
        Some(place)
    }

    fn remove(&mut self, lock: LockId, place: u64, how: Freed, out: &mut Outcome<Self>) {
        let was_first = self.before(lock, place).is_none();
        let Some(key) = self.by_place.remove(&(lock, place)) else { return };
        out.gone(lock, place);
        if was_first {
            out.freed(lock, key.client, how);
            if let Some((next, key)) = self.first(lock) {
                out.held(lock, key.client, Token(next), true);
            }
        }
    }

    fn find(&self, lock: LockId, name: Name) -> Option<u64> {
        let mut of_lock = self.by_place.range((lock, 0)..=(lock, u64::MAX));
        of_lock.find(|(_, key)| key.name == name).map(|(&(_, place), _)| place)
    }

    fn first(&self, lock: LockId) -> Option<(u64, Key)> {
        let mut of_lock = self.by_place.range((lock, 0)..=(lock, u64::MAX));
        of_lock.next().map(|(&(_, place), key)| (place, *key))
    }

    /// The last key before `place`.
    fn before(&self, lock: LockId, place: u64) -> Option<u64> {
        self.by_place.range((lock, 0)..(lock, place)).next_back().map(|(&(_, place), _)| place)
    }
}

/// How clients go for such locks.
#[derive(Clone, Debug)]
pub(in crate::locks) struct KeysRole {
    /// Whether each attempt makes a key of its own, and sees only by looking whether it is the
    /// first, but for a thread that holds the lock already, which counts its entries and asks
    /// nobody (Curator); else a session has one key for each lock, and sees at once (etcd).
    pub(in crate::locks) is_sequential: bool,
    /// What a client makes of its own key having gone while it waited.
    pub(in crate::locks) own: OwnKey,
    /// Whether a holder acts on what becomes of its session.
    pub(in crate::locks) heeds_session: bool,
}

/// What a client makes of its own key having gone while it waited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::locks) enum OwnKey {
    /// Nothing: it does not look.
    Ignored,
    /// It looks once it is the first, and fails.
    Checked,
    /// It sees that whenever it looks, and makes another.
    Remade,
}

/// A client's way to its locks.
#[derive(Debug)]
pub(in crate::locks) struct Keyed {
    role: KeysRole,
    next_number: u64,
    attempts: BTreeMap<LockId, Attempt>,
}

#[derive(Debug)]
struct Attempt {
    stage: Stage,
    number: u64,
    session: u64,
    /// Of its key, once it is known.
    place: u64,
    /// How often it is held beyond the first time.
    again: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    NeedsSession,
    Creating { call: u64 },
    Looking { call: u64 },
    Watching { before: u64 },
    Checking { call: u64 },
    Held,
    Releasing { call: u64 },
}

impl Keyed {
    /// Makes a key, as soon as there is a session.
    fn go(&mut self, lock: LockId, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        self.next_number += 1;
        let Some(attempt) = self.attempts.get_mut(&lock) else { return };
        let Some(session) = core.session() else {
            attempt.stage = Stage::NeedsSession;
            core.open_session(ctx);
            return;
        };
        attempt.session = session;
        let name = attempt.name(self.role.is_sequential);
        attempt.stage = Stage::Creating { call: core.ask(Command::Create { lock, name }, ctx) };
    }

    fn look(&mut self, lock: LockId, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        let Some(attempt) = self.attempts.get_mut(&lock) else { return };
        let command = Command::Look { lock, place: attempt.place };
        attempt.stage = Stage::Looking { call: core.ask(command, ctx) };
    }

    fn hold(&mut self, lock: LockId, core: &Core<Self>, ctx: &mut Ctx<'_, Self>) {
        let Some(attempt) = self.attempts.get_mut(&lock) else { return };
        attempt.stage = Stage::Held;
        let valid_for = core.valid_for(ctx.now());
        let token = Some(Token(attempt.place));
        ctx.indicate(Indication::Granted { lock, token, valid_for });
    }

    fn refuse(&mut self, lock: LockId, why: Refusal, ctx: &mut Ctx<'_, Self>) {
        self.attempts.remove(&lock);
        ctx.indicate(Indication::Refused { lock, why });
    }

    fn of_call(&self, id: u64) -> Option<LockId> {
        let mut attempts = self.attempts.iter();
        attempts.find(|(_, attempt)| attempt.stage.call() == Some(id)).map(|(lock, _)| *lock)
    }
}

impl Attempt {
    fn name(&self, is_sequential: bool) -> Name {
        Name { session: self.session, number: is_sequential.then_some(self.number) }
    }
}

impl Stage {
    const fn call(self) -> Option<u64> {
        match self {
            Self::Creating { call }
            | Self::Looking { call }
            | Self::Checking { call }
            | Self::Releasing { call } => Some(call),
            Self::NeedsSession | Self::Watching { .. } | Self::Held => None,
        }
    }
}

impl Flow for Keyed {
    type Machine = Keys;
    type Role = KeysRole;

    fn boot(role: &KeysRole) -> Self {
        Self { role: role.clone(), next_number: 0, attempts: BTreeMap::new() }
    }

    fn open(session: u64, timeout: SimDuration) -> Command {
        Command::Open { session, timeout }
    }

    fn acquire(
        &mut self,
        lock: LockId,
        until: Option<SimTime>,
        core: &mut Core<Self>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let held = self.attempts.get_mut(&lock).filter(|a| matches!(a.stage, Stage::Held));
        if let Some(held) = held.filter(|_| self.role.is_sequential) {
            // `LockData.lockCount`: whatever has become of the session meanwhile.
            held.again += 1;
            self.hold(lock, core, ctx);
            return;
        }
        self.next_number += 1;
        let number = self.next_number;
        let attempt =
            Attempt { stage: Stage::NeedsSession, number, session: 0, place: 0, again: 0 };
        self.attempts.insert(lock, attempt);
        if let Some(until) = until {
            ctx.set_timer(until.since(ctx.now()), Timer::Patience(lock, number));
        }
        self.go(lock, core, ctx);
    }

    fn is_valid(&self, lock: LockId, core: &Core<Self>, now: SimTime) -> bool {
        let attempt = self.attempts.get(&lock).filter(|a| matches!(a.stage, Stage::Held));
        attempt.is_some_and(|attempt| {
            !self.role.heeds_session || core.is_sure_of(attempt.session, now)
        })
    }

    fn release(&mut self, lock: LockId, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        match self.attempts.get_mut(&lock) {
            Some(attempt) if matches!(attempt.stage, Stage::Held) && 0 < attempt.again => {
                attempt.again -= 1;
                ctx.indicate(Indication::Released { lock, how: Release::Done });
            }
            Some(attempt) if matches!(attempt.stage, Stage::Held) => {
                let name = attempt.name(self.role.is_sequential);
                let call = core.ask(Command::Delete { lock, name }, ctx);
                attempt.stage = Stage::Releasing { call };
            }
            Some(_) | None => ctx.indicate(Indication::Released { lock, how: Release::NotHeld }),
        }
    }

    fn answered(
        &mut self,
        id: u64,
        answer: Answer,
        core: &mut Core<Self>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let Some(lock) = self.of_call(id) else { return };
        let Some(attempt) = self.attempts.get_mut(&lock) else { return };
        match answer {
            Answer::Opened => (),
            Answer::NoSession => {
                let is_current = core.session() == Some(attempt.session);
                if is_current {
                    core.forget_session();
                    self.session(Fate::Over, core, ctx);
                }
                match self.role.own {
                    OwnKey::Remade if !is_current => self.go(lock, core, ctx),
                    OwnKey::Remade => (),
                    OwnKey::Ignored | OwnKey::Checked => self.refuse(lock, Refusal::Error, ctx),
                }
            }
            Answer::Created { place, is_first } => {
                attempt.place = place;
                if is_first && !self.role.is_sequential {
                    self.hold(lock, core, ctx);
                } else {
                    self.look(lock, core, ctx);
                }
            }
            Answer::Looked { is_there: false, .. } if self.role.own == OwnKey::Remade => {
                self.go(lock, core, ctx);
            }
            Answer::Looked { before: Some(before), .. } => {
                attempt.stage = Stage::Watching { before };
                core.watch(lock, before, ctx);
            }
            Answer::Looked { before: None, .. } if self.role.own == OwnKey::Checked => {
                let command = Command::Get { lock, place: attempt.place };
                attempt.stage = Stage::Checking { call: core.ask(command, ctx) };
            }
            Answer::Looked { before: None, .. } | Answer::Got { is_there: true } => {
                self.hold(lock, core, ctx);
            }
            Answer::Got { is_there: false } => self.refuse(lock, Refusal::Error, ctx),
            Answer::Deleted { was_there } => {
                self.attempts.remove(&lock);
                let how = if was_there { Release::Done } else { Release::NotHeld };
                ctx.indicate(Indication::Released { lock, how });
            }
        }
    }

    fn gone(&mut self, lock: LockId, place: u64, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        let stage = self.attempts.get(&lock).map(|attempt| attempt.stage);
        if matches!(stage, Some(Stage::Watching { before }) if before == place) {
            ctx.indicate(Indication::Woken(lock));
            ctx.indicate(Indication::Tried(lock));
            self.look(lock, core, ctx);
        }
    }

    fn reconnected(&mut self, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        for (lock, attempt) in &self.attempts {
            if let Stage::Watching { before } = attempt.stage {
                core.watch(*lock, before, ctx);
            }
        }
    }

    fn out_of_patience(
        &mut self,
        lock: LockId,
        attempt: u64,
        core: &mut Core<Self>,
        ctx: &mut Ctx<'_, Self>,
    ) {
        let Some(waiting) = self.attempts.get(&lock).filter(|a| a.number == attempt) else {
            return;
        };
        match waiting.stage {
            Stage::NeedsSession => (),
            Stage::Creating { .. }
            | Stage::Looking { .. }
            | Stage::Watching { .. }
            | Stage::Checking { .. } => {
                if let Some(call) = waiting.stage.call() {
                    core.drop_call(call, ctx);
                }
                let name = waiting.name(self.role.is_sequential);
                core.ask(Command::Delete { lock, name }, ctx);
            }
            Stage::Held | Stage::Releasing { .. } => return,
        }
        self.refuse(lock, Refusal::Patience, ctx);
    }

    fn session(&mut self, fate: Fate, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        for lock in self.attempts.keys().copied().collect::<Vec<_>>() {
            let Some(attempt) = self.attempts.get(&lock) else { continue };
            match (fate, attempt.stage) {
                (Fate::Opened, Stage::NeedsSession) => self.go(lock, core, ctx),
                (Fate::Extended(valid_for), Stage::Held) => {
                    ctx.indicate(Indication::Extended { lock, valid_for });
                }
                (Fate::InDoubt | Fate::Over, Stage::Held) if self.role.heeds_session => {
                    ctx.indicate(Indication::Lost(lock));
                }
                (
                    Fate::Over,
                    Stage::Creating { .. } | Stage::Looking { .. } | Stage::Watching { .. },
                ) if self.role.own == OwnKey::Remade => {
                    if let Some(call) = attempt.stage.call() {
                        core.drop_call(call, ctx);
                    }
                    self.go(lock, core, ctx);
                }
                // The lock call of etcd's clients does not know of their session.
                (Fate::Opened | Fate::Over | Fate::Extended(_) | Fate::InDoubt, _) => (),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: LockId = LockId(0);

    fn apply(state: &mut Keys, index: u64, client: u32, command: Command) -> Option<Answer> {
        let mut out = Outcome::new(index);
        let asker = Asker { client: NodeId(client), id: index };
        state.apply(asker, &command, &mut out);
        out.answers.first().map(|(_, _, answer)| *answer)
    }

    fn open(state: &mut Keys, client: u32) {
        let (session, timeout) = (u64::from(client), SimDuration::from_secs(10));
        apply(state, session, client, Command::Open { session, timeout });
    }

    fn create(state: &mut Keys, index: u64, client: u32, number: Option<u64>) -> Option<Answer> {
        let name = Name { session: u64::from(client), number };
        apply(state, index, client, Command::Create { lock: LOCK, name })
    }

    fn delete(state: &mut Keys, index: u64, client: u32, number: Option<u64>) -> Option<Answer> {
        let name = Name { session: u64::from(client), number };
        apply(state, index, client, Command::Delete { lock: LOCK, name })
    }

    #[test]
    fn each_key_waits_for_the_one_before_it_and_the_end_of_a_session_takes_its_keys() {
        let mut state = Keys::default();
        for client in [1, 2, 3] {
            open(&mut state, client);
            create(&mut state, 10 + u64::from(client), client, Some(1));
        }
        assert_eq!(state.before(LOCK, 13), Some(12));
        let mut out = Outcome::new(20);
        state.expire(2, &mut out);
        assert_eq!(out.gone, [(LOCK, 12)]);
        assert!(out.facts.is_empty(), "a waiter's end changes no holder");
        assert_eq!(state.before(LOCK, 13), Some(11));
        delete(&mut state, 21, 1, Some(1));
        assert_eq!(state.holder(LOCK), Some(Token(13)));
    }

    #[test]
    fn a_late_copy_of_a_release_takes_a_later_hold_only_where_a_session_has_one_key() {
        for (numbers, is_lost) in [([Some(1), Some(2)], false), ([None, None], true)] {
            let mut state = Keys::default();
            open(&mut state, 1);
            create(&mut state, 11, 1, numbers[0]);
            delete(&mut state, 12, 1, numbers[0]);
            create(&mut state, 13, 1, numbers[1]);
            delete(&mut state, 14, 1, numbers[0]);
            assert_eq!(state.holder(LOCK).is_none(), is_lost);
        }
    }

    #[test]
    fn a_key_is_made_once_however_often_it_is_asked_for() {
        let mut state = Keys::default();
        open(&mut state, 1);
        for index in [11, 12] {
            let answer = create(&mut state, index, 1, Some(1));
            assert!(matches!(answer, Some(Answer::Created { place: 11, is_first: true })));
        }
        delete(&mut state, 13, 1, Some(1));
        // A copy that was under way for long.
        assert!(create(&mut state, 14, 1, Some(1)).is_none());
        assert_eq!(state.holder(LOCK), None);
    }
}
