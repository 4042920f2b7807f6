//! Rows of a convolution, or of the data gradient of one: tiles of pixels times output channels.

use std::ops::Range;

use crate::tensor::cpu::vector::{Kernel, Vector};

use super::epilogue::Finish;
use super::plan::{Block, Part, Phase, Plan};
use super::tile::{PIXELS, Tile, pixels};
use super::window::{Image, Window};

/// Input numbers of a strip of columns that stay in the second-level cache while all output channels are summed.
const STRIP: usize = 1 << 15;

/// Some output rows of one image.
pub(super) struct Rows<'a> {
    pub(super) plan: &'a Plan,
    pub(super) x: Image<'a>,
    pub(super) panels: &'a [f32],
    /// One number for each output channel, each group filled up to whole vectors.
    pub(super) bias: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) y: &'a mut [f32],
    /// Room for [`Plan::copy_len`] numbers.
    pub(super) copied: &'a mut [f32],
    pub(super) finish: Finish<'a>,
}

/// One block of output channels over a strip of columns.
struct Strip<'a> {
    phase: &'a Phase,
    part: &'a Part,
    block: &'a Block,
    group: usize,
    columns: Range<usize>,
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let plan = self.plan;
        for phase in &plan.phases {
            let outputs = plan.columns.outputs(phase.index[1]);
            let each = strip(plan, phase, self.rows.len());
            for start in (0..outputs).step_by(each) {
                let columns = start..(start + each).min(outputs);
                for group in 0..plan.groups {
                    for part in &phase.parts {
                        for block in &plan.blocks {
                            self.strip::<V>(&Strip { phase, part, block, group, columns: columns.clone() });
                        }
                    }
                }
                if plan.phases.len() == 1 {
                    self.finish::<V>(start..(start + each).min(outputs));
                }
            }
        }
    }
}

/// Columns of a strip.
fn strip(plan: &Plan, phase: &Phase, rows: usize) -> usize {
    let channels = phase.parts.first().map_or(1, |part| part.channels.len());
    let column = (rows.div_ceil(plan.rows.step_to) * plan.rows.step_from + phase.extent[0]) * channels;
    (STRIP / (column * plan.columns.step_from)).next_multiple_of(PIXELS[0]).max(4 * PIXELS[0])
}

impl Rows<'_> {
    /// The epilogue; data gradients of longer strides have none.
    #[inline(always)]
    fn finish<V: Vector>(&mut self, columns: Range<usize>) {
        let channels = self.plan.groups * self.plan.to_channels;
        for row in 0..self.rows.len() {
            let first = row * self.plan.columns.to;
            self.finish.run::<V>(self.y, (first + columns.start) * channels..(first + columns.end) * channels);
        }
    }

    #[inline(always)]
    fn strip<V: Vector>(&mut self, strip: &Strip<'_>) {
        let (plan, row) = (self.plan, strip.phase.index[0]);
        let step = plan.rows.step_to;
        let first = self.rows.start.saturating_sub(row).div_ceil(step);
        let most = V::SUMS / (strip.block.width / V::WIDTH);
        let mut t = first;
        while row + t * step < self.rows.end {
            let mut u = strip.columns.start;
            while u < strip.columns.end {
                let pixels = pixels(strip.columns.end - u, most);
                self.tile::<V>(strip, t, u, pixels);
                u += pixels;
            }
            t += 1;
        }
    }

    #[inline(always)]
    fn tile<V: Vector>(&mut self, strip: &Strip<'_>, t: usize, u: usize, pixels: usize) {
        let (plan, &Strip { phase, part, block, group, .. }) = (self.plan, strip);
        let (step, all) = (plan.columns.step_from, self.x.channels);
        let window = Window {
            row: (t * plan.rows.step_from) as isize + phase.first[0],
            column: (u * step) as isize + phase.first[1],
            rows: phase.extent[0],
            columns: (pixels - 1) * step + phase.extent[1],
        };
        let channels = group * plan.from_channels + part.channels.start..group * plan.from_channels + part.channels.end;
        let (x, pixel, runs) = if self.x.holds_columns(&window) {
            let rows = plan.rows_inside(phase, window.row);
            let each = part.direct.len() / plan.rows.phases[phase.index[0]].len().max(1);
            let at = (window.row * self.x.columns as isize + window.column) * all as isize + channels.start as isize;
            (self.x.values.as_ptr().wrapping_offset(at), all, &part.direct[rows.start * each..rows.end * each])
        } else {
            let row_step = plan.copy_steps(phase, channels.len())[0];
            self.x.copy(&window, channels.clone(), row_step, self.copied);
            (self.copied.as_ptr(), channels.len(), &part.copied[..])
        };
        let to_all = plan.groups * plan.to_channels;
        let output = [phase.index[0] + t * plan.rows.step_to, phase.index[1] + u * plan.columns.step_to];
        let at = ((output[0] - self.rows.start) * plan.columns.to + output[1]) * to_all;
        let y = &mut self.y[at + group * plan.to_channels + block.start..];
        let bias = &self.bias[group * plan.padded + block.start..][..block.width];
        let tile = Tile {
            runs,
            x,
            along: 1,
            across: step * pixel,
            panel: self.panels[plan.panel(phase, group, part, block)..].as_ptr(),
            start: (part.channels.start == 0).then_some(bias.as_ptr()),
            y: y.as_mut_ptr(),
            y_step: plan.columns.step_to * to_all,
            valid: block.valid,
        };
        // SAFETY: the window was copied, or its columns lie in the image and so do the rows of the runs that are left;
        // these are all that the runs reach. The panel was packed for these runs and this block. The tile's pixels are
        // outputs of `rows`, which `y` holds.
        unsafe { tile.sum::<V>(pixels, block.width) }
    }
}
