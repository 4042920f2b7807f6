//! Which grid points have values (section 6).

use super::Grib2Error;
use super::section::Section;

/// Checks that a bitmap has a bit for each of `points` points, `packed` of them ones.
pub(super) fn check(bitmap: &Section, points: usize, packed: usize) -> Result<(), Grib2Error> {
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
pub(super) fn expand(bitmap: &Section, values: &mut [f32], packed: usize) {
    let bits = bitmap.rest(7);
    let mut next = packed;
    for point in (0..values.len()).rev() {
        let present = bits.get(point / 8).is_some_and(|byte| byte & (0x80 >> (point % 8)) != 0);
        next -= usize::from(present && next > 0);
        let moved = values.get(next).copied().filter(|_| present).unwrap_or(f32::NAN);
        if let Some(value) = values.get_mut(point) {
            *value = moved;
        }
    }
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
