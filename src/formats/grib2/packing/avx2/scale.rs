//! Integers to values, eight at a time, in double precision until the last step.

use std::arch::x86_64::{
    __m128i, __m256d, __m256i, _mm_loadu_si128, _mm_storeu_ps, _mm256_add_pd, _mm256_blendv_ps, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cvtepi32_pd, _mm256_cvtpd_ps, _mm256_extracti128_si256, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_mul_pd, _mm256_set1_pd, _mm256_set1_ps, _mm256_storeu_ps,
};
use std::iter::zip;

use super::numbers::LANES;

/// The line that values lie on.
#[derive(Clone, Copy)]
pub(super) struct Line {
    offset: __m256d,
    factor: __m256d,
}

impl Line {
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new((offset, factor): (f64, f64)) -> Self {
        Line { offset: _mm256_set1_pd(offset), factor: _mm256_set1_pd(factor) }
    }

    /// Eight values.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn write(&self, numbers: __m256i, values: &mut [f32; LANES]) {
        self.halves(_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers), values);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn halves(&self, first: __m128i, second: __m128i, values: &mut [f32; LANES]) {
        let [first, second] = [first, second].map(|half| {
            // A product and a sum, each rounded, as in the portable code.
            let product = _mm256_mul_pd(_mm256_cvtepi32_pd(half), self.factor);
            _mm256_cvtpd_ps(_mm256_add_pd(self.offset, product))
        });
        // SAFETY: `values` has room for both halves.
        unsafe {
            _mm_storeu_ps(values.as_mut_ptr(), first);
            _mm_storeu_ps(values.as_mut_ptr().add(LANES / 2), second);
        }
    }
}

/// Values of integers; the last, if fewer than eight are wanted, of the last eight.
#[target_feature(enable = "avx2")]
pub(super) fn scale(numbers: &[[i32; LANES]], line: (f64, f64), values: &mut [f32]) {
    let line = Line::new(line);
    let (eights, rest) = values.as_chunks_mut::<LANES>();
    let mut last = [0.0; LANES];
    let into = eights.iter_mut().chain((!rest.is_empty()).then_some(&mut last));
    for (numbers, values) in zip(numbers, into) {
        // SAFETY: eight lanes are twice 16 bytes.
        let (first, second) = unsafe {
            (_mm_loadu_si128(numbers.as_ptr().cast()), _mm_loadu_si128(numbers.as_ptr().add(LANES / 2).cast()))
        };
        line.halves(first, second, values);
    }
    rest.iter_mut().zip(last).for_each(|(to, from)| *to = from);
}

/// NaN where `present` is zero; elsewhere it is −1.
#[target_feature(enable = "avx2")]
pub(super) fn blank(present: &[[i32; LANES]], values: &mut [f32]) {
    let (eights, rest) = values.as_chunks_mut::<LANES>();
    for (present, values) in zip(present, &mut *eights) {
        // SAFETY: eight lanes are 32 bytes.
        unsafe {
            let (present, found) = (_mm256_loadu_si256(present.as_ptr().cast()), _mm256_loadu_ps(values.as_ptr()));
            let blended = _mm256_blendv_ps(_mm256_set1_ps(f32::NAN), found, _mm256_castsi256_ps(present));
            _mm256_storeu_ps(values.as_mut_ptr(), blended);
        }
    }
    let behind = present.get(eights.len()).into_iter().flatten();
    zip(rest, behind).filter(|(_, present)| **present == 0).for_each(|(value, _)| *value = f32::NAN);
}
