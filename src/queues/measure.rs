//! What is measured of a queue: every number declared once, and the record of a run.

use crate::choice::Choice;
use crate::kernel::rng::Seed;
use crate::kernel::sim::{Run, RunEnd};
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::cluster::{ClusterEnd, Traffic};
use crate::record::brief::{Brief, Finding, Headline, Picture};
use crate::record::summary::Statistic;
use crate::record::{
    Better, Curve, Distribution, Ending, FaultSpan, Measure, Metric, Profile, Record, Sample,
    Subject, Unit,
};

use super::gauge::Steps;
use super::judge::{Judge, Verdict};
use super::testbed::{Outcome, Testbed};

/// Draws up the record of a run that ended at `now`.
pub(super) fn outcome(
    choice: &Choice,
    seed: Seed,
    end: ClusterEnd<Testbed<'_>>,
    now: SimTime,
) -> Outcome {
    let testbed = end.workload;
    let (outage, steps, lags) = (testbed.outage(), testbed.steps(), testbed.lags);
    let mut judge = testbed.judge;
    let record = blank(Subject::Queues, choice, seed, &end.run, end.faults);
    let (record, verdict) = judged(record, &mut judge, &lags, steps, now);
    let mut page = Page { record };
    page.costs(&end.traffic, end.sync_count, &verdict);
    if let Some((from, until)) = outage {
        page.recovery(&mut judge, from, until, now);
    }
    Outcome { record: page.record, verdict, judge }
}

/// Adds to `record` what `judge` says of a run that ended at `now`; `lags` are its time lags, one
/// a step.
pub(crate) fn judged(
    record: Record,
    judge: &mut Judge,
    lags: &[SimDuration],
    steps: Steps,
    now: SimTime,
) -> (Record, Verdict) {
    let verdict = judge.verdict(now);
    let mut page = Page { record };
    page.rates(judge);
    page.verdict(&verdict, judge);
    page.times(judge, &verdict);
    page.depth(judge, lags, now);
    page.consumers(judge);
    page.windows(judge);
    page.courses(judge, lags, steps.length, now);
    page.record.window = Some(judge.window);
    page.record.findings.extend(std::mem::take(&mut judge.findings).into_lines());
    (page.record, verdict)
}

/// A record of a run of which nothing has been measured yet.
pub(crate) fn blank(
    subject: Subject,
    choice: &Choice,
    seed: Seed,
    run: &Run,
    faults: Vec<FaultSpan>,
) -> Record {
    let ending = match run.end {
        RunEnd::Horizon | RunEnd::Drained => Ending::Complete,
        RunEnd::EventCap => Ending::Incomplete("the cap on events was reached".into()),
        RunEnd::SameInstantCap => {
            Ending::Incomplete("too many events happened at one instant".into())
        }
        RunEnd::TimeCap => Ending::Incomplete("the cap on virtual time was reached".into()),
    };
    Record {
        subject,
        variant: choice.label(),
        point: Vec::new(),
        seed,
        measures: Vec::new(),
        samples: Vec::new(),
        curves: Vec::new(),
        profiles: Vec::new(),
        flows: Vec::new(),
        spans: Vec::new(),
        faults,
        findings: Vec::new(),
        window: None,
        ending,
        event_count: run.event_count,
        fingerprint: run.fingerprint,
    }
}

/// A record in the making.
struct Page {
    record: Record,
}

impl Page {
    fn add(&mut self, metric: &'static Metric, value: f64) {
        self.add_at(metric, "", value);
    }

    fn add_at(&mut self, metric: &'static Metric, at: &str, value: f64) {
        assert!(!value.is_nan(), "{} is not a number", metric.name);
        self.record.measures.push(Measure { metric, at: at.to_owned(), value });
    }

    fn sample(&mut self, metric: &'static Metric, distribution: &Distribution) {
        if 0 < distribution.count() {
            let distribution = distribution.clone();
            self.record.samples.push(Sample { metric, at: String::new(), distribution });
        }
    }

