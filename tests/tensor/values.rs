//! What operations give, in f32 and bf16, from either layout, on every instruction set.

use gustfront::tensor::cases::{Case, Numbers};
use gustfront::tensor::{Cpu, DType, Layout, Level, Tensor, TensorError, no_grad};

use crate::{assert_close, compared};

/// Half a unit in the last place of bf16: 8 bits of precision, rounded once.
const BF16_ROUNDING: f64 = 1.0 / 256.0;

#[test]
fn every_case_equals_plain_loops() {
    for level in Level::available() {
        let device = Cpu::with_level(level);
        for (case, _, wanted) in compared() {
            for layout in [Layout::Rows, Layout::Channels] {
                let what = format!("{} {layout:?} {level:?}", case.name);
                let inputs = case.tensors(&device, DType::F32, layout).expect("inputs");
                let found = no_grad(|| (case.run)(&inputs)).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(found.len(), wanted.len(), "{what}");
                for (found, wanted) in found.iter().zip(&wanted) {
                    assert_eq!(found.shape().sizes(), &wanted.shape[..], "{what}");
                    assert_close(&what, &found.to_vec().expect("values"), wanted, case.tolerance);
                }
            }
        }
    }
}

/// An operation on bf16 computes in f32 and rounds once: it is off by what f32 may be, and one rounding.
#[test]
fn every_case_rounds_once_in_bf16() {
    let device = Cpu::device();
    for (case, mut arrays, _) in compared() {
        let what = format!("{} bf16", case.name);
        let inputs = case.tensors(&device, DType::Bf16, Layout::Rows).expect("inputs");
        let held =
            inputs.iter().map(|x| if x.dtype() == DType::Bf16 { Some(x.to_vec().expect("values")) } else { None });
        for (array, held) in arrays.iter_mut().zip(held) {
            if let Some(held) = held {
                array.values = held.into_iter().map(f64::from).collect();
            }
        }
        let wanted = case.plain.as_ref().expect("plain loops")(&arrays);
        let found = no_grad(|| (case.run)(&inputs)).unwrap_or_else(|e| panic!("{what}: {e}"));
        for (found, wanted) in found.iter().zip(&wanted) {
            let tolerance = (case.tolerance.0 + BF16_ROUNDING, case.tolerance.1);
            assert_close(&what, &found.to_vec().expect("values"), wanted, tolerance);
        }
    }
}

/// Cases that indices may be given to: cropping moves elements, whatever they are; cases of neighbours make numbers of
/// indices themselves, so that points may lie on few places; and random numbers and embeddings read no input.
const FOR_INDICES: &[&str] = &["resize/crop", "graph/neighbours", "random/normal", "random/uniform", "embedding/"];

/// Every input of numbers of every case, given as indices: kernels would read their bits as f32.
#[test]
fn indices_in_place_of_numbers_are_refused() {
    let device = Cpu::device();
    let mut taken = Vec::new();
    let refusing = |case: &Case| case.plain.is_some() && !FOR_INDICES.iter().any(|other| case.name.starts_with(other));
    for case in gustfront::tensor::cases::all().into_iter().filter(refusing) {
        let inputs = case.tensors(&device, DType::F32, Layout::Rows).expect("inputs");
        for (number, _) in case.inputs.iter().enumerate().filter(|(_, x)| !matches!(x.numbers, Numbers::Below(_))) {
            let mut wrong = inputs.clone();
            let ones = vec![1; inputs[number].len()];
            wrong[number] = Tensor::indices(&device, inputs[number].shape(), &ones).expect("indices");
            match (case.run)(&wrong) {
                Err(TensorError::DType { found: DType::I32, .. }) => {}
                Err(TensorError::DTypes { left, right, .. }) if [left, right].contains(&DType::I32) => {}
                Err(other) => taken.push(format!("{} input {number}: {other}", case.name)),
                Ok(_) => taken.push(format!("{} input {number} was taken as numbers", case.name)),
            }
        }
    }
    assert!(taken.is_empty(), "\n{}", taken.join("\n"));
}

