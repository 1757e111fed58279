//! Locks with a queue each, in the service's state: the service tells whoever comes to its head.
//!
//! A client may give the same command again when it was not answered: what it wants has a number,
//! and the state remembers, for each client and lock, the last number and what came of it, so each
//! is carried out exactly once (Ongaro's thesis, 6.3). A client is known by its session, or, where
//! the service has none, by a number drawn in each of its lives. The token is the place in the log
//! of the grant.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::{Freed, Indication, LockId, Refusal, Release, Token};

use super::client::Timer;
use super::{Asker, Core, Ctx, Fate, Flow, Machine, Outcome};

/// The state.
#[derive(Debug, Default)]
pub(in crate::locks) struct Queues {
    sessions: BTreeSet<u64>,
    by_lock: BTreeMap<LockId, Queue>,
    /// The last number of each owner for each lock, and what its release found.
    latest: BTreeMap<(u64, LockId), (u64, bool)>,
}

/// Who wants a lock; the first has it, but in a lock-delay.
#[derive(Debug, Default)]
struct Queue {
    places: VecDeque<Place>,
    token: Option<Token>,
    is_delayed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    owner: Owner,
    number: u64,
    /// Whom to tell.
    asker: Asker,
    delay: SimDuration,
}

/// Who owns a place in a queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::locks) enum Owner {
    /// A client in one of its lives; its places are its own for ever.
    Life(u64),
    /// A session; its places go with it.
    Session(u64),
}

impl Owner {
    const fn number(self) -> u64 {
        match self {
            Self::Life(number) | Self::Session(number) => number,
        }
    }
}

/// What a client can order.
#[derive(Clone, Debug)]
pub(in crate::locks) enum Command {
    Open {
        session: u64,
        timeout: SimDuration,
    },
    /// With how long the lock stays free if its owner's session ends while it holds it.
    Acquire {
        lock: LockId,
        owner: Owner,
        number: u64,
        delay: SimDuration,
    },
    /// Gives back what was acquired before, or stands in the queue for it.
    Release {
        lock: LockId,
        owner: Owner,
        number: u64,
    },
}

/// What it is answered.
#[derive(Clone, Copy, Debug)]
pub(in crate::locks) enum Answer {
    Opened,
    NoSession,
    Queued,
    Granted(Token),
    /// It was the owner's, and is no longer; or was not.
    Released(bool),
}

impl Machine for Queues {
    type Command = Command;
    type Answer = Answer;

    fn kinds(command: &Command) -> (&'static str, &'static str) {
        match command {
            Command::Open { .. } => ("open", "open_reply"),
            Command::Acquire { .. } => ACQUIRE,
            Command::Release { .. } => ("release", "release_reply"),
        }
    }

    fn apply(&mut self, asker: Asker, command: &Command, out: &mut Outcome<Self>) {
        let (_, kind) = Self::kinds(command);
        let answer = match *command {
            Command::Open { session, timeout } => {
                self.sessions.insert(session);
                out.begin(session, timeout);
                Some(Answer::Opened)
            }
            Command::Acquire { lock, owner, number, delay } => {
                self.acquire(lock, Place { owner, number, asker, delay }, out)
            }
            Command::Release { lock, owner, number } => {
                self.release(asker, lock, owner, number, out)
            }
        };
        if let Some(answer) = answer {
            out.answer(asker, kind, answer);
        }
    }

    fn expire(&mut self, session: u64, out: &mut Outcome<Self>) {
        self.sessions.remove(&session);
        self.latest.retain(|(owner, _), _| *owner != session);
        out.end(session);
        let owner = Owner::Session(session);
        for (lock, queue) in &mut self.by_lock {
            queue.leave(*lock, owner, Freed::Expired, out);
        }
    }

    fn end_delay(&mut self, lock: LockId, out: &mut Outcome<Self>) {
        if let Some(queue) = self.by_lock.get_mut(&lock) {
            queue.is_delayed = false;
            queue.grant(lock, out);
        }
    }

    fn free(&mut self, lock: LockId, out: &mut Outcome<Self>) {
        if let Some(queue) = self.by_lock.get_mut(&lock)
            && queue.token.is_some()
        {
            let owner = queue.places[0].owner;
            queue.leave(lock, owner, Freed::ByOperator, out);
        }
    }

