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
    if scale.bits == 0 {
        return values.fill(scale.reference);
    }
    let (offset, factor) = scale.line();
    let mut reader = BitReader::new(data.rest(6), 0);
    for value in values {
        *value = (offset + reader.read(scale.bits) as f64 * factor) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_bits_is_its_reference_value() {
        let scale = Scale { reference: 25.0, binary: 3, decimal: -1, bits: 0 };
        let mut values = [0.0; 3];
        unpack(&Section { number: 7, offset: 0, bytes: &[0, 0, 0, 5, 7] }, &scale, &mut values);
        assert_eq!(values, [25.0; 3]);
    }
}
