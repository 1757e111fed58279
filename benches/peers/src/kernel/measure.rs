//! What a workload took: CPU time of this process, and memory.

use cpu_time::ProcessTime;

/// What came of one run of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// CPU nanoseconds an event.
    pub ns: f64,
    /// A number that two engines must agree on, as far as their randomness lets them.
    pub check: f64,
    /// Bytes resident per pending event; 0 where that was not asked.
    pub memory: u64,
}

/// Measures from its start on.
pub struct Meter(ProcessTime);

/// As [`Meter`], where the engine has put its own clock in place of the system's: by what the
/// scheduler of Linux says of this thread.
pub struct SchedulerMeter(u64);

impl SchedulerMeter {
    pub fn start() -> Self {
        Self(scheduled_ns())
    }

    pub fn stop(self, event_count: u64, check: f64) -> Outcome {
        let ns = (scheduled_ns() - self.0) as f64 / event_count as f64;
        Outcome { ns, check, memory: 0 }
    }
}

fn scheduled_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

impl Meter {
    pub fn start() -> Self {
        Self(ProcessTime::now())
    }

    pub fn stop(self, event_count: u64, check: f64, memory: u64) -> Outcome {
        let ns = self.0.elapsed().as_nanos() as f64 / event_count as f64;
        Outcome { ns, check, memory }
    }
}

/// Bytes of this process that are in memory; 0 where the system does not say.
pub fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
