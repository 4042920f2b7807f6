//! 3×3 convolutions of stride 1 in tiles of 2×2 outputs, with 16 products instead of 36 a tile:
//! Y = Aᵀ[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]A (Winograd, 1980; Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016).
//!
//! A sheet of the input is copied, or normalised, into the cache with zeros around. Each row of its tiles is spread to 16
//! places; a place is a matrix product of tiles and input channels with channels; their sums are gathered to pixels.

pub(super) mod weight;

use std::ops::Range;

use rayon::prelude::*;

use crate::tensor::cpu::vector::{Kernel, Vector};

use super::epilogue::Finish;
use super::plan::{Axis, Block, Plan};
use super::source::{Reader, Source};
use super::tile::{PIXELS, Run, Tile, pixels};
use super::window::Window;

/// Places of a tile that products are summed at: 4×4.
const PLACES: usize = 16;
/// The place that adds to all four outputs of a tile.
const CENTRE: usize = 5;
/// Tiles side by side: what they are spread to, and the sums of a block of channels, stay in the second-level cache.
const TILES: usize = 2 * PIXELS[0];
/// Numbers of a sheet's input that stay in the second-level cache beside them.
const SHEET: usize = 7 << 13;
/// Fewer channels than this are faster by direct sums, in or out.
const CHANNELS: usize = 16;
/// The most weights at one place: those of all places must stay in the cache.
const WEIGHTS: usize = 1 << 16;
/// Images of fewer outputs have too few tiles side by side.
const OUTPUTS: usize = 400;

/// Whether a convolution is worked out this way.
pub(super) fn fits(plan: &Plan, vector: usize) -> bool {
    let three = |axis: &Axis| match &axis.phases[..] {
        [taps] => axis.step_from == 1 && axis.step_to == 1 && taps.len() == 3 && taps[2].offset - taps[0].offset == 2,
        _ => false,
    };
    let (from, to) = (plan.from_channels, plan.to_channels);
    let channels = from.is_multiple_of(vector) && from.min(to) >= CHANNELS && from * to <= WEIGHTS;
    let pixels = plan.rows.to * plan.columns.to >= OUTPUTS;
    plan.groups == 1 && channels && pixels && three(&plan.rows) && three(&plan.columns)
}

/// Outputs that are worked on together.
#[derive(Clone, Debug)]
struct Sheet {
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Sheet {
    /// The sheets of some rows.
    fn all(plan: &Plan, rows: Range<usize>) -> impl Iterator<Item = Sheet> {
        let (wide, end) = (2 * TILES, rows.end);
        let high = rows.len().div_ceil(rows.len().div_ceil(Sheet::most_rows(plan)).max(1)).next_multiple_of(2);
        rows.step_by(high.max(2)).flat_map(move |row| {
            let columns = (0..plan.columns.to).step_by(wide);
            let rows = row..(row + high).min(end);
            columns
                .map(move |column| Sheet { rows: rows.clone(), columns: column..(column + wide).min(plan.columns.to) })
        })
    }

    /// Rows of a sheet: an even number.
    fn most_rows(plan: &Plan) -> usize {
        let rows = SHEET / ((2 * TILES + 2) * plan.from_channels);
        rows.saturating_sub(2).max(2) / 2 * 2
    }

    /// Tiles of a column and of a row.
    fn tiles(&self) -> [usize; 2] {
        [self.rows.len().div_ceil(2), self.columns.len().div_ceil(2)]
    }

    /// The input of all tiles.
    fn window(&self, plan: &Plan) -> Window {
        let ([down, across], first) = (self.tiles(), |axis: &Axis| axis.phases[0][0].offset);
        Window {
            row: self.rows.start as isize + first(&plan.rows),
            column: self.columns.start as isize + first(&plan.columns),
            rows: 2 * down + 2,
            columns: 2 * across + 2,
        }
    }

    /// The outputs of all tiles.
    fn outputs(&self) -> Window {
        let ([down, across], [row, column]) =
            (self.tiles(), [self.rows.start, self.columns.start].map(|at| at as isize));
        Window { row, column, rows: 2 * down, columns: 2 * across }
    }

    /// Numbers of the input of the largest sheet of so many rows.
    fn input_len(plan: &Plan, rows: usize) -> usize {
        let rows = Sheet::most_rows(plan).min(rows.next_multiple_of(2));
        (rows + 2) * (2 * TILES + 2) * plan.from_channels
    }
}

/// Numbers of the weights at all places.
pub(super) fn panels_len(plan: &Plan) -> usize {
    PLACES * plan.from_channels * plan.padded
}

/// G·g·Gᵀ of every pair of channels: for each block the places, their input channels, the block's output channels.
pub(super) fn pack(plan: &Plan, w: &[f32], to: &mut [f32]) {
    let size = |block: &Block| PLACES * plan.from_channels * block.width;
    let mut panels = Vec::with_capacity(plan.blocks.len());
    let mut rest = to;
    for block in &plan.blocks {
        let (panel, others) = std::mem::take(&mut rest).split_at_mut(size(block));
        panels.push((block, panel));
        rest = others;
    }
    panels.into_par_iter().for_each(|(block, panel)| {
        panel.fill(0.0);
        for channel in 0..plan.from_channels {
            for lane in 0..block.valid {
                let places = transformed(plan, w, channel, block.start + lane);
                for (place, value) in places.into_iter().flatten().enumerate() {
                    panel[(place * plan.from_channels + channel) * block.width + lane] = value;
                }
            }
        }
    });
}

/// G·g·Gᵀ of one pair of channels.
fn transformed(plan: &Plan, w: &[f32], from: usize, to: usize) -> [[f32; 4]; 4] {
    let [_, from_step, to_step] = plan.weight_steps;
    let w = &w[from * from_step + to * to_step..];
    let (rows, columns) = (&plan.rows.phases[0], &plan.columns.phases[0]);
    let spread = |[a, b, c]: [f32; 3]| [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c];
    let of_row = |row: usize| -> [f32; 4] {
        spread(std::array::from_fn(|column| w[rows[row].index * plan.kernel[1] + columns[column].index]))
    };
    let wide = [of_row(0), of_row(1), of_row(2)];
    let columns: [[f32; 4]; 4] = std::array::from_fn(|column| spread(wide.map(|row| row[column])));
    std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]))
}

