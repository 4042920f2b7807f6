//! Simple packing (template 5.0): every value in the same number of bits.

use super::bits::BitReader;
use super::section::Section;
use super::{Grib2Error, Scale};

/// Checks that section 7 holds `count` values.
pub(super) fn check(data: &Section, scale: &Scale, count: usize) -> Result<(), Grib2Error> {
    let needed = (count * scale.bits as usize).div_ceil(8);
    match data.rest(6).len() {
        got if got >= needed => Ok(()),
        got => Err(data.damaged(6, format!("{needed} bytes for {count} values of {} bits, found {got}", scale.bits))),
    }
}

/// Unpacks section 7, which [`check`] accepted, into `values`.
pub(super) fn unpack(data: &Section, scale: &Scale, values: &mut [f32]) {
    let (offset, factor) = scale.line();
    if scale.bits == 0 {
        return values.fill(offset as f32);
    }
    let mut reader = BitReader::new(data.rest(6), 0);
    for value in values {
        *value = (offset + reader.read(scale.bits) as f64 * factor) as f32;
    }
}
