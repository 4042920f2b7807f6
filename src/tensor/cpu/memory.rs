//! Host memory that is used again: after the first step of a loop no memory of tensors, nor scratch of tasks, is asked of
//! the system, for any number of threads. What is small stays with the heap: shapes, the tape's nodes, taps of resizing.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::allocation::try_zeroed_slice_box;
use bytemuck::{Pod, Zeroable};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use crate::tensor::backend::{Gather, MemoryUse};
use crate::tensor::memory::host_refusal;
use crate::tensor::{Buffer, DType, HostMemory, Memory, Result, Slice};

use super::{Cpu, PIECE};

/// A cache line, the unit that memory is handed out in.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Bytes of a [`Line`].
const LINE: usize = size_of::<Line>();

/// How many times the most memory that was in use at once is held from the system at most.
const HELD: usize = 2;
/// Memory that is held in any case: little enough for every machine, enough for small networks to ask but once.
const LEAST_HELD: usize = 16 << 20;
/// A block of up to so many times what is asked for serves where the system is not to be asked for more.
const TOO_LARGE: usize = 2;

/// Memory that waits to be used again: blocks of the sizes that are asked for, and no more of them than [`HELD`] says.
#[derive(Debug, Default)]
pub(super) struct Pool {
    state: Mutex<State>,
    /// Held while scratch is put in for every thread.
    filling: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    /// By their lines; of one size the one that waits longest is in front.
    free: BTreeMap<usize, VecDeque<Waiting>>,
    /// How many blocks of a size tasks hold as scratch.
    scratch: BTreeMap<usize, usize>,
    usage: MemoryUse,
    /// Blocks that have come back so far.
    returned: u64,
}

/// A block, and how many had come back before it.
#[derive(Debug)]
struct Waiting {
    lines: Box<[Line]>,
    since: u64,
}

/// Host memory of some bytes, aligned to a cache line.
#[derive(Debug)]
pub struct Block {
    lines: Box<[Line]>,
    bytes: usize,
    /// Whether a task holds it as scratch.
    scratch: bool,
    pool: Arc<Pool>,
}

impl Pool {
    /// Memory of at least so many bytes, holding anything.
    pub(super) fn take(pool: &Arc<Pool>, bytes: usize) -> Result<Block> {
        let size = size_class(bytes.div_ceil(LINE));
        let found = pool.lock().find(size);
        let lines = match found {
            Some(lines) => lines,
            None => pool.grow(size, bytes)?,
        };
        Ok(Block { lines, bytes, scratch: false, pool: pool.clone() })
    }

    /// Memory for a task of a parallel loop, of so many bytes each. The first task asks the system for as much as all
    /// threads can hold at once: what a loop asks for does not depend on how its tasks fall to threads.
    pub(super) fn scratch<const N: usize>(pool: &Arc<Pool>, bytes: [usize; N]) -> [Result<Block>; N] {
        let sizes = bytes.map(|bytes| size_class(bytes.div_ceil(LINE)));
        bytes.map(|bytes| {
            let size = size_class(bytes.div_ceil(LINE));
            let each = sizes.iter().filter(|other| **other == size).count();
            Pool::lent(pool, bytes, each * rayon::current_num_threads())
        })
    }

    /// A block of which `enough` can be lent at once.
    fn lent(pool: &Arc<Pool>, bytes: usize, enough: usize) -> Result<Block> {
        let size = size_class(bytes.div_ceil(LINE));
        let lend = || {
            let lines = pool.lock().lend(size, enough)?;
            Some(Block { lines, bytes, scratch: true, pool: pool.clone() })
        };
        if let Some(block) = lend() {
            return Ok(block);
        }
        let _filling = pool.filling.lock().unwrap_or_else(PoisonError::into_inner);
        // Another task may have put them in by now.
        lend().map_or_else(|| Pool::fill(pool, bytes, enough), Ok)
    }

