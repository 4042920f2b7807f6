//! Grid definitions (section 3), from octets and to octets: rows of equal length on a sphere or an ellipsoid.

use std::sync::Arc;

use crate::domain::{Earth, Grid, Projection};

use super::Grib2Error;
use super::section::Section;

mod earth;
mod latlon;
pub(super) mod octets;
mod plane;
pub(super) mod scanning;

use scanning::Scanning;

/// More points than any grid in operation has; refuses lengths that damage made up.
const MAX_POINTS: usize = 1 << 28;
/// Octets of a number that is not given.
const MISSING: u32 = u32::MAX;
/// Angles are in millionths of a degree.
const MICRODEGREE: f64 = 1e-6;
/// Increments in a map's plane are in millimetres.
const MILLIMETRE: f64 = 1e-3;
/// Wind components are along the grid's axes (flag table 3.3).
const GRID_RELATIVE: u8 = 0x08;

/// What section 3 says.
#[derive(Clone, Debug)]
pub(super) struct Definition {
    pub(super) template: u16,
    /// Points of the grid.
    pub(super) points: usize,
    /// Points of a row and rows, and the order of the points, where they are known.
    pub(super) rows: Option<((usize, usize), Scanning)>,
    /// Wind components are along the grid's axes.
    pub(super) grid_relative: bool,
    /// Where the points are, or why that is not known.
    pub(super) grid: Result<Arc<Grid>, Grib2Error>,
}

/// Rows of equal length and their order, and where they lie.
struct Layout {
    size: (usize, usize),
    scanning: Scanning,
    flags: u8,
    place: Result<Place, Grib2Error>,
}

/// A corner of the grid and the way from it.
struct Place {
    projection: Projection,
    first: First,
    /// Without their signs, which the scanning mode gives.
    step: (f64, f64),
}

/// The first point.
#[derive(Clone, Copy)]
enum First {
    /// Latitude and longitude in degrees.
    Geographic(f64, f64),
    /// x and y.
    Plane(f64, f64),
}

/// Reads section 3. Where the template is not understood, or where its points are, the values can still be had.
pub(super) fn parse(section: &Section) -> Result<Definition, Grib2Error> {
    let (template, points) = (section.u16(13)?, section.u32(7)? as usize);
    if !(1..=MAX_POINTS).contains(&points) {
        return Err(section.damaged(7, format!("1 to {MAX_POINTS} points, found {points}")));
    }
    match layout(section, template) {
        Ok(layout) => {
            check_points(section, layout.size, points)?;
            let (rows, grid_relative) = (Some((layout.size, layout.scanning)), layout.flags & GRID_RELATIVE != 0);
            Ok(Definition { template, points, rows, grid_relative, grid: layout.grid(section).map(Arc::new) })
        }
        Err(error @ Grib2Error::Unsupported { .. }) => {
            Ok(Definition { template, points, rows: None, grid_relative: false, grid: Err(error) })
        }
        Err(error) => Err(error),
    }
}

fn layout(section: &Section, template: u16) -> Result<Layout, Grib2Error> {
    if section.u8(6)? != 0 {
        return Err(section.unsupported("a predefined grid", "a grid defined in section 3"));
    }
    if section.u8(11)? != 0 {
        return Err(section.unsupported("a reduced grid", "rows of equal length"));
    }
    match template {
        0 => latlon::regular(section),
        1 => latlon::rotated(section),
        10 => plane::mercator(section),
        20 => plane::polar_stereographic(section),
        30 => plane::lambert(section),
        31 => plane::albers(section),
        40 => latlon::gaussian(section),
        140 => plane::azimuthal(section),
        other => {
            let what = format!("grid template 3.{other}{}", name(other));
            Err(section.unsupported(what, "3.0, 3.1, 3.10, 3.20, 3.30, 3.31, 3.40 or 3.140"))
        }
    }
}

/// What templates are called that are not read (code table 3.1).
fn name(template: u16) -> &'static str {
    match template {
        2 => " (stretched lat-lon)",
        3 => " (stretched and rotated lat-lon)",
        4 | 5 => " (variable resolution lat-lon)",
        12 => " (transverse Mercator)",
        41 => " (rotated Gaussian)",
        50..=53 | 61..=63 => " (spherical harmonics)",
        90 => " (space view)",
        100 => " (triangles of an icosahedron)",
        101 => " (unstructured)",
        150 => " (HEALPix)",
        _ => "",
    }
}

fn check_points(section: &Section, (nx, ny): (usize, usize), points: usize) -> Result<(), Grib2Error> {
    match nx.checked_mul(ny) {
        Some(product) if product == points => Ok(()),
        _ => Err(section.damaged(7, format!("as many points as {nx}×{ny}, found {points}"))),
    }
}

impl Layout {
    fn grid(self, section: &Section) -> Result<Grid, Grib2Error> {
        let Place { projection, first, step } = self.place?;
        let sign = |positive: bool, step: f64| if positive { step } else { -step };
        let (dx, dy) = (sign(!self.scanning.x_negative, step.0), sign(self.scanning.y_positive, step.1));
        let (earth, (nx, ny)) = (earth::parse(section)?, self.size);
        let grid = match first {
            First::Geographic(latitude, longitude) => {
                Grid::anchored(projection, earth, (latitude, longitude), self.size, (dx, dy))
            }
            First::Plane(x0, y0) => {
                let grid = Grid { projection, earth, nx, ny, x0, y0, dx, dy };
                grid.check().map(|()| grid)
            }
        };
        grid.map(eastward).map_err(|e| section.damaged(15, format!("a usable grid: {e}")))
    }
}

/// All rows from pole to pole of a projection whose y counts rows.
fn rows(section: &Section, projection: Projection, earth: Earth) -> Result<Grid, Grib2Error> {
    let rows = Grid { projection, earth, nx: 1, ny: 1, x0: 0.0, y0: 0.0, dx: 1.0, dy: 1.0 };
    rows.check().map_err(|e| section.damaged(68, format!("a usable grid: {e}")))?;
    Ok(rows)
}

/// The same points with rows along +x.
fn eastward(grid: Grid) -> Grid {
    if grid.dx > 0.0 {
        return grid;
    }
    Grid { x0: grid.x0 + grid.dx * (grid.nx - 1) as f64, dx: -grid.dx, ..grid }
}
