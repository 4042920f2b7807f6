//! Differences summed back into values, a tile of them at a time.
//!
//! Sums wrap at 32 bits, so the last 32 bits of each are right whatever happened before it.
//! Where every value lies within ±2²⁸ and every difference of second order does too, the next value lies within
//! 2²⁸ + 2·2²⁸ + 2²⁸ = 2³⁰: it fits into 32 bits and is right. So values are right up to the first outside ±2²⁸.
//!
//! A whole tile is cut into eight streams, one a lane, each summed from zero; then what went before is added to each:
//! the value before it and, a step later each time, the slope before it. Three short loops, one for the streams, one for
//! this and one for the scale, overlap better than one long loop does.

use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_storeu_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_castsi128_si256,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_inserti128_si256, _mm256_loadu_si256, _mm256_max_epu32,
    _mm256_mullo_epi32, _mm256_permute2x128_si256, _mm256_permutevar8x32_epi32, _mm256_set1_epi32, _mm256_setr_epi32,
    _mm256_setzero_si256, _mm256_shuffle_epi32, _mm256_slli_si256, _mm256_storeu_si256, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64,
};

use super::numbers::LANES;

/// Values and differences have to lie within ± this for sums in 32 bits.
pub(super) const LIMIT: i32 = 1 << 28;
/// Differences summed at once.
pub(super) const TILE: usize = 512;
/// Differences of a stream.
const STREAM: usize = TILE / LANES;

/// What is summed so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    slope: i32,
    value: i32,
}

impl Sums {
    /// Turns a tile of differences of order `ORDER` ≥ 1 into values; whether all lay within ±[`LIMIT`].
    #[target_feature(enable = "avx2")]
    pub(super) fn tile<const ORDER: u8>(&mut self, tile: &mut [i32; TILE]) -> bool {
        let (slopes, values) = streams::<ORDER>(tile);
        let mut largest = _mm256_setzero_si256();
        let streams = tile.as_chunks_mut::<STREAM>().0;
        for ((stream, slope), value) in streams.iter_mut().zip(slopes).zip(values) {
            let after = self.value.wrapping_add(self.slope.wrapping_mul(STREAM as i32));
            largest = _mm256_max_epu32(largest, self.raise(stream));
            self.value = after.wrapping_add(value);
            self.slope = self.slope.wrapping_add(slope);
        }
        within_limit(largest)
    }

    /// Adds what went before a stream to it; its largest values, each [`LIMIT`] more.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn raise(&self, stream: &mut [i32; STREAM]) -> __m256i {
        let slope = _mm256_mullo_epi32(_mm256_set1_epi32(self.slope), _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 8));
        let mut before = _mm256_add_epi32(_mm256_set1_epi32(self.value), slope);
        let step = _mm256_set1_epi32(self.slope.wrapping_mul(LANES as i32));
        let (limit, mut largest) = (_mm256_set1_epi32(LIMIT), _mm256_setzero_si256());
        for lanes in stream.as_chunks_mut::<LANES>().0 {
            let values = _mm256_add_epi32(load(lanes), before);
            before = _mm256_add_epi32(before, step);
            largest = _mm256_max_epu32(largest, _mm256_add_epi32(values, limit));
            *lanes = store(values);
        }
        largest
    }

    /// [`Sums::tile`] of any number of differences, some of them zero where `present` is zero and the value missing.
    #[target_feature(enable = "avx2")]
    pub(super) fn some<const ORDER: u8>(&mut self, numbers: &mut [[i32; LANES]], present: &[[i32; LANES]]) -> bool {
        let (mut slope, mut value) = (_mm256_set1_epi32(self.slope), _mm256_set1_epi32(self.value));
        let (limit, mut largest) = (_mm256_set1_epi32(LIMIT), _mm256_setzero_si256());
        for (numbers, present) in numbers.iter_mut().zip(present) {
            let integers = match ORDER {
                1 => add(&mut value, load(numbers)),
                _ => {
                    let slopes = add(&mut slope, load(numbers));
                    add(&mut value, _mm256_and_si256(slopes, load(present)))
                }
            };
            largest = _mm256_max_epu32(largest, _mm256_add_epi32(integers, limit));
            *numbers = store(integers);
        }
        ([self.slope, ..], [self.value, ..]) = (store(slope), store(value));
        within_limit(largest)
    }
}

/// Sums each stream from zero; the last slope and value of each.
#[inline]
#[target_feature(enable = "avx2")]
fn streams<const ORDER: u8>(tile: &mut [i32; TILE]) -> ([i32; LANES], [i32; LANES]) {
    let (mut slopes, mut values) = (_mm256_setzero_si256(), _mm256_setzero_si256());
    for at in (0..STREAM).step_by(4) {
        let start = tile.as_mut_ptr();
        // SAFETY: four numbers from at ≤ STREAM − 4 on lie within each of the eight streams.
        let place = |stream: usize| unsafe { start.add(stream * STREAM + at).cast() };
        let differences = [0, 1, 2, 3].map(|stream| {
            // SAFETY: as above.
            let (low, high) = unsafe { (_mm_loadu_si128(place(stream)), _mm_loadu_si128(place(stream + 4))) };
            _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
        });
        let sums = transpose(differences).map(|differences| {
            slopes = _mm256_add_epi32(slopes, differences);
            values = _mm256_add_epi32(values, if ORDER == 1 { differences } else { slopes });
            values
        });
        for (stream, sums) in transpose(sums).into_iter().enumerate() {
            // SAFETY: as above.
            unsafe {
                _mm_storeu_si128(place(stream), _mm256_castsi256_si128(sums));
                _mm_storeu_si128(place(stream + 4), _mm256_extracti128_si256::<1>(sums));
            }
        }
    }
    (if ORDER == 1 { [0; LANES] } else { store(slopes) }, store(values))
}

/// Turns rows of four into columns of four in each half.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose([a, b, c, d]: [__m256i; 4]) -> [__m256i; 4] {
    let (ab, cd) = (_mm256_unpacklo_epi32(a, b), _mm256_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm256_unpackhi_epi32(a, b), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab, cd),
        _mm256_unpackhi_epi64(ab, cd),
        _mm256_unpacklo_epi64(ab_high, cd_high),
        _mm256_unpackhi_epi64(ab_high, cd_high),
    ]
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

/// Whether numbers that are [`LIMIT`] more than values show these to lie within ±[`LIMIT`].
#[inline]
#[target_feature(enable = "avx2")]
fn within_limit(largest: __m256i) -> bool {
    store(largest).iter().all(|v| v.cast_unsigned() < 2 * LIMIT.cast_unsigned())
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
