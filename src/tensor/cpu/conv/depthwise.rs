//! Convolutions of every channel alone: vectors of neighbouring channels.

#![allow(clippy::needless_range_loop, reason = "arrays walked by iterators leave the registers")]

use std::ops::Range;

use crate::tensor::cpu::vector::{Kernel, Vector};

use super::epilogue::Finish;
use super::long_sums::LongSums;
use super::plan::{Phase, Plan, Tap};
use super::window::Image;

/// Columns whose sums are added before the next tap: their numbers stay in the nearest cache.
const COLUMNS: usize = 32;
/// Pixels whose sums are kept side by side, so that additions need not wait for each other.
const PIXELS: usize = 4;

/// Some output rows of one image.
pub(super) struct DepthwiseRows<'a> {
    pub(super) plan: &'a Plan,
    pub(super) x: Image<'a>,
    /// Kernel elements times channels.
    pub(super) weights: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) y: &'a mut [f32],
    pub(super) finish: Finish<'a>,
}

/// Products of output pixels that lie side by side.
struct Pixels<'a> {
    x: Image<'a>,
    weights: &'a [f32],
    bias: &'a [f32],
    /// Where each tap's pixel and weights are.
    taps: &'a [[usize; 2]],
    /// From one output pixel's input to the next one's, and between the outputs.
    steps: [usize; 2],
}

impl Kernel for DepthwiseRows<'_> {
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        for phase in &self.plan.phases {
            let (first, step) = (phase.index[0], self.plan.rows.step_to);
            let mut t = self.rows.start.saturating_sub(first).div_ceil(step);
            while first + t * step < self.rows.end {
                self.row::<V>(phase, t);
                t += 1;
            }
        }
        self.finish.run::<V>(self.y, 0..self.y.len());
    }
}

impl DepthwiseRows<'_> {
    #[inline(always)]
    fn row<V: Vector>(&mut self, phase: &Phase, t: usize) {
        let (plan, x) = (self.plan, self.x);
        let outputs = plan.columns.outputs(phase.index[1]);
        let step = plan.columns.step_from;
        let mut taps = Vec::with_capacity(phase.taps);
        let mut u = 0;
        while u < outputs {
            let inside = |count: usize| {
                let column = (u * step) as isize + phase.first[1];
                column >= 0 && column as usize + (count - 1) * step + phase.extent[1] <= x.columns
            };
            let count = if u + PIXELS <= outputs && inside(PIXELS) { PIXELS } else { 1 };
            self.taps(phase, t, u, &mut taps);
            let steps = [step * x.channels, plan.columns.step_to * x.channels];
            let pixels = Pixels { x, weights: self.weights, bias: self.bias, taps: &taps, steps };
            let row = phase.index[0] + t * plan.rows.step_to - self.rows.start;
            let at = (row * plan.columns.to + phase.index[1] + u * plan.columns.step_to) * x.channels;
            match count {
                PIXELS => pixels.sum::<V, PIXELS>(&mut self.y[at..]),
                _ => pixels.sum::<V, 1>(&mut self.y[at..]),
            }
            u += count;
        }
    }

    /// The taps that meet the image.
    #[inline(always)]
    fn taps(&self, phase: &Phase, t: usize, u: usize, taps: &mut Vec<[usize; 2]>) {
        let plan = self.plan;
        let at = |place: usize, step: usize, tap: &Tap, size: usize| {
            usize::try_from((place * step) as isize + tap.offset).ok().filter(|at| *at < size)
        };
        taps.clear();
        for row_tap in &plan.rows.phases[phase.index[0]] {
            let Some(row) = at(t, plan.rows.step_from, row_tap, self.x.rows) else { continue };
            for column_tap in &plan.columns.phases[phase.index[1]] {
                let Some(column) = at(u, plan.columns.step_from, column_tap, self.x.columns) else { continue };
                let index = row_tap.index * plan.kernel[1] + column_tap.index;
                taps.push([self.x.at(row, column, 0), index * self.x.channels]);
            }
        }
    }
}

impl Pixels<'_> {
    #[inline(always)]
    fn sum<V: Vector, const P: usize>(&self, y: &mut [f32]) {
        let channels = self.x.channels;
        let whole = channels / V::WIDTH * V::WIDTH;
        for channel in (0..whole).step_by(V::WIDTH) {
            self.sum_at::<V, P>(channel, y);
        }
        for channel in whole..channels {
            self.sum_at::<f32, P>(channel, y);
        }
    }

    #[inline(always)]
    fn sum_at<V: Vector, const P: usize>(&self, channel: usize, y: &mut [f32]) {
        let [step, step_to] = self.steps;
        let (x, y) = (self.x.values.as_ptr(), y[(P - 1) * step_to + channel..].as_mut_ptr());
        // SAFETY: `channel` begins a vector of channels of the bias, of every weight, and of every pixel: those that
        // `taps` names lie in the image for all P outputs, which `y` holds from P − 1 steps before `y` on.
        unsafe {
            let mut sums = [V::load(self.bias.as_ptr().add(channel)); P];
            for [pixel, weights] in self.taps {
                let weight = V::load(self.weights.as_ptr().add(weights + channel));
                for p in 0..P {
                    let number = V::load(x.add(pixel + p * step + channel));
                    sums[p] = sums[p].plus_product(number, weight);
                }
            }
            for p in 0..P {
                sums[p].store(y.sub((P - 1 - p) * step_to));
            }
        }
    }
}

