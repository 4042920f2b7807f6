//! Spectra of fields of any size, fields of spectra, and amplitudes.

use std::f64::consts::TAU;

use super::{Array, Case, Input};
use crate::tensor::{Norm, Tensor};

/// A sum of a few dozen numbers near 1 may cancel to one near 0, which then is off by the rounding of the terms.
const TOLERANCE: (f64, f64) = (1e-5, 5e-6);

fn scale(norm: Norm, count: usize, inverse: bool) -> f64 {
    match norm {
        Norm::Ortho => 1.0 / (count as f64).sqrt(),
        Norm::Backward if inverse => 1.0 / count as f64,
        Norm::Backward => 1.0,
    }
}

fn rfft2(x: &Array, norm: Norm) -> Array {
    let [ref before @ .., h, w] = x.shape[..] else { return x.clone() };
    let scale = scale(norm, h * w, false);
    Array::from_fn(&[before, &[h, w / 2 + 1, 2]].concat(), |i| {
        let [ref before @ .., j, l, part] = i[..] else { return f64::NAN };
        let field = before.iter().zip(&x.shape).fold(0, |field, (i, size)| field * size + i);
        let value = |n: usize| {
            let angle = TAU * ((j * (n / w)) as f64 / h as f64 + (l * (n % w)) as f64 / w as f64);
            x.values[field * h * w + n] * if part == 0 { angle.cos() } else { -angle.sin() }
        };
        scale * (0..h * w).map(value).sum::<f64>()
    })
}

fn irfft2(x: &Array, columns: usize, norm: Norm) -> Array {
    let [ref before @ .., h, half, _] = x.shape[..] else { return x.clone() };
    let scale = scale(norm, h * columns, true);
    Array::from_fn(&[before, &[h, columns]].concat(), |i| {
        let [ref before @ .., j, l] = i[..] else { return f64::NAN };
        let field = before.iter().zip(&x.shape).fold(0, |field, (i, size)| field * size + i);
        let value = |n: usize| {
            let (k, m) = (n / half, n % half);
            let angle = TAU * ((j * k) as f64 / h as f64 + (l * m) as f64 / columns as f64);
            let at = 2 * (field * h * half + n);
            let count = if m == 0 || 2 * m == columns { 1.0 } else { 2.0 };
            count * (x.values[at] * angle.cos() - x.values[at + 1] * angle.sin())
        };
        scale * (0..h * half).map(value).sum::<f64>()
    })
}

fn forward(shape: &[usize], norm: Norm) -> Case {
    let run = move |x: &[Tensor]| Ok(vec![x[0].rfft2(norm)?]);
    let plain = move |x: &[Array]| vec![rfft2(&x[0], norm)];
    let name = format!("fft/rfft2 {shape:?} {norm:?}");
    Case::new(name, vec![Input::normal(shape)], run, plain).within(TOLERANCE.0, TOLERANCE.1)
}

fn inverse(shape: &[usize], columns: usize, norm: Norm) -> Case {
    let run = move |x: &[Tensor]| Ok(vec![x[0].irfft2(columns, norm)?]);
    let plain = move |x: &[Array]| vec![irfft2(&x[0], columns, norm)];
    let name = format!("fft/irfft2 {shape:?} to {columns} columns {norm:?}");
    Case::new(name, vec![Input::normal(shape)], run, plain).within(TOLERANCE.0, TOLERANCE.1)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for norm in [Norm::Backward, Norm::Ortho] {
        cases.extend([&[5, 7][..], &[2, 1, 4, 6], &[3, 1], &[1, 8], &[2, 9, 34]].map(|shape| forward(shape, norm)));
        let spectra: [(&[usize], usize); 5] =
            [(&[5, 4, 2], 7), (&[5, 4, 2], 6), (&[2, 3, 4, 2], 7), (&[3, 1, 2], 1), (&[2, 9, 18, 2], 34)];
        cases.extend(spectra.map(|(shape, columns)| inverse(shape, columns, norm)));
    }
    let plain = |x: &[Array]| {
        let amplitudes = x[0].values.chunks(2).map(|pair| pair[0].hypot(pair[1])).collect();
        vec![Array { shape: vec![3, 5], values: amplitudes }]
    };
    cases.push(Case::new("fft/amplitude", vec![Input::normal(&[3, 5, 2])], |x| Ok(vec![x[0].amplitude()?]), plain));
    let field = vec![Input::normal(&[1059, 1799])];
    let run = |x: &[Tensor]| Ok(vec![x[0].rfft2(Norm::Backward)?]);
    // What a split-radix transform of as many numbers takes, as FFTW's makers count.
    let operations = 2.5 * 1059.0 * 1799.0 * (1059.0 * 1799.0_f64).log2();
    cases.push(Case::speed("fft/rfft2 1059×1799", field, run).counting(operations));
    let run = |x: &[Tensor]| Ok(vec![x[0].irfft2(1799, Norm::Backward)?]);
    cases.push(Case::speed("fft/irfft2 1059×1799", vec![Input::normal(&[1059, 900, 2])], run).counting(operations));
    cases
}
