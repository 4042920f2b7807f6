//! Launches of `kernels/diffusion.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::diffusion::{Diffusion, SamplerStep};
use crate::tensor::{Buffer, Result, Slice};

use super::Cuda;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Step {
    len: u64,
    from_x: f32,
    from_model: f32,
    clip: f32,
    keep_x: f32,
    keep_model: f32,
    keep_denoised: f32,
    keep_previous: f32,
    noise: f32,
}

impl Diffusion for Cuda {
    fn blend(&self, x: Slice<'_>, y: Slice<'_>, factors: &[[f32; 2]]) -> Result<Buffer> {
        let z = self.take(x.len, x.dtype)?;
        let each = (x.len / factors.len().max(1)).max(1);
        let launch = self.kernel("diffusion", "blend", x.dtype).over(x.len).input(x).input(y);
        let factors = self.constant(factors)?;
        launch.output(&factors).output(&z).value([x.len as u64, each as u64]).run()?;
        Ok(Buffer::Cuda(z))
    }

    fn sampler_step(
        &self,
        x: Slice<'_>,
        model: Slice<'_>,
        [previous, noise]: [Option<Slice<'_>>; 2],
        step: SamplerStep,
    ) -> Result<[Buffer; 2]> {
        let (next, denoised) = (self.take(x.len, x.dtype)?, self.take(x.len, x.dtype)?);
        let launch = self.kernel("diffusion", "sampler_step", x.dtype).over(x.len).input(x).input(model);
        let launch = launch.maybe(previous).maybe(noise).output(&next).output(&denoised);
        launch.value(Step::new(x.len, step)).run()?;
        Ok([next, denoised].map(Buffer::Cuda))
    }
}

impl Step {
    fn new(len: usize, step: SamplerStep) -> Self {
        Step {
            len: len as u64,
            from_x: step.from_x,
            from_model: step.from_model,
            clip: step.clip.unwrap_or(f32::INFINITY),
            keep_x: step.keep_x,
            keep_model: step.keep_model,
            keep_denoised: step.keep_denoised,
            keep_previous: step.keep_previous,
            noise: step.noise,
        }
    }
}