/// Sums over some output rows of all images: a row of channels for each tap.
pub(super) struct DepthwiseSums<'a> {
    pub(super) plan: &'a Plan,
    pub(super) x: &'a [f32],
    pub(super) dy: &'a [f32],
    /// Rows, counted through all images.
    pub(super) rows: Range<usize>,
    pub(super) sums: LongSums<'a>,
}

/// Gradients of neighbouring pixels and the pixels that a tap meets.
struct Products<'a> {
    /// The first pixel's channels.
    x: &'a [f32],
    dy: &'a [f32],
    x_step: usize,
    channels: usize,
    count: usize,
}

impl Kernel for DepthwiseSums<'_> {
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let plan = self.plan;
        let (channels, columns) = (plan.groups, plan.columns.to);
        let Some((row_taps, column_taps)) = plan.rows.phases.first().zip(plan.columns.phases.first()) else { return };
        self.sums.clear();
        for row in self.rows {
            let dy = &self.dy[row * columns * channels..][..columns * channels];
            let (image, row) = (row / plan.rows.to, row % plan.rows.to);
            let x_row = |tap: &Tap| {
                let at = usize::try_from((row * plan.rows.step_from) as isize + tap.offset).ok();
                at.filter(|at| *at < plan.rows.from).map(|at| image * plan.rows.from + at)
            };
            for start in (0..columns).step_by(COLUMNS) {
                let piece = start..(start + COLUMNS).min(columns);
                let mut taps = self.sums.before(piece.len()).chunks_exact_mut(channels);
                for row_tap in row_taps {
                    let x = x_row(row_tap).map(|row| &self.x[row * plan.columns.from * channels..]);
                    for (column_tap, sums) in column_taps.iter().zip(&mut taps) {
                        if let Some(x) = x {
                            products(plan, x, dy, column_tap.offset, piece.clone()).add::<V>(sums);
                        }
                    }
                }
            }
        }
    }
}

/// What one tap sums over some columns of a row: those whose pixel lies in the image.
fn products<'a>(plan: &Plan, x: &'a [f32], dy: &'a [f32], offset: isize, columns: Range<usize>) -> Products<'a> {
    let (step, channels) = (plan.columns.step_from, plan.groups);
    let first = offset.min(0).unsigned_abs().div_ceil(step).clamp(columns.start, columns.end);
    let beyond = (plan.columns.from as isize - offset).max(0).unsigned_abs().div_ceil(step);
    let end = beyond.clamp(first, columns.end);
    let start = if first < end { ((first * step) as isize + offset) as usize * channels } else { 0 };
    Products { x: &x[start..], dy: &dy[first * channels..], x_step: step * channels, channels, count: end - first }
}

impl Products<'_> {
    #[inline(always)]
    fn add<V: Vector>(&self, sums: &mut [f32]) {
        let mut channel = 0;
        while channel + 4 * V::WIDTH <= self.channels {
            self.add_at::<V, 4>(channel, sums);
            channel += 4 * V::WIDTH;
        }
        while channel + V::WIDTH <= self.channels {
            self.add_at::<V, 1>(channel, sums);
            channel += V::WIDTH;
        }
        for channel in channel..self.channels {
            self.add_at::<f32, 1>(channel, sums);
        }
    }

    #[inline(always)]
    fn add_at<V: Vector, const Z: usize>(&self, channel: usize, sums: &mut [f32]) {
        let sums = sums[channel..channel + Z * V::WIDTH].as_mut_ptr();
        let x = self.x.as_ptr().wrapping_add(channel);
        // SAFETY: `channel` begins Z vectors of channels of the sums and of each of the `count` pixels of x and dy.
        unsafe {
            let mut held = [V::zero(); Z];
            for pixel in 0..self.count {
                let dy = self.dy.as_ptr().add(pixel * self.channels + channel);
                for z in 0..Z {
                    let number = V::load(x.add(pixel * self.x_step + z * V::WIDTH));
                    held[z] = held[z].plus_product(number, V::load(dy.add(z * V::WIDTH)));
                }
            }
            for z in 0..Z {
                let to = sums.add(z * V::WIDTH);
                held[z].plus_product(V::splat(1.0), V::load(to)).store(to);
            }
        }
    }
}
