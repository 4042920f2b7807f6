//! Every tile of convolutions and products, at sizes that fill more than one of them, against the CPU's.

use gustfront::domain::Philox;
use gustfront::tensor::{
    Conv2d, ConvTranspose2d, Cpu, DType, Device, Epilogue, Layout, LinearTail, Map, NormTail, Prologue, Shape, Tensor,
};

use crate::emulation::{Order, cuda, device};

/// Relative, and to the greatest: sums in f32 in another order, each result rounded once to bf16 or not at all.
fn tolerance(dtype: DType) -> (f32, f32) {
    if dtype == DType::Bf16 { (1.0 / 128.0, 1e-4) } else { (2e-5, 1e-5) }
}

pub(crate) fn drawn(device: &Device, shape: impl Into<Shape>, number: u32, dtype: DType) -> Tensor {
    let shape = shape.into();
    let len: usize = shape.sizes().iter().product();
    let values: Vec<f32> = (0..len).map(|i| Philox::new(5, number).normal([i as u32, 0, 0, 0])[0] as f32).collect();
    Tensor::new(device, shape, &values).expect("a tensor").to_dtype(dtype).expect("its dtype")
}

fn assert_same(what: &str, dtype: DType, of: impl Fn(&Device) -> Vec<Tensor>) {
    assert_same_on(&device(Order::Shuffled(3)), what, dtype, of);
}

/// The same on a device as on the CPU.
pub(crate) fn assert_same_on(device: &Device, what: &str, dtype: DType, of: impl Fn(&Device) -> Vec<Tensor>) {
    let (found, wanted) = (of(device), of(&Cpu::device()));
    assert_eq!(found.len(), wanted.len(), "{what}");
    for (number, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        let (found, wanted) = (found.to_vec().expect("values"), wanted.to_vec().expect("values"));
        let greatest = wanted.iter().fold(0f32, |most, x| most.max(x.abs()));
        let (relative, absolute) = tolerance(dtype);
        for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
            let fine = (found - wanted).abs() <= relative * wanted.abs() + absolute * greatest;
            assert!(fine, "{what} {dtype} result {number} element {i} is {found}, expected {wanted}");
        }
    }
}

/// Output, moments and gradients of a convolution with everything behind it.
fn convolution(x: [usize; 4], w: [usize; 4], how: Conv2d) {
    for dtype in [DType::F32, DType::Bf16] {
        convolution_on(&device(Order::Shuffled(3)), dtype, x, w, how);
    }
}

/// The same on a device.
pub(crate) fn convolution_on(device: &Device, dtype: DType, x: [usize; 4], w: [usize; 4], how: Conv2d) {
    assert_same_on(device, &format!("{x:?} by {w:?} {how:?}"), dtype, |device| {
        let x = drawn(device, x, 1, dtype).to_layout(Layout::Channels).expect("x").with_gradient();
        let w = drawn(device, w, 2, dtype).with_gradient();
        let bias = drawn(device, [w.shape()[0]], 3, dtype).with_gradient();
        let shape = x.conv2d(&w, None, &how).expect("a convolution").shape();
        let residual = drawn(device, shape, 4, dtype);
        let then = Epilogue { residual: Some(&residual), activation: Some(Map::Silu), moments: true };
        let fused = x.conv2d_fused(None, &w, Some(&bias), &how, &then).expect("a convolution");
        fused.y.backward_with(&drawn(device, shape, 5, dtype)).expect("gradients");
        let gradients = [&x, &w, &bias].map(|leaf| leaf.gradient().expect("a gradient"));
        [fused.y, fused.moments.expect("moments")].into_iter().chain(gradients).collect()
    });
}

pub(crate) const PLAIN: Conv2d = Conv2d { stride: [1; 2], padding: [1; 2], dilation: [1; 2], groups: 1 };

#[test]
fn narrow_layers_keep_their_pixels() {
    convolution([2, 16, 18, 35], [16, 16, 3, 3], PLAIN);
    convolution([1, 27, 17, 20], [30, 27, 3, 3], PLAIN);
    convolution([1, 24, 17, 33], [48, 24, 3, 3], PLAIN);
}

