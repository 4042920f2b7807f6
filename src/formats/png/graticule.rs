//! Parallels and meridians across the map, and their labels along its edges.

use super::canvas::{Canvas, Font};
use super::layout::Layout;
use super::palette::{Ink, Palette};
use crate::domain::Grid;

/// Steps between lines, degrees.
const STEPS: [f64; 13] = [60.0, 30.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01];
/// Lines wanted at most over the height and over the width.
const MOST_PARALLELS: f64 = 6.0;
const MOST_MERIDIANS: f64 = 9.0;
/// Straight pieces that a line is made of.
const PIECES: usize = 120;
/// Points along each side at which the extent is measured.
const PROBES: usize = 33;
/// Length of a tick at the map's edge.
const TICK: usize = 5;

/// What the map shows, degrees; longitudes run on beyond ±180 rather than jump.
struct Extent {
    south: f64,
    north: f64,
    west: f64,
    east: f64,
}

/// Draws the lines over the map and the labels beside it; nothing where the grid is a single point.
pub(super) fn draw(canvas: &mut Canvas, grid: &Grid, layout: &Layout, palette: &Palette) {
    let Some(extent) = Extent::of(grid) else { return };
    let Some(step) = extent.step() else { return };
    for latitude in multiples(extent.south, extent.north, step) {
        let point = |part: f64| (latitude, extent.west + part * (extent.east - extent.west));
        line(canvas, grid, layout, palette, point);
    }
    for longitude in multiples(extent.west, extent.east, step) {
        let point = |part: f64| (extent.south + part * (extent.north - extent.south), longitude);
        line(canvas, grid, layout, palette, point);
    }
    parallels(canvas, grid, layout, step);
    meridians(canvas, grid, layout, step);
}

impl Extent {
    fn of(grid: &Grid) -> Option<Self> {
        let (i, j) = (grid.nx / 2, grid.ny / 2);
        let (x, y) = grid.xy(i, j);
        let middle = grid.to_geographic(x, y)?;
        let mut extent = Extent { south: middle.0, north: middle.0, west: middle.1, east: middle.1 };
        let probe = |k: usize, count: usize| k * (count - 1) / (PROBES - 1);
        for (i, j) in (0..PROBES * PROBES).map(|k| (probe(k % PROBES, grid.nx), probe(k / PROBES, grid.ny))) {
            let (x, y) = grid.xy(i, j);
            let Some((latitude, longitude)) = grid.to_geographic(x, y) else { continue };
            let longitude = near(longitude, middle.1);
            extent.south = extent.south.min(latitude);
            extent.north = extent.north.max(latitude);
            extent.west = extent.west.min(longitude);
            extent.east = extent.east.max(longitude);
        }
        Some(extent)
    }

    /// The step that leaves neither too few lines nor too many.
    fn step(&self) -> Option<f64> {
        let least = ((self.north - self.south) / MOST_PARALLELS).max((self.east - self.west) / MOST_MERIDIANS);
        let fine = STEPS.into_iter().rev().find(|step| *step >= least).unwrap_or(STEPS[0]);
        (least > 0.0).then_some(fine)
    }
}

/// The longitude on the branch within 180° of another.
fn near(longitude: f64, other: f64) -> f64 {
    longitude - 360.0 * ((longitude - other) / 360.0).round()
}

fn multiples(low: f64, high: f64, step: f64) -> impl Iterator<Item = f64> {
    ((low / step).ceil() as i64..=(high / step).floor() as i64).map(move |k| k as f64 * step)
}

/// Where a point of the globe is on the sheet.
fn place(grid: &Grid, layout: &Layout, (latitude, longitude): (f64, f64)) -> Option<(f64, f64)> {
    let (i, j) = grid.index(latitude, longitude)?;
    let i = if grid.dx < 0.0 { grid.nx as f64 - 1.0 - i } else { i };
    let j = if grid.dy > 0.0 { grid.ny as f64 - 1.0 - j } else { j };
    let (x, y) = ((i + 0.5) * layout.factor as f64, (j + 0.5) * layout.factor as f64);
    (x.is_finite() && y.is_finite()).then_some((layout.map.left as f64 + x, layout.map.top as f64 + y))
}

/// Draws a line given by its points for parts from 0 to 1, where it crosses the map.
fn line(canvas: &mut Canvas, grid: &Grid, layout: &Layout, palette: &Palette, point: impl Fn(f64) -> (f64, f64)) {
    let map = layout.map;
    // A piece longer than a quarter of the map jumps from one edge of the globe to the other.
    let longest = (map.width + map.height) as f64 / 4.0;
    let places: Vec<_> = (0..=PIECES).map(|k| place(grid, layout, point(k as f64 / PIECES as f64))).collect();
    for pair in places.windows(2) {
        let (Some(from), Some(to)) = (pair[0], pair[1]) else { continue };
        if (to.0 - from.0).hypot(to.1 - from.1) <= longest {
            canvas.line(from, to, map, palette);
        }
    }
}

