//! Fields written as GRIB2: product template 4.0, simple packing.

use chrono::{Datelike, Timelike};

use crate::domain::{Grid, Slot, Variable};

use super::Grib2Error;
use super::bits::BitWriter;
use super::grid::octets::octets;
use super::section::{END, INDICATOR_LENGTH};

/// No originating centre: what is written here is no centre's product.
const CENTRE_MISSING: u16 = u16::MAX >> 8;
/// Version of the master tables the codes are from.
const MASTER_TABLES: u8 = 2;
/// Codes from 192 on are local ones.
const LOCAL_TABLES: u8 = 1;
/// Reference time: start of the forecast (code table 1.2).
const START_OF_FORECAST: u8 = 1;
/// Production status: research (code table 1.3).
const RESEARCH: u8 = 2;
/// Type of data: forecast (code table 1.4).
const FORECAST: u8 = 1;
/// Generating process: forecast (code table 4.3).
const FORECAST_PROCESS: u8 = 2;
/// An octet that is not given.
const MISSING: u8 = u8::MAX;
/// Most decimal places a level is written with.
const LEVEL_DIGITS: u8 = 6;
/// Widest packed value that readers with 32-bit integers can hold.
const MAX_BITS: u32 = 32;

/// A field to be written.
#[derive(Clone, Copy, Debug)]
pub struct Encode<'a> {
    /// Cycle and lead.
    pub slot: Slot,
    /// Parameter, surface and level.
    pub variable: &'a Variable,
    /// Where the values are; lat-lon or Lambert.
    pub grid: &'a Grid,
    /// Row-major (y, x) in the grid's own row order; NaN is missing.
    pub values: &'a [f32],
    /// Decimal places kept; values are rounded to the nearest.
    pub decimal_digits: i16,
    /// Who made the field, written to section 2; read back as the origin where it begins with `SYNTHETIC`.
    pub origin: Option<&'a str>,
}

/// One whole message, with no originating centre and production status "research".
pub fn encode(field: &Encode) -> Result<Vec<u8>, Grib2Error> {
    let refused = |reason| Grib2Error::Encode { variable: field.variable.name.to_string(), reason };
    let definition = octets(field.grid).map_err(refused)?;
    let packed = pack(field).map_err(refused)?;
    let mut message = vec![0; INDICATOR_LENGTH];
    append(&mut message, 1, &identification(field.slot));
    if let Some(origin) = field.origin {
        append(&mut message, 2, origin.as_bytes());
    }
    append(&mut message, 3, &definition);
    append(&mut message, 4, &product(field).map_err(refused)?);
    append(&mut message, 5, &packed.representation);
    append(&mut message, 6, &packed.bitmap);
    append(&mut message, 7, &packed.data);
    message.extend_from_slice(END);
    let indicator = [*b"GRIB", [0, 0, field.variable.grib[0], 2]].concat();
    let length = (message.len() as u64).to_be_bytes();
    message.iter_mut().zip(indicator.iter().chain(&length)).for_each(|(to, from)| *to = *from);
    Ok(message)
}

/// The line of an index that wgrib2 writes for message `number` at byte `offset`, without the line's end.
pub fn index_line(number: u32, offset: u64, slot: Slot, variable: &Variable) -> String {
    let window = match slot.lead.0 {
        0 => "anl".to_string(),
        minutes if minutes % 60 == 0 => format!("{} hour fcst", minutes / 60),
        minutes => format!("{minutes} min fcst"),
    };
    format!("{number}:{offset}:d={}:{}:{window}:", slot.cycle.calendar().format("%Y%m%d%H"), variable.index)
}

fn append(message: &mut Vec<u8>, section: u8, content: &[u8]) {
    message.extend_from_slice(&(content.len() as u32 + 5).to_be_bytes());
    message.push(section);
    message.extend_from_slice(content);
}

fn identification(slot: Slot) -> Vec<u8> {
    let time = slot.cycle.calendar();
    let mut octets = CENTRE_MISSING.to_be_bytes().to_vec();
    octets.extend_from_slice(&[0, 0, MASTER_TABLES, LOCAL_TABLES, START_OF_FORECAST]);
    octets.extend_from_slice(&(time.year() as u16).to_be_bytes());
    octets.extend([time.month(), time.day(), time.hour(), time.minute(), time.second()].map(|n| n as u8));
    octets.extend_from_slice(&[RESEARCH, FORECAST]);
    octets
}

