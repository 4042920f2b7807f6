//! Convolutions by direct sums: tiles of neighbouring pixels times output channels, kept in registers.
//!
//! Weights are packed once a call in the order of their use. Tiles read the image where it is; only those at its edge
//! read copied pixels with zeros around. The data gradient is the same loop with the kernel turned round, apart for
//! each remainder of the stride. Sums have one order, whatever the number of threads.

mod depthwise;
mod epilogue;
mod forward;
mod long_sums;
mod plan;
mod source;
mod tile;
mod weight;
mod window;
mod winograd;

use rayon::prelude::*;

use crate::tensor::ops::conv::{Conv, ConvEpilogue, ConvSizes, Convolved};
use crate::tensor::ops::norm::Normalised;
use crate::tensor::ops::reduce::{Fold, Folding};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cpu;
use super::memory::{Block, Values};
use super::norm_factors::Moments;
use depthwise::{DepthwiseRows, DepthwiseSums};
use epilogue::Finish;
use forward::Rows;
use long_sums::Parts;
use plan::Plan;
use source::{Norm, Source};
use weight::{Pieces, Sums};

/// Rows of the output that one task works on, where there are enough of them.
const ROWS: usize = 8;
/// The same where tasks share the input's rows between them.
const SHARED_ROWS: usize = 32;
/// Tasks that there should be at least.
const TASKS: usize = 32;
/// Pixels of the output that share a reading of the weights, where that leaves [`FEW_TASKS`].
const PIXELS: usize = 256;
/// Tasks that there should be at least, even where each reads all weights for few pixels.
const FEW_TASKS: usize = 8;

/// Output rows of one task.
struct Task<'a> {
    image: usize,
    row: usize,
    y: &'a mut [f32],
    finish: Finish<'a>,
}

/// How a convolution is worked out.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Depthwise,
    Direct,
    Winograd,
}

impl Form {
    fn of(plan: &Plan, vector: usize) -> Form {
        match plan.is_depthwise() {
            true => Form::Depthwise,
            false if winograd::fits(plan, vector) => Form::Winograd,
            false => Form::Direct,
        }
    }
}

impl Conv for Cpu {
    fn conv2d(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        w: Slice<'_>,
        sizes: &ConvSizes,
        epilogue: &ConvEpilogue<'_>,
    ) -> Result<Convolved> {
        self.convolve(x, norm, w, &Plan::forward(sizes, self.level.width()), epilogue)
    }

    fn conv2d_data(&self, dy: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, bias: Option<Slice<'_>>) -> Result<Buffer> {
        let epilogue = ConvEpilogue { bias, ..ConvEpilogue::default() };
        Ok(self.convolve(dy, None, w, &Plan::backward(sizes, self.level.width()), &epilogue)?.y)
    }

    fn conv2d_weight(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        dy: Slice<'_>,
        sizes: &ConvSizes,
    ) -> Result<(Buffer, Buffer)> {
        let plan = Plan::forward(sizes, self.level.width());
        let mut dw = self.take(sizes.channels_out * plan.from_channels * plan.kernel[0] * plan.kernel[1])?;
        let (dy, pixels) = (self.read(dy)?, sizes.batch * plan.rows.to * plan.columns.to);
        let in_kernel = sizes.batch > 0 && winograd::weight::fits(&plan, self.level.width());
        let (values, norm) = self.input(x, norm, in_kernel)?;
        if in_kernel {
            let source = source(&values, &plan, norm.as_ref());
            let bias = self.sum_winograd(source, &dy, &plan, dw.values_mut())?;
            return Ok((self.finish(dw, x.dtype)?, self.finish(bias, x.dtype)?));
        }
        if sizes.batch == 0 {
            dw.values_mut().fill(0.0);
        } else if plan.is_depthwise() {
            self.sum_depthwise(&values, &dy, &plan, dw.values_mut())?;
        } else {
            self.sum_weights(&values, &dy, plan, dw.values_mut())?;
        }
        let bias = self.folded(Fold::Sum, &dy, Folding { outer: 1, folded: pixels, inner: sizes.channels_out })?;
        Ok((self.finish(dw, x.dtype)?, self.finish(bias, x.dtype)?))
    }
}