/// Labels along the left edge.
fn parallels(canvas: &mut Canvas, grid: &Grid, layout: &Layout, step: f64) {
    let column = if grid.dx < 0.0 { grid.nx - 1 } else { 0 };
    let latitudes = (0..grid.ny).map(|row| {
        let (x, y) = grid.xy(column, if grid.dy > 0.0 { grid.ny - 1 - row } else { row });
        grid.to_geographic(x, y).map(|(latitude, _)| latitude)
    });
    let mut free_from = 0;
    for (position, latitude) in crossings(latitudes, step) {
        let y = layout.map.top + (position * layout.factor as f64) as usize;
        let text = degrees(latitude, step, ['N', 'S']);
        canvas.tick_left(layout, y);
        if y >= free_from {
            let left = (layout.map.left - TICK - 4).saturating_sub(Font::SMALL.width(&text));
            canvas.write(left, y.saturating_sub(Font::SMALL.height() / 2), &text, Font::SMALL, Ink::Soft);
            free_from = y + Font::SMALL.height() + 4;
        }
    }
}

/// Labels along the lower edge.
fn meridians(canvas: &mut Canvas, grid: &Grid, layout: &Layout, step: f64) {
    let row = if grid.dy > 0.0 { 0 } else { grid.ny - 1 };
    let longitudes = (0..grid.nx).map(|column| {
        let (x, y) = grid.xy(if grid.dx < 0.0 { grid.nx - 1 - column } else { column }, row);
        grid.to_geographic(x, y).map(|(_, longitude)| longitude)
    });
    let mut free_from = 0;
    for (position, longitude) in crossings(unwrapped(longitudes), step) {
        let x = layout.map.left + (position * layout.factor as f64) as usize;
        let text = degrees(near(longitude, 0.0), step, ['E', 'W']);
        canvas.tick_down(layout, x);
        let left = x.saturating_sub(Font::SMALL.width(&text) / 2);
        if left >= free_from {
            canvas.write(left, layout.map.bottom() + TICK + 5, &text, Font::SMALL, Ink::Soft);
            free_from = left + Font::SMALL.width(&text) + 10;
        }
    }
}

/// Longitudes that run on beyond ±180 rather than jump.
fn unwrapped(longitudes: impl Iterator<Item = Option<f64>>) -> impl Iterator<Item = Option<f64>> {
    let mut last = None;
    longitudes.map(move |longitude| {
        let longitude = longitude.map(|l| near(l, last.unwrap_or(l)));
        last = longitude.or(last);
        longitude
    })
}

/// Where a row of values, one a cell, passes multiples of a step: the place in cells and the multiple.
fn crossings(values: impl Iterator<Item = Option<f64>>, step: f64) -> Vec<(f64, f64)> {
    let values: Vec<_> = values.collect();
    let mut found = Vec::new();
    for (index, pair) in values.windows(2).enumerate() {
        let (Some(a), Some(b)) = (pair[0], pair[1]) else { continue };
        let multiple = (a.max(b) / step).floor() * step;
        if multiple > a.min(b) {
            found.push((index as f64 + 0.5 + (multiple - a) / (b - a), multiple));
        }
    }
    found
}

/// A label such as `45°N` or `112.5°W`, with as many decimals as the step has.
fn degrees(value: f64, step: f64, [positive, negative]: [char; 2]) -> String {
    let decimals = if step >= 1.0 {
        0
    } else if step >= 0.1 {
        1
    } else {
        2
    };
    let side = if value.abs() < step / 2.0 {
        String::new()
    } else {
        if value > 0.0 { positive } else { negative }.to_string()
    };
    format!("{:.decimals$}°{side}", value.abs())
}

impl Canvas {
    fn tick_left(&mut self, layout: &Layout, y: usize) {
        (1..=TICK).for_each(|k| self.set(layout.map.left.saturating_sub(1 + k), y, Ink::Soft.entry(255)));
    }

    fn tick_down(&mut self, layout: &Layout, x: usize) {
        (1..=TICK).for_each(|k| self.set(x, layout.map.bottom() + k, Ink::Soft.entry(255)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_found_between_cells_in_both_directions() {
        let up = crossings([9.5, 10.5, 11.5].map(Some).into_iter(), 1.0);
        assert_eq!(up, [(1.0, 10.0), (2.0, 11.0)]);
        let down = crossings([11.5, 10.5, 9.5].map(Some).into_iter(), 1.0);
        assert_eq!(down, [(1.0, 11.0), (2.0, 10.0)]);
        let dateline = crossings(unwrapped([179.5, -179.5].map(Some).into_iter()), 1.0);
        assert_eq!(dateline, [(1.0, 180.0)]);
    }

    #[test]
    fn labels_say_which_side() {
        assert_eq!(degrees(-112.5, 0.5, ['E', 'W']), "112.5°W");
        assert_eq!([degrees(45.0, 5.0, ['N', 'S']), degrees(0.0, 5.0, ['N', 'S'])], ["45°N", "0°"]);
    }
}
