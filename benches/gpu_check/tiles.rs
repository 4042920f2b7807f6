//! Cases as large as a device must be given to take its large tiles, heads of attention of every size, and long rows.

use gustfront::tensor::cases::{Case, Input};
use gustfront::tensor::{
    AttentionOptions, Conv2d, Epilogue, Map, Norm, NormTail, Prologue, Tensor, Window, clipped_by_global_norm,
};

/// As many multiprocessors as any device has.
pub(crate) const PROCESSORS: usize = 160;

/// The cases for a device of so many multiprocessors.
pub(crate) fn cases(processors: usize) -> Vec<Case> {
    let layouts = [[false, false], [false, true], [true, false], [true, true]];
    let of_layouts = |rows, inner| layouts.map(|turned| product([rows, inner, 256], turned));
    // With as many tiles again those on `wgmma` are the widest.
    let mut cases = Vec::from(of_layouts(128 * processors.div_ceil(2), 24));
    cases.extend(of_layouts(128 * processors, 8));
    for (from, to, normed, pixels) in
        [(24, 16, false, 256), (8, 64, false, 256), (8, 72, false, 128), (32, 32, true, 256), (40, 40, true, 128)]
    {
        cases.push(convolution([from, to], normed, None, pixels * processors));
    }
    // A single tile.
    for (from, to, normed) in [(40, 40, true), (24, 32, false), (24, 40, false), (16, 272, false)] {
        cases.push(convolution([from, to], normed, None, 64));
    }
    // Gradients in f32, of weights of every tile.
    for (from, to) in [(16, 16), (24, 16), (24, 40)] {
        cases.extend([true, false].map(|normed| convolution([from, to], normed, Some(Map::Gelu), 64)));
    }
    cases.extend([[2, 20_000], [1, 20_011], [20_000, 2]].map(transform));
    for sizes in [[1, 2, 70, 70, 24, 32], [1, 1, 66, 70, 40, 64], [1, 1, 40, 70, 100, 128]] {
        cases.push(attention(sizes, true));
    }
    for shape in [[9, 256], [3, 1160], [2, 5003]] {
        cases.extend([soft(shape, -1), soft(shape, 0), layer(shape)]);
    }
    cases.extend([long(), rows(), windows(), norm()]);
    // Many heads: a block takes twice as many queries.
    cases.extend([24, 40].map(|size| attention([66, 8, 3, 9, size, size], false)));
    cases
}

fn product([rows, inner, columns]: [usize; 3], [turn_x, turn_y]: [bool; 2]) -> Case {
    let turned = |[a, b]: [usize; 2], turn: bool| if turn { [b, a] } else { [a, b] };
    let inputs = [turned([rows, inner], turn_x), turned([inner, columns], turn_y)];
    let name = format!("matmul/{rows}×{inner}×{columns} turned {turn_x} {turn_y}");
    let inputs = inputs.iter().map(|shape| Input::normal(shape).constant()).collect();
    Case::speed(name, inputs, move |x| Ok(vec![x[0].matmul_with(&x[1], turn_x, turn_y)?]))
}

/// A convolution of so many pixels, of a normalised image where that is asked for.
fn convolution([from, to]: [usize; 2], normed: bool, activation: Option<Map>, pixels: usize) -> Case {
    let shape = [1, from, pixels.div_ceil(32), 32];
    let channels = || Input::normal(&[from]);
    let inputs =
        vec![Input::normal(&shape), Input::normal(&[to, from, 3, 3]), Input::normal(&[to]), channels(), channels()];
    let name = format!("conv/{from} to {to} of {pixels} pixels, normed: {normed}, {activation:?} behind");
    Case::speed(name, inputs, move |x| {
        let how = Conv2d { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };
        let (weight, bias) = (Some(&x[3]), Some(&x[4]));
        let tail = NormTail { weight, bias, activation: Some(Map::Silu), ..NormTail::default() };
        let first = normed.then_some(Prologue { groups: 8, epsilon: 1e-5, tail });
        let then = Epilogue { activation, ..Epilogue::default() };
        Ok(vec![x[0].conv2d_fused(first.as_ref(), &x[1], Some(&x[2]), &how, &then)?.y])
    })
}

fn attention([batch, heads, queries, keys, size, value_size]: [usize; 6], gradient: bool) -> Case {
    let shapes = [[batch, heads, queries, size], [batch, heads, keys, size], [batch, heads, keys, value_size]];
    let input = |shape: &[usize; 4]| if gradient { Input::normal(shape) } else { Input::normal(shape).constant() };
    let name = format!("attention/{batch}×{heads}×{queries}×{keys}, {size} and {value_size}");
    Case::speed(name, shapes.iter().map(input).collect(), |x| {
        Ok(vec![x[0].attention(&x[1], &x[2], AttentionOptions { scale: None, causal: false, mask: None })?])
    })
}

/// A transform of lines that no block's shared memory holds.
fn transform(shape: [usize; 2]) -> Case {
    let run = |x: &[Tensor]| Ok(vec![x[0].rfft2(Norm::Ortho)?]);
    Case::speed(format!("fft/rfft2 {shape:?}"), vec![Input::normal(&shape)], run)
}

fn soft(shape: [usize; 2], dimension: isize) -> Case {
    let name = format!("softmax/{shape:?} along {dimension}");
    Case::speed(name, vec![Input::normal(&shape)], move |x| Ok(vec![x[0].softmax(dimension)?]))
}

fn layer(shape: [usize; 2]) -> Case {
    let inputs = vec![Input::normal(&shape), Input::normal(&shape[1..]), Input::normal(&shape[1..])];
    Case::speed(format!("norm/layer {shape:?}"), inputs, |x| Ok(vec![x[0].layer_norm(&x[1], Some(&x[2]), 1e-5)?]))
}

/// A product whose sums are cut into parts.
fn long() -> Case {
    let inputs = vec![Input::normal(&[3, 1100]), Input::normal(&[1100, 40])];
    Case::speed("matmul/3×1100×40", inputs, |x| Ok(vec![x[0].matmul(&x[1])?]))
}

/// Rows of 32 bytes, or of 16.
fn rows() -> Case {
    let inputs = vec![Input::normal(&[40, 8]), Input::below(&[7], 40)];
    Case::speed("index/select rows of 8", inputs, |x| Ok(vec![x[0].index_select(0, &x[1])?]))
}

/// Windows larger than those that have kernels of their own.
fn windows() -> Case {
    let window = Window { kernel: [4, 5], stride: [3; 2], padding: [1; 2] };
    let run = move |x: &[Tensor]| Ok(vec![x[0].max_pool2d(window)?]);
    Case::speed("pool/max 4×5", vec![Input::normal(&[1, 3, 14, 17])], run)
}

/// The norm of gradients, which an optimiser limits.
fn norm() -> Case {
    let inputs = vec![Input::normal(&[70, 9]).constant(), Input::normal(&[5]).constant()];
    Case::speed("optimiser/norm", inputs, |x| {
        let (mut clipped, norm) = clipped_by_global_norm(&[&x[0], &x[1]], 1.0)?;
        clipped.push(norm);
        Ok(clipped)
    })
}
