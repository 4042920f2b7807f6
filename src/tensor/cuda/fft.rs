//! Launches of `kernels/fft.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::fft::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Fft for Cuda {
    fn rfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer> {
        self.absent()
    }
    fn irfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer> {
        self.absent()
    }
    fn amplitude(&self, x: Slice<'_>) -> Result<Buffer> {
        self.absent()
    }
    fn amplitude_grad(&self, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer> {
        self.absent()
    }
}
