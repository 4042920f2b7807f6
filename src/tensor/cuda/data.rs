//! Launches of `kernels/data.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::data::{Channels, Coding, Data, Quality, Regridded, StoredWindows};
use crate::tensor::{Buffer, DType, HostMemory, Result, Slice};
use crate::transforms::lightning::Bins;

use super::Cuda;
use super::launch::blocks;

/// Points along a side of the tiles that frames are turned by.
const TILE: usize = 64;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ScoreSizes {
    len: u64,
    channels: u64,
    inner: u64,
    inverse: i32,
    padding: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct QualitySizes {
    len: u64,
    low: f32,
    high: f32,
    replacement: f32,
    sentinels: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct DecodeSizes {
    frames: u64,
    of_window: u64,
    size: u64,
    factor: f32,
    offset: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RegridSizes {
    outer: u64,
    inputs: u64,
    outputs: u64,
    inner: u64,
    least: f32,
    lenient: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct BinSizes {
    points: u64,
    origin: [f64; 3],
    step: [f64; 3],
    count: [u64; 3],
}

impl Data for Cuda {
    fn standardise(
        &self,
        x: Slice<'_>,
        mean: Slice<'_>,
        deviation: Slice<'_>,
        sizes: Channels,
        inverse: bool,
    ) -> Result<Buffer> {
        let y = self.take(x.len, x.dtype)?;
        let (mut wide_mean, mut wide_deviation) = (None, None);
        let (mean, deviation) = (self.widened(mean, &mut wide_mean)?, self.widened(deviation, &mut wide_deviation)?);
        let [len, channels, inner] = [x.len, sizes.channels, sizes.inner].map(|size| size as u64);
        let sizes = ScoreSizes { len, channels, inner, inverse: inverse.into(), padding: 0 };
        let launch = self.kernel("data", "standardise", x.dtype).over(x.len);
        launch.input(x).input(mean).input(deviation).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn quality(&self, x: Slice<'_>, quality: Quality<'_>) -> Result<(Buffer, Buffer)> {
        let (y, mask) = (self.take(x.len, x.dtype)?, self.take(x.len, DType::F32)?);
        let sentinels = self.constant(quality.sentinels)?;
        let sizes = QualitySizes {
            len: x.len as u64,
            low: quality.low,
            high: quality.high,
            replacement: quality.replacement,
            sentinels: quality.sentinels.len() as i32,
        };
        let launch = self.kernel("data", "quality", x.dtype).over(x.len);
        launch.input(x).output(&sentinels).output(&y).output(&mask).value(sizes).run()?;
        Ok((Buffer::Cuda(y), Buffer::Cuda(mask)))
    }

    fn decode(&self, windows: &StoredWindows<'_>) -> Result<(Buffer, Buffer)> {
        let StoredWindows { memory, turns, frames: of_window, size, coding } = *windows;
        let (frames, across) = (turns.len() * of_window, size.div_ceil(TILE));
        let words: Vec<u32> = turns.iter().map(|turn| turn.word()).collect();
        let (stored, words) = (self.fetched(memory, memory.len())?, self.sent(bytemuck::cast_slice(&words))?);
        let len = frames * size * size;
        let (y, mask) = (self.take(len, DType::F32)?, self.take(len, DType::F32)?);
        let (name, table, [factor, offset]) = match coding {
            Coding::U8(table) => ("decode_u8", Some(self.constant(&table[..])?), [0.0; 2]),
            Coding::I16 { factor, offset } => ("decode_i16", None, [*factor, *offset]),
        };
        let [count, of_window, size] = [frames, of_window, size].map(|size| size as u64);
        let sizes = DecodeSizes { frames: count, of_window, size, factor, offset };
        let launch = self.kernel_named("data", name).grid(blocks(frames * across * across), 1, 1);
        let launch = launch.output(&stored).output(&words);
        let launch = table.iter().fold(launch, |launch, table| launch.output(table));
        launch.output(&y).output(&mask).value(sizes).run()?;
        Ok((Buffer::Cuda(y), Buffer::Cuda(mask)))
    }

    fn regrid(&self, x: Slice<'_>, [offsets, sources, weights]: [Slice<'_>; 3], sizes: Regridded) -> Result<Buffer> {
        let len = sizes.outer * sizes.outputs * sizes.inner;
        let y = self.take(len, x.dtype)?;
        let [outer, inputs, outputs, inner] =
            [sizes.outer, sizes.inputs, sizes.outputs, sizes.inner].map(|size| size as u64);
        let (least, lenient) = (sizes.least_valid.unwrap_or(0.0), sizes.least_valid.is_some().into());
        let sizes = RegridSizes { outer, inputs, outputs, inner, least, lenient };
        let launch = self.kernel("data", "regrid", x.dtype).over(len).input(x);
        launch.input(offsets).input(sources).input(weights).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn bin(&self, points: &HostMemory, many: usize, bins: &Bins) -> Result<Buffer> {
        let (len, places) = (bins.count.iter().product(), self.fetched(points, many * size_of::<[f64; 3]>())?);
        let (counts, y) = (self.zeros(len, DType::I32)?, self.take(len, DType::F32)?);
        let Bins { origin, step, count } = *bins;
        let sizes = BinSizes { points: many as u64, origin, step, count: count.map(|count| count as u64) };
        self.kernel_named("data", "bin").over(many).output(&places).output(&counts).value(sizes).run()?;
        let launch = self.kernel_named("data", "counts_to_f32").over(len);
        launch.output(&counts).output(&y).value(len as u64).run()?;
        Ok(Buffer::Cuda(y))
    }
}
