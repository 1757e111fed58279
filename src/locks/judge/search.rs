//! Whether a history of operations that overlap is linearizable, by search.
//!
//! Wing and Gong, "Testing and Verifying Concurrent Objects", J. Parallel Distrib. Comput. 17,
//! 1993, with Lowe's memo of what was linearized and the state that it led to ("Testing for
//! Linearizability", Concurrency Computat. Pract. Exper. 29(4), 2017). Exponential at worst, in
//! the number of operations that overlap; it gives up after so many steps, and says so. Needed
//! where an operation that *failed* says something, as a try that found the lock taken does;
//! for mutexes without such there is [`linear`](super::linear), which needs no search.

use std::collections::{BTreeMap, BTreeSet};

/// What is searched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Object {
    /// A lock with an owner; tokens, where there are any, must rise.
    Mutex,
    /// So many permits, each of which has an owner.
    Semaphore(u32),
    /// A value that is read, written and compared with.
    Register,
}

/// What an operation asked, and what it was told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// Some permits were acquired, of a mutex one, with a token where there is one.
    Acquired {
        /// How many.
        permits: u32,
        /// The token.
        token: Option<u64>,
    },
    /// So many permits were not to be had.
    NotAcquired {
        /// How many.
        permits: u32,
    },
    /// Some permits were given back.
    Released {
        /// How many.
        permits: u32,
    },
    /// They were not the releaser's to give back.
    NotReleased {
        /// How many.
        permits: u32,
    },
    /// A value was read; values are numbered, and 0 is what was there first.
    Read(u32),
    /// A value was written.
    Wrote(u32),
    /// The value was the first of these, and became the second.
    Swapped(u32, u32),
    /// The value was not this one.
    NotSwapped(u32),
}

/// An operation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Operation {
    /// Who asked.
    pub process: u32,
    /// What.
    pub call: Call,
    /// When it was asked, in any unit that orders all instants.
    pub invoked: u64,
    /// When the answer came; `None` where none did, and it may have happened at any time since
    /// then, or never.
    pub returned: Option<u64>,
}

/// What came of a search.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// An order that explains everything.
    Linearizable,
    /// None does. The operation that the longest attempt could not place: an index.
    Not {
        /// Which.
        stuck: usize,
        /// How many were placed before it.
        placed: usize,
    },
    /// It would have taken more steps than were allowed.
    Unknown,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum State {
    /// Whose the permits are, and the last token.
    Permits(BTreeMap<u32, u32>, u64),
    Value(u32),
}

impl Object {
    fn start(self) -> State {
        match self {
            Self::Mutex | Self::Semaphore(_) => State::Permits(BTreeMap::new(), 0),
            Self::Register => State::Value(0),
        }
    }

    /// What `call` leads to, where it is legal.
    fn step(self, state: &State, process: u32, call: Call) -> Option<State> {
        match state {
            State::Permits(held, last) => {
                let most = if let Self::Semaphore(permits) = self { permits } else { 1 };
                let taken: u32 = held.values().sum();
                let own = held.get(&process).copied().unwrap_or(0);
                match call {
                    Call::Acquired { permits, token } => {
                        let is_legal =
                            taken + permits <= most && token.is_none_or(|token| *last < token);
                        is_legal.then(|| {
                            let mut held = held.clone();
                            held.insert(process, own + permits);
                            State::Permits(held, token.unwrap_or(*last))
                        })
                    }
                    Call::NotAcquired { permits } => {
                        (most < taken + permits).then(|| state.clone())
                    }
                    Call::Released { permits } => (permits <= own).then(|| {
                        let mut held = held.clone();
                        if own == permits {
                            held.remove(&process);
                        } else {
                            held.insert(process, own - permits);
                        }
                        State::Permits(held, *last)
                    }),
                    Call::NotReleased { permits } => (own < permits).then(|| state.clone()),
                    Call::Read(_) | Call::Wrote(_) | Call::Swapped(..) | Call::NotSwapped(_) => {
                        None
                    }
                }
            }
            State::Value(value) => match call {
                Call::Read(read) => (read == *value).then(|| state.clone()),
                Call::Wrote(written) => Some(State::Value(written)),
                Call::Swapped(from, to) => (from == *value).then_some(State::Value(to)),
                Call::NotSwapped(from) => (from != *value).then(|| state.clone()),
                Call::Acquired { .. }
                | Call::NotAcquired { .. }
                | Call::Released { .. }
                | Call::NotReleased { .. } => None,
            },
        }
    }
}