fn product(field: &Encode) -> Result<Vec<u8>, String> {
    let variable = field.variable;
    let (unit, time) = match field.slot.lead.0 {
        minutes if minutes % 60 == 0 => (1, minutes / 60),
        minutes => (0, minutes),
    };
    let (factor, level) = level(variable.level)?;
    let mut octets = vec![0, 0, 0, 0, variable.grib[1], variable.grib[2], FORECAST_PROCESS, 0, MISSING, 0, 0, 0, unit];
    octets.extend_from_slice(&time.to_be_bytes());
    octets.extend_from_slice(&[variable.surface, factor]);
    octets.extend_from_slice(&level);
    octets.extend_from_slice(&[MISSING, 0, 0, 0, 0, 0]);
    Ok(octets)
}

/// A level as a decimal scale factor and four octets.
fn level(level: f64) -> Result<(u8, [u8; 4]), String> {
    let scaled = |digits: u8| level * 10f64.powi(digits.into());
    let whole = |digits: &u8| (scaled(*digits) - scaled(*digits).round()).abs() <= 1e-9 * scaled(*digits).abs();
    let digits = (0..=LEVEL_DIGITS).find(whole).unwrap_or(LEVEL_DIGITS);
    match scaled(digits).round() {
        value if value.abs() < f64::from(i32::MAX) => Ok((digits, signed(value))),
        _ => Err(format!("the level {level} does not fit; expected at most {} with its decimals", i32::MAX)),
    }
}

/// A whole number as four octets, the first bit its sign.
pub(super) fn signed(value: f64) -> [u8; 4] {
    let sign = if value < 0.0 { 1 << 31 } else { 0 };
    (value.abs().round() as u32 | sign).to_be_bytes()
}

/// Sections 5, 6 and 7, each without its length and number.
struct Packed {
    representation: Vec<u8>,
    bitmap: Vec<u8>,
    data: Vec<u8>,
}

fn pack(field: &Encode) -> Result<Packed, String> {
    if field.values.len() != field.grid.nx * field.grid.ny {
        let (nx, ny) = (field.grid.nx, field.grid.ny);
        return Err(format!("{} values for a grid of {nx}×{ny} points", field.values.len()));
    }
    let factor = 10f64.powi(field.decimal_digits.into());
    let present = || field.values.iter().filter(|v| !v.is_nan()).map(|v| (f64::from(*v) * factor).round());
    let (lowest, highest, count) = present().fold((f64::MAX, f64::MIN, 0usize), extend);
    let bitmap = bitmap(field.values, count);
    if count == 0 || (lowest == highest && lowest.is_finite()) {
        // A constant is written without a decimal scale, which readers disagree about.
        let value = if count == 0 { 0.0 } else { (lowest / factor) as f32 };
        return Ok(Packed { representation: representation(count, value, 0, 0), bitmap, data: Vec::new() });
    }
    let reference = at_most(lowest);
    let bits = width(highest - f64::from(reference), field)?;
    let mut writer = BitWriter::default();
    present().for_each(|v| writer.write((v - f64::from(reference)) as u64, bits));
    let representation = representation(count, reference, field.decimal_digits, bits);
    Ok(Packed { representation, bitmap, data: writer.finish() })
}

fn extend((lowest, highest, count): (f64, f64, usize), value: f64) -> (f64, f64, usize) {
    (lowest.min(value), highest.max(value), count + 1)
}

/// The greatest 32-bit number that is not above `value`, so that no packed value is negative.
fn at_most(value: f64) -> f32 {
    // Adding zero makes −0 a 0.
    let near = value as f32 + 0.0;
    if f64::from(near) > value { near.next_down() } else { near }
}

/// Bits of the greatest packed value.
fn width(greatest: f64, field: &Encode) -> Result<u32, String> {
    let limit = f64::from(u32::MAX);
    if greatest <= limit {
        return Ok(u64::BITS - (greatest as u64).leading_zeros());
    }
    let digits = field.decimal_digits;
    Err(format!(
        "its range needs more than {MAX_BITS} bits at {digits} decimal digits; expected finite values, fewer digits"
    ))
}

/// Section 5 with template 5.0.
fn representation(count: usize, reference: f32, decimal_digits: i16, bits: u32) -> Vec<u8> {
    let sign = if decimal_digits < 0 { 1 << 15 } else { 0 };
    let mut octets = (count as u32).to_be_bytes().to_vec();
    octets.extend_from_slice(&[0, 0]);
    octets.extend_from_slice(&reference.to_be_bytes());
    octets.extend_from_slice(&[0, 0]);
    octets.extend_from_slice(&(decimal_digits.unsigned_abs() | sign).to_be_bytes());
    octets.extend_from_slice(&[bits as u8, 0]);
    octets
}

