//! Gradients against differences of the plain loops, which are exact but for f64.

use gustfront::domain::Philox;
use gustfront::tensor::cases::{Array, Case};
use gustfront::tensor::{Cpu, DType, Layout, Level, Tensor};

use crate::compared;

/// The step of a central difference: its error is the step squared.
const STEP: f64 = 1e-5;
/// Elements of an input whose derivatives are compared.
const ELEMENTS: usize = 24;
/// Gradients are sums over outputs: rounding in f32, and the error of the difference.
const TOLERANCE: (f64, f64) = (2e-4, 2e-5);

fn weights(outputs: &[Array]) -> Vec<Array> {
    let draw = |i: usize, output: u32| f64::from(Philox::new(7, output).normal([i as u32, 0, 0, 0])[0] as f32);
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

fn gradients(case: &Case, weights: &[Array], level: Level, layout: Layout) -> Vec<Option<Tensor>> {
    let device = Cpu::with_level(level);
    let inputs = case.tensors(&device, DType::F32, layout).expect("inputs");
    let leaf = |(x, input): (&Tensor, &gustfront::tensor::cases::Input)| {
        if input.gradient { x.with_gradient() } else { x.clone() }
    };
    let leaves: Vec<Tensor> = inputs.iter().zip(&case.inputs).map(leaf).collect();
    let outputs = (case.run)(&leaves).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    for (output, weight) in outputs.iter().zip(weights) {
        let values: Vec<f32> = weight.values.iter().map(|x| *x as f32).collect();
        let weight = Tensor::new(&device, output.shape(), &values).expect("a gradient");
        output.backward_with(&weight).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
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
            let found = gradients(&case, &weights, level, layout);
            for (number, input, wanted) in &wanted {
                let what = format!("{} input {number} {layout:?} {level:?}", case.name);
                let gradient = found[*number].as_ref().unwrap_or_else(|| panic!("{what}: no gradient"));
                assert_eq!(gradient.shape().sizes(), &input.shape[..], "{what}");
                compare(&what, &gradient.to_vec().expect("values"), wanted);
            }
        }
    }
}

fn compare(what: &str, found: &[f32], wanted: &[(usize, f64)]) {
    let scale = found.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    for (element, wanted) in wanted {
        let found = found[*element];
        let error = (f64::from(found) - wanted).abs();
        let allowed = TOLERANCE.0 * wanted.abs() + TOLERANCE.1 * scale.max(1.0);
        assert!(error <= allowed, "{what}: element {element} has gradient {found}, differences give {wanted}");
    }
}
