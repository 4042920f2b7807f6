//! Blends and sampler steps of whole fields, each in one pass.

use rayon::prelude::*;

use crate::tensor::ops::diffusion::{Diffusion, SamplerStep};
use crate::tensor::{Buffer, Result, Slice};

use super::{Cpu, PIECE};

impl Diffusion for Cpu {
    fn blend(&self, x: Slice<'_>, y: Slice<'_>, factors: &[[f32; 2]]) -> Result<Buffer> {
        let (xs, ys) = (self.read(x)?, self.read(y)?);
        let each = (x.len / factors.len().max(1)).max(1);
        self.pieces(
            x.len,
            x.dtype,
            #[inline(always)]
            |first, piece| {
                let mut done = 0;
                while done < piece.len() {
                    let at = first + done;
                    let end = (done + each - at % each).min(piece.len());
                    let ([a, b], to) = (factors[at / each], &mut piece[done..end]);
                    let from = xs[at..].iter().zip(&ys[at..]);
                    to.iter_mut().zip(from).for_each(|(to, (x, y))| *to = sum(a * x, b, *y));
                    done = end;
                }
            },
        )
    }

    fn sampler_step(
        &self,
        x: Slice<'_>,
        model: Slice<'_>,
        [previous, noise]: [Option<Slice<'_>>; 2],
        step: SamplerStep,
    ) -> Result<[Buffer; 2]> {
        let (xs, ms) = (self.read(x)?, self.read(model)?);
        let previous = previous.map(|x| self.read(x)).transpose()?;
        let noise = noise.map(|x| self.read(x)).transpose()?;
        let (mut next, mut denoised) = (self.take(x.len)?, self.take(x.len)?);
        let level = self.level;
        let pieces = next.values_mut().par_chunks_mut(PIECE).zip(denoised.values_mut().par_chunks_mut(PIECE));
        pieces.enumerate().for_each(|(piece, (next, denoised))| {
            let range = piece * PIECE..piece * PIECE + next.len();
            let others = [&previous, &noise].map(|x| x.as_ref().map(|x| &x[range.clone()]));
            let from = (&xs[range.clone()], &ms[range]);
            level.run(
                #[inline(always)]
                || sample(from, others, step, next, denoised),
            );
        });
        Ok([self.finish(next, x.dtype)?, self.finish(denoised, x.dtype)?])
    }
}

/// What counts nothing may be infinite.
#[inline(always)]
fn sum(so_far: f32, factor: f32, x: f32) -> f32 {
    if factor == 0.0 { so_far } else { so_far + factor * x }
}

#[inline(always)]
fn sample(
    (x, model): (&[f32], &[f32]),
    [previous, noise]: [Option<&[f32]>; 2],
    step: SamplerStep,
    next: &mut [f32],
    denoised: &mut [f32],
) {
    let limit = step.clip.unwrap_or(f32::INFINITY);
    let from = x.iter().zip(model);
    next.iter_mut().zip(denoised.iter_mut()).zip(from).for_each(|((next, denoised), (x, m))| {
        let free = sum(step.from_x * x, step.from_model, *m);
        let held = if free > limit { limit } else { free };
        let held = if held < -limit { -limit } else { held };
        *denoised = held;
        *next = sum(sum(step.keep_denoised * held, step.keep_x, *x), step.keep_model, *m);
    });
    for (other, factor) in [(previous, step.keep_previous), (noise, step.noise)] {
        if let Some(other) = other {
            next.iter_mut().zip(other).for_each(|(next, x)| *next = sum(*next, factor, *x));
        }
    }
}
