//! The colour bar: which colour is which value, the units, and how missing values look.

use super::Picture;
use super::canvas::{Area, Canvas, Font};
use super::layout::Layout;
use super::map::missing_box;
use super::palette::{Ink, level};
use super::scale::Scale;
use super::text;

/// How tall the pointed ends are that stand for values beyond the bar.
const POINT: usize = 12;
/// Length of a tick.
const TICK: usize = 5;
/// Room between two labels.
const LABEL_GAP: usize = 4;
/// From the bar to the box for missing values, and the box's height.
const MISSING_GAP: usize = 18;
const MISSING_HEIGHT: usize = 16;

/// Draws the bar, its ticks, its units and the box for missing values.
pub(super) fn draw(canvas: &mut Canvas, picture: &Picture, layout: &Layout, scale: &Scale) {
    let units = text::units(picture.units);
    canvas.write(layout.bar.left, layout.map.top.saturating_sub(2), &units, Font::SMALL, Ink::Text);
    if scale.names.is_empty() {
        amounts(canvas, layout.bar, scale)
    } else {
        classes(canvas, layout.bar, scale)
    }
    let top = layout.bar.bottom() + MISSING_GAP;
    let area = Area { top, height: MISSING_HEIGHT, ..layout.bar };
    missing_box(canvas, area);
    canvas.frame(area);
    label(canvas, area, area.top + area.height / 2, "missing");
}

/// A bar of ascending values, with pointed ends where values may lie beyond it.
fn amounts(canvas: &mut Canvas, bar: Area, scale: &Scale) {
    let trim = if scale.open_ended { POINT } else { 0 };
    let bar = Area { top: bar.top + trim, height: bar.height - 2 * trim, ..bar };
    let levels = scale.colours.len() - 2;
    if levels == 0 {
        canvas.fill(bar, level(1));
    }
    for row in 0..bar.height {
        let index = (levels * row / bar.height).min(levels.saturating_sub(1));
        let line = Area { top: bar.bottom() - 1 - row, height: 1, ..bar };
        if levels > 0 {
            canvas.fill(line, level(1 + index));
        }
    }
    if scale.open_ended {
        points(canvas, bar, scale);
    }
    canvas.frame(bar);
    ticks(canvas, bar, &scale.stops);
}

/// The ends for values above and below the bar.
fn points(canvas: &mut Canvas, bar: Area, scale: &Scale) {
    for row in 0..POINT {
        let inset = (bar.width / 2) * (row + 1) / POINT;
        let (left, width) = (bar.left + inset, bar.width - 2 * inset);
        for (top, entry) in [(bar.top - 2 - row, level(scale.colours.len() - 1)), (bar.bottom() + 1 + row, level(0))] {
            canvas.fill(Area { left, top, width, height: 1 }, entry);
            canvas.set(left.saturating_sub(1), top, Ink::Soft.entry(255));
            canvas.set(left + width, top, Ink::Soft.entry(255));
        }
    }
}

/// A tick at every stop, and labels at as many as have room.
fn ticks(canvas: &mut Canvas, bar: Area, stops: &[f32]) {
    let intervals = stops.len().max(2) - 1;
    let room = Font::SMALL.height() + LABEL_GAP;
    let every = (room * intervals).div_ceil(bar.height.max(1)).max(1);
    for (index, stop) in stops.iter().enumerate() {
        let middle = bar.bottom() - bar.height * index / intervals;
        canvas.fill(Area { left: bar.right() + 1, top: middle, width: TICK, height: 1 }, Ink::Text.entry(255));
        if index % every == 0 {
            label(canvas, bar, middle, &text::number(*stop));
        }
    }
}

/// One box a class, with its name.
fn classes(canvas: &mut Canvas, bar: Area, scale: &Scale) {
    let height = bar.height.min(scale.names.len() * 2 * Font::SMALL.height()) / scale.names.len();
    for (index, name) in scale.names.iter().enumerate() {
        let area = Area { top: bar.bottom() - (index + 1) * height, height, ..bar };
        canvas.fill(area, level(1 + index));
        canvas.frame(area);
        label(canvas, bar, area.top + height / 2, name);
    }
}

/// Writes right of the bar, centred on a row.
fn label(canvas: &mut Canvas, bar: Area, middle: usize, text: &str) {
    let left = bar.right() + TICK + 5;
    let text = Font::SMALL.fitted(text, canvas.width.saturating_sub(left));
    canvas.write(left, middle.saturating_sub(Font::SMALL.height() / 2), &text, Font::SMALL, Ink::Text);
}