/// Section 6: which values are present, or that all are.
fn bitmap(values: &[f32], count: usize) -> Vec<u8> {
    if count == values.len() {
        return vec![MISSING];
    }
    let mut writer = BitWriter::default();
    writer.write(0, 8);
    values.iter().for_each(|v| writer.write(u64::from(!v.is_nan()), 1));
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::super::headers;
    use super::*;
    use crate::domain::{Earth, Lead, Moment, Projection};

    fn two_metre_temperature() -> Variable {
        Variable {
            name: "t2m".into(),
            long_name: "2 m temperature".into(),
            units: "K".into(),
            standard_name: None,
            standard_name_earth: None,
            wind: None,
            wind_partner: None,
            index: "TMP:2 m above ground".into(),
            grib: [0, 0, 0],
            surface: 103,
            level: 2.0,
            quality: Default::default(),
            colours: "temperature".into(),
        }
    }

    fn small_grid() -> Grid {
        let projection = Projection::LatLon;
        Grid { projection, earth: Earth::sphere(6_371_229.0), nx: 3, ny: 2, x0: -100.0, y0: 40.0, dx: 0.5, dy: -0.25 }
    }

    fn slot(minutes: u32) -> Slot {
        Slot::new(Moment::from_ymdh(2018, 7, 22, 3).expect("a day"), Lead(minutes))
    }

    fn written(values: &[f32], minutes: u32, origin: Option<&str>) -> Result<Vec<u8>, Grib2Error> {
        let (variable, grid) = (two_metre_temperature(), small_grid());
        let slot = slot(minutes);
        encode(&Encode { slot, variable: &variable, grid: &grid, values, decimal_digits: 2, origin })
    }

    #[test]
    fn what_is_written_is_read() {
        let values = [273.15, f32::NAN, 280.0, 301.27, -5.0, 273.16];
        let bytes = written(&values, 75, Some("SYNTHETIC weather, version 1")).expect("a message");
        let [message] = &headers(&bytes).expect("headers")[..] else { panic!("one field") };
        assert!(message.codes() == [0, 0, 0] && message.product.is_at(&two_metre_temperature()));
        assert!(message.product.is_instantaneous());
        assert_eq!(message.slot(), Ok(slot(75)));
        assert_eq!(message.grid.as_deref(), Ok(&small_grid_east_of_greenwich()));
        assert_eq!(&*message.origin, "SYNTHETIC weather, version 1");
        let read = message.decode(&bytes).expect("values");
        for (read, value) in read.iter().zip(values) {
            assert!((read - value).abs() <= 0.005 || read.is_nan() && value.is_nan(), "{read} {value}");
        }
    }

    /// GRIB2 longitudes run from 0 to 360.
    fn small_grid_east_of_greenwich() -> Grid {
        Grid { x0: 260.0, ..small_grid() }
    }

    #[test]
    fn constant_and_missing_fields_take_no_bits() {
        for value in [273.15, 0.0, f32::NAN] {
            let bytes = written(&[value; 6], 0, None).expect("a message");
            let message = headers(&bytes).expect("headers").remove(0);
            assert_eq!((message.packing.to_string(), &*message.origin), ("5.0 constant".into(), "centre 255"));
            let read = message.decode(&bytes).expect("values");
            assert!(read.iter().all(|v| *v == value || v.is_nan() && value.is_nan()), "{read:?}");
        }
    }

    #[test]
    fn what_no_message_can_hold_is_refused() {
        assert!(written(&[f32::INFINITY; 6], 0, None).is_err());
        assert!(written(&[0.0, 1e9, 0.0, 0.0, 0.0, 0.0], 0, None).is_err());
        assert!(written(&[0.0; 5], 0, None).is_err());
    }

    #[test]
    fn index_lines_are_those_of_wgrib2() {
        let line = |minutes| index_line(1, 0, slot(minutes), &two_metre_temperature());
        assert_eq!(line(0), "1:0:d=2018072203:TMP:2 m above ground:anl:");
        assert_eq!(line(60), "1:0:d=2018072203:TMP:2 m above ground:1 hour fcst:");
        assert_eq!(line(75), "1:0:d=2018072203:TMP:2 m above ground:75 min fcst:");
    }
}
