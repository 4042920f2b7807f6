//! Lambert azimuthal equal-area, oblique: Snyder (1987) 24-2 to 24-4 and 24-17 to 24-20.
//!
//! On an ellipsoid it is that of the sphere of the same area, at authalic latitudes, with x stretched by D and y shrunk.

use super::Earth;

/// Sine and cosine of the centre's authalic latitude, R_q and D.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Azimuthal {
    sine: f64,
    cosine: f64,
    longitude_origin: f64,
    radius: f64,
    stretch: f64,
    earth: Earth,
}

impl Azimuthal {
    pub(super) fn new(latitude_origin: f64, longitude_origin: f64, earth: Earth) -> Result<Self, String> {
        if !(latitude_origin.abs() <= 90.0 && longitude_origin.is_finite()) {
            return Err("the centre's latitude must lie in −90°..90°".into());
        }
        let (sine, cosine) = authalic(earth, latitude_origin);
        let radius = earth.authalic_radius_m();
        let stretch = if earth.is_sphere() || latitude_origin.abs() == 90.0 {
            1.0
        } else {
            earth.radius_m * earth.parallel_radius(latitude_origin.to_radians()) / (radius * cosine)
        };
        Ok(Azimuthal { sine, cosine, longitude_origin, radius, stretch, earth })
    }

    pub(super) fn forward(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        let (sine, cosine) = authalic(self.earth, latitude);
        let (sine_east, cosine_east) = (longitude - self.longitude_origin).to_radians().sin_cos();
        let closeness = 1.0 + self.sine * sine + self.cosine * cosine * cosine_east;
        if closeness < 1e-12 {
            return None;
        }
        let k = self.radius * (2.0 / closeness).sqrt();
        let (x, y) = (k * cosine * sine_east, k * (self.cosine * sine - self.sine * cosine * cosine_east));
        Some((x * self.stretch, y / self.stretch))
    }

    pub(super) fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (x, y) = (x / self.stretch, y * self.stretch);
        let rho = x.hypot(y);
        if rho == 0.0 {
            return Some((self.latitude(self.sine, self.sine.atan2(self.cosine))?, self.longitude_origin));
        }
        if rho.is_nan() || rho > 2.0 * self.radius {
            return None;
        }
        let (sine, cosine) = (2.0 * (rho / (2.0 * self.radius)).asin()).sin_cos();
        let sine_north = (cosine * self.sine + y * sine * self.cosine / rho).clamp(-1.0, 1.0);
        let east = (x * sine).atan2(rho * self.cosine * cosine - y * self.sine * sine);
        Some((self.latitude(sine_north, sine_north.asin())?, self.longitude_origin + east.to_degrees()))
    }

    /// Degrees of an authalic latitude given by its sine and in radians.
    fn latitude(&self, sine: f64, radians: f64) -> Option<f64> {
        if self.earth.is_sphere() {
            return Some(radians.to_degrees());
        }
        let sine = self.earth.sine_of_q(sine * self.earth.q(1.0))?;
        Some(sine.asin().to_degrees())
    }

    /// From the derivatives of x and y along the meridian.
    pub(super) fn convergence(&self, latitude: f64, longitude: f64) -> f64 {
        let (sine, cosine) = authalic(self.earth, latitude);
        let (sine_east, cosine_east) = (longitude - self.longitude_origin).to_radians().sin_cos();
        let closeness = 1.0 + self.sine * sine + self.cosine * cosine * cosine_east;
        let growth = -0.5 * (self.sine * cosine - self.cosine * sine * cosine_east) / closeness;
        let dx = growth * cosine * sine_east - sine * sine_east;
        let dy = growth * (self.cosine * sine - self.sine * cosine * cosine_east)
            + self.cosine * cosine
            + self.sine * sine * cosine_east;
        (-dx * self.stretch).atan2(dy / self.stretch)
    }

    pub(super) fn area_scale(&self, x: f64, y: f64) -> Option<f64> {
        ((x / self.stretch).hypot(y * self.stretch) <= 2.0 * self.radius).then_some(1.0)
    }
}

/// Sine and cosine of the authalic latitude of a latitude in degrees: (3-11).
fn authalic(earth: Earth, latitude: f64) -> (f64, f64) {
    let (sine, cosine) = latitude.to_radians().sin_cos();
    if earth.is_sphere() {
        return (sine, cosine);
    }
    let sine = (earth.q(sine) / earth.q(1.0)).clamp(-1.0, 1.0);
    (sine, (1.0 - sine * sine).sqrt())
}
