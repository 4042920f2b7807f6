//! One launch of a kernel: its grid and its arguments, put together where an operation is worked out.

use std::ffi::c_void;

use bytemuck::NoUninit;

use crate::tensor::{DType, Result, Slice, TensorError};

use super::Cuda;
use super::machine::{Kernel, Shape};
use super::reuse::Block;

/// Threads of a block where a kernel has no other wish.
pub(super) const THREADS: u32 = 256;

/// The most blocks of a grid whose threads stride over the elements: enough to fill any machine.
const MOST_BLOCKS: usize = 1 << 16;

/// The most blocks along y or z of a grid.
pub(super) const MOST_BLOCKS_ACROSS: usize = 65_535;
/// The most blocks along x of a grid.
const MOST_BLOCKS_ALONG: u32 = i32::MAX as u32;

/// Blocks along y or z that stride over so many rows of work.
pub(super) fn blocks(rows: usize) -> usize {
    rows.min(MOST_BLOCKS_ACROSS)
}

/// The suffix of the kernels of an element type.
pub(super) fn suffix(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "f32",
        DType::Bf16 => "bf16",
        DType::I32 => "i32",
    }
}

/// A launch that is being put together.
pub(super) struct Launch<'a> {
    cuda: &'a Cuda,
    family: &'static str,
    name: String,
    shape: Shape,
    /// The arguments' bytes, each from a multiple of 8 on.
    words: Vec<u64>,
    starts: Vec<usize>,
}

impl Cuda {
    /// A launch of `name`, with the suffix of a dtype, of `kernels/<family>.cu`: one block of [`THREADS`] until told
    /// otherwise.
    pub(super) fn kernel(&self, family: &'static str, name: &str, dtype: DType) -> Launch<'_> {
        self.kernel_named(family, format!("{name}_{}", suffix(dtype)))
    }

    /// A launch of a kernel that is there for one element type only.
    pub(super) fn kernel_named(&self, family: &'static str, name: impl Into<String>) -> Launch<'_> {
        let shape = Shape { grid: [1; 3], block: [THREADS, 1, 1], shared_bytes: 0 };
        Launch { cuda: self, family, name: name.into(), shape, words: Vec::new(), starts: Vec::new() }
    }
}

impl Launch<'_> {
    /// A grid of blocks along x, y and z.
    pub(super) fn grid(mut self, x: usize, y: usize, z: usize) -> Self {
        self.shape.grid = [x, y, z].map(|blocks| u32::try_from(blocks).unwrap_or(u32::MAX));
        self
    }

    /// Threads of a block along x.
    pub(super) fn threads(mut self, threads: usize) -> Self {
        self.shape.block = [threads as u32, 1, 1];
        self
    }

    /// A grid whose threads stride over so many elements of work.
    pub(super) fn over(self, len: usize) -> Self {
        let threads = self.shape.block[0] as usize;
        self.grid(len.div_ceil(threads).clamp(1, MOST_BLOCKS), 1, 1)
    }

    /// Bytes of dynamic shared memory of a block.
    pub(super) fn shared(mut self, bytes: usize) -> Self {
        self.shape.shared_bytes = bytes as u32;
        self
    }

    /// The next argument: a number, or a struct of sizes.
    pub(super) fn value(mut self, value: impl NoUninit) -> Self {
        let bytes = bytemuck::bytes_of(&value);
        self.starts.push(self.words.len());
        let start = self.words.len();
        self.words.resize(start + bytes.len().div_ceil(8), 0);
        bytemuck::cast_slice_mut::<u64, u8>(&mut self.words[start..])[..bytes.len()].copy_from_slice(bytes);
        self
    }

    /// The next argument: where a slice begins.
    pub(super) fn input(self, x: Slice<'_>) -> Self {
        let address = x.address();
        self.value(address)
    }

    /// The next argument: where a slice begins, 0 where there is none.
    pub(super) fn maybe(self, x: Option<Slice<'_>>) -> Self {
        self.value(x.map_or(0, |x| x.address()))
    }

    /// The next argument: memory that the kernel fills.
    pub(super) fn output(self, block: &Block) -> Self {
        self.value(block.address())
    }

    /// The next argument: memory that the kernel fills, 0 where there is none.
    pub(super) fn perhaps(self, block: Option<&Block>) -> Self {
        self.value(block.map_or(0, Block::address))
    }

    /// Starts the kernel; a grid without blocks is nothing to do.
    ///
    /// # Errors
    /// Where the grid has more blocks than a GPU takes, or the machine refuses it.
    pub(super) fn run(self) -> Result<()> {
        if self.shape.grid.contains(&0) {
            return Ok(());
        }
        let [x, y, z] = self.shape.grid;
        if x > MOST_BLOCKS_ALONG || y.max(z) as usize > MOST_BLOCKS_ACROSS {
            let what = format!(
                "{}: a grid of {x} by {y} by {z} blocks; at most {MOST_BLOCKS_ALONG} by {MOST_BLOCKS_ACROSS} by \
                 {MOST_BLOCKS_ACROSS} can be: give it fewer samples or channels at once",
                self.name
            );
            return Err(TensorError::Device { device: self.cuda.machine().name(), what });
        }
        let arguments: Vec<*const c_void> =
            self.starts.iter().map(|start| self.words[*start..].as_ptr().cast()).collect();
        let kernel = Kernel { family: self.family, name: &self.name };
        let _turn = self.cuda.pool.turn();
        self.cuda.counters.launched(kernel);
        // SAFETY: every launch names its kernel's parameters in their order, with addresses of blocks that outlive it
        // in the machine's order; `tests/kernels` runs each of them between guards.
        unsafe { self.cuda.machine().launch(kernel, self.shape, &arguments) }
    }
}
