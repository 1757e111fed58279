//! What is measured of a run with locks, and how it becomes a record.
//!
//! Safety is judged over the whole run. Speed is measured from the end of the warm-up on, and
//! counts what was safe: a grant whose section is bad at the resource is no service.

use std::collections::BTreeMap;

use crate::choice::Choice;
use crate::kernel::rng::Seed;
use crate::kernel::sim::RunEnd;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::Change;
use crate::model::surroundings::Surroundings;
use crate::record::{
    Better, Curve, Distribution, Ending, Measure, Metric, Record, Sample, Subject, Unit,
};

use super::LockId;
use super::course;
use super::history::{Grant, GrantEnd, History, WaitEnd};
use super::judge::Verdicts;
use super::section::Outcome;
use super::testbed::{LocksConfig, Played};

#[cfg(test)]
mod tests;

/// The record of a run.
pub(super) fn record(
    choice: &Choice,
    config: &LocksConfig,
    around: &Surroundings,
    seed: Seed,
    played: &Played,
) -> Record {
    let verdicts = Verdicts::of(played);
    let measures = safety(&played.history, &verdicts);
    let mut report = Report { played, verdicts, measures, samples: Vec::new() };
    report.speed(SimTime::ZERO + around.warm_up, config);
    let findings = report.verdicts.findings(FINDINGS_A_KIND);
    Record {
        subject: Subject::Locks,
        variant: choice.label(),
        point: Vec::new(),
        seed,
        curves: vec![grants_over_time(&played.history)],
        measures: report.measures,
        samples: report.samples,
        profiles: Vec::new(),
        flows: Vec::new(),
        spans: course::telling(played),
        faults: played.faults.clone(),
        findings: findings.into_iter().map(|finding| finding.text).collect(),
        window: None,
        ending: match played.run.end {
            RunEnd::Horizon | RunEnd::Drained => Ending::Complete,
            RunEnd::EventCap => Ending::Incomplete("the event cap was reached".into()),
            RunEnd::SameInstantCap => {
                Ending::Incomplete("too many events happened at one instant".into())
            }
            RunEnd::TimeCap => Ending::Incomplete("the time cap was reached".into()),
        },
        event_count: played.run.event_count,
        fingerprint: played.run.fingerprint,
    }
}

struct Report<'a> {
    played: &'a Played,
    verdicts: Verdicts,
    measures: Vec<Measure>,
    samples: Vec<Sample>,
}

