//! Launches of `kernels/softmax.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::reduce::Folding;
use crate::tensor::ops::softmax::Softmax;
use crate::tensor::{Buffer, Result, Slice};

use super::Cuda;
use super::elementwise::aligned;
use super::launch::Launch;
use super::layer_norm::Rows;

/// Columns of a block.
const COLUMNS: usize = 32;
/// The most blocks of a grid that walks over columns.
const MOST_BLOCKS: usize = 1 << 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SoftmaxSizes {
    outer: i64,
    folded: i64,
    inner: i64,
    log: i32,
    padding: i32,
}

impl Softmax for Cuda {
    fn softmax(&self, x: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer> {
        let y = self.take(x.len, x.dtype)?;
        let launch = self.softmax_launch("softmax", &[x], folding);
        launch.input(x).output(&y).value(SoftmaxSizes::new(folding, log)).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer> {
        let dx = self.take(y.len, y.dtype)?;
        let launch = self.softmax_launch("softmax_back", &[y, dy], folding);
        launch.input(y).input(dy).output(&dx).value(SoftmaxSizes::new(folding, log)).run()?;
        Ok(Buffer::Cuda(dx))
    }
}

impl Cuda {
    fn softmax_launch(&self, name: &str, slices: &[Slice<'_>], folding: Folding) -> Launch<'_> {
        let x = slices[0];
        if folding.inner == 1 {
            let rows = if folding.folded == 0 { 0 } else { folding.outer };
            return Rows::of(folding.folded, x.dtype, aligned(slices)).launch(self, "softmax", name, x, rows);
        }
        let blocks = (folding.outer * folding.inner).div_ceil(COLUMNS).min(MOST_BLOCKS);
        self.kernel("softmax", &format!("{name}_columns"), x.dtype).grid(blocks, 1, 1)
    }
}

impl SoftmaxSizes {
    fn new(folding: Folding, log: bool) -> Self {
        let [outer, folded, inner] = [folding.outer, folding.folded, folding.inner].map(|size| size as i64);
        SoftmaxSizes { outer, folded, inner, log: log.into(), padding: 0 }
    }
}
