//! `remap`: what moved between two assignments of the same keys, whoever made them.

use std::path::{Path, PathBuf};

use clap::Args;
use indexmap::IndexMap;
use serde_json::{Map, Value as Json, json};
use xxhash_rust::xxh3::Xxh3Builder;

use crate::record::Unit;
use crate::rings::assignment::{Comparison, Figure, NodeIndex, Outcome};

use super::console::Console;
use super::rows::{Layout, Rows, shown};
use super::words::{columns, pretty};
use super::{Exit, Failure, Tabular};

pub(super) const EXAMPLES: &str = "\
Examples:
  stormglass remap before.csv after.csv
  stormglass remap before.csv after.csv --weights requests.csv --format json
  stormglass place --ring jump --nodes 41 --keys keys.csv | stormglass remap production.csv -";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RemapArgs {
    /// The first assignment: a CSV file with the columns key and node, or - for standard input
    before: PathBuf,

    /// The second one, of the same keys
    after: PathBuf,

    /// Weights: a CSV file with the columns key and weight (how often each key is asked for), or
    /// node and weight (what each node can take); may be repeated
    #[arg(long, value_name = "FILE")]
    weights: Vec<PathBuf>,

    /// Compare the keys that both files have, and pass over the others
    #[arg(long)]
    common: bool,
}

/// What is kept of each key of the first file.
struct Placed {
    node: NodeIndex,
    weight: f64,
    /// Its lines in the first file, the second one, and the file of weights; 0 for none yet.
    lines: [u64; 3],
}

/// In the order of the first file, whatever the hash.
type Keys = IndexMap<Box<[u8]>, Placed, Xxh3Builder>;

pub(super) fn remap(
    args: &RemapArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let stdin = Path::new("-");
    let inputs = [&args.before, &args.after].into_iter().chain(&args.weights);
    if 1 < inputs.filter(|path| *path == stdin).count() {
        return Err(Failure::Usage("only one file can be standard input".into()));
    }
    let mut comparison = Comparison::default();
    let mut keys = Keys::default();
    let before = read_before(&args.before, &mut comparison, &mut keys)?;
    for path in &args.weights {
        read_weights(path, &before, &mut comparison, &mut keys)?;
    }
    let unmatched = read_after(args, &before, &mut comparison, &mut keys)?;
    let Some(outcome) = comparison.outcome() else {
        return Err(Failure::Usage("the two files have no key in common that has a weight".into()));
    };
    if 0 < unmatched {
        console.note(&format!("{unmatched} keys are in one of the files only\n"));
    }
    let has_weights = args.weights.iter().any(|_| keys.values().any(|key| key.lines[2] != 0));
    console.print(&match format {
        Tabular::Human => in_words(&outcome, has_weights),
        Tabular::Json => in_json(&outcome, has_weights),
        Tabular::Csv => in_csv(&outcome, has_weights),
    })?;
    Ok(Exit::Done)
}

fn read_before(
    path: &Path,
    comparison: &mut Comparison,
    keys: &mut Keys,
) -> Result<String, Failure> {
    let mut rows = Rows::open(path, Layout::Csv, &["key", "node"], &[])?;
    while rows.advance()? {
        let node = comparison.node(rows.name_in(1)?);
        let placed = Placed { node, weight: 1.0, lines: [rows.line_number(), 0, 0] };
        if let Some(former) = keys.insert(rows.bytes(0).into(), placed) {
            return Err(twice(&rows, former.lines[0], "placed"));
        }
    }
    rows.expect_rows()?;
    Ok(rows.name().to_owned())
}

fn twice(rows: &Rows, former: u64, what: &str) -> Failure {
    let key = shown(rows.bytes(0));
    rows.wrong(&format!("the key {key} is {what} twice: on line {former} too"))
}

/// Reads weights of keys or of nodes: the header says which.
fn read_weights(
    path: &Path,
    before: &str,
    comparison: &mut Comparison,
    keys: &mut Keys,
) -> Result<(), Failure> {
    let mut rows = Rows::open(path, Layout::Csv, &["weight"], &["key", "node"])?;
    match (rows.has(1), rows.has(2)) {
        (true, false) => (),
        (false, true) => return read_capacities(&mut rows, comparison),
        _ => {
            return Err(rows.wrong("expected one of the columns `key` and `node` beside `weight`"));
        }
    }
    while rows.advance()? {
        let weight = rows.number(0)?;
        // A file of weights may know more keys than are placed.
        let Some(placed) = keys.get_mut(rows.bytes(1)) else { continue };
        let former = std::mem::replace(&mut placed.lines[2], rows.line_number());
        if former != 0 {
            let key = shown(rows.bytes(1));
            return Err(
                rows.wrong(&format!("the key {key} is weighed twice: on line {former} too"))
            );
        }
        placed.weight = weight;
    }
    rows.expect_rows()?;
    match keys.iter().find(|(_, placed)| placed.lines[2] == 0) {
        None => Ok(()),
        Some((key, placed)) => {
            let (name, key, line) = (rows.name(), shown(key), placed.lines[0]);
            Err(Failure::Usage(format!(
                "{name} has no weight for the key {key} of {before}:{line}"
            )))
        }
    }
}

