//! `bench`: what things cost on this machine, by the wall clock.
//!
//! Nothing of it can be repeated to the digit, so nothing of it goes into a report, a record or a
//! result folder: it is printed, with its name on it. The one exception, `bench paired`, counts
//! seeds and not seconds.

#![expect(clippy::disallowed_types, reason = "measuring with the wall clock is the point of it")]

mod growth;
mod kernel;
mod paired;
mod rings;
mod whole;

use std::time::Instant;

use clap::{Args, Command, Subcommand};

use crate::experiments::{Conduct, Run, carry_out};
use crate::record::Ending;

use super::console::Console;
use super::{Exit, Failure, Tabular};

const EXAMPLES: &str = "\
Without more, kernel, whole, paired and rings, one after the other.

Examples:
  stormglass bench
  stormglass bench kernel --only ping-pong --rounds 21
  stormglass bench growth --out growth
  stormglass bench rings --format csv > rings.csv";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Time the kernel and the network on the workloads by which engines are measured
    Kernel(kernel::KernelArgs),
    /// Time a lock, a queue and a ring cluster from end to end, on one core and on all
    Whole(whole::WholeArgs),
    /// Count the seeds that comparing under the same seed saves; not by the clock
    Paired(paired::PairedArgs),
    /// Show how time and memory grow with the work
    Growth(growth::GrowthArgs),
    /// Time the look-ups, builds and updates of every ring, beside what theory says
    Rings(rings::RingsArgs),
}

const MARK: &str = "wall clock of this machine, other work included: no part of any report\n";

pub(super) fn bench(
    args: &BenchArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match &args.what {
        Some(What::Kernel(args)) => kernel::kernel(args, format, console),
        Some(What::Whole(args)) => whole::whole(args, format, console),
        Some(What::Paired(args)) => paired::paired(args, format, console),
        Some(What::Growth(args)) => growth::growth(args, format, console),
        Some(What::Rings(args)) => rings::rings(args, format, console),
        None if format == Tabular::Human => {
            kernel::kernel(&defaults(), format, console)?;
            whole::whole(&defaults(), format, console)?;
            paired::paired(&defaults(), format, console)?;
            rings::rings(&defaults(), format, console)
        }
        None => Err(Failure::Usage(
            "say what to measure: `bench kernel`, `whole`, `paired`, `growth` or `rings`".into(),
        )),
    }
}

/// The arguments of a part that is given none.
fn defaults<A: Args>() -> A {
    let command = A::augment_args(Command::new("bench"));
    A::from_arg_matches(&command.get_matches_from(["bench"])).expect("every argument has a default")
}

/// How long `work` takes, in nanoseconds, and what it gives.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let given = work();
    (start.elapsed().as_nanos() as f64, given)
}

/// Carries out `plan` on so many jobs; the events of all runs. A run that ends early is no measure.
fn carried_out(plan: &[Run], jobs: usize) -> Result<u64, Failure> {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let harvest = carry_out(plan, Conduct { jobs, stop: &stop }, &|_, _| ());
    match harvest.records.iter().find(|record| record.ending != Ending::Complete) {
        Some(record) => Err(Failure::Bug(format!("{}: {:?}", record.variant, record.ending))),
        None => Ok(harvest.records.iter().map(|record| record.event_count).sum()),
    }
}

/// A figure of this process from the system, in bytes: `VmRSS`, or `VmHWM` for the most there was;
/// `None` where the system does not say.
fn memory(of: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(of)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

pub(super) fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

/// A time with three digits that count, in a unit that fits.
pub(super) fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        _ if ns < 1e3 => (ns, "ns"),
        _ if ns < 1e6 => (ns / 1e3, "us"),
        _ if ns < 1e9 => (ns / 1e6, "ms"),
        _ => (ns / 1e9, "s"),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_the_digits_that_count() {
        let shown = [0.5, 12.34, 999.4, 1234.0, 45_600_000.0, 2e9].map(time);
        assert_eq!(shown, ["0.50 ns", "12.3 ns", "999 ns", "1.23 us", "45.6 ms", "2.00 s"]);
    }

    #[test]
    fn the_median_is_no_mean() {
        assert_eq!(median(vec![100.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(Vec::new()), None);
    }
}
