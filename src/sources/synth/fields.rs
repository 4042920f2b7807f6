//! The nine fields of one slot on a frame, put together from ground, air and storms.

use rayon::prelude::*;

use super::births::Region;
use super::environment::Environment;
use super::frame::{Frame, plane_km};
use super::lattice::{Lattice, Sample, with_storms};
use super::math::{smoothstep, tanh};
use super::noise::{Scale, Sheet};
use super::paint::{FARTHEST_WARP_KM, NO_ECHO_DBZ, Row, cold_air};
use super::terrain::{Ground, Terrain};
use super::thermodynamics::surface;
use super::weather::{Storms, Weather};
use crate::domain::Slot;

/// Distance between points.
const STEP_KM: f64 = 3.0;
/// Rows are painted in bands, for which near storms are looked up once.
const BAND_ROWS: usize = 16;
/// Grain of echoes; it travels with the storms and changes within half an hour.
const GRAIN: Scale = Scale { space_km: 40.0, time_hours: 0.6, octaves: 4 };
/// Strength of the grain in cores and in clouds.
const GRAIN_DBZ: [f64; 2] = [2.5, 7.5];
/// Echoes approach this from here on.
const STRONG_DBZ: f64 = 60.0;
const STRONGEST_DBZ: f64 = 72.0;
/// Outflow blows down the slope of the cold pool, m/s for a slope of one per kilometre, but no faster than this.
const OUTFLOW: f64 = 190.0;
const FASTEST_OUTFLOW: f64 = 17.0;

/// Values of one slot on a frame, (y, x) from the south-west.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// Each variable's name and values, in the order HRRR writes them.
    pub variables: Vec<(&'static str, Vec<f32>)>,
}

/// The names of the variables in the order HRRR writes them.
pub const VARIABLES: [&str; 9] = ["refc", "hgt", "t2m", "d2m", "u10", "v10", "cape", "cin", "land"];

/// The ground of every point of a frame, which no time changes.
pub fn grounds(frame: &Frame) -> Grounds {
    let [nx, ny] = frame.size();
    let Region { low, high } = region(frame, 0..ny);
    let terrain = Terrain::new(low, high);
    let point = |k: usize| {
        let [x, y] = plane_km((frame.first[0] + k % nx) as i64, (frame.first[1] + k / nx) as i64);
        terrain.ground(x, y)
    };
    Grounds { points: (0..nx * ny).into_par_iter().map(point).collect() }
}

/// The ground of every point of a frame.
#[derive(Clone, Debug)]
pub struct Grounds {
    points: Vec<Ground>,
}

/// The fields of a slot: the truth at lead zero, else a forecast of it.
pub fn fields(seed: u64, slot: Slot, frame: &Frame, grounds: &Grounds) -> Fields {
    let weather = Weather::new(seed, slot);
    let [nx, ny] = frame.size();
    let lattice = Lattice::new(&weather, frame);
    let storms = weather.storms(region(frame, 0..ny));
    let cold = cold_pools(frame, &storms);
    let scene = Scene {
        weather: &weather,
        frame,
        lattice: &lattice,
        cold: &cold,
        grain: grain(&weather, region(frame, 0..ny)),
    };
    let bands: Vec<Vec<[f32; 9]>> = (0..ny.div_ceil(BAND_ROWS))
        .into_par_iter()
        .map(|band| {
            let rows = band * BAND_ROWS..((band + 1) * BAND_ROWS).min(ny);
            let near = storms.near(region(frame, rows.clone()));
            rows.flat_map(|j| scene.row(j, &near, &grounds.points[j * nx..(j + 1) * nx])).collect()
        })
        .collect();
    let values = |k: usize| bands.iter().flatten().map(|point| point[k]).collect();
    Fields { variables: (0..9).into_par_iter().map(|k| (VARIABLES[k], values(k))).collect() }
}

/// The part of the plane that some rows of a frame cover.
fn region(frame: &Frame, rows: std::ops::Range<usize>) -> Region {
    let [i, j] = frame.first.map(|index| index as i64);
    let low = plane_km(i, j + rows.start as i64);
    let high = plane_km(i + frame.grid.nx as i64, j + rows.end as i64);
    Region { low, high }.grown(2.0 * STEP_KM)
}

fn grain(weather: &Weather, region: Region) -> Sheet {
    let [low, high] = [region.low, region.high].map(|[x, y]| with_storms(x, y, weather.hours()));
    Sheet::new(&weather.random(31), low, high, weather.hours(), GRAIN)
}

