//! The air between storms: a travelling cold front, a dry line, a humid warm sector and the course of the day.

use super::frame::roughly_geographic;
use super::math::{cos_turns, logistic, smoothstep, tanh};
use super::noise::{Scale, Sheet, field};
use crate::domain::Philox;

/// Fronts follow one another at this distance, and move with this speed along [`FRONT_NORMAL`].
const FRONT_SPACING_KM: f64 = 2800.0;
const FRONT_SPEED_KM_H: f64 = 26.0;
/// Towards the south-east, away from the cold air.
pub(super) const FRONT_NORMAL: [f64; 2] = [0.82, -0.572];
/// Where the front of the first hour of 1970 lies, chosen so that mid-May of 2026 has one over the Plains.
const FRONT_PHASE_KM: f64 = 700.0;
/// Half the width of the temperature step.
const FRONT_WIDTH_KM: f64 = 40.0;
/// Air masses drift with the westerlies.
const DRIFT_KM_H: [f64; 2] = [32.0, 10.0];
/// Anomalies of the air masses.
const AIR: Scale = Scale { space_km: 480.0, time_hours: 18.0, octaves: 4 };
/// Bends of fronts and dry lines, and gusts.
const BENDS: Scale = Scale { space_km: 420.0, time_hours: 24.0, octaves: 3 };
/// Rolls and thermals of the boundary layer.
const THERMALS: Scale = Scale { space_km: 48.0, time_hours: 2.0, octaves: 2 };
/// Storm motion never exceeds this, in m/s along either axis.
pub(super) const FASTEST_STEERING: f64 = 22.0;

/// The large-scale air at one point and time. Temperatures are kelvin, reduced to sea level where it is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Environment {
    /// Mean 2 m temperature of the day, reduced to sea level.
    pub(super) temperature_k: f64,
    /// From −1 before sunrise to 1 in mid-afternoon.
    pub(super) heating: f64,
    /// 2 m dew point reduced to sea level.
    pub(super) dew_point_k: f64,
    /// 10 m wind along the grid's axes in m/s.
    pub(super) wind: [f64; 2],
    /// The wind that carries storms, in m/s.
    pub(super) steering: [f64; 2],
    /// Saturated equivalent potential temperature of the middle troposphere.
    pub(super) aloft_k: f64,
    /// Potential temperature of the inversion that caps the boundary layer, less that of its day's mean.
    pub(super) lid_k: f64,
    /// Forced ascent near fronts and dry lines, from 0 to 1.
    pub(super) lift: f64,
    /// Distance ahead of the nearest front; negative in the cold air.
    pub(super) front_km: f64,
}

/// The large-scale air of one seed; in a forecast it errs more with every hour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Climate {
    air: Philox,
    bends: Philox,
    thermals: Philox,
    error: Philox,
    error_size: f64,
}

/// The layers of a climate over a rectangle of the plane at one time.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    air: Sheet,
    bends: Sheet,
    thermals: Sheet,
    error: Option<Sheet>,
    error_size: f64,
    hours: f64,
}

impl Climate {
    /// The climate of a seed; `error_seed` draws the errors of a forecast `lead_hours` ahead.
    pub(super) fn new(seed: u64, error_seed: u64, lead_hours: f64) -> Climate {
        Climate {
            air: Philox::new(seed, 10),
            bends: Philox::new(seed, 11),
            thermals: Philox::new(seed, 12),
            error: Philox::new(error_seed, 13),
            error_size: (lead_hours / 12.0).clamp(0.0, 4.0).sqrt(),
        }
    }

    /// The air at a point of the plane, `hours` since 1970.
    pub(super) fn at(&self, x_km: f64, y_km: f64, hours: f64) -> Environment {
        let [x, y] = drifted(x_km, y_km, hours);
        let error = (self.error_size > 0.0).then(|| field(&self.error, x, y, hours, AIR));
        let thermals = field(&self.thermals, x, y, hours, THERMALS);
        let air = anomalies(field(&self.air, x, y, hours, AIR), thermals, error, self.error_size);
        environment(x_km, y_km, hours, air, field(&self.bends, x_km, y_km, hours, BENDS))
    }

    /// The climate between two corners, in kilometres, at one time: the same bits, sooner for many points.
    pub(super) fn layers(&self, low: [f64; 2], high: [f64; 2], hours: f64) -> Layers {
        let (from, to) = (drifted(low[0], low[1], hours), drifted(high[0], high[1], hours));
        Layers {
            air: Sheet::new(&self.air, from, to, hours, AIR),
            bends: Sheet::new(&self.bends, low, high, hours, BENDS),
            thermals: Sheet::new(&self.thermals, from, to, hours, THERMALS),
            error: (self.error_size > 0.0).then(|| Sheet::new(&self.error, from, to, hours, AIR)),
            error_size: self.error_size,
            hours,
        }
    }
}

impl Layers {
    /// The air at a point of the rectangle.
    pub(super) fn at(&self, x_km: f64, y_km: f64) -> Environment {
        let [x, y] = drifted(x_km, y_km, self.hours);
        let error = self.error.as_ref().map(|error| error.at(x, y));
        let air = anomalies(self.air.at(x, y), self.thermals.at(x, y), error, self.error_size);
        environment(x_km, y_km, self.hours, air, self.bends.at(x_km, y_km))
    }
}

