//! `bench rings`: what the catalogue costs. Rings take turns, round by round, so that whatever else
//! the machine does meets them alike, and the median of the rounds is told.

use std::hint::black_box;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value as Json, json};

use crate::choice::Choice;
use crate::kernel::rng::Seed;
use crate::model::placement::{Member, MemberId, Membership, Placement};
use crate::rings::{self, CATALOGUE, Entry, HashKind, Hasher};

use super::super::console::Console;
use super::super::words::{columns, pretty};
use super::super::{Exit, Failure, Tabular};
use super::{MARK, median, time};

const EXAMPLES: &str = "\
Examples:
  stormglass bench rings
  stormglass bench rings --nodes 40 --only ring,rendezvous --rounds 21
  stormglass bench rings --format csv > rings.csv";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RingsArgs {
    /// Numbers of nodes
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10,100,1000,10000",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    nodes: Vec<u32>,

    /// These rings only
    #[arg(long, value_name = "RING,...", value_delimiter = ',', value_parser = names())]
    only: Vec<String>,

    /// How often each ring has its turn
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1001))]
    rounds: u32,
}

fn names() -> Vec<&'static str> {
    CATALOGUE.iter().map(|entry| entry.about.name).collect()
}

/// How long a ring looks up keys in each of its turns.
const TURN: Duration = Duration::from_millis(20);
/// Keys that are looked up, round and round: they fit the second level of cache.
const KEY_COUNT: u64 = 1 << 16;

pub(super) fn rings(
    args: &RingsArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    console.note(MARK);
    let mut timings = Vec::new();
    for &count in &args.nodes {
        let found = timings_of(args, count, console);
        if format == Tabular::Human {
            console.print(&in_words(count, &found))?;
        }
        timings.extend(found);
    }
    match format {
        Tabular::Human => (),
        Tabular::Json => console.print(&in_json(&timings))?,
        Tabular::Csv => console.print(&in_csv(&timings))?,
    }
    Ok(Exit::Done)
}

/// What a ring costs. Times are in nanoseconds.
#[derive(Debug)]
struct Timing {
    ring: &'static str,
    node_count: u32,
    lookup_ns: f64,
    build_ns: f64,
    /// A join or a leave, in the mean.
    update_ns: f64,
    /// Whether a join or a leave has to build anew.
    is_rebuilt: bool,
    table_bytes: usize,
    theory: rings::Cost,
}

/// A ring that takes part.
struct Entrant {
    entry: &'static Entry,
    choice: Choice,
    placement: Box<dyn Placement>,
    lookups: Vec<f64>,
    builds: Vec<f64>,
    updates: Vec<f64>,
    is_rebuilt: bool,
}

fn timings_of(args: &RingsArgs, node_count: u32, console: &Console) -> Vec<Timing> {
    let members = Membership::uniform(node_count);
    let hasher = Hasher::new(HashKind::Xxh3, 1);
    let mut rng = Seed(1).stream("bench keys", "");
    let keys: Vec<[u8; 8]> = (0..KEY_COUNT).map(|_| rng.word().to_le_bytes()).collect();
    let mut entrants = Vec::new();
    for entry in CATALOGUE {
        let name = entry.about.name;
        if !args.only.is_empty() && !args.only.iter().any(|only| only == name) {
            continue;
        }
        let choice = Choice::named(name);
        match rings::build(&choice, &members, hasher.clone()) {
            Ok(placement) => entrants.push(Entrant {
                entry,
                choice,
                placement,
                lookups: Vec::new(),
                builds: Vec::new(),
                updates: Vec::new(),
                is_rebuilt: false,
            }),
            Err(why) => console.note(&format!("{name} at {node_count} nodes: {why}\n")),
        }
    }
    for _ in 0..args.rounds {
        for entrant in &mut entrants {
            entrant.lookups.push(lookup_ns(entrant.placement.as_ref(), &keys));
            entrant.time_changes(&members, &hasher);
        }
    }
    entrants.into_iter().filter_map(|entrant| entrant.timing(node_count)).collect()
}

