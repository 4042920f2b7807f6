//! Launches of `kernels/attention.cu` (f32) and `kernels/attention_mma.cu` (bf16).

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::attention::{Attention, AttentionKept, AttentionSizes};
use crate::tensor::{Buffer, DType, Memory, Result, Slice, TensorError};

use super::Cuda;
use super::elementwise::aligned;
use super::launch::Launch;
use super::reuse::Block;

/// Sizes that queries, keys and values are filled up to in shared memory.
const FILLED: [usize; 3] = [32, 64, 128];
/// Queries, or keys, of a block; half as many of the other side at a time where gradients of bf16 are worked out.
const TILE: usize = 64;
/// Blocks of twice as many queries that fill the largest machine twice: with fewer, blocks are small.
const MANY_BLOCKS: usize = 528;
/// Floats between the rows of f32 tiles beside those of a row, so that rows begin in different banks.
const APART: usize = 4;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Sizes {
    mask: [i64; 4],
    heads: i32,
    queries: i32,
    keys: i32,
    size: i32,
    value_size: i32,
    scale: f32,
    causal: i32,
    tiles: i32,
    wide: i32,
    exact: i32,
}

/// How tiles of an attention lie in shared memory.
#[derive(Clone, Copy)]
struct Plan {
    dtype: DType,
    filled: usize,
    heads: usize,
    wide: bool,
}

impl Attention for Cuda {
    fn attention(
        &self,
        queries: Slice<'_>,
        keys: Slice<'_>,
        values: Slice<'_>,
        mask: Option<Slice<'_>>,
        sizes: &AttentionSizes,
    ) -> Result<[Buffer; 2]> {
        let plan = self.plan(&[queries, keys, values], sizes)?;
        let rows = plan.heads * sizes.queries;
        let dtype = if sizes.wide { DType::F32 } else { queries.dtype };
        let (y, levels) = (self.take(rows * sizes.value_size, dtype)?, self.take(2 * rows, DType::F32)?);
        let (name, tile, shared) = plan.forward(sizes);
        let launch = plan.launch(self, name, sizes.queries.div_ceil(tile)).shared(shared);
        let launch = launch.input(queries).input(keys).input(values).maybe(mask).output(&y).output(&levels);
        launch.value(plan.sizes(sizes, sizes.queries.div_ceil(tile))).run()?;
        Ok([Buffer::Cuda(y), Buffer::Cuda(levels)])
    }

    fn attention_grad(&self, kept: &AttentionKept<'_>, dy: Slice<'_>, sizes: &AttentionSizes) -> Result<[Buffer; 3]> {
        let plan = self.plan(&[kept.queries, kept.keys, kept.values, dy], sizes)?;
        let along = self.attention_along(kept.result, dy, plan.heads * sizes.queries, sizes.value_size)?;
        let take = |x: Slice<'_>| self.take(x.len, x.dtype);
        let (dq, dk, dv) = (take(kept.queries)?, take(kept.keys)?, take(kept.values)?);
        let launch = |name: &str, tiles: usize| {
            let launch = plan.launch(self, format!("attention_{name}_{}", plan.filled), tiles);
            let launch = launch.shared(plan.back_bytes()).input(kept.queries).input(kept.keys).input(kept.values);
            launch.maybe(kept.mask).input(dy).input(kept.levels).output(&along)
        };
        let tiles = [sizes.queries, sizes.keys].map(|len| len.div_ceil(TILE));
        launch("queries", tiles[0]).output(&dq).value(plan.sizes(sizes, tiles[0])).run()?;
        launch("keys", tiles[1]).output(&dk).output(&dv).value(plan.sizes(sizes, tiles[1])).run()?;
        Ok([dq, dk, dv].map(Buffer::Cuda))
    }
}

impl Cuda {
    fn plan(&self, slices: &[Slice<'_>], sizes: &AttentionSizes) -> Result<Plan> {
        let dtype = slices.first().map_or(DType::F32, |x| x.dtype);
        let most = sizes.size.max(sizes.value_size);
        let filled = FILLED.into_iter().find(|filled| most <= *filled).ok_or_else(|| TensorError::Device {
            device: self.name(),
            what: format!("attention with heads of {most} numbers: there are kernels for up to {}", FILLED[2]),
        })?;
        let whole = [sizes.size, sizes.value_size].into_iter().all(|size| (size * dtype.bytes()).is_multiple_of(16));
        Ok(Plan { dtype, filled, heads: sizes.batch * sizes.heads, wide: whole && aligned(slices) })
    }

    /// Σ dy · y of each query.
    fn attention_along(&self, y: Slice<'_>, dy: Slice<'_>, rows: usize, size: usize) -> Result<Block> {
        /// Rows of a block, one a warp.
        const WARPS: usize = 8;
        let along = self.take(rows, DType::F32)?;
        let launch = self.kernel("attention", "attention_along", dy.dtype).grid(rows.div_ceil(WARPS), 1, 1);
        launch.input(y).input(dy).output(&along).value(rows as i64).value(size as i32).run()?;
        Ok(along)
    }
}

impl Plan {
    /// The kernel, its queries a block, and its bytes of shared memory.
    fn forward(&self, sizes: &AttentionSizes) -> (String, usize, usize) {
        let filled = self.filled;
        if self.dtype == DType::F32 {
            return (format!("attention_{filled}"), TILE, self.rows_bytes(3 * TILE) + shares_bytes());
        }
        let double = filled <= 64 && self.heads * sizes.queries.div_ceil(2 * TILE) >= MANY_BLOCKS;
        let (rows, keys) = match (filled, double) {
            (_, true) => (2, 32),
            (128, _) => (1, 32),
            _ => (1, 64),
        };
        // Queries, and two tiles each of keys and of values.
        (format!("attention_{filled}_{rows}"), rows * TILE, self.rows_bytes(rows * TILE + 4 * keys))
    }

    /// Bytes of shared memory of the kernels that work out gradients.
    fn back_bytes(&self) -> usize {
        match self.dtype {
            DType::F32 => self.rows_bytes(4 * TILE) + shares_bytes(),
            _ => self.rows_bytes(2 * TILE + 4 * TILE / 2),
        }
    }

    fn rows_bytes(&self, rows: usize) -> usize {
        let apart = if self.dtype == DType::F32 { APART } else { 0 };
        rows * (self.filled + apart) * self.dtype.bytes()
    }

    fn launch<'a>(&self, cuda: &'a Cuda, name: String, tiles: usize) -> Launch<'a> {
        let (family, threads) = match self.dtype {
            DType::F32 => ("attention", 256),
            _ => ("attention_mma", 128),
        };
        cuda.kernel(family, &name, self.dtype).threads(threads).grid(self.heads * tiles, 1, 1)
    }

    fn sizes(&self, sizes: &AttentionSizes, tiles: usize) -> Sizes {
        Sizes {
            mask: sizes.mask.map(|step| step as i64),
            heads: sizes.heads as i32,
            queries: sizes.queries as i32,
            keys: sizes.keys as i32,
            size: sizes.size as i32,
            value_size: sizes.value_size as i32,
            scale: sizes.scale,
            causal: sizes.causal.into(),
            tiles: tiles as i32,
            wide: self.wide.into(),
            exact: sizes.wide.into(),
        }
    }
}

/// Bytes of a tile of shares in f32.
fn shares_bytes() -> usize {
    TILE * (TILE + APART) * size_of::<f32>()
}
