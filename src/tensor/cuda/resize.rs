//! Launches of `kernels/resize.cu`.

use std::sync::Arc;

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::resize::{Resample, Resize};
use crate::tensor::ops::taps::Taps;
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;
use super::elementwise::aligned;
use super::launch::{THREADS, blocks};
use super::reuse::Block;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ResampleSizes {
    outer: i64,
    rows: i32,
    columns: i32,
    rows_out: i32,
    columns_out: i32,
    inner: i32,
    wide: i32,
    empty: f32,
    padding: i32,
}

/// Taps of an output, of rows times of columns, above which each dimension is mapped for itself: one pass would load
/// as many elements for every output, two load a sum of rows and then as many of these as there are column taps.
const MANY_TAPS: usize = 64;

impl Resize for Cuda {
    fn resample(&self, x: Slice<'_>, sizes: Resample, rows: &Taps, columns: &Taps) -> Result<Buffer> {
        let y = self.take(sizes.outer * sizes.rows_out * sizes.columns_out * sizes.inner, x.dtype)?;
        let (row_taps, column_taps) = (self.taps(rows)?, self.taps(columns)?);
        let mean = |taps: &Taps| taps.sources.len() / taps.outputs().max(1);
        if mean(rows) * mean(columns) > MANY_TAPS && sizes.empty == 0.0 {
            return self.resample_twice(x, sizes, &row_taps, &column_taps, y);
        }
        let single = |taps: &Taps| taps.offsets.windows(2).all(|pair| pair[1] - pair[0] <= 1);
        let name = if single(rows) && single(columns) { "resample_single" } else { "resample" };
        let wide = wide(&[x], x.dtype, sizes.inner);
        let launch = self.kernel("resize", name, x.dtype).grid(
            (sizes.columns_out * sizes.inner / wide).div_ceil(THREADS as usize),
            blocks(sizes.rows_out),
            blocks(sizes.outer),
        );
        let launch = launch.input(x).output(&row_taps).output(&column_taps).output(&y);
        launch.value(ResampleSizes::new(sizes, wide)).run()?;
        Ok(Buffer::Cuda(y))
    }
}

impl Cuda {
    /// Rows to f32, then columns; outputs without taps are 0.
    fn resample_twice(&self, x: Slice<'_>, sizes: Resample, rows: &Block, columns: &Block, y: Block) -> Result<Buffer> {
        let width = sizes.columns * sizes.inner;
        let between = Buffer::Cuda(self.take(sizes.outer * sizes.rows_out * width, DType::F32)?);
        let between =
            Slice { buffer: &between, offset: 0, len: sizes.outer * sizes.rows_out * width, dtype: DType::F32 };
        let launch = |name: &str, sizes: Resample, wide: usize| {
            self.kernel("resize", name, x.dtype).grid(
                (sizes.inner / wide).div_ceil(THREADS as usize),
                blocks(sizes.rows_out),
                blocks(sizes.outer),
            )
        };
        let (first, wide_first) = (Resample { inner: width, ..sizes }, wide(&[x], x.dtype, width));
        let launch_first = launch("resample_rows", first, wide_first).input(x).output(rows).input(between);
        launch_first.value(ResampleSizes::new(first, wide_first)).run()?;
        let outer = sizes.outer * sizes.rows_out;
        let second = Resample { outer, rows: sizes.columns, rows_out: sizes.columns_out, ..sizes };
        let wide_second = wide(&[], DType::F32, sizes.inner);
        let launch_second = launch("resample_columns", second, wide_second).input(between).output(columns).output(&y);
        launch_second.value(ResampleSizes::new(second, wide_second)).run()?;
        Ok(Buffer::Cuda(y))
    }

    /// Taps as the kernels take them: offsets up to a multiple of 2, then pairs of a source and the bits of a weight.
    fn taps(&self, taps: &Taps) -> Result<Arc<Block>> {
        let mut words = taps.offsets.clone();
        words.resize(words.len().next_multiple_of(2), 0);
        words.extend(taps.sources.iter().zip(&taps.weights).flat_map(|(source, weight)| [*source, weight.to_bits()]));
        self.constant(&words)
    }
}

impl ResampleSizes {
    fn new(sizes: Resample, wide: usize) -> Self {
        let [rows, columns, rows_out, columns_out, inner, wide] =
            [sizes.rows, sizes.columns, sizes.rows_out, sizes.columns_out, sizes.inner, wide].map(|size| size as i32);
        let outer = sizes.outer as i64;
        ResampleSizes { outer, rows, columns, rows_out, columns_out, inner, wide, empty: sizes.empty, padding: 0 }
    }
}

/// How many elements a thread loads at once of rows of `inner`: 16 bytes where they allow it, else one.
pub(super) fn wide(slices: &[Slice<'_>], dtype: DType, inner: usize) -> usize {
    let len = 16 / dtype.bytes();
    if inner.is_multiple_of(len) && aligned(slices) { len } else { 1 }
}
