//! Launches of `kernels/reduce.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::reduce::{Fold, Folding, Reduce};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FoldSizes {
    outer: u64,
    folded: u64,
    inner: u64,
    kind: i32,
    padding: i32,
}

/// The most blocks that fold rows; each takes row after row.
const MOST_ROWS: usize = 1 << 16;

impl Reduce for Cuda {
    fn fold(&self, op: Fold, x: Slice<'_>, folding: Folding) -> Result<Buffer> {
        let Folding { outer, folded, inner } = folding;
        let y = self.take(outer * inner, DType::F32)?;
        let [outer, folded, inner] = [outer, folded, inner].map(|size| size as u64);
        let sizes = FoldSizes { outer, folded, inner, kind: op as i32, padding: 0 };
        let launch = match inner {
            1 => self.kernel("reduce", "fold_rows", x.dtype).grid(folding.outer.min(MOST_ROWS), 1, 1),
            _ => self.kernel("reduce", "fold_columns", x.dtype).over(folding.outer * folding.inner),
        };
        launch.input(x).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }
}
