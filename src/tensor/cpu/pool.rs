//! Windows of channels-last images: the channels of a pixel are compared side by side.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::pool::{Pool, Pool2d};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Cpu, PIECE};

impl Pool for Cpu {
    fn max_pool(&self, x: Slice<'_>, sizes: Pool2d) -> Result<(Buffer, Buffer)> {
        let (values, level) = (self.read(x), self.level);
        let width = sizes.columns_out * sizes.channels;
        let rows = sizes.batch * sizes.rows_out;
        let (mut block, mut index) = (self.take(rows * width), self.take(rows * width));
        let each = (PIECE / width.max(1)).max(1) * width.max(1);
        let tasks = block.values_mut().par_chunks_mut(each).zip(index.as_slice_mut::<i32>().par_chunks_mut(each));
        tasks.enumerate().for_each(|(task, (to, at))| {
            let pixels = to.chunks_exact_mut(sizes.channels).zip(at.chunks_exact_mut(sizes.channels));
            level.run(
                #[inline(always)]
                || {
                    let first = task * each / sizes.channels;
                    pixels.enumerate().for_each(|(pixel, (to, at))| window(&values, sizes, first + pixel, to, at));
                },
            );
        });
        Ok((self.finish(block, x.dtype), self.finish(index, DType::I32)))
    }

    fn max_pool_grad(&self, index: Slice<'_>, dy: Slice<'_>, sizes: Pool2d) -> Result<Buffer> {
        let (values, index, level) = (self.read(dy), index.host::<i32>(), self.level);
        let width = sizes.columns * sizes.channels;
        let mut block = self.take(sizes.batch * sizes.rows * width);
        let each = (PIECE / width.max(1)).max(1) * width.max(1);
        block.values_mut().par_chunks_mut(each).enumerate().for_each(|(task, to)| {
            level.run(
                #[inline(always)]
                || {
                    let first = task * each / sizes.channels;
                    let pixels = to.chunks_exact_mut(sizes.channels).enumerate();
                    pixels.for_each(|(pixel, to)| gather(index, &values, sizes, first + pixel, to));
                },
            );
        });
        Ok(self.finish(block, dy.dtype))
    }
}

/// The window of the `pixel`-th output.
#[inline(always)]
fn window(values: &[f32], sizes: Pool2d, pixel: usize, to: &mut [f32], at: &mut [i32]) {
    let (column, row) = (pixel % sizes.columns_out, pixel / sizes.columns_out % sizes.rows_out);
    let plane = pixel / (sizes.columns_out * sizes.rows_out) * sizes.rows * sizes.columns;
    let (rows, columns) = (inputs(sizes, 0, row, sizes.rows), inputs(sizes, 1, column, sizes.columns));
    let first = rows.start * sizes.columns + columns.start;
    to.fill(f32::NEG_INFINITY);
    at.fill(first as i32);
    for row in rows {
        for column in columns.clone() {
            let position = row * sizes.columns + column;
            let from = &values[(plane + position) * sizes.channels..][..sizes.channels];
            for ((to, at), x) in to.iter_mut().zip(at.iter_mut()).zip(from) {
                let better = *x > *to || x.is_nan();
                *to = if better { *x } else { *to };
                *at = if better { position as i32 } else { *at };
            }
        }
    }
}

/// The inputs of a window along an axis.
#[inline(always)]
fn inputs(sizes: Pool2d, axis: usize, output: usize, size: usize) -> Range<usize> {
    let (start, padding) = (output * sizes.window.stride[axis], sizes.window.padding[axis]);
    start.saturating_sub(padding)..(start + sizes.window.kernel[axis]).saturating_sub(padding).min(size)
}

/// The windows along an axis that an input lies in.
#[inline(always)]
fn outputs(sizes: Pool2d, axis: usize, input: usize, size: usize) -> Range<usize> {
    let (at, stride) = (input + sizes.window.padding[axis], sizes.window.stride[axis]);
    let first = (at + 1).saturating_sub(sizes.window.kernel[axis]).div_ceil(stride);
    first..(at / stride + 1).min(size)
}

/// The gradient of the `pixel`-th input.
#[inline(always)]
fn gather(index: &[i32], dy: &[f32], sizes: Pool2d, pixel: usize, to: &mut [f32]) {
    let position = pixel % (sizes.rows * sizes.columns);
    let (row, column) = (position / sizes.columns, position % sizes.columns);
    let image = pixel / (sizes.rows * sizes.columns) * sizes.rows_out;
    to.fill(0.0);
    for row in outputs(sizes, 0, row, sizes.rows_out) {
        for column in outputs(sizes, 1, column, sizes.columns_out) {
            let start = ((image + row) * sizes.columns_out + column) * sizes.channels;
            let chosen = index[start..][..sizes.channels].iter().zip(&dy[start..][..sizes.channels]);
            for (to, (at, dy)) in to.iter_mut().zip(chosen) {
                *to += if *at == position as i32 { *dy } else { 0.0 };
            }
        }
    }
}