/// Where an operation begins or ends.
#[derive(Clone, Copy)]
struct Mark {
    operation: usize,
    is_return: bool,
    before: usize,
    after: usize,
}

/// Searches for an order of `operations` that `object` allows and real time too, in at most
/// `steps_max` steps. A step tries one operation at one place.
pub fn search(object: Object, operations: &[Operation], steps_max: u64) -> Found {
    let mut marks = Marks::of(operations);
    let mut state = object.start();
    let mut placed = vec![0_u64; operations.len().div_ceil(64)];
    let mut seen: BTreeSet<(Vec<u64>, State)> = BTreeSet::new();
    // What was placed, where its marks were, and the state before it.
    let mut stack: Vec<(usize, State)> = Vec::new();
    let (mut best, mut steps) = ((0, 0), 0);
    let mut at = marks.first();
    loop {
        // At the end of the list no operation that returned is left.
        let Some(mark) = at else { return Found::Linearizable };
        let Mark { operation, is_return, after, .. } = marks.list[mark];
        if !is_return {
            steps += 1;
            if steps_max < steps {
                return Found::Unknown;
            }
            let Operation { process, call, .. } = operations[operation];
            let next = object.step(&state, process, call).filter(|next| {
                placed[operation / 64] |= 1 << (operation % 64);
                let is_new = seen.insert((placed.clone(), next.clone()));
                if !is_new {
                    placed[operation / 64] &= !(1 << (operation % 64));
                }
                is_new
            });
            match next {
                Some(next) => {
                    stack.push((mark, std::mem::replace(&mut state, next)));
                    marks.lift(mark);
                    at = marks.first();
                }
                None => at = Marks::some(after),
            }
            continue;
        }
        // It returned before anything else can be placed: this attempt has failed.
        if best.0 <= stack.len() {
            best = (stack.len(), operation);
        }
        let Some((mark, before)) = stack.pop() else {
            return Found::Not { placed: best.0, stuck: best.1 };
        };
        let operation = marks.list[mark].operation;
        placed[operation / 64] &= !(1 << (operation % 64));
        state = before;
        marks.put_back(mark);
        at = Marks::some(marks.list[mark].after);
    }
}

/// All marks in the order of time, as a list from which operations are lifted and put back.
struct Marks {
    list: Vec<Mark>,
    /// The mark of the return of each operation; [`Self::NONE`] where there is none.
    returns: Vec<usize>,
}

impl Marks {
    /// The head of the list stands at its place 0.
    const HEAD: usize = 0;
    const NONE: usize = usize::MAX;

    fn of(operations: &[Operation]) -> Self {
        let mut order: Vec<(u64, bool, usize)> = Vec::new();
        for (index, operation) in operations.iter().enumerate() {
            order.push((operation.invoked, false, index));
            order.extend(operation.returned.map(|at| (at, true, index)));
        }
        // What begins at the instant at which another ends overlaps it.
        order.sort_unstable();
        let head = Mark { operation: Self::NONE, is_return: false, before: Self::NONE, after: 1 };
        let mut list = vec![head];
        let mut returns = vec![Self::NONE; operations.len()];
        let count = order.len();
        for (place, (_, is_return, operation)) in order.into_iter().enumerate() {
            if is_return {
                returns[operation] = place + 1;
            }
            let after = if place + 1 == count { Self::NONE } else { place + 2 };
            list.push(Mark { operation, is_return, before: place, after });
        }
        if count == 0 {
            list[Self::HEAD].after = Self::NONE;
        }
        Self { list, returns }
    }

    fn some(place: usize) -> Option<usize> {
        (place != Self::NONE).then_some(place)
    }

    fn first(&self) -> Option<usize> {
        Self::some(self.list[Self::HEAD].after)
    }

    fn unlink(&mut self, place: usize) {
        let Mark { before, after, .. } = self.list[place];
        self.list[before].after = after;
        if after != Self::NONE {
            self.list[after].before = before;
        }
    }

    fn link(&mut self, place: usize) {
        let Mark { before, after, .. } = self.list[place];
        self.list[before].after = place;
        if after != Self::NONE {
            self.list[after].before = place;
        }
    }

