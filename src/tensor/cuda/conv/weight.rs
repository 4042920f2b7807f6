//! How the gradients of a convolution's weights and bias are cut into blocks and parts.

use bytemuck::{Pod, Zeroable};

use crate::tensor::cuda::Cuda;
use crate::tensor::cuda::elementwise::{Function, aligned};
use crate::tensor::cuda::reuse::Block;
use crate::tensor::ops::conv::ConvSizes;
use crate::tensor::ops::norm::Normalised;
use crate::tensor::{Buffer, DType, Result, Slice};

use super::plan::{ALONE, DENSE, Load, Tap, WIDE, pair};

/// Bytes that keep rows of shared memory in different banks, and the most shared memory of a block.
const PITCH_PAD: usize = 16;
const MOST_SHARED: usize = 100 << 10;
/// Elements of the kernel that one block takes at most: a warp each.
const TAPS: usize = 9;
/// Warps of a block, about.
const WARPS: usize = 8;
/// Runs of fewer channels are summed without tiles.
const FEW: usize = 8;
/// Rows of pixels that a part of the direct sum has at least.
const PART_ROWS: usize = 8;

/// `WeightSizes` of `kernels/conv_weight.cu`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct Numbers {
    batch: i32,
    groups: i32,
    from_channels: i32,
    to_channels: i32,
    from_size: [i32; 2],
    to_size: [i32; 2],
    step: [i32; 2],
    taps: i32,
    tap_groups: i32,
    /// Down, then across.
    tiles: [i32; 2],
    pixels: i32,
    tile_shift: i32,
    window: [i32; 2],
    parts: i32,
    splits: i32,
    /// `Reading` of `kernels/tiles.cuh`, of x and dy.
    reading: [i32; 2],
    stages: i32,
    /// What is done to x behind its normalisation.
    first: Function,
    factor_plane: i64,
}

/// `TapGroup` of the kernel file.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
struct TapGroup {
    first: i32,
    taps: i32,
    window: [i32; 2],
}

/// Gradients of weights that are ready to be summed in tiles.
pub(super) struct Plan {
    numbers: Numbers,
    groups: Vec<TapGroup>,
    /// Output and input channels of a block.
    channels: [usize; 2],
    loads: [Load; 2],
    shared_bytes: usize,
}

/// What a block reads: x and dy, and what is done to x first.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) x: Slice<'a>,
    pub(super) norm: Option<&'a Normalised<'a>>,
    pub(super) dy: Slice<'a>,
}

impl Operands<'_> {
    /// How x and dy go to shared memory.
    fn loads(&self) -> [Load; 2] {
        let of_x = if self.norm.is_some() { Load::Normed } else { Load::Copied };
        [of_x, if self.dy.dtype == self.x.dtype { Load::Copied } else { Load::Split }]
    }
}

impl Cuda {
    /// The gradients of the weights and of the bias, in tiles where there is a plan for them.
    pub(super) fn sum_weights(
        &self,
        operands: Operands<'_>,
        sizes: &ConvSizes,
        plan: Option<&Plan>,
    ) -> Result<(Buffer, Buffer)> {
        let (taps, dtype) = (taps(sizes), operands.x.dtype);
        let channels = sizes.channels_out;
        let per_channel = sizes.channels_in / sizes.how.groups * taps.len();
        if sizes.batch == 0 {
            let [dw, bias] = [channels * per_channel, channels].map(|len| self.zeros(len, dtype));
            return Ok((Buffer::Cuda(dw?), Buffer::Cuda(bias?)));
        }
        let processors = self.machine().multiprocessors() as usize;
        let most = match plan {
            Some(plan) => plan.tiles(),
            None => (sizes.batch * sizes.size_out[0]).div_ceil(PART_ROWS),
        };
        let parts = (2 * processors).div_ceil(plan.map_or(1, Plan::blocks)).clamp(1, most);
        let splits = plan.map_or(1, |plan| plan.numbers.splits as usize);
        let sums = self.take(parts * splits * channels * per_channel, DType::F32)?;
        let bias = self.take(parts * channels, DType::F32)?;
        match plan {
            Some(plan) => self.sum_tiles(plan, parts, operands, [&sums, &bias], &taps)?,
            None => self.sum_directly(start(sizes), parts, operands, [&sums, &bias], &taps)?,
        }
        let dw = self.fold_parts(&sums, channels * per_channel, parts * splits, dtype)?;
        Ok((dw, self.fold_parts(&bias, channels, parts, dtype)?))
    }

