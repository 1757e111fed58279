//! `place`: which node owns each key, as CSV; for comparison with a ring that somebody runs.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::model::placement::{Key, MemberId};

use super::console::Console;
use super::own::{OwnRing, RingArgs};
use super::rows::{Layout, Rows, shown};
use super::{Exit, Failure, Tabular};

pub(super) const EXAMPLES: &str = "\
Examples:
  stormglass place --ring jump --nodes 40 --keys keys.csv
  stormglass place --ring 'ring={virtual_nodes=160}' --nodes nodes.csv --keys keys.csv > new.csv
  cut -d' ' -f7 access.log | stormglass place --ring maglev --nodes 9 --keys - --lines --replicas 3";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct PlaceArgs {
    #[command(flatten)]
    ring: RingArgs,

    /// The keys: a CSV file with a column key, or - for standard input
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,

    /// The file of keys has no header and no quotes: each line is a key as it stands
    #[arg(long)]
    lines: bool,

    /// How many nodes hold a copy of each key; the further ones are columns of their own
    #[arg(long, value_name = "K", default_value_t = 1,
        value_parser = clap::value_parser!(u8).range(1..=64))]
    replicas: u8,
}

/// Keys that are placed at a time: enough to keep an answer's cost from its beginning, and few
/// enough for a reader of a pipe not to wait.
const BATCH: usize = 1024;

pub(super) fn place(
    args: &PlaceArgs,
    format: Tabular,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let ring = args.ring.build()?;
    let layout = if args.lines { Layout::List } else { Layout::Csv };
    let mut rows = Rows::open(&args.keys, layout, &["key"], &[])?;
    let copies = usize::from(args.replicas);
    let mut printer = Printer { ring: &ring, copies, format, out: Vec::new() };
    printer.header();
    let mut batch = Batch::default();
    let mut is_last = false;
    while !is_last && !console.is_closed() {
        batch.clear();
        while batch.len() < BATCH {
            if !rows.advance()? {
                is_last = true;
                break;
            }
            if format == Tabular::Json && str::from_utf8(rows.bytes(0)).is_err() {
                let key = shown(rows.bytes(0));
                return Err(rows.wrong(&format!("the key {key} is not UTF-8: JSON cannot hold it")));
            }
            batch.push(rows.bytes(0));
        }
        if is_last {
            rows.expect_rows()?;
        }
        printer.print(&batch)?;
        console.print_bytes(&printer.out)?;
        printer.out.clear();
    }
    Ok(Exit::Done)
}

/// Some keys, one behind the other.
#[derive(Debug, Default)]
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Batch {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn push(&mut self, key: &[u8]) {
        self.bytes.extend_from_slice(key);
        self.ends.push(self.bytes.len());
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}

struct Printer<'a> {
    ring: &'a OwnRing,
    copies: usize,
    format: Tabular,
    out: Vec<u8>,
}

impl Printer<'_> {
    fn header(&mut self) {
        if self.format != Tabular::Json {
            self.out.extend_from_slice(b"key,node");
            for copy in 2..=self.copies {
                self.out.extend_from_slice(format!(",node_{copy}").as_bytes());
            }
            self.out.push(b'\n');
        }
    }

    fn print(&mut self, batch: &Batch) -> Result<(), Failure> {
        let placement = &self.ring.placement;
        let keys: Vec<Key<'_>> = batch.iter().map(|bytes| placement.key(bytes)).collect();
        let mut owners = Vec::with_capacity(BATCH);
        if self.copies == 1 {
            placement.locate_all(&keys, &mut owners);
            self.ring.trusted()?;
            for (key, owner) in keys.iter().zip(owners) {
                self.line(key.bytes, &[owner]);
            }
            return Ok(());
        }
        for key in keys {
            placement.replicas(key, self.copies, &mut owners).map_err(|why| {
                Failure::Usage(format!("--replicas: `{}` has none: {why}", self.ring.label))
            })?;
            self.ring.trusted()?;
            self.line(key.bytes, &owners);
        }
        Ok(())
    }

    fn line(&mut self, key: &[u8], owners: &[MemberId]) {
        let members = &self.ring.members;
        let name = |id: &MemberId| members.get(*id).map_or("", |member| member.name.as_str());
        if self.format == Tabular::Json {
            let nodes: Vec<&str> = owners.iter().map(name).collect();
            let line = json!({ "key": String::from_utf8_lossy(key), "nodes": nodes });
            self.out.extend_from_slice(format!("{line}\n").as_bytes());
            return;
        }
        field(key, &mut self.out);
        for copy in 0..self.copies {
            self.out.push(b',');
            field(owners.get(copy).map_or("", name).as_bytes(), &mut self.out);
        }
        self.out.push(b'\n');
    }
}

/// Writes a field of CSV: in quotes where its bytes ask for them.
fn field(bytes: &[u8], out: &mut Vec<u8>) {
    let is_plain = !bytes.iter().any(|byte| b",\"\r\n".contains(byte));
    if is_plain {
        return out.extend_from_slice(bytes);
    }
    out.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
