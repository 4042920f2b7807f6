//! The figure of the earth, a sphere or an ellipsoid of revolution, and its auxiliary latitudes: Snyder (1987), chapter 3.

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

use serde::{Deserialize, Serialize};

/// Change of a latitude, in radians, or of its sine, below which an iteration has converged: 0.1 micrometres.
const CONVERGED: f64 = 1e-14;
/// Iterations that no flattening up to [`FLATTEST`] needs.
const MOST_ITERATIONS: usize = 64;
/// Flattening from which the series and iterations are not tried; that of the earth is 0.0034.
const FLATTEST: f64 = 0.1;

/// A sphere, or an ellipsoid of revolution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Earth {
    /// Radius of the sphere, or the ellipsoid's semi-major axis, in metres.
    pub radius_m: f64,
    /// (a − b) / a of the ellipsoid's axes; 0 for a sphere.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flattening: f64,
}

fn is_zero(number: &f64) -> bool {
    *number == 0.0
}

impl Earth {
    /// A sphere of this radius in metres.
    pub const fn sphere(radius_m: f64) -> Self {
        Earth { radius_m, flattening: 0.0 }
    }

    /// An ellipsoid of these semi-axes in metres.
    pub fn ellipsoid(major_m: f64, minor_m: f64) -> Self {
        Earth { radius_m: major_m, flattening: (major_m - minor_m) / major_m }
    }

    /// Whether the flattening is nothing.
    pub fn is_sphere(&self) -> bool {
        self.flattening == 0.0
    }

    /// The semi-minor axis in metres.
    pub fn minor_m(&self) -> f64 {
        self.radius_m * (1.0 - self.flattening)
    }

