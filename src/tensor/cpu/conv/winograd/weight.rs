//! Gradients of the weights: dg = Gᵀ[Σ (Bᵀ·d·B) ⊙ (A·dY·Aᵀ)]G, the sum over all tiles a matrix product at each place.

use crate::tensor::cpu::reduce::sum_columns;
use crate::tensor::cpu::vector::{Kernel, Vector};

use super::super::long_sums::LongSums;
use super::super::plan::{Block, Plan};
use super::super::source::Source;
use super::super::tile::{Run, Tile, pixels};
use super::{CENTRE, PLACES, Sheet, TILES, at, spread};

/// Rows of a sheet: there are sheets for every part.
const ROWS: usize = 16;
/// The most parts that the tiles of all images are summed in.
const PARTS: usize = 32;
/// The most weights at one place: the sums of all parts take 32·16 times as much memory.
const WEIGHTS: usize = 1 << 14;

/// Whether the gradients of the weights of a convolution are worked out this way.
pub(in crate::tensor::cpu::conv) fn fits(plan: &Plan, vector: usize) -> bool {
    let small = plan.from_channels * plan.to_channels <= WEIGHTS;
    super::fits(plan, vector) && plan.to_channels.is_multiple_of(vector) && small
}

/// How the tiles of all images are cut.
#[derive(Clone, Copy)]
struct Cut {
    rows: usize,
    /// Sheets of a column and of a row of an image.
    counts: [usize; 2],
}

impl Cut {
    fn new(plan: &Plan) -> Self {
        let rows = Sheet::most_rows(plan).min(ROWS);
        Cut { rows, counts: [plan.rows.to.div_ceil(rows), plan.columns.to.div_ceil(2 * TILES)] }
    }

    fn sheets(&self, plan: &Plan) -> usize {
        plan.batch * self.counts[0] * self.counts[1]
    }

    /// The image of a sheet, and the sheet.
    fn sheet(&self, plan: &Plan, index: usize) -> (usize, Sheet) {
        let [down, across] = self.counts;
        let (row, column) = (index / across % down * self.rows, index % across * 2 * TILES);
        let rows = row..(row + self.rows).min(plan.rows.to);
        (index / (down * across), Sheet { rows, columns: column..(column + 2 * TILES).min(plan.columns.to) })
    }
}

/// Parts that are summed apart, to be put together in one order; the sums of a part, for each block a row for each input
/// channel at each place; and the tiles that each is over, at most.
pub(in crate::tensor::cpu::conv) fn parts(plan: &Plan) -> [usize; 3] {
    let cut = Cut::new(plan);
    let sheets = cut.sheets(plan);
    let parts = sheets.clamp(1, PARTS);
    [parts, PLACES * plan.from_channels * plan.padded, sheets.div_ceil(parts) * cut.rows.div_ceil(2) * TILES]
}

/// Numbers that a task takes beside its sums.
pub(in crate::tensor::cpu::conv) fn scratch_len(plan: &Plan, source: &Source<'_>) -> usize {
    source.scratch_len() + lens(plan).iter().sum::<usize>()
}

/// Numbers of a sheet's input and output, and of what a row of tiles of each is spread to.
fn lens(plan: &Plan) -> [usize; 4] {
    let tiles = PLACES * TILES;
    let output = Cut::new(plan).rows * 2 * TILES * plan.to_channels;
    [Sheet::input_len(plan, ROWS), output, tiles * plan.from_channels, tiles * plan.padded]
}

/// The sums of one part.
pub(in crate::tensor::cpu::conv) struct Sums<'a> {
    pub(in crate::tensor::cpu::conv) plan: &'a Plan,
    pub(in crate::tensor::cpu::conv) source: Source<'a>,
    /// The gradients of the outputs of all images.
    pub(in crate::tensor::cpu::conv) dy: Source<'a>,
    pub(in crate::tensor::cpu::conv) part: usize,
    pub(in crate::tensor::cpu::conv) sums: LongSums<'a>,
    /// The sums of the gradients of the outputs, one for each channel.
    pub(in crate::tensor::cpu::conv) bias: &'a mut [f64],
    /// Room for [`scratch_len`] numbers.
    pub(in crate::tensor::cpu::conv) scratch: &'a mut [f32],
}

impl Kernel for Sums<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Sums { plan, source, dy, part, mut sums, bias, scratch } = self;
        let (cut, [parts, ..]) = (Cut::new(plan), parts(plan));
        let (factors, scratch) = scratch.split_at_mut(source.scratch_len());
        let [input_len, output_len, spread_len, _] = lens(plan);
        let (input, scratch) = scratch.split_at_mut(input_len);
        let (output, scratch) = scratch.split_at_mut(output_len);
        let (spread_input, spread_output) = scratch.split_at_mut(spread_len);
        let all = cut.sheets(plan);
        sums.clear();
        bias.fill(0.0);
        for index in part * all / parts..(part + 1) * all / parts {
            let (image, sheet) = cut.sheet(plan, index);
            let [down, across] = sheet.tiles();
            let mut reader = source.reader(image, factors);
            let (x, x_step) = reader.window(&sheet.window(plan), input);
            let mut reader = dy.reader(image, &mut []);
            let (dy, dy_step) = reader.window(&sheet.outputs(), output);
            for row in 0..down {
                spread::<V>(&x[2 * row * x_step..], x_step, plan.from_channels, across, spread_input);
                let dy = Pixels { values: &dy[2 * row * dy_step..], row_step: dy_step, channels: plan.to_channels };
                add_row::<V>(plan, [spread_input, spread_output], dy, across, sums.before(across), bias);
            }
        }
    }
}

