//! Tensors' memory on a device: uploads, downloads, small constants, and elements that move.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;

use crate::tensor::backend::{Gather, MemoryUse};
use crate::tensor::{Buffer, DType, HostMemory, MAX_RANK, Memory, Result, Slice};

use super::Cuda;
use super::machine::Address;
use super::reuse::{Block, Pool};

impl Slice<'_> {
    /// Where the slice begins on the machine; 0, which no kernel may touch, for memory of another device.
    pub(super) fn address(&self) -> Address {
        match self.buffer {
            Buffer::Cuda(block) => block.address() + (self.offset * self.dtype.bytes()) as Address,
            Buffer::Cpu(_) => 0,
        }
    }
}

/// Small arrays that launches need again and again, kept on the machine by what they hold.
#[derive(Debug, Default)]
pub(super) struct Constants {
    held: Mutex<Held>,
    /// Those that a recording writes: they are not there before it ran once.
    recorded: Mutex<Held>,
}

type Held = HashMap<Vec<u64>, Arc<Block>>;

impl Constants {
    /// From now on what the recording wrote is there for all: it ran.
    pub(super) fn publish(&self) {
        let recorded = std::mem::take(&mut *locked(&self.recorded));
        recorded.into_iter().for_each(|(key, block)| self.hold(key, block));
    }

    /// Lets go of what a recording would have written that came to nothing.
    pub(super) fn forget_recorded(&self) {
        locked(&self.recorded).clear();
    }

    /// A constant that is there, or will be where it is asked for within the recording.
    fn find(&self, key: &[u64], records: bool) -> Option<Arc<Block>> {
        let held = locked(&self.held).get(key).cloned();
        held.or_else(|| locked(&self.recorded).get(key).filter(|_| records).cloned())
    }

    fn hold(&self, key: Vec<u64>, block: Arc<Block>) {
        let mut held = locked(&self.held);
        if held.len() >= MOST_CONSTANTS {
            held.clear();
        }
        held.insert(key, block);
    }
}

fn locked(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many constants are kept before all are let go: some for every size of every layer.
const MOST_CONSTANTS: usize = 4096;

impl Cuda {
    /// Memory for so many elements, holding anything.
    pub(super) fn take(&self, len: usize, dtype: DType) -> Result<Block> {
        Pool::take(&self.pool, len.saturating_mul(dtype.bytes()))
    }

    /// Memory for so many elements, all bits zero.
    pub(super) fn zeros(&self, len: usize, dtype: DType) -> Result<Block> {
        let block = self.take(len, dtype)?;
        self.fill_block(&block, len, 0.0, dtype)?;
        Ok(block)
    }

    fn fill_block(&self, block: &Block, len: usize, value: f32, dtype: DType) -> Result<()> {
        self.kernel("memory", "fill", dtype).over(len).output(block).value(len as u64).value(value).run()
    }

    /// A small array on the machine, written once for all launches that need the same values.
    pub(super) fn constant<T: Pod>(&self, values: &[T]) -> Result<Arc<Block>> {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let mut key = vec![0u64; bytes.len().div_ceil(8) + 1];
        key[0] = bytes.len() as u64;
        bytemuck::cast_slice_mut::<u64, u8>(&mut key[1..])[..bytes.len()].copy_from_slice(bytes);
        let records = self.pool.records();
        if let Some(block) = self.constants.find(&key, records) {
            return Ok(block);
        }
        // Not under the lock: whoever waits here for the end of a recording must not keep that from its constants.
        let block = Arc::new(Pool::take(&self.pool, bytes.len())?);
        self.write(block.address(), bytes)?;
        if records {
            locked(&self.constants.recorded).insert(key, block.clone());
        } else {
            self.constants.hold(key, block.clone());
        }
        Ok(block)
    }

    /// Bytes onto the device; they are taken before this returns.
    pub(super) fn write(&self, to: Address, bytes: &[u8]) -> Result<()> {
        let _turn = self.pool.turn();
        self.counters.uploaded(bytes.len());
        self.machine().write(to, bytes)
    }

    /// Bytes back, once everything asked before is done.
    pub(super) fn read(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        let _turn = self.pool.turn();
        self.counters.downloaded(bytes.len());
        self.machine().read(from, bytes)
    }

    /// Bytes on the device; they are taken before this returns.
    pub(super) fn sent(&self, bytes: &[u8]) -> Result<Block> {
        let block = Pool::take(&self.pool, bytes.len())?;
        self.write(block.address(), bytes)?;
        Ok(block)
    }

    /// The first bytes of memory that the device reads by itself, where it can: it fetches them beside its work.
    pub(super) fn fetched(&self, memory: &HostMemory, bytes: usize) -> Result<Block> {
        let block = Pool::take(&self.pool, bytes)?;
        let _turn = self.pool.turn();
        self.counters.uploaded(bytes);
        self.machine().write_from(block.address(), memory, 0..bytes)?;
        Ok(block)
    }

    /// The same values as f32, which `held` keeps where they had to be widened.
    pub(super) fn widened<'a>(&self, x: Slice<'a>, held: &'a mut Option<Buffer>) -> Result<Slice<'a>> {
        if x.dtype == DType::F32 {
            return Ok(x);
        }
        let buffer = held.insert(self.cast(x, DType::F32)?);
        Ok(whole(buffer, x.len))
    }

    /// A result in f32, rounded where its dtype is narrower.
    pub(super) fn narrowed(&self, wide: Buffer, len: usize, dtype: DType) -> Result<Buffer> {
        if dtype == DType::F32 {
            return Ok(wide);
        }
        self.cast(whole(&wide, len), dtype)
    }
}

/// All of a buffer of f32.
pub(super) fn whole(buffer: &Buffer, len: usize) -> Slice<'_> {
    Slice { buffer, offset: 0, len, dtype: DType::F32 }
}

