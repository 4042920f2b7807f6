//! Which instructions kernels may use.

/// Instructions from the narrowest to the widest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What every machine of the architecture has.
    Portable,
    /// AVX2 and FMA in the shapes of [`Level::Avx512`]: slower than [`Level::Avx2`], and there for tests of those shapes
    /// on machines without AVX-512.
    Rehearsal,
    /// AVX2 and FMA: eight f32 at once.
    Avx2,
    /// AVX-512 F, BW, DQ and VL: sixteen f32 at once.
    Avx512,
}

impl Level {
    /// The widest that this machine has.
    pub fn best() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            let wide = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            let middle = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            match (middle, wide) {
                (true, true) => Level::Avx512,
                (true, false) => Level::Avx2,
                _ => Level::Portable,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Level::Portable
    }

    /// Every level that this machine can run, for tests.
    pub fn available() -> impl Iterator<Item = Level> {
        [Level::Portable, Level::Rehearsal, Level::Avx2, Level::Avx512]
            .into_iter()
            .filter(|level| *level <= Level::best())
    }

    /// Whether a·b + c is one instruction, rounded once.
    pub(in crate::tensor) fn fuses(self) -> bool {
        self != Level::Portable
    }

    /// Runs plain loops compiled for this level; what `work` calls must be `#[inline(always)]`.
    #[inline(always)]
    pub(in crate::tensor) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        match self {
            // SAFETY: a `Cpu` has no level above `Level::best()`, which found these features.
            Level::Avx512 => unsafe { run_avx512(work) },
            // SAFETY: as above.
            Level::Rehearsal | Level::Avx2 => unsafe { run_avx2(work) },
            Level::Portable => work(),
        }
        #[cfg(not(target_arch = "x86_64"))]
        work()
    }
}

/// Runs `work` compiled for AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
pub(super) fn run_avx2<R>(work: impl FnOnce() -> R) -> R {
    work()
}

/// Runs `work` compiled for AVX-512 F, BW, DQ and VL.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn run_avx512<R>(work: impl FnOnce() -> R) -> R {
    work()
}
