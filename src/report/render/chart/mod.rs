//! Charts as SVG. The one address of the `plotters` crate.
//!
//! One look for all: the finding as title, then a line with the unit, the seeds and what bands and
//! whiskers mean; horizontal grid lines only; names at the ends of lines instead of a legend that
//! covers data; a dash and a marker besides each colour, so that grey paper loses nothing.

mod axis;
mod bars;
mod board;
mod canvas;
mod grids;
mod lanes;
mod lines;
#[cfg(feature = "png")]
mod png;

#[cfg(feature = "png")]
pub(super) use png::png;

use axis::Axis;
use canvas::{Anchor, Canvas, GRID_LINE, INK, MUTED, Place, fit_lines, width};

use super::RenderError;
use crate::report::{Chart, Plot};

/// The width of every chart, in pixels.
const WIDTH: f64 = 760.0;
const PLOT_HEIGHT: f64 = 270.0;
const TITLE_SIZE: f64 = 17.0;
const TITLE_LINE: f64 = 22.0;
const SMALL_SIZE: f64 = 12.5;
const SMALL_LINE: f64 = 16.0;
const LABEL_SIZE: f64 = 13.0;
const MARGIN: f64 = 12.0;

/// `chart` as an SVG document without the XML declaration, so that it can stand in a page. The
/// same chart gives the same bytes.
pub(super) fn svg(chart: &Chart) -> Result<String, RenderError> {
    canvas::load_font()?;
    let head = Head::of(chart)?;
    let mut svg = String::new();
    let size = match &chart.plot {
        Plot::Lines { x, series, reference, faults } => {
            let lines = lines::Lines { chart, x, series, reference: reference.as_ref(), faults };
            lines.draw(&mut svg, &head)?
        }
        Plot::Bars { groups, series, floor } => {
            let bars = bars::Bars { chart, groups, series, floor: floor.as_ref() };
            bars.draw(&mut svg, &head)?
        }
        Plot::Grids(grids) => grids::Grids { chart, grids }.draw(&mut svg, &head)?,
        Plot::Board { columns, rows } => board::Board { columns, rows }.draw(&mut svg, &head)?,
        Plot::Lanes { lanes, faults } => lanes::Lanes { lanes, faults }.draw(&mut svg, &head)?,
    };
    Ok(canvas::finished(&svg, size, &chart.name, &chart.title, &chart.description))
}

/// `svg` with a variable of the page for each colour, so that it follows the page's theme.
pub(super) fn themed(svg: &str) -> String {
    let mut themed = svg.to_owned();
    for colour in canvas::theme() {
        let (hex, variable) = (colour.hex(), colour.variable);
        // No text can hold this: quotes in text are escaped.
        themed = themed.replace(&format!("=\"{hex}\""), &format!("=\"var(--{variable},{hex})\""));
    }
    themed
}

/// The lines above a plot.
struct Head {
    title: Vec<String>,
    subtitle: Vec<String>,
}

impl Head {
    fn of(chart: &Chart) -> Result<Self, RenderError> {
        let room = WIDTH - 2.0 * MARGIN;
        Ok(Self {
            title: fit_lines(&chart.title, TITLE_SIZE, room, 2)?,
            // That of a board says what its letters mean.
            subtitle: fit_lines(
                &chart.subtitle,
                SMALL_SIZE,
                room,
                if matches!(chart.plot, Plot::Board { .. }) { 8 } else { 2 },
            )?,
        })
    }

    /// Where the plot may begin.
    fn bottom(&self) -> f64 {
        MARGIN
            + TITLE_LINE * self.title.len() as f64
            + SMALL_LINE * self.subtitle.len() as f64
            + 8.0
    }

    fn draw(&self, canvas: &Canvas<'_>) -> Result<(), RenderError> {
        let mut y = MARGIN;
        for line in &self.title {
            canvas.text(line, (MARGIN, y + TITLE_LINE / 2.0), Anchor::Left, TITLE_SIZE, INK)?;
            y += TITLE_LINE;
        }
        for line in &self.subtitle {
            canvas.text(line, (MARGIN, y + SMALL_LINE / 2.0), Anchor::Left, SMALL_SIZE, MUTED)?;
            y += SMALL_LINE;
        }
        Ok(())
    }
}

/// Where the plot stands on the paper.
#[derive(Clone, Copy)]
struct Frame {
    left: f64,
    right: f64,
    top: f64,
    bottom: f64,
}

