//! Gradients of weights: sums over pixels, for tiles of input channels times output channels.

use crate::tensor::cpu::vector::{Kernel, Vector};

use super::long_sums::LongSums;
use super::plan::{Block, Phase, Plan};
use super::tile::{Run, Tile, pixels};
use super::window::{Image, Window};

/// Pixels of the output that are summed before a sum is written: at least, where there are so many, and at most.
const PIXELS: [usize; 2] = [8, 128];
/// The most parts that an image's pixels are summed in.
const PARTS: usize = 32;
/// More input channels than this are taken some at a time.
const CHANNELS: usize = 64;
/// How many they are then: whole tiles of every level.
const SOME_CHANNELS: usize = 48;

/// Output pixels of one image that are worked on together.
#[derive(Clone, Copy)]
struct Piece {
    image: usize,
    row: usize,
    column: usize,
    rows: usize,
    columns: usize,
}

/// How the pixels of all images are cut.
pub(super) struct Pieces {
    pub(super) plan: Plan,
    /// Pieces of a column and of a row of an image.
    counts: [usize; 2],
    /// The largest piece.
    sizes: [usize; 2],
    /// Parts that are summed apart, to be put together in one order.
    pub(super) parts: usize,
}

impl Pieces {
    pub(super) fn new(plan: Plan) -> Self {
        let (rows, columns) = (plan.rows.to, plan.columns.to);
        let wanted = PARTS / (plan.groups * plan.blocks.len()).min(PARTS);
        // Parts of few pixels are short sums in f32, and parts are put together in f64.
        let pixels = (plan.batch * rows * columns / wanted).clamp(PIXELS[0], PIXELS[1]);
        let across = columns.div_ceil(pixels);
        let width = columns.div_ceil(across);
        let height = (pixels / width).clamp(1, rows);
        let counts = [rows.div_ceil(height), across];
        let parts = wanted.min(plan.batch * counts[0] * counts[1]).max(1);
        Pieces { plan, counts, sizes: [height, width], parts }
    }

    fn piece(&self, index: usize) -> Piece {
        let ([down, across], [height, width]) = (self.counts, self.sizes);
        let (row, column) = (index / across % down * height, index % across * width);
        let (rows, columns) = (height.min(self.plan.rows.to - row), width.min(self.plan.columns.to - column));
        Piece { image: index / (down * across), row, column, rows, columns }
    }

    /// Pixels that a part sums over at most.
    pub(super) fn terms(&self) -> usize {
        let pieces = self.plan.batch * self.counts[0] * self.counts[1];
        pieces.div_ceil(self.parts) * self.sizes[0] * self.sizes[1]
    }

    /// Sums of one block: a row for each tap and input channel.
    pub(super) fn sums_rows(&self) -> usize {
        let taps = self.plan.phases.first().map_or(0, |phase| phase.taps);
        taps * self.plan.from_channels
    }

    /// Numbers that a task takes for its block's gradients of the output, and for copied pixels.
    pub(super) fn scratch_len(&self, width: usize) -> [usize; 2] {
        let [rows, columns] = self.window_sizes(self.sizes[0], self.sizes[1]);
        let channels = if self.plan.from_channels > CHANNELS { SOME_CHANNELS } else { self.plan.from_channels };
        [self.sizes[0] * self.sizes[1] * width, rows * columns * channels]
    }

    fn window_sizes(&self, rows: usize, columns: usize) -> [usize; 2] {
        let [extent_rows, extent_columns] = self.plan.phases.first().map_or([0; 2], |phase| phase.extent);
        let (row_step, column_step) = (self.plan.rows.step_from, self.plan.columns.step_from);
        [(rows - 1) * row_step + extent_rows, (columns - 1) * column_step + extent_columns]
    }
}

/// The sums of one block over one part of the pixels.
pub(super) struct Sums<'a> {
    pub(super) pieces: &'a Pieces,
    pub(super) x: &'a [f32],
    pub(super) dy: &'a [f32],
    pub(super) part: usize,
    pub(super) group: usize,
    pub(super) block: &'a Block,
    pub(super) sums: LongSums<'a>,
    /// Rooms of [`Pieces::scratch_len`].
    pub(super) packed: &'a mut [f32],
    pub(super) copied: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let pieces = self.pieces;
        let all = pieces.plan.batch * pieces.counts[0] * pieces.counts[1];
        self.sums.clear();
        for index in self.part * all / pieces.parts..(self.part + 1) * all / pieces.parts {
            let piece = pieces.piece(index);
            self.pack(&piece);
            self.sums.before(piece.rows * piece.columns);
            let channels = pieces.plan.from_channels;
            let each = if channels > CHANNELS { SOME_CHANNELS } else { channels };
            for first in (0..channels).step_by(each) {
                self.channels::<V>(&piece, first, each.min(channels - first));
            }
        }
    }
}

