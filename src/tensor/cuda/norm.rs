//! Launches of `kernels/norm.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::norm::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Map, Result, Slice};

use super::Cuda;

impl Norm for Cuda {
    fn moments(&self, x: Slice<'_>, sizes: &NormSizes) -> Result<Buffer> {
        self.absent()
    }
    fn norm(
        &self,
        x: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<Buffer> {
        self.absent()
    }
    fn norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<NormGradients> {
        self.absent()
    }
    fn layer_norm(
        &self,
        x: Slice<'_>,
        weight: Option<Slice<'_>>,
        bias: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<Buffer> {
        self.absent()
    }
    fn layer_norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        weight: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<LayerGradients> {
        self.absent()
    }
}
