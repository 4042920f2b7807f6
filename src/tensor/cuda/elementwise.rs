//! Launches of `kernels/elementwise.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::ops::elementwise::{Broadcast, Elementwise, Map, Zip};
use crate::tensor::{Buffer, MAX_RANK, Result, Slice};

use super::Cuda;

/// A function of one number as kernels take it: `Function` of `kernels/functions.cuh`.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Function {
    kind: i32,
    a: f32,
    b: f32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct MapSizes {
    len: u64,
    function: Function,
    aligned: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct ZipSizes {
    len: i64,
    kind: i32,
    aligned: i32,
    sizes: [i64; MAX_RANK],
    x: [i64; MAX_RANK],
    y: [i64; MAX_RANK],
}

/// Bytes that kernels load at once where arrays begin at a multiple of them.
const WIDE: u64 = 16;

/// Whether a kernel may load 16 bytes at once from where slices begin.
pub(super) fn aligned(slices: &[Slice<'_>]) -> bool {
    slices.iter().all(|x| x.address() % WIDE == 0)
}

impl Elementwise for Cuda {
    fn map(&self, op: Map, x: Slice<'_>) -> Result<Buffer> {
        let y = self.take(x.len, x.dtype)?;
        let sizes = MapSizes { len: x.len as u64, function: op.into(), aligned: aligned(&[x]).into() };
        self.kernel("elementwise", "map", x.dtype).over(x.len).input(x).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn map_grad(&self, op: Map, x: Slice<'_>, dy: Slice<'_>) -> Result<Buffer> {
        let dx = self.take(x.len, x.dtype)?;
        let sizes = MapSizes { len: x.len as u64, function: op.into(), aligned: aligned(&[x, dy]).into() };
        let launch = self.kernel("elementwise", "map_grad", x.dtype).over(x.len);
        launch.input(x).input(dy).output(&dx).value(sizes).run()?;
        Ok(Buffer::Cuda(dx))
    }

    fn zip(&self, op: Zip, x: Slice<'_>, y: Slice<'_>, broadcast: &Broadcast) -> Result<Buffer> {
        let len = broadcast.sizes.iter().product();
        let z = self.take(len, x.dtype)?;
        let wide = |sizes: [usize; MAX_RANK]| sizes.map(|size| size as i64);
        let sizes = ZipSizes {
            len: len as i64,
            kind: op as i32,
            aligned: (x.len == len && y.len == len && aligned(&[x, y])).into(),
            sizes: wide(broadcast.sizes),
            x: wide(broadcast.x),
            y: wide(broadcast.y),
        };
        self.kernel("elementwise", "zip", x.dtype).over(len).input(x).input(y).output(&z).value(sizes).run()?;
        Ok(Buffer::Cuda(z))
    }
}

impl From<Option<Map>> for Function {
    fn from(op: Option<Map>) -> Self {
        op.map_or(Function { kind: 0, a: 0.0, b: 0.0 }, Function::from)
    }
}

impl From<Map> for Function {
    fn from(op: Map) -> Self {
        let (kind, a, b) = match op {
            Map::Add(c) => (1, c, 0.0),
            Map::Multiply(c) => (2, c, 0.0),
            Map::Reciprocal => (3, 0.0, 0.0),
            Map::Power(c) => (4, c, 0.0),
            Map::SquareRoot => (5, 0.0, 0.0),
            Map::Absolute => (6, 0.0, 0.0),
            Map::Exponential => (7, 0.0, 0.0),
            Map::Logarithm => (8, 0.0, 0.0),
            Map::Sine => (9, 0.0, 0.0),
            Map::Cosine => (10, 0.0, 0.0),
            Map::Clamp(low, high) => (11, low, high),
            Map::Relu => (12, 0.0, 0.0),
            Map::LeakyRelu(c) => (13, c, 0.0),
            Map::Elu => (14, 0.0, 0.0),
            Map::Silu => (15, 0.0, 0.0),
            Map::Gelu => (16, 0.0, 0.0),
            Map::GeluTanh => (17, 0.0, 0.0),
            Map::Sigmoid => (18, 0.0, 0.0),
            Map::Tanh => (19, 0.0, 0.0),
            Map::Softplus => (20, 0.0, 0.0),
        };
        Function { kind, a, b }
    }
}
