//! Stormglass: a deterministic simulation and benchmarking harness.

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
