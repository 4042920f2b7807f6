//! Elementwise functions of special numbers, and their gradients, beside what PyTorch stored.

use gustfront::tensor::{Device, Result, Tensor};

use crate::fixtures::Fixtures;

type Map = (&'static str, fn(&Tensor) -> Result<Tensor>);
type Zip = (&'static str, fn(&Tensor, &Tensor) -> Result<Tensor>);

const MAPS: [Map; 31] = [
    ("neg", Tensor::neg),
    ("add_scalar", |x| x.add_scalar(1.5)),
    ("mul_scalar", |x| x.mul_scalar(-2.5)),
    ("recip", Tensor::recip),
    ("sqrt", Tensor::sqrt),
    ("abs", Tensor::abs),
    ("exp", Tensor::exp),
    ("ln", Tensor::ln),
    ("sin", Tensor::sin),
    ("cos", Tensor::cos),
    ("clamp", |x| x.clamp(-1.0, 1.0)),
    ("clamp_crossed", |x| x.clamp(1.0, -1.0)),
    ("clamp_nan", |x| x.clamp(f32::NAN, 1.0)),
    ("relu", Tensor::relu),
    ("leaky_relu", |x| x.leaky_relu(0.25)),
    ("elu", Tensor::elu),
    ("silu", Tensor::silu),
    ("gelu", Tensor::gelu),
    ("gelu_tanh", Tensor::gelu_tanh),
    ("sigmoid", Tensor::sigmoid),
    ("tanh", Tensor::tanh),
    ("softplus", Tensor::softplus),
    ("powf(0.0)", |x| x.powf(0.0)),
    ("powf(1.0)", |x| x.powf(1.0)),
    ("powf(2.0)", |x| x.powf(2.0)),
    ("powf(3.0)", |x| x.powf(3.0)),
    ("powf(0.5)", |x| x.powf(0.5)),
    ("powf(-0.5)", |x| x.powf(-0.5)),
    ("powf(-1.0)", |x| x.powf(-1.0)),
    ("powf(-2.0)", |x| x.powf(-2.0)),
    ("powf(1.5)", |x| x.powf(1.5)),
];

const ZIPS: [Zip; 6] = [
    ("add", Tensor::add),
    ("sub", Tensor::sub),
    ("mul", Tensor::mul),
    ("div", Tensor::div),
    ("maximum", Tensor::maximum),
    ("minimum", Tensor::minimum),
];

/// What is not as PyTorch has it: the result, the number, and what is right. Its formulas multiply 0 by ∞ where there
/// is a limit, lose the sign of a 0 that is added to another one, and cancel where the normal distribution is small.
const OTHER: &[(&str, f32, f32)] = &[
    ("map.silu", f32::NEG_INFINITY, -0.0),
    ("map.silu.g", f32::NEG_INFINITY, -0.0),
    ("map.silu.g", f32::INFINITY, 1.0),
    ("map.gelu", f32::NEG_INFINITY, -0.0),
    ("map.gelu.g", f32::NEG_INFINITY, 0.0),
    ("map.gelu.g", f32::INFINITY, 1.0),
    ("map.gelu", -0.0, -0.0),
    ("map.gelu", f32::MIN, -0.0),
    ("map.gelu", -3.0, -4.049_694e-3),
    ("map.gelu_tanh", f32::NEG_INFINITY, -0.0),
    ("map.gelu_tanh.g", f32::NEG_INFINITY, 0.0),
    ("map.gelu_tanh.g", f32::MIN, 0.0),
    ("map.gelu_tanh.g", f32::INFINITY, 1.0),
    ("map.gelu_tanh.g", f32::MAX, 1.0),
];

/// Relative to what is right, and absolute: f32 functions of ordinary numbers.
const TOLERANCE: (f32, f32) = (2e-6, 1e-7);

/// Everything that differs from what PyTorch stored.
pub(crate) fn differences(device: &Device) -> Vec<String> {
    let fixtures = Fixtures::own("special.safetensors");
    let stored = |name: &str| fixtures.array(name).values.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    let numbers = stored("numbers");
    let mut told = Vec::new();
    let mut compare = |name: String, found: Vec<f32>, of: &[(f32, f32)]| {
        for ((found, stored), (x, y)) in found.into_iter().zip(stored(&name)).zip(of) {
            let other = OTHER.iter().find(|(other, at, _)| *other == name && at.to_bits() == x.to_bits());
            let wanted = other.map_or(stored, |(.., wanted)| *wanted);
            if !close(found, wanted) {
                told.push(format!("{name} of {x:e} (and {y:e}) is {found:e}, expected {wanted:e}"));
            }
        }
    };
    let alone: Vec<(f32, f32)> = numbers.iter().map(|x| (*x, *x)).collect();
    for (name, of) in MAPS {
        let [y, dx] = mapped(device, &numbers, of).unwrap_or_else(|e| panic!("{name}: {e}"));
        compare(format!("map.{name}"), y, &alone);
        compare(format!("map.{name}.g"), dx, &alone);
    }
    let pairs: Vec<(f32, f32)> = numbers.iter().flat_map(|x| numbers.iter().map(|y| (*x, *y))).collect();
    for (name, of) in ZIPS {
        let [z, dx, dy] = zipped(device, &pairs, of).unwrap_or_else(|e| panic!("{name}: {e}"));
        compare(format!("zip.{name}"), z, &pairs);
        compare(format!("zip.{name}.gx"), dx, &pairs);
        compare(format!("zip.{name}.gy"), dy, &pairs);
    }
    told
}

/// The same number, also of the same sign where it is 0.
fn close(found: f32, wanted: f32) -> bool {
    let near = (found - wanted).abs() <= TOLERANCE.0 * wanted.abs() + TOLERANCE.1;
    let same_zero = wanted != 0.0 || found.is_sign_negative() == wanted.is_sign_negative();
    (found.is_nan() && wanted.is_nan()) || ((found == wanted || near) && same_zero)
}

fn mapped(device: &Device, numbers: &[f32], of: fn(&Tensor) -> Result<Tensor>) -> Result<[Vec<f32>; 2]> {
    let x = Tensor::new(device, [numbers.len()], numbers)?.with_gradient();
    let y = of(&x)?;
    y.backward_with(&Tensor::full(device, y.shape(), 1.0)?)?;
    Ok([y.to_vec()?, gradient(&x)?])
}

fn zipped(device: &Device, pairs: &[(f32, f32)], of: fn(&Tensor, &Tensor) -> Result<Tensor>) -> Result<[Vec<f32>; 3]> {
    let (xs, ys): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    let leaf = |values: &[f32]| Tensor::new(device, [values.len()], values).map(|x| x.with_gradient());
    let (x, y) = (leaf(&xs)?, leaf(&ys)?);
    let z = of(&x, &y)?;
    z.backward_with(&Tensor::full(device, z.shape(), 1.0)?)?;
    Ok([z.to_vec()?, gradient(&x)?, gradient(&y)?])
}

fn gradient(x: &Tensor) -> Result<Vec<f32>> {
    x.gradient().expect("a gradient").to_vec()
}
