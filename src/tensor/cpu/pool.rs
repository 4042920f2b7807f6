//! Windows of channels-last images: the channels of a pixel are compared side by side.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::pool::{Pool, Pool2d};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Cpu, PIECE};

/// Channels that are held in registers while the taps of a window pass by.
const LANES: usize = 16;

impl Pool for Cpu {
    fn max_pool(&self, x: Slice<'_>, sizes: Pool2d) -> Result<(Buffer, Buffer)> {
        let (values, level) = (self.read(x)?, self.level);
        let width = sizes.columns_out * sizes.channels;
        let rows = sizes.batch * sizes.rows_out;
        let (mut block, mut index) = (self.take(rows * width)?, self.take(rows * width)?);
        let each = (PIECE / width.max(1)).max(1) * width.max(1);
        let tasks = block.values_mut().par_chunks_mut(each).zip(index.as_slice_mut::<i32>().par_chunks_mut(each));
        tasks.enumerate().for_each(|(task, (to, at))| {
            level.run(
                #[inline(always)]
                || {
                    let rows = to.chunks_exact_mut(width).zip(at.chunks_exact_mut(width)).enumerate();
                    rows.for_each(|(row, (to, at))| window_row(&values, sizes, task * each / width + row, to, at));
                },
            );
        });
        Ok((self.finish(block, x.dtype)?, self.finish(index, DType::I32)?))
    }

    fn max_pool_grad(&self, index: Slice<'_>, dy: Slice<'_>, sizes: Pool2d) -> Result<Buffer> {
        let (values, index, level) = (self.read(dy)?, index.host::<i32>(), self.level);
        let width = sizes.columns * sizes.channels;
        let columns: Vec<Range<usize>> =
            (0..sizes.columns).map(|column| outputs(sizes, 1, column, sizes.columns_out)).collect();
        let mut block = self.take(sizes.batch * sizes.rows * width)?;
        let each = (PIECE / width.max(1)).max(1) * width.max(1);
        block.values_mut().par_chunks_mut(each).enumerate().for_each(|(task, to)| {
            level.run(
                #[inline(always)]
                || {
                    let rows = to.chunks_exact_mut(width).enumerate();
                    rows.for_each(|(row, to)| {
                        gather_row(index, &values, sizes, task * each / width + row, &columns, to)
                    });
                },
            );
        });
        self.finish(block, dy.dtype)
    }
}

/// The windows of the `row`-th row of outputs.
#[inline(always)]
fn window_row(values: &[f32], sizes: Pool2d, row: usize, to: &mut [f32], at: &mut [i32]) {
    let image = &values[row / sizes.rows_out * sizes.rows * sizes.columns * sizes.channels..];
    let rows = inputs(sizes, 0, row % sizes.rows_out, sizes.rows);
    let pixels = to.chunks_exact_mut(sizes.channels).zip(at.chunks_exact_mut(sizes.channels));
    for (column, (to, at)) in pixels.enumerate() {
        let columns = inputs(sizes, 1, column, sizes.columns);
        let mut channel = 0;
        for (to, at) in to.chunks_mut(LANES).zip(at.chunks_mut(LANES)) {
            match (to.try_into(), at.try_into()) {
                (Ok(to), Ok(at)) => window::<LANES>(image, sizes, channel, &rows, &columns, to, at),
                _ => {
                    for (i, (to, at)) in to.iter_mut().zip(at).enumerate() {
                        let (to, at) = (std::array::from_mut(to), std::array::from_mut(at));
                        window::<1>(image, sizes, channel + i, &rows, &columns, to, at);
                    }
                }
            }
            channel += LANES;
        }
    }
}

/// One window of `N` channels from `channel` on.
#[inline(always)]
fn window<const N: usize>(
    image: &[f32],
    sizes: Pool2d,
    channel: usize,
    rows: &Range<usize>,
    columns: &Range<usize>,
    to: &mut [f32; N],
    at: &mut [i32; N],
) {
    let first = rows.start * sizes.columns + columns.start;
    let (mut best, mut place) = ([f32::NEG_INFINITY; N], [first as i32; N]);
    for row in rows.clone() {
        for column in columns.clone() {
            let position = row * sizes.columns + column;
            let from = &image[position * sizes.channels + channel..][..N];
            for i in 0..N {
                let better = (from[i] > best[i]) | from[i].is_nan();
                best[i] = if better { from[i] } else { best[i] };
                place[i] = if better { position as i32 } else { place[i] };
            }
        }
    }
    (*to, *at) = (best, place);
}

/// The inputs of a window along an axis.
#[inline(always)]
fn inputs(sizes: Pool2d, axis: usize, output: usize, size: usize) -> Range<usize> {
    let (start, padding) = (output * sizes.window.stride[axis], sizes.window.padding[axis]);
    start.saturating_sub(padding)..(start + sizes.window.kernel[axis]).saturating_sub(padding).min(size)
}

/// The windows along an axis that an input lies in.
fn outputs(sizes: Pool2d, axis: usize, input: usize, size: usize) -> Range<usize> {
    let (at, stride) = (input + sizes.window.padding[axis], sizes.window.stride[axis]);
    let first = (at + 1).saturating_sub(sizes.window.kernel[axis]).div_ceil(stride);
    first..(at / stride + 1).min(size)
}

/// The gradients of the `row`-th row of inputs.
#[inline(always)]
fn gather_row(index: &[i32], dy: &[f32], sizes: Pool2d, row: usize, columns: &[Range<usize>], to: &mut [f32]) {
    let (image, row) = (row / sizes.rows * sizes.rows_out, row % sizes.rows);
    let rows = outputs(sizes, 0, row, sizes.rows_out);
    for (column, to) in to.chunks_exact_mut(sizes.channels).enumerate() {
        let position = (row * sizes.columns + column) as i32;
        let windows = (image + rows.start..image + rows.end, &columns[column]);
        let mut channel = 0;
        for to in to.chunks_mut(LANES) {
            let len = to.len();
            match to.try_into() {
                Ok(to) => gather::<LANES>(index, dy, sizes, channel, &windows, position, to),
                _ => {
                    for (i, to) in to.iter_mut().enumerate() {
                        let to = std::array::from_mut(to);
                        gather::<1>(index, dy, sizes, channel + i, &windows, position, to);
                    }
                }
            }
            channel += len;
        }
    }
}

/// The gradient of `N` channels of one input from the windows it lies in: their rows, and their columns.
#[inline(always)]
fn gather<const N: usize>(
    index: &[i32],
    dy: &[f32],
    sizes: Pool2d,
    channel: usize,
    windows: &(Range<usize>, &Range<usize>),
    position: i32,
    to: &mut [f32; N],
) {
    let mut sums = [0.0; N];
    for row in windows.0.clone() {
        for column in windows.1.clone() {
            let start = (row * sizes.columns_out + column) * sizes.channels + channel;
            let (at, dy) = (&index[start..][..N], &dy[start..][..N]);
            for i in 0..N {
                // A mask instead of a branch: which window chose the input cannot be foreseen.
                let mask = 0u32.wrapping_sub(u32::from(at[i] == position));
                sums[i] += f32::from_bits(dy[i].to_bits() & mask);
            }
        }
    }
    *to = sums;
}
