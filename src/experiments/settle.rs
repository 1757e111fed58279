//! When runs have settled: found in a first round of runs, for a second one to leave out.
//!
//! MSER-5 (White, Cobb and Spratt 2000) on the courses that a wing's brief draws, averaged over the
//! seeds. All variants at one point leave out the same time, the longest that one of them needs:
//! so they are still compared over the same stretch.

use std::fmt;

use crate::kernel::time::{SimDuration, SimTime};
use crate::record::brief::Picture;
use crate::record::statistics;
use crate::record::summary::{self, Group};
use crate::record::{Curve, Record, Subject};

use super::{Run, WINGS};

/// When the runs of a subject at a point have settled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settled {
    /// The subject.
    pub subject: Subject,
    /// The swept parameters and their values.
    pub point: Vec<(String, String)>,
    /// After how long; `None` where they never do, as where a queue only grows.
    pub after: Option<SimDuration>,
}

/// Finds out from the `pilot` when the runs of `plan` have settled, and lets them measure from then
/// on. Runs without virtual time are settled from the start and are not told of; those that never
/// settle measure from the start.
pub fn settled(plan: &mut [Run], pilot: &[Record]) -> Vec<Settled> {
    let mut found: Vec<Settled> = Vec::new();
    for group in summary::groups(pilot) {
        let is_of = |run: &&Run| {
            run.experiment.subject() == group.subject && run.point.as_slice() == group.point
        };
        let horizon = plan.iter().find(is_of).and_then(|run| run.experiment.horizon());
        let Some(after) = settled_after(&group, horizon) else { continue };
        let same = |one: &&mut Settled| {
            one.subject == group.subject && one.point.as_slice() == group.point
        };
        match found.iter_mut().find(same) {
            // One that never settles leaves none that is settled beside it.
            Some(one) => one.after = one.after.zip(after).map(|(one, other)| one.max(other)),
            None => {
                found.push(Settled { subject: group.subject, point: group.point.to_vec(), after });
            }
        }
    }
    for run in plan {
        let subject = run.experiment.subject();
        let mine = found.iter().find(|one| one.subject == subject && one.point == run.point);
        if let Some(after) = mine.and_then(|one| one.after) {
            run.experiment = run.experiment.with_warm_up(after);
        }
    }
    found
}

/// When the runs of one variant have settled, seen by what they do up to their `horizon` (afterwards
/// they come to rest, which is no steady state either): `None` where there is nothing to see it by,
/// `Some(None)` where they never do.
#[expect(clippy::option_option, reason = "the caller takes both apart at once")]
fn settled_after(group: &Group<'_>, horizon: Option<SimTime>) -> Option<Option<SimDuration>> {
    let wing = WINGS.iter().find(|wing| wing.subject == group.subject)?;
    let courses = wing.brief.pictures.iter().filter_map(|picture| match picture {
        Picture::Course(metric) => Some(*metric),
        Picture::Load(_)
        | Picture::Floor { .. }
        | Picture::Percentiles(_)
        | Picture::Handover(_)
        | Picture::Lanes { .. }
        | Picture::Swept(_)
        | Picture::Cost { .. } => None,
    });
    let mut latest: Option<Option<SimDuration>> = None;
    for metric in courses {
        let is_course = |curve: &&Curve| curve.metric == metric && curve.at.is_empty();
        let curves: Vec<&Curve> =
            group.runs.iter().filter_map(|run| run.curves.iter().find(is_course)).collect();
        let Some(mut averages) = averages(&curves) else { continue };
        if let Some(horizon) = horizon {
            averages.truncate((horizon.as_ns() / curves[0].step.as_ns()) as usize);
        }
        let after = statistics::warm_up(&averages).map(|steps| {
            // To the next millisecond: steps are a part of a run and seldom a round number.
            let exact = curves[0].step.times(steps as u64).as_ns();
            SimDuration::from_ms(exact.div_ceil(1_000_000))
        });
        latest = Some(match latest {
            Some(so_far) => so_far.zip(after).map(|(one, other)| one.max(other)),
            None => after,
        });
    }
    latest
}

