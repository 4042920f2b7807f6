//! Attention of heads that are too wide for tiles: all shares as a table in memory, between products of matrices.
//!
//! The table has four bytes for each query and key of each head, twice for gradients.

use crate::tensor::cuda::Cuda;
use crate::tensor::cuda::launch::Launch;
use crate::tensor::cuda::memory::whole;
use crate::tensor::cuda::reuse::Block;
use crate::tensor::ops::attention::{AttentionKept, AttentionSizes};
use crate::tensor::ops::matmul::{Epilogue, Matmul, Operand, Product};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Sizes, WARPS, rows};

impl Cuda {
    /// What `Attention::attention` gives.
    pub(super) fn attention_in_table(
        &self,
        [q, k, v]: [Slice<'_>; 3],
        mask: Option<Slice<'_>>,
        sizes: &AttentionSizes,
    ) -> Result<[Buffer; 2]> {
        let AttentionSizes { queries, keys, size, value_size, .. } = *sizes;
        let table = self.of_heads(q, k, sizes, ([queries, size, keys], [false, true]), DType::F32)?;
        let shares = whole(&table, rows(sizes) * keys);
        let levels = self.take(2 * rows(sizes), DType::F32)?;
        let launch = self.table_launch("attention_shares", q.dtype, sizes).input(shares).maybe(mask);
        launch.output(&levels).value(rows(sizes) as i64).value(Sizes::new(sizes, 0, false)).run()?;
        let dtype = if sizes.wide { DType::F32 } else { q.dtype };
        let y = self.of_heads(shares, v, sizes, ([queries, keys, value_size], [false, false]), dtype)?;
        Ok([y, Buffer::Cuda(levels)])
    }

    /// What `Attention::attention_grad` gives; `along` is Σ dy · y of each query.
    pub(super) fn attention_in_table_grad(
        &self,
        kept: &AttentionKept<'_>,
        dy: Slice<'_>,
        along: &Block,
        sizes: &AttentionSizes,
    ) -> Result<[Buffer; 3]> {
        let AttentionSizes { queries, keys, size, value_size, .. } = *sizes;
        let (q, k, v) = (kept.queries, kept.keys, kept.values);
        let table = self.of_heads(q, k, sizes, ([queries, size, keys], [false, true]), DType::F32)?;
        let slopes = self.of_heads(dy, v, sizes, ([queries, value_size, keys], [false, true]), DType::F32)?;
        let [shares, slopes] = [&table, &slopes].map(|buffer| whole(buffer, rows(sizes) * keys));
        let launch = self.table_launch("attention_shares_back", q.dtype, sizes).input(shares).input(slopes);
        let launch = launch.maybe(kept.mask).input(kept.levels).output(along);
        launch.value(rows(sizes) as i64).value(Sizes::new(sizes, 0, false)).run()?;
        Ok([
            self.of_heads(slopes, k, sizes, ([queries, keys, size], [false, false]), q.dtype)?,
            self.of_heads(slopes, q, sizes, ([keys, queries, size], [true, false]), k.dtype)?,
            self.of_heads(shares, dy, sizes, ([keys, queries, value_size], [true, false]), v.dtype)?,
        ])
    }

    /// A launch with a warp for each row of the table.
    fn table_launch(&self, name: &str, dtype: DType, sizes: &AttentionSizes) -> Launch<'_> {
        self.kernel("attention_table", name, dtype).grid(rows(sizes).div_ceil(WARPS), 1, 1)
    }

    /// The products of each head: rows, inner index and columns, and whether an operand lies with its rows and columns
    /// exchanged.
    fn of_heads(
        &self,
        x: Slice<'_>,
        y: Slice<'_>,
        sizes: &AttentionSizes,
        ([rows, inner, columns], turned): ([usize; 3], [bool; 2]),
        dtype: DType,
    ) -> Result<Buffer> {
        let operand = |rows: usize, columns: usize, turned: bool| {
            let [row, column] = if turned { [1, rows] } else { [columns, 1] };
            Operand { batch: [0, 0, 0, rows * columns], row, column }
        };
        let (left, right) = (operand(rows, inner, turned[0]), operand(inner, columns, turned[1]));
        let batch = [1, 1, 1, sizes.batch * sizes.heads];
        let sizes = Product { batch, rows, columns, inner, x: left, y: right };
        self.matmul(x, y, &sizes, Epilogue::default(), dtype)
    }
}
