//! The gradient of attention: shares are worked out again from the levels of the queries.

use std::ops::Range;

use crate::tensor::ops::attention::AttentionSizes;

use super::attention::{KEYS, Problem, QUERIES};
use super::gemm::{Apart, Matrix, Multiply, Tile};
use super::pack::{pack_left, pack_right, packed_len};
use super::vector::{Kernel, Vector};

/// A run of keys against all queries of a head.
pub(super) struct Back<'a> {
    pub(super) problem: &'a Problem<'a>,
    pub(super) result: &'a [f32],
    pub(super) levels: &'a [[f32; 2]],
    pub(super) dy: &'a [f32],
    pub(super) head: usize,
    pub(super) keys: Range<usize>,
    /// Where this run's gradients of the queries begin.
    pub(super) dq_start: usize,
    pub(super) scratch: &'a mut [f32],
    pub(super) to: &'a [Apart<'a, f32>; 3],
}

/// The run's keys and values, and a block of queries and their gradients, as operands; and what is between.
struct Scratch<'a> {
    keys_turned: &'a mut [f32],
    values_turned: &'a mut [f32],
    keys: &'a mut [f32],
    queries: &'a mut [f32],
    dy: &'a mut [f32],
    queries_right: &'a mut [f32],
    dy_right: &'a mut [f32],
    /// Σ dy · y of each query.
    along: &'a mut [f32],
    /// Shares of a block of queries × keys.
    shares: &'a mut [f32],
    /// Gradients of the products of that block.
    gradients: &'a mut [f32],
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

impl<'a> Scratch<'a> {
    fn new(mut rest: &'a mut [f32], lengths: [usize; 10]) -> Self {
        let parts = lengths.map(|len| {
            let (part, more) = std::mem::take(&mut rest).split_at_mut(len);
            rest = more;
            part
        });
        let [keys_turned, values_turned, keys, queries, dy, queries_right, dy_right, along, shares, gradients] = parts;
        Scratch { keys_turned, values_turned, keys, queries, dy, queries_right, dy_right, along, shares, gradients }
    }
}

/// A block of queries × keys, the keys counted from the run's first.
struct Part {
    queries: Range<usize>,
    key: usize,
    /// Keys.
    count: usize,
}

impl<'a> Back<'a> {
    /// Scratch for runs of `run` keys on panels of `width`.
    pub(super) fn scratch_len(sizes: &AttentionSizes, run: usize, width: usize) -> usize {
        lengths(sizes, run, width).into_iter().sum()
    }

    /// The gradients of queries, keys and values that this task sums, at 0.
    fn gradients(&self) -> [&'a mut [f32]; 3] {
        let (sizes, run, [dq, dk, dv]) = (&self.problem.sizes, self.keys.len(), self.to);
        let (query, key) = (self.head * sizes.queries, self.head * sizes.keys + self.keys.start);
        // SAFETY: each task has a run of keys of a head, and gradients of queries, of its own.
        let parts = unsafe {
            [
                dq.part(self.dq_start + query * sizes.size, sizes.queries * sizes.size),
                dk.part(key * sizes.size, run * sizes.size),
                dv.part(key * sizes.value_size, run * sizes.value_size),
            ]
        };
        parts.map(|part| {
            part.fill(0.0);
            part
        })
    }