impl Report<'_> {
    fn add(&mut self, metric: &'static Metric, at: &str, value: f64) {
        assert!(!value.is_nan(), "{} is not a number", metric.name);
        self.measures.push(Measure { metric, at: at.to_owned(), value });
    }

    fn count(&mut self, metric: &'static Metric, count: u64) {
        self.add(metric, "", count as f64);
    }

    fn speed(&mut self, from: SimTime, config: &LocksConfig) {
        let history = &self.played.history;
        let measured = history.end.since(from).as_secs_f64();
        let bad = &self.verdicts.effect.bad_sections;
        let grants: Vec<&Grant> =
            history.grants.iter().filter(|grant| from <= grant.granted).collect();
        let useful: Vec<&&Grant> =
            grants.iter().filter(|grant| bad.binary_search(&grant.section).is_err()).collect();
        let held: u64 = useful.iter().map(|grant| grant.until.since(grant.granted).as_ns()).sum();
        let per_second = |count: f64| if 0.0 < measured { count / measured } else { 0.0 };
        self.add(&GRANT_RATE, "", per_second(useful.len() as f64));
        self.add(&UTILISATION, "", per_second(held as f64 / 1e9 / f64::from(config.locks)));

        let (waits, censored) = waits(history, from);
        self.sample(&WAIT, waits);
        self.count(&WAITS_CENSORED, censored);
        let handovers = Handovers::of(&grants, history);
        self.sample(&HANDOVER, handovers.times);
        if 0 < handovers.releases {
            let share = handovers.to_itself as f64 / handovers.releases as f64;
            self.add(&SELF_REACQUIRE, "", share);
        }
        self.count(&STREAK_MAX, handovers.streak_max);
        let client_count = self.played.directory.group("client").len();
        self.add(&JAIN, "", jain(&grants, client_count));
        if let Some(least) = jain_in_windows(&grants, client_count) {
            self.add(&JAIN_WINDOW, "", least);
        }

        let count = grants.len() as f64;
        if !grants.is_empty() {
            let since = |times: &[SimTime]| times.iter().filter(|at| from <= **at).count() as f64;
            let (tries, wakes) = (since(&history.tries), since(&history.wakes));
            self.add(&TRIES_PER_GRANT, "", tries / count);
            self.add(&WAKES_PER_GRANT, "", wakes / count);
            let all = history.grants.len() as f64;
            for traffic in self.played.traffic.clone() {
                self.add(&MESSAGES_PER_GRANT, traffic.kind, traffic.count as f64 / all);
            }
        }
        for (kind, times) in unavailability(history) {
            self.samples.push(Sample {
                metric: &UNAVAILABILITY,
                at: kind.to_owned(),
                distribution: times,
            });
        }
        self.shards(from);
        if let Some(healing) = healing(self.played) {
            self.add(&HEALING, "", healing.as_ns() as f64);
        }
    }

    /// How the requests fall to the services, where there are several.
    fn shards(&mut self, from: SimTime) {
        let Played { history, shards, .. } = self.played;
        if shards.count() == 1 {
            return;
        }
        let measured = history.end.since(from).as_secs_f64();
        let mut by_shard = vec![0_u64; shards.count() as usize];
        let mut by_lock = BTreeMap::<LockId, u64>::new();
        for wait in history.waits.iter().filter(|wait| from <= wait.requested) {
            by_shard[shards.of(wait.lock) as usize] += 1;
            *by_lock.entry(wait.lock).or_default() += 1;
        }
        for (count, number) in by_shard.iter().zip(1..) {
            let load = if 0.0 < measured { *count as f64 / measured } else { 0.0 };
            self.add(&SHARD_LOAD, &format!("service-{number}"), load);
        }
        let sum: u64 = by_shard.iter().sum();
        if 0 < sum {
            let over_mean = |most: Option<&u64>| {
                most.copied().unwrap_or(0) as f64 * f64::from(shards.count()) / sum as f64
            };
            let (busiest, hottest) = (by_shard.iter().max(), by_lock.values().max());
            self.add(&SHARD_SKEW, "", over_mean(busiest));
            self.add(&SHARD_SKEW_FLOOR, "", over_mean(hottest).max(1.0));
        }
    }

    fn sample(&mut self, metric: &'static Metric, distribution: Distribution) {
        self.samples.push(Sample { metric, at: String::new(), distribution });
    }
}