impl Frame {
    /// The frame below `top` with room for the labels of `y` on its left and `right_room` on its
    /// right.
    fn below(top: f64, y: &Axis, right_room: f64) -> Result<Self, RenderError> {
        let mut label_width: f64 = 0.0;
        for (_, label) in &y.ticks {
            label_width = label_width.max(width(label, SMALL_SIZE)?);
        }
        Ok(Self {
            left: MARGIN + label_width + 8.0,
            right: WIDTH - MARGIN - right_room,
            top,
            bottom: top + PLOT_HEIGHT,
        })
    }

    fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + axis.place(value) * (self.right - self.left)
    }

    fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - axis.place(value) * (self.bottom - self.top)
    }

    /// The grid, and the numbers beside it.
    fn draw_y(&self, canvas: &Canvas<'_>, axis: &Axis) -> Result<(), RenderError> {
        for (at, label) in &axis.ticks {
            let y = self.y(axis, *at);
            canvas.line(&[(self.left, y), (self.right, y)], GRID_LINE, 1.0)?;
            canvas.text(label, (self.left - 8.0, y), Anchor::Right, SMALL_SIZE, MUTED)?;
        }
        Ok(())
    }

    /// The line below the plot, its ticks and what it is.
    fn draw_x(&self, canvas: &Canvas<'_>, axis: &Axis, title: &str) -> Result<(), RenderError> {
        let bottom = self.bottom;
        canvas.line(&[(self.left, bottom), (self.right, bottom)], MUTED, 1.0)?;
        for (at, label) in &axis.ticks {
            let x = self.x(axis, *at);
            canvas.line(&[(x, bottom), (x, bottom + 4.0)], MUTED, 1.0)?;
            canvas.text(label, (x, bottom + 14.0), Anchor::Middle, SMALL_SIZE, MUTED)?;
        }
        let middle: Place = (f64::midpoint(self.left, self.right), bottom + 32.0);
        canvas.text(title, middle, Anchor::Middle, SMALL_SIZE, MUTED)
    }
}

