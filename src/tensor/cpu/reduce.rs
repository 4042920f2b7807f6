//! Dimensions folded in one order: pieces of fixed length in f64, put together one after the other.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::reduce::{Fold, Folding, Reduce};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::gemm::Apart;
use super::memory::Block;
use super::{Cpu, PIECE};

/// Numbers of a line whose results are kept side by side, so that none waits for the one before.
const LANES: usize = 16;
/// Lines that are summed in f32, in pairs, before their sum is added in f64.
const LINES: usize = 8;
/// Columns that one task folds, so that their results stay in the cache.
const STRIP: usize = 256;

impl Reduce for Cpu {
    fn fold(&self, op: Fold, x: Slice<'_>, folding: Folding) -> Result<Buffer> {
        let block = self.folded(op, &self.read(x)?, folding)?;
        self.finish(block, DType::F32)
    }
}

impl Cpu {
    /// [`Reduce::fold`] of numbers that have been read.
    pub(super) fn folded(&self, op: Fold, values: &[f32], folding: Folding) -> Result<Block> {
        let (level, cut) = (self.level, Cut::new(folding));
        let Folding { outer, inner, .. } = folding;
        let mut block = self.take(outer.saturating_mul(inner))?;
        if outer == 0 || inner == 0 {
            return Ok(block);
        }
        let mut parts = self.take(if cut.slabs > 1 { 2 * outer * cut.slabs * inner } else { 0 })?;
        let (to, of_slabs) = (Apart::new(block.values_mut()), Apart::new(parts.as_slice_mut::<f64>()));
        let tasks = outer * cut.slabs * cut.strips;
        (0..tasks.div_ceil(cut.least)).into_par_iter().for_each(|group| {
            level.run(
                #[inline(always)]
                || {
                    let mut held = [0f64; STRIP];
                    for task in group * cut.least..tasks.min((group + 1) * cut.least) {
                        let (start, len) = cut.fold(op, values, folding, task, &mut held);
                        match cut.slabs {
                            // SAFETY: each task has results of its own.
                            1 => narrow(&held[..len], unsafe { to.part(start, len) }),
                            // SAFETY: as above.
                            _ => unsafe { of_slabs.part(start, len) }.copy_from_slice(&held[..len]),
                        }
                    }
                },
            );
        });
        if cut.slabs > 1 {
            join_slabs(op, parts.as_slice(), cut.slabs, inner, block.values_mut());
        }
        Ok(block)
    }
}

/// Puts what slabs gave together, slab after slab.
fn join_slabs(op: Fold, parts: &[f64], slabs: usize, inner: usize, to: &mut [f32]) {
    to.par_chunks_mut(STRIP).enumerate().for_each(|(piece, to)| {
        for (place, to) in to.iter_mut().enumerate() {
            let at = piece * STRIP + place;
            let first = at / inner * slabs * inner + at % inner;
            let of_slabs = parts[first..].iter().step_by(inner).take(slabs);
            *to = of_slabs.fold(op.nothing(), |all, part| op.join(all, *part)) as f32;
        }
    });
}

#[inline(always)]
fn narrow(from: &[f64], to: &mut [f32]) {
    to.iter_mut().zip(from).for_each(|(to, x)| *to = *x as f32);
}

/// How a folding is cut into tasks of about [`PIECE`] elements: slabs of the folded dimension, strips of columns.
struct Cut {
    /// Folded elements of a slab.
    slab: usize,
    slabs: usize,
    strips: usize,
    /// Tasks that are worth a thread's turn.
    least: usize,
}

impl Cut {
    fn new(folding: Folding) -> Self {
        let width = folding.inner.clamp(1, STRIP);
        let slab = PIECE.div_ceil(width).next_multiple_of(LINES);
        let slabs = folding.folded.div_ceil(slab).max(1);
        let least = (PIECE / (folding.folded.clamp(1, slab) * width)).max(1);
        Cut { slab, slabs, strips: folding.inner.div_ceil(STRIP), least }
    }

    /// Folds one slab of one strip of one row to the front of `to`: where its results belong, and how many they are.
    #[inline(always)]
    fn fold(&self, op: Fold, values: &[f32], folding: Folding, task: usize, to: &mut [f64; STRIP]) -> (usize, usize) {
        let Folding { folded, inner, .. } = folding;
        let (slab_of_row, strip) = (task / self.strips, task % self.strips);
        let (row, slab) = (slab_of_row / self.slabs, slab_of_row % self.slabs);
        let lines = slab * self.slab..((slab + 1) * self.slab).min(folded);
        let columns = strip * STRIP..((strip + 1) * STRIP).min(inner);
        let (start, len) = (slab_of_row * inner + columns.start, columns.len());
        let from = &values[(row * folded + lines.start) * inner..(row * folded + lines.end) * inner];
        let to = &mut to[..len];
        to.fill(op.nothing());
        match (op, inner) {
            (Fold::Sum, 1) => to[0] = sum_row(from),
            (Fold::Maximum, 1) => to[0] = lanes(from, f32::NEG_INFINITY, greater).into(),
            (Fold::Minimum, 1) => to[0] = lanes(from, f32::INFINITY, lesser).into(),
            (Fold::Sum, _) => sum_columns(from, inner, columns, to),
            (Fold::Maximum, _) => extremes(from, inner, columns, greater, to),
            (Fold::Minimum, _) => extremes(from, inner, columns, lesser, to),
        }
        (start, len)
    }
}

