//! Stormglass: a deterministic simulation and benchmarking harness.

pub mod choice;
pub mod config;
pub mod kernel;
pub mod record;
