//! A critical section, as an application goes through it.
//!
//! Acquire each lock; read what each protects; work; ask the lock client whether each lock is
//! still held; write one more than was read; release. All of it happens inside one process, lock
//! client included, and stops with a pause or dies with a crash. Between any two steps the process
//! comes to a point by name, for faults to wait at: [`POINTS`].

use crate::kernel::time::SimDuration;
use crate::model::node::{Context, Input, Node, NodeId, Output};

use super::party::{Alarm, Parcel, Party, Told};
use super::resource::{Access, Fenced, Message, Operation};
use super::shards::{Clients, ClientsRole};
use super::{Indication, LockId, LockProtocol, Release, Request, Token};

/// The points that every process comes to, in this order. A lock client adds its own.
pub const POINTS: &[&str] =
    &["requested", "granted", "read", "worked", "checked", "write_sent", "written", "released"];

/// Names a passage through a critical section.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SectionId(pub u64);

/// A critical section to go through.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// Its name.
    pub id: SectionId,
    /// The locks that it takes, one after the other, in this order.
    pub locks: Vec<LockId>,
    /// How often it enters each of them before it leaves it as often.
    pub entries: u32,
    /// How long it works between reading and writing.
    pub work: SimDuration,
    /// How long it waits for each lock; `None`: as long as it takes.
    pub patience: Option<SimDuration>,
    /// How long it waits after an error before it asks for a lock again.
    pub retry: SimDuration,
}

/// How far a process has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// It begins a section.
    Began(SectionId),
    /// It asks its lock client for a lock.
    Requests(SectionId, LockId),
    /// It asks its lock client to release a lock, which it no longer counts on.
    Releases(SectionId, LockId),
    /// It knows that its write was done.
    Acknowledged(SectionId, LockId),
    /// It has come to the end.
    Over(SectionId, Outcome),
}

/// How a section ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// All was written.
    Done,
    /// It did not get all locks in time.
    GaveUp,
    /// Its lock client told it that it lost the lock, before it wrote.
    Lost,
    /// The resource refused its token.
    Fenced,
    /// The connection with the resource broke before it answered a write.
    Unknown,
}

/// What a process reminds itself of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SectionTimer {
    /// Go on after the point that was come to. The number tells a stale one.
    Step(u64),
    /// The work is done.
    Worked(u64),
}

/// The settings of a process.
pub(crate) struct WorkerRole<P: LockProtocol> {
    pub(crate) clients: ClientsRole<P>,
    pub(crate) resource: NodeId,
}

/// A process that goes through critical sections.
pub(crate) struct Worker<P: LockProtocol> {
    clients: Clients<P>,
    resource: NodeId,
    running: Option<Running>,
    /// Tells a timer of this section and step from a stale one.
    step: u64,
    told: Vec<Indication>,
}

struct Running {
    section: Section,
    phase: Phase,
    /// How many of the locks were granted, or asked about, in this phase.
    index: usize,
    /// How often the current lock was entered and not left.
    times: u32,
    grants: Vec<Grant>,
    outcome: Outcome,
}

struct Grant {
    token: Option<Token>,
    value: u64,
}

/// What is next, or what is waited for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Requesting,
    Acquiring,
    Retrying,
    Reading,
    Working,
    Checking,
    Writing,
    AwaitingWrite,
    Releasing,
    AwaitingRelease,
    Ending,
}

type Ctx<'a, P> = Context<'a, Party<P>>;

impl<P: LockProtocol> Worker<P> {
    pub(super) fn boot(role: &WorkerRole<P>) -> Self {
        Self {
            clients: Clients::boot(&role.clients, &()),
            resource: role.resource,
            running: None,
            step: 0,
            told: Vec::new(),
        }
    }

    /// Begins a section.
    pub(super) fn begin(&mut self, section: Section, ctx: &mut Ctx<'_, P>) {
        assert!(self.running.is_none(), "a process goes through one section at a time");
        assert!(!section.locks.is_empty(), "a section takes a lock");
        ctx.indicate(Told::Section(Progress::Began(section.id)));
        self.running = Some(Running {
            section,
            phase: Phase::Requesting,
            index: 0,
            times: 0,
            grants: Vec::new(),
            outcome: Outcome::Done,
        });
        self.come_to("requested", ctx);
    }

    /// Releases a lock outside any section, held or not.
    pub(super) fn release_anyway(&mut self, lock: LockId, ctx: &mut Ctx<'_, P>) {
        self.tell(Input::Request(Request::Release(lock)), ctx);
    }

