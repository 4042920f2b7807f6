//! Simple packing (template 5.0): every value in the same number of bits.

use super::super::Grib2Error;
use super::super::bits::BitReader;
use super::super::section::Section;
use super::{Level, Scale};

/// Checks that section 7 holds `count` values.
pub(super) fn check(data: &Section, scale: &Scale, count: usize) -> Result<(), Grib2Error> {
    let needed = (count * scale.bits as usize).div_ceil(8);
    match data.rest(6).len() {
        got if got >= needed => Ok(()),
        got => Err(data.damaged(6, format!("{needed} bytes for {count} values of {} bits, found {got}", scale.bits))),
    }
}

/// Unpacks section 7 into `values`.
pub(super) fn unpack(data: &Section, scale: &Scale, values: &mut [f32], level: Level) -> Result<(), Grib2Error> {
    check(data, scale, values.len())?;
    if scale.bits == 0 {
        values.fill(scale.reference);
        return Ok(());
    }
    let (bytes, (offset, factor)) = (data.rest(6), scale.line());
    let done = match level {
        Level::Portable => 0,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2(avx2) => avx2.simple(bytes, scale.bits, scale.line(), values),
    };
    let mut reader = BitReader::new(bytes, done * scale.bits as usize);
    for value in values.iter_mut().skip(done) {
        *value = (offset + reader.read(scale.bits) as f64 * factor) as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_without_bits_is_its_reference_value() {
        let scale = Scale { reference: 25.0, binary: 3, decimal: -1, bits: 0 };
        let mut values = [0.0; 3];
        let data = Section { number: 7, offset: 0, bytes: &[0, 0, 0, 5, 7] };
        assert_eq!(unpack(&data, &scale, &mut values, Level::best()), Ok(()));
        assert_eq!(values, [25.0; 3]);
    }
}
