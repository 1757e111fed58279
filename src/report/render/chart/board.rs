//! A board of outcomes: what is wrong stands out by its shade, and every square says in letters
//! what it is.

use super::canvas::{Anchor, Canvas, FAULT, GRID_LINE, INK, MUTED, PAPER, Place, fit, width};
use super::{Head, LABEL_SIZE, MARGIN, SMALL_LINE, SMALL_SIZE, WIDTH, draw_nothing};
use crate::report::render::RenderError;
use crate::report::{BoardRow, Tone};

const ROW: f64 = 22.0;
const NAME_ROOM_MAX: f64 = 330.0;
const COLUMN_MIN: f64 = 30.0;

pub(super) struct Board<'a> {
    pub(super) columns: &'a [String],
    pub(super) rows: &'a [BoardRow],
}

impl Board<'_> {
    pub(super) fn draw(&self, svg: &mut String, head: &Head) -> Result<Place, RenderError> {
        if self.columns.is_empty() || self.rows.is_empty() {
            return draw_nothing(svg, head);
        }
        let mut name_room: f64 = 0.0;
        let mut widths = Vec::new();
        for column in self.columns {
            widths.push((width(column, LABEL_SIZE)? + 10.0).max(COLUMN_MIN));
        }
        for row in self.rows {
            name_room =
                name_room.max(width(&fit(&row.name, LABEL_SIZE, NAME_ROOM_MAX)?, LABEL_SIZE)?);
            for (room, cell) in widths.iter_mut().zip(&row.cells) {
                let Some((text, _)) = cell else { continue };
                *room = room.max(width(&fit(text, SMALL_SIZE, NAME_ROOM_MAX)?, SMALL_SIZE)? + 10.0);
            }
        }
        let left = MARGIN + name_room + 12.0;
        let right = left + widths.iter().sum::<f64>();
        let top = head.bottom() + ROW;
        let bottom = top + ROW * self.rows.len() as f64;
        let size = (WIDTH.max(right + MARGIN), bottom + 40.0);

        let canvas = Canvas::new(svg, size)?;
        head.draw(&canvas)?;
        let mut x = left;
        for (column, room) in self.columns.iter().zip(&widths) {
            let place = (x + room / 2.0, top - ROW / 2.0);
            canvas.text(column, place, Anchor::Middle, LABEL_SIZE, INK)?;
            x += room;
        }
        for (index, row) in self.rows.iter().enumerate() {
            let y = top + ROW * (index as f64 + 0.5);
            let name = fit(&row.name, LABEL_SIZE, NAME_ROOM_MAX)?;
            canvas.text(&name, (MARGIN, y), Anchor::Left, LABEL_SIZE, INK)?;
            let mut x = left;
            for (cell, room) in row.cells.iter().zip(&widths) {
                if let Some((text, tone)) = cell {
                    let corners = ((x, y - ROW / 2.0), (x + room, y + ROW / 2.0));
                    canvas.rectangle(corners.0, corners.1, GRID_LINE, 1.0)?;
                    let inner = ((x + 0.5, corners.0.1 + 0.5), (x + room - 0.5, corners.1.1 - 0.5));
                    canvas.rectangle(inner.0, inner.1, PAPER, 1.0)?;
                    let opacity = shade(*tone);
                    if 0.0 < opacity {
                        canvas.rectangle(inner.0, inner.1, FAULT, opacity)?;
                    }
                    let text = fit(text, SMALL_SIZE, NAME_ROOM_MAX)?;
                    canvas.text(&text, (x + room / 2.0, y), Anchor::Middle, SMALL_SIZE, INK)?;
                }
                x += room;
            }
        }
        draw_key(&canvas, bottom + SMALL_LINE + 4.0)?;
        canvas.finish()?;
        Ok(size)
    }
}

/// How much of the colour an outcome has: little enough for the letters on it to be read.
fn shade(tone: Tone) -> f64 {
    match tone {
        Tone::Good => 0.0,
        Tone::Warning | Tone::Unknown => 0.16,
        Tone::Bad => 0.55,
    }
}

fn draw_key(canvas: &Canvas<'_>, y: f64) -> Result<(), RenderError> {
    let mut x = MARGIN;
    for (tone, words) in [
        (Tone::Good, "as it should be"),
        (Tone::Warning, "delayed, repeated or undone"),
        (Tone::Bad, "wrong or lost for good"),
    ] {
        canvas.rectangle((x, y - 7.0), (x + 20.0, y + 7.0), GRID_LINE, 1.0)?;
        canvas.rectangle((x + 1.0, y - 6.0), (x + 19.0, y + 6.0), PAPER, 1.0)?;
        if 0.0 < shade(tone) {
            canvas.rectangle((x + 1.0, y - 6.0), (x + 19.0, y + 6.0), FAULT, shade(tone))?;
        }
        canvas.text(words, (x + 26.0, y), Anchor::Left, SMALL_SIZE, MUTED)?;
        x += 26.0 + width(words, SMALL_SIZE)? + 24.0;
    }
    Ok(())
}
