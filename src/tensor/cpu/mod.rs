//! The CPU backend: every operation on host memory, over all cores, with the widest instructions that are there.
//!
//! Kernels see f32 alone: bf16 is widened as it is read and rounded once as it is written. Work is cut into pieces of
//! fixed size, whatever the number of threads, and partial results are put together in one order: the same bits for
//! any number of threads on one [`Level`].
//!
//! Long sums follow one rule: no number in f32 gathers more than [`SPAN`] terms, and what spans give is added in f64.
//! Reductions, normalisations, losses and gradients of weights keep it by themselves; products of matrices gather at most
//! 384 terms in a register, and their sums over many rows are cut into parts, put together in f64. An output of a
//! convolution, or an element of a product, is otherwise as long a sum in f32 as its channels or columns make it.

mod conv;
mod attention;
mod attention_back;
mod attention_rows;
mod elementwise;
mod few_rows;
mod functions;
mod gemm;
mod layer_norm;
mod data;
mod fields;
mod fft;
mod graph;
mod index;
mod level;
mod matmul;
mod memory;
mod norm;
mod norm_factors;
mod norm_kernels;
mod reduce;
mod row_sums;
mod vector;
mod softmax;
mod pool;
mod resize;
mod splat;
mod diffusion;
mod loss;
mod optimiser;
mod pack;
mod packed;
mod random;
mod recurrent;

pub use level::Level;
pub use memory::Block;

use std::sync::Arc;

use rayon::prelude::*;

use super::{Backend, Buffer, DType, Device, Result, Slice};
use memory::{Pool, Values};

/// Elements that one task works on where an operation treats each alone.
const PIECE: usize = 1 << 14;

/// Terms of a long sum that are added in f32 before their sum is added in f64.
const SPAN: usize = 1 << 12;

/// The CPU as a device.
#[derive(Debug)]
pub struct Cpu {
    pool: Arc<Pool>,
    level: Level,
    plans: fft::Plans,
}

impl Cpu {
    /// The CPU with the widest instructions that it has.
    pub fn device() -> Device {
        Cpu::with_level(Level::best())
    }

    /// The CPU with no wider instructions than those of a level; a level that it lacks becomes its best one.
    pub fn with_level(level: Level) -> Device {
        Arc::new(Cpu::at(level))
    }

    fn at(level: Level) -> Cpu {
        Cpu { pool: Arc::default(), level: level.min(Level::best()), plans: fft::Plans::default() }
    }

    /// Memory for so many f32, holding anything.
    fn take(&self, len: usize) -> Result<Block> {
        Pool::take(&self.pool, len.saturating_mul(size_of::<f32>()))
    }

    /// Memory for so many f32 each that a task of a parallel loop works in, holding anything.
    fn scratch<const N: usize>(&self, lens: [usize; N]) -> [Result<Block>; N] {
        Pool::scratch(&self.pool, lens.map(|len| len.saturating_mul(size_of::<f32>())))
    }

    /// What a slice holds, as f32.
    fn read<'a>(&self, x: Slice<'a>) -> Result<Values<'a>> {
        memory::read(&self.pool, x)
    }

    /// A result that was worked out in f32, rounded once where its dtype is narrower.
    fn finish(&self, block: Block, dtype: DType) -> Result<Buffer> {
        memory::finish(&self.pool, block, dtype)
    }

    /// A result whose elements are worked out piece by piece: `work` is given the first index and the piece.
    fn pieces(&self, len: usize, dtype: DType, work: impl Fn(usize, &mut [f32]) + Sync) -> Result<Buffer> {
        let mut block = self.take(len)?;
        let level = self.level;
        let pieces = block.values_mut().par_chunks_mut(PIECE).enumerate();
        pieces.for_each(|(piece, values)| level.run(|| work(piece * PIECE, values)));
        self.finish(block, dtype)
    }
}

impl Backend for Cpu {}
