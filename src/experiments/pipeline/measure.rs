//! What is measured of a pipeline: what the judges of queues and of locks say, and what only both
//! together can say.

use std::collections::BTreeMap;

use crate::choice::Choice;
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::locks::history::History;
use crate::locks::judge::Verdicts;
use crate::locks::{self, LockId};
use crate::model::surroundings::Surroundings;
use crate::queues;
use crate::record::brief::{Brief, Finding, Headline, Picture};
use crate::record::summary::Statistic;
use crate::record::{
    Better, Distribution, Measure, Metric, Profile, Record, Sample, Subject, Unit,
};

use super::testbed::Played;

/// The record of a run.
pub(super) fn record(
    choice: &Choice,
    around: &Surroundings,
    seed: Seed,
    mut played: Played,
) -> Record {
    let faults = played.locks.faults.clone();
    let run = &played.locks.run;
    let record = queues::measure::blank(Subject::Pipeline, choice, seed, run, faults);
    let Played { judge, lags, steps, now, .. } = &mut played;
    let (mut record, _) = queues::measure::judged(record, judge, lags, *steps, *now);
    let verdicts = Verdicts::of(&played.locks);
    let words = verdicts.findings(FINDINGS_A_KIND).into_iter().map(|finding| finding.text);
    record.findings.extend(words);
    record.measures.extend(locks::measure::safety(&played.locks.history, &verdicts));
    let mut page = Page { record };
    page.spread(&played);
    page.waits(&played, SimTime::ZERO + around.warm_up);
    page.accounts(&played);
    page.record
}

/// A record in the making.
struct Page {
    record: Record,
}

impl Page {
    fn add(&mut self, metric: &'static Metric, at: &str, value: f64) {
        assert!(!value.is_nan(), "{} is not a number", metric.name);
        self.record.measures.push(Measure { metric, at: at.to_owned(), value });
    }

    fn sample(&mut self, metric: &'static Metric, distribution: Distribution) {
        if 0 < distribution.count() {
            self.record.samples.push(Sample { metric, at: String::new(), distribution });
        }
    }

    /// How the messages are spread over brokers and partitions.
    fn spread(&mut self, played: &Played) {
        let books = &played.books;
        self.add(&BROKER_SKEW, "", skew(&books.by_broker));
        self.add(&PARTITION_SKEW, "", skew(&books.by_partition));
        let brokers = played.locks.directory.group("broker");
        let bars = brokers.iter().zip(&books.by_broker);
        let bars =
            bars.map(|(&id, &count)| (played.locks.directory.name(id).to_owned(), count as f64));
        let total: u64 = books.by_broker.iter().sum();
        self.record.profiles.push(Profile {
            metric: &BROKER_LOAD,
            at: String::new(),
            bars: bars.collect(),
            fair: Some(total as f64 / brokers.len() as f64),
        });
    }

    fn waits(&mut self, played: &Played, from: SimTime) {
        let (waits, censored) = locks::measure::waits(&played.locks.history, from);
        self.sample(&locks::measure::WAIT, waits);
        self.add(&locks::measure::WAITS_CENSORED, "", censored as f64);
        self.sample(&HOLD, played.books.holds.clone());
        self.add(&SECTIONS_AGAIN, "", played.books.tries_again as f64);
    }

    /// What each account's counter says, held against the messages that took effect on it.
    fn accounts(&mut self, played: &Played) {
        let counters = counters(&played.locks.history);
        let (mut missing, mut extra, mut wrong) = (0, 0, Vec::new());
        for (&account, &meant) in &played.books.increments {
            let counter = counters.get(&account).copied().unwrap_or_default();
            missing += meant.saturating_sub(counter);
            extra += counter.saturating_sub(meant);
            if meant != counter {
                wrong.push((account, meant, counter));
            }
        }
        self.add(&INCREMENTS_MISSING, "", missing as f64);
        self.add(&INCREMENTS_EXTRA, "", extra as f64);
        self.add(&ACCOUNTS_WRONG, "", wrong.len() as f64);
        for (account, meant, counter) in wrong.into_iter().take(FINDINGS_A_KIND) {
            let account = u64::from(account.0) + 1;
            self.record.findings.push(format!(
                "account {account}: {meant} messages took effect, and its counter says {counter}"
            ));
        }
    }
}

