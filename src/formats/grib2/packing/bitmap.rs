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

/// Points looked at together.
const WORD: usize = u64::BITS as usize;

/// Moves the first `packed` values to the points whose bit is one, and sets the others missing.
///
/// Goes from the last point to the first, so that no value is overwritten before it moves, and ends where values are
/// in their places.
pub(in super::super) fn expand(bitmap: &Section, values: &mut [f32], packed: usize) {
    let (bits, mut next) = (bitmap.rest(7), packed.min(values.len()));
    for first in (0..values.len()).step_by(WORD).rev() {
        let count = (values.len() - first).min(WORD);
        if next == first + count {
            return;
        }
        match word(bits, first / 8) {
            u64::MAX if count == WORD && next >= WORD => {
                next -= WORD;
                values.copy_within(next..next + WORD, first);
            }
            0 => values[first..first + count].fill(f32::NAN),
            bits => next = expand_word(bits, values, first..first + count, next),
        }
    }
}

/// Eight bytes from `start`, zeros where there are none.
fn word(bits: &[u8], start: usize) -> u64 {
    let rest = bits.get(start..).unwrap_or_default();
    let mut bytes = [0; 8];
    match rest.first_chunk() {
        Some(eight) => bytes = *eight,
        None => bytes.iter_mut().zip(rest).for_each(|(to, from)| *to = *from),
    }
    u64::from_be_bytes(bytes)
}

/// Moves the values before `next` to those of up to 64 points whose bit is one; what is left before `next`.
fn expand_word(bits: u64, values: &mut [f32], points: Range<usize>, mut next: usize) -> usize {
    for (bit, point) in points.enumerate().rev() {
        let one = bits << bit >> (WORD - 1) == 1;
        let value = values[next.saturating_sub(1)];
        // Both are computed and one is chosen: where the ones are cannot be predicted.
        values[point] = if one { value } else { f32::NAN };
        next = next.saturating_sub(one.into());
    }
    next
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn values_go_to_the_ones_of_any_bitmap(
            runs in vec((any::<bool>(), prop_oneof![1usize..4, 1usize..300]), 1..60),
        ) {
            let ones: Vec<bool> = runs.iter().flat_map(|(one, count)| vec![*one; *count]).collect();
            let mut bytes = vec![0, 0, 0, 0, 6, 0];
            let octet = |ones: &[bool]| ones.iter().enumerate().map(|(bit, one)| u8::from(*one) << (7 - bit)).sum();
            bytes.extend(ones.chunks(8).map(|ones| -> u8 { octet(ones) }));
            let packed = ones.iter().filter(|one| **one).count();
            prop_assert_eq!(check(&section(&bytes), ones.len(), packed), Ok(()));
            let mut values: Vec<f32> = (0..ones.len()).map(|at| at as f32).collect();
            expand(&section(&bytes), &mut values, packed);
            let mut next = (0..).map(|at| at as f32);
            for (value, one) in values.iter().zip(&ones) {
                let right = if *one { Some(*value) == next.next() } else { value.is_nan() };
                prop_assert!(right, "{} for {}", value, one);
            }
        }
    }

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
