//! Eight numbers of one width, taken out of a run of bits at once.
//!
//! Four numbers of at most 25 bits lie within 16 bytes wherever they begin, and eight of `width` bits end `width` bytes
//! after they began: in a run of them, every eight lie alike.
//! Two loads of 16 bytes, one a half; one shuffle gives each number its four bytes, last first;
//! a shift to the left of its own drops the bits before it, a common one to the right those behind it.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cvtsi32_si128, _mm_loadu_si128, _mm256_castsi128_si256, _mm256_inserti128_si256,
    _mm256_load_si256, _mm256_shuffle_epi8, _mm256_sllv_epi32, _mm256_srl_epi32,
};

/// Numbers taken at once.
pub(super) const LANES: usize = 8;
/// The most bits a number may have: four bytes hold it wherever in the first of them it begins.
pub(super) const WIDEST: usize = 25;
/// How many bytes from the one that the first of eight numbers begins in are loaded at most.
pub(super) const REACH: usize = (LANES / 2 * WIDEST).div_ceil(8) + size_of::<__m128i>();

/// Where eight numbers lie: which bytes belong to each, and how many bits before it its first byte has.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Layout {
    bytes: [u8; 32],
    shifts: [u32; LANES],
}

/// By width, then by the bit of its byte that the first number begins at.
static LAYOUTS: [[Layout; 8]; WIDEST + 1] = layouts();

const fn layouts() -> [[Layout; 8]; WIDEST + 1] {
    let mut layouts = [[Layout { bytes: [0; 32], shifts: [0; LANES] }; 8]; WIDEST + 1];
    let mut at = 0;
    while at < (WIDEST + 1) * 8 {
        layouts[at / 8][at % 8] = layout(at / 8, at % 8);
        at += 1;
    }
    layouts
}

const fn layout(width: usize, first_bit: usize) -> Layout {
    let mut layout = Layout { bytes: [0; 32], shifts: [0; LANES] };
    let mut lane = 0;
    while lane < LANES {
        // The second half is loaded from the byte its first number begins in.
        let half = (first_bit + lane / 4 * 4 * width) % 8;
        let bit = half + lane % 4 * width;
        layout.shifts[lane] = (bit % 8) as u32;
        let mut byte = 0;
        while byte < 4 {
            layout.bytes[lane * 4 + byte] = (bit / 8 + 3 - byte) as u8;
            byte += 1;
        }
        lane += 1;
    }
    layout
}

/// How to take eight numbers of one width.
#[derive(Clone, Copy)]
pub(super) struct Eight {
    order: __m256i,
    left: __m256i,
    right: __m128i,
    second_half: usize,
}

impl Eight {
    /// Numbers of `width` ≤ [`WIDEST`] bits, the first of which begins at bit `first_bit` < 8 of a byte.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(width: usize, first_bit: usize) -> Self {
        let layout = &LAYOUTS[width][first_bit];
        // SAFETY: both are 32 bytes long, and aligned as the whole is to 64.
        let (order, left) = unsafe {
            (_mm256_load_si256(layout.bytes.as_ptr().cast()), _mm256_load_si256(layout.shifts.as_ptr().cast()))
        };
        let right = _mm_cvtsi32_si128(32 - width as i32);
        Eight { order, left, right, second_half: (first_bit + 4 * width) / 8 }
    }

    /// The eight numbers whose first begins in the byte at `start`.
    ///
    /// # Safety
    /// [`REACH`] bytes from `start` on can be read.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn take(&self, start: *const u8) -> __m256i {
        // SAFETY: the second half begins within 13 bytes, and `REACH` is 16 more.
        let (first, second) =
            unsafe { (_mm_loadu_si128(start.cast()), _mm_loadu_si128(start.add(self.second_half).cast())) };
        let both = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(first), second);
        _mm256_srl_epi32(_mm256_sllv_epi32(_mm256_shuffle_epi8(both, self.order), self.left), self.right)
    }
}
