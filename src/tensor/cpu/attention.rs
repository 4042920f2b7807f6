//! Attention in blocks of queries and keys, each block's products held in the second cache.
//!
//! The loops of Dao, "FlashAttention-2" (2023), on packed keys and values; the gradient of the queries is summed over
//! fixed runs of keys, one run after the other.

use std::f32::consts::LOG2_E;

use rayon::prelude::*;

use crate::tensor::ops::attention::{Attention, AttentionKept, AttentionSizes};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::attention_back::Back;
use super::attention_rows::Rows;
use super::functions::ln;
use super::gemm::{Apart, Matrix, Multiply, Tile, WHOLE, panel_width};
use super::memory::{Values, ready};
use super::pack::{PackRight, pack_left, packed_len};
use super::vector::{Kernel, Vector};
use super::{Block, Cpu};

/// Queries of a block: whole tiles on every level.
pub(super) const QUERIES: usize = WHOLE;
/// Keys of a block: whole tiles on every level.
pub(super) const KEYS: usize = 2 * WHOLE;
/// Tasks that the gradient is cut into where there are few heads.
const TASKS: usize = 32;

/// What every task reads.
pub(super) struct Problem<'a> {
    pub(super) sizes: AttentionSizes,
    pub(super) queries: Values<'a>,
    pub(super) keys: Values<'a>,
    pub(super) values: Values<'a>,
    pub(super) mask: Option<Values<'a>>,
    pub(super) rows: Rows,
}

impl Attention for Cpu {
    fn attention(
        &self,
        queries: Slice<'_>,
        keys: Slice<'_>,
        values: Slice<'_>,
        mask: Option<Slice<'_>>,
        sizes: &AttentionSizes,
    ) -> Result<[Buffer; 2]> {
        let problem = self.problem([queries, keys, values], mask, sizes)?;
        let heads = sizes.batch * sizes.heads;
        let panels = [
            self.pack_heads(heads, sizes.size, sizes.keys, |head| problem.keys(head).transposed())?,
            self.pack_heads(heads, sizes.keys, sizes.value_size, |head| problem.values(head))?,
        ];
        let mut result = self.take(heads * sizes.queries * sizes.value_size)?;
        let mut levels = self.take(2 * heads * sizes.queries)?;
        let to = [&mut result, &mut levels].map(|block| Apart::new(block.values_mut()));
        let scratch = || self.scratch([QUERIES * (sizes.size + KEYS + 2)]);
        let blocks = sizes.queries.div_ceil(QUERIES);
        (0..heads * blocks).into_par_iter().try_for_each_init(scratch, |[scratch], task| -> Result<()> {
            let (head, first) = (task / blocks, task % blocks * QUERIES);
            let scratch = ready(scratch)?.values_mut();
            self.level.launch(Forward::new(&problem, [head, first], &panels, &to, scratch));
            Ok(())
        })?;
        let dtype = if sizes.wide { DType::F32 } else { queries.dtype };
        Ok([self.finish(result, dtype)?, self.finish(levels, DType::F32)?])
    }

    fn attention_grad(&self, kept: &AttentionKept<'_>, dy: Slice<'_>, sizes: &AttentionSizes) -> Result<[Buffer; 3]> {
        let problem = self.problem([kept.queries, kept.keys, kept.values], kept.mask, sizes)?;
        let (result, levels, dy) = (self.read(kept.result)?, self.read(kept.levels)?, self.read(dy)?);
        let heads = sizes.batch * sizes.heads;
        let most = sizes.keys.div_ceil(2 * KEYS).max(1);
        let runs = TASKS.div_ceil(heads.max(1)).clamp(1, most);
        let run = sizes.keys.div_ceil(runs).next_multiple_of(KEYS);
        let mut dq = self.take(runs * kept.queries.len)?;
        let (mut dk, mut dv) = (self.take(kept.keys.len)?, self.take(kept.values.len)?);
        let to = [&mut dq, &mut dk, &mut dv].map(|block| Apart::new(block.values_mut()));
        let len = Back::scratch_len(sizes, run, panel_width(self.level));
        (0..heads * runs).into_par_iter().try_for_each_init(
            || self.scratch([len]),
            |[scratch], task| -> Result<()> {
                let (head, index) = (task % heads, task / heads);
                let keys = (index * run).min(sizes.keys)..((index + 1) * run).min(sizes.keys);
                let (result, levels, dy, to) = (&*result, levels.as_chunks().0, &*dy, &to);
                let (dq_start, scratch) = (index * kept.queries.len, ready(scratch)?.values_mut());
                self.level.launch(Back { problem: &problem, result, levels, dy, head, keys, dq_start, scratch, to });
                Ok(())
            },
        )?;
        let dq = if runs == 1 { dq } else { self.sum_of_parts(&dq, kept.queries.len)? };
        Ok([
            self.finish(dq, kept.queries.dtype)?,
            self.finish(dk, kept.keys.dtype)?,
            self.finish(dv, kept.values.dtype)?,
        ])
    }
}

