//! A convolution as loops: which pixels and weights an output pixel meets, and the blocks that channels are taken in.

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::ops::conv::ConvSizes;

use super::tile::{PIXELS, Run};

/// Products of one vector of outputs that are summed in registers before the sum is written: their weights stay in the
/// nearest cache.
const PRODUCTS: usize = 576;

/// An element of a kernel along one axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tap {
    /// Where its pixel lies from the output's first one.
    pub(super) offset: isize,
    /// Its index in the kernel.
    pub(super) index: usize,
}

/// Rows or columns: output `phase + t · step_to` meets inputs `t · step_from + offset`.
#[derive(Debug)]
pub(super) struct Axis {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) step_from: usize,
    pub(super) step_to: usize,
    /// The taps of each phase, offsets rising.
    pub(super) phases: Vec<Vec<Tap>>,
}

impl Axis {
    /// Input to output.
    fn forward(sizes: &ConvSizes, axis: usize) -> Self {
        let (how, kernel) = (&sizes.how, sizes.kernel[axis]);
        let offset = |index: usize| (index * how.dilation[axis]) as isize - how.padding[axis] as isize;
        let taps = (0..kernel).map(|index| Tap { offset: offset(index), index }).collect();
        let (from, to) = (sizes.size_in[axis], sizes.size_out[axis]);
        Axis { from, to, step_from: how.stride[axis], step_to: 1, phases: vec![taps] }
    }

    /// Gradient of the output to gradient of the input: a phase for each remainder of the stride.
    fn backward(sizes: &ConvSizes, axis: usize) -> Self {
        let (how, kernel) = (&sizes.how, sizes.kernel[axis]);
        let (from, to, stride) = (sizes.size_out[axis], sizes.size_in[axis], how.stride[axis]);
        let at =
            |phase: usize, index: usize| (phase + how.padding[axis]) as isize - (index * how.dilation[axis]) as isize;
        let taps = |phase: usize| {
            let met = (0..kernel).rev().filter(|index| at(phase, *index).rem_euclid(stride as isize) == 0);
            met.map(|index| Tap { offset: at(phase, index).div_euclid(stride as isize), index }).collect()
        };
        Axis { from, to, step_from: 1, step_to: stride, phases: (0..stride.min(to)).map(taps).collect() }
    }

    /// How many outputs a phase has.
    pub(super) fn outputs(&self, phase: usize) -> usize {
        self.to.saturating_sub(phase).div_ceil(self.step_to)
    }
}

/// Output channels that one tile sums at once.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The first one, within its group.
    pub(super) start: usize,
    /// How many there are.
    pub(super) valid: usize,
    /// How many there are with the zeros that fill the vectors.
    pub(super) width: usize,
}

/// Output channels in blocks of two vectors, the last one of one where that is enough.
pub(super) fn blocks(channels: usize, vector: usize) -> Vec<Block> {
    let block = |start: usize| {
        let valid = (channels - start).min(2 * vector);
        Block { start, valid, width: if valid <= vector { vector } else { 2 * vector } }
    };
    (0..channels).step_by(2 * vector).map(block).collect()
}

/// Input channels of one group that are summed before the sum is written.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) channels: Range<usize>,
    /// Products whose pixels lie in the image.
    pub(super) direct: Vec<Run>,
    /// Products whose pixels were copied.
    pub(super) copied: Vec<Run>,
}

/// Outputs that meet the same taps.
#[derive(Debug)]
pub(super) struct Phase {
    /// Which of the rows' and of the columns' phases.
    pub(super) index: [usize; 2],
    /// The first tap's offsets.
    pub(super) first: [isize; 2],
    /// Rows and columns from the first to the last tap, both counted.
    pub(super) extent: [usize; 2],
    pub(super) taps: usize,
    /// Where its weights begin.
    pub(super) panels: usize,
    pub(super) parts: Vec<Part>,
}

