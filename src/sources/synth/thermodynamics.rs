//! Surface temperature, dew point, CAPE and CIN from the large-scale air, the ground and cold outflow.

use super::environment::Environment;
use super::math::{exp, ln};
use super::terrain::Ground;

/// Mean fall of 2 m temperature with the height of the ground, K/m.
const LAPSE_K_M: f64 = 5.2e-3;
/// Fall of the dew point with the height of the ground, K/m.
const DEW_LAPSE_K_M: f64 = 2.6e-3;
/// CAPE gained per kelvin by which a parcel's equivalent potential temperature exceeds saturation aloft.
const CAPE_PER_K: f64 = 195.0;
/// CIN per kelvin and per square kelvin by which the inversion is warmer than the boundary layer.
const CIN_PER_K: [f64; 2] = [14.0, 3.5];

/// The air near the ground and how buoyant it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surface {
    /// 2 m temperature in kelvin.
    pub(super) temperature_k: f64,
    /// 2 m dew point in kelvin; never above the temperature.
    pub(super) dew_point_k: f64,
    /// Surface-based CAPE in J/kg; never negative.
    pub(super) cape: f64,
    /// Surface-based CIN in J/kg; never positive.
    pub(super) cin: f64,
}

/// The surface air under `cold_pool` (0 none, 1 a mature pool) and `shade` (0 clear sky, 1 thick cloud).
pub(super) fn surface(air: &Environment, ground: Ground, cold_pool: f64, shade: f64) -> Surface {
    let range_k = if ground.land { 6.5 } else { 1.5 };
    let warmed = if air.heating > 0.0 { air.heating * (1.0 - 0.35 * shade) } else { air.heating * (1.0 - 0.5 * shade) };
    let undisturbed_k = air.temperature_k + range_k * warmed - LAPSE_K_M * ground.height_m;
    let moist_k = air.dew_point_k - DEW_LAPSE_K_M * ground.height_m + 0.6 * air.heating;
    // Rain-cooled air approaches its wet bulb: the drier it was, the colder it gets, and the moister.
    let depression = (undisturbed_k - moist_k).max(0.0);
    let temperature_k = undisturbed_k - cold_pool * (3.0 + 0.42 * depression.min(22.0));
    let dew_point_k = (moist_k + cold_pool * (0.12 * depression.min(22.0) - 2.2)).min(temperature_k - 0.1);
    let (cape, cin) = buoyancy(temperature_k, dew_point_k, ground.height_m, air, warmed, cold_pool);
    Surface { temperature_k, dew_point_k, cape, cin }
}

fn buoyancy(t: f64, td: f64, height_m: f64, air: &Environment, warmed: f64, cold_pool: f64) -> (f64, f64) {
    let excess = equivalent_potential_temperature(t, td, height_m) - air.aloft_k;
    let cape = CAPE_PER_K * if excess > 0.0 { excess * excess / (excess + 2.0) } else { 0.0 };
    let capped_k = (air.lid_k - 3.0 * warmed + 7.0 * cold_pool + 1.0).max(0.0);
    let cin = 0.0 - (CIN_PER_K[0] * capped_k + CIN_PER_K[1] * capped_k * capped_k);
    // Where nothing is buoyant there is nothing to inhibit.
    (cape * (1.0 - 0.6 * cold_pool), (cin * (cape / (cape + 150.0))).max(-600.0) + 0.0)
}

/// Bolton (1980), equations 10, 15 and 43, with the pressure of a standard atmosphere; kelvin.
fn equivalent_potential_temperature(t: f64, td: f64, height_m: f64) -> f64 {
    let pressure = 1013.25 * exp(-height_m / 8400.0);
    let celsius = td - 273.15;
    let e = 6.112 * exp(17.67 * celsius / (celsius + 243.5));
    let r = 622.0 * e / (pressure - e);
    let tl = 1.0 / (1.0 / (td - 56.0) + ln(t / td) / 800.0) + 56.0;
    let dry = t * exp(0.2854 * (1.0 - 0.28e-3 * r) * ln(1000.0 / pressure));
    dry * exp((3.376 / tl - 0.00254) * r * (1.0 + 0.81e-3 * r))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn air() -> Environment {
        Environment {
            temperature_k: 300.0,
            heating: 0.5,
            dew_point_k: 294.0,
            wind: [0.0; 2],
            steering: [10.0, 5.0],
            aloft_k: 334.0,
            lid_k: 3.0,
            lift: 0.0,
            front_km: 200.0,
        }
    }

    const PLAIN: Ground = Ground { height_m: 300.0, land: true };

    #[test]
    fn equivalent_potential_temperature_equals_a_published_table() {
        // MetPy 1.7.1, equivalent_potential_temperature(850 hPa, 20 °C, 18 °C), which takes Bolton's equation 39: the
        // two equations agree within 0.1 K by his own account.
        let height_m = 8400.0 * (1013.25_f64 / 850.0).ln();
        let value = equivalent_potential_temperature(293.15, 291.15, height_m);
        assert!((value - 353.899).abs() < 0.1, "{value}");
    }

    #[test]
    fn cape_grows_with_heat_and_with_moisture() {
        let cape = |air: Environment| surface(&air, PLAIN, 0.0, 0.0).cape;
        assert!(cape(air()) > 500.0);
        assert!(cape(Environment { temperature_k: 302.0, ..air() }) > cape(air()));
        assert!(cape(Environment { dew_point_k: 295.0, ..air() }) > cape(air()));
    }

    #[test]
    fn a_cold_pool_cools_and_stabilises() {
        let (clear, pool) = (surface(&air(), PLAIN, 0.0, 0.0), surface(&air(), PLAIN, 1.0, 0.5));
        assert!(pool.temperature_k < clear.temperature_k - 4.0);
        assert!(pool.cape < 0.5 * clear.cape && pool.cin < clear.cin);
    }

    #[test]
    fn water_stays_between_the_extremes_of_land() {
        let lake = Ground { land: false, ..PLAIN };
        assert!(surface(&air(), lake, 0.0, 0.0).temperature_k < surface(&air(), PLAIN, 0.0, 0.0).temperature_k);
    }
}
