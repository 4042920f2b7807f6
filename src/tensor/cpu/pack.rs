//! Operands of products laid in panels, so that a tile reads them in a row.

use std::ops::Range;

use super::gemm::{Matrix, Tile, prefetch};
use super::vector::{Kernel, Vector};

/// Rows that are copied side by side: as many streams as a core follows well.
const STREAMS: usize = 16;
/// Rows and columns of a block that is turned in registers.
const SQUARE: usize = 4;

/// How many elements `columns` columns (or rows) over `inner` steps take as panels of `width`.
pub(super) fn packed_len(inner: usize, columns: usize, width: usize) -> usize {
    inner * columns.next_multiple_of(width)
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
    fn run<V: Vector>(self) {
        pack_right(self.from, self.inner, self.columns, V::COLUMNS, self.to);
    }
}

/// Packs rows `rows` and columns `inner` of a left operand as panels of `height` rows, with zeros behind the last.
#[inline(always)]
pub(super) fn pack_left(from: Matrix<'_>, rows: Range<usize>, inner: Range<usize>, height: usize, to: &mut [f32]) {
    pack_right(from.transposed(), inner, rows, height, to);
}

/// Packs rows `inner` and columns `columns` of a right operand as panels of `width` columns, with zeros behind the
/// last.
#[inline(always)]
pub(super) fn pack_right(from: Matrix<'_>, inner: Range<usize>, columns: Range<usize>, width: usize, to: &mut [f32]) {
    let panel = (inner.len() * width).max(1);
    let at_once = if from.column == 1 { STREAMS } else { inner.len().max(1) };
    for first in inner.clone().step_by(at_once) {
        let rows = at_once.min(inner.end - first);
        let starts = columns.clone().step_by(width);
        for (start, to) in starts.zip(to.chunks_exact_mut(panel)) {
            let values = from.values.get(first * from.row + start * from.column..).unwrap_or_default();
            let piece = Piece { from: Matrix { values, ..from }, rows, columns: width.min(columns.end - start) };
            piece.pack(width, &mut to[(first - inner.start) * width..][..rows * width]);
        }
    }
}

/// Some rows of one panel.
struct Piece<'a> {
    from: Matrix<'a>,
    rows: usize,
    columns: usize,
}

impl Piece<'_> {
    #[inline(always)]
    fn pack(&self, width: usize, to: &mut [f32]) {
        if self.columns < width {
            to.fill(0.0);
        }
        if self.from.column != 1 {
            self.turn(width, to);
        } else if self.columns == width {
            // A length that is known when this is compiled.
            self.copy(width, width, to);
        } else {
            self.copy(self.columns, width, to);
        }
    }

    #[inline(always)]
    fn copy(&self, len: usize, width: usize, to: &mut [f32]) {
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            let from = &self.from.values[row * self.from.row..][..len];
            prefetch(from.as_ptr().wrapping_add(STREAMS * self.from.row));
            to[..len].copy_from_slice(from);
        }
    }

    /// Copies columns that lie in memory one after the other, or anyhow.
    #[inline(always)]
    fn turn(&self, width: usize, to: &mut [f32]) {
        if self.from.row == 1 && self.rows.min(self.columns) >= SQUARE {
            let step = self.from.column;
            let from = &self.from.values[..(self.columns - 1) * step + self.rows];
            assert!((self.rows - 1) * width + self.columns <= to.len(), "all rows fit where they are written");
            for column in squares(self.columns) {
                for row in squares(self.rows) {
                    // SAFETY: a square's last column and row are at most those cut and checked above.
                    unsafe {
                        let from = from.as_ptr().add(row + column * step);
                        turn_square(from, step, to.as_mut_ptr().add(row * width + column), width);
                    }
                }
            }
            return;
        }
        for (row, to) in to.chunks_exact_mut(width).enumerate() {
            let from = &self.from.values[row * self.from.row..];
            for (column, to) in to[..self.columns].iter_mut().enumerate() {
                *to = from[column * self.from.column];
            }
        }
    }
}

/// Where the squares of at least [`SQUARE`] rows or columns begin; the last one may lie over a part of the one before.
#[inline(always)]
fn squares(len: usize) -> impl Iterator<Item = usize> {
    (0..len).step_by(SQUARE).map(move |start| start.min(len - SQUARE))
}

/// Turns [`SQUARE`] columns of as many neighbours, `from_step` elements apart, into rows, `to_step` elements apart.
#[inline(always)]
unsafe fn turn_square(from: *const f32, from_step: usize, to: *mut f32, to_step: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE, which this needs, is part of the architecture; the rest is the caller's contract.
    unsafe {
        use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
        let (mut a, mut b) = (_mm_loadu_ps(from), _mm_loadu_ps(from.add(from_step)));
        let (mut c, mut d) = (_mm_loadu_ps(from.add(2 * from_step)), _mm_loadu_ps(from.add(3 * from_step)));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to.add(to_step), b);
        _mm_storeu_ps(to.add(2 * to_step), c);
        _mm_storeu_ps(to.add(3 * to_step), d);
    }
    #[cfg(not(target_arch = "x86_64"))]
    for row in 0..SQUARE {
        for column in 0..SQUARE {
            // SAFETY: the caller's contract.
            unsafe { *to.add(row * to_step + column) = *from.add(column * from_step + row) };
        }
    }
}