    fn sum_tiles(
        &self,
        plan: &Plan,
        parts: usize,
        Operands { x, norm, dy }: Operands<'_>,
        [sums, bias]: [&Block; 2],
        taps: &[Tap],
    ) -> Result<()> {
        let mut numbers = Numbers { parts: parts as i32, ..plan.numbers };
        let factors = norm.map(|norm| self.factors(x.dtype, norm.moments, norm.affine, &norm.sizes)).transpose()?;
        if let Some(norm) = norm {
            numbers.first = norm.activation.into();
            numbers.factor_plane = (norm.sizes.batch * norm.sizes.channels) as i64;
        }
        let launch = self.kernel("conv_weight", &plan.name(), x.dtype);
        let launch = launch.threads(plan.threads()).shared(plan.shared_bytes);
        let launch = launch.grid(parts, plan.blocks() / numbers.groups as usize, numbers.groups as usize);
        let launch = launch.input(x).input(dy).perhaps(factors.as_ref().map(|factors| &factors.forward));
        let launch = launch.output(sums).output(bias).output(&*self.constant(&plan.groups)?);
        launch.output(&*self.constant(taps)?).value(numbers).run()
    }

    fn sum_directly(
        &self,
        numbers: Numbers,
        parts: usize,
        Operands { x, dy, .. }: Operands<'_>,
        [sums, bias]: [&Block; 2],
        taps: &[Tap],
    ) -> Result<()> {
        let numbers = Numbers { parts: parts as i32, ..numbers };
        let elements =
            (numbers.from_channels as usize * taps.len() + 1) * (numbers.to_channels * numbers.groups) as usize;
        let launch = self.kernel("conv_weight", "conv_weight_direct", x.dtype).grid(elements.div_ceil(256), parts, 1);
        let launch = launch.input(x).input(dy).output(sums).output(bias);
        launch.output(&*self.constant(taps)?).value(numbers).run()
    }

    /// The sums of all parts, rounded once.
    fn fold_parts(&self, parts: &Block, len: usize, count: usize, dtype: DType) -> Result<Buffer> {
        let y = self.take(len, dtype)?;
        let launch = self.kernel("conv_weight", "conv_weight_fold", dtype).grid(len.div_ceil(32).min(1 << 16), 1, 1);
        launch.output(parts).output(&y).value(len as i64).value(count as i32).run()?;
        Ok(Buffer::Cuda(y))
    }
}

impl Numbers {
    /// Output and input channels of a block, whether numbers are copied or worked on as they are read.
    fn tile_channels(&self, worked: bool) -> [usize; 2] {
        match (self.to_channels, self.from_channels) {
            (..=16, ..=16) => [16, 16],
            (..=16, _) => [16, 32],
            _ if worked => [32, 32],
            (_, ..=16) => [64, 16],
            (..=32, _) => [32, 32],
            _ => [64, 32],
        }
    }

    /// `Reading` of an operand of so many channels in all, of which a block sees some.
    fn reading(&self, x: Slice<'_>, load: Load, dtype: DType, (all, tile): (i32, usize)) -> i32 {
        let ([step, _], all) = (load.step_and_parts(dtype), all as usize);
        match aligned(&[x]) {
            true if all.is_multiple_of(step) => WIDE,
            true if load == Load::Copied && self.groups == 1 && all <= tile => DENSE,
            _ => ALONE,
        }
    }
}

