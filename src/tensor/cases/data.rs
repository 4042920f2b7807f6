//! Fields before and after a model.

use super::{Array, Case, Input};
use crate::domain::Symmetry;
use crate::tensor::{Coding, HostMemory, Quality, Result, SparseMap, StoredWindows, Tensor};
use crate::transforms::lightning::Bins;

/// A map of 5·7 points to 3·4: each target takes three points, the last none.
fn taps(target: usize) -> Vec<(usize, f64)> {
    let weights = [0.5, 0.3125, 0.1875];
    let tap = |k: usize| ((target * 3 + k * 11) % 35, weights[k]);
    if target == 11 { Vec::new() } else { (0..3).map(tap).collect() }
}

fn map(x: &Tensor) -> Result<SparseMap> {
    let (mut offsets, mut sources, mut weights) = (vec![0], Vec::new(), Vec::new());
    for target in 0..12 {
        let taps = taps(target);
        sources.extend(taps.iter().map(|tap| tap.0 as u32));
        weights.extend(taps.iter().map(|tap| tap.1 as f32));
        offsets.push(sources.len() as u32);
    }
    SparseMap::new(x.device(), 35, &offsets, &sources, &weights)
}

fn regrid(channels: usize) -> Case {
    let shape = [2, channels, 5, 7];
    let plain = move |x: &[Array]| {
        vec![Array::from_fn(&[2, channels, 3, 4], |i| {
            let value = |(source, weight): (usize, f64)| weight * x[0].at(&[i[0], i[1], source / 7, source % 7]);
            taps(i[2] * 4 + i[3]).into_iter().map(value).sum()
        })]
    };
    let run = |x: &[Tensor]| Ok(vec![x[0].regrid(&map(&x[0])?, 3, 4, None)?]);
    Case::new(format!("data/regrid {channels} channels"), vec![Input::normal(&shape)], run, plain)
}

fn standardise(shape: &[usize], inverse: bool) -> Case {
    let channels = [shape[1]];
    let inputs =
        vec![Input::normal(shape), Input::normal(&channels).constant(), Input::between(&channels, 0.5, 2.0).constant()];
    let run = move |x: &[Tensor]| {
        Ok(vec![if inverse { x[0].unstandardise(&x[1], &x[2])? } else { x[0].standardise(&x[1], &x[2])? }])
    };
    let plain = move |x: &[Array]| {
        vec![Array::from_fn(&x[0].shape, |i| {
            let (value, mean, deviation) = (x[0].at(i), x[1].at(&i[1..2]), x[2].at(&i[1..2]));
            if inverse { value * deviation + mean } else { (value - mean) / deviation }
        })]
    };
    Case::new(format!("data/standardise {shape:?} inverse {inverse}"), inputs, run, plain)
}

/// Points in bins, some on their borders.
fn binned() -> Case {
    let bins = Bins { origin: [0.5, 4.0, 0.5], step: [1.0, -0.5, 2.0], count: [3, 7, 2] };
    let plain = move |x: &[Array]| {
        let lies_in = |point: &[f64], bin: &[usize]| {
            let axes = [point[2], point[1], point[0]].into_iter().zip(bins.origin).zip(bins.step).zip(bin);
            let mut axes = axes.map(|(((at, origin), step), bin)| ((at - origin) / step, bin));
            axes.all(|(at, bin)| at.floor() == *bin as f64)
        };
        let count = |bin: &[usize]| x[0].values.chunks(3).filter(|point| lies_in(point, bin)).count() as f64;
        vec![Array::from_fn(&bins.count, count)]
    };
    let points = vec![Input::between(&[90, 3], 0.0, 5.0).constant()];
    let run = move |x: &[Tensor]| {
        let values: Vec<f64> = x[0].to_vec()?.into_iter().map(f64::from).collect();
        let memory = on_host(&x[0], bytemuck::cast_slice(&values))?;
        Ok(vec![Tensor::binned(x[0].device(), &memory, values.len() / 3, &bins)?])
    };
    Case::new("data/binned", points, run, plain)
}

/// Bytes in memory that a device reads by itself, where it can.
fn on_host(x: &Tensor, bytes: &[u8]) -> Result<HostMemory> {
    let mut memory = x.device().host_memory(bytes.len())?;
    memory.bytes_mut()?.copy_from_slice(bytes);
    Ok(memory)
}

