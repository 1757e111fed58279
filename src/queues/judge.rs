//! The judge of a queue: hears everybody, in true time, and says what was lost, repeated or late.
//!
//! Verdicts as Jepsen's `total-queue` checker has them (jepsen-io/jepsen, `jepsen/checker.clj`), with
//! two splits: what is lost had been confirmed or not, and what is repeated is a delivery or an
//! effect. A message is *lost* when its effect never came and nothing is left that could bring it:
//! no copy at a broker, none with a consumer that lives, none that its producer still keeps. One
//! of which a copy is left is *stalled*.
//!
//! Beside that the judge holds brokers to the laws that every queue keeps: nothing is delivered
//! that is not stored, nothing acknowledged that was not delivered, and at any time
//! `stored = ready + handed + settled + died + gone in a restart`.

mod logs;
mod windows;

use std::collections::{BTreeMap, VecDeque};

use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::Change;
use crate::model::directory::Directory;
use crate::model::node::NodeId;
use crate::record::Distribution;

use super::gauge::{Gauge, Moments, Pulse, Steps};
use super::{Death, Indication, Item, Serial, Token};

pub use logs::LogEvent;
use logs::Logs;
pub(super) use windows::WindowLog;

/// Hears everybody and judges.
#[derive(Clone, Debug)]
pub struct Judge {
    pub(super) window: (SimTime, SimTime),
    deadline: Option<SimDuration>,
    habits: Habits,
    /// The verdict on those that were concluded.
    verdict: Verdict,
    lives: BTreeMap<Serial, Life>,
    /// The place of each node among the consumers.
    consumer_of: Vec<Option<usize>>,
    pub(super) consumers: Vec<ConsumerLog>,
    pub(super) depth: Depth,
    pub(super) tally: Tally,
    pub(super) times: Times,
    pub(super) order: OrderLog,
    pub(super) findings: Findings,
    slo: Option<Slo>,
    history: Option<Vec<Heard>>,
    departures: Option<Vec<(SimTime, SimTime)>>,
    /// The latest first effect in each key.
    latest_of_key: BTreeMap<u64, Serial>,
    logs: Logs,
    /// Where consumers count in windows.
    pub(super) windows: Option<WindowLog>,
}

/// What the judge has to know of those whom it hears.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Habits {
    /// How many messages a consumer works on at the same time.
    pub concurrency: u32,
    /// Whether callers send again what was refused or did not come.
    pub callers_retry: bool,
    /// Whether messages have priorities.
    pub has_priorities: bool,
    /// Whether effects are idempotent: the second of the same is no effect.
    pub idempotent: bool,
}

/// What a judge keeps of a run, beside what it counts.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Watch {
    /// All that it hears.
    pub history: bool,
    /// When each message was meant to be sent, and when it was done.
    pub times: bool,
}

/// Something that was told.
#[derive(Clone, Debug)]
pub struct Heard {
    /// When.
    pub at: SimTime,
    /// By whom.
    pub node: NodeId,
    /// What.
    pub told: Indication,
}

/// What the judge knows of one message.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Life {
    intended: SimTime,
    producer: u32,
    key: u64,
    size_bytes: u32,
    priority: u8,
    /// How long it is of use while it waits.
    ttl: SimDuration,
    sent: Option<SimTime>,
    confirmed: Option<SimTime>,
    stored: Option<SimTime>,
    started: Option<SimTime>,
    done: Option<SimTime>,
    /// When its caller stopped waiting for it.
    left: Option<SimTime>,
    ready: u32,
    handed: u32,
    /// Copies on the way to consumers and with them.
    held: u32,
    deliveries: u32,
    effects: u32,
    /// Which consumers have had it; consumers 64 apart share a bit.
    receivers: u64,
    is_kept: bool,
    is_refused: bool,
    is_given_up: bool,
    has_failed: bool,
    is_parked: bool,
    /// Whether a consumer has kept it too long.
    has_lapsed: bool,
    /// Deliveries beyond the first, or flagged as such.
    repeats: u32,
    /// How often its caller wanted it to be sent.
    asked: u32,
    death: Option<(Death, bool)>,
    last: (SimTime, &'static str),
}

/// What a consumer has, and what it has done.
#[derive(Clone, Debug)]
pub(super) struct ConsumerLog {
    name: String,
    holding: BTreeMap<(Serial, u32), Hold>,
    latest: Option<Serial>,
    previous: Option<Serial>,
    /// The latest that it has received of each producer and key.
    latest_of_line: BTreeMap<(u32, u64), Serial>,
    /// What it has received of late, for counting what overtook a late one.
    recent: VecDeque<Serial>,
    pub(super) useful: SimDuration,
    pub(super) wasted: SimDuration,
    pub(super) completed: u64,
    pub(super) last_end: SimTime,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Hold {
    UnderWay,
    Buffered,
    AtWork(SimTime),
}

/// How much is in the queue.
#[derive(Clone, Debug)]
pub(super) struct Depth {
    pub(super) ready: Gauge,
    pub(super) handed: Gauge,
    pub(super) all: Gauge,
    pub(super) bytes: Gauge,
    /// For how long so many messages were in the queue, in nanoseconds within the window.
    pub(super) occupancy_ns: Vec<u64>,
    occupied_since: SimTime,
    /// How often it became not empty within the window.
    pub(super) busy_periods: u64,
    pub(super) throughput: Pulse,
    recovery: Option<Recovery>,
    /// How many messages there were when the last planned fault was over.
    pub(super) at_restart: Option<u64>,
    window: (SimTime, SimTime),
}

/// How often things happened: in the whole run, and within the window.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) offered: u64,
    pub(super) stored: u64,
    pub(super) handed: u64,
    pub(super) redelivered: u64,
    pub(super) settled: u64,
    pub(super) died: BTreeMap<(Death, bool), u64>,
    pub(super) gone: u64,
    pub(super) distinct: u64,
    pub(super) duplicate_effects: u64,
    pub(super) unexpected: u64,
    pub(super) broken: u64,
    /// The work that was offered within the window, in seconds for each message.
    pub(super) work: Moments,
    pub(super) within: Within,
}

