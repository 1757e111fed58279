//! Drawing a report: pure functions from a [`Report`] to bytes. Nothing here touches a file.
//!
//! Every renderer escapes for its own format, whatever the report's maker has done: names and
//! free text come from a file that someone else may have written.

#[cfg(feature = "charts")]
mod chart;
mod csv;
mod gate;
mod hgrm;
mod html;
mod json;
mod markdown;
mod metrics;
mod terminal;
mod text;
mod trace;
mod vega;

use std::fmt;

use super::quantity::{Scale, show};
use super::{Block, Cell, Chart, Mark, Report, Sheet, Table, Tone};
use crate::record::Record;
use crate::record::claims::{Evidence, Outcome, Verdict};
use crate::record::statistics::Estimate;
use crate::record::summary::{self, Summary};

pub(super) use json::SCHEMA as JSON_SCHEMA;

pub use gate::{Judged, annotations, junit, summary as step_summary};
pub use metrics::{benchmark, openmetrics};
pub use terminal::{Screen, terminal};
pub use trace::trace;

/// `sheet` as a page that needs nothing else.
///
/// # Errors
/// Where a chart could not be drawn.
pub fn sheet_as_html(sheet: &Sheet) -> Result<String, RenderError> {
    html::sheet(sheet)
}

/// `chart` as an SVG document.
///
/// # Errors
/// Where it could not be drawn, or the program was built without charts.
pub fn chart_as_svg(chart: &Chart) -> Result<String, RenderError> {
    #[cfg(feature = "charts")]
    return chart::svg(chart);
    #[cfg(not(feature = "charts"))]
    Err(RenderError(format!("{}: built without the feature `charts`", chart.name)))
}

/// `sheet` as Markdown.
pub fn sheet_as_markdown(sheet: &Sheet) -> String {
    markdown::sheet(sheet)
}

/// `sheet` for a terminal.
pub fn sheet_as_text(sheet: &Sheet, screen: Screen) -> String {
    terminal::sheet(sheet, screen)
}

/// `rows`, the first of which is the head, as CSV.
///
/// # Errors
/// Where they do not all have the same length.
pub fn rows_as_csv(rows: &[Vec<String>]) -> Result<String, RenderError> {
    csv::rows(rows)
}

/// One file of a rendered report.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Artefact {
    /// Relative to the folder of the report, with forward slashes; made of small letters, digits,
    /// `.`, `-` and `/` alone, whatever the scenario names its variants.
    pub path: String,
    /// The content.
    pub bytes: Vec<u8>,
}

/// Why a report could not be drawn: always a fault of the drawing, never of the data.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenderError(pub String);

impl fmt::Display for RenderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RenderError {}

/// All files of a report, in the order in which they should be written.
///
/// # Errors
/// Where a chart could not be drawn.
pub fn files(
    report: &Report,
    records: &[Record],
    summaries: &[Summary],
) -> Result<Vec<Artefact>, RenderError> {
    let mut files = vec![
        html::report(report)?,
        csv::records(records)?,
        json::report(report, records, summaries),
        markdown::report(report),
    ];
    files.push(lines(records));
    files.extend(csv::charts(report)?);
    files.extend(vega::charts(report));
    files.extend(hgrm::files(&summary::groups(records)));
    #[cfg(feature = "charts")]
    for chart in charts(report) {
        let svg = chart::svg(chart)?;
        #[cfg(feature = "png")]
        files.push(Artefact {
            path: format!("charts/{}.png", chart.name),
            bytes: chart::png(&svg)?,
        });
        let path = format!("charts/{}.svg", chart.name);
        files.push(Artefact { path, bytes: svg.into_bytes() });
    }
    Ok(files)
}

/// `records.jsonl`: every record whole, one a line, for `stormglass report`.
fn lines(records: &[Record]) -> Artefact {
    let lines: String = records.iter().map(|record| format!("{}\n", record.to_json())).collect();
    Artefact { path: "records.jsonl".into(), bytes: lines.into_bytes() }
}

/// A form in which `--export-*` writes a report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Export {
    /// `report.json`.
    Json,
    /// `records.csv`.
    Csv,
    /// `report.md`.
    Markdown,
    /// OpenMetrics text.
    OpenMetrics,
    /// Latencies by percentile, as HdrHistogram has them.
    Hgrm,
}