    /// Takes out the operation that begins at `place`.
    fn lift(&mut self, place: usize) {
        self.unlink(place);
        let end = self.returns[self.list[place].operation];
        if end != Self::NONE {
            self.unlink(end);
        }
    }

    /// Puts back what was lifted last.
    fn put_back(&mut self, place: usize) {
        let end = self.returns[self.list[place].operation];
        if end != Self::NONE {
            self.link(end);
        }
        self.link(place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Seed;

    const PLENTY: u64 = 1_000_000;

    fn operation(process: u32, call: Call, invoked: u64, returned: u64) -> Operation {
        Operation { process, call, invoked, returned: Some(returned) }
    }

    fn acquired(token: Option<u64>) -> Call {
        Call::Acquired { permits: 1, token }
    }

    const RELEASED: Call = Call::Released { permits: 1 };
    const BUSY: Call = Call::NotAcquired { permits: 1 };

    fn is_linearizable(object: Object, operations: &[Operation]) -> bool {
        search(object, operations, PLENTY) == Found::Linearizable
    }

    #[test]
    fn a_try_fails_only_while_somebody_may_hold_the_lock() {
        let held = [
            operation(0, acquired(None), 0, 2),
            operation(1, BUSY, 3, 4),
            operation(0, RELEASED, 5, 6),
        ];
        assert!(is_linearizable(Object::Mutex, &held));
        let free = [
            operation(0, acquired(None), 0, 2),
            operation(0, RELEASED, 3, 4),
            operation(1, BUSY, 5, 6),
        ];
        assert_eq!(
            search(Object::Mutex, &free, PLENTY),
            Found::Not { stuck: 2, placed: 2 },
            "nobody can hold it from 4 to 5"
        );
        // An acquisition that nobody heard of the end of explains it.
        let maybe = Operation { process: 2, call: acquired(None), invoked: 1, returned: None };
        assert!(is_linearizable(Object::Mutex, &[&free[..], &[maybe]].concat()));
    }

    #[test]
    fn only_the_owner_releases_and_tokens_rise() {
        let foreign = [operation(0, acquired(None), 0, 1), operation(1, RELEASED, 2, 3)];
        assert!(!is_linearizable(Object::Mutex, &foreign));
        let twice = [operation(0, acquired(None), 0, 1), operation(1, acquired(None), 2, 3)];
        assert!(!is_linearizable(Object::Mutex, &twice));
        let with = |second| {
            [
                operation(0, acquired(Some(5)), 0, 1),
                operation(0, RELEASED, 2, 3),
                operation(1, acquired(Some(second)), 4, 5),
            ]
        };
        assert!(is_linearizable(Object::Mutex, &with(6)));
        assert!(!is_linearizable(Object::Mutex, &with(5)));
        // A grant without a token in between hides nothing.
        let three = [
            operation(0, acquired(Some(5)), 0, 1),
            operation(0, RELEASED, 2, 3),
            operation(1, acquired(None), 4, 5),
            operation(1, RELEASED, 6, 7),
            operation(0, acquired(Some(3)), 8, 9),
        ];
        assert!(!is_linearizable(Object::Mutex, &three));
    }

    #[test]
    fn a_semaphore_has_as_many_permits_as_it_has() {
        let two = [operation(0, acquired(None), 0, 1), operation(1, acquired(None), 2, 3)];
        assert!(is_linearizable(Object::Semaphore(2), &two));
        assert!(!is_linearizable(Object::Semaphore(1), &two));
        let full = [&two[..], &[operation(2, BUSY, 4, 5)]].concat();
        assert!(is_linearizable(Object::Semaphore(2), &full));
        assert!(!is_linearizable(Object::Semaphore(3), &full));
        let foreign = [two[0], operation(1, RELEASED, 2, 3)];
        assert!(!is_linearizable(Object::Semaphore(2), &foreign));
    }

    #[test]
    fn permits_are_taken_and_given_back_by_number() {
        let take = |process, permits, at| {
            operation(process, Call::Acquired { permits, token: None }, at, at + 1)
        };
        let give =
            |process, permits, at| operation(process, Call::Released { permits }, at, at + 1);
        let of = |operations: &[Operation]| is_linearizable(Object::Semaphore(3), operations);
        assert!(of(&[take(0, 2, 0), take(1, 1, 2)]));
        assert!(!of(&[take(0, 2, 0), take(1, 2, 2)]));
        // What one takes twice it has twice, and keeps what it does not give back.
        assert!(of(&[take(0, 1, 0), take(0, 1, 2), give(0, 2, 4), take(1, 3, 6)]));
        assert!(!of(&[take(0, 2, 0), give(0, 1, 2), take(1, 3, 4)]));
    }

    #[test]
    fn a_register_is_read_as_it_was_written_last() {
        let stale = [
            operation(0, Call::Wrote(1), 0, 1),
            operation(0, Call::Wrote(2), 2, 3),
            operation(1, Call::Read(1), 4, 5),
        ];
        assert!(!is_linearizable(Object::Register, &stale));
        let overlapping = [stale[0], operation(0, Call::Wrote(2), 2, 9), stale[2]];
        assert!(is_linearizable(Object::Register, &overlapping));
        let swaps = [
            operation(0, Call::Swapped(0, 1), 0, 1),
            operation(1, Call::NotSwapped(0), 2, 3),
            operation(1, Call::Read(1), 4, 5),
        ];
        assert!(is_linearizable(Object::Register, &swaps));
        assert!(!is_linearizable(Object::Register, &[swaps[1]]));
        let from_another = operation(0, Call::Swapped(2, 1), 0, 1);
        assert!(!is_linearizable(Object::Register, &[from_another]));
    }

    #[test]
    fn it_gives_up_after_so_many_steps() {
        // Each of many writes may come before each other one, and no order explains the read.
        let mut operations: Vec<Operation> =
            (0..24).map(|n| operation(n, Call::Wrote(n + 1), 0, 100)).collect();
        operations.push(operation(99, Call::Read(77), 0, 100));
        assert_eq!(search(Object::Register, &operations, 10_000), Found::Unknown);
        let one = [operation(0, Call::Wrote(1), 0, 1)];
        assert_eq!(search(Object::Register, &one, 1), Found::Linearizable);
        assert_eq!(search(Object::Register, &one, 0), Found::Unknown);
    }

    /// Tries all orders that respect real time, without any memo.
    fn exhaustive(object: Object, state: &State, left: &[Operation]) -> bool {
        if left.iter().all(|operation| operation.returned.is_none()) {
            return true;
        }
        let first_return = left.iter().filter_map(|operation| operation.returned).min();
        (0..left.len()).any(|index| {
            let Operation { process, call, invoked, .. } = left[index];
            let mut rest = left.to_vec();
            rest.remove(index);
            first_return.is_none_or(|first| invoked <= first)
                && object
                    .step(state, process, call)
                    .is_some_and(|next| exhaustive(object, &next, &rest))
        })
    }

    #[test]
    fn it_agrees_with_an_exhaustive_search_on_random_histories() {
        let mut rng = Seed(7).stream("test", "search");
        let mut verdicts = [0, 0];
        for round in 0..6_000 {
            let object = [Object::Mutex, Object::Semaphore(2), Object::Register][round % 3];
            let mut operations = Vec::new();
            for process in 0..3 {
                let mut at = rng.below(4);
                for _ in 0..=rng.below(2) {
                    let invoked = at + rng.below(3);
                    let returned = invoked + 1 + rng.below(5);
                    at = returned + 1;
                    let call = match (object, rng.below(4)) {
                        (Object::Register, 0) => Call::Wrote(rng.below(3) as u32),
                        (Object::Register, 1) => {
                            Call::Swapped(rng.below(3) as u32, rng.below(3) as u32)
                        }
                        (Object::Register, 2) => Call::NotSwapped(rng.below(3) as u32),
                        (Object::Register, _) => Call::Read(rng.below(3) as u32),
                        (_, 0) => RELEASED,
                        (_, 1) => BUSY,
                        _ => acquired(None),
                    };
                    let returned = (0 < rng.below(8)).then_some(returned);
                    operations.push(Operation { process, call, invoked, returned });
                }
            }
            let expected = exhaustive(object, &object.start(), &operations);
            assert_eq!(is_linearizable(object, &operations), expected, "{object:?} {operations:?}");
            verdicts[usize::from(expected)] += 1;
        }
        assert!(500 < verdicts[0].min(verdicts[1]), "{verdicts:?}");
    }
}
