//! Launches of `kernels/splat.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::splat::{Peaks, Splat, Splats};
use crate::tensor::{Buffer, DType, Memory, Result, Slice};

use super::Cuda;
use super::launch::blocks;
use super::resize::wide;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SplatSizes {
    batch: i64,
    points: i32,
    channels: i32,
    rows: i32,
    columns: i32,
    reach: f32,
    scale: f32,
    normalised: i32,
    wide: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PeakSizes {
    batch: i64,
    rows: i32,
    columns: i32,
    radius: i32,
    count: i32,
    threshold: f32,
    padding: i32,
}

/// Cells along each side of the tile of a block, and threads of each cell.
const TILE: usize = 8;
const SHARE: usize = 4;
/// Threads of a block that works on one point.
const POINT_THREADS: usize = 128;
/// The most blocks that work on points; each takes point after point.
const MOST_POINTS: usize = 1 << 16;

impl Splats for Cuda {
    fn splat(&self, features: Slice<'_>, positions: Slice<'_>, sizes: Splat) -> Result<(Buffer, Buffer)> {
        let Splat { batch, channels, rows, columns, .. } = sizes;
        let cells = batch * rows * columns;
        let (y, weights) = (self.take(cells * channels, features.dtype)?, self.take(cells, DType::F32)?);
        let wide = wide(&[features], features.dtype, channels);
        let held = self.in_f32(positions)?;
        let tiles = rows.div_ceil(TILE) * columns.div_ceil(TILE);
        // Sums of weights are there without channels, too.
        let launch = self.kernel("splat", "splat", features.dtype);
        let launch = launch.grid(tiles, (channels / wide).div_ceil(SHARE).max(1), blocks(batch));
        let launch = launch.input(features).input(f32s(&held, positions)).output(&y).output(&weights);
        launch.value(SplatSizes::new(sizes, wide)).run()?;
        Ok((Buffer::Cuda(y), Buffer::Cuda(weights)))
    }

    fn splat_grad(
        &self,
        features: Slice<'_>,
        positions: Slice<'_>,
        (y, weights): (Slice<'_>, Slice<'_>),
        dy: Slice<'_>,
        sizes: Splat,
    ) -> Result<(Buffer, Buffer)> {
        let dfeatures = self.take(features.len, features.dtype)?;
        let dpositions = Buffer::Cuda(self.take(positions.len, DType::F32)?);
        let moves = Slice { buffer: &dpositions, offset: 0, len: positions.len, dtype: DType::F32 };
        let wide = wide(&[features, y, dy], features.dtype, sizes.channels);
        let held = self.in_f32(positions)?;
        let launch = self.kernel("splat", "splat_grad", features.dtype).threads(POINT_THREADS);
        let launch = launch.grid((sizes.batch * sizes.points).min(MOST_POINTS), 1, 1).input(features);
        let launch = launch.input(f32s(&held, positions)).input(y).input(weights).input(dy).output(&dfeatures);
        launch.input(moves).value(SplatSizes::new(sizes, wide)).run()?;
        let dpositions = match positions.dtype {
            DType::F32 => dpositions,
            dtype => self.cast(moves, dtype)?,
        };
        Ok((Buffer::Cuda(dfeatures), dpositions))
    }

    fn local_maxima(&self, x: Slice<'_>, sizes: Peaks) -> Result<(Buffer, Buffer)> {
        let Peaks { batch, rows, columns, count, threshold, .. } = sizes;
        let (index, mask) = (self.take(batch * count, DType::I32)?, self.take(batch * count, DType::F32)?);
        let keys = self.take(x.len, DType::I32)?;
        // No window reaches farther than its field.
        let radius = sizes.radius.min(rows.max(columns));
        let [rows, columns, radius, count] = [rows, columns, radius, count].map(|size| size as i32);
        let kernel_sizes = PeakSizes { batch: batch as i64, rows, columns, radius, count, threshold, padding: 0 };
        self.kernel("splat", "peak_keys", x.dtype).over(x.len).input(x).output(&keys).value(kernel_sizes).run()?;
        let sorted = self.sort(keys, batch, sizes.rows * sizes.columns, u32::MAX)?;
        let launch = self.kernel_named("splat", "peaks").over(batch * sizes.count);
        let launch = launch.output(&sorted.keys).output(&sorted.places).output(&index).output(&mask);
        launch.value(kernel_sizes).run()?;
        Ok((Buffer::Cuda(index), Buffer::Cuda(mask)))
    }
}

impl Cuda {
    /// The same numbers in f32, where they are of another dtype.
    fn in_f32(&self, x: Slice<'_>) -> Result<Option<Buffer>> {
        if x.dtype == DType::F32 { Ok(None) } else { self.cast(x, DType::F32).map(Some) }
    }
}

/// What [`Cuda::in_f32`] gave, or the slice itself.
fn f32s<'a>(held: &'a Option<Buffer>, x: Slice<'a>) -> Slice<'a> {
    held.as_ref().map_or(x, |buffer| Slice { buffer, offset: 0, len: x.len, dtype: DType::F32 })
}

impl SplatSizes {
    fn new(sizes: Splat, wide: usize) -> Self {
        let [points, channels, rows, columns, wide] =
            [sizes.points, sizes.channels, sizes.rows, sizes.columns, wide].map(|size| size as i32);
        let sigma = sizes.splatting.sigma;
        SplatSizes {
            batch: sizes.batch as i64,
            points,
            channels,
            rows,
            columns,
            reach: sizes.splatting.reach * sigma,
            scale: -0.5 / (sigma * sigma),
            normalised: sizes.splatting.normalised.into(),
            wide,
        }
    }
}
