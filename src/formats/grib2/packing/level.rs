//! Which instructions values are unpacked with.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;

/// Which instructions values are unpacked with; all give the same bits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Level {
    /// Those every processor has.
    Portable,
    /// Eight values at a time.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Level {
    /// The fastest that this processor has.
    pub(super) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::found() {
            return Level::Avx2(avx2);
        }
        Level::Portable
    }
}
