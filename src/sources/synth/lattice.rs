//! The smooth part of the weather on every fourth point, interpolated to the points between.

use rayon::prelude::*;

use super::environment::{Environment, Layers};
use super::frame::{Frame, plane_km};
use super::noise::{Scale, Sheet};
use super::weather::Weather;
use crate::domain::Philox;

/// Points of the grid from one knot to the next; knots lie on multiples of it counted from HRRR's first point.
const EVERY: usize = 4;
/// The mean motion of storms, with which what frays them travels.
const STORMS_KM_H: [f64; 2] = [42.0, 18.0];
/// Frays the edges of storms.
const WARP: Scale = Scale { space_km: 70.0, time_hours: 1.0, octaves: 3 };
const WARP_KM: f64 = 6.5;
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
        let knots_at = |i: usize, j: usize| plane_km((i * EVERY) as i64, (j * EVERY) as i64);
        let high = knots_at(first[0] + size[0], first[1] + size[1]);
        let smooth = Smooth::new(weather, knots_at(first[0], first[1]), high);
        let knots = (0..size[0] * size[1])
            .into_par_iter()
            .map(|k| {
                let [x, y] = knots_at(first[0] + k % size[0], first[1] + k / size[0]);
                pack(&smooth.at(x, y))
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

/// Where what travels with the storms was at the beginning of 1970.
pub(super) fn with_storms(x_km: f64, y_km: f64, hours: f64) -> [f64; 2] {
    [x_km - STORMS_KM_H[0] * hours, y_km - STORMS_KM_H[1] * hours]
}

/// The random layers behind the smooth part of the weather.
pub(super) struct Smooth {
    layers: Layers,
    warp: Sheet,
    rain: Sheet,
    hours: f64,
}

impl Smooth {
    /// The layers between two corners in kilometres.
    pub(super) fn new(weather: &Weather, low: [f64; 2], high: [f64; 2]) -> Smooth {
        let hours = weather.hours();
        let (from, to) = (with_storms(low[0], low[1], hours), with_storms(high[0], high[1], hours));
        Smooth {
            layers: weather.climate.layers(low, high, hours),
            warp: Sheet::new(&weather.random(32), from, to, hours, WARP),
            rain: Sheet::new(&Philox::new(weather.seed(), 33), from, to, hours, RAIN),
            hours,
        }
    }

    /// The smooth part of the weather at a point between the corners.
    pub(super) fn at(&self, x_km: f64, y_km: f64) -> Sample {
        let air = self.layers.at(x_km, y_km);
        let [x, y] = with_storms(x_km, y_km, self.hours);
        let [warp_x, warp_y, ..] = self.warp.at(x, y);
        let behind = (air.front_km + 110.0) / 110.0;
        let band = 1.0 / (1.0 + behind * behind * behind * behind);
        let rain_dbz = -36.0 + 42.0 * band + 10.0 * self.rain.at(x, y)[0];
        Sample { air, warp_km: [WARP_KM * warp_x, WARP_KM * warp_y], rain_dbz }
    }
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
