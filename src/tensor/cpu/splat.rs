//! Points and grids: each row of a grid gathers from the points in their order, each point from the cells it reaches.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::splat::{Peaks, Splat, Splats};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cpu;
use super::functions::exp;

/// Points that one task works on.
const POINTS: usize = 16;

impl Splat {
    /// The cells along an axis of `size` cells that a point at `position` may reach.
    #[inline(always)]
    fn cells(&self, position: f32, size: usize) -> Range<usize> {
        let radius = self.splatting.reach * self.splatting.sigma;
        if position.is_nan() {
            return 0..0;
        }
        // A negative bound becomes 0, one beyond the grid is cut.
        let (first, last) = ((position - radius).ceil() as usize, (position + radius).floor());
        first..if last < 0.0 { 0 } else { (last as usize).saturating_add(1).min(size) }
    }

    /// The weight of a cell at a distance of `rows` and `columns`.
    #[inline(always)]
    fn weight(&self, rows: f32, columns: f32) -> f32 {
        let (squared, radius) = (rows * rows + columns * columns, self.splatting.reach * self.splatting.sigma);
        let scale = -0.5 / (self.splatting.sigma * self.splatting.sigma);
        if squared <= radius * radius { exp(squared * scale) } else { 0.0 }
    }
}

impl Splats for Cpu {
    fn splat(&self, features: Slice<'_>, positions: Slice<'_>, sizes: Splat) -> Result<(Buffer, Buffer)> {
        let (values, places, level) = (self.read(features)?, self.read(positions)?, self.level);
        let Splat { batch, points, channels, rows, columns, .. } = sizes;
        let (mut block, mut weights) =
            (self.take(batch * rows * columns * channels)?, self.take(batch * rows * columns)?);
        weights.values_mut().par_chunks_mut(columns.max(1)).for_each(|row| row.fill(0.0));
        block.values_mut().par_chunks_mut((columns * channels).max(1)).for_each(|row| row.fill(0.0));
        let tasks = block.values_mut().par_chunks_mut((columns * channels).max(1));
        tasks.zip(weights.values_mut().par_chunks_mut(columns.max(1))).enumerate().for_each(|(row, (to, weights))| {
            let set = row / rows * points;
            let features = &values[set * channels..][..points * channels];
            level.run(
                #[inline(always)]
                || splat_row(features, &places[2 * set..][..2 * points], row % rows, sizes, to, weights),
            );
        });
        Ok((self.finish(block, features.dtype)?, self.finish(weights, DType::F32)?))
    }

    fn splat_grad(
        &self,
        features: Slice<'_>,
        positions: Slice<'_>,
        result: (Slice<'_>, Slice<'_>),
        dy: Slice<'_>,
        sizes: Splat,
    ) -> Result<(Buffer, Buffer)> {
        let (values, places, dy, level) = (self.read(features)?, self.read(positions)?, self.read(dy)?, self.level);
        let (y, weights) = (self.read(result.0)?, self.read(result.1)?);
        let Splat { batch, points, channels, .. } = sizes;
        let (mut block, mut moves) = (self.take(batch * points * channels)?, self.take(batch * points * 2)?);
        if channels == 0 {
            moves.values_mut().fill(0.0);
        }
        let tasks = block.values_mut().par_chunks_mut((POINTS * channels).max(1));
        tasks.zip(moves.values_mut().par_chunks_mut(POINTS * 2)).enumerate().for_each(|(task, (to, moves))| {
            for (point, (to, moves)) in to.chunks_exact_mut(channels).zip(moves.chunks_exact_mut(2)).enumerate() {
                let point = task * POINTS + point;
                let feature = &values[point * channels..][..channels];
                let place = [places[2 * point], places[2 * point + 1]];
                let grids = (&*y, &*weights, &*dy);
                let moved = level.run(
                    #[inline(always)]
                    || splat_point(feature, place, point / points, grids, sizes, to),
                );
                moves.copy_from_slice(&moved);
            }
        });
        Ok((self.finish(block, features.dtype)?, self.finish(moves, positions.dtype)?))
    }

