//! Between longitude and latitude on the earth and the plane of a map.
//!
//! Formulas and their numbers are those of J. P. Snyder, "Map Projections: A Working Manual" (1987), USGS Professional
//! Paper 1395.

use serde::{Deserialize, Serialize};

use super::GridError;

mod albers;
mod azimuthal;
mod cone;
mod earth;
mod fan;
mod gaussian;
mod mercator;
mod rotated;

use albers::Albers;
use azimuthal::Azimuthal;
use cone::Cone;
pub use earth::Earth;
use gaussian::Gaussian;
use mercator::Mercator;
use rotated::Rotated;

/// How a grid's plane relates to the earth. Angles are degrees, longitudes east.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Projection {
    /// The plane is longitude and latitude themselves, in degrees.
    LatLon,
    /// The plane is longitude and latitude in degrees on a globe whose poles are elsewhere.
    RotatedLatLon {
        /// Latitude and longitude on the earth of the turned globe's southern pole. Its point 0° N 0° E lies on the
        /// meridian of that pole.
        south_pole: [f64; 2],
    },
    /// The plane is longitude in degrees and the number of a Gaussian row, from the southernmost, 0, northwards.
    Gaussian {
        /// Rows from pole to pole: 2 N.
        rows: u32,
    },
    /// Mercator; x is 0 at Greenwich, y at the equator.
    Mercator {
        /// The parallels on which a step in the plane is as long on the earth: this one and the one opposite.
        latitude_true_scale: f64,
    },
    /// Polar stereographic.
    PolarStereographic {
        /// The pole: 90 or −90.
        latitude_origin: f64,
        /// The parallel on which a step in the plane is as long on the earth.
        latitude_true_scale: f64,
        /// The meridian that runs along the y axis.
        longitude_origin: f64,
    },
    /// Lambert conformal conic.
    Lambert {
        /// Latitude of the projection's origin.
        latitude_origin: f64,
        /// Standard parallels; equal for a tangent cone.
        parallels: [f64; 2],
        /// The meridian parallel to the y axis.
        longitude_origin: f64,
    },
    /// Albers equal-area conic.
    Albers {
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
#[derive(Clone, Debug)]
pub(crate) struct Map {
    earth: Earth,
    plane: Plane,
}

#[derive(Clone, Debug)]
enum Plane {
    LatLon,
    Rotated(Rotated),
    Gaussian(Gaussian),
    Mercator(Mercator),
    /// Lambert conformal conic and polar stereographic.
    Cone(Cone),
    Albers(Albers),
    Azimuthal(Azimuthal),
}

impl Plane {
    fn new(projection: Projection, earth: Earth) -> Result<Self, String> {
        match projection {
            Projection::LatLon => Ok(Plane::LatLon),
            Projection::RotatedLatLon { south_pole } => Rotated::new(south_pole).map(Plane::Rotated),
            Projection::Gaussian { rows } => Gaussian::new(rows).map(Plane::Gaussian),
            Projection::Mercator { latitude_true_scale } => {
                Mercator::new(latitude_true_scale, earth).map(Plane::Mercator)
            }
            Projection::PolarStereographic { latitude_origin, latitude_true_scale, longitude_origin } => {
                Cone::polar(latitude_origin, latitude_true_scale, longitude_origin, earth).map(Plane::Cone)
            }
            Projection::Lambert { latitude_origin, parallels, longitude_origin } => {
                Cone::lambert(latitude_origin, parallels, longitude_origin, earth).map(Plane::Cone)
            }
            Projection::Albers { latitude_origin, parallels, longitude_origin } => {
                Albers::new(latitude_origin, parallels, longitude_origin, earth).map(Plane::Albers)
            }
            Projection::AzimuthalEqualArea { latitude_origin, longitude_origin } => {
                Azimuthal::new(latitude_origin, longitude_origin, earth).map(Plane::Azimuthal)
            }
        }
    }
}

impl Map {
    /// Works out a projection's constants on an earth; fails where they make no map.
    pub(crate) fn new(projection: Projection, earth: Earth) -> Result<Self, GridError> {
        let refuse = |reason| GridError::Projection(format!("{projection:?}"), reason);
        if let Some(reason) = earth.refusal() {
            return Err(refuse(reason));
        }
        let plane = Plane::new(projection, earth).map_err(refuse)?;
        Ok(Map { earth, plane })
    }

    /// The earth the map is of.
    pub(crate) fn earth(&self) -> Earth {
        self.earth
    }

    /// The place in the plane, in metres (degrees for lat-lon); `None` where the map does not show it.
    pub(crate) fn forward(&self, latitude: f64, longitude: f64) -> Option<(f64, f64)> {
        if !(latitude.abs() <= 90.0 && longitude.is_finite()) {
            return None;
        }
        match &self.plane {
            Plane::LatLon => Some((wrap_longitude(longitude), latitude)),
            Plane::Rotated(rotated) => Some(rotated.forward(latitude, longitude)),
            Plane::Gaussian(gaussian) => Some((wrap_longitude(longitude), gaussian.row(latitude)?)),
            Plane::Mercator(mercator) => mercator.forward(latitude, longitude),
            Plane::Cone(cone) => cone.forward(latitude, longitude),
            Plane::Albers(albers) => Some(albers.forward(latitude, longitude)),
            Plane::Azimuthal(azimuthal) => azimuthal.forward(latitude, longitude),
        }
    }

    /// Latitude and longitude (−180..180) of a place in the plane; `None` off the map.
    pub(crate) fn inverse(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let (latitude, longitude) = match &self.plane {
            Plane::LatLon => (y.abs() <= 90.0).then_some((y, x)),
            Plane::Rotated(rotated) => rotated.inverse(x, y),
            Plane::Gaussian(gaussian) => gaussian.latitude(y).map(|latitude| (latitude, x)),
            Plane::Mercator(mercator) => Some(mercator.inverse(x, y)),
            Plane::Cone(cone) => cone.inverse(x, y),
            Plane::Albers(albers) => albers.inverse(x, y),
            Plane::Azimuthal(azimuthal) => azimuthal.inverse(x, y),
        }?;
        longitude.is_finite().then(|| (latitude, wrap_longitude(longitude)))
    }

    /// y cut at the poles where the plane's rows end there: half a cell may reach beyond.
    pub(crate) fn within(&self, y: f64) -> f64 {
        match &self.plane {
            Plane::LatLon | Plane::Rotated(_) => y.clamp(-90.0, 90.0),
            Plane::Gaussian(gaussian) => gaussian.clamp(y),
            _ => y,
        }
    }

    /// How far x goes once around the globe, where x is a longitude (on a turned globe or not).
    pub(crate) fn turn(&self) -> Option<f64> {
        match &self.plane {
            Plane::LatLon | Plane::Rotated(_) | Plane::Gaussian(_) => Some(360.0),
            Plane::Mercator(mercator) => Some(mercator.turn()),
            Plane::Cone(_) | Plane::Albers(_) | Plane::Azimuthal(_) => None,
        }
    }

    /// Sine of the latitude of the parallel at y, cut at the poles, on maps with a [`Map::turn`]; turned latitudes on a
    /// turned globe. With x it makes an equal-area plane of a sphere.
    pub(crate) fn sine(&self, y: f64) -> Option<f64> {
        let y = self.within(y);
        let latitude = match &self.plane {
            Plane::LatLon | Plane::Rotated(_) => y,
            Plane::Gaussian(gaussian) => gaussian.latitude(y)?,
            Plane::Mercator(mercator) => mercator.latitude(y),
            Plane::Cone(_) | Plane::Albers(_) | Plane::Azimuthal(_) => return None,
        };
        Some(latitude.to_radians().sin())
    }

    /// Square metres of the earth for one unit of radians of x times [`Map::sine`], on maps that have one.
    pub(crate) fn element_m2(&self, x: f64, sine: f64) -> Option<f64> {
        match &self.plane {
            Plane::Rotated(rotated) if !self.earth.is_sphere() => {
                let latitude = rotated.inverse(x, sine.clamp(-1.0, 1.0).asin().to_degrees())?.0;
                Some(self.earth.element_m2(latitude.to_radians().sin()))
            }
            _ => Some(self.earth.element_m2(sine)),
        }
    }

    /// The angle in radians at the earth's centre of the longer of two steps along x and y, roughly.
    pub(crate) fn angle(&self, dx: f64, dy: f64) -> f64 {
        let (dx, dy) = (dx.abs(), dy.abs());
        match &self.plane {
            Plane::LatLon | Plane::Rotated(_) => dx.max(dy).to_radians(),
            Plane::Gaussian(gaussian) => dx.max(dy * gaussian.slope(0.0).unwrap_or(0.0)).to_radians(),
            _ => dx.max(dy) / self.earth.radius_m,
        }
    }

    /// Angle in radians from true north to the plane's y axis, clockwise: positive where north points left of +y.
    pub(crate) fn convergence(&self, latitude: f64, longitude: f64) -> f64 {
        match &self.plane {
            Plane::LatLon | Plane::Gaussian(_) | Plane::Mercator(_) => 0.0,
            Plane::Rotated(rotated) => rotated.convergence(latitude, longitude),
            Plane::Cone(cone) => cone.convergence(longitude),
            Plane::Albers(albers) => albers.convergence(longitude),
            Plane::Azimuthal(azimuthal) => azimuthal.convergence(latitude, longitude),
        }
    }

    /// Square metres of the earth for one unit of the plane's area at a place; `None` off the map.
    pub(crate) fn area_scale(&self, x: f64, y: f64) -> Option<f64> {
        let degree = 1_f64.to_radians();
        let square_degree = |y: f64| Some((self.element_m2(x, y.sin())? * degree.powi(2)) * y.cos().max(0.0));
        match &self.plane {
            Plane::LatLon | Plane::Rotated(_) => square_degree(y.to_radians()),
            Plane::Gaussian(gaussian) => Some(square_degree(gaussian.latitude(y)?.to_radians())? * gaussian.slope(y)?),
            Plane::Mercator(mercator) => mercator.area_scale(y),
            Plane::Cone(cone) => cone.area_scale(x, y),
            Plane::Albers(albers) => albers.area_scale(x, y),
            Plane::Azimuthal(azimuthal) => azimuthal.area_scale(x, y),
        }
    }
}

#[cfg(test)]
mod tests;