/// `report` in one form.
///
/// # Errors
/// Where it could not be drawn.
pub fn export(
    form: Export,
    report: &Report,
    records: &[Record],
    summaries: &[Summary],
) -> Result<Vec<u8>, RenderError> {
    Ok(match form {
        Export::Json => json::report(report, records, summaries).bytes,
        Export::Csv => csv::records(records)?.bytes,
        Export::Markdown => markdown::report(report).bytes,
        Export::OpenMetrics => openmetrics(&[(&report.title, summaries)]).into_bytes(),
        Export::Hgrm => hgrm::together(&summary::groups(records)).into_bytes(),
    })
}

/// The charts of a report, in its order.
fn charts(report: &Report) -> impl Iterator<Item = &Chart> {
    let blocks = report.sections.iter().flat_map(|section| &section.blocks);
    blocks.filter_map(|block| match block {
        Block::Chart(chart) => Some(chart),
        Block::Table(_) | Block::Lines { .. } => None,
    })
}

/// A table as text, ready to be escaped and aligned.
struct Grid {
    head: Vec<String>,
    rows: Vec<Vec<Shown>>,
}

/// A cell as text.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Shown {
    /// A word or the mean.
    text: String,
    /// `±0.02`; may be empty.
    spread: String,
    /// `*`, `=` or nothing.
    mark: &'static str,
    is_number: bool,
    /// How bad it is, for an outcome.
    tone: Option<Tone>,
}

/// What the signs in a table mean.
const LEGEND: &str =
    "± half of a 95 % interval; without ±: the same in every seed; * best; = level with the best";

/// Formats the numbers of `table`, a column at a time.
fn lay_out(table: &Table) -> Grid {
    let mut head = Vec::new();
    let mut rows: Vec<Vec<Shown>> = vec![Vec::new(); table.rows.len()];
    for (index, column) in table.columns.iter().enumerate() {
        let estimates: Vec<Estimate> = table
            .rows
            .iter()
            .filter_map(|row| match row.get(index) {
                Some(Cell::Estimate(estimate, _)) => Some(*estimate),
                Some(Cell::Text(_) | Cell::Outcome(..) | Cell::Empty) | None => None,
            })
            .collect();
        let scale = column.unit.map(|unit| Scale::of_estimates(unit, &estimates));
        head.push(match scale {
            Some(scale) if !scale.suffix.is_empty() => {
                format!("{} ({})", column.title, scale.suffix)
            }
            _ => column.title.clone(),
        });
        for (row, shown) in table.rows.iter().zip(&mut rows) {
            shown.push(show_cell(row.get(index), scale));
        }
    }
    Grid { head, rows }
}

fn show_cell(cell: Option<&Cell>, scale: Option<Scale>) -> Shown {
    match (cell, scale) {
        (Some(Cell::Estimate(estimate, mark)), Some(scale)) => Shown {
            text: scale.show(estimate.mean),
            spread: scale.show_spread(estimate),
            mark: match mark {
                Mark::None => "",
                Mark::Best => "*",
                Mark::Tied => "=",
            },
            is_number: true,
            tone: None,
        },
        (Some(Cell::Outcome(text, tone)), _) => {
            Shown { text: text.clone(), tone: Some(*tone), ..Shown::default() }
        }
        (Some(Cell::Text(text)), _) => Shown { text: text.clone(), ..Shown::default() },
        (Some(Cell::Empty | Cell::Estimate(..)) | None, scale) => {
            Shown { text: "–".to_owned(), is_number: scale.is_some(), ..Shown::default() }
        }
    }
}

/// The word for what became of a claim.
fn word(verdict: &Verdict) -> &'static str {
    match verdict.outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Unknown => "unknown",
    }
}

/// What a verdict rests on, a line each: the numbers that decided it, those that break the claim
/// first.
fn reasons(verdict: &Verdict) -> Vec<String> {
    const SHOWN_MAX: usize = 3;
    if verdict.outcome == Outcome::Unknown {
        return vec![verdict.unknown_because.clone()];
    }
    let against = verdict.outcome == Outcome::Failed;
    let deciding: Vec<&Evidence> =
        verdict.evidence.iter().filter(|item| item.holds != against).collect();
    let mut lines: Vec<String> =
        deciding.iter().take(SHOWN_MAX).map(|item| reason(item, &verdict.bound)).collect();
    if SHOWN_MAX < deciding.len() {
        lines.push(format!("and {} more", deciding.len() - SHOWN_MAX));
    }
    lines
}