/// How often things happened within the window.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Within {
    pub(super) offered: u64,
    pub(super) sent: u64,
    pub(super) stored: u64,
    pub(super) handed: u64,
    pub(super) died: u64,
    pub(super) confirmed: u64,
    pub(super) completed: u64,
    pub(super) distinct: u64,
    pub(super) good: u64,
}

/// How long things took, for messages meant to be sent within the window.
#[derive(Clone, Debug, Default)]
pub(super) struct Times {
    pub(super) latency: Distribution,
    pub(super) publish_latency: Distribution,
    pub(super) publish_delay: Distribution,
    pub(super) queue_wait: Distribution,
    pub(super) service: Distribution,
    pub(super) latency_moments: Moments,
    pub(super) wait_moments: Moments,
    /// How long messages waited while they were of use: until they were begun, or until their time
    /// to live was over, though a broker may let such a message lie until it is at the head.
    pub(super) of_use: Moments,
    /// How many messages had to wait at all.
    pub(super) waited: u64,
    /// Latency and wait of each priority.
    pub(super) by_priority: BTreeMap<u8, (Moments, Moments)>,
}

/// How deliveries were ordered, as each consumer saw them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OrderLog {
    pub(super) count: u64,
    pub(super) late_count: u64,
    pub(super) distance_max: u64,
    pub(super) distance_sum: u64,
    pub(super) inversions: u64,
    pub(super) effects: u64,
    pub(super) key_late_count: u64,
}

/// Sentences about what went wrong: the first few.
#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) lines: Vec<String>,
    left_out: u64,
}

/// What became of the messages.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// Messages that were to be sent.
    pub offered: u64,
    /// Messages that took effect.
    pub done: u64,
    /// Confirmed, and lost.
    pub lost_confirmed: u64,
    /// Not confirmed, and lost.
    pub lost_unconfirmed: u64,
    /// Of those lost: how many a broker let go by its own rule.
    pub lost_by_rule: u64,
    /// Effects beyond the first of each message.
    pub duplicate_effects: u64,
    /// Deliveries beyond the first of each message, or flagged as such.
    pub duplicate_deliveries: u64,
    /// Effects of messages that nobody sent.
    pub unexpected: u64,
    /// Messages that took effect though nobody ever confirmed them to a producer that waited.
    pub recovered: u64,
    /// Messages that might still come: a copy is left.
    pub stalled: u64,
    /// Messages that a broker keeps, but delivers no more.
    pub parked: u64,
    /// Messages in a dead-letter queue.
    pub dead_lettered: u64,
    /// Messages that were not taken, and whose producer knows it.
    pub refused: u64,
    /// Messages that were never handed to a connection, or of which the producer told its caller
    /// that it gave up.
    pub given_up: u64,
    /// Messages whose work failed for good.
    pub failed: u64,
    /// Deliveries that came after a later message's, as each consumer saw them.
    pub late_deliveries: u64,
    /// Of all deliveries, those of a message without an effect that came to a consumer after a later
    /// message of the same producer and key, unless a lease had to run out first: that is a delay.
    pub reordered: u64,
    /// Deliveries beyond the first, or flagged as such, of messages that took effect.
    pub repeated_deliveries: u64,
    /// Effects beyond as many as the callers asked for.
    pub unasked_effects: u64,
    /// Steps that no queue takes.
    pub broken: u64,
}

impl Verdict {
    /// All that were lost.
    pub const fn lost(&self) -> u64 {
        self.lost_confirmed + self.lost_unconfirmed
    }
}

impl Judge {
    /// A judge of the queue among the nodes of `directory`, who measures from `window.0` until
    /// before `window.1` of a run that lasts `span`.
    pub fn new(
        directory: &Directory,
        window: (SimTime, SimTime),
        span: SimDuration,
        deadline: Option<SimDuration>,
        habits: Habits,
    ) -> Self {
        let consumers = directory.group("consumer");
        let mut consumer_of = vec![None; directory.len()];
        for (place, id) in consumers.iter().enumerate() {
            consumer_of[id.index()] = Some(place);
        }
        let steps = Steps::over(span);
        Self {
            window,
            deadline,
            habits,
            verdict: Verdict::default(),
            lives: BTreeMap::new(),
            consumer_of,
            consumers: consumers.iter().map(|&id| ConsumerLog::new(directory.name(id))).collect(),
            depth: Depth::new(window, steps),
            tally: Tally::default(),
            times: Times::default(),
            order: OrderLog::default(),
            findings: Findings::default(),
            slo: None,
            history: None,
            departures: None,
            latest_of_key: BTreeMap::new(),
            logs: Logs::default(),
            windows: None,
        }
    }