    /// The same, once as many are there.
    fn fill(pool: &Arc<Pool>, bytes: usize, enough: usize) -> Result<Block> {
        let size = size_class(bytes.div_ceil(LINE));
        let lent = pool.lock().scratch.get(&size).copied().unwrap_or_default();
        let mut block = Pool::take(pool, bytes)?;
        let _others = (lent + 1..enough).map(|_| Pool::take(pool, bytes)).collect::<Result<Vec<_>>>()?;
        block.scratch = true;
        *pool.lock().scratch.entry(size).or_default() += 1;
        Ok(block)
    }

    /// New memory of the system, for which what waited longest makes room; where the system has none left, all that
    /// waits is given back first.
    fn grow(&self, size: usize, bytes: usize) -> Result<Box<[Line]>> {
        let given_back = self.lock().reserve(size);
        drop(given_back);
        let asked = || try_zeroed_slice_box(size);
        let lines = asked().or_else(|()| {
            self.trim();
            asked()
        });
        let mut state = self.lock();
        if lines.is_ok() {
            state.usage.allocations += 1;
            state.usage.peak_bytes = state.usage.peak_bytes.max(state.usage.used_bytes);
        } else {
            state.usage.held_bytes -= size * LINE;
            state.usage.used_bytes -= size * LINE;
        }
        lines.map_err(|()| host_refusal(bytes, state.usage.held_bytes))
    }

    /// Gives what waits in the pool back to the system.
    pub(super) fn trim(&self) {
        let mut state = self.lock();
        let waiting = std::mem::take(&mut state.free);
        let lines: usize = waiting.iter().map(|(size, blocks)| size * blocks.len()).sum();
        state.usage.held_bytes -= lines * LINE;
        drop(state);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Memory that waits to be used again: of a size, or a little more where that much could not be added to the pool.
    fn find(&mut self, size: usize) -> Option<Box<[Line]>> {
        let fitting = size..=self.largest(size);
        let (_, waiting) = self.free.range_mut(fitting).find(|(_, waiting)| !waiting.is_empty())?;
        let lines = waiting.pop_back()?.lines;
        self.usage.used_bytes += size * LINE;
        self.usage.peak_bytes = self.usage.peak_bytes.max(self.usage.used_bytes);
        Some(lines)
    }

    /// [`State::find`] for a task, where `enough` of such blocks wait or are with tasks already.
    fn lend(&mut self, size: usize, enough: usize) -> Option<Box<[Line]>> {
        let waiting: usize = self.free.range(size..=self.largest(size)).map(|(_, waiting)| waiting.len()).sum();
        let lent = self.scratch.get(&size).copied().unwrap_or_default();
        let lines = if waiting + lent < enough { None } else { self.find(size) }?;
        self.scratch.insert(size, lent + 1);
        Some(lines)
    }

    /// The largest block that serves where one of a size is asked for.
    fn largest(&self, size: usize) -> usize {
        if self.excess(size) == 0 { size } else { TOO_LARGE * size }
    }

    /// Bytes that would be held beyond what may be, with a new block of a size in use.
    fn excess(&self, size: usize) -> usize {
        let MemoryUse { used_bytes, peak_bytes, held_bytes, .. } = self.usage;
        let most = HELD * peak_bytes.max(used_bytes + size * LINE);
        (held_bytes + size * LINE).saturating_sub(most.max(LEAST_HELD))
    }

    /// Counts a new block of a size in use, and takes what waited longest out to make room for it.
    fn reserve(&mut self, size: usize) -> Vec<Box<[Line]>> {
        let mut out = Vec::new();
        while self.excess(size) > 0 {
            let oldest = |waiting: &VecDeque<Waiting>| waiting.front().map_or(u64::MAX, |block| block.since);
            let Some((_, waiting)) = self.free.iter_mut().min_by_key(|(_, waiting)| oldest(waiting)) else { break };
            let Some(Waiting { lines, .. }) = waiting.pop_front() else { break };
            self.usage.held_bytes -= lines.len() * LINE;
            out.push(lines);
        }
        self.free.retain(|_, waiting| !waiting.is_empty());
        self.usage.held_bytes += size * LINE;
        self.usage.used_bytes += size * LINE;
        out
    }
}

/// Lines rounded up to one of eight sizes an octave, so that blocks of nearly one size serve each other.
fn size_class(lines: usize) -> usize {
    // The lines of `usize::MAX` bytes are far below the largest power of two.
    let step = (lines.next_power_of_two() / 16).max(1);
    lines.div_ceil(step) * step
}

/// What a task was to get, or why it has none.
pub(super) fn ready<T>(scratch: &mut Result<T>) -> Result<&mut T> {
    scratch.as_mut().map_err(|error| error.clone())
}

impl Drop for Block {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let (mut state, size) = (self.pool.lock(), size_class(self.bytes.div_ceil(LINE)));
        state.usage.used_bytes -= size * LINE;
        if let Some(lent) = state.scratch.get_mut(&size).filter(|_| self.scratch) {
            *lent -= 1;
        }
        let since = state.returned;
        state.returned += 1;
        state.free.entry(lines.len()).or_default().push_back(Waiting { lines, since });
    }
}

