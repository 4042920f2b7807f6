//! Places and times as sines and cosines.

use super::{Array, Case, Input};
use crate::tensor::{Tensor, TimeEmbedding};

const TIMES: [f32; 4] = [0.0, 1.0, 2.5, 19.0];
const PLACES: [f64; 3] = [0.0, 1.5, 11.0];

/// The sine or, in the second half, the cosine of a place in `size` numbers; of `half − shift` steps to the longest period.
fn wave(place: f64, i: usize, size: usize, shift: f64) -> f64 {
    let half = size / 2;
    let phase = place / 10_000f64.powf((i % half) as f64 / (half as f64 - shift));
    if i < half { phase.sin() } else { phase.cos() }
}

/// Any tensor, which tells the device.
fn device() -> Vec<Input> {
    vec![Input::normal(&[1]).constant()]
}

fn times(size: usize) -> Case {
    let run = move |x: &[Tensor]| Ok(vec![Tensor::time_embedding(x[0].device(), &TIMES, TimeEmbedding::new(size))?]);
    let plain = move |_: &[Array]| {
        // An odd size ends in a zero.
        let number = |i: &[usize]| if i[1] < size / 2 * 2 { wave(TIMES[i[0]].into(), i[1], size, 1.0) } else { 0.0 };
        vec![Array::from_fn(&[TIMES.len(), size], number)]
    };
    // Phases are worked out in f32, where the last place of 19 radians is worth 2e-6.
    Case::new(format!("embedding/times as {size}"), device(), run, plain).within(1e-5, 4e-6)
}

pub(super) fn cases() -> Vec<Case> {
    let line = |x: &[Tensor]| Ok(vec![Tensor::position_embedding(x[0].device(), &PLACES, 6)?]);
    let of_line = |_: &[Array]| vec![Array::from_fn(&[3, 6], |i| wave(PLACES[i[0]], i[1], 6, 0.0))];
    let grid = |x: &[Tensor]| Ok(vec![Tensor::position_embedding_2d(x[0].device(), 3, 5, 12)?]);
    let of_grid = |_: &[Array]| {
        let number = |i: &[usize]| {
            let place = if i[1] < 6 { i[0] % 5 } else { i[0] / 5 };
            wave(place as f64, i[1] % 6, 6, 0.0)
        };
        vec![Array::from_fn(&[15, 12], number)]
    };
    vec![
        times(8),
        times(7),
        Case::new("embedding/places on a line", device(), line, of_line),
        Case::new("embedding/places of a grid", device(), grid, of_grid),
    ]
}