    /// The length of the time that is measured; never zero.
    pub fn window_length(&self) -> SimDuration {
        self.window.1.since(self.window.0).max(SimDuration::from_ns(1))
    }

    /// How many messages a consumer works on at the same time.
    pub(super) fn concurrency(&self) -> u32 {
        self.habits.concurrency
    }

    fn is_within(&self, at: SimTime) -> bool {
        self.window.0 <= at && at < self.window.1
    }

    /// `item` was meant to be sent at `intended`, by the producer of that place.
    pub fn offer(&mut self, item: &Item, producer: u32, intended: SimTime) {
        self.tally.offered += 1;
        if self.is_within(intended) {
            self.tally.within.offered += 1;
            self.tally.work.add(item.service.as_secs_f64());
        }
        let life = Life::new(intended, item.key, item.size_bytes, item.priority);
        let life = Life { producer, ttl: item.ttl, ..life };
        let before = self.lives.insert(item.serial, life);
        assert!(before.is_none(), "{:?} was meant to be sent before", item.serial);
    }

    /// The caller of `serial` wants it to be sent once more.
    pub fn asked_again(&mut self, serial: Serial) {
        if let Some(life) = self.lives.get_mut(&serial) {
            life.asked += 1;
        }
    }

    /// The caller of `serial` waits no longer.
    pub fn caller_left(&mut self, serial: Serial, now: SimTime) {
        if let Some(life) = self.lives.get_mut(&serial) {
            life.left = Some(now);
        }
    }

    /// For how long the oldest message in the queue has been there.
    pub(crate) fn lag(&self, now: SimTime) -> SimDuration {
        let oldest = self.lives.values().find(|life| 0 < life.ready + life.handed);
        oldest.and_then(|life| life.stored).map_or(SimDuration::ZERO, |at| now.since(at))
    }

    /// Whether the effect of `serial` was applied.
    pub fn is_done(&self, serial: Serial) -> bool {
        self.lives.get(&serial).is_none_or(|life| 0 < life.effects)
    }

    /// Keeps from now on what `watch` says.
    pub(super) fn keep(&mut self, watch: Watch) {
        self.history = watch.history.then(Vec::new);
        self.departures = watch.times.then(Vec::new);
    }

    /// When each message was meant to be sent and when it was done, in the order of the latter;
    /// nothing, unless that was to be kept.
    pub fn departures(&self) -> &[(SimTime, SimTime)] {
        self.departures.as_deref().unwrap_or_default()
    }

    /// All that was heard; nothing, unless it was to be kept.
    pub fn history(&self) -> &[Heard] {
        self.history.as_deref().unwrap_or_default()
    }

    /// Watches from now on how the 99th percentile of the latency goes, window by window.
    pub(super) fn watch_percentile(&mut self) {
        self.slo = Some(Slo::default());
    }

    /// How long after `until` that percentile comes down to twice what it was before `from`.
    pub(super) fn percentile_recovery(
        &mut self,
        from: SimTime,
        until: SimTime,
    ) -> Option<SimDuration> {
        self.slo.as_mut()?.recovery(from, until)
    }

    /// Hears what `node` tells.
    pub fn hear(&mut self, node: NodeId, told: &Indication, now: SimTime) {
        if let Some(history) = &mut self.history {
            history.push(Heard { at: now, node, told: told.clone() });
        }
        match *told {
            Indication::Sent { serial, is_kept } => {
                self.tally.within.sent += u64::from(self.is_within(now));
                let within = self.window;
                let life = self.life(serial, now);
                if life.sent.is_none() {
                    life.sent = Some(now);
                    if within.0 <= life.intended && life.intended < within.1 {
                        let delay = now.since(life.intended).as_ns();
                        self.times.publish_delay.add(delay);
                    }
                }
                let life = self.life(serial, now);
                life.is_kept = is_kept;
                life.is_refused = false;
                life.last = (now, "sent");
            }
            Indication::Confirmed(serial) => self.confirmed(serial, now),
            Indication::Refused(serial) => {
                let life = self.life(serial, now);
                life.is_kept = false;
                life.is_refused = true;
                life.last = (now, "refused by the broker");
                self.conclude(serial);
            }
            Indication::GaveUp(serial) => {
                let life = self.life(serial, now);
                life.is_kept = false;
                life.is_given_up = true;
                life.last = (now, "given up by its producer");
                self.conclude(serial);
            }
            Indication::Stored(token) => self.stored(token, now),
            Indication::Handed { token, to, is_redelivered, is_settled } => {
                self.handed(token, to, is_redelivered, is_settled, now);
            }
            Indication::HandedByCopy { token, to } => {
                self.with_consumer(token.serial, to, true, now);
            }
            Indication::Recorded(token) => {
                self.life(token.serial, now).handed += 1;
                self.depth.handed.add(1, now);
                self.depth.grow(token, now);
            }
            Indication::Returned(token) => self.returned(token, "given back to the broker", now),
            Indication::Lapsed(token) => {
                self.returned(token, "taken back from a consumer that kept it too long", now);
                self.life(token.serial, now).has_lapsed = true;
            }
            Indication::Settled(token) => {
                if self.leave_consumer(token, now) {
                    self.depth.shrink(token, now);
                }
                self.tally.settled += 1;
                self.life(token.serial, now).last = (now, "acknowledged");
                self.conclude(token.serial);
            }
            Indication::Died { token, why, was_handed, is_kept } => {
                self.died(token, why, was_handed, is_kept, now);
            }
            Indication::Parked(token) => self.life(token.serial, now).is_parked = true,
            Indication::Holds { ref ready, ref handed } => self.recount(ready, handed, now),
            Indication::Received { serial, .. } => self.received(node, serial, now),
            Indication::Asks { .. } => (),
            Indication::Started(serial) => self.started(node, serial, now),
            Indication::Done(serial) => self.done(node, serial, now),
            Indication::Failed(serial) => {
                self.end_work(node, serial, false, now);
                let life = self.life(serial, now);
                life.has_failed = true;
                life.last = (now, "failed for good");
                self.conclude(serial);
            }
            Indication::LeftOff(serial) => {
                self.end_work(node, serial, false, now);
                self.life(serial, now).last = (now, "left off by a consumer");
            }
            Indication::Dropped(serial) => {
                self.end_work(node, serial, false, now);
                self.life(serial, now).last = (now, "forgotten by a consumer");
                self.conclude(serial);
            }
            Indication::Cut => self.cut(node),
            Indication::Log(ref event) => self.hear_of_log(node, event, now),
        }
    }

