//! The storms of one moment on a raster of one kilometre: echoes, clouds and the ground below them.

use super::place::Place;
use crate::domain::{Moment, Slot};
use crate::sources::synth::births::Region;
use crate::sources::synth::lattice::{Smooth, with_storms};
use crate::sources::synth::math::smoothstep;
use crate::sources::synth::noise::{Scale, Sheet};
use crate::sources::synth::paint::{FARTHEST_WARP_KM, NO_ECHO_DBZ, Row, cold_air};
use crate::sources::synth::weather::{Storms, Weather};

/// Distance between points of the raster.
const STEP_KM: f64 = 1.0;
/// The smooth part of the weather is worked out on every so many points, the grain of clouds on every other one.
const KNOT: usize = 12;
const GRAIN_KNOT: usize = 2;
/// Grain of echoes and clouds, finer than in a field of three kilometres.
const GRAIN: Scale = Scale { space_km: 32.0, time_hours: 0.5, octaves: 4 };
/// Strength of the grain in cores and in clouds, in dBZ.
const GRAIN_DBZ: [f64; 2] = [2.5, 6.5];
/// Skin temperature by day above that of the air, in kelvin at full heating.
const HEATED_K: f64 = 8.0;
/// Under a cold pool the ground is so much colder.
const POOL_K: f64 = 6.0;

/// What is seen of one point.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Point {
    /// Echo in dBZ; −10 where there is none.
    pub(super) dbz: f32,
    /// Thickness of anvils and shields, in dBZ above −12.
    pub(super) cloud: f32,
    /// Temperature of the ground in kelvin.
    pub(super) ground_k: f32,
    /// Moisture of the upper air, about −1 to 1.
    pub(super) moisture: f32,
    /// Grain of clouds, about −1 to 1.
    pub(super) grain: f32,
}

/// The raster over the square of an event.
pub(super) struct Scene {
    low: [f64; 2],
    size: [usize; 2],
    points: Vec<Point>,
    /// The storms in and around the square.
    pub(super) storms: Storms,
}

impl Scene {
    /// The storms of a seed at a moment, held to its five minutes.
    pub(super) fn new(seed: u64, moment: Moment, place: &Place) -> Scene {
        let weather = Weather::new(seed, Slot::new(moment, Default::default()));
        let [low, high] = place.bounds_km();
        let low = low.map(|c| c.floor() - 2.0);
        let size = [0, 1].map(|axis| ((high[axis] - low[axis]) / STEP_KM).ceil() as usize + 3);
        let storms = weather.storms(Region { low, high }.grown(30.0));
        let mut scene = Scene { low, size, points: vec![Point::default(); size[0] * size[1]], storms };
        scene.paint(&weather);
        scene
    }

    fn paint(&mut self, weather: &Weather) {
        let hours = weather.hours();
        let end = [0, 1].map(|axis| self.low[axis] + (self.size[axis] + 2 * KNOT) as f64 * STEP_KM);
        let smooth = Smooth::new(weather, self.low, end);
        let knots = self.lattice(KNOT, |x, y| {
            let sample = smooth.at(x, y);
            let moisture = (sample.air.dew_point_k - 283.0) / 12.0;
            let ground_k = sample.air.temperature_k + HEATED_K * sample.air.heating;
            [sample.warp_km[0], sample.warp_km[1], sample.rain_dbz, ground_k, moisture, 0.0]
        });
        let (from, to) = (with_storms(self.low[0], self.low[1], hours), with_storms(end[0], end[1], hours));
        let sheet = Sheet::new(&weather.random(34), from, to, hours, GRAIN);
        let grain = self.lattice(GRAIN_KNOT, |x, y| {
            let [x, y] = with_storms(x, y, hours);
            let [first, second, ..] = sheet.at(x, y);
            [first, second, 0.0, 0.0, 0.0, 0.0]
        });
        let storms = std::mem::take(&mut self.storms);
        let (low, width) = (self.low, self.size[0]);
        for (j, points) in self.points.chunks_mut(width).enumerate() {
            let y_km = low[1] + j as f64 * STEP_KM;
            let smooth: Vec<[f64; 6]> = (0..width).map(|i| knots.at(i, j)).collect();
            let row = row(low[0], y_km, &smooth, &storms);
            let mut cold = vec![0.0; width];
            cold_air(low[0], STEP_KM, y_km, &storms.cold_pools, &mut cold);
            for (i, point) in points.iter_mut().enumerate() {
                let [.., ground_k, moisture, _] = smooth[i];
                let [grain, texture, ..] = grain.at(i, j);
                *point = Point {
                    dbz: grained(row.dbz(i).unwrap_or(NO_ECHO_DBZ), grain) as f32,
                    cloud: row.cloud[i] as f32,
                    ground_k: (ground_k - POOL_K * f64::from(cold[i])) as f32,
                    moisture: moisture as f32,
                    grain: texture as f32,
                };
            }
        }
        self.storms = storms;
    }