/// Where air masses that are now at a point were at the beginning of 1970.
fn drifted(x_km: f64, y_km: f64, hours: f64) -> [f64; 2] {
    [x_km - DRIFT_KM_H[0] * hours, y_km - DRIFT_KM_H[1] * hours]
}

/// Air-mass anomalies with the thermals' share, and what a forecast gets wrong about them.
fn anomalies(air: [f64; 4], thermals: [f64; 4], error: Option<[f64; 4]>, error_size: f64) -> [f64; 4] {
    let error = error.unwrap_or_default();
    std::array::from_fn(|channel| air[channel] + 0.2 * thermals[channel] + 0.7 * error_size * error[channel])
}

/// The air from its random layers.
fn environment(x_km: f64, y_km: f64, hours: f64, air: [f64; 4], bends: [f64; 4]) -> Environment {
    let [latitude, longitude] = roughly_geographic(x_km, y_km);
    let north = latitude - 37.0;
    let season = season(hours);
    let heating = heating(hours, longitude);
    let front_km = front_km(x_km, y_km, hours) + 70.0 * bends[0];
    let side = tanh(front_km / FRONT_WIDTH_KM) * (1.0 - 2.0 * (front_km / FRONT_SPACING_KM).abs().min(0.5));
    let warm = side.max(0.0);
    let dry_line_km = -330.0 + 130.0 * heating + 70.0 * bends[1] + 0.25 * y_km;
    let humid = logistic((x_km - dry_line_km) / 18.0);
    let near = |distance: f64, reach: f64| 1.0 / (1.0 + (distance / reach) * (distance / reach));
    let lift = near(front_km - 25.0, 60.0).max(0.8 * near(x_km - dry_line_km - 25.0, 45.0) * heating.max(0.0));
    Environment {
        temperature_k: 291.5 + 8.0 * season - north * (0.65 - 0.35 * season) + 4.5 * side + 1.3 * air[0] - 1.0 * humid,
        heating,
        dew_point_k: 285.5 + 5.0 * season - north * 0.5 + 4.5 * side + 1.2 * air[1] - 12.5 * (1.0 - humid),
        wind: [
            1.5 - 2.5 * warm + 2.5 * (1.0 - humid) + 3.5 * (-side).max(0.0) + 1.8 * air[2],
            1.0 + 6.5 * warm - 6.0 * (-side).max(0.0) + 1.8 * air[3],
        ],
        steering: steering(side, bends),
        aloft_k: 326.5 + 5.0 * season - 0.25 * north + 2.5 * side + 1.6 * bends[2],
        lid_k: 1.5 + 1.4 * bends[3] - 2.0 * lift + 2.0 * logistic((-x_km - 150.0) / 150.0),
        lift,
        front_km,
    }
}

/// From −1 in mid-January to 1 in mid-July.
fn season(hours: f64) -> f64 {
    cos_turns((hours / 24.0 - 197.0) / 365.25)
}

/// The day's course at a longitude: lowest before sunrise, highest at half past three, a steep morning.
fn heating(hours: f64, longitude: f64) -> f64 {
    let day = (hours + longitude / 15.0 - 15.5) / 24.0;
    0.92 * cos_turns(day) + 0.17 * cos_turns(2.0 * day) - 0.06
}

/// Signed distance to the nearest front before it bends.
fn front_km(x_km: f64, y_km: f64, hours: f64) -> f64 {
    let along = x_km * FRONT_NORMAL[0] + y_km * FRONT_NORMAL[1] - FRONT_SPEED_KM_H * hours - FRONT_PHASE_KM;
    along - FRONT_SPACING_KM * (along / FRONT_SPACING_KM).round()
}

fn steering(side: f64, bends: [f64; 4]) -> [f64; 2] {
    let held = |speed: f64| speed.clamp(-FASTEST_STEERING, FASTEST_STEERING);
    [held(11.5 + 2.0 * bends[2]), held(4.0 + 5.0 * smoothstep(side) - 4.0 * smoothstep(-side) + 2.0 * bends[3])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn afternoons_are_the_warmest() {
        let at = |local: f64| heating(local + 6.5, -97.5);
        assert!(at(15.5) > at(12.0) && at(12.0) > at(21.0) && at(21.0) > at(5.0));
        assert!(at(15.5) <= 1.05 && at(4.0) >= -1.05);
    }

    #[test]
    fn fronts_move_towards_the_south_east() {
        let ahead = front_km(0.0, 0.0, 500_000.0);
        let later = front_km(0.0, 0.0, 500_001.0);
        assert!((later - ahead + FRONT_SPEED_KM_H).abs() < 1e-6 || later > ahead + 2000.0);
    }

    #[test]
    fn a_forecast_errs_more_with_every_hour_and_not_at_all_at_its_start() {
        let truth = Climate::new(7, 7, 0.0);
        let miss = |lead: f64| {
            let forecast = Climate::new(7, 8, lead);
            (0..50)
                .map(|i| {
                    let x = f64::from(i) * 30.0 - 700.0;
                    (forecast.at(x, 0.0, 494_000.0).temperature_k - truth.at(x, 0.0, 494_000.0).temperature_k).abs()
                })
                .sum::<f64>()
        };
        assert_eq!(miss(0.0), 0.0);
        assert!(0.0 < miss(1.0) && miss(1.0) < miss(6.0));
    }
}