    fn holder(&self, lock: LockId) -> Option<Token> {
        self.by_lock.get(&lock)?.token
    }
}

const ACQUIRE: (&str, &str) = ("acquire", "acquire_reply");

impl Queues {
    fn acquire(&mut self, lock: LockId, place: Place, out: &mut Outcome<Self>) -> Option<Answer> {
        let Place { owner, number, asker, .. } = place;
        if matches!(owner, Owner::Session(session) if !self.sessions.contains(&session)) {
            return Some(Answer::NoSession);
        }
        let latest = self.latest.entry((owner.number(), lock)).or_default();
        if number < latest.0 {
            // It was given up since: a copy that comes late.
            return None;
        }
        let queue = self.by_lock.entry(lock).or_default();
        if latest.0 < number {
            *latest = (number, false);
            queue.places.push_back(place);
            queue.grant(lock, out);
        } else if let Some(place) = queue.places.iter_mut().find(|place| place.owner == owner) {
            place.asker = asker;
        } else {
            // An operator took it.
            return Some(Answer::Released(false));
        }
        match queue.token {
            // The grant itself has told it already.
            Some(Token(token)) if token == out.index => None,
            Some(token) if queue.places[0].owner == owner => Some(Answer::Granted(token)),
            Some(_) | None => Some(Answer::Queued),
        }
    }

    fn release(
        &mut self,
        asker: Asker,
        lock: LockId,
        owner: Owner,
        number: u64,
        out: &mut Outcome<Self>,
    ) -> Option<Answer> {
        let latest = self.latest.entry((owner.number(), lock)).or_default();
        if number < latest.0 {
            return None;
        }
        if latest.0 < number {
            let queue = self.by_lock.entry(lock).or_default();
            let was_held = queue.leave(lock, owner, Freed::Released(asker.client), out);
            *latest = (number, was_held);
        }
        Some(Answer::Released(latest.1))
    }
}

impl Queue {
    /// Takes an owner out of the queue; whether it held the lock.
    fn leave(&mut self, lock: LockId, owner: Owner, how: Freed, out: &mut Outcome<Queues>) -> bool {
        let Some(index) = self.places.iter().position(|place| place.owner == owner) else {
            return false;
        };
        let left = self.places.remove(index);
        let (Some(left), true) = (left, index == 0 && self.token.is_some()) else { return false };
        self.token = None;
        out.freed(lock, left.asker.client, how);
        if how == Freed::Expired && left.delay != SimDuration::ZERO {
            self.is_delayed = true;
            out.delay(lock, left.delay);
        }
        self.grant(lock, out);
        true
    }

    /// Lets the first have the lock, where it can.
    fn grant(&mut self, lock: LockId, out: &mut Outcome<Queues>) {
        if self.is_delayed || self.token.is_some() {
            return;
        }
        let Some(first) = self.places.front() else { return };
        let token = Token(out.index);
        self.token = Some(token);
        let ends = matches!(first.owner, Owner::Session(_));
        out.held(lock, first.asker.client, token, ends);
        out.answer(first.asker, ACQUIRE.1, Answer::Granted(token));
    }
}

/// How clients go for such locks.
#[derive(Clone, Debug)]
pub(in crate::locks) struct QueueRole {
    /// Whether places belong to sessions.
    pub(in crate::locks) has_sessions: bool,
    /// For how long a lock stays free whose owner's session ended.
    pub(in crate::locks) lock_delay: SimDuration,
}

/// A client's way to its locks.
#[derive(Debug)]
pub(in crate::locks) struct Queued {
    role: QueueRole,
    life: Option<u64>,
    next_number: u64,
    attempts: BTreeMap<LockId, Attempt>,
}

#[derive(Debug)]
struct Attempt {
    stage: Stage,
    owner: Owner,
    /// Its number at the service, and here.
    number: u64,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    NeedsSession,
    Waiting { call: u64 },
    Held,
    Releasing { call: u64 },
}

impl Queued {
    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Asks for the lock, as soon as there is a session.
    fn go(&mut self, lock: LockId, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        let Some(attempt) = self.attempts.get_mut(&lock) else { return };
        if self.role.has_sessions {
            let Some(session) = core.session() else {
                attempt.stage = Stage::NeedsSession;
                core.open_session(ctx);
                return;
            };
            attempt.owner = Owner::Session(session);
        }
        let command = attempt.command(lock, self.role.lock_delay);
        attempt.stage = Stage::Waiting { call: core.ask(command, ctx) };
    }

