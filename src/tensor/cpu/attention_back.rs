//! The gradient of attention: shares are worked out again from the logarithms of their sums.

use std::ops::Range;

use crate::tensor::ops::attention::AttentionSizes;

use super::attention::{KEYS, Problem, QUERIES};
use super::functions::exp;
use super::gemm::{Apart, Matrix, Multiply, Tile};
use super::pack::{pack_left, pack_right, packed_len};
use super::vector::{Kernel, Vector};

/// A run of keys against all queries of a head.
pub(super) struct Back<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) result: &'a [f32],
    pub(super) log_sums: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) head: usize,
    pub(super) keys: Range<usize>,
    /// Where this run's gradients of the queries begin.
    pub(super) dq_start: usize,
    pub(super) scratch: &'a mut [f32],
    pub(super) to: &'a [Apart<'a, f32>; 3],
}

/// The run's keys and values as right operands.
struct KeyPanels<'a> {
    keys_turned: &'a [f32],
    values_turned: &'a [f32],
    keys: &'a [f32],
    /// Keys of the run.
    len: usize,
}

/// A block of queries and of their gradients as both operands.
struct QueryBlock<'a> {
    rows: usize,
    queries: &'a [f32],
    dy: &'a [f32],
    queries_right: &'a [f32],
    dy_right: &'a [f32],
    /// Σ dy · y of each query.
    along: &'a [f32],
}

/// Lengths of the scratch parts, in their order.
fn lengths(sizes: &AttentionSizes, run: usize, width: usize) -> [usize; 10] {
    let AttentionSizes { size, value_size, .. } = *sizes;
    [
        packed_len(size, run, width),
        packed_len(value_size, run, width),
        packed_len(run, size, width),
        QUERIES * size,
        QUERIES * value_size,
        packed_len(QUERIES, size, width),
        packed_len(QUERIES, value_size, width),
        QUERIES,
        QUERIES * KEYS,
        QUERIES * KEYS,
    ]
}

impl Back<'_> {
    /// Scratch for runs of `run` keys on panels of `width`.
    pub(super) fn scratch_len(sizes: &AttentionSizes, run: usize, width: usize) -> usize {
        lengths(sizes, run, width).into_iter().sum()
    }
}