fn reason(item: &Evidence, bound: &str) -> String {
    let value = show(item.metric.unit, item.value);
    let at = if item.at.is_empty() { String::new() } else { format!(" at {}", item.at) };
    let whose = match (item.seed, item.seed_count) {
        (Some(seed), _) => format!("seed {seed}"),
        (None, 1) => "one seed".to_owned(),
        (None, count) => format!("mean of {count} seeds"),
    };
    format!("{}: {}{at} is {value} ({whose}), claimed {bound}", item.variant, item.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn all_files(records: &[Record]) -> Vec<Artefact> {
        let report = sample::report_of(records, sample::verdicts());
        files(&report, records, &summary::of(records)).unwrap()
    }

    /// Records whose names a renderer must not trust.
    fn hostile() -> Vec<Record> {
        let name = "<script>alert(1)</script>|`x`\u{1b}[2J\u{0}\u{202e}\"'&";
        let mut records = sample::records(3);
        for record in &mut records {
            record.variant = name.into();
            record.findings.push(format!("=cmd {name}"));
            record.measures.iter_mut().for_each(|item| item.at = name.into());
            record.faults.iter_mut().for_each(|fault| fault.label = name.into());
        }
        records
    }

    #[test]
    fn the_same_records_give_the_same_bytes() {
        assert_eq!(all_files(&sample::records(3)), all_files(&sample::records(3)));
    }

    #[test]
    fn paths_are_plain_whatever_the_names() {
        for file in all_files(&hostile()) {
            let is_plain =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "./-".contains(c);
            assert!(file.path.chars().all(is_plain), "{}", file.path);
            assert!(!file.path.contains(".."), "{}", file.path);
        }
    }

    #[test]
    fn no_file_has_a_control_character_or_an_open_tag_from_a_name() {
        for file in all_files(&hostile()) {
            if file.path.ends_with(".png") {
                continue;
            }
            let text = String::from_utf8(file.bytes).unwrap();
            let foreign = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(foreign, None, "{}", file.path);
            let is_data =
                [".json", ".jsonl", ".csv", ".hgrm"].iter().any(|end| file.path.ends_with(end));
            if !is_data {
                assert!(!text.contains("<script"), "{}", file.path);
            }
        }
    }

    #[test]
    fn the_json_report_is_json_with_every_record() {
        let records = sample::records(2);
        let files = all_files(&records);
        let json = files.iter().find(|file| file.path == "report.json").unwrap();
        let read: serde_json::Value = serde_json::from_slice(&json.bytes).unwrap();
        assert_eq!(read["schema"], 1);
        assert_eq!(read["records"].as_array().unwrap().len(), records.len());
        assert_eq!(read["bottom_line"]["tone"], "bad");
    }

    /// Also on other machines: coordinates come from `libm` and are rounded to whole units.
    #[cfg(feature = "charts")]
    #[test]
    fn pictures_are_the_same_everywhere() {
        let files = all_files(&sample::records(3));
        for name in ["rings-moved", "rings-moved-handover", "locks-lanes", "queues-latency"] {
            let path = format!("charts/{name}.svg");
            let file = files.iter().find(|file| file.path == path).unwrap();
            insta::assert_snapshot!(name, String::from_utf8(file.bytes.clone()).unwrap());
        }
    }

    #[cfg(feature = "png")]
    #[test]
    fn beside_each_picture_stands_one_of_pixels_twice_its_size() {
        let files = all_files(&sample::records(3));
        let pngs: Vec<&Artefact> = files.iter().filter(|f| f.path.ends_with(".png")).collect();
        assert_eq!(pngs.len(), files.iter().filter(|file| file.path.ends_with(".svg")).count());
        for png in pngs {
            assert!(png.bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{}", png.path);
            let width = u32::from_be_bytes(png.bytes[16..20].try_into().unwrap());
            assert_eq!(width, 2 * 760, "{}", png.path);
            assert!(png.bytes.len() < 200_000, "{}: {}", png.path, png.bytes.len());
        }
    }

    #[test]
    fn infinite_numbers_survive_every_format() {
        let mut records = sample::records(2);
        records[0].measures[0].value = f64::INFINITY;
        let files = all_files(&records);
        let text = |path: &str| {
            let file = files.iter().find(|file| file.path == path).unwrap();
            String::from_utf8(file.bytes.clone()).unwrap()
        };
        assert!(text("records.csv").contains("load_skew,,inf,ratio"));
        assert!(text("report.json").contains("[\"load_skew\",\"\",\"inf\"]"));
        assert!(text("report.md").contains("| modulo | ∞ ±∞ |"));
    }
}
