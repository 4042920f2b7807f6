//! Differences summed back into values, eight at a time.
//!
//! Sums wrap at 32 bits, so the last 32 bits of each are right whatever happened before it.
//! Where every value lies within ±2²⁸ and every difference of second order does too, the next value lies within
//! 2²⁸ + 2·2²⁸ + 2²⁸ = 2³⁰: it fits into 32 bits and is right. So values are right up to the first outside ±2²⁸.

use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_blendv_ps, _mm256_castsi256_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_max_epu32, _mm256_permute2x128_si256, _mm256_permutevar8x32_epi32, _mm256_set1_epi32,
    _mm256_set1_ps, _mm256_setzero_si256, _mm256_shuffle_epi32, _mm256_slli_si256, _mm256_storeu_ps,
    _mm256_storeu_si256,
};

use super::numbers::LANES;
use super::simple::scale;

/// Values and differences have to lie within ± this for sums in 32 bits.
pub(super) const LIMIT: i32 = 1 << 28;

/// What is summed so far; the same number in every lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    slope: [i32; LANES],
    value: [i32; LANES],
}

/// Eight differences, and −1 where there is one, 0 where the value is missing.
#[derive(Clone, Copy)]
pub(super) struct Differences<'a> {
    pub(super) numbers: &'a [[i32; LANES]],
    pub(super) present: &'a [[i32; LANES]],
}

impl Sums {
    /// Sums differences of order `ORDER` into `values`; whether all integers lay within ±[`LIMIT`].
    #[target_feature(enable = "avx2")]
    pub(super) fn add<const ORDER: u8, const MISSING: bool>(
        &mut self,
        differences: Differences,
        line: (f64, f64),
        values: &mut [f32],
    ) -> bool {
        let (mut slope, mut value) = (load(&self.slope), load(&self.value));
        let (limit, mut largest) = (_mm256_set1_epi32(LIMIT), _mm256_setzero_si256());
        let (eights, rest) = values.as_chunks_mut::<LANES>();
        let mut last = [0.0; LANES];
        let into = eights.iter_mut().chain((!rest.is_empty()).then_some(&mut last));
        for ((numbers, present), values) in differences.numbers.iter().zip(differences.present).zip(into) {
            let (numbers, present) = (load(numbers), load(present));
            let integers = match ORDER {
                0 => numbers,
                1 => add(&mut value, numbers),
                _ => {
                    let slopes = add(&mut slope, numbers);
                    add(&mut value, if MISSING { _mm256_and_si256(slopes, present) } else { slopes })
                }
            };
            largest = _mm256_max_epu32(largest, _mm256_add_epi32(integers, limit));
            scale(integers, line, values);
            if MISSING {
                blank(values, present);
            }
        }
        rest.iter_mut().zip(last).for_each(|(to, from)| *to = from);
        (self.slope, self.value) = (store(slope), store(value));
        store(largest).iter().all(|v| v.cast_unsigned() < 2 * LIMIT.cast_unsigned())
    }
}

/// The sums of `sum` and the first, the first two, … of eight numbers; the last of them becomes `sum`.
#[inline]
#[target_feature(enable = "avx2")]
fn add(sum: &mut __m256i, numbers: __m256i) -> __m256i {
    let pairs = _mm256_add_epi32(numbers, _mm256_slli_si256::<4>(numbers));
    let fours = _mm256_add_epi32(pairs, _mm256_slli_si256::<8>(pairs));
    let first_half = _mm256_shuffle_epi32::<0xff>(_mm256_permute2x128_si256::<0x08>(fours, fours));
    let eights = _mm256_add_epi32(fours, first_half);
    let sums = _mm256_add_epi32(eights, *sum);
    *sum = _mm256_add_epi32(*sum, _mm256_permutevar8x32_epi32(eights, _mm256_set1_epi32(LANES as i32 - 1)));
    sums
}

/// NaN where nothing is present.
#[inline]
#[target_feature(enable = "avx2")]
fn blank(values: &mut [f32; LANES], present: __m256i) {
    // SAFETY: `values` are eight lanes.
    unsafe {
        let found = _mm256_loadu_ps(values.as_ptr());
        let blended = _mm256_blendv_ps(_mm256_set1_ps(f32::NAN), found, _mm256_castsi256_ps(present));
        _mm256_storeu_ps(values.as_mut_ptr(), blended);
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(lanes: &[i32; LANES]) -> __m256i {
    // SAFETY: eight lanes are 32 bytes.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(vector: __m256i) -> [i32; LANES] {
    let mut lanes = [0; LANES];
    // SAFETY: eight lanes are 32 bytes.
    unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), vector) };
    lanes
}
