//! Interpolates linearly between the four source points around each target point.

use std::borrow::Cow;

use rayon::prelude::*;

use super::locate::Locator;

/// How far outside the source, in steps, a point still counts as on its edge: rounding in the projections.
const EDGE: f64 = 1e-6;

/// Least share of the weight that must be valid.
const LEAST_VALID: f32 = 0.5;

/// The south-western of the four points and the way from it to the others, 0 to 1.
#[derive(Clone, Copy, Debug)]
struct Corner {
    base: u32,
    along_x: f32,
    along_y: f32,
}

/// A run of target points inside the source; their corners follow those of the span before.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    length: usize,
}

/// Corners of the target points inside the source. One index stands for four, (i, j) to (i + 1, j + 1), so that a
/// point costs 12 bytes of weights: the transfer is bound by memory.
#[derive(Clone, Debug)]
pub(super) struct Bilinear {
    shape: Shape,
    spans: Vec<Span>,
    corners: Vec<Corner>,
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
        let rows: Vec<_> = (0..locator.target.ny).into_par_iter().map(|j| row(locator, shape, j)).collect();
        let (spans, corners): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        Bilinear { shape, spans: spans.concat(), corners: corners.concat() }
    }

    pub(super) fn apply(&self, source: &[f32], target: &mut [f32]) {
        let source = self.shape.pad(source);
        let (mut rest, mut corners, mut done) = (target, self.corners.as_slice(), 0);
        for span in &self.spans {
            let (outside, after) = rest.split_at_mut(span.start - done);
            let (inside, after) = after.split_at_mut(span.length);
            let (of_span, of_others) = corners.split_at(span.length);
            outside.fill(f32::NAN);
            interpolate(&source, self.shape.width(), of_span, inside);
            (rest, corners, done) = (after, of_others, span.start + span.length);
        }
        rest.fill(f32::NAN);
    }
}

impl Shape {
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

/// The spans and corners of one target row.
fn row(locator: &Locator, shape: Shape, j: usize) -> (Vec<Span>, Vec<Corner>) {
    let (mut spans, mut corners): (Vec<Span>, Vec<Corner>) = (Vec::new(), Vec::new());
    for i in 0..locator.target.nx {
        let at = j * locator.target.nx + i;
        let Some(corner) = locator.source_index(i, j).and_then(|index| shape.corner(index)) else { continue };
        match spans.last_mut() {
            Some(span) if span.start + span.length == at => span.length += 1,
            _ => spans.push(Span { start: at, length: 1 }),
        }
        corners.push(corner);
    }
    (spans, corners)
}

/// One span, four points at a time; `width` is the length of a source row.
fn interpolate(source: &[f32], width: usize, corners: &[Corner], target: &mut [f32]) {
    let ((targets, last), (corners, last_corners)) = (target.as_chunks_mut(), corners.as_chunks());
    for (values, corners) in targets.iter_mut().zip(corners) {
        *values = four(source, width, corners);
    }
    for (value, corner) in last.iter_mut().zip(last_corners) {
        [*value, ..] = four(source, width, &[*corner; 4]);
    }
}

/// Four points: first south to north at both ends, then west to east. Compiles to vector arithmetic on pairs.
fn four(source: &[f32], width: usize, corners: &[Corner; 4]) -> [f32; 4] {
    let (mut south, mut north, mut along_y) = ([0.0; 8], [0.0; 8], [0.0; 8]);
    for (k, corner) in corners.iter().enumerate() {
        let base = corner.base as usize;
        let around = &source[base..base + width + 2];
        [south[2 * k], south[2 * k + 1]] = [around[0], around[1]];
        [north[2 * k], north[2 * k + 1]] = [around[width], around[width + 1]];
        [along_y[2 * k], along_y[2 * k + 1]] = [corner.along_y; 2];
    }
    let ends: [f32; 8] = std::array::from_fn(|k| south[k] + along_y[k] * (north[k] - south[k]));
    let values = std::array::from_fn(|k| ends[2 * k] + corners[k].along_x * (ends[2 * k + 1] - ends[2 * k]));
    if values.iter().any(|value: &f32| value.is_nan()) {
        four_from_valid(&south, &north, corners, values)
    } else {
        values
    }
}

/// Replaces those of the four values that came out missing.
#[cold]
fn four_from_valid(south: &[f32; 8], north: &[f32; 8], corners: &[Corner; 4], values: [f32; 4]) -> [f32; 4] {
    std::array::from_fn(|k| {
        let around = [south[2 * k], south[2 * k + 1], north[2 * k], north[2 * k + 1]];
        if values[k].is_nan() { from_valid(around, &corners[k]) } else { values[k] }
    })
}

/// The mean of the valid ones of the four by their weights, if they hold enough of it.
fn from_valid(values: [f32; 4], corner: &Corner) -> f32 {
    let (x, y) = (corner.along_x, corner.along_y);
    let weights = [(1.0 - x) * (1.0 - y), x * (1.0 - y), (1.0 - x) * y, x * y];
    let (mut total, mut valid) = (0.0, 0.0);
    for (value, weight) in values.into_iter().zip(weights).filter(|(value, _)| !value.is_nan()) {
        total += weight * value;
        valid += weight;
    }
    if valid >= LEAST_VALID { total / valid } else { f32::NAN }
}