/// A convolution, or the data gradient of one.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) batch: usize,
    pub(super) groups: usize,
    /// Channels of one group.
    pub(super) from_channels: usize,
    pub(super) to_channels: usize,
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    pub(super) phases: Vec<Phase>,
    pub(super) blocks: Vec<Block>,
    /// Output channels of one group with the zeros that fill the last block.
    pub(super) padded: usize,
    /// How far apart weights lie: for the next group, input channel and output channel.
    pub(super) weight_steps: [usize; 3],
    /// Rows and columns of the kernel.
    pub(super) kernel: [usize; 2],
}

impl Plan {
    pub(super) fn forward(sizes: &ConvSizes, vector: usize) -> Self {
        let axes = [Axis::forward(sizes, 0), Axis::forward(sizes, 1)];
        Plan::new(sizes, axes, (sizes.channels_in, sizes.channels_out), weight_steps(sizes), vector)
    }

    pub(super) fn backward(sizes: &ConvSizes, vector: usize) -> Self {
        let axes = [Axis::backward(sizes, 0), Axis::backward(sizes, 1)];
        let [group, channel_in, channel_out] = weight_steps(sizes);
        Plan::new(sizes, axes, (sizes.channels_out, sizes.channels_in), [group, channel_out, channel_in], vector)
    }

    fn new(
        sizes: &ConvSizes,
        [rows, columns]: [Axis; 2],
        (from, to): (usize, usize),
        weight_steps: [usize; 3],
        vector: usize,
    ) -> Self {
        let groups = sizes.how.groups;
        let blocks = blocks(to / groups, vector);
        let mut plan = Plan {
            batch: sizes.batch,
            groups,
            from_channels: from / groups,
            to_channels: to / groups,
            rows,
            columns,
            phases: Vec::new(),
            padded: blocks.iter().map(|block| block.width).sum(),
            blocks,
            weight_steps,
            kernel: sizes.kernel,
        };
        let mut panels = 0;
        for row in 0..plan.rows.phases.len() {
            for column in 0..plan.columns.phases.len() {
                let phase = plan.phase([row, column], panels);
                panels += plan.group_weights(&phase) * groups;
                plan.phases.push(phase);
            }
        }
        plan
    }

    fn phase(&self, index: [usize; 2], panels: usize) -> Phase {
        let taps = [&self.rows.phases[index[0]], &self.columns.phases[index[1]]];
        let reach = |taps: &Vec<Tap>| match (taps.first(), taps.last()) {
            (Some(first), Some(last)) => (first.offset, (last.offset - first.offset) as usize + 1),
            _ => (0, 0),
        };
        let ((first_row, rows), (first_column, columns)) = (reach(taps[0]), reach(taps[1]));
        let count = taps[0].len() * taps[1].len();
        let extent = if count == 0 { [0; 2] } else { [rows, columns] };
        let mut phase =
            Phase { index, first: [first_row, first_column], extent, taps: count, panels, parts: Vec::new() };
        let most = (PRODUCTS / count.max(1)).max(8);
        let number = self.from_channels.div_ceil(most);
        let each = self.from_channels.div_ceil(number.max(1)).next_multiple_of(4);
        for start in (0..self.from_channels).step_by(each) {
            let channels = start..(start + each).min(self.from_channels);
            let all = self.from_channels * self.groups;
            let direct = self.runs(&phase, channels.len(), [self.columns.from * all, all]);
            let copied = self.runs(&phase, channels.len(), self.copy_steps(&phase, channels.len()));
            phase.parts.push(Part { channels, direct, copied });
        }
        phase
    }

    /// Numbers of one output row.
    pub(super) fn row_len(&self) -> usize {
        self.columns.to * self.groups * self.to_channels
    }

    /// Whether every channel is convolved alone.
    pub(super) fn is_depthwise(&self) -> bool {
        self.groups > 1 && self.from_channels == 1 && self.to_channels == 1
    }

    /// How far apart the rows and columns of copied pixels lie.
    pub(super) fn copy_steps(&self, phase: &Phase, channels: usize) -> [usize; 2] {
        [((PIXELS[0] - 1) * self.columns.step_from + phase.extent[1]) * channels, channels]
    }

    /// Numbers that the copied pixels of one tile take at most.
    pub(super) fn copy_len(&self) -> usize {
        let len = |phase: &Phase| {
            let most = phase.parts.iter().map(|part| part.channels.len()).max().unwrap_or(0);
            phase.extent[0] * self.copy_steps(phase, most)[0]
        };
        self.phases.iter().map(len).max().unwrap_or(0)
    }

