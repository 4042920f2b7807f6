//! Launches of `kernels/conv.cu` and `kernels/conv_weight.cu`.

mod plan;
mod weight;

use crate::tensor::ops::conv::{Conv, ConvEpilogue, ConvSizes, Convolved};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;
use super::elementwise::aligned;
use super::reuse::Block;
use plan::{DIRECT_CHANNELS, Plan, Setting, Way};

/// The most blocks along z.
const MOST_IMAGES: usize = 65535;

impl Conv for Cuda {
    fn conv2d(&self, x: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, epilogue: &ConvEpilogue<'_>) -> Result<Convolved> {
        self.convolve(x, w, &Plan::forward(sizes, self.setting(x, epilogue)), epilogue)
    }

    fn conv2d_data(&self, dy: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, bias: Option<Slice<'_>>) -> Result<Buffer> {
        let epilogue = ConvEpilogue { bias, ..ConvEpilogue::default() };
        Ok(self.convolve(dy, w, &Plan::backward(sizes, self.setting(dy, &epilogue)), &epilogue)?.y)
    }

    fn conv2d_weight(&self, x: Slice<'_>, dy: Slice<'_>, sizes: &ConvSizes) -> Result<(Buffer, Buffer)> {
        self.sum_weights(x, dy, sizes)
    }
}

impl Cuda {
    fn setting(&self, x: Slice<'_>, epilogue: &ConvEpilogue<'_>) -> Setting {
        Setting {
            dtype: x.dtype,
            processors: self.machine().multiprocessors() as usize,
            per_image: epilogue.statistics.is_some(),
            aligned: [aligned(&[x]), epilogue.residual.is_none_or(|residual| aligned(&[residual]))],
        }
    }

    fn convolve(&self, x: Slice<'_>, w: Slice<'_>, plan: &Plan, epilogue: &ConvEpilogue<'_>) -> Result<Convolved> {
        let mut numbers = plan.numbers;
        numbers.function = epilogue.activation.into();
        let channels = (numbers.to_channels * numbers.groups) as usize;
        let len = numbers.batch as usize * numbers.to_size[0] as usize * numbers.to_size[1] as usize * channels;
        let y = self.take(len, x.dtype)?;
        let before = epilogue.keep.then(|| self.take(len, x.dtype)).transpose()?;
        let tiles = plan.tiles();
        let sums = epilogue.statistics.map(|_| self.take(numbers.batch as usize * tiles * channels * 2, DType::F32));
        let sums = sums.transpose()?;
        let (phases, taps) = (self.constant(&plan.phases)?, self.constant(&plan.taps)?);
        let images = numbers.batch as usize * plan.phases.len();
        let packed = match plan.way {
            Way::Tiles(..) => Some(self.pack(w, plan, &phases, &taps)?),
            Way::Direct => None,
        };
        let (name, across, groups) = match plan.way {
            Way::Tiles(pixels, width) => {
                let across = numbers.packed[1] as usize / width;
                (format!("conv_tile_{pixels}_{width}"), across, numbers.groups as usize)
            }
            Way::Direct => ("conv_direct".to_owned(), channels.div_ceil(DIRECT_CHANNELS), 1),
        };
        for first in (0..images).step_by(MOST_IMAGES) {
            numbers.first_image = first as i32;
            let launch = self.kernel("conv", &name, x.dtype).shared(plan.shared_bytes);
            let launch = launch.grid(tiles * across, groups, (images - first).min(MOST_IMAGES)).input(x);
            let launch = match &packed {
                Some(packed) => launch.output(packed),
                None => launch.input(w),
            };
            let launch = launch.maybe(epilogue.bias).maybe(epilogue.residual).output(&y);
            let launch = launch.perhaps(before.as_ref()).perhaps(sums.as_ref());
            launch.output(&phases).output(&taps).value(numbers).run()?;
        }
        let statistics = sums.zip(epilogue.statistics);
        let statistics = statistics.map(|(sums, groups)| self.fold_statistics(&sums, plan, groups)).transpose()?;
        Ok(Convolved { y: Buffer::Cuda(y), before: before.map(Buffer::Cuda), statistics })
    }

    /// The weights in the order of their use.
    fn pack(&self, w: Slice<'_>, plan: &Plan, phases: &Block, taps: &Block) -> Result<Block> {
        let numbers = plan.numbers;
        let len = numbers.groups as usize * numbers.packed[0] as usize * numbers.packed[1] as usize;
        let packed = self.take(len, w.dtype)?;
        let launch = self.kernel("conv", "conv_pack", w.dtype).over(len).input(w).output(&packed);
        launch.output(phases).output(taps).value(numbers).run()?;
        Ok(packed)
    }

    /// Each image's and group's sums of all tiles.
    fn fold_statistics(&self, sums: &Block, plan: &Plan, groups: usize) -> Result<Buffer> {
        let numbers = plan.numbers;
        let channels = numbers.to_channels * numbers.groups;
        let statistics = self.take(numbers.batch as usize * groups * 2, DType::F32)?;
        let tiles = plan.tiles() as i64;
        let launch = self.kernel_named("conv", "conv_statistics").grid(groups, numbers.batch as usize, 1);
        let launch = launch.output(sums).output(&statistics).value(tiles).value(channels);
        launch.value(channels / groups as i32).run()?;
        Ok(Buffer::Cuda(statistics))
    }
}
