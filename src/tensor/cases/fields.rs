//! Transforms of weather fields.

use super::{Array, Case, Input};
use crate::domain::{Earth, Grid, Projection, Quality};
use crate::tensor::{DType, FieldMap, Result, Tensor};
use crate::transforms::regrid::{Method, Taps, Weights};

const METHODS: [Method; 3] = [Method::Nearest, Method::Bilinear, Method::Conservative];

fn latlon(nx: usize, ny: usize, step: f64) -> Grid {
    let earth = Earth::sphere(6_371_229.0);
    Grid { projection: Projection::LatLon, earth, nx, ny, x0: 250.0 + step, y0: 30.0 + step, dx: step, dy: step }
}

/// From 21 by 17 points to 13 by 11 among them.
fn weights(method: Method) -> Option<Weights> {
    Weights::new(&latlon(21, 17, 0.3), &latlon(13, 11, 0.4), method).ok()
}

/// Sources and weights of each target.
fn taps(weights: &Weights) -> Vec<Vec<(usize, f64)>> {
    match weights.taps() {
        Taps::Nearest(sources) => sources.iter().map(|source| vec![(*source as usize, 1.0)]).collect(),
        Taps::Bilinear { south_west, along } => {
            let of = |(corner, [x, y]): (&u32, &[f32; 2])| {
                let (at, x, y) = (*corner as usize, f64::from(*x), f64::from(*y));
                let south = [(at, (1.0 - x) * (1.0 - y)), (at + 1, x * (1.0 - y))];
                [south, [(at + 21, (1.0 - x) * y), (at + 22, x * y)]].concat()
            };
            south_west.iter().zip(&along).map(of).collect()
        }
        Taps::Conservative { offsets, sources, weights } => {
            let tap = |k: u32| (sources[k as usize] as usize, f64::from(weights[k as usize]));
            offsets.windows(2).map(|pair| (pair[0]..pair[1]).map(tap).collect()).collect()
        }
    }
}

fn moved(method: Method) -> Option<Case> {
    let (weights, of_targets) = (weights(method)?, taps(&weights(method)?));
    let run = move |x: &[Tensor]| Ok(vec![x[0].moved(&FieldMap::new(x[0].device(), &weights, 11, 13)?)?]);
    let plain = move |x: &[Array]| {
        let value = |(source, weight): &(usize, f64)| weight * x[0].values[*source];
        vec![Array::from_fn(&[11, 13], |i| of_targets[i[0] * 13 + i[1]].iter().map(value).sum())]
    };
    let input = Input::normal(&[17, 21]).constant();
    Some(Case::new(format!("fields/{method:?}").to_lowercase(), vec![input], run, plain))
}

fn rotated(x: &[Tensor]) -> Result<Vec<Tensor>> {
    let angle = [x[2].to_dtype(DType::F32)?, x[3].to_dtype(DType::F32)?];
    Ok(x[0].rotated(&x[1], &angle)?.into())
}

fn checked(x: &[Tensor]) -> Result<Vec<Tensor>> {
    let quality = Quality { range: Some([-9.0, 9.0]), sentinels: vec![99.0], constant_is_missing: true };
    Ok(vec![x[0].checked(&quality)?.0])
}

fn fields(count: usize, shape: [usize; 2]) -> Vec<Input> {
    vec![Input::normal(&shape).constant(); count]
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = METHODS.into_iter().filter_map(moved).collect();
    let turned = |x: &[Array]| {
        let [u, v, cosine, sine] = [&x[0], &x[1], &x[2], &x[3]];
        let of = |formula: fn(f64, f64, f64, f64) -> f64| {
            Array::from_fn(&u.shape, |i| formula(u.at(i), v.at(i), cosine.at(i), sine.at(i)))
        };
        vec![of(|u, v, cosine, sine| cosine * u + sine * v), of(|u, v, cosine, sine| cosine * v - sine * u)]
    };
    cases.push(Case::new("fields/rotate", fields(4, [17, 31]), rotated, turned));
    cases.push(Case::new("fields/check", fields(1, [17, 31]), checked, |x| vec![x[0].clone()]));
    cases.push(Case::speed("fields/rotate 1059×1799", fields(4, [1059, 1799]), rotated));
    cases.push(Case::speed("fields/check 1059×1799", fields(1, [1059, 1799]), checked));
    cases
}
