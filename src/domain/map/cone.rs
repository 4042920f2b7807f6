//! Lambert conformal conic and, as the cone that is flat, polar stereographic: Snyder (1987) 15-1 to 15-11, 21-30 to 21-40.

use std::f64::consts::FRAC_PI_2;

use super::Earth;
use super::fan::Fan;

/// Standard parallels closer than this (degrees) make a tangent cone; a true scale this close to a pole is at the pole.
const TANGENT: f64 = 1e-9;

/// F with the semi-major axis taken into it, so that ρ is in metres.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cone {
    fan: Fan,
    f: f64,
    earth: Earth,
}

impl Cone {
    /// Lambert conformal conic.
    pub(super) fn lambert(origin: f64, parallels: [f64; 2], meridian: f64, earth: Earth) -> Result<Self, String> {
        let [first, second] = parallels;
        let inside = [first, second, origin].iter().all(|latitude| latitude.abs() < 90.0);
        if !inside || !meridian.is_finite() {
            return Err("the origin and both parallels must lie between −90° and 90°".into());
        }
        if (first + second).abs() < TANGENT {
            return Err("the standard parallels must not be opposite each other".into());
        }
        let half = |latitude: f64| earth.tangent(latitude.to_radians());
        let radius = |latitude: f64| earth.parallel_radius(latitude.to_radians());
        let n = if (first - second).abs() < TANGENT {
            first.to_radians().sin()
        } else {
            (radius(first) / radius(second)).ln() / (half(second) / half(first)).ln()
        };
        let f = earth.radius_m * radius(first) * half(first).powf(n) / n;
        let fan = Fan { n, rho_origin: f * half(origin).powf(-n), longitude_origin: meridian };
        Ok(Cone { fan, f, earth })
    }

    /// Polar stereographic: n = ±1 and the origin at the pole.
    pub(super) fn polar(pole: f64, true_scale: f64, meridian: f64, earth: Earth) -> Result<Self, String> {
        let n = pole.signum();
        if pole.abs() != 90.0 || !meridian.is_finite() {
            return Err("the origin must be a pole, 90° or −90°".into());
        }
        if !(-90.0 + TANGENT..=90.0).contains(&(true_scale * n)) {
            return Err("the latitude of true scale must not be the other pole".into());
        }
        let f = if true_scale * n > 90.0 - TANGENT { at_the_pole(earth) } else { true_at(true_scale, n, earth) };
        Ok(Cone { fan: Fan { n, rho_origin: 0.0, longitude_origin: meridian }, f: earth.radius_m * f * n, earth })
    }

    /// Distance from the apex; 0 at the pole around which the cone lies.
    fn rho(&self, latitude: f64) -> f64 {
        if latitude * self.fan.n.signum() >= 90.0 {
            return 0.0;
        }
        self.f * self.earth.tangent(latitude.to_radians()).powf(-self.fan.n)
    }

    pub(super) fn forward(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        (latitude * self.fan.n.signum() > -90.0).then(|| self.fan.place(self.rho(latitude), longitude))
    }

    pub(super) fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (rho, longitude) = self.fan.polar(x, y)?;
        let latitude = match rho {
            0.0 => self.fan.n.signum() * FRAC_PI_2,
            _ => self.earth.latitude_of_tangent(self.tangent(rho)),
        };
        Some((latitude.to_degrees(), longitude))
    }

    fn tangent(&self, rho: f64) -> f64 {
        (self.f / rho).powf(1.0 / self.fan.n)
    }

    pub(super) fn convergence(&self, longitude: f64) -> f64 {
        self.fan.convergence(longitude)
    }

    /// 1 / k², with k = n ρ / (a m), at the pole of a flat cone with its limit.
    pub(super) fn area_scale(&self, x: f64, y: f64) -> Option<f64> {
        let rho = self.fan.rho(x, y);
        let m = self.earth.parallel_radius_of_tangent(self.tangent(rho));
        let k = match rho {
            0.0 if self.fan.n.abs() == 1.0 => self.f * self.fan.n / (self.earth.radius_m * at_the_pole(self.earth)),
            _ => self.fan.n * rho / (m * self.earth.radius_m),
        };
        k.is_normal().then(|| k.powi(-2))
    }
}

/// ρ / (a t) where the scale is true at the pole: 2 / √((1 + e)^(1 + e) (1 − e)^(1 − e)) of (21-33).
fn at_the_pole(earth: Earth) -> f64 {
    let e = (earth.flattening * (2.0 - earth.flattening)).sqrt();
    2.0 / ((1.0 + e).powf(1.0 + e) * (1.0 - e).powf(1.0 - e)).sqrt()
}

/// ρ / (a t) where the scale is true at a latitude: m / t of (21-34).
fn true_at(latitude: f64, n: f64, earth: Earth) -> f64 {
    earth.parallel_radius(latitude.to_radians()) * earth.tangent(latitude.to_radians()).powf(n)
}
