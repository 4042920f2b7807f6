//! Launches of `kernels/fft.cu`: rows and columns, each transform as a plan of radices; `kernels/fft_long.cu` for those
//! that do not fit into a block.

mod long;

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::fft::{Fft, Fft2};
use crate::tensor::{Buffer, DType, Memory, Result, Slice, TensorError};

use super::Cuda;
use super::launch::{Launch, blocks};
use super::machine::Address;
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
/// The most threads of a block, as the kernels are compiled for.
const MOST_THREADS: usize = 512;
/// Columns of a prime radix's matrix that a thread works on.
const TOGETHER: usize = 4;

/// Roots of unity by length.
static ROOTS: Mutex<BTreeMap<usize, Roots>> = Mutex::new(BTreeMap::new());

/// Real and imaginary parts.
type Roots = Arc<[[f32; 2]]>;

impl FftPlan {
    /// A plan of `across` transforms side by side, at most `wanted`, as many as fit; `None` where not one fits into so
    /// many bytes of shared memory.
    fn new(n: usize, wanted: usize, most_bytes: usize) -> Option<Self> {
        let radices = radices(n);
        let greatest = radices.first().copied().filter(|radix| *radix > SMALL[0]).unwrap_or(0);
        let mut plan = FftPlan {
            n: n as i32,
            across: 1,
            stages: radices.len() as i32,
            greatest: greatest as i32,
            radices: [0; 32],
        };
        plan.radices.iter_mut().zip(radices).for_each(|(to, radix)| *to = radix as i32);
        let bytes = |across: usize| FftPlan { across: across as i32, ..plan }.shared_bytes();
        let several = |across: &usize| *across <= wanted && bytes(*across) <= SHARED_BYTES.min(most_bytes);
        plan.across = [8, 4, 2].into_iter().find(several).unwrap_or(1) as i32;
        (plan.shared_bytes() <= most_bytes).then_some(plan)
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
        let between = self.rows_forward(x, sizes)?;
        Ok(Buffer::Cuda(self.columns_forward(between, sizes, x.dtype)?))
    }

    fn irfft2(&self, x: Slice<'_>, sizes: Fft2) -> Result<Buffer> {
        let mut held = None;
        let between = self.columns_inverse(self.in_pairs(x, &mut held)?, sizes)?;
        Ok(Buffer::Cuda(self.rows_inverse(&between, sizes, x.dtype)?))
    }