    fn died(&mut self, token: Token, why: Death, was_handed: bool, is_kept: bool, now: SimTime) {
        let was_there =
            if was_handed { self.leave_consumer(token, now) } else { self.leave_ready(token, now) };
        if was_there {
            self.depth.shrink(token, now);
        }
        *self.tally.died.entry((why, is_kept)).or_default() += 1;
        self.tally.within.died += u64::from(self.is_within(now));
        let life = *self.life(token.serial, now);
        if why == Death::Expired && self.is_within(life.intended) {
            self.times.of_use.add(life.ttl.as_secs_f64());
        }
        let life = self.life(token.serial, now);
        life.death = Some((why, is_kept));
        life.last = (now, if is_kept { "dead-lettered" } else { "dropped by the broker" });
        self.conclude(token.serial);
    }

    /// Sees what happens to `node`.
    pub fn witness(&mut self, node: NodeId, change: Change, now: SimTime) {
        let is_down = matches!(change, Change::ProcessDown | Change::MachineDown);
        let Some(place) = self.consumer_of[node.index()].filter(|_| is_down) else { return };
        let log = &mut self.consumers[place];
        let holding = std::mem::take(&mut log.holding);
        for ((serial, _), hold) in holding {
            let lost = match hold {
                Hold::AtWork(since) => {
                    let busy = self.clipped(since, now);
                    self.consumers[place].wasted += busy;
                    "at work when its consumer died"
                }
                Hold::Buffered => "in its consumer's memory when that died",
                Hold::UnderWay => "under way when its consumer died",
            };
            if let Some(life) = self.lives.get_mut(&serial) {
                life.held -= 1;
                life.last = (now, lost);
            }
        }
    }

    fn life(&mut self, serial: Serial, now: SimTime) -> &mut Life {
        // One that was concluded and comes up again had taken effect.
        self.lives.entry(serial).or_insert_with(|| Life::revived(now))
    }

    fn confirmed(&mut self, serial: Serial, now: SimTime) {
        let (within, is_within) = (self.window, self.is_within(now));
        let life = self.life(serial, now);
        life.is_kept = false;
        life.last = (now, "confirmed");
        if life.confirmed.is_none() {
            life.confirmed = Some(now);
            let intended = life.intended;
            self.tally.within.confirmed += u64::from(is_within);
            if within.0 <= intended && intended < within.1 {
                self.times.publish_latency.add(now.since(intended).as_ns());
            }
        }
        self.conclude(serial);
    }

    fn returned(&mut self, token: Token, how: &'static str, now: SimTime) {
        if self.leave_consumer(token, now) {
            self.life(token.serial, now).ready += 1;
            self.depth.ready.add(1, now);
        }
        self.life(token.serial, now).last = (now, how);
    }

    fn stored(&mut self, token: Token, now: SimTime) {
        self.tally.stored += 1;
        self.tally.within.stored += u64::from(self.is_within(now));
        self.depth.ready.add(1, now);
        self.depth.grow(token, now);
        let life = self.life(token.serial, now);
        life.ready += 1;
        life.stored = life.stored.or(Some(now));
        life.is_parked = false;
        life.last = (now, "stored");
    }

    fn handed(
        &mut self,
        token: Token,
        to: NodeId,
        is_redelivered: bool,
        is_settled: bool,
        now: SimTime,
    ) {
        let serial = token.serial;
        let was_there = self.leave_ready(token, now);
        if is_settled {
            self.tally.settled += 1;
            if was_there {
                self.depth.shrink(token, now);
            }
        } else if was_there {
            self.life(serial, now).handed += 1;
            self.depth.handed.add(1, now);
        }
        self.with_consumer(serial, to, is_redelivered, now);
    }

