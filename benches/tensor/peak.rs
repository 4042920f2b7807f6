//! Multiply-adds a second that never leave the registers: what arithmetic on this machine can reach at most.

use std::hint::black_box;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

use gustfront::tensor::Level;

/// Sums that do not wait for each other: more than latency times throughput of the multiply-add of any processor here.
const CHAINS: usize = 12;
/// Multiply-adds of each chain in one measurement.
const STEPS: usize = 2_000_000;
/// Measurements, of which the fastest counts.
const REPEATS: usize = 5;

/// GFLOP/s of a level over so many threads at a time.
pub(crate) fn gigaflops(level: Level, threads: usize) -> f64 {
    let kernel = kernel(level);
    (0..REPEATS).map(|_| once(kernel, threads)).fold(0.0, f64::max)
}

/// All threads from the moment that all are there until the last has ended.
fn once((run, lanes): (fn() -> f32, usize), threads: usize) -> f64 {
    let start = Barrier::new(threads);
    let work = || {
        start.wait();
        let begin = Instant::now();
        black_box(run());
        begin.elapsed().as_secs_f64()
    };
    let seconds = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a thread of arithmetic")).fold(0.0, f64::max)
    });
    2e-9 * (CHAINS * STEPS * lanes * threads) as f64 / seconds
}

/// The loop of a level, and how many numbers it works on at once.
fn kernel(level: Level) -> (fn() -> f32, usize) {
    #[cfg(target_arch = "x86_64")]
    match level {
        // SAFETY: a level is asked for only where `Level::available` has it.
        Level::Avx512 => (|| unsafe { x86::avx512() }, 16),
        // SAFETY: as above.
        Level::Rehearsal | Level::Avx2 => (|| unsafe { x86::avx2() }, 8),
        Level::Portable => (x86::sse2, 4),
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = level;
        (plain, 4)
    }
}

/// Where there are no intrinsics: arrays that compilers keep in vector registers.
#[cfg(not(target_arch = "x86_64"))]
fn plain() -> f32 {
    let (factor, term) = (black_box(0.999_f32), black_box(0.001_f32));
    let mut sums = [[0.0_f32; 4]; CHAINS];
    for _ in 0..STEPS {
        sums.as_flattened_mut().iter_mut().for_each(|sum| *sum = *sum * factor + term);
    }
    sums.as_flattened().iter().sum()
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::hint::black_box;

    use super::{CHAINS, STEPS};

    /// SSE2 has no multiply-add: a product, then a sum.
    pub(super) fn sse2() -> f32 {
        // SAFETY: every x86-64 processor has SSE2.
        unsafe {
            let (factor, term) = (_mm_set1_ps(black_box(0.999)), _mm_set1_ps(black_box(0.001)));
            let mut sums = [_mm_setzero_ps(); CHAINS];
            for _ in 0..STEPS {
                sums.iter_mut().for_each(|sum| *sum = _mm_add_ps(_mm_mul_ps(*sum, factor), term));
            }
            sums.into_iter().map(|sum| _mm_cvtss_f32(sum)).sum()
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn avx2() -> f32 {
        let (factor, term) = (_mm256_set1_ps(black_box(0.999)), _mm256_set1_ps(black_box(0.001)));
        let mut sums = [_mm256_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, term);
            }
        }
        let mut all = 0.0;
        for sum in sums {
            all += _mm256_cvtss_f32(sum);
        }
        all
    }

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) fn avx512() -> f32 {
        let (factor, term) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
        let mut sums = [_mm512_setzero_ps(); CHAINS];
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, term);
            }
        }
        let mut all = 0.0;
        for sum in sums {
            all += _mm512_cvtss_f32(sum);
        }
        all
    }
}