/// The gradients of two rows of outputs, and zeros where they do not fill their tiles.
#[derive(Clone, Copy)]
struct Pixels<'a> {
    values: &'a [f32],
    row_step: usize,
    channels: usize,
}

/// Adds the products of a row of tiles, and its outputs to the bias: at the centre they stand summed.
#[inline(always)]
fn add_row<V: Vector>(
    plan: &Plan,
    [x, spread]: [&mut [f32]; 2],
    dy: Pixels<'_>,
    tiles: usize,
    sums: &mut [f32],
    bias: &mut [f64],
) {
    let mut rest = sums;
    for block in &plan.blocks {
        let (own, others) = std::mem::take(&mut rest).split_at_mut(PLACES * plan.from_channels * block.width);
        rest = others;
        spread_output::<V>(dy, block, tiles, spread);
        add_products::<V>(x, spread, [tiles, plan.from_channels, block.width], own);
        let centre = &spread[CENTRE * tiles * block.width..][..tiles * block.width];
        sum_columns(centre, block.width, 0..block.width, &mut bias[block.start..][..block.width]);
    }
}

/// A·dY·Aᵀ of a row of tiles: for each place the tiles, a block's channels side by side.
#[inline(always)]
fn spread_output<V: Vector>(dy: Pixels<'_>, block: &Block, tiles: usize, to: &mut [f32]) {
    let Pixels { values, row_step, channels } = dy;
    let (dy, to) = (&values[..row_step + 2 * tiles * channels], &mut to[..PLACES * tiles * block.width]);
    let place = tiles * block.width;
    assert!(block.start + block.width <= channels, "whole vectors");
    for tile in 0..tiles {
        for lane in (0..block.width).step_by(V::WIDTH) {
            // SAFETY: two rows of 2·tiles pixels of `channels` numbers are there, the block's among them, as asserted; so
            // is a vector for each of the block's channels of each tile at each of 16 places.
            unsafe {
                let from = dy.as_ptr().add(2 * tile * channels + block.start + lane);
                let lower = from.add(row_step);
                let left = spread_pair(V::load(from), V::load(lower));
                let right = spread_pair(V::load(from.add(channels)), V::load(lower.add(channels)));
                let mut to = to.as_mut_ptr().add(tile * block.width + lane);
                for row in 0..4 {
                    let [a, b, c, d] = spread_pair(left[row], right[row]);
                    a.store(to);
                    b.store(to.add(place));
                    c.store(to.add(2 * place));
                    d.store(to.add(3 * place));
                    to = to.wrapping_add(4 * place);
                }
            }
        }
    }
}

/// A times two neighbours.
#[inline(always)]
fn spread_pair<V: Vector>(a: V, b: V) -> [V; 4] {
    [a, a.plus(b), a.minus(b), V::zero().minus(b)]
}

/// Adds the products of input channels with a block's channels at every place.
#[inline(always)]
fn add_products<V: Vector>(x: &[f32], dy: &[f32], [tiles, channels, width]: [usize; 3], sums: &mut [f32]) {
    let (x, dy) = (&x[..PLACES * tiles * channels], &dy[..PLACES * tiles * width]);
    let sums = &mut sums[..PLACES * channels * width];
    let runs = [Run { x: 0, panel: 0, len: tiles }];
    let mut tile = Tile {
        runs: &runs,
        x: x.as_ptr(),
        along: 4 * channels,
        across: 1,
        panel: dy.as_ptr(),
        start: None,
        y: sums.as_mut_ptr(),
        y_step: width,
        valid: width,
    };
    for place in 0..PLACES {
        tile.panel = dy[place * tiles * width..].as_ptr();
        let mut channel = 0;
        while channel < channels {
            let count = pixels(channels - channel, V::SUMS / (width / V::WIDTH));
            tile.x = x[at(place, 0, tiles) * channels + channel..].as_ptr();
            tile.y = sums[(place * channels + channel) * width..].as_mut_ptr();
            // SAFETY: x has `channels` numbers for each tile of each place, dy `width`; the sums have a row for each
            // channel of each place.
            unsafe { tile.sum::<V>(count, width) }
            channel += count;
        }
    }
}

/// The gradients of the weights of an output channel, from the sums of all parts.
pub(in crate::tensor::cpu::conv) fn gradients(plan: &Plan, sums: &[f64], channel: usize, dw: &mut [f32]) {
    let rows = PLACES * plan.from_channels;
    let before = |block: &&Block| block.start + block.width <= channel;
    let skipped: usize = plan.blocks.iter().take_while(before).map(|block| block.width).sum();
    let width = plan.blocks.iter().find(|block| !before(block)).map_or(0, |block| block.width);
    let first = rows * skipped + channel - skipped;
    for (from, dw) in dw.chunks_exact_mut(9).enumerate() {
        let at = |place: usize| sums[first + (place * plan.from_channels + from) * width];
        let places = std::array::from_fn(|row| std::array::from_fn(|column| at(4 * row + column)));
        let gathered = gathered(places);
        dw.iter_mut().zip(gathered.as_flattened()).for_each(|(to, sum)| *to = *sum as f32);
    }
}

/// Gᵀ·s·G of the sums of one pair of channels.
fn gathered(sums: [[f64; 4]; 4]) -> [[f64; 3]; 3] {
    let fold = |[a, b, c, d]: [f64; 4]| [a + 0.5 * (b + c), 0.5 * (b - c), 0.5 * (b + c) + d];
    let wide = sums.map(fold);
    let columns: [[f64; 3]; 3] = std::array::from_fn(|column| fold(wide.map(|row| row[column])));
    std::array::from_fn(|row| std::array::from_fn(|column| columns[column][row]))
}
