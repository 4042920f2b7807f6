//! The polar coordinates of every conic map: meridians are rays that meet in one point, parallels are arcs around it.

use std::f64::consts::PI;

use super::wrap_longitude;

/// n and ρ₀ as Snyder (1987) writes them (14-1 to 14-4, 15-4); n and ρ are negative where the rays meet in the south.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fan {
    pub(super) n: f64,
    pub(super) rho_origin: f64,
    pub(super) longitude_origin: f64,
}

impl Fan {
    /// x and y of a distance from the apex and a longitude in degrees.
    pub(super) fn place(&self, rho: f64, longitude: f64) -> (f64, f64) {
        let theta = self.convergence(longitude);
        (rho * theta.sin(), self.rho_origin - rho * theta.cos())
    }

    /// Distance from the apex and longitude in degrees of a place; `None` in the gap between the map's two edges.
    pub(super) fn polar(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let sign = self.n.signum();
        let up = self.rho_origin - y;
        let rho = sign * x.hypot(up);
        let theta = (sign * x).atan2(sign * up);
        let inside = theta.abs() <= self.n.abs() * PI && !rho.is_nan();
        inside.then(|| (rho, self.longitude_origin + (theta / self.n).to_degrees()))
    }

    /// The distance from the apex alone.
    pub(super) fn rho(&self, x: f64, y: f64) -> f64 {
        self.n.signum() * x.hypot(self.rho_origin - y)
    }

    /// θ: the angle in radians of a meridian to that of the origin.
    pub(super) fn convergence(&self, longitude: f64) -> f64 {
        self.n * wrap_longitude(longitude - self.longitude_origin).to_radians()
    }
}