impl Block {
    /// The block as elements of a plain type.
    pub(super) fn as_slice<T: Pod>(&self) -> &[T] {
        let all: &[T] = bytemuck::cast_slice(&self.lines);
        all.get(..self.bytes / size_of::<T>()).unwrap_or_default()
    }

    pub(super) fn as_slice_mut<T: Pod>(&mut self) -> &mut [T] {
        let (all, len): (&mut [T], usize) = (bytemuck::cast_slice_mut(&mut self.lines), self.bytes / size_of::<T>());
        all.get_mut(..len).unwrap_or_default()
    }

    pub(super) fn values(&self) -> &[f32] {
        self.as_slice()
    }

    pub(super) fn values_mut(&mut self) -> &mut [f32] {
        self.as_slice_mut()
    }
}

impl<'a> Slice<'a> {
    /// The elements in host memory.
    pub(super) fn host<T: Pod>(&self) -> &'a [T] {
        // Operands of one operation are on one device: there is nothing else to see here.
        let Buffer::Cpu(block) = self.buffer else { return &[] };
        block.as_slice().get(self.offset..self.offset + self.len).unwrap_or_default()
    }
}

/// The values of a slice as f32: as they are, or widened.
pub(super) enum Values<'a> {
    Plain(&'a [f32]),
    Widened(Block),
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Values::Plain(values) => values,
            Values::Widened(block) => block.values(),
        }
    }
}

pub(super) fn read<'a>(pool: &Arc<Pool>, x: Slice<'a>) -> Result<Values<'a>> {
    if x.dtype != DType::Bf16 {
        return Ok(Values::Plain(x.host()));
    }
    let (narrow, mut block) = (x.host::<bf16>(), Pool::take(pool, x.len * size_of::<f32>())?);
    let pieces = block.values_mut().par_chunks_mut(PIECE).zip(narrow.par_chunks(PIECE));
    pieces.for_each(|(to, from)| from.convert_to_f32_slice(to));
    Ok(Values::Widened(block))
}

pub(super) fn finish(pool: &Arc<Pool>, block: Block, dtype: DType) -> Result<Buffer> {
    if dtype != DType::Bf16 {
        return Ok(Buffer::Cpu(block));
    }
    let mut narrow = Pool::take(pool, block.bytes / 2)?;
    let pieces = narrow.as_slice_mut::<bf16>().par_chunks_mut(PIECE).zip(block.values().par_chunks(PIECE));
    pieces.for_each(|(to, from)| to.convert_from_f32_slice(from));
    Ok(Buffer::Cpu(narrow))
}

impl Memory for Cpu {
    fn name(&self) -> String {
        format!("cpu ({:?}, {} threads)", self.level, rayon::current_num_threads()).to_lowercase()
    }

    fn is_host(&self) -> bool {
        true
    }

    fn memory_use(&self) -> MemoryUse {
        self.pool.lock().usage
    }

