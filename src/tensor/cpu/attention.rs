//! Attention in blocks of queries and keys, each block's products held in the second cache.
//!
//! The loops of Dao, "FlashAttention-2" (2023), on packed keys and values; the gradient of the queries is summed over
//! fixed runs of keys, one run after the other.

use rayon::prelude::*;

use crate::tensor::ops::attention::{Attention, AttentionKept, AttentionSizes};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::attention_back::Back;
use super::functions::{exp, ln};
use super::gemm::{Apart, Matrix, Multiply, Tile, WHOLE, panel_width};
use super::memory::Values;
use super::pack::{PackRight, pack_left, packed_len};
use super::softmax::greatest;
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
        let problem = self.problem([queries, keys, values], mask, sizes);
        let heads = sizes.batch * sizes.heads;
        let key_panels = self.pack_heads(heads, sizes.size, sizes.keys, |head| problem.keys(head).transposed());
        let value_panels = self.pack_heads(heads, sizes.keys, sizes.value_size, |head| problem.values(head));
        let mut result = self.take(heads * sizes.queries * sizes.value_size);
        let mut log_sums = self.take(heads * sizes.queries);
        let (to, to_sums) = (Apart::new(result.values_mut()), Apart::new(log_sums.values_mut()));
        let blocks = sizes.queries.div_ceil(QUERIES);
        let scratch = || self.take(QUERIES * (sizes.size + KEYS + sizes.value_size + 2));
        (0..heads * blocks).into_par_iter().for_each_init(scratch, |scratch, task| {
            let (head, first) = (task / blocks, task % blocks * QUERIES);
            let rows = QUERIES.min(sizes.queries - first);
            let start = head * sizes.queries + first;
            // SAFETY: each task has queries of its own.
            let (to, sums) =
                unsafe { (to.part(start * sizes.value_size, rows * sizes.value_size), to_sums.part(start, rows)) };
            let part = |panels: &'_ Block| panels.values().len() / heads;
            let (key_step, value_step) = (part(&key_panels), part(&value_panels));
            let block = Forward {
                problem: &problem,
                head,
                first,
                key_panels: &key_panels.values()[head * key_step..(head + 1) * key_step],
                value_panels: &value_panels.values()[head * value_step..(head + 1) * value_step],
                scratch: scratch.values_mut(),
                to,
                sums,
            };
            self.level.launch(block);
        });
        Ok([self.finish(result, queries.dtype), self.finish(log_sums, DType::F32)])
    }

    fn attention_grad(&self, kept: &AttentionKept<'_>, dy: Slice<'_>, sizes: &AttentionSizes) -> Result<[Buffer; 3]> {
        let problem = self.problem([kept.queries, kept.keys, kept.values], kept.mask, sizes);
        let (result, log_sums, dy) = (self.read(kept.result), self.read(kept.log_sums), self.read(dy));
        let heads = sizes.batch * sizes.heads;
        let most = sizes.keys.div_ceil(2 * KEYS).max(1);
        let runs = TASKS.div_ceil(heads.max(1)).clamp(1, most);
        let run = sizes.keys.div_ceil(runs).next_multiple_of(KEYS);
        let mut dq = self.take(runs * kept.queries.len);
        let (mut dk, mut dv) = (self.take(kept.keys.len), self.take(kept.values.len));
        let to = [&mut dq, &mut dk, &mut dv].map(|block| Apart::new(block.values_mut()));
        let len = Back::scratch_len(sizes, run, panel_width(self.level));
        (0..heads * runs).into_par_iter().for_each_init(
            || self.take(len),
            |scratch, task| {
                let (head, run_index) = (task % heads, task / heads);
                let keys = (run_index * run).min(sizes.keys)..((run_index + 1) * run).min(sizes.keys);
                let scratch = scratch.values_mut();
                let back = Back {
                    problem: &problem,
                    result: &result,
                    log_sums: &log_sums,
                    dy: &dy,
                    head,
                    keys,
                    dq_start: run_index * kept.queries.len,
                    scratch,
                    to: &to,
                };
                self.level.launch(back);
            },
        );
        let dq = if runs == 1 { dq } else { self.sum_of_parts(&dq, kept.queries.len) };
        Ok([self.finish(dq, kept.queries.dtype), self.finish(dk, kept.keys.dtype), self.finish(dv, kept.values.dtype)])
    }
}

