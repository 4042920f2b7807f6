//! Launches of `kernels/pool.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::pool::{Pool, Pool2d};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;
use super::launch::{Launch, THREADS, blocks};
use super::resize::wide;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PoolSizes {
    batch: i64,
    rows: i32,
    columns: i32,
    channels: i32,
    rows_out: i32,
    columns_out: i32,
    kernel: [i32; 2],
    stride: [i32; 2],
    padding: [i32; 2],
    wide: i32,
}

impl PoolSizes {
    fn new(sizes: Pool2d, wide: usize) -> Self {
        let pair = |sizes: [usize; 2]| sizes.map(|size| size as i32);
        PoolSizes {
            batch: sizes.batch as i64,
            rows: sizes.rows as i32,
            columns: sizes.columns as i32,
            channels: sizes.channels as i32,
            rows_out: sizes.rows_out as i32,
            columns_out: sizes.columns_out as i32,
            kernel: pair(sizes.window.kernel),
            stride: pair(sizes.window.stride),
            padding: pair(sizes.window.padding),
            wide: wide as i32,
        }
    }
}

/// The kernel that holds windows of the size.
fn kernel_of(sizes: Pool2d) -> &'static str {
    match sizes.window.kernel {
        [0..=2, 0..=2] => "max_pool_2",
        [0..=3, 0..=3] => "max_pool_3",
        _ => "max_pool_any",
    }
}

/// A block for a part of a row, a row of blocks for each of so many rows.
fn over_rows(launch: Launch<'_>, rows: usize, width: usize) -> Launch<'_> {
    launch.grid(width.div_ceil(THREADS as usize), blocks(rows), 1)
}

impl Pool for Cuda {
    fn max_pool(&self, x: Slice<'_>, sizes: Pool2d) -> Result<(Buffer, Buffer)> {
        let (rows, wide) = (sizes.batch * sizes.rows_out, wide(&[x], x.dtype, sizes.channels));
        let len = rows * sizes.columns_out * sizes.channels;
        let (y, index) = (self.take(len, x.dtype)?, self.take(len, DType::I32)?);
        let launch =
            over_rows(self.kernel("pool", kernel_of(sizes), x.dtype), rows, sizes.columns_out * sizes.channels / wide);
        launch.input(x).output(&y).output(&index).value(PoolSizes::new(sizes, wide)).run()?;
        Ok((Buffer::Cuda(y), Buffer::Cuda(index)))
    }

    fn max_pool_grad(&self, index: Slice<'_>, dy: Slice<'_>, sizes: Pool2d) -> Result<Buffer> {
        let (rows, wide) = (sizes.batch * sizes.rows, wide(&[index, dy], dy.dtype, sizes.channels));
        let dx = self.take(rows * sizes.columns * sizes.channels, dy.dtype)?;
        let launch =
            over_rows(self.kernel("pool", "max_pool_grad", dy.dtype), rows, sizes.columns * sizes.channels / wide);
        launch.input(index).input(dy).output(&dx).value(PoolSizes::new(sizes, wide)).run()?;
        Ok(Buffer::Cuda(dx))
    }
}
