//! A course before, during and after the faults: the one of them that matters, in words.
//!
//! Each run is held against itself before its first fault. What is still different in the second
//! half of the time after the last fault comes first: harm that stays is worse than harm that
//! passes, however deep that was. Otherwise it is the time, during or after, that differs most.
//! A difference counts where it is beyond the spread over the seeds (paired t test, Holm-adjusted
//! over all that are tried) and large enough to act on.

use super::charts::{TITLE_ROOM, each_with_unit};
use super::{Composer, each_or_ends};
use crate::kernel::time::SimTime;
use crate::record::summary::Group;
use crate::record::{Curve, Metric, Record, Unit, statistics};
use crate::report::quantity::{show, show_times};

/// Less of a change is not worth a title.
const WORTH_TELLING: f64 = 1.1;
/// From so many times as much on it is told as times and not as a share.
const TIMES_FROM: f64 = 1.5;
/// More times as much than this are a ratio to nearly nothing.
const TIMES_MAX: f64 = 100.0;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    During,
    After,
    /// The second half of what comes after.
    Late,
}

/// What a run did in each stretch of its time; `None` where that has no step.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Course {
    before: Option<f64>,
    during: Option<f64>,
    after: Option<f64>,
    late: Option<f64>,
    all: Option<f64>,
}

/// A variant in one phase against itself before.
struct Change {
    name: String,
    phase: Phase,
    before: f64,
    now: f64,
    p: f64,
}

impl Course {
    fn of(run: &Record, curve: &Curve) -> Self {
        let step = curve.step.as_ns();
        let first = run.faults.iter().map(|fault| fault.from.as_ns()).min();
        let last = run.faults.iter().map(|fault| fault.until.as_ns()).max();
        let (warm, asked) = run.window.unwrap_or((SimTime::ZERO, SimTime::END));
        let (warm, asked) = (warm.as_ns(), asked.as_ns());
        let mut before = Vec::new();
        let mut during = Vec::new();
        let mut after = Vec::new();
        // Between two faults neither is at work, and the first may still be felt.
        let mut between = Vec::new();
        let is_struck = |from: u64, until: u64| {
            run.faults.iter().any(|fault| {
                let (begin, end) = (fault.from.as_ns(), fault.until.as_ns());
                begin < until && from < end.max(begin.saturating_add(1))
            })
        };
        for (index, value) in (0_u64..).zip(&curve.values) {
            let from = step.saturating_mul(index);
            let until = from.saturating_add(step);
            // What warms up, and what comes to rest when nothing is asked any more, says nothing of
            // faults.
            if from < warm || asked < until || !value.is_finite() {
                continue;
            }
            match (first, last) {
                (Some(first), _) if until <= first => before.push(*value),
                _ if is_struck(from, until) => during.push(*value),
                (_, Some(last)) if from < last => between.push(*value),
                _ => after.push(*value),
            }
        }
        let all: Vec<f64> =
            [&before, &during, &between, &after].into_iter().flatten().copied().collect();
        Self {
            before: mean(&before),
            during: mean(&during),
            after: mean(&after),
            late: mean(&after[after.len() / 2..]),
            all: mean(&all),
        }
    }