    /// A copy is on its way to a consumer.
    fn with_consumer(&mut self, serial: Serial, to: NodeId, is_redelivered: bool, now: SimTime) {
        self.tally.handed += 1;
        self.tally.within.handed += u64::from(self.is_within(now));
        let life = self.life(serial, now);
        let is_again = is_redelivered || 0 < life.deliveries;
        life.deliveries += 1;
        life.held += 1;
        life.last = (now, "sent to a consumer");
        life.repeats += u32::from(is_again);
        self.tally.redelivered += u64::from(is_again);
        if let Some(place) = self.consumer_of[to.index()] {
            self.consumers[place].hold(serial);
        }
    }

    fn received(&mut self, node: NodeId, serial: Serial, now: SimTime) {
        let Some(place) = self.consumer_of[node.index()] else { return };
        self.consumers[place].change(serial, Hold::UnderWay, Hold::Buffered);
        let bit = 1_u64 << (place % 64);
        let life = self.life(serial, now);
        life.last = (now, "received by a consumer");
        let is_new_here = life.receivers & bit == 0;
        life.receivers |= bit;
        let line = (life.producer, life.key);
        let is_open = life.effects == 0 && !life.has_lapsed;
        let latest = self.consumers[place].latest_of_line.entry(line).or_insert(serial);
        self.verdict.reordered += u64::from(is_open && serial < *latest);
        *latest = serial.max(*latest);
        if is_new_here {
            self.order.note(&mut self.consumers[place], serial);
        }
    }

    fn started(&mut self, node: NodeId, serial: Serial, now: SimTime) {
        let Some(place) = self.consumer_of[node.index()] else { return };
        self.consumers[place].change(serial, Hold::Buffered, Hold::AtWork(now));
        let within = self.window;
        let life = self.life(serial, now);
        life.last = (now, "begun by a consumer");
        if life.started.is_some() || 0 < life.effects {
            return;
        }
        life.started = Some(now);
        let (intended, stored, priority) = (life.intended, life.stored, life.priority);
        let ttl = life.ttl;
        if within.0 <= intended && intended < within.1 {
            let wait = now.since(stored.unwrap_or(intended));
            self.times.queue_wait.add(wait.as_ns());
            self.times.wait_moments.add(wait.as_secs_f64());
            self.times.of_use.add(wait.min(ttl).as_secs_f64());
            if self.habits.has_priorities {
                let (_, waits) = self.times.by_priority.entry(priority).or_default();
                waits.add(wait.as_secs_f64());
            }
            self.times.waited += u64::from(wait != SimDuration::ZERO);
        }
    }

    fn done(&mut self, node: NodeId, serial: Serial, now: SimTime) {
        let is_within = self.is_within(now);
        self.tally.within.completed += u64::from(is_within);
        if self.tally.offered <= serial.0 {
            self.tally.unexpected += 1;
        }
        let life = *self.life(serial, now);
        if 0 < life.effects {
            self.repeat(node, serial, now);
            return;
        }
        self.end_work(node, serial, true, now);
        self.tally.distinct += 1;
        self.tally.within.distinct += u64::from(is_within);
        self.depth.throughput.beat(now);
        if let Some(departures) = &mut self.departures {
            departures.push((life.intended, now));
        }
        let latency = now.since(life.intended);
        if let Some(slo) = &mut self.slo {
            slo.note(latency, now);
        }
        let is_in_time = self.deadline.is_none_or(|deadline| latency <= deadline);
        let is_wanted = life.left.is_none_or(|left| now <= left);
        self.tally.within.good += u64::from(is_within && is_in_time && is_wanted);
        if self.is_within(life.intended) {
            self.times.latency.add(latency.as_ns());
            self.times.latency_moments.add(latency.as_secs_f64());
            if self.habits.has_priorities {
                let (latencies, _) = self.times.by_priority.entry(life.priority).or_default();
                latencies.add(latency.as_secs_f64());
            }
        }
        self.order.effects += 1;
        let latest = self.latest_of_key.entry(life.key).or_insert(serial);
        self.order.key_late_count += u64::from(serial < *latest);
        *latest = serial.max(*latest);
        let life = self.life(serial, now);
        life.effects = 1;
        life.done = Some(now);
        life.last = (now, "done");
        self.conclude(serial);
    }

    /// An effect that had been applied before.
    fn repeat(&mut self, node: NodeId, serial: Serial, now: SimTime) {
        self.end_work(node, serial, false, now);
        if self.habits.idempotent {
            self.conclude(serial);
            return;
        }
        self.tally.duplicate_effects += 1;
        let life = self.life(serial, now);
        let is_unasked = life.asked <= life.effects;
        self.verdict.unasked_effects += u64::from(is_unasked);
        let first = self.lives.get(&serial).and_then(|life| life.done);
        let first = first.map_or(String::new(), |at| format!("; first at {}", ms(at)));
        let name = self.consumer_name(node);
        self.findings.note(|| {
            format!("{}: message {} took effect again, on {name}{first}", ms(now), serial.0)
        });
        self.life(serial, now).effects += 1;
        self.conclude(serial);
    }

    fn consumer_name(&self, node: NodeId) -> String {
        let place = self.consumer_of[node.index()];
        place.map_or_else(|| "a node".to_owned(), |place| self.consumers[place].name.clone())
    }