/// Some output rows of one image.
pub(super) struct Rows<'a> {
    pub(super) plan: &'a Plan,
    pub(super) source: Source<'a>,
    pub(super) image: usize,
    pub(super) panels: &'a [f32],
    /// One number for each output channel, filled up to whole vectors.
    pub(super) bias: &'a [f32],
    pub(super) rows: Range<usize>,
    pub(super) y: &'a mut [f32],
    /// Room for [`scratch_len`] numbers.
    pub(super) scratch: &'a mut [f32],
    pub(super) finish: Finish<'a>,
}

/// Numbers that a task of some rows takes.
pub(super) fn scratch_len(plan: &Plan, source: &Source<'_>, rows: usize, vector: usize) -> usize {
    let tiles = PLACES * TILES * (plan.from_channels + 2 * vector);
    source.scratch_len() + Sheet::input_len(plan, rows) + tiles
}

/// What a task works in.
struct Work<'a> {
    input: &'a mut [f32],
    spread: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Kernel for Rows<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Rows { plan, source, image, panels, bias, rows, y, scratch, mut finish } = self;
        let (factors, scratch) = scratch.split_at_mut(source.scratch_len());
        let mut reader = source.reader(image, factors);
        let (input, scratch) = scratch.split_at_mut(Sheet::input_len(plan, rows.len()));
        let (spread, sums) = scratch.split_at_mut(PLACES * TILES * plan.from_channels);
        let mut work = Work { input, spread, sums };
        let first = rows.start;
        for sheet in Sheet::all(plan, rows) {
            sheet_of::<V>(plan, &mut reader, [panels, bias], &sheet, first, y, &mut work);
            let numbers = |row: usize, column: usize| ((row - first) * plan.columns.to + column) * plan.to_channels;
            for row in sheet.rows.clone() {
                finish.run::<V>(y, numbers(row, sheet.columns.start)..numbers(row, sheet.columns.end));
            }
        }
    }
}

