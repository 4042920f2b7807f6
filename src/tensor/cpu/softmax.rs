//! Softmax of rows that lie in memory one after the other, and of columns in strips.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::reduce::Folding;
use crate::tensor::ops::softmax::Softmax;
use crate::tensor::{Buffer, Result, Slice};

use super::functions::{exp, ln};
use super::gemm::Apart;
use super::row_sums::{greatest, sums};
use super::{Cpu, PIECE};

/// Columns that one task works on.
const STRIP: usize = 64;
impl Softmax for Cpu {
    fn softmax(&self, x: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer> {
        let values = self.read(x)?;
        let mut result = self.take(x.len)?;
        if folding.inner == 1 {
            self.rows(
                result.values_mut(),
                folding.folded,
                #[inline(always)]
                |range, to| row(&values[range], log, to),
            );
        } else {
            self.strips(
                result.values_mut(),
                folding,
                #[inline(always)]
                |strip, to| strip.forward(&values, log, to),
            );
        }
        self.finish(result, x.dtype)
    }

    fn softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer> {
        let (values, dy) = (self.read(y)?, self.read(dy)?);
        let mut result = self.take(y.len)?;
        if folding.inner == 1 {
            self.rows(
                result.values_mut(),
                folding.folded,
                #[inline(always)]
                |range, to| row_back(&values[range.clone()], &dy[range], log, to),
            );
        } else {
            self.strips(
                result.values_mut(),
                folding,
                #[inline(always)]
                |strip, to| strip.backward(&values, &dy, log, to),
            );
        }
        self.finish(result, y.dtype)
    }
}

impl Cpu {
    /// Runs `work` for each row, told by where it lies; a task has rows of about [`PIECE`] elements.
    fn rows(&self, to: &mut [f32], len: usize, work: impl Fn(Range<usize>, &mut [f32]) + Sync) {
        let (level, len) = (self.level, len.max(1));
        let many = len * (PIECE / len).max(1);
        to.par_chunks_mut(many).enumerate().for_each(|(task, to)| {
            level.run(
                #[inline(always)]
                || {
                    for (row, to) in to.chunks_exact_mut(len).enumerate() {
                        let start = task * many + row * len;
                        work(start..start + len, to);
                    }
                },
            );
        });
    }

    /// Runs `work` for each strip of columns.
    fn strips(&self, to: &mut [f32], folding: Folding, work: impl Fn(Strip, &Apart<'_, f32>) + Sync) {
        let (level, Folding { outer, folded, inner }) = (self.level, folding);
        let strips = inner.div_ceil(STRIP);
        let to = Apart::new(to);
        (0..outer * strips).into_par_iter().for_each(|task| {
            let (block, first) = (task / strips, task % strips * STRIP);
            let strip = Strip {
                start: block * folded * inner + first,
                step: inner,
                rows: folded,
                width: STRIP.min(inner - first),
            };
            level.run(
                #[inline(always)]
                || work(strip, &to),
            );
        });
    }
}

#[inline(always)]
fn row(x: &[f32], log: bool, to: &mut [f32]) {
    let most = greatest(x);
    to.iter_mut().zip(x).for_each(|(to, x)| *to = exp(x - most));
    let [total] = sums(
        [&*to],
        #[inline(always)]
        |[x]| [x],
    );
    let total = total as f32;
    if log {
        let shift = ln(total);
        to.iter_mut().zip(x).for_each(|(to, x)| *to = x - most - shift);
    } else {
        let scale = 1.0 / total;
        to.iter_mut().for_each(|to| *to *= scale);
    }
}

/// dx = y · (dy − Σ y · dy), and dy − eʸ · Σ dy for the logarithm.
#[inline(always)]
fn row_back(y: &[f32], dy: &[f32], log: bool, to: &mut [f32]) {
    if log {
        let [total] = sums(
            [dy],
            #[inline(always)]
            |[dy]| [dy],
        );
        let total = total as f32;
        to.iter_mut().zip(y.iter().zip(dy)).for_each(|(to, (y, dy))| *to = dy - exp(*y) * total);
    } else {
        let [total] = sums(
            [y, dy],
            #[inline(always)]
            |[y, dy]| [y * dy],
        );
        let total = total as f32;
        to.iter_mut().zip(y.iter().zip(dy)).for_each(|(to, (y, dy))| *to = y * (dy - total));
    }
}

/// Neighbouring columns, each folded on its own.
#[derive(Clone, Copy)]
struct Strip {
    start: usize,
    step: usize,
    rows: usize,
    width: usize,
}

impl Strip {
    /// Where the columns' elements of a row lie.
    #[inline(always)]
    fn row(&self, row: usize) -> Range<usize> {
        let start = self.start + row * self.step;
        start..start + self.width
    }

    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "strips are apart")]
    fn part<'a>(&self, row: usize, to: &'a Apart<'_, f32>) -> &'a mut [f32] {
        let range = self.row(row);
        // SAFETY: strips have no element in common, and a task holds one row at a time.
        unsafe { to.part(range.start, range.len()) }
    }

    #[inline(always)]
    fn forward(self, x: &[f32], log: bool, to: &Apart<'_, f32>) {
        let mut most = [f32::NEG_INFINITY; STRIP];
        for row in 0..self.rows {
            most.iter_mut().zip(&x[self.row(row)]).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
        }
        let mut total = [0f64; STRIP];
        for row in 0..self.rows {
            let to = self.part(row, to);
            for ((to, x), (most, total)) in to.iter_mut().zip(&x[self.row(row)]).zip(most.iter().zip(&mut total)) {
                *to = exp(x - most);
                *total += f64::from(*to);
            }
        }
        let factor = total.map(|total| if log { ln(total as f32) } else { (1.0 / total) as f32 });
        for row in 0..self.rows {
            let to = self.part(row, to);
            for ((to, x), (most, factor)) in to.iter_mut().zip(&x[self.row(row)]).zip(most.iter().zip(&factor)) {
                *to = if log { x - most - factor } else { *to * factor };
            }
        }
    }

    #[inline(always)]
    fn backward(self, y: &[f32], dy: &[f32], log: bool, to: &Apart<'_, f32>) {
        let mut total = [0f64; STRIP];
        for row in 0..self.rows {
            for (total, (y, dy)) in total.iter_mut().zip(y[self.row(row)].iter().zip(&dy[self.row(row)])) {
                *total += f64::from(if log { *dy } else { y * dy });
            }
        }
        let total = total.map(|total| total as f32);
        for row in 0..self.rows {
            let to = self.part(row, to);
            for ((to, total), (y, dy)) in to.iter_mut().zip(&total).zip(y[self.row(row)].iter().zip(&dy[self.row(row)]))
            {
                *to = if log { dy - exp(*y) * total } else { y * (dy - total) };
            }
        }
    }
}
