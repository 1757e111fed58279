//! A ring as a verb's flags choose it: the variant, its members, its hash function.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use crate::choice::Choice;
use crate::config::{Config, Place, Problems, Value, ValueKind};
use crate::model::placement::{Member, Membership, Placement};
use crate::rings::{self, HashKind, Hasher};
use crate::scenario::{ScenarioError, Sources};

use super::Failure;
use super::programs::NoFiles;
use super::rows::{Layout, Rows};

/// The most nodes that a ring can have.
const NODES_MAX: u32 = 1_000_000;

#[derive(Debug, Args)]
pub(super) struct RingArgs {
    /// The ring and its parameters, as a scenario has them: jump, or 'ring={virtual_nodes=160}'
    #[arg(long, value_name = "RING")]
    ring: String,

    /// So many equal nodes, node-0 and so on; or a CSV file with a column node, and weight and zone
    /// where there are any
    #[arg(long, value_name = "N|FILE")]
    nodes: NodesArg,

    /// The hash function of keys and nodes
    #[arg(long, value_name = "HASH", default_value = "xxh3")]
    hash: String,

    /// The seed of the hash function; with 0 it is as its authors publish it
    #[arg(long, value_name = "N", default_value_t = 0)]
    hash_seed: u64,
}

/// How many nodes, or the file that lists them.
#[derive(Clone, Debug)]
enum NodesArg {
    Count(u32),
    File(PathBuf),
}

impl FromStr for NodesArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.replace('_', "");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::File(text.into()));
        }
        match digits.parse() {
            Ok(count) if (1..=NODES_MAX).contains(&count) => Ok(Self::Count(count)),
            _ => Err(format!("found {text} nodes, expected 1 to {NODES_MAX}")),
        }
    }
}

/// A placement and those whom it places keys on.
#[derive(Debug)]
pub(super) struct OwnRing {
    /// How to call it.
    pub(super) label: String,
    pub(super) members: Membership,
    pub(super) placement: Box<dyn Placement>,
}

impl OwnRing {
    /// That the answers so far can be trusted: not where a program failed.
    pub(super) fn trusted(&self) -> Result<(), Failure> {
        match self.placement.trouble() {
            Some(why) => Err(Failure::Usage(why)),
            None => Ok(()),
        }
    }
}

impl RingArgs {
    pub(super) fn build(&self) -> Result<OwnRing, Failure> {
        let choice = choice(&self.ring)?;
        let hash = hash(&self.hash)?;
        let members = match &self.nodes {
            NodesArg::Count(count) => Membership::uniform(*count),
            NodesArg::File(path) => members(path)?,
        };
        let placement = rings::build(&choice, &members, Hasher::new(hash, self.hash_seed))
            .map_err(|error| Failure::Usage(format!("--ring {}: {error}", choice.name)))?;
        Ok(OwnRing { label: choice.label(), members, placement })
    }
}

/// Reads a ring as a scenario would: its name, or `name={...}`, with or without braces around.
fn choice(text: &str) -> Result<Choice, Failure> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut problems = Problems::with_library(Box::new(NoFiles));
    let mut sources = Sources::default();
    let source = sources.add("--ring", text);
    let value = if text.chars().all(is_name) {
        let place = Place { source, start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) };
        Value { kind: ValueKind::Text(text.to_owned()), place }
    } else {
        let trimmed = text.trim();
        let inner = trimmed.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        // Blanks in place of the braces leave every mistake where it stands.
        let table = inner.map(|inner| text.replacen(trimmed, &format!(" {inner} "), 1));
        Value::parse(table.as_deref().unwrap_or(text), source, &mut problems)
    };
    let choice = if problems.is_empty() { Choice::read(&value, &mut problems) } else { None };
    if let Some(choice) = &choice
        && let Some(entry) = choice.find("ring", rings::VARIANTS, &mut problems)
    {
        // One member shows mistakes in the parameters; whether all fit is told on building.
        (entry.check)(choice, &Membership::uniform(1), &mut problems);
    }
    match choice {
        Some(choice) if problems.is_empty() => Ok(choice),
        _ => {
            let problems = problems.into_sorted();
            Err(Failure::Scenario(ScenarioError::Wrong { sources, problems }))
        }
    }
}

fn hash(text: &str) -> Result<HashKind, Failure> {
    let mut problems = Problems::default();
    let mut sources = Sources::default();
    let source = sources.add("--hash", text);
    let place = Place { source, start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) };
    let value = Value { kind: ValueKind::Text(text.to_owned()), place };
    HashKind::read(&value, &mut problems).ok_or_else(|| {
        Failure::Scenario(ScenarioError::Wrong { sources, problems: problems.into_sorted() })
    })
}

fn members(path: &Path) -> Result<Membership, Failure> {
    let mut rows = Rows::open(path, Layout::Csv, &["node"], &["weight", "zone"])?;
    let mut members = Membership::default();
    while rows.advance()? {
        let name = rows.name_in(0)?;
        if members.find(name).is_some() {
            return Err(rows.wrong(&format!("the node `{name}` is listed twice")));
        }
        if NODES_MAX as usize <= members.len() {
            return Err(rows.wrong(&format!("more than {NODES_MAX} nodes")));
        }
        let weight = rows.number(1)?;
        if weight <= 0.0 {
            return Err(rows.wrong("the weight is 0, expected a positive number"));
        }
        let zone = if rows.bytes(2).is_empty() { "" } else { rows.name_in(2)? };
        members.add(Member { name: name.to_owned(), weight, zone: zone.to_owned() });
    }
    rows.expect_rows()?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_written_as_in_a_scenario() {
        for text in [
            "ring={virtual_nodes=160}",
            "ring = { virtual_nodes = 160 }",
            "{ ring = { virtual_nodes = 160 } }",
        ] {
            assert_eq!(choice(text).unwrap().label(), "ring{virtual_nodes=160}", "{text}");
        }
        assert_eq!(choice("jump").unwrap().label(), "jump");
    }
}
