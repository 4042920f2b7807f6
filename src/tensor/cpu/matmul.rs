//! Products of matrices in tiles of fixed size, one job a tile, long sums in parts of fixed length.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::elementwise::Map;
use crate::tensor::ops::matmul::{Epilogue, Matmul, Operand, Product};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::elementwise::map_piece;
use super::gemm::{Apart, Matrix, Multiply, Tile, WHOLE, panel_width};
use super::memory::{Values, ready};
use super::pack::{PackRight, pack_left, pack_right, packed_len};
use super::vector::{Kernel, Vector};
use super::{Block, Cpu};

/// Steps of the inner dimension between two visits of the result: a left panel of them stays in the first cache.
const DEPTH: usize = 384;
/// Rows of one job: their packed left operand stays in the second cache.
const ROWS: usize = WHOLE;
/// Columns of one job, a multiple of every panel's width, where the right operand is packed once for all jobs.
const COLUMNS: usize = 512;
/// Columns of one job that packs them itself: they share the second cache with the rows.
const OWN_COLUMNS: usize = 256;
/// Columns that are too few for a packed left operand to be worth its packing.
const NARROW: usize = 64;
/// Products of fewer jobs than this have their sums cut into parts.
const FEW_JOBS: usize = 16;
/// The least length of such a part.
const PART: usize = 8 * DEPTH;
/// Multiplications that are worth a task.
const WORTH_A_TASK: usize = 1 << 18;
/// Sums that are finished at once.
const RUN: usize = 384;

/// A product, and how it is cut into jobs.
struct Plan<'a> {
    sizes: Product,
    x: &'a [f32],
    y: &'a [f32],
    /// The right operands as panels, where jobs share them; others pack their part of `y`.
    packed: Option<Block>,
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

impl Product {
    /// How many different right operands there are: one for all batches, or one each.
    fn right_operands(&self) -> usize {
        let shared = self.y.batch.iter().zip(&self.batch).all(|(step, size)| *step == 0 || *size == 1);
        if shared { 1 } else { self.batch.iter().product() }
    }

    /// The length of a block of the right operand as panels of `width`.
    fn block_len(&self, columns: usize, width: usize) -> usize {
        packed_len(self.inner.min(DEPTH), self.columns.min(columns), width)
    }
}

/// A block of `len` of `end` rows or columns.
fn block_of(index: usize, len: usize, end: usize) -> Range<usize> {
    (index * len).min(end)..((index + 1) * len).min(end)
}

impl Operand {
    /// A matrix of a batch.
    #[inline(always)]
    pub(super) fn matrix<'a>(&self, values: &'a [f32], batch: &[usize], index: usize) -> Matrix<'a> {
        Matrix { values: &values[self.start(batch, index)..], row: self.row, column: self.column }
    }

    /// Where a matrix of a batch begins.
    #[inline(always)]
    fn start(&self, batch: &[usize], mut index: usize) -> usize {
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
        let (x, y) = (self.read(x)?, self.read(y)?);
        let batches: usize = sizes.batch.iter().product();
        let mut result = self.take(batches * sizes.rows * sizes.columns)?;
        let tail = Tail {
            bias: epilogue.bias.map(|bias| self.read(bias)).transpose()?,
            activation: epilogue.activation,
            residual: epilogue.residual.map(|residual| self.read(residual)).transpose()?,
        };
        if sizes.inner == 0 {
            result.values_mut().fill(0.0);
            self.finish_product_rows(result.values_mut(), sizes.columns, &tail);
        } else {
            self.multiply(&x, &y, sizes, tail, result.values_mut())?;
        }
        self.finish(result, dtype)
    }
}

impl Cpu {
    fn multiply(&self, x: &[f32], y: &[f32], sizes: &Product, tail: Tail<'_>, to: &mut [f32]) -> Result<()> {
        if to.is_empty() || self.multiply_few(x, y, sizes, &tail, to) {
            return Ok(());
        }
        let batches: usize = sizes.batch.iter().product();
        let row_blocks = sizes.rows.div_ceil(ROWS);
        let columns_a_job = if row_blocks == 1 { OWN_COLUMNS } else { COLUMNS };
        let column_blocks = sizes.columns.div_ceil(columns_a_job);
        let jobs = batches * row_blocks * column_blocks;
        let parts = if jobs < FEW_JOBS { (sizes.inner / PART).clamp(1, FEW_JOBS) } else { 1 };
        let packed = (row_blocks > 1).then(|| self.pack(y, sizes)).transpose()?;
        let plan = |to, tail| Plan {
            sizes: *sizes,
            x,
            y,
            packed,
            row_blocks,
            columns_a_job,
            column_blocks,
            parts,
            to: Apart::new(to),
            tail,
        };
        if parts == 1 {
            return self.run_jobs(&plan(to, tail), jobs);
        }
        let mut partial = self.take(parts * to.len())?;
        let nothing = Tail { bias: None, activation: None, residual: None };
        self.run_jobs(&plan(partial.values_mut(), nothing), jobs * parts)?;
        self.add_parts(partial.values(), to);
        self.finish_product_rows(to, sizes.columns, &tail);
        Ok(())
    }

