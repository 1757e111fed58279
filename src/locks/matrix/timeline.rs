//! The course of a cell: who believed, what the servers held, and what reached the resource.
//!
//! It ends as soon as everything that the cell says has shown itself, and leaves out clients that
//! nothing happened to until then: the shortest piece of the run that makes the case.

use std::collections::BTreeMap;

use crate::kernel::time::{SimDuration, SimTime};
use crate::locks::history::{Grant, GrantEnd, History};
use crate::locks::judge::effect;
use crate::locks::resource::{Access, Effect};
use crate::locks::section::Outcome;
use crate::locks::{Authority, Fact, Freed, Played, Release};
use crate::model::cluster::Change;
use crate::model::directory::Directory;
use crate::model::node::NodeId;

use super::Computed;

/// A moment of a run.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// When.
    pub at: SimTime,
    /// Who believes now that it holds the lock, such as `A C`; `-` for nobody.
    pub believes: String,
    /// Who holds it now by the books of each server, in their order; `-` for nobody, `x` for a
    /// server that is down. One letter where the servers keep one log.
    pub held: String,
    /// What happens.
    pub event: String,
}

/// The course of a cell that was computed, up to where all that it says has shown itself.
pub fn timeline(computed: &Computed) -> Vec<Line> {
    let played = &computed.played;
    let mut story = Story::of(played);
    story.collect(&played.history);
    story.collect_faults(played);
    let end = shown_by(computed).unwrap_or(played.history.end);
    story.tell(end, computed.letters.stall.then_some(played.history.end))
}

/// When the last letter of the cell has shown itself; nothing where the whole run is the case.
fn shown_by(computed: &Computed) -> Option<SimTime> {
    let history = &computed.played.history;
    let letters = computed.letters;
    let mut shown = Vec::new();
    if letters.belief {
        shown.push(first_overlap(&history.grants)?);
    }
    if letters.effect {
        shown.push(first_anomaly(&history.effects, &computed.played.directory)?);
    }
    if letters.foreign_release {
        let foreign = history.facts.iter().find(|(_, _, fact)| is_foreign(fact));
        shown.push(foreign.map(|(at, ..)| *at)?);
    }
    if letters.stall {
        // What led to it is past when nothing but waiting is left.
        let grants = history.grants.iter().map(|grant| grant.until.min(history.end));
        let ends = grants.filter(|until| *until < history.end);
        let changes = history.changes.iter().map(|(at, ..)| *at);
        let given = changes_of_hands(history);
        shown.push(ends.chain(changes).chain(given).max().unwrap_or(SimTime::ZERO));
    }
    shown.into_iter().max()
}

/// When servers gave a lock to somebody else than before, or took it back.
fn changes_of_hands(history: &History) -> Vec<SimTime> {
    let mut books = BTreeMap::new();
    let is_news = |(_, server, fact): &&(SimTime, NodeId, Fact)| match fact {
        Fact::Held { lock, by, .. } => books.insert((*server, *lock), *by) != Some(*by),
        Fact::Freed { lock, .. } => books.remove(&(*server, *lock)).is_some(),
    };
    history.facts.iter().filter(is_news).map(|(at, ..)| *at).collect()
}

/// Whether a release took a lock that was another client's.
fn is_foreign(fact: &Fact) -> bool {
    matches!(fact, Fact::Freed { from, how: Freed::Released(by), .. } if from != by)
}

/// When two clients first believed at once.
fn first_overlap(grants: &[Grant]) -> Option<SimTime> {
    let overlaps = grants.iter().filter(|grant| {
        grants.iter().any(|other| {
            other.client != grant.client
                && other.lock == grant.lock
                && other.granted <= grant.granted
                && grant.granted < other.until.min(grant.until)
        })
    });
    overlaps.map(|grant| grant.granted).min()
}

/// When the effects first could no longer have come from one section after the other.
fn first_anomaly(effects: &[(SimTime, Effect)], names: &Directory) -> Option<SimTime> {
    let is_bad = |count: &usize| !effect::judge(&effects[..*count], names).is_good();
    let count = (1..=effects.len()).find(is_bad)?;
    Some(effects[count - 1].0)
}

/// What came in which order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Fault,
    Server,
    Client,
    Resource,
}

