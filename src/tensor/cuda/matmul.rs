//! Launches of `kernels/matmul.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::matmul::{Epilogue, Matmul, Operand, Product};
use crate::tensor::{Buffer, DType, Memory, Result, Slice};

use super::Cuda;
use super::elementwise::{Function, aligned};
use super::memory::whole;

/// `MatmulSizes` of the kernel file.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MatmulSizes {
    batch: [i64; 4],
    x_batch: [i64; 4],
    y_batch: [i64; 4],
    x_step: i64,
    y_step: i64,
    rows: i32,
    columns: i32,
    inner: i32,
    parts: i32,
    part_len: i32,
    x_wide: i32,
    y_wide: i32,
    wide: i32,
    result_f32: i32,
    function: Function,
    batches: i64,
}

/// Bytes of the inner index that a buffer of the kernels holds, buffers, and bytes that keep rows in different banks.
const CHUNK_BYTES: usize = 64;
const STAGES: usize = 3;
const PITCH_PAD: usize = 16;
/// The least length of a part of the inner index, and the most parts.
const PART: usize = 256;
const MOST_PARTS: usize = 64;
/// The most blocks along z.
const MOST_BATCHES: usize = 65535;

/// How an operand lies: whether its inner index is outermost, and from one line to the next.
#[derive(Clone, Copy)]
struct Lines {
    outer: bool,
    step: usize,
}

impl Lines {
    /// Of an operand with `inner` the step of the inner index and `other` that of its rows or columns.
    fn new(inner: usize, other: usize, inner_len: usize) -> Self {
        match inner == 1 || inner_len == 1 && other != 1 {
            true => Lines { outer: false, step: other },
            false => Lines { outer: true, step: inner },
        }
    }

    /// Bytes of a buffer for `size` of its rows or columns.
    fn bytes(self, size: usize, dtype: DType) -> usize {
        let chunk = CHUNK_BYTES / dtype.bytes();
        let (lines, elements) = if self.outer { (chunk, size) } else { (size, chunk) };
        lines * (elements * dtype.bytes() + PITCH_PAD)
    }

    fn wide(self, x: Slice<'_>, operand: &Operand) -> bool {
        let per_load = 16 / x.dtype.bytes();
        let whole = |step: &usize| step.is_multiple_of(per_load);
        aligned(&[x]) && whole(&self.step) && operand.batch.iter().all(whole)
    }
}

/// How a product is cut into tiles, and its sums into parts.
struct Cut {
    /// Rows and columns of a tile, and what kernels of it are called.
    tile: [usize; 2],
    told: &'static str,
    /// Tiles of one batch.
    tiles: usize,
    parts: usize,
    part_len: usize,
}

impl Cut {
    fn new(sizes: &Product, dtype: DType, processors: u32) -> Self {
        let (batches, processors) = (sizes.batch.iter().product::<usize>(), processors as usize);
        let tiles = |[rows, columns]: [usize; 2]| sizes.rows.div_ceil(rows) * sizes.columns.div_ceil(columns);
        let large = if dtype == DType::F32 { [128, 64] } else { [128, 128] };
        let (tile, told) = if tiles(large) * batches >= processors { (large, "large") } else { ([64, 64], "small") };
        let parts = (2 * processors / (tiles(tile) * batches)).min(sizes.inner / PART).clamp(1, MOST_PARTS);
        let part_len = sizes.inner.div_ceil(parts).next_multiple_of(CHUNK_BYTES / dtype.bytes()).max(1);
        Cut { tile, told, tiles: tiles(tile), parts: sizes.inner.div_ceil(part_len).max(1), part_len }
    }
}

