//! Launches of `kernels/sort.cu`.

use bytemuck::{Pod, Zeroable};

use crate::tensor::{DType, Result};

use super::Cuda;
use super::launch::{MOST_BLOCKS_ACROSS, blocks};
use super::reuse::Block;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SortSizes {
    len: u64,
    first_list: u64,
    shift: i32,
    chunks: i32,
    stretches: i32,
    padding: i32,
}

/// Values of a digit, and the threads of a block: one for each.
const DIGITS: usize = 256;
/// Digits that a block sums up, a warp each.
const WARPS: usize = DIGITS / 32;
/// Bits of a digit.
const BITS: u32 = DIGITS.ilog2();
/// The most blocks of a list: enough to fill a machine, few enough that their counts are small beside the keys.
const MOST_STRETCHES: usize = 512;

/// Lists in order: their keys, and where each was before.
pub(super) struct Sorted {
    pub(super) keys: Block,
    pub(super) places: Block,
}

impl Cuda {
    /// Sorts `lists` lists of `len` u32 keys, each at most `greatest`; equal keys stay in their order.
    pub(super) fn sort(&self, keys: Block, lists: usize, len: usize, greatest: u32) -> Result<Sorted> {
        let chunks = len.div_ceil(DIGITS).div_ceil(MOST_STRETCHES).max(1);
        let stretches = len.div_ceil(chunks * DIGITS).max(1);
        let counts = self.take(lists * DIGITS * stretches, DType::I32)?;
        let totals = self.take(lists * DIGITS, DType::I32)?;
        let (mut keys, mut places) = (keys, None);
        let digits = (u32::BITS - greatest.leading_zeros()).div_ceil(BITS).max(1);
        for digit in 0..digits {
            let (shift, padding) = ((digit * BITS) as i32, 0);
            let sorted =
                Sorted { keys: self.take(lists * len, DType::I32)?, places: self.take(lists * len, DType::I32)? };
            let from = places.as_ref().map_or(0, Block::address);
            for first in (0..lists).step_by(MOST_BLOCKS_ACROSS) {
                let (len, first_list) = (len as u64, first as u64);
                let sizes =
                    SortSizes { len, first_list, shift, chunks: chunks as i32, stretches: stretches as i32, padding };
                let own = blocks(lists - first);
                let launch = |name: &str, blocks: usize| self.kernel_named("sort", name).grid(blocks, own, 1);
                launch("sort_count", stretches).output(&keys).output(&counts).value(sizes).run()?;
                launch("sort_scan", DIGITS / WARPS).output(&counts).output(&totals).value(sizes).run()?;
                let launch = launch("sort_place", stretches).output(&keys).value(from).output(&counts).output(&totals);
                launch.output(&sorted.keys).output(&sorted.places).value(sizes).run()?;
            }
            (keys, places) = (sorted.keys, Some(sorted.places));
        }
        let places = places.map_or_else(|| self.take(lists * len, DType::I32), Ok)?;
        Ok(Sorted { keys, places })
    }
}
