//! Pixels of an image with zeros around it.

use std::ops::Range;

/// An image, channels-last.
#[derive(Clone, Copy)]
pub(super) struct Image<'a> {
    pub(super) values: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) channels: usize,
}

/// Some rows and columns, which may lie outside.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) row: isize,
    pub(super) column: isize,
    pub(super) rows: usize,
    pub(super) columns: usize,
}

impl Image<'_> {
    /// Whether all of a window lies in the image.
    #[inline(always)]
    pub(super) fn holds(&self, window: &Window) -> bool {
        inside(window.row, window.rows, self.rows) && self.holds_columns(window)
    }

    /// Whether all columns of a window lie in the image.
    #[inline(always)]
    pub(super) fn holds_columns(&self, window: &Window) -> bool {
        inside(window.column, window.columns, self.columns)
    }

    /// A window that the image holds, to the end of the image; and how far its rows lie apart.
    #[inline(always)]
    pub(super) fn part(&self, window: &Window) -> (&[f32], usize) {
        let first = self.at(window.row as usize, window.column as usize, 0);
        (&self.values[first..], self.columns * self.channels)
    }

    /// Where a channel of a pixel of the image is.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize, channel: usize) -> usize {
        (row * self.columns + column) * self.channels + channel
    }

    /// A row of a window: pixels before the image, the numbers of those in it, and pixels behind it.
    #[inline(always)]
    pub(super) fn row(&self, window: &Window, index: usize) -> (usize, &[f32], usize) {
        let (row, columns) = (window.row + index as isize, self.columns as isize);
        let (left, right) =
            (window.column.clamp(0, columns), (window.column + window.columns as isize).clamp(0, columns));
        if row < 0 || row >= self.rows as isize || left >= right {
            return (window.columns, &[], 0);
        }
        let (before, inside) = ((left - window.column) as usize, (right - left) as usize);
        let first = self.at(row as usize, left as usize, 0);
        (before, &self.values[first..first + inside * self.channels], window.columns - before - inside)
    }

    /// Copies some channels of a window, 0 outside the image; its rows lie `row_step` apart in `to`.
    pub(super) fn copy(&self, window: &Window, channels: Range<usize>, row_step: usize, to: &mut [f32]) {
        let width = channels.len();
        for (index, to) in to.chunks_mut(row_step.max(1)).take(window.rows).enumerate() {
            let (before, from, after) = self.row(window, index);
            let (outside, rest) = to[..window.columns * width].split_at_mut(before * width);
            let (inside, behind) = rest.split_at_mut(rest.len() - after * width);
            outside.fill(0.0);
            behind.fill(0.0);
            for (to, from) in inside.chunks_mut(width).zip(from.chunks(self.channels)) {
                to.copy_from_slice(&from[channels.clone()]);
            }
        }
    }
}

#[inline(always)]
fn inside(first: isize, count: usize, size: usize) -> bool {
    first >= 0 && first as usize + count <= size
}
