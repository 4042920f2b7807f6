//! Two-dimensional transforms: two rows at once as one complex row, then columns in blocks of a few cache lines.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rustfft::num_complex::Complex;
use rustfft::{FftDirection, FftPlanner, FftPlannerScalar};

use crate::tensor::ops::fft::{Fft, Fft2};
use crate::tensor::{Buffer, Result, Slice};

use super::{Block, Cpu, Level};

/// A complex number.
type Number = Complex<f32>;
/// The transform of one length in one direction.
type Plan = Arc<dyn rustfft::Fft<f32>>;

/// Columns that are transformed by one task: two cache lines side by side.
const COLUMNS: usize = 16;
/// Rows that are transformed by one task; two at a time.
const ROWS: usize = 8;

/// Transforms that have been used, by length and whether they are inverse.
#[derive(Default)]
pub(super) struct Plans(Mutex<HashMap<(usize, bool), Plan>>);

impl fmt::Debug for Plans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "{} transforms", plans.len())
    }
}

impl Plans {
    fn get(&self, level: Level, len: usize, direction: FftDirection) -> Plan {
        let mut plans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let plan = plans.entry((len, direction == FftDirection::Inverse)).or_insert_with(|| match level {
            Level::Portable => FftPlannerScalar::new().plan_fft(len, direction),
            Level::Rehearsal | Level::Avx2 | Level::Avx512 => FftPlanner::new().plan_fft(len, direction),
        });
        plan.clone()
    }
}

impl Fft for Cpu {
    fn rfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer> {
        let values = self.read(x)?;
        let half = sizes.columns_out();
        let mut block = self.take(sizes.batch * sizes.rows * half * 2)?;
        let plan = self.plans.get(self.level, sizes.columns, FftDirection::Forward);
        let tasks = block.as_slice_mut::<Number>().par_chunks_mut(sizes.rows * half);
        let fields = values.par_chunks(sizes.rows * sizes.columns);
        tasks.zip(fields).try_for_each(|(to, field)| {
            let tasks = to.par_chunks_mut(ROWS * half).zip(field.par_chunks(ROWS * sizes.columns));
            tasks.try_for_each(|(to, rows)| self.rows_forward(&plan, rows, to, sizes))
        })?;
        self.transform_columns(&mut block, sizes, FftDirection::Forward)?;
        self.finish(block, x.dtype)
    }

    fn irfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer> {
        let values = self.read(x)?;
        let half = sizes.columns_out();
        let mut spectrum = self.take(values.len())?;
        let copies = spectrum.values_mut().par_chunks_mut(super::PIECE).zip(values.par_chunks(super::PIECE));
        copies.for_each(|(to, from)| to.copy_from_slice(from));
        self.transform_columns(&mut spectrum, sizes, FftDirection::Inverse)?;
        let mut block = self.take(sizes.batch * sizes.rows * sizes.columns)?;
        let plan = self.plans.get(self.level, sizes.columns, FftDirection::Inverse);
        let tasks = block.values_mut().par_chunks_mut(sizes.rows * sizes.columns);
        let fields = spectrum.as_slice::<Number>().par_chunks(sizes.rows * half);
        tasks.zip(fields).try_for_each(|(to, field)| {
            let tasks = to.par_chunks_mut(ROWS * sizes.columns).zip(field.par_chunks(ROWS * half));
            tasks.try_for_each(|(to, rows)| self.rows_inverse(&plan, rows, to, sizes))
        })?;
        self.finish(block, x.dtype)
    }

    fn amplitude(&self, x: Slice<'_>) -> Result<Buffer> {
        let values = self.read(x)?;
        self.pieces(
            x.len / 2,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                let (pairs, _) = values[2 * first..2 * (first + piece.len())].as_chunks::<2>();
                piece.iter_mut().zip(pairs).for_each(|(to, pair)| *to = length(*pair));
            },
        )
    }

    fn amplitude_grad(&self, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer> {
        let (values, dy_values) = (self.read(x)?, self.read(dy)?);
        self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                let pairs = values[first..first + piece.len()].as_chunks::<2>().0;
                let dy = &dy_values[first / 2..][..pairs.len()];
                for (to, (pair, dy)) in piece.as_chunks_mut::<2>().0.iter_mut().zip(pairs.iter().zip(dy)) {
                    let length = length(*pair);
                    let scale = if length > 0.0 { dy / length } else { 0.0 };
                    *to = pair.map(|part| scale * part);
                }
            },
        )
    }
}

/// √(re² + im²), in f64 so that no square is too great or too small.
#[inline(always)]
fn length([re, im]: [f32; 2]) -> f32 {
    let (re, im) = (f64::from(re), f64::from(im));
    (re * re + im * im).sqrt() as f32
}

