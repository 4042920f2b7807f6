//! Attention to the same and to other places, masked and causal, and multi-head attention.

use super::{Array, Case, Input};
use crate::tensor::Tensor;
use crate::tensor::ops::attention::{AttentionOptions, MultiHead};

/// softmax(q · kᵀ · scale + mask) · v, zeros where all is hidden.
fn attention(q: &Array, k: &Array, v: &Array, mask: Option<&Array>, causal: bool, scale: f64) -> Array {
    let (keys, size) = (k.shape[2], k.shape[3]);
    let scores = Array::from_fn(&[q.shape[0], q.shape[1], q.shape[2], keys], |at| {
        let product: f64 = (0..size).map(|d| q.at(&[at[0], at[1], at[2], d]) * k.at(&[at[0], at[1], at[3], d])).sum();
        let hidden = if causal && at[3] > at[2] { f64::NEG_INFINITY } else { 0.0 };
        product * scale + mask.map_or(0.0, |mask| mask.at(at)) + hidden
    });
    let rows = scores.values.chunks(keys.max(1)).flat_map(|row| {
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let level = if most == f64::NEG_INFINITY { 0.0 } else { most };
        row.iter().map(move |score| (score - level).exp())
    });
    let shares = Array { values: rows.collect(), ..scores };
    Array::from_fn(&[q.shape[0], q.shape[1], q.shape[2], v.shape[3]], |at| {
        let share = |key: usize| shares.at(&[at[0], at[1], at[2], key]);
        let total: f64 = (0..keys).map(share).sum();
        let sum: f64 = (0..keys).map(|key| share(key) * v.at(&[at[0], at[1], key, at[3]])).sum();
        if total == 0.0 { 0.0 } else { sum / total }
    })
}

