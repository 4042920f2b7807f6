//! The inner loop of convolutions and of their weight gradients: a tile of sums that stays in registers.
//!
//! A step multiplies a row of one or two vectors (of the panel) by some single numbers (of x) and adds the products to
//! the tile. Forward the numbers are neighbouring pixels and a step is an input channel of a tap; for weight gradients
//! the numbers are input channels and a step is a pixel.

#![allow(clippy::needless_range_loop, reason = "arrays walked by iterators leave the registers")]

use crate::tensor::cpu::vector::Vector;

/// Steps whose numbers lie regularly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Where in x the first one's number is.
    pub(super) x: usize,
    /// Which row of the panel is the first one's.
    pub(super) panel: usize,
    pub(super) len: usize,
}

/// One tile.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    pub(super) runs: &'a [Run],
    /// May point outside where the runs do not.
    pub(super) x: *const f32,
    /// From one step's number to the next one's.
    pub(super) along: usize,
    /// From one number of a step to the next one.
    pub(super) across: usize,
    pub(super) panel: *const f32,
    /// What the sums begin with, as wide as the panel; the sums in `y` go on where there is nothing.
    pub(super) start: Option<*const f32>,
    pub(super) y: *mut f32,
    /// From one row of the tile to the next in `y`.
    pub(super) y_step: usize,
    /// How many of a row's sums are there: the others fill vectors.
    pub(super) valid: usize,
}

/// Rows that a tile may have.
pub(super) const PIXELS: [usize; 8] = [12, 8, 6, 5, 4, 3, 2, 1];
/// The widest row of a tile, in numbers.
const ROW: usize = 32;

/// How many of `left` rows the next tile takes, so that no tile is left with too few sums to keep the machine busy.
#[inline(always)]
pub(super) fn pixels(left: usize, most: usize) -> usize {
    let fits = |wanted: usize| PIXELS.into_iter().find(|pixels| *pixels <= wanted).unwrap_or(1);
    if left >= most + most / 2 || left == most {
        fits(most)
    } else if left < most && fits(left) == left {
        left
    } else {
        fits(left.div_ceil(2))
    }
}

impl Tile<'_> {
    /// Works out the tile.
    ///
    /// # Safety
    /// Everything that the sizes reach is there: `pixels` numbers of x for every step, as many rows of the panel, and
    /// `valid` numbers of each row of y.
    #[inline(always)]
    pub(super) unsafe fn sum<V: Vector>(&self, pixels: usize, width: usize) {
        // SAFETY: the caller's contract.
        unsafe {
            match (pixels, width == V::WIDTH) {
                (12, true) => self.sum_of::<V, 12, 1>(),
                (8, true) => self.sum_of::<V, 8, 1>(),
                (6, true) => self.sum_of::<V, 6, 1>(),
                (5, true) => self.sum_of::<V, 5, 1>(),
                (4, true) => self.sum_of::<V, 4, 1>(),
                (3, true) => self.sum_of::<V, 3, 1>(),
                (2, true) => self.sum_of::<V, 2, 1>(),
                (_, true) => self.sum_of::<V, 1, 1>(),
                (12, false) => self.sum_of::<V, 12, 2>(),
                (8, false) => self.sum_of::<V, 8, 2>(),
                (6, false) => self.sum_of::<V, 6, 2>(),
                (5, false) => self.sum_of::<V, 5, 2>(),
                (4, false) => self.sum_of::<V, 4, 2>(),
                (3, false) => self.sum_of::<V, 3, 2>(),
                (2, false) => self.sum_of::<V, 2, 2>(),
                (_, false) => self.sum_of::<V, 1, 2>(),
            }
        }
    }

    #[inline(always)]
    unsafe fn sum_of<V: Vector, const P: usize, const Z: usize>(&self) {
        if P * Z > V::SUMS {
            return;
        }
        let whole = self.valid == Z * V::WIDTH;
        let mut sums = [[V::zero(); Z]; P];
        // SAFETY: the caller's contract.
        unsafe {
            for p in 0..P {
                let y = self.y.add(p * self.y_step);
                sums[p] = match self.start {
                    Some(start) => load_row(start),
                    None if whole => load_row(y),
                    None => load_some(y, self.valid),
                };
            }
            let sums = self.multiply::<V, P, Z>(sums);
            if whole {
                for p in 0..P {
                    store_row(sums[p], self.y.add(p * self.y_step));
                }
            } else {
                for p in 0..P {
                    store_some(sums[p], self.y.add(p * self.y_step), self.valid);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<V: Vector, const P: usize, const Z: usize>(&self, mut sums: [[V; Z]; P]) -> [[V; Z]; P] {
        let (along, across) = (self.along, self.across);
        for run in self.runs {
            // SAFETY: the caller's contract.
            unsafe {
                let mut x = self.x.wrapping_add(run.x);
                let mut panel = self.panel.add(run.panel * Z * V::WIDTH);
                for _ in 0..run.len {
                    let row = load_row::<V, Z>(panel);
                    for p in 0..P {
                        let number = V::splat(*x.add(p * across));
                        for z in 0..Z {
                            sums[p][z] = sums[p][z].plus_product(number, row[z]);
                        }
                    }
                    x = x.wrapping_add(along);
                    panel = panel.add(Z * V::WIDTH);
                }
            }
        }
        sums
    }
}

#[inline(always)]
unsafe fn load_row<V: Vector, const Z: usize>(from: *const f32) -> [V; Z] {
    let mut row = [V::zero(); Z];
    for z in 0..Z {
        // SAFETY: the caller's contract.
        row[z] = unsafe { V::load(from.add(z * V::WIDTH)) };
    }
    row
}

#[inline(always)]
unsafe fn store_row<V: Vector, const Z: usize>(row: [V; Z], to: *mut f32) {
    for z in 0..Z {
        // SAFETY: the caller's contract.
        unsafe { row[z].store(to.add(z * V::WIDTH)) }
    }
}

#[inline(always)]
unsafe fn load_some<V: Vector, const Z: usize>(from: *const f32, valid: usize) -> [V; Z] {
    let mut row = [0.0; ROW];
    // SAFETY: `valid` is at most the width of a row, which is at most `ROW`; the rest is the caller's contract.
    unsafe {
        std::ptr::copy_nonoverlapping(from, row.as_mut_ptr(), valid);
        load_row(row.as_ptr())
    }
}

#[inline(always)]
unsafe fn store_some<V: Vector, const Z: usize>(row: [V; Z], to: *mut f32, valid: usize) {
    let mut numbers = [0.0; ROW];
    // SAFETY: as in `load_some`.
    unsafe {
        store_row(row, numbers.as_mut_ptr());
        std::ptr::copy_nonoverlapping(numbers.as_ptr(), to, valid);
    }
}
