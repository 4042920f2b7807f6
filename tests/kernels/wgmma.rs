//! Wide products and convolutions on `wgmma`: every layout and odd sizes against the CPU, when they are chosen, and what is done where they fail.

use std::collections::BTreeMap;
use std::sync::Arc;

use gustfront::tensor::cuda::{FAMILIES, Wgmma};
use gustfront::tensor::{Conv2d, ConvTranspose2d, Cuda, DType, Device, Layout, LinearTail, Map, Tensor};

use crate::emulation::{Emulated, Families, Order};
use crate::tiles::{PLAIN, assert_same_on, convolution_on, drawn};

/// A device of compute capability 9.0, with its choice.
fn hopper(order: Order, choice: Wgmma) -> Arc<Cuda> {
    let cuda = Cuda::on(Box::new(Emulated::new(order, Families::Own).hopper()));
    cuda.allow_wgmma(choice);
    cuda
}

/// One whose kernels of a family are changed.
fn hopper_with(family: &str, change: impl Fn(&str) -> String) -> Emulated {
    let changed =
        |(name, text): &(&'static str, &str)| (*name, if *name == family { change(text) } else { (*text).to_owned() });
    let families: BTreeMap<_, _> = FAMILIES.iter().map(changed).collect();
    Emulated::new(Order::Forward, Families::Given(Arc::new(families))).hopper()
}

/// Launches of a family so far.
fn launches(cuda: &Cuda, family: &str) -> u64 {
    cuda.work().expect("work").launches.get(family).copied().unwrap_or(0)
}

/// The product of matrices of a size.
fn product(device: &Device, [rows, inner, columns]: [usize; 3], [turn_x, turn_y]: [bool; 2]) -> Tensor {
    let turned = |[a, b]: [usize; 2], turn: bool| if turn { [b, a] } else { [a, b] };
    let x = drawn(device, turned([rows, inner], turn_x), 1, DType::Bf16);
    let y = drawn(device, turned([inner, columns], turn_y), 2, DType::Bf16);
    x.matmul_with(&y, turn_x, turn_y).expect("a product")
}

const LAYOUTS: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

/// Tiles of 128 and 256 columns, full and not, short and in parts.
const SIZES: [[usize; 3]; 5] = [[136, 72, 264], [8, 8, 8], [200, 200, 136], [64, 2064, 40], [264, 72, 512]];

#[test]
fn products_of_every_layout_and_odd_size_are_those_of_the_cpu() {
    for order in Order::ALL {
        let cuda = hopper(order, Wgmma::Wherever);
        let device: Device = cuda.clone();
        for sizes in SIZES {
            for layout in LAYOUTS {
                let what = format!("{sizes:?} {layout:?} {order:?}");
                assert_same_on(&device, &what, DType::Bf16, |device| vec![product(device, sizes, layout)]);
            }
        }
        assert_eq!(
            (launches(&cuda, "matmul_wide"), launches(&cuda, "matmul")),
            (20, 4),
            "{order:?}: a fold for each in parts"
        );
    }
}

#[test]
fn batches_and_what_follows_a_product_are_those_of_the_cpu() {
    for order in Order::ALL {
        let cuda = hopper(order, Wgmma::Wherever);
        let device: Device = cuda.clone();
        assert_same_on(&device, "a batch", DType::Bf16, |device| {
            let (x, y) = (drawn(device, [3, 33, 24], 1, DType::Bf16), drawn(device, [3, 24, 40], 2, DType::Bf16));
            vec![x.matmul(&y).expect("a product")]
        });
        for columns in [200, 77] {
            assert_same_on(&device, "a linear layer", DType::Bf16, |device| {
                let x = drawn(device, [131, 72], 1, DType::Bf16).with_gradient();
                let w = drawn(device, [columns, 72], 2, DType::Bf16).with_gradient();
                let (bias, residual) =
                    (drawn(device, [columns], 3, DType::Bf16), drawn(device, [131, columns], 4, DType::Bf16));
                let tail = LinearTail { bias: Some(&bias), activation: Some(Map::Silu), residual: Some(&residual) };
                let y = x.linear_with(&w, tail).expect("a layer");
                y.backward_with(&drawn(device, [131, columns], 5, DType::Bf16)).expect("gradients");
                vec![y, x.gradient().expect("a gradient"), w.gradient().expect("a gradient")]
            });
        }
        assert_eq!(launches(&cuda, "matmul_wide"), 3, "{order:?}");
    }
}

#[test]
fn they_are_chosen_where_they_pay_and_proved_first() {
    let cuda = hopper(Order::Shuffled(5), Wgmma::WhereItPays);
    let device: Device = cuda.clone();
    let taken = |sizes, layout| {
        let before = launches(&cuda, "matmul_wide");
        assert_same_on(&device, &format!("{sizes:?}"), DType::Bf16, |device| vec![product(device, sizes, layout)]);
        launches(&cuda, "matmul_wide") - before
    };
    assert_eq!(taken([64, 512, 512], LAYOUTS[0]), 0, "half a tile");
    assert_eq!(taken([200, 128, 264], LAYOUTS[0]), 0, "short sums");
    assert_eq!(taken([130, 260, 264], LAYOUTS[1]), 0, "operands that are not read 16 bytes at a time");
    assert_eq!(taken([200, 256, 264], LAYOUTS[2]), 9, "eight products to prove them, and one");
    assert_eq!(taken([200, 256, 264], LAYOUTS[3]), 1);
    cuda.allow_wgmma(Wgmma::Never);
    assert_eq!(taken([200, 256, 264], LAYOUTS[0]), 0, "turned off");
}

#[test]
fn convolutions_of_odd_sizes_are_those_of_the_cpu() {
    let single = Conv2d { padding: [0; 2], ..PLAIN };
    for order in Order::ALL {
        let cuda = hopper(order, Wgmma::Wherever);
        let device: Device = cuda.clone();
        let right = |x, w, how| convolution_on(&device, DType::Bf16, x, w, how);
        right([1, 8, 9, 17], [40, 8, 3, 3], PLAIN);
        right([2, 24, 13, 11], [136, 24, 1, 1], single);
        right([1, 16, 9, 10], [272, 16, 3, 3], Conv2d { dilation: [2, 1], ..PLAIN });
        right([1, 48, 9, 10], [80, 24, 3, 3], Conv2d { stride: [2, 1], groups: 2, ..PLAIN });
        assert_eq!(launches(&cuda, "conv_wide"), 8, "{order:?}: behind an activation gradients are f32");
        assert_same_on(&device, "transposed", DType::Bf16, |device| {
            let x = drawn(device, [2, 24, 5, 9], 1, DType::Bf16).to_layout(Layout::Channels).expect("x");
            let (w, bias) = (drawn(device, [24, 20, 4, 4], 2, DType::Bf16), drawn(device, [20], 3, DType::Bf16));
            let how = ConvTranspose2d { stride: [2; 2], padding: [1; 2], ..ConvTranspose2d::default() };
            vec![x.conv_transpose2d(&w, Some(&bias), &how).expect("a transposed convolution")]
        });
        assert_eq!(launches(&cuda, "conv_wide"), 9, "{order:?}");
        assert_same_on(&device, "a gradient", DType::Bf16, |device| {
            let x =
                drawn(device, [1, 136, 9, 11], 1, DType::Bf16).to_layout(Layout::Channels).expect("x").with_gradient();
            let how = Conv2d { stride: [2, 3], ..PLAIN };
            let y = x.conv2d(&drawn(device, [16, 136, 3, 3], 2, DType::Bf16), None, &how).expect("a convolution");
            y.backward_with(&drawn(device, y.shape(), 3, DType::Bf16)).expect("gradients");
            vec![x.gradient().expect("a gradient")]
        });
        assert_eq!(launches(&cuda, "conv_wide"), 11, "{order:?}");
    }
}

#[test]
fn convolutions_are_chosen_where_they_pay_and_proved_first() {
    let cuda = hopper(Order::Reversed, Wgmma::WhereItPays);
    let device: Device = cuda.clone();
    let taken = |x: [usize; 4], w: [usize; 4], padding| {
        let before = launches(&cuda, "conv_wide");
        assert_same_on(&device, &format!("{x:?} by {w:?}"), DType::Bf16, |device| {
            let x = drawn(device, x, 1, DType::Bf16).to_layout(Layout::Channels).expect("x");
            let how = Conv2d { padding: [padding; 2], ..PLAIN };
            vec![x.conv2d(&drawn(device, w, 2, DType::Bf16), None, &how).expect("a convolution")]
        });
        launches(&cuda, "conv_wide") - before
    };
    assert_eq!(taken([1, 104, 20, 20], [64, 104, 3, 3], 1), 0, "half a tile of channels");
    assert_eq!(taken([1, 64, 20, 20], [72, 64, 3, 3], 1), 0, "pixels that are kept");
    assert_eq!(taken([1, 108, 20, 20], [72, 108, 3, 3], 1), 0, "channels that are not read eight at a time");
    assert_eq!(taken([1, 104, 20, 20], [72, 104, 3, 3], 1), 5, "four to prove them, and one");
    assert_eq!(taken([1, 264, 20, 20], [72, 264, 1, 1], 0), 1);
}

#[test]
fn other_devices_never_run_them() {
    let cuda = Cuda::on(Box::new(Emulated::new(Order::Forward, Families::Own)));
    cuda.allow_wgmma(Wgmma::Wherever);
    let device: Device = cuda.clone();
    assert_same_on(&device, "a product", DType::Bf16, |device| vec![product(device, [200, 256, 264], LAYOUTS[0])]);
    assert_eq!(launches(&cuda, "matmul_wide"), 0);
}

#[test]
fn wrong_kernels_are_found_out_and_left() {
    let wrong = |text: &str| text.replace("2 * max(0, min(8, end - inner))", "2 * max(0, min(6, end - inner))");
    let failing = |_: &str| "#include \"matmul.cuh\"\n".to_owned();
    for emulated in [hopper_with("matmul_wide", wrong), hopper_with("matmul_wide", failing)] {
        let cuda = Cuda::on(Box::new(emulated));
        let device: Device = cuda.clone();
        let right =
            |layout| assert_same_on(&device, "a product", DType::Bf16, |d| vec![product(d, [200, 256, 264], layout)]);
        right(LAYOUTS[0]);
        let tried = launches(&cuda, "matmul_wide");
        assert!(tried > 0);
        right(LAYOUTS[1]);
        assert_eq!(launches(&cuda, "matmul_wide"), tried, "tried once");
    }
}

#[test]
fn a_device_that_breaks_on_the_way_says_how_to_go_on() {
    let broken = hopper_with("matmul_wide", |text| text.replace("wide_buffers(shared);", "wide_buffers(shared) + 16;"))
        .fragile();
    let device: Device = Cuda::on(Box::new(broken));
    let [x, y] = [[200, 256], [256, 264]].map(|shape| drawn(&device, shape, 1, DType::Bf16));
    let error = x.matmul(&y).expect_err("a broken device").to_string();
    assert!(error.contains("GUSTFRONT_WGMMA=off") && error.contains("matmul_nn_wide_128"), "{error}");
}
