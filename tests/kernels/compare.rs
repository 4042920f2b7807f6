//! What a case gives on a device against what is right: plain loops in f64, and the gradients of the CPU.

use gustfront::domain::Philox;
use gustfront::tensor::cases::{Array, Case};
use gustfront::tensor::{Cpu, DType, Device, Layout, Result, Tensor, no_grad};

/// Half a unit in the last place of bf16: 8 bits of precision, rounded once.
const BF16_ROUNDING: f64 = 1.0 / 256.0;

/// What a number may lose of itself where it is taken as two of bf16.
const SPLIT: f64 = 1.0 / 131_072.0;

/// Gradients against those of the CPU: both are sums in f32 in different orders; relative, and to the greatest.
const GRADIENT: (f64, f64) = (2e-5, 1e-5);

type Outcome = std::result::Result<(), String>;

/// Values against plain loops in f64 on what the inputs hold; bf16 is rounded once. Nothing to do without such loops.
pub(crate) fn values(case: &Case, device: &Device, dtype: DType, layout: Layout) -> Outcome {
    let Some(plain) = &case.plain else { return Ok(()) };
    let what = format!("{} {dtype} {layout:?} {}", case.name, device.name());
    let failed = |e| format!("{what}: {e}");
    let inputs = case.tensors(device, dtype, layout).map_err(failed)?;
    let arrays: Result<Vec<Array>> = inputs.iter().zip(case.arrays()).map(|(x, array)| held(x, array)).collect();
    let wanted = plain(&arrays.map_err(failed)?);
    let found = no_grad(|| (case.run)(&inputs)).map_err(failed)?;
    let (rounding, lost) = if dtype == DType::Bf16 { (BF16_ROUNDING, SPLIT * case.split) } else { (0.0, 0.0) };
    let tolerance = (case.tolerance.0 + rounding, case.tolerance.1 + lost);
    if !found.iter().map(|x| x.shape().sizes().to_vec()).eq(wanted.iter().map(|x| x.shape.clone())) {
        return Err(format!("{what}: other shapes than the plain loops'"));
    }
    found
        .iter()
        .zip(&wanted)
        .try_for_each(|(found, wanted)| close(&what, &found.to_vec().map_err(failed)?, &wanted.values, tolerance))
}

/// An input's numbers as its dtype holds them.
fn held(x: &Tensor, array: Array) -> Result<Array> {
    match x.dtype() {
        DType::Bf16 => Ok(Array { values: x.to_vec()?.into_iter().map(f64::from).collect(), ..array }),
        _ => Ok(array),
    }
}

fn close(what: &str, found: &[f32], wanted: &[f64], (relative, absolute): (f64, f64)) -> Outcome {
    if found.len() != wanted.len() {
        return Err(format!("{what}: {} elements, expected {}", found.len(), wanted.len()));
    }
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let fine = (f64::from(*found) - wanted).abs() <= absolute + relative * wanted.abs();
        let same = f64::from(*found) == *wanted || (found.is_nan() && wanted.is_nan());
        if !(fine || same) {
            return Err(format!("{what}: element {i} is {found}, expected {wanted}"));
        }
    }
    Ok(())
}

/// Gradients of every input against those of the CPU, which are compared with differences elsewhere.
pub(crate) fn gradients(case: &Case, device: &Device) -> Outcome {
    let (found, wanted) = (gradients_on(case, device)?, gradients_on(case, &Cpu::device())?);
    for (number, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let what = format!("{} gradient of input {number} on {}", case.name, device.name());
        if found.is_some() != wanted.is_some() {
            return Err(format!("{what}: there on one of two devices"));
        }
        let (Some(found), Some(wanted)) = (found, wanted) else { continue };
        let greatest = wanted.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
        let wanted: Vec<f64> = wanted.iter().map(|x| f64::from(*x)).collect();
        close(&what, found, &wanted, (GRADIENT.0, GRADIENT.1 * greatest))?;
    }
    Ok(())
}

type Gradients = Vec<Option<Vec<f32>>>;

fn gradients_on(case: &Case, device: &Device) -> std::result::Result<Gradients, String> {
    let work = || -> Result<Gradients> {
        let inputs = case.tensors(device, DType::F32, Layout::Channels)?;
        let leaf = |(x, wanted): (&Tensor, bool)| if wanted { x.with_gradient() } else { x.clone() };
        let leaves: Vec<Tensor> = inputs.iter().zip(case.inputs.iter().map(|i| i.gradient)).map(leaf).collect();
        for (output, number) in (case.run)(&leaves)?.iter().zip(0..) {
            let draw = |i: usize| Philox::new(7, number).normal([i as u32, 0, 0, 0])[0] as f32;
            let weight: Vec<f32> = (0..output.len()).map(draw).collect();
            output.backward_with(&Tensor::new(device, output.shape(), &weight)?)?;
        }
        leaves.iter().map(|x| x.gradient().map(|x| x.to_vec()).transpose()).collect()
    };
    if !case.inputs.iter().any(|input| input.gradient) {
        return Ok(Vec::new());
    }
    work().map_err(|e| format!("{} on {}: {e}", case.name, device.name()))
}
