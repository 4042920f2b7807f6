//! Products of which the left operand has few rows: the right one is read once, where it lies.

use rayon::prelude::*;

use crate::tensor::ops::matmul::Product;

use super::Cpu;
use super::gemm::{Apart, Matrix};
use super::matmul::Tail;
use super::vector::{Kernel, Vector};

/// The most rows where the rows of the right operand lie in memory one after the other.
const FEW: usize = 4;
/// The most rows where its columns do: turning them for a tile is worth it for more rows alone.
const FEW_OF_TURNED: usize = 32;
/// The least steps of a sum that is worth vectors along it.
const LONG: usize = 64;
/// Columns of one task.
const STRIP: usize = 512;
/// Rows of the right operand that are added at once, and columns of it that are multiplied at once.
const GROUP: usize = 4;
/// Numbers of the widest vector.
const WIDEST: usize = 16;

/// Some columns of one product.
struct Strip<'a> {
    x: Matrix<'a>,
    y: Matrix<'a>,
    sizes: &'a Product,
    first: usize,
    columns: usize,
    to: &'a Apart<'a, f32>,
    /// Where the first row's part begins.
    start: usize,
    tail: &'a Tail<'a>,
}

impl Cpu {
    /// Multiplies and gives true where the left operand has few rows, whose elements lie one after the other.
    pub(super) fn multiply_few(&self, x: &[f32], y: &[f32], sizes: &Product, tail: &Tail<'_>, to: &mut [f32]) -> bool {
        if sizes.x.column != 1 || !(sizes.adds_rows() || sizes.multiplies_columns()) {
            return false;
        }
        let (batches, strips) = (sizes.batch.iter().product::<usize>(), sizes.columns.div_ceil(STRIP));
        let to = Apart::new(to);
        (0..batches * strips).into_par_iter().for_each(|task| {
            let (batch, first) = (task / strips, task % strips * STRIP);
            self.level.launch(Strip {
                x: sizes.x.matrix(x, &sizes.batch, batch),
                y: sizes.y.matrix(y, &sizes.batch, batch),
                sizes,
                first,
                columns: STRIP.min(sizes.columns - first),
                to: &to,
                start: batch * sizes.rows * sizes.columns + first,
                tail,
            });
        });
        true
    }
}

impl Product {
    fn adds_rows(&self) -> bool {
        self.y.column == 1 && self.rows <= FEW
    }

    fn multiplies_columns(&self) -> bool {
        self.y.row == 1 && self.rows <= FEW_OF_TURNED && self.inner >= LONG
    }
}

impl Kernel for Strip<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        if self.sizes.adds_rows() {
            self.add_rows();
        } else {
            for column in (0..self.columns).step_by(GROUP) {
                self.multiply_columns::<V>(column);
            }
        }
        for row in 0..self.sizes.rows {
            self.tail.finish(self.line(row), self.first, self.start + row * self.sizes.columns);
        }
    }
}

