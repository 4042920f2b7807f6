//! Penalties of pieces of fixed size, whose sums are put together in f64 one after the other.

use rayon::prelude::*;

use crate::tensor::ops::elementwise::Broadcast;
use crate::tensor::ops::loss::{Loss, Penalty, Weights};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::functions::exp;
use super::memory::Values;
use super::{Cpu, PIECE};

/// Elements whose penalties are summed in f32 before their sum is added in f64.
const RUN: usize = 1024;
/// Sums kept side by side, so that additions need not wait for each other.
const LANES: usize = 16;

impl Loss for Cpu {
    fn loss_sum(&self, op: Penalty, x: Slice<'_>, target: Slice<'_>, weights: Option<Weights<'_>>) -> Result<Buffer> {
        let (xs, ts, level) = (self.read(x)?, self.read(target)?, self.level);
        let held = self.held(weights)?;
        let mut parts = self.take(2 * x.len.div_ceil(PIECE))?;
        parts.as_slice_mut::<f64>().par_iter_mut().enumerate().for_each(|(piece, part)| {
            *part = level.run(
                #[inline(always)]
                || {
                    let (mut sum, mut own) = (0.0, [0.0; RUN]);
                    for first in (piece * PIECE..x.len.min((piece + 1) * PIECE)).step_by(RUN) {
                        let range = first..x.len.min(first + RUN);
                        let weights = held.as_ref().map(|(values, broadcast)| {
                            spread(values, broadcast, first, &mut own[..range.len()]);
                            &own[..range.len()]
                        });
                        sum += f64::from(penalties(op, &xs[range.clone()], &ts[range], weights));
                    }
                    sum
                },
            );
        });
        let mut block = self.take(1)?;
        // Folded, as `sum` gives −0 of nothing.
        block.values_mut().fill(parts.as_slice::<f64>().iter().fold(0.0, |sum, part| sum + part) as f32);
        self.finish(block, DType::F32)
    }

    fn loss_grad(
        &self,
        op: Penalty,
        [x, target]: [Slice<'_>; 2],
        weights: Option<Weights<'_>>,
        dy: Slice<'_>,
        of_target: bool,
    ) -> Result<(Buffer, Option<Buffer>)> {
        let (xs, ts, dy) = (self.read(x)?, self.read(target)?, self.read(dy)?);
        let held = self.held(weights)?;
        let dy = dy.first().copied().unwrap_or_default();
        let gradients = |of_target: bool| {
            self.pieces(
                x.len,
                x.dtype,
                #[inline(always)]
                |first, piece| {
                    let mut own = [0.0; RUN];
                    for (run, to) in piece.chunks_mut(RUN).enumerate() {
                        let first = first + run * RUN;
                        let range = first..first + to.len();
                        let weights = held.as_ref().map(|(values, broadcast)| {
                            spread(values, broadcast, first, &mut own[..range.len()]);
                            &own[..range.len()]
                        });
                        slopes(op, &xs[range.clone()], &ts[range], weights, of_target, dy, to);
                    }
                },
            )
        };
        Ok((gradients(false)?, of_target.then(|| gradients(true)).transpose()?))
    }
}

impl Cpu {
    fn held<'a>(&self, weights: Option<Weights<'a>>) -> Result<Option<(Values<'a>, &'a Broadcast)>> {
        weights.map(|weights| Ok((self.read(weights.values)?, weights.broadcast))).transpose()
    }
}

/// The weights of elements from `first` on.
#[inline(always)]
fn spread(values: &[f32], broadcast: &Broadcast, first: usize, to: &mut [f32]) {
    let (step, mut done) = (broadcast.steps().1, 0);
    while done < to.len() {
        let (run, _, at) = broadcast.run(first + done);
        let end = (done + run).min(to.len());
        match step {
            0 => to[done..end].fill(values[at]),
            _ => to[done..end].copy_from_slice(&values[at..at + end - done]),
        }
        done = end;
    }
}

/// Σ weight · penalty.
#[inline(always)]
fn penalties(op: Penalty, x: &[f32], t: &[f32], weights: Option<&[f32]>) -> f32 {
    match op {
        Penalty::Squared => sum_of(
            x,
            t,
            weights,
            #[inline(always)]
            |x, t| (x - t) * (x - t),
        ),
        Penalty::Absolute => sum_of(x, t, weights, distance),
        Penalty::Huber(delta) => sum_of(
            x,
            t,
            weights,
            #[inline(always)]
            |x, t| huber(x - t, delta),
        ),
        Penalty::SmoothAbsolute(beta) if beta > 0.0 => sum_of(
            x,
            t,
            weights,
            #[inline(always)]
            |x, t| huber(x - t, beta) / beta,
        ),
        Penalty::SmoothAbsolute(_) => sum_of(x, t, weights, distance),
        Penalty::CrossEntropy(positive) => sum_of(
            x,
            t,
            weights,
            #[inline(always)]
            // −ln(1 − σ(x)) is x more than −ln σ(x).
            |x, t| positive * t * minus_ln_sigmoid(x) + (1.0 - t) * (minus_ln_sigmoid(x) + x),
        ),
    }
}

/// −ln σ(x) = ln(1 + e^−|x|) + max(−x, 0).
#[inline(always)]
fn minus_ln_sigmoid(x: f32) -> f32 {
    ln_1p_unit(exp(-x.abs())) + if x < 0.0 { -x } else { 0.0 }
}

