//! Several f32 in one register, so that one matrix kernel serves every level.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_storeu_ps, _mm512_fmadd_ps,
    _mm512_loadu_ps, _mm512_set1_ps, _mm512_storeu_ps,
};

/// A register of f32.
pub(super) trait Lanes: Copy {
    /// How many f32 it holds.
    const WIDTH: usize;

    /// One number in every lane.
    ///
    /// # Safety
    /// The machine has the instructions of the register.
    unsafe fn splat(x: f32) -> Self;

    /// Neighbours in memory, at any alignment.
    ///
    /// # Safety
    /// As [`Lanes::splat`]; [`Lanes::WIDTH`] f32 may be read at `from`.
    unsafe fn load(from: *const f32) -> Self;

    /// Writes neighbours in memory, at any alignment.
    ///
    /// # Safety
    /// As [`Lanes::splat`]; [`Lanes::WIDTH`] f32 may be written at `to`.
    unsafe fn store(self, to: *mut f32);

    /// `self + x · y`.
    ///
    /// # Safety
    /// As [`Lanes::splat`].
    unsafe fn add_product(self, x: Self, y: Self) -> Self;
}

/// What every machine can do.
impl Lanes for [f32; 4] {
    const WIDTH: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller says that four f32 may be read.
        unsafe { from.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller says that four f32 may be written.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self) }
    }

    #[inline(always)]
    unsafe fn add_product(self, x: Self, y: Self) -> Self {
        std::array::from_fn(
            #[inline(always)]
            |i| self[i] + x[i] * y[i],
        )
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m256 {
    const WIDTH: usize = 8;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller says that the machine has AVX2 and FMA.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and eight f32 may be read.
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and eight f32 may be written.
        unsafe { _mm256_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add_product(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller says that the machine has AVX2 and FMA.
        unsafe { _mm256_fmadd_ps(x, y, self) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for __m512 {
    const WIDTH: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        // SAFETY: the caller says that the machine has AVX-512.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and sixteen f32 may be read.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and sixteen f32 may be written.
        unsafe { _mm512_storeu_ps(to, self) }
    }

    #[inline(always)]
    unsafe fn add_product(self, x: Self, y: Self) -> Self {
        // SAFETY: the caller says that the machine has AVX-512.
        unsafe { _mm512_fmadd_ps(x, y, self) }
    }
}
