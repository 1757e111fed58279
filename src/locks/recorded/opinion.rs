//! What the judges make of a recorded history.

use std::collections::BTreeMap;

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::history::{Grant, GrantEnd, History, Wait, WaitEnd};
use crate::locks::judge::search::{self, Call, Found, Object};
use crate::locks::judge::{belief, effect, linear, liveness};
use crate::locks::resource::{self, Access};
use crate::locks::section::SectionId;
use crate::locks::{Authority, Fact, Freed, LockId, Servers, Shards, Token};
use crate::model::cluster::Change;
use crate::model::directory::Directory;
use crate::model::node::NodeId;

use super::{End, Function, Operation, Recorded};

/// What is to be judged, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Options {
    /// How many permits there are; 1 for a mutex.
    pub permits: u32,
    /// Whether a holder may acquire again.
    pub is_reentrant: bool,
    /// How many steps the search for an order may take, for each lock or key.
    pub steps_max: u64,
    /// How many grants to others, who asked later, a wait may see; `None` for any number.
    pub bypass_max: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self { permits: 1, is_reentrant: false, steps_max: 1_000_000, bypass_max: None }
    }
}

/// What one judge says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opinion {
    /// Which.
    pub judge: &'static str,
    /// How it stands.
    pub outcome: Outcome,
    /// What it looked at, in a few words.
    pub about: String,
    /// What is wrong: the line where it shows, where it shows on one, and what.
    pub findings: Vec<(Option<usize>, String)>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Nothing is wrong.
    Good,
    /// Something is.
    Bad,
    /// It gave up.
    Unknown,
    /// The history says nothing of it.
    Silent,
}

/// The names of the judges, in the order of their opinions.
pub const JUDGES: [&str; 5] = ["belief", "effect", "linearizable", "fencing", "liveness"];

/// Holds `recorded` against everything that can be told of it.
pub fn judge(recorded: &Recorded, options: &Options) -> Vec<Opinion> {
    let case = Case::of(recorded, *options);
    vec![case.belief(), case.effect(), case.linearizable(), case.fencing(), case.liveness()]
}

/// A history as the judges want it.
struct Case<'a> {
    recorded: &'a Recorded,
    options: Options,
    names: Directory,
    history: History,
    /// For each grant, the operation that it came of.
    origins: Vec<usize>,
}

/// The node of a process.
fn node(process: usize) -> NodeId {
    NodeId(process as u32)
}

const fn at(ns: u64) -> SimTime {
    SimTime::from_ns(ns)
}

impl<'a> Case<'a> {
    fn of(recorded: &'a Recorded, options: Options) -> Self {
        let mut names = Directory::default();
        for name in &recorded.processes {
            names.add(format!("process {name}"), "client");
        }
        let service = names.add("service".into(), "server");
        let mut case = Self {
            recorded,
            options,
            names,
            history: History { end: at(recorded.end_ns), ..History::default() },
            origins: Vec::new(),
        };
        case.lay_out_grants(service);
        case.lay_out_effects();
        case
    }

