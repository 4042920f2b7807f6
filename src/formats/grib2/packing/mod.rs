//! How the values of a field are packed (section 5).

use std::fmt;

use super::Grib2Error;
use super::bits::WIDEST;
use super::section::Section;
use level::Level;

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(super) mod bitmap;
mod ccsds;
mod complex;
mod ieee;
mod jpeg2000;
pub(super) mod layout;
mod level;
mod png;
mod run_length;
mod simple;
#[cfg(test)]
mod tests;

pub use ccsds::Ccsds;
pub use run_length::RunLength;

/// The templates that are read, for errors about others.
const SUPPORTED: &str = "5.0 (simple), 5.2 or 5.3 (complex), 5.4 (IEEE), 5.40 (JPEG 2000), 5.41 (PNG), 5.42 (CCSDS) or \
                         5.200 (run length)";
/// 2^63, above every sum of spatial differences.
const LARGEST_SUM: f64 = 9_223_372_036_854_775_808.0;

/// Packed integer X to value: (reference + X · 2^binary) / 10^decimal.
///
/// A field of no bits at all is constant and its value is the reference itself, whatever the decimal scale says:
/// NCEP writes it so, and ecCodes and NCEP's library read it so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// R, the value of X = 0 before the decimal scale.
    pub reference: f32,
    /// E, the binary scale factor.
    pub binary: i32,
    /// D, the decimal scale factor.
    pub decimal: i32,
    /// Bits of a packed value, or of a group's reference; 0 for a constant field.
    pub bits: u32,
}

/// Groups of values with widths of their own (templates 5.2 and 5.3).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Complex {
    /// How integers become values.
    pub scale: Scale,
    /// 0: no missing values inside, 1: primary ones, 2: primary and secondary ones (code table 5.5).
    pub missing: u8,
    /// 0: values, 1: their first differences, 2: their second differences.
    pub order: u8,
    pub(super) groups: usize,
    pub(super) width_reference: u32,
    pub(super) width_bits: u32,
    pub(super) length_reference: u64,
    pub(super) length_increment: u64,
    pub(super) last_length: u64,
    pub(super) length_bits: u32,
    pub(super) extra_octets: u32,
}

/// How the values of a field are packed.
#[derive(Clone, Debug, PartialEq)]
pub enum Packing {
    /// Template 5.0: every value in the same number of bits.
    Simple(Scale),
    /// Templates 5.2 and 5.3: groups, perhaps of spatial differences.
    Complex(Complex),
    /// Template 5.4: IEEE 754 numbers of 32, 64 or 128 bits; those of 128 cannot be unpacked.
    Ieee {
        /// Bits of a number.
        bits: u32,
    },
    /// Template 5.40: a grey JPEG 2000 image.
    Jpeg2000(Scale),
    /// Template 5.41: a PNG image, grey or with a number's bytes as its colours.
    Png(Scale),
    /// Template 5.42: the lossless compression of CCSDS 121.0-B.
    Ccsds(Ccsds),
    /// Template 5.200: numbers of levels in runs.
    RunLength(RunLength),
    /// A template whose values cannot be unpacked.
    Unsupported(u16),
}

impl Packing {
    /// The data representation template's number, without its `5.`.
    pub fn template(&self) -> u16 {
        match self {
            Packing::Simple(_) => 0,
            Packing::Complex(complex) if complex.order == 0 => 2,
            Packing::Complex(_) => 3,
            Packing::Ieee { .. } => 4,
            Packing::Jpeg2000(_) => 40,
            Packing::Png(_) => 41,
            Packing::Ccsds(_) => 42,
            Packing::RunLength(_) => 200,
            Packing::Unsupported(template) => *template,
        }
    }

    /// How packed integers become values, where they do so by a scale.
    pub fn scale(&self) -> Option<&Scale> {
        match self {
            Packing::Simple(scale) | Packing::Jpeg2000(scale) | Packing::Png(scale) => Some(scale),
            Packing::Complex(complex) => Some(&complex.scale),
            Packing::Ccsds(ccsds) => Some(&ccsds.scale),
            Packing::Ieee { .. } | Packing::RunLength(_) | Packing::Unsupported(_) => None,
        }
    }

    /// Bits of a packed number, or of a group's reference; 0 for a constant field, `None` where not known.
    pub fn bits(&self) -> Option<u32> {
        match self {
            Packing::Ieee { bits } => Some(*bits),
            Packing::RunLength(run_length) => Some(run_length.bits),
            _ => self.scale().map(|scale| scale.bits),
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let template = self.template();
        match (self, self.bits()) {
            (Packing::Complex(complex), _) => write!(f, "5.{template} {} groups", complex.groups),
            (_, Some(0)) => write!(f, "5.{template} constant"),
            (_, Some(bits)) => write!(f, "5.{template} {bits} bits"),
            (_, None) => write!(f, "5.{template}"),
        }
    }
}

impl Packing {
    /// Whether the field is one value, whatever section 7 holds.
    pub(super) fn is_constant(&self) -> bool {
        match self {
            Packing::Complex(complex) => complex.groups == 0,
            _ => self.scale().is_some_and(|scale| scale.bits == 0),
        }
    }

