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

    /// Where a channel of a pixel of the image is.
    #[inline(always)]
    pub(super) fn at(&self, row: usize, column: usize, channel: usize) -> usize {
        (row * self.columns + column) * self.channels + channel
    }

    /// Copies some channels of a window, 0 outside the image; its rows lie `row_step` apart in `to`.
    pub(super) fn copy(&self, window: &Window, channels: Range<usize>, row_step: usize, to: &mut [f32]) {
        let held = |first: isize, count: usize, size: usize| {
            let clamp = |at: isize| at.clamp(0, size as isize);
            (clamp(first), clamp(first + count as isize))
        };
        let (left, right) = held(window.column, window.columns, self.columns);
        let width = channels.len();
        for (index, to) in to.chunks_mut(row_step.max(1)).take(window.rows).enumerate() {
            let to = &mut to[..window.columns * width];
            let row = window.row + index as isize;
            if row < 0 || row >= self.rows as isize || left >= right {
                to.fill(0.0);
                continue;
            }
            let (before, rest) = to.split_at_mut((left - window.column) as usize * width);
            let (middle, after) = rest.split_at_mut((right - left) as usize * width);
            before.fill(0.0);
            after.fill(0.0);
            let first = self.at(row as usize, left as usize, channels.start);
            let from = self.values[first..].chunks(self.channels);
            for (to, from) in middle.chunks_mut(width).zip(from) {
                to.copy_from_slice(&from[..width]);
            }
        }
    }
}

#[inline(always)]
fn inside(first: isize, count: usize, size: usize) -> bool {
    first >= 0 && first as usize + count <= size
}
