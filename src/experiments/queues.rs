//! Queues put to work.

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, Problems, Value};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;
use crate::queues::{self, CATALOGUE, Entry, QueuesConfig, Setup};
use crate::record::brief::Brief;
use crate::record::{Metric, Record, Subject};

use super::Estimate;
use super::wing::Glue;

#[derive(Debug)]
pub(super) struct Queues;

impl Glue for Queues {
    const SUBJECT: Subject = Subject::Queues;
    const SUMMARY: &'static str = "message queues: throughput, latency, what is lost and repeated";
    const METRICS: &'static [&'static Metric] = queues::METRICS;
    const BRIEF: Brief = queues::BRIEF;
    const VARIANT: &'static str = queues::VARIANT;
    type Entry = Entry;
    const CATALOGUE: &'static [Entry] = CATALOGUE;
    type Setup = QueuesConfig;

    fn schema() -> Json {
        QueuesConfig::schema()
    }

    fn read(table: &Value, problems: &mut Problems) -> Option<QueuesConfig> {
        let before = problems.len();
        let config = QueuesConfig::read(table, problems)?;
        queues::check(&config, problems);
        (before == problems.len()).then_some(config)
    }

    fn variants(config: &QueuesConfig) -> &[Choice] {
        &config.variants
    }

    fn cluster(config: &QueuesConfig) -> Option<(Directory, SimTime)> {
        Some((queues::directory(config), SimTime::ZERO + config.horizon))
    }

    fn estimate(_: &Choice, config: &QueuesConfig, _: &Surroundings) -> Estimate {
        let queues::Estimate { events, bytes } = queues::estimate(config);
        // A cast saturates: what is out of range is out of any budget.
        Estimate { event_count: events as u64, bytes: bytes as u64 }
    }

    fn simulate(
        choice: &Choice,
        config: &QueuesConfig,
        around: &Surroundings,
        seed: Seed,
    ) -> Record {
        let outcome = queues::simulate(choice, Setup { config, around }, seed);
        outcome.expect("the choice was checked when it was read").record
    }
}
