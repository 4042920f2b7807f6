//! Launches of `kernels/matmul.cu`, `kernels/matmul_split.cu` and `kernels/matmul_wide.cu`.

mod trial;

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::matmul::{Epilogue, Matmul, Operand, Product};
use crate::tensor::{Buffer, DType, Memory, Result, Slice};

use super::Cuda;
use super::elementwise::{Function, aligned};
use super::wgmma::{self, Kind, Wgmma};

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

/// Bytes of the inner index that a buffer of the kernels holds of the narrower type, buffers, and bytes that keep rows in
/// different banks: twice as many for rows of whole `BANKS_BYTES`.
const CHUNK_BYTES: usize = 64;
const STAGES: usize = 3;
const PITCH_PAD: usize = 16;
const BANKS_BYTES: usize = 128;
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
    fn left(sizes: &Product) -> Self {
        Lines::new(sizes.x.column, sizes.x.row, sizes.inner)
    }

    fn right(sizes: &Product) -> Self {
        Lines::new(sizes.y.row, sizes.y.column, sizes.inner)
    }

    /// Of an operand with `inner` the step of the inner index and `other` that of its rows or columns.
    fn new(inner: usize, other: usize, inner_len: usize) -> Self {
        match inner == 1 || inner_len == 1 && other != 1 {
            true => Lines { outer: false, step: other },
            false => Lines { outer: true, step: inner },
        }
    }

    /// Bytes of a buffer for `size` of its rows or columns, and a chunk of the inner index.
    fn bytes(self, size: usize, chunk: usize, dtype: DType) -> usize {
        let (lines, elements) = if self.outer { (chunk, size) } else { (size, chunk) };
        let whole = !self.outer && (elements * dtype.bytes()).is_multiple_of(BANKS_BYTES);
        lines * (elements * dtype.bytes() + if whole { 2 * PITCH_PAD } else { PITCH_PAD })
    }

    fn wide(self, x: Slice<'_>, operand: &Operand) -> bool {
        let per_load = 16 / x.dtype.bytes();
        let whole = |step: &usize| step.is_multiple_of(per_load);
        aligned(&[x]) && whole(&self.step) && operand.batch.iter().all(whole)
    }
}

/// The least length of a part of the inner index for kernels on `wgmma`: each is written and read again in f32.
const WIDE_PART: usize = 1024;

/// How a product is cut into tiles, and its sums into parts.
#[derive(Clone, Copy, Debug, Default)]
struct Cut {
    /// Rows and columns of a tile, and what the file and the kernels of it are called.
    tile: [usize; 2],
    family: &'static str,
    told: &'static str,
    /// Tiles of one batch.
    tiles: usize,
    parts: usize,
    part_len: usize,
}

impl Cut {
    /// Tiles for `mma.sync`, or for multiply-adds of f32, of operands of one type or of two.
    fn plain(sizes: &Product, [x, y]: [DType; 2], processors: usize) -> Self {
        let (family, large, small) = match x == y {
            true => ("matmul", "large", "small"),
            false => ("matmul_split", "large_split", "small_split"),
        };
        let cut = |tile, told| Cut::of(sizes, tile, (family, told), (2 * processors, PART, CHUNK_BYTES / y.bytes()));
        let large = cut(if x == DType::F32 { [128, 64] } else { [128, 128] }, large);
        if large.tiles * batches(sizes) >= processors { large } else { cut([64, 64], small) }
    }

    /// Tiles for `wgmma`, of whichever number of columns ends first.
    fn wide(sizes: &Product, processors: usize) -> Self {
        let [half, full] = wgmma::COLUMNS;
        let [half, full] =
            [(half, 2 * processors), (full, processors)].map(|(n, wanted)| Cut::of_columns(sizes, n, wanted));
        let time = |cut: &Cut| wgmma::time(cut.blocks(sizes), cut.tile[1], cut.part_len, processors);
        if time(&half) < time(&full) { half } else { full }
    }

    /// Tiles of 128 or 256 columns for `wgmma`, for no more blocks than are wanted.
    fn of_columns(sizes: &Product, columns: usize, wanted: usize) -> Self {
        let told = if columns == wgmma::COLUMNS[1] { "wide_256" } else { "wide_128" };
        Cut::of(sizes, [wgmma::ROWS, columns], ("matmul_wide", told), (wanted, WIDE_PART, wgmma::PIECE))
    }

    /// Tiles of a size, with the inner index cut into parts where that makes no more blocks than are wanted.
    fn of(
        sizes: &Product,
        tile: [usize; 2],
        (family, told): (&'static str, &'static str),
        (wanted, part, chunk): (usize, usize, usize),
    ) -> Self {
        let tiles = sizes.rows.div_ceil(tile[0]) * sizes.columns.div_ceil(tile[1]);
        let parts = (wanted / (tiles * batches(sizes))).min(sizes.inner / part).clamp(1, MOST_PARTS);
        let part_len = sizes.inner.div_ceil(parts).next_multiple_of(chunk).max(1);
        Cut { tile, family, told, tiles, parts: sizes.inner.div_ceil(part_len).max(1), part_len }
    }

