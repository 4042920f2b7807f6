//! Launches of `kernels/splat.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::splat::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Splats for Cuda {
    fn splat(&self, features: Slice<'_>, positions: Slice<'_>, sizes: Splat) -> Result<(Buffer, Buffer)> {
        self.absent()
    }
    fn splat_grad(
        &self,
        features: Slice<'_>,
        positions: Slice<'_>,
        result: (Slice<'_>, Slice<'_>),
        dy: Slice<'_>,
        sizes: Splat,
    ) -> Result<(Buffer, Buffer)> {
        self.absent()
    }
    fn local_maxima(&self, x: Slice<'_>, sizes: Peaks) -> Result<(Buffer, Buffer)> {
        self.absent()
    }
}
