//! Normalisation by channels: one pass for sums in blocks of fixed size, one pass that applies.
//!
//! Rows of one channel are told as samples of one channel, so that both layouts are channels-last. Factors a channel
//! are repeated to a pattern of some hundred elements, so that loops are wide whatever the number of channels.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::elementwise::Map;
use crate::tensor::ops::norm::{Affine, LayerGradients, LayerSizes, Norm, NormGradients, NormSizes};
use crate::tensor::{Buffer, Layout, Result, Slice};

use super::gemm::Apart;
use super::layer_norm;
use super::memory::ready;
use super::norm_factors::{Factors, Moments};
use super::norm_kernels::{self, Pattern};
use super::{Block, Cpu};

/// Elements of a pattern where there are few channels.
const PATTERN: usize = 256;
/// Elements of one block.
const BLOCK: usize = 1 << 16;

/// A tensor as samples of channels-last positions, cut into blocks.
struct View {
    samples: usize,
    channels: usize,
    /// Elements of a sample.
    len: usize,
    /// Elements of a pattern: a multiple of the channels.
    pattern: usize,
    /// Elements of a block: a multiple of the pattern.
    block: usize,
    /// Blocks of a sample.
    blocks: usize,
}

impl View {
    fn new(sizes: &NormSizes) -> Self {
        let (samples, channels) = match sizes.layout {
            Layout::Channels => (sizes.batch, sizes.channels),
            Layout::Rows => (sizes.batch * sizes.channels, 1),
        };
        let len = sizes.positions * channels;
        let pattern = (channels * (PATTERN / channels.max(1)).max(1)).min(len).max(1);
        let block = pattern * (BLOCK / pattern).max(1);
        View { samples, channels, len, pattern, block, blocks: len.div_ceil(block) }
    }

    /// The elements of a block.
    fn range(&self, index: usize) -> (usize, Range<usize>) {
        let (sample, block) = (index / self.blocks, index % self.blocks);
        let (start, end) = (block * self.block, ((block + 1) * self.block).min(self.len));
        (sample, sample * self.len + start..sample * self.len + end)
    }

    /// Where a sample's factors are.
    fn channels(&self, sample: usize) -> Range<usize> {
        sample * self.channels..(sample + 1) * self.channels
    }

    /// Blocks that are worth a task.
    fn least(&self) -> usize {
        (BLOCK / self.len.max(1)).max(1)
    }
}

impl Cpu {
    /// Runs `work` for each block with scratch of `parts` patterns.
    fn blocks(&self, view: &View, parts: usize, work: impl Fn(&mut [f32], usize) + Sync) -> Result<()> {
        let scratch = || self.scratch([parts * view.pattern]);
        let count = view.samples * view.blocks;
        (0..count).into_par_iter().with_min_len(view.least()).try_for_each_init(scratch, |[scratch], index| {
            let scratch = ready(scratch)?.values_mut();
            self.level.run(
                #[inline(always)]
                || work(scratch, index),
            );
            Ok(())
        })
    }

    /// Two sums a channel of every block.
    fn block_sums(
        &self,
        view: &View,
        parts: usize,
        work: impl Fn(&mut [f32], usize, &mut [f64]) + Sync,
    ) -> Result<Block> {
        let mut sums = self.take(2 * view.samples * view.blocks * 2 * view.channels)?;
        let apart = Apart::new(sums.as_slice_mut::<f64>());
        self.blocks(
            view,
            parts,
            #[inline(always)]
            |scratch, index| {
                // SAFETY: each block has sums of its own.
                let sums = unsafe { apart.part(index * 2 * view.channels, 2 * view.channels) };
                work(scratch, index, sums);
            },
        )?;
        Ok(sums)
    }
}

impl Norm for Cpu {
    fn moments(&self, x: Slice<'_>, sizes: &NormSizes) -> Result<Buffer> {
        let (x, view) = (self.read(x)?, View::new(sizes));
        let sums = self.block_sums(
            &view,
            3,
            #[inline(always)]
            |scratch, index, sums| {
                norm_kernels::moments(&x[view.range(index).1], view.channels, view.pattern, scratch, sums);
            },
        )?;
        let mut moments = self.take(3 * sizes.batch * sizes.channels)?;
        moments.values_mut().fill(0.0);
        let mut to = Moments::new(moments.values_mut());
        for (sample, sums) in sums.as_slice::<f64>().chunks_exact((view.blocks * 2 * view.channels).max(1)).enumerate()
        {
            for channel in 0..view.channels {
                let block = |block: usize| {
                    let count = (view.block.min(view.len - block * view.block)) / view.channels;
                    let at = block * 2 * view.channels + channel;
                    (count as f64, sums[at], sums[at + view.channels])
                };
                to.set(sample * view.channels + channel, (0..view.blocks).map(block));
            }
        }
        Ok(Buffer::Cpu(moments))
    }