/// What the counter of each account says at the end, as the store's last accepted operation on it
/// tells.
fn counters(history: &History) -> BTreeMap<LockId, u64> {
    let accepted = history.effects.iter().filter(|(_, effect)| effect.is_accepted);
    accepted.map(|(_, effect)| (effect.lock, effect.value)).collect()
}

/// The largest over the mean; 1 where there is nothing.
fn skew(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let most = counts.iter().copied().max().unwrap_or(0);
    if total == 0 { 1.0 } else { most as f64 * counts.len() as f64 / total as f64 }
}

/// How many violations of each kind are told in words.
const FINDINGS_A_KIND: usize = 3;

/// All that is measured.
pub(super) const METRICS: &[&Metric] = &[
    &BROKER_SKEW,
    &PARTITION_SKEW,
    &BROKER_LOAD,
    &queues::measure::QUEUE_WAIT,
    &locks::measure::WAIT,
    &HOLD,
    &queues::measure::LATENCY,
    &queues::measure::GOODPUT,
    &queues::measure::UNIQUE_THROUGHPUT,
    &queues::measure::THROUGHPUT,
    &queues::measure::OFFERED_RATE,
    &queues::measure::PUBLISH_RATE,
    &queues::measure::CONFIRMED_RATE,
    &queues::measure::IN_TIME,
    &queues::measure::PUBLISH_LATENCY,
    &queues::measure::PUBLISH_DELAY,
    &queues::measure::SERVICE,
    &queues::measure::UNFINISHED,
    &queues::measure::LOST,
    &queues::measure::LOST_CONFIRMED,
    &queues::measure::LOST_UNCONFIRMED,
    &queues::measure::DUPLICATE_EFFECTS,
    &queues::measure::REDELIVERIES,
    &queues::measure::UNEXPECTED,
    &queues::measure::RECOVERED,
    &queues::measure::STALLED,
    &queues::measure::PARKED,
    &queues::measure::DEAD_LETTERED,
    &queues::measure::REFUSED,
    &queues::measure::GIVEN_UP,
    &queues::measure::FAILED,
    &queues::measure::DEATHS,
    &queues::measure::DEATHS_KEPT,
    &queues::measure::BROKEN_LAWS,
    &queues::measure::LATE_DELIVERIES,
    &queues::measure::REORDER_MAX,
    &queues::measure::REORDER_MEAN,
    &queues::measure::INVERSIONS,
    &queues::measure::KEY_LATE,
    &queues::measure::DEPTH,
    &queues::measure::DEPTH_MAX,
    &queues::measure::DEPTH_PEAK,
    &queues::measure::READY,
    &queues::measure::READY_MAX,
    &queues::measure::UNACKED,
    &queues::measure::UNACKED_MAX,
    &queues::measure::DEPTH_BYTES,
    &queues::measure::DEPTH_BYTES_MAX,
    &queues::measure::LAG,
    &queues::measure::LAG_MAX,
    &queues::measure::UTILISATION,
    &queues::measure::UTILISATION_USEFUL,
    &queues::measure::UTILISATION_WASTED,
    &queues::measure::FAIRNESS,
    &queues::measure::FAIRNESS_BUSY,
    &queues::measure::WINDOWS,
    &queues::measure::WINDOWS_RIGHT_FIRST,
    &queues::measure::WINDOWS_RIGHT_LAST,
    &queues::measure::WINDOWS_REPEATED,
    &queues::measure::LATE_RECORDS,
    &queues::measure::WINDOW_DELAY,
    &queues::measure::COMPLETIONS_SPREAD,
    &queues::measure::IDLE_TAIL,
    &queues::measure::COMPLETIONS,
    &INCREMENTS_MISSING,
    &INCREMENTS_EXTRA,
    &ACCOUNTS_WRONG,
    &SECTIONS_AGAIN,
    &locks::measure::SERVICE_VIOLATIONS,
    &locks::measure::BELIEF_VIOLATIONS,
    &locks::measure::BELIEF_VIOLATIONS_BY_DEADLINE,
    &locks::measure::BELIEF_OVERLAP,
    &locks::measure::BELIEF_OVERLAP_LONGEST,
    &locks::measure::EFFECT_VIOLATIONS,
    &locks::measure::LOST_INCREMENTS,
    &locks::measure::FOREIGN_RELEASES,
    &locks::measure::TOKENS_REPEATED,
    &locks::measure::FENCING_HITS,
    &locks::measure::FENCED_SECTIONS,
    &locks::measure::SELF_ABORTS,
    &locks::measure::NOT_LINEARIZABLE,
    &locks::measure::STALLED_LOCKS,
    &locks::measure::OPEN_WAITS,
    &locks::measure::WAITS_CENSORED,
    &locks::measure::BYPASS_MAX,
];

