//! Puts cores, anvils, shields and cold pools on the points of a row, each only near its footprint.

use super::births::Region;
use super::cells::{Core, Disc};
use super::math::{exp, ln};
use super::systems::Shield;
use super::weather::Storms;

/// dBZ to the natural logarithm of the linear reflectivity factor.
const NEPERS_PER_DBZ: f64 = 0.230_258_509_3;
/// Reflectivity where there is no echo.
pub(super) const NO_ECHO_DBZ: f64 = -10.0;
/// Nothing fainter than this adds to an echo.
const FAINTEST_DBZ: f64 = -11.0;
/// Points are looked up this far away from where they are, to fray the edges of storms.
pub(super) const FARTHEST_WARP_KM: f64 = 14.0;

/// One row of points: the plane coordinates at which each is looked up, and what has been put there.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// x of the first point, distance between points.
    pub(super) first_km: f64,
    pub(super) step_km: f64,
    /// y of the row.
    pub(super) y_km: f64,
    /// Where each point is looked up, relative to where it is.
    pub(super) warp_km: Vec<[f64; 2]>,
    /// Linear reflectivity factor so far.
    pub(super) reflectivity: Vec<f64>,
    /// Greatest anvil or shield so far, dBZ above −12.
    pub(super) cloud: Vec<f64>,
}

impl Storms {
    /// Those parts whose footprint meets a region.
    pub(super) fn near(&self, region: Region) -> Storms {
        let low = region.low.map(|c| c - FARTHEST_WARP_KM);
        let high = region.high.map(|c| c + FARTHEST_WARP_KM);
        let meets = |at: [f64; 2], reach: f64| (0..2).all(|k| at[k] + reach > low[k] && at[k] - reach < high[k]);
        Storms {
            cores: self.cores.iter().filter(|c| meets(c.at_km, core_reach_km(c))).copied().collect(),
            anvils: self.anvils.iter().filter(|a| meets(a.at_km, a.radius_km)).copied().collect(),
            shields: self.shields.iter().filter(|s| meets(s.at_km, shield_reach_km(s))).copied().collect(),
            cold_pools: self.cold_pools.iter().filter(|p| meets(p.at_km, pool_reach_km(p))).copied().collect(),
        }
    }
}

impl Row {
    /// Adds every echo of `storms` to the row.
    pub(super) fn paint(&mut self, storms: &Storms) {
        storms.cores.iter().for_each(|core| self.paint_core(core));
        storms.anvils.iter().for_each(|anvil| self.paint_anvil(anvil));
        storms.shields.iter().for_each(|shield| self.paint_shield(shield));
    }

    fn paint_core(&mut self, core: &Core) {
        let [c, s] = core.stretch;
        for i in self.points_near(core.at_km, core_reach_km(core)) {
            let [x, y] = self.offset(i, core.at_km);
            let squared = x * x * (1.0 + c) + 2.0 * s * x * y + y * y * (1.0 - c);
            let dbz = core.dbz - squared / (2.0 * core.radius_km * core.radius_km) / NEPERS_PER_DBZ;
            self.add(i, dbz);
        }
    }

    fn paint_anvil(&mut self, anvil: &Disc) {
        for i in self.points_near(anvil.at_km, anvil.radius_km) {
            let [x, y] = self.offset(i, anvil.at_km);
            let share = (x * x + y * y) / (anvil.radius_km * anvil.radius_km);
            self.add_cloud(i, share, anvil.value);
        }
    }

    fn paint_shield(&mut self, shield: &Shield) {
        let [across, along] = shield.half_km;
        for i in self.points_near(shield.at_km, shield_reach_km(shield)) {
            let [x, y] = self.offset(i, shield.at_km);
            let u = (x * shield.forward[0] + y * shield.forward[1]) / across;
            let v = (y * shield.forward[0] - x * shield.forward[1]) / along;
            self.add_cloud(i, u * u + v * v, shield.dbz);
        }
    }

    /// Spreads a cloud that falls from `dbz` at its centre to nothing where `share` is one.
    fn add_cloud(&mut self, i: usize, share: f64, dbz: f64) {
        if share < 1.0 {
            self.cloud[i] = self.cloud[i].max((dbz + 12.0) * (1.0 - share));
        }
    }

    /// Adds the thickest cloud over each point to its echo: clouds that overlap are no thicker than one.
    pub(super) fn add_clouds(&mut self) {
        for i in 0..self.cloud.len() {
            self.add(i, self.cloud[i] - 12.0);
        }
    }

    /// Adds an echo to a point.
    pub(super) fn add(&mut self, i: usize, dbz: f64) {
        if dbz > FAINTEST_DBZ {
            self.reflectivity[i] += exp(NEPERS_PER_DBZ * dbz);
        }
    }

    /// The echo at a point; `None` where there is none.
    pub(super) fn dbz(&self, i: usize) -> Option<f64> {
        (self.reflectivity[i] > 0.0).then(|| ln(self.reflectivity[i]) / NEPERS_PER_DBZ)
    }

    fn offset(&self, i: usize, from_km: [f64; 2]) -> [f64; 2] {
        let [warp_x, warp_y] = self.warp_km[i];
        [self.first_km + i as f64 * self.step_km + warp_x - from_km[0], self.y_km + warp_y - from_km[1]]
    }

    fn points_near(&self, at_km: [f64; 2], reach_km: f64) -> std::ops::Range<usize> {
        let reach_km = reach_km + FARTHEST_WARP_KM;
        if (self.y_km - at_km[1]).abs() > reach_km {
            return 0..0;
        }
        span(self.first_km, self.step_km, self.warp_km.len(), [at_km[0] - reach_km, at_km[0] + reach_km])
    }
}

/// The total cold air on each point of an unwarped row, from 0 to 1.
pub(super) fn cold_air(first_km: f64, step_km: f64, y_km: f64, pools: &[Disc], row: &mut [f32]) {
    let mut sum = vec![0.0_f64; row.len()];
    for pool in pools {
        let reach_km = pool_reach_km(pool);
        let dy = y_km - pool.at_km[1];
        if dy.abs() > reach_km {
            continue;
        }
        let near = span(first_km, step_km, row.len(), [pool.at_km[0] - reach_km, pool.at_km[0] + reach_km]);
        for (sum, i) in sum.get_mut(near.clone()).into_iter().flatten().zip(near) {
            let dx = first_km + i as f64 * step_km - pool.at_km[0];
            let share = (dx * dx + dy * dy) / (pool.radius_km * pool.radius_km);
            *sum += pool.value * exp(-share * share);
        }
    }
    row.iter_mut().zip(sum).for_each(|(value, sum)| *value = (1.0 - exp(-sum)) as f32);
}

/// The indices of the points of a row between two coordinates.
fn span(first_km: f64, step_km: f64, count: usize, [low, high]: [f64; 2]) -> std::ops::Range<usize> {
    let index = |x: f64| ((x - first_km) / step_km).ceil().clamp(0.0, count as f64) as usize;
    index(low)..index(high)
}

/// Where a core, at most 1.5 times as long as wide, falls below the faintest echo.
fn core_reach_km(core: &Core) -> f64 {
    let drop_dbz = (core.dbz - FAINTEST_DBZ).max(0.0);
    1.5 * core.radius_km * (2.0 * drop_dbz * NEPERS_PER_DBZ).sqrt()
}

fn shield_reach_km(shield: &Shield) -> f64 {
    shield.half_km[0].max(shield.half_km[1])
}

/// Where a cold pool has fallen to e⁻⁹ of its centre: below the last digit written.
fn pool_reach_km(pool: &Disc) -> f64 {
    1.75 * pool.radius_km
}
