//! Fields written as GRIB2: products of one forecast or an ensemble, packed as 5.0, 5.3 or 5.41.

use crate::domain::{Grid, Lead, Slot, Variable};

use super::Grib2Error;
use super::grid::octets::octets;
use super::packing::Scale;
use super::product::Ensemble;
use super::section::{END, INDICATOR_LENGTH};

use steps::{Steps, Survey};

mod complex;
mod differences;
mod groups;
mod inventory;
mod png;
mod product;
mod search;
mod simple;
mod steps;

pub use inventory::index_line;

/// No originating centre: what is written is no centre's product.
pub const NO_CENTRE: u16 = 255;
/// The number of the template of PNG images, without its `5.`.
const PNG: u16 = 41;

/// A field to be written; [`Encode::new`] has what a plain forecast needs.
#[derive(Clone, Copy, Debug)]
pub struct Encode<'a> {
    /// Cycle and lead; of a window, the lead at its end.
    pub slot: Slot,
    /// Parameter, surface and level.
    pub variable: &'a Variable,
    /// Where the values are.
    pub grid: &'a Grid,
    /// Row-major (y, x) in the grid's own row order; NaN is missing.
    pub values: &'a [f32],
    /// How finely values are kept; they are rounded to the nearest.
    pub precision: Precision,
    /// How the values are packed; a constant field is always written as 5.0 of no bits, which all readers agree on.
    pub pack: Pack,
    /// The statistic over a time before the lead that the field is; `None` for a field of one moment.
    pub window: Option<Window>,
    /// Which part of an ensemble the field is; `None` for a deterministic forecast.
    pub ensemble: Option<Ensemble>,
    /// Wind components are along the grid's axes instead of east and north.
    pub grid_relative: bool,
    /// The originating centre, whose local tables codes from 192 on are of (common code table C-11).
    pub centre: u16,
    /// Who made the field, written to section 2; read back as the origin where it begins with `SYNTHETIC`.
    pub origin: Option<&'a str>,
}

impl<'a> Encode<'a> {
    /// A deterministic forecast of one moment, packed as 5.0 with a number of decimal places.
    pub fn new(slot: Slot, variable: &'a Variable, grid: &'a Grid, values: &'a [f32], decimal_digits: i16) -> Self {
        let (precision, pack) = (Precision::decimals(decimal_digits), Pack::Simple);
        Encode {
            slot,
            variable,
            grid,
            values,
            precision,
            pack,
            window: None,
            ensemble: None,
            grid_relative: true,
            centre: NO_CENTRE,
            origin: None,
        }
    }
}

/// How finely values are kept: to whole steps of 2^binary / 10^decimal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Precision {
    /// D, the decimal scale factor: decimal places where the binary one is 0.
    pub decimal: i16,
    /// E, the binary scale factor.
    pub binary: i16,
    /// R, the value times 10^decimal from which steps are counted; `None` counts from 0.
    ///
    /// A field with values below it is counted from 0 all the same.
    pub reference: Option<f32>,
}

impl Precision {
    /// Decimal places; negative ones round to tens, hundreds and so on.
    pub const fn decimals(digits: i16) -> Self {
        Precision { decimal: digits, binary: 0, reference: None }
    }

    /// The steps of a field that was read: written again with them, it comes back with the same values.
    pub fn of(scale: &Scale) -> Self {
        Precision { decimal: scale.decimal as i16, binary: scale.binary as i16, reference: Some(scale.reference) }
    }
}

/// How values are packed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pack {
    /// 5.0: every value in the same number of bits; missing values in a bitmap. The fastest.
    #[default]
    Simple,
    /// 5.3: groups of second differences with widths of their own, as NCEP writes. The smallest for weather models.
    ///
    /// Missing values are marked inside the groups: where they lie together they cost next to nothing, and where they
    /// are scattered no more than the bit a point that a bitmap takes everywhere.
    Complex,
    /// 5.41: a PNG image; missing values in a bitmap. The smallest for radar mosaics with long runs of one value.
    Png,
}

