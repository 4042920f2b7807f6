//! Simple packing, eight values at a time.

use std::arch::x86_64::{
    __m256i, _mm_storeu_ps, _mm256_add_pd, _mm256_castsi256_si128, _mm256_cvtepi32_pd, _mm256_cvtpd_ps,
    _mm256_extracti128_si256, _mm256_mul_pd, _mm256_set1_pd,
};

use super::numbers::{Eight, LANES, REACH, WIDEST};

/// Unpacks as many eights of values as can be loaded whole; how many values they are.
#[target_feature(enable = "avx2")]
pub(super) fn unpack(bytes: &[u8], bits: usize, line: (f64, f64), values: &mut [f32]) -> usize {
    if bits == 0 || bits > WIDEST || bytes.len() < REACH {
        return 0;
    }
    let whole = (bytes.len() - REACH) / bits + 1;
    let eight = Eight::new(bits, 0);
    let (eights, _) = values.as_chunks_mut::<LANES>();
    let done = eights.len().min(whole);
    for (at, values) in eights.iter_mut().take(done).enumerate() {
        // SAFETY: at ≤ (length − REACH) / bits, so that REACH bytes follow there.
        let numbers = unsafe { eight.take(bytes.as_ptr().add(at * bits)) };
        scale(numbers, line, values);
    }
    done * LANES
}

/// Integers to values, in double precision until the last step.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn scale(numbers: __m256i, (offset, factor): (f64, f64), values: &mut [f32; LANES]) {
    let (offset, factor) = (_mm256_set1_pd(offset), _mm256_set1_pd(factor));
    let halves = [_mm256_castsi256_si128(numbers), _mm256_extracti128_si256::<1>(numbers)];
    let [first, second] = halves.map(|half| {
        let product = _mm256_mul_pd(_mm256_cvtepi32_pd(half), factor);
        _mm256_cvtpd_ps(_mm256_add_pd(offset, product))
    });
    // SAFETY: `values` has room for both halves.
    unsafe {
        _mm_storeu_ps(values.as_mut_ptr(), first);
        _mm_storeu_ps(values.as_mut_ptr().add(LANES / 2), second);
    }
}
