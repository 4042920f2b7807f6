//! Launches of `kernels/index.cu`: an index outside gives 0 and adds nothing, and nothing outside is touched.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::index::{Index, Indexed};
use crate::tensor::{Buffer, DType, Result, Shape, Slice, TensorError};

use super::Cuda;
use super::launch::THREADS;
use super::resize::wide;
use super::reuse::Block;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct IndexSizes {
    outer: i64,
    size: i64,
    picked: i64,
    inner: i64,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SumSizes {
    of: IndexSizes,
    lanes: i32,
    workers: i32,
    wide: i32,
    padding: i32,
}

/// Bytes that are copied at once where rows allow it.
const WIDE_BYTES: usize = 16;
/// The most blocks along x of sums; each takes some places after others.
const MOST_TASKS: usize = 1 << 16;
/// Elements of a place that one thread adds where it can share them.
const EACH: usize = 2;

impl Index for Cuda {
    fn index_select(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        let len = sizes.outer * sizes.picked * sizes.inner;
        let y = self.take(len, x.dtype)?;
        let together = wide(&[x], x.dtype, sizes.inner);
        let bytes = if together > 1 { WIDE_BYTES } else { x.dtype.bytes() };
        let units = Indexed { inner: sizes.inner / together, ..sizes };
        let launch = self.kernel_named("index", format!("index_select_{}", 8 * bytes)).over(len / together);
        launch.input(x).input(index).output(&y).value(IndexSizes::from(units)).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn index_add(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        sizes: Indexed,
    ) -> Result<Buffer> {
        self.sums(base, index, source, Indexed { outer: 1, inner: 1, ..sizes }, sizes)
    }

    fn gather(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        let y = self.take(index.len, x.dtype)?;
        let launch = self.kernel_named("index", format!("gather_{}", 8 * x.dtype.bytes())).over(index.len);
        launch.input(x).input(index).output(&y).value(IndexSizes::from(sizes)).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn scatter_add(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        sizes: Indexed,
    ) -> Result<Buffer> {
        let Indexed { outer, size, picked, inner, .. } = sizes;
        let flat = Indexed { outer: 1, size: outer * size * inner, picked: outer * picked * inner, inner: 1, ..sizes };
        self.sums(base, index, source, sizes, flat)
    }

    fn one_hot(&self, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        let y = self.take(index.len * sizes.size, DType::F32)?;
        let launch = self.kernel_named("index", "one_hot").over(index.len * sizes.size);
        launch.input(index).output(&y).value(IndexSizes::from(sizes)).run()?;
        Ok(Buffer::Cuda(y))
    }
}

impl Cuda {
    /// Sums of rows of `rows`, each into the place that an element of `indices` names, in the order of the elements.
    fn sums(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        indices: Indexed,
        rows: Indexed,
    ) -> Result<Buffer> {
        let y = self.take(rows.outer * rows.size * rows.inner, source.dtype)?;
        let (Ok(greatest), Ok(_)) = (u32::try_from(rows.size), u32::try_from(rows.picked)) else {
            let shape = Shape::from([rows.outer, rows.size, rows.picked, rows.inner]);
            return Err(TensorError::shape(rows.operation, shape, "places and elements below 2³²"));
        };
        let keys = self.take(rows.picked, DType::I32)?;
        let launch = self.kernel_named("index", "index_keys").over(rows.picked);
        launch.input(index).output(&keys).value(IndexSizes::from(indices)).run()?;
        let sorted = self.sort(keys, 1, rows.picked, greatest)?;
        let starts = self.take(rows.size + 1, DType::I32)?;
        let launch = self.kernel_named("index", "index_starts").over(rows.size + 1);
        launch.output(&sorted.keys).output(&starts).value(IndexSizes::from(rows)).run()?;
        self.sum_sorted(base, [&starts, &sorted.places], source, rows, &y)?;
        Ok(Buffer::Cuda(y))
    }

    fn sum_sorted(
        &self,
        base: Option<Slice<'_>>,
        [starts, places]: [&Block; 2],
        source: Slice<'_>,
        rows: Indexed,
        y: &Block,
    ) -> Result<()> {
        let slices: Vec<Slice<'_>> = base.into_iter().chain([source]).collect();
        let wide = wide(&slices, source.dtype, rows.inner);
        let (packs, threads) = (rows.inner / wide, THREADS as usize);
        let lanes = packs.next_power_of_two().min(threads);
        let share = (rows.picked / rows.size.max(1)).div_ceil(EACH).next_power_of_two();
        let workers = share.min(threads / lanes);
        let tasks = rows.outer * rows.size.div_ceil(threads / (lanes * workers));
        let sizes =
            SumSizes { of: rows.into(), lanes: lanes as i32, workers: workers as i32, wide: wide as i32, padding: 0 };
        let launch = self.kernel("index", "index_sum", source.dtype);
        let launch = launch.grid(tasks.min(MOST_TASKS), packs.div_ceil(lanes), 1);
        launch.maybe(base).output(starts).output(places).input(source).output(y).value(sizes).run()
    }
}

impl From<Indexed> for IndexSizes {
    fn from(sizes: Indexed) -> Self {
        let [outer, size, picked, inner] = [sizes.outer, sizes.size, sizes.picked, sizes.inner].map(|size| size as i64);
        IndexSizes { outer, size, picked, inner }
    }
}
