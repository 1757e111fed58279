//! The kernel beside its peers: the same workloads, interleaved, in one run.
//!
//! `cargo run --release --bin kernel` from this folder. Every measurement is a process of its own,
//! in rounds that go through all engines, so that a busy or a warm machine strikes all alike; CPU
//! time is what counts. Medians and ratios are printed. `--rounds N` for more than five.
//!
//! Not every peer does the same work: process-based ones pay for their coroutines, NexoSim's models
//! schedule only themselves, and each draws by its own means. A ratio is for what a user would
//! write, not for the queue inside.

mod dslab;
// A simulator only where its flag is set, as `.cargo/config.toml` here does.
#[cfg(madsim)]
mod mad;
mod measure;
mod nexo;
mod ours;

use std::env;
use std::process::{Command, ExitCode};

use measure::Outcome;

struct Workload {
    name: &'static str,
    title: &'static str,
    engines: &'static [&'static str],
}

const WORKLOADS: [Workload; 6] = [
    Workload {
        name: "phold-1k",
        title: "PHOLD, 1 k pending",
        engines: &["stormglass", "simcore", "nexosim"],
    },
    Workload {
        name: "phold-100k",
        title: "PHOLD, 100 k pending",
        engines: &["stormglass", "simcore", "nexosim"],
    },
    Workload {
        name: "phold-1m",
        title: "PHOLD, 1 M pending",
        engines: &["stormglass", "simcore", "nexosim"],
    },
    Workload {
        name: "ping-pong",
        title: "ping-pong, 1000 pairs",
        engines: &["stormglass", "simcore", "nexosim", "madsim", "simpy"],
    },
    Workload {
        name: "mm1",
        title: "M/M/1, load 0.9",
        engines: &["stormglass", "simcore", "simpy"],
    },
    Workload {
        name: "requests",
        title: "requests, time-outs cancelled",
        engines: &["stormglass", "simcore"],
    },
];

fn measured(engine: &str, workload: &str) -> Option<Outcome> {
    Some(match (engine, workload) {
        ("stormglass", workload) => return ours::measured(workload),
        ("simcore", "phold-1k") => dslab::phold(1_000, 5_000_000),
        ("simcore", "phold-100k") => dslab::phold(100_000, 3_000_000),
        ("simcore", "phold-1m") => dslab::phold(1_000_000, 2_000_000),
        ("simcore", "ping-pong") => dslab::ping_pong(1000, 3_000_000),
        ("simcore", "mm1") => dslab::mm1(10_000_000),
        ("simcore", "requests") => dslab::requests(1_000_000),
        ("nexosim", "phold-1k") => nexo::phold(1_000, 2_000_000),
        ("nexosim", "phold-100k") => nexo::phold(100_000, 1_000_000),
        ("nexosim", "phold-1m") => nexo::phold(1_000_000, 1_000_000),
        ("nexosim", "ping-pong") => nexo::ping_pong(1000, 500_000),
        #[cfg(madsim)]
        ("madsim", "ping-pong") => mad::ping_pong(1000, 300_000),
        _ => return None,
    })
}

/// One measurement in a process of its own; `None` where the engine is not there.
fn elsewhere(engine: &str, workload: &str) -> Option<Outcome> {
    let mut command = if engine == "simpy" {
        let mut command = Command::new("python3");
        let amount = if workload == "mm1" { "400000" } else { "100000" };
        command.args(["-c", include_str!("simpy.py"), workload, amount]);
        command
    } else {
        let mut command = Command::new(env::current_exe().expect("a program has a path"));
        command.args(["--one", engine, workload]);
        command
    };
    let ran = command.output().ok()?;
    let text = String::from_utf8_lossy(&ran.stdout);
    let mut numbers = text.split_whitespace().filter_map(|number| number.parse::<f64>().ok());
    let (ns, check, memory) = (numbers.next()?, numbers.next()?, numbers.next()? as u64);
    Some(Outcome { ns, check, memory })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let rounds = match args.as_slice() {
        ["--one", engine, workload] => {
            let Some(outcome) = measured(engine, workload) else { return ExitCode::FAILURE };
            println!("{} {} {}", outcome.ns, outcome.check, outcome.memory);
            return ExitCode::SUCCESS;
        }
        [] => 5,
        ["--rounds", count] => count.parse().expect("a number of rounds"),
        _ => {
            eprintln!("usage: kernel [--rounds N]");
            return ExitCode::from(2);
        }
    };
    println!("CPU time an event (a message, a request), medians of {rounds} interleaved rounds\n");
    println!(
        "{:32} {:12} {:>10} {:>20} {:>9}",
        "workload", "engine", "ns", "least .. most", "ratio"
    );
    for workload in &WORKLOADS {
        let mut seen: Vec<Vec<Outcome>> = vec![Vec::new(); workload.engines.len()];
        for _ in 0..rounds {
            for (engine, seen) in workload.engines.iter().zip(&mut seen) {
                seen.extend(elsewhere(engine, workload.name));
            }
        }
        let mut ours = f64::NAN;
        for (engine, seen) in workload.engines.iter().zip(&seen) {
            if seen.is_empty() {
                println!("{:32} {engine:12} skipped: it is not installed here", workload.title);
                continue;
            }
            let times: Vec<f64> = seen.iter().map(|outcome| outcome.ns).collect();
            let (least, most) =
                times.iter().fold((f64::MAX, 0.0), |(low, high): (f64, f64), &time| {
                    (low.min(time), high.max(time))
                });
            let ns = median(times);
            if *engine == "stormglass" {
                ours = ns;
            }
            let spread = format!("{least:.1} .. {most:.1}");
            let ratio = ns / ours;
            println!("{:32} {engine:12} {ns:10.1} {spread:>20} {ratio:8.2}x", workload.title);
            if workload.name == "phold-1m" {
                let bytes = median(seen.iter().map(|outcome| outcome.memory as f64).collect());
                println!("{:32} {:12} {:.0} B of memory a pending event", "", "", bytes / 1e6);
            }
        }
    }
    println!();
    cores();
    paired();
    ExitCode::SUCCESS
}

/// Two cores over independent seeds, against one: wall time, so it needs an idle machine.
fn cores() {
    let work = |seeds: std::ops::Range<u64>| {
        for seed in seeds {
            ours::mm1_under(seed, 0.8, 4_000_000);
        }
    };
    let mut ratios = Vec::new();
    for _ in 0..5 {
        let begin = std::time::Instant::now();
        work(0..8);
        let one = begin.elapsed();
        let begin = std::time::Instant::now();
        std::thread::scope(|scope| {
            scope.spawn(|| work(0..4));
            scope.spawn(|| work(4..8));
        });
        ratios.push(one.as_secs_f64() / begin.elapsed().as_secs_f64());
    }
    println!("two cores over independent seeds: {:.2} x one core (wall time)", median(ratios));
}

/// What common random numbers save: the variance of a difference between two service rates.
fn paired() {
    const SEEDS: u64 = 200;
    let sojourn = |seed, rate: f64| ours::mm1_under(seed, 0.8 / rate, 40_000).check;
    let variance = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
    };
    let slow: Vec<f64> = (0..SEEDS).map(|seed| sojourn(seed, 1.0)).collect();
    let differences = |offset| -> Vec<f64> {
        (0..SEEDS).map(|seed| slow[seed as usize] - sojourn(seed + offset, 1.05)).collect()
    };
    let (paired, independent) = (variance(&differences(0)), variance(&differences(SEEDS)));
    println!(
        "variance of a difference (M/M/1, load 0.8, rate 1.00 against 1.05): {:.1} x less paired",
        independent / paired
    );
}
