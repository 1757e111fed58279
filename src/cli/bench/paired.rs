//! `bench paired`: how many seeds a comparison under the same seed saves.
//!
//! Two servers, one a twentieth quicker, meet the same customers at load 0.8. Every purpose of
//! every entity draws from a stream of its own, so under one seed both servers see the same
//! arrivals and the same work, and the difference of their sojourns varies little. The ratio of
//! variances is the number of independent seeds that one paired seed stands for (common random
//! numbers: Law, "Simulation Modeling and Analysis", section 11.2). It is the same on every machine.

use clap::Args;
use serde_json::json;

use crate::experiments::yardstick::mm1;
use crate::kernel::rng::Seed;

use super::super::console::Console;
use super::super::words::{columns, pretty};
use super::super::{Exit, Failure, Tabular};

#[derive(Debug, Args)]
pub(super) struct PairedArgs {
    /// How many seeds are compared
    #[arg(long, value_name = "N", default_value_t = 400,
        value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    seeds: u64,

    /// How many events each run has
    #[arg(long, value_name = "N", default_value_t = 40_000,
        value_parser = clap::value_parser!(u64).range(100..=100_000_000))]
    events: u64,
}

struct Comparison {
    /// The mean difference of the mean sojourns, in seconds; theory: 1.0.
    difference: f64,
    paired: f64,
    independent: f64,
}

impl Comparison {
    fn of(seed_count: u64, event_count: u64) -> Self {
        let sojourn = |seed, rate: f64| mm1(Seed(seed), 1.25, 1.0 / rate).run(event_count).check;
        let slow: Vec<f64> = (1..=seed_count).map(|seed| sojourn(seed, 1.0)).collect();
        let quick: Vec<f64> = (1..=seed_count).map(|seed| sojourn(seed, 1.05)).collect();
        let others = (1..=seed_count).map(|seed| sojourn(seed + seed_count, 1.05));
        let paired: Vec<f64> = slow.iter().zip(&quick).map(|(s, q)| s - q).collect();
        let independent: Vec<f64> = slow.iter().zip(others).map(|(s, q)| s - q).collect();
        Self {
            difference: mean(&paired),
            paired: variance(&paired),
            independent: variance(&independent),
        }
    }

    fn ratio(&self) -> f64 {
        self.independent / self.paired
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    squares / (values.len() - 1) as f64
}

pub(super) fn paired(
    args: &PairedArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let found = Comparison::of(args.seeds, args.events);
    let Comparison { difference, paired, independent } = found;
    let ratio = found.ratio();
    console.print(&match format {
        Tabular::Human => {
            let rows = [
                ["paired comparison, M/M/1, load 0.8, rate 1.00 and 1.05", ""].map(str::to_owned),
                ["difference of mean sojourns (theory: 1)".into(), format!("{difference:.3} s")],
                ["variance under independent seeds".into(), format!("{independent:.4}")],
                ["variance under the same seed".into(), format!("{paired:.4}")],
                ["one paired seed is worth".into(), format!("{ratio:.1} seeds")],
            ];
            format!("{}\n", columns(&rows))
        }
        Tabular::Json => pretty(&json!({
            "seeds": args.seeds,
            "events": args.events,
            "difference": difference,
            "variance_independent": independent,
            "variance_paired": paired,
            "ratio": ratio,
        })),
        Tabular::Csv => format!(
            "seeds,events,difference,variance_independent,variance_paired,ratio\n\
             {},{},{difference},{independent},{paired},{ratio}\n",
            args.seeds, args.events
        ),
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paired_seed_is_worth_eight_independent_ones() {
        let found = Comparison::of(100, 10_000);
        assert!(8.0 <= found.ratio(), "{}", found.ratio());
    }
}
