//! How a convolution, or its data gradient, is cut into phases, tiles and buffers.

use bytemuck::{Pod, Zeroable};

use crate::tensor::DType;
use crate::tensor::cuda::elementwise::Function;
use crate::tensor::cuda::wgmma::{self, Wgmma};
use crate::tensor::ops::conv::ConvSizes;

/// Bytes that keep rows of shared memory in different banks, and of the summed index that a buffer holds.
const PITCH_PAD: usize = 16;
const CHUNK_BYTES: usize = 64;
/// Numbers that kernels sum in one step.
const DEPTH: usize = 16;
/// The most shared memory of a block that keeps windows, where a device has as much: two blocks share a processor of
/// 228 KiB.
const MOST_SHARED: usize = 100 << 10;
/// Channels of the input up to which a tile's pixels are kept for all elements of the kernel.
const NARROW: usize = 96;
/// Runs of fewer channels are worked out without tiles.
const FEW: usize = 8;
/// Pixels and channels of a block that works without tiles.
const DIRECT_PIXELS: usize = 64;
pub(super) const DIRECT_CHANNELS: usize = 32;

/// How kernels read channels (`Reading` of `kernels/tiles.cuh`): one by one, 16 bytes at once, or whole rows of pixels.
pub(super) const ALONE: i32 = 0;
pub(super) const WIDE: i32 = 1;
pub(super) const DENSE: i32 = 2;

/// `ConvSizes` of `kernels/conv.cuh`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Numbers {
    pub(super) batch: i32,
    pub(super) groups: i32,
    pub(super) from_channels: i32,
    pub(super) to_channels: i32,
    pub(super) from_size: [i32; 2],
    pub(super) to_size: [i32; 2],
    pub(super) from_step: [i32; 2],
    pub(super) to_step: [i32; 2],
    pub(super) phases: i32,
    /// Down, then across.
    pub(super) tiles: [i32; 2],
    pub(super) tile_shift: i32,
    pub(super) window: [i32; 2],
    pub(super) chunk: i32,
    pub(super) tap_len: i32,
    pub(super) packed: [i32; 2],
    pub(super) stages: i32,
    pub(super) left_bytes: i32,
    pub(super) stage_bytes: i32,
    pub(super) table_bytes: i32,
    /// `Reading` of `kernels/tiles.cuh`.
    pub(super) from_reading: i32,
    pub(super) wide: i32,
    pub(super) function: Function,
    /// What is done to x behind its normalisation.
    pub(super) first: Function,
    pub(super) first_image: i32,
    padding: i32,
    pub(super) factor_plane: i64,
    pub(super) w_to: i64,
    pub(super) w_from: i64,
    pub(super) w_group: i64,
}

/// `Phase` of `kernels/conv.cuh`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Phase {
    /// The first output pixel.
    pub(super) to: [i32; 2],
    /// Output pixels of the phase, down and across.
    pub(super) size: [i32; 2],
    pub(super) first_tap: i32,
    pub(super) taps: i32,
    pub(super) first_packed: i32,
    /// The first pixel of the input that the first output sees.
    pub(super) window: [i32; 2],
    pub(super) padding: i32,
}

/// `Tap` of `kernels/conv.cuh`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Tap {
    pub(super) at: [i32; 2],
    pub(super) place: i32,
    pub(super) padding: i32,
}

/// Which kernel works a convolution out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Tiles of so many pixels by so many channels.
    Tiles(usize, usize),
    /// Tiles for `wgmma`, of so many channels.
    Wide(usize),
    /// Straight from memory.
    Direct,
}

/// A convolution that is ready to be launched.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) numbers: Numbers,
    pub(super) phases: Vec<Phase>,
    pub(super) taps: Vec<Tap>,
    pub(super) way: Way,
    pub(super) load: Load,
    pub(super) shared_bytes: usize,
}

/// How x goes to shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// As it is.
    Copied,
    /// Normalised on the way.
    Normed,
    /// From f32, as two bf16 each, for weights in bf16.
    Split,
}

impl Load {
    /// What names of kernels end in.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Load::Copied => "",
            Load::Normed => "_normed",
            Load::Split => "_split",
        }
    }

    /// Numbers of a type that are read at once, and how many of its kind a number is held as.
    pub(super) fn step_and_parts(self, dtype: DType) -> [usize; 2] {
        match (self, dtype) {
            (Load::Copied, _) => [16 / dtype.bytes(), 1],
            (_, DType::Bf16) => [4, 2],
            _ => [4, 1],
        }
    }
}

