//! Gradients against differences of the plain loops, which are exact but for f64.

use gustfront::domain::Philox;
use gustfront::tensor::cases::{Array, Case, Numbers};
use gustfront::tensor::{Cpu, DType, Layout, Level, Tensor};

use crate::compared;

/// The step of a central difference: its error is the step squared.
const STEP: f64 = 1e-5;
/// Elements of an input whose derivatives are compared.
const ELEMENTS: usize = 24;
/// Gradients are sums over outputs: rounding in f32, and the error of the difference.
const TOLERANCE: (f64, f64) = (2e-4, 2e-5);

/// Half a unit in the last place of bf16, and some more.
const BF16_ROUNDING: f64 = 1.0 / 256.0;

/// Numbers that both precisions hold.
fn weights(outputs: &[Array]) -> Vec<Array> {
    let draw = |i: usize, output: u32| {
        let number = Philox::new(7, output).normal([i as u32, 0, 0, 0])[0] as f32;
        f64::from(half::bf16::from_f32(number).to_f32())
    };
    let weight = |(output, number): (&Array, u32)| Array {
        shape: output.shape.clone(),
        values: (0..output.values.len()).map(|i| draw(i, number)).collect(),
    };
    outputs.iter().zip(0..).map(weight).collect()
}

/// The sum of all outputs times their weights.
fn objective(case: &Case, inputs: &[Array], weights: &[Array]) -> f64 {
    let outputs = case.plain.as_ref().expect("plain loops")(inputs);
    let dot = |(x, w): (&Array, &Array)| x.values.iter().zip(&w.values).map(|(x, w)| x * w).sum::<f64>();
    outputs.iter().zip(weights).map(dot).sum()
}

fn gradients(case: &Case, weights: &[Array], level: Level, layout: Layout, dtype: DType) -> Vec<Option<Tensor>> {
    let device = Cpu::with_level(level);
    let inputs = case.tensors(&device, dtype, layout).expect("inputs");
    let leaf = |(x, input): (&Tensor, &gustfront::tensor::cases::Input)| {
        if input.gradient { x.with_gradient() } else { x.clone() }
    };
    let leaves: Vec<Tensor> = inputs.iter().zip(&case.inputs).map(leaf).collect();
    let outputs = (case.run)(&leaves).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    // One pass back from all outputs: passes of their own would round what leaves gather in bf16 once each.
    let weighed = |(output, weight): (&Tensor, &Array)| {
        let values: Vec<f32> = weight.values.iter().map(|x| *x as f32).collect();
        let weight = Tensor::new(&device, output.shape(), &values)?;
        output.to_dtype(DType::F32)?.mul(&weight)?.sum(&[], false)
    };
    let sums = outputs.iter().zip(weights).map(weighed).collect::<gustfront::tensor::Result<Vec<_>>>();
    let all = sums.and_then(|sums| sums[1..].iter().try_fold(sums[0].clone(), |all, sum| all.add(sum)));
    all.and_then(|all| all.backward()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    leaves.iter().map(Tensor::gradient).collect()
}

/// Some elements of an input, and what differences of the plain loops give for them.
fn differences(case: &Case, arrays: &[Array], weights: &[Array], number: usize) -> Vec<(usize, f64)> {
    let len = arrays[number].values.len();
    let difference = |element: usize| {
        let moved = |by: f64| {
            let mut moved = arrays.to_vec();
            moved[number].values[element] += by;
            objective(case, &moved, weights)
        };
        (element, (moved(STEP) - moved(-STEP)) / (2.0 * STEP))
    };
    (0..len).step_by(len.div_ceil(ELEMENTS).max(1)).map(difference).collect()
}

#[test]
fn every_gradient_equals_differences_of_plain_loops() {
    for (case, arrays, outputs) in compared().filter(|(case, ..)| case.inputs.iter().any(|input| input.gradient)) {
        let weights = weights(&outputs);
        let inputs = case.inputs.iter().enumerate().filter(|(_, input)| input.gradient);
        let wanted: Vec<_> =
            inputs.map(|(number, input)| (number, input, differences(&case, &arrays, &weights, number))).collect();
        for (level, layout) in Level::available().flat_map(|level| [(level, Layout::Rows), (level, Layout::Channels)]) {
            let found = gradients(&case, &weights, level, layout, DType::F32);
            for (number, input, wanted) in &wanted {
                let what = format!("{} input {number} {layout:?} {level:?}", case.name);
                let gradient = found[*number].as_ref().unwrap_or_else(|| panic!("{what}: no gradient"));
                assert_eq!(gradient.shape().sizes(), &input.shape[..], "{what}");
                compare(&what, &gradient.to_vec().expect("values"), wanted, 0.0)
                    .unwrap_or_else(|told| panic!("{told}"));
            }
        }
    }
}

/// Gradients of bf16 are worked out in f32 and rounded once: they are off by what f32 may be, and one rounding.
#[test]
fn every_gradient_of_bf16_is_rounded_once() {
    let mut wrong = Vec::new();
    let differentiable = |case: &Case| {
        let excepted = |name: &&&str| case.name.starts_with(**name);
        case.inputs.iter().any(|input| input.gradient) && JUMPS.iter().find(excepted).is_none()
    };
    for (case, mut arrays, _) in compared().filter(|(case, ..)| differentiable(case)) {
        for (array, input) in arrays.iter_mut().zip(&case.inputs) {
            if !matches!(input.numbers, Numbers::Below(_)) {
                *array = array.map(|x| half::bf16::from_f64(x).to_f64());
            }
        }
        let weights = weights(&case.plain.as_ref().expect("plain loops")(&arrays));
        let found = gradients(&case, &weights, Level::best(), Layout::Channels, DType::Bf16);
        for (number, _) in case.inputs.iter().enumerate().filter(|(_, input)| input.gradient) {
            let wanted = differences(&case, &arrays, &weights, number);
            let what = format!("{} input {number}", case.name);
            let gradient = found[number].as_ref().unwrap_or_else(|| panic!("{what}: no gradient"));
            assert_eq!(gradient.dtype(), DType::Bf16, "{what}");
            wrong.extend(compare(&what, &gradient.to_vec().expect("values"), &wanted, BF16_ROUNDING).err());
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Cases without a derivative where two numbers are equal, as those of bf16 often are.
const JUMPS: &[&str] = &["pool/max", "data/quality"];

fn compare(what: &str, found: &[f32], wanted: &[(usize, f64)], rounding: f64) -> Result<(), String> {
    let scale = found.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    for (element, wanted) in wanted {
        let found = found[*element];
        let error = (f64::from(found) - wanted).abs();
        let allowed = (TOLERANCE.0 + rounding) * wanted.abs() + TOLERANCE.1 * scale.max(1.0);
        if error > allowed || found.is_nan() {
            return Err(format!("{what}: element {element} has gradient {found}, differences give {wanted}"));
        }
    }
    Ok(())
}