/// A statistic over the time before the lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How long the window is.
    pub length: Lead,
    /// What was done over it: 0 average, 1 accumulation, 2 maximum, 3 minimum (code table 4.10).
    pub statistic: u8,
}

/// One whole message, of production status "research".
pub fn encode(field: &Encode) -> Result<Vec<u8>, Grib2Error> {
    let refused = |reason| Grib2Error::Encode { variable: field.variable.name.to_string(), reason };
    let definition = octets(field.grid, field.grid_relative).map_err(refused)?;
    let product = product::octets(field).map_err(refused)?;
    let packed = pack(field).map_err(refused)?;
    let mut message = vec![0; INDICATOR_LENGTH];
    append(&mut message, 1, &product::identification(field));
    if let Some(origin) = field.origin {
        append(&mut message, 2, origin.as_bytes());
    }
    append(&mut message, 3, &definition);
    append(&mut message, 4, &product);
    append(&mut message, 5, &packed.representation);
    append(&mut message, 6, &packed.bitmap);
    append(&mut message, 7, &packed.data);
    message.extend_from_slice(END);
    let indicator = [*b"GRIB", [0, 0, field.variable.grib[0], 2]].concat();
    let length = (message.len() as u64).to_be_bytes();
    message.iter_mut().zip(indicator.iter().chain(&length)).for_each(|(to, from)| *to = *from);
    Ok(message)
}

fn append(message: &mut Vec<u8>, section: u8, content: &[u8]) {
    message.extend_from_slice(&(content.len() as u32 + 5).to_be_bytes());
    message.push(section);
    message.extend_from_slice(content);
}

/// A whole number as four octets, the first bit its sign.
pub(super) fn signed(value: f64) -> [u8; 4] {
    let sign = if value < 0.0 { 1 << 31 } else { 0 };
    (value.abs().round() as u32 | sign).to_be_bytes()
}

/// A whole number as two octets, the first bit its sign.
fn signed_short(value: i16) -> [u8; 2] {
    (value.unsigned_abs() & 0x7fff | if value < 0 { 0x8000 } else { 0 }).to_be_bytes()
}

/// Sections 5, 6 and 7, each without its length and number.
struct Packed {
    representation: Vec<u8>,
    bitmap: Vec<u8>,
    data: Vec<u8>,
}

fn pack(field: &Encode) -> Result<Packed, String> {
    let (values, nx, ny) = (field.values, field.grid.nx, field.grid.ny);
    if values.len() != nx * ny {
        return Err(format!("{} values for a grid of {nx}×{ny} points", values.len()));
    }
    let survey = Survey::of(values)?;
    let steps = Steps::new(field.precision, &survey)?;
    let holes = survey.present > 0 && survey.present < values.len();
    match (field.pack, steps.constant(&survey)) {
        (Pack::Complex, constant) if holes || constant.is_none() => complex::pack(values, &survey, &steps),
        (_, Some(constant)) => Ok(simple::constant(values, &survey, constant)),
        (Pack::Png, _) => png_image(field, &survey, &steps),
        _ => Ok(simple::pack(values, &survey, &steps)),
    }
}

/// 5.41: rows of the grid, or one row of the values that are present.
fn png_image(field: &Encode, survey: &Survey, steps: &Steps) -> Result<Packed, String> {
    let whole = survey.present == field.values.len();
    let (width, height) = if whole { (field.grid.nx, field.grid.ny) } else { (survey.present, 1) };
    // Whole bytes: readers take the depth from section 5.
    let bits = steps.bits().next_multiple_of(8);
    let data = png::pack(&steps.of_present(field.values, survey), width, height, bits)?;
    let representation = simple::representation(PNG, survey.present, steps, bits);
    Ok(Packed { representation, bitmap: simple::bitmap(field.values, survey), data })
}

#[cfg(test)]
mod tests;
