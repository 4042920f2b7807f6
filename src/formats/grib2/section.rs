//! The sections of a message, and the numbers at their octets.

use std::fmt;

use super::Grib2Error;
use super::error::excerpt;

/// Bytes of section 0.
pub(super) const INDICATOR_LENGTH: usize = 16;
/// Bytes of a section's length and number.
const SECTION_HEADER: usize = 5;
/// Section 8, the last bytes of a message.
pub(super) const END: &[u8; 4] = b"7777";

/// One section: its length and number checked, the rest not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section<'a> {
    /// 1 to 7.
    pub(super) number: u8,
    /// Where the section begins in the message.
    pub(super) offset: usize,
    /// The whole section, its length field included.
    pub(super) bytes: &'a [u8],
}

impl<'a> Section<'a> {
    fn octets<const N: usize>(&self, octet: usize) -> Result<[u8; N], Grib2Error> {
        let start = octet.saturating_sub(1);
        let found = self.bytes.get(start..start + N).and_then(|b| b.try_into().ok());
        found.ok_or_else(|| self.damaged(octet, format!("at least {} octets, found {}", start + N, self.bytes.len())))
    }

    /// The unsigned octet at `octet`.
    pub(super) fn u8(&self, octet: usize) -> Result<u8, Grib2Error> {
        self.octets(octet).map(u8::from_be_bytes)
    }

    /// Two unsigned octets.
    pub(super) fn u16(&self, octet: usize) -> Result<u16, Grib2Error> {
        self.octets(octet).map(u16::from_be_bytes)
    }

    /// Four unsigned octets.
    pub(super) fn u32(&self, octet: usize) -> Result<u32, Grib2Error> {
        self.octets(octet).map(u32::from_be_bytes)
    }

    /// One octet whose first bit is the sign.
    pub(super) fn i8(&self, octet: usize) -> Result<i32, Grib2Error> {
        self.u8(octet).map(|v| sign_magnitude(v.into(), 8) as i32)
    }

    /// Two octets whose first bit is the sign.
    pub(super) fn i16(&self, octet: usize) -> Result<i32, Grib2Error> {
        self.u16(octet).map(|v| sign_magnitude(v.into(), 16) as i32)
    }

    /// Four octets whose first bit is the sign.
    pub(super) fn i32(&self, octet: usize) -> Result<i64, Grib2Error> {
        self.u32(octet).map(|v| sign_magnitude(v.into(), 32))
    }

    /// An IEEE 754 number of four octets.
    pub(super) fn f32(&self, octet: usize) -> Result<f32, Grib2Error> {
        self.u32(octet).map(f32::from_bits)
    }

    /// What follows the octet before `octet`.
    pub(super) fn rest(&self, octet: usize) -> &'a [u8] {
        self.bytes.get(octet.saturating_sub(1)..).unwrap_or_default()
    }

    /// The error that something at `octet` cannot be.
    pub(super) fn damaged(&self, octet: usize, expected: impl Into<String>) -> Grib2Error {
        let offset = self.offset + octet.saturating_sub(1);
        Grib2Error::Damaged { section: self.number, offset, expected: expected.into() }
    }

    /// The error that something allowed is not read.
    pub(super) fn unsupported(&self, what: impl Into<String>, expected: &'static str) -> Grib2Error {
        Grib2Error::Unsupported { section: self.number, offset: self.offset, what: what.into(), expected }
    }
}

/// A number whose first of `bits` bits is the sign and whose others are the magnitude.
pub(super) fn sign_magnitude(value: u64, bits: u32) -> i64 {
    let sign = 1u64 << (bits.clamp(1, 64) - 1);
    let magnitude = (value & (sign - 1)) as i64;
    if value & sign == 0 { magnitude } else { -magnitude }
}

/// The message at the start of `bytes`, without what follows it, and its discipline.
pub(super) fn message(bytes: &[u8]) -> Result<(&[u8], u8), Grib2Error> {
    if !bytes.starts_with(b"GRIB") {
        return Err(Grib2Error::NotGrib { found: excerpt(bytes) });
    }
    let edition = bytes.get(7).copied();
    if let Some(edition) = edition.filter(|e| *e != 2) {
        return Err(Grib2Error::Edition(edition));
    }
    let header = Section { number: 0, offset: 0, bytes: bytes.get(..INDICATOR_LENGTH).unwrap_or(bytes) };
    let total = header.octets(9).map(u64::from_be_bytes)?;
    let truncated = || Grib2Error::Truncated { expected: total, got: bytes.len() };
    let message = usize::try_from(total).ok().and_then(|t| bytes.get(..t)).ok_or_else(truncated)?;
    if message.len() < INDICATOR_LENGTH + END.len() || !message.ends_with(END) {
        let offset = message.len().saturating_sub(END.len());
        let found = excerpt(message.get(offset..).unwrap_or_default());
        let expected = format!("`7777` at the end of a message of {total} bytes, found `{found}`");
        return Err(Grib2Error::Damaged { section: 8, offset, expected });
    }
    Ok((message, header.u8(7)?))
}

/// Sections 1 to 7 of a whole message, in their order, up to the first that cannot be.
pub(super) fn sections(message: &[u8]) -> Sections<'_> {
    Sections { message, position: INDICATOR_LENGTH, end: message.len().saturating_sub(END.len()) }
}

/// Goes from section to section by their lengths.
#[derive(Clone, Debug)]
pub(super) struct Sections<'a> {
    message: &'a [u8],
    position: usize,
    end: usize,
}

impl<'a> Iterator for Sections<'a> {
    type Item = Result<Section<'a>, NoSection>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.message.get(self.position..self.end).filter(|rest| !rest.is_empty())?;
        let (offset, left) = (self.position, rest.len());
        let [a, b, c, d, number] = rest.first_chunk().copied().unwrap_or_default();
        let length = u32::from_be_bytes([a, b, c, d]);
        let whole = rest.get(..length as usize).filter(|b| b.len() >= SECTION_HEADER && (1..=7).contains(&number));
        self.position = whole.map_or(self.end, |bytes| offset + bytes.len());
        Some(whole.map(|bytes| Section { number, offset, bytes }).ok_or(NoSection { number, offset, length, left }))
    }
}

/// What stands where a section should begin; all zeros where fewer than five bytes are left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSection {
    /// The octet that should be a section's number.
    pub number: u8,
    /// Where in the message, from 0.
    pub offset: usize,
    /// The octets that should be a section's length.
    pub length: u32,
    /// Bytes of the message from there to its end in `7777`.
    pub left: usize,
}

impl NoSection {
    fn is_end(&self) -> bool {
        self.length.to_be_bytes() == *END
    }

    /// The section that seems to be there.
    pub(super) fn section(&self) -> u8 {
        if self.is_end() { 8 } else { self.number }
    }
}

impl fmt::Display for NoSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NoSection { number, length, left, .. } = self;
        write!(f, "a section 1 to 7 of {SECTION_HEADER} to {left} bytes, found ")?;
        if self.is_end() { write!(f, "`7777`") } else { write!(f, "{number} of {length}") }
    }
}

impl From<NoSection> for Grib2Error {
    fn from(found: NoSection) -> Self {
        Grib2Error::Damaged { section: found.section(), offset: found.offset, expected: found.to_string() }
    }
}
