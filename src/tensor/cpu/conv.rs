//! Convolutions by direct sums: tiles of neighbouring pixels times output channels, kept in registers.
//!
//! Weights are packed once a call in the order of their use. Tiles read the image where it is; only those at its edge
//! read copied pixels with zeros around. The data gradient is the same loop with the kernel turned round, apart for
//! each remainder of the stride. Sums have one order, whatever the number of threads.

mod depthwise;
mod epilogue;
mod forward;
mod plan;
mod tile;
mod weight;
mod window;

use rayon::prelude::*;

use crate::tensor::ops::conv::{Conv, ConvEpilogue, ConvSizes, Convolved};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::memory::Block;
use super::{Cpu, PIECE};
use depthwise::{DepthwiseRows, DepthwiseSums};
use epilogue::{Finished, statistics};
use forward::Rows;
use plan::Plan;
use weight::{Pieces, Sums};
use window::Image;

/// Rows of the output that one task works on, where there are enough of them.
const ROWS: usize = 8;
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
    before: Option<&'a mut [f32]>,
    sums: Option<&'a mut [f64]>,
}

impl Conv for Cpu {
    fn conv2d(&self, x: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, epilogue: &ConvEpilogue<'_>) -> Result<Convolved> {
        self.convolve(x, w, &Plan::forward(sizes, self.level.width()), epilogue)
    }

    fn conv2d_data(&self, dy: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, bias: Option<Slice<'_>>) -> Result<Buffer> {
        let epilogue = ConvEpilogue { bias, ..ConvEpilogue::default() };
        Ok(self.convolve(dy, w, &Plan::backward(sizes, self.level.width()), &epilogue)?.y)
    }

    fn conv2d_weight(&self, x: Slice<'_>, dy: Slice<'_>, sizes: &ConvSizes) -> Result<(Buffer, Buffer)> {
        let plan = Plan::forward(sizes, self.level.width());
        let mut dw = self.take(sizes.channels_out * plan.from_channels * plan.kernel[0] * plan.kernel[1]);
        let mut bias = self.take(sizes.channels_out);
        if sizes.batch == 0 {
            dw.values_mut().fill(0.0);
            bias.values_mut().fill(0.0);
        } else if plan.is_depthwise() {
            self.sum_depthwise(&self.read(x), &self.read(dy), &plan, dw.values_mut(), bias.values_mut());
        } else {
            self.sum_weights(&self.read(x), &self.read(dy), plan, dw.values_mut(), bias.values_mut());
        }
        Ok((self.finish(dw, x.dtype), self.finish(bias, x.dtype)))
    }
}

impl Cpu {
    fn convolve(&self, x: Slice<'_>, w: Slice<'_>, plan: &Plan, epilogue: &ConvEpilogue<'_>) -> Result<Convolved> {
        let (values, residual) = (self.read(x), epilogue.residual.map(|residual| self.read(residual)));
        let (weights, bias) = (self.pack_weights(w, plan), self.pack_bias(epilogue.bias, plan));
        let (row, image) = (plan.row_len(), plan.row_len() * plan.rows.to);
        let mut y = self.take(plan.batch * image);
        let mut before = epilogue.keep.then(|| self.take(plan.batch * image));
        let rows = task_rows(plan);
        let per_image = plan.rows.to.div_ceil(rows);
        let groups = epilogue.statistics.unwrap_or(0);
        let mut sums = self.take(2 * plan.batch * per_image * 2 * groups);
        let mut tasks = tasks(&mut y, before.as_mut(), plan, rows);
        if groups > 0 {
            let sums = sums.as_slice_mut::<f64>().chunks_exact_mut(2 * groups);
            tasks.iter_mut().zip(sums).for_each(|(task, sums)| task.sums = Some(sums));
        }
        tasks.into_par_iter().for_each(|task| {
            let first = task.image * image + task.row * row;
            let finished = self.convolve_rows(&values, &weights, &bias, plan, task);
            let residual = residual.as_ref().map(|residual| &residual[first..first + finished.y.len()]);
            self.finish_rows(finished, residual, epilogue, plan);
        });
        let statistics = epilogue.statistics.map(|_| self.statistics(&sums, per_image, 2 * groups));
        let before = before.map(|before| self.finish(before, x.dtype));
        Ok(Convolved { y: self.finish(y, x.dtype), before, statistics })
    }

