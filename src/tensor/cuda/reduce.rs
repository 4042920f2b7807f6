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
    slabs: u64,
    slab: u64,
    kind: i32,
    padding: i32,
}

/// Blocks that are enough to fill any machine; runs are cut into slabs until there are as many.
const ENOUGH_BLOCKS: usize = 2048;
/// The fewest elements that a slab is worth a block for: 16 of each thread.
const LEAST_SLAB: usize = 4096;
/// Columns of a block.
const STRIP: usize = 32;

impl Reduce for Cuda {
    fn fold(&self, op: Fold, x: Slice<'_>, folding: Folding) -> Result<Buffer> {
        let len = folding.outer.saturating_mul(folding.inner);
        let y = self.take(len, DType::F32)?;
        let (name, tasks, least) = match folding.inner {
            1 => ("fold_rows", folding.outer, LEAST_SLAB),
            inner => ("fold_columns", folding.outer * inner.div_ceil(STRIP), LEAST_SLAB / STRIP),
        };
        let slabs = (ENOUGH_BLOCKS / tasks.max(1)).min(folding.folded / least).max(1);
        let sizes = FoldSizes::new(op, folding, slabs);
        // Each part is one f64: as long as two f32.
        let parts = self.take(if slabs > 1 { 2 * slabs * len } else { 0 }, DType::F32)?;
        let launch = self.kernel("reduce", name, x.dtype).grid(tasks.min(1 << 20), slabs, 1);
        launch.input(x).output(&y).output(&parts).value(sizes).run()?;
        if slabs > 1 {
            let launch = self.kernel_named("reduce", "fold_parts").over(len);
            launch.output(&parts).output(&y).value(sizes).run()?;
        }
        Ok(Buffer::Cuda(y))
    }
}

impl FoldSizes {
    fn new(op: Fold, folding: Folding, slabs: usize) -> Self {
        let slab = folding.folded.div_ceil(slabs);
        let [outer, folded, inner, slabs, slab] =
            [folding.outer, folding.folded, folding.inner, slabs, slab].map(|size| size as u64);
        FoldSizes { outer, folded, inner, slabs, slab, kind: op as i32, padding: 0 }
    }
}