    fn rates(&mut self, judge: &Judge) {
        let seconds = judge.window_length().as_secs_f64();
        let within = judge.tally.within;
        self.add(&GOODPUT, within.good as f64 / seconds);
        self.add(&UNIQUE_THROUGHPUT, within.distinct as f64 / seconds);
        self.add(&THROUGHPUT, within.completed as f64 / seconds);
        self.add(&OFFERED_RATE, within.offered as f64 / seconds);
        self.add(&PUBLISH_RATE, within.sent as f64 / seconds);
        self.add(&CONFIRMED_RATE, within.confirmed as f64 / seconds);
        self.add(&IN_TIME, share(within.good, within.offered));
    }

    fn windows(&mut self, judge: &Judge) {
        let Some(windows) = &judge.windows else { return };
        let tally = windows.tally();
        self.add(&WINDOWS, tally.due as f64);
        self.add(&WINDOWS_RIGHT_FIRST, share(tally.right_at_first, tally.due));
        self.add(&WINDOWS_RIGHT_LAST, share(tally.right_in_the_end, tally.due));
        self.add(&WINDOWS_REPEATED, windows.repeated_count as f64);
        self.add(&LATE_RECORDS, windows.late_count as f64);
        self.sample(&WINDOW_DELAY, &windows.delay);
    }

    fn verdict(&mut self, verdict: &Verdict, judge: &Judge) {
        for (metric, count) in [
            (&LOST, verdict.lost()),
            (&LOST_CONFIRMED, verdict.lost_confirmed),
            (&LOST_UNCONFIRMED, verdict.lost_unconfirmed),
            (&DUPLICATE_EFFECTS, verdict.duplicate_effects),
            (&REDELIVERIES, verdict.duplicate_deliveries),
            (&UNEXPECTED, verdict.unexpected),
            (&RECOVERED, verdict.recovered),
            (&STALLED, verdict.stalled),
            (&PARKED, verdict.parked),
            (&DEAD_LETTERED, verdict.dead_lettered),
            (&REFUSED, verdict.refused),
            (&GIVEN_UP, verdict.given_up),
            (&FAILED, verdict.failed),
            (&BROKEN_LAWS, verdict.broken),
        ] {
            self.add(metric, count as f64);
        }
        for (&(why, is_kept), &count) in &judge.tally.died {
            let metric = if is_kept { &DEATHS_KEPT } else { &DEATHS };
            self.add_at(metric, why.name(), count as f64);
        }
    }

    fn times(&mut self, judge: &Judge, verdict: &Verdict) {
        let (times, order) = (&judge.times, &judge.order);
        self.sample(&LATENCY, &times.latency);
        self.sample(&PUBLISH_LATENCY, &times.publish_latency);
        self.sample(&PUBLISH_DELAY, &times.publish_delay);
        self.sample(&QUEUE_WAIT, &times.queue_wait);
        self.sample(&SERVICE, &times.service);
        self.add(&UNFINISHED, (verdict.offered - verdict.done) as f64);
        self.add(&LATE_DELIVERIES, share(order.late_count, order.count));
        self.add(&REORDER_MAX, order.distance_max as f64);
        self.add(&REORDER_MEAN, share(order.distance_sum, order.count));
        self.add(&INVERSIONS, order.inversions as f64);
        self.add(&KEY_LATE, share(order.key_late_count, order.effects));
    }

