//! The gates of recurrent cells, some rows a task.

use rayon::prelude::*;

use crate::tensor::ops::recurrent::{Gates, Recurrent};
use crate::tensor::{Buffer, Result, Slice};

use super::functions::{sigmoid, tanh};
use super::{Cpu, PIECE};

impl Recurrent for Cpu {
    fn gru(&self, x: Slice<'_>, g: Slice<'_>, h: Slice<'_>, sizes: Gates) -> Result<Buffer> {
        let (xs, gs, hs) = (self.read(x)?, self.read(g)?, self.read(h)?);
        let mut y = self.take(h.len)?;
        let width = sizes.width;
        self.cells(
            [(y.values_mut(), width)],
            sizes,
            #[inline(always)]
            |row, [to]| {
                let ([xr, xz, xn], [gr, gz, gn]) = (parts(&xs, row, width), parts(&gs, row, width));
                let h = run(&hs, row * width, width);
                let to = &mut to[..width];
                for i in 0..width {
                    let (r, z) = (sigmoid(xr[i] + gr[i]), sigmoid(xz[i] + gz[i]));
                    let n = tanh(xn[i] + r * gn[i]);
                    to[i] = (1.0 - z) * n + z * h[i];
                }
            },
        );
        self.finish(y, h.dtype)
    }

    fn gru_grad(&self, [x, g, h]: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 3]> {
        let (xs, gs, hs, dys) = (self.read(x)?, self.read(g)?, self.read(h)?, self.read(dy)?);
        let (mut dx, mut dg, mut dh) = (self.take(x.len)?, self.take(g.len)?, self.take(h.len)?);
        let width = sizes.width;
        let blocks = [(dx.values_mut(), 3 * width), (dg.values_mut(), 3 * width), (dh.values_mut(), width)];
        self.cells(
            blocks,
            sizes,
            #[inline(always)]
            |row, [to_x, to_g, to_h]| {
                let ([xr, xz, xn], [gr, gz, gn]) = (parts(&xs, row, width), parts(&gs, row, width));
                let (h, dy) = (run(&hs, row * width, width), run(&dys, row * width, width));
                let to_h = &mut to_h[..width];
                let ([to_xr, to_xz, to_xn], [to_gr, to_gz, to_gn]) = (parts_mut(to_x, width), parts_mut(to_g, width));
                for i in 0..width {
                    let (r, z) = (sigmoid(xr[i] + gr[i]), sigmoid(xz[i] + gz[i]));
                    let n = tanh(xn[i] + r * gn[i]);
                    let dn = dy[i] * (1.0 - z) * (1.0 - n * n);
                    let dz = dy[i] * (h[i] - n) * z * (1.0 - z);
                    let dr = dn * gn[i] * r * (1.0 - r);
                    (to_xr[i], to_xz[i], to_xn[i]) = (dr, dz, dn);
                    (to_gr[i], to_gz[i], to_gn[i]) = (dr, dz, dn * r);
                    to_h[i] = dy[i] * z;
                }
            },
        );
        Ok([self.finish(dx, x.dtype)?, self.finish(dg, g.dtype)?, self.finish(dh, h.dtype)?])
    }

    fn lstm(&self, gates: Slice<'_>, c: Slice<'_>, sizes: Gates) -> Result<Buffer> {
        let (gs, cs) = (self.read(gates)?, self.read(c)?);
        let mut y = self.take(2 * c.len)?;
        let width = sizes.width;
        let (h, c_next) = y.values_mut().split_at_mut(c.len);
        self.cells(
            [(h, width), (c_next, width)],
            sizes,
            #[inline(always)]
            |row, [to_h, to_c]| {
                let ([i, f, o, g], c) = (parts(&gs, row, width), run(&cs, row * width, width));
                let (to_h, to_c) = (&mut to_h[..width], &mut to_c[..width]);
                for j in 0..width {
                    let next = sigmoid(f[j]) * c[j] + sigmoid(i[j]) * tanh(g[j]);
                    (to_c[j], to_h[j]) = (next, sigmoid(o[j]) * tanh(next));
                }
            },
        );
        self.finish(y, c.dtype)
    }

