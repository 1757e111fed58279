//! `bench whole`: experiments from end to end, judges on, as `run` carries them out.

use clap::Args;
use serde_json::json;

use crate::experiments::Run;
use crate::kernel::rng::Seed;
use crate::kernel::time::SimTime;
use crate::scenario::{self, Alterations, Scenario};

use super::super::console::Console;
use super::super::words::{columns, grouped, pretty};
use super::super::{Exit, Failure, Tabular};
use super::{MARK, carried_out, median, memory, timed};

#[derive(Debug, Args)]
pub(super) struct WholeArgs {
    /// How often each experiment has its turn
    #[arg(long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u32).range(1..=1001))]
    rounds: u32,
}

/// Name, what it is, and its scenario.
pub(super) const WHOLES: [(&str, &str, &str); 3] = [
    ("lock", "token, 16 clients, a thousand grants a second", include_str!("lock.toml")),
    ("queue", "AMQP, 10 consumers, a thousand messages a second", include_str!("queue.toml")),
    ("ring", "100 nodes, 1000 clients, ten thousand requests a second", include_str!("ring.toml")),
];

struct Timing {
    name: &'static str,
    title: &'static str,
    event_count: u64,
    ns: f64,
    /// How many seconds of the model pass in a second of one core.
    pace: f64,
    /// How many times as much all cores do together.
    speed_up: f64,
}

/// The scenario of one of [`WHOLES`], with so many seeds.
pub(super) fn load(name: &str, text: &str, sets: Vec<String>) -> Result<Scenario, Failure> {
    let alterations = Alterations { sets, ..Alterations::default() };
    scenario::built_in(name, text, &alterations).map_err(Failure::Scenario)
}

pub(super) fn whole(
    args: &WholeArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    console.note(MARK);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut timings = Vec::new();
    for (name, title, text) in WHOLES {
        let scenario = load(name, text, Vec::new())?;
        let Some(run) = scenario.plan().into_iter().next() else { continue };
        let seeds = (1..=cores as u64 * 2).map(|seed| Run { seed: Seed(seed), ..run.clone() });
        let seeds: Vec<Run> = seeds.collect();
        let horizon = run.experiment.horizon().map_or(0.0, SimTime::as_secs_f64);
        let (mut alone, mut ratios, mut event_count) = (Vec::new(), Vec::new(), 0);
        for _ in 0..args.rounds {
            // The first run of a process pays for its memory; it is among the two of these.
            let (one_ns, one) = timed(|| carried_out(&seeds, 1));
            let (all_ns, all) = timed(|| carried_out(&seeds, cores));
            if one? != all? {
                return Err(Failure::Bug(format!("{name}: other events on {cores} jobs")));
            }
            let (ns, events) = timed(|| carried_out(std::slice::from_ref(&run), 1));
            event_count = events?;
            alone.push(ns);
            ratios.push(one_ns / all_ns);
        }
        if let (Some(ns), Some(speed_up)) = (median(alone), median(ratios)) {
            let pace = horizon * 1e9 / ns;
            timings.push(Timing { name, title, event_count, ns, pace, speed_up });
        }
    }
    console.print(&match format {
        Tabular::Human => in_words(&timings, cores),
        Tabular::Json => in_json(&timings, cores),
        Tabular::Csv => in_csv(&timings, cores),
    })?;
    Ok(Exit::Done)
}

/// Days of the model in a day are years of it in as many years.
const DAYS_A_YEAR: f64 = 365.25;

fn in_words(timings: &[Timing], cores: usize) -> String {
    let all = format!("{cores} cores");
    let head = ["whole experiments", "events", "ns an event", "events a second"];
    let head = head.into_iter().chain(["simulated s a second", "years a core-day", &all]);
    let mut rows: Vec<[String; 7]> =
        head.map(str::to_owned).collect::<Vec<_>>().try_into().ok().into_iter().collect();
    for timing in timings {
        let count = timing.event_count as f64;
        rows.push([
            format!("{}: {}", timing.name, timing.title),
            grouped(timing.event_count),
            format!("{:.0}", timing.ns / count),
            grouped((count * 1e9 / timing.ns) as u64),
            format!("{:.0}", timing.pace),
            format!("{:.2}", timing.pace / DAYS_A_YEAR),
            format!("x{:.2}", timing.speed_up),
        ]);
    }
    let most = memory("VmHWM").map_or_else(String::new, |bytes| {
        format!("at most {} MiB in memory, {cores} runs at a time\n", bytes >> 20)
    });
    format!("{}{most}\n", columns(&rows))
}

fn in_json(timings: &[Timing], cores: usize) -> String {
    let rows = timings.iter().map(|timing| {
        json!({
            "experiment": timing.name,
            "clock": "wall",
            "events": timing.event_count,
            "ns": timing.ns,
            "simulated_seconds_per_second": timing.pace,
            "simulated_years_per_core_day": timing.pace / DAYS_A_YEAR,
            "cores": cores,
            "speed_up_on_all_cores": timing.speed_up,
        })
    });
    pretty(&rows.collect())
}

fn in_csv(timings: &[Timing], cores: usize) -> String {
    let mut text = String::from(
        "experiment,events,ns,simulated_seconds_per_second,simulated_years_per_core_day,cores,\
         speed_up_on_all_cores\n",
    );
    for timing in timings {
        let Timing { name, event_count, ns, pace, speed_up, .. } = timing;
        let years = pace / DAYS_A_YEAR;
        text.push_str(&format!(
            "{name},{event_count},{ns:.0},{pace:.1},{years:.3},{cores},{speed_up:.2}\n"
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scenarios_of_the_bench_are_right() {
        for (name, _, text) in WHOLES {
            let scenario = load(name, text, Vec::new()).map_err(|_| name).unwrap();
            assert_eq!(scenario.plan().len(), 1, "{name}");
            assert!(scenario.cells[0].experiment.horizon().is_some(), "{name}");
        }
    }
}