impl Strip<'_> {
    /// The strip's part of a row of the result.
    #[inline(always)]
    #[allow(clippy::mut_from_ref, reason = "a strip is one task's alone")]
    fn line(&self, row: usize) -> &mut [f32] {
        // SAFETY: no two strips have an element in common, and a strip uses one line at a time.
        unsafe { self.to.part(self.start + row * self.sizes.columns, self.columns) }
    }

    /// Rows of the right operand times numbers of the left one.
    #[inline(always)]
    fn add_rows(&self) {
        let mut sums = [[0f32; STRIP]; FEW];
        for first in (0..self.sizes.inner).step_by(GROUP) {
            let rows = GROUP.min(self.sizes.inner - first);
            let y = |row: usize| &self.y.values[(first + row) * self.y.row + self.first..][..self.columns];
            for (row, sums) in sums.iter_mut().enumerate().take(self.sizes.rows) {
                let x = &self.x.values[row * self.x.row + first..][..rows];
                let sums = &mut sums[..self.columns];
                if let [a, b, c, d] = *x {
                    let of_y = y(0).iter().zip(y(1)).zip(y(2).iter().zip(y(3)));
                    for (sum, ((p, q), (r, s))) in sums.iter_mut().zip(of_y) {
                        *sum += a * p + b * q + c * r + d * s;
                    }
                    continue;
                }
                for (row, x) in x.iter().enumerate() {
                    for (sum, y) in sums.iter_mut().zip(y(row)) {
                        *sum += x * y;
                    }
                }
            }
        }
        for (row, sums) in sums.iter().enumerate().take(self.sizes.rows) {
            self.line(row).copy_from_slice(&sums[..self.columns]);
        }
    }

    /// Sums along [`GROUP`] columns of the right operand, or as many as are left from `column` on.
    #[inline(always)]
    fn multiply_columns<V: Vector>(&self, column: usize) {
        let columns = GROUP.min(self.columns - column);
        let y: [&[f32]; GROUP] = std::array::from_fn(
            #[inline(always)]
            |index| {
                let column = self.first + column + index.min(columns - 1);
                &self.y.values[column * self.y.column..][..self.sizes.inner]
            },
        );
        let mut row = 0;
        while row < self.sizes.rows {
            let rows = (V::SUMS / GROUP).min(self.sizes.rows - row);
            row += match rows {
                6.. => self.multiply_rows::<V, 6>(row, y, column, columns),
                3.. => self.multiply_rows::<V, 3>(row, y, column, columns),
                2 => self.multiply_rows::<V, 2>(row, y, column, columns),
                _ => self.multiply_rows::<V, 1>(row, y, column, columns),
            };
        }
    }

    /// Writes `ROWS` rows of `columns` columns; gives `ROWS`.
    #[inline(always)]
    fn multiply_rows<V: Vector, const ROWS: usize>(
        &self,
        first: usize,
        y: [&[f32]; GROUP],
        column: usize,
        columns: usize,
    ) -> usize {
        if ROWS * GROUP > V::SUMS && ROWS > 1 {
            return ROWS;
        }
        let x: [&[f32]; ROWS] = std::array::from_fn(
            #[inline(always)]
            |row| &self.x.values[(first + row) * self.x.row..][..self.sizes.inner],
        );
        let sums = sums_along::<V, ROWS>(x, y);
        for (row, sums) in sums.iter().enumerate() {
            self.line(first + row)[column..column + columns].copy_from_slice(&sums[..columns]);
        }
        ROWS
    }
}

/// The sums of the products of rows of equal length, in vectors along them.
#[inline(always)]
fn sums_along<V: Vector, const ROWS: usize>(x: [&[f32]; ROWS], y: [&[f32]; GROUP]) -> [[f32; GROUP]; ROWS] {
    let len = y[0].len();
    let whole = len / V::WIDTH * V::WIDTH;
    let mut sums = [[V::zero(); GROUP]; ROWS];
    for at in (0..whole).step_by(V::WIDTH) {
        // SAFETY: all rows have a whole vector at `at`.
        unsafe {
            let y = y.map(
                #[inline(always)]
                |y| V::load(y.as_ptr().add(at)),
            );
            for row in 0..ROWS {
                let x = V::load(x[row].as_ptr().add(at));
                for column in 0..GROUP {
                    sums[row][column] = sums[row][column].plus_product(x, y[column]);
                }
            }
        }
    }
    let mut found = [[0.0; GROUP]; ROWS];
    for row in 0..ROWS {
        for column in 0..GROUP {
            let rest: f32 = x[row][whole..].iter().zip(&y[column][whole..]).map(|(x, y)| x * y).sum();
            found[row][column] = sum_of(sums[row][column]) + rest;
        }
    }
    found
}

/// The sum of a vector's numbers.
#[inline(always)]
fn sum_of<V: Vector>(vector: V) -> f32 {
    const { assert!(V::WIDTH <= WIDEST, "a vector fits where it is written") };
    let mut numbers = [0f32; WIDEST];
    // SAFETY: checked above.
    unsafe { vector.store(numbers.as_mut_ptr()) };
    let mut width = WIDEST / 2;
    while width > 0 {
        for at in 0..width {
            numbers[at] += numbers[at + width];
        }
        width /= 2;
    }
    numbers[0]
}
