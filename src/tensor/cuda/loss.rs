//! Launches of `kernels/loss.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::loss::{Loss, Penalty, Weights};
use crate::tensor::{Buffer, DType, MAX_RANK, Result, Slice};

use super::Cuda;
use super::elementwise::aligned;
use super::launch::THREADS;

/// The most blocks that sum: enough to fill any machine, few enough for one block to add their sums.
const MOST_SUMS: usize = 1 << 11;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LossSizes {
    len: i64,
    kind: i32,
    parameter: f32,
    aligned: i32,
    first: i32,
    sizes: [i64; MAX_RANK],
    steps: [i64; MAX_RANK],
}

impl Loss for Cuda {
    fn loss_sum(&self, op: Penalty, x: Slice<'_>, target: Slice<'_>, weights: Option<Weights<'_>>) -> Result<Buffer> {
        let blocks = packs(x).div_ceil(THREADS as usize).clamp(1, MOST_SUMS);
        let (parts, sum) = (self.take_wide(blocks)?, self.take(1, DType::F32)?);
        let sizes = LossSizes::new(op, [x, target], weights);
        let launch = self.kernel("loss", "loss_sum", x.dtype).grid(blocks, 1, 1).input(x).input(target);
        launch.maybe(weights.map(|weights| weights.values)).output(&parts).value(sizes).run()?;
        self.kernel_named("loss", "loss_fold").output(&parts).output(&sum).value(blocks as i64).run()?;
        Ok(Buffer::Cuda(sum))
    }

    fn loss_grad(
        &self,
        op: Penalty,
        [x, target]: [Slice<'_>; 2],
        weights: Option<Weights<'_>>,
        dy: Slice<'_>,
        of_target: bool,
    ) -> Result<(Buffer, Option<Buffer>)> {
        let dx = self.take(x.len, x.dtype)?;
        let dt = of_target.then(|| self.take(x.len, x.dtype)).transpose()?;
        let sizes = LossSizes::new(op, [x, target], weights);
        let launch = self.kernel("loss", "loss_grad", x.dtype).over(packs(x)).input(x).input(target);
        let launch = launch.maybe(weights.map(|weights| weights.values)).input(dy).output(&dx);
        let launch = match &dt {
            Some(dt) => launch.output(dt),
            None => launch.maybe(None),
        };
        launch.value(sizes).run()?;
        Ok((Buffer::Cuda(dx), dt.map(Buffer::Cuda)))
    }
}

/// Packs of 16 bytes that a slice fills, or begins to fill.
fn packs(x: Slice<'_>) -> usize {
    (x.len * x.dtype.bytes()).div_ceil(16)
}

impl LossSizes {
    fn new(op: Penalty, operands: [Slice<'_>; 2], weights: Option<Weights<'_>>) -> Self {
        let (kind, parameter) = match op {
            Penalty::Squared => (0, 0.0),
            Penalty::Absolute => (1, 0.0),
            Penalty::Huber(delta) => (2, delta),
            Penalty::SmoothAbsolute(beta) => (3, beta),
            Penalty::CrossEntropy(positive) => (4, positive),
        };
        let (sizes, steps) = weights.map_or(([1; MAX_RANK], [0; MAX_RANK]), |w| (w.broadcast.sizes, w.broadcast.y));
        let first = sizes.iter().position(|size| *size != 1).unwrap_or(MAX_RANK - 1);
        LossSizes {
            len: operands[0].len as i64,
            kind,
            parameter,
            aligned: aligned(&operands).into(),
            first: first as i32,
            sizes: sizes.map(|size| size as i64),
            steps: steps.map(|step| step as i64),
        }
    }
}
