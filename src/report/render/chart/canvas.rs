//! The paper that charts are drawn on: plotters' SVG back end, in pixels of the finished picture.
//!
//! The back end rounds every coordinate to a whole pixel, which makes staircases of curves. So
//! all is drawn four times as large and the root element then says the true size: smooth, and the
//! same bytes on every machine. Text is measured with the one embedded font, so that no layout
//! depends on what fonts a machine has.

use std::fmt::Write as _;

use plotters::backend::SVGBackend;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::IntoDrawingArea as _;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    Color as _, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, register_font,
};

use crate::report::render::RenderError;
use crate::report::render::text::clean;

/// Liberation Sans 2.1.5, unmodified, under the SIL Open Font License (text in `assets/`). It has
/// the metrics of Arial and Helvetica, so that the picture is laid out right where a viewer has
/// only those.
pub(super) static FONT: &[u8] = include_bytes!("../../../../assets/LiberationSans-Regular.ttf");
const FAMILY: &str = "Liberation Sans, Arial, Helvetica, sans-serif";
/// How many units of the drawing are a pixel of the picture.
const GRID: f64 = 4.0;
/// The back end writes a font's size divided by this.
const SVG_SIZE_DIVISOR: f64 = 1.24;
/// Ascent less descent of the font over its em: what plotters takes a size to be when it measures.
const EM_OF_LINE: f64 = (1854.0 + 434.0) / 2048.0;

/// A place on the paper, in pixels from its upper left corner.
pub(super) type Place = (f64, f64);

/// A colour of the theme. The page replaces each by its own, for light and dark.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Colour {
    pub(super) rgb: (u8, u8, u8),
    /// The page's name for it.
    pub(super) variable: &'static str,
}

const fn colour(rgb: (u8, u8, u8), variable: &'static str) -> Colour {
    Colour { rgb, variable }
}

pub(super) const PAPER: Colour = colour((0xFF, 0xFF, 0xFF), "paper");
pub(super) const INK: Colour = colour((0x1A, 0x1F, 0x24), "ink");
pub(super) const MUTED: Colour = colour((0x57, 0x60, 0x6A), "muted");
pub(super) const GRID_LINE: Colour = colour((0xE2, 0xE5, 0xE9), "grid");
pub(super) const FAULT: Colour = colour((0xD5, 0x5E, 0x00), "fault");
/// Okabe and Ito, "Color Universal Design", 2008, without the vermilion that faults have; the last
/// is a darker yellow of our own, since theirs is lost on white.
pub(super) const SERIES: [Colour; 6] = [
    colour((0x00, 0x72, 0xB2), "s1"),
    colour((0xE6, 0x9F, 0x00), "s2"),
    colour((0x00, 0x9E, 0x73), "s3"),
    colour((0xCC, 0x79, 0xA7), "s4"),
    colour((0x56, 0xB4, 0xE9), "s5"),
    colour((0x8C, 0x6D, 0x1F), "s6"),
];
/// All colours of the theme.
pub(super) fn theme() -> impl Iterator<Item = Colour> {
    [PAPER, INK, MUTED, GRID_LINE, FAULT].into_iter().chain(SERIES)
}

/// A dash for each colour, so that lines can be told apart in grey; in units of the drawing.
const DASHES: [&str; 6] = ["", "32 14", "6 12", "32 10 6 10", "16 10", "48 10 6 10 6 10"];

impl Colour {
    pub(super) fn hex(self) -> String {
        let (red, green, blue) = self.rgb;
        format!("#{red:02X}{green:02X}{blue:02X}")
    }

    fn with(self, opacity: f64) -> plotters::style::RGBAColor {
        let (red, green, blue) = self.rgb;
        RGBColor(red, green, blue).mix(opacity)
    }
}

/// Which end of a text stands at its place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Left,
    Middle,
    Right,
}

/// A sheet of paper.
pub(super) struct Canvas<'a> {
    area: DrawingArea<SVGBackend<'a>, Shift>,
}

