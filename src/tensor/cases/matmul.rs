//! Products of matrices and linear layers.

use super::{Array, Case, Input};
use crate::tensor::ops::elementwise::Map;
use crate::tensor::ops::matmul::LinearTail;

/// Pairs of shapes, and whether each is transposed.
const PRODUCTS: [(&[usize], &[usize], bool, bool); 25] = [
    (&[7], &[7], false, false),
    (&[7], &[7, 5], false, false),
    (&[5, 7], &[7], false, false),
    (&[7], &[3, 7, 2], false, false),
    (&[5, 7], &[7, 3], false, false),
    (&[7, 5], &[7, 3], true, false),
    (&[5, 7], &[3, 7], false, true),
    (&[7, 5], &[3, 7], true, true),
    (&[1, 300], &[300, 2], false, false),
    (&[2, 3, 5, 4], &[4, 6], false, false),
    (&[2, 3, 5, 4], &[2, 3, 6, 4], false, true),
    (&[2, 1, 4, 5], &[3, 4, 6], true, false),
    (&[4, 5], &[2, 3, 5, 2], false, false),
    (&[13, 1], &[1, 34], false, false),
    (&[3, 0], &[0, 2], false, false),
    (&[1, 1], &[1, 1], false, true),
    (&[0, 3], &[3, 2], false, false),
    (&[3, 2], &[3, 0], true, false),
    (&[2, 0, 3], &[2, 3, 4], false, false),
    (&[0, 2, 3], &[0, 3, 4], false, false),
    (&[2, 3, 0], &[4, 0], false, true),
    (&[25, 9], &[9, 33], false, false),
    (&[9, 25], &[33, 9], true, true),
    (&[3, 2, 70], &[3, 9, 70], false, true),
    (&[2, 1, 3, 7], &[3, 7, 5], false, false),
];

/// One product of matrices that lie at `x` and `y`.
fn product(x: &Array, y: &Array, transpose_x: bool, transpose_y: bool) -> Array {
    let matrix = |x: &Array, front: bool| match (x.shape.len(), front) {
        (1, true) => vec![1, x.shape[0]],
        (1, false) => vec![x.shape[0], 1],
        _ => x.shape.clone(),
    };
    let (x_shape, y_shape) = (matrix(x, true), matrix(y, false));
    let x = Array { shape: x_shape, values: x.values.clone() };
    let y = Array { shape: y_shape, values: y.values.clone() };
    let (last_x, last_y) = (x.shape.len() - 1, y.shape.len() - 1);
    let rank = x.shape.len().max(y.shape.len());
    let size = |s: &[usize], d: usize| if d + s.len() < rank { 1 } else { s[d + s.len() - rank] };
    let mut shape: Vec<usize> = (0..rank).map(|d| size(&x.shape, d).max(size(&y.shape, d))).collect();
    let inner = x.shape[if transpose_x { last_x - 1 } else { last_x }];
    shape[rank - 2] = x.shape[if transpose_x { last_x } else { last_x - 1 }];
    shape[rank - 1] = y.shape[if transpose_y { last_y - 1 } else { last_y }];
    Array::from_fn(&shape, |index| {
        let at = |array: &Array, row: usize, column: usize, transposed: bool| {
            let mut index = index.to_vec();
            (index[rank - 2], index[rank - 1]) = if transposed { (column, row) } else { (row, column) };
            array.at(&index)
        };
        let (row, column) = (index[rank - 2], index[rank - 1]);
        (0..inner).map(|k| at(&x, row, k, transpose_x) * at(&y, k, column, transpose_y)).sum()
    })
}

fn matmul((x, y, transpose_x, transpose_y): (&'static [usize], &'static [usize], bool, bool)) -> Case {
    let name = format!("matmul/{x:?}{} by {y:?}{}", mark(transpose_x), mark(transpose_y));
    let run = move |x: &[crate::tensor::Tensor]| Ok(vec![x[0].matmul_with(&x[1], transpose_x, transpose_y)?]);
    let plain = move |a: &[Array]| {
        let mut found = product(&a[0], &a[1], transpose_x, transpose_y);
        if y.len() == 1 {
            found.shape.pop();
        }
        if x.len() == 1 {
            let row = if y.len() == 1 { found.shape.len() - 1 } else { found.shape.len() - 2 };
            found.shape.remove(row);
        }
        vec![found]
    };
    // Rounding of a sum is relative to its terms, not to a sum near 0.
    Case::new(name, vec![Input::normal(x), Input::normal(y)], run, plain).within(1e-5, 2e-5)
}

fn mark(transposed: bool) -> &'static str {
    if transposed { "ᵀ" } else { "" }
}

/// x (.., in) · wᵀ + bias, then an activation, then a residual.
fn linear(x: &[usize], outputs: usize, tail: (bool, Option<Map>, bool)) -> Case {
    let (with_bias, activation, with_residual) = tail;
    let inputs = x[x.len() - 1];
    let shape = [&x[..x.len() - 1], &[outputs]].concat();
    let mut given = vec![Input::normal(x), Input::normal(&[outputs, inputs])];
    given.extend(with_bias.then(|| Input::normal(&[outputs])));
    given.extend(with_residual.then(|| Input::normal(&shape)));
    let run = move |x: &[crate::tensor::Tensor]| {
        let bias = with_bias.then(|| &x[2]);
        let residual = with_residual.then(|| &x[2 + usize::from(with_bias)]);
        Ok(vec![x[0].linear_with(&x[1], LinearTail { bias, activation, residual })?])
    };
    let name = format!("matmul/linear {x:?} to {outputs} {activation:?} bias {with_bias} residual {with_residual}");
    let plain = move |x: &[Array]| {
        let mut sums = product(&x[0], &x[1], false, true);
        for (index, sum) in sums.values.iter_mut().enumerate() {
            *sum += if with_bias { x[2].values[index % outputs] } else { 0.0 };
            *sum = if activation.is_some() { *sum / (1.0 + (-*sum).exp()) } else { *sum };
            *sum += if with_residual { x[2 + usize::from(with_bias)].values[index] } else { 0.0 };
        }
        sums.shape.clone_from(&shape);
        vec![sums]
    };
    Case::new(name, given, run, plain).within(1e-5, 2e-5)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = PRODUCTS.into_iter().map(matmul).collect();
    for tail in
        [(false, None, false), (true, None, true), (true, Some(Map::Silu), true), (false, Some(Map::Silu), false)]
    {
        cases.push(linear(&[3, 5, 9], 19, tail));
        cases.push(linear(&[2, 3, 5, 7], 4, tail));
        cases.push(linear(&[9], 2, tail));
        cases.push(linear(&[3, 0], 2, tail));
        cases.push(linear(&[2, 70], 5, tail));
    }
    for (rows, inner, columns) in
        [(1024, 1024, 1024), (64, 576, 16384), (1, 1024, 1024), (2304, 512, 2048), (4096, 4096, 4096)]
    {
        let name = format!("matmul/{rows}×{inner}×{columns}");
        let inputs = vec![Input::normal(&[rows, inner]), Input::normal(&[inner, columns])];
        let operations = 2.0 * (rows * inner * columns) as f64;
        cases.push(Case::speed(name, inputs, |x| Ok(vec![x[0].matmul(&x[1])?])).counting(operations));
    }
    cases
}
