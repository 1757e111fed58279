//! From a plan of runs to a list of records.
//!
//! An [`Experiment`] is one wing put to work: variants, a set-up and the world around it. A
//! [`Run`] is one of its variants under one seed. [`carry_out`] takes a plan and brings back what
//! each run left behind, in the order of the plan, whatever the number of threads. It is the one
//! address of the `rayon` crate.
//!
//! A wing joins the house by its row in [`WINGS`].

mod locks;
pub mod matrix;
mod pipeline;
mod queues;
mod rings;
mod settle;
mod sharding;
mod wing;
pub mod yardstick;

use std::fmt::{Debug, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::choice::Choice;
use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::directory::Directory;
use crate::model::fault::FaultPlan;
use crate::record::{Ending, Record, Span, Subject};

pub use settle::{Settled, settled};
pub use wing::{Laid, Listing, Wing};

/// All wings, in the order in which reports have them.
pub const WINGS: &[Wing] = &[
    Wing::of::<rings::Rings>(),
    Wing::of::<locks::Locks>(),
    Wing::of::<queues::Queues>(),
    Wing::of::<pipeline::Pipeline>(),
];

/// One wing put to work: variants, a set-up and the world around it.
pub trait Experiment: Debug + Send + Sync {
    /// What it is about.
    fn subject(&self) -> Subject;

    /// Its variants, in the scenario's order.
    fn variants(&self) -> &[Choice];

    /// What a run of variant number `variant` will cost.
    fn estimate(&self, variant: usize) -> Estimate;

    /// Runs variant number `variant` under `seed`.
    fn simulate(&self, variant: usize, seed: Seed) -> Record;

    /// The whole course of a run of variant number `variant` under `seed`, as far as there is one:
    /// what a trace shows. A record has only the piece of it that makes its case.
    fn course(&self, variant: usize, seed: Seed) -> Vec<Span> {
        self.simulate(variant, seed).spans
    }

    /// The faults that strike it under `seed`, drawn before any run.
    ///
    /// # Errors
    /// Where there would be too many.
    fn faults(&self, seed: Seed) -> Result<FaultPlan, String>;

    /// Its nodes; `None` where it has none.
    fn directory(&self) -> Option<&Directory>;

    /// When measuring ends; what a run does afterwards is to come to rest. `None` where a run has no
    /// virtual time.
    fn horizon(&self) -> Option<SimTime>;

    /// The same, in which nothing is measured before `warm_up` is over.
    fn with_warm_up(&self, warm_up: SimDuration) -> Arc<dyn Experiment>;
}

/// What a run will cost, foretold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Estimate {
    /// How many events the kernel will handle, or how many lookups a ring will answer.
    pub event_count: u64,
    /// How many bytes will be in use at once.
    pub bytes: u64,
}

/// One variant of one experiment at one point of the sweep under one seed.
#[derive(Clone, Debug)]
pub struct Run {
    /// What is put to work.
    pub experiment: Arc<dyn Experiment>,
    /// Which of its variants.
    pub variant: usize,
    /// What reports call the variant: the same at each point of a sweep.
    pub label: String,
    /// The swept parameters and their values here.
    pub point: Vec<(String, String)>,
    /// The seed.
    pub seed: Seed,
}

impl Run {
    /// What the run will cost.
    pub fn estimate(&self) -> Estimate {
        self.experiment.estimate(self.variant)
    }

    /// What messages call it: `rings ring{virtual_nodes=8} node_count=10 seed 3`.
    pub fn name(&self) -> String {
        let mut name = format!("{} {}", self.experiment.subject().name(), self.label);
        for (parameter, value) in &self.point {
            let _ = write!(name, " {parameter}={value}");
        }
        let _ = write!(name, " seed {}", self.seed.0);
        name
    }

    /// Its whole course, as far as there is one.
    pub fn course(&self) -> Vec<Span> {
        self.experiment.course(self.variant, self.seed)
    }

    fn carry_out(&self) -> Record {
        let mut record = self.experiment.simulate(self.variant, self.seed);
        record.samples.iter_mut().for_each(|sample| sample.distribution.pack());
        assert_eq!(record.seed, self.seed, "a record must carry the seed that it was made under");
        Record { variant: self.label.clone(), point: self.point.clone(), ..record }
    }

    fn panicked(&self, why: &str) -> Record {
        Record {
            subject: self.experiment.subject(),
            variant: self.label.clone(),
            point: self.point.clone(),
            seed: self.seed,
            measures: Vec::new(),
            samples: Vec::new(),
            curves: Vec::new(),
            profiles: Vec::new(),
            flows: Vec::new(),
            spans: Vec::new(),
            faults: Vec::new(),
            findings: Vec::new(),
            window: None,
            ending: Ending::Incomplete(format!("panicked: {why}")),
            event_count: 0,
            fingerprint: 0,
        }
    }
}

