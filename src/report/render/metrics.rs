//! Numbers for tools that watch them over time: OpenMetrics, and the two files of
//! github-action-benchmark.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::csv::number;
use super::text::clean;
use crate::record::summary::Summary;
use crate::record::{Better, Unit};

/// OpenMetrics text (its specification, 1.0): a gauge for each metric, with the mean over the seeds
/// and the ends of its 95 % interval. Of several `scenarios`, their names and summaries.
pub fn openmetrics(scenarios: &[(&str, &[Summary])]) -> String {
    let mut families: Vec<(String, &'static crate::record::Metric, Vec<String>)> = Vec::new();
    for (scenario, summary) in scenarios.iter().flat_map(|(s, all)| all.iter().map(move |x| (s, x)))
    {
        let (suffix, divisor) = base(summary.metric.unit);
        let name = format!("stormglass_{}{suffix}", summary.metric.name.replace('.', "_"));
        let mut labels = vec![
            ("scenario", (*scenario).to_owned()),
            ("subject", summary.subject.name().to_owned()),
            ("variant", summary.label()),
        ];
        for (label, value) in
            [("at", summary.at.as_str()), ("statistic", summary.statistic.title())]
        {
            if !value.is_empty() {
                labels.push((label, value.to_owned()));
            }
        }
        let index = match families.iter().position(|(known, ..)| *known == name) {
            Some(index) => index,
            None => {
                families.push((name.clone(), summary.metric, Vec::new()));
                families.len() - 1
            }
        };
        let estimate = summary.estimate;
        for (which, value) in
            [("mean", estimate.mean), ("low_95", estimate.low), ("high_95", estimate.high)]
        {
            let mut all: Vec<String> = labels
                .iter()
                .map(|(label, value)| format!("{label}=\"{}\"", label_value(value)))
                .collect();
            all.push(format!("estimate=\"{which}\""));
            let value = match value / divisor {
                value if value.is_nan() => "NaN".to_owned(),
                value if value.is_infinite() => {
                    if 0.0 < value {
                        "+Inf".to_owned()
                    } else {
                        "-Inf".to_owned()
                    }
                }
                value => number(value),
            };
            families[index].2.push(format!("{name}{{{}}} {value}", all.join(",")));
        }
    }
    let mut text = String::new();
    for (name, metric, lines) in families {
        let _ = writeln!(text, "# TYPE {name} gauge");
        if let Some(unit) = base(metric.unit).0.strip_prefix('_') {
            let _ = writeln!(text, "# UNIT {name} {unit}");
        }
        let _ = writeln!(text, "# HELP {name} {}", label_value(metric.definition));
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text.push_str("# EOF\n");
    text
}

/// The base unit that OpenMetrics asks for, as the end of a name, and by what to divide.
const fn base(unit: Unit) -> (&'static str, f64) {
    match unit {
        Unit::Count => ("", 1.0),
        Unit::Ratio | Unit::Share => ("_ratio", 1.0),
        Unit::Bytes => ("_bytes", 1.0),
        Unit::Nanoseconds => ("_seconds", 1e9),
        Unit::PerSecond => ("_per_second", 1.0),
    }
}

fn label_value(text: &str) -> String {
    clean(text).replace('\\', "\\\\").replace('"', "\\\"")
}

/// What github-action-benchmark takes as `customBiggerIsBetter` or `customSmallerIsBetter`: the
/// means of all metrics of which `better` is better.
pub fn benchmark(scenarios: &[(&str, &[Summary])], better: Better) -> String {
    let rows: Vec<String> = scenarios
        .iter()
        .flat_map(|(scenario, all)| all.iter().map(move |summary| (scenario, summary)))
        .filter(|(_, summary)| summary.metric.better == better && summary.estimate.mean.is_finite())
        .map(|(scenario, summary)| row(scenario, summary).to_string())
        .collect();
    format!("[\n{}\n]\n", rows.join(",\n"))
}

fn row(scenario: &str, summary: &Summary) -> Json {
    let estimate = summary.estimate;
    let at = if summary.at.is_empty() { String::new() } else { format!(" at {}", summary.at) };
    let name = format!(
        "{scenario}: {} {} {}{at}",
        summary.subject.name(),
        summary.label(),
        summary.name()
    );
    let half_width = (estimate.high - estimate.low) / 2.0;
    json!({
        "name": clean(&name),
        "unit": summary.metric.unit.name(),
        "value": estimate.mean,
        "range": if estimate.exact { "exact".to_owned() } else { format!("± {}", number(half_width)) },
        "extra": format!("{} seeds; {}", estimate.n, summary.metric.definition),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::summary;
    use crate::report::sample;

    #[test]
    fn openmetrics_has_its_families_together_and_its_end() {
        let summaries = summary::of(&sample::records(3));
        let text = openmetrics(&[("quick\"start", &summaries)]);
        assert!(text.ends_with("# EOF\n"));
        let mut seen = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, rest) = line.split_once('{').unwrap();
            let value = rest.rsplit_once("} ").unwrap().1;
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(rest.contains("scenario=\"quick\\\"start\""), "{line}");
            if seen.last().map(String::as_str) != Some(name) {
                assert!(!seen.iter().any(|known| known == name), "{name} comes twice");
                seen.push(name.to_owned());
                assert!(text.contains(&format!("# TYPE {name} gauge\n")), "{name}");
            }
        }
        assert!(3 < seen.len(), "{seen:?}");
        assert!(seen.iter().any(|name| name.ends_with("_seconds")), "{seen:?}");
    }

    #[test]
    fn every_metric_with_a_better_side_is_in_one_benchmark_file() {
        let summaries = summary::of(&sample::records(3));
        let of = |better| {
            let text = benchmark(&[("x", &summaries)], better);
            let rows: Vec<Json> = serde_json::from_str(&text).unwrap();
            for row in &rows {
                assert!(
                    row["name"].is_string() && row["value"].is_number() && row["unit"].is_string()
                );
            }
            rows.len()
        };
        let judged = summaries.iter().filter(|s| s.metric.better != Better::Neither).count();
        assert_eq!(of(Better::Higher) + of(Better::Lower), judged);
    }
}
