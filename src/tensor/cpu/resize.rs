//! Separable maps of images: each output row is first blended of input rows, then along its columns.

use rayon::prelude::*;

use crate::tensor::ops::resize::{Resample, Resize};
use crate::tensor::ops::taps::Taps;
use crate::tensor::{Buffer, Result, Slice};

use super::{Cpu, PIECE};

/// Elements of a row that are blended before the next ones: they stay in the first-level cache.
const STRIP: usize = 2048;

/// Neighbours in memory that are held in registers.
const LANES: usize = 16;

/// Neighbouring outputs of an axis that are worked out alike.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Run {
    /// `len` outputs from `to` on are inputs from `from` on.
    Copy { from: usize, to: usize, len: usize },
    /// `len` outputs from `to` on, each blended of its taps.
    Blend { to: usize, len: usize },
    /// `len` outputs from `to` on have no taps.
    Empty { to: usize, len: usize },
}

impl Resize for Cpu {
    fn resample(&self, x: Slice<'_>, sizes: Resample, rows: &Taps, columns: &Taps) -> Result<Buffer> {
        let (values, level) = (self.read(x)?, self.level);
        let (width, width_out) = (sizes.columns * sizes.inner, sizes.columns_out * sizes.inner);
        let runs = runs(columns);
        let mut block = self.take(sizes.outer * sizes.rows_out * width_out)?;
        let rows_each = (PIECE / width_out.max(1)).max(1);
        let tasks = block.values_mut().par_chunks_mut((rows_each * width_out).max(1)).enumerate();
        tasks.try_for_each(|(task, to)| -> Result<()> {
            let [scratch] = self.scratch([width]);
            let mut scratch = scratch?;
            for (row, to) in to.chunks_mut(width_out).enumerate() {
                let row = task * rows_each + row;
                let plane = &values[row / sizes.rows_out * sizes.rows * width..][..sizes.rows * width];
                let taps = rows.of(row % sizes.rows_out);
                level.run(
                    #[inline(always)]
                    || map_row(plane, taps, scratch.values_mut(), columns, &runs, sizes, to),
                );
            }
            Ok(())
        })?;
        self.finish(block, x.dtype)
    }
}

fn runs(taps: &Taps) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for output in 0..taps.outputs() {
        let next = match taps.of(output) {
            ([], _) => Run::Empty { to: output, len: 1 },
            ([from], [1.0]) => Run::Copy { from: *from as usize, to: output, len: 1 },
            _ => Run::Blend { to: output, len: 1 },
        };
        match (runs.last_mut(), next) {
            (Some(Run::Copy { from: first, len, .. }), Run::Copy { from, .. }) if *first + *len == from => *len += 1,
            (Some(Run::Blend { len, .. }), Run::Blend { .. }) | (Some(Run::Empty { len, .. }), Run::Empty { .. }) => {
                *len += 1;
            }
            _ => runs.push(next),
        }
    }
    runs
}

#[inline(always)]
fn map_row(
    plane: &[f32],
    (sources, weights): (&[u32], &[f32]),
    scratch: &mut [f32],
    columns: &Taps,
    runs: &[Run],
    sizes: Resample,
    to: &mut [f32],
) {
    let width = sizes.columns * sizes.inner;
    let row = |source: u32| &plane[source as usize * width..][..width];
    match (sources, weights) {
        ([], _) => to.fill(sizes.empty),
        ([source], [1.0]) => map_columns(row(*source), columns, runs, sizes, to),
        _ => {
            blend_rows(plane, width, sources, weights, scratch);
            map_columns(scratch, columns, runs, sizes, to);
        }
    }
}

#[inline(always)]
fn blend_rows(plane: &[f32], width: usize, sources: &[u32], weights: &[f32], to: &mut [f32]) {
    let mut start = 0;
    for to in to.chunks_mut(STRIP) {
        let (begin, len) = (start, to.len());
        let row = |source: u32| &plane[source as usize * width + begin..][..len];
        start += len;
        if let ([a, b], [u, v]) = (sources, weights) {
            let pairs = row(*a).iter().zip(row(*b));
            to.iter_mut().zip(pairs).for_each(|(to, (a, b))| *to = u * a + v * b);
            continue;
        }
        to.fill(0.0);
        for (source, weight) in sources.iter().zip(weights) {
            to.iter_mut().zip(row(*source)).for_each(|(to, x)| *to += weight * x);
        }
    }
}

#[inline(always)]
fn map_columns(row: &[f32], taps: &Taps, runs: &[Run], sizes: Resample, to: &mut [f32]) {
    let inner = sizes.inner;
    for run in runs {
        match *run {
            Run::Copy { from, to: first, len } => {
                to[first * inner..(first + len) * inner].copy_from_slice(&row[from * inner..(from + len) * inner]);
            }
            Run::Empty { to: first, len } => to[first * inner..(first + len) * inner].fill(sizes.empty),
            Run::Blend { to: first, len } => {
                let to = &mut to[first * inner..(first + len) * inner];
                match inner {
                    1 => to.iter_mut().enumerate().for_each(|(i, to)| *to = blend_one(row, taps.of(first + i))),
                    16 => blend_columns::<16>(row, taps, first, inner, to),
                    _ => blend_columns::<0>(row, taps, first, inner, to),
                }
            }
        }
    }
}

#[inline(always)]
fn blend_one(row: &[f32], (sources, weights): (&[u32], &[f32])) -> f32 {
    sources.iter().zip(weights).map(|(source, weight)| weight * row[*source as usize]).sum()
}

/// Blends columns of `inner` neighbours; `KNOWN` is their number where the compiler is to know it, else 0.
#[inline(always)]
fn blend_columns<const KNOWN: usize>(row: &[f32], taps: &Taps, first: usize, inner: usize, to: &mut [f32]) {
    let inner = if KNOWN > 0 { KNOWN } else { inner };
    for (column, to) in to.chunks_exact_mut(inner).enumerate() {
        let (sources, weights) = taps.of(first + column);
        let from = |source: u32| &row[source as usize * inner..][..inner];
        if let ([a, b], [u, v]) = (sources, weights) {
            let pairs = from(*a).iter().zip(from(*b));
            to.iter_mut().zip(pairs).for_each(|(to, (a, b))| *to = u * a + v * b);
            continue;
        }
        let mut channel = 0;
        for to in to.chunks_mut(LANES) {
            let len = to.len();
            match <&mut [f32; LANES]>::try_from(&mut *to) {
                Ok(to) => *to = blend_lanes::<LANES>(&row[channel..], sources, weights, inner),
                Err(_) => {
                    for (i, to) in to.iter_mut().enumerate() {
                        [*to] = blend_lanes::<1>(&row[channel + i..], sources, weights, inner);
                    }
                }
            }
            channel += len;
        }
    }
}

/// `N` neighbours of a column, held in registers while its taps pass by.
#[inline(always)]
fn blend_lanes<const N: usize>(row: &[f32], sources: &[u32], weights: &[f32], inner: usize) -> [f32; N] {
    let mut sums = [0.0; N];
    for (source, weight) in sources.iter().zip(weights) {
        let from = &row[*source as usize * inner..][..N];
        sums.iter_mut().zip(from).for_each(|(sum, x)| *sum += weight * x);
    }
    sums
}
