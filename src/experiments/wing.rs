//! What the house knows of its wings, and how a wing is put to work.

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::choice::{About, Choice, Listed};
use crate::config::{Problems, Value};
use crate::kernel::rng::Seed;
use crate::record::{Metric, Record, Subject};

use super::{Estimate, Experiment};

/// A variant of a wing, as a catalogue lists it.
#[derive(Clone, Debug)]
pub struct Listing {
    /// What it says of itself.
    pub about: About,
    /// The JSON Schema of its parameters.
    pub params: Json,
}

/// What the house knows of a wing.
#[derive(Clone, Copy, Debug)]
pub struct Wing {
    /// What it is about; its name in scenario files.
    pub subject: Subject,
    /// All numbers that its runs may leave.
    pub metrics: &'static [&'static Metric],
    /// All its variants.
    pub variants: fn() -> Vec<Listing>,
    /// The JSON Schema of its `[experiment.NAME]` table.
    pub schema: fn() -> Json,
    /// Reads its `[experiment.NAME]` table.
    pub read: fn(&Value, &mut Problems) -> Option<Arc<dyn Experiment>>,
}

/// What a wing has to offer to be put to work: the one piece of glue for each.
pub(super) trait Glue: Debug + 'static {
    /// What it is about.
    const SUBJECT: Subject;
    /// All numbers that its runs may leave.
    const METRICS: &'static [&'static Metric];
    /// A row of its catalogue.
    type Entry: Listed;
    /// All its variants.
    const CATALOGUE: &'static [Self::Entry];
    /// Everything that decides a run but variant and seed.
    type Setup: Debug + Send + Sync;

    /// The JSON Schema of its table.
    fn schema() -> Json;
    /// Reads its table, and tells all that is wrong with it.
    fn read(table: &Value, problems: &mut Problems) -> Option<Self::Setup>;
    /// The variants that the scenario chose.
    fn variants(setup: &Self::Setup) -> &[Choice];
    /// What a run of `choice` will cost.
    fn estimate(choice: &Choice, setup: &Self::Setup) -> Estimate;
    /// Runs `choice` under `seed`.
    fn simulate(choice: &Choice, setup: &Self::Setup, seed: Seed) -> Record;
    /// The faults that strike under `seed`, a line each.
    fn faults(setup: &Self::Setup, seed: Seed) -> Vec<String>;
}

impl Wing {
    /// The wing that `G` glues on.
    pub(super) const fn of<G: Glue>() -> Self {
        Self {
            subject: G::SUBJECT,
            metrics: G::METRICS,
            variants: || G::CATALOGUE.iter().map(listing).collect(),
            schema: schema::<G>,
            read: |table, problems| {
                let setup = G::read(table, problems)?;
                Some(Arc::new(AtWork::<G> { setup }))
            },
        }
    }
}

fn listing<E: Listed>(entry: &E) -> Listing {
    Listing { about: *entry.about(), params: entry.params_schema() }
}

/// The schema of the wing's table, in which each variant has its parameters.
fn schema<G: Glue>() -> Json {
    let mut schema = G::schema();
    let choices = G::CATALOGUE.iter().map(|entry| {
        let About { name, summary, .. } = *entry.about();
        json!({
            "description": summary,
            "anyOf": [
                { "const": name },
                {
                    "type": "object",
                    "properties": { name: entry.params_schema() },
                    "required": [name],
                    "additionalProperties": false,
                },
            ],
        })
    });
    schema["properties"]["variants"]["items"] = json!({ "anyOf": choices.collect::<Vec<_>>() });
    schema
}

#[derive(Debug)]
struct AtWork<G: Glue> {
    setup: G::Setup,
}

impl<G: Glue> Experiment for AtWork<G> {
    fn subject(&self) -> Subject {
        G::SUBJECT
    }

    fn variants(&self) -> &[Choice] {
        G::variants(&self.setup)
    }

    fn estimate(&self, variant: usize) -> Estimate {
        G::estimate(&self.variants()[variant], &self.setup)
    }

    fn simulate(&self, variant: usize, seed: Seed) -> Record {
        G::simulate(&self.variants()[variant], &self.setup, seed)
    }

    fn faults(&self, seed: Seed) -> Vec<String> {
        G::faults(&self.setup, seed)
    }
}