impl Memory for Cuda {
    fn name(&self) -> String {
        self.machine().name()
    }

    fn is_host(&self) -> bool {
        false
    }

    fn memory_use(&self) -> MemoryUse {
        self.pool.usage()
    }

    fn trim_memory(&self) {
        self.pool.trim();
    }

    fn upload(&self, values: &[f32]) -> Result<Buffer> {
        self.sent(bytemuck::cast_slice(values)).map(Buffer::Cuda)
    }

    fn upload_indices(&self, values: &[i32]) -> Result<Buffer> {
        self.sent(bytemuck::cast_slice(values)).map(Buffer::Cuda)
    }

    fn host_memory(&self, bytes: usize) -> Result<HostMemory> {
        self.machine().host(bytes)
    }

    fn upload_from(&self, memory: &HostMemory) -> Result<Buffer> {
        self.fetched(memory, memory.len()).map(Buffer::Cuda)
    }

    fn download(&self, x: Slice<'_>, values: &mut [f32]) -> Result<()> {
        if x.dtype == DType::F32 {
            return self.read(x.address(), bytemuck::cast_slice_mut(values));
        }
        let wide = self.cast(x, DType::F32)?;
        self.download(Slice { buffer: &wide, offset: 0, len: x.len, dtype: DType::F32 }, values)
    }

    fn download_indices(&self, x: Slice<'_>, values: &mut [i32]) -> Result<()> {
        self.read(x.address(), bytemuck::cast_slice_mut(values))
    }

    fn fill(&self, len: usize, value: f32, dtype: DType) -> Result<Buffer> {
        let block = self.take(len, dtype)?;
        self.fill_block(&block, len, value, dtype)?;
        Ok(Buffer::Cuda(block))
    }

    fn cast(&self, x: Slice<'_>, dtype: DType) -> Result<Buffer> {
        let y = self.take(x.len, dtype)?;
        let name = format!("cast_{}_{}", super::launch::suffix(x.dtype), super::launch::suffix(dtype));
        self.kernel_named("memory", name).over(x.len).input(x).output(&y).value(x.len as u64).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn gather_regular(&self, x: Slice<'_>, gather: Gather<'_>) -> Result<Buffer> {
        let sizes = GatherSizes::new(gather);
        let y = self.take(sizes.len as usize, x.dtype)?;
        let name = format!("gather_regular_{}", 8 * x.dtype.bytes());
        self.kernel_named("memory", name).over(sizes.len as usize).input(x).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn interleave(&self, parts: &[(Slice<'_>, usize)], outer: usize) -> Result<Buffer> {
        let width: usize = parts.iter().map(|(_, width)| width).sum();
        let dtype = parts.first().map_or(DType::F32, |(x, _)| x.dtype);
        let y = self.take(outer * width, dtype)?;
        let mut at = 0;
        for (x, part) in parts {
            let (name, len) = (format!("interleave_{}", 8 * dtype.bytes()), outer * part);
            let sizes = [len, *part, width, at].map(|size| size as u64);
            self.kernel_named("memory", name).over(len).input(*x).output(&y).value(sizes).run()?;
            at += part;
        }
        Ok(Buffer::Cuda(y))
    }
}

/// [`Gather`] as the kernel takes it: dimensions that are not used have size 1.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct GatherSizes {
    len: i64,
    offset: i64,
    sizes: [i64; MAX_RANK],
    strides: [i64; MAX_RANK],
}

impl GatherSizes {
    fn new(gather: Gather<'_>) -> Self {
        let len = gather.sizes.iter().product::<usize>() as i64;
        let mut sizes = GatherSizes { len, offset: gather.offset as i64, sizes: [1; MAX_RANK], strides: [0; MAX_RANK] };
        let unused = MAX_RANK.saturating_sub(gather.sizes.len());
        for (d, (size, stride)) in gather.sizes.iter().zip(gather.strides).enumerate() {
            sizes.sizes[unused + d] = *size as i64;
            sizes.strides[unused + d] = *stride as i64;
        }
        sizes
    }
}