impl Cpu {
    fn problem<'a>(
        &self,
        [queries, keys, values]: [Slice<'a>; 3],
        mask: Option<Slice<'a>>,
        sizes: &AttentionSizes,
    ) -> Problem<'a> {
        let (queries, keys, values) = (self.read(queries), self.read(keys), self.read(values));
        Problem { sizes: *sizes, queries, keys, values, mask: mask.map(|mask| self.read(mask)) }
    }

    /// A matrix of each head as panels.
    fn pack_heads<'a>(
        &self,
        heads: usize,
        inner: usize,
        columns: usize,
        of: impl Fn(usize) -> Matrix<'a> + Sync,
    ) -> Block {
        let width = panel_width(self.level);
        let len = packed_len(inner, columns, width);
        let mut panels = self.take(heads * len);
        panels.values_mut().par_chunks_mut(len.max(1)).enumerate().for_each(|(head, to)| {
            self.level.launch(PackRight { from: of(head), inner: 0..inner, columns: 0..columns, to });
        });
        panels
    }

    /// Parts of `len` elements added one after the other.
    fn sum_of_parts(&self, parts: &Block, len: usize) -> Block {
        let mut sum = self.take(len);
        if len > 0 {
            self.add_parts(parts.values(), sum.values_mut());
        }
        sum
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

    /// Products of a query and keys from `first` on, scaled and masked.
    #[inline(always)]
    pub(super) fn score(&self, head: usize, query: usize, first: usize, products: &mut [f32]) {
        products.iter_mut().for_each(|x| *x *= self.sizes.scale);
        let Some(mask) = &self.mask else { return };
        let [of_batch, of_head, of_query, of_key] = self.sizes.mask;
        let (batch, head) = (head / self.sizes.heads, head % self.sizes.heads);
        let start = batch * of_batch + head * of_head + query * of_query + first * of_key;
        match of_key {
            0 => products.iter_mut().for_each(|x| *x += mask[start]),
            _ => products.iter_mut().zip(&mask[start..]).for_each(|(x, mask)| *x += mask),
        }
    }
}

/// One block of queries against all keys.
struct Forward<'a> {
    problem: &'a Problem<'a>,
    head: usize,
    first: usize,
    key_panels: &'a [f32],
    value_panels: &'a [f32],
    scratch: &'a mut [f32],
    to: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<T: Vector>(self) {
        let Forward { problem, head, first, key_panels, value_panels, scratch, to, sums } = self;
        let (sizes, rows) = (&problem.sizes, sums.len());
        let (left, scratch) = scratch.split_at_mut(QUERIES * sizes.size);
        let (products, scratch) = scratch.split_at_mut(QUERIES * KEYS);
        let (most, total) = scratch.split_at_mut(QUERIES);
        let (most, total) = (&mut most[..rows], &mut total[..rows]);
        pack_left(problem.queries(head), first..first + rows, 0..sizes.size, T::ROWS, left);
        most.fill(f32::NEG_INFINITY);
        total.fill(0.0);
        to.fill(0.0);
        let end = if sizes.causal { sizes.keys.min(first + rows) } else { sizes.keys };
        for key in (0..end).step_by(KEYS) {
            let keys = KEYS.min(sizes.keys - key);
            let of_keys = Multiply {
                inner: sizes.size,
                left,
                row: 1,
                step: T::ROWS,
                panel: T::ROWS * sizes.size,
                rows,
                right: &key_panels[key * sizes.size..],
                right_step: sizes.size * T::COLUMNS,
                columns: keys,
            };
            of_keys.run::<T>(products, KEYS, false);
            for (row, products) in products.chunks_exact_mut(KEYS).take(rows).enumerate() {
                let products = &mut products[..keys];
                let (seen, hidden) = products.split_at_mut(problem.visible(first + row, key, key + keys));
                hidden.fill(0.0);
                problem.score(head, first + row, key, seen);
                let old = shares(seen, &mut most[row], &mut total[row]);
                let to = &mut to[row * sizes.value_size..(row + 1) * sizes.value_size];
                to.iter_mut().for_each(|to| *to *= old);
            }
            let of_values = Multiply {
                inner: keys,
                left: products,
                row: KEYS,
                step: 1,
                panel: T::ROWS * KEYS,
                rows,
                right: &value_panels[key * T::COLUMNS..],
                right_step: sizes.keys * T::COLUMNS,
                columns: sizes.value_size,
            };
            of_values.run::<T>(to, sizes.value_size, true);
        }
        for (row, sum) in sums.iter_mut().enumerate() {
            let (scale, log) = match total[row] {
                0.0 => (0.0, f32::INFINITY),
                total => (1.0 / total, most[row] + ln(total)),
            };
            *sum = log;
            let to = &mut to[row * sizes.value_size..(row + 1) * sizes.value_size];
            to.iter_mut().for_each(|to| *to *= scale);
        }
    }
}

/// Makes scores shares of a running sum, and gives what earlier shares are to be multiplied by.
#[inline(always)]
fn shares(scores: &mut [f32], most: &mut f32, total: &mut f32) -> f32 {
    let found = greatest(scores);
    let new = if found > *most { found } else { *most };
    // Where all is hidden so far, shares of −∞ are 0 from any finite level.
    let level = if new == f32::NEG_INFINITY { 0.0 } else { new };
    scores.iter_mut().for_each(|x| *x = exp(*x - level));
    let mut lanes = [0f32; 16];
    let (whole, rest) = scores.as_chunks::<16>();
    for x in whole {
        lanes.iter_mut().zip(x).for_each(|(lane, x)| *lane += x);
    }
    lanes.iter_mut().zip(rest).for_each(|(lane, x)| *lane += x);
    let old = exp(*most - level);
    *total = *total * old + lanes.iter().sum::<f32>();
    *most = new;
    old
}