    fn of_call(&self, id: u64) -> Option<LockId> {
        let is_of = |attempt: &Attempt| match attempt.stage {
            Stage::Waiting { call } | Stage::Releasing { call } => call == id,
            Stage::NeedsSession | Stage::Held => false,
        };
        self.attempts.iter().find(|(_, attempt)| is_of(attempt)).map(|(lock, _)| *lock)
    }
}

impl Attempt {
    const fn command(&self, lock: LockId, delay: SimDuration) -> Command {
        Command::Acquire { lock, owner: self.owner, number: self.number, delay }
    }
}

impl Flow for Queued {
    type Machine = Queues;
    type Role = QueueRole;

    fn boot(role: &QueueRole) -> Self {
        Self { role: role.clone(), life: None, next_number: 0, attempts: BTreeMap::new() }
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
        let life = *self.life.get_or_insert_with(|| ctx.rng().word());
        let number = self.number();
        let attempt = Attempt { stage: Stage::NeedsSession, owner: Owner::Life(life), number };
        self.attempts.insert(lock, attempt);
        if let Some(until) = until {
            ctx.set_timer(until.since(ctx.now()), Timer::Patience(lock, number));
        }
        self.go(lock, core, ctx);
    }

    fn is_valid(&self, lock: LockId, core: &Core<Self>, now: SimTime) -> bool {
        let attempt = self.attempts.get(&lock).filter(|a| matches!(a.stage, Stage::Held));
        attempt.is_some_and(|attempt| match attempt.owner {
            Owner::Life(_) => true,
            Owner::Session(session) => core.is_sure_of(session, now),
        })
    }

