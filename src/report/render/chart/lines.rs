//! Lines over ranks, percentiles or time.

use super::axis::{Axis, nice_step};
use super::canvas::{Anchor, Canvas, FAULT, INK, MUTED, Place, SERIES, fit, width};
use super::{Frame, Head, LABEL_SIZE, MARGIN, SMALL_LINE, SMALL_SIZE, WIDTH, draw_nothing};
use crate::record::{FaultSpan, Unit};
use crate::report::quantity::Scale;
use crate::report::render::RenderError;
use crate::report::{Chart, Horizontal, Point, Series};

/// So many faults are named below the plot; the table has them all.
const LANES_MAX: usize = 8;
const LANE: f64 = 19.0;
const NAME_ROOM_MAX: f64 = 190.0;
/// Names stand at least so far below each other.
const NAME_GAP: f64 = 17.0;
/// Names beside marks stand at least so far below each other.
const MARK_GAP: f64 = 14.0;
/// From so many times as much on, what lies between is seen on a logarithmic axis only.
const LOG_FROM: f64 = 8.0;

pub(super) struct Lines<'a> {
    pub(super) chart: &'a Chart,
    pub(super) x: &'a Horizontal,
    pub(super) series: &'a [Series],
    pub(super) reference: Option<&'a (f64, String)>,
    pub(super) faults: &'a [FaultSpan],
}

