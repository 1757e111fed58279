//! What the house knows of its wings, and how a wing is put to work.

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::choice::{About, Choice, Listed};
use crate::config::{Config, Name, Problems, Value, ValueKind};
use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::directory::Directory;
use crate::model::fault::FaultPlan;
use crate::model::surroundings::Surroundings;
use crate::record::brief::Brief;
use crate::record::{Metric, Record, Span, Subject};

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
    /// What it is about, in a few words.
    pub summary: &'static str,
    /// All numbers that its runs may leave.
    pub metrics: &'static [&'static Metric],
    /// What is worth saying of its runs.
    pub brief: Brief,
    /// All its variants.
    pub variants: fn() -> Vec<Listing>,
    /// The JSON Schema of its `[experiment.NAME]` table.
    pub schema: fn() -> Json,
    /// Reads its `[experiment.NAME]` table.
    pub read: fn(&Value, &mut Problems) -> Option<Box<dyn Laid>>,
}

/// An experiment that was read, and has no world around it yet.
pub trait Laid: Debug {
    /// What it is about.
    fn subject(&self) -> Subject;
    /// Its nodes, by which a scenario's links and faults call them; `None` where it has none.
    fn directory(&self) -> Option<&Directory>;
    /// When a run of it ends; `None` where there is no virtual time.
    fn horizon(&self) -> Option<SimTime>;
    /// Puts the world around it.
    fn within(self: Box<Self>, surroundings: Surroundings) -> Arc<dyn Experiment>;
}

/// What a wing has to offer to be put to work: the one piece of glue for each.
pub(super) trait Glue: Debug + 'static {
    /// What it is about.
    const SUBJECT: Subject;
    /// What it is about, in a few words.
    const SUMMARY: &'static str;
    /// All numbers that its runs may leave.
    const METRICS: &'static [&'static Metric];
    /// What is worth saying of its runs.
    const BRIEF: Brief;
    /// What messages call one of its variants.
    const VARIANT: &'static str;
    /// A row of its catalogue.
    type Entry: Listed;
    /// All its variants.
    const CATALOGUE: &'static [Self::Entry];
    /// Everything that its table says.
    type Setup: Debug + Send + Sync;

    /// The JSON Schema of its table.
    fn schema() -> Json;
    /// Reads its table, and tells all that is wrong with it.
    fn read(table: &Value, problems: &mut Problems) -> Option<Self::Setup>;
    /// The variants that the scenario chose.
    fn variants(setup: &Self::Setup) -> &[Choice];
    /// Its nodes, and when a run of it ends; `None` where there is no virtual time.
    fn cluster(setup: &Self::Setup) -> Option<(Directory, SimTime)>;
    /// What a run of `choice` will cost.
    fn estimate(choice: &Choice, setup: &Self::Setup, around: &Surroundings) -> Estimate;
    /// Runs `choice` under `seed`.
    fn simulate(choice: &Choice, setup: &Self::Setup, around: &Surroundings, seed: Seed) -> Record;
    /// The whole course of a run of `choice` under `seed`, as far as the wing tells one.
    fn course(
        choice: &Choice,
        setup: &Self::Setup,
        around: &Surroundings,
        seed: Seed,
    ) -> Vec<Span> {
        Self::simulate(choice, setup, around, seed).spans
    }
}

impl Wing {
    /// The wing that `G` glues on.
    pub(super) const fn of<G: Glue>() -> Self {
        Self {
            subject: G::SUBJECT,
            summary: G::SUMMARY,
            metrics: G::METRICS,
            brief: G::BRIEF,
            variants: || G::CATALOGUE.iter().map(listing).collect(),
            schema: schema::<G>,
            read: |table, problems| {
                check_names::<G>(table, problems);
                let setup = G::read(table, problems)?;
                let cluster = G::cluster(&setup);
                let setup = Arc::new(setup);
                let around = Surroundings::default();
                Some(Box::new(AtWork::<G> { setup, cluster, around }))
            },
        }
    }
}

fn listing<E: Listed>(entry: &E) -> Listing {
    Listing { about: *entry.about(), params: entry.params_schema() }
}

/// Tells of variants that there are not, whatever else is wrong with the table.
fn check_names<G: Glue>(table: &Value, problems: &mut Problems) {
    let ValueKind::Table(fields) = &table.kind else { return };
    let Some(list) = fields.get("variants") else { return };
    let choices: Option<Vec<Choice>> = Config::read(list, &mut Problems::default());
    for choice in choices.into_iter().flatten() {
        choice.find(G::VARIANT, G::CATALOGUE, problems);
    }
}

/// The schema of the wing's table, in which each variant has its parameters.
fn schema<G: Glue>() -> Json {
    let mut schema = G::schema();
    schema["properties"]["variants"]["items"] = choices(G::CATALOGUE);
    schema
}

/// The schema of a choice from `catalogue`, in which each variant has its parameters.
pub(super) fn choices<E: Listed>(catalogue: &[E]) -> Json {
    let choices = catalogue.iter().map(|entry| {
        let About { name, summary, .. } = *entry.about();
        json!({
            "description": summary,
            "anyOf": [
                { "const": name },
                {
                    "type": "object",
                    "properties": { name: entry.params_schema(), "as": Name::schema() },
                    "required": [name],
                    "additionalProperties": false,
                },
            ],
        })
    });
    json!({ "anyOf": choices.collect::<Vec<_>>() })
}

#[derive(Debug)]
struct AtWork<G: Glue> {
    setup: Arc<G::Setup>,
    cluster: Option<(Directory, SimTime)>,
    around: Surroundings,
}

impl<G: Glue> Laid for AtWork<G> {
    fn subject(&self) -> Subject {
        G::SUBJECT
    }

    fn directory(&self) -> Option<&Directory> {
        self.cluster.as_ref().map(|(directory, _)| directory)
    }

    fn horizon(&self) -> Option<SimTime> {
        self.cluster.as_ref().map(|(_, horizon)| *horizon)
    }

    fn within(self: Box<Self>, around: Surroundings) -> Arc<dyn Experiment> {
        Arc::new(Self { around, ..*self })
    }
}

impl<G: Glue> Experiment for AtWork<G> {
    fn subject(&self) -> Subject {
        G::SUBJECT
    }

    fn variants(&self) -> &[Choice] {
        G::variants(&self.setup)
    }

    fn estimate(&self, variant: usize) -> Estimate {
        G::estimate(&self.variants()[variant], &self.setup, &self.around)
    }

    fn simulate(&self, variant: usize, seed: Seed) -> Record {
        G::simulate(&self.variants()[variant], &self.setup, &self.around, seed)
    }

    fn course(&self, variant: usize, seed: Seed) -> Vec<Span> {
        G::course(&self.variants()[variant], &self.setup, &self.around, seed)
    }

    fn faults(&self, seed: Seed) -> Result<FaultPlan, String> {
        match &self.cluster {
            Some((directory, horizon)) => self.around.fault_plan(directory, *horizon, seed),
            None => Ok(FaultPlan::default()),
        }
    }

    fn directory(&self) -> Option<&Directory> {
        self.cluster.as_ref().map(|(directory, _)| directory)
    }

    fn horizon(&self) -> Option<SimTime> {
        self.cluster.as_ref().map(|(_, horizon)| *horizon)
    }

    fn with_warm_up(&self, warm_up: SimDuration) -> Arc<dyn Experiment> {
        Arc::new(Self {
            setup: self.setup.clone(),
            cluster: self.cluster.clone(),
            around: Surroundings { warm_up, ..self.around.clone() },
        })
    }
}