impl Cpu {
    /// Half spectra of a few rows of a field, two rows a transform: of rows a and b, a + ib has the spectrum A + iB,
    /// and A and B are each their own mirrored conjugates.
    fn rows_forward(&self, plan: &Plan, rows: &[f32], to: &mut [Number], sizes: Fft2) -> Result<()> {
        let (columns, half) = (sizes.columns, sizes.columns_out());
        let [row, scratch] = self.scratch([2 * columns, 2 * plan.get_inplace_scratch_len()]);
        let (mut row, mut scratch) = (row?, scratch?);
        for (rows, to) in rows.chunks(2 * columns).zip(to.chunks_mut(2 * half)) {
            let (a, b) = rows.split_at(columns);
            let row = row.as_slice_mut::<Number>();
            for (i, (to, a)) in row.iter_mut().zip(a).enumerate() {
                *to = Complex::new(*a, b.get(i).copied().unwrap_or(0.0));
            }
            plan.process_with_scratch(row, scratch.as_slice_mut());
            let (to_a, to_b) = to.split_at_mut(half);
            for k in 0..half {
                let (z, mirrored) = (row[k], row[(columns - k) % columns].conj());
                to_a[k] = (z + mirrored) * 0.5;
                if let Some(to_b) = to_b.get_mut(k) {
                    let difference = (z - mirrored) * 0.5;
                    *to_b = Complex::new(difference.im, -difference.re);
                }
            }
        }
        Ok(())
    }

    /// Real rows of a few half spectra, two rows a transform, as [`Cpu::rows_forward`] has it.
    fn rows_inverse(&self, plan: &Plan, rows: &[Number], to: &mut [f32], sizes: Fft2) -> Result<()> {
        let (columns, half) = (sizes.columns, sizes.columns_out());
        let [row, scratch] = self.scratch([2 * columns, 2 * plan.get_inplace_scratch_len()]);
        let (mut row, mut scratch) = (row?, scratch?);
        for (rows, to) in rows.chunks(2 * half).zip(to.chunks_mut(2 * columns)) {
            let (a, b) = rows.split_at(half);
            let row = row.as_slice_mut::<Number>();
            for k in 0..half {
                let (mut a, mut b) = (a[k], b.get(k).copied().unwrap_or_default());
                let mirror = (columns - k) % columns;
                if mirror == k {
                    (a.im, b.im) = (0.0, 0.0);
                }
                row[mirror] = a.conj() + Complex::new(b.im, b.re);
                row[k] = a + Complex::new(-b.im, b.re);
            }
            plan.process_with_scratch(row, scratch.as_slice_mut());
            let (to_a, to_b) = to.split_at_mut(columns);
            to_a.iter_mut().zip(&*row).for_each(|(to, z)| *to = z.re);
            to_b.iter_mut().zip(&*row).for_each(|(to, z)| *to = z.im);
        }
        Ok(())
    }

    /// Transforms the columns of half spectra in place and scales them.
    fn transform_columns(&self, block: &mut Block, sizes: Fft2, direction: FftDirection) -> Result<()> {
        let half = sizes.columns_out();
        let plan = self.plans.get(self.level, sizes.rows, direction);
        let strips = half.div_ceil(COLUMNS);
        let all = Columns::new(block.as_slice_mut(), half);
        (0..sizes.batch * strips).into_par_iter().try_for_each(|task| {
            let columns = task % strips * COLUMNS..(task % strips * COLUMNS + COLUMNS).min(half);
            let rows = task / strips * sizes.rows..(task / strips + 1) * sizes.rows;
            let [strip, scratch] = self.scratch([2 * columns.len() * sizes.rows, 2 * plan.get_inplace_scratch_len()]);
            let (mut strip, mut scratch) = (strip?, scratch?);
            let strip = strip.as_slice_mut::<Number>();
            for (i, row) in rows.clone().enumerate() {
                // SAFETY: no other task is given these columns of these rows.
                let from = unsafe { all.part(row, columns.clone()) };
                from.iter().enumerate().for_each(|(column, z)| strip[column * sizes.rows + i] = *z);
            }
            plan.process_with_scratch(strip, scratch.as_slice_mut());
            let mut scales = [sizes.scale; COLUMNS];
            for (scale, column) in scales.iter_mut().zip(columns.clone()) {
                let paired = column > 0 && 2 * column < sizes.columns;
                *scale *= if paired { sizes.paired_scale } else { 1.0 };
            }
            for (i, row) in rows.enumerate() {
                // SAFETY: as above, and the slice taken there is gone.
                let to = unsafe { all.part(row, columns.clone()) };
                let numbers = to.iter_mut().zip(scales).enumerate();
                numbers.for_each(|(column, (to, scale))| *to = strip[column * sizes.rows + i] * scale);
            }
            Ok(())
        })
    }
}

/// Rows of numbers of which tasks change different columns at the same time.
struct Columns<'a> {
    first: *mut Number,
    rows: usize,
    width: usize,
    held: PhantomData<&'a mut [Number]>,
}

// SAFETY: a task reaches numbers only through `part`, whose caller sees to it that parts do not overlap.
unsafe impl Sync for Columns<'_> {}

impl<'a> Columns<'a> {
    fn new(numbers: &'a mut [Number], width: usize) -> Self {
        Columns { rows: numbers.len() / width, first: numbers.as_mut_ptr(), width, held: PhantomData }
    }

    /// Some columns of a row.
    ///
    /// # Safety
    /// No other slice of these numbers may be alive.
    #[allow(clippy::mut_from_ref)]
    unsafe fn part(&self, row: usize, columns: Range<usize>) -> &mut [Number] {
        assert!(row < self.rows && columns.start <= columns.end && columns.end <= self.width, "columns of a row");
        // SAFETY: the part lies inside the slice that `self` holds, as asserted; the caller keeps it the only one.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.width + columns.start), columns.len()) }
    }
}
