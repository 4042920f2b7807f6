//! What a normalisation multiplies and adds a channel, worked out in f64 from the moments of channels.

use crate::tensor::ops::norm::{NormSizes, Over};
use crate::tensor::{Buffer, Memory, Result};

use super::Cpu;

/// Three numbers a channel of a sample: the mean, what f32 loses of it, and the variance.
pub(super) struct Moments<'a> {
    values: &'a mut [f32],
}

impl<'a> Moments<'a> {
    pub(super) fn new(values: &'a mut [f32]) -> Self {
        Moments { values }
    }

    /// Puts (count, mean, sum of squared distances) of parts together, one after the other (Chan, Golub and LeVeque,
    /// 1983).
    pub(super) fn set(&mut self, channel: usize, parts: impl Iterator<Item = (f64, f64, f64)>) {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for (more, part_mean, part_squares) in parts {
            let (all, distance) = (count + more, part_mean - mean);
            squares += part_squares + distance * distance * count * more / all;
            mean += distance * more / all;
            count = all;
        }
        let len = self.values.len() / 3;
        self.values[channel] = mean as f32;
        self.values[len + channel] = (mean - f64::from(mean as f32)) as f32;
        self.values[2 * len + channel] = (squares / f64::max(count, 1.0)) as f32;
    }
}

/// Factors of every channel of every sample.
pub(super) struct Factors {
    sizes: NormSizes,
    /// Weight, bias, scale, shift and addend, where there are such.
    affine: [Option<Vec<f32>>; 5],
    /// What f32 loses of the mean.
    lost: Vec<f64>,
    /// 1 / √(variance + ε).
    slope: Vec<f64>,
    forward: [Vec<f32>; 3],
    backward: [Vec<f32>; 3],
}

/// The sums of a set of channels that share statistics.
#[derive(Clone, Copy, Default)]
struct Set {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Factors {
    /// The factors of the forward pass.
    pub(super) fn new(moments: &[f32], affine: [Option<Vec<f32>>; 5], sizes: &NormSizes) -> Self {
        let len = sizes.batch * sizes.channels;
        let mut factors = Factors {
            sizes: *sizes,
            affine,
            lost: vec![0.0; len],
            slope: vec![0.0; len],
            forward: std::array::from_fn(|_| vec![0.0; len]),
            backward: std::array::from_fn(|_| Vec::new()),
        };
        let sets: Vec<(f64, f64)> = sets(moments, sizes).into_iter().map(|set| set.line(sizes.epsilon)).collect();
        for (index, [channel, set]) in places(sizes).enumerate() {
            let (mean, slope) = sets[set];
            let lost = mean - f64::from(mean as f32);
            (factors.lost[index], factors.slope[index]) = (lost, slope);
            let [weight, bias, scale, shift] = factors.affine_at(index, channel);
            let slope = slope * weight * scale;
            let [means, slopes, offsets] = &mut factors.forward;
            (means[index], slopes[index]) = (mean as f32, slope as f32);
            offsets[index] = (bias * scale + shift - lost * slope) as f32;
        }
        factors
    }

    /// Weight, bias, 1 + scale and shift.
    fn affine_at(&self, index: usize, channel: usize) -> [f64; 4] {
        let at = |which: usize, at: usize, other: f64| self.affine[which].as_ref().map_or(other, |x| f64::from(x[at]));
        [at(0, channel, 1.0), at(1, channel, 0.0), 1.0 + at(2, index, 0.0), at(3, index, 0.0)]
    }

    /// Mean, slope and offset: y = (x − mean) · slope + offset.
    pub(super) fn forward(&self) -> [&[f32]; 3] {
        self.forward.each_ref().map(Vec::as_slice)
    }

    /// What is added behind the activation.
    pub(super) fn addend(&self) -> Option<&[f32]> {
        self.affine[4].as_deref()
    }

    /// What dz, x − mean and 1 are multiplied by for dx.
    pub(super) fn backward(&self) -> [&[f32]; 3] {
        self.backward.each_ref().map(Vec::as_slice)
    }

