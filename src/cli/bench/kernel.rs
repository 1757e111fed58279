//! `bench kernel`: the standard workloads, in rounds that go through all of them.

use clap::Args;
use serde_json::json;

use crate::experiments::yardstick::{YARDSTICKS, Yardstick};

use super::super::console::Console;
use super::super::words::{columns, pretty};
use super::super::{Exit, Failure, Tabular};
use super::{MARK, median, memory, timed};

#[derive(Debug, Args)]
pub(super) struct KernelArgs {
    /// These workloads only
    #[arg(long, value_name = "WORKLOAD,...", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,

    /// How often each workload has its turn
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1001))]
    rounds: u32,
}

fn names() -> Vec<&'static str> {
    YARDSTICKS.iter().map(|yardstick| yardstick.name).collect()
}

struct Timing {
    yardstick: &'static Yardstick,
    ns: f64,
    /// Bytes that came to be resident for each pending event.
    pending_bytes: Option<f64>,
}

pub(super) fn kernel(
    args: &KernelArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    console.note(MARK);
    let is_meant = |y: &&Yardstick| args.only.is_empty() || args.only.iter().any(|o| o == y.name);
    let yardsticks: Vec<&'static Yardstick> = YARDSTICKS.iter().filter(is_meant).collect();
    let mut turns = vec![(Vec::new(), None::<f64>); yardsticks.len()];
    for _ in 0..args.rounds {
        for (yardstick, (times, most)) in yardsticks.iter().zip(&mut turns) {
            let before = memory("VmRSS");
            let prepared = (yardstick.prepare)();
            let grown = before.zip(memory("VmRSS")).map(|(b, after)| after.saturating_sub(b));
            // Below a million, what the allocator kept from before is more than what it takes.
            if 1_000_000 <= yardstick.pending
                && let Some(grown) = grown
            {
                let bytes = grown as f64 / yardstick.pending as f64;
                *most = Some(most.map_or(bytes, |most: f64| most.max(bytes)));
            }
            let (ns, done) = timed(|| prepared.run(yardstick.count));
            times.push(ns / done.count as f64);
        }
    }
    let timings: Vec<Timing> = yardsticks
        .into_iter()
        .zip(turns)
        .filter_map(|(yardstick, (times, pending_bytes))| {
            Some(Timing { yardstick, ns: median(times)?, pending_bytes })
        })
        .collect();
    console.print(&match format {
        Tabular::Human => in_words(&timings),
        Tabular::Json => in_json(&timings),
        Tabular::Csv => in_csv(&timings),
    })?;
    Ok(Exit::Done)
}

fn in_words(timings: &[Timing]) -> String {
    let head = ["kernel", "ns", "millions a second", "bytes an event pending"];
    let mut rows = vec![head.map(str::to_owned)];
    for Timing { yardstick, ns, pending_bytes } in timings {
        rows.push([
            format!("{} ({})", yardstick.title, yardstick.unit),
            format!("{ns:.1}"),
            format!("{:.2}", 1e3 / ns),
            pending_bytes.map_or_else(String::new, |bytes| format!("{bytes:.0}")),
        ]);
    }
    format!("{}\n", columns(&rows))
}

fn in_json(timings: &[Timing]) -> String {
    let rows = timings.iter().map(|Timing { yardstick, ns, pending_bytes }| {
        json!({
            "workload": yardstick.name,
            "unit": yardstick.unit,
            "clock": "wall",
            "ns": ns,
            "per_second": 1e9 / ns,
            "bytes_per_pending_event": pending_bytes,
        })
    });
    pretty(&rows.collect())
}

fn in_csv(timings: &[Timing]) -> String {
    let mut text = String::from("workload,unit,ns,per_second,bytes_per_pending_event\n");
    for Timing { yardstick, ns, pending_bytes } in timings {
        let bytes = pending_bytes.map_or_else(String::new, |bytes| format!("{bytes:.0}"));
        let (name, unit) = (yardstick.name, yardstick.unit);
        text.push_str(&format!("{name},{unit},{ns:.2},{:.0},{bytes}\n", 1e9 / ns));
    }
    text
}
