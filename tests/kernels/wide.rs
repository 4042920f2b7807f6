//! Shapes for which kernels work in packs, tiles and several blocks, against the CPU backend: f32 and bf16, values and
//! gradients.

use gustfront::domain::Philox;
use gustfront::tensor::cases::{Case, Input};
use gustfront::tensor::{
    AttentionOptions, Cpu, DType, Device, Layout, Map, NormTail, Penalty, Result, Tensor, Weighting, no_grad,
};

use crate::emulation::{Order, device};

const EPSILON: f32 = 1e-5;

/// How far results may be from those of the CPU, relative to them and to the greatest of all: both are sums in f32 in
/// different orders, and in bf16 each rounds once where it is not said otherwise.
const F32: (f64, f64) = (2e-5, 1e-5);
const BF16: (f64, f64) = (1.0 / 128.0, 1.0 / 1024.0);
/// Shares and their gradients are operands of products and are rounded to bf16 as such.
const ATTENTION_BF16: (f64, f64) = (1.0 / 128.0, 1.0 / 128.0);

fn agrees(case: &Case, bf16: (f64, f64)) {
    for order in [Order::Reversed, Order::Shuffled(5)] {
        agrees_in(case, DType::F32, order, F32);
        agrees_in(case, DType::Bf16, order, bf16);
    }
}

fn agrees_in(case: &Case, dtype: DType, order: Order, tolerance: (f64, f64)) {
    let (found, wanted) = (results(case, &device(order), dtype), results(case, &Cpu::device(), dtype));
    assert_eq!(found.len(), wanted.len(), "{}", case.name);
    for (number, (found, wanted)) in found.iter().zip(&wanted).enumerate() {
        assert_near(&format!("{} {dtype} {order:?} result {number}", case.name), found, wanted, tolerance);
    }
}

fn assert_near(what: &str, found: &[f32], wanted: &[f32], (relative, of_greatest): (f64, f64)) {
    assert_eq!(found.len(), wanted.len(), "{what}");
    let greatest = wanted.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max);
    for (i, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        let far = (f64::from(*found) - f64::from(*wanted)).abs();
        let fine = far <= relative * f64::from(wanted.abs()) + of_greatest * greatest;
        assert!(fine || found == wanted, "{what}: element {i} is {found}, expected {wanted}");
    }
}

/// Values, then the gradients of all inputs that have one.
fn results(case: &Case, device: &Device, dtype: DType) -> Vec<Vec<f32>> {
    let inputs = case.tensors(device, dtype, Layout::Channels).expect("inputs");
    let leaves: Vec<Tensor> =
        inputs.iter().zip(&case.inputs).map(|(x, i)| if i.gradient { x.with_gradient() } else { x.clone() }).collect();
    let outputs = (case.run)(&leaves).unwrap_or_else(|e| panic!("{} on {}: {e}", case.name, device.name()));
    for (output, number) in outputs.iter().zip(0..) {
        let draw = |i: usize| Philox::new(7, number).normal([i as u32, 0, 0, 0])[0] as f32;
        let weight: Vec<f32> = (0..output.len()).map(draw).collect();
        let weight = Tensor::new(device, output.shape(), &weight).and_then(|x| x.to_dtype(output.dtype()));
        output.backward_with(&weight.expect("a gradient")).unwrap_or_else(|e| panic!("{}: {e}", case.name));
    }
    let gradients = leaves.iter().filter_map(Tensor::gradient);
    outputs.iter().cloned().chain(gradients).map(|x| x.to_vec().expect("values")).collect()
}

fn case(
    name: impl Into<String>,
    inputs: Vec<Input>,
    run: impl Fn(&[Tensor]) -> Result<Vec<Tensor>> + Send + Sync + 'static,
) -> Case {
    Case::speed(name, inputs, run)
}

fn group(shape: &'static [usize], groups: usize, activation: Map, numbers: Input) -> Case {
    let (channel, both) = (&shape[1..2], &shape[..2]);
    let inputs =
        vec![numbers, Input::normal(channel), Input::normal(channel), Input::normal(both), Input::normal(both)];
    case(format!("group {shape:?} in {groups} {activation:?}"), inputs, move |x| {
        let tail = NormTail {
            weight: Some(&x[1]),
            bias: Some(&x[2]),
            scale: Some(&x[3]),
            shift: Some(&x[4]),
            activation: Some(activation),
            moments: None,
            addend: None,
        };
        Ok(vec![x[0].group_norm(groups, EPSILON, tail)?])
    })
}

#[test]
fn norms_by_channels() {
    for (shape, groups, activation) in [
        (&[2, 16, 37, 41][..], 4, Map::Silu),
        (&[1, 64, 33, 29], 8, Map::Silu),
        (&[3, 2, 16, 40], 1, Map::GeluTanh),
        (&[1, 24, 9, 11], 3, Map::Relu),
        (&[1, 2112, 3, 2], 4, Map::Silu),
    ] {
        agrees(&group(shape, groups, activation, Input::normal(shape)), BF16);
    }
}

