//! `report.json`: all that the report says and all that it was made of, for programs.
//!
//! `schema` is raised when a field changes its meaning or goes; new fields may come at any time.
//! Numbers are in base units and full precision; what is infinite is the string `"inf"` or
//! `"-inf"`, which JSON has no number for. One record or summary stands on a line, so that `diff`
//! and `grep` work.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::{Artefact, word};
use crate::record::claims::{Evidence, Level, Verdict};
use crate::record::statistics::Estimate;
use crate::record::summary::{self, Group, Summary};
use crate::record::{Ending, Metric, Record};
use crate::report::kept::{Change, Kept};
use crate::report::{Report, Tone};

pub(in crate::report) const SCHEMA: u32 = 1;

/// `report.json`.
pub(super) fn report(report: &Report, records: &[Record], summaries: &[Summary]) -> Artefact {
    let from = &report.provenance;
    let mut out = String::from("{\n");
    let mut field = |name: &str, value: &Json| {
        let _ = writeln!(out, "\"{name}\": {value},");
    };
    field("schema", &json!(SCHEMA));
    field("title", &json!(report.title));
    field("question", &json!(report.question));
    field(
        "bottom_line",
        &json!({ "tone": tone(report.bottom_line.tone), "text": report.bottom_line.text }),
    );
    field("notes", &json!(report.notes));
    field(
        "provenance",
        &json!({
            "command": from.command,
            "version": from.version,
            "semantics": from.semantics,
            "scenario": from.scenario,
            "scenario_sha256": from.scenario_sha256,
            "seeds": from.seeds,
            "alterations": from.alterations,
            "references": from.references,
        }),
    );
    let findings: Vec<Json> = (report.sections.iter())
        .map(|section| json!({ "subject": section.heading, "sentences": section.findings }))
        .collect();
    field("findings", &json!(findings));
    list(&mut out, "claims", report.verdicts.iter().map(verdict), ",");
    if let Some(kept) = &report.kept {
        let _ = writeln!(out, "\"baseline\": {},", baseline(kept));
    }
    list(&mut out, "metrics", metrics(records).into_iter().map(metric), ",");
    list(&mut out, "summaries", summaries.iter().map(one_summary), ",");
    let groups = summary::groups(records);
    list(&mut out, "distributions", groups.iter().flat_map(distributions), ",");
    list(&mut out, "records", records.iter().map(record), "");
    out.push_str("}\n");
    Artefact { path: "report.json".into(), bytes: out.into_bytes() }
}

fn list(out: &mut String, name: &str, items: impl Iterator<Item = Json>, comma: &str) {
    let lines: Vec<String> = items.map(|item| item.to_string()).collect();
    let _ = writeln!(out, "\"{name}\": [\n{}\n]{comma}", lines.join(",\n"));
}

fn number(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

fn estimate(estimate: &Estimate) -> Json {
    json!({
        "mean": number(estimate.mean),
        "low": number(estimate.low),
        "high": number(estimate.high),
        "n": estimate.n,
        "exact": estimate.exact,
    })
}

fn point(point: &[(String, String)]) -> Json {
    Json::Array(point.iter().map(|(name, value)| json!([name, value])).collect())
}

const fn tone(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Warning => "warning",
        Tone::Bad => "bad",
        Tone::Unknown => "unknown",
    }
}

fn verdict(verdict: &Verdict) -> Json {
    let evidence = |item: &Evidence| {
        json!({
            "metric": item.name,
            "unit": item.metric.unit.name(),
            "variant": item.variant,
            "at": item.at,
            "value": number(item.value),
            "seed": item.seed,
            "seed_count": item.seed_count,
            "holds": item.holds,
        })
    };
    json!({
        "claim": verdict.claim,
        "level": match verdict.level { Level::Error => "error", Level::Warn => "warn" },
        "outcome": word(verdict),
        "bound": verdict.bound,
        "why": verdict.why,
        "evidence": verdict.evidence.iter().map(evidence).collect::<Vec<_>>(),
        "unknown_because": verdict.unknown_because,
    })
}

fn baseline(kept: &Kept) -> Json {
    let change = |change: &Change| {
        json!({
            "outcome": change.outcome.word(),
            "figure": change.figure,
            "text": change.text,
            "command": change.command,
            "line": change.line,
        })
    };
    json!({
        "sentence": kept.sentence,
        "held": kept.held,
        "changes": kept.changes.iter().map(change).collect::<Vec<_>>(),
    })
}