    /// Waits, grants and what a service must have had on its books.
    fn lay_out_grants(&mut self, service: NodeId) {
        // What a process holds: the place of its grant, and how often it entered.
        let mut held = BTreeMap::<(usize, usize), (usize, u32)>::new();
        let mut events: Vec<(u64, usize, Event)> = Vec::new();
        for (index, operation) in self.recorded.operations.iter().enumerate() {
            let Operation { function, invoked, returned, end, .. } = operation;
            match (function, returned, end) {
                (Function::Acquire | Function::TryAcquire, Some(returned), End::Ok) => {
                    events.push((returned.ns, returned.line, Event::Acquired(index)));
                }
                (Function::Release, _, _) => {
                    events.push((invoked.ns, invoked.line, Event::Releases(index)));
                }
                _ => (),
            }
        }
        let deaths = self.recorded.deaths.iter();
        events.extend(deaths.map(|(when, process)| (when.ns, when.line, Event::Dies(*process))));
        events.sort_by_key(|(ns, line, _)| (*ns, *line));
        for (ns, _, event) in events {
            match event {
                Event::Acquired(index) => {
                    let operation = &self.recorded.operations[index];
                    let key = (operation.process, operation.lock);
                    match held.get_mut(&key) {
                        Some((_, entries)) if self.options.is_reentrant => *entries += 1,
                        _ => {
                            held.insert(key, (self.history.grants.len(), 1));
                            self.grant(index, ns, service);
                        }
                    }
                }
                Event::Releases(index) => {
                    let operation = &self.recorded.operations[index];
                    let key = (operation.process, operation.lock);
                    let Some((grant, entries)) = held.get_mut(&key) else { continue };
                    *entries -= 1;
                    if *entries == 0 {
                        let grant = &mut self.history.grants[*grant];
                        (grant.until, grant.ended) = (at(ns), Some(GrantEnd::Released));
                        held.remove(&key);
                        self.free(operation, service);
                    }
                }
                Event::Dies(process) => {
                    self.history.changes.push((at(ns), node(process), Change::ProcessDown));
                    held.retain(|(owner, _), (grant, _)| {
                        if *owner == process {
                            let grant = &mut self.history.grants[*grant];
                            (grant.until, grant.ended) = (at(ns), Some(GrantEnd::Died));
                        }
                        *owner != process
                    });
                }
            }
        }
        self.lay_out_waits();
    }

    fn grant(&mut self, index: usize, ns: u64, service: NodeId) {
        let operation = &self.recorded.operations[index];
        let (client, lock) = (node(operation.process), LockId(operation.lock as u32));
        let token = operation.token.map(Token);
        self.origins.push(index);
        self.history.grants.push(Grant {
            section: SectionId(index as u64),
            client,
            lock,
            token,
            requested: at(operation.invoked.ns),
            granted: at(ns),
            until: self.history.end,
            ended: None,
            deadline: operation
                .valid_for_ns
                .map_or(SimTime::END, |valid| at(ns) + SimDuration::from_ns(valid)),
            released: None,
        });
        let fact = Fact::Held { lock, by: client, token, expires: None, on: Authority::Books };
        self.history.facts.push((at(ns), service, fact));
    }

    fn free(&mut self, release: &Operation, service: NodeId) {
        if release.end == End::Failed {
            return;
        }
        let from = node(release.process);
        let fact = Fact::Freed {
            lock: LockId(release.lock as u32),
            from,
            how: Freed::Released(from),
            on: Authority::Books,
        };
        let done = release.returned.unwrap_or(release.invoked);
        self.history.facts.push((at(done.ns), service, fact));
    }

    fn lay_out_waits(&mut self) {
        for (index, operation) in self.recorded.operations.iter().enumerate() {
            if !matches!(operation.function, Function::Acquire | Function::TryAcquire) {
                continue;
            }
            let ended = match (operation.returned, operation.end) {
                (Some(returned), End::Ok) => Some((at(returned.ns), WaitEnd::Granted)),
                (Some(returned), _) => Some((at(returned.ns), WaitEnd::GaveUp)),
                // Whoever went on to something else, or died, no longer waits.
                (None, _) => self.went_on(index).map(|ns| (at(ns), WaitEnd::GaveUp)),
            };
            self.history.waits.push(Wait {
                section: SectionId(index as u64),
                client: node(operation.process),
                lock: LockId(operation.lock as u32),
                requested: at(operation.invoked.ns),
                ended,
            });
        }
        self.history.facts.sort_by_key(|(when, ..)| *when);
    }

    /// When a process did something else after an operation whose end is not known.
    fn went_on(&self, index: usize) -> Option<u64> {
        let of = &self.recorded.operations[index];
        let mut later = self.recorded.operations[index + 1..].iter();
        let next = later.find(|other| other.process == of.process).map(|other| other.invoked.ns);
        let mut deaths = self.recorded.deaths.iter();
        let death = deaths.find(|(when, process)| *process == of.process && of.invoked < *when);
        next.or(death.map(|(when, _)| when.ns))
    }

