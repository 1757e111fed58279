//! A pipeline that joins the three wings: under one clock and one plan of faults, messages go by
//! account to partitions that a ring places on brokers, and the consumers of each broker lock the
//! account before they change it.
//!
//! ```text
//! producer ──▶ partition of the account ──▶ consumers of its broker ──▶ the accounts' store
//!              on a broker, by the ring        │            ▲                checks the token
//!                                              ▼            │
//!                                            lock servers: the account's lock and token
//! ```
//!
//! None of the three is modelled anew: brokers, clients, lock servers, critical sections and the
//! store are the roles of their own wings, message by message ([`process`]). So what they do to
//! each other can be seen. A ring that gives one broker more than its part fills that broker's
//! queues, and where each broker has a lock service beside it, that one too; who waits longer for a
//! lock is busy for longer, and what is queued behind waits for both.

mod config;
mod measure;
mod process;
mod testbed;
#[cfg(test)]
mod tests;

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, Problems, Value};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;
use crate::record::brief::Brief;
use crate::record::{Metric, Record, Subject};

use super::Estimate;
use super::wing::Glue;
use config::{CATALOGUE, Entry, Keyed, PipelineConfig, VARIANT};

#[derive(Debug)]
pub(super) struct Pipeline;

impl Glue for Pipeline {
    const SUBJECT: Subject = Subject::Pipeline;
    const SUMMARY: &'static str = "rings, queues and locks joined under one clock";
    const METRICS: &'static [&'static Metric] = measure::METRICS;
    const BRIEF: Brief = measure::BRIEF;
    const VARIANT: &'static str = VARIANT;
    type Entry = Entry;
    const CATALOGUE: &'static [Entry] = CATALOGUE;
    type Setup = PipelineConfig;

    fn schema() -> Json {
        PipelineConfig::schema()
    }

    fn read(table: &Value, problems: &mut Problems) -> Option<PipelineConfig> {
        let before = problems.len();
        let config = PipelineConfig::read(table, problems)?;
        config.check_variants(problems);
        (before == problems.len()).then_some(config)
    }

    fn variants(config: &PipelineConfig) -> &[Choice] {
        &config.variants
    }

    fn cluster(config: &PipelineConfig) -> Option<(Directory, SimTime)> {
        Some((config.directory(), SimTime::ZERO + config.horizon))
    }

    fn estimate(choice: &Choice, config: &PipelineConfig, _: &Surroundings) -> Estimate {
        // Of a message: published, confirmed, delivered, acknowledged; of a section, at each
        // server: asked for, granted, read, worked, written, released, and the steps between.
        const EVENTS_OF_A_MESSAGE: f64 = 15.0;
        const EVENTS_OF_A_SECTION: f64 = 30.0;
        let servers = choice
            .params::<Keyed>(&mut Problems::default())
            .and_then(|keyed| keyed.servers())
            .map_or(1.0, |servers| f64::from(servers.count()));
        let horizon_s = config.horizon.as_secs_f64();
        let messages = config.load.mean_rate() * horizon_s;
        let parts = f64::from(config.partitions)
            * f64::from(config.producers + config.replicas + config.consumers / config.brokers);
        let events = messages * (EVENTS_OF_A_MESSAGE + EVENTS_OF_A_SECTION * servers)
            + parts * (horizon_s / 10.0 + 4.0);
        let bytes = 4e6 + 2000.0 * messages + 20e3 * parts;
        Estimate { event_count: events as u64, bytes: bytes as u64 }
    }

    fn simulate(
        choice: &Choice,
        config: &PipelineConfig,
        around: &Surroundings,
        seed: Seed,
    ) -> Record {
        let played = testbed::play(choice, config, around, seed);
        measure::record(choice, around, seed, played)
    }
}