#[test]
fn means_far_above_the_deviation() {
    let shape = &[1, 8, 61, 67];
    let case = group(shape, 2, Map::Silu, Input::between(shape, 999.5, 1000.5));
    agrees_in(&case, DType::F32, Order::Forward, F32);
}

#[test]
fn norms_of_rows() {
    for shape in [&[37, 384], &[3, 1100], &[5, 4099], &[70, 12]] {
        let inputs = vec![Input::normal(shape), Input::normal(&shape[1..]), Input::normal(&shape[1..])];
        let case =
            case(format!("layer {shape:?}"), inputs, |x| Ok(vec![x[0].layer_norm(&x[1], Some(&x[2]), EPSILON)?]));
        agrees(&case, BF16);
    }
}

#[test]
fn softmax_of_rows_and_columns() {
    for (shape, dimension) in [(&[9, 256], -1), (&[3, 1160], -1), (&[2, 5003], -1), (&[4, 333], 0), (&[300, 40], 0)] {
        for log in [false, true] {
            let case = case(format!("softmax {shape:?} {dimension} log {log}"), vec![Input::normal(shape)], move |x| {
                Ok(vec![if log { x[0].log_softmax(dimension)? } else { x[0].softmax(dimension)? }])
            });
            agrees(&case, BF16);
        }
    }
}

#[test]
fn losses_of_many_elements() {
    let shape = &[2, 3, 67, 71];
    for penalty in [Penalty::Squared, Penalty::Absolute, Penalty::SmoothAbsolute(0.5), Penalty::CrossEntropy(2.0)] {
        for weights in [&[67, 71][..], &[2, 1, 67, 71], &[3, 1, 1]] {
            let inputs = vec![
                Input::normal(shape),
                Input::between(shape, 0.0, 1.0),
                Input::between(weights, 0.1, 3.0).constant(),
            ];
            let case = case(format!("loss {penalty:?} weights {weights:?}"), inputs, move |x| {
                Ok(vec![x[0].loss(penalty, &x[1], Weighting::Averaged(&x[2]))?])
            });
            agrees(&case, BF16);
        }
    }
}

fn attention([batch, heads, queries, keys, size, value_size]: [usize; 6], causal: bool, masked: bool) -> Case {
    let mut inputs = vec![
        Input::normal(&[batch, heads, queries, size]),
        Input::normal(&[batch, heads, keys, size]),
        Input::normal(&[batch, heads, keys, value_size]),
    ];
    inputs.extend(masked.then(|| Input::normal(&[heads, queries, keys]).constant()));
    let name =
        format!("attention {:?} causal {causal} masked {masked}", [batch, heads, queries, keys, size, value_size]);
    case(name, inputs, move |x| {
        let options = AttentionOptions { scale: None, causal, mask: x.get(3) };
        Ok(vec![x[0].attention(&x[1], &x[2], options)?])
    })
}

#[test]
fn attention_in_tiles() {
    for (sizes, causal, masked) in [
        ([1, 2, 150, 170, 32, 32], false, false),
        ([1, 1, 130, 200, 64, 64], false, true),
        ([1, 1, 140, 140, 64, 48], true, false),
        ([1, 1, 70, 100, 128, 96], true, true),
        ([1, 1, 66, 70, 33, 7], false, false),
        ([1, 1, 40, 130, 20, 100], false, true),
    ] {
        agrees(&attention(sizes, causal, masked), ATTENTION_BF16);
    }
}

/// With many heads a block takes twice as many queries.
#[test]
fn attention_of_many_heads() {
    let case = attention([66, 8, 3, 35, 40, 64], false, false);
    let values = |device: &Device| {
        let inputs = case.tensors(device, DType::Bf16, Layout::Rows).expect("inputs");
        no_grad(|| (case.run)(&inputs)).and_then(|y| y[0].to_vec()).expect("values")
    };
    assert_near(&case.name, &values(&device(Order::Shuffled(5))), &values(&Cpu::device()), BF16);
}

#[test]
fn attention_of_heads_wider_than_tiles() {
    for (sizes, causal, masked) in [
        ([1, 2, 20, 70, 160, 136], true, true),
        ([2, 1, 9, 40, 256, 64], false, false),
        ([1, 1, 5, 6, 7, 301], true, false),
    ] {
        agrees(&attention(sizes, causal, masked), BF16);
    }
}

/// A query that sees no key has no shares, and gives no gradients.
#[test]
fn queries_without_keys_in_wide_heads() {
    for keys in [0, 3] {
        let inputs = [4, keys].map(|count| Input::normal(&[1, 1, count, 130]));
        let case = case(format!("{keys} hidden keys"), inputs.to_vec(), |x| {
            let hidden = Tensor::full(x[0].device(), [4, 1], f32::NEG_INFINITY)?;
            let options = AttentionOptions { mask: Some(&hidden), ..AttentionOptions::default() };
            Ok(vec![x[0].attention(&x[1], &x[1], options)?])
        });
        for values in results(&case, &device(Order::Forward), DType::F32) {
            assert!(values.iter().all(|x| *x == 0.0), "{} {values:?}", case.name);
        }
    }
}