    fn lstm_grad(&self, [gates, c, y]: [Slice<'_>; 3], dy: Slice<'_>, sizes: Gates) -> Result<[Buffer; 2]> {
        let (gs, cs, ys, dys) = (self.read(gates)?, self.read(c)?, self.read(y)?, self.read(dy)?);
        let (mut d_gates, mut dc) = (self.take(gates.len)?, self.take(c.len)?);
        let width = sizes.width;
        let blocks = [(d_gates.values_mut(), 4 * width), (dc.values_mut(), width)];
        self.cells(
            blocks,
            sizes,
            #[inline(always)]
            |row, [to_gates, to_c]| {
                let [i, f, o, g] = parts(&gs, row, width);
                let (at, behind) = (row * width, c.len + row * width);
                let (c, dh) = (run(&cs, at, width), run(&dys, at, width));
                let (next, d_next) = (run(&ys, behind, width), run(&dys, behind, width));
                let to_c = &mut to_c[..width];
                let [to_i, to_f, to_o, to_g] = parts_mut(to_gates, width);
                for j in 0..width {
                    let (i, f, o, g) = (sigmoid(i[j]), sigmoid(f[j]), sigmoid(o[j]), tanh(g[j]));
                    let t = tanh(next[j]);
                    let d_next = d_next[j] + dh[j] * o * (1.0 - t * t);
                    to_i[j] = d_next * g * i * (1.0 - i);
                    to_f[j] = d_next * c[j] * f * (1.0 - f);
                    to_o[j] = dh[j] * t * o * (1.0 - o);
                    to_g[j] = d_next * i * (1.0 - g * g);
                    to_c[j] = d_next * f;
                }
            },
        );
        Ok([self.finish(d_gates, gates.dtype)?, self.finish(dc, c.dtype)?])
    }
}

/// `width` elements from `start` on: a length that the compiler sees, so that loops over it become wide instructions.
#[inline(always)]
fn run(from: &[f32], start: usize, width: usize) -> &[f32] {
    &from[start..][..width]
}

/// Gate after gate of one row.
#[inline(always)]
fn parts<const N: usize>(from: &[f32], row: usize, width: usize) -> [&[f32]; N] {
    std::array::from_fn(
        #[inline(always)]
        |gate| run(from, (row * N + gate) * width, width),
    )
}

/// Gate after gate of a row that is written.
#[inline(always)]
fn parts_mut<const N: usize>(to: &mut [f32], width: usize) -> [&mut [f32]; N] {
    let mut gates = to.chunks_exact_mut(width);
    std::array::from_fn(
        #[inline(always)]
        |_| &mut gates.next().unwrap_or_default()[..width],
    )
}

impl Cpu {
    /// Runs `work` on every row of several results, each with so many elements a row.
    fn cells<const N: usize>(
        &self,
        results: [(&mut [f32], usize); N],
        sizes: Gates,
        work: impl Fn(usize, [&mut [f32]; N]) + Sync,
    ) {
        if sizes.width == 0 {
            return;
        }
        let (many, level) = ((PIECE / sizes.width).max(1), self.level);
        let widths = results.each_ref().map(|(_, width)| *width);
        let mut chunks = results.map(|(result, width)| result.chunks_mut(many * width));
        let tasks = (0..sizes.rows.div_ceil(many)).map(|_| chunks.each_mut().map(|c| c.next().unwrap_or_default()));
        let tasks: Vec<[&mut [f32]; N]> = tasks.collect();
        tasks.into_par_iter().enumerate().for_each(|(task, results)| {
            level.run(
                #[inline(always)]
                || {
                    let first = task * many;
                    let mut rows = std::array::from_fn::<_, N, _>(|_| [].chunks_exact_mut(1));
                    for ((rows, result), width) in rows.iter_mut().zip(results).zip(widths) {
                        *rows = result.chunks_exact_mut(width);
                    }
                    for row in first..sizes.rows.min(first + many) {
                        work(row, rows.each_mut().map(|rows| rows.next().unwrap_or_default()));
                    }
                },
            );
        });
    }
}
