//! Launches of `kernels/loss.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::loss::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Loss for Cuda {
    fn loss_sum(&self, op: Penalty, x: Slice<'_>, target: Slice<'_>, weights: Option<Weights<'_>>) -> Result<Buffer> {
        self.absent()
    }
    fn loss_grad(
        &self,
        op: Penalty,
        operands: [Slice<'_>; 2],
        weights: Option<Weights<'_>>,
        dy: Slice<'_>,
        of_target: bool,
    ) -> Result<(Buffer, Option<Buffer>)> {
        self.absent()
    }
}
