//! Convolutions of odd sizes, transposed ones, and what is fused behind them.

use super::{Array, Case, Input};
use crate::tensor::{Conv2d, ConvTranspose2d, Epilogue, Map, Result, Tensor};

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

const CONVOLUTIONS: [Convolution; 26] = [
    ("3x3", [2, 3, 9, 15], [5, 3, 3, 3], how(1, 1, 1, 1)),
    ("3x3 16 to 16", [1, 16, 5, 21], [16, 16, 3, 3], how(1, 1, 1, 1)),
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
const SPEEDS: [([usize; 4], usize); 5] = [
    ([1, 16, 1059, 1799], 16),
    ([1, 27, 1059, 1799], 16),
    ([1, 64, 1059, 1799], 64),
    ([1, 64, 128, 128], 64),
    ([1, 512, 32, 32], 512),
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

/// Σy and Σy² of each group.
fn statistics(y: &Array, groups: usize) -> Array {
    let per_group = y.shape[1] / groups;
    let mut sums = Array::from_fn(&[y.shape[0], groups, 2], |_| 0.0);
    let pixels = y.shape[2] * y.shape[3];
    for (at, y) in y.values.iter().enumerate() {
        let group = at / pixels / per_group;
        sums.values[2 * group] += y;
        sums.values[2 * group + 1] += y * y;
    }
    sums
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
        let then = Epilogue { residual: Some(&x[3]), activation: Some(activation), statistics: None };
        Ok(vec![x[0].conv2d_fused(&x[1], Some(&x[2]), &how, &then)?.y])
    };
    let plain = move |x: &[Array]| {
        let y = conv2d(&x[0], &x[1], Some(&x[2]), &how);
        let sum = Array::from_fn(&y.shape, |i| y.at(i) + x[3].at(i));
        vec![sum.map(of)]
    };
    // As for convolutions.
    Case::new(format!("conv/fused {name}"), inputs, run, plain).within(1e-5, 7e-6)
}

/// The statistics alone; their gradient belongs to the norm that uses them.
fn counted(channels: usize, groups: usize) -> Case {
    let how = how(1, 1, 1, 1);
    let inputs = vec![
        Input::normal(&[3, 4, 9, 17]).constant(),
        Input::between(&[channels, 4, 3, 3], 0.0, 1.0).constant(),
        Input::normal(&[channels]).constant(),
    ];
    let run = move |x: &[Tensor]| -> Result<Vec<Tensor>> {
        let then = Epilogue { statistics: Some(groups), activation: Some(Map::Silu), residual: None };
        let fused = x[0].conv2d_fused(&x[1], Some(&x[2]), &how, &then)?;
        Ok(fused.statistics.into_iter().collect())
    };
    let plain = move |x: &[Array]| vec![statistics(&conv2d(&x[0], &x[1], Some(&x[2]), &how).map(silu), groups)];
    // Sums over hundreds of pixels, whose signs differ.
    Case::new(format!("conv/statistics {channels} in {groups}"), inputs, run, plain).within(1e-5, 1e-4)
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
    cases.extend([(16, 4), (6, 3), (40, 8)].into_iter().map(|(channels, groups)| counted(channels, groups)));
    cases.extend(SPEEDS.into_iter().map(speed));
    cases
}
