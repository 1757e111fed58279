//! A deterministic simulation and benchmarking harness for placement rings, distributed locks and
//! message queues.
//!
//! A scenario says what is asked; [`scenario::load`] reads it, [`experiments::carry_out`] runs every
//! variant under every seed, and what comes back is a list of [`record::Record`]s: numbers with
//! names, units and definitions, the same to the last bit whenever and wherever they are made.
//!
//! ```no_run
//! use std::path::Path;
//! use std::sync::atomic::AtomicBool;
//!
//! use stormglass::experiments::{self, Conduct};
//! use stormglass::record::summary;
//! use stormglass::scenario::{self, Alterations};
//!
//! let scenario = scenario::load(Path::new("scenarios/quickstart.toml"), &Alterations::default())?;
//! let conduct = Conduct { jobs: 0, stop: &AtomicBool::new(false) };
//! let harvest = experiments::carry_out(&scenario.plan(), conduct, &|_, _| ());
//! for number in summary::of(&harvest.records) {
//!     println!("{} {}: {:.3}", number.label(), number.name(), number.estimate.mean);
//! }
//! # Ok::<(), scenario::ScenarioError>(())
//! ```
//!
//! # The house
//!
//! What is above may use what is below, never the other way, and never sideways between wings.
//!
//! | floor | rooms |
//! |---|---|
//! | 5 | `cli`: words in; files, tables and an exit code out |
//! | 4 | [`scenario`]: what was asked · [`report`]: what is shown |
//! | 3 | [`experiments`]: from a plan of runs to a list of records |
//! | 2 | the wings: [`rings`], `locks`, `queues` |
//! | 1 | [`model`]: nodes, network, faults, load · [`record`]: numbers with names and units |
//! | 0 | [`kernel`]: time, randomness, the event queue · [`mod@config`]: what a user wrote, with its place · [`choice`]: a variant by its name |
//!
//! Below floor 5 nothing prints, reads the clock or the environment, or touches a file, but that
//! `scenario` reads the scenario and the data files that it names. There is no global state: a run
//! is a value. `ARCHITECTURE.md` tells the whole story.

pub mod choice;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod experiments;
pub mod kernel;
pub mod locks;
pub mod model;
pub mod queues;
pub mod record;
pub mod report;
pub mod rings;
pub mod scenario;
