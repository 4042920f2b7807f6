//! Grids in a map's plane: Mercator (3.10), polar stereographic (3.20), Lambert (3.30), Albers (3.31), LAEA (3.140).

use crate::domain::Projection;

use super::super::Grib2Error;
use super::super::section::Section;
use super::{First, Layout, MICRODEGREE, MILLIMETRE, Place, Scanning};

/// The map has two centres.
const BIPOLAR: u8 = 0x40;
/// The south pole is on the projection plane.
pub(super) const SOUTH: u8 = 0x80;

/// Where each template has its numbers.
struct Octets {
    flags: usize,
    step: usize,
    scanning: usize,
}

/// An angle in degrees.
fn angle(section: &Section, octet: usize) -> Result<f64, Grib2Error> {
    section.i32(octet).map(|v| v as f64 * MICRODEGREE)
}

/// Size and first point, which all templates have at the same octets, and the rest at those of the template.
fn layout(section: &Section, octets: Octets, projection: Result<Projection, Grib2Error>) -> Result<Layout, Grib2Error> {
    let length = |octet| section.u32(octet).map(|v| f64::from(v) * MILLIMETRE);
    let first = First::Geographic(angle(section, 39)?, angle(section, 43)?);
    let step = (length(octets.step)?, length(octets.step + 4)?);
    Ok(Layout {
        size: (section.u32(31)? as usize, section.u32(35)? as usize),
        scanning: Scanning::parse(section, octets.scanning)?,
        flags: section.u8(octets.flags)?,
        place: projection.map(|projection| Place { projection, first, step }),
    })
}

pub(super) fn mercator(section: &Section) -> Result<Layout, Grib2Error> {
    let projection = match section.i32(61)? {
        0 => Ok(Projection::Mercator { latitude_true_scale: angle(section, 48)? }),
        turned => {
            let what = format!("a Mercator grid turned by {}°", turned as f64 * MICRODEGREE);
            Err(section.unsupported(what, "rows along the parallels"))
        }
    };
    layout(section, Octets { flags: 47, step: 65, scanning: 60 }, projection)
}

pub(super) fn polar_stereographic(section: &Section) -> Result<Layout, Grib2Error> {
    let pole = if section.u8(64)? & SOUTH == 0 { 90.0 } else { -90.0f64 };
    let projection = Projection::PolarStereographic {
        latitude_origin: pole,
        // Some give it without the south's sign.
        latitude_true_scale: angle(section, 48)?.abs().copysign(pole),
        longitude_origin: angle(section, 52)?,
    };
    layout(section, Octets { flags: 47, step: 56, scanning: 65 }, one_centre(section, projection))
}

pub(super) fn lambert(section: &Section) -> Result<Layout, Grib2Error> {
    let projection = Projection::Lambert {
        latitude_origin: angle(section, 48)?,
        parallels: [angle(section, 66)?, angle(section, 70)?],
        longitude_origin: angle(section, 52)?,
    };
    layout(section, Octets { flags: 47, step: 56, scanning: 65 }, one_centre(section, projection))
}

pub(super) fn albers(section: &Section) -> Result<Layout, Grib2Error> {
    let projection = Projection::Albers {
        latitude_origin: angle(section, 48)?,
        parallels: [angle(section, 66)?, angle(section, 70)?],
        longitude_origin: angle(section, 52)?,
    };
    layout(section, Octets { flags: 47, step: 56, scanning: 65 }, one_centre(section, projection))
}

pub(super) fn azimuthal(section: &Section) -> Result<Layout, Grib2Error> {
    let projection =
        Projection::AzimuthalEqualArea { latitude_origin: angle(section, 47)?, longitude_origin: angle(section, 51)? };
    layout(section, Octets { flags: 55, step: 56, scanning: 64 }, Ok(projection))
}

fn one_centre(section: &Section, projection: Projection) -> Result<Projection, Grib2Error> {
    if section.u8(64)? & BIPOLAR != 0 {
        return Err(section.unsupported("a bipolar projection", "one projection centre"));
    }
    Ok(projection)
}
