//! Stormglass: a deterministic simulation and benchmarking harness.

pub mod choice;
pub mod config;
pub mod experiments;
pub mod kernel;
pub mod model;
pub mod record;
pub mod rings;
pub mod scenario;
