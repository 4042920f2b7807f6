//! Launches of `kernels/conv.cu`, `kernels/conv_wide.cu` and `kernels/conv_weight.cu`.

mod plan;
mod trial;
mod weight;

use crate::tensor::ops::conv::{Conv, ConvEpilogue, ConvSizes, Convolved};
use crate::tensor::ops::norm::{Norm, Normalised};
use crate::tensor::{Buffer, DType, Map, Result, Slice};

use super::Cuda;
use super::elementwise::aligned;
use super::memory::whole;
use super::reuse::Block;
use super::wgmma::{Kind, Wgmma};
use plan::{DIRECT_CHANNELS, Load, Plan, Setting, Way};
use weight::Operands;

/// Numbers of `Moments` in `kernels/conv.cuh`.
const NUMBERS: usize = 3;
/// The most blocks along z.
const MOST_IMAGES: usize = 65535;

/// Whether kernels do what is behind a normalisation as they read.
fn on_the_way(activation: Option<Map>) -> bool {
    matches!(activation, None | Some(Map::Silu))
}

impl Conv for Cuda {
    fn conv2d(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        w: Slice<'_>,
        sizes: &ConvSizes,
        epilogue: &ConvEpilogue<'_>,
    ) -> Result<Convolved> {
        let Some(norm) = norm else {
            let plan =
                self.planned(self.setting(x, w, Load::Copied, epilogue), |setting| Plan::forward(sizes, setting))?;
            return self.convolve(x, None, w, &plan, epilogue);
        };
        let plan = Plan::forward(sizes, self.setting(x, w, Load::Normed, epilogue));
        if plan.way != Way::Direct && on_the_way(norm.activation) {
            return self.convolve(x, Some(norm), w, &plan, epilogue);
        }
        self.convolve_apart(x, norm, w, sizes, epilogue)
    }

    fn conv2d_data(&self, dy: Slice<'_>, w: Slice<'_>, sizes: &ConvSizes, bias: Option<Slice<'_>>) -> Result<Buffer> {
        let (epilogue, mut held) = (ConvEpilogue { bias, ..ConvEpilogue::default() }, None);
        if dy.dtype != w.dtype && bias.is_none() {
            let plan = Plan::backward(sizes, self.setting(dy, w, Load::Split, &epilogue));
            if plan.way != Way::Direct {
                return Ok(self.convolve(dy, None, w, &plan, &epilogue)?.y);
            }
        }
        let w = if dy.dtype == DType::F32 { self.widened(w, &mut held)? } else { w };
        let setting = self.setting(dy, w, Load::Copied, &epilogue);
        let plan = self.planned(setting, |setting| Plan::backward(sizes, setting))?;
        Ok(self.convolve(dy, None, w, &plan, &epilogue)?.y)
    }

    fn conv2d_weight(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        dy: Slice<'_>,
        sizes: &ConvSizes,
    ) -> Result<(Buffer, Buffer)> {
        let operands = Operands { x, norm, dy };
        let shared_bytes = self.machine().shared_bytes();
        let plan = weight::Plan::new(operands, sizes, shared_bytes);
        let plain = norm.is_none() && x.dtype == dy.dtype;
        if plain || (plan.is_some() && norm.is_none_or(|norm| on_the_way(norm.activation))) {
            return self.sum_weights(operands, sizes, plan.as_ref());
        }
        let (mut own_x, mut own_dy) = (None, None);
        let x_wide = match norm {
            None => self.widened(x, &mut own_x)?,
            Some(norm) => whole(own_x.insert(self.normalised(x, norm)?), x.len),
        };
        let operands = Operands { x: x_wide, norm: None, dy: self.widened(dy, &mut own_dy)? };
        let (dw, bias) =
            self.sum_weights(operands, sizes, weight::Plan::new(operands, sizes, shared_bytes).as_ref())?;
        let len = sizes.shape_weight().len();
        Ok((self.narrowed(dw, len, x.dtype)?, self.narrowed(bias, sizes.channels_out, x.dtype)?))
    }
}

impl Cuda {
    fn setting(&self, x: Slice<'_>, w: Slice<'_>, load: Load, epilogue: &ConvEpilogue<'_>) -> Setting {
        Setting {
            dtype: w.dtype,
            load,
            processors: self.machine().multiprocessors() as usize,
            shared_bytes: self.machine().shared_bytes(),
            per_image: epilogue.moments || load == Load::Normed,
            aligned: [aligned(&[x]), epilogue.residual.is_none_or(|residual| aligned(&[residual]))],
            wgmma: self.wgmma_allowed(),
            wide_channels: None,
        }
    }

    /// A plan whose kernels are right on this device.
    fn planned(&self, setting: Setting, make: impl Fn(Setting) -> Plan) -> Result<Plan> {
        let plan = make(setting);
        let known = setting.wgmma == Wgmma::Wherever || !matches!(plan.way, Way::Wide(_));
        if known || self.wgmma_proved(Kind::Convolutions, || self.tried_convolutions())? {
            return Ok(plan);
        }
        Ok(make(Setting { wgmma: Wgmma::Never, ..setting }))
    }

