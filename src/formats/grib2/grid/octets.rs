//! Section 3 for a grid, octet by octet as NCEP writes HRRR's where the grid is HRRR's.

use crate::domain::{Grid, Projection};

use super::super::encode::signed;
use super::scanning::{X_NEGATIVE, Y_POSITIVE};
use super::{MICRODEGREE, MILLIMETRE, RADIUS_0, RADIUS_6, RADIUS_8};

/// Increments are given, wind components are along the grid's axes.
const LAT_LON_FLAGS: u8 = 0x30;
/// Wind components are along the grid's axes.
const GRID_RELATIVE: u8 = 0x08;
/// The south pole is on the projection plane.
const SOUTH: u8 = 0x80;
/// The first octet after the section's length and number.
const FIRST_OCTET: usize = 6;
/// Decimal places of a radius that is none of the standard's.
const RADIUS_DIGITS: u8 = 2;

/// Section 3 without its length and number; the error says what a message cannot hold.
///
/// `grid_relative` says whether wind components are along the grid's axes instead of east and north.
pub(in super::super) fn octets(grid: &Grid, grid_relative: bool) -> Result<Vec<u8>, String> {
    let points = u32::try_from(grid.nx * grid.ny).map_err(|_| "more points than 32 bits count".to_string())?;
    let (template, content) = match grid.projection {
        Projection::LatLon => (0u16, lat_lon(grid)?),
        Projection::Lambert { latitude_origin, parallels, longitude_origin } => {
            (30, lambert(grid, latitude_origin, parallels, longitude_origin)?)
        }
        Projection::AzimuthalEqualArea { .. } => {
            return Err("its grid is azimuthal equal-area; expected lat-lon or Lambert conformal".into());
        }
    };
    let mut octets = vec![0];
    octets.extend_from_slice(&points.to_be_bytes());
    octets.extend_from_slice(&[0, 0]);
    octets.extend_from_slice(&template.to_be_bytes());
    octets.extend_from_slice(&sphere(grid.radius_m));
    octets.extend_from_slice(&(grid.nx as u32).to_be_bytes());
    octets.extend_from_slice(&(grid.ny as u32).to_be_bytes());
    octets.extend_from_slice(&content);
    let flags = octets.get_mut(flags_octet(template) - FIRST_OCTET).filter(|_| !grid_relative);
    flags.into_iter().for_each(|flags| *flags &= !GRID_RELATIVE);
    Ok(octets)
}

/// Shape of the earth: a code of table 3.2, or a radius of its own.
fn sphere(radius_m: f64) -> [u8; 16] {
    let mut octets = [0; 16];
    let [shape, factor, value @ ..] = &mut octets;
    match radius_m {
        RADIUS_0 => *shape = 0,
        RADIUS_6 => *shape = 6,
        RADIUS_8 => *shape = 8,
        _ => {
            let scaled = (radius_m * 10f64.powi(RADIUS_DIGITS.into())).round() as u32;
            (*shape, *factor) = (1, RADIUS_DIGITS);
            value.iter_mut().zip(scaled.to_be_bytes()).for_each(|(to, from)| *to = from);
        }
    }
    octets
}

/// Where the resolution and component flags are (flag table 3.3).
fn flags_octet(template: u16) -> usize {
    if matches!(template, 0 | 1 | 40) { 55 } else { 47 }
}

fn scanning(grid: &Grid) -> u8 {
    (if grid.dx < 0.0 { X_NEGATIVE } else { 0 }) | if grid.dy > 0.0 { Y_POSITIVE } else { 0 }
}

fn latitude(degrees: f64) -> [u8; 4] {
    signed((degrees / MICRODEGREE).round())
}

/// A longitude from 0 up to 360.
fn longitude(degrees: f64) -> [u8; 4] {
    let turn = 360.0 / MICRODEGREE;
    signed((degrees / MICRODEGREE).round().rem_euclid(turn))
}

/// A length without its sign as an unsigned number of `unit`.
fn increment(length: f64, unit: f64) -> Result<[u8; 4], String> {
    match (length.abs() / unit).round() {
        scaled if (1.0..f64::from(u32::MAX)).contains(&scaled) => Ok((scaled as u32).to_be_bytes()),
        scaled => Err(format!("a grid step of {scaled} units of {unit}; expected 1 to {}", u32::MAX)),
    }
}

fn lat_lon(grid: &Grid) -> Result<Vec<u8>, String> {
    let (x, y) = grid.xy(grid.nx.saturating_sub(1), grid.ny.saturating_sub(1));
    Ok([
        &[0; 4][..],
        &[u8::MAX; 4],
        &latitude(grid.y0),
        &longitude(grid.x0),
        &[LAT_LON_FLAGS | GRID_RELATIVE],
        &latitude(y),
        &longitude(x),
        &increment(grid.dx, MICRODEGREE)?,
        &increment(grid.dy, MICRODEGREE)?,
        &[scanning(grid)],
    ]
    .concat())
}

fn lambert(grid: &Grid, origin: f64, parallels: [f64; 2], meridian: f64) -> Result<Vec<u8>, String> {
    let first = grid.to_geographic(grid.x0, grid.y0).ok_or("its first point is nowhere on the globe")?;
    Ok([
        &latitude(first.0)[..],
        &longitude(first.1),
        &[GRID_RELATIVE],
        &latitude(origin),
        &longitude(meridian),
        &increment(grid.dx, MILLIMETRE)?,
        &increment(grid.dy, MILLIMETRE)?,
        &[if parallels[0] < 0.0 { SOUTH } else { 0 }, scanning(grid)],
        &latitude(parallels[0]),
        &latitude(parallels[1]),
        &[0; 8],
    ]
    .concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 3 of an HRRR message from octet 6 on, as NCEP publishes it.
    const HRRR: [u8; 76] = [
        0, 0, 0x1d, 0x11, 0xf5, 0, 0, 0, 30, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 7, 0, 0, 4, 0x23,
        1, 0x42, 0x8a, 0xcb, 0x0e, 0x24, 0x9c, 0xd8, 8, 2, 0x4b, 0x76, 0xa0, 0x0f, 0xa5, 0x6e, 0xa0, 0, 0x2d, 0xc6,
        0xc0, 0, 0x2d, 0xc6, 0xc0, 0, 0x40, 2, 0x4b, 0x76, 0xa0, 2, 0x4b, 0x76, 0xa0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn the_hrrr_grid_is_written_as_ncep_writes_it() {
        let projection =
            Projection::Lambert { latitude_origin: 38.5, parallels: [38.5, 38.5], longitude_origin: 262.5 };
        let first = (21.138123, 237.280472);
        let grid = Grid::anchored(projection, RADIUS_6, first, (1799, 1059), (3000.0, 3000.0)).expect("a grid");
        assert_eq!(octets(&grid, true), Ok(HRRR.to_vec()));
    }

    #[test]
    fn what_a_message_cannot_hold_is_refused() {
        let projection = Projection::AzimuthalEqualArea { latitude_origin: 38.0, longitude_origin: -98.0 };
        let grid = Grid { projection, radius_m: 6_370_997.0, nx: 2, ny: 2, x0: 0.0, y0: 0.0, dx: 1e3, dy: 1e3 };
        assert!(octets(&grid, true).is_err());
        assert!(octets(&Grid { projection: Projection::LatLon, dx: 1e-9, ..grid }, true).is_err());
    }
}