/// The outputs of one sheet; `first` is the first row of `y`.
#[inline(always)]
fn sheet_of<V: Vector>(
    plan: &Plan,
    reader: &mut Reader<'_>,
    [panels, bias]: [&[f32]; 2],
    sheet: &Sheet,
    first: usize,
    y: &mut [f32],
    work: &mut Work<'_>,
) {
    let ([down, across], channels) = (sheet.tiles(), plan.from_channels);
    let (input, row_step) = reader.window(&sheet.window(plan), work.input);
    for tile_row in 0..down {
        spread::<V>(&input[2 * tile_row * row_step..], row_step, channels, across, work.spread);
        let mut panel = panels;
        for block in &plan.blocks {
            let (own, others) = panel.split_at(PLACES * channels * block.width);
            panel = others;
            products::<V>(work.spread, own, &bias[block.start..][..block.width], [across, channels], work.sums);
            let row = sheet.rows.start + 2 * tile_row;
            let at = ((row - first) * plan.columns.to + sheet.columns.start) * plan.to_channels + block.start;
            let left = [sheet.rows.end - row, sheet.columns.len()];
            gather::<V>(work.sums, block, left, [plan.columns.to * plan.to_channels, plan.to_channels], &mut y[at..]);
        }
    }
}

/// Where the numbers of a place of a tile begin: the four places of a row of a tile lie side by side, then the tiles,
/// then the four rows.
#[inline(always)]
fn at(place: usize, tile: usize, tiles: usize) -> usize {
    (place / 4 * tiles + tile) * 4 + place % 4
}

/// Bᵀ·d·B of a row of tiles, in the order of [`at`], the channels of each side by side.
#[inline(always)]
fn spread<V: Vector>(input: &[f32], row_step: usize, channels: usize, tiles: usize, to: &mut [f32]) {
    // Where the compiler knows the distances, they need no registers.
    match channels {
        16 => spread_channels::<V>(input, row_step, 16, tiles, to),
        32 => spread_channels::<V>(input, row_step, 32, tiles, to),
        64 => spread_channels::<V>(input, row_step, 64, tiles, to),
        _ => spread_channels::<V>(input, row_step, channels, tiles, to),
    }
}

#[inline(always)]
fn spread_channels<V: Vector>(input: &[f32], row_step: usize, channels: usize, tiles: usize, to: &mut [f32]) {
    let width = (2 * tiles + 2) * channels;
    let (input, to) = (&input[..3 * row_step + width], &mut to[..PLACES * tiles * channels]);
    assert!(row_step >= width && channels.is_multiple_of(V::WIDTH), "whole tiles of whole vectors");
    let row = 4 * tiles * channels;
    for tile in 0..tiles {
        for channel in (0..channels).step_by(V::WIDTH) {
            // SAFETY: four rows of 2·tiles + 2 pixels of `channels` numbers are there, as asserted; so is a vector for
            // each channel of each tile at each of 16 places.
            unsafe {
                let from = input.as_ptr().add(2 * tile * channels + channel);
                let to = to.as_mut_ptr().add(4 * tile * channels + channel);
                spread_half::<V, false>(from, [row_step, channels], to, row);
                spread_half::<V, true>(from.add(row_step), [row_step, channels], to.add(2 * row), row);
            }
        }
    }
}

/// The upper or lower eight places of a vector of channels, which three rows of the input make up.
///
/// # Safety
/// Vectors are there in three rows of four pixels, `steps` apart, and at two rows of four places.
#[inline(always)]
unsafe fn spread_half<V: Vector, const LOWER: bool>(from: *const f32, steps: [usize; 2], to: *mut f32, row: usize) {
    let ([mut first, mut second], [row_step, pixel]) = ([[V::zero(); 4]; 2], steps);
    for (column, (first, second)) in first.iter_mut().zip(&mut second).enumerate() {
        // SAFETY: the caller's contract.
        let [a, b, c] = unsafe {
            let from = from.add(column * pixel);
            [V::load(from), V::load(from.add(row_step)), V::load(from.add(2 * row_step))]
        };
        [*first, *second] = if LOWER { [b.minus(a), a.minus(c)] } else { [a.minus(c), b.plus(c)] };
    }
    for (index, [a, b, c, d]) in [first, second].into_iter().enumerate() {
        // SAFETY: the caller's contract.
        unsafe {
            let to = to.add(index * row);
            a.minus(c).store(to);
            b.plus(c).store(to.add(pixel));
            c.minus(b).store(to.add(2 * pixel));
            b.minus(d).store(to.add(3 * pixel));
        }
    }
}

