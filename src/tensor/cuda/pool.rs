//! Launches of `kernels/pool.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::pool::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Pool for Cuda {
    fn max_pool(&self, x: Slice<'_>, sizes: Pool2d) -> Result<(Buffer, Buffer)> {
        self.absent()
    }
    fn max_pool_grad(&self, index: Slice<'_>, dy: Slice<'_>, sizes: Pool2d) -> Result<Buffer> {
        self.absent()
    }
}