#[inline(always)]
fn distance(x: f32, t: f32) -> f32 {
    (x - t).abs()
}

#[inline(always)]
fn huber(distance: f32, delta: f32) -> f32 {
    let far = distance.abs();
    if far <= delta { 0.5 * far * far } else { delta * (far - 0.5 * delta) }
}

/// ln(1 + e) for e in [0, 1] by the series of 2 artanh(e / (2 + e)), which cancels nowhere.
#[inline(always)]
fn ln_1p_unit(e: f32) -> f32 {
    let s = e / (2.0 + e);
    let square = s * s;
    let mut p = 1.0 / 15.0;
    for odd in [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0] {
        p = p * square + 1.0 / odd;
    }
    2.0 * s * p
}

#[inline(always)]
fn sum_of(x: &[f32], t: &[f32], weights: Option<&[f32]>, of: impl Fn(f32, f32) -> f32) -> f32 {
    let mut held = [0.0; LANES];
    let ((xs, x_rest), (ts, t_rest)) = (x.as_chunks::<LANES>(), t.as_chunks::<LANES>());
    match weights {
        None => {
            for (x, t) in xs.iter().zip(ts) {
                for lane in 0..LANES {
                    held[lane] += of(x[lane], t[lane]);
                }
            }
            held.iter_mut().zip(x_rest.iter().zip(t_rest)).for_each(|(held, (x, t))| *held += of(*x, *t));
        }
        Some(weights) => {
            let (ws, w_rest) = weights.as_chunks::<LANES>();
            for ((x, t), w) in xs.iter().zip(ts).zip(ws) {
                for lane in 0..LANES {
                    held[lane] += counted(w[lane], of(x[lane], t[lane]));
                }
            }
            let rest = x_rest.iter().zip(t_rest).zip(w_rest);
            held.iter_mut().zip(rest).for_each(|(held, ((x, t), w))| *held += counted(*w, of(*x, *t)));
        }
    }
    held.iter().sum()
}

/// What an element of weight 0 would be is of no account.
#[inline(always)]
fn counted(weight: f32, value: f32) -> f32 {
    if weight == 0.0 { 0.0 } else { weight * value }
}

/// dy · weight · slope.
#[inline(always)]
fn slopes(op: Penalty, x: &[f32], t: &[f32], weights: Option<&[f32]>, of_target: bool, dy: f32, to: &mut [f32]) {
    // All but the cross entropy see the distance alone: the target's slope is the other way.
    let signed = if of_target { -dy } else { dy };
    match op {
        Penalty::Squared => slope_of(x, t, (weights, 2.0 * signed), to, difference),
        Penalty::Absolute => slope_of(x, t, (weights, signed), to, sign),
        Penalty::Huber(delta) => slope_of(
            x,
            t,
            (weights, signed),
            to,
            #[inline(always)]
            |x, t| if distance(x, t) <= delta { x - t } else { delta * sign(x, t) },
        ),
        Penalty::SmoothAbsolute(beta) if beta > 0.0 => slope_of(
            x,
            t,
            (weights, signed),
            to,
            #[inline(always)]
            |x, t| if distance(x, t) <= beta { (x - t) / beta } else { sign(x, t) },
        ),
        Penalty::SmoothAbsolute(_) => slope_of(x, t, (weights, signed), to, sign),
        Penalty::CrossEntropy(positive) => logit_slopes(positive, [x, t], weights, of_target, dy, to),
    }
}

/// [`slopes`] of the cross entropy.
#[inline(always)]
fn logit_slopes(positive: f32, [x, t]: [&[f32]; 2], weights: Option<&[f32]>, of_target: bool, dy: f32, to: &mut [f32]) {
    if of_target {
        return slope_of(
            x,
            t,
            (weights, dy),
            to,
            #[inline(always)]
            |x, _| positive * minus_ln_sigmoid(x) - (minus_ln_sigmoid(x) + x),
        );
    }
    slope_of(
        x,
        t,
        (weights, dy),
        to,
        #[inline(always)]
        |x, t| {
            // σ(|x|) and σ(−|x|) of one exponential, neither of which cancels.
            let e = exp(-x.abs());
            let great = 1.0 / (1.0 + e);
            let (of_x, of_minus) = if x < 0.0 { (e * great, great) } else { (great, e * great) };
            (1.0 - t) * of_x - positive * t * of_minus
        },
    );
}

#[inline(always)]
fn difference(x: f32, t: f32) -> f32 {
    x - t
}

/// −1, 0 or 1; NaN for NaN.
#[inline(always)]
fn sign(x: f32, t: f32) -> f32 {
    let distance = x - t;
    let way = if distance < 0.0 { -1.0 } else { distance };
    if distance > 0.0 { 1.0 } else { way }
}

#[inline(always)]
fn slope_of(x: &[f32], t: &[f32], (weights, dy): (Option<&[f32]>, f32), to: &mut [f32], of: impl Fn(f32, f32) -> f32) {
    let pairs = to.iter_mut().zip(x.iter().zip(t));
    match weights {
        None => pairs.for_each(|(to, (x, t))| *to = dy * of(*x, *t)),
        Some(weights) => {
            pairs.zip(weights).for_each(|((to, (x, t)), w)| *to = counted(*w, dy * of(*x, *t)));
        }
    }
}