fn read_capacities(rows: &mut Rows, comparison: &mut Comparison) -> Result<(), Failure> {
    while rows.advance()? {
        let weight = rows.number(0)?;
        if weight <= 0.0 {
            return Err(rows.wrong("the weight is 0, expected a positive number"));
        }
        let node = comparison.node(rows.name_in(2)?);
        if !comparison.set_capacity(node, weight) {
            let name = comparison.name(node);
            return Err(rows.wrong(&format!("the node `{name}` is weighed twice")));
        }
    }
    rows.expect_rows()
}

/// Reads the second file against the first; how many keys only one of them has.
fn read_after(
    args: &RemapArgs,
    before: &str,
    comparison: &mut Comparison,
    keys: &mut Keys,
) -> Result<u64, Failure> {
    let mut rows = Rows::open(&args.after, Layout::Csv, &["key", "node"], &[])?;
    let (mut matched, mut unmatched) = (0, 0);
    while rows.advance()? {
        let node = comparison.node(rows.name_in(1)?);
        let Some(placed) = keys.get_mut(rows.bytes(0)) else {
            if !args.common {
                let key = shown(rows.bytes(0));
                return Err(rows.wrong(&format!(
                    "the key {key} is not in {before}: compare what both have with --common"
                )));
            }
            unmatched += 1;
            continue;
        };
        let former = std::mem::replace(&mut placed.lines[1], rows.line_number());
        if former != 0 {
            return Err(twice(&rows, former, "placed"));
        }
        comparison.add(placed.node, node, placed.weight);
        matched += 1;
    }
    rows.expect_rows()?;
    if matched < keys.len() as u64 {
        if let Some((key, placed)) = keys.iter().find(|(_, placed)| placed.lines[1] == 0)
            && !args.common
        {
            let (key, line, after) = (shown(key), placed.lines[0], rows.name());
            return Err(Failure::Usage(format!(
                "{before}:{line}: the key {key} is not in {after}: compare what both have with \
                 --common"
            )));
        }
        unmatched += keys.len() as u64 - matched;
    }
    if let Some(node) = comparison.without_capacity() {
        return Err(Failure::Usage(format!("the weights do not name the node `{node}`")));
    }
    Ok(unmatched)
}

/// The figures that say something: those of requests only where keys have weights.
fn told(figures: &[Figure], has_weights: bool) -> impl Iterator<Item = &Figure> {
    figures.iter().filter(move |figure| has_weights || !figure.metric.name.starts_with("request"))
}

fn number(figure: &Figure) -> String {
    match figure.metric.unit {
        Unit::Share => format!("{:.3} %", 100.0 * figure.value),
        _ => format!("{:.4}", figure.value),
    }
}

fn in_words(outcome: &Outcome, has_weights: bool) -> String {
    let mut rows = vec![
        [String::new(), "before".into(), "after".into()],
        [
            "nodes with a key".into(),
            outcome.before.node_count.to_string(),
            outcome.after.node_count.to_string(),
        ],
    ];
    let (before, after) = (&outcome.before.figures, &outcome.after.figures);
    for (before, after) in told(before, has_weights).zip(told(after, has_weights)) {
        rows.push([before.metric.title.to_owned(), number(before), number(after)]);
    }
    let mut text = columns(&rows);
    text.push('\n');
    let mut rows = vec![["keys compared".to_owned(), outcome.key_count.to_string()]];
    for figure in told(&outcome.change, has_weights) {
        rows.push([figure.metric.title.to_owned(), number(figure)]);
    }
    text.push_str(&columns(&rows));
    text
}

fn in_json(outcome: &Outcome, has_weights: bool) -> String {
    let object = |figures: &[Figure]| {
        let pairs = told(figures, has_weights);
        pairs
            .map(|figure| (figure.metric.name.to_owned(), json!(figure.value)))
            .collect::<Map<_, _>>()
    };
    let side = |spread: &crate::rings::assignment::Spread| {
        let mut side = object(&spread.figures);
        side.insert("nodes".into(), json!(spread.node_count));
        Json::Object(side)
    };
    pretty(&json!({
        "keys": outcome.key_count,
        "before": side(&outcome.before),
        "after": side(&outcome.after),
        "change": object(&outcome.change),
    }))
}

fn in_csv(outcome: &Outcome, has_weights: bool) -> String {
    let mut text = String::from("metric,at,value\n");
    text.push_str(&format!("keys,,{}\n", outcome.key_count));
    for (at, spread) in [("before", &outcome.before), ("after", &outcome.after)] {
        text.push_str(&format!("nodes,{at},{}\n", spread.node_count));
        for figure in told(&spread.figures, has_weights) {
            text.push_str(&format!("{},{at},{}\n", figure.metric.name, figure.value));
        }
    }
    for figure in told(&outcome.change, has_weights) {
        text.push_str(&format!("{},change,{}\n", figure.metric.name, figure.value));
    }
    text
}