    /// Works out the factors of the backward pass from Σdz and Σdz · (x − mean) of blocks, and gives the gradients of
    /// weight, bias, scale and shift.
    pub(super) fn gradients(&mut self, cpu: &Cpu, sums: &[f64], blocks: usize, channels: usize) -> Result<[Buffer; 4]> {
        let (len, sizes) = (self.slope.len(), self.sizes);
        let mut gradients = [sizes.channels, sizes.channels, len, len].map(|len| vec![0f64; len]);
        let mut sets = vec![[0f64; 2]; sizes.sets()];
        for (index, [channel, set]) in places(&sizes).enumerate() {
            let [sum, product] = total(sums, index, blocks, channels);
            let normal = (product - self.lost[index] * sum) * self.slope[index];
            let [weight, bias, scale, _] = self.affine_at(index, channel);
            gradients[0][channel] += scale * normal;
            gradients[1][channel] += scale * sum;
            gradients[2][index] = weight * normal + bias * sum;
            gradients[3][index] = sum;
            sets[set][0] += weight * scale * sum;
            sets[set][1] += weight * scale * normal;
        }
        self.set_backward(&sets);
        let [weight, bias, scale, shift] = gradients.map(|x| x.into_iter().map(|x| x as f32).collect::<Vec<_>>());
        Ok([cpu.upload(&weight)?, cpu.upload(&bias)?, cpu.upload(&scale)?, cpu.upload(&shift)?])
    }

    /// Works out the factors of the backward pass from Σdx̂ and Σdx̂ · x̂ of the sets.
    fn set_backward(&mut self, sets: &[[f64; 2]]) {
        let (len, sizes) = (self.slope.len(), self.sizes);
        // Each element of a set moves its mean and variance by as much, unless these are given.
        let share = if sizes.over == Over::Fixed { 0.0 } else { 1.0 / sizes.set_count() };
        self.backward = std::array::from_fn(|_| vec![0.0; len]);
        for (index, [channel, set]) in places(&sizes).enumerate() {
            let (slope, [sum, normal]) = (self.slope[index], sets[set]);
            let [weight, _, scale, _] = self.affine_at(index, channel);
            let of_x = -slope * slope * normal * share;
            let offset = -slope * sum * share - self.lost[index] * of_x;
            for (to, x) in self.backward.iter_mut().zip([slope * weight * scale, of_x, offset]) {
                to[index] = x as f32;
            }
        }
    }
}

/// The channel and the set of every channel of every sample, in their order.
fn places(sizes: &NormSizes) -> impl Iterator<Item = [usize; 2]> {
    let of_channel: Vec<usize> = (0..sizes.channels).map(|channel| sizes.set(channel)).collect();
    let step = if let Over::Groups(groups) = sizes.over { groups } else { 0 };
    let (batch, channels) = (sizes.batch, sizes.channels);
    (0..batch * channels).scan([0; 2], move |[sample, channel], _| {
        let place = [*channel, *sample * step + of_channel[*channel]];
        *channel += 1;
        if *channel == channels {
            (*sample, *channel) = (*sample + 1, 0);
        }
        Some(place)
    })
}

impl Set {
    /// The mean and 1 / √(variance + ε).
    fn line(self, epsilon: f32) -> (f64, f64) {
        (self.mean, 1.0 / (self.variance + f64::from(epsilon)).sqrt())
    }
}

/// The sums of a channel of a sample over its blocks, one block after the other.
fn total(sums: &[f64], index: usize, blocks: usize, channels: usize) -> [f64; 2] {
    let (sample, channel) = (index / channels, index % channels);
    let mut total = [0.0; 2];
    for block in sums[sample * blocks * 2 * channels..].chunks_exact(2 * channels).take(blocks) {
        total[0] += block[channel];
        total[1] += block[channels + channel];
    }
    total
}

/// Mean and variance of every set of channels: of parts of equal counts.
fn sets(moments: &[f32], sizes: &NormSizes) -> Vec<Set> {
    let len = moments.len() / 3;
    let mut sets = vec![Set::default(); sizes.sets()];
    let at = |index: usize| {
        let of = |which: usize| f64::from(moments[which * len + index]);
        (of(0) + of(1), of(2))
    };
    // Given statistics are those of one sample.
    for (index, [_, set]) in places(sizes).take(len).enumerate() {
        let ((mean, variance), set) = (at(index), &mut sets[set]);
        let distance = mean - set.mean;
        set.count += 1.0;
        set.mean += distance / set.count;
        set.variance += variance + distance * (mean - set.mean);
    }
    for set in &mut sets {
        set.variance /= set.count.max(1.0);
    }
    sets
}
