//! What is done to finished pixels while they are in the cache: residual, activation, moments.

use std::ops::Range;

use crate::tensor::cpu::elementwise::map_piece;
use crate::tensor::cpu::vector::Vector;
use crate::tensor::ops::elementwise::Map;

/// Numbers that are copied aside at a time.
const ASIDE: usize = 256;
/// The widest vector.
const LANES: usize = 16;
/// Pixels that are summed in f32 before their sum is added in f64.
const PIXELS: usize = 64;
/// Pixels whose mean the moments are taken around.
const FIRST: usize = 16;

/// The epilogue of one task.
pub(super) struct Finish<'a> {
    pub(super) residual: Option<&'a [f32]>,
    /// Where the values before the activation go.
    pub(super) before: Option<&'a mut [f32]>,
    pub(super) activation: Option<Map>,
    pub(super) moments: Option<Sums<'a>>,
}

/// Sums of the channels of some pixels.
pub(super) struct Sums<'a> {
    /// Of each channel a number near its mean, and the sums of distances from it and of their squares.
    values: &'a mut [f64],
    begun: bool,
}

impl Finish<'_> {
    /// Finishes pixels that lie side by side in the rows of the task, whole pixels after each other.
    #[inline(always)]
    pub(super) fn run<V: Vector>(&mut self, y: &mut [f32], pixels: Range<usize>) {
        let y = &mut y[pixels.clone()];
        if let Some(residual) = self.residual {
            y.iter_mut().zip(&residual[pixels.clone()]).for_each(|(y, residual)| *y += residual);
        }
        if let Some(before) = &mut self.before {
            before[pixels].copy_from_slice(y);
        }
        if let Some(op) = self.activation {
            for y in y.chunks_mut(ASIDE) {
                let mut aside = [0.0; ASIDE];
                let aside = &mut aside[..y.len()];
                aside.copy_from_slice(y);
                map_piece(op, aside, y);
            }
        }
        if let Some(moments) = &mut self.moments {
            moments.add::<V>(y);
        }
    }
}

impl<'a> Sums<'a> {
    /// Numbers that are summed a channel.
    pub(super) const NUMBERS: usize = 3;

    pub(super) fn new(values: &'a mut [f64]) -> Self {
        Sums { values, begun: false }
    }

    /// Mean and sum of squared distances from it of a channel, of `count` pixels.
    pub(super) fn moments(values: &[f64], channel: usize, count: f64) -> (f64, f64) {
        let channels = values.len() / Self::NUMBERS;
        let [near, sum, squares] = std::array::from_fn(|which| values[which * channels + channel]);
        (near + sum / count, (squares - sum * sum / count).max(0.0))
    }

    #[inline(always)]
    fn add<V: Vector>(&mut self, y: &[f32]) {
        let channels = self.values.len() / Self::NUMBERS;
        if !self.begun {
            self.begin(y, channels);
        }
        for pixels in y.chunks(PIXELS * channels) {
            let whole = channels / V::WIDTH * V::WIDTH;
            for first in (0..whole).step_by(V::WIDTH) {
                self.add_lanes::<V>(pixels, first, channels);
            }
            for first in whole..channels {
                self.add_lanes::<f32>(pixels, first, channels);
            }
        }
    }

    /// Adds some pixels of a vector of channels.
    #[inline(always)]
    fn add_lanes<V: Vector>(&mut self, pixels: &[f32], first: usize, channels: usize) {
        let mut numbers = [0f32; LANES];
        numbers.iter_mut().zip(&self.values[first..first + V::WIDTH]).for_each(|(to, near)| *to = *near as f32);
        // SAFETY: no vector is wider than `LANES`.
        let near = unsafe { V::load(numbers.as_ptr()) };
        let (mut sum, mut squares) = (V::zero(), V::zero());
        for pixel in pixels.chunks_exact(channels) {
            let y = &pixel[first..first + V::WIDTH];
            // SAFETY: as many numbers as a vector has.
            let distance = unsafe { V::load(y.as_ptr()) }.minus(near);
            sum = sum.plus(distance);
            squares = squares.plus_product(distance, distance);
        }
        for (which, held) in [(1, sum), (2, squares)] {
            // SAFETY: as above.
            unsafe { held.store(numbers.as_mut_ptr()) }
            let sums = self.values[which * channels + first..][..V::WIDTH].iter_mut();
            sums.zip(&numbers).for_each(|(sum, more)| *sum += f64::from(*more));
        }
    }

    /// Takes the mean of the first pixels of each channel for a number near that of all.
    fn begin(&mut self, y: &[f32], channels: usize) {
        self.begun = true;
        self.values.fill(0.0);
        let pixels = (y.len() / channels).min(FIRST);
        for (channel, near) in self.values[..channels].iter_mut().enumerate() {
            let sum: f32 = y[channel..].iter().step_by(channels).take(pixels).sum();
            *near = f64::from(sum / pixels as f32);
        }
    }
}
