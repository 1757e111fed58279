//! Locks put to work.

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, Problems, Value};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::locks::{self, CATALOGUE, Entry, LocksConfig, measure, testbed};
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;
use crate::record::brief::{Brief, Finding, Headline, Picture};
use crate::record::summary::Statistic;
use crate::record::{Metric, Record, Subject};

use super::Estimate;
use super::wing::Glue;

#[derive(Debug)]
pub(super) struct Locks;

impl Glue for Locks {
    const SUBJECT: Subject = Subject::Locks;
    const SUMMARY: &'static str = "distributed locks: safety, waits and hand-over";
    const METRICS: &'static [&'static Metric] = measure::METRICS;
    const BRIEF: Brief = BRIEF;
    const VARIANT: &'static str = "lock";
    type Entry = Entry;
    const CATALOGUE: &'static [Entry] = CATALOGUE;
    type Setup = LocksConfig;

    fn schema() -> Json {
        LocksConfig::schema()
    }

    fn read(table: &Value, problems: &mut Problems) -> Option<LocksConfig> {
        let before = problems.len();
        let config = LocksConfig::read(table, problems)?;
        testbed::check(&config, problems);
        (before == problems.len()).then_some(config)
    }

    fn variants(config: &LocksConfig) -> &[Choice] {
        &config.variants
    }

    fn cluster(config: &LocksConfig) -> Option<(Directory, SimTime)> {
        Some((config.directory(), config.end()))
    }

    fn estimate(choice: &Choice, config: &LocksConfig, _: &Surroundings) -> Estimate {
        let testbed::Estimate { events, bytes } = testbed::estimate(choice, config);
        Estimate { event_count: events as u64, bytes: bytes as u64 }
    }

    fn simulate(
        choice: &Choice,
        config: &LocksConfig,
        around: &Surroundings,
        seed: Seed,
    ) -> Record {
        locks::simulate(choice, config, around, seed)
    }
}

/// What is worth saying of locks.
const BRIEF: Brief = Brief {
    subject: Subject::Locks,
    headlines: &[
        Headline::value(&measure::BELIEF_VIOLATIONS),
        Headline::value(&measure::LOST_INCREMENTS),
        Headline::value(&measure::GRANT_RATE),
        Headline::of(&measure::WAIT, Statistic::P50),
        Headline::of(&measure::WAIT, Statistic::P99),
    ],
    findings: &[
        Finding::Occurs { count: &measure::LOST_INCREMENTS, what: "lost update" },
        Finding::Occurs { count: &measure::STALLED_LOCKS, what: "stalled lock" },
        Finding::Best(Headline::of(&measure::WAIT, Statistic::P99)),
    ],
    pictures: &[Picture::Percentiles(&measure::WAIT), Picture::Course(&measure::GRANTS)],
};
