//! Bars in groups, each with the mark that it is read against.

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, INK, MUTED, PAPER, Place, SERIES, fit, fit_lines, width};
use super::{Frame, Head, LABEL_SIZE, MARGIN, SMALL_LINE, SMALL_SIZE, WIDTH, draw_nothing};
use crate::record::statistics::Estimate;
use crate::report::quantity::Scale;
use crate::report::render::RenderError;
use crate::report::{BarSeries, Chart};

/// So many groups have room for their names; the table has them all.
const GROUPS_MAX: usize = 12;
const VALUE_SIZE: f64 = 11.5;

pub(super) struct Bars<'a> {
    pub(super) chart: &'a Chart,
    pub(super) groups: &'a [String],
    pub(super) series: &'a [BarSeries],
    pub(super) floor: Option<&'a (String, Vec<Vec<Option<f64>>>)>,
}

impl Bars<'_> {
    pub(super) fn draw(&self, svg: &mut String, head: &Head) -> Result<Place, RenderError> {
        let Some(y_axis) = self.y_axis() else { return draw_nothing(svg, head) };
        let keys = self.keys()?;
        let key_rows = 1 + keys.iter().map(|key| key.row).max().unwrap_or(0);
        let keys_top = head.bottom();
        let top = keys_top + 20.0 * key_rows as f64 + SMALL_LINE;
        let frame = Frame::below(top, &y_axis, 0.0)?;
        let hidden = self.groups.len().saturating_sub(GROUPS_MAX);
        let size = (WIDTH, frame.bottom + if hidden == 0 { 44.0 } else { 62.0 });

        let canvas = Canvas::new(svg, size)?;
        head.draw(&canvas)?;
        for key in &keys {
            key.draw(&canvas, keys_top)?;
        }
        frame.draw_y(&canvas, &y_axis)?;
        self.draw_bars(&canvas, frame, &y_axis)?;
        canvas.line(&[(frame.left, frame.bottom), (frame.right, frame.bottom)], MUTED, 1.0)?;
        if 0 < hidden {
            let place = (frame.left, frame.bottom + 52.0);
            let more = format!("and {hidden} more");
            canvas.text(&more, place, Anchor::Left, SMALL_SIZE, MUTED)?;
        }
        canvas.finish()?;
        Ok(size)
    }

    fn y_axis(&self) -> Option<Axis> {
        let bars = self.series.iter().flat_map(|line| line.bars.iter().flatten());
        // An interval of what cannot be negative may reach below zero where the seeds are few.
        let least = |bar: &Estimate| if bar.mean < 0.0 { bar.low } else { bar.low.max(0.0) };
        let mut values: Vec<f64> = bars.flat_map(|bar| [bar.mean, least(bar), bar.high]).collect();
        if let Some((_, floors)) = self.floor {
            values.extend(floors.iter().flatten().flatten());
        }
        if values.iter().all(|value| !value.is_finite()) {
            return None;
        }
        // The length of a bar is its meaning: it starts at zero.
        values.push(0.0);
        Axis::linear(&values, self.chart.y_unit)
    }

    fn draw_bars(
        &self,
        canvas: &Canvas<'_>,
        frame: Frame,
        y_axis: &Axis,
    ) -> Result<(), RenderError> {
        let shown = self.groups.len().min(GROUPS_MAX);
        let group_width = (frame.right - frame.left) / shown.max(1) as f64;
        let slots = self.series.len().max(1) as f64;
        let slot = (group_width * 0.82 / slots).min(72.0);
        let bar_width = slot * 0.84;
        let means = self.series.iter().flat_map(|line| line.bars.iter().flatten());
        let scale = Scale::of(self.chart.y_unit, &means.map(|bar| bar.mean).collect::<Vec<_>>());
        let zero = frame.y(y_axis, 0.0);
        for (column, group) in self.groups.iter().take(GROUPS_MAX).enumerate() {
            let middle = frame.left + group_width * (column as f64 + 0.5);
            for (row, line) in self.series.iter().enumerate() {
                let Some(bar) = line.bars.get(column).copied().flatten() else { continue };
                if !bar.mean.is_finite() {
                    continue;
                }
                let centre = middle + slot * (row as f64 - (slots - 1.0) / 2.0);
                let (left, right) = (centre - bar_width / 2.0, centre + bar_width / 2.0);
                let height = frame.y(y_axis, bar.mean);
                let colour = SERIES[line.style % SERIES.len()];
                canvas.rectangle(
                    (left, height.min(zero)),
                    (right, height.max(zero)),
                    colour,
                    1.0,
                )?;
                let (low, high) = (frame.y(y_axis, bar.low), frame.y(y_axis, bar.high));
                if 1.0 < low - high {
                    canvas.line(&[(centre, low), (centre, high)], INK, 1.5)?;
                    for end in [low, high] {
                        canvas.line(&[(centre - 4.0, end), (centre + 4.0, end)], INK, 1.5)?;
                    }
                }
                let mut clear = height.min(high);
                if let Some(floor) = self.floor_of(row, column) {
                    let y = frame.y(y_axis, floor);
                    let ends = [(left - 4.0, y), (right + 4.0, y)];
                    canvas.line(&ends, PAPER, 4.5)?;
                    canvas.line(&ends, INK, 2.5)?;
                    clear = clear.min(y);
                }
                let value = scale.show_with_unit(bar.mean);
                if width(&value, VALUE_SIZE)? <= slot * 1.1 {
                    let place = (centre, clear - 10.0);
                    canvas.text(&value, place, Anchor::Middle, VALUE_SIZE, INK)?;
                }
            }
            let lines = fit_lines(group, SMALL_SIZE, group_width - 6.0, 2)?;
            for (index, text) in lines.iter().enumerate() {
                let place = (middle, frame.bottom + 14.0 + SMALL_LINE * index as f64);
                canvas.text(text, place, Anchor::Middle, SMALL_SIZE, INK)?;
            }
        }
        Ok(())
    }

    fn floor_of(&self, row: usize, column: usize) -> Option<f64> {
        let (_, floors) = self.floor?;
        floors.get(row)?.get(column).copied().flatten().filter(|floor| floor.is_finite())
    }

    /// The names of the bars in their order, and of the mark.
    fn keys(&self) -> Result<Vec<Key>, RenderError> {
        let mut keys: Vec<Key> = Vec::new();
        let (mut x, mut row) = (MARGIN, 0);
        let bars = self.series.iter().map(|line| (line.name.as_str(), Some(line.style)));
        let mark = self.floor.map(|(name, _)| (name.as_str(), None));
        for (name, style) in bars.chain(mark) {
            let name = fit(name, LABEL_SIZE, 240.0)?;
            let room = 22.0 + width(&name, LABEL_SIZE)?;
            if MARGIN < x && WIDTH - MARGIN < x + room {
                x = MARGIN;
                row += 1;
            }
            keys.push(Key { name, style, x, row });
            x += room + 20.0;
        }
        Ok(keys)
    }
}

/// A sign and what it stands for.
struct Key {
    name: String,
    style: Option<usize>,
    x: f64,
    row: usize,
}

impl Key {
    fn draw(&self, canvas: &Canvas<'_>, top: f64) -> Result<(), RenderError> {
        let y = top + 20.0 * (self.row as f64 + 0.5);
        match self.style {
            Some(style) => {
                let colour = SERIES[style % SERIES.len()];
                canvas.rectangle((self.x, y - 6.0), (self.x + 14.0, y + 6.0), colour, 1.0)?;
            }
            None => canvas.line(&[(self.x, y), (self.x + 16.0, y)], INK, 2.5)?,
        }
        canvas.text(&self.name, (self.x + 20.0, y), Anchor::Left, LABEL_SIZE, INK)
    }
}