/// Cold air on the frame and one point around it, so that slopes are known on its edge as well.
fn cold_pools(frame: &Frame, storms: &Storms) -> Vec<f32> {
    let [nx, ny] = frame.size();
    let mut cold = vec![0.0_f32; (nx + 2) * (ny + 2)];
    cold.par_chunks_mut((nx + 2) * BAND_ROWS).enumerate().for_each(|(band, rows)| {
        let first = band * BAND_ROWS;
        let near = storms.near(region(frame, first..first + BAND_ROWS));
        for (j, row) in rows.chunks_mut(nx + 2).enumerate() {
            let [x, y] = plane_km(frame.first[0] as i64 - 1, (frame.first[1] + first + j) as i64 - 1);
            cold_air(x, STEP_KM, y, &near.cold_pools, row);
        }
    });
    cold
}

struct Scene<'a> {
    weather: &'a Weather,
    frame: &'a Frame,
    lattice: &'a Lattice,
    cold: &'a [f32],
    grain: Sheet,
}

impl Scene<'_> {
    /// The nine values of every point of a row.
    fn row(&self, j: usize, storms: &Storms, grounds: &[Ground]) -> Vec<[f32; 9]> {
        let samples: Vec<Sample> = (0..grounds.len()).map(|i| self.lattice.sample(i, j)).collect();
        let [first_km, y_km] = plane_km(self.frame.first[0] as i64, (self.frame.first[1] + j) as i64);
        let held = |w: f64| w.clamp(-FARTHEST_WARP_KM, FARTHEST_WARP_KM);
        let nothing = vec![0.0; grounds.len()];
        let mut row = Row {
            first_km,
            step_km: STEP_KM,
            y_km,
            warp_km: samples.iter().map(|s| s.warp_km.map(held)).collect(),
            reflectivity: nothing.clone(),
            cloud: nothing,
        };
        row.paint(storms);
        row.add_clouds();
        samples.iter().enumerate().for_each(|(i, sample)| row.add(i, sample.rain_dbz));
        (0..grounds.len()).map(|i| self.point(i, j, &row, &samples[i].air, grounds[i])).collect()
    }

    fn point(&self, i: usize, j: usize, row: &Row, air: &Environment, ground: Ground) -> [f32; 9] {
        let pool = self.pool(i, j);
        let shade = smoothstep(row.cloud[i] / 45.0);
        let state = surface(air, ground, pool.strength, shade);
        let [u, v] = wind(air, ground, &pool);
        let x_km = row.first_km + i as f64 * STEP_KM;
        let refc = row.dbz(i).map_or(NO_ECHO_DBZ, |dbz| self.grained(dbz, x_km, row.y_km));
        let land = if ground.land { 1.0 } else { 0.0 };
        [refc, ground.height_m, state.temperature_k, state.dew_point_k, u, v, state.cape, state.cin, land]
            .map(|value| value as f32)
    }

    /// An echo with its grain, between no echo and the strongest there are.
    fn grained(&self, dbz: f64, x_km: f64, y_km: f64) -> f64 {
        let [x, y] = with_storms(x_km, y_km, self.weather.hours());
        let core = ((dbz - 30.0) / 15.0).clamp(0.0, 1.0);
        let dbz = dbz + (GRAIN_DBZ[1] + core * (GRAIN_DBZ[0] - GRAIN_DBZ[1])) * self.grain.at(x, y)[0];
        let rest = STRONGEST_DBZ - STRONG_DBZ;
        let held = if dbz > STRONG_DBZ { STRONG_DBZ + rest * tanh((dbz - STRONG_DBZ) / rest) } else { dbz };
        held.max(NO_ECHO_DBZ)
    }

    fn pool(&self, i: usize, j: usize) -> Pool {
        let width = self.frame.grid.nx + 2;
        let at = |i: usize, j: usize| f64::from(self.cold[j * width + i]);
        let slope = |after: f64, before: f64| (after - before) / (2.0 * STEP_KM);
        Pool {
            strength: at(i + 1, j + 1),
            slope: [slope(at(i + 2, j + 1), at(i, j + 1)), slope(at(i + 1, j + 2), at(i + 1, j))],
        }
    }
}

/// Cold air at a point, and how it changes per kilometre along x and y.
struct Pool {
    strength: f64,
    slope: [f64; 2],
}

/// The 10 m wind: slower over rough land and at night, turned by what storms bring down and push out.
fn wind(air: &Environment, ground: Ground, pool: &Pool) -> [f64; 2] {
    let steepness = (pool.slope[0] * pool.slope[0] + pool.slope[1] * pool.slope[1]).sqrt();
    let outflow = FASTEST_OUTFLOW * tanh(OUTFLOW * steepness / FASTEST_OUTFLOW) / steepness.max(1e-9);
    let friction = if ground.land { 0.82 + 0.18 * air.heating } else { 1.1 };
    [0, 1].map(|axis| {
        let calm = air.wind[axis] * friction;
        calm + 0.35 * pool.strength * (air.steering[axis] - calm) - outflow * pool.slope[axis]
    })
}