impl Fold {
    /// What folding begins with.
    fn nothing(self) -> f64 {
        match self {
            Fold::Sum => 0.0,
            Fold::Maximum => f64::NEG_INFINITY,
            Fold::Minimum => f64::INFINITY,
        }
    }

    fn join(self, a: f64, b: f64) -> f64 {
        match self {
            Fold::Sum => a + b,
            Fold::Maximum => greater(a as f32, b as f32).into(),
            Fold::Minimum => lesser(a as f32, b as f32).into(),
        }
    }
}

/// NaN stays.
#[inline(always)]
fn greater(a: f32, b: f32) -> f32 {
    if a >= b || a.is_nan() { a } else { b }
}

#[inline(always)]
fn lesser(a: f32, b: f32) -> f32 {
    if a <= b || a.is_nan() { a } else { b }
}

/// Eight numbers in pairs: three roundings.
#[inline(always)]
fn in_pairs(x: [f32; LINES]) -> f32 {
    ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]))
}

#[inline(always)]
fn sum_row(row: &[f32]) -> f64 {
    let mut held = [0f64; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    let (blocks, lines) = whole.as_chunks::<LINES>();
    for block in blocks {
        for (lane, held) in held.iter_mut().enumerate() {
            *held += f64::from(in_pairs([
                block[0][lane],
                block[1][lane],
                block[2][lane],
                block[3][lane],
                block[4][lane],
                block[5][lane],
                block[6][lane],
                block[7][lane],
            ]));
        }
    }
    for line in lines.iter().map(|line| &line[..]).chain([rest]) {
        held.iter_mut().zip(line).for_each(|(held, x)| *held += f64::from(*x));
    }
    held.iter().fold(0.0, |sum, x| sum + x)
}

/// Adds some columns of rows of `inner` numbers: eight rows in f32, then in f64.
#[inline(always)]
pub(super) fn sum_columns(from: &[f32], inner: usize, columns: Range<usize>, to: &mut [f64]) {
    let mut blocks = from.chunks_exact(LINES * inner);
    for block in blocks.by_ref() {
        let line = |line: usize| &block[line * inner..][columns.clone()];
        let lines: [&[f32]; LINES] = std::array::from_fn(line);
        for (column, to) in to.iter_mut().enumerate() {
            *to += f64::from(in_pairs(lines.map(
                #[inline(always)]
                |line| line[column],
            )));
        }
    }
    for line in blocks.remainder().chunks_exact(inner) {
        to.iter_mut().zip(&line[columns.clone()]).for_each(|(to, x)| *to += f64::from(*x));
    }
}

#[inline(always)]
fn lanes(row: &[f32], start: f32, of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut held = [start; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for chunk in whole {
        held.iter_mut().zip(chunk).for_each(|(held, x)| *held = of(*held, *x));
    }
    held.iter_mut().zip(rest).for_each(|(held, x)| *held = of(*held, *x));
    held.into_iter().fold(start, of)
}

#[inline(always)]
fn extremes(from: &[f32], inner: usize, columns: Range<usize>, of: impl Fn(f32, f32) -> f32, to: &mut [f64]) {
    let mut held = [0f32; STRIP];
    let held = &mut held[..to.len()];
    held.iter_mut().zip(&*to).for_each(|(held, start)| *held = *start as f32);
    for line in from.chunks_exact(inner) {
        held.iter_mut().zip(&line[columns.clone()]).for_each(|(held, x)| *held = of(*held, *x));
    }
    to.iter_mut().zip(held).for_each(|(to, held)| *to = f64::from(*held));
}

#[cfg(test)]
mod tests {
    use crate::tensor::{Cpu, Tensor};

    /// Tenths that would be summed in f32 one after the other are far off after some thousands.
    #[test]
    fn long_sums_are_exact_to_rounding_along_any_dimension() {
        const LEN: usize = 3_000_001;
        let device = Cpu::device();
        let tenths = Tensor::full(&device, [LEN], 0.1).expect("tenths");
        let wanted = (LEN as f64 * f64::from(0.1f32)) as f32;
        assert_eq!(tenths.sum(&[], false).and_then(|y| y.item()), Ok(wanted));
        let columns = Tensor::full(&device, [LEN / 3, 3], 0.1).expect("tenths").sum(&[0], false);
        let wanted = ((LEN / 3) as f64 * f64::from(0.1f32)) as f32;
        assert_eq!(columns.and_then(|y| y.to_vec()), Ok(vec![wanted; 3]));
    }

    #[test]
    fn the_sum_of_nothing_is_nothing() {
        let device = Cpu::device();
        let none = Tensor::zeros(&device, [0, 3]).expect("zeros");
        let sum = none.sum(&[], false).and_then(|y| y.item()).expect("a sum");
        assert!(sum == 0.0 && sum.is_sign_positive());
        assert_eq!(none.sum(&[0], false).and_then(|y| y.to_vec()), Ok(vec![0.0; 3]));
        assert_eq!(none.sum(&[1], false).and_then(|y| y.to_vec()), Ok(vec![]));
        assert!(none.mean(&[], false).and_then(|y| y.item()).expect("a mean").is_nan());
    }
}