    fn local_maxima(&self, x: Slice<'_>, sizes: Peaks) -> Result<(Buffer, Buffer)> {
        let values = self.read(x)?;
        let Peaks { batch, rows, columns, count, .. } = sizes;
        let (mut index, mut mask) = (self.take(batch * count)?, self.take(batch * count)?);
        let tasks = index.as_slice_mut::<i32>().par_chunks_mut(count.max(1));
        tasks.zip(mask.values_mut().par_chunks_mut(count.max(1))).enumerate().for_each(|(field, (index, mask))| {
            let field = &values[field * rows * columns..][..rows * columns];
            let mut found: Vec<usize> = (0..rows)
                .into_par_iter()
                .flat_map_iter(|row| (0..columns).map(move |column| row * columns + column))
                .filter(|at| field[*at] > sizes.threshold && is_peak(field, sizes, *at))
                .collect();
            found.sort_by(|a, b| field[*b].total_cmp(&field[*a]));
            for (i, (index, mask)) in index.iter_mut().zip(mask).enumerate() {
                *index = found.get(i).map_or(0, |at| *at as i32);
                *mask = if i < found.len() { 1.0 } else { 0.0 };
            }
        });
        Ok((self.finish(index, DType::I32)?, self.finish(mask, DType::F32)?))
    }
}

/// One row of a grid from all points of its set.
#[inline(always)]
fn splat_row(features: &[f32], places: &[f32], row: usize, sizes: Splat, to: &mut [f32], weights: &mut [f32]) {
    let channels = sizes.channels;
    for (place, point) in places.as_chunks::<2>().0.iter().zip(0..) {
        if !sizes.cells(place[0], sizes.rows).contains(&row) {
            continue;
        }
        for column in sizes.cells(place[1], sizes.columns) {
            let weight = sizes.weight(row as f32 - place[0], column as f32 - place[1]);
            weights[column] += weight;
            let feature = &features[point * channels..][..channels];
            let to = &mut to[column * channels..][..channels];
            to.iter_mut().zip(feature).for_each(|(to, x)| *to += weight * x);
        }
    }
    if sizes.splatting.normalised && channels > 0 {
        for (to, weight) in to.chunks_exact_mut(channels).zip(weights).filter(|(_, weight)| **weight > 0.0) {
            to.iter_mut().for_each(|to| *to /= *weight);
        }
    }
}

/// The gradient of a point's features, and as the result that of its position.
#[inline(always)]
fn splat_point(
    feature: &[f32],
    place: [f32; 2],
    set: usize,
    (y, weights, dy): (&[f32], &[f32], &[f32]),
    sizes: Splat,
    to: &mut [f32],
) -> [f32; 2] {
    let (channels, mut moved) = (sizes.channels, [0.0; 2]);
    to.fill(0.0);
    for row in sizes.cells(place[0], sizes.rows) {
        for column in sizes.cells(place[1], sizes.columns) {
            let away = [row as f32 - place[0], column as f32 - place[1]];
            let cell = (set * sizes.rows + row) * sizes.columns + column;
            let mut weight = sizes.weight(away[0], away[1]);
            if weight == 0.0 {
                continue;
            }
            let normalised = sizes.splatting.normalised;
            weight /= if normalised { weights[cell] } else { 1.0 };
            let cells = y[cell * channels..].iter().zip(&dy[cell * channels..]);
            let mut slope = 0.0;
            for ((to, x), (y, dy)) in to.iter_mut().zip(feature).zip(cells) {
                *to += weight * dy;
                slope += (if normalised { x - y } else { *x }) * dy;
            }
            let scale = slope * weight / (sizes.splatting.sigma * sizes.splatting.sigma);
            moved = [moved[0] + scale * away[0], moved[1] + scale * away[1]];
        }
    }
    moved
}

/// Whether an element is greater than those before it in its window, and not less than those behind it; NaN is less
/// than any.
fn is_peak(field: &[f32], sizes: Peaks, at: usize) -> bool {
    let (row, column) = (at / sizes.columns, at % sizes.columns);
    let near = |at: usize, size: usize| {
        at.saturating_sub(sizes.radius)..at.saturating_add(sizes.radius).saturating_add(1).min(size)
    };
    let beaten = |other: usize| if other < at { field[other] >= field[at] } else { field[other] > field[at] };
    let mut others = near(row, sizes.rows)
        .flat_map(|row| near(column, sizes.columns).map(move |column| row * sizes.columns + column));
    !others.any(beaten)
}
