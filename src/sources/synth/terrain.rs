//! Land, sea and heights of an imagined continent that resembles North America; the same for every seed.

use super::math::{logistic, smoothstep};
use super::noise::{Scale, Sheet};
use crate::domain::Philox;

/// The one terrain every seed shares.
const TERRAIN_SEED: u64 = 1805;
/// From mountain ranges down to hills of 6 km.
const RELIEF: Scale = Scale { space_km: 400.0, time_hours: 1.0, octaves: 7 };
/// Coasts bend over this distance.
const COAST: Scale = Scale { space_km: 350.0, time_hours: 1.0, octaves: 5 };
/// Lakes are a few tens of kilometres wide.
const LAKES: Scale = Scale { space_km: 120.0, time_hours: 1.0, octaves: 4 };

/// Lakes lie where their layer exceeds this.
const LAKE_LEVEL: f64 = 1.75;

/// What lies at a point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ground {
    /// Above the sea.
    pub(super) height_m: f64,
    /// Whether it is land; lakes are not.
    pub(super) land: bool,
}

/// The random layers of the terrain: each has its own time, so that none resembles another.
const LAYERS: [(Scale, f64); 3] = [(COAST, 0.0), (RELIEF, 1.0), (LAKES, 2.0)];

/// The terrain over a rectangle of the plane.
#[derive(Clone, Debug)]
pub(super) struct Terrain {
    layers: [Sheet; 3],
}

impl Terrain {
    /// Draws the terrain between two corners, in kilometres.
    pub(super) fn new(low: [f64; 2], high: [f64; 2]) -> Terrain {
        let random = Philox::new(TERRAIN_SEED, 1);
        Terrain { layers: LAYERS.map(|(scale, hours)| Sheet::new(&random, low, high, hours, scale)) }
    }

    /// The ground at a point of the rectangle.
    pub(super) fn ground(&self, x_km: f64, y_km: f64) -> Ground {
        let [coast, relief, lakes] = &self.layers;
        let inland_km = inland_km(x_km, y_km) + 60.0 * coast.at(x_km, y_km)[0];
        if inland_km <= 0.0 {
            return Ground { height_m: 0.0, land: false };
        }
        let [relief, rough, ..] = relief.at(x_km, y_km);
        let height_m = ruggedness_m(x_km, y_km) * (relief + 0.35 * rough.abs());
        let height_m = (broad_height_m(x_km, y_km) + height_m) * smoothstep(inland_km / 250.0);
        Ground { height_m: height_m.max(2.0), land: lakes.at(x_km, y_km)[0] < LAKE_LEVEL }
    }
}

/// The ground without hills, bays and lakes: enough to know where storms can begin.
pub(super) fn broad_ground(x_km: f64, y_km: f64) -> Ground {
    let inland_km = inland_km(x_km, y_km);
    let height_m = broad_height_m(x_km, y_km) * smoothstep(inland_km / 250.0);
    Ground { height_m, land: inland_km > 0.0 }
}

/// How high hills stand above the broad shape of the land.
fn ruggedness_m(x_km: f64, y_km: f64) -> f64 {
    54.0 + 450.0 * logistic((-x_km - 650.0) / 120.0) + 135.0 * ridge(x_km - 0.5 * y_km, 1450.0, 180.0)
}

/// Heights without relief: plains that rise westward to a high range, and a low range in the east.
fn broad_height_m(x_km: f64, y_km: f64) -> f64 {
    let plains = 180.0 + 1250.0 * smoothstep((500.0 - x_km) / 1150.0);
    let range = 1100.0 * ridge(x_km + 0.25 * y_km, -950.0, 330.0);
    let eastern = 420.0 * ridge(x_km - 0.5 * y_km, 1450.0, 180.0);
    plains + range + eastern
}

/// One at `centre`, falling to a few hundredths two widths away.
fn ridge(x: f64, centre: f64, width: f64) -> f64 {
    let d = (x - centre) / width;
    1.0 / (1.0 + d * d * d * d)
}

/// About how far from the sea: positive inland.
fn inland_km(x_km: f64, y_km: f64) -> f64 {
    let pacific = x_km + 2080.0 - 0.18 * (y_km + 200.0).abs();
    let atlantic = 1750.0 + 0.45 * y_km - x_km;
    let (gx, gy) = ((x_km - 650.0) / 950.0, (y_km + 1560.0) / 560.0);
    let gulf = ((gx * gx + gy * gy).sqrt() - 1.0) * 560.0;
    pacific.min(atlantic).min(gulf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plains_are_lower_than_the_western_range_and_the_ocean_is_flat() {
        let terrain = Terrain::new([-2700.0, -1590.0], [2700.0, 1590.0]);
        let ground = |x: f64, y: f64| terrain.ground(x, y);
        let mean = |x: f64| (0..40).map(|j| ground(x, f64::from(j) * 20.0 - 400.0).height_m).sum::<f64>() / 40.0;
        assert!(mean(300.0) < 700.0 && mean(-950.0) > 1800.0, "{} {}", mean(300.0), mean(-950.0));
        assert_eq!(ground(-2600.0, 0.0), Ground { height_m: 0.0, land: false });
    }

    #[test]
    fn heights_are_such_as_the_earth_has() {
        let terrain = Terrain::new([-2700.0, -1590.0], [2700.0, 1590.0]);
        for i in 0..5000 {
            let (x, y) = (f64::from(i % 100) * 54.0 - 2700.0, f64::from(i / 100) * 63.0 - 1580.0);
            let height = terrain.ground(x, y).height_m;
            assert!((0.0..5000.0).contains(&height), "{x} {y} {height}");
        }
    }
}
