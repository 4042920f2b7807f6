//! Points spread over grids.

use super::{Array, Case, Input};
use crate::tensor::{Splatting, Tensor};

fn splatted(x: &[Array], rows: usize, columns: usize, splatting: Splatting) -> Vec<Array> {
    let (sigma, reach) = (f64::from(splatting.sigma), f64::from(splatting.reach));
    let [ref features, ref positions, ..] = *x else { return Vec::new() };
    let [batch, points, channels] = features.shape[..] else { return Vec::new() };
    vec![Array::from_fn(&[batch, channels, rows, columns], |i| {
        let (mut sum, mut whole) = (0.0, 0.0);
        for point in 0..points {
            let away = |axis: usize| i[axis + 2] as f64 - positions.at(&[i[0], point, axis]);
            let squared = away(0).powi(2) + away(1).powi(2);
            if squared <= (reach * sigma).powi(2) {
                let weight = (-squared / (2.0 * sigma * sigma)).exp();
                sum += weight * features.at(&[i[0], point, i[1]]);
                whole += weight;
            }
        }
        if splatting.normalised && whole > 0.0 { sum / whole } else { sum }
    })]
}

fn splat([batch, points, channels]: [usize; 3], [rows, columns]: [usize; 2], splatting: Splatting) -> Case {
    let inputs = vec![
        Input::normal(&[batch, points, channels]),
        // Some beyond the edges.
        Input::between(&[batch, points, 2], -2.0, rows.max(columns) as f64 + 1.0),
    ];
    Case::new(
        format!("splat/{points} points of {channels} to {rows}×{columns} {splatting:?}"),
        inputs,
        move |x: &[Tensor]| Ok(vec![x[0].splat(&x[1], rows, columns, splatting)?]),
        move |x| splatted(x, rows, columns, splatting),
    )
}

/// Places of peaks, greatest first, and a mask; a peak is greater than its neighbours before it and not less than those
/// behind it.
fn peaks(x: &Array, radius: usize, threshold: f64, count: usize) -> Vec<Array> {
    let [batch, rows, columns] = x.shape[..] else { return Vec::new() };
    let (mut index, mut mask) = (vec![0.0; batch * count], vec![0.0; batch * count]);
    for (set, field) in x.values.chunks(rows * columns).enumerate() {
        let is_near = |a: usize, b: usize| {
            (a / columns).abs_diff(b / columns) <= radius && (a % columns).abs_diff(b % columns) <= radius
        };
        let beats = |at: usize, other: usize| field[at] > field[other] || (field[at] == field[other] && at <= other);
        let is_peak =
            |at: &usize| field[*at] > threshold && (0..field.len()).all(|o| !is_near(*at, o) || beats(*at, o));
        let mut found: Vec<usize> = (0..field.len()).filter(is_peak).collect();
        found.sort_by(|a, b| field[*b].total_cmp(&field[*a]));
        for (place, at) in found.into_iter().take(count).enumerate() {
            (index[set * count + place], mask[set * count + place]) = (at as f64, 1.0);
        }
    }
    [index, mask].map(|values| Array { shape: vec![batch, count], values }).into()
}

fn local_maxima(shape: [usize; 3], count: usize) -> Case {
    let run = move |x: &[Tensor]| {
        let (index, mask) = x[0].local_maxima(2, 0.25, count)?;
        let places: Vec<f32> = index.to_indices()?.into_iter().map(|i| i as f32).collect();
        Ok(vec![Tensor::new(x[0].device(), index.shape(), &places)?, mask])
    };
    let inputs = vec![Input::normal(&shape).constant()];
    Case::new(format!("splat/{count} peaks of {shape:?}"), inputs, run, move |x| peaks(&x[0], 2, 0.25, count))
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![local_maxima([2, 13, 17], 6), local_maxima([1, 7, 9], 40)];
    for normalised in [false, true] {
        cases.push(splat([2, 7, 3], [9, 11], Splatting { sigma: 1.25, reach: 3.0, normalised }));
        cases.push(splat([1, 5, 17], [6, 5], Splatting { sigma: 0.5, reach: 4.0, normalised }));
    }
    let many = || vec![Input::normal(&[1, 2000, 64]), Input::between(&[1, 2000, 2], 0.0, 383.0)];
    let splatting = Splatting { sigma: 2.0, reach: 3.0, normalised: true };
    let run = move |x: &[Tensor]| Ok(vec![x[0].splat(&x[1], 384, 384, splatting)?]);
    cases.push(Case::speed("splat/2000 points of 64 to 384×384", many(), run));
    cases
}
