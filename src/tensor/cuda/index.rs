//! Launches of `kernels/index.cu`.

#![allow(unused_imports, unused_variables)]

use crate::tensor::ops::index::*;
use crate::tensor::ops::{reduce::Folding, taps::Taps};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

impl Index for Cuda {
    fn index_select(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        self.absent()
    }
    fn index_add(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        sizes: Indexed,
    ) -> Result<Buffer> {
        self.absent()
    }
    fn gather(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        self.absent()
    }
    fn scatter_add(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        sizes: Indexed,
    ) -> Result<Buffer> {
        self.absent()
    }
    fn one_hot(&self, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        self.absent()
    }
}
