//! Dimensions folded in one order: pieces of fixed length, whose results are put together one after the other.

use rayon::prelude::*;

use crate::tensor::ops::reduce::{Fold, Folding, Reduce};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Cpu, PIECE};

/// Sums kept side by side, so that additions need not wait for each other.
const LANES: usize = 16;

impl Reduce for Cpu {
    fn fold(&self, op: Fold, x: Slice<'_>, folding: Folding) -> Result<Buffer> {
        let (values, Folding { outer, folded, inner }) = (self.read(x), folding);
        let mut block = self.take(outer * inner);
        let level = self.level;
        if inner == 1 {
            let rows = (PIECE / folded.max(1)).max(1);
            block.values_mut().par_chunks_mut(rows).enumerate().for_each(|(task, to)| {
                level.run(
                    #[inline(always)]
                    || {
                        for (row, to) in to.iter_mut().enumerate() {
                            let start = (task * rows + row) * folded;
                            *to = fold_row(op, &values[start..start + folded]);
                        }
                    },
                );
            });
        } else {
            // Columns in strips, so that one strip of sums stays in the cache.
            let strips = inner.div_ceil(STRIP);
            let parts: Vec<Vec<f32>> = (0..outer * strips)
                .into_par_iter()
                .map(|task| {
                    let (row, strip) = (task / strips, task % strips);
                    let columns = strip * STRIP..((strip + 1) * STRIP).min(inner);
                    let from = &values[row * folded * inner..(row + 1) * folded * inner];
                    level.run(
                        #[inline(always)]
                        || fold_columns(op, from, inner, columns),
                    )
                })
                .collect();
            let to = block.values_mut();
            for (task, part) in parts.iter().enumerate() {
                let start = task / strips * inner + task % strips * STRIP;
                to[start..start + part.len()].copy_from_slice(part);
            }
        }
        Ok(self.finish(block, DType::F32))
    }
}

/// Columns that one task folds.
const STRIP: usize = 256;
/// Rows that are summed in f32 before their sum is added in f64.
const ROWS: usize = 64;

/// A long row: pieces in f32 lanes, their sums in f64.
#[inline(always)]
fn fold_row(op: Fold, row: &[f32]) -> f32 {
    match op {
        Fold::Sum => row
            .chunks(PIECE)
            .map(|piece| {
                f64::from(lanes(
                    piece,
                    0.0,
                    #[inline(always)]
                    |a, b| a + b,
                ))
            })
            .sum::<f64>() as f32,
        Fold::Maximum => lanes(row, f32::NEG_INFINITY, greater),
        Fold::Minimum => lanes(row, f32::INFINITY, lesser),
    }
}

/// NaN stays.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a >= b || a.is_nan() { a } else { b }
}

#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if a <= b || a.is_nan() { a } else { b }
}

#[inline(always)]
fn lanes(row: &[f32], start: f32, of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut held = [start; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        held.iter_mut().zip(chunk).for_each(|(held, x)| *held = of(*held, *x));
    }
    held.iter_mut().zip(rest).for_each(|(held, x)| *held = of(*held, *x));
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            held[lane] = of(held[lane], held[lane + width]);
        }
        width /= 2;
    }
    held[0]
}

#[inline(always)]
fn fold_columns(op: Fold, from: &[f32], inner: usize, columns: std::ops::Range<usize>) -> Vec<f32> {
    let rows = || from.chunks_exact(inner).map(|row| &row[columns.clone()]);
    match op {
        Fold::Sum => {
            let mut sums = vec![0f64; columns.len()];
            let mut part = vec![0f32; columns.len()];
            for (index, row) in rows().enumerate() {
                part.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
                if index % ROWS == ROWS - 1 {
                    sums.iter_mut().zip(&mut part).for_each(|(sum, part)| *sum += f64::from(std::mem::take(part)));
                }
            }
            sums.iter().zip(&part).map(|(sum, part)| (sum + f64::from(*part)) as f32).collect()
        }
        Fold::Maximum => extremes(rows(), columns.len(), f32::NEG_INFINITY, greater),
        Fold::Minimum => extremes(rows(), columns.len(), f32::INFINITY, lesser),
    }
}

#[inline(always)]
fn extremes<'a>(rows: impl Iterator<Item = &'a [f32]>, len: usize, start: f32, of: fn(f32, f32) -> f32) -> Vec<f32> {
    let mut held = vec![start; len];
    rows.for_each(|row| held.iter_mut().zip(row).for_each(|(held, x)| *held = of(*held, *x)));
    held
}
