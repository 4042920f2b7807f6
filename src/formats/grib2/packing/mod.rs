//! How the values of a field are packed (section 5).

use std::fmt;

use super::Grib2Error;
use super::bits::WIDEST;
use super::section::Section;
use level::Level;

#[cfg(target_arch = "x86_64")]
mod avx2;
pub(super) mod bitmap;
mod complex;
mod level;
mod simple;
#[cfg(test)]
mod tests;

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Packing {
    /// Template 5.0: every value in the same number of bits.
    Simple(Scale),
    /// Templates 5.2 and 5.3: groups, perhaps of spatial differences.
    Complex(Complex),
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
            Packing::Unsupported(template) => *template,
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Packing::Simple(scale) if scale.bits == 0 => write!(f, "5.0 constant"),
            Packing::Simple(scale) => write!(f, "5.0 {} bits", scale.bits),
            Packing::Complex(complex) => write!(f, "5.{} {} groups", self.template(), complex.groups),
            Packing::Unsupported(template) => write!(f, "5.{template}"),
        }
    }
}

impl Packing {
    /// Unpacks section 7 into `values`; every length is checked against the section before it is believed.
    pub(super) fn unpack(&self, data: &Section, values: &mut [f32]) -> Result<(), Grib2Error> {
        match self {
            Packing::Simple(scale) => simple::unpack(data, scale, values, Level::best()),
            Packing::Complex(complex) => complex::unpack(data, complex, values, Level::best()),
            Packing::Unsupported(template) => {
                let what = format!("data template 5.{template}");
                Err(data.unsupported(what, "5.0 (simple), 5.2 or 5.3 (complex)"))
            }
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
    let (offset, factor) = scale.line();
    if !offset.is_finite() || !factor.is_finite() {
        return Err(section.damaged(12, format!("a finite reference value and scale, found {scale:?}")));
    }
    Ok(scale)
}

impl Scale {
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
        Complex { length_bits: 33.., .. } => Err(section.damaged(47, "at most 32 bits a group length")),
        Complex { extra_octets: 8.., .. } => Err(section.damaged(49, "at most 7 octets an extra descriptor")),
        _ => Ok(complex),
    }
}
