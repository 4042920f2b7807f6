//! Functions of one tensor and of two that broadcast.

use super::{Array, Case, Input};
use crate::tensor::{Result, Tensor};

type Map = (&'static str, fn(&Tensor) -> Result<Tensor>, fn(f64) -> f64);
type Zip = (&'static str, fn(&Tensor, &Tensor) -> Result<Tensor>, fn(f64, f64) -> f64);

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Functions of any number, away from their kinks where the numbers are normal.
const MAPS: [Map; 17] = [
    ("neg", Tensor::neg, |x| -x),
    ("add_scalar", |x| x.add_scalar(1.5), |x| x + 1.5),
    ("mul_scalar", |x| x.mul_scalar(-2.5), |x| x * -2.5),
    ("square", |x| x.powf(2.0), |x| x * x),
    ("abs", Tensor::abs, f64::abs),
    ("exp", Tensor::exp, f64::exp),
    ("sin", Tensor::sin, f64::sin),
    ("cos", Tensor::cos, f64::cos),
    ("clamp", |x| x.clamp(-0.5, 1.25), |x| x.clamp(-0.5, 1.25)),
    ("relu", Tensor::relu, |x| x.max(0.0)),
    (
        "leaky_relu",
        |x| x.leaky_relu(f32::from_bits(0x3e4c_cccd)),
        |x| if x < 0.0 { x * f64::from(f32::from_bits(0x3e4c_cccd)) } else { x },
    ),
    ("elu", Tensor::elu, |x| if x > 0.0 { x } else { x.exp_m1() }),
    ("silu", Tensor::silu, |x| x * sigmoid(x)),
    ("gelu", Tensor::gelu, |x| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))),
    ("sigmoid", Tensor::sigmoid, sigmoid),
    ("tanh", Tensor::tanh, f64::tanh),
    ("softplus", Tensor::softplus, |x| x.exp().ln_1p()),
];

/// Functions of positive numbers.
const POSITIVE_MAPS: [Map; 4] = [
    ("recip", Tensor::recip, |x| 1.0 / x),
    ("powf", |x| x.powf(1.5), |x| x.powf(1.5)),
    ("sqrt", Tensor::sqrt, f64::sqrt),
    ("ln", Tensor::ln, f64::ln),
];

const ZIPS: [Zip; 6] = [
    ("add", Tensor::add, |x, y| x + y),
    ("sub", Tensor::sub, |x, y| x - y),
    ("mul", Tensor::mul, |x, y| x * y),
    ("div", Tensor::div, |x, y| x / y),
    ("maximum", Tensor::maximum, f64::max),
    ("minimum", Tensor::minimum, f64::min),
];

/// Pairs of shapes that broadcast.
const PAIRS: [(&[usize], &[usize]); 7] = [
    (&[2, 5, 3, 4], &[2, 5, 3, 4]),
    (&[2, 5, 3, 4], &[1, 5, 1, 1]),
    (&[2, 5, 3, 4], &[2, 5, 1, 1]),
    (&[2, 5, 3, 4], &[4]),
    (&[5, 1], &[3, 1, 7]),
    (&[6], &[]),
    (&[2, 1, 3], &[2, 4, 3]),
];

fn map(input: &Input, (name, run, plain): Map) -> Case {
    Case::new(
        format!("elementwise/{name}"),
        vec![input.clone()],
        move |x| Ok(vec![run(&x[0])?]),
        move |x| vec![x[0].map(plain)],
    )
}

fn zip((name, run, plain): Zip, (x, y): (&[usize], &[usize])) -> Case {
    // Away from 0, where a quotient's differences would be far from its gradient.
    let inputs = vec![Input::normal(x), Input::between(y, 0.5, 2.0)];
    Case::new(
        format!("elementwise/{name} {x:?} {y:?}"),
        inputs,
        move |x| Ok(vec![run(&x[0], &x[1])?]),
        move |x| vec![Array::from_fn(&shape(&x[0].shape, &x[1].shape), |i| plain(x[0].at(i), x[1].at(i)))],
    )
}

/// The shape that two shapes broadcast to.
fn shape(x: &[usize], y: &[usize]) -> Vec<usize> {
    let rank = x.len().max(y.len());
    let size = |s: &[usize], d: usize| if d + s.len() < rank { 1 } else { s[d + s.len() - rank] };
    (0..rank).map(|d| size(x, d).max(size(y, d))).collect()
}

pub(super) fn cases() -> Vec<Case> {
    let (normal, positive) = (Input::normal(&[2, 3, 5, 7]), Input::between(&[2, 3, 5, 7], 0.25, 4.0));
    let mut cases: Vec<Case> = MAPS.into_iter().map(|op| map(&normal, op)).collect();
    cases.extend(POSITIVE_MAPS.into_iter().map(|op| map(&positive, op)));
    cases.extend(ZIPS.into_iter().flat_map(|op| PAIRS.into_iter().map(move |pair| zip(op, pair))));
    let big = || Input::normal(&[1, 16, 1059, 1799]);
    cases.push(Case::speed("elementwise/silu 16×1059×1799", vec![big()], |x| Ok(vec![x[0].silu()?])));
    cases.push(Case::speed("elementwise/add 16×1059×1799", vec![big(), big()], |x| Ok(vec![x[0].add(&x[1])?])));
    cases
}
