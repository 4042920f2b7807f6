//! Adam in one pass over four arrays, and norms summed in one order.

use rayon::prelude::*;

use crate::tensor::ops::optimiser::{AdamStep, Optimise};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Cpu, PIECE};

/// Sums kept side by side, so that additions need not wait for each other.
const LANES: usize = 8;
/// Elements from which on results are written past the caches, which could not keep them until they are used.
const LARGE: usize = 1 << 20;
/// Elements that are worked out in the first cache before they are written so.
const RUN: usize = 512;

impl Optimise for Cpu {
    fn adam_step(&self, state: [Slice<'_>; 4], scale: Option<Slice<'_>>, step: AdamStep) -> Result<[Buffer; 3]> {
        let [value, gradient, mean, square] = state;
        let (value, gradient) = (self.read(value)?, self.read(gradient)?);
        let (mean, square) = (self.read(mean)?, self.read(square)?);
        let scale = scale.map(|scale| self.read(scale)).transpose()?;
        let scale = scale.and_then(|scale| scale.first().copied()).unwrap_or(1.0);
        let (level, len) = (self.level, state[0].len);
        let mut blocks = [self.take(len)?, self.take(len)?, self.take(len)?];
        let [values, means, squares] = &mut blocks;
        let pieces = values.values_mut().par_chunks_mut(PIECE);
        let pieces = pieces.zip(means.values_mut().par_chunks_mut(PIECE));
        let pieces = pieces.zip(squares.values_mut().par_chunks_mut(PIECE)).enumerate();
        pieces.for_each(|(piece, ((values, means), squares))| {
            let range = piece * PIECE..piece * PIECE + values.len();
            let from = [&value[range.clone()], &gradient[range.clone()], &mean[range.clone()], &square[range]];
            level.run(
                #[inline(always)]
                || match len < LARGE {
                    true => adam_piece(from, [values, means, squares], scale, step),
                    false => adam_large(from, [values, means, squares], scale, step),
                },
            );
        });
        Ok(blocks.map(Buffer::Cpu))
    }

    fn global_norm(&self, xs: &[Slice<'_>]) -> Result<Buffer> {
        let level = self.level;
        let sum = xs.iter().map(|x| -> Result<f64> {
            let values = self.read(*x)?;
            let mut parts = self.take(2 * x.len.div_ceil(PIECE))?;
            let pieces = parts.as_slice_mut::<f64>().par_iter_mut().zip(values.par_chunks(PIECE));
            pieces.for_each(|(part, piece)| {
                *part = level.run(
                    #[inline(always)]
                    || squares(piece),
                );
            });
            Ok(parts.as_slice::<f64>().iter().sum())
        });
        let norm = sum.sum::<Result<f64>>()?.sqrt();
        let mut block = self.take(1)?;
        block.values_mut().fill(norm as f32);
        self.finish(block, DType::F32)
    }
}

#[inline(always)]
fn adam_piece(from: [&[f32]; 4], to: [&mut [f32]; 3], scale: f32, step: AdamStep) {
    let ([value, gradient, mean, square], [values, means, squares]) = (from, to);
    let (kept, added) = match step.decoupled {
        true => (1.0 - step.rate * step.decay, 0.0),
        false => (1.0, step.decay),
    };
    // Quotients of constants once, not an element: divisions are what this loop waits for.
    let (size, root) = (step.rate / step.correction1, 1.0 / step.correction2);
    let old = value.iter().zip(gradient).zip(mean.iter().zip(square));
    let new = values.iter_mut().zip(means.iter_mut().zip(squares));
    for (((p, g), (m, v)), (to_p, (to_m, to_v))) in old.zip(new) {
        let g = g * scale + added * p;
        let m = m + (1.0 - step.beta1) * (g - m);
        let v = step.beta2 * v + (1.0 - step.beta2) * (g * g);
        *to_p = p * kept - size * m / (v.sqrt() * root + step.epsilon);
        (*to_m, *to_v) = (m, v);
    }
}

/// [`adam_piece`] for results that are not soon read: memory is not asked for what they overwrite.
#[inline(always)]
fn adam_large(from: [&[f32]; 4], mut to: [&mut [f32]; 3], scale: f32, step: AdamStep) {
    let (len, mut held) = (to[0].len(), [[0f32; RUN]; 3]);
    for first in (0..len).step_by(RUN) {
        let range = first..len.min(first + RUN);
        let parts = held.each_mut().map(|held| &mut held[..range.len()]);
        adam_piece(from.map(|from| &from[range.clone()]), parts, scale, step);
        for (to, held) in to.iter_mut().zip(&held) {
            write_past_caches(&held[..range.len()], &mut to[range.clone()]);
        }
    }
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every machine of the architecture has SSE.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Copies numbers to memory; a fence belongs behind the last of them.
#[inline(always)]
fn write_past_caches(from: &[f32], to: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    if to.as_ptr().cast::<std::arch::x86_64::__m128>().is_aligned() {
        use std::arch::x86_64::{_mm_loadu_ps, _mm_stream_ps};
        let ((from, rest), (to, rest_to)) = (from.as_chunks::<4>(), to.as_chunks_mut::<4>());
        for (from, to) in from.iter().zip(to) {
            // SAFETY: four numbers are read and four written; the first written one is aligned as the check found.
            unsafe { _mm_stream_ps(to.as_mut_ptr(), _mm_loadu_ps(from.as_ptr())) }
        }
        return rest_to.copy_from_slice(rest);
    }
    to.copy_from_slice(from);
}

/// Σx² in f64, which holds the square of every f32.
#[inline(always)]
fn squares(piece: &[f32]) -> f64 {
    let mut held = [0.0; LANES];
    let (whole, rest) = piece.as_chunks::<LANES>();
    for chunk in whole {
        held.iter_mut().zip(chunk).for_each(|(held, x)| *held += f64::from(*x) * f64::from(*x));
    }
    held.iter_mut().zip(rest).for_each(|(held, x)| *held += f64::from(*x) * f64::from(*x));
    held.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A way to work out a piece.
    type Work = fn([&[f32]; 4], [&mut [f32]; 3], f32, AdamStep);

    #[test]
    fn large_steps_give_the_bits_of_small_ones() {
        let numbers = |of: fn(f32) -> f32| (0..3 * RUN + 7).map(|i| of(i as f32)).collect::<Vec<f32>>();
        let from =
            [numbers(f32::sin), numbers(f32::cos), numbers(|x| (0.3 * x).sin()), numbers(|x| (0.7 * x).cos().abs())];
        let step = AdamStep {
            rate: 0.1,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            decay: 0.01,
            decoupled: true,
            correction1: 0.5,
            correction2: 0.7,
        };
        let given = || from.each_ref().map(|from| &from[1..]);
        let worked_out = |work: Work, skipped: usize| {
            let mut to = [0, 1, 2].map(|_| vec![0f32; from[0].len() - 1 + skipped]);
            work(given(), to.each_mut().map(|to| &mut to[skipped..]), 0.5, step);
            to.map(|to| to[skipped..].to_vec())
        };
        for skipped in 0..4 {
            assert_eq!(worked_out(adam_large, skipped), worked_out(adam_piece, 0), "{skipped}");
        }
    }
}
