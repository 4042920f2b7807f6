//! One step of Adam, and the norm of many gradients: what a backend does when a network learns.

use crate::tensor::{Buffer, DType, Result, Shape, Slice, Tensor, TensorError};

/// The numbers of one step of Adam (Kingma and Ba, 2015), as PyTorch has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// The step's learning rate.
    pub rate: f32,
    /// How much of the mean gradient stays: β₁.
    pub beta1: f32,
    /// How much of the mean squared gradient stays: β₂.
    pub beta2: f32,
    /// What is added to the root of the mean square: ε.
    pub epsilon: f32,
    /// How much of the value is taken off, times the rate; or, where it is not decoupled, added to the gradient.
    pub decay: f32,
    /// Whether values decay by themselves (AdamW; Loshchilov and Hutter, 2019).
    pub decoupled: bool,
    /// 1 − β₁ᵗ of step t, from 1 on.
    pub correction1: f32,
    /// √(1 − β₂ᵗ).
    pub correction2: f32,
}

/// What a backend does for optimisers.
pub trait Optimise {
    /// One step of a value, its gradient, and the gradient's mean and mean square; the gradient is multiplied by
    /// `scale`, one f32, where there is one. All but the gradient are f32. Returns all but the gradient anew.
    fn adam_step(&self, state: [Slice<'_>; 4], scale: Option<Slice<'_>>, step: AdamStep) -> Result<[Buffer; 3]>;
    /// √Σx² over all elements of all slices, one f32.
    fn global_norm(&self, xs: &[Slice<'_>]) -> Result<Buffer>;
}

/// √Σx² over all elements of all tensors, f32 or bf16, as one f32 on their device; 0 for none on `None`.
pub(crate) fn global_norm(xs: &[&Tensor]) -> Result<Option<Tensor>> {
    let Some(first) = xs.first() else { return Ok(None) };
    for x in xs {
        x.expect_numbers("global_norm")?;
        first.expect_same_device("global_norm", x)?;
    }
    let slices: Vec<Slice<'_>> = xs.iter().map(|x| x.slice()).collect();
    let norm = first.device().global_norm(&slices)?;
    Ok(Some(Tensor::dense(first.device(), norm, Shape::from([]), first.layout(), DType::F32)))
}

/// What gradients of a norm are multiplied by so that it is at most `limit`, as PyTorch's `clip_grad_norm_`; the error
/// that this is negative or no number.
pub(crate) fn clip_scale(norm: &Tensor, limit: f32) -> Result<Tensor> {
    /// What PyTorch adds to the norm.
    const SPARE: f32 = 1e-6;
    let expected = "0 or more";
    TensorError::unless(limit >= 0.0, "clip", ("a greatest norm", f64::from(limit)), expected)?;
    norm.add_scalar(SPARE)?.recip()?.mul_scalar(limit)?.clamp(0.0, 1.0)
}

/// A value (f32), and the mean and mean square of its gradient, after one step.
pub(crate) fn adam_step(
    state: [&Tensor; 3],
    gradient: &Tensor,
    scale: Option<&Tensor>,
    step: AdamStep,
) -> Result<[Tensor; 3]> {
    let [value, mean, square] = state;
    gradient.expect_numbers("adam_step")?;
    for x in [Some(value), Some(mean), Some(square), scale].into_iter().flatten() {
        x.expect_dtype("adam_step", DType::F32)?;
        x.expect_same_device("adam_step", gradient)?;
    }
    if gradient.shape() != value.shape() {
        let expected = "a gradient of the value's shape";
        return Err(TensorError::shapes("adam_step", value.shape(), gradient.shape(), expected));
    }
    let [gradient, mean, square] = [gradient, mean, square].map(|x| x.detach().to_layout(value.layout()));
    let (gradient, mean, square) = (gradient?, mean?, square?);
    let slices = [value.slice(), gradient.slice(), mean.slice(), square.slice()];
    let buffers = value.device().adam_step(slices, scale.map(Tensor::slice), step)?;
    Ok(buffers.map(|buffer| value.derive(buffer, value.shape(), value.layout())))
}