    /// The convolution of the normalised input, which is written in f32: what is rounded once must not be rounded in
    /// between.
    fn convolve_apart(
        &self,
        x: Slice<'_>,
        norm: &Normalised<'_>,
        w: Slice<'_>,
        sizes: &ConvSizes,
        epilogue: &ConvEpilogue<'_>,
    ) -> Result<Convolved> {
        let mut held = [const { None }; 3];
        let [own_w, own_bias, own_residual] = &mut held;
        let (x_buffer, w) = (self.normalised(x, norm)?, self.widened(w, own_w)?);
        let bias = epilogue.bias.map(|bias| self.widened(bias, own_bias)).transpose()?;
        let residual = epilogue.residual.map(|residual| self.widened(residual, own_residual)).transpose()?;
        let (wide, epilogue) = (whole(&x_buffer, x.len), ConvEpilogue { bias, residual, ..*epilogue });
        let plan = Plan::forward(sizes, self.setting(wide, w, Load::Copied, &epilogue));
        let found = self.convolve(wide, None, w, &plan, &epilogue)?;
        let len = sizes.shape_out().len();
        Ok(Convolved { y: self.narrowed(found.y, len, x.dtype)?, ..found })
    }

    fn convolve(
        &self,
        x: Slice<'_>,
        norm: Option<&Normalised<'_>>,
        w: Slice<'_>,
        plan: &Plan,
        epilogue: &ConvEpilogue<'_>,
    ) -> Result<Convolved> {
        let mut numbers = plan.numbers;
        numbers.function = epilogue.activation.into();
        let factors = norm.map(|norm| self.factors(x.dtype, norm.moments, norm.affine, &norm.sizes)).transpose()?;
        if let Some(norm) = norm {
            numbers.first = norm.activation.into();
            numbers.factor_plane = (norm.sizes.batch * norm.sizes.channels) as i64;
        }
        let channels = (numbers.to_channels * numbers.groups) as usize;
        let len = numbers.batch as usize * numbers.to_size[0] as usize * numbers.to_size[1] as usize * channels;
        let y = self.take(len, x.dtype)?;
        let before = epilogue.keep.then(|| self.take(len, DType::F32)).transpose()?;
        let tiles = plan.tiles();
        let parts = numbers.batch as usize * tiles * channels * NUMBERS;
        let parts = epilogue.moments.then(|| self.take(parts, DType::F32)).transpose()?;
        let (phases, taps) = (self.constant(&plan.phases)?, self.constant(&plan.taps)?);
        let images = numbers.batch as usize * plan.phases.len();
        let packed = match plan.way {
            Way::Tiles(..) | Way::Wide(_) => Some(self.pack(w, plan, &phases, &taps)?),
            Way::Direct => None,
        };
        let (tiles_across, of_groups) = (|width| numbers.packed[1] as usize / width, numbers.groups as usize);
        let (family, name, across, groups) = match plan.way {
            Way::Tiles(pixels, width) => {
                let name = format!("conv_tile_{pixels}_{width}{}", plan.load.suffix());
                ("conv", name, tiles_across(width), of_groups)
            }
            Way::Wide(width) => ("conv_wide", format!("conv_wide_{width}"), tiles_across(width), of_groups),
            Way::Direct => ("conv", "conv_direct".to_owned(), channels.div_ceil(DIRECT_CHANNELS), 1),
        };
        for first in (0..images).step_by(MOST_IMAGES) {
            numbers.first_image = first as i32;
            let launch = self.kernel(family, &name, w.dtype).shared(plan.shared_bytes);
            let launch = launch.grid(tiles * across, groups, (images - first).min(MOST_IMAGES)).input(x);
            let launch = match &packed {
                Some(packed) => launch.output(packed),
                None => launch.input(w),
            };
            let launch = launch.perhaps(factors.as_ref().map(|factors| &factors.forward));
            let launch = launch.maybe(epilogue.bias).maybe(epilogue.residual).output(&y);
            let launch = launch.perhaps(before.as_ref()).perhaps(parts.as_ref());
            launch.output(&phases).output(&taps).value(numbers).run()?;
        }
        let moments = parts.map(|parts| self.join_moments(&parts, plan)).transpose()?;
        Ok(Convolved { y: Buffer::Cuda(y), before: before.map(Buffer::Cuda), moments })
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

    /// What `Norm::moments` gives, of what the tiles gave.
    fn join_moments(&self, parts: &Block, plan: &Plan) -> Result<Buffer> {
        let numbers = plan.numbers;
        let (batch, channels) = (numbers.batch as usize, (numbers.to_channels * numbers.groups) as usize);
        let moments = self.take(3 * batch * channels, DType::F32)?;
        let launch = self.kernel_named("conv", "conv_moments").grid(channels * batch, 1, 1);
        launch.output(parts).output(&moments).value(plan.tiles() as i64).value(channels as i64).run()?;
        Ok(Buffer::Cuda(moments))
    }

    /// The normalised input in f32: what is rounded once must not be rounded in between.
    fn normalised(&self, x: Slice<'_>, norm: &Normalised<'_>) -> Result<Buffer> {
        let (mut own_x, mut held) = (None, [const { None }; 5]);
        let (x, affine) = (self.widened(x, &mut own_x)?, self.widened_affine(norm.affine, &mut held)?);
        self.norm(x, norm.moments, affine, norm.activation, &norm.sizes)
    }
}