/// What is worth saying of a pipeline.
pub(super) const BRIEF: Brief = Brief {
    subject: Subject::Pipeline,
    headlines: &[
        Headline::value(&BROKER_SKEW),
        Headline::of(&queues::measure::QUEUE_WAIT, Statistic::P99),
        Headline::of(&locks::measure::WAIT, Statistic::P99),
        Headline::of(&queues::measure::LATENCY, Statistic::P50),
        Headline::of(&queues::measure::LATENCY, Statistic::P99),
        Headline::value(&queues::measure::GOODPUT),
        Headline::value(&queues::measure::LOST),
        Headline::value(&INCREMENTS_MISSING),
        Headline::value(&INCREMENTS_EXTRA),
        Headline::value(&locks::measure::BELIEF_VIOLATIONS),
        Headline::value(&locks::measure::EFFECT_VIOLATIONS),
    ],
    findings: &[
        Finding::Occurs { count: &queues::measure::LOST, what: "lost message" },
        Finding::Occurs { count: &INCREMENTS_MISSING, what: "lost increment" },
        Finding::Occurs { count: &INCREMENTS_EXTRA, what: "doubled increment" },
        Finding::Occurs { count: &locks::measure::SERVICE_VIOLATIONS, what: "double grant" },
        Finding::Best(Headline::of(&locks::measure::WAIT, Statistic::P99)),
        Finding::Best(Headline::of(&queues::measure::LATENCY, Statistic::P99)),
    ],
    pictures: &[
        Picture::Load(&BROKER_LOAD),
        Picture::Percentiles(&queues::measure::QUEUE_WAIT),
        Picture::Percentiles(&locks::measure::WAIT),
        Picture::Percentiles(&queues::measure::LATENCY),
        Picture::Course(&queues::measure::DEPTH),
    ],
    side_by_side: &[],
};

macro_rules! metrics {
    ($($constant:ident = $name:literal, $title:literal, $unit:ident, $better:ident:
       $definition:literal;)*) => {$(
        #[doc = $definition]
        pub(super) static $constant: Metric = Metric {
            name: $name,
            title: $title,
            unit: Unit::$unit,
            better: Better::$better,
            definition: $definition,
        };
    )*};
}

metrics! {
    BROKER_SKEW = "broker_skew", "broker skew, max/mean", Ratio, Lower:
        "The most messages that were meant for one broker over the mean of all brokers, of those meant to be sent within the window.";
    PARTITION_SKEW = "partition_skew", "partition skew, max/mean", Ratio, Lower:
        "The most messages that were meant for one partition over the mean of all partitions, of those meant to be sent within the window.";
    BROKER_LOAD = "broker_load", "messages by broker", Count, Neither:
        "Messages meant for the partitions of each broker, of those meant to be sent within the window.";
    HOLD = "lock_hold", "hold", Nanoseconds, Lower:
        "From when a consumer was granted an account's lock to when it knew that the account was written: reading, working, checking and writing.";
    INCREMENTS_MISSING = "increments_missing", "lost increments", Count, Lower:
        "By how many increments the accounts' counters are behind the distinct messages whose write the store let through, summed over the accounts that are behind: effects that another write undid.";
    INCREMENTS_EXTRA = "increments_extra", "doubled increments", Count, Lower:
        "By how many increments the accounts' counters are ahead of the distinct messages whose write the store let through, summed over the accounts that are ahead: effects that came twice.";
    ACCOUNTS_WRONG = "accounts_wrong", "wrong accounts", Count, Lower:
        "Accounts whose counter does not say how many distinct messages took effect on it.";
    SECTIONS_AGAIN = "sections_again", "sections tried again", Count, Lower:
        "Critical sections that a consumer entered again for the same delivery, because its lock was lost, its token too old, or its connection with the store gone.";
}