    fn depth(&mut self, judge: &mut Judge, lags: &[SimDuration], now: SimTime) {
        let depth = &mut judge.depth;
        self.add(&DEPTH, depth.all.mean(now));
        self.add(&DEPTH_MAX, depth.all.max() as f64);
        self.add(&DEPTH_PEAK, depth.all.peak() as f64);
        self.add(&READY, depth.ready.mean(now));
        self.add(&READY_MAX, depth.ready.max() as f64);
        self.add(&UNACKED, depth.handed.mean(now));
        self.add(&UNACKED_MAX, depth.handed.max() as f64);
        self.add(&DEPTH_BYTES, depth.bytes.mean(now));
        self.add(&DEPTH_BYTES_MAX, depth.bytes.max() as f64);
        let sum: f64 = lags.iter().map(|lag| lag.as_ns() as f64).sum();
        self.add(&LAG, sum / lags.len().max(1) as f64);
        let longest = lags.iter().max().copied().unwrap_or_default();
        self.add(&LAG_MAX, longest.as_ns() as f64);
    }

    fn consumers(&mut self, judge: &Judge) {
        let logs = &judge.consumers;
        let capacity = judge.window_length().as_ns() as f64
            * logs.len() as f64
            * f64::from(judge.concurrency());
        let total = |of: fn(&super::judge::ConsumerLog) -> SimDuration| -> f64 {
            logs.iter().map(|log| of(log).as_ns() as f64).sum()
        };
        let (useful, wasted) = (total(|log| log.useful), total(|log| log.wasted));
        self.add(&UTILISATION, (useful + wasted) / capacity);
        self.add(&UTILISATION_USEFUL, useful / capacity);
        self.add(&UTILISATION_WASTED, wasted / capacity);
        let busy: Vec<f64> =
            logs.iter().map(|log| (log.useful + log.wasted).as_ns() as f64).collect();
        let completed: Vec<f64> = logs.iter().map(|log| log.completed as f64).collect();
        self.add(&FAIRNESS, jain(&completed));
        self.add(&FAIRNESS_BUSY, jain(&busy));
        let most = completed.iter().copied().fold(0.0, f64::max);
        let least = completed.iter().copied().fold(f64::INFINITY, f64::min);
        if 0.0 < least {
            self.add(&COMPLETIONS_SPREAD, most / least);
        }
        let ends = logs.iter().map(|log| log.last_end);
        if let (Some(first), Some(last)) = (ends.clone().min(), ends.max()) {
            self.add(&IDLE_TAIL, last.since(first).as_ns() as f64);
        }
        let bars = logs.iter().map(|log| (log.name().to_owned(), log.completed as f64));
        let fair = completed.iter().sum::<f64>() / completed.len().max(1) as f64;
        self.record.profiles.push(Profile {
            metric: &COMPLETIONS,
            at: String::new(),
            bars: bars.collect(),
            fair: Some(fair),
        });
    }

    fn costs(&mut self, traffic: &[Traffic], sync_count: u64, verdict: &Verdict) {
        if verdict.done == 0 {
            return;
        }
        let done = verdict.done as f64;
        let (mut count, mut bytes) = (0, 0);
        for kind in traffic {
            count += kind.count;
            bytes += kind.bytes;
            self.add_at(&MESSAGES_BY_KIND, kind.kind, kind.count as f64 / done);
        }
        self.add(&MESSAGES_PER_COMPLETED, count as f64 / done);
        self.add(&BYTES_PER_COMPLETED, bytes as f64 / done);
        self.add(&SYNCS_PER_COMPLETED, sync_count as f64 / done);
    }

    fn recovery(&mut self, judge: &mut Judge, from: SimTime, until: SimTime, now: SimTime) {
        if let Some(took) = judge.depth.drain_time(now) {
            self.add(&DRAIN_TIME, took.as_ns() as f64);
        }
        if let Some(took) = judge.percentile_recovery(from, until) {
            self.add(&SLO_RECOVERY, took.as_ns() as f64);
        }
    }