#[test]
fn the_refusal_names_the_operation_and_both_dtypes() {
    let index = Tensor::indices(&Cpu::device(), [3], &[1, 2, 3]).expect("indices");
    let told = |error: TensorError, wanted: &str| assert_eq!(error.to_string(), wanted);
    told(index.relu().expect_err("numbers"), "relu of i32: expected f32 or bf16");
    told(index.sum(&[], false).expect_err("numbers"), "sum of i32: expected f32 or bf16");
    told(index.to_dtype(DType::F32).expect_err("numbers"), "to_dtype of i32: expected f32 or bf16");
    told(index.to_vec().expect_err("numbers"), "to_vec of i32: expected f32 or bf16");
    let points = Tensor::indices(&Cpu::device(), [1, 2, 1], &[1, 2]).expect("indices");
    let error = points.nearest_neighbours(1, false).expect_err("numbers");
    told(error, "nearest_neighbours of i32: expected f32 or bf16");
    told(index.add(&index).expect_err("numbers"), "add of i32: expected f32 or bf16");
    let numbers = Tensor::zeros(&Cpu::device(), [3]).expect("zeros");
    told(numbers.to_indices().expect_err("indices"), "to_indices of f32: expected i32");
    told(numbers.to_dtype(DType::I32).expect_err("numbers"), "to_dtype of i32: expected f32 or bf16");
}

/// A tensor of few dimensions says nothing of the order of those in front of it.
#[test]
fn operands_of_other_ranks_are_broadcast_from_any_layout() {
    let device = Cpu::device();
    let numbers = |shape: &[usize]| {
        let len: usize = shape.iter().product();
        let values: Vec<f32> = (0..len).map(|i| i as f32).collect();
        let shape: Vec<usize> = shape.to_vec();
        match shape[..] {
            [a, b, c] => Tensor::new(&device, [a, b, c], &values),
            [a, b, c, d] => Tensor::new(&device, [a, b, c, d], &values),
            _ => Tensor::new(&device, [2, 1, 3, 4, 5], &values[..120]),
        }
        .expect("a tensor")
    };
    let (three, four, five) = (numbers(&[3, 4, 5]), numbers(&[2, 3, 4, 5]), numbers(&[2, 1, 3, 4, 5]));
    for (x, y) in [(&four, &three), (&five, &four), (&five, &three)] {
        let wanted = x.add(y).and_then(|z| z.to_vec()).expect("a sum");
        for (left, right) in
            [(Layout::Rows, Layout::Channels), (Layout::Channels, Layout::Rows), (Layout::Channels, Layout::Channels)]
        {
            let (x, y) = (x.to_layout(left).expect("x"), y.to_layout(right).expect("y"));
            assert_eq!(x.add(&y).and_then(|z| z.to_vec()).expect("a sum"), wanted, "{left:?} {right:?}");
            assert_eq!(y.add(&x).and_then(|z| z.to_vec()).expect("a sum"), wanted, "{right:?} {left:?}");
        }
    }
}

#[test]
fn indices_come_back_in_logical_order() {
    let index = Tensor::indices(&Cpu::device(), [1, 2, 1, 3], &[1, 2, 3, 4, 5, 6]).expect("indices");
    let turned = index.to_layout(Layout::Channels).expect("channels last");
    assert_eq!(turned.to_indices().expect("indices"), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn gradients_of_another_kind_are_refused() {
    let device = Cpu::device();
    let y = Tensor::zeros(&device, [2]).expect("zeros").with_gradient().exp().expect("ones");
    let indices = Tensor::indices(&device, [2], &[1, 1]).expect("indices");
    assert!(matches!(y.backward_with(&indices), Err(TensorError::DTypes { .. })));
    let elsewhere = Tensor::zeros(&Cpu::device(), [2]).expect("zeros");
    assert!(matches!(y.backward_with(&elsewhere), Err(TensorError::Devices { .. })));
}

/// Two calls that open a device give two of one name, and an operation tells the name it was called by.
#[test]
fn errors_tell_two_devices_of_one_name_and_the_operation_that_was_called() {
    let device = Cpu::device();
    let table = Tensor::zeros(&device, [3, 2]).expect("a table");
    let error = table.add(&Tensor::zeros(&Cpu::device(), [3, 2]).expect("zeros")).expect_err("two devices").to_string();
    assert!(error.starts_with("add of tensors on cpu ("), "{error}");
    assert!(error.contains(") and another of that name, made by another call: expected one device"), "{error}");
    let index = |value: i32| Tensor::indices(&device, [1], &[value]).expect("an index");
    let error = table.embedding(&index(3)).expect_err("three rows").to_string();
    assert!(error.starts_with("embedding: the index 3 at position 0"), "{error}");
    let error = table.index_select(0, &index(-1)).expect_err("a negative index").to_string();
    assert!(error.starts_with("index_select: the index -1 at position 0"), "{error}");
}
