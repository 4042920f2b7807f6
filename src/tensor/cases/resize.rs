//! Images interpolated, padded and cropped.

use super::{Array, Case, Input};
use crate::tensor::{Interpolation, Padding, Result, Tensor};

const SHARP: Interpolation = Interpolation::Nearest;
const CELLS: Interpolation = Interpolation::Bilinear { align_corners: false };
const CORNERS: Interpolation = Interpolation::Bilinear { align_corners: true };

/// Where along an axis of `from` values an output lies, and the value below it.
fn place(output: usize, from: usize, to: usize, step: f64, kind: Interpolation) -> (usize, f64) {
    let at = match kind {
        Interpolation::Nearest => return ((output as f64 * step + 1e-9).floor().min(from as f64 - 1.0) as usize, 0.0),
        Interpolation::Bilinear { align_corners: true } if to == 1 => 0.0,
        Interpolation::Bilinear { align_corners: true } => output as f64 * (from - 1) as f64 / (to - 1) as f64,
        Interpolation::Bilinear { align_corners: false } => (step * (output as f64 + 0.5) - 0.5).max(0.0),
    };
    let low = (at.floor() as usize).min(from - 1);
    (low, if low + 1 < from { at - low as f64 } else { 0.0 })
}

fn resized(x: &Array, to: [usize; 2], steps: [f64; 2], kind: Interpolation) -> Array {
    let [n, c, h, w] = x.shape[..] else { return x.clone() };
    Array::from_fn(&[n, c, to[0], to[1]], |i| {
        let (row, v) = place(i[2], h, to[0], steps[0], kind);
        let (column, u) = place(i[3], w, to[1], steps[1], kind);
        let value = |r: usize, c: usize| x.values[((i[0] * x.shape[1] + i[1]) * h + r.min(h - 1)) * w + c.min(w - 1)];
        (1.0 - v) * ((1.0 - u) * value(row, column) + u * value(row, column + 1))
            + v * ((1.0 - u) * value(row + 1, column) + u * value(row + 1, column + 1))
    })
}

fn resize(shape: [usize; 4], to: [usize; 2], kind: Interpolation) -> Case {
    let steps = [shape[2] as f64 / to[0] as f64, shape[3] as f64 / to[1] as f64];
    Case::new(
        format!("resize/{kind:?} {shape:?} to {to:?}"),
        vec![Input::normal(&shape)],
        move |x| Ok(vec![x[0].resize(to[0], to[1], kind)?]),
        move |x| vec![resized(&x[0], to, steps, kind)],
    )
}

fn resize_by(shape: [usize; 4], factors: [f64; 2], kind: Interpolation) -> Case {
    let to = [(shape[2] as f64 * factors[0]) as usize, (shape[3] as f64 * factors[1]) as usize];
    Case::new(
        format!("resize/{kind:?} {shape:?} by {factors:?}"),
        vec![Input::normal(&shape)],
        move |x| Ok(vec![x[0].resize_by(factors, kind)?]),
        move |x| vec![resized(&x[0], to, factors.map(|factor| 1.0 / factor), kind)],
    )
}

/// Walks to the place inside that an outside place shows.
fn shown(mut at: isize, size: isize, padding: Padding) -> Option<isize> {
    while at < 0 || at >= size {
        at = match padding {
            Padding::Constant(_) => return None,
            Padding::Replicate if at < 0 => 0,
            Padding::Replicate => size - 1,
            Padding::Reflect if at < 0 => -at,
            Padding::Reflect => 2 * size - 2 - at,
        };
    }
    Some(at)
}

fn shifted(
    name: String,
    shape: [usize; 4],
    before: [isize; 2],
    to: [usize; 2],
    padding: Padding,
    run: impl Fn(&Tensor) -> Result<Tensor> + Send + Sync + 'static,
) -> Case {
    let plain = move |x: &[Array]| {
        vec![Array::from_fn(&[shape[0], shape[1], to[0], to[1]], |i| {
            let row = shown(i[2] as isize - before[0], shape[2] as isize, padding);
            let column = shown(i[3] as isize - before[1], shape[3] as isize, padding);
            match (row, column, padding) {
                (Some(row), Some(column), _) => {
                    x[0].values[((i[0] * shape[1] + i[1]) * shape[2] + row as usize) * shape[3] + column as usize]
                }
                (_, _, Padding::Constant(value)) => f64::from(value),
                _ => f64::NAN,
            }
        })]
    };
    Case::new(name, vec![Input::normal(&shape)], move |x| Ok(vec![run(&x[0])?]), plain)
}

pub(super) fn cases() -> Vec<Case> {
    let shape = [2, 3, 5, 7];
    let mut cases = Vec::new();
    for kind in [SHARP, CELLS, CORNERS] {
        cases.extend([[10, 14], [9, 8], [3, 2], [1, 7], [5, 21]].map(|to| resize(shape, to, kind)));
    }
    cases.push(resize([1, 16, 4, 6], [9, 11], CELLS));
    cases.push(resize([1, 16, 1, 1], [3, 2], CORNERS));
    cases.push(resize([1, 1, 6, 9], [13, 17], CELLS));
    cases.extend([SHARP, CELLS].map(|kind| resize_by(shape, [2.5, 1.3], kind)));
    cases.push(resize_by(shape, [0.5, 2.0], CELLS));
    for padding in [Padding::Constant(1.5), Padding::Reflect, Padding::Replicate] {
        let name = format!("resize/pad {padding:?}");
        cases.push(shifted(name, shape, [2, 3], [8, 15], padding, move |x| x.pad([2, 1, 3, 5], padding)));
        let name = format!("resize/fit {padding:?}");
        cases.push(shifted(name, shape, [-1, 1], [2, 10], padding, move |x| x.fit(2, 10, padding)));
    }
    let zeros = Padding::Constant(0.0);
    cases.push(shifted("resize/crop".into(), shape, [-1, -2], [3, 4], zeros, |x| x.crop(1, 2, 3, 4)));
    let small = || Input::normal(&[1, 16, 530, 900]);
    let up = |x: &[Tensor]| Ok(vec![x[0].resize(1059, 1799, CELLS)?]);
    cases.push(Case::speed("resize/bilinear 16×530×900 to 1059×1799", vec![small()], up));
    let fit = move |x: &[Tensor]| Ok(vec![x[0].fit(1072, 1808, zeros)?]);
    cases.push(Case::speed("resize/fit 16×1059×1799 to 1072×1808", vec![Input::normal(&[1, 16, 1059, 1799])], fit));
    cases
}
