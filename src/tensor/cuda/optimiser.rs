//! Launches of `kernels/optimiser.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::optimiser::{AdamStep, Optimise};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;
use super::launch::THREADS;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct AdamSizes {
    len: u64,
    size: f32,
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    kept: f32,
    added: f32,
    correction2: f32,
    padding: i32,
}

/// Elements of a block that sums squares, and the most blocks.
const SLAB: usize = 64 * THREADS as usize;
/// More blocks than this do not make a sum faster.
const MOST_SLABS: usize = 1024;

impl Optimise for Cuda {
    fn adam_step(&self, state: [Slice<'_>; 4], scale: Option<Slice<'_>>, step: AdamStep) -> Result<[Buffer; 3]> {
        let [value, gradient, mean, square] = state;
        let results =
            [self.take(value.len, DType::F32)?, self.take(value.len, DType::F32)?, self.take(value.len, DType::F32)?];
        let [values, means, squares] = &results;
        let launch = self.kernel("optimiser", "adam_step", gradient.dtype).over(value.len);
        let launch = launch.input(value).input(gradient).input(mean).input(square).maybe(scale);
        launch.output(values).output(means).output(squares).value(AdamSizes::new(value.len, step)).run()?;
        Ok(results.map(Buffer::Cuda))
    }

    fn global_norm(&self, xs: &[Slice<'_>]) -> Result<Buffer> {
        let slabs = |x: &Slice<'_>| x.len.div_ceil(SLAB).clamp(1, MOST_SLABS);
        let all: usize = xs.iter().map(slabs).sum();
        // Each part is one f64: as long as two f32.
        let (parts, y) = (self.take(2 * all, DType::F32)?, self.take(1, DType::F32)?);
        let mut first = 0;
        for x in xs {
            let launch = self.kernel("optimiser", "squares", x.dtype).grid(slabs(x), 1, 1).input(*x);
            launch.value(parts.address() + 8 * first as u64).value(x.len as u64).run()?;
            first += slabs(x);
        }
        self.kernel_named("optimiser", "root").output(&parts).output(&y).value(all as u64).run()?;
        Ok(Buffer::Cuda(y))
    }
}

impl AdamSizes {
    fn new(len: usize, step: AdamStep) -> Self {
        let (kept, added) = match step.decoupled {
            true => (1.0 - step.rate * step.decay, 0.0),
            false => (1.0, step.decay),
        };
        AdamSizes {
            len: len as u64,
            size: step.rate / step.correction1,
            beta1: step.beta1,
            beta2: step.beta2,
            epsilon: step.epsilon,
            kept,
            added,
            correction2: step.correction2,
            padding: 0,
        }
    }
}
