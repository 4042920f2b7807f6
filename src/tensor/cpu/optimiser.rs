//! Adam in one pass over four arrays, and norms summed in one order.

use rayon::prelude::*;

use crate::tensor::ops::optimiser::{AdamStep, Optimise};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::{Cpu, PIECE};

/// Sums kept side by side, so that additions need not wait for each other.
const LANES: usize = 8;

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
                || adam_piece(from, [values, means, squares], scale, step),
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