/// What a plan brought back.
#[derive(Debug, Default)]
pub struct Harvest {
    /// A record for each run that was carried out, in the order of the plan.
    pub records: Vec<Record>,
    /// The runs that panicked, and what they said: bugs of ours. Each has an incomplete record.
    pub panics: Vec<(Run, String)>,
    /// How many runs were not begun, because of a wish to stop.
    pub left_out: usize,
}

/// What the carrying out of a plan should heed.
#[derive(Clone, Copy, Debug)]
pub struct Conduct<'a> {
    /// How many threads; 0 for as many as there are cores.
    pub jobs: usize,
    /// Once true, no further run begins.
    pub stop: &'a AtomicBool,
}

/// Carries out `plan`. `done` hears of each run that is finished and of what it left, or said where
/// it panicked, in no fixed order.
///
/// The records are the same for any number of jobs: runs share nothing, and keep their order.
pub fn carry_out(
    plan: &[Run],
    conduct: Conduct<'_>,
    done: &(dyn Fn(&Run, Result<&Record, &str>) + Sync),
) -> Harvest {
    let one = |run: &Run| -> (Record, Option<String>) {
        // A run owns all that it touches, so nothing half-changed can be seen after a panic.
        let result = match catch_unwind(AssertUnwindSafe(|| run.carry_out())) {
            Ok(record) => (record, None),
            Err(payload) => {
                let why = message_of(payload.as_ref());
                (run.panicked(&why), Some(why))
            }
        };
        done(run, result.1.as_deref().map_or(Ok(&result.0), Err));
        result
    };
    let results = in_order(conduct, plan, one);
    let mut harvest = Harvest::default();
    for (run, result) in plan.iter().zip(results) {
        match result {
            Some((record, panic)) => {
                harvest.records.push(record);
                harvest.panics.extend(panic.map(|why| (run.clone(), why)));
            }
            None => harvest.left_out += 1,
        }
    }
    harvest
}

/// What `one` makes of each of `items`, in their order for any number of jobs; nothing for those
/// that were not begun because of a wish to stop.
fn in_order<T: Sync, R: Send>(
    conduct: Conduct<'_>,
    items: &[T],
    one: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let unless_stopped = |item| (!conduct.stop.load(Ordering::Relaxed)).then(|| one(item));
    match rayon::ThreadPoolBuilder::new().num_threads(conduct.jobs).build() {
        Ok(pool) => pool.install(|| items.par_iter().with_max_len(1).map(unless_stopped).collect()),
        // Where no threads can be had, this one will do.
        Err(_) => items.iter().map(unless_stopped).collect(),
    }
}

fn message_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}

/// What a plan will cost: the events of all runs, and the bytes of the largest ones that can run
/// at the same time on `jobs` threads. Saturates.
pub fn estimate(plan: &[Run], jobs: usize) -> Estimate {
    let each: Vec<Estimate> = estimates(plan).collect();
    let mut bytes: Vec<u64> = each.iter().map(|one| one.bytes).collect();
    bytes.sort_unstable_by(|a, b| b.cmp(a));
    Estimate {
        event_count: each.iter().fold(0, |sum, one| sum.saturating_add(one.event_count)),
        bytes: bytes.iter().take(jobs.max(1)).fold(0, |sum: u64, &one| sum.saturating_add(one)),
    }
}

/// How many bytes the records of a plan take at most until its report is written: all of them stand
/// in memory together. Saturates.
pub fn left_behind(plan: &[Run]) -> u64 {
    estimates(plan).fold(0, |sum: u64, one| {
        let values = (one.event_count / EVENTS_PER_VALUE).min(DISTINCT_VALUES_MAX);
        sum.saturating_add(RECORD_BYTES + 16 * values)
    })
}

/// What each run will cost. The seeds of a variant follow one another, and cost the same.
fn estimates(plan: &[Run]) -> impl Iterator<Item = Estimate> + '_ {
    let mut last: Option<(&Run, Estimate)> = None;
    plan.iter().map(move |run| match last {
        Some((like, one))
            if Arc::ptr_eq(&like.experiment, &run.experiment) && like.variant == run.variant =>
        {
            one
        }
        _ => last.insert((run, run.estimate())).1,
    })
}

/// What a record takes without its distributions: numbers, courses of some hundred steps, names.
const RECORD_BYTES: u64 = 32 << 10;

/// A grant or a message takes a dozen events and more, and adds to a few distributions.
const EVENTS_PER_VALUE: u64 = 8;

