//! `bench growth`: how time and memory grow with the work.
//!
//! Each point is a process of its own, so that its memory is its own. What grows in step with the
//! work is a level line of time a unit; what bends upwards is what a larger run will wait for.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use clap::Args;
use serde_json::json;

use crate::experiments::Run;
use crate::experiments::yardstick;
use crate::kernel::rng::Seed;
use crate::record::Unit;
use crate::report::{Chart, Horizontal, Plot, Point, Series};

use super::super::console::Console;
use super::super::words::{columns, grouped, pretty, size};
use super::super::{Exit, Failure, Tabular};
use super::whole::{WHOLES, load};
use super::{MARK, carried_out, memory, time, timed};

#[derive(Debug, Args)]
pub(super) struct GrowthArgs {
    /// These only
    #[arg(long, value_name = "AXIS,...", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,

    /// The folder for growth.csv, growth-time.svg and growth-memory.svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Measures one point in this process
    #[arg(long, value_name = "AXIS=AMOUNT", hide = true)]
    point: Option<String>,
}

/// Something that a user has more or less of.
struct Axis {
    name: &'static str,
    /// What the time is told for one of.
    unit: &'static str,
    amounts: &'static [u64],
    /// Does the work with so much of it: how many units, in how many nanoseconds.
    measure: fn(u64) -> Result<(u64, f64), Failure>,
}

const AXES: &[Axis] = &[
    Axis {
        name: "pending",
        unit: "event",
        amounts: &[1_000, 10_000, 100_000, 1_000_000],
        measure: |amount| {
            let prepared = yardstick::phold(amount);
            let (ns, done) = timed(|| prepared.run(2_000_000));
            Ok((done.count, ns))
        },
    },
    Axis {
        name: "nodes",
        unit: "event",
        amounts: &[10, 100, 1_000, 10_000],
        measure: |amount| {
            let nodes = format!("experiment.rings.nodes=[{{ name = \"node\", count = {amount} }}]");
            whole(2, vec![nodes, SHORT.into(), EXACT.into()])
        },
    },
    Axis {
        name: "clients",
        unit: "event",
        amounts: &[10, 100, 1_000, 10_000, 100_000],
        measure: |amount| {
            let clients = format!("experiment.rings.motion.clients={amount}");
            whole(2, vec![clients, SHORT.into()])
        },
    },
    Axis {
        name: "keys",
        unit: "key",
        amounts: &[10_000, 100_000, 1_000_000, 10_000_000],
        measure: |amount| {
            let keys = format!("experiment.rings.keys.made.count={amount}");
            let scenario = load("keys", include_str!("keys.toml"), vec![keys])?;
            let (ns, done) = timed(|| carried_out(&scenario.plan(), 1));
            done.map(|_| (amount, ns))
        },
    },
    Axis {
        name: "seeds",
        unit: "run",
        amounts: &[1, 10, 100, 1_000],
        measure: |amount| seeds(amount, 1),
    },
    Axis { name: "cores", unit: "run", amounts: &[1, 2, 4, 8], measure: |cores| seeds(32, cores) },
];

/// Ten seconds of the ring cluster are enough.
const SHORT: &str = "experiment.rings.motion.duration=\"10s\"";
/// A ring that takes no table, so that only the cluster grows.
const EXACT: &str = "experiment.rings.variants=[\"jump\"]";

fn names() -> Vec<&'static str> {
    AXES.iter().map(|axis| axis.name).collect()
}

fn whole(index: usize, sets: Vec<String>) -> Result<(u64, f64), Failure> {
    let (name, _, text) = WHOLES[index];
    let scenario = load(name, text, sets)?;
    let (ns, events) = timed(|| carried_out(&scenario.plan(), 1));
    Ok((events?, ns))
}

fn seeds(count: u64, jobs: u64) -> Result<(u64, f64), Failure> {
    let (name, _, text) = WHOLES[1];
    let scenario = load(name, text, vec!["experiment.queues.horizon=\"2s\"".into()])?;
    let plan: Vec<Run> = (1..=count)
        .flat_map(|seed| {
            scenario.plan().into_iter().map(move |run| Run { seed: Seed(seed), ..run })
        })
        .collect();
    let (ns, done) = timed(|| carried_out(&plan, jobs as usize));
    done.map(|_| (count, ns))
}

/// What one point took.
struct Measured {
    axis: &'static Axis,
    amount: u64,
    unit_ns: f64,
    peak_bytes: u64,
}

pub(super) fn growth(
    args: &GrowthArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    if let Some(point) = &args.point {
        return one(point, console);
    }
    console.note(MARK);
    let cores = std::thread::available_parallelism().map_or(1, |cores| usize::from(cores) as u64);
    let mut points = Vec::new();
    for axis in AXES {
        if !args.only.is_empty() && !args.only.iter().any(|only| only == axis.name) {
            continue;
        }
        for &amount in axis.amounts {
            if axis.name != "cores" || amount <= cores {
                points.push(elsewhere(axis, amount)?);
            }
        }
    }
    if let Some(folder) = &args.out {
        write(folder, &points)?;
    }
    console.print(&match format {
        Tabular::Human => in_words(&points),
        Tabular::Json => in_json(&points),
        Tabular::Csv => in_csv(&points),
    })?;
    Ok(Exit::Done)
}

