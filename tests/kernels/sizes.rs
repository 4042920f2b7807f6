//! What the cases are too small for: other paths of kernels than theirs, compared with the CPU backend.

use gustfront::domain::Philox;
use gustfront::tensor::{
    AttentionOptions, Conv2d, Cpu, Cuda, DType, Device, Epilogue, Layout, Norm, NormTail, Parameter, Prologue, Tensor,
    Window,
};

use crate::emulation::{Emulated, Families, Order, device};

/// Normal numbers that are the same in every run.
fn normal(shape: &[usize], purpose: u32) -> Vec<f32> {
    (0..shape.iter().product()).map(|i| Philox::new(5, purpose).normal([i as u32, 0, 0, 0])[0] as f32).collect()
}

fn tensor<const N: usize>(device: &Device, shape: [usize; N], purpose: u32) -> Tensor {
    Tensor::new(device, shape, &normal(&shape, purpose)).expect("a tensor")
}

/// Asserts that the same on both devices gives what differs by no more than a part of the greatest.
fn same(what: &str, of: impl Fn(&Device) -> Tensor, tolerance: f32) {
    same_on(&device(Order::Shuffled(3)), what, of, tolerance);
}

fn same_on(device: &Device, what: &str, of: impl Fn(&Device) -> Tensor, tolerance: f32) {
    let [found, wanted] = [of(device), of(&Cpu::device())].map(|x| x.to_vec().expect("values"));
    assert_eq!(found.len(), wanted.len(), "{what}");
    let greatest = wanted.iter().fold(0.0f32, |greatest, x| greatest.max(x.abs()));
    for (i, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert!((found - wanted).abs() <= tolerance * greatest, "{what}: element {i} is {found}, expected {wanted}");
    }
}

/// Spectra of normal fields, and the fields of these.
fn transforms_on(device: &Device, shape: [usize; 2], tolerance: f32) {
    let spectrum = |device: &Device| tensor(device, shape, 1).rfft2(Norm::Ortho).expect("a spectrum");
    same_on(device, &format!("spectrum of {shape:?}"), spectrum, tolerance);
    let back = |device: &Device| spectrum(device).irfft2(shape[1], Norm::Ortho).expect("a field");
    same_on(device, &format!("field of {shape:?}"), back, tolerance);
}

#[test]
fn transforms_of_every_kind_of_length_are_those_of_the_cpu() {
    // Two primes, a great one before others, powers, one that fits only once, columns that do not fill a block.
    for shape in [[3, 143], [2, 1799], [353, 3], [64, 48], [2, 1021], [1, 2310], [1, 5000], [22, 26]] {
        transforms_on(&device(Order::Shuffled(3)), shape, 2e-6);
    }
}

/// Complex numbers (…, 2) that begin at the second of so many numbers.
fn at_an_odd_place<const N: usize>(device: &Device, shape: [usize; N], dtype: DType) -> Tensor {
    let len = shape.iter().product();
    let numbers = tensor(device, [len + 1], 4).to_dtype(dtype).and_then(|x| x.narrow(0, 1, len));
    numbers.and_then(|x| x.reshape(shape)).expect("a view")
}

#[test]
fn complex_numbers_may_begin_at_any_place() {
    for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::Bf16, 1e-2)] {
        let lengths = |device: &Device| at_an_odd_place(device, [77, 2], dtype).amplitude().expect("lengths");
        same("lengths", lengths, tolerance);
        let slopes = |device: &Device| {
            let x = Parameter::new(at_an_odd_place(device, [77, 2], dtype));
            x.get().amplitude().and_then(|y| y.sum(&[], false)).and_then(|y| y.backward()).expect("gradients");
            x.gradient().expect("a gradient")
        };
        same("slopes", slopes, tolerance);
        for device in [device(Order::Forward), with_little_memory(Order::Forward)] {
            let field = |device: &Device| at_an_odd_place(device, [2, 140, 4, 2], dtype).irfft2(7, Norm::Ortho);
            same_on(&device, "a field", |device| field(device).expect("a field"), tolerance);
        }
    }
}

/// A device whose blocks have as much memory as those of compute capability 8.6, 8.9 and 12.0.
fn of_a_workstation() -> Device {
    Cuda::on(Box::new(Emulated::new(Order::Shuffled(3), Families::Own).with_shared(99 * 1024)))
}

