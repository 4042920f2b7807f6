//! Device memory that is used again: after the first step of a loop nothing is asked of the driver.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::Pod;

use crate::tensor::backend::{Gather, MemoryUse};
use crate::tensor::{Buffer, DType, MAX_RANK, Memory, Result, Slice};

use super::Cuda;
use super::machine::{Address, Machine};

/// What memory is handed out in multiples of, in bytes.
const GRANULE: usize = 512;

/// Memory of a machine that waits to be used again, by its size.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) machine: Box<dyn Machine>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: BTreeMap<usize, Vec<Address>>,
    usage: MemoryUse,
}

/// Memory of a GPU; it goes back to the device's pool when it is dropped.
#[derive(Debug)]
pub struct Block {
    address: Address,
    /// What it takes of the pool.
    size: usize,
    pool: Arc<Pool>,
}

impl Block {
    pub(super) fn address(&self) -> Address {
        self.address
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut state = self.pool.lock();
        state.usage.used_bytes -= self.size;
        state.free.entry(self.size).or_default().push(self.address);
    }
}

impl Pool {
    pub(super) fn new(machine: Box<dyn Machine>) -> Arc<Self> {
        Arc::new(Pool { machine, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory of at least so many bytes, holding anything.
    pub(super) fn take(pool: &Arc<Pool>, bytes: usize) -> Result<Block> {
        let size = size_class(bytes.div_ceil(GRANULE).max(1)) * GRANULE;
        let found = pool.lock().free.get_mut(&size).and_then(Vec::pop);
        let address = match found {
            Some(address) => address,
            None => pool.grow(size)?,
        };
        pool.machine.lend(address, bytes);
        let mut state = pool.lock();
        state.usage.used_bytes += size;
        state.usage.peak_bytes = state.usage.peak_bytes.max(state.usage.used_bytes);
        Ok(Block { address, size, pool: pool.clone() })
    }

    /// New memory of the machine; where it has none left, what waits in the pool is given back first.
    fn grow(&self, size: usize) -> Result<Address> {
        let address = self.machine.allocate(size).or_else(|_| {
            self.release();
            self.machine.allocate(size)
        })?;
        let mut state = self.lock();
        state.usage.allocations += 1;
        state.usage.held_bytes += size;
        Ok(address)
    }

    /// Gives what waits in the pool back to the machine.
    fn release(&self) {
        let mut state = self.lock();
        for (size, addresses) in std::mem::take(&mut state.free) {
            state.usage.held_bytes -= size * addresses.len();
            addresses.into_iter().for_each(|address| self.machine.free(address, size));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.release();
    }
}

/// Granules rounded up to one of eight sizes an octave, so that blocks of nearly one size serve each other.
fn size_class(granules: usize) -> usize {
    let step = (granules.next_power_of_two() / 16).max(1);
    granules.div_ceil(step) * step
}

impl Slice<'_> {
    /// Where the slice begins on the machine; 0, which no kernel may touch, for memory of another device.
    pub(super) fn address(&self) -> Address {
        match self.buffer {
            Buffer::Cuda(block) => block.address + (self.offset * self.dtype.bytes()) as Address,
            Buffer::Cpu(_) => 0,
        }
    }
}

/// Small arrays that launches need again and again, kept on the machine by what they hold.
#[derive(Debug, Default)]
pub(super) struct Constants {
    held: Mutex<HashMap<Vec<u64>, Arc<Block>>>,
}

/// How many constants are kept before all are let go: some for every size of every layer.
const MOST_CONSTANTS: usize = 4096;

impl Cuda {
    /// Memory for so many elements, holding anything.
    pub(super) fn take(&self, len: usize, dtype: DType) -> Result<Block> {
        Pool::take(&self.pool, len * dtype.bytes())
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
        let mut held = self.constants.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = held.get(&key) {
            return Ok(block.clone());
        }
        if held.len() >= MOST_CONSTANTS {
            held.clear();
        }
        let block = Arc::new(Pool::take(&self.pool, bytes.len())?);
        self.machine().write(block.address, bytes)?;
        held.insert(key, block.clone());
        Ok(block)
    }

    fn upload_bytes(&self, bytes: &[u8]) -> Result<Buffer> {
        let block = Pool::take(&self.pool, bytes.len())?;
        self.machine().write(block.address, bytes)?;
        Ok(Buffer::Cuda(block))
    }
}

impl Memory for Cuda {
    fn name(&self) -> String {
        self.machine().name()
    }

    fn memory_use(&self) -> MemoryUse {
        self.pool.lock().usage
    }

    fn upload(&self, values: &[f32]) -> Result<Buffer> {
        self.upload_bytes(bytemuck::cast_slice(values))
    }

    fn upload_indices(&self, values: &[i32]) -> Result<Buffer> {
        self.upload_bytes(bytemuck::cast_slice(values))
    }

    fn download(&self, x: Slice<'_>, values: &mut [f32]) -> Result<()> {
        if x.dtype == DType::F32 {
            return self.machine().read(x.address(), bytemuck::cast_slice_mut(values));
        }
        let wide = self.cast(x, DType::F32)?;
        self.download(Slice { buffer: &wide, offset: 0, len: x.len, dtype: DType::F32 }, values)
    }

    fn download_indices(&self, x: Slice<'_>, values: &mut [i32]) -> Result<()> {
        self.machine().read(x.address(), bytemuck::cast_slice_mut(values))
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