    /// A consumer has parted with a copy; `is_useful` where its work was of use.
    fn end_work(&mut self, node: NodeId, serial: Serial, is_useful: bool, now: SimTime) {
        let Some(place) = self.consumer_of[node.index()] else { return };
        let Some(hold) = self.consumers[place].part_with(serial) else { return };
        if let Hold::AtWork(since) = hold {
            let busy = self.clipped(since, now);
            if self.is_within(now) {
                self.times.service.add(now.since(since).as_ns());
            }
            let log = &mut self.consumers[place];
            if is_useful {
                log.useful += busy;
                log.completed += 1;
            } else {
                log.wasted += busy;
            }
            log.last_end = now;
        }
        if let Some(life) = self.lives.get_mut(&serial) {
            life.held -= 1;
        }
    }

    fn cut(&mut self, node: NodeId) {
        let Some(place) = self.consumer_of[node.index()] else { return };
        let gone = self.consumers[place].forget_under_way();
        for serial in gone {
            if let Some(life) = self.lives.get_mut(&serial) {
                life.held -= 1;
                life.last.1 = "under way when its consumer's connection broke";
            }
        }
    }

    /// How much of the time from `since` to `now` lies within the window.
    fn clipped(&self, since: SimTime, now: SimTime) -> SimDuration {
        now.min(self.window.1).since(since.max(self.window.0))
    }

    /// A ready copy is ready no more. Whether there was one.
    fn leave_ready(&mut self, token: Token, now: SimTime) -> bool {
        let life = self.life(token.serial, now);
        let Some(left) = life.ready.checked_sub(1) else {
            self.break_law(token, "delivered or dropped, but it was not ready", now);
            return false;
        };
        life.ready = left;
        self.depth.ready.take(1, now);
        true
    }

    /// A copy is with a consumer no more, as its broker sees it. Whether there was one.
    fn leave_consumer(&mut self, token: Token, now: SimTime) -> bool {
        let life = self.life(token.serial, now);
        let Some(left) = life.handed.checked_sub(1) else {
            self.break_law(token, "acknowledged or given back, but it was with nobody", now);
            return false;
        };
        life.handed = left;
        self.depth.handed.take(1, now);
        true
    }

    fn break_law(&mut self, token: Token, what: &str, now: SimTime) {
        self.tally.broken += 1;
        self.findings.note(|| format!("{}: message {} was {what}", ms(now), token.serial.0));
    }

    /// A broker tells all that it holds: what it held before and does not tell of is gone.
    fn recount(&mut self, ready: &[Token], handed: &[Token], now: SimTime) {
        let before = self.depth.all.value();
        let mut held: BTreeMap<Serial, (u32, u32)> = BTreeMap::new();
        for token in ready {
            held.entry(token.serial).or_default().0 += 1;
        }
        for token in handed {
            held.entry(token.serial).or_default().1 += 1;
        }
        for (serial, life) in &mut self.lives {
            let (ready, handed) = held.remove(serial).unwrap_or_default();
            if ready + handed < life.ready + life.handed {
                life.last = (now, "gone when the broker started again");
            }
            (life.ready, life.handed) = (ready, handed);
        }
        for (serial, (ready, handed)) in held {
            let life = self.life(serial, now);
            (life.ready, life.handed) = (ready, handed);
        }
        let bytes = ready.iter().chain(handed).map(|token| u64::from(token.size_bytes)).sum();
        self.depth.reset([ready.len() as u64, handed.len() as u64, bytes], now);
        // Fewer are gone where a copy came back whose acknowledgement had not been written.
        self.tally.gone += before.saturating_sub(self.depth.all.value());
    }

    /// Forgets a message of which nothing more can be said.
    fn conclude(&mut self, serial: Serial) {
        let Some(life) = self.lives.get(&serial).copied() else { return };
        let is_over = 0 < life.effects
            || life.has_failed
            || (!self.habits.callers_retry
                && (life.is_refused || life.is_given_up || life.death.is_some()));
        if is_over && !life.is_open() {
            self.lives.remove(&serial);
            self.classify(serial, &life, life.last.0);
        }
    }

    /// The verdict at the end of a run.
    pub fn verdict(&mut self, now: SimTime) -> Verdict {
        for (serial, life) in std::mem::take(&mut self.lives) {
            self.classify(serial, &life, now);
        }
        Verdict {
            offered: self.tally.offered,
            done: self.tally.distinct,
            duplicate_effects: self.tally.duplicate_effects,
            duplicate_deliveries: self.tally.redelivered,
            unexpected: self.tally.unexpected,
            late_deliveries: self.order.late_count,
            broken: self.tally.broken,
            ..self.verdict.clone()
        }
    }

    /// Says of one message what became of it.
    fn classify(&mut self, serial: Serial, life: &Life, now: SimTime) {
        let verdict = &mut self.verdict;
        if 0 < life.effects {
            verdict.repeated_deliveries += u64::from(life.repeats);
            verdict.recovered += u64::from(life.is_kept || life.is_given_up || life.is_refused);
        } else if life.is_parked && life.handed + life.held == 0 {
            verdict.parked += 1;
        } else if life.is_open() {
            verdict.stalled += 1;
            self.findings.note(|| {
                let (at, last) = life.last;
                format!("{}: message {} is stalled: it was {last} at {}", ms(now), serial.0, ms(at))
            });
        } else if life.has_failed {
            verdict.failed += 1;
        } else if matches!(life.death, Some((_, true))) {
            verdict.dead_lettered += 1;
        } else if life.is_refused {
            verdict.refused += 1;
        } else if life.is_given_up || life.sent.is_none() {
            verdict.given_up += 1;
        } else {
            let is_confirmed = life.confirmed.is_some();
            verdict.lost_confirmed += u64::from(is_confirmed);
            verdict.lost_unconfirmed += u64::from(!is_confirmed);
            verdict.lost_by_rule += u64::from(life.death.is_some());
            self.findings.note(|| life.obituary(serial));
        }
    }
}

