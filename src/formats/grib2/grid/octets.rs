//! Section 3 for a grid, octet by octet as NCEP writes HRRR's where the grid is HRRR's.

use crate::domain::{Grid, Projection};

use super::super::encode::signed;
use super::plane::SOUTH;
use super::scanning::{X_NEGATIVE, Y_POSITIVE};
use super::{GRID_RELATIVE, MICRODEGREE, MILLIMETRE, earth};

/// Both increments are given.
const INCREMENTS: u8 = 0x30;
/// The increment along a row is given.
const ROW_INCREMENT: u8 = 0x20;
/// The first octet after the section's length and number.
const FIRST_OCTET: usize = 6;

/// Section 3 without its length and number; the error says what a message cannot hold.
///
/// `grid_relative` says whether wind components are along the grid's axes instead of east and north.
pub(in super::super) fn octets(grid: &Grid, grid_relative: bool) -> Result<Vec<u8>, String> {
    let points = u32::try_from(grid.nx * grid.ny).map_err(|_| "more points than 32 bits count".to_string())?;
    let (template, content) = content(grid)?;
    let mut octets = vec![0];
    octets.extend_from_slice(&points.to_be_bytes());
    octets.extend_from_slice(&[0, 0]);
    octets.extend_from_slice(&template.to_be_bytes());
    octets.extend_from_slice(&earth::octets(grid.earth));
    octets.extend_from_slice(&(grid.nx as u32).to_be_bytes());
    octets.extend_from_slice(&(grid.ny as u32).to_be_bytes());
    octets.extend_from_slice(&content);
    let flags = octets.get_mut(flags_octet(template) - FIRST_OCTET).filter(|_| !grid_relative);
    flags.into_iter().for_each(|flags| *flags &= !GRID_RELATIVE);
    Ok(octets)
}

/// The template's number and its octets from 39 on.
fn content(grid: &Grid) -> Result<(u16, Vec<u8>), String> {
    Ok(match grid.projection {
        Projection::LatLon => (0, lat_lon(grid)?),
        Projection::RotatedLatLon { south_pole } => (1, [lat_lon(grid)?, turn(south_pole)].concat()),
        Projection::Mercator { latitude_true_scale } => (10, mercator(grid, latitude_true_scale)?),
        Projection::PolarStereographic { latitude_origin, latitude_true_scale, longitude_origin } => {
            (20, around(grid, latitude_true_scale, longitude_origin, latitude_origin)?)
        }
        Projection::Lambert { latitude_origin, parallels, longitude_origin } => {
            (30, conic(grid, latitude_origin, parallels, longitude_origin)?)
        }
        Projection::Albers { latitude_origin, parallels, longitude_origin } => {
            (31, conic(grid, latitude_origin, parallels, longitude_origin)?)
        }
        Projection::Gaussian { rows } => (40, gaussian(grid, rows)?),
        Projection::AzimuthalEqualArea { latitude_origin, longitude_origin } => {
            (140, azimuthal(grid, latitude_origin, longitude_origin)?)
        }
    })
}

