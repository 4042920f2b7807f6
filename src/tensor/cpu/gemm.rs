//! The matrix kernel: tiles of a product held in registers, over operands that lie in panels.
//!
//! Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): the right operand lies in panels
//! as wide as a tile, the left one in panels as high as a tile, each panel one step of the inner dimension after the
//! other.

#![allow(clippy::needless_range_loop, reason = "arrays walked by iterators leave the registers")]

use std::marker::PhantomData;

use super::Level;
use super::vector::{Kernel, Vector};

/// Numbers of a line of the caches.
const LINE: usize = 16;
/// The widest panel.
const MOST_WIDE: usize = 32;
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
    /// Its rows, the height of a left panel.
    const ROWS: usize = Self::SUMS / 2;
    /// Its columns, the width of a right panel.
    const COLUMNS: usize = 2 * Self::WIDTH;
}

impl<V: Vector> Tile for V {}

/// The width of a right panel on a level.
pub(super) fn panel_width(level: Level) -> usize {
    2 * level.width()
}

/// The product of left panels and right panels of `inner` steps.
///
/// The left operand's rows are `row` and its steps `step` elements apart; panel after panel lies `panel` elements on.
pub(super) struct Multiply<'a> {
    pub(super) inner: usize,
    pub(super) left: &'a [f32],
    pub(super) row: usize,
    pub(super) step: usize,
    pub(super) panel: usize,
    pub(super) rows: usize,
    pub(super) right: &'a [f32],
    /// From right panel to right panel.
    pub(super) right_step: usize,
    pub(super) columns: usize,
}

impl Multiply<'_> {
    /// Sets lines of `to`, `line` elements apart, or adds to them.
    #[inline(always)]
    pub(super) fn run<V: Vector>(self, to: &mut [f32], line: usize, add: bool) {
        let end = self.rows.saturating_sub(1) * line + self.columns;
        assert!(self.rows == 0 || end <= to.len(), "the product fits where it is written");
        // SAFETY: checked above; a `&mut` is nobody else's.
        unsafe { self.run_at::<V>(to.as_mut_ptr(), line, add) }
    }

    /// [`Multiply::run`] where lines lie between those of others.
    ///
    /// # Safety
    /// [`Multiply::columns`] elements of each line may be read and written, and are nobody else's meanwhile.
    #[inline(always)]
    pub(super) unsafe fn run_at<V: Vector>(self, to: *mut f32, line: usize, add: bool) {
        V::LEVEL.launch(Lines { of: self, to, line, add });
    }
}

/// A product on its way to memory that is promised to be there: compiled once a level.
struct Lines<'a> {
    of: Multiply<'a>,
    to: *mut f32,
    line: usize,
    add: bool,
}

impl Kernel for Lines<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Lines { of, to, line, add } = self;
        // SAFETY: whoever made it promised what `run_at` asks for.
        unsafe {
            if (of.row, of.step) == (1, V::ROWS) {
                // Distances that are known when this is compiled.
                Multiply { row: 1, step: V::ROWS, ..of }.write::<V>(to, line, add);
            } else {
                of.write::<V>(to, line, add);
            }
        }
    }
}

