//! Activations worked out twice instead of kept: memory for time, as big grids need it.

use super::autograd::{is_recording, no_grad, with_recording};
use super::{Result, Tensor};

/// Runs a part of a network without keeping what is inside it; a backward pass runs the part again.
///
/// `part` must do the same both times: random numbers inside must be keyed, not drawn.
///
/// # Errors
/// Those of `part`.
pub fn checkpoint(
    inputs: &[&Tensor],
    part: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Result<Tensor> {
    let plain: Vec<Tensor> = inputs.iter().map(|input| input.detach()).collect();
    let result = no_grad(|| part(&plain))?;
    if !is_recording() {
        return Ok(result);
    }
    let wanted: Vec<bool> = inputs.iter().map(|input| input.wants_gradient()).collect();
    let pull = move |dy: &Tensor| {
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
