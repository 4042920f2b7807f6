//! Launches of `kernels/resize.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::resize::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Resize for Cuda {
    fn resample(&self, x: Slice<'_>, sizes: Resample, rows: &Taps, columns: &Taps) -> Result<Buffer> {
        self.absent()
    }
}
