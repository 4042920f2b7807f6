//! Numbers along a dimension as shares of one: softmax and its logarithm.

use crate::tensor::ops::reduce::Folding;
use crate::tensor::{Buffer, DType, Result, Slice, Tensor};

/// What a backend does for softmax; `log` asks for its logarithm.
pub trait Softmax {
    /// eˣ over its sum along the folded run of dimensions.
    fn softmax(&self, x: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer>;
    /// The gradient, from the result `y`.
    fn softmax_grad(&self, y: Slice<'_>, dy: Slice<'_>, folding: Folding, log: bool) -> Result<Buffer>;
}

impl Tensor {
    /// eˣ over its sum along a dimension.
    ///
    /// # Errors
    /// Where there is no such dimension, or the device is out of memory.
    pub fn softmax(&self, dimension: isize) -> Result<Tensor> {
        self.shares("softmax", dimension, false)
    }

    /// The logarithm of [`Tensor::softmax`], exact also where a share is close to 0.
    ///
    /// # Errors
    /// As [`Tensor::softmax`].
    pub fn log_softmax(&self, dimension: isize) -> Result<Tensor> {
        self.shares("log_softmax", dimension, true)
    }

    fn shares(&self, operation: &'static str, dimension: isize, log: bool) -> Result<Tensor> {
        self.expect_numbers(operation)?;
        let dimension = self.shape.dimension(operation, dimension)?;
        if self.is_empty() {
            return self.mul_scalar(1.0);
        }
        let order = self.shape.memory_order(self.layout);
        let at = order.iter().position(|d| *d == dimension).unwrap_or(0);
        let count = |run: &[usize]| run.iter().map(|d| self.shape[*d]).product::<usize>();
        let folding =
            Folding { outer: count(&order[..at]), folded: self.shape[dimension], inner: count(&order[at + 1..]) };
        let shares = move |x: &Tensor| -> Result<Tensor> {
            Ok(x.derive(x.device.softmax(x.slice(), folding, log)?, x.shape, x.layout))
        };
        let y = shares(self)?;
        // Of bf16 the shares are worked out again in f32: the gradient is not that of rounded ones.
        let held = if self.dtype == DType::F32 { y.clone() } else { self.detach() };
        let pull = move |dy: &Tensor| {
            let dy = dy.to_layout(held.layout)?.wide()?;
            let y = if held.dtype == DType::F32 { held.clone() } else { shares(&held.wide()?)? };
            let buffer = y.device.softmax_grad(y.slice(), dy.slice(), folding, log)?;
            Ok(vec![Some(y.derive(buffer, y.shape, y.layout).to_dtype(held.dtype)?)])
        };
        Ok(y.record(operation, [self], pull))
    }
}