    /// The right operands as panels, one for all batches or one each: blocks of [`DEPTH`] rows and [`COLUMNS`] columns.
    fn pack(&self, y: &[f32], sizes: &Product) -> Result<Block> {
        let column_blocks = sizes.columns.div_ceil(COLUMNS);
        let blocks = sizes.inner.div_ceil(DEPTH) * column_blocks;
        let block = sizes.block_len(COLUMNS, panel_width(self.level));
        let mut packed = self.take(sizes.right_operands() * blocks * block)?;
        packed.values_mut().par_chunks_mut(block).enumerate().for_each(|(index, to)| {
            let from = sizes.y.matrix(y, &sizes.batch, index / blocks);
            let (depth, column_block) = (index % blocks / column_blocks, index % column_blocks);
            let inner = block_of(depth, DEPTH, sizes.inner);
            self.level.launch(PackRight { from, inner, columns: block_of(column_block, COLUMNS, sizes.columns), to });
        });
        Ok(packed)
    }

    fn run_jobs(&self, plan: &Plan<'_>, jobs: usize) -> Result<()> {
        let Plan { sizes, columns_a_job, parts, .. } = plan;
        let (rows, columns) = (sizes.rows.min(ROWS), sizes.columns.min(*columns_a_job));
        let right = if plan.packed.is_some() { 0 } else { sizes.block_len(*columns_a_job, panel_width(self.level)) };
        let scratch = [packed_len(sizes.inner.min(DEPTH), rows, WHOLE), right];
        let least = (WORTH_A_TASK / (rows * columns * sizes.inner.div_ceil(*parts)).max(1)).max(1);
        (0..jobs).into_par_iter().with_min_len(least).try_for_each_init(
            || self.scratch(scratch),
            |[left, right], job| {
                let (left, right) = (ready(left)?.values_mut(), ready(right)?.values_mut());
                self.level.launch(Job { plan, job, left, right });
                Ok(())
            },
        )
    }

    /// Sums of parts of long sums in f64, one part after the other.
    pub(super) fn add_parts(&self, partial: &[f32], to: &mut [f32]) {
        let len = to.len();
        to.par_chunks_mut(RUN).enumerate().for_each(|(run, to)| {
            let mut sums = [0f64; RUN];
            let sums = &mut sums[..to.len()];
            for part in partial.chunks_exact(len) {
                sums.iter_mut().zip(&part[run * RUN..]).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            to.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum as f32);
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
                    tail.finish(to, 0, row * columns);
                },
            );
        });
    }
}

impl Tail<'_> {
    fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.activation.is_none() && self.residual.is_none()
    }

    /// Finishes sums of a row from `column` on, the `index`-th of the result.
    #[inline(always)]
    pub(super) fn finish(&self, to: &mut [f32], column: usize, index: usize) {
        for (run, to) in to.chunks_mut(RUN).enumerate() {
            self.finish_run(to, column + run * RUN, index + run * RUN);
        }
    }

    #[inline(always)]
    fn finish_run(&self, to: &mut [f32], column: usize, index: usize) {
        if let Some(bias) = &self.bias {
            to.iter_mut().zip(&bias[column..]).for_each(|(to, bias)| *to += bias);
        }
        if let Some(activation) = self.activation {
            let mut sums = [0.0; RUN];
            let sums = &mut sums[..to.len()];
            sums.copy_from_slice(to);
            map_piece(activation, sums, to);
        }
        if let Some(residual) = &self.residual {
            to.iter_mut().zip(&residual[index..]).for_each(|(to, residual)| *to += residual);
        }
    }
}

/// One block of one product over one part of its sums.
struct Job<'a> {
    plan: &'a Plan<'a>,
    job: usize,
    left: &'a mut [f32],
    right: &'a mut [f32],
}