    fn in_phase(&self, phase: Phase) -> Option<f64> {
        match phase {
            Phase::During => self.during,
            Phase::After => self.after,
            Phase::Late => self.late,
        }
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

impl Change {
    /// How far it is from what it was, on the log scale.
    fn distance(&self) -> f64 {
        match (0.0 < self.before, 0.0 < self.now) {
            (true, true) => libm::fabs(libm::log(self.now / self.before)),
            (false, false) => 0.0,
            _ => f64::INFINITY,
        }
    }

    fn is_worth_telling(&self) -> bool {
        const LEVEL: f64 = 1.0 - statistics::CONFIDENCE;
        self.p < LEVEL && libm::log(WORTH_TELLING) <= self.distance()
    }

    fn times(&self) -> f64 {
        self.now / self.before
    }
}

impl Composer<'_> {
    /// What the title of the course of `metric` at `at` says behind its name.
    pub(super) fn told(&self, metric: &Metric, at: &str) -> String {
        let courses: Vec<(String, Vec<Course>)> = (self.groups.iter())
            .map(|group| (self.short_name(group), courses(group, metric, at)))
            .filter(|(_, courses)| !courses.is_empty())
            .collect();
        let of = |get: fn(&Course) -> Option<f64>| -> Vec<(String, f64)> {
            let mean_of = |all: &[Course]| mean(&all.iter().filter_map(get).collect::<Vec<_>>());
            courses.iter().filter_map(|(name, all)| Some((name.clone(), mean_of(all)?))).collect()
        };
        let say = |values: &[(String, f64)]| each_with_unit(metric.unit, values);
        let fault_count = self.groups.iter().flat_map(|group| &group.runs);
        let fault_count = fault_count.map(|run| run.faults.len()).max().unwrap_or(0);
        let (during, after) = (of(|course| course.during), of(|course| course.after));
        let faults = if fault_count == 1 { "the fault" } else { "the faults" };
        if fault_count == 0 {
            return format!(": {}", say(&of(|course| course.all)));
        }
        if courses.iter().flat_map(|(_, all)| all).all(|course| course.before.is_none()) {
            // Nothing came before: then there is nothing to be held against.
            return match (during.is_empty(), after.is_empty()) {
                (false, false) => {
                    format!(" during {faults}: {}; after: {}", say(&during), say(&after))
                }
                (false, true) => format!(" during {faults}: {}", say(&during)),
                _ => format!(" after {faults}: {}", say(&after)),
            };
        }
        let changes = changes(&courses);
        let Some(phase) = phase_that_matters(&changes) else {
            let all = say(&of(|course| course.all));
            let seeds = courses.iter().map(|(_, all)| all.len()).max().unwrap_or(0);
            return format!(": no change with {faults} beyond the spread of {seeds} seeds; {all}");
        };
        let recovers = phase == Phase::During && !after.is_empty();
        let of_phase: Vec<&Change> = changes.iter().filter(|c| c.phase == phase).collect();
        in_words(metric.unit, phase, faults, recovers, &of_phase)
    }
}

fn courses(group: &Group<'_>, metric: &Metric, at: &str) -> Vec<Course> {
    let of_run = |run: &&Record| {
        let is_meant = |curve: &&Curve| curve.metric.name == metric.name && curve.at == at;
        run.curves.iter().find(is_meant).map(|curve| Course::of(run, curve))
    };
    group.runs.iter().filter_map(of_run).collect()
}

fn changes(courses: &[(String, Vec<Course>)]) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, all) in courses {
        for phase in [Phase::During, Phase::After, Phase::Late] {
            let pair = |course: &Course| Some((course.before?, course.in_phase(phase)?));
            let (before, now): (Vec<f64>, Vec<f64>) = all.iter().filter_map(pair).unzip();
            let (Some(was), Some(is)) = (mean(&before), mean(&now)) else { continue };
            // What grows by the same factor under every seed grows by very different amounts.
            let ratio = statistics::ratio(&now, &before);
            let paired = ratio.or_else(|| statistics::difference(&now, &before));
            let p = match paired {
                Some(paired) if 2 <= paired.estimate.n => paired.p,
                // One seed has no spread: what it did is what can be told.
                Some(_) => 0.0,
                None => 1.0,
            };
            changes.push(Change { name: name.clone(), phase, before: was, now: is, p });
        }
    }
    let ps: Vec<f64> = changes.iter().map(|change| change.p).collect();
    for (change, p) in changes.iter_mut().zip(statistics::holm(&ps)) {
        change.p = p;
    }
    changes
}

fn phase_that_matters(changes: &[Change]) -> Option<Phase> {
    let told = || changes.iter().filter(|change| change.is_worth_telling());
    if told().any(|change| change.phase == Phase::Late) {
        return Some(Phase::Late);
    }
    told().max_by(|a, b| a.distance().total_cmp(&b.distance())).map(|change| change.phase)
}

fn in_words(unit: Unit, phase: Phase, faults: &str, recovers: bool, changes: &[&Change]) -> String {
    let (when, verb) = match phase {
        Phase::During => (format!("during {faults}"), None),
        Phase::After => (format!("right after {faults}"), None),
        Phase::Late => (format!("after {faults}"), Some("stays at")),
    };
    let is_to_nothing = |c: &&Change| c.before <= 0.0 || TIMES_MAX < c.times();
    if changes.iter().any(is_to_nothing) {
        let say = |of: fn(&Change) -> f64| {
            let values: Vec<(String, f64)> =
                changes.iter().map(|change| (change.name.clone(), of(change))).collect();
            each_with_unit(unit, &values)
        };
        return format!(" {when}: {}; before: {}", say(|c| c.now), say(|c| c.before));
    }
    if let [one] = changes {
        let verb = verb.unwrap_or(if one.now < one.before { "falls to" } else { "rises to" });
        let amount = amount(one.times());
        let (now, before) = (show(unit, one.now), show(unit, one.before));
        let end = if recovers { ", and recovers" } else { "" };
        return format!(" {when} {verb} {amount} before ({now}, was {before}){end}");
    }
    let times: Vec<(String, f64)> =
        changes.iter().map(|change| (change.name.clone(), change.times())).collect();
    let is_multiplied = times.iter().any(|(_, times)| TIMES_FROM <= *times);
    let verb = verb.map_or("", |_| " to the end");
    if is_multiplied {
        let show = |name: &str, times| format!("{name} {}", show_times(times));
        let each = each_or_ends(&times, TITLE_ROOM, show);
        return format!(" {when}{verb}: {each} times that before");
    }
    format!(" {when}{verb}, as a share of that before: {}", each_with_unit(Unit::Share, &times))
}

