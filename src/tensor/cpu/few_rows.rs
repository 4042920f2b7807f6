//! Products of which the left operand has few rows: the right one is read once, where it lies.

use rayon::prelude::*;

use crate::tensor::ops::matmul::Product;

use super::Cpu;
use super::gemm::MOST;
use super::matmul::Tail;

/// The most rows of the left operand.
const FEW: usize = 4;
/// Columns of one task.
const STRIP: usize = 128;
/// Sums kept side by side.
const LANES: usize = 16;

impl Cpu {
    /// Multiplies and gives true where the left operand has few rows, which lie one after the other.
    pub(super) fn multiply_few(&self, x: &[f32], y: &[f32], sizes: &Product, tail: &Tail<'_>, to: &mut [f32]) -> bool {
        let batches: usize = sizes.batch.iter().product();
        let lies_well = sizes.x.column == 1 && (sizes.y.column == 1 || sizes.y.row == 1);
        if batches != 1 || sizes.rows > FEW || !lies_well {
            return false;
        }
        let level = self.level;
        for (row, to) in to.chunks_exact_mut(sizes.columns).enumerate() {
            let x = &x[row * sizes.x.row..][..sizes.inner];
            to.par_chunks_mut(STRIP).enumerate().for_each(|(strip, to)| {
                let first = strip * STRIP;
                level.run(
                    #[inline(always)]
                    || {
                        if sizes.y.column == 1 {
                            add_rows(x, &y[first..], sizes.y.row, to);
                        } else {
                            products(x, &y[first * sizes.y.column..], sizes.y.column, to);
                        }
                        tail.finish(to, first, row * sizes.columns + first);
                    },
                );
            });
        }
        true
    }
}

/// Rows of the right operand, `step` elements apart, times numbers of the left one.
#[inline(always)]
fn add_rows(x: &[f32], y: &[f32], step: usize, to: &mut [f32]) {
    const { assert!(STRIP <= MOST, "a strip is finished at once") };
    let mut sums = [0f32; STRIP];
    if to.len() == STRIP {
        for (row, x) in x.iter().enumerate() {
            let y = &y[row * step..][..STRIP];
            sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
        }
    } else {
        for (row, x) in x.iter().enumerate() {
            let y = &y[row * step..][..to.len()];
            sums.iter_mut().zip(y).for_each(|(sum, y)| *sum += x * y);
        }
    }
    to.copy_from_slice(&sums[..to.len()]);
}

/// One sum a column of the right operand; columns lie `step` elements apart.
#[inline(always)]
fn products(x: &[f32], y: &[f32], step: usize, to: &mut [f32]) {
    let (whole, rest) = x.as_chunks::<LANES>();
    for (column, to) in to.iter_mut().enumerate() {
        let (y, y_rest) = y[column * step..][..x.len()].as_chunks::<LANES>();
        let mut lanes = [0f32; LANES];
        for (x, y) in whole.iter().zip(y) {
            for lane in 0..LANES {
                lanes[lane] += x[lane] * y[lane];
            }
        }
        lanes.iter_mut().zip(rest.iter().zip(y_rest)).for_each(|(lane, (x, y))| *lane += x * y);
        *to = lanes.iter().sum();
    }
}