/// What the judges say of a history, as numbers.
pub(crate) fn safety(history: &History, verdicts: &Verdicts) -> Vec<Measure> {
    let ended_as = |outcome| {
        let is_so = |passage: &&super::history::Passage| {
            passage.over.is_some_and(|(_, how)| how == outcome)
        };
        history.sections.iter().filter(is_so).count() as u64
    };
    let Verdicts { service, operational, by_deadline, effect, fencing, liveness, .. } = verdicts;
    let stalled = liveness.stalled_for(STALL, history.end) as u64;
    let nanoseconds = |length: SimDuration| length.as_ns();
    let numbers = [
        (&SERVICE_VIOLATIONS, service.violations),
        (&BELIEF_VIOLATIONS, operational.pairs),
        (&BELIEF_VIOLATIONS_BY_DEADLINE, by_deadline.pairs),
        (&BELIEF_OVERLAP, nanoseconds(operational.total)),
        (&BELIEF_OVERLAP_LONGEST, nanoseconds(operational.longest)),
        (&EFFECT_VIOLATIONS, effect.bad_sections.len() as u64),
        (&LOST_INCREMENTS, effect.lost_increments),
        (&FOREIGN_RELEASES, service.foreign_releases),
        (&TOKENS_REPEATED, fencing.double_grants + fencing.regressions),
        (&FENCING_HITS, fencing.refused),
        (&SELF_ABORTS, ended_as(Outcome::Lost)),
        (&FENCED_SECTIONS, ended_as(Outcome::Fenced)),
        (&STALLED_LOCKS, stalled),
        (&OPEN_WAITS, liveness.open.len() as u64),
        (&BYPASS_MAX, liveness.bypass_max),
        (&NOT_LINEARIZABLE, u64::from(!verdicts.is_linearizable)),
    ];
    let measure = |(metric, number): (&'static Metric, u64)| Measure {
        metric,
        at: String::new(),
        value: number as f64,
    };
    numbers.map(measure).to_vec()
}

/// How long lock requests made from `from` on took until the grant, and how many had none.
pub(crate) fn waits(history: &History, from: SimTime) -> (Distribution, u64) {
    let mut waits = Distribution::new();
    let mut censored = 0;
    for wait in history.waits.iter().filter(|wait| from <= wait.requested) {
        match wait.ended {
            Some((at, WaitEnd::Granted)) => waits.add(at.since(wait.requested).as_ns()),
            Some((_, WaitEnd::GaveUp | WaitEnd::Died)) | None => censored += 1,
        }
    }
    (waits, censored)
}

/// What happened between a release and the next grant.
#[derive(Default)]
struct Handovers {
    times: Distribution,
    /// Releases at which another client waited.
    releases: u64,
    /// Those after which the one that released was granted the lock again first.
    to_itself: u64,
    /// The most grants in a row to one client while another waited.
    streak_max: u64,
}

impl Handovers {
    fn of(grants: &[&Grant], history: &History) -> Self {
        let mut grants = grants.to_vec();
        grants.sort_by_key(|grant| (grant.lock, grant.granted));
        let mut waits = history.waits.clone();
        waits.sort_by_key(|wait| (wait.lock, wait.requested));
        let mut handovers = Self::default();
        let mut streak = 1;
        for pair in grants.windows(2) {
            let [previous, next] = [pair[0], pair[1]];
            if previous.lock != next.lock {
                streak = 1;
                continue;
            }
            streak = if previous.client == next.client { streak + 1 } else { 1 };
            handovers.streak_max = handovers.streak_max.max(streak);
            let is_orderly =
                previous.ended == Some(GrantEnd::Released) && previous.until <= next.granted;
            if !is_orderly {
                continue;
            }
            let released = previous.until;
            let before = waits
                .partition_point(|wait| (wait.lock, wait.requested) <= (previous.lock, released));
            // A wait is long only where many wait: the look back is short.
            let someone_waited = waits[..before]
                .iter()
                .rev()
                .take(LOOK_BACK)
                .take_while(|wait| wait.lock == previous.lock)
                .any(|wait| {
                    wait.client != previous.client && wait.ended.is_none_or(|(at, _)| released < at)
                });
            if someone_waited {
                handovers.releases += 1;
                if next.client == previous.client {
                    handovers.to_itself += 1;
                } else if next.requested <= released {
                    handovers.times.add(next.granted.since(released).as_ns());
                }
            }
        }
        handovers
    }
}

/// (sum x)² / (n sum x²) over the grants of each client (Jain, Chiu and Hawe, DEC-TR-301, 1984).
fn jain(grants: &[&Grant], client_count: usize) -> f64 {
    let mut counts = vec![0.0; client_count];
    for grant in grants {
        // Clients are the first nodes of the directory.
        counts[grant.client.index()] += 1.0;
    }
    let (sum, squares) =
        counts.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    if squares == 0.0 { 1.0 } else { sum * sum / (client_count as f64 * squares) }
}