    /// Checks that section 7 can hold `count` values, as far as that can be told without unpacking it.
    pub(super) fn check(&self, data: &Section, count: usize) -> Result<(), Grib2Error> {
        match self {
            Packing::Simple(scale) => simple::check(data, scale, count),
            Packing::Complex(complex) => complex::check(data, complex, count),
            Packing::Ieee { bits } => ieee::check(data, *bits, count),
            _ => Ok(()),
        }
    }

    /// Unpacks section 7 into `values`; every length is checked against the section before it is believed.
    pub(super) fn unpack(&self, data: &Section, values: &mut [f32]) -> Result<(), Grib2Error> {
        match self {
            Packing::Simple(scale) => simple::unpack(data, scale, values, Level::best()),
            Packing::Complex(complex) => complex::unpack(data, complex, values, Level::best()),
            Packing::Ieee { bits } => ieee::unpack(data, *bits, values),
            Packing::Jpeg2000(scale) => jpeg2000::unpack(data, scale, values),
            Packing::Png(scale) => png::unpack(data, scale, values),
            Packing::Ccsds(packing) => ccsds::unpack(data, packing, values),
            Packing::RunLength(packing) => run_length::unpack(data, packing, values),
            Packing::Unsupported(template) => Err(data.unsupported(format!("data template 5.{template}"), SUPPORTED)),
        }
    }
}

/// The packing and how many values are packed.
pub(super) fn parse(section: &Section) -> Result<(Packing, usize), Grib2Error> {
    let packed = section.u32(6)? as usize;
    let packing = match section.u16(10)? {
        0 => Packing::Simple(scale(section)?),
        2 => Packing::Complex(complex(section, 0)?),
        3 => match section.u8(48)? {
            order @ 1..=2 => Packing::Complex(complex(section, order)?),
            order => return Err(section.damaged(48, format!("spatial differencing of order 1 or 2, found {order}"))),
        },
        4 => Packing::Ieee { bits: ieee::bits(section)? },
        40 => Packing::Jpeg2000(scale(section)?),
        41 => Packing::Png(scale(section)?),
        42 => Packing::Ccsds(ccsds::parse(section)?),
        200 => Packing::RunLength(run_length::parse(section)?),
        template => Packing::Unsupported(template),
    };
    Ok((packing, packed))
}

fn scale(section: &Section) -> Result<Scale, Grib2Error> {
    let scale = Scale {
        reference: section.f32(12)?,
        binary: section.i16(16)?,
        decimal: section.i16(18)?,
        bits: width(section, 20)?,
    };
    if !scale.reference.is_finite() {
        return Err(section.damaged(12, format!("a finite reference value, found {}", scale.reference)));
    }
    // Without bits the scale is not used; images and codes may hold integers of more bits than section 5 says.
    let largest = ((1u64 << scale.bits) - 1).max(u32::MAX.into());
    if scale.bits > 0 { scale.check(section, largest as f64) } else { Ok(scale) }
}

impl Scale {
    /// Checks that every packed integer from 0 to `largest` becomes a finite number.
    fn check(self, section: &Section, largest: f64) -> Result<Self, Grib2Error> {
        let (offset, factor) = self.line();
        if [offset, offset + largest * factor].iter().all(|value| (*value as f32).is_finite()) {
            return Ok(self);
        }
        let Scale { reference, binary, decimal, .. } = self;
        let found = format!("found reference {reference}, 2^{binary} and 10^{decimal} for integers to {largest}");
        Err(section.damaged(16, format!("binary and decimal scales that keep values finite, {found}")))
    }

    /// A value is the first number plus the packed integer times the second.
    pub(super) fn line(&self) -> (f64, f64) {
        let decimal = 10f64.powi(-self.decimal);
        (f64::from(self.reference) * decimal, 2f64.powi(self.binary) * decimal)
    }
}

fn width(section: &Section, octet: usize) -> Result<u32, Grib2Error> {
    match u32::from(section.u8(octet)?) {
        bits if bits <= WIDEST => Ok(bits),
        bits => Err(section.damaged(octet, format!("at most {WIDEST} bits a number, found {bits}"))),
    }
}

fn complex(section: &Section, order: u8) -> Result<Complex, Grib2Error> {
    let complex = Complex {
        scale: scale(section)?,
        missing: section.u8(23)?,
        order,
        groups: section.u32(32)? as usize,
        width_reference: section.u8(36)?.into(),
        width_bits: width(section, 37)?,
        length_reference: section.u32(38)?.into(),
        length_increment: section.u8(42)?.into(),
        last_length: section.u32(43)?.into(),
        length_bits: width(section, 47)?,
        extra_octets: if order == 0 { 0 } else { section.u8(49)?.into() },
    };
    match complex {
        Complex { missing: 3.., .. } => {
            Err(section.damaged(23, format!("missing value management 0, 1 or 2, found {}", complex.missing)))
        }
        Complex { length_bits: found @ 33.., .. } => {
            Err(section.damaged(47, format!("at most 32 bits a group length, found {found}")))
        }
        Complex { extra_octets: found @ 8.., .. } => {
            Err(section.damaged(49, format!("at most 7 octets an extra descriptor, found {found}")))
        }
        Complex { groups: 0, .. } => Ok(complex),
        // Sums of differences may be any integer of 64 bits, of either sign.
        _ => complex.scale.check(section, LARGEST_SUM).and(complex.scale.check(section, -LARGEST_SUM)).map(|_| complex),
    }
}
