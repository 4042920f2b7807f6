//! Launches of `kernels/fields.cu`.

use bytemuck::{Pod, Zeroable};

use crate::domain::Quality;
use crate::tensor::ops::fields::{Corners, Fields};
use crate::tensor::{Buffer, DType, Result, Slice};
use crate::transforms::qc::{Report, bounds, tolerance};

use super::Cuda;
use super::launch::THREADS;

/// The most blocks that check a field: more than a machine runs side by side, few enough that what they found is
/// quickly told.
const MOST_CHECKING: usize = 1024;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct CheckSizes {
    len: u64,
    low: f32,
    high: f32,
    sentinels: i32,
    padding: i32,
}

/// What a block found; counts are whole numbers.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Found {
    missing: f32,
    sentinel: f32,
    outside: f32,
    lowest: f32,
    highest: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BilinearSizes {
    len: u64,
    columns: i32,
    points: i32,
}

impl Fields for Cuda {
    fn check(&self, x: Slice<'_>, quality: &Quality) -> Result<(Buffer, Report)> {
        let blocks = x.len.div_ceil(THREADS as usize).clamp(1, MOST_CHECKING);
        let (y, found) = (self.take(x.len, x.dtype)?, self.take(blocks * size_of::<Found>() / 4, DType::F32)?);
        let pairs: Vec<f32> = quality.sentinels.iter().flat_map(|value| [*value, tolerance(*value)]).collect();
        let (sentinels, [low, high]) = (self.constant(&pairs)?, bounds(quality));
        let sizes = CheckSizes { len: x.len as u64, low, high, sentinels: quality.sentinels.len() as i32, padding: 0 };
        let launch = self.kernel("fields", "check", x.dtype).grid(blocks, 1, 1);
        launch.input(x).output(&sentinels).output(&y).output(&found).value(sizes).run()?;
        let mut told = vec![Found::zeroed(); blocks];
        self.read(found.address(), bytemuck::cast_slice_mut(&mut told))?;
        Ok((Buffer::Cuda(y), report(&told, x.len, quality)))
    }

    fn rotate(&self, [u, v]: [Slice<'_>; 2], [cosine, sine]: [Slice<'_>; 2]) -> Result<[Buffer; 2]> {
        let (east, north) = (self.take(u.len, u.dtype)?, self.take(u.len, u.dtype)?);
        let launch = self.kernel("fields", "rotate", u.dtype).over(u.len).input(u).input(v).input(cosine).input(sine);
        launch.output(&east).output(&north).value(u.len as u64).run()?;
        Ok([east, north].map(Buffer::Cuda))
    }

    fn nearest(&self, x: Slice<'_>, sources: Slice<'_>) -> Result<Buffer> {
        let y = self.take(sources.len, x.dtype)?;
        let launch = self.kernel("fields", "nearest", x.dtype).over(sources.len);
        launch.input(x).input(sources).output(&y).value(sources.len as u64).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn bilinear(&self, x: Slice<'_>, corners: Corners<'_>) -> Result<Buffer> {
        let len = corners.south_west.len;
        let y = self.take(len, x.dtype)?;
        let sizes = BilinearSizes { len: len as u64, columns: corners.columns as i32, points: x.len as i32 };
        let launch = self.kernel("fields", "bilinear", x.dtype).over(len);
        launch.input(x).input(corners.south_west).input(corners.along).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn average(&self, x: Slice<'_>, [offsets, sources, weights]: [Slice<'_>; 3]) -> Result<Buffer> {
        let len = offsets.len - 1;
        let y = self.take(len, x.dtype)?;
        let launch = self.kernel("fields", "average", x.dtype).over(len);
        launch.input(x).input(offsets).input(sources).input(weights).output(&y).value(len as u64).run()?;
        Ok(Buffer::Cuda(y))
    }
}

/// What all blocks found together.
fn report(found: &[Found], len: usize, quality: &Quality) -> Report {
    let count = |of: fn(&Found) -> f32| found.iter().map(|found| of(found) as usize).sum();
    let lowest = found.iter().map(|found| found.lowest).fold(f32::INFINITY, f32::min);
    let highest = found.iter().map(|found| found.highest).fold(f32::NEG_INFINITY, f32::max);
    let report = Report {
        missing_before: count(|found| found.missing),
        sentinel: count(|found| found.sentinel),
        out_of_range: count(|found| found.outside),
        constant: false,
        extremes: (lowest <= highest).then_some((lowest, highest)),
    };
    Report { constant: report.is_constant(len, quality), ..report }
}