    /// The part of an array (heads, queries, value size) that belongs to queries of the head.
    fn of_queries<'b>(&self, values: &'b [f32], queries: &Range<usize>) -> &'b [f32] {
        let (first, size) = (self.head * self.problem.sizes.queries, self.problem.sizes.value_size);
        &values[(first + queries.start) * size..(first + queries.end) * size]
    }

    #[inline(always)]
    fn pack_keys<T: Tile>(&self, held: &mut Scratch<'_>) {
        let (sizes, keys) = (&self.problem.sizes, self.keys.clone());
        let (of_keys, of_values) = (self.problem.keys(self.head), self.problem.values(self.head));
        pack_right(of_keys.transposed(), 0..sizes.size, keys.clone(), T::COLUMNS, held.keys_turned);
        pack_right(of_values.transposed(), 0..sizes.value_size, keys.clone(), T::COLUMNS, held.values_turned);
        pack_right(of_keys, keys, 0..sizes.size, T::COLUMNS, held.keys);
    }

    #[inline(always)]
    fn pack_queries<T: Tile>(&self, queries: &Range<usize>, held: &mut Scratch<'_>) {
        let AttentionSizes { size, value_size, .. } = self.problem.sizes;
        let of_queries = self.problem.queries(self.head);
        let (dy, y) = (self.of_queries(self.dy, queries), self.of_queries(self.result, queries));
        let (of_dy, rows) = (Matrix::rows(dy, value_size), 0..queries.len());
        pack_left(of_queries, queries.clone(), 0..size, T::ROWS, held.queries);
        pack_left(of_dy, rows.clone(), 0..value_size, T::ROWS, held.dy);
        pack_right(of_queries, queries.clone(), 0..size, T::COLUMNS, held.queries_right);
        pack_right(of_dy, rows.clone(), 0..value_size, T::COLUMNS, held.dy_right);
        for (to, row) in held.along.iter_mut().zip(rows) {
            let of_row = row * value_size..(row + 1) * value_size;
            *to = dy[of_row.clone()].iter().zip(&y[of_row]).map(|(dy, y)| dy * y).sum();
        }
    }

    /// Queries · keysᵀ and dy · valuesᵀ.
    #[inline(always)]
    fn multiply<T: Tile>(&self, part: &Part, held: &mut Scratch<'_>) {
        let AttentionSizes { size, value_size, .. } = self.problem.sizes;
        let of_keys = (size, &*held.queries, &*held.keys_turned, &mut *held.shares);
        let of_values = (value_size, &*held.dy, &*held.values_turned, &mut *held.gradients);
        for (inner, left, right, to) in [of_keys, of_values] {
            let multiply = Multiply {
                inner,
                left,
                row: 1,
                step: T::ROWS,
                panel: T::ROWS * inner,
                rows: part.queries.len(),
                right: &right[part.key * inner..],
                right_step: inner * T::COLUMNS,
                columns: part.count,
            };
            multiply.run::<T>(to, KEYS, false);
        }
    }

    /// Makes products shares, and gradients of shares those of the products.
    #[inline(always)]
    fn share(&self, part: &Part, held: &mut Scratch<'_>) {
        let (problem, first) = (self.problem, self.keys.start + part.key);
        let levels = &self.levels[self.head * problem.sizes.queries..];
        let lines = held.shares.chunks_exact_mut(KEYS).zip(held.gradients.chunks_exact_mut(KEYS));
        for ((query, (shares, gradients)), along) in part.queries.clone().zip(lines).zip(&*held.along) {
            let seen = problem.visible(query, first, first + part.count);
            shares[seen..].fill(0.0);
            gradients[seen..].fill(0.0);
            let (shares, gradients) = (&mut shares[..seen], &mut gradients[..seen]);
            problem.score(self.head, query, first, shares);
            problem.rows.gradients(shares, gradients, levels[query], *along, problem.sizes.scale);
        }
    }

    /// Adds what a block gives to the gradients of its queries.
    #[inline(always)]
    fn add_to_queries<T: Tile>(&self, part: &Part, held: &Scratch<'_>, dq: &mut [f32]) {
        let size = self.problem.sizes.size;
        let multiply = Multiply {
            inner: part.count,
            left: held.gradients,
            row: KEYS,
            step: 1,
            panel: T::ROWS * KEYS,
            rows: part.queries.len(),
            right: &held.keys[part.key * T::COLUMNS..],
            right_step: self.keys.len() * T::COLUMNS,
            columns: size,
        };
        multiply.run::<T>(&mut dq[part.queries.start * size..part.queries.end * size], size, true);
    }
}

impl Part {
    /// Adds blockᵀ · right, rows of as many elements as `columns`, to those of the block's keys.
    #[inline(always)]
    fn add_turned<T: Tile>(&self, block: &[f32], right: &[f32], columns: usize, to: &mut [f32]) {
        let inner = self.queries.len();
        let multiply = Multiply {
            inner,
            left: block,
            row: 1,
            step: KEYS,
            panel: T::ROWS,
            rows: self.count,
            right,
            right_step: inner * T::COLUMNS,
            columns,
        };
        multiply.run::<T>(&mut to[self.key * columns..(self.key + self.count) * columns], columns, true);
    }
}

impl Kernel for Back<'_> {
    #[inline(always)]
    fn run<T: Vector>(mut self) {
        let (sizes, run) = (self.problem.sizes, self.keys.len());
        let mut held = Scratch::new(std::mem::take(&mut self.scratch), lengths(&sizes, run, T::COLUMNS));
        let [dq, dk, dv] = self.gradients();
        self.pack_keys::<T>(&mut held);
        for first in (0..sizes.queries).step_by(QUERIES) {
            let queries = first..(first + QUERIES).min(sizes.queries);
            if sizes.causal && queries.end <= self.keys.start {
                continue;
            }
            self.pack_queries::<T>(&queries, &mut held);
            for key in (0..run).step_by(KEYS) {
                let part = Part { queries: queries.clone(), key, count: KEYS.min(run - key) };
                self.multiply::<T>(&part, &mut held);
                self.share(&part, &mut held);
                self.add_to_queries::<T>(&part, &held, dq);
                part.add_turned::<T>(held.shares, held.dy_right, sizes.value_size, dv);
                part.add_turned::<T>(held.gradients, held.queries_right, sizes.size, dk);
            }
        }
    }
}
