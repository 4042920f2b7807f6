//! Losses: every penalty, weighted and not, over elements, differences and spectra.

use super::{Array, Case, Input};
use crate::tensor::{Penalty, Tensor, Weighting};

/// Penalties away from their kinks where the numbers are normal.
const PENALTIES: [Penalty; 5] = [
    Penalty::Squared,
    Penalty::Absolute,
    Penalty::Huber(0.5),
    Penalty::SmoothAbsolute(0.75),
    Penalty::CrossEntropy(2.5),
];

/// Shapes of weights that broadcast to [`SHAPE`].
const WEIGHTS: [&[usize]; 3] = [&[2, 3, 7, 11], &[1, 3, 1, 1], &[7, 11]];
const SHAPE: [usize; 4] = [2, 3, 7, 11];

fn penalty(op: Penalty, x: f64, t: f64) -> f64 {
    let far = (x - t).abs();
    let huber = |delta: f64| if far <= delta { 0.5 * far * far } else { delta * (far - 0.5 * delta) };
    match op {
        Penalty::Squared => far * far,
        Penalty::Absolute => far,
        Penalty::Huber(delta) => huber(delta.into()),
        Penalty::SmoothAbsolute(beta) => huber(beta.into()) / f64::from(beta),
        Penalty::CrossEntropy(positive) => f64::from(positive) * t * (-x).exp().ln_1p() + (1.0 - t) * x.exp().ln_1p(),
    }
}

fn mean(op: Penalty, x: &Array, t: &Array) -> f64 {
    let sum: f64 = x.values.iter().zip(&t.values).map(|(x, t)| penalty(op, *x, *t)).sum();
    sum / x.values.len() as f64
}

fn number(value: f64) -> Vec<Array> {
    vec![Array { shape: Vec::new(), values: vec![value] }]
}

fn inputs() -> Vec<Input> {
    vec![Input::normal(&SHAPE), Input::between(&SHAPE, 0.0, 1.0)]
}

fn plain_penalty(op: Penalty) -> Case {
    let run = move |x: &[Tensor]| Ok(vec![x[0].loss(op, &x[1], Weighting::Equal)?]);
    Case::new(format!("loss/{op:?}"), inputs(), run, move |x| number(mean(op, &x[0], &x[1])))
}

fn weighted(op: Penalty, shape: &[usize], averaged: bool) -> Case {
    let run = move |x: &[Tensor]| {
        let weighting = if averaged { Weighting::Averaged(&x[2]) } else { Weighting::Scaled(&x[2]) };
        Ok(vec![x[0].loss(op, &x[1], weighting)?])
    };
    let plain = move |x: &[Array]| {
        let weights = Array::from_fn(&SHAPE, |i| x[2].at(i));
        let pairs = x[0].values.iter().zip(&x[1].values).zip(&weights.values);
        let sum: f64 = pairs.map(|((x, t), w)| w * penalty(op, *x, *t)).sum();
        let count = if averaged { weights.values.iter().sum() } else { weights.values.len() as f64 };
        number(sum / count)
    };
    let mut inputs = inputs();
    inputs.push(Input::between(shape, 0.1, 3.0).constant());
    Case::new(format!("loss/{op:?} weights {shape:?} averaged {averaged}"), inputs, run, plain)
}

/// The steps from each element to the next along rows or columns.
fn steps(x: &Array, along_rows: bool) -> Array {
    let (n, c, h, w) = (SHAPE[0], SHAPE[1], SHAPE[2], SHAPE[3]);
    let (down, right) = if along_rows { (0, 1) } else { (1, 0) };
    Array::from_fn(&[n, c, h - down, w - right], |i| {
        x.at(&[i[0], i[1], i[2] + down, i[3] + right]) - x.at(&[i[0], i[1], i[2], i[3]])
    })
}

fn gradient(op: Penalty) -> Case {
    let run = move |x: &[Tensor]| Ok(vec![x[0].gradient_loss(op, &x[1])?]);
    let plain = move |x: &[Array]| {
        number([true, false].into_iter().map(|rows| mean(op, &steps(&x[0], rows), &steps(&x[1], rows))).sum())
    };
    Case::new(format!("loss/gradient {op:?}"), inputs(), run, plain)
}

/// The amplitudes of the half spectrum of one field, by the sum that defines it.
fn amplitudes(x: &Array) -> Array {
    let (rows, columns) = (x.shape[0], x.shape[1]);
    Array::from_fn(&[rows, columns / 2 + 1], |k| {
        let (mut re, mut im) = (0.0, 0.0);
        for (place, value) in x.values.iter().enumerate() {
            let (i, j) = (place / columns, place % columns);
            let turns = (i * k[0]) as f64 / rows as f64 + (j * k[1]) as f64 / columns as f64;
            let angle = -std::f64::consts::TAU * turns;
            (re, im) = (re + value * angle.cos(), im + value * angle.sin());
        }
        re.hypot(im) / (x.values.len() as f64).sqrt()
    })
}

fn spectral(logarithmic: bool) -> Case {
    let run =
        move |x: &[Tensor]| Ok(vec![x[0].spectral_loss(Penalty::Absolute, &x[1], logarithmic, Weighting::Equal)?]);
    let plain = move |x: &[Array]| {
        let of = |x: &Array| amplitudes(x).map(|a| if logarithmic { a.ln_1p() } else { a });
        number(mean(Penalty::Absolute, &of(&x[0]), &of(&x[1])))
    };
    let inputs = vec![Input::normal(&[6, 9]), Input::normal(&[6, 9])];
    Case::new(format!("loss/spectral logarithmic {logarithmic}"), inputs, run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = PENALTIES.into_iter().map(plain_penalty).collect();
    for shape in WEIGHTS {
        cases.extend([false, true].map(|averaged| weighted(Penalty::Huber(0.5), shape, averaged)));
    }
    cases.push(weighted(Penalty::CrossEntropy(1.0), &[7, 11], true));
    cases.extend([Penalty::Squared, Penalty::Absolute].map(gradient));
    cases.extend([false, true].map(spectral));
    let big = || vec![Input::normal(&[1, 16, 1059, 1799]), Input::normal(&[1, 16, 1059, 1799]).constant()];
    for op in PENALTIES {
        let run = move |x: &[Tensor]| Ok(vec![x[0].loss(op, &x[1], Weighting::Equal)?]);
        cases.push(Case::speed(format!("loss/{op:?} 16×1059×1799"), big(), run));
    }
    cases
}