impl Cpu {
    fn problem<'a>(
        &self,
        [queries, keys, values]: [Slice<'a>; 3],
        mask: Option<Slice<'a>>,
        sizes: &AttentionSizes,
    ) -> Result<Problem<'a>> {
        let (queries, keys, values) = (self.read(queries)?, self.read(keys)?, self.read(values)?);
        Ok(Problem {
            sizes: *sizes,
            queries,
            keys,
            values,
            mask: mask.map(|mask| self.read(mask)).transpose()?,
            rows: Rows::new(self.level),
        })
    }

    /// A matrix of each head as panels.
    fn pack_heads<'a>(
        &self,
        heads: usize,
        inner: usize,
        columns: usize,
        of: impl Fn(usize) -> Matrix<'a> + Sync,
    ) -> Result<Block> {
        let width = panel_width(self.level);
        let len = packed_len(inner, columns, width);
        let mut panels = self.take(heads * len)?;
        panels.values_mut().par_chunks_mut(len.max(1)).enumerate().for_each(|(head, to)| {
            self.level.launch(PackRight { from: of(head), inner: 0..inner, columns: 0..columns, to });
        });
        Ok(panels)
    }

    /// Parts of `len` elements added one after the other.
    fn sum_of_parts(&self, parts: &Block, len: usize) -> Result<Block> {
        let mut sum = self.take(len)?;
        if len > 0 {
            self.add_parts(parts.values(), sum.values_mut());
        }
        Ok(sum)
    }
}

impl Problem<'_> {
    pub(super) fn queries(&self, head: usize) -> Matrix<'_> {
        Matrix::rows(&self.queries[head * self.sizes.queries * self.sizes.size..], self.sizes.size)
    }

    pub(super) fn keys(&self, head: usize) -> Matrix<'_> {
        Matrix::rows(&self.keys[head * self.sizes.keys * self.sizes.size..], self.sizes.size)
    }

    pub(super) fn values(&self, head: usize) -> Matrix<'_> {
        Matrix::rows(&self.values[head * self.sizes.keys * self.sizes.value_size..], self.sizes.value_size)
    }

    /// How many keys of a block from `first` on a query sees.
    #[inline(always)]
    pub(super) fn visible(&self, query: usize, first: usize, end: usize) -> usize {
        let end = if self.sizes.causal { end.min(query + 1) } else { end };
        end.saturating_sub(first).min(KEYS)
    }

    /// Makes products of a query and keys from `first` on scores: scaled and masked, as logarithms to base 2.
    #[inline(always)]
    pub(super) fn score(&self, head: usize, query: usize, first: usize, products: &mut [f32]) {
        let scale = self.sizes.scale * LOG2_E;
        let Some(mask) = &self.mask else { return products.iter_mut().for_each(|x| *x *= scale) };
        let [of_batch, of_head, of_query, of_key] = self.sizes.mask;
        let (batch, head) = (head / self.sizes.heads, head % self.sizes.heads);
        let start = batch * of_batch + head * of_head + query * of_query + first * of_key;
        match of_key {
            0 => products.iter_mut().for_each(|x| *x = *x * scale + to_base_2(mask[start])),
            _ => products.iter_mut().zip(&mask[start..]).for_each(|(x, mask)| *x = *x * scale + to_base_2(*mask)),
        }
    }
}

/// A mask's logarithm to base e as one to base 2: where it is finite, the nearest finite one.
#[inline(always)]
fn to_base_2(mask: f32) -> f32 {
    if mask.is_finite() { (mask * LOG2_E).clamp(f32::MIN, f32::MAX) } else { mask }
}

/// One block of queries against all keys.
struct Forward<'a> {
    problem: &'a Problem<'a>,
    head: usize,
    first: usize,
    key_panels: &'a [f32],
    value_panels: &'a [f32],
    /// The queries as a left operand.
    queries: &'a mut [f32],
    /// Scores, then shares, of a block of keys.
    shares: &'a mut [f32],
    /// The greatest score of each query so far.
    most: &'a mut [f32],
    /// The sum of its shares so far.
    total: &'a mut [f32],
    to: &'a mut [f32],
    levels: &'a mut [f32],
}

