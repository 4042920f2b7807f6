//! Fields as pictures: a map on the field's own grid with its usual colours, a colour bar and a graticule.

mod bar;
mod canvas;
mod colours;
mod graticule;
mod layout;
mod map;
mod palette;
mod scale;
#[cfg(test)]
mod tests;
mod text;

use crate::domain::Grid;

pub use colours::{ColourTable, Rgb, tables};

use canvas::Canvas;
use layout::Layout;
use palette::Palette;
use scale::Scale;

/// How hard the encoder looks for repetition, 1 to 9: more than this costs time and hardly saves bytes.
const COMPRESSION: u8 = 4;

/// A picture that cannot be drawn, or colours that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PngError {
    /// The grid and the values do not belong together, or there are none.
    #[error("a picture of {nx}×{ny} cells needs as many values, at least one, not {values}")]
    Shape {
        /// Cells along x.
        nx: usize,
        /// Cells along y.
        ny: usize,
        /// The values that came.
        values: usize,
    },
    /// The picture has more rows or columns than a PNG can have.
    #[error("a picture of {width}×{height} pixels is larger than a PNG can be")]
    Size {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The colour tables cannot be read.
    #[error("the colour tables cannot be used: {0}")]
    Tables(#[from] toml::de::Error),
    /// The encoder refused.
    #[error("a picture of {width}×{height} pixels cannot be encoded: {source}")]
    Encode {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// The encoder's own words.
        source: png::EncodingError,
    },
}

/// What to draw.
#[derive(Clone, Copy, Debug)]
pub struct Picture<'a> {
    /// What the field is, such as `2 m temperature`.
    pub title: &'a str,
    /// Which one it is: `init 2018-07-22T01Z · lead f03 · valid …`.
    pub subtitle: &'a str,
    /// A label that must not be overlooked, such as the origin of synthetic weather.
    pub note: Option<&'a str>,
    /// Units as CF writes them.
    pub units: &'a str,
    /// Where the values are.
    pub grid: &'a Grid,
    /// Row-major (y, x) in the grid's own row order; what is not finite is missing.
    pub values: &'a [f32],
    /// The colours.
    pub colours: &'a ColourTable,
}

/// Draws a map of a field, north up, as a PNG file; the same picture gives the same bytes.
///
/// Small grids are enlarged by a whole factor, so that each cell stays one even rectangle.
pub fn draw(picture: &Picture) -> Result<Vec<u8>, PngError> {
    let Grid { nx, ny, .. } = *picture.grid;
    if nx == 0 || ny == 0 || nx.checked_mul(ny) != Some(picture.values.len()) {
        return Err(PngError::Shape { nx, ny, values: picture.values.len() });
    }
    let scale = Scale::new(picture.colours, picture.values);
    let palette = Palette::new(&scale.colours);
    let layout = Layout::new(picture);
    let size = || PngError::Size { width: layout.width, height: layout.height };
    let mut canvas = Canvas::new(layout.width, layout.height).ok_or_else(size)?;
    map::draw(&mut canvas, picture, &layout, &scale);
    graticule::draw(&mut canvas, picture.grid, &layout, &palette);
    text::headings(&mut canvas, picture, &layout);
    bar::draw(&mut canvas, picture, &layout, &scale);
    canvas.frame(layout.map);
    encode(&canvas, &palette, picture)
}

fn encode(canvas: &Canvas, palette: &Palette, picture: &Picture) -> Result<Vec<u8>, PngError> {
    let (width, height) = (canvas.width, canvas.height);
    let (Ok(columns), Ok(rows)) = (u32::try_from(width), u32::try_from(height)) else {
        return Err(PngError::Size { width, height });
    };
    let write = || -> Result<Vec<u8>, png::EncodingError> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, columns, rows);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_palette(palette.bytes());
        encoder.set_filter(png::Filter::NoFilter);
        encoder.set_deflate_compression(png::DeflateCompression::Level(COMPRESSION));
        encoder.add_itxt_chunk("Title".into(), picture.title.into())?;
        encoder.add_itxt_chunk("Description".into(), description(picture))?;
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&canvas.pixels)?;
        writer.finish()?;
        Ok(file)
    };
    write().map_err(|source| PngError::Encode { width, height, source })
}

fn description(picture: &Picture) -> String {
    let note = picture.note.map(|note| format!(" · {note}")).unwrap_or_default();
    format!("{} · {}{note}", picture.subtitle, picture.units)
}
