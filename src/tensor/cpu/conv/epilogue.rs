//! What is done to finished rows while they are in the cache: residual, activation, statistics.

use crate::tensor::cpu::elementwise::map_piece;
use crate::tensor::ops::elementwise::Map;

/// Numbers that are copied aside at a time.
const ASIDE: usize = 256;
/// Channels whose sums are kept in registers.
const LANES: usize = 16;
/// Pixels that are summed in f32 before their sum is added in f64.
const PIXELS: usize = 64;

/// Finished rows, before the epilogue.
pub(super) struct Finished<'a> {
    pub(super) y: &'a mut [f32],
    pub(super) residual: Option<&'a [f32]>,
    /// Where the values before the activation go.
    pub(super) before: Option<&'a mut [f32]>,
    pub(super) activation: Option<Map>,
}

impl Finished<'_> {
    #[inline(always)]
    pub(super) fn run(self) {
        if let Some(residual) = self.residual {
            self.y.iter_mut().zip(residual).for_each(|(y, residual)| *y += residual);
        }
        if let Some(before) = self.before {
            before.copy_from_slice(self.y);
        }
        if let Some(op) = self.activation {
            for y in self.y.chunks_mut(ASIDE) {
                let mut aside = [0.0; ASIDE];
                let aside = &mut aside[..y.len()];
                aside.copy_from_slice(y);
                map_piece(op, aside, y);
            }
        }
    }
}

/// Adds each group's Σy and Σy² to `sums`.
#[inline(always)]
pub(super) fn statistics(y: &[f32], channels: usize, sums: &mut [f64]) {
    let per_group = channels / (sums.len() / 2).max(1);
    for pixels in y.chunks(PIXELS * channels) {
        for first in (0..channels).step_by(LANES) {
            let lanes = LANES.min(channels - first);
            let mut held = [[0f32; LANES]; 2];
            for pixel in pixels.chunks_exact(channels) {
                let y = &pixel[first..first + lanes];
                match y.try_into() {
                    Ok(y) => add_lanes::<LANES>(y, &mut held),
                    Err(_) => y.iter().enumerate().for_each(|(lane, y)| {
                        held[0][lane] += y;
                        held[1][lane] += y * y;
                    }),
                }
            }
            let [y, squares] = held;
            for (channel, (y, squares)) in (first..first + lanes).zip(y.iter().zip(&squares)) {
                let group = channel / per_group;
                sums[2 * group] += f64::from(*y);
                sums[2 * group + 1] += f64::from(*squares);
            }
        }
    }
}

#[inline(always)]
fn add_lanes<const N: usize>(y: &[f32; N], held: &mut [[f32; N]; 2]) {
    for lane in 0..N {
        held[0][lane] += y[lane];
        held[1][lane] += y[lane] * y[lane];
    }
}
