//! What is done to a row of scores between the two products of attention.
//!
//! Scores are logarithms to base 2, so that shares are powers of two without another multiplication.

use super::Level;
use super::functions::power_of_two;
use super::row_sums::greatest;

/// Sums kept side by side, so that additions need not wait for each other.
const LANES: usize = 16;

/// Rows of scores on one level.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    /// Whether the level rounds a·b + c once.
    pub(super) fused: bool,
}

impl Rows {
    pub(super) fn new(level: Level) -> Self {
        Rows { fused: level.fuses() }
    }

    /// Makes scores shares of a running sum, and gives what earlier shares are to be multiplied by.
    #[inline(always)]
    pub(super) fn shares(self, scores: &mut [f32], most: &mut f32, total: &mut f32) -> f32 {
        let found = greatest(scores);
        let new = if found > *most { found } else { *most };
        // Where all is hidden so far, shares of −∞ are 0 from any finite level.
        let level = if new == f32::NEG_INFINITY { 0.0 } else { new };
        let sum = if self.fused { powers::<true>(scores, level) } else { powers::<false>(scores, level) };
        let old = power_of_two::<false>(*most - level);
        *total = *total * old + sum;
        *most = new;
        old
    }

    /// Makes scores shares from a known level, and the gradients of shares those of the products.
    #[inline(always)]
    pub(super) fn gradients(self, scores: &mut [f32], gradients: &mut [f32], level: [f32; 2], along: f32, scale: f32) {
        if self.fused {
            back::<true>(scores, gradients, level, along, scale);
        } else {
            back::<false>(scores, gradients, level, along, scale);
        }
    }
}

/// Two to the power of numbers less `level`, and the sum of that.
#[inline(always)]
fn powers<const FUSED: bool>(scores: &mut [f32], level: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (whole, rest) = scores.as_chunks_mut::<LANES>();
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = power_of_two::<FUSED>(*x - level);
            *lane += *x;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = power_of_two::<FUSED>(*x - level);
        *lane += *x;
    }
    lanes.iter().sum()
}

#[inline(always)]
fn back<const FUSED: bool>(
    scores: &mut [f32],
    gradients: &mut [f32],
    [most, log_sum]: [f32; 2],
    along: f32,
    scale: f32,
) {
    for (share, gradient) in scores.iter_mut().zip(gradients) {
        *share = power_of_two::<FUSED>(*share - most - log_sum);
        *gradient = *share * (*gradient - along) * scale;
    }
}
