//! Launches of `kernels/recurrent.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::recurrent::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Recurrent for Cuda {
    fn gru(&self, x: Slice<'_>, g: Slice<'_>, h: Slice<'_>, sizes: Gates) -> Result<Buffer> {
        self.absent()
    }
    fn gru_grad(&self, state: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 3]> {
        self.absent()
    }
    fn lstm(&self, gates: Slice<'_>, c: Slice<'_>, sizes: Gates) -> Result<Buffer> {
        self.absent()
    }
    fn lstm_grad(&self, state: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 2]> {
        self.absent()
    }
}
