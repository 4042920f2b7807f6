//! Launches of `kernels/fft.cu`: rows and columns, each transform as a plan of radices.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::fft::{Fft, Fft2};
use crate::tensor::{Buffer, DType, Result, Shape, Slice, TensorError};

use super::Cuda;
use super::launch::{Launch, blocks};
use super::reuse::Block;

/// A length taken apart, as `kernels/fft.cuh` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
struct FftPlan {
    n: i32,
    across: i32,
    stages: i32,
    greatest: i32,
    radices: [i32; 32],
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FftSizes {
    batch: i64,
    rows: i32,
    columns: i32,
    half: i32,
    padding: i32,
    scale: f32,
    paired_scale: f32,
    plan: FftPlan,
}

/// Radices that are done in registers; greater ones are primes.
const SMALL: [usize; 5] = [7, 5, 4, 3, 2];
/// Bytes of a complex number.
const NUMBER: usize = 8;
/// The most transforms side by side in a block: 64 bytes of neighbouring columns.
const MOST_ACROSS: usize = 8;
/// Numbers of a block that keep its threads busy.
const ENOUGH: usize = 2048;
/// Shared memory of a block that lets a multiprocessor have two of them, on compute capability 8.0.
const SHARED_BYTES: usize = 80 * 1024;
/// The most shared memory of a block on compute capability 8.0.
const MOST_SHARED_BYTES: usize = 163 * 1024;
/// The most threads of a block, as the kernels are compiled for.
const MOST_THREADS: usize = 512;
/// Columns of a prime radix's matrix that a thread works on.
const TOGETHER: usize = 4;

/// Roots of unity by length.
static ROOTS: Mutex<BTreeMap<usize, Roots>> = Mutex::new(BTreeMap::new());

/// Real and imaginary parts.
type Roots = Arc<[[f32; 2]]>;

impl FftPlan {
    /// A plan of `across` transforms side by side, at most `wanted`, as many as fit.
    fn new(n: usize, wanted: usize) -> Self {
        let (mut rest, mut radices) = (n, Vec::new());
        for radix in SMALL {
            while rest.is_multiple_of(radix) {
                radices.push(radix);
                rest /= radix;
            }
        }
        let mut prime = 11;
        while rest > 1 {
            // Without smaller factors, what is left below the square is a prime.
            prime = if prime * prime > rest { rest } else { prime };
            match rest.is_multiple_of(prime) {
                true => {
                    radices.push(prime);
                    rest /= prime;
                }
                false => prime += 2,
            }
        }
        // Primes first: the greatest has no roots to multiply with.
        radices.sort_by(|a, b| b.cmp(a));
        let greatest = radices.first().copied().filter(|radix| *radix > SMALL[0]).unwrap_or(0);
        let mut plan = FftPlan {
            n: n as i32,
            across: 1,
            stages: radices.len() as i32,
            greatest: greatest as i32,
            radices: [0; 32],
        };
        plan.radices.iter_mut().zip(radices).for_each(|(to, radix)| *to = radix as i32);
        let fits = |across: &usize| FftPlan { across: *across as i32, ..plan }.shared_bytes() <= SHARED_BYTES;
        plan.across = [8, 4, 2].into_iter().filter(|across| *across <= wanted).find(fits).unwrap_or(1) as i32;
        plan
    }

    fn shared_bytes(&self) -> usize {
        let len = (self.n as usize * self.across as usize).next_multiple_of(2);
        (2 * len + self.greatest as usize) * NUMBER
    }

    /// Threads of a block: one for each sum of a prime stage or for each butterfly, in as few rounds as may be.
    fn threads(&self) -> usize {
        let (n, across) = (self.n as usize, self.across as usize);
        let work = match self.greatest as usize {
            0 => n * across / 4,
            p => (p / 2 + 1) * (n / p * across).div_ceil(TOGETHER),
        };
        work.div_ceil(work.div_ceil(MOST_THREADS).max(1)).next_multiple_of(32).max(64)
    }
}

impl Fft for Cuda {
    fn rfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer> {
        let (rows, columns) = plans(sizes)?;
        let len = sizes.batch * sizes.rows * sizes.columns_out() * 2;
        let (between, y) = (self.take(len, DType::F32)?, self.take(len, x.dtype)?);
        let launch = over_rows(self.kernel("fft", "fft_rows_forward", x.dtype), rows, sizes);
        self.transform(launch.input(x).output(&between), rows, sizes)?;
        let launch = over_columns(self.kernel("fft", "fft_columns_forward", x.dtype), columns, sizes);
        self.transform(launch.output(&between).output(&y), columns, sizes)?;
        Ok(Buffer::Cuda(y))
    }

