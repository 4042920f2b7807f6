//! Launches of `kernels/attention.cu` (f32), `kernels/attention_mma.cu` (bf16) and, where heads are too wide for tiles, of
//! `kernels/attention_table.cu`.

mod table;

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::attention::{Attention, AttentionKept, AttentionSizes};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;
use super::elementwise::aligned;
use super::launch::{Launch, THREADS};
use super::reuse::Block;

/// Sizes that queries, keys and values are filled up to in shared memory.
const FILLED: [usize; 3] = [32, 64, 128];
/// Queries, or keys, of a block; half as many of the other side at a time where gradients of bf16 are worked out.
const TILE: usize = 64;
/// Blocks of twice as many queries that fill the largest machine twice: with fewer, blocks are small.
const MANY_BLOCKS: usize = 528;
/// Rows of a block where a warp has one, in blocks of as many threads as others.
const WARPS: usize = THREADS as usize / 32;
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
        let plan = Plan::new(&[queries, keys, values], sizes).filter(|plan| self.has_room(plan, sizes));
        let Some(plan) = plan else {
            return self.attention_in_table([queries, keys, values], mask, sizes);
        };
        let rows = plan.heads * sizes.queries;
        let dtype = if sizes.wide { DType::F32 } else { queries.dtype };
        let (y, levels) = (self.take(rows * sizes.value_size, dtype)?, self.take(2 * rows, DType::F32)?);
        let (name, tile, shared) = plan.forward(sizes);
        let launch = plan.launch(self, name, sizes.queries.div_ceil(tile)).shared(shared);
        let launch = launch.input(queries).input(keys).input(values).maybe(mask).output(&y).output(&levels);
        launch.value(Sizes::new(sizes, sizes.queries.div_ceil(tile), plan.wide)).run()?;
        Ok([Buffer::Cuda(y), Buffer::Cuda(levels)])
    }

    fn attention_grad(&self, kept: &AttentionKept<'_>, dy: Slice<'_>, sizes: &AttentionSizes) -> Result<[Buffer; 3]> {
        let along = self.attention_along(kept.result, dy, sizes)?;
        let plan = Plan::new(&[kept.queries, kept.keys, kept.values, dy], sizes);
        let Some(plan) = plan.filter(|plan| self.has_room(plan, sizes)) else {
            return self.attention_in_table_grad(kept, dy, &along, sizes);
        };
        let take = |x: Slice<'_>| self.take(x.len, x.dtype);
        let (dq, dk, dv) = (take(kept.queries)?, take(kept.keys)?, take(kept.values)?);
        let launch = |name: &str, tiles: usize| {
            let launch = plan.launch(self, format!("attention_{name}_{}", plan.filled), tiles);
            let launch = launch.shared(plan.back_bytes()).input(kept.queries).input(kept.keys).input(kept.values);
            launch.maybe(kept.mask).input(dy).input(kept.levels).output(&along)
        };
        let tiles = [sizes.queries, sizes.keys].map(|len| len.div_ceil(TILE));
        let numbers = tiles.map(|tiles| Sizes::new(sizes, tiles, plan.wide));
        launch("queries", tiles[0]).output(&dq).value(numbers[0]).run()?;
        launch("keys", tiles[1]).output(&dk).output(&dv).value(numbers[1]).run()?;
        Ok([dq, dk, dv].map(Buffer::Cuda))
    }
}

impl Cuda {
    /// Whether a block has the shared memory of a plan, there and back.
    fn has_room(&self, plan: &Plan, sizes: &AttentionSizes) -> bool {
        plan.forward(sizes).2.max(plan.back_bytes()) <= self.machine().shared_bytes()
    }

    /// Σ dy · y of each query.
    fn attention_along(&self, y: Slice<'_>, dy: Slice<'_>, sizes: &AttentionSizes) -> Result<Block> {
        let rows = rows(sizes);
        let along = self.take(rows, DType::F32)?;
        let launch = self.kernel("attention", "attention_along", dy.dtype).grid(rows.div_ceil(WARPS), 1, 1);
        launch.input(y).input(dy).output(&along).value(rows as i64).value(sizes.value_size as i32).run()?;
        Ok(along)
    }
}

impl Plan {
    /// `None` where heads are wider than tiles can be.
    fn new(slices: &[Slice<'_>], sizes: &AttentionSizes) -> Option<Self> {
        let dtype = slices.first().map_or(DType::F32, |x| x.dtype);
        let filled = FILLED.into_iter().find(|filled| sizes.size.max(sizes.value_size) <= *filled)?;
        let whole = [sizes.size, sizes.value_size].into_iter().all(|size| (size * dtype.bytes()).is_multiple_of(16));
        Some(Plan { dtype, filled, heads: sizes.batch * sizes.heads, wide: whole && aligned(slices) })
    }

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
}

impl Sizes {
    /// For so many blocks of a head, of rows that are whole packs at multiples of 16 bytes or not.
    fn new(sizes: &AttentionSizes, tiles: usize, wide: bool) -> Self {
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
            wide: wide.into(),
            exact: sizes.wide.into(),
        }
    }
}

/// Queries of all heads.
fn rows(sizes: &AttentionSizes) -> usize {
    sizes.batch * sizes.heads * sizes.queries
}

/// Bytes of a tile of shares in f32.
fn shares_bytes() -> usize {
    TILE * (TILE + APART) * size_of::<f32>()
}