/// The images that a convolution reads.
fn source<'a>(values: &'a [f32], plan: &Plan, norm: Option<&'a Norm>) -> Source<'a> {
    let channels = plan.groups * plan.from_channels;
    Source { values, rows: plan.rows.from, columns: plan.columns.from, channels, norm }
}

impl Cpu {
    /// The values to be convolved, and the normalisation that is left for kernels where they can do it.
    fn input<'a>(
        &self,
        x: Slice<'a>,
        norm: Option<&Normalised<'_>>,
        in_kernel: bool,
    ) -> Result<(Values<'a>, Option<Norm>)> {
        let values = self.read(x)?;
        let Some(norm) = norm else { return Ok((values, None)) };
        let factors = self.factors(norm.moments, norm.affine, &norm.sizes)?;
        if in_kernel {
            return Ok((values, Some(Norm { factors, activation: norm.activation, fused: self.level.fuses() })));
        }
        Ok((Values::Widened(self.normalised(&values, &factors, norm.activation, &norm.sizes)?), None))
    }

    fn convolve(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        w: Slice<'_>,
        plan: &Plan,
        epilogue: &ConvEpilogue<'_>,
    ) -> Result<Convolved> {
        let form = Form::of(plan, self.level.width());
        let (values, norm) = self.input(x, norm, form == Form::Winograd)?;
        let (source, residual) =
            (source(&values, plan, norm.as_ref()), epilogue.residual.map(|x| self.read(x)).transpose()?);
        let (weights, bias) = (self.pack_weights(w, plan, form)?, self.pack_bias(epilogue.bias, plan)?);
        let channels = plan.groups * plan.to_channels;
        let len = plan.batch * plan.row_len() * plan.rows.to;
        let (mut y, mut before) = (self.take(len)?, epilogue.keep.then(|| self.take(len)).transpose()?);
        let rows = task_rows(plan, form);
        let count = if epilogue.moments { plan.batch * plan.rows.to.div_ceil(rows) } else { 0 };
        let mut sums = self.take(2 * count * epilogue::Sums::NUMBERS * channels)?;
        let mut tasks = tasks(&mut y, before.as_mut(), plan, rows);
        let sums_of_tasks = sums.as_slice_mut::<f64>().chunks_exact_mut(epilogue::Sums::NUMBERS * channels.max(1));
        for (task, sums) in tasks.iter_mut().zip(sums_of_tasks) {
            task.finish.moments = Some(epilogue::Sums::new(sums));
        }
        let image = plan.row_len() * plan.rows.to;
        tasks.into_par_iter().try_for_each(|mut task| {
            let first = task.image * image + task.row * plan.row_len();
            task.finish.activation = epilogue.activation;
            task.finish.residual = residual.as_ref().map(|residual| &residual[first..first + task.y.len()]);
            self.convolve_rows(source, [weights.values(), bias.values()], plan, form, task)
        })?;
        let moments = epilogue.moments.then(|| self.moments_of(&sums, plan, rows)).transpose()?;
        Ok(Convolved { y: self.finish(y, x.dtype)?, before: before.map(Buffer::Cpu), moments })
    }

    fn convolve_rows(
        &self,
        source: Source<'_>,
        weights: [&[f32]; 2],
        plan: &Plan,
        form: Form,
        task: Task<'_>,
    ) -> Result<()> {
        let ([weights, bias], Task { image, row, y, finish }) = (weights, task);
        let (x, rows) = (source.image(image), row..row + y.len() / plan.row_len());
        match form {
            Form::Depthwise => self.level.launch(DepthwiseRows { plan, x, weights, bias, rows, y, finish }),
            Form::Direct => {
                let [copied] = self.scratch([plan.copy_len()]);
                let mut copied = copied?;
                let copied = copied.values_mut();
                self.level.launch(Rows { plan, x, panels: weights, bias, rows, y, copied, finish });
            }
            Form::Winograd => {
                let vector = self.level.width();
                let [scratch] = self.scratch([winograd::scratch_len(plan, &source, rows.len(), vector)]);
                let mut scratch = scratch?;
                let scratch = scratch.values_mut();
                self.level.launch(winograd::Rows {
                    plan,
                    source,
                    image,
                    panels: weights,
                    bias,
                    rows,
                    y,
                    scratch,
                    finish,
                });
            }
        }
        Ok(())
    }

    /// The moments of each image's channels: those of its tasks put together in order.
    fn moments_of(&self, sums: &Block, plan: &Plan, rows: usize) -> Result<Buffer> {
        let channels = plan.groups * plan.to_channels;
        let mut moments = self.take(3 * plan.batch * channels)?;
        let mut to = Moments::new(moments.values_mut());
        let per_image = plan.rows.to.div_ceil(rows);
        let images = sums.as_slice::<f64>().chunks_exact((per_image * epilogue::Sums::NUMBERS * channels).max(1));
        for (image, sums) in images.enumerate() {
            for channel in 0..channels {
                let part = |(task, sums): (usize, &[f64])| {
                    let count = (rows.min(plan.rows.to - task * rows) * plan.columns.to) as f64;
                    let (mean, squares) = epilogue::Sums::moments(sums, channel, count);
                    (count, mean, squares)
                };
                let parts = sums.chunks_exact(epilogue::Sums::NUMBERS * channels).enumerate().map(part);
                to.set(image * channels + channel, parts);
            }
        }
        self.finish(moments, DType::F32)
    }

    fn pack_weights(&self, w: Slice<'_>, plan: &Plan, form: Form) -> Result<Block> {
        let w = self.read(w)?;
        let mut packed = self.take(match form {
            Form::Depthwise => w.len(),
            Form::Direct => plan.panels_len(),
            Form::Winograd => winograd::panels_len(plan),
        })?;
        match form {
            Form::Depthwise => {
                let taps = plan.kernel[0] * plan.kernel[1];
                for (tap, to) in packed.values_mut().chunks_exact_mut(plan.groups).enumerate() {
                    to.iter_mut().enumerate().for_each(|(channel, to)| *to = w[channel * taps + tap]);
                }
            }
            Form::Direct => plan.pack(&w, packed.values_mut()),
            Form::Winograd => winograd::pack(plan, &w, packed.values_mut()),
        }
        Ok(packed)
    }

    /// The bias, or zeros, each group filled up to whole vectors.
    fn pack_bias(&self, bias: Option<Slice<'_>>, plan: &Plan) -> Result<Block> {
        let padded = if plan.is_depthwise() { 1 } else { plan.padded };
        let mut packed = self.take(plan.groups * padded)?;
        packed.values_mut().fill(0.0);
        if let Some(bias) = bias {
            let bias = self.read(bias)?;
            let groups = packed.values_mut().chunks_exact_mut(padded).zip(bias.chunks_exact(plan.to_channels));
            groups.for_each(|(to, from)| to[..from.len()].copy_from_slice(from));
        }
        Ok(packed)
    }

    fn sum_weights(&self, x: &[f32], dy: &[f32], plan: Plan, dw: &mut [f32]) -> Result<()> {
        let pieces = Pieces::new(plan);
        let (plan, rows) = (&pieces.plan, pieces.sums_rows());
        let (widest, per_part) = (2 * self.level.width(), plan.groups * plan.blocks.len());
        let mut parts = Parts::new(self, pieces.parts * per_part, rows * widest, pieces.terms())?;
        parts.each().into_par_iter().enumerate().try_for_each(|(task, sums)| -> Result<()> {
            let (part, group) = (task / per_part, task % per_part / plan.blocks.len());
            let block = &plan.blocks[task % plan.blocks.len()];
            let [packed, copied] = self.scratch(pieces.scratch_len(block.width));
            let (mut packed, mut copied) = (packed?, copied?);
            let (packed, copied) = (packed.values_mut(), copied.values_mut());
            self.level.launch(Sums { pieces: &pieces, x, dy, part, group, block, sums, packed, copied });
            Ok(())
        })?;
        let totals = parts.totals(self, per_part * rows * widest)?;
        let mut gradients = Vec::with_capacity(per_part);
        let mut dw = dw;
        for task in 0..per_part {
            let valid = plan.blocks[task % plan.blocks.len()].valid;
            let (weights, rest) = std::mem::take(&mut dw).split_at_mut(valid * rows);
            gradients.push((task, weights));
            dw = rest;
        }
        gradients.into_par_iter().for_each(|(task, weights)| {
            let width = plan.blocks[task % plan.blocks.len()].width;
            let sums = &totals.as_slice::<f64>()[task * rows * widest..];
            let (channels, taps) = (plan.from_channels, plan.kernel[0] * plan.kernel[1]);
            for (lane, weights) in weights.chunks_exact_mut(rows).enumerate() {
                for (at, to) in weights.iter_mut().enumerate() {
                    *to = sums[(at % taps * channels + at / taps) * width + lane] as f32;
                }
            }
        });
        Ok(())
    }

    /// The gradients of the weights, and those of the bias: its tiles are in the cache already.
    fn sum_winograd(&self, source: Source<'_>, dy: &[f32], plan: &Plan, dw: &mut [f32]) -> Result<Block> {
        let (rows, columns, channels) = (plan.rows.to, plan.columns.to, plan.to_channels);
        let dy = Source { values: dy, rows, columns, channels, norm: None };
        let [count, len, terms] = winograd::weight::parts(plan);
        let (mut parts, mut biases) = (Parts::new(self, count, len, terms)?, self.take(2 * count * channels)?);
        let biases_of_parts = biases.as_slice_mut::<f64>().par_chunks_exact_mut(channels);
        let tasks = parts.each().into_par_iter().zip(biases_of_parts).enumerate();
        tasks.try_for_each(|(part, (sums, bias))| -> Result<()> {
            let [scratch] = self.scratch([winograd::weight::scratch_len(plan, &source)]);
            let mut scratch = scratch?;
            let scratch = scratch.values_mut();
            self.level.launch(winograd::weight::Sums { plan, source, dy, part, sums, bias, scratch });
            Ok(())
        })?;
        let totals = parts.totals(self, len)?;
        let outputs = dw.par_chunks_exact_mut(9 * plan.from_channels).enumerate();
        outputs.for_each(|(channel, dw)| winograd::weight::gradients(plan, totals.as_slice(), channel, dw));
        let mut bias = self.take(channels)?;
        for (channel, to) in bias.values_mut().iter_mut().enumerate() {
            *to = biases.as_slice::<f64>()[channel..].iter().step_by(channels).sum::<f64>() as f32;
        }
        Ok(bias)
    }

    fn sum_depthwise(&self, x: &[f32], dy: &[f32], plan: &Plan, dw: &mut [f32]) -> Result<()> {
        let (rows, channels, taps) = (plan.batch * plan.rows.to, plan.groups, plan.kernel[0] * plan.kernel[1]);
        let (count, len) = (rows.min(TASKS), taps * channels);
        let mut parts = Parts::new(self, count, len, rows.div_ceil(count) * plan.columns.to)?;
        parts.each().into_par_iter().enumerate().for_each(|(part, sums)| {
            let rows = part * rows / count..(part + 1) * rows / count;
            self.level.launch(DepthwiseSums { plan, x, dy, rows, sums });
        });
        let totals = parts.totals(self, len)?;
        for (channel, dw) in dw.chunks_exact_mut(taps).enumerate() {
            let sums = totals.as_slice::<f64>()[channel..].iter().step_by(channels);
            dw.iter_mut().zip(sums).for_each(|(to, sum)| *to = *sum as f32);
        }
        Ok(())
    }
}