    fn trim_memory(&self) {
        self.pool.trim();
    }

    fn upload(&self, values: &[f32]) -> Result<Buffer> {
        let mut block = self.take(values.len())?;
        block.values_mut().copy_from_slice(values);
        Ok(Buffer::Cpu(block))
    }

    fn upload_indices(&self, values: &[i32]) -> Result<Buffer> {
        let mut block = self.take(values.len())?;
        block.as_slice_mut().copy_from_slice(values);
        Ok(Buffer::Cpu(block))
    }

    fn host_memory(&self, bytes: usize) -> Result<HostMemory> {
        HostMemory::plain(bytes)
    }

    fn upload_from(&self, memory: &HostMemory) -> Result<Buffer> {
        self.upload(bytemuck::cast_slice(memory.bytes()))
    }

    fn download(&self, x: Slice<'_>, values: &mut [f32]) -> Result<()> {
        values.copy_from_slice(&self.read(x)?);
        Ok(())
    }

    fn download_indices(&self, x: Slice<'_>, values: &mut [i32]) -> Result<()> {
        values.copy_from_slice(x.host());
        Ok(())
    }

    fn fill(&self, len: usize, value: f32, dtype: DType) -> Result<Buffer> {
        self.pieces(len, dtype, |_, piece| piece.fill(value))
    }

    fn cast(&self, x: Slice<'_>, dtype: DType) -> Result<Buffer> {
        let values = self.read(x)?;
        self.pieces(x.len, dtype, |first, piece| piece.copy_from_slice(&values[first..first + piece.len()]))
    }

    fn gather_regular(&self, x: Slice<'_>, gather: Gather<'_>) -> Result<Buffer> {
        let len = gather.sizes.iter().product::<usize>();
        let mut block = Pool::take(&self.pool, len.saturating_mul(x.dtype.bytes()))?;
        match x.dtype {
            DType::Bf16 => gather_regular(x.host::<u16>(), block.as_slice_mut(), gather),
            DType::F32 | DType::I32 => gather_regular(x.host::<u32>(), block.as_slice_mut(), gather),
        }
        Ok(Buffer::Cpu(block))
    }

