//! Launches of `kernels/norm.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::norm::{Affine, LayerGradients, LayerSizes, Norm, NormGradients, NormSizes, Over};
use crate::tensor::{Buffer, DType, Layout, Map, Result, Slice};

use super::Cuda;
use super::channels::View;
use super::elementwise::{Function, aligned};
use super::launch::Launch;
use super::layer_norm;
use super::reuse::Block;

/// Blocks of a pass with sums: several waves on any machine, few enough for their sums to be folded quickly.
const SUM_BLOCKS: usize = 1 << 12;
/// Positions of a thread with sums, which stay in f32 for so long.
const SUM_STEPS: [usize; 2] = [8, 64];
/// Blocks of a pass that only streams.
const STREAM_BLOCKS: usize = 1 << 14;
/// Positions of a thread that only streams.
const STREAM_STEPS: [usize; 2] = [4, 32];
/// The most blocks of a grid that walks over channels or sets.
const MOST_BLOCKS: usize = 1 << 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct PassSizes {
    view: View,
    function: Function,
    padding: i32,
}

/// Which channels share statistics, as kernels take it.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SetSizes {
    outer: i64,
    inner: i64,
    step: i64,
    sets: i32,
    groups: i32,
    count: i32,
    batch: i32,
    channels: i32,
    fixed: i32,
    elements: f64,
    epsilon: f32,
    padding: i32,
}

/// What the passes over elements need of statistics and factors.
pub(super) struct Factors {
    sets: SetSizes,
    /// Mean, slope, offset and addend of each channel of each sample, as f32.
    pub(super) forward: Block,
    /// What f32 loses of the mean, and 1 / √(variance + ε), as f64.
    exact: Block,
}

impl Norm for Cuda {
    fn moments(&self, x: Slice<'_>, sizes: &NormSizes) -> Result<Buffer> {
        let view = summed(view(sizes, &[x]));
        let parts = self.take_wide(view.parts())?;
        let [across, slabs] = view.grid();
        self.kernel("norm", "moments", x.dtype).grid(across, slabs, 1).input(x).output(&parts).value(view).run()?;
        let len = sizes.batch * sizes.channels;
        if view.parts() == 0 {
            return Ok(Buffer::Cuda(self.zeros(3 * len, DType::F32)?));
        }
        let moments = self.take(3 * len, DType::F32)?;
        let launch = self.kernel_named("norm", "moments_fold").threads(view.fold_threads());
        launch.grid(len.min(MOST_BLOCKS), 1, 1).output(&parts).output(&moments).value(view).run()?;
        Ok(Buffer::Cuda(moments))
    }