    fn convolve_rows<'a>(&self, x: &[f32], weights: &Block, bias: &Block, plan: &Plan, task: Task<'a>) -> Task<'a> {
        let (rows, columns) = (plan.rows.from, plan.columns.from);
        let channels = plan.groups * plan.from_channels;
        let image = rows * columns * channels;
        let x = Image { values: &x[task.image * image..(task.image + 1) * image], rows, columns, channels };
        let (bias, rows) = (bias.values(), task.row..task.row + task.y.len() / plan.row_len());
        let y = &mut *task.y;
        if plan.is_depthwise() {
            let weights = weights.values();
            self.level.launch(DepthwiseRows { plan, x, weights, bias, rows, y });
        } else {
            let (panels, mut copied) = (weights.values(), self.take(plan.copy_len()));
            self.level.launch(Rows { plan, x, panels, bias, rows, y, copied: copied.values_mut() });
        }
        task
    }

    fn finish_rows(&self, task: Task<'_>, residual: Option<&[f32]>, epilogue: &ConvEpilogue<'_>, plan: &Plan) {
        let Task { y, before, sums, .. } = task;
        let activation = epilogue.activation;
        self.level.run(
            #[inline(always)]
            || {
                Finished { y: &mut *y, residual, before, activation }.run();
                if let Some(sums) = sums {
                    sums.fill(0.0);
                    statistics(y, plan.groups * plan.to_channels, sums);
                }
            },
        );
    }

    /// Each image's sums: those of its tasks in order.
    fn statistics(&self, sums: &Block, per_image: usize, numbers: usize) -> Buffer {
        let images = sums.as_slice::<f64>().chunks_exact((per_image * numbers).max(1));
        let mut statistics = self.take(images.len() * numbers);
        for (image, to) in images.zip(statistics.values_mut().chunks_exact_mut(numbers)) {
            for (number, to) in to.iter_mut().enumerate() {
                *to = image.iter().skip(number).step_by(numbers).sum::<f64>() as f32;
            }
        }
        self.finish(statistics, DType::F32)
    }

    fn pack_weights(&self, w: Slice<'_>, plan: &Plan) -> Block {
        let w = self.read(w);
        if plan.is_depthwise() {
            let mut packed = self.take(w.len());
            let taps = plan.kernel[0] * plan.kernel[1];
            for (tap, to) in packed.values_mut().chunks_exact_mut(plan.groups).enumerate() {
                to.iter_mut().enumerate().for_each(|(channel, to)| *to = w[channel * taps + tap]);
            }
            return packed;
        }
        let mut packed = self.take(plan.panels_len());
        plan.pack(&w, packed.values_mut());
        packed
    }

    /// The bias, or zeros, each group filled up to whole vectors.
    fn pack_bias(&self, bias: Option<Slice<'_>>, plan: &Plan) -> Block {
        let padded = if plan.is_depthwise() { 1 } else { plan.padded };
        let mut packed = self.take(plan.groups * padded);
        packed.values_mut().fill(0.0);
        if let Some(bias) = bias {
            let bias = self.read(bias);
            let groups = packed.values_mut().chunks_exact_mut(padded).zip(bias.chunks_exact(plan.to_channels));
            groups.for_each(|(to, from)| to[..from.len()].copy_from_slice(from));
        }
        packed
    }

    fn sum_weights(&self, x: &[f32], dy: &[f32], plan: Plan, dw: &mut [f32], bias: &mut [f32]) {
        let pieces = Pieces::new(plan);
        let (plan, rows) = (&pieces.plan, pieces.sums_rows());
        let (widest, per_part) = (2 * self.level.width(), plan.groups * plan.blocks.len());
        let mut sums = self.take(pieces.parts * per_part * rows * widest);
        sums.values_mut().par_chunks_exact_mut(rows * widest).enumerate().for_each(|(task, sums)| {
            let (part, group) = (task / per_part, task % per_part / plan.blocks.len());
            let block = &plan.blocks[task % plan.blocks.len()];
            let [packed, copied] = pieces.scratch_len(block.width);
            let (mut packed, mut copied) = (self.take(packed), self.take(copied));
            let (packed, copied) = (packed.values_mut(), copied.values_mut());
            let sums = &mut sums[..rows * block.width];
            self.level.launch(Sums { pieces: &pieces, x, dy, part, group, block, sums, packed, copied });
        });
        let sums = sums.values();
        let mut gradients = Vec::with_capacity(per_part);
        let (mut dw, mut bias) = (dw, bias);
        for task in 0..per_part {
            let valid = plan.blocks[task % plan.blocks.len()].valid;
            let (weights, rest) = std::mem::take(&mut dw).split_at_mut(valid * (rows - 1));
            let (biases, others) = std::mem::take(&mut bias).split_at_mut(valid);
            gradients.push((task, weights, biases));
            (dw, bias) = (rest, others);
        }
        gradients.into_par_iter().for_each(|(task, weights, biases)| {
            let width = plan.blocks[task % plan.blocks.len()].width;
            let sum = |row: usize, lane: usize| {
                let parts = sums.chunks_exact(rows * widest).skip(task).step_by(per_part);
                parts.map(|sums| sums[row * width + lane]).sum::<f32>()
            };
            let (channels, taps) = (plan.from_channels, plan.kernel[0] * plan.kernel[1]);
            for (lane, weights) in weights.chunks_exact_mut(rows - 1).enumerate() {
                for (at, to) in weights.iter_mut().enumerate() {
                    *to = sum(at % taps * channels + at / taps, lane);
                }
            }
            biases.iter_mut().enumerate().for_each(|(lane, to)| *to = sum(rows - 1, lane));
        });
    }

    fn sum_depthwise(&self, x: &[f32], dy: &[f32], plan: &Plan, dw: &mut [f32], bias: &mut [f32]) {
        let (rows, channels, taps) = (plan.batch * plan.rows.to, plan.groups, plan.kernel[0] * plan.kernel[1]);
        let parts = rows.min(TASKS);
        let len = (taps + 1) * channels;
        let mut sums = self.take(parts * len);
        sums.values_mut().par_chunks_exact_mut(len).enumerate().for_each(|(part, sums)| {
            let rows = part * rows / parts..(part + 1) * rows / parts;
            self.level.launch(DepthwiseSums { plan, x, dy, rows, sums });
        });
        let sums = sums.values();
        let sum = |at: usize| sums.iter().skip(at).step_by(len).sum::<f32>();
        let pieces = dw.par_chunks_mut((PIECE / taps).max(1) * taps).enumerate();
        pieces.for_each(|(piece, to)| {
            let first = piece * (PIECE / taps).max(1) * taps;
            for (at, to) in to.iter_mut().enumerate() {
                *to = sum((first + at) % taps * channels + (first + at) / taps);
            }
        });
        bias.iter_mut().enumerate().for_each(|(channel, to)| *to = sum(taps * channels + channel));
    }
}

/// Output rows of one task.
fn task_rows(plan: &Plan) -> usize {
    let all = plan.batch * plan.rows.to;
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
        Task { image: index / per_image, row: index % per_image * rows, y, before, sums: None }
    };
    cut(y.values_mut()).enumerate().map(task).collect()
}
