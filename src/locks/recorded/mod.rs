//! Histories that were recorded elsewhere: of a user's own lock, or by Jepsen.
//!
//! `docs/histories.md` tells the format. A line is an event: an operation is invoked, and later it
//! is `ok`, has failed, or its end is not known (`info`); a resource says what it did (`effect`);
//! a process dies. [`read`] makes operations of that, and [`judge`] holds them against everything
//! that clients and a resource can tell. What the service itself had on its books they cannot:
//! that judge has nothing to say here.

mod edn;
mod opinion;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::Value as Json;

pub use opinion::{JUDGES, Opinion, Options, Outcome, judge};

/// A mistake in a history.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub text: String,
}

/// How a history is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notation {
    /// A JSON object a line.
    Json,
    /// EDN, as Jepsen writes it.
    Edn,
}

/// A history.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// The processes, in the order in which they appear.
    pub processes: Vec<String>,
    /// The locks, or keys, likewise.
    pub locks: Vec<String>,
    /// The operations, in the order of their invocations.
    pub operations: Vec<Operation>,
    /// What the resource did, in its order.
    pub effects: Vec<Effect>,
    /// When processes died.
    pub deaths: Vec<(Instant, usize)>,
    /// When the last event was, in nanoseconds.
    pub end_ns: u64,
}

/// A point of a history.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Instant {
    /// When, in nanoseconds.
    pub ns: u64,
    /// On which line.
    pub line: usize,
}

/// An operation of a process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operation {
    /// Whose: a place among the processes.
    pub process: usize,
    /// On which lock or key: a place among them.
    pub lock: usize,
    /// What.
    pub function: Function,
    /// When it was invoked.
    pub invoked: Instant,
    /// When it was over; `None` where that is not known.
    pub returned: Option<Instant>,
    /// How it ended.
    pub end: End,
    /// The fencing token that it was given, or came with.
    pub token: Option<u64>,
    /// For how long a lock is good from its grant on, in nanoseconds, where the client knows.
    pub valid_for_ns: Option<u64>,
    /// How many permits of a semaphore.
    pub permits: u32,
    /// What was read or written; of a swap, what it should have been and what it was to become.
    pub values: Vec<u32>,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Function {
    /// Acquire a lock, waiting for it; that it fails says nothing of the lock.
    Acquire,
    /// Acquire a lock if it is free; that it fails says that it was not.
    TryAcquire,
    /// Release a lock.
    Release,
    /// Read a value.
    Read,
    /// Write a value.
    Write,
    /// Write a value if it is the expected one.
    Swap,
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// It was done.
    Ok,
    /// It was not done.
    Failed,
    /// One or the other.
    Unknown,
}

/// What the resource did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Effect {
    /// When.
    pub at: Instant,
    /// For whom.
    pub process: usize,
    /// Of which lock's data.
    pub lock: usize,
    /// Whether it was a write.
    pub is_write: bool,
    /// The token that came along.
    pub token: Option<u64>,
    /// The value, where it is a whole number.
    pub value: Option<u64>,
    /// Whether it was let through.
    pub is_accepted: bool,
}

/// Reads a history.
///
/// # Errors
/// With every mistake, by line: a history that is half understood is not judged.
pub fn read(text: &str, notation: Notation) -> Result<Recorded, Vec<Mistake>> {
    let mut reader = Reader { is_strict: notation == Notation::Json, ..Reader::default() };
    let mut untimed = None;
    match notation {
        Notation::Json => {
            for (index, line) in text.lines().enumerate() {
                if line.trim().is_empty() {
                    continue;
                }
                match serde_json::from_str(line) {
                    Ok(event) => reader.event(index + 1, &event, &mut untimed),
                    Err(error) => {
                        let text = format!("column {}: not JSON: {error}", error.column());
                        reader.mistakes.push(Mistake { line: index + 1, text });
                    }
                }
            }
        }
        Notation::Edn => match edn::read(text) {
            Ok(events) => {
                for event in events {
                    reader.event(event.line, &event.value, &mut untimed);
                }
            }
            Err((line, text)) => reader.mistakes.push(Mistake { line, text }),
        },
    }
    if reader.history.operations.is_empty() && reader.mistakes.is_empty() {
        let text = "the history has no operation".into();
        reader.mistakes.push(Mistake { line: 1, text });
    }
    if reader.mistakes.is_empty() { Ok(reader.history) } else { Err(reader.mistakes) }
}

