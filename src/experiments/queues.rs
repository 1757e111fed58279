//! Queues put to work.

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, Problems, Value};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;
use crate::queues::matrix::{self, Code, FAULTS, VARIANTS};
use crate::queues::{self, CATALOGUE, Entry, QueuesConfig, Setup};
use crate::record::brief::Brief;
use crate::record::{Metric, Record, Subject};

use super::Estimate;
use super::matrix::{Cell, Course, Harm, Head, Layer, Matrix, Verdict};
use super::sharding;
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
        for (ring, count) in queues::rings(&config) {
            sharding::check(&ring, count, problems);
        }
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
        let share: queues::Share = |ring, count, keys, seed| {
            let owners = sharding::owners(ring, count, keys, seed);
            owners.expect("the ring was checked when it was read")
        };
        let setup = Setup { config, around, share: Some(share) };
        let outcome = queues::simulate(choice, setup, seed);
        outcome.expect("the choice was checked when it was read").record
    }
}

/// The matrix of queues: [`queues::matrix`] as the verb sees it.
#[derive(Debug)]
pub(super) struct QueueMatrix;

impl QueueMatrix {
    fn cell(cell: &Cell) -> matrix::Cell {
        let found = matrix::cells(&VARIANTS[cell.variant], &FAULTS[cell.fault]);
        let mut found = found.into_iter();
        let named = found.find(|other| other.condition_name() == cell.condition);
        named.expect("a cell has the name of one of its conditions")
    }

    fn computed(cell: &Cell) -> Result<matrix::Computed, String> {
        Self::cell(cell).compute().map_err(|problems| format!("{problems:?}"))
    }
}

impl Matrix for QueueMatrix {
    fn subject(&self) -> Subject {
        Subject::Queues
    }

    fn variants(&self) -> Vec<Head> {
        let head = |variant: &matrix::Variant| Head {
            id: variant.id,
            title: variant.title.into(),
            choice: variant.choice(None),
        };
        VARIANTS.iter().map(head).collect()
    }

    fn faults(&self) -> Vec<Head> {
        let head = |fault: &matrix::Fault| Head {
            id: fault.id,
            title: fault.title.into(),
            choice: String::new(),
        };
        FAULTS.iter().map(head).collect()
    }

    fn layers(&self) -> Vec<Layer> {
        vec![Layer { name: "", caption: "what came of each fault" }]
    }

    fn legend(&self) -> Vec<(&'static str, &'static str)> {
        let ok = ("ok", "nothing of what the fault asks for, in this schedule");
        let codes = Code::ALL.iter().map(|code| (code.name(), code.meaning()));
        std::iter::once(ok).chain(codes).collect()
    }

    fn cells(&self) -> Vec<Cell> {
        let mut all = Vec::new();
        for (variant, of) in VARIANTS.iter().enumerate() {
            for (fault, by) in FAULTS.iter().enumerate() {
                all.extend(matrix::cells(of, by).into_iter().map(|cell| Cell {
                    variant,
                    fault,
                    layer: 0,
                    condition: cell.condition_name(),
                }));
            }
        }
        all
    }

    fn compute(&self, cell: &Cell) -> Result<Verdict, String> {
        Ok(verdict(&Self::computed(cell)?))
    }

    fn explain(&self, cell: &Cell) -> Result<Course, String> {
        let computed = Self::computed(cell)?;
        let lines = matrix::timeline(&computed).into_iter().map(|line| {
            let ms = format!("{:.3}", line.at.since(SimTime::ZERO).as_ms_f64());
            let message = line.serial.map_or(String::new(), |serial| serial.0.to_string());
            vec![ms, line.who, message, line.event]
        });
        let counts = match computed.counts.as_slice() {
            [] => "Every message came once, in order and in time.".to_owned(),
            counts => format!("Counted: {}.", counts.join(", ")),
        };
        Ok(Course {
            verdict: verdict(&computed),
            words: vec![counts],
            columns: vec!["ms", "who", "message", "event"],
            lines: lines.collect(),
        })
    }

    fn scenario(&self, cell: &Cell) -> String {
        Self::cell(cell).scenario()
    }

    fn csv(&self, cells: &[Cell], verdicts: &[Verdict]) -> Vec<Vec<String>> {
        let head = ["variant", "fault", "condition", "outcome"].map(str::to_owned).to_vec();
        let rows = cells.iter().zip(verdicts).map(|(cell, verdict)| {
            let ids = [VARIANTS[cell.variant].id, FAULTS[cell.fault].id, cell.condition];
            let mut row = ids.map(str::to_owned).to_vec();
            row.push(verdict.letters.clone());
            row
        });
        std::iter::once(head).chain(rows).collect()
    }
}

fn verdict(computed: &matrix::Computed) -> Verdict {
    let letters = computed.codes.to_string();
    let findings = computed.outcome.as_ref().map(|outcome| outcome.record.findings.clone());
    let harm = |code: &Code| match code {
        Code::Lost | Code::Duplicate => Harm::Wrong,
        Code::Redelivered
        | Code::Reordered
        | Code::Stalled
        | Code::DeadLettered
        | Code::Rejected
        | Code::Parked => Harm::Nuisance,
        Code::NotApplicable => Harm::None,
    };
    Verdict {
        harm: computed.codes.0.iter().map(harm).max().unwrap_or_default(),
        shown: letters.clone(),
        letters,
        fields: Vec::new(),
        findings: findings.unwrap_or_default(),
    }
}