    fn courses(
        &mut self,
        judge: &mut Judge,
        lags: &[SimDuration],
        step: SimDuration,
        now: SimTime,
    ) {
        let depth = &mut judge.depth;
        let mut draw = |metric, values| {
            self.record.curves.push(Curve { metric, at: String::new(), step, values });
        };
        draw(&UNIQUE_THROUGHPUT, depth.throughput.course());
        draw(&DEPTH, depth.all.course(now));
        draw(&READY, depth.ready.course(now));
        draw(&DEPTH_BYTES, depth.bytes.course(now));
        draw(&LAG, lags.iter().map(|lag| lag.as_ns() as f64).collect());
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// (sum x)² / (n · sum x²): 1 where all are equal, 1/n where one has all (Jain, Chiu and Hawe, "A
/// Quantitative Measure of Fairness", 1984). 1 where nobody has anything.
fn jain(values: &[f64]) -> f64 {
    let sum: f64 = values.iter().sum();
    let squares: f64 = values.iter().map(|value| value * value).sum();
    if squares <= 0.0 { 1.0 } else { sum * sum / (values.len() as f64 * squares) }
}

/// All that a run measures.
pub const METRICS: &[&Metric] = &[
    &GOODPUT,
    &UNIQUE_THROUGHPUT,
    &THROUGHPUT,
    &OFFERED_RATE,
    &PUBLISH_RATE,
    &CONFIRMED_RATE,
    &IN_TIME,
    &LATENCY,
    &PUBLISH_LATENCY,
    &PUBLISH_DELAY,
    &QUEUE_WAIT,
    &SERVICE,
    &UNFINISHED,
    &LOST,
    &LOST_CONFIRMED,
    &LOST_UNCONFIRMED,
    &DUPLICATE_EFFECTS,
    &REDELIVERIES,
    &UNEXPECTED,
    &RECOVERED,
    &STALLED,
    &PARKED,
    &DEAD_LETTERED,
    &REFUSED,
    &GIVEN_UP,
    &FAILED,
    &DEATHS,
    &DEATHS_KEPT,
    &BROKEN_LAWS,
    &LATE_DELIVERIES,
    &REORDER_MAX,
    &REORDER_MEAN,
    &INVERSIONS,
    &KEY_LATE,
    &DEPTH,
    &DEPTH_MAX,
    &DEPTH_PEAK,
    &READY,
    &READY_MAX,
    &UNACKED,
    &UNACKED_MAX,
    &DEPTH_BYTES,
    &DEPTH_BYTES_MAX,
    &LAG,
    &LAG_MAX,
    &UTILISATION,
    &UTILISATION_USEFUL,
    &UTILISATION_WASTED,
    &FAIRNESS,
    &FAIRNESS_BUSY,
    &COMPLETIONS_SPREAD,
    &IDLE_TAIL,
    &COMPLETIONS,
    &MESSAGES_PER_COMPLETED,
    &MESSAGES_BY_KIND,
    &BYTES_PER_COMPLETED,
    &SYNCS_PER_COMPLETED,
    &DRAIN_TIME,
    &SLO_RECOVERY,
    &WINDOWS,
    &WINDOWS_RIGHT_FIRST,
    &WINDOWS_RIGHT_LAST,
    &WINDOWS_REPEATED,
    &LATE_RECORDS,
    &WINDOW_DELAY,
];

/// What is worth saying of a queue.
pub const BRIEF: Brief = Brief {
    subject: Subject::Queues,
    headlines: &[
        Headline::value(&GOODPUT),
        Headline::of(&LATENCY, Statistic::P50),
        Headline::of(&LATENCY, Statistic::P99),
        Headline::value(&LOST),
        Headline::value(&DUPLICATE_EFFECTS),
        Headline::value(&REDELIVERIES),
        Headline::value(&DEPTH),
        Headline::value(&DEPTH_BYTES),
        Headline::value(&UTILISATION),
        Headline::value(&WINDOWS_RIGHT_FIRST),
        Headline::value(&WINDOWS_RIGHT_LAST),
        Headline::value(&LATE_RECORDS),
        Headline::of(&WINDOW_DELAY, Statistic::P99),
    ],
    findings: &[
        Finding::Occurs { count: &LOST, what: "lost message" },
        Finding::Occurs { count: &DUPLICATE_EFFECTS, what: "repeated effect" },
        Finding::Occurs { count: &STALLED, what: "message left behind" },
        Finding::Best(Headline::value(&GOODPUT)),
        Finding::Best(Headline::of(&LATENCY, Statistic::P99)),
    ],
    pictures: &[
        Picture::Percentiles(&LATENCY),
        Picture::Course(&UNIQUE_THROUGHPUT),
        Picture::Course(&DEPTH),
        Picture::Course(&LAG),
        Picture::Load(&COMPLETIONS),
    ],
    side_by_side: &[],
};

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
    GOODPUT = "goodput", "goodput", PerSecond, Higher:
        "First effects of distinct messages that came within the window, before the deadline (where there is one) and while their caller still waited, per second of the window. The window is the time from the end of the warm-up to the end of the load.";
    UNIQUE_THROUGHPUT = "unique_throughput", "unique throughput", PerSecond, Higher:
        "First effects of distinct messages within the window, whether or not anybody still waited for them, per second.";
    THROUGHPUT = "throughput", "throughput", PerSecond, Neither:
        "Effects within the window, repeated ones too, per second.";
    OFFERED_RATE = "offered_rate", "offered", PerSecond, Neither:
        "Messages that were meant to be sent within the window, per second.";
    PUBLISH_RATE = "publish_rate", "published", PerSecond, Neither:
        "Publishes that producers handed to their connections within the window, repeated ones too, per second.";
    CONFIRMED_RATE = "confirmed_rate", "confirmed", PerSecond, Neither:
        "Messages whose producer was told within the window that they are safe, per second. 0 where a product tells nothing.";
    IN_TIME = "in_time", "done in time", Share, Higher:
        "Goodput over the offered rate: messages that are lost or late stay in the denominator.";
    LATENCY = "latency", "end-to-end latency", Nanoseconds, Lower:
        "From the instant at which a message was meant to be sent to its first effect, for messages meant to be sent within the window. Never from the actual send: a producer that cannot send makes its messages wait.";
    PUBLISH_LATENCY = "publish_latency", "publish latency", Nanoseconds, Lower:
        "From the instant at which a message was meant to be sent to the confirm.";
    PUBLISH_DELAY = "publish_delay", "publish delay", Nanoseconds, Lower:
        "From the instant at which a message was meant to be sent to when its producer first handed it to a connection.";
    QUEUE_WAIT = "queue_wait", "queue wait", Nanoseconds, Lower:
        "From when a broker first stored a message to when a consumer first began to work on it.";
    SERVICE = "service_time", "service time", Nanoseconds, Neither:
        "From when a consumer began to work to when it ended or left off, overhead included.";
    UNFINISHED = "unfinished", "unfinished", Count, Lower:
        "Messages without an effect at the end of the run: what the latencies do not show.";
    LOST = "lost", "lost", Count, Lower:
        "Messages that were sent, of which no producer knows that they were refused, that never took effect, and of which nothing is left that could bring the effect: no copy at a broker, none with a consumer that lives, none that their producer keeps.";
    LOST_CONFIRMED = "lost_confirmed", "lost though confirmed", Count, Lower:
        "Of those lost: the ones whose producer had been told that they are safe.";
    LOST_UNCONFIRMED = "lost_unconfirmed", "lost unconfirmed", Count, Lower:
        "Of those lost: the ones of which nobody had said that they are safe.";
    DUPLICATE_EFFECTS = "duplicate_effects", "repeated effects", Count, Lower:
        "Effects beyond the first of each message.";
    REDELIVERIES = "redeliveries", "redeliveries", Count, Lower:
        "Deliveries beyond the first of each message, or flagged by the broker as possibly such.";
    UNEXPECTED = "unexpected", "unexpected effects", Count, Lower:
        "Effects of messages that nobody sent.";
    RECOVERED = "recovered", "recovered", Count, Neither:
        "Messages that took effect although their producer was never told that they are safe, or was told that they were not taken.";
    STALLED = "stalled", "left behind", Count, Lower:
        "Messages without an effect at the end of the run of which a copy is left that might still bring it.";
    PARKED = "parked", "parked", Count, Lower:
        "Messages without an effect that a broker keeps but delivers no more.";
    DEAD_LETTERED = "dead_lettered", "dead-lettered", Count, Lower:
        "Messages without an effect of which the last copy went to a dead-letter queue.";
    REFUSED = "refused", "refused", Count, Lower:
        "Messages without an effect that a broker did not take, as their producer knows.";
    GIVEN_UP = "given_up", "given up by producers", Count, Lower:
        "Messages without an effect that their producer never sent, or of which it told its caller that it gave up.";
    FAILED = "failed", "failed for good", Count, Neither:
        "Messages whose work failed and will not be tried again: the failure is their result.";
    DEATHS = "dropped", "dropped by brokers", Count, Lower:
        "Copies that a broker let go without an acknowledgement and without keeping them elsewhere, by reason.";
    DEATHS_KEPT = "dead_letters", "dead letters", Count, Lower:
        "Copies that a broker moved to a dead-letter queue, by reason.";
    BROKEN_LAWS = "broken_laws", "broken laws", Count, Lower:
        "Steps that no queue may take: a delivery of what was not ready, an acknowledgement of what was with nobody. More than 0 is a bug in the model.";
    LATE_DELIVERIES = "late_deliveries", "late deliveries", Share, Lower:
        "The share of deliveries, as each consumer saw them and without repeated ones, that came after the delivery of a later message.";
    REORDER_MAX = "reorder_max", "reorder distance, maximum", Count, Lower:
        "The largest reorder distance of a delivery: how many later messages the consumer had received before it, among its latest 1024 deliveries; repeated ones do not count. As each consumer sees it: what one consumer works off while another has the message does not count.";
    REORDER_MEAN = "reorder_mean", "reorder distance, mean", Ratio, Lower:
        "The mean reorder distance of all deliveries.";
    INVERSIONS = "inversions", "inversions", Count, Lower:
        "Pairs of successive deliveries at a consumer of which the second has the lower number.";
    KEY_LATE = "key_late_effects", "late effects by key", Share, Lower:
        "The share of first effects that came after the first effect of a later message with the same key.";
    DEPTH = "depth", "queue depth", Count, Lower:
        "The mean over the window, by time, of the number of messages that brokers hold, ready or with consumers; exact.";
    DEPTH_MAX = "depth_max", "queue depth, maximum", Count, Lower:
        "The most messages that brokers held at any instant of the window.";
    DEPTH_PEAK = "depth_peak", "queue depth, peak of the run", Count, Lower:
        "The most messages that brokers held at any instant of the run, warm-up and drain included.";
    READY = "ready", "ready", Count, Lower:
        "The mean over the window, by time, of the number of messages that wait to be delivered.";
    READY_MAX = "ready_max", "ready, maximum", Count, Lower:
        "The most messages that waited to be delivered at any instant of the window.";
    UNACKED = "unacked", "unacknowledged", Count, Neither:
        "The mean over the window, by time, of the number of messages that are with consumers, as brokers see it.";
    UNACKED_MAX = "unacked_max", "unacknowledged, maximum", Count, Neither:
        "The most messages that were with consumers at any instant of the window.";
    DEPTH_BYTES = "depth_bytes", "queue length Q", Bytes, Lower:
        "The mean over the window, by time, of the sum of the sizes of all messages that brokers hold.";
    DEPTH_BYTES_MAX = "depth_bytes_max", "queue length Q, maximum", Bytes, Lower:
        "The largest sum of the sizes of all messages that brokers held at any instant of the window.";
    LAG = "lag", "time lag", Nanoseconds, Lower:
        "For how long the oldest message in the queue has been there; the mean over samples at equal steps of the whole run.";
    LAG_MAX = "lag_max", "time lag, maximum", Nanoseconds, Lower:
        "The longest time lag in those samples.";
    UTILISATION = "utilisation", "utilisation", Share, Neither:
        "Busy time of all consumers' slots within the window over the length of the window times the number of slots.";
    UTILISATION_USEFUL = "utilisation_useful", "utilisation, useful", Share, Higher:
        "The part of the utilisation that went into first effects.";
    UTILISATION_WASTED = "utilisation_wasted", "utilisation, wasted", Share, Lower:
        "The part of the utilisation that went into repeated effects and into work that was left off or failed.";
    FAIRNESS = "fairness", "fairness of completions", Ratio, Higher:
        "Jain's index of the consumers' numbers of first effects: 1 where all are equal, 1/n where one has all.";
    FAIRNESS_BUSY = "fairness_busy", "fairness of busy time", Ratio, Higher:
        "Jain's index of the consumers' busy times within the window.";
    COMPLETIONS_SPREAD = "completions_spread", "completions, max/min", Ratio, Lower:
        "The most first effects of a consumer over the fewest; left out where one has none.";
    IDLE_TAIL = "idle_tail", "idle tail", Nanoseconds, Lower:
        "From when the first consumer ended its last work to when the last one did.";
    COMPLETIONS = "completions", "first effects by consumer", Count, Neither:
        "First effects that each consumer brought in the whole run.";
    MESSAGES_PER_COMPLETED = "messages_per_completed", "network messages per message", Ratio, Lower:
        "Messages on the network in the whole run, heartbeats and the like included, per message that took effect.";
    MESSAGES_BY_KIND = "messages_by_kind", "network messages per message, by kind", Ratio, Lower:
        "Messages of each kind on the network in the whole run per message that took effect.";
    BYTES_PER_COMPLETED = "bytes_per_completed", "network bytes per message", Bytes, Lower:
        "Bytes on the network in the whole run per message that took effect.";
    SYNCS_PER_COMPLETED = "syncs_per_completed", "syncs per message", Ratio, Lower:
        "Syncs of all disks in the whole run, by brokers and by the operating system itself, per message that took effect.";
    DRAIN_TIME = "drain_time", "time to drain", Nanoseconds, Lower:
        "From the end of the last planned fault that lasts to the first instant at which the queue is not deeper than it was on average in the 60 s before the first one, and stays so for 1 s. Left out where that does not come.";
    SLO_RECOVERY = "slo_recovery", "recovery of the 99th percentile", Nanoseconds, Lower:
        "From the end of the last planned fault that lasts to the first instant from which the 99th percentile of the latency in windows of 10 s stays within twice the highest before the first one. Left out where that does not come.";
    WINDOWS = "windows", "windows that ended", Count, Neither:
        "Windows of event time of all partitions that ended, as seen by somebody who reads all that its log was given: something was stored in the partition that happened after the window's end and the lateness that is allowed. Only where consumers count in windows.";
    WINDOWS_RIGHT_FIRST = "windows_right_first", "windows right at first", Share, Higher:
        "Of the windows that ended, those whose first result counts each record that its partition was given, once: what holds for whoever keeps the first result.";
    WINDOWS_RIGHT_LAST = "windows_right_last", "windows right in the end", Share, Higher:
        "Of the windows that ended, those whose last result counts each record that its partition was given, once: what holds for whoever overwrites a result by the next.";
    WINDOWS_REPEATED = "windows_repeated", "repeated results of windows", Count, Lower:
        "Results of a window of which a result had been given before.";
    LATE_RECORDS = "late_records", "late records", Count, Lower:
        "Records that consumers left out, because they had given the result of their window.";
    WINDOW_DELAY = "window_delay", "delay of a window's result", Nanoseconds, Lower:
        "From the end of a window to its first result.";
}