    /// Lets something happen to the lock client, and hears what it says to that.
    pub(super) fn tell(&mut self, input: Input<Clients<P>>, ctx: &mut Ctx<'_, P>) {
        let told = &mut self.told;
        ctx.with_part(&mut self.clients, input, |output| {
            if let Output::Indicate(indication) = &output {
                told.push(indication.clone());
            }
            Party::<P>::of_client(output)
        });
        for indication in std::mem::take(&mut self.told) {
            self.hear(indication, ctx);
        }
    }

    fn hear(&mut self, indication: Indication, ctx: &mut Ctx<'_, P>) {
        let Some(running) = &mut self.running else { return };
        let phase = running.phase;
        let current = running.section.locks.get(running.index).copied();
        match indication {
            Indication::Granted { lock, token, .. }
                if phase == Phase::Acquiring && current == Some(lock) =>
            {
                running.times += 1;
                if running.times < running.section.entries {
                    running.phase = Phase::Requesting;
                    self.go_on(ctx);
                    return;
                }
                running.grants.push(Grant { token, value: 0 });
                running.index += 1;
                if running.index < running.section.locks.len() {
                    running.times = 0;
                    running.phase = Phase::Requesting;
                } else {
                    running.index = 0;
                    running.phase = Phase::Reading;
                }
                self.come_to("granted", ctx);
            }
            Indication::Refused { lock, .. }
                if phase == Phase::Acquiring && current == Some(lock) =>
            {
                if running.section.patience.is_some() {
                    self.leave(Outcome::GaveUp, ctx);
                } else {
                    running.phase = Phase::Retrying;
                    let retry = running.section.retry;
                    self.step += 1;
                    ctx.set_timer(retry, Alarm::Section(SectionTimer::Step(self.step)));
                }
            }
            Indication::Lost(lock) => {
                let held = &running.section.locks[..running.grants.len()];
                let has_written = matches!(
                    phase,
                    Phase::AwaitingWrite
                        | Phase::Releasing
                        | Phase::AwaitingRelease
                        | Phase::Ending
                ) || (phase == Phase::Writing && 0 < running.index);
                if held.contains(&lock) && !has_written {
                    self.leave(Outcome::Lost, ctx);
                }
            }
            Indication::Checked { lock, is_valid }
                if phase == Phase::Checking && current == Some(lock) =>
            {
                if !is_valid {
                    self.leave(Outcome::Lost, ctx);
                    return;
                }
                running.index += 1;
                if running.index < running.section.locks.len() {
                    self.check(ctx);
                } else {
                    running.index = 0;
                    running.phase = Phase::Writing;
                    self.come_to("checked", ctx);
                }
            }
            Indication::Released { lock, how }
                if phase == Phase::AwaitingRelease && current == Some(lock) =>
            {
                self.released(how, ctx);
            }
            // What comes too late, or says nothing that a section goes by.
            Indication::Granted { .. }
            | Indication::Refused { .. }
            | Indication::Checked { .. }
            | Indication::Released { .. }
            | Indication::Tried(_)
            | Indication::Woken(_)
            | Indication::Extended { .. }
            | Indication::Validated { .. } => (),
        }
    }

    /// The resource has answered.
    pub(super) fn answered(&mut self, answer: Message, ctx: &mut Ctx<'_, P>) {
        let Message::Answer { section, lock, access, result } = answer else { return };
        let Some(running) = self.running.as_mut().filter(|r| r.section.id == section) else {
            return;
        };
        if running.section.locks.get(running.index) != Some(&lock) {
            return;
        }
        match (running.phase, access, result) {
            (Phase::Reading | Phase::AwaitingWrite, _, Err(Fenced)) => {
                self.leave(Outcome::Fenced, ctx);
            }
            (Phase::Reading, Access::Read, Ok(value)) => {
                running.grants[running.index].value = value;
                running.index += 1;
                if running.index == running.section.locks.len() {
                    running.index = 0;
                    running.phase = Phase::Working;
                }
                self.come_to("read", ctx);
            }
            (Phase::AwaitingWrite, Access::Write, Ok(_)) => {
                ctx.indicate(Told::Section(Progress::Acknowledged(section, lock)));
                running.index += 1;
                if running.index < running.section.locks.len() {
                    running.phase = Phase::Writing;
                    self.go_on(ctx);
                } else {
                    running.index = running.grants.len() - 1;
                    running.phase = Phase::Releasing;
                    self.come_to("written", ctx);
                }
            }
            // An answer to what was given up.
            _ => (),
        }
    }

    /// The connection with `peer` is gone.
    pub(super) fn closed(&mut self, peer: NodeId, ctx: &mut Ctx<'_, P>) {
        let Some(running) = self.running.as_mut().filter(|_| peer == self.resource) else { return };
        match running.phase {
            Phase::Reading => self.ask(Access::Read, ctx),
            Phase::AwaitingWrite => self.leave(Outcome::Unknown, ctx),
            _ => (),
        }
    }

