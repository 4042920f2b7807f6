//! Launches of `kernels/attention.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::attention::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Attention for Cuda {
    fn attention(
        &self,
        queries: Slice<'_>,
        keys: Slice<'_>,
        values: Slice<'_>,
        mask: Option<Slice<'_>>,
        sizes: &AttentionSizes,
    ) -> Result<[Buffer; 2]> {
        self.absent()
    }
    fn attention_grad(&self, kept: &AttentionKept<'_>, dy: Slice<'_>, sizes: &AttentionSizes) -> Result<[Buffer; 3]> {
        self.absent()
    }
}
