//! Which grid points have values (section 6).

use std::ops::Range;

use super::super::Grib2Error;
use super::super::section::Section;

/// Checks that a bitmap has a bit for each of `points` points, `packed` of them ones.
pub(in super::super) fn check(bitmap: &Section, points: usize, packed: usize) -> Result<(), Grib2Error> {
    let bits = bitmap.rest(7);
    let needed = points.div_ceil(8);
    let Some(bits) = bits.get(..needed) else {
        return Err(bitmap.damaged(7, format!("{needed} bytes for {points} points, found {}", bits.len())));
    };
    match ones(bits, points) {
        ones if ones == packed => Ok(()),
        ones => Err(bitmap.damaged(7, format!("as many ones as packed values ({packed}), found {ones}"))),
    }
}

fn ones(bits: &[u8], points: usize) -> usize {
    let spare = bits.last().map_or(0, |last| (u32::from(*last) & (0xff >> ((points + 7) % 8 + 1))).count_ones());
    bits.iter().map(|b| b.count_ones() as usize).sum::<usize>() - spare as usize
}

/// Moves the first `packed` values to the points whose bit is one, and sets the others missing.
///
/// Goes from the last point to the first, so that no value is overwritten before it moves.
pub(in super::super) fn expand(bitmap: &Section, values: &mut [f32], packed: usize) {
    let mut next = packed;
    for (byte, first) in bitmap.rest(7).iter().zip((0..values.len()).step_by(8)).rev() {
        let count = (values.len() - first).min(8);
        match byte {
            0xff if count == 8 && next >= 8 => {
                next -= 8;
                values.copy_within(next..next + 8, first);
            }
            0 => values[first..first + count].fill(f32::NAN),
            _ => next = expand_byte(*byte, values, first..first + count, next),
        }
    }
}

/// Moves the values before `next` to those of up to eight points whose bit is one; what is left before `next`.
fn expand_byte(byte: u8, values: &mut [f32], points: Range<usize>, mut next: usize) -> usize {
    for (bit, point) in points.enumerate().rev() {
        if byte & (0x80 >> bit) == 0 {
            values[point] = f32::NAN;
        } else if next > 0 {
            next -= 1;
            values[point] = values[next];
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(bytes: &[u8]) -> Section<'_> {
        Section { number: 6, offset: 0, bytes }
    }

    #[test]
    fn values_go_to_the_ones() {
        let bytes = [0, 0, 0, 8, 6, 0, 0b0110_0000, 0b1111_1111];
        let mut values = [1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        assert_eq!(check(&section(&bytes), 9, 3), Ok(()));
        expand(&section(&bytes), &mut values, 3);
        assert_eq!(values.map(|v| if v.is_nan() { -1.0 } else { v }), [-1., 1., 2., -1., -1., -1., -1., -1., 3.]);
    }

    #[test]
    fn a_bitmap_that_does_not_fit_is_refused() {
        let bytes = [0, 0, 0, 7, 6, 0, 0b0110_0000];
        assert!(check(&section(&bytes), 9, 2).is_err() && check(&section(&bytes), 8, 3).is_err());
    }
}
