//! Rings put to work.

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, DataFile, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;
use crate::record::brief::{Brief, Finding, Headline, Picture};
use crate::record::{Metric, Record, Subject};
use crate::rings::measure::{self, Keys, ListedKeys, RingsConfig, Setup};
use crate::rings::{CATALOGUE, Entry};

use super::Estimate;
use super::wing::Glue;

#[derive(Debug)]
pub(super) struct Rings;

impl Glue for Rings {
    const SUBJECT: Subject = Subject::Rings;
    const SUMMARY: &'static str = "placement rings: load skew and remap fraction";
    const METRICS: &'static [&'static Metric] = measure::METRICS;
    const BRIEF: Brief = BRIEF;
    const VARIANT: &'static str = "ring";
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

    fn cluster(_: &Setup) -> Option<(Directory, SimTime)> {
        None
    }

    fn estimate(choice: &Choice, setup: &Setup, _: &Surroundings) -> Estimate {
        let measure::Estimate { operations, bytes } = measure::estimate(choice, setup);
        // A cast saturates: what is out of range is out of any budget.
        Estimate { event_count: operations as u64, bytes: bytes as u64 }
    }

    fn simulate(choice: &Choice, setup: &Setup, _: &Surroundings, seed: Seed) -> Record {
        measure::measure(choice, setup, seed).expect("the choice was checked when it was read")
    }
}

/// What is worth saying of rings.
const BRIEF: Brief = Brief {
    subject: Subject::Rings,
    headlines: &[
        Headline::value(&measure::KEY_SKEW),
        Headline::value(&measure::REQUEST_SKEW),
        Headline::value(&measure::KEY_REMAP),
        Headline::value(&measure::KEY_REMAP_FLOOR),
    ],
    findings: &[
        Finding::Best(Headline::value(&measure::KEY_SKEW)),
        Finding::Times {
            of: &measure::KEY_REMAP,
            to: &measure::KEY_REMAP_FLOOR,
            verb: "moves",
            reference: "the least possible",
        },
    ],
    pictures: &[
        Picture::Load(&measure::NODE_KEYS),
        Picture::Floor { of: &measure::KEY_REMAP, floor: &measure::KEY_REMAP_FLOOR },
    ],
};

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
