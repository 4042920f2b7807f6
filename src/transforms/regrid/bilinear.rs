//! Interpolates linearly between the four source points around each target point.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::Taps;
use super::interpolate::{Corner, Corners, LANES, interpolate};
use super::locate::Locator;
use super::nearest::OUTSIDE;

/// How far outside the source, in steps, a point still counts as on its edge: rounding in the projections.
const EDGE: f64 = 1e-6;

/// Target columns worked through from the first row to the last before the next ones: the source rows under so few
/// points are still in the nearest cache when the next target row asks for them.
const TILE: usize = 64;

/// Points outside the source, then points inside, in one target row. Corners of the points inside follow those of the
/// run before, filled up to whole blocks.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: usize,
    outside: u32,
    inside: u32,
}

/// Runs that together are the whole target, tile by tile, and the corners of the points inside.
#[derive(Clone, Debug)]
pub(super) struct Bilinear {
    shape: Shape,
    runs: Vec<Run>,
    corners: Vec<Corners>,
}

/// The source, and whether its first column follows the last.
#[derive(Clone, Copy, Debug)]
struct Shape {
    nx: usize,
    ny: usize,
    wraps: bool,
}

impl Bilinear {
    pub(super) fn new(locator: &Locator) -> Self {
        let shape = Shape { nx: locator.source.nx, ny: locator.source.ny, wraps: locator.source.wraps() };
        let (nx, ny) = (locator.target.nx, locator.target.ny);
        let tiles = (0..nx.div_ceil(TILE) * ny).into_par_iter().map(|at| {
            let first = at / ny * TILE;
            row(locator, shape, first..nx.min(first + TILE), at % ny)
        });
        let (runs, corners): (Vec<_>, Vec<_>) = tiles.unzip();
        Bilinear { shape, runs: runs.concat(), corners: corners.concat() }
    }

    pub(super) fn apply(&self, source: &[f32], target: &mut [f32]) {
        let source = self.shape.pad(source);
        let mut corners = self.corners.as_slice();
        for run in &self.runs {
            let (outside, inside) = (run.outside as usize, run.inside as usize);
            let (outside, inside) = target[run.start..run.start + outside + inside].split_at_mut(outside);
            let (of_run, of_others) = corners.split_at(inside.len().div_ceil(LANES));
            outside.fill(f32::NAN);
            interpolate(&source, self.shape.width(), of_run, inside);
            corners = of_others;
        }
    }
}

impl Bilinear {
    pub(super) fn taps(&self, targets: usize) -> Taps<'_> {
        let (mut south_west, mut along) = (vec![OUTSIDE; targets], vec![[0.0; 2]; targets]);
        let mut blocks = self.corners.as_slice();
        for run in &self.runs {
            let (first, inside) = (run.start + run.outside as usize, run.inside as usize);
            let (of_run, of_others) = blocks.split_at(inside.div_ceil(LANES));
            for (at, corner) in of_run.iter().flat_map(Corners::each).take(inside).enumerate() {
                south_west[first + at] = self.shape.unpadded(corner.base);
                along[first + at] = [corner.along_x, corner.along_y];
            }
            blocks = of_others;
        }
        Taps::Bilinear { south_west, along }
    }
}

impl Shape {
    /// The index of a padded point in the source itself.
    fn unpadded(self, base: u32) -> u32 {
        let (width, nx) = (self.width() as u32, self.nx as u32);
        base / width * nx + base % width
    }

    /// Columns after padding: every point has a neighbour to the east.
    fn width(self) -> usize {
        self.nx + usize::from(self.wraps || self.nx == 1)
    }

    /// Repeats the first column after the last and the only row, where a point would have no neighbour.
    fn pad(self, source: &[f32]) -> Cow<'_, [f32]> {
        let extra = self.width() - self.nx;
        if extra == 0 && self.ny > 1 {
            return Cow::Borrowed(source);
        }
        let rows = source.chunks_exact(self.nx);
        let mut padded: Vec<f32> = rows.flat_map(|row| row.iter().chain(&row[..extra]).copied()).collect();
        if self.ny == 1 {
            padded.extend_from_within(..);
        }
        Cow::Owned(padded)
    }

    /// The corner of a fractional index; `None` outside the source.
    fn corner(self, (i, j): (f64, f64)) -> Option<Corner> {
        let i = if self.wraps { i.rem_euclid(self.nx as f64) } else { i };
        let (column, along_x) = split(i, if self.wraps { self.nx } else { self.nx - 1 })?;
        let (row, along_y) = split(j, self.ny - 1)?;
        Some(Corner { base: (row * self.width() + column) as u32, along_x, along_y })
    }
}

/// The point before a fractional index and the way from it to the next; `None` outside 0..=`last`.
fn split(at: f64, last: usize) -> Option<(usize, f32)> {
    if !(-EDGE..=last as f64 + EDGE).contains(&at) {
        return None;
    }
    let at = at.clamp(0.0, last as f64);
    let base = (at as usize).min(last.saturating_sub(1));
    Some((base, (at - base as f64) as f32))
}

/// The runs and corners of some columns of one target row.
fn row(locator: &Locator, shape: Shape, columns: Range<usize>, j: usize) -> (Vec<Run>, Vec<Corners>) {
    let (mut runs, mut corners): (Vec<Run>, Vec<Corners>) = (Vec::new(), Vec::new());
    let mut run = Run { start: j * locator.target.nx + columns.start, outside: 0, inside: 0 };
    for i in columns {
        match locator.source_index(i, j).and_then(|index| shape.corner(index)) {
            Some(corner) => {
                add(&mut corners, run.inside as usize % LANES, corner);
                run.inside += 1;
            }
            None if run.inside > 0 => {
                runs.push(run);
                run = Run { start: j * locator.target.nx + i, outside: 1, inside: 0 };
            }
            None => run.outside += 1,
        }
    }
    runs.push(run);
    (runs, corners)
}

/// Puts a corner into a lane of the last block; lane 0 begins another.
fn add(corners: &mut Vec<Corners>, lane: usize, corner: Corner) {
    match corners.last_mut().filter(|_| lane > 0) {
        Some(block) => block.set(lane, corner),
        None => corners.push(Corners::all(corner)),
    }
}