    /// What the resource did, each operation in the section that its token says, or else in the
    /// last one that its process had begun.
    fn lay_out_effects(&mut self) {
        for record in &self.recorded.effects {
            let lock = LockId(record.lock as u32);
            let mut grants = self.history.grants.iter().filter(|grant| {
                grant.client == node(record.process)
                    && grant.lock == lock
                    && grant.granted <= at(record.at.ns)
            });
            let by_token = grants
                .clone()
                .find(|grant| grant.token.is_some() && grant.token == record.token.map(Token));
            let section = by_token.or(grants.next_back()).map(|grant| grant.section);
            // One without a grant is a section of its own for its process.
            let alone = SectionId(u64::MAX - record.process as u64);
            self.history.effects.push((
                at(record.at.ns),
                resource::Effect {
                    section: section.unwrap_or(alone),
                    client: node(record.process),
                    lock,
                    token: record.token.map(Token),
                    access: if record.is_write { Access::Write } else { Access::Read },
                    value: record.value.unwrap_or(u64::MAX),
                    is_accepted: record.is_accepted,
                },
            ));
        }
    }

    fn name(&self, operation: &Operation) -> String {
        format!("process {}", self.recorded.processes[operation.process])
    }

    fn belief(&self) -> Opinion {
        let grants = &self.history.grants;
        let about = format!("{} grants, as their holders saw them", grants.len());
        if self.options.permits != 1 {
            return silent("belief", "a semaphore may have several holders");
        }
        let verdict = belief::judge(grants, belief::Reading::Operational, &self.names);
        let by_deadline = belief::judge(grants, belief::Reading::Deadline, &self.names);
        let mut findings: Vec<(Option<usize>, String)> = verdict
            .findings
            .iter()
            .map(|finding| (self.line_of_grant(finding.at), finding.text.clone()))
            .collect();
        if 0 < verdict.pairs && by_deadline.pairs == 0 {
            findings.push((None, "by the deadlines that holders knew of, none overlap".into()));
        }
        opinion("belief", about, findings)
    }

    /// The line on which the grant at an instant returned.
    fn line_of_grant(&self, when: SimTime) -> Option<usize> {
        let grants = self.history.grants.iter().zip(&self.origins);
        let mut found = grants.filter(|(grant, _)| grant.granted == when);
        let origin = found.next().map(|(_, origin)| *origin)?;
        self.recorded.operations[origin].returned.map(|returned| returned.line)
    }

    fn effect(&self) -> Opinion {
        let effects = &self.history.effects;
        if effects.is_empty() {
            return silent("effect", "no `effect` of a resource is in the history");
        }
        let about = format!("{} operations on the resource", effects.len());
        let verdict = effect::judge(effects, &self.names);
        let line = |when: SimTime| {
            let records = &self.recorded.effects;
            records.iter().find(|record| at(record.at.ns) == when).map(|record| record.at.line)
        };
        let mut findings: Vec<(Option<usize>, String)> = verdict
            .findings
            .iter()
            .map(|finding| (line(finding.at), finding.text.clone()))
            .collect();
        if !verdict.bad_sections.is_empty() && findings.is_empty() {
            let count = verdict.bad_sections.len();
            let text = format!("no order of {count} sections explains what they read and wrote");
            findings.push((None, text));
        }
        if 0 < verdict.lost_increments {
            let text = format!(
                "{} writes more than the counters show, were each of them one more",
                verdict.lost_increments
            );
            findings.push((None, text));
        }
        opinion("effect", about, findings)
    }

