//! `list`: what a scenario can name.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde_json::{Value as Json, json};

use crate::choice::About;
use crate::experiments::WINGS;
use crate::model::{dist, fault};
use crate::record::{Better, Metric, Unit};
use crate::rings;

use super::console::Console;
use super::words::pretty;
use super::{Exit, Failure, Form, Format};

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// What to list; everything where it is left out
    kind: Option<Kind>,
}

/// What there is to list.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Kind {
    /// Placement rings
    Rings,
    /// Distributed locks
    Locks,
    /// Message queues
    Queues,
    /// Rings, queues and locks joined
    Pipeline,
    /// Faults
    Faults,
    /// Distributions of durations
    Distributions,
    /// What is measured
    Metrics,
}

/// Something that has a name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// A variant, a fault or a distribution.
    Thing(Kind, About),
    /// A metric.
    Metric(&'static Metric),
}

impl Kind {
    const fn title(self) -> &'static str {
        match self {
            Self::Rings => "rings",
            Self::Locks => "locks",
            Self::Queues => "queues",
            Self::Pipeline => "pipeline",
            Self::Faults => "faults",
            Self::Distributions => "distributions",
            Self::Metrics => "metrics",
        }
    }

    /// Everything of this kind.
    pub(super) fn items(self) -> Vec<Item> {
        let things = |all: &[About]| all.iter().map(|&about| Item::Thing(self, about)).collect();
        match self {
            Self::Rings | Self::Locks | Self::Queues | Self::Pipeline => {
                let wing = WINGS.iter().find(|wing| wing.subject.name() == self.title());
                let variants = wing.map_or(Vec::new(), |wing| (wing.variants)());
                variants.into_iter().map(|listing| Item::Thing(self, listing.about)).collect()
            }
            Self::Faults => things(fault::CATALOGUE),
            Self::Distributions => things(dist::CATALOGUE),
            Self::Metrics => {
                // A pipeline measures what queues and locks measure.
                let mut metrics: Vec<&Metric> = Vec::new();
                for &metric in WINGS.iter().flat_map(|wing| wing.metrics) {
                    if !metrics.contains(&metric) {
                        metrics.push(metric);
                    }
                }
                metrics.into_iter().map(Item::Metric).collect()
            }
        }
    }
}

impl Item {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Thing(_, about) => about.name,
            Self::Metric(metric) => metric.name,
        }
    }

    fn summary(&self) -> &'static str {
        match self {
            Self::Thing(_, about) => about.summary,
            Self::Metric(metric) => metric.title,
        }
    }

    /// What a program reads of it.
    pub(super) fn to_json(self) -> Json {
        match self {
            Self::Thing(kind, About { name, summary, source, version }) => {
                let mut item = json!({
                    "kind": kind.title(),
                    "name": name,
                    "summary": summary,
                    "source": source,
                });
                if !version.is_empty() {
                    item["version"] = version.into();
                }
                item
            }
            Self::Metric(Metric { name, title, unit, better, definition }) => json!({
                "kind": Kind::Metrics.title(),
                "name": name,
                "summary": title,
                "source": definition,
                "unit": unit_name(*unit),
                "better": match better {
                    Better::Higher => "higher",
                    Better::Lower => "lower",
                    Better::Neither => "neither",
                },
            }),
        }
    }
}

pub(super) const fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "count",
        Unit::Ratio => "ratio",
        Unit::Share => "share",
        Unit::Bytes => "bytes",
        Unit::Nanoseconds => "ns",
        Unit::PerSecond => "1/s",
    }
}

pub(super) fn list(args: &ListArgs, form: Form, console: &mut Console) -> Result<Exit, Failure> {
    if (form, args.kind) == (Form::Markdown, Some(Kind::Rings)) {
        console.print(&rings::table::markdown())?;
        return Ok(Exit::Done);
    }
    let format = form.plain()?;
    let kinds: Vec<Kind> = match args.kind {
        Some(kind) => vec![kind],
        None => Kind::value_variants().to_vec(),
    };
    let items: Vec<Item> = kinds.iter().flat_map(|kind| kind.items()).collect();
    let text = match format {
        Format::Json => {
            let items: Vec<Json> = items.into_iter().map(Item::to_json).collect();
            pretty(&Json::Array(items))
        }
        Format::Human => {
            let width = items.iter().map(|item| item.name().len()).max().unwrap_or(0);
            let mut text = String::new();
            for kind in &kinds {
                if 1 < kinds.len() {
                    let _ = writeln!(text, "{}", kind.title());
                }
                let indent = if 1 < kinds.len() { "  " } else { "" };
                for item in kind.items() {
                    let _ = writeln!(text, "{indent}{:width$}  {}", item.name(), item.summary());
                }
            }
            text
        }
    };
    console.print(&text)?;
    Ok(Exit::Done)
}