/// The least of the index over all windows of ten grants a client; none where there are not so many
/// grants.
fn jain_in_windows(grants: &[&Grant], client_count: usize) -> Option<f64> {
    let mut by_time = grants.to_vec();
    by_time.sort_by_key(|grant| grant.granted);
    let size = 10 * client_count;
    let mut counts = vec![0_u64; client_count];
    let mut squares = 0;
    let mut least: Option<f64> = None;
    for (index, grant) in by_time.iter().enumerate() {
        let count = &mut counts[grant.client.index()];
        squares += 2 * *count + 1;
        *count += 1;
        if size <= index {
            let count = &mut counts[by_time[index - size].client.index()];
            squares -= 2 * *count - 1;
            *count -= 1;
        }
        if size <= index + 1 {
            let jain = (size * size) as f64 / (client_count as f64 * squares as f64);
            least = Some(least.map_or(jain, |least| least.min(jain)));
        }
    }
    least
}

/// How long after a holder was lost the next client was granted its lock, by how it was lost.
fn unavailability(history: &History) -> Vec<(&'static str, Distribution)> {
    let mut found = vec![
        ("process died", Distribution::new()),
        ("machine died", Distribution::new()),
        ("stood still", Distribution::new()),
    ];
    for (at, node, change) in &history.changes {
        let kind = match change {
            Change::ProcessDown => 0,
            Change::MachineDown => 1,
            Change::Paused => 2,
            Change::Up | Change::Resumed => continue,
        };
        // One that stands still goes on believing.
        let held = history.grants.iter().filter(|grant| {
            grant.client == *node
                && match change {
                    Change::Paused => grant.granted < *at && *at < grant.until,
                    _ => grant.ended == Some(GrantEnd::Died) && grant.until == *at,
                }
        });
        for lost in held {
            let next = history.grants.iter().filter(|grant| {
                grant.lock == lost.lock && *at <= grant.granted && grant.client != *node
            });
            if let Some(next) = next.map(|grant| grant.granted).min() {
                found[kind].1.add(next.since(*at).as_ns());
            }
        }
    }
    found.retain(|(_, times)| 0 < times.count());
    found
}

/// How long after the last fault was over the next grant came, where somebody waited then and one
/// did come.
fn healing(played: &Played) -> Option<SimDuration> {
    let history = &played.history;
    let ends = played.faults.iter().map(|fault| fault.until);
    let over = ends.filter(|until| *until < history.end).max()?;
    let waits = |wait: &super::history::Wait| {
        wait.requested <= over && wait.ended.is_none_or(|(ended, _)| over < ended)
    };
    if !history.waits.iter().any(waits) {
        return None;
    }
    let next = history.grants.iter().map(|grant| grant.granted).filter(|at| over <= *at).min()?;
    Some(next.since(over))
}

fn grants_over_time(history: &History) -> Curve {
    const STEPS: u64 = 120;
    let length = SimDuration::from_ns((history.end.as_ns() / STEPS).max(1));
    let mut values = vec![0.0; STEPS as usize];
    for grant in &history.grants {
        let step = (grant.granted.as_ns() / length.as_ns()).min(STEPS - 1);
        values[step as usize] += 1.0 / length.as_secs_f64();
    }
    Curve { metric: &GRANTS, at: String::new(), step: length, values }
}

/// A lock that nobody was granted for so long, though a live client waited, is stalled.
const STALL: SimDuration = SimDuration::from_secs(10);
/// How many violations of each kind are told in words.
const FINDINGS_A_KIND: usize = 3;
/// How far back a release looks for someone who waits.
const LOOK_BACK: usize = 4096;

