//! Run length packing with level values (template 5.200): levels, each followed by how often it is repeated.

use std::sync::Arc;

use super::super::Grib2Error;
use super::super::bits::BitReader;
use super::super::section::Section;

/// The octet of section 5 at which the level values begin.
const LEVELS: usize = 18;

/// Levels in runs: numbers up to the highest level are levels, greater ones count repetitions.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLength {
    /// Bits of a number, 1 to 16.
    pub bits: u32,
    /// The highest level that occurs.
    pub highest: u32,
    /// The value of every level, from level 0, which is missing.
    pub values: Arc<[f32]>,
}

/// The packing that section 5 describes.
pub(super) fn parse(section: &Section) -> Result<RunLength, Grib2Error> {
    let bits = u32::from(section.u8(12)?);
    let highest = u32::from(section.u16(13)?);
    let count = usize::from(section.u16(15)?);
    if !(1..=16).contains(&bits) {
        return Err(section.damaged(12, format!("1 to 16 bits a number, found {bits}")));
    }
    if highest as usize > count || highest + 1 >= 1 << bits {
        let most = count.min((1 << bits) - 2);
        return Err(section.damaged(13, format!("levels up to {most}, found {highest}")));
    }
    let decimal = section.i8(17)?;
    let factor = 10f64.powi(-decimal);
    if !((f64::from(u16::MAX) * factor) as f32).is_finite() {
        return Err(section.damaged(17, format!("a decimal scale that keeps levels finite, found {decimal}")));
    }
    let level = |number: usize| section.u16(LEVELS + 2 * number).map(|level| (f64::from(level) * factor) as f32);
    let values = std::iter::once(Ok(f32::NAN)).chain((0..count).map(level)).collect::<Result<_, _>>()?;
    Ok(RunLength { bits, highest, values })
}

/// Unpacks section 7 into `values`.
///
/// The numbers behind a level are the digits of its run's length less one, the least significant first, to the base
/// of how many numbers are no levels.
pub(super) fn unpack(data: &Section, packing: &RunLength, values: &mut [f32]) -> Result<(), Grib2Error> {
    let bytes = data.rest(6);
    let numbers = bytes.len() * 8 / packing.bits as usize;
    let base = (1 << packing.bits) - 1 - u64::from(packing.highest);
    let mut reader = BitReader::new(bytes, 0);
    let (mut filled, mut level, mut digit) = (0, f32::NAN, 0);
    for number in 0..numbers {
        let found = reader.read(packing.bits);
        let repeated = match found.checked_sub(u64::from(packing.highest) + 1) {
            None if filled == values.len() => break,
            None => {
                level = packing.values.get(found as usize).copied().unwrap_or(f32::NAN);
                digit = 1;
                1
            }
            Some(_) if number == 0 => return Err(data.damaged(6, format!("a level first, found {found}"))),
            Some(count) => {
                let repeated = count.saturating_mul(digit);
                digit = digit.saturating_mul(base);
                repeated
            }
        };
        let run = usize::try_from(repeated).ok().and_then(|run| values.get_mut(filled..)?.get_mut(..run));
        let Some(run) = run else {
            let left = values.len() - filled;
            return Err(
                data.damaged(6, format!("a run of at most {left} of {} values, found {repeated}", values.len()))
            );
        };
        run.fill(level);
        filled += run.len();
    }
    match filled {
        filled if filled == values.len() => Ok(()),
        _ => Err(data.damaged(6, format!("runs of {} values in all, found {filled}", values.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packing() -> RunLength {
        let values: Vec<f32> = (0..16).map(|level| if level == 0 { f32::NAN } else { level as f32 }).collect();
        RunLength { bits: 4, highest: 10, values: values.into() }
    }

    fn unpacked(packing: &RunLength, payload: &[u8], count: usize) -> Result<Vec<f32>, Grib2Error> {
        let bytes = [&[0, 0, 0, 0, 7], payload].concat();
        let mut values = vec![0.0; count];
        unpack(&Section { number: 7, offset: 0, bytes: &bytes }, packing, &mut values).map(|()| values)
    }

    #[test]
    fn the_example_of_its_specification_is_read() {
        // http://www.jmbsc.or.jp/jp/online/joho-sample/Run-Length_Encoding.pdf
        let payload = [0x39, 0xc6, 0x4f, 0x21, 0x0d, 0xc2, 0x30];
        let wanted = [3., 9., 9., 6., 4., 4., 4., 4., 4., 2., 1., 0., 0., 0., 0., 0., 0., 0., 0., 2., 3.];
        let found = unpacked(&packing(), &payload, wanted.len()).expect("values");
        let found: Vec<f32> = found.into_iter().map(|v| if v.is_nan() { 0.0 } else { v }).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn runs_that_do_not_fill_the_grid_are_refused() {
        for (payload, count, reason) in [
            (&[0x3f, 0xff, 0xff][..], 20, "a run of at most"),
            (&[0x39], 3, "found 2"),
            (&[0xc3], 2, "a level first"),
            (&[], 1, "found 0"),
        ] {
            let error = unpacked(&packing(), payload, count).expect_err(reason).to_string();
            assert!(error.contains("section 7") && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn a_table_of_levels_that_cannot_be_is_refused() {
        let section = |bits, highest, count| {
            let mut bytes = [0; 21];
            bytes[11..17].copy_from_slice(&[bits, 0, highest, 0, count, 129]);
            bytes[17..21].copy_from_slice(&[0, 5, 0, 7]);
            bytes
        };
        let parsed = |bytes: [u8; 21]| parse(&Section { number: 5, offset: 0, bytes: &bytes });
        let read = parsed(section(8, 2, 2)).expect("a table");
        assert_eq!(read.values[1..], [50.0, 70.0]);
        assert!(read.values[0].is_nan());
        assert!(parsed(section(0, 0, 2)).is_err() && parsed(section(17, 2, 2)).is_err());
        assert!(parsed(section(2, 3, 3)).is_err() && parsed(section(8, 3, 2)).is_err());
        assert!(parsed(section(8, 3, 3)).is_err(), "a third value is past the section");
    }
}
