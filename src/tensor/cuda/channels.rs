//! How passes of `kernels/channels.cuh` cut a tensor into blocks.

use bytemuck::{Pod, Zeroable};

use crate::tensor::DType;

/// Threads of a block, and the most packs of channels beside each other in one.
const THREADS: usize = 256;

/// A tensor as channels-last positions, as kernels take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(super) struct View {
    positions: i64,
    samples: i32,
    channels: i32,
    origin: i32,
    steps: i32,
    blocks: i32,
    wide: i32,
}

impl View {
    /// So many samples of so many positions and channels, where what is read begins at a multiple of 16 bytes or not.
    pub(super) fn new([samples, positions, channels]: [usize; 3], dtype: DType, aligned: bool) -> Self {
        let (len, pack) = (positions * channels, 16 / dtype.bytes());
        // As many channels as fill whole packs: positions that lie beside each other count as one.
        let filled = channels * pack / common_divisor(channels, pack);
        let wide = aligned && len > 0 && len % filled == 0;
        let (of_view, wide) = if wide { (filled, pack) } else { (channels, 0) };
        View {
            positions: (len / of_view.max(1)) as i64,
            samples: samples as i32,
            channels: of_view as i32,
            origin: channels as i32,
            steps: 1,
            blocks: 1,
            wide: wide as i32,
        }
    }

    /// Rows as positions of one sample, every element a channel of its own.
    pub(super) fn whole(rows: usize, len: usize, dtype: DType, aligned: bool) -> Self {
        let pack = 16 / dtype.bytes();
        let wide = if aligned && len.is_multiple_of(pack) { pack } else { 0 };
        let [rows, len] = [rows as i64, len as i64];
        View {
            positions: rows,
            samples: 1,
            channels: len as i32,
            origin: len as i32,
            steps: 1,
            blocks: 1,
            wide: wide as i32,
        }
    }

    /// Cut into about `blocks` blocks, whose threads take from `least` to `most` positions.
    pub(super) fn cut(self, blocks: usize, least: usize, most: usize) -> Self {
        let positions = self.positions as usize;
        let steps = positions.div_ceil(self.lanes());
        let wanted = (steps * self.samples as usize * self.slabs()).div_ceil(blocks);
        let taken = wanted.clamp(least, most);
        View { steps: taken as i32, blocks: positions.div_ceil(self.lanes() * taken) as i32, ..self }
    }

    fn packs(&self) -> usize {
        self.channels as usize / (self.wide as usize).max(1)
    }

    /// Positions that a block reads at once.
    fn lanes(&self) -> usize {
        THREADS / self.packs().clamp(1, THREADS)
    }

    /// Blocks along the channels.
    fn slabs(&self) -> usize {
        self.packs().div_ceil(THREADS)
    }

    /// Blocks along the positions of all samples, and along the channels.
    pub(super) fn grid(&self) -> [usize; 2] {
        [self.samples as usize * self.blocks as usize, self.slabs()]
    }

    /// How many f64 the partial sums of all blocks are.
    pub(super) fn parts(&self) -> usize {
        self.samples as usize * self.blocks as usize * 2 * self.channels as usize
    }

    /// Threads of a block that folds the partial sums of one channel.
    pub(super) fn fold_threads(&self) -> usize {
        let parts = self.blocks as usize * (self.channels / self.origin.max(1)) as usize;
        parts.next_multiple_of(32).clamp(32, THREADS)
    }
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