#[test]
fn blocks_of_99_kib_are_enough_for_normalised_convolutions_and_wide_heads() {
    let device = of_a_workstation();
    // Pixels, normalised as two bf16 each, of which not even one window fits.
    let convolved = |device: &Device| {
        let [x, w] = [tensor(device, [1, 24, 40, 40], 1), tensor(device, [16, 24, 3, 3], 2)]
            .map(|x| x.to_dtype(DType::Bf16).and_then(|x| x.to_layout(Layout::Channels)).expect("a tensor"));
        let first = Prologue { groups: 4, epsilon: 1e-5, tail: NormTail::default() };
        let how = Conv2d { stride: [2, 2], padding: [1, 1], ..Conv2d::default() };
        x.conv2d_fused(Some(&first), &w, None, &how, &Epilogue::default()).expect("a convolution").y
    };
    same_on(&device, "a convolution", convolved, 1e-2);
    let attended = |device: &Device| {
        let [q, k, v] = [1, 2, 3].map(|purpose| Parameter::new(tensor(device, [1, 1, 70, 96], purpose)));
        let y = q.get().attention(&k.get(), &v.get(), AttentionOptions::default()).expect("attention");
        y.sum(&[], false).and_then(|y| y.backward()).expect("gradients");
        let [dq, dk] = [&q, &k].map(|x| x.gradient().expect("a gradient"));
        Tensor::cat(&[&y.detach(), &dq, &dk], 0).expect("all of them")
    };
    same_on(&device, "attention", attended, 1e-5);
}

/// A device whose blocks have so little shared memory that short transforms are long.
fn with_little_memory(order: Order) -> Device {
    Cuda::on(Box::new(Emulated::new(order, Families::Own).with_shared(2048)))
}

#[test]
fn transforms_that_do_not_fit_into_a_block_are_those_of_the_cpu() {
    // Rows or columns, or both, in two passes; primes, and primes with others, by a chirp; an odd number of rows.
    for shape in [[3, 143], [150, 4], [140, 200], [2, 211], [211, 5], [3, 446], [223, 211]] {
        for order in [Order::Forward, Order::Shuffled(3)] {
            transforms_on(&with_little_memory(order), shape, 2e-6);
        }
    }
    transforms_on(&device(Order::Reversed), [1, 20_000], 2e-6);
    transforms_on(&device(Order::Reversed), [1, 20_011], 2e-6);
}

#[test]
fn gradients_and_bf16_of_long_transforms_are_those_of_the_cpu() {
    for dtype in [DType::F32, DType::Bf16] {
        let gradient = |device: &Device| {
            let x = tensor(device, [2, 3, 146], 1).to_dtype(dtype).expect("a dtype").with_gradient();
            let y = x.rfft2(Norm::Ortho).and_then(|y| y.irfft2(146, Norm::Backward)).expect("a field");
            y.backward_with(&y.detach()).expect("a gradient");
            x.gradient().expect("a gradient")
        };
        let tolerance = if dtype == DType::F32 { 4e-6 } else { 1.0 / 128.0 };
        same_on(&with_little_memory(Order::Forward), "a gradient", gradient, tolerance);
    }
}

#[test]
fn a_transform_that_is_too_long_in_every_way_is_refused_with_its_size() {
    let x = Tensor::zeros(&with_little_memory(Order::Forward), [1, 8209]).expect("zeros");
    let error = x.rfft2(Norm::Backward).expect_err("too long").to_string();
    assert!(error.contains("8209 numbers") && error.contains("2048 bytes"), "{error}");
}

#[test]
fn means_of_great_parts_are_those_of_the_cpu() {
    for (shape, layout) in [([2, 8, 50, 61], Layout::Channels), ([1, 3, 50, 61], Layout::Rows)] {
        let parts = |device: &Device| {
            let x = tensor(device, shape, 2).to_layout(layout).expect("a layout");
            x.adaptive_avg_pool2d(3, 4).expect("means")
        };
        same("parts", parts, 1e-6);
    }
}

#[test]
fn great_windows_have_the_greatest_of_the_cpu() {
    let greatest = |device: &Device| {
        let x = tensor(device, [1, 8, 12, 14], 3).with_gradient();
        x.max_pool2d(Window::square(5, 2, 2)).and_then(|y| y.backward_with(&y.detach())).expect("a gradient");
        x.gradient().expect("a gradient")
    };
    same("windows", greatest, 1e-6);
}

/// Indices as numbers.
fn numbers(index: &Tensor) -> Tensor {
    let values: Vec<f32> = index.to_indices().expect("indices").into_iter().map(|i| i as f32).collect();
    Tensor::new(index.device(), index.shape(), &values).expect("numbers")
}

