//! Rings put to work.

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, DataFile, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;
use crate::record::brief::{Beside, Brief, Finding, Headline, Over, Picture};
use crate::record::{Ending, Metric, Record, Subject};
use crate::rings::measure::{self, Keys, ListedKeys, RingsConfig, Setup};
use crate::rings::{Entry, VARIANTS, motion};

use super::Estimate;
use super::wing::Glue;

#[derive(Debug)]
pub(super) struct Rings;

impl Glue for Rings {
    const SUBJECT: Subject = Subject::Rings;
    const SUMMARY: &'static str =
        "placement rings: load skew and remap fraction, and how a cluster behind them fares";
    const METRICS: &'static [&'static Metric] = METRICS;
    const BRIEF: Brief = BRIEF;
    const VARIANT: &'static str = "ring";
    type Entry = Entry;
    const CATALOGUE: &'static [Entry] = VARIANTS;
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
        if before == problems.len() {
            motion::check(&setup, table.place, problems);
        }
        (before == problems.len()).then_some(setup)
    }

    fn variants(setup: &Setup) -> &[Choice] {
        &setup.config.variants
    }

    fn cluster(setup: &Setup) -> Option<(Directory, SimTime)> {
        motion::cluster(setup)
    }

    fn estimate(choice: &Choice, setup: &Setup, _: &Surroundings) -> Estimate {
        let measure::Estimate { operations, bytes } = match &setup.config.motion {
            Some(config) => motion::estimate(choice, setup, config),
            None => measure::estimate(choice, setup),
        };
        // A cast saturates: what is out of range is out of any budget.
        Estimate { event_count: operations as u64, bytes: bytes as u64 }
    }

    fn simulate(choice: &Choice, setup: &Setup, around: &Surroundings, seed: Seed) -> Record {
        if setup.config.motion.is_some() {
            return motion::simulate(choice, setup, around, seed);
        }
        measure::measure(choice, setup, seed).unwrap_or_else(|why| impossible(choice, seed, &why))
    }
}

/// What is left of a run whose script cannot be carried out under this seed: a member that a later
/// event names may have been the one that left at random.
fn impossible(choice: &Choice, seed: Seed, why: &dyn std::fmt::Display) -> Record {
    Record {
        subject: Subject::Rings,
        variant: choice.label(),
        point: Vec::new(),
        seed,
        measures: Vec::new(),
        samples: Vec::new(),
        curves: Vec::new(),
        profiles: Vec::new(),
        flows: Vec::new(),
        spans: Vec::new(),
        faults: Vec::new(),
        findings: Vec::new(),
        window: None,
        ending: Ending::Incomplete(format!("the script cannot be carried out: {why}")),
        event_count: 0,
        fingerprint: 0,
    }
}

/// What a ring is measured by, at rest and in motion.
const METRICS: &[&Metric] = &joined::<_, { measure::METRICS.len() + motion::METRICS.len() }>(
    measure::METRICS,
    motion::METRICS,
);

/// What is worth saying of rings, at rest and in motion; a run leaves the one or the other.
const BRIEF: Brief = Brief {
    subject: Subject::Rings,
    headlines: &joined::<_, { HEADLINES.len() + motion::HEADLINES.len() }>(
        HEADLINES,
        motion::HEADLINES,
    ),
    findings: &joined::<_, { FINDINGS.len() + motion::FINDINGS.len() }>(FINDINGS, motion::FINDINGS),
    pictures: &joined::<_, { PICTURES.len() + motion::PICTURES.len() }>(PICTURES, motion::PICTURES),
    side_by_side: SIDE_BY_SIDE,
};

const HEADLINES: &[Headline] = &[
    Headline::value(&measure::KEY_SKEW),
    Headline::value(&measure::REQUEST_SKEW),
    Headline::value(&measure::KEY_REMAP),
    Headline::value(&measure::KEY_REMAP_FLOOR),
];

const FINDINGS: &[Finding] = &[
    Finding::Best(Headline::value(&measure::KEY_SKEW)),
    Finding::Times {
        of: &measure::KEY_REMAP,
        to: &measure::KEY_REMAP_FLOOR,
        verb: "moves",
        reference: "the least possible",
    },
];

const PICTURES: &[Picture] = &[
    Picture::Load(&measure::NODE_KEYS),
    Picture::Floor { of: &measure::KEY_REMAP, floor: &measure::KEY_REMAP_FLOOR },
    Picture::Handover(&measure::KEY_REMAP),
    Picture::Swept(Headline::value(&measure::KEY_SKEW)),
    Picture::Cost { cost: &measure::TABLE_BYTES, worth: &measure::KEY_SKEW },
];

const SIDE_BY_SIDE: &[Beside] = &[
    beside("skew", &measure::KEY_SKEW, Over::Start),
    beside("moved", &measure::KEY_REMAP, Over::Each),
    beside("excess", &measure::KEY_REMAP_EXCESS, Over::Sum),
    beside("bytes per node", &measure::NODE_BYTES, Over::Start),
    beside("look-up steps", &measure::LOOKUP_STEPS, Over::Start),
];

const fn beside(title: &'static str, metric: &'static Metric, over: Over) -> Beside {
    Beside { title, of: Headline::value(metric), over }
}

/// One list behind the other.
const fn joined<T: Copy, const N: usize>(first: &[T], then: &[T]) -> [T; N] {
    assert!(N == first.len() + then.len() && !first.is_empty());
    let mut all = [first[0]; N];
    let mut index = 1;
    while index < N {
        all[index] = if index < first.len() { first[index] } else { then[index - first.len()] };
        index += 1;
    }
    all
}

/// The keys in the file that `[experiment.rings]` names.
fn listed_keys(table: &Value, problems: &mut Problems) -> Option<ListedKeys> {
    let ValueKind::Table(fields) = &table.kind else { return None };
    let ValueKind::Table(keys) = &fields.get("keys")?.kind else { return None };
    let file = DataFile::read(keys.get("file")?, problems)?;
    let rows = file.rows(&["key", "weight"], problems)?;
    // All rows are read before the first failure counts, so that each is told of.
    let weights: Vec<Option<f64>> = rows.iter().map(|row| row.number(1, problems)).collect();
    let weights: Option<Vec<f64>> = weights.into_iter().collect();
    let weighted = rows.iter().zip(weights?).map(|(row, weight)| (row.fields[0].clone(), weight));
    ListedKeys::new(weighted.collect())
        .map_err(|(index, why)| problems.add(rows[index].place, why))
        .ok()
}
