//! Lanes below each other over a common stretch of time: who believed what when, and what was
//! done.

use super::axis::{Axis, nice_step};
use super::canvas::{Anchor, Canvas, FAULT, GRID_LINE, INK, PAPER, Place, SERIES, fit, width};
use super::{Frame, Head, LABEL_SIZE, MARGIN, SMALL_LINE, SMALL_SIZE, WIDTH, draw_nothing};
use crate::kernel::time::SimTime;
use crate::record::{FaultSpan, Span, SpanKind, Unit};
use crate::report::Lane;
use crate::report::quantity::Scale;
use crate::report::render::RenderError;

const HEIGHT: f64 = 34.0;
const BAR: f64 = 20.0;
const NAME_ROOM_MAX: f64 = 130.0;
const LANES_MAX: usize = 14;

pub(super) struct Lanes<'a> {
    pub(super) lanes: &'a [Lane],
    pub(super) faults: &'a [FaultSpan],
}

impl Lanes<'_> {
    pub(super) fn draw(&self, svg: &mut String, head: &Head) -> Result<Place, RenderError> {
        let Some(axis) = self.axis() else { return draw_nothing(svg, head) };
        let lanes = &self.lanes[..self.lanes.len().min(LANES_MAX)];
        let mut names = Vec::new();
        let mut room: f64 = 0.0;
        for lane in lanes {
            let name = fit(&lane.name, LABEL_SIZE, NAME_ROOM_MAX)?;
            room = room.max(width(&name, LABEL_SIZE)?);
            names.push(name);
        }
        let fault_rows = if self.faults.is_empty() { 0.0 } else { SMALL_LINE };
        let top = head.bottom() + 6.0 + fault_rows;
        let bottom = top + HEIGHT * lanes.len() as f64;
        let frame = Frame { left: MARGIN + room + 10.0, right: WIDTH - MARGIN - 24.0, top, bottom };
        let size = (WIDTH, bottom + 46.0);

        let canvas = Canvas::new(svg, size)?;
        head.draw(&canvas)?;
        self.draw_faults(&canvas, frame, &axis)?;
        for (index, (lane, name)) in lanes.iter().zip(&names).enumerate() {
            let y = top + HEIGHT * (index as f64 + 0.5);
            let edge = top + HEIGHT * index as f64;
            canvas.line(&[(MARGIN, edge), (frame.right, edge)], GRID_LINE, 1.0)?;
            canvas.text(name, (MARGIN, y), Anchor::Left, LABEL_SIZE, INK)?;
            self.draw_lane(&canvas, lane, index, frame, &axis)?;
        }
        frame.draw_x(&canvas, &axis, "virtual time")?;
        canvas.finish()?;
        Ok(size)
    }

    fn axis(&self) -> Option<Axis> {
        let spans = self.lanes.iter().flat_map(|lane| &lane.spans);
        let from = spans.clone().map(|span| span.from).min()?.as_secs_f64();
        let until = spans.map(|span| span.until).max()?.as_secs_f64();
        let step = nice_step((until - from).max(1e-9) / 6.0);
        let first = (from / step).ceil();
        let ticks: Vec<f64> = (0..20)
            .map(|index| (first + f64::from(index)) * step)
            .take_while(|tick| *tick <= until)
            .collect();
        let ns: Vec<f64> = ticks.iter().map(|tick| tick * 1e9).collect();
        let scale = Scale::of_axis(Unit::Nanoseconds, &ns, step * 1e9);
        let ticks = ticks.into_iter().zip(&ns).map(|(at, ns)| (at, scale.show_with_unit(*ns)));
        Some(Axis::checked(from, until, false)?.with_ticks(ticks.collect()))
    }

    fn draw_lane(
        &self,
        canvas: &Canvas<'_>,
        lane: &Lane,
        index: usize,
        frame: Frame,
        axis: &Axis,
    ) -> Result<(), RenderError> {
        let y = frame.top + HEIGHT * (index as f64 + 0.5);
        let place = |time: SimTime| frame.x(axis, time.as_secs_f64());
        let colour = SERIES[0];
        for (at, span) in lane.spans.iter().enumerate() {
            let (from, until) = (place(span.from), place(span.until));
            match span.kind {
                SpanKind::Belief => {
                    let until = until.max(from + 2.0);
                    let corners = ((from, y - BAR / 2.0), (until, y + BAR / 2.0));
                    canvas.rectangle(corners.0, corners.1, PAPER, 1.0)?;
                    canvas.rectangle(corners.0, corners.1, colour, 0.3)?;
                    canvas.line(&[(from, corners.0.1), (from, corners.1.1)], colour, 2.0)?;
                    for (a, b) in self.shared(index, span) {
                        let corners = ((place(a), y - BAR / 2.0), (place(b), y + BAR / 2.0));
                        canvas.rectangle(corners.0, corners.1, FAULT, 0.85)?;
                    }
                    // In the bar where it fits there, or else behind it up to the next one.
                    let next = lane.spans.get(at + 1).map_or(frame.right + 20.0, |s| place(s.from));
                    let long = width(&span.label, SMALL_SIZE)?;
                    if long <= until - from - 8.0 {
                        canvas.text(&span.label, (from + 5.0, y), Anchor::Left, SMALL_SIZE, INK)?;
                    } else if long <= next - until - 6.0 {
                        canvas.text(
                            &span.label,
                            (until + 4.0, y),
                            Anchor::Left,
                            SMALL_SIZE,
                            INK,
                        )?;
                    }
                }
                SpanKind::Accepted => {
                    let (a, b) = ((from, y - 9.0), (from, y + 9.0));
                    canvas.line(&[a, b], INK, 2.5)?;
                }
                SpanKind::Refused => {
                    for (a, b) in [(-5.0, 5.0), (5.0, -5.0)] {
                        canvas.line(&[(from - 5.0, y + a), (from + 5.0, y + b)], FAULT, 2.25)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The pieces of `span` in which those of other lanes believe too.
    fn shared(&self, lane: usize, span: &Span) -> Vec<(SimTime, SimTime)> {
        let others = self.lanes.iter().enumerate().filter(|(other, _)| *other != lane);
        let beliefs = others.flat_map(|(_, other)| &other.spans);
        let pieces = beliefs
            .filter(|other| other.kind == SpanKind::Belief)
            .map(|other| (other.from.max(span.from), other.until.min(span.until)))
            .filter(|(from, until)| from < until);
        apart(pieces.collect())
    }

    fn draw_faults(
        &self,
        canvas: &Canvas<'_>,
        frame: Frame,
        axis: &Axis,
    ) -> Result<(), RenderError> {
        let spans = self.faults.iter().map(|fault| (fault.from, fault.until));
        for (from, until) in apart(spans.filter(|(from, until)| from < until).collect()) {
            let ends = [from, until].map(|end| frame.x(axis, end.as_secs_f64()));
            canvas.rectangle((ends[0], frame.top), (ends[1], frame.bottom), FAULT, 0.12)?;
        }
        let mut free_from = f64::NEG_INFINITY;
        for fault in self.faults {
            let from = frame.x(axis, fault.from.as_secs_f64());
            let until = frame.x(axis, fault.until.as_secs_f64());
            if until - from < 1.0 {
                canvas.line(&[(from, frame.top), (from, frame.bottom)], FAULT, 1.5)?;
            }
            let name = fit(&fault.label, SMALL_SIZE, 260.0)?;
            let long = width(&name, SMALL_SIZE)?;
            let left = from.min(WIDTH - MARGIN - long);
            if free_from <= left {
                let place = (left, frame.top - SMALL_LINE / 2.0);
                canvas.text(&name, place, Anchor::Left, SMALL_SIZE, INK)?;
                free_from = left + long + 10.0;
            }
        }
        Ok(())
    }
}

/// `spans` as stretches that do not overlap: one over the other would be darker, which would say
/// something.
fn apart(mut spans: Vec<(SimTime, SimTime)>) -> Vec<(SimTime, SimTime)> {
    spans.sort_unstable();
    let mut apart: Vec<(SimTime, SimTime)> = Vec::new();
    for (from, until) in spans {
        match apart.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(until),
            _ => apart.push((from, until)),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, spans: &[(u64, u64)]) -> Lane {
        let span = |&(from, until): &(u64, u64)| Span {
            lane: name.into(),
            kind: SpanKind::Belief,
            label: String::new(),
            from: SimTime::from_ms(from),
            until: SimTime::from_ms(until),
        };
        Lane { name: name.into(), spans: spans.iter().map(span).collect() }
    }

    #[test]
    fn what_others_share_of_a_belief_is_in_pieces_that_do_not_overlap() {
        let lanes =
            [lane("a", &[(0, 100)]), lane("b", &[(10, 30), (90, 120)]), lane("c", &[(20, 40)])];
        let lanes = Lanes { lanes: &lanes, faults: &[] };
        let ms = SimTime::from_ms;
        let shared = lanes.shared(0, &lanes.lanes[0].spans[0]);
        assert_eq!(shared, [(ms(10), ms(40)), (ms(90), ms(100))]);
    }
}
