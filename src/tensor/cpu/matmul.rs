//! Products of matrices in tiles of fixed size, one job a tile, long sums in parts of fixed length.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::elementwise::Map;
use crate::tensor::ops::matmul::{Epilogue, Matmul, Operand, Product};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::elementwise::map_piece;
use super::gemm::{Apart, DEPTH, MOST, Matrix, PackRight, Tile, pack_left, panel_width, put_line};
use super::memory::Values;
use super::vector::{Kernel, Vector};
use super::{Cpu, PIECE};

/// Rows of one job: their packed left operand stays in the second cache.
const ROWS: usize = 120;
/// Columns of one job where there are many jobs anyway; a multiple of every panel's width.
const COLUMNS: usize = 1024;
/// Columns of one job where there are few rows.
const FEW_COLUMNS: usize = 256;
/// Products of fewer jobs than this have their sums cut into parts.
const FEW_JOBS: usize = 16;
/// The least length of such a part.
const PART: usize = 8 * DEPTH;
/// Multiplications that are worth a task.
const WORTH_A_TASK: usize = 1 << 18;

/// A product, and how it is cut into jobs.
struct Plan<'a> {
    sizes: Product,
    x: &'a [f32],
    packed: &'a [f32],
    /// Elements of one packed right operand; 0 where all batches share it.
    packed_step: usize,
    row_blocks: usize,
    columns_a_job: usize,
    column_blocks: usize,
    parts: usize,
    to: Apart<'a, f32>,
    tail: Tail<'a>,
}

/// What is done to the sums of a row.
pub(super) struct Tail<'a> {
    bias: Option<Values<'a>>,
    activation: Option<Map>,
    residual: Option<Values<'a>>,
}

impl Operand {
    /// Where a matrix of a batch begins.
    pub(super) fn start(&self, batch: &[usize], mut index: usize) -> usize {
        let mut start = 0;
        for (size, step) in batch.iter().zip(&self.batch).rev() {
            start += index % size * step;
            index /= size;
        }
        start
    }
}

impl Matmul for Cpu {
    fn matmul(
        &self,
        x: Slice<'_>,
        y: Slice<'_>,
        sizes: &Product,
        epilogue: Epilogue<'_>,
        dtype: DType,
    ) -> Result<Buffer> {
        let (x, y) = (self.read(x), self.read(y));
        let batches: usize = sizes.batch.iter().product();
        let mut result = self.take(batches * sizes.rows * sizes.columns);
        let tail = Tail {
            bias: epilogue.bias.map(|bias| self.read(bias)),
            activation: epilogue.activation,
            residual: epilogue.residual.map(|residual| self.read(residual)),
        };
        if sizes.inner == 0 {
            result.values_mut().fill(0.0);
            self.finish_product_rows(result.values_mut(), sizes.columns, &tail);
        } else {
            self.multiply(&x, &y, sizes, tail, result.values_mut());
        }
        Ok(self.finish(result, dtype))
    }
}

impl Cpu {
    fn multiply(&self, x: &[f32], y: &[f32], sizes: &Product, tail: Tail<'_>, to: &mut [f32]) {
        if to.is_empty() || self.multiply_few(x, y, sizes, &tail, to) {
            return;
        }
        let width = panel_width(self.level);
        let shared = sizes.y.batch.iter().zip(&sizes.batch).all(|(step, size)| *step == 0 || *size == 1);
        let batches: usize = sizes.batch.iter().product();
        let packed = self.pack(y, sizes, if shared { 1 } else { batches }, width);
        let columns_a_job = if sizes.rows > 4 * ROWS { COLUMNS } else { FEW_COLUMNS };
        let (row_blocks, column_blocks) = (sizes.rows.div_ceil(ROWS), sizes.columns.div_ceil(columns_a_job));
        let jobs = batches * row_blocks * column_blocks;
        let parts = if jobs < FEW_JOBS { (sizes.inner / PART).clamp(1, FEW_JOBS) } else { 1 };
        let plan = |to, parts, tail| Plan {
            sizes: *sizes,
            x,
            packed: packed.values(),
            packed_step: if shared { 0 } else { packed.values().len() / batches },
            row_blocks,
            columns_a_job,
            column_blocks,
            parts,
            to: Apart::new(to),
            tail,
        };
        if parts == 1 {
            return self.run_jobs(&plan(to, 1, tail), jobs);
        }
        let mut partial = self.take(parts * to.len());
        let nothing = Tail { bias: None, activation: None, residual: None };
        self.run_jobs(&plan(partial.values_mut(), parts, nothing), jobs * parts);
        self.add_parts(partial.values(), to);
        self.finish_product_rows(to, sizes.columns, &tail);
    }