/// Nanoseconds a look-up, the hash of its key included.
fn lookup_ns(placement: &dyn Placement, keys: &[[u8; 8]]) -> f64 {
    let (start, mut count, mut sum) = (Instant::now(), 0_u32, 0_u32);
    // In stretches, so that looking at the clock costs nothing.
    for stretch in keys.chunks(256).cycle() {
        for key in stretch {
            sum = sum.wrapping_add(placement.locate(placement.key(key)).0);
        }
        count += stretch.len() as u32;
        if TURN <= start.elapsed() {
            break;
        }
    }
    black_box(sum);
    start.elapsed().as_nanos() as f64 / f64::from(count)
}

impl Entrant {
    fn time_changes(&mut self, members: &Membership, hasher: &Hasher) {
        let start = Instant::now();
        let built = rings::build(&self.choice, members, hasher.clone());
        let build_ns = start.elapsed().as_nanos() as f64;
        let Ok(mut placement) = black_box(built) else { return };
        self.builds.push(build_ns);
        let newcomer = Member::named("newcomer");
        let id = MemberId(u32::try_from(members.id_bound()).unwrap_or(u32::MAX - 1));
        let start = Instant::now();
        let is_done =
            placement.add(id, &newcomer).is_ok() && black_box(&mut placement).remove(id).is_ok();
        let both_ns = start.elapsed().as_nanos() as f64;
        self.is_rebuilt |= !is_done;
        self.updates.push(if is_done { both_ns / 2.0 } else { build_ns });
    }

    fn timing(self, node_count: u32) -> Option<Timing> {
        Some(Timing {
            ring: self.entry.about.name,
            node_count,
            lookup_ns: median(self.lookups)?,
            build_ns: median(self.builds)?,
            update_ns: median(self.updates)?,
            is_rebuilt: self.is_rebuilt,
            table_bytes: self.placement.table_bytes(),
            theory: (self.entry.cost)(&self.choice, node_count)?,
        })
    }
}

fn in_words(node_count: u32, timings: &[Timing]) -> String {
    let head = ["look-up", "steps*", "build", "update", "bytes a node", "bytes*"];
    let mut rows = vec![
        std::iter::once(format!("{node_count} nodes")).chain(head.map(str::to_owned)).collect(),
    ];
    let by_node = |bytes: f64| format!("{:.1}", bytes / f64::from(node_count));
    for timing in timings {
        rows.push(vec![
            timing.ring.to_owned(),
            time(timing.lookup_ns),
            format!("{:.1}", timing.theory.lookup_steps),
            time(timing.build_ns),
            format!("{}{}", if timing.is_rebuilt { "anew " } else { "" }, time(timing.update_ns)),
            by_node(timing.table_bytes as f64),
            by_node(timing.theory.table_bytes as f64),
        ]);
    }
    let rows: Vec<[String; 7]> =
        rows.into_iter().filter_map(|row: Vec<String>| row.try_into().ok()).collect();
    format!("{}* by theory\n\n", columns(&rows))
}

fn in_json(timings: &[Timing]) -> String {
    let rows: Vec<Json> = timings
        .iter()
        .map(|timing| {
            json!({
                "ring": timing.ring,
                "nodes": timing.node_count,
                "clock": "wall",
                "lookup_ns": timing.lookup_ns,
                "build_ns": timing.build_ns,
                "update_ns": timing.update_ns,
                "update_builds_anew": timing.is_rebuilt,
                "table_bytes": timing.table_bytes,
                "lookup_steps_by_theory": timing.theory.lookup_steps,
                "build_steps_by_theory": timing.theory.build_steps,
                "table_bytes_by_theory": timing.theory.table_bytes,
            })
        })
        .collect();
    pretty(&Json::Array(rows))
}

fn in_csv(timings: &[Timing]) -> String {
    let mut text = String::from(
        "ring,nodes,lookup_ns,build_ns,update_ns,update_builds_anew,table_bytes,\
         lookup_steps_by_theory,build_steps_by_theory,table_bytes_by_theory\n",
    );
    for Timing {
        ring,
        node_count,
        lookup_ns,
        build_ns,
        update_ns,
        is_rebuilt,
        table_bytes,
        theory,
    } in timings
    {
        let rings::Cost { table_bytes: bytes, build_steps, lookup_steps } = theory;
        text.push_str(&format!(
            "{ring},{node_count},{lookup_ns:.2},{build_ns:.0},{update_ns:.0},{is_rebuilt},\
             {table_bytes},{lookup_steps},{build_steps},{bytes}\n"
        ));
    }
    text
}
