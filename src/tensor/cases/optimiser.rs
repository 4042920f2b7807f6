//! One step of Adam, decoupled and not, with the gradient scaled.

use super::{Array, Case, Input};
use crate::tensor::ops::optimiser::{AdamStep, adam_step};
use crate::tensor::{DType, Result, Tensor};

/// The hundredth step of a training with PyTorch's settings, and more decay.
fn hundredth(decoupled: bool) -> AdamStep {
    let correction = |beta: f64| 1.0 - beta.powi(100);
    AdamStep {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        decay: 0.05,
        decoupled,
        correction1: correction(0.9) as f32,
        correction2: correction(0.999).sqrt() as f32,
    }
}

/// Value, gradient, and the gradient's mean and mean square.
fn inputs(shape: &[usize]) -> Vec<Input> {
    let square = Input::between(shape, 0.25, 2.0);
    [Input::normal(shape), Input::normal(shape), Input::normal(shape), square].map(Input::constant).to_vec()
}

fn stepped(x: &[Array], step: AdamStep) -> Vec<Array> {
    let [beta1, beta2] = [step.beta1, step.beta2].map(f64::from);
    let [rate, epsilon, decay] = [step.rate, step.epsilon, step.decay].map(f64::from);
    let gradient = |i: usize| {
        let scaled = x[4].values[0] * x[1].values[i];
        if step.decoupled { scaled } else { scaled + decay * x[0].values[i] }
    };
    let of = |of: &dyn Fn(usize) -> f64| Array {
        shape: x[0].shape.clone(),
        values: (0..x[0].values.len()).map(of).collect(),
    };
    let mean = of(&|i| beta1 * x[2].values[i] + (1.0 - beta1) * gradient(i));
    let square = of(&|i| beta2 * x[3].values[i] + (1.0 - beta2) * gradient(i).powi(2));
    let value = of(&|i| {
        let kept = if step.decoupled { 1.0 - rate * decay } else { 1.0 };
        let root = square.values[i].sqrt() / f64::from(step.correction2) + epsilon;
        kept * x[0].values[i] - rate / f64::from(step.correction1) * mean.values[i] / root
    });
    vec![value, mean, square]
}

/// Everything but the gradient is f32.
fn run(x: &[Tensor], step: AdamStep) -> Result<Vec<Tensor>> {
    let [value, mean, square] = [&x[0], &x[2], &x[3]].map(|x| x.to_dtype(DType::F32));
    let scale = x.get(4).map(|scale| scale.to_dtype(DType::F32)).transpose()?;
    Ok(adam_step([&value?, &mean?, &square?], &x[1], scale.as_ref(), step)?.to_vec())
}

fn adam(shape: &[usize], decoupled: bool) -> Case {
    let step = hundredth(decoupled);
    let mut inputs = inputs(shape);
    inputs.push(Input::between(&[1], 0.25, 1.0).constant());
    let name = format!("optimiser/{} {shape:?}", if decoupled { "AdamW" } else { "Adam" });
    Case::new(name, inputs, move |x| run(x, step), move |x| stepped(x, step))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![adam(&[5, 7], true), adam(&[2, 3, 5, 4], true), adam(&[331], false)];
    let step = |x: &[Tensor]| run(x, hundredth(true));
    cases.push(Case::speed("optimiser/AdamW step of 2048×4096", inputs(&[2048, 4096]), step));
    cases
}
