//! The workloads on the shipped kernel: its loop with caps and fingerprint, and its network.

use stormglass::experiments::yardstick::YARDSTICKS;

use crate::measure::{Meter, Outcome, resident};

/// The workload of this name; `None` where there is none.
pub fn measured(name: &str) -> Option<Outcome> {
    let yardstick = YARDSTICKS.iter().find(|yardstick| yardstick.name == name)?;
    let before = resident();
    let prepared = (yardstick.prepare)();
    let memory = resident().saturating_sub(before);
    let meter = Meter::start();
    let done = prepared.run(yardstick.count);
    Some(meter.stop(done.count, done.check, memory))
}