    fn interleave(&self, parts: &[(Slice<'_>, usize)], outer: usize) -> Result<Buffer> {
        let width: usize = parts.iter().map(|(_, width)| width).sum();
        let bytes = parts.first().map_or(4, |(x, _)| x.dtype.bytes());
        let mut block = Pool::take(&self.pool, outer * width * bytes)?;
        match bytes {
            2 => interleave(parts, width, block.as_slice_mut::<u16>()),
            _ => interleave(parts, width, block.as_slice_mut::<u32>()),
        }
        Ok(Buffer::Cpu(block))
    }
}

fn interleave<T: Pod + Send + Sync>(parts: &[(Slice<'_>, usize)], width: usize, to: &mut [T]) {
    let parts: Vec<(&[T], usize)> = parts.iter().map(|(x, width)| (x.host(), *width)).collect();
    to.par_chunks_mut(width.max(1)).enumerate().for_each(|(row, mut to)| {
        for (from, width) in &parts {
            let (head, rest) = std::mem::take(&mut to).split_at_mut(*width);
            head.copy_from_slice(&from[row * width..(row + 1) * width]);
            to = rest;
        }
    });
}

/// Copies runs of the last dimension, each task a fixed number of runs.
fn gather_regular<T: Pod + Send + Sync>(from: &[T], to: &mut [T], gather: Gather<'_>) {
    let (run, step) = match (gather.sizes.last(), gather.strides.last()) {
        (Some(run), Some(step)) => ((*run).max(1), *step),
        _ => (1, 1),
    };
    let outer = gather.sizes.len().saturating_sub(1);
    let (sizes, strides) = (&gather.sizes[..outer], &gather.strides[..outer]);
    let runs = (PIECE / run).max(1);
    to.par_chunks_mut(run * runs).enumerate().for_each(|(task, to)| {
        for (row, to) in to.chunks_mut(run).enumerate() {
            let mut row = task * runs + row;
            let mut start = gather.offset as isize;
            for (size, stride) in sizes.iter().zip(strides).rev() {
                start += (row % size) as isize * stride;
                row /= size;
            }
            match step {
                1 => to.copy_from_slice(&from[start as usize..start as usize + to.len()]),
                _ => to.iter_mut().enumerate().for_each(|(i, to)| *to = from[(start + i as isize * step) as usize]),
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEBIBYTE: usize = 1 << 20;

    /// Blocks of these sizes in use together, `rounds` times; asked of the system in the last round, and the use.
    fn used(pool: &Arc<Pool>, sizes: impl Fn(usize) -> Vec<usize>, rounds: usize) -> (u64, MemoryUse) {
        let mut asked = 0;
        for round in 0..rounds {
            let before = pool.lock().usage.allocations;
            let taken = sizes(round).into_iter().map(|size| Pool::take(pool, size).expect("memory"));
            drop(taken.collect::<Vec<_>>());
            asked = pool.lock().usage.allocations - before;
            let MemoryUse { held_bytes, peak_bytes, used_bytes, .. } = pool.lock().usage;
            assert!(held_bytes <= (HELD * peak_bytes).max(LEAST_HELD), "{held_bytes} held, {peak_bytes} at most");
            assert_eq!(used_bytes, 0);
        }
        (asked, pool.lock().usage)
    }

    #[test]
    fn sizes_that_change_from_step_to_step_are_not_all_kept() {
        let pool = Arc::default();
        let (_, usage) = used(&pool, |round| vec![(round + 8) * MEBIBYTE, (40 - round) * MEBIBYTE / 2], 30);
        assert!(usage.held_bytes > usage.peak_bytes / 2, "what waits serves again");
    }

    #[test]
    fn the_same_sizes_ask_for_nothing_after_the_first_round() {
        let sizes = |_| [9, 3, 17, 1, 9, 40].map(|size| size * MEBIBYTE).to_vec();
        assert_eq!(used(&Arc::default(), sizes, 3).0, 0);
        // One after the other, each of another size: together more than may be held.
        let pool = Arc::default();
        let alone: Vec<usize> = (0..12).map(|size| (20 + size) * MEBIBYTE).collect();
        let asked = |_| alone.iter().map(|size| used(&pool, |_| vec![*size], 1).0).sum::<u64>();
        let rounds: Vec<u64> = (0..4).map(asked).collect();
        assert_eq!(rounds[1..], [0; 3], "{rounds:?}");
    }

    /// The first task takes what all threads may need, two blocks each; the others ask for nothing.
    #[test]
    fn scratch_is_there_for_every_thread_after_the_first_task() {
        let threads = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads");
        threads.install(|| {
            let (pool, scratch) =
                (Arc::default(), |pool| Pool::scratch(pool, [5000, 5000, 90]).map(|x| x.expect("memory")));
            let asked = || Pool::lock(&pool).usage.allocations;
            let first = scratch(&pool);
            assert_eq!(asked(), 9);
            let others = [scratch(&pool), scratch(&pool)];
            assert_eq!((asked(), Pool::lock(&pool).usage.used_bytes), (9, 3 * (2 * 5120 + 128)));
            drop((first, others));
            assert_eq!((asked(), Pool::lock(&pool).usage.used_bytes), (9, 0));
            let kept = Pool::take(&pool, 5000).expect("memory");
            drop((scratch(&pool), kept));
            assert_eq!(asked(), 10);
        });
    }

    #[test]
    fn memory_that_cannot_be_had_is_not_counted() {
        let pool = Arc::default();
        assert!(Pool::take(&pool, 1 << 60).is_err());
        let MemoryUse { held_bytes, peak_bytes, used_bytes, allocations } = pool.lock().usage;
        assert_eq!((held_bytes, peak_bytes, used_bytes, allocations), (0, 0, 0, 0));
    }
}