impl Lines<'_> {
    pub(super) fn draw(&self, svg: &mut String, head: &Head) -> Result<Place, RenderError> {
        let (Some(x_axis), Some(y_axis)) = (self.x_axis(), self.y_axis()) else {
            return draw_nothing(svg, head);
        };
        let mut names = Vec::new();
        let mut name_room: f64 = 0.0;
        for line in self.series {
            let name = fit(&line.name, LABEL_SIZE, NAME_ROOM_MAX)?;
            name_room = name_room.max(width(&name, LABEL_SIZE)?);
            names.push(name);
        }
        if self.is_of_marks() {
            // Names stand beside their marks.
            name_room = 0.0;
        }
        let number_row = if self.faults.is_empty() { 0.0 } else { 16.0 };
        let top = head.bottom() + SMALL_LINE + 12.0 + number_row;
        let frame = Frame::below(top, &y_axis, name_room + 24.0)?;
        let lanes = self.faults.len().min(LANES_MAX + 1);
        let lanes_top = frame.bottom + 48.0;
        let size = (WIDTH, lanes_top + LANE * lanes as f64 + if lanes == 0 { 0.0 } else { 8.0 });

        let canvas = Canvas::new(svg, size)?;
        head.draw(&canvas)?;
        let unit_row = (MARGIN, head.bottom() + SMALL_LINE / 2.0);
        canvas.text(&self.chart.y_label, unit_row, Anchor::Left, SMALL_SIZE, MUTED)?;
        self.tint_faults(&canvas, frame, &x_axis)?;
        frame.draw_y(&canvas, &y_axis)?;
        frame.draw_x(&canvas, &x_axis, self.x_title())?;
        let map = |x: f64, y: f64| (frame.x(&x_axis, x), frame.y(&y_axis, y));
        for line in self.series {
            self.draw_band(&canvas, line, &map)?;
        }
        self.draw_reference(&canvas, frame, &y_axis)?;
        for line in self.series {
            let places: Vec<Place> =
                self.corners(line, |p| p.y).into_iter().map(|(x, y)| map(x, y)).collect();
            canvas.line(&places, SERIES[line.style % SERIES.len()], 2.25)?;
            if matches!(self.x, Horizontal::Swept(_)) {
                for place in places {
                    canvas.marker(place, line.style)?;
                }
            }
        }
        if self.is_of_marks() {
            self.draw_marks(&canvas, frame, &names, &map)?;
        } else {
            self.draw_names(&canvas, frame, &names, &map)?;
        }
        self.draw_lanes(&canvas, frame, &x_axis, lanes_top)?;
        canvas.finish()?;
        Ok(size)
    }

    fn is_of_marks(&self) -> bool {
        matches!(self.x, Horizontal::Cost(_))
    }

    fn x_title(&self) -> &str {
        match self.x {
            Horizontal::Rank => "from the least to the most loaded",
            Horizontal::Quantile => "percentile",
            Horizontal::Time => "virtual time",
            Horizontal::Swept(parameter) => parameter,
            Horizontal::Cost(metric) => metric.title,
        }
    }

    /// The number on the horizontal axis at which a point of `x` stands.
    fn on_axis(&self, x: f64) -> f64 {
        match self.x {
            Horizontal::Rank | Horizontal::Time | Horizontal::Swept(_) | Horizontal::Cost(_) => x,
            Horizontal::Quantile => -libm::log10((1.0 - x).max(1e-12)),
        }
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let is_sound = |point: &&Point| point.x.is_finite() && point.y.is_finite();
        self.series.iter().flat_map(|line| &line.points).filter(is_sound)
    }

    fn x_axis(&self) -> Option<Axis> {
        let ends: Vec<f64> = self.points().map(|point| self.on_axis(point.x)).collect();
        let last = ends.iter().copied().max_by(f64::total_cmp)?;
        match self.x {
            Horizontal::Rank => {
                let step = nice_step(last / 12.0).max(1.0);
                let count = (last / step).floor() as usize;
                let ticks = (1..=count).map(|i| i as f64 * step);
                let ticks = ticks.map(|tick| (tick, format!("{tick}"))).collect();
                Some(Axis::checked(0.5, last + 0.5, false)?.with_ticks(ticks))
            }
            Horizontal::Quantile => {
                let marks = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999_99, 0.999_999];
                let names = ["p0", "p50", "p90", "p99", "p99.9", "p99.99", "p99.999", "p99.9999"];
                let ticks = marks.into_iter().zip(names);
                let ticks = ticks.map(|(q, name)| (self.on_axis(q), name.to_owned())).collect();
                let first = ends.iter().copied().min_by(f64::total_cmp)?;
                Some(Axis::checked(first, last, false)?.with_ticks(ticks))
            }
            Horizontal::Time => {
                // A step's point stands in its middle; the last step ends half a step later.
                let first = ends.iter().copied().min_by(f64::total_cmp)?;
                let end = last + first.max(0.0);
                let step = nice_step(end / 8.0);
                let count = (end / step).floor().min(20.0) as usize;
                let ticks: Vec<f64> = (0..=count).map(|i| i as f64 * step).collect();
                let ns: Vec<f64> = ticks.iter().map(|tick| tick * 1e9).collect();
                let scale = Scale::of_axis(Unit::Nanoseconds, &ns, step * 1e9);
                let ticks =
                    ticks.iter().map(|&tick| (tick, scale.show_with_unit(tick * 1e9))).collect();
                Some(Axis::checked(0.0, end, false)?.with_ticks(ticks))
            }
            Horizontal::Swept(_) => {
                let first = ends.iter().copied().min_by(f64::total_cmp)?;
                // The values that were run, and no others, have a tick.
                let mut values = ends;
                values.sort_by(f64::total_cmp);
                values.dedup();
                let is_logarithmic = 0.0 < first && LOG_FROM * first <= last;
                let ticks = values.into_iter().map(|value| (value, value.to_string())).collect();
                Some(Axis::checked(first, last, is_logarithmic)?.with_ticks(ticks))
            }
            Horizontal::Cost(metric) => {
                let first = ends.iter().copied().min_by(f64::total_cmp)?;
                if 0.0 < first && LOG_FROM * first <= last {
                    Axis::logarithmic(&ends, metric.unit)
                } else {
                    Axis::linear(&ends, metric.unit)
                }
            }
        }
    }

    fn y_axis(&self) -> Option<Axis> {
        let mut values: Vec<f64> =
            self.points().flat_map(|point| [point.low, point.y, point.high]).collect();
        values.extend(self.reference.map(|(level, _)| *level));
        match self.x {
            Horizontal::Quantile => Axis::logarithmic(&values, self.chart.y_unit),
            Horizontal::Rank | Horizontal::Swept(_) | Horizontal::Cost(_) => {
                Axis::linear(&values, self.chart.y_unit)
            }
            Horizontal::Time => {
                // What stops must be seen to stop.
                values.push(0.0);
                Axis::linear(&values, self.chart.y_unit)
            }
        }
    }

    /// The corners of a line: a step for each rank, which has a width, and else its points.
    fn corners(&self, line: &Series, y: impl Fn(&Point) -> f64) -> Vec<Place> {
        let is_sound = |point: &&Point| point.x.is_finite() && y(point).is_finite();
        let points = line.points.iter().filter(is_sound);
        match self.x {
            Horizontal::Rank => {
                points.flat_map(|p| [(p.x - 0.5, y(p)), (p.x + 0.5, y(p))]).collect()
            }
            Horizontal::Quantile
            | Horizontal::Time
            | Horizontal::Swept(_)
            | Horizontal::Cost(_) => {
                points.map(|point| (self.on_axis(point.x), y(point))).collect()
            }
        }
    }

    fn draw_band(
        &self,
        canvas: &Canvas<'_>,
        line: &Series,
        map: &impl Fn(f64, f64) -> Place,
    ) -> Result<(), RenderError> {
        if self.is_of_marks() || line.points.iter().all(|point| point.high <= point.low) {
            return Ok(());
        }
        let mut edge = self.corners(line, |point| point.high);
        edge.extend(self.corners(line, |point| point.low).into_iter().rev());
        let places: Vec<Place> = edge.into_iter().map(|(x, y)| map(x, y)).collect();
        canvas.surface(&places, SERIES[line.style % SERIES.len()], 0.16)
    }

    fn draw_reference(
        &self,
        canvas: &Canvas<'_>,
        frame: Frame,
        y_axis: &Axis,
    ) -> Result<(), RenderError> {
        let Some((level, name)) = self.reference else { return Ok(()) };
        let y = frame.y(y_axis, *level);
        canvas.line(&[(frame.left, y), (frame.right, y)], INK, 1.25)?;
        canvas.text(name, (frame.left + 6.0, y - 9.0), Anchor::Left, SMALL_SIZE, INK)
    }

    /// A marker at the end of each line and its name beside it, pushed apart where they meet.
    fn draw_names(
        &self,
        canvas: &Canvas<'_>,
        frame: Frame,
        names: &[String],
        map: &impl Fn(f64, f64) -> Place,
    ) -> Result<(), RenderError> {
        let mut ends: Vec<(Place, usize)> = Vec::new();
        for (index, line) in self.series.iter().enumerate() {
            if let Some((x, y)) = self.corners(line, |point| point.y).pop() {
                ends.push((map(x, y), index));
            }
        }
        ends.sort_by(|a, b| a.0.1.total_cmp(&b.0.1));
        let heights = spread(&ends.iter().map(|(place, _)| place.1).collect::<Vec<_>>(), frame);
        for ((end, index), height) in ends.into_iter().zip(heights) {
            let style = self.series[index].style;
            let colour = SERIES[style % SERIES.len()];
            if 2.0 < (height - end.1).abs() || end.0 < frame.right - 1.0 {
                canvas.line(&[end, (frame.right + 14.0, height)], colour, 1.0)?;
            }
            canvas.marker(end, style)?;
            let place = (frame.right + 18.0, height);
            canvas.text(&names[index], place, Anchor::Left, LABEL_SIZE, INK)?;
        }
        Ok(())
    }

    /// A mark for each point with its whisker, and its name beside it where there is room.
    fn draw_marks(
        &self,
        canvas: &Canvas<'_>,
        frame: Frame,
        names: &[String],
        map: &impl Fn(f64, f64) -> Place,
    ) -> Result<(), RenderError> {
        // (left, right, height) of what is written already.
        let mut taken: Vec<(f64, f64, f64)> = Vec::new();
        let is_sound = |point: &&Point| point.x.is_finite() && point.y.is_finite();
        for (line, name) in self.series.iter().zip(names) {
            let Some(point) = line.points.iter().find(is_sound) else { continue };
            let (x, y) = map(point.x, point.y);
            if point.low < point.high && point.low.is_finite() && point.high.is_finite() {
                let ends = [map(point.x, point.low), map(point.x, point.high)];
                canvas.line(&ends, SERIES[line.style % SERIES.len()], 1.25)?;
            }
            canvas.marker((x, y), line.style)?;
            let long = width(name, SMALL_SIZE)?;
            let is_right = x + 9.0 + long <= frame.right + 20.0;
            let (left, anchor) =
                if is_right { (x + 9.0, Anchor::Left) } else { (x - 9.0 - long, Anchor::Right) };
            let is_free = |height: f64| {
                (frame.top..=frame.bottom).contains(&height)
                    && taken.iter().all(|&(from, to, at)| {
                        to < left || left + long < from || MARK_GAP <= (at - height).abs()
                    })
            };
            // As near as may be, above or below.
            let steps = (0..40).map(|step| f64::from((step + 1) / 2) * MARK_GAP / 2.0);
            let shifts = steps.enumerate().map(|(i, by)| if i % 2 == 0 { by } else { -by });
            let height = shifts.map(|by| y + by).find(|height| is_free(*height)).unwrap_or(y);
            taken.push((left, left + long, height));
            let at = if is_right { x + 9.0 } else { x - 9.0 };
            canvas.text(name, (at, height), anchor, SMALL_SIZE, INK)?;
        }
        Ok(())
    }

    fn tint_faults(
        &self,
        canvas: &Canvas<'_>,
        frame: Frame,
        x_axis: &Axis,
    ) -> Result<(), RenderError> {
        let mut free_from = f64::NEG_INFINITY;
        for (number, fault) in (1..).zip(self.faults) {
            let (from, until) = span_of(fault, frame, x_axis);
            if until - from < 1.0 {
                canvas.line(&[(from, frame.top), (from, frame.bottom)], FAULT, 1.5)?;
            } else {
                canvas.rectangle((from, frame.top), (until, frame.bottom), FAULT, 0.15)?;
            }
            if number <= LANES_MAX {
                let x = f64::midpoint(from, until).max(free_from);
                free_from = x + 16.0;
                let place = (x, frame.top - 9.0);
                canvas.text(&number.to_string(), place, Anchor::Middle, SMALL_SIZE, INK)?;
            }
        }
        Ok(())
    }

    /// The faults by name, each below the stretch of time that it took.
    fn draw_lanes(
        &self,
        canvas: &Canvas<'_>,
        frame: Frame,
        x_axis: &Axis,
        top: f64,
    ) -> Result<(), RenderError> {
        for (index, fault) in self.faults.iter().take(LANES_MAX).enumerate() {
            let y = top + LANE * (index as f64 + 0.5);
            let (from, until) = span_of(fault, frame, x_axis);
            let until = until.max(from + 3.0);
            canvas.rectangle((from, y - 5.0), (until, y + 5.0), FAULT, 1.0)?;
            let text = format!("{} {}", index + 1, fault.label);
            let (before, after) = (from - 6.0 - MARGIN, WIDTH - MARGIN - until - 6.0);
            let is_after = width(&text, SMALL_SIZE)? <= after || before <= after;
            let text = fit(&text, SMALL_SIZE, before.max(after))?;
            if is_after {
                canvas.text(&text, (until + 6.0, y), Anchor::Left, SMALL_SIZE, INK)?;
            } else {
                canvas.text(&text, (from - 6.0, y), Anchor::Right, SMALL_SIZE, INK)?;
            }
        }
        if LANES_MAX < self.faults.len() {
            let y = top + LANE * (LANES_MAX as f64 + 0.5);
            let more = format!("and {} more", self.faults.len() - LANES_MAX);
            canvas.text(&more, (frame.left, y), Anchor::Left, SMALL_SIZE, MUTED)?;
        }
        Ok(())
    }
}

/// From where to where on the paper a fault goes.
fn span_of(fault: &FaultSpan, frame: Frame, x_axis: &Axis) -> (f64, f64) {
    let from = frame.x(x_axis, fault.from.as_secs_f64());
    let until = frame.x(x_axis, fault.until.as_secs_f64());
    (from, until.max(from))
}

/// `heights`, which rise, moved as little as keeps them [`NAME_GAP`] apart and within the frame.
fn spread(heights: &[f64], frame: Frame) -> Vec<f64> {
    let mut placed: Vec<f64> = Vec::new();
    for height in heights {
        let above = placed.last().map_or(f64::NEG_INFINITY, |above| above + NAME_GAP);
        placed.push(height.max(above));
    }
    // What was pushed out below is pushed back up, and what is above it makes room.
    let mut floor = frame.bottom;
    for height in placed.iter_mut().rev() {
        *height = height.min(floor);
        floor = *height - NAME_GAP;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_pushed_apart_and_stay_in_the_frame() {
        let frame = Frame { left: 0.0, right: 100.0, top: 0.0, bottom: 100.0 };
        let placed = spread(&[10.0, 12.0, 99.0, 100.0], frame);
        assert_eq!(placed, [10.0, 27.0, 83.0, 100.0]);
    }
}
