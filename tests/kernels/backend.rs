//! What no single operation shows: long sums, the optimiser, memory that is used again, moves between devices.

use gustfront::domain::Philox;
use gustfront::tensor::{AdamOptions, AdamW, Cpu, DType, Device, Parameter, Tensor};

use crate::emulation::{Order, device};

/// Normal numbers that are the same in every run.
fn normal(len: usize, purpose: u32) -> Vec<f32> {
    (0..len).map(|i| Philox::new(3, purpose).normal([i as u32, 0, 0, 0])[0] as f32).collect()
}

fn close(found: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(wanted) {
        assert!((found - wanted).abs() <= tolerance * (1.0 + wanted.abs()), "{found}, expected {wanted}");
    }
}

#[test]
fn long_sums_and_extremes_are_cut_into_slabs_that_add_up() {
    let values = normal(3 * 50_000, 1);
    for (shape, dimensions) in [([3, 50_000], [1]), ([50_000, 3], [0]), ([1, 150_000], [1])] {
        let results = [device(Order::Shuffled(5)), Cpu::device()].map(|device| {
            let x = Tensor::new(&device, shape, &values).expect("a tensor");
            let sum = x.sum(&dimensions, false).and_then(|x| x.to_vec()).expect("sums");
            let greatest = x.max(&dimensions, false).and_then(|x| x.to_vec()).expect("extremes");
            (sum, greatest)
        });
        let [(sum, greatest), (wanted_sum, wanted_greatest)] = &results;
        close(sum, wanted_sum, 1e-6);
        assert_eq!(greatest, wanted_greatest);
    }
}

#[test]
fn special_numbers_are_as_pytorchs() {
    let differences = crate::special::differences(&device(Order::Forward));
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Two values and the norms after some steps of AdamW with clipping, on gradients that depend on the values.
fn trained(device: &Device, dtype: DType) -> Vec<f32> {
    let parameters: Vec<Parameter> = [(40_000, 1), (5, 2)]
        .map(|(len, purpose)| {
            let value = Tensor::new(device, [len], &normal(len, purpose)).and_then(|x| x.to_dtype(dtype));
            Parameter::new(value.expect("a value"))
        })
        .to_vec();
    let options = AdamOptions { max_norm: Some(1.0), ..AdamOptions::default() };
    let mut optimiser = AdamW::new(parameters.clone(), options).expect("an optimiser");
    let mut norms = Vec::new();
    for _ in 0..3 {
        for parameter in &parameters {
            let loss = parameter.get().to_dtype(DType::F32).and_then(|x| x.mul(&x)).and_then(|x| x.sum(&[], false));
            loss.and_then(|loss| loss.backward()).expect("gradients");
        }
        let norm = optimiser.step(0.1).expect("a step").expect("a norm");
        norms.push(norm.item().expect("a number"));
        optimiser.clear_gradients();
    }
    norms.extend(parameters.iter().flat_map(|p| p.get().to_vec().expect("values").into_iter().take(100)));
    norms
}

#[test]
fn adam_follows_the_cpu_step_by_step() {
    close(&trained(&device(Order::Reversed), DType::F32), &trained(&Cpu::device(), DType::F32), 1e-6);
    close(&trained(&device(Order::Forward), DType::Bf16), &trained(&Cpu::device(), DType::Bf16), 1e-6);
}

#[test]
fn a_step_that_was_done_once_allocates_nothing() {
    let device = device(Order::Forward);
    let x = Tensor::new(&device, [1000], &normal(1000, 1)).expect("a tensor");
    let step =
        || x.silu().and_then(|y| y.mul(&x)).and_then(|y| y.sum(&[], false)).and_then(|y| y.item()).expect("a sum");
    let first = step();
    let before = device.memory_use();
    assert_eq!(step(), first);
    let after = device.memory_use();
    assert_eq!(after.allocations, before.allocations);
    assert_eq!(after.used_bytes, before.used_bytes);
    assert!(before.peak_bytes >= 3 * 4000, "{before:?}");
}

#[test]
fn memory_of_the_host_becomes_a_tensor_and_may_be_written_again() {
    let values = normal(1000, 5);
    for device in [device(Order::Forward), Cpu::device()] {
        let mut memory = device.host_memory(4000).expect("memory");
        memory.bytes_mut().expect("bytes").copy_from_slice(bytemuck::cast_slice(&values));
        let moved = Tensor::from_host(&device, [10, 100], &memory).expect("a tensor");
        memory.bytes_mut().expect("bytes").fill(0);
        assert_eq!(moved.to_vec().expect("values"), values, "{}", device.name());
        assert!(Tensor::from_host(&device, [10, 99], &memory).is_err());
    }
}

#[test]
fn tensors_move_between_devices_with_their_dtype() {
    let (device, values) = (device(Order::Forward), normal(77, 1));
    let narrow = Tensor::new(&Cpu::device(), [7, 11], &values).and_then(|x| x.to_dtype(DType::Bf16)).expect("a tensor");
    let moved = narrow.to_device(&device).expect("a move");
    assert_eq!(moved.dtype(), DType::Bf16);
    assert_eq!(moved.to_vec().expect("values"), narrow.to_vec().expect("values"));
    let indices =
        Tensor::indices(&Cpu::device(), [3], &[5, 0, -1]).and_then(|x| x.to_device(&device)).expect("indices");
    assert_eq!(indices.to_indices().expect("indices"), [5, 0, -1]);
    let error = moved.add(&narrow).expect_err("two devices");
    assert!(error.to_string().contains("emulated"), "{error}");
}
