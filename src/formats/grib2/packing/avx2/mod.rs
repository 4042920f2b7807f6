//! Unpacking with AVX2, eight numbers at a time, where the processor has it and 32 bits are enough.
//!
//! Everything here gives the same bits as the portable code, or gives up and leaves the field to it.

use super::Complex;

mod complex;
mod numbers;
mod scale;
mod simple;
mod sums;

/// A processor with AVX2; there is none where it lacks it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2(());

impl Avx2 {
    /// This processor, if it has AVX2.
    pub(super) fn found() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Avx2(()))
    }

    /// Unpacks the first of `values`, `bits` each, from the start of `bytes`; how many, a multiple of eight.
    pub(super) fn simple(self, bytes: &[u8], bits: u32, line: (f64, f64), values: &mut [f32]) -> usize {
        // SAFETY: the processor has AVX2, or there would be no `self`.
        unsafe { simple::unpack(bytes, bits as usize, line, values) }
    }

    /// Unpacks what follows the head of section 7; `false` leaves the field, be it damaged or large, to others.
    pub(super) fn complex(self, bytes: &[u8], packing: &Complex, values: &mut [f32]) -> bool {
        // SAFETY: the processor has AVX2, or there would be no `self`.
        unsafe { complex::unpack(bytes, packing, values) }.is_some()
    }
}