/// The sums of a block of output channels at every place of every tile; the centre begins with the bias.
#[inline(always)]
fn products<V: Vector>(x: &[f32], panel: &[f32], bias: &[f32], [tiles, channels]: [usize; 2], sums: &mut [f32]) {
    let width = bias.len();
    let zeros = [0.0; 2 * MOST];
    let runs = [Run { x: 0, panel: 0, len: channels }];
    let (x, panel) = (&x[..PLACES * tiles * channels], &panel[..PLACES * channels * width]);
    let sums = &mut sums[..PLACES * tiles * width];
    for place in 0..PLACES {
        let start = if place == CENTRE { bias.as_ptr() } else { zeros.as_ptr() };
        let mut tile = 0;
        while tile < tiles {
            let count = pixels(tiles - tile, V::SUMS / (width / V::WIDTH));
            let at = at(place, tile, tiles);
            let tiles = Tile {
                runs: &runs,
                x: x[at * channels..].as_ptr(),
                along: 1,
                across: 4 * channels,
                panel: panel[place * channels * width..].as_ptr(),
                start: Some(start),
                y: sums[at * width..].as_mut_ptr(),
                y_step: 4 * width,
                valid: width,
            };
            // SAFETY: x has `channels` numbers for each tile of each place, the panel `width` for each channel of each
            // place, the sums `width` for each tile of each place; the bias and the zeros are as wide.
            unsafe { tiles.sum::<V>(count, width) }
            tile += count;
        }
    }
}

/// The widest vector.
const MOST: usize = 16;

/// Aᵀ·m·A of a row of tiles: pixels of one or two rows, `left` of them down and across.
#[inline(always)]
fn gather<V: Vector>(sums: &[f32], block: &Block, left: [usize; 2], [row, pixel]: [usize; 2], y: &mut [f32]) {
    let (tiles, width) = (left[1].div_ceil(2), if block.width == V::WIDTH { V::WIDTH } else { 2 * V::WIDTH });
    for tile in 0..tiles {
        let (y, here) = (&mut y[2 * tile * pixel..], [left[0].min(2), (left[1] - 2 * tile).min(2)]);
        for lane in (0..width).step_by(V::WIDTH) {
            let outputs = tile_outputs::<V>(&sums[4 * tile * width + lane..], [4 * tiles * width, width]);
            if here == [2, 2] && lane + V::WIDTH <= block.valid {
                let y = &mut y[lane..row + pixel + lane + V::WIDTH];
                // SAFETY: the last of the four vectors ends where y does.
                unsafe {
                    let y = y.as_mut_ptr();
                    outputs[0][0].store(y);
                    outputs[0][1].store(y.add(pixel));
                    outputs[1][0].store(y.add(row));
                    outputs[1][1].store(y.add(row + pixel));
                }
            } else {
                store_some(outputs, here, y, [row, pixel], lane..block.valid);
            }
        }
    }
}

/// The four outputs of a tile, whose sums lie `row` and `place` apart.
#[inline(always)]
fn tile_outputs<V: Vector>(sums: &[f32], [row, place]: [usize; 2]) -> [[V; 2]; 2] {
    let sums = &sums[..3 * (row + place) + V::WIDTH];
    let [mut upper, mut lower] = [[V::zero(); 4]; 2];
    for (column, (upper, lower)) in upper.iter_mut().zip(&mut lower).enumerate() {
        // SAFETY: a vector is there at each of 16 places.
        let places = unsafe {
            let at = sums.as_ptr().add(column * place);
            [V::load(at), V::load(at.add(row)), V::load(at.add(2 * row)), V::load(at.add(3 * row))]
        };
        [*upper, *lower] = fold(places);
    }
    [fold(upper), fold(lower)]
}

/// Aᵀ times a column of four.
#[inline(always)]
fn fold<V: Vector>([a, b, c, d]: [V; 4]) -> [V; 2] {
    [a.plus(b).plus(c), b.minus(c).minus(d)]
}

/// Writes those outputs of a tile that are in the image, and those of their channels that are there.
#[inline(always)]
fn store_some<V: Vector>(
    outputs: [[V; 2]; 2],
    here: [usize; 2],
    y: &mut [f32],
    [row, pixel]: [usize; 2],
    channels: Range<usize>,
) {
    let valid = channels.len().min(V::WIDTH);
    for (index, outputs) in outputs.iter().enumerate().take(here[0]) {
        for (column, output) in outputs.iter().enumerate().take(here[1]) {
            let mut numbers = [0.0; MOST];
            // SAFETY: no vector is wider than `MOST`.
            unsafe { output.store(numbers.as_mut_ptr()) }
            let at = index * row + column * pixel + channels.start;
            y[at..at + valid].copy_from_slice(&numbers[..valid]);
        }
    }
}