    fn amplitude(&self, x: Slice<'_>) -> Result<Buffer> {
        let (len, mut held) = (x.len / 2, None);
        let (x, y) = (self.in_pairs(x, &mut held)?, self.take(len, x.dtype)?);
        self.kernel("fft", "amplitude", x.dtype).over(len).input(x).output(&y).value(len as u64).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn amplitude_grad(&self, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer> {
        let mut held = None;
        let (x, dx) = (self.in_pairs(x, &mut held)?, self.take(x.len, x.dtype)?);
        let launch = self.kernel("fft", "amplitude_grad", x.dtype).over(dy.len).input(x).input(dy).output(&dx);
        launch.value(dy.len as u64).run()?;
        Ok(Buffer::Cuda(dx))
    }
}

impl Cuda {
    /// The same complex numbers where kernels can read both parts at once: a copy of those that begin in between.
    fn in_pairs<'a>(&self, x: Slice<'a>, held: &'a mut Option<Buffer>) -> Result<Slice<'a>> {
        if x.address().is_multiple_of(2 * x.dtype.bytes() as Address) {
            return Ok(x);
        }
        let buffer = held.insert(self.interleave(&[(x, x.len)], 1)?);
        Ok(Slice { buffer, offset: 0, ..x })
    }

    /// Half spectra in f32 of the rows of fields.
    fn rows_forward(&self, x: Slice<'_>, sizes: Fft2) -> Result<Block> {
        let Some(plan) = self.row_plan(sizes) else { return self.long_rows_forward(x, sizes) };
        let y = self.take(sizes.batch * sizes.rows * sizes.columns_out() * 2, DType::F32)?;
        let launch = over_rows(self.kernel("fft", "fft_rows_forward", x.dtype), plan, sizes);
        self.transform(launch.input(x).output(&y), plan, sizes)?;
        Ok(y)
    }

    /// Spectra of half spectra of rows, scaled.
    fn columns_forward(&self, x: Block, sizes: Fft2, dtype: DType) -> Result<Block> {
        let Some(plan) = self.column_plan(sizes) else { return self.long_columns_forward(x, sizes, dtype) };
        let y = self.take(sizes.batch * sizes.rows * sizes.columns_out() * 2, dtype)?;
        let launch = over_columns(self.kernel("fft", "fft_columns_forward", dtype), plan, sizes);
        self.transform(launch.output(&x).output(&y), plan, sizes)?;
        Ok(y)
    }

    /// Half spectra of rows in f32 of spectra, scaled.
    fn columns_inverse(&self, x: Slice<'_>, sizes: Fft2) -> Result<Block> {
        let Some(plan) = self.column_plan(sizes) else { return self.long_columns_inverse(x, sizes) };
        let y = self.take(x.len, DType::F32)?;
        let launch = over_columns(self.kernel("fft", "fft_columns_inverse", x.dtype), plan, sizes);
        self.transform(launch.input(x).output(&y), plan, sizes)?;
        Ok(y)
    }

    /// Fields of half spectra of rows.
    fn rows_inverse(&self, x: &Block, sizes: Fft2, dtype: DType) -> Result<Block> {
        let Some(plan) = self.row_plan(sizes) else { return self.long_rows_inverse(x, sizes, dtype) };
        let y = self.take(sizes.batch * sizes.rows * sizes.columns, dtype)?;
        let launch = over_rows(self.kernel("fft", "fft_rows_inverse", dtype), plan, sizes);
        self.transform(launch.output(x).output(&y), plan, sizes)?;
        Ok(y)
    }

    /// A plan for rows, two of which are one complex row.
    fn row_plan(&self, sizes: Fft2) -> Option<FftPlan> {
        self.fft_plan(sizes.columns, (ENOUGH / sizes.columns.max(1)).clamp(1, MOST_ACROSS))
    }

    fn column_plan(&self, sizes: Fft2) -> Option<FftPlan> {
        self.fft_plan(sizes.rows, MOST_ACROSS)
    }

    fn fft_plan(&self, n: usize, wanted: usize) -> Option<FftPlan> {
        FftPlan::new(n, wanted, self.machine().shared_bytes())
    }

    fn too_long(&self, n: usize) -> TensorError {
        let bytes = self.machine().shared_bytes();
        let what =
            format!("a Fourier transform of {n} numbers is longer than two passes of {bytes} bytes of shared memory");
        TensorError::Device { device: self.machine().name(), what }
    }

    /// Runs a launch whose arrays are given: adds the roots and the sizes.
    fn transform(&self, launch: Launch<'_>, plan: FftPlan, sizes: Fft2) -> Result<()> {
        let roots = self.roots(plan.n as usize)?;
        let launch = launch.threads(plan.threads()).shared(plan.shared_bytes()).output(&roots);
        launch.value(FftSizes::new(sizes, plan)).run()
    }

    /// e^(−2πi t/n) for t below n, rounded from f64.
    fn roots(&self, n: usize) -> Result<Arc<Block>> {
        let angle = |t: usize| -TAU * t as f64 / n as f64;
        let worked_out = || (0..n).map(|t| [angle(t).cos() as f32, angle(t).sin() as f32]).collect();
        // Not under the lock: whoever waits for the end of a recording must not keep that from its roots.
        let roots = ROOTS.lock().unwrap_or_else(PoisonError::into_inner).entry(n).or_insert_with(worked_out).clone();
        self.constant(&roots)
    }
}

/// The factors of a length, primes above the small radices first, the greatest in front: it has no roots to multiply with.
fn radices(n: usize) -> Vec<usize> {
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
    radices.sort_by(|a, b| b.cmp(a));
    radices
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
    use crate::tensor::cuda::machine::LEAST_SHARED_BYTES;

    #[test]
    fn plans_take_any_length_apart() {
        for n in 1..3000 {
            let plan = FftPlan::new(n, MOST_ACROSS, LEAST_SHARED_BYTES).unwrap();
            let radices = &plan.radices[..plan.stages as usize];
            assert_eq!(radices.iter().product::<i32>(), n as i32);
            assert!(radices.iter().all(|radix| *radix <= 7 || (2..*radix).all(|d| radix % d != 0)), "{radices:?}");
            assert!(plan.shared_bytes() <= SHARED_BYTES && plan.threads() <= MOST_THREADS);
        }
        let plan = |n, wanted| FftPlan::new(n, wanted, LEAST_SHARED_BYTES);
        assert_eq!(plan(1799, 1).unwrap().radices[..2], [257, 7]);
        assert_eq!(plan(1059, MOST_ACROSS).unwrap().across, 4);
        assert_eq!((plan(10_400, 1).map(|plan| plan.across), plan(10_432, 1)), (Some(1), None));
    }
}
