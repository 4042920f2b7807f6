//! Grid definitions (section 3): lat-lon (3.0) and Lambert conformal (3.30), from octets and to octets.

use std::sync::Arc;

use crate::domain::{Grid, Projection};

use super::Grib2Error;
use super::section::Section;

pub(super) mod octets;
pub(super) mod scanning;

use scanning::Scanning;

/// More points than any grid in operation has; refuses lengths that damage made up.
const MAX_POINTS: usize = 1 << 28;
/// Octets of a number that is not given.
const MISSING: u32 = u32::MAX;
/// Angles are in millionths of a degree.
pub(super) const MICRODEGREE: f64 = 1e-6;
/// Lambert increments are in millimetres.
pub(super) const MILLIMETRE: f64 = 1e-3;
/// Radius of the sphere of code 0 of table 3.2, in metres.
pub(super) const RADIUS_0: f64 = 6_367_470.0;
/// Radius of the sphere of code 6, in metres.
pub(super) const RADIUS_6: f64 = 6_371_229.0;
/// Radius of the sphere of code 8, in metres.
pub(super) const RADIUS_8: f64 = 6_371_200.0;

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

/// A corner of the grid and the way from it.
struct Layout {
    projection: Projection,
    first: (f64, f64),
    size: (usize, usize),
    step: (f64, f64),
    scanning: Scanning,
    flags: u8,
}

/// Reads section 3.
pub(super) fn parse(section: &Section) -> Result<Definition, Grib2Error> {
    let (template, points) = (section.u16(13)?, section.u32(7)? as usize);
    if !(1..=MAX_POINTS).contains(&points) {
        return Err(section.damaged(7, format!("1 to {MAX_POINTS} points, found {points}")));
    }
    match layout(section, template) {
        Ok(layout) => {
            check_points(section, layout.size, points)?;
            let (rows, grid_relative) = (Some((layout.size, layout.scanning)), layout.flags & 0x08 != 0);
            Ok(Definition { template, points, rows, grid_relative, grid: layout.grid(section).map(Arc::new) })
        }
        Err(error @ Grib2Error::Unsupported { .. }) => {
            Ok(Definition { template, points, rows: None, grid_relative: false, grid: Err(error) })
        }
        Err(error) => Err(error),
    }
}

fn layout(section: &Section, template: u16) -> Result<Layout, Grib2Error> {
    if section.u8(6)? != 0 || section.u8(11)? != 0 {
        return Err(section.unsupported("a predefined or quasi-regular grid", "rows of equal length"));
    }
    match template {
        0 => lat_lon(section),
        30 => lambert(section),
        other => {
            let what = format!("grid template 3.{other}");
            Err(section.unsupported(what, "3.0 (lat-lon) or 3.30 (Lambert conformal)"))
        }
    }
}

fn check_points(section: &Section, (nx, ny): (usize, usize), points: usize) -> Result<(), Grib2Error> {
    match nx.checked_mul(ny) {
        Some(product) if product == points => Ok(()),
        _ => Err(section.damaged(7, format!("as many points as {nx}×{ny}, found {points}"))),
    }
}

impl Layout {
    fn grid(&self, section: &Section) -> Result<Grid, Grib2Error> {
        let radius = radius_m(section)?;
        let sign = |positive: bool, step: f64| if positive { step } else { -step };
        let step = (sign(!self.scanning.x_negative, self.step.0), sign(self.scanning.y_positive, self.step.1));
        let grid = Grid::anchored(self.projection, radius, self.first, self.size, step)
            .map_err(|e| section.damaged(15, format!("a usable grid: {e}")))?;
        Ok(eastward(grid))
    }
}

/// The same points with rows along +x.
fn eastward(grid: Grid) -> Grid {
    if grid.dx > 0.0 {
        return grid;
    }
    Grid { x0: grid.x0 + grid.dx * (grid.nx - 1) as f64, dx: -grid.dx, ..grid }
}

/// Radius of the sphere (code table 3.2).
fn radius_m(section: &Section) -> Result<f64, Grib2Error> {
    match section.u8(15)? {
        0 => Ok(RADIUS_0),
        6 => Ok(RADIUS_6),
        8 => Ok(RADIUS_8),
        1 => match f64::from(section.u32(17)?) * 10f64.powi(-section.i8(16)?) {
            radius if radius > 0.0 => Ok(radius),
            radius => Err(section.damaged(16, format!("a radius in metres, found {radius}"))),
        },
        other => Err(section.unsupported(format!("earth shape {other}"), "a sphere (shapes 0, 1, 6, 8)")),
    }
}

fn lambert(section: &Section) -> Result<Layout, Grib2Error> {
    let angle = |octet| section.i32(octet).map(|v| v as f64 * MICRODEGREE);
    let length = |octet| section.u32(octet).map(|v| f64::from(v) * MILLIMETRE);
    if section.u8(64)? & 0x40 != 0 {
        return Err(section.unsupported("a bipolar projection", "one projection centre"));
    }
    let projection = Projection::Lambert {
        latitude_origin: angle(48)?,
        parallels: [angle(66)?, angle(70)?],
        longitude_origin: angle(52)?,
    };
    Ok(Layout {
        projection,
        first: (angle(39)?, angle(43)?),
        size: (section.u32(31)? as usize, section.u32(35)? as usize),
        step: (length(56)?, length(60)?),
        scanning: Scanning::parse(section, 65)?,
        flags: section.u8(47)?,
    })
}

fn lat_lon(section: &Section) -> Result<Layout, Grib2Error> {
    let unit = match (section.u32(39)?, section.u32(43)?) {
        (0 | MISSING, _) | (_, 0 | MISSING) => MICRODEGREE,
        (basic, subdivisions) => f64::from(basic) / f64::from(subdivisions),
    };
    let angle = |octet| section.i32(octet).map(|v| v as f64 * unit);
    let given = |octet| section.u32(octet).map(|v| Some(f64::from(v) * unit).filter(|_| v != MISSING && v != 0));
    let (nx, ny) = (section.u32(31)?, section.u32(35)?);
    if nx == MISSING || ny == MISSING {
        return Err(section.unsupported("a row of unsaid length", "rows of equal length"));
    }
    let (first, last) = ((angle(47)?, angle(51)?), (angle(56)?, angle(60)?));
    let scanning = Scanning::parse(section, 72)?;
    let eastward = if scanning.x_negative { first.1 - last.1 } else { last.1 - first.1 };
    let span = (eastward.rem_euclid(360.0), (last.0 - first.0).abs());
    let step = (step(span.0, nx, given(64)?), step(span.1, ny, given(68)?));
    let size = (nx as usize, ny as usize);
    Ok(Layout { projection: Projection::LatLon, first, size, step, scanning, flags: section.u8(55)? })
}

/// The step of `count` points over `span` degrees: from the corners, which are exact where a step of 1/24° is
/// not, unless the step that is given leads to another corner.
fn step(span: f64, count: u32, given: Option<f64>) -> f64 {
    let steps = f64::from(count.saturating_sub(1));
    match given {
        Some(given) if steps == 0.0 || (span - given * steps).abs() > given / 2.0 => given,
        // One row or column without a step: any step describes it.
        None if steps == 0.0 => 1.0,
        _ => span / steps,
    }
}
