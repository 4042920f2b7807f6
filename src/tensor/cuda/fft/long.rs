//! Launches of `kernels/fft_long.cu`: transforms of lines that are longer than the shared memory of a block.

use bytemuck::{Pod, Zeroable};

use crate::tensor::cuda::Cuda;
use crate::tensor::cuda::launch::blocks;
use crate::tensor::cuda::reuse::Block;
use crate::tensor::ops::fft::Fft2;
use crate::tensor::{DType, Result, Slice};

use super::{FftPlan, MOST_ACROSS};

/// Complex lines of `len` numbers, `width` of them side by side in each of `batch` fields.
#[derive(Clone, Copy, Debug)]
struct Lines {
    batch: usize,
    len: usize,
    width: usize,
}

/// How a long line is transformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// In two passes, of as many numbers each.
    Passes([usize; 2]),
    /// As a convolution, by transforms of so many numbers.
    Chirp(usize),
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct LineSizes {
    batch: i64,
    len: i64,
    lanes: i64,
    width: i64,
    group: i64,
    in_step: i64,
    out_step: i64,
    plan: FftPlan,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ChirpSizes {
    batch: i64,
    n: i64,
    m: i64,
    width: i64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct RowSizes {
    rows: i64,
    columns: i64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct FieldSizes {
    len: i64,
    half: i32,
    columns: i32,
    scale: f32,
    paired_scale: f32,
    inverse: i32,
    padding: i32,
}

impl Way {
    /// `None` for lines that are too long in any way.
    fn new(n: usize, limit: usize) -> Option<Self> {
        if let Some(lengths) = passes(n, limit) {
            return Some(Way::Passes(lengths));
        }
        let m = (2 * n).checked_next_power_of_two()?;
        passes(m, limit).map(|_| Way::Chirp(m))
    }
}

/// Two factors of a length, as near to each other as may be, of which a block holds one each.
fn passes(n: usize, limit: usize) -> Option<[usize; 2]> {
    let fits = |len: usize| FftPlan::new(len, 1, limit).is_some();
    let few = (2..=n.isqrt()).rev().find(|few| n.is_multiple_of(*few) && fits(*few) && fits(n / few))?;
    Some([few, n / few])
}

impl Lines {
    fn numbers(self) -> usize {
        self.batch * self.len * self.width
    }
}

impl Cuda {
    /// Half spectra in f32 of the rows of fields.
    pub(super) fn long_rows_forward(&self, x: Slice<'_>, sizes: Fft2) -> Result<Block> {
        let (rows, lines) = rows_of(sizes);
        let z = self.take(2 * lines.numbers(), DType::F32)?;
        self.kernel("fft_long", "fft_pack", x.dtype).over(lines.numbers()).input(x).output(&z).value(rows).run()?;
        let z = self.transform_lines(z, lines)?;
        let len = sizes.batch * sizes.rows * sizes.columns_out();
        let y = self.take(2 * len, DType::F32)?;
        self.kernel_named("fft_long", "fft_unpack").over(len).output(&z).output(&y).value(rows).run()?;
        Ok(y)
    }

    /// Fields of half spectra in f32 whose columns are transformed.
    pub(super) fn long_rows_inverse(&self, x: &Block, sizes: Fft2, dtype: DType) -> Result<Block> {
        let (rows, lines) = rows_of(sizes);
        let z = self.take(2 * lines.numbers(), DType::F32)?;
        let len = sizes.batch * sizes.rows * sizes.columns_out();
        self.kernel_named("fft_long", "fft_spread").over(len).output(x).output(&z).value(rows).run()?;
        let z = self.transform_lines(z, lines)?;
        let y = self.take(sizes.batch * sizes.rows * sizes.columns, dtype)?;
        self.kernel("fft_long", "fft_take", dtype).over(lines.numbers()).output(&z).output(&y).value(rows).run()?;
        Ok(y)
    }

    /// Spectra of half spectra of rows in f32, scaled.
    pub(super) fn long_columns_forward(&self, x: Block, sizes: Fft2, dtype: DType) -> Result<Block> {
        let z = self.transform_lines(x, columns_of(sizes))?;
        self.finished_columns(&z, sizes, false, dtype)
    }

    /// Half spectra of rows in f32 of spectra, scaled.
    pub(super) fn long_columns_inverse(&self, x: Slice<'_>, sizes: Fft2) -> Result<Block> {
        let lines = columns_of(sizes);
        let z = self.take(2 * lines.numbers(), DType::F32)?;
        let launch = self.kernel("fft_long", "fft_begin", x.dtype).over(lines.numbers()).input(x).output(&z);
        launch.value(FieldSizes::new(sizes, true)).run()?;
        let z = self.transform_lines(z, lines)?;
        self.finished_columns(&z, sizes, true, DType::F32)
    }

    fn finished_columns(&self, z: &Block, sizes: Fft2, inverse: bool, dtype: DType) -> Result<Block> {
        let len = columns_of(sizes).numbers();
        let y = self.take(2 * len, dtype)?;
        let launch = self.kernel("fft_long", "fft_finish", dtype).over(len).output(z).output(&y);
        launch.value(FieldSizes::new(sizes, inverse)).run()?;
        Ok(y)
    }

    /// The transforms of lines; what they are made of is overwritten.
    fn transform_lines(&self, z: Block, lines: Lines) -> Result<Block> {
        match Way::new(lines.len, self.machine().shared_bytes()) {
            Some(Way::Passes(lengths)) => self.transform_in_passes(&z, lines, lengths),
            Some(Way::Chirp(m)) => self.transform_by_chirp(z, lines, m),
            None => Err(self.too_long(lines.len)),
        }
    }

    /// Number j₁ b + j₂ of a line goes to k₁ + a k₂: first over j₁, in place, then over j₂.
    fn transform_in_passes(&self, z: &Block, lines: Lines, [a, b]: [usize; 2]) -> Result<Block> {
        let (width, turns) = (lines.width, self.roots(lines.len)?);
        let y = self.take(2 * lines.numbers(), DType::F32)?;
        self.pass([z, z], lines, (a, b * width, width), [b * width, b * width], Some(&*turns))?;
        self.pass([z, &y], lines, (b, a * width, b * width), [width, a * width], None)?;
        Ok(y)
    }

    /// One launch: transforms of `n` numbers, `lanes` of them in a field, `width` of which lie together every `group`.
    fn pass(
        &self,
        [from, to]: [&Block; 2],
        lines: Lines,
        (n, lanes, group): (usize, usize, usize),
        [in_step, out_step]: [usize; 2],
        turns: Option<&Block>,
    ) -> Result<()> {
        let (plan, roots) = (self.fft_plan(n, MOST_ACROSS).ok_or_else(|| self.too_long(n))?, self.roots(n)?);
        let launch = self.kernel_named("fft_long", "fft_lines").threads(plan.threads()).shared(plan.shared_bytes());
        let launch = launch.grid(lanes.div_ceil(plan.across as usize), blocks(lines.batch), 1);
        let [batch, len, lanes, width] = [lines.batch, lines.len * lines.width, lanes, lines.width].map(|x| x as i64);
        let [group, in_step, out_step] = [group, in_step, out_step].map(|x| x as i64);
        let sizes = LineSizes { batch, len, lanes, width, group, in_step, out_step, plan };
        launch.output(from).output(to).output(&roots).perhaps(turns).value(sizes).run()
    }

    /// The result takes the place of what it is made of.
    fn transform_by_chirp(&self, z: Block, lines: Lines, m: usize) -> Result<Block> {
        let longer = Lines { len: m, ..lines };
        let [batch, n, m, width] = [lines.batch, lines.len, m, lines.width].map(|size| size as i64);
        let (sizes, roots) = (ChirpSizes { batch, n, m, width }, self.roots(2 * lines.len)?);
        let launch = |name: &str, len: usize| self.kernel_named("fft_long", name).over(len);
        let filter = Lines { batch: 1, width: 1, ..longer };
        let taps = self.take(2 * filter.numbers(), DType::F32)?;
        launch("fft_chirp_filter", filter.numbers()).output(&roots).output(&taps).value(sizes).run()?;
        let taps = self.transform_lines(taps, filter)?;
        let long = self.take(2 * longer.numbers(), DType::F32)?;
        let begin = launch("fft_chirp_begin", longer.numbers()).output(&z).output(&roots);
        begin.output(&long).value(sizes).run()?;
        let long = self.transform_lines(long, longer)?;
        launch("fft_chirp_multiply", longer.numbers()).output(&long).output(&taps).value(sizes).run()?;
        let long = self.transform_lines(long, longer)?;
        let end = launch("fft_chirp_end", lines.numbers()).output(&long).output(&roots);
        end.output(&z).value(sizes).run()?;
        Ok(z)
    }
}

impl FieldSizes {
    fn new(sizes: Fft2, inverse: bool) -> Self {
        let len = columns_of(sizes).numbers() as i64;
        let [half, columns] = [sizes.columns_out(), sizes.columns].map(|size| size as i32);
        let Fft2 { scale, paired_scale, .. } = sizes;
        FieldSizes { len, half, columns, scale, paired_scale, inverse: inverse.into(), padding: 0 }
    }
}

/// The rows of all fields, and the lines that hold two of them each.
fn rows_of(sizes: Fft2) -> (RowSizes, Lines) {
    let rows = sizes.batch * sizes.rows;
    let lines = Lines { batch: rows.div_ceil(2), len: sizes.columns, width: 1 };
    (RowSizes { rows: rows as i64, columns: sizes.columns as i64 }, lines)
}

/// The columns of half spectra as lines.
fn columns_of(sizes: Fft2) -> Lines {
    Lines { batch: sizes.batch, len: sizes.rows, width: sizes.columns_out() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::cuda::machine::LEAST_SHARED_BYTES;

    #[test]
    fn long_lines_are_taken_in_two_passes_or_by_a_chirp() {
        let way = |n| Way::new(n, LEAST_SHARED_BYTES);
        assert_eq!(way(20_000), Some(Way::Passes([125, 160])));
        assert_eq!(way(2 * 6949), Some(Way::Passes([2, 6949])));
        assert_eq!(way(20_011), Some(Way::Chirp(65_536)), "a prime");
        assert_eq!(way(2 * 20_011), Some(Way::Chirp(131_072)), "a great prime and a small one");
        assert_eq!(way(1 << 30), None);
    }
}
