//! Between longitude and latitude on a sphere and the plane of a map: the spherical formulas of Snyder (1987).
//!
//! J. P. Snyder, "Map Projections: A Working Manual", USGS Professional Paper 1395: Lambert conformal conic
//! (15-1 to 15-8), Lambert azimuthal equal-area (24-2 to 24-4, 20-14 and 20-15).

use std::f64::consts::{FRAC_PI_2, FRAC_PI_4};

use serde::{Deserialize, Serialize};

use super::GridError;

/// Standard parallels closer than this (degrees) make a tangent cone.
const TANGENT: f64 = 1e-9;

/// How a grid's plane relates to the sphere. Angles are degrees, longitudes east.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Projection {
    /// The plane is longitude and latitude themselves, in degrees.
    LatLon,
    /// Lambert conformal conic.
    Lambert {
        /// Latitude of the projection's origin.
        latitude_origin: f64,
        /// Standard parallels; equal for a tangent cone.
        parallels: [f64; 2],
        /// The meridian parallel to the y axis.
        longitude_origin: f64,
    },
    /// Lambert azimuthal equal-area.
    AzimuthalEqualArea {
        /// Latitude of the centre.
        latitude_origin: f64,
        /// Longitude of the centre.
        longitude_origin: f64,
    },
}

/// A longitude in −180..180 degrees.
pub(crate) fn wrap_longitude(degrees: f64) -> f64 {
    degrees - 360.0 * ((degrees + 180.0) / 360.0).floor()
}

/// A projection with its constants worked out, for many points. Latitudes and longitudes are degrees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Map {
    /// The plane is longitude and latitude in degrees.
    LatLon { radius: f64 },
    /// Lambert conformal conic.
    Cone(Cone),
    /// Lambert azimuthal equal-area.
    Azimuthal(Azimuthal),
}

impl Map {
    /// Works out a projection's constants on a sphere of this radius in metres; fails where they make no map.
    pub(crate) fn new(projection: Projection, radius: f64) -> Result<Self, GridError> {
        if !(radius.is_finite() && radius > 0.0) {
            let reason = format!("the sphere's radius is {radius} m; expected a positive number of metres");
            return Err(GridError::Projection(format!("{projection:?}"), reason));
        }
        match projection {
            Projection::LatLon => Ok(Map::LatLon { radius }),
            Projection::Lambert { latitude_origin, parallels, longitude_origin } => {
                Cone::new(latitude_origin, parallels, longitude_origin, radius).map(Map::Cone)
            }
            Projection::AzimuthalEqualArea { latitude_origin, longitude_origin } => {
                Azimuthal::new(latitude_origin, longitude_origin, radius).map(Map::Azimuthal)
            }
        }
        .map_err(|reason| GridError::Projection(format!("{projection:?}"), reason))
    }

    /// The place in the plane, in metres (degrees for lat-lon); `None` where the map does not show it.
    pub(crate) fn forward(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        if !(latitude.abs() <= 90.0 && longitude.is_finite()) {
            return None;
        }
        match self {
            Map::LatLon { .. } => Some((wrap_longitude(longitude), latitude)),
            Map::Cone(cone) => cone.forward(latitude, longitude),
            Map::Azimuthal(azimuthal) => azimuthal.forward(latitude, longitude),
        }
    }

    /// Latitude and longitude (−180..180) of a place in the plane; `None` off the map.
    pub(crate) fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (latitude, longitude) = match self {
            Map::LatLon { .. } => (y.abs() <= 90.0).then_some((y, x)),
            Map::Cone(cone) => cone.inverse(x, y),
            Map::Azimuthal(azimuthal) => azimuthal.inverse(x, y),
        }?;
        longitude.is_finite().then(|| (latitude, wrap_longitude(longitude)))
    }

    /// Angle in radians from true north to the plane's y axis, clockwise: positive where north points left of +y.
    pub(crate) fn convergence(&self, latitude: f64, longitude: f64) -> f64 {
        match self {
            Map::LatLon { .. } => 0.0,
            Map::Cone(cone) => cone.n * wrap_longitude(longitude - cone.longitude_origin).to_radians(),
            Map::Azimuthal(azimuthal) => azimuthal.convergence(latitude, longitude),
        }
    }

    /// Square metres of the sphere for one unit of the plane's area at a place; `None` off the map.
    pub(crate) fn area_scale(&self, x: f64, y: f64) -> Option<f64> {
        match self {
            Map::LatLon { radius } => Some((radius * 1_f64.to_radians()).powi(2) * y.to_radians().cos().max(0.0)),
            Map::Cone(cone) => cone.area_scale(x, y),
            Map::Azimuthal(azimuthal) => (x.hypot(y) <= 2.0 * azimuthal.radius).then_some(1.0),
        }
    }
}

/// Lambert conformal conic on a sphere; n, F and ρ as Snyder writes them, with R taken into F and ρ.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cone {
    n: f64,
    f: f64,
    rho_origin: f64,
    longitude_origin: f64,
    radius: f64,
}

