//! Loops over one block of a normalised tensor, whose factors a channel are repeated to a pattern.

use std::ops::Range;

use crate::tensor::ops::elementwise::Map;

use super::elementwise::{grad_piece, map_piece};

/// Patterns that are summed in f32 before their sums are added in f64.
const RUN: usize = 16;

/// Σ(x − k)/n + k and Σ(x − mean)² of each channel of a block, with k the mean of the first positions.
#[inline(always)]
pub(super) fn moments(x: &[f32], channels: usize, pattern: usize, scratch: &mut [f32], sums: &mut [f64]) {
    let (first, rest) = scratch.split_at_mut(pattern);
    let (part, rest) = rest.split_at_mut(pattern);
    let squares = &mut rest[..pattern];
    centre(x, channels, first);
    let (sum, square) = sums.split_at_mut(channels);
    (sum.fill(0.0), square.fill(0.0));
    for run in x.chunks(RUN * pattern) {
        (part.fill(0.0), squares.fill(0.0));
        for x in run.chunks(pattern) {
            for (((x, k), part), square) in x.iter().zip(&*first).zip(&mut *part).zip(&mut *squares) {
                let d = x - k;
                *part += d;
                *square += d * d;
            }
        }
        add_channels(part, sum);
        add_channels(squares, square);
    }
    let count = (x.len() / channels) as f64;
    for ((sum, square), k) in sum.iter_mut().zip(square).zip(&*first) {
        *square = (*square - *sum * *sum / count).max(0.0);
        *sum = *sum / count + f64::from(*k);
    }
}

/// The mean of the first positions of each channel, as a pattern.
#[inline(always)]
fn centre(x: &[f32], channels: usize, to: &mut [f32]) {
    let positions = (x.len() / channels).min(RUN);
    for channel in 0..channels {
        let sum: f32 = x[channel..].iter().step_by(channels).take(positions).sum();
        to[channel] = sum / positions as f32;
    }
    repeat(channels, to);
}

/// Repeats the first `channels` elements over the rest.
#[inline(always)]
fn repeat(channels: usize, to: &mut [f32]) {
    let mut done = channels;
    while done < to.len() {
        let more = done.min(to.len() - done);
        to.copy_within(..more, done);
        done += more;
    }
}

/// Adds a pattern's sums to those of its channels.
#[inline(always)]
fn add_channels(pattern: &[f32], sums: &mut [f64]) {
    if let [sum] = sums {
        let (whole, rest) = pattern.as_chunks::<8>();
        let mut lanes = [0f64; 8];
        for chunk in whole {
            lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += f64::from(*x));
        }
        *sum += lanes.iter().sum::<f64>() + rest.iter().map(|x| f64::from(*x)).sum::<f64>();
        return;
    }
    for chunk in pattern.chunks_exact(sums.len()) {
        sums.iter_mut().zip(chunk).for_each(|(sum, x)| *sum += f64::from(*x));
    }
}

/// Three factors a channel, repeated to a pattern.
pub(super) struct Pattern<'a>([&'a [f32]; 3]);

impl<'a> Pattern<'a> {
    /// The factors of some channels, repeated in scratch of three patterns.
    #[inline(always)]
    pub(super) fn new(factors: [&[f32]; 3], channels: Range<usize>, scratch: &'a mut [f32]) -> Self {
        let pattern = scratch.len() / 3;
        for (factor, to) in factors.into_iter().zip(scratch.chunks_exact_mut(pattern)) {
            to[..channels.len()].copy_from_slice(&factor[channels.clone()]);
            repeat(channels.len(), to);
        }
        let (mean, rest) = scratch.split_at(pattern);
        let (slope, offset) = rest.split_at(pattern);
        Pattern([mean, slope, offset])
    }

    /// `(x − mean) · slope + offset` of at most one pattern.
    #[inline(always)]
    fn line(&self, x: &[f32], to: &mut [f32]) {
        let [mean, slope, offset] = self.0;
        for ((((to, x), mean), slope), offset) in to.iter_mut().zip(x).zip(mean).zip(slope).zip(offset) {
            *to = (x - mean) * slope + offset;
        }
    }

    /// The normalised block, and a function of it.
    #[inline(always)]
    pub(super) fn apply(&self, x: &[f32], activation: Option<Map>, scratch: &mut [f32], to: &mut [f32]) {
        let pattern = self.0[0].len();
        for (x, to) in x.chunks(pattern).zip(to.chunks_mut(pattern)) {
            match activation {
                None => self.line(x, to),
                Some(activation) => {
                    let line = &mut scratch[..x.len()];
                    self.line(x, line);
                    map_piece(activation, line, to);
                }
            }
        }
    }

    /// The gradient before the activation, of at most one pattern, in the second half of scratch of two.
    #[inline(always)]
    fn before<'b>(&self, x: &[f32], dy: &'b [f32], activation: Option<Map>, scratch: &'b mut [f32]) -> &'b [f32] {
        let Some(activation) = activation else { return dy };
        let (line, dz) = scratch.split_at_mut(self.0[0].len());
        self.line(x, &mut line[..x.len()]);
        grad_piece(activation, &line[..x.len()], dy, &mut dz[..x.len()]);
        &dz[..x.len()]
    }

    /// Σdz and Σdz · (x − mean) of each channel; scratch holds four patterns.
    #[inline(always)]
    pub(super) fn sums(&self, x: &[f32], dy: &[f32], activation: Option<Map>, scratch: &mut [f32], sums: &mut [f64]) {
        let [mean, ..] = self.0;
        let pattern = mean.len();
        let (part, rest) = scratch.split_at_mut(pattern);
        let (product, scratch) = rest.split_at_mut(pattern);
        let (sum, products) = sums.split_at_mut(sums.len() / 2);
        sum.fill(0.0);
        products.fill(0.0);
        for (x, dy) in x.chunks(RUN * pattern).zip(dy.chunks(RUN * pattern)) {
            part.fill(0.0);
            product.fill(0.0);
            for (x, dy) in x.chunks(pattern).zip(dy.chunks(pattern)) {
                let dz = self.before(x, dy, activation, scratch);
                let to = part.iter_mut().zip(&mut *product);
                for (((to, x), mean), dz) in to.zip(x).zip(mean).zip(dz) {
                    *to.0 += dz;
                    *to.1 += dz * (x - mean);
                }
            }
            add_channels(part, sum);
            add_channels(product, products);
        }
    }

    /// `dz · back₀ + (x − mean) · back₁ + back₂`; scratch holds two patterns.
    #[inline(always)]
    pub(super) fn back(
        &self,
        back: &Pattern<'_>,
        [x, dy]: [&[f32]; 2],
        activation: Option<Map>,
        scratch: &mut [f32],
        to: &mut [f32],
    ) {
        let ([mean, ..], [of_dz, of_x, offset]) = (self.0, back.0);
        let pattern = mean.len();
        for ((x, dy), to) in x.chunks(pattern).zip(dy.chunks(pattern)).zip(to.chunks_mut(pattern)) {
            let dz = self.before(x, dy, activation, scratch);
            let factors = mean.iter().zip(of_dz).zip(of_x).zip(offset);
            for (((to, x), dz), (((mean, of_dz), of_x), offset)) in to.iter_mut().zip(x).zip(dz).zip(factors) {
                *to = dz * of_dz + (x - mean) * of_x + offset;
            }
        }
    }
}
