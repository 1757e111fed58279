//! What a run of a ring in motion leaves behind.

use crate::choice::Choice;
use crate::kernel::rng::Seed;
use crate::kernel::sim::RunEnd;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::ClusterEnd;
use crate::model::directory::Directory;
use crate::model::node::NodeId;
use crate::model::surroundings::Surroundings;
use crate::record::{Curve, Ending, Measure, Metric, Profile, Record, Sample, Subject};

use super::config::{Holding, MotionConfig};
use super::judge::{Judge, Seen, Window};
use super::metrics::{
    ABSENT, ANSWERED, AVAILABILITY, BROKEN, CASCADE, CENSORED, CHANGE_BYTES, CHANGE_MOVED,
    CHANGE_TIME, COPIED, COPIED_BYTES, COPIED_RATIO, COPY_TIME, DEAD_NODES, FAILED, FAILURES,
    GOODPUT, HANDED_ON, HIT_DIP, HIT_RATIO, HIT_RECOVERY, LATENCY, LATENCY_COURSE, LOAD_SKEW,
    LOST_KEYS, MISROUTED, MISROUTES, NODE_LOAD, ORIGIN_FETCHES, REFUSALS, REQUESTS, SHED_NODES,
    SPILLED, THROUGHPUT, TIMEOUTS, UNACCOUNTED, VIEWS, WORK,
};
use super::protocol::Cause;

/// The record of a run that has come to its end.
pub(super) fn record(
    choice: &Choice,
    motion: &MotionConfig,
    directory: &Directory,
    around: &Surroundings,
    seed: Seed,
    end: ClusterEnd<Judge>,
) -> Record {
    let ClusterEnd { workload, run, faults, .. } = end;
    let seen = workload.finish(run.now);
    let ending = match run.end {
        RunEnd::Horizon | RunEnd::Drained => Ending::Complete,
        RunEnd::EventCap => Ending::Incomplete(format!("{} events happened", run.event_count)),
        RunEnd::SameInstantCap => {
            Ending::Incomplete(format!("too much happened at {}", run.now.since(SimTime::ZERO)))
        }
        RunEnd::TimeCap => Ending::Incomplete("the time cap was reached".into()),
    };
    let mut faults = faults;
    faults.extend(seen.staged.iter().cloned());
    faults.sort_by_key(|fault| fault.from);
    let mut story = Story {
        motion,
        directory,
        warm_up: around.warm_up,
        measures: Vec::new(),
        findings: Vec::new(),
    };
    story.totals(&seen);
    story.hits(&seen, faults.first().map(|fault| fault.from));
    story.decisions(&seen);
    story.cascade(&seen);
    let Story { measures, mut findings, .. } = story;
    findings.sort_by_key(|(at, _)| *at);
    let findings = findings
        .into_iter()
        .map(|(at, what)| format!("at {}: {what}", at.since(SimTime::ZERO)))
        .chain(seen.built_anew.iter().map(|why| format!("placement built anew: {why}")));
    Record {
        subject: Subject::Rings,
        variant: choice.label(),
        point: Vec::new(),
        seed,
        measures,
        curves: curves(motion, &seen),
        profiles: vec![node_load(directory, &seen)],
        flows: Vec::new(),
        spans: Vec::new(),
        findings: findings.collect(),
        window: None,
        samples: samples(seen),
        faults,
        ending,
        event_count: run.event_count,
        fingerprint: run.fingerprint,
    }
}

/// A record in the making.
struct Story<'a> {
    motion: &'a MotionConfig,
    directory: &'a Directory,
    warm_up: SimDuration,
    measures: Vec<Measure>,
    findings: Vec<(SimTime, String)>,
}