impl Kernel for Back<'_> {
    #[inline(always)]
    fn run<T: Vector>(mut self) {
        let mut rest = std::mem::take(&mut self.scratch);
        let Back { problem, head, keys, .. } = &self;
        let (sizes, head, run) = (problem.sizes, *head, keys.len());
        let [dq, dk, dv] = self.to;
        let (query_start, key_start) = (head * sizes.queries, head * sizes.keys + keys.start);
        // SAFETY: each task has a run of keys of a head, and gradients of queries, of its own.
        let (dq, dk, dv) = unsafe {
            (
                dq.part(self.dq_start + query_start * sizes.size, sizes.queries * sizes.size),
                dk.part(key_start * sizes.size, run * sizes.size),
                dv.part(key_start * sizes.value_size, run * sizes.value_size),
            )
        };
        dq.fill(0.0);
        dk.fill(0.0);
        dv.fill(0.0);
        let mut parts = lengths(&sizes, run, T::COLUMNS).into_iter().map(
            #[inline(always)]
            |len| {
                let (part, more) = std::mem::take(&mut rest).split_at_mut(len);
                rest = more;
                part
            },
        );
        let mut next = || parts.next().unwrap_or_default();
        let (keys_turned, values_turned, keys_right) = (next(), next(), next());
        pack_right(problem.keys(head).transposed(), 0..sizes.size, keys.clone(), T::COLUMNS, keys_turned);
        pack_right(problem.values(head).transposed(), 0..sizes.value_size, keys.clone(), T::COLUMNS, values_turned);
        pack_right(problem.keys(head), keys.clone(), 0..sizes.size, T::COLUMNS, keys_right);
        let panels = KeyPanels { keys_turned, values_turned, keys: keys_right, len: run };
        let (queries, of_dy, queries_right, dy_right, along) = (next(), next(), next(), next(), next());
        let (shares, gradients) = (next(), next());
        let of_head = query_start * sizes.value_size..(query_start + sizes.queries) * sizes.value_size;
        let (dy, result) = (&self.dy[of_head.clone()], &self.result[of_head]);
        let log_sums = &self.log_sums[query_start..query_start + sizes.queries];
        let dy_matrix = Matrix::rows(dy, sizes.value_size);
        for first in (0..sizes.queries).step_by(QUERIES) {
            let rows = QUERIES.min(sizes.queries - first);
            if sizes.causal && first + rows <= keys.start {
                continue;
            }
            let range = first..first + rows;
            pack_left(problem.queries(head), range.clone(), 0..sizes.size, T::ROWS, queries);
            pack_left(dy_matrix, range.clone(), 0..sizes.value_size, T::ROWS, of_dy);
            pack_right(problem.queries(head), range.clone(), 0..sizes.size, T::COLUMNS, queries_right);
            pack_right(dy_matrix, range.clone(), 0..sizes.value_size, T::COLUMNS, dy_right);
            for (to, query) in along.iter_mut().zip(range.clone()) {
                let of_query = query * sizes.value_size..(query + 1) * sizes.value_size;
                *to = dy[of_query.clone()].iter().zip(&result[of_query]).map(|(dy, y)| dy * y).sum();
            }
            let block = QueryBlock { rows, queries, dy: of_dy, queries_right, dy_right, along };
            for key in (0..run).step_by(KEYS) {
                let count = KEYS.min(run - key);
                panels.products::<T>(&block, &sizes, key, count, [&mut *shares, &mut *gradients]);
                let lines = shares.chunks_exact_mut(KEYS).zip(gradients.chunks_exact_mut(KEYS)).take(rows);
                for (row, (share, gradient)) in lines.enumerate() {
                    let (query, at) = (first + row, keys.start + key);
                    let seen = problem.visible(query, at, at + count);
                    problem.score(head, query, at, &mut share[..seen]);
                    let (log_sum, along) = (log_sums[query], block.along[row]);
                    for (share, gradient) in share[..seen].iter_mut().zip(&mut gradient[..seen]) {
                        *share = exp(*share - log_sum);
                        *gradient = *share * (*gradient - along) * sizes.scale;
                    }
                    share[seen..].fill(0.0);
                    gradient[seen..].fill(0.0);
                }
                let dq = &mut dq[first * sizes.size..(first + rows) * sizes.size];
                panels.queries_gradient::<T>(gradients, &sizes, rows, key, count, dq);
                let turned = Turned { inner: rows, count };
                let dv = &mut dv[key * sizes.value_size..(key + count) * sizes.value_size];
                turned.add::<T>(shares, block.dy_right, sizes.value_size, dv);
                let dk = &mut dk[key * sizes.size..(key + count) * sizes.size];
                turned.add::<T>(gradients, block.queries_right, sizes.size, dk);
            }
        }
    }
}

impl KeyPanels<'_> {
    /// Queries · keysᵀ and dy · valuesᵀ of a block.
    #[inline(always)]
    fn products<T: Tile>(
        &self,
        block: &QueryBlock<'_>,
        sizes: &AttentionSizes,
        key: usize,
        count: usize,
        to: [&mut [f32]; 2],
    ) {
        let inner = [sizes.size, sizes.value_size];
        let operands = [(block.queries, self.keys_turned), (block.dy, self.values_turned)];
        for ((inner, (left, right)), to) in inner.into_iter().zip(operands).zip(to) {
            let multiply = Multiply {
                inner,
                left,
                row: 1,
                step: T::ROWS,
                panel: T::ROWS * inner,
                rows: block.rows,
                right: &right[key * inner..],
                right_step: inner * T::COLUMNS,
                columns: count,
            };
            multiply.run::<T>(to, KEYS, false);
        }
    }

    /// Adds gradients · keys of a block.
    #[inline(always)]
    fn queries_gradient<T: Tile>(
        &self,
        gradients: &[f32],
        sizes: &AttentionSizes,
        rows: usize,
        key: usize,
        count: usize,
        to: &mut [f32],
    ) {
        let multiply = Multiply {
            inner: count,
            left: gradients,
            row: KEYS,
            step: 1,
            panel: T::ROWS * KEYS,
            rows,
            right: &self.keys[key * T::COLUMNS..],
            right_step: self.len * T::COLUMNS,
            columns: sizes.size,
        };
        multiply.run::<T>(to, sizes.size, true);
    }
}

/// A block of queries × keys as a left operand of which the keys are the rows.
struct Turned {
    inner: usize,
    count: usize,
}

impl Turned {
    /// Adds blockᵀ · right.
    #[inline(always)]
    fn add<T: Tile>(&self, block: &[f32], right: &[f32], columns: usize, to: &mut [f32]) {
        let multiply = Multiply {
            inner: self.inner,
            left: block,
            row: 1,
            step: KEYS,
            panel: T::ROWS,
            rows: self.count,
            right,
            right_step: self.inner * T::COLUMNS,
            columns,
        };
        multiply.run::<T>(to, columns, true);
    }
}
