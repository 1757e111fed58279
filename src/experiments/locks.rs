//! Locks put to work.

use serde_json::Value as Json;

use crate::choice::Choice;
use crate::config::{Config, Problems, Value};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::locks::matrix::{self, Base, FAULTS, Mode, VARIANTS, ms, timeline};
use crate::locks::{
    self, CATALOGUE, Entry, LocksConfig, ShardConfig, Shards, course, measure, testbed,
};
use crate::model::directory::Directory;
use crate::model::surroundings::Surroundings;
use crate::record::brief::{Brief, Finding, Headline, Picture};
use crate::record::summary::Statistic;
use crate::record::{Metric, Record, Span, Subject};

use super::Estimate;
use super::matrix::{Cell, Course, Harm, Head, Layer, Matrix, Verdict};
use super::sharding;
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
        if let Some(ShardConfig { count, ring }) = &config.shards {
            sharding::check(ring, *count, problems);
        }
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
        locks::simulate(choice, config, &shards(config, seed), around, seed)
    }

    fn course(
        choice: &Choice,
        config: &LocksConfig,
        around: &Surroundings,
        seed: Seed,
    ) -> Vec<Span> {
        course::whole(&locks::play(choice, config, &shards(config, seed), around, seed))
    }
}

/// Which service has which lock under `seed`.
fn shards(config: &LocksConfig, seed: Seed) -> Shards {
    let Some(ShardConfig { count, ring }) = &config.shards else { return Shards::default() };
    let names = (1..=config.locks).map(|number| format!("lock-{number}"));
    let owners = sharding::owners(ring, *count, names, seed);
    Shards::new(*count, owners.expect("the ring was checked when it was read"))
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
    pictures: &[
        Picture::Lanes { verb: "believe that they hold the lock" },
        Picture::Percentiles(&measure::WAIT),
        Picture::Course(&measure::GRANTS),
    ],
    side_by_side: &[],
};

/// The matrix of locks: [`locks::matrix`] as the verb sees it.
#[derive(Debug)]
pub(super) struct LockMatrix;

impl LockMatrix {
    fn cell(cell: &Cell) -> matrix::Cell {
        matrix::Cell {
            variant: &VARIANTS[cell.variant],
            fault: &FAULTS[cell.fault],
            mode: Mode::ALL[cell.layer],
        }
    }

    fn computed(cell: &Cell) -> Result<matrix::Computed, String> {
        Self::cell(cell).compute(&Base::default()).map_err(|problems| format!("{problems:?}"))
    }
}

impl Matrix for LockMatrix {
    fn subject(&self) -> Subject {
        Subject::Locks
    }

    fn variants(&self) -> Vec<Head> {
        let head = |variant: &matrix::Variant| Head {
            id: variant.id,
            title: variant.title.into(),
            choice: variant.choice(&Base::default()),
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
        let layer = |mode: Mode| Layer { name: mode.column(), caption: mode.title() };
        Mode::ALL.map(layer).to_vec()
    }

    fn legend(&self) -> Vec<(&'static str, &'static str)> {
        vec![
            ("S", "nothing went wrong, and nobody was left waiting, in this schedule"),
            ("B", "two clients believed at once that they held the lock"),
            ("b", "though not so by the deadlines on their own clocks"),
            ("E", "an anomaly at the resource: a lost update, or no serial order"),
            ("d", "a release took another client's lock"),
            ("#", "a live client still waited at the end"),
        ]
    }

    fn cells(&self) -> Vec<Cell> {
        let mut all = Vec::new();
        for (variant, of) in VARIANTS.iter().enumerate() {
            for (fault, by) in FAULTS.iter().enumerate() {
                all.extend(matrix::cells(of, by).into_iter().map(|cell| {
                    let layer = Mode::ALL.iter().position(|mode| *mode == cell.mode);
                    Cell { variant, fault, layer: layer.unwrap_or(0), condition: "" }
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
        let lines = timeline(&computed).into_iter();
        let mut words = vec!["A, B and C are client-1, client-2 and client-3.".into()];
        let (base, of_cell) = (Base::default(), Self::cell(cell));
        let choice = of_cell.choice(&base);
        if choice != of_cell.variant.choice(&base) {
            words.push(format!("In this script it is {choice}."));
        }
        Ok(Course {
            verdict: verdict(&computed),
            words,
            columns: vec!["ms", "believes", "held by", "event"],
            lines: lines
                .map(|line| vec![ms(line.at), line.believes, line.held, line.event])
                .collect(),
        })
    }

    fn scenario(&self, cell: &Cell) -> String {
        Self::cell(cell).scenario(&Base::default())
    }

    fn csv(&self, cells: &[Cell], verdicts: &[Verdict]) -> Vec<Vec<String>> {
        let mut head: Vec<&str> = vec!["variant", "name", "fault", "fault_name"];
        head.extend(Mode::ALL.map(Mode::column));
        head.push(FIRST_OTHER);
        let mut records = vec![head.into_iter().map(str::to_owned).collect::<Vec<_>>()];
        let mut rest: Vec<(&Cell, &Verdict)> = cells.iter().zip(verdicts).collect();
        while let Some((first, _)) = rest.first().copied() {
            let is_same = |cell: &Cell| (cell.variant, cell.fault) == (first.variant, first.fault);
            let count = rest.iter().take_while(|(cell, _)| is_same(cell)).count();
            let of_row: Vec<(&Cell, &Verdict)> = rest.drain(..count).collect();
            let (variant, fault) = (&VARIANTS[first.variant], &FAULTS[first.fault]);
            let mut record =
                [variant.id, variant.title, fault.id, fault.title].map(str::to_owned).to_vec();
            record.extend((0..Mode::ALL.len()).map(|layer| {
                let of_mode = of_row.iter().find(|(cell, _)| cell.layer == layer);
                of_mode.map_or(String::new(), |(_, verdict)| verdict.letters.clone())
            }));
            record.extend(of_row[0].1.fields.iter().map(|(_, value)| value.clone()));
            records.push(record);
        }
        records
    }
}

/// The field that tells when another client than the first was first granted the lock.
const FIRST_OTHER: &str = "first_other_grant_ms";

fn verdict(computed: &matrix::Computed) -> Verdict {
    let shown = computed.letters.to_string();
    let first = computed.first_other_grant_ms.map_or(String::new(), |ms| format!("{ms:.0}"));
    let letters = computed.letters;
    let harm = if letters.belief || letters.effect {
        Harm::Wrong
    } else if letters.foreign_release || letters.stall {
        Harm::Nuisance
    } else {
        Harm::None
    };
    Verdict {
        letters: shown.replace('b', ""),
        harm,
        shown,
        fields: vec![(FIRST_OTHER, first)],
        findings: computed.findings.iter().map(|finding| finding.text.clone()).collect(),
    }
}