#[test]
fn wide_layers_use_several_tiles_of_channels() {
    convolution([1, 40, 17, 33], [136, 40, 3, 3], PLAIN);
    convolution([1, 104, 9, 17], [72, 104, 3, 3], PLAIN);
    convolution([1, 104, 5, 6], [72, 104, 3, 3], PLAIN);
}

#[test]
fn single_pixels_strides_and_large_kernels_are_gathered() {
    convolution([2, 40, 13, 11], [130, 40, 1, 1], Conv2d { padding: [0; 2], ..PLAIN });
    convolution([1, 3, 30, 33], [17, 3, 7, 7], Conv2d { stride: [2; 2], padding: [3; 2], ..PLAIN });
    convolution([1, 8, 32, 24], [24, 8, 8, 8], Conv2d { stride: [8; 2], padding: [0; 2], ..PLAIN });
}

#[test]
fn groups_have_tiles_of_their_own_or_none() {
    convolution([1, 32, 9, 10], [48, 16, 3, 3], Conv2d { groups: 2, ..PLAIN });
    convolution([2, 40, 9, 10], [40, 1, 7, 7], Conv2d { groups: 40, padding: [3; 2], ..PLAIN });
}

/// Output and gradients of a convolution behind a normalisation, in front of an activation or of nothing.
fn normalised(x: [usize; 4], w: [usize; 4], how: Conv2d, activation: Option<Map>) {
    for dtype in [DType::F32, DType::Bf16] {
        assert_same(&format!("normalised {x:?} by {w:?} {how:?} {activation:?}"), dtype, |device| {
            let x = drawn(device, x, 1, dtype).to_layout(Layout::Channels).expect("x").with_gradient();
            let w = drawn(device, w, 2, dtype).with_gradient();
            let of = |channels: usize, number| drawn(device, [channels], number, dtype).with_gradient();
            let (bias, weight, offset) = (of(w.shape()[0], 3), of(x.shape()[1], 4), of(x.shape()[1], 5));
            let tail = NormTail {
                weight: Some(&weight),
                bias: Some(&offset),
                activation: activation.map(|_| Map::Silu),
                ..NormTail::default()
            };
            let first = Prologue { groups: 2, epsilon: 1e-5, tail };
            let then = Epilogue { activation, ..Epilogue::default() };
            let y = x.conv2d_fused(Some(&first), &w, Some(&bias), &how, &then).expect("a convolution").y;
            y.backward_with(&drawn(device, y.shape(), 6, dtype)).expect("gradients");
            let gradients = [&x, &w, &bias, &weight, &offset].map(|leaf| leaf.gradient().expect("a gradient"));
            [y].into_iter().chain(gradients).collect()
        });
    }
}

#[test]
fn normalised_convolutions_have_the_gradients_of_the_cpu() {
    normalised([2, 16, 18, 35], [16, 16, 3, 3], PLAIN, None);
    normalised([2, 16, 9, 20], [16, 16, 3, 3], PLAIN, Some(Map::Silu));
    normalised([1, 6, 9, 13], [5, 6, 3, 3], PLAIN, Some(Map::Gelu));
    normalised([2, 40, 7, 12], [72, 40, 3, 3], Conv2d { stride: [2, 1], ..PLAIN }, None);
    normalised([1, 24, 9, 10], [20, 24, 1, 1], Conv2d { padding: [0; 2], ..PLAIN }, Some(Map::Silu));
    normalised([1, 32, 9, 10], [48, 16, 3, 3], Conv2d { groups: 2, ..PLAIN }, Some(Map::Silu));
}

