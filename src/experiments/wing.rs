//! What the house knows of its wings.

use crate::choice::About;
use crate::config::{Problems, Value};
use crate::record::{Metric, Subject};

use super::Experiment;

use std::sync::Arc;

use serde_json::Value as Json;

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

/// All wings, in the order in which reports have them.
pub const WINGS: &[Wing] = &[];