/// A chart of nothing says so.
fn draw_nothing(svg: &mut String, head: &Head) -> Result<Place, RenderError> {
    let size = (WIDTH, head.bottom() + 60.0);
    let canvas = Canvas::new(svg, size)?;
    head.draw(&canvas)?;
    let place = (MARGIN, head.bottom() + 20.0);
    canvas.text("no finite number to draw", place, Anchor::Left, LABEL_SIZE, MUTED)?;
    canvas.finish()?;
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::time::{SimDuration, SimTime};
    use crate::record::statistics::Estimate;
    use crate::record::{FaultSpan, Span, SpanKind, Unit};
    use crate::report::{BarSeries, BoardRow, Grid, Horizontal, Lane, Point, Series, Tone};

    const NASTY: &str = "<script>|\u{0}\u{1b}[2J\u{202e}\"'&]]>";

    fn chart(plot: Plot) -> Chart {
        Chart {
            name: "rings-load".into(),
            title: format!("A finding about {NASTY}"),
            subtitle: NASTY.into(),
            description: NASTY.into(),
            y_label: NASTY.into(),
            y_unit: Unit::Nanoseconds,
            plot,
        }
    }

    fn lines(x: Horizontal, values: &[f64]) -> Chart {
        let point = |(x, &y): (u32, &f64)| Point { x: f64::from(x), y, low: y, high: 2.0 * y };
        let points: Vec<Point> = (0..).zip(values).map(point).collect();
        let line = |style| Series { name: NASTY.into(), style, points: points.clone() };
        let fault = FaultSpan {
            label: NASTY.into(),
            from: SimTime::from_ms(500),
            until: SimTime::from_ms(700),
        };
        chart(Plot::Lines {
            x,
            series: (0..8).map(line).collect(),
            reference: Some((1.0, NASTY.into())),
            faults: vec![fault; 12],
        })
    }

    fn bars(values: &[f64]) -> Chart {
        let bar = |&mean: &f64| {
            Some(Estimate { mean, low: mean - 1.0, high: mean + 1.0, n: 3, exact: false })
        };
        let line =
            |style| BarSeries { name: NASTY.into(), style, bars: values.iter().map(bar).collect() };
        let floors = vec![values.iter().copied().map(Some).collect(); 8];
        chart(Plot::Bars {
            groups: values.iter().map(|_| NASTY.into()).collect(),
            series: (0..8).map(line).collect(),
            floor: Some((NASTY.into(), floors)),
        })
    }

    fn grids(values: &[f64]) -> Chart {
        let row: Vec<f64> = values.iter().copied().chain([0.0]).collect();
        let grid = Grid {
            name: NASTY.into(),
            names: row.iter().map(|_| NASTY.into()).collect(),
            amounts: row.iter().map(|_| row.clone()).collect(),
        };
        chart(Plot::Grids(vec![grid; 3]))
    }

    fn lanes(values: &[f64]) -> Chart {
        let kinds = [SpanKind::Belief, SpanKind::Accepted, SpanKind::Refused];
        let spans = values.iter().zip(kinds.into_iter().cycle()).map(|(&value, kind)| {
            // A cast saturates.
            let from = SimTime::ZERO + SimDuration::from_ns(value as u64);
            let until = from.max(SimTime::from_ms(3));
            Span { lane: NASTY.into(), kind, label: NASTY.into(), from, until }
        });
        let lane = Lane { name: NASTY.into(), spans: spans.collect() };
        let fault = FaultSpan {
            label: NASTY.into(),
            from: SimTime::from_ms(1),
            until: SimTime::from_ms(2),
        };
        chart(Plot::Lanes { lanes: vec![lane; 20], faults: vec![fault; 3] })
    }

    fn board(values: &[f64]) -> Chart {
        let tones = [Tone::Good, Tone::Warning, Tone::Bad, Tone::Unknown];
        let cells = tones.map(|tone| Some((NASTY.into(), tone)));
        let cells: Vec<_> = cells.into_iter().chain([None]).collect();
        let row = BoardRow { name: NASTY.into(), cells };
        chart(Plot::Board {
            columns: vec![NASTY.into(); 5],
            rows: values.iter().map(|_| row.clone()).collect(),
        })
    }

    fn every_kind(values: &[f64]) -> Vec<Chart> {
        let kinds = [
            Horizontal::Rank,
            Horizontal::Quantile,
            Horizontal::Time,
            Horizontal::Swept(NASTY.into()),
            Horizontal::Cost(&crate::record::summary::tests::WAIT),
        ];
        let mut charts: Vec<Chart> = kinds.map(|kind| lines(kind, values)).into();
        charts.push(bars(values));
        charts.push(grids(values));
        charts.push(lanes(values));
        charts.push(board(values));
        charts
    }

    #[test]
    fn every_picture_is_well_formed_whatever_the_names() {
        for chart in every_kind(&[1.0, 5.0, 3.0]) {
            let svg = svg(&chart).unwrap();
            let document = roxmltree::Document::parse(&svg).unwrap();
            let root = document.root_element();
            assert_eq!(root.attribute("role"), Some("img"));
            let width: f64 = root.attribute("width").unwrap().parse().unwrap();
            assert!(760.0 <= width);
            let title = root.children().find(|node| node.has_tag_name("title")).unwrap();
            assert!(title.text().unwrap().contains("<script>|\\u{0}\\u{1b}[2J"));
            assert!(!svg.contains("<script"));
            roxmltree::Document::parse(&themed(&svg)).unwrap();
        }
    }

    #[test]
    fn the_same_chart_gives_the_same_bytes() {
        for chart in every_kind(&[1.0, 5.0, 3.0]) {
            assert_eq!(svg(&chart), svg(&chart.clone()));
        }
    }

    #[test]
    fn no_number_can_break_a_picture() {
        for values in [
            &[][..],
            &[0.0],
            &[f64::NAN],
            &[f64::INFINITY, 1.0],
            &[f64::NEG_INFINITY, f64::INFINITY],
            &[-1.0, -5.0],
            &[1e308, -1e308],
            &[1e-320, 1e308],
            &[f64::MIN_POSITIVE; 3],
        ] {
            for chart in every_kind(values) {
                let svg = svg(&chart).unwrap();
                roxmltree::Document::parse(&svg).unwrap();
                assert!(svg.len() < 400_000, "{values:?}: {}", svg.len());
            }
        }
    }

    #[test]
    fn lines_differ_by_more_than_their_colour() {
        let svg = svg(&lines(Horizontal::Rank, &[1.0, 2.0])).unwrap();
        let dashes: std::collections::BTreeSet<&str> = svg
            .split("stroke-dasharray=\"")
            .skip(1)
            .filter_map(|part| part.split('"').next())
            .collect();
        assert_eq!(dashes.len(), 5, "five dashes and one line without");
    }

    #[test]
    fn the_page_can_colour_everything() {
        let svg = svg(&lines(Horizontal::Time, &[1.0, 2.0])).unwrap();
        let left: Vec<&str> = svg.lines().filter(|line| line.contains("=\"#")).collect();
        assert!(!left.is_empty());
        assert!(!themed(&svg).contains("=\"#"));
    }
}
