//! The matrix kernel: a tile of a product held in registers, and operands packed so that it reads them in a row.
//!
//! Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): the right operand lies in panels
//! as wide as a tile, the left one in panels as high as a tile, each panel one step of the inner dimension after the
//! other, with zeros where the matrix ends.

use std::marker::PhantomData;
use std::ops::Range;

use super::Level;
use super::vector::{Kernel, Vector};

/// Steps of the inner dimension between two visits of the result: a right panel of them stays in the first cache.
pub(super) const DEPTH: usize = 256;
/// Rows that are turned into columns at once.
const STRIP: usize = 8;
/// The widest panel.
const MOST_WIDE: usize = 32;
/// The most elements of a tile.
pub(super) const MOST: usize = 12 * 32;
/// Rows and columns that are whole tiles on every level.
pub(super) const WHOLE: usize = 96;

/// A matrix in memory: how far apart its rows and columns lie, in elements.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    /// The elements, from the first one on.
    pub(super) values: &'a [f32],
    /// From row to row.
    pub(super) row: usize,
    /// From column to column.
    pub(super) column: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows lie one after the other.
    #[inline(always)]
    pub(super) fn rows(values: &'a [f32], columns: usize) -> Self {
        Matrix { values, row: columns, column: 1 }
    }

    /// Rows and columns changed for each other.
    #[inline(always)]
    pub(super) fn transposed(self) -> Self {
        Matrix { row: self.column, column: self.row, ..self }
    }
}

/// A part of a product that the registers of a level hold: two vectors a row.
pub(super) trait Tile: Vector {
    /// Its rows.
    const ROWS: usize = Self::SUMS / 2;
    /// Its columns, the width of a right panel.
    const COLUMNS: usize = 2 * Self::WIDTH;

    /// Writes the product of [`Tile::ROWS`] rows and a right panel over `inner` steps, row after row. Of the left
    /// operand, rows are `row` and steps `step` elements apart.
    #[inline(always)]
    fn product(inner: usize, left: &[f32], row: usize, step: usize, right: &[f32], to: &mut [f32; MOST]) {
        match Self::ROWS {
            3 => product::<Self, 3>(inner, left, row, step, right, to),
            6 => product::<Self, 6>(inner, left, row, step, right, to),
            _ => product::<Self, 12>(inner, left, row, step, right, to),
        }
    }
}

impl<V: Vector> Tile for V {}

#[inline(always)]
fn product<V: Tile, const ROWS: usize>(
    inner: usize,
    left: &[f32],
    row: usize,
    step: usize,
    right: &[f32],
    to: &mut [f32; MOST],
) {
    if ROWS != V::ROWS {
        return;
    }
    const { assert!(V::ROWS * V::COLUMNS <= MOST, "a tile fits where it is written") };
    let right = &right[..inner * V::COLUMNS];
    let left = match inner.checked_sub(1) {
        Some(last) => &left[..(ROWS - 1) * row + last * step + 1],
        None => &[],
    };
    // SAFETY: all reads lie in the slices cut above, all writes in the first ROWS · COLUMNS elements of `to`.
    unsafe {
        let mut sums = [[V::zero(); 2]; ROWS];
        let (mut left, mut right) = (left.as_ptr(), right.as_ptr());
        for _ in 0..inner {
            let columns = [V::load(right), V::load(right.add(V::WIDTH))];
            for (index, sums) in sums.iter_mut().enumerate() {
                let x = V::splat(*left.add(index * row));
                sums[0] = sums[0].plus_product(x, columns[0]);
                sums[1] = sums[1].plus_product(x, columns[1]);
            }
            left = left.wrapping_add(step);
            right = right.wrapping_add(V::COLUMNS);
        }
        for (index, [first, second]) in sums.into_iter().enumerate() {
            let to = to.as_mut_ptr().add(index * V::COLUMNS);
            first.store(to);
            second.store(to.add(V::WIDTH));
        }
    }
}

/// The width of a right panel on a level.
pub(super) fn panel_width(level: Level) -> usize {
    2 * level.width()
}

/// Sets or adds a line of a tile; whole lines have a length that is known when this is compiled.
#[inline(always)]
pub(super) fn put_line<T: Tile>(line: &[f32], to: &mut [f32], add: bool) {
    if to.len() == T::COLUMNS {
        put(&line[..T::COLUMNS], &mut to[..T::COLUMNS], add);
    } else {
        put(line, to, add);
    }
}

#[inline(always)]
fn put(line: &[f32], to: &mut [f32], add: bool) {
    if add {
        to.iter_mut().zip(line).for_each(|(to, x)| *to += x);
    } else {
        to.iter_mut().zip(line).for_each(|(to, x)| *to = *x);
    }
}

