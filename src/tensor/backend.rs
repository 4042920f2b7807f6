//! What a device provides: memory, and one trait a family of operations.
//!
//! A backend that lacks a family does not compile. Operations return before a device has done them where the device
//! works on its own; what they return belongs to the same stream of work, and `download` waits for it.

use super::ops::attention::Attention;
use super::ops::conv::Conv;
use super::ops::data::Data;
use super::ops::diffusion::Diffusion;
use super::ops::elementwise::Elementwise;
use super::ops::fft::Fft;
use super::ops::fields::Fields;
use super::ops::graph::Graphs;
use super::ops::index::Index;
use super::ops::loss::Loss;
use super::ops::matmul::Matmul;
use super::ops::norm::Norm;
use super::ops::optimiser::Optimise;
use super::ops::packed::Unpack;
use super::ops::pool::Pool;
use super::ops::random::Random;
use super::ops::recurrent::Recurrent;
use super::ops::reduce::Reduce;
use super::ops::resize::Resize;
use super::ops::softmax::Softmax;
use super::ops::splat::Splats;
use super::{Buffer, DType, HostMemory, Result, Slice};

/// A device that holds tensors and runs every operation.
pub trait Backend:
    Memory
    + Attention
    + Conv
    + Data
    + Elementwise
    + Fft
    + Fields
    + Graphs
    + Index
    + Matmul
    + Norm
    + Pool
    + Reduce
    + Resize
    + Softmax
    + Splats
    + Diffusion
    + Loss
    + Optimise
    + Unpack
    + Random
    + Recurrent
    + Send
    + Sync
{
}

/// A dense copy of elements that lie regularly: from `offset` on, `sizes[d]` of them `strides[d]` apart, the last
/// dimension fastest.
#[derive(Clone, Copy, Debug)]
pub struct Gather<'a> {
    /// How many along each dimension.
    pub sizes: &'a [usize],
    /// How far apart, in elements; 0 repeats, negative goes back.
    pub strides: &'a [isize],
    /// The first element, counted from the slice's.
    pub offset: usize,
}

/// How much memory a device has handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Blocks asked of the system so far.
    pub allocations: u64,
    /// Bytes asked of the system and not given back.
    pub held_bytes: usize,
    /// Bytes in use now.
    pub used_bytes: usize,
    /// The most bytes in use at one time.
    pub peak_bytes: usize,
}

/// Memory of a device. Elements that dtypes other than [`DType::I32`] hold are told as f32.
pub trait Memory {
    /// The device's name for people.
    fn name(&self) -> String;
    /// Whether its memory is the host's own.
    fn is_host(&self) -> bool;
    /// How much memory is in use.
    fn memory_use(&self) -> MemoryUse;
    /// Gives memory that waits to be used again back to the system; a device does so by itself before it has none left.
    fn trim_memory(&self);
    /// f32 values onto the device.
    fn upload(&self, values: &[f32]) -> Result<Buffer>;
    /// Indices onto the device.
    fn upload_indices(&self, values: &[i32]) -> Result<Buffer>;
    /// Zeros in memory of the host that the device reads by itself, where it can.
    fn host_memory(&self, bytes: usize) -> Result<HostMemory>;
    /// The f32 values of such memory onto the device, which may fetch them later, beside its work.
    fn upload_from(&self, memory: &HostMemory) -> Result<Buffer>;
    /// Values back, once they have been worked out.
    fn download(&self, x: Slice<'_>, values: &mut [f32]) -> Result<()>;
    /// Indices back.
    fn download_indices(&self, x: Slice<'_>, values: &mut [i32]) -> Result<()>;
    /// One number everywhere.
    fn fill(&self, len: usize, value: f32, dtype: DType) -> Result<Buffer>;
    /// The same values in another dtype, rounded to nearest even.
    fn cast(&self, x: Slice<'_>, dtype: DType) -> Result<Buffer>;
    /// Elements that lie regularly, densely.
    fn gather_regular(&self, x: Slice<'_>, gather: Gather<'_>) -> Result<Buffer>;
    /// Blocks side by side: `outer` times the next `width` elements of every part.
    fn interleave(&self, parts: &[(Slice<'_>, usize)], outer: usize) -> Result<Buffer>;
}