    fn lattice(&self, every: usize, at: impl Fn(f64, f64) -> [f64; 6]) -> Knots {
        let size = self.size.map(|size| size / every + 2);
        let place = |axis: usize, k: usize| self.low[axis] + (k * every) as f64 * STEP_KM;
        let values = (0..size[0] * size[1]).map(|k| at(place(0, k % size[0]), place(1, k / size[0]))).collect();
        Knots { every, width: size[0], values }
    }

    /// What is seen at a place in the plane of the storms, between the four points around it.
    pub(super) fn at(&self, [x_km, y_km]: [f64; 2]) -> Point {
        let index = [x_km - self.low[0], y_km - self.low[1]];
        let [column, row] = [0, 1].map(|k| (index[k] / STEP_KM).clamp(0.0, (self.size[k] - 1) as f64 - 1e-6));
        let (i, j) = (column as usize, row as usize);
        let (right, up) = ((column - i as f64) as f32, (row - j as f64) as f32);
        let corner = j * self.size[0] + i;
        let [a, b] = [&self.points[corner], &self.points[corner + 1]];
        let [c, d] = [&self.points[corner + self.size[0]], &self.points[corner + self.size[0] + 1]];
        let mix = |of: fn(&Point) -> f32| {
            let (low, high) = (of(a) + right * (of(b) - of(a)), of(c) + right * (of(d) - of(c)));
            low + up * (high - low)
        };
        Point {
            dbz: mix(|p| p.dbz),
            cloud: mix(|p| p.cloud),
            ground_k: mix(|p| p.ground_k),
            moisture: mix(|p| p.moisture),
            grain: mix(|p| p.grain),
        }
    }
}

/// Values on every so many points.
struct Knots {
    every: usize,
    width: usize,
    values: Vec<[f64; 6]>,
}

impl Knots {
    fn at(&self, i: usize, j: usize) -> [f64; 6] {
        let corner = j / self.every * self.width + i / self.every;
        let [right, up] = [i, j].map(|k| (k % self.every) as f64 / self.every as f64);
        let [a, b] = [&self.values[corner], &self.values[corner + 1]];
        let [c, d] = [&self.values[corner + self.width], &self.values[corner + self.width + 1]];
        std::array::from_fn(|k| {
            let (low, high) = (a[k] + right * (b[k] - a[k]), c[k] + right * (d[k] - c[k]));
            low + up * (high - low)
        })
    }
}

/// One row of the raster with every echo painted.
fn row(first_km: f64, y_km: f64, smooth: &[[f64; 6]], storms: &Storms) -> Row {
    let held = |warp: f64| warp.clamp(-FARTHEST_WARP_KM, FARTHEST_WARP_KM);
    let nothing = vec![0.0; smooth.len()];
    let mut row = Row {
        first_km,
        step_km: STEP_KM,
        y_km,
        warp_km: smooth.iter().map(|[x, y, ..]| [held(*x), held(*y)]).collect(),
        reflectivity: nothing.clone(),
        cloud: nothing,
    };
    row.paint(storms);
    row.add_clouds();
    smooth.iter().enumerate().for_each(|(i, [_, _, rain_dbz, ..])| row.add(i, *rain_dbz));
    row
}

/// An echo with its grain.
fn grained(dbz: f64, grain: f64) -> f64 {
    let core = smoothstep((dbz - 30.0) / 15.0);
    (dbz + (GRAIN_DBZ[1] + core * (GRAIN_DBZ[0] - GRAIN_DBZ[1])) * grain).clamp(NO_ECHO_DBZ, 75.0)
}
