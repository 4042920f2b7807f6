//! Activations worked out twice instead of kept: memory for time, as big grids need it.

use super::autograd::{is_recording, no_grad, with_recording};
use super::parameter::Used;
use super::{Result, Tensor};

/// Runs a part of a network without keeping what is inside it; a backward pass runs the part again.
///
/// `part` must do the same both times: random numbers inside must be keyed, not drawn, and the parameters that it uses on
/// this thread must not be replaced in between.
///
/// # Errors
/// Those of `part`; the backward pass fails where a parameter was replaced since.
pub fn checkpoint(
    inputs: &[&Tensor],
    part: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    let plain: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    if !is_recording() {
        return part(&plain);
    }
    let (result, used) = Used::by(|| no_grad(|| part(&plain)));
    let result = result?;
    let wanted: Vec<bool> = inputs.iter().map(|input| input.wants_gradient()).collect();
    let pull = move |dy: &Tensor| {
        used.expect_unchanged("checkpoint")?;
        let leaf = |(x, wanted): (&Tensor, &bool)| if *wanted { x.with_gradient() } else { x.clone() };
        let leaves: Vec<Tensor> = plain.iter().zip(&wanted).map(leaf).collect();
        let again = with_recording(true, || part(&leaves))?;
        if again.wants_gradient() || again.node.is_some() {
            again.backward_with(dy)?;
        }
        Ok(leaves.iter().map(Tensor::gradient).collect())
    };
    Ok(result.record_always("checkpoint", inputs, pull))
}
