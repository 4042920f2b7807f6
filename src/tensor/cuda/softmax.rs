//! Launches of `kernels/softmax.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::softmax::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Softmax for Cuda {
    fn softmax(&self, x: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer> {
        self.absent()
    }
    fn softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer> {
        self.absent()
    }
}