impl Story<'_> {
    fn add(&mut self, metric: &'static Metric, value: f64) {
        self.add_at(metric, "", value);
    }

    fn add_at(&mut self, metric: &'static Metric, at: &str, value: f64) {
        assert!(!value.is_nan(), "{} is not a number", metric.name);
        self.measures.push(Measure { metric, at: at.to_owned(), value });
    }

    fn find(&mut self, at: SimTime, what: String) {
        self.findings.push((at, what));
    }

    fn totals(&mut self, seen: &Seen) {
        let seconds = (self.motion.duration.as_secs_f64() - self.warm_up.as_secs_f64()).max(1e-9);
        let ended = seen.answered + seen.failed;
        let availability = if ended == 0 { 1.0 } else { share(seen.answered, ended) };
        let served: u64 = seen.served.iter().sum();
        let busiest = seen.served.iter().copied().max().unwrap_or(0);
        let skew = skew(busiest, served, seen.members.len() as u64);
        let accounted = ended + seen.censored;
        let counts = [
            (&REQUESTS, seen.requests),
            (&ANSWERED, seen.answered),
            (&FAILED, seen.failed),
            (&CENSORED, seen.censored),
            (&SPILLED, seen.spilled),
            (&TIMEOUTS, seen.timeouts),
            (&REFUSALS, seen.refusals),
            (&BROKEN, seen.broken),
            (&VIEWS, seen.decisions.len() as u64),
        ];
        for (metric, count) in counts {
            self.add(metric, count as f64);
        }
        self.add(&UNACCOUNTED, seen.requests as f64 - accounted as f64);
        self.add(&AVAILABILITY, availability);
        self.add(&THROUGHPUT, seen.answered as f64 / seconds);
        self.add(&GOODPUT, seen.in_time as f64 / seconds);
        self.add(&LOAD_SKEW, skew);
        self.add(&MISROUTED, share(seen.misroutes, served));
        self.add(&WORK, share(served, seen.requests));
        match self.motion.node {
            Holding::Cache(_) => self.add(&ORIGIN_FETCHES, seen.fetches as f64),
            Holding::Store(_) => {
                self.add(&HANDED_ON, seen.handed_on as f64);
                self.add(&ABSENT, seen.absent as f64);
                self.add(&COPIED_BYTES, seen.copied_bytes as f64);
                if 0 < seen.due_bytes {
                    self.add(&COPIED_RATIO, share(seen.copied_bytes, seen.due_bytes));
                }
                self.add(&COPY_TIME, seen.copy_time.as_ns() as f64);
                self.add(&LOST_KEYS, seen.lost_keys as f64);
                if let Some(at) = seen.first_lost {
                    self.find(at, format!("the first of {} copies found nowhere", seen.lost_keys));
                }
            }
        }
    }

    /// `first` is when the first fault struck, or the first change was ordered.
    fn hits(&mut self, seen: &Seen, first: Option<SimTime>) {
        if let Holding::Store(_) = self.motion.node {
            return;
        }
        let reads = seen.hits + seen.misses;
        if 0 < reads {
            self.add(&HIT_RATIO, share(seen.hits, reads));
        }
        let Some(first) = first else { return };
        let step = self.motion.window.as_ns();
        let whole_before = (first.as_ns() / step) as usize;
        let from = self.warm_up.as_ns().div_ceil(step) as usize;
        let before = seen.windows.get(from..whole_before).unwrap_or(&[]);
        let (hits, reads) = sum_hits(before);
        if reads == 0 {
            return;
        }
        let usual = share(hits, reads);
        let after = seen.windows.iter().enumerate().skip(whole_before);
        let ratios: Vec<(usize, f64)> =
            after.filter_map(|(index, window)| Some((index, window.hit_ratio()?))).collect();
        let lowest = ratios.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let Some((lowest_at, lowest)) = lowest else { return };
        self.add(&HIT_DIP, (usual - lowest).max(0.0));
        let last_low = ratios.iter().rev().find(|(_, ratio)| *ratio < usual - NOTICEABLE);
        let recovered = last_low.map_or(first.as_ns(), |(index, _)| (*index as u64 + 1) * step);
        self.add(&HIT_RECOVERY, recovered.saturating_sub(first.as_ns()) as f64);
        if NOTICEABLE < usual - lowest {
            let (from, to) = (percent(usual), percent(lowest));
            let at = SimTime::from_ns(lowest_at as u64 * step);
            self.find(at, format!("the hit ratio is down from {from} to {to}"));
        }
    }

    fn decisions(&mut self, seen: &Seen) {
        let copies = (seen.copy_count as f64).max(1.0);
        for decision in &seen.decisions {
            let at = decision.label.as_str();
            if let Holding::Store(_) = &self.motion.node {
                self.add_at(&CHANGE_MOVED, at, decision.moved as f64 / copies);
                self.add_at(&CHANGE_BYTES, at, decision.copied_bytes as f64);
                if let Some(done) = decision.done {
                    self.add_at(&CHANGE_TIME, at, done.since(decision.at).as_ns() as f64);
                }
            }
        }
        let down = seen.decisions.iter().filter_map(|decision| match decision.cause {
            Cause::Down(node) => Some((decision, node)),
            Cause::Up(_) | Cause::Change(_) => None,
        });
        for (decision, node) in down.take(FINDINGS_MAX) {
            let (name, members) = (self.directory.name(node), decision.member_count);
            self.find(decision.at, format!("{name} is held for dead: {members} members"));
        }
    }

    fn cascade(&mut self, seen: &Seen) {
        let shed = seen.shed.iter().flatten().count();
        self.add(&SHED_NODES, shed as f64);
        if self.motion.overload.is_some() {
            self.add(&DEAD_NODES, seen.deaths.len() as f64);
        }
        for &(at, node) in seen.deaths.iter().take(FINDINGS_MAX) {
            self.find(at, format!("{} dies of its load", self.directory.name(node)));
        }
        if self.motion.overload.is_none() && QUEUE_WIDE <= self.motion.station.queue {
            return;
        }
        let follows = |number: usize, (first_at, first): (SimTime, NodeId)| {
            let node = NodeId(number as u32);
            let sheds = seen.shed[number].is_some_and(|at| first_at <= at);
            let dies = seen.deaths.iter().any(|&(_, dead)| dead == node);
            node != first && (sheds || dies)
        };
        let followers: Vec<usize> = match seen.first_down {
            Some(first) => (0..seen.shed.len()).filter(|&n| follows(n, first)).collect(),
            None => Vec::new(),
        };
        self.add(&CASCADE, followers.len() as f64);
        if let (Some((_, first)), Some(at)) =
            (seen.first_down, followers.iter().filter_map(|&number| seen.shed[number]).min())
        {
            let names = followers.iter().take(FINDINGS_MAX);
            let names: Vec<&str> =
                names.map(|&number| self.directory.name(NodeId(number as u32))).collect();
            let (count, first) = (followers.len(), self.directory.name(first));
            let names = names.join(", ");
            self.find(at, format!("{first} is down, and {count} more have too much: {names}"));
        }
    }
}

