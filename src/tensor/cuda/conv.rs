//! Launches of `kernels/conv.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::conv::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Conv for Cuda {
    fn conv2d(&self, x: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, epilogue: &ConvEpilogue<'_>) -> Result<Convolved> {
        self.absent()
    }
    fn conv2d_data(&self, dy: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, bias: Option<Slice<'_>>) -> Result<Buffer> {
        self.absent()
    }
    fn conv2d_weight(&self, x: Slice<'_>, dy: Slice<'_>, sizes: &ConvSizes) -> Result<(Buffer, Buffer)> {
        self.absent()
    }
}