type Drawn = Result<(), RenderError>;

fn failed(error: impl std::fmt::Display) -> RenderError {
    RenderError(format!("a chart could not be drawn: {error}"))
}

fn on_grid((x, y): Place) -> (i32, i32) {
    ((x * GRID).round() as i32, (y * GRID).round() as i32)
}

fn filled(colour: Colour, opacity: f64) -> ShapeStyle {
    ShapeStyle { color: colour.with(opacity), filled: true, stroke_width: 0 }
}

fn stroke(colour: Colour, width: f64) -> ShapeStyle {
    let stroke_width = (width * GRID).round() as u32;
    ShapeStyle { color: colour.with(1.0), filled: false, stroke_width }
}

fn font(size: f64) -> FontDesc<'static> {
    FontDesc::new(FontFamily::Name(FAMILY), size * GRID * SVG_SIZE_DIVISOR, FontStyle::Normal)
}

/// Makes the font known to plotters. Must come before any text is drawn or measured.
pub(super) fn load_font() -> Drawn {
    register_font(FAMILY, FontStyle::Normal, FONT)
        .map_err(|_| RenderError("the embedded font cannot be read".to_owned()))
}

/// How wide `text` is at `size`, in pixels.
pub(super) fn width(text: &str, size: f64) -> Result<f64, RenderError> {
    let (width, _) = font(size).box_size(text).map_err(failed)?;
    Ok(f64::from(width) / GRID * EM_OF_LINE / SVG_SIZE_DIVISOR)
}

/// `text`, shortened where it is wider than `room`.
pub(super) fn fit(text: &str, size: f64, room: f64) -> Result<String, RenderError> {
    let text = clean(text);
    if width(&text, size)? <= room {
        return Ok(text);
    }
    let mut chars: Vec<char> = text.chars().collect();
    while 1 < chars.len() {
        chars.pop();
        let shortened = format!("{}…", chars.iter().collect::<String>());
        if width(&shortened, size)? <= room {
            return Ok(shortened);
        }
    }
    Ok("…".to_owned())
}

/// `text` in at most `lines` lines of at most `room`, broken at spaces; what is left over is cut.
pub(super) fn fit_lines(
    text: &str,
    size: f64,
    room: f64,
    lines: usize,
) -> Result<Vec<String>, RenderError> {
    let text = clean(text);
    let mut fitted: Vec<String> = vec![String::new()];
    for word in units_joined(&text) {
        let word = word.as_str();
        let last = fitted.len() - 1;
        let gap = if fitted[last].is_empty() { "" } else { " " };
        let longer = format!("{}{gap}{word}", fitted[last]);
        if gap.is_empty() || lines <= fitted.len() || width(&longer, size)? <= room {
            fitted[last] = longer;
        } else {
            fitted.push(word.to_owned());
        }
    }
    fitted.iter().map(|line| fit(line, size, room)).collect()
}

