//! The shape of the earth (code table 3.2), from octets and to octets.

use crate::domain::Earth;

use super::super::Grib2Error;
use super::super::section::Section;
use super::MISSING;

/// Metres of the unit of shape 3.
const KILOMETRE: f64 = 1e3;
/// Decimal places of a length that is none of the table's.
const LENGTH_DIGITS: u8 = 2;
/// A radius that no planet of weather has; refuses what damage made up.
const LARGEST_M: f64 = 1e8;

/// The shapes that need no numbers beside their code. Shape 2 is that of its axes: the table's "f = 1/297" is not.
fn shapes() -> [(u8, Earth); 7] {
    [
        (0, Earth::sphere(6_367_470.0)),
        (2, Earth::ellipsoid(6_378_160.0, 6_356_775.0)),
        (4, Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257_222_101 }),
        (5, Earth { radius_m: 6_378_137.0, flattening: 1.0 / 298.257_223_563 }),
        (6, Earth::sphere(6_371_229.0)),
        (8, Earth::sphere(6_371_200.0)),
        (9, Earth::ellipsoid(6_377_563.396, 6_356_256.909)),
    ]
}

/// Reads octets 15 to 30.
pub(super) fn parse(section: &Section) -> Result<Earth, Grib2Error> {
    let code = section.u8(15)?;
    match code {
        1 => length(section, 16, 1.0).map(Earth::sphere),
        3 => axes(section, KILOMETRE),
        7 => axes(section, 1.0),
        _ => {
            let known = shapes().into_iter().find(|(shape, _)| *shape == code);
            known
                .map(|(_, earth)| earth)
                .ok_or_else(|| section.unsupported(format!("earth shape {code}"), "a shape 0 to 9 of code table 3.2"))
        }
    }
}

fn axes(section: &Section, unit: f64) -> Result<Earth, Grib2Error> {
    let (major, minor) = (length(section, 21, unit)?, length(section, 26, unit)?);
    if minor > major {
        return Err(section.damaged(26, format!("a minor axis up to the major one's {major} m, found {minor} m")));
    }
    Ok(Earth::ellipsoid(major, minor))
}

/// A scale factor and a scaled value, in metres.
fn length(section: &Section, octet: usize, unit: f64) -> Result<f64, Grib2Error> {
    let (factor, value) = (section.i8(octet)?, section.u32(octet + 1)?);
    let metres = f64::from(value) * 10f64.powi(-factor) * unit;
    if value == MISSING || !(metres > 0.0 && metres < LARGEST_M) {
        let expected = format!("the earth's size, up to {LARGEST_M} m, found {value} with the scale factor {factor}");
        return Err(section.damaged(octet, expected));
    }
    Ok(metres)
}

/// Octets 15 to 30: a code of the table, or a radius or axes of their own.
pub(super) fn octets(earth: Earth) -> [u8; 16] {
    let known = shapes().into_iter().find(|(_, shape)| *shape == earth);
    let (code, lengths) = match known {
        Some((code, _)) => (code, [None; 3]),
        None if earth.is_sphere() => (1, [Some(earth.radius_m), None, None]),
        None => (7, [None, Some(earth.radius_m), Some(earth.minor_m())]),
    };
    let scaled = |metres: f64| (metres * 10f64.powi(LENGTH_DIGITS.into())).round() as u32;
    let five = |length: Option<f64>| length.map_or([0; 5], |m| with_factor(scaled(m).to_be_bytes()));
    let mut octets = [0; 16];
    let content = lengths.into_iter().flat_map(five);
    octets.iter_mut().zip(std::iter::once(code).chain(content)).for_each(|(to, from)| *to = from);
    octets
}

fn with_factor([a, b, c, d]: [u8; 4]) -> [u8; 5] {
    [LENGTH_DIGITS, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(octets: [u8; 16]) -> Result<Earth, Grib2Error> {
        let bytes = [&[0; 14][..], &octets].concat();
        parse(&Section { number: 3, offset: 0, bytes: &bytes })
    }

    #[test]
    fn every_shape_comes_back() {
        for (code, earth) in shapes() {
            let octets = octets(earth);
            assert_eq!((octets[0], read(octets)), (code, Ok(earth)));
        }
        let sphere = Earth::sphere(6_370_997.25);
        assert_eq!((octets(sphere)[0], read(octets(sphere))), (1, Ok(sphere)));
        let ellipsoid = Earth::ellipsoid(6_378_388.0, 6_356_911.95);
        assert_eq!((octets(ellipsoid)[0], read(octets(ellipsoid))), (7, Ok(ellipsoid)));
    }

    #[test]
    fn axes_may_be_in_kilometres() {
        let mut octets = [3, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0];
        octets[7..11].copy_from_slice(&637_813u32.to_be_bytes());
        octets[12..16].copy_from_slice(&635_675u32.to_be_bytes());
        assert_eq!(read(octets), Ok(Earth::ellipsoid(6_378_130.0, 6_356_750.0)));
    }

    #[test]
    fn sizes_that_no_earth_has_are_refused() {
        for octets in [
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [1, 255, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            [7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 10],
        ] {
            assert!(matches!(read(octets), Err(Grib2Error::Damaged { section: 3, .. })), "{octets:?}");
        }
        assert!(matches!(read([10; 16]), Err(Grib2Error::Unsupported { .. })));
    }
}
