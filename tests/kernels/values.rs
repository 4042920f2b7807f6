//! What kernels give on every case of the list: values in every order of threads, f32 and bf16, both layouts, gradients.

use gustfront::domain::Philox;
use gustfront::tensor::cases::{Array, Case, all};
use gustfront::tensor::{Cpu, DType, Device, Layout, Tensor, no_grad};

use crate::emulation::{Order, device};

/// Half a unit in the last place of bf16: 8 bits of precision, rounded once.
const BF16_ROUNDING: f64 = 1.0 / 256.0;

/// Gradients against those of the CPU: both are sums in f32 in different orders; relative, and to the greatest.
const GRADIENT: (f64, f64) = (2e-5, 1e-5);

macro_rules! families {
    ($($family:ident)*) => {
        /// Families that have cases of their own.
        const FAMILIES: &[&str] = &[$(stringify!($family)),*];
        $(#[test]
        fn $family() {
            check(stringify!($family));
        })*
    };
}

families! {
    attention conv data diffusion elementwise fft graph index loss matmul norm pool random recurrent reduce resize
    softmax splat
}

#[test]
fn every_case_is_of_a_family_that_is_checked() {
    for case in all() {
        assert!(FAMILIES.contains(&family(&case)), "{}", case.name);
    }
}

fn family(case: &Case) -> &str {
    case.name.split('/').next().unwrap_or_default()
}

fn check(name: &str) {
    let mut cases = 0;
    for case in all().into_iter().filter(|case| family(case) == name && case.plain.is_some()) {
        cases += 1;
        for order in Order::ALL {
            values(&case, &device(order), DType::F32, Layout::Channels);
        }
        values(&case, &device(Order::Reversed), DType::F32, Layout::Rows);
        values(&case, &device(Order::Forward), DType::Bf16, Layout::Channels);
        gradients(&case);
    }
    assert!(cases > 0, "no cases of {name}");
}

/// Values against plain loops in f64 on what the inputs hold; bf16 is rounded once.
fn values(case: &Case, device: &Device, dtype: DType, layout: Layout) {
    let what = format!("{} {dtype} {layout:?} {}", case.name, device.name());
    let inputs = case.tensors(device, dtype, layout).expect("inputs");
    let arrays: Vec<Array> = inputs.iter().zip(case.arrays()).map(|(x, array)| held(x, array)).collect();
    let wanted = case.plain.as_ref().expect("plain loops")(&arrays);
    let found = no_grad(|| (case.run)(&inputs)).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(found.len(), wanted.len(), "{what}");
    let rounding = if dtype == DType::Bf16 { BF16_ROUNDING } else { 0.0 };
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found.shape().sizes(), &wanted.shape[..], "{what}");
        let tolerance = (case.tolerance.0 + rounding, case.tolerance.1);
        assert_close(&what, &found.to_vec().expect("values"), &wanted.values, tolerance);
    }
}

/// An input's numbers as its dtype holds them.
fn held(x: &Tensor, array: Array) -> Array {
    match x.dtype() {
        DType::Bf16 => Array { values: x.to_vec().expect("values").into_iter().map(f64::from).collect(), ..array },
        _ => array,
    }
}

fn assert_close(what: &str, found: &[f32], wanted: &[f64], (relative, absolute): (f64, f64)) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let fine = (f64::from(*found) - wanted).abs() <= absolute + relative * wanted.abs();
        let same = f64::from(*found) == *wanted || (found.is_nan() && wanted.is_nan());
        assert!(fine || same, "{what}: element {i} is {found}, expected {wanted}");
    }
}

/// Gradients of every input against those of the CPU, which are compared with differences elsewhere.
fn gradients(case: &Case) {
    let found = gradients_on(case, &device(Order::Shuffled(11)));
    let wanted = gradients_on(case, &Cpu::device());
    for (number, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert_eq!(found.is_some(), wanted.is_some(), "{} input {number}", case.name);
        let (Some(found), Some(wanted)) = (found, wanted) else { continue };
        let greatest = wanted.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
        let wanted: Vec<f64> = wanted.iter().map(|x| f64::from(*x)).collect();
        let what = format!("{} gradient of input {number}", case.name);
        assert_close(&what, found, &wanted, (GRADIENT.0, GRADIENT.1 * greatest));
    }
}

fn gradients_on(case: &Case, device: &Device) -> Vec<Option<Vec<f32>>> {
    let inputs = case.tensors(device, DType::F32, Layout::Channels).expect("inputs");
    let leaves: Vec<Tensor> =
        inputs.iter().zip(&case.inputs).map(|(x, i)| if i.gradient { x.with_gradient() } else { x.clone() }).collect();
    if !case.inputs.iter().any(|input| input.gradient) {
        return Vec::new();
    }
    let outputs = (case.run)(&leaves).unwrap_or_else(|e| panic!("{} on {}: {e}", case.name, device.name()));
    for (output, number) in outputs.iter().zip(0..) {
        let draw = |i: usize| Philox::new(7, number).normal([i as u32, 0, 0, 0])[0] as f32;
        let weight: Vec<f32> = (0..output.len()).map(draw).collect();
        let weight = Tensor::new(device, output.shape(), &weight).expect("a gradient");
        output.backward_with(&weight).unwrap_or_else(|e| panic!("{} on {}: {e}", case.name, device.name()));
    }
    leaves.iter().map(|x| x.gradient().map(|x| x.to_vec().expect("values"))).collect()
}