/// All that is measured.
pub const METRICS: &[&Metric] = &[
    &SERVICE_VIOLATIONS,
    &BELIEF_VIOLATIONS,
    &BELIEF_VIOLATIONS_BY_DEADLINE,
    &BELIEF_OVERLAP,
    &BELIEF_OVERLAP_LONGEST,
    &EFFECT_VIOLATIONS,
    &LOST_INCREMENTS,
    &FOREIGN_RELEASES,
    &TOKENS_REPEATED,
    &FENCING_HITS,
    &FENCED_SECTIONS,
    &SELF_ABORTS,
    &NOT_LINEARIZABLE,
    &STALLED_LOCKS,
    &OPEN_WAITS,
    &GRANT_RATE,
    &UTILISATION,
    &GRANTS,
    &WAIT,
    &WAITS_CENSORED,
    &HANDOVER,
    &SELF_REACQUIRE,
    &STREAK_MAX,
    &BYPASS_MAX,
    &JAIN,
    &JAIN_WINDOW,
    &TRIES_PER_GRANT,
    &WAKES_PER_GRANT,
    &MESSAGES_PER_GRANT,
    &UNAVAILABILITY,
    &HEALING,
    &SHARD_LOAD,
    &SHARD_SKEW,
    &SHARD_SKEW_FLOOR,
];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $title:literal, $unit:ident, $better:ident:
       $definition:literal;)*) => {$(
        #[doc = $definition]
        pub static $constant: Metric = Metric {
            name: $name,
            title: $title,
            unit: Unit::$unit,
            better: Better::$better,
            definition: $definition,
        };
    )*};
}

