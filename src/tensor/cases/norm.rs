//! Group, batch, instance and layer normalisation, with all that may follow them.

use super::{Array, Case, Input};
use crate::tensor::Tensor;
use crate::tensor::ops::elementwise::Map;
use crate::tensor::ops::norm::NormTail;

pub(super) const EPSILON: f32 = 1e-5;

/// Normalises sets of elements, told by the set of an index.
fn normal(x: &Array, sets: usize, set: impl Fn(&[usize]) -> usize) -> (Array, Vec<[f64; 2]>) {
    let indices = Array::from_fn(&x.shape, |index| set(index) as f64);
    let (mut counts, mut moments) = (vec![0.0; sets], vec![[0.0; 2]; sets]);
    for (x, set) in x.values.iter().zip(&indices.values) {
        counts[*set as usize] += 1.0;
        moments[*set as usize][0] += x;
    }
    moments.iter_mut().zip(&counts).for_each(|(moments, count)| moments[0] /= count);
    for (x, set) in x.values.iter().zip(&indices.values) {
        let moments = &mut moments[*set as usize];
        moments[1] += (x - moments[0]).powi(2);
    }
    moments.iter_mut().zip(&counts).for_each(|(moments, count)| moments[1] /= count);
    (scaled(x, &moments, &indices), moments)
}

fn scaled(x: &Array, moments: &[[f64; 2]], sets: &Array) -> Array {
    let scaled = |(x, set): (&f64, &f64)| {
        let [mean, variance] = moments[*set as usize];
        (x - mean) / (variance + f64::from(EPSILON)).sqrt()
    };
    Array { shape: x.shape.clone(), values: x.values.iter().zip(&sets.values).map(scaled).collect() }
}

/// Weight and bias a channel, scale and shift a channel of a sample, SiLU.
fn followed(x: &Array, factors: [Option<&Array>; 4], silu: bool) -> Array {
    Array::from_fn(&x.shape, |index| {
        let (channel, both) = (&index[1..2], &index[..2]);
        let of = |which: usize, at: &[usize], other: f64| factors[which].map_or(other, |f| f.at(at));
        let z = x.at(index) * of(0, channel, 1.0) + of(1, channel, 0.0);
        let z = z * (1.0 + of(2, both, 0.0)) + of(3, both, 0.0);
        if silu { z / (1.0 + (-z).exp()) } else { z }
    })
}

/// Group normalisation, and what follows it.
pub(super) fn grouped(x: &Array, groups: usize, factors: [Option<&Array>; 4], silu: bool) -> Array {
    let (batch, channels) = (x.shape[0], x.shape[1]);
    let set = |index: &[usize]| index[0] * groups + index[1] / (channels / groups);
    followed(&normal(x, batch * groups, set).0, factors, silu)
}

/// An addend behind SiLU, in any rank.
fn added(shape: &'static [usize], groups: usize) -> Case {
    let inputs = vec![Input::normal(shape), Input::normal(&shape[..2])];
    let run = move |x: &[Tensor]| {
        let tail = NormTail { activation: Some(Map::Silu), addend: Some(&x[1]), ..NormTail::default() };
        Ok(vec![x[0].group_norm(groups, EPSILON, tail)?])
    };
    let plain = move |x: &[Array]| {
        let y = grouped(&x[0], groups, [None; 4], true);
        vec![Array::from_fn(shape, |i| y.at(i) + x[1].at(&i[..2]))]
    };
    Case::new(format!("norm/group {shape:?} in {groups} with an addend"), inputs, run, plain).within(1e-5, 4e-6)
}

/// Group normalisation with (weight and bias, scale and shift, SiLU).
fn group(shape: &'static [usize], groups: usize, (weights, film, silu): (bool, bool, bool)) -> Case {
    let mut inputs = vec![Input::normal(shape)];
    let (channel, both) = ([shape[1]], [shape[0], shape[1]]);
    inputs.extend(weights.then(|| [Input::normal(&channel), Input::normal(&channel)]).into_iter().flatten());
    inputs.extend(film.then(|| [Input::normal(&both), Input::normal(&both)]).into_iter().flatten());
    let next = if weights { 3 } else { 1 };
    let run = move |x: &[Tensor]| {
        let tail = NormTail {
            weight: weights.then(|| &x[1]),
            bias: weights.then(|| &x[2]),
            scale: film.then(|| &x[next]),
            shift: film.then(|| &x[next + 1]),
            activation: silu.then_some(Map::Silu),
            addend: None,
            moments: None,
        };
        Ok(vec![x[0].group_norm(groups, EPSILON, tail)?])
    };
    let plain = move |x: &[Array]| {
        let factors =
            [weights.then(|| &x[1]), weights.then(|| &x[2]), film.then(|| &x[next]), film.then(|| &x[next + 1])];
        vec![grouped(&x[0], groups, factors, silu)]
    };
    let name = format!("norm/group {shape:?} in {groups} weights {weights} film {film} silu {silu}");
    Case::new(name, inputs, run, plain).within(1e-5, 4e-6)
}

/// What a case of batch normalisation gives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Batch {
    /// The values, by given statistics.
    Evaluation,
    /// The values, by those of the batch.
    Training,
    /// The moved statistics.
    Running,
}