impl Cone {
    fn new(latitude_origin: f64, parallels: [f64; 2], longitude_origin: f64, radius: f64) -> Result<Self, String> {
        let [first, second] = parallels;
        let inside = [first, second, latitude_origin].iter().all(|latitude| latitude.abs() < 90.0);
        if !inside || !longitude_origin.is_finite() {
            return Err("the origin and both parallels must lie between −90° and 90°".into());
        }
        if (first + second).abs() < TANGENT {
            return Err("the standard parallels must not be opposite each other".into());
        }
        let half = |latitude: f64| (FRAC_PI_4 + latitude.to_radians() / 2.0).tan();
        let cosine = |latitude: f64| latitude.to_radians().cos();
        let n = if (first - second).abs() < TANGENT {
            first.to_radians().sin()
        } else {
            (cosine(first) / cosine(second)).ln() / (half(second) / half(first)).ln()
        };
        let f = radius * cosine(first) * half(first).powf(n) / n;
        Ok(Cone { n, f, rho_origin: f * half(latitude_origin).powf(-n), longitude_origin, radius })
    }

    fn rho(&self, latitude: f64) -> f64 {
        if latitude * self.n.signum() >= 90.0 {
            return 0.0;
        }
        self.f * (FRAC_PI_4 + latitude.to_radians() / 2.0).tan().powf(-self.n)
    }

    fn forward(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        if latitude * self.n.signum() <= -90.0 {
            return None;
        }
        let rho = self.rho(latitude);
        let theta = self.n * wrap_longitude(longitude - self.longitude_origin).to_radians();
        Some((rho * theta.sin(), self.rho_origin - rho * theta.cos()))
    }

    fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let sign = self.n.signum();
        let up = self.rho_origin - y;
        let rho = sign * x.hypot(up);
        let theta = (sign * x).atan2(sign * up);
        if theta.abs() > self.n.abs() * std::f64::consts::PI || rho.is_nan() {
            return None;
        }
        let latitude =
            if rho == 0.0 { sign * FRAC_PI_2 } else { 2.0 * (self.f / rho).powf(1.0 / self.n).atan() - FRAC_PI_2 };
        Some((latitude.to_degrees(), self.longitude_origin + (theta / self.n).to_degrees()))
    }

    /// 1 / k², with k = n ρ / (R cos φ) and cos φ = 2 t / (1 + t²) for t = tan(π/4 + φ/2).
    fn area_scale(&self, x: f64, y: f64) -> Option<f64> {
        let rho = self.n.signum() * x.hypot(self.rho_origin - y);
        let t = (self.f / rho).powf(1.0 / self.n);
        let k = self.n * rho * (1.0 + t * t) / (2.0 * t * self.radius);
        k.is_normal().then(|| k.powi(-2))
    }
}

/// Lambert azimuthal equal-area on a sphere, oblique.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Azimuthal {
    sine: f64,
    cosine: f64,
    longitude_origin: f64,
    radius: f64,
}

impl Azimuthal {
    fn new(latitude_origin: f64, longitude_origin: f64, radius: f64) -> Result<Self, String> {
        if !(latitude_origin.abs() <= 90.0 && longitude_origin.is_finite()) {
            return Err("the centre's latitude must lie in −90°..90°".into());
        }
        let (sine, cosine) = latitude_origin.to_radians().sin_cos();
        Ok(Azimuthal { sine, cosine, longitude_origin, radius })
    }

    fn forward(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        let (sine, cosine) = latitude.to_radians().sin_cos();
        let (sine_east, cosine_east) = (longitude - self.longitude_origin).to_radians().sin_cos();
        let closeness = 1.0 + self.sine * sine + self.cosine * cosine * cosine_east;
        if closeness < 1e-12 {
            return None;
        }
        let k = self.radius * (2.0 / closeness).sqrt();
        Some((k * cosine * sine_east, k * (self.cosine * sine - self.sine * cosine * cosine_east)))
    }

    fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let rho = x.hypot(y);
        if rho == 0.0 {
            return Some((self.sine.atan2(self.cosine).to_degrees(), self.longitude_origin));
        }
        if rho.is_nan() || rho > 2.0 * self.radius {
            return None;
        }
        let (sine, cosine) = (2.0 * (rho / (2.0 * self.radius)).asin()).sin_cos();
        let latitude = (cosine * self.sine + y * sine * self.cosine / rho).clamp(-1.0, 1.0).asin();
        let east = (x * sine).atan2(rho * self.cosine * cosine - y * self.sine * sine);
        Some((latitude.to_degrees(), self.longitude_origin + east.to_degrees()))
    }

    /// From the derivatives of x and y along the meridian.
    fn convergence(&self, latitude: f64, longitude: f64) -> f64 {
        let (sine, cosine) = latitude.to_radians().sin_cos();
        let (sine_east, cosine_east) = (longitude - self.longitude_origin).to_radians().sin_cos();
        let closeness = 1.0 + self.sine * sine + self.cosine * cosine * cosine_east;
        let growth = -0.5 * (self.sine * cosine - self.cosine * sine * cosine_east) / closeness;
        let dx = growth * cosine * sine_east - sine * sine_east;
        let dy = growth * (self.cosine * sine - self.sine * cosine * cosine_east)
            + self.cosine * cosine
            + self.sine * sine * cosine_east;
        (-dx).atan2(dy)
    }
}