/// Something that is told, and whom it is about.
struct Event {
    at: SimTime,
    rank: Rank,
    about: Option<NodeId>,
    /// The server that says so, where one does.
    server: Option<NodeId>,
    text: String,
    turn: Turn,
}

/// What an event changes in the columns beside it.
enum Turn {
    Nothing,
    Believes(NodeId),
    Doubts(NodeId),
    Holds { place: usize, by: NodeId, renews: bool },
    Frees { place: usize },
    Down { place: usize },
    Up { place: usize },
}

/// The events of a run on their way to lines.
struct Story<'a> {
    names: &'a Directory,
    clients: Vec<NodeId>,
    servers: Vec<NodeId>,
    is_one_log: bool,
    events: Vec<Event>,
}

impl<'a> Story<'a> {
    fn of(played: &'a Played) -> Self {
        let facts = &played.history.facts;
        let on_log = |(_, _, fact): &(SimTime, NodeId, Fact)| {
            let (Fact::Held { on, .. } | Fact::Freed { on, .. }) = fact;
            matches!(on, Authority::Log(_))
        };
        Self {
            names: &played.directory,
            clients: played.directory.group("client"),
            servers: played.directory.group("server"),
            is_one_log: facts.iter().any(on_log),
            events: Vec::new(),
        }
    }

    /// What the matrix calls a client: A, B and C; and any other node by its name.
    fn name(&self, node: NodeId) -> String {
        match self.clients.iter().position(|client| *client == node) {
            Some(index @ 0..26) => char::from(b'A' + index as u8).to_string(),
            _ => self.names.name(node).to_owned(),
        }
    }

    /// The column of a server in `held`.
    fn place(&self, server: NodeId) -> usize {
        if self.is_one_log {
            return 0;
        }
        self.servers.iter().position(|other| *other == server).unwrap_or(0)
    }

    fn add(&mut self, at: SimTime, rank: Rank, about: NodeId, text: String, turn: Turn) {
        self.events.push(Event { at, rank, about: Some(about), server: None, text, turn });
    }

    fn collect(&mut self, history: &History) {
        for wait in &history.waits {
            let text = format!("{} asks for the lock", self.name(wait.client));
            // A client that only waits is no part of the case.
            self.events.push(Event {
                at: wait.requested,
                rank: Rank::Client,
                about: Some(wait.client),
                server: None,
                text,
                turn: Turn::Nothing,
            });
        }
        self.collect_grants(history);
        self.collect_facts(history);
        for (at, node, change) in &history.changes {
            let name = self.name(*node);
            let place = self.servers.contains(node).then(|| self.place(*node));
            let place = place.filter(|_| !self.is_one_log);
            let (text, turn) = match change {
                Change::ProcessDown => (format!("{name}'s process dies"), Self::down(place)),
                Change::MachineDown => (format!("{name}'s machine dies"), Self::down(place)),
                Change::Up => (
                    format!("{name} starts again"),
                    place.map_or(Turn::Nothing, |place| Turn::Up { place }),
                ),
                Change::Paused => (format!("{name} stands still"), Turn::Nothing),
                Change::Resumed => (format!("{name} goes on"), Turn::Nothing),
            };
            self.add(*at, Rank::Fault, *node, text, turn);
        }
        for (at, effect) in &history.effects {
            let name = self.name(effect.client);
            let token = effect.token.map_or(String::new(), |token| format!(", token {}", token.0));
            let what = match (effect.access, effect.is_accepted) {
                (Access::Read, true) => format!("{name} reads {}", effect.value),
                (Access::Write, true) => format!("{name} writes {}", effect.value),
                (Access::Read, false) => format!("refuses {name}'s read"),
                (Access::Write, false) => {
                    format!("refuses {name}'s write of {}", effect.value)
                }
            };
            let text = format!("resource: {what}{token}");
            self.add(*at, Rank::Resource, effect.client, text, Turn::Nothing);
        }
        for passage in &history.sections {
            let Some((at, outcome)) = passage.over else { continue };
            let why = match outcome {
                Outcome::Done => continue,
                Outcome::GaveUp => "gives up: it has waited long enough",
                Outcome::Lost => "gives up: it knows that it has lost the lock",
                Outcome::Fenced => "gives up: its token was refused",
                Outcome::Unknown => "does not know what became of its write",
            };
            let text = format!("{} {why}", self.name(passage.client));
            self.add(at, Rank::Client, passage.client, text, Turn::Nothing);
        }
    }