impl Multiply<'_> {
    #[inline(always)]
    unsafe fn write<V: Vector>(&self, to: *mut f32, line: usize, add: bool) {
        self.check::<V>();
        for first in (0..self.columns).step_by(V::COLUMNS) {
            // SAFETY: `check` found all panels inside the operands, the rest is the caller's contract.
            unsafe {
                let right = self.right.as_ptr().add(first / V::COLUMNS * self.right_step);
                let columns = V::COLUMNS.min(self.columns - first);
                let mut top = 0;
                while top < self.rows {
                    let left = self.left.as_ptr().add(top / V::ROWS * self.panel + top % V::ROWS * self.row);
                    let place = Place { to: to.add(top * line + first), line, columns, add };
                    let rows = V::ROWS.min(self.rows - top);
                    self.approach::<V>(right.wrapping_add(self.right_step), top, rows);
                    top += self.tile::<V>(rows, left, right, place);
                }
            }
        }
    }

    /// Asks for a share of the next right panel, as great as that of `rows` rows from `top` on of all rows.
    #[inline(always)]
    fn approach<V: Vector>(&self, panel: *const f32, top: usize, rows: usize) {
        let lines = self.inner * V::COLUMNS / LINE;
        for line in top * lines / self.rows..(top + rows) * lines / self.rows {
            prefetch(panel.wrapping_add(line * LINE));
        }
    }

    /// Checks that the last tiles lie inside the operands, and with them all others.
    #[inline(always)]
    fn check<V: Vector>(&self) {
        let (Some(row), Some(step)) = (self.rows.checked_sub(1), self.inner.checked_sub(1)) else { return };
        let at = |row: usize| row / V::ROWS * self.panel + row % V::ROWS * self.row + step * self.step;
        let whole = (self.rows / V::ROWS * V::ROWS).saturating_sub(1);
        assert!(at(row).max(at(whole)) < self.left.len(), "the left operand has all rows and steps");
        let panels = self.columns.div_ceil(V::COLUMNS);
        let end = panels.saturating_sub(1) * self.right_step + self.inner * V::COLUMNS;
        assert!(panels == 0 || end <= self.right.len(), "the right operand has all panels and steps");
    }

    /// A tile of at most `rows` rows; gives how many it has.
    #[inline(always)]
    unsafe fn tile<V: Vector>(&self, rows: usize, left: *const f32, right: *const f32, place: Place) -> usize {
        // SAFETY: the caller's contract.
        unsafe {
            match (rows, place.columns > V::WIDTH) {
                (12.., true) => self.tile_of::<V, 12, 2>(left, right, place),
                (8.., true) => self.tile_of::<V, 8, 2>(left, right, place),
                (6.., true) => self.tile_of::<V, 6, 2>(left, right, place),
                (4.., true) => self.tile_of::<V, 4, 2>(left, right, place),
                (3, true) => self.tile_of::<V, 3, 2>(left, right, place),
                (2, true) => self.tile_of::<V, 2, 2>(left, right, place),
                (_, true) => self.tile_of::<V, 1, 2>(left, right, place),
                (12.., false) => self.tile_of::<V, 12, 1>(left, right, place),
                (8.., false) => self.tile_of::<V, 8, 1>(left, right, place),
                (6.., false) => self.tile_of::<V, 6, 1>(left, right, place),
                (4.., false) => self.tile_of::<V, 4, 1>(left, right, place),
                (3, false) => self.tile_of::<V, 3, 1>(left, right, place),
                (2, false) => self.tile_of::<V, 2, 1>(left, right, place),
                (_, false) => self.tile_of::<V, 1, 1>(left, right, place),
            }
        }
    }

    /// A tile of `ROWS` rows of as many vectors.
    #[inline(always)]
    unsafe fn tile_of<V: Vector, const ROWS: usize, const VECTORS: usize>(
        &self,
        left: *const f32,
        right: *const f32,
        place: Place,
    ) -> usize {
        if ROWS > V::ROWS {
            return ROWS;
        }
        // SAFETY: the caller's contract.
        unsafe {
            place.prefetch(ROWS);
            let sums = self.sums::<V, ROWS, VECTORS>(left, right);
            if place.columns == VECTORS * V::WIDTH {
                place.put(sums);
            } else {
                place.put_some(sums);
            }
        }
        ROWS
    }

    #[inline(always)]
    unsafe fn sums<V: Vector, const ROWS: usize, const VECTORS: usize>(
        &self,
        mut left: *const f32,
        mut right: *const f32,
    ) -> [[V; VECTORS]; ROWS] {
        let mut sums = [[V::zero(); VECTORS]; ROWS];
        for _ in 0..self.inner {
            let mut columns = [V::zero(); VECTORS];
            // SAFETY: the caller's contract.
            unsafe {
                for vector in 0..VECTORS {
                    columns[vector] = V::load(right.add(vector * V::WIDTH));
                }
                for row in 0..ROWS {
                    let x = V::splat(*left.add(row * self.row));
                    for vector in 0..VECTORS {
                        sums[row][vector] = sums[row][vector].plus_product(x, columns[vector]);
                    }
                }
            }
            left = left.wrapping_add(self.step);
            right = right.wrapping_add(V::COLUMNS);
        }
        sums
    }
}

/// Where a tile is written.
#[derive(Clone, Copy)]
struct Place {
    to: *mut f32,
    line: usize,
    /// Those of the tile that there are.
    columns: usize,
    add: bool,
}

impl Place {
    /// Asks for the lines to be brought near while the sums are worked out.
    #[inline(always)]
    fn prefetch(&self, rows: usize) {
        for row in 0..rows {
            let line = self.to.wrapping_add(row * self.line);
            prefetch(line);
            prefetch(line.wrapping_add(self.columns - 1));
        }
    }

    /// Sets whole lines or adds to them.
    #[inline(always)]
    unsafe fn put<V: Vector, const ROWS: usize, const VECTORS: usize>(&self, sums: [[V; VECTORS]; ROWS]) {
        // SAFETY: the caller's contract.
        let at = |row: usize, vector: usize| unsafe { self.to.add(row * self.line + vector * V::WIDTH) };
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                let (to, sum) = (at(row, vector), sums[row][vector]);
                // SAFETY: the caller's contract.
                unsafe { if self.add { V::load(to).plus(sum).store(to) } else { sum.store(to) } }
            }
        }
    }

    /// The same for lines that end before the tile does.
    #[inline(always)]
    unsafe fn put_some<V: Vector, const ROWS: usize, const VECTORS: usize>(&self, sums: [[V; VECTORS]; ROWS]) {
        let mut held = [[0.0; MOST_WIDE]; ROWS];
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                // SAFETY: all vectors fit the widest panel.
                unsafe { sums[row][vector].store(held[row].as_mut_ptr().add(vector * V::WIDTH)) }
            }
        }
        for (row, held) in held.iter().enumerate() {
            // SAFETY: the caller's contract.
            let to = unsafe { std::slice::from_raw_parts_mut(self.to.add(row * self.line), self.columns) };
            match self.add {
                true => to.iter_mut().zip(held).for_each(|(to, x)| *to += x),
                false => to.iter_mut().zip(held).for_each(|(to, x)| *to = *x),
            }
        }
    }
}

/// Asks for what lies at an address to be brought near, which changes nothing but time.
#[inline(always)]
pub(super) fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE, which this needs, is part of the architecture; any address may be asked for.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
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

    /// Where the first of `rows` lines of `columns` elements begins, `line` elements apart.
    #[inline(always)]
    pub(super) fn lines(&self, start: usize, line: usize, [rows, columns]: [usize; 2]) -> *mut T {
        let end = start + rows.saturating_sub(1) * line + columns;
        assert!(end <= self.len, "all lines lie inside the memory");
        self.start.wrapping_add(start)
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