/// Measures a point in this process, for the one that asked.
fn one(point: &str, console: &mut Console) -> Result<Exit, Failure> {
    let wrong = || Failure::Usage(format!("found `{point}`, expected AXIS=AMOUNT"));
    let (name, amount) = point.split_once('=').ok_or_else(wrong)?;
    let axis = AXES.iter().find(|axis| axis.name == name).ok_or_else(wrong)?;
    let (count, ns) = (axis.measure)(amount.parse().map_err(|_| wrong())?)?;
    let bytes = memory("VmHWM").unwrap_or(0);
    console.print(&format!("{} {bytes}\n", ns / count as f64))?;
    Ok(Exit::Done)
}

/// Measures a point in a process of its own.
fn elsewhere(axis: &'static Axis, amount: u64) -> Result<Measured, Failure> {
    let what = format!("{}={amount}", axis.name);
    let program = std::env::current_exe().map_err(|error| Failure::io("this program", &error))?;
    let ran = Command::new(program).args(["bench", "growth", "--point", &what]).output();
    let ran = ran.map_err(|error| Failure::io("this program", &error))?;
    let text = String::from_utf8_lossy(&ran.stdout);
    let mut words = text.split_whitespace();
    let unit_ns = words.next().and_then(|word| word.parse().ok());
    let peak_bytes = words.next().and_then(|word| word.parse().ok());
    match (unit_ns, peak_bytes) {
        (Some(unit_ns), Some(peak_bytes)) => Ok(Measured { axis, amount, unit_ns, peak_bytes }),
        _ => Err(Failure::Bug(format!("{what}: {}", String::from_utf8_lossy(&ran.stderr)))),
    }
}

/// By how much a unit costs more with the most of each axis than with the least, the worst first.
fn bends(points: &[Measured]) -> Vec<(&'static Axis, f64)> {
    let mut bends: Vec<(&'static Axis, f64)> = AXES
        .iter()
        .filter_map(|axis| {
            let of = || points.iter().filter(|point| point.axis.name == axis.name);
            Some((axis, of().next_back()?.unit_ns / of().next()?.unit_ns))
        })
        .collect();
    bends.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    bends
}

/// The first thing that bends, in words.
fn finding(points: &[Measured]) -> String {
    bends(points).first().map_or_else(String::new, |(axis, times)| {
        format!("{} bend first: a {} costs x{times:.2} with the most of them", axis.name, axis.unit)
    })
}

fn in_words(points: &[Measured]) -> String {
    let mut rows = vec![["growth", "time", "most memory"].map(str::to_owned)];
    for Measured { axis, amount, unit_ns, peak_bytes } in points {
        rows.push([
            format!("{} {}", grouped(*amount), axis.name),
            format!("{} a {}", time(*unit_ns), axis.unit),
            size(*peak_bytes),
        ]);
    }
    format!("{}{}\n", columns(&rows), finding(points))
}

fn in_json(points: &[Measured]) -> String {
    let rows = points.iter().map(|Measured { axis, amount, unit_ns, peak_bytes }| {
        json!({
            "axis": axis.name,
            "amount": amount,
            "clock": "wall",
            "unit": axis.unit,
            "ns_per_unit": unit_ns,
            "peak_bytes": peak_bytes,
        })
    });
    pretty(&rows.collect())
}

fn in_csv(points: &[Measured]) -> String {
    let mut text = String::from("axis,amount,unit,ns_per_unit,peak_bytes\n");
    for Measured { axis, amount, unit_ns, peak_bytes } in points {
        let (name, unit) = (axis.name, axis.unit);
        text.push_str(&format!("{name},{amount},{unit},{unit_ns:.1},{peak_bytes}\n"));
    }
    text
}

fn write(folder: &std::path::Path, points: &[Measured]) -> Result<(), Failure> {
    let put = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| Failure::io(&path.display().to_string(), &error))
    };
    fs::create_dir_all(folder)
        .map_err(|error| Failure::io(&folder.display().to_string(), &error))?;
    put("growth.csv", in_csv(points))?;
    #[cfg(feature = "charts")]
    for chart in charts(points) {
        let svg = crate::report::render::chart_as_svg(&chart);
        put(&format!("{}.svg", chart.name), svg.map_err(|why| Failure::Bug(why.to_string()))?)?;
    }
    Ok(())
}

#[cfg_attr(not(feature = "charts"), expect(dead_code, reason = "nothing draws them"))]
fn charts(points: &[Measured]) -> [Chart; 2] {
    let lines = |value: fn(&Measured) -> f64| -> Vec<Series> {
        let line = |(style, axis): (usize, &Axis)| {
            let of = points.iter().filter(|point| point.axis.name == axis.name);
            let points = of.map(|point| {
                let y = value(point);
                Point { x: point.amount as f64, y, low: y, high: y }
            });
            let name = format!("{}: a {}", axis.name, axis.unit);
            Series { name, style, points: points.collect() }
        };
        AXES.iter().enumerate().map(line).filter(|line| !line.points.is_empty()).collect()
    };
    let chart = |name: &str, title: String, y_label: &str, y_unit, series| Chart {
        name: name.into(),
        title,
        subtitle: "wall clock of one machine, one run a point; a level line is work that grows in \
                   step"
            .into(),
        description: format!("{y_label}, against how much there is of each thing"),
        y_label: y_label.into(),
        y_unit,
        plot: Plot::Lines {
            x: Horizontal::Swept("how many".into()),
            series,
            reference: None,
            faults: Vec::new(),
        },
    };
    [
        chart(
            "growth-time",
            finding(points),
            "time a unit",
            Unit::Nanoseconds,
            lines(|point| point.unit_ns),
        ),
        chart(
            "growth-memory",
            "What a process needs at most".into(),
            "most memory of the process",
            Unit::Bytes,
            lines(|point| point.peak_bytes as f64),
        ),
    ]
}