fn batch(shape: &'static [usize], gives: Batch) -> Case {
    let channel = [shape[1]];
    let mut inputs = vec![
        Input::normal(shape),
        Input::normal(&channel),
        Input::normal(&channel),
        Input::normal(&channel).constant(),
        Input::between(&channel, 0.5, 2.0).constant(),
    ];
    inputs.iter_mut().for_each(|input| input.gradient &= gives != Batch::Running);
    let momentum = 0.25;
    let run = move |x: &[Tensor]| {
        let tail = NormTail { weight: Some(&x[1]), bias: Some(&x[2]), ..NormTail::default() };
        if gives == Batch::Evaluation {
            return Ok(vec![x[0].batch_norm(&x[3], &x[4], EPSILON, tail)?]);
        }
        let found = x[0].batch_norm_training(&x[3], &x[4], momentum, EPSILON, tail)?;
        Ok(match gives {
            Batch::Running => vec![found.running_mean, found.running_variance],
            _ => vec![found.output],
        })
    };
    let plain = move |x: &[Array]| {
        let factors = [Some(&x[1]), Some(&x[2]), None, None];
        let (normal, moments) = normal(&x[0], shape[1], |index| index[1]);
        let count = (x[0].values.len() / shape[1]) as f64;
        let moved = |which: usize, scale: f64| {
            let new = |(old, new): (&f64, &[f64; 2])| 0.75 * old + 0.25 * scale * new[which];
            Array { shape: channel.to_vec(), values: x[3 + which].values.iter().zip(&moments).map(new).collect() }
        };
        match gives {
            Batch::Running => vec![moved(0, 1.0), moved(1, count / (count - 1.0))],
            Batch::Training => vec![followed(&normal, factors, false)],
            Batch::Evaluation => {
                let given: Vec<[f64; 2]> = x[3].values.iter().zip(&x[4].values).map(|(a, b)| [*a, *b]).collect();
                let sets = Array::from_fn(shape, |index| index[1] as f64);
                vec![followed(&scaled(&x[0], &given, &sets), factors, false)]
            }
        }
    };
    Case::new(format!("norm/batch {shape:?} {gives:?}"), inputs, run, plain).within(1e-5, 4e-6)
}

/// Layer normalisation over the last dimensions.
fn layer(shape: &'static [usize], dimensions: usize, weights: bool) -> Case {
    let last = &shape[shape.len() - dimensions..];
    let mut inputs = vec![Input::normal(shape)];
    inputs.extend(weights.then(|| [Input::normal(last), Input::normal(last)]).into_iter().flatten());
    let run = move |x: &[Tensor]| {
        Ok(vec![match weights {
            true => x[0].layer_norm(&x[1], Some(&x[2]), EPSILON)?,
            false => x[0].layer_norm_over(dimensions, None, None, EPSILON)?,
        }])
    };
    let plain = move |x: &[Array]| {
        let first = &shape[..shape.len() - dimensions];
        let set = |index: &[usize]| index.iter().zip(first).fold(0, |flat, (i, size)| flat * size + i);
        let (normal, _) = normal(&x[0], first.iter().product(), set);
        vec![Array::from_fn(shape, |index| {
            let z = normal.at(index);
            if weights { z * x[1].at(&index[first.len()..]) + x[2].at(&index[first.len()..]) } else { z }
        })]
    };
    let name = format!("norm/layer {shape:?} over {dimensions} weights {weights}");
    Case::new(name, inputs, run, plain).within(1e-5, 4e-6)
}

pub(super) fn cases() -> Vec<Case> {
    let (all, bare) = ((true, true, true), (false, false, false));
    let mut cases = vec![
        group(&[2, 6, 5, 7], 3, bare),
        group(&[2, 6, 5, 7], 2, all),
        group(&[2, 6, 5, 7], 6, (true, false, true)),
        group(&[1, 32, 3, 5], 8, (true, false, true)),
        group(&[3, 8, 11], 4, all),
        group(&[2, 3, 2, 3, 2], 1, (true, false, false)),
        group(&[3, 12], 3, (true, false, true)),
        group(&[1, 2, 23, 29], 1, (false, true, false)),
        added(&[2, 6, 5, 7], 3),
        added(&[3, 12], 3),
        added(&[2, 4, 11], 2),
        batch(&[3, 5, 4, 3], Batch::Training),
        batch(&[3, 5, 4, 3], Batch::Evaluation),
        batch(&[3, 5, 4, 3], Batch::Running),
        batch(&[7, 4], Batch::Training),
        batch(&[7, 4], Batch::Running),
        batch(&[2, 3, 9], Batch::Evaluation),
        layer(&[2, 3, 19], 1, true),
        layer(&[70, 6], 1, true),
        layer(&[2, 3, 4, 5], 2, true),
        layer(&[2, 3, 4, 5], 4, false),
        layer(&[5, 33], 1, false),
    ];
    for shape in [&[1, 16, 1059, 1799], &[4, 64, 128, 128]] {
        let inputs = vec![Input::normal(shape), Input::normal(&shape[1..2]), Input::normal(&shape[1..2])];
        cases.push(Case::speed(format!("norm/group with silu {shape:?}"), inputs, |x| {
            let tail =
                NormTail { weight: Some(&x[1]), bias: Some(&x[2]), activation: Some(Map::Silu), ..NormTail::default() };
            Ok(vec![x[0].group_norm(8, EPSILON, tail)?])
        }));
    }
    cases
}
