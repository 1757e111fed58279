//! The reference pages are what the code says: metrics, variants, scenario files, command line.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` writes them anew.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod support;

use std::fmt::Write as _;
use std::{env, fs};

use serde_json::Value as Json;
use stormglass::choice::About;
use stormglass::experiments::WINGS;
use stormglass::model::{dist, fault};
use stormglass::scenario;
use support::Place;

const HEAD: &str = "<!-- Made from the code: UPDATE_DOCS=1 cargo test --test docs -->\n";

#[track_caller]
fn hold(page: &str, text: &str) {
    let path = format!("{}/docs/reference/{page}.md", env!("CARGO_MANIFEST_DIR"));
    let text = format!("{HEAD}\n{}\n", text.trim_end());
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let differs = text.lines().zip(found.lines()).find(|(a, b)| a != b);
    assert!(
        found == text,
        "docs/reference/{page}.md is not what the code says: {differs:?}\n\
         run: UPDATE_DOCS=1 cargo test --test docs"
    );
}

/// `text` in a cell of a table.
fn cell(text: &str) -> String {
    let escaped = text.replace('|', "\\|").replace('<', "&lt;").replace('\n', " ");
    escaped.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_page_of_metrics_is_what_the_code_says() {
    let mut page = "# Metrics\n\nEverything that a run can measure. Numbers in files are in the \
                    base unit. Of what is a latency, `.mean`, `.p50`, `.p90`, `.p99`, `.p99.9` and \
                    `.max` are numbers of their own: `lock_wait.p99`.\n"
        .to_owned();
    for wing in WINGS {
        let _ = write!(page, "\n## {}\n\n", wing.subject.name());
        page.push_str("| metric | unit | better | what it is |\n|---|---|---|---|\n");
        for metric in wing.metrics {
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {} |",
                metric.name,
                metric.unit.name(),
                metric.better.name(),
                cell(metric.definition)
            );
        }
    }
    hold("metrics", &page);
}

#[test]
fn the_page_of_variants_is_what_the_catalogues_say() {
    let mut page = "# Variants, faults, distributions\n\nWhat a scenario can name. \
                    `stormglass explain NAME` tells the parameters.\n"
        .to_owned();
    let mut table = |title: &str, all: &[About]| {
        let _ = write!(page, "\n## {title}\n\n| name | what it is | source |\n|---|---|---|\n");
        for about in all {
            let version = match about.version {
                "" => String::new(),
                version => format!(" ({version})"),
            };
            let _ = writeln!(
                page,
                "| `{}` | {}{} | {} |",
                about.name,
                cell(about.summary),
                cell(&version),
                cell(about.source)
            );
        }
    };
    for wing in WINGS {
        let all: Vec<About> = (wing.variants)().into_iter().map(|listing| listing.about).collect();
        table(wing.subject.name(), &all);
    }
    table("Faults", fault::CATALOGUE);
    table("Distributions", dist::CATALOGUE);
    hold("variants", &page);
}

#[test]
fn the_page_of_the_command_line_is_what_help_says() {
    let place = Place::new();
    let help = |verb: &[&str]| {
        let mut args = verb.to_vec();
        args.push("--help");
        let ran = place.run(&args);
        assert_eq!(ran.code, 0, "{verb:?}: {}", ran.err);
        ran.out
    };
    let whole = help(&[]);
    let mut page = format!("# Command line\n\n```text\n{}\n```\n", whole.trim_end());
    for verb in verbs(&whole) {
        let text = help(&[&verb]);
        let _ = write!(page, "\n## stormglass {verb}\n\n```text\n{}\n```\n", text.trim_end());
        for below in verbs(&text) {
            let text = help(&[&verb, &below]);
            let _ = write!(page, "\n### stormglass {verb} {below}\n\n");
            let _ = write!(page, "```text\n{}\n```\n", text.trim_end());
        }
    }
    hold("cli", &page);
}