impl Matmul for Cuda {
    fn matmul(
        &self,
        x: Slice<'_>,
        y: Slice<'_>,
        sizes: &Product,
        epilogue: Epilogue<'_>,
        dtype: DType,
    ) -> Result<Buffer> {
        if x.dtype != y.dtype {
            let (wide_x, wide_y) = (self.cast(x, DType::F32)?, self.cast(y, DType::F32)?);
            return self.matmul(whole(&wide_x, x.len), whole(&wide_y, y.len), sizes, epilogue, dtype);
        }
        let (bias, residual) = (self.as_dtype(epilogue.bias, x.dtype)?, self.as_dtype(epilogue.residual, x.dtype)?);
        let epilogue = Epilogue {
            bias: bias.as_ref().map(|(buffer, len)| typed(buffer, *len, x.dtype)).or(epilogue.bias),
            residual: residual.as_ref().map(|(buffer, len)| typed(buffer, *len, x.dtype)).or(epilogue.residual),
            ..epilogue
        };
        self.multiply(x, y, sizes, epilogue, dtype)
    }
}

fn typed(buffer: &Buffer, len: usize, dtype: DType) -> Slice<'_> {
    Slice { buffer, offset: 0, len, dtype }
}

impl Cuda {
    /// A copy in another element type, where the slice is of another one.
    fn as_dtype(&self, x: Option<Slice<'_>>, dtype: DType) -> Result<Option<(Buffer, usize)>> {
        x.filter(|x| x.dtype != dtype).map(|x| Ok((self.cast(x, dtype)?, x.len))).transpose()
    }

    fn multiply(
        &self,
        x: Slice<'_>,
        y: Slice<'_>,
        sizes: &Product,
        tail: Epilogue<'_>,
        dtype: DType,
    ) -> Result<Buffer> {
        let batches: usize = sizes.batch.iter().product();
        let len = batches * sizes.rows * sizes.columns;
        let result = self.take(len, dtype)?;
        if len == 0 {
            return Ok(Buffer::Cuda(result));
        }
        let left = Lines::new(sizes.x.column, sizes.x.row, sizes.inner);
        let right = Lines::new(sizes.y.row, sizes.y.column, sizes.inner);
        let Cut { tile, told, tiles, parts, part_len } = Cut::new(sizes, x.dtype, self.machine().multiprocessors());
        let numbers = MatmulSizes {
            batch: sizes.batch.map(|size| size as i64),
            x_batch: sizes.x.batch.map(|step| step as i64),
            y_batch: sizes.y.batch.map(|step| step as i64),
            x_step: left.step as i64,
            y_step: right.step as i64,
            rows: sizes.rows as i32,
            columns: sizes.columns as i32,
            inner: sizes.inner as i32,
            parts: parts as i32,
            part_len: part_len as i32,
            x_wide: left.wide(x, &sizes.x).into(),
            y_wide: right.wide(y, &sizes.y).into(),
            wide: sizes.columns.is_multiple_of(4).into(),
            result_f32: (dtype == DType::F32).into(),
            function: tail.activation.into(),
            batches: batches as i64,
        };
        let name = format!("matmul_{}{}_{told}", t_or_n(left.outer), t_or_n(!right.outer));
        let bytes = STAGES * (left.bytes(tile[0], x.dtype) + right.bytes(tile[1], x.dtype));
        let bytes = bytes.max(tile[0] * (tile[1] + 4) * size_of::<f32>());
        let grid = (tiles, parts, batches.min(MOST_BATCHES));
        let launch = self.kernel("matmul", &name, x.dtype).grid(grid.0, grid.1, grid.2).shared(bytes);
        let launch = launch.input(x).input(y).maybe(tail.bias).maybe(tail.residual);
        if parts == 1 {
            launch.output(&result).value(numbers).run()?;
            return Ok(Buffer::Cuda(result));
        }
        let sums = self.take(parts * len, DType::F32)?;
        launch.output(&sums).value(numbers).run()?;
        let fold = self.kernel("matmul", "matmul_fold", x.dtype).over(len).output(&sums);
        fold.maybe(tail.bias).maybe(tail.residual).output(&result).value(numbers).run()?;
        Ok(Buffer::Cuda(result))
    }
}

/// How a kernel's name tells that an operand is transposed.
fn t_or_n(transposed: bool) -> char {
    if transposed { 't' } else { 'n' }
}