/// Packs columns `columns` and rows `inner` of a matrix as one panel of `width` columns, row after row, zeros behind.
#[inline(always)]
fn pack_panel(from: Matrix<'_>, inner: Range<usize>, columns: Range<usize>, width: usize, to: &mut [f32]) {
    let valid = columns.len();
    if valid < width {
        to.fill(0.0);
    }
    if from.column == 1 {
        for (row, to) in inner.zip(to.chunks_exact_mut(width)) {
            let start = row * from.row + columns.start;
            if valid == width {
                // A length that is known when this is compiled.
                to[..width].copy_from_slice(&from.values[start..start + width]);
            } else {
                to[..valid].copy_from_slice(&from.values[start..start + valid]);
            }
        }
        return;
    }
    let mut held = [[0.0; STRIP]; MOST_WIDE];
    for strip in inner.clone().step_by(STRIP) {
        let to = &mut to[(strip - inner.start) * width..];
        let start = strip * from.row + columns.start * from.column;
        let values = &from.values[start..];
        let rows = STRIP.min(inner.end - strip);
        if (valid, rows, from.row) == (width, STRIP, 1) {
            turn(values, from.column, &mut held[..width], &mut to[..STRIP * width]);
            continue;
        }
        for (row, to) in to.chunks_exact_mut(width).take(rows).enumerate() {
            for (column, to) in to[..valid].iter_mut().enumerate() {
                *to = values[row * from.row + column * from.column];
            }
        }
    }
}

/// Turns columns of [`STRIP`] neighbours each, `step` elements apart, into rows.
#[inline(always)]
fn turn(values: &[f32], step: usize, columns: &mut [[f32; STRIP]], to: &mut [f32]) {
    for (column, held) in columns.iter_mut().enumerate() {
        held.copy_from_slice(&values[column * step..][..STRIP]);
    }
    for (row, to) in to.chunks_exact_mut(columns.len()).enumerate().take(STRIP) {
        for (to, column) in to.iter_mut().zip(&*columns) {
            *to = column[row];
        }
    }
}

/// Packs rows `inner` and columns `columns` of a right operand as panels of `width` columns.
#[inline(always)]
pub(super) fn pack_right(from: Matrix<'_>, inner: Range<usize>, columns: Range<usize>, width: usize, to: &mut [f32]) {
    let starts = columns.clone().step_by(width);
    for (start, to) in starts.zip(to.chunks_exact_mut((inner.len() * width).max(1))) {
        pack_panel(from, inner.clone(), start..(start + width).min(columns.end), width, to);
    }
}

/// Packs rows `rows` and columns `inner` of a left operand as panels of `height` rows.
#[inline(always)]
pub(super) fn pack_left(from: Matrix<'_>, rows: Range<usize>, inner: Range<usize>, height: usize, to: &mut [f32]) {
    pack_right(from.transposed(), inner, rows, height, to);
}

/// Packs a right operand with the panels of a level.
pub(super) struct PackRight<'a> {
    /// The operand.
    pub(super) from: Matrix<'a>,
    /// Its rows.
    pub(super) inner: Range<usize>,
    /// Its columns.
    pub(super) columns: Range<usize>,
    /// The panels.
    pub(super) to: &'a mut [f32],
}

impl Kernel for PackRight<'_> {
    #[inline(always)]
    fn run<T: Vector>(self) {
        pack_right(self.from, self.inner, self.columns, T::COLUMNS, self.to);
    }
}

/// How many elements `columns` columns (or rows) over `inner` steps take as panels of `width`.
pub(super) fn packed_len(inner: usize, columns: usize, width: usize) -> usize {
    inner * columns.next_multiple_of(width)
}

/// Memory that tasks write to apart from each other.
pub(super) struct Apart<'a, T> {
    start: *mut T,
    len: usize,
    memory: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`, whose parts may be used from any thread as long as they are apart, which the
// callers of `part` promise.
unsafe impl<T: Send> Sync for Apart<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Apart<'_, T> {}

impl<'a, T> Apart<'a, T> {
    /// Memory to be written in parts.
    pub(super) fn new(memory: &'a mut [T]) -> Self {
        Apart { start: memory.as_mut_ptr(), len: memory.len(), memory: PhantomData }
    }

    /// Asks for the element at `index` to be brought near, which changes nothing but time.
    #[inline(always)]
    pub(super) fn prefetch(&self, index: usize) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: SSE, which this needs, is part of the architecture; any address may be asked for.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                self.start.wrapping_add(index).cast(),
            );
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }

    /// `len` elements from `start` on.
    ///
    /// # Safety
    /// No two parts that are in use at one time have an element in common.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "the caller promises that parts are apart")]
    pub(super) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "a part lies inside the memory");
        // SAFETY: it lies inside, and the caller promises that nobody else uses it.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