impl Plan {
    /// `None` where runs of channels are too few, or not even the smallest tile's pixels fit into shared memory.
    pub(super) fn new(operands: Operands<'_>, sizes: &ConvSizes, most_shared: usize) -> Option<Self> {
        let (mut numbers, taps, dtype) = (start(sizes), taps(sizes), operands.x.dtype);
        if sizes.how.groups > 1 && numbers.from_channels.min(numbers.to_channels) < FEW as i32 {
            return None;
        }
        let most_shared = most_shared.min(MOST_SHARED);
        let (kernel_columns, loads) = (sizes.kernel[1], operands.loads());
        let per_group = if kernel_columns <= TAPS { TAPS / kernel_columns * kernel_columns } else { TAPS };
        let (groups, reach) = tap_groups(&taps, per_group);
        let most_taps = taps.len().min(per_group);
        (numbers.tap_groups, numbers.splits) = (groups.len() as i32, (WARPS / most_taps).max(1) as i32);
        let channels = numbers.tile_channels(loads != [Load::Copied; 2]);
        numbers.reading = [
            numbers.reading(operands.x, loads[0], dtype, (numbers.from_channels, channels[1])),
            numbers.reading(operands.dy, loads[1], dtype, (numbers.to_channels, channels[0])),
        ];
        let bytes = |channels: usize, load: Load| {
            let [_, parts] = load.step_and_parts(dtype);
            parts * (channels * dtype.bytes() + PITCH_PAD)
        };
        let pixel_bytes = [bytes(channels[0], loads[1]), bytes(channels[1], loads[0])];
        [128usize, 64, 32, 16].into_iter().find_map(|pixels| {
            let shift = pixels.ilog2().div_ceil(2);
            let tile = [(pixels >> shift) as i32, 1 << shift];
            numbers.window = [0, 1].map(|axis| (tile[axis] - 1) * numbers.step[axis] + reach[axis] + 1);
            numbers.tiles = [0, 1].map(|axis| (numbers.to_size[axis] + tile[axis] - 1) / tile[axis]);
            (numbers.pixels, numbers.tile_shift) = (pixels as i32, shift as i32);
            let window = numbers.window[0] as usize * numbers.window[1] as usize;
            let stage = pixels * pixel_bytes[0] + window * pixel_bytes[1];
            numbers.stages = if 2 * stage <= most_shared { 2 } else { 1 };
            let shared_bytes = (numbers.stages as usize * stage).max(4 * 32 * TAPS);
            let groups = groups.clone();
            (shared_bytes <= most_shared).then_some(Plan { numbers, groups, channels, loads, shared_bytes })
        })
    }

    fn name(&self) -> String {
        let ([to, from], [x, dy]) = (self.channels, self.loads.map(Load::suffix));
        format!("conv_weight_{to}_{from}{x}{dy}")
    }

    fn tiles(&self) -> usize {
        let Numbers { batch, tiles, .. } = self.numbers;
        batch as usize * tiles[0] as usize * tiles[1] as usize
    }

    /// Blocks of one part.
    fn blocks(&self) -> usize {
        let [to, from] = self.channels;
        let Numbers { to_channels, from_channels, groups, tap_groups, .. } = self.numbers;
        (to_channels as usize).div_ceil(to) * (from_channels as usize).div_ceil(from) * (groups * tap_groups) as usize
    }

    fn threads(&self) -> usize {
        let most = self.groups.iter().map(|group| group.taps).max().unwrap_or(1);
        32 * (most * self.numbers.splits) as usize
    }
}

/// Elements of the kernel in runs of so many, and how far apart those of any run lie.
fn tap_groups(taps: &[Tap], per_group: usize) -> (Vec<TapGroup>, [i32; 2]) {
    let (mut groups, mut reach) = (Vec::new(), [0; 2]);
    for (index, own) in taps.chunks(per_group).enumerate() {
        let least = [0, 1].map(|axis| own.iter().map(|tap| tap.at[axis]).min().unwrap_or(0));
        let most = [0, 1].map(|axis| own.iter().map(|tap| tap.at[axis]).max().unwrap_or(0));
        reach = [0, 1].map(|axis| (most[axis] - least[axis]).max(reach[axis]));
        groups.push(TapGroup { first: (index * per_group) as i32, taps: own.len() as i32, window: least });
    }
    (groups, reach)
}

/// Where the elements of the kernel lie, seen from the first pixel of the input.
fn taps(sizes: &ConvSizes) -> Vec<Tap> {
    let [rows, columns] = sizes.kernel;
    let at = |place: usize, axis: usize| (place * sizes.how.dilation[axis]) as i32 - sizes.how.padding[axis] as i32;
    let tap =
        |place: usize| Tap { at: [at(place / columns, 0), at(place % columns, 1)], place: place as i32, padding: 0 };
    (0..rows * columns).map(tap).collect()
}

fn start(sizes: &ConvSizes) -> Numbers {
    let groups = sizes.how.groups;
    let [from, to] = [sizes.channels_in, sizes.channels_out].map(|channels| channels / groups);
    Numbers {
        batch: sizes.batch as i32,
        groups: groups as i32,
        from_channels: from as i32,
        to_channels: to as i32,
        from_size: pair(sizes.size_in),
        to_size: pair(sizes.size_out),
        step: pair(sizes.how.stride),
        taps: (sizes.kernel[0] * sizes.kernel[1]) as i32,
        ..Numbers::zeroed()
    }
}
