//! Charts as Vega-Lite specifications, version 5, with their numbers in them: what a reader opens
//! in an editor of their own to ask it another question.
//!
//! The fields of a row are those of the CSV beside it. Numbers are in base units; what is not
//! finite is left out, because JSON has no number for it.

use serde_json::{Map, Value as Json, json};

use super::{Artefact, text::clean};
use crate::record::{FaultSpan, Unit};
use crate::report::{BoardRow, Chart, Grid, Horizontal, Lane, Plot, Report};

const SCHEMA: &str = "https://vega.github.io/schema/vega-lite/v5.json";

/// A specification for each chart.
pub(super) fn charts(report: &Report) -> Vec<Artefact> {
    super::charts(report).map(file).collect()
}

fn file(chart: &Chart) -> Artefact {
    let spec = format!("{}\n", spec(chart));
    Artefact { path: format!("charts/{}.vl.json", chart.name), bytes: spec.into_bytes() }
}

fn spec(chart: &Chart) -> Json {
    let mut spec = json!({
        "$schema": SCHEMA,
        "title": { "text": clean(&chart.title), "subtitle": clean(&chart.subtitle), "anchor": "start" },
        "description": clean(&chart.description),
    });
    if !matches!(chart.plot, Plot::Grids(_)) {
        // Each of several grids has a size of its own.
        spec["width"] = json!(640);
        spec["height"] = json!(300);
    }
    let more = match &chart.plot {
        Plot::Lines { .. } => lines(chart),
        Plot::Bars { .. } => bars(chart),
        Plot::Grids(grids) => self::grids(chart, grids),
        Plot::Lanes { lanes, faults } => self::lanes(lanes, faults),
        Plot::Board { columns, rows } => board(columns, rows),
    };
    for (name, value) in more {
        spec[name] = value;
    }
    spec
}