    /// Why there is no such earth, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        let Earth { radius_m, flattening } = *self;
        if !(radius_m.is_finite() && radius_m > 0.0) {
            return Some(format!("the earth's radius is {radius_m} m; expected a positive number of metres"));
        }
        let fine = (0.0..FLATTEST).contains(&flattening);
        (!fine).then(|| format!("the earth's flattening is {flattening}; expected 0 to {FLATTEST}"))
    }

    /// e² of the ellipsoid: 2 f − f².
    fn eccentricity_squared(&self) -> f64 {
        self.flattening * (2.0 - self.flattening)
    }

    /// Radius of a parallel in units of the semi-major axis: m of (14-15). Radians.
    pub(super) fn parallel_radius(&self, latitude: f64) -> f64 {
        if self.is_sphere() {
            return latitude.cos();
        }
        latitude.cos() / (1.0 - self.eccentricity_squared() * latitude.sin().powi(2)).sqrt()
    }

    /// 1 / t of (15-9): tan(π/4 + χ/2) of the conformal latitude χ. Radians.
    pub(super) fn tangent(&self, latitude: f64) -> f64 {
        let tangent = (FRAC_PI_4 + latitude / 2.0).tan();
        if self.is_sphere() { tangent } else { tangent / self.conformal_factor(latitude) }
    }

    /// [(1 + e sin φ) / (1 − e sin φ)]^(e/2), by which the sphere's tangent is divided.
    fn conformal_factor(&self, latitude: f64) -> f64 {
        let e = self.eccentricity_squared().sqrt();
        let sine = e * latitude.sin();
        ((1.0 + sine) / (1.0 - sine)).powf(e / 2.0)
    }

    /// The latitude whose [`Earth::tangent`] this is, by the iteration (7-9).
    pub(super) fn latitude_of_tangent(&self, tangent: f64) -> f64 {
        let mut latitude = 2.0 * tangent.atan() - FRAC_PI_2;
        if self.is_sphere() {
            return latitude;
        }
        for _ in 0..MOST_ITERATIONS {
            let next = 2.0 * (tangent * self.conformal_factor(latitude)).atan() - FRAC_PI_2;
            let change = (next - latitude).abs();
            latitude = next;
            if change < CONVERGED {
                break;
            }
        }
        latitude
    }

    /// [`Earth::parallel_radius`] of the latitude with this [`Earth::tangent`]: cos φ = 2 t / (1 + t²) on a sphere.
    pub(super) fn parallel_radius_of_tangent(&self, tangent: f64) -> f64 {
        if self.is_sphere() {
            return 2.0 * tangent / (1.0 + tangent * tangent);
        }
        self.parallel_radius(self.latitude_of_tangent(tangent))
    }

    /// q of (3-12) from the sine of a latitude: 2 sin φ on a sphere.
    pub(super) fn q(&self, sine: f64) -> f64 {
        if self.is_sphere() {
            return 2.0 * sine;
        }
        let e2 = self.eccentricity_squared();
        let e = e2.sqrt();
        let logarithm = ((1.0 - e * sine) / (1.0 + e * sine)).ln();
        (1.0 - e2) * (sine / (1.0 - e2 * sine * sine) - logarithm / (2.0 * e))
    }

    /// The sine of the latitude with this q, by Newton iteration; `None` beyond the poles.
    pub(super) fn sine_of_q(&self, q: f64) -> Option<f64> {
        let share = q / self.q(1.0);
        if share.is_nan() || share.abs() > 1.0 + CONVERGED {
            return None;
        }
        let mut sine = share.clamp(-1.0, 1.0);
        if self.is_sphere() {
            return Some(sine);
        }
        let e2 = self.eccentricity_squared();
        for _ in 0..MOST_ITERATIONS {
            let change = (q - self.q(sine)) * (1.0 - e2 * sine * sine).powi(2) / (2.0 * (1.0 - e2));
            sine = (sine + change).clamp(-1.0, 1.0);
            if change.abs() < CONVERGED {
                break;
            }
        }
        Some(sine)
    }

    /// Radius of the sphere of the same area in metres: R_q of (3-13).
    pub(super) fn authalic_radius_m(&self) -> f64 {
        if self.is_sphere() { self.radius_m } else { self.radius_m * (self.q(1.0) / 2.0).sqrt() }
    }

    /// Square metres for one unit of dλ · d(sin φ) at the sine of a latitude: the product of both radii of curvature.
    pub(crate) fn element_m2(&self, sine: f64) -> f64 {
        let square = self.radius_m.powi(2);
        if self.is_sphere() {
            return square;
        }
        let e2 = self.eccentricity_squared();
        square * (1.0 - e2) / (1.0 - e2 * sine * sine).powi(2)
    }

    /// Square metres for one radian of longitude between two parallels, given by the sines of their latitudes.
    pub(crate) fn band_m2(&self, south: f64, north: f64) -> f64 {
        if self.is_sphere() {
            return self.radius_m.powi(2) * (north - south).abs();
        }
        self.radius_m.powi(2) * (self.q(north) - self.q(south)).abs() / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WGS84: Earth = Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257_223_563 };

    #[test]
    fn auxiliary_latitudes_return() {
        for earth in [WGS84, Earth::sphere(1.0)] {
            for degrees in [-90.0f64, -89.999, -45.0, -1e-3, 0.0, 10.0, 60.0, 89.999_999, 90.0] {
                let latitude = degrees.to_radians();
                let sine = earth.sine_of_q(earth.q(latitude.sin())).expect("a latitude");
                assert!((sine - latitude.sin()).abs() < 1e-15, "{degrees} {sine}");
                if degrees.abs() < 90.0 {
                    let back = earth.latitude_of_tangent(earth.tangent(latitude));
                    assert!((back - latitude).abs() < 1e-13, "{degrees} {back}");
                }
            }
            assert_eq!(earth.sine_of_q(2.1), None);
            assert_eq!(earth.sine_of_q(f64::NAN), None);
        }
    }

    #[test]
    fn wgs84_has_its_published_area() {
        // 510 065 621.724 km² (NIMA TR8350.2, table 3.3: R₂ = 6 371 007.1809 m).
        assert!((WGS84.authalic_radius_m() - 6_371_007.180_9).abs() < 1e-4);
        let bands: f64 = (-90..90).map(|d| WGS84.band_m2(sine(d), sine(d + 1))).sum();
        assert!((bands * 2.0 * std::f64::consts::PI - 510_065_621.724e6).abs() < 1e6, "{bands}");
        let middle = WGS84.element_m2(sine(45)) * (44.99f64.to_radians().sin() - 45.01f64.to_radians().sin());
        let exact = WGS84.band_m2(45.01f64.to_radians().sin(), 44.99f64.to_radians().sin());
        assert!((middle.abs() / exact - 1.0).abs() < 1e-6);
    }

    fn sine(degrees: i32) -> f64 {
        f64::from(degrees).to_radians().sin()
    }

    #[test]
    fn a_sphere_is_written_without_its_flattening_and_read_without_it() {
        let text = serde_json::to_string(&Earth::sphere(6_371_229.0)).expect("JSON");
        assert_eq!(text, r#"{"radius_m":6371229.0}"#);
        assert_eq!(serde_json::from_str::<Earth>(&text).expect("an earth"), Earth::sphere(6_371_229.0));
        let text = serde_json::to_string(&WGS84).expect("JSON");
        assert_eq!(serde_json::from_str::<Earth>(&text).expect("an earth"), WGS84);
    }
}