/// `7.6 % of`, `3.10 times`: with `before` behind it.
fn amount(times: f64) -> String {
    if times < TIMES_FROM {
        format!("{} of", show(Unit::Share, times))
    } else {
        format!("{} times", show_times(times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::time::SimDuration;
    use crate::record::FaultSpan;
    use crate::record::brief::{Brief, Picture};
    use crate::record::summary::{self, tests::measured};
    use crate::report::sample::GOODPUT;

    const BRIEF: Brief = Brief {
        subject: crate::record::Subject::Rings,
        headlines: &[],
        findings: &[],
        pictures: &[Picture::Course(&GOODPUT)],
        side_by_side: &[],
    };

    /// Runs of a second a step, warm after 2 s, with the faults from 10 to 20 s; work comes in until
    /// 60 s.
    fn runs(variant: &str, values: impl Fn(u32) -> f64) -> Vec<Record> {
        let one = |seed: u64| {
            let noise = |step: u32| 1.0 + f64::from((step * 7 + seed as u32 * 3) % 5) / 100.0;
            let values = (0..90).map(|step| values(step) * noise(step)).collect();
            let step = SimDuration::from_secs(1);
            let curve = Curve { metric: &GOODPUT, at: String::new(), step, values };
            let fault = FaultSpan {
                label: "pause".into(),
                from: SimTime::from_ms(10_000),
                until: SimTime::from_ms(20_000),
            };
            Record {
                curves: vec![curve],
                faults: vec![fault],
                window: Some((SimTime::from_ms(2000), SimTime::from_ms(60_000))),
                ..measured(variant, seed, "", 1.0)
            }
        };
        (1..=5).map(one).collect()
    }

    fn told(records: &[Record]) -> String {
        let (groups, summaries) = (summary::groups(records), summary::of(records));
        Composer::of(&BRIEF, &groups, &summaries).told(&GOODPUT, "")
    }

    fn levels(before: f64, during: f64, soon: f64, late: f64) -> impl Fn(u32) -> f64 {
        move |step| match step {
            0..10 => before,
            10..20 => during,
            20..40 => soon,
            40..60 => late,
            _ => 0.0,
        }
    }

    #[test]
    fn the_time_in_which_a_run_warms_up_is_nothing_to_hold_faults_against() {
        let told = told(&runs("a", |step| if step < 2 { 9000.0 } else { 100.0 }));
        assert!(told.starts_with(": no change with the fault"), "{told}");
    }

    #[test]
    fn harm_that_stays_is_told_before_harm_that_was_deeper() {
        let told = told(&runs("a", levels(100.0, 0.0, 8.0, 8.0)));
        assert!(told.starts_with(" after the fault stays at 8 %"), "{told}");
        assert!(told.contains(" of before (8."), "{told}");
    }

    #[test]
    fn harm_that_passes_is_told_where_it_is_deepest_and_that_it_passes() {
        let during = told(&runs("a", levels(100.0, 20.0, 50.0, 100.0)));
        assert!(during.starts_with(" during the fault falls to 20"), "{during}");
        assert!(during.ends_with(", and recovers"), "{during}");
        let after = told(&runs("a", levels(100.0, 90.0, 300.0, 100.0)));
        assert!(after.starts_with(" right after the fault rises to 2"), "{after}");
    }

    #[test]
    fn the_rest_that_follows_the_last_arrival_is_no_harm() {
        let told = told(&runs("a", levels(100.0, 100.0, 100.0, 100.0)));
        let start = ": no change with the fault beyond the spread of 5 seeds; a 10";
        assert!(told.starts_with(start), "{told}");
    }

    #[test]
    fn where_nothing_was_before_numbers_are_told_and_no_ratio() {
        let nearly = told(&runs("a", levels(0.01, 50.0, 50.0, 50.0)));
        assert!(nearly.starts_with(" after the fault: a 5"), "{nearly}");
        assert!(nearly.contains("; before: a 0.01"), "{nearly}");
        let mut records = runs("a", levels(1.0, 50.0, 7.0, 7.0));
        for run in &mut records {
            run.faults[0].from = SimTime::ZERO;
        }
        let told = told(&records);
        assert!(told.starts_with(" during the fault: a ") && told.contains("; after: a 7."));
    }

    #[test]
    fn the_same_factor_under_every_seed_is_seen_however_unlike_the_seeds_are() {
        let mut records = runs("a", levels(1.0, 3.0, 3.0, 3.0));
        for (run, scale) in records.iter_mut().zip([1.0, 10.0, 100.0, 1000.0, 10_000.0]) {
            for value in &mut run.curves[0].values {
                *value *= scale;
            }
        }
        let told = told(&records);
        assert!(told.starts_with(" after the fault stays at "), "{told}");
        assert!(told.contains(" times before ("), "{told}");
    }

    #[test]
    fn several_variants_stand_beside_each_other_in_one_phase() {
        let mut records = runs("a", levels(100.0, 0.0, 8.0, 8.0));
        records.extend(runs("b", levels(100.0, 0.0, 100.0, 100.0)));
        let told = told(&records);
        let start = " after the fault to the end, as a share of that before: a 8";
        assert!(told.starts_with(start) && told.contains(" %, b 100"), "{told}");
    }
}