/// Output rows of one task.
fn task_rows(plan: &Plan, form: Form) -> usize {
    let all = plan.batch * plan.rows.to;
    if form == Form::Winograd {
        return (all / TASKS).clamp(ROWS, SHARED_ROWS) / 2 * 2;
    }
    let sharing = PIXELS.div_ceil(plan.columns.to).min(all / FEW_TASKS);
    (all / TASKS).clamp(1, ROWS).max(sharing).min(plan.rows.to)
}

/// The rows of all images, `rows` a task; none goes beyond its image.
fn tasks<'a>(y: &'a mut Block, before: Option<&'a mut Block>, plan: &Plan, rows: usize) -> Vec<Task<'a>> {
    let (row, image) = (plan.row_len(), plan.row_len() * plan.rows.to);
    let cut = move |values: &'a mut [f32]| values.chunks_mut(image).flat_map(move |image| image.chunks_mut(rows * row));
    let mut before = before.map(|before| cut(before.values_mut()));
    let per_image = plan.rows.to.div_ceil(rows);
    let task = |(index, y)| {
        let before = before.as_mut().and_then(Iterator::next);
        let finish = Finish { residual: None, before, activation: None, moments: None };
        Task { image: index / per_image, row: index % per_image * rows, y, finish }
    };
    cut(y.values_mut()).enumerate().map(task).collect()
}