impl Sums<'_> {
    /// The block's gradients of the output, pixel after pixel, filled up to whole vectors.
    #[inline(always)]
    fn pack(&mut self, piece: &Piece) {
        let (plan, block) = (&self.pieces.plan, self.block);
        let channels = plan.groups * plan.to_channels;
        let dy = Image { values: self.dy, rows: plan.batch * plan.rows.to, columns: plan.columns.to, channels };
        let mut packed = self.packed.chunks_exact_mut(block.width);
        for row in piece.row..piece.row + piece.rows {
            let at = dy.at(piece.image * plan.rows.to + row, piece.column, self.group * plan.to_channels + block.start);
            for (from, to) in dy.values[at..].chunks(channels).take(piece.columns).zip(&mut packed) {
                let (numbers, filling) = to.split_at_mut(block.valid);
                numbers.copy_from_slice(&from[..block.valid]);
                filling.fill(0.0);
            }
        }
    }

    #[inline(always)]
    fn tile<'r>(&mut self, runs: &'r [Run], x: *const f32, steps: [usize; 2], sums: usize) -> Tile<'r> {
        let width = self.block.width;
        Tile {
            runs,
            x,
            along: steps[0],
            across: steps[1],
            panel: self.packed.as_ptr(),
            start: None,
            y: self.sums.before(0)[sums..].as_mut_ptr(),
            y_step: width,
            valid: width,
        }
    }

    /// Where the pixels of some input channels lie from the first tap's on: in the image, or copied with zeros around; and
    /// the steps from row to row and from pixel to pixel.
    #[inline(always)]
    fn pixels_of(&mut self, piece: &Piece, phase: &Phase, first: usize, count: usize) -> (*const f32, usize, usize) {
        let plan = &self.pieces.plan;
        let [rows, columns] = self.pieces.window_sizes(piece.rows, piece.columns);
        let corner = [piece.row * plan.rows.step_from, piece.column * plan.columns.step_from];
        let (row, column) = (corner[0] as isize + phase.first[0], corner[1] as isize + phase.first[1]);
        let window = Window { row, column, rows, columns };
        let all = plan.groups * plan.from_channels;
        let image = plan.rows.from * plan.columns.from * all;
        let values = &self.x[piece.image * image..(piece.image + 1) * image];
        let x = Image { values, rows: plan.rows.from, columns: plan.columns.from, channels: all };
        let channel = self.group * plan.from_channels + first;
        if count == plan.from_channels && x.holds(&window) {
            return (x.values[x.at(row as usize, column as usize, channel)..].as_ptr(), x.columns * all, all);
        }
        x.copy(&window, channel..channel + count, columns * count, self.copied);
        (self.copied.as_ptr(), columns * count, count)
    }

    /// All taps of some input channels.
    #[inline(always)]
    fn channels<V: Vector>(&mut self, piece: &Piece, first: usize, count: usize) {
        let plan = &self.pieces.plan;
        let Some(phase) = plan.phases.first() else { return };
        let (from, row_step, pixel) = self.pixels_of(piece, phase, first, count);
        let runs: Vec<Run> = (0..piece.rows)
            .map(|row| Run { x: row * plan.rows.step_from * row_step, panel: row * piece.columns, len: piece.columns })
            .collect();
        let steps = [plan.columns.step_from * pixel, 1];
        let (row_taps, column_taps) = (&plan.rows.phases[0], &plan.columns.phases[0]);
        // Neighbouring taps of whole pixels lie side by side, in the image and in the sums.
        let together =
            if pixel == plan.from_channels && phase.extent[1] == column_taps.len() { column_taps.len() } else { 1 };
        let mut tap = 0;
        for row in row_taps {
            for column in column_taps.iter().step_by(together) {
                let at = (row.offset - phase.first[0]) as usize * row_step
                    + (column.offset - phase.first[1]) as usize * pixel;
                let sums = tap * plan.from_channels + first;
                // SAFETY: the window holds every tap of the piece's pixels, and `count` channels of each.
                unsafe { self.rows::<V>(&runs, from.add(at), steps, sums, together * count) }
                tap += together;
            }
        }
    }

    /// Adds to `count` rows of the sums from the `first` on: a row for each number of x from `x` on.
    ///
    /// # Safety
    /// The runs reach pixels of x, each of `count` numbers.
    #[inline(always)]
    unsafe fn rows<V: Vector>(&mut self, runs: &[Run], x: *const f32, steps: [usize; 2], first: usize, count: usize) {
        let width = self.block.width;
        let mut done = 0;
        while done < count {
            let rows = pixels(count - done, V::SUMS / (width / V::WIDTH));
            // SAFETY: the caller's contract.
            let tile = self.tile(runs, unsafe { x.add(done) }, steps, (first + done) * width);
            // SAFETY: as above; the panel was packed for the piece, and the sums have a row for each channel of each tap.
            unsafe { tile.sum::<V>(rows, width) }
            done += rows;
        }
    }
}