/// (batch, heads, queries, keys, size, value size), whether causal, a mask's shape.
type Sizes = ([usize; 6], bool, Option<&'static [usize]>);

fn single((sizes, causal, mask): Sizes) -> Case {
    let [batch, heads, queries, keys, size, value_size] = sizes;
    let mut inputs = vec![
        Input::normal(&[batch, heads, queries, size]),
        Input::normal(&[batch, heads, keys, size]),
        Input::normal(&[batch, heads, keys, value_size]),
    ];
    inputs.extend(mask.map(|mask| Input::normal(mask).constant()));
    let run = move |x: &[Tensor]| {
        let options = AttentionOptions { scale: None, causal, mask: x.get(3) };
        Ok(vec![x[0].attention(&x[1], &x[2], options)?])
    };
    let plain = move |x: &[Array]| vec![attention(&x[0], &x[1], &x[2], x.get(3), causal, 1.0 / (size as f64).sqrt())];
    Case::new(format!("attention/{sizes:?} causal {causal} mask {mask:?}"), inputs, run, plain).within(1e-5, 4e-6)
}

/// All keys under one number, beside which neither f32 nor f64 holds a product: the mean of the values.
fn masked_alike(low: f64, keys: usize) -> Case {
    let constant = |shape: &[usize]| Input::normal(shape).constant();
    let [q, k, v] = [constant(&[1, 1, 5, 3]), constant(&[1, 1, keys, 3]), Input::normal(&[1, 1, keys, 4])];
    let inputs = vec![q, k, v, Input::between(&[5, 1], low, low).constant()];
    let run = |x: &[Tensor]| {
        let options = AttentionOptions { mask: Some(&x[3]), ..AttentionOptions::default() };
        Ok(vec![x[0].attention(&x[1], &x[2], options)?])
    };
    let plain = |x: &[Array]| vec![attention(&x[0], &x[1], &x[2], x.get(3), false, 1.0 / 3f64.sqrt())];
    Case::new(format!("attention/{keys} keys masked by {low:e}"), inputs, run, plain)
}

/// x (batch, length, inputs) · wᵀ + bias, by rows of w from `first` on.
fn linear(x: &Array, w: &Array, bias: &Array, first: usize, outputs: usize) -> Array {
    Array::from_fn(&[x.shape[0], x.shape[1], outputs], |at| {
        let sum: f64 = (0..x.shape[2]).map(|i| x.at(&[at[0], at[1], i]) * w.at(&[first + at[2], i])).sum();
        sum + bias.at(&[first + at[2]])
    })
}

fn multi_head(cross: bool) -> Case {
    let (heads, embedding) = (2, 6);
    let mut inputs = vec![Input::normal(&[2, 5, embedding])];
    inputs.extend(cross.then(|| Input::normal(&[2, 3, embedding])));
    let at = inputs.len();
    inputs.extend([&[18, 6][..], &[18], &[6, 6], &[6]].map(Input::normal));
    let run = move |x: &[Tensor]| {
        let with = MultiHead {
            heads,
            in_weight: &x[at],
            in_bias: Some(&x[at + 1]),
            out_weight: &x[at + 2],
            out_bias: Some(&x[at + 3]),
            options: AttentionOptions::default(),
        };
        Ok(vec![x[0].multi_head_attention(cross.then(|| &x[1]), &with)?])
    };
    let plain = move |x: &[Array]| {
        let context = if cross { &x[1] } else { &x[0] };
        let size = embedding / heads;
        let split = |x: Array| {
            Array::from_fn(&[x.shape[0], heads, x.shape[1], size], |i| x.at(&[i[0], i[2], i[1] * size + i[3]]))
        };
        let part =
            |x_from: &Array, index: usize| split(linear(x_from, &x[at], &x[at + 1], index * embedding, embedding));
        let (q, k, v) = (part(&x[0], 0), part(context, 1), part(context, 2));
        let found = attention(&q, &k, &v, None, false, 1.0 / (size as f64).sqrt());
        let joined = Array::from_fn(&x[0].shape, |i| found.at(&[i[0], i[2] / size, i[1], i[2] % size]));
        vec![linear(&joined, &x[at + 2], &x[at + 3], 0, embedding)]
    };
    // Two linear layers and an attention, each rounded: in bf16 this is no single operation.
    Case::new(format!("attention/multi-head cross {cross}"), inputs, run, plain).within(1e-5, 2e-5)
}

/// The shares themselves, from a product with values that are a unit matrix.
fn shares(causal: bool) -> Case {
    let inputs = vec![Input::normal(&[2, 2, 5, 3]), Input::normal(&[2, 2, 4, 3])];
    let run = move |x: &[Tensor]| {
        let options = AttentionOptions { scale: Some(0.75), causal, mask: None };
        Ok(vec![x[0].attention_shares(&x[1], options)?])
    };
    let plain = move |x: &[Array]| {
        let unit = Array::from_fn(&[2, 2, 4, 4], |at| if at[2] == at[3] { 1.0 } else { 0.0 });
        vec![attention(&x[0], &x[1], &unit, None, causal, 0.75)]
    };
    Case::new(format!("attention/shares causal {causal}"), inputs, run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let sizes: [Sizes; 10] = [
        ([1, 1, 1, 1, 1, 1], false, None),
        ([2, 3, 5, 7, 4, 6], false, None),
        ([1, 2, 9, 9, 3, 3], true, None),
        ([2, 2, 6, 11, 5, 3], false, Some(&[2, 1, 6, 11])),
        ([2, 2, 6, 11, 5, 3], true, Some(&[6, 1])),
        ([1, 1, 101, 23, 3, 2], false, Some(&[23])),
        ([1, 1, 7, 419, 2, 3], false, None),
        ([1, 1, 203, 205, 2, 1], true, None),
        ([1, 2, 3, 5, 131, 160], false, None),
        ([2, 1, 4, 3, 256, 7], true, Some(&[2, 1, 4, 1])),
    ];
    let mut cases: Vec<Case> = sizes.into_iter().map(single).collect();
    cases.extend([multi_head(false), multi_head(true), shares(false), shares(true)]);
    cases.extend([masked_alike(-1e30, 7), masked_alike(-3e38, 205)]);
    let inputs = vec![Input::normal(&[1, 8, 2304, 64]); 3];
    let operations = 4.0 * 8.0 * 2304.0 * 2304.0 * 64.0;
    let run = |x: &[Tensor]| Ok(vec![x[0].attention(&x[1], &x[2], AttentionOptions::default())?]);
    cases.push(Case::speed("attention/1×8×2304×64", inputs, run).counting(operations));
    cases
}
