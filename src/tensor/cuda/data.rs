//! Launches of `kernels/data.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::data::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Data for Cuda {
    fn standardise(
        &self,
        x: Slice<'_>,
        mean: Slice<'_>,
        deviation: Slice<'_>,
        sizes: Channels,
        inverse: bool,
    ) -> Result<Buffer> {
        self.absent()
    }
    fn quality(&self, x: Slice<'_>, quality: Quality<'_>) -> Result<(Buffer, Buffer)> {
        self.absent()
    }
    fn regrid(&self, x: Slice<'_>, taps: [Slice<'_>; 3], sizes: Regridded) -> Result<Buffer> {
        self.absent()
    }
    fn bin(&self, points: Slice<'_>, bins: Bins) -> Result<Buffer> {
        self.absent()
    }
}