    fn norm(
        &self,
        x: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<Buffer> {
        let factors = self.factors(moments, affine, sizes)?;
        self.finish(self.normalised(&self.read(x)?, &factors, activation, sizes)?, x.dtype)
    }

    fn norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<NormGradients> {
        let (values, dy, view) = (self.read(x)?, self.read(dy)?, View::new(sizes));
        let mut factors = self.factors(moments, affine, sizes)?;
        let mut dx = self.take(x.len)?;
        let to = Apart::new(dx.values_mut());
        let sums = self.norm_sums(&view, &factors, [&values, &dy], activation, &to)?;
        let channels = factors.gradients(self, sums.as_slice(), view.blocks, view.channels)?;
        let given = activation.is_none().then_some(&*dy);
        self.norm_back(&view, &factors, &values, given, &to)?;
        Ok(NormGradients { x: self.finish(dx, x.dtype)?, channels })
    }

    fn layer_norm(
        &self,
        x: Slice<'_>,
        weight: Option<Slice<'_>>,
        bias: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<Buffer> {
        layer_norm::forward(self, x, weight, bias, sizes)
    }

    fn layer_norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        weight: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<LayerGradients> {
        layer_norm::backward(self, x, dy, weight, sizes)
    }
}

impl Cpu {
    /// Σdz and Σdz · (x − mean) of every block, with dz the gradient before the activation, which is left in `to` where
    /// there is one.
    fn norm_sums(
        &self,
        view: &View,
        factors: &Factors,
        [x, dy]: [&[f32]; 2],
        activation: Option<Map>,
        to: &Apart<'_, f32>,
    ) -> Result<Block> {
        self.block_sums(
            view,
            6,
            #[inline(always)]
            |scratch, index, sums| {
                let (sample, range) = view.range(index);
                // SAFETY: blocks have no element in common.
                let dz = unsafe { to.part(range.start, range.len()) };
                let (factor, scratch) = scratch.split_at_mut(3 * view.pattern);
                let pattern = Pattern::new(factors.forward(), view.channels(sample), self.level.fuses(), factor);
                pattern.sums([&x[range.clone()], &dy[range]], activation, scratch, sums, dz);
            },
        )
    }

    /// The gradient of x of every block; `to` holds dz where none is given.
    fn norm_back(
        &self,
        view: &View,
        factors: &Factors,
        x: &[f32],
        dz: Option<&[f32]>,
        to: &Apart<'_, f32>,
    ) -> Result<()> {
        self.blocks(
            view,
            6,
            #[inline(always)]
            |scratch, index| {
                let (sample, range) = view.range(index);
                // SAFETY: blocks have no element in common.
                let to = unsafe { to.part(range.start, range.len()) };
                let (first, second) = scratch.split_at_mut(3 * view.pattern);
                let forward = Pattern::new(factors.forward(), view.channels(sample), self.level.fuses(), first);
                let back = Pattern::new(factors.backward(), view.channels(sample), self.level.fuses(), second);
                forward.back(&back, &x[range.clone()], dz.map(|dz| &dz[range.clone()]), to);
            },
        )
    }

    pub(super) fn factors(&self, moments: Slice<'_>, affine: Affine<'_>, sizes: &NormSizes) -> Result<Factors> {
        let read =
            |x: Option<Slice<'_>>| -> Result<Option<Vec<f32>>> { x.map(|x| Ok(self.read(x)?.to_vec())).transpose() };
        let Affine { weight, bias, scale, shift, addend } = affine;
        let affine = [read(weight)?, read(bias)?, read(scale)?, read(shift)?, read(addend)?];
        Ok(Factors::new(&self.read(moments)?, affine, sizes))
    }

    /// The normalised values and a function of them, not yet rounded.
    pub(super) fn normalised(
        &self,
        values: &[f32],
        factors: &Factors,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<Block> {
        let view = View::new(sizes);
        let mut result = self.take(values.len())?;
        let to = Apart::new(result.values_mut());
        self.blocks(
            &view,
            5,
            #[inline(always)]
            |scratch, index| {
                let (sample, range) = view.range(index);
                // SAFETY: blocks have no element in common.
                let to = unsafe { to.part(range.start, range.len()) };
                let (factor, scratch) = scratch.split_at_mut(4 * view.pattern);
                let channels = view.channels(sample);
                let (fused, forward) = (self.level.fuses(), factors.forward());
                let pattern = Pattern::adding(forward, factors.addend(), channels, fused, factor);
                pattern.apply(&values[range], activation, scratch, to);
            },
        )?;
        Ok(result)
    }
}
