//! Convolutions of odd sizes, transposed ones, and what is fused behind them.

use super::norm;
use super::{Array, Case, Input};
use crate::tensor::{Conv2d, ConvTranspose2d, Epilogue, Map, NormTail, Prologue, Result, Tensor};

/// Name, shapes of x and w, how the kernel moves.
type Convolution = (&'static str, [usize; 4], [usize; 4], Conv2d);
type Transposed = (&'static str, [usize; 4], [usize; 4], ConvTranspose2d);

const fn how(stride: usize, padding: usize, dilation: usize, groups: usize) -> Conv2d {
    Conv2d { stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2], groups }
}

const fn spread(stride: usize, padding: usize, output_padding: usize, groups: usize) -> ConvTranspose2d {
    let (stride, padding, output_padding) = ([stride; 2], [padding; 2], [output_padding; 2]);
    ConvTranspose2d { stride, padding, output_padding, dilation: [1; 2], groups }
}

const MIXED: Conv2d = Conv2d { stride: [2, 1], padding: [0, 3], dilation: [1, 2], groups: 1 };

const CONVOLUTIONS: [Convolution; 29] = [
    ("3x3", [2, 3, 9, 15], [5, 3, 3, 3], how(1, 1, 1, 1)),
    ("3x3 16 to 16", [1, 16, 5, 21], [16, 16, 3, 3], how(1, 1, 1, 1)),
    ("3x3 16 to 16 in tiles", [1, 16, 9, 53], [16, 16, 3, 3], how(1, 1, 1, 1)),
    ("3x3 16 to 21 in tiles, no padding", [2, 16, 12, 43], [21, 16, 3, 3], how(1, 0, 1, 1)),
    ("3x3 32 to 16 in tiles, more padding", [1, 32, 17, 21], [16, 32, 3, 3], how(1, 2, 1, 1)),
    ("3x3 9 to 17", [1, 9, 6, 8], [17, 9, 3, 3], how(1, 1, 1, 1)),
    ("3x3 1 to 1", [2, 1, 12, 13], [1, 1, 3, 3], how(1, 1, 1, 1)),
    ("3x3 2 to 8", [1, 2, 7, 37], [8, 2, 3, 3], how(1, 1, 1, 1)),
    ("3x3 100 to 3", [1, 100, 4, 5], [3, 100, 3, 3], how(1, 1, 1, 1)),
    ("3x3 stride 2", [2, 4, 9, 12], [6, 4, 3, 3], how(2, 1, 1, 1)),
    ("3x3 stride 3", [1, 4, 11, 13], [6, 4, 3, 3], how(3, 2, 1, 1)),
    ("3x3 dilation 2", [1, 4, 11, 12], [4, 4, 3, 3], how(1, 2, 2, 1)),
    ("3x3 dilation 2 stride 2", [1, 3, 11, 12], [4, 3, 3, 3], how(2, 1, 2, 1)),
    ("3x3 no padding", [2, 3, 6, 3], [4, 3, 3, 3], how(1, 0, 1, 1)),
    ("3x3 much padding", [1, 2, 3, 4], [3, 2, 3, 3], how(1, 4, 1, 1)),
    ("3x3 groups 2", [2, 6, 6, 7], [8, 3, 3, 3], how(1, 1, 1, 2)),
    ("3x3 groups 3 of 20", [1, 6, 4, 5], [60, 2, 3, 3], how(1, 1, 1, 3)),
    ("3x3 depthwise", [2, 11, 7, 9], [11, 1, 3, 3], how(1, 1, 1, 11)),
    ("3x3 depthwise stride 2", [1, 8, 8, 9], [8, 1, 3, 3], how(2, 1, 1, 8)),
    ("5x5 depthwise of 40", [1, 40, 3, 6], [40, 1, 5, 5], how(1, 2, 1, 40)),
    ("3x3 depthwise twice", [1, 4, 6, 7], [8, 1, 3, 3], how(1, 1, 1, 4)),
    ("1x1", [2, 6, 7, 9], [20, 6, 1, 1], how(1, 0, 1, 1)),
    ("1x1 600 to 2", [1, 600, 3, 3], [2, 600, 1, 1], how(1, 0, 1, 1)),
    ("1x1 stride 2", [2, 4, 9, 12], [6, 4, 1, 1], how(2, 0, 1, 1)),
    ("7x7 stride 2", [1, 5, 12, 15], [8, 5, 7, 7], how(2, 3, 1, 1)),
    ("4x4 stride 2", [1, 3, 12, 10], [4, 3, 4, 4], how(2, 1, 1, 1)),
    ("8x8 stride 8", [1, 4, 24, 17], [5, 4, 8, 8], how(8, 0, 1, 1)),
    ("2x2 padding 1", [1, 3, 1, 1], [3, 3, 2, 2], how(1, 1, 1, 1)),
    ("2x3 of two axes", [1, 3, 11, 9], [4, 3, 2, 3], MIXED),
];

const TRANSPOSED: [Transposed; 8] = [
    ("4x4 stride 2", [1, 5, 5, 7], [5, 4, 4, 4], spread(2, 1, 0, 1)),
    ("2x2 stride 2", [2, 6, 5, 6], [6, 3, 2, 2], spread(2, 0, 0, 1)),
    ("3x3 stride 2", [1, 4, 6, 7], [4, 5, 3, 3], spread(2, 1, 1, 1)),
    ("3x3 groups 2", [2, 4, 6, 5], [4, 3, 3, 3], spread(1, 1, 0, 2)),
    ("3x3 depthwise", [1, 9, 6, 5], [9, 1, 3, 3], spread(2, 1, 1, 9)),
    ("5x5 stride 3", [2, 3, 4, 5], [3, 2, 5, 5], spread(3, 1, 1, 1)),
    ("1x1 stride 3", [1, 3, 4, 3], [3, 2, 1, 1], spread(3, 0, 2, 1)),
    (
        "3x2 dilation 3",
        [1, 3, 4, 3],
        [3, 2, 3, 2],
        ConvTranspose2d { dilation: [3, 1], output_padding: [2, 0], ..spread(2, 1, 0, 1) },
    ),
];

/// Consumers' sizes: x and the output channels of a 3×3 kernel.
const SPEEDS: [([usize; 4], usize); 6] = [
    ([1, 16, 1059, 1799], 16),
    ([1, 27, 1059, 1799], 16),
    ([1, 64, 1059, 1799], 64),
    ([1, 64, 128, 128], 64),
    ([1, 512, 32, 32], 512),
    ([1, 256, 265, 450], 256),
];

/// Calls `each` with the flat places of every x, w and output that meet.
fn meetings(x: &[usize], w: &[usize], out: &[usize], how: &Conv2d, mut each: impl FnMut(usize, usize, usize)) {
    let per_group = w[0] / how.groups;
    let at = |shape: &[usize], i: [usize; 4]| ((i[0] * shape[1] + i[1]) * shape[2] + i[2]) * shape[3] + i[3];
    let inside = |out: usize, kernel: usize, axis: usize| {
        let at = (out * how.stride[axis] + kernel * how.dilation[axis]).checked_sub(how.padding[axis]);
        at.filter(|at| *at < x[2 + axis])
    };
    for n in 0..out[0] {
        for o in 0..out[1] {
            for row in 0..out[2] {
                for column in 0..out[3] {
                    for (a, b) in (0..w[2]).flat_map(|a| (0..w[3]).map(move |b| (a, b))) {
                        let Some((i, j)) = inside(row, a, 0).zip(inside(column, b, 1)) else { continue };
                        for c in 0..w[1] {
                            let channel = o / per_group * w[1] + c;
                            each(at(x, [n, channel, i, j]), at(w, [o, c, a, b]), at(out, [n, o, row, column]));
                        }
                    }
                }
            }
        }
    }
}

/// The shape of zeros that a bias or nothing fills.
fn filled(shape: &[usize], bias: Option<&Array>) -> Array {
    Array::from_fn(shape, |i| bias.map_or(0.0, |bias| bias.values[i[1]]))
}

fn conv2d(x: &Array, w: &Array, bias: Option<&Array>, how: &Conv2d) -> Array {
    let size = |axis: usize| {
        let extent = how.dilation[axis] * (w.shape[2 + axis] - 1) + 1;
        (x.shape[2 + axis] + 2 * how.padding[axis] - extent) / how.stride[axis] + 1
    };
    let mut y = filled(&[x.shape[0], w.shape[0], size(0), size(1)], bias);
    let shape = y.shape.clone();
    meetings(&x.shape, &w.shape, &shape, how, |from, weight, to| y.values[to] += x.values[from] * w.values[weight]);
    y
}

fn conv_transpose2d(x: &Array, w: &Array, bias: Option<&Array>, how: &ConvTranspose2d) -> Array {
    let size = |axis: usize| {
        let extent = how.dilation[axis] * (w.shape[2 + axis] - 1) + how.output_padding[axis] + 1;
        (x.shape[2 + axis] - 1) * how.stride[axis] + extent - 2 * how.padding[axis]
    };
    let &ConvTranspose2d { stride, padding, dilation, groups, .. } = how;
    let mut y = filled(&[x.shape[0], w.shape[1] * groups, size(0), size(1)], bias);
    let (shape, how) = (y.shape.clone(), Conv2d { stride, padding, dilation, groups });
    meetings(&shape, &w.shape, &x.shape, &how, |to, weight, from| y.values[to] += x.values[from] * w.values[weight]);
    y
}

fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// Mean, nothing, and variance of each channel of each image.
fn moments(y: &Array) -> Array {
    let pixels = y.shape[2] * y.shape[3];
    let planes: Vec<[f64; 2]> = y.values.chunks(pixels).map(plane_moments).collect();
    Array::from_fn(&[3, y.shape[0], y.shape[1]], |i| {
        let [mean, variance] = planes[i[1] * y.shape[1] + i[2]];
        [mean, 0.0, variance][i[0]]
    })
}

fn plane_moments(plane: &[f64]) -> [f64; 2] {
    let mean = |of: &dyn Fn(f64) -> f64| plane.iter().map(|x| of(*x)).sum::<f64>() / plane.len() as f64;
    let middle = mean(&|x| x);
    [middle, mean(&|x| (x - middle) * (x - middle))]
}

fn convolution((name, x, w, how): Convolution) -> [Case; 2] {
    let inputs = |bias: bool| {
        let mut inputs = vec![Input::normal(&x), Input::normal(&w)];
        inputs.extend(bias.then(|| Input::normal(&w[..1])));
        inputs
    };
    // Sums of many products: rounding is relative to the terms, not to what is left of them.
    let absolute = 1e-6 * (w[1..].iter().product::<usize>() as f64).sqrt().max(1.0);
    let with = Case::new(
        format!("conv/{name}"),
        inputs(true),
        move |x| Ok(vec![x[0].conv2d(&x[1], Some(&x[2]), &how)?]),
        move |x| vec![conv2d(&x[0], &x[1], Some(&x[2]), &how)],
    );
    let without = Case::new(
        format!("conv/{name} without bias"),
        inputs(false),
        move |x| Ok(vec![x[0].conv2d(&x[1], None, &how)?]),
        move |x| vec![conv2d(&x[0], &x[1], None, &how)],
    );
    [with.within(1e-5, absolute), without.within(1e-5, absolute)]
}

fn transposed((name, x, w, how): Transposed) -> Case {
    let inputs = vec![Input::normal(&x), Input::normal(&w), Input::normal(&[w[1] * how.groups])];
    // As for convolutions.
    let absolute = 1e-6 * ((x[1] * w[2] * w[3]) as f64).sqrt();
    let run = move |x: &[Tensor]| Ok(vec![x[0].conv_transpose2d(&x[1], Some(&x[2]), &how)?]);
    let plain = move |x: &[Array]| vec![conv_transpose2d(&x[0], &x[1], Some(&x[2]), &how)];
    Case::new(format!("conv/transposed {name}"), inputs, run, plain).within(1e-5, absolute)
}

/// Residual and activation; `channels` of the output.
fn fused(name: &str, activation: Map, of: fn(f64) -> f64, channels: usize) -> Case {
    let how = how(1, 1, 1, 1);
    let inputs = vec![
        Input::normal(&[2, 5, 6, 7]),
        Input::normal(&[channels, 5, 3, 3]),
        Input::normal(&[channels]),
        Input::normal(&[2, channels, 6, 7]),
    ];
    let run = move |x: &[Tensor]| {
        let then = Epilogue { residual: Some(&x[3]), activation: Some(activation), moments: false };
        Ok(vec![x[0].conv2d_fused(None, &x[1], Some(&x[2]), &how, &then)?.y])
    };
    let plain = move |x: &[Array]| {
        let y = conv2d(&x[0], &x[1], Some(&x[2]), &how);
        let sum = Array::from_fn(&y.shape, |i| y.at(i) + x[3].at(i));
        vec![sum.map(of)]
    };
    // As for convolutions.
    Case::new(format!("conv/fused {name}"), inputs, run, plain).within(1e-5, 7e-6)
}

/// The moments of the output; their gradient belongs to the norm that uses them.
fn counted(channels: usize, size: [usize; 2]) -> Case {
    let how = how(1, 1, 1, 1);
    let inputs = vec![
        Input::normal(&[3, 4, size[0], size[1]]).constant(),
        Input::between(&[channels, 4, 3, 3], 0.0, 1.0).constant(),
        Input::normal(&[channels]).constant(),
    ];
    let run = move |x: &[Tensor]| -> Result<Vec<Tensor>> {
        let then = Epilogue { moments: true, activation: Some(Map::Silu), residual: None };
        let fused = x[0].conv2d_fused(None, &x[1], Some(&x[2]), &how, &then)?;
        // The mean in two parts is one number.
        let moments = fused.moments.into_iter().collect::<Vec<_>>();
        let part = |index: usize| moments[0].narrow(0, index, 1);
        let (mean, variance) = (part(0)?.add(&part(1)?)?, part(2)?);
        Ok(vec![Tensor::cat(&[&mean, &mean.mul_scalar(0.0)?, &variance], 0)?])
    };
    let plain = move |x: &[Array]| vec![moments(&conv2d(&x[0], &x[1], Some(&x[2]), &how).map(silu))];
    Case::new(format!("conv/moments {channels} at {size:?}"), inputs, run, plain).within(1e-5, 5e-6)
}

/// A normalisation, SiLU and an addend before the convolution, of (x, output channels, groups).
fn normed(x: [usize; 4], channels: usize, groups: usize, how: Conv2d) -> Case {
    let [batch, from, ..] = x;
    let inputs = vec![
        Input::normal(&x),
        Input::normal(&[channels, from, 3, 3]),
        Input::normal(&[channels]),
        Input::between(&[from], 0.5, 1.5),
        Input::normal(&[from]),
        Input::normal(&[batch, from]),
    ];
    let run = move |x: &[Tensor]| {
        let (weight, bias, addend) = (Some(&x[3]), Some(&x[4]), Some(&x[5]));
        let tail = NormTail { weight, bias, addend, activation: Some(Map::Silu), ..NormTail::default() };
        let first = Prologue { groups, epsilon: norm::EPSILON, tail };
        Ok(vec![x[0].conv2d_fused(Some(&first), &x[1], Some(&x[2]), &how, &Epilogue::default())?.y])
    };
    let plain = move |x: &[Array]| {
        let z = norm::grouped(&x[0], groups, [Some(&x[3]), Some(&x[4]), None, None], true);
        let z = Array::from_fn(&z.shape, |i| z.at(i) + x[5].at(&i[..2]));
        vec![conv2d(&z, &x[1], Some(&x[2]), &how)]
    };
    // As for convolutions; terms are about 1.
    let (terms, name) = ((9 * from) as f64, format!("conv/norm before {x:?} to {channels}"));
    Case::new(name, inputs, run, plain).within(1e-5, 1e-6 * terms.sqrt()).splitting(terms)
}

fn speed((x, channels): ([usize; 4], usize)) -> Case {
    let [_, from, rows, columns] = x;
    let inputs = vec![Input::normal(&x), Input::normal(&[channels, from, 3, 3]), Input::normal(&[channels])];
    let run = |x: &[Tensor]| Ok(vec![x[0].conv2d(&x[1], Some(&x[2]), &how(1, 1, 1, 1))?]);
    let operations = 2.0 * (9 * from * channels * rows * columns) as f64;
    Case::speed(format!("conv/3x3 {from} to {channels} at {rows}×{columns}"), inputs, run).counting(operations)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = CONVOLUTIONS.into_iter().flat_map(convolution).collect();
    cases.extend(TRANSPOSED.into_iter().map(transposed));
    cases.push(fused("relu", Map::Relu, |x| x.max(0.0), 6));
    cases.push(fused("silu", Map::Silu, silu, 16));
    cases.extend(
        [(16, [9, 17]), (6, [9, 17]), (40, [19, 23])].into_iter().map(|(channels, size)| counted(channels, size)),
    );
    cases.push(normed([2, 6, 7, 5], 4, 3, how(1, 1, 1, 1)));
    cases.push(normed([2, 8, 9, 7], 6, 2, how(2, 1, 1, 1)));
    cases.push(normed([1, 16, 11, 51], 16, 8, how(1, 1, 1, 1)));
    cases.extend(SPEEDS.into_iter().map(speed));
    cases
}
