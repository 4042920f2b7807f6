//! Albers equal-area conic: Snyder (1987) 14-1 to 14-21.

use super::Earth;
use super::fan::Fan;

/// Standard parallels closer than this (degrees) make a tangent cone.
const TANGENT: f64 = 1e-9;

/// n and C as Snyder writes them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Albers {
    fan: Fan,
    c: f64,
    earth: Earth,
}

impl Albers {
    pub(super) fn new(origin: f64, parallels: [f64; 2], meridian: f64, earth: Earth) -> Result<Self, String> {
        let [first, second] = parallels;
        if ![first, second, origin].iter().all(|latitude| latitude.abs() <= 90.0) || !meridian.is_finite() {
            return Err("the origin and both parallels must lie in −90°..90°".into());
        }
        if (first + second).abs() < TANGENT {
            return Err("the standard parallels must not be opposite each other".into());
        }
        let square = |latitude: f64| earth.parallel_radius(latitude.to_radians()).powi(2);
        let q = |latitude: f64| earth.q(latitude.to_radians().sin());
        let n = if (first - second).abs() < TANGENT {
            first.to_radians().sin()
        } else {
            (square(first) - square(second)) / (q(second) - q(first))
        };
        let c = square(first) + n * q(first);
        let mut albers = Albers { fan: Fan { n, rho_origin: 0.0, longitude_origin: meridian }, c, earth };
        albers.fan.rho_origin = albers.rho(origin);
        Ok(albers)
    }

    /// Distance from the apex; zero where rounding leaves less at the pole.
    fn rho(&self, latitude: f64) -> f64 {
        let square = self.c - self.fan.n * self.earth.q(latitude.to_radians().sin());
        self.earth.radius_m * square.max(0.0).sqrt() / self.fan.n
    }

    pub(super) fn forward(&self, latitude: f64, longitude: f64) -> (f64, f64) {
        self.fan.place(self.rho(latitude), longitude)
    }

    pub(super) fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (rho, longitude) = self.fan.polar(x, y)?;
        let q = (self.c - (rho * self.fan.n / self.earth.radius_m).powi(2)) / self.fan.n;
        let sine = self.earth.sine_of_q(q)?;
        Some((sine.asin().to_degrees(), longitude))
    }

    pub(super) fn convergence(&self, longitude: f64) -> f64 {
        self.fan.convergence(longitude)
    }

    pub(super) fn area_scale(&self, x: f64, y: f64) -> Option<f64> {
        self.inverse(x, y).map(|_| 1.0)
    }
}
