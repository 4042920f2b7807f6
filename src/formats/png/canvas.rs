//! A sheet of palette entries: rectangles, letters, lines.

use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

use super::palette::{Ink, PAPER, Palette};

/// Pixels a canvas may have; more than any radar mosaic, less than any memory.
const MOST_PIXELS: usize = 1 << 30;

/// A rectangle in pixels from the top left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: usize,
    pub(super) top: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Area {
    pub(super) fn right(&self) -> usize {
        self.left + self.width
    }

    pub(super) fn bottom(&self) -> usize {
        self.top + self.height
    }
}

/// A letter's size and weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Font {
    weight: FontWeight,
    size: RasterHeight,
}

impl Font {
    /// For labels and ticks.
    pub(super) const SMALL: Font = Font { weight: FontWeight::Regular, size: RasterHeight::Size16 };
    /// For notes.
    pub(super) const SMALL_BOLD: Font = Font { weight: FontWeight::Bold, size: RasterHeight::Size16 };
    /// For titles that are too long for [`Font::LARGE`].
    pub(super) const MIDDLE: Font = Font { weight: FontWeight::Bold, size: RasterHeight::Size20 };
    /// For titles.
    pub(super) const LARGE: Font = Font { weight: FontWeight::Bold, size: RasterHeight::Size24 };

    pub(super) fn height(self) -> usize {
        self.size.val()
    }

    /// Width of a text in pixels.
    pub(super) fn width(self, text: &str) -> usize {
        text.chars().count() * get_raster_width(self.weight, self.size)
    }

    /// The text, cut short with dots where it is wider than this.
    pub(super) fn fitted(self, text: &str, width: usize) -> String {
        if self.width(text) <= width {
            return text.into();
        }
        let letters = (width / get_raster_width(self.weight, self.size)).saturating_sub(3);
        text.chars().take(letters).collect::<String>().trim_end().to_string() + "..."
    }
}

/// Rows of palette entries.
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<u8>,
}

impl Canvas {
    /// An empty sheet; `None` where it would be too large.
    pub(super) fn new(width: usize, height: usize) -> Option<Self> {
        let pixels = width.checked_mul(height).filter(|pixels| *pixels <= MOST_PIXELS)?;
        Some(Canvas { width, height, pixels: vec![PAPER; pixels] })
    }

    /// Sets one pixel; outside the sheet nothing happens.
    pub(super) fn set(&mut self, x: usize, y: usize, entry: u8) {
        if x < self.width && y < self.height {
            self.pixels[y * self.width + x] = entry;
        }
    }

    /// Fills a rectangle.
    pub(super) fn fill(&mut self, area: Area, entry: u8) {
        for y in area.top..area.bottom() {
            (area.left..area.right()).for_each(|x| self.set(x, y, entry));
        }
    }

    /// Draws a thin frame just outside a rectangle.
    pub(super) fn frame(&mut self, area: Area) {
        let entry = Ink::Text.entry(255);
        let (left, top) = (area.left.saturating_sub(1), area.top.saturating_sub(1));
        for x in left..=area.right() {
            self.set(x, top, entry);
            self.set(x, area.bottom(), entry);
        }
        for y in top..=area.bottom() {
            self.set(left, y, entry);
            self.set(area.right(), y, entry);
        }
    }

    /// Writes a text with its top left corner here.
    pub(super) fn write(&mut self, left: usize, top: usize, text: &str, font: Font, ink: Ink) {
        let advance = get_raster_width(font.weight, font.size);
        for (index, letter) in text.chars().enumerate() {
            let Some(glyph) = glyph(letter, font) else { continue };
            for (row, coverages) in glyph.raster().iter().enumerate() {
                for (column, coverage) in coverages.iter().enumerate().filter(|(_, coverage)| **coverage > 0) {
                    self.set(left + index * advance + column, top + row, ink.entry(*coverage));
                }
            }
        }
    }

    /// Draws a line with smooth edges between two places inside an area; pixel (x, y) is centred on (x + ½, y + ½).
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), area: Area, palette: &Palette) {
        let steep = (to.1 - from.1).abs() > (to.0 - from.0).abs();
        let (from, to) = if steep { ((from.1, from.0), (to.1, to.0)) } else { (from, to) };
        let (from, to) = if from.0 <= to.0 { (from, to) } else { (to, from) };
        let slope = if to.0 > from.0 { (to.1 - from.1) / (to.0 - from.0) } else { 0.0 };
        let (start, end) = ((from.0 - 0.5).ceil() as i64, (to.0 - 0.5).ceil() as i64);
        for along in start..end {
            let across = from.1 + slope * (along as f64 + 0.5 - from.0) - 0.5;
            let (first, part) = (across.floor() as i64, across - across.floor());
            for (offset, coverage) in [(0, 1.0 - part), (1, part)] {
                let (x, y) = if steep { (first + offset, along) } else { (along, first + offset) };
                self.shade(x, y, coverage, area, palette);
            }
        }
    }

    /// Puts a line over one pixel that it covers in part.
    fn shade(&mut self, x: i64, y: i64, coverage: f64, area: Area, palette: &Palette) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        let inside = (area.left..area.right()).contains(&x) && (area.top..area.bottom()).contains(&y);
        if !inside || coverage < 0.25 {
            return;
        }
        if let Some(pixel) = self.pixels.get_mut(y * self.width + x) {
            *pixel = palette.under_line(*pixel, usize::from(coverage >= 0.75));
        }
    }
}

/// The letter, or what stands for it in a font of Latin letters.
fn glyph(letter: char, font: Font) -> Option<noto_sans_mono_bitmap::RasterizedChar> {
    let known = match letter {
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        other => other,
    };
    get_raster(known, font.weight, font.size).or_else(|| get_raster('?', font.weight, font.size))
}