impl Life {
    fn new(intended: SimTime, key: u64, size_bytes: u32, priority: u8) -> Self {
        Self {
            intended,
            producer: 0,
            key,
            size_bytes,
            priority,
            ttl: SimDuration::MAX,
            sent: None,
            confirmed: None,
            stored: None,
            started: None,
            done: None,
            left: None,
            ready: 0,
            handed: 0,
            held: 0,
            deliveries: 0,
            effects: 0,
            receivers: 0,
            is_kept: false,
            is_refused: false,
            is_given_up: false,
            has_failed: false,
            is_parked: false,
            has_lapsed: false,
            repeats: 0,
            asked: 1,
            death: None,
            last: (intended, "meant to be sent"),
        }
    }

    /// One that was concluded: it had taken effect.
    fn revived(now: SimTime) -> Self {
        Self { effects: 1, deliveries: 1, sent: Some(now), ..Self::new(now, 0, 0, 0) }
    }

    /// Whether anything is left that could bring its effect, or bring it again.
    fn is_open(&self) -> bool {
        0 < self.ready + self.handed + self.held || self.is_kept
    }

    fn obituary(&self, serial: Serial) -> String {
        let (at, last) = self.last;
        let confirmed = match self.confirmed {
            Some(at) => format!("confirmed at {}", ms(at)),
            None => "never confirmed".to_owned(),
        };
        let size = self.size_bytes;
        format!(
            "{}: message {} ({size} B, {confirmed}) is lost: it was last {last}",
            ms(at),
            serial.0
        )
    }
}

impl ConsumerLog {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            holding: BTreeMap::new(),
            latest: None,
            previous: None,
            latest_of_line: BTreeMap::new(),
            recent: VecDeque::new(),
            useful: SimDuration::ZERO,
            wasted: SimDuration::ZERO,
            completed: 0,
            last_end: SimTime::ZERO,
        }
    }

    fn hold(&mut self, serial: Serial) {
        let all = (serial, 0)..=(serial, u32::MAX);
        let number = self.holding.range(all).next_back().map_or(0, |((_, number), _)| number + 1);
        self.holding.insert((serial, number), Hold::UnderWay);
    }

    /// Changes the first copy of `serial` that is as `from` to `to`; any, where none is.
    fn change(&mut self, serial: Serial, from: Hold, to: Hold) {
        let all = (serial, 0)..=(serial, u32::MAX);
        let mut copies = self.holding.range_mut(all);
        let mut copy = None;
        for (_, hold) in copies.by_ref() {
            let is_it = *hold == from;
            copy = Some(hold);
            if is_it {
                break;
            }
        }
        if let Some(hold) = copy {
            *hold = to;
        }
    }

    /// Parts with one copy of `serial`: one at work first, since that is what ends.
    fn part_with(&mut self, serial: Serial) -> Option<Hold> {
        let all = (serial, 0)..=(serial, u32::MAX);
        let key = self
            .holding
            .range(all.clone())
            .find(|(_, hold)| matches!(hold, Hold::AtWork(_)))
            .or_else(|| self.holding.range(all).next())
            .map(|(&key, _)| key)?;
        self.holding.remove(&key)
    }

    fn forget_under_way(&mut self) -> Vec<Serial> {
        let gone: Vec<(Serial, u32)> = self
            .holding
            .iter()
            .filter(|&(_, hold)| *hold == Hold::UnderWay)
            .map(|(&key, _)| key)
            .collect();
        for key in &gone {
            self.holding.remove(key);
        }
        gone.into_iter().map(|(serial, _)| serial).collect()
    }
}

impl Depth {
    fn new(window: (SimTime, SimTime), steps: Steps) -> Self {
        let gauge = || Gauge::new(window, steps);
        Self {
            window,
            ready: gauge(),
            handed: gauge(),
            all: gauge(),
            bytes: gauge(),
            occupancy_ns: vec![0; OCCUPANCY_MAX],
            occupied_since: SimTime::ZERO,
            busy_periods: 0,
            throughput: Pulse::new(steps),
            recovery: None,
            at_restart: None,
        }
    }

    fn grow(&mut self, token: Token, now: SimTime) {
        self.occupy(now);
        if self.all.value() == 0 && self.window.0 <= now && now < self.window.1 {
            self.busy_periods += 1;
        }
        self.all.add(1, now);
        self.bytes.add(token.size_bytes.into(), now);
        self.note_recovery(now);
    }

    fn shrink(&mut self, token: Token, now: SimTime) {
        self.occupy(now);
        self.all.take(1, now);
        self.bytes.take(token.size_bytes.into(), now);
        self.note_recovery(now);
    }

    fn reset(&mut self, [ready, handed, bytes]: [u64; 3], now: SimTime) {
        self.occupy(now);
        self.ready.set(ready, now);
        self.handed.set(handed, now);
        self.all.set(ready + handed, now);
        self.bytes.set(bytes, now);
        self.note_recovery(now);
    }