metrics! {
    SERVICE_VIOLATIONS = "l1_violations", "L1: double grants by the service", Count, Lower:
        "Grants of a lock by the service while another client's grant of it lasted, by the service's own books.";
    BELIEF_VIOLATIONS = "l2_violations", "L2: overlapping beliefs", Count, Lower:
        "Pairs of clients that believed at the same time that they held the same lock. A belief begins when the client sees the grant and ends when it begins to release, learns of the loss, or dies; a paused client still believes.";
    BELIEF_VIOLATIONS_BY_DEADLINE = "l2_violations_by_deadline", "L2: overlapping beliefs, by deadline", Count, Lower:
        "As l2_violations, but a belief also ends at the validity deadline on the client's own clock, where its protocol tells it one.";
    BELIEF_OVERLAP = "l2_overlap", "L2: overlap of beliefs", Nanoseconds, Lower:
        "The sum of the overlaps that l2_violations counts.";
    BELIEF_OVERLAP_LONGEST = "l2_overlap_longest", "L2: longest overlap of beliefs", Nanoseconds, Lower:
        "The longest of the overlaps that l2_violations counts.";
    EFFECT_VIOLATIONS = "l3_violations", "L3: sections with a bad effect", Count, Lower:
        "Sections on a cycle of the conflict graph of all operations that the resource let through, or with a write that was let through after one with a later token.";
    LOST_INCREMENTS = "lost_increments", "lost increments", Count, Lower:
        "Writes that the resource let through, each of which meant to add one to its counter, minus the sum of the counters at the end.";
    FOREIGN_RELEASES = "foreign_releases", "foreign releases", Count, Lower:
        "Releases that took a lock from a client other than the one that sent them.";
    TOKENS_REPEATED = "tokens_repeated", "fencing tokens repeated", Count, Lower:
        "Grants with a fencing token not later than that of an earlier grant of the same lock to another client.";
    FENCING_HITS = "fencing_hits", "operations refused by fencing", Count, Neither:
        "Reads and writes that the resource refused because of their token.";
    FENCED_SECTIONS = "fenced_sections", "sections ended by fencing", Count, Neither:
        "Sections that ended because the resource refused their token.";
    SELF_ABORTS = "self_aborts", "sections ended by their client", Count, Neither:
        "Sections that ended before their write because their lock client said that the lock was lost.";
    NOT_LINEARIZABLE = "not_linearizable", "history not linearizable", Count, Neither:
        "1 where the grants and releases, as the clients saw them, are no history of a mutex with owners and rising tokens; else 0. Expected of a lease under a long pause.";
    STALLED_LOCKS = "stalled_locks", "locks stalled", Count, Lower:
        "Locks that at the end nobody had been granted for 10 s or more though a live client waited all that time.";
    OPEN_WAITS = "open_waits", "clients left waiting", Count, Neither:
        "Live clients that still waited for a lock when the run ended.";
    GRANT_RATE = "grant_rate", "grants", PerSecond, Higher:
        "Grants a second from the end of the warm-up on, without those to sections that l3_violations counts.";
    UTILISATION = "lock_utilisation", "utilisation of a lock", Share, Neither:
        "The sum of the times for which the grants of grant_rate were held, over the time measured and the number of locks.";
    GRANTS = "grants", "grants", PerSecond, Higher:
        "Grants seen by clients in a step of time, over its length.";
    WAIT = "lock_wait", "wait for a lock", Nanoseconds, Lower:
        "From the first request of a client for a lock until it sees the grant, for requests after the warm-up. Requests that were never granted are in waits_censored. Quantiles by nearest rank.";
    WAITS_CENSORED = "waits_censored", "waits without a grant", Count, Lower:
        "Requests after the warm-up that ended without a grant: given up, ended by a crash, or still open at the end.";
    HANDOVER = "handover", "hand-over", Nanoseconds, Lower:
        "From the moment at which a client begins to release a lock until another client, which waited then, sees its grant, for pairs of grants that follow each other. What a client takes back itself is in self_reacquire.";
    SELF_REACQUIRE = "self_reacquire", "taken back by the releaser", Share, Neither:
        "The share of the releases, at which another client waited, after which the client that released was granted the lock again first.";
    STREAK_MAX = "streak_max", "longest streak", Count, Lower:
        "The most grants of a lock in a row to one client.";
    BYPASS_MAX = "bypass_max", "times overtaken", Count, Lower:
        "The most grants of a lock to other clients that asked for it later than a client that still waited.";
    JAIN = "jain", "Jain fairness index", Ratio, Higher:
        "(sum x)² / (n · sum x²) over the grants x of each of the n clients; 1 is perfectly fair, 1/n is one client having all.";
    JAIN_WINDOW = "jain_window", "Jain fairness index, worst window", Ratio, Higher:
        "The least Jain fairness index over all windows of ten grants a client.";
    TRIES_PER_GRANT = "tries_per_grant", "tries a grant", Ratio, Lower:
        "Requests for a lock that clients sent (one, where several servers are asked together) over grants.";
    WAKES_PER_GRANT = "wakes_per_grant", "wake-ups a grant", Ratio, Lower:
        "How often clients were told to look whether they can have a lock, over grants.";
    MESSAGES_PER_GRANT = "messages_per_grant", "messages a grant", Ratio, Lower:
        "Messages of one kind that were sent in the whole run, over all grants.";
    UNAVAILABILITY = "unavailability", "unavailable after a holder's loss", Nanoseconds, Lower:
        "From the death or the pause of a client that holds a lock until another client sees a grant of it, by what happened to the holder.";
    HEALING = "healing", "first grant after the last fault", Nanoseconds, Lower:
        "From the end of the last fault until the next grant, where a client waited then.";
    SHARD_LOAD = "shard_load", "requests to a service", PerSecond, Neither:
        "Requests for the locks of one service, each counted once however often it is tried, a second from the end of the warm-up on; where the locks are shared out over several services.";
    SHARD_SKEW = "shard_skew", "busiest service over the mean", Ratio, Lower:
        "The most requests that one of the services has, over the mean of all of them.";
    SHARD_SKEW_FLOOR = "shard_skew_floor", "least skew that the locks allow", Ratio, Neither:
        "What no placement of whole locks can beat: the requests for the lock that is wanted most over the mean of the services, or 1 where that is more.";
}