    fn linearizable(&self) -> Opinion {
        let about = format!(
            "{} operations on {} locks or keys",
            self.recorded.operations.len(),
            self.recorded.locks.len()
        );
        let mut findings = Vec::new();
        let mut gave_up = Vec::new();
        for (lock, name) in self.recorded.locks.iter().enumerate() {
            let all = || self.recorded.operations.iter().filter(move |op| op.lock == lock);
            let is_data = |op: &&Operation| {
                matches!(op.function, Function::Read | Function::Write | Function::Swap)
            };
            let of_lock: Vec<&Operation> = all().filter(|op| !is_data(op)).collect();
            let of_data: Vec<&Operation> = all().filter(is_data).collect();
            let needs_search = self.options.permits != 1
                || of_lock.iter().any(|op| {
                    op.end == End::Failed
                        && matches!(op.function, Function::TryAcquire | Function::Release)
                });
            if !needs_search {
                findings.extend(self.sweep(lock));
            }
            let object = match self.options.permits {
                1 => Object::Mutex,
                permits => Object::Semaphore(permits),
            };
            let searched = [(needs_search, of_lock, object), (true, of_data, Object::Register)];
            for (_, operations, object) in searched
                .into_iter()
                .filter(|(wanted, operations, _)| *wanted && !operations.is_empty())
            {
                match self.search(object, &operations) {
                    Ok(Some(finding)) => findings.push(finding),
                    Ok(None) => (),
                    Err(()) => gave_up.push(name.clone()),
                }
            }
        }
        let mut opinion = opinion("linearizable", about, findings);
        if opinion.outcome == Outcome::Good && !gave_up.is_empty() {
            opinion.outcome = Outcome::Unknown;
            opinion.findings.push((
                None,
                format!(
                    "no verdict on {} within {} steps: too much overlaps",
                    gave_up.join(", "),
                    self.options.steps_max
                ),
            ));
        }
        opinion
    }

    /// The check without a search, for a mutex none of whose operations failed with a meaning.
    fn sweep(&self, lock: usize) -> Option<(Option<usize>, String)> {
        let grants = self.history.grants.iter().zip(&self.origins);
        let mut stretches: Vec<(linear::MustHold, usize)> = grants
            .filter(|(grant, _)| grant.lock == LockId(lock as u32))
            .map(|(grant, origin)| {
                let stretch = linear::MustHold {
                    lock: grant.lock,
                    from: grant.granted,
                    until: grant.until,
                    client: grant.client,
                    token: grant.token,
                };
                (stretch, *origin)
            })
            .collect();
        // A release of what was never acquired has no place in any order.
        let foreign = self.recorded.operations.iter().find(|operation| {
            operation.lock == lock
                && operation.function == Function::Release
                && operation.end == End::Ok
                && !self.releases_something(operation)
        });
        if let Some(operation) = foreign {
            let text = format!("{} released what it did not hold", self.name(operation));
            return Some((Some(operation.invoked.line), text));
        }
        stretches.sort_unstable();
        let [first, second] =
            linear::check(stretches.iter().map(|(stretch, _)| *stretch).collect()).err()?;
        let line = |stretch: linear::MustHold| {
            let origin = stretches.iter().find(|(other, _)| *other == stretch)?.1;
            self.recorded.operations[origin].returned.map(|returned| returned.line)
        };
        let name = |client: NodeId| self.names.name(client).to_owned();
        let text = if second.from < first.until {
            format!(
                "{} was granted it while {}, granted it on line {}, must still have held it",
                name(second.client),
                name(first.client),
                line(first).unwrap_or(0)
            )
        } else {
            format!(
                "{} was granted it with token {}, after {} with token {}",
                name(second.client),
                second.token.map_or(0, |token| token.0),
                name(first.client),
                first.token.map_or(0, |token| token.0)
            )
        };
        Some((line(second), text))
    }

    /// Whether a release ended a stay of its process, or one that it may have had: of an
    /// acquisition whose end is not known.
    fn releases_something(&self, release: &Operation) -> bool {
        let before = self.recorded.operations.iter().take_while(|op| op.invoked < release.invoked);
        let may_hold = before
            .filter(|op| op.process == release.process && op.lock == release.lock)
            .last()
            .is_some_and(|op| op.function != Function::Release && op.end == End::Unknown);
        if may_hold || self.options.is_reentrant {
            return true;
        }
        self.history.grants.iter().any(|grant| {
            grant.client == node(release.process)
                && grant.lock == LockId(release.lock as u32)
                && grant.ended == Some(GrantEnd::Released)
                && grant.until == at(release.invoked.ns)
        })
    }

