//! Launches of `kernels/diffusion.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::diffusion::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Diffusion for Cuda {
    fn blend(&self, x: Slice<'_>, y: Slice<'_>, factors: &[[f32; 2]]) -> Result<Buffer> {
        self.absent()
    }
    fn sampler_step(
        &self,
        x: Slice<'_>,
        model: Slice<'_>,
        others: [Option<Slice<'_>>; 2],
        step: SamplerStep,
    ) -> Result<[Buffer; 2]> {
        self.absent()
    }
}
