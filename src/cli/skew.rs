//! `skew`: how unevenly a ring spreads the requests of a file; is it the ring, or one hot key?

use std::path::PathBuf;

use clap::Args;
use indexmap::IndexMap;
use serde_json::json;
use xxhash_rust::xxh3::Xxh3Builder;

use crate::config::printable;
use crate::rings::blame::{Blame, Verdict};

use super::console::Console;
use super::own::{OwnRing, RingArgs};
use super::rows::{Layout, Rows, shown};
use super::words::{columns, pretty};
use super::{Exit, Failure, Tabular};

pub(super) const EXAMPLES: &str = "\
Examples:
  stormglass skew keys.csv --ring ring --nodes 40
  stormglass skew keys.csv --ring 'ring={virtual_nodes=160}' --nodes nodes.csv --explain
  cut -d' ' -f7 access.log | stormglass skew - --lines --ring jump --nodes 40 --explain";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SkewArgs {
    /// The requests: a CSV file with a column key, and weight where keys are counted already; or -
    /// for standard input. A key that stands there again is asked for again
    keys: PathBuf,

    #[command(flatten)]
    ring: RingArgs,

    /// The file has no header and no quotes: each line is a key as it stands
    #[arg(long)]
    lines: bool,

    /// Say whether it is the ring or one hot key, and which keys make it
    #[arg(long)]
    explain: bool,
}

/// The most keys of the busiest node that are listed.
const LISTED: usize = 10;
/// The part of a fair share from which on a key is worth a line.
const WEIGHTY: f64 = 0.01;

pub(super) fn skew(
    args: &SkewArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let ring = args.ring.build()?;
    let layout = if args.lines { Layout::List } else { Layout::Csv };
    let mut rows = Rows::open(&args.keys, layout, &["key"], &["weight"])?;
    // In the order of the file, whatever the hash.
    let mut keys = IndexMap::<Box<[u8]>, f64, Xxh3Builder>::default();
    while rows.advance()? {
        let weight = rows.number(1)?;
        match keys.get_mut(rows.bytes(0)) {
            Some(sum) => *sum += weight,
            None => drop(keys.insert(rows.bytes(0).into(), weight)),
        }
    }
    rows.expect_rows()?;
    let keys: Vec<(&[u8], f64)> = keys.iter().map(|(key, weight)| (&**key, *weight)).collect();
    let blame = Blame::of(ring.placement.as_ref(), &ring.members, &keys, LISTED);
    ring.trusted()?;
    let Some(blame) = blame else {
        return Err(Failure::Usage(format!("{}: the weights come to nothing", rows.name())));
    };
    let page = Page { ring: &ring, keys: &keys, blame: &blame, explain: args.explain };
    console.print(&match format {
        Tabular::Human => page.in_words(),
        Tabular::Json => page.in_json(),
        Tabular::Csv => page.in_csv(),
    })?;
    Ok(Exit::Done)
}

struct Page<'a> {
    ring: &'a OwnRing,
    keys: &'a [(&'a [u8], f64)],
    blame: &'a Blame,
    explain: bool,
}

impl Page<'_> {
    fn busiest(&self) -> &str {
        self.ring.members.get(self.blame.busiest).map_or("", |member| member.name.as_str())
    }

    fn key(&self, index: usize) -> String {
        shown(self.keys[index].0)
    }

    fn in_words(&self) -> String {
        let blame = self.blame;
        let times = |value: f64| format!("{value:.3}");
        let node = printable(self.busiest());
        let mut rows = vec![
            ["keys".to_owned(), self.keys.len().to_string()],
            ["nodes".to_owned(), self.ring.members.len().to_string()],
            ["key load, max/mean".to_owned(), times(blame.key_skew)],
            ["request load, max/mean".to_owned(), times(blame.request_skew)],
        ];
        if !self.explain {
            return columns(&rows);
        }
        rows.push(["  no placement can avoid".to_owned(), times(blame.floor)]);
        rows.push([format!("  the part of {}", self.ring.label), times(blame.ring_part())]);
        let mut text = columns(&rows);
        let weighty: Vec<_> = blame
            .heaviest
            .iter()
            .filter(|(_, share)| WEIGHTY <= share / blame.busiest_fair)
            .collect();
        if weighty.is_empty() {
            text.push_str(&format!(
                "\nthe busiest node is {node}; none of its keys is a hundredth of a fair share\n"
            ));
        } else {
            text.push_str(&format!("\nthe busiest node is {node}; its heaviest keys:\n"));
            let mut rows = vec![["key", "of all requests", "of a fair share"].map(str::to_owned)];
            for &&(index, share) in &weighty {
                rows.push([
                    format!("  {}", self.key(index)),
                    format!("{:.2} %", 100.0 * share),
                    format!("{:.2} %", 100.0 * share / blame.busiest_fair),
                ]);
            }
            text.push_str(&columns(&rows));
        }
        text.push_str(&format!("\n{}\n", self.verdict()));
        text
    }

    fn verdict(&self) -> String {
        let blame = self.blame;
        let node = printable(self.busiest());
        match blame.verdict {
            Verdict::Even => {
                format!("nothing to explain: {node} has less than a tenth above its fair share")
            }
            Verdict::HotKey => format!(
                "it is one hot key: {} alone is {:.2} times a fair share, and has to be somewhere",
                self.key(blame.hottest.0),
                blame.floor
            ),
            Verdict::Meeting => format!(
                "it is chance: the {} heaviest keys of {node} met there, and without them it has \
                 its fair share or less; another hash seed would part them",
                blame.makers
            ),
            Verdict::Ring => format!(
                "it is the ring: {node} has {:.2} times its fair number of keys, and its load is \
                 made of many",
                blame.busiest_keys
            ),
        }
    }

    const fn verdict_name(&self) -> &'static str {
        match self.blame.verdict {
            Verdict::Even => "even",
            Verdict::HotKey => "hot_key",
            Verdict::Meeting => "meeting",
            Verdict::Ring => "ring",
        }
    }

    fn in_json(&self) -> String {
        let blame = self.blame;
        let mut json = json!({
            "ring": self.ring.label,
            "keys": self.keys.len(),
            "nodes": self.ring.members.len(),
            "key_skew": blame.key_skew,
            "request_skew": blame.request_skew,
        });
        if self.explain {
            let keys = blame.heaviest.iter().map(|&(index, share)| {
                json!({ "key": String::from_utf8_lossy(self.keys[index].0), "share": share })
            });
            json["request_skew_floor"] = json!(blame.floor);
            json["ring_part"] = json!(blame.ring_part());
            json["busiest"] = json!({
                "node": self.busiest(),
                "fair_share": blame.busiest_fair,
                "key_skew": blame.busiest_keys,
                "heaviest": keys.collect::<Vec<_>>(),
                "makers": blame.makers,
            });
            json["verdict"] = json!(self.verdict_name());
        }
        pretty(&json)
    }

    fn in_csv(&self) -> String {
        let blame = self.blame;
        let mut text = String::from("metric,value\n");
        let mut line = |name: &str, value: &str| text.push_str(&format!("{name},{value}\n"));
        line("keys", &self.keys.len().to_string());
        line("nodes", &self.ring.members.len().to_string());
        line("key_skew", &blame.key_skew.to_string());
        line("request_skew", &blame.request_skew.to_string());
        if self.explain {
            line("request_skew_floor", &blame.floor.to_string());
            line("ring_part", &blame.ring_part().to_string());
            line("verdict", self.verdict_name());
        }
        text
    }
}