    fn irfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer> {
        let (rows, columns) = plans(sizes)?;
        let between = self.take(x.len, DType::F32)?;
        let y = self.take(sizes.batch * sizes.rows * sizes.columns, x.dtype)?;
        let launch = over_columns(self.kernel("fft", "fft_columns_inverse", x.dtype), columns, sizes);
        self.transform(launch.input(x).output(&between), columns, sizes)?;
        let launch = over_rows(self.kernel("fft", "fft_rows_inverse", x.dtype), rows, sizes);
        self.transform(launch.output(&between).output(&y), rows, sizes)?;
        Ok(Buffer::Cuda(y))
    }

    fn amplitude(&self, x: Slice<'_>) -> Result<Buffer> {
        let len = x.len / 2;
        let y = self.take(len, x.dtype)?;
        self.kernel("fft", "amplitude", x.dtype).over(len).input(x).output(&y).value(len as u64).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn amplitude_grad(&self, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer> {
        let dx = self.take(x.len, x.dtype)?;
        let launch = self.kernel("fft", "amplitude_grad", x.dtype).over(dy.len).input(x).input(dy).output(&dx);
        launch.value(dy.len as u64).run()?;
        Ok(Buffer::Cuda(dx))
    }
}

impl Cuda {
    /// Runs a launch whose arrays are given: adds the roots and the sizes.
    fn transform(&self, launch: Launch<'_>, plan: FftPlan, sizes: Fft2) -> Result<()> {
        let roots = self.roots(plan.n as usize)?;
        let launch = launch.threads(plan.threads()).shared(plan.shared_bytes()).output(&roots);
        launch.value(FftSizes::new(sizes, plan)).run()
    }

    /// e^(−2πi t/n) for t below n, rounded from f64.
    fn roots(&self, n: usize) -> Result<Arc<Block>> {
        let mut held = ROOTS.lock().unwrap_or_else(PoisonError::into_inner);
        let roots = held.entry(n).or_insert_with(|| {
            let angle = |t: usize| -TAU * t as f64 / n as f64;
            (0..n).map(|t| [angle(t).cos() as f32, angle(t).sin() as f32]).collect()
        });
        self.constant(roots)
    }
}

/// Plans for rows, two of which are one complex row, and for columns.
fn plans(sizes: Fft2) -> Result<(FftPlan, FftPlan)> {
    let across = (ENOUGH / sizes.columns.max(1)).clamp(1, MOST_ACROSS);
    let plans = (FftPlan::new(sizes.columns, across), FftPlan::new(sizes.rows, MOST_ACROSS));
    if plans.0.shared_bytes().max(plans.1.shared_bytes()) > MOST_SHARED_BYTES {
        let expected = format!("rows and columns of which {MOST_SHARED_BYTES} bytes of shared memory hold one twice");
        return Err(TensorError::shape("fft", Shape::from([sizes.rows, sizes.columns]), expected));
    }
    Ok(plans)
}

fn over_rows(launch: Launch<'_>, plan: FftPlan, sizes: Fft2) -> Launch<'_> {
    launch.grid((sizes.batch * sizes.rows).div_ceil(2 * plan.across as usize), 1, 1)
}

fn over_columns(launch: Launch<'_>, plan: FftPlan, sizes: Fft2) -> Launch<'_> {
    launch.grid(sizes.columns_out().div_ceil(plan.across as usize), blocks(sizes.batch), 1)
}

impl FftSizes {
    fn new(sizes: Fft2, plan: FftPlan) -> Self {
        let [rows, columns, half] = [sizes.rows, sizes.columns, sizes.columns_out()].map(|size| size as i32);
        let Fft2 { scale, paired_scale, .. } = sizes;
        FftSizes { batch: sizes.batch as i64, rows, columns, half, padding: 0, scale, paired_scale, plan }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_take_any_length_apart() {
        for n in 1..3000 {
            let plan = FftPlan::new(n, MOST_ACROSS);
            let radices = &plan.radices[..plan.stages as usize];
            assert_eq!(radices.iter().product::<i32>(), n as i32);
            assert!(radices.iter().all(|radix| *radix <= 7 || (2..*radix).all(|d| radix % d != 0)), "{radices:?}");
            assert!(plan.shared_bytes() <= SHARED_BYTES && plan.threads() <= MOST_THREADS);
        }
        assert_eq!(FftPlan::new(1799, 1).radices[..2], [257, 7]);
        assert_eq!(FftPlan::new(1059, MOST_ACROSS).across, 4);
    }
}
