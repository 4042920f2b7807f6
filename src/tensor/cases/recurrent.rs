//! GRU and ConvLSTM.

use super::{Array, Case, Input};
use crate::tensor::{GruWeights, Tensor};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// w · x + b of one row.
fn row(x: &[f64], w: &Array, b: Option<&Array>) -> Vec<f64> {
    let product =
        |(i, w): (usize, &[f64])| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>() + b.map_or(0.0, |b| b.values[i]);
    w.values.chunks(x.len()).enumerate().map(product).collect()
}

/// The next state of one sample.
fn gru(x: &[f64], h: &[f64], weights: &[Array]) -> Vec<f64> {
    let (from_x, from_h) = (row(x, &weights[0], weights.get(2)), row(h, &weights[1], weights.get(3)));
    let size = h.len();
    let gate = |i: usize| sigmoid(from_x[i] + from_h[i]);
    let next = |i: usize| {
        let n = (from_x[2 * size + i] + gate(i) * from_h[2 * size + i]).tanh();
        (1.0 - gate(size + i)) * n + gate(size + i) * h[i]
    };
    (0..size).map(next).collect()
}

fn weights(x: &[Tensor]) -> GruWeights<'_> {
    GruWeights { input: &x[0], hidden: &x[1], input_bias: x.get(2), hidden_bias: x.get(3) }
}

fn weight_inputs(inputs: usize, size: usize, bias: bool) -> Vec<Input> {
    let mut all = vec![Input::normal(&[3 * size, inputs]), Input::normal(&[3 * size, size])];
    all.extend((0..2).filter(|_| bias).map(|_| Input::normal(&[3 * size])));
    all
}

fn gru_cell(bias: bool) -> Case {
    let run = |x: &[Tensor]| Ok(vec![x[0].gru_cell(&x[1], weights(&x[2..]))?]);
    let plain = |x: &[Array]| {
        let rows = x[0].values.chunks(5).zip(x[1].values.chunks(7));
        vec![Array { shape: vec![3, 7], values: rows.flat_map(|(row, h)| gru(row, h, &x[2..])).collect() }]
    };
    let mut inputs = vec![Input::normal(&[3, 5]), Input::normal(&[3, 7])];
    inputs.extend(weight_inputs(5, 7, bias));
    Case::new(format!("recurrent/GRU cell, bias {bias}"), inputs, run, plain)
}

fn gru_sequence(bias: bool) -> Case {
    let run = |x: &[Tensor]| Ok(vec![x[0].gru(Some(&x[1]), weights(&x[2..]))?]);
    let plain = |x: &[Array]| {
        let mut values = Vec::new();
        for (sequence, h) in x[0].values.chunks(4 * 5).zip(x[1].values.chunks(7)) {
            let mut h = h.to_vec();
            for step in sequence.chunks(5) {
                h = gru(step, &h, &x[2..]);
                values.extend(&h);
            }
        }
        vec![Array { shape: vec![3, 4, 7], values }]
    };
    let mut inputs = vec![Input::normal(&[3, 4, 5]), Input::normal(&[3, 7])];
    inputs.extend(weight_inputs(5, 7, bias));
    Case::new(format!("recurrent/GRU, bias {bias}"), inputs, run, plain)
}

/// Gate `k` of 4·`hidden` at a pixel of a 3×3 convolution of x and h.
fn conv_gate(x: &[Array], k: usize, [n, row, column]: [usize; 3]) -> f64 {
    let ([rows, columns], inputs) = ([x[0].shape[2], x[0].shape[3]], x[0].shape[1]);
    let mut sum = x[4].values[k];
    for c in 0..inputs + x[1].shape[1] {
        for (i, j) in (0..9).map(|tap| (tap / 3, tap % 3)) {
            let (r, s) = (row + i, column + j);
            if (1..=rows).contains(&r) && (1..=columns).contains(&s) {
                let from = if c < inputs { &x[0] } else { &x[1] };
                let channel = if c < inputs { c } else { c - inputs };
                sum += x[3].at(&[k, c, i, j]) * from.at(&[n, channel, r - 1, s - 1]);
            }
        }
    }
    sum
}

fn conv_lstm() -> Case {
    let (state, image) = ([2, 3, 4, 5], [2, 2, 4, 5]);
    let run = |x: &[Tensor]| {
        let (h, c) = x[0].conv_lstm_cell((&x[1], &x[2]), &x[3], Some(&x[4]))?;
        Ok(vec![h, c])
    };
    let plain = move |x: &[Array]| {
        let gate = |which: usize, i: &[usize]| conv_gate(x, which * 3 + i[1], [i[0], i[2], i[3]]);
        let c = Array::from_fn(&state, |i| sigmoid(gate(1, i)) * x[2].at(i) + sigmoid(gate(0, i)) * gate(3, i).tanh());
        let h = Array::from_fn(&state, |i| sigmoid(gate(2, i)) * c.at(i).tanh());
        vec![h, c]
    };
    let mut inputs: Vec<Input> = [&image[..], &state, &state].into_iter().map(Input::normal).collect();
    inputs.extend([Input::normal(&[12, 5, 3, 3]), Input::normal(&[12])]);
    Case::new("recurrent/ConvLSTM", inputs, run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> =
        [true, false].into_iter().flat_map(|bias| [gru_cell(bias), gru_sequence(bias)]).collect();
    cases.push(conv_lstm());
    let mut inputs = vec![Input::normal(&[32, 24, 128]), Input::normal(&[32, 256])];
    // Within ±1/√256, as layers begin: gates are not saturated.
    inputs.extend(weight_inputs(128, 256, true).iter().map(|input| Input::between(&input.shape, -0.0625, 0.0625)));
    let run = |x: &[Tensor]| Ok(vec![x[0].gru(Some(&x[1]), weights(&x[2..]))?]);
    let operations = 2.0 * 32.0 * 24.0 * 3.0 * 256.0 * (128.0 + 256.0);
    cases.push(Case::speed("recurrent/GRU 32×24, 128→256", inputs, run).counting(operations));
    let state = || Input::normal(&[1, 32, 384, 384]);
    let inputs = vec![
        Input::normal(&[1, 16, 384, 384]),
        state(),
        state(),
        Input::normal(&[128, 48, 3, 3]),
        Input::normal(&[128]),
    ];
    let run = |x: &[Tensor]| {
        let (h, c) = x[0].conv_lstm_cell((&x[1], &x[2]), &x[3], Some(&x[4]))?;
        Ok(vec![h, c])
    };
    let operations = 2.0 * 9.0 * 48.0 * 128.0 * 384.0 * 384.0;
    cases.push(Case::speed("recurrent/ConvLSTM 16→32 at 384×384", inputs, run).counting(operations));
    cases
}