#[test]
fn transposed_convolutions_take_each_remainder_of_the_stride() {
    let how = |padding: usize| ConvTranspose2d { stride: [2; 2], padding: [padding; 2], ..ConvTranspose2d::default() };
    for (kernel, how) in [(4, how(1)), (2, how(0))] {
        for dtype in [DType::F32, DType::Bf16] {
            assert_same(&format!("transposed {kernel}"), dtype, |device| {
                let x = drawn(device, [2, 24, 9, 18], 1, dtype).to_layout(Layout::Channels).expect("x");
                let (w, bias) = (drawn(device, [24, 20, kernel, kernel], 2, dtype), drawn(device, [20], 3, dtype));
                vec![x.conv_transpose2d(&w, Some(&bias), &how).expect("a transposed convolution")]
            });
        }
    }
}

#[test]
fn products_of_many_tiles_and_of_long_sums_are_those_of_the_cpu() {
    for (rows, inner, columns) in [(200, 70, 264), (129, 64, 260), (3, 1100, 40), (70, 2048, 10)] {
        for (transpose_x, transpose_y) in [(false, false), (false, true), (true, false), (true, true)] {
            for dtype in [DType::F32, DType::Bf16] {
                let what = format!("{rows} × {inner} × {columns} {transpose_x} {transpose_y}");
                assert_same(&what, dtype, |device| {
                    let turned = |[a, b]: [usize; 2], turn: bool| if turn { [b, a] } else { [a, b] };
                    let x = drawn(device, turned([rows, inner], transpose_x), 1, dtype);
                    let y = drawn(device, turned([inner, columns], transpose_y), 2, dtype);
                    vec![x.matmul_with(&y, transpose_x, transpose_y).expect("a product")]
                });
            }
        }
    }
}

/// Gradients of x and of the weights of a linear layer with an activation, whose own gradient is f32.
fn gradients_behind(x: [usize; 2], outputs: usize, dy: &Tensor) -> Vec<Tensor> {
    let device = dy.device();
    let [x, w] = [(x, 1), ([outputs, x[1]], 2)].map(|(shape, number)| drawn(device, shape, number, DType::Bf16));
    let (x, w) = (x.with_gradient(), w.with_gradient());
    let tail = LinearTail { activation: Some(Map::Silu), ..LinearTail::default() };
    let y = x.linear_with(&w, tail).expect("a layer");
    y.backward_with(dy).expect("gradients");
    [x, w].map(|leaf| leaf.gradient().expect("a gradient")).to_vec()
}

#[test]
fn gradients_behind_activations_stay_on_tensor_cores_and_are_those_of_the_cpu() {
    // Many tiles and few, of both layouts; sums in parts; a single input, which lies in rows both ways.
    let sizes = [([200, 264], 70), ([70, 264], 260), ([20, 40], 1100), ([1100, 9], 35), ([520, 1], 20), ([20, 1], 520)];
    for (x, outputs) in sizes {
        let cuda = cuda(Order::Shuffled(3));
        let device: Device = cuda.clone();
        assert_same_on(&device, &format!("{x:?} to {outputs}"), DType::Bf16, |device| {
            gradients_behind(x, outputs, &drawn(device, [x[0], outputs], 3, DType::Bf16))
        });
        let launches = cuda.work().expect("counts").launches;
        assert!(launches["matmul_split"] >= 2, "{launches:?}");
    }
}

#[test]
fn infinite_gradients_behind_activations_stay_infinite() {
    let of = |device: &Device| {
        let dy: Vec<f32> = (0..15).map(|i| if i == 7 { f32::INFINITY } else { 1.0 }).collect();
        let dy = Tensor::new(device, [5, 3], &dy).and_then(|dy| dy.to_dtype(DType::Bf16)).expect("a gradient");
        gradients_behind([5, 9], 3, &dy).iter().flat_map(|x| x.to_vec().expect("values")).collect::<Vec<f32>>()
    };
    let (found, wanted) = (of(&device(Order::Forward)), of(&Cpu::device()));
    let infinite = |x: &[f32]| x.iter().map(|x| if x.is_finite() { 0.0 } else { *x }).collect::<Vec<f32>>();
    assert_eq!(infinite(&found), infinite(&wanted));
    assert_eq!(found.iter().filter(|x| x.is_infinite()).count(), 9 + 9, "a row of x and a row of weights");
}