/// The words of `text`; a unit and the number before it are one.
fn units_joined(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let is_unit = ["ns", "µs", "ms", "s", "%", "B", "KiB", "MiB", "GiB"]
            .contains(&word.trim_end_matches([',', ';', '.']));
        match words.last_mut() {
            Some(number) if is_unit && number.ends_with(|c: char| c.is_ascii_digit()) => {
                number.push(' ');
                number.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

impl<'a> Canvas<'a> {
    /// A sheet of `size` pixels that is written to `svg`.
    pub(super) fn new(svg: &'a mut String, size: Place) -> Result<Self, RenderError> {
        let (width, height) = on_grid(size);
        let area = SVGBackend::with_string(svg, (width.unsigned_abs(), height.unsigned_abs()))
            .into_drawing_area();
        area.fill(&PAPER.with(1.0)).map_err(failed)?;
        Ok(Self { area })
    }

    pub(super) fn line(&self, places: &[Place], colour: Colour, width: f64) -> Drawn {
        let places: Vec<(i32, i32)> = places.iter().map(|place| on_grid(*place)).collect();
        self.area.draw(&PathElement::new(places, stroke(colour, width))).map_err(failed)
    }

    pub(super) fn surface(&self, places: &[Place], colour: Colour, opacity: f64) -> Drawn {
        let places: Vec<(i32, i32)> = places.iter().map(|place| on_grid(*place)).collect();
        self.area.draw(&Polygon::new(places, filled(colour, opacity))).map_err(failed)
    }

    pub(super) fn rectangle(&self, a: Place, b: Place, colour: Colour, opacity: f64) -> Drawn {
        let corners = [on_grid(a), on_grid(b)];
        self.area.draw(&Rectangle::new(corners, filled(colour, opacity))).map_err(failed)
    }

    /// The marker of a series: the shapes differ, so that it is known without its colour.
    pub(super) fn marker(&self, (x, y): Place, style: usize) -> Drawn {
        let colour = SERIES[style % SERIES.len()];
        let r = 4.5;
        let corners: &[Place] = match style % SERIES.len() {
            0 => {
                let size = (r * GRID) as u32;
                let circle = Circle::new(on_grid((x, y)), size, filled(colour, 1.0));
                return self.area.draw(&circle).map_err(failed);
            }
            1 => &[(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)],
            2 => &[(x, y - r), (x + r, y + r), (x - r, y + r)],
            3 => &[(x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y)],
            4 => &[(x - r, y - r), (x + r, y - r), (x, y + r)],
            _ => &[(x - 2.0, y - 5.0), (x + 2.0, y - 5.0), (x + 2.0, y + 5.0), (x - 2.0, y + 5.0)],
        };
        self.surface(corners, colour, 1.0)
    }

    /// A line of text whose middle in height is at `place`.
    pub(super) fn text(
        &self,
        text: &str,
        place: Place,
        anchor: Anchor,
        size: f64,
        colour: Colour,
    ) -> Drawn {
        let horizontal = match anchor {
            Anchor::Left => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::Right => HPos::Right,
        };
        let style = font(size).color(&colour.with(1.0)).pos(Pos::new(horizontal, VPos::Center));
        self.area.draw(&Text::new(clean(text), on_grid(place), style)).map_err(failed)
    }

    /// Ends the drawing.
    pub(super) fn finish(self) -> Drawn {
        self.area.present().map_err(failed)
    }
}

/// What the back end wrote, at its true size, with a role and a description for who cannot see it,
/// and with a dash to each line of a series.
pub(super) fn finished(
    svg: &str,
    size: Place,
    name: &str,
    title: &str,
    description: &str,
) -> String {
    let (width, height) = on_grid(size);
    let mut out = String::with_capacity(svg.len() + 1024);
    for line in svg.lines() {
        if line.starts_with("<svg ") {
            let _ = write!(
                out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
                 viewBox=\"0 0 {width} {height}\" role=\"img\" \
                 aria-labelledby=\"{name}-title {name}-desc\">\n\
                 <title id=\"{name}-title\">{}</title>\n<desc id=\"{name}-desc\">{}</desc>\n",
                size.0,
                size.1,
                escape(title),
                escape(description)
            );
            continue;
        }
        match line.strip_prefix("<polyline ") {
            Some(rest) => {
                let dash = SERIES.iter().zip(DASHES).find(|(colour, dash)| {
                    !dash.is_empty() && rest.contains(&format!("stroke=\"{}\"", colour.hex()))
                });
                out.push_str("<polyline ");
                if let Some((_, dash)) = dash {
                    let _ = write!(out, "stroke-dasharray=\"{dash}\" ");
                }
                out.push_str("stroke-linejoin=\"round\" ");
                out.push_str(rest);
            }
            None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

fn escape(text: &str) -> String {
    clean(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_not_parted_from_its_unit() {
        assert_eq!(units_joined("for 191 ms, or 3 times"), ["for", "191 ms,", "or", "3", "times"]);
        assert_eq!(units_joined("s 1"), ["s", "1"]);
    }
}
