//! The smooth part of the weather on every fourth point, interpolated to the points between.

use rayon::prelude::*;

use super::environment::Environment;
use super::fields::GRAIN_DRIFT_KM_H;
use super::frame::{Frame, plane_km};
use super::noise::{Scale, field};
use super::weather::Weather;
use crate::domain::Philox;

/// Points of the grid from one knot to the next; knots lie on multiples of it counted from HRRR's first point.
const EVERY: usize = 4;
/// Frays the edges of storms.
const WARP: Scale = Scale { space_km: 60.0, time_hours: 1.0, octaves: 2 };
const WARP_KM: f64 = 4.5;
/// Steady rain behind fronts.
const RAIN: Scale = Scale { space_km: 220.0, time_hours: 4.0, octaves: 4 };
/// Numbers kept at a knot.
const CHANNELS: usize = 14;

/// The smooth part of the weather at one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// The air between the storms.
    pub(super) air: Environment,
    /// Where the point is looked up among storms, relative to where it is.
    pub(super) warp_km: [f64; 2],
    /// Reflectivity of steady rain; below −11 none.
    pub(super) rain_dbz: f64,
}

/// The smooth part of the weather on a frame.
#[derive(Clone, Debug)]
pub(super) struct Lattice {
    knots: Vec<[f64; CHANNELS]>,
    width: usize,
    /// Knot indices of the first knot, and how far the frame's first point lies after it.
    offset: [usize; 2],
}

impl Lattice {
    /// Evaluates the weather on the knots in and around a frame.
    pub(super) fn new(weather: &Weather, frame: &Frame) -> Lattice {
        let first = frame.first.map(|index| index / EVERY);
        let size = [0, 1].map(|axis| (frame.first[axis] + frame.size()[axis] - 1) / EVERY + 2 - first[axis]);
        let (warp, rain) = (weather.random(32), Philox::new(weather.seed(), 33));
        let knots = (0..size[0] * size[1])
            .into_par_iter()
            .map(|k| {
                let [i, j] = [first[0] + k % size[0], first[1] + k / size[0]].map(|index| (index * EVERY) as i64);
                let [x, y] = plane_km(i, j);
                knot(weather, &warp, &rain, x, y)
            })
            .collect();
        Lattice { knots, width: size[0], offset: [0, 1].map(|axis| frame.first[axis] % EVERY) }
    }

    /// The weather at point (i, j) of the frame.
    pub(super) fn sample(&self, i: usize, j: usize) -> Sample {
        let (i, j) = (i + self.offset[0], j + self.offset[1]);
        let corner = j / EVERY * self.width + i / EVERY;
        let [right, up] = [i % EVERY, j % EVERY].map(|rest| rest as f64 / EVERY as f64);
        let [a, b] = [&self.knots[corner], &self.knots[corner + 1]];
        let [c, d] = [&self.knots[corner + self.width], &self.knots[corner + self.width + 1]];
        unpack(std::array::from_fn(|k| {
            let (low, high) = (a[k] + right * (b[k] - a[k]), c[k] + right * (d[k] - c[k]));
            low + up * (high - low)
        }))
    }
}

fn knot(weather: &Weather, warp: &Philox, rain: &Philox, x_km: f64, y_km: f64) -> [f64; CHANNELS] {
    let hours = weather.hours();
    let air = weather.climate.at(x_km, y_km, hours);
    let [x, y] = [x_km - GRAIN_DRIFT_KM_H[0] * hours, y_km - GRAIN_DRIFT_KM_H[1] * hours];
    let [warp_x, warp_y, ..] = field(warp, x, y, hours, WARP);
    let behind_km = (air.front_km + 110.0) / 110.0;
    let band = 1.0 / (1.0 + behind_km * behind_km * behind_km * behind_km);
    let patches = field(rain, x, y, hours, RAIN)[0];
    let rain_dbz = -30.0 + 46.0 * band + 9.0 * patches;
    pack(&Sample { air, warp_km: [WARP_KM * warp_x, WARP_KM * warp_y], rain_dbz })
}

fn pack(sample: &Sample) -> [f64; CHANNELS] {
    let air = &sample.air;
    let ([u, v], [steer_x, steer_y], [warp_x, warp_y]) = (air.wind, air.steering, sample.warp_km);
    let (t, td) = (air.temperature_k, air.dew_point_k);
    let (rain, front) = (sample.rain_dbz, air.front_km);
    [t, air.heating, td, u, v, steer_x, steer_y, air.aloft_k, air.lid_k, air.lift, front, warp_x, warp_y, rain]
}

fn unpack(channels: [f64; CHANNELS]) -> Sample {
    let [temperature_k, heating, dew_point_k, u, v, steer_x, steer_y, aloft_k, lid_k, lift, front_km, ..] = channels;
    let [.., warp_x, warp_y, rain_dbz] = channels;
    let (wind, steering) = ([u, v], [steer_x, steer_y]);
    let air = Environment { temperature_k, heating, dew_point_k, wind, steering, aloft_k, lid_k, lift, front_km };
    Sample { air, warp_km: [warp_x, warp_y], rain_dbz }
}
