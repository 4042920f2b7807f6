//! Longitude and latitude on a globe that is turned so that its poles lie elsewhere (WMO FM 92, template 3.1).
//!
//! The turn is that of a sphere also where the earth is an ellipsoid: latitudes are turned as they are.

use super::wrap_longitude;

/// Sine and cosine of the latitude that the turned globe's point 0° N 0° E has, and its longitude.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotated {
    sine: f64,
    cosine: f64,
    longitude: f64,
}

impl Rotated {
    pub(super) fn new([latitude, longitude]: [f64; 2]) -> Result<Self, String> {
        if !(latitude.abs() <= 90.0 && longitude.is_finite()) {
            return Err("the southern pole's latitude must lie in −90°..90°".into());
        }
        let (sine, cosine) = (latitude + 90.0).to_radians().sin_cos();
        Ok(Rotated { sine, cosine, longitude })
    }

    /// Longitude (−180..180) and latitude on the turned globe.
    pub(super) fn forward(&self, latitude: f64, longitude: f64) -> (f64, f64) {
        turn(latitude, longitude - self.longitude, -self.sine, self.cosine)
    }

    /// Latitude and longitude on the earth of a longitude and latitude on the turned globe.
    pub(super) fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (longitude, latitude) = turn(y, x, self.sine, self.cosine);
        (y.abs() <= 90.0).then_some((latitude, longitude + self.longitude))
    }

    /// From the derivatives of both turned coordinates along the meridian.
    pub(super) fn convergence(&self, latitude: f64, longitude: f64) -> f64 {
        let (sine, cosine) = latitude.to_radians().sin_cos();
        let (sine_east, cosine_east) = (longitude - self.longitude).to_radians().sin_cos();
        (self.sine * sine_east).atan2(cosine * self.cosine + sine * self.sine * cosine_east)
    }
}

/// Longitude and latitude in degrees after a turn around the axis through 90° E on the equator.
fn turn(latitude: f64, longitude: f64, sine: f64, cosine: f64) -> (f64, f64) {
    let ((up, out), (sine_east, cosine_east)) = (latitude.to_radians().sin_cos(), longitude.to_radians().sin_cos());
    let (x, y, z) = (out * cosine_east, out * sine_east, up);
    let (x, z) = (x * cosine - z * sine, z * cosine + x * sine);
    (wrap_longitude(y.atan2(x).to_degrees()), z.atan2(x.hypot(y)).to_degrees())
}
