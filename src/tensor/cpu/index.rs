//! Rows by indices; sums have one owner, who adds in the order of the indices.

use rayon::prelude::*;

use crate::tensor::ops::index::{Index, Indexed};
use crate::tensor::{Buffer, DType, Result, Slice, TensorError};

use super::{Block, Cpu, PIECE};

/// Fails at the first index outside.
pub(super) fn check(index: &[i32], sizes: Indexed) -> Result<()> {
    let Indexed { operation, size, .. } = sizes;
    let outside = |i: &i32| usize::try_from(*i).map_or(true, |i| i >= size);
    match index.iter().position(outside) {
        Some(position) => {
            Err(TensorError::Index { operation, index: i64::from(index[position]), position, limit: size })
        }
        None => Ok(()),
    }
}

impl Index for Cpu {
    fn index_select(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        let (values, index, Indexed { outer, size, picked, inner, .. }) = (self.read(x)?, index.host::<i32>(), sizes);
        check(index, sizes)?;
        let mut block = self.take(outer * picked * inner)?;
        let each = (PIECE / inner.max(1)).max(1);
        block.values_mut().par_chunks_mut((each * inner).max(1)).enumerate().for_each(|(task, to)| {
            for (row, to) in to.chunks_exact_mut(inner).enumerate() {
                let row = task * each + row;
                let from = row / picked * size + index[row % picked] as usize;
                to.copy_from_slice(&values[from * inner..][..inner]);
            }
        });
        self.finish(block, x.dtype)
    }

    fn index_add(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        sizes: Indexed,
    ) -> Result<Buffer> {
        let (values, index, Indexed { outer, size, picked, inner, .. }) =
            (self.read(source)?, index.host::<i32>(), sizes);
        check(index, sizes)?;
        let owners = Owners::new(self, index, size)?;
        let mut block = self.start(base, outer * size * inner)?;
        let level = self.level;
        let each = (PIECE / inner.max(1)).max(1);
        block.values_mut().par_chunks_mut((each * inner).max(1)).enumerate().for_each(|(task, to)| {
            level.run(
                #[inline(always)]
                || {
                    for (row, to) in to.chunks_exact_mut(inner).enumerate() {
                        let row = task * each + row;
                        for position in owners.of(row % size) {
                            let from = &values[(row / size * picked + *position as usize) * inner..][..inner];
                            to.iter_mut().zip(from).for_each(|(to, x)| *to += x);
                        }
                    }
                },
            );
        });
        self.finish(block, source.dtype)
    }

    fn gather(&self, x: Slice<'_>, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        let (values, index, Indexed { size, picked, inner, .. }) = (self.read(x)?, index.host::<i32>(), sizes);
        check(index, sizes)?;
        self.pieces(index.len(), x.dtype, |first, piece| {
            for (at, to) in piece.iter_mut().enumerate() {
                let at = first + at;
                let outer = at / (picked * inner);
                *to = values[(outer * size + index[at] as usize) * inner + at % inner];
            }
        })
    }

    fn scatter_add(
        &self,
        base: Option<Slice<'_>>,
        index: Slice<'_>,
        source: Slice<'_>,
        sizes: Indexed,
    ) -> Result<Buffer> {
        let (values, index, Indexed { outer, size, picked, inner, .. }) =
            (self.read(source)?, index.host::<i32>(), sizes);
        check(index, sizes)?;
        let mut block = self.start(base, outer * size * inner)?;
        let owners = block.values_mut().par_chunks_mut((size * inner).max(1)).enumerate();
        owners.for_each(|(owner, to)| {
            for at in 0..picked * inner {
                let from = owner * picked * inner + at;
                to[index[from] as usize * inner + at % inner] += values[from];
            }
        });
        self.finish(block, source.dtype)
    }

    fn one_hot(&self, index: Slice<'_>, sizes: Indexed) -> Result<Buffer> {
        let index = index.host::<i32>();
        check(index, sizes)?;
        let mut block = self.take(index.len() * sizes.size)?;
        let rows = block.values_mut().par_chunks_mut(sizes.size.max(1)).zip(index);
        rows.for_each(|(row, index)| {
            row.fill(0.0);
            row[*index as usize] = 1.0;
        });
        self.finish(block, DType::F32)
    }
}

impl Cpu {
    /// What sums begin with.
    fn start(&self, base: Option<Slice<'_>>, len: usize) -> Result<Block> {
        let mut block = self.take(len)?;
        match base {
            Some(base) => {
                let from = self.read(base)?;
                let pieces = block.values_mut().par_chunks_mut(PIECE).zip(from.par_chunks(PIECE));
                pieces.for_each(|(to, from)| to.copy_from_slice(from));
            }
            None => block.values_mut().par_chunks_mut(PIECE).for_each(|to| to.fill(0.0)),
        }
        Ok(block)
    }
}

/// For every place, the positions of the indices that name it, in their order.
pub(super) struct Owners {
    offsets: Block,
    positions: Block,
}

impl Owners {
    /// Sorts indices, each below `size`, by counting.
    pub(super) fn new(cpu: &Cpu, index: &[i32], size: usize) -> Result<Self> {
        let (mut offsets, mut positions) = (cpu.take(size + 2)?, cpu.take(index.len())?);
        let (starts, order) = (offsets.as_slice_mut::<u32>(), positions.as_slice_mut::<u32>());
        starts.fill(0);
        index.iter().for_each(|i| starts[*i as usize + 2] += 1);
        (2..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
        for (position, i) in index.iter().enumerate() {
            let next = &mut starts[*i as usize + 1];
            order[*next as usize] = position as u32;
            *next += 1;
        }
        Ok(Owners { offsets, positions })
    }

    /// The positions of the indices that name a place.
    pub(super) fn of(&self, place: usize) -> &[u32] {
        let offsets = self.offsets.as_slice::<u32>();
        &self.positions.as_slice::<u32>()[offsets[place] as usize..offsets[place + 1] as usize]
    }
}