/// Indices below a limit, most of them 0.
fn indices(device: &Device, len: usize, limit: u32) -> Tensor {
    let word = |i: usize| Philox::new(6, 0).words([i as u32, 0, 0, 0]);
    let values: Vec<i32> = (0..len).map(word).map(|w| (if w[1] % 4 > 0 { 0 } else { w[0] % limit }) as i32).collect();
    Tensor::indices(device, [len], &values).expect("indices")
}

#[test]
fn sums_of_many_rows_in_few_places_are_those_of_the_cpu() {
    // More elements than stretches have chunks of one; places of two digits; rows that a thread does not hold.
    for (len, places, width) in [(140_000, 40, 1), (3000, 1000, 4), (700, 3, 1200)] {
        let sums = |device: &Device| {
            let (base, rows) = (tensor(device, [places, width], 4), tensor(device, [len, width], 5));
            base.index_add(0, &indices(device, len, places as u32), &rows).expect("sums")
        };
        // The CPU adds in f32, element by element.
        same(&format!("{len} rows in {places} places"), sums, 2e-5);
    }
}

#[test]
fn indices_outside_name_nothing() {
    for order in Order::ALL {
        let device = device(order);
        let x = Tensor::new(&device, [3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("values");
        let index = Tensor::indices(&device, [4], &[2, -1, 3, i32::MAX]).expect("indices");
        let chosen = x.index_select(0, &index).and_then(|y| y.to_vec());
        assert_eq!(chosen, Ok(vec![5.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]));
        let ones = Tensor::full(&device, [4, 2], 1.0).expect("ones");
        let sums = x.index_add(0, &index, &ones).and_then(|y| y.to_vec());
        assert_eq!(sums, Ok(vec![1.0, 2.0, 3.0, 4.0, 6.0, 7.0]));
        let pairs = Tensor::indices(&device, [2, 2], &[1, -5, 3, 0]).expect("indices");
        assert_eq!(x.gather(0, &pairs).and_then(|y| y.to_vec()), Ok(vec![3.0, 0.0, 0.0, 2.0]));
        let two = Tensor::full(&device, [2, 2], 1.0).expect("ones");
        let sums = x.scatter_add(0, &pairs, &two).and_then(|y| y.to_vec());
        assert_eq!(sums, Ok(vec![1.0, 3.0, 4.0, 4.0, 5.0, 6.0]));
        assert_eq!(index.one_hot(3).and_then(|y| y.to_vec()).map(|y| y.iter().sum::<f32>()), Ok(1.0));
    }
}

#[test]
fn many_neighbours_are_those_of_the_cpu() {
    for count in [32, 33, 70] {
        let neighbours = |device: &Device| {
            let index = tensor(device, [1, 90, 2], 6).nearest_neighbours(count, false).expect("neighbours");
            numbers(&index)
        };
        same("neighbours", neighbours, 0.0);
    }
}

#[test]
fn peaks_are_sorted_and_the_first_of_equal_ones() {
    #[rustfmt::skip]
    let field = [
        5.0, 1.0, 0.0, 7.0, 7.0,
        1.0, f32::NAN, 0.0, 0.0, 0.0,
        9.0, 0.0, 5.0, 0.0, 2.0,
    ];
    let x = |order: Order| Tensor::new(&device(order), [1, 3, 5], &field).expect("values");
    for order in Order::ALL {
        let (index, mask) = x(order).local_maxima(1, 2.0, 5).expect("peaks");
        assert_eq!(mask.to_vec(), Ok(vec![1.0, 1.0, 1.0, 1.0, 0.0]));
        assert_eq!(index.to_indices(), Ok(vec![10, 3, 0, 12, 0]));
    }
    let x = x(Order::Forward);
    assert_eq!(x.local_maxima(1, 2.0, 2).expect("peaks").0.to_indices(), Ok(vec![10, 3]));
    assert_eq!(x.local_maxima(usize::MAX, 2.0, 2).expect("peaks").1.to_vec(), Ok(vec![1.0, 0.0]));
    assert_eq!(x.local_maxima(1, 2.0, 20).expect("peaks").1.to_vec().map(|mask| mask.iter().sum()), Ok(4.0));
}

#[test]
fn peaks_of_several_fields_are_those_of_the_cpu() {
    let peaks = |device: &Device| {
        let (index, mask) = tensor(device, [2, 19, 23], 7).local_maxima(1, -0.5, 60).expect("peaks");
        Tensor::cat(&[&numbers(&index), &mask], 1).expect("both")
    };
    same("peaks", peaks, 0.0);
}
