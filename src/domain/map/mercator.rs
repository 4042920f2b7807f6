//! Mercator, with x = 0 at Greenwich and y = 0 at the equator: Snyder (1987) 7-6 to 7-9.

use super::{Earth, wrap_longitude};

/// Metres of x for one radian of longitude: a k₀.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mercator {
    scale: f64,
    earth: Earth,
}

impl Mercator {
    pub(super) fn new(true_scale: f64, earth: Earth) -> Result<Self, String> {
        if true_scale.is_nan() || true_scale.abs() >= 90.0 {
            return Err("the latitude of true scale must lie between −90° and 90°".into());
        }
        Ok(Mercator { scale: earth.radius_m * earth.parallel_radius(true_scale.to_radians()), earth })
    }

    pub(super) fn forward(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        let y = self.earth.tangent(latitude.to_radians()).ln();
        let place = (self.scale * wrap_longitude(longitude).to_radians(), self.scale * y);
        (latitude.abs() < 90.0).then_some(place)
    }

    pub(super) fn inverse(&self, x: f64, y: f64) -> (f64, f64) {
        (self.latitude(y), (x / self.scale).to_degrees())
    }

    /// The parallel at y, in degrees.
    pub(super) fn latitude(&self, y: f64) -> f64 {
        self.earth.latitude_of_tangent((y / self.scale).exp()).to_degrees()
    }

    /// Metres of x once around the globe.
    pub(super) fn turn(&self) -> f64 {
        2.0 * std::f64::consts::PI * self.scale
    }

    /// 1 / k², with k = a k₀ / (a m).
    pub(super) fn area_scale(&self, y: f64) -> Option<f64> {
        let m = self.earth.parallel_radius_of_tangent((y / self.scale).exp());
        let k = self.scale / (m * self.earth.radius_m);
        k.is_normal().then(|| k.powi(-2))
    }
}
