//! Loops over one block of a normalised tensor, whose factors a channel are repeated to a pattern.

use std::ops::Range;

use crate::tensor::ops::elementwise::Map;

use super::elementwise::{grad_piece, map_piece};
use super::functions::{silu, silu_slope};

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
    sum.fill(0.0);
    square.fill(0.0);
    for run in x.chunks(RUN * pattern) {
        part.fill(0.0);
        squares.fill(0.0);
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
    if let (1, [first, rest @ ..]) = (channels, &mut *to) {
        rest.fill(*first);
        return;
    }
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
pub(super) struct Pattern<'a> {
    factors: [&'a [f32]; 3],
    /// What is added behind an activation, repeated alike.
    addend: Option<&'a [f32]>,
    /// Whether the level rounds a·b + c once.
    fused: bool,
}

impl<'a> Pattern<'a> {
    /// [`Pattern::new`] with an addend of its own for every channel, in scratch of four patterns.
    #[inline(always)]
    pub(super) fn adding(
        factors: [&[f32]; 3],
        addend: Option<&[f32]>,
        channels: Range<usize>,
        fused: bool,
        scratch: &'a mut [f32],
    ) -> Self {
        let (scratch, rest) = scratch.split_at_mut(scratch.len() / 4 * 3);
        let addend = addend.map(|addend| {
            rest[..channels.len()].copy_from_slice(&addend[channels.clone()]);
            repeat(channels.len(), rest);
            &*rest
        });
        Pattern { addend, ..Pattern::new(factors, channels, fused, scratch) }
    }

    /// The factors of some channels, repeated in scratch of three patterns.
    #[inline(always)]
    pub(super) fn new(factors: [&[f32]; 3], channels: Range<usize>, fused: bool, scratch: &'a mut [f32]) -> Self {
        let pattern = scratch.len() / 3;
        for (factor, to) in factors.into_iter().zip(scratch.chunks_exact_mut(pattern)) {
            to[..channels.len()].copy_from_slice(&factor[channels.clone()]);
            repeat(channels.len(), to);
        }
        let (mean, rest) = scratch.split_at(pattern);
        let (slope, offset) = rest.split_at(pattern);
        Pattern { factors: [mean, slope, offset], addend: None, fused }
    }

    /// `(x − mean) · slope + offset` of at most one pattern.
    #[inline(always)]
    fn line(&self, x: &[f32], to: &mut [f32]) {
        let [mean, slope, offset] = self.factors;
        for ((((to, x), mean), slope), offset) in to.iter_mut().zip(x).zip(mean).zip(slope).zip(offset) {
            *to = (x - mean) * slope + offset;
        }
    }

    /// [`Pattern::line`] and SiLU.
    #[inline(always)]
    fn silu<const FUSED: bool>(&self, x: &[f32], to: &mut [f32]) {
        let [mean, slope, offset] = self.factors;
        for ((((to, x), mean), slope), offset) in to.iter_mut().zip(x).zip(mean).zip(slope).zip(offset) {
            *to = silu::<FUSED>((x - mean) * slope + offset);
        }
    }

    /// The gradient of [`Pattern::silu`] before SiLU.
    #[inline(always)]
    fn silu_gradient<const FUSED: bool>(&self, x: &[f32], dy: &[f32], to: &mut [f32]) {
        let [mean, slope, offset] = self.factors;
        for (((((to, x), dy), mean), slope), offset) in to.iter_mut().zip(x).zip(dy).zip(mean).zip(slope).zip(offset) {
            *to = dy * silu_slope::<FUSED>((x - mean) * slope + offset);
        }
    }

    /// The normalised block, and a function of it.
    #[inline(always)]
    pub(super) fn apply(&self, x: &[f32], activation: Option<Map>, scratch: &mut [f32], to: &mut [f32]) {
        let pattern = self.factors[0].len();
        for (x, to) in x.chunks(pattern).zip(to.chunks_mut(pattern)) {
            match activation {
                None => self.line(x, to),
                Some(Map::Silu) if self.fused => self.silu::<true>(x, to),
                Some(Map::Silu) => self.silu::<false>(x, to),
                Some(activation) => {
                    let line = &mut scratch[..x.len()];
                    self.line(x, line);
                    map_piece(activation, line, to);
                }
            }
            if let Some(addend) = self.addend {
                to.iter_mut().zip(addend).for_each(|(to, addend)| *to += addend);
            }
        }
    }

    /// Σdz and Σdz · (x − mean) of each channel, with dz the gradient before the activation, which is left in `dz`
    /// where there is one; scratch holds three patterns.
    #[inline(always)]
    pub(super) fn sums(
        &self,
        [x, dy]: [&[f32]; 2],
        activation: Option<Map>,
        scratch: &mut [f32],
        sums: &mut [f64],
        dz: &mut [f32],
    ) {
        let pattern = self.factors[0].len();
        let (part, rest) = scratch.split_at_mut(pattern);
        let (product, line) = rest.split_at_mut(pattern);
        let (sum, products) = sums.split_at_mut(sums.len() / 2);
        sum.fill(0.0);
        products.fill(0.0);
        let run = RUN * pattern;
        for ((x, dy), dz) in x.chunks(run).zip(dy.chunks(run)).zip(dz.chunks_mut(run)) {
            part.fill(0.0);
            product.fill(0.0);
            for ((x, dy), dz) in x.chunks(pattern).zip(dy.chunks(pattern)).zip(dz.chunks_mut(pattern)) {
                match activation {
                    None => self.add_line(x, dy, part, product),
                    Some(activation) => {
                        match activation {
                            Map::Silu if self.fused => self.silu_gradient::<true>(x, dy, dz),
                            Map::Silu => self.silu_gradient::<false>(x, dy, dz),
                            _ => {
                                let line = &mut line[..x.len()];
                                self.line(x, line);
                                grad_piece(activation, line, dy, dz);
                            }
                        }
                        self.add_line(x, dz, part, product);
                    }
                }
            }
            add_channels(part, sum);
            add_channels(product, products);
        }
    }

    #[inline(always)]
    fn add_line(&self, x: &[f32], dz: &[f32], part: &mut [f32], product: &mut [f32]) {
        for ((((part, product), x), mean), dz) in part.iter_mut().zip(product).zip(x).zip(self.factors[0]).zip(dz) {
            *part += dz;
            *product += dz * (x - mean);
        }
    }

    /// `dz · back₀ + (x − mean) · back₁ + back₂`; `to` holds dz where none is given.
    #[inline(always)]
    pub(super) fn back(&self, back: &Pattern<'_>, x: &[f32], dz: Option<&[f32]>, to: &mut [f32]) {
        let ([mean, ..], [of_dz, of_x, offset]) = (self.factors, back.factors);
        let pattern = mean.len();
        for (index, (x, to)) in x.chunks(pattern).zip(to.chunks_mut(pattern)).enumerate() {
            if let Some(dz) = dz {
                to.copy_from_slice(&dz[index * pattern..][..to.len()]);
            }
            let factors = mean.iter().zip(of_dz).zip(of_x).zip(offset);
            for ((to, x), (((mean, of_dz), of_x), offset)) in to.iter_mut().zip(x).zip(factors) {
                *to = *to * of_dz + (x - mean) * of_x + offset;
            }
        }
    }
}