    /// Notes for how long so many were in the queue.
    pub(super) fn occupy(&mut self, now: SimTime) {
        let within = now.min(self.window.1).since(self.occupied_since.max(self.window.0));
        let count = (self.all.value() as usize).min(OCCUPANCY_MAX - 1);
        self.occupancy_ns[count] += within.as_ns();
        self.occupied_since = now;
    }

    /// From `now` on it is watched when the queue is as short again as it was on average in the
    /// `span` before an outage, of which `area` is the sum of depth times nanoseconds.
    pub(super) fn watch_recovery(&mut self, area: u128, span: SimDuration, now: SimTime) {
        self.at_restart = Some(self.all.value());
        let usual = area as f64 / span.as_ns().max(1) as f64;
        self.recovery = Some(Recovery { since: now, usual, short_since: None, lasted: false });
        self.note_recovery(now);
    }

    fn note_recovery(&mut self, now: SimTime) {
        let depth = self.all.value();
        if let Some(recovery) = &mut self.recovery {
            recovery.note(depth, now);
        }
    }

    /// How long it took after the outage until the queue was as short again, and stayed so.
    pub(super) fn drain_time(&mut self, now: SimTime) -> Option<SimDuration> {
        self.note_recovery(now);
        let recovery = self.recovery?;
        recovery.short_since.filter(|_| recovery.lasted).map(|at| at.since(recovery.since))
    }
}

/// How a queue gets shorter after an outage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recovery {
    since: SimTime,
    usual: f64,
    short_since: Option<SimTime>,
    lasted: bool,
}

impl Recovery {
    fn note(&mut self, depth: u64, now: SimTime) {
        if self.lasted {
            return;
        }
        // What held until now is looked at before what holds from now on.
        if self.short_since.is_some_and(|since| STAYS <= now.since(since)) {
            self.lasted = true;
        } else if self.usual < depth as f64 {
            self.short_since = None;
        } else {
            self.short_since = self.short_since.or(Some(now));
        }
    }
}

impl OrderLog {
    /// A consumer has received `serial` for the first time.
    fn note(&mut self, log: &mut ConsumerLog, serial: Serial) {
        self.count += 1;
        let latest = log.latest.unwrap_or(serial);
        let distance = if serial < latest {
            log.recent.iter().filter(|&&other| serial < other).count() as u64
        } else {
            0
        };
        if log.recent.len() == RECENT_MAX {
            log.recent.pop_front();
        }
        log.recent.push_back(serial);
        self.late_count += u64::from(0 < distance);
        self.distance_max = self.distance_max.max(distance);
        self.distance_sum += distance;
        self.inversions += u64::from(log.previous.is_some_and(|previous| serial < previous));
        log.latest = Some(latest.max(serial));
        log.previous = Some(serial);
    }
}

impl Findings {
    fn note(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < FINDINGS_MAX {
            self.lines.push(line());
        } else {
            self.left_out += 1;
        }
    }

    /// All sentences, with one about those that were left out.
    pub(super) fn into_lines(mut self) -> Vec<String> {
        if 0 < self.left_out {
            self.lines.push(format!("and {} more", self.left_out));
        }
        self.lines
    }
}

/// The 99th percentile of the latency in windows of 10 s, one after the other.
#[derive(Clone, Debug, Default)]
struct Slo {
    current: Distribution,
    index: u64,
    windows: Vec<(u64, u64)>,
}

impl Slo {
    fn note(&mut self, latency: SimDuration, now: SimTime) {
        let index = now.as_ns() / SLO_WINDOW.as_ns();
        if index != self.index {
            self.close();
            self.index = index;
        }
        self.current.add(latency.as_ns());
    }

    fn close(&mut self) {
        if 0 < self.current.count() {
            self.windows.push((self.index, self.current.quantile(0.99)));
            self.current = Distribution::new();
        }
    }

    /// How long after `until` the percentile comes down to twice what it was before `from`, and
    /// stays there; nothing, where it was not measured before or does not come down.
    fn recovery(&mut self, from: SimTime, until: SimTime) -> Option<SimDuration> {
        self.close();
        let end_of = |index: u64| SimTime::ZERO + SLO_WINDOW.times(index + 1);
        let before = self.windows.iter().filter(|&&(index, _)| end_of(index) <= from);
        let usual = before.map(|&(_, p99)| p99).max()?;
        let bad = self.windows.iter().rev().find(|&&(_, p99)| 2 * usual < p99);
        let Some(&(bad, _)) = bad else { return Some(SimDuration::ZERO) };
        let is_last = self.windows.last().is_some_and(|&(last, _)| last == bad);
        (!is_last).then(|| end_of(bad).since(until))
    }
}

/// An instant as findings have it.
fn ms(at: SimTime) -> String {
    format!("{:.3} ms", at.since(SimTime::ZERO).as_ms_f64())
}

const SLO_WINDOW: SimDuration = SimDuration::from_secs(10);

/// For how long a queue has to stay short to count as recovered.
const STAYS: SimDuration = SimDuration::from_secs(1);

/// More messages than this in a queue count as this many where the time of each count is kept.
const OCCUPANCY_MAX: usize = 1024;

/// How many of the latest deliveries to a consumer are counted among those that overtook a late one.
const RECENT_MAX: usize = 1024;

/// Sentences about what went wrong, at most.
const FINDINGS_MAX: usize = 12;