/// Every metric that a record names, in the order in which they come first.
fn metrics(records: &[Record]) -> Vec<&'static Metric> {
    let mut found: Vec<&'static Metric> = Vec::new();
    for record in records {
        let named = (record.measures.iter().map(|item| item.metric))
            .chain(record.samples.iter().map(|item| item.metric))
            .chain(record.curves.iter().map(|item| item.metric))
            .chain(record.profiles.iter().map(|item| item.metric));
        for metric in named {
            if !found.iter().any(|known| known.name == metric.name) {
                found.push(metric);
            }
        }
    }
    found
}

fn metric(metric: &Metric) -> Json {
    json!({
        "name": metric.name,
        "title": metric.title,
        "unit": metric.unit.name(),
        "better": metric.better.name(),
        "definition": metric.definition,
    })
}

fn one_summary(summary: &Summary) -> Json {
    json!({
        "subject": summary.subject.name(),
        "variant": summary.variant,
        "point": point(&summary.point),
        "metric": summary.name(),
        "at": summary.at,
        "estimate": estimate(&summary.estimate),
    })
}

/// The values of all runs of a group, merged: pairs of a value (to three digits) and its count.
fn distributions(group: &Group<'_>) -> Vec<Json> {
    let mut seen: Vec<(&'static Metric, &str)> = Vec::new();
    for sample in group.runs.iter().flat_map(|run| &run.samples) {
        let is_known =
            |(metric, at): &(&Metric, &str)| metric.name == sample.metric.name && *at == sample.at;
        if !seen.iter().any(is_known) {
            seen.push((sample.metric, &sample.at));
        }
    }
    let merged = |(metric, at): (&'static Metric, &str)| {
        let buckets: Vec<Json> = group
            .merged(metric, at)
            .iter()
            .flat_map(crate::record::Distribution::buckets)
            .map(|(value, count)| json!([value, count]))
            .collect();
        json!({
            "subject": group.subject.name(),
            "variant": group.variant,
            "point": point(group.point),
            "metric": metric.name,
            "at": at,
            "buckets": buckets,
        })
    };
    seen.into_iter().map(merged).collect()
}

fn record(record: &Record) -> Json {
    let measures: Vec<Json> = (record.measures.iter())
        .map(|item| json!([item.metric.name, item.at, number(item.value)]))
        .collect();
    let samples: Vec<Json> = (record.samples.iter())
        .map(|item| {
            let numbers: serde_json::Map<String, Json> = summary::Statistic::OF_SAMPLES
                .iter()
                .filter_map(|statistic| {
                    let value = statistic.of(&item.distribution)?;
                    Some((statistic.title().to_owned(), number(value)))
                })
                .collect();
            json!([item.metric.name, item.at, item.distribution.count(), numbers])
        })
        .collect();
    let curves: Vec<Json> = (record.curves.iter())
        .map(|item| {
            let values: Vec<Json> = item.values.iter().map(|value| number(*value)).collect();
            json!([item.metric.name, item.at, item.step.as_ns(), values])
        })
        .collect();
    let profiles: Vec<Json> = (record.profiles.iter())
        .map(|item| {
            let bars: Vec<Json> =
                item.bars.iter().map(|(name, value)| json!([name, number(*value)])).collect();
            json!([item.metric.name, item.at, item.fair.map(number), bars])
        })
        .collect();
    let faults: Vec<Json> = (record.faults.iter())
        .map(|fault| json!([fault.label, fault.from.as_ns(), fault.until.as_ns()]))
        .collect();
    let ending = match &record.ending {
        Ending::Complete => json!("complete"),
        Ending::Incomplete(why) => json!({ "incomplete": why }),
    };
    json!({
        "subject": record.subject.name(),
        "variant": record.variant,
        "point": point(&record.point),
        "seed": record.seed.0,
        "ending": ending,
        "event_count": record.event_count,
        // As text: JavaScript and jq would round a number of 64 bits.
        "fingerprint": format!("{:016x}", record.fingerprint),
        "measures": measures,
        "samples": samples,
        "curves": curves,
        "profiles": profiles,
        "faults": faults,
        "findings": record.findings,
    })
}