type Parts = Vec<(&'static str, Json)>;

/// `chart` as a layer of bands, of lines or marks, of the level and of the faults.
fn lines(chart: &Chart) -> Parts {
    let Plot::Lines { x, series, reference, faults } = &chart.plot else { return Vec::new() };
    let y = axis(&chart.y_label, chart.y_unit);
    let mut rows = Vec::new();
    for line in series {
        for point in &line.points {
            let at = match x {
                Horizontal::Quantile => 1.0 / (1.0 - point.x),
                Horizontal::Rank
                | Horizontal::Time
                | Horizontal::Swept(_)
                | Horizontal::Cost(_) => point.x,
            };
            let mut row = Map::new();
            row.insert("series".into(), json!(clean(&line.name)));
            let numbers = [("x", at), ("y", point.y), ("low", point.low), ("high", point.high)];
            row.extend(numbers.into_iter().filter_map(finite));
            rows.push(Json::Object(row));
        }
    }
    let is_of_marks = matches!(x, Horizontal::Cost(_));
    let y_scale = match x {
        Horizontal::Quantile => json!({ "type": "log" }),
        Horizontal::Rank | Horizontal::Time | Horizontal::Swept(_) | Horizontal::Cost(_) => {
            json!({ "zero": matches!(x, Horizontal::Time) })
        }
    };
    let x_channel = horizontal(x);
    let colour = json!({ "field": "series", "type": "nominal", "title": null });
    let spread = json!({
        "mark": if is_of_marks { json!({ "type": "rule" }) }
                else { json!({ "type": "area", "opacity": 0.16, "interpolate": step(x) }) },
        "encoding": {
            "x": x_channel,
            "y": { "field": "low", "type": "quantitative", "title": y, "scale": y_scale },
            "y2": { "field": "high" },
            "color": colour,
        },
    });
    let mut encoding = json!({
        "x": x_channel,
        "y": { "field": "y", "type": "quantitative", "title": y, "scale": y_scale },
        "color": colour,
        "tooltip": [
            { "field": "series", "type": "nominal" },
            { "field": "x", "type": "quantitative" },
            { "field": "y", "type": "quantitative" },
        ],
    });
    let mark = if is_of_marks {
        encoding["shape"] = colour.clone();
        json!({ "type": "point", "filled": true, "size": 80 })
    } else {
        encoding["strokeDash"] = colour.clone();
        json!({ "type": "line", "interpolate": step(x) })
    };
    let mut layer = vec![spread, json!({ "mark": mark, "encoding": encoding })];
    if let Some((level, name)) = reference.as_ref().filter(|(level, _)| level.is_finite()) {
        layer.push(json!({
            "data": { "values": [{ "level": level, "name": clean(name) }] },
            "mark": { "type": "rule", "strokeDash": [4, 4] },
            "encoding": { "y": { "field": "level", "type": "quantitative" } },
        }));
    }
    layer.extend(tinted(faults));
    vec![("data", json!({ "values": rows })), ("layer", json!(layer))]
}

/// The stretches of time that faults took; nothing where there was none.
fn tinted(faults: &[FaultSpan]) -> Option<Json> {
    let span = |fault: &FaultSpan| {
        json!({
            "fault": clean(&fault.label),
            "from": fault.from.as_secs_f64(),
            "until": fault.until.as_secs_f64(),
        })
    };
    let spans: Vec<Json> = faults.iter().map(span).collect();
    (!spans.is_empty()).then(|| {
        json!({
            "data": { "values": spans },
            "mark": { "type": "rect", "opacity": 0.15, "color": "#D55E00", "clip": true },
            "encoding": {
                "x": { "field": "from", "type": "quantitative" },
                "x2": { "field": "until" },
                "tooltip": { "field": "fault", "type": "nominal" },
            },
        })
    })
}

/// A grid for each variant, the more the darker.
fn grids(chart: &Chart, grids: &[Grid]) -> Parts {
    let mut rows = Vec::new();
    for grid in grids {
        for (from, amounts) in grid.names.iter().zip(&grid.amounts) {
            for (to, amount) in grid.names.iter().zip(amounts).filter(|(_, a)| a.is_finite()) {
                rows.push(json!({
                    "series": clean(&grid.name), "from": clean(from), "to": clean(to),
                    "mean": amount,
                }));
            }
        }
    }
    let side = |field: &str, title: &str| json!({ "field": field, "type": "nominal", "title": title, "sort": null });
    let amount = axis(&chart.y_label, chart.y_unit);
    vec![
        ("data", json!({ "values": rows })),
        ("facet", json!({ "column": { "field": "series", "type": "nominal", "title": null } })),
        (
            "spec",
            json!({
                "width": 200,
                "height": 200,
                "layer": [{
                    "mark": { "type": "rect" },
                    "encoding": {
                        "x": side("to", "to"),
                        "y": side("from", "from"),
                        "color": { "field": "mean", "type": "quantitative", "title": amount },
                    },
                }],
            }),
        ),
    ]
}

/// Outcomes in letters.
fn board(columns: &[String], rows: &[BoardRow]) -> Parts {
    let mut values = Vec::new();
    for row in rows {
        for (column, cell) in columns.iter().zip(&row.cells) {
            let Some((outcome, _)) = cell else { continue };
            let (row, column) = (clean(&row.name), clean(column));
            values.push(json!({ "row": row, "column": column, "outcome": clean(outcome) }));
        }
    }
    let side =
        |field: &str| json!({ "field": field, "type": "nominal", "title": null, "sort": null });
    let layer = json!([{
        "mark": { "type": "text" },
        "encoding": {
            "x": side("column"),
            "y": side("row"),
            "text": { "field": "outcome", "type": "nominal" },
        },
    }]);
    vec![("data", json!({ "values": values })), ("layer", layer)]
}

/// Bars for what lasted, and marks for what was done.
fn lanes(lanes: &[Lane], faults: &[FaultSpan]) -> Parts {
    let spans = lanes.iter().flat_map(|lane| &lane.spans);
    let rows = spans.map(|span| {
        json!({
            "lane": clean(&span.lane),
            "kind": span.kind.name(),
            "label": clean(&span.label),
            "from": span.from.as_secs_f64(),
            "until": span.until.as_secs_f64(),
        })
    });
    let rows: Vec<Json> = rows.collect();
    let spans = || lanes.iter().flat_map(|lane| &lane.spans);
    let ends = spans().map(|span| span.from).min().zip(spans().map(|span| span.until).max());
    // Faults may have begun long before, and go on long after.
    let scale = match ends {
        Some((from, until)) => json!({ "domain": [from.as_secs_f64(), until.as_secs_f64()] }),
        None => json!({}),
    };
    let x = json!({
        "field": "from", "type": "quantitative", "title": "virtual time (s)", "scale": scale,
    });
    let y = json!({ "field": "lane", "type": "nominal", "title": null, "sort": null });
    let label = json!({ "field": "label", "type": "nominal" });
    let mut layer = vec![
        json!({
            "transform": [{ "filter": "datum.kind === 'belief'" }],
            "mark": { "type": "bar", "opacity": 0.6 },
            "encoding": { "x": x, "x2": { "field": "until" }, "y": y, "tooltip": label },
        }),
        json!({
            "transform": [{ "filter": "datum.kind !== 'belief'" }],
            "mark": { "type": "point", "filled": true, "size": 60 },
            "encoding": {
                "x": x,
                "y": y,
                "color": { "field": "kind", "type": "nominal" },
                "shape": { "field": "kind", "type": "nominal" },
                "tooltip": label,
            },
        }),
    ];
    layer.extend(tinted(faults));
    vec![("data", json!({ "values": rows })), ("layer", json!(layer))]
}

/// A rank has a width; all else goes from point to point.
fn step(x: &Horizontal) -> &'static str {
    match x {
        Horizontal::Rank => "step",
        Horizontal::Quantile | Horizontal::Time | Horizontal::Swept(_) | Horizontal::Cost(_) => {
            "linear"
        }
    }
}

fn horizontal(x: &Horizontal) -> Json {
    let (title, scale) = match x {
        Horizontal::Rank => ("nodes, from the least to the most loaded".into(), json!({})),
        Horizontal::Quantile => ("1 / (1 - percentile)".into(), json!({ "type": "log" })),
        Horizontal::Time => ("virtual time (s)".into(), json!({})),
        Horizontal::Swept(parameter) => (clean(parameter), json!({ "zero": false })),
        Horizontal::Cost(metric) => (axis(metric.title, metric.unit), json!({ "zero": false })),
    };
    json!({ "field": "x", "type": "quantitative", "title": title, "scale": scale })
}