    fn blocks(&self, sizes: &Product) -> usize {
        self.tiles * self.parts * batches(sizes)
    }

    fn pays(&self, sizes: &Product, processors: usize) -> bool {
        wgmma::pays([sizes.rows, sizes.columns, sizes.inner], self.blocks(sizes), processors)
    }

    /// Bytes of shared memory for buffers of both operands, in which the sums lie in the end.
    fn shared_bytes(&self, left: Lines, right: Lines, [x, y]: [DType; 2]) -> usize {
        let [rows, columns] = self.tile;
        if self.family == "matmul_wide" {
            return wgmma::shared_bytes(columns);
        }
        let chunk = CHUNK_BYTES / y.bytes();
        let buffers = STAGES * (left.bytes(rows, chunk, x) + right.bytes(columns, chunk, y));
        buffers.max(rows * (columns + 4) * size_of::<f32>())
    }
}

fn batches(sizes: &Product) -> usize {
    sizes.batch.iter().product()
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
        let split = x.dtype == DType::F32 && y.dtype == DType::Bf16 && epilogue.is_none();
        if x.dtype != y.dtype && !split {
            let (mut own_x, mut own_y) = (None, None);
            let (x, y) = (self.widened(x, &mut own_x)?, self.widened(y, &mut own_y)?);
            return self.matmul(x, y, sizes, epilogue, dtype);
        }
        if y.dtype == DType::F32 && dtype != DType::F32 {
            let sums = self.matmul(x, y, sizes, epilogue, DType::F32)?;
            return self.narrowed(sums, batches(sizes) * sizes.rows * sizes.columns, dtype);
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
        let empty = batches(sizes) * sizes.rows * sizes.columns == 0;
        let cut = if empty { Cut::default() } else { self.cut(x, y, sizes)? };
        self.multiply_in(cut, x, y, sizes, tail, dtype)
    }

    /// The tiles of a product that is not empty.
    fn cut(&self, x: Slice<'_>, y: Slice<'_>, sizes: &Product) -> Result<Cut> {
        let (processors, allowed) = (self.machine().multiprocessors() as usize, self.wgmma_allowed());
        let plain = || Cut::plain(sizes, [x.dtype, y.dtype], processors);
        let aligned = Lines::left(sizes).wide(x, &sizes.x) && Lines::right(sizes).wide(y, &sizes.y);
        if allowed == Wgmma::Never || x.dtype != DType::Bf16 || !aligned {
            return Ok(plain());
        }
        let wide = Cut::wide(sizes, processors);
        let chosen = match allowed {
            Wgmma::Wherever => true,
            _ => wide.pays(sizes, processors) && self.wgmma_proved(Kind::Products, || self.tried_products())?,
        };
        Ok(if chosen { wide } else { plain() })
    }

    fn multiply_in(
        &self,
        cut: Cut,
        x: Slice<'_>,
        y: Slice<'_>,
        sizes: &Product,
        tail: Epilogue<'_>,
        dtype: DType,
    ) -> Result<Buffer> {
        let batches = batches(sizes);
        let len = batches * sizes.rows * sizes.columns;
        let result = self.take(len, dtype)?;
        if len == 0 {
            return Ok(Buffer::Cuda(result));
        }
        let (left, right) = (Lines::left(sizes), Lines::right(sizes));
        let Cut { parts, part_len, .. } = cut;
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
        let name = format!("matmul_{}{}_{}", t_or_n(left.outer), t_or_n(!right.outer), cut.told);
        let launch = self.kernel(cut.family, &name, y.dtype).grid(cut.tiles, parts, batches.min(MOST_BATCHES));
        let launch = launch.shared(cut.shared_bytes(left, right, [x.dtype, y.dtype]));
        let launch = launch.input(x).input(y);
        let launch = if x.dtype == y.dtype { launch.maybe(tail.bias).maybe(tail.residual) } else { launch };
        if parts == 1 {
            launch.output(&result).value(numbers).run()?;
            return Ok(Buffer::Cuda(result));
        }
        let sums = self.take(parts * len, DType::F32)?;
        launch.output(&sums).value(numbers).run()?;
        let fold = self.kernel("matmul", "matmul_fold", y.dtype).over(len).output(&sums);
        fold.maybe(tail.bias).maybe(tail.residual).output(&result).value(numbers).run()?;
        Ok(Buffer::Cuda(result))
    }
}

/// How a kernel's name tells that an operand is transposed.
fn t_or_n(transposed: bool) -> char {
    if transposed { 't' } else { 'n' }
}