#[cfg(test)]
mod tests {
    use proj4rs::proj::Proj;

    use super::*;

    /// Radius of the HRRR sphere in metres.
    const RADIUS: f64 = 6_371_229.0;

    fn lambert(latitude_origin: f64, parallels: [f64; 2], longitude_origin: f64) -> Projection {
        Projection::Lambert { latitude_origin, parallels, longitude_origin }
    }

    fn cases() -> Vec<(Projection, String)> {
        let sphere = format!("+R={RADIUS} +units=m +no_defs");
        vec![
            (
                lambert(38.5, [38.5, 38.5], 262.5),
                format!("+proj=lcc +lat_0=38.5 +lat_1=38.5 +lat_2=38.5 +lon_0=-97.5 {sphere}"),
            ),
            (
                lambert(25.0, [33.0, 45.0], -95.0),
                format!("+proj=lcc +lat_0=25 +lat_1=33 +lat_2=45 +lon_0=-95 {sphere}"),
            ),
            (
                lambert(-30.0, [-25.0, -40.0], 20.0),
                format!("+proj=lcc +lat_0=-30 +lat_1=-25 +lat_2=-40 +lon_0=20 {sphere}"),
            ),
            (
                Projection::AzimuthalEqualArea { latitude_origin: 38.0, longitude_origin: -98.0 },
                format!("+proj=laea +lat_0=38 +lon_0=-98 {sphere}"),
            ),
        ]
    }

    #[test]
    fn both_ways_agree_with_proj4rs_to_a_micrometre_and_return() {
        for (projection, text) in cases() {
            let map = Map::new(projection, RADIUS).expect("a map");
            let proj = Proj::from_proj_string(&text).expect("a projection");
            let degrees = Proj::from_proj_string(&format!("+proj=longlat +R={RADIUS} +no_defs")).expect("degrees");
            for (latitude, longitude) in [(21.1, -122.7), (-33.3, 18.4), (47.8, -60.9), (38.5, -97.5), (60.0, 100.0)] {
                let (x, y) = map.forward(latitude, longitude).expect("on the map");
                let mut point = (f64::to_radians(longitude), f64::to_radians(latitude), 0.0);
                proj4rs::transform::transform(&degrees, &proj, &mut point).expect("on the map");
                assert!((x - point.0).abs() < 1e-6 && (y - point.1).abs() < 1e-6, "{text}: {x} {y} {point:?}");
                let (back_latitude, back_longitude) = map.inverse(x, y).expect("on the map");
                assert!((back_latitude - latitude).abs() < 1e-9 && (back_longitude - longitude).abs() < 1e-9, "{text}");
            }
        }
    }

    #[test]
    fn convergence_is_the_direction_of_a_small_step_north() {
        for (projection, text) in cases() {
            let map = Map::new(projection, RADIUS).expect("a map");
            for (latitude, longitude) in [(21.1, -122.7), (-33.3, 18.4), (47.8, -60.9)] {
                let (x, y) = map.forward(latitude - 1e-5, longitude).expect("on the map");
                let (north_x, north_y) = map.forward(latitude + 1e-5, longitude).expect("on the map");
                let expected = (x - north_x).atan2(north_y - y);
                assert!(
                    (map.convergence(latitude, longitude) - expected).abs() < 1e-7,
                    "{text} {latitude} {longitude}"
                );
            }
        }
    }

    #[test]
    fn what_makes_no_map_is_refused_with_its_reason() {
        for projection in [
            lambert(38.5, [30.0, -30.0], 0.0),
            lambert(38.5, [90.0, 90.0], 0.0),
            lambert(f64::NAN, [30.0, 30.0], 0.0),
            Projection::AzimuthalEqualArea { latitude_origin: 91.0, longitude_origin: 0.0 },
        ] {
            assert!(
                matches!(Map::new(projection, RADIUS), Err(GridError::Projection(_, reason)) if reason.contains("must"))
            );
        }
        assert!(Map::new(Projection::LatLon, 0.0).is_err());
    }

    #[test]
    fn places_off_the_map_have_no_answer() {
        let cone = Map::new(lambert(38.5, [38.5, 38.5], 262.5), RADIUS).expect("a map");
        assert_eq!(cone.forward(-90.0, 0.0), None);
        assert_eq!(cone.forward(f64::NAN, 0.0), None);
        assert_eq!(cone.inverse(0.0, 4e7), None);
        let disc = Map::new(Projection::AzimuthalEqualArea { latitude_origin: 0.0, longitude_origin: 0.0 }, RADIUS);
        let disc = disc.expect("a map");
        assert_eq!(disc.forward(0.0, 180.0), None);
        assert_eq!(disc.inverse(2.1 * RADIUS, 0.0), None);
        assert_eq!(disc.inverse(0.0, 0.0), Some((0.0, 0.0)));
    }
}
