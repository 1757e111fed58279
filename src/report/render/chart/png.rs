//! A chart as PNG, made from its SVG, so that both show the same. The one address of the `resvg`
//! crate.
//!
//! No font of the machine is asked for: text is drawn with the embedded one, and a letter that it
//! lacks is left out. Nothing is drawn by the graphics card, so the bytes are the same everywhere.

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use super::canvas::FONT;
use crate::report::render::RenderError;

/// Pixels of the file for each pixel of the picture: sharp on paper and on dense screens.
const SCALE: f32 = 2.0;

/// `svg`, which [`svg`](super::svg) drew, as a PNG file.
pub(in crate::report::render) fn png(svg: &str) -> Result<Vec<u8>, RenderError> {
    let failed = |why: String| RenderError(format!("a chart could not become a PNG: {why}"));
    let mut options = Options::default();
    options.fontdb_mut().load_font_data(FONT.to_vec());
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(error.to_string()))?;
    let size = tree.size().to_int_size().scale_by(SCALE);
    let size = size.ok_or_else(|| failed("it has no size".to_owned()))?;
    let pixmap = Pixmap::new(size.width(), size.height());
    let mut pixmap = pixmap.ok_or_else(|| failed("it is too large".to_owned()))?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixmap.as_mut());
    pixmap.encode_png().map_err(|error| failed(error.to_string()))
}
