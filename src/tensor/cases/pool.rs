//! Windows of images: their greatest value and their mean.

use super::{Array, Case, Input};
use crate::tensor::{Tensor, Window};

fn windows(x: &Array, window: Window, of: impl Fn(&mut dyn Iterator<Item = f64>) -> f64) -> Array {
    let [n, c, h, w] = x.shape[..] else { return x.clone() };
    let size =
        |from: usize, axis: usize| (from + 2 * window.padding[axis] - window.kernel[axis]) / window.stride[axis] + 1;
    Array::from_fn(&[n, c, size(h, 0), size(w, 1)], |i| {
        let inside = |o: usize, k: usize, axis: usize, size: usize| {
            (o * window.stride[axis] + k).checked_sub(window.padding[axis]).filter(|at| *at < size)
        };
        let taps = (0..window.kernel[0]).flat_map(|k| (0..window.kernel[1]).map(move |l| (k, l)));
        let places = taps.filter_map(|(k, l)| Some((inside(i[2], k, 0, h)?, inside(i[3], l, 1, w)?)));
        of(&mut places.map(|(row, column)| x.at(&[i[0], i[1], row, column])))
    })
}

fn greatest(shape: [usize; 4], window: Window) -> Case {
    Case::new(
        format!("pool/max {shape:?} {:?} {:?} {:?}", window.kernel, window.stride, window.padding),
        vec![Input::normal(&shape)],
        move |x| Ok(vec![x[0].max_pool2d(window)?]),
        move |x| vec![windows(&x[0], window, |values| values.fold(f64::NEG_INFINITY, f64::max))],
    )
}

fn mean(shape: [usize; 4], window: Window) -> Case {
    let area = (window.kernel[0] * window.kernel[1]) as f64;
    Case::new(
        format!("pool/mean {shape:?} {:?} {:?} {:?}", window.kernel, window.stride, window.padding),
        vec![Input::normal(&shape)],
        move |x| Ok(vec![x[0].avg_pool2d(window)?]),
        move |x| vec![windows(&x[0], window, |values| values.sum::<f64>() / area)],
    )
}

fn parts(shape: [usize; 4], to: [usize; 2]) -> Case {
    let plain = move |x: &[Array]| {
        let range = |o: usize, axis: usize| {
            let (from, to) = (shape[axis + 2], to[axis]);
            (o as f64 * from as f64 / to as f64).floor() as usize
                ..((o + 1) as f64 * from as f64 / to as f64).ceil() as usize
        };
        vec![Array::from_fn(&[shape[0], shape[1], to[0], to[1]], |i| {
            let (rows, columns) = (range(i[2], 0), range(i[3], 1));
            let count = (rows.len() * columns.len()) as f64;
            let values = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
            values.map(|(row, column)| x[0].at(&[i[0], i[1], row, column])).sum::<f64>() / count
        })]
    };
    let run = move |x: &[Tensor]| Ok(vec![x[0].adaptive_avg_pool2d(to[0], to[1])?]);
    Case::new(format!("pool/adaptive {shape:?} to {to:?}"), vec![Input::normal(&shape)], run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let shape = [2, 3, 7, 10];
    let uneven = Window { kernel: [2, 3], stride: [1, 2], padding: [1, 0] };
    let all = [Window::square(2, 2, 0), Window::square(3, 2, 1), Window::square(3, 1, 1), uneven];
    let mut cases: Vec<Case> = all.into_iter().flat_map(|w| [greatest(shape, w), mean(shape, w)]).collect();
    cases.push(greatest([1, 17, 5, 4], Window::square(2, 2, 0)));
    cases.push(mean([1, 16, 8, 8], Window::square(2, 2, 0)));
    cases.extend([[1, 1], [3, 4], [7, 10], [9, 3]].map(|to| parts(shape, to)));
    let big = || vec![Input::normal(&[1, 16, 1059, 1799])];
    let window = Window::square(2, 2, 0);
    let run = move |x: &[Tensor]| Ok(vec![x[0].max_pool2d(window)?]);
    cases.push(Case::speed("pool/max 2×2 16×1059×1799", big(), run));
    let run = move |x: &[Tensor]| Ok(vec![x[0].avg_pool2d(window)?]);
    cases.push(Case::speed("pool/mean 2×2 16×1059×1799", big(), run));
    cases
}