#[derive(Default)]
struct Reader {
    history: Recorded,
    mistakes: Vec<Mistake>,
    /// For each process, its operation that is under way.
    open: BTreeMap<usize, usize>,
    /// Values by their text; 0 is the one that was there first.
    values: BTreeMap<String, u32>,
    last_ns: u64,
    /// Whether an unknown field is a mistake: tests of Jepsen's add fields of their own.
    is_strict: bool,
}

/// The fields of an event that are understood, or known to be of no matter: `index` is Jepsen's.
const FIELDS: &[&str] = &[
    "type",
    "process",
    "f",
    "time",
    "lock",
    "key",
    "token",
    "fence",
    "value",
    "valid_for",
    "permits",
    "accepted",
    "index",
    "error",
];

impl Reader {
    fn wrong(&mut self, line: usize, text: String) {
        self.mistakes.push(Mistake { line, text });
    }

    /// `untimed` is whether events have no times, once one has been seen.
    fn event(&mut self, line: usize, event: &Json, untimed: &mut Option<bool>) {
        if let Err(text) = self.try_event(line, event, untimed) {
            self.wrong(line, text);
        }
    }

    fn try_event(
        &mut self,
        line: usize,
        event: &Json,
        untimed: &mut Option<bool>,
    ) -> Result<(), String> {
        let Json::Object(fields) = event else {
            return Err("expected an object with type, process and f".into());
        };
        let kind = text_of(event, "type")?;
        let process = match &event["process"] {
            Json::Number(number) => number.to_string(),
            Json::String(name) if name == "nemesis" => return Ok(()),
            Json::String(name) => name.clone(),
            other => return Err(format!("found process {other}, expected a number or a name")),
        };
        let unknown = fields.keys().find(|field| !FIELDS.contains(&field.as_str()));
        if let Some(field) = unknown.filter(|_| self.is_strict) {
            return Err(format!("unknown field `{field}`: expected one of {}", FIELDS.join(", ")));
        }
        let at = Instant { ns: self.time(line, event, untimed)?, line };
        let process = place(&mut self.history.processes, &process);
        let function = text_of(event, "f")?;
        if function == "crash" {
            self.history.deaths.push((at, process));
            if let Some(index) = self.open.remove(&process) {
                self.history.operations[index].end = End::Unknown;
            }
            return Ok(());
        }
        let function = match function {
            "acquire" | "lock" => Function::Acquire,
            "try_acquire" | "try-acquire" | "try_lock" | "try-lock" => Function::TryAcquire,
            "release" | "unlock" => Function::Release,
            "read" => Function::Read,
            "write" => Function::Write,
            "cas" => Function::Swap,
            other => {
                return Err(format!(
                    "found f `{other}`, expected acquire, try_acquire, release, read, write, cas \
                     or crash"
                ));
            }
        };
        match kind {
            "invoke" => self.invoke(at, process, function, event),
            "ok" => self.complete(at, process, function, event, End::Ok),
            "fail" => self.complete(at, process, function, event, End::Failed),
            "info" => self.complete(at, process, function, event, End::Unknown),
            "effect" => self.effect(at, process, function, event),
            other => {
                Err(format!("found type `{other}`, expected invoke, ok, fail, info or effect"))
            }
        }
    }

    /// The time of an event in nanoseconds; where there are none, its place in the file.
    fn time(
        &mut self,
        line: usize,
        event: &Json,
        untimed: &mut Option<bool>,
    ) -> Result<u64, String> {
        let time = number_of(event, "time")?;
        if *untimed.get_or_insert(time.is_none()) != time.is_none() {
            return Err("some events have a time and others have none".into());
        }
        let ns = time.unwrap_or(line as u64);
        if ns < self.last_ns {
            return Err(format!(
                "its time {ns} is before that of an earlier event, {}",
                self.last_ns
            ));
        }
        self.last_ns = ns;
        self.history.end_ns = ns;
        Ok(ns)
    }

    fn lock(&mut self, event: &Json) -> Option<usize> {
        let name = ["lock", "key"].into_iter().find_map(|field| match &event[field] {
            Json::String(name) => Some(name.clone()),
            Json::Number(number) => Some(number.to_string()),
            _ => None,
        });
        name.map(|name| place(&mut self.history.locks, &name))
    }

    /// A value by its number; null is what was there first.
    fn value(&mut self, value: &Json) -> u32 {
        if value.is_null() {
            return 0;
        }
        let next = self.values.len() as u32 + 1;
        *self.values.entry(value.to_string()).or_insert(next)
    }

