//! Rings put to work.

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, DataFile, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::record::{Metric, Record, Subject};
use crate::rings::measure::{self, Keys, ListedKeys, RingsConfig, Setup};
use crate::rings::{CATALOGUE, Entry};

use super::Estimate;
use super::wing::Glue;

#[derive(Debug)]
pub(super) struct Rings;

impl Glue for Rings {
    const SUBJECT: Subject = Subject::Rings;
    const METRICS: &'static [&'static Metric] = measure::METRICS;
    type Entry = Entry;
    const CATALOGUE: &'static [Entry] = CATALOGUE;
    type Setup = Setup;

    fn schema() -> Json {
        RingsConfig::schema()
    }

    fn read(table: &Value, problems: &mut Problems) -> Option<Setup> {
        let before = problems.len();
        let config = RingsConfig::read(table, problems)?;
        let listed = match &config.keys {
            Keys::Made(_) => None,
            Keys::File(_) => Some(listed_keys(table, problems)?),
        };
        let setup = Setup { config, listed };
        measure::check(&setup, problems);
        (before == problems.len()).then_some(setup)
    }

    fn variants(setup: &Setup) -> &[Choice] {
        &setup.config.variants
    }

    fn estimate(choice: &Choice, setup: &Setup) -> Estimate {
        let measure::Estimate { operations, bytes } = measure::estimate(choice, setup);
        // A cast saturates: what is out of range is out of any budget.
        Estimate { event_count: operations as u64, bytes: bytes as u64 }
    }

    fn simulate(choice: &Choice, setup: &Setup, seed: Seed) -> Record {
        measure::measure(choice, setup, seed).expect("the choice was checked when it was read")
    }

    fn faults(_: &Setup, _: Seed) -> Vec<String> {
        Vec::new()
    }
}

/// The keys in the file that `[experiment.rings]` names.
fn listed_keys(table: &Value, problems: &mut Problems) -> Option<ListedKeys> {
    let ValueKind::Table(fields) = &table.kind else { return None };
    let ValueKind::Table(keys) = &fields.get("keys")?.kind else { return None };
    let file = DataFile::read(keys.get("file")?, problems)?;
    let rows = file.rows(&["key", "weight"], problems)?;
    let weighted: Option<Vec<(String, f64)>> =
        rows.iter().map(|row| Some((row.fields[0].clone(), row.number(1, problems)?))).collect();
    ListedKeys::new(weighted?).map_err(|(index, why)| problems.add(rows[index].place, why)).ok()
}