fn samples(seen: Seen) -> Vec<Sample> {
    let sample = |at: &str, distribution| Sample { metric: &LATENCY, at: at.into(), distribution };
    let mut samples = vec![sample("", seen.latency)];
    if 0 < seen.latency_copying.count() {
        samples.push(sample("copying", seen.latency_copying));
    }
    samples
}

fn node_load(directory: &Directory, seen: &Seen) -> Profile {
    let served: u64 = seen.served.iter().sum();
    let bar = |(number, &count): (usize, &u64)| {
        (directory.name(NodeId(number as u32)).to_owned(), share(count, served))
    };
    let bars = seen.served.iter().enumerate().map(bar).collect();
    Profile { metric: &NODE_LOAD, at: String::new(), bars, fair: None }
}

fn curves(motion: &MotionConfig, seen: &Seen) -> Vec<Curve> {
    let step = motion.window;
    let seconds = step.as_secs_f64();
    let curve = |metric: &'static Metric, value: &dyn Fn(&Window) -> f64| Curve {
        metric,
        at: String::new(),
        step,
        values: seen.windows.iter().map(value).collect(),
    };
    let mut curves = vec![
        curve(&THROUGHPUT, &|window| window.answered as f64 / seconds),
        curve(&FAILURES, &|window| window.failed as f64 / seconds),
        curve(&LATENCY_COURSE, &|window| window.latency_p99 as f64),
        curve(&LOAD_SKEW, &|window| skew(window.busiest, window.served, window.members)),
        curve(&MISROUTES, &|window| window.misroutes as f64 / seconds),
    ];
    match motion.node {
        Holding::Cache(_) => {
            let mut hits = curve(&HIT_RATIO, &|window| window.hit_ratio().unwrap_or(f64::NAN));
            let mut last = 0.0;
            for value in &mut hits.values {
                last = if value.is_nan() { last } else { *value };
                *value = last;
            }
            curves.push(hits);
        }
        Holding::Store(_) => curves.push(curve(&COPIED, &|window| window.copied_bytes as f64)),
    }
    curves
}

impl Window {
    fn hit_ratio(&self) -> Option<f64> {
        let reads = self.hits + self.misses;
        (0 < reads).then(|| share(self.hits, reads))
    }
}

fn sum_hits(windows: &[Window]) -> (u64, u64) {
    windows.iter().fold((0, 0), |(hits, reads), w| (hits + w.hits, reads + w.hits + w.misses))
}

/// Zero of zero is nothing.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Maximum over mean; 1 where there is nothing.
fn skew(busiest: u64, served: u64, members: u64) -> f64 {
    if served == 0 { 1.0 } else { busiest as f64 * members as f64 / served as f64 }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A hit ratio that is lower by less is as good as before.
const NOTICEABLE: f64 = 0.02;
/// A queue of this length is as good as one without a bound.
const QUEUE_WIDE: u32 = 1_000_000;
/// No more sentences of a kind are told than this.
const FINDINGS_MAX: usize = 5;