    /// The right operands as panels.
    fn pack(&self, y: &[f32], sizes: &Product, matrices: usize, width: usize) -> super::Block {
        let panels = sizes.columns.div_ceil(width);
        let panel = sizes.inner * width;
        let mut packed = self.take(matrices * panels * panel);
        let (level, least) = (self.level, (PIECE / panel).max(1));
        packed.values_mut().par_chunks_mut(panel).enumerate().with_min_len(least).for_each(|(index, to)| {
            let start = sizes.y.start(&sizes.batch, index / panels);
            let from = Matrix { values: &y[start..], row: sizes.y.row, column: sizes.y.column };
            let first = index % panels * width;
            let columns = first..(first + width).min(sizes.columns);
            level.launch(PackRight { from, inner: 0..sizes.inner, columns, to });
        });
        packed
    }

    fn run_jobs(&self, plan: &Plan<'_>, jobs: usize) {
        let rows = plan.sizes.rows.min(ROWS).next_multiple_of(12);
        let work = rows * plan.sizes.columns.min(plan.columns_a_job) * plan.sizes.inner.div_ceil(plan.parts);
        let scratch = || self.take(rows * plan.sizes.inner.min(DEPTH));
        let least = (WORTH_A_TASK / work.max(1)).max(1);
        (0..jobs).into_par_iter().with_min_len(least).for_each_init(scratch, |left, job| {
            self.level.launch(Job { plan, job, left: left.values_mut() });
        });
    }

    /// Sums of parts of long sums, one part after the other.
    pub(super) fn add_parts(&self, partial: &[f32], to: &mut [f32]) {
        let len = to.len();
        to.par_chunks_mut(PIECE).enumerate().for_each(|(piece, to)| {
            let start = piece * PIECE;
            to.copy_from_slice(&partial[start..start + to.len()]);
            for part in partial.chunks_exact(len).skip(1) {
                to.iter_mut().zip(&part[start..]).for_each(|(to, x)| *to += x);
            }
        });
    }

    fn finish_product_rows(&self, to: &mut [f32], columns: usize, tail: &Tail<'_>) {
        let level = self.level;
        if columns == 0 || tail.is_nothing() {
            return;
        }
        to.par_chunks_mut(columns).enumerate().for_each(|(row, to)| {
            level.run(
                #[inline(always)]
                || {
                    for (index, to) in to.chunks_mut(MOST).enumerate() {
                        tail.finish(to, index * MOST, row * columns + index * MOST);
                    }
                },
            );
        });
    }
}

impl Tail<'_> {
    fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.activation.is_none() && self.residual.is_none()
    }

    /// Finishes at most [`MOST`] sums of a row from `column` on, the `index`-th of the result.
    #[inline(always)]
    pub(super) fn finish(&self, to: &mut [f32], column: usize, index: usize) {
        if let Some(bias) = &self.bias {
            to.iter_mut().zip(&bias[column..]).for_each(|(to, bias)| *to += bias);
        }
        if let Some(activation) = self.activation {
            let mut sums = [0.0; MOST];
            let sums = &mut sums[..to.len()];
            sums.copy_from_slice(to);
            map_piece(activation, sums, to);
        }
        if let Some(residual) = &self.residual {
            to.iter_mut().zip(&residual[index..]).for_each(|(to, residual)| *to += residual);
        }
    }
}