    /// The products of one output pixel, neighbours in a row as one run: as many runs for each row.
    fn runs(&self, phase: &Phase, channels: usize, [row_step, column_step]: [usize; 2]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let mut done = 0;
        for row in &self.rows.phases[phase.index[0]] {
            let of_row = runs.len();
            for column in &self.columns.phases[phase.index[1]] {
                let x = (row.offset - phase.first[0]) as usize * row_step
                    + (column.offset - phase.first[1]) as usize * column_step;
                match runs[of_row..].last_mut() {
                    Some(run) if run.x + run.len == x => run.len += channels,
                    _ => runs.push(Run { x, panel: done, len: channels }),
                }
                done += channels;
            }
        }
        runs
    }

    /// Which of the rows that a phase's outputs meet, from `row` on, lie in the image.
    pub(super) fn rows_inside(&self, phase: &Phase, row: isize) -> Range<usize> {
        let taps = &self.rows.phases[phase.index[0]];
        let below = |limit: isize| taps.partition_point(|tap| row + tap.offset - phase.first[0] < limit);
        below(0)..below(self.rows.from as isize)
    }

    /// Numbers of the weights of one group in one phase.
    fn group_weights(&self, phase: &Phase) -> usize {
        phase.taps * self.from_channels * self.padded
    }

    /// Where the weights of a group, part and block begin.
    pub(super) fn panel(&self, phase: &Phase, group: usize, part: &Part, block: &Block) -> usize {
        let of_parts = phase.taps * (part.channels.start * self.padded + part.channels.len() * block.start);
        phase.panels + group * self.group_weights(phase) + of_parts
    }

    /// Numbers of all weights with the zeros that fill the vectors.
    pub(super) fn panels_len(&self) -> usize {
        self.phases.iter().map(|phase| self.group_weights(phase) * self.groups).sum()
    }

    /// Weights in the order that they are used in: for each part and block the taps, their input channels, and the
    /// block's output channels side by side.
    pub(super) fn pack(&self, w: &[f32], mut to: &mut [f32]) {
        let mut panels = Vec::new();
        for phase in &self.phases {
            for group in 0..self.groups {
                for part in &phase.parts {
                    for block in &self.blocks {
                        let len = phase.taps * part.channels.len() * block.width;
                        let (panel, rest) = std::mem::take(&mut to).split_at_mut(len);
                        panels.push((phase, group, part, block, panel));
                        to = rest;
                    }
                }
            }
        }
        panels.into_par_iter().for_each(|(phase, group, part, block, panel)| {
            self.pack_panel(&w[group * self.weight_steps[0]..], phase, part, block, panel);
        });
    }

    fn pack_panel(&self, w: &[f32], phase: &Phase, part: &Part, block: &Block, to: &mut [f32]) {
        if block.valid < block.width {
            to.fill(0.0);
        }
        let [_, from_step, to_step] = self.weight_steps;
        let columns = &self.columns.phases[phase.index[1]];
        let rows = self.rows.phases[phase.index[0]].iter();
        let taps = rows.flat_map(|row| columns.iter().map(|column| row.index * self.kernel[1] + column.index));
        let taps: Vec<usize> = taps.collect();
        for (index, channel) in part.channels.clone().enumerate() {
            let w = &w[channel * from_step + block.start * to_step..];
            for (tap, at) in taps.iter().enumerate() {
                let to = &mut to[(tap * part.channels.len() + index) * block.width..][..block.valid];
                to.iter_mut().zip(w[*at..].iter().step_by(to_step)).for_each(|(to, w)| *to = *w);
            }
        }
    }
}

/// How far apart weights lie in OIHW: for the next group, input channel and output channel.
fn weight_steps(sizes: &ConvSizes) -> [usize; 3] {
    let taps = sizes.kernel[0] * sizes.kernel[1];
    let per_out = taps * (sizes.channels_in / sizes.how.groups);
    [per_out * (sizes.channels_out / sizes.how.groups), taps, per_out]
}
