//! One register of f32, so that a kernel is written once for every level.
//!
//! [`Level::Rehearsal`] runs kernels with the width and the tiles of AVX-512 on pairs of AVX2's registers: all that
//! AVX-512 runs but its own register is tested without it.

use super::Level;
#[cfg(target_arch = "x86_64")]
use super::level::{run_avx2, run_avx512};

/// Some f32 that are worked on at once. Functions are inlined into the caller, which has the level's instructions.
pub(super) trait Vector: Copy {
    /// The level whose instructions it takes.
    const LEVEL: Level;
    /// Number of f32.
    const WIDTH: usize;
    /// Vectors that sums may be kept in without leaving the registers.
    const SUMS: usize;
    /// Zeros.
    fn zero() -> Self;
    /// One number everywhere.
    fn splat(value: f32) -> Self;
    /// The numbers at `from`.
    ///
    /// # Safety
    /// `from` points to [`Vector::WIDTH`] readable numbers.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes the numbers to `to`.
    ///
    /// # Safety
    /// `to` points to [`Vector::WIDTH`] writable numbers.
    unsafe fn store(self, to: *mut f32);
    /// `self` + a·b; rounded once where the level has such an instruction.
    fn plus_product(self, a: Self, b: Self) -> Self;
    /// `self` + `other`.
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.plus_product(Self::splat(1.0), other)
    }
    /// `self` − `other`.
    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.plus_product(Self::splat(-1.0), other)
    }
}

/// A kernel for any vector.
pub(super) trait Kernel {
    /// Runs it; must be `#[inline(always)]`.
    fn run<V: Vector>(self);
}

impl Level {
    /// Numbers in the level's vectors.
    pub(super) fn width(self) -> usize {
        match self {
            Level::Portable | Level::Avx2 => 8,
            Level::Rehearsal | Level::Avx512 => 16,
        }
    }

    /// Runs a kernel with the level's vectors and instructions.
    #[inline(always)]
    pub(super) fn launch(self, kernel: impl Kernel) {
        // One copy of the kernel a level: each is compiled with the instructions of its own alone.
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a `Cpu` has no level above `Level::best()`, which found these features.
            Level::Avx512 => unsafe {
                run_avx512(
                    #[inline(always)]
                    || kernel.run::<x86::Wide>(),
                )
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Avx2 => unsafe {
                run_avx2(
                    #[inline(always)]
                    || kernel.run::<x86::Middle>(),
                )
            },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Level::Rehearsal => unsafe {
                run_avx2(
                    #[inline(always)]
                    || kernel.run::<x86::Pair>(),
                )
            },
            _ => kernel.run::<Plain>(),
        }
    }
}

/// Eight numbers without special instructions; products and sums are rounded apart.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 8]);

impl Vector for Plain {
    const LEVEL: Level = Level::Portable;
    const WIDTH: usize = 8;
    const SUMS: usize = 6;

    #[inline(always)]
    fn zero() -> Self {
        Plain([0.0; 8])
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Plain([value; 8])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's contract; an array of f32 is aligned as f32 is.
        unsafe { Plain(*from.cast()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's contract.
        unsafe { *to.cast() = self.0 }
    }

    #[inline(always)]
    fn plus_product(mut self, a: Self, b: Self) -> Self {
        for lane in 0..8 {
            self.0[lane] += a.0[lane] * b.0[lane];
        }
        self
    }
}

/// One number: what is left where a run is no multiple of a wider vector.
impl Vector for f32 {
    const LEVEL: Level = Level::Portable;
    const WIDTH: usize = 1;
    const SUMS: usize = 12;

    #[inline(always)]
    fn zero() -> Self {
        0.0
    }

    #[inline(always)]
    fn splat(value: f32) -> Self {
        value
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's contract.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's contract.
        unsafe { *to = self }
    }

    #[inline(always)]
    fn plus_product(self, a: Self, b: Self) -> Self {
        self + a * b
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! The registers of AVX2 and AVX-512. Only [`super::Level::launch`] names them, and only where they are there.

    use std::arch::x86_64::*;

    use super::{Level, Vector};

    /// AVX2 and FMA.
    #[derive(Clone, Copy)]
    pub(super) struct Middle(__m256);

    /// AVX-512 F.
    #[derive(Clone, Copy)]
    pub(super) struct Wide(__m512);

    /// As many numbers and sums as AVX-512 has, in registers of AVX2.
    #[derive(Clone, Copy)]
    pub(super) struct Pair(Middle, Middle);

    impl Vector for Pair {
        const LEVEL: Level = Level::Rehearsal;
        const WIDTH: usize = Wide::WIDTH;
        const SUMS: usize = Wide::SUMS;

        #[inline(always)]
        fn zero() -> Self {
            Pair(Middle::zero(), Middle::zero())
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            Pair(Middle::splat(value), Middle::splat(value))
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the caller's contract.
            unsafe { Pair(Middle::load(from), Middle::load(from.add(Middle::WIDTH))) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the caller's contract.
            unsafe {
                self.0.store(to);
                self.1.store(to.add(Middle::WIDTH));
            }
        }

        #[inline(always)]
        fn plus_product(self, a: Self, b: Self) -> Self {
            Pair(self.0.plus_product(a.0, b.0), self.1.plus_product(a.1, b.1))
        }
    }

    impl Vector for Middle {
        const LEVEL: Level = Level::Avx2;
        const WIDTH: usize = 8;
        const SUMS: usize = 12;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Middle(_mm256_setzero_ps()) }
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Middle(_mm256_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the level has the instruction; the rest is the caller's contract.
            unsafe { Middle(_mm256_loadu_ps(from)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the level has the instruction; the rest is the caller's contract.
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn plus_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Middle(_mm256_fmadd_ps(a.0, b.0, self.0)) }
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Middle(_mm256_add_ps(self.0, other.0)) }
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Middle(_mm256_sub_ps(self.0, other.0)) }
        }
    }

    impl Vector for Wide {
        const LEVEL: Level = Level::Avx512;
        const WIDTH: usize = 16;
        const SUMS: usize = 24;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Wide(_mm512_setzero_ps()) }
        }

        #[inline(always)]
        fn splat(value: f32) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Wide(_mm512_set1_ps(value)) }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: the level has the instruction; the rest is the caller's contract.
            unsafe { Wide(_mm512_loadu_ps(from)) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: the level has the instruction; the rest is the caller's contract.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        fn plus_product(self, a: Self, b: Self) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Wide(_mm512_fmadd_ps(a.0, b.0, self.0)) }
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Wide(_mm512_add_ps(self.0, other.0)) }
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            // SAFETY: the level has the instruction.
            unsafe { Wide(_mm512_sub_ps(self.0, other.0)) }
        }
    }
}