    fn values(&mut self, function: Function, event: &Json) -> Result<Vec<u32>, String> {
        match (function, &event["value"]) {
            (Function::Read | Function::Write, value) => Ok(vec![self.value(value)]),
            (Function::Swap, Json::Array(pair)) if pair.len() == 2 => {
                Ok(pair.iter().map(|value| self.value(value)).collect())
            }
            (Function::Swap, other) => {
                Err(format!("found value {other}, expected what it should be and what it becomes"))
            }
            (Function::Acquire | Function::TryAcquire | Function::Release, _) => Ok(Vec::new()),
        }
    }

    fn invoke(
        &mut self,
        at: Instant,
        process: usize,
        function: Function,
        event: &Json,
    ) -> Result<(), String> {
        if let Some(&index) = self.open.get(&process) {
            return Err(format!(
                "process {} begins something though what it began on line {} is not over",
                self.history.processes[process], self.history.operations[index].invoked.line
            ));
        }
        let lock = self.lock(event).unwrap_or_else(|| place(&mut self.history.locks, "lock"));
        let permits = match number_of(event, "permits")? {
            Some(count @ 1..=1_000_000) => count as u32,
            None => 1,
            Some(other) => return Err(format!("found {other} permits, expected 1 to 1000000")),
        };
        let values = self.values(function, event)?;
        self.open.insert(process, self.history.operations.len());
        self.history.operations.push(Operation {
            process,
            lock,
            function,
            invoked: at,
            returned: None,
            end: End::Unknown,
            token: token_of(event)?,
            valid_for_ns: None,
            permits,
            values,
        });
        Ok(())
    }

    fn complete(
        &mut self,
        at: Instant,
        process: usize,
        function: Function,
        event: &Json,
        end: End,
    ) -> Result<(), String> {
        let Some(index) = self.open.remove(&process) else {
            let name = &self.history.processes[process];
            return Err(format!("process {name} ends something that it did not begin"));
        };
        let lock = self.lock(event);
        let (token, valid_for_ns) = (token_of(event)?, number_of(event, "valid_for")?);
        let read = (function == Function::Read && end == End::Ok)
            .then(|| self.values(function, event))
            .transpose()?;
        let operation = &mut self.history.operations[index];
        let line = operation.invoked.line;
        if operation.function != function {
            return Err(format!("it ends another operation than began on line {line}"));
        }
        if lock.is_some_and(|lock| lock != operation.lock) {
            return Err(format!("it is about another lock than what began on line {line}"));
        }
        operation.end = end;
        operation.returned = (end != End::Unknown).then_some(at);
        operation.token = token.or(operation.token);
        operation.valid_for_ns = valid_for_ns;
        if let Some(read) = read {
            operation.values = read;
        }
        Ok(())
    }

    fn effect(
        &mut self,
        at: Instant,
        process: usize,
        function: Function,
        event: &Json,
    ) -> Result<(), String> {
        let is_write = match function {
            Function::Read => false,
            Function::Write => true,
            _ => return Err("an effect is a read or a write".into()),
        };
        let is_accepted = match &event["accepted"] {
            Json::Null => true,
            Json::Bool(is_accepted) => *is_accepted,
            other => return Err(format!("found accepted {other}, expected true or false")),
        };
        let lock = self.lock(event).unwrap_or_else(|| place(&mut self.history.locks, "lock"));
        self.history.effects.push(Effect {
            at,
            process,
            lock,
            is_write,
            token: token_of(event)?,
            value: event["value"].as_u64(),
            is_accepted,
        });
        Ok(())
    }
}

/// The place of `name` among `names`, at the end of which it is put where it is new.
fn place(names: &mut Vec<String>, name: &str) -> usize {
    match names.iter().position(|other| other == name) {
        Some(index) => index,
        None => {
            names.push(name.to_owned());
            names.len() - 1
        }
    }
}

fn text_of<'a>(event: &'a Json, field: &str) -> Result<&'a str, String> {
    match &event[field] {
        Json::String(text) => Ok(text),
        Json::Null => Err(format!("the field `{field}` is missing")),
        other => Err(format!("found {field} {other}, expected a word")),
    }
}

fn number_of(event: &Json, field: &str) -> Result<Option<u64>, String> {
    match &event[field] {
        Json::Null => Ok(None),
        value => match value.as_u64() {
            Some(number) => Ok(Some(number)),
            None => Err(format!("found {field} {value}, expected a whole number")),
        },
    }
}

/// The token of an event: `token`, or `fence` there or in the value, as Jepsen's tests of fenced
/// locks have it.
fn token_of(event: &Json) -> Result<Option<u64>, String> {
    for field in ["token", "fence"] {
        if let Some(token) = number_of(event, field)? {
            return Ok(Some(token));
        }
    }
    match &event["value"] {
        value @ Json::Object(_) => number_of(value, "fence"),
        _ => Ok(None),
    }
}