    /// A timer of the section has fallen due.
    pub(super) fn wake(&mut self, timer: SectionTimer, ctx: &mut Ctx<'_, P>) {
        match timer {
            SectionTimer::Step(step) if step == self.step => self.go_on(ctx),
            SectionTimer::Worked(step) if step == self.step => {
                if let Some(running) = &mut self.running {
                    running.phase = Phase::Checking;
                    self.come_to("worked", ctx);
                }
            }
            SectionTimer::Step(_) | SectionTimer::Worked(_) => (),
        }
    }

    /// Comes to a point, and goes on after whatever waits there.
    fn come_to(&mut self, point: &'static str, ctx: &mut Ctx<'_, P>) {
        ctx.reach(point);
        self.step += 1;
        ctx.set_timer(SimDuration::ZERO, Alarm::Section(SectionTimer::Step(self.step)));
    }

    fn go_on(&mut self, ctx: &mut Ctx<'_, P>) {
        let Some(running) = &mut self.running else { return };
        let id = running.section.id;
        match running.phase {
            Phase::Requesting | Phase::Retrying => {
                running.phase = Phase::Acquiring;
                let lock = running.section.locks[running.index];
                let patience = running.section.patience;
                ctx.indicate(Told::Section(Progress::Requests(id, lock)));
                self.tell(Input::Request(Request::Acquire { lock, patience }), ctx);
            }
            Phase::Reading => self.ask(Access::Read, ctx),
            Phase::Working => {
                let work = running.section.work;
                self.step += 1;
                ctx.set_work_timer(work, Alarm::Section(SectionTimer::Worked(self.step)));
            }
            Phase::Checking => self.check(ctx),
            Phase::Writing => {
                running.phase = Phase::AwaitingWrite;
                self.ask(Access::Write, ctx);
                ctx.reach("write_sent");
            }
            Phase::Releasing => {
                let lock = running.section.locks[running.index];
                running.phase = Phase::AwaitingRelease;
                running.times -= 1;
                // Until it has left as often as it entered, it counts on the lock.
                if running.times == 0 {
                    ctx.indicate(Told::Section(Progress::Releases(id, lock)));
                }
                self.tell(Input::Request(Request::Release(lock)), ctx);
            }
            Phase::Ending => {
                let outcome = running.outcome;
                self.running = None;
                ctx.indicate(Told::Section(Progress::Over(id, outcome)));
            }
            Phase::Acquiring | Phase::AwaitingWrite | Phase::AwaitingRelease => (),
        }
    }

    /// Asks the resource about the current lock's counter.
    fn ask(&mut self, access: Access, ctx: &mut Ctx<'_, P>) {
        let Some(running) = &self.running else { return };
        let grant = &running.grants[running.index];
        let operation = Operation {
            section: running.section.id,
            lock: running.section.locks[running.index],
            token: grant.token,
            access,
            value: grant.value + 1,
        };
        ctx.send(self.resource, Parcel::Resource(Message::Ask(operation)));
    }

    fn check(&mut self, ctx: &mut Ctx<'_, P>) {
        let Some(running) = &self.running else { return };
        let lock = running.section.locks[running.index];
        self.tell(Input::Request(Request::Check(lock)), ctx);
    }

    /// Gives the section up, and releases what it has of its locks: the one that it was entering
    /// too, as often as it has entered it.
    fn leave(&mut self, outcome: Outcome, ctx: &mut Ctx<'_, P>) {
        let Some(running) = &mut self.running else { return };
        running.outcome = outcome;
        let all = running.grants.len();
        let is_entered = all < running.section.locks.len() && 0 < running.times;
        if !is_entered {
            running.times = running.section.entries;
        }
        match if is_entered { Some(all) } else { all.checked_sub(1) } {
            Some(index) => (running.phase, running.index) = (Phase::Releasing, index),
            None => running.phase = Phase::Ending,
        }
        self.step += 1;
        ctx.set_timer(SimDuration::ZERO, Alarm::Section(SectionTimer::Step(self.step)));
    }

    /// A lock was released; the one before it is next.
    fn released(&mut self, _: Release, ctx: &mut Ctx<'_, P>) {
        let Some(running) = &mut self.running else { return };
        if 0 < running.times {
            running.phase = Phase::Releasing;
            self.go_on(ctx);
            return;
        }
        if 0 < running.index {
            running.index -= 1;
            running.times = running.section.entries;
            running.phase = Phase::Releasing;
            self.step += 1;
            ctx.set_timer(SimDuration::ZERO, Alarm::Section(SectionTimer::Step(self.step)));
        } else {
            running.phase = Phase::Ending;
            self.come_to("released", ctx);
        }
    }
}
