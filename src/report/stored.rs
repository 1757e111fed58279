//! A report read back from `report.json`, so that it can be drawn again without running anything.
//!
//! What was judged and said then stays as it was; tables, sentences and charts are made anew from
//! the records, which stand beside it in `records.jsonl`.

use serde_json::Value as Json;

use crate::record::claims::{Evidence, Level, Outcome, Verdict};
use crate::record::{Metric, Record};

use super::kept::{Change, ChangeOutcome, Kept};
use super::{BottomLine, Provenance, Report, Tone};

/// Reads `report.json`. The report has no sections yet. `metric_named` finds the metric of a
/// claim's evidence.
///
/// # Errors
/// With what is wrong: the end of a sentence that begins with the file.
pub fn report(
    text: &str,
    metric_named: &dyn Fn(&str) -> Option<&'static Metric>,
) -> Result<Report, String> {
    let file: Json = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    if file["schema"] != super::render::JSON_SCHEMA {
        return Err(format!(
            "has schema {}, expected {}",
            file["schema"],
            super::render::JSON_SCHEMA
        ));
    }
    read(&file, metric_named).ok_or_else(|| "is not as stormglass writes it".to_owned())
}

/// Reads `records.jsonl`: a record a line.
///
/// # Errors
/// With the line and what is wrong with it: the end of a sentence that begins with the file.
pub fn records(
    text: &str,
    metric_named: crate::record::MetricNamed<'_>,
) -> Result<Vec<Record>, String> {
    let record = |(index, line): (usize, &str)| {
        let at =
            |why: String| format!("has a record that cannot be read, line {}: {why}", index + 1);
        let json: Json = serde_json::from_str(line).map_err(|error| at(error.to_string()))?;
        Record::from_json(&json, metric_named).map_err(at)
    };
    text.lines().enumerate().map(record).collect()
}

fn text(json: &Json) -> Option<String> {
    json.as_str().map(str::to_owned)
}

fn texts(json: &Json) -> Option<Vec<String>> {
    json.as_array()?.iter().map(text).collect()
}

fn read(file: &Json, metric_named: &dyn Fn(&str) -> Option<&'static Metric>) -> Option<Report> {
    let from = &file["provenance"];
    let reference = |pair: &Json| Some((text(&pair[0])?, text(&pair[1])?));
    Some(Report {
        title: text(&file["title"])?,
        question: text(&file["question"])?,
        bottom_line: BottomLine {
            tone: match file["bottom_line"]["tone"].as_str()? {
                "good" => Tone::Good,
                "warning" => Tone::Warning,
                "bad" => Tone::Bad,
                "unknown" => Tone::Unknown,
                _ => return None,
            },
            text: text(&file["bottom_line"]["text"])?,
        },
        notes: texts(&file["notes"])?,
        verdicts: (file["claims"].as_array()?.iter())
            .map(|claim| verdict(claim, metric_named))
            .collect::<Option<_>>()?,
        kept: match &file["baseline"] {
            Json::Null => None,
            baseline => Some(kept(baseline)?),
        },
        sections: Vec::new(),
        provenance: Provenance {
            command: text(&from["command"])?,
            version: text(&from["version"])?,
            semantics: u32::try_from(from["semantics"].as_u64()?).ok()?,
            scenario: text(&from["scenario"])?,
            scenario_sha256: text(&from["scenario_sha256"])?,
            seeds: text(&from["seeds"])?,
            alterations: texts(&from["alterations"])?,
            references: from["references"]
                .as_array()?
                .iter()
                .map(reference)
                .collect::<Option<_>>()?,
        },
    })
}

fn verdict(
    claim: &Json,
    metric_named: &dyn Fn(&str) -> Option<&'static Metric>,
) -> Option<Verdict> {
    let evidence = |item: &Json| {
        let name = text(&item["metric"])?;
        Some(Evidence {
            metric: metric_named(name.split('.').next()?)?,
            name,
            variant: text(&item["variant"])?,
            at: text(&item["at"])?,
            value: match &item["value"] {
                Json::String(word) => word.parse().ok()?,
                number => number.as_f64()?,
            },
            seed: item["seed"].as_u64(),
            seed_count: u32::try_from(item["seed_count"].as_u64()?).ok()?,
            holds: item["holds"].as_bool()?,
        })
    };
    Some(Verdict {
        claim: text(&claim["claim"])?,
        level: match claim["level"].as_str()? {
            "error" => Level::Error,
            "warn" => Level::Warn,
            _ => return None,
        },
        outcome: match claim["outcome"].as_str()? {
            "passed" => Outcome::Passed,
            "failed" => Outcome::Failed,
            "unknown" => Outcome::Unknown,
            _ => return None,
        },
        bound: text(&claim["bound"])?,
        why: text(&claim["why"])?,
        evidence: claim["evidence"].as_array()?.iter().map(evidence).collect::<Option<_>>()?,
        unknown_because: text(&claim["unknown_because"])?,
    })
}

fn kept(baseline: &Json) -> Option<Kept> {
    let change = |json: &Json| {
        let word = json["outcome"].as_str()?;
        let outcome = [ChangeOutcome::Failed, ChangeOutcome::Better, ChangeOutcome::New]
            .into_iter()
            .find(|outcome| outcome.word() == word)?;
        Some(Change {
            outcome,
            figure: text(&json["figure"])?,
            text: text(&json["text"])?,
            command: text(&json["command"])?,
            line: u32::try_from(json["line"].as_u64()?).ok()?,
        })
    };
    Some(Kept {
        sentence: text(&baseline["sentence"])?,
        changes: baseline["changes"].as_array()?.iter().map(change).collect::<Option<_>>()?,
        held: usize::try_from(baseline["held"].as_u64()?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::summary;
    use crate::report::render::{self, Export};
    use crate::report::sample;

    #[test]
    fn a_report_reads_back_as_it_was_but_for_what_is_drawn() {
        let records = sample::records(3);
        let mut written = sample::report_of(&records, sample::verdicts());
        written.provenance.references.push(("rings".into(), "modulo".into()));
        written.hold_against(Kept {
            sentence: "1 of 2 figures moved from the baseline".into(),
            changes: vec![Change {
                outcome: ChangeOutcome::Better,
                figure: "rings ring: key_remap at add".into(),
                text: "9 % before, 8 % now".into(),
                command: "stormglass run x.toml".into(),
                line: 3,
            }],
            held: 1,
        });
        let summaries = summary::of(&records);
        let bytes = render::export(Export::Json, &written, &records, &summaries).unwrap();
        let metric = |name: &str| {
            let all = summaries.iter().map(|summary| summary.metric);
            all.into_iter().find(|metric| metric.name == name)
        };
        let read = report(&String::from_utf8(bytes).unwrap(), &metric).unwrap();
        written.sections.clear();
        assert_eq!(read, written);
    }

    #[test]
    fn what_is_no_report_is_refused_with_a_reason() {
        let metric = |_: &str| None;
        for (text, why) in [
            ("", "is not JSON"),
            ("{}", "has schema null, expected 1"),
            ("{\"schema\": 1}", "is not as stormglass writes it"),
        ] {
            let told = report(text, &metric).unwrap_err();
            assert!(told.starts_with(why), "{told}");
        }
        let told = records("{\n", &|_, _| None).unwrap_err();
        assert!(told.contains("line 1"), "{told}");
    }
}