/// The averages over several runs, step by step, as far as all of them go. `None` where there are
/// none, or where a value is not finite: a latency of nothing, for one.
fn averages(curves: &[&Curve]) -> Option<Vec<f64>> {
    let length = curves.iter().map(|curve| curve.values.len()).min()?;
    let at = |step: usize| {
        curves.iter().map(|curve| curve.values[step]).sum::<f64>() / curves.len() as f64
    };
    let averages: Vec<f64> = (0..length).map(at).collect();
    averages.iter().all(|value| value.is_finite()).then_some(averages)
}

/// `locks, clients=8: settled after 5s (MSER-5)`.
impl fmt::Display for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", summary::label(self.subject.name(), &self.point))?;
        match self.after {
            Some(after) => write!(f, "measured from {after} on, when it had settled (MSER-5)"),
            None => write!(f, "NEVER SETTLES (MSER-5): no steady state is measured"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Seed;
    use crate::record::Ending;

    /// A run of the queues whose courses are `value` at each second.
    fn record(variant: &str, seed: u64, value: impl Fn(u32) -> f64) -> Record {
        let wing = WINGS.iter().find(|wing| wing.subject == Subject::Queues).unwrap();
        let values: Vec<f64> = (0..200).map(value).collect();
        let curves = wing.brief.pictures.iter().filter_map(|picture| match picture {
            Picture::Course(metric) => Some(Curve {
                metric,
                at: String::new(),
                step: SimDuration::from_secs(1),
                values: values.clone(),
            }),
            _ => None,
        });
        Record {
            subject: Subject::Queues,
            variant: variant.into(),
            point: Vec::new(),
            seed: Seed(seed),
            measures: Vec::new(),
            samples: Vec::new(),
            curves: curves.collect(),
            profiles: Vec::new(),
            flows: Vec::new(),
            spans: Vec::new(),
            faults: Vec::new(),
            findings: Vec::new(),
            window: None,
            ending: Ending::Complete,
            event_count: 0,
            fingerprint: 0,
        }
    }

    fn after(pilot: &[Record]) -> Vec<Option<u64>> {
        let secs = |after: SimDuration| after.as_ns() / 1_000_000_000;
        settled(&mut [], pilot).iter().map(|one| one.after.map(secs)).collect()
    }

    fn noise(step: u32, seed: u64) -> f64 {
        f64::from(step.wrapping_mul(2_654_435_761).rotate_left(seed as u32) % 100) / 100.0
    }

    #[test]
    fn what_settles_is_measured_from_then_on_and_all_variants_from_the_same_instant() {
        let early = |seed| record("early", seed, move |step| noise(step, seed));
        let late = |seed| {
            let value = move |step| noise(step, seed) + f64::from(60_u32.saturating_sub(step));
            record("late", seed, value)
        };
        let both: Vec<Record> = (1..=3).map(early).chain((1..=3).map(late)).collect();
        let found = after(&both);
        assert_eq!(found.len(), 1);
        assert!((50..=65).contains(&found[0].unwrap()), "{found:?}");
        assert!(after(&both[..3])[0].unwrap() < 20);
    }

    #[test]
    fn what_only_grows_never_settles_and_lets_none_beside_it_be_settled() {
        let growing =
            |seed| record("growing", seed, move |step| f64::from(step) + noise(step, seed));
        let steady = |seed| record("steady", seed, move |step| noise(step, seed));
        let both: Vec<Record> = (1..=3).map(growing).chain((1..=3).map(steady)).collect();
        assert_eq!(after(&both), [None]);
    }

    #[test]
    fn what_grows_to_the_horizon_and_then_comes_to_rest_never_settles() {
        let value =
            |step| noise(step, 1) + f64::from(step.min(120)) - f64::from(step.max(120) - 120);
        let runs: Vec<Record> = (1..=3).map(|seed| record("tide", seed, value)).collect();
        let group = &summary::groups(&runs)[0];
        assert_eq!(
            settled_after(group, Some(SimTime::ZERO + SimDuration::from_secs(120))),
            Some(None)
        );
    }

    #[test]
    fn where_there_is_no_course_there_is_nothing_to_settle() {
        let still = Record { curves: Vec::new(), ..record("still", 1, |_| 0.0) };
        assert_eq!(after(&[still]), []);
    }
}
