//! Where the values of a field are: a regular grid in a map projection on a sphere.

use serde::{Deserialize, Serialize};

/// A grid that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum GridError {
    /// The projection's parameters make no map.
    #[error("the projection {0} makes no map: {1}")]
    Projection(String, String),
    /// No points, or steps that are zero or not finite.
    #[error("a grid needs at least one point and finite non-zero steps, not {0}")]
    Shape(String),
}

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

/// A regular grid: point (i, j) lies at (x0 + i·dx, y0 + j·dy) in the projection's plane; values are stored j-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Grid {
    /// The plane.
    pub projection: Projection,
    /// Radius of the sphere in metres.
    pub radius_m: f64,
    /// Points along x.
    pub nx: usize,
    /// Points along y.
    pub ny: usize,
    /// x of the first point: metres, or degrees for [`Projection::LatLon`].
    pub x0: f64,
    /// y of the first point.
    pub y0: f64,
    /// Step along x; never zero.
    pub dx: f64,
    /// Step along y; negative where rows run north to south.
    pub dy: f64,
}
