//! The field itself: every cell a square of its colour, missing ones hatched.

use super::Picture;
use super::canvas::{Area, Canvas};
use super::layout::Layout;
use super::palette::{HATCH, MISSING, level};
use super::scale::Scale;

/// Pixels from one hatch line to the next.
const HATCH_STEP: usize = 6;

/// Draws the cells so that +y is up and +x to the right.
pub(super) fn draw(canvas: &mut Canvas, picture: &Picture, layout: &Layout, scale: &Scale) {
    let (nx, factor, map) = (picture.grid.nx, layout.factor, layout.map);
    let mut entries = vec![MISSING; nx];
    for (row, values) in picture.values.chunks_exact(nx).enumerate() {
        for (entry, value) in entries.iter_mut().zip(values) {
            *entry = scale.level(*value).map_or(MISSING, level);
        }
        if picture.grid.dx < 0.0 {
            entries.reverse();
        }
        let from_top = if picture.grid.dy > 0.0 { picture.grid.ny - 1 - row } else { row };
        for top in map.top + from_top * factor..map.top + (from_top + 1) * factor {
            let start = top * canvas.width + map.left;
            let pixels = &mut canvas.pixels[start..start + map.width];
            pixels.chunks_exact_mut(factor).zip(&entries).for_each(|(cell, entry)| cell.fill(*entry));
            hatch(pixels, top);
        }
    }
}

/// Draws a rectangle as missing values look.
pub(super) fn missing_box(canvas: &mut Canvas, area: Area) {
    canvas.fill(area, MISSING);
    for top in area.top..area.bottom() {
        let start = top * canvas.width + area.left;
        hatch(&mut canvas.pixels[start..start + area.width], top);
    }
}

/// Puts the hatch on the missing pixels of a row.
fn hatch(row: &mut [u8], top: usize) {
    let first = (HATCH_STEP - top % HATCH_STEP) % HATCH_STEP;
    row.iter_mut().skip(first).step_by(HATCH_STEP).filter(|pixel| **pixel == MISSING).for_each(|pixel| *pixel = HATCH);
}