    fn release(&mut self, lock: LockId, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        let number = self.number();
        match self.attempts.get_mut(&lock) {
            Some(attempt) if matches!(attempt.stage, Stage::Held) => {
                let command = Command::Release { lock, owner: attempt.owner, number };
                attempt.stage = Stage::Releasing { call: core.ask(command, ctx) };
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
                core.forget_session();
                self.session(Fate::Over, core, ctx);
            }
            Answer::Queued => core.wait_on(id, attempt.command(lock, self.role.lock_delay), ctx),
            Answer::Granted(token) => {
                attempt.stage = Stage::Held;
                let valid_for = self.role.has_sessions.then(|| core.valid_for(ctx.now())).flatten();
                ctx.indicate(Indication::Granted { lock, token: Some(token), valid_for });
            }
            Answer::Released(was_held) => {
                let is_over = matches!(attempt.stage, Stage::Releasing { .. });
                self.attempts.remove(&lock);
                ctx.indicate(if is_over {
                    let how = if was_held { Release::Done } else { Release::NotHeld };
                    Indication::Released { lock, how }
                } else {
                    Indication::Refused { lock, why: Refusal::Error }
                });
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
        let owner = waiting.owner;
        match waiting.stage {
            Stage::NeedsSession => (),
            Stage::Waiting { call } => {
                core.drop_call(call, ctx);
                let number = self.number();
                core.ask(Command::Release { lock, owner, number }, ctx);
            }
            Stage::Held | Stage::Releasing { .. } => return,
        }
        self.attempts.remove(&lock);
        ctx.indicate(Indication::Refused { lock, why: Refusal::Patience });
    }

    fn session(&mut self, fate: Fate, core: &mut Core<Self>, ctx: &mut Ctx<'_, Self>) {
        for lock in self.attempts.keys().copied().collect::<Vec<_>>() {
            let Some(attempt) = self.attempts.get(&lock) else { continue };
            match (fate, attempt.stage) {
                (Fate::Opened, Stage::NeedsSession) => self.go(lock, core, ctx),
                (Fate::Extended(valid_for), Stage::Held) => {
                    ctx.indicate(Indication::Extended { lock, valid_for });
                }
                // In doubt, an application does nothing until it knows: this one gives up.
                (Fate::InDoubt | Fate::Over, Stage::Held) => ctx.indicate(Indication::Lost(lock)),
                (Fate::Over, Stage::Waiting { call }) => {
                    core.drop_call(call, ctx);
                    self.go(lock, core, ctx);
                }
                (Fate::Opened | Fate::Over | Fate::Extended(_) | Fate::InDoubt, _) => (),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::node::NodeId;

    const LOCK: LockId = LockId(0);

    /// Applies commands of clients, each with its own number, and gives the answers.
    fn apply(state: &mut Queues, index: u64, client: u32, command: Command) -> Vec<String> {
        let mut out = Outcome::new(index);
        let asker = Asker { client: NodeId(client), id: index };
        state.apply(asker, &command, &mut out);
        let told =
            out.answers.iter().map(|(asker, _, answer)| format!("{} {answer:?}", asker.client.0));
        told.collect()
    }

    fn acquire(client: u32, number: u64) -> Command {
        let owner = Owner::Life(u64::from(client));
        Command::Acquire { lock: LOCK, owner, number, delay: SimDuration::ZERO }
    }

    fn release(client: u32, number: u64) -> Command {
        Command::Release { lock: LOCK, owner: Owner::Life(u64::from(client)), number }
    }

    fn holder_of(state: &Queues, lock: LockId) -> Option<NodeId> {
        let queue = state.by_lock.get(&lock).filter(|queue| queue.token.is_some())?;
        queue.places.front().map(|place| place.asker.client)
    }

    #[test]
    fn the_first_to_ask_is_the_first_to_have_it() {
        let mut state = Queues::default();
        assert_eq!(apply(&mut state, 1, 1, acquire(1, 1)), ["1 Granted(Token(1))"]);
        assert_eq!(apply(&mut state, 2, 2, acquire(2, 1)), ["2 Queued"]);
        assert_eq!(apply(&mut state, 3, 3, acquire(3, 1)), ["3 Queued"]);
        let told = apply(&mut state, 4, 1, release(1, 2));
        assert_eq!(told, ["2 Granted(Token(4))", "1 Released(true)"]);
        assert_eq!(apply(&mut state, 5, 2, release(2, 2))[0], "3 Granted(Token(5))");
    }

    #[test]
    fn what_is_asked_again_is_done_once() {
        let mut state = Queues::default();
        apply(&mut state, 1, 1, acquire(1, 1));
        apply(&mut state, 2, 2, acquire(2, 1));
        assert_eq!(apply(&mut state, 3, 1, acquire(1, 1)), ["1 Granted(Token(1))"]);
        apply(&mut state, 4, 1, release(1, 2));
        // The second copy of a release, and one of an acquisition before it.
        assert_eq!(apply(&mut state, 5, 1, release(1, 2)), ["1 Released(true)"]);
        assert!(apply(&mut state, 6, 1, acquire(1, 1)).is_empty());
        assert_eq!(holder_of(&state, LOCK), Some(NodeId(2)));
        // Nor does a late copy release what was acquired since.
        apply(&mut state, 7, 2, release(2, 2));
        apply(&mut state, 8, 1, acquire(1, 3));
        assert!(apply(&mut state, 9, 1, release(1, 2)).is_empty());
        assert_eq!(holder_of(&state, LOCK), Some(NodeId(1)));
    }

    #[test]
    fn a_lock_whose_session_ran_out_stays_free_for_its_delay_and_one_released_does_not() {
        let mut state = Queues::default();
        let delay = SimDuration::from_secs(1);
        for client in [1, 2, 3] {
            let timeout = SimDuration::from_secs(12);
            let session = u64::from(client);
            apply(&mut state, session, client, Command::Open { session, timeout });
            let owner = Owner::Session(session);
            let command = Command::Acquire { lock: LOCK, owner, number: 1, delay };
            apply(&mut state, 10 + session, client, command);
        }
        let owner = Owner::Session(1);
        apply(&mut state, 20, 1, Command::Release { lock: LOCK, owner, number: 2 });
        assert_eq!(state.holder(LOCK), Some(Token(20)));
        let mut out = Outcome::new(21);
        state.expire(2, &mut out);
        assert_eq!(out.delays_begun, [(LOCK, delay)]);
        assert_eq!(state.holder(LOCK), None);
        state.end_delay(LOCK, &mut Outcome::new(22));
        assert_eq!(holder_of(&state, LOCK), Some(NodeId(3)));
    }
}