/// `chart` as bars beside each other, with whiskers, and the marks to read them against.
fn bars(chart: &Chart) -> Parts {
    let Plot::Bars { groups, series, floor } = &chart.plot else { return Vec::new() };
    let mut rows = Vec::new();
    for (index, line) in series.iter().enumerate() {
        for (column, (group, bar)) in groups.iter().zip(&line.bars).enumerate() {
            let Some(bar) = bar else { continue };
            let floor = floor.as_ref().and_then(|(_, all)| *all.get(index)?.get(column)?);
            let mut row = Map::new();
            row.insert("series".into(), json!(clean(&line.name)));
            row.insert("event".into(), json!(clean(group)));
            let numbers = [("mean", bar.mean), ("low_95", bar.low), ("high_95", bar.high)];
            row.extend(numbers.into_iter().filter_map(finite));
            row.extend(floor.and_then(|floor| finite(("floor", floor))));
            rows.push(Json::Object(row));
        }
    }
    let y = axis(&chart.y_label, chart.y_unit);
    let x = json!({ "field": "event", "type": "nominal", "title": null, "sort": null });
    let beside = json!({ "field": "series", "type": "nominal", "sort": null });
    let bar = json!({
        "mark": { "type": "bar" },
        "encoding": {
            "x": x,
            "xOffset": beside,
            "y": { "field": "mean", "type": "quantitative", "title": y },
            "color": { "field": "series", "type": "nominal", "title": null, "sort": null },
        },
    });
    let whisker = json!({
        "mark": { "type": "rule" },
        "encoding": {
            "x": x,
            "xOffset": beside,
            "y": { "field": "low_95", "type": "quantitative", "title": y },
            "y2": { "field": "high_95" },
        },
    });
    let mut layer = vec![bar, whisker];
    if floor.is_some() {
        layer.push(json!({
            "mark": { "type": "tick", "color": "#1A1F24", "thickness": 2 },
            "encoding": {
                "x": x,
                "xOffset": beside,
                "y": { "field": "floor", "type": "quantitative", "title": y },
            },
        }));
    }
    vec![("data", json!({ "values": rows })), ("layer", json!(layer))]
}

fn finite((name, value): (&str, f64)) -> Option<(String, Json)> {
    value.is_finite().then(|| (name.to_owned(), json!(value)))
}

fn axis(label: &str, unit: Unit) -> String {
    let label = clean(label);
    match unit {
        Unit::Count | Unit::Ratio => label,
        Unit::Share => format!("{label} (share)"),
        Unit::Bytes => format!("{label} (bytes)"),
        Unit::Nanoseconds => format!("{label} (ns)"),
        Unit::PerSecond => format!("{label} (per second)"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::report::sample;

    fn specs() -> Vec<Json> {
        let report = sample::report_of(&sample::records(3), sample::verdicts());
        let specs: Vec<Json> = super::super::charts(&report).map(spec).collect();
        assert!(2 < specs.len());
        specs
    }

    fn layers(spec: &Json) -> Vec<Json> {
        let layers = spec["layer"].as_array().or(spec["spec"]["layer"].as_array());
        layers.unwrap().clone()
    }

    /// The fields that the channels of `encoding` read.
    fn fields(encoding: &Json) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for channel in encoding.as_object().unwrap().values() {
            let all = channel.as_array().cloned().unwrap_or_else(|| vec![channel.clone()]);
            found.extend(all.iter().map(|c| c["field"].as_str().unwrap().to_owned()));
        }
        found
    }

    #[test]
    fn every_layer_draws_a_known_mark_from_fields_that_its_rows_have() {
        let marks = ["area", "bar", "line", "point", "rect", "rule", "tick", "text"];
        for spec in specs() {
            assert_eq!(spec["$schema"], SCHEMA);
            for layer in layers(&spec) {
                let mark = layer["mark"]["type"].as_str().unwrap();
                assert!(marks.contains(&mark), "{mark}");
                let own = layer["data"]["values"].as_array();
                let rows = own.or(spec["data"]["values"].as_array()).unwrap();
                let known: BTreeSet<String> =
                    rows.iter().flat_map(|row| row.as_object().unwrap().keys().cloned()).collect();
                let read = fields(&layer["encoding"]);
                assert!(read.is_subset(&known), "{mark} reads {read:?} of {known:?}");
            }
        }
    }

    #[test]
    fn each_channel_with_a_scale_says_what_kind_of_number_it_reads() {
        for spec in specs() {
            for layer in layers(&spec) {
                for name in ["x", "y", "color"] {
                    let channel = &layer["encoding"][name];
                    let kind = channel["type"].as_str();
                    assert!(
                        channel.is_null()
                            || kind == Some("quantitative")
                            || kind == Some("nominal"),
                        "{name}: {channel}"
                    );
                }
            }
        }
    }
}