/// Three digits tell about a thousand values of each power of two apart, from a nanosecond to hours.
const DISTINCT_VALUES_MAX: u64 = 40_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Better, Distribution, Metric, Sample, Unit};

    const LATENCY: Metric = Metric {
        name: "latency",
        title: "latency",
        unit: Unit::Nanoseconds,
        better: Better::Lower,
        definition: "How long it took.",
    };

    /// Two variants: the first measures its seed, the second panics on odd seeds.
    #[derive(Debug)]
    struct Toy {
        variants: Vec<Choice>,
    }

    impl Experiment for Toy {
        fn subject(&self) -> Subject {
            Subject::Rings
        }

        fn variants(&self) -> &[Choice] {
            &self.variants
        }

        fn estimate(&self, variant: usize) -> Estimate {
            Estimate { event_count: 10, bytes: 100 * (variant as u64 + 1) }
        }

        fn simulate(&self, variant: usize, seed: Seed) -> Record {
            assert!(variant == 0 || seed.0.is_multiple_of(2), "seed {} is odd", seed.0);
            let run = plan_of(1, 1).remove(0);
            let mut distribution = Distribution::new();
            distribution.add(seed.0);
            let samples = vec![Sample { metric: &LATENCY, at: String::new(), distribution }];
            let ending = Ending::Complete;
            Record { seed, fingerprint: seed.0, ending, samples, ..run.panicked("") }
        }

        fn faults(&self, _: Seed) -> Result<FaultPlan, String> {
            Ok(FaultPlan::default())
        }

        fn directory(&self) -> Option<&Directory> {
            None
        }

        fn horizon(&self) -> Option<SimTime> {
            None
        }

        fn with_warm_up(&self, _: SimDuration) -> Arc<dyn Experiment> {
            Arc::new(Toy { variants: self.variants.clone() })
        }
    }

    fn plan_of(variant_count: usize, seed_count: u64) -> Vec<Run> {
        let variants = vec![Choice::named("calm"), Choice::named("odd")];
        let experiment: Arc<dyn Experiment> = Arc::new(Toy { variants });
        (0..variant_count)
            .flat_map(|variant| (0..seed_count).map(move |seed| (variant, seed)))
            .map(|(variant, seed)| Run {
                label: experiment.variants()[variant].label(),
                experiment: experiment.clone(),
                variant,
                point: vec![("size".into(), "3".into())],
                seed: Seed(seed),
            })
            .collect()
    }

    #[test]
    fn what_is_left_behind_grows_with_the_runs_and_is_small_for_each() {
        let (one, thousand) = (left_behind(&plan_of(1, 1)), left_behind(&plan_of(1, 1000)));
        assert_eq!(thousand, 1000 * one);
        assert!((RECORD_BYTES..2 * RECORD_BYTES).contains(&one), "{one}");
    }

    #[test]
    fn records_wait_for_their_report_packed() {
        let plan = plan_of(1, 1);
        let record = carry_out(&plan, Conduct { jobs: 1, stop: &never() }, &|_, _| ()).records;
        assert!(record[0].samples.iter().all(|sample| sample.distribution.is_packed()));
        assert!(!record[0].samples.is_empty());
    }

    fn never() -> AtomicBool {
        AtomicBool::new(false)
    }

    #[test]
    fn records_keep_the_order_of_the_plan_for_any_number_of_jobs() {
        let plan = plan_of(1, 100);
        let one = carry_out(&plan, Conduct { jobs: 1, stop: &never() }, &|_, _| ());
        let eight = carry_out(&plan, Conduct { jobs: 8, stop: &never() }, &|_, _| ());
        let seeds: Vec<u64> = eight.records.iter().map(|record| record.seed.0).collect();
        assert_eq!(seeds, (0..100).collect::<Vec<_>>());
        assert_eq!(one.records, eight.records);
    }

    #[test]
    fn a_panic_costs_its_own_run_and_no_other() {
        let plan = plan_of(2, 4);
        let harvest = carry_out(&plan, Conduct { jobs: 2, stop: &never() }, &|_, _| ());
        assert_eq!(harvest.records.len(), 8);
        let named: Vec<_> =
            harvest.panics.iter().map(|(run, why)| (run.name(), why.as_str())).collect();
        assert_eq!(
            named,
            [
                ("rings odd size=3 seed 1".into(), "seed 1 is odd"),
                ("rings odd size=3 seed 3".into(), "seed 3 is odd"),
            ]
        );
        let incomplete = &harvest.records[5];
        assert_eq!(incomplete.ending, Ending::Incomplete("panicked: seed 1 is odd".into()));
        assert_eq!(incomplete.point, [("size".into(), "3".into())]);
    }

    #[test]
    fn a_wish_to_stop_keeps_what_is_finished() {
        let stop = never();
        let plan = plan_of(1, 10);
        let harvest = carry_out(&plan, Conduct { jobs: 1, stop: &stop }, &|run, _| {
            stop.store(run.seed.0 == 3, Ordering::Relaxed);
        });
        assert_eq!((harvest.records.len(), harvest.left_out), (4, 6));
    }

    #[test]
    fn an_estimate_adds_all_events_and_the_memory_of_what_runs_at_once() {
        let plan = plan_of(2, 3);
        assert_eq!(estimate(&plan, 2), Estimate { event_count: 60, bytes: 400 });
        assert_eq!(estimate(&plan, 4), Estimate { event_count: 60, bytes: 700 });
        assert_eq!(estimate(&[], 4), Estimate::default());
    }
}