    const fn down(place: Option<usize>) -> Turn {
        match place {
            Some(place) => Turn::Down { place },
            None => Turn::Nothing,
        }
    }

    fn collect_grants(&mut self, history: &History) {
        for grant in &history.grants {
            let (client, name) = (grant.client, self.name(grant.client));
            let token = grant.token.map_or(String::new(), |token| format!(", token {}", token.0));
            let text = format!("{name} is told that it has the lock{token}");
            self.add(grant.granted, Rank::Client, client, text, Turn::Believes(client));
            if grant.deadline < grant.until {
                let text = format!("{name}'s lease is over by its own clock");
                self.add(grant.deadline, Rank::Client, client, text, Turn::Nothing);
            }
            let text = match grant.ended {
                Some(GrantEnd::Released) => format!("{name} releases"),
                Some(GrantEnd::Lost) => format!("{name} learns that it lost the lock"),
                Some(GrantEnd::Died) => format!("{name} believes nothing any more"),
                None => continue,
            };
            self.add(grant.until, Rank::Client, client, text, Turn::Doubts(client));
            let what = match grant.released {
                Some((at, Release::NotHeld)) => Some((at, "is told that it did not hold the lock")),
                Some((at, Release::Skipped)) => Some((at, "sends no release: it is too late")),
                Some((at, Release::Unknown)) => Some((at, "gets no answer to its release")),
                Some((_, Release::Done)) | None => None,
            };
            if let Some((at, what)) = what {
                self.add(at, Rank::Client, client, format!("{name} {what}"), Turn::Nothing);
            }
        }
    }

    fn collect_facts(&mut self, history: &History) {
        let mut books = BTreeMap::<usize, NodeId>::new();
        let mut told = Vec::<u64>::new();
        for (at, server, fact) in &history.facts {
            let (Fact::Held { on, .. } | Fact::Freed { on, .. }) = fact;
            if let Authority::Log(place) = on {
                // Of the replicas of a log the first to apply an entry tells of it.
                if told.contains(place) {
                    continue;
                }
                told.push(*place);
            }
            let place = self.place(*server);
            let (about, text, turn) = match fact {
                Fact::Held { by, token, expires, .. } => {
                    let renews = books.insert(place, *by) == Some(*by);
                    let whose = self.name(*by);
                    let token = token.map_or(String::new(), |token| format!(", token {}", token.0));
                    // That of a session ends when the session does, and nobody knows when.
                    let expires = expires.filter(|expires| *expires < SimDuration::MAX);
                    let until = expires
                        .map_or(String::new(), |expires| format!(" until {}", ms(*at + expires)));
                    let text = if renews {
                        format!("{whose}'s lease goes on{until}")
                    } else {
                        format!("the lock is {whose}'s{until}{token}")
                    };
                    (*by, text, Turn::Holds { place, by: *by, renews })
                }
                Fact::Freed { from, how, .. } => {
                    books.remove(&place);
                    let whose = self.name(*from);
                    let text = match how {
                        Freed::Released(by) if by == from => format!("{whose} has released"),
                        Freed::Released(by) => {
                            format!("a release of {} frees {whose}'s lock", self.name(*by))
                        }
                        Freed::Expired => format!("{whose}'s lease has ended"),
                        Freed::Disconnected => format!("{whose}'s connection has ended"),
                        Freed::ByOperator => format!("an operator takes it from {whose}"),
                    };
                    (*from, text, Turn::Frees { place })
                }
            };
            self.events.push(Event {
                at: *at,
                rank: Rank::Server,
                about: Some(about),
                server: Some(*server),
                text,
                turn,
            });
        }
    }

    /// The faults that are not told of by what they do to a process.
    fn collect_faults(&mut self, played: &Played) {
        const SEEN: &[&str] = &["pause", "crash", "restart"];
        for fault in &played.faults {
            if SEEN.iter().any(|seen| fault.label.starts_with(seen)) {
                continue;
            }
            self.events.push(Event {
                at: fault.from,
                rank: Rank::Fault,
                about: None,
                server: None,
                text: format!("fault: {}", fault.label),
                turn: Turn::Nothing,
            });
        }
    }