/// What a plan depends on beside the sizes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setting {
    /// Of the weights.
    pub(super) dtype: DType,
    pub(super) load: Load,
    pub(super) processors: usize,
    /// The most shared memory that the device gives a block, in bytes.
    pub(super) shared_bytes: usize,
    /// Whether sums of each image are taken, so that no tile may span two.
    pub(super) per_image: bool,
    /// Whether x, and all that is as long as the output, begin at multiples of 16 bytes.
    pub(super) aligned: [bool; 2],
    /// Where kernels on `wgmma` may be used, and the one number of channels of their tiles, where only one may.
    pub(super) wgmma: Wgmma,
    pub(super) wide_channels: Option<usize>,
}

impl Plan {
    /// Of a convolution.
    pub(super) fn forward(sizes: &ConvSizes, setting: Setting) -> Self {
        let how = &sizes.how;
        let place = |at: usize, axis: usize| (at * how.dilation[axis]) as i32 - how.padding[axis] as i32;
        let taps: Vec<Tap> = kernel(sizes).map(|(a, b, place_in)| tap([place(a, 0), place(b, 1)], place_in)).collect();
        let phase = Phase { taps: taps.len() as i32, size: pair(sizes.size_out), ..Phase::zeroed() };
        let [from, to] = [sizes.channels_in, sizes.channels_out].map(|channels| channels / how.groups);
        let (area, rows_of) = (sizes.kernel[0] * sizes.kernel[1], to);
        let numbers = Numbers {
            from_size: pair(sizes.size_in),
            to_size: pair(sizes.size_out),
            from_step: pair(how.stride),
            to_step: [1; 2],
            w_to: (from * area) as i64,
            w_from: area as i64,
            ..start(sizes, from, to, rows_of * from * area)
        };
        Plan::finished(numbers, vec![phase], taps, setting)
    }

    /// Of a convolution's data gradient: for each remainder of the stride, the elements of the kernel that meet it.
    pub(super) fn backward(sizes: &ConvSizes, setting: Setting) -> Self {
        let how = &sizes.how;
        let (mut phases, mut taps) = (Vec::new(), Vec::new());
        for first in (0..how.stride[0]).flat_map(|a| (0..how.stride[1]).map(move |b| [a, b])) {
            let left = [0, 1].map(|axis| sizes.size_in[axis].saturating_sub(first[axis]).div_ceil(how.stride[axis]));
            let met = |at: usize, axis: usize| {
                let ahead = (first[axis] + how.padding[axis]) as i32 - (at * how.dilation[axis]) as i32;
                let stride = how.stride[axis] as i32;
                (ahead % stride == 0).then_some(ahead / stride)
            };
            let own: Vec<Tap> =
                kernel(sizes).filter_map(|(a, b, place)| Some(tap([met(a, 0)?, met(b, 1)?], place))).collect();
            let (first_tap, count) = (taps.len() as i32, own.len() as i32);
            phases.push(Phase { to: pair(first), size: pair(left), first_tap, taps: count, ..Phase::zeroed() });
            taps.extend(own);
        }
        let [to, from] = [sizes.channels_in, sizes.channels_out].map(|channels| channels / how.groups);
        let area = sizes.kernel[0] * sizes.kernel[1];
        let numbers = Numbers {
            from_size: pair(sizes.size_out),
            to_size: pair(sizes.size_in),
            from_step: [1; 2],
            to_step: pair(how.stride),
            w_to: area as i64,
            w_from: (to * area) as i64,
            ..start(sizes, from, to, from * to * area)
        };
        Plan::finished(numbers, phases, taps, setting)
    }

    fn finished(numbers: Numbers, phases: Vec<Phase>, taps: Vec<Tap>, setting: Setting) -> Self {
        let mut plan = Plan { numbers, phases, taps, way: Way::Direct, load: setting.load, shared_bytes: 0 };
        plan.flatten(setting);
        plan.find_windows();
        let numbers = &mut plan.numbers;
        numbers.phases = plan.phases.len() as i32;
        let [per_load, _] = setting.load.step_and_parts(setting.dtype).map(|number| number as i32);
        numbers.from_reading = if setting.aligned[0] && numbers.from_channels % per_load == 0 { WIDE } else { ALONE };
        numbers.wide = (setting.aligned[1] && numbers.to_channels % 4 == 0).into();
        let few = numbers.from_channels.min(numbers.to_channels) < FEW as i32;
        if numbers.groups > 1 && few {
            numbers.wide = (setting.aligned[1] && numbers.groups * numbers.to_channels % 4 == 0).into();
            plan.cut(DIRECT_PIXELS);
            return plan;
        }
        plan.choose(setting);
        plan
    }

