//! Sums, means and extremes along dimensions.

use super::{Array, Case, Input};
use crate::tensor::{Result, Tensor};

type Reduction = (&'static str, fn(&Tensor, &[isize]) -> Result<Tensor>, fn(f64, f64) -> f64, f64);

const REDUCTIONS: [Reduction; 3] = [
    ("sum", |x, d| x.sum(d, true), |a, b| a + b, 0.0),
    ("max", |x, d| x.max(d, true), f64::max, f64::NEG_INFINITY),
    ("min", |x, d| x.min(d, true), f64::min, f64::INFINITY),
];

/// Dimensions of a tensor of four that are folded.
const DIMENSIONS: [&[isize]; 6] = [&[0, 1, 2, 3], &[1], &[-1], &[2, 3], &[0, 2], &[0, 1, 3]];

fn folded(x: &Array, dimensions: &[isize], of: fn(f64, f64) -> f64, start: f64) -> Array {
    let gone =
        |d: usize| dimensions.contains(&(d as isize)) || dimensions.contains(&(d as isize - x.shape.len() as isize));
    let shape: Vec<usize> = x.shape.iter().enumerate().map(|(d, size)| if gone(d) { 1 } else { *size }).collect();
    let mut folded = Array::from_fn(&shape, |_| start);
    let steps = Array::from_fn(&shape, |_| 0.0);
    let mut flat = vec![0usize; x.shape.len()];
    for value in &x.values {
        let at = flat.iter().zip(&steps.shape).fold(0, |at, (i, size)| at * size + if *size == 1 { 0 } else { *i });
        folded.values[at] = of(folded.values[at], *value);
        for (i, size) in flat.iter_mut().zip(&x.shape).rev() {
            *i = (*i + 1) % size;
            if *i != 0 {
                break;
            }
        }
    }
    folded
}

pub(super) fn cases() -> Vec<Case> {
    let shape = [2, 35, 6, 7];
    let mut cases = Vec::new();
    for (name, run, of, start) in REDUCTIONS {
        for dimensions in DIMENSIONS {
            let input = if name == "sum" { Input::normal(&shape) } else { Input::normal(&shape).constant() };
            let plain = move |x: &[Array]| vec![folded(&x[0], dimensions, of, start)];
            let run = move |x: &[Tensor]| Ok(vec![run(&x[0], dimensions)?]);
            cases.push(Case::new(format!("reduce/{name} {dimensions:?}"), vec![input], run, plain));
        }
    }
    let mean = |x: &[Tensor]| Ok(vec![x[0].mean(&[2, 3], false)?]);
    let plain = |x: &[Array]| {
        let sums = folded(&x[0], &[2, 3], |a, b| a + b, 0.0);
        vec![Array { shape: x[0].shape[..2].to_vec(), values: sums.map(|sum| sum / 42.0).values }]
    };
    cases.push(Case::new("reduce/mean of images", vec![Input::normal(&shape)], mean, plain));
    let big = Input::normal(&[1, 16, 1059, 1799]);
    cases.push(Case::speed("reduce/sum 16×1059×1799", vec![big], |x| Ok(vec![x[0].sum(&[], false)?])));
    cases
}