/// Eight windows of two frames, each turned in another way: six numbers from the least to the greatest, one of which is
/// missing.
fn decoded(coding: Coding, what: impl Fn(f64) -> Option<f64> + Send + Sync + 'static) -> Case {
    let shape = [8, 2, 7, 7];
    let name = format!("data/decoded {} bytes", coding.bytes());
    let run = move |x: &[Tensor]| {
        let bytes: Vec<u8> = match coding {
            Coding::U8(_) => x[0].to_indices()?.into_iter().map(|sixth| (sixth * 51) as u8).collect(),
            Coding::I16 { .. } => x[0]
                .to_indices()?
                .into_iter()
                .flat_map(|sixth| ((sixth * 13_107 - 32_768) as i16).to_le_bytes())
                .collect(),
        };
        let (memory, turns) = (on_host(&x[0], &bytes)?, [0, 1, 2, 3, 4, 5, 6, 7].map(Symmetry::new));
        let windows = StoredWindows { memory: &memory, turns: &turns, frames: 2, size: 7, coding: &coding };
        let (values, mask) = Tensor::decoded(x[0].device(), &windows)?;
        Ok(vec![values, mask])
    };
    let plain = move |x: &[Array]| {
        let found = |i: &[usize]| {
            let turn = Symmetry::new(i[0] as u32);
            let (y, x0) = (if turn.rows { 6 - i[2] } else { i[2] }, if turn.columns { 6 - i[3] } else { i[3] });
            what(x[0].at(&if turn.diagonal { [i[0], i[1], x0, y] } else { [i[0], i[1], y, x0] }))
        };
        let values = Array::from_fn(&shape, |i| found(i).unwrap_or(0.0));
        vec![values, Array::from_fn(&shape, |i| f64::from(u8::from(found(i).is_some())))]
    };
    Case::new(name, vec![Input::below(&shape, 6)], run, plain)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![regrid(3), regrid(18), binned()];
    let squares = Box::new(std::array::from_fn(|level| (level * level) as f32));
    cases.push(decoded(Coding::U8(squares), |sixth| (sixth < 5.0).then_some((sixth * 51.0).powi(2))));
    // The factor is a power of two: nothing is rounded.
    let line = Coding::I16 { factor: 1.0 / 128.0, offset: 0.5 };
    cases.push(decoded(line, |sixth| (sixth > 0.0).then_some((sixth * 13_107.0 - 32_768.0) / 128.0 + 0.5)));
    for inverse in [false, true] {
        cases.extend([&[2, 3, 5, 7][..], &[4, 3], &[1, 1, 2, 3, 5]].map(|shape| standardise(shape, inverse)));
    }
    let quality = Quality { low: -1.0, high: 1.5, sentinels: &[0.5], replacement: 0.25 };
    let controlled = move |x: &[Tensor]| Ok(vec![x[0].quality_controlled(quality)?.0]);
    let plain = |x: &[Array]| vec![x[0].map(|x| if (-1.0..=1.5).contains(&x) && x != 0.5 { x } else { 0.25 })];
    cases.push(Case::new("data/quality", vec![Input::normal(&[2, 3, 5, 7])], controlled, plain));
    let mirrored = |x: &[Tensor]| Ok(vec![x[0].mirrored(3, &["u", "t", "v"], &["u"])?]);
    let plain = |x: &[Array]| {
        let sign = |channel: usize| if channel == 0 { -1.0 } else { 1.0 };
        vec![Array::from_fn(&x[0].shape, |i| sign(i[1]) * x[0].at(&[i[0], i[1], i[2], 6 - i[3]]))]
    };
    cases.push(Case::new("data/mirrored", vec![Input::normal(&[2, 3, 5, 7])], mirrored, plain));
    let big = vec![Input::normal(&[1, 16, 1059, 1799]), Input::normal(&[16]), Input::between(&[16], 0.5, 2.0)];
    let big = big.into_iter().map(Input::constant).collect();
    let run = |x: &[Tensor]| Ok(vec![x[0].standardise(&x[1], &x[2])?]);
    cases.push(Case::speed("data/standardise 16×1059×1799", big, run));
    cases
}
