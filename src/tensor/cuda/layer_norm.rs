//! Launches of `kernels/layer_norm.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::norm::{LayerGradients, LayerSizes};
use crate::tensor::{Buffer, DType, Result, Slice};

use super::Cuda;
use super::channels::View;
use super::elementwise::aligned;
use super::launch::Launch;

/// The most blocks of a grid that walks over rows or columns.
const MOST_BLOCKS: usize = 1 << 16;
/// Blocks of the pass that sums over rows.
const SUM_BLOCKS: usize = 1 << 10;
/// Rows of one of its threads, whose sums stay in f32 for so long.
const SUM_STEPS: [usize; 2] = [4, 64];

/// Elements of a row that one warp holds in registers: four packs of 16 bytes a lane, or eight elements.
const HELD_BYTES: usize = 4 * 32 * 16;
const HELD: usize = 8 * 32;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Sizes {
    rows: i64,
    len: i32,
    epsilon: f32,
}

/// How rows are spread over threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// A warp holds a row as packs of 16 bytes.
    Wide,
    /// A warp holds a row element by element.
    Plain,
    /// A block walks over a row.
    Block,
}

impl Rows {
    /// For rows of so many elements, in memory that begins at a multiple of 16 bytes or not.
    pub(super) fn of(len: usize, dtype: DType, aligned: bool) -> Self {
        let bytes = len * dtype.bytes();
        match () {
            () if aligned && bytes.is_multiple_of(16) && bytes <= HELD_BYTES => Rows::Wide,
            () if len <= HELD => Rows::Plain,
            () => Rows::Block,
        }
    }

    /// A launch of `name` for so many rows.
    pub(super) fn launch<'a>(
        self,
        cuda: &'a Cuda,
        family: &'static str,
        name: &str,
        x: Slice<'_>,
        rows: usize,
    ) -> Launch<'a> {
        /// Rows of a block, one a warp.
        const WARPS: usize = 4;
        let launch = |kind: &str| cuda.kernel(family, &format!("{name}_{kind}"), x.dtype);
        match self {
            Rows::Wide => launch("wide").threads(32 * WARPS).grid(rows.div_ceil(WARPS), 1, 1),
            Rows::Plain => launch("plain").threads(32 * WARPS).grid(rows.div_ceil(WARPS), 1, 1),
            Rows::Block => launch("block").grid(rows.min(MOST_BLOCKS), 1, 1),
        }
    }
}

pub(super) fn forward(
    cuda: &Cuda,
    x: Slice<'_>,
    [weight, bias]: [Option<Slice<'_>>; 2],
    sizes: &LayerSizes,
) -> Result<Buffer> {
    let y = cuda.take(x.len, x.dtype)?;
    let given: Vec<Slice<'_>> = [Some(x), weight, bias].into_iter().flatten().collect();
    let rows = Rows::of(sizes.len, x.dtype, aligned(&given));
    let launch = rows.launch(cuda, "layer_norm", "layer_norm", x, rows_of(x, sizes));
    launch.input(x).maybe(weight).maybe(bias).output(&y).value(Sizes::new(x, sizes)).run()?;
    Ok(Buffer::Cuda(y))
}

pub(super) fn backward(
    cuda: &Cuda,
    x: Slice<'_>,
    dy: Slice<'_>,
    weight: Option<Slice<'_>>,
    sizes: &LayerSizes,
) -> Result<LayerGradients> {
    let count = rows_of(x, sizes);
    let (dx, kept) = (cuda.take(x.len, x.dtype)?, cuda.take(3 * count, DType::F32)?);
    let given: Vec<Slice<'_>> = [Some(x), Some(dy), weight].into_iter().flatten().collect();
    let rows = Rows::of(sizes.len, x.dtype, aligned(&given));
    let launch = rows.launch(cuda, "layer_norm", "layer_norm_back", x, count);
    launch.input(x).input(dy).maybe(weight).output(&dx).output(&kept).value(Sizes::new(x, sizes)).run()?;
    let view = View::whole(count, sizes.len, x.dtype, aligned(&[x, dy]));
    let view = view.cut(SUM_BLOCKS, SUM_STEPS[0], SUM_STEPS[1]);
    if view.parts() == 0 {
        let none = || Ok::<_, crate::tensor::TensorError>(Buffer::Cuda(cuda.zeros(sizes.len, DType::F32)?));
        return Ok(LayerGradients { x: Buffer::Cuda(dx), weight: none()?, bias: none()? });
    }
    let (parts, [across, slabs]) = (cuda.take_wide(view.parts())?, view.grid());
    let launch = cuda.kernel("layer_norm", "layer_sums", x.dtype).grid(across, slabs, 1).input(x).input(dy);
    launch.output(&kept).output(&parts).value(view).run()?;
    let (of_weight, of_bias) = (cuda.take(sizes.len, DType::F32)?, cuda.take(sizes.len, DType::F32)?);
    let launch = cuda.kernel_named("layer_norm", "layer_fold").threads(view.fold_threads());
    let launch = launch.grid(sizes.len.min(MOST_BLOCKS), 1, 1).output(&parts);
    launch.output(&of_weight).output(&of_bias).value(view).run()?;
    Ok(LayerGradients { x: Buffer::Cuda(dx), weight: Buffer::Cuda(of_weight), bias: Buffer::Cuda(of_bias) })
}

/// Rows that there are; none where rows are empty.
fn rows_of(x: Slice<'_>, sizes: &LayerSizes) -> usize {
    if x.len == 0 { 0 } else { sizes.rows }
}

impl Sizes {
    fn new(x: Slice<'_>, sizes: &LayerSizes) -> Self {
        Sizes { rows: rows_of(x, sizes) as i64, len: sizes.len as i32, epsilon: sizes.epsilon }
    }
}
