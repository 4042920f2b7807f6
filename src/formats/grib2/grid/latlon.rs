//! Grids of longitudes and latitudes: regular (3.0), on a turned globe (3.1) and with Gaussian rows (3.40).

use crate::domain::Projection;

use super::super::Grib2Error;
use super::super::section::Section;
use super::{First, Layout, MICRODEGREE, MISSING, Place, Scanning};

/// How far, in degrees, the first row may lie from a Gaussian latitude: rows are given in millionths of a degree, by
/// some in thousandths.
const ROW_TOLERANCE: f64 = 1e-3;

/// Units of angle by which two corners may both be rounded.
const CORNER_UNITS: f64 = 2.5;

/// Octets 31 to 72, which the three templates have in common.
struct Corners {
    size: (u32, u32),
    /// Latitude and longitude in degrees.
    first: (f64, f64),
    last: (f64, f64),
    scanning: Scanning,
    flags: u8,
    /// Degrees of one unit of angle.
    unit: f64,
}

impl Corners {
    fn parse(section: &Section) -> Result<Self, Grib2Error> {
        let unit = match (section.u32(39)?, section.u32(43)?) {
            (0 | MISSING, _) | (_, 0 | MISSING) => MICRODEGREE,
            (basic, subdivisions) => f64::from(basic) / f64::from(subdivisions),
        };
        let angle = |octet| section.i32(octet).map(|v| v as f64 * unit);
        let size = (section.u32(31)?, section.u32(35)?);
        if size.0 == MISSING || size.1 == MISSING {
            return Err(section.unsupported("a row of unsaid length", "rows of equal length"));
        }
        Ok(Corners {
            size,
            first: (angle(47)?, angle(51)?),
            last: (angle(56)?, angle(60)?),
            scanning: Scanning::parse(section, 72)?,
            flags: section.u8(55)?,
            unit,
        })
    }

    /// An increment in degrees; `None` where it is missing.
    fn given(&self, section: &Section, octet: usize) -> Result<Option<f64>, Grib2Error> {
        let increment = section.u32(octet)?;
        Ok(Some(f64::from(increment) * self.unit).filter(|_| increment != MISSING && increment != 0))
    }

    /// The step along a row. First and last longitudes that are equal are a turn apart.
    fn step_x(&self, section: &Section) -> Result<f64, Grib2Error> {
        let (first, last) = (self.first.1, self.last.1);
        let eastward = if self.scanning.x_negative { first - last } else { last - first };
        let span = match eastward.rem_euclid(360.0) {
            0.0 => 360.0,
            span => span,
        };
        Ok(step(span, self.size.0, self.given(section, 64)?, CORNER_UNITS * self.unit))
    }

    fn step_y(&self, section: &Section) -> Result<f64, Grib2Error> {
        let span = (self.last.0 - self.first.0).abs();
        Ok(step(span, self.size.1, self.given(section, 68)?, CORNER_UNITS * self.unit))
    }

    fn layout(&self, place: Result<Place, Grib2Error>) -> Layout {
        let size = (self.size.0 as usize, self.size.1 as usize);
        Layout { size, scanning: self.scanning, flags: self.flags, place }
    }
}

/// The step of `count` points over `span` degrees: what is given where it leads to the last corner to within `rounding`
/// of the corners or to quite another one, else from the corners, which are exact where a step of 1/24° is not.
fn step(span: f64, count: u32, given: Option<f64>, rounding: f64) -> f64 {
    let steps = f64::from(count.saturating_sub(1));
    let miss = |given: f64| (span - given * steps).abs();
    match given {
        Some(given) if steps == 0.0 || miss(given) > given / 2.0 || miss(given) <= rounding => given,
        // One row or column without a step: any step describes it.
        None if steps == 0.0 => 1.0,
        _ => span / steps,
    }
}

pub(super) fn regular(section: &Section) -> Result<Layout, Grib2Error> {
    let corners = Corners::parse(section)?;
    let step = (corners.step_x(section)?, corners.step_y(section)?);
    let (latitude, longitude) = corners.first;
    let place = Place { projection: Projection::LatLon, first: First::Geographic(latitude, longitude), step };
    Ok(corners.layout(Ok(place)))
}

pub(super) fn rotated(section: &Section) -> Result<Layout, Grib2Error> {
    let corners = Corners::parse(section)?;
    let step = (corners.step_x(section)?, corners.step_y(section)?);
    let (latitude, longitude) = corners.first;
    let angle = |octet| section.i32(octet).map(|v| v as f64 * MICRODEGREE);
    let (south_pole, turned) = ([angle(73)?, angle(77)?], section.f32(81)?);
    let place = match turned {
        0.0 => Ok(Place {
            projection: Projection::RotatedLatLon { south_pole },
            first: First::Plane(longitude, latitude),
            step,
        }),
        _ => Err(section.unsupported(format!("an angle of rotation of {turned}°"), "an angle of rotation of 0°")),
    };
    Ok(corners.layout(place))
}

pub(super) fn gaussian(section: &Section) -> Result<Layout, Grib2Error> {
    let corners = Corners::parse(section)?;
    let rows = section.u32(68)?.saturating_mul(2);
    let place = corners.step_x(section).and_then(|step| {
        let projection = Projection::Gaussian { rows };
        let row = first_row(section, &corners, projection)?;
        Ok(Place { projection, first: First::Plane(corners.first.1, row), step: (step, 1.0) })
    });
    Ok(corners.layout(place))
}

/// The Gaussian row at the first latitude, where the rest of the rows are Gaussian rows as well.
fn first_row(section: &Section, corners: &Corners, projection: Projection) -> Result<f64, Grib2Error> {
    let rows = super::earth::parse(section).and_then(|earth| super::rows(section, projection, earth))?;
    let row = |latitude: f64| rows.index(latitude, 0.0).map_or(f64::NAN, |(_, row)| row);
    let first = row(corners.first.0).round();
    let near = rows.to_geographic(0.0, first).map_or(f64::INFINITY, |(latitude, _)| latitude);
    if (near - corners.first.0).abs() > ROW_TOLERANCE {
        let found = corners.first.0;
        return Err(section.damaged(47, format!("a Gaussian latitude, the nearest {near:.6}°, found {found}°")));
    }
    let way = if corners.scanning.y_positive { 1.0 } else { -1.0 };
    let last = first + way * (f64::from(corners.size.1) - 1.0);
    if rows.to_geographic(0.0, last).is_none() {
        let expected = format!("as many rows as there are Gaussian latitudes, found {}", corners.size.1);
        return Err(section.damaged(35, expected));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_given_or_that_of_the_corners() {
        // As the MRMS mosaics have them: 299.994998 for 299.995.
        assert_eq!(step(69.989_998, 7000, Some(0.01), 2.5e-6), 0.01);
        // 1/6° as 0.166667°.
        assert_eq!(step(55.0, 331, Some(0.166_667), 2.5e-6), 55.0 / 330.0);
        // Corners that are not those of the grid.
        assert_eq!(step(0.0, 10, Some(0.5), 2.5e-6), 0.5);
        assert_eq!(step(5.0, 11, None, 2.5e-6), 0.5);
        assert_eq!((step(0.0, 1, Some(0.25), 2.5e-6), step(0.0, 1, None, 2.5e-6)), (0.25, 1.0));
    }
}