impl<'a> Forward<'a> {
    fn new(
        problem: &'a Problem<'a>,
        [head, first]: [usize; 2],
        [key_panels, value_panels]: &'a [Block; 2],
        [to, levels]: &'a [Apart<'a, f32>; 2],
        scratch: &'a mut [f32],
    ) -> Self {
        let sizes = &problem.sizes;
        let rows = QUERIES.min(sizes.queries - first);
        let start = head * sizes.queries + first;
        // SAFETY: each task has queries of its own.
        let (to, levels) =
            unsafe { (to.part(start * sizes.value_size, rows * sizes.value_size), levels.part(2 * start, 2 * rows)) };
        let (queries, rest) = scratch.split_at_mut(QUERIES * sizes.size);
        let (shares, rest) = rest.split_at_mut(QUERIES * KEYS);
        let (most, total) = rest.split_at_mut(QUERIES);
        let of_head = |panels: &'a Block| {
            let step = panels.values().len() / (sizes.batch * sizes.heads);
            &panels.values()[head * step..(head + 1) * step]
        };
        let (key_panels, value_panels) = (of_head(key_panels), of_head(value_panels));
        let (most, total) = (&mut most[..rows], &mut total[..rows]);
        Forward { problem, head, first, key_panels, value_panels, queries, shares, most, total, to, levels }
    }

    /// The products of the queries and `count` keys from `key` on.
    #[inline(always)]
    fn multiply_keys<T: Tile>(&mut self, key: usize, count: usize) {
        let size = self.problem.sizes.size;
        let of_keys = Multiply {
            inner: size,
            left: self.queries,
            row: 1,
            step: T::ROWS,
            panel: T::ROWS * size,
            rows: self.most.len(),
            right: &self.key_panels[key * size..],
            right_step: size * T::COLUMNS,
            columns: count,
        };
        of_keys.run::<T>(self.shares, KEYS, false);
    }

    /// Makes products shares, and what was summed before the share of all that it is now.
    #[inline(always)]
    fn share(&mut self, key: usize, count: usize) {
        let (problem, value_size) = (self.problem, self.problem.sizes.value_size);
        let queries = self.most.iter_mut().zip(&mut *self.total).enumerate();
        for ((row, (most, total)), shares) in queries.zip(self.shares.chunks_exact_mut(KEYS)) {
            let query = self.first + row;
            let (seen, hidden) = shares[..count].split_at_mut(problem.visible(query, key, key + count));
            hidden.fill(0.0);
            problem.score(self.head, query, key, seen);
            let old = problem.rows.shares(seen, most, total);
            if old != 1.0 {
                self.to[row * value_size..][..value_size].iter_mut().for_each(|to| *to *= old);
            }
        }
    }

    /// Adds shares · values of `count` keys from `key` on.
    #[inline(always)]
    fn add_values<T: Tile>(&mut self, key: usize, count: usize) {
        let sizes = &self.problem.sizes;
        let of_values = Multiply {
            inner: count,
            left: self.shares,
            row: KEYS,
            step: 1,
            panel: T::ROWS * KEYS,
            rows: self.most.len(),
            right: &self.value_panels[key * T::COLUMNS..],
            right_step: sizes.keys * T::COLUMNS,
            columns: sizes.value_size,
        };
        of_values.run::<T>(self.to, sizes.value_size, true);
    }

    /// Divides by the sums of shares, and notes the levels, to base 2.
    #[inline(always)]
    fn finish(self) {
        let value_size = self.problem.sizes.value_size;
        for (row, level) in self.levels.as_chunks_mut().0.iter_mut().enumerate() {
            let scale;
            (scale, *level) = match self.total[row] {
                0.0 => (0.0, [f32::INFINITY, 0.0]),
                total => (1.0 / total, [self.most[row], ln(total) * LOG2_E]),
            };
            self.to[row * value_size..][..value_size].iter_mut().for_each(|to| *to *= scale);
        }
    }
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<T: Vector>(mut self) {
        let (sizes, end) = (&self.problem.sizes, self.first + self.most.len());
        pack_left(self.problem.queries(self.head), self.first..end, 0..sizes.size, T::ROWS, self.queries);
        self.most.fill(f32::NEG_INFINITY);
        self.total.fill(0.0);
        self.to.fill(0.0);
        let keys = if sizes.causal { sizes.keys.min(end) } else { sizes.keys };
        for key in (0..keys).step_by(KEYS) {
            let count = KEYS.min(sizes.keys - key);
            self.multiply_keys::<T>(key, count);
            self.share(key, count);
            self.add_values::<T>(key, count);
        }
        self.finish();
    }
}