    /// What is wrong with the order of `operations`, where something is; an error where the search
    /// gave up.
    fn search(
        &self,
        object: Object,
        operations: &[&Operation],
    ) -> Result<Option<(Option<usize>, String)>, ()> {
        let calls: Vec<(search::Operation, &Operation)> =
            operations.iter().filter_map(|op| Some((searched(op)?, *op))).collect();
        let list: Vec<search::Operation> = calls.iter().map(|(call, _)| *call).collect();
        match search::search(object, &list, self.options.steps_max) {
            Found::Linearizable => Ok(None),
            Found::Unknown => Err(()),
            Found::Not { stuck, placed } => {
                let (_, operation) = calls[stuck];
                let what = match (operation.function, operation.end) {
                    (Function::Acquire | Function::TryAcquire, End::Failed) => "failed try",
                    (Function::Acquire | Function::TryAcquire, _) => "acquisition",
                    (Function::Release, End::Failed) => "failed release",
                    (Function::Release, _) => "release",
                    (Function::Read, _) => "read",
                    (Function::Write, _) => "write",
                    (Function::Swap, End::Failed) => "failed swap",
                    (Function::Swap, _) => "swap",
                };
                let text = format!(
                    "this {what} of {} fits into no order: {placed} of {} operations could be \
                     placed before it",
                    self.name(operation),
                    calls.len()
                );
                Ok(Some((operation.returned.map(|returned| returned.line), text)))
            }
        }
    }

    fn fencing(&self) -> Opinion {
        let mut findings = self.token_findings();
        let effects = &self.recorded.effects;
        let mut newest = BTreeMap::<usize, (u64, usize)>::new();
        for effect in effects.iter().filter(|effect| effect.is_accepted) {
            let seen = newest.get(&effect.lock).copied();
            match (effect.token, seen) {
                (Some(token), Some((before, line))) if token < before => findings.push((
                    Some(effect.at.line),
                    format!(
                        "the resource let token {token} through after token {before} on line {line}"
                    ),
                )),
                (None, Some((before, line))) => findings.push((
                    Some(effect.at.line),
                    format!(
                        "the resource let an operation without a token through after token \
                         {before} on line {line}"
                    ),
                )),
                (Some(token), _) => {
                    newest.insert(effect.lock, (token, effect.at.line));
                }
                (None, None) => (),
            }
        }
        let has_tokens = self.recorded.operations.iter().any(|op| op.token.is_some())
            || effects.iter().any(|effect| effect.token.is_some());
        if !has_tokens {
            return silent("fencing", "nothing in the history has a token");
        }
        findings.sort();
        opinion(
            "fencing",
            "the tokens of grants and of operations on the resource".into(),
            findings,
        )
    }