    fn norm(
        &self,
        x: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<Buffer> {
        let factors = self.factors(x.dtype, moments, affine, sizes)?;
        let y = self.take(x.len, x.dtype)?;
        let view = streamed(view(sizes, &[x]));
        let pass = PassSizes { view, function: activation.into(), padding: 0 };
        let [across, slabs] = view.grid();
        let launch = self.kernel("norm", "norm", x.dtype).grid(across, slabs, 1);
        launch.input(x).output(&factors.forward).output(&y).value(pass).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<NormGradients> {
        if x.dtype != dy.dtype {
            return self.norm_grad_wide(x, dy, moments, affine, activation, sizes);
        }
        let factors = self.factors(x.dtype, moments, affine, sizes)?;
        let of_tensor = view(sizes, &[x, dy]);
        let pass = |view| PassSizes { view, function: activation.into(), padding: 0 };
        let sums = self.norm_sums([x, dy], &factors, pass(summed(of_tensor)), sizes)?;
        let (back, channels) = self.back_factors(x.dtype, &sums, &factors, affine)?;
        let view = streamed(of_tensor);
        let dx = self.take(x.len, x.dtype)?;
        let [across, slabs] = view.grid();
        let launch = self.kernel("norm", "norm_back", x.dtype).grid(across, slabs, 1).input(x).input(dy);
        launch.output(&factors.forward).output(&back).output(&dx).value(pass(view)).run()?;
        Ok(NormGradients { x: Buffer::Cuda(dx), channels })
    }

    fn layer_norm(
        &self,
        x: Slice<'_>,
        weight: Option<Slice<'_>>,
        bias: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<Buffer> {
        layer_norm::forward(self, x, [weight, bias], sizes)
    }

    fn layer_norm_grad(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        weight: Option<Slice<'_>>,
        sizes: &LayerSizes,
    ) -> Result<LayerGradients> {
        layer_norm::backward(self, x, dy, weight, sizes)
    }
}

impl Cuda {
    /// Memory for so many f64.
    pub(super) fn take_wide(&self, len: usize) -> Result<Block> {
        self.take(2 * len, DType::F32)
    }

    /// The same numbers in f32, which `held` keeps where they had to be widened.
    pub(super) fn widened_affine<'a>(
        &self,
        affine: Affine<'a>,
        held: &'a mut [Option<Buffer>; 5],
    ) -> Result<Affine<'a>> {
        let Affine { weight, bias, scale, shift, addend } = affine;
        let mut wide = [None; 5];
        for ((wide, given), held) in wide.iter_mut().zip([weight, bias, scale, shift, addend]).zip(held) {
            *wide = given.map(|given| self.widened(given, held)).transpose()?;
        }
        let [weight, bias, scale, shift, addend] = wide;
        Ok(Affine { weight, bias, scale, shift, addend })
    }

    /// [`Norm::norm_grad`] for a gradient that is not rounded to the dtype of x.
    fn norm_grad_wide(
        &self,
        x: Slice<'_>,
        dy: Slice<'_>,
        moments: Slice<'_>,
        affine: Affine<'_>,
        activation: Option<Map>,
        sizes: &NormSizes,
    ) -> Result<NormGradients> {
        let (mut own_x, mut own_dy, mut held) = (None, None, [const { None }; 5]);
        let (wide, dy) = (self.widened(x, &mut own_x)?, self.widened(dy, &mut own_dy)?);
        let affine = self.widened_affine(affine, &mut held)?;
        let found = self.norm_grad(wide, dy, moments, affine, activation, sizes)?;
        Ok(NormGradients { x: self.narrowed(found.x, x.len, x.dtype)?, ..found })
    }

    pub(super) fn factors(
        &self,
        dtype: DType,
        moments: Slice<'_>,
        affine: Affine<'_>,
        sizes: &NormSizes,
    ) -> Result<Factors> {
        let (sets, len) = (SetSizes::new(sizes), sizes.batch * sizes.channels);
        let (forward, exact) = (self.take(4 * len, DType::F32)?, self.take_wide(2 * len)?);
        let launch = sets.launch(self, "factors", dtype).input(moments);
        with_affine(launch, affine).maybe(affine.addend).output(&forward).output(&exact).value(sets).run()?;
        Ok(Factors { sets, forward, exact })
    }

    /// Σdz and Σdz · (x − mean) of each channel of each sample, as f64.
    fn norm_sums(
        &self,
        [x, dy]: [Slice<'_>; 2],
        factors: &Factors,
        pass: PassSizes,
        sizes: &NormSizes,
    ) -> Result<Block> {
        let (view, len) = (pass.view, sizes.batch * sizes.channels);
        if view.parts() == 0 {
            return self.zeros(4 * len, DType::F32);
        }
        let (parts, sums) = (self.take_wide(view.parts())?, self.take_wide(2 * len)?);
        let [across, slabs] = view.grid();
        let launch = self.kernel("norm", "norm_sums", x.dtype).grid(across, slabs, 1).input(x).input(dy);
        launch.output(&factors.forward).output(&parts).value(pass).run()?;
        let launch = self.kernel_named("norm", "sums_fold").threads(view.fold_threads());
        launch.grid(len.min(MOST_BLOCKS), 1, 1).output(&parts).output(&sums).value(view).run()?;
        Ok(sums)
    }

    /// The factors of the backward pass, and the gradients of weight, bias, scale and shift.
    fn back_factors(
        &self,
        dtype: DType,
        sums: &Block,
        factors: &Factors,
        affine: Affine<'_>,
    ) -> Result<(Block, [Buffer; 4])> {
        let sets = factors.sets;
        let (channels, len) = (sets.channels as usize, sets.batch as usize * sets.channels as usize);
        let take = |len| self.take(len, DType::F32);
        let (back, weight, bias, scale, shift) =
            (take(3 * len)?, take(channels)?, take(channels)?, take(len)?, take(len)?);
        let launch = sets.launch(self, "back_factors", dtype).output(sums).output(&factors.exact);
        with_affine(launch, affine).output(&back).output(&scale).output(&shift).value(sets).run()?;
        let launch = self.kernel("norm", "weight_grads", dtype).threads(32).grid(channels.min(MOST_BLOCKS), 1, 1);
        let launch = with_affine(launch.output(sums).output(&factors.exact), affine);
        launch.output(&weight).output(&bias).value(sets).run()?;
        Ok((back, [weight, bias, scale, shift].map(Buffer::Cuda)))
    }
}

fn with_affine<'a>(launch: Launch<'a>, affine: Affine<'_>) -> Launch<'a> {
    launch.maybe(affine.weight).maybe(affine.bias).maybe(affine.scale).maybe(affine.shift)
}

/// Rows of one channel are samples of one channel, so that both layouts are channels-last.
fn view(sizes: &NormSizes, slices: &[Slice<'_>]) -> View {
    let (samples, channels) = match sizes.layout {
        Layout::Channels => (sizes.batch, sizes.channels),
        Layout::Rows => (sizes.batch * sizes.channels, 1),
    };
    let dtype = slices.first().map_or(DType::F32, |x| x.dtype);
    View::new([samples, sizes.positions, channels], dtype, aligned(slices))
}

fn summed(view: View) -> View {
    view.cut(SUM_BLOCKS, SUM_STEPS[0], SUM_STEPS[1])
}

fn streamed(view: View) -> View {
    view.cut(STREAM_BLOCKS, STREAM_STEPS[0], STREAM_STEPS[1])
}

impl SetSizes {
    fn new(sizes: &NormSizes) -> Self {
        let (channels, batch) = (sizes.channels as i64, sizes.batch as i64);
        let (groups, outer, inner, step, count) = match sizes.over {
            Over::Groups(groups) => {
                let group = channels / groups.max(1) as i64;
                (groups as i64, channels, group, 1, group)
            }
            Over::Batch | Over::Fixed => (channels, 0, 1, channels, batch),
        };
        SetSizes {
            outer,
            inner,
            step,
            sets: sizes.sets() as i32,
            groups: groups as i32,
            count: count as i32,
            batch: batch as i32,
            channels: channels as i32,
            fixed: (sizes.over == Over::Fixed).into(),
            elements: sizes.set_count(),
            epsilon: sizes.epsilon,
            padding: 0,
        }
    }

    /// A launch of one warp a set.
    fn launch<'a>(&self, cuda: &'a Cuda, name: &str, dtype: DType) -> Launch<'a> {
        cuda.kernel("norm", name, dtype).threads(32).grid((self.sets as usize).min(MOST_BLOCKS), 1, 1)
    }
}