/// One tile of one product over one part of its sums.
struct Job<'a> {
    plan: &'a Plan<'a>,
    job: usize,
    left: &'a mut [f32],
}

impl Kernel for Job<'_> {
    #[inline(always)]
    fn run<T: Vector>(self) {
        let Plan { sizes, row_blocks, columns_a_job, column_blocks, parts, .. } = *self.plan;
        let (rest, column_block) = (self.job / column_blocks, self.job % column_blocks);
        let (rest, row_block) = (rest / row_blocks, rest % row_blocks);
        let (part, batch) = (rest % parts, rest / parts);
        let rows = row_block * ROWS..((row_block + 1) * ROWS).min(sizes.rows);
        let columns = column_block * columns_a_job..((column_block + 1) * columns_a_job).min(sizes.columns);
        let length = sizes.inner.div_ceil(parts).next_multiple_of(if parts == 1 { 1 } else { DEPTH });
        let inner = (part * length).min(sizes.inner)..((part + 1) * length).min(sizes.inner);
        let batches: usize = sizes.batch.iter().product();
        let to = (part * batches + batch) * sizes.rows * sizes.columns;
        self.plan.multiply::<T>(batch, [rows, columns, inner], to, self.left);
    }
}

impl Plan<'_> {
    #[inline(always)]
    fn multiply<T: Tile>(&self, batch: usize, [rows, columns, inner]: [Range<usize>; 3], to: usize, left: &mut [f32]) {
        let x = &self.x[self.sizes.x.start(&self.sizes.batch, batch)..];
        let x = Matrix { values: x, row: self.sizes.x.row, column: self.sizes.x.column };
        let packed = &self.packed[batch * self.packed_step..];
        let mut tile = [0.0; MOST];
        if inner.is_empty() {
            self.clear(&rows, &columns, to);
        }
        for first in inner.clone().step_by(DEPTH) {
            let depth = first..(first + DEPTH).min(inner.end);
            let visit = (first == inner.start, depth.end == inner.end);
            pack_left(x, rows.clone(), depth.clone(), T::ROWS, left);
            for column in columns.clone().step_by(T::COLUMNS) {
                let panel = column / T::COLUMNS * self.sizes.inner;
                let right = &packed[(panel + depth.start) * T::COLUMNS..(panel + depth.end) * T::COLUMNS];
                let count = T::COLUMNS.min(columns.end - column);
                for (index, left) in left.chunks_exact(depth.len() * T::ROWS).enumerate() {
                    let row = rows.start + index * T::ROWS;
                    if row >= rows.end {
                        break;
                    }
                    for row in row..(row + T::ROWS).min(rows.end) {
                        self.to.prefetch(to + row * self.sizes.columns + column);
                    }
                    T::product(depth.len(), left, 1, T::ROWS, right, &mut tile);
                    let lines = tile.chunks_exact(T::COLUMNS).take(T::ROWS.min(rows.end - row));
                    for (line, row) in lines.zip(row..) {
                        self.store::<T>(&line[..count], row, column, to, visit);
                    }
                }
            }
        }
    }

    /// Writes a line of a tile: the first visit of it sets, later ones add, the last one finishes.
    #[inline(always)]
    fn store<T: Tile>(&self, line: &[f32], row: usize, column: usize, start: usize, (first, last): (bool, bool)) {
        let index = row * self.sizes.columns + column;
        // SAFETY: jobs have no element of the result in common, and a job writes line after line.
        let to = unsafe { self.to.part(start + index, line.len()) };
        put_line::<T>(line, to, !first);
        if last && !self.tail.is_nothing() {
            self.tail.finish(to, column, start + index);
        }
    }

    /// A part of a sum that is empty because the parts before it are longer.
    fn clear(&self, rows: &Range<usize>, columns: &Range<usize>, start: usize) {
        for row in rows.clone() {
            // SAFETY: as in `store`.
            unsafe { self.to.part(start + row * self.sizes.columns + columns.start, columns.len()) }.fill(0.0);
        }
    }
}