    /// The events up to `end` as lines, and who waits at `stalled`, where somebody does.
    fn tell(mut self, end: SimTime, stalled: Option<SimTime>) -> Vec<Line> {
        // Stable: what is equal stays in the order in which it happened.
        self.events.sort_by_key(|event| (event.at, event.rank));
        let waits =
            |event: &Event| event.rank == Rank::Client && event.text.ends_with("asks for the lock");
        let has_part: Vec<NodeId> = self
            .events
            .iter()
            .filter(|event| event.at <= end && !waits(event))
            .filter_map(|event| event.about)
            .collect();
        let is_told = |event: &&Event| {
            event.at <= end
                && (stalled.is_some() || event.about.is_none_or(|node| has_part.contains(&node)))
        };
        let mut lines: Vec<Line> = Vec::new();
        let mut believers: Vec<NodeId> = Vec::new();
        let width = if self.is_one_log { 1 } else { self.servers.len().max(1) };
        let mut books: Vec<Option<NodeId>> = vec![None; width];
        let mut is_down = vec![false; width];
        // What the last line is about: its servers, whether it renews a lease, its text.
        let mut last: (Vec<NodeId>, bool, &str) = (Vec::new(), false, "");
        for event in self.events.iter().filter(is_told) {
            let mut renews = false;
            match event.turn {
                Turn::Nothing => (),
                Turn::Believes(client) => believers.push(client),
                Turn::Doubts(client) => believers.retain(|other| *other != client),
                Turn::Holds { place, by, renews: is_renewal } => {
                    books[place] = Some(by);
                    renews = is_renewal;
                }
                Turn::Frees { place } => books[place] = None,
                Turn::Down { place } => (books[place], is_down[place]) = (None, true),
                Turn::Up { place } => is_down[place] = false,
            }
            believers.sort_unstable();
            let is_same = lines.last().is_some_and(|line| line.at == event.at)
                && event.server.is_some()
                && !last.0.is_empty()
                && last.2 == event.text;
            // Of several renewals in a row the last is enough.
            let replaces = is_same || (renews && last.1);
            let mut servers = if is_same { std::mem::take(&mut last.0) } else { Vec::new() };
            servers.extend(event.server);
            let line = Line {
                at: event.at,
                believes: self.letters(&believers),
                held: self.held(&books, &is_down),
                event: match self.together(&servers) {
                    Some(names) => format!("{names}: {}", event.text),
                    None => event.text.clone(),
                },
            };
            last = (servers, renews, &event.text);
            match lines.last_mut() {
                Some(last) if replaces => *last = line,
                _ => lines.push(line),
            }
        }
        if let (Some(at), Some(last)) = (stalled, lines.last().cloned()) {
            lines.push(Line { at, event: "the end: clients still wait".into(), ..last });
        }
        lines
    }

    fn letters(&self, nodes: &[NodeId]) -> String {
        let names: Vec<String> = nodes.iter().map(|node| self.name(*node)).collect();
        if names.is_empty() { "-".into() } else { names.join(" ") }
    }

    fn held(&self, books: &[Option<NodeId>], is_down: &[bool]) -> String {
        let of_server = |(holder, is_down): (&Option<NodeId>, &bool)| match (holder, is_down) {
            (_, true) => "x".into(),
            (Some(holder), false) => self.name(*holder),
            (None, false) => "-".into(),
        };
        books.iter().zip(is_down).map(of_server).collect()
    }

    /// Names of servers in few words.
    fn together(&self, servers: &[NodeId]) -> Option<String> {
        match servers {
            [] => None,
            [one] => Some(self.name(*one)),
            [first, .., last] if last.index() - first.index() + 1 == servers.len() => {
                Some(format!("{} to {}", self.name(*first), self.name(*last)))
            }
            several => {
                Some(several.iter().map(|one| self.name(*one)).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// An instant in milliseconds, to the thousandth where it is not whole.
pub fn ms(at: SimTime) -> String {
    let us = at.since(SimTime::ZERO).as_ns() / SimDuration::from_us(1).as_ns();
    let (whole, rest) = (us / 1000, us % 1000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}") }
}