    /// One element of the kernel that meets its own pixel alone: all pixels are one row, of all images where they may be.
    fn flatten(&mut self, setting: Setting) {
        let numbers = &mut self.numbers;
        let plain = matches!(&self.taps[..], [Tap { at: [0, 0], .. }]) && self.phases.len() == 1;
        if !plain || numbers.from_step != [1; 2] || numbers.to_step != [1; 2] || numbers.from_size != numbers.to_size {
            return;
        }
        let images = if setting.per_image { 1 } else { i64::from(numbers.batch) };
        let pixels = images * i64::from(numbers.to_size[0]) * i64::from(numbers.to_size[1]);
        if let Ok(pixels) = i32::try_from(pixels)
            && pixels < i32::MAX / 2
        {
            numbers.batch = if setting.per_image { numbers.batch } else { 1 };
            (numbers.from_size, numbers.to_size) = ([1, pixels], [1, pixels]);
            self.phases[0].size = [1, pixels];
        }
    }

    fn find_windows(&mut self) {
        for phase in &mut self.phases {
            let own = &self.taps[phase.first_tap as usize..(phase.first_tap + phase.taps) as usize];
            phase.window = [0, 1].map(|axis| own.iter().map(|tap| tap.at[axis]).min().unwrap_or(0));
        }
    }

    /// Cuts the output into tiles of so many pixels.
    fn cut(&mut self, pixels: usize) {
        let largest = [0, 1].map(|axis| self.phases.iter().map(|phase| phase.size[axis]).max().unwrap_or(0));
        let square = pixels.ilog2().div_ceil(2);
        let shift = if largest[0] == 1 { pixels.ilog2() } else { square };
        let tile = [(pixels as i32) >> shift, 1 << shift];
        self.numbers.tile_shift = shift as i32;
        self.numbers.tiles = [0, 1].map(|axis| (largest[axis] + tile[axis] - 1) / tile[axis]);
    }

    /// Tiles of an image or of what else is cut at once.
    pub(super) fn tiles(&self) -> usize {
        self.numbers.tiles[0] as usize * self.numbers.tiles[1] as usize
    }

    /// Blocks of a launch whose tiles have `across` parts of the channels.
    fn blocks(&self, across: usize) -> usize {
        let numbers = &self.numbers;
        self.tiles() * across * numbers.groups as usize * numbers.batch as usize * self.phases.len()
    }

    fn choose(&mut self, setting: Setting) {
        if let Some(channels) = self.wide(setting) {
            return self.lay_out_wide(channels);
        }
        let to = self.numbers.to_channels as usize;
        let sizes: &[(usize, usize)] = match to {
            0..=16 => &[(256, 16)],
            17..=32 => &[(256, 32)],
            _ if setting.dtype == DType::F32 || setting.load != Load::Copied => &[(128, 64), (64, 64)],
            33..=64 => &[(256, 64), (64, 64)],
            _ => &[(128, 128), (64, 64)],
        };
        for (index, (pixels, channels)) in sizes.iter().copied().enumerate() {
            self.cut(pixels);
            self.way = Way::Tiles(pixels, channels);
            if self.blocks(to.div_ceil(channels)) >= setting.processors || index + 1 == sizes.len() {
                self.lay_out(pixels, channels, setting);
                if self.shared_bytes <= setting.shared_bytes {
                    return;
                }
            }
        }
    }

    /// Channels of the tiles for `wgmma`, where those kernels are to be used: where pixels would be gathered by the others
    /// too, and they pay.
    fn wide(&mut self, setting: Setting) -> Option<usize> {
        let copied = setting.dtype == DType::Bf16 && setting.load == Load::Copied;
        if setting.wgmma == Wgmma::Never || !copied || self.numbers.from_reading != WIDE {
            return None;
        }
        self.cut(wgmma::ROWS);
        let (to, from) = (self.numbers.to_channels as usize, self.numbers.from_channels as usize);
        let (taps, processors) = (self.most_taps(), setting.processors);
        let blocks = |channels: usize| self.blocks(to.div_ceil(channels));
        let best = wgmma::COLUMNS.into_iter().min_by_key(|n| wgmma::time(blocks(*n), *n, 1, processors));
        let channels = setting.wide_channels.or(best)?;
        let rows = self.numbers.to_size[0] as usize * self.numbers.to_size[1] as usize * self.numbers.batch as usize;
        let gathered = taps == 1 || from > NARROW;
        let pays = gathered && wgmma::pays([rows, to, taps * from], blocks(channels), processors);
        (setting.wgmma == Wgmma::Wherever || pays).then_some(channels)
    }

    fn most_taps(&self) -> usize {
        self.phases.iter().map(|phase| phase.taps as usize).max().unwrap_or(0)
    }

    /// Of the numbers that lay a tile out, the kernels on `wgmma` need those of the packed weights alone.
    fn lay_out_wide(&mut self, channels: usize) {
        self.way = Way::Wide(channels);
        self.shared_bytes = wgmma::shared_bytes(channels);
        (self.numbers.chunk, self.numbers.tap_len) = (wgmma::PIECE as i32, self.numbers.from_channels);
        self.pack(channels);
    }

