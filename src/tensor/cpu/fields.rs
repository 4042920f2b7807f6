//! Transforms of weather fields: those of the host, and its weights as plain loops.

use crate::domain::Quality;
use crate::tensor::ops::fields::{Corners, Fields};
use crate::tensor::{Buffer, Result, Slice};
use crate::transforms::qc::{self, Report};
use crate::transforms::regrid::{linear, mean};

use super::Cpu;

impl Fields for Cpu {
    fn check(&self, x: Slice<'_>, quality: &Quality) -> Result<(Buffer, Report)> {
        let mut block = self.take(x.len)?;
        block.values_mut().copy_from_slice(&self.read(x)?);
        let report = qc::check(block.values_mut(), quality);
        Ok((self.finish(block, x.dtype)?, report))
    }

    fn rotate(&self, [u, v]: [Slice<'_>; 2], [cosine, sine]: [Slice<'_>; 2]) -> Result<[Buffer; 2]> {
        let (u, v, cosine, sine, dtype) =
            (self.read(u)?, self.read(v)?, cosine.host::<f32>(), sine.host::<f32>(), u.dtype);
        let combined = |formula: fn(f32, f32, f32, f32) -> f32| {
            self.pieces(u.len(), dtype, |first, piece| {
                for (at, to) in piece.iter_mut().enumerate().map(|(at, to)| (first + at, to)) {
                    *to = formula(u[at], v[at], cosine[at], sine[at]);
                }
            })
        };
        let east = combined(|u, v, cosine, sine| cosine * u + sine * v)?;
        Ok([east, combined(|u, v, cosine, sine| cosine * v - sine * u)?])
    }

    fn nearest(&self, x: Slice<'_>, sources: Slice<'_>) -> Result<Buffer> {
        let (values, sources) = (self.read(x)?, sources.host::<i32>());
        self.pieces(sources.len(), x.dtype, |first, piece| {
            for (to, source) in piece.iter_mut().zip(&sources[first..]) {
                *to = usize::try_from(*source).map_or(f32::NAN, |source| values[source]);
            }
        })
    }

    fn bilinear(&self, x: Slice<'_>, corners: Corners<'_>) -> Result<Buffer> {
        let values = self.read(x)?;
        let (south_west, along) = (corners.south_west.host::<i32>(), corners.along.host::<f32>().as_chunks::<2>().0);
        self.pieces(south_west.len(), x.dtype, |first, piece| {
            for (to, (corner, along)) in piece.iter_mut().zip(south_west[first..].iter().zip(&along[first..])) {
                let around = |corner| around(&values, corner, corners.columns);
                *to = usize::try_from(*corner).map_or(f32::NAN, |corner| linear(around(corner), *along));
            }
        })
    }

    fn average(&self, x: Slice<'_>, [offsets, sources, weights]: [Slice<'_>; 3]) -> Result<Buffer> {
        let values = self.read(x)?;
        let (offsets, sources, weights) = (offsets.host::<i32>(), sources.host::<u32>(), weights.host::<f32>());
        self.pieces(offsets.len() - 1, x.dtype, |first, piece| {
            for (to, pair) in piece.iter_mut().zip(offsets[first..].windows(2)) {
                let range = pair[0] as usize..pair[1] as usize;
                *to = mean(&values, &sources[range.clone()], &weights[range]);
            }
        })
    }
}

/// South-west, south-east, north-west, north-east; the first column follows the last, and the only row itself.
fn around(values: &[f32], south_west: usize, columns: usize) -> [f32; 4] {
    let east = if south_west % columns + 1 == columns { south_west + 1 - columns } else { south_west + 1 };
    let north = if south_west + columns < values.len() { columns } else { 0 };
    [south_west, east, south_west + north, east + north].map(|at| values[at])
}