/// The verbs that a help text lists.
fn verbs(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else { return Vec::new() };
    list.lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|verb| !verb.is_empty() && *verb != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_page_of_scenario_files_is_what_the_schema_says() {
    let schema = scenario::schema();
    let mut page = "# Scenario files\n\nA scenario is a TOML file (1.1); `stormglass schema` prints \
                    this page for an editor, as a JSON Schema. Unknown keys are refused. Durations, \
                    rates, sizes and chances are strings with a unit: `\"20ms\"`, `\"250/s\"`, \
                    `\"16KiB\"`, `\"2%\"`. Where a *distribution* may stand, one of [those](variants.md) \
                    does, or a duration, which is always the same.\n"
        .to_owned();
    let required: Vec<&str> = names(&schema["required"]);
    for (name, field) in schema["properties"].as_object().unwrap() {
        let must = if required.contains(&name.as_str()) { ", required" } else { "" };
        let _ = write!(page, "\n## `{name}`{must}\n\n{}\n", text(&field["description"]));
        if name == "experiment" {
            for (wing, table) in field["properties"].as_object().unwrap() {
                let _ = write!(
                    page,
                    "\n### `[experiment.{wing}]`\n\n{}\n",
                    text(&table["description"])
                );
                fields(&mut page, table);
            }
        } else {
            fields(&mut page, field);
        }
    }
    hold("scenario", &page);
}

fn text(json: &Json) -> String {
    cell(json.as_str().unwrap_or_default())
}

fn names(json: &Json) -> Vec<&str> {
    json.as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

/// A table of all fields below `schema`, by path.
fn fields(page: &mut String, schema: &Json) {
    let mut rows = Vec::new();
    walk(schema, "", 0, &mut rows);
    if rows.is_empty() {
        return;
    }
    page.push_str("\n| field | value | default | what it is |\n|---|---|---|---|\n");
    for [path, value, default, what] in rows {
        let _ = writeln!(page, "| `{path}` | {value} | {default} | {what} |");
    }
}

fn walk(schema: &Json, path: &str, depth: usize, rows: &mut Vec<[String; 4]>) {
    const DEPTH_MAX: usize = 6;
    if DEPTH_MAX < depth || is_distribution(schema) {
        return;
    }
    if schema["items"].is_object() {
        walk(&schema["items"], &format!("{path}[]"), depth, rows);
    }
    let cases = ["oneOf", "anyOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten();
    for case in cases {
        if let Some(word) = case.get("const") {
            let path = if path.is_empty() { "" } else { path };
            rows.push([
                path.to_owned(),
                format!("`{word}`"),
                String::new(),
                text(&case["description"]),
            ]);
        } else {
            walk(case, path, depth + 1, rows);
        }
    }
    let required = names(&schema["required"]);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let default = match field.get("default") {
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None | Some(Json::Null) => String::new(),
            Some(default) => format!("`{}`", cell(&default.to_string())),
        };
        let what = match (text(&field["description"]), text(&schema["description"])) {
            // A case's own description stands around its one field.
            (own, around) if own.is_empty() => around,
            (own, _) => own,
        };
        rows.push([below.clone(), value(field), default, what]);
        walk(field, &below, depth + 1, rows);
    }
}

fn is_distribution(schema: &Json) -> bool {
    let cases = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    cases.into_iter().flatten().any(|case| case["properties"].get("log_normal").is_some())
}

fn value(schema: &Json) -> String {
    if is_distribution(schema) {
        return "distribution".to_owned();
    }
    if schema["oneOf"].is_array() || schema["anyOf"].is_array() {
        return "one of".to_owned();
    }
    let limit = |name: &str| schema.get(name).map(ToString::to_string);
    let limits = match (limit("minimum"), limit("maximum")) {
        (Some(low), Some(high)) => format!(", {low} .. {high}"),
        (Some(low), None) => format!(", {low} or more"),
        (None, Some(high)) => format!(", {high} at most"),
        (None, None) => String::new(),
    };
    let kind = match &schema["type"] {
        Json::String(kind) if kind == "array" => format!("list of {}", value(&schema["items"])),
        Json::String(kind) if kind == "object" => "table".to_owned(),
        Json::String(kind) => kind.clone(),
        Json::Array(kinds) => {
            kinds.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => "value".to_owned(),
    };
    format!("{kind}{limits}")
}
