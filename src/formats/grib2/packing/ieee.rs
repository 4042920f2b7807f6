//! IEEE 754 numbers, most significant byte first (template 5.4).

use super::super::Grib2Error;
use super::super::section::Section;

/// Bits of a number, from the precision of section 5 (code table 5.7).
pub(super) fn bits(section: &Section) -> Result<u32, Grib2Error> {
    match section.u8(12)? {
        precision @ 1..=3 => Ok(16 << precision),
        precision => Err(section.damaged(12, format!("precision 1, 2 or 3 (32, 64 or 128 bits), found {precision}"))),
    }
}

/// Checks that section 7 holds `count` values.
pub(super) fn check(data: &Section, bits: u32, count: usize) -> Result<(), Grib2Error> {
    let needed = count.saturating_mul(bits as usize / 8);
    match data.rest(6).len() {
        got if got >= needed => Ok(()),
        got => Err(data.damaged(6, format!("{needed} bytes for {count} values of {bits} bits, found {got}"))),
    }
}

/// Unpacks section 7 into `values`; doubles are rounded to `f32`.
pub(super) fn unpack(data: &Section, bits: u32, values: &mut [f32]) -> Result<(), Grib2Error> {
    check(data, bits, values.len())?;
    let bytes = data.rest(6);
    match bits {
        32 => numbers(bytes, values, f32::from_be_bytes),
        64 => numbers(bytes, values, |number| f64::from_be_bytes(number) as f32),
        _ => return Err(data.unsupported(format!("an IEEE number of {bits} bits"), "numbers of 32 or 64 bits")),
    }
    Ok(())
}

fn numbers<const N: usize>(bytes: &[u8], values: &mut [f32], number: impl Fn([u8; N]) -> f32) {
    let (numbers, _) = bytes.as_chunks::<N>();
    values.iter_mut().zip(numbers).for_each(|(value, bytes)| *value = number(*bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(number: u8, payload: &[u8]) -> Vec<u8> {
        [&(payload.len() as u32 + 5).to_be_bytes()[..], &[number], payload].concat()
    }

    #[test]
    fn singles_and_doubles_are_read() {
        let wanted = [1.5f32, -0.25, 3.4e38];
        let singles: Vec<u8> = wanted.iter().flat_map(|v| v.to_be_bytes()).collect();
        let doubles: Vec<u8> = wanted.iter().flat_map(|v| f64::from(*v).to_be_bytes()).collect();
        for (bits, payload) in [(32, singles), (64, doubles)] {
            let bytes = section(7, &payload);
            let data = Section { number: 7, offset: 0, bytes: &bytes };
            let mut values = [0.0; 3];
            assert_eq!(unpack(&data, bits, &mut values), Ok(()));
            assert_eq!(values, wanted);
            let cut = Section { bytes: &bytes[..bytes.len() - 1], ..data };
            let error = unpack(&cut, bits, &mut values).expect_err("cut").to_string();
            assert!(error.contains("section 7") && error.contains("3 values of"), "{error}");
        }
    }

    #[test]
    fn longer_and_unknown_precisions_are_named() {
        let with_precision = |precision| [&section(5, &[0; 6])[..], &[precision]].concat();
        let bits_of = |bytes: &[u8]| bits(&Section { number: 5, offset: 0, bytes });
        assert_eq!([1, 2, 3].map(|p| bits_of(&with_precision(p))), [Ok(32), Ok(64), Ok(128)]);
        assert!(bits_of(&with_precision(0)).is_err() && bits_of(&with_precision(4)).is_err());
        let bytes = section(7, &[0; 32]);
        let error = unpack(&Section { number: 7, offset: 0, bytes: &bytes }, 128, &mut [0.0; 2]);
        assert!(error.is_err_and(|e| e.to_string().contains("128 bits is not supported")));
    }
}
