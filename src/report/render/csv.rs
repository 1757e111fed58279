//! Numbers for other tools: `records.csv` with every number of every run, and a file beside each
//! chart with what it draws. The one address of the `csv` crate for results.

use super::text::clean;
use super::{Artefact, RenderError};
use crate::record::summary::{Statistic, name_of};
use crate::record::{Ending, Record, Unit};
use crate::report::{Chart, Plot, Report};

/// `records.csv`: one row a run, number and place, in full precision and in the base unit.
pub(super) fn records(records: &[Record]) -> Result<Artefact, RenderError> {
    let mut sheet = Sheet::new(&[
        "subject", "variant", "point", "seed", "ending", "metric", "at", "value", "unit",
    ])?;
    for record in records {
        let point: Vec<String> =
            record.point.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let ending = match record.ending {
            Ending::Complete => "complete",
            Ending::Incomplete(_) => "incomplete",
        };
        let mut row = |name: String, at: &str, value: f64, unit: Unit| {
            sheet.row(&[
                record.subject.name(),
                &text(&record.variant),
                &text(&point.join(" ")),
                &record.seed.0.to_string(),
                ending,
                &name,
                &text(at),
                &number(value),
                unit.name(),
            ])
        };
        for measure in &record.measures {
            row(measure.metric.name.into(), &measure.at, measure.value, measure.metric.unit)?;
        }
        for sample in &record.samples {
            for statistic in Statistic::OF_SAMPLES {
                if let Some(value) = statistic.of(&sample.distribution) {
                    let name = name_of(sample.metric, statistic);
                    row(name, &sample.at, value, sample.metric.unit)?;
                }
            }
            let count = sample.distribution.count() as f64;
            row(format!("{}.count", sample.metric.name), &sample.at, count, Unit::Count)?;
        }
    }
    sheet.finish("records.csv")
}

/// The numbers of each chart.
pub(super) fn charts(report: &Report) -> Result<Vec<Artefact>, RenderError> {
    super::charts(report).map(numbers).collect()
}

fn numbers(chart: &Chart) -> Result<Artefact, RenderError> {
    let unit = chart.y_unit.name();
    let mut sheet;
    match &chart.plot {
        Plot::Lines { x, series, .. } => {
            sheet = Sheet::new(&["series", &text(x.name()), "mean", "least", "most", "unit"])?;
            for line in series {
                for point in &line.points {
                    let [x, y, low, high] = [point.x, point.y, point.low, point.high].map(number);
                    sheet.row(&[&text(&line.name), &x, &y, &low, &high, unit])?;
                }
            }
        }
        Plot::Bars { groups, series, floor } => {
            sheet = Sheet::new(&["series", "event", "mean", "low_95", "high_95", "floor", "unit"])?;
            for (row, line) in series.iter().enumerate() {
                for (column, (group, bar)) in groups.iter().zip(&line.bars).enumerate() {
                    let Some(bar) = bar else { continue };
                    let floor = floor.as_ref().and_then(|(_, all)| *all.get(row)?.get(column)?);
                    let [mean, low, high] = [bar.mean, bar.low, bar.high].map(number);
                    let floor = floor.map(number).unwrap_or_default();
                    sheet.row(&[
                        &text(&line.name),
                        &text(group),
                        &mean,
                        &low,
                        &high,
                        &floor,
                        unit,
                    ])?;
                }
            }
        }
        Plot::Grids(grids) => {
            sheet = Sheet::new(&["series", "from", "to", "mean", "unit"])?;
            for grid in grids {
                for (from, amounts) in grid.names.iter().zip(&grid.amounts) {
                    for (to, amount) in grid.names.iter().zip(amounts) {
                        let names = [&grid.name, from, to].map(|name| text(name));
                        let [series, from, to] = names.each_ref().map(String::as_str);
                        sheet.row(&[series, from, to, &number(*amount), unit])?;
                    }
                }
            }
        }
        Plot::Board { columns, rows } => {
            sheet = Sheet::new(&["row", "column", "outcome"])?;
            for row in rows {
                for (column, cell) in columns.iter().zip(&row.cells) {
                    let Some((outcome, _)) = cell else { continue };
                    sheet.row(&[&text(&row.name), &text(column), &text(outcome)])?;
                }
            }
        }
        Plot::Lanes { lanes, .. } => {
            sheet = Sheet::new(&["lane", "kind", "label", "from_ns", "until_ns"])?;
            for span in lanes.iter().flat_map(|lane| &lane.spans) {
                let [from, until] = [span.from, span.until].map(|at| at.as_ns().to_string());
                let (lane, label) = (text(&span.lane), text(&span.label));
                sheet.row(&[&lane, span.kind.name(), &label, &from, &until])?;
            }
        }
    }
    sheet.finish(&format!("charts/{}.csv", chart.name))
}

/// `rows`, the first of which is the head.
pub(super) fn rows(rows: &[Vec<String>]) -> Result<String, RenderError> {
    let mut sheet = Sheet { writer: csv::Writer::from_writer(Vec::new()) };
    for row in rows {
        sheet.row(&row.iter().map(String::as_str).collect::<Vec<_>>())?;
    }
    let bytes = sheet.finish("")?.bytes;
    String::from_utf8(bytes).map_err(|error| RenderError(error.to_string()))
}

struct Sheet {
    writer: csv::Writer<Vec<u8>>,
}

impl Sheet {
    fn new(head: &[&str]) -> Result<Self, RenderError> {
        let mut sheet = Self { writer: csv::Writer::from_writer(Vec::new()) };
        sheet.row(head)?;
        Ok(sheet)
    }

    fn row(&mut self, cells: &[&str]) -> Result<(), RenderError> {
        self.writer.write_record(cells).map_err(|error| RenderError(error.to_string()))
    }

    fn finish(self, path: &str) -> Result<Artefact, RenderError> {
        let bytes = self.writer.into_inner().map_err(|error| RenderError(error.to_string()))?;
        Ok(Artefact { path: path.to_owned(), bytes })
    }
}

/// Text that no spreadsheet takes for a formula.
fn text(text: &str) -> String {
    let cleaned = clean(text);
    let is_formula = cleaned.starts_with(['=', '+', '-', '@']);
    if is_formula { format!("'{cleaned}") } else { cleaned }
}

/// The shortest decimal that reads back as the same number.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-5..1e16).contains(&size) || !value.is_finite() {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_back_exactly() {
        for value in [0.1 + 0.2, 1e-300, 1e300, -7.0, 0.0, f64::INFINITY, 123_456_789.123] {
            let shown = number(value);
            assert_eq!(shown.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{shown}");
            assert!(shown.len() < 25, "{shown}");
        }
    }

    #[test]
    fn no_text_is_a_formula() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)"] {
            assert_eq!(text(formula), format!("'{formula}"));
        }
        assert_eq!(text("leave n3"), "leave n3");
    }
}