/// What a job works out.
struct Part {
    batch: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    inner: Range<usize>,
    /// Where the product begins of which this is a part.
    to: usize,
}

impl Kernel for Job<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Job { plan, job, left, right } = self;
        let part = plan.part(job);
        if part.inner.is_empty() {
            plan.lines(&part).for_each(|(_, _, line)| line.fill(0.0));
        }
        for first in part.inner.clone().step_by(DEPTH) {
            let depth = first..(first + DEPTH).min(part.inner.end);
            plan.multiply::<V>(&part, depth, left, right);
        }
        if !plan.tail.is_nothing() {
            plan.lines(&part).for_each(
                #[inline(always)]
                |(column, index, line)| plan.tail.finish(line, column, index),
            );
        }
    }
}

impl Plan<'_> {
    fn part(&self, job: usize) -> Part {
        let Plan { sizes, row_blocks, columns_a_job, column_blocks, parts, .. } = self;
        let (rest, column_block) = (job / column_blocks, job % column_blocks);
        let (rest, row_block) = (rest / row_blocks, rest % row_blocks);
        let (part, batch) = (rest % parts, rest / parts);
        let length = sizes.inner.div_ceil(*parts).next_multiple_of(if *parts == 1 { 1 } else { DEPTH });
        let batches: usize = sizes.batch.iter().product();
        Part {
            batch,
            rows: block_of(row_block, ROWS, sizes.rows),
            columns: block_of(column_block, *columns_a_job, sizes.columns),
            inner: block_of(part, length, sizes.inner),
            to: (part * batches + batch) * sizes.rows * sizes.columns,
        }
    }

    /// The lines of a part of the result: the first column, the index of its element, the line.
    #[inline(always)]
    fn lines(&self, part: &Part) -> impl Iterator<Item = (usize, usize, &mut [f32])> {
        let (columns, start) = (part.columns.clone(), part.to + part.columns.start);
        part.rows.clone().map(
            #[inline(always)]
            move |row| {
                let index = start + row * self.sizes.columns;
                // SAFETY: jobs have no element of the result in common, and a job takes line after line.
                (columns.start, index, unsafe { self.to.part(index, columns.len()) })
            },
        )
    }

    /// The right operand's panels for some steps of a part, packed into `own` where jobs do not share them.
    #[inline(always)]
    fn right_panels<'p, V: Vector>(&'p self, part: &Part, depth: Range<usize>, own: &'p mut [f32]) -> &'p [f32] {
        let (Plan { sizes, .. }, Part { batch, columns, .. }) = (self, part);
        let Some(packed) = &self.packed else {
            let y = sizes.y.matrix(self.y, &sizes.batch, *batch);
            pack_right(y, depth, columns.clone(), V::COLUMNS, own);
            return own;
        };
        let block = sizes.block_len(COLUMNS, V::COLUMNS);
        let index = batch % sizes.right_operands() * sizes.inner.div_ceil(DEPTH) + depth.start / DEPTH;
        let index = index * self.column_blocks + columns.start / COLUMNS;
        &packed.values()[index * block..][..block]
    }

    /// Sets a part of the result, or adds to it behind the first steps.
    #[inline(always)]
    fn multiply<V: Vector>(&self, part: &Part, depth: Range<usize>, left: &mut [f32], right: &mut [f32]) {
        let Plan { sizes, .. } = self;
        let Part { batch, rows, columns, inner, .. } = part;
        let x = sizes.x.matrix(self.x, &sizes.batch, *batch);
        let right = self.right_panels::<V>(part, depth.clone(), right);
        let right_step = depth.len() * V::COLUMNS;
        let add = depth.start > inner.start;
        let (line, sizes_of) = (sizes.columns, [rows.len(), columns.len()]);
        let to = self.to.lines(part.to + rows.start * line + columns.start, line, sizes_of);
        let of = Multiply {
            inner: depth.len(),
            left: &[],
            row: 1,
            step: V::ROWS,
            panel: V::ROWS * depth.len(),
            rows: rows.len(),
            right,
            right_step,
            columns: columns.len(),
        };
        let of = if sizes.columns <= NARROW {
            let left = &x.values[rows.start * x.row + depth.start * x.column..];
            Multiply { left, row: x.row, step: x.column, panel: V::ROWS * x.row, ..of }
        } else {
            pack_left(x, rows.clone(), depth, V::ROWS, left);
            Multiply { left, ..of }
        };
        // SAFETY: jobs have no element of the result in common.
        unsafe { of.run_at::<V>(to, line, add) }
    }
}