    /// Buffers for tiles of a size: a window of pixels where layers are narrow, gathered pieces elsewhere.
    fn lay_out(&mut self, pixels: usize, channels: usize, setting: Setting) {
        let (from, element) = (self.numbers.from_channels as usize, setting.dtype.bytes());
        let most_taps = self.most_taps();
        let tile = [pixels >> self.numbers.tile_shift, 1 << self.numbers.tile_shift];
        let span = |axis: usize| {
            let own = |phase: &Phase| {
                let taps = &self.taps[phase.first_tap as usize..(phase.first_tap + phase.taps) as usize];
                taps.iter().map(|tap| tap.at[axis] - phase.window[axis]).max().unwrap_or(0)
            };
            let reach = self.phases.iter().map(own).max().unwrap_or(0) as usize;
            (tile[axis] - 1) * self.numbers.from_step[axis] as usize + reach + 1
        };
        let window = [span(0), span(1)];
        let chunk = (CHUNK_BYTES / element).min(from.next_multiple_of(DEPTH));
        let (pitch, right_pitch) = (chunk * element + PITCH_PAD, channels * element + PITCH_PAD);
        // A normalisation has four factors a channel.
        let factors = if setting.load == Load::Normed { (4 * size_of::<f32>() * from).next_multiple_of(16) } else { 0 };
        let table = (4 * most_taps).next_multiple_of(16) + factors;
        let [_, parts] = setting.load.step_and_parts(setting.dtype);
        let (left, right) = (parts * window[0] * window[1] * pitch, most_taps * chunk * right_pitch);
        // What is worked out on the way is not to be worked out again for each element of the kernel.
        let narrow = from <= NARROW || setting.load != Load::Copied;
        let most = MOST_SHARED.min(setting.shared_bytes);
        let windowed = most_taps > 1 && from >= FEW && narrow && table + left + right <= most;
        // The sums, and then the moments of four channels of each of 256 threads.
        let staging = (pixels * (channels + 4)).max(4 * 256 * 3) * size_of::<f32>();
        let numbers = &mut self.numbers;
        if windowed {
            let passes = from.div_ceil(chunk);
            let copied = setting.load == Load::Copied;
            if copied && numbers.from_reading == ALONE && setting.aligned[0] && numbers.groups == 1 && passes == 1 {
                numbers.from_reading = DENSE;
            }
            let stages = if passes > 1 && table + 2 * (left + right) <= most { 2 } else { 1 };
            (numbers.window, numbers.chunk) = (pair(window), chunk as i32);
            (numbers.tap_len, numbers.stages) = (from.next_multiple_of(DEPTH) as i32, stages);
            (numbers.left_bytes, numbers.stage_bytes) = (left as i32, (left + right) as i32);
            numbers.table_bytes = table as i32;
        } else {
            let (left, right) = (parts * pixels * pitch, chunk * right_pitch);
            // Fewer pieces lie ready where a block has little memory.
            let stages = [3, 2].into_iter().find(|stages| factors + stages * (left + right) <= setting.shared_bytes);
            (numbers.window, numbers.chunk, numbers.stages) = ([0; 2], chunk as i32, stages.unwrap_or(1) as i32);
            (numbers.tap_len, numbers.table_bytes) = (from as i32, factors as i32);
            (numbers.left_bytes, numbers.stage_bytes) = (left as i32, (left + right) as i32);
        }
        let used = numbers.table_bytes + numbers.stages * numbers.stage_bytes;
        self.shared_bytes = staging.max(used as usize);
        self.pack(channels);
    }

    /// Where each phase's weights lie.
    fn pack(&mut self, channels: usize) {
        let numbers = &mut self.numbers;
        let mut row = 0;
        for phase in &mut self.phases {
            phase.first_packed = row;
            let len = phase.taps * numbers.tap_len;
            row += (len + numbers.chunk - 1) / numbers.chunk * numbers.chunk;
        }
        numbers.packed = [row, (numbers.to_channels as usize).next_multiple_of(channels) as i32];
    }
}

/// The elements of a kernel: row, column and place.
fn kernel(sizes: &ConvSizes) -> impl Iterator<Item = (usize, usize, usize)> {
    let [rows, columns] = sizes.kernel;
    (0..rows * columns).map(move |place| (place / columns, place % columns, place))
}

fn tap(at: [i32; 2], place: usize) -> Tap {
    Tap { at, place: place as i32, padding: 0 }
}

pub(super) fn pair(sizes: [usize; 2]) -> [i32; 2] {
    sizes.map(|size| size as i32)
}

fn start(sizes: &ConvSizes, from: usize, to: usize, w_group: usize) -> Numbers {
    Numbers {
        batch: sizes.batch as i32,
        groups: sizes.how.groups as i32,
        from_channels: from as i32,
        to_channels: to as i32,
        w_group: w_group as i64,
        ..Numbers::zeroed()
    }
}