/// Where the resolution and component flags are (flag table 3.3).
fn flags_octet(template: u16) -> usize {
    if matches!(template, 0 | 1 | 40 | 140) { 55 } else { 47 }
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

/// x and y of the last point.
fn last(grid: &Grid) -> (f64, f64) {
    grid.xy(grid.nx.saturating_sub(1), grid.ny.saturating_sub(1))
}

/// Latitude and longitude of a place, as octets.
fn geographic(grid: &Grid, (x, y): (f64, f64)) -> Result<[[u8; 4]; 2], String> {
    let place = grid.to_geographic(x, y).ok_or("its corner is nowhere on the globe")?;
    Ok([latitude(place.0), longitude(place.1)])
}

/// Two increments in millimetres.
fn millimetres(grid: &Grid) -> Result<[[u8; 4]; 2], String> {
    Ok([increment(grid.dx, MILLIMETRE)?, increment(grid.dy, MILLIMETRE)?])
}

/// Basic angle and corners: octets 39 to 63 of the templates whose plane is one of degrees.
fn corners(south_north: (f64, f64), west_east: (f64, f64), flags: u8) -> Vec<u8> {
    let (first, last) = ((south_north.0, west_east.0), (south_north.1, west_east.1));
    [
        &[0; 4][..],
        &[u8::MAX; 4],
        &latitude(first.0),
        &longitude(first.1),
        &[flags | GRID_RELATIVE],
        &latitude(last.0),
        &longitude(last.1),
    ]
    .concat()
}

fn lat_lon(grid: &Grid) -> Result<Vec<u8>, String> {
    let (x, y) = last(grid);
    let corners = corners((grid.y0, y), (grid.x0, x), INCREMENTS);
    let steps = [increment(grid.dx, MICRODEGREE)?, increment(grid.dy, MICRODEGREE)?].concat();
    Ok([&corners[..], &steps, &[scanning(grid)]].concat())
}

/// The southern pole of a turned globe; an angle of rotation of 0.
fn turn([south, east]: [f64; 2]) -> Vec<u8> {
    [latitude(south), longitude(east), [0; 4]].concat()
}

fn gaussian(grid: &Grid, rows: u32) -> Result<Vec<u8>, String> {
    let (x, y) = last(grid);
    if grid.dy.abs() != 1.0 || grid.y0.fract() != 0.0 {
        return Err(format!("rows {} from {} on; expected each Gaussian row", grid.dy, grid.y0));
    }
    let row = |y| grid.to_geographic(0.0, y).map(|(latitude, _)| latitude).ok_or("its rows go beyond the pole");
    let corners = corners((row(grid.y0)?, row(y)?), (grid.x0, x), ROW_INCREMENT);
    let steps = [increment(grid.dx, MICRODEGREE)?, (rows / 2).to_be_bytes()].concat();
    Ok([&corners[..], &steps, &[scanning(grid)]].concat())
}

fn mercator(grid: &Grid, true_scale: f64) -> Result<Vec<u8>, String> {
    let (first, last) = (geographic(grid, (grid.x0, grid.y0))?, geographic(grid, last(grid))?);
    Ok([
        &first.concat()[..],
        &[INCREMENTS | GRID_RELATIVE],
        &latitude(true_scale),
        &last.concat(),
        &[scanning(grid)],
        &[0; 4],
        &millimetres(grid)?.concat(),
    ]
    .concat())
}

/// Octets 39 to 65 of polar stereographic and conic grids; `side` is positive where the north pole is the centre.
fn around(grid: &Grid, origin: f64, meridian: f64, side: f64) -> Result<Vec<u8>, String> {
    Ok([
        &geographic(grid, (grid.x0, grid.y0))?.concat()[..],
        &[GRID_RELATIVE],
        &latitude(origin),
        &longitude(meridian),
        &millimetres(grid)?.concat(),
        &[if side < 0.0 { SOUTH } else { 0 }, scanning(grid)],
    ]
    .concat())
}

fn conic(grid: &Grid, origin: f64, parallels: [f64; 2], meridian: f64) -> Result<Vec<u8>, String> {
    let common = around(grid, origin, meridian, parallels[0])?;
    Ok([&common[..], &parallels.map(latitude).concat(), &[0; 8]].concat())
}

fn azimuthal(grid: &Grid, origin: f64, meridian: f64) -> Result<Vec<u8>, String> {
    Ok([
        &geographic(grid, (grid.x0, grid.y0))?.concat()[..],
        &latitude(origin),
        &longitude(meridian),
        &[GRID_RELATIVE],
        &millimetres(grid)?.concat(),
        &[scanning(grid)],
    ]
    .concat())
}

#[cfg(test)]
mod tests {
    use crate::domain::Earth;

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
        let grid = Grid::anchored(projection, Earth::sphere(6_371_229.0), first, (1799, 1059), (3000.0, 3000.0))
            .expect("a grid");
        assert_eq!(octets(&grid, true), Ok(HRRR.to_vec()));
    }

    #[test]
    fn what_a_message_cannot_hold_is_refused() {
        let (projection, earth) = (Projection::LatLon, Earth::sphere(6_370_997.0));
        let grid = Grid { projection, earth, nx: 2, ny: 2, x0: 0.0, y0: 0.0, dx: 1e-9, dy: 1.0 };
        assert!(octets(&grid, true).is_err());
        let rows = Grid { projection: Projection::Gaussian { rows: 8 }, dx: 45.0, ..grid };
        assert!(octets(&rows, true).is_ok());
        assert!(
            octets(&Grid { dy: 0.5, ..rows.clone() }, true).is_err()
                && octets(&Grid { y0: 7.0, ..rows }, true).is_err()
        );
    }
}
