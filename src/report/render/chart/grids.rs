//! Grids beside each other: who gave how much to whom, the more the darker.

use super::canvas::{Anchor, Canvas, GRID_LINE, INK, MUTED, PAPER, Place, SERIES, fit, width};
use super::{Head, LABEL_SIZE, MARGIN, SMALL_LINE, SMALL_SIZE, WIDTH, draw_nothing};
use crate::report::quantity::show;
use crate::report::render::RenderError;
use crate::report::{Chart, Grid};

const GAP: f64 = 28.0;
const NAME_ROOM_MAX: f64 = 90.0;
/// The faintest that is still seen to be something.
const FAINTEST: f64 = 0.18;
const SQUARE_MAX: f64 = 30.0;
const KEY_STEPS: usize = 5;

pub(super) struct Grids<'a> {
    pub(super) chart: &'a Chart,
    pub(super) grids: &'a [Grid],
}

impl Grids<'_> {
    pub(super) fn draw(&self, svg: &mut String, head: &Head) -> Result<Place, RenderError> {
        let most = self.grids.iter().map(|grid| grid.names.len()).max().unwrap_or(0);
        let amounts = self.grids.iter().flat_map(|grid| grid.amounts.iter().flatten());
        let darkest = amounts.copied().filter(|a| a.is_finite()).fold(0.0, f64::max);
        if most == 0 || darkest <= 0.0 {
            return draw_nothing(svg, head);
        }
        let names: Vec<Vec<String>> = self.grids.iter().map(|grid| brief(&grid.names)).collect();
        let mut name_room: f64 = 0.0;
        for name in names.iter().flatten() {
            name_room = name_room.max(width(name, SMALL_SIZE)?);
        }
        let name_room = name_room.min(NAME_ROOM_MAX) + 6.0;
        let count = self.grids.len() as f64;
        let room = (WIDTH - 2.0 * MARGIN - (count - 1.0) * GAP) / count - name_room;
        let square = (room / most as f64).min(SQUARE_MAX);
        let top = head.bottom() + 2.0 * SMALL_LINE + 14.0;
        let bottom = top + square * most as f64;
        let size = (WIDTH, bottom + 46.0);

        let canvas = Canvas::new(svg, size)?;
        head.draw(&canvas)?;
        for (index, (grid, names)) in self.grids.iter().zip(&names).enumerate() {
            let left = MARGIN + index as f64 * (room + name_room + GAP) + name_room;
            let title = fit(&grid.name, LABEL_SIZE, room)?;
            let place = (left, head.bottom() + SMALL_LINE / 2.0);
            canvas.text(&title, place, Anchor::Left, LABEL_SIZE, INK)?;
            draw_grid(&canvas, grid, names, (left, top), square, darkest)?;
        }
        self.draw_key(&canvas, bottom + 26.0, darkest)?;
        canvas.finish()?;
        Ok(size)
    }

    /// What a shade stands for.
    fn draw_key(&self, canvas: &Canvas<'_>, y: f64, darkest: f64) -> Result<(), RenderError> {
        let words = format!("{}, from one node to another: ", self.chart.y_label);
        canvas.text(&words, (MARGIN, y), Anchor::Left, SMALL_SIZE, MUTED)?;
        let mut x = MARGIN + width(&words, SMALL_SIZE)? + 8.0;
        for step in 0..=KEY_STEPS {
            let amount = darkest * step as f64 / KEY_STEPS as f64;
            let corners = ((x, y - 7.0), (x + 26.0, y + 7.0));
            canvas.rectangle(corners.0, corners.1, GRID_LINE, 1.0)?;
            draw_square(canvas, (x + 1.0, y - 6.0), (x + 25.0, y + 6.0), amount / darkest)?;
            if step == 0 || step == KEY_STEPS {
                let shown = show(self.chart.y_unit, amount);
                canvas.text(&shown, (x + 32.0, y), Anchor::Left, SMALL_SIZE, MUTED)?;
                x += 40.0 + width(&shown, SMALL_SIZE)?;
            } else {
                x += 28.0;
            }
        }
        Ok(())
    }
}

fn draw_grid(
    canvas: &Canvas<'_>,
    grid: &Grid,
    names: &[String],
    (left, top): Place,
    square: f64,
    darkest: f64,
) -> Result<(), RenderError> {
    let end = square * names.len() as f64;
    // Each name stands where there is room for it.
    let every = (SMALL_LINE / square).ceil().max(1.0) as usize;
    let mut free_from = f64::NEG_INFINITY;
    for (index, name) in names.iter().enumerate() {
        let middle = square * (index as f64 + 0.5);
        let name = fit(name, SMALL_SIZE, NAME_ROOM_MAX)?;
        if index % every == 0 {
            let place = (left - 6.0, top + middle);
            canvas.text(&name, place, Anchor::Right, SMALL_SIZE, MUTED)?;
        }
        let half = width(&name, SMALL_SIZE)? / 2.0;
        if free_from <= middle - half {
            let place = (left + middle, top - 10.0);
            canvas.text(&name, place, Anchor::Middle, SMALL_SIZE, MUTED)?;
            free_from = middle + half + 4.0;
        }
    }
    for line in 0..=names.len() {
        let at = square * line as f64;
        canvas.line(&[(left, top + at), (left + end, top + at)], GRID_LINE, 1.0)?;
        canvas.line(&[(left + at, top), (left + at, top + end)], GRID_LINE, 1.0)?;
    }
    for (row, amounts) in grid.amounts.iter().enumerate() {
        for (column, amount) in amounts.iter().enumerate() {
            let (x, y) = (left + square * column as f64, top + square * row as f64);
            let corners = ((x + 1.0, y + 1.0), (x + square - 1.0, y + square - 1.0));
            draw_square(canvas, corners.0, corners.1, amount / darkest)?;
        }
    }
    Ok(())
}

/// A square of a darkness from 0, which leaves it empty, to 1.
fn draw_square(canvas: &Canvas<'_>, a: Place, b: Place, darkness: f64) -> Result<(), RenderError> {
    if !darkness.is_finite() || darkness <= 0.0 {
        return canvas.rectangle(a, b, PAPER, 1.0);
    }
    canvas.rectangle(a, b, PAPER, 1.0)?;
    let opacity = FAINTEST + (1.0 - FAINTEST) * darkness.min(1.0);
    canvas.rectangle(a, b, SERIES[0], opacity)
}

/// `names` without the beginning that all share, up to a hyphen: `node-1` and `node-2` are 1 and 2.
fn brief(names: &[String]) -> Vec<String> {
    let start = |name: &str| name.rfind('-').map_or(0, |at| at + 1);
    let Some(first) = names.first() else { return Vec::new() };
    let shared = &first[..start(first)];
    let is_shared = names.iter().all(|name| name.starts_with(shared) && shared.len() < name.len());
    let cut = if is_shared { shared.len() } else { 0 };
    names.iter().map(|name| name[cut..].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_lose_what_all_of_them_share_and_no_more() {
        let brief = |names: [&str; 2]| super::brief(&names.map(str::to_owned));
        assert_eq!(brief(["node-1", "node-12"]), ["1", "12"]);
        assert_eq!(brief(["eu-node-1", "us-node-1"]), ["eu-node-1", "us-node-1"]);
        assert_eq!(brief(["a", "b"]), ["a", "b"]);
        assert_eq!(brief(["a-", "a-b"]), ["a-", "a-b"]);
    }
}
