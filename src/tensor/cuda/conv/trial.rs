//! Convolutions by `wgmma` beside the same by `mma.sync`, small, forward and backward.

use crate::tensor::cuda::Cuda;
use crate::tensor::cuda::wgmma::{COLUMNS, Tried, Wgmma};
use crate::tensor::ops::conv::{Conv2d, ConvEpilogue, ConvSizes};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::plan::{Load, Plan, Setting};

/// 3 × 3 with a stride: more than one tile of pixels, none of them full, and sums of more pieces than there are buffers.
const SIZES: ConvSizes = ConvSizes {
    batch: 1,
    channels_in: 72,
    channels_out: 136,
    size_in: [19, 33],
    size_out: [10, 17],
    kernel: [3, 3],
    how: Conv2d { stride: [2; 2], padding: [1; 2], dilation: [1; 2], groups: 1 },
};

type Make = fn(&ConvSizes, Setting) -> Plan;

impl Cuda {
    /// A convolution and its data gradient, by each of the kernels.
    pub(super) fn tried_convolutions(&self) -> Result<Tried> {
        let [x, w, dy] = [SIZES.shape_in().len(), SIZES.shape_weight().len(), SIZES.shape_out().len()];
        let lens = [x, w, dy];
        let operands = [self.whole_numbers(x, 1)?, self.whole_numbers(w, 2)?, self.whole_numbers(dy, 3)?];
        let all = |wgmma: Wgmma| -> Result<Vec<f32>> {
            let mut values = Vec::new();
            for channels in COLUMNS {
                for (make, from, to) in [(Plan::forward as Make, 0, 2), (Plan::backward as Make, 2, 0)] {
                    let [x, w] = [from, 1].map(|number| slice(&operands[number], lens[number]));
                    values.extend(self.tried_convolution(make, [x, w], lens[to], (wgmma, channels))?);
                }
            }
            Ok(values)
        };
        Ok(Tried { wanted: all(Wgmma::Never)?, found: all(Wgmma::Wherever) })
    }

    fn tried_convolution(
        &self,
        make: Make,
        [x, w]: [Slice<'_>; 2],
        len: usize,
        (wgmma, channels): (Wgmma, usize),
    ) -> Result<Vec<f32>> {
        let epilogue = ConvEpilogue { keep: true, ..ConvEpilogue::default() };
        let setting = Setting { wgmma, wide_channels: Some(channels), ..self.setting(x, w, Load::Copied, &epilogue) };
        let found = self.convolve(x, None, w, &make(&SIZES, setting), &epilogue)?;
        // What is kept is not rounded.
        self.numbers(&found.before.unwrap_or(found.y), len)
    }
}

fn slice(buffer: &Buffer, len: usize) -> Slice<'_> {
    Slice { buffer, offset: 0, len, dtype: DType::Bf16 }
}
