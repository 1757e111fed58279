//! What a scenario says about the world around its experiments: the same for every wing.

use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};

use super::directory::Directory;
use super::fault::{FaultConfig, FaultPlan, NemesisConfig};
use super::network::NetworkConfig;

/// The world around one experiment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Surroundings {
    /// The links between nodes.
    pub network: NetworkConfig,
    /// The faults that strike this experiment; their targets exist in it.
    pub faults: Vec<FaultConfig>,
    /// Faults at random, where they strike this experiment; their targets exist in it.
    pub nemesis: Option<NemesisConfig>,
    /// From the start until then nothing is measured: the system has not settled yet.
    pub warm_up: SimDuration,
}

impl Surroundings {
    /// Draws the faults of a run under `seed` that ends at `horizon`.
    ///
    /// # Errors
    /// Where there would be too many.
    pub fn fault_plan(
        &self,
        directory: &Directory,
        horizon: SimTime,
        seed: Seed,
    ) -> Result<FaultPlan, String> {
        FaultPlan::draw(&self.faults, self.nemesis.as_ref(), directory, horizon, seed)
    }
}