    /// Tokens of grants that are not later than they must be: what was granted before another
    /// acquisition was even asked for came before it.
    fn token_findings(&self) -> Vec<(Option<usize>, String)> {
        let mut findings = Vec::new();
        let mut by_return: Vec<&Operation> = (self.recorded.operations.iter())
            .filter(|op| op.function != Function::Release && op.end == End::Ok)
            .filter(|op| matches!(op.function, Function::Acquire | Function::TryAcquire))
            .filter(|op| op.token.is_some() && op.returned.is_some())
            .collect();
        let mut by_invocation = by_return.clone();
        by_return.sort_by_key(|op| op.returned);
        by_invocation.sort_by_key(|op| op.invoked);
        let mut before = by_return.iter().peekable();
        let mut newest = BTreeMap::<usize, (u64, usize)>::new();
        let mut given = BTreeMap::<(usize, u64), &Operation>::new();
        for op in by_invocation {
            while let Some(earlier) = before.next_if(|other| other.returned < Some(op.invoked)) {
                let token = earlier.token.unwrap_or(0);
                let line = earlier.returned.map_or(0, |returned| returned.line);
                let newest = newest.entry(earlier.lock).or_insert((token, line));
                *newest = (*newest).max((token, line));
            }
            let token = op.token.unwrap_or(0);
            let line = op.returned.map(|returned| returned.line);
            if let Some(other) = given.insert((op.lock, token), op) {
                // The same stay, entered once more.
                if other.process != op.process || !self.options.is_reentrant {
                    let text = format!(
                        "{} was granted token {token}, as {} was before",
                        self.name(op),
                        self.name(other)
                    );
                    findings.push((line, text));
                }
            } else if let Some((latest, at_line)) = newest.get(&op.lock).filter(|(t, _)| token < *t)
            {
                let text = format!(
                    "{} was granted token {token}, though token {latest} was granted on line \
                     {at_line} before it asked",
                    self.name(op)
                );
                findings.push((line, text));
            }
        }
        findings
    }

    fn liveness(&self) -> Opinion {
        let verdict = liveness::judge(&self.history, Servers::One, &Shards::default(), &self.names);
        let mut findings = Vec::new();
        for stall in &verdict.stalls {
            let waits = verdict.open.iter().filter(|wait| wait.lock == stall.lock);
            for wait in waits {
                let operation = &self.recorded.operations[wait.section.0 as usize];
                let cause = stall.cause.describe(&self.names);
                findings.push((
                    Some(operation.invoked.line),
                    format!("{} waits for ever: {cause}", self.name(operation)),
                ));
            }
        }
        let about = format!("who waits at the end; bypass_max {}", verdict.bypass_max);
        if self.options.bypass_max.is_some_and(|most| most < verdict.bypass_max) {
            let text = format!(
                "a wait saw {} grants to others that asked later: starvation",
                verdict.bypass_max
            );
            findings.push((None, text));
        }
        findings.sort();
        opinion("liveness", about, findings)
    }
}

/// What changes who holds what.
enum Event {
    Acquired(usize),
    Releases(usize),
    Dies(usize),
}

/// An operation as the search wants it; nothing where it has no say.
fn searched(op: &Operation) -> Option<search::Operation> {
    let permits = op.permits;
    let call = match (op.function, op.end) {
        (Function::Acquire | Function::TryAcquire, End::Ok | End::Unknown) => {
            Call::Acquired { permits, token: op.token.filter(|_| op.end == End::Ok) }
        }
        (Function::TryAcquire, End::Failed) => Call::NotAcquired { permits },
        (Function::Release, End::Ok | End::Unknown) => Call::Released { permits },
        (Function::Release, End::Failed) => Call::NotReleased { permits },
        (Function::Read, End::Ok) => Call::Read(op.values[0]),
        (Function::Write, End::Ok | End::Unknown) => Call::Wrote(op.values[0]),
        (Function::Swap, End::Ok | End::Unknown) => Call::Swapped(op.values[0], op.values[1]),
        (Function::Swap, End::Failed) => Call::NotSwapped(op.values[0]),
        // A wait that was given up, a read that told nothing, a write that was not done.
        (Function::Acquire | Function::Write, End::Failed)
        | (Function::Read, End::Failed | End::Unknown) => return None,
    };
    // Lines order what happened at one instant.
    let order = |instant: super::Instant| instant.line as u64;
    Some(search::Operation {
        process: op.process as u32,
        call,
        invoked: order(op.invoked),
        returned: op.returned.map(order),
    })
}

fn opinion(judge: &'static str, about: String, findings: Vec<(Option<usize>, String)>) -> Opinion {
    let outcome = if findings.is_empty() { Outcome::Good } else { Outcome::Bad };
    Opinion { judge, outcome, about, findings }
}

fn silent(judge: &'static str, why: &str) -> Opinion {
    Opinion { judge, outcome: Outcome::Silent, about: why.into(), findings: Vec::new() }
}
