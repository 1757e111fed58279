//! `explain`: exactly what a metric, a variant, a fault or a distribution is.

use std::fmt::Write as _;

use clap::{Args, ValueEnum as _};
use serde_json::{Value as Json, json};

use crate::config::{nearest, printable};
use crate::experiments::WINGS;
use crate::record::{Better, Metric, Unit};

use super::console::Console;
use super::list::{Item, Kind, unit_name};
use super::words::pretty;
use super::{Exit, Failure, Format};

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// Its name, as `list` has it
    name: String,
}

pub(super) fn explain(
    args: &ExplainArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let all: Vec<Item> = Kind::value_variants().iter().flat_map(|kind| kind.items()).collect();
    // A metric over a sample is asked for with its statistic in reports: `lock_wait.p99`.
    let base = args.name.split_once('.').map_or(args.name.as_str(), |(base, _)| base);
    let found: Vec<&Item> =
        all.iter().filter(|item| item.name() == args.name || item.name() == base).collect();
    if found.is_empty() {
        let names: Vec<&str> = all.iter().map(Item::name).collect();
        let near = nearest(&args.name, &names);
        let help = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`stormglass list` tells what there is".into(),
        };
        let name = printable(&args.name);
        return Err(Failure::Usage(format!("nothing is called `{name}`\nhelp: {help}")));
    }
    let text = match format {
        Format::Human => {
            let each: Vec<String> = found.into_iter().map(|&item| in_words(item)).collect();
            each.join("\n")
        }
        Format::Json => pretty(&found.into_iter().map(|&item| in_json(item)).collect()),
    };
    console.print(&text)?;
    Ok(Exit::Done)
}

fn in_json(item: Item) -> Json {
    let mut json = item.to_json();
    if let Some(params) = params_of(item) {
        json["params"] = params;
    }
    json
}

/// The schema of the parameters of a variant.
fn params_of(item: Item) -> Option<Json> {
    let Item::Thing(Kind::Rings | Kind::Locks | Kind::Queues | Kind::Pipeline, about) = item else {
        return None;
    };
    let listings = WINGS.iter().flat_map(|wing| (wing.variants)());
    listings.into_iter().find(|listing| listing.about == about).map(|listing| listing.params)
}

fn in_words(item: Item) -> String {
    match item {
        Item::Metric(metric) => metric_in_words(metric),
        Item::Thing(_, about) => {
            let mut text = format!("{}: {}\n", about.name, about.summary);
            if !about.source.is_empty() && about.source != "-" {
                let _ = writeln!(text, "source:  {}", about.source);
            }
            if !about.version.is_empty() {
                let _ = writeln!(text, "version: {}", about.version);
            }
            if let Some(params) = params_of(item) {
                text.push_str(&params_in_words(&params));
            }
            text
        }
    }
}

fn metric_in_words(metric: &Metric) -> String {
    let better = match metric.better {
        Better::Higher => "higher",
        Better::Lower => "lower",
        Better::Neither => "neither: it describes the run",
    };
    let unit = match metric.unit {
        Unit::Ratio => "none",
        unit => unit_name(unit),
    };
    let Metric { name, title, definition, .. } = metric;
    format!("{name}: {title}\n{definition}\nunit:   {unit}\nbetter: {better}\n")
}

fn params_in_words(schema: &Json) -> String {
    let fields = schema["properties"].as_object();
    let fields = fields.filter(|fields| !fields.is_empty());
    let Some(fields) = fields else { return "it has no parameters\n".into() };
    let mut text = String::from("parameters:\n");
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    for (name, field) in fields {
        let default = match &field["default"] {
            Json::Null if field.get("default").is_none() => "required".to_owned(),
            Json::Null => "none by default".to_owned(),
            default => format!("default {}", toml_like(default)),
        };
        let words = field["description"].as_str().unwrap_or("").split_whitespace();
        let words: Vec<&str> = words.collect();
        let _ = writeln!(text, "  {name:width$}  {} ({default})", words.join(" "));
    }
    text
}

/// A default as a scenario would write it.
fn toml_like(json: &Json) -> String {
    match json {
        Json::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, field)| format!("{name} = {}", toml_like(field)))
                .collect();
            format!("{{ {} }}", fields.join(", "))
        }
        Json::Array(items) => {
            format!("[{}]", items.iter().map(toml_like).collect::<Vec<_>>().join(", "))
        }
        other => json!(other).to_string(),
    }
}
